"""When to hand over, go to court or give up: a stop problem, solved from its end backwards.

In every step an open account either goes on in one's own hands, which brings what the payment curve
says and costs what contacts and books cost, or takes one of the ways out, once and for all. Going
on keeps all ways open; they are worth less later, as old claims are paid more seldom, but they cost
nothing before they are taken. All money is a share of the open amount, discounted to the step, and
everything ends at one horizon for all ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_YEAR = 365.0
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Way:
    """A way out for n accounts.

    Attributes
    ----------
    factor : (n, A) float64
        On the hazard of payment from then on, by age class at the time it is taken.
    kept : float
        Share of the money that is left to us.
    burden : (n,) float64
        What taking it costs at once, as a share of the open amount.
    last : (n,) int64
        First step at which it is closed; a large number = never.
    scale : (n,) float64
        What may be asked for there, as a multiple of the open amount.
    """

    factor: Floats
    kept: float
    burden: Floats
    last: Ints
    scale: Floats


@dataclass(frozen=True, eq=False)
class Best:
    """The best plan of n accounts with W ways out.

    Attributes
    ----------
    wait : (n,) float64
        Worth of going on for one step and deciding best from then on.
    alone : (n,) float64
        Worth of going on to the end, no way out ever taken.
    now : (n, W) float64
        Worth of each way taken now, its burden deducted; -inf where it is closed.
    step : (n,) int64
        Step at which a way out is best taken; `NEVER`.
    """

    wait: Floats
    alone: Floats
    now: Floats
    step: Ints


def solve(
    hazard: Floats,
    days: Floats,
    ages: Ints,
    ways: Sequence[Way],
    *,
    rate: float,
    drain: Floats,
    stop: bool = False,
) -> Best:
    """Solve the stop problem.

    Parameters
    ----------
    hazard : (n, T) float64
        Chance to be paid within each step, if unpaid before, in one's own hands.
    days : (T,) float64
        Lengths of the steps.
    ages : (n, T) int64
        Age class of each account at the start of each step.
    ways : sequence of Way
    rate : float
        Discount a year.
    drain : (n,) float64
        Cost a day of going on, as a share of the open amount.
    stop : bool
        Whether one may give up: nothing comes and nothing is spent any more.

    Notes
    -----
    W(t) = max(h d' - c + (1 - h) d W(t + 1), V_w(t), 0 where one may give up), W(T) = 0; V_w by the
    same recursion with the hazard 1 - (1 - h)^factor and no cost. Bellman (1957).

    Examples
    --------
    >>> best = solve(
    ...     np.array([[0.5, 0.1]]), np.array([7.0, 7.0]), np.zeros((1, 2), int),
    ...     [Way(np.array([[2.0]]), 0.7, np.zeros(1), np.full(1, 9), np.ones(1))],
    ...     rate=0.0, drain=np.zeros(1),
    ... )
    >>> best.alone.round(3).tolist(), best.now.round(4).tolist(), best.wait.round(4).tolist()
    ([0.55], [[0.5582]], [0.5665])
    """
    n, steps = hazard.shape
    half, whole = (1.0 + rate) ** (-days / 2.0 / _YEAR), (1.0 + rate) ** (-days / _YEAR)
    stay = np.log1p(-np.minimum(hazard, 1.0 - 1e-12))
    later = [np.zeros(way.factor.shape) for way in ways]
    value, alone, step = np.zeros(n), np.zeros(n), np.full(n, NEVER)
    wait, now = np.zeros(n), np.full((n, len(ways)), -np.inf)
    row = np.arange(n)
    for t in range(steps - 1, -1, -1):
        h, cost = hazard[:, t], drain * days[t]
        wait = h * half[t] - cost + (1.0 - h) * whole[t] * value
        alone = h * half[t] - cost + (1.0 - h) * whole[t] * alone
        for w, way in enumerate(ways):
            unpaid = np.exp(way.factor * stay[:, t, None])
            later[w] = (1.0 - unpaid) * half[t] + unpaid * whole[t] * later[w]
            taken = way.kept * way.scale * later[w][row, ages[:, t]] - way.burden
            now[:, w] = np.where(t < way.last, taken, -np.inf)
        out = now.max(axis=1, initial=0.0 if stop else -np.inf)
        step = np.where(out > wait, t, step)
        value = np.maximum(wait, out)
    return Best(wait, alone, now, step)
