"""Blocks of rows as the joint choice sees them: the best column at given prices, and the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WIDTH = 8  # columns that are kept of a row with usage of its own


def product(usage: NDArray[np.floating[Any]], prices: Floats) -> Floats:
    """Give what rows pay for each column, (b, K), by one product of a matrix, not by many."""
    if not len(prices):
        return np.zeros(usage.shape[:-1])
    paid = usage.reshape(-1, len(prices)) @ prices
    return np.asarray(paid.reshape(usage.shape[:-1]), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best column of each of b rows after prices.

    Attributes
    ----------
    first : (b,) int64
        Its place among the part's own columns.
    top, lead : (b,) float64
        What it is worth after prices, and how much more than the next.
    """

    first: Ints
    top: Floats
    lead: Floats


class Part(ABC):
    """A block of b rows; usage is in shares of the limits."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def resources(self) -> int:
        """How many limits there are."""

    @abstractmethod
    def rank(self, prices: Floats) -> Ranking:
        """Find the best column of every row at these prices."""

    @abstractmethod
    def used(self, first: Ints, rows: Ints) -> Floats:
        """Add up what these rows take, (R,)."""

    @abstractmethod
    def worth(self, first: Ints, rows: Ints) -> float:
        """Add up the values of these rows before prices."""

    @abstractmethod
    def column(self, first: Ints, rows: Ints) -> Ints:
        """Give the caller's columns of these rows' choices."""

    @abstractmethod
    def take(self, rows: Ints, prices: Floats | None) -> tuple[Floats, Floats, Ints | None]:
        """Give values (m, G), usage (G, R) or (m, G, R), and the caller's columns of some rows.

        With prices the columns are enough that are best at these.
        """


@dataclass(frozen=True, eq=False)
class Shared(Part):
    """Rows with the same usage: of columns that take the same only the best is kept.

    Attributes
    ----------
    v : (G, b) float64
    action : (G, b) int16 or int32
        Column of the caller that is the best of the class.
    u : (G, R) float64
    """

    v: Floats
    action: NDArray[np.integer[Any]]
    u: Floats

    @classmethod
    def of(cls, value: NDArray[np.floating[Any]], usage: Floats) -> Self:
        """Keep the best column of each class; the first class is that of doing nothing."""
        classes, group = np.unique(usage, axis=0, return_inverse=True)
        group = group.reshape(-1)
        columns = _transposed(value)
        v = np.empty((len(classes), len(value)))
        code = np.int16 if len(columns) < 2**15 else np.int32
        action = np.empty((len(classes), len(value)), dtype=code)
        for g in range(len(classes)):
            first, *members = np.flatnonzero(group == g)
            best, at = columns[first].copy(), np.full(len(value), first, dtype=code)
            for k in members:  # columns come in their order, so the later one is the larger
                np.maximum(at, (columns[k] > best) * code(k), out=at)
                np.maximum(best, columns[k], out=best)
            v[g], action[g] = best, at
        return cls(v, action, classes)

    def __len__(self) -> int:
        return self.v.shape[1]

    @property
    def resources(self) -> int:
        """How many limits there are."""
        return self.u.shape[-1]

    def rank(self, prices: Floats) -> Ranking:
        """Compare class after class: no array of all of them is made."""
        price = self.u @ prices
        top = self.v[0] - price[0]
        second = np.full(len(top), -np.inf)
        code = np.int16 if len(price) < 2**15 else np.int32
        first = np.zeros(len(top), dtype=code)
        worth, less = np.empty_like(top), np.empty_like(top)
        for g in range(1, len(price)):  # sums and maxima, as copies by a mask are slow
            np.subtract(self.v[g], price[g], out=worth)
            np.maximum(first, (worth > top) * code(g), out=first)
            np.maximum(second, np.minimum(top, worth, out=less), out=second)
            np.maximum(top, worth, out=top)
        return Ranking(first.astype(np.int64), top, top - second)

    def used(self, first: Ints, rows: Ints) -> Floats:
        """Count choices by class."""
        return np.bincount(first[rows], minlength=len(self.u)) @ self.u

    def worth(self, first: Ints, rows: Ints) -> float:
        """Add up the values of these rows before prices."""
        return float(self.v[first[rows], rows].sum())

    def column(self, first: Ints, rows: Ints) -> Ints:
        """Give the caller's columns of these rows' choices."""
        return self.action[first[rows], rows].astype(np.int64)

    def take(self, rows: Ints, prices: Floats | None) -> tuple[Floats, Floats, Ints | None]:
        """Give some rows as a table."""
        del prices  # classes are few
        v = np.ascontiguousarray(self.v[:, rows].T)
        return v, self.u, self.action[:, rows].T.astype(np.int64)


def narrowed(v: Floats, u: Floats, prices: Floats) -> tuple[Floats, Floats, Ints]:
    """Keep the first column of each row, to do nothing, and those that are best at the prices."""
    at = np.arange(len(v))[:, None]
    if v.shape[1] <= _WIDTH:
        return v, u, np.tile(np.arange(v.shape[1]), (len(v), 1))
    reduced = v - product(u, prices)
    reduced[:, 0] = np.inf
    best = np.sort(np.argpartition(-reduced, _WIDTH - 1, axis=1)[:, :_WIDTH], axis=1)
    return v[at, best], u[at, best], best


def _transposed(table: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Transpose by blocks that fit into the cache."""
    turned = np.empty(table.shape[::-1], dtype=table.dtype)
    for start in range(0, len(table), 256):
        turned[:, start : start + 256] = table[start : start + 256].T
    return turned


@dataclass(frozen=True, eq=False)
class Own(Part):
    """Rows with usage of their own.

    Attributes
    ----------
    v : (b, K) float64
    u : (b, K, R) array
        In units, not yet in shares.
    room : (R,) float64
    """

    v: Floats
    u: NDArray[np.floating[Any]]
    room: Floats

    def __len__(self) -> int:
        return len(self.v)

    @property
    def resources(self) -> int:
        """How many limits there are."""
        return len(self.room)

    def rank(self, prices: Floats) -> Ranking:
        """Find the best column of every row at these prices."""
        # at no prices, as in the first look, there is no product to make
        worth = self.v - product(self.u, prices / self.room) if prices.any() else self.v.copy()
        rows = np.arange(len(worth))
        first = worth.argmax(axis=1)
        top = worth[rows, first]
        worth[rows, first] = -np.inf
        return Ranking(first, top, top - worth.max(axis=1))

    def used(self, first: Ints, rows: Ints) -> Floats:
        """Add up what these rows take, (R,)."""
        total = self.u[rows, first[rows]].sum(axis=0, dtype=np.float64)
        return np.asarray(total / self.room, dtype=np.float64)

    def worth(self, first: Ints, rows: Ints) -> float:
        """Add up the values of these rows before prices."""
        return float(self.v[rows, first[rows]].sum())

    def column(self, first: Ints, rows: Ints) -> Ints:
        """Columns are the caller's own."""
        return first[rows]

    def take(self, rows: Ints, prices: Floats | None) -> tuple[Floats, Floats, Ints | None]:
        """Give some rows as a table: to do nothing, and the best columns at the prices."""
        v, u = self.v[rows], self.u[rows] / self.room
        return (v, u, None) if prices is None else narrowed(v, u, prices)
