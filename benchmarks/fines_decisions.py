"""Decide for every fine that was open on 2011-01-01, and report on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from rich.console import Console

import collectopt as co
from collectopt.evaluation import BacktestResult, RollingSplit
from collectopt.models import PaymentModel
from fines_rows import TIMEZONE, YEARS, Rivals, Target

AS_OF = "2011-01-01"
RIVALS = ("base rate", "shrunken rate", "naive cell", "LightGBM untuned")
#: The log knows letters alone; e-mail is what the office might add.
CATALOGUE = {
    "horizon_days": 28,
    "cadence_days": 7,
    "timezone": TIMEZONE,
    "explore": 0.05,
    "channels": [
        {"name": "letter", "cost": 1.2, "capacity": 4000},
        {"name": "email", "cost": 0.05},
    ],
    "tones": {"order": ["friendly", "neutral", "firm"]},
    "slots": {"hours": [9]},
    "limits": {"contacts_per_7_days": 1},
}


def decide(
    ledger: co.Ledger,
    out: Path,
    forecasts: Mapping[Target, pd.DataFrame],
    rivals: Mapping[Target, Rivals],
    console: Console,
) -> None:
    """Fit a policy, decide, write decisions.parquet, report.html and creation.html."""
    catalogue = co.Catalogue.from_dict(CATALOGUE)
    began = time.monotonic()
    with console.status("fitting the policy"):
        payment = PaymentModel(event="full", levels=("account",))
        policy = co.NextBestAction(catalogue, payment=payment).fit(ledger, as_of=AS_OF)
    fitted = time.monotonic() - began
    with console.status("deciding"):
        decisions = policy.decide(ledger, as_of=AS_OF, rng=0)
    took = time.monotonic() - began - fitted
    decisions.to_parquet(out / "decisions.parquet")
    channels = decisions.to_pandas()["channel"].value_counts()
    console.print(
        f"{channels.sum():,} open accounts as of {AS_OF}: "
        + ", ".join(f"{n:,} {name}" for name, n in channels.items())
        + f"; fitted in {fitted:.0f} s, decided in {took:.0f} s"
    )
    with console.status("reporting"):
        facts = {"Horizons": "within H days counts the whole of day H"}
        co.evaluation.report(
            out / "report.html",
            title="Road traffic fines: at the penalty, and decisions",
            backtest=backtest("penalty", forecasts, rivals),
            kpis=co.evaluation.kpis(ledger, AS_OF),
            decisions=decisions,
            ledger=ledger,
            facts=facts,
        )
        co.evaluation.report(
            out / "creation.html",
            title="Road traffic fines: at their creation",
            backtest=backtest("creation", forecasts, rivals),
            ledger=ledger,
            facts=facts,
        )


def backtest(
    at: str, forecasts: Mapping[Target, pd.DataFrame], rivals: Mapping[Target, Rivals]
) -> BacktestResult:
    """Lay the walk-forward of one event out as the library's own backtest."""
    tables, targets = [], [target for target in forecasts if target.at == at]
    for target in targets:
        own, rival = forecasts[target], rivals[target]
        tables.append(
            own.drop(columns=["index", "rate", "model"]).assign(
                horizon=f"{target.days}D",
                paid=rival.y.astype(bool),
                weight=1.0,
                PaymentModel=own["model"],
                **dict(
                    zip(
                        RIVALS,
                        (rival.base, own["rate"], rival.naive, rival.untuned),
                        strict=True,
                    )
                ),
            )
        )
    nothing = pa.array([], pa.timestamp("us"))
    return BacktestResult(
        model="PaymentModel",
        rivals=RIVALS,
        event="any",
        level="account",
        horizons=tuple(f"{target.days}D" for target in targets),
        split=RollingSplit.from_cuts(
            [f"{year}-01-01" for year in YEARS], end="2013-06-19", timezone=TIMEZONE
        ),
        rows=pa.Table.from_pandas(pd.concat(tables), preserve_index=False),
        excluded=pa.table({"cut": nothing, "horizon": [], "rows": pa.array([], pa.int64())}),
        intervals=pa.table({"cut": nothing, "n": pa.array([], pa.int64()), "coverage": []}),
    )
