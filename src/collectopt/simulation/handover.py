"""Claims given out of the house: to a collection agency, to the court, or given up.

What is handed over is every claim of the account that is past due and bound by no hold. From then
on the creditor leaves these claims alone; the agency, or the court, adds to their hazard of being
paid step by step, and each step wears off. So part of the money is new and part would have come
anyway, only later. An agency takes a share of all that comes in while it has the claim; the court
takes its fee at the application. Both end: what the agency has not collected comes back and is
written off, a title that brings nothing is put to rest.
"""

from __future__ import annotations

import numpy as np

from collectopt.simulation.external import court_fee
from collectopt.simulation.kinds import LETTER, PHONE
from collectopt.simulation.ladder import AGENCY, COURT, STOP, Plan
from collectopt.simulation.noise import FloatArray, IntArray, Purpose
from collectopt.simulation.population import BoolArray
from collectopt.simulation.state import State

BY_AGENCY, BY_COURT = 4, 5  # positions in `population.METHODS`
_FIRM = 2
_HOUR = 11.0


def enter(state: State, plan: Plan, number: IntArray) -> None:
    """Carry out the special actions of a plan; `number` is the row of each in the record.

    Where no claim is past due and free, nothing happens, and the decision counts as cancelled.
    """
    special = plan.channel >= AGENCY
    if not special.any():
        return
    claims, day = state.claims, state.day
    rows = state.overdue_claims()
    rows = rows[~state.bound[claims.account[rows]]]
    action = np.zeros(len(state.people), dtype=np.int64)
    action[plan.account[special]] = plan.channel[special]
    contact = np.zeros(len(state.people), dtype=np.int64)
    contact[plan.account[special]] = number[special]
    void = special & ~state.flag(rows)[plan.account]
    state.record.add("cancelled", number[void])
    chosen = action[claims.account[rows]]
    _give_up(state, rows[chosen == STOP])
    for kind, code in (("agency", AGENCY), ("court", COURT)):
        mine = rows[chosen == code]
        if not len(mine):
            continue
        claims.outside[mine], claims.outside_day[mine] = code, day
        claims.pull[mine] = 0.0
        account = claims.account[mine]
        state.record.hold(kind, account, day, invoice=claims.number[mine])
        owner, place = np.unique(account, return_inverse=True)
        owed = np.bincount(place, weights=claims.open[mine]).astype(np.int64)
        outlay = state.kind.agency.cost if code == AGENCY else state.kind.court.cost
        fixed = np.full(len(owner), round(100 * outlay))
        state.record.fee("process", owner, day, fixed, contact[owner])
        if code == COURT:
            fee = court_fee(owed, state.calendar.date(day))
            state.record.fee("court_fee", owner, day, fee, contact[owner])
            state.court_costs[owner] += fee


def _give_up(state: State, rows: IntArray) -> None:
    """Write claims off: nobody works on them any more."""
    claims = state.claims
    claims.written_off[rows], claims.outside[rows], claims.pull[rows] = True, 0, 0.0
    state.record.hold(
        "do_not_contact", claims.account[rows], state.day, invoice=claims.number[rows]
    )


def work(state: State) -> None:
    """Live a day of agency and court."""
    claims = state.claims
    _wear_off(state)
    rows = _outside(state)
    if not len(rows):
        return
    rows = rows[~claims.disputed[rows]]
    _agency(state, rows[claims.outside[rows] == AGENCY])
    _court(state, rows[claims.outside[rows] == COURT])


def _wear_off(state: State) -> None:
    claims, kind = state.claims, state.kind
    rows = claims.active[claims.pull[claims.active] > 0]
    lives = np.array([kind.effects.decay_days, kind.agency.decay_days, kind.court.decay_days])
    which = np.where(claims.outside[rows] > 0, claims.outside[rows] - AGENCY + 1, 0)
    claims.pull[rows] *= np.exp(-1.0 / lives[which])


def _outside(state: State) -> IntArray:
    claims = state.claims
    return claims.active[claims.outside[claims.active] > 0]


def _press(state: State, rows: IntArray, mass: FloatArray, decay_days: float) -> None:
    """Let a step of some strength move the owners of claims, each after his nature and means."""
    claims, people = state.claims, state.people
    account = claims.account[rows]
    own = people.persuasion[account] * people.tone[account, _FIRM] * state.kind.effects.scale
    claims.pull[rows] += own * mass * (1.0 - np.exp(-1.0 / decay_days))


def _agency(state: State, rows: IntArray) -> None:
    claims, people, agency, day = state.claims, state.people, state.kind.agency, state.day
    age = day - claims.outside_day[rows]
    for days, channel, strength in (
        (agency.letters, LETTER, agency.strength[0]),
        (agency.calls, PHONE, agency.strength[1]),
    ):
        now = rows[np.isin(age, days)]
        account = claims.account[now]
        found = np.where(people.bad_address[account, channel], agency.traced, 1.0)
        chance = people.reach[account, channel] * found
        hit = state.noise.uniform(Purpose.AGENCY, account, day, channel) < chance
        now, account = now[hit], account[hit]
        steps = np.sort(np.array([*agency.letters, *agency.calls]))
        before = np.searchsorted(steps, day - claims.outside_day[now])
        mass = strength / (1.0 + agency.tired * before)
        mass = mass * np.where(state.tight[account], agency.tight, 1.0)
        mass = mass * np.exp(-(day - claims.due[now]) / agency.fade_days)
        _press(state, now, mass, agency.decay_days)
    first = np.unique(claims.account[rows[age == agency.letters[0]]])
    _offend(state, first, agency.leave, agency.complaint)
    back = rows[(age >= agency.recall_days) & state.calendar.is_business_day(day)]
    state.record.milestone("recalled", claims.account[back], day, claims.number[back])
    _give_up(state, back)


def _offend(state: State, account: IntArray, leave: float, complaint: float) -> None:
    """Let some customers leave and some complain, at the first sign of agency or court."""

    def luck(draw: int) -> FloatArray:
        return state.noise.uniform(Purpose.HARM, account, state.day, draw)

    angry = account[luck(3) < complaint]
    state.record.respond("complained", angry, state.day, np.full(len(angry), 15.0))
    state.drive_away(account, np.full(len(account), leave), luck(4))


def _court(state: State, rows: IntArray) -> None:
    """Serve the order, wait for objections, get the title, send the bailiff, put it to rest."""
    claims, court, day = state.claims, state.kind.court, state.day
    if not len(rows):
        return
    account = claims.account[rows]
    service, served = _service(state, rows)
    objects = served & (_luck(state, rows, 2) < np.array(court.objects)[state.people.type[account]])
    objection = service + 3
    objection += np.floor((court.objection_days - 3) * _luck(state, rows, 3)).astype(int)
    objection -= np.array([0, 0, 0, 0, 0, 1, 2])[(objection + state.calendar.start.weekday()) % 7]
    title = service + court.objection_days + court.title_days
    visit = title + court.bailiff_days
    visit += np.array([0, 0, 0, 0, 0, 2, 1])[(visit + state.calendar.start.weekday()) % 7]
    live = ~state.insolvent[account]  # proceedings end with an insolvency
    steps = {
        "served": live & served & (service == day),
        "not_served": live & ~served & (service == day),
        "objected": live & objects & (objection == day) & ~state.disputing[account],
        "title": live & served & ~objects & (title == day),
        "bailiff": live & served & ~objects & (visit == day),
    }
    age = day - claims.outside_day[rows]
    lost = ~served | objects
    steps["at_rest"] = age >= np.where(lost, court.lost_days, court.rest_days)
    steps["at_rest"] &= (claims.plan_left[rows] == 0) & state.calendar.is_business_day(day)
    for name, mask in steps.items():
        state.record.milestone(name, account[mask], day, claims.number[rows[mask]])
    ease = np.where(state.tight[account], court.tight, 1.0)
    for name, strength in zip(("served", "title"), court.strength, strict=True):
        now = steps[name]
        _press(state, rows[now], strength * ease[now], court.decay_days)
    _offend(state, np.unique(account[steps["served"]]), court.leave, court.complaint)
    _object(state, rows[steps["objected"]])
    _visit(state, rows[steps["bailiff"]])
    _give_up(state, rows[steps["at_rest"]])


def _luck(state: State, rows: IntArray, draw: int) -> FloatArray:
    """Luck of the court orders; all claims of an account handed over on one day share it."""
    claims = state.claims
    order = claims.account[rows] * 100_000 + claims.outside_day[rows]
    return state.noise.uniform(Purpose.COURT, order, 0, draw)


def _service(state: State, rows: IntArray) -> tuple[IntArray, BoolArray]:
    """Day on which the order about each claim is served, and whether it can be."""
    claims, court = state.claims, state.kind.court
    first, last = court.service_days
    wait = first + np.floor((last - first + 1) * _luck(state, rows, 0)).astype(np.int64)
    wrong = state.people.bad_address[claims.account[rows], LETTER]
    served = _luck(state, rows, 1) < np.where(wrong, court.found, court.served)
    return claims.outside_day[rows] + wait, served


def _object(state: State, rows: IntArray) -> None:
    """Contest the oldest claim of an order: the order ends with it, there will be no title."""
    claims, day = state.claims, state.day
    _, first = np.unique(claims.account[rows], return_index=True)
    rows = rows[first]
    account = claims.account[rows]
    claims.disputed[rows] = True
    state.disputing[account] = True
    wait = 21 + np.floor(35 * state.noise.uniform(Purpose.COURT, claims.uid[rows], 1)).astype(int)
    claims.resolve_day[rows] = day + wait
    state.record.respond(
        "disputed", account, day, np.full(len(rows), _HOUR), cents=claims.open[rows].copy()
    )
    state.record.hold("dispute", account, day, invoice=claims.number[rows])


def _visit(state: State, rows: IntArray) -> None:
    """Enforce a title: some agree on instalments, from the others nothing is to be had."""
    claims, court, day = state.claims, state.kind.court, state.day
    rows = rows[(claims.plan_left[rows] == 0) & ~state.insolvent[claims.account[rows]]]
    owner, place = np.unique(claims.account[rows], return_inverse=True)
    if not len(owner):
        return
    cost = np.full(len(owner), round(100 * court.bailiff_cost))
    state.record.fee("process", owner, day, cost)
    state.court_costs[owner] += cost
    chance = np.array(court.instalments)[state.people.type[owner]]
    chance = chance * np.where(state.tight[owner], 0.6, 1.0)
    agrees = state.noise.uniform(Purpose.COURT, owner, day, 4) < chance
    total = np.bincount(place, weights=claims.open[rows]).astype(np.int64)
    count = np.clip(-(-total // 5000), 2, 12)
    mine = agrees[place]
    rows, parts = rows[mine], count[place][mine]
    claims.plan_left[rows], claims.plan_missed[rows] = parts, 0
    claims.plan_cents[rows] = -(-claims.open[rows] // parts)
    claims.plan_next[rows] = day + 30
    state.record.hold(
        "payment_plan", claims.account[rows], day, to=day + 30 * parts + 14,
        invoice=claims.number[rows],
    )  # fmt: skip
    state.record.respond(
        "plan_accepted", owner[agrees], day, np.full(int(agrees.sum()), _HOUR),
        cents=total[agrees], due=np.full(int(agrees.sum()), day + 30),
    )  # fmt: skip


def methods(state: State, rows: IntArray, method: IntArray) -> IntArray:
    """Who receives payments of claims: agency and court from the day the customer hears of them."""
    outside = np.where(_heard(state, rows), state.claims.outside[rows], 0)
    return np.where(outside == AGENCY, BY_AGENCY, np.where(outside == COURT, BY_COURT, method))


def _heard(state: State, rows: IntArray) -> BoolArray:
    """Whether the customer knows that a claim was handed over."""
    claims, day = state.claims, state.day
    heard: BoolArray = (claims.outside[rows] == AGENCY) & (
        claims.outside_day[rows] + state.kind.agency.letters[0] <= day
    )
    court = np.flatnonzero(claims.outside[rows] == COURT)
    service, served = _service(state, rows[court])
    heard[court] = served & (service <= day)
    return heard


def watch(state: State) -> tuple[IntArray, IntArray]:
    """Note what is open of the claims outside before money is booked: rows and cents."""
    rows = _outside(state)
    return rows, state.claims.open[rows].copy()


def earn(state: State, before: tuple[IntArray, IntArray]) -> None:
    """Give the agency its share of what has come in, and take back costs that are reimbursed.

    What comes in before the customer has heard of agency or court is not their doing.
    """
    claims = state.claims
    rows, cents = before
    paid = cents - claims.open[rows]
    rows, paid = rows[paid > 0], paid[paid > 0]
    heard = _heard(state, rows)
    rows, paid = rows[heard], paid[heard]
    if not len(rows):
        return
    ours = claims.outside[rows] == AGENCY
    owner, place = np.unique(claims.account[rows[ours]], return_inverse=True)
    total = np.bincount(place, weights=paid[ours], minlength=len(owner))
    fee = np.rint(state.kind.agency.fee * total).astype(np.int64)
    state.record.fee("agency_fee", owner, state.day, fee)
    done = np.unique(claims.account[rows[~ours & (claims.open[rows] == 0)]])
    done = done[~state.flag(_owing(state))[done]]
    luck = state.noise.uniform(Purpose.COURT, done, 0, 5) < state.kind.court.repaid
    state.record.fee("court_fee", done[luck], state.day, -state.court_costs[done[luck]])
    state.court_costs[done] = 0


def _owing(state: State) -> IntArray:
    """Rows of claims in court with something open."""
    claims = state.claims
    rows = claims.active[claims.outside[claims.active] == COURT]
    return rows[claims.open[rows] > 0]
