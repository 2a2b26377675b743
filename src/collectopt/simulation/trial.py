"""Randomised trials inside a world, with both potential outcomes of every account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectopt.simulation import world
from collectopt.simulation.ladder import Plan
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
    size = len(account)
    if arm is not None:
        wait = np.ones(size)
        plan = Plan(
            account=account,
            channel=np.full(size, arm.channel),
            tone=np.full(size, arm.tone),
            offer=np.full(size, arm.offer),
            day=np.full(size, arm.day),
            hour=np.full(size, arm.hour),
            propensity=wait,
            parts=np.ones((size, 5)),
        )
        world.enter(twin, plan, policy=0)
    for offset in range(days):
        if offset:
            world.begin_day(twin)
        world.end_day(twin)
    world.begin_day(twin)
    rest = np.zeros(len(twin.people), dtype=np.int64)
    np.add.at(rest, twin.claims.account[owed], twin.claims.open[owed])
    return (rest[account] == 0).astype(np.float64)


def trial(state: State, arm: Arm, days: int) -> Effect:
    """Give everybody who may get it one contact, and nobody, and compare account by account."""
    seen = world.sight(state)
    account = seen.account[seen.channels[:, arm.channel]]
    without = settled(state, None, account, days)
    change = settled(state, arm, account, days) - without
    n = len(account)
    stderr = float(change.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    mean = float(change.mean()) if n else float("nan")
    return Effect(float(without.mean()) if n else float("nan"), mean, stderr, n)
