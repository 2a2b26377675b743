"""Account histories as text, to be read by people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

Event = tuple[dt.datetime, int, str]
Row = dict[str, object]
_LATE = dt.time(23, 59)


def timeline(tables: dict[str, pa.Table], account_id: str, zone: str, title: str) -> str:
    """Write down everything that happened to an account, in the order of local time.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        The six tables of the ledger; `export.fees` and `export.milestones` as "fees" and
        "milestones" where there are any.
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
        *_contacts(mine["contacts"], mine["holds"], local),
        *_responses(mine["responses"], local),
        *_holds(mine["holds"]),
        *_milestones(mine.get("milestones", [])),
        *_fees(mine.get("fees", [])),
    ]
    lines = [title]
    day = None
    for at, _, text in sorted(events, key=lambda event: event[:2]):
        shown = f"{at:%Y-%m-%d %a}" if at.date() != day else " " * 14
        clock = "     " if at.time() in (dt.time(0), _LATE) else f"{at:%H:%M}"
        lines.append(f"{shown} {clock}  {text}")
        day = at.date()
    return "\n".join(lines)


def _invoices(rows: list[Row]) -> Iterator[Event]:
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


def _payments(rows: list[Row], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        what = "paid" if row["amount"] > 0 else "RETURNED"  # type: ignore[operator]
        target = row["invoice_id"] or "no reference"
        yield _at(row["paid_at"], zone), 2, f"{what} {row['amount']} ({target}, {row['method']})"


_STEPS = {
    "agency": ("handed over to the agency", "agency"),
    "court": ("applied for a court order", "court"),
    "stop": ("gave up", "do_not_contact"),
}


def _contacts(rows: list[Row], holds: list[Row], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        known = row["propensity"] is not None
        chance = f"p={row['propensity']:.2g}" if known else "p unknown"
        if row["channel"] == "none":
            yield _at(row["decided_at"], zone), 3, f"decided to wait ({chance})"
            continue
        if row["channel"] in _STEPS:
            at = _at(row["decided_at"], zone)
            text, kind = _STEPS[str(row["channel"])]
            done = any(hold["kind"] == kind and hold["from_on"] == at.date() for hold in holds)
            yield at, 3, ("-> " if done else "NOT DONE, nothing past due: ") + f"{text} ({chance})"
            continue
        offer = "" if row["offer"] == "none" else f", offers {row['offer']}"
        sent = "->" if row["cost"] else "NOT SENT, nothing left to remind of:"
        text = f"{sent} {row['channel']}, {row['tone']}{offer} ({chance})"
        yield _at(row["sent_at"], zone), 3, text


def _responses(rows: list[Row], zone: ZoneInfo) -> Iterator[Event]:
    for row in rows:
        text = f"   {row['kind']}"
        if row["amount"] is not None:
            text += f" {row['amount']} EUR"
        if row["due_on"] is not None:
            text += f" by {row['due_on']:%a %d %b}"
        yield _at(row["at"], zone), 4, text


_PLAIN = {"agency": "with the agency", "court": "in court", "do_not_contact": "written off"}


def _holds(rows: list[Row]) -> Iterator[Event]:
    for row in rows:
        if row["kind"] in _PLAIN and row["invoice_id"] is not None:
            continue
        at = dt.datetime.combine(row["from_on"], _LATE)  # type: ignore[arg-type]
        until = "until further notice" if row["to_on"] is None else f"to {row['to_on']:%a %d %b}"
        yield at, 5, f"   hold {row['kind']} {until} {row['invoice_id'] or ''}".rstrip()
    plain = [row for row in rows if row["kind"] in _PLAIN and row["invoice_id"] is not None]
    for day, kind, ids in _together(plain, "from_on"):
        # What is handed over is so at once with the decision, at six.
        clock = _LATE if kind == "do_not_contact" else dt.time(6)
        yield dt.datetime.combine(day, clock), 5, f"   {_PLAIN[kind]}: {ids}"


_REACHED = {
    "recalled": "back from the agency, unpaid",
    "served": "court order served",
    "not_served": "court order could not be served",
    "objected": "objected to the court order",
    "title": "enforcement order served, there is a title",
    "bailiff": "bailiff sent",
    "at_rest": "file put to rest",
}


def _milestones(rows: list[Row]) -> Iterator[Event]:
    for day, kind, ids in _together(rows, "on"):
        yield dt.datetime.combine(day, dt.time(10)), 1, f"   {_REACHED[kind]}: {ids}"


def _together(rows: list[Row], day: str) -> Iterator[tuple[dt.date, str, str]]:
    """Day and kind with all invoices that share them."""
    found: dict[tuple[dt.date, str], list[str]] = {}
    for row in rows:
        found.setdefault((row[day], row["kind"]), []).append(str(row["invoice_id"]))  # type: ignore[arg-type]
    for (on, kind), ids in found.items():
        yield on, kind, ", ".join(ids)


_FEES = {"agency_fee": "share of the agency", "court_fee": "court fee", "process": "costs"}


def _fees(rows: list[Row]) -> Iterator[Event]:
    for row in rows:
        at_once = row["contact_id"] is not None
        at = dt.datetime.combine(row["on"], dt.time(6) if at_once else _LATE)  # type: ignore[arg-type]
        name = _FEES[str(row["kind"])]
        if row["amount"] < 0:  # type: ignore[operator]
            name = "costs paid back by the customer"
        elif row["kind"] == "process" and not at_once:
            name = "costs of the bailiff"
        yield at, 6, f"   {name}: {abs(row['amount'])} EUR"  # type: ignore[arg-type]


def _at(value: object, zone: ZoneInfo) -> dt.datetime:
    assert isinstance(value, dt.datetime)
    return value.astimezone(zone).replace(tzinfo=None)
