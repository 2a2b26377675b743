"""One decision at once: the same as that of a whole run, for one account, in a fraction of a ms.

A run works on tables; for one account it would spend its time on calls. Here everything that is the
same for all accounts is laid out once: classes of actions, factors, chances of harm, prices, trees.
What an account gets is then worked out by the same rules, objective, exploration and words.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.harm_log import MOST
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.objective.algebra import Block, _scaled
from collectopt.policy import reasons, timing
from collectopt.policy.draws import decision_ids, seed_of, uniforms
from collectopt.policy.engine import (
    ALL,
    Case,
    Details,
    Floats,
    Ints,
    Outcome,
    Rows,
    Setting,
    Wanted,
    _as_slice,
    _by_channel,
)
from collectopt.policy.exploration import Exploration, plan
from collectopt.policy.guard import SEGMENTS
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.one_record import AccountRecord, records
from collectopt.policy.one_rules import Judged, QuickRules
from collectopt.policy.record import _Row, _Writer
from collectopt.policy.risks import Risks
from collectopt.policy.valued import LadderCase, ValuedCase
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
from collectopt.schema.ledger import Ledger
from collectopt.schema.outlook import Outlook
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW = slice(0, 1)
_UNKNOWN = "the models give no probability for it"
_KEPT = 10_000


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
    fits: np.ndarray[Any, np.dtype[np.bool_]] | None  # classes within the limits; None = all


class _OneCase(ValuedCase):
    """One account as a policy sees it: the same block of numbers without the calls around it."""

    def __init__(self, one: OneDecision, outlook: Outlook, state: State) -> None:
        self.outlook, self.state, self.one = outlook, state, one
        self.objective, self.catalogue = one.policy.objective, one.policy.catalogue
        self.note = one.note
        risks, recent = one.risks, min(int(state.recent[0]), MOST)
        self.harm = None if risks is None else tuple(r[recent : recent + 1] for r in risks)
        self.shared = {
            "p_wait": outlook.p_wait[:, None],
            "open_amount": outlook.open_amount[:, None],
            "days": outlook.days[:, None],
            "lifetime_value": outlook.lifetime_value[:, None],
            "contacts": state.recent[:, None].astype(np.float64),
            **one.constants,
        }

    def _block(
        self, rows: Rows, uplift: Floats, brought: Floats | None, pick: Rows, axis: int
    ) -> Block:
        del rows, axis  # one row: both axes give (1, k)
        cost, tone, contact = self.one.factors
        harm = {}
        if self.harm is not None:
            names = ("complaint", "opt_out", "leave")
            harm = {name: r[:, pick] for name, r in zip(names, self.harm, strict=True)}
        return Block(
            p=self.shared["p_wait"] + uplift,
            cost=cost[:, pick],
            tone=tone[:, pick],
            contact=contact[:, pick],
            brought=brought,
            **harm,
            **self.shared,
        )

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action relative to waiting."""
        block = self.block(rows, columns)
        total = np.zeros(block.cost.shape)
        for weight, term in self.objective.parts:
            total += weight * term.euros(block)
        return total

    def details(self, rows: slice, action: Ints) -> Details:
        """Probabilities and EUR by term of the action taken."""
        block = self.taken(rows, action)
        parts = zip(self.one.labels, self.objective.parts, strict=True)
        terms = {label: (weight * term.euros(block) + 0.0)[0] for label, (weight, term) in parts}
        value = np.zeros(1) if not terms else sum(terms.values(), start=np.zeros(1))
        notes = reasons.notes(self.note, self.state, self.catalogue.house, rows)
        p = block.p[0]
        return Details(p, block.p_wait[0], p * block.open_amount[0], value, terms, notes)


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
        A price of something that the catalogue does not limit, or below 0.

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
        self.policy, self.version = policy, policy.version
        self.actions = policy.catalogue.actions
        self.layout = Layout.of(self.actions)
        self.rules = QuickRules(policy.rules, self.layout)
        self.note = policy.effects_.note
        harm = policy.harm_
        risks = None if harm is None else Risks.of(harm, self.actions)
        self.risks = None if risks is None else (risks.complaint, risks.opt_out, risks.leave)
        value, rate = policy.catalogue.value, policy.catalogue.discount_rate
        self.constants: dict[str, Any] = {
            "discount_rate": rate,
            "complaint_cost": value.complaint_cost,
            "unknown_value": value.lifetime_value,
        }
        tone = self.actions.tone.astype(np.float64)
        self.factors = self.actions.cost[None], tone[None], self.actions.is_contact[None]
        self.labels = [_scaled(weight, term) for weight, term in policy.objective.parts]
        self._models()
        self._classes()
        names, usage, self.limits = self._setting(cast(State, None), 0).resources
        self.price = _priced(names, prices)
        self.paid = self.classes[:, 2:] @ self.price
        self.by_channel = _by_channel(self._setting(cast(State, None), 0), usage)
        cost = _by_channel(self._setting(cast(State, None), 0), self.actions.cost[:, None])
        self.cost = None if policy.explores_evenly else cost[:, 0]
        self._chances: dict[Hashable, _Chance] = {}
        self._refusals: dict[bytes, Any] = {}

    def __repr__(self) -> str:
        return f"OneDecision({self.policy!r}, {len(self.actions)} actions)"

    def records(self, ledger: Ledger, as_of: AsOf) -> dict[str, AccountRecord]:
        """Prepare all accounts with an open claim, by account_id, from what was known before.

        Raises
        ------
        InputError
        """
        return records(self.policy, self.rules, ledger, as_of)

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
        """
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
        seed, state = seed_of(rng), record.state
        if now is not None:
            moment = to_instant(now, self.policy.catalogue.timezone)
            state = record.at(int(moment.astype(np.int64)))
        judged = self.rules.judge(state, record.key)
        case, known = self._case(record, state)
        wanted, may = self._wanted(case, judged, known)
        u = uniforms(np.array([record.account_id], dtype=object), state.as_of, seed)
        outcome = self._outcome(wanted, may and not bool(state.vulnerable[0]), u)
        return self._written(record, state, judged, case, outcome, seed, known=known)

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
        self.spans = [_as_slice(members) for members in self.members]
        self.stop = np.flatnonzero(self.classes[:, 0] == ActionKind.STOP)
        # a tie goes to what takes less
        self.turn = np.lexsort(self.classes[:, 2:].T[::-1]) if usage.shape[1] else None
        passive = np.isin(self.actions.kind, (ActionKind.WAIT, ActionKind.STOP))
        self.passive = np.flatnonzero(passive)
        contact = self.actions.is_contact
        self.channel = np.where(contact, self.actions.channel, -1).astype(np.int64)
        channels = range(len(self.actions.channels))
        self.of_channel = [_as_slice(np.flatnonzero(self.channel == c)) for c in channels]
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
        """What the models say of the account, and whether they say anything."""
        p_wait, days = self._paid(record)
        (theta, phi), proceeds = self._factors(record)
        outlook = Outlook(
            cast(Snapshot, None),
            self.actions,
            np.array([p_wait]),
            state.open_amount,
            theta,
            phi,
            np.array([days]),
            self.policy.catalogue.horizon_days,
            np.array([record.lifetime_value]),
            proceeds,
        )
        known = bool(np.isfinite(p_wait) and np.isfinite(theta).all())
        known = known and (proceeds is None or bool(np.isfinite(proceeds[0]).all()))
        case: Case = _OneCase(self, outlook, state)
        if self.ladder[record.segment]:
            rungs = self.rungs._case(cast(Snapshot, None), state)[0]  # noqa: SLF001
            case = LadderCase(cast(ValuedCase, case), rungs, np.ones(1, dtype=bool))
        return case, known

    def _paid(self, record: AccountRecord) -> tuple[float, float]:
        """P(all past due is paid within the horizon), and the expected days to it."""
        if self.payment is None or record.payment is None:
            assert record.chances is not None
            return record.chances
        p = self.payment.before(record.payment, record.due, record.day)
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
        if record.effects is None or not record.standardised:
            assert record.factors is not None
            return record.factors
        found: list[tuple[Floats, Floats]] = []
        for quick, z in zip(self.effects, record.standardised, strict=False):
            if quick is not None and quick.model.factors is not None:
                theta = quick.theta(record.effects, z)
                if self.share is not None:
                    some, more = self.share[record.segment, :1], self.share[record.segment, 1:]
                    theta = some * quick.model.theta + more * (theta - quick.model.theta)
                found.append((theta, quick.model.factors.phi))
        return found[0], found[1] if len(found) > 1 else None

    def _wanted(self, case: Case, judged: Judged, known: bool) -> tuple[Wanted, bool]:
        """Give the best permitted action of each class, and whether any may be explored."""
        allowed = judged.allowed
        values = np.full(len(allowed), -np.inf)
        among = self.passive if judged.bound else slice(None)
        if known and (not judged.bound or len(self.passive) > 1):
            values[among] = case.values(_ROW, among)[0]
            values[~allowed] = -np.inf
        values[0] = 0.0
        best, action = np.empty((1, len(self.members))), np.empty((1, len(self.members)), np.int64)
        for g, span in enumerate(self.spans):
            mine = values[span]
            at = int(mine.argmax())
            best[0, g], action[0, g] = mine[at], self.members[g][at]
        for g in self.stop:
            if not best[0, g] > 0:
                best[0, g] = -np.inf
        counts = np.array(
            [[np.count_nonzero(allowed[mine]) if known else 0 for mine in self.of_channel]]
        )
        waits, yields = np.array([not known]), np.zeros(1, dtype=np.int64)
        return Wanted(best, action, self.classes[:, 2:], counts, waits, yields), known

    def _outcome(self, wanted: Wanted, may: bool, u: Floats) -> Outcome:
        """Choose at the prices, and see whether the account explores."""
        chance = self._chance(wanted.counts, may)
        epsilon = self.policy.explore
        drawn = epsilon > 0 and int(u[0, 1] / epsilon) < 1
        exploration = chance.by_draw[drawn]
        net = wanted.best[0] - self.paid
        if chance.fits is not None:
            net[~chance.fits] = -np.inf
        first = int(net.argmax() if self.turn is None else self.turn[net[self.turn].argmax()])
        greedy = wanted.action[:, first]
        if not self.chancy[greedy[0]]:
            none = np.zeros(1, dtype=bool)
            exploration = replace(exploration, joins=none, explores=none)
        net = wanted.best[0] - self.paid
        net[first] = -np.inf
        second = int(net.argmax())
        there = bool(np.isfinite(net[second]))
        rival = np.array([wanted.action[0, second] if there else -1])
        value = np.array([wanted.best[0, second] if there else 0.0])
        return Outcome(wanted, exploration, greedy, rival, value, {}, u[:, 2:])

    def _chance(self, counts: Ints, may: bool) -> _Chance:
        key = (counts.tobytes(), may)
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
            fits = (self.classes[:, 2:] <= self.limits - explored.reserve + 1e-9).all(axis=1)
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
        case: Case,
        outcome: Outcome,
        seed: int,
        *,
        known: bool,
    ) -> OneChoice:
        """Draw, and put what was chosen and why into words."""
        greedy = int(outcome.greedy[0])
        taken = greedy
        if outcome.exploration.explores[0]:
            drawn = outcome.exploration.draw(
                _ROW, lambda _: judged.allowed, self.channel, outcome.u
            )
            taken = int(drawn[0]) if drawn[0] >= 0 else greedy
        action = np.array([taken])
        chance = float(
            outcome.exploration.propensity(_ROW, action, self.channel[action], outcome.greedy)[0]
        )
        details = case.details(_ROW, action)
        rival = int(outcome.rival[0]) if taken == greedy else greedy
        undecidable = {} if known else {_UNKNOWN: np.ones(1, dtype=bool)}
        writer = _Writer(self._setting(state, seed, undecidable), outcome)
        key = judged.refused.tobytes()
        refusal = self._refusals.get(key)
        if refusal is None:
            refusal = self._refusals[key] = writer._refusals(judged.refused)[0]  # noqa: SLF001
        row = _Row(taken, chance, refusal, details)
        actions, contact = self.actions, self.channel[taken] >= 0
        tone, offer = int(actions.tone[taken]), int(actions.offer[taken])
        sent = None
        if contact:
            slot = self.layout.index[Unit.SLOT][taken]
            sent = _EPOCH + timedelta(microseconds=int(state.send_at[0, slot]))
        p, p_wait = float(details.p_pay[0]), float(details.p_wait[0])
        value = float(details.value[0])
        names = actions.names
        return OneChoice(
            account_id=record.account_id,
            channel=self.named[taken],
            tone=None if tone < 0 else actions.tones[tone],
            offer=None if offer < 0 else actions.offers[offer],
            send_at=sent,
            propensity=chance,
            p_pay=p,
            p_pay_if_wait=p_wait,
            expected_recovery=float(details.recovery[0]),
            uplift=p - p_wait,
            cost=float(actions.cost[taken]),
            value=value if np.isfinite(value) else np.nan,
            runner_up=None if rival < 0 else names[rival],
            reasons=tuple(writer._reasons(0, 0, row)),  # noqa: SLF001 - the same words
            rule_trace=tuple(writer._trace(0, refusal)),  # noqa: SLF001
            policy_version=self.version,
            decision_id=decision_ids(
                np.array([record.account_id], dtype=object), state.as_of, seed, self.version
            )[0],
            terms={name: float(each[0]) for name, each in details.terms.items()},
        )


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
