"""Exploration inside the allowed set: exact propensities, and limits that hold in every draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_CHEAPEST = 0.01  # EUR that a contact counts for at least


@dataclass(frozen=True)
class Exploration:
    """Who may explore into which channel, who does, and what is set aside for it.

    Accounts are put into cells of floor(1 / epsilon) by a stable hash. In each cell at most one
    account explores, each with probability epsilon exactly. A channel that takes of a limit is
    open to so many cells only as the reserve has units for it: whoever explores, the limits hold.
    Who explores draws one of its open channels or to wait, in proportion to their weights, then an
    allowed action of that channel, all alike.

    Attributes
    ----------
    epsilon : float
    joins : bool array (n,)
        Takes part.
    explores : bool array (n,)
        Is drawn.
    open : bool array (n, C)
        Channels that it may explore.
    counts : int array (n, C)
        Allowed actions of each channel.
    reserve : ndarray (R,)
        Units set aside.
    weight : ndarray (C,)
        Weight of each channel.
    wait : ndarray (C + 1,)
        Weight of waiting by the number of channels open.
    """

    epsilon: float
    joins: Bools
    explores: Bools
    open: Bools
    counts: Ints
    reserve: Floats
    weight: Floats
    wait: Floats

    def propensity(self, rows: slice, action: Ints, channel: Ints, greedy: Ints) -> Floats:
        """Probability of the action taken.

        Parameters
        ----------
        rows : slice
            Of b accounts.
        action, greedy : int array (b,)
            Action taken; action without exploration.
        channel : int array (b,)
            Channel of the action taken; -1 = waits or is special.
        """
        joins, opened, counts = self.joins[rows], self.open[rows], self.counts[rows]
        i = np.arange(len(action))
        stay = self.wait[opened.sum(axis=1)]
        share = opened[i, channel] * self.weight[channel] / np.maximum(counts[i, channel], 1)
        drawn = np.where(channel >= 0, share, 0.0)
        drawn = np.where(action == 0, stay, drawn) / (stay + opened @ self.weight)
        mixed = (1.0 - self.epsilon) * (action == greedy) + self.epsilon * drawn
        return np.where(joins, mixed, (action == greedy).astype(np.float64))

    def draw(self, rows: slice, allowed: Callable[[int], Bools], channel: Ints, u: Floats) -> Ints:
        """Draw the exploring action of each account of a block; -1 where it does not explore.

        Parameters
        ----------
        rows : slice
        allowed : callable
            Number of the account in the block -> its permitted actions, bool (K,).
        channel : int array (K,)
            Channel of each action, -1 = none.
        u : ndarray (b, 2)
            Uniform numbers for the channel and the action.
        """
        drawn = np.full(len(u), -1, dtype=np.int64)
        for i in np.flatnonzero(self.explores[rows]):
            open_channels = np.flatnonzero(self.open[rows][i])
            stay = self.wait[len(open_channels)]
            edges = np.cumsum(np.r_[stay, self.weight[open_channels]])
            pick = int(np.searchsorted(edges[:-1], u[i, 0] * edges[-1], side="right"))
            if pick == 0:
                drawn[i] = 0
                continue
            among = np.flatnonzero(allowed(int(i)) & (channel == open_channels[pick - 1]))
            drawn[i] = among[int(u[i, 1] * len(among))]
        return drawn


def plan(
    counts: Ints,
    joins: Bools,
    u: Floats,
    epsilon: float,
    *,
    usage: Floats,
    limits: Floats,
    cost: Floats | None = None,
) -> Exploration:
    """Form cells, open channels to them and draw who explores.

    Parameters
    ----------
    counts : int array (n, C)
        Allowed actions of each channel.
    joins : bool array (n,)
        Accounts that may explore.
    u : ndarray (n, 2)
        Uniform numbers for the order and for the draw.
    epsilon : float
        Probability to explore, 0..1.
    usage : ndarray (C, R)
        Units that one action of a channel takes.
    limits : ndarray (R,)
        Units there are; the share epsilon of them is set aside at most.
    cost : ndarray (C,), optional
        EUR a contact. None: channels and waiting are drawn all alike. Else channels are drawn in
        proportion to 1 / sqrt(cost), which tells most about their effects for the money (Neyman's
        allocation with costs); the cheapest has weight 1. All are compared with waiting, which is
        drawn sqrt(open channels) times as often as that (Dunnett, 1955).
    """
    n, channels = counts.shape
    explores, opened = np.zeros(n, dtype=bool), np.zeros((n, channels), dtype=bool)
    reserve = np.zeros(len(limits))
    joins = joins & (counts > 0).any(axis=1) if epsilon > 0 else np.zeros(n, dtype=bool)
    if joins.any():
        size = max(int(1.0 / epsilon + 1e-9), 1)
        members = np.flatnonzero(joins)
        members = members[np.argsort(u[members, 0], kind="stable")]
        starts = np.arange(0, len(members), size)
        cell = np.arange(len(members)) // size
        picked = starts + (u[members[starts], 1] / epsilon).astype(np.int64)
        ends = np.minimum(starts + size, len(members))
        explores[members[picked[picked < ends]]] = True
        cells, taken = _cells(counts[members] > 0, cell, usage, epsilon * limits)
        opened[members] = (counts[members] > 0) & cells[cell]
        reserve = taken
    weight, wait = np.ones(channels), np.ones(channels + 1)
    if cost is not None:
        price = np.maximum(cost, _CHEAPEST)
        weight = np.sqrt(price.min(initial=np.inf) / price)
        wait = np.sqrt(np.maximum(np.arange(channels + 1), 1))
    return Exploration(epsilon, joins, explores, opened, counts, reserve, weight, wait)


def _cells(possible: Bools, cell: Ints, usage: Floats, reserve: Floats) -> tuple[Bools, Floats]:
    """Which cells (m, C) each channel is open to, and what that takes at most."""
    m, channels = int(cell[-1]) + 1, possible.shape[1]
    wanted = np.zeros((m, channels), dtype=bool)
    np.logical_or.at(wanted, cell, possible)
    finite = np.isfinite(reserve)
    takes = (usage > 0) & finite
    sharing = np.maximum(takes.sum(axis=0), 1)
    taken = np.zeros(len(reserve))
    for c in range(channels):
        # cells in turn, each channel from another start, so that none gets them all
        turn = (np.arange(m) + c * m // channels) % m
        turn = turn[wanted[turn, c]]
        units = [reserve[r] / sharing[r] / usage[c, r] + 1e-9 for r in np.flatnonzero(takes[c])]
        room = int(min([*units, len(turn)]))
        wanted[turn[room:], c] = False
        taken += room * np.where(finite, usage[c], 0.0)
    return wanted, taken
