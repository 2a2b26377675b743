"""One account as a policy sees it, valued in few calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collectopt.models.harm_log import MOST
from collectopt.objective import Block
from collectopt.policy import reasons
from collectopt.policy.engine import ALL, Details, Floats, Ints, Rows
from collectopt.policy.valued import ValuedCase
from collectopt.rules.state import State

if TYPE_CHECKING:
    from collectopt.policy.one import OneDecision
    from collectopt.policy.one_record import AccountRecord


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
        self.p_wait, self.days = chances
        self.lifetime_value = record.lifetime_value
        self.columns: Rows = ALL
        self.worth: list[Floats] = []
        self.seen: Block | None = None

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action relative to waiting, (1, k); what it is made of is kept."""
        del rows
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
        block = Block(
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
        total = np.zeros(cost.shape)
        self.worth = [weight * term.euros(block) for weight, term in one.parts]
        for euros in self.worth:
            total += euros
        self.seen, self.columns = block, columns
        return total

    def details(self, rows: slice, action: Ints) -> Details:
        """Probabilities and EUR by term of the action taken, from what was worked out of all."""
        if self.seen is None or self.columns is not ALL:
            self.values(rows, ALL)
        assert self.seen is not None
        k = int(action[0])
        terms, total = {}, 0.0
        for label, euros in zip(self.one.labels, self.worth, strict=True):
            own = float(euros[0, k if euros.shape[1] > 1 else 0]) + 0.0
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
