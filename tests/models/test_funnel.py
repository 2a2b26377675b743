"""Promises given reach, and promises kept: counts by hand and simulated books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import FunnelModel
from collectopt.models.funnel import settled_promises
from collectopt.schema import ActionSet, Snapshot
from collectopt.simulation import Book

from .reach_books import AS_OF, START, contact, ledger, response

ACTIONS = ActionSet.from_frame(
    [{"channel": "none"}]
    + [{"channel": c, "tone": "friendly", "offer": "none"} for c in ("phone", "email", "fax")]
)


def payment(account, day, amount, hour=12):
    return {
        "payment_id": f"P{account}{day}{amount}", "account_id": account,
        "paid_at": START + timedelta(days=day, hours=hour), "amount": amount,
    }  # fmt: skip


def snapshot(book, accounts, at=datetime(2026, 12, 1, tzinfo=UTC)):
    return Snapshot.from_rows(book, [{"account_id": a, "as_of": at} for a in accounts])


def promise(account, day=0, amount=100.0, due=10):
    sent = contact(account, day, day)
    due_on = None if due is None else (START + timedelta(days=due)).date()
    return sent, response(sent, "promised", amount=amount, due_on=due_on)


def promises():
    """Promise, payments and whether it was kept; as of day 30."""
    return {
        "in full": (promise("in full"), [payment("in full", 9, 100)], True),
        "in two parts": (promise("in two parts"), [payment("in two parts", 2, 60),
                         payment("in two parts", 10, 40)], True),
        "a day late": (promise("a day late"), [payment("a day late", 11, 100)], False),
        "too little": (promise("too little"), [payment("too little", 5, 99.99)], False),
        "before": (promise("before", day=3), [payment("before", 1, 100)], False),
        "no amount": (promise("no amount", amount=None), [payment("no amount", 4, 1)], True),
        "no day": (promise("no day", due=None), [payment("no day", 14, 100)], True),
        "came back": (promise("came back"), [payment("came back", 4, 100),
                      payment("came back", 8, -100)], True),
        "to come": (promise("to come", due=30), [payment("to come", 6, 100)], None),
        "to come, unpaid": (promise("to come, unpaid", due=40), [], None),
    }  # fmt: skip


def test_promises_are_kept_as_the_features_say():
    from collectopt.features import compute

    made = promises()
    book = ledger(
        [sent for (sent, _), _, _ in made.values()],
        [said for (_, said), _, _ in made.values()],
        [p for _, money, _ in made.values() for p in money],
    )
    at = START + timedelta(days=30)
    table = settled_promises(book, at).to_pydict()
    ids = book.accounts["account_id"].to_pylist()
    found = {ids[a]: kept for a, kept in zip(table["account"], table["kept"], strict=True)}
    assert found == {name: kept for name, (_, _, kept) in made.items() if kept is not None}
    assert set(table["channel"]) == {"phone"}
    features = compute(snapshot(book, ids, at), ("promises_kept", "promises_broken"))
    for name, (kept, broken) in zip(ids, features.values, strict=True):
        if name in found:
            assert (kept, broken) == (found[name], not found[name])


def test_a_later_payment_does_not_change_what_was_known():
    sent, said = promise("A", due=40)
    book = ledger([sent], [said], [payment("A", 39, 100)])
    assert len(settled_promises(book, START + timedelta(days=40))) == 0  # the day is not over
    paid = settled_promises(book, START + timedelta(days=41))
    assert paid["kept"].to_pylist() == [True]
    unpaid = ledger([sent], [said], [payment("A", 41, 100)])
    assert settled_promises(unpaid, START + timedelta(days=50))["kept"].to_pylist() == [False]


@pytest.fixture(scope="module")
def talks():
    """450 of 1,350 calls are answered, 6 of 10 of them with a promise; A000 keeps none."""
    rng = np.random.default_rng(3)
    contacts, responses, payments = [], [], []
    for a in range(150):
        for k in range(9):
            sent = contact(f"A{a:03d}", k, 30 * k, offer="none")
            contacts.append(sent)
            if k % 3:
                continue  # not answered: no evidence on promises
            responses.append(response(sent))
            if rng.random() < 0.6 or a == 0:
                due = (sent["sent_at"] + timedelta(days=10)).date()
                responses.append(response(sent, "promised", amount=50.0, due_on=due))
                if rng.random() < 0.7 and a:
                    payments.append(payment(f"A{a:03d}", 30 * k + 5, 50.0))
    return ledger(contacts, responses, payments)


def test_rates_are_counts_and_accounts_lean_towards_them(talks):
    model = FunnelModel().fit(talks, AS_OF)
    table = model.table().set_index(["head", "level"])
    promised = sum(k == "promised" for k in talks.responses["kind"].to_pylist())
    made = settled_promises(talks, AS_OF)
    kept = np.mean(made["kept"].to_pylist())
    assert table.loc[("promise", "phone"), "observations"] == 450
    assert table.loc[("promise", "phone"), "rate"] == pytest.approx(promised / 450, abs=0.01)
    assert table.loc[("kept", "phone"), "rate"] == pytest.approx(kept, abs=0.01)
    assert table.loc[("kept", "phone"), "observations"] == promised
    low, high = table.loc[("promise", "phone"), ["low", "high"]]
    assert high - low == pytest.approx(2 * 1.645 * np.sqrt(0.24 / 450), rel=0.15)
    chances = model.predict(snapshot(talks, ["A000", "A001"]), ACTIONS)
    block = chances.kept.block()
    assert block[0, 1] < kept - 0.1  # three promises, none kept: lower, by no means 0
    assert block[0, 1] > 0.15
    assert block[:, 0].max() == 0.0  # no contact, no promise
    promise_ = chances.promise.block()
    # accounts do not differ in promising, and are not made to
    assert promise_[0, 1] == pytest.approx(promised / 450, abs=0.02)
    # a channel that was never used gets the level of the others
    assert promise_[1, 3] == pytest.approx(promise_[1, 1], abs=0.05)


def test_promises_of_simulated_books_are_told_given_reach():
    """Per contact instead of per person reached, phone promises look three times rarer."""
    book = Book("shop", accounts=3000, seed=505)
    model = FunnelModel().fit(book.ledger(), book.as_of)
    assert set(model.unseen) >= {"letter"}
    assert "phone" not in model.unseen
    table = model.table().set_index(["head", "level"])
    willing = {"punctual": 0.5, "forgetful": 0.45, "slow": 0.4, "distressed": 0.45,
               "strategic": 0.25, "disputing": 0.2, "unreachable": 0.35}  # fmt: skip
    phone = table.loc[("promise", "phone")]
    assert (
        phone["low"] - 0.05 < np.mean([willing[t] for t in book.truth.type]) < phone["high"] + 0.1
    )
    log = book.ledger().timeline
    calls = sum(c == "phone" for c in log.contacts["channel"].to_pylist())
    said = sum(
        k == "promised" and c == "phone"
        for k, c in zip(
            log.responses["kind"].to_pylist(), log.responses["channel"].to_pylist(), strict=True
        )
    )
    assert phone["rate"] > 2.5 * said / calls
    assert 0.005 < table.loc[("promise", "email"), "rate"] < 0.04  # 4 % of willing readers


def test_nothing_to_learn_from():
    book = ledger([], accounts=["A1"])
    model = FunnelModel().fit(book, AS_OF)
    assert len(model.table()) == 0
    block = model.predict(snapshot(book, ["A1"]), ACTIONS).promise.block()
    assert block[0, 0] == 0.0
    with pytest.raises(NotFittedError):
        FunnelModel().table()
    with pytest.raises(InputError, match="a time not before"):
        model.predict(snapshot(book, ["A1"], START + timedelta(days=60)), ACTIONS)
