"""How money comes in: hazards of paying, instalments, direct debits, returns, credit notes.

The daily intensity of a claim is that of its type and age, scaled by paydays, booking days and
liquidity, plus an excitation that contacts and payments raise and time wears off; after Chehrazi
and Weber (Management Science 61(12), 2015). Excitation acts on claims past due alone.
"""

from __future__ import annotations

import numpy as np

from collectopt.simulation import handover
from collectopt.simulation.noise import FloatArray, IntArray, Purpose
from collectopt.simulation.population import CARD, DIRECT_DEBIT, TRANSFER, WALLET, BoolArray
from collectopt.simulation.state import State

# Transfers are booked on business days, Monday after the weekend's; together seven days' worth.
_BOOKING = np.array([1.9, 1.35, 1.25, 1.2, 1.3, 0.0, 0.0])
_SPENDING = np.array([1.05, 1.0, 1.0, 1.0, 0.95, 0.95, 1.05])
_RUN = 5.0  # a pay run pays for the five business days of a week
_FORGOTTEN_BEFORE, _FORGOTTEN_AFTER = 0.08, 0.4
_FLOOR = 0.04  # share of the late hazard that never fades
_OLD_AGE, _OLD_FADE = 45.0, 90.0  # excitation fades with the age of the claim


def morning(state: State) -> None:
    """Bookings between five and six: what the bank statement of the day shows."""
    _return_debits(state)
    use_credit(state)
    _keep_promises(state)
    if state.calendar.is_business_day(state.day):
        _collect_debits(state)
        _pay_instalments(state)
        rows = _payable(state, np.array([TRANSFER, DIRECT_DEBIT]))
        claims = state.claims
        chance = 1.0 - np.exp(-intensity(state, rows))
        hit = state.noise.uniform(Purpose.PAY_MORNING, claims.uid[rows], state.day) < chance
        _settle_hits(state, rows, hit, None, TRANSFER)
    state.claims.tidy()


def daytime(state: State) -> None:
    """Cards and wallets, and those who pay at once through the link of a message."""
    claims, noise, day = state.claims, state.noise, state.day
    rows = _payable(state, np.array([TRANSFER, WALLET, CARD, DIRECT_DEBIT]))
    account = claims.account[rows]
    instant = np.isin(state.people.method[account], [WALLET, CARD])
    own = intensity(state, rows) * instant
    left_of_day = 1.0 - state.fresh_hour[account] / 24.0
    caused = state.fresh[account] * left_of_day * responsive(state, rows)
    total = own + caused
    hit = noise.uniform(Purpose.PAY_DAY, claims.uid[rows], day) < 1.0 - np.exp(-total)
    by_link = noise.uniform(Purpose.PAY_CAUSE, claims.uid[rows], day) * total < caused
    late = noise.uniform(Purpose.PAY_HOUR, account, day)
    # Where a contact may go out today, what it did not cause comes after the last slot.
    usual = np.where(state.overdue[account], 19.6 + 3.8 * late, 7.5 + 15.5 * late)
    after = state.fresh_hour[account] + 0.05
    hour = np.where(by_link, after + (23.9 - after) * late**2, usual)
    method = np.where(instant, state.people.method[account], WALLET)
    _settle_hits(state, rows, hit, hour, method)
    claims.tidy()


def intensity(state: State, rows: IntArray) -> FloatArray:
    """Daily intensity of paying each claim, today's messages not counted; shape of `rows`."""
    claims, people, day = state.claims, state.people, state.day
    account = claims.account[rows]
    of = people.type[account]
    types = state.kind.types
    early, near, late, fade = (
        np.array([getattr(t, name) for t in types])[of]
        for name in ("early", "near", "late", "fade_days")
    )
    past = day - claims.due[rows]
    faded = _FLOOR + (1.0 - _FLOOR) * np.exp(-np.maximum(past - 1, 0) / fade)
    base = np.where(past < -4, early, np.where(past <= 1, near, late * faded))
    forgotten = np.where(past <= 1, _FORGOTTEN_BEFORE, _FORGOTTEN_AFTER)
    base = base * np.where(claims.forgotten[rows], forgotten, 1.0) * people.pace[account]
    base = base * _money(state, account)
    if state.kind.drift is not None:
        base = base * state.kind.drift.hazard**state.shifts
    total = base + np.where(past >= 1, state.excitation[account], 0.0) * responsive(state, rows)
    total += claims.pull[rows]
    weekday = state.calendar.date(day).weekday()
    transfer = np.isin(people.method[account], [TRANSFER, DIRECT_DEBIT])
    rhythm = np.where(transfer, _BOOKING[weekday], _SPENDING[weekday])
    if state.kind.payment.runs:
        run = people.pay_run[account]
        weekly = np.where(run == weekday, _RUN, 0.0)
        rhythm = np.where(transfer & (run >= 0), weekly, rhythm)
    result: FloatArray = total * rhythm
    return result


def _money(state: State, account: IntArray) -> FloatArray:
    """Factor of liquidity and payday on the base hazard."""
    payday = state.people.payday[account]
    since = (state.calendar.date(state.day).day - payday) % 30
    flush = (payday > 0) & (since < 4)
    tight = state.tight[account]
    eased = np.where(tight, np.where(flush, 1.3, 0.35), np.where(flush, 1.6, 0.92))
    return np.where(payday > 0, eased, np.where(tight, 0.45, 1.0))


def responsive(state: State, rows: IntArray) -> FloatArray:
    """Factor of liquidity and age on what a contact brings to claims, in the shape of `rows`.

    Nothing before the due date; less when money is short and when the claim is old.
    """
    past = state.day - state.claims.due[rows]
    tight = state.tight[state.claims.account[rows]]
    age = np.exp(-np.maximum(past - _OLD_AGE, 0.0) / _OLD_FADE)
    return np.where(past >= 1, age * np.where(tight, 0.5, 1.0), 0.0)


def _payable(state: State, methods: IntArray) -> IntArray:
    """Claims that their owners might pay today of their own accord."""
    claims, people = state.claims, state.people
    rows = claims.active
    account = claims.account[rows]
    waiting = collected(state, account) & ~claims.debit_tried[rows]
    free = ~claims.disputed[rows] & (claims.plan_left[rows] == 0) & ~waiting
    free &= ~state.insolvent[account] & (claims.issued[rows] < state.day)
    return rows[free & np.isin(people.method[account], methods) & (claims.open[rows] > 0)]


def collected(state: State, account: IntArray) -> BoolArray:
    """Whether the creditor takes the money himself at the due date."""
    method = state.people.method[account]
    on_file = state.kind.payment.card_on_file
    result: BoolArray = (method == DIRECT_DEBIT) | (on_file & (method == CARD))
    return result


def _settle_hits(
    state: State,
    rows: IntArray,
    hit: BoolArray,
    hour: FloatArray | None,
    method: IntArray | int,
) -> None:
    """Pay the claims that were hit, often with the others of the account, sometimes in part."""
    if not hit.any():
        return
    claims, noise, day = state.claims, state.noise, state.day
    account = claims.account[rows]
    hours = _morning_hour(state, account) if hour is None else hour
    methods = np.broadcast_to(np.asarray(method), account.shape)
    lead = np.full(len(state.people), -1)
    lead[account[hit][::-1]] = np.flatnonzero(hit)[::-1]  # first claim hit of each account
    overdue = claims.due[rows] < day
    joint = np.where(state.tight[account], 0.15, 0.6)
    joins = noise.uniform(Purpose.PAY_JOINT, claims.uid[rows], day) < joint
    joined = ~hit & overdue & joins & (lead[account] >= 0)
    part = noise.uniform(Purpose.PARTIAL, claims.uid[rows], day)
    partial = hit & (part < _by_money(state, account, state.kind.payment.partial))
    joined &= ~partial[np.maximum(lead[account], 0)]
    paid = hit | joined
    share = 0.2 + 0.5 * noise.uniform(Purpose.PARTIAL, claims.uid[rows], day, 1)
    rounded = np.maximum(500, np.rint(claims.open[rows] * share / 500.0).astype(np.int64) * 500)
    cents = np.where(partial, np.minimum(rounded, claims.open[rows]), claims.open[rows])
    leader = np.maximum(lead[account], 0)
    receive(state, rows[paid], cents[paid], hours[leader][paid], methods[leader][paid])
    state.excitation[np.unique(account[paid & overdue])] += state.kind.self_excitation


def _by_money(state: State, account: IntArray, chance: tuple[float, float]) -> FloatArray:
    """Probability by whether money is short now."""
    return np.where(state.tight[account], chance[1], chance[0])


def _morning_hour(state: State, account: IntArray) -> FloatArray:
    return 5.0 + 0.9 * state.noise.uniform(Purpose.PAY_HOUR, account, state.day, 1)


def receive(
    state: State,
    rows: IntArray,
    cents: IntArray,
    hour: FloatArray,
    method: IntArray | int,
    *,
    by_plan: bool = False,
) -> None:
    """Book payments: to the claim they name, else to the oldest due of the account.

    Instalments name their claim, as the plan says so.
    """
    claims = state.claims
    named = by_plan | state.people.names_invoice[claims.account[rows]]
    before = handover.watch(state)
    methods = handover.methods(state, rows, np.broadcast_to(np.asarray(method), rows.shape))
    ours = rows[named]
    claims.open[ours] -= cents[named]
    state.record.add(
        "payments", claims.account[ours], day=state.day, hour=hour[named], cents=cents[named],
        invoice=claims.number[ours], method=methods[named],
    )  # fmt: skip
    if not named.all():
        _book_unnamed(state, rows[~named], cents[~named], hour[~named], methods[~named])
    handover.earn(state, before)


def _book_unnamed(
    state: State, rows: IntArray, cents: IntArray, hour: FloatArray, method: IntArray
) -> None:
    """Book one sum an account; what agency and court remit names its claims."""
    claims, day = state.claims, state.day
    account, first, place = np.unique(claims.account[rows], return_index=True, return_inverse=True)
    total = np.bincount(place, weights=cents).astype(np.int64)
    remitted = claims.outside[rows][first] > 0
    own = first[~remitted]
    state.record.add(
        "payments", account[~remitted], day=day, hour=hour[own], cents=total[~remitted],
        method=method[own],
    )  # fmt: skip
    ours = claims.active[np.isin(claims.account[claims.active], account[remitted])]
    before = claims.open[ours].copy()
    settle_oldest(state, account, total)
    part = before - claims.open[ours]
    ours, part = ours[part > 0], part[part > 0]
    at = first[np.searchsorted(account, claims.account[ours])]
    state.record.add(
        "payments", claims.account[ours], day=day, hour=hour[at], cents=part,
        invoice=claims.number[ours], method=method[at],
    )  # fmt: skip


def settle_oldest(
    state: State, account: IntArray, cents: IntArray, *, credit: bool = False
) -> IntArray:
    """Use money, or credit notes, on the claims issued so far, oldest due first.

    Parameters
    ----------
    state : State
    account, cents : (m,) int64
        Each account once.
    credit : bool
        Whether it comes from credit notes.

    Returns
    -------
    (m,) int64
        Cents that are left.
    """
    claims = state.claims
    purse = np.zeros(len(state.people), dtype=np.int64)
    purse[account] = cents
    rows = claims.active[purse[claims.account[claims.active]] > 0]
    rows = rows[(claims.issued[rows] <= state.day) & (claims.open[rows] > 0)]
    rows = rows[np.lexsort((claims.number[rows], claims.due[rows], claims.account[rows]))]
    owner, rest = claims.account[rows], claims.open[rows]
    running = np.cumsum(rest) - rest
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    before = running - np.repeat(running[first], np.diff(np.append(first, len(rows))))
    part = np.clip(purse[owner] - before, 0, rest)
    claims.open[rows] -= part
    if credit:
        claims.credited[rows] += part
    np.subtract.at(purse, owner, part)
    return purse[account]


def use_credit(state: State) -> None:
    """Settle with credit notes that wait what has been issued or reopened since."""
    account = np.flatnonzero(state.credit)
    if len(account):
        rest = settle_oldest(state, account, state.credit[account], credit=True)
        state.credit[account] = rest


def _collect_debits(state: State) -> None:
    """Collect by mandate on the last business day up to the due date.

    Some debits come back within days; a card that is declined leaves no trace.
    """
    claims, people, day = state.claims, state.people, state.day
    rows = claims.active
    account = claims.account[rows]
    until = state.calendar.next_business_day(day + 1)
    ready = collected(state, account) & ~claims.debit_tried[rows]
    ready &= (claims.due[rows] < until) & (claims.issued[rows] < day) & ~claims.disputed[rows]
    ready &= ~state.insolvent[account] & (claims.open[rows] > 0)
    rows, account = rows[ready], account[ready]
    claims.debit_tried[rows] = True
    chance = _by_money(state, account, state.kind.payment.fails)
    back = state.noise.uniform(Purpose.RETURN, claims.uid[rows]) < chance
    taken = ~back | (people.method[account] == DIRECT_DEBIT)
    rows, back = rows[taken], back[taken]
    cents = claims.open[rows]
    receive(state, rows, cents, np.full(len(rows), 5.25), people.method[claims.account[rows]])
    wait = 2 + 3 * state.noise.uniform(Purpose.RETURN, claims.uid[rows], 0, 1)
    days = wait.astype(np.int64)
    for delay in np.unique(days[back]).tolist():
        late = back & (days == delay)
        when = state.calendar.next_business_day(day + delay)
        state.agenda.returns[when].append((rows[late], cents[late]))


def _return_debits(state: State) -> None:
    claims = state.claims
    for rows, cents in state.agenda.returns.pop(state.day, []):
        claims.open[rows] += cents
        claims.reopen(rows)
        state.record.add(
            "payments", claims.account[rows], day=state.day, hour=5.1, cents=-cents,
            invoice=claims.number[rows], method=DIRECT_DEBIT,
        )  # fmt: skip


def _keep_promises(state: State) -> None:
    """Pay what was promised: the claims that were past due when the promise was given."""
    for account, given in state.agenda.kept_promises.pop(state.day, []):
        promised = np.full(len(state.people), -1)
        promised[account] = given
        rows = state.overdue_claims()
        owner = state.claims.account[rows]
        rows = rows[(state.claims.due[rows] < promised[owner]) & ~state.insolvent[owner]]
        owner = state.claims.account[rows]
        receive(state, rows, state.claims.open[rows].copy(), _morning_hour(state, owner), TRANSFER)


def _pay_instalments(state: State) -> None:
    """Pay what plans ask for today; a second miss in a row breaks the account's plans."""
    claims, day = state.claims, state.day
    rows = claims.active
    rows = rows[(claims.plan_left[rows] > 0) & (claims.plan_next[rows] <= day)]
    account = claims.account[rows]
    again = claims.plan_missed[rows] > 0
    chance = np.where(state.tight[account], 0.72, 0.95) * np.where(again, 0.6, 1.0)
    pays = state.noise.uniform(Purpose.INSTALMENT, account, day) < chance
    pays &= ~state.insolvent[account]
    due = rows[pays]
    last = claims.plan_left[due] == 1
    cents = np.where(last, claims.open[due], np.minimum(claims.plan_cents[due], claims.open[due]))
    hour = _morning_hour(state, claims.account[due])
    receive(state, due, cents, hour, TRANSFER, by_plan=True)
    claims.plan_left[due] -= 1
    claims.plan_next[due] += 30 - 7 * (claims.plan_missed[due] > 0)
    claims.plan_missed[due] = 0
    broken = np.unique(account[~pays & again])
    missed = rows[~pays & ~again]
    claims.plan_missed[missed] = 1
    claims.plan_next[missed] += 7
    _break_plans(state, broken)


def _break_plans(state: State, account: IntArray) -> None:
    claims = state.claims
    rows = claims.active[claims.plan_left[claims.active] > 0]
    rows = rows[np.isin(claims.account[rows], account)]
    total = np.bincount(
        claims.account[rows], weights=claims.open[rows], minlength=len(state.people)
    )
    claims.plan_left[rows] = 0
    state.no_plan_until[account] = state.day + 60
    state.record.respond(
        "plan_broken", account, state.day, 5.95, cents=total[account].astype(np.int64)
    )
