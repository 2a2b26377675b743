"""The payment model and the level of a response model for one row: the same numbers, at once.

For one row it is calls that cost, not sums. So whatever does not depend on the columns of the row
(its bins, their calendar, the life table) is worked out once for each due date and day and kept,
and trees are asked through LightGBM's C interface, without the checks and copies around it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import Trees, expit
from collectopt.models.hazard import HazardModel
from collectopt.models.members import Member
from collectopt.models.payment import PaymentModel
from collectopt.models.response import ResponseModel
from collectopt.models.slopes import Slopes
from collectopt.models.slopes import _stage as _stage_of_lines
from collectopt.models.windows import END, KNOTS

Float = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

_FLOAT32, _ROW_MAJOR, _RAW, _ALL = 0, 1, 1, -1  # LightGBM's codes
_ONE_THREAD = b"num_threads=1"
_KEPT = 4096  # tracks: due dates times days of the records that are asked about


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


def _address(array: npt.NDArray[np.floating[Any]]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class _QuickMember:
    def __init__(self, member: Member, width: int) -> None:
        self.member = member
        self.trees = QuickTrees(member.trees, width)
        self.slopes: Slopes | None = member.slopes


@dataclass(frozen=True, eq=False)
class _Track:
    """What is the same for all rows with the same due date and day.

    Attributes
    ----------
    data : (m, d + c) float32
        Columns of the bins; those of the row, and days from its usual ones, are still to be set.
    due : (m, 1) float32
        Days from the due date to each bin.
    base : tuple of (m,) float64
        Log odds by the life table of each member.
    scores : tuple of callable
        Sum of the trees of each member for what is in ``data``, (m,) float64.
    stage : (m,) int64
        Stage of each bin for the lines.
    at : (h,) int64
        Bin in which each of the days asked about lies.
    share : (h,) float64
        How far into it.
    weight : list of k floats
        What the windows weigh.
    """

    data: Row
    due: Row
    base: tuple[Float, ...]
    scores: tuple[Callable[[], Float], ...]
    stage: Int
    at: Int
    share: Float
    weight: list[float]


class QuickPayment:
    """P(event) of one account before given days; the numbers of :meth:`PaymentModel.predict`.

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
        self.asked = np.array([*knots, *days], dtype=np.float64)
        self.piece = np.searchsorted(np.array([*KNOTS, END]), np.array(days), side="left").tolist()
        self.shut = [
            None if trees is None else QuickTrees(trees, self.columns + 1)
            for trees in self.windows.trees[: self.knots]
        ]
        self._tracks: dict[tuple[float, int], _Track] = {}

    def straight(self, X: npt.NDArray[np.float32]) -> list[tuple[Float | None, ...]]:
        """Log odds that the lines of each member add at each stage, for each of n rows.

        They hang on the columns alone, so they may be prepared with them.
        """
        found: list[list[Float | None]] = [[] for _ in X]
        for member in self.members:
            slopes = member.slopes
            pieces = None if slopes is None else slopes._pieces(X)  # noqa: SLF001 - the same model
            for i, own in enumerate(found):
                if slopes is None or pieces is None:
                    own.append(None)
                else:
                    own.append((slopes.coef * pieces[i]).sum(axis=1) + slopes.level)
        return [tuple(own) for own in found]

    def before(
        self, x: Row, straight: tuple[Float | None, ...], due: float, day: int
    ) -> list[float]:
        """P(event) before each of the days.

        Parameters
        ----------
        x : (d,) float32
            Features of the account, in the model's order.
        straight : tuple of (stages,) float64 or None
            The row's part of :meth:`straight`.
        due : float
            Days until the due date has passed; nan without one.
        day : int
            Local day, days since 1970.
        """
        track = self._tracks.get((due, day))
        if track is None:
            track = self._lay(due, day)
        hazard = self._hazard(x, straight, track)
        total = np.zeros(len(hazard) + 1)
        np.cumsum(-np.log1p(-np.minimum(hazard, 1.0 - 1e-12)), out=total[1:])
        below = total[track.at]
        p = -np.expm1(-(below + track.share * (total[track.at + 1] - below)))
        return self._bent(x, due, track, p)

    def _hazard(self, x: Row, straight: tuple[Float | None, ...], track: _Track) -> Float:
        track.data[:, : self.columns] = x
        if self.usual:
            track.data[:, -len(self.usual) :] = track.due - x[self.usual]
        odds = []
        for base, lines, score in zip(track.base, straight, track.scores, strict=True):
            own = base if lines is None else base + lines[track.stage]
            odds.append(own + score())
        return expit(np.mean(odds, axis=0) if len(odds) > 1 else odds[0])

    def _bent(self, x: Row, due: float, track: _Track, p: Float) -> list[float]:
        """Average with the windows, as `Windows.bend` and `Bend.forward` do."""
        source, chances = p[: self.knots].tolist(), p[self.knots :].tolist()
        target = source.copy()
        for k, trees in enumerate(self.shut):
            if trees is not None:
                trees.row[:-1], trees.row[-1] = x, due
                odds, w = self.windows.base[k] + trees.one(), track.weight[k]
                target[k] = _expit(w * odds + (1.0 - w) * _logit(source[k]))
        low, high = [0.0, *source, 1.0], [0.0, *accumulate(target, max), 1.0]
        return [
            _straight(chance, low[k], low[k + 1], high[k], high[k + 1])
            for chance, k in zip(chances, self.piece, strict=True)
        ]

    def _lay(self, due: float, day: int) -> _Track:
        offset, start = np.array([due]), np.array([day]).astype("datetime64[D]")
        periods = self.hazard.grid_.lay(np.array([self.reach]), offset)
        usual = np.zeros((1, len(self.usual)), dtype=np.float32) if self.usual else None
        clock = periods.features(offset, start, usual)
        data = np.zeros((len(periods), self.columns + clock.shape[1]), dtype=np.float32)
        data[:, self.columns :] = clock
        edge = np.maximum.accumulate(np.concatenate([[0.0], periods.hi]))
        inside = (edge[None, 1:-1] <= self.asked[:, None]).sum(axis=1)
        at = np.clip(inside, 0, len(edge) - 2)
        lo, hi = edge[at], edge[at + 1]
        track = _Track(
            data=data,
            due=(periods.lo - due)[:, None].astype(np.float32),
            base=tuple(m.member._table(periods, offset) for m in self.members),  # noqa: SLF001
            scores=tuple(m.trees.of(data) for m in self.members),
            stage=_stage_of_lines(periods, offset),
            at=at,
            share=np.clip((self.asked - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0, 1.0),
            weight=self.windows.weights(offset, self.knots)[0].tolist(),
        )
        if len(self._tracks) >= _KEPT:
            self._tracks.clear()
        self._tracks[due, day] = track
        return track


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
        self.model, self.level = model, level
        self.fixed = not model.gate.open or not (model.room_share or model._tilt)  # noqa: SLF001
        self.trees = None if level.trees is None else QuickTrees(level.trees, level.width)
        self.share, self.mean_room = model.room_share, max(model._mean_room, 1e-12)  # noqa: SLF001

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

    def theta(self, x: Row, straight: tuple[float, float]) -> Float:
        """Effects of the factors, (1, p).

        Parameters
        ----------
        x : (d,) float32
        straight : (level, tilt)
            The row's part of :meth:`straight`.
        """
        theta = self.model.theta[None, :].copy()
        if self.fixed:
            return theta
        level, tilt = straight
        if self.trees is not None:
            self.trees.row[:] = x
            level = 0.5 * level + 0.5 * (self.level.start + self.trees.one())
        theta[0, 0] += tilt
        level = min(max(level, 0.0), 1.0)
        return theta * (1.0 + self.share * (level * (1.0 - level) / self.mean_room - 1.0))
