"""Test cash-flow forecasts through time, beside the ageing table that many books are planned by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.evaluation.metrics import wilson
from collectopt.evaluation.plots import Plot
from collectopt.evaluation.splits import RollingSplit
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.cashflow import CashFlow, CashFlowModel
from collectopt.models.openbook import cash_by_week, claims_at
from collectopt.models.recalibration import earlier_cuts
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]

#: Days past due at which a bucket begins; before the first a claim is not due.
BUCKETS = (1, 31, 61, 91, 181)


class AgeingTable:
    """Share of the open amount that came in the past, by age bucket and week ahead.

    Parameters
    ----------
    weeks : int
    cuts : int
        Earlier days from which the shares are taken.
    every : str
        Days between them.

    Attributes
    ----------
    shares : (buckets, weeks) float64
        Known after ``fit``; a bucket that was always empty has the share of the whole book.
    """

    shares: Float

    def __init__(self, *, weeks: int = 13, cuts: int = 12, every: str = "28D") -> None:
        self.weeks = weeks
        self.cuts = cuts
        self.every = every

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Look at what came within weeks that were over before `as_of`."""
        moment = to_instant(as_of, ledger.timezone)
        gap = 7 * self.weeks + 1
        n = len(BUCKETS) + 1
        opened, came = np.zeros(n), np.zeros((n, self.weeks))
        for cut in earlier_cuts(moment, ledger.timezone, n=self.cuts, every=self.every, gap=gap):
            rows, amount, _ = claims_at(Snapshot(ledger, cut))
            bucket = _bucket(rows)
            opened += np.bincount(bucket, amount, minlength=n)
            np.add.at(came, bucket, np.nan_to_num(cash_by_week(rows, self.weeks, moment)))
        if not opened.sum() > 0.0:
            raise InputError.of(
                "invoices",
                "issued_on",
                expected=f"open claims at least {gap} days before {moment.astype('M8[D]')}",
                found="none",
            )
        whole = came.sum(axis=0) / opened.sum()
        empty = opened == 0.0
        self.shares = np.where(empty[:, None], whole, came / np.where(empty, 1.0, opened)[:, None])
        return self

    def predict(self, snapshot: Snapshot) -> Float:
        """Give the expected cash of the open claims in each week, (weeks,)."""
        if not hasattr(self, "shares"):
            raise NotFittedError.of(self, "predict")
        rows, amount, _ = claims_at(snapshot)
        opened = np.bincount(_bucket(rows), amount, minlength=len(BUCKETS) + 1)
        return np.asarray(opened @ self.shares)


def _bucket(rows: Snapshot) -> npt.NDArray[np.int64]:
    late = rows.claims.filter(rows.claims["subject"])["dpd"].to_numpy()
    return np.asarray(np.searchsorted(np.array(BUCKETS), late, side="right"), dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class CashFlowBacktest:
    """Cash-flow forecasts made at past cuts, judged by what came; prints as one table.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a cut and week that was over: cut, week, expected, lower, upper, seen, ageing (the
        rival), and the running totals of them with the prefix ``cumulative_``.
    flows : tuple of CashFlow
        The forecasts, by cut.
    currency : str
    level : float
        Nominal coverage.
    """

    rows: pd.DataFrame
    flows: tuple[CashFlow, ...]
    currency: str
    level: float

    @cached_property
    def table(self) -> pd.DataFrame:
        """Scores by week ahead and over all, for single weeks and for running totals.

        Columns of ("week" or "cumulative"), week (0: all), n, coverage with coverage_lower and
        coverage_upper (Wilson, 95 %, as if rows were independent, which running totals are not),
        bias and ageing_bias (expected over seen, less 1), mape and ageing_mape (mean absolute
        error as a share of what came; rows where nothing came do not count).
        """
        records = []
        for of, prefix in (("week", ""), ("cumulative", "cumulative_")):
            records.append((of, 0, *_scores(self.rows, prefix)))
            for week, part in self.rows.groupby("week"):
                records.append((of, week, *_scores(part, prefix)))
        return pd.DataFrame(records, columns=["of", "week", *_SCORES])

    def to_pandas(self) -> pd.DataFrame:
        """Give the scores: :attr:`table`."""
        return self.table

    def plot(self, cut: int = -1) -> Plot:
        """Draw the forecast of one cut (by position) beside what came."""
        flow = self.flows[cut]
        own = self.rows[self.rows["cut"] == flow.as_of].set_index("week")["seen"]
        return flow.plot(own.reindex(flow.table["week"]).to_numpy())

    def _head(self) -> str:
        cuts = self.rows["cut"]
        return (
            f"Cash flow at {cuts.nunique()} cuts from {cuts.min():%Y-%m-%d} to "
            f"{cuts.max():%Y-%m-%d} in {self.currency}; nominal coverage {self.level:.0%}, "
            "week 0 = all weeks"
        )

    def __repr__(self) -> str:
        shown = self.table.drop(columns=["coverage_lower", "coverage_upper"])
        return f"{self._head()}\n{shown.to_string(index=False, float_format='{:.3f}'.format)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format="{:.3f}".format)
        return f"<p>{escape(self._head())}</p>{table}"


_SCORES = (
    "n", "coverage", "coverage_lower", "coverage_upper", "bias", "ageing_bias", "mape",
    "ageing_mape",
)  # fmt: skip


def _scores(rows: pd.DataFrame, prefix: str) -> tuple[float, ...]:
    seen, own, rival, low, high = (
        rows[f"{prefix}{name}"].to_numpy(np.float64)
        for name in ("seen", "expected", "ageing", "lower", "upper")
    )
    share = float(((low <= seen) & (seen <= high)).mean())
    total = seen.sum()
    some = seen > 0.0
    bias = [float(x.sum() / total - 1.0) if total > 0.0 else np.nan for x in (own, rival)]
    misses = [
        float((np.abs(x - seen)[some] / seen[some]).mean()) if some.any() else np.nan
        for x in (own, rival)
    ]
    return (len(rows), share, *wilson(share, len(rows)), *bias, *misses)


def backtest_cash_flow(
    model: Callable[[], CashFlowModel],
    ledger: Ledger,
    split: RollingSplit,
    *,
    ageing: AgeingTable | None = None,
    seed: int = 0,
) -> CashFlowBacktest:
    """Forecast the cash of the open book at past cuts, and compare with what came.

    At each cut the model and the ageing table are fitted on what was known before it. Weeks that
    were not over at the end of the split are left out.

    Parameters
    ----------
    model : callable
        Makes a new, unfitted :class:`~collectopt.models.CashFlowModel`.
    ledger : Ledger
        Of one currency.
    split : RollingSplit
        From :func:`~collectopt.evaluation.rolling_cuts`; one forecast a cut, at the cut.
    ageing : AgeingTable, optional
        The rival, fitted anew at each cut; the default looks at a year.
    seed : int
        Of the simulated futures.

    Returns
    -------
    CashFlowBacktest

    Raises
    ------
    InputError
        No week was over, or the history before a cut is too short to learn from.
    """
    flows, parts = [], []
    streams = np.random.default_rng(seed).spawn(len(split.cuts))
    for cut, rng in zip(split.cuts, streams, strict=True):
        fitted = model().fit(ledger, cut)
        snapshot = Snapshot(ledger, cut)
        flow = fitted.predict(snapshot, rng=rng)
        table = AgeingTable(weeks=fitted.weeks) if ageing is None else ageing
        planned = table.fit(ledger, cut).predict(snapshot)
        rows, _, _ = claims_at(snapshot)
        flows.append(flow)
        parts.append(_judged(flow, cash_by_week(rows, fitted.weeks, split.end), planned))
    found = pd.concat(parts, ignore_index=True)
    if not len(found):
        raise InputError.of(
            "backtest_cash_flow",
            "split",
            expected="a week that is over at the end",
            found=f"none before {split.end}",
            hint="Move the cuts back.",
        )
    return CashFlowBacktest(found, tuple(flows), flows[0].currency, flows[0].level)


def _judged(flow: CashFlow, came: Float, ageing: Float) -> pd.DataFrame:
    seen = came.sum(axis=0)
    table = flow.table.drop(columns=["from", "to"])
    table.insert(0, "cut", flow.as_of)
    for name, values in (("seen", seen), ("ageing", ageing)):
        table[name] = values
        table[f"cumulative_{name}"] = np.cumsum(values)
    return table[table["seen"].notna()]
