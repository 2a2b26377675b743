"""What policies brought in a simulated world: means, intervals and paired differences."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from collectopt.exceptions import InputError
from collectopt.simulation.meter import FIGURES, Figure, Outcome
from collectopt.simulation.noise import FloatArray

if TYPE_CHECKING:
    from collectopt.evaluation.plots import Plot

_NAMES = [figure.name for figure in FIGURES]
_ABREAST = 3  # policies side by side in the text, which has 100 columns


@dataclass(frozen=True, repr=False)
class Result:
    """What each policy brought in the same simulated world.

    All policies met the same luck in each replicate, so read differences (`difference`), which
    are far sharper than the two means. Everything here is simulated.

    Attributes
    ----------
    kind : str
        Kind of the book.
    accounts, weeks : int
    outcomes : mapping of str to tuple of Outcome
        Policy -> one outcome a replicate, in the order of the replicates.

    Notes
    -----
    `meanings` tells the unit and the meaning of every figure.
    """

    kind: str
    accounts: int
    weeks: int
    outcomes: Mapping[str, tuple[Outcome, ...]]

    @property
    def seeds(self) -> int:
        """Count the replicates."""
        return len(next(iter(self.outcomes.values())))

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies."""
        return tuple(self.outcomes)

    def replicates(self) -> pd.DataFrame:
        """Give one row a policy and replicate: policy, seed, and the figures."""
        rows = [
            {"policy": name, "seed": seed, **outcome.figures}
            for name, some in self.outcomes.items()
            for seed, outcome in enumerate(some)
        ]
        return pd.DataFrame(rows)

    @property
    def table(self) -> pd.DataFrame:
        """Means over the replicates, one row a policy.

        With more than one replicate each figure has two more columns, ``<figure>_low`` and
        ``<figure>_high``: the 95 % t-interval of the mean over other luck.
        """
        values = self._values()
        columns: dict[str, object] = {"policy": list(self.outcomes)}
        for j, name in enumerate(_NAMES):
            mean, half = interval(values[:, :, j])
            columns[name] = mean
            if self.seeds > 1:
                columns[f"{name}_low"], columns[f"{name}_high"] = mean - half, mean + half
        return pd.DataFrame(columns)

    def to_pandas(self) -> pd.DataFrame:
        """Give `table`."""
        return self.table

    def difference(self, to: str | None = None) -> pd.DataFrame:
        """Difference of every policy to one of them, replicate by replicate.

        Parameters
        ----------
        to : str or None
            Name of a policy; None = "FixedLadder" if it ran, else the first one.

        Returns
        -------
        pandas.DataFrame
            policy, figure, unit, difference, low, high (95 % t-interval of the paired
            differences; NaN with a single replicate).

        Raises
        ------
        InputError
            No policy has that name.
        """
        to = self._reference(to)
        values = self._values()
        reference = values[self.policies.index(to)]
        rows = []
        for name, mine in zip(self.policies, values, strict=True):
            if name == to:
                continue
            mean, half = interval((mine - reference).T)
            for figure, at, wide in zip(FIGURES, mean.tolist(), half.tolist(), strict=True):
                rows.append((name, figure.name, figure.unit, at, at - wide, at + wide))
        columns = ["policy", "figure", "unit", "difference", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def meanings(self) -> pd.DataFrame:
        """Unit, label and meaning of every figure."""
        return pd.DataFrame([vars(figure) for figure in FIGURES])

    def plot_recovery(self) -> Plot:
        """Draw the share paid by days after the due date."""
        from collectopt.simulation import plots

        return plots.recovery(self.outcomes)

    def plot_cash(self) -> Plot:
        """Draw cash by week, summed up, against the reference policy."""
        from collectopt.simulation import plots

        return plots.cash(self.outcomes, self._reference(None))

    def plot_actions(self) -> Plot:
        """Draw how much of what was sent, by week."""
        from collectopt.simulation import plots

        return plots.actions(self.outcomes, self.accounts)

    def plot_frontier(self) -> Plot:
        """Draw process cost against recovery, with the net value beside each point."""
        from collectopt.simulation import plots

        return plots.frontier(self.outcomes, self._reference(None))

    def __str__(self) -> str:
        lines = [self._title()]
        for start in range(0, len(self.policies), _ABREAST):
            lines += ["", *self._block(self.policies[start : start + _ABREAST])]
        if self.seeds > 1:
            lines += ["", "± is half of the 95 % interval of the mean; difference() is sharper."]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = self._cells()
        head = "".join(f"<th>{escape(name)}</th>" for name in cells)
        rows = [
            f"<tr><th style='text-align:left' title='{escape(figure.meaning, quote=True)}'>"
            f"{escape(_label(figure))}</th>"
            + "".join(f"<td style='text-align:right'>{cells[p][i]}</td>" for p in cells)
            + "</tr>"
            for i, figure in enumerate(FIGURES)
        ]
        means = f"<table><caption>{escape(self._title())}</caption>"
        means += f"<tr><th></th>{head}</tr>{''.join(rows)}</table>"
        pictures = (
            ("Recovery", self.plot_recovery()),
            ("Cash", self.plot_cash()),
            ("Actions", self.plot_actions()),
        )
        return f"<div>{means}{self._html_differences()}{''.join(map(_picture, pictures))}</div>"

    def _html_differences(self) -> str:
        if len(self.policies) == 1:
            return ""
        to = self._reference(None)
        frame = self.difference(to)
        names = list(dict.fromkeys(frame["policy"]))
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        rows = []
        for figure in FIGURES:
            some = frame[frame["figure"] == figure.name]
            cells = [
                _signed(figure, *row)
                for row in some[["difference", "low", "high"]].itertuples(index=False)
            ]
            body = "".join(f"<td style='text-align:right'>{cell}</td>" for cell in cells)
            label = escape(_label(figure))
            rows.append(f"<tr><th style='text-align:left'>{label}</th>{body}</tr>")
        caption = f"Simulated: difference to {to} on the same luck"
        caption += ", 95 % interval" if self.seeds > 1 else ""
        return (
            f"<table><caption>{escape(caption)}</caption>"
            f"<tr><th></th>{head}</tr>{''.join(rows)}</table>"
        )

    def _title(self) -> str:
        runs = f", mean of {self.seeds} runs" if self.seeds > 1 else ""
        return (
            f"Simulated: {self.weeks} weeks, {self.accounts:,} accounts, kind {self.kind!r}{runs}"
        )

    def _values(self) -> FloatArray:
        """All figures, (policies, replicates, figures)."""
        return np.array(
            [
                [[o.figures[name] for name in _NAMES] for o in some]
                for some in self.outcomes.values()
            ]
        )

    def _reference(self, to: str | None) -> str:
        if to is None:
            return "FixedLadder" if "FixedLadder" in self.outcomes else self.policies[0]
        if to not in self.outcomes:
            known = ", ".join(map(repr, self.policies))
            raise InputError.of("difference", "to", expected=f"one of {known}", found=repr(to))
        return to

    def _cells(self) -> dict[str, list[str]]:
        values = self._values()
        cells = {}
        for name, mine in zip(self.policies, values, strict=True):
            mean, half = interval(mine.T)
            texts = [f.text(v) for f, v in zip(FIGURES, mean.tolist(), strict=True)]
            if self.seeds > 1:
                wide = zip(FIGURES, half.tolist(), strict=True)
                texts = [
                    f"{t} ± {f.text(v).removesuffix(' %')}"
                    for t, (f, v) in zip(texts, wide, strict=True)
                ]
            cells[name] = texts
        return cells

    def _block(self, names: tuple[str, ...]) -> list[str]:
        cells = self._cells()
        width = max(len(_label(figure)) for figure in FIGURES)
        wide = {name: max(len(name), *map(len, cells[name])) for name in names}
        lines = [" " * width + "".join(f"  {name:>{wide[name]}}" for name in names)]
        for i, figure in enumerate(FIGURES):
            row = "".join(f"  {cells[name][i]:>{wide[name]}}" for name in names)
            lines.append(f"{_label(figure):<{width}}{row}")
        return lines


def interval(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and half the 95 % t-interval over the last axis; NaN for a single value.

    Examples
    --------
    >>> mean, half = interval(np.array([[1.0, 3.0]]))
    >>> float(mean[0]), round(float(half[0]), 2)
    (2.0, 12.71)
    """
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n == 1:
        return mean, np.full_like(mean, np.nan)
    error = values.std(axis=-1, ddof=1) / np.sqrt(n)
    return mean, float(stdtrit(n - 1, 0.975)) * error


def _label(figure: Figure) -> str:
    return f"{figure.label}, {figure.unit}" if figure.unit in {"EUR", "days"} else figure.label


def _signed(figure: Figure, difference: float, low: float, high: float) -> str:
    text = figure.text(difference, sign=True)
    if figure.unit == "share":
        text = text.replace("%", "points")
    if np.isfinite(low):
        text += f" ({figure.text(low, sign=True).removesuffix(' %')} to "
        text += f"{figure.text(high, sign=True).removesuffix(' %')})"
    return text


def _picture(named: tuple[str, Plot]) -> str:
    title, plot = named
    data = base64.b64encode(plot.png(110)).decode("ascii")
    return (
        f"<p>{title} (simulated)</p>"
        f"<img alt='{title}' style='max-width:100%' src='data:image/png;base64,{data}'>"
    )
