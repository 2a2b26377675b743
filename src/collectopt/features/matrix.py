"""The result: one row for each row of the snapshot, one column for each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.exceptions import InputError


@dataclass(frozen=True, eq=False)
class FeatureMatrix:
    """Features of the rows of a snapshot.

    Attributes
    ----------
    values : numpy.ndarray of float32, shape (n, d), C order, read-only
        Row i belongs to row i of the snapshot. Categories are codes; nan = none or unseen.
    names : tuple of str, length d
        Names of the columns.
    categories : mapping of str to tuple of str
        For each categorical column the values behind the codes 0, 1, ... Hand both `names` and
        `categories` to the next :func:`compute` to get the same columns with the same codes.
    """

    values: npt.NDArray[np.float32]
    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> npt.NDArray[np.float32]:
        """Give one column, shape (n,).

        Raises
        ------
        InputError
            There is no such column.
        """
        return self.values[:, self._index(name)]

    def select(self, names: Sequence[str]) -> FeatureMatrix:
        """Give some columns in the order asked for.

        Raises
        ------
        InputError
            There is no such column.
        """
        values = np.ascontiguousarray(self.values[:, [self._index(name) for name in names]])
        values.flags.writeable = False
        kept = {name: self.categories[name] for name in names if name in self.categories}
        return FeatureMatrix(values, tuple(names), kept)

    def take(self, part: slice | npt.NDArray[np.int64]) -> FeatureMatrix:
        """Give some rows."""
        return FeatureMatrix(self.values[part], self.names, self.categories)

    def with_column(self, name: str, column: npt.ArrayLike) -> FeatureMatrix:
        """Put one more column of numbers, (n,), behind the others."""
        values = np.column_stack([self.values, np.asarray(column, dtype=np.float32)])
        values.flags.writeable = False
        return FeatureMatrix(values, (*self.names, name), self.categories)

    @property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the categorical columns."""
        return tuple(i for i, name in enumerate(self.names) if name in self.categories)

    def to_pandas(self) -> pd.DataFrame:
        """Give a pandas frame, categories decoded."""
        frame = pd.DataFrame(np.array(self.values), columns=list(self.names))
        for name, values in self.categories.items():
            codes = self.column(name)
            whole = np.where(np.isnan(codes), -1, codes).astype(np.int64)
            frame[name] = pd.Categorical.from_codes(whole, categories=pd.Index(list(values)))
        return frame

    def _index(self, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError.of(
                "features",
                name,
                expected="a column of the matrix",
                found="no such column",
                hint=f"It has {', '.join(self.names)}.",
            ) from None

    def __repr__(self) -> str:
        n, d = self.values.shape
        return f"FeatureMatrix({n} rows x {d} features)"

    def _repr_html_(self) -> str:
        head = self.to_pandas().head(10).to_html(float_format="{:.4g}".format, border=0)
        return f"{head}<p>{len(self):,} rows x {len(self.names)} features</p>"
