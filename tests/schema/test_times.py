"""Instants, local days, clock changes."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectopt.exceptions import InputError
from collectopt.schema.times import (
    end_of_local_day,
    is_timezone,
    local_time,
    start_of_local_day,
    to_instant,
)

ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Australia/Lord_Howe"]


@given(
    st.lists(
        st.tuples(st.dates(dt.date(1990, 1, 1), dt.date(2037, 12, 31)), st.sampled_from(ZONES))
    )
)
def test_local_days_start_at_local_midnight(pairs):
    days = pa.array([day for day, _ in pairs], pa.date32())
    zones = pa.array([zone for _, zone in pairs], pa.string())
    starts = start_of_local_day(days, zones).to_pylist()
    for (day, zone), start in zip(pairs, starts, strict=True):
        assert start == dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    ends = end_of_local_day(days, zones).to_pylist()
    walls = local_time(pa.array(ends, pa.timestamp("us", tz="UTC")), zones).to_pylist()
    assert [w.date() for w in walls] == [day for day, _ in pairs]
    assert all(w.time() == dt.time(23, 59, 59, 999_999) for w in walls)


def test_where_midnight_does_not_exist_the_day_starts_later():
    """In Beirut the clock went from 23:59:59 to 01:00 on 26 March 2017."""
    day = pa.array([dt.date(2017, 3, 26)])
    start = start_of_local_day(day, pa.array(["Asia/Beirut"])).to_pylist()[0]
    assert start == dt.datetime(2017, 3, 25, 22, tzinfo=dt.UTC)


def test_clock_change_days_are_23_and_25_hours_long():
    zone = pa.array(["Europe/Berlin"] * 3)
    for first, hours in ((dt.date(2026, 3, 29), 23), (dt.date(2026, 10, 25), 25)):
        days = pa.array([first, first + dt.timedelta(days=1), first])
        starts = start_of_local_day(days, zone).to_pylist()
        assert starts[1] - starts[0] == dt.timedelta(hours=hours)


@pytest.mark.parametrize(
    ("as_of", "zone", "expected"),
    [
        ("2026-11-21", "UTC", "2026-11-21T00:00"),
        ("2026-11-21", "Europe/Berlin", "2026-11-20T23:00"),
        (dt.date(2026, 7, 1), "Europe/Berlin", "2026-06-30T22:00"),
        ("2026-11-21T06:00+01:00", "America/New_York", "2026-11-21T05:00"),
        ("2026-11-21T06:00Z", "UTC", "2026-11-21T06:00"),
        (dt.datetime(2026, 11, 21, 6, tzinfo=ZoneInfo("Asia/Kolkata")), "UTC", "2026-11-21T00:30"),
        (np.datetime64("2026-11-21T06:00"), "UTC", "2026-11-21T06:00"),
    ],
)
def test_as_of(as_of, zone, expected):
    assert to_instant(as_of, zone) == np.datetime64(expected, "us")


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        ("2026-11-21T06:00", "without an offset"),
        (dt.datetime(2026, 11, 21, 6), "without an offset"),  # noqa: DTZ001
        ("yesterday", "an ISO 8601 date or time"),
        ("2026-02-30", "an ISO 8601 date or time"),
        (7, r"found 7 \(int\)"),
        (np.datetime64("NaT"), "NaT"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_time_is_refused(as_of, message):
    with pytest.raises(InputError, match=message):
        to_instant(as_of)


def test_zones():
    assert is_timezone("Europe/Berlin")
    assert not is_timezone("Berlin")
    assert not is_timezone("")
    assert not is_timezone("../../etc/passwd")
