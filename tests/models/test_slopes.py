"""Straight lines below the trees of a hazard: known truth, few events, signs, codes, files."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.models import HazardModel
from collectopt.models.boosting import expit
from collectopt.models.slopes import STAGES

DAILY = list(range(31))


def draw(n, seed, level=-3.0):
    """Draw days to an event whose daily log odds are straight in the first of six columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    daily = expit(level + 0.8 * X[:, 0].astype(float))
    days = rng.geometric(daily) - 0.5
    return X, np.minimum(days, 30.0), days < 30.0, daily


def of(slopes, n_estimators=100, **more):
    return HazardModel(
        DAILY, n_estimators=n_estimators, num_leaves=7, min_child_samples=50, slopes=slopes, **more
    )


def test_the_line_of_the_truth_is_found():
    # Rare events: else those who stay differ more and more from those who came.
    X, days, event, daily = draw(40_000, seed=0, level=-6.0)
    model = of(1.0, n_estimators=1, learning_rate=1e-9).fit(X, days, event)
    slopes = model.members_[0].slopes
    found = slopes.coef[-1] / slopes.pieces.scale  # no due date: the last stage
    # Fisher information of a slope in log odds: sum over the bins of p (1 - p) x^2.
    each = (np.ceil(days) * daily * (1.0 - daily))[:, None] * X.astype(float) ** 2
    error = 1.0 / np.sqrt(each.sum(axis=0))
    assert np.abs(found[0] - 0.8) < 4.0 * error[0]
    assert (np.abs(found[1:]) < 4.0 * error[1:]).all()


def test_few_events_want_lines():
    """Thirty columns that each say a little: trees see some of it, lines most of it."""
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(2400, 30)).astype(np.float32)
        daily = expit(-4.5 + 0.25 * X @ np.where(np.arange(30) % 2, 1.0, -1.0))
        days = np.minimum(rng.geometric(daily) - 0.5, 30.0)
        learn, test = slice(0, 400), slice(400, None)
        truth = 1.0 - (1.0 - daily[test]) ** 10
        losses = []
        for slopes in (None, 30.0):
            model = of(slopes).fit(X[learn], days[learn], days[learn] < 30.0)
            p = model.predict_cumulative(X[test], [10.0])[:, 0]
            losses.append(-(truth * np.log(p) + (1.0 - truth) * np.log(1.0 - p)).mean())
        gains.append(losses[0] - losses[1])
    assert np.mean(gains) > 4.0 * np.std(gains, ddof=1) / np.sqrt(10)


def test_trees_add_what_is_not_straight():
    rng = np.random.default_rng(1)
    X = rng.uniform(-1.0, 1.0, (20_000, 2)).astype(np.float32)
    daily = np.where(np.abs(X[:, 0]) > 0.5, 0.08, 0.02)
    days = rng.geometric(daily) - 0.5
    model = of(1.0).fit(X, np.minimum(days, 30.0), days < 30.0)
    p = model.predict_cumulative(np.array([[0.8, 0.0], [0.0, 0.0], [-0.8, 0.0]]), [10.0])[:, 0]
    truth = 1.0 - (1.0 - np.array([0.08, 0.02, 0.08])) ** 10
    np.testing.assert_allclose(p, truth, atol=0.05)


def test_slopes_may_turn_at_the_due_date():
    """What brings a payment before the due date holds it back after it."""
    rng = np.random.default_rng(2)
    x = rng.choice([-1.0, 1.0], 20_000)
    odds = -3.0 + np.where(np.arange(30) < 15, 1.0, -1.0) * x[:, None]
    hit = rng.random(odds.shape) < expit(odds)
    days = np.where(hit.any(axis=1), hit.argmax(axis=1) + 0.5, 30.0)
    model = of(5.0, n_estimators=1, learning_rate=1e-9)
    model.fit(x[:, None], days, days < 30.0, offset=np.full(len(x), 15.0))
    coef = model.members_[0].slopes.coef[:, 0]
    due = int(np.searchsorted(STAGES, 0.0)) + 1  # the first stage after it
    assert (coef[1:due] > 0.5).all()
    assert (coef[due : due + 2] < -0.5).all()


def test_codes_get_steps_and_signs_no_line():
    rng = np.random.default_rng(3)
    code = rng.integers(0, 3, 6000)
    daily = np.array([0.02, 0.10, 0.04])[code]
    days = rng.geometric(daily) - 0.5
    X = np.column_stack([code, rng.normal(size=6000)]).astype(np.float32)
    model = of(1.0, monotone={"signed": 1})
    model.fit(
        X, np.minimum(days, 30.0), days < 30.0, names=["code", "signed"], categorical=["code"]
    )
    slopes = model.members_[0].slopes
    np.testing.assert_array_equal(slopes.pieces.column, [0, 0, 0])
    np.testing.assert_array_equal(slopes.pieces.code, [0, 1, 2])
    p = model.predict_cumulative(np.array([[0, 0], [1, 0], [2, 0], [np.nan, 0]]), [10.0])[:, 0]
    assert p[0] < p[2] < p[1]
    assert np.isfinite(p).all()


def test_a_saved_model_with_slopes_gives_the_same_numbers(tmp_path):
    X, days, event, _ = draw(500, seed=4)
    X[::7, 1] = np.nan
    model = of(30.0).fit(X, days, event, categorical=[5])
    model.save(tmp_path)
    again = HazardModel.load(tmp_path)
    told = model.predict_cumulative(X, [5.0, 20.0])
    np.testing.assert_array_equal(again.predict_cumulative(X, [5.0, 20.0]), told)


def test_one_row_alone_gives_the_same_number_to_the_last_bit():
    X, days, event, _ = draw(400, seed=7)
    X = np.column_stack([X, np.random.default_rng(8).normal(size=(400, 30))])
    model = of(30.0, n_estimators=5, half_life_days=np.int64(90)).fit(X, days, event)
    told = model.predict_cumulative(X, [5.0, 20.0])
    alone = np.vstack([model.predict_cumulative(X[[k]], [5.0, 20.0]) for k in range(100)])
    np.testing.assert_array_equal(alone, told[:100])


def test_a_column_without_any_value_has_no_slope():
    X, days, event, _ = draw(400, seed=5)
    X[:, 2] = np.nan
    model = of(30.0).fit(X, days, event)
    assert 2 not in model.members_[0].slopes.pieces.column


def test_two_memories_stand_side_by_side():
    """The level doubles in the last year: a short memory follows it, the mean lags half behind."""
    rng = np.random.default_rng(6)
    start = np.datetime64("2020-01-01") + rng.integers(0, 1460, 40_000)
    daily = np.where(start >= np.datetime64("2023-01-01"), 0.04, 0.02)
    days = rng.geometric(daily) - 0.5
    found = {}
    for memory in (None, 60.0, (None, 60.0)):
        model = of(None, half_life_days=memory, n_estimators=1, learning_rate=1e-9)
        model.fit(np.zeros((40_000, 1)), np.minimum(days, 30.0), days < 30.0, start=start)
        found[memory] = model.predict_cumulative(np.zeros((1, 1)), [1.0], start=start[:1])[0, 0]
    assert found[None] == pytest.approx(daily.mean(), abs=0.002)
    recent = 0.5 ** ((start.max() - start).astype(float) / 60.0)
    assert found[60.0] == pytest.approx(np.average(daily, weights=recent), abs=0.004)
    assert found[60.0] > 1.3 * found[None]
    odds = [np.log(p / (1.0 - p)) for p in found.values()]
    assert odds[2] == pytest.approx((odds[0] + odds[1]) / 2.0, abs=1e-9)
