"""The best constant: one action for everybody, the yardstick that learnt policies must beat."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from collectopt.exceptions import NotFittedError
from collectopt.policy.base import Policy
from collectopt.policy.engine import Bools, Case, Details, Floats, Ints
from collectopt.policy.ladder import channels_by_cost
from collectopt.policy.panel import decision_panel
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
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
    """Give everybody the same action: the best on the log by inverse-propensity weighted means.

    The mean of an action is self-normalised: sum(y / p) / sum(1 / p) over its logged decisions.
    An action is taken if its EUR against waiting, uplift less one standard error times the mean
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
    Swaminathan and Joachims (2015), The self-normalized estimator for counterfactual learning.
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
        log, _, snapshot = decision_panel(
            ledger, as_of, horizon=horizon, catalogue=self.catalogue, names=()
        )
        self._set(self._best(log, snapshot))
        return self

    def _set(self, arm: Arm) -> None:
        self.arm_ = arm
        with tempfile.TemporaryDirectory() as folder:
            self._seal(Path(folder))

    def _best(self, log: DecisionLog, snapshot: Snapshot) -> Arm:
        actions, seen = self.catalogue.actions, log.observed
        wait = seen & (actions.kind[log.action] == ActionKind.WAIT)
        if wait.sum() < _ROWS:
            return self._gentlest("the log has no decisions to compare with waiting")
        p_wait, stderr_wait = weighted_mean(log.reward[wait], log.propensity[wait])
        claims = snapshot.claims
        euros = np.zeros(len(snapshot))
        late = claims["past_due"].to_numpy(zero_copy_only=False)
        np.add.at(
            euros, claims["row"].to_numpy()[late], claims["open_cents"].to_numpy()[late] / 100
        )
        amount = float(euros[seen].mean())
        best, best_worth = Arm(None, None, None, p_wait, stderr_wait, p_wait, int(wait.sum())), 0.0
        factors = np.stack([actions.channel, actions.tone, actions.offer], axis=1)
        for channel, tone, offer in np.unique(factors[actions.is_contact], axis=0):
            mine = (factors[log.action] == (channel, tone, offer)).all(axis=1) & seen
            if mine.sum() < _ROWS:
                continue
            p, stderr = weighted_mean(log.reward[mine], log.propensity[mine])
            cost = float(actions.cost[(factors == (channel, tone, offer)).all(axis=1)].max())
            worth = (p - p_wait - np.hypot(stderr, stderr_wait)) * amount - cost
            if worth > best_worth:
                names = (actions.channels[channel], actions.tones[tone], actions.offers[offer])
                best_worth = worth
                best = Arm(*names, p, stderr, p_wait, int(mine.sum()))
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


def weighted_mean(reward: Floats, propensity: Floats) -> tuple[float, float]:
    """Self-normalised inverse-propensity mean and its standard error.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_mean(np.array([1.0, 0.0]), np.array([0.5, 0.25]))[0]
    0.3333333333333333
    """
    weight = 1.0 / propensity
    mean = float(weight @ reward / weight.sum())
    return mean, float(np.sqrt((weight**2) @ (reward - mean) ** 2) / weight.sum())


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

    def values(self, rows: slice) -> Floats:
        """Give the open amount for the constant action: the larger debts go first."""
        amount = 1.0 + self.state.open_amount[rows, None]
        return np.where(self.mine[None, :], amount, -np.inf)

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
