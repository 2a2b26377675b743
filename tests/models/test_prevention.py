"""Risk of being late before the due date, on a book whose chances are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

import collectopt as co
from collectopt.evaluation import Fold, RollingSplit, backtest, not_yet_due
from collectopt.evaluation.scoring import clustered_mean
from collectopt.exceptions import InputError
from collectopt.models import LateRisk, PaymentModel, labels, late_risk
from collectopt.models.options import HazardOptions
from collectopt.schema.forecast import Forecast
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

QUICK = HazardOptions(rounds=80, rate=0.1)
TERMS = 14
CUTS = ("2024-02-05", "2024-03-05", "2024-04-05")
END = "2024-07-01"
DAY = np.timedelta64(1, "D")


@dataclass
class Truth:
    """A book; `late` is P(late) of an account, `lead` days before the due midnight if punctual."""

    tables: dict
    late: np.ndarray

    def ledger(self, until=None, drop=()):
        """Leave out what came from a day on, and some claims."""
        last = np.datetime64(until or "2030-01-01")
        invoices = [
            i for i in self.tables["invoices"]
            if np.datetime64(i["issued_on"]) < last and i["invoice_id"] not in drop
        ]  # fmt: skip
        payments = [
            p for p in self.tables["payments"]
            if np.datetime64(p["paid_at"][:19]) < last and p["invoice_id"] not in drop
        ]  # fmt: skip
        return Ledger.from_frames(
            accounts=self.tables["accounts"], invoices=invoices, payments=payments
        )

    def p_late(self, account_id, ahead):
        """P(late | open so many days before the due midnight)."""
        late = self.late[[int(a[1:]) for a in account_id]]
        still = np.clip(ahead / TERMS, 0.0, 1.0)
        return late / (late + (1.0 - late) * still)


def make_truth(seed=0, n=500, months=28, slow=60.0):
    """Punctual payers pay at any time between issue and due date alike, late ones weeks after."""
    rng = np.random.default_rng(seed)
    late = rng.beta(0.6, 1.2, n)
    start = np.datetime64("2022-01-01")
    invoices, payments = [], []
    for k in range(n):
        for m in range(months):
            if rng.random() < 0.45:
                continue
            issued = start + int(30 * m + rng.integers(0, 28)) * DAY
            key, amount = f"{k:04d}-{m:02d}", float(rng.integers(20, 200))
            invoices.append(
                {"invoice_id": key, "account_id": f"A{k:04d}", "issued_on": str(issued),
                 "due_on": str(issued + TERMS * DAY), "amount": amount, "currency": "EUR"}
            )  # fmt: skip
            end = TERMS + 1.0
            wait = end + rng.exponential(slow)
            if rng.random() >= late[k]:
                wait = end - TERMS * rng.random()
            at = issued.astype("M8[s]") + np.timedelta64(int(wait * 86_400) - 1, "s")
            payments.append(
                {"payment_id": key, "account_id": f"A{k:04d}", "paid_at": f"{at}+00:00",
                 "amount": amount, "invoice_id": key}
            )  # fmt: skip
    accounts = [
        {"account_id": f"A{k:04d}", "customer_type": "consumer", "country": "DE"} for k in range(n)
    ]
    tables = {"accounts": accounts, "invoices": invoices, "payments": payments}
    return Truth(tables, late)


@pytest.fixture(scope="module")
def truth():
    return make_truth()


@pytest.fixture(scope="module")
def ledger(truth):
    return truth.ledger()


@pytest.fixture(scope="module")
def model(ledger):
    return invoice_model().fit(ledger, as_of=CUTS[1])


@pytest.fixture(scope="module")
def rows(ledger):
    return not_due_after(ledger, CUTS[1], 80)


@pytest.fixture(scope="module")
def risk(model, rows):
    return late_risk(model, rows)


def not_due_after(ledger, cut, days):
    """Claims that are not due, every fourth day after the cut."""
    moments = [np.datetime64(cut, "us") + day * DAY for day in range(0, days, 4)]
    parts = [Snapshot(ledger, at).to_invoice_level().rows for at in moments]
    names = ["account_id", "as_of", "invoice_id"]
    found = Snapshot.from_rows(ledger, pa.concat_tables([part.select(names) for part in parts]))
    return found.take(np.flatnonzero(not_yet_due(found)))


def is_late(rows):
    """What came of them: not paid by the end of the due day."""
    found = labels.durations(rows, "full", "invoice", "2030-01-01")
    return ~(found.event & (found.days < labels.due_offsets(rows)))


def mean(values, account_id):
    code = np.unique(np.asarray(account_id), return_inverse=True)[1]
    return clustered_mean(np.asarray(values, float), code, np.ones(len(code)))


def invoice_model():
    return PaymentModel(event="full", levels=("invoice",), max_rows=8000, options=QUICK)


# -- is it true? -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested(ledger):
    cuts = [np.datetime64(cut, "us") for cut in CUTS]
    folds = [Fold(cut, tuple(cut + day * DAY for day in range(0, 28, 4))) for cut in cuts]
    split = RollingSplit(tuple(folds), np.datetime64(END, "us"))
    horizons = ("due+0D", "due+30D")
    return backtest(invoice_model, ledger, split, horizons, level="invoice", only=not_yet_due)


def gap(rows, forecaster, own=slice(None)):
    """Observed less predicted rate and its standard error by account."""
    part = rows[own]
    off = part["paid"].to_numpy(float) - part[forecaster].to_numpy()
    return clustered_mean(off, part["account_id"].factorize()[0], np.ones(len(part)))


@pytest.mark.parametrize("horizon", ["due+0D", "due+30D"])
def test_chances_are_calibrated(tested, ledger, horizon):
    rows = tested.rows.to_pandas().query("horizon == @horizon")
    assert len(rows) > 1500
    assert not tested.excluded["rows"].to_numpy().any()
    p = rows["PaymentModel"].to_numpy()
    due = ledger.invoices.to_pandas().set_index("invoice_id")["due_on"]
    due = due.loc[rows["invoice_id"]].to_numpy().astype("M8[D]")
    days = (due - rows["as_of"].dt.tz_localize(None).to_numpy().astype("M8[D]")).astype(int)
    assert (days >= 0).all()
    groups = [np.ones(len(rows), bool)]
    fifths = np.digitize(p, np.quantile(p, [0.2, 0.4, 0.6, 0.8]))
    groups += [fifths == g for g in range(5)]
    groups += [days <= 3, (days > 3) & (days <= 7), days > 7]
    for own in groups:
        off, error = gap(rows, "PaymentModel", own)
        assert abs(off) < 3.0 * error


def test_it_beats_the_rate_of_the_account_and_of_the_book(tested):
    assert set(tested.gains["rival"]) == {"ShrunkenRate", "BaseRate"}
    assert (tested.gains["lower"] > 0.0).all()


def test_the_amount_expected_late_is_what_comes_late(risk, rows):
    off = risk.expected_late - risk.open_amount * is_late(rows)
    off, error = mean(off, rows.rows["account_id"])
    assert abs(off) < 3.0 * error
    assert error < 0.1 * risk.expected_late.mean()


def test_usual_rates_count_only_claims_still_open(truth, risk, rows):
    """The nearer the due date, the more of the open claims are late, for everybody."""
    account = np.asarray(rows.rows["account_id"])
    near = risk.days_to_due <= 3
    late = is_late(rows)
    for own in (near, ~near):
        off, error = mean((late - risk.usual_open)[own], account[own])
        assert abs(off) < 3.0 * error
    naive, error = mean((late - risk.usual)[near], account[near])
    assert naive > 5.0 * error
    known = truth.p_late(account, labels.due_offsets(rows))
    off = [np.abs(p - known).mean() for p in (risk.usual_open, risk.usual)]
    assert off[0] < 0.7 * off[1]
    np.testing.assert_allclose(risk.excess, risk.p_late[:, 0] - risk.usual_open)


def test_claims_that_are_settled_alone_make_everybody_punctual():
    """A young book with slow payers: what is open at the cut is what tells about them."""
    cut = "2022-09-01"
    truth = make_truth(seed=2, months=11, slow=150.0)
    ledger = truth.ledger()
    settled = {p["invoice_id"] for p in truth.tables["payments"] if p["paid_at"] < cut}
    lost = {i["invoice_id"] for i in truth.tables["invoices"]} - settled
    honest = invoice_model().fit(ledger, as_of=cut)
    naive = invoice_model().fit(truth.ledger(until=cut, drop=lost), as_of=cut)
    rows = not_due_after(ledger, cut, 40)
    late = is_late(rows)
    off = {}
    for name, one in (("honest", honest), ("naive", naive)):
        p = late_risk(one, rows).p_late[:, 0]
        off[name], error = mean(late - p, rows.rows["account_id"])
    assert abs(off["honest"]) < 3.0 * error
    assert off["naive"] > 3.0 * error


def test_the_future_changes_nothing(truth, ledger, risk, model):
    """Neither what came later, nor that the rows of later days exist."""
    early = truth.ledger(until=CUTS[1])
    one = late_risk(model, Snapshot(ledger, CUTS[1]))
    two = late_risk(invoice_model().fit(early, as_of=CUTS[1]), Snapshot(early, CUTS[1]))
    assert len(one) > 50
    assert one.to_arrow().equals(two.to_arrow())
    # and the rows of other days do not matter to those of this day
    same = np.flatnonzero(risk.rows["as_of"].to_numpy() == one.rows["as_of"].to_numpy()[0])
    assert risk._take(same).to_arrow().equals(one.to_arrow())


# -- by hand -----------------------------------------------------------------------------------

AS_OF = "2026-02-05T04:00Z"  # 5 in Berlin, still the evening before in New York


class Stub:
    """Paid by the due date with probability 0.7, by 10 days later with 0.9; shares 0.75, 0.95."""

    event = "full"

    def predict(self, snapshot, *, horizons, level):
        assert level == "invoice"
        self.asked = tuple(horizons)
        n, h = len(snapshot), len(horizons)
        p = np.tile(np.linspace(0.7, 0.9, h) if h > 1 else [0.7], (n, 1))
        ids = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(ids, self.asked, p, p + 0.05, np.full((n, 3), 9.0))


def account(name, zone="Europe/Berlin"):
    return {"account_id": name, "customer_type": "consumer", "country": "DE", "timezone": zone}


def claim(name, due, issued="2026-01-20", amount=100.0, currency="EUR"):
    return {
        "invoice_id": name, "account_id": name[0], "issued_on": issued, "due_on": due,
        "amount": amount, "currency": currency,
    }  # fmt: skip


def payment(name, at, amount):
    return {
        "payment_id": f"{name}-{at}", "account_id": name[0], "paid_at": at, "amount": amount,
        "invoice_id": name,
    }  # fmt: skip


@pytest.fixture(scope="module")
def small():
    accounts = [account(name) for name in "ABCD"] + [account("E", "America/New_York")]
    invoices = [
        claim("A-soon", "2026-02-08"),
        claim("A-past", "2026-02-04"),
        claim("B-paid", "2026-02-09"),
        claim("B-today", "2026-02-05", amount=300.0),
        claim("B-unknown", "2026-02-19", issued="2026-02-05"),
        claim("C-held", "2026-02-20"),
        claim("C-free", "2026-02-20", amount=50.0),
        claim("D-insolvent", "2026-02-20"),
        claim("E-west", "2026-02-04", amount=10.0),
    ]
    payments = [
        payment("A-soon", "2026-02-01T10:00Z", 40.0),
        payment("A-soon", "2026-02-06T10:00Z", 60.0),  # comes later: not known yet
        payment("B-paid", "2026-02-01T10:00Z", 100.0),
    ]
    holds = [
        {"account_id": "C", "kind": "dispute", "from_on": "2026-01-25", "invoice_id": "C-held"},
        {"account_id": "D", "kind": "insolvency", "from_on": "2026-01-25"},
    ]
    return Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments, holds=holds)


@pytest.fixture(scope="module")
def listed(small):
    return late_risk(Stub(), Snapshot(small, AS_OF), days_late=(0, 10))


def test_open_claims_that_are_not_due_and_not_on_hold(listed):
    table = listed.to_pandas().set_index("invoice_id")
    assert list(table.index) == ["A-soon", "B-today", "C-free", "E-west"]
    assert list(table["account_id"]) == ["A", "B", "C", "E"]
    assert list(table["days_to_due"]) == [3, 0, 15, 0]
    assert list(table["open_amount"]) == [60.0, 300.0, 50.0, 10.0]
    assert set(table["currency"]) == {"EUR"}
    assert str(table.loc["A-soon", "due_on"])[:10] == "2026-02-08"
    assert {at.isoformat() for at in table["as_of"]} == {"2026-02-05T04:00:00+00:00"}
    np.testing.assert_allclose(table["p_late"], 0.3)
    np.testing.assert_allclose(table["p_late_10"], 0.1)
    np.testing.assert_allclose(table["expected_late"], 0.25 * table["open_amount"])
    assert listed.days_late == (0, 10)


def test_the_mask_goes_by_the_due_date_alone(small):
    rows = Snapshot(small, AS_OF)
    claims = rows.to_invoice_level()
    named = np.asarray(claims.rows["invoice_id"])[not_yet_due(claims)]
    assert set(named) == {"A-soon", "B-today", "C-held", "C-free", "D-insolvent", "E-west"}
    accounts = np.asarray(rows.rows["account_id"])[not_yet_due(rows)]
    assert list(accounts) == ["B", "C", "D", "E"]
    paid = Snapshot.from_rows(small, [{"account_id": "B", "as_of": AS_OF, "invoice_id": "B-paid"}])
    assert not not_yet_due(paid).any()
    assert len(late_risk(Stub(), paid)) == 0


def test_usual_rates_by_hand():
    """Three punctual claims settled 1.5, 4.5 and 6.5 days before the due midnight, one late."""
    days = {"A1": "2026-01-09T12:00Z", "A2": "2026-01-06T12:00Z", "A3": "2026-01-04T12:00Z",
            "A4": "2026-01-11T12:00Z"}  # fmt: skip
    ledger = Ledger.from_frames(
        accounts=[account("A", "UTC"), account("B", "UTC")],
        invoices=[
            *(claim(name, "2026-01-10", issued="2026-01-02") for name in days),
            claim("A5", "2026-02-25", issued="2026-02-01"),
            claim("B1", "2026-02-25", issued="2026-02-01"),
            claim("B2", "2026-02-21", issued="2026-02-01"),
        ],
        payments=[payment(name, at, 100.0) for name, at in days.items()],
    )
    risk = late_risk(Stub(), Snapshot(ledger, "2026-02-20"))  # 6 and 2 days before the midnight
    assert list(risk.rows["invoice_id"].to_pylist()) == ["A5", "B2", "B1"]
    open_then = np.array([2 + 1, 1 + 1, 2 + 1]) / (3 + 1)
    expected = risk.usual / (risk.usual + (1.0 - risk.usual) * open_then)
    np.testing.assert_allclose(risk.usual_open, expected)
    assert risk.usual[0] != risk.usual[1] == risk.usual[2]
    before = late_risk(Stub(), Snapshot(ledger, "2026-01-08"))  # nothing had fallen due by then
    np.testing.assert_allclose(before.usual_open, before.usual)


def test_top_claims_by_the_amount_expected_late(listed):
    assert listed.top(2).rows["invoice_id"].to_pylist() == ["B-today", "A-soon"]
    assert len(listed.top(99)) == 4
    assert len(listed.top(0)) == 0
    # 300 + 60 of 420 are 86 %
    assert listed.top(share=300 / 420).rows["invoice_id"].to_pylist() == ["B-today"]
    assert len(listed.top(share=0.8)) == 2
    assert len(listed.top(share=1.0)) == 4
    assert len(listed.top(0).top(share=0.5)) == 0


def test_it_prints_what_it_holds(listed):
    assert repr(listed) == (
        "LateRisk(4 claims not due yet: 1.2 expected late, 105.00 of 420.00 EUR in amount)"
    )
    assert "B-today" in listed._repr_html_()
    assert repr(listed.top(0)) == "LateRisk(0 claims not due yet)"
    with pytest.raises(ValueError, match="read-only"):
        listed.p_late[0, 0] = 0.0


def test_amounts_of_several_currencies_are_not_compared():
    ledger = Ledger.from_frames(
        accounts=[account("A"), account("B")],
        invoices=[claim("A1", "2026-02-08"), claim("B1", "2026-02-08", currency="CHF")],
    )
    risk = late_risk(Stub(), Snapshot(ledger, AS_OF))
    assert "25.00 of 100.00 CHF and 25.00 of 100.00 EUR" in repr(risk)
    with pytest.raises(InputError, match="CHF, EUR"):
        risk.top(1)


def test_other_models_can_be_asked(ledger):
    rate = co.models.ShrunkenRate().fit(ledger, as_of=CUTS[0])
    risk = late_risk(rate, Snapshot(ledger, CUTS[0]), days_late=[0])
    assert isinstance(risk, LateRisk)
    assert risk.p_late.shape == (len(risk), 1)
    assert risk.p_late.std() > 0.05


def test_wrong_use_is_refused(small, listed):
    rows = Snapshot(small, AS_OF)
    for days in ((), (30,), (0, 30, 30), (0, -3)):
        with pytest.raises(InputError, match="days_late"):
            late_risk(Stub(), rows, days_late=days)
    with pytest.raises(InputError, match="full"):
        late_risk(PaymentModel(event="any"), rows)
    for wrong in ({}, {"n": 1, "share": 0.5}, {"n": -1}, {"share": 0.0}, {"share": 1.5}):
        with pytest.raises(InputError, match="top"):
            listed.top(**wrong)
