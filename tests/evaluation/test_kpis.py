"""Key figures against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import collectopt as co
from collectopt.evaluation import formulas, kpis, recovery_curve, roll_rates
from collectopt.exceptions import InputError

from .made import tiny_tables


def test_formulas_by_hand():
    # the worked example of the definition: 400k at the start, 1.2m sold, 350k left, 280k current
    value = formulas.cei(400_000, 1_200_000, 350_000, 280_000)
    assert value == pytest.approx(1_250 / 1_320)
    assert f"{100 * value:.1f} %" == "94.7 %"
    assert formulas.cei(100, 0, 0, 0) == 1.0
    assert formulas.dso(250_000, 1_000_000, 365) == pytest.approx(91.25)
    assert formulas.best_possible_dso(100_000, 1_000_000, 365) == pytest.approx(36.5)
    assert formulas.add(250_000, 100_000, 1_000_000, 365) == pytest.approx(54.75)
    assert np.isnan(formulas.dso(1, 0, 90))
    assert np.isnan(formulas.ratio(0, 0))


# Receivables on 1 April: I2 150 + I3 300 + I4 50 (80 less the credit note); I3 is not due yet.
# Sales from 1 January: 100 + 200 + 300 - 30. Receivables on 1 January: I4 80. Cash 40 + 60 + 50.
EXPECTED = {
    "receivables": 500,
    "past_due": 200,
    "past_due_share": 0.4,
    "accounts_past_due": 2,
    "sales": 570,
    "dso": 500 / 570 * 90,
    "best_possible_dso": 300 / 570 * 90,
    "add": 200 / 570 * 90,
    "cei": 150 / (80 + 570 - 300),
    "paid_on_time": 40 / 300,
    "recovery_30": 60 / (60 + 200 + 80),  # I1, I2, I4 have had their 30 days
    "cured_30": 1 / 3,
    "recovery_60": 60 / (60 + 80),  # I2 was due 49 days ago: not judged
    "cured_60": 1 / 2,
    "recovery_90": 0,  # I4 alone
    "cured_90": 0,
    "collected": 110,
    "contacts": 2,
    "contacts_per_account": 1,
    "contact_cost": 4.55,
    "cost_to_collect": 4.55 / 110,
    "complaints_per_1000": 500,
    "write_off_share": 30 / 140,
}


def test_by_hand(tiny):
    result = kpis(tiny, "2026-04-01")
    assert {row.name: row.value for row in result.rows} == pytest.approx(EXPECTED)
    with pytest.raises(KeyError):
        result["nothing"]


def test_cash_is_what_the_receivables_say(tiny):
    """Beginning + sales - ending is the cash of the window, whatever the window."""
    for as_of in ("2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01"):
        for days in (30, 60, 200):
            now = kpis(tiny, as_of, days=days)
            start = np.datetime64(as_of) - days
            before = kpis(tiny, str(start), days=1)
            cash = sum(
                payment["amount"]
                for payment in tiny_tables()["payments"]
                if start <= np.datetime64(payment["paid_at"][:10]) < np.datetime64(as_of)
            )
            assert before["receivables"] + now["sales"] - now["receivables"] == pytest.approx(cash)


def test_the_future_changes_nothing(tiny):
    tables = tiny_tables()
    tables["payments"] = [p for p in tables["payments"] if p["paid_at"] < "2026-04-01"]
    tables["contacts"].append({**tables["contacts"][0], "contact_id": "C9"})
    tables["contacts"][-1]["sent_at"] = "2026-04-01T00:00+00:00"
    other = co.Ledger.from_frames(**tables)
    assert kpis(other, "2026-04-01") == kpis(tiny, "2026-04-01")


def test_nothing_to_divide_by():
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": "A", "customer_type": "business", "country": "DE"}],
        invoices=[
            {
                "invoice_id": "1",
                "account_id": "A",
                "issued_on": "2026-01-01",
                "due_on": "2026-01-31",
                "amount": 10,
                "currency": "EUR",
            }
        ],
    )
    result = kpis(ledger, "2026-01-20", days=5)
    undefined = {row.name for row in result.rows if np.isnan(row.value)}
    assert undefined >= {"dso", "add", "cei", "recovery_30", "cost_to_collect"}
    assert result["receivables"] == 10
    assert result["contacts"] == 0
    assert "–" in str(result)
    early = kpis(ledger, "2025-06-01")
    assert early["receivables"] == 0


def test_unknown_cost_is_not_free():
    tables = tiny_tables()
    for contact in tables["contacts"]:
        contact["cost"] = None
    result = kpis(co.Ledger.from_frames(**tables), "2026-04-01")
    assert np.isnan(result["contact_cost"])
    assert np.isnan(result["cost_to_collect"])


def test_several_currencies_do_not_add_up():
    tables = tiny_tables()
    for row in tables["invoices"]:
        row["currency"] = "CHF" if row["account_id"] == "B" else "EUR"
    ledger = co.Ledger.from_frames(**tables)
    with pytest.raises(InputError, match="CHF, EUR"):
        kpis(ledger, "2026-04-01")
    with pytest.raises(InputError, match="'USD'"):
        kpis(ledger, "2026-04-01", currency="USD")
    euro, swiss = (kpis(ledger, "2026-04-01", currency=c) for c in ("EUR", "CHF"))
    assert euro["receivables"] == 150
    assert swiss["receivables"] == 350
    assert (euro["contacts"], swiss["contacts"]) == (2, 0)
    assert euro["contacts_per_account"] == 2


def test_roll_rates_by_hand(tiny):
    table = roll_rates(tiny, "2026-04-01", days=30).set_index("bucket")
    # on 2 March I2 (200) was 19 days late, I4 (50) 77; I2 has 150 left and is 49 days late now
    assert table["balance"].to_dict() == {
        "current": 0,
        "1-30": 200,
        "31-60": 0,
        "61-90": 50,
        "over 90": 0,
    }
    assert table.loc["1-30", "rate"] == 150 / 200
    assert table.loc["61-90", "rate"] == 1.0
    assert np.isnan(table.loc["current", "rate"])


def test_recovery_curve(tiny):
    curve = recovery_curve(tiny, "2026-04-01", days=(0, 10, 30, 120), window=365)
    # no claim has had 120 days: the curve ends at 30
    assert curve["share"].tolist() == pytest.approx([0, 0, 60 / 340])
    assert curve["claims"].tolist() == [3, 3, 3]
    assert len(recovery_curve(tiny, "2025-01-01")) == 1
    whole = recovery_curve(tiny, "2026-06-01", days=(60,), window=365)
    assert whole["share"][0] == pytest.approx((60 + 200) / (60 + 200 + 80))


def test_it_prints(tiny):
    result = kpis(tiny, "2026-04-01")
    text = str(result)
    assert "as of 2026-04-01" in text
    assert "78.9 days" in text
    assert "42.9 %" in text
    assert "<table>" in result._repr_html_()
    assert list(result.to_pandas().columns) == ["name", "value", "unit", "label", "meaning"]
    with pytest.raises(InputError, match="days"):
        kpis(tiny, "2026-04-01", days=0)
