"""The choice at given prices, repaired to keep to the limits and filled up to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.lagrange import TOLERANCE, Book

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_NEAR = 20_000  # moves of a repair that are looked at, the best first
_CHUNK = 256
_POLISH, _PAIRS, _MORE = 12, 150, 400  # pairs of moves made, moves paired, those of own usage
_GAP = 2e-5  # at which no further prices are tried
_FEW_COLUMNS, _EACH = 16, 2
_CORE, _CORE_EACH = 2_000, 8  # rows that may move: those of least lead, and from each to each
_EVERY = 64  # rows that are few


@dataclass(frozen=True)
class Dual:
    """Prices, the bound that they prove, and the best choice found."""

    prices: Floats
    bound: float
    choice: Ints


def solve(book: Book) -> Dual:
    """Prices of the smallest bound and the best choice found on the way."""
    prices = np.zeros(book.u.shape[-1])
    first = book.rank(prices)
    if not book.over(book.used(first.first)).any():  # nothing is scarce
        return Dual(prices, book.bound(prices), first.first)
    tried = book.descend(prices)
    bounds = np.array([book.bound(p) for p in tried])
    best = int(bounds.argmin())
    bound, found = float(bounds[best]), (-np.inf, first.first)
    # the choice is repaired from the last few prices; the most valuable one is kept
    for i in np.argsort(bounds, kind="stable")[:3]:
        choice = rounded(book, tried[i])
        worth = book.worth(choice)
        found = (worth, choice) if worth > found[0] else found
        if bound - found[0] <= _GAP * abs(bound):
            break
    return Dual(tried[best], bound, found[1])


def rounded(book: Book, prices: Floats, *, thorough: bool = True) -> Ints:
    """Choose at these prices, give back what is too much, fill what is left.

    Of many rows those alone move whose choice is nearly open. Where that is not enough all do if it
    is to be thorough; else limits may be exceeded.
    """
    ranking = book.rank(prices)
    choice = ranking.first
    rows = _core(book, prices, choice, ranking.top, ranking.lead)
    if len(rows) < len(choice):
        others = np.setdiff1d(book.rows, rows, assume_unique=True)
        core = book.part(rows, book.room - book.take(others, choice[others]).sum(axis=0))
        moved = Rounding.of(core, prices).near(choice[rows])
        if not (thorough and (core.used(moved) > core.room + TOLERANCE).any()):
            choice[rows] = moved
            return choice
    return Rounding.of(book, prices).near(choice)


def _core(book: Book, prices: Floats, choice: Ints, top: Floats, lead: Floats) -> Ints:
    """Pick rows that lose little by a move; of few columns some from each to each."""
    if len(choice) <= 2 * _CORE:
        return book.rows
    near = [np.argpartition(lead, _CORE - 1)[:_CORE]]
    if book.shared and len(book.u) <= _FEW_COLUMNS:
        price = book.u @ prices
        starts = [np.flatnonzero(choice == start) for start in range(len(book.u))]
        for column, cost in zip(book.columns, price, strict=True):
            loss = top - column + cost
            for mine in starts:
                if len(mine) > _CORE_EACH:
                    best = np.argpartition(loss[mine], _CORE_EACH - 1)[:_CORE_EACH]
                    near.append(mine[best])
                else:
                    near.append(mine)
    return np.unique(np.concatenate(near))


@dataclass(frozen=True, eq=False)
class Rounding:
    """Rows whose choice may move, and their values after prices (m, K)."""

    book: Book
    reduced: Floats

    @classmethod
    def of(cls, book: Book, prices: Floats) -> Rounding:
        """Take these prices."""
        return cls(book, book.reduced(prices))

    def near(self, choice: Ints) -> Ints:
        """Find the choice within the limits that is near to this one."""
        choice = choice.copy()
        self.give_back(choice)
        self.fill(choice)
        if len(choice) <= _EVERY:
            return self.exchange(choice)
        self.polish(choice)
        return choice

    def polish(self, choice: Ints) -> None:
        """Make pairs of moves that cost little at the prices and use what no single move can."""
        for _ in range(_POLISH):
            rows, columns = self.cheap(choice)
            gain = self.book.v[rows, columns] - self.book.v[rows, choice[rows]]
            extra = self.book.take(rows, columns) - self.book.take(rows, choice[rows])
            left = self.book.room - self.book.used(choice) + TOLERANCE
            both = gain[:, None] + gain
            fits = rows[:, None] != rows
            for one, most in zip(extra.T, left, strict=True):  # resource after resource
                fits &= one[:, None] + one <= most
            both = np.where(fits, both, -np.inf)
            if not both.size or both.max() <= 1e-12 * self.book.scale:
                return
            for i in np.unravel_index(both.argmax(), both.shape):
                choice[rows[i]] = columns[i]

    def cheap(self, choice: Ints) -> tuple[Ints, Ints]:
        """Pick moves that lose least at the prices; of few columns some from each to each."""
        loss = self.reduced[self.book.rows, choice][:, None] - self.reduced
        loss[self.book.rows, choice] = np.inf
        count = min(_PAIRS if self.book.shared else _MORE, loss.size)
        near = [np.argpartition(loss.ravel(), count - 1)[:count]]
        width = loss.shape[1]
        if self.book.shared and width <= _FEW_COLUMNS:
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

    def exchange(self, choice: Ints) -> Ints:
        """Few rows, where rounding costs most: change one row, refill, keep what is better."""
        others = [
            (i, k) for i in range(len(choice)) for k in np.flatnonzero(np.isfinite(self.book.v[i]))
        ]
        best, worth = choice, self.book.worth(choice)
        for row, column in others:
            trial = best.copy()
            trial[row] = column
            self.give_back(trial, keep=row)
            if not (self.book.used(trial) > self.book.room + TOLERANCE).any():
                self.fill(trial)
                if self.book.worth(trial) > worth + 1e-9 * self.book.scale:
                    best, worth = trial, self.book.worth(trial)
        return best

    def give_back(self, choice: Ints, keep: int = -1) -> None:
        """Repair: the moves that lose least a unit first, until no limit is exceeded.

        A row to ``keep`` stays; then the repair may fail.
        """
        left = self.book.room - self.book.used(choice)
        only_zero = False
        while (left < -TOLERANCE).any():
            short = left < -TOLERANCE
            uses = (self.book.take(self.book.rows, choice)[:, short] > 0).any(axis=1)
            rows = np.flatnonzero(uses & (self.book.rows != keep))
            now = self.book.take(rows, choice[rows])
            freed = now[:, None, :] - (self.book.u if self.book.shared else self.book.u[rows])
            relief = freed[..., short].sum(axis=-1)
            useful = (freed[..., short] >= 0).all(axis=-1) & (relief > 0)
            useful[:, 1:] &= not only_zero
            loss = self.reduced[rows, choice[rows]][:, None] - self.reduced[rows]
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

    def fill(self, choice: Ints) -> None:
        """Take what still fits and is worth more, nearest to the prices first."""
        left = self.book.room - self.book.used(choice)
        for _ in range(50):
            gain = self.book.v - self.book.v[self.book.rows, choice][:, None]
            rows, columns = np.nonzero(gain > 1e-12 * self.book.scale)
            extra = self.book.take(rows, columns) - self.book.take(rows, choice[rows])
            fits = (extra <= left + TOLERANCE).all(axis=1)
            if not fits.any():
                return
            rows, columns, extra = rows[fits], columns[fits], extra[fits]
            merit = self.reduced[rows, columns] - self.reduced[rows, choice[rows]]
            order = np.lexsort((rows, -gain[rows, columns], -merit))[:_NEAR]
            done: set[int] = set()
            for start in range(0, len(order), _CHUNK):  # what fits is found for many at once
                some = order[start : start + _CHUNK]
                for i in some[(extra[some] <= left + TOLERANCE).all(axis=1)]:
                    if rows[i] not in done and (extra[i] <= left + TOLERANCE).all():
                        choice[rows[i]] = columns[i]
                        left = left - extra[i]
                        done.add(int(rows[i]))
