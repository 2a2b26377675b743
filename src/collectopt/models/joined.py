"""Two hazards as one: the mean of their log odds.

A mean loses little where one of them is as good (Bates and Granger 1969, *The combination of
forecasts*).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from collectopt.models.account_habits import HabitHazard
from collectopt.models.boosting import expit
from collectopt.models.curve import Curve
from collectopt.models.hazard import HazardModel
from collectopt.models.periods import Periods, blocks

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]
Days = npt.NDArray[np.datetime64]
_BLOCK = 50_000


class Joined:
    """The mean of two hazards in log odds.

    Parameters
    ----------
    first : HazardModel
        Its bins are used.
    second : HazardModel or HabitHazard
        A hazard model has bins of the same kind.
    columns : sequence of str, length d
        Names of the columns that are handed over: those of both, in any order.
    """

    def __init__(
        self, first: HazardModel, second: HazardModel | HabitHazard, columns: Sequence[str]
    ) -> None:
        self._parts: list[tuple[HazardModel | HabitHazard, Int]] = [
            (model, np.array([columns.index(name) for name in model.columns_.names]))
            for model in (first, second)
        ]

    def predict_curve(self, X: Matrix, *, offset: Float, start: Days, reach: float) -> Curve:
        """Give the curves of n rows, as :meth:`HazardModel.predict_curve` does."""
        curves = []
        for part in blocks(len(X), _BLOCK):
            due, day = offset[part], start[part]
            periods = self._parts[0][0].grid_.lay(np.full(len(due), reach), due)
            odds = [
                np.mean(model.odds(X[part][:, at], periods, offset=due, start=day), axis=0)
                for model, at in self._parts
            ]
            curves.append(Curve.build(periods, expit(np.mean(odds, axis=0)), len(due)))
        return Curve.join(curves)

    def contributions(
        self, X: Matrix, *, offset: Float, start: Days, reach: npt.ArrayLike
    ) -> tuple[Periods, Float, Float]:
        """Give what each column adds, as :meth:`HazardModel.contributions` does."""
        first, second = (
            model.contributions(X[:, places], offset=offset, start=start, reach=reach)
            for model, places in self._parts
        )
        periods, base, added = first
        _, level, more = second
        clock = added.shape[1] - len(self._parts[0][1])
        whole = np.zeros((len(base), X.shape[1] + clock))
        time = X.shape[1] + np.arange(clock)
        for (_, places), part in zip(self._parts, (added, more), strict=True):
            whole[:, np.r_[places, time[: part.shape[1] - len(places)]]] += 0.5 * part
        return periods, 0.5 * (base + level), whole
