"""Made-up inputs: a book small enough to check by hand, a backtest, decisions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

import collectopt as co
from collectopt.evaluation.result import BacktestResult
from collectopt.evaluation.splits import RollingSplit
from collectopt.schema.decisions import SCHEMA


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


def made_result(n: int = 4000, seed: int = 0) -> BacktestResult:
    """A backtest whose model is calibrated, beside a noisier rival and the base rate."""
    rng = np.random.default_rng(seed)
    split = RollingSplit.from_cuts(["2026-01-01", "2026-02-01", "2026-03-01"], end="2026-07-01")
    parts = []
    for horizon, shift in (("30D", -0.9), ("60D", -0.2), ("90D", 0.2)):
        signal = rng.normal(size=n)
        truth = 1 / (1 + np.exp(-(shift + signal)))
        noisy = 1 / (1 + np.exp(-(shift + 0.5 * signal + 0.4 * rng.normal(size=n))))
        cut = rng.integers(0, 3, size=n)
        instants = pa.array(np.array(split.cuts)[cut]).cast(pa.timestamp("us", tz="UTC"))
        parts.append(
            pa.table(
                {
                    "cut": instants,
                    "as_of": instants,
                    "account_id": [f"A{i % 900:04d}" for i in range(n)],
                    "invoice_id": pa.nulls(n, pa.string()),
                    "horizon": [horizon] * n,
                    "paid": rng.random(n) < truth,
                    "weight": np.ones(n),
                    "PaymentModel": truth,
                    "ShrunkenRate": noisy,
                    "BaseRate": np.full(n, truth.mean()),
                    "open": np.full(n, 100.0),
                    "share": (rng.random(n) < truth) * 1.0,
                    "share_expected": truth,
                }
            )
        )
    return BacktestResult(
        model="PaymentModel",
        rivals=("ShrunkenRate", "BaseRate"),
        event="full",
        level="account",
        horizons=("30D", "60D", "90D"),
        split=split,
        rows=pa.concat_tables(parts),
        excluded=pa.table({"cut": split.cuts, "horizon": ["90D"] * 3, "rows": [0, 12, 40]}),
        intervals=pa.table(
            {"cut": split.cuts, "n": [500, 600, 700], "coverage": [0.8, 0.79, 0.81]}
        ),
    )


def made_decisions(n: int = 600, seed: int = 0) -> co.Decisions:
    """Decisions of all kinds with plausible figures."""
    rng = np.random.default_rng(seed)
    channels = np.array(["none", "email", "sms", "letter", "phone"])
    cost = {"none": 0.0, "email": 0.05, "sms": 0.09, "letter": 1.2, "phone": 4.5}
    rows = []
    for i, channel in enumerate(channels[rng.choice(5, size=n, p=[0.45, 0.3, 0.1, 0.1, 0.05])]):
        acts = channel != "none"
        wait = float(rng.beta(2, 3))
        lift = float(rng.gamma(2, 0.012)) if acts else 0.0
        amount = float(rng.gamma(1.5, 120))
        rows.append(
            {
                "account_id": f"A{i:06d}",
                "channel": str(channel),
                "tone": str(rng.choice(["friendly", "neutral", "firm"])) if acts else None,
                "offer": str(rng.choice(["none", "instalments"])) if acts else None,
                "send_at": None,
                "propensity": float(rng.choice([0.951, 0.049 / rng.integers(20, 900)])),
                "p_pay": min(1.0, wait + lift),
                "p_pay_if_wait": wait,
                "expected_recovery": amount * min(1.0, wait + lift),
                "uplift": lift,
                "cost": cost[str(channel)],
                "value": amount * lift - cost[str(channel)],
                "runner_up": "email, friendly" if acts else None,
                "reasons": [f"{amount:.2f} EUR open for {i % 90} days"]
                + (["gentle tone: first contact"] if acts else ["waiting is worth most"]),
                "rule_trace": [f"H02 quiet hours: {i % 400} actions"] if i % 3 else [],
                "policy_version": "abc123",
                "decision_id": f"D{i:06d}",
            }
        )
    return co.Decisions(pa.Table.from_pylist(rows, schema=SCHEMA), prices={"phone": 1.72})
