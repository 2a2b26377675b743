"""What policies brought in a simulated world: means, intervals and paired differences."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
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
_WIDTH = 100


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
        to = self.reference if to is None else to
        if to not in self.outcomes:
            known = ", ".join(map(repr, self.policies))
            raise InputError.of("difference", "to", expected=f"one of {known}", found=repr(to))
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

        return plots.cash(self.outcomes, self.reference)

    def plot_actions(self) -> Plot:
        """Draw how much of what was sent, by week."""
        from collectopt.simulation import plots

        return plots.actions(self.outcomes, self.accounts)

    def plot_frontier(self) -> Plot:
        """Draw process cost against recovery, with the net value beside each point."""
        from collectopt.simulation import plots

        return plots.frontier(self.outcomes, self.reference)

    def to_html(self, path: str | Path) -> Path:
        """Write a report with tables, differences and pictures as one HTML file.

        Parameters
        ----------
        path : str or Path
            The file; it appears whole or not at all.

        Returns
        -------
        Path
            The file.
        """
        from collectopt.simulation.report import write_report

        return write_report(self, path)

    def __str__(self) -> str:
        cells = self.means()
        cells |= {f"Δ {name}": texts for name, texts in self.differences().items()}
        lines = [self.title, *_blocks(cells)]
        if len(self.policies) > 1:
            lines += ["", f"Δ: less {self.reference}, on the same luck."]
        if self.seeds > 1:
            lines += ["± is half of the 95 % interval over other luck."]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        tables = _html(self.title, self.means())
        if len(self.policies) > 1:
            caption = f"Simulated: difference to {self.reference} on the same luck"
            tables += _html(caption, self.differences())
        pictures = (
            ("Recovery", self.plot_recovery()),
            ("Cash", self.plot_cash()),
            ("Actions", self.plot_actions()),
        )
        return f"<div>{tables}{''.join(map(_picture, pictures))}</div>"

    @property
    def reference(self) -> str:
        """Policy that the others are compared with: "FixedLadder" if it ran, else the first."""
        return "FixedLadder" if "FixedLadder" in self.outcomes else self.policies[0]

    def means(self) -> dict[str, list[str]]:
        """Write the mean of every figure, with half the interval; policy -> texts as `FIGURES`."""
        values = self._values()
        return {
            name: _texts(mine, sign=False) for name, mine in zip(self.policies, values, strict=True)
        }

    def differences(self) -> dict[str, list[str]]:
        """Write the difference of every figure to the reference; policy -> texts as `FIGURES`."""
        values = self._values()
        base = values[self.policies.index(self.reference)]
        return {
            name: _texts(mine - base, sign=True)
            for name, mine in zip(self.policies, values, strict=True)
            if name != self.reference
        }

    @property
    def title(self) -> str:
        """What was run, in a line."""
        runs = f", mean of {self.seeds} runs" if self.seeds > 1 else ""
        weeks = "1 week" if self.weeks == 1 else f"{self.weeks} weeks"
        return f"Simulated: {weeks}, {self.accounts:,} accounts, kind {self.kind!r}{runs}"

    def _values(self) -> FloatArray:
        """All figures, (policies, replicates, figures)."""
        return np.array(
            [
                [[o.figures[name] for name in _NAMES] for o in some]
                for some in self.outcomes.values()
            ]
        )


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


def _texts(values: FloatArray, *, sign: bool) -> list[str]:
    """Write the figures of one policy, values (replicates, figures)."""
    mean, half = interval(values.T)
    texts = []
    for figure, at, wide in zip(FIGURES, mean.tolist(), half.tolist(), strict=True):
        text = figure.text(at, sign=sign)
        if sign:
            text = text.replace("%", "pts")
        if np.isfinite(wide):
            text += f" ± {figure.text(wide).removesuffix(' %')}"
        texts.append(text)
    return texts


def _blocks(cells: Mapping[str, list[str]]) -> list[str]:
    """Set columns beside each other, as many as a line holds; the rest below."""
    labels = ["", *map(_label, FIGURES)]
    width = max(map(len, labels))
    blocks: list[list[str]] = []
    for name, texts in cells.items():
        wide = max(map(len, (name, *texts)))
        column = [f"  {text:>{wide}}" for text in (name, *texts)]
        if not blocks or len(blocks[-1][0]) + wide + 2 > _WIDTH:
            blocks.append([f"{label:<{width}}" for label in labels])
        blocks[-1] = [line + text for line, text in zip(blocks[-1], column, strict=True)]
    return [line for block in blocks for line in ("", *block)]


def _html(caption: str, cells: Mapping[str, list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in cells)
    rows = [
        f"<tr><th style='text-align:left' title='{escape(figure.meaning, quote=True)}'>"
        f"{escape(_label(figure))}</th>"
        + "".join(f"<td style='text-align:right'>{texts[i]}</td>" for texts in cells.values())
        + "</tr>"
        for i, figure in enumerate(FIGURES)
    ]
    body = f"<tr><th></th>{head}</tr>{''.join(rows)}"
    return f"<table><caption>{escape(caption)}</caption>{body}</table>"


def _picture(named: tuple[str, Plot]) -> str:
    title, plot = named
    data = base64.b64encode(plot.png(110)).decode("ascii")
    return (
        f"<p>{title} (simulated)</p>"
        f"<img alt='{title}' style='max-width:100%' src='data:image/png;base64,{data}'>"
    )
