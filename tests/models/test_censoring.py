"""Weights for outcomes that are not over: by hand, and against known truth where others fail."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectopt.exceptions import InputError
from collectopt.models.censoring import seen_weights
from collectopt.models.response import ResponseModel
from collectopt.schema.actions import ActionSet

TWO = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])


def test_kaplan_meier_by_hand():
    days = [2.0, 3.0, 3.0, 4.0, 6.0, 10.0]
    event = [False, True, False, False, True, False]
    # watched on: 5/6 after day 2; the event of day 3 comes before the loss of day 3: 5/6 * 3/4,
    # then 2/3 of that after day 4
    g3, g6 = 5 / 6, 5 / 6 * 3 / 4 * 2 / 3
    weight = seen_weights(days, event, 10.0)
    np.testing.assert_allclose(weight, [0, 1 / g3, 0, 0, 1 / g6, 1 / g6])


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0, 20), st.integers(0, 1)), min_size=1, max_size=60
    )
)
def test_weights_of_each_group_add_up_to_its_rows(rows):
    came, watched, group = (np.array(x, dtype=float) for x in zip(*rows, strict=True))
    days, event = np.minimum(came, watched), came <= watched
    weight = seen_weights(days, event, 8.0, group)
    assert (weight >= 0).all()
    for g in (0, 1):
        mine = group == g
        if (weight[mine] > 0).any() and weight[mine].max() < 19:
            # what is lost goes to those that are watched for longer; nobody is, at the end
            assert weight[mine].sum() <= mine.sum() * (1 + 1e-9)


def world(rng, n):
    """Those with x > 0 pay sooner after a contact; they are watched for a shorter time."""
    x = rng.normal(size=n)
    action = (rng.random(n) < 0.5).astype(int)
    rate = 0.02 * np.exp(0.5 * x) * (1.0 + action * (0.8 + 0.6 * (x > 0)))
    paid = rng.exponential(1.0 / rate)
    watched = np.where(x > 0, rng.uniform(0, 40, n), rng.uniform(10, 120, n))
    truth = (1 - np.exp(-28 * rate)).astype(float)
    none, contact = (
        1 - np.exp(-28 * 0.02 * np.exp(0.5 * x) * (1.0 + a * (0.8 + 0.6 * (x > 0)))) for a in (0, 1)
    )
    return x, action, paid, watched, truth, float((contact - none).mean())


def test_effects_are_right_where_unfinished_outcomes_are_dropped_or_counted_as_no():
    rng = np.random.default_rng(5)
    x, action, paid, watched, _, truth = world(rng, 40_000)
    days, event = np.minimum(paid, watched), paid <= watched
    y = (event & (days <= 28)).astype(float)
    found = {}
    ways = {
        "ours": (seen_weights(days, event, 28.0, 2 * action + (x > 0)), np.ones(len(x), bool)),
        "no": (None, np.ones(len(x), bool)),
        "dropped": (None, watched >= 28),
    }
    for name, (weight, rows) in ways.items():
        model = ResponseModel(individual=False).fit(
            x[rows, None],
            y[rows],
            action=action[rows],
            actions=TWO,
            propensity=np.full(rows.sum(), 0.5),
            weight=None if weight is None else weight[rows],
        )
        found[name] = (model.effects[1], model.effects_stderr[1])
    assert abs(found["ours"][0] - truth) < 3 * found["ours"][1]
    assert found["ours"][1] < 0.012
    for naive in ("no", "dropped"):
        assert abs(found[naive][0] - truth) > 3 * found[naive][1]


def test_bad_input_is_named():
    with pytest.raises(InputError, match="days"):
        seen_weights([1.0, -1.0], [True, False], 5.0)
    with pytest.raises(InputError, match="event"):
        seen_weights([1.0, 1.0], [True], 5.0)
    with pytest.raises(InputError, match="horizon"):
        seen_weights([1.0], [True], 0.0)
    with pytest.raises(InputError, match="group"):
        seen_weights([1.0], [True], 2.0, [1, 2])
    assert len(seen_weights([], [], 2.0)) == 0
