"""The outlook: what would happen to each account under each action, without any price."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.schema.actions import ActionSet
from collectopt.schema.snapshot import Snapshot

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outlook:
    """Predictions for n accounts and K actions, kept as factors.

    The probability that everything past due is paid within the horizon is
    ``p_wait + theta @ phi.T``, cut to [0, 1]; accounts x actions is only ever made for a block.

    Attributes
    ----------
    snapshot : Snapshot
        n rows, one an account.
    actions : ActionSet
        K actions.
    p_wait : float64 array, shape (n,)
        P(paid within the horizon) without a contact.
    open_amount : float64 array, shape (n,)
        EUR that a contact may ask for.
    theta : float64 array, shape (n, p) or (1, p)
        Effects of the factors of an action on that probability.
    phi : float64 array, shape (K, p)
        Factors of the actions; a row of zeros for those without an effect.
    days : float64 array, shape (n,)
        Expected days until the money comes, given that it comes within the horizon.
    horizon_days : int
    lifetime_value : float64 array, shape (n,)
        EUR.
    proceeds : (theta, phi) or None
        The same for the share of the open amount that an action brings in the end, discounted,
        and that would not come anyway; shapes (n, q) or (1, q) and (K, q). None: not known.
    """

    snapshot: Snapshot
    actions: ActionSet
    p_wait: Floats
    open_amount: Floats
    theta: Floats
    phi: Floats
    days: Floats
    horizon_days: int
    lifetime_value: Floats
    proceeds: tuple[Floats, Floats] | None = None

    def __len__(self) -> int:
        return len(self.p_wait)

    def uplift(self, rows: slice) -> Floats:
        """Change of the probability by each action, for a block of accounts; shape (b, K)."""
        theta = self.theta if len(self.theta) == 1 else self.theta[rows]
        p_wait = self.p_wait[rows, None]
        return np.clip(p_wait + theta @ self.phi.T, 0.0, 1.0) - p_wait
