"""What models say about payments: probabilities, shares and days."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    open_amount : float64 array, shape (n,)
        Amount open at as_of that the row is about, in the currency of its claims; nan if the
        forecaster does not say.
    p_never : float64 array, shape (n,)
        P(the event does not happen within the model's reach); nan if the forecaster does not say.
    """

    rows: pa.Table
    horizons: tuple[str, ...]
    p_paid: Floats
    share: Floats
    days: Floats
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    open_amount: Floats = field(default_factory=lambda: np.empty(0))
    p_never: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        n, h, q = len(self.rows), len(self.horizons), len(self.quantiles)
        for name in ("open_amount", "p_never"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(n, np.nan))
        shapes = {"p_paid": (n, h), "share": (n, h), "days": (n, q)}
        for name, shape in (shapes | {"open_amount": (n,), "p_never": (n,)}).items():
            array = getattr(self, name)
            if array.shape != shape:
                raise InputError.of(
                    "forecast", name, expected=f"shape {shape}", found=f"shape {array.shape}"
                )
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def recovered(self) -> Floats:
        """Amount expected within each horizon, (n, h), in the currency of the row's claims."""
        return np.asarray(self.share * self.open_amount[:, None], dtype=np.float64)

    def to_arrow(self) -> pa.Table:
        """One row each: ids and open_amount, then a column for each horizon and quantile.

        These are p_paid_<horizon>, share_<horizon>, recovered_<horizon>, days_p<quantile>; the
        last one is p_never.
        """
        table = self.rows.append_column("open_amount", pa.array(self.open_amount))
        for prefix, values, names in (
            ("p_paid", self.p_paid, self.horizons),
            ("share", self.share, self.horizons),
            ("recovered", self.recovered, self.horizons),
            ("days", self.days, tuple(f"p{round(100 * q):02d}" for q in self.quantiles)),
        ):
            for i, name in enumerate(names):
                table = table.append_column(f"{prefix}_{name}", pa.array(values[:, i]))
        return table.append_column("p_never", pa.array(self.p_never))

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
