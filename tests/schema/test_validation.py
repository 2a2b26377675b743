"""Every fault of a book is named at once, with its table, column and rows."""

from __future__ import annotations

import datetime as dt
import importlib.util
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectopt.exceptions import InputError
from collectopt.schema.ledger import Ledger

_spec = importlib.util.spec_from_file_location("books", Path(__file__).with_name("books.py"))
_books = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_books)
frames = _books.frames


def put(table: str, column: str, row: int, value):
    def change(book):
        frame = book[table].astype({column: object})
        frame.loc[row, column] = value
        book[table] = frame

    return change


def drop(table: str, column: str):
    def change(book):
        book[table] = book[table].drop(columns=column)

    return change


def replace(table: str, column: str, values):
    def change(book):
        book[table] = book[table].assign(**{column: values})

    return change


def again(table: str):
    def change(book):
        book[table] = pd.concat([book[table], book[table].iloc[:1]], ignore_index=True)

    return change


NAIVE = pd.to_datetime(["2026-01-05 10:00", "2026-02-05 10:00"])
# ruff: noqa: E501, DTZ001
FAULTS = {
    "missing column": (drop("invoices", "due_on"), "invoices.due_on: expected this column"),
    "mistyped column": (replace("invoices", "amount", "ten"), "invoices.amount: expected an amount"),
    "mixed types": (put("accounts", "country", 0, 7), "accounts.country: expected values of one"),
    "float ids": (replace("payments", "account_id", [1.0, 2.0]), "payments.account_id: expected ids"),
    "duplicate key": (again("invoices"), "invoices.invoice_id: expected each key once; found I1"),
    "unknown account": (put("payments", "account_id", 1, "9"), "payments.account_id: expected"),
    "unknown invoice": (put("payments", "invoice_id", 0, "I9"), "payments.invoice_id: expected"),
    "unknown contact": (put("responses", "contact_id", 0, "C9"), "responses.contact_id: expected"),
    "other's invoice": (put("payments", "invoice_id", 1, "I1"), "an invoice of the same account"),
    "payment too early": (
        put("payments", "paid_at", 0, dt.datetime(2026, 1, 4, 10, tzinfo=dt.UTC)),
        "payments.paid_at: expected a payment on or after the local day",
    ),
    "negative invoice": (put("invoices", "kind", 1, "invoice"), "found invoice of -10.00 in 1 row"),
    "positive credit": (put("invoices", "amount", 1, 10.0), "found credit_note of 10.00 in 1 row"),
    "naive times": (replace("payments", "paid_at", NAIVE), "payments.paid_at: expected time stamps"),
    "unknown channel": (put("contacts", "channel", 0, "pigeon"), "contacts.channel: expected a known"),
    "unknown tone": (put("contacts", "tone", 0, "shouting"), "contacts.tone: expected a known"),
    "unknown kind": (put("holds", "kind", 0, "nap"), "holds.kind: expected one of dispute"),
    "unknown response": (put("responses", "kind", 0, "sang"), "responses.kind: expected one of"),
    "propensity 0": (put("contacts", "propensity", 0, 0.0), "contacts.propensity: expected"),
    "propensity 2": (put("contacts", "propensity", 0, 2.0), "a probability in (0, 1]; found 2.0"),
    "currency mix": (put("invoices", "currency", 1, "USD"), "one currency within an account"),
    "no currency": (put("invoices", "currency", 2, "XXL"), "invoices.currency: expected an ISO"),
    "null": (put("invoices", "due_on", 0, None), "invoices.due_on: expected a value in every row"),
    "NaN": (put("invoices", "amount", 0, float("nan")), "invoices.amount: expected a value in"),
    "half cents": (put("invoices", "amount", 0, 1.005), "exact to the cent; found 1.005"),
    "infinite": (put("payments", "amount", 0, float("inf")), "a finite amount"),
    "zone": (put("accounts", "timezone", 1, "Mars/Base"), "accounts.timezone: expected an IANA"),
    "no date": (put("invoices", "due_on", 0, dt.datetime(2026, 1, 1, 8)), "invoices.due_on"),
    "hold backwards": (put("holds", "to_on", 0, dt.date(2025, 1, 1)), "holds.to_on: expected an end"),
    "negative cost": (put("contacts", "cost", 0, -1.0), "contacts.cost: expected"),
}  # fmt: skip


def test_a_sound_book_loads():
    ledger = Ledger.from_frames(**frames())
    assert repr(ledger) == (
        "Ledger(accounts=2, invoices=3, payments=2, contacts=1, responses=1, holds=1)"
    )
    assert ledger.invoices["amount"].to_pylist()[0] == Decimal("80.10")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(name):
    change, message = FAULTS[name]
    book = frames()
    change(book)
    with pytest.raises(InputError) as error:
        Ledger.from_frames(**book)
    assert message in str(error.value)


def test_all_faults_come_in_one_error():
    book = frames()
    chosen = [
        "missing column", "float ids", "unknown contact", "unknown channel", "unknown tone",
        "unknown kind", "unknown response", "propensity 2", "no currency", "half cents", "zone",
        "hold backwards", "negative cost", "naive times", "duplicate key",
    ]  # fmt: skip
    for name in chosen:
        FAULTS[name][0](book)
    with pytest.raises(InputError) as error:
        Ledger.from_frames(**book)
    text = str(error.value)
    assert [name for name in chosen if FAULTS[name][1] not in text] == []
    assert len(error.value.faults) >= 15


def test_faults_name_their_rows():
    book = frames()
    put("invoices", "amount", 2, float("nan"))(book)
    with pytest.raises(InputError) as error:
        Ledger.from_frames(**book)
    fault = error.value.faults[0]
    assert (fault.table, fault.column, fault.rows, fault.count) == ("invoices", "amount", (2,), 1)


@pytest.mark.parametrize("table", ["accounts", "invoices"])
def test_no_accounts_or_no_invoices(table):
    book = frames()
    book[table] = book[table].iloc[:0]
    with pytest.raises(InputError, match=f"{table}: expected at least one row"):
        Ledger.from_frames(**book)


@pytest.mark.parametrize("table", ["payments", "contacts", "responses", "holds"])
def test_other_tables_may_be_missing_or_empty(table):
    book = frames()
    if table == "contacts":
        book["responses"] = book["responses"].drop(columns="contact_id")
    for empty in (None, book[table].iloc[:0], []):
        book[table] = empty
        ledger = Ledger.from_frames(**book)
        assert len(ledger.table(table)) == 0
        assert ledger.timeline is not None


def test_all_null_columns_of_any_type_are_null():
    book = frames()
    book["payments"]["method"] = np.nan
    book["contacts"]["decided_at"] = pd.NaT
    book["contacts"]["offer"] = None
    ledger = Ledger.from_frames(**book)
    assert ledger.payments["method"].null_count == 2
    assert ledger.contacts["decided_at"].null_count == 1


def test_leading_zeros_survive(tmp_path):
    ledger = Ledger.from_frames(**frames())
    ledger.to_parquet(tmp_path / "book")
    assert Ledger.from_parquet(tmp_path / "book").account_ids.tolist() == ["0001", "0002"]


def test_a_payment_before_midnight_abroad_counts_by_the_local_day():
    """23:30 UTC on the fourth is the fifth in Berlin, the day of issue."""
    book = frames()
    put("payments", "paid_at", 0, dt.datetime(2026, 1, 4, 23, 30, tzinfo=dt.UTC))(book)
    assert len(Ledger.from_frames(**book).payments) == 2


def test_a_due_date_before_issue_is_remarked_not_refused():
    book = frames()
    put("invoices", "due_on", 0, dt.date(2025, 12, 1))(book)
    ledger = Ledger.from_frames(**book)
    assert "due_on" in str(ledger.remarks[0])


def test_instants_may_be_dates():
    book = frames()
    book["payments"]["paid_at"] = [dt.date(2026, 1, 5), dt.date(2026, 2, 5)]
    known = Ledger.from_frames(**book).payments["paid_at"].to_pylist()
    assert known[0] == dt.datetime(2026, 1, 5, 22, 59, 59, 999_999, tzinfo=dt.UTC)  # Berlin
    assert known[1] == dt.datetime(2026, 2, 5, 23, 59, 59, 999_999, tzinfo=dt.UTC)  # UTC


def test_own_names_of_channels_come_with_consent_or_catalogue():
    from collectopt.schema.catalogue import Catalogue

    book = frames()
    put("contacts", "channel", 0, "pigeon")(book)
    own = Catalogue.from_dict({"channels": [{"name": "pigeon"}]})
    assert len(Ledger.from_frames(**book, catalogue=own).contacts) == 1
    book["accounts"]["pigeon_ok"] = True
    assert len(Ledger.from_frames(**book).contacts) == 1


def test_features_must_exist():
    with pytest.raises(InputError, match=r"features\.colour"):
        Ledger.from_frames(**frames(), features=["colour"])


def test_own_columns_are_kept_only_if_named():
    book = frames()
    book["invoices"]["weight"] = [1, 2, 3]
    book["invoices"]["colour"] = ["red", None, "blue"]
    ledger = Ledger.from_frames(**book, features=["weight", "colour"])
    assert ledger.invoices["weight"].to_pylist() == [1.0, 2.0, 3.0]
    assert "weight" not in Ledger.from_frames(**book).invoices.column_names


def test_parquet_faults(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Ledger.from_parquet(tmp_path / "nowhere")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "accounts.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"accounts\.parquet: expected a parquet file"):
        Ledger.from_parquet(tmp_path / "book")


def test_writing_replaces_only_its_own_kind(tmp_path):
    ledger = Ledger.from_frames(**frames())
    ledger.to_parquet(tmp_path / "book")
    ledger.to_parquet(tmp_path / "book")
    assert Ledger.from_parquet(tmp_path / "book").fingerprint == ledger.fingerprint
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="other content"):
        ledger.to_parquet(tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_crash_while_writing_leaves_the_old_book(tmp_path, monkeypatch):
    ledger = Ledger.from_frames(**frames())
    ledger.to_parquet(tmp_path / "book")
    wrote = []

    def full(table, where):
        if len(wrote) == 2:
            raise OSError(28, "No space left on device")
        wrote.append(where)
        Path(where).write_bytes(b"")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        ledger.to_parquet(tmp_path / "book")
    monkeypatch.undo()
    assert Ledger.from_parquet(tmp_path / "book").fingerprint == ledger.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["book"]


def test_decimals_and_integers_are_amounts():
    book = frames()
    book["invoices"]["amount"] = [Decimal("80.10"), Decimal(-10), Decimal("2500.000")]
    assert Ledger.from_frames(**book).invoices["amount"].to_pylist()[2] == Decimal("2500.00")
    book["invoices"]["amount"] = pa.array([80, -10, 2500]).to_pandas()
    assert Ledger.from_frames(**book).invoices["amount"].to_pylist()[0] == Decimal(80)
