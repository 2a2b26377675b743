"""What a backtest found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
import pyarrow as pa

from collectopt.evaluation import metrics, plots, plots_payment, scoring
from collectopt.evaluation.drift import drift_table
from collectopt.evaluation.splits import RollingSplit
from collectopt.schema.horizons import Horizon


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult:
    """Predictions made at past times, judged by what came; prints as one table.

    Attributes
    ----------
    model : str
        Name of the model's column in `rows`.
    rivals : tuple of str
        Names of the rivals' columns.
    event, level : str
        What was predicted: "full" or "any" payment, of "account" or "invoice".
    horizons : tuple of str
    split : RollingSplit
    rows : pyarrow.Table
        One row a prediction whose horizon is over: cut, as_of, account_id, invoice_id, horizon,
        paid, weight (1 unless claims were withdrawn), the probability of every forecaster, open
        (amount), share (of it that was settled) and share_expected by the model; the shares are
        NaN for horizons that count from the due date.
    excluded : pyarrow.Table
        Columns cut, horizon, rows: predictions left out because their horizon was not over when
        the ledger ended.
    intervals : pyarrow.Table
        Columns cut, n, coverage: share of times to payment inside the model's 80 % intervals,
        among the rows whose interval ended before the ledger did.
    """

    model: str
    rivals: tuple[str, ...]
    event: str
    level: str
    horizons: tuple[str, ...]
    split: RollingSplit
    rows: pa.Table
    excluded: pa.Table
    intervals: pa.Table

    @property
    def forecasters(self) -> tuple[str, ...]:
        """The model and its rivals."""
        return (self.model, *self.rivals)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return self.rows.to_pandas()

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores by horizon, cut ("all" = pooled) and forecaster; see scoring.score_table."""
        return scoring.score_table(self._frame, self.forecasters)

    @cached_property
    def gains(self) -> pd.DataFrame:
        """Log-loss saved against each rival by horizon, with 95 % intervals by account."""
        return scoring.gain_table(self._frame, self.model, self.rivals)

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """Calibration tables by horizon and forecaster."""
        return scoring.reliability_table(self._frame, self.forecasters)

    @cached_property
    def amounts(self) -> pd.DataFrame:
        """How much comes in: expected and seen, by horizon; see scoring.amount_table."""
        return scoring.amount_table(self._frame)

    @cached_property
    def drift(self) -> pd.DataFrame:
        """Predicted against observed by horizon and quarter (UTC); see drift.drift_table."""
        rows = self._frame
        return drift_table(
            pd.DatetimeIndex(rows["as_of"]).tz_convert("UTC").tz_localize(None).to_numpy(),
            rows["horizon"].to_numpy(),
            rows["paid"].to_numpy(),
            rows[self.model].to_numpy(),
            rows["account_id"].to_numpy(),
            weight=rows["weight"].to_numpy(),
        )

    def to_pandas(self) -> pd.DataFrame:
        """Give the scores over all cuts: one row a horizon and forecaster."""
        whole = self.scores[self.scores["cut"] == scoring.ALL]
        return whole.drop(columns="cut").reset_index(drop=True)

    def metrics(self) -> dict[str, float]:
        """Give the model's scores as a flat mapping, such as "log_loss_30D", for trackers."""
        found = {}
        for _, row in self.to_pandas().iterrows():
            prefix = "" if row["forecaster"] == self.model else f"{row['forecaster']}_"
            for score in ("auc", "brier", "log_loss", "ece"):
                if np.isfinite(row[score]):
                    found[f"{prefix}{score}_{row['horizon']}"] = float(row[score])
        return found

    def plot_reliability(self) -> plots.Plot:
        """Observed share against predicted probability of the model, one panel a horizon."""
        mine = self.reliability[self.reliability["forecaster"] == self.model]
        tables = {_paid(h): table for h, table in mine.groupby("horizon", sort=False)}
        return plots.reliability(tables)

    def plot_roc(self) -> plots.Plot:
        """ROC curves of all forecasters, one panel a horizon."""
        curves = {}
        for horizon, part in self._frame.groupby("horizon", sort=False):
            y, w = part["paid"].to_numpy(np.float64), part["weight"].to_numpy(np.float64)
            lines = {}
            for name in self.forecasters:
                p = part[name].to_numpy(np.float64)
                area = metrics.auc(y, p, weight=w)
                lines[name] = (*metrics.roc_curve(y, p, weight=w), area)
            curves[_paid(horizon)] = lines
        return plots.roc(curves)

    def plot_by_cut(self) -> plots.Plot:
        """Predicted and observed share of payers at each cut, one panel a horizon."""
        mine = self.scores[
            (self.scores["forecaster"] == self.model) & (self.scores["cut"] != scoring.ALL)
        ]
        tables = {}
        for horizon, part in mine.groupby("horizon", sort=False):
            bounds = [
                metrics.wilson(rate, n) for rate, n in zip(part["paid"], part["n"], strict=True)
            ]
            tables[_paid(horizon)] = pd.DataFrame(
                {
                    "cut": part["cut"].tolist(),
                    "predicted": part["predicted"].to_numpy(),
                    "observed": part["paid"].to_numpy(),
                    "lower": [low for low, _ in bounds],
                    "upper": [high for _, high in bounds],
                }
            )
        return plots.by_cut(tables)

    def plot_drift(self) -> plots.Plot:
        """Predicted and observed share of payers by quarter, one panel a horizon."""
        tables = {_paid(h): table for h, table in self.drift.groupby("horizon", sort=False)}
        return plots_payment.quarters(tables)

    def plot_gains(self) -> plots.Plot:
        """Log-loss saved against each rival by horizon."""
        table = self.gains
        return plots.gains(table.assign(horizon=table["horizon"].map(horizon_title)))

    def __str__(self) -> str:
        what = "paid in full" if self.event == "full" else "next payment"
        head = (
            f"Backtest of {self.model} ({what}, {self.level} level): {len(self.split.folds)} cuts "
            f"from {self.split.cuts[0].astype('M8[D]')} to {self.split.cuts[-1].astype('M8[D]')}"
        )
        shown = self.to_pandas().copy()
        shown["paid"] = (100 * shown["paid"]).map("{:.1f} %".format)
        shown["predicted"] = (100 * shown["predicted"]).map("{:.1f} %".format)
        for name, digits in (("auc", 3), ("brier", 4), ("log_loss", 4), ("ece", 4)):
            shown[name] = shown[name].map(f"{{:.{digits}f}}".format)
        return f"{head}\n{shown.to_string(index=False)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = escape(str(self).split("\n", 1)[0])
        return f"<p>{head}</p>{self.to_pandas().to_html(index=False, float_format='{:.4f}'.format)}"


def horizon_title(horizon: str) -> str:
    """Name a horizon for people.

    Examples
    --------
    >>> horizon_title("30D"), horizon_title("due+0D"), horizon_title("due-3D")
    ('within 30 days', 'by the due date', 'by 3 days before the due date')
    """
    parsed = Horizon.parse(horizon)
    if not parsed.from_due:
        return f"within {parsed.days} days"
    if parsed.days == 0:
        return "by the due date"
    return f"by {abs(parsed.days)} days {'after' if parsed.days > 0 else 'before'} the due date"


def _paid(horizon: object) -> str:
    return f"paid {horizon_title(str(horizon))}"
