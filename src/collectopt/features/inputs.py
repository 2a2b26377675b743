"""Tables as the SQL reads them: whole numbers for instants, days and codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.times import local_time

_CODED = (
    ("accounts", "customer_type"),
    ("accounts", "country"),
    ("invoices", "kind"),
    ("contacts", "channel"),
    ("contacts", "tone"),
)


@dataclass(frozen=True)
class Inputs:
    """What a run reads.

    Attributes
    ----------
    tables : mapping of str to pyarrow.Table
        Name in the SQL -> table.
    values : mapping of str to tuple of str
        ``table.column`` -> values behind the codes of that column.
    """

    tables: Mapping[str, pa.Table]
    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Inputs:
        """Prepare the tables of a snapshot's ledger."""
        ledger = snapshot.ledger
        timeline = ledger.timeline
        raw = {
            "accounts": ledger.accounts,
            "invoices": timeline.claims,
            "contacts": timeline.contacts.filter(
                pc.invert(pc.is_in(timeline.contacts["channel"], pa.array(NO_CONTACT)))
            ),
        }
        codes: dict[str, pa.Array] = {}
        values: dict[str, tuple[str, ...]] = {}
        for table, column in _CODED:
            codes[f"{table}.{column}"], values[f"{table}.{column}"] = encode(raw[table][column])
        tables = {
            "snap": _snap(snapshot),
            "open_claim": _open_claims(snapshot.claims),
            "account": _accounts(ledger, codes),
            "claim": _claims(timeline.claims, codes),
            "settlement": settlement_table(ledger),
            "payment": _payments(timeline.payments),
            "contact": _contacts(raw["contacts"], codes),
            "response": _responses(timeline.responses, raw["contacts"]),
            "hold": _holds(timeline.holds),
        }
        return cls(tables, values)


def encode(column: pa.ChunkedArray) -> tuple[pa.Array, tuple[str, ...]]:
    """Replace texts by codes into the sorted list of texts; null stays null."""
    found = pc.unique(column).drop_null()
    ordered = found.take(pc.sort_indices(found))
    return pc.index_in(column.combine_chunks(), value_set=ordered), tuple(ordered.to_pylist())


def _days(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.int32())


def _micros(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(column, pa.int64())


def _snap(snapshot: Snapshot) -> pa.Table:
    rows = snapshot.rows
    return pa.table(
        {
            "rid": rows["row"],
            "acc": rows["account"],
            "inv": pc.fill_null(rows["invoice"], -1),
            "t": _micros(rows["as_of"]),
            "d": _days(rows["day"]),
            "dom": pc.cast(pc.day(rows["day"]), pa.int32()),
            "weekday": pc.cast(pc.add(pc.day_of_week(rows["day"]), 1), pa.int32()),
            "month": pc.cast(pc.month(rows["day"]), pa.int32()),
        }
    )


def _open_claims(claims: pa.Table) -> pa.Table:
    issued, due = _days(claims["issued_on"]), _days(claims["due_on"])
    return pa.table(
        {
            "rid": claims["row"],
            "inv": claims["invoice"],
            "issued": issued,
            "due": due,
            "cents": claims["cents"],
            "open_cents": claims["open_cents"],
            "dpd": claims["dpd"],
            "past_due": claims["past_due"],
            "age": pc.subtract(pc.add(due, claims["dpd"]), issued),
        }
    )


def _accounts(ledger: Ledger, codes: Mapping[str, pa.Array]) -> pa.Table:
    accounts = ledger.accounts
    number = pa.array(np.arange(len(accounts)), pa.int32())
    kind, country = codes["accounts.customer_type"], codes["accounts.country"]
    creditor = pc.cast(pc.fill_null(encode(accounts["creditor_id"])[0], -1), pa.int64())
    segment = creditor
    for code in (kind, country):
        segment = pc.add(pc.multiply(segment, 1_000), pc.cast(pc.fill_null(code, -1), pa.int64()))
    customer, customers = encode(accounts["customer_id"])
    alone = pc.add(number, pa.scalar(len(customers), pa.int32()))
    return pa.table(
        {
            "acc": number,
            "customer_type": kind,
            "country": country,
            "credit_score": accounts["credit_score"],
            "lifetime_value": accounts["lifetime_value"],
            "since": _days(accounts["customer_since"]),
            "creditor": creditor,
            "seg": segment,
            "cust": pc.coalesce(customer, alone),
        }
    )


def _claims(claims: pa.Table, codes: Mapping[str, pa.Array]) -> pa.Table:
    return pa.table(
        {
            "acc": claims["account"],
            "inv": claims["invoice"],
            "issued": _days(claims["issued_on"]),
            "due": _days(claims["due_on"]),
            "due_at": _micros(claims["due_at"]),
            "known": _micros(claims["known_at"]),
            "cents": claims["cents"],
            "kind": codes["invoices.kind"],
        }
    )


def settlement_table(ledger: Ledger) -> pa.Table:
    """Give the settlements with numbers of accounts and invoices, and local days."""
    found = ledger.timeline.settlements
    zones = ledger.zones.take(found["account"].combine_chunks())
    wall = local_time(found["known_at"].combine_chunks(), zones)
    return pa.table(
        {
            "acc": found["account"],
            "inv": found["invoice"],
            "cents": found["cents"],
            "cash": found["cash"],
            "known": _micros(found["known_at"]),
            "d": pc.cast(pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()), pa.int32()),
        }
    )


def _payments(payments: pa.Table) -> pa.Table:
    angle = (pc.day(payments["local_day"]).to_numpy() - 1) * (2 * np.pi / 31)
    return pa.table(
        {
            "acc": payments["account"],
            "cents": payments["cents"],
            "known": _micros(payments["known_at"]),
            "d": _days(payments["local_day"]),
            "sine": _billionths(np.sin(angle)),
            "cosine": _billionths(np.cos(angle)),
        }
    )


def _billionths(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(np.rint(values * 1e9).astype(np.int64))


def _contacts(contacts: pa.Table, codes: Mapping[str, pa.Array]) -> pa.Table:
    """Contacts in the order of their ids; `seq` ranks them by time, then by id: no ties."""
    known = _micros(contacts["sent_at"])  # a contact counts once it was sent, not once decided
    order = np.argsort(known.to_numpy(), kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return pa.table(
        {
            "acc": contacts["account"],
            "contact": pa.array(np.arange(len(contacts)), pa.int32()),
            "seq": rank,
            "known": known,
            "d": _days(contacts["local_day"]),
            "channel": codes["contacts.channel"],
            "tone": codes["contacts.tone"],
        }
    )


def _responses(responses: pa.Table, contacts: pa.Table) -> pa.Table:
    ids = contacts["contact_id"].combine_chunks()
    return pa.table(
        {
            "acc": responses["account"],
            "kind": responses["kind"],
            "known": _micros(responses["known_at"]),
            "d": _days(responses["local_day"]),
            "contact": pc.index_in(responses["contact_id"].combine_chunks(), value_set=ids),
            "cents": responses["cents"],
            "due_on": _days(responses["due_on"]),
        }
    )


def _holds(holds: pa.Table) -> pa.Table:
    return pa.table(
        {
            "acc": holds["account"],
            "inv": holds["invoice"],
            "kind": holds["kind"],
            "known": _micros(holds["known_at"]),
            "d": _days(holds["from_on"]),
            "ended": _micros(holds["ended_at"]),
        }
    )
