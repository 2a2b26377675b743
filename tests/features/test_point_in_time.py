"""Whatever happens at or after as_of changes no feature, not by one bit."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from collectopt.features import compute
from collectopt.schema import Snapshot

from .books import (
    ONE_US,
    SPAN,
    START,
    Book,
    event_times,
    local_day,
    midnight,
    random_book,
    random_rows,
    to_ledger,
    zone,
)

TIME = {"payments": "paid_at", "contacts": "sent_at", "responses": "at", "holds": "from_on"}
MUTATIONS = ("drop", "squeeze", "scramble")


def zones(book: Book):
    return {account["account_id"]: zone(account) for account in book["accounts"]}


def is_known(when, where, cut: datetime) -> bool:
    """Whether a row with this time (an instant, or only a day) is known at `cut`."""
    if isinstance(when, datetime):
        return when < cut
    return midnight(when + timedelta(days=1), where) <= cut


def first_time_after(when, where, cut: datetime):
    """The earliest time, of the kind of `when`, that is not known at `cut`."""
    return cut if isinstance(when, datetime) else local_day(cut, where)


def mutate(book: Book, cut: datetime, how: str, rng: random.Random) -> Book:
    """Change whatever is not known at `cut`; the result is a valid book too."""
    where = zones(book)
    changed: Book = {"accounts": list(book["accounts"])}
    for table, column in TIME.items():
        rows = []
        for row in book[table]:
            if is_known(row[column], where[row["account_id"]], cut):
                rows.append(row)
            elif how != "drop":
                rows.append(_other(table, row, where[row["account_id"]], cut, how, rng))
        changed[table] = rows
    needed = {row.get("invoice_id") for t in ("payments", "holds") for row in changed[t]}
    changed["invoices"] = []
    for row in book["invoices"]:
        if is_known(row["issued_on"], where[row["account_id"]], cut):
            changed["invoices"].append(row)
        elif row["invoice_id"] in needed or how != "drop":
            changed["invoices"].append(_other_invoice(row, rng))
    if not changed["invoices"]:  # a ledger needs one
        changed["invoices"] = [_other_invoice(book["invoices"][0], rng)]
    for hold in changed["holds"]:  # the written end of any hold may be changed later
        end = hold["from_on"] + timedelta(days=rng.randrange(90))
        changed["holds"][changed["holds"].index(hold)] = hold | {"to_on": rng.choice((None, end))}
    if how == "add":
        _add(changed, where, cut, days_only=_days_only(book))
    return changed


def _other(table: str, row, where, cut: datetime, how: str, rng: random.Random):
    column = TIME[table]
    row = dict(row)
    if how == "squeeze":
        row[column] = first_time_after(row[column], where, cut)
    elif how == "scramble":
        row[column] += timedelta(days=rng.randrange(200))
    if table == "payments":
        row["amount"] = row["amount"] * rng.choice((-1, 3))
        row["invoice_id"] = None if how == "squeeze" else row["invoice_id"]
    elif table == "contacts":
        row |= {"channel": rng.choice(("email", "letter")), "tone": "firm"}
        row["decided_at"] = None
    elif table == "responses":
        row |= {"kind": rng.choice(("dispute_resolved", "plan_broken", "opened", "complained"))}
        row["contact_id"] = None if how == "squeeze" else row["contact_id"]
    elif table == "holds":
        row |= {"kind": rng.choice(("agency", "insolvency")), "invoice_id": None}
    return row


def _other_invoice(row, rng: random.Random):
    """Another amount, another due date; the day of issue stays, payments may name it."""
    return row | {
        "amount": row["amount"] * 2,
        "due_on": row["issued_on"] + timedelta(days=rng.randrange(40)),
        "kind": row["kind"] if row["amount"] < 0 else "interest",
    }


def _days_only(book: Book) -> bool:
    return any(not isinstance(row["paid_at"], datetime) for row in book["payments"])


def _add(book: Book, where, cut: datetime, *, days_only: bool) -> None:
    """New facts from `cut` on, new accounts too, with ids that sort before all others."""
    new = {
        "account_id": "A", "customer_type": "consumer", "country": "DE", "timezone": None,
        "customer_id": "C1", "creditor_id": "K1", "customer_since": None, "credit_score": None,
        "lifetime_value": None, "size": None, "trade": "aardvark",
    }  # fmt: skip
    book["accounts"] = [new, *book["accounts"]]
    for i, (account, tz) in enumerate([("A", zone(new)), *where.items()]):
        day = local_day(cut, tz)
        at = day if days_only else cut
        base = {"account_id": account}
        book["invoices"] += [
            base | {"invoice_id": f"0{i}", "issued_on": day, "due_on": day, "amount": Decimal(9),
                    "currency": "EUR", "kind": "interest", "article": "aa", "weight": 9.0},
            base | {"invoice_id": f"00{i}", "issued_on": day, "due_on": day,
                    "amount": Decimal(-500), "currency": "EUR", "kind": "credit_note",
                    "article": None, "weight": None},
        ]  # fmt: skip
        book["payments"] += [
            base | {"payment_id": f"0{i}{k}", "paid_at": at, "amount": amount, "invoice_id": None}
            for k, amount in enumerate((Decimal(70), Decimal(-300), Decimal("0.01")))
        ]
        book["contacts"].append(
            base | {"contact_id": f"0{i}", "sent_at": cut, "decided_at": cut - timedelta(days=1),
                    "channel": "app", "tone": "final"}
        )  # fmt: skip
        book["responses"] += [
            base | {"at": at, "kind": kind, "contact_id": None, "amount": None, "due_on": None}
            for kind in ("plan_broken", "promise_broken", "dispute_resolved", "promised", "opened")
        ]
        book["responses"] += [
            base | {"at": at, "kind": kind, "contact_id": contact["contact_id"],
                    "amount": None, "due_on": None}
            for contact in book["contacts"] if contact["account_id"] == account
            for kind in ("opened", "clicked", "answered", "bounced")
        ]  # fmt: skip
        book["holds"] += [
            base | {"kind": kind, "from_on": day, "to_on": None, "invoice_id": None}
            for kind in ("agency", "deceased", "dispute")
        ]


def cuts(book: Book, rng: random.Random) -> list[datetime]:
    """A local midnight, the last moment before one, an odd time and the instant of an event."""
    day = START + timedelta(days=rng.randrange(60, SPAN))
    events = event_times(book) or [datetime.combine(day, time(), UTC)]
    return [
        midnight(day, zone(rng.choice(book["accounts"]))),
        midnight(day, zone(rng.choice(book["accounts"]))) - ONE_US,
        datetime.combine(day, time(14, 7), UTC),
        rng.choice(events),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_future_changes_nothing(seed):
    rng = random.Random(seed)
    book = random_book(seed, days_only=seed % 3 == 2)
    where = zones(book)
    issued = {row["invoice_id"]: row["issued_on"] for row in book["invoices"]}
    for i, cut in enumerate(cuts(book, rng)):
        rows = random_rows(seed, book, 16, pick=lambda as_of, cut=cut: as_of <= cut)
        rows += [{"account_id": name, "as_of": cut, "invoice_id": None} for name in where]
        for row in rows:  # a claim issued on the very day is the row's own, not the future
            name = row["invoice_id"]
            if name and not is_known(issued[name], where[row["account_id"]], row["as_of"]):
                row["invoice_id"] = None
        before = compute(Snapshot.from_rows(to_ledger(book), rows))
        for how in ("add", MUTATIONS[(seed + i) % len(MUTATIONS)]):
            ledger = to_ledger(mutate(book, cut, how, rng))
            after = compute(Snapshot.from_rows(ledger, rows))
            assert after.names == before.names, how
            assert after.categories == before.categories, how
            different = [
                name
                for name in before.names
                if not np.array_equal(before.column(name), after.column(name), equal_nan=True)
            ]
            assert not different, (how, cut)


def test_a_day_is_known_from_the_next_local_midnight():
    account = {"customer_type": "consumer", "country": "DE"}
    book = {
        "accounts": [
            {"account_id": "west", "timezone": "America/New_York", **account},
            {"account_id": "east", "timezone": "Asia/Kolkata", **account},
        ],
        "invoices": [
            {"invoice_id": name, "account_id": name, "issued_on": date(2025, 3, 1),
             "due_on": date(2025, 3, 15), "amount": 50.0, "currency": "EUR"}
            for name in ("west", "east")
        ],
        "payments": [
            {"payment_id": name, "account_id": name, "paid_at": date(2025, 3, 9), "amount": 50.0}
            for name in ("west", "east")
        ],
    }  # fmt: skip
    ledger = to_ledger_plain(book)
    # On 9 March 2025 New York sets its clocks forward: the day ends at 04:00 UTC, not 05:00.
    ends = {"west": "2025-03-10T04:00:00+00:00", "east": "2025-03-09T18:30:00+00:00"}
    for name, end in ends.items():
        instant = datetime.fromisoformat(end)
        rows = [
            {"account_id": name, "as_of": instant - timedelta(microseconds=1)},
            {"account_id": name, "as_of": instant},
        ]
        names = ["payments_n", "open_amount", "late_mean"]
        matrix = compute(Snapshot.from_rows(ledger, rows), names)
        assert matrix.values.tolist() == [[0, 50, 0], [1, 0, -6]]


def to_ledger_plain(book):
    from collectopt.schema import Ledger

    return Ledger.from_frames(**book)
