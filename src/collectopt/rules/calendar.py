"""Nationwide public holidays of Germany; those of single states need the extra ``calendar``."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache


@cache
def easter(year: int) -> date:
    """Give Easter Sunday of the Gregorian calendar.

    References
    ----------
    Meeus (1991), Astronomical Algorithms, chapter 8.

    Examples
    --------
    >>> print(easter(2026))
    2026-04-05
    """
    a, b, c = year % 19, year // 100, year % 100
    e = (b - (b + 8) // 25 + 1) // 3
    h = (19 * a + b - b // 4 - e + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)


@cache
def german_holidays(year: int) -> frozenset[date]:
    """Give the nine holidays that hold in all sixteen states.

    Examples
    --------
    >>> date(2026, 10, 3) in german_holidays(2026)
    True
    """
    fixed = [date(year, m, d) for m, d in ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))]
    movable = [easter(year) + timedelta(days=n) for n in (-2, 1, 39, 50)]
    return frozenset(fixed + movable)


@cache
def english_holidays(year: int) -> frozenset[date]:
    """Give the regular bank holidays of England and Wales, with the days that stand in for them.

    Single extra days, such as a coronation, are not known here.

    Examples
    --------
    >>> sorted(d.isoformat() for d in english_holidays(2027) if d.month == 12)
    ['2027-12-25', '2027-12-26', '2027-12-27', '2027-12-28']
    """
    fixed = [date(year, 1, 1), date(year, 12, 25), date(year, 12, 26)]
    moved: list[date] = []
    for day in fixed:
        stands_in = day
        while stands_in.weekday() > 4 or stands_in in moved:
            stands_in += timedelta(days=1)
        moved.append(stands_in)
    # the first Monday from these days on
    may, spring, summer = date(year, 5, 1), date(year, 5, 25), date(year, 8, 25)
    mondays = [day + timedelta(days=-day.weekday() % 7) for day in (may, spring, summer)]
    movable = [easter(year) + timedelta(days=n) for n in (-2, 1)]
    return frozenset([*fixed, *moved, *mondays, *movable])
