"""The best constant: one action for everybody, the yardstick that learnt policies must beat."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import NotFittedError
from collectopt.models.factors import reference
from collectopt.policy.base import Policy
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.policy.ladder import channels_by_cost
from collectopt.policy.panel import decision_panel
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

_ROWS = 30  # fewest logged decisions of an action to be considered


@dataclass(frozen=True)
class Arm:
    """One constant action, in every slot alike.

    Attributes
    ----------
    channel, tone, offer : str or None
        None, None, None: wait.
    p : float or None
        Weighted mean of the outcome under it; None = no evidence.
    stderr : float or None
    p_wait : float or None
        The same of waiting.
    rows : int
        Logged decisions for it.
    note : str
    """

    channel: str | None
    tone: str | None
    offer: str | None
    p: float | None = None
    stderr: float | None = None
    p_wait: float | None = None
    rows: int = 0
    note: str = ""


class BestConstant(Policy):
    """Give everybody the same action: the best on the log by weighted means.

    For each channel, tone and offer: the weighted mean of y - m(x) over its logged decisions, less
    that over the decisions to wait. m(x) is what the features let expect (ridge regression, fitted
    on other accounts), because not every action was possible for everybody. The weights are the
    log's own frequency of the action over its propensity, cut at ten times their mean. An action
    is taken if its EUR against waiting, that difference less two standard errors times the mean
    open amount less its cost, is above 0 and the largest; where none is, the constant is to wait.
    A book without usable propensities gets the gentlest tone of the cheapest channel. The rules
    and limits hold for it too.

    Parameters
    ----------
    catalogue : Catalogue
    rules : Rules or None
        None takes those of the catalogue.

    References
    ----------
    Robins, Hernan and Brumback (2000), Epidemiology 11(5) (stabilised weights).
    """

    kind: ClassVar[str] = "best_constant"

    def __init__(self, catalogue: Catalogue, rules: Rules | None = None) -> None:
        super().__init__(catalogue, rules)
        self.arm_: Arm | None = None

    def __repr__(self) -> str:
        return "BestConstant()"

    @property
    def arm(self) -> Arm:
        """The constant action.

        Raises
        ------
        NotFittedError
        """
        if self.arm_ is None:
            raise NotFittedError.of(self, "arm")
        return self.arm_

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Compare the actions on the log of what was known before ``as_of``."""
        horizon = f"{self.catalogue.horizon_days}D"
        log, _, snapshot = decision_panel(ledger, as_of, horizon=horizon, catalogue=self.catalogue)
        claims = snapshot.claims
        late = claims["past_due"].to_numpy(zero_copy_only=False)
        euros = np.zeros(len(snapshot))
        cents = claims["open_cents"].to_numpy()[late]
        np.add.at(euros, claims["row"].to_numpy()[late], cents / 100.0)
        kept = log.observed & (log.propensity < 1.0)
        if kept.sum() < _ROWS or (log.action[kept] == 0).sum() < _ROWS:
            self._set(self._gentlest("the log has no decisions to compare with waiting"))
        else:
            self._set(self._best(log, kept, float(euros[kept].mean())))
        return self

    def _set(self, arm: Arm) -> None:
        self.arm_ = arm
        with tempfile.TemporaryDirectory() as folder:
            self._seal(Path(folder))

    def _best(self, log: DecisionLog, kept: Bools, amount: float) -> Arm:
        actions, action, reward = self.catalogue.actions, log.action[kept], log.reward[kept]
        weight = reference(actions, action)[action] / log.propensity[kept]
        weight = np.minimum(weight, 10.0 * weight.mean())
        surprise = reward - expected(log.X[kept], reward, log.account[kept])
        wait = action == 0
        p_wait = float(np.average(reward[wait], weights=weight[wait]))
        level, error = weighted_mean(surprise[wait], weight[wait])
        best = Arm(None, None, None, p_wait, error, p_wait, int(wait.sum()))
        best_worth = 0.0
        factors = np.stack([actions.channel, actions.tone, actions.offer], axis=1)
        for arm in np.unique(factors[actions.is_contact], axis=0):
            mine = (factors[action] == arm).all(axis=1) & actions.is_contact[action]
            if mine.sum() < _ROWS:
                continue
            mean, stderr = weighted_mean(surprise[mine], weight[mine])
            uplift, stderr = mean - level, float(np.hypot(stderr, error))
            cost = float(actions.cost[(factors == arm).all(axis=1)].max())
            worth = (uplift - 2.0 * stderr) * amount - cost
            if worth > best_worth:
                names = (actions.channels[arm[0]], actions.tones[arm[1]], actions.offers[arm[2]])
                best = Arm(*names, p_wait + uplift, stderr, p_wait, int(mine.sum()))
                best_worth = worth
        return best

    def _gentlest(self, why: str) -> Arm:
        names = self.catalogue.offers.names
        offer = "none" if "none" in names else names[0]
        channel = channels_by_cost(self.catalogue)[0]
        note = f"The gentlest tone of the cheapest channel: {why}."
        return Arm(channel, self.catalogue.tone_names[0], offer, note=note)

    def _content(self) -> dict[str, Any]:
        return {"arm": asdict(self.arm)}

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        del snapshot
        return _ConstantCase(self.arm, self.catalogue, state), {}


def weighted_mean(values: Floats, weight: Floats) -> tuple[float, float]:
    """Self-normalised weighted mean and its standard error.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_mean(np.array([1.0, 0.0]), np.array([1.0, 2.0]))[0]
    0.3333333333333333
    """
    mean = float(weight @ values / weight.sum())
    return mean, float(np.sqrt((weight**2) @ (values - mean) ** 2) / weight.sum())


def expected(X: NDArray[Any], y: Floats, account: Ints) -> Floats:
    """Predict y from X by ridge regression, each half of the accounts from the other half."""
    known = ~np.isnan(X)
    Z = np.where(known, np.sign(X) * np.log1p(np.abs(np.where(known, X, 0.0))), 0.0)
    Z = Z.astype(np.float64)
    spread = Z.std(axis=0)
    Z = (Z - Z.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    Z = np.column_stack([Z, np.ones(len(Z))])
    penalty = np.diag([*np.full(Z.shape[1] - 1, 10.0), 1e-6])
    made = np.empty(len(y))
    half = np.unique(account, return_inverse=True)[1].reshape(-1) % 2
    for own in (half == 0, half == 1):
        rest = Z[~own]
        made[own] = Z[own] @ np.linalg.solve(rest.T @ rest + penalty, rest.T @ y[~own])
    return made


class _ConstantCase(Case):
    def __init__(self, arm: Arm, catalogue: Catalogue, state: State) -> None:
        self.arm, self.actions, self.state = arm, catalogue.actions, state
        a = self.actions
        if arm.channel is None:
            self.mine = np.zeros(len(a), dtype=bool)
        else:
            code = (
                a.channels.index(arm.channel),
                a.tones.index(str(arm.tone)),
                a.offers.index(str(arm.offer)),
            )
            self.mine = (
                (a.channel == code[0]) & (a.tone == code[1]) & (a.offer == code[2]) & a.is_contact
            )

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Give the open amount for the constant action: the larger debts go first."""
        amount = 1.0 + self.state.open_amount[rows, None]
        return np.where(self.mine[None, columns], amount, -np.inf)

    def details(self, rows: slice, action: Ints) -> Details:
        """Report the means of the log, where there are any."""
        n, arm = len(action), self.arm
        p_wait = np.full(n, np.nan if arm.p_wait is None else arm.p_wait)
        p = np.where(action > 0, np.nan if arm.p is None else arm.p, p_wait)
        amount = self.state.open_amount[rows]
        value = (p - p_wait) * amount - self.actions.cost[action]
        said = arm.note or (
            f"The best constant action on {arm.rows} logged decisions."
            if arm.channel is not None
            else "No action was better than waiting on the log."
        )
        notes = tuple(said if k or arm.channel is None else "" for k in action)
        return Details(p, p_wait, p * amount, value, {}, notes)
