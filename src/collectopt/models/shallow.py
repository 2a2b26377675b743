"""How a contrast jumps with what is known: shallow trees, averaged over where they split.

A tree of depth one or two says that an effect is another one where a column is beyond a threshold,
between two, or two columns are beyond theirs: in a box. Every box on a grid of quantiles is looked
at, and the posterior mean over all of them is taken, so that no single split is trusted. The sum of
a few such trees is fitted; finding none is among the choices.

References
----------
Wang, Sarkar, Carbonetto & Stephens (2020), A simple new approach to variable selection in
regression, with application to genetic fine mapping (SuSiE). JRSS B 82 (sum of single effects).
Chipman, George & McCulloch (1998), Bayesian CART model search. JASA 93 (a prior over trees).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_CUTS, _ALL_CUTS = 9, 100  # thresholds of a column, and of all of them
_LEAST = 0.05  # share of the evidence inside a box, and outside
_TREES, _SWEEPS = 4, 3
_GRID = 2.0 ** np.arange(-2, 9)  # prior variances, in squared standard errors of a box
_TRIFLE = 1e-4  # posterior chance of a box that is left out
_BLOCK = 10_000


@dataclass(frozen=True, eq=False)
class ShallowTrees:
    """Sum of L trees; e(x) says on which side of q thresholds x is, (2 q,) of 0 and 1.

    Attributes
    ----------
    column : (q,) int64
    cut : (q,) float64
        Thresholds.
    mean, square : (L, 2 q, 2 q) float64
        By tree: posterior mean of what each box adds, e(x)' mean e(x) in all, and mean square.
    level, floor : (L,) float64
        Means of both over the evidence, which are taken off.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> Z, contact = rng.normal(size=(2000, 3)), rng.choice([-0.5, 0.5], size=2000)
    >>> jump = (Z[:, 0] > 0.0) & (Z[:, 1] > 0.0)
    >>> left = contact * jump + 0.2 * rng.normal(size=2000)
    >>> trees = ShallowTrees.learn(Z, contact, left, alike=1.0)
    >>> low, high = trees(np.array([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    >>> bool(0.9 < high - low < 1.1)
    True
    """

    column: Int
    cut: Float
    mean: Float
    square: Float
    level: Float
    floor: Float

    @classmethod
    def learn(cls, Z: Float, contact: Float, left: Float, alike: float) -> Self:
        """Regress ``left`` (n,) on ``contact`` (n,) times trees of ``Z`` (n, d).

        Parameters
        ----------
        Z, contact, left : (n, d), (n,), (n,) float64
        alike : float
            Rows that count as one.
        """
        self = cls._blank(Z)
        size = max(float(contact @ contact), 1e-300)
        share = self._sums(Z, contact**2) / size
        rest = left - contact * (float(contact @ left) / size)
        mean, square = self.mean.copy(), self.square.copy()
        value = np.zeros((_TREES, len(Z)))
        for _ in range(_SWEEPS):
            for k in range(_TREES):
                noise = alike * float(rest @ rest) / len(rest)
                rest += contact * value[k]
                score = self._sums(Z, contact * rest) - share * float(contact @ rest)
                mean[k], square[k] = _posterior(score, share, size, noise)
                value[k] = self._values(Z, mean[k]) - float((mean[k] * share).sum())
                rest -= contact * value[k]
                if not mean[k].any():
                    break
        return replace(
            self,
            mean=mean,
            square=square * (1.0 - 2.0 * share),  # (box - share)^2 = (1 - 2 share) box + share^2
            level=(mean * share).sum(axis=(1, 2)),
            floor=(square * share**2).sum(axis=(1, 2)),
        )

    def __call__(self, Z: Float) -> Float:
        """Value of each row, of mean 0, (n,)."""
        return self._values(Z, self.mean.sum(axis=0)) - self.level.sum()

    def variance(self, Z: Float) -> Float:
        """Posterior variance of that, (n,)."""
        found = self._values(Z, self.square.sum(axis=0)) + self.floor.sum()
        for mean, level in zip(self.mean, self.level, strict=True):
            if mean.any():
                found -= (self._values(Z, mean) - level) ** 2
        return np.maximum(found, 0.0)

    @classmethod
    def _blank(cls, Z: Float) -> Self:
        """Put thresholds at quantiles; no trees yet."""
        each = int(np.clip(_ALL_CUTS // max(Z.shape[1], 1), 1, _CUTS))
        at = np.arange(1, each + 1) / (each + 1)
        column, cut = [], []
        for k in range(Z.shape[1]):
            found = np.unique(np.quantile(Z[:, k], at, method="lower"))
            found = found[found < Z[:, k].max()]
            column += [k] * len(found)
            cut += found.tolist()
        none, zero = np.zeros((_TREES, 2 * len(cut), 2 * len(cut))), np.zeros(_TREES)
        return cls(
            np.array(column, dtype=np.int64),
            np.array(cut, dtype=np.float64),
            mean=none,
            square=none,
            level=zero,
            floor=zero,
        )

    def _sides(self, Z: Float) -> Iterator[tuple[slice, Float]]:
        for start in range(0, len(Z), _BLOCK):
            rows = slice(start, start + _BLOCK)
            above = Z[rows, self.column] > self.cut
            yield rows, np.column_stack([above, ~above]).astype(np.float64)

    def _sums(self, Z: Float, of: Float) -> Float:
        """Sum over the rows in each box, (2 q, 2 q)."""
        parts = (side.T @ (of[rows, None] * side) for rows, side in self._sides(Z))
        return np.asarray(sum(parts, np.zeros(self.mean.shape[1:])), dtype=np.float64)

    def _values(self, Z: Float, table: Float) -> Float:
        """Sum over the boxes that each row is in, (n,)."""
        out = np.zeros(len(Z))
        first, second = np.flatnonzero(table.any(axis=1)), np.flatnonzero(table.any(axis=0))
        if len(first):
            used = np.ascontiguousarray(table[np.ix_(first, second)])
            for rows, side in self._sides(Z):
                out[rows] = ((side[:, first] @ used) * side[:, second]).sum(axis=1)
        return out


def _posterior(score: Float, share: Float, size: float, noise: float) -> tuple[Float, Float]:
    """Posterior mean and mean square of the one box that a tree is; 0 where nothing speaks for one.

    Half of the prior is for trees that split once. The prior variance of what a box of share s adds
    is a width times noise / (size s (1 - s)).
    """
    mean, square = np.zeros(score.shape), np.zeros(score.shape)
    inside = np.triu(np.minimum(share, 1.0 - share) >= _LEAST)
    inside[len(share) // 2 :, len(share) // 2 :] &= ~np.eye(len(share) // 2, dtype=np.bool_)
    at = np.nonzero(inside)
    once = at[0] == at[1]
    if not len(once):
        return mean, square
    prior = np.log(np.where(once, 1.0 / max(once.sum(), 1), 1.0 / max((~once).sum(), 1)) / 2.0)
    weight = size * share[at] * (1.0 - share[at])
    raw = score[at] / weight
    squared = raw**2 * weight / max(noise, 1e-300)
    best, chosen = 0.0, None
    for width in _GRID:
        odds = prior + 0.5 * (width / (1.0 + width) * squared - np.log1p(width))
        top = float(odds.max())
        evidence = top + float(np.log(np.exp(odds - top).sum()))
        if evidence > best:
            best, chosen = evidence, (width / (1.0 + width), np.exp(odds - evidence))
    if chosen is not None:
        kept, chance = chosen
        chance = np.where(chance > _TRIFLE * chance.max(), chance, 0.0)
        chance /= chance.sum()
        mean[at] = chance * kept * raw
        square[at] = chance * ((kept * raw) ** 2 + kept * noise / weight)
    return mean, square
