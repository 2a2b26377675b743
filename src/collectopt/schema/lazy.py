"""A ledger without checks, for tables that are known to be valid, made when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from collectopt.schema import tables as t
from collectopt.schema.ledger import Ledger


class LazyLedger(Ledger):
    """A ledger that trusts its source. Inside the library only: nothing is checked.

    Parameters
    ----------
    makers : mapping of str to callable
        For each of the six tables a function that gives it with canonical columns (see
        `canonical`), sorted by its keys; called at most once, when the table is first asked for.
    timezone : str
        IANA zone of accounts that name none.
    """

    def __init__(self, makers: Mapping[str, Callable[[], pa.Table]], timezone: str) -> None:
        object.__setattr__(self, "_makers", dict(makers))
        object.__setattr__(self, "timezone", timezone)

    def __getattr__(self, name: str) -> pa.Table:
        makers = self.__dict__.get("_makers", {})
        if name not in makers:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        table = makers[name]()
        object.__setattr__(self, name, table)
        del makers[name]
        return table


def canonical(name: str, table: pa.Table) -> pa.Table:
    """Bring the columns of a valid table into canonical order; what is missing becomes null.

    Parameters
    ----------
    name : str
        One of the six tables.
    table : pyarrow.Table
        Columns of canonical types; of accounts, consent columns come last.
    """
    spec = next(spec for spec in t.TABLES if spec.name == name)
    have = set(table.column_names)
    columns = {
        column.name: table[column.name]
        if column.name in have
        else pa.nulls(len(table), column.type.arrow)
        for column in spec.columns
        if column.name in have or not column.sparse
    }
    more = [n for n in table.column_names if n not in columns and n.endswith("_ok")]
    return pa.table({**columns, **{n: table[n] for n in more}})
