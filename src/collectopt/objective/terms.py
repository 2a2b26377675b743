"""The terms: what a contact brings and what it costs, in EUR relative to waiting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from collectopt.exceptions import ArtifactError, InputError
from collectopt.models import harm_prior as prior
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

    P as learnt by :class:`~collectopt.models.HarmModel`, where that is known and neither ``leave``
    nor ``fatigue`` is given; it is below 0, a gain, where contacts keep customers. Else P =
    ``leave`` x (1 + tone rank) x (1 + ``fatigue`` x contacts of the last 28 days), at most 1: an
    assumption on the careful side, not an estimate.

    Parameters
    ----------
    leave : float or None
        P(leaves) of one contact in the gentlest tone; assumed 0.0005.
    fatigue : float or None
        Growth with every recent contact; assumed 0.5.
    unknown_value : float or None
        EUR where the account has no ``lifetime_value``; None takes ``[value] lifetime_value`` of
        the catalogue.
    """

    leave: float | None = None
    fatigue: float | None = None
    unknown_value: float | None = None

    def __post_init__(self) -> None:
        _check(self, leave=(0.0, 1.0), fatigue=(0.0, math.inf), unknown_value=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """P(leaves) x lifetime value."""
        unknown = block.unknown_value if self.unknown_value is None else self.unknown_value
        worth = np.where(np.isnan(block.lifetime_value), unknown, block.lifetime_value)
        chance = _chance(block, block.leave, (self.leave, self.fatigue), prior.LEAVE, block.tone)
        return chance * np.maximum(worth, 0.0)


@dataclass(frozen=True, eq=False, repr=False)
class ComplaintRisk(Term):
    """P(the customer complains because of the contact) x cost of a complaint.

    The probability is learnt or has the form of `RelationshipCost`, under the same rule.

    Parameters
    ----------
    rate : float or None
        P(complains) of one contact in the gentlest tone; assumed 0.001.
    fatigue : float or None
        Growth with every recent contact; assumed 0.5.
    cost : float or None
        EUR a complaint; None takes ``[value] complaint_cost`` of the catalogue.
    """

    rate: float | None = None
    fatigue: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        _check(self, rate=(0.0, 1.0), fatigue=(0.0, math.inf), cost=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """P(complains) x cost of a complaint."""
        cost = block.complaint_cost if self.cost is None else self.cost
        given = (self.rate, self.fatigue)
        return _chance(block, block.complaint, given, prior.COMPLAINT, block.tone) * cost


@dataclass(frozen=True, eq=False, repr=False)
class OptOutRisk(Term):
    """P(the customer bans the channel because of the contact) x what the channel is worth.

    The probability is learnt or assumed under the rule of `RelationshipCost`; the assumed one does
    not depend on the tone. Not in the default objective: what a channel to a customer is worth, the
    gain of all contacts that it will not carry, nobody knows but the caller.

    Parameters
    ----------
    cost : float
        EUR a channel lost.
    rate : float or None
        P(opts out) of one contact; assumed 0.002.
    fatigue : float or None
        Growth with every recent contact; assumed 0.5.

    Examples
    --------
    >>> ExpectedRecovery() - ContactCost() - OptOutRisk(cost=2.0)
    ExpectedRecovery() - ContactCost() - OptOutRisk(cost=2.0)
    """

    cost: float
    rate: float | None = None
    fatigue: float | None = None

    def __post_init__(self) -> None:
        if self.cost is None:
            raise InputError.of("OptOutRisk", "cost", expected="EUR a channel lost", found="None")
        _check(self, cost=(0.0, math.inf), rate=(0.0, 1.0), fatigue=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """P(opts out) x what the channel is worth."""
        given = (self.rate, self.fatigue)
        even = np.zeros_like(block.tone)
        return _chance(block, block.opt_out, given, prior.OPT_OUT, even) * self.cost


@dataclass(frozen=True, eq=False, repr=False)
class CreditStanding(Term):
    """Harm to the credit standing of the customer, of a step that leaves a mark there.

    Steps that do are the hand-over to an agency and the court order: what comes after them may be
    reported to a bureau or entered in a public register. Messages leave none, whatever their tone.
    It is harm to somebody else, so it has no price unless the creditor sets one. EUR a step =
    cost x (1, or ``business`` for a firm) x (1 + ``doubt`` x how unclear it is why the account is
    late): the less is known, the likelier is a mark for an oversight or for a claim that is not
    owed. Where nothing is known of it, it counts as wholly unclear.

    Parameters
    ----------
    cost : float or None
        EUR a step for a consumer of whom it is clear why he is late; None takes ``[value]
        credit_standing_cost`` of the catalogue, without it 0.
    business : float
        Share of it for a firm. Assumed: the law on such reports protects natural persons (BDSG
        section 31), and a firm is judged by its accounts, too.
    doubt : float
        Growth where nothing is known. Assumed: a mark that should not be is twice the harm.

    Notes
    -----
    A size to start from: borrowers in default gave up 11 % of a monthly income for a clean record
    (Liberman 2016, The value of a good credit reputation, Journal of Financial Economics), as seen
    in the choices of customers of one lender in Chile.

    Examples
    --------
    >>> ExpectedRecovery() - ContactCost() - CreditStanding(cost=200.0)
    ExpectedRecovery() - ContactCost() - CreditStanding(cost=200.0)
    """

    cost: float | None = None
    business: float = 0.5
    doubt: float = 1.0

    def __post_init__(self) -> None:
        _check(self, cost=(0.0, math.inf), business=(0.0, 1.0), doubt=(0.0, math.inf))

    def euros(self, block: Block) -> Floats:
        """Price of a mark, where the action leaves one."""
        cost = block.credit_standing_cost if self.cost is None else self.cost
        if block.marks is None:
            return np.zeros((1, 1))
        consumer = True if block.consumer is None else block.consumer
        unclear = 1.0 if block.doubt is None else np.nan_to_num(block.doubt, nan=1.0)
        who = np.where(consumer, 1.0, self.business)
        return np.asarray(block.marks * cost * who * (1.0 + self.doubt * unclear), np.float64)


def default_objective(credit_standing: bool = False) -> Objective:
    """``ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()``.

    Parameters
    ----------
    credit_standing : bool
        Whether ``CreditStanding()`` is deducted, too.
    """
    plain = ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()
    return plain - CreditStanding() if credit_standing else plain


_TERMS = ExpectedRecovery, ContactCost, RelationshipCost, ComplaintRisk, OptOutRisk, CreditStanding
_KNOWN: Mapping[str, type[Term]] = {term.__name__: term for term in _TERMS}


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


def _chance(
    block: Block,
    learnt: Floats | None,
    given: tuple[float | None, float | None],
    assumed: float,
    tone: Floats,
) -> Floats:
    """Take what was learnt, unless the caller gave a rate or a fatigue."""
    if learnt is not None and given == (None, None):
        return learnt
    base = assumed if given[0] is None else given[0]
    fatigue = prior.FATIGUE if given[1] is None else given[1]
    by_action = np.where(block.contact, base * prior.firmer(tone), 0.0)
    return np.minimum(by_action * prior.tiring(block.contacts, fatigue), 1.0)


def _check(term: Term, **bounds: tuple[float, float]) -> None:
    for name, (low, high) in bounds.items():
        value = getattr(term, name)
        if value is None:
            continue
        if not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
            raise InputError.of(
                type(term).__name__,
                name,
                expected=f"a number from {low:g} to {high:g}",
                found=repr(value),
            )
