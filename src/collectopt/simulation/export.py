"""From the record of a world to the six tables of a ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collectopt.simulation.kinds import CHANNELS, OFFERS, TONES
from collectopt.simulation.ladder import SPECIAL
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.population import METHODS, REGIONS
from collectopt.simulation.record import (
    FEES,
    HOLDS,
    MILESTONES,
    NOTHING,
    RESPONSES,
    UNTIL_FURTHER_NOTICE,
)
from collectopt.simulation.state import State
from collectopt.simulation.world import DECISION_HOUR

_INSTANT = pa.timestamp("us", tz="UTC")
PRODUCTS = ("fashion", "home", "electronics", "garden", "sports")


def account_ids(count: int) -> npt.NDArray[np.str_]:
    """Ids of accounts by position, shape (count,)."""
    return _ids("A", np.arange(count, dtype=np.int64), 6)


def tables(state: State, costs: FloatArray, policies: tuple[str, ...]) -> dict[str, pa.Table]:
    """Give the six tables of all that was written down.

    Parameters
    ----------
    state : State
        The world.
    costs : (5,) float64
        EUR of a contact by channel; the last is that of waiting, 0.
    policies : tuple of str
        Names of the policies by code.
    """
    return {name: table(name, state, costs, policies) for name in (*_MAKERS, "contacts")}


def table(name: str, state: State, costs: FloatArray, policies: tuple[str, ...]) -> pa.Table:
    """Give one of the six tables by name; the record may hold a part of its rows."""
    return _contacts(state, costs, policies) if name == "contacts" else _MAKERS[name](state)


def propensities(state: State) -> pa.Table:
    """Factors of the propensity of every logged decision."""
    record = state.record
    names = ("p_contact", "p_channel", "p_tone", "p_offer", "p_slot")
    columns = {name: pa.array(record.floats("contacts", name)) for name in names}
    ids = _ids("K", np.arange(record.contacts), 7)
    return pa.table({"contact_id": pa.array(ids, pa.string()), **columns})


def fees(state: State) -> pa.Table:
    """Give what agency, court and bailiff took; no part of the ledger.

    Columns: account_id, on, amount (EUR, below 0 where the customer paid it back), kind
    (agency_fee, court_fee, process), contact_id (the decision that caused it at once).
    """
    record = state.record
    account, contact = record.ints("fees", "account"), record.ints("fees", "contact")
    ids = pa.array(_ids("K", np.maximum(contact, 0), 7), pa.string())
    none = pa.scalar(None, pa.string())
    return pa.table(
        {
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "on": _dates(state, record.ints("fees", "day")),
            "amount": _money(record.ints("fees", "cents")),
            "kind": _named(FEES, record.ints("fees", "kind")),
            "contact_id": pa.compute.if_else(pa.array(contact == NOTHING), none, ids),
        }
    )


def milestones(state: State) -> pa.Table:
    """Give how far claims that were handed over have come; no part of the ledger.

    Columns: account_id, on, kind (recalled, served, not_served, objected, title, bailiff,
    at_rest), invoice_id.
    """
    record = state.record
    account = record.ints("milestones", "account")
    number = record.ints("milestones", "invoice")
    return pa.table(
        {
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "on": _dates(state, record.ints("milestones", "day")),
            "kind": _named(MILESTONES, record.ints("milestones", "kind")),
            "invoice_id": pa.array(_invoice_ids(account, number), pa.string()),
        }
    )


def cancelled(state: State) -> npt.NDArray[np.str_]:
    """Ids of contacts that were not sent because there was nothing left to remind of."""
    return _ids("K", np.sort(state.record.ints("cancelled", "contact")), 7)


def _ids(prefix: str, numbers: IntArray, width: int) -> npt.NDArray[np.str_]:
    if len(numbers) == 0:
        return np.zeros(0, dtype=np.str_)
    digits = np.strings.zfill(numbers.astype(np.str_), width)
    return np.strings.add(prefix, digits)


def _invoice_ids(account: IntArray, number: IntArray) -> npt.NDArray[np.str_]:
    return _ids("R", account * 1000 + number + 1, 9)


def _named(names: tuple[str, ...], codes: IntArray) -> pa.Array:
    """Names by code, null for `NOTHING`."""
    table = np.array([*names, ""], dtype=object)
    return pa.array(table[codes], pa.string(), mask=codes == NOTHING)


def _money(cents: IntArray, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Exact amounts from cents."""
    pair = np.column_stack([cents, cents >> 63]).astype(np.int64)
    exact = pa.Array.from_buffers(
        pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(pair.tobytes())]
    )
    if missing is None:
        return exact
    return pa.compute.if_else(pa.array(missing), pa.scalar(None, exact.type), exact)


def _dates(state: State, days: IntArray) -> pa.Array:
    missing = days == UNTIL_FURTHER_NOTICE
    return pa.array(state.calendar.dates(np.where(missing, 0, days)), pa.date32(), mask=missing)


def _instants(state: State, days: IntArray, hours: FloatArray) -> pa.Array:
    return pa.array(state.calendar.instants(days, hours)).cast(_INSTANT)


def _accounts(state: State) -> pa.Table:
    people = state.people
    ids = pa.array(account_ids(len(people)), pa.string())
    zone = state.calendar.timezone
    columns: Mapping[str, pa.Array] = {
        "account_id": ids,
        "customer_type": pa.array(np.where(people.business, "business", "consumer"), pa.string()),
        "country": _repeat("DE", len(people)),
        "region": _named(REGIONS, people.region),
        "language": _repeat("de", len(people)),
        "timezone": _repeat(zone, len(people)),
        "customer_id": pa.array(_ids("C", np.arange(len(people)), 6), pa.string()),
        "creditor_id": _repeat("S01", len(people)),
        "customer_since": _dates(state, people.since),
        "credit_score": pa.array(people.score, mask=np.isnan(people.score)),
        "lifetime_value": pa.array(people.lifetime_value),
        **{f"{c}_ok": pa.array(people.consent[:, i]) for i, c in enumerate(CHANNELS)},
    }
    return pa.table(columns)


def _repeat(value: str, count: int) -> pa.Array:
    return pa.array([value] * count, pa.string())


def _invoices(state: State) -> pa.Table:
    record = state.record
    account = record.ints("invoices", "account")
    number = record.ints("invoices", "number")
    credit = record.ints("invoices", "credit")
    product = (account * 7 + number * 3) % len(PRODUCTS)
    return pa.table(
        {
            "invoice_id": pa.array(_invoice_ids(account, number), pa.string()),
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "issued_on": _dates(state, record.ints("invoices", "day")),
            "due_on": _dates(state, record.ints("invoices", "due")),
            "amount": _money(record.ints("invoices", "cents")),
            "currency": _repeat("EUR", len(account)),
            "kind": _named(("invoice", "credit_note"), credit),
            "product": _named(PRODUCTS, np.where(credit == 1, NOTHING, product)),
        }
    )


def _payments(state: State) -> pa.Table:
    record = state.record
    account = record.ints("payments", "account")
    number = record.ints("payments", "invoice")
    ids = pa.array(_invoice_ids(account, np.maximum(number, 0)), pa.string())
    at = _instants(state, record.ints("payments", "day"), record.floats("payments", "hour"))
    return pa.table(
        {
            "payment_id": pa.array(
                _ids("P", record.first["payments"] + np.arange(len(account)), 8), pa.string()
            ),
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "paid_at": at,
            "amount": _money(record.ints("payments", "cents")),
            "invoice_id": pa.compute.if_else(
                pa.array(number == NOTHING), pa.scalar(None, pa.string()), ids
            ),
            "method": _named(METHODS, record.ints("payments", "method")),
        }
    )


def _contacts(state: State, costs: FloatArray, policies: tuple[str, ...]) -> pa.Table:
    record = state.record
    account = record.ints("contacts", "account")
    day = record.ints("contacts", "day")
    channel = record.ints("contacts", "channel")
    tone = record.ints("contacts", "tone")
    contact, first = channel < len(CHANNELS), record.first["contacts"]
    cost = np.where(contact, costs[np.where(contact, channel, NOTHING)], 0.0)
    cost[record.ints("cancelled", "contact") - first] = 0.0
    caused = record.ints("fees", "contact")
    euros = record.floats("fees", "cents")[caused != NOTHING] / 100.0
    np.add.at(cost, caused[caused != NOTHING] - first, euros)
    numbers = first + np.arange(len(account))
    template = np.array([f"{c}_{t}" for c in CHANNELS for t in TONES], dtype=object)
    # Nobody noted how the staff chose where they knew more than the ledger shows.
    unknown = (record.ints("contacts", "policy") == 0) & (state.kind.hunch is not None)
    bare = ~contact | (channel == NOTHING)
    names = (*CHANNELS, *SPECIAL, "none")
    hours = record.floats("contacts", "hour")
    return pa.table(
        {
            "contact_id": pa.array(_ids("K", numbers, 7), pa.string()),
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "sent_at": _instants(state, record.ints("contacts", "send_day"), hours),
            "decided_at": _instants(state, day, np.full(len(day), DECISION_HOUR)),
            "channel": _named(names, np.where(channel == NOTHING, len(names) - 1, channel)),
            "tone": _named(TONES, tone),
            "offer": _named(OFFERS, record.ints("contacts", "offer")),
            "template": pa.array(
                template[np.where(bare, 0, channel * 3 + tone)], pa.string(), mask=bare
            ),
            "propensity": pa.array(record.floats("contacts", "propensity"), mask=unknown),
            "policy": _named(policies, record.ints("contacts", "policy")),
            "cost": pa.array(cost),
            "decision_id": pa.array(_ids("D", numbers, 7), pa.string()),
        }
    )


def _responses(state: State) -> pa.Table:
    record = state.record
    account = record.ints("responses", "account")
    contact = record.ints("responses", "contact")
    cents = record.ints("responses", "cents")
    ids = pa.array(_ids("K", np.maximum(contact, 0), 7), pa.string())
    at = _instants(state, record.ints("responses", "day"), record.floats("responses", "hour"))
    return pa.table(
        {
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "at": at,
            "kind": _named(RESPONSES, record.ints("responses", "kind")),
            "contact_id": pa.compute.if_else(
                pa.array(contact == NOTHING), pa.scalar(None, pa.string()), ids
            ),
            "amount": _money(np.maximum(cents, 0), cents == NOTHING),
            "due_on": _dates(state, record.ints("responses", "due")),
        }
    )


def _holds(state: State) -> pa.Table:
    record = state.record
    account = record.ints("holds", "account")
    number = record.ints("holds", "invoice")
    ids = pa.array(_invoice_ids(account, np.maximum(number, 0)), pa.string())
    return pa.table(
        {
            "account_id": pa.array(_ids("A", account, 6), pa.string()),
            "kind": _named(HOLDS, record.ints("holds", "kind")),
            "from_on": _dates(state, record.ints("holds", "day")),
            "to_on": _dates(state, record.ints("holds", "to")),
            "invoice_id": pa.compute.if_else(
                pa.array(number == NOTHING), pa.scalar(None, pa.string()), ids
            ),
        }
    )


_MAKERS: Mapping[str, Callable[[State], pa.Table]] = {
    "accounts": _accounts,
    "invoices": _invoices,
    "payments": _payments,
    "responses": _responses,
    "holds": _holds,
}


def as_of(state: State) -> dt.datetime:
    """Moment of the next decision."""
    return state.calendar.instant(state.day, DECISION_HOUR)
