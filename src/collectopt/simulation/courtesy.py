"""Courtesy reminders: what a contact before the due date changes.

It puts an invoice that was forgotten back on the table, and adds a little to the hazard of those
who have it in mind; who pays on time anyway does so without it. Randomised evidence: Cadena and
Schoar (2011), Medina (2017), Barboni et al.
"""

from __future__ import annotations

import numpy as np

from collectopt.simulation.noise import FloatArray, IntArray, Purpose
from collectopt.simulation.population import DIRECT_DEBIT, BoolArray
from collectopt.simulation.state import State


def coming(state: State, days: int) -> IntArray:
    """Rows of the claims that fall due today or within some days and wait for their owner.

    Claims that a direct debit will collect are left out, and all those of accounts that have
    something past due, or are held.

    Parameters
    ----------
    state : State
    days : int
        0 = none.
    """
    claims, day = state.claims, state.day
    if days <= 0:
        return np.zeros(0, dtype=np.int64)
    rows = claims.active
    ahead = claims.due[rows] - day
    rows = rows[(ahead >= 0) & (ahead <= days) & (claims.issued[rows] < day)]
    rows = rows[(claims.open[rows] > 0) & ~claims.held(rows)]
    late = state.flag(state.overdue_claims()) | state.bound
    debit = (state.people.method == DIRECT_DEBIT)[claims.account[rows]] & ~claims.debit_tried[rows]
    return rows[~late[claims.account[rows]] & ~debit]


def soon(state: State) -> BoolArray:
    """Accounts that may be written to before the due date today, (n,)."""
    return state.flag(coming(state, state.pre_due_days))


def remind(state: State, account: IntArray, mass: FloatArray) -> None:
    """Let people read a reminder before the due date.

    Parameters
    ----------
    state : State
    account : (m,) int64
        Each once.
    mass : (m,) float64
        What the same contact would add to the cumulative hazard of a claim past due.
    """
    claims, courtesy = state.claims, state.kind.courtesy
    added = np.zeros(len(state.people))
    added[account] = mass
    rows = coming(state, state.pre_due_days)
    added = added[claims.account[rows]]
    rows, added = rows[added > 0], added[added > 0]
    luck = state.noise.uniform(Purpose.COURTESY, claims.uid[rows], state.day)
    claims.forgotten[rows] &= luck >= 1.0 - np.exp(-courtesy.recall * added)
    keep = np.exp(-1.0 / state.kind.effects.decay_days)
    claims.pull[rows] += courtesy.nudge * added * (1.0 - keep) / keep
