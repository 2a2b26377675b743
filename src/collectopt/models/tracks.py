"""Bins of one row up to the horizon, laid out by compiled code; imported only where numba is there.

The same numbers as `Grid.lay`, `Periods.features`, `LifeTable.chance` and `Windows.weights` give
for one row with a due date and a local day.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from collectopt.models.forests import Axis, Track
from collectopt.models.kernels import compiled

_EPS = 1e-9


@compiled
def track_of(axis: Axis, due: float, day: int) -> Track:
    """Lay out the bins of a row that is due in ``due`` days (nan = never) on a local day.

    What goes left at the splits is still to be set: compiled code of other files is not called
    here, as what numba keeps on disk would not follow their changes.
    """
    lo, hi = bins(axis, due)
    m, members = len(lo), len(axis.rates)
    clock = np.empty((m, axis.columns), np.float32)
    days, base, stage = np.empty(m, np.float32), np.empty((members, m)), np.empty(m, np.int64)
    for i in range(m):
        after, missing = lo[i] - due, math.isnan(due)
        describe(clock[i], lo[i], hi[i], due, day)
        days[i] = after
        age = np.searchsorted(axis.edges[1:-1], lo[i], side="right")
        known = np.searchsorted(axis.life_stages, after + _EPS, side="right")
        own = len(axis.life_stages) + 1 if missing else known
        for f in range(members):
            p = -math.expm1(-axis.rates[f, age, own] * (hi[i] - lo[i]))
            p = min(max(p, 1e-12), 1.0 - 1e-12)
            base[f, i] = math.log(p) - math.log1p(-p)
        known = np.searchsorted(axis.line_stages, after + _EPS, side="right")
        stage[i] = len(axis.line_stages) + 1 if missing else known
    at, share = np.empty(len(axis.asked), np.int64), np.empty(len(axis.asked))
    for q in range(len(at)):
        k = 0
        while k < m - 1 and hi[k] <= axis.asked[q]:
            k += 1
        below = 0.0 if k == 0 else hi[k - 1]
        wide = hi[k] - below
        at[q] = k
        share[q] = min(max((axis.asked[q] - below) / (wide if wide > 0.0 else 1.0), 0.0), 1.0)
    weight = np.empty(len(axis.weight))
    for k in range(len(weight)):
        weight[k] = 0.0 if due < axis.oldest[k] else axis.weight[k]
    left = np.zeros(0, np.uint64)
    return Track(
        clock, left, days, axis.usual, base, stage, at, share, axis.piece, axis.middle, weight,
        axis.start, axis.shut,
    )  # fmt: skip


@compiled
def bins(axis: Axis, due: float) -> Any:
    """Begin and end of each bin up to the reach."""
    edges = edges_of(axis, due)
    lo, hi, m = np.empty(len(edges)), np.empty(len(edges)), 0
    for i in range(len(edges) - 1):
        if edges[i + 1] - edges[i] > _EPS and edges[i] < axis.reach:
            lo[m], hi[m] = edges[i], edges[i + 1]
            m += 1
    return lo[:m], hi[:m]


@compiled
def edges_of(axis: Axis, due: float) -> Any:
    """Join both kinds of edges; an edge from the start yields to one from the due date."""
    given = axis.edges
    found, many = np.empty(len(given) + len(axis.due_edges)), 0
    for edge in axis.due_edges:
        if 0.0 < edge + due < given[-1]:  # nan is not
            found[many] = edge + due
            many += 1
    count = many
    for i in range(len(given)):
        inner, kept = 0 < i < len(given) - 1, True
        for j in range(many if inner else 0):
            room = 0.5 * min(given[i] - given[i - 1], given[i + 1] - given[i])
            if axis.middle_edges[i - 1] < found[j] <= axis.middle_edges[i]:
                kept = kept and not abs(given[i] - found[j]) < room
        if kept:
            found[count] = given[i]
            count += 1
    return np.sort(found[:count])


@compiled
def describe(out: Any, lo: float, hi: float, due: float, day: int) -> None:
    """Write the columns of a bin, in the order of `Clock.names`, but for the usual days."""
    first = day + math.floor(lo)
    length = max(math.ceil(hi - _EPS) - math.floor(lo), 1)
    out[0], out[1] = lo, lo - due
    out[2] = (business_days(first + length) - business_days(first)) / length
    in_month, month = day_and_month(first + length // 2)
    out[3] = (first + 3) % 7 if length <= 1 else np.nan
    out[4] = in_month if length <= 8 else np.nan
    out[5] = month
    out[6] = np.nan
    if not math.isnan(due):
        out[6] = business_days(first) - business_days(day + math.ceil(due - _EPS))


@compiled
def business_days(day: int) -> int:
    """Weekdays from a fixed Monday up to a day since 1970, exclusive."""
    weeks, rest = (day + 3) // 7, (day + 3) % 7
    return weeks * 5 + min(rest, 5)


@compiled
def day_and_month(day: int) -> Any:
    """Day of the month and month of a day since 1970, from 1 (Hinnant, civil_from_days)."""
    day += 719_468  # since 0000-03-01
    in_era = day % 146_097
    year = (in_era - in_era // 1_460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    since_march = (5 * in_year + 2) // 153
    in_month = in_year - (153 * since_march + 2) // 5 + 1
    return in_month, since_march + 3 if since_march < 10 else since_march - 9
