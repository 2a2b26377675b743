"""Effects told level by level: by hand, and with intervals that hold."""

import numpy as np
import pytest

from collectopt.models.by_level import by_level
from collectopt.models.factors import Factors
from collectopt.models.response import ResponseModel
from collectopt.schema.actions import ActionSet

ACTIONS = ActionSet.from_frame(
    [
        {"channel": "none"},
        {"channel": "email", "tone": "friendly", "hour": 9.0},
        {"channel": "email", "tone": "firm", "hour": 19.5},
        {"channel": "letter", "tone": "friendly", "hour": 9.0},
        {"channel": "letter", "tone": "firm", "hour": 19.5},
    ]
)


def test_levels_by_hand():
    factors = Factors.of(ACTIONS, np.array([0, 0, 1, 2, 3, 4]))
    names = list(factors.names)
    theta = np.zeros(len(names))
    theta[names.index("contact")] = 0.3
    theta[names.index("tone:firm")], theta[names.index("tone:friendly")] = 0.1, -0.1
    table = by_level(factors, ACTIONS, theta, 0.01 * np.eye(len(names)))
    told = table.set_index(["family", "level"])
    assert told.effect["contact", "average"] == pytest.approx(0.3)
    assert told.decisions["contact", "average"] == 4
    # A letter is expected to do twice what an e-mail does: 0.2 and 0.4, 0.3 on average.
    assert told.effect["channel", "email"] == pytest.approx(0.2)
    assert told.effect["channel", "letter"] == pytest.approx(0.4)
    assert told.effect["tone", "firm"] == pytest.approx(0.4)
    assert told.effect["tone", "friendly"] == pytest.approx(0.2)
    assert told.decisions["tone", "firm"] == 2
    assert told.stderr["contact", "average"] == pytest.approx(0.1)
    assert told.low["contact", "average"] == pytest.approx(0.3 - 1.96 * 0.1)
    assert told.loc["hour"].index.tolist() == ["09:00", "19:30"]


def test_intervals_of_a_trial_hold_the_truth():
    rng = np.random.default_rng(3)
    n = 20_000
    action = np.where(rng.random(n) < 0.5, 0, rng.integers(1, 5, n))
    truth = np.array([0.0, 0.06, 0.10, 0.10, 0.14])  # + 0.04 for a letter, + 0.04 for firm
    y = truth[action] + 0.4 * rng.normal(size=n)
    p = np.where(action == 0, 0.5, 0.125)
    x = rng.normal(size=(n, 2))
    model = ResponseModel().fit(x, y, action=action, actions=ACTIONS, propensity=p)
    told = model.table(ACTIONS).set_index(["family", "level"])
    for level, effect in (
        (("contact", "average"), 0.10),
        (("channel", "email"), 0.08),
        (("channel", "letter"), 0.12),
    ):
        assert told.low[level] < effect < told.high[level]
    assert told.stderr["contact", "average"] < 0.01
    assert told.effect["channel", "letter"] > told.effect["channel", "email"]
