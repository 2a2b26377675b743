"""Learn a policy from plain arrays, and never be worse than the best constant action beyond noise.

Flexible learners find differences where there are none, and their choices then lose to doing the
same for everybody. So several simple rules are fitted, all are judged on rows that they have not
seen, and they are mixed only as far as a lower bound of what they gain over the best constant
action stays above zero; if it does not, everybody gets that action.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression

from collectopt.exceptions import Fault, InputError
from collectopt.models.boosting import TreeOptions, Trees, UnfittedError, check_matrix, check_vector
from collectopt.models.contrasts import Line, Mains, folds, ridge
from collectopt.policy.candidates import CANDIDATES, Design, thresholds

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

_TREES = TreeOptions(rounds=60, rate=0.05, leaves=7, min_leaf=200)
_TREES_FROM = 2000  # rows from which on the level is half linear, half trees
_OVERLAP = 0.01  # least estimated propensity
#: Further standard errors that the gain must exceed zero by: the best of several candidates looks
#: better than it is.
_CHOICE = 0.5


@dataclass(frozen=True, eq=False)
class _Level:
    """Expected reward whatever is done."""

    line: Line
    trees: Trees | None
    mean: float

    @classmethod
    def fit(cls, X: Matrix, Z: Float, reward: Float) -> Self:
        mean = float(reward.mean())
        trees = None
        if len(X) >= _TREES_FROM:
            base = np.full(len(X), mean)
            trees = Trees.fit(X, reward, options=_TREES, objective="regression", base=base)
        return cls(ridge(Z, reward), trees, mean)

    def predict(self, X: Matrix, Z: Float) -> Float:
        line = self.line(Z)
        return line if self.trees is None else (line + self.mean + self.trees.score(X)) / 2.0


@dataclass(frozen=True, eq=False)
class _Log:
    """What was tried, checked: rows, the actions taken, costs by action, propensities if known."""

    X: Matrix
    reward: Float
    taken: Int
    cost: Float
    propensity: Float | None
    group: Int

    def chances(self, Z: Float, into: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Float:
        """Chance of the action taken on rows ``out``, learnt on rows ``into`` if unknown."""
        if self.propensity is not None:
            return self.propensity[out]
        model = LogisticRegression(C=1.0, max_iter=500).fit(Z[into], self.taken[into])
        p = model.predict_proba(Z[out])
        place = np.searchsorted(model.classes_, self.taken[out])
        return np.maximum(p[np.arange(len(p)), place], _OVERLAP)


@dataclass(frozen=True, eq=False)
class _Rows:
    """What is learnt from: rows with scores whose levels come from other rows."""

    design: Design
    score: Float
    fold: Int
    group: Int


class PolicyLearner(BaseEstimator):
    """Which action for whom, from logged rewards with propensities; guarded.

    Each row gets a doubly robust score for each action: expected reward plus mean of the action,
    corrected on the action taken by residual / propensity, less its cost. The best constant action
    has the largest mean score. The candidates (:data:`collectopt.policy.candidates.CANDIDATES`)
    are fitted on all folds but one and judged on that one; the mixture of them maximises the mean
    gain over the constant action less ``guard`` standard errors. What it plays is fitted anew on
    all rows.

    Parameters
    ----------
    guard : float
        Standard errors that are subtracted from the gain in the choice of the mixture; to deviate
        at all it has to exceed zero by half a standard error more.
    folds : int
        Folds of the cross-fitting; a group is in one fold only.
    seed : int
        Seed of the folds.

    Attributes
    ----------
    constant_ : int
        The best constant action.
    weights_ : dict of str to float
        What plays how often: "constant" and the candidates; sums to 1.
    gain_, stderr_ : float
        Out-of-fold gain of the mixture over the constant action, in the unit of the reward, and its
        standard error clustered by group. The choice of the mixture makes it a little optimistic.
    candidates_ : DataFrame
        By candidate: gain, stderr, bound and weight.
    n_actions_, n_features_in_ : int

    References
    ----------
    Athey & Wager (2021), Policy learning with observational data. Econometrica 89.
    Zhou, Athey & Wager (2023), Offline multi-action policy learning. Operations Research 71.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(4000, 3))
    >>> a = rng.integers(0, 2, 4000)
    >>> reward = np.where(a == 1, X[:, 0], 0.0) + rng.normal(size=4000)
    >>> learner = PolicyLearner().fit(X, reward, action=a, propensity=np.full(4000, 0.5))
    >>> learner.predict(np.array([[2.0, 0.0, 0.0], [-2.0, 0.0, 0.0]])).tolist()
    [1, 0]
    """

    def __init__(self, *, guard: float = 2.0, folds: int = 5, seed: int = 0) -> None:
        self.guard = guard
        self.folds = folds
        self.seed = seed

    def fit(
        self,
        X: npt.ArrayLike,
        reward: npt.ArrayLike,
        *,
        action: npt.ArrayLike,
        propensity: npt.ArrayLike | None = None,
        cost: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from what was tried.

        Parameters
        ----------
        X : (n, d) array
            Numbers known before the action; nan is missing, categories as 0/1 columns.
        reward : (n,) float
            What came of the action, its cost not subtracted.
        action : (n,) int
            Action taken, 0 to K - 1.
        propensity : (n,) float, optional
            Probability with which that action was taken. Default: estimated by a logistic
            regression on other rows, which holds only if X holds all that the choice looked at.
        cost : (K,) float, optional
            Cost of each action, in the unit of the reward; its length says how many there are.
        groups : (n,) ints or strings, optional
            Accounts: rows of one group are not independent.

        Returns
        -------
        PolicyLearner
            Itself.

        Raises
        ------
        InputError
            Wrong shapes, propensities outside (0, 1], an action that was never taken.
        """
        log = _read(X, reward, action, propensity, cost, groups)
        self._check(log.group, grouped=groups is not None)
        fresh: Self = clone(self)
        fresh._learn(log)
        self.__dict__.update(fresh.__dict__)  # all or nothing: an error leaves what was there
        return self

    def _learn(self, log: _Log) -> None:
        self.n_features_in_, self.n_actions_ = log.X.shape[1], len(log.cost)
        self._mains = Mains.learn(log.X)
        rows = self._rows(log)
        self.constant_ = int(rows.score.mean(axis=0).argmax())
        self._choose(self._gains(rows), rows.group)
        self._rules = {
            name: CANDIDATES[name](rows.design, rows.score, self.constant_)
            for name, weight in self.weights_.items()
            if name != "constant" and weight > 0.0
        }
        self._level = _Level.fit(log.X, self._mains.apply(log.X), log.reward)

    def predict_proba(self, X: npt.ArrayLike) -> Float:
        """Chance of each action, (n, K): the mixture."""
        if not hasattr(self, "weights_"):
            raise UnfittedError.of(self, "predict_proba")
        matrix = check_matrix(X, self.n_features_in_)
        design = self._design(matrix)
        out = np.zeros((len(matrix), self.n_actions_))
        out[:, self.constant_] = self.weights_["constant"]
        for name, rule in self._rules.items():
            out[np.arange(len(matrix)), rule(design)] += self.weights_[name]
        return out

    def predict(self, X: npt.ArrayLike, rng: int | np.random.Generator = 0) -> Int:
        """Draw an action for each row from :meth:`predict_proba`, (n,).

        Hand over a generator where rows are asked one by one: a number starts the same draws anew.
        """
        p = self.predict_proba(X)
        draw = np.random.default_rng(rng).random((len(p), 1))
        last = p.shape[1] - 1
        return np.minimum((np.cumsum(p, axis=1) <= draw).sum(axis=1), last)

    # -- inside ------------------------------------------------------------------------------

    def _check(self, group: Int, *, grouped: bool) -> None:
        faults = []
        count = len(np.unique(group))
        if self.folds < 2 or self.folds != round(self.folds):
            expected = "a whole number from 2 up"
            faults.append(Fault("PolicyLearner", "folds", expected, repr(self.folds)))
        elif count < self.folds:
            name = "groups" if grouped else "X"
            kind = "groups" if grouped else "rows"
            faults.append(Fault(name, None, f"at least {self.folds} {kind}", str(count)))
        if not 0.0 <= self.guard < np.inf:
            expected = "a finite number from 0 up"
            faults.append(Fault("PolicyLearner", "guard", expected, repr(self.guard)))
        if faults:
            raise InputError(faults)

    def _design(self, X: Matrix, level: Float | None = None) -> Design:
        plain = self._mains.apply(X)
        if level is None:
            level = self._level.predict(X, plain)
        place, above = self._stumps
        stumps = (plain[:, place] > above).astype(np.float32)
        return Design(plain, self._mains.wide(plain), stumps, level)

    def _rows(self, log: _Log) -> _Rows:
        """Score all rows, each by models of the other folds."""
        n, actions, Z = len(log.X), len(log.cost), self._mains.apply(log.X)
        fold = folds(log.group, self.folds, self.seed)
        level, mean, p = np.zeros(n), np.zeros((n, actions)), np.zeros(n)
        for k in range(self.folds):
            out, into = fold == k, fold != k
            missing = set(range(actions)) - set(log.taken[into].tolist())
            if missing:
                raise InputError.of(
                    "action",
                    None,
                    expected=f"each of 0 to {actions - 1} taken by several groups",
                    found=f"no row of action {min(missing)} in {self.folds - 1} of the folds",
                )
            model = _Level.fit(log.X[into], Z[into], log.reward[into])
            level[out] = model.predict(log.X[out], Z[out])
            p[out] = log.chances(Z, into, out)
            rest = log.reward[into] - model.predict(log.X[into], Z[into])
            weight = 1.0 / log.chances(Z, into, into)
            for a in range(actions):
                mine = log.taken[into] == a
                mean[out, a] = np.average(rest[mine], weights=weight[mine])
        score = level[:, None] + mean
        at = np.arange(n), log.taken
        score[at] += (log.reward - score[at]) / p
        self._stumps = thresholds(Z)
        return _Rows(self._design(log.X, level), score - log.cost, fold, log.group)

    def _gains(self, rows: _Rows) -> pd.DataFrame:
        """Out-of-fold gain over the constant action, by row and candidate."""
        gains = np.zeros((len(rows.score), len(CANDIDATES)))
        for k in range(self.folds):
            into, out = np.flatnonzero(rows.fold != k), np.flatnonzero(rows.fold == k)
            known, asked = rows.design.take(into), rows.design.take(out)
            for c, fit in enumerate(CANDIDATES.values()):
                chosen = fit(known, rows.score[into], self.constant_)(asked)
                gains[out, c] = rows.score[out, chosen] - rows.score[out, self.constant_]
        return pd.DataFrame(gains, columns=list(CANDIDATES))

    def _choose(self, gains: pd.DataFrame, group: Int) -> None:
        """Find the mixture with the largest lower bound, or the constant action."""
        values = gains.to_numpy()
        mean = values.mean(axis=0)
        _, code = np.unique(group, return_inverse=True)
        by_group = np.zeros((code.max() + 1, values.shape[1]))
        np.add.at(by_group, code, values - mean)
        covariance = by_group.T @ by_group / len(values) ** 2
        weight = _mixture(mean, covariance, self.guard)
        error = np.sqrt(np.diag(covariance))
        self.candidates_ = pd.DataFrame(
            {"gain": mean, "stderr": error, "bound": mean - self.guard * error, "weight": weight},
            index=gains.columns,
        )
        self.gain_ = float(weight @ mean)
        self.stderr_ = float(np.sqrt(weight @ covariance @ weight))
        named = {name: float(w) for name, w in zip(gains.columns, weight, strict=True)}
        self.weights_ = {"constant": 0.0 if weight.any() else 1.0, **named}


def _read(  # noqa: PLR0917
    X: npt.ArrayLike,
    reward: npt.ArrayLike,
    action: npt.ArrayLike,
    propensity: npt.ArrayLike | None,
    cost: npt.ArrayLike | None,
    groups: npt.ArrayLike | None,
) -> _Log:
    """Check what ``fit`` was given."""
    matrix = check_matrix(X)
    n = len(matrix)
    if not matrix.shape[1]:
        raise InputError.of("X", None, expected="at least one column", found="none")
    y = check_vector(reward, n, "reward")
    if np.isinf(y).any():
        wrong = np.flatnonzero(np.isinf(y))
        raise InputError.of(
            "reward", None, expected="finite numbers", found="inf", rows=wrong.tolist()
        )
    taken, price = _actions(action, cost, n)
    known = None
    if propensity is not None:
        known = check_vector(propensity, n, "propensity")
        wrong = np.flatnonzero((known <= 0.0) | (known > 1.0))
        if len(wrong):
            raise InputError.of(
                "propensity",
                None,
                expected="in (0, 1], of the action taken",
                found=str(known[wrong[0]]),
                rows=wrong.tolist(),
            )
    group = np.arange(n) if groups is None else _groups(groups, n)
    return _Log(matrix, y, taken, price, known, group)


def _actions(action: npt.ArrayLike, cost: npt.ArrayLike | None, n: int) -> tuple[Int, Float]:
    given = check_vector(action, n, "action", low=0.0)
    taken = given.astype(np.int64)
    if not n or (taken != given).any():
        raise InputError.of(
            "action", None, expected="whole numbers from 0 up", found=str(given[:3])
        )
    if taken.max() >= n:
        raise InputError.of(
            "action",
            None,
            expected="numbers from 0 to K - 1, each of which was taken",
            found=str(taken.max()),
            hint="Number the actions, for example by numpy.unique(..., return_inverse=True).",
        )
    price = np.zeros(taken.max() + 1) if cost is None else _costs(cost, int(taken.max()))
    absent = sorted(set(range(len(price))) - set(taken.tolist()))
    if absent or len(price) < 2:
        raise InputError.of(
            "action",
            None,
            expected=f"at least two actions, each of 0 to {len(price) - 1} taken",
            found=f"never {absent[0]}" if absent else "one action",
            hint="What was never tried cannot be valued.",
        )
    return taken, price


def _costs(cost: npt.ArrayLike, last: int) -> Float:
    try:
        price = np.asarray(cost, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.of("cost", None, expected="numbers", found=str(error)) from error
    if price.ndim != 1 or len(price) <= last or not np.isfinite(price).all():
        raise InputError.of(
            "cost",
            None,
            expected=f"a finite cost for each of the actions 0 to {last}",
            found=str(cost),
        )
    return price


def _groups(groups: npt.ArrayLike, n: int) -> Int:
    values = np.asarray(groups)
    if values.shape != (n,):
        raise InputError.of("groups", None, expected=f"shape ({n},)", found=str(values.shape))
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def _mixture(mean: Float, covariance: Float, guard: float) -> Float:
    """Maximise mean - guard * standard error over mixtures; nothing where it is not positive."""

    def bound(w: Float) -> float:
        return float(mean @ w - guard * np.sqrt(max(float(w @ covariance @ w), 0.0)))

    count = len(mean)
    scale = max(float(np.sqrt(np.diag(covariance)).max()), 1e-12)
    starts = [*np.eye(count), np.full(count, 1.0 / count)]
    best = starts[int(np.argmax([bound(w) for w in starts]))]

    def loss(w: Float) -> float:
        return -bound(w) / scale

    found = minimize(
        loss,
        0.9 * best + 0.1 / count,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1.0}],
    )
    w = np.where(found.x > 1e-3, found.x, 0.0)
    if w.sum() > 0.0 and bound(w / w.sum()) > bound(best):
        best = w / w.sum()
    needed = _CHOICE * np.sqrt(max(float(best @ covariance @ best), 0.0))
    return best if bound(best) > needed else np.zeros(count)
