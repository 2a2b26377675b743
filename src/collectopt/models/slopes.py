"""What the columns of a hazard say one by one: straight lines, kept flat by a ridge.

Trees need many events to draw a straight line. Where events are few they had better start from
lines and add what is not straight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from collectopt.models.boosting import expit
from collectopt.models.cases import Bins
from collectopt.models.periods import Periods

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

#: Days from the due date at which the lines may change their slope.
STAGES = np.array([-14.0, -4.0, 0.0, 7.0, 14.0])
#: Rows that a fit looks at; quantile beyond which a column counts no further.
_MOST, _TAIL = 50_000, 0.005
#: Codes with a step of their own: the most frequent ones that so many rows have.
CODES, SEEN = 30, 10
_ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Pieces:
    """How columns are cut into standardised pieces: values, steps of codes, what is missing.

    Attributes
    ----------
    column : (k,) int64
        Column of X behind each piece: its value, whether it is missing, or one of its codes.
    code : (k,) float64
        The code of a step; nan for a value, inf for "missing".
    low, high, usual : (k,) float64
        Ends of a value, and what stands in for a missing one.
    mean, scale : (k,) float64
        Of the pieces, before they are weighed.
    """

    column: Int
    code: Float
    low: Float
    high: Float
    usual: Float
    mean: Float
    scale: Float

    @classmethod
    def choose(
        cls, X: Matrix, codes: AbstractSet[int], without: AbstractSet[int] = frozenset()
    ) -> Self:
        """Choose the pieces of some rows.

        Parameters
        ----------
        X : (n, d) float32
        codes : set of int
            Columns that hold codes.
        without : set of int
            Columns that get no pieces.
        """
        column: list[int] = []
        code: list[float] = []
        ends: list[Float] = []
        for k in range(X.shape[1]):
            known = X[~np.isnan(X[:, k]), k].astype(np.float64)
            if k in without or not len(known):
                continue
            own = _steps(known) if k in codes else [np.nan]
            if len(known) < len(X):
                own = [*own, np.inf]
            code += own
            column += [k] * len(own)
            ends += [np.quantile(known, [_TAIL, 1.0 - _TAIL, 0.5])] * len(own)
        size = len(column)
        low, high, usual = np.array(ends, dtype=np.float64).reshape(-1, 3).T
        blank = cls(
            np.array(column, dtype=np.int64),
            np.array(code, dtype=np.float64),
            low,
            high,
            usual,
            mean=np.zeros(size),
            scale=np.ones(size),
        )
        pieces = blank.of(X)
        spread = pieces.std(axis=0)
        scale = np.where(spread > 0.0, spread, 1.0)
        # Rare steps and rare missing values get no large slope for being rare.
        scale[~np.isnan(blank.code)] += 0.05
        return replace(blank, mean=pieces.mean(axis=0), scale=scale)

    def of(self, X: Matrix) -> Float:
        """Cut rows into standardised pieces, (n, k)."""
        value = X[:, self.column].astype(np.float64)
        missing = np.isnan(value)
        out = np.clip(np.where(missing, self.usual, value), self.low, self.high)
        step, gone = np.isfinite(self.code), np.isinf(self.code)
        out[:, step] = value[:, step] == self.code[step]
        out[:, gone] = missing[:, gone]
        # In this order sums over the pieces are alike for one row and for many.
        return np.ascontiguousarray((out - self.mean) / self.scale, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        column = np.array(content["column"], dtype=np.int64)
        names = [name for name in cls.__dataclass_fields__ if name != "column"]
        return cls(column, *(np.array(content[name], dtype=np.float64) for name in names))


@dataclass(frozen=True, eq=False)
class Slopes:
    """Log odds that the columns add, by stage (and once more for rows without a due date).

    Attributes
    ----------
    pieces : Pieces
    coef : (len(STAGES) + 2, k) float64
    level : (len(STAGES) + 2,) float64
        Log odds of a row that is average in all.
    """

    pieces: Pieces
    coef: Float
    level: Float

    @classmethod
    def fit(
        cls,
        X: Matrix,
        bins: Bins,
        base: Float,
        offset: Float | None,
        *,
        ridge: float,
        categorical: Sequence[int],
        without: Sequence[int] = (),
    ) -> Self:
        """Learn what the columns add to ``base``.

        The slopes of a stage are common ones and their own; both are pulled to 0.

        Parameters
        ----------
        X : (n, d) float32
        bins : Bins
            Person-periods of the rows, in their order.
        base : (m,) float64
            Log odds of the bins so far.
        offset : (n,) float64, optional
            Days until the due date has passed; nan without one.
        ridge : float
            Penalty on the squared slopes of standardised pieces.
        categorical : sequence of int
            Columns that hold codes.
        without : sequence of int
            Columns that get no slope.
        """
        rows = np.unique(bins.periods.row)
        kept = rows[:: -(-len(rows) // _MOST)]
        pieces = Pieces.choose(X[kept], set(categorical), set(without))
        used = np.isin(bins.periods.row, kept)
        seen = bins.take(used)
        place = np.searchsorted(kept, seen.periods.row)
        cell = place * (len(STAGES) + 2) + _stage(seen.periods, offset)
        Z = np.column_stack([pieces.of(X[kept]), np.ones(len(kept))])
        found = _common_and_own(Z, cell, seen, base[used], ridge)
        return cls(pieces, found[:, :-1], found[:, -1])

    def score(self, X: Matrix, periods: Periods, offset: Float | None) -> Float:
        """Log odds that the columns of its row add to each bin, (m,)."""
        # Row by row alike, whatever the number of rows is: a matrix product may not be.
        pieces = self.pieces.of(X)
        by_stage = (
            np.stack([(pieces * coef).sum(axis=1) for coef in self.coef], axis=1) + self.level
        )
        return np.asarray(by_stage[periods.row, _stage(periods, offset)], dtype=np.float64)

    def terms(self, X: Matrix, periods: Periods, offset: Float | None) -> tuple[Float, Float]:
        """Give :meth:`score` in parts: of an average row (m,), and of each column (m, d)."""
        pieces, stage = self.pieces.of(X), _stage(periods, offset)
        added = np.zeros((len(periods), X.shape[1]))
        for k, column in enumerate(self.pieces.column):
            added[:, column] += self.coef[stage, k] * pieces[periods.row, k]
        return self.level[stage], added

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        own = {"coef": self.coef.tolist(), "level": self.level.tolist()}
        return self.pieces.to_json() | own

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        coef, level = (np.array(content[name], dtype=np.float64) for name in ("coef", "level"))
        return cls(Pieces.from_json(content), coef, level)


def _steps(known: Float) -> list[float]:
    values, count = np.unique(known, return_counts=True)
    often = np.argsort(-count, kind="stable")[:CODES]
    return [float(values[i]) for i in np.sort(often) if count[i] >= SEEN]


def _stage(periods: Periods, offset: Float | None) -> Int:
    none = len(STAGES) + 1
    if offset is None:
        return np.full(len(periods), none)
    due = periods.lo - offset[periods.row]
    return np.where(np.isnan(due), none, np.searchsorted(STAGES, due + 1e-9, side="right"))


def _common_and_own(Z: Float, cell: Int, bins: Bins, base: Float, ridge: float) -> Float:
    """Find slopes by stage, (s, k): common ones plus own ones, both under the ridge.

    ``cell`` is the row of Z times the number of stages, plus the stage, of each bin.
    """
    n, k = Z.shape
    stages = len(STAGES) + 2
    pull = np.full(k, ridge)
    pull[-1] = 1.0  # the level

    def loss(flat: Float) -> tuple[float, Float]:
        slopes = flat.reshape(stages + 1, k)
        odds = base + (Z @ (slopes[0] + slopes[1:]).T).ravel()[cell]
        total = (bins.mass * (np.logaddexp(0.0, odds) - bins.hit * odds)).sum()
        wrong = np.bincount(cell, bins.mass * (expit(odds) - bins.hit), minlength=n * stages)
        steep = wrong.reshape(n, stages).T @ Z
        gradient = np.vstack([steep.sum(axis=0), steep]) + pull * slopes
        return float(total + 0.5 * (pull * slopes**2).sum()), gradient.ravel()

    start = np.zeros((stages + 1) * k)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS})
    slopes = np.asarray(best.x, dtype=np.float64).reshape(stages + 1, k)
    return np.asarray(slopes[0] + slopes[1:])
