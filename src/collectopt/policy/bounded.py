"""A budget in EUR for exploration: what it is expected to cost, and how many may explore for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectopt.policy.allocation import Allocation
from collectopt.policy.tilted import Tilted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_STEPS = 24
_AIM = 0.97  # of the budget, so that the next try is likely to be inside


@dataclass(frozen=True)
class Spent:
    """What the exploration of a run is expected to cost, by what the policy believes.

    Attributes
    ----------
    share : float
        Probability to explore of whoever takes part.
    draws : float
        EUR that the draws lose against what would be done otherwise.
    set_aside : float
        EUR that the others lose because units are set aside for the draws.
    """

    share: float
    draws: float
    set_aside: float

    @property
    def loss(self) -> float:
        """EUR in all, against the same policy that does not explore."""
        return self.draws + self.set_aside

    def to_dict(self) -> dict[str, float]:
        """Give share, draws, set_aside and loss."""
        return {**vars(self), "loss": self.loss}


@dataclass(frozen=True)
class Explored:
    """A plan of exploration with the choice of those who do not explore."""

    exploration: Tilted
    allocation: Allocation
    spent: Spent


def within_budget(
    planned: Callable[[float], Tilted],
    allocated: Callable[[Floats], Allocation],
    chance: Callable[[Ints], Bools],
    epsilon: float,
) -> Explored:
    """Lower the share that explores until exploring costs no more than its budget.

    The cost is the value of the choice without exploration, less the expected value with it: what
    the draws lose, and what others lose by the units that are set aside. Who is in which cell and
    all values are known before anything is drawn, so the share does not depend on the draws, and
    the propensities stay exact.

    Parameters
    ----------
    planned : callable
        Share that explores -> plan.
    allocated : callable
        Units set aside (R,) -> joint choice of a class for each account.
    chance : callable
        Class chosen (n,) -> accounts that may explore with such a choice.
    epsilon : float
        Share to begin with: the largest.

    Returns
    -------
    Explored
    """
    nobody = planned(0.0)
    euros, budget = nobody.tally.wanted, nobody.tally.how.budget
    i = np.arange(len(euros))
    champion = allocated(nobody.reserve)
    best = euros[i, champion.choice]
    for _ in range(_STEPS):
        tilted = planned(epsilon)
        allocation = allocated(tilted.reserve)
        greedy = euros[i, allocation.choice]
        tilted = replace(tilted.only(chance(allocation.choice)), greedy_euros=greedy)
        spent = Spent(tilted.epsilon, tilted.loss(), float((best - greedy).sum()))
        if budget is None or spent.loss <= budget:
            return Explored(tilted, allocation, spent)
        epsilon *= min(_AIM * budget / spent.loss, 0.9)
    return Explored(replace(nobody, greedy_euros=best), champion, Spent(0.0, 0.0, 0.0))
