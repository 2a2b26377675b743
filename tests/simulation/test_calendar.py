from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from collectopt.rules.calendar import easter, german_holidays
from collectopt.simulation.calendar import Calendar

BERLIN = Calendar()


@pytest.mark.parametrize(
    ("year", "date"),
    [(2000, (4, 23)), (2008, (3, 23)), (2011, (4, 24)), (2025, (4, 20)), (2038, (4, 25))],
)
def test_easter(year: int, date: tuple[int, int]) -> None:
    assert easter(year) == dt.date(year, *date)


def test_holidays_and_business_days() -> None:
    assert dt.date(2026, 4, 3) in german_holidays(2026)  # Good Friday
    assert dt.date(2026, 5, 14) in german_holidays(2026)  # Ascension
    christmas = BERLIN.number(dt.date(2025, 12, 25))
    assert not BERLIN.is_business_day(christmas)
    assert BERLIN.date(BERLIN.next_business_day(christmas)) == dt.date(2025, 12, 29)


@pytest.mark.parametrize(
    ("date", "hour", "utc"),
    [
        ((2025, 10, 25), 8.0, "2025-10-25T06:00"),
        ((2025, 10, 26), 8.0, "2025-10-26T07:00"),  # clocks went back that night
        ((2026, 3, 28), 19.5, "2026-03-28T18:30"),
        ((2026, 3, 29), 5.0, "2026-03-29T03:00"),  # clocks went forward that night
    ],
)
def test_local_hours_across_clock_changes(
    date: tuple[int, int, int], hour: float, utc: str
) -> None:
    day = BERLIN.number(dt.date(*date))
    instant = BERLIN.instants(np.array([day]), np.array([hour]))[0]
    assert instant == np.datetime64(utc)
    assert BERLIN.instant(day, hour) == dt.datetime.fromisoformat(utc).replace(tzinfo=dt.UTC)
