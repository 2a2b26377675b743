"""Frames and arrays as one matrix of numbers: columns by name, categories by stored values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import issparse

from collectopt.exceptions import Fault, InputError
from collectopt.schema.frames import to_arrow

Float = npt.NDArray[np.float64]


def is_frame(X: Any) -> bool:
    """Say whether ``X`` has named columns: pandas, polars, pyarrow, a list of dicts, a mapping."""
    if issparse(X):  # some are mappings, of positions to values
        return False
    if isinstance(X, list | tuple):
        return bool(X) and all(isinstance(row, Mapping) for row in X)
    return isinstance(X, Mapping) or hasattr(X, "columns") or hasattr(X, "column_names")


@dataclass(frozen=True)
class Encoding:
    """Columns of a frame, as they were when it was learnt.

    Attributes
    ----------
    names : tuple of str, length d
    categories : mapping of str to tuple of str
        For each column of categories the values behind the codes 0, 1, ...
    """

    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]

    @classmethod
    def learn(cls, frame: Any, categorical: Sequence[str]) -> Self:
        """Look at the columns of a frame.

        Parameters
        ----------
        frame
            Text, pandas categories and the columns named in ``categorical`` are categories; all
            others have to be numbers or booleans.
        categorical : sequence of str

        Raises
        ------
        InputError
            A column of another type, or a name that does not exist.
        """
        table = to_arrow(frame, "X")
        wanted = {*categorical, *_declared(frame)}
        faults = [
            Fault("X", name, "a column of this name", f"only {', '.join(table.column_names)}")
            for name in categorical
            if name not in table.column_names
        ]
        categories = {}
        for name in table.column_names:
            column = table[name]
            if name in wanted or _is_text(column):
                values = pc.drop_null(pc.unique(column)).to_pylist()
                categories[name] = tuple(sorted({str(value) for value in values}))
            elif not _is_number(column):
                hint = "Turn dates into days, and leave out what is no feature."
                faults.append(Fault("X", name, "numbers or text", str(column.type), hint=hint))
        if faults:
            raise InputError(faults)
        return cls(tuple(table.column_names), categories)

    def apply(self, frame: Any) -> Float:
        """Give the columns in the order learnt, (n, d); nan = missing or an unseen category.

        Further columns of the frame are not looked at.

        Raises
        ------
        InputError
            A column is missing or has become another type.
        """
        table = to_arrow(frame, "X")
        out = np.empty((len(table), len(self.names)))
        faults = []
        for k, name in enumerate(self.names):
            if name not in table.column_names:
                faults.append(Fault("X", name, "this column, as in fit", "no such column"))
            elif name in self.categories:
                out[:, k] = _codes(table[name], self.categories[name])
            elif _is_number(table[name]):
                out[:, k] = table[name].cast(pa.float64()).to_numpy()
            else:
                faults.append(Fault("X", name, "numbers, as in fit", str(table[name].type)))
        if faults:
            raise InputError(faults)
        return out

    @property
    def codes(self) -> tuple[int, ...]:
        """Positions of the columns of categories."""
        return tuple(k for k, name in enumerate(self.names) if name in self.categories)


def _declared(frame: Any) -> list[str]:
    """Names of pandas columns of categories, whatever their values are."""
    if type(frame).__module__.split(".")[0] != "pandas":
        return []
    return [str(name) for name, kind in frame.dtypes.items() if str(kind) == "category"]


def _is_text(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(column.type))


def _is_number(column: pa.ChunkedArray) -> bool:
    kind = column.type
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return pa.types.is_null(kind) or any(test(kind) for test in tests)


def _codes(column: pa.ChunkedArray, values: tuple[str, ...]) -> Float:
    text = pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
    place = pc.index_in(text, value_set=pa.array(values, pa.string()), skip_nulls=True)
    return np.asarray(place.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
