"""Invoices and credit notes: orders, monthly contracts, yearly settlements, corrections."""

from __future__ import annotations

import numpy as np

from collectopt.simulation import paying
from collectopt.simulation.claims import NEVER
from collectopt.simulation.noise import IntArray, Purpose
from collectopt.simulation.population import BoolArray
from collectopt.simulation.state import State

_ISSUE_DAY = np.array([0.22, 0.18, 0.17, 0.16, 0.16, 0.11])
_TAIL_CAP = 60.0
_SMALLEST = 500  # cents


def issue(state: State) -> None:
    """Fix the invoices of the coming week, at most one an account."""
    people, noise, claims = state.people, state.noise, state.claims
    by_order = state.kind.billing.cycle == "orders"
    who, offset = _orders(state) if by_order else _contracts(state)
    if state.kind.billing.cycle == "advance":
        who, offset, cents = _settle_year(state, who, offset)
    else:
        cents = _amount(state, who)
    rows = claims.append(len(who))
    uid = who * 4096 + state.day // 7
    types = people.type[who]
    forget = np.array([t.forget for t in state.kind.types])[types]
    dispute = np.array([t.dispute for t in state.kind.types])[types]
    claims.account[rows], claims.uid[rows], claims.number[rows] = who, uid, state.issued[who]
    state.issued[who] += 1
    claims.issued[rows] = state.day + offset
    claims.due[rows] = state.day + offset + people.term[who]
    claims.cents[rows] = claims.open[rows] = cents
    claims.forgotten[rows] = noise.uniform(Purpose.FORGET, uid) < forget
    disputed = noise.uniform(Purpose.DISPUTE, uid) < dispute
    when = 2 + np.floor(30 * noise.uniform(Purpose.DISPUTE, uid, 0, 1)).astype(np.int64)
    claims.dispute_day[rows] = np.where(disputed, claims.issued[rows] + when, NEVER)
    _plan_corrections(state, rows)
    state.record.add(
        "invoices", who, number=claims.number[rows], day=claims.issued[rows],
        due=claims.due[rows], cents=cents, credit=0,
    )  # fmt: skip


def _served(state: State) -> BoolArray:
    """Accounts that are customers and not blocked for what they owe."""
    claims = state.claims
    old = claims.active[claims.due[claims.active] < state.day - state.kind.block_days]
    result: BoolArray = (
        (state.ends > state.day)
        & (state.people.since <= state.day)
        & ~state.flag(old)
        & ~state.insolvent
    )
    return result


def _orders(state: State) -> tuple[IntArray, IntArray]:
    """Accounts that order this week, and the day of the week on which it is shipped."""
    people, noise, week = state.people, state.noise, state.day // 7
    season = state.kind.billing.season[state.calendar.date(state.day).month - 1]
    wants = noise.uniform(Purpose.INVOICE, np.arange(len(people)), week) < people.rate * season
    who = np.flatnonzero(wants & _served(state))
    edges = np.cumsum(_ISSUE_DAY) / _ISSUE_DAY.sum()
    offset = np.searchsorted(edges, noise.uniform(Purpose.INVOICE, who, week, 1))
    for shift in range(len(_ISSUE_DAY)):  # nothing is shipped on holidays
        offset[(offset == shift) & state.calendar.is_holiday(state.day + shift)] += 1
    return who, offset


def _contracts(state: State) -> tuple[IntArray, IntArray]:
    """Accounts whose day of the month lies in this week; machines bill on any weekday."""
    days = np.array([state.calendar.date(state.day + shift).day for shift in range(7)])
    shift = np.full(32, -1)
    shift[days] = np.arange(7)
    offset = shift[state.people.bill_day]
    who = np.flatnonzero((offset >= 0) & _served(state))
    return who, offset[who]


def _amount(state: State, who: IntArray) -> IntArray:
    """Cents of this week's invoices: prices that people know, few of them very large."""
    billing, noise = state.kind.billing, state.noise
    uid = who * 4096 + state.day // 7
    size = np.exp(billing.within * noise.normal(Purpose.AMOUNT, uid))
    tail = noise.uniform(Purpose.TAIL, uid, 0, 1) ** (-1.0 / billing.tail_exponent)
    large = noise.uniform(Purpose.TAIL, uid) < billing.tail_share
    size = size * np.where(large, np.minimum(tail, _TAIL_CAP), 1.0)
    cents = np.maximum(np.rint(state.people.amount[who] * size * 100.0), _SMALLEST)
    cents = cents.astype(np.int64)
    # A fixed price is round for good or not at all.
    unit = who if billing.within == 0 else uid
    priced = noise.uniform(Purpose.AMOUNT, unit, 0, 1) < 0.6
    return np.where(priced, cents // 100 * 100 + 95, cents)


def _settle_year(
    state: State, who: IntArray, offset: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Ask for the advance payment, or once a year for what was used beyond the advances.

    Who used less gets a credit note, which settles what is open and waits for the next advance.
    """
    advance = np.rint(state.people.amount[who]).astype(np.int64) * 100
    month = np.array([state.calendar.date(state.day + shift).month for shift in range(7)])
    yearly = month[offset] == state.people.settle_month[who]
    used = state.noise.normal(Purpose.SETTLEMENT, who, state.day // 7)
    spread = state.kind.billing.settlement
    result = np.rint(12.0 * advance * spread * used).astype(np.int64)
    cents = np.where(yearly, result, advance)
    for shift in range(7):
        back = (offset == shift) & (cents < 0)
        if back.any():
            state.agenda.refunds[state.day + shift].append((who[back], -cents[back]))
    asked = cents >= _SMALLEST
    return who[asked], offset[asked], cents[asked]


def _plan_corrections(state: State, rows: IntArray) -> None:
    """Plan to correct some invoices within four weeks: goods sent back, a wrong price."""
    claims, noise = state.claims, state.noise
    uid = claims.uid[rows]
    chosen = noise.uniform(Purpose.CREDIT, uid) < state.kind.billing.credit
    rows, uid = rows[chosen], uid[chosen]
    wait = 4 + np.floor(24 * noise.uniform(Purpose.CREDIT, uid, 0, 1)).astype(np.int64)
    draw = noise.uniform(Purpose.CREDIT, uid, 0, 2)
    share = np.where(draw < 0.35, 1.0, np.round(0.1 + 0.8 * (draw - 0.35), 1))
    when = claims.issued[rows] + wait
    for day in np.unique(when).tolist():
        later = state.calendar.next_business_day(day)
        state.agenda.credits[later].append((rows[when == day], share[when == day]))


def write_credits(state: State) -> None:
    """Write the credit notes of today; a correction is never over more than is open."""
    claims = state.claims
    total = np.zeros(len(state.people), dtype=np.int64)
    for rows, share in state.agenda.credits.pop(state.day, []):
        cents = np.minimum(np.floor(share * claims.cents[rows]), claims.open[rows])
        free = ~claims.held(rows)
        np.add.at(total, claims.account[rows[free]], cents[free].astype(np.int64))
    for account, cents in state.agenda.refunds.pop(state.day, []):
        np.add.at(total, account, cents)
    account = np.flatnonzero(total)
    if len(account):
        credit(state, account, total[account])


def credit(state: State, account: IntArray, cents: IntArray) -> None:
    """Write a credit note for each account and use it; each account at most once a call.

    Parameters
    ----------
    state : State
    account, cents : (m,) int64
        Cents above 0.
    """
    state.record.add(
        "invoices", account, number=state.issued[account], day=state.day, due=state.day,
        cents=-cents, credit=1,
    )  # fmt: skip
    state.issued[account] += 1
    state.credit[account] += cents
    paying.use_credit(state)
