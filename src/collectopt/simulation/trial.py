"""Randomised trials inside a world, with both potential outcomes of every account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectopt.simulation import courtesy, world
from collectopt.simulation.ladder import AGENCY, Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.state import State


@dataclass(frozen=True)
class Effect:
    """What one contact changes, in probability.

    Attributes
    ----------
    baseline : float
        Share of accounts that settle everything past due in time without the contact.
    mean : float
        Share with the contact minus share without.
    stderr : float
        Standard error of `mean`, from the differences of the same accounts.
    n : int
        Accounts in the trial.
    """

    baseline: float
    mean: float
    stderr: float
    n: int

    def __str__(self) -> str:
        return (
            f"{100 * self.mean:+.2f} points (s.e. {100 * self.stderr:.2f}) "
            f"on {100 * self.baseline:.1f} %, n = {self.n}"
        )


@dataclass(frozen=True)
class Arm:
    """One contact to be given to everybody; codes of channel, tone and offer."""

    channel: int
    tone: int
    offer: int
    day: int
    hour: float


def settled(state: State, arm: Arm | None, account: IntArray, days: int) -> FloatArray:
    """Whether each account settles what is past due within some days of the decision.

    Parameters
    ----------
    state : State
        A world at the moment of a decision; it is not changed.
    arm : Arm or None
        The contact that the accounts get, None = none; nobody gets another one.
    account : (m,) int64
    days : int
        Length of the trial.
    """
    twin = state.fork()
    owed = twin.overdue_claims()
    _tell(twin, arm, account)
    for offset in range(days):
        if offset:
            world.begin_day(twin)
        world.end_day(twin)
    world.begin_day(twin)
    rest = np.zeros(len(twin.people), dtype=np.int64)
    np.add.at(rest, twin.claims.account[owed], twin.claims.open[owed])
    return (rest[account] == 0).astype(np.float64)


def on_time(state: State, arm: Arm | None, account: IntArray, days: int) -> FloatArray:
    """Whether each account pays by the end of the due date all that falls due within some days.

    Parameters
    ----------
    state, arm, account
        As for `settled`.
    days : int
        What falls due today or up to so many days later counts.
    """
    twin = state.fork()
    owed = courtesy.coming(twin, days)
    twin.pre_due_days = max(days, twin.pre_due_days)
    _tell(twin, arm, account)
    kept = np.ones(len(twin.people))
    for offset in range(days + 1):
        if offset:
            world.begin_day(twin)
        today = owed[twin.claims.due[owed] == twin.day]
        world.end_day(twin)
        kept[twin.claims.account[today[twin.claims.open[today] > 0]]] = 0.0
    result: FloatArray = kept[account]
    return result


def _tell(twin: State, arm: Arm | None, account: IntArray) -> None:
    """Decide for the arm, for everybody."""
    if arm is None:
        return
    size = len(account)
    plan = Plan(
        account=account,
        channel=np.full(size, arm.channel),
        tone=np.full(size, arm.tone),
        offer=np.full(size, arm.offer),
        day=np.full(size, arm.day),
        hour=np.full(size, arm.hour),
        propensity=np.ones(size),
        parts=np.ones((size, 5)),
    )
    world.enter(twin, plan, policy=0)


def trial(state: State, arm: Arm, days: int) -> Effect:
    """Give everybody who may get it one contact, and nobody, and compare account by account.

    An arm may also be an agency or a court (`ladder.AGENCY`, `ladder.COURT`).
    """
    seen = world.sight(state)
    account = seen.account
    if arm.channel < AGENCY:
        account = account[seen.channels[:, arm.channel]]
    without = settled(state, None, account, days)
    return _compare(without, settled(state, arm, account, days))


def early_trial(state: State, arm: Arm, days: int) -> Effect:
    """Try a contact before the due date: the share that pays on time, with it and without.

    Parameters
    ----------
    state : State
        A world at the moment of a decision; it is not changed. Whether its catalogue permits
        contacts before the due date does not matter.
    arm : Arm
        The contact.
    days : int
        Accounts with something that falls due within so many days, and nothing past due.
    """
    account = np.unique(state.claims.account[courtesy.coming(state, days)])
    account = account[state.permitted[account, arm.channel]]
    without = on_time(state, None, account, days)
    return _compare(without, on_time(state, arm, account, days))


def _compare(without: FloatArray, told: FloatArray) -> Effect:
    change, n = told - without, len(without)
    stderr = float(change.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    mean = float(change.mean()) if n else float("nan")
    return Effect(float(without.mean()) if n else float("nan"), mean, stderr, n)
