"""Building blocks of a report: cards, tables, figures, sections, and how they become HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, StrictUndefined

from collectopt.evaluation.plots import Plot


@dataclass(frozen=True)
class Card:
    """One number that a reader should take away."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Column:
    """Title of a column; numbers are set to the right."""

    title: str
    number: bool = False
    css: str = ""


@dataclass(frozen=True)
class Cell:
    """Text of a cell; `best` sets it off."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row: its cells, each with its column."""

    cells: tuple[tuple[Cell, Column], ...]
    css: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        columns: Sequence[Column],
        rows: Iterable[Sequence[str | Cell]],
        css: Sequence[str] = (),
    ) -> Table:
        """Make a table; `css` names a class for each row, if given."""
        made = []
        for i, row in enumerate(rows):
            cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
            pairs = tuple(zip(cells, columns, strict=True))
            made.append(Row(pairs, css[i] if css else ""))
        return cls(tuple(columns), tuple(made))


@dataclass(frozen=True)
class Picture:
    """A figure as base64 PNG with its words."""

    data: str
    width: int
    alt: str
    caption: str
    conclusion: str = ""

    @classmethod
    def of(cls, plot: Plot, caption: str, *, conclusion: str = "", alt: str = "") -> Picture:
        """Render a figure with enough pixels for sharp screens."""
        width = round(float(plot.get_figwidth()) * 98)
        data = base64.b64encode(plot.png(170)).decode("ascii")
        return cls(data, width, alt or caption, caption, conclusion)


@dataclass(frozen=True)
class Block:
    """A table or a figure with a title, or a pair of blocks side by side."""

    title: str = ""
    table: Table | None = None
    figure: Picture | None = None
    pair: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Section:
    """A chapter: what it is about, what to conclude, and the evidence."""

    title: str
    lead: str = ""
    verdict: str = ""
    strong: bool = True
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    cards: tuple[Card, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        """Render as one HTML file without outside assets; the same page gives the same text."""
        source = resources.files("collectopt.evaluation").joinpath("templates/report.html.j2")
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=False, lstrip_blocks=False
        )
        template = environment.from_string(source.read_text(encoding="utf-8"))
        return template.render(
            title=self.title,
            subtitle=self.subtitle,
            cards=self.cards,
            sections=self.sections,
            facts=tuple(self.facts.items()),
        )
