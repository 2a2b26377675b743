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

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

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

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give the attributes by name, to be saved."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def wide(self, Z: Float) -> Float:
        """Put the products beside the columns that :meth:`apply` gave."""
        return np.column_stack([Z, Z[:, self.pairs[:, 0]] * Z[:, self.pairs[:, 1]]])

    def tilted(self, Z: Float, coef: Float) -> Float:
        """Give ``wide(Z) @ coef`` (n,) without making products whose coefficient is 0."""
        plain = Z.shape[1]
        total = Z @ coef[:plain]
        for at in np.flatnonzero(coef[plain:]):
            i, j = self.pairs[at]
            total += coef[plain + at] * Z[:, i] * Z[:, j]
        return np.asarray(total, dtype=np.float64)

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


@dataclass(frozen=True, eq=False)
class Moments:
    """What a regression needs to know of n rows of p columns and an outcome.

    Attributes
    ----------
    n : float
        Rows; fewer where they are not independent.
    level : float
    centre : (p,) float64
        Means that were taken off.
    gram : (p, p) float64
    score : (p,) float64
        Sums of products of the columns, and of the columns with the outcome.
    spread : float
        Sum of squares of the outcome.
    """

    n: float
    level: float
    centre: Float
    gram: Float
    score: Float
    spread: float

    @classmethod
    def of(cls, columns: Float, y: Float) -> Self:
        """Take means off ``columns`` (n, p) and ``y`` (n,), and sum up."""
        level, centre = float(y.mean()), columns.mean(axis=0)
        C, r = columns - centre, y - level
        return cls(len(y), level, centre, C.T @ C, C.T @ r, float(r @ r))

    @classmethod
    def beside(cls, first: Float, blocks: Iterable[tuple[slice, Float]], y: Float) -> Self:
        """Sum up columns that come in blocks of rows, without what a first one (n,) explains.

        ``centre`` is then the coefficient of each column on the first one, ``level`` that of y.
        """
        size, gram, cross, score = float(first @ first), None, None, None
        for rows, columns in blocks:
            part = columns.T @ columns, columns.T @ first[rows], columns.T @ y[rows]
            if gram is None or cross is None or score is None:
                gram, cross, score = part
            else:
                gram, cross, score = gram + part[0], cross + part[1], score + part[2]
        assert gram is not None
        assert cross is not None
        assert score is not None
        size = max(size, 1e-300)
        level, centre = float(first @ y) / size, cross / size
        return cls(
            len(y),
            level,
            centre,
            gram - size * np.outer(centre, centre),
            score - size * level * centre,
            float(y @ y) - size * level**2,
        )

    def take(self, count: int) -> Moments:
        """Keep the first columns."""
        k = slice(count)
        return replace(self, centre=self.centre[k], gram=self.gram[k, k], score=self.score[k])

    def thinned(self, factor: float) -> Moments:
        """Count as if there were so many times fewer rows."""
        return replace(
            self,
            n=self.n / factor,
            gram=self.gram / factor,
            score=self.score / factor,
            spread=self.spread / factor,
        )


def ridge(columns: Float, y: Float) -> Line:
    """Regress ``y`` (n,) on ``columns`` (n, p); the penalty maximises the evidence."""
    moments = Moments.of(columns, y)
    return Line(moments.level, moments.centre, ridge_of(moments))


def ridge_of(moments: Moments) -> Float:
    """Coefficients of a ridge regression whose penalty maximises the evidence, (p,)."""
    return ridge_posterior(moments)[0]


def ridge_posterior(moments: Moments) -> tuple[Float, Float]:
    """Coefficients (p,) and their posterior covariance (p, p), at the penalty of most evidence."""
    n, p = moments.n, len(moments.score)
    values, vectors = np.linalg.eigh(moments.gram)
    values = np.maximum(values, 0.0)
    b = vectors.T @ moments.score
    noise = max(moments.spread / n, 1e-300)
    width = noise / max(values.max(initial=0.0), 1e-300)
    for _ in range(_SWEEPS):
        coef = b / (values + noise / width)
        used = float((values / (values + noise / width)).sum())
        rest = float(moments.spread - 2.0 * coef @ b + values @ coef**2)
        noise = max(rest / max(n - used, 1.0), 1e-300)
        # A width that runs to 0 says that there is nothing: keep it just above.
        width = max(float(coef @ coef) / max(used, 1e-12), 1e-12 * noise / n)
    if not p:
        return np.zeros(0), np.zeros((0, 0))
    left = values + noise / width
    covariance = (vectors * (noise / left)) @ vectors.T
    return np.asarray(vectors @ (b / left), np.float64), np.asarray(covariance, np.float64)


def sparse(columns: Float, y: Float) -> Line:
    """Regress ``y`` (n,) on the sum of a few single columns of ``columns`` (n, p)."""
    moments = Moments.of(columns, y)
    return Line(moments.level, moments.centre, sparse_of(moments))


def sparse_of(moments: Moments) -> Float:
    """Coefficients of the sum of a few single columns, (p,)."""
    n, p = moments.n, len(moments.score)
    sd = np.sqrt(np.maximum(np.diag(moments.gram), 0.0) / n)
    scale = np.where(sd > 1e-12, sd, np.inf)
    G, b = moments.gram / n / np.outer(scale, scale), moments.score / n / scale
    spread = max(moments.spread / n, 1e-300)
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
    return np.asarray(effects.sum(axis=0) / scale, dtype=np.float64)


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
