"""A snapshot: what is known of some accounts or claims, each as of its own time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.schema.coerce import coerce
from collectopt.schema.frames import to_arrow
from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query
from collectopt.schema.tables import Column, Type
from collectopt.schema.times import INSTANT, AsOf, end_of_local_day, local_time, to_instant

_CLAIMS = """
with visible as (
    select r.row, r.as_of, r.day, r.invoice is not distinct from c.invoice as subject, c.*
    from rows r join claims c on c.account = r.account
         and (c.known_at < r.as_of or c.invoice = r.invoice)
), settled as (
    select r.row, s.invoice, sum(s.cents) as cents
    from rows r join settlements s on s.account = r.account and s.known_at < r.as_of
    group by all
), held as (
    select distinct r.row, h.invoice
    from rows r join holds h on h.account = r.account and h.invoice is not null
         and h.known_at < r.as_of and (h.to_at is null or h.to_at > r.as_of)
         and (h.ended_at is null or h.ended_at >= r.as_of)
)
select v.row, v.account, v.invoice, v.invoice_id, v.issued_on, v.due_on, v.cents,
       cast(v.cents - coalesce(s.cents, 0) as bigint) as open_cents,
       cast(date_diff('day', v.due_on, v.day) as integer) as dpd,
       v.due_at <= v.as_of as past_due, h.invoice is not null as held, v.subject
from visible v left join settled s on s.row = v.row and s.invoice = v.invoice
     left join held h on h.row = v.row and h.invoice = v.invoice
where v.cents > coalesce(s.cents, 0)
order by v.row, v.due_on, v.issued_on, v.invoice
"""
_HOLDS = """
select r.row, h.kind, h.invoice, h.from_on, h.to_on
from rows r join holds h on h.account = r.account
     and h.known_at < r.as_of and (h.to_at is null or h.to_at > r.as_of)
     and (h.ended_at is null or h.ended_at >= r.as_of)
order by r.row, h.kind, h.from_on, h.invoice, h.to_on
"""
_OPEN = """
with settled as (
    select invoice, sum(cents) as cents from settlements where known_at < $as_of group by all
)
select distinct c.account from claims c left join settled s using (invoice)
where c.known_at < $as_of and c.cents > coalesce(s.cents, 0) order by 1
"""


@dataclass(frozen=True, eq=False, init=False)
class Snapshot:
    """Rows to predict or decide for, each with its own time.

    ``Snapshot(ledger, as_of=t)`` has one row per account with an open claim, sorted by
    account_id; :meth:`from_rows` takes any rows.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date, aware datetime or numpy.datetime64 (UTC)
        A bare date means local midnight of the ledger's time zone.

    Attributes
    ----------
    ledger : Ledger
    rows : pyarrow.Table
        row (0..n-1), account (row number in ledger.accounts), account_id, as_of (UTC), day (local
        date of as_of), invoice (row number in ledger.invoices, or null), invoice_id (or null).
    """

    ledger: Ledger
    rows: pa.Table

    def __init__(self, ledger: Ledger, as_of: AsOf) -> None:
        moment = to_instant(as_of, ledger.timezone)
        timeline = ledger.timeline
        literal = f"TIMESTAMPTZ '{moment.astype('datetime64[us]')}+00'"
        accounts = query(
            _OPEN.replace("$as_of", literal),
            {"claims": timeline.claims, "settlements": timeline.settlements},
        )["account"]
        instants = pa.array(np.full(len(accounts), moment)).cast(INSTANT)
        object.__setattr__(self, "ledger", ledger)
        rows = _rows(ledger, accounts.combine_chunks(), instants, None)
        object.__setattr__(self, "rows", rows)

    @classmethod
    def _of(cls, ledger: Ledger, rows: pa.Table) -> Snapshot:
        snapshot = cls.__new__(cls)
        numbers = pa.array(np.arange(len(rows)), pa.int64())
        object.__setattr__(snapshot, "ledger", ledger)
        object.__setattr__(snapshot, "rows", rows.set_column(0, "row", numbers))
        return snapshot

    @classmethod
    def from_rows(cls, ledger: Ledger, rows: Any) -> Snapshot:
        """Take rows as they are, in their order.

        Parameters
        ----------
        ledger : Ledger
        rows : frame
            Columns account_id, as_of (time stamps with a zone, or dates: local midnight of the
            account) and, where a row is about one claim, invoice_id.

        Raises
        ------
        InputError
            Unknown ids, an invoice of another account, or one that is issued later than the local
            day of as_of. One that is issued on that very day counts as known to its own row.
        """
        table = to_arrow(rows, "rows")
        columns, faults = {}, []
        for column in _ROW_COLUMNS:
            if column.name in table.column_names:
                columns[column.name], found = coerce("rows", column, table[column.name])
                faults += found
            elif column.required:
                raise InputError.of(
                    "rows", column.name, expected="this column", found=str(table.column_names)
                )
        if faults:
            raise InputError(faults)
        accounts = _numbers(columns["account_id"], ledger.accounts["account_id"], "account_id")
        instants = _instants(columns["as_of"], ledger.zones.take(accounts))
        invoices = None
        if "invoice_id" in columns:
            ids = ledger.invoices["invoice_id"]
            invoices = _numbers(columns["invoice_id"], ids, "invoice_id")
        made = _rows(ledger, accounts, instants, invoices)
        _check_invoices(ledger, made)
        return cls._of(ledger, made)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Snapshot({len(self)} rows)"

    @cached_property
    def claims(self) -> pa.Table:
        """Open claims of each row's account, as of its time.

        Columns row, account, invoice, invoice_id, issued_on, due_on, cents, open_cents (> 0), dpd
        (local days since the due date; below 0 before it), past_due, held (a hold on this claim),
        subject (the row names it); sorted by row and due date.
        """
        timeline = self.ledger.timeline
        columns = ["account", "invoice", "invoice_id", "issued_on", "due_on", "cents"]
        return query(
            _CLAIMS,
            {
                "rows": self.rows,
                "claims": timeline.claims.select([*columns, "known_at", "due_at"]),
                "settlements": timeline.settlements,
                "holds": timeline.holds,
            },
        )

    @cached_property
    def holds(self) -> pa.Table:
        """Holds in force: row, kind, invoice (null: the whole account), from_on, to_on.

        ``to_on`` is taken as written, which suits decisions of today; features of earlier times
        must not read it.
        """
        return query(_HOLDS, {"rows": self.rows, "holds": self.ledger.timeline.holds})

    @cached_property
    def as_of(self) -> npt.NDArray[np.datetime64]:
        """Time of each row, UTC; shape (n,), datetime64[us]."""
        return _naive(self.rows["as_of"])

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Snapshot:
        """Keep some rows, in the order given."""
        taken = Snapshot._of(self.ledger, self.rows.take(pa.array(rows)))
        if "claims" in self.__dict__:  # known already: no need to ask the ledger again
            taken.__dict__["claims"] = _take_claims(self.claims, np.asarray(rows), len(self))
        return taken

    def to_invoice_level(self) -> Snapshot:
        """One row per open claim; a row that names an invoice stays as it is."""
        named = self.rows["invoice"].is_valid().to_numpy()
        claims = self.claims.filter(
            pc.invert(pc.is_in(self.claims["row"], pa.array(np.flatnonzero(named))))
        )
        rows = np.concatenate([np.flatnonzero(named), claims["row"].to_numpy()])
        parts = {}
        for name in ("invoice", "invoice_id"):
            own = self.rows[name].combine_chunks().take(pa.array(np.flatnonzero(named)))
            parts[name] = pa.concat_arrays([own, claims[name].combine_chunks().cast(own.type)])
        order = np.argsort(rows, kind="stable")
        table = self.rows.take(pa.array(rows[order]))
        for name, values in parts.items():
            index = table.column_names.index(name)
            table = table.set_column(index, name, values.take(pa.array(order)))
        return Snapshot._of(self.ledger, table)

    def to_account_level(self) -> Snapshot:
        """Drop the invoices from the rows: questions about the whole account."""
        table = self.rows
        for name in ("invoice", "invoice_id"):
            index = table.column_names.index(name)
            nothing = pa.nulls(len(table), table.schema.field(name).type)
            table = table.set_column(index, name, nothing)
        return Snapshot._of(self.ledger, table)


_ROW_COLUMNS = (
    Column("account_id", Type.ID, required=True),
    Column("as_of", Type.INSTANT, required=True),
    Column("invoice_id", Type.ID),
)


def _rows(
    ledger: Ledger, accounts: pa.Array, instants: pa.Array, invoices: pa.Array | None
) -> pa.Table:
    n = len(accounts)
    wall = local_time(instants, ledger.zones.take(accounts))
    numbers = pa.nulls(n, pa.int32()) if invoices is None else pc.cast(invoices, pa.int32())
    return pa.table(
        {
            "row": pa.array(np.arange(n), pa.int64()),
            "account": pc.cast(accounts, pa.int32()),
            "account_id": ledger.accounts["account_id"].combine_chunks().take(accounts),
            "as_of": instants,
            "day": pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()),
            "invoice": numbers,
            "invoice_id": ledger.invoices["invoice_id"].combine_chunks().take(numbers),
        }
    )


def _take_claims(claims: pa.Table, rows: npt.NDArray[np.integer[Any]], n: int) -> pa.Table:
    """Give the claims of some of n rows, in the order of these."""
    count = np.bincount(claims["row"].to_numpy(), minlength=n)
    first, own = np.cumsum(count) - count, count[rows]
    place = np.repeat(first[rows] - (np.cumsum(own) - own), own) + np.arange(own.sum())
    table = claims.combine_chunks().take(pa.array(place))
    number = pa.array(np.repeat(np.arange(len(rows)), own), pa.int64())
    return table.set_column(table.column_names.index("row"), "row", number)


def _numbers(ids: pa.Array, known: pa.ChunkedArray, column: str) -> pa.Array:
    numbers = pc.index_in(ids, value_set=known.combine_chunks())
    bad = pc.and_(pc.is_null(numbers), pc.is_valid(ids)).to_numpy(zero_copy_only=False)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise InputError.of(
            "rows",
            column,
            expected=f"an {column} of the ledger",
            found=repr(ids[int(rows[0])].as_py()),
            rows=rows.tolist(),
        )
    return numbers


def _instants(values: pa.Array, zones: pa.Array) -> pa.Array:
    if not pa.types.is_date(values.type):
        return values
    micro = pa.scalar(1, pa.duration("us"))
    previous = pc.cast(
        pc.subtract(pc.cast(values, pa.int32()), pa.scalar(1, pa.int32())), pa.date32()
    )
    return pc.add(end_of_local_day(previous, zones), micro)


def _check_invoices(ledger: Ledger, rows: pa.Table) -> None:
    numbers = rows["invoice"].combine_chunks()
    issued = ledger.invoices["issued_on"].combine_chunks().take(numbers)
    owner = ledger.invoices["account_id"].combine_chunks().take(numbers)
    for bad, expected in (
        (pc.not_equal(owner, rows["account_id"].combine_chunks()), "an invoice of this account"),
        (pc.greater(issued, rows["day"].combine_chunks()), "an invoice issued by then"),
    ):
        where = np.flatnonzero(pc.fill_null(bad, fill_value=False).to_numpy(zero_copy_only=False))
        if len(where):
            first = rows["invoice_id"][int(where[0])].as_py()
            raise InputError.of(
                "rows", "invoice_id", expected=expected, found=repr(first), rows=where.tolist()
            )


def _naive(instants: pa.ChunkedArray) -> npt.NDArray[np.datetime64]:
    return pc.cast(instants, pa.timestamp("us")).combine_chunks().to_numpy(zero_copy_only=False)
