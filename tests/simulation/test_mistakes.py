"""Mistakes that simulators of collections make, each with the test that would find it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from collectopt.simulation import Book, paying, world
from collectopt.simulation.claims import NEVER
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import IntArray
from collectopt.simulation.state import State

WHEN = {
    "invoices": "issued_on",
    "payments": "paid_at",
    "contacts": "decided_at",
    "responses": "at",
    "holds": "from_on",
}


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=3000, seed=21, weeks=30)


def _write(state: State, channel: int = 0, offer: int = 0, hour: float = 15.0) -> IntArray:
    """Write to everybody whom the channel may reach; give their accounts."""
    seen = world.sight(state)
    who = seen.account[seen.channels[:, channel]]
    m = len(who)
    codes = [np.full(m, code) for code in (channel, 0, offer, 0)]
    world.enter(state, Plan(who, *codes, np.full(m, hour), np.ones(m), np.ones((m, 5))), policy=0)
    return who


@pytest.mark.parametrize("kind", ["subscription", "utility", "b2b", "telco", "confounded", "drift"])
def test_nothing_is_rewritten_in_hindsight(kind: str) -> None:
    """What was written by a day stays as it was: holds, consent, credit notes, everything."""
    long = Book(kind, accounts=120, seed=2, weeks=22)
    short = dataclasses.replace(long, weeks=15)
    local = pd.Timestamp(short.as_of).tz_convert("Europe/Berlin").date()
    for name, column in WHEN.items():
        later, earlier = (b.ledger().table(name).to_pandas() for b in (long, short))
        end = local if column.endswith("_on") else pd.Timestamp(short.as_of)
        known = later[later[column] < end].reset_index(drop=True)
        assert len(known) == len(earlier) > 0
        pd.testing.assert_frame_equal(known, earlier.reset_index(drop=True), check_dtype=False)
    assert long.ledger().accounts.equals(short.ledger().accounts)
    larger = dataclasses.replace(short, accounts=140)
    mine, theirs = (b.ledger().invoices.to_pandas() for b in (short, larger))
    theirs = theirs[theirs.account_id <= "A000119"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, theirs)


def test_what_a_contact_causes_comes_after_it(book: Book) -> None:
    silent, loud = book._end.fork(), book._end.fork()
    loud.wording = 20.0 * loud.wording  # what a usual one causes on the very day is too rare
    who = _write(loud, hour=15.0)
    before = len(loud.record.ints("payments", "day"))
    for state in (silent, loud):
        world.end_day(state)
    cents = [np.zeros(book.accounts) for _ in range(2)]
    for total, state in zip(cents, (silent, loud), strict=True):
        paid = state.record.ints("payments", "cents")[before:]
        np.add.at(total, state.record.ints("payments", "account")[before:], paid)
    moved = np.flatnonzero(cents[1] > cents[0])
    assert len(moved) > 3
    assert set(moved) <= set(who)
    account = loud.record.ints("payments", "account")[before:]
    hour = loud.record.floats("payments", "hour")[before:]
    assert (hour[np.isin(account, moved)] > 15.0).all()


def test_plans_run_by_claim_and_break_when_money_is_short(book: Book) -> None:
    state = book._end.fork()
    claims = state.claims
    rows = state.overdue_claims()
    several = np.flatnonzero(np.bincount(claims.account[rows], minlength=book.accounts) > 1)
    assert len(several) > 3
    claims.plan_left[rows] = 2
    claims.plan_cents[rows] = claims.open[rows] // 2
    claims.plan_next[rows] = state.day
    mine = rows[claims.account[rows] == several[0]]
    claims.plan_next[mine[0]] = state.day + 5  # the schedules of one account need not agree
    outcomes = []
    for tight in (False, True):
        twin = state.fork()
        twin.tight[:] = tight
        while not twin.calendar.is_business_day(twin.day):
            twin.day += 1
        paying._pay_instalments(twin)
        due = claims.plan_next[rows] <= twin.day
        outcomes.append((twin.claims.plan_left[rows[due]] == 1).mean())
        assert twin.claims.plan_left[mine[0]] == 2
    assert outcomes[0] > outcomes[1] + 0.1


def test_customers_leave_by_themselves_and_once(book: Book) -> None:
    silent = Book("placebo", accounts=1500, seed=3, weeks=52)._end
    share = (silent.left <= silent.day).mean()
    expected = 1.0 - np.mean((1.0 - silent.people.attrition) ** 52)
    assert abs(share - expected) < 4 * np.sqrt(expected / 1500)
    assert expected > 0.08
    state = book._end.fork()
    gone = np.flatnonzero(state.left <= state.day)[:5]
    left, ends = state.left[gone].copy(), state.ends[gone].copy()
    state.leave(gone)
    assert np.array_equal(state.left[gone], left)
    assert np.array_equal(state.ends[gone], ends)
    # A contact drives away customers only: nobody is lost twice.
    state.kind = dataclasses.replace(
        state.kind, effects=dataclasses.replace(state.kind.effects, leave=1.0)
    )
    _write(state)
    world.end_day(state)
    assert np.array_equal(state.left[gone], left)
    assert (state.left <= state.day).sum() > (book._end.left <= book._end.day).sum()


def test_disputes_end_and_do_not_come_back(book: Book) -> None:
    holds = book.ledger().holds.to_pandas()
    disputes = holds[holds.kind == "dispute"]
    assert len(disputes) > 20
    assert disputes.invoice_id.is_unique
    claims = book._end.claims
    open_now = np.flatnonzero(claims.disputed[: claims.size])
    assert (claims.resolve_day[open_now] < book._end.day + 60).all()
    assert len(open_now) > 3
    state = book._end.fork()
    state.claims.dispute_day[open_now] = 0  # what is settled stays settled
    for _ in range(60):
        world.end_day(state)
        world.begin_day(state)
    assert not state.claims.disputed[open_now].any()
    assert (state.claims.dispute_day[open_now] == NEVER).all()


def test_excitation_leaves_what_is_not_due_alone(book: Book) -> None:
    state = book._end.fork()
    rows = state.claims.active
    early = rows[state.claims.due[rows] >= state.day]
    before = paying.intensity(state, early)
    state.excitation[:] = 5.0
    assert np.array_equal(paying.intensity(state, early), before)
    assert (paying.responsive(state, early) == 0).all()
    late = rows[state.claims.due[rows] < state.day]
    assert (paying.intensity(state, late) > 0).any()


def test_money_settles_the_oldest_due_first_and_never_too_much(book: Book) -> None:
    state = book._end.fork()
    claims = state.claims
    account = np.unique(claims.account[state.overdue_claims()])[:200]
    rows = claims.active[np.isin(claims.account[claims.active], account)]
    rows = rows[claims.issued[rows] <= state.day]
    before = claims.open[rows].copy()
    owed = np.bincount(claims.account[rows], weights=before, minlength=book.accounts)[account]
    cents = np.where(np.arange(len(account)) % 2, owed + 700, owed // 2).astype(np.int64)
    left = paying.settle_oldest(state, account, cents)
    after = claims.open[rows]
    assert np.array_equal(left, np.maximum(cents - owed, 0))
    assert (after >= 0).all()
    assert (before - after).sum() == (cents - left).sum()
    for owner in account[:40]:
        mine = np.flatnonzero(claims.account[rows] == owner)
        order = mine[np.lexsort((claims.number[rows[mine]], claims.due[rows[mine]]))]
        touched = after[order] < before[order]
        full = after[order] == 0
        # Nothing younger is touched while something older is open.
        assert all(full[: np.flatnonzero(touched).max(initial=0)])
