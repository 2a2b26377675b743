"""What an action changes: effects of its factors on an outcome, learnt from a log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.boosting import Trees, check_matrix, check_vector
from collectopt.models.by_level import by_level
from collectopt.models.contrasts import Mains, folds
from collectopt.models.factors import Factors, reference, unseen_variance
from collectopt.models.gate import NEEDED_Z, Gate, clustered_z, room_share
from collectopt.models.heldout import HeldOut
from collectopt.models.level import Level
from collectopt.models.priors import prior_effects
from collectopt.models.residuals import Residuals, room_of, stabilised, tied
from collectopt.models.shrinkage import Shrunk, shrink
from collectopt.models.tilt import Tilt, blocks
from collectopt.schema.actions import ActionSet

__all__ = ["Gate", "ResponseModel", "prior_effects"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

_FORMAT = 3
_FOLDS = 5


class ResponseModel:
    """Effect of actions on an outcome, from a log of what was tried.

    The outcome is modelled as ``m(x) + b(x) (phi(a) - e(x)) . theta(x)``: m(x) is what this x leads
    to under the log's own policy, phi(a) are the factors of the action (a contact at all, then
    channel, tone, offer and slot as deviations), e(x) their mean. Contacts that went to bad payers
    do not make contacts look bad: only what differs from others of the same x counts.

    theta is a constant for each factor, shrunk by empirical Bayes: deviations towards what
    published trials let expect, all of it towards zero. What a contact brings at all depends on x
    further: by the mean of a ridge regression and of a sparse one on columns and products of two,
    and by shallow trees if asked to; all of them may find nothing. With ``room`` a share of all
    effects is in proportion to what is left to gain or to lose, m(x) (1 - m(x)), as if effects were
    even on the scale of log odds; shares are averaged by their evidence. Else b(x) = 1. Where the
    log shows no effects (:class:`Gate`), all are zero.

    Parameters
    ----------
    room : bool
        Whether effects may be in proportion to m(x) (1 - m(x)), for outcomes from 0 to 1.
    individual : bool
        Whether the effect of a contact depends on x beyond b(x).
    trees : bool
        Whether individual effects may jump at thresholds, see Notes.
    folds : int
        Folds of the cross-fitting; an account is in one fold only.
    seed : int
        Seed of the folds.

    Attributes
    ----------
    factors : Factors
        phi (K, p) with names and counts.
    theta, stderr : (p,) float64
        Mean effects of the factors and their posterior standard errors (clustered by account);
        theta is zero if the gate is shut.
    gate : Gate
    room_share : float
        Share of the effects that is in proportion to m(x) (1 - m(x)).
    ess : float
        Effective number of rows under the weights.
    weighted : bool
        Whether rows had to be weighted, see Notes.
    held_out : HeldOut or None
        Effects of the rows, each learnt without its fold; kept only if `fit` was asked to.

    Notes
    -----
    That x explains the log's own choices is not taken on trust where propensities are known: the
    effect of a contact is also computed with stabilised weights g(a) / propensity, g being the
    log's frequencies of factors, clipped at ten times their mean, under which the action is
    independent of whatever the choice looked at. If the two differ by more than four standard
    errors, all rows are weighted; the price is precision. They also differ where effects do between
    those who are seldom and those who are often contacted: without weights a mean effect counts
    rows by how open their choice was, with weights all alike.

    With ``trees`` the two regressions share individual effects with shallow trees
    (:class:`~collectopt.models.shallow.ShallowTrees`), in the proportion that explains the most out
    of fold, less two standard errors. By default they do not: on an e-mail trial of 64,000
    customers trees got no share in any of 6 splits, and doubled the time of a fit. In simulated
    trials of 6,000 rows they cut the error of effects that jump where one column, or both of two,
    pass a threshold by 47 and 59 %. Ask for them where effects are expected to jump.

    Robinson (1988), Econometrica 56; Nie & Wager (2021), Biometrika 108 (R-learner); Robins, Hernan
    & Brumback (2000), Epidemiology 11 (stabilised weights); Hausman (1978), Econometrica 46.

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

    def __init__(
        self,
        *,
        room: bool = False,
        individual: bool = True,
        trees: bool = False,
        folds: int = _FOLDS,
        seed: int = 0,
    ) -> None:
        self.room = room
        self.individual = individual
        self.trees = trees
        self.folds = folds
        self.seed = seed
        self.factors: Factors | None = None
        self.theta: Float = np.zeros(0)
        self.stderr: Float = np.zeros(0)
        self.gate = Gate(0.0, open=False)
        self.ess = 0.0
        self.weighted = False
        self.held_out: HeldOut | None = None
        self._level: Level | None = None
        self._mean_phi: Level | None = None
        self._tilt: Tilt | None = None
        self.room_share = 0.0
        self._mean_room = 1.0
        self._covariance: Float = np.zeros((0, 0))
        self._range = (-np.inf, np.inf)

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        action: npt.ArrayLike,
        actions: ActionSet,
        propensity: npt.ArrayLike | None = None,
        account: npt.ArrayLike | None = None,
        weight: npt.ArrayLike | None = None,
        hold_out: bool = False,
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
        propensity : (n,) float, optional
            Probability with which exactly this action was played, in (0, 1]. Default: unknown; the
            effects then hold only if X has all that the choice looked at.
        account : (n,) int, optional
            Who it was; rows of one account are not independent. Default: all different.
        weight : (n,) float, optional
            From 0 up: of the outcomes, where not all are known, such as those of
            :func:`~collectopt.models.censoring.seen_weights`; 0 = not known. Default: all known.
        hold_out : bool
            Whether to keep :attr:`held_out`, by which effects can be judged.

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
        chance = None
        if propensity is not None:
            chance = check_vector(propensity, n, "propensity", low=0.0)
        seen = None if weight is None else _seen(check_vector(weight, n, "weight", low=0.0))
        who = np.arange(n) if account is None else np.asarray(account)
        self._check(n, played, chance, who, len(actions), outcome)
        _, cluster = np.unique(who, return_inverse=True)

        self.factors = Factors.of(actions, played)
        self._range = (float(outcome.min()), float(outcome.max()))
        fold = folds(cluster, self.folds, self.seed)
        phi = self.factors.phi[played]
        mains = Mains.learn(matrix)
        residuals = partial(Residuals.of, matrix, outcome, phi, fold, mains, seen=seen)
        rest, choice = residuals(chance=chance), None
        if chance is not None:
            choice = stabilised(reference(actions, played)[played] / chance)
            choice = choice if rest.disagrees(choice, cluster) else None
        self.weighted = choice is not None
        if choice is not None:
            rest = residuals(weight=choice)
        self.ess = float(rest.weight.sum() ** 2 / (rest.weight**2).sum())
        self.room_share = room_share(rest, cluster) if self.room and phi.shape[1] else 0.0
        self._mean_room = rest.mean_room
        untied, rest = rest.factors, rest.tied(self.room_share)
        self._estimate(rest, cluster, fold)
        told = slice(None) if seen is None else seen > 0.0
        self._level = Level.fit(matrix[told], outcome[told, None], mains, rest.weight[told])
        self._mean_phi = Level.fit(matrix, phi, mains, choice, trees=False)
        self._tilt = None
        if self.individual and self.gate.open and self.factors.names and matrix.shape[1]:
            given = mains, matrix, rest, self.theta, cluster
            self._tilt = Tilt.with_trees(*given, fold) if self.trees else Tilt.learn(*given)
        self.held_out = None
        if hold_out and self.gate.open:
            self.held_out = HeldOut.learn(
                rest,
                untied,
                cluster,
                fold,
                family=self.factors.family,
                base=tied(rest.room, self.room_share, self._mean_room),
                columns=None if self._tilt is None else (mains, matrix),
                trees=self.trees,
            )
        self._widen(actions)
        return self

    @property
    def effects(self) -> Float:
        """Mean change of the outcome by each action against waiting, (K,)."""
        phi = self._fitted("effects").phi
        return np.asarray(phi @ self.theta, dtype=np.float64)

    @property
    def trees_share(self) -> float:
        """Share of the individual effects that comes from trees, from 0 to 1."""
        self._fitted("trees_share")
        return 0.0 if self._tilt is None else self._tilt.share

    @property
    def effects_stderr(self) -> Float:
        """Posterior standard errors of :attr:`effects`, (K,)."""
        phi = self._fitted("effects_stderr").phi
        variance = np.einsum("kp,pq,kq->k", phi, self._covariance, phi)
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)), dtype=np.float64)

    def table(self, actions: ActionSet) -> pd.DataFrame:
        """Effects of a contact by channel, tone, offer and hour, all else as usual in the log.

        Parameters
        ----------
        actions : ActionSet
            As in ``fit``.

        Returns
        -------
        DataFrame
            family, level, effect, stderr, low, high (95 %), decisions; means over the rows.
        """
        factors = self._fitted("table")
        return by_level(factors, actions, self.theta, self._covariance)

    def effect_factors(self, X: npt.ArrayLike) -> tuple[Float, Float]:
        """Effects as theta (n, p) and phi (K, p): ``theta @ phi.T`` is the change by each action.

        Parameters
        ----------
        X : (n, d) array
            As in ``fit``. Where effects are the same for everybody, theta is (1, p).
        """
        phi = self._fitted("effect_factors").phi
        assert self._level is not None
        matrix = check_matrix(X, self._level.width)
        if not self.gate.open or not (self.room_share or self._tilt):
            return self.theta[None, :], phi
        theta = np.empty((len(matrix), len(self.theta)))
        for rows in blocks(len(matrix)):
            Z = self._level.mains.apply(matrix[rows])
            theta[rows] = self._theta(Z, self._level.predict(matrix[rows], Z)[:, 0])
        return theta, phi

    def effect_stderr(self, X: npt.ArrayLike, action: npt.ArrayLike) -> Float:
        """Posterior standard errors of the effects of one action a row, (n,).

        Parameters
        ----------
        X : (n, d) array
            As in ``fit``.
        action : (n,) int or int
            Row of the actions for each row of X.
        """
        factors = self._fitted("effect_stderr")
        assert self._level is not None
        matrix = check_matrix(X, self._level.width)
        phi = factors.phi[np.broadcast_to(np.asarray(action), len(matrix))]
        base, tilt = self._spread(matrix)
        variance = np.einsum("np,pq,nq->n", phi, self._covariance, phi) + phi[:, 0] ** 2 * tilt
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)) * base, dtype=np.float64)

    def _spread(self, matrix: Matrix) -> tuple[Float, Float]:
        """How far effects reach beyond their mean, and the variance of the tilt, (n,) each."""
        assert self._level is not None
        Z = self._level.mains.apply(matrix)
        room = room_of(self._level.predict(matrix, Z)[:, 0])
        base = tied(room, self.room_share, self._mean_room)
        tilt = np.zeros(len(matrix)) if self._tilt is None else self._tilt.variance(Z)
        return base, tilt

    def effect_blocks(self, X: npt.ArrayLike, rows: int = 4096) -> Iterator[tuple[slice, Float]]:
        """Change of the outcome by every action, block after block of rows.

        Parameters
        ----------
        X : (n, d) array
            As in ``fit``.
        rows : int
            Rows of a block.

        Yields
        ------
        slice
            Rows of the block.
        (b, K) float64
            The same array for every block: copy what is to be kept.
        """
        theta, phi = self.effect_factors(X)
        n = len(np.asarray(X))
        out = np.empty((min(rows, n), len(phi)))
        for start in range(0, n, rows):
            here = slice(start, min(start + rows, n))
            part = out[: here.stop - here.start]
            if len(theta) == 1:
                part[:] = theta @ phi.T
            else:
                np.matmul(theta[here], phi.T, out=part)
            yield here, part

    def predict_wait(self, X: npt.ArrayLike) -> Float:
        """Outcome to be expected without any action, (n,)."""
        self._fitted("predict_wait")
        assert self._level is not None
        return self._wait(check_matrix(X, self._level.width))[0]

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
        phi = self._fitted("predict_response").phi
        assert self._level is not None
        wait, theta = self._wait(check_matrix(X, self._level.width))
        return np.clip(wait[:, None] + theta @ phi.T, *self._range)

    def save(self, directory: str | Path) -> None:
        """Write ``response.json``, ``response.npz`` and the trees' text into a directory."""
        factors = self._fitted("save")
        assert self._level is not None
        assert self._mean_phi is not None
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": _FORMAT,
            "parameters": {
                "room": self.room,
                "individual": self.individual,
                "trees": self.trees,
                "folds": self.folds,
                "seed": self.seed,
            },
            "names": factors.names,
            "family": factors.family,
            "gate": {"z": self.gate.z, "open": self.gate.open},
            "ess": self.ess,
            "weighted": self.weighted,
            "room_share": self.room_share,
            "mean_room": self._mean_room,
            "range": self._range,
        }
        (path / "response.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        arrays: dict[str, npt.NDArray[Any]] = {"phi": factors.phi, "count": factors.count}
        arrays |= {"theta": self.theta, "stderr": self.stderr, "covariance": self._covariance}
        for name, part in (("level", self._level), ("phi_level", self._mean_phi)):
            arrays |= {f"{name}.{key}": values for key, values in part.arrays().items()}
        if self._tilt is not None:
            arrays |= {f"tilt.{key}": values for key, values in self._tilt.arrays().items()}
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
            with (
                (path / "response.npz").open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                arrays = dict(stored)
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}, not {_FORMAT}")  # noqa: TRY301
            model = cls(**content["parameters"])
            model.factors = Factors(
                tuple(content["names"]), tuple(content["family"]), arrays["phi"], arrays["count"]
            )
            model.theta, model.stderr = arrays["theta"], arrays["stderr"]
            model._covariance = arrays["covariance"]
            model.gate = Gate(**content["gate"])
            model.ess, model.weighted = content["ess"], content["weighted"]
            model.room_share, model._mean_room = content["room_share"], content["mean_room"]
            model._range = tuple(content["range"])
            trees = Trees.from_text(text) if text else None
            model._level = Level.of(_under("level.", arrays), trees)
            model._mean_phi = Level.of(_under("phi_level.", arrays), None)
            if "tilt.coef" in arrays:
                model._tilt = Tilt.of(model._mean_phi.mains, _under("tilt.", arrays))
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise ArtifactError(f"no readable ResponseModel in {path}: {error}") from error
        return model

    def __repr__(self) -> str:
        own = f"room={self.room}, individual={self.individual}, trees={self.trees}"
        return f"ResponseModel({own}, folds={self.folds}, seed={self.seed})"

    def summary(self) -> str:
        """One line a factor: effect, standard error and logged rows behind it."""
        factors = self._fitted("summary")
        state = "open" if self.gate.open else "shut: all effects are zero"
        lines = [f"gate {state} (z = {self.gate.z:.2f}); effective rows {self.ess:.0f}"]
        if self.weighted:
            lines.append("rows are weighted: without weights the mean effect is another one")
        if self.room:
            lines.append(f"{self.room_share:.0%} of the effects in proportion to the room to gain")
        if self.trees:
            lines.append(f"{self.trees_share:.0%} of the individual effects by trees")
        for row in zip(factors.names, self.theta, self.stderr, factors.count, strict=True):
            lines.append("{:<20} {:+.4f} +- {:.4f}  n={}".format(*row))
        return "\n".join(lines)

    # -- inside ------------------------------------------------------------------------------

    def _fitted(self, method: str) -> Factors:
        if self.factors is None:
            raise NotFittedError.of(self, method)
        return self.factors

    def _theta(self, Z: Float, level: Float) -> Float:
        """Effects of the factors for each row of standardised columns, (n, p)."""
        theta = np.tile(self.theta, (len(Z), 1))
        if self._tilt is not None:
            theta[:, 0] += self._tilt(Z)
        return theta * tied(room_of(level), self.room_share, self._mean_room)[:, None]

    def _wait(self, X: Matrix) -> tuple[Float, Float]:
        """Outcome without any action (n,), and effects of the factors (n, p)."""
        assert self._level is not None
        assert self._mean_phi is not None
        Z = self._level.mains.apply(X)
        level = self._level.predict(X, Z)[:, 0]
        theta = self._theta(Z, level)
        wait = level - (self._mean_phi.predict(X, Z) * theta).sum(axis=1)
        return np.clip(wait, *self._range), theta

    def _check(  # noqa: PLR0917
        self,
        n: int,
        played: Int,
        chance: Float | None,
        who: npt.NDArray[Any],
        k: int,
        y: Float,
    ) -> None:
        if self.room and n and (y.min() < 0.0 or y.max() > 1.0):
            outside = np.flatnonzero((y < 0.0) | (y > 1.0)).tolist()
            found = str(y[outside[0]])
            expected = "from 0 to 1, as room=True says"
            raise InputError.of("y", None, expected=expected, found=found, rows=outside)
        given = np.ones(n) if chance is None else chance
        for name, wrong, expected in (
            ("action", played >= k, f"rows of actions, 0..{k - 1}"),
            ("propensity", (given <= 0.0) | (given > 1.0), "within (0, 1]"),
        ):
            if wrong.any():
                rows = np.flatnonzero(wrong).tolist()
                found = str((played if name == "action" else given)[rows[0]])
                raise InputError.of(name, None, expected=expected, found=found, rows=rows)
        if self.folds < 2:
            expected = "a whole number from 2 up"
            raise InputError.of("ResponseModel", "folds", expected=expected, found=str(self.folds))
        if not np.isfinite(y).all():
            rows = np.flatnonzero(~np.isfinite(y)).tolist()
            raise InputError.of("y", None, expected="finite numbers", found="inf", rows=rows)
        waits = int((played == 0).sum())
        if waits in {0, n}:
            raise InputError.of(
                "action",
                None,
                expected="decisions to wait (0) and others",
                found="waits alone" if waits else "no waits",
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

    def _estimate(self, rest: Residuals, cluster: Int, fold: Int) -> None:
        """Shrink the effects of all rows; open the gate if they show."""
        assert self.factors is not None
        family, weight = self.factors.family, rest.weight
        found = shrink(rest.outcome, rest.factors, weight, cluster, family)
        guess = np.zeros(len(weight))
        for k in range(self.folds):
            out, into = fold == k, fold != k
            learnt = shrink(
                rest.outcome[into], rest.factors[into], weight[into], cluster[into], family
            )
            guess[out] = rest.factors[out] @ learnt.theta
        z = max(
            abs(clustered_z(rest.factors[:, 0] * rest.outcome * weight, cluster)),
            clustered_z(guess * rest.outcome * weight, cluster),
        )
        self.gate = Gate(z, open=z >= NEEDED_Z)
        kept = found if self.gate.open else Shrunk(np.zeros(len(family)), found.covariance)
        self.theta, self.stderr, self._covariance = kept.theta, kept.stderr, kept.covariance

    def _widen(self, actions: ActionSet) -> None:
        """Give factors that the log never tried the error of what is expected of them."""
        assert self.factors is not None
        least = unseen_variance(self.factors, actions, self.theta, self._covariance)
        now = np.diag(self._covariance)
        self._covariance = self._covariance + np.diag(np.maximum(least - now, 0.0))
        self.stderr = np.sqrt(np.maximum(np.diag(self._covariance), 0.0))


def _seen(weight: Float) -> Float:
    """Weights of outcomes of mean 1."""
    if not weight.any():
        raise InputError.of("weight", None, expected="some above 0", found="all 0")
    return weight / weight.mean()


def _under(head: str, arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)}
