"""Plots of results. Every function returns a figure; nothing is shown and no state is global.

Colours mean the same everywhere: blue is the model, grey the rivals, orange what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from collectopt._figure import (
    FAINT,
    INK,
    MODEL,
    MUTED,
    RIVAL,
    RIVAL_SHADES,
    TRUTH,
    Plot,
    clean,
    panels,
)
from collectopt._figure import title as _title

__all__ = [
    "FAINT",
    "INK",
    "MODEL",
    "MUTED",
    "RIVAL",
    "RIVAL_SHADES",
    "TRUTH",
    "Plot",
    "bars",
    "by_cut",
    "clean",
    "gains",
    "histogram",
    "intervals",
    "panels",
    "recovery",
    "reliability",
    "roc",
]


def reliability(tables: Mapping[str, pd.DataFrame], *, titles: Sequence[str] | None = None) -> Plot:
    """Observed rate against predicted probability, one panel a table.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Panel title -> columns of :func:`~collectopt.evaluation.calibration_table`.
    titles : sequence of str, optional
        Other titles for the panels.
    """
    figure, axes = panels(len(tables))
    names = list(titles or tables)
    for ax, name, table in zip(axes, names, tables.values(), strict=True):
        _reliability_panel(ax, table)
        _title(ax, name)
    if axes:
        axes[0].set_ylabel("share that paid")
    return figure


def _reliability_panel(ax: Axes, table: pd.DataFrame) -> None:
    top = float(max(table["predicted"].max(), table["upper"].max(), 0.05)) * 1.06
    ax.plot([0, top], [0, top], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    below = table["observed"] - table["lower"]
    above = table["upper"] - table["observed"]
    ax.errorbar(
        table["predicted"],
        table["observed"],
        yerr=np.vstack([below, above]),
        color=MODEL,
        fmt="o-",
        markersize=4,
        linewidth=1.3,
        elinewidth=1,
        alpha=0.95,
    )
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal", xlabel="predicted probability")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
        axis.set_major_locator(MaxNLocator(5))


def roc(curves: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike, float]]]) -> Plot:
    """ROC curves, one panel a horizon.

    Parameters
    ----------
    curves : mapping
        Panel title -> forecaster -> (false positive rate, true positive rate, AUC); the first
        forecaster is the model.
    """
    figure, axes = panels(len(curves))
    for ax, (title, lines) in zip(axes, curves.items(), strict=True):
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        for i, (name, (x, y, area)) in reversed(list(enumerate(lines.items()))):
            label = f"{name} {area:.3f}"
            width = 1.8 if i == 0 else 1.1
            ax.plot(x, y, color=_colour(i), linewidth=width, label=label, zorder=3 - i)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="share of non-payers flagged")
        _title(ax, title)
        handles, labels = ax.get_legend_handles_labels()
        ax.legend(handles[::-1], labels[::-1], loc="lower right", frameon=False, fontsize=7.5)
    if axes:
        axes[0].set_ylabel("share of payers found")
    return figure


def by_cut(tables: Mapping[str, pd.DataFrame]) -> Plot:
    """Predicted against observed share over time, one panel a horizon.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Panel title -> columns cut (text), predicted, observed, lower, upper.
    """
    figure, axes = panels(len(tables), width=3.1, height=2.5)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        x = np.arange(len(table))
        bars = np.vstack([table["observed"] - table["lower"], table["upper"] - table["observed"]])
        ax.errorbar(
            x, table["observed"], yerr=bars, color=TRUTH, fmt="o", markersize=5, label="paid"
        )
        ax.plot(x, table["predicted"], color=MODEL, marker="D", markersize=4, label="predicted")
        ax.set_xticks(x, table["cut"], rotation=35, ha="right")
        ax.set_xlim(-0.4, len(table) - 0.6)
        ax.set_ylim(0, float(max(table["upper"].max(), table["predicted"].max())) * 1.15)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        _title(ax, title)
    if axes:
        axes[0].legend(loc="lower left", frameon=False, fontsize=7.5)
    return figure


def gains(table: pd.DataFrame) -> Plot:
    """Log-loss saved against each rival with its interval; right of zero the model is better.

    Parameters
    ----------
    table : DataFrame
        Columns horizon, rival, gain, lower, upper.
    """
    rivals = list(dict.fromkeys(table["rival"]))
    horizons = list(dict.fromkeys(table["horizon"]))
    height = 1.0 + 0.24 * len(table)
    figure, (ax,) = panels(1, width=6.4, height=height)
    offsets = np.linspace(-0.17, 0.17, len(rivals)) if len(rivals) > 1 else np.zeros(1)
    for i, rival in enumerate(rivals):
        part = table[table["rival"] == rival].set_index("horizon").reindex(horizons)
        spread = np.vstack([part["gain"] - part["lower"], part["upper"] - part["gain"]])
        ax.errorbar(
            part["gain"],
            np.arange(len(horizons)) + offsets[i],
            xerr=spread,
            fmt="o",
            color=(MODEL, "#7fa8d6", RIVAL)[i % 3],
            markersize=5,
            elinewidth=1.6,
            label=f"against {rival}",
        )
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(np.arange(len(horizons)), horizons)
    ax.set_ylim(len(horizons) - 0.5, -0.5)
    ax.set_xlabel("log-loss saved per prediction (nats)")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    low, high = min(0.0, float(table["lower"].min())), max(0.0, float(table["upper"].max()))
    ax.set_xlim(low - 0.05 * (high - low) - 1e-4, high + 0.05 * (high - low) + 1e-4)
    return figure


def recovery(curve: pd.DataFrame) -> Plot:
    """Draw the share of the overdue amount that had come in by days after the due date.

    Parameters
    ----------
    curve : DataFrame
        From :func:`~collectopt.evaluation.recovery_curve`.
    """
    figure, (ax,) = panels(1, width=5.2, height=2.9)
    known = curve.dropna(subset=["share"])
    ax.fill_between(known["days"], 0, known["share"], color=TRUTH, alpha=0.12, linewidth=0)
    ax.plot(known["days"], known["share"], color=TRUTH, linewidth=2)
    ax.set(xlabel="days after the due date", ylabel="share of the amount overdue")
    ax.set_ylim(0, max(0.05, float(known["share"].max()) * 1.1) if len(known) else 1)
    ax.set_xlim(0, float(curve["days"].max()))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def bars(labels: Sequence[str], values: ArrayLike, *, unit: str, share: bool = False) -> Plot:
    """Horizontal bars with their values written at the end, in the given order.

    Parameters
    ----------
    labels : sequence of str, shape (n,)
    values : array_like, shape (n,)
    unit : str
        What the length of a bar means.
    share : bool
        Write values as per cent.
    """
    numbers = np.asarray(values, dtype=np.float64)
    figure, (ax,) = panels(1, width=5.2, height=0.75 + 0.27 * max(1, len(numbers)))
    y = np.arange(len(numbers))
    ax.barh(y, numbers, color=MODEL, height=0.62)
    for at, number in zip(y, numbers, strict=True):
        text = f"{100 * number:.1f} %" if share else f"{number:,.0f}"
        ax.annotate(
            text,
            (max(number, 0), at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    ax.set_yticks(y, list(labels))
    ax.tick_params(axis="y", colors=INK)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(len(numbers) - 0.4, -0.6)
    ax.set_xlim(min(0.0, float(numbers.min(initial=0)) * 1.1), _top(numbers) * 1.18)
    ax.set_xlabel(unit)
    if share:
        ax.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def intervals(groups: Mapping[str, pd.DataFrame], *, unit: str) -> Plot:
    """Estimates with their intervals, one row a level, grouped.

    Parameters
    ----------
    groups : mapping of str to DataFrame
        Name of a group -> level, effect, low and high.
    unit : str
        What the position means.
    """
    count = sum(len(table) + 1 for table in groups.values())
    figure, (ax,) = panels(1, width=5.2, height=0.75 + 0.22 * max(1, count))
    at, labels, places = 0.0, [], []
    for name, table in groups.items():
        ax.annotate(
            name,
            (0.0, at),
            xycoords=ax.get_yaxis_transform(),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=INK,
            annotation_clip=False,
        )
        y = at + 1.0 + np.arange(len(table))
        ax.hlines(y, table["low"], table["high"], color=MODEL, linewidth=2.0, alpha=0.5)
        ax.plot(table["effect"], y, "o", color=MODEL, markersize=4.5)
        places += y.tolist()
        labels += table["level"].astype(str).tolist()
        at += len(table) + 1.0
    ax.axvline(0.0, color=RIVAL, linewidth=0.8)
    ax.set_yticks(places, labels)
    ax.tick_params(axis="y", colors=INK)
    ax.grid(visible=False, axis="y")
    ax.set_ylim(at - 0.4, -0.6)
    ax.set_xlabel(unit)
    return figure


def histogram(values: ArrayLike, *, unit: str, bins: int = 30, log: bool = False) -> Plot:
    """Draw how many accounts have which value.

    Parameters
    ----------
    values : array_like, shape (n,)
        Finite values; with `log` they must be positive.
    unit : str
        What the horizontal axis means.
    log : bool
        Logarithmic horizontal axis.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    figure, (ax,) = panels(1, width=5.2, height=2.6)
    if log and len(numbers):
        low, high = numbers.min(), numbers.max()
        edges = np.geomspace(low / 1.05, high * 1.05, bins + 1)
        ax.set_xscale("log")
    else:
        edges = _edges(numbers, bins)
    ax.hist(numbers, bins=edges.tolist(), color=MODEL, alpha=0.9, linewidth=0)
    ax.grid(visible=False, axis="x")
    ax.set(xlabel=unit, ylabel="accounts")
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def _edges(numbers: np.ndarray, bins: int) -> np.ndarray:
    """Equal bins over the range; one bin where all values are the same but for rounding."""
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        half = 0.5 if low == 0 else 0.05 * abs(low)
        return np.array([low - half, high + half])
    return np.linspace(low, high, bins + 1)


def _top(numbers: np.ndarray) -> float:
    top = float(numbers.max(initial=0.0))
    return top if top > 0 else 1.0


def _colour(i: int) -> str:
    return MODEL if i == 0 else RIVAL_SHADES[(i - 1) % len(RIVAL_SHADES)]
