"""The meter against sums made by hand from the ledgers and the state."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from collectopt.simulation import Book, world
from collectopt.simulation.capacities import Terms
from collectopt.simulation.ladder import Plan, Sight, decide, slot_weights
from collectopt.simulation.meter import FIGURES, SEVERITY, Meter, Outcome
from collectopt.simulation.run import live_on, play
from collectopt.simulation.state import State

WEEKS = 16


def _plan(state: State) -> Plan:
    holidays = tuple(state.calendar.is_holiday(state.day + d) for d in range(7))
    sight: Sight = world.sight(state)
    return decide(sight, state.noise, state.day // 7, slot_weights(holidays))


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=500, seed=5, weeks=30)


@pytest.fixture(scope="module")
def lived(book: Book) -> tuple[State, State, Outcome, list[np.ndarray], list[np.ndarray]]:
    """A run under the ladder of the log; open amounts and credits by day, written down apart."""
    start = book._end
    state = start.fork()
    meter = Meter(state, Terms.of(book.catalogue), WEEKS)
    opened: list[np.ndarray] = []
    credited: list[np.ndarray] = []

    def look(now: State) -> None:
        meter.observe(now)
        opened.append(now.claims.open[: now.claims.size].copy())
        credited.append(now.claims.credited[: now.claims.size].copy())

    for _ in range(WEEKS):
        play(state, _plan(state), 1, look)
    return start, state, meter.read(state), opened, credited


Lived = tuple[State, State, Outcome, list[np.ndarray], list[np.ndarray]]


def test_every_figure_is_there_once_and_finite(lived: Lived) -> None:
    outcome = lived[2]
    assert list(outcome.figures) == [figure.name for figure in FIGURES]
    assert np.isfinite(list(outcome.figures.values())).all()
    assert {figure.unit for figure in FIGURES} == {"share", "EUR", "days", "count", "index"}


def test_recovery_within_days_of_due(lived: Lived) -> None:
    start, state, outcome, opened, credited = lived
    claims, days = state.claims, 7 * WEEKS
    for horizon in (30, 60, 90):
        paid = amount = 0
        for row in range(claims.size):
            due = int(claims.due[row]) - start.day
            if due >= 0 and due + horizon < days:
                net = int(claims.cents[row] - credited[due + horizon][row])
                amount += net
                paid += net - int(opened[due + horizon][row])
        assert amount > 0
        assert outcome.figures[f"recovery_{horizon}"] == pytest.approx(paid / amount)


def test_the_curve_rises_and_ends_at_its_last_horizon(lived: Lived) -> None:
    outcome = lived[2]
    assert len(outcome.curve) == 7 * WEEKS // 2 + 1
    assert np.diff(outcome.curve).min() > -0.02  # a returned payment may take some back
    assert outcome.curve[0] > 0.4
    assert outcome.curve[-1] < 1


def test_cash_is_that_of_the_ledger(book: Book, lived: Lived) -> None:
    _, state, outcome, _, _ = lived
    ledger = book._see(state)
    since = ledger.payments.filter(pc.greater_equal(ledger.payments["paid_at"], book.as_of))
    by_hand = float(pc.sum(since["amount"]).as_py())
    assert outcome.figures["collected"] == pytest.approx(by_hand)
    assert outcome.cash.sum() == pytest.approx(by_hand)
    first = pc.less(since["paid_at"], book.as_of + dt.timedelta(days=7, hours=-6))
    assert outcome.cash[0] == pytest.approx(float(pc.sum(since.filter(first)["amount"]).as_py()))


def test_nothing_is_paid_twice(lived: Lived) -> None:
    start, state, outcome, _, _ = lived
    claims = state.claims
    base = claims.cents[: claims.size].copy()
    base[: start.claims.size] = start.claims.open[: start.claims.size]
    before = np.zeros_like(base)
    before[: start.claims.size] = start.claims.credited[: start.claims.size]
    credited = claims.credited[: claims.size] - before
    paid = base - claims.open[: claims.size] - credited
    # Money beyond all claims of an account stays with it and pays nothing.
    assert paid.sum() / 100 <= outcome.figures["collected"]
    assert paid.sum() / 100 == pytest.approx(outcome.figures["collected"], rel=0.02)
    due = claims.due[: claims.size] < state.day
    share = paid[due].sum() / (base - credited)[due].sum()
    assert outcome.figures["recovered"] == pytest.approx(share)


def test_discounted_cash_charges_sales_at_their_amount(book: Book, lived: Lived) -> None:
    start, state, outcome, opened, credited = lived
    claims, old = state.claims, start.claims.size
    value = 0.0
    for row in range(claims.size):
        due = int(claims.due[row])
        if row >= old and due >= state.day:
            continue
        rest = int(start.claims.open[row]) if row < old else int(claims.cents[row])
        begun = int(start.claims.credited[row]) if row < old else 0
        for day in range(7 * WEEKS):
            if row >= len(opened[day]):
                continue
            now = int(opened[day][row]) + int(credited[day][row]) - begun
            value += (rest - now) * 1.08 ** (-day / 365)
            rest = now
        final = int(claims.open[row]) + int(claims.credited[row]) - begun
        value += (rest - final) * 1.08 ** (-7 * WEEKS / 365)
        if row >= old:
            sold = int(claims.cents[row] - claims.credited[row])
            value -= sold * 1.08 ** (-(due - start.day) / 365)
    assert book.catalogue.discount_rate == 0.08
    assert outcome.figures["discounted"] == pytest.approx(value / 100)


def test_cash_that_comes_in_after_the_run_counts_for_its_claims(book: Book, lived: Lived) -> None:
    start, end, outcome, _, _ = lived
    state = start.fork()
    meter = Meter(state, Terms.of(book.catalogue), WEEKS)
    for _ in range(WEEKS):
        play(state, _plan(state), 1, meter.observe)
    longer = meter.read(state, live_on(state, 13))
    assert {name for name in longer.figures if longer.figures[name] != outcome.figures[name]} == {
        "discounted",
        "net_value",
    }
    size, old = end.claims.size, start.claims.size
    due = end.claims.due[:size]
    counts = (np.arange(size) < old) | (due < end.day)
    rest, credited = end.claims.open[:size].copy(), end.claims.credited[:size].copy()
    value = 0.0
    for week, world_then in enumerate(live_on(end.fork(), 13), start=1):
        now, notes = world_then.claims.open[:size], world_then.claims.credited[:size]
        paid = ((rest - now) - (notes - credited))[counts].sum()
        value += paid * 1.08 ** (-7 * (WEEKS + week) / 365)
        sold = counts & (np.arange(size) >= old)
        value += ((notes - credited) * 1.08 ** (-(due - start.day) / 365))[sold].sum()
        rest, credited = now.copy(), notes.copy()
    assert value > 0
    gained = longer.figures["discounted"] - outcome.figures["discounted"]
    assert gained == pytest.approx(value / 100)


def test_the_expected_loss_is_what_is_lost_on_average(book: Book) -> None:
    state = book._end.fork()
    everybody = np.arange(book.accounts)
    chance = np.random.default_rng(0).uniform(0.0, 0.3, book.accounts)
    stays, worth = state.left > state.day, state.people.lifetime_value
    assert 0 < (~stays).sum() < book.accounts
    lost = []
    for seed in range(200):
        twin = state.fork()
        luck = np.random.default_rng(seed + 1).random(book.accounts)
        twin.drive_away(everybody, chance, luck)
        lost.append(worth[twin.driven & ~state.driven].sum())
        expected = twin.expected_loss - state.expected_loss
    assert expected == pytest.approx((chance * worth)[stays].sum())
    assert abs(np.mean(lost) - expected) < 4 * np.std(lost) / np.sqrt(len(lost))


def test_dso_is_mean_receivables_by_sales(lived: Lived) -> None:
    start, state, outcome, opened, _ = lived
    claims = state.claims
    written_off = np.full(claims.size, 10**6)
    holds = state.record
    kind = holds.ints("holds", "kind")
    number = {
        (a, n): row
        for row, (a, n) in enumerate(
            zip(claims.account[: claims.size], claims.number[: claims.size], strict=True)
        )
    }
    for place in np.flatnonzero(kind == 4):  # written off
        key = (holds.ints("holds", "account")[place], holds.ints("holds", "invoice")[place])
        written_off[number[key]] = holds.ints("holds", "day")[place]
    total = 0.0
    for day, cents in enumerate(opened):
        today, n = start.day + day, len(cents)
        counts = (claims.issued[:n] <= today) & (written_off[:n] > today)
        total += cents[counts].sum() / 100
    sales = outcome.figures["sales"]
    assert outcome.figures["dso"] == pytest.approx(total / len(opened) / sales * 7 * WEEKS)
    lost = (written_off >= start.day) & (written_off < state.day)
    expected = claims.open[: claims.size][lost].sum() / 100
    assert outcome.figures["written_off"] == pytest.approx(expected)


def test_effort_and_harm(book: Book, lived: Lived) -> None:
    start, state, outcome, _, _ = lived
    ledger = book._see(state)
    contacts = ledger.contacts.to_pandas()
    mine = contacts[(contacts.policy == "policy") & (contacts.channel != "none")]
    figures = outcome.figures
    assert figures["cost"] == pytest.approx(mine.cost.sum())
    sent = mine[mine.cost > 0]
    assert figures["contacts"] == len(sent) > 20
    assert figures["not_sent"] == len(mine) - len(sent)
    names = ["email", "sms", "letter", "phone"]
    assert outcome.actions.sum(axis=0)[:4].tolist() == [(sent.channel == n).sum() for n in names]
    rank = sent.tone.map({"friendly": 1, "neutral": 2, "firm": 3}) / 3
    weight = sent.channel.map(dict(zip(names, SEVERITY[:4], strict=True)))
    severity = float((rank * weight).sum())
    assert severity / 500 < figures["harshness"] < severity / 50
    responses = ledger.responses.to_pandas()
    new = responses[responses["at"] >= pd.Timestamp(book.as_of)]
    assert figures["opt_outs"] == (new.kind == "opted_out").sum()
    gone = (state.left >= start.day) & (state.left <= state.day)
    assert figures["left"] == gone.sum() > 0
    assert figures["churned_value"] == pytest.approx(state.expected_loss - start.expected_loss)


def test_a_meter_changes_nothing(book: Book, lived: Lived) -> None:
    state = book._end.fork()
    for _ in range(WEEKS):
        play(state, _plan(state), 1)
    seen, blind = book._see(lived[1]), book._see(state)
    assert seen.fingerprint == blind.fingerprint
