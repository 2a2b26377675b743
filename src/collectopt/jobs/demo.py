"""The demo: the whole way once on a simulated book."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectopt.jobs.tasks import Progress, value, write_report
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
        policy = NextBestAction(book.catalogue).fit(ledger, as_of=book.as_of)
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
    scores = [[name, f"{score:.4f}"] for name, score in facts["metrics"].items()]
    examples = _examples(decisions.table.to_pylist())
    return Demo(
        facts,
        (
            Printed("Scores on earlier cuts (simulated)", ["score", "value"], scores),
            Printed("Decisions (accounts)", ["channel", "next-best action", "ladder"], mix),
            Printed("Three of them", ["account", "action", "EUR", "why"], examples),
        ),
    )


def _examples(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Pick the most valuable decision of each of three channels."""
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: -(r["value"] or 0.0)):
        best.setdefault(row["channel"], row)
    return [
        [row["account_id"], row["channel"], f"{row['value']:.2f}", row["reasons"][0]]
        for row in list(best.values())[:3]
    ]
