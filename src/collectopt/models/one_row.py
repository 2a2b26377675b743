"""The payment model and the level of a response model for one row: the same numbers, at once.

For one row it is calls that cost, not sums. So whatever does not depend on the columns of the row
(its bins, their calendar, the life table) is worked out once for each due date and day and kept.
Where numba is there (the extra "fast"), all the rest is one call of compiled code; else trees are
asked through LightGBM's C interface, without the checks and copies around it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import Trees, expit
from collectopt.models.forests import MOST_BINS, Axis, Forests, Track, laid_out
from collectopt.models.hazard import HazardModel
from collectopt.models.members import Member
from collectopt.models.payment import PaymentModel
from collectopt.models.periods import _STAGES as LIFE_STAGES
from collectopt.models.response import ResponseModel
from collectopt.models.slopes import STAGES, Slopes
from collectopt.models.slopes import _stage as _stage_of_lines
from collectopt.models.windows import END, KNOTS

Float = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

_FLOAT32, _ROW_MAJOR, _RAW, _ALL = 0, 1, 1, -1  # LightGBM's codes
_ONE_THREAD = b"num_threads=1"
T = TypeVar("T")

_KEPT = 512  # tracks: due dates times days of the records that are asked about


class QuickTrees:
    """A booster asked for few rows; not to be shared between threads.

    Parameters
    ----------
    trees : Trees
    width : int
        Columns of a row.

    Attributes
    ----------
    row : (width,) float32
        Put here the row that :meth:`one` is to score.

    Notes
    -----
    The same numbers as :meth:`Trees.score`, to the last bit. Where LightGBM's library cannot be
    reached that way it is asked as usual.
    """

    def __init__(self, trees: Trees, width: int) -> None:
        self.trees, self.width = trees, width
        self.row, self._out = np.zeros(width, dtype=np.float32), np.zeros(1)
        self._length = ctypes.byref(ctypes.c_int64())
        self._fast = None
        try:
            from lightgbm.basic import _LIB

            self._library, self._handle = _LIB, trees.booster._handle  # noqa: SLF001
            fast = ctypes.c_void_p()
            failed = self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _RAW, 0, _ALL, _FLOAT32, width, _ONE_THREAD, ctypes.byref(fast)
            )
        except (ImportError, AttributeError):
            return
        if not failed:
            self._fast = fast
            self._ask = self._library.LGBM_BoosterPredictForMatSingleRowFast
            self._told = (fast, _address(self.row), self._length, _address(self._out))

    def __del__(self) -> None:
        if getattr(self, "_fast", None) is not None:
            self._library.LGBM_FastConfigFree(self._fast)

    def one(self) -> float:
        """Score of the row in :attr:`row`."""
        if self._fast is None:
            return float(self.trees.score(self.row[None, :])[0])
        self._ask(*self._told)
        return float(self._out[0])

    def of(self, data: Row) -> Callable[[], Float]:
        """Give a function that scores the rows which are in ``data`` when it is called.

        Parameters
        ----------
        data : (m, width) float32
            In C order; it may be changed between calls, and so may what was given.
        """
        if self._fast is None:
            return lambda: self.trees.score(data)
        out = np.zeros(len(data))
        ask = self._library.LGBM_BoosterPredictForMat
        shape = (_FLOAT32, len(data), self.width, _ROW_MAJOR, _RAW, 0, _ALL, _ONE_THREAD)
        told = (self._handle, _address(data), *shape, self._length, _address(out))

        def score() -> Float:
            ask(*told)
            return out

        return score


def compiled() -> Any:
    """Give the module of compiled code; None where numba is not there."""
    try:
        from collectopt.models import kernels
    except ImportError:
        return None
    return kernels


def _laid_out(quick: list[QuickTrees]) -> tuple[Any, Forests] | None:
    """Compiled code and the trees laid out for it; None where numba is not there."""
    kernels = compiled()
    if kernels is None:
        return None
    forests = laid_out(each.trees.booster.dump_model() for each in quick)
    return None if forests is None else (kernels, forests)


def _address(array: npt.NDArray[np.floating[Any]]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class _QuickMember:
    def __init__(self, member: Member, width: int) -> None:
        self.member = member
        self.trees = QuickTrees(member.trees, width)
        self.slopes: Slopes | None = member.slopes


@dataclass(frozen=True, eq=False)
class _Lines:
    """What is the same for all rows with the same due date and day.

    Attributes
    ----------
    data : (m, d + c) float32
        Columns of the bins; those of the row, and days from its usual ones, are still to be set.
    scores : tuple of callable
        Sum of the trees of each member for what is in ``data``, (m,) float64.
    due : (m,) float32
        Days from the due date to each bin.
    base : (members, m) float64
        Log odds by the life table of each member.
    stage : (m,) int64
        Stage of each bin for the lines.
    at : (h,) int64
        Bin in which each of the days asked about lies.
    share : (h,) float64
        How far into it.
    weight : (k,) float64
        What the windows weigh.
    """

    data: Row
    scores: tuple[Callable[[], Float], ...]
    due: Row
    base: Float
    stage: Int
    at: Int
    share: Float
    weight: Float


class QuickPayment:
    """P(event) of one account before given days.

    The numbers of :meth:`PaymentModel.predict` of rows that name no claim.

    Parameters
    ----------
    payment : PaymentModel
        Fitted at level "account".
    days : sequence of int
        Days from as_of, rising.
    """

    def __init__(self, payment: PaymentModel, days: tuple[int, ...]) -> None:
        head = payment._head("account")  # noqa: SLF001 - the same model, laid out again
        self.hazard: HazardModel = head.hazard
        self.windows = head.windows
        self.columns = len(head.names)
        width = len(self.hazard.line_names_)
        self.members = [_QuickMember(m, width) for m in self.hazard.members_]
        self.usual = self.hazard.columns_.places(list(self.hazard.clock_.usual), "usual")
        knots = np.array([*KNOTS, END])
        knots = knots[: np.searchsorted(knots, float(days[-1])) + 1]
        self.knots, self.reach = len(knots), max(float(days[-1]), float(knots[-1]))
        self.middle = np.array([*((a + b) / 2.0 for a, b in pairwise([0, *days])), days[-1] / 2.0])
        self.asked = np.array([*knots, *days], dtype=np.float64)
        self.piece = np.searchsorted(np.array([*KNOTS, END]), np.array(days), side="left").tolist()
        self.shut = [
            None if trees is None else QuickTrees(trees, self.columns + 1)
            for trees in self.windows.trees[: self.knots]
        ]
        self._lines: dict[tuple[float, int], _Lines] = {}
        self._tracks: dict[tuple[float, int], Track] = {}
        self.fast = self._compiled()
        self._chances = np.zeros(len(self.piece))
        # compile now rather than at the first decision
        row = np.zeros(self.columns, dtype=np.float32)
        self.before(row, self.straight(np.zeros((1, width), dtype=np.float32))[0], np.nan, 0)

    def straight(self, X: npt.NDArray[np.float32]) -> Float:
        """Log odds that lines add for n rows, at each stage: (n, members, stages).

        They hang on the columns alone, so they may be prepared with them.
        """
        found = np.zeros((len(X), len(self.members), len(STAGES) + 2))
        for k, member in enumerate(self.members):
            slopes = member.slopes
            if slopes is not None:
                pieces = slopes.pieces.of(X)
                for i in range(len(X)):
                    found[i, k] = (slopes.coef * pieces[i]).sum(axis=1) + slopes.level
        return found

    def before(self, x: Row, straight: Float, due: float, day: int) -> list[float]:
        """P(event) before each of the days.

        Parameters
        ----------
        x : (d,) float32
            Features of the account, in the model's order.
        straight : (members, stages) float64
            The row's part of :meth:`straight`.
        due : float
            Days until the due date has passed; nan without one.
        day : int
            Local day, days since 1970.
        """
        return self._asked(x, straight, due, day)[0]

    def paid(self, x: Row, straight: Float, due: float, day: int) -> tuple[float, float]:
        """P(event) before the last of the days, and the mean days to it if it comes by then.

        Parameters are those of :meth:`before`.
        """
        p, mean = self._asked(x, straight, due, day)
        return p[-1], mean

    def _asked(self, x: Row, straight: Float, due: float, day: int) -> tuple[list[float], float]:
        if self.fast is not None:
            kernels, tracks, trees, axis = self.fast
            track = self._tracks.get((due, day))
            if track is None:
                track = tracks.track_of(axis, due, day)
                left = kernels.clock_splits(trees, axis.clocked, track.clock, axis.width)
                track = track._replace(left=left)
                _keep(self._tracks, (due, day), track)
            last = float(np.float32(due))  # columns are float32
            mean = kernels.paid_before(trees, track, x, straight, last, self._chances)
            return self._chances.tolist(), mean
        known = self._lines.get((due, day))
        if known is None:
            known = self._lay(due, day)
            _keep(self._lines, (due, day), known)
        hazard = self._hazard(x, straight, known)
        total = np.zeros(len(hazard) + 1)
        np.cumsum(-np.log1p(-np.minimum(hazard, 1.0 - 1e-12)), out=total[1:])
        below = total[known.at]
        p = -np.expm1(-(below + known.share * (total[known.at + 1] - below)))
        chances = self._bent(x, due, known.weight, p)
        mass = [max(b - a, 0.0) for a, b in pairwise([0.0, *chances])]
        if not sum(mass) > 0:
            return chances, float(self.middle[-1])
        return chances, float(np.dot(mass, self.middle[:-1])) / sum(mass)

    def _hazard(self, x: Row, straight: Float, known: _Lines) -> Float:
        known.data[:, : self.columns] = x
        if self.usual:
            known.data[:, -len(self.usual) :] = known.due[:, None] - x[self.usual]
        odds = []
        for base, lines, score in zip(known.base, straight, known.scores, strict=True):
            odds.append(base + lines[known.stage] + score())
        return expit(np.mean(odds, axis=0) if len(odds) > 1 else odds[0])

    def _bent(self, x: Row, due: float, weight: Float, p: Float) -> list[float]:
        """Average with the windows, as `Windows.bend` and `Bend.forward` do."""
        source, chances = p[: self.knots].tolist(), p[self.knots :].tolist()
        target = source.copy()
        for k, trees in enumerate(self.shut):
            if trees is not None:
                trees.row[:-1], trees.row[-1] = x, due
                odds, w = self.windows.base[k] + trees.one(), float(weight[k])
                target[k] = _expit(w * odds + (1.0 - w) * _logit(source[k]))
        low, high = [0.0, *source, 1.0], [0.0, *accumulate(target, max), 1.0]
        return [
            _straight(chance, low[k], low[k + 1], high[k], high[k + 1])
            for chance, k in zip(chances, self.piece, strict=True)
        ]

    def _lay(self, due: float, day: int) -> _Lines:
        offset, start = np.array([due]), np.array([day]).astype("datetime64[D]")
        periods = self.hazard.grid_.lay(np.array([self.reach]), offset)
        usual = np.zeros((1, len(self.usual)), dtype=np.float32) if self.usual else None
        clock = periods.features(offset, start, usual)
        edge = np.maximum.accumulate(np.concatenate([[0.0], periods.hi]))
        inside = (edge[None, 1:-1] <= self.asked[:, None]).sum(axis=1)
        at = np.minimum(inside, len(edge) - 2)
        lo, hi = edge[at], edge[at + 1]
        part = (self.asked - lo) / np.where(hi > lo, hi - lo, 1.0)
        data = np.zeros((len(periods), self.columns + clock.shape[1]), dtype=np.float32)
        data[:, self.columns :] = clock
        return _Lines(
            data=data,
            scores=tuple(m.trees.of(data) for m in self.members),
            due=(periods.lo - due).astype(np.float32),
            base=np.array([m.member._table(periods, offset) for m in self.members]),  # noqa: SLF001
            stage=_stage_of_lines(periods, offset),
            at=at,
            share=np.minimum(np.maximum(part, 0.0), 1.0),
            weight=self.windows.weights(offset, self.knots)[0],
        )

    def _compiled(self) -> tuple[Any, Any, Forests, Axis] | None:
        """Compiled code, the trees laid out for it, and what all tracks share."""
        shut = {k: trees for k, trees in enumerate(self.shut) if trees is not None}
        found = _laid_out([*(m.trees for m in self.members), *shut.values()])
        grid = self.hazard.grid_
        if found is None or len(grid.edges) + len(grid.due_edges) > MOST_BINS:
            return None
        from collectopt.models import tracks

        kernels, trees = found
        # the last knot has no window, nor have those that saw too few rows
        start, weight, oldest = np.zeros((3, self.knots))
        known, own, number = len(self.shut), [*shut], np.full(self.knots, -1, dtype=np.int64)
        start[:known] = self.windows.base[:known]
        oldest[:known] = self.windows.oldest[:known]
        weight[own] = [self.windows.weight[k] for k in own]
        number[own] = len(self.members) + np.arange(len(own))
        inner = grid.edges[1:-1]
        of_members = trees.node["column"][: trees.begin[len(self.members)]]
        axis = Axis(
            edges=grid.edges,
            due_edges=grid.due_edges,
            middle_edges=np.array([-np.inf, *((inner[:-1] + inner[1:]) / 2.0), np.inf]),
            reach=self.reach,
            rates=np.array([m.member.table.rates for m in self.members]),
            life_stages=LIFE_STAGES,
            line_stages=STAGES,
            asked=self.asked,
            weight=weight,
            oldest=oldest,
            clocked=np.flatnonzero(of_members >= self.columns),
            width=self.columns,
            columns=len(self.hazard.clock_.names),
            usual=np.array(self.usual, dtype=np.int64),
            piece=np.array(self.piece, dtype=np.int64),
            middle=self.middle,
            start=start,
            shut=number,
        )
        return kernels, tracks, trees, axis


def _keep(known: dict[tuple[float, int], T], key: tuple[float, int], value: T) -> None:
    if len(known) >= _KEPT:
        known.clear()
    known[key] = value


def _logit(p: float) -> float:
    p = min(max(p, 1e-12), 1.0 - 1e-12)
    return float(np.log(p) - np.log1p(-p))


def _expit(z: float) -> float:
    return float(0.5 * (1.0 + np.tanh(0.5 * z)))


def _straight(x: float, low: float, high: float, below: float, above: float) -> float:
    share = min(max((x - low) / (high - low if high > low else 1.0), 0.0), 1.0)
    return below + share * (above - below)


class QuickEffects:
    """Effects of the factors for one row: the numbers of :meth:`ResponseModel.effect_factors`.

    Parameters
    ----------
    model : ResponseModel
        Fitted.
    """

    def __init__(self, model: ResponseModel) -> None:
        level = model._level  # noqa: SLF001 - the same model, laid out again
        assert level is not None
        assert model.factors is not None
        self.model, self.level = model, level
        self.fixed = not model.gate.open or not (model.room_share or model._tilt)  # noqa: SLF001
        self.trees = None if level.trees is None else QuickTrees(level.trees, level.width)
        self.share, self.mean_room = model.room_share, max(model._mean_room, 1e-12)  # noqa: SLF001
        self.common, self.phi = model.theta[None, :], model.factors.phi
        self.told = float(level.start), float(self.share), float(self.mean_room)

    @cached_property
    def forests(self) -> tuple[Any, Forests] | None:
        """Compiled code and the trees laid out for it."""
        return _laid_out([self.trees] if self.trees else [])

    def straight(self, X: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
        """Give what the lines say of n rows each: of its level, and of the effect of a contact.

        They hang on the columns alone, so they may be prepared with them.
        """
        if self.fixed:
            return [(0.0, 0.0)] * len(X)
        Z, level, tilt = self.level.mains.apply(X), self.level, self.model._tilt  # noqa: SLF001
        found = []
        for i in range(len(X)):  # one by one: a product of matrices may differ in the last bit
            z = Z[i : i + 1]
            own = float((z @ level.beta[:-1] + level.beta[-1])[0, 0])
            found.append((own, 0.0 if tilt is None else float(tilt(z)[0])))
        return found

    def theta(
        self, x: Row, straight: tuple[float, float], trust: tuple[float, float] = (1.0, 1.0)
    ) -> Float:
        """Effects of the factors, (1, p).

        Parameters
        ----------
        x : (d,) float32
        straight : (level, tilt)
            The row's part of :meth:`straight`.
        trust : (common, own)
            Shares of the common effects, and of what the row's own differ from them.
        """
        if self.fixed:
            return self.common * trust[0]
        if self.forests is not None:
            kernels, trees = self.forests
            theta = np.empty(self.common.shape)
            own = 0 if self.trees is not None else -1
            told = (*self.told, *trust)
            kernels.theta(trees, own, x, self.common, told, straight, theta)
            return theta
        theta = self.common.copy()
        level, tilt = straight
        if self.trees is not None:
            self.trees.row[:] = x
            level = 0.5 * level + 0.5 * (self.level.start + self.trees.one())
        theta[0, 0] += tilt
        level = min(max(level, 0.0), 1.0)
        theta *= 1.0 + self.share * (level * (1.0 - level) / self.mean_room - 1.0)
        return trust[0] * self.common + trust[1] * (theta - self.common)
