"""Policies that a learner may choose from: each is fitted to doubly robust scores.

A score (n, K) says for each row and action what the action is worth there, with noise: unbiased,
whatever the rule is that is judged by it. Each candidate answers with the action of each row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from collectopt.models.contrasts import Line, ridge, sparse

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_CUTS = 8  # most thresholds of a column
_BINS = 20  # quantiles of the level between which a ladder may step
_LEAF = 0.02  # least share of the rows in a leaf


@dataclass(frozen=True, eq=False)
class Design:
    """What a candidate sees of n rows.

    Attributes
    ----------
    plain : (n, p) float64
        Comparable columns.
    wide : (n, p + q) float64
        With their products.
    stumps : (n, s) float32
        1 where a column exceeds a threshold.
    level : (n,) float64
        Expected reward whatever is done.
    """

    plain: Float
    wide: Float
    stumps: npt.NDArray[np.float32]
    level: Float

    def __len__(self) -> int:
        return len(self.level)

    def take(self, rows: Int) -> Design:
        """Keep some of the rows."""
        return Design(self.plain[rows], self.wide[rows], self.stumps[rows], self.level[rows])


Rule = Callable[[Design], Int]


def thresholds(columns: Float) -> tuple[Int, Float]:
    """Choose stumps: which column, and above which value; both (s,)."""
    place: list[int] = []
    above: list[float] = []
    for k in range(columns.shape[1]):
        values = np.unique(columns[:, k])
        cuts = (values[1:] + values[:-1]) / 2.0
        if len(cuts) > _CUTS:
            inner = np.linspace(0.0, 1.0, _CUTS + 2)[1:-1]
            cuts = np.unique(np.quantile(columns[:, k], inner))
        place += [k] * len(cuts)
        above += cuts.tolist()
    return np.array(place, dtype=np.int64), np.array(above, dtype=np.float64)


def ridge_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Take the action with the largest contrast to the constant one, by a ridge."""
    lines = _lines(rows.plain, score, constant, ridge)
    return lambda asked: _best([line(asked.plain) for line in lines], constant)


def sparse_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Do the same by a few columns or products of two."""
    lines = _lines(rows.wide, score, constant, sparse)
    return lambda asked: _best([line(asked.wide) for line in lines], constant)


def average_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Do the same by the mean of both."""
    one = _lines(rows.plain, score, constant, ridge)
    two = _lines(rows.wide, score, constant, sparse)
    return lambda asked: _best(
        [(a(asked.plain) + b(asked.wide)) / 2.0 for a, b in zip(one, two, strict=True)], constant
    )


def logistic_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Classify by sign, each row with the size of its contrast as weight."""
    models: list[LogisticRegression | None] = []
    for k in _others(score, constant):
        gain = score[:, k] - score[:, constant]
        model = None
        if (gain > 0.0).any() and (gain < 0.0).any():
            weight = np.abs(gain) / np.abs(gain).mean()
            model = LogisticRegression(C=0.01, max_iter=300)
            model.fit(rows.plain, gain > 0.0, sample_weight=weight)
        models.append(model)

    def rule(asked: Design) -> Int:
        nothing = np.full(len(asked), -1.0)
        found = [nothing if m is None else m.decision_function(asked.plain) for m in models]
        return _best(found, constant)

    return rule


def stump_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Find the best tree of one split, by looking at all."""
    del constant
    total, right, allowed = _sums(rows, score)
    value = np.where(allowed, right.max(axis=1) + (total - right).max(axis=1), -np.inf)
    if not allowed.any():
        return _constant(int(total.argmax()))
    s = int(value.argmax())
    leaves = np.array([(total - right[s]).argmax(), right[s].argmax()])
    return lambda asked: leaves[asked.stumps[:, s].astype(np.int64)]


def tree_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Find the best tree of two levels, by looking at all."""
    del constant
    total, right, allowed = _sums(rows, score)
    if not allowed.any():
        return _constant(int(total.argmax()))
    stumps = rows.stumps.astype(np.float64)
    both = np.stack([stumps.T @ (stumps * column[:, None]) for column in score.T], axis=2)
    count = stumps.T @ stumps
    size, n = stumps.sum(axis=0), len(rows)
    # Sums of the four leaves by root (first axis) and second split: (root, split) = (1, 1), ...
    leaf = {
        (1, 1): both,
        (1, 0): right[:, None] - both,
        (0, 1): right[None, :] - both,
        (0, 0): total - right[:, None] - right[None, :] + both,
    }
    number = {
        (1, 1): count,
        (1, 0): size[:, None] - count,
        (0, 1): size[None, :] - count,
        (0, 0): n - size[:, None] - size[None, :] + count,
    }
    split: dict[int, Int] = {}
    worth = np.zeros(len(size))
    for side in (0, 1):
        value = leaf[side, 0].max(axis=2) + leaf[side, 1].max(axis=2)
        thin = np.minimum(number[side, 0], number[side, 1]) < _LEAF * n
        # No further split is among the choices: the diagonal has one empty leaf.
        thin[np.diag_indices(len(size))] = False
        value = np.where(thin, -np.inf, value)
        split[side] = value.argmax(axis=1)
        worth += value.max(axis=1)
    root = int(np.where(allowed, worth, -np.inf).argmax())
    second = [int(split[side][root]) for side in (0, 1)]
    actions = np.array(
        [[leaf[side, way][root, second[side]].argmax() for way in (0, 1)] for side in (0, 1)]
    )

    def rule(asked: Design) -> Int:
        side = asked.stumps[:, root].astype(np.int64)
        way = np.where(side == 1, asked.stumps[:, second[1]], asked.stumps[:, second[0]])
        return actions[side, way.astype(np.int64)]

    return rule


def ladder_rule(rows: Design, score: Float, constant: int) -> Rule:
    """Find the best ladder: up to three actions by the expected reward, from low to high."""
    del constant
    edges = np.unique(np.quantile(rows.level, np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, rows.level)
    sums = np.zeros((len(edges) + 1, score.shape[1]))
    np.add.at(sums, place, score)
    until = np.vstack([np.zeros(score.shape[1]), np.cumsum(sums, axis=0)])

    def steps(cuts: tuple[int, ...]) -> Float:
        return np.diff(until[[0, *cuts, len(sums)]], axis=0)

    tries = [cuts for m in (1, 2) for cuts in combinations(range(1, len(sums)), m)] or [()]
    best = max(tries, key=lambda cuts: float(steps(cuts).max(axis=1).sum()))
    actions, ends = steps(best).argmax(axis=1), edges[np.array(best, dtype=np.int64) - 1]
    return lambda asked: actions[np.searchsorted(ends, asked.level)]


#: All candidates by name.
CANDIDATES: dict[str, Callable[[Design, Float, int], Rule]] = {
    "ridge": ridge_rule,
    "sparse": sparse_rule,
    "average": average_rule,
    "logistic": logistic_rule,
    "one split": stump_rule,
    "two levels": tree_rule,
    "ladder": ladder_rule,
}


def _others(score: Float, constant: int) -> list[int]:
    return [k for k in range(score.shape[1]) if k != constant]


def _lines(
    columns: Float, score: Float, constant: int, fit: Callable[[Float, Float], Line]
) -> list[Line]:
    """Fit the contrast of each action to the constant one."""
    return [fit(columns, score[:, k] - score[:, constant]) for k in _others(score, constant)]


def _best(contrasts: list[Float], constant: int) -> Int:
    """Take the action with the largest contrast, the constant one (contrast 0) where none wins."""
    gains = np.insert(np.stack(contrasts, axis=1), constant, 0.0, axis=1)
    return np.asarray(gains.argmax(axis=1), dtype=np.int64)


def _constant(action: int) -> Rule:
    return lambda asked: np.full(len(asked), action)


def _sums(rows: Design, score: Float) -> tuple[Float, Float, npt.NDArray[np.bool_]]:
    """Sum of the scores, those to the right of each stump, and whether a stump may be used."""
    share = rows.stumps.mean(axis=0) if len(rows) else np.zeros(rows.stumps.shape[1])
    return (
        score.sum(axis=0),
        rows.stumps.astype(np.float64).T @ score,
        (share >= _LEAF) & (share <= 1.0 - _LEAF),
    )
