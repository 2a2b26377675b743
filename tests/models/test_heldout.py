"""Slopes of the outcome on held-out effects: known truth, few rows, accounts with many rows."""

import numpy as np
import pytest

from collectopt.models.heldout import HeldOut
from collectopt.models.response import ResponseModel
from collectopt.schema.actions import ActionSet

TWO = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])


def world(rng, n, noise, *, sd=1.0):
    """Effects .3 + d(x); the individual effects on trial are those and noise."""
    s = rng.choice([-0.5, 0.5], n)
    d = 0.2 * rng.normal(size=n)
    shown = d + noise * rng.normal(size=n)
    outcome = s * (0.3 + d) + sd * rng.normal(size=n)
    column = np.ones((n, 1))
    return HeldOut(
        outcome=outcome,
        factors=s[:, None],
        alike=0.3 * column,
        individual=(0.3 + shown)[:, None],
        weight=np.ones(n),
        cluster=np.arange(n),
    )


def test_slopes_tell_signal_from_noise():
    rng = np.random.default_rng(0)
    one = np.zeros(40_000, dtype=np.int64)
    for noise, expected in ((0.0, 1.0), (0.2, 0.5), (0.6, 0.1)):
        found = world(rng, 40_000, noise, sd=0.5).slopes(one, 1)
        sd = np.sqrt(np.diag(found.covariance[0]))
        assert sd.max() < 0.05
        np.testing.assert_allclose(found.mean[0], [1.0, expected], atol=4 * sd.max())


def test_without_evidence_the_slopes_are_what_is_expected_of_posterior_means():
    found = world(np.random.default_rng(1), 50, 0.0, sd=50.0).slopes(np.zeros(50, int), 1)
    np.testing.assert_allclose(found.mean[0], [1.0, 1.0], atol=0.25)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance[0])), [1.0, 0.5], rtol=0.05)


def test_groups_of_few_rows_have_the_slopes_of_all_and_others_their_own():
    rng = np.random.default_rng(2)
    right, wrong = world(rng, 30_000, 0.0, sd=0.3), world(rng, 30_000, 0.0, sd=0.3)
    parts = {
        name: np.concatenate([getattr(right, name), getattr(wrong, name)])
        for name in ("outcome", "factors", "alike", "individual", "weight")
    }
    parts["individual"][30_000:] = 0.3 - (wrong.individual - 0.3)  # the wrong way round
    held = HeldOut(**parts, cluster=np.arange(60_000))
    group = np.repeat([0, 1], 30_000)
    group[:3] = 2
    found = held.slopes(group, 4)
    assert found.rows.tolist() == [29_997, 30_000, 3, 0]
    np.testing.assert_allclose(found.mean[:2, 1], [1.0, -1.0], atol=0.1)
    np.testing.assert_allclose(found.mean[2:, 1], 0.0, atol=0.3)
    assert (np.sqrt(found.covariance[2:, 1, 1]) > 0.5).all()


def test_rows_of_an_account_that_are_copies_add_nothing():
    held = world(np.random.default_rng(3), 5_000, 0.1)
    four = HeldOut(
        *(np.repeat(getattr(held, name), 4, axis=0) for name in
          ("outcome", "factors", "alike", "individual", "weight", "cluster"))
    )  # fmt: skip
    once, often = (h.slopes(np.zeros(len(h.outcome), int), 1) for h in (held, four))
    np.testing.assert_allclose(once.covariance, often.covariance, rtol=1e-6)
    np.testing.assert_allclose(once.mean, often.mean, rtol=1e-6)


@pytest.mark.parametrize("crossing", [0.3, 0.0])
def test_a_model_keeps_effects_learnt_without_the_fold(crossing):
    rng = np.random.default_rng(4)
    n = 12_000
    X = rng.normal(size=(n, 4))
    action = (rng.random(n) < 0.5).astype(int)
    y = 0.5 * X[:, 1] + action * (0.3 + crossing * X[:, 0]) + rng.normal(size=n)
    given = {"action": action, "actions": TWO, "propensity": np.full(n, 0.5)}
    model = ResponseModel().fit(X, y, **given, hold_out=True)
    held = model.held_out
    found = held.slopes(np.zeros(n, int), 1)
    assert found.mean[0, 0] == pytest.approx(1.0, abs=0.15)
    truth = 0.3 + crossing * X[:, 0]
    off = np.sqrt(np.mean((held.individual[:, 0] - truth) ** 2))
    assert off < 4 * np.sqrt(4 / n)  # the error of one mean effect, and some for the columns
    if crossing:
        assert found.mean[0, 1] == pytest.approx(1.0, abs=0.3)
        assert np.corrcoef(held.individual[:, 0], truth)[0, 1] > 0.95
    assert ResponseModel().fit(X, y, **given).held_out is None
