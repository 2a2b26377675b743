"""Books of calls and messages whose truth is known by construction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from collectopt.schema import Ledger

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
AS_OF = "2026-12-01"


def ledger(contacts, responses=(), payments=(), accounts=None, **more):
    """Accounts in the order of their numbers, one claim each."""
    ids = accounts or sorted({c["account_id"] for c in contacts})
    return Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC",
             **more.get(a, {})}
            for a in ids
        ],
        invoices=[
            {"invoice_id": f"I{a}", "account_id": a, "issued_on": "2025-12-01",
             "due_on": "2025-12-15", "amount": 100.0, "currency": "EUR"}
            for a in ids
        ],
        contacts=list(contacts),
        responses=list(responses) or None,
        payments=list(payments) or None,
    )  # fmt: skip


def contact(account, number, day, hour=10.0, channel="phone", **more):
    return {
        "contact_id": f"{account}-{number}", "account_id": account, "channel": channel,
        "sent_at": START + timedelta(days=int(day), hours=float(hour)), "tone": "friendly", **more,
    }  # fmt: skip


def response(sent, kind="answered", hours=0.01, **more):
    return {
        "account_id": sent["account_id"], "at": sent["sent_at"] + timedelta(hours=hours),
        "kind": kind, "contact_id": sent["contact_id"], **more,
    }  # fmt: skip


def calls(truth, n, seed, hours=(9.0, 18.0)):
    """Make n calls an account, answered with truth[account, hour]; hours and days at random."""
    rng = np.random.default_rng(seed)
    contacts, responses = [], []
    for a in range(len(truth)):
        for k in range(n):
            h = int(rng.integers(len(hours)))
            made = contact(f"A{a:05d}", k, rng.integers(300), hours[h])
            contacts.append(made)
            if rng.random() < truth[a, h]:
                responses.append(response(made))
    return ledger(contacts, responses, accounts=[f"A{a:05d}" for a in range(len(truth))])
