"""Snapshots see what was known, no more and no less."""

# ruff: noqa: E501
from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from collectopt.exceptions import InputError
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

DAY = dt.date(2026, 1, 5)


def book(**more) -> Ledger:
    accounts = [
        {"account_id": "A", "customer_type": "consumer", "country": "DE", "timezone": zone}
        for zone in ("Europe/Berlin",)
    ] + [{"account_id": "B", "customer_type": "consumer", "country": "US"}]
    invoices = [
        {"invoice_id": "1", "account_id": "A", "issued_on": DAY, "due_on": dt.date(2026, 1, 19),
         "amount": 10, "currency": "EUR"},
        {"invoice_id": "2", "account_id": "A", "issued_on": dt.date(2026, 1, 9),
         "due_on": dt.date(2026, 1, 12), "amount": 20, "currency": "EUR"},
        {"invoice_id": "3", "account_id": "B", "issued_on": DAY, "due_on": dt.date(2026, 1, 6),
         "amount": 5, "currency": "USD"},
    ]  # fmt: skip
    return Ledger.from_frames(accounts=accounts, invoices=invoices, **more)


def test_one_row_per_account_with_an_open_claim():
    snapshot = Snapshot(book(), "2026-01-20")
    assert snapshot.rows["account_id"].to_pylist() == ["A", "B"]
    assert len(Snapshot(book(), "2026-01-05")) == 0


def test_a_claim_is_known_from_the_next_local_midnight_on():
    ledger = book()
    before = Snapshot(ledger, "2026-01-05T22:59:59.999999Z")  # 23:59:59 in Berlin
    after = Snapshot(ledger, "2026-01-05T23:00:00Z")
    assert before.rows["account_id"].to_pylist() == []
    assert after.rows["account_id"].to_pylist() == ["A"]  # B lives on UTC


def test_past_due_begins_with_the_local_day_after_the_due_date():
    ledger = book()
    for moment, late in (("2026-01-12T22:59Z", False), ("2026-01-12T23:00Z", True)):
        claims = Snapshot(ledger, moment).claims.to_pandas().set_index("invoice_id")
        assert bool(claims.loc["2", "past_due"]) is late
    assert claims.loc["2", "dpd"] == 1


def test_rows_keep_their_order_and_may_name_claims():
    rows = pd.DataFrame(
        {
            "account_id": ["B", "A", "A"],
            "as_of": [dt.date(2026, 1, 8), dt.date(2026, 1, 9), dt.date(2026, 2, 1)],
            "invoice_id": [None, "2", "1"],
        }
    )
    snapshot = Snapshot.from_rows(book(), rows)
    assert snapshot.rows["account_id"].to_pylist() == ["B", "A", "A"]
    assert snapshot.as_of[1] == np.datetime64("2026-01-08T23:00", "us")  # midnight in Berlin
    claims = snapshot.claims.to_pandas()
    # A claim that is issued on the very day is known to the row that is about it.
    assert claims[claims["row"] == 1]["invoice_id"].tolist() == ["2", "1"]
    assert claims[claims["subject"]]["invoice_id"].tolist() == ["2", "1"]
    other = Snapshot.from_rows(book(), rows.drop(columns="invoice_id")).claims.to_pandas()
    assert other[other["row"] == 1]["invoice_id"].tolist() == ["1"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"account_id": "X", "as_of": "2026-01-09"}, "an account_id of the ledger; found 'X'"),
        ({"account_id": "A", "as_of": "2026-01-08", "invoice_id": "2"}, "an invoice issued by then"),
        ({"account_id": "A", "as_of": "2026-02-08", "invoice_id": "3"}, "an invoice of this account"),
        ({"account_id": "A", "as_of": "2026-02-08T08:00"}, "with its UTC offset"),
        ({"account_id": "A"}, r"rows\.as_of: expected this column"),
    ],
)  # fmt: skip
def test_rows_that_make_no_sense(row, message):
    with pytest.raises(InputError, match=message):
        Snapshot.from_rows(book(), [row])


def test_levels():
    snapshot = Snapshot(book(), "2026-01-20")
    claims = snapshot.to_invoice_level()
    assert claims.rows["invoice_id"].to_pylist() == ["2", "1", "3"]
    assert claims.rows["row"].to_pylist() == [0, 1, 2]
    back = claims.to_account_level()
    assert back.rows["invoice_id"].null_count == 3
    mixed = Snapshot.from_rows(
        book(),
        [
            {"account_id": "A", "as_of": "2026-01-20", "invoice_id": "1"},
            {"account_id": "A", "as_of": "2026-01-20", "invoice_id": None},
        ],
    ).to_invoice_level()
    assert mixed.rows["invoice_id"].to_pylist() == ["1", "2", "1"]


def test_take():
    snapshot = Snapshot(book(), "2026-01-20").take(np.array([1]))
    assert snapshot.rows["account_id"].to_pylist() == ["B"]
    assert set(snapshot.claims["row"].to_pylist()) == {0}


def test_taken_rows_keep_the_claims_that_are_known_already():
    rows = [
        {"account_id": a, "as_of": f"2026-01-{day:02}T12:00Z"}
        for a in "AB"
        for day in (5, 6, 14, 20)
    ]
    snapshot, fresh = (Snapshot.from_rows(book(), rows) for _ in range(2))
    order = np.array([7, 3, 3, 0, 5, 2])
    assert len(snapshot.claims)
    assert snapshot.take(order).claims.equals(fresh.take(order).claims)


def hold(kind: str, start: dt.date, end: dt.date | None = None, invoice: str | None = None):
    return {"account_id": "A", "kind": kind, "from_on": start, "to_on": end, "invoice_id": invoice}


def test_holds_start_at_the_next_midnight_and_end_on_the_first_free_day():
    ledger = book(holds=[hold("dispute", dt.date(2026, 1, 14), dt.date(2026, 1, 20))])
    active = {day: len(Snapshot(ledger, f"2026-01-{day}T12:00Z").holds) for day in (14, 15, 19, 20)}
    assert active == {14: 0, 15: 1, 19: 1, 20: 0}


def test_a_hold_on_a_claim_holds_that_claim_alone():
    ledger = book(holds=[hold("dispute", dt.date(2026, 1, 14), invoice="1")])
    claims = Snapshot(ledger, "2026-02-01").claims.to_pandas().set_index("invoice_id")
    assert claims["held"].to_dict() == {"2": False, "1": True, "3": False}


@pytest.mark.parametrize(
    ("kind", "response"), [("payment_plan", "plan_broken"), ("dispute", "dispute_resolved")]
)
def test_a_response_ends_the_hold_it_belongs_to(kind, response):
    moment = dt.datetime(2026, 1, 22, 10, tzinfo=dt.UTC)
    ledger = book(
        holds=[hold(kind, dt.date(2026, 1, 14)), hold("service", dt.date(2026, 1, 14))],
        responses=[{"account_id": "A", "at": moment, "kind": response}],
    )
    kinds = [Snapshot(ledger, d).holds["kind"].to_pylist() for d in ("2026-01-22", "2026-01-23")]
    assert kinds == [sorted([kind, "service"]), ["service"]]


def test_ten_year_old_claims_count():
    accounts = [{"account_id": "A", "customer_type": "business", "country": "DE"}]
    invoices = [
        {"invoice_id": "1", "account_id": "A", "issued_on": "2015-01-05", "due_on": "2014-12-01",
         "amount": 10, "currency": "EUR"}
    ]  # fmt: skip
    snapshot = Snapshot(Ledger.from_frames(accounts=accounts, invoices=invoices), "2026-01-05")
    assert snapshot.claims["dpd"].to_pylist() == [4053]


def test_all_paid_is_an_empty_snapshot():
    paid = [
        {"payment_id": "p1", "account_id": "A", "paid_at": "2026-01-12T08:00Z", "amount": 30},
        {"payment_id": "p2", "account_id": "B", "paid_at": "2026-01-12T08:00Z", "amount": 5},
    ]
    snapshot = Snapshot(book(payments=paid), "2026-02-01")
    assert len(snapshot) == len(snapshot.claims) == len(snapshot.to_invoice_level()) == 0
