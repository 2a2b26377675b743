"""Outcomes and training rows, point in time: what was known before the cut, censored there.

Days are counted on the account's local clock, so that a payment dated 30 days later comes after
30.0 days even if the clocks were changed in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import (
    DAY_US,
    INSTANT,
    AsOf,
    local_time,
    start_of_local_day,
    to_instant,
)

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class Event(Enum):
    """What a payment model waits for."""

    FULL = "full"  # the claim, or everything past due, is settled
    ANY = "any"  # the next payment


class Level(Enum):
    """What a row is about."""

    ACCOUNT = "account"
    INVOICE = "invoice"


@dataclass(frozen=True, eq=False)
class Durations:
    """Time to the event for n rows.

    Attributes
    ----------
    days : (n,) float64
        Days from as_of to the event, or to the end of what is known about it.
    event : (n,) bool
        True where the event came then; False where the row is censored.
    """

    days: Float
    event: Bool


# -- outcomes ----------------------------------------------------------------------------------

# Claims that a row waits for. Account: all that is past due, or all that is open where nothing is;
# claims on hold count only where there are no others.
_TARGET = {
    Level.INVOICE: "select row, invoice, open_cents from open_claims where subject",
    Level.ACCOUNT: """
        select row, invoice, open_cents
        from (select *, max(rank) over (partition by row) as best
              from (select *, case when held then 0 when past_due then 2 else 1 end as rank
                    from open_claims)) x
        where rank = best""",
}
_FLOWS = """
select t.row, s.known_at, cast(sum(s.cents) as bigint) as cents,
       bool_or(s.cash and s.cents > 0) as cash
from ({target}) t join rows r on r.row = t.row join settlements s on s.invoice = t.invoice
where s.known_at >= r.as_of and s.known_at < {cut}
group by t.row, s.known_at order by t.row, s.known_at
"""
_TOTALS = "select row, cast(sum(open_cents) as bigint) as cents from ({target}) t group by row"
_NEXT = """
select r.row, min(p.known_at) as known_at
from rows r join payments p on p.account = r.account
where p.cents > 0 and p.known_at >= r.as_of and p.known_at < {cut}
group by r.row
"""


def durations(snapshot: Snapshot, event: Event | str, level: Level | str, cut: AsOf) -> Durations:
    """Look up when the event came, from what was known before the cut.

    Parameters
    ----------
    snapshot : Snapshot
        The rows; at level "invoice" each names its claim.
    event : Event or str
        "full": the claim (level "account": everything past due at as_of that is not on hold, or
        else everything open) is settled. "any": the next payment (level "invoice": the next one
        that goes to the claim).
    level : Level or str
        "invoice" or "account".
    cut : str, date, aware datetime
        Rows of the ledger known at or after it are not looked at.

    Returns
    -------
    Durations
        Censored at the cut. What a credit note closes without any payment since as_of is
        censored at that moment: it was neither paid nor left unpaid. A claim that is settled
        already counts as "full" after 0 days.

    Raises
    ------
    InputError
        Unknown event or level; a row without an invoice at level "invoice".
    """
    return outcomes(snapshot, event, level, cut)[0]


def outcomes(
    snapshot: Snapshot,
    event: Event | str,
    level: Level | str,
    cut: AsOf,
    horizons: npt.ArrayLike = (),
) -> tuple[Durations, Float]:
    """Give :func:`durations` and :func:`shares` together, which saves half of the work.

    Parameters
    ----------
    snapshot, event, level, cut
        As in :func:`durations`.
    horizons
        As in :func:`shares`.
    """
    event, level = Event(event), Level(level)
    _check_named(snapshot, level)
    moment = to_instant(cut, snapshot.ledger.timezone)
    flows = _Flows.of(snapshot, level, moment)
    return (
        _durations(snapshot, event, level, moment, flows),
        _shares(snapshot, moment, flows, np.atleast_1d(np.asarray(horizons, dtype=np.float64))),
    )


def _durations(
    snapshot: Snapshot, event: Event, level: Level, moment: np.datetime64, flows: _Flows
) -> Durations:
    if event is Event.ANY and level is Level.ACCOUNT:
        table = _run(snapshot, _NEXT, level, moment, ("payments",))
        return _until(snapshot, moment, table["row"], table["known_at"], np.ones(len(table), bool))
    if event is Event.ANY:
        cash = np.flatnonzero(flows.cash)
        row, first = np.unique(flows.row[cash], return_index=True)
        at = flows.at.take(pa.array(cash[first]))
        return _until(snapshot, moment, row, at, np.ones(len(row), bool))
    done = np.flatnonzero(flows.running() >= flows.total[flows.row])
    row, first = np.unique(flows.row[done], return_index=True)
    ended = done[first]
    at = flows.at.take(pa.array(ended))
    found = _until(snapshot, moment, row, at, flows.cash_so_far()[ended])
    settled = flows.total == 0
    return Durations(np.where(settled, 0.0, found.days), np.where(settled, True, found.event))


def shares(snapshot: Snapshot, level: Level | str, cut: AsOf, horizons: npt.ArrayLike) -> Float:
    """Share of the open amount that was settled within each horizon.

    Parameters
    ----------
    snapshot, level, cut
        As in :func:`durations`.
    horizons : (h,) float
        Days from as_of.

    Returns
    -------
    (n, h) float64
        In [0, 1]; nan where the horizon lies beyond the cut or nothing was open.
    """
    level = Level(level)
    _check_named(snapshot, level)
    moment = to_instant(cut, snapshot.ledger.timezone)
    flows = _Flows.of(snapshot, level, moment)
    return _shares(snapshot, moment, flows, np.atleast_1d(np.asarray(horizons, dtype=np.float64)))


def _shares(snapshot: Snapshot, moment: np.datetime64, flows: _Flows, horizons: Float) -> Float:
    out = np.full((len(snapshot), len(horizons)), np.nan)
    if not len(horizons):
        return out
    days = _days(snapshot, flows.row, flows.at)
    known = _censoring(snapshot, moment)
    for k, horizon in enumerate(horizons):
        within = days < horizon
        cents = np.bincount(flows.row[within], flows.cents[within], minlength=len(snapshot))
        share = np.clip(cents / np.maximum(flows.total, 1), 0.0, 1.0)
        out[:, k] = np.where((known >= horizon) & (flows.total > 0), share, np.nan)
    return out


def open_cents(snapshot: Snapshot, level: Level | str) -> Int:
    """Cents that each row's event is about, (n,): see :func:`durations`."""
    totals = _run(snapshot, _TOTALS, Level(level), np.datetime64(0, "us"), ())
    cents = np.zeros(len(snapshot), dtype=np.int64)
    cents[totals["row"].to_numpy()] = totals["cents"].to_numpy()
    return cents


def due_offsets(snapshot: Snapshot) -> Float:
    """Days from as_of until the claim in question is past due, (n,); nan without a claim.

    The claim in question is the one that the row names, else the open claim that is due first.
    """
    return _of_subject(snapshot, "due_at")


def ages(snapshot: Snapshot) -> Float:
    """Days since the midnight that began the claim in question's day of issue, (n,)."""
    return -_of_subject(snapshot, "issued_at")


def _of_subject(snapshot: Snapshot, instant: str) -> Float:
    """Days from as_of to an instant of the claim in question, (n,); nan without a claim."""
    claims = snapshot.ledger.timeline.claims
    row, invoice = (snapshot.claims[name].to_numpy() for name in ("row", "invoice"))
    _, first = np.unique(row, return_index=True)
    subject = np.full(len(snapshot), -1, dtype=np.int64)
    subject[row[first]] = invoice[first]
    named = pc.fill_null(snapshot.rows["invoice"], -1).to_numpy()
    subject = np.where(named >= 0, named, subject)
    place = pc.index_in(pa.array(subject, pa.int32()), value_set=claims["invoice"].combine_chunks())
    found = place.is_valid().to_numpy(zero_copy_only=False)
    out = np.full(len(snapshot), np.nan)
    at = claims[instant].combine_chunks().take(place.filter(pa.array(found)))
    out[found] = _days(snapshot, np.flatnonzero(found), at)
    return out


def watched(snapshot: Snapshot, cut: AsOf) -> Float:
    """Days from as_of to the cut, (n,), at least 0."""
    return _censoring(snapshot, to_instant(cut, snapshot.ledger.timezone))


@dataclass(frozen=True, eq=False)
class _Flows:
    """What was settled of each row's target since as_of, one line an instant, in order."""

    row: Int
    at: pa.ChunkedArray
    cents: Int
    cash: Bool
    total: Int  # (n,) open cents of the target as of the row's time

    @classmethod
    def of(cls, snapshot: Snapshot, level: Level, cut: np.datetime64) -> _Flows:
        flows = _run(snapshot, _FLOWS, level, cut, ("settlements",))
        cash, total = flows["cash"].to_numpy(), open_cents(snapshot, level)
        return cls(
            flows["row"].to_numpy(), flows["known_at"], flows["cents"].to_numpy(), cash, total
        )

    def running(self) -> Int:
        """Settled so far, within each row."""
        return _running(self.row, self.cents)

    def cash_so_far(self) -> Bool:
        """Whether a payment was among it so far."""
        return _running(self.row, self.cash.astype(np.int64)) > 0


def _running(row: Int, values: Int) -> Int:
    total = np.cumsum(values)
    starts = np.r_[True, row[1:] != row[:-1]] if len(row) else np.zeros(0, dtype=np.bool_)
    before = np.where(starts, total - values, 0)
    return total - before[np.flatnonzero(starts)][np.cumsum(starts) - 1] if len(row) else total


def _run(
    snapshot: Snapshot, sql: str, level: Level, cut: np.datetime64, tables: tuple[str, ...]
) -> pa.Table:
    literal = f"TIMESTAMPTZ '{cut}+00'"
    given = {name: getattr(snapshot.ledger.timeline, name) for name in tables}
    given["rows"] = snapshot.rows.select(["row", "account", "as_of"])
    if "{target}" in sql:
        given["open_claims"] = snapshot.claims.select(
            ["row", "invoice", "open_cents", "past_due", "held", "subject"]
        )
    return query(sql.format(target=_TARGET[level], cut=literal), given)


def _until(
    snapshot: Snapshot, cut: np.datetime64, row: npt.ArrayLike, at: pa.ChunkedArray, event: Bool
) -> Durations:
    """Durations from the rows where something ended; the others are censored at the cut."""
    place = np.asarray(row, dtype=np.int64)
    days = _censoring(snapshot, cut)
    days[place] = _days(snapshot, place, at)
    happened = np.zeros(len(snapshot), dtype=np.bool_)
    happened[place] = event
    return Durations(np.maximum(days, 0.0), happened)


def _censoring(snapshot: Snapshot, cut: np.datetime64) -> Float:
    n = len(snapshot)
    return np.maximum(_days(snapshot, np.arange(n), pa.array(np.full(n, cut)).cast(INSTANT)), 0.0)


def _days(snapshot: Snapshot, row: Int, at: pa.Array | pa.ChunkedArray) -> Float:
    """Days from as_of of the given rows to ``at``, on the account's local clock."""
    rows = snapshot.rows.take(pa.array(row))
    zones = snapshot.ledger.zones.take(rows["account"].combine_chunks())
    moments = at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at
    then = _wall(moments, zones)
    return (then - _wall(rows["as_of"].combine_chunks(), zones)) / DAY_US


def _wall(instants: pa.Array, zones: pa.Array) -> Int:
    local = pc.cast(local_time(instants, zones), pa.timestamp("us"))
    return pc.cast(local, pa.int64()).to_numpy(zero_copy_only=False)


def _check_named(snapshot: Snapshot, level: Level) -> None:
    if level is Level.INVOICE and snapshot.rows["invoice"].null_count:
        nameless = np.flatnonzero(snapshot.rows["invoice"].is_null().to_numpy())
        raise InputError.of(
            "rows",
            "invoice_id",
            expected='a claim in each row at level "invoice"',
            found="null",
            rows=nameless.tolist(),
            hint="Use snapshot.to_invoice_level() for one row per open claim.",
        )


# -- training rows -----------------------------------------------------------------------------

#: Days after the due date at which a claim is looked at again while it is open.
AGES = (7, 30, 90, 180, 365, 730)
_WEIGHT = {"issue": 4.0, "due": 2.0}


def landmarks(
    ledger: Ledger,
    cut: AsOf,
    level: Level | str,
    *,
    years: float = 4.0,
    limit: int = 100_000,
    seed: int = 0,
) -> Snapshot:
    """Choose moments before the cut from which a model learns.

    Each claim is looked at on the local midnight that begins its day of issue, one random day up
    to the due date, just past due, :data:`AGES` days later and at one random age, as long as
    something was open. Level "invoice": the row names the claim. Level "account": only the row of
    the day of issue names it, the others ask about the account.

    Parameters
    ----------
    ledger : Ledger
    cut : str, date, aware datetime
        Moments lie before it.
    level : Level or str
    years : float
        How far the moments reach back.
    limit : int
        Most rows. Above it, moments are drawn at random, each kind on its own and without looking
        at what happened afterwards, so that probabilities given the features stay as they are.
    seed : int
        Seed of that draw.

    Returns
    -------
    Snapshot
        In order of account and time.
    """
    level = Level(level)
    moment = to_instant(cut, ledger.timezone)
    since = moment - np.timedelta64(int(years * 365.25 * DAY_US), "us")
    rng = np.random.default_rng(seed)
    claims = ledger.timeline.claims
    # Claims of later days would shift the draws below.
    known = pc.less(claims["known_at"], pa.scalar(moment.item()).cast(INSTANT))
    claims = claims.filter(known)
    zones = ledger.zones.take(claims["account"].combine_chunks())
    parts: list[pa.Table] = []
    kinds = _moments(claims, rng)
    share = limit / sum(_WEIGHT.get(kind, 1.0) for kind in kinds)
    for kind, day in kinds.items():
        numbers = np.flatnonzero(_possible(claims, day, kind, since, moment))
        # What is settled by then drops out below, so more are drawn than wanted.
        most = int(2.0 * share * _WEIGHT.get(kind, 1.0))
        if len(numbers) > most:
            numbers = np.sort(rng.choice(numbers, most, replace=False))
        picked = pa.array(numbers)
        at = start_of_local_day(pa.array(day[numbers].astype("datetime64[D]")), zones.take(picked))
        rows = claims.select(["account", "invoice_id"]).take(picked)
        if level is Level.ACCOUNT and kind != "issue":
            rows = rows.set_column(1, "invoice_id", pa.nulls(len(rows), pa.string()))
        parts.append(rows.append_column("as_of", at))
    snapshot = _visit(ledger, pa.concat_tables(parts), since, moment)
    subject, row = snapshot.claims["subject"].to_numpy(), snapshot.claims["row"].to_numpy()
    keep = np.unique(row[subject] if level is Level.INVOICE else row)
    if len(keep) > limit:
        keep = np.sort(rng.choice(keep, limit, replace=False))
    return snapshot.take(keep)


def _moments(claims: pa.Table, rng: np.random.Generator) -> dict[str, Int]:
    """Local days on which each claim is looked at, in days since 1970, by kind."""
    issued = pc.cast(claims["issued_on"], pa.int32()).to_numpy().astype(np.int64)
    due = pc.cast(claims["due_on"], pa.int32()).to_numpy().astype(np.int64)
    past = np.maximum(due, issued) + 1
    never = np.iinfo(np.int32).max
    later = {f"{age}": past + age for age in AGES}
    # More ages are young: the square of a uniform number.
    odd = issued + 1 + np.floor(730 * rng.random(len(issued)) ** 2).astype(np.int64)
    # Any day up to the due date: who looks at a claim the day before must have seen such days.
    days = np.maximum(due - issued, 0)
    wait = issued + 1 + np.floor(days * rng.random(len(issued))).astype(np.int64)
    early = np.where(days > 0, wait, never)
    return {"issue": issued, "early": early, "due": past, **later, "random": odd}


def _possible(
    claims: pa.Table, day: Int, kind: str, since: np.datetime64, cut: np.datetime64
) -> Bool:
    """Whether the moment lies in the window and the claim was known then; a day of slack."""
    first = int(since.astype("datetime64[D]").astype(np.int64)) - 1
    last = int(cut.astype("datetime64[D]").astype(np.int64)) + 1
    issued = pc.cast(claims["issued_on"], pa.int32()).to_numpy()
    known = day >= issued if kind == "issue" else day > issued
    return np.asarray((day >= first) & (day <= last) & known, dtype=np.bool_)


def _visit(ledger: Ledger, rows: pa.Table, since: np.datetime64, cut: np.datetime64) -> Snapshot:
    """Make the snapshot of all moments in the window, each once."""
    ids = ledger.accounts["account_id"].combine_chunks().take(rows["account"].combine_chunks())
    frame = pa.table({"account_id": ids, "as_of": rows["as_of"], "invoice_id": rows["invoice_id"]})
    frame = frame.group_by(frame.column_names).aggregate([])  # one row where two moments meet
    frame = frame.take(pc.sort_indices(frame, [(n, "ascending") for n in frame.column_names]))
    at = pc.cast(frame["as_of"], pa.timestamp("us")).to_numpy()
    return Snapshot.from_rows(ledger, frame.filter(pa.array((at >= since) & (at < cut))))
