"""Curves of chance over time: when the event comes, for many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.models.labels import Durations
from collectopt.models.periods import Periods

Float = npt.NDArray[np.float64]

_LEAST = 1e-9  # chance of what the curve holds impossible


@dataclass(frozen=True)
class Curve:
    """When the event comes, for n rows: the cumulative hazard at each row's own edges.

    Attributes
    ----------
    edge : (n, k) float64
        Days; edge[:, 0] = 0; the last one is repeated.
    total : (n, k) float64
        Cumulative hazard -log P(no event before the edge).
    """

    edge: Float
    total: Float

    @classmethod
    def build(cls, periods: Periods, hazard: Float, n: int) -> Curve:
        """Make the curves of n rows from P(event in a bin | none before), (m,)."""
        count = np.bincount(periods.row, minlength=n)
        size = int(count.max(initial=0)) + 1
        edge, step = np.zeros((n, size)), np.zeros((n, size))
        place = np.arange(len(periods)) - np.repeat(np.cumsum(count) - count, count) + 1
        edge[periods.row, place] = periods.hi
        step[periods.row, place] = -np.log1p(-np.minimum(hazard, 1.0 - 1e-12))
        return cls(np.maximum.accumulate(edge, axis=1), np.cumsum(step, axis=1))

    @classmethod
    def join(cls, parts: Sequence[Curve]) -> Curve:
        """Put the rows of several curves one below the other."""
        if not parts:
            return cls(np.zeros((0, 2)), np.zeros((0, 2)))
        size = max(part.edge.shape[1] for part in parts)
        pads = [((0, 0), (0, size - part.edge.shape[1])) for part in parts]
        edge = [np.pad(c.edge, pad, "edge") for c, pad in zip(parts, pads, strict=True)]
        total = [np.pad(c.total, pad, "edge") for c, pad in zip(parts, pads, strict=True)]
        return cls(np.concatenate(edge), np.concatenate(total))

    def take(self, rows: npt.NDArray[np.int64]) -> Curve:
        """Give the curves of some rows, in the order asked for."""
        return Curve(self.edge[rows], self.total[rows])

    def before(self, days: Float) -> Float:
        """P(event before ``days``, (h,) or (n, h)), (n, h); inside a bin the hazard is constant."""
        days = np.broadcast_to(days, (len(self.edge), days.shape[-1]))
        out = np.empty(days.shape)
        for k in range(days.shape[1]):
            out[:, k] = -np.expm1(-self._at(days[:, k]))
        return out

    def log_likelihood(self, seen: Durations) -> Float:
        """Log chance of what was seen, (n,): the event in its bin, or none in the days watched."""
        past = self.edge <= seen.days[:, None]
        below = np.where(past, self.edge, 0.0).max(axis=1)
        above = np.where(past, np.inf, self.edge).min(axis=1)
        came = seen.event & np.isfinite(above)  # beyond the last edge nothing is known
        first, last = np.where(came, below, seen.days), np.where(came, above, seen.days)
        reached = self.before(np.column_stack([first, last]))
        chance = np.where(came, reached[:, 1] - reached[:, 0], 1.0 - reached[:, 0])
        return np.asarray(np.log(np.maximum(chance, _LEAST)), dtype=np.float64)

    def _at(self, day: Float) -> Float:
        row = np.arange(len(day))
        bin_ = np.clip((self.edge[:, 1:-1] <= day[:, None]).sum(axis=1), 0, self.edge.shape[1] - 2)
        lo, hi = self.edge[row, bin_], self.edge[row, bin_ + 1]
        below, above = self.total[row, bin_], self.total[row, bin_ + 1]
        share = np.clip((day - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0, 1.0)
        return np.asarray(below + share * (above - below), dtype=np.float64)

    def quantiles(self, chances: Float) -> Float:
        """First day by which each of ``chances``, (q,) or (n, q), is reached; inf where never."""
        chances = np.broadcast_to(chances, (len(self.edge), chances.shape[-1]))
        out = np.full(chances.shape, np.inf)
        for k, target in enumerate(-np.log1p(-np.minimum(chances.T, 1.0 - 1e-12))):
            reached = self.total >= target[:, None]
            rows = np.nonzero(reached.any(axis=1))[0]
            at = np.maximum(reached[rows].argmax(axis=1), 1)
            below, above = self.total[rows, at - 1], self.total[rows, at]
            lo, hi = self.edge[rows, at - 1], self.edge[rows, at]
            share = np.clip((target[rows] - below) / np.maximum(above - below, 1e-300), 0.0, 1.0)
            out[rows, k] = lo + share * (hi - lo)
        return out
