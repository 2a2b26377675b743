"""A meter: it watches a world day by day, changes nothing, and says what a run brought."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from collectopt.evaluation import formulas
from collectopt.simulation.capacities import AGENCY, COURT, Terms
from collectopt.simulation.kinds import CHANNELS, TONES
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.record import RESPONSES, Record
from collectopt.simulation.state import State
from collectopt.simulation.watching import ClaimWatch

HORIZONS = (30, 60, 90)
RUN_OFF = 13
ACTIONS = (*CHANNELS, "agency", "court")
# How hard a step is felt: the channel's weight x (rank of the tone + 1) / (number of tones).
SEVERITY = np.array([0.3, 0.4, 0.6, 0.8, 1.0, 1.0])
_COMPLAINED, _OPTED_OUT = RESPONSES.index("complained"), RESPONSES.index("opted_out")


@dataclass(frozen=True)
class Figure:
    """One figure of a run.

    Attributes
    ----------
    name : str
        Column of the table.
    unit : str
        "share", "EUR", "days", "count" or "index".
    label : str
        Name for people.
    meaning : str
        How it is computed.
    """

    name: str
    unit: str
    label: str
    meaning: str

    def text(self, value: float, *, sign: bool = False) -> str:
        """Write a value; shares in per cent."""
        if not np.isfinite(value):
            return "–"
        plus = "+" if sign else ""
        if self.unit == "share":
            return f"{100 * value:{plus}.1f} %"
        whole = self.unit == "count" and (abs(value) >= 100 or value == round(value))
        if self.unit == "EUR" or whole:
            return f"{value:{plus},.0f}"
        return f"{value:{plus}.{3 if self.unit == 'index' else 1}f}"


def _within_days(days: int) -> Figure:
    return Figure(
        f"recovery_{days}",
        "share",
        f"paid {days} days after due",
        f"share of the invoiced amount, credit notes out, that was paid by the end of day {days} "
        f"after the due date; claims that fell due in the run and had {days} days in it",
    )


FIGURES = (
    *(_within_days(days) for days in HORIZONS),
    Figure("recovered", "share", "recovered by the end", "paid share of what was past due at the "
           "start or fell due in the run, credit notes out"),
    Figure("late_realisation", "share", "late realisation", "paid share of what was past due and "
           "not written off at the start, credit notes out"),
    Figure("collected", "EUR", "cash collected", "all payments of the run less returned ones"),
    Figure("sales", "EUR", "credit sales", "invoiced in the run less credit notes"),
    Figure("discounted", "EUR", "discounted cash", "cash on claims open at the start, plus cash on "
           "claims sold and fallen due in the run less their amount at the due date, all at the "
           "discount rate of the catalogue from the start on: sales are charged at their amount, "
           "so that customers lost or won back count in their lifetime value alone; after the run "
           f"the world lives on for {RUN_OFF} weeks without contacts, and cash on these claims "
           "counts till then"),
    Figure("dso", "days", "DSO", "mean receivables / credit sales x days of the run; what is "
           "written off is no receivable"),
    Figure("cost", "EUR", "process cost", "contacts that were sent, and fees of agency and court"),
    Figure("contacts", "count", "contacts", "sent by e-mail, SMS, letter or phone"),
    Figure("handovers", "count", "handed over", "to an agency or a court"),
    Figure("not_sent", "count", "not sent", "decided, but overtaken by a payment, or not "
           "permitted"),
    Figure("over_capacity", "count", "over capacity", "decided, but beyond capacity, minutes or "
           "budget of the run"),
    Figure("complaints", "count", "complaints", "complaints of customers"),
    Figure("opt_outs", "count", "opt-outs", "channels forbidden by customers"),
    Figure("left", "count", "customers left", "for whatever reason; those whom contacts drove away "
           "show in the difference between two policies"),
    Figure("churned_value", "EUR", "lifetime value lost", "chance to leave because of a contact, "
           "an agency or a court, times the lifetime value, summed up: the expectation, since the "
           "few who do leave are mostly luck; who leaves by himself is not in it"),
    Figure("harshness", "index", "harshness", "severity of what was sent by account past due at "
           "some time of the run; severity = weight of the channel (e-mail 0.3, SMS 0.4, letter "
           "0.6, phone 0.8) x (rank of the tone + 1) / tones; agency and court 1"),
    Figure("written_off", "EUR", "written off", "open amount of the claims written off in the run"),
    Figure("net_value", "EUR", "net value", "discounted cash - process cost - lifetime value lost "
           "- complaints x their cost"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one policy brought in one replicate.

    Attributes
    ----------
    figures : dict of str to float
        By the names of `FIGURES`.
    cash : (weeks,) float64
        EUR collected by week.
    curve : (days + 1,) float64
        Share of the invoiced amount paid by the end of each day after the due date, all of it for
        the same claims: those that fell due in the run early enough.
    actions : (weeks, 6) int64
        Carried out by week of the decision and `ACTIONS`.
    """

    figures: dict[str, float]
    cash: FloatArray
    curve: FloatArray
    actions: IntArray


@dataclass(frozen=True)
class Steps:
    """What was carried out, one row a step: codes of channel and tone, week of the decision."""

    channel: IntArray
    tone: IntArray
    week: IntArray


class Meter:
    """Watches one world from a decision on.

    Parameters
    ----------
    start : State
        The world at the start; read, not changed.
    terms : Terms
        Prices and discount rate.
    weeks : int
        Length of the run.
    """

    def __init__(self, start: State, terms: Terms, weeks: int) -> None:
        claims = start.claims
        self._first, self._days, self._terms = start.day, 7 * weeks, terms
        self._mark, self._contacts = start.record.mark(), start.record.contacts
        self._written_off = claims.written_off[: claims.size].copy()
        self._claims = ClaimWatch(start, self._days, terms.discount_rate)
        self._late = np.zeros(len(start.people), dtype=np.bool_)
        self._receivables = np.zeros(self._days)
        self._over_capacity, self._loss = 0, start.expected_loss

    def turn_away(self, count: int) -> None:
        """Note decisions that the limits of a run did not let through."""
        self._over_capacity += count

    def observe(self, state: State) -> None:
        """Look at the world when a day has ended; call it once a day."""
        day = state.day - 1 - self._first
        self._late |= state.overdue
        self._claims.follow(state, day)
        claims = state.claims
        rows = claims.active
        rows = rows[(claims.issued[rows] < state.day) & ~claims.written_off[rows]]
        self._receivables[day] = claims.open[rows].sum() / 100.0

    def read(self, state: State, later: Iterable[State] = ()) -> Outcome:
        """Sum up a run that has ended.

        Parameters
        ----------
        state : State
            The world at the decision after the last week.
        later : iterable of State
            The same world week by week after the run, for cash that comes in late.
        """
        self._claims.follow(state, self._days)
        new = state.record.since(self._mark)
        steps = self._steps(new)
        found = {**self._money(state, new), **self._shares(state), **self._effort(new, steps)}
        found |= self._harm(state, new)
        cash, actions, curve = self._cash(new), self._actions(steps), self._curve()
        found["discounted"] = self._worth(state, later)
        found["net_value"] = (
            found["discounted"]
            - found["cost"]
            - found["churned_value"]
            - self._terms.complaint_cost * found["complaints"]
        )
        figures = {figure.name: float(found[figure.name]) for figure in FIGURES}
        return Outcome(figures, cash, curve, actions)

    def _steps(self, new: Record) -> Steps:
        """Read what was carried out."""
        channel = new.ints("contacts", "channel")
        done = (channel >= 0) & (channel <= COURT)
        lost = new.ints("cancelled", "contact") - self._contacts
        done[lost[lost >= 0]] = False
        week = (new.ints("contacts", "day")[done] - self._first) // 7
        return Steps(channel[done], new.ints("contacts", "tone")[done], week)

    def _money(self, state: State, new: Record) -> dict[str, float]:
        claims = state.claims
        size = claims.size
        sales = float(new.ints("invoices", "cents").sum()) / 100.0
        given_up = claims.written_off[:size] & (claims.open[:size] > 0)
        given_up[: len(self._written_off)] &= ~self._written_off
        return {
            "collected": float(new.ints("payments", "cents").sum()) / 100.0,
            "sales": sales,
            "dso": formulas.dso(float(self._receivables.mean()), sales, self._days),
            "written_off": float(claims.open[:size][given_up].sum()) / 100.0,
        }

    def _worth(self, state: State, later: Iterable[State]) -> float:
        """Discounted cash on the claims of the run, EUR; the world lives on, so ask this last."""
        watch = self._claims
        sold = np.flatnonzero(~watch.old & (state.claims.due[: state.claims.size] < state.day))
        old = np.flatnonzero(watch.old)
        for week, world in enumerate(later, start=1):
            watch.follow(world, self._days + 7 * week)
        worth = watch.worth[old].sum() + watch.worth[sold].sum() - watch.charge(state, sold)
        return float(worth) / 100.0

    def _shares(self, state: State) -> dict[str, float]:
        watch = self._claims
        due = state.claims.due[: state.claims.size]
        late = watch.old & (due < self._first)
        late[: len(self._written_off)] &= ~self._written_off
        result = {
            "recovered": formulas.ratio(*watch.paid_share(due < state.day)),
            "late_realisation": formulas.ratio(*watch.paid_share(late)),
        }
        for days in HORIZONS:
            first = np.arange(max(self._days - days, 0))
            paid = watch.paid_by[first, first + days].sum()
            amount = watch.amount_by[first, first + days].sum()
            result[f"recovery_{days}"] = formulas.ratio(float(paid), float(amount))
        return result

    def _effort(self, new: Record, steps: Steps) -> dict[str, float]:
        contact = steps.channel < AGENCY
        fees = float(new.ints("fees", "cents").sum()) / 100.0
        rank = np.where(contact, (steps.tone + 1) / len(TONES), 1.0)
        severity = float((SEVERITY[steps.channel] * rank).sum())
        lost = new.ints("cancelled", "contact")
        return {
            "cost": float(self._terms.cost[steps.channel[contact]].sum()) + fees,
            "contacts": float(contact.sum()),
            "handovers": float((~contact).sum()),
            "not_sent": float((lost >= self._contacts).sum()),
            "over_capacity": float(self._over_capacity),
            "harshness": severity / max(float(self._late.sum()), 1.0),
        }

    def _harm(self, state: State, new: Record) -> dict[str, float]:
        kinds = new.ints("responses", "kind")
        left = (state.left >= self._first) & (state.left <= state.day)
        return {
            "complaints": float((kinds == _COMPLAINED).sum()),
            "opt_outs": float((kinds == _OPTED_OUT).sum()),
            "left": float(left.sum()),
            "churned_value": state.expected_loss - self._loss,
        }

    def _cash(self, new: Record) -> FloatArray:
        weeks = self._days // 7
        week = np.minimum((new.ints("payments", "day") - self._first) // 7, weeks - 1)
        cents = new.ints("payments", "cents")
        cash: FloatArray = np.bincount(week, weights=cents, minlength=weeks) / 100.0
        return cash

    def _curve(self) -> FloatArray:
        """Recovery by day after due, of the claims that have the longest horizon in the run."""
        longest = min(max(HORIZONS), self._days // 2)
        first = np.arange(self._days - longest)
        amount = float(self._claims.amount_by[first, first + longest].sum())
        days = range(longest + 1)
        paid = [float(self._claims.paid_by[first, first + day].sum()) for day in days]
        return np.array([formulas.ratio(cents, amount) for cents in paid])

    def _actions(self, steps: Steps) -> IntArray:
        weeks, kinds = self._days // 7, len(ACTIONS)
        flat = np.bincount(steps.week * kinds + steps.channel, minlength=weeks * kinds)
        return flat.reshape(weeks, kinds).astype(np.int64)
