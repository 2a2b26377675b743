"""Backtests of cash flow: the ageing table by hand, coverage and bias where chances are known."""

import numpy as np
import pytest

import collectopt as co
from collectopt.evaluation import AgeingTable, RollingSplit, backtest_cash_flow
from collectopt.evaluation.plots import Plot
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import CashFlowModel
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon

START = np.datetime64("2022-01-01")
WEEKS = 3
MEAN_DAYS = {"Q": 15.0, "S": 150.0}  # quick and slow customers


def person(name):
    return {"account_id": name, "customer_type": "consumer", "country": "DE"}


def claim(name, account, issued, amount):
    dates = {"issued_on": str(issued), "due_on": str(np.datetime64(issued) + 14)}
    row = {"invoice_id": name, "account_id": account, "amount": amount, "currency": "EUR"}
    return {**row, **dates}


def paid(name, account, at, amount):
    row = {"payment_id": name, "account_id": account, "amount": amount, "invoice_id": name}
    return {**row, "paid_at": f"{at}+00:00"}


@pytest.fixture(scope="module")
def ledger():
    """Quick and slow customers take turns: in odd months most new claims are of quick ones."""
    rng = np.random.default_rng(0)
    invoices, payments = [], []
    for k in range(2500):
        day = START + int(rng.integers(0, 900))
        month = int(day.astype("datetime64[M]").astype(int))
        kind = "Q" if rng.random() < (0.8 if month % 2 else 0.2) else "S"
        name, account = f"I{k:05d}", f"{kind}{k % 300:03d}"
        amount = float(rng.integers(20, 400))
        wait = 1.0 + rng.exponential(MEAN_DAYS[kind])
        at = day.astype("datetime64[m]") + np.timedelta64(int(1440 * wait), "m")
        invoices.append(claim(name, account, day, amount))
        payments.append(paid(name, account, at, amount))
    people = [person(f"{kind}{k:03d}") for kind in "QS" for k in range(300)]
    return co.Ledger.from_frames(accounts=people, invoices=invoices, payments=payments)


class Known:
    """Says the true chances; remembers the cuts it was fitted at."""

    event = "full"

    def __init__(self, seen=None):
        self.seen = [] if seen is None else seen

    def fit(self, ledger, as_of):
        self.seen.append(as_of)
        return self

    def predict(self, snapshot, *, horizons, level):
        rows = snapshot.to_invoice_level()
        days = np.array([Horizon.parse(h).days for h in horizons], dtype=float)
        mean = np.array([MEAN_DAYS[a[0]] for a in rows.rows["account_id"].to_pylist()])
        p = 1.0 - np.exp(-days / mean[:, None])
        ids = rows.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(ids, tuple(horizons), p, p.copy(), np.zeros((len(p), 3)))


CUTS = [str(np.datetime64("2023-02-01") + 56 * k) for k in range(7)]


@pytest.fixture(scope="module")
def result(ledger):
    split = RollingSplit.from_cuts(CUTS, end="2024-01-18")

    def maker():
        return CashFlowModel(Known, weeks=WEEKS, cuts=3, every="28D", draws=600)

    return backtest_cash_flow(maker, ledger, split, ageing=AgeingTable(weeks=WEEKS, cuts=6))


def test_known_chances_are_covered_and_beat_the_ageing_table(result):
    table = result.table.set_index(["of", "week"])
    for of, n in (("week", len(CUTS) * WEEKS - 1), ("cumulative", len(CUTS))):
        # Running totals of one cut go together: a cut counts once there.
        row = table.loc[(of, 0)]
        error = np.sqrt(0.8 * 0.2 / n)
        assert abs(row["coverage"] - 0.8) < 3.0 * error
        assert row["mape"] < row["ageing_mape"]
    total = result.rows.groupby("cut")[["expected", "seen"]].sum()
    ratio = total["seen"] / total["expected"]
    assert abs(ratio.mean() - 1.0) < 3.0 * ratio.std() / np.sqrt(len(ratio))


def test_scores_add_up(result):
    rows, table = result.rows, result.table.set_index(["of", "week"])
    assert rows["cut"].is_monotonic_increasing
    for name in ("expected", "seen", "ageing"):
        running = rows.groupby("cut")[name].cumsum()
        assert rows[f"cumulative_{name}"].tolist() == pytest.approx(running.tolist())
    second = rows[rows["week"] == 2]
    row = table.loc[("week", 2)]
    assert row["n"] == len(second) == len(CUTS)
    assert row["bias"] == pytest.approx(second["expected"].sum() / second["seen"].sum() - 1.0)
    miss = (second["ageing"] - second["seen"]).abs() / second["seen"]
    assert row["ageing_mape"] == pytest.approx(miss.mean())
    hit = (second["lower"] <= second["seen"]) & (second["seen"] <= second["upper"])
    assert row["coverage"] == pytest.approx(hit.mean())
    assert row["coverage_lower"] < row["coverage"] <= row["coverage_upper"]


def test_weeks_that_are_not_over_are_left_out(result):
    # The last cut is 2024-01-03: two weeks and a day lie before the end.
    assert result.rows[result.rows["cut"] == CUTS[-1]]["week"].tolist() == [1, 2]


def test_prints_and_draws(result):
    assert "nominal coverage 80%" in repr(result)
    assert "in EUR" in repr(result)
    assert "<table" in result._repr_html_()
    picture = result.plot()
    assert isinstance(picture, Plot)
    dots = next(x for x in picture.axes[0].get_lines() if x.get_label() == "came")
    last = result.rows[result.rows["cut"] == CUTS[-1]]["seen"].tolist()
    assert dots.get_ydata()[:2].tolist() == pytest.approx(last)
    assert np.isnan(dots.get_ydata()[2])


def test_nothing_is_fitted_after_its_cut(ledger):
    seen = []
    split = RollingSplit.from_cuts(["2023-09-01", "2023-10-01"], end="2024-03-01")

    def maker():
        return CashFlowModel(lambda: Known(seen), weeks=2, cuts=2, every="14D", draws=50)

    backtest_cash_flow(maker, ledger, split, ageing=AgeingTable(weeks=2, cuts=2))
    first, second = (np.datetime64(d, "us") for d in ("2023-09-01", "2023-10-01"))
    assert max(seen[:3]) == first
    assert max(seen) == second
    assert len(seen) == 6


def test_ageing_table_by_hand():
    """As of 29 April the table knows two earlier days, 28 days apart, and one week after each."""
    book = co.Ledger.from_frames(
        accounts=[person("A"), person("B")],
        invoices=[
            claim("I1", "A", "2026-03-20", 100.0),  # due 3 April
            claim("I2", "A", "2026-02-01", 40.0),  # due 15 February
            claim("I3", "B", "2026-01-01", 60.0),  # due 15 January
            claim("I4", "B", "2026-04-25", 500.0),
            claim("I5", "B", "2026-04-01", 30.0),  # due 15 April
        ],
        payments=[
            paid("I1", "A", "2026-04-24T12:00", 25.0),
            paid("I2", "A", "2026-03-26T12:00", 10.0),
            paid("I3", "B", "2026-04-22T12:00", 6.0),
        ],
    )
    table = AgeingTable(weeks=1, cuts=2, every="28D").fit(book, "2026-04-29")
    # 24 March: I1 100 not due, I2 40 at 37 days, I3 60 at 68 days. 21 April: I1 100 at 18 days,
    # I2 30 at 65 days, I3 60 at 96 days, I5 30 at 6 days.
    expected = [0 / 100, 25 / 130, 10 / 40, 0 / 90, 6 / 60, (25 + 10 + 6) / 420]
    assert table.shares[:, 0] == pytest.approx(expected)
    # 29 April: I1 75 and I5 30 at 26 and 14 days, I2 30 at 73, I3 54 at 104, I4 500 not due.
    found = table.predict(co.Snapshot(book, "2026-04-29"))
    assert found == pytest.approx([105 * 25 / 130 + 54 * 0.1])


def test_the_table_does_not_see_the_future(ledger):
    cut = np.datetime64("2023-06-01")
    invoices = [i for i in ledger.invoices.to_pylist() if np.datetime64(i["issued_on"]) < cut]
    names = {i["invoice_id"] for i in invoices}
    payments = [
        p for p in ledger.payments.to_pylist()
        if p["invoice_id"] in names and np.datetime64(p["paid_at"].replace(tzinfo=None)) < cut
    ]  # fmt: skip
    other = co.Ledger.from_frames(accounts=ledger.accounts, invoices=invoices, payments=payments)
    first, second = (
        AgeingTable(weeks=WEEKS, cuts=4).fit(x, str(cut)).shares for x in (ledger, other)
    )
    assert (first == second).all()


def test_too_little_is_refused(ledger):
    with pytest.raises(InputError, match="open claims at least"):
        AgeingTable().fit(ledger, "2022-01-10")
    with pytest.raises(NotFittedError):
        AgeingTable().predict(co.Snapshot(ledger, "2023-01-01"))
    split = RollingSplit.from_cuts(["2024-01-01"], end="2024-01-05")
    with pytest.raises(InputError, match="week that is over"):
        backtest_cash_flow(
            lambda: CashFlowModel(Known, weeks=2, cuts=2, every="14D"), ledger, split
        )
