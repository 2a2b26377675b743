"""The checks themselves: the library's model passes, each kind of broken one is caught."""

import numpy as np
import pytest

from collectopt.models import ResponseModel
from collectopt.testing import check_response_model
from collectopt.testing.response import trial


def test_the_librarys_model_passes():
    check_response_model(ResponseModel)


class Naive:
    """Compares plain means."""

    means = None

    def fit(self, X, y, *, action, actions, propensity=None):
        del X, propensity
        if len(action) != len(y) or action.max() >= len(actions):
            raise ValueError("rows")
        self.means = np.array([y[action == k].mean() for k in range(len(actions))])
        return self

    def predict_response(self, X):
        if self.means is None:
            raise ValueError("unfitted")
        return np.tile(self.means, (len(X), 1))


class Weighted(Naive):
    """Weighs by propensities: right, if noisy."""

    def fit(self, X, y, *, action, actions, propensity=None):
        super().fit(X, y, action=action, actions=actions)
        w = 1.0 / propensity
        self.means = np.array(
            [np.average(y[action == k], weights=w[action == k]) for k in range(len(actions))]
        )
        return self


class Relative(Weighted):
    def predict_response(self, X):
        return super().predict_response(X) + X.mean(axis=0)[0]


class Careless(Weighted):
    def fit(self, X, y, **given):
        super().fit(X, y, **given)
        X[:, 0] = 0.0
        return self


class Moody(Weighted):
    rng = np.random.default_rng(0)

    def fit(self, X, y, **given):
        super().fit(X, y, **given)
        self.means += 1e-3 * self.rng.normal(size=3)
        return self


class Elephant(Weighted):
    seen = 0

    def fit(self, X, y, **given):
        super().fit(X, y, **given)
        self.seen += 1
        self.means[1:] += 0.001 * self.seen
        return self


class Trusting(Weighted):
    def fit(self, X, y, *, action, actions, propensity=None):
        kept = np.minimum(action, len(actions) - 1)[: len(y)]
        return super().fit(X, y, action=kept, actions=actions, propensity=propensity[: len(y)])


class Eager(Weighted):
    means = np.zeros(3)


class Narrow(Weighted):
    def predict_response(self, X):
        return super().predict_response(X)[:, 1:]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Naive, "contacted most"),
        (Relative, "which others are asked"),
        (Careless, "leave its input alone"),
        (Moody, "same data gives another"),
        (Elephant, "remembers"),
        (Trusting, "does not exist"),
        (Eager, "before it was fitted"),
        (Narrow, "gives"),
    ],
)
def test_what_is_broken_is_caught(broken, why):
    with pytest.raises((AssertionError, ValueError), match=why):
        check_response_model(broken)


def test_a_model_that_is_merely_noisy_passes():
    check_response_model(Weighted)


def test_the_trial_is_as_it_says():
    log = trial(2, confounded=True)
    plain = log.y[log.action > 0].mean() - log.y[log.action == 0].mean()
    assert plain < 0 < log.effect[1:].min()
    assert log.propensity.min() > 0.01
    by_arm = [np.average(log.y[log.action == k], weights=1 / log.propensity[log.action == k])
              for k in range(3)]  # fmt: skip
    np.testing.assert_allclose(np.subtract(by_arm, by_arm[0]), log.effect, atol=4 * log.stderr)
