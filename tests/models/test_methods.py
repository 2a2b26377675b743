"""Shares of payment methods: the formula, the simulated truth, and the past alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.models.methods import payment_methods
from collectopt.schema import Snapshot
from collectopt.simulation import Book
from collectopt.simulation.population import METHODS

from .reach_books import START, ledger


def pay(account, number, day, method, amount=5.0):
    return {
        "payment_id": f"{account}{number}", "account_id": account, "amount": amount,
        "paid_at": START + timedelta(days=day), "method": method,
    }  # fmt: skip


def told(book, accounts, at=datetime(2026, 12, 1, tzinfo=UTC)):
    return payment_methods(
        Snapshot.from_rows(book, [{"account_id": a, "as_of": at} for a in accounts])
    )


def test_shares_are_those_of_a_dirichlet_multinomial():
    rng = np.random.default_rng(1)
    truth = rng.dirichlet(3.0 * np.array([0.5, 0.3, 0.2]), 400)
    kinds = ("card", "transfer", "wallet")
    money = [
        pay(f"A{a:03d}", k, k, kinds[rng.choice(3, p=truth[a])])
        for a in range(400)
        for k in range(8)
    ]
    ids = [f"A{a:03d}" for a in range(400)]
    book = ledger([], payments=money, accounts=[*ids, "new"])
    found = told(book, [*ids, "new"])
    assert found.names == kinds
    assert found.strength == pytest.approx(3.0, rel=0.15)
    mean = found.observations[:400].sum(axis=0) / 3200
    np.testing.assert_allclose(found.mean[400], mean)
    s = found.strength
    np.testing.assert_allclose(found.mean[:400], (found.observations[:400] + s * mean) / (8 + s))
    covered = ((found.low[:400] <= truth) & (truth <= found.high[:400])).mean()
    assert covered == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / 400))
    assert ((found.mean[:400] - truth) ** 2).mean() < (
        (found.observations[:400] / 8 - truth) ** 2
    ).mean()


def test_claims_paid_at_once_later_and_returned_payments_do_not_count_twice():
    money = [pay("A", k, 1, "card") for k in range(5)] + [pay("A", 9, 2, "wallet")]
    money += [pay("A", 10, 3, "wallet", -5.0), pay("A", 11, 400, "wallet")]
    money += [pay("A", 12, 3, None), pay("A", 13, 4, "agency")]
    found = told(ledger([], payments=money, accounts=["A"]), ["A"])
    assert found.names == ("card", "wallet")
    assert found.observations.tolist() == [[1, 1]]
    none = told(ledger([], accounts=["A"]), ["A"])
    assert none.names == ()
    assert none.mean.shape == (1, 0)


def test_the_method_of_simulated_accounts_comes_first():
    book = Book("shop", accounts=1500, seed=606)
    snapshot = Snapshot(book.ledger(), book.as_of)
    found = payment_methods(snapshot)
    account = snapshot.rows["account"].to_numpy()
    truth = np.array([found.names.index(METHODS[m]) for m in book._people.method[account]])
    some = found.observations.sum(axis=1) >= 3
    assert (found.mean.argmax(axis=1) == truth)[some].mean() > 0.95
    # who has not paid yet gets the book's shares
    nobody = found.observations.sum(axis=1) == 0
    assert np.ptp(found.mean[nobody], axis=0).max(initial=0.0) == 0.0
    # what others pay later changes nothing
    early = book.as_of - timedelta(weeks=30)
    rows = [{"account_id": "A000001", "as_of": early}]
    kept = book.ledger().payments.to_pylist()
    shorter = type(book.ledger()).from_frames(
        accounts=book.ledger().accounts,
        invoices=book.ledger().invoices,
        payments=[p for p in kept if p["paid_at"] < early],
        timezone="Europe/Berlin",
    )
    a, b = (payment_methods(Snapshot.from_rows(x, rows)) for x in (book.ledger(), shorter))
    np.testing.assert_array_equal(a.mean, b.mean)
