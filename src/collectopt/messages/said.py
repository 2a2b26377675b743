"""Days and amounts that somebody names in a sentence; what may mean two things is not taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from collectopt.messages.letters import Language

_MONTHS = {
    Language.DE: "januar februar maerz april mai juni juli august september oktober november "
    "dezember",
    Language.EN: "january february march april may june july august september october november "
    "december",
}
_WEEKDAYS = {
    Language.DE: "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    Language.EN: "monday tuesday wednesday thursday friday saturday sunday",
}
_NEAR = {
    Language.DE: {"heute": 0, "morgen": 1, "uebermorgen": 2},
    Language.EN: {"today": 0, "tonight": 0, "tomorrow": 1, "day after tomorrow": 2},
}
_NEXT = {Language.DE: r"naechste\w*", Language.EN: r"next"}
_ORDINAL = {
    Language.DE: r"\b(?:am|zum|bis)\s(\d{1,2})\.(?!\d)",
    Language.EN: r"\bthe\s(\d{1,2})(?:st|nd|rd|th)\b",
}
_GREETINGS = (("guten morgen", ""), ("heute morgen", "heute"))  # morgen = tomorrow, and morning
_MONTH_END = {
    Language.DE: r"monatsende|ende (des|dieses|vom) monats?|ende monat",
    Language.EN: r"end of (the|this) month|month'?s? end",
}
_HALF_YEAR = 183  # days
_FAR = 366  # days: who promises a later one means another
_NUMBER = r"(\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?)(?!\d)"
_UNIT = r"(?:eur\w*|€|£|\$)"
_OTHER = re.compile(r"[£$]")
_MONEY = re.compile(rf"{_UNIT}\s?{_NUMBER}|{_NUMBER}\s?(?:,-\s?)?{_UNIT}")


def day_said(text: str, language: Language, on: date) -> date | None:
    """Read the day that a sentence names.

    Parameters
    ----------
    text : str
        In small letters, umlauts written out.
    language : Language
    on : date
        Local day on which it was said. A day without a year is the nearest one; a weekday the next
        after today, with "next" that of the week after this one.

    Returns
    -------
    date or None
        None: no day, several, one before `on` or more than a year later, or one that may be read in
        two ways.

    Examples
    --------
    >>> print(day_said("zahle am freitag", Language.DE, date(2026, 6, 3)))
    2026-06-05
    >>> print(day_said("by 15 june at the latest", Language.EN, date(2026, 6, 3)))
    2026-06-15
    >>> day_said("on 5/6/2026", Language.EN, date(2026, 6, 3)) is None
    True
    """
    found = {*_dates(text, language, on), *_relative(text, language, on)}
    only = found.pop() if len(found) == 1 else None
    if only is None or only < on or (only - on).days > _FAR:
        return None
    return only


def _dates(text: str, language: Language, on: date) -> Iterator[date | None]:
    """Dates in numbers, then those with the name of a month; what was read is taken out."""
    for pattern, read in (
        (r"\b(\d{4})-(\d{2})-(\d{2})\b", lambda m: _day(m[1], m[2], m[3])),
        (r"\b(\d{1,2})\.\s?(\d{1,2})\.(?:\s?(\d{4})|(\d{2}))?(?!\d)", lambda m: _numbers(m, on)),
        (r"\b(\d{1,2})/(\d{1,2})(?:/(\d{4}|\d{2}))?\b", lambda m: _slashed(m, on)),
    ):
        for match in re.finditer(pattern, text):
            yield read(match)
        text = re.sub(pattern, " ", text)
    months = _MONTHS[language].split()
    named = "|".join(f"{m}|{m[:3]}" for m in months)
    year = r"(?:,?\s(\d{4}))?"
    for pattern, day, month in (
        (rf"\b(\d{{1,2}})(?:\.|st|nd|rd|th)?\s(?:of\s)?({named})\b{year}", 1, 2),
        (rf"\b({named})\s(\d{{1,2}})(?:st|nd|rd|th)?\b{year}", 2, 1),
    ):
        for match in re.finditer(pattern, text):
            number = 1 + [name[:3] for name in months].index(match[month][:3])
            yield _next_year(match[day], str(number), match[3], on)
        text = re.sub(pattern, " ", text)
    for match in re.finditer(_ORDINAL[language], text):
        yield _next_month(int(match[1]), on)


def _relative(text: str, language: Language, on: date) -> Iterator[date | None]:
    """Days told from today on."""
    for said, meant in _GREETINGS:
        text = text.replace(said, meant)
    if re.search(_MONTH_END[language], text):
        yield _next_first(on) - timedelta(days=1)
    near = "|".join(sorted(_NEAR[language], key=len, reverse=True))
    for match in re.finditer(rf"\b({near})\b", text):
        yield on + timedelta(days=_NEAR[language][match[1]])
    weekdays = _WEEKDAYS[language].split()
    for match in re.finditer(rf"(?:({_NEXT[language]})\s)?\b({'|'.join(weekdays)})\b", text):
        ahead = (weekdays.index(match[2]) - on.weekday() - 1) % 7 + 1
        if match[1] and on.weekday() + ahead < 7:
            ahead += 7  # "next Friday" is rather that of the next week: the later of two readings
        yield on + timedelta(days=ahead)


def _next_first(on: date) -> date:
    """First day of the next month."""
    return (on.replace(day=28) + timedelta(days=4)).replace(day=1)


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))
    except ValueError:
        return None


def _next_year(day: str, month: str, year: str | None, on: date) -> date | None:
    if year:
        return _day(year, month, day)
    this = _day(str(on.year), month, day)
    if this is None or (on - this).days < _HALF_YEAR:
        return this  # one that is just over is no promise
    return _day(str(on.year + 1), month, day)


def _numbers(match: re.Match[str], on: date) -> date | None:
    return _next_year(match[1], match[2], match[3] or match[4], on)


def _slashed(match: re.Match[str], on: date) -> date | None:
    """Read day/month or month/day; None where both may be meant."""
    first, second = int(match[1]), int(match[2])
    if first <= 12 and second <= 12 and first != second:
        return None
    day, month = (match[1], match[2]) if second <= 12 else (match[2], match[1])
    return _next_year(day, month, match[3], on)


def _next_month(day: int, on: date) -> date | None:
    for start in (on.replace(day=1), _next_first(on)):
        found = _day(str(start.year), str(start.month), str(day))
        if found is not None and found >= on:
            return found
    return None


def amount_said(text: str) -> Decimal | None:
    """Read the EUR that a sentence names; None: none, several, or other money.

    Pounds and dollars are left to a person.

    Examples
    --------
    >>> amount_said("ich zahle 1.200,50 euro"), amount_said("i'll pay €50"), amount_said("50 km")
    (Decimal('1200.50'), Decimal('50.00'), None)
    """
    said = list(_MONEY.finditer(text))
    if any(_OTHER.search(m[0]) for m in said):
        return None
    found = {_amount(next(g for g in m.groups() if g)) for m in said}
    only = found.pop() if len(found) == 1 else None
    return only or None


def _amount(text: str) -> Decimal:
    whole, cents = text, "00"
    tail = re.search(r"[.,](\d{1,2})$", text)
    if tail:
        whole, cents = text[: tail.start()], tail[1].ljust(2, "0")
    return Decimal(f"{re.sub(r'[^0-9]', '', whole)}.{cents}")
