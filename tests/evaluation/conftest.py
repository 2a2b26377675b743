"""A book small enough to check by hand."""

from __future__ import annotations

import pytest

import collectopt as co


def tiny_tables() -> dict[str, list[dict]]:
    """Two accounts, four claims; figures as of 2026-04-01 are worked out in test_kpis."""
    person = {"customer_type": "consumer", "country": "DE"}
    euro = {"currency": "EUR", "kind": "invoice"}

    def invoice(invoice_id, account_id, issued_on, due_on, amount, **more):
        ids = {"invoice_id": invoice_id, "account_id": account_id}
        return {**ids, "issued_on": issued_on, "due_on": due_on, "amount": amount, **euro, **more}

    def payment(payment_id, invoice_id, paid_at, amount):
        return {
            "payment_id": payment_id,
            "account_id": "A",
            "paid_at": f"{paid_at}+00:00",
            "amount": amount,
            "invoice_id": invoice_id,
        }

    def contact(contact_id, account_id, sent_at, channel, cost):
        return {
            "contact_id": contact_id,
            "account_id": account_id,
            "sent_at": f"{sent_at}+00:00",
            "channel": channel,
            "cost": cost,
        }

    return {
        "accounts": [{"account_id": "A", **person}, {"account_id": "B", **person}],
        "invoices": [
            invoice("I1", "A", "2026-01-01", "2026-01-11", 100.0),
            invoice("I2", "A", "2026-02-01", "2026-02-11", 200.0),
            invoice("I3", "B", "2026-03-20", "2026-04-20", 300.0),
            invoice("I4", "B", "2025-12-01", "2025-12-15", 80.0),
            invoice("I5", "B", "2026-01-20", "2026-01-20", -30.0, kind="credit_note"),
        ],
        "payments": [
            payment("P1", "I1", "2026-01-05T12:00", 40.0),
            payment("P2", "I1", "2026-01-31T12:00", 60.0),
            payment("P3", "I2", "2026-03-25T12:00", 50.0),
            payment("P4", "I2", "2026-04-02T12:00", 150.0),
        ],
        "contacts": [
            contact("C1", "A", "2026-02-20T09:00", "email", 0.05),
            contact("C2", "A", "2026-03-01T09:00", "phone", 4.5),
            contact("C3", "A", "2026-03-05T09:00", "none", None),
            contact("C4", "B", "2025-12-20T09:00", "letter", 1.2),
        ],
        "responses": [
            {
                "account_id": "A",
                "at": "2026-03-02T10:00+00:00",
                "kind": "complained",
                "contact_id": "C2",
            }
        ],
    }


@pytest.fixture(scope="session")
def tiny() -> co.Ledger:
    return co.Ledger.from_frames(**tiny_tables())
