"""Why an action was chosen, in plain words, from plain numbers: of one account or of millions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from collectopt.policy.engine import Ints
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue

WAITS_FOR_ANOTHER = "No contact: another account of the same customer goes first (CONTACT_CAP)."
WANTS_NOTHING = "Waiting: the policy wants no action now."


@dataclass(frozen=True)
class Refusal:
    """What the rules refused an account: actions by code, and why it cannot be contacted at all.

    `held` says by code of a hold since when, until when and why, where the book does.
    """

    counts: Mapping[str, int]
    alone: str
    held: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def trace(self) -> list[str]:
        """How many actions each rule refused, in order of precedence."""
        return [
            f"{code}: {count} refused" + (f"; {self.held[code]}" if code in self.held else "")
            for code, count in self.counts.items()
        ]

    @property
    def on_hold(self) -> list[str]:
        """A sentence on each hold of which the book says why."""
        return [f"{why[0].upper()}{why[1:]} ({code})." for code, why in self.held.items()]

    def told(self, state: State, row: int = 0) -> Refusal:
        """Add what the book says of the holds of an account."""
        held = {} if state.because is None else state.because[row]
        return replace(self, held=held) if held else self


def refusals(rules: Rules, actions: ActionSet, refused: Ints) -> list[Refusal]:
    """Put refusals (b, rules) into words; most accounts share theirs with many others."""
    contacts = int(actions.is_contact.sum())
    if not rules.codes:
        return [Refusal({}, "")] * len(refused)
    keys = np.ascontiguousarray(refused).view(f"V{refused.dtype.itemsize * len(rules.codes)}")
    made: dict[bytes, Refusal] = {}
    found = []
    for j, key in enumerate(keys.reshape(-1).tolist()):
        if key not in made:
            counts = {rules.codes[i]: int(refused[j, i]) for i in np.flatnonzero(refused[j])}
            alone = [rules.permissions[i] for i in np.flatnonzero(refused[j] >= contacts)]
            why = "; ".join(f"{p.reason} ({p.code})" for p in alone)
            made[key] = Refusal(counts, f"No contact: {why}." if alone else "")
        found.append(made[key])
    return found


def undecided(why: str) -> str:
    """Say that the models know nothing of the account."""
    return f"Could not be decided, so it waits: {why}."


def drawn(propensity: float, otherwise: str | None) -> str:
    """Say that it was tried out; ``otherwise`` was wanted, None = the same."""
    other = f"otherwise: {otherwise}" if otherwise else "the same would have been chosen anyway"
    return (
        f"Drawn at random (this action with probability {propensity:.2%}) to learn what works; "
        f"{other}."
    )


def refused_together(codes: Iterable[str]) -> str:
    """Say that rules leave nothing, none of them alone."""
    return f"No contact: {', '.join(codes)} together refuse every action."


def waits(name: str, value: float, catalogue: Catalogue) -> str:
    """Say why it waits though ``name`` was possible, which is worth ``value`` EUR."""
    if value > 0:
        return (
            f"Waiting: {name} would be worth {value:,.2f} {catalogue.currency}, but what it takes "
            "is scarce and worth more elsewhere."
        )
    return (
        f"Waiting is best: the next best, {name}, would be worth {value:,.2f} {catalogue.currency}."
    )


def gains(
    catalogue: Catalogue, chances: tuple[float, float], amount: float, value: float, cost: float
) -> list[str]:
    """Say what an action brings: ``chances`` with it and without, EUR open, worth and cost."""
    said, (p, p_wait), money = [], chances, catalogue.currency
    if math.isfinite(p):
        said.append(
            f"Everything past due is paid within {catalogue.horizon_days} days with probability "
            f"{p:.1%}, without a contact {p_wait:.1%}; {amount:,.2f} {money} are open."
        )
    if math.isfinite(value):
        said.append(
            f"Worth {value:+,.2f} {money} against waiting, cost {cost:,.2f} {money} included."
        )
    return said


def chosen(name: Any) -> str:
    """Name it: nothing else is known."""
    return f"Chosen: {name}."
