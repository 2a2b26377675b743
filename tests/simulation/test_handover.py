"""Agency, court and giving up, lived in the world: money, delays, ends, luck."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.schema import Ledger
from collectopt.simulation import Book, export, history, world
from collectopt.simulation.claims import NEVER
from collectopt.simulation.external import court_fee
from collectopt.simulation.handover import BY_AGENCY, BY_COURT
from collectopt.simulation.kinds import kind_of
from collectopt.simulation.ladder import AGENCY, COURT, STOP, WAIT, Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.record import FEES, HOLDS, MILESTONES, NOTHING, RESPONSES
from collectopt.simulation.state import State

SHOP = kind_of("shop")
CONTACTS = np.array([0.05, 0.09, 1.2, 4.5, 0.0])


def plan(account: IntArray, channel: int | IntArray) -> Plan:
    n = len(account)
    none, one = np.full(n, WAIT), np.ones(n)
    codes = np.broadcast_to(np.asarray(channel), (n,))
    hour = np.full(n, np.nan)
    return Plan(account, codes, none, none, np.zeros(n, np.int64), hour, one, np.ones((n, 5)))


def owing(state: State, low: int = 1, high: int = 10**6) -> IntArray:
    """Accounts that may be handed over, by the age of what they owe."""
    rows = state.overdue_claims()
    age = state.day - state.claims.due[rows]
    rows = rows[(age >= low) & (age < high)]
    account: IntArray = np.unique(state.claims.account[rows])
    return account[~state.bound[account]]


def live(state: State, days: int) -> State:
    for _ in range(days):
        world.end_day(state)
        world.begin_day(state)
    return state


def handed(start: State, channel: int, account: IntArray, days: int) -> State:
    state = start.fork()
    world.enter(state, plan(account, channel), policy=0)
    return live(state, days)


def ledger_of(state: State) -> Ledger:
    tables = export.tables(state, CONTACTS, ("log",))
    return Ledger.from_frames(**tables, timezone=state.calendar.timezone)


def rows_of(state: State, account: IntArray) -> IntArray:
    """Claims of the accounts that were free and past due."""
    rows = state.overdue_claims()
    return rows[np.isin(state.claims.account[rows], account)]


@pytest.fixture(scope="module")
def start() -> State:
    return Book("shop", accounts=2500, seed=5, weeks=40)._end


@pytest.fixture(scope="module")
def late(start: State) -> IntArray:
    return owing(start)


@pytest.fixture(scope="module")
def lives(start: State, late: IntArray) -> dict[tuple[int, int], State]:
    """The world after some days with nobody, everybody late at the agency, and in court."""
    found = {}
    for channel in (WAIT, AGENCY, COURT):
        state = start.fork()
        world.enter(state, plan(late, channel), policy=0)
        for day in range(1, 331):
            live(state, 1)
            if day in {60, 130, 220, 330}:
                found[channel, day] = state.fork()
    return found


@pytest.fixture(scope="module")
def agency(lives: dict[tuple[int, int], State]) -> State:
    return lives[AGENCY, 220]


@pytest.fixture(scope="module")
def court(lives: dict[tuple[int, int], State]) -> State:
    return lives[COURT, 220]


def balance(state: State) -> None:
    """Check cent by cent: invoiced = paid + credited + open, and nothing below zero."""
    claims, record = state.claims, state.record
    assert (claims.open[: claims.size] >= 0).all()
    assert (claims.open[: claims.size] <= claims.cents[: claims.size]).all()
    invoiced = record.ints("invoices", "cents")
    paid = record.ints("payments", "cents").sum()
    assert invoiced.sum() - paid == claims.open[: claims.size].sum()
    ledger = ledger_of(state)
    assert len(ledger.invoices) == len(invoiced)


def test_accounts_balance_through_agency_and_court(agency: State, court: State) -> None:
    balance(agency)
    balance(court)


@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    steps=st.lists(st.sampled_from([WAIT, AGENCY, COURT, STOP]), min_size=1, max_size=6),
)
def test_accounts_balance_whatever_is_decided(seed: int, steps: Sequence[int]) -> None:
    book = Book("shop", accounts=60, seed=seed, weeks=14)
    state = book._end.fork()
    rng = np.random.default_rng(seed)
    for step in steps:
        everybody = np.arange(60)
        codes = np.where(rng.random(60) < 0.5, step, WAIT)
        world.enter(state, plan(everybody, codes), policy=0)
        live(state, 21)
    balance(state)


def test_the_ledger_sees_the_same_open_amounts(agency: State, court: State) -> None:
    for state in (agency, court):
        timeline = ledger_of(state).timeline
        claims = state.claims
        account, number = claims.account[: claims.size], claims.number[: claims.size]
        wanted = {
            f"R{a * 1000 + n + 1:09d}": o
            for a, n, o in zip(
                account.tolist(), number.tolist(), claims.open[: claims.size].tolist(), strict=True
            )
        }
        invoices = ledger_of(state).invoices["invoice_id"].to_pylist()
        rest = dict(zip(timeline.claims["invoice_id"].to_pylist(),
                        timeline.claims["cents"].to_pylist(), strict=True))  # fmt: skip
        for row, cents in zip(timeline.settlements["invoice"].to_pylist(),
                              timeline.settlements["cents"].to_pylist(), strict=True):  # fmt: skip
            rest[invoices[row]] -= cents
        assert rest == wanted


def test_agency_money_comes_after_the_hand_over(
    start: State, late: IntArray, agency: State
) -> None:
    record = agency.record
    by = record.ints("payments", "method")
    assert (by == BY_AGENCY).sum() > 50
    assert not (by == BY_COURT).any()
    heard = start.day + SHOP.agency.letters[0]
    assert (record.ints("payments", "day")[by == BY_AGENCY] >= heard).all()
    assert np.isin(record.ints("payments", "account")[by == BY_AGENCY], late).all()


def test_the_agency_earns_its_share_and_nothing_else(start: State, agency: State) -> None:
    record = agency.record
    kind, cents = record.ints("fees", "kind"), record.ints("fees", "cents")
    share = cents[kind == FEES.index("agency_fee")]
    assert (share > 0).all()
    paid = record.ints("payments", "cents")[record.ints("payments", "method") == BY_AGENCY]
    # Money without a reference that reaches an old claim earns a share too.
    assert share.sum() == pytest.approx(SHOP.agency.fee * paid.sum(), rel=0.03)
    assert not (kind == FEES.index("court_fee")).any()
    days = record.ints("fees", "day")[kind == FEES.index("agency_fee")]
    assert days.max() < start.day + SHOP.agency.recall_days


def test_nothing_is_earned_where_nothing_is_paid(start: State, late: IntArray) -> None:
    state = start.fork()
    world.enter(state, plan(late, AGENCY), policy=0)
    state.insolvent[:] = True
    live(state, 60)
    assert not (state.record.ints("fees", "kind") == FEES.index("agency_fee")).any()


def test_what_the_agency_does_not_collect_is_written_off(
    start: State, late: IntArray, agency: State
) -> None:
    rows = rows_of(start, late)
    left = rows[agency.claims.open[rows] > 0]
    assert len(left) > 50
    contested = agency.claims.disputed[left]
    assert agency.claims.written_off[left[~contested]].all()
    record = agency.record
    back = record.ints("milestones", "day")
    assert (back >= start.day + SHOP.agency.recall_days).all()
    holds = record.ints("holds", "kind") == HOLDS.index("do_not_contact")
    later = record.ints("holds", "day")[holds] >= start.day + SHOP.agency.recall_days
    assert later.sum() >= len(left[~contested])


def test_what_is_written_off_stays_so(start: State, late: IntArray) -> None:
    rows = rows_of(start, late)
    state = handed(start, STOP, late, 0)
    assert state.claims.written_off[rows].all()
    assert not np.isin(rows, state.overdue_claims()).any()
    world.enter(state, plan(late, AGENCY), policy=0)  # nothing is left to hand over
    assert (state.claims.outside[rows] == 0).all()
    live(state, 60)
    assert state.claims.written_off[rows].all()
    assert len(state.record.ints("fees", "cents")) == 0


def test_nobody_is_contacted_about_what_is_handed_over(start: State) -> None:
    late = owing(start, 60)
    state = start.fork()
    world.enter(state, plan(late, AGENCY), policy=0)
    mark = state.record.contacts
    letters = plan(late, 2)
    tone = np.zeros(len(late), dtype=np.int64)
    letters = Plan(late, letters.channel, tone, tone, tone, tone + 10.0, letters.propensity,
                   letters.parts)  # fmt: skip
    free = state.flag(state.overdue_claims())[late]
    world.enter(state, letters, policy=0)
    live(state, 7)
    lost = state.record.ints("cancelled", "contact") - mark
    assert (~free).sum() > 20
    assert np.isin(np.flatnonzero(~free), lost).all()
    assert not np.isin(world.sight(handed(start, AGENCY, late, 0)).account, late[~free]).any()


def test_the_court_keeps_its_times(start: State, late: IntArray, court: State) -> None:
    record, of = court.record, SHOP.court
    day = record.ints("milestones", "day") - start.day
    kind = record.ints("milestones", "kind")

    def days(name: str) -> IntArray:
        return day[kind == MILESTONES.index(name)]

    first, last = of.service_days
    assert days("served").min() == first
    assert days("served").max() == last
    objected = days("objected")
    assert len(objected) > 3
    assert objected.min() > first
    assert objected.max() <= last + of.objection_days
    assert days("title").min() >= first + of.objection_days + of.title_days
    assert days("bailiff").min() >= days("title").min() + of.bailiff_days
    method = record.ints("payments", "method")
    assert (method == BY_COURT).sum() > 50
    paid = record.ints("payments", "day")[method == BY_COURT]
    assert paid.min() >= start.day + first  # nobody pays the court before he hears of it


def test_the_court_is_paid_at_once_and_repaid_by_some(
    start: State, late: IntArray, court: State
) -> None:
    record = court.record
    kind = record.ints("fees", "kind")
    cents, day = record.ints("fees", "cents"), record.ints("fees", "day")
    fee = (kind == FEES.index("court_fee")) & (cents > 0)
    assert (day[fee] == start.day).all()
    assert (cents[fee] >= 3800).all()
    assert fee.sum() == len(late)
    back = (kind == FEES.index("court_fee")) & (cents < 0)
    assert back.sum() > 20
    assert -cents[back].sum() < cents[~back].sum()
    owner = record.ints("fees", "account")[back]
    rows = rows_of(start, late)
    assert (court.claims.open[rows[np.isin(court.claims.account[rows], owner)]] == 0).all()


def test_instalments_with_the_bailiff_bring_money(
    start: State, lives: dict[tuple[int, int], State]
) -> None:
    state = lives[COURT, 330]
    kinds = state.record.ints("responses", "kind")
    day = state.record.ints("responses", "day")
    agreed = (kinds == RESPONSES.index("plan_accepted")) & (day > start.day + 80)
    agreed &= state.record.ints("responses", "contact") == NOTHING
    owner = np.unique(state.record.ints("responses", "account")[agreed])
    assert len(owner) > 10
    by_court = state.record.ints("payments", "method") == BY_COURT
    after = state.record.ints("payments", "day") > start.day + 110
    payers = state.record.ints("payments", "account")[by_court & after]
    assert np.isin(owner, payers).mean() > 0.5
    balance(state)


def test_in_the_end_a_file_is_put_to_rest() -> None:
    start = Book("shop", accounts=300, seed=6, weeks=26)._end
    account = owing(start, 20)
    rows = rows_of(start, account)
    state = handed(start, COURT, account, SHOP.court.rest_days + 1)
    rest = rows[state.claims.open[rows] > 0]
    busy = (state.claims.plan_left[rest] > 0) | state.claims.disputed[rest]
    assert len(rest) > 5
    assert state.claims.written_off[rest[~busy]].all()


def test_half_a_court_fee() -> None:
    cents = np.array([100, 50_000, 50_001, 100_000, 100_001, 1_000_000, 1_300_000, 5_000_000])
    found = court_fee(cents, dt.date(2025, 6, 1)) / 100.0
    assert found.tolist() == [38, 38, 38, 38, 41, 141.5, 156.75, 319]
    before = court_fee(cents, dt.date(2025, 5, 31)) / 100.0
    assert before.tolist() == [36, 36, 36, 36, 39, 133, 147.5, 300.5]


def test_the_same_seed_gives_the_same_world_and_others_keep_their_luck(
    start: State, late: IntArray, lives: dict[tuple[int, int], State]
) -> None:
    some = late[::2]
    a, b = handed(start, AGENCY, some, 60), handed(start, AGENCY, some, 60)
    idle = lives[WAIT, 60]
    for name in ("account", "day", "cents", "method"):
        assert (a.record.ints("payments", name) == b.record.ints("payments", name)).all()
    other = ~np.isin(np.arange(len(start.people)), some)
    for state in (handed(start, COURT, some, 60), a):
        for table in ("payments", "responses", "invoices"):
            for name in ("account", "day", "cents"):
                mine = other[state.record.ints(table, "account")]
                theirs = other[idle.record.ints(table, "account")]
                found = state.record.ints(table, name)[mine]
                assert (found == idle.record.ints(table, name)[theirs]).all()


@pytest.mark.parametrize("channel", [AGENCY, COURT])
def test_what_agency_and_court_add_is_positive_and_wears_off(
    start: State, late: IntArray, lives: dict[tuple[int, int], State], channel: int
) -> None:
    rows = rows_of(start, late)

    def cured(state: State) -> FloatArray:
        rest = np.zeros(len(start.people))
        np.add.at(rest, state.claims.account[rows], state.claims.open[rows])
        result: FloatArray = (rest[late] == 0).astype(np.float64)
        return result

    change = {day: cured(lives[channel, day]) - cured(lives[WAIT, day]) for day in (60, 130, 330)}
    root = np.sqrt(len(late))
    for gain in change.values():
        assert gain.mean() > 4 * gain.std(ddof=1) / root
    top = change[130]
    assert top.mean() < 0.30
    # What is added comes early, and part of it would have come anyway, only later.
    late_gain = change[330] - top
    assert late_gain.mean() < 0.25 * top.mean() + 2 * late_gain.std(ddof=1) / root
    early = change[60] > 0
    assert 0.1 < cured(lives[WAIT, 330])[early].mean() < 0.9


def test_in_a_placebo_they_cost_money_and_change_nothing() -> None:
    start = Book("placebo", accounts=600, seed=4, weeks=22)._end
    late = owing(start)

    def told(state: State, table: str) -> list[tuple[int, int, int]]:
        """Sums by account and day: an agency remits one sum claim by claim."""
        account, day, cents = (
            state.record.ints(table, name) for name in ("account", "day", "cents")
        )
        sums: dict[tuple[int, int], int] = {}
        for key, amount in zip(zip(account.tolist(), day.tolist(), strict=True), cents.tolist(),
                               strict=True):  # fmt: skip
            sums[key] = sums.get(key, 0) + amount
        return sorted((*key, amount) for key, amount in sums.items())

    idle = handed(start, WAIT, late, 230)
    for channel in (AGENCY, COURT, STOP):
        state = handed(start, channel, late, 230)
        for table in ("payments", "responses", "invoices"):
            assert told(state, table) == told(idle, table)
        assert (state.left == idle.left).all()
        size = state.claims.size
        assert (state.claims.open[:size] == idle.claims.open[:size]).all()
        cost = state.record.ints("fees", "cents").sum()
        assert cost == 0 if channel == STOP else cost > 0


def test_hand_overs_anger_some(late: IntArray, lives: dict[tuple[int, int], State]) -> None:
    for channel in (AGENCY, COURT):
        gone = (lives[channel, 60].left < NEVER)[late]
        idle = (lives[WAIT, 60].left < NEVER)[late]
        share = gone.mean() - idle.mean()
        assert 0.005 < share < 0.08


def test_timelines_say_it_in_plain_words(start: State, agency: State, court: State) -> None:
    found = ""
    for state in (agency, court, handed(start, STOP, owing(start), 1)):
        tables = {
            **export.tables(state, CONTACTS, ("log",)),
            "fees": export.fees(state),
            "milestones": export.milestones(state),
        }
        for name in export.account_ids(len(state.people))[owing(start)[:60]]:
            found += history.timeline(tables, name, "Europe/Berlin", str(name))
    for words in (
        "-> handed over to the agency",
        "with the agency: R",
        "share of the agency",
        "back from the agency, unpaid: R",
        "-> applied for a court order",
        "court fee: 38.00 EUR",
        "court order served",
        "there is a title",
        "costs paid back by the customer",
        "-> gave up",
        "written off: R",
    ):
        assert words in found, words
    assert "hold do_not_contact" not in found
