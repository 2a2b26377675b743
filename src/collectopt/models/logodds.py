"""Log odds by shrunken levels: how often, by channel, hour, weekday, segment, learnt together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import expit

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_ROUNDS, _STEPS = 60, 2
_FIRST = 0.3  # spread of a family before the first look, log odds
_LEAST = 0.01
_LEVEL = 4.0  # prior sd of the common level around the raw rate


@dataclass(frozen=True, eq=False)
class Basis:
    """What the L levels of a factor add up from.

    Attributes
    ----------
    columns : (L, d) float64
        Weight of each of d coefficients in a level: the identity, or hats over a clock.
    correlation : (d, d) float64
        Prior correlation of the coefficients.
    """

    columns: Float
    correlation: Float

    @classmethod
    def of_levels(cls, n: int) -> Self:
        """Make levels that know nothing of each other."""
        return cls(np.eye(n), np.eye(n))

    @classmethod
    def open(cls, n: int) -> Self:
        """Make such levels, and code -1 for those that are not known: no deviation."""
        return cls(np.eye(n + 1, n), np.eye(n))


@dataclass(frozen=True, eq=False)
class LogOdds:
    """Chance of "yes" by some factors: a level plus one shrunken deviation a factor.

    Attributes
    ----------
    bases : tuple of Basis
        One a factor.
    coef, covariance : (d + 1,), (d + 1, d + 1) float64
        Posterior of the level and of the coefficients of all factors.
    spread : (F,) float64
        Prior sd of each factor's deviations, log odds, estimated.

    Notes
    -----
    A logistic regression with a normal prior for each factor, its spread by empirical Bayes
    (MacKay's fixed point on the normal approximation of the posterior). A factor without influence
    is shrunk away; one level of few rows is drawn to the others.

    Examples
    --------
    >>> yes, of = np.array([30.0, 10.0, 1.0]), np.array([100.0, 100.0, 1.0])
    >>> odds = LogOdds.fit(yes, of, np.array([[0], [1], [2]]), (Basis.of_levels(3),))
    >>> np.round(odds.rate(np.array([[0], [1], [2]])), 2)  # one of one says little
    array([0.3 , 0.11, 0.41])
    """

    bases: tuple[Basis, ...]
    coef: Float
    covariance: Float
    spread: Float

    @classmethod
    def fit(cls, yes: Float, of: Float, codes: Int, bases: tuple[Basis, ...]) -> Self:
        """Learn from counts.

        Parameters
        ----------
        yes, of : (n,) float64
            Weight of "yes", and weight in all; equal codes may come many times.
        codes : (n, F) int64
            Level of each factor.
        bases : tuple of F Basis
        """
        cells, place = np.unique(codes, axis=0, return_inverse=True)
        k, n = (np.bincount(place.ravel(), v, len(cells)) for v in (yes, of))
        X = _design(cells, bases)
        sizes = [basis.columns.shape[1] for basis in bases]
        ends = np.cumsum([1, *sizes])
        inverse = [np.linalg.inv(b.correlation + 1e-6 * np.eye(len(b.correlation))) for b in bases]
        overall = (k.sum() + 0.5) / (n.sum() + 1.0)
        centre = np.zeros(X.shape[1])
        centre[0] = np.log(overall / (1.0 - overall))
        variance = np.full(len(bases), _FIRST**2)
        beta = centre.copy()
        for _ in range(_ROUNDS):
            prior = np.zeros((len(beta), len(beta)))
            prior[0, 0] = _LEVEL**-2
            for f, inv in enumerate(inverse):
                here = slice(ends[f], ends[f + 1])
                prior[here, here] = inv / variance[f]
            for _ in range(_STEPS):
                p = expit(X @ beta)
                hessian = X.T @ ((n * p * (1.0 - p))[:, None] * X) + prior
                step = np.linalg.solve(hessian, X.T @ (k - n * p) - prior @ (beta - centre))
                beta = beta + np.clip(step, -2.0, 2.0)
            covariance = np.linalg.inv(hessian)
            for f, inv in enumerate(inverse):
                if not sizes[f]:
                    continue
                here = slice(ends[f], ends[f + 1])
                free = sizes[f] - float((inv * covariance[here, here]).sum()) / variance[f]
                size = float(beta[here] @ inv @ beta[here])
                variance[f] = max(size / max(free, 1e-3 * sizes[f]), _LEAST**2)
        return cls(bases, beta, np.asarray(covariance, np.float64), np.sqrt(variance))

    def rate(self, codes: Int) -> Float:
        """Chance at each row of codes (m, F), shape (m,)."""
        return expit(self.design(codes) @ self.coef)

    def design(self, codes: Int) -> Float:
        """Columns behind the coefficients, (m, d + 1), for rows of codes (m, F)."""
        return _design(codes, self.bases)

    def told(self, design: Float) -> tuple[Float, Float]:
        """Chance and variance of its log odds for rows of a design (m, d + 1)."""
        p = expit(design @ self.coef)
        return p, np.einsum("md,de,me->m", design, self.covariance, design)


def _design(codes: Int, bases: tuple[Basis, ...]) -> Float:
    parts = [basis.columns[codes[:, f]] for f, basis in enumerate(bases)]
    return np.column_stack([np.ones(len(codes)), *parts])
