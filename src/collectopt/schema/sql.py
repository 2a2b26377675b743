"""DuckDB over Arrow tables: one short-lived connection a query, one thread, UTC."""

from __future__ import annotations

from collections.abc import Mapping

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
    >>> query("select sum(x) as s from t", {"t": pa.table({"x": [1, 2]})}).to_pylist()
    [{'s': 3}]
    """
    connection = duckdb.connect(
        config={"threads": threads, "preserve_insertion_order": "false"},
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()
    finally:
        connection.close()
