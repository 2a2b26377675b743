"""Public holidays of Germany, nationwide and by state, and of England and Wales."""

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


# Month and day, or days from Easter -> states; the Assumption in Bavaria is one of municipalities.
_OF_STATES: dict[tuple[int, int] | int, str] = {
    (1, 6): "BW BY ST",
    (3, 8): "BE MV",
    0: "BB",
    49: "BB",
    60: "BW BY HE NW RP SL",
    (8, 15): "BY SL",
    (9, 20): "TH",
    (10, 31): "BB HB HH MV NI SN ST SH TH",
    (11, 1): "BW BY NW RP SL",
}
_ONCE = (date(2025, 5, 8), date(2028, 6, 17))  # in Berlin
_STATES = {
    "BW": "Baden-Württemberg", "BY": "Bayern", "BE": "Berlin", "BB": "Brandenburg",
    "HB": "Bremen", "HH": "Hamburg", "HE": "Hessen", "MV": "Mecklenburg-Vorpommern",
    "NI": "Niedersachsen", "NW": "Nordrhein-Westfalen", "RP": "Rheinland-Pfalz", "SL": "Saarland",
    "SN": "Sachsen", "ST": "Sachsen-Anhalt", "SH": "Schleswig-Holstein", "TH": "Thüringen",
}  # fmt: skip
_NAMES = {name.casefold(): code for code, name in _STATES.items()}


def state_of(region: str | None) -> str | None:
    """Read a state from what a book calls a region: its code or its German name; None = none.

    Examples
    --------
    >>> state_of("DE-BY"), state_of("nw"), state_of("Thüringen"), state_of("north")
    ('BY', 'NW', 'TH', None)
    """
    text = (region or "").strip()
    code = text.upper().removeprefix("DE-")
    return code if code in _STATES else _NAMES.get(text.casefold())


@cache
def state_holidays(year: int, state: str | None) -> frozenset[date]:
    """Give the holidays of one state as they have been since 2023; None: of any.

    What is decided must not hang on which extras are installed, so the package `holidays`, which
    :mod:`collectopt.rules.dates` asks, is not asked here; a test holds the two equal.

    Parameters
    ----------
    year : int
    state : str or None
        Two letters, as from :func:`state_of`. Where it is not known, a day that is a holiday
        somewhere counts: the strict side.

    Examples
    --------
    >>> corpus_christi = date(2026, 6, 4)
    >>> [corpus_christi in state_holidays(2026, state) for state in ("NW", "BE", None)]
    [True, False, True]
    """
    found = set(german_holidays(year))
    for day, states in _OF_STATES.items():
        if state is None or state in states.split():
            if isinstance(day, int):
                found.add(easter(year) + timedelta(days=day))
            else:
                found.add(date(year, *day))
    if state in {None, "SN"}:  # the Wednesday before 23 November
        found.add(date(year, 11, 22) - timedelta(days=(date(year, 11, 22).weekday() - 2) % 7))
    if state in {None, "BE"}:
        found.update(day for day in _ONCE if day.year == year)
    return frozenset(found)


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
