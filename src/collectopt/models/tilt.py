"""How the effect of a contact depends on x, on top of its mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.contrasts import Mains, Moments, ridge_posterior, sparse_of
from collectopt.models.residuals import Residuals

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

_BLOCK = 10_000  # rows whose products of columns are held at once
_TRIFLE = 1e-3  # of the largest coefficient: what is smaller is left out


@dataclass(frozen=True, eq=False)
class Tilt:
    """How the effect of a contact depends on x, on top of its mean.

    Attributes
    ----------
    mains : Mains
    centre, coef : (q,) float64
        Mean of the columns and products where the effect is seen, and their coefficients.
    covariance : (d, d) float64
        Of the coefficients of the columns, products left out, after the ridge regression.
    """

    mains: Mains
    centre: Float
    coef: Float
    covariance: Float

    @classmethod
    def learn(cls, mains: Mains, X: Matrix, rest: Residuals, theta: Float, cluster: Int) -> Self:
        """Regress what the mean effects leave on the contact times columns of x."""
        root = np.sqrt(rest.weight)
        contact = rest.factors[:, 0] * root
        left = (rest.outcome - rest.factors @ theta) * root

        def parts() -> Iterator[tuple[slice, Float]]:
            for rows in blocks(len(X)):
                yield rows, contact[rows, None] * mains.wide(mains.apply(X[rows]))

        moments = Moments.beside(contact, parts(), left)
        moments = moments.thinned(shared(contact * left, cluster))
        plain = len(mains.mean) + len(mains.gaps)
        coef = 0.5 * sparse_of(moments)
        straight, covariance = ridge_posterior(moments.take(plain))
        coef[:plain] += 0.5 * straight
        coef[np.abs(coef) < _TRIFLE * np.abs(coef).max(initial=0.0)] = 0.0
        return cls(mains, moments.centre, coef, covariance)

    def __call__(self, Z: Float) -> Float:
        """Further effect of a contact for each row of standardised columns, (n,)."""
        return self.mains.tilted(Z, self.coef) - float(self.centre @ self.coef)

    def variance(self, Z: Float) -> Float:
        """Posterior variance of that, (n,)."""
        far = Z - self.centre[: Z.shape[1]]
        return np.asarray(((far @ self.covariance) * far).sum(axis=1), dtype=np.float64)


def shared(score: Float, cluster: Int) -> float:
    """Rows that count as one, as those of an account are alike; at least 1."""
    together = float((np.bincount(cluster, score) ** 2).sum())
    return max(together / max(float((score**2).sum()), 1e-300), 1.0)


def blocks(n: int) -> Iterator[slice]:
    """Rows in pieces, so that products of their columns stay small."""
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
