"""What was known of an account, and nothing else, makes its fingerprint."""

from __future__ import annotations

import copy
from datetime import timedelta

import numpy as np
import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collectopt.schema import Ledger
from collectopt.schema.fingerprints import FINGERPRINT, differing, fingerprints
from collectopt.schema.times import to_instant

SEEDS = st.integers(0, 10**6)
RUNS = settings(max_examples=15, deadline=None, derandomize=True)
MICRO = timedelta(microseconds=1)
NAMED = {"accounts", "invoices", "contacts"}
CHANGES = {
    "accounts": {
        "country": lambda v: "AT",
        "email_ok": lambda v: not v,
        "lifetime_value": lambda v: np.nextafter(v or 0.0, 1e9),
        "timezone": lambda v: "Asia/Tokyo" if v != "Asia/Tokyo" else "UTC",
    },
    "invoices": {
        "amount": lambda v: round(v + 0.01, 2),
        "due_on": lambda v: v + timedelta(days=1),
        "product": lambda v: "",
    },
    "payments": {
        "amount": lambda v: round(v + 0.01, 2),
        "paid_at": lambda v: v - MICRO,
        "invoice_id": lambda v: None,
    },
    "contacts": {
        "sent_at": lambda v: v - MICRO,
        "tone": lambda v: "final",
        "propensity": lambda v: 0.5,
    },
    "responses": {"at": lambda v: v - MICRO, "kind": lambda v: "visited_portal"},
    "holds": {
        "to_on": lambda v: v + timedelta(days=1) if v else None,
        "kind": lambda v: "service" if v != "service" else "court",
    },
}


def known(book, name, row):
    """Whether a row was known, in plain Python."""
    if name == "accounts":
        return True
    if name in {"invoices", "holds"}:
        return book.day_over(
            row["issued_on" if name == "invoices" else "from_on"], row["account_id"]
        )
    at = {"payments": "paid_at", "responses": "at", "contacts": "sent_at"}[name]
    return (row.get("decided_at") or row[at]) < book.as_of


def of(tables, frames, ids=None, shuffle=None):
    ledger = type(frames)(tables, frames.catalogue, frames.as_of).ledger(shuffle)
    ids = sorted({a["account_id"] for a in frames.tables["accounts"]}) if ids is None else ids
    found = fingerprints(ledger, ids, to_instant(frames.as_of))
    return dict(zip(ids, found, strict=True))


@RUNS
@given(seed=SEEDS, data=st.data())
def test_a_change_shows_where_it_was_known_and_nowhere_else(kit, seed, data):
    frames = kit.frames(seed, 6)
    book, tables = kit.Plain(frames), copy.deepcopy(frames.tables)
    name = data.draw(st.sampled_from([n for n in CHANGES if tables.get(n)]))
    row = data.draw(st.sampled_from(tables[name]))
    column = data.draw(st.sampled_from(sorted(CHANGES[name])))
    account, was = row["account_id"], known(book, name, row)
    before = row.get(column)
    row[column] = CHANGES[name][column](before)
    # a later zone or hour may change what was known; that is another test
    assume(row[column] != before and column != "timezone" and known(book, name, row) == was)
    then, now = of(frames.tables, frames), of(tables, frames, shuffle=seed)
    for other in then:
        expected = (name,) if was and other == account else ()
        assert differing(then[other], now[other]) == expected


@RUNS
@given(seed=SEEDS)
def test_the_future_other_accounts_order_and_empty_columns_change_nothing(kit, seed):
    frames = kit.frames(seed, 6)
    book, then = kit.Plain(frames), of(frames.tables, frames)
    rng = np.random.default_rng(seed)
    kept = {a["account_id"] for a in frames.tables["accounts"] if rng.random() < 0.5} | {"000"}
    tables = {
        name: [
            {**row, **({"fax_ok": None} if name == "accounts" else {})}
            for row in rows
            # others may name an invoice or a contact of the future
            if row["account_id"] in kept and (name in NAMED or known(book, name, row))
        ]
        for name, rows in frames.tables.items()
    }
    tables = {name: rows for name, rows in tables.items() if rows}
    assume("invoices" in tables)
    later = frames.as_of + timedelta(days=2)
    owner = tables["invoices"][0]["account_id"]
    tables.setdefault("responses", []).append({"account_id": owner, "at": later, "kind": "opened"})
    now = of(tables, frames, sorted(kept), shuffle=seed)
    assert all(now[a] == then[a] for a in kept)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_row_more_or_less_shows(kit, seed):
    frames = kit.frames(seed, 6)
    book = kit.Plain(frames)
    for name in ("payments", "responses", "holds"):
        rows = [r for r in frames.tables.get(name, []) if known(book, name, r)]
        if not rows:
            continue
        less = [r for r in frames.tables[name] if r is not rows[0]]
        twin = {**rows[0], **({"payment_id": "twin"} if name == "payments" else {})}
        then = of(frames.tables, frames)
        for changed in (less, [*frames.tables[name], twin]):
            tables = {**frames.tables, name: changed}
            now = of({n: r for n, r in tables.items() if r}, frames)
            hit = rows[0]["account_id"]
            assert {a: differing(then[a], now[a]) for a in then if then[a] != now[a]} == {
                hit: (name,)
            }


def ledger(**change):
    account = {"account_id": "A", "customer_type": "consumer", "country": "DE", "region": None}
    invoice = {
        "invoice_id": "I", "account_id": "A", "issued_on": "2026-01-02", "due_on": "2026-01-16",
        "amount": 80.0, "currency": "EUR", "product": None,
    }  # fmt: skip
    for row in (account, invoice):
        row.update({k: v for k, v in change.items() if k in row})
    return Ledger.from_frames(
        accounts=[account], invoices=[invoice], timezone=change.get("timezone", "UTC")
    )


def test_what_is_written_can_be_read_in_one_way_only():
    at, seen = np.datetime64("2026-02-01"), set()
    tricks = [None, "", ";", "a;region=1:b", "1:", "Ä", "A", "x" * 300]
    for region in tricks:
        found = fingerprints(ledger(region=region), ["A"], at)[0].as_py()
        seen.add(found["accounts"])
    # an empty text is a text, and null is none
    assert len(seen) == len(tricks)


def test_fingerprints_stay_what_they_are_and_zones_count_wherever_they_stand():
    at = np.datetime64("2026-02-01")
    found = fingerprints(ledger(), ["A", "nobody"], at)
    assert found.type == FINGERPRINT
    assert found[0].as_py()["accounts"].hex() == "746a546fd6c1262ec3d663c4037144ba"
    assert found[0].as_py()["invoices"].hex() == "28170d6c1c20c8e3e9542ec28f6a20ee"
    assert set(found[1].as_py().values()) == {None}
    moved = fingerprints(ledger(timezone="Asia/Tokyo"), ["A"], at)
    assert differing(found[0], moved[0]) == ("accounts",)
    # known from the local midnight on, not before
    early = fingerprints(ledger(timezone="Asia/Tokyo"), ["A"], np.datetime64("2026-01-02T15:00"))
    late = fingerprints(ledger(), ["A"], np.datetime64("2026-01-02T15:00"))
    assert (early[0]["invoices"].is_valid, late[0]["invoices"].is_valid) == (True, False)


def test_many_accounts_at_once_are_as_one_by_one(kit, monkeypatch):
    frames = kit.frames(5, 12)
    ids = sorted(a["account_id"] for a in frames.tables["accounts"])
    book, at = frames.ledger(), to_instant(frames.as_of)
    whole = fingerprints(book, ids, at)
    assert [fingerprints(book, [a], at)[0] for a in ids[:4]] == list(whole)[:4]
    assert list(fingerprints(book, pa.chunked_array([ids[::-1]]), at)) == list(whole)[::-1]
    monkeypatch.setattr("collectopt.schema.fingerprints._BLOCK", 5)
    assert fingerprints(book, ids, at).equals(whole)
