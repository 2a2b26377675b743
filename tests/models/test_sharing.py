"""How much comes in: against known shares, and where a constant share goes wrong."""

import numpy as np
import pytest

from collectopt.models.labels import Durations
from collectopt.models.sharing import SHARE_DAYS, Sharing


def simulate(seed, n=6000):
    """Payers of kind 1 pay all, those of kind 0 half on average; a tenth pays a part later."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.random(n) < 0.5, rng.random(n)]).astype(np.float32)
    days = rng.exponential(150.0, n)
    event = rng.random(n) < 0.6
    whole = np.where(X[:, 0] == 1.0, 1.0, rng.uniform(0.2, 0.8, n))
    share = np.where(event[:, None] & (days[:, None] < np.array(SHARE_DAYS)), whole[:, None], 0.0)
    share[rng.random(n) < 0.2, 3] = np.nan  # not over yet
    return X, np.full(n, 10.0), Durations(np.where(event, days, 1000.0), event), share


@pytest.fixture(scope="module")
def sharing():
    X, due, outcome, share = simulate(0)
    return Sharing.fit(X, due, outcome, share, categorical=[], seed=0)


def test_shares_follow_who_pays_and_a_constant_does_not(sharing):
    X, due, _, _ = simulate(1)
    p, ahead = np.full((len(X), 1), 0.5), np.full((len(X), 1), 180.0)
    expected = sharing.expected(X, due, p, ahead)[:, 0]
    for kind, truth in ((1.0, 0.5), (0.0, 0.25)):
        mine = X[:, 0] == kind
        # Shares of kind 0 have a deviation of .17 and some 700 payers were learnt from.
        assert abs(expected[mine].mean() - truth) < 4.0 * 0.5 * 0.18 / np.sqrt(700)
        constant = 0.5 * sharing.paid[2] + 0.5 * sharing.partial[2]
        assert abs(constant - truth) > 0.1


def test_shares_do_not_fall_with_the_horizon(sharing):
    X, due, _, _ = simulate(2, n=200)
    ahead = np.tile([0.0, 1.0, 20.0, 30.0, 60.0, 200.0, 365.0, 900.0], (len(X), 1))
    p = 1.0 - np.exp(-ahead / 200.0)
    share = sharing.expected(X, due, p, ahead)
    assert (share[:, 0] == 0.0).all()
    assert (np.diff(share, axis=1) >= -1e-12).all()
    assert ((share >= 0.0) & (share <= 1.0)).all()


def test_where_all_pay_everything_there_is_nothing_to_learn():
    X, due, outcome, share = simulate(3, n=2000)
    whole = np.where(np.isnan(share), np.nan, share > 0)
    sharing = Sharing.fit(X, due, outcome, whole, categorical=[], seed=0)
    assert sharing.trees[0] is None
    assert sharing.paid == pytest.approx(1.0)


def test_plain_values_give_the_same_shares(sharing):
    again = Sharing.from_json(sharing.to_json())
    X, due, _, _ = simulate(4, n=50)
    ahead = np.tile([30.0, 365.0], (len(X), 1))
    one, two = (s.expected(X, due, np.full((50, 2), 0.3), ahead) for s in (sharing, again))
    np.testing.assert_array_equal(one, two)
