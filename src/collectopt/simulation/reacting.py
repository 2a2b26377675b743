"""What contacts do: sent, delivered, read, answered; promises, plans, opt-outs, harm.

Reach (is the person reached) is kept apart from persuasion (what being reached changes), and what
the creditor sees is kept apart from both: programs open e-mails that no one reads, and people
read e-mails whose images are never loaded.
"""

from __future__ import annotations

import numpy as np

from collectopt.simulation import courtesy
from collectopt.simulation.kinds import EMAIL, LETTER, PHONE, SMS
from collectopt.simulation.noise import FloatArray, IntArray, Purpose
from collectopt.simulation.population import BoolArray
from collectopt.simulation.state import Contacts, State

_LETTER_BOUNCE_DAYS = 6
_SEEN = 0.6  # share of read e-mails whose images are loaded
_CLICK = (0.14, 0.08, 0.0, 0.0)


def send(state: State) -> None:
    """Send what is planned for today, unless there is nothing left to remind of."""
    day = state.day
    overdue = state.flag(state.overdue_claims()) & ~state.bound
    overdue |= courtesy.soon(state)
    for planned in state.agenda.sends.pop(day, []):
        allowed = overdue[planned.account] & state.permitted[planned.account, planned.channel]
        state.record.add("cancelled", planned.number[~allowed])
        sent = planned.take(allowed)
        state.last_contact[sent.account] = day
        state.last_tone[sent.account] = sent.tone
        state.sent_hour[sent.account] = sent.hour
        _deliver(state, sent)


def _deliver(state: State, sent: Contacts) -> None:
    noise, people, day = state.noise, state.people, state.day
    wrong = people.bad_address[sent.account, sent.channel]
    digital = (sent.channel == EMAIL) | (sent.channel == SMS)
    for kind, rows in (("bounced", wrong & digital), ("delivered", ~wrong & digital)):
        some = sent.take(rows)
        state.record.respond(kind, some.account, day, some.hour + 0.01, some.number)
    lost = sent.take(wrong & (sent.channel == LETTER))
    if len(lost.account):
        when = state.calendar.next_business_day(day + _LETTER_BOUNCE_DAYS)
        state.agenda.bounces[when].append(lost)
    machine = sent.take(~wrong & (sent.channel == EMAIL) & people.machine_opens[sent.account])
    soon = 0.02 + 0.5 * noise.uniform(Purpose.TRACK, machine.account, day)
    state.record.respond("opened", machine.account, day, machine.hour + soon, machine.number)
    reached = noise.uniform(Purpose.READ, sent.account, day) < reach(
        state, sent.account, sent.channel, sent.hour
    )
    _schedule_reading(state, sent.take(reached & ~wrong))


def reach(
    state: State,
    account: IntArray,
    channel: IntArray,
    hour: FloatArray,
    ahead: IntArray | int = 0,
) -> FloatArray:
    """Probability that a contact at a local hour, so many days ahead, reaches the person."""
    people, more = state.people, state.kind.effects.best_day
    match = np.exp(-0.5 * ((hour - people.hour[account]) / 3.5) ** 2)
    floor = np.array([0.8, 0.85, 1.0, 0.4])[channel]
    chance = people.reach[account, channel] * (floor + (1.0 - floor) * match)
    weekday = (state.calendar.date(state.day).weekday() + ahead) % 7
    best = people.weekday[account] == weekday
    # The other six days lose what the best one gains; a letter waits on the table.
    chance = chance * np.where(channel == LETTER, 1.0, np.where(best, 1.0 + more, 1.0 - more / 6.0))
    drift, shifts = state.kind.drift, state.shifts
    if drift is None or not shifts:
        return np.minimum(chance, 0.97)
    return np.minimum(chance * np.array(drift.reach)[channel] ** shifts, 0.97)


def _schedule_reading(state: State, read: Contacts) -> None:
    noise, day = state.noise, state.day
    spread = np.exp(noise.normal(Purpose.READ_DELAY, read.account, day))
    mean = np.array([2.5, 0.4, 0.0, 0.01])[read.channel]
    moment = read.hour + mean * spread
    later = np.floor(moment / 24.0).astype(np.int64)
    hour = moment - 24.0 * later
    hour = np.where((hour < 6.5) | (hour > 23.4), 7.0 + hour % 1.0, hour)
    later += ((moment - 24.0 * later) > 23.4).astype(np.int64)
    later = np.minimum(later, 3)
    if state.kind.office:
        hour, later = _at_work(state, hour, later)
    letter = read.channel == LETTER
    first = 9.0 if state.kind.office else 12.0  # firms open their post in the morning
    hour = np.where(letter, first + 7.0 * noise.uniform(Purpose.READ_DELAY, read.account, day, 1),
                    hour)  # fmt: skip
    post = np.array([2, 2, 2, 4, 4, 4, 3])[state.calendar.date(day).weekday()]
    if state.kind.office:
        post = state.calendar.next_business_day(day + post) - day
    when = day + np.where(letter, post, later)
    read = read.at(hour)
    for target in np.unique(when).tolist():
        state.agenda.reads[target].append(read.take(when == target))


def _at_work(state: State, hour: FloatArray, later: IntArray) -> tuple[FloatArray, IntArray]:
    """Put off what comes in after hours to the morning of the next business day."""
    late = hour > 18.5
    hour = np.where(late | (hour < 7.5), 8.0 + hour % 1.0, hour)
    later = np.where(late, later + 1, later)
    free = np.array([state.calendar.next_business_day(state.day + d) for d in range(9)])
    return hour, free[np.minimum(later, 8)] - state.day


def read_today(state: State) -> None:
    """Let people read what has reached them, react, and be moved."""
    day = state.day
    for lost in state.agenda.bounces.pop(day, []):
        state.record.respond("bounced", lost.account, day, 9.5, lost.number)
    batches = state.agenda.reads.pop(day, [])
    if not batches:
        return
    read = Contacts(*(np.concatenate([getattr(b, name) for b in batches]) for name in _COLUMNS))
    # Two contacts read on one day count once: the later send moves, both are seen.
    _visible(state, read)
    _, first = np.unique(read.account, return_index=True)
    once = read.take(first)
    overdue = state.flag(state.overdue_claims()) & ~state.bound
    moved = once.take(overdue[once.account])
    early = once.take(courtesy.soon(state)[once.account])
    courtesy.remind(state, early.account, mass(state, early.account, early.channel, early.tone))
    _harm(state, early)
    state.fatigue[early.account] += 1.0
    _persuade(state, moved)
    busy = _promise(state, moved)
    _offer_plan(state, moved.take(~busy))
    _harm(state, moved)
    state.fatigue[moved.account] += 1.0


_COLUMNS = ("number", "account", "channel", "tone", "offer", "hour")


def _visible(state: State, read: Contacts) -> None:
    noise, people, day = state.noise, state.people, state.day
    loaded = noise.uniform(Purpose.TRACK, read.account, day, 1) < _SEEN
    opened = (read.channel == EMAIL) & loaded & ~people.machine_opens[read.account]
    clicks = noise.uniform(Purpose.TRACK, read.account, day, 2) < np.array(_CLICK)[read.channel]
    clicked = clicks & ((read.channel != EMAIL) | loaded | people.machine_opens[read.account])
    for kind, rows, after in (
        ("opened", opened, 0.0),
        ("clicked", clicked, 0.02),
        ("answered", read.channel == PHONE, 0.01),
    ):
        some = read.take(rows)
        state.record.respond(kind, some.account, day, some.hour + after, some.number)


def mass(state: State, account: IntArray, channel: IntArray, tone: IntArray) -> FloatArray:
    """Cumulative hazard of paying that a contact adds once it has reached its person.

    It is that of a claim past due for not too long, of a customer with money at hand;
    `paying.responsive` is the factor for the others.

    Parameters
    ----------
    state : State
        The world; its fatigue counts.
    account, channel, tone : (m,) int64
    """
    effects, people = state.kind.effects, state.people
    tired = 1.0 + effects.fatigue * state.fatigue[account]
    own = people.persuasion[account] * people.tone[account, tone]
    wording = state.wording[channel, tone] * effects.scale
    return own * np.array(effects.strength)[channel] * wording / tired


def _persuade(state: State, moved: Contacts) -> None:
    effects, account = state.kind.effects, moved.account
    added = mass(state, account, moved.channel, moved.tone)
    jump = added * (1.0 - np.exp(-1.0 / effects.decay_days))
    link = ((moved.channel == EMAIL) | (moved.channel == SMS)) & state.kind.payment.links
    state.fresh[account[link]] = jump[link]
    # Nobody is written to after paying: what an older message causes waits for today's contact.
    state.fresh_hour[account[link]] = np.maximum(moved.hour, state.sent_hour[account])[link]
    state.excitation[account[~link]] += jump[~link] / np.exp(-1.0 / effects.decay_days)


def _promise(state: State, moved: Contacts) -> BoolArray:
    """Promise to pay by a date, in talks often, else seldom; refuse now and then."""
    noise, day, effects = state.noise, state.day, state.kind.effects
    account = moved.account
    of = state.people.type[account]
    willing = np.array([t.promise for t in state.kind.types])[of] * effects.promise
    spoken = moved.channel == PHONE
    chance = willing * np.where(spoken, 1.0, effects.message_promise)
    draw = noise.uniform(Purpose.REPLY, account, day)
    promises = draw < chance
    refuses = spoken & (draw > 0.95) & (effects.promise > 0)
    some = moved.take(refuses)
    state.record.respond("refused", some.account, day, some.hour + 0.05, some.number)
    made = moved.take(promises)
    wait = 3 + np.floor(8 * noise.uniform(Purpose.REPLY, made.account, day, 1)).astype(np.int64)
    due = _business_days(state, day + wait)
    rows = state.overdue_claims()
    total = np.bincount(
        state.claims.account[rows], weights=state.claims.open[rows], minlength=len(state.people)
    ).astype(np.int64)
    state.record.respond(
        "promised", made.account, day, made.hour + 0.06, made.number,
        cents=total[made.account], due=due,
    )  # fmt: skip
    state.record.hold("promise", made.account, day, to=due + 2)
    state.promised_until[made.account] = due + 2
    keeps = np.array([t.keep for t in state.kind.types])[state.people.type[made.account]]
    kept = noise.uniform(Purpose.REPLY, made.account, day, 2) < keeps
    for target in np.unique(due).tolist():
        now = due == target
        booked = state.calendar.next_business_day(max(target - 1, day + 1))
        mine = made.account[now & kept]
        state.agenda.kept_promises[booked].append((mine, np.full(len(mine), day)))
        state.agenda.promise_ends[target + 1].append(
            (made.account[now], made.number[now], np.full(int(now.sum()), day))
        )
    return promises


def _business_days(state: State, days: IntArray) -> IntArray:
    """Move days to the next business day: nobody promises a transfer for a Sunday."""
    result = days.copy()
    for day in np.unique(days).tolist():
        result[days == day] = state.calendar.next_business_day(day)
    return result


def _offer_plan(state: State, moved: Contacts) -> None:
    """Accept instalments: one schedule a claim, one deal an account."""
    noise, day, claims = state.noise, state.day, state.claims
    account = moved.account
    of = state.people.type[account]
    chance = np.array([t.plan for t in state.kind.types])[of] * state.kind.effects.plan
    chance = chance * np.where(state.tight[account], 1.3, 1.0)
    chance = chance * np.where(moved.channel == PHONE, 1.6, 1.0)
    rows = state.overdue_claims()
    total = np.bincount(
        claims.account[rows], weights=claims.open[rows], minlength=len(state.people)
    ).astype(np.int64)
    in_plan = state.flag(claims.active[claims.plan_left[claims.active] > 0])
    takes = (moved.offer == 1) & (total[account] >= 4000) & ~in_plan[account]
    takes &= state.no_plan_until[account] < day
    takes &= noise.uniform(Purpose.REPLY, account, day, 3) < chance
    deal = moved.take(takes)
    if not len(deal.account):
        return
    count = np.clip(-(-total // 4000), 2, 6)
    first = np.zeros(len(state.people), dtype=np.int64)
    wait = np.floor(8 * noise.uniform(Purpose.REPLY, deal.account, day, 4)).astype(np.int64)
    first[deal.account] = day + 7 + wait
    rows = rows[np.isin(claims.account[rows], deal.account)]
    owner = claims.account[rows]
    claims.plan_left[rows] = count[owner]
    claims.plan_cents[rows] = -(-claims.open[rows] // count[owner])
    claims.plan_next[rows] = first[owner]
    claims.plan_missed[rows] = 0
    end = first[owner] + 30 * (count[owner] - 1) + 14
    state.record.hold("payment_plan", owner, day, to=end, invoice=claims.number[rows])
    state.record.respond(
        "plan_accepted", deal.account, day, deal.hour + 0.08, deal.number,
        cents=total[deal.account], due=first[deal.account],
    )  # fmt: skip


def _harm(state: State, moved: Contacts) -> None:
    """Opt-outs, complaints and customers lost, more of them when pressed or tired."""
    noise, day, effects = state.noise, state.day, state.kind.effects
    account = moved.account
    pressure = np.array(effects.harm_tone)[moved.tone] * (1.0 + 0.5 * state.fatigue[account])
    outs = noise.uniform(Purpose.HARM, account, day) < effects.opt_out * (
        1.0 + state.fatigue[account]
    )
    some = moved.take(outs & (moved.channel != LETTER))
    state.opted_out[some.account, some.channel] = True
    state.record.respond("opted_out", some.account, day, some.hour + 0.1, some.number)
    angry = noise.uniform(Purpose.HARM, account, day, 1) < effects.complaint * pressure
    some = moved.take(angry)
    state.record.respond("complained", some.account, day, some.hour + 0.2, some.number)
    leaves = effects.leave * state.kind.tie.leave * pressure
    state.drive_away(account, leaves, noise.uniform(Purpose.HARM, account, day, 2))


def end_promises(state: State) -> None:
    """Write down promises that were not kept, at the end of their last day."""
    for account, number, given in state.agenda.promise_ends.pop(state.day, []):
        rows = state.overdue_claims()
        oldest = np.full(len(state.people), state.day)
        np.minimum.at(oldest, state.claims.account[rows], state.claims.due[rows])
        broken = oldest[account] < given
        state.record.respond("promise_broken", account[broken], state.day, 23.95, number[broken])
