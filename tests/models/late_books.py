"""Tables of small books whose claims come in late or early, for the tests of lateness."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

DAY = dt.timedelta(days=1)


def bill(key, issued, due, amount, paperless):
    """An invoice; the account is the first part of its name."""
    return {
        "invoice_id": key, "account_id": key.split("-")[0], "issued_on": issued, "due_on": due,
        "amount": amount, "currency": "EUR", "paperless": paperless,
    }  # fmt: skip


def payment(key, day, amount, zone="Europe/Berlin"):
    """A payment of it, at noon."""
    at = dt.datetime.combine(day, dt.time(12), ZoneInfo(zone))
    return {
        "payment_id": key, "account_id": key.split("-")[0], "invoice_id": key,
        "paid_at": at.isoformat(), "amount": amount,
    }  # fmt: skip


def people(n):
    return [
        {"account_id": f"A{a:03d}", "customer_type": "business", "country": "DE"} for a in range(n)
    ]


def with_returns(payments, rng, share=0.15):
    """Some payments are returned within nine days and come again twenty days later."""
    more = []
    for p in payments:
        if rng.random() < share:
            at = dt.datetime.fromisoformat(p["paid_at"]) + int(rng.integers(9)) * DAY
            for k, (day, sign) in enumerate([(at, -1.0), (at + 20 * DAY, 1.0)]):
                changed = {"payment_id": f"{p['payment_id']}-{k}", "paid_at": day.isoformat()}
                more.append({**p, **changed, "amount": sign * p["amount"]})
    return payments + more


def with_notes(invoices, rng, share=0.1):
    """Some claims are credited on the day of issue."""
    notes = [
        {**i, "invoice_id": f"N-{i['invoice_id']}", "kind": "credit_note", "amount": -i["amount"]}
        for i in invoices
        if rng.random() < share
    ]
    return [{**i, "kind": "invoice"} for i in invoices] + notes


def ledger_of(accounts, invoices, payments, **more):
    return Ledger.from_frames(
        accounts=accounts, invoices=invoices, payments=payments, features=["paperless"], **more
    )


def asked(ledger, since, wait=0):
    """Claims issued from a day on, asked about so many days after their issue."""
    rows = [
        {
            "account_id": r["account_id"],
            "as_of": r["issued_on"] + wait * DAY,
            "invoice_id": r["invoice_id"],
        }
        for r in ledger.invoices.to_pylist()
        if r["issued_on"].isoformat() >= since
    ]
    return Snapshot.from_rows(ledger, rows)
