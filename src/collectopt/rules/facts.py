"""Facts that only some jurisdictions ask for: calls, conversations, disputes, unknown clocks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.schema.snapshot import Snapshot

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
TELEPHONE = ("phone", "voice")
LONG_AGO = -(10**9)
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
