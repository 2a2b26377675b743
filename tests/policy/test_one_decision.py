"""One decision at once: the same as that of a run for this account alone."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest

from collectopt import Ledger, NextBestAction, Snapshot
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import one_row, response
from collectopt.models.boosting import Trees
from collectopt.models.external import Followed, Lift, Place
from collectopt.models.one_row import QuickPayment, QuickTrees
from collectopt.objective import ExpectedRecovery, Term
from collectopt.policy import Overrides
from collectopt.policy.draws import uniform_row, uniforms
from collectopt.policy.guard import SEGMENTS, Judged, Kept, Verdict
from collectopt.policy.handover import Outside
from collectopt.policy.timing import marks
from collectopt.simulation import Book

TABLES = ("accounts", "invoices", "payments", "contacts", "responses", "holds")
NUMBERS = ("p_pay", "p_pay_if_wait", "expected_recovery", "uplift", "cost", "value", "propensity")


def alone(tables, account):
    """Rows of one account."""
    kept = {
        name: [row for row in rows if row["account_id"] == account] for name, rows in tables.items()
    }
    return {name: rows for name, rows in kept.items() if rows}


def assert_same(choice, row):
    """Words, times and ids to the letter; numbers but for the last bits."""
    for name, found in vars(choice).items():
        if name == "terms":
            continue
        if name in NUMBERS:
            assert found == pytest.approx(row[name], rel=1e-11, abs=1e-13, nan_ok=True), name
        else:
            assert (list(found) if isinstance(found, tuple) else found) == row[name], name


@pytest.fixture(scope="module")
def book():
    return Book("shop", accounts=150, seed=5, weeks=30)


@pytest.fixture(scope="module")
def policy(book):
    """Fitted with effects of each account, though so small a log shows none."""
    plain = book.catalogue.to_dict()
    for channel in plain["channels"]:
        channel.pop("capacity", None)
    plain["limits"].pop("budget", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(response, "NEEDED_Z", -np.inf)
        fitted = NextBestAction(type(book.catalogue).from_dict(plain))
        return fitted.fit(book.ledger(), as_of=book.as_of)


@pytest.fixture(scope="module", params=["compiled", "plain"])
def fast(policy, request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(one_row, "compiled", lambda: None)
        prepared = policy.prepare()
    assert (prepared.kernels is not None) == (request.param == "compiled")
    assert (prepared.payment.fast is not None) == (request.param == "compiled")
    return prepared


@pytest.fixture(scope="module")
def records(fast, book):
    return fast.records(book.ledger(), book.as_of)


@pytest.mark.parametrize("seed", range(4))
def test_random_books_account_by_account(kit, seed):
    frames = kit.frames(seed, n=5)
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue)).fit(
        frames.ledger(), frames.as_of
    )
    fast = policy.prepare()
    for account in kit.Plain(frames).with_open_claim():
        rows = alone(frames.tables, account)
        record = fast.record(rows, frames.as_of)
        for rng in range(2):
            [row] = policy.decide(Ledger.from_frames(**rows), frames.as_of, rng).table.to_pylist()
            assert_same(fast.decide(record, rng=rng), row)


def test_own_models_account_by_account(policy, fast, book):
    tables = {name: getattr(book.ledger(), name).to_pylist() for name in TABLES}
    names = Snapshot(book.ledger(), book.as_of).rows["account_id"].to_pylist()
    contacts = 0
    for k, account in enumerate(names[:6]):
        rows = alone(tables, account)
        record = fast.record(rows, book.as_of)
        [row] = policy.decide(Ledger.from_frames(**rows), book.as_of, k).table.to_pylist()
        assert_same(fast.decide(record, book.as_of, k), row)
        assert_same(policy.decide_one(record, book.as_of, k), row)
        contacts += row["channel"] != "none"
    assert contacts


def test_prepared_from_the_whole_book(policy, fast, records, book):
    """Who explores hangs on the company; all others get what the run gives them."""
    rows = policy.decide(book.ledger(), book.as_of, rng=3).table.to_pylist()
    assert [row["account_id"] for row in rows] == sorted(records)
    same = 0
    for row in rows:
        choice = fast.decide(records[row["account_id"]], rng=3)
        if "Drawn" not in row["reasons"][0] + choice.reasons[0]:
            assert_same(choice, row)
            same += 1
    assert same > 0.8 * len(rows)


def test_reasons_of_delay_are_known_to_the_rules(fast, records):
    unclear = [r for r in records.values() if r.state.doubt[0] >= 0.8 or r.state.distress[0] >= 0.5]
    assert unclear
    assert any("DISTRESS" in " ".join(fast.decide(r).rule_trace) for r in unclear)


def test_prices_of_the_last_run_steer_the_choice(book, policy):
    dear = NextBestAction(type(book.catalogue).from_dict(policy.catalogue.to_dict() | {
        "limits": {**policy.catalogue.to_dict()["limits"], "budget": 1e6},
    }))  # fmt: skip
    dear.__dict__.update({k: v for k, v in vars(policy).items() if k not in {"catalogue", "_one"}})
    free, scarce = dear.prepare(), dear.prepare(prices={"budget": 1e6})
    records = free.records(book.ledger(), book.as_of)
    sent = [free.decide(r).channel for r in records.values() if free.decide(r).propensity > 0.5]
    assert set(sent) - {"none"}
    for record in records.values():
        choice = scarce.decide(record)
        assert choice.channel == "none" or choice.reasons[0].startswith("Drawn")
    with pytest.raises(InputError, match="budget"):
        dear.prepare(prices={"letters": 1.0})
    with pytest.raises(InputError, match="at least 0"):
        dear.prepare(prices={"budget": -1.0})


def test_later_on_the_same_day_slots_are_over(fast, records, book):
    record = next(r for r in records.values() if fast.decide(r).channel not in {"none", "stop"})
    before = fast.decide(record)
    now = before.send_at
    end = np.datetime64(record.until, "us").item().replace(tzinfo=now.tzinfo)
    if now < end:
        later = fast.decide(record, now)
        assert later.send_at is None or later.send_at > now
    for wrong in (end, end + timedelta(days=1), book.as_of - np.timedelta64(1, "h")):
        with pytest.raises(InputError, match="local day"):
            fast.decide(record, wrong)


def test_a_record_belongs_to_its_policy(book, records, kit):
    other = NextBestAction(
        book.catalogue, payment=kit.Payment(), response=kit.Response(book.catalogue)
    )
    with pytest.raises(NotFittedError):
        other.prepare()
    other.fit(book.ledger(), book.as_of)
    with pytest.raises(InputError, match="made for this policy"):
        other.decide_one(next(iter(records.values())))


def test_the_first_call_lays_the_policy_out_and_a_new_fit_again(book, kit):
    policy = NextBestAction(
        book.catalogue, payment=kit.Payment(), response=kit.Response(book.catalogue)
    ).fit(book.ledger(), book.as_of)
    record = next(iter(policy.prepare().records(book.ledger(), book.as_of).values()))
    policy.decide_one(record)
    first = policy._one
    policy.decide_one(record)
    assert policy._one is first
    assert policy.with_objective(policy.objective * 2.0)._one is first  # a twin makes its own
    with pytest.raises(InputError, match="made for this policy"):
        policy.with_objective(policy.objective * 2.0).decide_one(record)


def test_no_tables_and_no_files_on_the_way(fast, records):
    """Whatever runs in a decision is Python, NumPy or LightGBM's library."""
    record = next(iter(records.values()))
    fast.decide(record)
    seen = set()

    def watch(frame, event, arg):
        if event == "call":
            seen.add(frame.f_globals.get("__name__", ""))
        elif event == "c_call":
            seen.add(f"{getattr(arg, '__module__', None) or ''}.{arg.__name__}")

    sys.setprofile(watch)
    try:
        fast.decide(record)
    finally:
        sys.setprofile(None)
    roots = {name.split(".")[0] for name in seen}
    assert "collectopt" in roots
    assert not roots & {"pandas", "pyarrow", "duckdb", "io", "_io", "pathlib"}


def test_trees_asked_for_one_row_say_the_same(monkeypatch):
    from collectopt.models.boosting import TreeOptions

    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 5] = rng.integers(0, 9, 3000)
    y = (rng.random(3000) < 1.0 / (1.0 + np.exp(-np.nan_to_num(X[:, 0])))).astype(float)
    trees = Trees.fit(X, y, options=TreeOptions(rounds=30), categorical=[5])
    known = trees.score(X[:50])

    def ask(quick):
        data = np.zeros((50, 6), dtype=np.float32)
        score = quick.of(data)
        data[:] = X[:50]
        each = []
        for row in X[:50]:
            quick.row[:] = row
            each.append(quick.one())
        return np.array(each), score()

    quick = QuickTrees(trees, 6)
    each, together = ask(quick)
    assert quick._fast is not None
    np.testing.assert_array_equal(each, known)
    np.testing.assert_array_equal(together, known)
    with monkeypatch.context() as patch:
        patch.delattr("lightgbm.basic._LIB")
        quick = QuickTrees(trees, 6)
    each, together = ask(quick)
    assert quick._fast is None
    np.testing.assert_array_equal(each, known)
    np.testing.assert_array_equal(together, known)


@pytest.mark.parametrize("days", [5, 60, 400])
def test_horizons_of_any_length(policy, records, book, days):
    payment, snapshot = policy.payment_, Snapshot(book.ledger(), book.as_of)
    asked = marks(days)
    known = payment.predict(snapshot, horizons=[f"{day}D" for day in asked], quantiles=()).p_paid
    quick = QuickPayment(payment, asked)
    for name, row in zip(snapshot.rows["account_id"].to_pylist(), known, strict=True):
        r = records[name]
        assert quick.before(r.payment, r.stages, r.due, r.day) == pytest.approx(row, rel=1e-12)


def test_draws_are_those_of_a_run():
    names = np.array(["A1", "Ä 2", ""], dtype=object)
    for row, name in zip(uniforms(names, 17, 4), names, strict=True):
        assert uniform_row(name, 17, 4) == tuple(row)


def test_bad_rows_are_named(fast, book):
    tables = {name: getattr(book.ledger(), name).to_pylist() for name in TABLES}
    two = {name: rows[:2] for name, rows in tables.items() if name == "accounts"}
    names = {row["account_id"] for row in two["accounts"]}
    two["invoices"] = [r for r in tables["invoices"] if r["account_id"] in names]
    with pytest.raises(InputError, match="one row"):
        fast.record(two, book.as_of - np.timedelta64(3000, "D"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stages_tables_of_tones_and_ways_out_account_by_account(kit, seed):
    change = {"agency": {"fee": 0.2, "notice_days": 0}, "court": {}, "stop": {"keep_cost": 1.0},
              "stages": {"notice_tone": "friendly"}, "jurisdiction": ["de", "none"][seed % 2],
              "house": {"min_contacts_before_agency": 0, "doubt": 1.0, "max_tone_step": None,
                        "tones": [{"highest": "neutral"}]}}  # fmt: skip
    frames = kit.frames(seed, n=5, explore=0.3, **change)
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue)).fit(
        frames.ledger(), frames.as_of
    )
    followed = Followed(np.ones(9), np.full(9, 0.2), np.arange(9), np.full(9, 90.0), np.ones(9))
    policy.outside_ = Outside(dict.fromkeys(Place, Lift.of(followed, None)), 0.02)
    fast = policy.prepare()
    for account in kit.Plain(frames).with_open_claim():
        rows = alone(frames.tables, account)
        record = fast.record(rows, frames.as_of)
        [row] = policy.decide(Ledger.from_frames(**rows), frames.as_of, 1).table.to_pylist()
        assert_same(fast.decide(record, rng=1), row)


def test_waits_that_only_a_run_can_play_are_refused(kit):
    frames = kit.frames(0, n=3, waits={"days": [7]})
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue))
    policy.fit(frames.ledger(), frames.as_of)
    with pytest.raises(InputError, match="played ahead"):
        policy.prepare()


@pytest.mark.parametrize("budget", [None, 0.2])
def test_exploration_by_value_is_that_of_a_run(kit, budget):
    """Draws and propensities, at the share that kept to the budget."""
    how = {"temperature": 3.0, "max_loss": 60.0} | ({} if budget is None else {"budget": budget})
    tried, unsure, shares = 0, 0, set()
    for seed in range(3):
        frames = kit.frames(seed, n=6, exploration=how, explore=0.5)
        catalogue = frames.parsed()
        policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue))
        policy.fit(frames.ledger(), frames.as_of)
        prepared = {}
        for account in kit.Plain(frames).with_open_claim():
            rows = alone(frames.tables, account)
            for rng in range(4):
                made = policy.decide(Ledger.from_frames(**rows), frames.as_of, rng)
                [row] = made.table.to_pylist()
                share = made.exploration["share"]
                if share not in prepared:
                    prepared[share] = policy.prepare(share=None if budget is None else share)
                fast = prepared[share]
                choice = fast.decide(fast.record(rows, frames.as_of), rng=rng)
                assert_same(choice, row)
                shares.add(share)
                tried += row["propensity"] < 0.5
                unsure += row["propensity"] < 1.0
    assert unsure > tried > 0
    assert len(shares) > 1 if budget else shares == {0.5}


def test_a_share_is_needed_beside_a_budget_and_lies_within_0_and_1(kit):
    frames = kit.frames(0, n=3, exploration={"budget": 5.0}, explore=0.1)
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue))
    policy.fit(frames.ledger(), frames.as_of)
    with pytest.raises(InputError, match=r"budget of 5 EUR a run.*decisions\.exploration"):
        policy.prepare()
    for wrong in (-0.1, 1.5, "x", True, float("nan")):
        with pytest.raises(InputError, match=r"expected 0\.\.1"):
            policy.prepare(share=wrong)
    assert policy.prepare(share=0.0).share == 0.0


WRONG_ROWS = [{}, None, [1], {"accounts": [{}]}, {"accounts": [{}], "invoices": [], "invoice": []}]


@pytest.mark.parametrize("rows", WRONG_ROWS)
def test_what_are_no_rows_is_named(fast, book, rows):
    with pytest.raises(InputError, match="rows by table"):
        fast.record(rows, book.as_of)


def test_what_is_no_record_or_price_is_named(fast, policy):
    for wrong in ("A1", None, {}):
        with pytest.raises(InputError, match="AccountRecord"):
            fast.decide(wrong)
    for prices in ([1.0], {"budget": "x"}):
        with pytest.raises(InputError, match="prices"):
            policy.prepare(prices=prices)


def forbidding(account, book, channel):
    day = book.as_of.date()
    return Overrides.from_rows([{
        "account_id": account, "kind": "forbid", "channel": channel, "reason": "asked",
        "owner": "me", "from_on": day - timedelta(days=2), "until": day + timedelta(days=2),
    }])  # fmt: skip


def test_orders_where_the_ladder_decides(policy, book):
    none = dict.fromkeys(Kept, 0.0)
    judged = [Judged(s, Kept.LADDER, 9, (1, 1), (1, 1), none, 0.0, 1.0) for s in SEGMENTS]
    ladder = copy.copy(policy)
    ladder.effects_ = replace(policy.effects_, verdict=Verdict(tuple(judged)))
    ladder._seal_models()
    fast = ladder.prepare()
    tables = {name: getattr(book.ledger(), name).to_pylist() for name in TABLES}
    names = Snapshot(book.ledger(), book.as_of).rows["account_id"].to_pylist()
    for account in names[:5]:
        rows = alone(tables, account)
        orders = forbidding(account, book, "email")
        record = fast.record(rows, book.as_of)
        ledger = Ledger.from_frames(**rows)
        [row] = ladder.decide(ledger, book.as_of, 2, overrides=orders).table.to_pylist()
        assert_same(fast.decide(record, rng=2, overrides=orders), row)


def test_prices_steer_under_orders_and_are_not_told_as_worth(policy, book):
    plain = policy.catalogue.to_dict()
    plain["limits"] = {**plain["limits"], "budget": 1e6}
    dear = NextBestAction(type(book.catalogue).from_dict(plain))
    dear.__dict__.update({k: v for k, v in vars(policy).items() if k not in {"catalogue", "_one"}})
    scarce, said = dear.prepare(prices={"budget": 1e6}), []
    for name, record in scarce.records(book.ledger(), book.as_of).items():
        choice = scarce.decide(record, overrides=forbidding(name, book, "letter"))
        assert choice.channel == "none"
        said += [reason for reason in choice.reasons if "would be worth" in reason]
    assert any("scarce" in reason for reason in said)
    assert not any("be worth -1" in reason for reason in said)


def test_own_terms_may_be_worth_the_same_for_all(kit):
    @dataclass(frozen=True, eq=False, repr=False)
    class Flat(Term):
        def euros(self, block):
            return 2.0

    frames = kit.frames(0, n=3)
    catalogue = frames.parsed()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue),
        objective=ExpectedRecovery() - Flat(),
    ).fit(frames.ledger(), frames.as_of)  # fmt: skip
    fast = policy.prepare()
    for account in kit.Plain(frames).with_open_claim():
        rows = alone(frames.tables, account)
        [row] = policy.decide(Ledger.from_frames(**rows), frames.as_of, 1).table.to_pylist()
        assert_same(fast.decide(fast.record(rows, frames.as_of), rng=1), row)
