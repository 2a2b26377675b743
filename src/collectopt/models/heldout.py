"""What accounts that effects were not learnt from say about them: slopes of outcome on effect.

Learnt effects are right on average where the outcome rises by one for each one that they foretell
on accounts that had no part in learning them. Two slopes are told apart: of the effects that are
alike for everybody, and of what individual effects add to those. Both come from what x alone does
not explain, so that contacts which went to bad payers do not count against them.

References
----------
Chernozhukov, Demirer, Duflo & Fernández-Val (2018), Generic machine learning inference on
heterogeneous treatment effects in randomized experiments. NBER 24678 (best linear predictor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.contrasts import Mains
from collectopt.models.residuals import Residuals
from collectopt.models.shrinkage import shrink
from collectopt.models.tilt import Tilt

Matrix = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Standard deviation of the slopes of a group around 1 before any evidence. Effects are posterior
#: means, so 1 is what to expect; of individual ones half of it is lost easily.
_PRIOR_SD = (1.0, 0.5)
_FEW = 200  # accounts below which the noise of all is taken for that of a group
_UNKNOWN = 1e6  # variance where nothing is known


@dataclass(frozen=True, eq=False)
class Slopes:
    """Posterior of the two slopes in each of G groups.

    Attributes
    ----------
    mean : (G, 2) float64
        Of effects alike for everybody, and of what individual effects add; 1 = as foretold.
    covariance : (G, 2, 2) float64
    rows : (G,) int64
        Rows behind it.
    """

    mean: Float
    covariance: Float
    rows: Int


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Effects of n logged rows, each learnt without the accounts of its fold.

    Attributes
    ----------
    outcome : (n,) float64
        Outcome less its mean given x.
    factors : (n, p) float64
        Factors of the action less their mean given x.
    alike, individual : (n, p) float64
        Effects of the factors: the same for everybody in a fold, and depending on x.
    weight : (n,) float64
    cluster : (n,) int64
        Rows of one cluster are not independent.
    """

    outcome: Float
    factors: Float
    alike: Float
    individual: Float
    weight: Float
    cluster: Int

    @classmethod
    def learn(
        cls,
        rest: Residuals,
        untied: Float,
        cluster: Int,
        fold: Int,
        *,
        family: Sequence[str],
        base: Float,
        columns: tuple[Mains, Matrix] | None,
        trees: bool = False,
    ) -> Self:
        """Learn the effects of each fold from the others.

        Parameters
        ----------
        rest : Residuals
            Of n rows, factors times ``base``.
        untied : (n, p) float64
            The factors without it.
        cluster, fold : (n,) int64
        family : sequence of str
            Of the factors.
        base : (n,) float64
            How far effects reach beyond their mean.
        columns : (Mains, (n, d) array) or None
            What the effect of a contact may depend on.
        trees : bool
            Whether by shallow trees, too.
        """
        alike, individual = np.empty(untied.shape), np.empty(untied.shape)
        for k in np.unique(fold):
            out, into = fold == k, np.flatnonzero(fold != k)
            known, who = rest.take(into), cluster[into]
            learnt = shrink(known.outcome, known.factors, known.weight, who, family).theta
            alike[out] = individual[out] = learnt
            if columns is not None:
                mains, X = columns
                if trees:
                    tilt = Tilt.with_trees(mains, X[into], known, learnt, who, fold[into])
                else:
                    tilt = Tilt.learn(mains, X[into], known, learnt, who)
                individual[out, 0] += tilt(mains.apply(X[out]))
        return cls(rest.outcome, untied, alike, individual * base[:, None], rest.weight, cluster)

    def slopes(self, group: Int, groups: int) -> Slopes:
        """Regress the outcome on effects, group by group.

        The slopes of all rows are drawn to 1 (standard deviation 1 and 1/2), those of a group to
        them by the method of moments: groups of few rows have the slopes of all.

        Parameters
        ----------
        group : (n,) int64
            0 to G - 1.
        groups : int
            G; one without rows has the slopes of all, too.
        """
        alike = (self.factors * self.alike).sum(axis=1)
        more = (self.factors * self.individual).sum(axis=1) - alike
        columns = np.column_stack([alike, more])
        prior = np.ones(2), np.diag(np.square(_PRIOR_SD))
        raw = self._raw(columns, np.ones(len(group), dtype=np.bool_))
        found = [self._raw(columns, group == g, raw[2]) for g in range(groups)]
        whole = _combine(*raw[:2], *prior)
        spread = _spread(found, whole[0])
        parts = [_combine(b, V, *whole, extra=spread) for b, V, _ in found]
        return Slopes(
            np.stack([b for b, _ in parts]),
            np.stack([V for _, V in parts]),
            np.bincount(group, minlength=groups).astype(np.int64),
        )

    def _raw(
        self, columns: Float, rows: npt.NDArray[np.bool_], noise: float | None = None
    ) -> tuple[Float, Float, float]:
        """Least squares, errors clustered by account, and the noise that errors of few follow."""
        A, r, w = columns[rows], self.outcome[rows], self.weight[rows]
        gram = A.T @ (w[:, None] * A)
        size = np.trace(gram)
        if not size > 0.0:
            return np.ones(2), _UNKNOWN * np.eye(2), 0.0
        gram = gram + 1e-9 * size * np.eye(2)
        slope = np.linalg.solve(gram, A.T @ (w * r))
        own = np.unique(self.cluster[rows], return_inverse=True)[1]
        score = A * (w * (r - A @ slope))[:, None]
        total = np.column_stack([np.bincount(own, score[:, j]) for j in range(2)])
        inverse = np.linalg.inv(gram)
        robust = inverse @ (total.T @ total) @ inverse
        if noise is not None and own.max() < _FEW:
            robust = noise * inverse
        return slope, robust + 1e-9 * np.eye(2), float(np.trace(gram @ robust)) / 2.0


def _combine(
    b: Float, V: Float, prior: Float, width: Float, extra: Float | None = None
) -> tuple[Float, Float]:
    """Combine slopes b with covariance V and a normal prior."""
    D = width if extra is None else width + np.diag(extra)
    gain = np.linalg.solve(V + D, D).T
    return prior + gain @ (b - prior), D - gain @ D


def _spread(found: list[tuple[Float, Float, float]], centre: Float) -> Float:
    """Variance of the slopes between groups, each by moments (DerSimonian & Laird, 1986)."""
    b = np.stack([slope for slope, _, _ in found])
    v = np.stack([np.diag(V) for _, V, _ in found])
    w = 1.0 / v
    excess = (w * (b - centre) ** 2).sum(axis=0) - len(b)
    size = w.sum(axis=0) - (w**2).sum(axis=0) / w.sum(axis=0)
    return np.where(size > 0.0, np.maximum(excess, 0.0) / np.maximum(size, 1e-300), 0.0)
