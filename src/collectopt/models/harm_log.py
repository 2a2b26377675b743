"""What a ledger tells of harm: contacts with what they drew, and weeks of invoicing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.models.dropout import Weeks
from collectopt.models.harm_prior import tiring
from collectopt.schema.ledger import Ledger
from collectopt.schema.tables import NO_CONTACT, OVERRIDE

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_DAY = 86_400_000_000  # microseconds
_WEEK, _MONTH = 7 * _DAY, 28 * _DAY
#: A contact draws a complaint or an opt-out within so many days, or none.
REACTION_DAYS = 28
#: Recent contacts beyond so many tire no further.
MOST = 12
#: Days past due of the oldest open claim at which an account changes its state.
LATE = (1, 8, 15, 31, 46, 61, 76, 91, 121)
_WEEKS, _ROWS = 104, 1_200_000  # longest past, and account-weeks, that are read
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts that were known before a time, in the order of person and time; m rows.

    Attributes
    ----------
    account, at, sent_at : (m,) int64
        Row of the account, time of the decision and of sending (microseconds UTC).
    channel, tone : (m,) int64
        Codes into `channels` and into the tones asked for; -1 = none of them.
    recent : (m,) int64
        Contacts with the same person in the 28 days before.
    complained, opted_out : (m,) bool
        Whether it drew that within the reaction window.
    channels : tuple of str
    """

    account: Int
    at: Int
    sent_at: Int
    channel: Int
    tone: Int
    recent: Int
    complained: Bool
    opted_out: Bool
    channels: tuple[str, ...]


def micros(moment: np.datetime64) -> int:
    """Microseconds since 1970."""
    return int(moment.astype("datetime64[us]").astype(np.int64))


def read_contacts(ledger: Ledger, as_of: np.datetime64, tones: tuple[str, ...]) -> Contacts:
    """Read what was known strictly before ``as_of``."""
    known = _before(ledger.timeline.contacts, as_of)
    sends = pc.invert(pc.is_in(known["channel"], value_set=pa.array(NO_CONTACT)))
    table = known.filter(pc.and_(sends, pc.is_valid(known["sent_at"])))
    account, sent = _ints(table["account"]), _ints(table["sent_at"])
    person = _persons(ledger.accounts)[account]
    order = np.lexsort((sent, person))
    table = table.take(pa.array(order))
    account, sent, person = account[order], sent[order], person[order]
    channels = tuple(sorted(pc.unique(table["channel"]).to_pylist()))
    drawn = _drawn(ledger, as_of, table["contact_id"], sent)
    return Contacts(
        account=account,
        at=_ints(table["known_at"]),
        sent_at=sent,
        channel=_codes(table["channel"], channels),
        tone=_codes(table["tone"], tones),
        recent=np.minimum(_recent(person, sent), MOST),
        complained=drawn["complained"],
        opted_out=drawn["opted_out"],
        channels=channels,
    )


def count_cells(contacts: Contacts, as_of: np.datetime64) -> Int:
    """Count contacts whose reaction is over by channel, tone and recent contacts.

    Returns
    -------
    (m, 6) int64
        Channel, tone, recent contacts, contacts, complaints, opt-outs.
    """
    over = contacts.sent_at + REACTION_DAYS * _DAY < micros(as_of)
    keys = np.column_stack([contacts.channel, contacts.tone, contacts.recent])[over]
    kinds, which = np.unique(keys, axis=0, return_inverse=True)
    counts = [
        np.bincount(which.reshape(-1), weights=drawn[over], minlength=len(kinds)).astype(np.int64)
        for drawn in (np.ones(len(over)), contacts.complained, contacts.opted_out)
    ]
    return np.column_stack([kinds, *counts])


def read_weeks(
    ledger: Ledger, as_of: np.datetime64, contacts: Contacts, tones: int
) -> Weeks | None:
    """Lay out the weeks before ``as_of``: invoices, state and contacts of each account.

    Who is contacted is chosen by lateness; so that is the state, and whether a decision was logged
    in the week, where the log tells of waits. Very large books are read in part, every so many
    accounts. None: there are no two weeks with invoices.
    """
    claims = _before(ledger.timeline.claims, as_of)
    bills = claims.filter(pc.equal(claims["kind"], "invoice"))
    end = micros(as_of)
    if not len(bills):
        return None
    weeks = min((end - int(_ints(bills["known_at"]).min())) // _WEEK + 1, _WEEKS)
    if weeks < 2:
        return None
    start = end - weeks * _WEEK
    owners = np.unique(_ints(bills["account"]))
    owners = owners[:: -(-len(owners) * weeks // _ROWS)]
    place = np.full(len(ledger.accounts), -1)
    place[owners] = np.arange(len(owners))
    shape = (len(owners), weeks)

    def cells(account: Int, at: Int) -> tuple[Int, Bool]:
        week = (at - start) // _WEEK
        inside = (place[account] >= 0) & (week >= 0) & (week < weeks)
        return place[account] * weeks + week, inside

    cell, inside = cells(_ints(bills["account"]), _ints(bills["known_at"]))
    invoices = np.bincount(cell[inside], minlength=shape[0] * shape[1]).reshape(shape)
    starts = start + _WEEK * np.arange(weeks)
    state = _lateness(ledger, as_of, place, len(owners), starts)
    decided = None
    waits = _before(ledger.timeline.contacts, as_of)
    if pc.any(pc.equal(waits["channel"], "none")).as_py():
        cell, inside = cells(_ints(waits["account"]), _ints(waits["known_at"]))
        decided = np.bincount(cell[inside], minlength=state.size).reshape(shape) > 0
    people = waits.filter(pc.fill_null(pc.starts_with(waits["policy"], OVERRIDE), False))
    by_hand = None
    if len(people):
        cell, inside = cells(_ints(people["account"]), _ints(people["known_at"]))
        by_hand = np.bincount(cell[inside], minlength=state.size).reshape(shape) > 0
    cell, inside = cells(contacts.account, contacts.at)
    exposure = np.zeros((*shape, tones))
    for tone in range(tones):
        rows = inside & (np.maximum(contacts.tone, 0) == tone)
        weight = tiring(contacts.recent[rows])
        exposure[:, :, tone] = np.bincount(
            cell[rows], weights=weight, minlength=state.size
        ).reshape(shape)
    return Weeks(invoices, state, exposure, len(LATE) + 1, decided, by_hand)


def _lateness(ledger: Ledger, as_of: np.datetime64, place: Int, owners: int, starts: Int) -> Int:
    """State by days past due of the oldest claim open at the start of each week, (A, W).

    A claim that was given up (a hold ``do_not_contact`` on it) counts no longer.
    """
    size = len(ledger.invoices)
    paid = _before(ledger.timeline.settlements, as_of)
    number, cents = _ints(paid["invoice"]), _ints(paid["cents"])
    total = np.bincount(number, weights=cents, minlength=size)
    last = np.zeros(size, dtype=np.int64)
    np.maximum.at(last, number, _ints(paid["known_at"]))
    given_up = _before(ledger.timeline.holds, as_of)
    stop = pc.and_(pc.equal(given_up["kind"], "do_not_contact"), pc.is_valid(given_up["invoice"]))
    given_up = given_up.filter(stop)
    until = np.full(size, _NEVER)
    np.minimum.at(until, _ints(given_up["invoice"]), _ints(given_up["known_at"]))
    claims = _before(ledger.timeline.claims, as_of)
    invoice, account = _ints(claims["invoice"]), place[_ints(claims["account"])]
    settled = total[invoice] >= _ints(claims["cents"])
    closed = np.minimum(np.where(settled, last[invoice], _NEVER), until[invoice])
    due = _ints(claims["due_at"])
    state = np.zeros((owners, len(starts)), dtype=np.int64)
    for week, now in enumerate(starts.tolist()):
        open_now = (account >= 0) & (due <= now) & (closed > now)
        age = np.zeros(owners, dtype=np.int64)
        np.maximum.at(age, account[open_now], (now - due[open_now]) // _DAY + 1)
        state[:, week] = np.searchsorted(np.array(LATE), age, side="right")
    return state


def _drawn(
    ledger: Ledger, as_of: np.datetime64, contact_id: pa.ChunkedArray, sent: Int
) -> dict[str, Bool]:
    """Whether each contact drew a complaint, an opt-out; who names no contact blames none."""
    responses = _before(ledger.timeline.responses, as_of)
    source = pc.index_in(responses["contact_id"], value_set=contact_id.combine_chunks())
    row = pc.fill_null(source, -1).to_numpy().astype(np.int64)
    soon = row >= 0
    soon[soon] = _ints(responses["known_at"])[soon] <= sent[row[soon]] + REACTION_DAYS * _DAY
    result = {}
    for kind in ("complained", "opted_out"):
        result[kind] = np.zeros(len(sent), dtype=np.bool_)
        result[kind][row[soon & pc.equal(responses["kind"], kind).to_numpy()]] = True
    return result


def _recent(person: Int, sent: Int) -> Int:
    """Earlier contacts of the person within 28 days; rows sorted by person and time."""
    if not len(sent):
        return np.zeros(0, dtype=np.int64)
    base = sent - sent.min()
    key = person * (int(base.max()) + 2 * _MONTH) + base
    found = np.searchsorted(key, key, "left") - np.searchsorted(key, key - _MONTH, "right")
    return np.maximum(found, 0).astype(np.int64)


def _persons(accounts: pa.Table) -> Int:
    """Give each account the number of its customer; without customer_id it is one of its own."""
    known = accounts["customer_id"].combine_chunks()
    codes = pc.index_in(known, value_set=pc.unique(known).drop_null())
    number = codes.fill_null(-1).to_numpy().astype(np.int64)
    alone = number < 0
    number[alone] = len(number) + np.flatnonzero(alone)
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def _before(table: pa.Table, as_of: np.datetime64) -> pa.Table:
    return table.filter(pc.less(pc.cast(table["known_at"], pa.int64()), micros(as_of)))


def _ints(column: pa.ChunkedArray) -> Int:
    return pc.cast(column.combine_chunks(), pa.int64()).to_numpy(zero_copy_only=False)


def _codes(values: pa.ChunkedArray, names: tuple[str, ...]) -> Int:
    index = pc.index_in(values, value_set=pa.array(names, pa.string()))
    return pc.fill_null(index, -1).to_numpy().astype(np.int64)
