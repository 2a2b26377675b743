"""Leaving as a hidden event: invoices end, and nobody says when or why.

An account is a customer or gone. While a customer, an invoice comes in a week with the account's
own rate times a factor that depends on how long ago the last one was, in gaps of this account, and
on how late it pays: who is late is often not served, so silence proves little then. Once gone,
none comes. (A BG/NBD model in spirit: Fader, Hardie and Lee 2005, Marketing Science 24(2), in
discrete time, with covariates on the drop-out.)

The chance to leave in a week adds up: a base, on time or late, and so much for every contact.
Contacts go to those who pay late, and who leaves stops paying; so a contacted week is compared with
weeks without a contact *in the same state*: contacts enter less their mean in that state (Robinson
1988, Econometrica 56(4)), and act with the same delay as the state, as notice periods differ. Their
effects have a normal prior around the assumed ones, and may be below 0: a kind word that keeps a
customer. Posterior mode by scoring, with the scores summed by account (Fisher's identity gives them
from expected states); their outer products give the errors.

That the gone stay late, as they no longer pay, is not modelled. In simulated worlds where they do,
contacts without an effect are still not blamed, and about two thirds of an effect are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Weeks over which the effect of a week is spread: reading, notice, the next invoice not written.
DELAY = 6
#: Ages of the last invoice, in gaps of the account, at which the rhythm may change.
AGES = (0.6, 0.9, 1.25)
_PRIOR_GAPS = 2.0  # gaps of the average account that each account's own rate is mixed with
_WIDE = 3.0  # prior standard deviation of a base, in means of both
_START, _LEAST, _STEPS, _CLOSE = 2e-3, 0.05, 100, 1e-3
_SURE = 0.95  # an invoice that is due is never surer than that
_SMOOTH = 5.0  # expected invoices in a cell of the rhythm that a factor of 1 counts for


@dataclass(frozen=True, eq=False)
class Weeks:
    """What is seen of A accounts in W weeks, the last one ending at the time of learning.

    Attributes
    ----------
    invoices : (A, W) int64
        Invoices written in the week.
    state : (A, W) int64
        State at the start of the week: 0 = on time, to states - 1 = latest.
    contacts : (A, W, k) float64
        Exposure to contacts by kind: how many, each times its fatigue.
    states : int
    decided : (A, W) bool, optional
        Whether it was decided that week on a contact or none. None: not known.
    by_hand : (A, W) bool, optional
        Whether a person decided that week. People see who is about to leave, so such a week tells
        nothing of what contacts do; it counts as time all the same. None: never.
    """

    invoices: Int
    state: Int
    contacts: Float
    states: int
    decided: npt.NDArray[np.bool_] | None = None
    by_hand: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class DropOut:
    """Posterior of the drop-out.

    Attributes
    ----------
    base : (2,) float64
        Mean chance a week to leave, on time and late.
    effect : (k,) float64
        Chance to leave that a contact adds, by kind, posterior mode; below 0 where it binds.
    covariance : (k, k) float64
        Of the effects.
    leavers : float
        Expected number of accounts gone.
    weeks : int
        Account-weeks seen of customers, for sure or likely.
    """

    base: Float
    effect: Float
    covariance: Float
    leavers: float
    weeks: int


@dataclass(frozen=True, eq=False)
class _Data:
    """What stays fixed: weeks in which an account may leave, and the rhythm's cells.

    Weeks are laid out as flat rows, (A * W,) in the order of accounts.
    """

    X: npt.NDArray[np.float32]
    open: npt.NDArray[np.bool_]
    silent: npt.NDArray[np.bool_]
    invoices: Float
    rate: Float
    cell: Int
    gaps: Float
    span: Float
    account: int

    def hazard(self, beta: Float) -> Float:
        """Chance to leave in each week, at least a little of the base, (A * W,)."""
        # Not by BLAS: some of its float32 kernels warn of invalid values where there are none.
        found = np.einsum("rp,p->r", self.X, beta)
        return np.clip(found, _LEAST * beta[:2].min(), 0.5)

    @classmethod
    def of(cls, seen: Weeks) -> _Data:
        A, W = seen.invoices.shape
        week = np.arange(W)
        has = seen.invoices > 0
        marks = np.where(has, week, -1)
        before = np.concatenate(
            [np.full((A, 1), -1), np.maximum.accumulate(marks, axis=1)[:, :-1]], axis=1
        )
        last = marks.max(axis=1)
        first = np.where(has.any(axis=1), has.argmax(axis=1), W)
        gaps = np.maximum(has.sum(axis=1) - 1, 0)
        span = np.where(last > first, last - first, 0)
        pooled = max(gaps.sum(), 1.0) / max(span.sum(), 1.0)
        gaps, span = gaps + _PRIOR_GAPS, span + _PRIOR_GAPS / pooled
        rate = gaps / span
        age = np.where(before >= 0, (week - before) * rate[:, None], 0.0)
        cell = np.searchsorted(np.array(AGES), age, side="right") * seen.states + seen.state
        begun = week >= np.maximum(first + 1, DELAY - 1)[:, None]
        return cls(
            X=_design(seen),
            open=begun.reshape(-1),
            silent=(week > last[:, None]).reshape(-1),
            invoices=seen.invoices.reshape(-1).astype(np.float64),
            rate=np.broadcast_to(rate[:, None], (A, W)).reshape(-1),
            cell=cell.reshape(-1),
            gaps=gaps[:, None],
            span=span[:, None],
            account=A,
        )


def fit_drop_out(seen: Weeks, prior: Float, covariance: Float) -> DropOut:
    """Learn how often customers leave, and what contacts add.

    Parameters
    ----------
    seen : Weeks
    prior : (k,) float64
        Prior mean of the chance to leave that a contact adds, by kind.
    covariance : (k, k) float64
        Prior covariance.

    Returns
    -------
    DropOut
    """
    data, k = _Data.of(seen), len(prior)
    precision = np.zeros((2 + k, 2 + k))
    precision[2:, 2:] = np.linalg.inv(covariance)
    beta = np.concatenate([[_START, _START], prior])
    rhythm = np.ones((len(AGES) + 1) * seen.states)
    for _ in range(_STEPS):
        hazard = data.hazard(beta)
        alive, gone = _expect(data, hazard, rhythm)
        rhythm = _beat(data, alive, seen.states)
        score, information = _scores(data, hazard, alive, gone)
        level = max(gone.sum() / max(alive.sum(), 1.0), 1e-5)
        # The two bases are drawn together, loosely: at first nothing tells them apart.
        precision[[0, 1], [0, 1]] = (_WIDE * level) ** -2
        middle = np.concatenate([[level, level], prior])
        information += precision
        step = np.linalg.solve(information, score - precision @ (beta - middle))
        before, beta = beta, beta + step
        least = np.maximum(before[:2] / 2.0, level / 5.0)
        beta[:2] = np.clip(beta[:2], least, 3.0 * before[:2] + level)
        if np.abs((beta - before) * np.sqrt(np.diag(information))).max() < _CLOSE:
            break
    posterior = np.asarray(np.linalg.inv(information), dtype=np.float64)
    return DropOut(
        base=beta[:2],
        effect=beta[2:],
        covariance=posterior[2:, 2:],
        leavers=float(gone.sum()),
        weeks=round(float(alive.sum())),
    )


def _design(seen: Weeks) -> npt.NDArray[np.float32]:
    """1, and contacts less what is usual in the state, spread over the weeks of delay."""
    (A, W), k = seen.state.shape, seen.contacts.shape[2]
    X = np.empty((A, W, 2 + k), dtype=np.float32)
    late = seen.state > 0
    own = [column - _usual(seen, column) for column in np.moveaxis(seen.contacts, 2, 0)]
    for j, column in enumerate([~late, late, *own]):
        sums = np.cumsum(column, axis=1, dtype=np.float64)
        sums[:, DELAY:] -= sums[:, :-DELAY].copy()
        X[:, :, j] = sums / DELAY
    return X.reshape(A * W, -1)


def _usual(seen: Weeks, contacts: Float) -> Float:
    """Give the mean exposure to contacts of weeks in the same state, (A, W).

    Where a person decided, it is the week's own: nothing is left of it.
    """
    place = seen.state if seen.decided is None else seen.state + seen.states * seen.decided
    if seen.by_hand is None:
        count = np.maximum(np.bincount(place.reshape(-1)), 1)
        mean: Float = np.bincount(place.reshape(-1), weights=contacts.reshape(-1)) / count
        return mean[place]
    own, size = ~seen.by_hand, int(place.max(initial=0)) + 1
    count = np.maximum(np.bincount(place[own], minlength=size), 1)
    mean = np.bincount(place[own], weights=contacts[own], minlength=size) / count
    return np.where(seen.by_hand, contacts, mean[place])


def _expect(data: _Data, hazard: Float, rhythm: Float) -> tuple[Float, Float]:
    """P(still a customer at the start of the week) and P(leaves in it), given all that was seen.

    Up to the last invoice the account was a customer. After it, either it left in a week v, having
    been silent as a customer before v; or it is still one and silent.
    """
    shape = (data.account, -1)
    chance = np.where(data.open, hazard, 0.0)
    due = np.minimum(data.rate * rhythm[data.cell], _SURE)
    factor = np.where(data.silent, -np.log1p(-due) / data.rate, 0.0).reshape(shape)
    served = np.cumsum(factor, axis=1)
    # The rate is known up to a gamma distribution: long silence of a rare buyer proves less.
    quiet = data.gaps * np.log1p(factor / (data.span + served - factor))
    step = np.where(data.silent, np.log1p(-chance), 0.0).reshape(shape) - quiet
    total = np.cumsum(step, axis=1)
    before = total - step
    leaves = np.where(data.silent, chance, 0.0).reshape(shape) * np.exp(before)
    gone = leaves / (leaves.sum(axis=1) + np.exp(total[:, -1]))[:, None]
    alive = 1.0 - (np.cumsum(gone, axis=1) - gone)
    return np.where(data.open, alive.reshape(-1), 0.0), gone.reshape(-1)


def _beat(data: _Data, alive: Float, states: int) -> Float:
    """Invoices against those expected, by age of the last one and state.

    Nobody can tell a customer who is silent for good from one who left. So at ages beyond the
    rhythm a customer is taken to be served at their own rate, times the share of invoices that
    customers in that state get at the usual ages.
    """
    size = (len(AGES) + 1) * states
    came = np.bincount(data.cell, weights=data.invoices * (alive > 0), minlength=size)
    due = np.bincount(data.cell, weights=data.rate * alive, minlength=size)
    came, due = came.reshape(-1, states), due.reshape(-1, states)
    factor = (came + _SMOOTH) / (due + _SMOOTH)
    usual = (factor[:-1, [0]] * due[:-1]).sum(axis=0)
    factor[-1] = 1.0
    got = came[:-1].sum(axis=0)
    for state in range(1, states):  # where little is seen, as one who is a little less late
        share = (got[state] + _SMOOTH * factor[-1, state - 1]) / (usual[state] + _SMOOTH)
        factor[-1, state] = min(share, 1.0)
    return factor.reshape(-1)


def _scores(data: _Data, hazard: Float, alive: Float, gone: Float) -> tuple[Float, Float]:
    """Gradient of the log likelihood, and its outer products summed over accounts."""
    stays = np.maximum(alive - gone, 0.0)
    each = np.where(data.open, gone / hazard - stays / (1.0 - hazard), 0.0)
    X = data.X.reshape(data.account, -1, data.X.shape[1])
    rows = np.einsum("awp,aw->ap", X, each.reshape(data.account, -1))
    return rows.sum(axis=0), rows.T @ rows
