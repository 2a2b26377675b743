"""Exploration by value: draws tilted to what is worth more, and none that may cost too much.

Who explores draws an action k of its open set S (waiting among it) with probability

    floor * balanced(k) + (1 - floor) * exp(v_k / temperature) / sum over S of exp(v / temperature),

where `balanced` is the draw of :mod:`collectopt.policy.exploration` (a channel by what it tells for
the money, then its actions all alike) and S holds only what is worth at most `max_loss` less than
the best of the account. Sums over the actions are kept by channel, so that the probability of an
action is exact for any set of channels that capacities leave open, and accounts x actions never
stands in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.exploration import Exploration
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Exploring

if TYPE_CHECKING:
    from collectopt.policy.engine import Case

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_FLOOR = 0.1
_CENT = 1e-9  # EUR: rounding of a value


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the actions that n accounts may explore, by channel; filled block by block.

    Attributes
    ----------
    how : Exploring
    channel : int array (K,)
        Channel of each action, -1 = none.
    best : ndarray (n,)
        EUR of the best permitted action, at least 0 (to wait).
    count : int array (n, C)
        Actions of the channel that may be drawn.
    top, mass : ndarray (n, C)
        Their largest value, and the sum of exp((v - top) / temperature).
    flat, soft : ndarray (n, C)
        Their mean value, all alike and weighted by exp.
    wanted : ndarray (n, G)
        EUR of the best action of each class of the joint choice.
    """

    how: Exploring
    channel: Ints
    best: Floats
    count: Ints
    top: Floats
    mass: Floats
    flat: Floats
    soft: Floats
    wanted: Floats

    @classmethod
    def of(cls, how: Exploring, actions: ActionSet, n: int, classes: int) -> Self:
        """Begin with nothing for n accounts."""
        shape = (n, len(actions.channels))
        channel = np.where(actions.is_contact, actions.channel, -1).astype(np.int64)
        top, mass, flat, soft = (np.zeros(shape) for _ in range(4))
        counts, wanted = np.zeros(shape, dtype=np.int64), np.zeros((n, classes))
        return cls(how, channel, np.zeros(n), counts, top, mass, flat, soft, wanted)

    def near(self, rows: Ints, euros: Floats) -> Bools:
        """Say which values are so near to the best that the action may be drawn."""
        if self.how.max_loss is None:
            return np.isfinite(euros)
        least = self.best[rows] - self.how.max_loss - _CENT
        return np.isfinite(euros) & (euros >= (least[:, None] if euros.ndim > 1 else least))

    def add(self, rows: Ints, allowed: Bools, euros: Floats, wanted: Ints) -> None:
        """Take up a block: permitted actions and EUR relative to waiting (b, K), choices (b, G)."""
        euros = np.where(allowed, euros, -np.inf)
        euros[:, 0] = 0.0
        kept = np.take_along_axis(euros, wanted, axis=1)
        self.wanted[rows] = np.where(np.isfinite(kept), kept, 0.0)
        self.best[rows] = euros.max(axis=1, initial=0.0)
        open_ = self.near(rows, euros)
        for c in range(self.count.shape[1]):
            mine = np.flatnonzero(self.channel == c)
            if not len(mine):
                continue
            usable = open_[:, mine]
            some = usable.any(axis=1)
            value = np.where(usable, euros[:, mine], -np.inf)
            top = np.where(some, value.max(axis=1), 0.0)
            count = usable.sum(axis=1)
            value = np.where(usable, value, 0.0)
            self.count[rows, c], self.top[rows, c] = count, top
            self.flat[rows, c] = value.sum(axis=1) / np.maximum(count, 1)
            if self.how.temperature is not None:
                weight = usable * self.lift(value - top[:, None])
                mass = weight.sum(axis=1)
                self.mass[rows, c] = mass
                self.soft[rows, c] = (weight * value).sum(axis=1) / np.where(some, mass, 1.0)

    def lift(self, difference: Floats) -> Floats:
        """Give exp(difference / temperature), for differences up to 0."""
        assert self.how.temperature is not None
        return np.asarray(np.exp(np.minimum(difference, 0.0) / self.how.temperature))


@dataclass(frozen=True, eq=False)
class Tilted(Exploration):
    """As :class:`Exploration`, with draws by value from what may be drawn.

    Attributes
    ----------
    tally : Tally
    case : Case
        Gives values of actions.
    greedy_euros : ndarray (n,)
        EUR of the action without exploration, relative to waiting.
    """

    tally: Tally
    case: Case
    greedy_euros: Floats

    @classmethod
    def of(cls, plain: Exploration, *, tally: Tally, case: Case) -> Self:
        """Tilt a plan that was made for the actions of the tally."""
        nothing = np.zeros(len(plain.joins))
        one = cls(**vars(plain), tally=tally, case=case, greedy_euros=nothing)
        flat, _ = one.shares(slice(0, len(nothing)))
        return one.only(flat.max(axis=1) > 0)

    def only(self, mask: Bools) -> Self:
        """Let only these accounts explore; the mask must not depend on the draw."""
        own = {**vars(self), "joins": self.joins & mask, "explores": self.explores & mask}
        return type(self)(**own)

    @property
    def floor(self) -> float:
        """Share of the draws that are made whatever the actions are worth."""
        how = self.tally.how
        if how.temperature is None:
            return 1.0
        return _FLOOR if how.floor is None else how.floor

    def shares(self, rows: slice) -> tuple[Floats, Floats]:
        """Probability of waiting and of each channel in the two parts of the draw.

        Returns
        -------
        ndarray (b, C + 1), ndarray (b, C + 1)
            Balanced; by value (0 without a temperature). A row is 0 where nothing can be drawn.
        """
        tally, opened = self.tally, self.open[rows]
        stays = tally.near(np.arange(len(self.joins))[rows], np.zeros(len(opened)))
        flat = np.column_stack([self.wait[opened.sum(axis=1)] * stays, opened * self.weight])
        soft = np.zeros_like(flat)
        if tally.how.temperature is not None:
            usable = np.column_stack([stays, opened])
            top = np.column_stack([np.zeros(len(stays)), tally.top[rows]])
            mass = np.column_stack([np.ones(len(stays)), tally.mass[rows]])
            most = np.where(usable, top, -np.inf).max(axis=1, keepdims=True)
            most = np.where(np.isfinite(most), most, 0.0)
            soft = np.where(usable, mass * tally.lift(np.where(usable, top - most, 0.0)), 0.0)
        return _normal(flat), _normal(soft)

    def mean(self, rows: slice) -> Floats:
        """EUR that a draw brings on average, relative to waiting."""
        flat, soft = self.shares(rows)
        mean = self.floor * (flat[:, 1:] * self.tally.flat[rows]).sum(axis=1)
        return np.asarray(mean + (1.0 - self.floor) * (soft[:, 1:] * self.tally.soft[rows]).sum(1))

    def loss(self) -> float:
        """EUR that the draws lose on average against the actions without exploration."""
        each = np.where(self.joins, self.greedy_euros - self.mean(slice(0, len(self.joins))), 0.0)
        return float(self.epsilon * each.sum())

    def propensity(self, rows: slice, action: Ints, channel: Ints, greedy: Ints) -> Floats:
        """Probability of the action taken; as the plain exploration's."""
        here = np.arange(len(self.joins))[rows]
        euros = self.greedy_euros[rows].copy()
        others = np.flatnonzero(self.joins[rows] & (action != greedy))
        if len(others):
            values = self.case.euros(here[others])
            euros[others] = values[np.arange(len(others)), action[others]]
        euros[action == 0] = 0.0
        drawn = self._chance(rows, here, channel, euros)
        drawn = np.where((channel >= 0) | (action == 0), drawn, 0.0)
        mixed = (1.0 - self.epsilon) * (action == greedy) + self.epsilon * drawn
        return np.where(self.joins[rows], mixed, (action == greedy).astype(np.float64))

    def _chance(self, rows: slice, here: Ints, channel: Ints, euros: Floats) -> Floats:
        """Probability that the draw gives this one action of the channel, -1 = waiting."""
        tally, i, c = self.tally, np.arange(len(here)), np.maximum(channel, 0)
        flat, soft = self.shares(rows)
        one, many = flat[i, channel + 1], soft[i, channel + 1]
        contact = channel >= 0
        one = np.where(contact, one / np.maximum(tally.count[here, c], 1), one)
        if tally.how.temperature is not None:
            mass = tally.mass[here, c]
            part = tally.lift(euros - tally.top[here, c]) / np.where(mass > 0, mass, 1.0)
            many = np.where(contact, many * part, many)
        return np.where(tally.near(here, euros), self.floor * one + (1 - self.floor) * many, 0.0)

    def draw(self, rows: slice, allowed: Callable[[int], Bools], channel: Ints, u: Floats) -> Ints:
        """Draw the exploring action of each account of a block; -1 where it does not explore."""
        drawn = np.full(len(u), -1, dtype=np.int64)
        who = np.flatnonzero(self.explores[rows])
        if not len(who):
            return drawn
        here = np.arange(len(self.joins))[rows][who]
        euros = self.case.euros(here)
        flat, soft = self.shares(rows)
        for j, i in enumerate(who):
            whole = self.floor * flat[i] + (1 - self.floor) * soft[i]
            c = _pick(whole, u[i, 0]) - 1
            if c < 0:
                drawn[i] = 0
                continue
            near = self.tally.near(here[j : j + 1], euros[j : j + 1])[0]
            among = np.flatnonzero(allowed(int(i)) & (channel == c) & near)
            chance = np.full(len(among), self.floor * flat[i, c + 1] / len(among))
            if self.tally.how.temperature is not None:
                lifted = self.tally.lift(euros[j, among] - self.tally.top[here[j], c])
                chance += (1 - self.floor) * soft[i, c + 1] * lifted / self.tally.mass[here[j], c]
            drawn[i] = among[_pick(chance, u[i, 1])]
        return drawn


def _normal(weight: Floats) -> Floats:
    total = weight.sum(axis=1, keepdims=True)
    return np.asarray(weight / np.where(total > 0, total, 1.0))


def _pick(chance: Floats, u: float) -> int:
    """Index drawn in proportion; never one of chance 0."""
    edges = np.cumsum(chance)
    return int(np.searchsorted(edges[:-1], u * edges[-1], side="right"))
