"""DuckDB over Arrow tables: one thread, UTC, nothing kept between queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import duckdb
import pyarrow as pa


def query(sql: str, tables: Mapping[str, pa.Table], *, threads: int = 1) -> pa.Table:
    """Run one SQL statement over Arrow tables and return Arrow.

    Parameters
    ----------
    sql : str
        A SELECT. Time stamps are UTC.
    tables : mapping of str to pyarrow.Table
        Name in the SQL -> table.
    threads : int
        Threads of the engine.

    Examples
    --------
    >>> import pyarrow as pa
    >>> query("select max(x) as s from t", {"t": pa.table({"x": [1, 2]})}).to_pylist()
    [{'s': 2}]
    """
    with session(tables, threads=threads) as cursor:
        return cursor.sql(sql).to_arrow_table()


@contextmanager
def session(
    tables: Mapping[str, pa.Table], *, threads: int = 1
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a session over Arrow tables; its temporary tables are seen by nobody else.

    Parameters
    ----------
    tables, threads
        As in :func:`query`.
    """
    # A cursor is a connection of its own: names registered here are seen by nobody else.
    cursor = _engine(threads).cursor()
    try:
        cursor.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            cursor.register(name, table)
        yield cursor
    finally:
        cursor.close()


@cache
def _engine(threads: int) -> duckdb.DuckDBPyConnection:
    """Start the engine once: that takes longer than most queries."""
    return duckdb.connect(config={"threads": threads, "preserve_insertion_order": "false"})
