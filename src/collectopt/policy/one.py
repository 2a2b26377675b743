"""One decision at once: the same as that of a whole run, for one account, in a fraction of a ms.

A run works on tables; for one account it would spend its time on calls. Here everything that is the
same for all accounts is laid out once: classes of actions, factors, chances of harm, prices, trees.
What an account gets is then worked out by the same rules, objective, exploration and words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.objective.algebra import _scaled
from collectopt.policy import timing
from collectopt.policy.draws import decision_ids, seed_of, uniform_row
from collectopt.policy.engine import (
    Bools,
    Case,
    Floats,
    Ints,
    Outcome,
    Rows,
    Setting,
    Wanted,
    _by_channel,
)
from collectopt.policy.exploration import Exploration, plan
from collectopt.policy.guard import SEGMENTS
from collectopt.policy.handover import HandoverCase, Pricing
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.one_account import quick_accounts
from collectopt.policy.one_case import OneCase
from collectopt.policy.one_record import AccountRecord, records
from collectopt.policy.one_rules import Judged, QuickRules
from collectopt.policy.record import _Row, _Writer
from collectopt.policy.risks import Risks
from collectopt.policy.valued import LadderCase, ValuedCase
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW = slice(0, 1)
_UNKNOWN = "the models give no probability for it"
_KEPT = 10_000
_WAITS = (np.array([False]), np.array([True]))
_NONE_YIELDS = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True)
class OneChoice:
    """What to do with one account; the fields are the columns of `Decisions`."""

    account_id: str
    channel: str
    tone: str | None
    offer: str | None
    send_at: datetime | None
    propensity: float
    p_pay: float
    p_pay_if_wait: float
    expected_recovery: float
    uplift: float
    cost: float
    value: float
    runner_up: str | None
    reasons: tuple[str, ...]
    rule_trace: tuple[str, ...]
    policy_version: str
    decision_id: str
    terms: Mapping[str, float]

    def _repr_html_(self) -> str:
        from html import escape

        return "".join(f"<p>{escape(reason)}</p>" for reason in (self.channel, *self.reasons))


@dataclass(frozen=True, eq=False)
class _Chance:
    """Exploration of an account with so many permitted actions by channel."""

    by_draw: tuple[Exploration, Exploration]  # not drawn, drawn
    fits: Bools | None  # classes within the limits; None = all
    propensity: dict[tuple[int, bool, bool, bool], float] = field(default_factory=dict)


class OneDecision:
    """A fitted policy laid out for one account at a time. Not to be shared between threads.

    Parameters
    ----------
    policy : NextBestAction
        Fitted; later changes to it are not seen.
    prices : mapping of str to float, optional
        EUR a unit of each scarce resource, as ``Decisions.prices`` of the last run gives them. An
        account then gets what it would get in a run with these prices. None: nothing is scarce.

    Raises
    ------
    NotFittedError
    InputError
        A price of something that the catalogue does not limit, or below 0; a catalogue with a
        table [exploration].

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=60, seed=1, weeks=8)
    >>> policy = co.NextBestAction(book.catalogue).fit(book.ledger(), as_of=book.as_of)
    >>> fast = policy.prepare()
    >>> records = fast.records(book.ledger(), as_of=book.as_of)
    >>> name, record = next(iter(records.items()))
    >>> choice = fast.decide(record, rng=0)
    >>> choice.account_id == name and len(choice.reasons) > 0
    True
    """

    def __init__(self, policy: NextBestAction, prices: Mapping[str, float] | None = None) -> None:
        if policy.effects_ is None:
            raise NotFittedError.of(policy, "prepare")
        if policy.catalogue.exploration is not None:
            raise InputError.of(
                "prepare",
                "exploration",
                expected="a catalogue without [exploration]: its budget is one of a whole run",
                found="the table",
                hint="Prepare a policy without it, or let policy.decide draw.",
            )
        self.policy, self.version = policy, policy.version
        self.actions = policy.catalogue.actions
        self.layout = Layout.of(self.actions)
        self.rules = QuickRules(policy.rules, self.layout)
        self.note = policy.effects_.note
        harm = policy.harm_
        risks = None if harm is None else Risks.of(harm, self.actions)
        self.risks = None if risks is None else vars(risks)
        value, rate = policy.catalogue.value, policy.catalogue.discount_rate
        self.constants: dict[str, Any] = {
            "discount_rate": rate,
            "complaint_cost": value.complaint_cost,
            "unknown_value": value.lifetime_value,
        }
        tone = self.actions.tone.astype(np.float64)
        self.of_action = self.actions.cost[None], tone[None], self.actions.is_contact[None]
        self.parts = policy.objective.parts
        self.labels = [_scaled(weight, term) for weight, term in policy.objective.parts]
        self._models()
        self._classes()
        names, usage, self.limits = self._setting(cast(State, None), 0).resources
        self.price = _priced(names, prices)
        self.paid, self.priced = self.usage @ self.price, bool(self.price.any())
        self.by_channel = _by_channel(self._setting(cast(State, None), 0), usage)
        cost = _by_channel(self._setting(cast(State, None), 0), self.actions.cost[:, None])
        self.cost = None if policy.explores_evenly else cost[:, 0]
        self._quick = quick_accounts(policy, self.rules, self.payment, self.effects)
        self._chances: dict[bytes, _Chance] = {}
        self._refusals: dict[bytes, Any] = {}

    def __repr__(self) -> str:
        return f"OneDecision({self.policy!r}, {len(self.actions)} actions)"

    def records(self, ledger: Ledger, as_of: AsOf) -> dict[str, AccountRecord]:
        """Prepare all accounts with an open claim, by account_id, from what was known before.

        Raises
        ------
        InputError
        """
        return records(self.policy, self.rules, self.payment, ledger, as_of)

    def record(self, rows: Mapping[str, Any], now: AsOf) -> AccountRecord:
        """Prepare one account from its rows of the six tables.

        Parameters
        ----------
        rows : mapping of str to rows
            As for ``Ledger.from_frames``: accounts (one row), invoices and, where there are any,
            payments, contacts, responses, holds.
        now : str, date or aware datetime
            Only what was known before it is used.

        Raises
        ------
        InputError
            Bad rows, another number of accounts than one, or no open claim.

        Notes
        -----
        Columns that compare the account with the whole book see a book of one account here;
        prepare from the ledger where they matter.

        Lists of dicts with plain values (texts, numbers, decimals, dates and times with a zone) are
        read in less than a ms. Any other frame, rows that are odd or wrong, and policies with other
        people's models, columns of the caller, an agency, a court or to stop take the way by the
        ledger, which takes as long as a run for one account; the answer is the same.
        """
        quick = None if self._quick is None else self._quick.record(rows, now)
        if quick is not None:
            return quick
        found = self.records(Ledger.from_frames(**rows), now)
        if len(found) != 1:
            raise InputError.of(
                "record",
                "accounts",
                expected="the rows of one account with an open claim",
                found=f"{len(found)} accounts with an open claim",
            )
        return next(iter(found.values()))

    def decide(
        self,
        record: AccountRecord,
        now: AsOf | None = None,
        rng: int | np.random.Generator = 0,
    ) -> OneChoice:
        """Decide for one account.

        Parameters
        ----------
        record : AccountRecord
        now : str, date or aware datetime, optional
            From the time of the record on, on the same local day: slots, caps and recent contacts
            are taken as of now, all else as of the record. None: the time of the record.
        rng : int or Generator
            Seed of the exploration.

        Returns
        -------
        OneChoice
            What ``policy.decide`` gives for a ledger of this account alone at the time of the
            record, if nothing is scarce.

        Raises
        ------
        InputError
            The record is of another policy or another day.
        """
        if record.version != self.version:
            raise InputError.of(
                "decide_one",
                "record",
                expected=f"a record made for this policy, {self.version}",
                found=f"one for {record.version}",
                hint="Make it again: policy.prepare().records(ledger, now).",
            )
        seed, state, key = seed_of(rng), record.state, record.key
        if now is not None:
            moment = to_instant(now, self.policy.catalogue.timezone)
            state = record.at(int(moment.astype(np.int64)))
            if state is not record.state:
                key = self.rules.key(state)
        judged = self.rules.judge(state, key)
        case, known = self._case(record, state)
        wanted = self._wanted(case, judged, known=known)
        may = known and not record.protected
        u = uniform_row(record.account_id, state.as_of, seed)
        chance = self._chance(wanted.counts, may)
        outcome = self._outcome(wanted, chance, u)
        return self._written(
            record, state, judged, case=case, chosen=(chance, outcome), seed=seed, known=known
        )

    def some(self, columns: Rows) -> tuple[Floats, Floats, Bools]:
        """Cost, rank of the tone and whether it is a contact, of some actions, (1, k) each."""
        cost, tone, contact = self.of_action
        return cost[:, columns], tone[:, columns], contact[:, columns]

    # -- laid out once -----------------------------------------------------------------------

    def _models(self) -> None:
        from collectopt.models import PaymentModel, ResponseModel

        policy, effects = self.policy, self.policy._effects  # noqa: SLF001 - a part of the policy
        days = policy.catalogue.horizon_days
        self.marks = timing.marks(days)
        self.middle = (np.array([0, *self.marks[:-1]]) + np.array(self.marks)) / 2.0
        ours = isinstance(policy.payment_, PaymentModel)
        self.payment = QuickPayment(policy.payment_, self.marks) if ours else None
        self.effects = [
            QuickEffects(m) if isinstance(m, ResponseModel) else None
            for m in (effects.model, effects.proceeds)
        ]
        self.assumed = None
        if effects.model is None:
            self.assumed = effects.factors(cast(Snapshot, None), self.actions)
        self.ladder, self.share = np.zeros(len(SEGMENTS), dtype=bool), None
        if effects.verdict is not None:
            self.ladder, self.share = effects.verdict.of(np.arange(len(SEGMENTS)))
        self.rungs = FixedLadder(policy.catalogue, rules=policy.rules)

    def _classes(self) -> None:
        """Classes of actions with the same kind, channel and usage, as in a run."""
        _, usage, _ = self._setting(cast(State, None), 0).resources
        keys = np.column_stack([self.actions.kind, self.actions.channel, usage])
        self.classes, group = np.unique(keys, axis=0, return_inverse=True)
        self.members = [np.flatnonzero(group.reshape(-1) == g) for g in range(len(self.classes))]
        widest = max(map(len, self.members))
        # places of the actions of each class; the further place of a class is worth nothing
        self.grid = np.full((len(self.members), widest), len(self.actions))
        for g, members in enumerate(self.members):
            self.grid[g, : len(members)] = members
        self.every = np.arange(len(self.members))
        self.alone = np.array([members[0] for members in self.members])
        self.usage = self.classes[:, 2:]
        self.stop = np.flatnonzero(self.classes[:, 0] == ActionKind.STOP)
        # a tie goes to what takes less
        self.turn = np.lexsort(self.classes[:, 2:].T[::-1]) if usage.shape[1] else None
        passive = np.isin(self.actions.kind, (ActionKind.WAIT, ActionKind.STOP))
        self.passive = np.flatnonzero(passive)
        contact = self.actions.is_contact
        self.channel = np.where(contact, self.actions.channel, -1).astype(np.int64)
        channels = range(len(self.actions.channels))
        kinds = ["" if kind is ActionKind.CONTACT else kind.channel for kind in ActionKind]
        codes = np.where(contact, self.actions.channel, len(channels) + self.actions.kind)
        self.named = [[*self.actions.channels, *kinds][code] for code in codes.tolist()]
        self.chancy = np.isin(self.actions.kind, (ActionKind.WAIT, ActionKind.CONTACT))

    def _setting(self, state: State, seed: int, undecidable: Any = None) -> Setting:
        policy = self.policy
        return Setting(
            cast(Snapshot, None),  # neither resources nor words look at it
            policy.catalogue,
            policy.rules,
            self.layout,
            state,
            policy.explore,
            seed,
            self.version,
            undecidable or {},
            policy.explores_evenly,
        )

    # -- for each account --------------------------------------------------------------------

    def _case(self, record: AccountRecord, state: State) -> tuple[Case, bool]:
        """See the account as the models do; second, whether they say anything of it."""
        chances, factors = self._paid(record), self._factors(record)
        known = math.isfinite(chances[0])
        if factors is record.factors:  # our own models know all there is
            parts = [part[0] for part in factors if part is not None]
            known = known and all(bool(np.isfinite(theta).all()) for theta in parts)
        case: Case = OneCase(self, record, state, chances, factors)
        if self.ladder[record.segment]:
            rungs = self.rungs._case(cast(Snapshot, None), state)[0]  # noqa: SLF001
            case = LadderCase(cast(ValuedCase, case), rungs, np.ones(1, dtype=bool))
        if record.outside is not None:
            worth = np.array([record.lifetime_value])
            pricing = Pricing(state, self.policy.objective, self.policy.catalogue, worth)
            case = HandoverCase(case, record.outside, pricing)
        return case, known

    def _paid(self, record: AccountRecord) -> tuple[float, float]:
        """P(all past due is paid within the horizon), and the expected days to it."""
        if self.payment is None or record.payment is None:
            assert record.chances is not None
            return record.chances
        p = self.payment.before(record.payment, record.stages, record.due, record.day)
        # as `timing.mean_days` does for many
        mass = [max(b - a, 0.0) for a, b in pairwise([0.0, *p])]
        total = sum(mass)
        if not total > 0:
            return p[-1], self.policy.catalogue.horizon_days / 2.0
        return p[-1], float((np.array([mass]) @ self.middle)[0]) / total

    def _factors(
        self, record: AccountRecord
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None]:
        if self.assumed is not None:
            return self.assumed
        if record.effects is None or not record.lines:
            assert record.factors is not None
            return record.factors
        found: list[tuple[Floats, Floats]] = []
        for quick, straight in zip(self.effects, record.lines, strict=False):
            if quick is not None and quick.model.factors is not None:
                theta = quick.theta(record.effects, straight)
                if self.share is not None:
                    some, more = self.share[record.segment].tolist()
                    theta = some * quick.model.theta + more * (theta - quick.model.theta)
                found.append((theta, quick.model.factors.phi))
        return found[0], found[1] if len(found) > 1 else None

    def _wanted(self, case: Case, judged: Judged, *, known: bool) -> Wanted:
        """Give the best permitted action of each class."""
        padded = np.full(len(self.actions) + 1, -np.inf)
        values = padded[:-1]
        if known and not judged.bound:
            np.copyto(values, case.values(_ROW)[0], where=judged.allowed)
        elif known and len(self.passive) > 1:
            values[self.passive] = case.values(_ROW, self.passive)[0]
        values[0] = 0.0
        table = padded[self.grid]
        at = table.argmax(axis=1)
        best, action = table[self.every, at], self.grid[self.every, at]
        for g in self.stop:
            if not best[g] > 0:
                best[g] = -np.inf
        counts = judged.counts if known else np.zeros_like(judged.counts)
        return Wanted(best[None], action[None], self.usage, counts, _WAITS[not known], _NONE_YIELDS)

    def _outcome(
        self, wanted: Wanted, chance: _Chance, u: tuple[float, float, float, float]
    ) -> Outcome:
        """Choose at the prices, and see whether the account explores."""
        epsilon = self.policy.explore
        exploration = chance.by_draw[epsilon > 0 and int(u[1] / epsilon) < 1]
        best, action = wanted.best[0], wanted.action
        net = best - self.paid if self.priced else best.copy()
        fits = net if chance.fits is None else np.where(chance.fits, net, -np.inf)
        first = int(fits.argmax() if self.turn is None else self.turn[fits[self.turn].argmax()])
        greedy = action[:, first]
        if not self.chancy[greedy[0]]:
            exploration = replace(exploration, joins=_WAITS[0], explores=_WAITS[0])
        net[first] = -np.inf
        second = int(net.argmax())
        there = net[second] > -np.inf
        rival = action[:, second] if there else np.array([-1])
        value = np.array([best[second] if there else 0.0])
        return Outcome(wanted, exploration, greedy, rival, value, {}, np.array([u[2:]]))

    def _chance(self, counts: Ints, may: bool) -> _Chance:
        key = counts.tobytes() if may else b""
        found = self._chances.get(key)
        if found is None:
            explored = plan(
                counts,
                np.array([may]),
                np.zeros((1, 2)),
                self.policy.explore,
                usage=self.by_channel,
                limits=self.limits,
                cost=self.cost,
            )
            left = replace(explored, explores=np.zeros(1, dtype=bool))
            room = self.limits - explored.reserve + 1e-9
            fits = np.asarray((self.usage <= room).all(axis=1), dtype=np.bool_)
            found = _Chance((left, explored), None if fits.all() else fits)
            if len(self._chances) >= _KEPT:
                self._chances.clear()
            self._chances[key] = found
        return found

    def _written(
        self,
        record: AccountRecord,
        state: State,
        judged: Judged,
        *,
        case: Case,
        chosen: tuple[_Chance, Outcome],
        seed: int,
        known: bool,
    ) -> OneChoice:
        """Draw, and put what was chosen and why into words."""
        chance, outcome = chosen
        actions, greedy = self.actions, int(outcome.greedy[0])
        taken = greedy
        if outcome.exploration.explores[0]:
            drawn = outcome.exploration.draw(
                _ROW, lambda _: judged.allowed, self.channel, outcome.u
            )
            taken = int(drawn[0]) if drawn[0] >= 0 else greedy
        action = outcome.greedy if taken == greedy else np.array([taken])
        propensity = self._propensity(chance, outcome, action)
        details = case.details(_ROW, action)
        rival = int(outcome.rival[0]) if taken == greedy else greedy
        undecidable = {} if known else {_UNKNOWN: _WAITS[1]}
        writer = _Writer(self._setting(state, seed, undecidable), outcome)
        refusal = self._refusals.get(judged.code)
        if refusal is None:
            refusal = writer._refusals(judged.refused)[0]  # noqa: SLF001 - the same words
            self._refusals[judged.code] = refusal
        tone, offer = int(actions.tone[taken]), int(actions.offer[taken])
        sent = None
        if self.channel[taken] >= 0:
            slot = self.layout.index[Unit.SLOT][taken]
            sent = _EPOCH + timedelta(microseconds=int(state.send_at[0, slot]))
        p, p_wait = float(details.p_pay[0]), float(details.p_wait[0])
        row = _Row(taken, propensity, refusal, details)
        return OneChoice(
            account_id=record.account_id,
            channel=self.named[taken],
            tone=None if tone < 0 else actions.tones[tone],
            offer=None if offer < 0 else actions.offers[offer],
            send_at=sent,
            propensity=propensity,
            p_pay=p,
            p_pay_if_wait=p_wait,
            expected_recovery=float(details.recovery[0]),
            uplift=p - p_wait,
            cost=float(actions.cost[taken]),
            value=float(details.value[0]),
            runner_up=None if rival < 0 else actions.names[rival],
            reasons=tuple(writer._reasons(0, 0, row)),  # noqa: SLF001
            rule_trace=tuple(writer._trace(0, refusal)),  # noqa: SLF001
            policy_version=self.version,
            decision_id=decision_ids([record.account_id], state.as_of, seed, self.version)[0],
            terms={name: float(each[0]) for name, each in details.terms.items()},
        )

    def _propensity(self, chance: _Chance, outcome: Outcome, action: Ints) -> float:
        """Probability of the action taken; it hangs on four things that are looked up."""
        taken, greedy, exploration = int(action[0]), outcome.greedy, outcome.exploration
        channel = self.channel[action]
        key = (int(channel[0]), taken == 0, taken == int(greedy[0]), bool(exploration.joins[0]))
        found = chance.propensity.get(key)
        if found is None:
            found = float(exploration.propensity(_ROW, action, channel, greedy)[0])
            chance.propensity[key] = found
        return found


def _priced(names: tuple[str, ...], prices: Mapping[str, float] | None) -> Floats:
    given = dict(prices or {})
    wrong = [name for name in given if name not in names or not given[name] >= 0]
    if wrong:
        raise InputError.of(
            "prepare",
            "prices",
            expected=f"EUR a unit, at least 0, of what the catalogue limits: {list(names)}",
            found=", ".join(f"{name} = {given[name]}" for name in wrong),
            hint="Take those of the last run: decisions.prices.",
        )
    return np.array([float(given.get(name, 0.0)) for name in names])
