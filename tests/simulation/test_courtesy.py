"""Reminders before the due date: when they may go out, and what they change."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.simulation import Book, courtesy, world
from collectopt.simulation.kinds import SMS
from collectopt.simulation.ladder import AGENCY, COURT
from collectopt.simulation.noise import IntArray
from collectopt.simulation.population import DIRECT_DEBIT
from collectopt.simulation.state import State
from collectopt.simulation.trial import Arm, early_trial, on_time, trial

from .test_handover import live, plan

TEXT = Arm(SMS, 0, 0, 0, 10.0)


@pytest.fixture(scope="module")
def start() -> State:
    return Book("shop", accounts=12_000, seed=9, weeks=14)._end


def waiting(state: State, days: int) -> IntArray:
    account: IntArray = np.unique(state.claims.account[courtesy.coming(state, days)])
    return account[state.permitted[account, SMS]]


def texted(state: State, account: IntArray, days: int) -> State:
    twin = state.fork()
    twin.pre_due_days = days
    letters = plan(account, SMS)
    for name in ("tone", "offer"):
        getattr(letters, name)[:] = 0
    letters.hour[:] = 10.0
    world.enter(twin, letters, policy=0)
    return live(twin, 1)


def test_nothing_goes_out_before_the_due_date_unless_it_may(start: State) -> None:
    near, all_of = waiting(start, 3), waiting(start, 10)
    before = len(start.record.ints("cancelled", "contact"))
    for days, sent in ((0, 0), (3, len(near)), (10, len(all_of))):
        twin = texted(start, all_of, days)
        dropped = len(twin.record.ints("cancelled", "contact")) - before
        assert len(all_of) - dropped == sent
    assert 0 < len(near) < len(all_of)


def test_a_reminder_brings_forgotten_invoices_back(start: State) -> None:
    account = waiting(start, 7)
    rows = courtesy.coming(start, 7)
    rows = rows[np.isin(start.claims.account[rows], account)]
    lost = start.claims.forgotten[rows]
    now = texted(start, account, 7).claims.forgotten[rows]
    assert 0.05 < (lost & ~now).sum() / lost.sum() < 0.8
    assert not (now & ~lost).any()


def test_more_pay_on_time_by_as_much_as_in_the_trials(start: State) -> None:
    effect = early_trial(start, TEXT, 7)
    relative, noise = effect.mean / effect.baseline, effect.stderr / effect.baseline
    assert effect.mean > 3 * effect.stderr
    assert 0.07 - 2 * noise < relative < 0.09 + 2 * noise  # Cadena and Schoar 2011: 7 to 9 %


def test_who_pays_on_time_anyway_does_so_without_it(start: State) -> None:
    account = waiting(start, 5)
    without, told = on_time(start, None, account, 5), on_time(start, TEXT, account, 5)
    assert (told >= without).all()
    placebo = Book("placebo", accounts=1500, seed=9, weeks=14)._end
    assert early_trial(placebo, TEXT, 7).mean == 0.0


def test_debits_and_late_accounts_are_left_alone(start: State) -> None:
    account = np.unique(start.claims.account[courtesy.coming(start, 7)])
    assert not start.flag(start.overdue_claims())[account].any()
    rows = courtesy.coming(start, 7)
    waits = start.people.method[start.claims.account[rows]] == DIRECT_DEBIT
    assert start.claims.debit_tried[rows[waits]].all()


def test_agency_and_court_can_be_tried(start: State) -> None:
    for channel in (AGENCY, COURT):
        effect = trial(start, Arm(channel, 0, 0, 0, 10.0), 84)
        assert effect.mean > 3 * effect.stderr
