"""Claims and settlements of a book as plain arrays, cut off at a time."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.schema.ledger import Ledger
from collectopt.schema.times import DAY_US

Ints = NDArray[np.int64]
BUCKETS = ("current", "1-30", "31-60", "61-90", "over 90")


class Book:
    """Arrays of one currency's claims and settlements that are known before ``end``.

    Times are microseconds since 1970 (UTC), amounts int64 cents.
    """

    def __init__(self, ledger: Ledger, currency: str, end: int) -> None:
        timeline = ledger.timeline
        claims = timeline.claims
        code = ledger.invoices["currency"].take(claims["invoice"])
        mine = (strings(code) == currency) & (micros(claims["known_at"]) < end)
        self.ledger, self.end = ledger, end
        self.account = ints(claims["account"])[mine]
        self.cents = ints(claims["cents"])[mine]
        self.known = micros(claims["known_at"])[mine]
        self.due = micros(claims["due_at"])[mine]
        position = np.full(ledger.invoices.num_rows, -1, dtype=np.int64)
        position[ints(claims["invoice"])[mine]] = np.arange(mine.sum())
        moves = timeline.settlements
        claim = position[ints(moves["invoice"])]
        keep = (claim >= 0) & (micros(moves["known_at"]) < end)
        self.move_claim = claim[keep]
        self.move_cents = ints(moves["cents"])[keep]
        self.move_known = micros(moves["known_at"])[keep]
        self.move_cash = np.asarray(moves["cash"].to_numpy(), dtype=bool)[keep]

    def settled(self, mask: NDArray[np.bool_]) -> Ints:
        """Sum the settlements under `mask` by claim, in cents."""
        sums = np.bincount(
            self.move_claim[mask], weights=self.move_cents[mask], minlength=len(self.cents)
        )
        return np.rint(sums).astype(np.int64)

    def open_at(self, when: int) -> Ints:
        """Open cents of each claim as of a time; 0 where it was not known yet."""
        left = self.cents - self.settled(self.move_known < when)
        return np.where(self.known < when, left, 0)

    def bucket_at(self, when: int) -> Ints:
        """Ageing bucket of each claim as of a time."""
        late = when - self.due
        return np.where(late < 0, 0, np.clip(late // (30 * DAY_US) + 1, 1, 4))

    @cached_property
    def at_due(self) -> Ints:
        """Cents that were still open when the claim became past due."""
        return self.cents - self.settled(self.move_known < self.due[self.move_claim])

    def matured(self, days: int, window: int) -> NDArray[np.bool_]:
        """Claims overdue at all, whose horizon ended in the last `window` days."""
        over = self.due + days * DAY_US
        return (over > self.end - window * DAY_US) & (over <= self.end) & (self.at_due > 0)

    def recovered(self, days: int, cohort: NDArray[np.bool_]) -> tuple[float, float, int, float]:
        """Recovery of some claims within a horizon that is over.

        Returns
        -------
        share : float
            Of the amount open at the due date that came in as cash within `days`.
        full : float
            Share of these claims that were settled in full by then.
        claims : int
        amount : float
            Open at the due date.
        """
        over = self.due + days * DAY_US
        since = self.move_known >= self.due[self.move_claim]
        inside = since & (self.move_known < over[self.move_claim])
        cash = np.clip(self.settled(inside & self.move_cash), 0, self.at_due)[cohort].sum()
        base = self.at_due[cohort].sum()
        full = (self.settled(inside) >= self.at_due)[cohort]
        if not cohort.any():
            return float("nan"), float("nan"), 0, 0.0
        return float(cash / base), float(full.mean()), int(cohort.sum()), float(base) / 100


def ints(column: pa.ChunkedArray) -> Ints:
    """Read integers."""
    return np.asarray(column.to_numpy(), dtype=np.int64)


def micros(column: pa.ChunkedArray) -> Ints:
    """Read instants as microseconds since 1970."""
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def strings(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """Read texts; None where null."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)
