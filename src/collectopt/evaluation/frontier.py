"""What one aim costs of another: decisions at several weights of a term, on the same models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from collectopt._figure import INK, MODEL, MUTED, Plot, panels
from collectopt.exceptions import InputError
from collectopt.objective import ExpectedRecovery, Objective, RelationshipCost, Term
from collectopt.policy import NextBestAction
from collectopt.schema.decisions import Decisions
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf

_TINY = 1e-9  # a weight of nothing that keeps the term to be told
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True, eq=False)
class Pareto:
    """Sums over the decisions of a run by the weight of one term.

    Attributes
    ----------
    term : str
        Of which the weight was changed.
    table : DataFrame
        weight, contacts, and EUR of each term of the objective at weight 1 (costs above 0), as the
        models expect them.
    """

    term: str
    table: pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        """Give the table."""
        return self.table

    def __repr__(self) -> str:
        return f"Pareto of {self.term}, expected by the models, EUR\n{self.table.round(2)}"

    def _repr_html_(self) -> str:
        return self.table.round(2).to_html(index=False)

    def plot(self) -> Plot:
        """Draw expected recovery by what the term costs, one point a weight."""
        figure, (ax,) = panels(1, width=6.4, height=3.6)
        x, y = self.table[self.term].to_numpy(), self.table[_name(ExpectedRecovery())].to_numpy()
        ax.plot(x, y, color=MODEL, linewidth=1.6, marker="o", markersize=4)
        apart = 0.05 * max(float(np.ptp(x)), 1e-9)
        last = np.inf
        for weight, a, b in zip(self.table["weight"], x, y, strict=True):
            if last - a >= apart:  # weights that change little share a label
                ax.annotate(f"x {weight:g}", (a, b), xytext=(5, -9), textcoords="offset points",
                            fontsize=7.5, color=MUTED)  # fmt: skip
                last = a
        ax.set(xlabel=f"{self.term}, EUR", ylabel="ExpectedRecovery, EUR against waiting")
        ax.set_title(f"What less {self.term} costs of recovery, expected by the models",
                     loc="left", fontsize=9, color=INK, fontweight="bold")  # fmt: skip
        return figure


def pareto(
    policy: NextBestAction,
    ledger: Ledger,
    as_of: AsOf,
    *,
    term: Term | None = None,
    weights: Sequence[float] = WEIGHTS,
    rng: int = 0,
) -> Pareto:
    """Decide again and again with another weight of one term.

    Parameters
    ----------
    policy : NextBestAction
        Fitted; its models stay as they are.
    ledger : Ledger
    as_of : str, date or aware datetime
    term : Term, optional
        A cost of the policy's objective; default: ``RelationshipCost()``.
    weights : sequence of float
        From 0 up.
    rng : int
        Seed of the exploration, the same for all.

    Raises
    ------
    NotFittedError
    InputError
        The term is no part of the objective, or is not a cost; a weight is below 0.

    Examples
    --------
    ``pareto(policy, ledger, "2026-11-01").plot()``
    """
    changed = RelationshipCost() if term is None else term
    parts = policy.objective.parts
    if not changed.is_cost or changed not in [known for _, known in parts]:
        raise InputError.of(
            "pareto",
            "term",
            expected="a cost of the objective: "
            + ", ".join(repr(known) for _, known in parts if known.is_cost),
            found=repr(changed),
        )
    if not len(weights) or any(not np.isfinite(w) or w < 0 for w in weights):
        raise InputError.of("pareto", "weights", expected="numbers from 0 up", found=repr(weights))
    rows = []
    for weight in sorted(set(map(float, weights))):
        objective = Objective()
        for own, known in parts:
            objective = objective + (-max(weight, _TINY) if known == changed else own) * known
        twin = policy.with_objective(objective)
        decisions = twin.decide(ledger, as_of, rng=rng)
        rows.append({"weight": weight, **_sums(objective, decisions)})
    return Pareto(_name(changed), pd.DataFrame(rows))


def _name(term: Term) -> str:
    return type(term).__name__


def _sums(objective: Objective, decisions: Decisions) -> dict[str, float]:
    """Contacts, and EUR of each term at weight 1."""
    acts = pc.not_equal(decisions.table["channel"], "none")
    found = {"contacts": float(pc.sum(pc.cast(acts, "int64")).as_py() or 0)}
    for (weight, term), euros in zip(objective.parts, decisions.terms.values(), strict=True):
        found[_name(term)] = float(np.nansum(euros.to_numpy(zero_copy_only=False)) / weight)
    return found
