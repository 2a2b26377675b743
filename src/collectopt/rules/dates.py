"""Dates and amounts of German law: default, interest, limitation, working days.

Plain calendar days, so the change of the clocks cannot touch them. What is not known (None, False)
counts for the customer: default begins later, limitation ends earlier.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files

from collectopt._lazy import extra
from collectopt.exceptions import InputError
from collectopt.rules.calendar import german_holidays
from collectopt.rules.packs import number

_DAY = timedelta(days=1)
_CENT = Decimal("0.01")


class Land(StrEnum):
    """The sixteen states, by ISO 3166-2."""

    BW, BY, BE, BB = "BW", "BY", "BE", "BB"
    HB, HH, HE, MV = "HB", "HH", "HE", "MV"
    NI, NW, RP, SL = "NI", "NW", "RP", "SL"
    SN, ST, SH, TH = "SN", "ST", "SH", "TH"


@cache
def _holidays(year: int, land: Land | None) -> frozenset[date]:
    if land is None:
        return german_holidays(year)
    package = extra("holidays", extra="calendar")
    return frozenset(package.Germany(subdiv=land.value, years=year))


def working_day(day: date, land: Land | None = None) -> bool:
    """Say whether a day is neither Saturday, Sunday nor a holiday.

    Parameters
    ----------
    day : date
    land : Land or None
        The state, which needs the extra ``calendar``; None = nationwide holidays only.

    Examples
    --------
    >>> working_day(date(2026, 10, 3)), working_day(date(2026, 6, 4))
    (False, True)
    """
    return day.weekday() < 5 and day not in _holidays(day.year, land)


def last_day(day: date, land: Land | None = None) -> date:
    """Move the last day of a period to a working day (BGB § 193).

    Examples
    --------
    >>> print(last_day(date(2026, 4, 3)))
    2026-04-07
    """
    while not working_day(day, land):
        day += _DAY
    return day


@dataclass(frozen=True)
class DefaultFacts:
    """What is known about the default of one claim.

    Attributes
    ----------
    due_on : date
    consumer : bool
    fixed_by_calendar : bool
        The contract fixes the due date by the calendar, or makes it computable.
    reminded_on : date or None
        A reminder sent after the due date was received on this day.
    refused_on : date or None
        Payment was refused, seriously and finally.
    invoice_received_on : date or None
    told : bool
        The invoice told the consumer about the 30 days.
    excused_until : date or None
        First day on which not paying is the customer's fault.
    land : Land or None
        State of the place of performance.
    """

    due_on: date
    consumer: bool
    fixed_by_calendar: bool = False
    reminded_on: date | None = None
    refused_on: date | None = None
    invoice_received_on: date | None = None
    told: bool = False
    excused_until: date | None = None
    land: Land | None = None


def default_date(facts: DefaultFacts) -> date | None:
    """Give the first day of default (Verzug), or None where no ground is known.

    The first of: receipt of a reminder after the due date; the day after a due date fixed by the
    calendar; a final refusal; the day after 30 days from due date and receipt of the invoice, for
    consumers only if the invoice said so.

    References
    ----------
    BGB §§ 186-193, 286(1)-(4).

    Examples
    --------
    >>> facts = DefaultFacts(date(2026, 3, 2), consumer=False, invoice_received_on=date(2026, 2, 4))
    >>> print(default_date(facts))
    2026-04-02
    """
    due = last_day(facts.due_on, facts.land)
    late = due + _DAY
    grounds = [late] if facts.fixed_by_calendar else []
    if facts.reminded_on is not None and facts.reminded_on > due:
        grounds.append(facts.reminded_on)
    if facts.refused_on is not None:
        grounds.append(max(facts.refused_on, late))
    if facts.invoice_received_on is not None and (facts.told or not facts.consumer):
        begun = max(due, facts.invoice_received_on)
        days = timedelta(days=number("de", "DE-01", "days"))
        grounds.append(last_day(begun + days, facts.land) + _DAY)
    if not grounds:
        return None
    return max(min(grounds), facts.excused_until or date.min)


@dataclass(frozen=True)
class BaseRate:
    """The base rate from one day until before another, in per cent a year."""

    since: date
    until: date
    percent: Decimal
    source: str
    verified: bool


@cache
def base_rates() -> tuple[BaseRate, ...]:
    """Give the base rates that the library knows, in order of time; see ``verified``."""
    path = files("collectopt.rules") / "packs" / "base_rates.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        BaseRate(r["from"], r["to"], Decimal(r["percent"]), data["source"], data["verified"])
        for r in data["rates"]
    )


@dataclass(frozen=True)
class InterestPart:
    """Simple interest at one rate: days in [since, until), per cent a year, EUR not rounded."""

    since: date
    until: date
    percent: Decimal
    amount: Decimal


@dataclass(frozen=True)
class Interest:
    """Default interest; `amount` in EUR, rounded to the cent."""

    amount: Decimal
    parts: tuple[InterestPart, ...]


def interest(
    principal: Decimal,
    since: date,
    until: date,
    *,
    consumer: bool,
    rates: Sequence[BaseRate] | None = None,
) -> Interest:
    """Compute default interest by half-years (BGB § 288(1)(2)); simple, never on interest (§ 289).

    Parameters
    ----------
    principal : Decimal
        EUR.
    since, until : date
        First day with interest, the day after default began; first day without.
    consumer : bool
        Whether a consumer is a party: fewer points above the base rate.
    rates : sequence of BaseRate or None
        None = those of the library, which have an end.

    Raises
    ------
    InputError
        A day has no base rate.

    Notes
    -----
    Days by days of the year: 366 in a leap year.

    Examples
    --------
    >>> owed = interest(Decimal(1000), date(2025, 6, 1), date(2025, 8, 1), consumer=True)
    >>> print(owed.amount, [str(part.percent) for part in owed.parts])
    11.30 ['7.27', '6.27']
    """
    points = Decimal(number("de", "DE-03", "consumer_points" if consumer else "business_points"))
    table = base_rates() if rates is None else rates
    parts = []
    day = since
    while day < until:
        rate = next((r for r in table if r.since <= day < r.until), None)
        if rate is None:
            raise InputError.of(
                "base rates",
                None,
                expected=f"a base rate for {day}",
                found="none",
                hint="Give rates=..., as the Bundesbank publishes them each half-year.",
            )
        end = min(until, rate.until, date(day.year + 1, 1, 1))
        year = (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days
        percent = rate.percent + points
        amount = principal * percent * (end - day).days / (100 * year)
        parts.append(InterestPart(day, end, percent, amount))
        day = end
    total = sum((part.amount for part in parts), Decimal(0))
    return Interest(total.quantize(_CENT, ROUND_HALF_UP), tuple(parts))


def lump_sum(*, consumer: bool, in_default: bool) -> Decimal:
    """Give the lump sum of a claim in default, in EUR: firms only, once a claim (BGB § 288(5)).

    Examples
    --------
    >>> print(lump_sum(consumer=False, in_default=True))
    40
    """
    return Decimal(number("de", "DE-04", "euro")) if in_default and not consumer else Decimal(0)


class Suspends(StrEnum):
    """What suspends the limitation."""

    DEFERRAL = "deferral"  # § 205
    NEGOTIATION = "negotiation"  # § 203: not over before three months after its end
    COURT = "court"  # § 204: until six months after its end


@dataclass(frozen=True)
class Suspension:
    """A time in which the limitation does not run: first and last day; None = not over."""

    kind: Suspends
    since: date
    last: date | None


def limitation(
    known_on: date,
    suspensions: Sequence[Suspension] = (),
    restarts: Sequence[date] = (),
    titled_on: date | None = None,
) -> date | None:
    """Give the last day of the limitation period; None while it is suspended without an end.

    Three years from the end of the year; suspended days do not count; an acknowledgement, a part
    payment or an act of enforcement within the period starts three new years on its day. A claim
    with a title has thirty years. Give only what was known at the time that is asked about.

    Parameters
    ----------
    known_on : date
        The later of: the claim arose, the creditor knew.
    suspensions : sequence of Suspension
    restarts : sequence of date
    titled_on : date or None

    References
    ----------
    BGB §§ 195, 197, 199, 203-205, 209, 212. The end is not moved to a working day.

    Examples
    --------
    >>> print(limitation(date(2022, 5, 3)))
    2025-12-31
    >>> print(limitation(date(2022, 5, 3), restarts=[date(2024, 2, 29)]))
    2027-02-28
    """
    years = int(number("de", "DE-16", "years"))
    if titled_on is not None:
        return _months(titled_on, 12 * int(number("de", "DE-16", "titled_years")))
    begin, fixed = date(known_on.year + 1, 1, 1), date(known_on.year + years, 12, 31)
    end = _suspended(begin, fixed, suspensions)
    for day in sorted(restarts):
        if begin <= day <= end:
            begin, fixed = day + _DAY, _months(day, 12 * years)
            end = _suspended(begin, fixed, suspensions)
    return None if end == date.max else end


def _suspended(begin: date, end: date, suspensions: Sequence[Suspension]) -> date:
    """Move the end of a period by the suspended days within it; each day counts once."""
    seen = begin
    for suspension in sorted(suspensions, key=lambda s: s.since):
        first, last = max(suspension.since, seen), suspension.last
        if first > end:
            continue
        if last is None:
            return date.max
        floor = _months(last, 3) if suspension.kind is Suspends.NEGOTIATION else end
        if suspension.kind is Suspends.COURT:
            last = _months(last, int(number("de", "DE-16", "tail_months")))
        if last >= first:
            end += last - first + _DAY
            seen = last + _DAY
        end = max(end, floor)
    return end


def _months(day: date, months: int) -> date:
    """Add months; a day that does not exist becomes the last of its month (§ 188(3))."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    following = date(year + month // 11, (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - _DAY).day))
