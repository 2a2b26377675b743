"""Pictures of a simulated run. Each says that it is simulated; nothing is shown by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from collectopt.evaluation.plots import INK, MUTED, Plot, panels
from collectopt.simulation.meter import ACTIONS, Outcome
from collectopt.simulation.noise import FloatArray

Outcomes = Mapping[str, tuple[Outcome, ...]]

_LINES = ("#1f5fa8", "#d9822b", "#5f6b78", "#2e8b6f", "#a24a8e", "#b8a02c", "#9aa5b1", "#7a3b2e")
# E-mail to court: the dearer and harder, the darker.
_ACTIONS = ("#9cc4ea", "#5b93d0", "#d9b382", "#c9651b", "#6b7785", "#1c2733")
_TITLES = ("e-mail", "SMS", "letter", "phone", "agency", "court")


def recovery(outcomes: Outcomes) -> Plot:
    """Draw the share of the invoiced amount paid by days after the due date, means of the runs."""
    figure, (ax,) = panels(1, width=6.4, height=3.5)
    ends, low, high = [], 1.0, 0.0
    for i, (name, some) in enumerate(outcomes.items()):
        curve = np.mean([outcome.curve for outcome in some], axis=0)
        if not np.isfinite(curve).all():
            continue
        ax.plot(np.arange(len(curve)), 100 * curve, color=_LINES[i % len(_LINES)], linewidth=1.8)
        ends.append((100 * float(curve[-1]), f"{name} {100 * curve[-1]:.1f} %", i))
        low, high = min(low, float(curve.min())), max(high, float(curve.max()))
    ax.set(xlabel="days after the due date", ylabel="share of the invoiced amount paid")
    if ends:
        ax.set_xlim(0, len(curve) - 1)
        ax.set_ylim(100 * low - 3, min(100.0, 100 * high + 3))
    ax.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    _at_the_end(ax, ends)
    _mark(ax, "Simulated: paid by days after due, same claims at every day")
    return figure


def cash(outcomes: Outcomes, reference: str) -> Plot:
    """Draw the cash collected by the end of each week, less that of the reference policy.

    A single policy is drawn as it is. Bands are 95 % intervals of the paired difference.
    """
    from collectopt.simulation.result import interval

    figure, (ax,) = panels(1, width=6.4, height=3.5)
    sums = {
        name: np.cumsum([outcome.cash for outcome in some], axis=1)
        for name, some in outcomes.items()
    }
    alone = len(sums) == 1
    ends: list[tuple[float, str, int]] = []
    for i, (name, mine) in enumerate(sums.items()):
        if name == reference and not alone:
            ax.axhline(0, color=_LINES[i % len(_LINES)], linewidth=1.8)
            ends.append((0.0, name, i))
            continue
        lines = mine if alone else mine - sums[reference]
        mean, half = interval(np.asarray(lines, dtype=np.float64).T)
        weeks, colour = np.arange(len(mean) + 1), _LINES[i % len(_LINES)]
        mean, half = np.append(0.0, mean), np.append(0.0, half)
        ax.plot(weeks, mean, color=colour, linewidth=1.8)
        if np.isfinite(half).all():
            ax.fill_between(weeks, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
        ends.append((float(mean[-1]), f"{name} {_euros(mean[-1], sign=not alone)}", i))
    ax.set_xlim(0, len(next(iter(sums.values()))[0]))
    ax.set_xlabel("weeks")
    ax.set_ylabel("cash so far, EUR" if alone else f"cash so far less {reference}, EUR")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _euros(value)))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _at_the_end(ax, ends)
    _mark(ax, "Simulated: cash collected" + ("" if alone else ", on the same luck"))
    return figure


def actions(outcomes: Outcomes, accounts: int) -> Plot:
    """Draw what was sent by week and 1,000 accounts, one panel a policy."""
    figure, axes = panels(len(outcomes), width=3.3, height=2.6, columns=3)
    used = np.zeros(len(ACTIONS), dtype=np.bool_)
    tops = []
    for ax, (name, some) in zip(axes, outcomes.items(), strict=True):
        counts = np.mean([outcome.actions for outcome in some], axis=0) * 1000.0 / accounts
        used |= counts.any(axis=0)
        _stack(ax, counts)
        if not counts.any():
            ax.text(0.5, 0.5, "nothing", transform=ax.transAxes, ha="center", color=MUTED)
        tops.append(float(counts.sum(axis=1).max(initial=0.0)))
        ax.set_title(name, loc="left", color=INK, fontsize=9, fontweight="bold")
        ax.set_xlabel("week")
    for ax in axes:
        ax.set_ylim(0, max(1e-3, *tops) * 1.06)
    axes[0].set_ylabel("sent a week per 1,000 accounts")
    handles = [
        Line2D([], [], color=_ACTIONS[k], linewidth=6, label=_TITLES[k])
        for k in np.flatnonzero(used)
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=6, frameon=False, fontsize=8)
    figure.text(0.995, 0.995, "simulated", ha="right", va="top", fontsize=8, color=MUTED)
    return figure


def frontier(outcomes: Outcomes, reference: str) -> Plot:
    """Draw process cost against recovery by the end less that of the reference.

    The line joins the entries that bring more than all cheaper ones; bars are 95 % intervals of
    the paired difference. Labels give the net value less that of the reference.
    """
    from collectopt.simulation.result import interval

    figure, (ax,) = panels(1, width=7.2, height=4.2)
    names, base = list(outcomes), list(outcomes).index(reference)
    values = np.array(
        [[[o.figures[n] for n in ("cost", "recovered", "net_value")] for o in some]
         for some in outcomes.values()]
    )  # fmt: skip
    cost = values[:, :, 0].mean(axis=1)
    share, half = interval(100 * (values[:, :, 1] - values[base, :, 1]))
    worth = (values[:, :, 2] - values[base, :, 2]).mean(axis=1)
    best: list[int] = []
    for i in np.lexsort((-share, cost)).tolist():
        if not best or share[i] > share[best[-1]]:
            best.append(i)
    ax.plot(cost[best], share[best], color=_LINES[-2], linewidth=1.2, zorder=1)
    if np.isfinite(half).all():
        ax.errorbar(cost, share, yerr=half, fmt="none", ecolor="#c3cad2", elinewidth=1, zorder=1)
    ax.scatter(cost, share, color=_LINES[0], s=28, zorder=3)
    ax.margins(x=0.06, y=0.15)
    ax.set_xlim(ax.get_xlim()[0], ax.get_xlim()[1] + 0.35 * np.diff(ax.get_xlim())[0])
    labels = [f"{name} {_euros(w, sign=True)}" for name, w in zip(names, worth, strict=True)]
    _beside(ax, cost, share, labels)
    ax.set(xlabel="process cost, EUR", ylabel=f"recovered by the end less {reference}, points")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _euros(value)))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    _mark(ax, f"Simulated: cost against recovery; beside it net value less {reference}, EUR")
    return figure


def _beside(ax: Axes, x: FloatArray, y: FloatArray, texts: Sequence[str]) -> None:
    """Write a text to the right of each point, moved up where it would cover another."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    across, up = (x - left) / (right - left), (y - low) / (high - low)
    taken: list[tuple[float, float, float]] = []  # left, right, height of each text
    for i in np.lexsort((across, up)):
        start, end = across[i] + 0.012, across[i] + 0.03 + 0.0135 * len(texts[i])
        level = float(up[i]) + 0.03
        while any(start < b and end > a and abs(level - at) < 0.05 for a, b, at in taken):
            level += 0.01
        taken.append((start, end, level))
        ax.annotate(
            texts[i],
            (float(x[i]), float(y[i])),
            xytext=(start, level),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=INK,
            arrowprops=_leader(MUTED),
        )


def _stack(ax: Axes, counts: FloatArray) -> None:
    weeks = np.arange(1, len(counts) + 1)
    below = np.zeros(len(counts))
    for k, colour in enumerate(_ACTIONS):
        ax.bar(weeks, counts[:, k], bottom=below, color=colour, width=0.82, linewidth=0)
        below = below + counts[:, k]
    ax.grid(visible=False, axis="x")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5))


def _at_the_end(ax: Axes, ends: Sequence[tuple[float, str, int]]) -> None:
    """Write names at the ends of the lines, moved apart where they would overlap."""
    if not ends:
        return
    low, high = ax.get_ylim()
    gap = 0.062 * (high - low)
    order = sorted(ends)
    places = [value for value, _, _ in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    shift = max(0.0, places[-1] - high)
    places = [place - shift for place in places]
    for place, (value, text, i) in zip(places, order, strict=True):
        ax.annotate(
            text,
            (ax.get_xlim()[1], value),
            xytext=(1.03, (place - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=_LINES[i % len(_LINES)],
            arrowprops=_leader(_LINES[i % len(_LINES)]),
        )


def _leader(colour: str) -> dict[str, object]:
    """Thin line from a point to the left end of its text."""
    return {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0.0, 0.5)}


def _mark(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", color=INK, fontsize=9)


def _euros(value: float, *, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{value / 1e6:{plus}.2f} m" if abs(value) >= 1e7 else f"{value:{plus},.0f}"
