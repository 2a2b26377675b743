"""Effects that jump at thresholds, against known truth: found with trees, and not invented."""

import json

import numpy as np
import pytest

from collectopt.models.heldout import HeldOut
from collectopt.models.response import ResponseModel
from collectopt.models.shallow import ShallowTrees
from collectopt.models.tilt import share_of
from collectopt.schema.actions import ActionSet
from collectopt.testing import check_response_model

PAIR = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])
WORLDS = {
    "one threshold": lambda x: 0.1 + 0.3 * (x[:, 0] > 0.5),
    "both thresholds": lambda x: 0.4 * ((x[:, 0] > 0) & (x[:, 1] > 0)),
    "linear": lambda x: 0.2 + 0.15 * x[:, 0] - 0.1 * x[:, 1],
    "none": lambda x: 0.0 * x[:, 0],
}


def trial(world, seed, n=3000):
    """An even trial of one message."""
    rng = np.random.default_rng(seed)
    x, action = rng.normal(size=(n, 4)), rng.integers(0, 2, n)
    y = 0.2 * x[:, 1] + WORLDS[world](x) * action + 0.4 * rng.normal(size=n)
    return x, y, action


def fit(log, *, trees=False, hold_out=False, folds=3):
    x, y, action = log
    model, even = ResponseModel(trees=trees, folds=folds), np.full(len(y), 0.5)
    return model.fit(x, y, action=action, actions=PAIR, propensity=even, hold_out=hold_out)


def told(model, x):
    theta, phi = model.effect_factors(x)
    return np.broadcast_to(theta @ phi[1], len(x))


def errors(world, seeds, first):
    """Root mean squared error of the effects of new rows and share of them in their 90 % interval.

    By seed and model: without and with trees.
    """
    new = np.random.default_rng(99).normal(size=(1000, 4))
    truth = WORLDS[world](new)
    off, held = np.empty((seeds, 2)), np.empty((seeds, 2))
    for seed in range(seeds):
        log = trial(world, first + seed)
        for k, trees in enumerate((False, True)):
            model = fit(log, trees=trees)
            wrong = np.abs(told(model, new) - truth)
            off[seed, k] = np.sqrt(np.mean(wrong**2))
            held[seed, k] = np.mean(wrong < 1.645 * model.effect_stderr(new, 1))
    return off, held


@pytest.mark.parametrize("world", ["one threshold", "both thresholds"])
def test_effects_that_jump_are_found_where_lines_miss_them(world):
    off, held = errors(world, 5, 300)
    gained = off[:, 0] - off[:, 1]
    assert gained.mean() > 2 * gained.std(ddof=1) / np.sqrt(len(gained))
    assert off[:, 1].mean() < 0.75 * off[:, 0].mean()
    assert held[:, 0].mean() < 0.75 < held[:, 1].mean()  # lines are wrong and sure of it


def test_straight_effects_lose_nothing_beyond_noise():
    off, _ = errors("linear", 5, 400)
    lost = off[:, 1] - off[:, 0]
    assert lost.mean() < 2 * lost.std(ddof=1) / np.sqrt(len(lost)) + 0.001
    assert lost.mean() < 0.05 * off[:, 0].mean()


def test_no_effects_are_invented():
    models = [(fit(trial("none", seed), trees=True), seed) for seed in range(500, 508)]
    assert sum(model.gate.open for model, _ in models) <= 2
    for model, seed in models:
        assert np.std(told(model, trial("none", seed)[0])) < 0.02


def test_the_same_effect_for_everybody_stays_the_same():
    rng = np.random.default_rng(0)
    spread = []
    for _ in range(5):
        x, action = rng.normal(size=(3000, 4)), rng.integers(0, 2, 3000)
        y = 0.2 * x[:, 1] + 0.2 * action + 0.4 * rng.normal(size=3000)
        spread.append([told(fit((x, y, action), trees=on), x).std() for on in (False, True)])
    assert np.mean(spread, axis=0)[1] < np.mean(spread, axis=0)[0] + 0.005


def test_one_split_has_the_posterior_that_can_be_worked_out_by_hand():
    Z = np.repeat([[0.0], [1.0]], [300, 100], axis=0)
    contact = np.tile([0.5, -0.5], 200)
    noise = np.tile([1.0, 1.0, -1.0, -1.0], 100) * 0.1  # tells nothing of either side
    left = contact * np.where(Z[:, 0] > 0.0, 3.0, 1.0) + noise
    trees = ShallowTrees.learn(Z, contact, left, alike=1.0)
    kept = 256.0 / 257.0  # the widest prior
    assert trees(np.array([[1.0], [0.0]])) == pytest.approx(kept * 2.0 * np.array([0.75, -0.25]))
    weight = 0.25 * 400 * 0.25 * 0.75
    rest = np.mean((left - contact * (1.5 + trees(Z))) ** 2)
    # The noise is of the sweep before, and hardly another one.
    expected = kept * rest / weight * np.array([0.75, 0.25]) ** 2
    assert trees.variance(np.array([[1.0], [0.0]])) == pytest.approx(expected, rel=0.01)
    assert contact**2 @ trees(Z) == pytest.approx(0.0, abs=1e-9)


def test_where_there_is_nothing_no_tree_grows():
    contact = np.tile([0.5, -0.5], 200)
    rng = np.random.default_rng(1)
    for Z in (np.ones((400, 2)), np.ones((400, 0)), rng.random((400, 3))):
        trees = ShallowTrees.learn(Z, contact, contact.copy(), alike=1.0)
        assert not trees(Z).any()
        assert np.isfinite(trees.variance(Z)).all()


def test_noise_does_not_move_the_share_and_evidence_does():
    more, left = np.ones(100), np.full(100, 2.0)
    assert share_of(more, left, noise=1e9) == pytest.approx(0.0, abs=1e-6)
    assert share_of(more, 0.5 * more, noise=1e-15) == pytest.approx(0.5)
    assert share_of(more, 0.5 * more, noise=0.25) == pytest.approx((50.0 - 2.0 * 5.0) / 101.0)
    assert share_of(more, 0.1 * more, noise=0.25) == 0.0  # two standard errors and no more
    assert share_of(more, left, noise=1e-9) == 1.0
    assert share_of(more, -left, noise=1e-9) == 0.0
    assert share_of(0.0 * more, left, noise=1.0) == 0.0


@pytest.fixture(scope="module")
def jumping():
    log = trial("both thresholds", 600)
    return fit(log, trees=True, hold_out=True), log


def test_save_and_load_give_the_same_numbers(jumping, tmp_path):
    model, (x, _, _) = jumping
    assert model.trees_share > 0.5
    model.save(tmp_path)
    again = ResponseModel.load(tmp_path)
    np.testing.assert_array_equal(again.predict_response(x), model.predict_response(x))
    np.testing.assert_array_equal(again.effect_stderr(x, 1), model.effect_stderr(x, 1))
    assert (again.effect_stderr(x, 1) > 0.0).all()
    assert again.summary() == model.summary()
    assert "by trees" in model.summary()


def test_what_was_saved_before_there_were_trees_can_be_read(jumping, tmp_path):
    _, log = jumping
    plain = fit(log)
    plain.save(tmp_path)
    content = json.loads((tmp_path / "response.json").read_text())
    assert content["parameters"].pop("trees") is False
    (tmp_path / "response.json").write_text(json.dumps(content))
    again = ResponseModel.load(tmp_path)
    assert again.trees_share == 0.0
    np.testing.assert_array_equal(again.predict_response(log[0]), plain.predict_response(log[0]))


def test_held_out_effects_are_those_of_trees_too(jumping):
    model, log = jumping
    truth = WORLDS["both thresholds"](log[0])
    without = fit(log, hold_out=True).held_out
    assert isinstance(model.held_out, HeldOut)
    off = [np.abs(held.individual[:, 0] - truth).mean() for held in (without, model.held_out)]
    assert off[1] < 0.75 * off[0]
    two = fit(log, trees=True, hold_out=True, folds=2)  # one fold is left: lines alone
    assert np.isfinite(two.held_out.individual).all()


def test_rows_of_an_account_that_are_alike_do_not_count_as_evidence():
    x, y, action = trial("none", 700, n=400)
    y = y + 0.2 * action
    many = np.tile(np.arange(400), 5)
    options = {"action": action[many], "actions": PAIR, "propensity": np.full(2000, 0.5)}
    told_of = [
        told(ResponseModel(trees=True, folds=3).fit(x[many], y[many], account=who, **options), x)
        for who in (many, None)
    ]
    assert told_of[0].std() < 0.5 * told_of[1].std()


def test_it_is_fit_for_use():
    check_response_model(lambda: ResponseModel(trees=True, folds=2))
