"""Share a forecast's log odds out to the columns, through hazard, windows and bend.

Each column adds to the log odds of each bin of the hazard and of each window (tree SHAP). What
that does to the chance by the horizon is the slope of the chance, integrated on the straight way
from the reference, where no column has spoken, to the forecast (Aumann-Shapley). So the shares
add up to the whole difference; the forecast is not linear, its slopes at one end would not do.

References
----------
Lundberg et al. (2020), From local explanations to global understanding with explainable AI for
trees. Nature Machine Intelligence 2. Sundararajan et al. (2017), Axiomatic attribution for deep
networks. ICML.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import expit, logit
from collectopt.models.hazard import HazardModel
from collectopt.models.joined import Joined
from collectopt.models.periods import Periods
from collectopt.models.windows import END, KNOTS, Windows, _with_due

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

#: Points at which the slopes are taken; the rest is shared out by size, see :func:`attribute`.
NODES = 16
_EDGES = np.array([*KNOTS, END])


@dataclass(frozen=True, eq=False)
class Shares:
    """What moves the log odds of n rows.

    Attributes
    ----------
    base : (n,) float64
        Log odds of the reference: life table and mean of the trees.
    added : (n, d + 1) float64
        By column, and last by everything that is about time; base + sum = the forecast's log odds.
    rest : (n,) float64
        What the integral left over (it is contained in `added`): how exact the shares are.
    """

    base: Float
    added: Float
    rest: Float


def attribute(
    hazard: HazardModel | Joined,
    windows: Windows,
    X: Matrix,
    *,
    seen: int | None = None,
    due: Float,
    start: npt.NDArray[np.datetime64],
    ahead: Float,
    chance: Float,
) -> Shares:
    """Share out the log odds of a forecast.

    Parameters
    ----------
    hazard, windows
        The parts of the forecast.
    X : (n, d) float32
        Columns that the hazard is handed.
    seen : int, optional
        How many of them, the first ones, the windows look at; default: all.
    due : (n,) float64
        Days until the due date; nan without one.
    start : (n,) datetime64[D]
        Local day of each row.
    ahead : (n,) float64
        Days until the horizon, above 0.
    chance : (n,) float64
        The forecast.
    """
    width, n = X.shape[1], len(X)
    seen = width if seen is None else seen
    # Beyond the knot that ends the horizon's piece nothing has a part in the forecast.
    upto = np.maximum(ahead, np.r_[_EDGES, 0.0][np.searchsorted(_EDGES, ahead)])
    periods, base, added = hazard.contributions(X, offset=due, start=start, reach=upto)
    count = int(np.searchsorted(_EDGES, ahead.max())) + 1
    odds, window = _window_parts(windows, X[:, :seen], due, count)
    blend = Blend.of(periods, ahead, windows, due, odds.shape[1])
    bins = (blend.dense(periods, base), blend.dense(periods, added.sum(axis=1)))
    windows_sum = window.sum(axis=2)
    by_bin, by_window = np.zeros(bins[0].shape), np.zeros(odds.shape)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    for at, weight in zip((nodes + 1.0) / 2.0, weights / 2.0, strict=True):
        p, to_bins, to_windows = blend.slopes(bins[0] + at * bins[1], odds + at * windows_sum)
        scale = weight / np.maximum(p * (1.0 - p), 1e-12)[:, None]
        by_bin += scale * to_bins
        by_window += scale * to_windows
    first = np.searchsorted(periods.row, np.arange(n))
    line = by_bin[periods.row, blend.place(periods)][:, None] * added
    shares = np.zeros((n, width + 1))
    whole = np.add.reduceat(line, first, axis=0)
    by_column = np.einsum("nk,nkd->nd", by_window, window)
    shares[:, :width] = whole[:, :width]
    shares[:, :seen] += by_column[:, :seen]
    shares[:, width] = whole[:, width:].sum(axis=1) + by_column[:, seen]
    reference = logit(blend.slopes(bins[0], odds)[0])
    rest = logit(chance) - reference - shares.sum(axis=1)
    return Shares(reference, _exact(shares, rest), rest)


def _exact(shares: Float, rest: Float) -> Float:
    """Share out what is left by size; where nothing has a share it is a matter of time."""
    size = np.abs(shares)
    size[:, -1] += 1e-12
    return np.asarray(shares + rest[:, None] * size / size.sum(axis=1, keepdims=True))


def _window_parts(windows: Windows, X: Matrix, due: Float, count: int) -> tuple[Float, Float]:
    """Give mean log odds (n, m) and what the columns add (n, m, d + 1) at the first knots."""
    data = _with_due(X, due)
    count = min(count, len(_EDGES))
    odds, added = np.zeros((len(X), count)), np.zeros((len(X), count, data.shape[1]))
    known = zip(windows.trees, windows.base, strict=True)
    for k, (trees, base) in enumerate(list(known)[:count]):
        if trees is not None:
            found = trees.contributions(data)
            odds[:, k], added[:, k] = base + found[:, -1], found[:, :-1]
    return odds, added


@dataclass(frozen=True, eq=False)
class Blend:
    """How the log odds of b bins and m windows make the chances of n rows.

    Attributes
    ----------
    laid : (n, b) bool
        Whether a row has the bin.
    share : (n, 1 + m, b) float64
        Part of each bin that lies before the horizon, and before each knot.
    piece : (n,) int64
        Piece of the bend that the horizon lies in.
    weight : (n, m) float64
        What each window weighs beside the hazard.
    """

    laid: npt.NDArray[np.bool_]
    share: Float
    piece: Int
    weight: Float

    @classmethod
    def of(cls, periods: Periods, ahead: Float, windows: Windows, due: Float, count: int) -> Blend:
        """Lay out the bins of all rows side by side, each row with at least one bin."""
        n = len(ahead)
        place, size = _place(periods.row, n)
        laid = np.zeros((n, size), dtype=np.bool_)
        laid[periods.row, place] = True
        lo, hi = np.zeros((n, size)), np.ones((n, size))
        lo[periods.row, place], hi[periods.row, place] = periods.lo, periods.hi
        knots = np.broadcast_to(_EDGES[:count], (n, count))
        days = np.column_stack([ahead, knots])[:, :, None]
        share = np.clip((days - lo[:, None]) / (hi - lo)[:, None], 0.0, 1.0)
        return cls(laid, share, np.searchsorted(_EDGES, ahead), windows.weights(due, count))

    def place(self, periods: Periods) -> Int:
        """Column of each bin, (number of bins,)."""
        return _place(periods.row, len(self.laid))[0]

    def dense(self, periods: Periods, values: Float) -> Float:
        """Values of the bins as (n, b); 0 where a row has no such bin."""
        out = np.zeros(self.laid.shape)
        out[periods.row, self.place(periods)] = values
        return out

    def slopes(self, bins: Float, windows: Float) -> tuple[Float, Float, Float]:
        """Chance by the horizon, and how it moves with the log odds.

        Parameters
        ----------
        bins : (n, b) float64
            Log odds of the bins.
        windows : (n, m) float64
            Log odds of the windows.

        Returns
        -------
        chance : (n,) float64
        to_bins : (n, b) float64
        to_windows : (n, m) float64
        """
        hazard = np.where(self.laid, expit(bins), 0.0)
        total = np.einsum("nqb,nb->nq", self.share, -np.log1p(-np.minimum(hazard, 1.0 - 1e-12)))
        source = -np.expm1(-total)
        asked, at = source[:, 0], source[:, 1:]
        mixed = expit(self.weight * windows + (1.0 - self.weight) * logit(at))
        steep = mixed * (1.0 - mixed)
        by_at = (1.0 - self.weight) * steep / np.maximum(at * (1.0 - at), 1e-12)
        heard = self.weight > 0.0
        to_source = np.where(heard, by_at, 1.0)
        target, top = _running_max(np.where(heard, mixed, at))
        chance, by_asked, by_source, by_target = self._piece(asked, at, target)
        # A knot's target may be that of an earlier knot, where the windows would fall.
        own = np.zeros(by_target.shape)
        np.add.at(own, (np.arange(len(top))[:, None], top), by_target)
        per_source = np.column_stack([by_asked, by_source + own * to_source]) * (1.0 - source)
        to_bins = hazard * np.einsum("nq,nqb->nb", per_source, self.share)
        return chance, to_bins, own * self.weight * steep

    def _piece(self, asked: Float, at: Float, target: Float) -> tuple[Float, Float, Float, Float]:
        """Chance on the straight piece between two knots, and its slopes by all that makes it."""
        n = len(asked)
        rows, here = np.arange(n), self.piece
        source = np.column_stack([np.zeros(n), at, np.ones(n)])
        ends = np.column_stack([np.zeros(n), target, np.ones(n)])
        low, high = source[rows, here], source[rows, here + 1]
        below, above = ends[rows, here], ends[rows, here + 1]
        wide = high > low
        length = np.where(wide, high - low, 1.0)
        share = np.clip((asked - low) / length, 0.0, 1.0)
        steep = np.where(wide, (above - below) / length, 0.0)
        by_source, by_target = np.zeros(source.shape), np.zeros(source.shape)
        by_source[rows, here], by_source[rows, here + 1] = -(1.0 - share) * steep, -share * steep
        by_target[rows, here], by_target[rows, here + 1] = 1.0 - share, share
        chance = below + share * (above - below)
        return chance, steep, by_source[:, 1:-1], by_target[:, 1:-1]


def _place(row: Int, n: int) -> tuple[Int, int]:
    """Give the number of each bin within its row, and the most bins of a row."""
    count = np.bincount(row, minlength=n)
    return np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count), int(count.max())


def _running_max(values: Float) -> tuple[Float, Int]:
    """Give the running maximum and the column that it comes from, both (n, m)."""
    best = np.maximum.accumulate(values, axis=1)
    new = np.column_stack([np.ones(len(values), bool), values[:, 1:] > best[:, :-1]])
    return best, np.maximum.accumulate(np.where(new, np.arange(values.shape[1]), 0), axis=1)
