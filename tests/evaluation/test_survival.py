"""Kaplan-Meier by hand, and weights that undo breaking off."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.evaluation.survival import broken_off, censoring_weights
from collectopt.models.survival import kaplan_meier


def test_by_hand():
    # at risk 5, 4, 2: events at 1 and 3, one censored at 3 (after the event), one at 2
    curve = kaplan_meier([1, 2, 3, 3, 9], [1, 0, 1, 0, 0])
    assert curve.times.tolist() == [1, 3]
    assert curve.surviving == pytest.approx([4 / 5, 4 / 5 * 2 / 3])
    assert curve.before([0, 1, 1.5, 3, 4]) == pytest.approx([1, 1, 0.8, 0.8, 8 / 15])
    assert curve.after([0, 1, 3]) == pytest.approx([1, 0.8, 8 / 15])
    nobody = kaplan_meier([], [])
    assert nobody.before([5.0]).tolist() == [1.0]


def test_broken_off_is_not_the_end_of_the_data():
    flags = broken_off([5, 5, 30, 30], [True, False, False, True], [30, 30, 30, 40])
    assert flags.tolist() == [False, True, False, False]


def test_weights_by_hand():
    # one breaks off on day 2, when three are at risk: G = 2/3 after
    days, event = [1, 2, 5, 30], [True, False, True, False]
    weight = censoring_weights(days, event, [30] * 4, [10] * 4)
    assert weight == pytest.approx([1, 0, 3 / 2, 3 / 2])
    # horizon over before it breaks off: an outcome like any other
    assert censoring_weights(days, event, [30] * 4, [2] * 4).tolist() == [1, 1, 1, 1]
    assert censoring_weights([1, 30], [True, False], [30, 30], [10, 10]).tolist() == [1, 1]


def test_an_event_comes_before_a_break_off_of_the_same_day():
    weight = censoring_weights([2, 2, 30], [True, False, False], [30] * 3, [10] * 3)
    assert weight == pytest.approx([1, 0, 2])


def test_weights_undo_independent_withdrawals():
    rng = np.random.default_rng(0)
    n = 40_000
    pay, withdrawn = rng.exponential(30, n), rng.exponential(60, n)
    known, target = np.full(n, 90.0), np.full(n, 30.0)
    days = np.minimum.reduce([pay, withdrawn, known])
    event = (pay <= withdrawn) & (pay <= known)
    weight = censoring_weights(days, event, known, target)
    paid = event & (days < target)
    truth = 1 - np.exp(-1)
    assert np.average(paid, weights=weight) == pytest.approx(truth, abs=4 * 0.5 / np.sqrt(n))
    naive = paid.mean()  # "withdrawn = not paid"
    assert naive < truth - 0.1
