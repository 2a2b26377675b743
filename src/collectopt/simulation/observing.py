"""What a creditor sees of a single account at a decision: numbers, and no latent trait.

Only consents, claims issued, and rows of the record written before the decision are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from collectopt.simulation.kinds import CHANNELS
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.record import RESPONSES
from collectopt.simulation.state import State

_LOG = 20.0  # bound of log(1 + x); e^20 EUR or days do not occur
_COUNT = 50.0
_RESPONSES = (
    "opened", "clicked", "answered", "promised", "promise_broken", "plan_accepted", "plan_broken",
    "refused", "disputed", "complained",
)  # fmt: skip
_FLAG = (0.0, 1.0)
# Name, lowest and highest value; logs are log(1 + x) of days or EUR.
FACTS = (
    ("log_days_past_due", 0.0, _LOG),
    ("log_past_due", 0.0, _LOG),
    ("log_not_due", 0.0, _LOG),
    ("log_held", 0.0, _LOG),
    ("claims_past_due", 0.0, _COUNT),
    ("may_be_contacted", *_FLAG),
    ("contacts_7", 0.0, _COUNT),
    ("contacts_28", 0.0, _COUNT),
    ("log_days_since_contact", 0.0, _LOG),
    ("last_tone", -1.0, 2.0),
    *((f"{kind}_28", 0.0, _COUNT) for kind in _RESPONSES),
    *((f"{channel}_ok", *_FLAG) for channel in CHANNELS),
    *((f"{channel}_bounced", *_FLAG) for channel in CHANNELS),
    ("promise_runs", *_FLAG),
    ("service_runs", *_FLAG),
    ("invoices", 0.0, _LOG),
    ("payments", 0.0, _LOG),
    ("returned", 0.0, _LOG),
    ("log_paid", 0.0, _LOG),
    ("log_days_since_payment", 0.0, _LOG),
    ("business", *_FLAG),
    ("score", *_FLAG),
    ("score_known", *_FLAG),
    ("log_lifetime_value", 0.0, _LOG),
    ("log_days_customer", 0.0, _LOG),
    ("day_of_month", *_FLAG),
    ("weekday", *_FLAG),
    ("holidays_this_week", 0.0, 7.0),
    ("week", *_FLAG),
)
NAMES = tuple(name for name, _, _ in FACTS)


@dataclass(frozen=True)
class Sighting:
    """A world of one account, looked at on the morning of a decision.

    Parameters
    ----------
    state : State
    may : bool
        Whether the account may be contacted now.
    progress : float
        Share of the longest possible case that is over.
    """

    state: State
    may: bool
    progress: float

    def observation(self) -> npt.NDArray[np.float32]:
        """Give the facts in the order of `NAMES`, clipped to their bounds."""
        facts = {
            **self._claims(),
            **self._contacts(),
            **self._responses(),
            **self._payments(),
            **self._account(),
            **self._calendar(),
        }
        values = np.array([facts[name] for name in NAMES])
        low, high = bounds()
        return np.clip(values, low, high).astype(np.float32)

    @cached_property
    def _sent(self) -> IntArray:
        """Positions in the record of the contacts that went out."""
        record = self.state.record
        channel = record.ints("contacts", "channel")
        went = (channel >= 0) & (record.ints("contacts", "send_day") < self.state.day)
        went[record.ints("cancelled", "contact")] = False
        return np.flatnonzero(went)

    def _claims(self) -> dict[str, float]:
        state, claims = self.state, self.state.claims
        free = state.overdue_claims()
        rows = np.arange(claims.size)
        rows = rows[(claims.issued[rows] < state.day) & (claims.open[rows] > 0)]
        held = rows[claims.held(rows)]
        later = np.setdiff1d(rows, np.concatenate([free, held]))
        oldest = int((state.day - claims.due[free]).max(initial=0))
        return {
            "log_days_past_due": np.log1p(oldest),
            "log_past_due": np.log1p(claims.open[free].sum() / 100.0),
            "log_not_due": np.log1p(claims.open[later].sum() / 100.0),
            "log_held": np.log1p(claims.open[held].sum() / 100.0),
            "claims_past_due": float(len(free)),
            "may_be_contacted": float(self.may),
            "invoices": np.log1p((claims.issued[: claims.size] < state.day).sum()),
            "promise_runs": float(state.promised_until[0] > state.day),
            "service_runs": float(state.service_until[0] > state.day),
        }

    def _contacts(self) -> dict[str, float]:
        state = self.state
        days = state.day - state.record.ints("contacts", "send_day")[self._sent]
        return {
            "contacts_7": float((days <= 7).sum()),
            "contacts_28": float((days <= 28).sum()),
            "log_days_since_contact": np.log1p(days.min()) if len(days) else _LOG,
            "last_tone": float(state.last_tone[0]),
        }

    def _responses(self) -> dict[str, float]:
        record = self.state.record
        kind = record.ints("responses", "kind")
        contact = record.ints("responses", "contact")
        recent = kind[self.state.day - record.ints("responses", "day") <= 28]
        result = {
            f"{name}_28": float((recent == RESPONSES.index(name)).sum()) for name in _RESPONSES
        }
        bounced = contact[(kind == RESPONSES.index("bounced")) & (contact >= 0)]
        channels = record.ints("contacts", "channel")[bounced]
        for code, name in enumerate(CHANNELS):
            result[f"{name}_bounced"] = float((channels == code).any())
            result[f"{name}_ok"] = float(self.state.permitted[0, code])
        return result

    def _payments(self) -> dict[str, float]:
        record = self.state.record
        cents = record.ints("payments", "cents")
        day = record.ints("payments", "day")[cents > 0]
        return {
            "payments": np.log1p((cents > 0).sum()),
            "returned": np.log1p((cents < 0).sum()),
            "log_paid": np.log1p(max(float(cents.sum()), 0.0) / 100.0),
            "log_days_since_payment": np.log1p(self.state.day - day.max()) if len(day) else _LOG,
        }

    def _account(self) -> dict[str, float]:
        people = self.state.people
        score = float(people.score[0])
        return {
            "business": float(people.business[0]),
            "score": 0.5 if np.isnan(score) else score / 100.0,
            "score_known": float(not np.isnan(score)),
            "log_lifetime_value": np.log1p(people.lifetime_value[0]),
            "log_days_customer": np.log1p(self.state.day - people.since[0]),
        }

    def _calendar(self) -> dict[str, float]:
        calendar, day = self.state.calendar, self.state.day
        date = calendar.date(day)
        closed = sum(calendar.is_holiday(day + ahead) for ahead in range(7))
        return {
            "day_of_month": date.day / 31.0,
            "weekday": date.weekday() / 6.0,
            "holidays_this_week": float(closed),
            "week": self.progress,
        }


def bounds() -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of each fact."""
    return np.array([low for _, low, _ in FACTS]), np.array([high for _, _, high in FACTS])
