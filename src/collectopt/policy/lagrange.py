"""Prices of shared limits for rows held in memory, and the choice repaired to keep to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.ranked import product

Floats = NDArray[np.float64]
TOLERANCE = 1e-9  # of a limit: sums of 0.05 EUR are not exact in binary
_NEAR = 20_000  # moves of a repair that are looked at, the best first
_CHUNK = 256
_POLISH, _PAIRS = 12, 150  # pairs of moves made, and moves that are paired
_GAP = 2e-5  # at which no further prices are tried
_FEW_COLUMNS, _EACH = 16, 2


@dataclass(frozen=True)
class Dual:
    """Prices, the bound that they prove, and the best choice found."""

    prices: Floats
    bound: float
    choice: NDArray[np.int64]


class Book:
    """Values and usage in shares of the limits; ``room`` is what these rows may take of them.

    Each row stands for ``weight`` rows.
    """

    def __init__(
        self, value: Floats, usage: Floats, room: Floats | None = None, weight: float = 1.0
    ) -> None:
        self.v, self.u, self.weight = value, usage, weight
        self.room = np.ones(usage.shape[-1]) if room is None else room
        self.rows = np.arange(len(value))
        self.shared = usage.ndim == 2
        self.columns = np.ascontiguousarray(value.T) if self.shared else value
        finite = value[np.isfinite(value)]
        self.scale = float(np.ptp(finite)) if finite.size else 0.0
        self.scale = self.scale or 1.0
        self.most = usage.reshape(-1, usage.shape[-1]).max(axis=0, initial=0.0)
        self.cap = self._cap()

    def _cap(self) -> Floats:
        """Prices at which nothing that takes of a resource is worth it; none need be higher."""
        gain = np.maximum(np.nan_to_num(self.v - self.v[:, :1], neginf=0.0), 0.0)
        top = gain.max(axis=0, initial=0.0) if self.shared else gain
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(self.u > 0, top[..., None] / self.u, 0.0)
        most = each.reshape(-1, self.u.shape[-1]).max(axis=0, initial=0.0)
        return np.asarray(1.001 * most + 1e-12, dtype=np.float64)

    def solve(self) -> Dual:
        """Prices of the smallest bound and the best choice found on the way."""
        prices = np.zeros(self.u.shape[-1])
        choice = self.reduced(prices).argmax(axis=1)
        if not self.over(self.used(choice)).any():  # nothing is scarce
            return Dual(prices, self.bound(prices), choice)
        tried = self.descend(prices)
        bounds = np.array([self.bound(p) for p in tried])
        best = int(bounds.argmin())
        bound, found = float(bounds[best]), (-np.inf, choice)
        # the choice is repaired from the last few prices; the most valuable one is kept
        for i in np.argsort(bounds, kind="stable")[:3]:
            choice = self.round(tried[i])
            worth = self.worth(choice)
            found = (worth, choice) if worth > found[0] else found
            if bound - found[0] <= _GAP * abs(bound):
                break
        return Dual(tried[best], bound, found[1])

    # The dual ------------------------------------------------------------------------------

    def reduced(self, prices: Floats) -> Floats:
        """Values after paying for what is used, (n, K)."""
        return self.v - product(self.u, prices)

    def bound(self, prices: Floats) -> float:
        """Give what no choice within the limits exceeds."""
        return float(prices @ self.room + self.reduced(prices).max(axis=1).sum())

    def used(self, choice: NDArray[np.int64]) -> Floats:
        """Shares of the limits that a choice takes, (R,)."""
        if self.shared:
            return np.bincount(choice, minlength=len(self.u)) @ self.u
        return self.u[self.rows, choice].sum(axis=0)

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
        return Book(self.v[rows], usage, room, weight * self.weight)

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
            for _ in range(25):
                before, prices = prices, book.newton(prices, temperature)
                if (np.abs(prices - before) * self.most).max(initial=0.0) <= 0.01 * temperature:
                    break
            tried.append(prices)
        return tried

    def lead(self, prices: Floats) -> Floats:
        """How much more the best choice is worth than the next, (n,)."""
        if self.v.shape[1] == 1:
            return np.full(len(self.v), np.inf)
        if self.shared:  # column after column
            price = self.u @ prices
            top = self.columns[0] - price[0]
            after = np.full(len(top), -np.inf)
            for column, cost in zip(self.columns[1:], price[1:], strict=True):
                worth = column - cost
                np.maximum(after, np.minimum(top, worth), out=after)
                np.maximum(top, worth, out=top)
            return np.asarray(top - after, dtype=np.float64)
        second, top = np.partition(self.reduced(prices), -2, axis=1)[:, -2:].T
        return np.asarray(top - second, dtype=np.float64)

    def stepped(self, prices: Floats, slope: Floats) -> Floats:
        """One Newton step for a slope that is known better than these rows tell."""
        free = (prices > 0) | (slope < 0)
        if not free.any():
            return prices
        near = max(float(np.quantile(self.lead(prices), 0.1)), 1e-9 * self.scale)
        bend = self.smooth(prices, near)[2][np.ix_(free, free)]
        bend[np.diag_indices_from(bend)] *= 1.01
        bend[np.diag_indices_from(bend)] += 1e-9 + 1e-6 * np.trace(bend) / len(bend)
        move = np.zeros_like(prices)
        move[free] = -np.linalg.solve(bend, slope[free])
        # no further than by a fifth, as the bend holds near these prices alone; twice, if far off
        most = np.where(slope < -0.5, 1.0, 0.2) * np.maximum(prices, 0.1 * prices.max(initial=0.0))
        return np.maximum(prices + np.clip(move, -most, most), 0.0)

    def contested(self, prices: Floats, temperature: float) -> Book:
        """Keep rows whose choice is open near these prices; the others have taken their share."""
        if len(self.v) <= 8192 or self.v.shape[1] == 1:
            return self
        rows = self.lead(prices) < 50.0 * temperature
        sure = self.reduced(prices).argmax(axis=1)[~rows]
        taken = self.weight * self.take(np.flatnonzero(~rows), sure).sum(axis=0)
        return self.part(rows, self.room - taken)

    def newton(self, prices: Floats, temperature: float) -> Floats:
        """One projected Newton step with backtracking."""
        height, slope, bend = self.smooth(prices, temperature)
        free = (prices > 0) | (slope < 0)
        if not free.any():
            return prices
        bend = bend[np.ix_(free, free)]
        bend[np.diag_indices_from(bend)] += 1e-9 + 1e-6 * np.trace(bend) / len(bend)
        move = np.zeros_like(prices)
        move[free] = -np.linalg.solve(bend, slope[free])
        longest = np.abs(move).max()
        move *= min(1.0, self.scale * self.weight * len(self.v) / longest) if longest else 1.0
        for halving in range(30):
            step = np.clip(prices + move * 0.5**halving, 0.0, self.cap)
            if self.height(step, temperature) <= height + 1e-4 * float(slope @ (step - prices)):
                return step
        return prices

    def height(self, prices: Floats, temperature: float) -> float:
        """Smoothed dual."""
        if self.shared:  # class by class: rows of many columns are slow to compare
            z = (self.columns - (self.u @ prices)[:, None]) / temperature
            top = z.max(axis=0)
            total = (top + np.log(np.exp(z - top).sum(axis=0))).sum()
        else:
            z = self.reduced(prices) / temperature
            top = z.max(axis=1)
            total = (top + np.log(np.exp(z - top[:, None]).sum(axis=1))).sum()
        return float(prices @ self.room + self.weight * temperature * total)

    def smooth(self, prices: Floats, temperature: float) -> tuple[float, Floats, Floats]:
        """Smoothed dual: height, gradient (R,) and Hessian (R, R)."""
        if self.shared:
            z = (self.columns - (self.u @ prices)[:, None]) / temperature
            top = z.max(axis=0)
            z = np.exp(z - top)
            total = z.sum(axis=0)
            z /= total
            mean = (self.u.T @ z).T
            square = (self.u * z.sum(axis=1)[:, None]).T @ self.u
        else:
            z = self.reduced(prices) / temperature
            top = z.max(axis=1)
            z = np.exp(z - top[:, None])
            total = z.sum(axis=1)
            weighed = (z / total[:, None])[:, :, None] * self.u
            mean = weighed.sum(axis=1)
            flat = (-1, self.u.shape[-1])
            square = weighed.reshape(flat).T @ self.u.reshape(flat)
        height = prices @ self.room + self.weight * temperature * (top + np.log(total)).sum()
        bend = self.weight / temperature * (square - mean.T @ mean)
        return float(height), self.room - self.weight * mean.sum(axis=0), bend

    # The choice ----------------------------------------------------------------------------

    def round(self, prices: Floats) -> NDArray[np.int64]:
        """Choose at these prices, give back what is too much, fill what is left."""
        reduced = self.reduced(prices)
        choice = reduced.argmax(axis=1)
        self.give_back(choice, reduced)
        self.fill(choice, reduced)
        if len(choice) <= 64:
            return self.exchange(choice, reduced)
        self.polish(choice, reduced)
        return choice

    def polish(self, choice: NDArray[np.int64], reduced: Floats) -> None:
        """Make pairs of moves that cost little at the prices and use what no single move can."""
        for _ in range(_POLISH):
            rows, columns = self.cheap(choice, reduced)
            gain = self.v[rows, columns] - self.v[rows, choice[rows]]
            extra = self.take(rows, columns) - self.take(rows, choice[rows])
            left = self.room - self.used(choice) + TOLERANCE
            both = gain[:, None] + gain
            fits = (extra[:, None, :] + extra <= left).all(axis=2) & (rows[:, None] != rows)
            both = np.where(fits, both, -np.inf)
            if not both.size or both.max() <= 1e-12 * self.scale:
                return
            for i in np.unravel_index(both.argmax(), both.shape):
                choice[rows[i]] = columns[i]

    def cheap(
        self, choice: NDArray[np.int64], reduced: Floats
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pick moves that lose least at the prices; of few columns some from each to each."""
        loss = reduced[self.rows, choice][:, None] - reduced
        loss[self.rows, choice] = np.inf
        count = min(_PAIRS, loss.size)
        near = [np.argpartition(loss.ravel(), count - 1)[:count]]
        width = loss.shape[1]
        if self.shared and width <= _FEW_COLUMNS:
            for start in range(width):
                mine = np.flatnonzero(choice == start)
                some = min(_EACH, len(mine))
                if some:
                    best = np.argpartition(loss[mine], some - 1, axis=0)[:some]
                    near.append((mine[best] * width + np.arange(width)).ravel())
        every = np.unique(np.concatenate(near))
        every = every[np.isfinite(loss.ravel()[every])]
        rows, columns = np.unravel_index(every, loss.shape)
        return rows.astype(np.int64), columns.astype(np.int64)

    def exchange(self, choice: NDArray[np.int64], reduced: Floats) -> NDArray[np.int64]:
        """Few rows, where rounding costs most: change one row, refill, keep what is better."""
        others = [
            (i, k) for i in range(len(choice)) for k in np.flatnonzero(np.isfinite(self.v[i]))
        ]
        best, worth = choice, self.worth(choice)
        for row, column in others:
            trial = best.copy()
            trial[row] = column
            self.give_back(trial, reduced, keep=row)
            if not (self.used(trial) > self.room + TOLERANCE).any():
                self.fill(trial, reduced)
                if self.worth(trial) > worth + 1e-9 * self.scale:
                    best, worth = trial, self.worth(trial)
        return best

    def take(self, rows: Any, columns: Any) -> Floats:
        """Shares of the limits that columns of rows take."""
        return self.u[columns] if self.shared else self.u[rows, columns]

    def give_back(self, choice: NDArray[np.int64], reduced: Floats, keep: int = -1) -> None:
        """Repair: the moves that lose least a unit first, until no limit is exceeded.

        A row to ``keep`` stays; then the repair may fail.
        """
        left = self.room - self.used(choice)
        only_zero = False
        while (left < -TOLERANCE).any():
            short = left < -TOLERANCE
            uses = (self.take(self.rows, choice)[:, short] > 0).any(axis=1)
            rows = np.flatnonzero(uses & (self.rows != keep))
            now = self.take(rows, choice[rows])
            freed = now[:, None, :] - (self.u if self.shared else self.u[rows])
            relief = freed[..., short].sum(axis=-1)
            useful = (freed[..., short] >= 0).all(axis=-1) & (relief > 0)
            useful[:, 1:] &= not only_zero
            loss = reduced[rows, choice[rows]][:, None] - reduced[rows]
            ratio = np.where(useful, loss / np.where(useful, relief, 1.0), np.inf)
            target = ratio.argmin(axis=1)
            order = np.argsort(ratio[np.arange(len(rows)), target], kind="stable")
            moved = False
            for i in order:
                change = freed[i, target[i]]
                helps = (change[left < -TOLERANCE] > 0).any()
                if helps and ((left + change >= -TOLERANCE) | (change >= 0)).all():
                    choice[rows[i]] = target[i]
                    left = left + change
                    moved = True
                if not (left < -TOLERANCE).any():
                    break
            if only_zero and not moved:
                return
            only_zero = not moved

    def fill(self, choice: NDArray[np.int64], reduced: Floats) -> None:
        """Take what still fits and is worth more, nearest to the prices first."""
        left = self.room - self.used(choice)
        for _ in range(50):
            gain = self.v - self.v[self.rows, choice][:, None]
            rows, columns = np.nonzero(gain > 1e-12 * self.scale)
            extra = self.take(rows, columns) - self.take(rows, choice[rows])
            fits = (extra <= left + TOLERANCE).all(axis=1)
            if not fits.any():
                return
            rows, columns, extra = rows[fits], columns[fits], extra[fits]
            merit = reduced[rows, columns] - reduced[rows, choice[rows]]
            order = np.lexsort((rows, -gain[rows, columns], -merit))[:_NEAR]
            done: set[int] = set()
            for start in range(0, len(order), _CHUNK):  # what fits is found for many at once
                some = order[start : start + _CHUNK]
                for i in some[(extra[some] <= left + TOLERANCE).all(axis=1)]:
                    if rows[i] not in done and (extra[i] <= left + TOLERANCE).all():
                        choice[rows[i]] = columns[i]
                        left = left - extra[i]
                        done.add(int(rows[i]))
