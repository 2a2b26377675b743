"""How a catalogue shows itself: in one line, in a few, and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collectopt.schema.catalogue import Catalogue, Channel


def line(catalogue: Catalogue) -> str:
    """Say in one line what a catalogue is about."""
    c = catalogue
    parts = (c.channel_names, c.tone_names, c.offers.names, c.templates)
    names = ("channels", "tones", "offers", "templates")
    sizes = [
        f"{len(part)} {name if len(part) != 1 else name[:-1]}"
        for part, name in zip(parts, names, strict=True)
        if part
    ]
    return f"Catalogue({', '.join(sizes)}: {len(c.actions):,} actions; law: {c.jurisdiction})"


def rows(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Say what is in a catalogue, by name; what is not set is left out."""
    c = catalogue
    yield "law", f"{c.jurisdiction}, {c.timezone}"
    yield from (("channel", _channel(channel, c.currency)) for channel in c.channels)
    yield "tones", " < ".join(c.tone_names)
    yield "offers", ", ".join(c.offers.names)
    days = "" if c.cadence_days == 1 else f", on each of {c.cadence_days} days"
    yield "hours", ", ".join(f"{hour:g}" for hour in c.slots.hours) + days
    limits = c.limits.model_dump(exclude_none=True)
    yield "limits", ", ".join(f"{name} {value:,g}" for name, value in limits.items())
    yield "outcomes", f"counted for {c.horizon_days} days, {c.discount_rate:g} a year"
    yield "exploring", f"{c.explore:g} of the accounts at most"
    ways = ("agency", "court", "stop", "stages", "exploration", "waits")
    there = [name for name in ways if getattr(c, name) is not None]
    if there:
        yield "also", ", ".join(f"[{name}]" for name in there)
    if c.value.credit_standing_cost:
        yield "credit standing", f"{c.value.credit_standing_cost:,g} {c.currency} a step"
    if c.house.tones:
        yield "table of tones", f"{len(c.house.tones)} entries"
    if c.templates:
        yield "templates", ", ".join(template.name for template in c.templates)


def text(catalogue: Catalogue) -> str:
    """Say what is in a catalogue, one thing a line."""
    return "\n".join([line(catalogue), *(f"  {name:<14} {said}" for name, said in rows(catalogue))])


def table(catalogue: Catalogue) -> str:
    """Say it as HTML."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(said)}</td></tr>"
        for name, said in rows(catalogue)
    )
    return f"<table><caption>{html.escape(line(catalogue))}</caption>{cells}</table>"


def _channel(channel: Channel, currency: str) -> str:
    more = [f"{channel.minutes:g} min"] if channel.minutes else []
    more += [] if channel.capacity is None else [f"{channel.capacity:,} a run"]
    if channel.hours is not None:
        more.append(f"{channel.hours[0]:g} to {channel.hours[1]:g} h")
    if channel.weekdays is not None:
        week = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
        more.append(" ".join(week[day] for day in channel.weekdays))
    price = f"{channel.name} {channel.cost:.2f} {currency}"
    return f"{price} ({', '.join(more)})" if more else price
