"""The terms: what a contact brings and what it costs, in EUR relative to waiting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from collectopt.exceptions import ArtifactError, InputError
from collectopt.objective.algebra import Block, Floats, Objective, Term


@dataclass(frozen=True, eq=False, repr=False)
class ExpectedRecovery(Term):
    """Money that comes because of the action.

    Open amount x what the action brings in the end, where that was learnt; else open amount x the
    change of P(paid within the horizon), which takes money that comes sooner for money that would
    not come.

    Parameters
    ----------
    discounted : bool
        Discount by the catalogue's yearly rate over the expected days to payment. What was learnt
        is discounted already.

    Examples
    --------
    >>> ExpectedRecovery() - 2.0 * ContactCost()
    ExpectedRecovery() - 2.0 * ContactCost()
    """

    discounted: bool = True
    is_cost: ClassVar[bool] = False

    def euros(self, block: Block) -> Floats:
        """Open amount x what is brought, discounted."""
        amount = block.open_amount
        if block.brought is not None:
            return amount * block.brought
        if self.discounted and block.discount_rate:
            amount = amount * (1.0 + block.discount_rate) ** (-block.days / 365.0)
        return amount * (block.p - block.p_wait)


@dataclass(frozen=True, eq=False, repr=False)
class ContactCost(Term):
    """What the action costs: postage, minutes, fees."""

    def euros(self, block: Block) -> Floats:
        """Cost of the action."""
        return block.cost


@dataclass(frozen=True, eq=False, repr=False)
class RelationshipCost(Term):
    """P(the customer leaves because of the contact) x what the relation is worth.

    Until a model of it exists, P = ``leave`` x (1 + tone rank) x (1 + ``fatigue`` x contacts of
    the last 28 days), at most 1: an assumption on the careful side, not an estimate.

    Parameters
    ----------
    leave : float
        P(leaves) of one contact in the gentlest tone.
    fatigue : float
        Growth with every recent contact.
    unknown_value : float or None
        EUR where the account has no ``lifetime_value``; None takes ``[value] lifetime_value`` of
        the catalogue.
    """

    leave: float = 0.0005
    fatigue: float = 0.5
    unknown_value: float | None = None

    def __post_init__(self) -> None:
        _check(self, leave=(0.0, 1.0), fatigue=(0.0, math.inf))
        if self.unknown_value is not None:
            _check(self, unknown_value=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """P(leaves) x lifetime value."""
        unknown = block.unknown_value if self.unknown_value is None else self.unknown_value
        worth = np.where(np.isnan(block.lifetime_value), unknown, block.lifetime_value)
        return _tiring(block, self.leave, self.fatigue) * np.maximum(worth, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class ComplaintRisk(Term):
    """P(the customer complains because of the contact) x cost of a complaint.

    The probability has the form of `RelationshipCost`, likewise an assumption on the careful side.

    Parameters
    ----------
    rate : float
        P(complains) of one contact in the gentlest tone.
    fatigue : float
        Growth with every recent contact.
    cost : float or None
        EUR a complaint; None takes ``[value] complaint_cost`` of the catalogue.
    """

    rate: float = 0.001
    fatigue: float = 0.5
    cost: float | None = None

    def __post_init__(self) -> None:
        _check(self, rate=(0.0, 1.0), fatigue=(0.0, math.inf))
        if self.cost is not None:
            _check(self, cost=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """P(complains) x cost of a complaint."""
        cost = block.complaint_cost if self.cost is None else self.cost
        return _tiring(block, self.rate, self.fatigue) * cost


def default_objective() -> Objective:
    """``ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()``."""
    return ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()


_KNOWN: Mapping[str, type[Term]] = {
    t.__name__: t for t in (ExpectedRecovery, ContactCost, RelationshipCost, ComplaintRisk)
}


def from_dict(parts: Iterable[Mapping[str, Any]]) -> Objective:
    """Read an objective that `Objective.to_dict` wrote.

    Raises
    ------
    ArtifactError
        A term is not one of this library's: give the objective in code then.
    """
    total = Objective()
    for part in parts:
        term = _KNOWN.get(part["term"])
        if term is None:
            raise ArtifactError(
                f"the saved objective holds the term {part['term']!r}, which this library does not "
                f"know (it knows {', '.join(_KNOWN)}). Build the policy in code with "
                "objective=... and fit it, or save it without own terms."
            )
        total = total + part["weight"] * term(**part["parameters"])
    return total


def _tiring(block: Block, base: float, fatigue: float) -> Floats:
    by_action = np.where(block.contact, base * (1.0 + np.maximum(block.tone, 0.0)), 0.0)
    return np.minimum(by_action * (1.0 + fatigue * block.contacts), 1.0)


def _check(term: Term, **bounds: tuple[float, float]) -> None:
    for name, (low, high) in bounds.items():
        value = getattr(term, name)
        if not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
            raise InputError.of(
                type(term).__name__,
                name,
                expected=f"a number from {low:g} to {high:g}",
                found=repr(value),
            )
