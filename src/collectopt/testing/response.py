"""Whether a model of effects is fit for use: known truth, and what every such model must do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from collectopt.schema.actions import ActionSet

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_EFFECT = (0.0, 0.10, 0.25)  # of waiting, e-mail, telephone on a chance of about one half
_ROWS = 6_000
#: Standard errors of a plain difference of means that an average effect may be off by.
_WIDE = 4.0


class EffectModel(Protocol):
    """What is checked; ``save`` and ``load`` are checked where they exist."""

    def fit(
        self, X: Any, y: Any, *, action: Any, actions: ActionSet, propensity: Any = None
    ) -> Any:
        """Learn from logged decisions."""

    def predict_response(self, X: Any) -> Any:
        """Outcome to be expected under each action, (n, K)."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A log with known effects.

    Attributes
    ----------
    X : (n, 3) float64
    y : (n,) float64
        0 or 1.
    action : (n,) int64
        0 = wait, 1 = e-mail, 2 = telephone.
    propensity : (n,) float64
    effect : (3,) float64
        Change of the mean outcome by each action.
    """

    X: Float
    y: Float
    action: Int
    propensity: Float
    effect: Float

    @property
    def actions(self) -> ActionSet:
        """The three actions."""
        return ActionSet.from_frame([{"channel": c} for c in ("none", "email", "phone")])

    @property
    def stderr(self) -> float:
        """Of a difference between two means, weighted by the propensities."""
        weight = 1.0 / self.propensity
        sizes = [
            weight[self.action == k].sum() ** 2 / (weight[self.action == k] ** 2).sum()
            for k in range(3)
        ]
        return float(np.sqrt(0.25 / sizes[0] + 0.25 / min(sizes[1:])))

    def fit(self, model: EffectModel) -> Float:
        """Mean effects that the model learns, (3,)."""
        model.fit(
            self.X,
            self.y,
            action=self.action,
            actions=self.actions,
            propensity=self.propensity,
        )
        response = np.asarray(model.predict_response(self.X), dtype=np.float64)
        shape = (len(self.X), len(self.actions))
        assert response.shape == shape, f"predict_response gives {response.shape}, not {shape}"
        return np.asarray((response - response[:, :1]).mean(axis=0), dtype=np.float64)


def trial(seed: int = 0, *, effect: bool = True, confounded: bool = False) -> Trial:
    """Make a log in which effects are known.

    Parameters
    ----------
    seed : int
    effect : bool
        Whether actions do anything.
    confounded : bool
        Whether those that pay worst are contacted most: a plain comparison then has the wrong sign.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(_ROWS, 3))
    score = np.column_stack([np.zeros(_ROWS), *(1.5 * X[:, 0] * confounded,) * 2])
    chance = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    action = (rng.random((_ROWS, 1)) > np.cumsum(chance, axis=1)).sum(axis=1).clip(max=2)
    truth = np.array(_EFFECT) * effect
    p = np.clip(0.4 - 0.25 * X[:, 0] + 0.03 * X[:, 1], 0.05, 0.7)
    y = (rng.random(_ROWS) < p + truth[action]).astype(np.float64)
    return Trial(X, y, action, chance[np.arange(_ROWS), action], truth)


def check_response_model(make: Callable[[], EffectModel]) -> None:
    """Check that a model of effects can be relied on.

    It must find known effects, also where those that pay worst are contacted most; find none where
    there are none; give (n, K) finite numbers that do not depend on which other rows are asked;
    give the same again on the same data and forget earlier data; leave its input alone; refuse
    actions that do not exist, and to predict before it was fitted; come back the same where it has
    ``save`` and ``load``.

    Parameters
    ----------
    make : callable
        Gives a new model, such as ``ResponseModel`` itself.

    Raises
    ------
    AssertionError
        Says what does not hold.

    Examples
    --------
    >>> from collectopt.models import ResponseModel
    >>> check_response_model(ResponseModel)
    """
    _check_truth(make)
    plain = trial(7)
    model = make()
    before = [array.copy() for array in (plain.X, plain.y, plain.action, plain.propensity)]
    plain.fit(model)
    after = (plain.X, plain.y, plain.action, plain.propensity)
    same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert same, "fit must leave its input alone"
    _check_predictions(model, plain)
    _check_memory(make, plain)
    _check_refusals(make, plain)
    _check_saved(model, plain)


def _check_truth(make: Callable[[], EffectModel]) -> None:
    for name, log in (
        ("where chance decided", trial(1)),
        ("where those that pay worst are contacted most", trial(2, confounded=True)),
        ("where there are none", trial(3, effect=False)),
        (
            "where there are none and bad payers are contacted",
            trial(4, effect=False, confounded=True),
        ),
    ):
        found, room = log.fit(make()), _WIDE * log.stderr
        off = np.abs(found - log.effect).max()
        assert off < room, (
            f"effects {name}: found {found.round(3)}, true are {log.effect}; off by {off:.3f}, "
            f"allowed are {room:.3f}"
        )


def _check_predictions(model: EffectModel, log: Trial) -> None:
    response = np.asarray(model.predict_response(log.X))
    assert np.isfinite(response).all(), "predict_response gives numbers that are not finite"
    some = np.asarray(model.predict_response(log.X[5:15]))
    assert np.allclose(some, response[5:15], atol=1e-6), (
        "the prediction of a row depends on which others are asked with it"
    )
    empty = np.asarray(model.predict_response(log.X[:0]))
    assert empty.shape == (0, 3), f"no rows give {empty.shape}, not (0, 3)"


def _check_memory(make: Callable[[], EffectModel], log: Trial) -> None:
    once, twice = make(), make()
    first = log.fit(once)
    assert np.array_equal(first, log.fit(make())), "the same data gives another model"
    trial(8, effect=False).fit(twice)
    assert np.array_equal(first, log.fit(twice)), "a second fit remembers the first one's data"


def _check_refusals(make: Callable[[], EffectModel], log: Trial) -> None:
    assert _fails(lambda: make().predict_response(log.X)), "predicts before it was fitted"
    wrong = log.action.copy()
    wrong[0] = len(log.actions)

    def learn(y: Float, action: Int) -> Any:
        known = log.propensity
        return make().fit(log.X, y, action=action, actions=log.actions, propensity=known)

    assert _fails(lambda: learn(log.y, wrong)), "learns from an action that does not exist"
    assert _fails(lambda: learn(log.y[:-1], log.action)), "learns from columns of unequal length"


def _check_saved(model: Any, log: Trial) -> None:
    if not (hasattr(model, "save") and hasattr(type(model), "load")):
        return
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        again = type(model).load(Path(folder) / "model")
    same = np.array_equal(again.predict_response(log.X), model.predict_response(log.X))
    assert same, "a saved model comes back another one"


def _fails(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception:  # noqa: BLE001 - any refusal will do
        return True
    return False
