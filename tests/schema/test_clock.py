"""The clock of one zone: the same local days and midnights as for whole columns."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from collectopt.schema.clock import Clock, UnusualError, micros
from collectopt.schema.times import INSTANT, local_time, start_of_local_day

# clocks that skip or repeat midnight, skip a day, change by half an hour or at odd minutes
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo",
    "America/St_Johns", "America/Asuncion", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Atlantic/Azores", "Africa/Casablanca", "Asia/Beirut", "Asia/Tehran", "America/Scoresbysund",
)  # fmt: skip
EPOCH_DAY = date(1970, 1, 1).toordinal()


@pytest.mark.parametrize("zone", ZONES)
def test_every_midnight_and_the_instants_around_it(zone):
    clock = Clock(zone)
    days = np.arange(date(2000, 1, 3).toordinal(), date(2036, 12, 29).toordinal()) - EPOCH_DAY
    zones = pa.array([zone] * len(days))
    starts = start_of_local_day(pa.array(days.astype(np.int32), pa.date32()), zones)
    known = starts.cast(pa.int64()).to_numpy()
    assert [clock.midnight(day) for day in days.tolist()] == known.tolist()
    hour = 3_600_000_000
    for shift in (-hour, -1, 0, hour // 2, 12 * hour):
        moments = known + shift
        wall = local_time(pa.array(moments).cast(INSTANT), pa.array([zone] * len(moments)))
        local = wall.cast(pa.int64()).to_numpy()
        assert [clock.local(moment) for moment in moments.tolist()] == local.tolist()
        assert clock.days(moments.tolist()) == (local // 86_400_000_000).tolist()


def test_what_lies_outside_is_not_guessed():
    clock = Clock("Europe/Berlin")
    for year in (1999, 2037):
        with pytest.raises(UnusualError):
            clock.day(micros(datetime(year, 6, 1, tzinfo=UTC)))
        with pytest.raises(UnusualError):
            clock.midnight(date(year, 6, 1).toordinal() - EPOCH_DAY)
    assert clock.beyond == date(2037, 1, 2).toordinal() - EPOCH_DAY
    for nothing in ("Nowhere", ""):
        with pytest.raises(UnusualError):
            Clock(nothing)
