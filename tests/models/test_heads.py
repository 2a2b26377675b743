"""Rows that name a claim on its day of issue: hazards of their own beside the general ones."""

import json
import shutil
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow.compute as pc
import pytest

from collectopt.exceptions import ArtifactError
from collectopt.features import compute
from collectopt.features.words import RANKS
from collectopt.models import (
    PaymentModel,
    hazard,
    heads,
    issue,
    joined,
    payment,
    reasoning,
    reasons,
)
from collectopt.models.boosting import expit, logit
from collectopt.models.labels import Level, due_offsets
from collectopt.models.one_row import QuickPayment
from collectopt.models.options import HazardOptions
from collectopt.models.payment import _local_days
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

CUT = "2024-01-01"
DAY = np.timedelta64(1, "D")
PROMPT = {"invoice": 0.85, "fee": 0.15}  # chance to be paid within a week; later all are alike
FEW = {"rounds": 12, "rate": 0.1, "leaves": 4, "columns": 1.0, "ridge": 1.0, "slopes": None}


def make_book(seed=0, n=1500, tail=10.0):
    """Kinds of claims differ in the first week only, and most moments lie after it."""
    rng = np.random.default_rng(seed)
    invoices, payments = [], []
    for k in range(n):
        issued = np.datetime64("2023-01-01") + np.timedelta64(int(rng.integers(0, 450)), "D")
        kind = ("invoice", "fee")[int(rng.integers(2))]
        key = f"A{k:04d}"
        amount = float(rng.integers(20, 200))
        row = {"invoice_id": key, "account_id": key, "amount": amount, "currency": "EUR"}
        days = {"issued_on": str(issued), "due_on": str(issued + 60 * DAY)}
        invoices.append(row | days | {"kind": kind})
        prompt = rng.random() < PROMPT[kind]
        wait = rng.uniform(1.0, 7.0) if prompt else 7.0 + rng.exponential(tail * 20.0)
        at = (issued + np.timedelta64(int(wait * 24), "h")).astype("datetime64[s]")
        payments.append(
            {
                "payment_id": key,
                "account_id": key,
                "paid_at": f"{at}+00:00",
                "amount": amount,
                "invoice_id": key,
            }
        )
    accounts = [
        {"account_id": i["account_id"], "customer_type": "consumer", "country": "DE"}
        for i in invoices
    ]
    return Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)


@pytest.fixture(scope="module")
def ledger():
    return make_book()


def fit(ledger, *, at_issue=True, level="invoice", needed=300):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "LARGE", needed)
        options = HazardOptions(**FEW, at_issue=at_issue)
        return PaymentModel(event="full", levels=(level,), options=options).fit(ledger, as_of=CUT)


@pytest.fixture(scope="module")
def both(ledger):
    return fit(ledger), fit(ledger, at_issue=False)


def ask(ledger, *, later=0):
    """Claims issued after the cut, so many days after their midnight of issue."""
    table = ledger.invoices.to_pylist()
    rows = [
        {
            "account_id": i["account_id"],
            "as_of": str(np.datetime64(i["issued_on"]) + later * DAY),
            "invoice_id": i["invoice_id"],
        }
        for i in table
        if str(i["issued_on"]) >= CUT
    ]
    return Snapshot.from_rows(ledger, rows), np.array(
        [i["kind"] for i in table if str(i["issued_on"]) >= CUT]
    )


def error(model, snapshot, kind):
    p = model.predict(snapshot, horizons=("8D",), level="invoice", quantiles=()).p_paid[:, 0]
    return max(abs(p[kind == name].mean() - truth) for name, truth in PROMPT.items())


def test_forecasts_at_issue_lie_nearer_to_the_truth():
    gains = []
    for seed in range(1, 7):
        book = make_book(seed, n=900)
        snapshot, kind = ask(book)
        with_own, without = (
            error(fit(book, at_issue=wish), snapshot, kind) for wish in (True, False)
        )
        gains.append(without - with_own)
    assert np.mean(gains) > 3 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_other_rows_are_forecast_as_without(ledger, both):
    snapshot, _ = ask(ledger, later=1)
    got, wanted = (
        model.predict(snapshot, horizons=("8D", "90D"), level="invoice") for model in both
    )
    for name in ("p_paid", "days", "share", "p_never"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def test_rows_at_issue_take_the_mean_of_both_in_log_odds(ledger, both):
    head = both[0]._head("invoice")
    snapshot, _ = ask(ledger)
    names, categories = both[0].inputs("invoice")
    X = np.asarray(compute(snapshot, names, categories).values)
    due, start = due_offsets(snapshot), _local_days(snapshot)
    (_, none, _), (mean_of, some, full) = head.groups(snapshot, X, head.past(ledger))
    assert len(none) == 0
    assert len(some) == len(snapshot)
    own = [head.columns.index(name) for name in head.at_issue.columns_.names]
    assert not set(head.at_issue.columns_.names) & issue.MONEY
    hazards = []
    for model, columns in ((head.hazard, X), (head.at_issue, full[:, own]), (mean_of, full)):
        curve = model.predict_curve(columns, offset=due, start=start, reach=100.0)
        hazards.append(-np.expm1(-np.diff(curve.total, axis=1)[:, :20]))
    mean = expit((logit(hazards[0]) + logit(hazards[1])) / 2.0)  # as many members in both
    np.testing.assert_allclose(hazards[2], mean, rtol=1e-6)


def test_mixed_rows_are_forecast_alone_and_in_their_order(ledger, both):
    at_issue, later = ask(ledger)[0], ask(ledger, later=3)[0]
    names = ["account_id", "as_of", "invoice_id"]
    parts = [part.rows.select(names).to_pylist() for part in (at_issue, later)]
    mixed = [row for pair in zip(*parts, strict=True) for row in pair]
    snapshot = Snapshot.from_rows(ledger, mixed)
    found = both[0].predict(snapshot, horizons=("8D",), level="invoice")
    first = issue.names_at_issue(snapshot)
    assert first.tolist() == [True, False] * (len(mixed) // 2)
    for mask, part in ((first, at_issue), (~first, later)):
        alone = both[0].predict(part, horizons=("8D",), level="invoice")
        np.testing.assert_array_equal(found.p_paid[mask], alone.p_paid)
        np.testing.assert_array_equal(found.days[mask], alone.days)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Auckland"])
def test_the_day_of_issue_is_the_local_one(zone):
    ledger = Ledger.from_frames(
        accounts=[{"account_id": "A", "customer_type": "consumer", "country": "DE"}],
        invoices=[
            {
                "invoice_id": "I",
                "account_id": "A",
                "issued_on": "2024-03-31",
                "due_on": "2024-04-14",
                "amount": 10.0,
                "currency": "EUR",
            }
        ],
        timezone=zone,
    )
    first = np.datetime64(ledger.timeline.claims["issued_at"][0].as_py().replace(tzinfo=None), "m")
    stamp = first + np.arange(0, 72 * 60, 30)
    rows = [
        {"account_id": "A", "as_of": f"{at}:00+00:00", "invoice_id": "I"} for at in stamp.tolist()
    ]
    rows = [row | {"as_of": row["as_of"].replace(" ", "T")} for row in rows]
    snapshot = Snapshot.from_rows(ledger, rows)
    local = snapshot.rows["as_of"].to_pandas().dt.tz_convert(zone).dt.date.astype(str)
    assert 46 <= (local == "2024-03-31").sum() <= 50
    np.testing.assert_array_equal(issue.names_at_issue(snapshot), local == "2024-03-31")
    unnamed = Snapshot.from_rows(ledger, [{"account_id": "A", "as_of": "2024-03-31"}])
    assert not issue.names_at_issue(unnamed).any()


def test_few_events_or_a_wish_leave_it_at_one_hazard(ledger, both):
    assert both[0]._head("invoice").at_issue is not None
    assert both[1]._head("invoice").at_issue is None
    assert fit(ledger, needed=5000)._head("invoice").at_issue is None


def test_moments_that_wait_for_one_payment_count_once():
    account = {"account_id": "A", "customer_type": "consumer", "country": "DE"}
    row = {"account_id": "A", "amount": 10.0, "currency": "EUR", "due_on": "2023-03-01"}
    ledger = Ledger.from_frames(
        accounts=[account],
        invoices=[row | {"invoice_id": f"I{d}", "issued_on": f"2023-01-{d}"} for d in (10, 20, 30)],
        payments=[{"payment_id": "P", "account_id": "A", "paid_at": "2023-02-10", "amount": 30.0}],
    )
    training = PaymentModel(event="any", levels=("account",)).training(ledger, CUT, Level.ACCOUNT)
    assert training.outcome.event[training.at_issue].tolist() == [True] * 3
    assert training.events == training.events_at_issue == 1


def test_what_happens_after_the_cut_changes_nothing(ledger, both):
    later = ledger.payments.to_pylist()
    moved = [
        row | {"amount": float(row["amount"]), "paid_at": row["paid_at"].isoformat()}
        for row in later
        if str(row["paid_at"]) < CUT
    ]
    tables = {"accounts": ledger.accounts, "invoices": ledger.invoices, "payments": moved}
    other = fit(Ledger.from_frames(**tables))
    snapshot, _ = ask(ledger)
    got, wanted = (
        model.predict(snapshot, horizons=("8D",), level="invoice").p_paid
        for model in (other, both[0])
    )
    np.testing.assert_array_equal(got, wanted)


def test_save_and_load_give_the_same_numbers(ledger, both, tmp_path):
    snapshot, _ = ask(ledger)
    both[0].save(tmp_path)
    again = PaymentModel.load(tmp_path)
    got, wanted = (
        model.predict(snapshot, horizons=("8D", "90D"), level="invoice")
        for model in (again, both[0])
    )
    np.testing.assert_array_equal(got.p_paid, wanted.p_paid)
    np.testing.assert_array_equal(got.days, wanted.days)


def test_an_artifact_of_before_has_one_hazard(ledger, both, tmp_path):
    both[1].save(tmp_path)
    content = json.loads((tmp_path / "payment.json").read_text())
    del content["options"]["at_issue"], content["heads"]["invoice"]["at_issue"]
    (tmp_path / "payment.json").write_text(json.dumps(content))
    snapshot, _ = ask(ledger)
    got, wanted = (
        model.predict(snapshot, horizons=("8D",), level="invoice").p_paid
        for model in (PaymentModel.load(tmp_path), both[1])
    )
    np.testing.assert_array_equal(got, wanted)


def test_reasons_add_up_at_issue_and_later(ledger, both):
    for later in (0, 2):
        snapshot, _ = ask(ledger, later=later)
        snapshot = snapshot.take(np.arange(40))
        found = reasons(both[0], snapshot, "30D", "invoice")
        p = both[0].predict(snapshot, horizons=("30D",), level="invoice").p_paid[:, 0]
        np.testing.assert_allclose(expit(found.base + found.values.sum(axis=1)), p, atol=1e-9)


def prices(n=120, per_day=3):
    """One kind whose price rises by a step half way, and another whose claims grow steadily."""
    invoices = []
    for k in range(n):
        day = str(np.datetime64("2023-01-01") + (k // per_day) * DAY)
        for kind, amount in (("fee", 11.0 if k < n // 2 else 13.0), ("invoice", 10.0 + k)):
            invoices.append(
                {
                    "invoice_id": f"{kind}-{k:03d}",
                    "account_id": f"A{k:03d}",
                    "issued_on": day,
                    "due_on": str(np.datetime64(day) + 14),
                    "amount": amount,
                    "currency": "EUR",
                    "kind": kind,
                }
            )
    accounts = [
        {"account_id": f"A{k:03d}", "customer_type": "consumer", "country": "DE"} for k in range(n)
    ]
    return Ledger.from_frames(accounts=accounts, invoices=invoices)


def at_issue(table):
    """Ask about each claim on the midnight that begins its day of issue."""
    return [
        {
            "account_id": i["account_id"],
            "as_of": str(i["issued_on"]),
            "invoice_id": i["invoice_id"],
        }
        for i in table
    ]


def ranks(snapshot):
    return issue.ranks(snapshot, issue.names_at_issue(snapshot))


def plain_rank(known, own):
    """Share of the latest claims that are smaller, ties by half."""
    latest = known[-issue.LATEST :]
    if len(latest) < issue.LEAST:
        return np.nan
    below = sum(amount < own for amount in latest) + 0.5 * sum(a == own for a in latest)
    return np.round(below / len(latest), 2)


@pytest.mark.parametrize("latest", [20, 200])
def test_ranks_are_those_of_a_plain_loop(monkeypatch, latest):
    monkeypatch.setattr(issue, "LATEST", latest)
    ledger = prices()
    table = sorted(ledger.invoices.to_pylist(), key=lambda i: i["invoice_id"])
    found = ranks(Snapshot.from_rows(ledger, at_issue(table)))
    wanted = []
    for own in table:
        known = [
            float(i["amount"])
            for i in table
            # a row with a day alone is known from the next midnight on
            if i["kind"] == own["kind"] and str(i["issued_on"]) < str(own["issued_on"])
        ]
        wanted.append(plain_rank(known, float(own["amount"])))
    np.testing.assert_array_equal(found[:, 0], wanted)
    # Other claims of the account of that day are not known yet: it is the only open one.
    np.testing.assert_array_equal(found[:, 1], wanted)
    fee = np.array([i["kind"] == "fee" for i in table])
    assert np.nanmin(found[~fee, 0]) == 1.0  # they grow steadily
    assert found[fee, 0][59] == 0.5  # all alike
    assert found[fee, 0][60] == 1.0  # the first of the new price
    assert found[fee, 0][-1] < 0.8  # and it becomes usual


def test_ranks_at_other_times_are_missing():
    ledger = prices()
    row = {"account_id": "A100", "invoice_id": "fee-100"}
    asked = [row | {"as_of": day} for day in ("2023-02-03", "2023-02-04", "2023-03-01")]
    found = ranks(Snapshot.from_rows(ledger, asked))
    assert np.isnan(found).tolist() == [[False] * 2, [True] * 2, [True] * 2]
    unnamed = Snapshot.from_rows(ledger, [{"account_id": "A100", "as_of": "2023-02-03"}])
    assert np.isnan(ranks(unnamed)).all()


def test_the_mean_rank_is_that_of_the_open_claims():
    table = prices().invoices.to_pylist()
    ranked = dict(zip((i["invoice_id"] for i in table), ranks(
        Snapshot.from_rows(prices(), at_issue(table)))[:, 0], strict=True))  # fmt: skip
    # One more claim of an account that has two open ones, known by then.
    more = table[0] | {
        "invoice_id": "more",
        "account_id": "A050",
        "issued_on": date(2023, 3, 1),
        "due_on": date(2023, 3, 15),
        "amount": Decimal("13.00"),
        "kind": "fee",
    }
    ledger = Ledger.from_frames(accounts=prices().accounts, invoices=[*table, more])
    asked = [{"account_id": "A050", "as_of": "2023-03-01", "invoice_id": "more"}]
    own, mean = ranks(Snapshot.from_rows(ledger, asked))[0]
    assert own == 0.75  # half are smaller, half as large
    parts = [own, ranked["fee-050"], ranked["invoice-050"]]
    assert mean == pytest.approx(np.mean(parts), abs=0.005)


def test_later_claims_change_no_rank():
    ledger = prices()
    kept = ledger.invoices.filter(pc.less(ledger.invoices["issued_on"], date(2023, 1, 30)))
    other = Ledger.from_frames(accounts=ledger.accounts, invoices=kept)
    rows = at_issue(kept.to_pylist())
    got, wanted = (ranks(Snapshot.from_rows(book, rows)) for book in (other, ledger))
    np.testing.assert_array_equal(got, wanted)
    assert (~np.isnan(got)).sum() > 100


def test_chosen_features_are_neither_hidden_nor_ranked(ledger):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "LARGE", 300)
        model = PaymentModel(
            levels=("invoice",),
            features=("claim_amount", "claim_kind"),
            options=HazardOptions(**FEW),
        ).fit(ledger, as_of=CUT)
    head = model._head("invoice")
    assert head.at_issue.columns_.names == head.names == head.columns
    snapshot = ask(ledger)[0].take(np.arange(20))
    found = reasons(model, snapshot, "30D", "invoice")
    p = model.predict(snapshot, horizons=("30D",), level="invoice").p_paid
    np.testing.assert_allclose(expit(found.base + found.values.sum(axis=1)), p[:, 0], atol=1e-9)


def test_ranks_give_reasons_at_issue_only(ledger, both):
    found = reasons(both[0], ask(ledger)[0], "30D", "invoice")
    places = [found.names.index(name) for name in RANKS]
    assert np.isfinite(found.data[:, places]).any()
    later = reasons(both[0], ask(ledger, later=1)[0], "30D", "invoice")
    assert later.names == found.names
    assert not later.values[:, places].any()
    assert np.isnan(later.data[:, places]).all()


@pytest.mark.parametrize("event", ["full", "any"])
def test_accounts_too_are_forecast_and_explained_at_issue(ledger, event):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "LARGE", 300)
        found = [
            PaymentModel(
                event=event, levels=("account",), options=HazardOptions(**FEW, at_issue=wish)
            ).fit(ledger, as_of=CUT)
            for wish in (True, False)
        ]
    first, moment = ask(ledger)[0].take(np.arange(60)), "2024-02-15"
    named, without = (m.predict(first, horizons=("8D",)).p_paid for m in found)
    assert (named != without).all()
    told = reasons(found[0], first, "8D", "account")
    np.testing.assert_allclose(expit(told.base + told.values.sum(axis=1)), named[:, 0], atol=1e-9)
    book = Snapshot(ledger, moment)  # names no claim
    got, wanted = (m.predict(book, horizons=("8D",)).p_paid for m in found)
    np.testing.assert_array_equal(got, wanted)
    quick = QuickPayment(found[0], (8,))
    names, categories = found[0].inputs("account")
    X = np.asarray(compute(book, names, categories).values)
    due, day = due_offsets(book), _local_days(book).astype(np.int64)
    lines = quick.straight(X)
    alone = [quick.before(X[i], lines[i], due[i], int(day[i]))[0] for i in range(len(book))]
    np.testing.assert_allclose(alone, got[:, 0], rtol=1e-9)


def test_small_blocks_give_the_same(monkeypatch, ledger, both):
    parts = [ask(ledger, later=later)[0].rows.slice(0, 25) for later in (0, 1)]
    names = ["account_id", "as_of", "invoice_id"]
    rows = [row for part in parts for row in part.select(names).to_pylist()]
    snapshot = Snapshot.from_rows(ledger, rows)
    wanted = both[0].predict(snapshot, horizons=("30D",), level="invoice")
    why = reasons(both[0], snapshot, "30D", "invoice")
    for module, size in ((payment, 7), (joined, 3), (hazard, 5), (issue, 2), (reasoning, 4)):
        monkeypatch.setattr(module, "_BLOCK", size)
    got = both[0].predict(snapshot, horizons=("30D",), level="invoice")
    np.testing.assert_array_equal(got.p_paid, wanted.p_paid)
    np.testing.assert_array_equal(got.days, wanted.days)
    again = reasons(both[0], snapshot, "30D", "invoice")
    np.testing.assert_allclose(again.values, why.values, atol=1e-12)


def test_no_rows_give_an_empty_forecast(ledger, both):
    empty = ask(ledger)[0].take(np.arange(0))
    assert both[0].predict(empty, horizons=("8D",), level="invoice").p_paid.shape == (0, 1)
    assert len(reasons(both[0], empty, "8D", "invoice")) == 0


def test_a_lost_folder_is_told(ledger, both, tmp_path):
    both[0].save(tmp_path)
    shutil.rmtree(tmp_path / "invoice-at_issue")
    with pytest.raises(ArtifactError, match="no readable"):
        PaymentModel.load(tmp_path)
