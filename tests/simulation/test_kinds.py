"""Worlds made to be hard: no effect, hidden reasons, change, small effects, unknown wordings."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from collectopt.simulation import Book, paying, reacting, world
from collectopt.simulation.kinds import CHANNELS, KINDS, TONES, kind_of
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import Noise
from collectopt.simulation.state import State, draw_wording
from collectopt.simulation.trial import Arm, settled

Floats = npt.NDArray[np.float64]


@cache
def _book(kind: str, accounts: int = 3000) -> Book:
    return Book(kind, accounts=accounts, seed=5)


@cache
def _log(kind: str) -> dict[str, Floats]:
    """Give first decisions on accounts, with four weeks of future, and who paid in them.

    All of them are at the same visible stage, so what the ledger shows explains nothing.
    """
    book = _book(kind)
    state, record = book._end, book._end.record
    day, account = record.ints("contacts", "day"), record.ints("contacts", "account")
    order = np.lexsort((day, account))
    again = (np.diff(account[order], prepend=-1) == 0) & (np.diff(day[order], prepend=-1) < 56)
    take = np.zeros(len(day), dtype=np.bool_)
    take[order] = ~again
    take &= (day + 28 < state.day) & (day >= 56)
    pay_day, payer = record.ints("payments", "day"), record.ints("payments", "account")
    key = np.sort(payer * 10_000 + pay_day)
    moment = account[take] * 10_000 + day[take]
    paid = np.searchsorted(key, moment + 28, side="right") > np.searchsorted(key, moment, "right")
    return {
        "account": account[take].astype(float),
        "contact": (record.ints("contacts", "channel")[take] >= 0).astype(float),
        "chance": record.floats("contacts", "p_contact")[take],
        "paid": paid.astype(float),
    }


def _difference(log: dict[str, Floats], weight: Floats) -> tuple[float, float]:
    """Weighted difference of the share who paid between contacted and waiting, clustered."""
    treated, paid = log["contact"] == 1, log["paid"]
    by, no = weight * treated, weight * ~treated
    yes_mean, no_mean = (by * paid).sum() / by.sum(), (no * paid).sum() / no.sum()
    influence = by * (paid - yes_mean) / by.sum() - no * (paid - no_mean) / no.sum()
    clustered = np.bincount(log["account"].astype(int), weights=influence)
    return float(yes_mean - no_mean), float(np.sqrt((clustered**2).sum()))


def test_regression_on_a_confounded_log_goes_wrong_and_true_propensities_mend_it() -> None:
    log = _log("confounded")
    naive, naive_error = _difference(log, np.ones_like(log["chance"]))
    right, error = _difference(log, 1.0 / log["chance"])
    assert naive < -4 * naive_error  # contacts seem to keep people from paying
    assert right > naive + 3 * error
    assert right > -2 * error  # in truth they do no harm
    # Where the ledger shows all that the staff knew, the naive way is not far off.
    plain, plain_error = _difference(_log("shop"), np.ones_like(_log("shop")["chance"]))
    assert plain > -2 * plain_error
    ledger, truth = _book("confounded").ledger(), _book("confounded").truth
    assert ledger.contacts["propensity"].null_count == ledger.contacts.num_rows
    factors = truth.propensities.to_pandas().drop(columns="contact_id")
    assert factors.prod(axis=1).between(0, 1, inclusive="right").all()
    # The plain log has its propensities.
    assert _book("shop").ledger().contacts["propensity"].null_count == 0


def test_staff_press_those_who_look_bad() -> None:
    book = _book("confounded")
    record, state = book._end.record, book._end
    bad = np.array(state.kind.hunch.types)[state.people.type]  # type: ignore[union-attr]
    owner = record.ints("contacts", "account")
    sent = record.ints("contacts", "channel") >= 0
    firm = record.ints("contacts", "tone")[sent]
    worse = bad[owner] > 0.4
    assert sent[worse].mean() > sent[~worse].mean() + 0.05
    assert firm[worse[sent]].mean() > firm[~worse[sent]].mean() + 0.1


def test_a_placebo_harms_and_helps_nobody_by_any_road() -> None:
    book = _book("placebo")
    silent, loud = book._end.fork(), book._end.fork()
    for week in range(4):
        _write_to_all(loud, tone=2, offer=1)
        for _ in range(7):
            for state in (silent, loud):
                book_day(state)
        assert silent.day == loud.day == book._end.day + 7 * (week + 1)
    for name in ("open", "disputed", "written_off", "plan_left"):
        a, b = (getattr(s.claims, name)[: s.claims.size] for s in (silent, loud))
        assert np.array_equal(a, b), name
    for name in ("left", "ends", "opted_out", "disputing", "insolvent", "promised_until"):
        assert np.array_equal(getattr(silent, name), getattr(loud, name)), name
    assert loud.record.contacts > silent.record.contacts + 500


def book_day(state: State) -> None:
    world.end_day(state)
    world.begin_day(state)


def _write_to_all(state: State, tone: int, offer: int) -> None:
    who = world.sight(state).account
    who = who[state.permitted[who, 0]]
    m = len(who)
    full = np.full
    plan = Plan(
        account=who, channel=full(m, 0), tone=full(m, tone), offer=full(m, offer),
        day=full(m, 0), hour=full(m, 10.0), propensity=np.ones(m), parts=np.ones((m, 5)),
    )  # fmt: skip
    world.enter(state, plan, policy=0)


def test_a_drifting_world_changes_when_it_says() -> None:
    plain, book = _book("shop"), _book("drift")
    drift = kind_of("drift").drift
    assert drift is not None
    days = book.truth.shifts_on
    assert list((days - np.datetime64("2025-09-01")).astype(int) // 7) == list(drift.weeks)
    assert drift.weeks[0] == book.weeks // 2
    assert drift.weeks[1] == book.weeks + 13
    assert len(plain.truth.shifts_on) == 0
    # Up to the first change the two worlds are one.
    for name in ("payments", "contacts"):
        ours = book._end.record.ints(name, "day")
        theirs = plain._end.record.ints(name, "day")
        limit = 7 * drift.weeks[0]
        assert (ours < limit).sum() == (theirs < limit).sum()
        assert len(ours) != len(theirs)
    account = np.arange(500)
    hour, channel = np.full(500, 12.0), np.zeros(500, dtype=np.int64)
    before, after = (s.fork() for s in (plain._end, book._end))
    for code, name in enumerate(CHANNELS):
        chances = [reacting.reach(s, account, channel + code, hour) for s in (before, after)]
        ratio = chances[1].sum() / chances[0].sum()
        assert ratio == pytest.approx(drift.reach[code], rel=0.03), name
    assert drift.reach[0] < 1 < drift.reach[1]
    assert book.truth.tight.mean() > plain.truth.tight.mean()
    rows = after.claims.active[:300]
    slow = paying.intensity(after, rows)
    after.kind = kind_of("shop")
    assert np.allclose(slow, drift.hazard * paying.intensity(after, rows), atol=0.02)


def test_subtle_effects_lie_at_the_lower_end_of_the_evidence() -> None:
    book = Book("subtle", accounts=4000, seed=8, weeks=20)
    tones = [book.effect("email", tone) for tone in TONES]
    mean, stderr = np.mean([(t.mean, t.stderr) for t in tones], axis=0)
    assert 0.005 - 2 * stderr < mean < 0.01 + 2 * stderr
    assert mean > 0
    assert np.ptp([t.mean for t in tones]) < 0.01
    ratio = book.truth.persuasion.mean() / _book("shop").truth.persuasion.mean()
    assert ratio == pytest.approx(kind_of("subtle").effects.scale, rel=0.1)


def test_nobody_knows_in_advance_which_wording_is_best() -> None:
    kind = kind_of("shop")
    quality = np.array([draw_wording(kind, Noise(seed)) for seed in range(500)])
    assert quality.shape == (500, len(CHANNELS), len(TONES))
    assert np.allclose(quality.mean(axis=2), 1.0)
    best = quality.argmax(axis=2)
    for tone in range(len(TONES)):
        wins = (best == tone).mean()
        assert abs(wins - 1 / 3) < 4 * np.sqrt(2 / 9 / best.size)
    # Harm is known: pressing drives people away, whatever the words.
    assert kind.effects.harm_tone[2] > 2 * kind.effects.harm_tone[0]


def test_wordings_differ_as_much_as_trials_find() -> None:
    """Around its channel's reminder, a wording has a standard deviation of about 1.5 points.

    Trials in one world give the effect as a curve of the hidden quality; the qualities of many
    worlds are then read off it.
    """
    state = _book("shop")._end.fork()
    grid = np.array([0.0, 0.4, 1.0, 1.8, 2.8])
    quality = np.array([draw_wording(state.kind, Noise(seed)) for seed in range(1000)])
    spreads, reminders = [], []
    for channel in (0, 2):
        who = np.flatnonzero(world.sight(state).channels[:, channel])
        account = world.sight(state).account[who]
        change = []
        for factor in grid:
            state.wording = np.full((4, 3), factor)
            change.append(settled(state, Arm(channel, 1, 0, 0, 10.0), account, 28))
        curve = 100 * np.mean(np.array(change) - change[0], axis=1)
        assert (np.diff(curve) > 0).all()
        effects = np.interp(quality[:, channel], grid, curve)
        around = effects - effects.mean(axis=1, keepdims=True)
        spreads.append(around.std())
        reminders.append(effects.mean())
        error = 100 * np.std(change[2] - change[0]) / np.sqrt(len(account))
        assert np.abs(around.mean(axis=0)).max() < 4 * spreads[-1] / np.sqrt(len(quality))
        assert 2.0 - 2 * error < reminders[-1] < 4.0 + 2 * error
        # The curve is known with the error of its trials, in proportion to the effect.
        assert abs(spreads[-1] - 1.5) < 0.3 + 2 * error * spreads[-1] / reminders[-1]


def test_every_kind_can_be_asked_for() -> None:
    for name in KINDS:
        assert Book(name, accounts=20, weeks=4).ledger().accounts.num_rows == 20


def test_people_are_reached_best_on_their_own_day_of_the_week() -> None:
    book = _book("shop", 3000)
    state, people = book._end, book._end.people
    everybody = np.arange(book.accounts)
    hour = people.hour
    for channel in range(4):
        channels = np.full(book.accounts, channel)
        week = np.array([reacting.reach(state, everybody, channels, hour, d) for d in range(7)])
        best = (state.calendar.date(state.day).weekday() + week.argmax(axis=0)) % 7
        if channel == 2:  # a letter waits until it is opened
            assert (week == week[0]).all()
            continue
        free = week.max(axis=0) < 0.97
        assert (best[free] == people.weekday[free]).all()
        more = state.kind.effects.best_day
        assert np.allclose(week[:, free].mean(axis=0) * (1 + more), week[:, free].max(axis=0))
    assert set(people.weekday[people.business]) == set(range(5))
    assert set(people.weekday[~people.business]) == set(range(6))
