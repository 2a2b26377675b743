"""One HTML file about a simulated run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from collectopt import __version__
from collectopt.evaluation.page import Block, Card, Column, Page, Picture, Section, Table
from collectopt.schema.atomic import atomic_file
from collectopt.simulation.meter import FIGURES
from collectopt.simulation.result import Result

_CARDS = ("recovered", "cost", "net_value")


def write_report(result: Result, path: str | Path, facts: Mapping[str, str] | None = None) -> Path:
    """Write tables, differences and pictures of a run as one file; it appears whole or not at all.

    Parameters
    ----------
    result : Result
    path : str or Path
        The HTML file.
    facts : mapping of str to str, optional
        Further lines for the end of the report.

    Returns
    -------
    Path
        The file.
    """
    page = Page(
        title="Simulated run",
        subtitle=result.title,
        cards=tuple(_cards(result)),
        sections=(_means(result), *_differences(result), _pictures(result)),
        facts={**(facts or {}), "collectopt": __version__},
    )
    target = Path(path)
    with atomic_file(target) as part:
        part.write_text(page.html(), encoding="utf-8")
    return target


def _cards(result: Result) -> list[Card]:
    """Headline of the last policy against the reference."""
    if len(result.policies) == 1:
        return []
    name = next(p for p in reversed(result.policies) if p != result.reference)
    cells = result.differences()[name]
    labels = [figure.name for figure in FIGURES]
    return [
        Card(
            FIGURES[labels.index(key)].label.capitalize(),
            cells[labels.index(key)],
            f"{name} less {result.reference}",
        )
        for key in _CARDS
    ]


def _means(result: Result) -> Section:
    cells = result.means()
    columns = [Column("Figure"), *(Column(name, number=True) for name in cells), Column("Meaning")]
    rows = [
        [figure.label, *(cells[name][i] for name in cells), f"{figure.unit}: {figure.meaning}"]
        for i, figure in enumerate(FIGURES)
    ]
    lead = "Every policy met the same world and the same luck. All of it is simulated."
    if result.seeds > 1:
        lead += " ± is half of the 95 % interval of the mean over other luck."
    return Section("What each policy brought", lead, blocks=(Block(table=Table.of(columns, rows)),))


def _differences(result: Result) -> list[Section]:
    cells = result.differences()
    if not cells:
        return []
    columns = [Column("Figure"), *(Column(name, number=True) for name in cells)]
    rows = [[figure.label, *(cells[name][i] for name in cells)] for i, figure in enumerate(FIGURES)]
    lead = f"Paired over {result.seeds} replicates on the same luck, so far sharper than the means."
    if result.seeds == 1:
        lead = "A single replicate: no interval can be given. Run more seeds for one."
    title = f"Difference to {result.reference}"
    return [Section(title, lead, blocks=(Block(table=Table.of(columns, rows)),))]


def _pictures(result: Result) -> Section:
    return Section(
        "How it went",
        blocks=(
            Block(
                "Recovery",
                figure=Picture.of(
                    result.plot_recovery(),
                    "Share of the invoiced amount paid by days after the due date (simulated).",
                ),
            ),
            Block(
                "Cash", figure=Picture.of(result.plot_cash(), "Cash collected so far (simulated).")
            ),
            Block(
                "Actions",
                figure=Picture.of(
                    result.plot_actions(), "What was sent each week per 1,000 accounts (simulated)."
                ),
            ),
            *_frontier(result),
        ),
    )


def _frontier(result: Result) -> list[Block]:
    if len(result.policies) == 1:
        return []
    caption = "Process cost against recovery; net value beside each point (simulated)."
    return [Block("Cost and recovery", figure=Picture.of(result.plot_frontier(), caption))]
