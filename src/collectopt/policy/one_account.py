"""An account's record from its plain rows at once, without tables.

Rows that are clean beyond doubt (see :mod:`collectopt.schema.one_rows`) are read, checked and
looked at in plain Python: the same facts, columns and beliefs as
:func:`~collectopt.policy.one_record.records` works out from a ledger. All else, and policies that
ask for more (models that are not ours, columns of the caller, an agency, a court or to stop), is
left to the ledger.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from collectopt.exceptions import InputError
from collectopt.features.one import OneFeatures, Values
from collectopt.models.one_delays import QuickDelays
from collectopt.models.one_lines import EffectLines, PaymentLines
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.policy.guard import _AGES, _DAYS
from collectopt.policy.one_record import AccountRecord, _midnight
from collectopt.policy.one_rules import QuickRules
from collectopt.rules.layout import Layout
from collectopt.rules.one_state import QuickFacts
from collectopt.rules.state import State
from collectopt.schema.clock import UnusualError
from collectopt.schema.one_rows import Reader
from collectopt.schema.one_seen import Seen
from collectopt.schema.times import DAY_US, AsOf, to_instant

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction

_KEPT = 1_000  # ends of local days


class QuickAccounts:
    """A policy laid out to prepare one account at a time from its rows.

    Parameters
    ----------
    policy : NextBestAction
        Fitted.
    rules : QuickRules
    payment : QuickPayment or None
    effects : list of QuickEffects or None
        Of the effects on the probability and on the proceeds; None for a model that is not ours, or
        that there is not.

    Raises
    ------
    UnusualError
        The policy asks for more than is worked out here.
    """

    def __init__(
        self,
        policy: NextBestAction,
        rules: QuickRules,
        payment: QuickPayment | None,
        effects: list[QuickEffects | None],
    ) -> None:
        known = policy._effects  # noqa: SLF001 - a part of the policy
        models = [known.model, known.proceeds]
        ours = all(m is None or q is not None for m, q in zip(models, effects, strict=True))
        if payment is None or not ours or policy.outside_ is not None:
            raise UnusualError(policy)
        self.policy, self.rules, self.stages = policy, rules, PaymentLines(payment)
        self.lines = [EffectLines(quick) for quick in effects if quick is not None]
        self.named, self.bare = known.names is not None, known.model is not None
        catalogue = policy.catalogue
        self.reader = Reader(catalogue.currency)
        self.facts = QuickFacts(catalogue, Layout.of(catalogue.actions))
        self.delays = None if policy.delays_ is None else QuickDelays(policy.delays_)
        wanted: list[Any] = [policy.payment_.inputs("account")]
        if known.names is not None:
            wanted.append((known.names, known.categories))
        if self.delays is not None:
            wanted.append((self.delays.names, {}))
        self.features = OneFeatures(wanted)
        self._ends: dict[tuple[str, int], int] = {}

    def record(self, rows: Mapping[str, Any], now: AsOf) -> AccountRecord | None:
        """Prepare one account, or leave it to the ledger: None.

        Parameters
        ----------
        rows : mapping of str to rows
            As for :meth:`OneDecision.record`.
        now : str, date or aware datetime
        """
        try:
            account = self.reader.read(rows)
            moment = to_instant(now, self.policy.catalogue.timezone)
            seen = Seen.of(account, int(moment.astype(np.int64)))
            return self._made(seen) if seen.open else None
        except (UnusualError, InputError):
            return None

    def _made(self, seen: Seen) -> AccountRecord:
        account, as_of = seen.account, seen.as_of
        values = self.features.values(seen)
        belief = None if self.delays is None else self.delays.of(seen, values)
        state, sent = self.facts.of(seen, belief)
        first = seen.open[0]
        clock = account.clock
        return AccountRecord(
            account_id=account.account_id,
            version=self.policy.version,
            as_of=as_of,
            until=self._end(clock.zone, seen.day),
            state=state,
            key=self.rules.key(state),
            sent=sent,
            day=seen.day,
            due=(clock.local(first.claim.due_at) - clock.local(as_of)) / DAY_US,
            segment=_segment(seen),
            lifetime_value=_worth(account.worth),
            protected=self._protected(state),
            outside=None,
            **self._columns(values),
            chances=None,
            factors=None,
        )

    def _columns(self, values: Values) -> dict[str, Any]:
        payment = self.features.row(values)
        effects = None
        if self.named:
            effects = self.features.row(values, 1)
        elif self.bare:
            effects = np.zeros(0, dtype=np.float32)
        lines: tuple[tuple[float, float], ...] = ()
        if effects is not None:
            lines = tuple(each.of(effects) for each in self.lines)
        return {
            "payment": payment,
            "effects": effects,
            "stages": self.stages.of(payment),
            "lines": lines,
        }

    def _protected(self, state: State) -> bool:
        """As :func:`~collectopt.policy.protected.protected` of one account."""
        held = (
            state.vulnerable,
            state.hardship,
            *state.holds.values(),
            *(state.said or {}).values(),
        )
        if any(mask is not None and mask[0] for mask in held):
            return True
        likely = self.policy.catalogue.house.distress
        return state.distress is not None and bool(state.distress[0] >= likely)

    def _end(self, zone: str, day: int) -> int:
        found = self._ends.get((zone, day))
        if found is None:
            if len(self._ends) >= _KEPT:
                self._ends.clear()
            found = self._ends[zone, day] = _midnight(np.datetime64(day, "D").item(), zone)
        return found


def quick_accounts(
    policy: NextBestAction,
    rules: QuickRules,
    payment: QuickPayment | None,
    effects: list[QuickEffects | None],
) -> QuickAccounts | None:
    """Lay a policy out as :class:`QuickAccounts`; None where it asks for more."""
    try:
        return QuickAccounts(policy, rules, payment, effects)
    except UnusualError:
        return None


def _worth(worth: float | None) -> float:
    return float("nan") if worth is None else worth


def _segment(seen: Seen) -> int:
    """As :func:`~collectopt.policy.guard.segments` of one account."""
    days = max((each.dpd for each in seen.open if each.past_due and not each.held), default=0)
    firm = seen.account.customer_type != "consumer"
    return bisect_left(_DAYS, max(days, 0)) + len(_AGES) * firm
