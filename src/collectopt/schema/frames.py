"""Any frame in, the caller's own kind out. The only place that knows about frame libraries."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from collectopt.exceptions import Fault, InputError


def to_arrow(frame: Any, name: str = "table", faults: list[Fault] | None = None) -> pa.Table:
    """Read a frame into Arrow with plain types (no views, dictionaries or large strings).

    Parameters
    ----------
    frame : pandas, polars (eager or lazy), pyarrow, DuckDB relation, ibis, list of dicts
        Or anything else with ``__arrow_c_stream__``, or a mapping of column -> values.
    name : str
        Name of the table for error messages.
    faults : list of Fault or None
        Takes the faults of columns that cannot be read, which come out all null; None: raise.

    Raises
    ------
    InputError
        The object is no frame, or a column mixes types.

    Examples
    --------
    >>> to_arrow([{"x": 1}, {"x": None}]).to_pydict()
    {'x': [1, None]}
    """
    library = type(frame).__module__.split(".")[0]
    if isinstance(frame, pa.Table):
        table = frame
    elif isinstance(frame, pa.RecordBatch):
        table = pa.Table.from_batches([frame])
    elif library == "pandas":
        table = _from_columns(
            {str(c): frame[c] for c in _unique(frame.columns, name)}, name, faults
        )
    elif library == "polars" and hasattr(frame, "collect"):
        table = pa.table(frame.collect())
    elif hasattr(frame, "__arrow_c_stream__"):
        table = pa.table(frame)
    elif hasattr(frame, "to_pyarrow"):
        table = frame.to_pyarrow()
    elif isinstance(frame, Mapping):
        table = _from_columns(frame, name, faults)
    elif isinstance(frame, Sequence) and all(isinstance(row, Mapping) for row in frame):
        keys = dict.fromkeys(str(key) for row in frame for key in row)
        table = _from_columns({key: [row.get(key) for row in frame] for key in keys}, name, faults)
    else:
        raise InputError.of(
            name,
            None,
            expected="pandas, polars, pyarrow, a DuckDB relation or a list of dicts",
            found=f"{type(frame).__module__}.{type(frame).__qualname__}",
        )
    _unique(table.column_names, name)
    return pa.table({c: plain(table[c]) for c in table.column_names})


def like(table: pa.Table, template: Any) -> Any:
    """Give a table back in the kind of frame that the caller works with.

    Examples
    --------
    >>> like(pa.table({"x": [1]}), [{"x": 0}])
    [{'x': 1}]
    """
    library = type(template).__module__.split(".")[0]
    if library == "pandas":
        return table.to_pandas()
    if library == "polars":
        polars = sys.modules["polars"]
        frame = polars.from_arrow(table)
        return frame.lazy() if hasattr(template, "collect") else frame
    if library in {"duckdb", "_duckdb"}:
        return sys.modules["duckdb"].from_arrow(table)
    if library == "ibis":
        return sys.modules["ibis"].memtable(table)
    if isinstance(template, list | tuple):
        return table.to_pylist()
    return table


def plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """Cast views, large strings and dictionaries to the plain type of their values."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind = column.type
    if pa.types.is_dictionary(kind):
        if kind.value_type == pa.string_view():  # no cast kernel takes a dictionary of views
            column = pa.chunked_array(
                [
                    pa.DictionaryArray.from_arrays(c.indices, c.dictionary.cast(pa.string()))
                    for c in column.chunks
                ],
                pa.dictionary(kind.index_type, pa.string()),
            )
        column = column.cast(column.type.value_type)
        kind = column.type
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return column.cast(pa.string())
    return column


def _mixed(name: str, column: str, values: Sequence[Any], error: str) -> Fault:
    """Name the rows whose type is not that of most."""
    missing = [v is None or (isinstance(v, float) and math.isnan(v)) for v in values]
    types = ["" if gone else type(v).__name__ for v, gone in zip(values, missing, strict=True)]
    kinds = Counter(kind for kind in types if kind)
    most = max(sorted(kinds), key=kinds.__getitem__, default="")
    rows = [k for k, kind in enumerate(types) if kind not in {"", most}]
    return Fault(
        name,
        column,
        "values of one type" + (f", as {most} in most rows" if rows else ""),
        ", ".join(sorted(set(kinds) - {most})[:4]) if rows else error,
        tuple(rows[:5]),
        len(rows),
        hint="Convert the column to one type before loading.",
    )


def _from_columns(columns: Mapping[Any, Any], name: str, faults: list[Fault] | None) -> pa.Table:
    arrays, found = {}, []
    for column, values in columns.items():
        try:
            arrays[str(column)] = pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            arrays[str(column)] = pa.nulls(len(values))
            found.append(_mixed(name, str(column), values, str(error).split("\n")[0][:80]))
    if faults is not None:
        faults += found
    elif found:
        raise InputError(found)
    lengths = {len(a) for a in arrays.values()}
    if len(lengths) > 1:
        raise InputError.of(name, None, expected="columns of one length", found=str(lengths))
    return pa.table(arrays)


def _unique(names: Any, table: str) -> list[Any]:
    names = list(names)
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise InputError.of(
            table,
            twice[0],
            expected="each column once",
            found=f"{', '.join(twice)} more than once",
        )
    return names
