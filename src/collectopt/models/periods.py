"""Person-periods: the time axis of a discrete-time hazard, cut into bins row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_EPS = 1e-9

#: Names of the columns that :meth:`Periods.features` adds to those of the rows.
CLOCK = ("bin_age", "bin_to_due")
CALENDAR = ("bin_business_share", "bin_weekday", "bin_day", "bin_month")


def default_edges() -> Float:
    """Bin edges in days: daily at first, then weekly, monthly and quarterly up to three years."""
    days = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 14, 17, 21, 28, 35, 45, 60, 75, 90, 120, 150, 180]
    return np.array([*days, 240, 300, 365, 455, 545, 635, 730, 910, 1095], dtype=np.float64)


def default_due_edges() -> Float:
    """Edges in days from the end of the due day: one day near it, wider away from it."""
    days = [-30, -14, -7, -4, -2, -1, 0, 1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 45, 60, 90]
    return np.array(days, dtype=np.float64)


@dataclass(frozen=True)
class Periods:
    """Bins of many rows, one line a bin, sorted by row and time.

    Attributes
    ----------
    row : (m,) int64
        Which row of the data a bin belongs to.
    lo, hi : (m,) float64
        The bin is [lo, hi), in days from the row's start.
    """

    row: Int
    lo: Float
    hi: Float

    def __len__(self) -> int:
        return len(self.row)

    def take(self, keep: npt.NDArray[np.bool_] | Int) -> Periods:
        """Keep some of the bins."""
        return Periods(self.row[keep], self.lo[keep], self.hi[keep])

    def features(
        self, offset: Float | None, start: npt.NDArray[np.datetime64] | None
    ) -> npt.NDArray[np.float32]:
        """Describe each bin: age, days to the due date, business days and calendar.

        Parameters
        ----------
        offset : (n,) float64, optional
            Days from each row's start until its due date has passed.
        start : (n,) datetime64[D], optional
            The local day on which each row starts.

        Returns
        -------
        (m, 1), (m, 2), (m, 5) or (m, 6) float32
            ``bin_age``, then ``bin_to_due`` if ``offset`` is given, then the four calendar
            columns if ``start`` is given. Weekday and day of month are missing where a bin is
            too long for them to mean anything.
        """
        columns = [self.lo]
        if offset is not None:
            columns.append(self.lo - offset[self.row])
        if start is not None:
            columns += self._calendar(start)
        return np.stack(columns, axis=1).astype(np.float32)

    def _calendar(self, start: npt.NDArray[np.datetime64]) -> list[Float]:
        first = start.astype("datetime64[D]")[self.row] + np.floor(self.lo).astype("timedelta64[D]")
        length = np.maximum(np.ceil(self.hi - _EPS) - np.floor(self.lo), 1.0)
        last = first + length.astype("timedelta64[D]")
        business = _business_days(last) - _business_days(first)
        middle = first + (length // 2).astype("timedelta64[D]")
        day, month = _day_and_month(middle)
        weekday = (first.astype(np.int64) + 3) % 7
        return [
            business / length,
            np.where(length <= 1.0, weekday, np.nan),
            np.where(length <= 8.0, day, np.nan),
            month,
        ]


def _day_and_month(day: npt.NDArray[np.datetime64]) -> tuple[Float, Float]:
    """Day of the month and month, both from 1; looked up where days repeat."""
    number = day.astype(np.int64)
    low, high = (int(number.min()), int(number.max())) if len(number) else (0, 0)
    if high - low < len(number):
        each = np.arange(low, high + 1).astype("datetime64[D]")
        in_month, month = _split(each)
        return in_month[number - low], month[number - low]
    return _split(day)


def _split(day: npt.NDArray[np.datetime64]) -> tuple[Float, Float]:
    month = day.astype("datetime64[M]")
    in_month = (day - month).astype(np.float64) + 1.0
    return in_month, (month.astype(np.int64) % 12 + 1).astype(np.float64)


def _business_days(day: npt.NDArray[np.datetime64]) -> Float:
    """Count weekdays from a fixed Monday up to ``day``, exclusive."""
    since = day.astype(np.int64) + 3  # 1970-01-01 was a Thursday
    weeks, rest = np.divmod(since, 7)
    return (weeks * 5 + np.minimum(rest, 5)).astype(np.float64)


@dataclass(frozen=True)
class Grid:
    """Lays bins along each row's time axis.

    Attributes
    ----------
    edges : (e,) float64
        Edges in days from the start, increasing, the first one 0.
    due_edges : (d,) float64
        Edges in days from the end of the due day, used for rows that have one.
    """

    edges: Float
    due_edges: Float

    @property
    def reach(self) -> float:
        """Days after which nothing is known."""
        return float(self.edges[-1])

    def lay(self, upto: Float, offset: Float | None = None) -> Periods:
        """Lay the bins of each row from 0 until the bin that holds ``upto``.

        Parameters
        ----------
        upto : (n,) float64
            Bins that start at or after this day are left out.
        offset : (n,) float64, optional
            Days from the start until the due date has passed; nan where there is none.
        """
        n = len(upto)
        if offset is None or not len(self.due_edges):
            matrix = np.broadcast_to(self.edges, (n, len(self.edges)))
        else:
            matrix = self._merge(offset)
        lo, hi = matrix[:, :-1], matrix[:, 1:]
        used = (hi - lo > _EPS) & (lo < upto[:, None])
        row, _ = np.nonzero(used)
        return Periods(row, lo[used], hi[used])

    def _merge(self, offset: Float) -> Float:
        """Join both kinds of edges; an edge from the start yields to one from the due date."""
        width = np.diff(self.edges)
        inner, reach = self.edges[1:-1], self.edges[-1]
        due = self.due_edges[None, :] + offset[:, None]
        due = np.where((due > 0.0) & (due < reach), due, 0.0)
        due[np.isnan(due)] = 0.0
        start = np.broadcast_to(inner, (len(offset), len(inner))).copy()
        room = 0.5 * np.minimum(width[:-1], width[1:])
        near = np.searchsorted((inner[:-1] + inner[1:]) / 2.0, due)
        row, column = np.nonzero((np.abs(inner[near] - due) < room[near]) & (due > 0.0))
        start[row, near[row, column]] = 0.0
        ends = np.tile(self.edges[[0, -1]], (len(offset), 1))
        return np.sort(np.concatenate([ends, start, due], axis=1), axis=1)


#: A bin's stage: where it begins in days from the due date; the last stage is "no due date".
_STAGES = np.array([-30.0, -3.0, 0.0, 3.0, 30.0, 120.0])
_BORROWED = 5.0


@dataclass(frozen=True)
class LifeTable:
    """Mean rate of the event a day by age and stage: what the trees start from.

    Attributes
    ----------
    edges : (e,) float64
        Edges of age in days.
    rates : (e - 1, 8) float64
        Events a day, by age and stage.
    """

    edges: Float
    rates: Float

    def chance(self, periods: Periods, watched: Float, offset: Float | None) -> Float:
        """P(event within the days watched of each bin), (m,)."""
        rate = self.rates[_age(self.edges, periods), _stage(periods, offset)]
        return np.asarray(-np.expm1(-rate * watched), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LifeCounts:
    """Events and days watched by age and stage, counted bin by bin.

    Attributes
    ----------
    edges : (e,) float64
    days, events : ((e - 1) * 8,) float64
        Weighted sums by age and stage.
    bins : (e - 1,) float64
        Weighted number of whole bins by age.
    """

    edges: Float
    days: Float
    events: Float
    bins: Float

    @classmethod
    def empty(cls, edges: Float) -> LifeCounts:
        """Start to count."""
        ages = len(edges) - 1
        cells = ages * (len(_STAGES) + 2)
        return cls(edges, np.zeros(cells), np.zeros(cells), np.zeros(ages))

    def add(
        self,
        periods: Periods,
        hit: npt.NDArray[np.bool_],
        watched: Float,
        weight: Float,
        offset: Float | None,
    ) -> None:
        """Add bins, one after the other: the sums do not depend on how they are split up."""
        age = _age(self.edges, periods)
        cell = age * (len(_STAGES) + 2) + _stage(periods, offset)
        np.add.at(self.days, cell, weight * watched)
        np.add.at(self.events, cell, weight * hit)
        np.add.at(self.bins, age, weight * watched / (periods.hi - periods.lo))

    def table(self) -> LifeTable:
        """Turn counts to rates; thin cells borrow from their age, ages from the whole."""
        edges, bins = self.edges, self.bins
        shape = (len(edges) - 1, len(_STAGES) + 2)
        days, events = self.days.reshape(shape), self.events.reshape(shape)
        overall = (events.sum() + 0.5) / (days.sum() + 0.5 * edges[-1])
        by_age = (events.sum(axis=1) + 0.5) / (days.sum(axis=1) + 0.5 / overall)
        rate = (events + _BORROWED) / (days + _BORROWED / by_age[:, None])
        # Events over days is the chance of a bin over its length: turn it into a rate.
        length = np.where(bins > 0.0, days.sum(axis=1) / np.maximum(bins, _EPS), np.diff(edges))
        length = length[:, None]
        return LifeTable(edges, -np.log1p(-np.minimum(rate * length, 0.99)) / length)


def _age(edges: Float, periods: Periods) -> Int:
    return np.searchsorted(edges[1:-1], periods.lo, side="right")


def _stage(periods: Periods, offset: Float | None) -> Int:
    none = len(_STAGES) + 1
    if offset is None:
        return np.full(len(periods), none)
    due = periods.lo - offset[periods.row]
    stage = np.searchsorted(_STAGES, due + _EPS, side="right")
    return np.where(np.isnan(due), none, stage)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices of at most ``size``."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))
