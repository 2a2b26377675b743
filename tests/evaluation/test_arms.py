"""Arms of a split against known truth: by customer, whatever the arms themselves decided."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from collectopt.evaluation import compare_arms, difference
from collectopt.exceptions import InputError
from collectopt.policy import NoContact, Split
from collectopt.schema import Catalogue, Ledger

CATALOGUE = Catalogue.from_dict({"channels": [{"name": "email", "cost": 0.5}]})
SINCE, UNTIL = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)


def covered(draw, truth, rounds=400):
    hits = [abs(gain - truth) < 1.96 * stderr for gain, stderr in map(draw, range(rounds))]
    return np.mean(hits)


def customers(seed, effect=3.0):
    """150 customers of one to six accounts that share a shock; the effect is by account."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 7, 150)
    arm = rng.random(150) < 0.3
    owner = np.repeat(np.arange(150), size)
    debt = rng.gamma(2.0, 20.0, len(owner))
    shock = rng.normal(0.0, 12.0, 150)[owner]
    money = 0.4 * debt + shock + effect * arm[owner] + rng.normal(0, 3, len(owner))
    money += arm[owner] * rng.normal(0, 6, len(owner))  # the challenger varies more
    return owner, arm, debt, money


def test_intervals_by_customer_cover_and_those_by_account_do_not():
    mean_size = 3.5

    def by_customer(seed, adjust=True):
        owner, arm, debt, money = customers(seed)
        total, before = (np.bincount(owner, v, minlength=150) for v in (money, debt))
        return difference(total, arm, before if adjust else None)

    def by_account(seed):
        owner, arm, _, money = customers(seed)
        return difference(money, arm[owner])

    error = 3 * np.sqrt(0.05 * 0.95 / 400)
    truth = 3.0 * mean_size
    for adjust in (True, False):
        share = covered(lambda s, a=adjust: by_customer(s, a), truth)
        assert share == pytest.approx(0.95, abs=error + 0.01), adjust
    assert covered(by_account, 3.0) < 0.87, "accounts of one customer are not independent"
    stderr = [[by_customer(s, a)[1] for s in range(20)] for a in (True, False)]
    assert np.mean(stderr[0]) < 0.9 * np.mean(stderr[1]), "what is open foretells what comes"


def test_decisions_one_by_one_mislead():
    """An arm that is quick with those who can pay decides on the others from then on."""

    def play(seed):
        rng = np.random.default_rng(seed)
        n = 2000
        able, arm = rng.random(n) < 0.5, rng.random(n) < 0.5
        chance = np.where(able, np.where(arm, 0.8, 0.4), 0.02)
        paid, of, came = np.zeros(n, bool), [], []
        for _ in range(3):
            here = np.flatnonzero(~paid)
            now = rng.random(len(here)) < chance[here]
            of.append(here)
            came.append(10.0 * now)
            paid[here[now]] = True
        return arm, np.concatenate(of), np.concatenate(came)

    def truth():
        able = 10.0 * np.array([1 - (1 - p) ** 3 for p in (0.8, 0.4)])
        return 0.5 * (able[0] - able[1])

    def by_customer(seed):
        arm, of, came = play(seed)
        return difference(np.bincount(of, came, minlength=len(arm)), arm)

    def by_decision(seed):
        arm, of, came = play(seed)
        gain, stderr = difference(came, arm[of])
        decisions = len(of) / len(arm)
        return gain * decisions, stderr * decisions

    assert covered(by_customer, truth(), 200) > 0.9
    assert covered(by_decision, truth(), 200) < 0.2


def test_bad_input_is_refused():
    for y, t, x, match in (
        ([1.0, 2.0, 3.0], [True, False, False], None, "three units in each arm"),
        ([1.0, np.nan], [True, False], None, "finite numbers"),
        ([1.0, 2.0], [True, False], [1.0], "finite numbers"),
    ):
        with pytest.raises(InputError, match=match):
            difference(y, t, x)


@pytest.fixture(scope="module")
def book():
    """Eighty customers of two accounts; a challenger's pay 30 of 100, the champion's 10."""
    split = Split(NoContact(CATALOGUE), {"new": (NoContact(CATALOGUE), 0.4)}, salt="x")
    accounts, invoices, payments, contacts = [], [], [], []
    for i in range(80):
        new = split.arm_of([f"C{i}"])[0] == "new"
        for a in (f"{i}a", f"{i}b"):
            accounts.append(
                {"account_id": a, "customer_type": "consumer", "country": "DE",
                 "customer_id": f"C{i}"}
            )  # fmt: skip
            for name, day in (("old", date(2026, 1, 5)), ("later", date(2026, 3, 20))):
                invoices.append(
                    {"invoice_id": f"{a}{name}", "account_id": a, "issued_on": day,
                     "due_on": day + timedelta(days=14), "amount": 100.0, "currency": "EUR"}
                )  # fmt: skip
        paid = [
            (f"{i}aold", 5.0, SINCE - timedelta(days=3)),  # before
            (f"{i}aold", (30.0 if new else 10.0) + i % 5, SINCE + timedelta(days=9)),
            (f"{i}alater", 50.0, SINCE + timedelta(days=40)),  # of a claim that came later
            (f"{i}bold", 40.0, UNTIL + timedelta(days=1)),  # too late
        ]
        for j, (claim, amount, at) in enumerate(paid):
            payments.append(
                {"payment_id": f"{i}-{j}", "account_id": f"{i}{claim[len(str(i))]}",
                 "paid_at": at, "amount": amount, "invoice_id": claim}
            )  # fmt: skip
        if new:
            for j, (cost, days) in enumerate(((2.0, 1), (None, 2), (9.0, -4), (9.0, 70))):
                contacts.append(
                    {"contact_id": f"{i}-{j}", "account_id": f"{i}b", "channel": "email",
                     "sent_at": SINCE + timedelta(days=days), "cost": cost}
                )  # fmt: skip
    tables = {"invoices": invoices, "payments": payments, "contacts": contacts}
    return split, Ledger.from_frames(accounts=accounts, **tables), tables, accounts


def test_a_comparison_is_what_one_counts_by_hand(book):
    split, ledger, _, _ = book
    found = compare_arms(split, ledger, SINCE, UNTIL, adjust=False)
    names = split.arm_of([f"C{i}" for i in range(80)])
    extra = np.arange(80) % 5
    champion, new = found.table.to_dict("records")
    assert (champion["arm"], new["arm"]) == ("champion", "new")
    assert (champion["customers"], new["customers"]) == tuple(
        (names == n).sum() for n in ("champion", "new")
    )
    assert new["accounts"] == 2 * new["customers"]
    assert champion["open"] == new["open"] == 195.0
    assert champion["recovered"] == pytest.approx(10 + extra[names == "champion"].mean())
    assert new["recovered"] == pytest.approx(30 + extra[names == "new"].mean())
    assert (champion["cost"], new["cost"]) == (0.0, 2.5)
    gain = new["recovered"] - champion["recovered"]
    assert new["recovered_difference"] == pytest.approx(gain)
    assert new["net_difference"] == pytest.approx(gain - 2.5)
    welch = np.sqrt(sum(extra[names == n].var(ddof=1) / (names == n).sum() for n in set(names)))
    assert new["net_stderr"] == pytest.approx(welch)
    assert new["net_low"] < gain - 2.5 < new["net_high"]
    assert found.mismatch > 0.01
    assert "champion" in repr(found)
    assert "<table" in found._repr_html_()


def test_the_future_changes_nothing(book):
    split, ledger, tables, accounts = book
    before = {
        "invoices": tables["invoices"],
        "payments": [p for p in tables["payments"] if p["paid_at"] < UNTIL],
        "contacts": [c for c in tables["contacts"] if c["sent_at"] < UNTIL],
    }
    known = Ledger.from_frames(accounts=accounts, **before)
    one, two = (compare_arms(split, each, SINCE, UNTIL).table for each in (ledger, known))
    assert one.equals(two)


def test_shares_that_are_not_those_planned_are_found_out(book):
    split, ledger, _, _ = book
    wrong = Split(NoContact(CATALOGUE), {"new": (NoContact(CATALOGUE), 0.4)}, salt="x")
    wrong.arms_of = lambda _, ids: np.where(np.arange(len(ids)) < 140, "champion", "new")
    assert compare_arms(wrong, ledger, SINCE, UNTIL).mismatch < 1e-6
    with pytest.raises(InputError, match="a time after `since`"):
        compare_arms(split, ledger, UNTIL, SINCE)
