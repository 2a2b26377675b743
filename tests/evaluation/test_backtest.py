"""Backtests: labels against plain Python, nothing from the future, nothing judged early."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

import numpy as np
import pytest

import collectopt as co
from collectopt.evaluation import RollingSplit, backtest, rolling_cuts
from collectopt.exceptions import InputError
from collectopt.models import labels
from collectopt.schema.forecast import Forecast

START = dt.date(2025, 1, 1)
UTC = dt.UTC


def random_tables(seed: int = 0, accounts: int = 40, days: int = 420) -> dict:
    """Invoices with payments in one or two parts, some never, some withdrawn by credit notes."""
    rng = np.random.default_rng(seed)
    invoices, payments = [], []
    for i in range(accounts):
        account = f"A{i:03d}"
        for _ in range(int(rng.integers(4, 9))):
            k = len(invoices)
            issued = START + dt.timedelta(int(rng.integers(0, days)))
            amount = int(rng.integers(10, 400))
            base = {"account_id": account, "issued_on": issued, "currency": "EUR"}
            due = issued + dt.timedelta(14)
            invoices.append({"invoice_id": f"I{k}", "due_on": due, "amount": amount, **base})
            fate = rng.random()
            parts = [amount] if rng.random() < 0.7 else [amount // 2, amount - amount // 2]
            if fate < 0.75:
                at = dt.datetime.combine(issued, dt.time(12), UTC)
                for part in parts:
                    at += dt.timedelta(float(rng.exponential(25)))
                    row = {"payment_id": f"P{len(payments)}", "account_id": account}
                    row |= {"paid_at": at, "amount": part, "invoice_id": f"I{k}"}
                    payments.append(row)
    closed = START + dt.timedelta(days + 20)
    payments = [p for p in payments if p["paid_at"].date() < closed]
    people = [
        {"account_id": f"A{i:03d}", "customer_type": "consumer", "country": "DE"}
        for i in range(accounts)
    ]
    return {"accounts": people, "invoices": invoices, "payments": payments}


class Guess:
    """Remembers what it was shown; its forecast is a function of the row number alone."""

    seen: ClassVar[list[tuple[np.datetime64, int]]] = []

    def __init__(self, event: str = "full") -> None:
        self.event = event

    def fit(self, ledger, *, as_of):
        self.cut = as_of
        return self

    def predict(self, snapshot, *, horizons, level):
        Guess.seen.append((self.cut, len(snapshot)))
        assert (snapshot.as_of >= self.cut).all()
        p = np.linspace(0.05, 0.95, len(snapshot))[:, None] * np.ones(len(horizons))
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        days = np.tile([1.0, 20.0, 60.0], (len(snapshot), 1))
        return Forecast(rows, tuple(horizons), p, p.copy(), days)


@pytest.fixture(scope="module")
def ledger():
    return co.Ledger.from_frames(**random_tables())


@pytest.fixture(scope="module")
def split():
    return RollingSplit.from_cuts(["2025-10-01", "2026-01-01"], end="2026-03-01")


INVOICE_HORIZONS = ("10D", "30D", "60D", "90D", "due+7D")


@pytest.fixture(scope="module")
def by_invoice(ledger, split):
    return backtest(Guess, ledger, split, INVOICE_HORIZONS, level="invoice")


@pytest.fixture(scope="module")
def by_account(ledger, split):
    return backtest(lambda: Guess("any"), ledger, split, ("30D",), rivals={"Other": Guess})


def paid_when(tables, invoice_id):
    """Instant of full payment of a claim, or None."""
    amount = next(row["amount"] for row in tables["invoices"] if row["invoice_id"] == invoice_id)
    got = 0
    for row in sorted(tables["payments"], key=lambda row: row["paid_at"]):
        if row["invoice_id"] == invoice_id:
            got += row["amount"]
            if got >= amount:
                return row["paid_at"]
    return None


def next_midnight(day):
    return dt.datetime.combine(day + dt.timedelta(1), dt.time(), UTC)


def test_invoice_labels_against_plain_python(by_invoice):
    result, horizons = by_invoice, INVOICE_HORIZONS
    tables = random_tables()
    end = dt.datetime(2026, 3, 1, tzinfo=UTC)
    expected, left_out = {}, 0
    for cut in (dt.datetime(2025, 10, 1, tzinfo=UTC), dt.datetime(2026, 1, 1, tzinfo=UTC)):
        for row in tables["invoices"]:
            paid = paid_when(tables, row["invoice_id"])
            known = next_midnight(row["issued_on"]) <= cut
            if not known or (paid is not None and paid < cut):
                continue
            for horizon in horizons:
                if horizon == "due+7D":
                    target = next_midnight(row["due_on"] + dt.timedelta(7))
                else:
                    target = cut + dt.timedelta(int(horizon[:-1]))
                if target <= cut:
                    continue
                if target > end:
                    left_out += 1
                    continue
                key = (cut, row["invoice_id"], horizon)
                expected[key] = paid is not None and paid < target
    frame = result.rows.to_pandas()
    keys = zip(frame["as_of"], frame["invoice_id"], frame["horizon"], strict=True)
    found = {
        (at.to_pydatetime(), invoice, horizon): bool(paid)
        for (at, invoice, horizon), paid in zip(keys, frame["paid"], strict=True)
    }
    assert len(expected) > 250
    assert 0.1 < np.mean(list(expected.values())) < 0.9
    assert found == expected
    assert sum(result.excluded["rows"].to_pylist()) == left_out > 50
    assert (frame["weight"] == 1).all()
    assert set(result.horizons) == set(frame["horizon"])
    # 90 days after 1 January lie beyond the end: nothing of that cut is judged
    late = frame[(frame["horizon"] == "90D") & (frame["cut"].dt.year == 2026)]
    assert len(late) == 0


def test_account_labels_against_plain_python(by_account):
    result = by_account
    tables = random_tables()
    for row in result.rows.to_pylist():
        start = row["as_of"]
        soon = [
            payment
            for payment in tables["payments"]
            if payment["account_id"] == row["account_id"]
            and start <= payment["paid_at"] < start + dt.timedelta(30)
        ]
        assert row["paid"] == bool(soon)
    assert result.event == "any"
    assert result.level == "account"


def test_everything_is_fitted_before_its_cut(ledger):
    Guess.seen.clear()
    split = rolling_cuts(ledger, n=2, every="60D", horizon="30D", dates=2)
    result = backtest(Guess, ledger, split, ("30D",))
    assert [cut for cut, _ in Guess.seen] == list(split.cuts)
    frame = result.rows.to_pandas()
    assert frame.groupby("cut")["as_of"].nunique().tolist() == [2, 2]
    assert sum(result.excluded["rows"].to_pylist()) == 0


def test_the_rivals_always_run(by_account):
    assert by_account.rivals == ("ShrunkenRate", "BaseRate", "Other")
    frame = by_account.rows.to_pandas()
    for name in by_account.forecasters:
        assert frame[name].between(0, 1).all()
    assert frame["Other"].tolist() == frame["Guess"].tolist()
    assert frame["ShrunkenRate"].nunique() > frame["BaseRate"].nunique() > 1


def test_withdrawn_claims_are_stood_for_by_others(ledger, split):
    """A claim closed by a credit note before its horizon is neither paid nor unpaid."""
    tables = random_tables()
    never = [i for i in tables["invoices"] if paid_when(tables, i["invoice_id"]) is None]
    open_then = [i for i in never if dt.date(2025, 8, 1) < i["issued_on"] < dt.date(2025, 9, 25)]
    for i, row in enumerate(open_then[:4]):
        note = {"invoice_id": f"N{i}", "amount": -row["amount"], "kind": "credit_note"}
        note |= {"account_id": row["account_id"], "currency": "EUR"}
        day = dt.date(2025, 10, 5)
        tables["invoices"].append({**note, "issued_on": day, "due_on": day})
    for row in tables["invoices"]:
        row.setdefault("kind", "invoice")
    changed = backtest(Guess, co.Ledger.from_frames(**tables), split, ("30D",), level="invoice")
    weights = changed.rows.to_pandas().groupby("cut")["weight"]
    assert sum(changed.excluded["rows"].to_pylist()) > 0
    assert weights.max().tolist()[0] > 1
    assert weights.max().tolist()[1] == 1


def test_intervals_are_judged_only_when_they_are_over(by_account):
    result = by_account
    table = result.intervals.to_pandas()
    # 1 to 60 days: over for the first cut (151 days watched), not for the second (59 days)
    assert table["n"].tolist()[1] == 0
    assert np.isnan(table["coverage"][1])
    rows = result.rows.to_pandas()
    first = rows[rows["cut"].dt.year == 2025]
    assert table["n"][0] == len(first)
    assert 0 < table["coverage"][0] < 1


def test_amounts(by_invoice):
    result = by_invoice
    row = result.amounts.set_index("horizon").loc["30D"]
    tables = random_tables()
    total = paid = 0.0
    judged = [row for row in result.rows.to_pylist() if row["horizon"] == "30D"]
    for entry in judged:
        amount = next(
            i["amount"] for i in tables["invoices"] if i["invoice_id"] == entry["invoice_id"]
        )
        mine = [p for p in tables["payments"] if p["invoice_id"] == entry["invoice_id"]]
        before = sum(p["amount"] for p in mine if p["paid_at"] < entry["as_of"])
        soon = entry["as_of"] + dt.timedelta(30)
        total += amount - before
        paid += sum(p["amount"] for p in mine if entry["as_of"] <= p["paid_at"] < soon)
    assert row["open"] == pytest.approx(total)
    assert row["settled"] == pytest.approx(paid / total)
    assert row["n"] == len(judged)
    assert "due+7D" not in result.amounts["horizon"].tolist()


def test_only_some_rows(ledger, split, by_invoice):
    def past_due(snapshot):
        return labels.due_offsets(snapshot) <= 0

    some = backtest(Guess, ledger, split, ("30D",), level="invoice", only=past_due)
    due = {row["invoice_id"]: row["due_on"] for row in random_tables()["invoices"]}
    whole = [row for row in by_invoice.rows.to_pylist() if row["horizon"] == "30D"]
    late = [r for r in whole if next_midnight(due[r["invoice_id"]]) <= r["as_of"]]
    assert 0 < len(late) < len(whole)
    columns = ["as_of", "invoice_id", "paid"]
    assert some.rows.select(columns).to_pylist() == [{k: r[k] for k in columns} for r in late]
    with pytest.raises(InputError, match="at least one prediction"):
        backtest(Guess, ledger, split, only=lambda snapshot: np.zeros(len(snapshot), bool))


def test_bad_requests(ledger, split):
    with pytest.raises(InputError, match="horizons"):
        backtest(Guess, ledger, split, ("a month",))
    with pytest.raises(InputError, match="names of their own"):
        backtest(Guess, ledger, split, ("30D",), rivals={"paid": Guess})
    with pytest.raises(InputError, match="at least one prediction"):
        backtest(Guess, ledger, split, ("400D",))
    with pytest.raises(ValueError, match="week"):
        backtest(Guess, ledger, split, ("30D",), level="week")
