"""What comes in of what is past due: the share seen for some weeks, and what the rest still brings.

A contact brings cash forward, and most of that would have come anyway: what it is worth shows only
after months. To wait for them makes the outcome noisy and loses the newest rows. So the cash of
some weeks is observed, and what is open then counts with the share that it usually brings in the
months to come, given the account, what was paid so far and whether instalments were agreed. It is
a surrogate index: unbiased for effects that pass through what is seen by then.

References
----------
Athey, Chetty, Imbens & Kang (2019), The surrogate index: combining short-term proxies to estimate
long-term treatment effects more rapidly and precisely. NBER 26463.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import TreeOptions, Trees
from collectopt.models.contrasts import folds
from collectopt.models.labels import Level, _censoring, _days, _Flows, _run
from collectopt.schema.snapshot import Snapshot

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

#: Days that are observed, and days after which what is open counts as lost; the first that the log
#: is long enough for.
_WINDOWS = ((56.0, 182.0), (28.0, 91.0))
_ROWS = 1000  # rows with something left, watched to the end
_FOLDS = 3
_TREES = TreeOptions(rounds=80, rate=0.06, leaves=15, min_leaf=100)
_PLANS = """
select distinct t.row
from ({target}) t join rows r on r.row = t.row
     join holds h on h.invoice = t.invoice and h.kind = 'payment_plan'
where h.known_at < r.as_of + to_seconds(cast({seen} * 86400 as bigint))
  and h.known_at < {cut}
  and (h.ended_at is null or h.ended_at >= r.as_of + to_seconds(cast({seen} * 86400 as bigint)))
  and (h.to_at is null or h.to_at > r.as_of + to_seconds(cast({seen} * 86400 as bigint)))
"""


@dataclass(frozen=True, eq=False)
class Proceeds:
    """Share of what was past due at each of n rows that comes in, discounted.

    Attributes
    ----------
    share : (n,) float64
        From 0 to 1; what comes after ``seen`` days is expected, not observed. nan where unknown.
    known : (n,) bool
        False where the days to be seen were not over at the cut, where a credit note closed
        something in them, or where nothing was past due that no hold binds.
    seen, until : float
        Days that are observed, and that count at all. The same where fewer than 1,000 rows were
        watched to the end with something left: what the rest brings then counts as nothing.
    """

    share: Float
    known: Bool
    seen: float
    until: float


def proceeds(
    snapshot: Snapshot,
    X: Matrix,
    cut: np.datetime64,
    *,
    yearly_rate: float = 0.0,
    seed: int = 0,
) -> Proceeds:
    """Add up what came in after each row's time, and what is to be expected of the rest.

    Parameters
    ----------
    snapshot : Snapshot
        n rows at level "account".
    X : (n, d) float32
        What was known at each row's time.
    cut : datetime64, UTC
        Nothing from then on is looked at.
    yearly_rate : float
        Discount rate.
    seed : int
        Seed of the folds: the rest of an account is expected from what others brought.
    """
    cash = _Cash.of(snapshot, cut, yearly_rate)
    account = np.unique(snapshot.rows["account"].to_numpy(), return_inverse=True)[1]
    for seen, until in _WINDOWS:
        left = 1.0 - cash.until(seen, plain=True)
        open_then = cash.known(seen) & (left > 1e-3)
        teaches = open_then & cash.known(until)
        if teaches.sum() < _ROWS:
            continue
        plan = np.zeros(len(snapshot))
        sql = _PLANS.replace("{seen}", str(seen))
        plan[_run(snapshot, sql, Level.ACCOUNT, cut, ("holds",))["row"].to_numpy()] = 1.0
        state = np.column_stack([X, left, plan]).astype(np.float32)
        later = np.clip((cash.until(until) - cash.until(seen)) / np.maximum(left, 1e-3), 0.0, 1.0)
        rest = _expected(state, later, teaches, open_then, folds(account, _FOLDS, seed))
        return cash.made(seen, until, np.where(open_then, left * rest, 0.0))
    seen = _WINDOWS[-1][0]
    return cash.made(seen, seen, np.zeros(len(snapshot)))


def share_until(
    snapshot: Snapshot, cut: np.datetime64, days: float, *, yearly_rate: float = 0.0
) -> Float:
    """Share of what was past due that came in within some days, before the cut, discounted, (n,).

    Parameters
    ----------
    snapshot, cut, yearly_rate
        As in :func:`proceeds`.
    days : float
    """
    return _Cash.of(snapshot, cut, yearly_rate).until(days)


def _past_due(snapshot: Snapshot) -> Bool:
    """Rows with a claim past due that no hold binds."""
    late, held = (snapshot.claims[name].to_numpy() for name in ("past_due", "held"))
    found = np.zeros(len(snapshot), dtype=np.bool_)
    found[snapshot.claims["row"].to_numpy()[late & ~held]] = True
    return found


@dataclass(frozen=True, eq=False)
class _Cash:
    """Flows to the claims of each row: its place, days since its time, share of what was open."""

    row: Int
    days: Float
    share: Float
    credit: Bool
    discount: float
    watched: Float  # (n,) days to the cut

    @classmethod
    def of(cls, snapshot: Snapshot, cut: np.datetime64, yearly_rate: float) -> Self:
        """Look up what came in before the cut."""
        flows = _Flows.of(snapshot, Level.ACCOUNT, cut)
        return cls(
            row=flows.row,
            days=_days(snapshot, flows.row, flows.at),
            share=flows.cents / np.maximum(flows.total[flows.row], 1),
            credit=(flows.cents > 0) & ~flows.cash,
            discount=1.0 + yearly_rate,
            watched=np.where(_past_due(snapshot), _censoring(snapshot, cut), -1.0),
        )

    def until(self, days: float, *, plain: bool = False) -> Float:
        """Share paid so far, (n,), discounted unless ``plain``."""
        now = ~self.credit & (self.days < days)
        factor = np.ones(now.sum()) if plain else self.discount ** (-self.days[now] / 365.0)
        total = np.bincount(self.row[now], self.share[now] * factor, minlength=len(self.watched))
        return np.clip(total, 0.0, 1.0)

    def known(self, days: float) -> Bool:
        """Rows that were watched for so long without a credit note."""
        credited = np.bincount(
            self.row[self.credit & (self.days < days)], minlength=len(self.watched)
        )
        return (self.watched >= days) & (credited == 0)

    def made(self, seen: float, until: float, rest: Float) -> Proceeds:
        known = self.known(seen)
        share = np.clip(self.until(seen) + rest, 0.0, 1.0)
        return Proceeds(np.where(known, share, np.nan), known, seen, until)


def _expected(state: Matrix, later: Float, teaches: Bool, asked: Bool, fold: Int) -> Float:
    """Share that the rest brings, for the rows asked for, each by trees of other accounts."""
    found = np.zeros(len(later))
    for k in range(_FOLDS):
        into, out = teaches & (fold != k), asked & (fold == k)
        mean = float(later[into].mean()) if into.any() else 0.0
        found[out] = mean
        if into.sum() >= _ROWS // 2:
            base = np.full(int(into.sum()), mean)
            trees = Trees.fit(
                state[into], later[into], options=_TREES, objective="regression", base=base
            )
            found[out] += trees.score(state[out])
    return np.clip(found, 0.0, 1.0)
