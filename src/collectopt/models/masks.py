"""Scores of many lines of few rows: a split on a row's own column is looked at once a row.

LightGBM walks down each tree for each line. Here each split strikes the leaves that cannot be
reached any more off a bit mask (Lucchese et al. 2015, QuickScorer); what the columns of the row
leave is worked out once for all lines of the row. The sums are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.unsignedinteger[Any]]

#: Leaves that a mask has room for.
MOST_LEAVES = 32
#: LightGBM reads values up to this as 0.
_ZERO = np.float32(1e-35)


@dataclass(frozen=True, eq=False)
class _Split:
    """One inner node.

    Attributes
    ----------
    column : int
    left, right : int
        Leaves that stay possible on either side, as bits.
    limit : float32
        Values up to it go left; of categories those in ``values`` do instead.
    values : (v,) bool or None
        For categories: whether each code goes left; the last one stands for all others.
    missing_left : bool
        Whether nan goes left.
    """

    column: int
    left: int
    right: int
    limit: np.float32
    values: Bool | None
    missing_left: bool

    @classmethod
    def of(cls, node: Mapping[str, Any], left: int, right: int) -> _Split:
        """Read a node of LightGBM's dump."""
        column = int(node["split_feature"])
        if node["decision_type"] == "==":
            codes = np.array([int(code) for code in str(node["threshold"]).split("||")])
            values = np.zeros(codes.max() + 2, dtype=np.bool_)
            values[codes] = True
            return cls(column, left, right, np.float32(0.0), values, missing_left=False)
        limit = float(node["threshold"])
        missing_left = bool(node["default_left"])
        if node["missing_type"] != "NaN":  # none was missing in fit: LightGBM takes nan for 0
            missing_left = limit >= 0.0
        return cls(column, left, right, _at_most(limit), None, missing_left)

    def go_left(self, x: Matrix, missing: Bool | None) -> Bool:
        """Which of the values of the column go left; ``missing`` is None where none is nan."""
        if self.values is not None:
            other = len(self.values) - 1
            known = np.trunc(np.where(np.isnan(x), -1.0, x))
            known = np.where((known < 0.0) | (known > other), other, known)
            return self.values[known.astype(np.int64)]
        left = x <= self.limit
        if missing is not None and self.missing_left:
            left |= missing
        return left


@dataclass(frozen=True, eq=False)
class _Tree:
    """Splits, and the value of each leaf, (leaves,)."""

    splits: tuple[_Split, ...]
    values: Float


@dataclass(frozen=True, eq=False)
class MaskedTrees:
    """Trees of at most :data:`MOST_LEAVES` leaves."""

    trees: tuple[_Tree, ...]

    @classmethod
    def of(cls, dump: Mapping[str, Any]) -> MaskedTrees | None:
        """Read what ``Booster.dump_model()`` gives; None where masks cannot hold the trees."""
        known = {"<=", "=="}
        trees = []
        for entry in dump["tree_info"]:
            root = entry["tree_structure"]
            nodes = list(_inner(root))
            strange = any(
                n["decision_type"] not in known or n["missing_type"] == "Zero" for n in nodes
            )
            if entry["num_leaves"] > MOST_LEAVES or strange or "leaf_features" in root:
                return None
            values: dict[int, float] = {}
            splits: list[_Split] = []
            _collect(root, values, splits, (1 << entry["num_leaves"]) - 1)
            table = np.array([values[leaf] for leaf in range(len(values))], dtype=np.float64)
            trees.append(_Tree(tuple(splits), table))
        return cls(tuple(trees))

    def score(self, rows: Matrix, lines: Matrix, count: npt.NDArray[np.int64]) -> Float:
        """Sum of the trees.

        Parameters
        ----------
        rows : (n, d) float32
            Columns that all lines of a row share.
        lines : (m, k) float32
            Columns of each line, those of the first row first.
        count : (n,) int64
            Lines of each row.

        Returns
        -------
        (m,) float64
        """
        n, width, m = len(rows), rows.shape[1], len(lines)
        columns = [np.where(np.abs(x) <= _ZERO, np.float32(0.0), x) for x in (*rows.T, *lines.T)]
        gaps = [_missing(x) for x in columns]
        most = max((len(tree.values) for tree in self.trees), default=1)
        kind = np.dtype(np.uint16 if most <= 16 else np.uint32)
        total, value = np.zeros(m), np.empty(m)
        fixed, mask = np.empty(n, dtype=kind), np.empty(m, dtype=kind)
        spare = np.empty(n, dtype=kind), np.empty(m, dtype=kind)
        for tree in self.trees:
            fixed[:] = (1 << len(tree.values)) - 1
            mask[:] = ~mask.dtype.type(0)
            for split in tree.splits:
                left = split.go_left(columns[split.column], gaps[split.column])
                own = split.column < width
                _strike(fixed if own else mask, split, left, spare[0 if own else 1])
            mask &= np.repeat(fixed, count)
            total += np.take(tree.values, _leaf(mask), mode="clip", out=value)
        return total


def _strike(mask: Mask, split: _Split, left: Bool, spare: Mask) -> None:
    """Keep the leaves of the side that was taken: right + taken left * (left - right), as bits."""
    kind = mask.dtype.type
    gap = kind((split.left - split.right) & int(~kind(0)))
    np.multiply(left.view(np.uint8), gap, out=spare)
    np.add(spare, kind(split.right), out=spare)
    np.bitwise_and(mask, spare, out=mask)


def _leaf(mask: Mask) -> npt.NDArray[np.int32]:
    """Find the one bit that is left: its number is the exponent of the mask as a float."""
    return (mask.astype(np.float32).view(np.int32) >> 23) - 127


def _missing(x: Matrix) -> Bool | None:
    gaps = np.isnan(x)
    return gaps if gaps.any() else None


def _at_most(limit: float) -> np.float32:
    """Largest float32 that is not above ``limit``: x <= it exactly where x <= limit."""
    with np.errstate(over="ignore"):
        near = np.float32(limit)
    return near if float(near) <= limit else np.nextafter(near, np.float32(-np.inf))


def _inner(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "split_feature" in node:
        yield node
        yield from _inner(node["left_child"])
        yield from _inner(node["right_child"])


def _collect(
    node: Mapping[str, Any], values: dict[int, float], splits: list[_Split], whole: int
) -> int:
    """Gather the leaves and the splits below a node; give its leaves as bits."""
    if "split_feature" not in node:
        leaf = int(node.get("leaf_index", 0))
        values[leaf] = float(node["leaf_value"])
        return 1 << leaf
    left = _collect(node["left_child"], values, splits, whole)
    right = _collect(node["right_child"], values, splits, whole)
    splits.append(_Split.of(node, whole & ~right, whole & ~left))
    return left | right
