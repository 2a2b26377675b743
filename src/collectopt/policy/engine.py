"""From what a policy wants to a joint choice: rules, shared limits, exploration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.allocation import Allocation, allocate
from collectopt.policy.bounded import Spent, within_budget
from collectopt.policy.draws import uniforms
from collectopt.policy.exploration import Exploration, plan
from collectopt.policy.orders import Orders
from collectopt.policy.protected import protected
from collectopt.policy.shifting import Shifts
from collectopt.policy.tilted import Tally, Tilted
from collectopt.rules.layout import Layout
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.snapshot import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = slice | Ints
ALL = slice(None)
_CELLS = 2_000_000  # of accounts x actions held at once


@dataclass(frozen=True)
class Details:
    """What a policy says about the action taken, for b accounts; nan = it does not know.

    Attributes
    ----------
    p_pay, p_wait : ndarray (b,)
        P(everything past due is paid within the horizon), with the action and without.
    recovery : ndarray (b,)
        EUR expected within the horizon with the action.
    value : ndarray (b,)
        EUR relative to waiting.
    terms : mapping of str to ndarray (b,)
        The value by term.
    notes : tuple of b str
        A further reason, empty = none.
    waits : tuple of b str
        Why it waits for a day, in place of why it waits; empty = it does not.
    """

    p_pay: Floats
    p_wait: Floats
    recovery: Floats
    value: Floats
    terms: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()


class Case(ABC):
    """One snapshot as a policy sees it."""

    @abstractmethod
    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Worth of actions relative to waiting (b, K); -inf = not wanted.

        Parameters
        ----------
        rows : slice or int array
            Accounts.
        columns : slice or int array
            Actions.
        """

    def euros(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR relative to waiting, by which exploration is judged; -inf = not known.

        As `values`, where these are EUR.
        """
        return self.values(rows, columns)

    def told(self, rows: slice, best: Floats, action: Ints) -> Floats:
        """EUR of some actions an account, (b, G), of which `values` gave ``best``; nan = unknown.

        As ``best``, where `values` are EUR.
        """
        del rows, action
        return best

    @abstractmethod
    def details(self, rows: slice, action: Ints) -> Details:
        """Say what the policy knows about one action an account."""


@dataclass(frozen=True)
class Setting:
    """Everything that is the same for all policies in one run."""

    snapshot: Snapshot
    catalogue: Catalogue
    rules: Rules
    layout: Layout
    state: State
    epsilon: float
    seed: int
    version: str
    undecidable: Mapping[str, Bools] = field(default_factory=dict)  # by reason; they wait
    even: bool = False  # whether exploration draws channels all alike, not by what they cost
    orders: Orders = field(default_factory=Orders)  # what people decided
    prices: Floats | None = None  # EUR a unit of what is limited, of a run before

    @property
    def actions(self) -> ActionSet:
        """Actions of the catalogue."""
        return self.catalogue.actions

    @cached_property
    def shifts(self) -> Shifts | None:
        """What the table of tones shifts; None = nothing."""
        return Shifts.of(self.state, self.orders.given(ALL, len(self.state)), self.actions)

    def by_hand(self, rows: slice) -> Bools:
        """Accounts whose action is not the policy's alone: people spoke, or the table of tones."""
        given = self.orders.given(rows, len(self.state))
        return given if self.shifts is None else given | self.shifts.given(rows)

    @cached_property
    def resources(self) -> tuple[tuple[str, ...], Floats, Floats]:
        """Names of what is limited, units that each action takes (K, R), limits (R,)."""
        actions, limits = self.actions, self.catalogue.limits
        columns: list[tuple[str, Floats, float]] = []
        if limits.budget is not None:
            columns.append(("budget", actions.cost, limits.budget))
        if limits.minutes is not None:
            columns.append(("minutes", actions.minutes, limits.minutes))
        if limits.harshness is not None:
            columns.append(("harshness", actions.harshness, limits.harshness))
        for c, channel in enumerate(self.catalogue.channels):
            if channel.capacity is not None:
                mine = (actions.is_contact & (actions.channel == c)).astype(np.float64)
                columns.append((channel.name, mine, float(channel.capacity)))
        usage = np.zeros((len(actions), len(columns)))
        for r, (_, units, _) in enumerate(columns):
            usage[:, r] = units
        return (
            tuple(name for name, _, _ in columns),
            usage,
            np.array([limit for _, _, limit in columns], dtype=np.float64),
        )

    def blocks(self) -> Iterator[slice]:
        """Blocks of accounts, small enough to hold all their actions."""
        size = max(_CELLS // len(self.actions), 1)
        for start in range(0, len(self.state), size):
            yield slice(start, min(start + size, len(self.state)))


@dataclass(frozen=True)
class Wanted:
    """The best permitted action of each class of equal channel and usage, for n accounts.

    Attributes
    ----------
    best : ndarray (n, G)
        Its worth; -inf = none permitted. Class 0 is to wait; then come the channels.
    action : int array (n, G)
    usage : ndarray (G, R)
    counts : int array (n, C)
        Permitted actions by channel.
    waits : bool array (n,)
        Cannot be decided.
    yields : int array (n,)
        Contacts withheld because another account of the same customer goes first.
    tally : Tally or None
        What may be explored by value, where the catalogue sets bounds to it.
    sent : int array (n, G) or None
        What the table of tones makes of `action`; None = nothing else.
    """

    best: Floats
    action: Ints
    usage: Floats
    counts: Ints
    waits: Bools
    yields: Ints
    tally: Tally | None = None
    sent: Ints | None = None


@dataclass(frozen=True)
class Outcome:
    """The joint choice: what each account gets without exploration, and who explores.

    Attributes
    ----------
    wanted : Wanted
    exploration : Exploration
    greedy : int array (n,)
        Action without exploration.
    rival : int array (n,)
        Best action of another class at the prices; -1 = none.
    rival_value : ndarray (n,)
        Its worth before prices.
    prices : mapping of str to float
        EUR that one more unit of a scarce resource would be worth.
    u : ndarray (n, 2)
        Uniform numbers for the exploring draw.
    spent : Spent or None
        What exploring is expected to cost; None: the catalogue sets it no bounds.
    amended : mapping of int to tuple of str
        What became of changes that people ordered, by row.
    """

    wanted: Wanted
    exploration: Exploration
    greedy: Ints
    rival: Ints
    rival_value: Floats
    prices: Mapping[str, float]
    u: Floats
    spent: Spent | None = None
    amended: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def choose(setting: Setting, case: Case) -> Outcome:
    """Choose for all accounts together; accounts x actions never stands in memory."""
    names, usage, _ = setting.resources
    wanted, orders = _first_pass(setting, case, usage), setting.orders
    ids = setting.snapshot.rows["account_id"].to_numpy(zero_copy_only=False)
    u = uniforms(ids, setting.state.as_of, setting.seed)
    exploration, allocation, spent, above = _explored(setting, case, wanted, u[:, :2])
    greedy, amended = _made(setting, wanted, allocation.choice, above)
    kept = orders.changing(allocation.choice, usage[greedy], wanted.usage)
    if kept:  # what people change takes its part of the limits first, the others what is left
        exploration, allocation, spent, above = _explored(setting, case, wanted, u[:, :2], kept)
        greedy, amended = _made(setting, wanted, allocation.choice, above)
    rival, rival_value = _rival(wanted, allocation)
    prices = {n: float(p) for n, p in zip(names, allocation.prices, strict=True) if p > 0}
    return Outcome(
        wanted, exploration, greedy, rival, rival_value, prices, u[:, 2:], spent, amended
    )


def _made(
    setting: Setting, wanted: Wanted, choice: Ints, above: list[int]
) -> tuple[Ints, dict[int, tuple[str, ...]]]:
    """Give the action of the class chosen, as the table of tones and people change it, and why."""
    place = np.arange(len(choice)), choice
    chosen = wanted.action[place]
    greedy = chosen if wanted.sent is None else wanted.sent[place]
    greedy, said = setting.orders.amend(greedy, setting.actions, above)
    if setting.shifts is not None:
        said |= setting.shifts.said(chosen, greedy)
    return greedy, said


def _explored(
    setting: Setting,
    case: Case,
    wanted: Wanted,
    u: Floats,
    kept: Mapping[int, tuple[int, Floats]] | None = None,
) -> tuple[Exploration, Allocation, Spent | None, list[int]]:
    """Plan who explores, and choose for the others within what that leaves of the limits.

    What people force comes first of all, and the choices to be kept (class and usage by row); gives
    also the rows that got it beyond the limits.
    """
    _, usage, limits = setting.resources
    served = setting.orders.serve_first(wanted.best, wanted.usage, limits, kept or {})
    forced, left, limits, above = served
    tally, by_channel = wanted.tally, _by_channel(setting, usage)
    spared = protected(setting.state, setting.catalogue) | setting.by_hand(ALL)
    cost = _by_channel(setting, setting.actions.cost[:, None])[:, 0]

    def planned(epsilon: float) -> Exploration:
        return plan(
            wanted.counts if tally is None else tally.count,
            ~(spared | wanted.waits | (wanted.yields > 0)),
            u,
            epsilon,
            usage=by_channel,
            limits=limits,
            cost=None if setting.even else cost,
        )

    def allocated(reserve: Floats) -> Allocation:
        asked = setting.prices
        worth = left if asked is None else left - wanted.usage @ asked
        chosen = allocate(worth, wanted.usage, limits - reserve)
        choice = np.where(forced >= 0, forced, chosen.choice)
        prices = chosen.prices if asked is None else chosen.prices + asked
        return replace(chosen, choice=choice, prices=prices)

    def chance(choice: Ints) -> Bools:
        # none where the choice is an agency, a court or to stop
        kind = setting.actions.kind[wanted.action[np.arange(len(choice)), choice]]
        return np.isin(kind, (ActionKind.WAIT, ActionKind.CONTACT))

    if tally is not None:
        tilt = partial(Tilted.of, tally=tally, case=case)
        found = within_budget(lambda e: tilt(planned(e)), allocated, chance, setting.epsilon)
        return found.exploration, found.allocation, found.spent, above
    exploration = planned(setting.epsilon)
    allocation = allocated(exploration.reserve)
    some = chance(allocation.choice)
    exploration = replace(
        exploration, joins=exploration.joins & some, explores=exploration.explores & some
    )
    return exploration, allocation, None, above


def _first_pass(setting: Setting, case: Case, usage: Floats) -> Wanted:
    n, actions = len(setting.state), setting.actions
    # by kind (waiting first), channel and usage
    keys = np.column_stack([actions.kind, actions.channel, usage])
    classes, group = np.unique(keys, axis=0, return_inverse=True)
    members = [np.flatnonzero(group.reshape(-1) == g) for g in range(len(classes))]
    best = np.full((n, len(classes)), -np.inf)
    action = np.tile([columns[0] for columns in members], (n, 1)).astype(np.int64)
    counts = np.zeros((n, len(actions.channels)), dtype=np.int64)
    waits = np.any([np.zeros(n, dtype=bool), *setting.undecidable.values()], axis=0)
    how = None if setting.even or not setting.epsilon else setting.catalogue.exploration
    tally = None if how is None else Tally.of(how, actions, n, len(classes))
    whole, moved = np.arange(len(actions)), []
    passive = np.flatnonzero(np.isin(actions.kind, (ActionKind.WAIT, ActionKind.STOP)))
    for rows in setting.blocks():
        verdict = setting.rules.evaluate(setting.state, setting.layout, rows)
        bound = verdict.bound & ~setting.orders.given(rows, len(setting.state))
        # most accounts of most books may not be contacted now: all that is left is to stop
        for mine, among in ((np.flatnonzero(~bound), whole), (np.flatnonzero(bound), passive)):
            here = mine + rows.start
            allowed = setting.orders.narrow(verdict.permitted(mine, among), here, among)
            allowed[waits[here], 1:] = False
            values = np.where(allowed, case.values(here, among), -np.inf)
            values[:, 0] = 0.0
            setting.orders.oblige(values, allowed, here)
            for g, columns in enumerate(members):
                place = _as_slice(np.flatnonzero(np.isin(among, columns)))
                part = values[:, place]
                if part.size:
                    at = part.argmax(axis=1)
                    best[here, g] = part[np.arange(len(at)), at]
                    action[here, g] = among[place][at]
            shifts = setting.shifts if among is whole else None
            if shifts is not None:
                own = best[here], action[here]
                best[here], action[here], sent = shifts.regroup(
                    here, values, allowed, group.reshape(-1), *own
                )
                moved.append((here, sent))
            counts[here] = _count(allowed, actions, among)
            if tally is not None and among is whole:
                tally.add(here, allowed, case.euros(here), action[here])
    # to stop is a candidate only where it is worth more than to wait
    stop = classes[:, 0] == ActionKind.STOP
    kept = (best[:, stop] > 0) | setting.orders.forced(n)[:, None]
    best[:, stop] = np.where(kept, best[:, stop], -np.inf)
    late = _yields(setting, best)
    yields = np.where(late, counts.sum(axis=1), 0)
    best[late, 1:], counts[late] = -np.inf, 0
    found = Wanted(best, action, classes[:, 2:], counts, waits, yields, tally)
    if setting.shifts is None:
        return found
    whole_sent = action.copy()
    for here, sent in moved:
        whole_sent[here] = sent
    return replace(found, sent=whole_sent)


def _as_slice(columns: Ints) -> Rows:
    """Columns in a row as a slice, which needs no copy."""
    if len(columns) and columns[-1] - columns[0] == len(columns) - 1:
        return slice(int(columns[0]), int(columns[-1]) + 1)
    return columns


def _count(allowed: Bools, actions: ActionSet, among: Ints) -> Ints:
    channel = np.where(actions.is_contact, actions.channel, -1)[among]
    counts = [
        allowed[:, _as_slice(np.flatnonzero(channel == c))].sum(axis=1)
        for c in range(len(actions.channels))
    ]
    return np.stack(counts, axis=1).astype(np.int64)


def _yields(setting: Setting, best: Floats) -> Bools:
    """Accounts of a customer for whom others of the same customer use up the cap.

    What people force goes first and never yields, then the most valuable. As many as the cap
    leaves in any case may be contacted, or one where the rule finds a slot for it.
    """
    state, most = setting.state, setting.catalogue.house.reminders_per_customer
    yields = np.zeros(len(state), dtype=bool)
    number = np.unique(state.person, return_inverse=True)[1].reshape(-1)
    rows = np.flatnonzero(np.bincount(number, minlength=1)[number] > 1)
    ahead = setting.orders.reminding(len(state))
    order = rows[np.lexsort((rows, -best[rows, 1:].max(axis=1), ~ahead[rows], number[rows]))]
    owner = number[order]
    rank = np.arange(len(order)) - np.searchsorted(owner, owner, side="left")
    room = np.minimum(np.maximum(state.free[order], 1), np.inf if most is None else most)
    yields[order[rank >= room]] = True
    return yields & ~setting.orders.forced(len(state))


def _by_channel(setting: Setting, units: Floats) -> Floats:
    """Most that one action of each channel takes, (C, R)."""
    actions = setting.actions
    rows = [
        units[actions.is_contact & (actions.channel == c)].max(axis=0, initial=0.0)
        for c in range(len(actions.channels))
    ]
    return np.stack(rows)


def _rival(wanted: Wanted, allocation: Allocation) -> tuple[Ints, Floats]:
    """Find the best action of another class at the prices, waiting included; -1 = none."""
    i = np.arange(len(wanted.best))
    net = wanted.best - wanted.usage @ allocation.prices
    net[i, allocation.choice] = -np.inf
    second = net.argmax(axis=1)
    none = ~np.isfinite(net[i, second])
    action, value = wanted.action[i, second], wanted.best[i, second]
    return np.where(none, -1, action), np.where(none, 0.0, value)
