"""IBM's sample of late invoices: its traps on a file written by hand."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest

from collectopt.exceptions import InputError
from collectopt.integrations import ibm_ar
from collectopt.schema import Ledger

COLUMNS = (
    "countryCode", "customerID", "PaperlessDate", "invoiceNumber", "InvoiceDate", "DueDate",
    "InvoiceAmount", "Disputed", "SettledDate", "PaperlessBill", "DaysToSettle", "DaysLate",
)  # fmt: skip
ROWS = (
    (391, "0379-NEVHP", "2013-04-06", "0611365", "2013-01-02", "2013-02-01", 55.94, "No",
     "2013-01-15", "Paper", 13, 0),
    (391, "0379-NEVHP", "2013-04-06", "7900770", "2013-05-26", "2013-06-25", 61.74, "Yes",
     "2013-07-03", "Electronic", 38, 8),
    (818, "6627-ELFBK", "2012-11-26", "15752855", "2012-10-25", "2012-11-24", 72.27, "Yes",
     "2012-10-25", "Paper", 0, 0),
    (818, "6627-ELFBK", "2012-11-26", "15752856", "2013-12-25", "2014-01-24", 0.29, "No",
     None, "Electronic", 0, 0),
)  # fmt: skip


def frame() -> pd.DataFrame:
    data = pd.DataFrame(ROWS, columns=list(COLUMNS))
    for name in ("PaperlessDate", "InvoiceDate", "DueDate", "SettledDate"):
        data[name] = pd.to_datetime(data[name])
    return data


def write(folder: Path, data: pd.DataFrame | None = None) -> Path:
    (folder / "ibm_ar").mkdir(parents=True, exist_ok=True)
    (frame() if data is None else data).to_parquet(folder / "ibm_ar" / "invoices.parquet")
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return ibm_ar.ledger(write(tmp_path_factory.mktemp("data")))


def test_a_customer_is_a_business_account(book: Ledger) -> None:
    assert [
        (r["account_id"], r["customer_type"], r["country"], r["country_code"])
        for r in book.accounts.to_pylist()
    ] == [
        ("0379-NEVHP", "business", "ZZ", "391"),
        ("6627-ELFBK", "business", "ZZ", "818"),
    ]


def test_invoices_keep_their_ids_dates_and_cents(book: Ledger) -> None:
    invoices = {r["invoice_id"]: r for r in book.invoices.to_pylist()}
    assert set(invoices) == {"0611365", "7900770", "15752855", "15752856"}  # leading zero
    first = invoices["0611365"]
    assert (first["issued_on"], first["due_on"]) == (date(2013, 1, 2), date(2013, 2, 1))
    assert (first["amount"], first["currency"]) == (Decimal("55.94"), "USD")
    assert invoices["15752856"]["amount"] == Decimal("0.29")


def test_a_payment_names_its_invoice_and_an_open_one_has_none(book: Ledger) -> None:
    paid = {r["invoice_id"]: r for r in book.payments.to_pylist()}
    assert set(paid) == {"0611365", "7900770", "15752855"}
    assert paid["7900770"]["amount"] == Decimal("61.74")
    end = datetime(2012, 10, 25, 23, 59, 59, 999999, tzinfo=UTC)
    assert paid["15752855"]["paid_at"] == end  # on the day of the invoice


def test_how_an_invoice_was_sent_stands_on_the_invoice(book: Ledger) -> None:
    """The customer's date of going paperless may lie after the invoice; it is not read."""
    sent = {r["invoice_id"]: r["paperless"] for r in book.invoices.to_pylist()}
    assert sent == {"0611365": 0.0, "7900770": 1.0, "15752855": 0.0, "15752856": 1.0}


def test_outcomes_are_not_read(tmp_path: Path, book: Ledger) -> None:
    """Disputes, days to settle and late days are known only later."""
    data = frame()
    data["Disputed"] = "Yes"
    data["PaperlessDate"] = pd.Timestamp("2014-01-01")
    data["DaysToSettle"] = data["DaysLate"] = 99
    assert ibm_ar.ledger(write(tmp_path, data)).fingerprint == book.fingerprint
    assert len(book.holds) == len(book.responses) == 0
    assert book.features == ibm_ar.FEATURES == ("country_code", "paperless")


def test_missing_data_names_the_variable_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLLECTOPT_DATA", raising=False)
    with pytest.raises(InputError, match=r"COLLECTOPT_DATA.*ibm_ar/invoices\.parquet"):
        ibm_ar.ledger()


@pytest.mark.skipif(
    "COLLECTOPT_DATA" not in os.environ,
    reason="COLLECTOPT_DATA is not set: IBM's sample is not part of the repository",
)
def test_real_sample_has_its_known_size() -> None:
    book = ibm_ar.ledger()
    assert repr(book).startswith("Ledger(accounts=100, invoices=2466, payments=2466,")
    raw = pd.read_parquet(Path(os.environ["COLLECTOPT_DATA"]) / "ibm_ar" / "invoices.parquet")
    cents = round(raw["InvoiceAmount"].sum() * 100)
    assert pc.sum(book.timeline.claims["cents"]).as_py() == cents
    assert pc.sum(book.timeline.settlements["cents"]).as_py() == cents
