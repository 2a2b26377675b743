"""One decision at once: the same as that of a whole run, for one account, in a fraction of a ms.

A run works on tables; for one account it would spend its time on calls. Here everything that is the
same for all accounts is laid out once: classes of actions, factors, chances of harm, prices, trees.
What an account gets is then worked out by the same rules, objective, exploration and words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import one_row
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.objective.algebra import _scaled
from collectopt.policy import timing
from collectopt.policy.draws import decision_ids, seed_of, uniform_row
from collectopt.policy.engine import (
    Bools,
    Case,
    Floats,
    Ints,
    Rows,
    Setting,
    _by_channel,
)
from collectopt.policy.exploration import Exploration, plan
from collectopt.policy.guard import SEGMENTS
from collectopt.policy.handover import HandoverCase, Pricing
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.one_account import quick_accounts
from collectopt.policy.one_asked import check_rows, priced, shared, unbounded
from collectopt.policy.one_case import Detail, OneCase
from collectopt.policy.one_choice import OneChoice, Picked, why
from collectopt.policy.one_prices import QuickPrices
from collectopt.policy.one_record import AccountRecord, records
from collectopt.policy.one_rules import Judged, QuickRules
from collectopt.policy.one_run import run_of_one
from collectopt.policy.overrides import Overrides
from collectopt.policy.risks import Risks
from collectopt.policy.sentences import Refusal, refusals
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
_KEPT = 10_000


@dataclass(frozen=True, eq=False)
class _Chance:
    """Exploration of an account with so many permitted actions by channel.

    Attributes
    ----------
    exploration : Exploration
        As for an account that is drawn.
    order : list of int
        Classes within the limits, those that take less first.
    joins, explores : bool
        Whether it takes part; whether it tries something if it is drawn.
    reachable : bool
        Whether the rules leave any contact.
    """

    exploration: Exploration
    order: list[int]
    joins: bool
    explores: bool
    reachable: bool
    propensity: dict[tuple[int, bool, bool], float] = field(default_factory=dict)


class OneDecision:
    """A fitted policy laid out for one account at a time. Not to be shared between threads.

    Parameters
    ----------
    policy : NextBestAction
        Fitted; later changes to it are not seen.
    prices : mapping of str to float, optional
        EUR a unit of each scarce resource, as ``Decisions.prices`` of the last run gives them. An
        account then gets what it would get in a run with these prices. None: nothing is scarce.
    share : float, optional
        Share of the accounts that explore, 0..1; with a budget in the table [exploration] that
        which kept to it in the last run: ``Decisions.exploration["share"]``. None: the policy's.

    Raises
    ------
    NotFittedError
    InputError
        A price of something that the catalogue does not limit, or below 0; a share outside 0..1,
        or none beside a budget; a catalogue with a table [waits].

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

    def __init__(
        self,
        policy: NextBestAction,
        prices: Mapping[str, float] | None = None,
        share: float | None = None,
    ) -> None:
        if policy.effects_ is None:
            raise NotFittedError.of(policy, "prepare")
        if policy.catalogue.waits is not None:
            raise InputError.of(
                "prepare",
                "waits",
                expected="a catalogue without [waits]: they are played ahead in a whole run",
                found="the table",
                hint="Prepare a policy without it, or let policy.decide choose.",
            )
        self.share = shared(policy, share)
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
        self.prices = QuickPrices(
            self.parts,
            rate,
            value.lifetime_value,
            proceeds=len(self.effects) > 1 and self.effects[1] is not None,
        )
        names, usage, self.limits = self.setting.resources
        self.price = priced(names, prices)
        self.paid, self.priced = self.usage @ self.price, bool(self.price.any())
        self.by_channel = _by_channel(self.setting, usage)
        self.by_value = self.share > 0 and policy.catalogue.exploration is not None
        cost = _by_channel(self.setting, self.actions.cost[:, None])
        self.cost = None if policy.explores_evenly else cost[:, 0]
        self._quick = quick_accounts(policy, self.rules, self.payment, self.effects)
        self._chances: dict[tuple[bytes, bool], _Chance] = {}
        self._refusals: dict[bytes, Refusal] = {}

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
        check_rows(rows)
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
        *,
        overrides: Overrides | None = None,
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
        overrides : Overrides or None
            What people decided; only what names the account counts. Where it does, or where the
            catalogue shifts tones or explores by value, the decision takes milliseconds.

        Returns
        -------
        OneChoice
            What ``policy.decide`` gives for a ledger of this account alone at the time of the
            record, if nothing is scarce.

        Raises
        ------
        InputError
            The record is of another policy or another day, or the overrides are none that the
            catalogue knows.
        """
        if overrides is not None and not isinstance(overrides, Overrides):
            raise InputError.of(
                "decide_one",
                "overrides",
                expected="Overrides or None",
                found=type(overrides).__name__,
            )
        given: Any = record
        if not isinstance(given, AccountRecord):
            raise InputError.of(
                "decide_one",
                "record",
                expected="an AccountRecord",
                found=type(record).__name__,
                hint="Make one: policy.prepare().records(ledger, now), or .record(rows, now).",
            )
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
        named = overrides is not None and record.account_id in overrides.accounts
        shifted = state.tone_offset is not None and state.tone_offset.any()
        if named or shifted or self.by_value:
            return run_of_one(self, record, state, overrides if named else None, seed=seed)
        judged = self.rules.judge(state, key)
        case, known = self.case(record, state)
        counts = judged.counts if known else np.zeros_like(judged.counts)
        chance = self._chance(counts, may=known and not record.protected)
        u = uniform_row(record.account_id, state.as_of, seed)
        picked = self._picked(case, judged, chance, u, known=known)
        return self._written(record, state, judged, case=case, picked=picked, seed=seed)

    def some(self, columns: Rows) -> tuple[Floats, Floats, Bools]:
        """Cost, rank of the tone and whether it is a contact, of some actions, (1, k) each."""
        cost, tone, contact = self.of_action
        return cost[:, columns], tone[:, columns], contact[:, columns]

    def of_classes(self, values: Floats, allowed: Bools) -> list[list[float]]:
        """Give worth, and number, of the best permitted action of each class; to wait is worth 0.

        Parameters
        ----------
        values : (K,) float64
        allowed : (K,) bool
        """
        padded = np.full(len(values) + 1, -np.inf)
        np.copyto(padded[:-1], values, where=allowed)
        padded[0] = 0.0
        table = padded[self.grid]
        at = table.argmax(axis=1)
        every = np.arange(len(at))
        return [table[every, at].tolist(), self.grid[every, at].tolist()]

    # -- laid out once -----------------------------------------------------------------------

    def _models(self) -> None:
        from collectopt.models import PaymentModel, ResponseModel

        policy, effects = self.policy, self.policy._effects  # noqa: SLF001 - a part of the policy
        days = policy.catalogue.horizon_days
        self.marks = timing.marks(days)
        ours = isinstance(policy.payment_, PaymentModel)
        self.payment = QuickPayment(policy.payment_, self.marks) if ours else None
        self.effects = [
            QuickEffects(m) if isinstance(m, ResponseModel) else None
            for m in (effects.model, effects.proceeds)
        ]
        self.kernels = one_row.compiled()
        self.learnt = [quick for quick in self.effects if quick is not None]
        for quick in self.learnt:  # compile now rather than at the first decision
            quick.theta(np.zeros(quick.level.width, dtype=np.float32), (0.0, 0.0))
        self.assumed = None
        if effects.model is None:
            self.assumed = effects.factors(cast(Snapshot, None), self.actions)
        self.ladder = [False] * len(SEGMENTS)
        self.trust = [(1.0, 1.0)] * len(SEGMENTS)
        if effects.verdict is not None:
            ladder, share = effects.verdict.of(np.arange(len(SEGMENTS)))
            self.ladder = ladder.tolist()
            self.trust = [(a, b) for a, b in share.tolist()]
        self.rungs = FixedLadder(policy.catalogue, rules=policy.rules)

    def _classes(self) -> None:
        """Classes of actions with the same kind, channel and usage, as in a run."""
        _, usage, _ = self.setting.resources
        keys = np.column_stack([self.actions.kind, self.actions.channel, usage])
        self.classes, group = np.unique(keys, axis=0, return_inverse=True)
        self.members = [np.flatnonzero(group.reshape(-1) == g) for g in range(len(self.classes))]
        widest = max(map(len, self.members))
        # places of the actions of each class; the further place of a class is worth nothing
        self.grid = np.full((len(self.members), widest), len(self.actions))
        for g, members in enumerate(self.members):
            self.grid[g, : len(members)] = members
        every = range(len(self.members))
        self.found = np.empty((2, len(self.actions))), np.empty((2, len(self.members)))
        self.others = [[g for g in every if g != first] for first in every]
        self.usage = self.classes[:, 2:]
        self.stop = np.flatnonzero(self.classes[:, 0] == ActionKind.STOP).tolist()
        # a tie goes to what takes less
        turn = np.lexsort(self.usage.T[::-1]) if usage.shape[1] else np.arange(len(self.members))
        self.turn = turn.tolist()
        self.passive = np.isin(self.actions.kind, (ActionKind.WAIT, ActionKind.STOP))
        contact = self.actions.is_contact
        self.channel = np.where(contact, self.actions.channel, -1).astype(np.int64)
        channels = range(len(self.actions.channels))
        kinds = ["" if kind is ActionKind.CONTACT else kind.channel for kind in ActionKind]
        codes = np.where(contact, self.actions.channel, len(channels) + self.actions.kind)
        self.named = [[*self.actions.channels, *kinds][code] for code in codes.tolist()]
        self.chancy = np.isin(self.actions.kind, (ActionKind.WAIT, ActionKind.CONTACT)).tolist()
        self.tone, self.offer = self.actions.tone.tolist(), self.actions.offer.tolist()
        self.costs = self.actions.cost.tolist()

    @cached_property
    def setting(self) -> Setting:
        """What is the same for every account."""
        policy = self.policy
        return Setting(
            cast(Snapshot, None),  # resources do not look at it, nor at the state
            unbounded(policy.catalogue),
            policy.rules,
            self.layout,
            cast(State, None),
            self.share,
            0,
            self.version,
            {},
            policy.explores_evenly,
        )

    # -- for each account --------------------------------------------------------------------

    def case(self, record: AccountRecord, state: State) -> tuple[Case, bool]:
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
        if self.payment is None or record.payment is None or record.stages is None:
            assert record.chances is not None
            return record.chances
        return self.payment.paid(record.payment, record.stages, record.due, record.day)

    def _factors(
        self, record: AccountRecord
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None]:
        if self.assumed is not None:
            return self.assumed
        if record.effects is None or not record.lines:
            assert record.factors is not None
            return record.factors
        found = [
            (
                quick.theta(record.effects, straight, self.trust[record.segment]),
                quick.phi,
            )
            for quick, straight in zip(self.learnt, record.lines, strict=False)
        ]
        return found[0], found[1] if len(found) > 1 else None

    def _picked(
        self,
        case: Case,
        judged: Judged,
        chance: _Chance,
        u: tuple[float, ...],
        *,
        known: bool,
    ) -> Picked:
        """Choose at the prices: the best permitted class of actions, the next best, the draw."""
        found = None
        if known and not judged.bound and isinstance(case, OneCase):
            found = case.best(judged.allowed)
        worth, actions = found or self._wanted(case, judged, known=known)
        for g in self.stop:
            if not worth[g] > 0:
                worth[g] = -math.inf
        net = [w - p for w, p in zip(worth, self.paid, strict=True)] if self.priced else worth
        first = max(chance.order, key=net.__getitem__)
        second = max(self.others[first], key=net.__getitem__, default=first)
        there = second != first and net[second] > -math.inf
        greedy = taken = int(actions[first])
        joins, epsilon = chance.joins and self.chancy[greedy], self.share
        explores = joins and chance.explores and int(u[1] / epsilon) < 1
        if explores:
            taken = self._drawn(greedy, judged, chance, u)
        propensity = 1.0 if taken == greedy else 0.0
        return Picked(
            known=known,
            taken=taken,
            greedy=greedy,
            rival=int(actions[second]) if there else -1,
            rival_value=worth[second] if there else 0.0,
            explores=explores,
            propensity=self._propensity(chance, taken, greedy) if joins else propensity,
            reachable=chance.reachable,
        )

    def _wanted(self, case: Case, judged: Judged, *, known: bool) -> list[list[float]]:
        """Give worth, and number, of the best permitted action of each class; as `OneCase.best`."""
        allowed, values = judged.allowed, np.zeros(len(self.actions))
        if known and not judged.bound:
            values = case.values(_ROW)[0]
        else:
            allowed = self.passive & known
            if known and allowed.sum() > 1:
                values[allowed] = case.values(_ROW, np.flatnonzero(allowed))[0]
        return self.of_classes(values, allowed)

    def _drawn(self, greedy: int, judged: Judged, chance: _Chance, u: tuple[float, ...]) -> int:
        """Give the action that an account which is drawn tries."""
        uniform = np.array([u[2:]])
        drawn = chance.exploration.draw(_ROW, lambda _: judged.allowed, self.channel, uniform)
        return int(drawn[0]) if drawn[0] >= 0 else greedy

    def _chance(self, counts: Ints, *, may: bool) -> _Chance:
        key = counts.tobytes(), may
        found = self._chances.get(key)
        if found is None:
            explored = plan(
                counts,
                np.array([may]),
                np.zeros((1, 2)),
                self.share,
                usage=self.by_channel,
                limits=self.limits,
                cost=self.cost,
            )
            fits = np.asarray((self.usage <= self.limits - explored.reserve + 1e-9).all(axis=1))
            found = _Chance(
                explored,
                [g for g in self.turn if fits[g]],
                joins=bool(explored.joins[0]),
                explores=self.share > 0 and bool(explored.explores[0]),
                reachable=bool(counts.any()),
            )
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
        picked: Picked,
        seed: int,
    ) -> OneChoice:
        """Put what was chosen and why into words."""
        actions, taken, greedy = self.actions, picked.taken, picked.greedy
        if isinstance(case, OneCase):
            detail = case.detail(taken)
        else:
            detail = Detail.of(case.details(_ROW, np.array([taken])))
        refusal = self._refusals.get(judged.code)
        if refusal is None:
            refusal = refusals(self.policy.rules, actions, judged.refused)[0]
            if len(self._refusals) >= _KEPT:
                self._refusals.clear()
            self._refusals[judged.code] = refusal
        refusal = refusal.told(state)
        rival = picked.rival if taken == greedy else greedy
        amount = float(state.open_amount[0])
        tone, offer = self.tone[taken], self.offer[taken]
        sent = None
        if self.channel[taken] >= 0:
            slot = self.layout.index[Unit.SLOT][taken]
            sent = _EPOCH + timedelta(microseconds=int(state.send_at[0, slot]))
        return OneChoice(
            account_id=record.account_id,
            channel=self.named[taken],
            tone=None if tone < 0 else actions.tones[tone],
            offer=None if offer < 0 else actions.offers[offer],
            send_at=sent,
            propensity=picked.propensity,
            p_pay=detail.p_pay,
            p_pay_if_wait=detail.p_wait,
            expected_recovery=detail.recovery,
            uplift=detail.p_pay - detail.p_wait,
            cost=self.costs[taken],
            value=detail.value,
            runner_up=None if rival < 0 else actions.names[rival],
            reasons=tuple(why(self.policy.catalogue, picked, refusal, detail, amount)),
            rule_trace=tuple(refusal.trace),
            policy_version=self.version,
            decision_id=decision_ids([record.account_id], state.as_of, seed, self.version)[0],
            terms=detail.terms,
        )

    def _propensity(self, chance: _Chance, taken: int, greedy: int) -> float:
        """Probability of the action taken; it hangs on three things that are looked up."""
        channel = int(self.channel[taken])
        key = (channel, taken == 0, taken == greedy)
        found = chance.propensity.get(key)
        if found is None:
            action, of_it = np.array([taken]), np.array([channel])
            exploration = chance.exploration
            found = float(exploration.propensity(_ROW, action, of_it, np.array([greedy]))[0])
            chance.propensity[key] = found
        return found
