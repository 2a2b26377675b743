"""Claims watched day by day from the start of a run: what was paid when, and what it is worth."""

from __future__ import annotations

import numpy as np

from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.population import BoolArray
from collectopt.simulation.state import State


class ClaimWatch:
    """Watches the claims of one world; reads them and changes nothing. Money is in cents.

    Parameters
    ----------
    start : State
        The world at the start of the run.
    days : int
        Length of the run.
    discount_rate : float
        A year.

    Attributes
    ----------
    base : (n,) int64
        Open at the start, or the amount of a claim issued on the way.
    worth : (n,) float64
        Payments, discounted to the start of the run.
    old : (n,) bool
        Claims that existed at the start.
    paid_by, amount_by : (days, days) int64
        By the end of day j (column): paid of the claims due on day i (row), and their amount less
        credit notes; days count from the start.
    """

    def __init__(self, start: State, days: int, discount_rate: float) -> None:
        claims, size = start.claims, start.claims.size
        self._first, self._days, self._rate = start.day, days, discount_rate
        self._alive = claims.active.copy()
        self.base = claims.open[:size].copy()
        self._credited_before = claims.credited[:size].copy()
        self._paid = np.zeros(size, dtype=np.int64)
        self._credited = np.zeros(size, dtype=np.int64)
        self.worth = np.zeros(size)
        self.old = np.ones(size, dtype=np.bool_)
        self._so_far = np.zeros((2, days), dtype=np.int64)
        self.paid_by = np.zeros((days, days), dtype=np.int64)
        self.amount_by = np.zeros((days, days), dtype=np.int64)
        rows = np.flatnonzero(claims.due[:size] >= start.day)
        amount = claims.cents[rows] - claims.credited[rows]
        self._add(start, rows, amount - claims.open[rows], amount)

    def follow(self, state: State, day: int) -> None:
        """Take in what was issued, paid and credited since the last look, as of a day."""
        claims = state.claims
        fresh = self._grow(state)
        chosen = np.zeros(claims.size, dtype=np.bool_)
        for some in (self._alive, claims.active, fresh):
            chosen[some] = True
        rows = np.flatnonzero(chosen)
        credited = claims.credited[rows] - self._credited_before[rows]
        paid = self.base[rows] - claims.open[rows] - credited
        gain, amount = paid - self._paid[rows], self._credited[rows] - credited
        self.worth[rows] += gain * self.discount(np.array([day]))
        amount[np.searchsorted(rows, fresh)] += self.base[fresh]
        self._add(state, rows, gain, amount)
        self._paid[rows], self._credited[rows] = paid, credited
        self._alive = claims.active.copy()
        if day < self._days:
            self.paid_by[:, day], self.amount_by[:, day] = self._so_far

    def discount(self, day: IntArray) -> FloatArray:
        """Factors to the start of the run."""
        factors: FloatArray = (1.0 + self._rate) ** (-day / 365.0)
        return factors

    def paid_share(self, chosen: BoolArray) -> tuple[float, float]:
        """Cents paid of some claims in the run, and their base less what was credited."""
        owed = self.base[chosen].sum() - self._credited[chosen].sum()
        return float(self._paid[chosen].sum()), float(owed)

    def charge(self, state: State, rows: IntArray) -> float:
        """Amount of some claims less credit notes, discounted from their due dates."""
        amount = self.base[rows] - self._credited[rows]
        return float((amount * self.discount(state.claims.due[rows] - self._first)).sum())

    def _grow(self, state: State) -> IntArray:
        """Make room for the claims issued since the last look; return their rows."""
        before, size = len(self.base), state.claims.size
        fresh = np.arange(before, size)
        zeros = np.zeros(len(fresh), dtype=np.int64)
        self.base = np.concatenate([self.base, state.claims.cents[before:size]])
        self._credited_before = np.concatenate([self._credited_before, zeros])
        self._paid = np.concatenate([self._paid, zeros])
        self._credited = np.concatenate([self._credited, zeros])
        self.worth = np.concatenate([self.worth, np.zeros(len(fresh))])
        self.old = np.concatenate([self.old, np.zeros(len(fresh), dtype=np.bool_)])
        return fresh

    def _add(self, state: State, rows: IntArray, paid: IntArray, amount: IntArray) -> None:
        due = state.claims.due[rows] - self._first
        inside = (due >= 0) & (due < self._days)
        for place, cents in enumerate((paid, amount)):
            found = np.bincount(due[inside], weights=cents[inside], minlength=self._days)
            self._so_far[place] += np.rint(found).astype(np.int64)
