"""Small frames that tests take apart."""

from __future__ import annotations

import datetime as dt

import pandas as pd


def frames() -> dict[str, pd.DataFrame]:
    """A sound little book; every table has rows."""
    utc = dt.UTC
    return {
        "accounts": pd.DataFrame(
            {
                "account_id": ["0001", "0002"],
                "customer_type": ["consumer", "business"],
                "country": ["DE", "DE"],
                "timezone": ["Europe/Berlin", None],
                "email_ok": [True, None],
            }
        ),
        "invoices": pd.DataFrame(
            {
                "invoice_id": ["I1", "I2", "I3"],
                "account_id": ["0001", "0001", "0002"],
                "issued_on": [dt.date(2026, 1, 5)] * 3,
                "due_on": [dt.date(2026, 1, 19)] * 3,
                "amount": [80.10, -10.0, 2500.0],
                "currency": ["EUR", "EUR", "CHF"],
                "kind": ["invoice", "credit_note", "invoice"],
            }
        ),
        "payments": pd.DataFrame(
            {
                "payment_id": ["P1", "P2"],
                "account_id": ["0001", "0002"],
                "paid_at": [
                    dt.datetime(2026, 1, 5, 10, tzinfo=utc),
                    dt.datetime(2026, 2, 5, 10, tzinfo=utc),
                ],
                "amount": [20.0, 2500.0],
                "invoice_id": ["I1", None],
            }
        ),
        "contacts": pd.DataFrame(
            {
                "contact_id": ["C1"],
                "account_id": ["0001"],
                "sent_at": [dt.datetime(2026, 1, 22, 10, tzinfo=utc)],
                "channel": ["email"],
                "tone": ["friendly"],
                "propensity": [0.5],
                "cost": [0.05],
            }
        ),
        "responses": pd.DataFrame(
            {
                "account_id": ["0001"],
                "at": [dt.datetime(2026, 1, 22, 11, tzinfo=utc)],
                "kind": ["opened"],
                "contact_id": ["C1"],
            }
        ),
        "holds": pd.DataFrame(
            {
                "account_id": ["0002"],
                "kind": ["dispute"],
                "from_on": [dt.date(2026, 1, 25)],
                "to_on": [dt.date(2026, 2, 25)],
            }
        ),
    }
