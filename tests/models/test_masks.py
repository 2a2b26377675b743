"""Masks give LightGBM's own scores, to the last bit."""

import lightgbm as lgb
import numpy as np
import pytest

from collectopt.models import boosting
from collectopt.models.boosting import TreeOptions, Trees
from collectopt.models.masks import MaskedTrees


def columns(n, seed, *, gaps=True):
    """Two plain columns, one of few values, one of codes; nan in all but the first."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 2] = rng.integers(-2, 3, n)
    X[:, 3] = rng.integers(0, 40, n)
    if gaps:
        X[:, 1:][rng.random((n, 3)) < 0.1] = np.nan
    return X


def fitted(X, leaves=15, seed=0, rounds=60):
    rng = np.random.default_rng(seed)
    z = np.nan_to_num(X[:, 0] + X[:, 1] * (X[:, 2] > 0) + np.sin(X[:, 3]))
    y = (z + rng.normal(size=len(X)) > 0.0).astype(float)
    options = TreeOptions(rounds=rounds, leaves=leaves, min_leaf=10)
    return Trees.fit(X, y, options=options, categorical=[3])


def lines_of(X, width, seed=2):
    """Take the first columns as those of rows that have 0 to 5 lines each."""
    rng = np.random.default_rng(seed)
    rows = X[: len(X) // 2, :width]
    row = np.repeat(np.arange(len(rows)), rng.integers(0, 6, len(rows)))
    lines = X[rng.integers(0, len(X), len(row)), width:]
    return rows, lines, row


@pytest.mark.parametrize("leaves", [2, 15, 16, 17, 32])
@pytest.mark.parametrize("width", [0, 2, 4])
@pytest.mark.parametrize("gaps", [True, False])
def test_masks_agree_with_lightgbm_to_the_last_bit(leaves, width, gaps):
    trees = fitted(columns(3000, 0, gaps=gaps), leaves)
    X = columns(3000, 1)  # with nan, seen in fit or not
    X[:5, 3] = [39.9, -0.5, 1e6, -7.0, 40.0]
    X[5:9, 0] = [np.nan, 0.0, -0.0, 3e38]
    rows, lines, row = lines_of(X, width)
    masks = MaskedTrees.of(trees.booster.dump_model())
    count = np.bincount(row, minlength=len(rows))
    np.testing.assert_array_equal(
        masks.score(rows, lines, count), trees.score(np.column_stack([rows[row], lines]))
    )


def test_values_on_the_thresholds_fall_on_the_same_side():
    trees = fitted(columns(3000, 3))
    text = trees.to_text()
    limits = [
        float(word)
        for line in text.splitlines()
        if line.startswith("threshold=")
        for word in line.removeprefix("threshold=").split()
    ]
    at = np.array(limits).astype(np.float32)
    near = np.concatenate([at, np.nextafter(at, np.float32(9)), np.nextafter(at, np.float32(-9))])
    X = np.column_stack([near, near[::-1], near, np.arange(len(near)) % 41]).astype(np.float32)
    masks = MaskedTrees.of(trees.booster.dump_model())
    one = np.ones(len(X), dtype=np.int64)
    np.testing.assert_array_equal(masks.score(X[:, :2], X[:, 2:], one), trees.score(X))


def test_trees_without_a_split_and_no_lines():
    X = columns(300, 4)
    trees = Trees.fit(X, np.ones(300), options=TreeOptions(rounds=3), categorical=[3])
    masks = MaskedTrees.of(trees.booster.dump_model())
    one = np.ones(300, dtype=np.int64)
    np.testing.assert_array_equal(masks.score(X[:, :2], X[:, 2:], one), trees.score(X))
    assert masks.score(X[:, :2], X[:0, 2:], np.zeros(300, dtype=np.int64)).shape == (0,)


def test_what_masks_cannot_hold_is_left_to_lightgbm(monkeypatch):
    monkeypatch.setattr(boosting, "_MANY_ROWS", 1)
    X = columns(3000, 5)
    rows, lines, row = lines_of(X, 2)
    large = fitted(X, leaves=40)
    assert MaskedTrees.of(large.booster.dump_model()) is None
    zero = lgb.train(
        {"objective": "binary", "zero_as_missing": True, "verbosity": -1, "num_threads": 1},
        lgb.Dataset(X, label=np.arange(3000) % 2),
        2,
    )
    assert MaskedTrees.of(zero.dump_model()) is None
    for trees in (large, Trees(zero), fitted(X)):
        np.testing.assert_array_equal(
            trees.score_lines(rows, lines, row), trees.score(np.column_stack([rows[row], lines]))
        )
