"""Lines of the payment benchmark: a figure, its bar, and whether it is reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from collectopt.evaluation import metrics
from collectopt.evaluation.bootstrap import Interval, difference_interval
from collectopt.evaluation.survival import broken_off
from collectopt.models.labels import Durations
from collectopt.schema.forecast import Forecast

DRAWS = 1000
CLIP = 1e-4


@dataclass(frozen=True)
class Bar:
    """Reached by a value in [low, high]; nan reaches nothing."""

    low: float = -np.inf
    high: float = np.inf

    def reached(self, value: float) -> bool:
        """Whether the value lies within."""
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        if np.isinf(self.low):
            return f"<= {short(self.high)}"
        if np.isinf(self.high):
            return f">= {short(self.low)}"
        return f"{short(self.low)} to {short(self.high)}"


@dataclass(frozen=True)
class Line:
    """One figure of the library.

    Attributes
    ----------
    part, row, figure : str
        Where it belongs and what it is.
    value : float
    bar : Bar or None
        None: shown for information.
    beside : str
        What the rivals reach.
    """

    part: str
    row: str
    figure: str
    value: float
    bar: Bar | None = None
    beside: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is a bar that is not reached."""
        return self.bar is not None and not self.bar.reached(self.value)

    def cells(self) -> tuple[str, ...]:
        """Give the cells of the table."""
        verdict = "" if self.bar is None else ("FAIL" if self.failed else "pass")
        bar = "" if self.bar is None else str(self.bar)
        return (self.part, self.row, self.figure, short(self.value), bar, verdict, self.beside)


HEAD = ("part", "row", "figure", "value", "bar", "verdict", "beside")


@dataclass(frozen=True)
class Score:
    """How one forecaster does on one row.

    Attributes
    ----------
    n : int
        Forecasts.
    rate : float
        Share of outcomes that came.
    lost : Interval or None
        Mean log-loss of the forecaster minus that of the library, paired, 95 % by account; above
        0 the library is better. None for the library itself.
    """

    part: str
    row: str
    forecaster: str
    n: int
    rate: float
    auc: float
    brier: float
    log_loss: float
    ece: float
    lost: Interval | None

    def cells(self) -> tuple[str, ...]:
        """Give the cells of the table."""
        lost = ""
        if self.lost is not None:
            i = self.lost
            lost = f"{i.value:+.4f} [{i.lower:+.4f}, {i.upper:+.4f}]"
        figures = (self.rate, self.auc, self.brier, self.log_loss, self.ece)
        names = (self.part, self.row, f"{self.n:,}", short(figures[0]), self.forecaster)
        return (*names, *map(short, figures[1:]), lost)


SCORE_HEAD = (
    "part", "row", "n", "came", "forecaster", "AUC", "Brier", "log-loss", "ECE",
    "log-loss above the library's, 95 %",
)  # fmt: skip


def scores(
    part: str,
    row: str,
    y: np.ndarray,
    forecasts: dict[str, np.ndarray],
    account: np.ndarray,
    own: str,
) -> list[Score]:
    """Score all forecasters on the same outcomes.

    Parameters
    ----------
    part, row : str
    y : (n,) outcomes, 0 or 1
    forecasts : probabilities (n,) by forecaster, the library's among them
    account : (n,) who is resampled as a whole
    own : str
        Name of the library's forecaster; it comes last.
    """
    clipped = {name: np.clip(p, CLIP, 1.0 - CLIP) for name, p in forecasts.items()}
    mine = metrics.log_losses(y, clipped[own])
    rng = np.random.default_rng(0)
    found = []
    for name in [*(name for name in clipped if name != own), own]:
        p = clipped[name]
        losses = metrics.log_losses(y, p)
        lost = None
        if name != own:
            lost = difference_interval(mine, losses, account, rng=rng, draws=DRAWS)
        found.append(
            Score(
                part, row, name, len(y), float(y.mean()), metrics.auc(y, p), metrics.brier(y, p),
                float(losses.mean()), metrics.ece(y, p), lost,
            )
        )  # fmt: skip
    return found


def judged(found: Sequence[Score], log_loss: float, auc: float, part: str) -> list[Line]:
    """Hold log-loss and AUC of the library against their bars, the best rival beside."""
    *rivals, own = found
    least = min(rivals, key=lambda score: score.log_loss)
    most = max(rivals, key=lambda score: score.auc)
    return [
        Line(part, own.row, "log-loss", own.log_loss, Bar(high=log_loss),
             f"{least.forecaster} {short(least.log_loss)}"),
        Line(part, own.row, "AUC", own.auc, Bar(low=auc), f"{most.forecaster} {short(most.auc)}"),
    ]  # fmt: skip


def inside(
    forecast: Forecast, came: Durations, watched: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the days lay in the 80 % interval, and whether that was decided: both (n,) bool.

    Decided: the interval was over while the row was still watched, whatever came.
    """
    low, high = (forecast.days[:, forecast.quantiles.index(q)] for q in (0.1, 0.9))
    over = (high <= watched) & ~broken_off(came.days, came.event, watched)
    return came.event & (low <= came.days) & (came.days <= high), over


def coverage(part: str, row: str, table: pd.DataFrame, bar: Bar | None = None) -> Line:
    """Share of the decided intervals that held, from columns covered and over."""
    over = table["over"].to_numpy()
    value = float(table["covered"].to_numpy()[over].mean()) if over.any() else np.nan
    beside = f"{over.sum():,} of {len(table):,} intervals were over"
    return Line(part, row, "coverage of 80 % intervals", value, bar, beside)


def short(value: float) -> str:
    """Four digits behind the point below 1, fewer above."""
    if np.isnan(value):
        return "-"
    if abs(value) < 1.0:
        return f"{value:.4f}".replace("0.", ".", 1)
    return f"{value:,.3f}" if abs(value) < 10.0 else f"{value:,.1f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def plain(line: Line) -> dict[str, object]:
    """A line as plain data for JSON, which knows no nan and no inf."""
    bar = None
    if line.bar is not None:
        bar = {k: v for k, v in asdict(line.bar).items() if np.isfinite(v)}
    value = line.value if np.isfinite(line.value) else None
    return asdict(line) | {"value": value, "bar": bar, "failed": line.failed}


def pooled(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Lay the tables of several jobs in one."""
    return pd.concat(frames, ignore_index=True)
