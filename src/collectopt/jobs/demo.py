"""The demo: the whole way once on a simulated book."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectopt.jobs.tasks import Progress, value, write_report
from collectopt.models import PaymentModel
from collectopt.policy import FixedLadder, NextBestAction
from collectopt.simulation import Book


@dataclass(frozen=True)
class Printed:
    """A small table to print."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes
    ----------
    facts : dict
        Plain values.
    tables : tuple of Printed
    """

    facts: dict[str, Any]
    tables: tuple[Printed, ...]


def run(out: Path, *, accounts: int, seed: int, progress: Progress) -> Demo:
    """Simulate a book, fit, decide, report.

    Parameters
    ----------
    out : Path
        Folder; gets book/, policy/, decisions.parquet and report.html.
    accounts : int
    seed : int
    progress : Progress

    Returns
    -------
    Demo
    """
    with progress.step(f"simulating {accounts:,} accounts"):
        book = Book("shop", accounts=accounts, seed=seed)
        ledger = book.ledger()
        ledger.to_parquet(out / "book")
    with progress.step("fitting payment model and policy"):
        payment = PaymentModel(event="full", levels=("account",), max_rows=20_000)
        policy = NextBestAction(book.catalogue, payment).fit(ledger, as_of=book.as_of)
        policy.save(out / "policy")
    with progress.step("deciding"):
        decisions = policy.decide(ledger, as_of=book.as_of, rng=seed)
        decisions.to_parquet(out / "decisions.parquet")
        ladder = FixedLadder(book.catalogue).fit(ledger, as_of=book.as_of)
        steps = ladder.decide(ledger, as_of=book.as_of)
    title = "Simulated book: demo report"
    facts = write_report(
        out / "report.html",
        ledger,
        policy,
        decisions=decisions,
        title=title,
        as_of=book.as_of.isoformat(),
        progress=progress,
    )
    facts |= {
        "command": "demo",
        "decisions": decisions.counts(),
        "value": round(value(decisions), 2),
        "report": str(out / "report.html"),
    }
    mine, other = decisions.counts(), steps.counts()
    channels = list(dict.fromkeys([*mine, *other]))
    mix = [[c, f"{mine.get(c, 0):,}", f"{other.get(c, 0):,}"] for c in channels]
    scores = _scores(facts["metrics"])
    examples = _examples(decisions.table.to_pylist())
    return Demo(
        facts,
        (
            Printed(
                "AUC / log-loss on earlier cuts (simulated)",
                ["paid within", "PaymentModel", "shrunken rate", "base rate"],
                scores,
            ),
            Printed("Decisions (accounts)", ["channel", "next-best action", "ladder"], mix),
            Printed("Three of them", ["account", "action", "EUR", "why"], examples),
        ),
    )


def _scores(metrics: dict[str, float]) -> list[list[str]]:
    """One row a horizon, the model beside its rivals."""
    horizons = [name.removeprefix("log_loss_") for name in metrics if name.startswith("log_loss_")]
    return [
        [horizon]
        + [
            f"{metrics[f'{who}auc_{horizon}']:.3f} / {metrics[f'{who}log_loss_{horizon}']:.4f}"
            for who in ("", "ShrunkenRate_", "BaseRate_")
        ]
        for horizon in horizons
    ]


def _examples(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Pick the most valuable decision of each of three channels."""
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: -(r["value"] or 0.0)):
        best.setdefault(row["channel"], row)
    return [
        [row["account_id"], row["channel"], f"{row['value']:.2f}", row["reasons"][0]]
        for row in list(best.values())[:3]
    ]
