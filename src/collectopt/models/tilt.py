"""How the effect of a contact depends on x, on top of its mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.models.contrasts import Mains, Moments, ridge_posterior, sparse_of
from collectopt.models.residuals import Residuals
from collectopt.models.shallow import ShallowTrees

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

_BLOCK = 10_000  # rows whose products of columns are held at once
_TRIFLE = 1e-3  # of the largest coefficient: what is smaller is left out
_SHARE_SD = 0.5  # of the share of the trees around 0, before anything is known
_SURE = 2.0  # standard errors
_TREES = "trees_"


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
    trees : ShallowTrees or None
        A second answer to the same question.
    share : float
        Weight of the trees, from 0 to 1; that of the lines is the rest.

    References
    ----------
    Wolpert (1992), Stacked generalization. Neural Networks 5. Hoeting, Madigan, Raftery & Volinsky
    (1999), Bayesian model averaging. Statistical Science 14 (variance of an average of models).
    """

    mains: Mains
    centre: Float
    coef: Float
    covariance: Float
    trees: ShallowTrees | None = None
    share: float = 0.0

    @classmethod
    def learn(cls, mains: Mains, X: Matrix, rest: Residuals, theta: Float, cluster: Int) -> Self:
        """Regress what the mean effects leave on the contact times columns of x."""
        contact, left = _sides(rest, theta)

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

    @classmethod
    def with_trees(  # noqa: PLR0917
        cls, mains: Mains, X: Matrix, rest: Residuals, theta: Float, cluster: Int, fold: Int
    ) -> Tilt:
        """Put shallow trees beside the lines, in a share learnt from folds of clusters, (n,)."""
        contact, left = _sides(rest, theta)
        alike = shared(contact * left, cluster)

        def learn(rows: Int) -> tuple[Tilt, ShallowTrees]:
            lines = cls.learn(mains, X[rows], rest.take(rows), theta, cluster[rows])
            Z = mains.apply(X[rows])
            return lines, ShallowTrees.learn(Z, contact[rows], left[rows], alike)

        lines, trees = learn(np.arange(len(X)))
        names = np.unique(fold)
        if len(names) < 2:
            return lines
        straight, stepped = np.empty(len(X)), np.empty(len(X))
        for k in names:
            first, second = learn(np.flatnonzero(fold != k))
            Z = mains.apply(X[fold == k])
            straight[fold == k], stepped[fold == k] = first(Z), second(Z)
        noise = alike * float(left @ left) / len(left)
        share = share_of(contact * (stepped - straight), left - contact * straight, noise)
        return replace(lines, trees=trees, share=share) if share else lines

    def __call__(self, Z: Float) -> Float:
        """Further effect of a contact for each row of standardised columns, (n,)."""
        lines = self._lines(Z)
        if self.trees is None:
            return lines
        return (1.0 - self.share) * lines + self.share * self.trees(Z)

    def variance(self, Z: Float) -> Float:
        """Posterior variance of that, (n,); where lines and trees differ, one of them is wrong."""
        far = Z - self.centre[: Z.shape[1]]
        own = np.asarray(((far @ self.covariance) * far).sum(axis=1), dtype=np.float64)
        if self.trees is None:
            return own
        apart = self.share * (1.0 - self.share) * (self._lines(Z) - self.trees(Z)) ** 2
        return (1.0 - self.share) * own + self.share * self.trees.variance(Z) + apart

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything but the mains, to be saved."""
        found = {"centre": self.centre, "coef": self.coef, "covariance": self.covariance}
        if self.trees is None:
            return found
        trees = {f"{_TREES}{name}": values for name, values in vars(self.trees).items()}
        return found | {"share": np.array(self.share)} | trees

    @classmethod
    def of(cls, mains: Mains, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Read what :meth:`arrays` gave."""
        lines = cls(mains, arrays["centre"], arrays["coef"], arrays["covariance"])
        if "share" not in arrays:
            return lines
        own = {k.removeprefix(_TREES): v for k, v in arrays.items() if k.startswith(_TREES)}
        return replace(lines, trees=ShallowTrees(**own), share=float(arrays["share"]))

    def _lines(self, Z: Float) -> Float:
        return self.mains.tilted(Z, self.coef) - float(self.centre @ self.coef)


def _sides(rest: Residuals, theta: Float) -> tuple[Float, Float]:
    """Contact, and what the mean effects leave, (n,) each, times the root of the weight."""
    root = np.sqrt(rest.weight)
    return rest.factors[:, 0] * root, (rest.outcome - rest.factors @ theta) * root


def share_of(more: Float, left: Float, noise: float) -> float:
    """Share from 0 to 1 of what a second answer says more, (n,), that explains ``left``, (n,).

    Posterior mode less what noise may feign: the prior is normal around 0, and two standard errors
    of the evidence are taken off, so that the first answer stays as it is without a clear reason.
    """
    size = float(more @ more)
    evidence = float(more @ left) - _SURE * np.sqrt(noise * size)
    return float(np.clip(evidence / max(size + noise / _SHARE_SD**2, 1e-300), 0.0, 1.0))


def shared(score: Float, cluster: Int) -> float:
    """Rows that count as one, as those of an account are alike; at least 1."""
    together = float((np.bincount(cluster, score) ** 2).sum())
    return max(together / max(float((score**2).sum()), 1e-300), 1.0)


def blocks(n: int) -> Iterator[slice]:
    """Rows in pieces, so that products of their columns stay small."""
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
