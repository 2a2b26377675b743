"""Models of one row in compiled code; imported only where numba is there.

Every function is plain Python that numba compiles at its first call and keeps on disk;
``function.py_func`` is the same uncompiled. Sums run in LightGBM's order, so that scores are the
same to the last bit.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from collectopt.models.forests import MOST_DEPTH, Forests, Prices, Track


def compiled(function: Any) -> Any:
    """Compile a function at its first call."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no place to keep it: compiled anew in every process
        return numba.njit(error_model="numpy")(function)


# Place of the only bit that is set: the upper six bits of its product with a de Bruijn sequence are
# another number for each (Leiserson, Prokop, Randall 1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACE = np.zeros(64, dtype=np.int64)
for _i in range(64):
    _PLACE[((int(_DE_BRUIJN) << _i) & (2**64 - 1)) >> 58] = _i


@compiled
def goes_left(trees: Forests, node: int, x: float) -> bool:
    """Side of a split that a value takes."""
    kind, limit = trees.node[node]["kind"], trees.node[node]["limit"]
    if kind < 2:
        return x <= limit or (kind == 1 and np.isnan(x))
    other = int(limit)  # the place of all codes that the split does not name
    place = other if np.isnan(x) or x <= -1.0 or x >= other else int(x)
    return trees.known[kind - 2 + place]


@compiled
def one(trees: Forests, forest: int, x: Any, last: float) -> float:
    """Sum of the trees of a forest for a row, (d,), with one more column, ``last``."""
    total, width = 0.0, len(x)
    for tree in range(trees.first[forest], trees.first[forest + 1]):
        node = trees.root[tree]
        while node >= 0:
            column = trees.node[node]["column"]
            value = x[column] if column < width else last
            left = goes_left(trees, node, value)
            node = trees.node[node]["left"] if left else trees.node[node]["right"]
        total += trees.value[~node]
    return total


@compiled
def left_of(trees: Forests, node: int, values: Any) -> Any:
    """Which of up to 64 values go left at a split, as bits."""
    bits = np.uint64(0)
    for i in range(len(values)):
        if goes_left(trees, node, values[i]):
            bits |= np.uint64(1) << np.uint64(i)
    return bits


@compiled
def clock_splits(trees: Forests, nodes: Any, clock: Any, width: int) -> Any:
    """Which bins go left at some splits, on columns of ``clock``, as bits; by node, in order."""
    found = np.zeros(nodes[-1] + 1 if len(nodes) else 0, np.uint64)
    for node in nodes:
        found[node] = left_of(trees, node, clock[:, trees.node[node]["column"] - width])
    return found


@compiled
def lines(trees: Forests, forest: int, x: Any, track: Track, out: Any) -> None:
    """Add the trees of a forest for the m <= 64 bins of a track, which share the columns x, (d,).

    Each tree is walked once, with the bins that are still together, as bits.
    """
    width = len(x)
    steady = width + track.clock.shape[1] - len(track.usual)
    todo, bins = np.empty(MOST_DEPTH, np.int64), np.empty(MOST_DEPTH, np.uint64)
    every = (~np.uint64(0)) >> np.uint64(64 - len(out))
    for tree in range(trees.first[forest], trees.first[forest + 1]):
        todo[0], bins[0] = trees.root[tree], every
        waiting = 1
        while waiting:
            waiting -= 1
            node, kept = todo[waiting], bins[waiting]
            while node >= 0:
                column, right = trees.node[node]["column"], trees.node[node]["right"]
                if column < width:
                    left = goes_left(trees, node, x[column])
                    node = trees.node[node]["left"] if left else right
                    continue
                if column < steady:
                    bits = track.left[node]
                else:
                    bits = left_of(trees, node, track.clock[:, column - width])
                if not kept & bits:
                    node = right
                    continue
                if kept & ~bits:
                    todo[waiting], bins[waiting] = right, kept & ~bits
                    waiting += 1
                node, kept = trees.node[node]["left"], kept & bits
            while kept:
                lowest = kept & (~kept + np.uint64(1))
                kept ^= lowest
                out[_PLACE[(lowest * _DE_BRUIJN) >> np.uint64(58)]] += trees.value[~node]


@compiled
def expit(z: float) -> float:
    """Probability of log odds."""
    return 0.5 * (1.0 + math.tanh(0.5 * z))


@compiled
def paid_before(trees: Forests, track: Track, x: Any, straight: Any, due: float, p: Any) -> float:
    """Write P(event) before each day asked about into ``p``; see `QuickPayment.before`.

    Returns the mean days to the event, as `timing.mean_days` does.
    """
    m, members, last = len(track.stage), len(track.base), len(track.usual)
    for j in range(last):
        column = track.clock.shape[1] - last + j
        for i in range(m):
            track.clock[i, column] = track.due[i] - x[track.usual[j]]
    odds, total = np.zeros(m), np.zeros(m + 1)
    for f in range(members):
        own = np.zeros(m)
        lines(trees, f, x, track, own)
        for i in range(m):
            odds[i] += track.base[f, i] + straight[f, track.stage[i]] + own[i]
    for i in range(m):
        hazard = min(expit(odds[i] / members), 1.0 - 1e-12)
        total[i + 1] = total[i] - math.log1p(-hazard)
    knots = len(track.weight)
    low, high = np.ones(knots + 2), np.ones(knots + 2)
    low[0] = high[0] = 0.0
    for q in range(len(track.at)):
        below, above = total[track.at[q]], total[track.at[q] + 1]
        chance = -math.expm1(-(below + track.share[q] * (above - below)))
        if q < knots:
            low[q + 1] = chance
            high[q + 1] = max(high[q], bent(trees, track, q, x, due, chance))
            continue
        k = track.piece[q - knots]
        wide = low[k + 1] - low[k]
        part = (chance - low[k]) / (wide if wide > 0.0 else 1.0)
        p[q - knots] = high[k] + min(max(part, 0.0), 1.0) * (high[k + 1] - high[k])
    mass, mean, before = 0.0, 0.0, 0.0
    for q in range(len(p)):
        more = max(p[q] - before, 0.0)
        mass, mean, before = mass + more, mean + more * track.middle[q], p[q]
    return mean / mass if mass > 0.0 else track.middle[-1]


@compiled
def bent(trees: Forests, track: Track, k: int, x: Any, due: float, chance: float) -> float:
    """P(event) before a knot, averaged with its window."""
    if track.shut[k] < 0:
        return chance
    kept, w = min(max(chance, 1e-12), 1.0 - 1e-12), track.weight[k]
    odds = track.start[k] + one(trees, track.shut[k], x, due)
    return expit(w * odds + (1.0 - w) * (math.log(kept) - math.log1p(-kept)))


@compiled
def theta(
    trees: Forests, forest: int, x: Any, common: Any, told: Any, straight: Any, out: Any
) -> None:
    """Write effects of the factors into ``out``, (1, p); see `QuickEffects.theta`.

    ``forest`` below 0 = no trees; ``told``: their start, share of the room, mean room, and what
    common effects and the account's own rest are trusted.
    """
    level, tilt = straight
    start, share, room, trusted, own = told
    if forest >= 0:
        level = 0.5 * level + 0.5 * (start + one(trees, forest, x, 0.0))
    level = min(max(level, 0.0), 1.0)
    factor = 1.0 + share * (level * (1.0 - level) / room - 1.0)
    for j in range(out.shape[1]):
        rest = (common[0, j] + (tilt if j == 0 else 0.0)) * factor - common[0, j]
        out[0, j] = trusted * common[0, j] + own * rest


@compiled
def best_of_classes(
    prices: Prices, first: Any, second: Any, money: Any, allowed: Any, found: Any
) -> None:
    """Write the best permitted action of each class; see `OneCase.best`.

    ``first`` and ``second`` are (theta, phi) of the effect on P(paid) and on the money; ``money``:
    EUR of the whole effect, EUR that the relation is worth, P(paid alone), and whether the effect
    on the money is known by itself; ``found``: effects (2, K), and worth and number (2, G).
    """
    gain, worth, p_wait, itself = money
    effect, best = found
    many = len(allowed)
    values = np.empty(many + 1)
    for k in range(many):
        own, brought = 0.0, 0.0
        for j in range(first[0].shape[1]):
            own += first[0][0, j] * first[1][k, j]
        own = min(max(p_wait + own, 0.0), 1.0) - p_wait
        for j in range(second[0].shape[1]):
            brought += second[0][0, j] * second[1][k, j]
        effect[0, k], effect[1, k] = own, brought if itself else own
        values[k] = gain * effect[1, k] + prices.flat[k] + worth * prices.by_worth[k]
        if not allowed[k]:
            values[k] = -np.inf
    values[0], values[many] = 0.0, -np.inf
    for g in range(len(prices.grid)):
        best[0, g], best[1, g] = -np.inf, prices.grid[g, 0]
        for k in prices.grid[g]:
            if values[k] > best[0, g]:
                best[0, g], best[1, g] = values[k], k
