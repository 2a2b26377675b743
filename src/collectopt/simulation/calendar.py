"""Days of the simulated world: weekdays, public holidays, local time to UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from collectopt.rules.calendar import german_holidays
from collectopt.simulation.noise import FloatArray, IntArray


@dataclass(frozen=True)
class Calendar:
    """Day numbers, counted from a Monday, and what they mean.

    Attributes
    ----------
    start : datetime.date
        Day 0, a Monday.
    timezone : str
        Zone of the local hours.
    """

    start: dt.date = dt.date(2025, 9, 1)
    timezone: str = "Europe/Berlin"

    def date(self, day: int) -> dt.date:
        """Local date of a day number."""
        return self.start + dt.timedelta(days=int(day))

    def number(self, date: dt.date) -> int:
        """Day number of a local date."""
        return (date - self.start).days

    def dates(self, days: IntArray) -> npt.NDArray[np.datetime64]:
        """Local dates of day numbers, datetime64[D]."""
        return np.datetime64(self.start, "D") + days.astype("timedelta64[D]")

    def is_holiday(self, day: int) -> bool:
        """Whether the day is a Sunday or a public holiday."""
        date = self.date(day)
        return date.weekday() == 6 or date in german_holidays(date.year)

    def is_business_day(self, day: int) -> bool:
        """Whether banks book on that day."""
        return self.date(day).weekday() < 5 and not self.is_holiday(day)

    def next_business_day(self, day: int) -> int:
        """Return the day itself or the first business day after it."""
        while not self.is_business_day(day):
            day += 1
        return day

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _offset(self, day: int) -> int:
        """Seconds from UTC to local time at noon."""
        noon = dt.datetime.combine(self.date(day), dt.time(12), tzinfo=self._zone)
        offset = noon.utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    def instants(self, days: IntArray, hours: FloatArray) -> npt.NDArray[np.datetime64]:
        """UTC instants of local hours, datetime64[us].

        Clocks change before four in the morning and nothing in the world happens before five, so
        the offset at noon holds for every event of the day.
        """
        if len(days) == 0:
            return np.zeros(0, dtype="datetime64[us]")
        unique, inverse = np.unique(days, return_inverse=True)
        offsets = np.array([self._offset(int(day)) for day in unique], dtype=np.int64)[inverse]
        seconds = np.floor(hours * 3600.0 + 1e-6).astype(np.int64) - offsets
        return self.dates(days).astype("datetime64[us]") + seconds.astype("timedelta64[s]")

    def instant(self, day: int, hour: float) -> dt.datetime:
        """One UTC instant as an aware datetime."""
        value = self.instants(np.array([day]), np.array([hour]))[0]
        naive: dt.datetime = value.astype("datetime64[us]").item()
        return naive.replace(tzinfo=dt.UTC)
