"""Why the log did what it did: chances of its actions given x, estimated by other accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import TreeOptions, Trees, expit, logit
from collectopt.models.contrasts import Mains
from collectopt.schema.actions import ActionSet

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

_TREES = TreeOptions(rounds=100, rate=0.08, leaves=15, min_leaf=60)
_TREES_FROM = 1000  # rows
_STEPS, _FAR = 8, 30.0  # Newton steps; largest log odds
_LEAST = 1e-6  # chance of anything that was done
_ALIKE = 0.8  # correlation of columns that go together
_SMOOTH = 1.0  # rows that every slot counts for beside its own


@dataclass(frozen=True, eq=False)
class Logistic:
    """A logistic ridge regression on columns ``[Z, 1]``.

    Attributes
    ----------
    beta : (q + 1,) float64
        Coefficients in log odds, the constant last.
    spread : (q + 1, q + 1) float64
        Inverse of the penalised information.
    """

    beta: Float
    spread: Float

    @classmethod
    def fit(cls, Z: Float, y: Float) -> Self:
        """Fit 0/1 outcomes ``y`` (n,) on ``Z`` (n, q) by Newton's method."""
        columns = np.column_stack([Z, np.ones(len(Z))])
        penalty = np.full(columns.shape[1], 5.0 + 0.5 * Z.shape[1])
        penalty[-1] = 1e-3
        beta = np.zeros(columns.shape[1])
        beta[-1] = logit(np.clip(y.mean(keepdims=True), 1e-3, 1.0 - 1e-3))[0]
        for _ in range(_STEPS):
            p = expit(np.clip(columns @ beta, -_FAR, _FAR))
            w = np.maximum(p * (1.0 - p), 1e-6)
            information = columns.T @ (w[:, None] * columns) + np.diag(penalty)
            step = np.linalg.solve(information, columns.T @ (y - p) - penalty * beta)
            beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
            if np.abs(step).max() < 1e-6:
                break
        return cls(beta, np.linalg.inv(information))

    def score(self, Z: Float) -> Float:
        """Log odds, (n,)."""
        found = np.clip(Z @ self.beta[:-1] + self.beta[-1], -_FAR, _FAR)
        return np.asarray(found, dtype=np.float64)

    def without(self, columns: Int) -> Float:
        """Coefficients if some columns were not there, by one Newton step from here, (q + 1,)."""
        block = self.spread[np.ix_(columns, columns)]
        lost = self.spread[:, columns] @ np.linalg.solve(block, self.beta[columns])
        beta = np.asarray(self.beta - lost, dtype=np.float64)
        beta[columns] = 0.0
        return beta


def contact_chance(X: Matrix, acted: Bool, fold: Int, mains: Mains) -> Float:
    """P(a contact | x) of each row, from rows of other folds.

    Parameters
    ----------
    X : (n, d) float32
    acted : (n,) bool
    fold : (n,) int64
        An account must be in one fold only.
    mains : Mains
        Of X.

    Returns
    -------
    (n,) float64
        In (0, 1); on the scale of log odds the mean of a logistic ridge regression and of trees.
    """
    Z, y = mains.apply(X), acted.astype(np.float64)
    found = np.empty(len(X))
    for k in np.unique(fold):
        into, out = fold != k, fold == k
        score = Logistic.fit(Z[into], y[into]).score(Z[out])
        if into.sum() >= _TREES_FROM and X.shape[1]:
            base = np.full(int(into.sum()), logit(y[into].mean(keepdims=True))[0])
            trees = Trees.fit(X[into], y[into], options=_TREES, base=base)
            score = 0.5 * score + 0.5 * (base[0] + trees.score(X[out]))
        found[out] = expit(score)
    return np.clip(found, _LEAST, 1.0 - _LEAST)


def action_chance(  # noqa: PLR0917
    X: Matrix, action: Int, actions: ActionSet, fold: Int, mains: Mains, contact: Float
) -> Float:
    """Probability of the very action taken, in (0, 1].

    P(contact | x), times that of the channel, of the tone given the channel and of the offer given
    both, by logistic regressions, times the share of the slot among the contacts of its channel.

    Parameters
    ----------
    X : (n, d) float32
    action : (n,) int64
        0 = waited, others are contacts.
    actions : ActionSet
    fold : (n,) int64
    mains : Mains
    contact : (n,) float64
        From :func:`contact_chance`.

    Returns
    -------
    (n,) float64
    """
    acted = action > 0
    chance = np.where(acted, contact, 1.0 - contact)
    rows = np.flatnonzero(acted)
    if not len(rows):
        return chance
    taken = action[rows]
    Z = mains.apply(X[rows])
    for codes in (actions.channel, actions.tone, actions.offer):
        level = codes[taken].astype(np.int64)
        chance[rows] *= _level_chance(Z, level, fold[rows])
        Z = np.column_stack([Z, *(level == code for code in np.unique(level)[1:])])
    chance[rows] *= _slot_share(taken, actions)
    return np.clip(chance, _LEAST**2, 1.0)


def _level_chance(Z: Float, level: Int, fold: Int) -> Float:
    """P(the level taken | Z): one regression a level, scaled to add up to 1."""
    names, code = np.unique(level, return_inverse=True)
    if len(names) < 2:
        return np.ones(len(level))
    found = np.empty(len(level))
    for k in np.unique(fold):
        into, out = fold != k, fold == k
        if not into.any():
            found[out] = 1.0 / len(names)
            continue
        each = [
            expit(Logistic.fit(Z[into], (code[into] == i).astype(np.float64)).score(Z[out]))
            for i in range(len(names))
        ]
        p = np.column_stack(each)
        found[out] = p[np.arange(len(p)), code[out]] / p.sum(axis=1)
    return found


def _slot_share(taken: Int, actions: ActionSet) -> Float:
    """Share of the hour and day among the contacts of the channel, smoothed."""
    slot = np.nan_to_num(actions.hour) * 1000.0 + actions.day
    contact = actions.is_contact
    found = np.ones(len(taken))
    for channel in np.unique(actions.channel[taken]):
        mine = actions.channel[taken] == channel
        slots = np.unique(slot[contact & (actions.channel == channel)])
        place = np.searchsorted(slots, slot[taken[mine]])
        count = np.bincount(place, minlength=len(slots)) + _SMOOTH
        found[mine] = count[place] / count.sum()
    return found


def strongest(X: Matrix, acted: Bool, mains: Mains) -> tuple[int, float]:
    """Find the column whose loss would move the odds of a contact most.

    With a column go those that say nearly the same (correlation of .8 or more): were one of ten
    columns of amounts left out alone, the nine others would hide that amounts matter.

    Parameters
    ----------
    X : (n, d) float32
    acted : (n,) bool
    mains : Mains
        Of X.

    Returns
    -------
    int
        The column; -1 where there is none.
    float
        Factor by which 19 of 20 rows' odds move at most if it is left out; at least 1.
    """
    if not X.shape[1]:
        return -1, 1.0
    Z = mains.apply(X)
    whole = Logistic.fit(Z, acted.astype(np.float64))
    with_all, d = whole.score(Z), X.shape[1]
    centred = Z[:, :d] - Z[:, :d].mean(axis=0)
    scale = np.maximum(np.sqrt((centred**2).sum(axis=0)), 1e-9)
    alike = np.abs(centred.T @ centred) / np.outer(scale, scale) >= _ALIKE
    best, factor = -1, 1.0
    for j in range(d):
        same = np.flatnonzero(alike[j] | (np.arange(d) == j))
        columns = np.r_[same, d + np.flatnonzero(np.isin(mains.gaps, same))]
        beta = whole.without(columns)
        moved = np.abs(Z @ beta[:-1] + beta[-1] - with_all)
        change = float(np.exp(np.quantile(moved, 0.95)))
        if change > factor:
            best, factor = j, change
    return best, factor
