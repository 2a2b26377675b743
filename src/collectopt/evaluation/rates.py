"""The base rate: what anybody can predict without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.evaluation.survival import Floats, kaplan_meier
from collectopt.exceptions import NotFittedError
from collectopt.models import labels
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, INSTANT, AsOf, local_time, to_instant

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, eq=False)
class _Past:
    days: Floats
    event: NDArray[np.bool_]
    known: Floats
    due: Floats


class BaseRate:
    """Predicts for everybody what open accounts did in the year before.

    Every 30 days of the last `months` months all open accounts (or claims) are looked at; their
    times to payment, censored at the cut, give one Kaplan-Meier curve.

    Parameters
    ----------
    event : str
        "full" or "any", as in :class:`~collectopt.models.PaymentModel`.
    months : int
        How many past moments are pooled.
    limit : int
        Most rows a moment, drawn at random.
    seed : int
        Seed of that draw.
    """

    def __init__(
        self, event: str = "full", *, months: int = 12, limit: int = 4000, seed: int = 0
    ) -> None:
        self.event = event
        self.months = months
        self.limit = limit
        self.seed = seed

    def fit(self, ledger: Ledger, as_of: AsOf) -> BaseRate:
        """Collect what happened before `as_of`."""
        cut = to_instant(as_of, ledger.timezone)
        rng = np.random.default_rng(self.seed)
        self.past_ = {level.value: self._collect(ledger, cut, level, rng) for level in labels.Level}
        return self

    def _collect(
        self, ledger: Ledger, cut: np.datetime64, level: labels.Level, rng: np.random.Generator
    ) -> _Past:
        parts = []
        for month in range(1, self.months + 1):
            snapshot = Snapshot(ledger, cut - np.timedelta64(30 * month, "D"))
            if level is labels.Level.INVOICE:
                snapshot = snapshot.to_invoice_level()
            if len(snapshot) > self.limit:
                rows = rng.choice(len(snapshot), self.limit, replace=False)
                snapshot = snapshot.take(np.sort(rows))
            if not len(snapshot):
                continue
            found = labels.durations(snapshot, self.event, level, cut)
            known = known_days(snapshot, cut)
            parts.append((found.days, found.event, known, labels.due_offsets(snapshot)))
        if not parts:
            empty = np.zeros(0)
            return _Past(empty, np.zeros(0, dtype=bool), empty, empty)
        days, event, known, due = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Past(days, event, known, due)

    def predict(
        self,
        snapshot: Snapshot,
        horizons: Sequence[str] = ("30D", "60D", "90D"),
        level: str = "account",
    ) -> Forecast:
        """Give every row the same probability.

        Parameters
        ----------
        snapshot : Snapshot
        horizons : sequence of str
            "30D" (days after as_of) or "due+30D" (days after the due date).
        level : str
            "account" or "invoice".

        Returns
        -------
        Forecast
            `share` is the probability itself: full payment or nothing.
        """
        if not hasattr(self, "past_"):
            raise NotFittedError.of(self, "predict")
        past = self.past_[labels.Level(level).value]
        n = len(snapshot)
        p = np.tile([_rate(past, Horizon.parse(h)) for h in horizons], (n, 1)).reshape(n, -1)
        curve = kaplan_meier(past.days, past.event)
        inside = [np.searchsorted(-curve.surviving, -(1 - q)) for q in QUANTILES]
        reach = np.concatenate([curve.times, [np.inf]])
        days = np.tile(reach[inside], (n, 1))
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), days, QUANTILES)


def _rate(past: _Past, horizon: Horizon) -> float:
    if not horizon.from_due:
        curve = kaplan_meier(past.days, past.event)
        return float(1 - curve.before(float(horizon.days)))
    target = past.due + horizon.days
    judged = (target > 0) & (target <= past.known)
    paid = past.event & (past.days < target)
    return float(paid[judged].mean()) if judged.any() else 0.5


def due_days(snapshot: Snapshot, horizon: Horizon) -> Floats:
    """Days from as_of to the end of a horizon, shape (n,)."""
    if horizon.from_due:
        return labels.due_offsets(snapshot) + horizon.days
    return np.full(len(snapshot), float(horizon.days))


def known_days(snapshot: Snapshot, end: np.datetime64) -> Floats:
    """Days from as_of to the end of the data on each account's clock, shape (n,)."""
    zones = snapshot.ledger.zones.take(snapshot.rows["account"].combine_chunks())
    closed = pa.array(np.full(len(snapshot), end.astype("M8[us]"))).cast(INSTANT)
    then, now = (
        local_time(at, zones).cast(pa.int64()).to_numpy()
        for at in (closed, snapshot.rows["as_of"].combine_chunks())
    )
    return np.asarray((then - now) / DAY_US)
