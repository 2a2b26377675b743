"""The marginal value of a contact: learnt effects, joint limits, saved and read back."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt import MarginalValue, load
from collectopt.exceptions import NotFittedError
from collectopt.features import FeatureMatrix
from collectopt.models.boosting import expit
from collectopt.policy.marginal import Value, action_factors
from collectopt.schema import ActionSet, DecisionLog
from collectopt.simulation import Book

ACTIONS = ActionSet.from_frame(
    [{"channel": "none"}, {"channel": "email", "hour": 9.0}, {"channel": "phone", "hour": 9.0}]
)


@pytest.fixture(scope="module")
def book():
    return Book("shop", accounts=1200, seed=4, weeks=30)


@pytest.fixture(scope="module")
def policy(book):
    return MarginalValue(book.catalogue).fit(book.ledger(), book.as_of)


def learnt(n, effect, seed, chosen_by_x=False, hidden=False):
    """Value of a log of n decisions, and its features; effect(x) by action, (n, 3)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    chance = np.full((n, 3), 1 / 3)
    if chosen_by_x:
        chance[:, 0] = expit(2.0 * x) * 0.9 + 0.05
        chance[:, 1:] = (1.0 - chance[:, [0]]) / 2
    action = (rng.random(n)[:, None] > chance.cumsum(axis=1)).sum(axis=1)
    p = 0.3 + 0.15 * np.tanh(x) + effect(x)[np.arange(n), action]
    X = np.zeros((n, 1)) if hidden else x[:, None]
    matrix = FeatureMatrix(X.astype(np.float32), ("x",), {})
    reward = (rng.random(n) < p).astype(float)
    log = DecisionLog.from_arrays(
        matrix.values, action, reward, chance[np.arange(n), action], ACTIONS
    )
    return Value.learn(log, matrix), matrix.values, x


def gains(value, X):
    p = expit(value.of_state(X)[:, None] + value.of_actions(X, action_factors(ACTIONS)))
    return p - p[:, [0]]


def by_sign(x):
    return np.column_stack([np.zeros_like(x), np.full_like(x, 0.04), 0.24 * (x > 0)])


def test_it_learns_what_contacts_bring_and_to_whom():
    value, X, x = learnt(40_000, by_sign, 0)
    found = gains(value, X)
    error = np.sqrt(0.25 / (40_000 / 3) * 2)
    assert found[:, 1].mean() == pytest.approx(0.04, abs=3 * error)
    assert found[x > 0, 2].mean() == pytest.approx(0.24, abs=6 * error)
    assert abs(found[x < 0, 2].mean()) < 6 * error


def test_a_confounder_that_no_feature_shows_biases_it():
    # the log waits for those who pay anyway, and no feature tells who they are
    value, X, _ = learnt(20_000, lambda x: np.zeros((len(x), 3)), 1, chosen_by_x=True, hidden=True)
    assert gains(value, X)[:, 1:].mean() < -0.05
    value, X, _ = learnt(20_000, lambda x: np.zeros((len(x), 3)), 1, chosen_by_x=True)
    assert abs(gains(value, X)[:, 1:].mean()) < 0.03


def test_it_decides_within_the_limits_and_says_what_it_expects(book, policy):
    decisions = policy.decide(book.ledger(), book.as_of, rng=0).to_pandas()
    sent = decisions[decisions["channel"] != "none"]
    assert len(sent) > 40
    assert (sent["value"] > 0).all()
    assert sent["cost"].sum() <= book.catalogue.limits.budget
    assert (decisions["propensity"] == 1.0).all()
    amount = sent["expected_recovery"] / sent["p_pay"]
    worth = (sent["p_pay"] - sent["p_pay_if_wait"]) * amount - sent["cost"]
    np.testing.assert_allclose(worth, sent["value"], rtol=1e-9)
    counts = sent["channel"].value_counts()
    for channel in book.catalogue.channels:
        assert counts.get(channel.name, 0) <= (channel.capacity or len(sent))


def test_only_what_was_known_counts(book, policy):
    again = MarginalValue(book.catalogue).fit(book.ledger(), book.as_of)
    assert again.version == policy.version
    early = MarginalValue(book.catalogue).fit(book.ledger(), "2026-01-19")
    assert early.value.rows < 0.8 * policy.value.rows
    longer = Book("shop", accounts=1200, seed=4, weeks=33)
    same = MarginalValue(book.catalogue).fit(longer.ledger(), book.as_of)
    assert same.version == policy.version


def test_it_is_saved_and_read_back(book, policy, tmp_path):
    policy.save(tmp_path / "policy")
    again = load(tmp_path / "policy")
    assert again.version == policy.version
    one, two = (p.decide(book.ledger(), book.as_of, rng=1).to_arrow() for p in (policy, again))
    assert one.equals(two)


def test_a_log_that_teaches_nothing_leads_to_waiting(tmp_path):
    book = Book("shop", accounts=60, seed=1, weeks=8)
    with pytest.raises(NotFittedError):
        MarginalValue(book.catalogue).value  # noqa: B018
    policy = MarginalValue(book.catalogue).fit(book.ledger(), book.as_of)
    assert policy.value.action is None
    decisions = policy.decide(book.ledger(), book.as_of).to_pandas()
    assert set(decisions["channel"]) == {"none"}
    policy.save(tmp_path / "policy")
    assert load(tmp_path / "policy").version == policy.version
