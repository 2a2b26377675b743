"""Compiled code for one row: the numbers of LightGBM, to the last bit, and of its own Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from collectopt.models import kernels
from collectopt.models.boosting import TreeOptions, Trees
from collectopt.models.forests import MOST_BINS, Prices, Track, laid_out

OWN, CLOCK = 6, 4


def rows(rng, n):
    X = rng.normal(size=(n, OWN + CLOCK)).astype(np.float32)
    X[rng.random(X.shape) < 0.15] = np.nan
    X[:, 5] = rng.integers(-2, 12, n)  # codes that were never met among them
    X[rng.random(n) < 0.1, 5] = np.nan
    X[:, 6] = np.round(X[:, 6])  # ties with the limits
    return X


@pytest.fixture(scope="module")
def fitted():
    """Two models whose trees differ in size, on own columns, categories and those of a clock."""
    rng = np.random.default_rng(3)
    X = rows(rng, 4000)
    odds = np.nan_to_num(X[:, 0] * X[:, 7] + X[:, 8]) + (X[:, 5] % 3 == 1)
    y = (rng.random(len(X)) < 1.0 / (1.0 + np.exp(-odds))).astype(float)
    options = (TreeOptions(rounds=25, leaves=31), TreeOptions(rounds=8, leaves=4))
    return [Trees.fit(X, y, options=each, categorical=[5]) for each in options]


@pytest.fixture(scope="module")
def forests(fitted):
    return laid_out(trees.booster.dump_model() for trees in fitted)


def track(forests, clock, usual, due):
    empty, nodes = np.zeros(0), np.flatnonzero(forests.node["column"] >= OWN)
    return Track(
        clock=clock.copy(), left=kernels.clock_splits(forests, nodes, clock, OWN),
        due=due, usual=usual,
        base=np.zeros((1, len(clock))), stage=np.zeros(len(clock), dtype=np.int64),
        at=np.zeros(0, dtype=np.int64), share=empty, piece=np.zeros(0, dtype=np.int64),
        middle=empty, weight=empty, start=empty, shut=np.zeros(0, dtype=np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("forest", [0, 1])
def test_one_row_is_lightgbms_to_the_last_bit(fitted, forests, forest):
    X = rows(np.random.default_rng(8), 300)
    known = fitted[forest].score(X)
    found = [kernels.one(forests, forest, x[:-1].copy(), float(x[-1])) for x in X]
    np.testing.assert_array_equal(found, known)
    python = [kernels.one.py_func(forests, forest, x[:-1].copy(), x[-1]) for x in X[:20]]
    np.testing.assert_array_equal(python, known[:20])


@pytest.mark.parametrize("bins", [1, 2, 13, MOST_BINS])
@pytest.mark.parametrize("usual", [(), (1, 4)])
def test_lines_of_a_row_are_lightgbms_to_the_last_bit(fitted, forests, bins, usual):
    rng = np.random.default_rng(bins)
    for forest, trees in enumerate(fitted):
        for _ in range(10):
            X = rows(rng, bins)
            x, clock = X[0, :OWN].copy(), np.ascontiguousarray(X[:, OWN:])
            due = rng.normal(size=bins).astype(np.float32)
            at = track(forests, clock, np.array(usual, dtype=np.int64), due)
            for j, column in enumerate(usual):
                at.clock[:, CLOCK - len(usual) + j] = due - x[column]
            data = np.column_stack([np.repeat(x[None], bins, axis=0), at.clock])
            out = np.zeros(bins)
            kernels.lines(forests, forest, x, at, out)
            np.testing.assert_array_equal(out, trees.score(data))


def test_splits_of_a_kind_not_known_are_left_to_lightgbm(fitted):
    dump = fitted[1].booster.dump_model()
    dump["tree_info"][0]["tree_structure"]["missing_type"] = "Zero"
    assert laid_out([dump]) is None


def test_a_tree_that_is_one_leaf():
    X = np.zeros((50, OWN + CLOCK), dtype=np.float32)
    trees = Trees.fit(X, np.r_[np.ones(20), np.zeros(30)], options=TreeOptions(rounds=2))
    found = kernels.one(laid_out([trees.booster.dump_model()]), 0, X[0], 0.0)
    assert found == trees.score(X[:1])[0]


@pytest.mark.parametrize("itself", [True, False])
def test_the_best_of_each_class_is_numpys(itself):
    rng = np.random.default_rng(4)
    for _ in range(50):
        K, p = 9, 3
        phi, other = rng.normal(size=(2, K, p))
        theta, proceeds = rng.normal(size=(2, 1, p)) * 0.3
        prices = Prices(rng.normal(size=K), rng.normal(size=K), np.array([[0, K], [3, 1], [2, 8]]))
        allowed = rng.random(K) < 0.6
        found = np.empty((2, K)), np.empty((2, 3))
        told = (50.0, 7.0, 0.4, itself)
        kernels.best_of_classes(prices, (theta, phi), (proceeds, other), told, allowed, found)
        change = np.clip(0.4 + (phi @ theta[0]), 0.0, 1.0) - 0.4
        brought = other @ proceeds[0] if itself else change
        values = np.where(allowed, 50.0 * brought + prices.flat + 7.0 * prices.by_worth, -np.inf)
        values[0] = 0.0
        table = np.append(values, -np.inf)[prices.grid]
        np.testing.assert_allclose(found[0], [change, brought], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found[1][0], table.max(axis=1), rtol=1e-12)
        at = prices.grid[np.arange(3), table.argmax(axis=1)]
        known = np.isfinite(table.max(axis=1))
        np.testing.assert_array_equal(found[1][1][known], at[known])


def test_all_else_works_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None; from collectopt.models import one_row; "
        "import collectopt.policy.one; assert one_row.compiled() is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
