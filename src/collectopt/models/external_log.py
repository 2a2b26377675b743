"""Cases handed over and accounts that stayed, from the log, with what was foretold for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.models.external import Followed, Place
from collectopt.models.labels import Event, Level, durations
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, INSTANT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Days at which the payment curve is read.
MARKS = (7, 14, 21, 28, 42, 56, 84, 112, 140, 182, 273, 364)
_FIRST = 3  # position of the first weeks among them
_WATCHED = 182  # days that a case is followed at most
_MOMENTS, _EVERY = 8, 28  # moments at which accounts that stayed are looked at; days between them


def curve(payment: Any, snapshot: Snapshot) -> Floats:
    """P(everything past due is paid) at `MARKS`, (n, 12), rising and below 1; nan = not known."""
    from collectopt.models.payment import PaymentModel

    horizons = tuple(f"{mark}D" for mark in MARKS)
    few = {"quantiles": ()} if isinstance(payment, PaymentModel) else {}
    forecast = payment.predict(snapshot, horizons=horizons, level="account", **few)
    p = np.asarray(forecast.p_paid, dtype=np.float64)
    return np.clip(np.maximum.accumulate(p, axis=1), 0.0, 1.0 - 1e-9)


def past_due(snapshot: Snapshot) -> tuple[Ints, Floats]:
    """Days past due (0 = nothing is) and EUR open of what is past due and on no hold; (n,) each."""
    claims = snapshot.claims
    late = claims["past_due"].to_numpy() & ~claims["held"].to_numpy()
    row = claims["row"].to_numpy()[late]
    days = np.zeros(len(snapshot), dtype=np.int64)
    np.maximum.at(days, row, claims["dpd"].to_numpy().astype(np.int64)[late])
    cents = np.bincount(row, claims["open_cents"].to_numpy()[late], minlength=len(snapshot))
    return days, cents / 100.0


@dataclass(frozen=True, eq=False)
class Past:
    """What the log shows of one ledger before a cut.

    Attributes
    ----------
    stayed : Followed or None
        Accounts past due that were in the house.
    gone : mapping of Place to Followed or None
    cost_a_day : float
        EUR that contacts with an account past due cost a day.
    """

    stayed: Followed | None
    gone: dict[Place, Followed | None]
    cost_a_day: float


def look_back(ledger: Ledger, cut: np.datetime64, payment: Any) -> Past:
    """Follow accounts in the log.

    Parameters
    ----------
    ledger : Ledger
    cut : datetime64, UTC
        Nothing known at or after it is looked at.
    payment : payment model
        With ``predict(snapshot, horizons, level)``.
    """
    begun = {place: _begun(ledger, cut, place) for place in Place}
    leave = _Leave.of(list(begun.values()))
    gone: dict[Place, Followed | None] = {}
    for place, (account, at) in begun.items():
        rows = _rows(ledger, account, at)
        gone[place] = None if rows is None else _follow(rows, cut, payment, None, _WATCHED)[0]
    account, at = _moments(ledger, cut)
    rows = _rows(ledger, account, at)
    if rows is None:
        return Past(None, gone, 0.0)
    stayed, kept, days = _follow(rows, cut, payment, leave, _WATCHED)
    return Past(stayed, gone, _spent(ledger, rows.take(kept), days, cut))


def _micros(column: Any) -> Ints:
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)


def _begun(ledger: Ledger, cut: np.datetime64, place: Place) -> tuple[Ints, Ints]:
    """Accounts and instants at which some claim of theirs was first known to be there."""
    table = ledger.timeline.holds
    at, account = _micros(table["known_at"]), table["account"].to_numpy().astype(np.int64)
    mine = (table["kind"].to_numpy(zero_copy_only=False) == place.value) & (at < _us(cut))
    pairs = np.unique(np.column_stack([account[mine], at[mine]]), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _us(moment: np.datetime64) -> int:
    return int(moment.astype("datetime64[us]").astype(np.int64))


def _moments(ledger: Ledger, cut: np.datetime64) -> tuple[Ints, Ints]:
    """Accounts with something open at moments four weeks apart, the last four weeks ago."""
    account, at = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for j in range(1, _MOMENTS + 1):
        moment = cut - np.timedelta64(_EVERY * j, "D")
        here = Snapshot(ledger, moment).rows["account"].to_numpy().astype(np.int64)
        account.append(here)
        at.append(np.full(len(here), _us(moment)))
    return np.concatenate(account), np.concatenate(at)


def _rows(ledger: Ledger, account: Ints, at: Ints) -> Snapshot | None:
    """Rows with something past due that is on no hold; None: there are none."""
    if not len(account):
        return None
    frame = pa.table(
        {
            "account_id": ledger.accounts["account_id"].take(pa.array(account)),
            "as_of": pa.array(at, pa.int64()).cast(INSTANT),
        }
    )
    snapshot = Snapshot.from_rows(ledger, frame)
    late = np.flatnonzero(past_due(snapshot)[0] > 0)
    return snapshot.take(late) if len(late) else None


@dataclass(frozen=True, eq=False)
class _Leave:
    """When accounts were handed over, sorted by account and time."""

    account: Ints
    at: Ints

    @classmethod
    def of(cls, begun: list[tuple[Ints, Ints]]) -> _Leave:
        account, at = (np.concatenate([pair[j] for pair in begun]) for j in (0, 1))
        order = np.lexsort((at, account))
        return cls(account[order], at[order])

    def days_to(self, snapshot: Snapshot) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Days until the next time after each row (inf = never), and whether one was before."""
        asked, now = snapshot.rows["account"].to_numpy(), _us_of(snapshot)
        days, before = np.full(len(asked), np.inf), np.zeros(len(asked), dtype=bool)
        for i, (a, t) in enumerate(zip(asked.tolist(), now.tolist(), strict=True)):
            low, high = np.searchsorted(self.account, [a, a + 1])
            mine = self.at[low:high]
            later = int(np.searchsorted(mine, t, side="left"))
            before[i] = later > 0
            if later < len(mine):
                days[i] = (mine[later] - t) / DAY_US
        return days, before


def _us_of(snapshot: Snapshot) -> Ints:
    return snapshot.as_of.astype("datetime64[us]").astype(np.int64)


def _follow(
    rows: Snapshot, cut: np.datetime64, payment: Any, leave: _Leave | None, most: int
) -> tuple[Followed | None, Ints, Floats]:
    """Follow rows until they are paid, handed over or out of sight; also which, and for how long.

    Rows of accounts that were handed over before are left out where `leave` is given.
    """
    outcome = durations(rows, Event.FULL, Level.ACCOUNT, cut)
    ends, out = np.full(len(rows), float(most)), np.zeros(len(rows), dtype=bool)
    if leave is not None:
        until, out = leave.days_to(rows)
        ends = np.minimum(ends, until)
    days = np.minimum(outcome.days, ends)
    p = curve(payment, rows)
    kept = np.flatnonzero(~out & np.isfinite(p).all(axis=1) & (days > 0))
    if not len(kept):
        return None, kept, np.zeros(0)
    age, amount = past_due(rows)
    mass = -np.log1p(-np.column_stack([np.zeros(len(p)), p]))
    places = np.array([0, *MARKS], dtype=np.float64)
    expected = np.array([np.interp(days[i], places, mass[i]) for i in kept])
    paid = (outcome.event & (outcome.days <= ends))[kept].astype(np.float64)
    who = rows.rows["account"].to_numpy()[kept]
    # rows of one account overlap in time; the same number for all, as those who pay soon come less
    times = len(who) / len(np.unique(who))
    followed = Followed(paid / times, expected / times, age[kept], amount[kept], p[kept, _FIRST])
    return followed, kept, days[kept]


def _spent(ledger: Ledger, rows: Snapshot, days: Floats, cut: np.datetime64) -> float:
    """EUR of contacts a day with these accounts, in the four weeks after each row."""
    table = ledger.timeline.contacts
    at, account = _micros(table["sent_at"]), table["account"].to_numpy().astype(np.int64)
    known = _micros(table["known_at"]) < _us(cut)
    cost = np.where(known, pc.fill_null(table["cost"], 0.0).to_numpy(), 0.0)
    order = np.lexsort((at, account))
    total = np.concatenate([[0.0], np.cumsum(cost[order])])
    who, now = rows.rows["account"].to_numpy().astype(np.int64), _us_of(rows)
    seen = np.minimum(days, float(_EVERY))
    # account and time as one number: by its place in time, as microseconds would overflow
    times = np.sort(at)
    key = account[order] * (len(at) + 1) + np.searchsorted(times, at[order])
    low, high = (
        np.searchsorted(key, who * (len(at) + 1) + np.searchsorted(times, moment))
        for moment in (now, now + (seen * DAY_US).astype(np.int64))
    )
    return float((total[high] - total[low]).sum() / seen.sum()) if len(seen) else 0.0
