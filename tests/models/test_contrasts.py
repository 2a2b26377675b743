"""Regressions that learn their own priors: what is there is found, what is not is left at 0."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge

from collectopt.models.contrasts import Mains, ridge, sparse


def data(n=4000, p=12, seed=0, **effects):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    y = 0.5 + 2.0 * rng.normal(size=n)
    for place, size in effects.items():
        y += size * X[:, int(place[1:])]
    return X, y


def test_ridge_is_the_one_of_largest_evidence():
    """An independent implementation finds the same, but for its weak hyper-priors."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(2000, 8))
    y = 1.0 + X @ rng.normal(0.0, 0.2, 8) + rng.normal(size=2000)
    other = BayesianRidge(max_iter=2000, tol=1e-10).fit(X, y)
    mine = ridge(X, y)
    np.testing.assert_allclose(mine.coef, other.coef_, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(mine(X), other.predict(X), atol=1e-3)


def test_both_find_an_effect_and_sparse_leaves_the_rest_alone():
    X, y = data(c3=0.4)
    error = 2.0 / np.sqrt(len(X))
    assert abs(ridge(X, y).coef[3] - 0.4) < 4.0 * error
    found = sparse(X, y).coef
    assert abs(found[3] - 0.4) < 4.0 * error
    assert np.abs(np.delete(found, 3)).sum() < error


@pytest.mark.parametrize("fit", [ridge, sparse])
def test_nothing_is_made_of_noise(fit):
    """Least squares would spread its error over all columns."""
    spread, plain = [], []
    for seed in range(20):
        X, y = data(n=500, seed=seed)
        line = fit(X, y)
        spread.append(line(X).std())
        plain.append((X @ np.linalg.lstsq(X, y - y.mean(), rcond=None)[0]).std())
        assert line(X).mean() == pytest.approx(y.mean(), abs=1e-9)
    assert np.mean(spread) < 0.4 * np.mean(plain)


def test_a_product_is_found_among_the_wide_columns():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4000, 4)).astype(np.float32)
    y = 0.5 * X[:, 1] * X[:, 2] + rng.normal(size=4000)
    mains = Mains.learn(X)
    Z = mains.apply(X)
    found = sparse(mains.wide(Z), y).coef
    pair = 4 + mains.pairs.tolist().index([1, 2])
    assert np.abs(found).argmax() == pair
    assert np.corrcoef(sparse(mains.wide(Z), y)(mains.wide(Z)), X[:, 1] * X[:, 2])[0, 1] > 0.99


def test_columns_are_made_comparable():
    rng = np.random.default_rng(4)
    amount = np.exp(rng.normal(3.0, 1.5, 2000))
    gaps = np.where(rng.random(2000) < 0.3, np.nan, rng.normal(5.0, 2.0, 2000))
    X = np.column_stack([amount, gaps, np.full(2000, 7.0), amount]).astype(np.float32)
    mains = Mains.learn(X)
    Z = mains.apply(X)
    assert mains.logs.tolist() == [True, False, False, True]
    assert mains.gaps.tolist() == [1]
    assert Z.shape == (2000, 5)
    np.testing.assert_allclose(Z[:, 0].std(), 1.0, atol=0.02)
    np.testing.assert_array_equal(Z[:, 1][np.isnan(gaps)], 0.0)
    np.testing.assert_array_equal(Z[:, 4], np.isnan(gaps))
    assert not Z[:, 2].any()
    assert np.abs(Z).max() <= 5.0
    # Columns that say the same have no product.
    assert [0, 3] not in mains.pairs.tolist()
    assert [1, 4] not in mains.pairs.tolist()  # a column and its own gap


def test_of_too_many_products_an_even_part_is_looked_at():
    X = np.random.default_rng(5).normal(size=(300, 60)).astype(np.float32)
    pairs = Mains.learn(X).pairs
    assert 300 <= len(pairs) <= 400
    assert len(np.unique(pairs)) > 55
