"""Policies at work in the same world, week by week, on common random numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from collectopt.schema import Ledger
from collectopt.simulation import world
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.plans import read_plan
from collectopt.simulation.record import RESPONSES
from collectopt.simulation.state import State
from collectopt.simulation.world import DECISION_HOUR


class Policy(Protocol):
    """Anything that decides from a ledger; the result offers ``to_arrow()``."""

    def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Any:
        """Decide for the accounts of a ledger."""


@dataclass(frozen=True)
class Result:
    """What each policy brought; one row a policy.

    Attributes
    ----------
    table : pandas.DataFrame
        policy; collected (EUR of cash); recovered (share of what was past due at the start or
        fell due on the way, credit notes out, that was paid by the end); cost (EUR); contacts;
        not_sent (decided, but overtaken or not permitted); complaints; opt_outs; left (customers
        lost on the way); net (collected - cost).
    weeks : int
    """

    table: pd.DataFrame
    weeks: int

    def to_pandas(self) -> pd.DataFrame:
        """Give the table."""
        return self.table.copy()

    def __str__(self) -> str:
        return f"{self.weeks} weeks\n{self.table.round(3).to_string(index=False)}"

    def _repr_html_(self) -> str:
        return self.table.round(3).to_html(index=False)


def play(state: State, plan: Plan, policy: int) -> None:
    """Live one week from one decision to the next."""
    world.enter(state, plan, policy)
    for offset in range(7):
        if offset:
            world.begin_day(state)
        world.end_day(state)
    world.begin_day(state)


def simulate(
    start: State,
    policy: Policy,
    weeks: int,
    ledger_of: Callable[[State], Ledger],
    costs: FloatArray,
) -> dict[str, float]:
    """Let one policy decide for some weeks and count.

    Parameters
    ----------
    start : State
        World at a decision; it is forked.
    policy : Policy
    weeks : int
    ledger_of : callable
        What the creditor knows in a state.
    costs : (5,) float64
        EUR by channel; the last is waiting.
    """
    state = start.fork()
    before = _Counts.of(state, costs)
    for _ in range(weeks):
        ledger = ledger_of(state)
        as_of = state.calendar.instant(state.day, DECISION_HOUR)
        rng = np.random.default_rng([state.noise.seed, state.day])
        decisions = policy.decide(ledger, as_of, rng)
        play(state, read_plan(state, decisions.to_arrow()), policy=1)
    after = _Counts.of(state, costs)
    claims = state.claims
    rows = np.arange(claims.size)
    owed = rows[(claims.due[rows] < state.day) & (_open_at(start, claims.size) > 0)]
    base = _open_at(start, claims.size)[owed]
    base = np.where(base == _UNBORN, claims.cents[owed], base)
    total = {name: after[name] - before[name] for name in after}
    credited = total.pop("credited")
    paid = float((base - claims.open[owed]).sum()) - 100.0 * credited
    total["recovered"] = paid / max(float(base.sum()) - 100.0 * credited, 1.0)
    total["net"] = total["collected"] - total["cost"]
    return total


_UNBORN = np.iinfo(np.int64).max


def _open_at(start: State, size: int) -> IntArray:
    """Cents open at the start by claim; `_UNBORN` for those issued later."""
    opened = np.full(size, _UNBORN)
    opened[: start.claims.size] = start.claims.open[: start.claims.size]
    return opened


class _Counts(dict[str, float]):
    """Running totals of a world."""

    @classmethod
    def of(cls, state: State, costs: FloatArray) -> _Counts:
        record = state.record
        channel = record.ints("contacts", "channel")
        dropped = record.ints("cancelled", "contact")
        sent = channel >= 0
        sent[dropped] = False
        kinds = record.ints("responses", "kind")
        credit = record.ints("invoices", "cents")
        return cls(
            collected=float(record.ints("payments", "cents").sum()) / 100.0,
            credited=-float(credit[credit < 0].sum()) / 100.0,
            cost=float(costs[channel[sent]].sum()),
            contacts=float(sent.sum()),
            not_sent=float(len(dropped)),
            complaints=float((kinds == _COMPLAINED).sum()),
            opt_outs=float((kinds == _OPTED_OUT).sum()),
            left=float((state.left <= state.day).sum()),
        )


_COMPLAINED, _OPTED_OUT = RESPONSES.index("complained"), RESPONSES.index("opted_out")
