"""Blocks of rows as the joint choice sees them: the best column at given prices, and the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    def take(self, rows: Ints) -> tuple[Floats, Floats, Ints | None]:
        """Give values (m, G), usage (G, R) or (m, G, R), and the caller's columns of some rows."""


@dataclass(frozen=True, eq=False)
class Shared(Part):
    """Rows with the same usage: of columns that take the same only the best is kept.

    Attributes
    ----------
    v : (G, b) float64
    action : (G, b) int16
        Column of the caller that is the best of the class.
    u : (G, R) float64
    """

    v: Floats
    action: NDArray[np.int16]
    u: Floats

    @classmethod
    def of(cls, value: NDArray[np.floating[Any]], usage: Floats) -> Self:
        """Keep the best column of each class; the first class is that of doing nothing."""
        classes, group = np.unique(usage, axis=0, return_inverse=True)
        group = group.reshape(-1)
        columns = np.ascontiguousarray(value.T)
        v = np.full((len(classes), len(value)), -np.inf)
        action = np.zeros((len(classes), len(value)), dtype=np.int16)
        for g in range(len(classes)):
            members = np.flatnonzero(group == g)
            v[g], action[g] = columns[members[0]], members[0]
            for k in members[1:]:
                better = columns[k] > v[g]
                np.copyto(v[g], columns[k], where=better)
                np.copyto(action[g], k, where=better)
        return cls(v, action, classes)

    def __len__(self) -> int:
        return self.v.shape[1]

    def rank(self, prices: Floats) -> Ranking:
        """Compare class after class: no array of all of them is made."""
        price = self.u @ prices
        top = self.v[0] - price[0]
        second = np.full(len(top), -np.inf)
        first = np.zeros(len(top), dtype=np.int64)
        for g in range(1, len(price)):
            worth = self.v[g] - price[g]
            better = worth > top
            np.maximum(second, np.minimum(top, worth), out=second)
            np.copyto(first, g, where=better)
            np.maximum(top, worth, out=top)
        return Ranking(first, top, top - second)

    def used(self, first: Ints, rows: Ints) -> Floats:
        """Count choices by class."""
        return np.bincount(first[rows], minlength=len(self.u)) @ self.u

    def worth(self, first: Ints, rows: Ints) -> float:
        """Add up the values of these rows before prices."""
        return float(self.v[first[rows], rows].sum())

    def column(self, first: Ints, rows: Ints) -> Ints:
        """Give the caller's columns of these rows' choices."""
        return self.action[first[rows], rows].astype(np.int64)

    def take(self, rows: Ints) -> tuple[Floats, Floats, Ints | None]:
        """Give some rows as a table."""
        v = np.ascontiguousarray(self.v[:, rows].T)
        return v, self.u, self.action[:, rows].T.astype(np.int64)


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

    def rank(self, prices: Floats) -> Ranking:
        """Find the best column of every row at these prices."""
        worth = self.v - product(self.u, prices / self.room)
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

    def take(self, rows: Ints) -> tuple[Floats, Floats, Ints | None]:
        """Give some rows as a table."""
        return self.v[rows], self.u[rows] / self.room, None
