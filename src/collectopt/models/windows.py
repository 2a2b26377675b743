"""Windows whose outcome is over: one classifier each, averaged with the hazard up to half a year.

The hazard borrows strength over all ages and censors; a classifier of one window looks at nothing
but its own question. Their mean in log odds is better than either for windows up to 180 days; from
a year on the hazard is better alone. Between the knots the hazard's own shape is kept.
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

#: Days of the windows, and what they weigh beside the hazard; at END it is alone again. Rows whose
#: window of half a year is over are that old: they count less, the hazard saw the newest days too.
KNOTS = (30.0, 90.0, 180.0)
WEIGHTS = (1 / 2, 1 / 2, 1 / 3)
END = 365.0
#: Rows with and without the event that a window needs, or it is left to the hazard.
NEEDED = 200
_OLD = 0.002  # share of a window's rows that may be older than what it answers for


@dataclass(frozen=True, eq=False)
class Windows:
    """Classifiers of windows.

    Attributes
    ----------
    trees : tuple of Trees or None
        One a knot; None where the data were too few.
    base : tuple of float
        Log odds that the trees add to.
    weight : tuple of float
        What each weighs beside the hazard, from 0 to 1.
    oldest : tuple of float
        Days until the due date (below 0: past due) of the oldest claims that each has seen. Beyond
        them the hazard is alone: in a young book a window knows young claims only.
    """

    trees: tuple[Trees | None, ...]
    base: tuple[float, ...]
    weight: tuple[float, ...]
    oldest: tuple[float, ...]

    @classmethod
    def fit(
        cls,
        X: Matrix,
        due: Float,
        outcome: Durations,
        *,
        watched: Float,
        categorical: Sequence[int],
        seed: int,
        trust: float = 1.0,
        haste: float = 1.0,
    ) -> Self:
        """Learn from the rows whose window was over by the cut.

        Parameters
        ----------
        X : (n, d) float32
        due : (n,) float64
            Days until the due date; nan without one.
        outcome : Durations
        watched : (n,) float64
            Days from each row to the cut.
        categorical : sequence of int
        seed : int
        trust : float
            Multiplies the weights.
        haste : float
            So many times fewer trees, each of which weighs so many times more.
        """
        data = _with_due(X, due)
        trees: list[Trees | None] = []
        base, oldest = [], []
        for knot in KNOTS:
            # Only time decides which rows count, except for those that a credit note closed.
            known = (watched >= knot) & (outcome.event | (outcome.days >= knot))
            hit = (outcome.event & (outcome.days < knot))[known]
            enough = min(int(hit.sum()), int((~hit).sum())) >= NEEDED
            start = float(logit(np.array([hit.mean()]))[0]) if enough else 0.0
            base.append(start)
            dated = due[known & ~np.isnan(due)]
            oldest.append(float(np.quantile(dated, _OLD)) if len(dated) else -np.inf)
            trees.append(
                Trees.fit(
                    data[known],
                    hit.astype(np.float64),
                    options=_options(int(hit.sum()), seed, haste),
                    base=np.full(len(hit), start),
                    categorical=categorical,
                )
                if enough
                else None
            )
        weight = tuple(trust * weight for weight in WEIGHTS)
        return cls(tuple(trees), tuple(base), weight, tuple(oldest))

    def bend(self, X: Matrix, due: Float, at_knots: Float) -> Bend:
        """Average with the hazard at the knots.

        Parameters
        ----------
        X, due
            As in :meth:`fit`.
        at_knots : (n, m) float64
            The hazard's P(event) before each of :data:`KNOTS` and :data:`END`, or before the
            first m of them, if no later day will be asked for.
        """
        target = at_knots.copy()
        data = _with_due(X, due)
        weight = self.weights(due, at_knots.shape[1])
        for k in range(min(at_knots.shape[1], len(self.trees))):
            trees = self.trees[k]
            if trees is not None:
                odds, w = self.base[k] + trees.score(data), weight[:, k]
                target[:, k] = expit(w * odds + (1.0 - w) * logit(at_knots[:, k]))
        return Bend(at_knots, np.maximum.accumulate(target, axis=1))

    def weights(self, due: Float, count: int) -> Float:
        """Give what the first windows weigh for each row, (n, count); 0 at :data:`END`."""
        out = np.zeros((len(due), count))
        for k, trees in enumerate(self.trees[:count]):
            if trees is not None:
                out[:, k] = np.where(due < self.oldest[k], 0.0, self.weight[k])
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values; trees as LightGBM's text."""
        return {
            "base": self.base,
            "weight": self.weight,
            "oldest": self.oldest,
            "trees": [None if t is None else t.to_text() for t in self.trees],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Windows:
        """Read what :meth:`to_json` gave."""
        trees = tuple(None if text is None else Trees.from_text(text) for text in content["trees"])
        rest = (tuple(content[name]) for name in ("base", "weight", "oldest"))
        return cls(trees, *rest)


@dataclass(frozen=True, eq=False)
class Bend:
    """Maps the hazard's chances to the averaged ones: straight between knots, so it never falls.

    Attributes
    ----------
    source, target : (n, m) float64
        Chances at the knots before and after; both rise from knot to knot.
    """

    source: Float
    target: Float

    def forward(self, p: Float, days: Float) -> Float:
        """Bend chances of the hazard before the given days, both (n, h)."""
        piece = np.searchsorted(np.array([*KNOTS, END]), days, side="left")
        return _straight(p, _padded(self.source), _padded(self.target), piece)

    def backward(self, chance: float) -> Float:
        """Find the hazard's chances that are bent to ``chance``, (n,)."""
        piece = (self.target < chance).sum(axis=1)[:, None]
        wanted = np.full(piece.shape, chance)
        return _straight(wanted, _padded(self.target), _padded(self.source), piece)[:, 0]


def _straight(x: Float, source: Float, target: Float, piece: npt.NDArray[np.int64]) -> Float:
    rows = np.arange(len(source))[:, None]
    low, high = source[rows, piece], source[rows, piece + 1]
    below, above = target[rows, piece], target[rows, piece + 1]
    share = np.clip((x - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return np.asarray(below + share * (above - below), dtype=np.float64)


def _padded(values: Float) -> Float:
    n = len(values)
    return np.concatenate([np.zeros((n, 1)), values, np.ones((n, 1))], axis=1)


def _with_due(X: Matrix, due: Float) -> Matrix:
    return np.column_stack([X, due.astype(np.float32)])


def _options(events: int, seed: int, haste: float) -> TreeOptions:
    large = events >= 2000
    return TreeOptions(
        rounds=round((150 if large else 80) / haste),
        rate=0.05 * haste,
        leaves=15 if large else 7,
        min_leaf=40,
        seed=seed,
    )
