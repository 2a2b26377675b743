"""What else was possible stands beside each decision, with its worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.policy import FixedLadder, NextBestAction, Split
from collectopt.policy.engine import Setting, choose
from collectopt.policy.overrides import Overrides
from collectopt.policy.valued import LadderCase
from collectopt.rules.layout import Layout
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
from collectopt.schema.decisions import CANDIDATES
from collectopt.schema.snapshot import Snapshot

SEEDS = st.integers(0, 10**6)


def next_best(kit, frames, size=0.3):
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, kit.Payment(), kit.Response(catalogue, size))
    return policy.fit(frames.ledger(), frames.as_of)


@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_candidates_are_the_best_of_each_class_by_brute_force(kit, seed):
    frames = kit.frames(seed)
    policy = next_best(kit, frames)
    actions, ledger = policy.catalogue.actions, frames.ledger()
    decisions = policy.decide(ledger, frames.as_of, rng=seed)
    snapshot = Snapshot(ledger, frames.as_of)
    layout = Layout.of(actions)
    state = policy._aware(snapshot, State.of(snapshot, policy.catalogue, layout))
    every = slice(0, len(state))
    allowed = policy.rules.evaluate(state, layout, every).permitted()
    case, _ = policy._case(snapshot, state)
    values = np.where(allowed, case.values(every), -np.inf)
    values[:, 0] = 0.0
    setting = Setting(snapshot, policy.catalogue, policy.rules, layout, state, 0.0, 0, "")
    usage = setting.resources[1].tolist()
    keys = [(actions.kind[k], actions.channel[k], *usage[k]) for k in range(len(actions))]
    yields = choose(setting, case).wanted.yields
    worth = decisions.table["value"].to_pylist()
    for i, found in enumerate(decisions.candidates.to_pylist()):
        assert 1 <= len(found) <= 5
        first, *others = [(one["action"], one["value"]) for one in found]
        assert first[1] == pytest.approx(worth[i])
        best = {}
        for k in range(len(actions)):
            stop = actions.kind[k] == ActionKind.STOP and values[i, k] <= 0
            if np.isfinite(values[i, k]) and not stop and not (k and yields[i]):
                best.setdefault(keys[k], []).append((values[i, k], -k))
        top = [max(each) for each in best.values()]
        left = sorted((v for v, k in top if actions.names[-k] != first[0]), reverse=True)
        assert [v for _, v in others] == pytest.approx(left[:4])
        for name, value in others:
            assert any(
                np.isclose(values[i, k], value) for k, n in enumerate(actions.names) if n == name
            )


def test_a_ladder_knows_no_worth_and_explanations_name_what_else_was_possible(kit):
    frames = kit.frames(3)
    ladder = FixedLadder(frames.parsed(), days=(1, 5, 20)).decide(frames.ledger(), frames.as_of)
    assert {one["value"] for each in ladder.candidates.to_pylist() for one in each} == {None}
    policy = next_best(kit, frames)
    decisions = policy.decide(frames.ledger(), frames.as_of)
    many = [i for i, each in enumerate(decisions.candidates.to_pylist()) if len(each) > 1]
    account = decisions.table["account_id"][many[0]].as_py()
    said = decisions.explain(account)
    assert said.candidates
    name, value = said.candidates[0]
    assert f"also possible: {name} ({value:+,.2f} EUR)" in str(said)
    assert "also possible" not in str(replace(decisions, candidates=None).explain(account))


def test_accounts_left_to_the_ladder_tell_euros_too(kit):
    frames = kit.frames(11)
    policy = next_best(kit, frames)
    snapshot = Snapshot(frames.ledger(), frames.as_of)
    layout = Layout.of(policy.catalogue.actions)
    state = State.of(snapshot, policy.catalogue, layout)
    case, _ = policy._own_case(snapshot, state)
    rungs = FixedLadder(policy.catalogue)._case(snapshot, state)[0]
    n, every = len(state), slice(0, len(state))
    mixed = LadderCase(case, rungs, np.arange(n) % 2 == 0)
    rng = np.random.default_rng(0)
    action = rng.integers(0, len(policy.catalogue.actions), (n, 3))
    best = np.take_along_axis(mixed.values(every), action, axis=1)
    euros = np.take_along_axis(case.values(every), action, axis=1)
    told = mixed.told(slice(2, n), best[2:], action[2:])
    assert told == pytest.approx(euros[2:])
    assert not np.allclose(best[2:], euros[2:])


def test_candidates_survive_splitting_and_rechecking(kit):
    frames = kit.frames(3)
    policy, ledger = next_best(kit, frames), frames.ledger()
    decisions = policy.decide(ledger, frames.as_of)
    accounts = decisions.table["account_id"].to_pylist()
    split = Split(policy, {"ladder": (FixedLadder(policy.catalogue), 0.5)}, salt="s")
    both = split.decide(ledger, frames.as_of)
    assert both.candidates.type == CANDIDATES
    assert len(both.candidates) == len(both)
    said = dict(zip(both.table["account_id"].to_pylist(), both.candidates.to_pylist(), strict=True))
    arms = dict(zip(accounts, split.arms_of(ledger, accounts), strict=True))
    for account, each in said.items():
        if arms[account] == "ladder":
            assert {one["value"] for one in each} == {None}
    for made, by in ((decisions, policy), (both, split)):
        kept = by.recheck(made, ledger, frames.as_of).decisions
        known = dict(
            zip(made.table["account_id"].to_pylist(), made.candidates.to_pylist(), strict=True)
        )
        assert [
            known[a] for a in kept.table["account_id"].to_pylist()
        ] == kept.candidates.to_pylist()


def test_what_a_person_forces_against_the_policy_has_no_made_up_worth(kit):
    frames = kit.frames(3)
    policy, ledger = FixedLadder(frames.parsed(), days=(300,)), frames.ledger()
    accounts = policy.decide(ledger, frames.as_of).table["account_id"].to_pylist()
    channel = policy.catalogue.channel_names[0]
    rows = [
        {"account_id": a, "kind": "force", "channel": channel, "reason": "x", "owner": "me",
         "from_on": "2020-01-01", "until": "2040-01-01"} for a in accounts
    ]  # fmt: skip
    for by in (policy, next_best(kit, frames, -0.3)):
        made = by.decide(ledger, frames.as_of, overrides=Overrides.from_rows(rows))
        assert made.table["channel"].to_pylist().count(channel)
        values = [one["value"] for each in made.candidates.to_pylist() for one in each]
        assert all(value is None or abs(value) < 1e6 for value in values)
