"""Plots of payment forecasts: drift by quarter, and how long customers leave a claim unpaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from collectopt._figure import INK, MODEL, MUTED, TRUTH, Plot, panels, title
from collectopt.exceptions import InputError
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon

_SHADES = (
    "#1f5fa8", "#d9822b", "#2f8f6b", "#a8487a", "#6b7785",
    "#7fa8d6", "#e7b887", "#8cc4ad", "#d39ab9", "#b4bdc7",
)  # fmt: skip


def quarters(tables: Mapping[str, pd.DataFrame]) -> Plot:
    """Predicted against observed share by quarter, one panel a table; flagged quarters ringed.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Panel title -> rows of :func:`~collectopt.evaluation.drift_table`.
    """
    figure, axes = panels(len(tables), width=3.4, height=2.7, columns=3)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        _quarters_panel(ax, table)
        title(ax, name)
    if axes:
        axes[0].set_ylabel("share that paid")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=7.5
        )
    return figure


def _quarters_panel(ax: Axes, table: pd.DataFrame) -> None:
    x = np.arange(len(table))
    half = 0.32
    for i, (low, high) in enumerate(zip(table["lower"], table["upper"], strict=True)):
        label = "where a calibrated forecast would see it" if i == 0 else None
        ax.fill_between([i - half, i + half], low, high, color=MODEL, alpha=0.16, lw=0, label=label)
    ax.hlines(table["predicted"], x - half, x + half, color=MODEL, linewidth=2, label="predicted")
    ax.plot(x, table["observed"], "o", color=TRUTH, markersize=5, label="paid")
    flagged = table["flag"].to_numpy(dtype=np.bool_)
    ax.plot(
        x[flagged],
        table["observed"][flagged],
        "o",
        color=INK,
        markersize=11,
        markerfacecolor="none",
        markeredgewidth=1.3,
        label="drifted off",
    )
    step = max(1, -(-len(x) // 8))
    ax.set_xticks(x[::step], table["quarter"].tolist()[::step], rotation=35, ha="right")
    ax.set_xlim(-0.6, len(table) - 0.4)
    ax.set_ylim(0, min(1.02, 1.12 * float(max(table["upper"].max(), table["observed"].max()))))
    ax.yaxis.set_major_formatter(PercentFormatter(1))


def survival(forecast: Forecast, *, labels: Sequence[str] | None = None) -> Plot:
    """Chance that a row is still unpaid over the days to come, one line a row.

    Parameters
    ----------
    forecast : Forecast
        At most ten rows, over a grid of horizons that count from `as_of` ("1D", "7D", ...).
    labels : sequence of str, optional
        Names of the rows; by default their invoices, or else their accounts.

    Raises
    ------
    InputError
        No rows or more than ten, or horizons that count from the due date.
    """
    days = _grid(forecast)
    if not 1 <= len(forecast) <= len(_SHADES):
        raise InputError.of(
            "survival",
            "forecast",
            expected=f"1 to {len(_SHADES)} rows",
            found=str(len(forecast)),
            hint="Choose some: model.predict(snapshot.take(rows), ...).",
        )
    rows = forecast.rows
    ids = zip(rows["invoice_id"].to_pylist(), rows["account_id"].to_pylist(), strict=True)
    names = list(labels) if labels is not None else [own or other for own, other in ids]
    order = np.argsort(days)
    unpaid = 1.0 - np.maximum.accumulate(forecast.p_paid[:, order], axis=1)
    x = np.r_[0.0, days[order]]
    figure, (ax,) = panels(1, width=6.4, height=3.3)
    for i in np.argsort(-unpaid[:, -1], kind="stable"):
        # What is paid already stays at 0 all along.
        start = 0.0 if forecast.p_paid[i].min() >= 1.0 else 1.0
        ax.plot(x, np.r_[start, unpaid[i]], color=_SHADES[i], linewidth=1.7, label=names[i])
    ax.axhline(0.5, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    ax.set(xlabel="days from now", ylabel="chance of being unpaid", ylim=(0, 1.02))
    ax.set_xlim(0, float(x[-1]))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    return figure


def _grid(forecast: Forecast) -> np.ndarray:
    parsed = [Horizon.parse(text) for text in forecast.horizons]
    wrong = [str(one) for one in parsed if one.from_due]
    if wrong or not parsed:
        raise InputError.of(
            "survival",
            "horizons",
            expected='days from as_of, such as "30D"',
            found=", ".join(wrong) or "none",
        )
    return np.array([float(one.days) for one in parsed])
