"""Account histories as text, to be read by people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

Event = tuple[dt.datetime, int, str]
_LATE = dt.time(23, 59)


def timeline(tables: dict[str, pa.Table], account_id: str, zone: str, title: str) -> str:
    """Write down everything that happened to an account, in the order of local time.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        The six tables.
    account_id : str
    zone : str
        IANA zone of the times printed.
    title : str
        First line.
    """
    mine = {
        name: table.filter(pc.equal(table["account_id"], account_id)).to_pylist()
        for name, table in tables.items()
    }
    local = ZoneInfo(zone)
    events = [
        *_invoices(mine["invoices"]),
        *_payments(mine["payments"], local),
        *_contacts(mine["contacts"], local),
        *_responses(mine["responses"], local),
        *_holds(mine["holds"]),
    ]
    lines = [title]
    day = None
    for at, _, text in sorted(events, key=lambda event: event[:2]):
        shown = f"{at:%Y-%m-%d %a}" if at.date() != day else " " * 14
        clock = "     " if at.time() in (dt.time(0), _LATE) else f"{at:%H:%M}"
        lines.append(f"{shown} {clock}  {text}")
        day = at.date()
    return "\n".join(lines)


def _invoices(rows: list[dict[str, object]]) -> Iterator[Event]:
    for row in rows:
        at = dt.datetime.combine(row["issued_on"], dt.time(0))  # type: ignore[arg-type]
        if row["kind"] == "credit_note":
            yield at, 0, f"credit note {row['invoice_id']}: {row['amount']} EUR"
        else:
            yield (
                at,
                0,
                f"invoice {row['invoice_id']}: {row['amount']} EUR, due {row['due_on']:%a %d %b}",
            )


def _payments(rows: list[dict[str, object]], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        what = "paid" if row["amount"] > 0 else "RETURNED"  # type: ignore[operator]
        target = row["invoice_id"] or "no reference"
        yield _at(row["paid_at"], zone), 2, f"{what} {row['amount']} ({target}, {row['method']})"


def _contacts(rows: list[dict[str, object]], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        known = row["propensity"] is not None
        chance = f"p={row['propensity']:.2g}" if known else "p unknown"
        if row["channel"] == "none":
            yield _at(row["decided_at"], zone), 3, f"decided to wait ({chance})"
            continue
        offer = "" if row["offer"] == "none" else f", offers {row['offer']}"
        sent = "->" if row["cost"] else "NOT SENT, nothing left to remind of:"
        text = f"{sent} {row['channel']}, {row['tone']}{offer} ({chance})"
        yield _at(row["sent_at"], zone), 3, text


def _responses(rows: list[dict[str, object]], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        text = f"   {row['kind']}"
        if row["amount"] is not None:
            text += f" {row['amount']} EUR"
        if row["due_on"] is not None:
            text += f" by {row['due_on']:%a %d %b}"
        yield _at(row["at"], zone), 4, text


def _holds(rows: list[dict[str, object]]) -> Iterator[Event]:
    for row in rows:
        at = dt.datetime.combine(row["from_on"], _LATE)  # type: ignore[arg-type]
        until = "until further notice" if row["to_on"] is None else f"to {row['to_on']:%a %d %b}"
        yield at, 5, f"   hold {row['kind']} {until} {row['invoice_id'] or ''}".rstrip()


def _at(value: object, zone: ZoneInfo) -> dt.datetime:
    assert isinstance(value, dt.datetime)
    return value.astimezone(zone).replace(tzinfo=None)
