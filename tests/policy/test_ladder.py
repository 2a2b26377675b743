"""The fixed ladder on books of one account: each step once, none skipped."""

from __future__ import annotations

import pytest

from collectopt.exceptions import InputError
from collectopt.policy import FixedLadder
from collectopt.schema import Catalogue, Ledger

CATALOGUE = Catalogue.from_dict(
    {
        "channels": [
            {"name": "phone", "cost": 4.0, "minutes": 5},
            {"name": "letter", "cost": 1.0},
            {"name": "email", "cost": 0.05},
        ],
        "cadence_days": 1,
        "slots": {"hours": [9, 14]},
        "timezone": "Europe/Berlin",
    }
)


def invoice(number, due, account="A"):
    return {
        "invoice_id": number, "account_id": account, "issued_on": "2026-01-01", "due_on": due,
        "amount": 80.0, "currency": "EUR",
    }  # fmt: skip


def contact(number, at, tone="friendly"):
    return {
        "contact_id": number, "account_id": "A", "sent_at": f"{at}T08:00Z", "channel": "email",
        "tone": tone,
    }  # fmt: skip


def decide(as_of, contacts=(), invoices=None, days=(3, 14, 28), cat=CATALOGUE, **tables):
    ledger = Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE",
             "timezone": "Europe/Berlin"}
            for a in "AB"
        ],
        invoices=[invoice("I1", "2026-01-10")] if invoices is None else invoices,
        contacts=list(contacts) or None,
        **tables,
    )  # fmt: skip
    ladder = FixedLadder(cat, days=days)
    return ladder.fit(ledger, as_of).decide(ledger, as_of).to_arrow().to_pylist()


def first(*args, **kwargs):
    row = decide(*args, **kwargs)[0]
    return row["channel"], row["tone"]


def test_steps_take_the_next_channel_by_cost_and_the_next_tone():
    ladder = FixedLadder(CATALOGUE, days=(3, 14, 28, 40))
    assert ladder.steps == (
        ("email", "friendly"), ("letter", "neutral"), ("letter", "firm"), ("letter", "firm"),
    )  # fmt: skip


def test_first_step_from_its_day_on():
    assert first("2026-01-12") == ("none", None)
    assert first("2026-01-13") == ("email", "friendly")
    row = decide("2026-01-13")[0]
    assert row["reasons"] == ["Step 1 of 3 of the ladder (day 3): 3 days past due."]
    assert row["send_at"].isoformat() == "2026-01-13T08:00:00+00:00"


def test_a_step_is_sent_once_and_the_next_only_after_it():
    one = [contact("c1", "2026-01-13")]
    assert first("2026-01-20", one) == ("none", None)
    assert first("2026-01-24", one) == ("letter", "neutral")
    two = [*one, contact("c2", "2026-01-24", tone="neutral")]
    assert first("2026-02-06", two) == ("none", None)
    assert first("2026-02-07", two) == ("letter", "firm")
    three = [*two, contact("c3", "2026-02-07", tone="firm")]
    assert first("2026-06-01", three) == ("none", None)


def test_late_start_climbs_step_by_step():
    assert first("2026-03-01") == ("email", "friendly")
    one = [contact("c1", "2026-03-01")]
    assert first("2026-03-02", one) == ("none", None), "eleven days lie between the steps"
    assert first("2026-03-12", one) == ("letter", "neutral")


def test_another_oldest_claim_starts_the_ladder_again_and_skips_nothing():
    invoices = [invoice("I1", "2026-01-10"), invoice("I2", "2026-02-01")]
    contacts = [contact("c1", "2026-01-13"), contact("c2", "2026-01-24", tone="neutral")]
    assert first("2026-02-20", contacts, invoices) == ("letter", "firm")
    paid = [{"payment_id": "P", "account_id": "A", "paid_at": "2026-02-10T08:00Z",
             "amount": 80.0, "invoice_id": "I1"}]  # fmt: skip
    assert first("2026-02-20", contacts, invoices, payments=paid) == ("email", "friendly")


def test_returned_payment_opens_the_older_claim_again_without_a_jump():
    invoices = [invoice("I1", "2026-01-10"), invoice("I2", "2026-02-01")]
    payments = [
        {"payment_id": p, "account_id": "A", "paid_at": f"{at}T08:00Z", "amount": amount,
         "invoice_id": "I1"}
        for p, at, amount in (("P1", "2026-01-12", 80.0), ("P2", "2026-02-15", -80.0))
    ]  # fmt: skip
    contacts = [contact("c1", "2026-02-05")]
    assert first("2026-02-14", contacts, invoices, payments=payments) == ("none", None)
    assert first("2026-02-20", contacts, invoices, payments=payments) == ("letter", "neutral")


def test_another_channel_where_the_own_one_is_not_permitted():
    ledger = Ledger.from_frames(
        accounts=[
            {
                "account_id": "A",
                "customer_type": "consumer",
                "country": "DE",
                "email_ok": False,
                "timezone": "Europe/Berlin",
            }
        ],
        invoices=[invoice("I1", "2026-01-10")],
    )
    row = FixedLadder(CATALOGUE).decide(ledger, "2026-01-20").to_arrow().to_pylist()[0]
    assert (row["channel"], row["tone"]) == ("letter", "friendly")


def test_larger_debts_go_first_where_a_capacity_is_short():
    cat = Catalogue.from_dict(
        {"channels": [{"name": "email", "capacity": 1}], "slots": {"hours": [9]}}
    )
    invoices = [invoice("I1", "2026-01-10"), {**invoice("I2", "2026-01-10", "B"), "amount": 90.0}]
    rows = decide("2026-01-20", invoices=invoices, cat=cat)
    assert [row["channel"] for row in rows] == ["none", "email"]
    assert "scarce" in rows[0]["reasons"][0]
    assert rows[1]["value"] is None, "a ladder knows no probabilities"


@pytest.mark.parametrize("days", [(), (0, 5), (5, 5), (9, 3)])
def test_days_rise_from_one(days):
    with pytest.raises(InputError, match="rising days past due"):
        FixedLadder(CATALOGUE, days=days)
