"""Scores: by hand, against scikit-learn, and their defined corner cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from collectopt.evaluation import metrics
from collectopt.exceptions import InputError


@st.composite
def scored(draw, weighted=True):
    n = draw(st.integers(2, 40))
    y = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    y[0], y[1] = 0, 1
    p = draw(st.lists(st.integers(0, 8), min_size=n, max_size=n))  # many ties
    w = draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)) if weighted else [1] * n
    return np.array(y), np.array(p) / 8, np.array(w, dtype=float)


@settings(max_examples=60, deadline=None)
@given(scored())
def test_equal_to_scikit_learn(case):
    y, p, w = case
    assert metrics.auc(y, p, weight=w) == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w))
    assert metrics.brier(y, p, weight=w) == pytest.approx(
        sk.brier_score_loss(y, p, sample_weight=w)
    )
    inner = 0.01 + 0.98 * p
    assert metrics.log_loss(y, inner, weight=w) == pytest.approx(
        sk.log_loss(y, inner, sample_weight=w, labels=[0, 1])
    )
    fpr, tpr = metrics.roc_curve(y, p, weight=w)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auc(y, p, weight=w))
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


@settings(max_examples=60, deadline=None)
@given(scored(), st.integers(1, 12))
def test_weights_mean_repeated_rows_and_bins_partition(case, bins):
    y, p, w = case
    times = w.astype(int)
    y2, p2 = np.repeat(y, times), np.repeat(p, times)
    for score in (metrics.auc, metrics.brier, metrics.log_loss):
        assert score(y, p, weight=w) == pytest.approx(score(y2, p2))
    assert metrics.ece(y, p, weight=w, bins=bins) == pytest.approx(metrics.ece(y2, p2, bins=bins))
    table = metrics.calibration_table(y, p, weight=w, bins=bins)
    assert len(table) <= bins
    assert table["n"].sum() == len(y)
    assert table["weight"].sum() == pytest.approx(w.sum())
    assert (table["high"].to_numpy()[:-1] < table["low"].to_numpy()[1:]).all()  # ties stay together
    assert (table["lower"] <= table["observed"]).all()
    assert (table["observed"] <= table["upper"]).all()
    mean = np.average(table["predicted"], weights=table["weight"])
    assert mean == pytest.approx(np.average(p, weights=w))


def test_by_hand():
    # pairs (payer, other): (.4, .1) wins, (.4, .4) ties, (.8, .1) and (.8, .4) win -> 3.5 / 4
    assert metrics.auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]) == 3.5 / 4
    assert metrics.brier([1, 0, 0], [0.5, 0.5, 0.2]) == pytest.approx((0.25 + 0.25 + 0.04) / 3)
    assert metrics.log_loss([1, 0], [0.25, 0.5]) == pytest.approx((np.log(4) + np.log(2)) / 2)
    # bins {.1 .2} and {.6 .9}: |.15 - 0| and |.75 - .5|, equal counts
    y, p = [0, 0, 1, 0], [0.1, 0.2, 0.6, 0.9]
    assert metrics.ece(y, p, bins=2) == pytest.approx((0.15 + 0.25) / 2)


def test_bins_have_equal_counts_without_ties():
    p = np.random.default_rng(0).random(1000)
    table = metrics.calibration_table(p > 0.5, p, bins=10)
    assert table["n"].tolist() == [100] * 10


def test_wilson_known_values():
    # Newcombe (1998), method 3: 81/263 and 15/148
    assert metrics.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metrics.wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert metrics.wilson(0.0, 20)[0] == 0.0
    assert metrics.wilson(1.0, 20)[1] == 1.0
    assert metrics.wilson(0.3, 0) == (0.0, 1.0)
    with pytest.raises(InputError, match="level"):
        metrics.wilson(0.5, 10, level=95)


def test_wilson_covers():
    rng = np.random.default_rng(1)
    rates = rng.binomial(40, 0.1, size=4000) / 40
    inside = [low <= 0.1 <= high for low, high in (metrics.wilson(r, 40) for r in rates)]
    assert 0.93 < np.mean(inside) < 0.98


def test_expected_error_of_a_perfect_model():
    rng = np.random.default_rng(2)
    values = []
    for _ in range(200):
        y = rng.random(2000) < 0.3
        noise = 0.3 + 1e-6 * rng.random(2000)
        values.append(metrics.ece(y, noise, bins=10))
    assert np.mean(values) == pytest.approx(np.sqrt(2 * 0.21 * 10 / (np.pi * 2000)), rel=0.05)


def test_one_class_and_no_rows():
    for y in ([0, 0], [1, 1]):
        assert np.isnan(metrics.auc(y, [0.1, 0.2]))
        assert np.isfinite(metrics.brier(y, [0.1, 0.2]))
        assert np.isfinite(metrics.log_loss(y, [0.1, 0.2]))
        assert np.isfinite(metrics.ece(y, [0.1, 0.2]))
    for score in (metrics.auc, metrics.brier, metrics.log_loss, metrics.ece):
        assert np.isnan(score([], []))
    assert len(metrics.calibration_table([], [])) == 0
    assert np.isnan(metrics.auc([0, 1], [0.1, 0.2], weight=[0, 1]))


def test_certain_and_wrong_is_finite():
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-np.log(1e-12))
    assert metrics.log_loss([0], [1.0]) == pytest.approx(-np.log(1e-12), rel=1e-4)
    assert metrics.log_loss([1], [1.0]) == pytest.approx(0, abs=1e-11)


def test_all_faults_at_once():
    with pytest.raises(InputError) as caught:
        metrics.brier([0, 2, np.nan], [0.1, np.nan, 1.5], weight=[1, -1, np.inf])
    assert [fault.column for fault in caught.value.faults] == ["y", "p", "weight"]
    assert caught.value.faults[0].rows == (1, 2)
    assert "not over" in str(caught.value)
    with pytest.raises(InputError, match="equal length"):
        metrics.auc([0, 1], [0.5])
    with pytest.raises(InputError, match="bins"):
        metrics.calibration_table([0, 1], [0.5, 0.5], bins=0)


def test_interval_coverage():
    # inside, too late, unpaid when the interval was over -> 1/3
    args = ([5, 40, 60], [True, True, False], [1, 10, 2], [9, 30, 50])
    assert metrics.interval_coverage(*args) == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="not over yet"):
        metrics.interval_coverage([20], [False], [1], [30])
    assert np.isnan(metrics.interval_coverage([20], [False], [1], [30], weight=[0]))
    assert metrics.interval_coverage([9, 1], [True, True], [1, 1], [9, 9], weight=[3, 1]) == 1.0
