"""One account from its plain rows: the same record and decision as by way of a ledger."""

from __future__ import annotations

import copy
import sys
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectopt import Ledger, NextBestAction, Snapshot
from collectopt.exceptions import InputError
from collectopt.models import response
from collectopt.policy.one_record import _row
from collectopt.rules.layout import Layout
from collectopt.rules.one_state import QuickFacts
from collectopt.rules.state import State, sent_times
from collectopt.schema.clock import micros
from collectopt.schema.one_rows import Reader
from collectopt.schema.one_seen import Seen
from collectopt.simulation import Book

TABLES = ("accounts", "invoices", "payments", "contacts", "responses", "holds")
BELIEF = {"distress", "doubt"}  # sums in another order: equal but for the last bits


def by_account(tables):
    """Rows of each account in the tables where it has any."""
    found = {}
    for name in TABLES:
        for row in tables.get(name, []):
            found.setdefault(row["account_id"], {}).setdefault(name, []).append(row)
    return found


def assert_equal(found, expected, path=""):
    """Every field, to the last bit, shapes and types included."""
    assert type(found) is type(expected), path
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        if path.split(".")[-1] in BELIEF:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=path)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=path)
    elif is_dataclass(expected):
        for each in fields(expected):
            name = f"{path}.{each.name}"
            assert_equal(getattr(found, each.name), getattr(expected, each.name), name)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), path
        for key, value in expected.items():
            assert_equal(found[key], value, f"{path}.{key}")
    elif isinstance(expected, tuple):
        assert len(found) == len(expected), path
        for k, value in enumerate(expected):
            assert_equal(found[k], value, f"{path}.{k}")
    else:
        assert found == expected or (found != found and expected != expected), path


def assert_same_choice(found, expected):
    for name, value in vars(expected).items():
        other = getattr(found, name)
        if isinstance(value, float) or name == "terms":
            assert other == pytest.approx(value, rel=1e-11, abs=1e-13, nan_ok=True), name
        else:
            assert other == value, name


def by_ledger(fast, rows, now):
    """What the way past the quick one gives."""
    quick, fast._quick = fast._quick, None
    try:
        return fast.record(rows, now)
    finally:
        fast._quick = quick


@pytest.fixture(
    scope="module", params=[("shop", 1), ("utility", 2), ("b2b", 3)], ids=lambda p: p[0]
)
def played(request):
    """A book, and a policy fitted to it with effects of each account."""
    kind, seed = request.param
    book = Book(kind, accounts=45, seed=seed, weeks=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response, "NEEDED_Z", -np.inf)
        policy = NextBestAction(book.catalogue).fit(book.ledger(), as_of=book.as_of)
    tables = {name: getattr(book.ledger(), name).to_pylist() for name in TABLES}
    return book, policy.prepare(), by_account(tables)


def test_every_account_of_three_books(played):
    book, fast, accounts = played
    ledger = book.ledger()
    contacts = used = asked = 0
    for k, back in enumerate((timedelta(0), timedelta(days=41, hours=7, minutes=13))):
        now = book.as_of - back
        names = Snapshot(ledger, now).rows["account_id"].to_pylist()
        for name, rows in accounts.items():
            quick = fast._quick.record(rows, now)
            if name not in names:
                assert quick is None  # no open claim: the ledger says so
                continue
            asked, used = asked + 1, used + (quick is not None)
            if k and asked % 4:  # the way by the ledger takes its time
                continue
            slow = by_ledger(fast, rows, now)
            assert_equal(quick or slow, slow)
            choice = fast.decide(fast.record(rows, now), rng=k)
            assert_same_choice(choice, fast.decide(slow, rng=k))
            contacts += choice.runner_up is not None
    assert contacts  # some may be contacted
    assert used == asked  # typical accounts need no ledger


def test_random_books_facts_for_the_rules(kit):
    """Odd clocks, caps, holds, sayings, pre-due days and jurisdictions, one account at a time."""
    read = 0
    for seed in range(24):
        frames = kit.frames(seed, n=3)
        catalogue = frames.parsed()
        layout = Layout.of(catalogue.actions)
        quick, reader = QuickFacts(catalogue, layout), Reader(catalogue.currency)
        for name, rows in by_account(frames.tables).items():
            if "invoices" not in rows:
                continue
            seen = Seen.of(reader.read(rows), micros(frames.as_of))
            snapshot = Snapshot(Ledger.from_frames(**rows), frames.as_of)
            assert bool(seen.open) == bool(len(snapshot))
            if not seen.open:
                continue
            state, sent = quick.of(seen, None)
            assert_equal(state, _row(State.of(snapshot, catalogue, layout), 0), name)
            [slow] = sent_times(snapshot, catalogue, np.zeros(1, dtype=np.int64))
            assert_equal(sent, slow)
            read += 1
    assert read > 30


def test_a_table_of_tones_by_segment(kit):
    frames = kit.frames(5, n=12)
    frames.catalogue["house"]["tones"] = [
        {"highest": "neutral", "customer_type": "consumer", "max_days_past_due": 14},
        {"highest": "friendly", "column": "region", "value": "BY"},
        {"highest": "neutral", "min_days_past_due": 10},
        {"offset": -1, "column": "region", "value": "BY"},
        {"offset": 1, "column": "region", "value": "Berlin", "customer_type": "business"},
    ]
    catalogue = frames.parsed()
    layout = Layout.of(catalogue.actions)
    quick, reader = QuickFacts(catalogue, layout), Reader("EUR")
    found = set()
    for rows in by_account(frames.tables).values():
        if "invoices" in rows:
            seen = Seen.of(reader.read(rows), micros(frames.as_of))
            if seen.open:
                snapshot = Snapshot(Ledger.from_frames(**rows), frames.as_of)
                slow, state = State.of(snapshot, catalogue, layout), quick.of(seen, None)[0]
                assert_equal(state.segments, slow.segments)
                assert_equal(state.tone_offset, slow.tone_offset)
                found.add(slow.segments.tobytes() + slow.tone_offset.tobytes())
    assert len(found) > 2


@pytest.fixture(scope="module")
def shop():
    book = Book("shop", accounts=80, seed=5, weeks=30)
    policy = NextBestAction(book.catalogue).fit(book.ledger(), as_of=book.as_of)
    tables = {name: getattr(book.ledger(), name).to_pylist() for name in TABLES}
    fast, accounts = policy.prepare(), by_account(tables)
    names = [name for name in accounts if fast._quick.record(accounts[name], book.as_of)]
    return book, fast, {name: accounts[name] for name in names}


def busiest(accounts):
    return max(accounts.values(), key=lambda rows: sum(map(len, rows.values())))


def test_what_is_not_known_yet_changes_nothing(shop):
    book, fast, accounts = shop
    now, day = book.as_of, book.as_of.astimezone(ZoneInfo("Europe/Berlin")).date()
    for rows in accounts.values():
        name = rows["accounts"][0]["account_id"]
        claim = rows["invoices"][0]["invoice_id"]
        more = copy.deepcopy(rows)
        for table, row in (
            ("invoices", {"invoice_id": "R_", "issued_on": day, "due_on": day, "currency": "EUR",
                          "amount": Decimal("9.99")}),
            ("payments", {"payment_id": "P_", "paid_at": now, "amount": Decimal("5000.00"),
                          "invoice_id": claim}),
            ("payments", {"payment_id": "P__", "paid_at": now, "amount": Decimal("-1.00")}),
            ("contacts", {"contact_id": "K_", "sent_at": now, "channel": "phone"}),
            ("responses", {"at": now, "kind": "opted_out"}),
            ("responses", {"at": now, "kind": "disputed"}),
            ("holds", {"kind": "vulnerable", "from_on": day}),
        ):  # fmt: skip
            more.setdefault(table, []).insert(0, {"account_id": name, **row})
        found = fast._quick.record(more, now)
        assert_equal(found, fast._quick.record(rows, now))
        later = fast._quick.record(more, now + timedelta(microseconds=1))
        assert later is None or later.state.opted_out.all()


def test_other_words_for_the_same_rows(shop):
    """Texts, floats and other clocks, columns left out and rows in any order."""
    book, fast, accounts = shop
    rows = busiest(accounts)
    expected = fast._quick.record(rows, book.as_of)

    def told(value, how):
        if isinstance(value, datetime):
            return how(value)
        if isinstance(value, date):
            return value.isoformat()
        return float(value) if isinstance(value, Decimal) else value

    for how in (
        lambda t: t.isoformat(),
        lambda t: t.astimezone(ZoneInfo("America/New_York")),
        lambda t: t.astimezone(UTC),
    ):
        other = {
            name: [
                {key: told(value, how) for key, value in row.items() if value is not None}
                for row in reversed(table)
            ]
            for name, table in rows.items()
        }
        assert_equal(fast._quick.record(other, book.as_of), expected)
        assert_equal(by_ledger(fast, other, book.as_of), expected)


def test_holds_that_never_end(shop):
    book, fast, accounts = shop
    rows = copy.deepcopy(busiest(accounts))
    name = rows["accounts"][0]["account_id"]
    for end in (date(9999, 12, 31), date(2037, 1, 1), date(2026, 3, 1)):
        rows["holds"] = [
            {"account_id": name, "kind": "service", "from_on": date(2026, 2, 1), "to_on": end}
        ]
        quick = fast._quick.record(rows, book.as_of)
        assert (quick is None) == (end.year == 2037)
        slow = by_ledger(fast, rows, book.as_of)
        assert_equal(quick or slow, slow)
    rows["holds"][0]["reason"] = "a parcel was lost"
    assert fast._quick.record(rows, book.as_of) is None  # the ledger puts it into words


def test_no_tables_and_no_files_on_the_way(shop):
    book, fast, accounts = shop
    rows = busiest(accounts)
    fast.decide(fast.record(rows, book.as_of))
    seen = set()

    def watch(frame, event, arg):
        if event == "call":
            seen.add(frame.f_globals.get("__name__", ""))
        elif event == "c_call":
            seen.add(f"{getattr(arg, '__module__', None) or ''}.{arg.__name__}")

    sys.setprofile(watch)
    try:
        fast.decide(fast.record(rows, book.as_of))
    finally:
        sys.setprofile(None)
    roots = {name.split(".")[0] for name in seen}
    assert "collectopt" in roots
    assert not roots & {"pandas", "pyarrow", "duckdb", "io", "_io", "pathlib"}


def test_policies_that_ask_for_more_ask_the_ledger(kit, shop):
    book, fast, accounts = shop
    stub = NextBestAction(
        book.catalogue, payment=kit.Payment(), response=kit.Response(book.catalogue)
    ).fit(book.ledger(), book.as_of)
    other = stub.prepare()
    assert other._quick is None
    assert other.record(busiest(accounts), book.as_of).chances is not None
    with pytest.raises(InputError, match="0 accounts with an open claim"):
        fast.record(busiest(accounts), "2020-01-01")


# What may be wrong, or just unusual, with a value of any column.
ODD = (
    None, "", " ", "x", "Ä", "\ud800", 0, 1, -1, 7.5, 0.001, 10**20, True, False, float("nan"),
    float("inf"), Decimal("0.001"), Decimal("1E+3"), Decimal(7), Decimal("NaN"), b"x", [], {},
    date(2026, 1, 2), date(1970, 1, 1), "2026-01-02", "20260102", "2026-01-02T03:04:05",
    "2026-01-02T03:04:05+01:00", datetime(2026, 1, 2),  # noqa: DTZ001
    datetime(2026, 1, 2, tzinfo=UTC),
    np.float64(3.0), np.datetime64("2026-01-02"), "consumer", "USD", "email", "court", "promised",
    "credit_note", "dispute", "Europe/Paris", "Mars/Base",
)  # fmt: skip
COLUMNS = (
    "account_id", "customer_type", "country", "region", "timezone", "customer_id",
    "customer_since", "credit_score", "lifetime_value", "email_ok", "invoice_id", "issued_on",
    "due_on", "amount", "currency", "kind", "product", "payment_id", "paid_at", "method",
    "contact_id", "sent_at", "decided_at", "channel", "tone", "offer", "template", "propensity",
    "policy", "cost", "decision_id", "at", "from_on", "to_on", "reason", "own",
)  # fmt: skip


def answer(call):
    """A record, or what is wrong; what nobody thought of counts by its type."""
    try:
        return call()
    except InputError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the same as the ledger, whatever it is
        return type(error)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_wrong_and_odd_rows_get_the_same_answer(shop, data):
    book, fast, accounts = shop
    rows = copy.deepcopy(accounts[data.draw(st.sampled_from(sorted(accounts)))])
    rows.setdefault("holds", []).append(
        {"account_id": rows["accounts"][0]["account_id"], "kind": "service",
         "from_on": date(2026, 1, 2)}
    )  # fmt: skip
    for table in list(rows):
        rows[table] = data.draw(st.permutations(rows[table]))
    for _ in range(data.draw(st.integers(0, 2))):
        table = rows[data.draw(st.sampled_from(sorted(rows)))]
        row = data.draw(st.sampled_from(table))
        column = data.draw(st.sampled_from([c for c in COLUMNS if c in row] + ["own"]))
        how = data.draw(st.sampled_from(("value", "value", "value", "drop", "again")))
        if how == "value":
            row[column] = data.draw(st.sampled_from(ODD))
        elif how == "drop":
            row.pop(column, None)
        else:
            table.append(dict(row))
    quick = answer(lambda: fast._quick.record(rows, book.as_of))
    if quick is not None:  # else the ledger is asked anyway
        slow = answer(lambda: by_ledger(fast, rows, book.as_of))
        if isinstance(quick, str | type) or isinstance(slow, str | type):
            assert quick == slow
        else:
            assert_equal(quick, slow)
