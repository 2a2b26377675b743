"""What is known when: the ledger's tables with ``known_at`` on every row.

A fact may be used for a time ``as_of`` if and only if ``known_at < as_of``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema.settle import NO_INVOICE, Items, Money, settle
from collectopt.schema.sql import query
from collectopt.schema.times import (
    INSTANT,
    end_of_local_day,
    local_time,
    next_day,
    start_of_local_day,
)


@dataclass(frozen=True)
class Timeline:
    """Derived tables of a ledger; ``account`` and ``invoice`` are row numbers, money is in cents.

    Attributes
    ----------
    claims : pyarrow.Table
        Invoices above 0: account, invoice, invoice_id, issued_on, due_on, cents, kind, product,
        known_at, issued_at (local midnight that begins the day of issue), due_at (local midnight
        that ends the due day: past due from then on), and the caller's own columns.
    settlements : pyarrow.Table
        account, invoice, cents (below 0: reopened by a returned payment), known_at, paid_at,
        cash (false: settled by a credit note). Open as of t = cents - sum of settlements known
        before t; never below 0, never above cents.
    payments : pyarrow.Table
        account, cents (signed), known_at, local_day, local_hour, method.
    contacts : pyarrow.Table
        account, contact_id, known_at (decided_at where given), sent_at, decided_at, local_day,
        local_hour, local_weekday (Monday = 0; of sent_at), channel, tone, offer, template,
        propensity, policy, cost, decision_id.
    responses : pyarrow.Table
        account, kind, known_at, local_day, contact_id, channel and tone of that contact, cents,
        due_on.
    holds : pyarrow.Table
        account, invoice (null: the whole account), kind, known_at, from_on, to_on (as written;
        may have been changed later), from_at, to_at (instants), ended_at (when a response ended
        it; null otherwise); reason, where the book has one.
    """

    claims: pa.Table
    settlements: pa.Table
    payments: pa.Table
    contacts: pa.Table
    responses: pa.Table
    holds: pa.Table

    def places(self, invoices: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Find invoices, by row number, among the claims: (n,) rows of `claims`, -1 = none."""
        known = self.claims["invoice"].combine_chunks()
        found = pc.index_in(invoices.cast(known.type), value_set=known)
        return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)


def build(tables: Mapping[str, pa.Table], zones: pa.Array) -> Timeline:
    """Derive the timeline.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        The six canonical tables; accounts sorted by account_id, invoices by invoice_id.
    zones : pyarrow.Array of string
        Time zone of each account.
    """
    indexed = {name: _index(table, tables) for name, table in tables.items()}
    zone = {name: zones.take(table["account"]) for name, table in indexed.items()}
    invoices = _invoices(indexed["invoices"], zone["invoices"])
    payments = _payments(indexed["payments"], zone["payments"])
    contacts = _contacts(indexed["contacts"], zone["contacts"])
    responses = _responses(indexed["responses"], zone["responses"], contacts)
    return Timeline(
        claims=invoices.filter(pc.greater(invoices["cents"], 0)),
        settlements=_settlements(invoices, payments),
        payments=payments.drop_columns(["invoice", "payment_id"]),
        contacts=contacts,
        responses=responses,
        holds=_holds(indexed["holds"], zone["holds"], responses),
    )


def _index(table: pa.Table, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Replace ids by row numbers."""
    keys = {"account": tables["accounts"]["account_id"]}
    if "invoice_id" in table.column_names:
        keys["invoice"] = tables["invoices"]["invoice_id"]
    for name, ids in keys.items():
        numbers = pc.index_in(table[f"{name}_id"].combine_chunks(), value_set=ids.combine_chunks())
        table = table.add_column(0, name, numbers)
    return table


_HUNDRED = pa.scalar(Decimal(100), pa.decimal128(3, 0))


def _cents(values: pa.ChunkedArray) -> pa.Array:
    wide = pc.cast(values.combine_chunks(), pa.decimal128(20, 2))
    return pc.cast(pc.multiply(wide, _HUNDRED), pa.int64())


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _invoices(table: pa.Table, zone: pa.Array) -> pa.Table:
    issued, due = _flat(table["issued_on"]), _flat(table["due_on"])
    derived = {
        "cents": _cents(table["amount"]),
        "kind": pc.fill_null(table["kind"], "invoice"),
        "known_at": end_of_local_day(issued, zone),
        "issued_at": start_of_local_day(issued, zone),
        "due_at": start_of_local_day(next_day(due), zone),
    }
    kept = [n for n in table.column_names if n not in {"account_id", "amount", "kind", "currency"}]
    return pa.table({**{n: table[n] for n in kept}, **derived})


def _payments(table: pa.Table, zone: pa.Array) -> pa.Table:
    wall = local_time(_flat(table["paid_at"]), zone)
    return pa.table(
        {
            "account": table["account"],
            "payment_id": table["payment_id"],
            "invoice": table["invoice"],
            "cents": _cents(table["amount"]),
            "known_at": table["paid_at"],
            "local_day": pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()),
            "local_hour": _hours(wall),
            "method": table["method"],
        }
    )


def _hours(wall: pa.Array) -> pa.Array:
    return pc.divide(
        pc.cast(pc.add(pc.multiply(pc.hour(wall), 60), pc.minute(wall)), pa.float64()), 60.0
    )


def _contacts(table: pa.Table, zone: pa.Array) -> pa.Table:
    wall = local_time(_flat(table["sent_at"]), zone)
    derived = {
        "account": table["account"],
        "contact_id": table["contact_id"],
        "known_at": pc.coalesce(table["decided_at"], table["sent_at"]),
        "sent_at": table["sent_at"],
        "decided_at": table["decided_at"],
        "local_day": pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()),
        "local_hour": _hours(wall),
        "local_weekday": pc.cast(pc.day_of_week(wall), pa.int32()),
    }
    rest = [n for n in table.column_names if n not in {*derived, "account_id"}]
    return pa.table({**derived, **{n: table[n] for n in rest}})


def _responses(table: pa.Table, zone: pa.Array, contacts: pa.Table) -> pa.Table:
    wall = local_time(_flat(table["at"]), zone)
    source = pc.index_in(_flat(table["contact_id"]), value_set=_flat(contacts["contact_id"]))
    return pa.table(
        {
            "account": table["account"],
            "kind": table["kind"],
            "known_at": table["at"],
            "local_day": pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()),
            "contact_id": table["contact_id"],
            "channel": _flat(contacts["channel"]).take(source),
            "tone": _flat(contacts["tone"]).take(source),
            "cents": _cents(table["amount"]),
            "due_on": table["due_on"],
        }
    )


def _settlements(invoices: pa.Table, payments: pa.Table) -> pa.Table:
    def ints(column: pa.ChunkedArray, missing: int = 0) -> np.ndarray:
        whole = pc.fill_null(pc.cast(column.combine_chunks(), pa.int64()), missing)
        return whole.to_numpy(zero_copy_only=False)

    keys = [("due_on", "ascending"), ("issued_on", "ascending"), ("invoice_id", "ascending")]
    items = Items(
        account=ints(invoices["account"]),
        cents=ints(invoices["cents"]),
        known_at=ints(invoices["known_at"]),
        due=ints(pc.cast(invoices["due_on"], pa.int32())),
        rank=_ranks(invoices, keys),
    )
    money = Money(
        account=ints(payments["account"]),
        cents=ints(payments["cents"]),
        known_at=ints(payments["known_at"]),
        invoice=ints(payments["invoice"], NO_INVOICE),
        rank=_ranks(payments, [("payment_id", "ascending")]),
    )
    found = settle(items, money)
    return pa.table(
        {
            "account": pa.array(found.account, pa.int32()),
            "invoice": pa.array(found.invoice, pa.int32()),
            "cents": pa.array(found.cents, pa.int64()),
            "known_at": pa.array(found.known_at, pa.int64()).cast(INSTANT),
            "paid_at": pa.array(found.paid_at, pa.int64()).cast(INSTANT),
            "cash": pa.array(found.cash, pa.bool_()),
        }
    )


def _ranks(table: pa.Table, keys: list[tuple[str, str]]) -> np.ndarray:
    order = pc.sort_indices(table, sort_keys=keys).to_numpy()
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


_ENDS = """
select h.*, (select min(r.known_at) from responses r
             where r.account = h.account and r.known_at >= h.from_at and r.kind = case h.kind
                 when 'payment_plan' then 'plan_broken'
                 when 'promise' then 'promise_broken'
                 when 'dispute' then 'dispute_resolved' end) as ended_at
from holds h order by h.account, h.from_on, h.kind, h.invoice, h.to_on
"""


def _holds(table: pa.Table, zone: pa.Array, responses: pa.Table) -> pa.Table:
    holds = pa.table(
        {
            "account": table["account"],
            "invoice": table["invoice"],
            "kind": table["kind"],
            "known_at": end_of_local_day(_flat(table["from_on"]), zone),
            "from_on": table["from_on"],
            "to_on": table["to_on"],
            "from_at": start_of_local_day(_flat(table["from_on"]), zone),
            "to_at": start_of_local_day(_flat(table["to_on"]), zone),
            **({"reason": table["reason"]} if "reason" in table.column_names else {}),
        }
    )
    if len(holds) == 0:
        return holds.append_column("ended_at", pa.nulls(0, INSTANT))
    return query(_ENDS, {"holds": holds, "responses": responses})
