"""What the next-best action sees of one snapshot: every action valued by the objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collectopt.models.harm import Harm
from collectopt.objective import Block, Objective
from collectopt.policy import reasons
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.policy.risks import Risks
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.outlook import Outlook


def _some(theta: Floats, rows: Rows) -> Floats:
    return theta if len(theta) == 1 else theta[rows]


def _of_each(theta: Floats, phi: Floats, rows: Rows, action: Ints) -> Floats:
    """Effect of one action a row, (b, 1)."""
    return np.asarray((_some(theta, rows) * phi[action]).sum(axis=1, keepdims=True), np.float64)


class ValuedCase(Case):
    """Actions valued in EUR by an objective, from an outlook and learnt harm."""

    def __init__(
        self,
        outlook: Outlook,
        state: State,
        objective: Objective,
        catalogue: Catalogue,
        note: str,
        *,
        harm: Harm | None,
    ) -> None:
        self.outlook, self.state, self.objective = outlook, state, objective
        self.catalogue, self.note = catalogue, note
        self.risks = None if harm is None else Risks.of(harm, outlook.actions)

    def block(self, rows: Rows, columns: Rows = ALL) -> Block:
        """Give what the terms of the objective see: some actions for all of the rows, (b, K)."""
        outlook = self.outlook
        p_wait = outlook.p_wait[rows, None]
        effect = _some(outlook.theta, rows) @ outlook.phi[columns].T
        uplift = np.clip(p_wait + effect, 0.0, 1.0) - p_wait
        brought = None
        if outlook.proceeds is not None:
            theta, phi = outlook.proceeds
            brought = np.broadcast_to(_some(theta, rows) @ phi[columns].T, uplift.shape)
        return self._block(rows, uplift, brought, columns, axis=0)

    def taken(self, rows: Rows, action: Ints) -> Block:
        """Give what the terms see of one action a row, (b, 1)."""
        outlook = self.outlook
        p_wait = outlook.p_wait[rows, None]
        effect = _of_each(outlook.theta, outlook.phi, rows, action)
        uplift = np.clip(p_wait + effect, 0.0, 1.0) - p_wait
        brought = None
        if outlook.proceeds is not None:
            brought = _of_each(*outlook.proceeds, rows, action)
        return self._block(rows, uplift, brought, action, axis=1)

    def _block(
        self, rows: Rows, uplift: Floats, brought: Floats | None, pick: Rows, axis: int
    ) -> Block:
        outlook, actions = self.outlook, self.outlook.actions
        p_wait = outlook.p_wait[rows, None]
        return Block(
            p=p_wait + uplift,
            p_wait=p_wait,
            open_amount=outlook.open_amount[rows, None],
            days=outlook.days[rows, None],
            lifetime_value=outlook.lifetime_value[rows, None],
            contacts=self.state.recent[rows, None].astype(np.float64),
            cost=np.expand_dims(actions.cost[pick], axis),
            tone=np.expand_dims(actions.tone[pick], axis).astype(np.float64),
            contact=np.expand_dims(actions.is_contact[pick], axis),
            discount_rate=self.catalogue.discount_rate,
            complaint_cost=self.catalogue.value.complaint_cost,
            unknown_value=self.catalogue.value.lifetime_value,
            brought=brought,
            **({} if self.risks is None else self.risks.rates(self.state.recent[rows], pick, axis)),
        )

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action relative to waiting."""
        return self.objective.values(self.block(rows, columns))

    def details(self, rows: slice, action: Ints) -> Details:
        """Probabilities and EUR by term of the actions taken."""
        block = self.taken(rows, action)
        terms = {name: v[:, 0] for name, v in self.objective.breakdown(block).items()}
        p, p_wait = block.p[:, 0], block.p_wait[:, 0]
        value = np.sum(list(terms.values()), axis=0) if terms else np.zeros(len(action))
        notes = reasons.notes(self.note, self.state, self.catalogue.house, rows)
        return Details(p, p_wait, p * block.open_amount[:, 0], value, terms, notes)


_RUNG = 0.01  # EUR that a step of the ladder is worth at least where the ladder is kept
_MUCH = 1e9  # fit, in EUR, at which it is worth twice as much


class LadderCase(Case):
    """Some accounts are left to the ladder; its steps are worth what the effects say of them."""

    def __init__(self, case: ValuedCase, rungs: Case, ladder: Bools) -> None:
        self.case, self.rungs, self.ladder = case, rungs, ladder

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action; of the ladder's accounts that of the nearest steps alone."""
        values = self.case.values(rows, columns)
        mine = self.ladder[rows]
        fit = self.rungs.values(rows, columns)[mine]
        # by order of fit, whoever else is decided: a gentler substitute is worth a little less than
        # the step itself, a larger debt a little more
        wanted = np.isfinite(fit)
        place = np.log1p(np.where(wanted, fit, 0.0)) / np.log1p(_MUCH)
        values[mine] = np.where(wanted, _RUNG * (1.0 + place), -np.inf)
        return values

    def euros(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action as the effects have it, the ladder's accounts included."""
        return self.case.euros(rows, columns)

    def told(self, rows: slice, best: Floats, action: Ints) -> Floats:
        """EUR of some actions an account as the effects have it; (b, G)."""
        mine = np.flatnonzero(self.ladder[rows])
        if not len(mine):
            return best
        found, case = best.copy(), self.case
        for g in range(best.shape[1]):
            block = case.taken(mine + rows.start, action[mine, g])
            found[mine, g] = case.objective.values(block)[:, 0]
        return found

    def details(self, rows: slice, action: Ints) -> Details:
        """Probabilities and EUR as the effects have it, with the ladder's step."""
        details = self.case.details(rows, action)
        steps = self.rungs.details(rows, action).notes
        notes = [
            " ".join(part for part in (own, f"The guard left it to the ladder. {step}") if part)
            if kept
            else own
            for own, step, kept in zip(details.notes, steps, self.ladder[rows], strict=True)
        ]
        return replace(details, notes=tuple(notes))
