"""Prices of shared limits for rows held in memory, and the choice repaired to keep to them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.ranked import Own, Ranking, Shared, product

Floats = NDArray[np.float64]
TOLERANCE = 1e-9  # of a limit: sums of 0.05 EUR are not exact in binary
_MANY = 8192  # values from which on only those matter that are near the best

#: Height of the smoothed dual, its gradient (R,) and Hessian (R, R).
Smooth = tuple[float, Floats, Floats]


class Book:
    """Values and usage in shares of the limits; ``room`` is what these rows may take of them.

    Each row stands for ``weight`` rows, one number or (n,).
    """

    def __init__(
        self,
        value: Floats,
        usage: Floats,
        room: Floats | None = None,
        weight: float | Floats = 1.0,
        whole: Book | None = None,
    ) -> None:
        self.v, self.u = value, usage
        self.weight = np.broadcast_to(np.asarray(weight, dtype=np.float64), len(value))
        self.room = np.ones(usage.shape[-1]) if room is None else room
        self.rows = np.arange(len(value))
        self.shared = usage.ndim == 2
        if whole is not None:  # what is known of the book that this one is a part of
            self.scale, self.most, self.cap = whole.scale, whole.most, whole.cap

    @cached_property
    def columns(self) -> Floats:
        """Values (K, n), as sums and maxima over rows that lie together are fast."""
        return np.ascontiguousarray(self.v.T)

    @cached_property
    def slabs(self) -> Floats:
        """Usage by resource, (R, K) or (R, K * n)."""
        return np.ascontiguousarray(self.u.T).reshape(self.u.shape[-1], -1)

    @cached_property
    def scale(self) -> float:
        """Range of the values, EUR."""
        finite = self.v[np.isfinite(self.v)]
        return (float(np.ptp(finite)) if finite.size else 0.0) or 1.0

    @cached_property
    def most(self) -> Floats:
        """Most that a choice takes, (R,)."""
        return self.u.reshape(-1, self.u.shape[-1]).max(axis=0, initial=0.0)

    @cached_property
    def cap(self) -> Floats:
        """Prices at which nothing that takes of a resource is worth it; none need be higher."""
        gain = np.maximum(np.nan_to_num(self.v - self.v[:, :1], neginf=0.0), 0.0)
        top = gain.max(axis=0, initial=0.0) if self.shared else gain
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(self.u > 0, top[..., None] / self.u, 0.0)
        most = each.reshape(-1, self.u.shape[-1]).max(axis=0, initial=0.0)
        return np.asarray(1.001 * most + 1e-12, dtype=np.float64)

    # The dual ------------------------------------------------------------------------------

    def rank(self, prices: Floats) -> Ranking:
        """Find the best column of every row at these prices."""
        if self.shared:
            return Shared(self.columns, np.zeros((0, 0), dtype=np.int16), self.u).rank(prices)
        return Own(self.v, self.u, np.ones(len(prices))).rank(prices)

    def take(self, rows: Any, columns: Any) -> Floats:
        """Shares of the limits that columns of rows take."""
        return self.u[columns] if self.shared else self.u[rows, columns]

    def reduced(self, prices: Floats) -> Floats:
        """Values after paying for what is used, (n, K)."""
        return self.v - product(self.u, prices)

    def bound(self, prices: Floats) -> float:
        """Give what no choice within the limits exceeds."""
        return float(prices @ self.room + self.weight @ self.rank(prices).top)

    def used(self, choice: NDArray[np.int64]) -> Floats:
        """Shares of the limits that a choice takes, (R,)."""
        if self.shared:
            return np.bincount(choice, self.weight, minlength=len(self.u)) @ self.u
        return self.weight @ self.u[self.rows, choice]

    def worth(self, choice: NDArray[np.int64]) -> float:
        """Sum of the values of a choice."""
        return float(self.v[self.rows, choice].sum())

    @staticmethod
    def over(used: Floats) -> NDArray[np.bool_]:
        """Which limits are exceeded."""
        return used > 1.0 + TOLERANCE

    def part(self, rows: Any, room: Floats, weight: float = 1.0) -> Book:
        """Take some of the rows, each of which stands for so many."""
        usage = self.u if self.shared else self.u[rows]
        return Book(self.v[rows], usage, room, weight * self.weight[rows], self)

    def descend(self, prices: Floats, hottest: float | None = None) -> list[Floats]:
        """Minimise the smoothed dual at falling temperatures; the prices after each of them."""
        top = self.scale / 16.0 if hottest is None else 0.1 * hottest
        stride = max(len(self.v) // 2048, 1)  # every so-many-th row will do for the first steps
        weight = len(self.v) / len(self.rows[::stride])
        sample = self.part(slice(None, None, stride), self.room, weight)
        tried = [prices]
        for step, temperature in enumerate(top * 0.25 ** np.arange(11)):
            early = step < 4 and hottest is None
            book = sample if early else self.contested(prices, temperature)
            known = book.smooth(prices, temperature)
            for _ in range(25):
                before = prices
                prices, known = book.newton(prices, temperature, known)
                if (np.abs(prices - before) * self.most).max(initial=0.0) <= 0.05 * temperature:
                    break
            tried.append(prices)
        return tried

    def stepped(self, prices: Floats, slope: Floats) -> Floats:
        """One Newton step for a slope that is known better than these rows tell."""
        free = (prices > 0) | (slope < 0)
        if not free.any():
            return prices
        near = max(float(np.quantile(self.rank(prices).lead, 0.1)), 1e-9 * self.scale)
        bend = self.smooth(prices, near)[2][np.ix_(free, free)]
        bend[np.diag_indices_from(bend)] *= 1.01
        bend[np.diag_indices_from(bend)] += 1e-9 + 1e-6 * np.trace(bend) / len(bend)
        move = np.zeros_like(prices)
        move[free] = -np.linalg.solve(bend, slope[free])
        # no further than by a fifth, as the bend holds near these prices alone; twice, if far off
        most = np.where(slope < -0.5, 1.0, 0.2) * np.maximum(prices, 0.1 * prices.max(initial=0.0))
        return np.maximum(prices + np.clip(move, -most, most), 0.0)

    def contested(self, prices: Floats, temperature: float) -> Book:
        """Keep rows whose choice is open near these prices; the others have taken their share.

        With usage of their own they keep the columns that may be chosen.
        """
        if (len(self.v) if self.shared else self.v.size) <= _MANY or self.v.shape[1] == 1:
            return self
        found, near = self.rank(prices), 50.0 * temperature
        rows = found.lead < near
        sure = np.flatnonzero(~rows)
        taken = self.weight[sure] @ self.take(sure, found.first[sure])
        book = self.part(rows, self.room - taken)
        return book if self.shared else book.narrowed(prices, near)

    def narrowed(self, prices: Floats, near: float) -> Book:
        """Keep as many columns of each row as are near to the best of any."""
        reduced = self.reduced(prices)
        width = int(
            (reduced > reduced.max(axis=1, keepdims=True) - near).sum(axis=1).max(initial=1)
        )
        if 2 * width > reduced.shape[1]:
            return self
        kept = np.argpartition(-reduced, width - 1, axis=1)[:, :width]
        rows = self.rows[:, None]
        return Book(self.v[rows, kept], self.u[rows, kept], self.room, self.weight, self)

    def newton(self, prices: Floats, temperature: float, known: Smooth) -> tuple[Floats, Smooth]:
        """One projected Newton step with backtracking, and the smoothed dual there."""
        height, slope, bend = known
        free = (prices > 0) | (slope < 0)
        if not free.any():
            return prices, known
        bend = bend[np.ix_(free, free)]
        bend[np.diag_indices_from(bend)] += 1e-9 + 1e-6 * np.trace(bend) / len(bend)
        move = np.zeros_like(prices)
        move[free] = -np.linalg.solve(bend, slope[free])
        longest = np.abs(move).max()
        move *= min(1.0, self.scale * self.weight.sum() / longest) if longest else 1.0
        for halving in range(30):
            step = np.clip(prices + move * 0.5**halving, 0.0, self.cap)
            there = self.smooth(step, temperature)
            if there[0] <= height + 1e-4 * float(slope @ (step - prices)):
                return step, there
        return prices, known

    def smooth(self, prices: Floats, temperature: float) -> Smooth:
        """Smoothed dual at these prices."""
        width, slabs = self.v.shape[1], self.slabs
        paid = (prices @ slabs).reshape(width, -1)  # (K, 1) where usage is shared
        z = self.columns - paid  # one array all along: most of the time goes by here
        z /= temperature
        top = z.max(axis=0)
        z -= top
        np.exp(z, out=z)
        total = z.sum(axis=0)
        z /= total
        if self.shared:
            mean = slabs @ z
            square = (slabs * (z @ self.weight)) @ slabs.T
        else:
            weighed = slabs.reshape(len(slabs), *z.shape) * z
            mean = weighed.sum(axis=1)
            square = (weighed * self.weight).reshape(slabs.shape) @ slabs.T
        height = prices @ self.room + temperature * float(self.weight @ (top + np.log(total)))
        bend = (square - (mean * self.weight) @ mean.T) / temperature
        return float(height), self.room - mean @ self.weight, bend
