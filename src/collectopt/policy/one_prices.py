"""Costs by the objective, worked out once for each number of recent contacts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.models.forests import Prices
from collectopt.objective import Block, ContactCost, ExpectedRecovery, RelationshipCost
from collectopt.objective.terms import ComplaintRisk, OptOutRisk
from collectopt.policy.engine import Floats

#: Terms that hang on the action and on how often the account was contacted, and on no chance.
_FLAT = (ContactCost, ComplaintRisk, OptOutRisk)
_KEPT = 1000


@dataclass(frozen=True, eq=False)
class Priced:
    """Costs of every action for accounts with so many recent contacts.

    Attributes
    ----------
    prices : Prices
    terms : tuple of (K,) float64 or None
        Each term of the objective, in its order: in EUR, of `RelationshipCost` for a relation worth
        1 EUR; None = what the action brings.
    """

    prices: Prices
    terms: tuple[Floats | None, ...]


class QuickPrices:
    """An objective whose terms are all ours and can be laid out before an account is seen.

    Parameters
    ----------
    parts : sequence of (weight, term)
    rate : float
        Yearly discount rate.
    unknown : float
        EUR that a relation is worth where the account does not say.
    """

    def __init__(
        self,
        parts: Sequence[tuple[float, Any]],
        rate: float,
        unknown: float,
        *,
        proceeds: bool,
    ) -> None:
        self.parts = [(float(weight), term) for weight, term in parts]
        self.relations = [t for _, t in self.parts if type(t) is RelationshipCost]
        self.brings = [(w, t) for w, t in self.parts if type(t) is ExpectedRecovery]
        known = (*_FLAT, RelationshipCost, ExpectedRecovery)
        self.known = len(self.relations) <= 1 and all(type(t) in known for _, t in self.parts)
        own = self.relations[0].unknown_value if self.relations else None
        self.unknown = float(unknown if own is None else own)
        self.rate, self.proceeds = float(rate), proceeds
        self._kept: dict[int, Priced] = {}

    def worth(self, lifetime_value: float) -> float:
        """EUR that the relation is worth."""
        return max(self.unknown if math.isnan(lifetime_value) else lifetime_value, 0.0)

    def gains(self, amount: float, days: float) -> list[float]:
        """EUR of the whole effect by each term that is about it."""
        now = amount
        if not self.proceeds and self.rate:
            now = amount * (1.0 + self.rate) ** (-days / 365.0)
        return [w * (now if term.discounted else amount) for w, term in self.brings]

    def of(self, recent: int, block: Callable[[], Block], grid: npt.NDArray[np.int64]) -> Priced:
        """Give the costs for so many recent contacts; ``block`` is asked where they are new."""
        found = self._kept.get(recent)
        if found is None:
            found = self._laid(replace(block(), lifetime_value=np.ones((1, 1))), grid)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[recent] = found
        return found

    def _laid(self, block: Block, grid: npt.NDArray[np.int64]) -> Priced:
        shape = block.cost.shape
        flat, by_worth = np.zeros(shape[1]), np.zeros(shape[1])
        terms: list[Floats | None] = []
        for weight, term in self.parts:
            if type(term) is ExpectedRecovery:
                terms.append(None)
                continue
            euros = np.broadcast_to(weight * term.euros(block), shape)[0].astype(np.float64)
            if type(term) is RelationshipCost:
                by_worth += euros
            else:
                flat += euros
            terms.append(euros)
        return Priced(Prices(flat, by_worth, grid), tuple(terms))
