"""The clock of a world: invoices, decisions, days, and what befalls accounts by themselves."""

from __future__ import annotations

import numpy as np

from collectopt.simulation import billing, handover, paying, reacting
from collectopt.simulation.claims import NEVER
from collectopt.simulation.kinds import CustomerType
from collectopt.simulation.ladder import AGENCY, Plan, Sight
from collectopt.simulation.noise import FloatArray, IntArray, Purpose
from collectopt.simulation.state import Contacts, State

DECISION_HOUR = 6.0
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
        hunch=_hunch(state, who),
    )


def _hunch(state: State, who: IntArray) -> FloatArray | None:
    """Add to the log-odds what the staff know: whom they deal with, whether he has money."""
    hunch = state.kind.hunch
    if hunch is None:
        return None
    looks = np.array(hunch.types)[state.people.type[who]] + hunch.tight * state.tight[who]
    return np.column_stack([hunch.contact * looks, hunch.firm * looks])


def enter(state: State, plan: Plan, policy: int) -> None:
    """Write the decisions down, waits too, and plan the contacts of the week."""
    number = state.record.contacts + np.arange(len(plan.account))
    contact = (plan.channel >= 0) & (plan.channel < AGENCY)
    state.record.add(
        "contacts", plan.account, day=state.day, send_day=state.day + plan.day,
        hour=np.where(contact, plan.hour, DECISION_HOUR), channel=plan.channel, tone=plan.tone,
        offer=plan.offer, propensity=plan.propensity, policy=policy,
        p_contact=plan.parts[:, 0], p_channel=plan.parts[:, 1], p_tone=plan.parts[:, 2],
        p_offer=plan.parts[:, 3], p_slot=plan.parts[:, 4],
    )  # fmt: skip
    handover.enter(state, plan, number)
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
    handover.work(state)
    paying.daytime(state)
    billing.write_credits(state)
    _resolve_disputes(state)
    _raise_disputes(state)
    reacting.end_promises(state)
    weekday = state.calendar.date(state.day).weekday()
    if weekday == 0:
        _leave(state)
        billing.issue(state)
    if weekday == 2:
        _fail(state)
    if weekday == 3:
        _open_cases(state)
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
    if state.kind.drift is not None:
        share = np.minimum(share * state.kind.drift.tight**state.shifts, 0.9)
    unit = np.arange(len(state.people))
    week = state.day // 7
    if week == 0:
        state.tight = state.noise.uniform(Purpose.LIQUIDITY, unit, 0) < share
        return
    change = 0.12  # weekly rate at which the chain forgets its state
    draw = state.noise.uniform(Purpose.LIQUIDITY, unit, week)
    state.tight = np.where(state.tight, draw >= change * (1.0 - share), draw < change * share)


def _raise_disputes(state: State) -> None:
    """Let customers contest a claim: once a claim, one at a time, whatever the creditor does."""
    claims, day = state.claims, state.day
    if state.kind.office and not state.calendar.is_business_day(day):
        later = claims.active[claims.dispute_day[claims.active] == day]
        claims.dispute_day[later] += 1
        return
    rows = claims.active[claims.dispute_day[claims.active] == day]
    account = claims.account[rows]
    free = ~claims.disputed[rows] & (claims.plan_left[rows] == 0) & ~state.disputing[account]
    free &= ~state.insolvent[account]
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
    billing.credit(state, account[cents > 0], cents[cents > 0])


def _leave(state: State) -> None:
    """Let some customers stop buying by themselves."""
    unit = np.arange(len(state.people))
    draw = state.noise.uniform(Purpose.LEAVE, unit, state.day // 7)
    gone = (draw < state.people.attrition) & (state.left >= NEVER)
    state.leave(np.flatnonzero(gone))


def _fail(state: State) -> None:
    """Few of those in distress file for insolvency; their account is closed to contacts."""
    unit = np.arange(len(state.people))
    distressed = state.people.type == CustomerType.DISTRESSED
    late = state.flag(state.claims.active[state.claims.due[state.claims.active] < state.day])
    draw = state.noise.uniform(Purpose.INSOLVENCY, unit, state.day // 7)
    files = draw < state.kind.tie.insolvency
    failed = unit[files & distressed & late & state.tight & ~state.insolvent]
    state.insolvent[failed] = True
    state.record.hold("insolvency", failed, state.day)


def _open_cases(state: State) -> None:
    """Open service cases; nobody is reminded until they are closed."""
    chance = state.kind.tie.service
    if chance <= 0:
        return
    noise, unit = state.noise, np.arange(len(state.people))
    opens = noise.uniform(Purpose.SERVICE, unit, state.day // 7) < chance
    who = np.flatnonzero(opens & (state.ends > state.day) & ~state.bound)
    days = 4 + np.floor(10 * noise.uniform(Purpose.SERVICE, who, state.day // 7, 1)).astype(int)
    state.service_until[who] = state.day + days
    state.record.hold("service", who, state.day, to=state.day + days)


def _write_off(state: State) -> None:
    """Write old claims off once a month: nobody works on them any more."""
    claims = state.claims
    rows = state.overdue_claims()
    rows = rows[state.day - claims.due[rows] >= state.kind.write_off_days]
    claims.written_off[rows] = True
    state.record.hold(
        "do_not_contact", claims.account[rows], state.day, invoice=claims.number[rows]
    )
