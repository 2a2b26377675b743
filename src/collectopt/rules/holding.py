"""Holds in force: which, whom they bind, and since when, until when and why, where a book says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.schema.snapshot import Snapshot

Ints = NDArray[np.int64]
# The other kinds bind the person: every account with the same customer_id.
OF_ACCOUNT = ("dispute", "promise", "payment_plan", "service", "agency", "court")
_ENDS = ("to_at", "ended_at")


def in_force(snapshot: Snapshot, as_of: int) -> pa.Table:
    """Rows of the timeline's holds that were known before as_of (microseconds) and are not over."""
    table = snapshot.ledger.timeline.holds
    forever = np.iinfo(np.int64).max
    to_at, ended_at = (_micros(pc.fill_null(pc.cast(table[c], pa.int64()), forever)) for c in _ENDS)
    active = (_micros(table["known_at"]) < as_of) & (to_at > as_of) & (ended_at >= as_of)
    return table.filter(pa.array(active))


def because(snapshot: Snapshot, as_of: int, person: Ints) -> NDArray[np.object_] | None:
    """Say of each account since when, until when and why it is on hold.

    Parameters
    ----------
    snapshot : Snapshot
        n accounts.
    as_of : int
        Microseconds since 1970, UTC.
    person : int array (accounts of the ledger,)
        Number of the customer.

    Returns
    -------
    object array (n,) or None
        A dict from the code of the rule to words, of the holds on the whole account that have a
        reason. None where no hold has one.
    """
    table = in_force(snapshot, as_of)
    if "reason" not in table.column_names:
        return None
    said = pc.not_equal(pc.utf8_trim_whitespace(table["reason"]), "")
    table = table.filter(pc.and_(pc.fill_null(said, False), pc.is_null(table["invoice"])))
    if not len(table):
        return None
    by_account: dict[int, list[tuple[str, str]]] = {}
    by_person: dict[int, list[tuple[str, str]]] = {}
    keys = [(name, "ascending") for name in ("from_on", "to_on", "reason")]
    for hold in table.sort_by(keys).to_pylist():
        of_account = hold["kind"] in OF_ACCOUNT
        whose = hold["account"] if of_account else int(person[hold["account"]])
        told = (f"HOLD_{hold['kind'].upper()}", _words(hold))
        (by_account if of_account else by_person).setdefault(whose, []).append(told)
    found = np.empty(len(snapshot), dtype=object)
    for row, account in enumerate(snapshot.rows["account"].to_pylist()):
        found[row] = {}
        for code, words in (*by_account.get(account, ()), *by_person.get(int(person[account]), ())):
            found[row][code] = f"{found[row][code]}; {words}" if code in found[row] else words
    return found


def _words(hold: dict[str, Any]) -> str:
    end = "until further notice" if hold["to_on"] is None else f"until {hold['to_on']}"
    why = " ".join(hold["reason"].split())
    return f"on hold since {hold['from_on']} {end}, because {why}"


def _micros(instants: pa.ChunkedArray) -> Ints:
    return pc.cast(instants, pa.int64()).to_numpy()
