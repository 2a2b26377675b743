"""Trees of several models in a few arrays, laid out for a walk by compiled code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from collectopt.models.masks import _Split

#: Splits on the way to a leaf, and bins of a track, at most.
MOST_DEPTH = MOST_BINS = 64

#: A split. Values up to ``limit`` go ``left``; a child below 0 is the leaf ``~child``. ``kind`` 0:
#: nan goes right, 1: nan goes left, from 2 on: of categories, whose table starts at kind - 2; then
#: ``limit`` is the place of the codes that are not named.
NODE = np.dtype(
    [("column", "i4"), ("left", "i4"), ("right", "i4"), ("kind", "i4"), ("limit", "f4")], align=True
)


class Forests(NamedTuple):
    """Forests, the trees of each one after another.

    Attributes
    ----------
    node : (n,) of `NODE`
        Splits.
    value : (leaves,) float64
    root : (t,) int32
        First node of each tree.
    first : (f + 1,) int32
        First tree of each forest.
    begin : (f + 1,) int32
        First node of each forest.
    known : (v,) bool
        Tables of categories: whether each code goes left.
    """

    node: npt.NDArray[np.void]
    value: npt.NDArray[np.float64]
    root: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    begin: npt.NDArray[np.int32]
    known: npt.NDArray[np.bool_]


class Track(NamedTuple):
    """What is the same for all rows with the same due date and day.

    Attributes
    ----------
    clock : (m, c) float32
        Columns of the bins; the last ones, days from the row's usual ones, are still to be set.
    left : (n,) uint64
        Bins that go left at each split on the other columns of ``clock``, as bits.
    due : (m,) float32
        Days from the due date to each bin.
    usual : (u,) int64
        Columns of the row with its usual days.
    base : (members, m) float64
        Log odds by the life table of each member.
    stage : (m,) int64
        Stage of each bin for the lines.
    at : (h,) int64
        Bin in which each of the days asked about lies.
    share : (h,) float64
        How far into it.
    piece : (q,) int64
        Between which knots each of the caller's days lies.
    middle : (q + 1,) float64
        Middle of the days between those; last, the middle of all of them.
    weight : (k,) float64
        What the windows weigh.
    start : (k,) float64
        Log odds that the trees of the windows add to.
    shut : (k,) int64
        Forest of each window; below 0 = none.
    """

    clock: npt.NDArray[np.float32]
    left: npt.NDArray[np.uint64]
    due: npt.NDArray[np.float32]
    usual: npt.NDArray[np.int64]
    base: npt.NDArray[np.float64]
    stage: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    share: npt.NDArray[np.float64]
    piece: npt.NDArray[np.int64]
    middle: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    start: npt.NDArray[np.float64]
    shut: npt.NDArray[np.int64]


class Axis(NamedTuple):
    """What the tracks of a model have in common.

    Attributes
    ----------
    edges, due_edges : (e,), (d,) float64
        Of the hazard's grid.
    middle_edges : (e - 1,) float64
        Middles between the inner edges, within -inf and inf.
    reach : float
        Bins that start at or after this day are left out.
    rates : (members, e - 1, stages) float64
        Life tables.
    life_stages, line_stages : (s,) float64
        Days from the due date at which the stages of life tables and of lines begin.
    asked : (h,) float64
        Days asked about, the knots of the windows first.
    weight, oldest : (k,) float64
        What the windows weigh, and for which due dates; see `Windows`.
    clocked : (n,) int64
        Splits on columns of bins.
    width, columns : int
        Number of columns of a row, and of a bin.
    usual, piece, middle, start, shut
        As in :class:`Track`.
    """

    edges: npt.NDArray[np.float64]
    due_edges: npt.NDArray[np.float64]
    middle_edges: npt.NDArray[np.float64]
    reach: float
    rates: npt.NDArray[np.float64]
    life_stages: npt.NDArray[np.float64]
    line_stages: npt.NDArray[np.float64]
    asked: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    oldest: npt.NDArray[np.float64]
    clocked: npt.NDArray[np.int64]
    width: int
    columns: int
    usual: npt.NDArray[np.int64]
    piece: npt.NDArray[np.int64]
    middle: npt.NDArray[np.float64]
    start: npt.NDArray[np.float64]
    shut: npt.NDArray[np.int64]


class Prices(NamedTuple):
    """What the actions cost an account, and which of them compete.

    Attributes
    ----------
    flat : (K,) float64
        EUR of each action, whoever gets it; costs are below 0.
    by_worth : (K,) float64
        EUR for each EUR that the relation is worth.
    grid : (G, w) int64
        Actions of each class; K fills up.
    """

    flat: npt.NDArray[np.float64]
    by_worth: npt.NDArray[np.float64]
    grid: npt.NDArray[np.int64]


class _Laying:
    def __init__(self) -> None:
        self.node: list[tuple[int, int, int, int, np.float32]] = []
        self.value: list[float] = []
        self.known: list[bool] = []

    def lay(self, node: Mapping[str, Any], depth: int = 0) -> int:
        """Lay out what lies below a node; its number. ValueError: of a kind not known here."""
        if "leaf_features" in node:
            raise ValueError("linear")
        if "split_feature" not in node:
            self.value.append(float(node["leaf_value"]))
            return ~(len(self.value) - 1)
        strange = node["decision_type"] not in {"<=", "=="} or node["missing_type"] == "Zero"
        if strange or depth >= MOST_DEPTH:
            raise ValueError(node["decision_type"])
        split, place = _Split.of(node, 0, 0), len(self.node)
        kind, limit = int(split.missing_left), split.limit
        if split.values is not None:
            kind, limit = 2 + len(self.known), np.float32(len(split.values) - 1)
            self.known += split.values.tolist()
        self.node.append((split.column, 0, 0, kind, limit))
        left, right = (self.lay(node[side], depth + 1) for side in ("left_child", "right_child"))
        self.node[place] = split.column, left, right, kind, limit
        return place


def laid_out(dumps: Iterable[Mapping[str, Any]]) -> Forests | None:
    """Lay out what ``Booster.dump_model()`` gives of each forest; None = of a kind not known."""
    laying, root, first, begin = _Laying(), [], [0], [0]
    try:
        for dump in dumps:
            for entry in dump["tree_info"]:
                root.append(laying.lay(entry["tree_structure"]))
            first.append(len(root))
            begin.append(len(laying.node))
    except ValueError:
        return None
    return Forests(
        np.array(laying.node, dtype=NODE),
        np.array(laying.value, dtype=np.float64),
        np.array(root, dtype=np.int32),
        np.array(first, dtype=np.int32),
        np.array(begin, dtype=np.int32),
        np.array(laying.known, dtype=np.bool_),
    )
