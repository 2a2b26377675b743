"""Harm by action and fatigue, laid out for the objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectopt.models.harm import Harm, HarmModel
from collectopt.models.harm_log import MOST
from collectopt.policy.engine import Floats, Ints, Rows
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Risks:
    """Chances of harm by number of recent contacts (0 to 12) and action; (13, K) each.

    Attributes
    ----------
    complaint, opt_out, leave : (13, K) float64
    """

    complaint: Floats
    opt_out: Floats
    leave: Floats

    @classmethod
    def of(cls, harm: Harm, actions: ActionSet) -> Risks:
        """Work them out once for all accounts."""
        every = np.arange(MOST + 1)
        return cls(
            harm.complains(actions, every),
            harm.opts_out(actions, every),
            harm.leaves(actions, every),
        )

    def rates(self, recent: Ints, pick: Rows, axis: int) -> dict[str, Floats]:
        """Fields of a `Block` for accounts with so many recent contacts.

        Parameters
        ----------
        recent : (b,) int64
        pick : slice or int array
            Actions for all of them (axis 0), or one action each (axis 1).
        axis : int
        """
        row = np.minimum(recent, MOST)
        by_name = {"complaint": self.complaint, "opt_out": self.opt_out, "leave": self.leave}
        if axis == 1:
            return {name: rate[row, pick][:, None] for name, rate in by_name.items()}
        return {name: rate[:, pick][row] for name, rate in by_name.items()}


def learn_harm(ledger: Ledger, as_of: np.datetime64, catalogue: Catalogue) -> Harm | None:
    """Learn the harm of contacts; None: no contact whose reaction is over, it stays assumed."""
    return HarmModel(catalogue.tone_names).fit(ledger, as_of).harm_
