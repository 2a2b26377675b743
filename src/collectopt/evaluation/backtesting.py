"""Fit at past cuts, predict after them, judge by what came: nothing sees the future."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.evaluation.metrics import interval_coverage
from collectopt.evaluation.result import BacktestResult
from collectopt.evaluation.splits import Fold, RollingSplit
from collectopt.evaluation.survival import broken_off, censoring_weights
from collectopt.exceptions import InputError
from collectopt.models import BaseRate, ShrunkenRate, labels
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

Bools = NDArray[np.bool_]


class Forecaster(Protocol):
    """What can be backtested: fitted on a ledger as of a time, asked about snapshots."""

    event: Any

    def fit(self, ledger: Ledger, *, as_of: AsOf) -> Any:
        """Learn from what was known before `as_of`; gives itself."""
        ...

    def predict(self, snapshot: Snapshot, *, horizons: Sequence[str], level: str) -> Forecast:
        """Give probabilities in the order of the snapshot."""
        ...


def backtest(
    model: Callable[[], Forecaster],
    ledger: Ledger,
    split: RollingSplit,
    horizons: Sequence[str] = ("30D", "60D", "90D"),
    *,
    level: str = "account",
    rivals: Mapping[str, Callable[[], Forecaster]] | None = None,
    only: Callable[[Snapshot], Bools] | None = None,
) -> BacktestResult:
    """Test a payment model through time, always beside the base rate and the shrunken rate.

    At every cut the model and its rivals are fitted on what was known before; they predict for
    all open accounts (or claims) at the dates of the fold; the labels come from the whole ledger.
    A prediction whose horizon is not over at the end of the split is left out, whatever has
    happened so far: "not yet" is never read as "not paid". Claims that were withdrawn before
    their horizon ended are neither paid nor unpaid: the others stand for them by inverse
    probability of censoring weights.

    Parameters
    ----------
    model : callable
        Makes a new, unfitted model: the class itself or a function without arguments.
    ledger : Ledger
    split : RollingSplit
        From :func:`~collectopt.evaluation.rolling_cuts`.
    horizons : sequence of str
        "30D" (days after as_of) or, at level "invoice", "due+30D" (days after the due date).
    level : str
        "account" or "invoice".
    rivals : mapping of str to callable, optional
        Further forecasters to print beside the two that always run.
    only : callable, optional
        Says which rows of a snapshot to judge: (n,) bool. Must look at nothing but the snapshot.

    Returns
    -------
    BacktestResult

    Raises
    ------
    InputError
        A malformed horizon, or no prediction that can be judged.
    """
    parsed = [Horizon.parse(horizon) for horizon in horizons]
    first = model()
    name = type(first).__name__
    event = labels.Event(first.event).value
    makers: dict[str, Callable[[], Forecaster]] = {
        name: model,
        "ShrunkenRate": lambda: ShrunkenRate(event=event),
        "BaseRate": lambda: BaseRate(event=event),
        **(rivals or {}),
    }
    names = tuple(map(str, parsed))
    judge = _Judge(ledger, split, names, labels.Level(level).value, event, only)
    judge.check_names(makers)
    tables = [judge.fold(fold, makers) for fold in split.folds]
    rows, excluded, intervals = (pa.concat_tables(parts) for parts in zip(*tables, strict=True))
    if not len(rows):
        raise InputError.of(
            "backtest",
            "horizons",
            expected="at least one prediction whose horizon is over",
            found=f"none before {split.end}",
            hint="Shorten the horizons or move the cuts back.",
        )
    return BacktestResult(
        model=name,
        rivals=tuple(makers)[1:],
        event=event,
        level=judge.level,
        horizons=judge.horizons,
        split=split,
        rows=rows,
        excluded=excluded,
        intervals=intervals,
    )


@dataclass(frozen=True)
class _Judge:
    """Predicts and labels one fold."""

    ledger: Ledger
    split: RollingSplit
    horizons: tuple[str, ...]
    level: str
    event: str
    only: Callable[[Snapshot], Bools] | None

    @staticmethod
    def check_names(makers: Mapping[str, Callable[[], Forecaster]]) -> None:
        taken = {"cut", "as_of", "account_id", "invoice_id", "horizon", "paid", "weight"}
        taken |= {"open", "share", "share_expected"}
        clash = sorted(taken & set(makers))
        if clash or len(makers) < 3:
            raise InputError.of(
                "backtest",
                "rivals",
                expected="names of their own",
                found=", ".join(clash) or "a model named like a rival",
            )

    def fold(
        self, fold: Fold, makers: Mapping[str, Callable[[], Forecaster]]
    ) -> tuple[pa.Table, pa.Table, pa.Table]:
        fitted = {name: make().fit(self.ledger, as_of=fold.cut) for name, make in makers.items()}
        snapshot = self._snapshot(fold)
        forecasts = {
            name: one.predict(snapshot, horizons=self.horizons, level=self.level)
            for name, one in fitted.items()
        }
        found = labels.durations(snapshot, self.event, self.level, self.split.end)
        known = labels.watched(snapshot, self.split.end)
        own = next(iter(forecasts.values()))
        amount, share = self._amounts(snapshot)
        parts, left_out = [], []
        for k, horizon in enumerate(self.horizons):
            target = _days_ahead(snapshot, Horizon.parse(horizon))
            ahead = target > 0
            over = ahead & (target <= known)
            weight = np.zeros(len(snapshot))
            weight[over] = censoring_weights(
                found.days[over], found.event[over], known[over], target[over]
            )
            keep = weight > 0
            paid = found.event & (found.days < target)
            columns = {"paid": paid, "weight": weight}
            columns |= {name: one.p_paid[:, k] for name, one in forecasts.items()}
            columns |= {"open": amount, "share": share[:, k], "share_expected": own.share[:, k]}
            table = self._rows(fold, snapshot, columns)
            horizon_column = pa.array([horizon] * len(snapshot), pa.string())
            parts.append(table.add_column(4, "horizon", horizon_column).filter(pa.array(keep)))
            left_out.append(int((ahead & ~keep).sum()))
        cut = np.array([fold.cut] * len(left_out), dtype="M8[us]")
        excluded = pa.table({"cut": cut, "horizon": list(self.horizons), "rows": left_out})
        return pa.concat_tables(parts), excluded, self._intervals(fold, own, found, known)

    def _snapshot(self, fold: Fold) -> Snapshot:
        """Open accounts or claims at all dates of the fold."""
        parts = []
        for date in fold.dates:
            one = Snapshot(self.ledger, date)
            parts.append(one.to_invoice_level() if self.level == "invoice" else one)
        names = ["account_id", "as_of", "invoice_id"]
        table = pa.concat_tables([part.rows.select(names) for part in parts])
        snapshot = Snapshot.from_rows(self.ledger, table)
        if self.only is None:
            return snapshot
        return snapshot.take(np.flatnonzero(np.asarray(self.only(snapshot), dtype=np.bool_)))

    @staticmethod
    def _rows(fold: Fold, snapshot: Snapshot, columns: Mapping[str, np.ndarray]) -> pa.Table:
        rows = snapshot.rows.select(["as_of", "account_id", "invoice_id"])
        cut = pa.array(np.full(len(rows), fold.cut), pa.timestamp("us"))
        named = {name: rows[name] for name in rows.column_names}
        return pa.table({"cut": cut, **named, **columns})

    def _amounts(self, snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray]:
        """Open amount that each row is about, and the share settled by each horizon."""
        cents = labels.open_cents(snapshot, self.level)
        share = np.full((len(snapshot), len(self.horizons)), np.nan)
        for k, horizon in enumerate(map(Horizon.parse, self.horizons)):
            if not horizon.from_due:
                days = [float(horizon.days)]
                share[:, [k]] = labels.shares(snapshot, self.level, self.split.end, days)
        return cents / 100, share

    def _intervals(
        self, fold: Fold, forecast: Forecast, found: labels.Durations, known: np.ndarray
    ) -> pa.Table:
        """Coverage of the 80 % intervals among rows whose interval is over."""
        levels = list(forecast.quantiles)
        if 0.1 not in levels or 0.9 not in levels:
            empty = {"cut": pa.array([], pa.timestamp("us")), "n": pa.array([], pa.int64())}
            return pa.table({**empty, "coverage": pa.array([], pa.float64())})
        low, high = (forecast.days[:, levels.index(q)] for q in (0.1, 0.9))
        inside = (high <= known) & ~broken_off(found.days, found.event, known)
        share = interval_coverage(
            found.days[inside], found.event[inside], low[inside], high[inside]
        )
        cut = pd.DatetimeIndex([fold.cut]).as_unit("us").to_numpy()
        return pa.table({"cut": cut, "n": [int(inside.sum())], "coverage": [share]})


def _days_ahead(snapshot: Snapshot, horizon: Horizon) -> np.ndarray:
    """Days from as_of to the end of a horizon, shape (n,); nan without a claim."""
    if horizon.from_due:
        return np.asarray(labels.due_offsets(snapshot) + horizon.days)
    return np.full(len(snapshot), float(horizon.days))
