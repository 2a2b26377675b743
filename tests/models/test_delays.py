"""Delay reasons: against latent types, by hand, point in time, and written down."""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import ArtifactError, NotFittedError
from collectopt.models import DelayModel, DelayReason, delays
from collectopt.models.evidence import collect
from collectopt.models.latent import LatentClasses

ROOT = Path(__file__).parents[2]
KINDS = ("shop", "subscription", "utility", "b2b", "telco")
CANNOT = list(DelayReason).index(DelayReason.CANNOT)


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield import_module("delays")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def books(bench):
    """Per kind: what the simulator knows of the accounts past due, and what the model says."""
    found = {}
    for kind in KINDS:
        book = co.simulation.Book(kind, accounts=3_000, seed=17)
        here = bench.labelled(book)
        model = DelayModel().fit(book.ledger(), book.as_of)
        found[kind] = here, model.predict(here.snapshot)
    return found


def auc_error(auc, truth):
    """Standard error of an AUC (Hanley and McNeil 1982)."""
    yes, no = truth.sum(), (~truth).sum()
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (yes - 1) * (q1 - auc**2) + (no - 1) * (q2 - auc**2)
    return np.sqrt(spread / (yes * no))


# Known truth ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_reason_is_told_from_the_rest(books, bench, kind):
    here, found = books[kind]
    for name, auc in bench.aucs(found.posterior, here.reason).items():
        truth = here.reason == [reason.value for reason in DelayReason].index(name)
        assert auc - 2 * auc_error(auc, truth) > 0.55, name


@pytest.mark.parametrize("kind", KINDS)
def test_cannot_pay_is_more_than_late_for_long(books, bench, kind):
    # The usual rule: the longer past due, the more likely the customer cannot pay.
    here, found = books[kind]
    truth = here.reason == CANNOT
    days = bench.roc_auc_score(truth, here.features["days_past_due"])
    auc = bench.aucs(found.posterior, here.reason)["cannot"]
    assert auc > 0.8 - 2 * auc_error(auc, truth)
    if kind != "b2b":  # there is no credit score in a book of businesses: see the next test
        assert auc - days > 2 * np.hypot(auc_error(auc, truth), auc_error(days, truth))


def test_cannot_pay_is_more_than_late_for_long_over_all_books(books, bench):
    gains, errors = [], []
    for here, found in books.values():
        truth = here.reason == CANNOT
        days = bench.roc_auc_score(truth, here.features["days_past_due"])
        auc = bench.aucs(found.posterior, here.reason)["cannot"]
        gains.append(auc - days)
        errors.append(np.hypot(auc_error(auc, truth), auc_error(days, truth)))
    assert np.mean(gains) > 0.05 + 3 * np.sqrt(np.sum(np.square(errors))) / len(errors)
    assert min(gains) > 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_reasons_beat_the_true_shares(books, kind):
    # The rival knows how frequent each reason is in this very book, which nobody does.
    here, found = books[kind]
    n = len(here.reason)
    share = np.bincount(here.reason, minlength=7) / n
    own = np.log(np.maximum(found.posterior[np.arange(n), here.reason], 1e-4))
    gain = own - np.log(share[here.reason])
    assert gain.mean() > 0.15 + 3 * gain.std(ddof=1) / np.sqrt(n)


@pytest.mark.parametrize("kind", KINDS)
def test_distress_is_nearly_calibrated(books, bench, kind):
    here, found = books[kind]
    # Ten bins of a perfect forecast show about sqrt(10 p (1 - p) 2 / pi / n) by chance.
    noise = np.sqrt(10 * 0.2 * 2 / np.pi / len(here.reason))
    assert bench.calibration_error(found.distress, here.distress) < 0.12 + noise
    assert abs(found.distress.mean() - here.distress.mean()) < 0.15


def test_process_errors_are_seldom_seen_where_there_are_none(books):
    for _, found in books.values():
        assert found.posterior[:, list(DelayReason).index(DelayReason.PROCESS_ERROR)].mean() < 0.08


# By hand --------------------------------------------------------------------------------------


def account(name, **more):
    return {"account_id": name, "customer_type": "consumer", "country": "DE", **more}


def invoice(name, number, due, amount=100.0):
    return {
        "invoice_id": f"{name}{number}", "account_id": name, "issued_on": f"{due[:8]}01",
        "due_on": due, "amount": amount, "currency": "EUR",
    }  # fmt: skip


def payment(name, number, at, amount=100.0, invoice_id="same"):
    return {
        "payment_id": f"P{name}{number}", "account_id": name, "paid_at": f"{at}T12:00Z",
        "amount": amount, "invoice_id": f"{name}{number}" if invoice_id == "same" else invoice_id,
    }  # fmt: skip


def contact(name, number, at, channel="email"):
    return {
        "contact_id": f"C{name}{number}", "account_id": name, "sent_at": f"{at}T12:00Z",
        "channel": channel, "tone": "friendly",
    }  # fmt: skip


def response(name, number, at, kind):
    return {
        "account_id": name, "at": f"{at}T15:00Z", "kind": kind, "contact_id": f"C{name}{number}",
    }  # fmt: skip


AS_OF = "2026-08-01T00:00Z"


def small(**change):
    """A: four earlier claims, on time, 5, 20 and 40 days late, and one open. B: nothing known."""
    tables = {
        "accounts": [account("A"), account("B")],
        "invoices": [
            *[invoice("A", j, f"2026-0{j}-10") for j in (1, 2, 3, 4)],
            invoice("A", 7, "2026-07-10"),
            invoice("B", 7, "2026-07-10"),
        ],
        "payments": [
            payment("A", 1, "2026-01-10"),
            payment("A", 2, "2026-02-15"),
            payment("A", 3, "2026-03-30", invoice_id=None),
            payment("A", 4, "2026-05-20"),
        ],
        "contacts": [
            contact("A", 1, "2026-07-12"),
            contact("A", 2, "2026-07-15"),
            contact("A", 3, "2026-07-18", "letter"),
            contact("A", 4, "2026-07-20", "sms"),
        ],
        "responses": [
            response("A", 1, "2026-07-13", "opened"),
            response("A", 4, "2026-07-20", "bounced"),
        ],
        **change,
    }
    return co.Ledger.from_frames(**tables)


def test_evidence_counts_what_happened():
    counts = collect(co.Snapshot(small(), AS_OF))
    assert counts["history"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert counts["age"].tolist() == [[0, 1, 0, 0, 0]] * 2
    # e-mail has shown a reaction, so its silence counts; that of a letter says nothing
    assert counts["reactions"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert counts["unnamed"].tolist() == [[3, 1], [0, 0]]
    assert counts["parts"][0].tolist() == [4, 0]
    assert counts["score"].sum() == 0  # no scores in the book
    assert all(np.isfinite(each).all() for each in counts.values())


def test_a_claim_not_yet_issued_counts_for_nothing_however_long_it_will_be_overdue():
    rows = [invoice("A", 1, "2026-01-10"), invoice("A", 7, "2026-07-10")]
    late = invoice("A", 9, "2026-05-20") | {"issued_on": "2026-08-20"}
    plain, with_it = (
        collect(co.Snapshot(small(invoices=known, payments=[]), AS_OF))
        for known in (rows, [*rows, late])
    )
    assert plain.keys() == with_it.keys()
    for name, counts in plain.items():
        np.testing.assert_array_equal(counts, with_it[name])


def test_bare_book_gives_the_assumed_shares_but_for_the_age():
    ledger = co.Ledger.from_frames(
        accounts=[account("A"), account("B", customer_type="business")],
        invoices=[invoice("A", 7, "2026-07-10"), invoice("B", 9, "2026-08-10")],
    )
    model = DelayModel().fit(ledger, "2026-01-01")  # nothing known yet
    assert np.allclose(model.classes_.shares.sum(axis=1), 1)
    found = model.predict(co.Snapshot(ledger, AS_OF))
    rows = [{"account_id": "B", "as_of": AS_OF}]
    early = model.predict(co.Snapshot.from_rows(ledger, rows))
    assert np.allclose(early.posterior.sum(axis=1), 1)
    assert found.evidence[0] in {"", "oldest claim past due for: up to 30 days"}
    assert len(model.predict(co.Snapshot(ledger, "2026-01-01"))) == 0


def test_facts_come_before_guesses():
    holds = [
        {"account_id": "A", "kind": "vulnerable", "from_on": date(2026, 7, 20), "to_on": None},
        {"account_id": "B", "kind": "dispute", "from_on": date(2026, 7, 20), "to_on": None},
    ]
    ledger = small(holds=holds)
    model = DelayModel().fit(ledger, AS_OF)
    found = model.predict(co.Snapshot(ledger, AS_OF))
    assert found.distress[0] == 1
    assert found.most_likely[1] is DelayReason.DISPUTE
    assert "disputed" in found.evidence[1]
    before = model.predict(co.Snapshot(ledger, "2026-07-19"))
    assert before.distress[0] < 1
    assert before.most_likely[1] is not DelayReason.DISPUTE


def test_frame_has_a_column_a_reason():
    ledger = small()
    frame = DelayModel().fit(ledger, AS_OF).predict(co.Snapshot(ledger, AS_OF)).to_pandas()
    names = [reason.value for reason in DelayReason]
    assert frame.columns.tolist() == [
        "account_id", *names, "most_likely", "distress", "evidence",
    ]  # fmt: skip
    assert np.allclose(frame[names].sum(axis=1), 1)
    assert (frame["most_likely"] == frame[names].idxmax(axis=1)).all()
    assert "earlier claims" in frame["evidence"][0]


# Point in time --------------------------------------------------------------------------------


def test_the_future_changes_nothing():
    book = co.simulation.Book("telco", accounts=400, seed=5, weeks=40)
    ledger = book.ledger()
    cut = np.datetime64(book.as_of.replace(tzinfo=None), "us") - np.timedelta64(60, "D")
    told = {
        "accounts": ledger.accounts, "invoices": known(ledger.invoices, "issued_on", cut),
        "payments": known(ledger.payments, "paid_at", cut),
        "contacts": known(ledger.contacts, "sent_at", cut),
        "responses": known(ledger.responses, "at", cut),
        "holds": known(ledger.holds, "from_on", cut),
    }  # fmt: skip
    past = co.Ledger.from_frames(**told, timezone=ledger.timezone)
    full, then = (DelayModel().fit(each, cut) for each in (ledger, past))
    for name, table in full.classes_.tables.items():
        assert np.array_equal(table, then.classes_.tables[name]), name
    for a, b in ((full, ledger), (then, past)):
        assert len(a.predict(co.Snapshot(b, cut))) > 100
    first, second = full.predict(co.Snapshot(ledger, cut)), then.predict(co.Snapshot(past, cut))
    assert first.account_id == second.account_id
    assert np.array_equal(first.posterior, second.posterior)
    assert np.array_equal(first.distress, second.distress)


def known(table, column, cut):
    frame = table.to_pandas()
    return frame[frame[column].astype("datetime64[us, UTC]") < np.datetime64(cut).astype(str) + "Z"]


# Latent classes -------------------------------------------------------------------------------

COINS = LatentClasses(
    shares=np.array([[0.5, 0.5], [0.5, 0.5]]),
    tables={"a": np.array([[0.9, 0.1], [0.4, 0.6]]), "b": np.array([[0.7, 0.3], [0.2, 0.8]])},
    alike={"a": 0.0, "b": 1.0},
)


def drawn(n, shares, seed, level=1.0):
    """Accounts of two groups; outcome 0 of item a is `level` times as likely in both classes."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    kind = (rng.random(n) < np.array(shares)[group]).astype(int)
    odds = level * COINS.tables["a"][:, 0] / COINS.tables["a"][:, 1]
    first = rng.binomial(5, (odds / (1 + odds))[kind])
    second = rng.random(n) < COINS.tables["b"][kind, 0]
    counts = {
        "a": np.stack([first, 5 - first], axis=1).astype(float),
        "b": np.stack([second, ~second], axis=1) * 3.0,  # three times the same counts once
    }
    return counts, group, kind


def test_posterior_is_that_of_bayes():
    found = COINS.posterior(
        {"a": np.array([[2.0, 1.0]]), "b": np.array([[0.0, 4.0]])}, np.zeros(1, int)
    )
    odds = (0.9**2 * 0.1 * 0.3) / (0.4**2 * 0.6 * 0.8)
    assert found[0, 0] == pytest.approx(odds / (1 + odds))
    nothing = COINS.posterior({"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}, np.zeros(1, int))
    assert nothing.tolist() == [[0.5, 0.5]]


def test_shares_and_levels_of_a_book_are_found_and_odds_ratios_stay():
    counts, group, kind = drawn(20_000, (0.2, 0.6), seed=1, level=2.0)
    weight = np.ones(len(group))
    found = COINS.refine(counts, group, weight, share_strength=1, table_strength=1)
    for g, share in enumerate((0.2, 0.6)):
        error = np.sqrt(share * (1 - share) / (group == g).sum())
        assert abs(found.shares[g, 1] - share) < 6 * error  # labels are not seen: twice the noise
    odds = [each[:, 0] / each[:, 1] for each in (found.tables["a"], COINS.tables["a"])]
    assert odds[0] / odds[1] == pytest.approx(2.0, rel=0.08)
    ratio = [each[0] / each[1] for each in odds]
    assert ratio[0] == pytest.approx(ratio[1])
    # Without the levels the shares would take up what the book is like: the naive way fails.
    stiff = COINS.refine(counts, group, weight, share_strength=1, table_strength=1e9)
    assert abs(stiff.shares[0, 1] - 0.2) > 3 * abs(found.shares[0, 1] - 0.2)
    posterior = found.posterior(counts, group)[:, 1]
    assert abs(posterior.mean() - kind.mean()) < 0.02


def test_strong_priors_stay_where_they_are():
    counts, group, _ = drawn(200, (0.1, 0.1), seed=2)
    held = COINS.refine(counts, group, np.ones(200), share_strength=1e9, table_strength=1e9)
    assert np.allclose(held.shares, COINS.shares, atol=1e-4)
    assert np.allclose(held.tables["a"], COINS.tables["a"], atol=1e-4)


# Written down ---------------------------------------------------------------------------------


def test_saved_and_read_again_it_says_the_same(tmp_path):
    ledger = small()
    model = DelayModel().fit(ledger, AS_OF)
    model.save(tmp_path / "m")
    again = DelayModel.load(tmp_path / "m")
    snapshot = co.Snapshot(ledger, AS_OF)
    assert np.array_equal(model.predict(snapshot).posterior, again.predict(snapshot).posterior)
    file = tmp_path / "m" / "delays.json"
    content = json.loads(file.read_text())
    del content["tables"]["age"]
    file.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="another version"):
        DelayModel.load(tmp_path / "m")
    with pytest.raises(ArtifactError, match="cannot be read"):
        DelayModel.load(tmp_path)


def test_without_fit_it_says_so(tmp_path):
    snapshot = co.Snapshot(small(), AS_OF)
    for use in (lambda m: m.predict(snapshot), lambda m: m.save(tmp_path), lambda m: m.table()):
        with pytest.raises(NotFittedError):
            use(DelayModel())


def test_assumed_tables_are_whole_and_name_their_source():
    with Path(delays.__file__).with_name("delays.toml").open("rb") as file:
        data = tomllib.load(file)
    names = [reason.value for reason in DelayReason]
    for group in ("consumer", "business"):
        assert sum(data["prior"][group][name] for name in names) == pytest.approx(1)
    for item, entry in data["items"].items():
        for name in names:
            assert len(entry[name]) == len(entry["outcomes"]), (item, name)
            assert sum(entry[name]) == pytest.approx(1), (item, name)
            assert min(entry[name]) > 0, (item, name)
    sections = (data["prior"], data["tables"], data["distress"], *data["items"].values())
    assert all(section["source"] in data["sources"] for section in sections)
    widths = {name: each.shape[1] for name, each in collect(co.Snapshot(small(), AS_OF)).items()}
    assert widths == {item: len(entry["outcomes"]) for item, entry in data["items"].items()}
    table = DelayModel().fit(small(), AS_OF).table()
    assert len(table) == sum(widths.values())
