from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectopt as co
from collectopt.exceptions import InputError

World = co.simulation.ExactWorld
History = tuple[int, ...]


def by_histories(world: Any, choices: dict[History, int], signal: int) -> float:
    """Value given a signal of a policy over whole histories of actions, type by type."""
    prior = np.array([1 - world.share, world.share])
    hit = np.where(np.arange(2) == signal, world.accuracy, 1 - world.accuracy)
    weights = prior * hit / (prior * hit).sum()
    total = 0.0
    for of in range(2):
        alive, history = weights[of], ()
        for period in range(world.periods):
            action = choices[history]
            count = sum(history)
            pay = world.pay[of] + action * world.lift[of] / (1 + world.fatigue * count)
            leave = action * world.leave[of]
            euro = world.amount * pay - world.lifetime_value * leave - world.cost * action
            total += alive * world.discount**period * euro
            alive *= 1 - pay - leave
            history = (*history, action)
    return total


def every_history(world: Any, signal: int) -> float:
    """The best over all deterministic policies that remember everything."""
    histories = [
        path for length in range(world.periods) for path in itertools.product((0, 1), repeat=length)
    ]
    return max(
        by_histories(world, dict(zip(histories, choice, strict=True)), signal)
        for choice in itertools.product((0, 1), repeat=len(histories))
    )


@st.composite
def worlds(draw: Any, periods: int = 6) -> Any:
    def number(low: float, high: float) -> float:
        return draw(st.floats(low, high, allow_subnormal=False))

    return World(
        share=number(0, 1),
        accuracy=number(0.5, 1),
        pay=(number(0, 0.5), number(0, 0.5)),
        lift=(number(0, 0.3), number(0, 0.3)),
        leave=(number(0, 0.2), number(0, 0.2)),
        fatigue=number(0, 3),
        amount=number(0, 500),
        cost=number(0, 20),
        lifetime_value=number(0, 200),
        discount=number(0, 1),
        periods=draw(st.integers(1, periods)),
    )


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("cost", [0.0, 2.5, 6.0])
def test_the_optimum_is_the_best_of_all_policies_that_remember_everything(accuracy, cost) -> None:
    world = World(periods=3, accuracy=accuracy, cost=cost, fatigue=0.9)
    best = sum(world.signals[signal] * every_history(world, signal) for signal in range(2))
    assert world.solve().value == pytest.approx(best, abs=1e-10)


def test_a_policy_is_worth_the_same_by_belief_and_by_type() -> None:
    world = World(periods=4, accuracy=0.7)
    table = np.random.default_rng(1).random((2, 4, 4)) < 0.5
    direct = 0.0
    for signal in range(2):
        choices = {
            path: int(table[signal, length, sum(path)])
            for length in range(4)
            for path in itertools.product((0, 1), repeat=length)
        }
        direct += world.signals[signal] * by_histories(world, choices, signal)
    assert world.value(table) == pytest.approx(direct, abs=1e-10)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(world=worlds(), seed=st.integers(0, 2**31))
def test_no_policy_beats_the_optimum(world, seed) -> None:
    rng = np.random.default_rng(seed)
    best = world.solve()
    slack = 1e-9 * (1 + world.amount + world.lifetime_value)
    shape = (2, world.periods, world.periods)
    for policy in (0.0, 1.0, rng.random(shape), rng.random(shape) < 0.5):
        assert world.value(policy) <= best.value + slack
    assert world.value(best.contact) == pytest.approx(best.value, abs=slack)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(world=worlds())
def test_without_effect_the_optimum_never_contacts(world) -> None:
    placebo = replace(world, lift=(0.0, 0.0), cost=max(world.cost, 0.01))
    assert not placebo.solve().contact.any()
    assert placebo.solve().value == pytest.approx(placebo.value(0.0))


def test_the_optimum_beats_always_and_never() -> None:
    world = World()
    best = world.solve()
    assert best.value > max(world.value(0.0), world.value(1.0)) + 0.1
    reachable = np.tril(np.ones((world.periods, world.periods), dtype=bool))
    assert best.contact[:, reachable].any()
    assert not best.contact[:, reachable].all()


def test_in_the_last_period_it_contacts_while_the_gain_exceeds_the_cost() -> None:
    world = World(accuracy=1.0, periods=12)
    of, count = np.arange(2)[:, None], np.arange(12)
    gain = world.amount * np.array(world.lift)[of] / (1 + world.fatigue * count)
    price = world.cost + world.lifetime_value * np.array(world.leave)[of]
    last = world.solve().contact[:, -1]
    assert np.array_equal(last, gain > price)
    assert last.any()
    assert not last.all()


def test_it_acts_below_a_threshold_of_intensity_that_rises_with_the_balance() -> None:
    rates, amounts = np.linspace(0.01, 0.6, 25), np.linspace(5, 150, 25)
    acts = np.array(
        [
            [
                World(accuracy=1.0, pay=(p, p), lift=(0.08, 0.08), amount=amount, fatigue=0.0)
                .solve()
                .contact[0, 0, 0]
                for amount in amounts
            ]
            for p in rates
        ]
    )
    assert not (np.diff(acts.astype(int), axis=0) > 0).any()  # in falling intensity
    assert not (np.diff(acts.astype(int), axis=1) < 0).any()  # in rising balance
    threshold = acts.sum(axis=0)
    assert threshold[0] == 0
    assert len(set(threshold.tolist())) > 5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(world=worlds(), factor=st.floats(1.1, 5.0))
def test_dearer_contacts_are_fewer_and_a_larger_claim_brings_more(world, factor) -> None:
    """Both follow from optimality alone, whatever the parameters."""
    world = replace(world, cost=world.cost + 0.1, leave=(0.0, 0.0))
    contacts = replace(world, amount=0.0, cost=1.0, lifetime_value=0.0)
    cash = replace(world, cost=0.0, lifetime_value=0.0)
    now = world.solve().contact
    dearer = replace(world, cost=world.cost * factor).solve().contact
    larger = replace(world, amount=world.amount * factor).solve().contact
    slack = 1e-9 * (1 + world.amount)
    assert -contacts.value(dearer) <= -contacts.value(now) + slack
    assert cash.value(larger) >= cash.value(now) - slack


def test_belief_is_the_frequency_of_the_type_among_open_claims() -> None:
    world = World(accuracy=0.7, periods=5)
    played = world.play(60_000, 2, policy=0.5)
    for signal, period, count in [(0, 1, 0), (1, 2, 1), (0, 4, 2), (1, 4, 4)]:
        rows = (played.signal == signal) & (played.action[:, period] >= 0)
        rows &= played.contacts[:, period] == count
        seen, truth = played.type[rows].mean(), world.belief[signal, period, count]
        assert abs(seen - truth) < 4 * np.sqrt(truth * (1 - truth) / rows.sum())
    assert np.allclose(replace(world, accuracy=1.0).belief[1], 1.0)


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 1.0])
def test_simulated_value_agrees_with_the_exact_one(accuracy) -> None:
    world = World(accuracy=accuracy)

    def ladder(signal, period, contacts):
        return np.clip(0.2 + 0.1 * period + 0.2 * signal - 0.1 * contacts, 0, 1)

    for seed, policy in enumerate((ladder, world.solve().contact, 0.3)):
        returns = world.play(20_000, seed, policy).returns
        error = returns.std(ddof=1) / np.sqrt(len(returns))
        assert abs(returns.mean() - world.value(policy)) < 4 * error


def logging(signal, period, contacts):
    """Contacts go to those who pay worst, and later."""
    return np.clip(0.15 + 0.5 * signal + 0.03 * period, 0, 0.9)


def test_weights_recover_another_policy_from_the_log_and_the_naive_mean_does_not() -> None:
    world = World(periods=3, accuracy=0.9)
    n = 30_000
    log = world.log(n, 7, logging)
    signal, period, contacts = log.X.astype(int).T
    target = world.probability(lambda s, t, c: 0.8 - 0.3 * s + 0.0 * t - 0.1 * c)
    chance = target[signal, period, contacts]
    ratio = np.where(log.action == 1, chance, 1 - chance) / log.propensity
    weight, reward = np.ones((n, 3)), np.zeros((n, 3))
    weight[log.account, period] = ratio
    reward[log.account, period] = log.reward
    discounted = reward * world.discount ** np.arange(3)
    values = (np.cumprod(weight, axis=1) * discounted).sum(axis=1)
    error = values.std(ddof=1) / np.sqrt(n)
    assert abs(values.mean() - world.value(target)) < 4 * error
    naive = discounted.sum(axis=1)
    assert abs(naive.mean() - world.value(target)) > 4 * naive.std(ddof=1) / np.sqrt(n)
    assert abs(naive.mean() - world.value(logging)) < 4 * naive.std(ddof=1) / np.sqrt(n)


def test_rewards_to_go_have_the_action_values_as_their_means() -> None:
    world = World(periods=4, accuracy=0.9)
    log = world.log(30_000, 5, logging, to_go=True)
    exact = world.action_values(logging)
    signal, period, contacts = log.X.astype(int).T
    rest = log.reward - exact[signal, period, contacts, log.action]
    for t in range(4):
        for action in range(2):
            some = rest[(period == t) & (log.action == action)]
            assert abs(some.mean()) < 4 * some.std(ddof=1) / np.sqrt(len(some))
    # Comparing means calls contacts harmful, since they go to those who pay worst.
    first = period == 0
    effect = (exact[:, 0, 0, 1] - exact[:, 0, 0, 0]) @ world.signals
    mean = [log.reward[first & (log.action == action)].mean() for action in range(2)]
    assert mean[1] - mean[0] < 0 < effect


def test_the_log_is_what_was_played() -> None:
    world = World()
    log = world.log(500, 3, 0.4)
    assert np.isin(log.propensity, [0.4, 0.6]).all()
    assert len(np.unique(log.account)) == 500
    assert (log.X[:, 2] <= log.X[:, 1]).all()
    again = world.log(500, 3, 0.4)
    assert np.array_equal(again.reward, log.reward)
    assert not np.array_equal(world.log(500, 4, 0.4).action[:50], log.action[:50])


def test_parameters_out_of_range_are_all_listed() -> None:
    with pytest.raises(InputError) as caught:
        World(share=2.0, pay=(0.9, 0.1), lift=(0.2, 0.1), amount=float("inf"), periods=0)
    assert {fault.column for fault in caught.value.faults} == {"share", "pay", "amount", "periods"}
    with pytest.raises(InputError, match="shape"):
        World().value(np.zeros((3, 2)))
    with pytest.raises(InputError, match="probabilities"):
        World().value(1.5)
