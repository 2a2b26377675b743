"""Lateness to expect: known truth, an independent likelihood, brute force, and the future."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from collectopt.exceptions import InputError
from collectopt.features import compute
from collectopt.features.lateness import settled_spells
from collectopt.features.words import EXPECTED
from collectopt.models import PaymentModel, expected, reasons
from collectopt.models.expected import EARLIEST, LATEST, ExpectedLateness, Mixed
from collectopt.models.labels import Level
from collectopt.models.options import HazardOptions
from collectopt.models.past_claims import MEMORY
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

from .late_books import DAY, asked, bill, ledger_of, payment, people, with_notes, with_returns

START = dt.date(2021, 10, 1)
CUT = "2024-01-01"
LEVEL, PAPERLESS, BETWEEN, NOISE = 4.0, -7.0, 8.0, 5.0
QUICK = HazardOptions(rounds=60, rate=0.05, habits=False)


def make_book(seed, *, n=100, claims=36, shift=PAPERLESS, late=None):
    """Accounts that get part of their claims by e-mail, and pay those ``shift`` days later."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0.0, BETWEEN, n)
    part = rng.random(n)
    invoices, payments = [], []
    for a in range(n):
        for k in range(claims):
            key = f"A{a:03d}-{k:02d}"
            issued = START + dt.timedelta(days=int(31 * k + rng.integers(0, 25)))
            due = issued + dt.timedelta(days=30)
            electronic = rng.random() < part[a]
            days = round(LEVEL + own[a] + shift * electronic + rng.normal(0.0, NOISE))
            paid = due + dt.timedelta(days=int(np.clip(days, -28, 200)))
            amount = float(rng.integers(20, 500))
            invoices.append(bill(key, issued, due, amount, float(electronic)))
            payments.append(payment(key, paid, amount))
    return people(n), invoices, payments


@pytest.fixture(scope="module")
def tables():
    return make_book(1)


@pytest.fixture(scope="module")
def ledger(tables):
    return ledger_of(*tables)


@pytest.fixture(scope="module")
def model(ledger):
    return PaymentModel(levels=("account", "invoice"), options=QUICK).fit(ledger, as_of=CUT)


def late_days(ledger, snapshot):
    paid = {r["invoice_id"]: r["paid_at"] for r in ledger.payments.to_pylist()}
    due = {r["invoice_id"]: r["due_on"] for r in ledger.invoices.to_pylist()}
    names = snapshot.rows["invoice_id"].to_pylist()
    return np.array([(paid[i].date() - due[i]).days for i in names], dtype=float)


def test_the_truth_is_found():
    """Estimates of forty books lie around the truth as their own spread says."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(40):
        group = np.repeat(np.arange(60), 8)
        x = (rng.random(len(group)) < 0.5).astype(float)
        y = LEVEL + PAPERLESS * x + rng.normal(0, BETWEEN, 60)[group]
        fit = Mixed.fit((x - 0.5)[:, None], y + rng.normal(0.0, NOISE, len(group)), group)
        found.append([fit.coef[0], fit.level - 0.5 * fit.coef[0], fit.noise, fit.between])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(40)
    # The ridge takes 1 part in 121 of a slope; likelihood takes 1 of 60 accounts from a variance.
    truth = np.array([PAPERLESS * 120 / 121, LEVEL, NOISE**2, BETWEEN**2 * 59 / 60])
    assert (np.abs(mean - truth) < 3.5 * error).all()


def test_variances_are_those_of_maximum_likelihood():
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    Z = rng.normal(size=(len(group), 2))
    y = Z @ [2.0, -1.0] + rng.normal(0, 3, 25)[group] + rng.normal(0, 2, len(group))
    found = Mixed.fit(Z, y, group)

    def loss(theta):
        noise, between = np.exp(theta[3:])
        cov = noise * np.eye(len(y)) + between * (group[:, None] == group)
        mean = Z @ theta[:2] + theta[2]
        return -multivariate_normal(mean, cov).logpdf(y) + 0.5 * (theta[:2] ** 2).sum() / noise

    best = minimize(loss, np.r_[0.0, 0.0, 0.0, 1.0, 1.0], method="BFGS").x
    np.testing.assert_allclose([*found.coef, found.level], best[:3], atol=0.02)
    np.testing.assert_allclose([found.noise, found.between], np.exp(best[3:]), rtol=0.03)


def test_it_tells_accounts_from_their_claims(ledger):
    """The mean of past lateness, which mixes both up, is further from what comes."""
    fitted = ExpectedLateness.fit(ledger, CUT, years=4.0)
    snapshot = asked(ledger, CUT)
    found = fitted.past(ledger).of(snapshot)
    truth = np.clip(late_days(ledger, snapshot), EARLIEST, LATEST)
    naive = compute(snapshot, ["late_mean"]).values[:, 0]
    error, other = (found - truth) ** 2, (naive - truth) ** 2
    gain = other - error
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))
    # What is left is little more than the noise: each account has shown some twenty claims.
    assert error.mean() < 1.25 * NOISE**2


def test_sums_are_those_of_a_plain_loop():
    """Returned payments, credit notes and claims that are too old, at random times."""
    accounts, invoices, payments = make_book(5, n=12, claims=40)
    rng = np.random.default_rng(0)
    payments = with_returns(payments, rng)
    ledger = ledger_of(accounts, with_notes(invoices, rng), payments)
    fitted = ExpectedLateness.fit(ledger, "2025-04-01", years=4.0)
    rows = [
        {
            "account_id": i["account_id"],
            "invoice_id": i["invoice_id"],
            "as_of": i["issued_on"] + int(rng.integers(0, 500)) * DAY,
        }
        for i in invoices[::3]
    ]
    snapshot = Snapshot.from_rows(ledger, rows)
    past = fitted.past(ledger)
    found = past.of(snapshot)
    claims = ledger.timeline.claims
    place = {inv: k for k, inv in enumerate(claims["invoice"].to_pylist())}
    spells = [s for s in settled_spells(ledger).to_pylist() if s["cash"]]
    told = snapshot.rows.to_pylist()
    known_n = compute(snapshot, ["settled_n"]).values[:, 0]
    dropped = 0
    for row, value, n in zip(told, found, known_n, strict=True):
        t = int(row["as_of"].timestamp() * 1e6)
        own = [
            s for s in spells
            if s["acc"] == row["account"] and s["known"] < t
            and (s["reopened"] is None or s["reopened"] >= t)
        ]  # fmt: skip
        assert len(own) == n
        young = [s for s in own if s["known"] + MEMORY * 86_400_000_000 >= t]
        dropped += len(own) - len(young)
        late = np.clip([s["late"] for s in young], EARLIEST, LATEST)
        rest = (late - past.usual[[place[s["inv"]] for s in young]]).sum()
        added = fitted.between * rest / (fitted.noise + fitted.between * len(young))
        expected = past.usual[place[row["invoice"]]] + added
        assert value == pytest.approx(expected, abs=1e-3)
    assert dropped > 100


def test_what_comes_later_changes_nothing(tables):
    accounts, invoices, payments = tables
    before = [i for i in invoices if i["issued_on"].isoformat() < CUT]
    names = {i["invoice_id"] for i in before}
    cut = dt.datetime.fromisoformat(CUT + "T00:00:00+01:00")
    paid = [p for p in payments if dt.datetime.fromisoformat(p["paid_at"]) < cut]
    other = [{**i, "amount": 7.0} for i in invoices if i["invoice_id"] not in names]
    other += [  # dated back: due long before it was issued
        {**i, "invoice_id": f"{i['invoice_id']}-B", "issued_on": dt.date(2024, 3, 1), "amount": 7.0}
        for i in before[::3]
    ]
    whole = ledger_of(accounts, before + other, paid)
    part = ledger_of(accounts, before, paid)
    old = ledger_of(*tables)
    fits = [ExpectedLateness.fit(ledger, CUT, years=4.0) for ledger in (old, whole, part)]
    rows = asked(part, "2023").rows.select(["account_id", "as_of", "invoice_id"]).to_pylist()
    values = [
        fit.past(ledger).of(Snapshot.from_rows(ledger, rows))
        for fit, ledger in zip(fits, (old, whole, part), strict=True)
    ]
    for fit, value in zip(fits, values, strict=True):
        assert str(fit.to_json()) == str(fits[2].to_json())  # nan, too
        np.testing.assert_array_equal(value, values[2])


@pytest.mark.parametrize(("n", "shift"), [(100, 0.0), (8, PAPERLESS)])
def test_no_model_where_columns_say_nothing_or_claims_are_few(n, shift):
    ledger = ledger_of(*make_book(2, n=n, shift=shift))
    assert ExpectedLateness.fit(ledger, CUT, years=4.0) is None
    model = PaymentModel(levels=("invoice",), options=QUICK).fit(ledger, as_of=CUT)
    assert EXPECTED not in model._head("invoice").names


def test_the_payment_model_learns_from_it(ledger, model, tmp_path):
    assert EXPECTED in model._head("invoice").names
    assert EXPECTED not in model._head("account").names
    snapshot = asked(ledger, CUT)
    horizons = ("due+0D", "due+10D")
    found = model.predict(snapshot, horizons=horizons, level="invoice")
    model.save(tmp_path)
    again = PaymentModel.load(tmp_path).predict(snapshot, horizons=horizons, level="invoice")
    np.testing.assert_array_equal(found.p_paid, again.p_paid)
    matrix = compute(snapshot, *model.inputs("invoice"))
    given = model.predict(snapshot, horizons=horizons, level="invoice", matrix=matrix)
    np.testing.assert_array_equal(found.p_paid, given.p_paid)
    without = PaymentModel(
        levels=("invoice",), options=QUICK,
        features=[name for name in model._head("invoice").names if name != EXPECTED],
    ).fit(ledger, as_of=CUT)  # fmt: skip
    assert without._head("invoice").expected is None
    late = late_days(ledger, snapshot)
    loss = []
    for one in (model, without):
        p = one.predict(snapshot, horizons=horizons, level="invoice", quantiles=()).p_paid
        y = late[:, None] <= [0.0, 10.0]
        loss.append(-np.where(y, np.log(p), np.log1p(-p)).mean(axis=1))
    gain = loss[1] - loss[0]
    assert gain.mean() > 2.0 * gain.std() / np.sqrt(len(gain))


def test_reasons_name_it(ledger, model):
    found = reasons(model, asked(ledger, CUT).take(np.arange(40)), "due+0D", level="invoice", top=8)
    said = found.to_pandas()
    own = said[said["feature"] == EXPECTED]
    assert len(own)
    assert own["text"].str.contains("Claims like this one").all()


def test_rows_are_worked_out_alone_and_in_their_order(tables, ledger, model):
    """Nor does it matter which other accounts there are."""
    snapshot = asked(ledger, CUT)
    order = np.random.default_rng(0).permutation(len(snapshot))[:50]
    expected = model._heads[Level.INVOICE].expected
    past = expected.past(ledger)
    np.testing.assert_array_equal(past.of(snapshot)[order], past.of(snapshot.take(order)))
    few = ledger_of(*([row for row in rows if row["account_id"] < "A030"] for rows in tables))
    own = past.of(snapshot)[np.array(snapshot.rows["account_id"].to_pylist()) < "A030"]
    np.testing.assert_array_equal(expected.past(few).of(asked(few, CUT)), own)
    rows = [{"account_id": "A001", "as_of": CUT}]
    assert np.isnan(past.of(Snapshot.from_rows(ledger, rows))).all()


def test_columns_are_found_by_name(tables):
    """Whatever their order is, and whichever others there are; what is not there is missing."""
    accounts, invoices, payments = tables
    rng = np.random.default_rng(4)
    told = [{**i, "sent": "mail" if i["paperless"] else "paper"} for i in invoices]
    told = [{**i, "sent": None} if rng.random() < 0.2 else i for i in told]

    def with_columns(*names):
        return Ledger.from_frames(
            accounts=accounts, invoices=told, payments=payments, features=list(names)
        )

    first = with_columns("paperless", "sent")
    fitted = ExpectedLateness.fit(first, CUT, years=4.0)
    assert set(fitted.columns.names) == {"paperless", "sent"}
    known = fitted.past(first).usual
    np.testing.assert_array_equal(known, fitted.past(with_columns("sent", "paperless")).usual)
    bare = [{k: v for k, v in i.items() if k != "sent"} for i in told]
    without = fitted.past(ledger_of(accounts, bare, payments)).usual
    unknown = np.array([s is None for s in first.timeline.claims["sent"].to_pylist()])
    np.testing.assert_array_equal(without[unknown], known[unknown])
    assert (without[~unknown] != known[~unknown]).all()


def test_columns_that_say_nothing_stay_out(tables):
    """Beside the one that tells, noise would be learnt by heart."""
    accounts, invoices, payments = tables
    rng = np.random.default_rng(6)
    names = [f"noise_{k}" for k in range(8)]
    noisy = [
        {**i, **{name: str(rng.integers(10)) for name in names[:4]},
         **{name: float(rng.normal()) for name in names[4:]}}
        for i in invoices
    ]  # fmt: skip
    bad = [{**i, "noise_7": float("inf") if k % 3 else 1.0} for k, i in enumerate(noisy)]
    for rows in (noisy, bad):
        ledger = Ledger.from_frames(
            accounts=accounts, invoices=rows, payments=payments, features=[*names, "paperless"]
        )
        assert ExpectedLateness.fit(ledger, CUT, years=4.0).columns.names == ("paperless",)


def test_a_column_of_another_type_or_none_is_named(tables, model):
    accounts, invoices, payments = tables
    texts = [{**i, "paperless": "yes"} for i in invoices]
    with pytest.raises(InputError, match=r"invoices\.paperless.*numbers.*texts"):
        model._heads[Level.INVOICE].expected.past(ledger_of(accounts, texts, payments))
    bare = Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)
    with pytest.raises(InputError, match=r"invoices\.paperless"):
        model.predict(asked(bare, CUT), level="invoice")


def test_a_payment_that_was_returned_is_none(tables):
    """Before the cut nobody has paid for good: all are as late as can be."""
    accounts, invoices, payments = tables
    back = []
    for p in payments:
        day = dt.datetime.fromisoformat(p["paid_at"]) + DAY
        changed = {"payment_id": p["payment_id"] + "-R", "paid_at": day.isoformat()}
        back.append({**p, **changed, "amount": -p["amount"]})
    known = expected._Lateness.known(ledger_of(accounts, invoices, payments + back), CUT, 4.0)
    assert len(known.late) > 1000
    assert (known.late == LATEST).all()


def test_no_feature_at_all_is_refused(ledger):
    with pytest.raises(InputError, match="features"):
        PaymentModel(levels=("account",), features=[EXPECTED]).fit(ledger, as_of=CUT)
