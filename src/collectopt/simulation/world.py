"""The clock of a world: invoices, decisions, days, and what befalls accounts by themselves."""

from __future__ import annotations

import numpy as np

from collectopt.simulation import paying, reacting
from collectopt.simulation.claims import NEVER
from collectopt.simulation.kinds import CustomerType
from collectopt.simulation.ladder import Plan, Sight
from collectopt.simulation.noise import Purpose
from collectopt.simulation.state import Contacts, State

DECISION_HOUR = 6.0
_ISSUE_DAY = np.array([0.22, 0.18, 0.17, 0.16, 0.16, 0.11])
_MONTH = np.array([0.85, 0.85, 0.95, 1.0, 1.0, 0.95, 0.9, 0.9, 1.0, 1.05, 1.3, 1.35])
_RECENT_DAYS = 7


def begin_day(state: State) -> None:
    """From midnight to the decision at six: money is booked."""
    if state.day % 7 == 0:
        _change_liquidity(state)
    paying.morning(state)
    rows = state.overdue_claims()
    state.overdue = state.flag(rows)


def sight(state: State) -> Sight:
    """See what may be decided on now: accounts with something past due that may be contacted."""
    rows = state.overdue_claims()
    account = state.claims.account[rows]
    age = np.zeros(len(state.people), dtype=np.int64)
    np.maximum.at(age, account, state.day - state.claims.due[rows])
    permitted = state.permitted
    may = (age > 0) & ~state.bound & permitted.any(axis=1)
    who = np.flatnonzero(may)
    return Sight(
        account=who,
        overdue_days=age[who],
        recent=state.last_contact[who] >= state.day - _RECENT_DAYS,
        last_tone=state.last_tone[who],
        channels=permitted[who],
    )


def enter(state: State, plan: Plan, policy: int) -> None:
    """Write the decisions down, waits too, and plan the contacts of the week."""
    number = state.record.contacts + np.arange(len(plan.account))
    contact = plan.channel >= 0
    state.record.add(
        "contacts", plan.account, day=state.day, send_day=state.day + plan.day,
        hour=np.where(contact, plan.hour, DECISION_HOUR), channel=plan.channel, tone=plan.tone,
        offer=plan.offer, propensity=plan.propensity, policy=policy,
        p_contact=plan.parts[:, 0], p_channel=plan.parts[:, 1], p_tone=plan.parts[:, 2],
        p_offer=plan.parts[:, 3], p_slot=plan.parts[:, 4],
    )  # fmt: skip
    for day in np.unique(plan.day[contact]).tolist():
        rows = contact & (plan.day == day)
        state.agenda.sends[state.day + day].append(
            Contacts(
                number[rows],
                plan.account[rows],
                plan.channel[rows],
                plan.tone[rows],
                plan.offer[rows],
                plan.hour[rows],
            )
        )


def end_day(state: State) -> None:
    """From six to midnight: contacts, reading, paying by link or card, everything else."""
    reacting.send(state)
    reacting.read_today(state)
    paying.daytime(state)
    _resolve_disputes(state)
    _raise_disputes(state)
    reacting.end_promises(state)
    weekday = state.calendar.date(state.day).weekday()
    if weekday == 0:
        _leave(state)
        _issue_invoices(state)
    if weekday == 2:
        _fail(state)
    if weekday == 1 and state.calendar.date(state.day).day <= 7:
        _write_off(state)
    _fade(state)
    state.day += 1


def _fade(state: State) -> None:
    """Move the fresh jump into the excitation, let it wear off, forget it with the cure."""
    keep = np.exp(-1.0 / state.kind.effects.decay_days)
    state.excitation = (state.excitation + state.fresh) * keep
    state.fresh[:] = 0.0
    state.fresh_hour[:] = 0.0
    state.sent_hour[:] = 0.0
    state.fatigue *= 0.96
    claims = state.claims
    claims.tidy()
    late = state.flag(claims.active[claims.due[claims.active] <= state.day])
    state.excitation[~late] = 0.0
    state.last_tone[~late] = -1


def _change_liquidity(state: State) -> None:
    """Let months with little money begin and end, a hidden Markov chain week by week."""
    share = np.array([t.tight for t in state.kind.types])[state.people.type]
    unit = np.arange(len(state.people))
    week = state.day // 7
    if week == 0:
        state.tight = state.noise.uniform(Purpose.LIQUIDITY, unit, 0) < share
        return
    change = 0.12  # weekly rate at which the chain forgets its state
    draw = state.noise.uniform(Purpose.LIQUIDITY, unit, week)
    state.tight = np.where(state.tight, draw >= change * (1.0 - share), draw < change * share)


def _issue_invoices(state: State) -> None:
    """Issue the invoices of this week, at most one an account."""
    people, noise, claims = state.people, state.noise, state.claims
    week = state.day // 7
    unit = np.arange(len(people))
    month = state.calendar.date(state.day).month
    old = claims.active[claims.due[claims.active] < state.day - state.kind.block_days]
    blocked = state.flag(old)
    wants = noise.uniform(Purpose.INVOICE, unit, week) < people.rate * _MONTH[month - 1]
    who = np.flatnonzero(
        wants & (state.left >= NEVER) & (people.since <= state.day) & ~blocked & ~state.insolvent
    )
    edges = np.cumsum(_ISSUE_DAY) / _ISSUE_DAY.sum()
    offset = np.searchsorted(edges, noise.uniform(Purpose.INVOICE, who, week, 1))
    for shift in range(len(_ISSUE_DAY)):  # nothing is shipped on holidays
        offset[(offset == shift) & state.calendar.is_holiday(state.day + shift)] += 1
    rows = claims.append(len(who))
    uid = who * 4096 + week
    size = np.exp(0.7 * noise.normal(Purpose.AMOUNT, uid))
    tail = noise.uniform(Purpose.TAIL, uid, 0, 1) ** (-1.0 / 1.9)
    size = size * np.where(noise.uniform(Purpose.TAIL, uid) < 0.06, np.minimum(tail, 60.0), 1.0)
    cents = np.maximum(np.rint(people.amount[who] * size * 100.0), 500).astype(np.int64)
    cents = np.where(noise.uniform(Purpose.AMOUNT, uid, 0, 1) < 0.6, cents // 100 * 100 + 95, cents)
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
    state.record.add(
        "invoices", who, number=claims.number[rows], day=claims.issued[rows],
        due=claims.due[rows], cents=cents, credit=0,
    )  # fmt: skip


def _raise_disputes(state: State) -> None:
    """Let customers contest a claim: once a claim, one at a time, whatever the creditor does."""
    claims, day = state.claims, state.day
    rows = claims.active[claims.dispute_day[claims.active] == day]
    account = claims.account[rows]
    free = ~claims.held(rows) & ~state.disputing[account] & ~state.insolvent[account]
    rows = rows[free & (state.no_dispute_until[account] < day)]
    _, first = np.unique(claims.account[rows], return_index=True)
    rows = rows[first]
    account = claims.account[rows]
    claims.disputed[rows] = True
    state.disputing[account] = True
    wait = 7 + np.floor(35 * state.noise.uniform(Purpose.RESOLVE, claims.uid[rows])).astype(int)
    claims.resolve_day[rows] = day + wait
    hour = 9.0 + 9.0 * state.noise.uniform(Purpose.RESOLVE, claims.uid[rows], 0, 1)
    state.record.respond("disputed", account, day, hour, cents=claims.open[rows].copy())
    state.record.hold("dispute", account, day, invoice=claims.number[rows])


def _resolve_disputes(state: State) -> None:
    """Settle contested claims: credited, halved or upheld."""
    claims, day = state.claims, state.day
    rows = np.flatnonzero(
        claims.disputed[: claims.size] & (claims.resolve_day[: claims.size] <= day)
    )
    if not len(rows) or not state.calendar.is_business_day(day):
        return
    account = claims.account[rows]
    claims.disputed[rows] = False
    claims.dispute_day[rows] = NEVER
    state.disputing[account] = False
    state.no_dispute_until[account] = day
    draw = state.noise.uniform(Purpose.RESOLVE, claims.uid[rows], 0, 2)
    share = np.where(draw < 0.45, 1.0, np.where(draw < 0.7, 0.5, 0.0))
    cents = np.floor(share * claims.open[rows]).astype(np.int64)
    state.record.respond("dispute_resolved", account, day, 10.0 + 6.0 * draw)
    credit = cents > 0
    owner = account[credit]
    state.record.add(
        "invoices", owner, number=state.issued[owner], day=day, due=day, cents=-cents[credit],
        credit=1,
    )  # fmt: skip
    state.issued[owner] += 1
    for person, amount in zip(owner.tolist(), cents[credit].tolist(), strict=True):
        paying.settle_oldest(state, person, amount, credit=True)


def _leave(state: State) -> None:
    """Let some customers stop buying by themselves."""
    unit = np.arange(len(state.people))
    draw = state.noise.uniform(Purpose.LEAVE, unit, state.day // 7)
    gone = (draw < state.people.attrition) & (state.left >= NEVER)
    state.left[gone] = state.day


def _fail(state: State) -> None:
    """Few of those in distress file for insolvency; their account is closed to contacts."""
    unit = np.arange(len(state.people))
    distressed = state.people.type == CustomerType.DISTRESSED
    late = state.flag(state.claims.active[state.claims.due[state.claims.active] < state.day])
    draw = state.noise.uniform(Purpose.INSOLVENCY, unit, state.day // 7)
    failed = unit[(draw < 0.002) & distressed & late & state.tight & ~state.insolvent]
    state.insolvent[failed] = True
    state.record.hold("insolvency", failed, state.day)


def _write_off(state: State) -> None:
    """Write old claims off once a month: nobody works on them any more."""
    claims = state.claims
    rows = state.overdue_claims()
    rows = rows[state.day - claims.due[rows] >= state.kind.write_off_days]
    claims.written_off[rows] = True
    state.record.hold(
        "do_not_contact", claims.account[rows], state.day, invoice=claims.number[rows]
    )
