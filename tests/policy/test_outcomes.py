"""What came of each decision: by hand, and nothing from after the time asked for."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from collectopt.policy import decision_outcomes
from collectopt.schema import Catalogue, Ledger
from collectopt.simulation import Book

DAY = datetime(2026, 2, 2, 6, tzinfo=UTC)
CATALOGUE = Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}],
        "cadence_days": 1,
        "slots": {"hours": [9]},
        "timezone": "UTC",
        "discount_rate": 0.0,
    }
)


def ledger(**change):
    tables = {
        "accounts": [
            {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
            for a in "ABC"
        ],
        "invoices": [
            {"invoice_id": f"I{a}{k}", "account_id": a, "issued_on": "2026-01-02",
             "due_on": "2026-01-20", "amount": amount, "currency": "EUR"}
            for a in "ABC" for k, amount in enumerate((60.0, 40.0))
        ],
        "contacts": [
            {"contact_id": f"c{a}", "account_id": a, "decided_at": DAY, "channel": channel,
             "sent_at": DAY + timedelta(hours=3), "tone": tone, "propensity": 0.4}
            for a, channel, tone in (("A", "email", "friendly"), ("B", "none", None),
                                     ("C", "email", "friendly"))
        ],
        "payments": [
            {"payment_id": "1", "account_id": "A", "amount": 60.0, "invoice_id": "IA0",
             "paid_at": DAY + timedelta(days=4)},
            {"payment_id": "2", "account_id": "A", "amount": 40.0, "invoice_id": "IA1",
             "paid_at": DAY + timedelta(days=10)},
            {"payment_id": "3", "account_id": "B", "amount": 30.0, "invoice_id": "IB0",
             "paid_at": DAY + timedelta(days=27)},
            {"payment_id": "4", "account_id": "C", "amount": 60.0, "invoice_id": "IC0",
             "paid_at": DAY + timedelta(days=29)},
        ],
        "responses": [
            {"account_id": "A", "at": DAY + timedelta(days=2), "kind": "promised",
             "contact_id": "cA", "amount": 100.0, "due_on": "2026-02-14"},
            {"account_id": "C", "at": DAY + timedelta(days=3), "kind": "complained",
             "contact_id": "cC"},
            {"account_id": "C", "at": DAY + timedelta(days=40), "kind": "opted_out",
             "contact_id": "cC"},
        ],
    }  # fmt: skip
    return Ledger.from_frames(**{**tables, **change})


def told(as_of):
    return decision_outcomes(ledger(), as_of, catalogue=CATALOGUE).set_index("account_id")


def test_by_hand():
    rows = told("2026-06-01")
    assert rows.past_due.tolist() == [100.0, 100.0, 100.0]
    assert rows.share.tolist() == pytest.approx([1.0, 0.3, 0.0])
    assert rows.cash.tolist() == pytest.approx([100.0, 30.0, 0.0])
    assert rows.paid.tolist() == [True, False, False]
    assert rows.promised.tolist() == [True, False, False]
    assert rows.complained.tolist() == [False, False, True]
    assert not rows.opted_out.any()  # after the horizon
    assert rows.over.all()
    sent = "email, friendly, 09:00 today"
    assert rows.action.tolist() == [sent, "wait", sent]
    assert (rows.decided_at == pd.Timestamp(DAY)).all()
    assert rows.weight.tolist() == [1, 1, 1]


def test_what_is_not_over_is_a_lower_bound():
    rows = told(DAY + timedelta(days=6))
    assert not rows.over.any()
    assert rows.share.tolist() == pytest.approx([0.6, 0.0, 0.0])
    assert rows.watched.tolist() == pytest.approx([6.0, 6.0, 6.0])
    assert rows.weight.tolist() == [0, 0, 0]


def test_later_facts_change_nothing():
    early = DAY + timedelta(days=9)
    cut = told(early)
    fewer = ledger(
        payments=[{"payment_id": "1", "account_id": "A", "amount": 60.0, "invoice_id": "IA0",
                   "paid_at": DAY + timedelta(days=4)}],
        responses=[
            {"account_id": "A", "at": DAY + timedelta(days=2), "kind": "promised",
             "contact_id": "cA", "amount": 100.0, "due_on": "2026-02-14"},
            {"account_id": "C", "at": DAY + timedelta(days=3), "kind": "complained",
             "contact_id": "cC"},
        ],
    )  # fmt: skip
    pd.testing.assert_frame_equal(
        cut, decision_outcomes(fewer, early, catalogue=CATALOGUE).set_index("account_id")
    )


def test_on_a_simulated_book_it_agrees_with_the_log():
    book = Book("shop", accounts=300, seed=3, weeks=30)
    rows = decision_outcomes(book.ledger(), book.as_of, catalogue=book.catalogue)
    over = rows[rows.over]
    assert len(over) > 500
    assert ((rows.share >= 0) & (rows.share <= 1)).all()
    # all paid means that all came in, but for what credit notes closed and discounting
    assert (over.share[over.paid] > 0.95).mean() > 0.95
    assert over.paid[over.share < 0.9].mean() < 0.02
    weighed = np.average(rows.paid, weights=rows.weight)
    assert weighed == pytest.approx(over.paid.mean(), abs=0.02)
    assert rows.weight.sum() == pytest.approx(len(rows), rel=0.01)
