"""The algebra: an objective is a weighted sum of terms, each worth EUR an account and action."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import Fault, InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """What the terms see: b accounts times K actions, every array broadcastable to (b, K).

    With one action an account K is 1, and the actions' arrays are (b, 1) too.

    Attributes
    ----------
    p : ndarray (b, K)
        P(everything past due is paid within the horizon | action).
    p_wait : ndarray (b, 1)
        The same if nothing is done.
    open_amount : ndarray (b, 1)
        EUR that may be asked for.
    days : ndarray (b, 1)
        Expected days until the money comes, if it comes within the horizon.
    lifetime_value : ndarray (b, 1)
        EUR that the relation is worth; nan = unknown.
    contacts : ndarray (b, 1)
        Contacts of the last 28 days (sent, or chosen and not yet sent).
    cost : ndarray (1, K) or (b, 1)
        EUR an action.
    tone : ndarray (1, K) or (b, 1)
        Rank of the tone, 0 = gentlest.
    contact : ndarray (1, K) or (b, 1) of bool
        Whether the action reaches the customer at all.
    discount_rate : float
        A year.
    complaint_cost : float
        EUR a complaint.
    unknown_value : float
        EUR that a relation is worth where `lifetime_value` is nan.
    brought : ndarray (b, K), optional
        Share of the open amount, discounted, that the action brings in the end and that would not
        come anyway. None: not known; then p - p_wait stands for it.
    complaint, opt_out, leave : ndarray (b, K), optional
        Learnt chances of a complaint, of the channel being banned, and of the customer leaving
        (below 0: staying); 0 where the action is no contact. None: not known.
    marks : ndarray (b, 1), optional
        Whether the action leaves a mark on the customer's credit standing, 0 or 1. None: it does
        not, as no contact does.
    consumer : ndarray (b, 1) of bool, optional
    doubt : ndarray (b, 1), optional
        How unclear it is why the account is late, 0 (sure) to 1 (no idea).
    credit_standing_cost : float
        EUR of harm that a mark does to a consumer.
    """

    p: Floats
    p_wait: Floats
    open_amount: Floats
    days: Floats
    lifetime_value: Floats
    contacts: Floats
    cost: Floats
    tone: Floats
    contact: NDArray[np.bool_]
    discount_rate: float = 0.0
    complaint_cost: float = 0.0
    unknown_value: float = 0.0
    brought: Floats | None = None
    complaint: Floats | None = None
    opt_out: Floats | None = None
    leave: Floats | None = None
    marks: Floats | None = None
    consumer: NDArray[np.bool_] | None = None
    doubt: Floats | None = None
    credit_standing_cost: float = 0.0


class Objective:
    """A weighted sum of terms. Made by ``+``, ``-`` and ``*``, never by hand.

    Attributes
    ----------
    parts : tuple of (float, Term)
        Weight and term, in the order written; equal terms are merged, weight 0 drops
        out.
    """

    parts: tuple[tuple[float, Term], ...] = ()

    def values(self, block: Block) -> Floats:
        """EUR of every action relative to waiting, shape (b, K)."""
        total = np.zeros(np.broadcast_shapes(block.p.shape, block.cost.shape))
        for weight, term in self.parts:
            total += weight * term.euros(block)
        return total

    def breakdown(self, block: Block) -> dict[str, Floats]:
        """EUR by term, weighted: label -> (b, K). Adds up to `values`."""
        shape = np.broadcast_shapes(block.p.shape, block.cost.shape)
        return {
            _scaled(weight, term): np.broadcast_to(weight * term.euros(block) + 0.0, shape)
            for weight, term in self.parts
        }

    def check(self) -> None:
        """Refuse an objective that rewards cost or punishes recovery.

        Raises
        ------
        InputError
            A weight has the wrong sign.
        """
        wrong = [(w, t) for w, t in self.parts if (w > 0) == t.is_cost]
        if wrong:
            raise InputError(
                Fault(
                    "objective",
                    type(term).__name__,
                    f"a {'negative' if term.is_cost else 'positive'} weight: the term is "
                    f"{'a cost' if term.is_cost else 'a gain'} in EUR",
                    f"{weight:g}",
                    hint=f"You probably wrote {'+' if term.is_cost else '-'} "
                    f"{term!r} where {'-' if term.is_cost else '+'} was meant.",
                )
                for weight, term in wrong
            )

    def to_dict(self) -> list[dict[str, Any]]:
        """Weights, names and parameters of the terms, ready for JSON."""
        return [
            {"weight": weight, "term": type(term).__name__, "parameters": term.parameters()}
            for weight, term in self.parts
        ]

    # Algebra -----------------------------------------------------------------------------

    def __add__(self, other: object) -> Objective:
        if isinstance(other, Objective):
            return _sum(self.parts + other.parts)
        if isinstance(other, int | float | np.number):
            raise TypeError(
                f"cannot add the number {other} to an objective: the same EUR on every action, "
                "waiting included, changes no decision. Scale a term with * instead."
            )
        return NotImplemented

    def __radd__(self, other: object) -> Objective:
        # sum([...]) starts from 0
        return self if isinstance(other, int) and other == 0 else self.__add__(other)

    def __sub__(self, other: object) -> Objective:
        return self + -other if isinstance(other, Objective) else self.__add__(other)

    def __neg__(self) -> Objective:
        return self * -1.0

    def __mul__(self, factor: object) -> Objective:
        if isinstance(factor, Objective):
            raise TypeError(
                "cannot multiply two terms: EUR times EUR is no amount. "
                "Terms add up, and a number scales them: 2.0 * ComplaintRisk()."
            )
        if isinstance(factor, bool) or not isinstance(factor, int | float | np.number):
            return NotImplemented
        if not math.isfinite(factor):
            raise ValueError(f"a weight must be a finite number. Got {factor} instead.")
        return _sum(tuple((weight * float(factor), term) for weight, term in self.parts))

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Objective:
        if not isinstance(other, int | float) or isinstance(other, bool) or other == 0:
            self._refuse("/", "Divide by a number other than 0, or scale with *.")
        return self * (1.0 / other)

    def __rtruediv__(self, other: object) -> NoReturn:
        self._refuse("/", "Nothing can be divided by a term.")

    def __pow__(self, other: object) -> NoReturn:
        self._refuse("**", "Terms are amounts in EUR; they add up and scale.")

    def __lt__(self, other: object) -> NoReturn:
        self._refuse("<", _LIMIT)

    def __le__(self, other: object) -> NoReturn:
        self._refuse("<=", _LIMIT)

    def __gt__(self, other: object) -> NoReturn:
        self._refuse(">", _LIMIT)

    def __ge__(self, other: object) -> NoReturn:
        self._refuse(">=", _LIMIT)

    def __bool__(self) -> bool:  # noqa: PLE0304
        self._refuse("and/or/not", "Use + and - to combine terms, `is None` to test for absence.")

    def _refuse(self, operator: str, why: str) -> NoReturn:
        raise TypeError(f"operator {operator} is not defined for an objective. {why}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Objective) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        if not self.parts:
            return "0 * ExpectedRecovery()"
        first, *rest = self.parts
        text = ("-" if first[0] < 0 else "") + _scaled(abs(first[0]), first[1])
        for weight, term in rest:
            text += f" {'-' if weight < 0 else '+'} {_scaled(abs(weight), term)}"
        return text


class Term(Objective):
    """One term: subclass it as a frozen dataclass and write `euros`.

    Its sign is natural: a cost is a positive amount that the objective subtracts
    (``is_cost = True``).
    """

    is_cost: ClassVar[bool] = True

    @property
    def parts(self) -> tuple[tuple[float, Term], ...]:  # type: ignore[override]
        """The term itself with weight 1."""
        return ((1.0, self),)

    def euros(self, block: Block) -> Floats:
        """EUR of the term, broadcastable to (b, K), 0 where the action does nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define euros(block).")

    def parameters(self) -> dict[str, Any]:
        """Parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Term):
            return type(self) is type(other) and self.parameters() == other.parameters()
        return isinstance(other, Objective) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self)))

    def __repr__(self) -> str:
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_LIMIT = (
    "A limit is no term: budgets, capacities and caps belong to the catalogue "
    "([limits] budget = ..., [[channels]] capacity = ...)."
)


def _sum(parts: Iterable[tuple[float, Term]]) -> Objective:
    merged: dict[Term, float] = {}
    for weight, term in parts:
        merged[term] = merged.get(term, 0.0) + weight
    result = Objective()
    result.parts = tuple((weight, term) for term, weight in merged.items() if weight)
    return result


def _scaled(weight: float, term: Term) -> str:
    if abs(weight) == 1:
        return f"{'-' if weight < 0 else ''}{term!r}"
    return f"{weight!r} * {term!r}"
