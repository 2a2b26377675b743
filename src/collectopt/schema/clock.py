"""One time zone laid out for single instants: local days and midnights in plain integers.

:mod:`collectopt.schema.times` does the same for columns. Here the clock changes of a zone are
looked up once, so that a local day costs a search in a short list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from collectopt.schema.times import DAY_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_FIRST, _END = datetime(2000, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000
_FARTHEST = 15 * 3_600 * _SECOND  # no clock is farther from UTC
_KEPT = 20_000  # midnights of a zone


class UnusualError(Exception):
    """Something that the quick way for one account leaves to the tables."""


class Clock:
    """Clock of one time zone between 2000 and 2036.

    Parameters
    ----------
    zone : str
        IANA name.

    Attributes
    ----------
    beyond : int
        First day that begins after these years wherever one is, days since 1970.

    Raises
    ------
    UnusualError
        There is no such zone on this machine.

    Examples
    --------
    >>> clock = Clock("Europe/Berlin")
    >>> clock.midnight(20_644) / 3_600_000_000 % 24, clock.day(clock.midnight(20_644) - 1)
    (22.0, 20643)
    """

    def __init__(self, zone: str) -> None:
        try:
            info = ZoneInfo(zone)
        except (LookupError, ValueError, OSError) as error:
            raise UnusualError(zone) from error
        self.zone = zone
        self._since, self._offset = _changes(info)
        self._first, self._end = micros(_FIRST), micros(_END)
        self.beyond = self._end // DAY_US + 1
        self._midnights: dict[int, int] = {}

    def local(self, instant: int) -> int:
        """Wall clock of an instant; both in microseconds since 1970.

        Raises
        ------
        UnusualError
            Outside the years that are laid out.
        """
        if not self._first <= instant < self._end:
            raise UnusualError(instant)
        return instant + self._offset[bisect_right(self._since, instant) - 1]

    def day(self, instant: int) -> int:
        """Local day of an instant, days since 1970; errors as :meth:`local`."""
        return self.local(instant) // DAY_US

    def days(self, instants: Sequence[int]) -> list[int]:
        """Local days of many instants; errors as :meth:`local`."""
        found, since, low, high, offset = [], self._since, 0, 0, 0
        for instant in instants:
            if not low <= instant < high:
                offset = self.local(instant) - instant
                at = bisect_right(since, instant)
                low, high = since[at - 1], since[at] if at < len(since) else self._end
            found.append((instant + offset) // DAY_US)
        return found

    def midnight(self, day: int) -> int:
        """First instant of a local day, as :func:`~collectopt.schema.times.start_of_local_day`.

        Where the clock skips midnight, the first instant that exists; where midnight comes twice,
        the first one. Errors as :meth:`local`.
        """
        found = self._midnights.get(day)
        if found is None:
            found = self._find(day * DAY_US)
            if len(self._midnights) >= _KEPT:
                self._midnights.clear()
            self._midnights[day] = found
        return found

    def _find(self, wall: int) -> int:
        if not self._first + DAY_US <= wall < self._end - DAY_US:
            raise UnusualError(wall)
        at = max(bisect_right(self._since, wall - _FARTHEST) - 1, 0)
        while at + 1 < len(self._since) and wall - self._offset[at] >= self._since[at + 1]:
            at += 1
        return max(wall - self._offset[at], self._since[at])


@lru_cache(maxsize=64)
def _changes(info: ZoneInfo) -> tuple[list[int], list[int]]:
    """Instants from which on an offset holds, and the offsets; microseconds."""
    since, offsets = [micros(_FIRST)], [_offset(info, _FIRST)]
    moment = _FIRST
    while moment < _END:
        later = moment + timedelta(days=1)
        new = _offset(info, later)
        if new != offsets[-1]:
            low, high = moment, later  # in a day the clock changes once
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (
                    (low, middle) if _offset(info, middle) != offsets[-1] else (middle, high)
                )
            since.append(micros(high))
            offsets.append(new)
        moment = later
    return since, offsets


def _offset(info: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(info).utcoffset()
    assert offset is not None
    return offset // MICROSECOND


def micros(moment: datetime) -> int:
    """Microseconds since 1970, UTC, of an aware time."""
    return (moment - EPOCH) // MICROSECOND
