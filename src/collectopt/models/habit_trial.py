"""Whether habits of accounts belong into a forecast: they must have helped before.

A normal spread around what is usual suits accounts that pay when their clerk gets to it. Where all
pay by direct debit on the due day it does not, and hazards know better. So habits are tried: the
last quarter of the moments is forecast from what was known before them, by a hazard with and
without, and the habits stay out unless they make what came more likely, beyond doubt.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt

from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import HABITS
from collectopt.models.account_habits import HabitHazard, Habits
from collectopt.models.joined import Joined
from collectopt.models.labels import Durations, watched
from collectopt.models.options import HazardOptions
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]

_EARLY = 0.75  # share of the moments to learn from
_DOUBT = 2.0  # standard errors
_FEW = 50  # events on either side


def proven(
    rows: Snapshot,
    matrix: FeatureMatrix,
    outcome: Durations,
    *,
    due: Float,
    start: Days,
    came: Int,
    cut: AsOf,
    years: float,
    options: HazardOptions,
    seed: int,
) -> Habits | None:
    """Learn habits of accounts, if they helped to forecast the last moments before the cut.

    Parameters
    ----------
    rows : Snapshot
        n moments before the cut, each names a claim.
    matrix, outcome, due, start
        As in :class:`~collectopt.models.heads.Training`.
    came : (n,) int64
        Number of the event that each row waits for.
    cut, years
        As in :meth:`Habits.fit`.
    options, seed
        Of the hazard.
    """
    last = np.sort(rows.as_of)[int(_EARLY * len(rows))]
    moment = last.item().replace(tzinfo=dt.UTC)
    before, after = np.flatnonzero(rows.as_of < last), np.flatnonzero(rows.as_of >= last)
    until = watched(rows, moment)
    event = outcome.event & (outcome.days < until)
    if min(event[before].sum(), outcome.event[after].sum()) < _FEW:
        return None
    habits = Habits.fit(rows.ledger, moment, years=years)
    if habits is None:
        return None
    hazard = options.hazard(len(np.unique(came[before][event[before]])), matrix.names, seed).fit(
        matrix.values[before],
        np.minimum(outcome.days, until)[before],
        event[before],
        offset=due[before],
        start=start[before],
        names=matrix.names,
        categorical=list(matrix.categories),
    )
    shown = habits.past(rows.ledger).of(rows.take(after)).astype(np.float32)
    habit = HabitHazard(habits.parameters, hazard.grid_)
    both = Joined(hazard, habit, (*matrix.names, *HABITS))
    X, seen = matrix.values[after], Durations(outcome.days[after], outcome.event[after])
    offset, day = due[after], start[after]
    with_ = both.predict_curve(
        np.column_stack([X, shown]), offset=offset, start=day, reach=hazard.reach
    )
    without = hazard.predict_curve(X, offset=offset, start=day)
    gain = with_.log_likelihood(seen) - without.log_likelihood(seen)
    by_account = np.bincount(rows.rows["account"].to_numpy()[after], gain)
    if not by_account.sum() > _DOUBT * np.sqrt((by_account**2).sum()):
        return None
    return Habits.fit(rows.ledger, cut, years=years)
