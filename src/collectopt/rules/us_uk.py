"""Permissions of the packs ``us_regf`` and ``uk_conc``; their numbers stand in the packs.

Each asks for facts that a state of another jurisdiction may lack (None): then it refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from collectopt.rules.calendar import english_holidays
from collectopt.rules.facts import TELEPHONE
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.permissions import CALLS, PUSHES, Permission
from collectopt.rules.state import NEVER, State
from collectopt.schema.actions import ActionKind

Bools = NDArray[np.bool_]
US_ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
)
_SUNDAY = 6
_1970 = date(1970, 1, 1)


@dataclass(frozen=True)
class CallFrequency(Permission):
    """So many calls about a claim within so many days in a row, in local days.

    A call to an account counts for every claim of the account. Calls that were chosen and are not
    made yet count too.

    Parameters
    ----------
    channels : tuple of str
    calls, days : int
    """

    channels: tuple[str, ...] = ()
    calls: int = 7
    days: int = 7
    code: ClassVar[str] = "CALL_FREQUENCY"
    unit: ClassVar[Unit] = Unit.CHANNEL_SLOT
    source: ClassVar[str] = "12 CFR 1006.14(b)(2)(i)(A)"
    reason: ClassVar[str] = "as many calls about the claim as seven days allow"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse calls on days at which one more would be too many."""
        slot_day = _slot_days(state)[state.clock[rows]]
        refused = np.zeros(slot_day.shape, dtype=bool)
        if state.call_days is None or self.calls == 0:
            refused[:] = True
        else:
            days = state.call_days[rows]
            for j in range(days.shape[1] - self.calls + 1):
                first, last = days[:, j, None], days[:, j + self.calls - 1, None]
                tight = last - first < self.days
                refused |= tight & (slot_day > last - self.days) & (slot_day < first + self.days)
        return _on(self.channels, TELEPHONE, refused, layout)


@dataclass(frozen=True)
class CallAfterConversation(Permission):
    """No call for so many days after a conversation; its local day is the first of them.

    Parameters
    ----------
    channels : tuple of str
    days : int
    """

    channels: tuple[str, ...] = ()
    days: int = 7
    code: ClassVar[str] = "CALL_AFTER_CONVERSATION"
    unit: ClassVar[Unit] = Unit.CHANNEL_SLOT
    source: ClassVar[str] = "12 CFR 1006.14(b)(2)(i)(B)"
    reason: ClassVar[str] = "a conversation about the claim was within seven days"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse calls on days too near."""
        slot_day = _slot_days(state)[state.clock[rows]]
        if state.conversation_day is None:
            refused = np.ones(slot_day.shape, dtype=bool)
        else:
            refused = slot_day < state.conversation_day[rows, None] + self.days
        return _on(self.channels, TELEPHONE, refused, layout)


@dataclass(frozen=True)
class ConsumerHours(Permission):
    """Whatever the channel, only within these local hours; the end is excluded.

    Where the book does not name the time zone, the hour must do in every zone of the country.

    Parameters
    ----------
    first, last : float
        Local hours.
    """

    first: float = 8.0
    last: float = 21.0
    code: ClassVar[str] = "CONSUMER_HOURS"
    unit: ClassVar[Unit] = Unit.SLOT
    source: ClassVar[str] = "12 CFR 1006.6(b)(1)"
    reason: ClassVar[str] = "outside 8 to 21 hours where the customer is"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse slots outside the hours."""
        hour = np.array([h for _, h in layout.slots])
        own = (hour < self.first) | (hour >= self.last)
        unsure = _unsure(state, rows)
        anywhere = np.zeros(state.send_at.shape, dtype=bool)
        if unsure.any():
            for zone in US_ZONES:
                there = _wall_hours(state, zone)
                anywhere |= ~((there >= self.first) & (there < self.last))
        return own | (unsure[:, None] & anywhere[state.clock[rows]])


@dataclass(frozen=True)
class ReasonableHours(Permission):
    """Calls and short messages in these hours only; no calls on Sundays and bank holidays.

    The law says "reasonable" and gives no hours; these are a house rule. The holidays are those of
    England and Wales. Where the book does not name the time zone, London's clock counts too.

    Parameters
    ----------
    channels : tuple of str
    first, last : float
        Local hours.
    """

    channels: tuple[str, ...] = ()
    first: float = 8.0
    last: float = 20.0
    code: ClassVar[str] = "REASONABLE_HOURS"
    unit: ClassVar[Unit] = Unit.CHANNEL_SLOT
    source: ClassVar[str] = "CONC 7.9.4R; house rule"
    reason: ClassVar[str] = "not a reasonable time for a call or a short message"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse calls and short messages at odd times."""
        hour = np.array([h for _, h in layout.slots])
        clock, unsure = state.clock[rows], _unsure(state, rows)[:, None]
        odd = np.tile((hour < self.first) | (hour >= self.last), (len(clock), 1))
        if unsure.any():
            there = _wall_hours(state, "Europe/London")[clock]
            odd |= unsure & ~((there >= self.first) & (there < self.last))
        free = [
            [day.weekday() == _SUNDAY or day in english_holidays(day.year) for day in days]
            for days in state.local_day
        ]
        closed = np.array(free, dtype=bool).reshape(state.send_at.shape)[clock]
        calls = _on(self.channels, CALLS, odd | closed, layout)
        return calls | _on(self.channels, PUSHES, odd, layout)


@dataclass(frozen=True)
class ExpressConsent(Permission):
    """Calls and texts need a known consent, also in a book that keeps none.

    Whether a call is dialled by a machine is not known to the ledger: it is taken to be.

    Parameters
    ----------
    channels : tuple of str
    """

    channels: tuple[str, ...] = ()
    code: ClassVar[str] = "EXPRESS_CONSENT"
    unit: ClassVar[Unit] = Unit.CHANNEL
    source: ClassVar[str] = "47 U.S.C. 227; 47 CFR 64.1200"
    reason: ClassVar[str] = "no consent to calls or texts is known"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse calls and texts without a known consent."""
        needs = np.array([c in TELEPHONE or c in PUSHES for c in self.channels], dtype=bool)
        return (state.consent[rows] != 1) & needs


@dataclass(frozen=True)
class Disputed(Permission):
    """A dispute stops everything until it is resolved, also where no hold was recorded."""

    code: ClassVar[str] = "DISPUTED"
    unit: ClassVar[Unit] = Unit.ACCOUNT
    source: ClassVar[str] = "12 CFR 1006.38; CONC 7.14.1R"
    reason: ClassVar[str] = "the customer disputes and the dispute is not resolved"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse everything after a dispute."""
        if state.disputed is None:
            return np.ones((len(state.clock[rows]), 1), dtype=bool)
        return state.disputed[rows, None]


@dataclass(frozen=True)
class CourtTimeBarred(Permission):
    """No court once the oldest claim is so many years late, whatever may have restarted the clock.

    A year is 365 days here, a little short: the strict side.

    Parameters
    ----------
    years : int
    """

    years: int = 3
    code: ClassVar[str] = "COURT_TIME_BARRED"
    unit: ClassVar[Unit] = Unit.KIND
    source: ClassVar[str] = "12 CFR 1006.26(b)"
    reason: ClassVar[str] = "the oldest claim may be time-barred: no court"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse the court for old claims."""
        court = np.arange(layout.sizes[Unit.KIND]) == ActionKind.COURT
        return _old(state, rows, self.years) & court


@dataclass(frozen=True)
class TimeBarred(Permission):
    """No attempt at all once the oldest claim is so many years late.

    A hold on the old claim takes it out, and the others may be asked for. A year is 365 days here.

    Parameters
    ----------
    years : int
    """

    years: int = 5
    code: ClassVar[str] = "TIME_BARRED"
    unit: ClassVar[Unit] = Unit.ACCOUNT
    source: ClassVar[str] = "CONC 7.15.4R, 7.15.8R"
    reason: ClassVar[str] = "the oldest claim may be statute-barred"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse everything for old claims."""
        return _old(state, rows, self.years)


def _old(state: State, rows: slice, years: int) -> Bools:
    old: Bools = state.days_past_due[rows, None] >= 365 * years
    return old


def _unsure(state: State, rows: slice) -> Bools:
    if state.zone_unknown is None:
        return np.ones(len(state.clock[rows]), dtype=bool)
    return state.zone_unknown[rows]


def _slot_days(state: State) -> NDArray[np.int64]:
    """Days since 1970 of every slot, (Z, S)."""
    days = [[(day - _1970).days for day in row] for row in state.local_day]
    return np.array(days, dtype=np.int64).reshape(state.send_at.shape)


def _wall_hours(state: State, zone: str) -> NDArray[np.float64]:
    """Local hour that each slot has in another zone, (Z, S); nan where the slot does not exist."""
    there, epoch = ZoneInfo(zone), datetime(1970, 1, 1, tzinfo=UTC)
    hours = np.full(state.send_at.shape, np.nan)
    for at in np.ndindex(hours.shape):
        if state.send_at[at] != NEVER:
            wall = (epoch + timedelta(microseconds=int(state.send_at[at]))).astimezone(there)
            hours[at] = wall.hour + wall.minute / 60
    return hours


def _on(
    channels: tuple[str, ...],
    which: tuple[str, ...] | frozenset[str],
    slots: Bools,
    layout: Layout,
) -> Bools:
    """Spread what is refused by slot, (b, S), over some of the channels: (b, C * S)."""
    hit = np.array([name in which for name in channels], dtype=bool)
    spread = hit[None, :, None] & slots[:, None, :]
    return spread.reshape(len(slots), layout.sizes[Unit.CHANNEL_SLOT])
