"""Effects against known truth: confounded logs, no effect at all, factors of many actions."""

import numpy as np
import pytest

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.factors import reference
from collectopt.models.priors import PRIOR_EFFECTS
from collectopt.models.response import ResponseModel, prior_effects
from collectopt.models.shrinkage import shrink
from collectopt.schema.actions import ActionSet

CHANNELS = ("email", "sms", "letter")
TONES = ("friendly", "firm")
HOURS = (9.0, 18.0)
GRID = [
    {"channel": c, "tone": t, "offer": o, "hour": h}
    for c in CHANNELS
    for t in TONES
    for o in ("none", "instalments")
    for h in HOURS
]
ACTIONS = ActionSet.from_frame([{"channel": "none"}, *GRID])
TRUTH = np.array(
    [0.0]
    + [0.06 + 0.04 * (g["channel"] == "sms") + 0.05 * (g["offer"] == "instalments") for g in GRID]
)


def confounded_log(rng, accounts, weeks, effects):
    """Bad payers are contacted more, and by letter; rows of an account share a mood."""
    who = np.repeat(np.arange(accounts), weeks)
    bad = rng.normal(size=accounts)[who]
    x = np.column_stack([bad, rng.normal(size=len(who)), rng.exponential(1.0, len(who))])
    contact = 1.0 / (1.0 + np.exp(-(0.3 + 1.2 * bad)))
    by_channel = np.exp(np.outer(bad, [-0.4, 0.0, 0.4]))
    by_channel /= by_channel.sum(axis=1, keepdims=True)
    chance = np.repeat(by_channel, 8, axis=1) / 8.0 * contact[:, None]
    chance = np.column_stack([1.0 - contact, chance])
    action = (rng.random(len(who))[:, None] > np.cumsum(chance, axis=1)).sum(axis=1)
    action = np.minimum(action, len(ACTIONS) - 1)
    mood = 0.05 * rng.normal(size=accounts)[who]
    p = np.clip(0.35 - 0.12 * bad + 0.02 * x[:, 2] + mood + effects[action], 0.0, 1.0)
    y = (rng.random(len(who)) < p).astype(float)
    return x, y, action, chance[np.arange(len(who)), action], who


def test_recovers_effects_from_a_confounded_log_where_the_naive_difference_fails():
    x, y, action, p, who = confounded_log(np.random.default_rng(0), 8000, 4, TRUTH)
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who)
    naive = y[action > 0].mean() - y[action == 0].mean()
    truth = TRUTH[action[action > 0]].mean()
    assert naive < 0.0 < truth
    assert model.gate.open
    assert model.gate.z > 5.0
    effect = dict(zip(model.factors.names, model.theta, strict=True))
    error = dict(zip(model.factors.names, model.stderr, strict=True))
    assert abs(effect["contact"] - truth) < 3 * error["contact"]
    assert error["contact"] < 0.015
    offer = effect["offer:instalments"] - effect["offer:none"]
    assert abs(offer - 0.05) < 3 * 2 * error["offer:none"]
    assert effect["channel:sms"] > max(effect["channel:email"], effect["channel:letter"])
    assert abs(effect["tone:firm"]) < 3 * error["tone:firm"] + 0.005
    assert np.abs(model.effects - TRUTH).mean() < 0.02
    assert model.effects[0] == 0.0


def test_no_effect_shuts_the_gate():
    none = np.zeros(len(ACTIONS))
    found = []
    for seed in range(1, 9):
        x, y, action, p, who = confounded_log(np.random.default_rng(seed), 1500, 3, none)
        model = ResponseModel(folds=3)
        found.append(
            model.fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who).gate.open
        )
        if not model.gate.open:
            assert (model.effects == 0.0).all()
            theta, phi = model.effect_factors(x)
            assert theta.shape == (1, phi.shape[1])
            assert (theta @ phi.T == 0.0).all()
            assert "shut" in model.summary()
    assert sum(found) <= 2  # two looks at 2.25: once in thirty


def test_choices_that_looked_at_more_than_x_are_weighted():
    rng = np.random.default_rng(10)
    n = 6000
    hidden, x = rng.normal(size=n), rng.normal(size=(n, 2))
    contact = 1.0 / (1.0 + np.exp(-1.2 * hidden))
    action = np.where(rng.random(n) < contact, rng.integers(1, len(ACTIONS), n), 0)
    p = np.where(action > 0, contact / (len(ACTIONS) - 1), 1.0 - contact)
    y = 0.1 * (action > 0) - 0.2 * hidden + 0.3 * rng.normal(size=n)
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p)
    blind = ResponseModel().fit(x, y, action=action, actions=ACTIONS)
    assert model.weighted
    assert not blind.weighted
    assert "weighted" in model.summary()
    assert abs(model.effects[1:].mean() - 0.1) < 4 * model.stderr[0]
    assert blind.effects[1:].mean() < 0.0  # what a log without propensities would say


def test_without_propensities_x_has_to_explain_the_choices():
    x, y, action, _, who = confounded_log(np.random.default_rng(11), 6000, 3, TRUTH)
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, account=who)
    truth = TRUTH[action[action > 0]].mean()
    assert abs(model.theta[0] - truth) < 3 * model.stderr[0]


def arms(rng, n, effect):
    """An even trial of one message; the effect is a function of x."""
    x = rng.normal(size=(n, 4))
    action = rng.integers(0, 2, n)
    level = 0.02 + 0.83 / (1.0 + np.exp(-3.0 * x[:, 1]))
    return x, action, level, effect(x, level)


PAIR = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])


def test_individual_effects_follow_the_truth_and_are_not_invented():
    rng = np.random.default_rng(12)
    x, action, level, effect = arms(rng, 20_000, lambda x, _: 0.2 + 0.15 * x[:, 0])
    y = level + effect * action + 0.4 * rng.normal(size=len(x))
    even = np.full(len(x), 0.5)
    found = ResponseModel().fit(x, y, action=action, actions=PAIR, propensity=even)
    theta, phi = found.effect_factors(x)
    told = theta @ phi[1]
    slope, start = np.polyfit(effect, told, 1)
    assert np.corrcoef(told, effect)[0, 1] > 0.97
    assert slope == pytest.approx(1.0, abs=0.1)
    assert start == pytest.approx(0.0, abs=0.03)
    alike = ResponseModel(individual=False).fit(x, y, action=action, actions=PAIR, propensity=even)
    assert len(alike.effect_factors(x)[0]) == 1
    same = level + 0.2 * action + 0.4 * rng.normal(size=len(x))
    none = ResponseModel().fit(x, same, action=action, actions=PAIR, propensity=even)
    theta, phi = none.effect_factors(x)
    assert (theta @ phi[1]).std() < 0.02


@pytest.mark.parametrize("tied", [True, False])
def test_effects_in_proportion_to_the_room_are_told_from_even_ones(tied):
    rng = np.random.default_rng(13)
    n = 30_000
    x, action, level, effect = arms(
        rng, n, lambda _, m: 0.6 * m * (1.0 - m) if tied else np.full(len(m), 0.1)
    )
    y = (rng.random(n) < np.clip(level + effect * action, 0.0, 1.0)).astype(float)
    found = ResponseModel(room=True).fit(
        x, y, action=action, actions=PAIR, propensity=np.full(n, 0.5)
    )
    assert (found.room_share > 0.6) is tied
    theta, phi = found.effect_factors(x)
    assert np.abs(theta @ phi[1] - effect).mean() < 0.02
    with pytest.raises(InputError, match="from 0 to 1"):
        ResponseModel(room=True).fit(x, 2 * y, action=action, actions=PAIR)


def test_intervals_cover_the_truth():
    held = []
    for seed in range(30):
        rng = np.random.default_rng(100 + seed)
        x, action, level, effect = arms(rng, 1500, lambda x, _: np.full(len(x), 0.1))
        y = level + effect * action + 0.4 * rng.normal(size=len(x))
        found = ResponseModel(individual=False, folds=3).fit(
            x, y, action=action, actions=PAIR, propensity=np.full(1500, 0.5)
        )
        held.append(abs(found.effects[1] - 0.1) < 1.96 * found.effects_stderr[1])
    assert sum(held) >= 25  # of 30 at 95 %: fewer once in 200


def test_repeating_every_row_does_not_sharpen_the_evidence():
    x, y, action, p, who = confounded_log(np.random.default_rng(4), 1500, 2, TRUTH)
    once = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who)
    three = np.tile(np.arange(len(y)), 3)
    copied = ResponseModel().fit(
        x[three],
        y[three],
        action=action[three],
        actions=ACTIONS,
        propensity=p[three],
        account=who[three],
    )
    assert copied.gate.z == pytest.approx(once.gate.z, abs=0.6)
    np.testing.assert_allclose(copied.stderr[0], once.stderr[0], rtol=0.1)


@pytest.fixture(scope="module")
def fitted():
    x, y, action, p, who = confounded_log(np.random.default_rng(5), 2000, 3, TRUTH)
    return (
        ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who),
        x[:40],
    )


def test_response_is_wait_plus_effects_within_the_range_of_outcomes(fitted):
    model, x = fitted
    response = model.predict_response(x)
    assert response.shape == (40, len(ACTIONS))
    np.testing.assert_array_equal(response[:, 0], model.predict_wait(x))
    assert ((response >= 0.0) & (response <= 1.0)).all()
    inside = (response > 0.0) & (response < 1.0)
    change = response - response[:, :1]
    theta, phi = model.effect_factors(x)
    np.testing.assert_allclose(change[inside], (theta @ phi.T)[inside], atol=1e-12)
    # Waiting: the level without contacts, not the mean of the log.
    truth = np.clip(0.35 - 0.12 * x[:, 0] + 0.02 * x[:, 2], 0, 1)
    assert np.abs(model.predict_wait(x) - truth).mean() < 0.06


def test_missing_values_and_constant_columns_are_fine(fitted):
    x, y, action, p, who = confounded_log(np.random.default_rng(6), 500, 2, TRUTH)
    x[::7, 1] = np.nan
    x = np.column_stack([x, np.full(len(x), 3.0), np.full(len(x), np.nan)])
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who)
    assert np.isfinite(model.predict_response(x)).all()
    without = ResponseModel().fit(
        x[:, :0], y, action=action, actions=ACTIONS, propensity=p, account=who
    )
    assert np.isfinite(without.predict_response(x[:5, :0])).all()


def test_save_and_load_give_the_same_numbers(fitted, tmp_path):
    model, x = fitted
    model.save(tmp_path)
    again = ResponseModel.load(tmp_path)
    np.testing.assert_array_equal(again.predict_response(x), model.predict_response(x))
    np.testing.assert_array_equal(again.stderr, model.stderr)
    assert again.summary() == model.summary()
    whole = (tmp_path / "response.npz").read_bytes()
    (tmp_path / "response.npz").write_bytes(whole[:300])  # the disk was full
    with pytest.raises(ArtifactError, match="ResponseModel"):
        ResponseModel.load(tmp_path)
    (tmp_path / "response.json").write_text("{}")
    with pytest.raises(ArtifactError, match="ResponseModel"):
        ResponseModel.load(tmp_path)


def test_the_same_log_gives_the_same_effects():
    log = confounded_log(np.random.default_rng(7), 600, 2, TRUTH)
    x, y, action, p, who = log
    theta = [
        ResponseModel(seed=3)
        .fit(x, y, action=action, actions=ACTIONS, propensity=p, account=who)
        .theta
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*theta)


def test_reference_is_a_distribution_close_to_the_log():
    rng = np.random.default_rng(8)
    action = np.where(rng.random(50_000) < 0.4, 0, rng.integers(1, len(ACTIONS), 50_000))
    share = reference(ACTIONS, action)
    assert share.sum() == pytest.approx(1.0)
    assert share[0] == pytest.approx(np.mean(action == 0))
    np.testing.assert_allclose(share[1:], 0.6 / 24, rtol=0.1)


def test_what_was_never_tried_is_a_factor_without_rows():
    action = np.array([0] * 30 + [1] * 30)  # e-mail, friendly, no offer, 9 o'clock
    y = np.r_[np.zeros(30), np.ones(30)]
    model = ResponseModel().fit(
        np.zeros((60, 1)), y, action=action, actions=ACTIONS, propensity=np.full(60, 0.5)
    )
    assert model.factors.names[0] == "contact"
    assert model.factors.count[0] == 30
    assert not model.factors.count[1:].any()
    assert not model.factors.phi[action][:, 1:].any()


def test_shrinkage_pulls_weak_evidence_to_zero_and_leaves_strong_evidence():
    rng = np.random.default_rng(9)
    s = rng.normal(size=(4000, 2))
    r = 0.5 * s[:, 0] + rng.normal(size=4000)
    found = shrink(r, s, np.ones(4000), np.arange(4000), ("strong", "weak"))
    assert found.theta[0] == pytest.approx(0.5, abs=0.06)
    assert abs(found.theta[1]) < 0.02
    nothing = shrink(r, s[:, :0], np.ones(4000), np.arange(4000), ())
    assert len(nothing.theta) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": [99] * 20}, "action"),
        ({"action": [-1] * 20}, "action"),
        ({"propensity": [0.0] * 20}, "propensity"),
        ({"propensity": [1.5] * 20}, "propensity"),
        ({"y": [np.nan] * 20}, "y"),
        ({"y": [np.inf] * 20}, "y"),
        ({"action": [1, 2] * 10}, "no waits"),
        ({"action": [0] * 20}, "waits alone"),
        ({"account": [1] * 20}, "account"),
        ({"account": [1] * 3}, "account"),
        ({"X": np.zeros(20)}, "X"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {
        "X": np.zeros((20, 1)),
        "y": [0.0, 1.0] * 10,
        "action": [0, 1] * 10,
        "actions": ACTIONS,
        "propensity": [0.5] * 20,
        **change,
    }
    with pytest.raises(InputError, match=words):
        ResponseModel().fit(given.pop("X"), given.pop("y"), **given)


def test_one_acted_row_is_little_but_no_crash():
    action = np.zeros(400, dtype=int)
    action[7] = 3
    y = np.arange(400) % 2
    x = np.linspace(-1.0, 1.0, 400)[:, None]
    p = np.full(400, 0.9)
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p)
    assert not model.gate.open
    assert np.isfinite(model.predict_response(x)).all()


def test_wrong_use_is_refused(fitted):
    with pytest.raises(InputError, match="folds"):
        ResponseModel(folds=1).fit(
            np.zeros((20, 1)), [0.0, 1.0] * 10, action=[0, 1] * 10, actions=ACTIONS
        )
    model, x = fitted
    with pytest.raises(NotFittedError):
        ResponseModel().predict_response(x)
    with pytest.raises(InputError, match="columns"):
        model.predict_response(x[:, :1])


def test_prior_effects_are_small_sourced_and_blind_to_wording():
    effects = prior_effects(ACTIONS)
    assert effects[0] == 0.0
    assert ((effects[1:] > 0.0) & (effects[1:] <= 0.04)).all()
    by_channel = {c: set(effects[ACTIONS.channel == i]) for i, c in enumerate(ACTIONS.channels)}
    assert all(len(values) == 1 for values in by_channel.values())
    special = ActionSet.from_frame(
        [{"channel": "none"}, {"channel": "agency"}, {"channel": "carrier pigeon"}]
    )
    assert prior_effects(special).tolist() == [0.0, 0.0, 0.01]
    for prior in PRIOR_EFFECTS:
        assert prior.low <= prior.points <= prior.high
        assert "20" in prior.source


def test_intervals_of_individual_effects_hold_the_truth():
    two = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])
    inside, width = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n, beta = 4000, 0.1 * rng.normal(size=8)
        X, new = rng.normal(size=(n, 8)), rng.normal(size=(200, 8))
        a = (rng.random(n) < 0.5).astype(int)
        y = X[:, 0] + a * (0.3 + X @ beta) + rng.normal(size=n)
        model = ResponseModel().fit(X, y, action=a, actions=two, propensity=np.full(n, 0.5))
        theta, phi = model.effect_factors(new)
        error = model.effect_stderr(new, 1)
        inside.append(np.abs((theta @ phi.T)[:, 1] - (0.3 + new @ beta)) < 1.645 * error)
        width.append(error.mean())
    # 12 worlds: rows of one world err together
    by_world = np.mean(inside, axis=1)
    assert by_world.mean() == pytest.approx(0.9, abs=3 * by_world.std(ddof=1) / np.sqrt(12))
    assert 0.05 < np.mean(width) < 0.12
    assert (model.effect_stderr(new, 0) == 0).all()
