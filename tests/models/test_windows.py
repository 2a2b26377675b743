"""Windows average with the hazard and stay coherent in time."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.models.hazard import HazardModel
from collectopt.models.labels import Durations
from collectopt.models.windows import END, KNOTS, Bend, Windows

RNG = np.random.default_rng(5)


def book(n: int = 6000):
    """Days to payment whose rate depends on x; watched for up to 400 days."""
    x = RNG.normal(size=(n, 3)).astype(np.float32)
    days = RNG.exponential(60.0 * np.exp(-0.8 * x[:, 0]))
    watched = RNG.uniform(1.0, 400.0, n)
    outcome = Durations(np.minimum(days, watched), days < watched)
    return x, days, watched, outcome


def fitted(x, outcome, watched):
    due = np.full(len(x), 14.0)
    return due, Windows.fit(x, due, outcome, watched=watched, categorical=[], seed=0)


def test_a_window_learns_the_truth_from_rows_that_are_over():
    x, _, watched, outcome = book(20_000)
    due, windows = fitted(x, outcome, watched)
    new = RNG.normal(size=(4000, 3)).astype(np.float32)
    truth = -np.expm1(-np.array([*KNOTS, END]) / (60.0 * np.exp(-0.8 * new[:, :1])))
    # From a hazard that says one half to everybody, a window goes half the way to the truth.
    flat = np.full((len(new), 4), 0.5)
    flat[:, 3] = 1.0
    target = windows.bend(new, np.full(len(new), 14.0), flat).target[:, 0]
    odds = np.log(truth[:, 0] / (1 - truth[:, 0])) / 2
    assert np.corrcoef(target, 1 / (1 + np.exp(-odds)))[0, 1] > 0.97
    assert abs(target.mean() - (1 / (1 + np.exp(-odds))).mean()) < 0.015
    assert len(due) == len(x)


def test_a_window_that_counted_not_yet_as_no_would_be_too_low():
    """The share paid within 90 days, from rows watched long enough, against the naive share."""
    _, days, watched, outcome = book(20_000)
    truth = (days < 90).mean()
    naive = (outcome.event & (outcome.days < 90)).mean()
    known = watched >= 90
    matured = (outcome.event & (outcome.days < 90))[known].mean()
    se = np.sqrt(truth * (1 - truth) / known.sum())
    assert abs(matured - truth) < 3 * se
    assert naive < truth - 10 * se


def test_bending_is_monotone_and_can_be_undone():
    x, _, watched, outcome = book()
    due, windows = fitted(x, outcome, watched)
    hazard = HazardModel(n_estimators=20).fit(x, outcome.days, outcome.event)
    horizons = np.array([0.0, 1, 10, 30, 31, 60, 90, 120, 180, 200, 365, 500, 900])
    p = hazard.predict_cumulative(x[:500], horizons)
    at_knots = hazard.predict_cumulative(x[:500], [*KNOTS, END])
    bend = windows.bend(x[:500], due[:500], at_knots)
    bent = bend.forward(p, np.broadcast_to(horizons, p.shape))
    assert (np.diff(bent, axis=1) >= -1e-12).all()
    assert (bent >= 0).all()
    assert (bent <= 1).all()
    assert (bent[:, 0] == 0).all()
    late = horizons >= END
    kept = bend.target[:, 3] == at_knots[:, 3]
    assert kept.mean() > 0.9
    assert np.allclose(bent[kept][:, late], p[kept][:, late])
    for chance in (0.1, 0.5, 0.9):
        back = bend.backward(chance)
        days = hazard.predict_quantiles(x[:500], back[:, None])
        reached = np.isfinite(days[:, 0])
        found = bend.forward(hazard.predict_cumulative(x[:500], days * reached[:, None]), days)
        assert np.allclose(found[reached, 0], chance, atol=1e-6)


def test_few_rows_leave_the_hazard_alone():
    x, _, watched, outcome = book(150)
    due, windows = fitted(x, outcome, watched)
    assert windows.trees == (None, None, None)
    at_knots = np.tile([0.2, 0.4, 0.6, 0.7], (150, 1))
    assert np.array_equal(windows.bend(x, due, at_knots).target, at_knots)


def test_claims_older_than_any_seen_are_left_to_the_hazard():
    """A young book: trees would answer with what they know of much younger claims."""
    x, _, watched, outcome = book(3000)
    due = RNG.uniform(-30.0, 14.0, len(x))
    windows = Windows.fit(x, due, outcome, watched=watched, categorical=[], seed=0)
    at_knots = np.tile([0.1, 0.2, 0.3, 0.4], (2, 1))
    old, young = windows.bend(x[:2], np.array([-200.0, -10.0]), at_knots).target
    np.testing.assert_allclose(old, at_knots[0], rtol=1e-12)
    assert young[0] != at_knots[1, 0]
    # Half the trust, half the way.
    half = Windows.fit(x, due, outcome, watched=watched, categorical=[], seed=0, trust=0.5)
    steps = [np.log(p / (1.0 - p)) for p in (0.1, half.bend(x[:2], due[:2], at_knots).target[0, 0])]
    whole = windows.bend(x[:2], due[:2], at_knots).target[0, 0]
    assert np.log(whole / (1.0 - whole)) - steps[0] == pytest.approx(2.0 * (steps[1] - steps[0]))


def test_a_flat_hazard_bends_without_dividing_by_zero():
    bend = Bend(np.zeros((1, 4)), np.array([[0.1, 0.2, 0.3, 0.3]]))
    assert bend.forward(np.zeros((1, 2)), np.array([[10.0, 60.0]])) == pytest.approx(
        np.array([[0.0, 0.1]])
    )


def test_saved_windows_are_the_same():
    x, _, watched, outcome = book(3000)
    due, windows = fitted(x, outcome, watched)
    again = Windows.from_json(windows.to_json())
    at_knots = np.tile([0.2, 0.4, 0.6, 0.7], (len(x), 1))
    first, second = (w.bend(x, due, at_knots).target for w in (windows, again))
    assert np.array_equal(first, second)
