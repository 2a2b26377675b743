"""New channels, tones and offers: what is expected of them, with the error that this has."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.models import ResponseModel
from collectopt.models.priors import PRIOR_EFFECTS, prior_effects, prior_spread
from collectopt.schema import ActionSet

CHANNELS = ("email", "sms", "letter", "phone", "pigeon")


def actions(channels=CHANNELS, tones=("friendly", "firm")):
    rows = [{"channel": c, "tone": t} for c in channels for t in tones]
    return ActionSet.from_frame([{"channel": "none"}, *rows])


def fitted(tried, effect, n=20_000, seed=0, which=None, tones=("friendly",)):
    """Actions of the tried channels and tones, at random; `effect` (K,) is their truth."""
    which = which or actions()
    rng = np.random.default_rng(seed)
    channel = np.array([*which.channels, ""])[which.channel]
    tone = np.array([*which.tones, ""])[which.tone]
    arms = np.r_[0, np.flatnonzero(np.isin(channel, tried) & np.isin(tone, tones))]
    x = rng.normal(size=n)
    chance = np.r_[0.5, np.full(len(arms) - 1, 0.5 / (len(arms) - 1))]
    action = rng.choice(arms, size=n, p=chance)
    y = 0.4 + 0.1 * x + effect[action] + 0.4 * rng.normal(size=n)
    model = ResponseModel(individual=False).fit(
        x[:, None], y, action=action, actions=which,
        propensity=chance[np.searchsorted(arms, action)],
    )  # fmt: skip
    return model, channel, tone


def test_an_unseen_channel_starts_from_its_prior_relative_to_what_was_learnt():
    """All contacts bring five times what the trials let expect; so do the new ones, or about."""
    which = actions()
    model, channel, _ = fitted(("email", "sms"), 5 * prior_effects(which))
    assert model.gate.open
    points = {e.channel: e.points for e in PRIOR_EFFECTS}
    mean = np.average([points["email"], points["sms"]])  # the log has as many of each
    for name in ("letter", "phone", "pigeon"):
        ratio = points.get(name, points["*"]) / mean
        found = model.effects[channel == name][0]
        assert found == pytest.approx(ratio * model.theta[0], rel=0.02)
        truth = 5 * points.get(name, points["*"])
        assert abs(found - truth) < 2 * model.effects_stderr[channel == name][0]


def test_the_error_of_an_unseen_channel_is_that_of_the_trials_and_more():
    which = actions()
    model, channel, tone = fitted(("email", "sms"), 5 * prior_effects(which))
    some = tone == "friendly"  # the other tone is new to all of them
    error, effect = model.effects_stderr[some], model.effects[some]
    new = np.isin(channel[some], ("letter", "phone", "pigeon"))
    assert (error / effect)[new].min() > 1.5 * (error / effect)[~new].max()
    assert error[new].min() > error[~new].max()
    assert (error / effect >= 0.99 * prior_spread(which)[some])[new].all()


def test_seen_channels_that_differ_do_not_move_an_unseen_one():
    """The new one is no average of deviations that have nothing to do with it."""
    effect = np.zeros(len(actions()))
    which = actions()
    channel = np.array([*which.channels, ""])[which.channel]
    effect[channel == "email"], effect[channel == "sms"] = 0.02, 0.18
    model, channel, _ = fitted(("email", "sms"), effect)
    strength = model.factors.phi[channel == "letter", 0][0]
    assert model.effects[channel == "letter"][0] == pytest.approx(strength * model.theta[0])


@pytest.mark.parametrize("tried", [("email",), ("email", "sms", "letter")])
def test_an_unseen_tone_is_like_the_others_with_a_wider_error(tried):
    which = actions()
    model, channel, tone = fitted(tried, 5 * prior_effects(which))
    old = (channel == "email") & (tone == "friendly")
    new = (channel == "email") & (tone == "firm")
    assert model.effects[new][0] == pytest.approx(model.effects[old][0])
    assert model.effects_stderr[new][0] > 1.5 * model.effects_stderr[old][0]


def test_where_nothing_shows_the_unseen_is_zero_but_not_certainly():
    shut = 0
    for seed in range(8):
        model, _, _ = fitted(("email", "sms"), np.zeros(len(actions())), n=5000, seed=seed)
        assert (model.effects_stderr[1:] > 0).all()
        if not model.gate.open:
            shut += 1
            assert (model.effects == 0).all()
    assert shut >= 6


def test_the_table_lists_what_was_never_tried_with_no_decisions(tmp_path):
    which = actions()
    model, _, _ = fitted(("email", "sms"), 5 * prior_effects(which))
    table = model.table(which).set_index("level")
    assert table.loc["letter", "decisions"] == 0
    assert table.loc["letter", "effect"] > table.loc["email", "effect"]
    assert table.loc["letter", "stderr"] > table.loc["email", "stderr"]
    model.save(tmp_path)
    again = ResponseModel.load(tmp_path)
    np.testing.assert_array_equal(again.effects_stderr, model.effects_stderr)


def test_seen_channels_are_as_they_would_be_without_the_others():
    full, _, _ = fitted(("email", "sms"), 5 * prior_effects(actions()))
    few = actions(("email", "sms"))
    alone, _, _ = fitted(("email", "sms"), 5 * prior_effects(few), which=few)
    assert full.effects[: len(few)] == pytest.approx(alone.effects, rel=1e-4)
