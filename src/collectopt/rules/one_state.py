"""Facts for the rules of one account: the numbers of :meth:`State.of`, at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from collectopt.features.responses import PROMISE_DAYS
from collectopt.rules import facts
from collectopt.rules.calendar import state_of
from collectopt.rules.layout import Layout
from collectopt.rules.state import (
    _FAR,
    _HARDSHIP,
    _REACH,
    MONTH_US,
    NEVER,
    WEEK_US,
    Ints,
    State,
    slot_instant,
)
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.clock import Clock, UnusualError, micros
from collectopt.schema.house import SegmentTone
from collectopt.schema.one_rows import NOTHING, Contact
from collectopt.schema.one_seen import Seen
from collectopt.schema.tables import HOLD_KINDS
from collectopt.schema.times import DAY_US

_KEPT = 1_000  # time zones times days whose slots are kept
_TELLING, _CALLS, _SPOKEN = frozenset(_REACH), frozenset(facts.TELEPHONE), frozenset(facts._SPOKEN)  # noqa: SLF001
_SEVERE, _VULNERABLE = frozenset(_HARDSHIP), frozenset({"vulnerable"})
_CALL_DAYS = 14
_LOWEST, _HIGHEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_FOUND = {False: np.array([False]), True: np.array([True])}  # shared: not to be written to
for _each in _FOUND.values():
    _each.flags.writeable = False
#: What is said, what begins and ends it.
_SAID = {
    "disputed": ("dispute", True), "dispute_resolved": ("dispute", False),
    "promised": ("promise", True), "promise_broken": ("promise", False),
    "plan_accepted": ("payment_plan", True), "plan_broken": ("payment_plan", False),
}  # fmt: skip
_COLUMNS = {"customer_type", "country", "region", "language", "timezone", "customer_id",
            "creditor_id", "account_id"}  # fmt: skip


class QuickFacts:
    """Facts of one account after another; what they share is laid out once.

    Parameters
    ----------
    catalogue : Catalogue
    layout : Layout

    Raises
    ------
    UnusualError
        The catalogue's table of tones asks for a column that is not read here.
    """

    def __init__(self, catalogue: Catalogue, layout: Layout) -> None:
        self.layout, self.entries = layout, catalogue.house.tones
        for entry in self.entries or ():
            if entry.column is not None and entry.column not in _COLUMNS:
                raise UnusualError(entry.column)
        names = catalogue.channel_names
        self.channel = {name: c for c, name in enumerate(names)}
        self.consents = [f"{name}_ok" for name in names]
        self.tone: dict[str | None, int] = {name: k for k, name in enumerate(catalogue.tone_names)}
        self.cap = catalogue.limits.contacts_per_7_days
        self.pre_due_days = catalogue.limits.pre_due_days
        self.by_state = catalogue.jurisdiction == "de"
        self._slots: dict[tuple[str, int], tuple[Ints, tuple[Any, ...]]] = {}

    def of(self, seen: Seen, belief: tuple[float, float] | None) -> tuple[State, Ints]:
        """Collect the facts of one account; and when its contacts go out, (m,).

        Parameters
        ----------
        seen : Seen
        belief : (distress, doubt) or None
            What the policy believes of it.
        """
        account, as_of, day = seen.account, seen.as_of, seen.day
        send_at, local_day = self._clock(account.clock, day)
        region = account.texts["region"]
        contacts = self._known(seen)
        asked = self._asked(seen)
        holds, said = self._holds(seen), self._said(seen) if self.by_state else None
        opted_out, bounced = self._responses(seen)
        sent = np.array([contact.sent for contact in contacts], dtype=np.int64)
        late, last = asked["days_past_due"], contacts[-1] if contacts else None
        own = sum(contact.day > asked["oldest"] for contact in contacts)
        whole = np.array([
            0,
            asked["due_in"],
            -1 if last is None else max(self.tone.get(last.tone, -1), 0),
            own,
            late,
            day + _FAR if last is None else day - last.day,
            sum(contact.sent > as_of - MONTH_US for contact in contacts),
            0,
            _FAR if self.cap is None else self._free(contacts, as_of),
            _conversation(seen),
        ], dtype=np.int64)  # fmt: skip
        clock, due_in, last_tone, own_contacts, past, since, recent, person, free, spoken = (
            whole[k : k + 1] for k in range(len(whole))
        )
        state = State(
            as_of=as_of,
            clock=clock,
            send_at=send_at,
            local_day=local_day,
            consent=np.array([[self._consent(seen, name) for name in self.consents]], np.int8),
            land=(state_of(region) if self.by_state and region is not None else None,),
            opted_out=opted_out,
            bounced=bounced,
            holds=holds,
            vulnerable=_any(seen, _VULNERABLE),
            past_due=_FOUND[asked["past_due"]],
            due_in=due_in,
            open_amount=np.array([asked["cents"] / 100.0]),
            first=_FOUND[own == 0],
            last_tone=last_tone,
            own_contacts=own_contacts,
            days_past_due=past,
            days_since_contact=since,
            recent=recent,
            person=person,
            free=free,
            blocked=self._blocked(sent),
            consumer=_FOUND[account.customer_type == "consumer"],
            distress=None if belief is None else np.array(belief[:1]),
            doubt=None if belief is None else np.array(belief[1:]),
            call_days=_calls(seen),
            conversation_day=spoken,
            disputed=_FOUND[_disputed(seen)],
            zone_unknown=_FOUND[account.texts["timezone"] is None],
            **self._tones(seen, late),
            said=said,
            hardship=_any(seen, _SEVERE),
            was_at_agency=_FOUND[any(each.hold.kind == "agency" for each in seen.holds)],
        )
        return state, sent

    def _clock(self, clock: Clock, day: int) -> tuple[Ints, tuple[Any, ...]]:
        """Slots in UTC, (1, S), and their local days."""
        found = self._slots.get((clock.zone, day))
        if found is None:
            today = np.datetime64(day, "D").item()
            zone, slots = ZoneInfo(clock.zone), self.layout.slots
            moments = [slot_instant(today + timedelta(days=k), hour, zone) for k, hour in slots]
            send_at = np.array([[NEVER if m is None else micros(m) for m in moments]], np.int64)
            send_at = send_at.reshape(1, len(slots))
            send_at.flags.writeable = False
            found = send_at, (tuple(today + timedelta(days=k) for k, _ in slots),)
            if len(self._slots) >= _KEPT:
                self._slots.clear()
            self._slots[clock.zone, day] = found
        return found

    def _consent(self, seen: Seen, column: str) -> int:
        given = seen.account.consent.get(column, 2)
        return -1 if given is None else int(given)

    def _known(self, seen: Seen) -> list[Contact]:
        """Contacts by time; at the same time the firmest first."""
        known = seen.decided
        if any(a.sent == b.sent for a, b in pairwise(known)):
            return sorted(known, key=lambda c: (c.sent, -max(self.tone.get(c.tone, -1), 0)))
        return known

    def _asked(self, seen: Seen) -> dict[str, Any]:
        """Claims that may be asked for: past due, or else due within the days allowed."""
        free = [each for each in seen.open if not each.held]
        asked = [each for each in free if each.past_due]
        past_due, due_in = bool(asked), _FAR
        if not past_due:
            due_in = min((-each.dpd for each in free), default=_FAR)
            if self.pre_due_days > 0:
                asked = [each for each in free if -each.dpd <= self.pre_due_days]
        oldest = min((each.claim.due for each in asked), default=_FAR)
        return {
            "past_due": past_due,
            "due_in": min(due_in, _FAR),
            "oldest": oldest,
            "cents": sum(each.cents for each in asked),
            "days_past_due": 0 if oldest == _FAR else seen.day - oldest,
        }

    def _free(self, contacts: list[Contact], as_of: int) -> int:
        assert self.cap is not None
        return max(self.cap - sum(c.sent > as_of - WEEK_US for c in contacts), 0)

    def _blocked(self, sent: Ints) -> tuple[Ints, Ints]:
        cap = self.cap
        if cap is None:
            return np.empty((1, 0), np.int64), np.empty((1, 0), np.int64)
        if cap == 0:
            return np.array([[_LOWEST]]), np.array([[_HIGHEST]])
        times = sent.tolist()
        tight = [
            (b - WEEK_US, a + WEEK_US)
            for a, b in zip(times, times[cap - 1 :], strict=False)
            if b - a < WEEK_US
        ]
        ends = np.array(tight, dtype=np.int64).reshape(-1, 2)
        return ends[None, :, 0], ends[None, :, 1]

    def _responses(self, seen: Seen) -> tuple[Any, Any]:
        """Channels that the customer banned, and those whose last message came back."""
        shape, contacts = (1, len(self.channel)), seen.account.contacts
        opted_out, bounced = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        last: dict[int, tuple[int, bool]] = {}
        for response in seen.responses:
            ban = response.kind == "opted_out"
            if not ban and response.kind not in _TELLING:
                continue
            if response.contact == NOTHING:
                if ban:
                    opted_out[:] = True  # of which channel is not known: of all
                continue
            c = self.channel.get(contacts[response.contact].channel)
            if c is None:
                continue
            if ban:
                opted_out[0, c] = True
            else:
                back = response.kind == "bounced"
                before = last.get(c)
                if before is not None and before[0] == response.known and before[1] != back:
                    raise UnusualError(response)  # which of the two came last is not known
                if before is None or before[0] <= response.known:
                    last[c] = (response.known, back)
        for c, (_, back) in last.items():
            bounced[0, c] = back
        return opted_out, bounced

    def _holds(self, seen: Seen) -> dict[str, Any]:
        if not seen.holds:
            return dict.fromkeys(HOLD_KINDS, _FOUND[False])
        held = {h.hold.kind for h in seen.holds if h.active and h.hold.invoice == NOTHING}
        return {kind: _FOUND[kind in held] for kind in HOLD_KINDS}

    def _said(self, seen: Seen) -> dict[str, Any]:
        """Find what the customer told of and nobody recorded as a hold; see `facts.said`."""
        last: dict[str, tuple[int, bool, int, int]] = {}
        for response in seen.responses:
            of = _SAID.get(response.kind)
            if of is not None:
                due = response.day + PROMISE_DAYS if response.due is None else response.due
                each = (response.known, of[1], due, response.day)
                last[of[0]] = max(last.get(of[0], each), each)
        masks = {}
        for kind in facts.SAID:
            found = last.get(kind)
            masks[kind] = _FOUND[found is not None and _stands(seen, kind, found)]
        return masks

    def _tones(self, seen: Seen, late: int) -> dict[str, Any]:
        """Entries of the table of tones that hold, and by how much they shift what is chosen."""
        if self.entries is None:
            return {"segments": None, "tone_offset": None}
        account = seen.account
        row = {
            **account.texts,
            "account_id": account.account_id,
            "customer_type": account.customer_type,
            "country": account.country,
        }
        held = [_held(entry, row, late, unknown=True) for entry in self.entries]
        steps = [
            each.offset * _held(each, row, late, unknown=each.offset < 0)
            for each in self.entries
            if each.offset is not None
        ]
        return {
            "segments": np.array([held], dtype=bool).reshape(1, len(held)),
            "tone_offset": np.array([sum(steps)], dtype=np.int64) if steps else None,
        }


def _held(entry: SegmentTone, row: Mapping[str, str | None], late: int, *, unknown: bool) -> bool:
    """Whether an account is in the segment of an entry; ``unknown`` where a value is null."""
    for column, value in (("customer_type", entry.customer_type), (entry.column, entry.value)):
        if column is not None and value is not None:
            own = row[column]
            if not (unknown if own is None else own == value):
                return False
    low, high = entry.min_days_past_due, entry.max_days_past_due
    return (low is None or late >= low) and (high is None or late <= high)


def _any(seen: Seen, kinds: frozenset[str]) -> Any:
    return _FOUND[any(each.active and each.hold.kind in kinds for each in seen.holds)]


def _calls(seen: Seen) -> Ints:
    since = seen.as_of // DAY_US - _CALL_DAYS
    every = seen.account.contacts
    days = [c.day for c in every if c.channel in _CALLS and c.known < seen.as_of and c.day > since]
    return np.array([sorted(days)], dtype=np.int64)


def _conversation(seen: Seen) -> int:
    contacts = seen.account.contacts
    days = [
        r.day
        for r in seen.responses
        if r.kind in _SPOKEN and (r.contact == NOTHING or contacts[r.contact].channel in _CALLS)
    ]
    return max([facts.LONG_AGO, *days])


def _disputed(seen: Seen) -> bool:
    kinds = ("disputed", "dispute_resolved")
    last = max(
        ((r.known, r.kind == kinds[0]) for r in seen.responses if r.kind in kinds), default=None
    )
    return last is not None and last[1]


def _stands(seen: Seen, kind: str, last: tuple[int, bool, int, int]) -> bool:
    _, begins, due, day = last
    return (
        begins
        and (kind != "promise" or seen.day <= due)
        and any(each.claim.issued <= day for each in seen.open)
        and not any(h.hold.kind == kind and h.hold.day >= day - 1 for h in seen.holds)
    )
