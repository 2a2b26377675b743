"""Dates and amounts of German law against values worked out by hand with a calendar."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectopt.exceptions import InputError
from collectopt.rules.calendar import english_holidays
from collectopt.rules.dates import (
    BaseRate,
    DefaultFacts,
    Land,
    Suspends,
    Suspension,
    base_rates,
    default_date,
    interest,
    last_day,
    limitation,
    lump_sum,
    working_day,
)

D = date.fromisoformat
DUE = D("2026-03-02")  # a Monday


@pytest.mark.parametrize(
    ("facts", "default"),
    [
        ({}, None),
        ({"fixed_by_calendar": True}, "2026-03-03"),
        ({"reminded_on": D("2026-03-09")}, "2026-03-09"),
        ({"reminded_on": D("2026-03-02")}, None),  # not after the due date
        ({"refused_on": D("2026-03-20")}, "2026-03-20"),
        ({"refused_on": D("2026-02-10")}, "2026-03-03"),  # not before it is due
        # 2 March + 30 days = Wednesday 1 April
        ({"invoice_received_on": D("2026-02-04")}, "2026-04-02"),
        # 4 March + 30 days = Good Friday 3 April -> Tuesday 7 April
        ({"invoice_received_on": D("2026-03-04")}, "2026-04-08"),
        ({"invoice_received_on": D("2026-02-04"), "consumer": True}, None),
        ({"invoice_received_on": D("2026-02-04"), "consumer": True, "told": True}, "2026-04-02"),
        ({"invoice_received_on": D("2026-02-04"), "reminded_on": D("2026-03-09")}, "2026-03-09"),
        ({"fixed_by_calendar": True, "excused_until": D("2026-05-01")}, "2026-05-01"),
        # due on Saturday 2 May -> Monday 4 May
        ({"due_on": D("2026-05-02"), "fixed_by_calendar": True}, "2026-05-05"),
    ],
)
def test_default_begins_with_the_first_of_its_grounds(facts, default):
    found = default_date(DefaultFacts(**{"due_on": DUE, "consumer": False, **facts}))
    assert found == (default and D(default))


def test_a_last_day_moves_to_a_working_day():
    assert last_day(D("2026-12-24")) == D("2026-12-24")
    assert last_day(D("2026-12-25")) == D("2026-12-28"), "two holidays, then a Sunday"
    assert last_day(D("2022-12-31")) == D("2023-01-02"), "over the year"


def test_working_days_by_state():
    corpus_christi, epiphany = D("2026-06-04"), D("2026-01-06")
    assert working_day(corpus_christi, Land.BE)
    assert not working_day(corpus_christi, Land.NW)
    assert not working_day(epiphany, Land.BW)
    assert working_day(epiphany, Land.HH)
    assert working_day(epiphany), "without a state only what all states share"
    assert last_day(D("2026-11-01"), Land.BY) == D("2026-11-02")


def test_interest_by_half_years():
    # by hand: 1000 x (3.37 + 9) % x 31/366 + 1000 x (2.27 + 9) % x 59/365
    owed = interest(Decimal(1000), D("2024-12-01"), D("2025-03-01"), consumer=False)
    assert [(p.percent, (p.until - p.since).days) for p in owed.parts] == [
        (Decimal("12.37"), 31),
        (Decimal("11.27"), 59),
    ]
    assert owed.amount == Decimal("28.69")  # 10.4773 + 18.2173
    fewer = interest(Decimal(1000), D("2024-12-01"), D("2025-03-01"), consumer=True)
    assert fewer.amount == Decimal("18.84")  # 8.37 % and 7.27 %: 7.0893 + 11.7515


def test_interest_over_a_leap_day_and_a_negative_base_rate():
    owed = interest(Decimal(366), D("2020-02-01"), D("2020-03-01"), consumer=True)
    assert owed.amount == Decimal("1.19")  # 366 x 4.12 % x 29/366 = 1.1948
    none = interest(Decimal(366), D("2020-02-01"), D("2020-02-01"), consumer=True)
    assert none.amount == 0
    assert none.parts == ()


def test_base_rates_have_no_gap_and_are_not_extrapolated():
    rates = base_rates()
    assert all(a.until == b.since for a, b in pairwise(rates))
    assert all((d.month, d.day) in {(1, 1), (7, 1)} for r in rates for d in (r.since, r.until))
    assert not any(r.verified for r in rates), "from memory: say so until somebody has checked"
    end = rates[-1].until
    with pytest.raises(InputError, match=f"a base rate for {end}"):
        interest(Decimal(1), end - timedelta(days=1), end + timedelta(days=1), consumer=True)
    own = [BaseRate(end, end + timedelta(days=181), Decimal(1), "mine", True)]
    owed = interest(Decimal(3650), end, end + timedelta(days=10), consumer=True, rates=own)
    assert owed.amount == Decimal(6)  # 3650 x 6 % x 10/365


@given(
    start=st.dates(D("2016-07-01"), D("2025-12-31")),
    days=st.lists(st.integers(0, 3000), min_size=2, max_size=2),
)
def test_interest_adds_up_over_days(start, days):
    a, b = (min(start + timedelta(days=d), D("2026-01-01")) for d in sorted(days))

    def exact(since, until):
        return sum(p.amount for p in interest(Decimal(100), since, until, consumer=True).parts)

    assert abs(exact(start, a) + exact(a, b) - exact(start, b)) < Decimal("1e-15")


def test_the_lump_sum_is_for_firms_in_default():
    assert lump_sum(consumer=False, in_default=True) == 40
    assert lump_sum(consumer=True, in_default=True) == 0
    assert lump_sum(consumer=False, in_default=False) == 0


def stop(kind, since, last):
    return Suspension(Suspends(kind), D(since), last and D(last))


@pytest.mark.parametrize(
    ("suspensions", "restarts", "end"),
    [
        ([], [], "2025-12-31"),
        # 31 days of January 2024
        ([("deferral", "2024-01-01", "2024-01-31")], [], "2026-01-31"),
        # before the period runs nothing is suspended; of one that reaches into it, 10 days are
        ([("deferral", "2022-06-01", "2022-09-30")], [], "2025-12-31"),
        ([("deferral", "2022-12-01", "2023-01-10")], [], "2026-01-10"),
        # overlapping days count once: 1 to 20 January
        ([("deferral", "2024-01-01", "2024-01-15"), ("deferral", "2024-01-10", "2024-01-20")], [],
         "2026-01-20"),
        # one day of negotiation at the end: not before three months after it
        ([("negotiation", "2025-12-30", "2025-12-30")], [], "2026-03-30"),
        ([("negotiation", "2024-05-01", "2024-05-01")], [], "2026-01-01"),
        # served 1 Dec 2025, over on 31 Jan 2026, six months more: 243 days to 31 July
        ([("court", "2025-12-01", "2026-01-31")], [], "2026-08-31"),
        ([("court", "2025-12-01", None)], [], None),
        # too late: the period is over
        ([("negotiation", "2026-01-01", "2026-02-01")], [], "2025-12-31"),
        # restarts: three years from the day; not before the period runs, not after its end
        ([], ["2023-07-15"], "2026-07-15"),
        ([], ["2023-07-15", "2026-07-15"], "2029-07-15"),
        ([], ["2022-08-01"], "2025-12-31"),
        ([], ["2026-01-01"], "2025-12-31"),
        # a suspension before the restart is forgotten, one across it goes on
        ([("deferral", "2023-02-01", "2023-02-28")], ["2024-03-01"], "2027-03-01"),
        ([("deferral", "2024-02-01", "2024-03-11")], ["2024-03-01"], "2027-03-11"),
        # in the three months that a negotiation gives, a part payment still counts
        ([("negotiation", "2025-12-30", "2025-12-30")], ["2026-02-01"], "2029-02-01"),
    ],
)  # fmt: skip
def test_limitation_by_hand(suspensions, restarts, end):
    found = limitation(D("2022-05-03"), [stop(*s) for s in suspensions], [D(r) for r in restarts])
    assert found == (end and D(end))


def test_limitation_of_a_title_and_of_the_year_end():
    assert limitation(D("2022-05-03"), titled_on=D("2024-02-29")) == D("2054-02-28")
    assert limitation(D("2022-12-31")) == D("2025-12-31")
    assert limitation(D("2023-01-01")) == D("2026-12-31")


@given(
    known=st.dates(D("2015-01-01"), D("2025-12-31")),
    since=st.integers(-400, 2000),
    days=st.integers(0, 400),
)
def test_a_suspension_adds_its_days_within_the_period(known, since, days):
    plain = limitation(known)
    first = known + timedelta(days=since)
    last = first + timedelta(days=days)
    found = limitation(known, [Suspension(Suspends.DEFERRAL, first, last)])
    span = {first + timedelta(days=d) for d in range(days + 1)}
    inside = [d for d in span if d.year > known.year]
    assert (found - plain).days == (len(inside) if first <= plain else 0)


def test_bank_holidays_of_england_and_wales():
    # gov.uk/bank-holidays
    assert english_holidays(2025) == {
        D(f"2025-{d}")
        for d in ("01-01", "04-18", "04-21", "05-05", "05-26", "08-25", "12-25", "12-26")
    }
    assert D("2022-12-27") in english_holidays(2022)
    assert D("2026-12-28") in english_holidays(2026)
