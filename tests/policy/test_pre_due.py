"""Contacts before the due date: only inside pre_due_days, and only where that is above 0."""

from __future__ import annotations

import numpy as np
import pytest

import collectopt as co
from collectopt.models import prevention
from collectopt.policy import Everybody, NextBestAction

AS_OF = "2026-02-05T06:00+01:00"
DUE = {
    "three": "2026-02-08",
    "five": "2026-02-10",
    "six": "2026-02-11",
    "ten": "2026-02-15",
    "today": "2026-02-05",
    "late": "2026-01-20",
}


def catalogue(pre_due_days):
    return co.Catalogue.from_dict(
        {
            "channels": [{"name": "email", "cost": 0.05}],
            "cadence_days": 1,
            "slots": {"hours": [9, 14]},
            "timezone": "Europe/Berlin",
            "limits": {"pre_due_days": pre_due_days},
        }
    )


@pytest.fixture(scope="module")
def ledger():
    return co.Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE",
             "timezone": "Europe/Berlin"}
            for a in (*DUE, "held")
        ],
        invoices=[
            {"invoice_id": f"I-{a}", "account_id": a, "issued_on": "2026-01-02", "due_on": due,
             "amount": 200.0, "currency": "EUR"}
            for a, due in {**DUE, "held": "2026-02-08"}.items()
        ],
        holds=[{"account_id": "held", "kind": "dispute", "from_on": "2026-01-20",
                "invoice_id": "I-held"}],
    )  # fmt: skip


class Response:
    """Every contact adds 5 points."""

    def __init__(self, catalogue):
        self.actions = catalogue.actions

    def effect_factors(self, X):
        del X
        return np.ones((1, 1)), np.where(self.actions.is_contact, 0.05, 0.0)[:, None]


def next_best(cat, kit):
    objective = co.ExpectedRecovery() - co.ContactCost()
    return NextBestAction(cat, payment=kit.Payment(), response=Response(cat), objective=objective)


def everybody(cat, kit):
    del kit
    return Everybody(cat)


@pytest.mark.parametrize("make", [next_best, everybody])
@pytest.mark.parametrize(
    ("pre_due_days", "contacted"),
    [
        (0, {"late"}),
        (5, {"late", "today", "three", "five"}),
        (10, {"late", "today", "three", "five", "six", "ten"}),
    ],
)
def test_a_contact_before_the_due_date_needs_leave(kit, ledger, make, pre_due_days, contacted):
    policy = make(catalogue(pre_due_days), kit).fit(ledger, AS_OF)
    rows = policy.decide(ledger, AS_OF).to_arrow().to_pylist()
    assert {r["account_id"] for r in rows if r["channel"] == "email"} == contacted
    refused = {r["account_id"]: str(r["rule_trace"]) for r in rows if r["channel"] == "none"}
    code = "PRE_DUE" if pre_due_days else "PAST_DUE"
    assert refused
    assert all(code in trace for trace in refused.values())
    early = [r for r in rows if r["channel"] == "email" and r["account_id"] != "late"]
    assert all(r["tone"] == "friendly" for r in early)


def test_the_policy_reaches_claims_of_the_list_within_its_days(kit, ledger):
    """The list has all claims that are not due; the policy those it has leave for."""

    class Payment(kit.Payment):
        event = "full"

        def predict(self, snapshot, horizons, level):
            assert level == "invoice"
            return super().predict(snapshot, horizons, "account")

    risk = co.models.late_risk(Payment(), co.Snapshot(ledger, AS_OF)).to_pandas()
    assert prevention.not_yet_due(co.Snapshot(ledger, AS_OF)).sum() == len(risk) + 1, "a hold"
    within = set(risk.loc[risk["days_to_due"] <= 5, "account_id"])
    policy = next_best(catalogue(5), kit).fit(ledger, AS_OF)
    rows = policy.decide(ledger, AS_OF).to_arrow().to_pylist()
    assert {r["account_id"] for r in rows if r["channel"] == "email"} == within | {"late"}
