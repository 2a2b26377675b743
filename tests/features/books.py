"""Small random books with everything that can be odd: ties, part payments, returns, time zones."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from collectopt.schema import Ledger

Rows = list[dict[str, Any]]
Book = dict[str, Rows]

START = date(2025, 1, 1)
ONE_US = timedelta(microseconds=1)
SPAN = 430
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", None)
CHANNELS = ("email", "phone", "letter", "none")
TONES = ("friendly", "neutral", "firm", None)
RESPONSES = (
    "delivered", "bounced", "opened", "opened", "clicked", "answered", "promised", "promised",
    "promised", "plan_accepted", "plan_broken", "promise_broken", "refused", "disputed",
    "dispute_resolved", "complained", "opted_out", "visited_portal",
)  # fmt: skip
HOLDS = (
    "dispute", "dispute", "dispute", "dispute", "promise", "promise", "payment_plan",
    "payment_plan", "insolvency",
    "deceased", "breathing_space", "vulnerable", "service", "do_not_contact", "agency", "court",
)  # fmt: skip
INSTANTS = {"payments": ("paid_at",), "contacts": ("sent_at", "decided_at"), "responses": ("at",)}
DATES = {
    "accounts": ("customer_since",),
    "invoices": ("issued_on", "due_on"),
    "responses": ("due_on",),
    "holds": ("from_on", "to_on"),
}
COLUMNS = {
    "accounts": ("account_id", "customer_type", "country", "timezone", "customer_id",
                 "creditor_id", "customer_since", "credit_score", "lifetime_value", "size",
                 "trade"),
    "invoices": ("invoice_id", "account_id", "issued_on", "due_on", "amount", "currency", "kind",
                 "article", "weight"),
    "payments": ("payment_id", "account_id", "paid_at", "amount", "invoice_id"),
    "contacts": ("contact_id", "account_id", "sent_at", "decided_at", "channel", "tone"),
    "responses": ("account_id", "at", "kind", "contact_id", "amount", "due_on"),
    "holds": ("account_id", "kind", "from_on", "to_on", "invoice_id"),
}  # fmt: skip
OWN = ("size", "trade", "article", "weight")


def zone(account: dict[str, Any]) -> ZoneInfo:
    return ZoneInfo(account["timezone"] or "UTC")


def midnight(day: date, where: ZoneInfo) -> datetime:
    """Instant at which a local day begins."""
    return datetime.combine(day, time(), where).astimezone(UTC)


def local_day(moment: datetime, where: ZoneInfo) -> date:
    return moment.astimezone(where).date()


def _moment(rng: random.Random, first: int = 0) -> datetime:
    """Whole hours of few days, so that equal times are common."""
    day = START + timedelta(days=rng.randrange(first, SPAN))
    return datetime.combine(day, time(rng.choice((0, 5, 8, 12, 18, 22, 23))), UTC)


def _cents(rng: random.Random, top: int = 20_000) -> Decimal:
    return Decimal(rng.choice((100, 2500, 2500, rng.randrange(1, top)))) / 100


def random_book(seed: int, *, days_only: bool = False, accounts: int = 4) -> Book:
    """Draw a valid book. `days_only`: payments and responses come as dates without a time."""
    rng = random.Random(seed)
    book: Book = {name: [] for name in COLUMNS}
    for i in range(accounts):
        _account(rng, book, i)
    if days_only:
        _cut_to_days(book)
    for table in ("invoices", "payments", "contacts", "responses", "holds"):
        rng.shuffle(book[table])
    return book


def _account(rng: random.Random, book: Book, i: int) -> None:
    account = {
        "account_id": f"A{i}",
        "customer_type": rng.choice(("consumer", "business")),
        "country": rng.choice(("DE", "AT")),
        "timezone": rng.choice(ZONES),
        "customer_id": rng.choice(("C1", "C2", None)),
        "creditor_id": rng.choice(("K1", "K2", None)),
        "customer_since": rng.choice((None, START - timedelta(days=90), START + timedelta(200))),
        "credit_score": rng.choice((None, 1.5, 600.0)),
        "lifetime_value": rng.choice((None, 80.0, 900.0)),
        "size": rng.choice((None, 3, 4)),
        "trade": rng.choice((None, "shop", "bar")),
    }
    book["accounts"].append(account)
    for j in range(rng.randrange(0 if i else 1, 7)):
        _invoice(rng, book, account, f"I{i}{j}")
    for j in range(rng.randrange(0, 5)):
        paid = {
            "payment_id": f"P{i}x{j}",
            "account_id": f"A{i}",
            "paid_at": _moment(rng),
            "amount": _cents(rng) * rng.choice((1, 1, 1, -1)),
            "invoice_id": None,
        }
        book["payments"].append(paid)
    for j in range(rng.randrange(0, 9)):
        _contact(rng, book, f"A{i}", f"C{i}{j}")
    for _ in range(rng.randrange(0, 8)):
        _response(rng, book, f"A{i}", None, _moment(rng))
    claims = [row for row in book["invoices"] if row["account_id"] == f"A{i}"]
    own = [row["invoice_id"] for row in claims]
    for _ in range(rng.randrange(0, 9)):
        some_day = START + timedelta(days=rng.randrange(SPAN))
        start = rng.choice((some_day, *(row["issued_on"] for row in claims)))
        hold = {
            "account_id": f"A{i}",
            "kind": rng.choice(HOLDS),
            "from_on": start,
            "to_on": rng.choice((None, start + timedelta(days=rng.randrange(60)))),
            "invoice_id": rng.choice((None, *own)),
        }
        book["holds"].append(hold)


def _invoice(rng: random.Random, book: Book, account: dict[str, Any], name: str) -> None:
    issued = START + timedelta(days=rng.randrange(SPAN - 60))
    credit = rng.random() < 0.12
    amount = _cents(rng)
    invoice = {
        "invoice_id": name,
        "account_id": account["account_id"],
        "issued_on": issued,
        "due_on": issued + timedelta(days=rng.choice((0, 14, 14, 30))),
        "amount": -amount if credit else amount,
        "currency": "EUR",
        "kind": "credit_note" if credit else rng.choice(("invoice", None, "fee")),
        "article": rng.choice((None, "a", "b")),
        "weight": rng.choice((None, 0.5, 2.5)),
    }
    book["invoices"].append(invoice)
    if credit or rng.random() < 0.3:
        return
    late = rng.choice((-3, 0, 1, 5, 29, 31, 45))
    day = max(issued, invoice["due_on"] + timedelta(days=late))
    shares = rng.choice(((1,), (1,), (1,), (0.5,), (0.5, 0.5), (1, -1), (1, -1, 1), (1.2,)))
    for k, share in enumerate(shares):
        local = datetime.combine(day, time(rng.choice((0, 9, 23))), zone(account))
        paid = {
            "payment_id": f"P{name}{k}",
            "account_id": account["account_id"],
            "paid_at": local.astimezone(UTC),
            "amount": (amount * Decimal(str(share))).quantize(Decimal("0.01")),
            "invoice_id": name,
        }
        if paid["amount"]:
            book["payments"].append(paid)
        day += timedelta(days=rng.choice((0, 1, 6, 40)))


def _contact(rng: random.Random, book: Book, account: str, name: str) -> None:
    paid = [p["paid_at"] for p in book["payments"] if p["account_id"] == account]
    sent = rng.choice((_moment(rng), _moment(rng), rng.choice(paid or [_moment(rng)])))
    contact = {
        "contact_id": name,
        "account_id": account,
        "sent_at": sent,
        "decided_at": rng.choice((None, None, sent - timedelta(days=3))),
        "channel": rng.choice(CHANNELS),
        "tone": rng.choice(TONES),
    }
    book["contacts"].append(contact)
    for _ in range(rng.choice((0, 0, 1, 2))):
        later = sent + timedelta(hours=rng.choice((0, 1, 30, 1500)))
        _response(rng, book, account, name, later)


def _response(
    rng: random.Random, book: Book, account: str, contact: str | None, at: datetime
) -> None:
    kind = rng.choice(RESPONSES)
    promised = kind == "promised"
    due = at.date() + timedelta(days=rng.choice((1, 5, 20)))
    response = {
        "account_id": account,
        "at": at,
        "kind": kind,
        "contact_id": contact,
        "amount": rng.choice((None, _cents(rng, 5_000))) if promised else None,
        "due_on": rng.choice((None, due)) if promised else None,
    }
    book["responses"].append(response)
    if promised and rng.random() < 0.5:  # some promises are kept
        paid = {
            "payment_id": f"P{account}r{len(book['payments'])}",
            "account_id": account,
            "paid_at": at + timedelta(hours=rng.choice((0, 30, 300))),
            "amount": response["amount"] or Decimal(5),
            "invoice_id": None,
        }
        book["payments"].append(paid)


def _cut_to_days(book: Book) -> None:
    """Keep the local day alone of payments and responses."""
    zones = {account["account_id"]: zone(account) for account in book["accounts"]}
    for table, column in (("payments", "paid_at"), ("responses", "at")):
        for row in book[table]:
            row[column] = local_day(row[column], zones[row["account_id"]])


def frame(table: str, rows: Rows) -> pa.Table:
    """Typed Arrow table of rows, also of none."""
    columns = {}
    for column in COLUMNS[table]:
        values = [row[column] for row in rows]
        kind = None
        if column in INSTANTS.get(table, ()):
            days = any(value is not None and not isinstance(value, datetime) for value in values)
            kind = pa.date32() if days else pa.timestamp("us", tz="UTC")
        elif column in DATES.get(table, ()):
            kind = pa.date32()
        elif column == "amount":
            kind = pa.decimal128(18, 2)
        elif column in {"credit_score", "lifetime_value", "size", "weight"}:
            kind = pa.float64()
        else:
            kind = pa.string()
        columns[column] = pa.array(values, kind)
    return pa.table(columns)


def to_ledger(book: Book, *, own: tuple[str, ...] = OWN) -> Ledger:
    return Ledger.from_frames(
        **{name: frame(name, rows) for name, rows in book.items()}, features=own
    )


def event_times(book: Book) -> list[datetime]:
    """Instants of payments, contacts and responses (those that are not mere days)."""
    times = [row["sent_at"] for row in book["contacts"]]
    times += [row["paid_at"] for row in book["payments"]]
    times += [row["at"] for row in book["responses"]]
    return [moment for moment in times if isinstance(moment, datetime)]


def edge_rows(book: Book) -> Rows:
    """For each account the instant from which each of its facts is known, and 1 us later."""
    rows: Rows = []
    for account in book["accounts"]:
        where = zone(account)
        edges: set[datetime] = set()
        for table, column in (
            ("invoices", "issued_on"),
            ("invoices", "due_on"),
            ("payments", "paid_at"),
            ("contacts", "sent_at"),
            ("responses", "at"),
            ("responses", "due_on"),
            ("holds", "from_on"),
        ):
            for row in book[table]:
                if row["account_id"] == account["account_id"] and row[column] is not None:
                    edges.add(_known_at(row[column], where))
        for edge in sorted(edges):
            for as_of in (edge, edge + ONE_US):
                rows.append({"account_id": account["account_id"], "as_of": as_of})
    return [row | {"invoice_id": None} for row in rows]


def _known_at(when: date, where: ZoneInfo) -> datetime:
    if isinstance(when, datetime):
        return when
    return midnight(when + timedelta(days=1), where) - ONE_US


def random_rows(
    seed: int, book: Book, n: int = 24, *, pick: Callable[[datetime], bool] = lambda _: True
) -> Rows:
    """Rows to compute features for: at odd times, around local midnights and at the very instants
    of events; some name a claim."""
    rng = random.Random(seed)
    rows: Rows = []
    events = event_times(book)
    while len(rows) < n:
        account = rng.choice(book["accounts"])
        day = START + timedelta(days=rng.randrange(-5, SPAN + 60))
        as_of = rng.choice(
            (
                midnight(day, zone(account)),
                midnight(day, zone(account)) - ONE_US,
                datetime.combine(day, time(rng.randrange(24), 30), UTC),
                rng.choice(events or [datetime.combine(day, time(), UTC)]),
            )
        )
        if not pick(as_of):
            continue
        here = local_day(as_of, zone(account))
        own = [
            row["invoice_id"]
            for row in book["invoices"]
            if row["account_id"] == account["account_id"]
            and row["issued_on"] <= here
            and row["amount"] > 0
        ]
        rows.append(
            {
                "account_id": account["account_id"],
                "as_of": as_of,
                "invoice_id": rng.choice((None, *own)),
            }
        )
    return rows
