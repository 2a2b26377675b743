"""Balances never go wrong, whatever happens in whatever order."""

from __future__ import annotations

import datetime as dt
import random

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

START = dt.date(2026, 1, 1)
ACCOUNT = {"account_id": "A", "customer_type": "consumer", "country": "DE"}


def invoice(number: int, issued: int, term: int, cents: int) -> dict:
    return {
        "invoice_id": f"I{number}",
        "account_id": "A",
        "issued_on": START + dt.timedelta(days=issued),
        "due_on": START + dt.timedelta(days=issued + term),
        "amount": cents / 100,
        "currency": "EUR",
        "kind": "credit_note" if cents < 0 else "invoice",
    }


def payment(number: int, day: int, hour: int, cents: int, named: str | None = None) -> dict:
    moment = dt.datetime.combine(START, dt.time(hour), dt.UTC) + dt.timedelta(days=day)
    return {
        "payment_id": f"P{number}",
        "account_id": "A",
        "paid_at": moment,
        "amount": cents / 100,
        "invoice_id": named,
    }


@st.composite
def books(draw):
    cents = st.integers(1, 9_999)
    invoices = [
        invoice(
            i,
            draw(st.integers(0, 40)),
            draw(st.integers(-5, 40)),
            draw(cents) * draw(st.sampled_from([1, 1, 1, -1])),
        )
        for i in range(draw(st.integers(1, 6)))
    ]
    payments = []
    for i in range(draw(st.integers(0, 8))):
        named = draw(st.sampled_from([None, *invoices]))
        first = 0 if named is None else (named["issued_on"] - START).days
        payments.append(
            payment(
                i,
                draw(st.integers(first, first + 60)),
                draw(st.integers(0, 23)),
                draw(cents) * draw(st.sampled_from([1, 1, 1, -1])),
                None if named is None else named["invoice_id"],
            )
        )
    return invoices, payments


def load(invoices: list[dict], payments: list[dict]) -> Ledger:
    return Ledger.from_frames(accounts=[ACCOUNT], invoices=invoices, payments=payments or None)


def open_cents(ledger: Ledger, day: dt.datetime) -> dict[str, int]:
    rows = [{"account_id": "A", "as_of": day}]
    claims = Snapshot.from_rows(ledger, rows).claims
    return dict(
        zip(claims["invoice_id"].to_pylist(), claims["open_cents"].to_pylist(), strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(books(), st.integers(0, 110))
def test_open_amounts_are_within_bounds_and_conserve_money(book, day):
    invoices, payments = book
    moment = dt.datetime.combine(START, dt.time(), dt.UTC) + dt.timedelta(days=day)
    found = open_cents(load(invoices, payments), moment)
    known = [i for i in invoices if i["issued_on"] < moment.date()]
    amounts = {i["invoice_id"]: round(i["amount"] * 100) for i in known}
    assert all(0 < cents <= amounts[i] for i, cents in found.items())
    # Money that names a claim which is not known yet is not available to the others.
    paid = sum(
        round(p["amount"] * 100)
        for p in payments
        if p["paid_at"] < moment and (p["invoice_id"] is None or p["invoice_id"] in amounts)
    )
    owed = sum(amounts.values()) - paid
    # What is open is what is owed, unless the customer is in credit while nothing is open.
    assert sum(found.values()) == max(owed, 0) or (
        owed > sum(found.values()) and _returned(payments)
    )


def _returned(payments: list[dict]) -> bool:
    return any(p["amount"] < 0 for p in payments)


@settings(max_examples=40, deadline=None)
@given(books(), st.integers(0, 1_000))
def test_row_order_does_not_matter(book, seed):
    invoices, payments = book
    ledger = load(invoices, payments)
    shuffled = random.Random(seed)
    mixed = load(shuffled.sample(invoices, len(invoices)), shuffled.sample(payments, len(payments)))
    assert ledger.fingerprint == mixed.fingerprint
    assert ledger.timeline.settlements.equals(mixed.timeline.settlements)


@settings(max_examples=60, deadline=None)
@given(books(), st.integers(0, 110), st.integers(0, 23))
def test_the_future_changes_no_balance(book, day, hour):
    invoices, payments = book
    moment = dt.datetime.combine(START, dt.time(hour), dt.UTC) + dt.timedelta(days=day)
    past = [i for i in invoices if i["issued_on"] < moment.date()]
    known = {i["invoice_id"] for i in past}
    early = [
        p
        for p in payments
        if p["paid_at"] < moment and (p["invoice_id"] is None or p["invoice_id"] in known)
    ]
    if past:
        assert open_cents(load(invoices, payments), moment) == open_cents(load(past, early), moment)


@settings(max_examples=40, deadline=None)
@given(books())
def test_settlements_never_exceed_the_claim_at_any_time(book):
    ledger = load(*book)
    timeline = ledger.timeline
    amounts = dict(
        zip(
            timeline.claims["invoice"].to_pylist(),
            timeline.claims["cents"].to_pylist(),
            strict=True,
        )
    )
    running: dict[int, int] = {}
    for row in timeline.settlements.to_pylist():
        running[row["invoice"]] = running.get(row["invoice"], 0) + row["cents"]
        assert 0 <= running[row["invoice"]] <= amounts[row["invoice"]]
        assert row["paid_at"] <= row["known_at"]
        assert row["cents"] != 0


def test_unnamed_money_goes_to_the_oldest_due_claim():
    ledger = load([invoice(1, 0, 30, 5_000), invoice(2, 1, 10, 3_000)], [payment(1, 5, 9, 4_000)])
    day = dt.datetime(2026, 1, 7, tzinfo=dt.UTC)
    assert open_cents(ledger, day) == {"I1": 4_000}


def test_what_is_paid_too_much_waits_for_the_next_claim():
    ledger = load(
        [invoice(1, 0, 14, 5_000), invoice(2, 20, 14, 3_000)], [payment(1, 5, 9, 6_000, "I1")]
    )
    assert open_cents(ledger, dt.datetime(2026, 1, 20, tzinfo=dt.UTC)) == {}
    assert open_cents(ledger, dt.datetime(2026, 1, 22, tzinfo=dt.UTC)) == {"I2": 2_000}


def test_a_returned_payment_opens_the_claim_again():
    ledger = load(
        [invoice(1, 0, 14, 5_000)], [payment(1, 5, 9, 5_000), payment(2, 9, 9, -5_000, "I1")]
    )
    assert open_cents(ledger, dt.datetime(2026, 1, 8, tzinfo=dt.UTC)) == {}
    assert open_cents(ledger, dt.datetime(2026, 1, 11, tzinfo=dt.UTC)) == {"I1": 5_000}
    kinds = ledger.timeline.settlements["cents"].to_pylist()
    assert kinds == [5_000, -5_000]


def test_a_credit_note_settles_without_cash():
    ledger = load([invoice(1, 0, 14, 5_000), invoice(2, 3, 0, -2_000)], [])
    assert open_cents(ledger, dt.datetime(2026, 1, 8, tzinfo=dt.UTC)) == {"I1": 3_000}
    assert ledger.timeline.settlements["cash"].to_pylist() == [False]


def test_a_payment_on_the_day_of_issue_counts_from_midnight_on():
    ledger = load([invoice(1, 0, 14, 5_000)], [payment(1, 0, 10, 5_000, "I1")])
    assert open_cents(ledger, dt.datetime(2026, 1, 2, tzinfo=dt.UTC)) == {}
    row = ledger.timeline.settlements.to_pylist()[0]
    assert row["paid_at"] == dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC)
    assert row["known_at"] == dt.datetime(2026, 1, 1, 23, 59, 59, 999_999, tzinfo=dt.UTC)


@pytest.mark.parametrize("many", [False, True])
def test_the_quick_way_equals_the_replay(many):
    """Accounts whose payments all name their claim skip the replay; the result is the same."""
    rng = random.Random(3)
    invoices = [invoice(i, rng.randrange(30), 14, rng.randrange(100, 9_000)) for i in range(40)]
    payments = []
    for i, entry in enumerate(invoices):
        cents = round(entry["amount"] * 100)
        issued = (entry["issued_on"] - START).days
        payments.append(payment(i, issued + rng.randrange(40), 9, cents // 2, entry["invoice_id"]))
    quick = load(invoices, payments)
    # One returned payment on a claim of its own sends the whole account through the replay.
    extra = invoice(99, 0, 14, 1_000)
    slow = load(
        [*invoices, extra],
        [*payments, payment(98, 50, 9, 500, "I99"), payment(99, 60, 9, -500, "I99")],
    )
    day = dt.datetime(2026, 2, 1, tzinfo=dt.UTC) + dt.timedelta(days=60 * many)
    expected = open_cents(slow, day)
    assert expected.pop("I99") == (1_000)
    assert open_cents(quick, day) == expected
    assert pc.sum(quick.timeline.settlements["cents"]).as_py() == sum(
        round(p["amount"] * 100) for p in payments
    )
