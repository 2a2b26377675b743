"""What an action changes: effects of its factors, learnt from a log with known propensities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.boosting import TreeOptions, Trees, check_matrix, check_vector
from collectopt.models.contrasts import folds
from collectopt.models.factors import Factors, reference
from collectopt.models.priors import prior_effects
from collectopt.models.shrinkage import Shrunk, shrink
from collectopt.schema.actions import ActionSet

__all__ = ["Gate", "ResponseModel", "prior_effects"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

#: z that the evidence for effects must reach; below it all effects are zero.
NEEDED_Z = 2.0
_FOLDS = 5
_TREES_FROM = 1000  # rows from which on the nuisance is half linear, half trees
_CLIP = 10.0


@dataclass(frozen=True)
class Gate:
    """Whether the log shows any effect at all.

    Attributes
    ----------
    z : float
        Slope of the outcome on effects learnt from other accounts, over its error clustered by
        account.
    open : bool
        Whether z reaches 2; else all effects are zero.
    """

    z: float
    open: bool


class ResponseModel:
    """Effect of actions on an outcome, from a log whose propensities are known.

    The outcome is modelled as ``m(x) + (phi(a) - e(x)) . theta``: m(x) is what this x leads to
    under the log's own policy, phi(a) are the factors of the action (a contact at all, then
    channel, tone, offer and slot as deviations), e(x) their mean. Contacts that went to bad payers
    do not make contacts look bad: rows are weighted by how unlikely their action was for them, and
    only what differs from others of the same x counts.

    Effects are shrunk by empirical Bayes: deviations to the common effect of a contact, that one to
    zero. Where effects learnt from some accounts do not show on the others (:class:`Gate`), all
    are zero.

    Parameters
    ----------
    folds : int
        Folds of the cross-fitting; an account is in one fold only.
    seed : int
        Seed of the folds.

    Attributes
    ----------
    factors : Factors
        phi (K, p) with names and counts.
    theta, stderr : (p,) float64
        Effects and their posterior standard errors (clustered by account); zero if the gate is
        shut.
    gate : Gate
    ess : float
        Effective number of rows under the weights.

    Notes
    -----
    Weights are g(a) / propensity, g being the log's own frequencies of factors ("stabilised"),
    clipped at ten times their mean. Under them the action is independent of x, so an error in m(x)
    costs precision, not bias. Robinson (1988), Econometrica 56; Nie & Wager (2021), Biometrika
    108; Robins, Hernan & Brumback (2000), Epidemiology 11 (stabilised weights).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> actions = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])
    >>> x, p = rng.normal(size=4000), np.full(4000, 0.5)
    >>> a = (rng.random(4000) < p).astype(int)
    >>> y = 0.5 * x + 0.3 * a + rng.normal(size=4000)
    >>> model = ResponseModel().fit(x[:, None], y, action=a, actions=actions, propensity=p)
    >>> bool(abs(model.effects[1] - 0.3) < 0.1), model.gate.open
    (True, True)
    """

    def __init__(self, *, folds: int = _FOLDS, seed: int = 0) -> None:
        self.folds = folds
        self.seed = seed
        self.factors: Factors | None = None
        self.theta: Float = np.zeros(0)
        self.stderr: Float = np.zeros(0)
        self.gate = Gate(0.0, open=False)
        self.ess = 0.0
        self._level: _Level | None = None
        self._mean_phi: _Level | None = None
        self._range = (-np.inf, np.inf)

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        action: npt.ArrayLike,
        actions: ActionSet,
        propensity: npt.ArrayLike,
        account: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn effects from logged decisions whose outcomes are over.

        Parameters
        ----------
        X : (n, d) array
            What was known at the decision; nan is missing.
        y : (n,) float
            Outcome, for example 1 = everything past due was paid within the horizon.
        action : (n,) int
            Row of ``actions`` that was played.
        actions : ActionSet
            K actions, row 0 = wait.
        propensity : (n,) float
            Probability with which exactly this action was played, in (0, 1].
        account : (n,) int, optional
            Who it was; rows of one account are not independent. Default: all different.

        Returns
        -------
        ResponseModel
            Itself.

        Raises
        ------
        InputError
            Wrong shapes, actions out of range, propensities outside (0, 1], too few rows.
        """
        matrix = check_matrix(X)
        n = len(matrix)
        outcome = check_vector(y, n, "y")
        played = check_vector(action, n, "action", low=0.0).astype(np.int64)
        chance = check_vector(propensity, n, "propensity", low=0.0)
        who = np.arange(n) if account is None else np.asarray(account)
        self._check(n, played, chance, who, len(actions))
        _, cluster = np.unique(who, return_inverse=True)

        self.factors = Factors.of(actions, played)
        phi = self.factors.phi[played]
        weight = _weights(reference(actions, played)[played] / chance)
        self.ess = float(weight.sum() ** 2 / (weight**2).sum())
        self._range = (float(outcome.min()), float(outcome.max()))
        fold = folds(cluster, self.folds, self.seed)
        residual, left = _residuals(matrix, outcome, phi, weight, fold)
        self._estimate(residual, left, weight, cluster, fold)
        design = _Design.of(matrix, weight)
        self._level = design.fit(outcome[:, None])
        self._mean_phi = design.fit(phi, trees=False)
        return self

    @property
    def effects(self) -> Float:
        """Change of the outcome by each action against waiting, (K,)."""
        return np.asarray(self._fitted("effects").phi @ self.theta, dtype=np.float64)

    def effect_factors(self, X: npt.ArrayLike) -> tuple[Float, Float]:
        """Effects as theta (1, p) and phi (K, p): ``theta @ phi.T`` is the change by each action.

        Parameters
        ----------
        X : (n, d) array
            As in ``fit``. Effects are the same for everybody, so only its shape is checked.
        """
        check_matrix(X)
        return self.theta[None, :], self._fitted("effect_factors").phi

    def predict_wait(self, X: npt.ArrayLike) -> Float:
        """Outcome to be expected without any action, (n,)."""
        self._fitted("predict_wait")
        assert self._level is not None
        assert self._mean_phi is not None
        matrix = check_matrix(X, self._level.width)
        level = self._level.predict(matrix)[:, 0] - self._mean_phi.predict(matrix) @ self.theta
        return np.clip(level, *self._range)

    def predict_response(self, X: npt.ArrayLike) -> Float:
        """Outcome to be expected under each action.

        Parameters
        ----------
        X : (n, d) array
            As in ``fit``.

        Returns
        -------
        (n, K) float64
            Within the range of the outcomes of the log. Use ``effect_factors`` where accounts x
            actions do not fit into memory.
        """
        wait = self.predict_wait(X)
        return np.clip(wait[:, None] + self.effects[None, :], *self._range)

    def save(self, directory: str | Path) -> None:
        """Write ``response.json``, ``response.npz`` and the trees' text into a directory."""
        factors = self._fitted("save")
        assert self._level is not None
        assert self._mean_phi is not None
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": 1,
            "folds": self.folds,
            "seed": self.seed,
            "names": factors.names,
            "family": factors.family,
            "gate": {"z": self.gate.z, "open": self.gate.open},
            "ess": self.ess,
            "range": self._range,
        }
        (path / "response.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        arrays: dict[str, npt.NDArray[Any]] = {"phi": factors.phi, "count": factors.count}
        arrays |= {"theta": self.theta, "stderr": self.stderr}
        for name, part in (("level", self._level), ("mean_phi", self._mean_phi)):
            arrays |= {f"{name}_{key}": values for key, values in part.arrays().items()}
        with (path / "response.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        text = "" if self._level.trees is None else self._level.trees.to_text()
        (path / "response.txt").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> ResponseModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "response.json").read_text(encoding="utf-8"))
            text = (path / "response.txt").read_text(encoding="utf-8")
            with np.load(path / "response.npz", allow_pickle=False) as stored:
                arrays = dict(stored)
            model = cls(folds=content["folds"], seed=content["seed"])
            model.factors = Factors(
                tuple(content["names"]), tuple(content["family"]), arrays["phi"], arrays["count"]
            )
            model.theta, model.stderr = arrays["theta"], arrays["stderr"]
            model.gate = Gate(**content["gate"])
            model.ess = content["ess"]
            model._range = tuple(content["range"])
            trees = Trees.from_text(text) if text else None
            model._level = _Level.of("level", arrays, trees)
            model._mean_phi = _Level.of("mean_phi", arrays, None)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable ResponseModel in {path}: {error}") from error
        return model

    def __repr__(self) -> str:
        return f"ResponseModel(folds={self.folds}, seed={self.seed})"

    def summary(self) -> str:
        """One line a factor: effect, standard error and logged rows behind it."""
        factors = self._fitted("summary")
        state = "open" if self.gate.open else "shut: all effects are zero"
        lines = [f"gate {state} (z = {self.gate.z:.2f}); effective rows {self.ess:.0f}"]
        for row in zip(factors.names, self.theta, self.stderr, factors.count, strict=True):
            lines.append("{:<20} {:+.4f} +- {:.4f}  n={}".format(*row))
        return "\n".join(lines)

    # -- inside ------------------------------------------------------------------------------

    def _fitted(self, method: str) -> Factors:
        if self.factors is None:
            raise NotFittedError.of(self, method)
        return self.factors

    def _check(self, n: int, played: Int, chance: Float, who: npt.NDArray[Any], k: int) -> None:
        for name, wrong, expected in (
            ("action", played >= k, f"rows of actions, 0..{k - 1}"),
            ("propensity", (chance <= 0.0) | (chance > 1.0), "within (0, 1]"),
        ):
            if wrong.any():
                rows = np.flatnonzero(wrong).tolist()
                found = str((played if name == "action" else chance)[rows[0]])
                raise InputError.of(name, None, expected=expected, found=found, rows=rows)
        if len(np.unique(played)) < 2:
            raise InputError.of(
                "action",
                None,
                expected="at least two different actions in the log",
                found="one",
                hint="Such a log says nothing about effects; use prior_effects(actions).",
            )
        if who.shape != (n,):
            raise InputError.of("account", None, expected=f"({n},)", found=str(who.shape))
        if len(np.unique(who)) < 2 * self.folds:
            raise InputError.of(
                "account",
                None,
                expected=f"at least {2 * self.folds} different accounts",
                found=str(len(np.unique(who))),
                hint="With less, use prior_effects(actions).",
            )

    def _estimate(self, r: Float, s: Float, weight: Float, cluster: Int, fold: Int) -> None:
        """Shrink the effects of all rows; open the gate if they show on accounts not used."""
        assert self.factors is not None
        family = self.factors.family
        found = shrink(r, s, weight, cluster, family)
        guess = np.zeros(len(r))
        for k in range(self.folds):
            rest = fold != k
            guess[~rest] = (
                s[~rest] @ shrink(r[rest], s[rest], weight[rest], cluster[rest], family).theta
            )
        score = np.bincount(cluster, weight * guess * r)
        spread = float(np.sqrt((score**2).sum()))
        z = float(score.sum() / spread) if spread > 0.0 else 0.0
        self.gate = Gate(z, open=z >= NEEDED_Z)
        kept = found if self.gate.open else Shrunk(np.zeros(len(family)), found.stderr)
        self.theta, self.stderr = kept.theta, kept.stderr


def _weights(ratio: Float) -> Float:
    weight = np.minimum(ratio / ratio.mean(), _CLIP)
    return np.asarray(weight / weight.mean(), dtype=np.float64)


def _residuals(X: Matrix, y: Float, phi: Float, weight: Float, fold: Int) -> tuple[Float, Float]:
    """Outcome and factors less what x alone says, by models of other accounts."""
    residual, left = np.empty(len(y)), np.empty(phi.shape)
    for k in np.unique(fold):
        rest, own = fold != k, fold == k
        design = _Design.of(X[rest], weight[rest])
        level, mean = design.fit(y[rest, None]), design.fit(phi[rest], trees=False)
        Z = design.standard(X[own])
        residual[own] = y[own] - level.predict(X[own], Z)[:, 0]
        left[own] = phi[own] - mean.predict(X[own], Z)
    return residual, left


@dataclass(frozen=True, eq=False)
class _Scaling:
    """How x enters the ridge.

    Attributes
    ----------
    centre, scale : (d,) float64
        Standardisation; values are clipped at five standard deviations, missing ones are 0.
    log : (d,) bool
        Columns with a long right tail, of which the logarithm is taken first.
    """

    centre: Float
    scale: Float
    log: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, X: Matrix, weight: Float) -> _Scaling:
        wide = X.astype(np.float64)
        log = _is_skewed(wide)
        wide[:, log] = np.log1p(np.maximum(wide[:, log], 0.0))
        known = ~np.isnan(wide)
        mass = np.maximum(weight @ known, 1e-12)
        wide[~known] = 0.0
        centre = weight @ wide / mass
        wide -= centre
        wide[~known] = 0.0
        square = weight @ np.square(wide, out=wide) / mass
        scale = np.where(square > 1e-18, np.sqrt(square), np.inf)
        return cls(centre, scale, log)

    def standard(self, X: Matrix) -> Float:
        """Standardised columns, and one of ones, (n, d + 1)."""
        n, d = X.shape
        z = np.ones((n, d + 1))
        wide = z[:, :d]
        wide[:] = X
        wide[:, self.log] = np.log1p(np.maximum(wide[:, self.log], 0.0))
        wide -= self.centre
        wide /= self.scale
        np.clip(wide, -5.0, 5.0, out=wide)
        wide[np.isnan(wide)] = 0.0
        return z


@dataclass(frozen=True, eq=False)
class _Design:
    """Rows on which several targets are regressed.

    Attributes
    ----------
    X : (n, d) float32
    weight : (n,) float64
    scaling : _Scaling
    Z : (n, d + 1) float64
        Standardised.
    gram : (d + 1, d + 1) float64
        Z'WZ with the penalty.
    """

    X: Matrix
    weight: Float
    scaling: _Scaling
    Z: Float
    gram: Float

    @classmethod
    def of(cls, X: Matrix, weight: Float) -> _Design:
        scaling = _Scaling.of(X, weight)
        Z = scaling.standard(X)
        penalty = np.full(Z.shape[1], 5.0 + 0.5 * X.shape[1])
        penalty[-1] = 0.0
        gram = Z.T @ (weight[:, None] * Z) + np.diag(penalty) + 1e-9 * np.eye(Z.shape[1])
        return cls(X, weight, scaling, Z, gram)

    def standard(self, X: Matrix) -> Float:
        """Other rows in the same standardisation."""
        return self.scaling.standard(X)

    def fit(self, targets: Float, *, trees: bool = True) -> _Level:
        """Regress targets (n, t)."""
        beta = np.linalg.solve(self.gram, self.Z.T @ (self.weight[:, None] * targets))
        start = float(np.average(targets[:, 0], weights=self.weight))
        booster = None
        if trees and len(self.X) >= _TREES_FROM and self.X.shape[1]:
            booster = Trees.fit(
                self.X,
                targets[:, 0] - start,
                options=TreeOptions(rounds=60, rate=0.05, leaves=7, min_leaf=200),
                objective="regression",
                weight=self.weight,
            )
        return _Level(self.scaling, np.asarray(beta, np.float64), start, booster)


@dataclass(frozen=True, eq=False)
class _Level:
    """Weighted mean of some targets given x: ridge, and for the outcome half LightGBM.

    Attributes
    ----------
    scaling : _Scaling
    beta : (d + 1, t) float64
        Ridge coefficients, the constant last.
    start : float
    trees : Trees or None
        Boosted mean of the only target, from ``start`` on.
    """

    scaling: _Scaling
    beta: Float
    start: float
    trees: Trees | None

    @property
    def width(self) -> int:
        return len(self.scaling.centre)

    def predict(self, X: Matrix, Z: Float | None = None) -> Float:
        """Mean of the targets, (n, t); ``Z`` is x standardised, where that is known."""
        linear = (self.scaling.standard(X) if Z is None else Z) @ self.beta
        if self.trees is None:
            return np.asarray(linear, dtype=np.float64)
        return np.asarray(
            0.5 * linear + 0.5 * (self.start + self.trees.score(X))[:, None], dtype=np.float64
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "centre": self.scaling.centre,
            "scale": self.scaling.scale,
            "log": self.scaling.log,
            "beta": self.beta,
            "start": np.array(self.start),
        }

    @classmethod
    def of(cls, name: str, arrays: dict[str, npt.NDArray[Any]], trees: Trees | None) -> _Level:
        part: Sequence[Any] = [arrays[f"{name}_{key}"] for key in _LEVEL]
        scaling = _Scaling(part[0], part[1], part[2].astype(np.bool_))
        return cls(scaling, part[3], float(part[4]), trees)


_LEVEL = ("centre", "scale", "log", "beta", "start")


def _is_skewed(X: Float) -> npt.NDArray[np.bool_]:
    """Find columns of non-negative numbers with a long right tail."""
    if not len(X):
        return np.zeros(X.shape[1], dtype=np.bool_)
    with np.errstate(all="ignore"):
        filled = X.T.copy()  # a column in one piece: faster to sort
        filled[np.isnan(filled)] = 0.0
        middle, top = np.quantile(filled, [0.5, 0.99], axis=1)
        return np.asarray((filled.min(axis=1) >= 0.0) & (top > 10.0 * (middle + 1.0)), np.bool_)
