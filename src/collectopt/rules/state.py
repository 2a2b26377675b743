"""The facts that rules ask for, as arrays with one row an account, known before the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.exceptions import InputError
from collectopt.rules import facts, holding
from collectopt.rules.calendar import state_of
from collectopt.rules.layout import Layout
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.tables import HOLD_KINDS, NO_CONTACT

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).min
WEEK_US = 7 * 24 * 3_600_000_000
MONTH_US = 4 * WEEK_US
_FAR = 10**9  # days or contacts: more than there will ever be
_REACH = ("delivered", "opened", "clicked", "answered", "bounced")
# Also where they stand on one claim: whoever is held so is in hardship, or in the hands of the law.
_HARDSHIP = (
    "payment_plan", "insolvency", "deceased", "breathing_space", "vulnerable", "do_not_contact",
    "agency", "court",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class State:
    """What is known of n accounts at the time of the decision.

    Attributes
    ----------
    as_of : int
        Microseconds since 1970, UTC.
    clock : int array (n,)
        Row of `send_at`: accounts of one time zone share a clock, in Germany of one zone and state.
    send_at : int64 array (Z, S)
        Microseconds UTC of each slot; the smallest integer where the local time does not exist.
    local_day : tuple of Z tuples of S dates
        Local day of each slot.
    consent : int8 array (n, C)
        1 given, 0 refused, -1 not known, 2 the book keeps no such column.
    land : tuple of Z str or None
        German state of each clock by its two letters; None = not known, or nobody asked for it.
    opted_out, bounced : bool array (n, C)
        The customer has banned the channel; its last message could not be delivered.
    holds : mapping of str to bool array (n,)
        Holds on the whole account, by kind.
    vulnerable : bool array (n,)
        A hold `vulnerable` on the account or on one of its claims.
    past_due : bool array (n,)
        Some claim, not on hold, is past due.
    due_in : int array (n,)
        Days until the next such claim is due where none is past due.
    open_amount : float array (n,)
        EUR of the claims that may be asked for.
    first : bool array (n,)
        No contact yet since the oldest such claim fell due.
    last_tone : int array (n,)
        Rank of the tone of the last contact (sent, or chosen and not yet sent); -1 = no contact.
    own_contacts : int array (n,)
        Contacts since the oldest such claim fell due.
    days_past_due : int array (n,)
        Days since the oldest such claim was due; below 0 before; 0 where there is none.
    days_since_contact : int array (n,)
        Local days since the last contact; below 0 where it is still to be sent; a large number
        where there was none.
    recent : int array (n,)
        Contacts of the same customer in the 28 days before as_of and later.
    person : int array (n,)
        Number of the customer; accounts of one customer share it.
    free : int array (n,)
        Further contacts that the cap leaves the customer for certain; a large number without cap.
    blocked : tuple of two int64 arrays (n, m)
        Start and end of the open intervals in which one more contact would break the cap.
    consumer : bool array (n,)
    distress, doubt : float array (n,) or None
        Belief of the policy, 0 to 1: probability of financial distress; how unclear it is why the
        account is late. None, or nan = the policy does not know.
    hardship : bool array (n,) or None
        A hold that tells of hardship or of legal steps, on an account or a claim of the customer.
    call_days, conversation_day, disputed, zone_unknown, was_at_agency : arrays or None
    said : mapping of str to bool array (n,), or None
        See :mod:`collectopt.rules.facts`. None = nobody asked for it; rules that need it refuse.
    segments : bool array (n, entries) or None
        Which entries of the catalogue's table of tones hold; None = it has none.
    tone_offset : int array (n,) or None
        By how many tones that table shifts what is chosen, below 0 = milder; None = not at all.
    because : object array (n,) or None
        Since when, until when and why, by code of the hold; None = the book does not say.
    approved : bool array (n, kinds of action) or None
        What a person approved of; None = nothing.
    """

    as_of: int
    clock: Ints
    send_at: Ints
    local_day: tuple[tuple[date, ...], ...]
    consent: NDArray[np.int8]
    opted_out: Bools
    bounced: Bools
    holds: Mapping[str, Bools]
    vulnerable: Bools
    past_due: Bools
    due_in: Ints
    open_amount: NDArray[np.float64]
    first: Bools
    last_tone: Ints
    own_contacts: Ints
    days_past_due: Ints
    days_since_contact: Ints
    recent: Ints
    person: Ints
    free: Ints
    blocked: tuple[Ints, Ints]
    consumer: Bools
    distress: NDArray[np.float64] | None = None
    doubt: NDArray[np.float64] | None = None
    call_days: Ints | None = None
    conversation_day: Ints | None = None
    disputed: Bools | None = None
    zone_unknown: Bools | None = None
    segments: Bools | None = None
    approved: Bools | None = None
    said: Mapping[str, Bools] | None = None
    land: tuple[str | None, ...] = ()
    hardship: Bools | None = None
    was_at_agency: Bools | None = None
    tone_offset: Ints | None = None
    because: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.clock)

    @classmethod
    def of(cls, snapshot: Snapshot, catalogue: Catalogue, layout: Layout) -> State:
        """Collect the facts of a snapshot that has one time for all rows.

        Raises
        ------
        InputError
            It is no snapshot, or the rows have different times.
        """
        if not isinstance(snapshot, Snapshot):
            raise InputError.of(
                "snapshot",
                None,
                expected="a Snapshot",
                found=type(snapshot).__name__,
                hint="Make one: Snapshot(ledger, as_of).",
            )
        times = np.unique(snapshot.as_of)
        if len(times) > 1:
            raise InputError.of(
                "snapshot", "as_of", expected="one time for all rows", found=f"{len(times)} times"
            )
        as_of = int(times[0].astype(np.int64)) if len(times) else 0
        account = snapshot.rows["account"].to_numpy()
        clock, send_at, local_day, land = _clocks(snapshot, layout, catalogue.jurisdiction == "de")
        claims = _claims(snapshot, catalogue.limits.pre_due_days)
        contacts = _Contacts.of(snapshot, catalogue, as_of)
        opted_out, bounced = _responses(snapshot, catalogue, as_of, contacts.person)
        cap = catalogue.limits.contacts_per_7_days
        today = snapshot.rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
        row_holds = _holds(snapshot, as_of, contacts.person)
        history = contacts.history(account, claims["oldest_due"], today)
        return cls(
            as_of=as_of,
            clock=clock,
            send_at=send_at,
            local_day=local_day,
            land=land,
            consent=_consent(snapshot, catalogue),
            opted_out=opted_out,
            bounced=bounced,
            holds={kind: row_holds[kind] for kind in HOLD_KINDS},
            vulnerable=row_holds["any vulnerable"],
            past_due=claims["past_due"],
            due_in=claims["due_in"],
            open_amount=claims["open_amount"],
            recent=contacts.recent(account, as_of),
            person=contacts.person[account],
            free=contacts.free(account, cap, as_of),
            blocked=contacts.blocked(account, cap),
            consumer=_text(snapshot, "customer_type") == "consumer",
            **history,
            call_days=facts.call_days(snapshot, as_of),
            conversation_day=facts.conversation_day(snapshot, as_of),
            disputed=facts.disputed(snapshot, as_of),
            zone_unknown=facts.zone_unknown(snapshot),
            segments=facts.segments(snapshot, catalogue, history["days_past_due"]),
            said=facts.said(snapshot, as_of) if catalogue.jurisdiction == "de" else None,
            hardship=row_holds["hardship"],
            was_at_agency=facts.was_at_agency(snapshot, as_of),
            because=holding.because(snapshot, as_of, contacts.person),
            tone_offset=facts.tone_offsets(snapshot, catalogue, history["days_past_due"]),
        )


def _text(snapshot: Snapshot, column: str) -> NDArray[np.object_]:
    values = snapshot.ledger.accounts[column].take(snapshot.rows["account"])
    return values.to_numpy(zero_copy_only=False)


_Clocks = tuple[Ints, Ints, tuple[tuple[date, ...], ...], tuple[str | None, ...]]


def _clocks(snapshot: Snapshot, layout: Layout, by_state: bool) -> _Clocks:
    """Slots in UTC for each time zone of the book; in Germany for each zone and state."""
    zones = snapshot.ledger.zones.take(snapshot.rows["account"].combine_chunks())
    keys = zones.to_numpy(zero_copy_only=False).astype(str)
    if by_state:
        regions, place = np.unique(_text(snapshot, "region").astype(str), return_inverse=True)
        codes = np.array([state_of(region) or "" for region in regions.tolist()], dtype=str)
        keys = np.char.add(np.char.add(keys, "|"), codes[place.reshape(-1)])
    else:
        keys = np.char.add(keys, "|")
    pairs, clock = np.unique(keys, return_inverse=True)
    names, lands = ([pair.split("|")[k] for pair in pairs.tolist()] for k in (0, 1))
    days = snapshot.rows["day"].to_numpy()
    send_at = np.full((len(names), len(layout.slots)), NEVER, dtype=np.int64)
    local_day = []
    for z, name in enumerate(names):
        today: date = days[np.argmax(clock == z)].astype("datetime64[D]").item()
        for s, (offset, hour) in enumerate(layout.slots):
            moment = slot_instant(today + timedelta(days=offset), hour, ZoneInfo(name))
            if moment is not None:
                send_at[z, s] = np.datetime64(moment.replace(tzinfo=None), "us").astype(np.int64)
        local_day.append(tuple(today + timedelta(days=offset) for offset, _ in layout.slots))
    return (
        clock.reshape(-1).astype(np.int64),
        send_at,
        tuple(local_day),
        tuple(land or None for land in lands),
    )


def slot_instant(day: date, hour: float, zone: ZoneInfo) -> datetime | None:
    """Turn a local day and hour into UTC.

    A local time that the clock skips gives None; one that comes twice means the first.

    Examples
    --------
    >>> slot_instant(date(2026, 3, 29), 2.5, ZoneInfo("Europe/Berlin")) is None
    True
    >>> print(slot_instant(date(2026, 10, 25), 2.5, ZoneInfo("Europe/Berlin")))
    2026-10-25 00:30:00+00:00
    """
    wall = datetime.combine(day, datetime.min.time()) + timedelta(minutes=round(hour * 60))
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


def _consent(snapshot: Snapshot, catalogue: Catalogue) -> NDArray[np.int8]:
    accounts = snapshot.ledger.accounts
    consent = np.full((len(snapshot), len(catalogue.channels)), 2, dtype=np.int8)
    for c, name in enumerate(catalogue.channel_names):
        if f"{name}_ok" in accounts.column_names:
            given = accounts[f"{name}_ok"].take(snapshot.rows["account"])
            filled = pc.fill_null(pc.cast(given, pa.int8()), -1)
            consent[:, c] = filled.to_numpy()
    return consent


def _responses(
    snapshot: Snapshot, catalogue: Catalogue, as_of: int, person: Ints
) -> tuple[Bools, Bools]:
    """Channels that the customer banned, and those whose last message came back."""
    table = snapshot.ledger.timeline.responses.select(["account", "known_at", "channel", "kind"])
    telling = pc.is_in(table["kind"], pa.array([*_REACH, "opted_out"]))
    table = table.filter(pc.and_(pa.array(_micros(table["known_at"]) < as_of), telling))
    table = table.sort_by([("account", "ascending"), ("known_at", "ascending")])
    account = table["account"].to_numpy()
    channel = _codes(table["channel"], catalogue.channel_names)
    ban = pc.equal(table["kind"], "opted_out").to_numpy()
    back = pc.equal(table["kind"], "bounced").to_numpy()
    shape = (len(person), len(catalogue.channels))
    opted_out, bounced = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    told = ~ban & (channel >= 0)
    nameless = ~table["channel"].is_valid().to_numpy()
    opted_out[person[account[ban & nameless]]] = True  # of which channel is not known: of all
    ban &= channel >= 0
    opted_out[person[account[ban]], channel[ban]] = True
    bounced[account[told], channel[told]] = back[told]  # in time: the last assignment stands
    asked = snapshot.rows["account"].to_numpy()
    return opted_out[person[asked]], bounced[asked]


def _holds(snapshot: Snapshot, as_of: int, person: Ints) -> dict[str, Bools]:
    """Find holds in force, by kind; some bind every account of the customer."""
    table = holding.in_force(snapshot, as_of)
    account, kind = table["account"].to_numpy(), table["kind"].to_numpy(zero_copy_only=False)
    whole = ~table["invoice"].is_valid().to_numpy()
    asked = snapshot.rows["account"].to_numpy()
    masks = {}
    anywhere = {"any vulnerable": ("vulnerable",), "hardship": _HARDSHIP}
    for name in (*HOLD_KINDS, *anywhere):
        held = np.zeros(len(person), dtype=bool)
        rows = np.isin(kind, anywhere[name]) if name in anywhere else whole & (kind == name)
        whose = np.arange(len(person)) if name in holding.OF_ACCOUNT else person
        held[whose[account[rows]]] = True
        masks[name] = held[whose[asked]]
    return masks


def _claims(snapshot: Snapshot, pre_due_days: int) -> dict[str, NDArray[Any]]:
    """Sum up the claims that may be asked for: past due, or else due within the days allowed."""
    n = len(snapshot)
    claims = snapshot.claims
    row, dpd = claims["row"].to_numpy(), claims["dpd"].to_numpy().astype(np.int64)
    free = ~claims["held"].to_numpy(zero_copy_only=False)
    cents = claims["open_cents"].to_numpy()
    due = claims["due_on"].to_numpy().astype("datetime64[D]").astype(np.int64)
    past = free & claims["past_due"].to_numpy(zero_copy_only=False)
    past_due = np.zeros(n, dtype=bool)
    past_due[row[past]] = True
    soon = free & ~past & ~past_due[row]
    due_in = np.full(n, _FAR)
    np.minimum.at(due_in, row[soon], -dpd[soon])
    asked = past | (soon & (-dpd <= pre_due_days) & (pre_due_days > 0))
    oldest = np.full(n, _FAR)
    np.minimum.at(oldest, row[asked], due[asked])
    total = np.zeros(n, dtype=np.int64)
    np.add.at(total, row[asked], cents[asked])
    return {
        "past_due": past_due,
        "due_in": due_in,
        "oldest_due": oldest,
        "open_amount": total / 100.0,
    }


@dataclass(frozen=True, eq=False)
class _Contacts:
    """Contacts known at as_of, sorted by account and time; also those not yet sent."""

    account: Ints
    sent_at: Ints
    day: Ints
    tone: Ints
    person: Ints  # of every account of the ledger

    @classmethod
    def of(cls, snapshot: Snapshot, catalogue: Catalogue, as_of: int) -> _Contacts:
        ledger = snapshot.ledger
        table = ledger.timeline.contacts
        real = pc.invert(pc.is_in(table["channel"], pa.array(NO_CONTACT)))
        table = table.filter(pc.and_(pa.array(_micros(table["known_at"]) < as_of), real))
        account, sent_at = table["account"].to_numpy().astype(np.int64), _micros(table["sent_at"])
        # a tone that is not known counts as the gentlest: the next step is the smallest then
        tone = np.maximum(_codes(table["tone"], catalogue.tone_names), 0)
        order = np.lexsort((-tone, sent_at, account))
        return cls(
            account=account[order],
            sent_at=sent_at[order],
            day=table["local_day"].to_numpy().astype("datetime64[D]").astype(np.int64)[order],
            tone=tone[order],
            person=_persons(ledger.accounts),
        )

    def history(self, account: Ints, oldest_due: Ints, today: Ints) -> dict[str, NDArray[Any]]:
        """Contacts since the oldest claim fell due, and the last of all."""
        since = np.full(len(self.person), _FAR)
        since[account] = oldest_due
        inside = self.day > since[self.account]
        own = np.bincount(self.account[inside], minlength=len(self.person))[account]
        last = np.full(len(self.person), -1, dtype=np.int64)
        last[self.account] = self.tone  # sorted: the last assignment stands
        day = np.full(len(self.person), -_FAR)
        day[self.account] = self.day
        return {
            "own_contacts": own,
            "first": own == 0,
            "last_tone": last[account],
            "days_past_due": np.where(oldest_due == _FAR, 0, today - oldest_due),
            "days_since_contact": today - day[account],
        }

    def recent(self, account: Ints, as_of: int) -> Ints:
        """Contacts of the person since 28 days before as_of."""
        near = self.sent_at > as_of - MONTH_US
        owner = self.person[self.account[near]]
        return np.bincount(owner, minlength=len(self.person))[self.person[account]]

    def free(self, account: Ints, cap: int | None, as_of: int) -> Ints:
        """Contacts that the cap leaves in any case: those of the last 7 days and later count."""
        if cap is None:
            return np.full(len(account), _FAR)
        owner = self.person[self.account[self.sent_at > as_of - WEEK_US]]
        used = np.bincount(owner, minlength=len(self.person))[self.person[account]]
        return np.maximum(cap - used, 0)

    def blocked(self, account: Ints, cap: int | None) -> tuple[Ints, Ints]:
        """Intervals in which one more contact makes more than ``cap`` within 7 x 24 hours.

        Contacts a <= ... <= b, ``cap`` in a row with b - a < 7 days, leave no room for one more
        between b - 7 days and a + 7 days, both ends free.
        """
        n = len(account)
        if cap is None:
            return np.empty((n, 0), np.int64), np.empty((n, 0), np.int64)
        if cap == 0:
            lowest, highest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
            return np.full((n, 1), lowest), np.full((n, 1), highest)
        owner = self.person[self.account]
        order = np.lexsort((self.sent_at, owner))
        owner, times = owner[order], self.sent_at[order]
        a, b = slice(0, max(len(times) - cap + 1, 0)), slice(cap - 1, None)
        tight = (owner[a] == owner[b]) & (times[b] - times[a] < WEEK_US)
        who, low, high = owner[a][tight], times[b][tight] - WEEK_US, times[a][tight] + WEEK_US
        return _padded(who, low, high, self.person[account])


def sent_times(snapshot: Snapshot, catalogue: Catalogue, account: Ints) -> list[Ints]:
    """Give the times of all contacts of each account's customer that are known, microseconds."""
    as_of = int(snapshot.as_of[0].astype(np.int64))
    contacts = _Contacts.of(snapshot, catalogue, as_of)
    owner = contacts.person[contacts.account]
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], [contacts.person[account], contacts.person[account] + 1])
    return [contacts.sent_at[order[a:b]] for a, b in ends.T]


def _padded(who: Ints, low: Ints, high: Ints, person: Ints) -> tuple[Ints, Ints]:
    """Spread intervals, sorted by person, over columns; an empty interval fills up."""
    first = np.searchsorted(who, person, side="left")
    count = np.searchsorted(who, person, side="right") - first
    width = int(count.max(initial=0))
    lows = np.zeros((len(person), width), dtype=np.int64)
    highs = np.zeros((len(person), width), dtype=np.int64)
    for j in range(width):
        has = count > j
        lows[has, j], highs[has, j] = low[first[has] + j], high[first[has] + j]
    return lows, highs


def _persons(accounts: pa.Table) -> Ints:
    """Give every customer a number; an account without customer_id is a customer of its own."""
    known = accounts["customer_id"].combine_chunks()
    codes = pc.index_in(known, value_set=pc.unique(known).drop_null())
    number = codes.fill_null(-1).to_numpy().astype(np.int64)
    alone = number < 0
    number[alone] = len(number) + np.flatnonzero(alone)
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)  # customers in the order of their first account
    order[np.argsort(first)] = np.arange(len(first))
    return order[which.reshape(-1)]


def _codes(values: pa.ChunkedArray, names: tuple[str, ...]) -> Ints:
    index = pc.index_in(values, value_set=pa.array(names, pa.string()))
    return pc.fill_null(index, -1).to_numpy().astype(np.int64)


def _micros(instants: pa.ChunkedArray) -> Ints:
    return pc.cast(instants, pa.int64()).to_numpy()
