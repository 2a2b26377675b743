"""How a contrast depends on what is known: ridge and sparse regression that learn their own priors.

A contrast (what an action brings more than another one) is mostly noise, so both shrink hard and by
themselves: the ridge by evidence, the sparse one by choosing a few columns or products of two, none
being among the choices.

References
----------
MacKay (1992), Bayesian interpolation. Neural Computation 4.
Wang, Sarkar, Carbonetto & Stephens (2020), A simple new approach to variable selection in
regression, with application to genetic fine mapping (SuSiE). JRSS B 82.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_CLIP = 5.0  # standard deviations
_SKEW = 2.0  # positive columns that are more skewed than this are taken in logarithms
_ALIKE = 0.6  # products of columns that are more correlated than this are left out
_PAIRS = 400  # most products
_EFFECTS, _SWEEPS = 5, 30
_GRID = 2.0 ** np.arange(-2, 9)  # prior variances, in squared standard errors of a coefficient


def folds(group: Int, count: int, seed: int) -> Int:
    """Deal groups 0, 1, ... to folds at random: the fold of each row, (n,)."""
    rng = np.random.default_rng(seed)
    return np.asarray((rng.permutation(int(group.max()) + 1) % count)[group], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Mains:
    """Columns made comparable: logarithms of skewed ones, standardised, clipped; gaps flagged.

    Attributes
    ----------
    logs : (d,) bool
    mean, scale : (d,) float64
    gaps : (g,) int64
        Columns that get a further one: is the value missing?
    pairs : (q, 2) int64
        Columns whose products are looked at.
    """

    logs: npt.NDArray[np.bool_]
    mean: Float
    scale: Float
    gaps: Int
    pairs: Int

    @classmethod
    def learn(cls, X: npt.NDArray[np.float32]) -> Self:
        """Look at (n, d) numbers, nan = missing."""
        values = X.astype(np.float64)
        missing = np.isnan(values)
        known = np.where(missing, 0.0, values)
        n = np.maximum((~missing).sum(axis=0), 1)
        mean = known.sum(axis=0) / n
        centred = np.where(missing, 0.0, values - mean)
        sd = np.sqrt((centred**2).sum(axis=0) / n)
        skew = (centred**3).sum(axis=0) / n / np.maximum(sd, 1e-12) ** 3
        logs = (np.where(missing, np.inf, values).min(axis=0) >= 0.0) & (skew > _SKEW)
        gaps = np.flatnonzero(missing.any(axis=0) & ~missing.all(axis=0))
        blank = cls(logs, np.zeros(X.shape[1]), np.ones(X.shape[1]), gaps, np.zeros((0, 2), int))
        plain = blank._moved(X)
        mean = np.where(np.isnan(plain), 0.0, plain).sum(axis=0) / n
        sd = np.sqrt(np.where(np.isnan(plain), 0.0, (plain - mean) ** 2).sum(axis=0) / n)
        scaled = cls(logs, mean, np.where(sd > 0.0, sd, 1.0), gaps, blank.pairs)
        return cls(logs, scaled.mean, scaled.scale, gaps, _products(scaled.apply(X), gaps))

    def apply(self, X: npt.NDArray[np.float32]) -> Float:
        """Give the columns and the flags of the gaps, (n, d + g)."""
        z = np.clip((self._moved(X) - self.mean) / self.scale, -_CLIP, _CLIP)
        flags = np.isnan(X[:, self.gaps]).astype(np.float64)
        return np.column_stack([np.where(np.isnan(z), 0.0, z), flags])

    def wide(self, Z: Float) -> Float:
        """Put the products beside the columns that :meth:`apply` gave."""
        return np.column_stack([Z, Z[:, self.pairs[:, 0]] * Z[:, self.pairs[:, 1]]])

    def _moved(self, X: npt.NDArray[np.float32]) -> Float:
        values = X.astype(np.float64)
        return np.where(self.logs, np.log1p(np.maximum(values, 0.0)), values)


def _products(Z: Float, gaps: Int) -> Int:
    """Choose pairs of columns; of too many an even part. A column and its own gap make no pair."""
    own = {(int(column), Z.shape[1] - len(gaps) + k) for k, column in enumerate(gaps)}
    sd = Z.std(axis=0)
    used = np.flatnonzero(sd > 0.0)
    alike = np.abs(np.corrcoef(Z[:, used], rowvar=False)) if len(used) > 1 else np.ones((1, 1))
    found = [
        (used[i], used[j])
        for i in range(len(used))
        for j in range(i + 1, len(used))
        if alike[i, j] < _ALIKE and (int(used[i]), int(used[j])) not in own
    ]
    found = found[:: max(-(-len(found) // _PAIRS), 1)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Line:
    """A regression: ``level + (columns - centre) @ coef``."""

    level: float
    centre: Float
    coef: Float

    def __call__(self, columns: Float) -> Float:
        """Value of each row, (n,)."""
        return np.asarray(self.level + (columns - self.centre) @ self.coef, dtype=np.float64)


def ridge(columns: Float, y: Float) -> Line:
    """Regress ``y`` (n,) on ``columns`` (n, p); the penalty maximises the evidence."""
    level, centre = float(y.mean()), columns.mean(axis=0)
    C = columns - centre
    n, p = C.shape
    values, vectors = np.linalg.eigh(C.T @ C)
    values = np.maximum(values, 0.0)
    b = vectors.T @ (C.T @ (y - level))
    noise = max(float(((y - level) ** 2).mean()), 1e-300)
    width = noise / max(values.max(initial=0.0), 1e-300)
    for _ in range(_SWEEPS):
        coef = b / (values + noise / width)
        used = float((values / (values + noise / width)).sum())
        left = float(((y - level) ** 2).sum() - 2.0 * coef @ b + values @ coef**2)
        noise = max(left / max(n - used, 1.0), 1e-300)
        # A width that runs to 0 says that there is nothing: keep it just above.
        width = max(float(coef @ coef) / max(used, 1e-12), 1e-12 * noise / n)
    return Line(level, centre, vectors @ (b / (values + noise / width)) if p else np.zeros(0))


def sparse(columns: Float, y: Float) -> Line:
    """Regress ``y`` (n,) on the sum of a few single columns of ``columns`` (n, p)."""
    level, centre = float(y.mean()), columns.mean(axis=0)
    sd = columns.std(axis=0)
    scale = np.where(sd > 1e-12, sd, np.inf)
    C = (columns - centre) / scale
    n, p = C.shape
    G, b = C.T @ C / n, C.T @ (y - level) / n
    spread = max(float(((y - level) ** 2).mean()), 1e-300)
    noise, effects = spread, np.zeros((_EFFECTS, p))
    for _ in range(_SWEEPS):
        before = effects.sum(axis=0)
        for k in range(_EFFECTS):
            others = effects.sum(axis=0) - effects[k]
            effects[k] = _single(b - G @ others, noise / n)
        total = effects.sum(axis=0)
        noise = max(spread - 2.0 * b @ total + total @ G @ total, 1e-6 * spread)
        if np.abs(total - before).max(initial=0.0) < 1e-6 * np.sqrt(spread):
            break
    return Line(level, centre, effects.sum(axis=0) / scale)


def _single(b: Float, variance: float) -> Float:
    """Posterior mean of one effect that sits on one column; 0 where nothing speaks for it."""
    squared = b**2 / variance
    best, chosen = 0.0, None
    for width in _GRID:
        kept = width / (1.0 + width)
        odds = 0.5 * (kept * squared - np.log1p(width))
        top = odds.max()
        evidence = float(top + np.log(np.exp(odds - top).mean()))
        if evidence > best:
            weight = np.exp(odds - top)
            best, chosen = evidence, kept * b * weight / weight.sum()
    return np.zeros(len(b)) if chosen is None else np.asarray(chosen, dtype=np.float64)
