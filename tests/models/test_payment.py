"""The payment model on a simulated book of two kinds of payers."""

import json

import numpy as np
import pytest

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.features import compute
from collectopt.models import BaseRate, PaymentModel, ShrunkenRate
from collectopt.models.labels import Level, durations
from collectopt.models.options import HazardOptions
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

CUT = "2024-01-01"
QUICK = HazardOptions(rounds=80, rate=0.1, columns=0.8, ridge=1.0)
MODELS = (PaymentModel, ShrunkenRate, BaseRate)


def make_book(seed=0, n=250, months=30):
    """Each account has a monthly claim due after 14 days; good payers pay around the due date."""
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.6
    start = np.datetime64("2022-01-01")
    invoices, payments = [], []
    for k in range(n):
        for m in range(months):
            if rng.random() < 0.6:
                continue
            issued = start + np.timedelta64(int(30 * m + rng.integers(0, 28)), "D")
            amount = float(rng.integers(20, 200))
            key = f"A{k:04d}-{m:02d}"
            invoices.append(
                {
                    "invoice_id": key,
                    "account_id": f"A{k:04d}",
                    "issued_on": str(issued),
                    "due_on": str(issued + 14),
                    "amount": amount,
                    "currency": "EUR",
                }
            )
            wait = 10.0 + rng.exponential(6.0) if good[k] else 20.0 + rng.exponential(90.0)
            paid = issued + np.timedelta64(int(wait * 24), "h")
            if rng.random() < (0.99 if good[k] else 0.75):
                payments.append(
                    {
                        "payment_id": key,
                        "account_id": f"A{k:04d}",
                        "paid_at": f"{paid.astype('datetime64[s]')}+00:00",
                        "amount": amount,
                        "invoice_id": key,
                    }
                )
    accounts = [
        {"account_id": f"A{k:04d}", "customer_type": "consumer", "country": "DE"} for k in range(n)
    ]
    return Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)


@pytest.fixture(scope="module")
def ledger():
    return make_book()


@pytest.fixture(scope="module")
def model(ledger):
    return PaymentModel(event="full", max_rows=4000, options=QUICK).fit(ledger, as_of=CUT)


@pytest.fixture(scope="module")
def asked(ledger):
    """Claims issued after the cut, on their day of issue."""
    rows = [
        {
            "account_id": i["account_id"],
            "as_of": i["issued_on"],
            "invoice_id": i["invoice_id"],
        }
        for i in ledger.invoices.to_pylist()
        if "2024-01-01" <= i["issued_on"].isoformat() < "2024-03-01"
    ]
    return Snapshot.from_rows(ledger, rows)


def log_loss(y, p):
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return -np.mean(np.where(y, np.log(p), np.log1p(-p)))


def test_forecasts_the_future_better_than_the_honest_rivals(ledger, model, asked):
    truth = durations(asked, "full", "invoice", "2024-12-01")
    horizons = ("21D", "due+0D", "60D")
    scores = {}
    for rival in (model, *(M(event="full").fit(ledger, as_of=CUT) for M in MODELS[1:])):
        forecast = rival.predict(asked, horizons=horizons, level="invoice")
        scores[type(rival).__name__] = [
            log_loss(truth.event & (truth.days < h), forecast.p_paid[:, k])
            for k, h in enumerate((21.0, 15.0, 60.0))
        ]
        y = truth.event & (truth.days < 21.0)
        assert abs(forecast.p_paid[:, 0].mean() - y.mean()) < 3.0 * 0.5 / np.sqrt(len(y))
    for own, shrunken, base in zip(*scores.values(), strict=True):
        assert own < shrunken + 0.01
        assert own < base - 0.02
        assert shrunken < base


def test_quantiles_cover(model, asked):
    truth = durations(asked, "full", "invoice", "2024-12-01")
    forecast = model.predict(asked, horizons=("30D",), level="invoice")
    low, middle, high = forecast.days.T
    assert (low <= middle).all()
    assert (middle <= high).all()
    inside = (truth.days >= low) & (truth.days <= high)
    assert 0.70 < inside.mean() < 0.90


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("level", ["account", "invoice"])
def test_horizons_are_coherent(ledger, model, kind, level):
    fitted = model if kind is PaymentModel else kind(event="full").fit(ledger, as_of=CUT)
    snapshot = Snapshot(ledger, as_of=CUT)
    names = ("due-30D", "1D", "7D", "30D", "90D", "365D")
    forecast = fitted.predict(snapshot, horizons=names, level=level)
    assert len(forecast) == (
        len(snapshot) if level == "account" else len(snapshot.to_invoice_level())
    )
    assert forecast.horizons == names
    assert ((forecast.p_paid >= 0.0) & (forecast.p_paid <= 1.0)).all()
    assert (forecast.p_paid[:, 0] == 0.0).all()  # before as_of, and still open
    if kind is PaymentModel:
        assert (np.diff(forecast.p_paid[:, 1:], axis=1) >= 0.0).all()
        assert (np.diff(forecast.share[:, 1:], axis=1) >= -1e-12).all()
    assert ((forecast.share >= 0.0) & (forecast.share <= 1.0)).all()


def test_a_settled_claim_is_paid_and_nothing_more_is_to_come(ledger, model):
    paid = ledger.payments.to_pylist()[0]
    rows = [
        {
            "account_id": paid["account_id"],
            "as_of": "2025-01-01",
            "invoice_id": paid["invoice_id"],
        }
    ]
    done = Snapshot.from_rows(ledger, rows)
    horizons = ("1D", "30D", "due+0D")
    forecast = model.predict(done, horizons=horizons, level="invoice")
    assert (forecast.p_paid == 1.0).all()
    assert (forecast.days == 0.0).all()
    any_ = PaymentModel(event="any", levels=("invoice",), max_rows=500, options=QUICK).fit(
        ledger, as_of=CUT
    )
    forecast = any_.predict(done, horizons=horizons, level="invoice")
    assert (forecast.p_paid == 0.0).all()
    assert np.isinf(forecast.days).all()


def test_what_happens_after_the_cut_changes_nothing(ledger):
    """Not even that the rows of later days exist."""
    early = Ledger.from_frames(
        accounts=ledger.accounts,
        invoices=[i for i in ledger.invoices.to_pylist() if i["issued_on"].isoformat() < CUT],
        payments=[
            p for p in ledger.payments.to_pylist() if p["paid_at"].isoformat() < "2024-01-01"
        ],
    )
    forecasts = []
    for book in (ledger, early):
        fitted = PaymentModel(levels=("account",), max_rows=500, options=QUICK).fit(book, as_of=CUT)
        forecasts.append(fitted.predict(Snapshot(book, as_of=CUT), horizons=("30D", "90D")))
    np.testing.assert_array_equal(forecasts[0].p_paid, forecasts[1].p_paid)


def test_save_and_load_give_the_same_numbers(model, asked, tmp_path):
    model.save(tmp_path / "model")
    again = PaymentModel.load(tmp_path / "model")
    for level in ("account", "invoice"):
        one, two = (
            m.predict(asked, horizons=("30D", "due+30D"), level=level) for m in (model, again)
        )
        for name in ("p_paid", "share", "days"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert repr(again) == repr(model)
    files = {p.suffix for p in (tmp_path / "model").rglob("*") if p.is_file()}
    assert files == {".json"}
    (tmp_path / "model" / "payment.json").write_text(json.dumps({"event": "full"}))
    with pytest.raises(ArtifactError, match="PaymentModel"):
        PaymentModel.load(tmp_path / "model")


def test_rows_are_forecast_alone_and_in_their_order(model, asked):
    whole = model.predict(asked, horizons=("30D",), level="invoice")
    turned = asked.take(np.arange(len(asked))[::-1])
    back = model.predict(turned, horizons=("30D",), level="invoice")
    np.testing.assert_array_equal(back.p_paid[::-1], whole.p_paid)
    one = model.predict(asked.take(np.array([5])), horizons=("30D",), level="invoice")
    np.testing.assert_array_equal(one.p_paid[0], whole.p_paid[5])


@pytest.mark.parametrize(
    "horizons", [("7D", "28D"), ("30D", "31D"), ("due+10D", "200D"), ("900D",)]
)
def test_without_quantiles_the_chances_are_the_same(model, asked, horizons):
    whole = model.predict(asked, horizons=horizons, level="invoice")
    names, categories = model.inputs("invoice")
    short = model.predict(
        asked,
        horizons=horizons,
        level="invoice",
        quantiles=(),
        matrix=compute(asked, names, categories),
    )
    assert short.p_paid.tobytes() == whole.p_paid.tobytes()
    assert short.days.shape == (len(asked), 0)


def test_haste_and_fewer_periods_cost_little(ledger, model, asked):
    options = HazardOptions(rounds=80, rate=0.1, haste=1.6, max_periods=30_000)
    hasty = PaymentModel(event="full", levels=("invoice",), max_rows=4000, options=options).fit(
        ledger, as_of=CUT
    )
    level = "invoice"
    slow = model.predict(asked, horizons=("30D",), level=level).p_paid[:, 0]
    quick = hasty.predict(asked, horizons=("30D",), level=level).p_paid[:, 0]
    assert hasty._heads[Level.INVOICE].hazard.members_[0].trees.booster.num_trees() == 80 / 1.6
    outcome = durations(asked, "full", level, "2024-06-01")
    paid = outcome.event & (outcome.days < 30)
    gap = np.log(np.where(paid, slow / quick, (1.0 - slow) / (1.0 - quick)))
    assert gap.mean() < 0.005 + 2.0 * gap.std() / np.sqrt(len(gap))


def test_no_rows_give_an_empty_forecast(model, asked):
    nothing = asked.take(np.arange(0))
    forecast = model.predict(nothing, horizons=("30D", "due+0D"), level="invoice")
    assert forecast.p_paid.shape == (0, 2)


def test_a_book_in_which_nobody_has_paid_yet():
    ledger = Ledger.from_frames(
        accounts=[{"account_id": "A", "customer_type": "consumer", "country": "DE"}],
        invoices=[
            {
                "invoice_id": "I",
                "account_id": "A",
                "issued_on": "2023-11-01",
                "due_on": "2023-11-15",
                "amount": 10.0,
                "currency": "EUR",
            }
        ],
    )
    for kind in MODELS:
        forecast = kind().fit(ledger, as_of=CUT).predict(Snapshot(ledger, as_of=CUT))
        assert ((forecast.p_paid >= 0.0) & (forecast.p_paid < 0.5)).all()
    with pytest.raises(InputError, match="open before 2023-01-01"):
        PaymentModel().fit(ledger, as_of="2023-01-01")


def test_wrong_use_is_refused(ledger, model, asked):
    with pytest.raises(NotFittedError):
        PaymentModel().predict(asked)
    with pytest.raises(NotFittedError):
        ShrunkenRate().predict(asked)
    with pytest.raises(InputError, match="levels"):
        PaymentModel(levels=("customer",))
    with pytest.raises(InputError, match="event"):
        PaymentModel(event="half")
    with pytest.raises(InputError, match="30D"):
        model.predict(asked, horizons=("a month",))
    with pytest.raises(InputError, match="tenure"):
        PaymentModel(features=("tenur",)).fit(ledger, as_of=CUT)
    only = PaymentModel(levels=("account",), max_rows=300, options=QUICK).fit(ledger, as_of=CUT)
    with pytest.raises(InputError, match="fitted levels"):
        only.predict(asked, level="invoice")


def test_a_book_at_rest_is_learnt_from_its_older_history():
    accounts = [{"account_id": "A", "customer_type": "consumer", "country": "DE"}]
    terms = {"account_id": "A", "amount": 10, "currency": "EUR"}
    invoices = [
        {"invoice_id": str(i), "issued_on": f"2012-0{i}-02", "due_on": f"2012-0{i}-16", **terms}
        for i in range(1, 7)
    ]
    paid = [
        {
            "payment_id": str(i), "account_id": "A", "paid_at": f"2012-0{i}-20T10:00Z",
            "amount": 10, "invoice_id": str(i),
        }
        for i in range(1, 6)
    ]  # fmt: skip
    ledger = Ledger.from_frames(accounts=accounts, invoices=invoices, payments=paid)
    model = PaymentModel().fit(ledger, "2026-01-01")
    p = model.predict(Snapshot(ledger, "2026-01-01"), horizons="30D").p_paid
    assert p.shape == (1, 1)
    assert 0 < p[0, 0] < 1
