"""Recalibration on worlds whose chances are known: right, always off, off for half a year."""

from functools import cache

import numpy as np
import pytest

from collectopt.evaluation import RollingSplit, backtest
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import PaymentModel, Recalibrated
from collectopt.models.boosting import expit, logit
from collectopt.models.labels import due_offsets, durations
from collectopt.models.options import HazardOptions
from collectopt.models.recalibration import Shift, _never_falling, _shares, earlier_cuts
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

AS_OF = "2025-01-01"
END = "2026-01-01"
OFF = 0.9
ACCOUNTS = 400
DAY = np.timedelta64(1, "D")
HORIZONS = ("30D", "90D")


def rates(n=ACCOUNTS):
    """Chance of payment per day and account: it does not depend on the age of a claim."""
    return np.geomspace(1 / 25, 1 / 400, n)


def tables(seed=0, haste=1.0, n=ACCOUNTS):
    """A claim every 45 days; all pay `haste` times as fast in the half year before AS_OF."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2022-10-01")
    days = np.arange(start, np.datetime64("2032-01-01"))
    fast = (days >= np.datetime64("2024-07-01")) & (days < np.datetime64(AS_OF))
    clock = np.r_[0.0, np.cumsum(np.where(fast, haste, 1.0))]
    number = np.arange(len(clock), dtype=float)
    invoices, payments = [], []
    for k, rate in enumerate(rates()[:: ACCOUNTS // n]):
        for m in range(26):
            issued = int(45 * m + rng.integers(0, 45))
            key = f"A{k:04d}-{m:02d}"
            at = np.interp(clock[issued + 1] + rng.exponential(1.0 / rate), clock, number)
            row = {"account_id": f"A{k:04d}", "amount": 50.0, "invoice_id": key}
            dates = {"issued_on": str(start + issued * DAY), "currency": "EUR"}
            invoices.append({**row, **dates, "due_on": str(start + (issued + 14) * DAY)})
            paid = (start + int(at) * DAY).astype("M8[m]") + np.timedelta64(int(at % 1 * 1440), "m")
            payments.append({**row, "payment_id": key, "paid_at": f"{paid}+00:00"})
    accounts = [
        {"account_id": f"A{k:04d}", "customer_type": "consumer", "country": "DE"} for k in range(n)
    ]
    return {"accounts": accounts, "invoices": invoices, "payments": payments}


@cache
def world(haste=1.0, n=ACCOUNTS):
    return Ledger.from_frames(**tables(haste=haste, n=n))


class Known:
    """Knows the chances, and says them with `off` added to their log odds."""

    event = "full"
    levels = ("invoice",)

    def __init__(self, off=0.0, only=None):
        self.off, self.only = off, only

    def fit(self, ledger, as_of):
        return self

    def predict(self, snapshot, *, horizons, level):
        assert level == "invoice"
        rows = snapshot.to_invoice_level()
        number = np.array([int(a[1:]) for a in rows.rows["account_id"].to_pylist()], dtype=int)
        number *= ACCOUNTS // len(rows.ledger.accounts)
        parsed = [Horizon.parse(h) for h in horizons]
        due = due_offsets(rows)
        days = np.column_stack([due + h.days if h.from_due else due * 0 + h.days for h in parsed])
        p = 1.0 - np.exp(-np.maximum(days, 0.0) * rates()[number][:, None])
        off = [self.off if self.only in (None, str(h)) else 0.0 for h in parsed]
        p = np.where(days > 0.0, expit(logit(p) + np.array(off)), 0.0)
        ids = rows.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(ids, tuple(map(str, parsed)), p, p.copy(), np.zeros((len(p), 3)))


def judged(ledger, forecast, horizon):
    """Log-losses of open claims as of the cut by what came."""
    rows = Snapshot(ledger, AS_OF).to_invoice_level()
    found = durations(rows, "full", "invoice", END)
    y = found.event & (found.days < Horizon.parse(horizon).days)
    p = np.clip(forecast.p_paid[:, forecast.horizons.index(horizon)], 1e-6, 1 - 1e-6)
    return -np.where(y, np.log(p), np.log1p(-p))


def forecasts(ledger, maker, **how):
    snapshot = Snapshot(ledger, AS_OF)
    fitted = Recalibrated(maker, horizons=HORIZONS, **how).fit(ledger, AS_OF)
    asked = {"horizons": HORIZONS, "level": "invoice"}
    return fitted, maker().predict(snapshot, **asked), fitted.predict(snapshot, **asked)


def test_a_lasting_error_is_mended():
    ledger = world()
    fitted, raw, mended = forecasts(ledger, lambda: Known(OFF))
    assert fitted.decisions["taken"].all()
    assert (fitted.decisions["after"] < fitted.decisions["before"]).all()
    truth = Known().predict(Snapshot(ledger, AS_OF), horizons=HORIZONS, level="invoice")
    for k, horizon in enumerate(HORIZONS):
        gain = judged(ledger, raw, horizon) - judged(ledger, mended, horizon)
        assert gain.mean() > 4.0 * gain.std() / np.sqrt(len(gain))
        shift = fitted._taken[fitted.levels[0], horizon]
        part = fitted.decisions[fitted.decisions["horizon"] == horizon]
        # Standard error of the intercept from what the newest trial was learnt on, at least.
        p = truth.p_paid[:, k]
        error = 1.0 / np.sqrt(part["learnt"].max() * np.mean(p * (1 - p)))
        assert abs(shift.intercept + OFF * shift.slope) < 4.0 * error
        assert abs(mended.p_paid[:, k].mean() - p.mean()) < 4.0 * error * np.mean(p * (1 - p))


def test_a_right_model_stays_as_it_is():
    fitted, raw, same = forecasts(world(), Known)
    assert not fitted.decisions["taken"].any()
    assert (raw.p_paid == same.p_paid).all()


def test_half_a_year_of_haste_is_no_lasting_error():
    """What is learnt on the newest outcomes makes the forecast worse; ours keeps the model."""
    ledger = world(haste=3.0)
    fitted, raw, ours = forecasts(ledger, Known)
    assert not fitted.decisions["taken"].any()
    assert (raw.p_paid == ours.p_paid).all()
    newest = "2024-10-03"
    rows = Snapshot(ledger, newest).to_invoice_level()
    found = durations(rows, "full", "invoice", AS_OF)
    p = Known().predict(rows, horizons=HORIZONS, level="invoice").p_paid
    for k, horizon in enumerate(HORIZONS):
        y = found.event & (found.days < Horizon.parse(horizon).days)
        naive = Shift.learn(p[:, k], y)
        assert naive.intercept > 0.5
        shifted = raw.p_paid.copy()
        shifted[:, k] = naive.apply(shifted[:, k])
        bad = Forecast(raw.rows, raw.horizons, shifted, raw.share, raw.days)
        loss = judged(ledger, bad, horizon) - judged(ledger, raw, horizon)
        assert loss.mean() > 4.0 * loss.std() / np.sqrt(len(loss))
    # Cuts that are closer than the shock is long agree with one another, and are all wrong.
    fooled, *_ = forecasts(ledger, Known, every="60D", cuts=5)
    assert fooled.decisions["taken"].any()


def test_two_cuts_are_not_enough():
    fitted, raw, same = forecasts(world(), lambda: Known(OFF), cuts=2)
    assert not fitted.decisions["taken"].any()
    assert fitted.decisions["reason"].str.contains("tried on 1 cuts").all()
    assert (raw.p_paid == same.p_paid).all()


def test_horizons_longer_than_the_step_are_learnt_from_further_back():
    long = {"horizons": ("180D",), "levels": ("invoice",), "every": "90D"}
    few = Recalibrated(lambda: Known(OFF), cuts=3, **long).fit(world(), AS_OF)
    assert few.decisions["cut"].isna().all()  # no outcome was known by a cut with known outcomes
    more = Recalibrated(lambda: Known(OFF), cuts=5, **long).fit(world(), AS_OF)
    tried = more.decisions["cut"].dt.strftime("%Y-%m-%d").tolist()
    assert tried == ["2024-04-06", "2024-07-05"]
    assert more.decisions["taken"].all()


def test_the_future_changes_nothing():
    given = tables()
    later = np.datetime64(AS_OF)
    given["invoices"] = [i for i in given["invoices"] if np.datetime64(i["issued_on"]) < later]
    names = {i["invoice_id"] for i in given["invoices"]}
    kept = []
    for row in given["payments"]:
        if row["invoice_id"] in names:
            if np.datetime64(row["paid_at"][:-6]) >= later:
                kept.append({**row, "paid_at": "2025-01-01T00:00+00:00"})  # as of the cut
            else:
                kept.append(row)
    other = Ledger.from_frames(**{**given, "payments": kept})
    first, second = (forecasts(one, lambda: Known(OFF)) for one in (world(), other))
    assert first[0].decisions.equals(second[0].decisions)
    assert (first[2].p_paid == second[2].p_paid).all()


def test_chances_never_fall_in_time():
    """Only the 90 days are said too high; once they are mended, they would lie below 60 days."""
    ledger = world()
    fitted = Recalibrated(lambda: Known(2.5, "90D"), horizons=("90D",)).fit(ledger, AS_OF)
    assert fitted.decisions["taken"].all()
    asked = ("90D", "60D", "due+40D", "7D", "due+0D")
    snapshot = Snapshot(ledger, AS_OF)
    found = fitted.predict(snapshot, horizons=asked, level="invoice")
    rows = snapshot.to_invoice_level()
    due = due_offsets(rows)
    ahead = np.column_stack([due * 0 + 90, due * 0 + 60, due + 40, due * 0 + 7, due])
    order = np.argsort(ahead, axis=1)
    for values in (found.p_paid, found.share):
        assert (np.diff(np.take_along_axis(values, order, axis=1), axis=1) >= 0.0).all()
    raw = Known().predict(snapshot, horizons=asked, level="invoice")
    assert (found.p_paid[:, 1:] == raw.p_paid[:, 1:]).all()  # nothing comes before 90 days
    assert _never_falling(np.array([[0.3, 0.5, 0.4]]), np.array([[1, 0, 2]])).tolist() == [
        [0.5, 0.5, 0.5]
    ]


def test_due_horizons_are_learnt_too():
    fitted = Recalibrated(lambda: Known(OFF), horizons=("due+30D",)).fit(world(), AS_OF)
    assert fitted.decisions["taken"].all()


@pytest.mark.parametrize("event", ["full", "any"])
def test_shares_follow_the_chances(event):
    """Full: who pays leaves nothing open, the others a part. Any: payers bring a part."""
    p, q = np.array([[0.2, 0.6], [0.0, 1.0]]), np.array([[0.4, 0.3], [0.0, 1.0]])

    def of(p):
        return p + (1.0 - p) * 0.15 if event == "full" else 0.4 * p

    n = len(p)
    rows = Snapshot(world(), AS_OF).rows.slice(0, n).select(["account_id", "as_of", "invoice_id"])
    raw = Forecast(rows, HORIZONS, p, of(p), np.zeros((n, 3)))
    assert _shares(raw, q, Recalibrated(_any if event == "any" else Known).event) == pytest.approx(
        of(q)
    )


def _any():
    model = Known()
    model.event = "any"
    return model


def test_cuts_keep_the_local_time_of_day():
    moment = np.datetime64("2026-04-29T22:00", "us")  # midnight in Berlin, summer time
    cuts = earlier_cuts(moment, "Europe/Berlin", n=3, every="30D")
    assert [str(cut)[:16] for cut in cuts] == [
        "2026-01-29T23:00", "2026-02-28T23:00", "2026-03-30T22:00",
    ]  # fmt: skip
    assert earlier_cuts(moment, "UTC", n=1, every="30D", gap=7) == [moment - 7 * DAY]
    for n, every in ((0, "30D"), (3, "due+3D"), (3, "0D")):
        with pytest.raises(InputError, match="whole days"):
            earlier_cuts(moment, "UTC", n=n, every=every)


def test_wraps_the_payment_model_and_can_be_backtested():
    ledger = world(n=100)

    def maker():
        quick = HazardOptions(rounds=8, rate=0.2)
        return PaymentModel(levels=("account",), max_rows=600, options=quick)

    fitted = Recalibrated(maker, horizons=("30D",)).fit(ledger, AS_OF)
    assert fitted.decisions["level"].unique().tolist() == ["account"]
    snapshot = Snapshot(ledger, AS_OF)
    found = fitted.predict(snapshot, horizons="30D", quantiles=(0.5,))
    assert found.days.shape == (len(snapshot), 1)
    assert fitted.inputs("account") == fitted._inner.inputs("account")

    split = RollingSplit.from_cuts([AS_OF], end=END)
    result = backtest(
        lambda: Recalibrated(lambda: Known(OFF), horizons=HORIZONS),
        ledger, split, HORIZONS, level="invoice", rivals={"Raw": lambda: Known(OFF)},
    )  # fmt: skip
    gains = result.gains[result.gains["rival"] == "Raw"]
    assert (gains["gain"] > 0.0).all()


def test_asking_before_fit_is_refused():
    model = Recalibrated(Known)
    with pytest.raises(NotFittedError):
        model.predict(Snapshot(world(), AS_OF), level="invoice")
    with pytest.raises(NotFittedError):
        _ = model.decisions
