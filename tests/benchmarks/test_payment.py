"""The yardstick itself: known answers for what the payment benchmark computes by its own means."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from collectopt.models.labels import Durations

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import a benchmark by name, as a script beside it would."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return import_module


# -- lines -------------------------------------------------------------------------------------


def test_a_missed_bar_fails_the_run_and_nan_misses(module, tmp_path, capsys):
    lines, payment = module("payment_lines"), module("payment")
    good = lines.Line("p", "r", "log-loss", 0.4, lines.Bar(high=0.4))
    for value in (0.41, np.nan):
        bad = replace(good, value=value)
        assert payment.report([good, bad], [], {}, tmp_path) == 1
        assert "1 of 2 bars reached, 1 missed" in capsys.readouterr().out
        content = json.loads((tmp_path / "payment.json").read_text())
        assert [line["failed"] for line in content["lines"]] == [False, True]
    assert payment.report([good, replace(bad, bar=None)], [], {}, tmp_path) == 0


def test_score_pairs_each_rival_with_the_library(module):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 2000)
    y = (rng.random(2000) < p).astype(int)
    forecasts = {"own": p, "base": np.full(2000, y.mean())}
    *rivals, own = module("payment_lines").scores("p", "r", y, forecasts, np.arange(2000), "own")
    assert own.forecaster == "own"
    assert own.lost is None
    assert rivals[0].lost.value == pytest.approx(rivals[0].log_loss - own.log_loss)
    assert rivals[0].lost.lower > 0.0


# -- fines -------------------------------------------------------------------------------------


def test_coverage_of_a_true_law_is_80_percent_where_many_pay_at_once(module, monkeypatch):
    fines = module("payment_fines")
    rng, n = np.random.default_rng(0), 40_000
    law = np.r_[0.25, np.full(365, 0.75 / 365)]  # a quarter of the payers on the first day
    day = np.where(rng.random(n) < 0.4, rng.choice(366, n, p=law) + 1, 1000)
    p = np.tile(0.4 * np.cumsum(law), (n, 1))
    model = SimpleNamespace(predict=lambda *_, **__: SimpleNamespace(p_paid=p))
    monkeypatch.setattr(fines.co.Snapshot, "from_rows", lambda *_: None)
    columns = dict.fromkeys(("account_id", "as_of", "invoice_id"), "")
    # A day counts as paid just before the midnight that ends it.
    rows = pd.DataFrame({**columns, "event": day < 1000, "days": day - 1e-9}, index=range(n))
    held = fines._held(model, None, rows)
    paid = ~np.isnan(held)
    assert (paid == (day < 1000)).all()
    error = held[paid].std() / np.sqrt(paid.sum())
    assert held[paid].mean() == pytest.approx(0.8, abs=4 * error)
    share = np.cumsum(law)
    low, high = (share >= 0.1).argmax() + 1, (share >= 0.9).argmax() + 1
    inclusive = ((low <= day) & (day <= high))[paid].mean()
    assert inclusive > 0.8 + 20 * error


def test_letters_of_cases_that_paid_on_an_earlier_day_are_no_rows(module, tmp_path):
    rows, real = module("fines_rows"), module("real")
    log = rows.read(_log_of_three(tmp_path))
    assert log.letter.case.tolist() == ["B", "C"]
    assert log.letter.label(30).tolist() == [1, 0]  # B pays on the very day of its letter
    asked = real.named(log.letter, np.arange(2), "letter")
    assert asked["invoice_id"].tolist() == ["B-post", "C-fine"]  # C's letter cost nothing


def _log_of_three(folder: Path) -> Path:
    """A pays before its letter, B on its day, C never."""
    events = [
        ("A", "Create Fine", "2009-01-01"),
        ("A", "Payment", "2009-01-05"),
        ("A", "Send Fine", "2009-01-06"),
        ("B", "Create Fine", "2009-01-02"),
        ("B", "Send Fine", "2009-01-07"),
        ("B", "Payment", "2009-01-07"),
        ("C", "Create Fine", "2009-01-03"),
        ("C", "Send Fine", "2009-01-08"),
    ]
    e = pd.DataFrame(events, columns=["case", "concept:name", "day"])
    e["time:timestamp"] = pd.to_datetime(e.pop("day")).dt.tz_localize("Europe/Rome")
    e["amount"] = 35.0
    e["expense"] = np.where(e["case"] == "C", 0.0, 11.0)
    e["paymentAmount"] = np.where(e["concept:name"] == "Payment", 35.0, np.nan)
    e = e.assign(article=157, vehicleClass="A", points=0.0, notificationType="P")
    e["org:resource"] = "1"
    path = folder / "events.parquet"
    e.to_parquet(path)
    return path


# -- rivals ------------------------------------------------------------------------------------


def test_logistic_hazard_counts_only_bins_that_were_over(module):
    rivals = module("payment_rivals")
    rng, n = np.random.default_rng(0), 20_000
    x = rng.normal(size=n)
    days = rng.exponential(60.0 * np.exp(-0.5 * x))
    watched = rng.uniform(0.0, 200.0, n)
    event = days < watched
    known = rivals.Moments(None, x[:, None], np.minimum(days, watched), event, watched)
    asked, ends = np.array([[-1.0], [0.0], [1.0]]), [31.0, 91.0, 181.0]
    truth = 1.0 - np.exp(-np.array(ends) / (60.0 * np.exp(-0.5 * asked)))
    # Over eight seeds the standard error is .004, and .006 is lost because hazards are proportional
    # here while the log odds of the model add up: 4 x .004 + .006.
    assert np.abs(rivals.logistic_hazard(known, asked, ends) - truth).max() < 0.022
    # The naive way: events of bins that were cut off count, their open rows do not.
    endless = replace(known, watched=np.full(n, np.inf))
    assert np.abs(rivals.logistic_hazard(endless, asked, ends) - truth).max() > 0.05


def test_history_of_a_customer_knows_only_what_was_settled_before(module):
    ibm = module("payment_ibm")
    day = pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(0, 40, 10), unit="D")
    data = pd.DataFrame({"customerID": "a", "InvoiceDate": day})
    data["SettledDate"] = day + pd.to_timedelta([5, 25, 5, 5], unit="D")
    data = data.assign(late=[0, 1, 0, 1], DaysLate=[0, 20, 0, 3], DaysToSettle=[5, 25, 5, 5])
    data["late over 10 d"] = [0, 1, 0, 0]
    found = ibm._history(data)
    assert found["n"].tolist() == [0, 1, 1, 2]  # the second one is settled on day 35
    assert found["open"].tolist() == [0, 0, 1, 1]
    assert found["late"].iloc[1:].tolist() == [0.0, 0.0, 0.0]
    assert found["last DaysToSettle"].iloc[3] == 5.0
    shifted = data.assign(late=[0, 0, 0, 0], DaysLate=[0, 0, 0, 0])  # what comes later
    pd.testing.assert_frame_equal(found, ibm._history(shifted))


# -- simulated books ---------------------------------------------------------------------------


def test_brier_and_crps_by_hand(module):
    books = module("payment_simulated")
    # Paid on day 10; still open after 150 days; watched for 50 days only; withdrawn on day 20.
    came = Durations(np.array([10.0, 150.0, 50.0, 20.0]), np.array([True, False, False, False]))
    outcomes = books.Outcomes(came, np.array([150.0, 150.0, 50.0, 150.0]))
    p = np.array([0.9, 0.2, 0.3, 0.7])
    # By day 30 three are known: the paid one before the withdrawal at weight 1, and two open ones
    # that stand for the withdrawn one, which was half way among three: 1 / (1 - 1/3) each.
    squares, weights = np.array([0.01, 0.04, 0.09]), np.array([1.0, 1.5, 1.5])
    assert outcomes.brier(p, 30.0) == pytest.approx(np.average(squares, weights=weights))
    curve = {int(days): np.full(4, 0.5) for days in books.GRID}
    assert outcomes.crps(curve) == pytest.approx(0.25 * (books.GRID[-1] - books.GRID[0]))
    for p_ in curve.values():
        p_[2] = 1.0  # not watched for all of the grid
    assert outcomes.crps(curve) == pytest.approx(0.25 * (books.GRID[-1] - books.GRID[0]))


def test_the_type_is_a_feature_of_the_informed_ledger_alone(module):
    books = module("payment_simulated")
    book = books.co.simulation.Book("shop", accounts=30, seed=0, weeks=40)
    rich = books.informed(book)
    assert rich.features == (books.TYPE,)
    types = dict(zip(book.truth.account_id, book.truth.type, strict=True))
    told = dict(zip(rich.account_ids, rich.accounts[books.TYPE].to_pylist(), strict=True))
    assert told == types
    assert book.ledger().features == ()


def test_questions_are_open_claims_and_later_invoices(module):
    books = module("payment_simulated")
    book = books.co.simulation.Book("shop", accounts=100, seed=0, weeks=40)
    cut = book.as_of - pd.Timedelta(weeks=13)
    rows = books.questions(book.ledger(), cut).to_pandas()
    at_cut = rows[rows["as_of"] == cut]
    later = rows[rows["as_of"] > cut]
    assert len(at_cut) + len(later) == len(rows)
    assert len(at_cut) == len(books.co.Snapshot(book.ledger(), cut).to_invoice_level())
    bills = book.ledger().invoices.to_pandas().set_index("invoice_id")
    local = later["as_of"].dt.tz_convert(book.ledger().timezone)
    issued = pd.to_datetime(bills["issued_on"].loc[later["invoice_id"]])
    assert (local.dt.tz_localize(None).to_numpy() == issued.to_numpy()).all()
    wanted = (pd.to_datetime(bills["issued_on"]).dt.date > cut.date()) & (bills["amount"] > 0)
    assert set(later["invoice_id"]) == set(bills.index[wanted])
