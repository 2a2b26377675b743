"""Fingerprints of accounts: a hash of what was known of each before a time, by table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema import tables as t
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import INSTANT, end_of_local_day

_SIZE = 16  # bytes of a hash
#: One hash of 16 bytes for each of the six tables; null: no row was known.
FINGERPRINT = pa.struct([(spec.name, pa.binary(_SIZE)) for spec in t.TABLES])
_BLOCK = 20_000  # accounts whose rows stand in memory as text at once


def fingerprints(
    ledger: Ledger, account_ids: Sequence[str] | pa.Array | pa.ChunkedArray, as_of: np.datetime64
) -> pa.StructArray:
    """Hash the rows of accounts that were known strictly before a time.

    Neither the order of rows and columns nor other accounts nor what became known later change it;
    a column that is all null counts as missing. An account's own row has no time and is always
    known. Rows are written as text that can be read in one way only, in the order of their keys,
    and hashed by BLAKE2b (RFC 7693).

    Parameters
    ----------
    ledger : Ledger
    account_ids : sequence of str, (n,)
        Each once. One that is not in the ledger has no rows.
    as_of : numpy.datetime64
        UTC.

    Returns
    -------
    pyarrow.StructArray (n,)
        Of type `FINGERPRINT`.

    Examples
    --------
    >>> import numpy as np
    >>> invoice = {"invoice_id": "I1", "account_id": "A1", "issued_on": "2026-01-02",
    ...            "due_on": "2026-01-16", "amount": 80.0, "currency": "EUR"}
    >>> account = {"account_id": "A1", "customer_type": "consumer", "country": "DE"}
    >>> ledger = Ledger.from_frames(accounts=[account], invoices=[invoice])
    >>> before, after = (fingerprints(ledger, ["A1"], np.datetime64(day))[0]
    ...                  for day in ("2026-01-02", "2026-01-03"))
    >>> before["accounts"] == after["accounts"], before["invoices"], after["invoices"].is_valid
    (True, <pyarrow.FixedSizeBinaryScalar: None>, True)
    """
    if isinstance(account_ids, pa.ChunkedArray):
        account_ids = account_ids.combine_chunks()
    ids = pa.array(account_ids, pa.string())
    numbers = pc.index_in(ids, value_set=ledger.accounts["account_id"].combine_chunks())
    have = numbers.is_valid().to_numpy(zero_copy_only=False)
    place = np.full(len(ledger.accounts), -1, dtype=np.int64)
    place[numbers.drop_null().to_numpy()] = np.flatnonzero(have)
    columns = [_of_table(ledger, spec, place, len(ids), as_of) for spec in t.TABLES]
    return pa.StructArray.from_arrays(columns, fields=list(FINGERPRINT))


def differing(then: pa.StructScalar, now: pa.StructScalar) -> tuple[str, ...]:
    """Name the tables in which two fingerprints differ, in the order of the tables."""
    old, new = then.as_py(), now.as_py()
    return tuple(spec.name for spec in t.TABLES if old[spec.name] != new[spec.name])


def _of_table(
    ledger: Ledger, spec: t.Table, place: npt.NDArray[np.int64], n: int, as_of: np.datetime64
) -> pa.Array:
    """Hash each account's rows of a table; ``place`` says where a ledger's account belongs."""
    table = ledger.table(spec.name)
    account = pc.index_in(
        table["account_id"].combine_chunks(),
        value_set=ledger.accounts["account_id"].combine_chunks(),
    )
    owner = place[account.to_numpy()]
    rows = np.flatnonzero(_known(ledger, spec, table, account, as_of) & (owner >= 0))
    # the ledger sorts rows by their keys, and a stable sort leaves them so within an account
    rows = rows[np.argsort(owner[rows], kind="stable")]
    first = np.searchsorted(owner[rows], np.arange(n + 1))
    if spec is t.ACCOUNTS:  # the zone that counts, wherever it was written down
        at = table.column_names.index("timezone")
        table = table.set_column(at, "timezone", ledger.zones)
    hashes: list[bytes | None] = []
    for start in range(0, n, _BLOCK):
        edges = first[start : start + _BLOCK + 1]
        part = table.take(pa.array(rows[edges[0] : edges[-1]]))
        hashes += _hashes(_texts(part, spec), edges - edges[0])
    return pa.array(hashes, pa.binary(_SIZE))


def _known(
    ledger: Ledger, spec: t.Table, table: pa.Table, account: pa.Array, as_of: np.datetime64
) -> npt.NDArray[np.bool_]:
    """Which rows were known, as the timeline has it."""
    if spec is t.ACCOUNTS:
        return np.ones(len(table), dtype=bool)
    by_day = {"invoices": "issued_on", "holds": "from_on"}
    if spec.name in by_day:
        days = table[by_day[spec.name]].combine_chunks()
        at = end_of_local_day(days, ledger.zones.take(account))
    elif spec is t.CONTACTS:
        at = pc.coalesce(table["decided_at"], table["sent_at"])
    else:
        at = table["paid_at" if spec is t.PAYMENTS else "at"]
    moment = pa.scalar(int(as_of.astype("datetime64[us]").astype(np.int64)), pa.int64())
    return np.asarray(pc.less(at, moment.cast(INSTANT)).to_numpy(zero_copy_only=False), dtype=bool)


def _texts(table: pa.Table, spec: t.Table) -> pa.Array:
    """Write rows as ``name=length:value;`` of what is not null, by name of the column."""
    cells = []
    for name in sorted(set(table.column_names) - (set() if spec is t.ACCOUNTS else {"account_id"})):
        column = table[name].combine_chunks()
        if column.null_count < len(column):
            text = _text(column)
            length = pc.cast(pc.binary_length(text), pa.string())
            cells.append(pc.binary_join_element_wise(f"{name}=", length, ":", text, ";", ""))
    if not cells:
        return pa.array([""] * len(table), pa.string())
    return pc.binary_join_element_wise(*cells, "", null_handling="replace")


def _text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_floating(kind):
        column = column.view(pa.int64())  # to the last bit
    return pc.cast(column, pa.string())


def _hashes(texts: pa.Array, edges: npt.NDArray[np.int64]) -> Iterator[bytes | None]:
    """Hash the texts between two edges; None where there are none."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        yield from [None] * (len(edges) - 1)
        return
    ends = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1)[edges].tolist()
    view = memoryview(data)
    for low, high in pairwise(ends):
        digest = hashlib.blake2b(view[low:high], digest_size=_SIZE) if high > low else None
        yield None if digest is None else digest.digest()
