"""One account as a policy sees it, valued in few calls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from collectopt.models.harm_log import MOST
from collectopt.objective import Block, RelationshipCost
from collectopt.policy import reasons
from collectopt.policy.engine import ALL, Bools, Details, Floats, Ints, Rows
from collectopt.policy.one_prices import Priced
from collectopt.policy.valued import ValuedCase
from collectopt.rules.state import State

if TYPE_CHECKING:
    from collectopt.policy.one import OneDecision
    from collectopt.policy.one_record import AccountRecord


class Detail(NamedTuple):
    """`Details` of one account, as plain numbers."""

    p_pay: float
    p_wait: float
    recovery: float
    value: float
    terms: Mapping[str, float]
    note: str

    @classmethod
    def of(cls, details: Details) -> Detail:
        """Take the only account."""
        return cls(
            p_pay=float(details.p_pay[0]),
            p_wait=float(details.p_wait[0]),
            recovery=float(details.recovery[0]),
            value=float(details.value[0]),
            terms={name: float(each[0]) for name, each in details.terms.items()},
            note=details.notes[0] if details.notes else "",
        )


class OneCase(ValuedCase):
    """One account as a policy sees it: `ValuedCase` in few calls."""

    def __init__(
        self,
        one: OneDecision,
        record: AccountRecord,
        state: State,
        chances: tuple[float, float],
        factors: tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None],
    ) -> None:
        self.one, self.state, self.factors = one, state, factors
        self.catalogue, self.note = one.policy.catalogue, one.note
        self.objective = one.policy.objective
        self.p_wait, self.days = chances
        self.lifetime_value = record.lifetime_value
        self.columns: Rows = ALL
        self.euros_by_term: list[Floats] = []
        self.seen: Block | None = None
        self.effects: Floats | None = None  # on P(paid) and on the money, (2, K)

    @property
    def is_plain(self) -> bool:
        """Whether every term is laid out before the account is seen."""
        return self.one.prices.known

    def best(self, allowed: Bools) -> list[list[float]] | None:
        """Worth, and number, of the best permitted action of each class; two lists of G.

        None: a term is not known here; then `values` says it all.
        """
        one = self.one
        if not self.is_plain:
            return None
        gain, worth = sum(self.gains), one.prices.worth(self.lifetime_value)
        prices, (first, second) = self._priced().prices, self.factors
        if one.kernels is not None:
            told = gain, worth, self.p_wait, second is not None
            one.kernels.best_of_classes(prices, first, second or first, told, allowed, one.found)
            self.effects, best = one.found
            return best.tolist()
        theta, phi = second or first
        effect = (theta @ phi.T)[0]
        if second is None:
            effect = np.minimum(np.maximum(self.p_wait + effect, 0.0), 1.0) - self.p_wait
        return one.of_classes(gain * effect + prices.flat + worth * prices.by_worth, allowed)

    def detail(self, k: int) -> Detail:
        """Give what is said of one action; of plain terms without looking at the others."""
        if not self.is_plain:
            return Detail.of(self.details(slice(0, 1), np.array([k])))
        p_wait = self.p_wait
        if self.effects is not None:
            change, effect = self.effects[:, k].tolist()
        else:
            (theta, phi), proceeds = self.factors
            change = min(max(p_wait + float(theta[0] @ phi[k]), 0.0), 1.0) - p_wait
            effect = change if proceeds is None else float(proceeds[0][0] @ proceeds[1][k])
        p = p_wait + change
        prices = self.one.prices
        gains, worth = iter(self.gains), prices.worth(self.lifetime_value)
        terms = {}
        for label, (_, term), known in zip(
            self.one.labels, prices.parts, self._priced().terms, strict=True
        ):
            if known is None:
                euros = next(gains) * effect
            elif type(term) is RelationshipCost:
                euros = worth * float(known[k])
            else:
                euros = float(known[k])
            terms[label] = euros + 0.0
        state, house = self.state, self.catalogue.house
        note = self.note
        if state.distress is not None and state.doubt is not None:
            note = reasons.noted(note, house, float(state.distress[0]), float(state.doubt[0]))
        return Detail(p, p_wait, p * self.amount, sum(terms.values()), terms, note)

    @cached_property
    def gains(self) -> list[float]:
        """EUR of the whole effect by each term that is about it."""
        return self.one.prices.gains(self.amount, self.days)

    @cached_property
    def amount(self) -> float:
        """EUR that may be asked for."""
        return float(self.state.open_amount[0])

    def _priced(self) -> Priced:
        return self.one.prices.of(int(self.state.recent[0]), self._seen_of, self.one.grid)

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action relative to waiting, (1, k); what it is made of is kept."""
        block = self._seen_of(columns)
        total = np.zeros(block.cost.shape)
        self.euros_by_term = [
            np.broadcast_to(weight * term.euros(block), total.shape)
            for weight, term in self.one.parts
        ]
        for euros in self.euros_by_term:
            total += euros
        self.seen, self.columns = block, columns
        return total[: 1 if isinstance(rows, slice) else len(rows)]

    def _seen_of(self, columns: Rows = ALL) -> Block:
        one, state, p_wait = self.one, self.state, self.p_wait
        (theta, phi), proceeds = self.factors
        effect = theta @ phi[columns].T
        p = p_wait + (np.minimum(np.maximum(p_wait + effect, 0.0), 1.0) - p_wait)
        cost, tone, contact = one.of_action if columns is ALL else one.some(columns)
        harm: dict[str, Floats] = {}
        if one.risks is not None:
            recent = min(int(state.recent[0]), MOST)
            row = slice(recent, recent + 1)
            harm = {name: rate[row, columns] for name, rate in one.risks.items()}
        return Block(
            p=p,
            p_wait=np.array([[p_wait]]),
            open_amount=state.open_amount[:, None],
            days=np.array([[self.days]]),
            lifetime_value=np.array([[self.lifetime_value]]),
            contacts=state.recent[:, None].astype(np.float64),
            cost=cost,
            tone=tone,
            contact=contact,
            brought=None if proceeds is None else proceeds[0] @ proceeds[1][columns].T,
            complaint=harm.get("complaint"),
            opt_out=harm.get("opt_out"),
            leave=harm.get("leave"),
            **one.constants,
        )

    def block(self, rows: Rows, columns: Rows = ALL) -> Block:
        """Give what the terms see of some actions, (1, k)."""
        del rows
        return self._seen_of(columns)

    def taken(self, rows: Rows, action: Ints) -> Block:
        """Give what the terms see of the action, (1, 1)."""
        del rows
        return self._seen_of(action)

    def details(self, rows: slice, action: Ints) -> Details:
        """Probabilities and EUR by term of the action taken, from what was worked out of all."""
        if self.seen is None or self.columns is not ALL:
            self.values(rows, ALL)
        assert self.seen is not None
        k = int(action[0])
        terms, total = {}, 0.0
        for label, euros in zip(self.one.labels, self.euros_by_term, strict=True):
            own = float(euros[0, k]) + 0.0
            terms[label] = np.array([own])
            total += own
        p = self.seen.p[:, k]
        return Details(
            p,
            self.seen.p_wait[0],
            p * self.state.open_amount,
            np.array([total]),
            terms,
            reasons.notes(self.note, self.state, self.catalogue.house, rows),
        )
