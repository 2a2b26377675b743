"""The panel of logged decisions, the best constant and effects: what is learnt and when not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.exceptions import NotFittedError
from collectopt.policy import BestConstant, NextBestAction
from collectopt.policy.constant import expected, weighted_mean
from collectopt.policy.effects import Effects, learn
from collectopt.policy.panel import decision_panel, encode
from collectopt.schema import Catalogue, DecisionLog, Ledger, Snapshot

CATALOGUE = Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
        "cadence_days": 2,
        "slots": {"hours": [9, 14]},
        "tones": {"order": ["friendly", "firm"]},
        "timezone": "UTC",
    }
)
DAY = datetime(2026, 2, 2, 6, tzinfo=UTC)


def account(a):
    return {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}


def invoice(a, due="2026-01-20", amount=100.0, number=""):
    return {
        "invoice_id": f"I{a}{number}", "account_id": a, "issued_on": "2026-01-02", "due_on": due,
        "amount": amount, "currency": "EUR",
    }  # fmt: skip


def decision(a, at=DAY, channel="email", tone="friendly", p=0.2, number="", **more):
    return {
        "contact_id": f"c{a}{number}", "account_id": a, "sent_at": at + timedelta(hours=3),
        "decided_at": at, "channel": channel, "tone": None if channel == "none" else tone,
        "propensity": p, **more,
    }  # fmt: skip


def payment(a, days, amount=100.0):
    return {
        "payment_id": f"P{a}{days}", "account_id": a, "paid_at": DAY + timedelta(days=days),
        "amount": amount, "invoice_id": f"I{a}",
    }  # fmt: skip


def book(ids, contacts, payments=(), invoices=None, **tables):
    return Ledger.from_frames(
        accounts=[account(a) for a in ids],
        invoices=invoices or [invoice(a) for a in ids],
        contacts=contacts,
        payments=list(payments) or None,
        **tables,
    )


def panel(ledger, as_of="2026-06-01", horizon="28D"):
    log, _, snapshot = decision_panel(ledger, as_of, horizon=horizon, catalogue=CATALOGUE)
    return dict(
        zip(
            snapshot.rows["account_id"].to_pylist(),
            zip(log.action, log.reward, log.observed, log.propensity, strict=True),
            strict=True,
        )
    )


def test_outcome_is_everything_past_due_paid_within_the_horizon():
    ids = list("ABCDE")
    payments = [payment("A", 5), payment("B", 27), payment("C", 40), payment("D", 5, 99.0)]
    rows = panel(book(ids, [decision(a) for a in ids], payments))
    assert [rows[a][1] for a in ids] == [1, 1, 0, 0, 0]
    assert all(row[2] for row in rows.values())


def test_a_horizon_that_is_not_over_is_not_observed_even_where_paid():
    ids = list("AB")
    ledger = book(ids, [decision(a) for a in ids], [payment("A", 5)])
    rows = panel(ledger, as_of=DAY + timedelta(days=20))
    assert not rows["A"][2]
    assert not rows["B"][2]
    assert all(row[2] for row in panel(ledger, as_of=DAY + timedelta(days=28)).values())


def test_a_claim_closed_by_a_credit_note_is_neither_paid_nor_unpaid():
    note = {**invoice("A", number="x"), "issued_on": "2026-02-10", "due_on": "2026-02-10",
            "amount": -100.0, "kind": "credit_note"}  # fmt: skip
    ledger = book(["A"], [decision("A")], invoices=[invoice("A"), note])
    assert not panel(ledger)["A"][2]


def test_rows_that_teach_nothing_are_left_out():
    ids = list("ABCDEF")
    contacts = [
        decision("A", p=None),
        decision("B", channel="visit"),
        decision("C", at=DAY - timedelta(days=20)),  # nothing past due yet
        decision("D", at=datetime(2026, 6, 1, tzinfo=UTC)),  # not before as_of
        decision("E"),
        decision("E", channel="letter", number="2"),  # the same moment again
        decision("F", channel="none", p=0.8),
    ]
    rows = panel(book(ids, contacts))
    assert set(rows) == {"E", "F"}
    assert rows["F"][0] == 0
    assert rows["F"][3] == 0.8


def test_actions_are_found_by_factors_and_nearest_slot():
    contacts = [
        decision("A", tone="firm"),  # at nine
        decision("B", channel="letter", sent_at=DAY + timedelta(hours=7)),
        decision("C", sent_at=DAY + timedelta(days=1, hours=9), tone=None),
        decision("D", channel="none"),
        decision("E", channel="sms"),
        decision("F", offer="instalments"),
    ]
    ledger = book(list("ABCDEF"), contacts)
    actions = CATALOGUE.actions
    found = [
        str(actions[k]) if k >= 0 else None
        for k in encode(ledger.timeline.contacts, ledger, actions)
    ]
    assert found == [
        "email, firm, 09:00 today", "letter, friendly, 14:00 today",
        "email, friendly, 14:00 tomorrow", "wait", None, None,
    ]  # fmt: skip


def test_from_ledger_is_the_same_log():
    ledger = book(list("AB"), [decision("A"), decision("B", channel="none")])
    log = DecisionLog.from_ledger(ledger, "2026-06-01", horizon="28D", catalogue=CATALOGUE)
    assert len(log) == 2
    assert log.names
    assert log.X.shape == (2, len(log.names))


def trial(effect, n=400, seed=0, p=0.5):
    """A coin decides between a letter and nothing; a letter adds `effect` to P(paid) = 0.3."""
    rng = np.random.default_rng(seed)
    ids = [f"{i:04d}" for i in range(n)]
    letter = rng.random(n) < p
    paid = rng.random(n) < 0.3 + effect * letter
    contacts = [
        decision(a, channel="letter" if sent else "none", p=0.5)
        for a, sent in zip(ids, letter, strict=True)
    ]
    days = rng.uniform(4, 25, n)
    payments = [payment(a, float(d)) for a, d, hit in zip(ids, days, paid, strict=True) if hit]
    return book(ids, contacts, payments)


def test_best_constant_takes_what_works_and_waits_where_nothing_does():
    works = BestConstant(CATALOGUE).fit(trial(0.4), "2026-06-01").arm
    assert (works.channel, works.tone, works.offer) == ("letter", "friendly", "none")
    assert works.p - works.p_wait == pytest.approx(0.4, abs=4 * works.stderr)
    for seed in range(4):
        idle = BestConstant(CATALOGUE).fit(trial(0.0, seed=seed), "2026-06-01").arm
        assert idle.channel is None
        harm = BestConstant(CATALOGUE).fit(trial(-0.2, seed=seed), "2026-06-01").arm
        assert harm.channel is None


def test_best_constant_does_not_take_what_costs_more_than_it_brings():
    dear = Catalogue.from_dict(
        {**CATALOGUE.to_dict(), "channels": [{"name": "letter", "cost": 60.0}]}
    )
    assert BestConstant(dear).fit(trial(0.4), "2026-06-01").arm.channel is None


def test_best_constant_decides_within_the_rules():
    ledger = trial(0.4)
    policy = BestConstant(CATALOGUE).fit(ledger, "2026-06-01")
    table = policy.decide(ledger, "2026-06-01").to_arrow()
    assert set(table["channel"].to_pylist()) == {"letter"}
    assert "best constant action" in table["reasons"][0].as_py()[0]
    assert table["uplift"][0].as_py() == pytest.approx(0.4, abs=0.15)


def test_without_propensities_the_gentlest_cheap_action():
    ledger = book(list("AB"), [decision("A", p=None)])
    arm = BestConstant(CATALOGUE).fit(ledger, "2026-06-01").arm
    assert (arm.channel, arm.tone) == ("email", "friendly")
    assert "no decisions to compare" in arm.note
    with pytest.raises(NotFittedError):
        _ = BestConstant(CATALOGUE).arm


def test_weighted_mean_and_expectation_by_hand():
    mean, stderr = weighted_mean(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    assert mean == 0.5
    assert stderr == pytest.approx(np.sqrt(4 * 0.25 + 0.25 + 0.25) / 4)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = 0.5 * X[:, 0] + rng.normal(size=2000) * 0.1
    X[:5, 1] = np.nan
    rest = y - expected(X, y, np.arange(2000))
    assert rest.std() < 0.6 * y.std()


@pytest.mark.parametrize(
    ("ledger", "why"),
    [
        (lambda: book(["A"], [decision("A", p=None)]), "no contacts with propensities"),
        (lambda: book(["A"], [decision("A", p=1.0)]), "every logged contact was certain"),
        (lambda: trial(0.2, n=60), "only 60 logged decisions"),
        (lambda: trial(0.2, p=0.01), r"only \d+ logged decisions to contact, or to wait"),
    ],
)
def test_effects_are_assumed_where_the_log_teaches_nothing(ledger, why):
    effects, _ = learn(None, ledger(), np.datetime64("2026-06-01", "us"), CATALOGUE)
    assert effects.model is None
    assert effects.note.startswith("The effect of the contact is assumed, not learnt: ")
    assert re.search(why, effects.note)


def test_effects_are_learnt_from_a_trial(kit):
    ledger = trial(0.4)
    policy = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(ledger, "2026-06-01")
    snapshot = Snapshot(ledger, "2026-06-01")
    (theta, phi), proceeds = policy.effects_.factors(snapshot, CATALOGUE.actions)
    letters = CATALOGUE.actions.channel == 1
    assert (theta @ phi.T)[0, letters] == pytest.approx(0.4, abs=0.15)
    assert proceeds is not None
    assert (proceeds[0] @ proceeds[1].T)[0, letters] == pytest.approx(0.4, abs=0.15)
    assert policy.effects_.note == ""
    table = policy.decide(ledger, "2026-06-01").to_arrow()
    assert set(table["channel"].to_pylist()) <= {"letter", "email"}
    none = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(trial(0.0), "2026-06-01")
    assert "shows no effect" in none.effects_.note
    waits = none.decide(ledger, "2026-06-01").to_arrow()
    assert set(waits["channel"].to_pylist()) == {"none"}
    assert any("shows no effect" in reason for reason in waits["reasons"][0].as_py())


def test_assumed_effects_say_so_on_the_decision(kit):
    ledger = book(
        list("AB"), [decision("A", p=None)], invoices=[invoice(a, amount=900.0) for a in "AB"]
    )
    policy = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(ledger, "2026-06-01")
    decisions = policy.decide(ledger, "2026-06-01")
    text = str(decisions.explain("B"))
    assert decisions.to_arrow()["channel"].to_pylist() != ["none", "none"]
    assert "The effect of the contact is assumed, not learnt" in text
    again = Effects.from_dict(policy.effects_.to_dict(), None)
    assert again == policy.effects_
