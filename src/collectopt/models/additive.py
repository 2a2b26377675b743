"""An additive logistic curve: one broken line a column, kept flat by a ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

Float = npt.NDArray[np.float64]

_LEVELS = 30  # categories with a step of their own: those seen most often
_RARE = 0.05  # added to standard deviations, so that rare levels do not get a large coefficient


@dataclass(frozen=True, eq=False)
class Additive:
    """Log odds as a sum of broken lines and steps.

    Attributes
    ----------
    knots : tuple of (k,) float64
        One entry a column. Numbers: where the line may bend, rising. Categories: codes that have
        a step of their own.
    codes : frozenset of int
        Positions of the columns of categories.
    mean, scale, coef : (m,) float64
        Of the m pieces; a column has one for each knot, and one for a missing value.
    intercept : float
    """

    knots: tuple[Float, ...]
    codes: frozenset[int]
    mean: Float
    scale: Float
    coef: Float
    intercept: float

    @classmethod
    def fit(
        cls, X: Float, y: Float, *, categorical: Sequence[int], pieces: int, ridge: float
    ) -> Self:
        """Learn from numbers with nan for missing.

        Parameters
        ----------
        X : (n, d) float64
        y : (n,) float64
            0 or 1, both present.
        categorical : sequence of int
            Columns that hold codes.
        pieces : int
            Most knots of a column; they lie at its quantiles.
        ridge : float
            Squared-coefficient penalty, on standardised pieces.
        """
        codes = frozenset(int(c) for c in categorical)
        knots = tuple(
            _common(X[:, k]) if k in codes else _quantiles(X[:, k], pieces)
            for k in range(X.shape[1])
        )
        basis = _basis(X, knots, codes)
        mean, scale = basis.mean(axis=0), basis.std(axis=0) + _RARE
        model = LogisticRegression(C=1.0 / ridge, solver="newton-cholesky", max_iter=100)
        model.fit((basis - mean) / scale, y)
        return cls(knots, codes, mean, scale, model.coef_[0], float(model.intercept_[0]))

    def score(self, X: Float) -> Float:
        """Log odds, (n,)."""
        weight = self.coef / self.scale
        basis = _basis(X, self.knots, self.codes)
        # Row by row alike, whatever the number of rows is: a matrix product may not be.
        terms = (basis - self.mean) * weight
        return np.asarray(terms.sum(axis=1) + self.intercept, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "knots": [k.tolist() for k in self.knots],
            "codes": sorted(self.codes),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "coef": self.coef.tolist(),
            "intercept": self.intercept,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        mean, scale, coef = (
            np.array(content[k], dtype=np.float64) for k in ("mean", "scale", "coef")
        )
        knots = tuple(np.array(k, dtype=np.float64) for k in content["knots"])
        codes = frozenset(content["codes"])
        return cls(knots, codes, mean, scale, coef, float(content["intercept"]))


def _quantiles(column: Float, pieces: int) -> Float:
    """Knots of a column of numbers: all values if they are few, else quantiles."""
    known = column[~np.isnan(column)]
    values = np.unique(known)
    if len(values) <= pieces:
        return values
    return np.unique(np.quantile(known, np.linspace(0.0, 1.0, pieces), method="nearest"))


def _common(column: Float) -> Float:
    values, count = np.unique(column[~np.isnan(column)], return_counts=True)
    return np.sort(values[np.argsort(-count, kind="stable")[:_LEVELS]])


def _basis(X: Float, knots: Sequence[Float], codes: frozenset[int]) -> Float:
    """Pieces of all columns: hats over the knots, or steps; then whether the value is missing."""
    parts = []
    for k, own in enumerate(knots):
        column = X[:, k]
        missing = np.isnan(column)
        if k in codes:
            piece = (column[:, None] == own).astype(np.float64)
        else:
            piece = _hats(np.where(missing, own[0] if len(own) else 0.0, column), own)
            piece[missing] = 0.0
        parts += [piece, missing[:, None].astype(np.float64)]
    return np.concatenate(parts, axis=1)


def _hats(column: Float, knots: Float) -> Float:
    """Hat functions: 1 at the own knot, 0 at all others, straight between; flat outside."""
    out = np.zeros((len(column), len(knots)))
    if len(knots) < 2:
        return out
    inside = np.clip(column, knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    rows = np.arange(len(column))
    out[rows, left] = 1.0 - share
    out[rows, left + 1] = share
    return out
