"""Columns of a model: read by name from any frame, by place from a plain array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import Fault, InputError
from collectopt.models.boosting import check_matrix
from collectopt.schema.frames import to_arrow

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Columns:
    """Names of the columns that a model was fitted on, and the codes of those that hold text.

    Attributes
    ----------
    names : tuple of str
        In the order of the model's matrix.
    named : bool
        False where the caller gave no names: then frames are read by place.
    categories : mapping of str to tuple of str
        For each text column the values behind the codes 0, 1, ...
    """

    names: tuple[str, ...]
    named: bool
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def learn(cls, X: Any, names: Sequence[str] | None = None) -> tuple[Columns, Matrix]:
        """Read the matrix of a fit and remember its columns.

        Parameters
        ----------
        X : frame or (n, d) array
            Numbers, booleans; in frames also text (and dictionaries of text), which is coded.
        names : sequence of str, optional
            Names of the columns of an array.

        Returns
        -------
        Columns
        (n, d) float32
            Missing values and nan are nan.

        Raises
        ------
        InputError
            A column of another type, inf, or names that do not fit.
        """
        if not is_frame(X):
            matrix = check_matrix(X)
            found = tuple(f"x{i}" for i in range(matrix.shape[1]))
            columns = cls(found if names is None else tuple(names), named=names is not None)
            columns._check_names(matrix.shape[1], columns.names)
            return columns, matrix
        table = to_arrow(X, "X")
        columns = cls(tuple(table.column_names), named=True, categories=_categories(table))
        columns._check_names(len(columns.names), columns.names if names is None else tuple(names))
        return columns, columns._matrix(table)

    def read(self, X: Any) -> Matrix:
        """Read the same columns again: by name from a frame, by place from an array.

        Returns
        -------
        (n, d) float32
            Text that was not there in ``learn`` is nan.

        Raises
        ------
        InputError
            A column is missing, has another type, or holds inf.
        """
        if not is_frame(X):
            return check_matrix(X, len(self.names))
        table = to_arrow(X, "X")
        if not self.named:
            check_matrix(np.empty((0, table.num_columns)), len(self.names))
            table = table.rename_columns(list(self.names))
        gone = [name for name in self.names if name not in table.column_names]
        if gone:
            raise InputError(
                Fault("X", name, "a column, as in fit", "none of this name") for name in gone
            )
        return self._matrix(table)

    def places(self, wanted: Sequence[int | str], purpose: str) -> list[int]:
        """Find the numbers of columns that are given by number or name."""
        place = {name: i for i, name in enumerate(self.names)}
        known = set(range(len(self.names)))
        unknown = [c for c in wanted if (c not in place if isinstance(c, str) else c not in known)]
        if unknown:
            raise InputError.of(
                "X",
                None,
                expected=f"columns named in {purpose} among {list(self.names)}",
                found=f"unknown {unknown}",
            )
        return [place[c] if isinstance(c, str) else int(c) for c in wanted]

    def _check_names(self, width: int, names: tuple[str, ...]) -> None:
        if len(names) != width or len(set(names)) != width or self.names != names:
            raise InputError.of(
                "names",
                None,
                expected=f"{width} different names, those of the frame if X is one",
                found=f"{len(names)} names",
            )

    def _matrix(self, table: pa.Table) -> Matrix:
        """Lay the columns side by side, or list all that cannot be."""
        out = np.empty((table.num_rows, len(self.names)), dtype=np.float32)
        faults: list[Fault] = []
        for i, name in enumerate(self.names):
            column = table[name]
            if name in self.categories:
                values = _codes(column, self.categories[name])
            else:
                values = _numbers(column)
            if values is None:
                faults.append(_wrong_type(name, column.type, coded=name in self.categories))
                continue
            with np.errstate(over="ignore"):  # too large for float32: refused as inf below
                out[:, i] = values
            bad = np.flatnonzero(np.isinf(out[:, i]))
            if len(bad):
                first = tuple(int(row) for row in bad[:5])
                faults.append(Fault("X", name, "finite numbers or nan", "inf", first, len(bad)))
        if faults:
            raise InputError(faults)
        return out


def is_frame(X: Any) -> bool:
    """Whether ``X`` has named columns."""
    # The type is asked, as a lazy frame would have to compute its answer. Some sparse matrices are
    # mappings too.
    mapping = isinstance(X, Mapping) and not hasattr(X, "toarray")
    return mapping or hasattr(type(X), "columns")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind)


def _categories(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Sorted values of each text column: the codes do not depend on the order of the rows."""
    found = {}
    for name in table.column_names:
        if _is_text(table[name].type):
            values = pc.unique(table[name]).drop_null().to_pylist()
            found[name] = tuple(sorted(values))
    return found


def _codes(column: pa.ChunkedArray, values: tuple[str, ...]) -> npt.NDArray[np.float64] | None:
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not _is_text(column.type):
        return None
    places = pc.index_in(column, value_set=pa.array(values, pa.string()))
    return np.asarray(places.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    ):
        return None
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _wrong_type(name: str, kind: pa.DataType, *, coded: bool) -> Fault:
    expected = "text, as in fit" if coded else "numbers, booleans"
    hint = "Text that was a number in fit must stay one."
    if pa.types.is_temporal(kind):
        hint = "Turn times into numbers, as days since a fixed day."
    return Fault("X", name, expected, str(kind), hint=hint)
