"""Any frame in, the caller's own kind out."""

from __future__ import annotations

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from collectopt.exceptions import InputError
from collectopt.schema.frames import like, to_arrow

ROWS = [{"id": "007", "x": 1.5, "flag": True}, {"id": "008", "x": None, "flag": None}]
KINDS = {
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas categories": lambda: pd.DataFrame(ROWS).astype({"id": "category"}),
    "pandas objects": lambda: pd.DataFrame(ROWS).astype({"id": object}),
    "pandas index": lambda: pd.DataFrame(ROWS, index=[7, 3]),
    "polars": lambda: pl.DataFrame(ROWS),
    "polars lazy": lambda: pl.LazyFrame(ROWS),
    "polars categories": lambda: pl.DataFrame(ROWS).with_columns(pl.col("id").cast(pl.Categorical)),
    "arrow": lambda: pa.Table.from_pylist(ROWS),
    "arrow batch": lambda: pa.Table.from_pylist(ROWS).to_batches()[0],
    "arrow dictionary": lambda: pa.table(
        {
            **pa.Table.from_pylist(ROWS).to_pydict(),
            "id": pa.array(["007", "008"]).dictionary_encode(),
        }
    ),
    "duckdb": lambda: duckdb.from_arrow(pa.Table.from_pylist(ROWS)),
    "dicts": lambda: ROWS,
    "columns": lambda: {name: [row[name] for row in ROWS] for name in ROWS[0]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_reads_the_same(kind):
    table = to_arrow(KINDS[kind]())
    assert table.to_pylist() == ROWS
    assert table.schema.field("id").type == pa.string()


@pytest.mark.parametrize("kind", ["pandas", "polars", "polars lazy", "arrow", "duckdb", "dicts"])
def test_the_callers_own_kind_comes_back(kind):
    given = KINDS[kind]()
    back = like(to_arrow(given), given)
    assert type(back) is type(given)
    assert to_arrow(back).to_pylist() == ROWS


def test_what_is_no_frame_is_refused():
    with pytest.raises(InputError, match=r"accounts: expected pandas.*found builtins\.int"):
        to_arrow(3, "accounts")


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(InputError, match="each column once"):
        to_arrow(frame)


def test_rows_of_another_type_than_most_are_named():
    rows = [{"a": 1.5}, {"a": None}, {"a": "x"}, {"a": 2.5}, {"a": float("nan")}]
    with pytest.raises(InputError, match=r"t\.a.*as float in most rows; found str in 1 row \(2\)"):
        to_arrow(rows, "t")
