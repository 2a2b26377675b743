"""How much of an open amount comes in, once it is known whether the event comes in time.

Those who pay do not all pay everything, and those who do not settle may pay a part. Both shares
depend on who pays: an old fine is paid without its penalty, a good customer settles to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import TreeOptions, Trees, expit, logit
from collectopt.models.labels import Durations

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

#: Days within which shares are counted for learning.
SHARE_DAYS = (30.0, 90.0, 180.0, 365.0)
#: Rows that trees need, most rows that they see, and the least spread that is worth them.
_NEEDED, _MOST, _SPREAD = 500, 60_000, 0.03
_OPTIONS = TreeOptions(rounds=60, rate=0.08, leaves=15, min_leaf=100, ridge=10.0)


@dataclass(frozen=True, eq=False)
class Sharing:
    """Mean share of the open amount that comes within a horizon, by whether the event does.

    Attributes
    ----------
    paid, partial : (4,) float64
        Means by :data:`SHARE_DAYS`: of rows with the event in time, and of the others.
    trees : tuple of two Trees or None
        What the features add in log odds, for either; None where there is nothing to tell.
    """

    paid: Float
    partial: Float
    trees: tuple[Trees | None, Trees | None]

    @classmethod
    def fit(
        cls,
        X: Matrix,
        due: Float,
        outcome: Durations,
        share: Float,
        *,
        categorical: Sequence[int],
        seed: int,
    ) -> Self:
        """Learn from the rows whose horizons were over by the cut.

        Parameters
        ----------
        X : (n, d) float32
        due : (n,) float64
            Days until the due date; nan without one.
        outcome : Durations
        share : (n, 4) float64
            Share settled within :data:`SHARE_DAYS`; nan where not over.
        categorical : sequence of int
        seed : int
        """
        known = ~np.isnan(share)
        days = np.array(SHARE_DAYS)
        came = known & outcome.event[:, None] & (outcome.days[:, None] < days)
        missed = known & ~came
        filled = np.nan_to_num(share)
        # A few pseudo-rows (all paid, nothing paid) keep small books off the edge.
        paid = ((filled * came).sum(axis=0) + 1.0) / (came.sum(axis=0) + 1.0)
        partial = (filled * missed).sum(axis=0) / (missed.sum(axis=0) + 1.0)
        rng = np.random.default_rng(seed)
        trees = [
            _learn(X, due, filled, which, mean=mean, categorical=list(categorical), rng=rng)
            for which, mean in ((came, paid), (missed, partial))
        ]
        return cls(paid, partial, (trees[0], trees[1]))

    def expected(self, X: Matrix, due: Float, p: Float, ahead: Float) -> Float:
        """Give the expected share within each horizon, (n, h); it does not fall with the horizon.

        Parameters
        ----------
        X, due
            As in :meth:`fit`.
        p : (n, h) float64
            Chance of the event before each horizon.
        ahead : (n, h) float64
            Days until the horizons.
        """
        grid = np.array(SHARE_DAYS)
        paid, partial = np.empty(p.shape), np.empty(p.shape)
        for k in range(p.shape[1]):
            at = ahead[:, k]
            paid[:, k] = self._mean(0, X, due, at, np.interp(at, grid, self.paid))
            # Nothing has come after no days.
            part = np.interp(at, grid, self.partial)
            soon = np.clip(at / grid[0], 0.0, 1.0)
            partial[:, k] = soon * self._mean(1, X, due, at, part)
        partial = np.minimum(partial, paid)
        return np.asarray(p * paid + (1.0 - p) * partial, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values; trees as LightGBM's text."""
        texts = [None if trees is None else trees.to_text() for trees in self.trees]
        return {"paid": self.paid.tolist(), "partial": self.partial.tolist(), "trees": texts}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        paid, partial = (np.array(content[k], dtype=np.float64) for k in ("paid", "partial"))
        one, two = (None if t is None else Trees.from_text(t) for t in content["trees"])
        return cls(paid, partial, (one, two))

    def _mean(self, which: int, X: Matrix, due: Float, ahead: Float, mean: Float) -> Float:
        trees = self.trees[which]
        if trees is None or not len(X):
            return mean
        # The level is that of the longest horizon: a level that moved would break the order.
        base = logit(np.array([(self.paid, self.partial)[which][-1]]))
        return expit(base + trees.score(_table(X, due, ahead)))


def _learn(
    X: Matrix,
    due: Float,
    share: Float,
    which: npt.NDArray[np.bool_],
    *,
    mean: Float,
    categorical: list[int],
    rng: np.random.Generator,
) -> Trees | None:
    """Fit the share of some rows and horizons; it may rise with the horizon but not fall."""
    row, column = np.nonzero(which)
    if len(row) > _MOST:
        kept = np.sort(rng.choice(len(row), _MOST, replace=False))
        row, column = row[kept], column[kept]
    y = share[row, column]
    if len(y) < _NEEDED or y.std() < _SPREAD:
        return None
    data = _table(X[row], due[row], np.array(SHARE_DAYS)[column])
    signs = [0] * (data.shape[1] - 1) + [1]
    base = np.full(len(y), float(logit(mean[-1:])[0]))
    return Trees.fit(
        data,
        y,
        options=_OPTIONS,
        objective="cross_entropy",
        base=base,
        categorical=categorical,
        monotone=signs,
    )


def _table(X: Matrix, due: Float, ahead: Float) -> Matrix:
    within = np.clip(ahead, SHARE_DAYS[0], SHARE_DAYS[-1])
    return np.column_stack([X, due.astype(np.float32), within.astype(np.float32)])
