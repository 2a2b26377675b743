"""Policies at work in the same world, week by week, on common random numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.schema import Ledger
from collectopt.simulation import world
from collectopt.simulation.export import account_ids
from collectopt.simulation.kinds import CHANNELS, OFFERS, TONES
from collectopt.simulation.ladder import WAIT, Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.record import RESPONSES
from collectopt.simulation.state import State
from collectopt.simulation.world import DECISION_HOUR

_INERT = ("none", "stop")


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


def read_plan(state: State, decisions: pa.Table) -> Plan:
    """Read decisions into a plan for the coming week.

    Raises
    ------
    InputError
        An account, a channel, a tone or an offer is unknown to this world, an account is decided
        on twice, or a contact lies outside the week.
    """
    ids = pa.array(account_ids(len(state.people)), pa.string())
    account = _codes(decisions, "account_id", ids)
    channel = _codes(decisions, "channel", pa.array([*CHANNELS, *_INERT]))
    if len(np.unique(account)) != len(account):
        raise _fault("account_id", "each account once", "an account decided on twice")
    contact = channel < len(CHANNELS)
    tone, offer = np.full(len(account), WAIT), np.full(len(account), WAIT)
    chosen = decisions.filter(pa.array(contact))
    tone[contact] = _codes(chosen, "tone", pa.array(TONES))
    offer[contact] = _codes(chosen, "offer", pa.array(OFFERS))
    days, hours = np.zeros(len(account), dtype=np.int64), np.full(len(account), np.nan)
    days[contact], hours[contact] = _moments(state, chosen["send_at"])
    propensity = decisions["propensity"].to_numpy(zero_copy_only=False).astype(np.float64)
    parts = np.ones((len(account), 5))
    parts[:, 0] = propensity
    return Plan(
        account=account,
        channel=np.where(contact, channel, WAIT),
        tone=tone,
        offer=offer,
        day=days,
        hour=hours,
        propensity=propensity,
        parts=parts,
    )


def _codes(table: pa.Table, column: str, names: pa.Array) -> IntArray:
    codes = pc.index_in(table[column].combine_chunks().cast(pa.string()), value_set=names)
    if codes.null_count:
        wrong = table[column].filter(pc.is_null(codes))[0].as_py()
        known = names.to_pylist() if len(names) < 20 else [f"{len(names)} ids"]
        raise _fault(column, f"one of {', '.join(known)}", repr(wrong))
    result: IntArray = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    return result


def _moments(state: State, instants: pa.ChunkedArray) -> tuple[IntArray, FloatArray]:
    """Day offset in the week and local hour of each contact."""
    if instants.null_count:
        raise _fault("send_at", "a moment for every contact", "null")
    zoned = instants.cast(pa.timestamp("us", tz=state.calendar.timezone))
    wall = pc.local_timestamp(zoned).to_numpy().astype("datetime64[us]")
    day = wall.astype("datetime64[D]")
    offset = (day - np.datetime64(state.calendar.date(state.day), "D")).astype(np.int64)
    hour = (wall - day) / np.timedelta64(1, "h")
    wrong = (offset < 0) | (offset > 6) | ((offset == 0) & (hour < DECISION_HOUR))
    if wrong.any():
        raise _fault("send_at", "a moment within 7 days of as_of", str(wall[wrong][0]))
    return offset, hour


def _fault(column: str, expected: str, found: str) -> InputError:
    return InputError.of("decisions", column, expected=expected, found=found)
