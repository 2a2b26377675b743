"""The road traffic fines: every trap of the log on a log written by hand."""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from collectopt.exceptions import InputError
from collectopt.integrations import fines
from collectopt.schema import Ledger

from .event_log import CASES, frame, write

ROME = ZoneInfo("Europe/Rome")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return fines.ledger(write(tmp_path_factory.mktemp("data")))


def rows(book: Ledger, name: str, key: str = "account_id") -> dict[str, dict[str, object]]:
    return {row[key]: row for row in book.table(name).to_pylist()}


def test_a_case_is_an_account_with_what_is_known_at_its_creation(book: Ledger) -> None:
    assert book.account_ids.tolist() == ["A1", "B2", "C3", "D4", "E5"]
    b2 = rows(book, "accounts")["B2"]
    assert (b2["customer_type"], b2["country"], b2["timezone"]) == (
        "consumer",
        "IT",
        "Europe/Rome",
    )
    assert (b2["article"], b2["vehicle_class"], b2["points"], b2["officer"]) == (
        "7",
        "A",
        2.0,
        "561",
    )
    assert b2["customer_id"] is None


def test_days_are_those_of_rome(book: Ledger) -> None:
    """The log says 2006-07-23 22:00 UTC; also around both changes of the clock."""
    assert frame()["time:timestamp"][0] == pd.Timestamp("2006-07-23 22:00", tz="UTC")
    invoices = rows(book, "invoices", "invoice_id")
    assert invoices["A1-fine"]["issued_on"] == date(2006, 7, 24)
    assert invoices["A1-post"]["issued_on"] == date(2006, 10, 29)
    assert invoices["B2-fine"]["issued_on"] == date(2010, 12, 31)


def test_only_days_are_known_so_a_row_counts_from_the_next_local_midnight(book: Ledger) -> None:
    paid = {r["payment_id"]: r["paid_at"] for r in book.payments.to_pylist()}
    end = datetime(2007, 3, 25, 23, 59, 59, 999999, tzinfo=ROME)  # the clock went forward
    assert paid["A1-6"] == end
    sent = rows(book, "contacts", "contact_id")["A1-letter"]["sent_at"]
    assert sent == datetime(2006, 10, 29, 23, 59, 59, 999999, tzinfo=ROME)


def test_the_fine_is_due_a_constant_time_after_its_creation(book: Ledger) -> None:
    fine = book.invoices.filter(pc.equal(book.invoices["product"], "fine")).to_pandas()
    days = pd.to_datetime(fine["due_on"]) - pd.to_datetime(fine["issued_on"])
    assert (days == pd.Timedelta(days=fines.DUE_DAYS)).all()


def test_the_penalty_is_the_rise_of_the_total_and_due_on_its_day(book: Ledger) -> None:
    penalty = rows(book, "invoices", "invoice_id")["A1-penalty"]
    assert penalty["amount"] == Decimal("36.50")
    assert penalty["issued_on"] == penalty["due_on"] == date(2007, 1, 9)
    assert penalty["kind"] == "invoice"
    assert penalty["product"] == "penalty"


def test_the_postal_expense_belongs_to_the_claim(book: Ledger) -> None:
    post = rows(book, "invoices", "invoice_id")["D4-post"]
    assert (post["amount"], post["kind"]) == (Decimal("13.50"), "fee")
    assert (post["issued_on"], post["due_on"]) == (date(2008, 8, 4), date(2008, 10, 3))
    letter = rows(book, "contacts", "contact_id")["D4-letter"]
    assert (letter["channel"], letter["cost"], letter["propensity"]) == ("letter", 13.5, None)


def test_payments_are_single_amounts_not_running_sums(book: Ledger) -> None:
    paid = [r for r in book.payments.to_pylist() if r["account_id"] == "A1"]
    assert [r["amount"] for r in paid] == [Decimal("40.10"), Decimal("20.20")]
    assert all(r["invoice_id"] is None for r in paid)
    settled = book.timeline.settlements.to_pandas().groupby("invoice")["cents"].sum()
    ids = book.timeline.claims.to_pandas().set_index("invoice")["invoice_id"]
    assert {ids[i]: c for i, c in settled.items() if ids[i].startswith("A1")} == {
        "A1-fine": 3500,
        "A1-post": 1100,
        "A1-penalty": 1430,
    }


def test_a_payment_may_come_on_the_day_of_creation(book: Ledger) -> None:
    paid = rows(book, "payments", "payment_id")["B2-1"]
    assert paid["paid_at"] == datetime(2010, 12, 31, 23, 59, 59, 999999, tzinfo=ROME)


def test_zero_is_no_claim_and_no_payment(book: Ledger) -> None:
    assert "C3" in book.account_ids.tolist()
    assert not [r for r in book.invoices.to_pylist() if r["account_id"] == "C3"]
    assert not [r for r in book.payments.to_pylist() if r["account_id"] == "C3"]
    assert "C3-letter" in rows(book, "contacts", "contact_id")


def test_an_appeal_holds_the_account_until_it_is_lost(book: Ledger) -> None:
    holds = book.holds.to_pandas()
    disputes = holds[holds["kind"] == "dispute"].set_index("account_id")["from_on"]
    assert disputes.to_dict() == {"A1": date(2006, 12, 20), "D4": date(2008, 9, 1)}
    assert holds["to_on"].isna().all()  # nobody knew the end when it began
    assert holds["invoice_id"].isna().all()
    results = book.responses.to_pandas()
    assert results["account_id"].tolist() == ["A1"]  # E5 had nothing that could end
    assert results["kind"].tolist() == ["dispute_resolved"]
    held = book.timeline.holds.to_pandas().set_index("account")
    ended = held[held["kind"] == "dispute"]["ended_at"]
    accounts = book.account_ids.tolist()
    end = pd.Timestamp("2007-02-01 23:59:59.999999", tz=ROME)
    assert ended[accounts.index("A1")] == end
    assert pd.isna(ended[accounts.index("D4")])


def test_hand_over_is_an_agency_hold(book: Ledger) -> None:
    holds = book.holds.to_pandas()
    agency = holds[holds["kind"] == "agency"]
    assert agency[["account_id", "from_on"]].to_numpy().tolist() == [["A1", date(2009, 3, 30)]]


def test_the_selected_export_is_left_out_but_later_payments_stay(tmp_path: Path) -> None:
    write(tmp_path)
    usual = fines.ledger(tmp_path)
    assert "F6" not in usual.account_ids
    assert "E5-3" in usual.payments["payment_id"].to_pylist()  # paid in April 2012
    assert "F6" in fines.ledger(tmp_path, until=None).account_ids
    early = fines.ledger(tmp_path, until=date(2010, 12, 30))
    assert early.account_ids.tolist() == ["A1", "C3", "D4"]


def _facts_until(book: Ledger, day: str) -> dict[str, list[dict[str, object]]]:
    """Everything that may be used at the end of a local day, as plain rows."""
    instant = pd.Timestamp(day, tz=ROME) + pd.Timedelta(days=1)
    facts = {}
    for name in ("claims", "payments", "contacts", "responses", "holds"):
        table = getattr(book.timeline, name)
        known = pc.less(table["known_at"], instant.to_pydatetime())
        keep = [c for c in table.column_names if c not in {"invoice", "ended_at"}]
        facts[name] = table.filter(known).select(keep).to_pylist()
    return facts


def test_nothing_of_the_notification_is_known_before_the_penalty(tmp_path: Path) -> None:
    """It exists for the later penalised alone: with and without it, the past is the same."""
    penalised = fines.ledger(write(tmp_path / "with"))
    spared = tuple(c for c in CASES if c[2] not in {"Insert Fine Notification", "Add penalty"})
    without = fines.ledger(write(tmp_path / "without", spared))
    for day in ("2006-11-09", "2006-11-10", "2006-11-11", "2007-01-08"):
        assert _facts_until(penalised, day) == _facts_until(without, day)
    assert _facts_until(penalised, "2007-01-09") != _facts_until(without, "2007-01-09")
    penalty = rows(penalised, "invoices", "invoice_id")["A1-penalty"]
    assert (penalty["notified_by"], penalty["delivery_days"]) == ("P", 12.0)
    others = [r for r in penalised.invoices.to_pylist() if r["product"] != "penalty"]
    assert all(r["notified_by"] is None and r["delivery_days"] is None for r in others)


def test_the_dismissal_is_not_read(tmp_path: Path) -> None:
    """Whatever is written there, the ledger is the same, byte for byte."""
    one = fines.ledger(write(tmp_path / "one"))
    changed = tuple(
        (case, day, name, values | ({"dismissal": "T"} if name == "Create Fine" else {}))
        for case, day, name, values in CASES
    )
    assert fines.ledger(write(tmp_path / "two", changed)).fingerprint == one.fingerprint
    assert "dismissal" not in fines.FEATURES


def test_a_later_event_changes_nothing_before_it(tmp_path: Path) -> None:
    """Reading the log up to any day gives the facts of the whole log known by then."""
    whole = fines.ledger(write(tmp_path / "whole"))
    for day in ("2008-08-04", "2009-03-30", "2010-12-31"):
        cut = fines.ledger(write(tmp_path / day, tuple(c for c in CASES if c[1] <= day)))
        part, all_ = _facts_until(cut, day), _facts_until(whole, day)
        for name, table in part.items():
            drop = {"account"}  # row numbers move as accounts join
            assert [{k: v for k, v in r.items() if k not in drop} for r in table] == [
                {k: v for k, v in r.items() if k not in drop} for r in all_[name]
            ]


def test_the_path_may_be_the_file_its_folder_or_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    expected = fines.ledger(tmp_path).fingerprint
    folder = tmp_path / "road_traffic_fines"
    assert fines.ledger(folder).fingerprint == expected
    assert fines.ledger(str(folder / "events.parquet")).fingerprint == expected
    monkeypatch.setenv("COLLECTOPT_DATA", str(tmp_path))
    assert fines.ledger().fingerprint == expected


def test_missing_data_names_the_variable_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLLECTOPT_DATA", raising=False)
    with pytest.raises(InputError, match=r"COLLECTOPT_DATA.*road_traffic_fines/events\.parquet"):
        fines.ledger()
    monkeypatch.setenv("COLLECTOPT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"COLLECTOPT_DATA.*nowhere, which does not exist"):
        fines.ledger()
    with pytest.raises(InputError, match=r"road_traffic_fines/events\.parquet"):
        fines.ledger(tmp_path)


def test_a_file_that_is_no_such_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    file.write_text("no parquet")
    with pytest.raises(InputError, match="expected a parquet file"):
        fines.ledger(file)
    frame().drop(columns=["expense", "case"]).to_parquet(file)
    with pytest.raises(InputError) as caught:
        fines.ledger(file)
    assert {f.column for f in caught.value.faults} == {"expense", "case"}
    naive = frame()
    naive["time:timestamp"] = naive["time:timestamp"].dt.tz_localize(None)
    naive.to_parquet(file)
    with pytest.raises(InputError, match="instants with a time zone"):
        fines.ledger(file)


def test_orphans_and_doubles_are_listed_in_one_error(tmp_path: Path) -> None:
    orphan = ("Z9", "2007-01-01", "Send Fine", {"expense": 1.0})
    double = ("A1", "2008-01-01", "Add penalty", {"amount": 99.0})
    with pytest.raises(InputError) as caught:
        fines.ledger(write(tmp_path, (*CASES, orphan, double)))
    assert len(caught.value.faults) == 2
    assert "'Send Fine' of case Z9" in str(caught.value)
    assert "'Add penalty' of case A1" in str(caught.value)


def test_parts_of_a_cent_are_refused(tmp_path: Path) -> None:
    odd = ("G7", "2007-01-01", "Create Fine", {"amount": 12.345})
    with pytest.raises(InputError, match=r"whole cents; found 12\.345"):
        fines.ledger(write(tmp_path, (*CASES, odd)))


# The real log: not part of the repository, so these run only where COLLECTOPT_DATA says it is.
real = pytest.mark.skipif(
    "COLLECTOPT_DATA" not in os.environ,
    reason="COLLECTOPT_DATA is not set: the road traffic fines are not part of the repository",
)


@pytest.fixture(scope="module")
def log() -> Ledger:
    return fines.ledger()


@real
def test_real_log_has_its_known_size(log: Ledger) -> None:
    assert len(log.accounts) == 144_812
    product = log.invoices["product"].to_pandas().value_counts()
    assert product.to_dict() == {"fine": 144_779, "post": 98_753, "penalty": 78_865}
    assert len(log.contacts) == 101_572
    assert len(log.payments) == 73_668
    assert log.remarks == ()


@real
def test_real_log_claims_and_payments_add_up(log: Ledger) -> None:
    """Most who paid have paid fine, postage and penalty to the cent."""
    owed = log.timeline.claims.to_pandas().groupby("account")["cents"].sum()
    paid = log.timeline.payments.to_pandas().groupby("account")["cents"].sum()
    exact = (paid == owed.reindex(paid.index)).mean()
    assert 0.84 < exact < 0.86
    settled = log.timeline.settlements.to_pandas().groupby("account")["cents"].sum()
    assert (settled <= paid.reindex(settled.index)).all()


@real
def test_real_log_sixty_days_cover_what_is_paid_before_a_letter(log: Ledger) -> None:
    paid = log.timeline.payments.to_pandas().groupby("account")["local_day"].min()
    sent = log.timeline.contacts.to_pandas().groupby("account")["local_day"].min()
    claims = log.timeline.claims.to_pandas()
    fine = claims[claims["product"] == "fine"].set_index("account")["issued_on"]
    first = pd.DataFrame({"paid": paid, "sent": sent, "issued": fine}).dropna(subset=["paid"])
    first = first.dropna(subset=["issued"]).apply(pd.to_datetime)
    early = first[~(first["paid"] >= first["sent"])]
    days = (early["paid"] - early["issued"]).dt.days
    assert days.min() == 0
    assert 0.97 < np.mean(days <= fines.DUE_DAYS) < 0.98


@real
def test_real_log_amounts_are_exact(log: Ledger) -> None:
    events = pd.read_parquet(
        Path(os.environ["COLLECTOPT_DATA"]) / "road_traffic_fines" / "events.parquet",
        columns=["case", "concept:name", "paymentAmount"],
    )
    kept = events[events["case"].isin(log.account_ids)]
    total = round(kept["paymentAmount"].sum() * 100)
    assert pc.sum(log.timeline.payments["cents"]).as_py() == total
