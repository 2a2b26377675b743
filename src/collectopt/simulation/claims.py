"""The claims of the world as columns that grow."""

from __future__ import annotations

import copy

import numpy as np

from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.population import BoolArray

NEVER = 10**6
_INTS = (
    "account", "uid", "number", "issued", "due", "cents", "open", "dispute_day", "resolve_day",
    "plan_left", "plan_next", "plan_cents", "plan_missed", "credited", "outside", "outside_day",
)  # fmt: skip
_FLAGS = ("forgotten", "disputed", "debit_tried", "written_off")
_FLOATS = ("pull",)


class Claims:
    """All invoices issued so far; `active` lists those with something open.

    Attributes
    ----------
    account, uid, number : (n,) int64
        Owner, key of the luck, running number within the account.
    issued, due : (n,) int64
        Days.
    cents, open, credited : (n,) int64
        Amount, what is open of it, and what a credit note settled.
    outside, outside_day : (n,) int64
        AGENCY or COURT for a claim that was handed over, else 0; and the day of it.
    pull : (n,) float64
        Daily hazard that the agency, the court or a courtesy reminder adds to the claim.
    """

    account: IntArray
    uid: IntArray
    number: IntArray
    issued: IntArray
    due: IntArray
    cents: IntArray
    open: IntArray
    dispute_day: IntArray
    resolve_day: IntArray
    plan_left: IntArray
    plan_next: IntArray
    plan_cents: IntArray
    plan_missed: IntArray
    credited: IntArray
    outside: IntArray
    outside_day: IntArray
    forgotten: BoolArray
    disputed: BoolArray
    debit_tried: BoolArray
    written_off: BoolArray
    pull: FloatArray

    def __init__(self) -> None:
        self.size = 0
        self.active: IntArray = np.zeros(0, dtype=np.int64)
        for name in _INTS:
            setattr(self, name, np.zeros(256, dtype=np.int64))
        for name in _FLAGS:
            setattr(self, name, np.zeros(256, dtype=np.bool_))
        for name in _FLOATS:
            setattr(self, name, np.zeros(256))

    def append(self, count: int) -> IntArray:
        """Make room for new claims and return their rows."""
        need = self.size + count
        capacity = len(self.account)
        if need > capacity:
            grow = max(need, 2 * capacity) - capacity
            for name in (*_INTS, *_FLAGS, *_FLOATS):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros(grow, dtype=old.dtype)]))
        rows = np.arange(self.size, need, dtype=np.int64)
        self.size = need
        self.active = np.concatenate([self.active, rows])
        return rows

    def tidy(self) -> None:
        """Drop settled claims from the active ones."""
        self.active = self.active[self.open[self.active] > 0]

    def reopen(self, rows: IntArray) -> None:
        """Put settled claims back among the active ones."""
        mark = np.zeros(self.size, dtype=np.bool_)
        mark[self.active] = mark[rows] = True
        self.active = np.flatnonzero(mark)

    def held(self, rows: IntArray) -> BoolArray:
        """Whether a claim is bound by a hold of its own."""
        result: BoolArray = (
            self.disputed[rows]
            | (self.plan_left[rows] > 0)
            | self.written_off[rows]
            | (self.outside[rows] > 0)
        )
        return result

    def copy(self) -> Claims:
        """Return an independent copy."""
        return copy.deepcopy(self)
