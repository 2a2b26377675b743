"""Where public data sets are found, and the checks that every reader makes first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collectopt.exceptions import Fault, InputError

VARIABLE = "COLLECTOPT_DATA"


def locate(path: str | os.PathLike[str] | None, *, folder: str, file: str) -> Path:
    """Find the file of a data set.

    Parameters
    ----------
    path : path-like or None
        The file itself, its folder, or the folder above. None: what ``COLLECTOPT_DATA`` says.
    folder, file : str
        Names of the data set's folder and file.

    Raises
    ------
    InputError
        There is no such file, or nobody said where to look.
    """
    origin = "path" if path is not None else VARIABLE
    start = path if path is not None else os.environ.get(VARIABLE)
    wanted = f"{folder}/{file}"
    if not start:
        raise InputError.of(
            VARIABLE,
            None,
            expected=f"a folder that holds {wanted}",
            found="the environment variable is not set",
            hint=f"Set {VARIABLE}, or give the path: ledger(path).",
        )
    root = Path(start)
    for candidate in (root, root / file, root / folder / file):
        if candidate.is_file():
            return candidate
    raise InputError.of(
        origin,
        None,
        expected=f"a folder that holds {wanted}",
        found=str(root) if root.exists() else f"{root}, which does not exist",
        hint=f"Looked for {root / file} and {root / folder / file}.",
    )


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a parquet file.

    Raises
    ------
    InputError
        The file is no parquet, or lacks columns.
    """
    try:
        present = pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError.of(
            path.name, None, expected="a parquet file", found=str(error).split("\n")[0][:120]
        ) from error
    missing = [name for name in columns if name not in present]
    if missing:
        found = f"only {', '.join(present)}"
        raise InputError(Fault(path.name, name, "this column", found) for name in missing)
    return pd.read_parquet(path, columns=list(columns))


def cents(amounts: pd.Series, table: str) -> npt.NDArray[np.int64]:
    """Turn amounts into whole cents; amounts that are none are refused.

    Raises
    ------
    InputError
        An amount is null, infinite, or has parts of a cent.
    """
    raw = amounts.to_numpy(dtype=np.float64) * 100.0
    bad = ~np.isfinite(raw)
    whole = np.rint(np.where(bad, 0.0, raw))
    bad |= np.abs(np.where(bad, 0.0, raw) - whole) > 1e-4  # noise of a float, not part of a cent
    if bad.any():
        rows = np.flatnonzero(bad)
        raise InputError.of(
            table,
            str(amounts.name),
            expected="an amount in whole cents",
            found=str(amounts.iloc[rows[0]]),
            rows=rows.tolist(),
        )
    return whole.astype(np.int64)


def money(amount: npt.NDArray[np.int64]) -> pa.Array:
    """Turn cents into exact decimals with two places.

    Examples
    --------
    >>> money(np.array([1999, -5])).to_pylist()
    [Decimal('19.99'), Decimal('-0.05')]
    """
    words = np.stack([amount, amount >> 63], axis=1)  # 128 bits, little end first, sign extended
    buffer = pa.py_buffer(np.ascontiguousarray(words, dtype="<i8"))
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(amount), [None, buffer])


def day(values: pd.Series) -> pa.Array:
    """Turn local midnights (without a zone) into dates; NaT becomes null."""
    return pa.array(values, from_pandas=True).cast(pa.timestamp("us")).cast(pa.date32())


def table(columns: Mapping[str, object]) -> pa.Table:
    """Make an Arrow table; a pandas column may hold nulls of any kind."""
    return pa.table(
        {
            name: values
            if isinstance(values, pa.Array | pa.ChunkedArray)
            else pa.array(values, from_pandas=True)
            for name, values in columns.items()
        }
    )
