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
BUSINESS = ("bin_business_to_due",)


@dataclass(frozen=True)
class Clock:
    """What the bins know about time besides their age.

    Attributes
    ----------
    offset, start : bool
        Whether the due date and the local day are known.
    usual : tuple of str
        Columns that hold usual days after the due date.
    """

    offset: bool
    start: bool
    usual: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of a bin, in the order of :meth:`Periods.features`."""
        names: tuple[str, ...] = CLOCK if self.offset else CLOCK[:1]
        if self.start:
            names += CALENDAR
        if self.offset and self.start:
            names += BUSINESS
        return (*names, *(f"bin_to_{name}" for name in self.usual)) if self.offset else names


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
        self,
        offset: Float | None,
        start: npt.NDArray[np.datetime64] | None,
        usual: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Describe each bin: age, days to the due date, business days and calendar.

        Parameters
        ----------
        offset : (n,) float64, optional
            Days from each row's start until its due date has passed.
        start : (n,) datetime64[D], optional
            The local day on which each row starts.
        usual : (n, k) float32, optional
            With ``offset``: days after the due date at which the event usually comes.

        Returns
        -------
        (m, 1), (m, 2), (m, 5) or (m, 7 + k) float32
            ``bin_age``, then ``bin_to_due`` if ``offset`` is given, then the four calendar
            columns if ``start`` is given, with both the business days to the due date (-1: the
            last one that is not late, 0: the first one after it), then the days from each of
            the usual ones. Weekday and day of month are missing where a bin is too long for them
            to mean anything.
        """
        columns = [self.lo]
        due = None if offset is None else self.lo - offset[self.row]
        if due is not None:
            columns.append(due)
        if start is not None:
            columns += self._calendar(start)
        if due is not None and offset is not None and start is not None:
            columns.append(self._business_to_due(offset, start))
        table = np.stack(columns, axis=1).astype(np.float32)
        if due is None or usual is None:
            return table
        return np.column_stack([table, due[:, None].astype(np.float32) - usual[self.row]])

    def _business_to_due(self, offset: Float, start: npt.NDArray[np.datetime64]) -> Float:
        known = ~np.isnan(offset)
        days = np.ceil(np.where(known, offset, 0.0) - _EPS).astype("timedelta64[D]")
        past = _business_days(start.astype("datetime64[D]") + days)
        first = start.astype("datetime64[D]")[self.row] + np.floor(self.lo).astype("timedelta64[D]")
        until = _business_days(first) - past[self.row]
        return np.where(known[self.row], until, np.nan)

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


#: A bin's stage: where it begins in days from the due date; the last stage is "no due date". By
#: the day near the due date, where many pay on the very day.
_STAGES = np.array(
    [-30, -14, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 10, 14, 21, 30, 60, 120],
    dtype=np.float64,
)
STAGES = len(_STAGES) + 2
_BORROWED = 5.0


@dataclass(frozen=True)
class LifeTable:
    """Mean rate of the event a day by age and stage: what the trees start from.

    Attributes
    ----------
    edges : (e,) float64
        Edges of age in days.
    rates : (e - 1, STAGES) float64
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
    days, events : ((e - 1) * STAGES,) float64
        Weighted sums by age and stage.
    bins : ((e - 1) * STAGES,) float64
        Weighted number of whole bins by age and stage.
    """

    edges: Float
    days: Float
    events: Float
    bins: Float

    @classmethod
    def empty(cls, edges: Float) -> LifeCounts:
        """Start to count."""
        cells = (len(edges) - 1) * STAGES
        return cls(edges, np.zeros(cells), np.zeros(cells), np.zeros(cells))

    def add(
        self,
        periods: Periods,
        hit: npt.NDArray[np.bool_],
        watched: Float,
        weight: Float,
        offset: Float | None,
    ) -> None:
        """Add bins, one after the other: the sums do not depend on how they are split up."""
        cell = _age(self.edges, periods) * STAGES + _stage(periods, offset)
        np.add.at(self.days, cell, weight * watched)
        np.add.at(self.events, cell, weight * hit)
        np.add.at(self.bins, cell, weight * watched / (periods.hi - periods.lo))

    def table(self) -> LifeTable:
        """Turn counts to rates; thin cells borrow from age times stage, ages from the whole."""
        shape = (len(self.edges) - 1, STAGES)
        days, events, bins = (sums.reshape(shape) for sums in (self.days, self.events, self.bins))
        overall = (events.sum() + 0.5) / (days.sum() + 0.5 * self.edges[-1])
        by_age = (events.sum(axis=1) + 0.5) / (days.sum(axis=1) + 0.5 / overall)
        # How much more comes at a stage than ages alone let expect.
        by_stage = (events.sum(axis=0) + _BORROWED) / (by_age @ days + _BORROWED)
        rate = (events + _BORROWED) / (days + _BORROWED / np.outer(by_age, by_stage))
        # Events over days is the chance of a bin over its length: turn it into a rate.
        width = np.diff(self.edges)[:, None]
        length = np.where(bins > 0.0, days / np.maximum(bins, _EPS), width)
        return LifeTable(self.edges, -np.log1p(-np.minimum(rate * length, 0.99)) / length)


def _age(edges: Float, periods: Periods) -> Int:
    return np.searchsorted(edges[1:-1], periods.lo, side="right")


def _stage(periods: Periods, offset: Float | None) -> Int:
    none = STAGES - 1
    if offset is None:
        return np.full(len(periods), none)
    due = periods.lo - offset[periods.row]
    stage = np.searchsorted(_STAGES, due + _EPS, side="right")
    return np.where(np.isnan(due), none, stage)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Cut ``range(n)`` into slices of at most ``size``."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))
