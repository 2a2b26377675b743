"""Exploration by value within a budget: exact propensities, bounded loss, limits in every draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from collectopt.exceptions import CatalogueError
from collectopt.policy import NextBestAction
from collectopt.policy.allocation import allocate
from collectopt.policy.bounded import within_budget
from collectopt.policy.draws import uniforms
from collectopt.policy.engine import Case
from collectopt.policy.exploration import plan
from collectopt.policy.tilted import Tally, Tilted
from collectopt.schema import Catalogue
from collectopt.schema.catalogue import Exploring

CATALOGUE = Catalogue.from_dict(
    {
        "channels": [
            {"name": "email", "cost": 0.05},
            {"name": "letter", "cost": 0.2},
            {"name": "phone", "cost": 4.5},
        ],
        "cadence_days": 1,
        "slots": {"hours": [9]},
        "tones": {"order": ["friendly", "firm"]},
    }
)
ACTIONS = CATALOGUE.actions  # to wait, two of each channel, to stop
CHANNEL = np.where(ACTIONS.is_contact, ACTIONS.channel, -1).astype(np.int64)
K = len(ACTIONS)
USAGE = np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]])
COST = np.array([0.05, 0.2, 4.5])


class Given(Case):
    """Values as they are given."""

    def __init__(self, table):
        self.table = table

    def values(self, rows, columns=slice(None)):
        return self.table[rows][:, columns]

    def details(self, rows, action):
        raise NotImplementedError


class World:
    """Sixty accounts, values known, phone scarce; the last two columns of limits bind."""

    def __init__(self, how, n=60, limits=(12.0, 6.0), seed=0):
        rng = np.random.default_rng(seed)
        self.n, self.how, self.limits = n, how, np.array(limits)
        self.allowed = rng.random((n, K)) < 0.7
        self.allowed[:, 0], self.allowed[:, -1], self.allowed[:4, 1:] = True, False, False
        self.euros = rng.normal(1.0, 3.0, (n, K))
        self.euros[:, CHANNEL == 2] += 2.0
        self.euros[:, 0] = 0.0
        self.joins = np.arange(n) % 9 > 0
        self.order = uniforms(np.array([f"A{i}" for i in range(n)], dtype=object), 0, 0)[:, 0]
        self.case = Given(self.euros)
        # classes: to wait, then the channels
        value = np.where(self.allowed, self.euros, -np.inf)
        groups = [[0], *([*np.flatnonzero(c == CHANNEL)] for c in range(3))]
        self.best = np.stack([value[:, g].max(axis=1) for g in groups], axis=1)
        self.action = np.stack([np.array(g)[value[:, g].argmax(axis=1)] for g in groups], axis=1)
        self.tally = Tally.of(how, ACTIONS, n, 4)
        for rows in (np.arange(n // 2), np.arange(n // 2, n)):
            self.tally.add(rows, self.allowed[rows], self.euros[rows], self.action[rows])
        self.usage = np.vstack([np.zeros(2), USAGE])

    def planned(self, epsilon, first=None):
        u = np.stack([self.order, np.zeros(self.n) if first is None else first], axis=1)
        one = plan(
            self.tally.count, self.joins, u, epsilon, usage=USAGE, limits=self.limits, cost=COST
        )
        return Tilted.of(one, tally=self.tally, case=self.case)

    def explored(self, epsilon):
        found = within_budget(
            self.planned,
            lambda reserve: allocate(self.best, self.usage, self.limits - reserve),
            lambda choice: np.ones(len(choice), dtype=bool),
            epsilon,
        )
        return found, self.action[np.arange(self.n), found.allocation.choice]


def played(world, epsilon, rounds, seed=5):
    """How often each account got each action, the exploration, and the EUR of every round."""
    rng = np.random.default_rng(seed)
    every, i = slice(0, world.n), np.arange(world.n)
    taken, money = np.zeros((world.n, K)), []
    found, greedy = world.explored(epsilon)
    fixed = found.exploration
    for _ in range(rounds):
        # who is in which cell stays; the draws of who explores, and into what, are fresh
        fresh = rng.random((world.n, 3))
        one = world.planned(found.spent.share, fresh[:, 0])
        assert (one.open == fixed.open).all()
        one = replace(fixed, explores=one.explores & fixed.joins)
        drawn = one.draw(every, lambda a: world.allowed[a], CHANNEL, fresh[:, 1:])
        action = np.where(drawn >= 0, drawn, greedy)
        taken[i, action] += 1
        money.append(world.euros[i, action].sum())
        used = world.usage[CHANNEL[action] + 1].sum(axis=0)
        assert (used <= world.limits + 1e-9).all()
        if world.how.max_loss is not None:
            explored = np.flatnonzero(drawn >= 0)
            lost = world.tally.best[explored] - world.euros[explored, drawn[explored]]
            assert (lost <= world.how.max_loss + 1e-6).all()
    return taken, found, greedy, np.array(money)


def said(world, found, greedy):
    """Propensity of every action, (n, K)."""
    each = [
        found.exploration.propensity(
            slice(0, world.n), np.full(world.n, k), np.full(world.n, CHANNEL[k]), greedy
        )
        for k in range(K)
    ]
    table = np.stack(each, axis=1)
    table[:, -1] = 0.0  # to stop is never drawn
    return np.where(world.allowed, table, 0.0)


def p_value(taken, chance, rounds):
    """Chi-square test over all accounts at once; rare cells of an account count together."""
    total, freedom = 0.0, 0
    for seen, p in zip(taken, chance, strict=True):
        common = p * rounds >= 5
        groups = np.r_[p[common], p[~common].sum()], np.r_[seen[common], seen[~common].sum()]
        kept = groups[0] * rounds >= 1
        expected = groups[0][kept] * rounds
        total += ((groups[1][kept] - expected) ** 2 / expected).sum()
        freedom += max(kept.sum() - 1, 0)
    return stats.chi2.sf(total, freedom)


HOWS = [
    Exploring(),
    Exploring(temperature=2.0, floor=0.3),
    Exploring(temperature=0.5),
    Exploring(max_loss=3.0),
    Exploring(temperature=1.5, max_loss=4.0, budget=4.0),
]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_frequencies_are_the_propensities_where_capacity_is_scarce(how):
    world, rounds = World(how), 400
    taken, found, greedy, _ = played(world, 0.45, rounds)
    chance = said(world, found, greedy)
    assert chance.sum(axis=1) == pytest.approx(1)
    assert (taken[chance == 0] == 0).all()
    assert p_value(taken, chance, rounds) > 1e-3
    # whoever forgets that capacities close channels is found out
    whole = found.exploration.tally.count > 0
    assert (found.exploration.open != whole)[found.exploration.joins].any(), "nothing is scarce"
    naive = Tilted(**{**vars(found.exploration), "open": whole})
    wrong = said(world, replace(found, exploration=naive), greedy)
    assert p_value(taken, np.maximum(wrong, 1e-12), rounds) < 1e-6


@pytest.mark.parametrize("budget", [None, 8.0, 1.0, 0.0])
def test_the_expected_loss_is_what_exploring_costs(budget):
    world, rounds = World(Exploring(temperature=3.0, floor=0.5, budget=budget)), 500
    champion = allocate(world.best, world.usage, world.limits).value
    _, found, _, money = played(world, 0.4, rounds)
    stderr = money.std() / np.sqrt(rounds)
    assert champion - money.mean() == pytest.approx(found.spent.loss, abs=4 * stderr + 1e-9)
    if budget is None:
        assert found.spent.share == 0.4
        assert found.spent.loss > 8.0, "else the budgets below would bind nowhere"
    else:
        assert found.spent.loss <= budget
        assert found.spent.loss >= 0.6 * budget, "a budget is there to be used"


def test_draws_by_value_cost_less_than_draws_alike():
    alike = World(Exploring()).explored(0.3)[0].spent.loss
    tilted = World(Exploring(temperature=1.0, floor=0.1)).explored(0.3)[0].spent.loss
    bounded = World(Exploring(max_loss=2.0)).explored(0.3)[0].spent.loss
    assert tilted < 0.7 * alike
    assert bounded < 0.7 * alike


def test_a_plain_table_draws_as_no_table():
    world = World(Exploring())
    one = world.planned(0.4)
    u = np.stack([world.order, np.zeros(world.n)], axis=1)
    counts = np.stack([world.allowed[:, c == CHANNEL].sum(axis=1) for c in range(3)], axis=1)
    plain = plan(counts, world.joins, u, 0.4, usage=USAGE, limits=world.limits, cost=COST)
    greedy, every = np.zeros(world.n, dtype=np.int64), slice(0, world.n)
    assert (one.open == plain.open).all()
    for k in range(K - 1):
        action, channel = np.full(world.n, k), np.full(world.n, CHANNEL[k])
        mine = world.allowed[:, k]
        ours = one.propensity(every, action, channel, greedy)
        assert ours[mine] == pytest.approx(plain.propensity(every, action, channel, greedy)[mine])


def test_values_far_below_the_best_overflow_nothing():
    world = World(Exploring(temperature=0.01, floor=0.0))
    world.tally.best[:] = 1e6  # of an agency, say, that cannot be drawn
    found, greedy = world.explored(0.3)
    chance = said(world, found, greedy)
    assert np.isfinite(chance).all()
    assert chance.sum(axis=1) == pytest.approx(1)


def test_a_table_of_exploration_is_read_and_kept():
    base = {"channels": [{"name": "email"}], "explore": 0.1}
    table = {"budget": 20.0, "max_loss": 2.0, "temperature": 1.5}
    catalogue = Catalogue.from_dict({**base, "exploration": table})
    assert Catalogue.from_dict(catalogue.to_dict()) == catalogue
    assert "exploration" not in Catalogue.from_dict(base).to_dict()
    with pytest.raises(CatalogueError, match=r"exploration\.temperature"):
        Catalogue.from_dict({**base, "exploration": {"floor": 0.2}})
    with pytest.raises(CatalogueError, match=r"beside \[exploration\]"):
        Catalogue.from_dict({"channels": [{"name": "email"}], "exploration": {"budget": 1.0}})
    with pytest.raises(CatalogueError, match=r"exploration\.budget"):
        Catalogue.from_dict({**base, "exploration": {"budget": -1.0}})


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    budget=st.sampled_from([None, 0.0, 0.5, 5.0]),
    temperature=st.sampled_from([None, 0.5, 5.0]),
    max_loss=st.sampled_from([None, 1.0]),
)
def test_a_policy_explores_within_rules_limits_and_budget(kit, seed, budget, temperature, max_loss):
    table = {"budget": budget, "temperature": temperature, "max_loss": max_loss}
    table = {name: number for name, number in table.items() if number is not None}
    frames = kit.frames(seed, explore=0.5, exploration=table)
    catalogue, ledger = frames.parsed(), frames.ledger()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.1)
    ).fit(ledger, frames.as_of)
    decisions = policy.decide(ledger, frames.as_of, rng=seed)
    kit.check(frames, decisions)
    if budget is not None:
        assert decisions.exploration["loss"] <= budget
    drawn = [r for r in decisions.to_arrow().to_pylist() if r["reasons"][0].startswith("Drawn")]
    if max_loss is not None:
        # a decision to wait is worth 0: whatever is drawn is worth at least the best less the bound
        assert all(r["value"] >= -max_loss - 1e-6 for r in drawn)
    if decisions.exploration["share"] == 0:
        assert not drawn


def test_the_same_book_in_any_order_gives_the_same_draws(kit):
    table = {"budget": 20.0, "temperature": 1.0, "max_loss": 6.0}
    frames = kit.frames(5, explore=0.5, exploration=table)
    catalogue = frames.parsed()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.1)
    ).fit(frames.ledger(), frames.as_of)
    one, two = (policy.decide(frames.ledger(o), frames.as_of, rng=2).table for o in (None, 3))
    assert one.equals(two)
    assert any(p < 1 for p in one["propensity"].to_pylist())
