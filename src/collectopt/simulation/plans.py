"""From decisions, as a policy gives them, to the plan of a week in the world."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.simulation.export import account_ids
from collectopt.simulation.kinds import CHANNELS, OFFERS, TONES
from collectopt.simulation.ladder import SPECIAL, WAIT, Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.state import State
from collectopt.simulation.world import DECISION_HOUR


def read_plan(state: State, decisions: pa.Table) -> Plan:
    """Read decisions into a plan for the coming week.

    Besides the contacts there are waiting ("none"), "agency", "court" and "stop"; they take
    effect at the moment of the decision and need neither tone, offer nor time.

    Raises
    ------
    InputError
        An account, a channel, a tone or an offer is unknown to this world, an account is decided
        on twice, or a contact lies outside the week.
    """
    ids = pa.array(account_ids(len(state.people)), pa.string())
    account = _codes(decisions, "account_id", ids)
    channel = _codes(decisions, "channel", pa.array([*CHANNELS, *SPECIAL, "none"]))
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
        channel=np.where(channel < len(CHANNELS) + len(SPECIAL), channel, WAIT),
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
