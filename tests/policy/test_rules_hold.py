"""Over random books and catalogues: no rule is broken, limits hold, equal in gives equal out."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.policy import BestConstant, FixedLadder, NextBestAction
from collectopt.rules import Rules

SEEDS = st.integers(0, 10**6)
RUNS = settings(max_examples=25, deadline=None, derandomize=True)


def next_best(kit, frames, size=0.05, missing=0, without=()):
    catalogue = frames.parsed()
    rules = Rules.from_catalogue(catalogue)
    policy = NextBestAction(
        catalogue,
        payment=kit.Payment(missing=missing),
        response=kit.Response(catalogue, size),
        rules=rules.without(set(without) & set(rules.codes)),
    )
    return policy.fit(frames.ledger(), frames.as_of)


@RUNS
@given(seed=SEEDS, rng=st.integers(0, 5), size=st.sampled_from([0.3, 0.02, 0.0, -0.05]))
def test_next_best_action_breaks_no_rule(kit, seed, rng, size):
    frames = kit.frames(seed)
    kit.check(frames, next_best(kit, frames, size).decide(frames.ledger(), frames.as_of, rng=rng))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_baselines_break_no_rule(kit, seed):
    frames = kit.frames(seed)
    ledger, catalogue = frames.ledger(), frames.parsed()
    for policy in (FixedLadder(catalogue, days=(1, 5, 20)), BestConstant(catalogue)):
        decisions = policy.fit(ledger, frames.as_of).decide(ledger, frames.as_of)
        kit.check(frames, decisions)
        assert set(decisions.to_arrow()["propensity"].to_pylist()) <= {1.0}


def test_the_books_are_not_empty_of_contacts(kit):
    # else the tests above would prove nothing
    sent = []
    for seed in range(12):
        frames = kit.frames(seed)
        decisions = next_best(kit, frames, 0.3).decide(frames.ledger(), frames.as_of)
        sent.append(kit.check(frames, decisions))
    assert sum(sent) > 60
    assert sum(s > 0 for s in sent) > 6


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_same_inputs_give_the_same_bytes_in_any_order(kit, seed):
    frames = kit.frames(seed)

    def run(order):
        policy = next_best(kit, frames)
        table = policy.decide(frames.ledger(order), frames.as_of, rng=7).to_arrow()
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return table, sink.getvalue()

    (first, bytes_first), (second, bytes_second), (shuffled, _) = run(None), run(None), run(3)
    assert bytes_first == bytes_second
    assert first.equals(second)
    assert first.equals(shuffled)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_the_future_changes_nothing(kit, seed):
    frames = kit.frames(seed)
    policy = next_best(kit, frames)
    past = {
        name: [row for row in rows if _known(row, frames.as_of)]
        for name, rows in frames.tables.items()
        if name != "holds"
    }
    past["holds"] = frames.tables.get("holds", [])
    before = kit.Frames({**past}, frames.catalogue, frames.as_of)
    full = policy.decide(frames.ledger(), frames.as_of).to_arrow()
    assert policy.decide(before.ledger(), frames.as_of).to_arrow().equals(full)


def _known(row, as_of):
    at = row.get("decided_at") or row.get("sent_at") or row.get("paid_at") or row.get("at")
    return at is None or at < as_of


def test_accounts_without_a_forecast_wait_and_are_counted(kit):
    frames = kit.frames(3, explore=1.0)
    decisions = next_best(kit, frames, missing=6).decide(frames.ledger(), frames.as_of)
    kit.check(frames, decisions)
    stuck = [r for r in decisions.to_arrow().to_pylist() if int(r["account_id"]) < 6]
    assert stuck
    assert decisions.fallbacks == {"the models give no probability for it": len(stuck)}
    for row in stuck:
        assert row["channel"] == "none"
        assert row["propensity"] == 1
        assert row["p_pay"] is None
        assert "Could not be decided" in row["reasons"][0]


@pytest.mark.parametrize("size", [0.0, -0.1])
def test_without_an_effect_nothing_is_sent_that_costs_money(kit, size):
    for seed in range(4):
        frames = kit.frames(seed, explore=0.0)
        decisions = next_best(kit, frames, size).decide(frames.ledger(), frames.as_of)
        assert decisions.to_arrow()["channel"].unique().to_pylist() == ["none"]


CODES = (
    "HOLD_DISPUTE", "HOLD_PROMISE", "HOLD_PAYMENT_PLAN", "HOLD_INSOLVENCY", "HOLD_VULNERABLE",
    "HOLD_AGENCY", "HOLD_SERVICE", "PAST_DUE", "PRE_DUE", "OPTED_OUT", "CONSENT", "NO_ADDRESS",
    "SLOT_PAST", "HOURS", "QUIET_HOURS", "CONTACT_CAP", "FIRST_CONTACT_GENTLE", "MAX_TONE_STEP",
)  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_the_checker_sees_when_a_rule_is_missing(kit, code):
    """Without the rule some decision breaks it: the rule bites, and the checker would notice."""
    change = {"limits": {"pre_due_days": 0 if code == "PAST_DUE" else 3, "contacts_per_7_days": 2}}
    if code == "QUIET_HOURS":
        change["jurisdiction"] = "de"
    for seed in range(40):
        frames = kit.frames(seed, n=60, explore=1.0, **change)
        frames.catalogue["house"]["first_contact_gentle"] = True
        policy = next_best(kit, frames, 0.3, without=[code])
        try:
            kit.check(frames, policy.decide(frames.ledger(), frames.as_of, rng=seed))
        except AssertionError:
            return
    pytest.fail(f"nothing happened without {code}")
