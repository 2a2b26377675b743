"""Shrunken rates and credibility, against formulas and sampled truths."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.models.boosting import expit
from collectopt.models.clock import CLOCK, KNOTS, hats
from collectopt.models.credibility import Evidence, Moments, interval, pairs, posterior
from collectopt.models.logodds import Basis, LogOdds


def test_alike_observations_give_the_beta_binomial():
    p, strength = 0.3, 6.0
    v, rho = p * (1 - p), 1 / (1 + strength)
    answered = np.array([1.0, 0, 1, 1, 0])
    evidence = Evidence(np.zeros(5, int), answered - p, np.full(5, v), np.ones(5))
    size = np.sqrt(rho / v)
    _, mean, cov = next(posterior(evidence, np.full((5, 1), size), np.eye(1), np.array([0, 7])))
    assert p + v * size * mean[0, 0] == pytest.approx((3 + strength * p) / (5 + strength))
    assert p + v * size * mean[1, 0] == pytest.approx(p)  # nothing known of account 7
    left = v**2 * size**2 * cov[:, 0, 0]
    assert (v - v * rho) / left[0] == pytest.approx(5 + strength)
    assert (v - v * rho) / left[1] == pytest.approx(strength)


def test_moments_find_how_far_accounts_differ_from_few_binary_rows():
    """Four rows an account; a rate of the accounts as they are says three times too much."""
    rng = np.random.default_rng(5)
    found, naive = [], []
    for _ in range(40):
        rate = rng.beta(3.0, 7.0, 2000)
        account = np.repeat(np.arange(2000), 4)
        y = (rng.random(8000) < rate[account]).astype(float)
        evidence = Evidence(account, y - 0.3, np.full(8000, 0.21), np.ones(8000))
        moments = Moments.zero(1)
        for _, _, product, scale, weight in pairs(evidence):
            moments = moments.plus(scale[None, :], product, weight)
        found.append(moments.solve()[0] * 0.21)
        naive.append(np.bincount(account, y).var() / 16 / 0.21)
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - 1 / 11) < 3 * error
    assert np.mean(naive) > 3 / 11


def test_no_part_of_a_covariance_is_below_zero_and_a_prior_holds_without_pairs():
    moments = Moments(np.eye(2), np.array([-3.0, 2.0]))
    np.testing.assert_allclose(moments.solve(), [0.0, 2.0])
    np.testing.assert_allclose(Moments.zero(2).solve(np.array([0.2, 0.0])), [0.2, 0.0])
    assert Moments.zero(2).solve().tolist() == [0.0, 0.0]


def test_levels_without_influence_are_shrunk_away_and_others_are_not():
    rng = np.random.default_rng(2)
    n = 20_000
    codes = np.column_stack([rng.integers(4, size=n), rng.integers(10, size=n)])
    effect = np.array([-0.8, -0.2, 0.3, 0.7])
    y = (rng.random(n) < expit(-1.0 + effect[codes[:, 0]])).astype(float)
    odds = LogOdds.fit(y, np.ones(n), codes, (Basis.of_levels(4), Basis.open(10)))
    assert odds.spread[0] > 0.3 > 0.1 > odds.spread[1]
    asked = np.column_stack([np.arange(4), np.full(4, -1)])  # a level of its own kind
    p, variance = odds.told(odds.design(asked))
    z = (np.log(p / (1 - p)) + 1.0 - effect) / np.sqrt(variance)
    assert np.abs(z).max() < 3.0


def test_hours_speak_for_their_neighbours():
    clock = Basis(hats(np.arange(24.0)), CLOCK)
    at = np.array([[10]] * 400 + [[19]] * 400)
    y = np.r_[np.ones(80), np.zeros(320), np.ones(240), np.zeros(160)]
    odds = LogOdds.fit(y, np.ones(800), at, (clock,))
    p = odds.rate(np.array([[10], [12], [17], [19]]))
    assert (np.diff(p) > 0).all()
    assert p[0] == pytest.approx(0.2, abs=0.03)
    assert p[3] == pytest.approx(0.6, abs=0.03)
    assert hats(np.array([2.0, 23.5])).sum(axis=1).tolist() == [1.0, 1.0]
    assert np.linalg.eigvalsh(CLOCK).min() > 0
    assert len(KNOTS) == len(CLOCK)


def test_interval_has_the_bounds_of_a_beta():
    low, high = interval(np.array([0.2]), np.array([0.2 * 0.8 / 11]))  # beta(2, 8)
    np.testing.assert_allclose([low[0], high[0]], [0.0410, 0.4291], atol=2e-4)
