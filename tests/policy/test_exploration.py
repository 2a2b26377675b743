"""Exploration: exact propensities by Monte Carlo, limits in every draw, draws by account."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.policy.draws import decision_ids, seed_of, uniforms
from collectopt.policy.exploration import plan
from collectopt.policy.next_best import NextBestAction


def ids(n):
    return np.array([f"A{i}" for i in range(n)], dtype=object)


def test_uniforms_are_uniform_and_independent():
    u = uniforms(ids(20_000), 0, 5)
    assert u.shape == (20_000, 4)
    assert ((u >= 0) & (u < 1)).all()
    assert u.mean(axis=0) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 20_000))
    assert np.abs(np.corrcoef(u.T) - np.eye(4)).max() < 4 / np.sqrt(20_000)
    for other in (uniforms(ids(20_000), 0, 6), uniforms(ids(20_000), 1, 5)):
        assert abs(np.corrcoef(u[:, 0], other[:, 0])[0, 1]) < 4 / np.sqrt(20_000)


def test_draws_depend_on_the_account_alone():
    some = uniforms(ids(10), 3, 1)
    assert (some[[7, 2]] == uniforms(ids(10)[[7, 2]], 3, 1)).all()
    assert len(set(decision_ids(ids(10), 3, 1, "v"))) == 10
    assert decision_ids(ids(1), 3, 1, "v") != decision_ids(ids(1), 3, 1, "w")


def test_seed_is_an_int_or_a_generator():
    assert seed_of(7) == seed_of(np.int64(7)) == 7
    assert seed_of(np.random.default_rng(1)) == seed_of(np.random.default_rng(1))
    for wrong in (True, 0.5, "0", None):
        with pytest.raises(InputError, match="an int or a numpy Generator"):
            seed_of(wrong)


COST = np.array([0.05, 0.2, 4.5])  # EUR: drawn as 1 : 0.5 : 0.105
CHANNEL = np.array([-1, 0, 0, 0, 1, 1, 2])  # of 7 actions; 0 waits


def setting(n=60, seed=0):
    rng = np.random.default_rng(seed)
    allowed = rng.random((n, 7)) < 0.6
    allowed[:, 0] = True
    allowed[:5, 1:] = False
    counts = np.stack([allowed[:, c == CHANNEL].sum(axis=1) for c in range(3)], axis=1)
    greedy = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    joins = np.arange(n) % 11 > 0
    return allowed, counts, greedy, joins


@pytest.mark.parametrize("epsilon", [0.05, 0.3, 0.45, 1.0])
def test_monte_carlo_confirms_the_propensities(epsilon):
    allowed, counts, greedy, joins = setting()
    n, rounds = len(allowed), 1500
    usage = np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]])
    limits = np.array([30.0, 12.0])
    u = uniforms(ids(n), 0, 0)
    every = slice(0, n)
    taken = np.zeros((n, 7))
    rng = np.random.default_rng(9)
    first = plan(counts, joins, u[:, :2], epsilon, usage=usage, limits=limits, cost=COST)
    for _ in range(rounds):
        # who is in which cell stays; the draws of who explores, and into what, are fresh
        fresh = rng.random((n, 3))
        one = plan(
            counts,
            joins,
            np.stack([u[:, 0], fresh[:, 0]], 1),
            epsilon,
            usage=usage,
            limits=limits,
            cost=COST,
        )
        assert (one.open == first.open).all()
        drawn = one.draw(every, lambda i: allowed[i], CHANNEL, fresh[:, 1:])
        explored = np.where(drawn > 0, CHANNEL[drawn], -1)
        used = usage[explored[explored >= 0]].sum(axis=0)
        assert (used <= one.reserve + 1e-9).all(), "what was set aside is not enough"
        action = np.where(drawn >= 0, drawn, greedy)
        taken[np.arange(n), action] += 1
    assert (first.reserve <= epsilon * limits + 1e-9).all()
    share = taken / rounds
    each = [
        first.propensity(every, np.full(n, k), np.full(n, CHANNEL[k]), greedy) for k in range(7)
    ]
    said = np.where(allowed, np.stack(each, axis=1), 0.0)
    assert said.sum(axis=1) == pytest.approx(1)
    assert (taken[said == 0] == 0).all()
    stderr = np.sqrt(said * (1 - said) / rounds)
    z = (share - said)[said > 0] / np.maximum(stderr[said > 0], 1e-3)
    assert np.abs(z).max() < 5
    assert z.std() < 1.3


def test_channels_are_drawn_by_what_they_tell_for_the_money():
    counts, joins = np.ones((4000, 3), dtype=np.int64), np.ones(4000, dtype=bool)
    rng = np.random.default_rng(3)
    no_limit = {"usage": np.zeros((3, 0)), "limits": np.zeros(0)}
    one = plan(counts, joins, rng.random((4000, 2)), 1.0, **no_limit, cost=COST)
    allowed = np.ones(4, dtype=bool)
    drawn = one.draw(slice(0, 4000), lambda _: allowed, np.arange(-1, 3), rng.random((4000, 2)))
    expected = np.array([np.sqrt(3), 1.0, np.sqrt(0.05 / 0.2), np.sqrt(0.05 / 4.5)])
    expected /= expected.sum()
    share = np.bincount(drawn, minlength=4) / 4000
    assert (np.abs(share - expected) < 4 * np.sqrt(expected / 4000)).all()


def test_who_does_not_join_never_explores():
    _, counts, greedy, joins = setting()
    u = uniforms(ids(60), 0, 0)[:, :2]
    one = plan(counts, joins, u, 1.0, usage=np.zeros((3, 0)), limits=np.zeros(0), cost=COST)
    assert not one.explores[~joins].any()
    assert not one.explores[:5].any(), "there is nothing to explore"
    alone = one.propensity(slice(0, 5), greedy[:5], CHANNEL[greedy[:5]], greedy[:5])
    assert (alone == 1).all()


def test_no_epsilon_no_exploration():
    _, counts, _, joins = setting()
    u = uniforms(ids(60), 0, 0)[:, :2]
    one = plan(counts, joins, u, 0.0, usage=np.ones((3, 1)), limits=np.ones(1), cost=COST)
    assert not one.explores.any()
    assert one.reserve.tolist() == [0]


def test_weights_of_waiting_average_to_one(kit):
    """Over many seeds E[1(wait) / propensity] = 1 for whoever may be contacted."""
    frames = kit.frames(
        11, n=60, explore=0.6, cadence_days=3, limits={"pre_due_days": 0, "budget": 9.0}
    )
    catalogue, ledger = frames.parsed(), frames.ledger()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.2)
    ).fit(ledger, frames.as_of)
    waits, weights = [], []
    for rng in range(40):
        table = policy.decide(ledger, frames.as_of, rng=rng).to_arrow()
        waits.append(table["channel"].to_numpy(zero_copy_only=False) == "none")
        weights.append(1 / table["propensity"].to_numpy())
    waits, weights = np.array(waits), np.array(weights)
    reachable = ~waits.all(axis=0)
    assert reachable.sum() >= 8
    terms = (waits * weights)[:, reachable]
    assert terms.mean() == pytest.approx(1, abs=4 * terms.std() / np.sqrt(terms.size))
