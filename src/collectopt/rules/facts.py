"""Facts that only some jurisdictions ask for: calls, conversations, disputes, unknown clocks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.exceptions import InputError
from collectopt.features.responses import PROMISE_DAYS
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.house import SegmentTone
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
TELEPHONE = ("phone", "voice")
LONG_AGO = -(10**9)
SAID = ("dispute", "promise", "payment_plan")
_SPOKEN = ("answered", "promised", "plan_accepted", "refused", "disputed", "complained")


def call_days(snapshot: Snapshot, as_of: int) -> Ints:
    """Local days of the calls to each account that are known at as_of, also those still to come.

    Returns
    -------
    int array (n, m)
        Days since 1970, rising; filled up in front with a day long ago. Calls more than 14 days
        back are left out.
    """
    table = snapshot.ledger.timeline.contacts
    call = pc.is_in(table["channel"], pa.array(TELEPHONE))
    table = table.filter(pc.and_(_before(table, as_of), call))
    account, day = table["account"].to_numpy().astype(np.int64), _days(table["local_day"])
    near = day > as_of // _DAY_US - 14
    order = np.lexsort((day[near], account[near]))
    account, day = account[near][order], day[near][order]
    asked = snapshot.rows["account"].to_numpy()
    last = np.searchsorted(account, asked, side="right")
    count = last - np.searchsorted(account, asked, side="left")
    width = int(count.max(initial=0))
    days = np.full((len(asked), width), LONG_AGO, dtype=np.int64)
    for j in range(1, width + 1):
        has = count >= j
        days[has, width - j] = day[last[has] - j]
    return days


def conversation_day(snapshot: Snapshot, as_of: int) -> Ints:
    """Local day of the last conversation on the phone with each account; long ago where none.

    A reaction that belongs to no contact may have been a call: it counts.

    Returns
    -------
    int array (n,)
        Days since 1970.
    """
    table = snapshot.ledger.timeline.responses
    by_phone = pc.is_in(table["channel"], pa.array(TELEPHONE))
    spoken = pc.is_in(table["kind"], pa.array(_SPOKEN))
    maybe = pc.or_(by_phone, pc.is_null(table["channel"]))
    table = table.filter(pc.and_(_before(table, as_of), pc.and_(spoken, maybe)))
    last = np.full(len(snapshot.ledger.accounts), LONG_AGO, dtype=np.int64)
    np.maximum.at(last, table["account"].to_numpy(), _days(table["local_day"]))
    return last[snapshot.rows["account"].to_numpy()]


def disputed(snapshot: Snapshot, as_of: int) -> Bools:
    """Accounts that disputed, with no dispute resolved since; bool (n,)."""
    table = snapshot.ledger.timeline.responses
    kinds = pa.array(["disputed", "dispute_resolved"])
    table = table.filter(pc.and_(_before(table, as_of), pc.is_in(table["kind"], kinds)))
    # at the same instant the dispute comes last: the strict side
    opens = pc.equal(table["kind"], "disputed").to_numpy()
    order = np.lexsort((opens, pc.cast(table["known_at"], pa.int64()).to_numpy()))
    found = np.zeros(len(snapshot.ledger.accounts), dtype=bool)
    found[table["account"].to_numpy()[order]] = opens[order]  # in time: the last one stands
    return found[snapshot.rows["account"].to_numpy()]


_SAID = """
    WITH said AS (
        SELECT account, kind, known_at, local_day, due_on,
               CASE WHEN kind IN ('disputed', 'dispute_resolved') THEN 'dispute'
                    WHEN kind IN ('promised', 'promise_broken') THEN 'promise'
                    ELSE 'payment_plan' END AS hold
        FROM responses
        WHERE epoch_us(known_at) < {as_of} AND kind IN ('disputed', 'dispute_resolved',
              'promised', 'promise_broken', 'plan_accepted', 'plan_broken')
        -- at the same instant what stops comes last: the strict side
        QUALIFY row_number() OVER (PARTITION BY account, hold ORDER BY known_at DESC,
            kind IN ('disputed', 'promised', 'plan_accepted') DESC,
            coalesce(due_on, local_day + {promise_days}) DESC) = 1
    )
    SELECT r.row, s.hold
    FROM said s JOIN rows r USING (account)
    WHERE s.kind IN ('disputed', 'promised', 'plan_accepted')
      AND (s.hold <> 'promise' OR r.day <= coalesce(s.due_on, s.local_day + {promise_days}))
      AND EXISTS (FROM claims c WHERE c.row = r.row AND c.issued_on <= s.local_day)
      AND NOT EXISTS (FROM holds h WHERE h.account = s.account AND h.kind = s.hold
                      AND epoch_us(h.known_at) < {as_of} AND h.from_on >= s.local_day - 1)
"""


def said(snapshot: Snapshot, as_of: int) -> dict[str, Bools]:
    """Disputes, promises and plans that customers told of, and that nobody recorded as a hold.

    What was said stands until a later response ends it, until a hold is recorded for it (the hold
    counts then), until everything issued by that day is paid, or, for a promise, until its day is
    over.

    Returns
    -------
    dict of str to bool array (n,)
        By kind of hold: dispute, promise, payment_plan.
    """
    timeline = snapshot.ledger.timeline
    found = query(
        _SAID.format(as_of=as_of, promise_days=PROMISE_DAYS),
        {
            "responses": timeline.responses.select(
                ["account", "kind", "known_at", "local_day", "due_on"]
            ),
            "rows": snapshot.rows.select(["row", "account", "day"]),
            "claims": snapshot.claims.select(["row", "issued_on"]),
            "holds": timeline.holds.select(["account", "kind", "known_at", "from_on"]),
        },
    )
    masks = {kind: np.zeros(len(snapshot), dtype=bool) for kind in SAID}
    for row, kind in zip(found["row"].to_numpy(), found["hold"].to_pylist(), strict=True):
        masks[kind][row] = True
    return masks


def was_at_agency(snapshot: Snapshot, as_of: int) -> Bools:
    """Accounts of which some claim was given to an agency before; bool (n,)."""
    table = snapshot.ledger.timeline.holds
    table = table.filter(pc.and_(_before(table, as_of), pc.equal(table["kind"], "agency")))
    found = np.zeros(len(snapshot.ledger.accounts), dtype=bool)
    found[table["account"].to_numpy()] = True
    return found[snapshot.rows["account"].to_numpy()]


def zone_unknown(snapshot: Snapshot) -> Bools:
    """Accounts whose time zone the book does not name; bool (n,)."""
    zone = snapshot.ledger.accounts["timezone"].take(snapshot.rows["account"])
    return pc.is_null(zone).to_numpy()


_DAY_US = 86_400_000_000


def _before(table: pa.Table, as_of: int) -> pa.Array:
    return pc.less(pc.cast(table["known_at"], pa.int64()), as_of)


def _days(days: pa.ChunkedArray) -> Ints:
    return days.to_numpy().astype("datetime64[D]").astype(np.int64)


def segments(snapshot: Snapshot, catalogue: Catalogue, days_past_due: Ints) -> Bools | None:
    """Tell which entries of the catalogue's table of tones hold for each account.

    Returns
    -------
    bool array (n, entries) or None
        None where the catalogue has no such table.

    Raises
    ------
    InputError
        A column that the table names is not in the accounts.
    """
    entries = catalogue.house.tones
    if entries is None:
        return None
    # what is not known counts as true: the gentler side
    held = [_held(snapshot, entry, days_past_due, unknown=True) for entry in entries]
    return np.stack(held, axis=1) if held else np.ones((len(snapshot), 0), dtype=bool)


def tone_offsets(snapshot: Snapshot, catalogue: Catalogue, days_past_due: Ints) -> Ints | None:
    """Add up by how many tones the table shifts what is chosen for each account.

    Returns
    -------
    int array (n,) or None
        Below 0 = milder. None where no entry of the table has an offset.

    Raises
    ------
    InputError
        A column that the table names is not in the accounts.
    """
    entries = [entry for entry in catalogue.house.tones or () if entry.offset is not None]
    if not entries:
        return None
    steps = np.zeros(len(snapshot), dtype=np.int64)
    for entry in entries:
        offset = entry.offset or 0
        # the gentler side: who may or may not belong to it is pressed no more, but spared
        steps += offset * _held(snapshot, entry, days_past_due, unknown=offset < 0)
    return steps


def _held(snapshot: Snapshot, entry: SegmentTone, days_past_due: Ints, *, unknown: bool) -> Bools:
    """Accounts of the segment of an entry (n,); ``unknown`` where a value is null."""
    accounts, held = snapshot.ledger.accounts, np.ones(len(snapshot), dtype=bool)
    for column, value in (("customer_type", entry.customer_type), (entry.column, entry.value)):
        if column is None or value is None:
            continue
        if column not in accounts.column_names:
            raise InputError.of(
                "accounts",
                column,
                expected="the column that [[house.tones]] names",
                found=", ".join(accounts.column_names),
                hint=f'Ledger.from_frames(..., features=["{column}"]) keeps columns of yours.',
            )
        words = pc.cast(accounts[column].take(snapshot.rows["account"]), pa.string())
        held &= pc.fill_null(pc.equal(words, value), unknown).to_numpy()
    if entry.min_days_past_due is not None:
        held &= days_past_due >= entry.min_days_past_due
    if entry.max_days_past_due is not None:
        held &= days_past_due <= entry.max_days_past_due
    return held
