"""What models say about payments: probabilities, shares and days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collectopt.exceptions import InputError
from collectopt.schema.frames import like

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Payment forecasts for n rows, in the order of the snapshot.

    Attributes
    ----------
    rows : pyarrow.Table
        account_id, as_of (UTC), invoice_id (null at account level); n rows.
    horizons : tuple of str
        h horizons such as "30D" (days after as_of) or "due+30D".
    p_paid : float64 array, shape (n, h)
        P(the event happens within the horizon).
    share : float64 array, shape (n, h)
        Expected share of the amount open at as_of that is paid within the horizon.
    days : float64 array, shape (n, q)
        Quantiles of the days from as_of to the event; inf beyond the model's reach.
    quantiles : tuple of float
        The q levels of `days`.
    """

    rows: pa.Table
    horizons: tuple[str, ...]
    p_paid: Floats
    share: Floats
    days: Floats
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self) -> None:
        n, h, q = len(self.rows), len(self.horizons), len(self.quantiles)
        for name, shape in (("p_paid", (n, h)), ("share", (n, h)), ("days", (n, q))):
            array = getattr(self, name)
            if array.shape != shape:
                raise InputError.of(
                    "forecast", name, expected=f"shape {shape}", found=f"shape {array.shape}"
                )
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.rows)

    def to_arrow(self) -> pa.Table:
        """One row each: ids, p_paid_<horizon>, share_<horizon>, days_p<quantile>."""
        table = self.rows
        for prefix, values, names in (
            ("p_paid", self.p_paid, self.horizons),
            ("share", self.share, self.horizons),
            ("days", self.days, tuple(f"p{round(100 * q):02d}" for q in self.quantiles)),
        ):
            for i, name in enumerate(names):
                table = table.append_column(f"{prefix}_{name}", pa.array(values[:, i]))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """As :meth:`to_arrow`, in pandas."""
        return self.to_arrow().to_pandas()

    def like(self, frame: Any) -> Any:
        """As :meth:`to_arrow`, in the kind of frame that `frame` is (pandas, polars, dicts)."""
        return like(self.to_arrow(), frame)

    def __repr__(self) -> str:
        return f"Forecast({len(self)} rows, horizons={self.horizons})"

    def _repr_html_(self) -> str:
        head = self.to_arrow().slice(0, 10).to_pandas().to_html(index=False, float_format="%.3f")
        return f"<p>Forecast of {len(self):,} rows</p>{head}"
