"""The decision log: what was done to whom, with which probability, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import Fault, InputError
from collectopt.schema.actions import ActionSet

if TYPE_CHECKING:
    from collectopt.schema.ledger import Ledger


@dataclass(frozen=True, eq=False)
class DecisionLog:
    """n logged decisions.

    Attributes
    ----------
    X : float array, shape (n, d)
        What was known at the decision.
    action : int64 array, shape (n,)
        Row of `actions`.
    reward : float64 array, shape (n,)
        Outcome over the horizon.
    propensity : float64 array, shape (n,)
        Probability with which exactly this action was chosen; in (0, 1].
    actions : ActionSet
        K actions.
    account : int64 array, shape (n,)
        Who was decided about; rows of one account are not independent.
    as_of : datetime64[us] array, shape (n,)
        When, UTC; NaT where unknown.
    observed : bool array, shape (n,)
        False where the horizon was not over: the reward is then a lower bound, not an outcome.
    weight : float64 array, shape (n,)
        By which known outcomes, of a horizon over or not, stand for all of them; 0 = not known.
    names : tuple of str
        Names of the columns of X.
    """

    X: npt.NDArray[np.floating[Any]]
    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64]
    actions: ActionSet
    account: npt.NDArray[np.int64]
    as_of: npt.NDArray[np.datetime64]
    observed: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.action)

    def __repr__(self) -> str:
        return f"DecisionLog({len(self)} decisions, {len(self.actions)} actions)"

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        action: Any,
        reward: Any,
        propensity: Any,
        actions: ActionSet,
        *,
        account: Any = None,
        as_of: Any = None,
        observed: Any = None,
        weight: Any = None,
        names: tuple[str, ...] = (),
    ) -> DecisionLog:
        """Check arrays and make a log of them.

        Parameters
        ----------
        X : array-like, shape (n, d)
        action : array-like of int, shape (n,)
            0..K-1.
        reward, propensity : array-like, shape (n,)
        actions : ActionSet
        account, as_of, observed, weight : array-like, shape (n,), or None
            None: every row its own account, time unknown, all outcomes over; what is observed
            counts alike.
        names : tuple of str

        Raises
        ------
        InputError
            Lists every fault.
        """
        matrix = np.asarray(X)
        n = len(matrix)
        over = np.ones(n, bool) if observed is None else np.asarray(observed, dtype=bool)
        log = cls(
            X=matrix,
            action=np.asarray(action).astype(np.int64),
            reward=np.asarray(reward, dtype=np.float64),
            propensity=np.asarray(propensity, dtype=np.float64),
            actions=actions,
            account=np.arange(n) if account is None else np.asarray(account, dtype=np.int64),
            as_of=(
                np.full(n, np.datetime64("NaT", "us"))
                if as_of is None
                else np.asarray(as_of, dtype="datetime64[us]")
            ),
            observed=over,
            weight=np.asarray(over if weight is None else weight, dtype=np.float64),
            names=names,
        )
        faults = list(log._faults())
        if faults:
            raise InputError(faults)
        return log

    @classmethod
    def from_ledger(
        cls, ledger: Ledger, as_of: Any, horizon: str = "28D", catalogue: Any = None
    ) -> DecisionLog:
        """Read the decisions that a ledger's contacts record, waits included.

        Parameters
        ----------
        ledger : Ledger
        as_of : str, date or aware datetime
            Nothing from then on is read; later outcomes are censored.
        horizon : str
            Such as "28D": the reward is 1 if everything past due was paid within it.
        catalogue : Catalogue or None
            Names the actions; None: the library's default.
        """
        # The facade reaches to the right on purpose: a log is made of features and labels.
        from importlib import import_module

        panel = import_module("collectopt.policy.panel")
        return panel.decision_log(ledger, as_of, horizon=horizon, catalogue=catalogue)

    def _faults(self) -> Any:
        n = len(self.X)
        for name in ("action", "reward", "propensity", "account", "as_of", "observed", "weight"):
            if getattr(self, name).shape != (n,):
                found = f"shape {getattr(self, name).shape}"
                yield Fault("log", name, f"one value a row of X, shape ({n},)", found)
                return
        for name, bad, expected in (
            ("action", (self.action < 0) | (self.action >= len(self.actions)), "a row of actions"),
            ("reward", ~np.isfinite(self.reward), "a finite number"),
            ("propensity", ~((self.propensity > 0) & (self.propensity <= 1)), "within (0, 1]"),
            ("weight", ~(np.isfinite(self.weight) & (self.weight >= 0)), "a number from 0 up"),
        ):
            rows = np.flatnonzero(bad)
            if len(rows):
                found = str(getattr(self, name)[rows[0]])
                yield Fault("log", name, expected, found, tuple(rows[:5].tolist()), len(rows))
