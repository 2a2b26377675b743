"""The guarded learner on worlds whose effects are known, and its candidates against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

import collectopt as co
from collectopt.exceptions import InputError, NotFittedError
from collectopt.policy import PolicyLearner
from collectopt.policy.candidates import CANDIDATES, Design, thresholds
from collectopt.policy.learner import _mixture


def world(kind, n, seed):
    """Columns, rewards, actions drawn evenly, and what each of three actions adds."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    X[:, 4] = rng.integers(0, 2, n)
    effect = np.zeros((n, 3))
    if kind == "line":
        effect[:, 1], effect[:, 2] = 0.5 * X[:, 0], -0.5 * X[:, 0]
    elif kind == "cuts":
        effect[:, 1] = np.where(X[:, 1] > 0.3, 0.5, -0.5)
        effect[:, 2] = np.where(X[:, 4] > 0.0, 0.3, -0.5)
    elif kind == "product":
        effect[:, 1], effect[:, 2] = 0.5 * X[:, 0] * X[:, 1], -0.1
    elif kind == "same for all":
        effect[:, 1], effect[:, 2] = 0.1, -0.1
    action = rng.integers(0, 3, n)
    level = X[:, 2] + 0.5 * X[:, 3] ** 2
    reward = level + effect[np.arange(n), action] + rng.normal(size=n)
    return X, reward, action, effect


def gain(learner, kind, seed):
    """True gain over the best constant action on new rows, and that of the oracle."""
    X, _, _, effect = world(kind, 20_000, seed)
    constant = effect.mean(axis=0).max()
    played = (learner.predict_proba(X) * effect).sum(axis=1).mean()
    return played - constant, effect.max(axis=1).mean() - constant


def fitted(kind, n, seed, **settings):
    X, reward, action, _ = world(kind, n, seed)
    learner = PolicyLearner(seed=seed, **settings)
    return learner.fit(X, reward, action=action, propensity=np.full(n, 1.0 / 3.0))


@pytest.mark.parametrize("kind", ["line", "cuts", "product"])
def test_crossing_effects_give_most_of_what_the_oracle_gains(kind):
    got, best = gain(fitted(kind, 8000, seed=1), kind, seed=2)
    assert got > 0.9 * best


def test_without_differences_everybody_gets_the_best_constant_action():
    naive = 0
    for seed in range(8):
        learner = fitted("same for all", 2500, seed)
        assert learner.weights_["constant"] == 1.0
        assert learner.gain_ == learner.stderr_ == 0.0
        naive += learner.candidates_["gain"].max() > 0.0
    assert naive >= 4  # taking the best candidate as it looks would have deviated


@pytest.mark.slow
def test_without_differences_hardly_any_log_deviates(monkeypatch):
    """Two standard errors alone let some through: the best of seven looks better than it is."""
    logs = [world("same for all", 4000, 5000 + seed) for seed in range(40)]
    even = np.full(4000, 1.0 / 3.0)

    def deviating():
        fits = (
            PolicyLearner(seed=seed).fit(X, reward, action=action, propensity=even)
            for seed, (X, reward, action, _) in enumerate(logs)
        )
        return sum(fit.weights_["constant"] < 1.0 for fit in fits)

    assert deviating() == 0
    monkeypatch.setattr("collectopt.policy.learner._CHOICE", 0.0)
    assert deviating() > 0


def test_costs_decide_what_is_worth_doing():
    X, reward, action, _ = world("line", 8000, seed=3)
    even = np.full(8000, 1.0 / 3.0)
    dear = PolicyLearner().fit(X, reward, action=action, propensity=even, cost=[0.0, 9.0, 9.0])
    assert dear.constant_ == 0
    np.testing.assert_array_equal(dear.predict(X), 0)


def test_propensities_of_a_log_that_chose_by_x():
    """Bad prospects got action 1: by plain means it looks harmful, and it helps everybody."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(12_000, 3))
    p = 1.0 / (1.0 + np.exp(1.5 * X[:, 0]))
    action = (rng.random(12_000) < p).astype(int)
    reward = 2.0 * X[:, 0] + 0.3 * action + rng.normal(size=12_000)
    assert reward[action == 1].mean() < reward[action == 0].mean() - 0.5
    taken = np.where(action == 1, p, 1.0 - p)
    for known in (taken, None):
        learner = PolicyLearner().fit(X, reward, action=action, propensity=known)
        assert learner.constant_ == 1
        assert (learner.predict_proba(X)[:, 1] > 0.9).mean() > 0.95


def test_rows_of_one_group_count_once():
    """Each row fifty times: with its account as group the evidence stays what it was."""
    X, reward, action, _ = world("same for all", 300, seed=7)
    many = np.repeat(np.arange(300), 50)
    even = np.full(len(many), 1.0 / 3.0)
    known = {"action": action[many], "propensity": even}
    grouped = PolicyLearner().fit(X[many], reward[many], groups=many, **known)
    naive = PolicyLearner().fit(X[many], reward[many], **known)
    ratio = grouped.candidates_["stderr"] / naive.candidates_["stderr"]
    assert ratio.drop(ratio.index[naive.candidates_["stderr"] == 0.0]).median() > 4.0
    assert naive.weights_["constant"] < 1.0  # what was seen fifty times looks certain
    assert grouped.weights_["constant"] == 1.0


def test_predictions_are_a_mixture_and_draws_follow_it():
    learner = fitted("cuts", 4000, seed=5)
    X = world("cuts", 3000, seed=6)[0]
    p = learner.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p >= 0.0).all()
    drawn = learner.predict(X, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(drawn, learner.predict(X, rng=1))
    assert (p[np.arange(3000), drawn] > 0.0).all()
    assert sum(learner.weights_.values()) == pytest.approx(1.0)
    # One row alone is answered alike.
    np.testing.assert_allclose(learner.predict_proba(X[:1]), p[:1], atol=1e-12)


def test_the_same_seed_gives_the_same_policy():
    one, two = (fitted("line", 2500, seed=1) for _ in range(2))
    assert one.weights_ == two.weights_
    np.testing.assert_array_equal(one.candidates_, two.candidates_)


def design(n=400, seed=0):
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=(n, 3))
    place, above = thresholds(plain)
    stumps = (plain[:, place] > above).astype(np.float32)
    score = rng.normal(size=(n, 3)) + np.where(plain[:, [0]] > 0.5, [1.0, 0, 0], [0, 0.5, 0])
    return Design(plain, plain, stumps, plain[:, 1]), score


def value(rule, rows, score):
    return score[np.arange(len(rows)), rule(rows)].sum()


def test_small_trees_are_the_best_of_all():
    rows, score = design()
    stumps = rows.stumps.astype(bool)

    def best(which):
        return score[which].sum(axis=0).max()

    def enough(side, low):
        return min(side.sum(), (low & ~side).sum()) >= 0.02 * len(rows)

    everybody = np.ones(len(rows), dtype=bool)
    allowed = [s for s in stumps.T if enough(s, everybody)]
    one = max(best(s) + best(~s) for s in allowed)
    assert value(CANDIDATES["one split"](rows, score, 0), rows, score) == pytest.approx(one)

    def leaf(side):
        splits = [best(side & s) + best(side & ~s) for s in stumps.T if enough(side & s, side)]
        return max([best(side), *splits])

    two = max(leaf(s) + leaf(~s) for s in allowed)
    assert value(CANDIDATES["two levels"](rows, score, 0), rows, score) == pytest.approx(two)


def test_a_ladder_is_the_best_of_all():
    rows, score = design(120)
    edges = np.unique(np.quantile(rows.level, np.linspace(0.0, 1.0, 21)[1:-1]))
    best = -np.inf
    for low, high in product(edges, edges):
        if low <= high:
            parts = np.searchsorted([low, high], rows.level)
            best = max(best, sum(score[parts == k].sum(axis=0).max() for k in range(3)))
    assert value(CANDIDATES["ladder"](rows, score, 0), rows, score) == pytest.approx(best)


def test_the_mixture_beats_a_grid_and_stays_out_where_nothing_is_sure():
    rng = np.random.default_rng(2)
    A = rng.normal(size=(3, 3))
    covariance, mean = A @ A.T / 100.0, np.array([0.5, 0.45, 0.2])
    found = _mixture(mean, covariance, 2.0)
    assert found.sum() == pytest.approx(1.0)

    def bound(w):
        return mean @ w - 2.0 * np.sqrt(w @ covariance @ w)

    grid = [
        np.array([a, b, 1.0 - a - b])
        for a in np.arange(0, 1.01, 0.02)
        for b in np.arange(0, 1.001 - a, 0.02)
    ]
    assert bound(found) >= max(map(bound, grid)) - 1e-4
    assert not _mixture(np.array([0.1, -0.2]), np.eye(2), 2.0).any()
    assert not _mixture(np.zeros(2), np.zeros((2, 2)), 2.0).any()


def test_it_keeps_scikit_learns_conventions():
    learner = PolicyLearner(guard=1.0, folds=3)
    assert clone(learner).get_params() == {"guard": 1.0, "folds": 3, "seed": 0}
    with pytest.raises(NotFittedError):
        learner.predict(np.zeros((1, 5)))
    check_is_fitted(fitted("line", 600, seed=0))
    assert co.policy.PolicyLearner is PolicyLearner


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"propensity": [0.0, *[0.5] * 99]}, "propensity"),
        ({"action": [0.5] * 100}, "whole numbers"),
        ({"action": [0] * 100}, "at least two actions"),
        ({"action": [0] * 99 + [1]}, "several groups"),
        ({"cost": [1.0]}, "cost"),
        ({"cost": [0.0, 1.0, 1.0]}, "never 2"),
        ({"groups": ["a", "b"]}, "groups"),
        ({"groups": ["a"] * 100}, "groups"),
        ({"cost": [0.0, np.nan]}, "finite cost"),
        ({"cost": ["a", "b"]}, "cost"),
        ({"action": [0] * 99 + [10**12]}, "Number the actions"),
        ({"reward": [np.inf] * 100}, "reward"),
        ({"X": np.zeros((100, 0))}, "at least one column"),
        ({"reward": [np.nan] * 100}, "reward"),
        ({"X": np.full((100, 2), np.inf)}, "finite"),
    ],
)
def test_bad_input_is_named(change, says):
    good = {
        "X": np.zeros((100, 2)),
        "reward": np.zeros(100),
        "action": np.arange(100) % 2,
        "propensity": np.full(100, 0.5),
    }
    given = {**good, **change}
    with pytest.raises(InputError, match=says):
        PolicyLearner().fit(given.pop("X"), given.pop("reward"), **given)


def test_an_error_leaves_a_fitted_learner_as_it_was():
    X, reward, action, _ = world("line", 2500, seed=1)
    even = np.full(2500, 1.0 / 3.0)
    learner = PolicyLearner().fit(X, reward, action=action, propensity=even)
    before = learner.predict_proba(X)
    rare = np.r_[3, action[1:]]
    with pytest.raises(InputError, match="no row of action 3"):
        learner.fit(7.0 * X + 50.0, reward, action=rare, propensity=even)
    np.testing.assert_array_equal(learner.predict_proba(X), before)
    for settings in ({"folds": 2.5}, {"folds": 1}, {"guard": np.inf}):
        with pytest.raises(InputError, match=next(iter(settings))):
            PolicyLearner(**settings).fit(X, reward, action=action, propensity=even)
    with pytest.raises(InputError, match="at least 5 rows"):
        PolicyLearner().fit(X[:3], reward[:3], action=[0, 1, 0], propensity=even[:3])


def test_columns_with_gaps_skew_and_constants_are_taken():
    X, reward, action, _ = world("line", 3000, seed=8)
    X = np.column_stack([X, np.exp(3.0 * X[:, 1]), np.zeros(3000), np.full(3000, np.nan)])
    X[::5, 2] = np.nan
    learner = PolicyLearner().fit(X, reward, action=action, propensity=np.full(3000, 1.0 / 3.0))
    assert np.isfinite(learner.predict_proba(X)).all()
    assert learner.weights_["constant"] < 1.0
