"""Permissions: each forbids actions by one factor and says its code, source and reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from collectopt.rules.calendar import state_holidays
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.precedence import Precedence
from collectopt.rules.state import NEVER, State
from collectopt.schema.actions import ActionKind
from collectopt.schema.catalogue import Channel

Bools = NDArray[np.bool_]
_SUNDAY, _SATURDAY = 6, 5
CALLS = frozenset({"phone", "voice", "visit"})
PUSHES = frozenset({"sms", "push", "whatsapp", "messenger", "fax"})

HOLDS = {  # in order of precedence: kind -> source, plain words
    "insolvency": ("InsO §§ 87, 89", "insolvency proceedings are open"),
    "deceased": ("BGB §§ 1958, 1967", "the customer has died"),
    "breathing_space": ("SI 2020/1311", "a breathing space is in force"),
    "do_not_contact": ("GDPR Art. 21", "the customer must not be contacted"),
    "vulnerable": ("CONC 7.10.1R; house rule", "the customer is vulnerable: a person decides"),
    "dispute": ("BDSG § 31(2) no. 4 d; house rule", "the account is in dispute"),
    "payment_plan": ("BGB § 205; contract", "a payment plan is in force"),
    "promise": ("house rule", "a promise to pay is running"),
    "service": ("house rule", "a service case is open"),
    "agency": ("house rule", "an agency has the account"),
    "court": ("house rule", "the account is in court"),
}


STOPS = frozenset({"insolvency", "deceased", "breathing_space", "do_not_contact"})


@dataclass(frozen=True)
class Permission(ABC):
    """A rule on one factor of an action.

    Subclasses set `code`, `unit`, `source` and `reason` and write `refuse`.
    """

    code: ClassVar[str]
    unit: ClassVar[Unit]
    source: ClassVar[str] = "house rule"
    reason: ClassVar[str]
    rank: ClassVar[Precedence] = Precedence.LAW  # the strict side, where a rule does not say

    @abstractmethod
    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Say what is forbidden: bool (b, columns of the unit)."""


@dataclass(frozen=True)
class Hold(Permission):
    """A hold on the whole account stops whatever is done to the customer.

    A hold on one claim takes that claim out of what may be asked for, no more.
    """

    kind: str = "dispute"
    unit: ClassVar[Unit] = Unit.ACCOUNT

    @property
    def code(self) -> str:  # type: ignore[override]
        """HOLD_ and the kind."""
        return f"HOLD_{self.kind.upper()}"

    @property
    def source(self) -> str:  # type: ignore[override]
        """Where the rule stands."""
        return HOLDS[self.kind][0]

    @property
    def reason(self) -> str:  # type: ignore[override]
        """Plain words."""
        return HOLDS[self.kind][1]

    @property
    def rank(self) -> Precedence:  # type: ignore[override]
        """STOP where the law closes the case to everybody, else HOLD."""
        return Precedence.STOP if self.kind in STOPS else Precedence.HOLD

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse everything while the hold is in force."""
        return state.holds[self.kind][rows, None]


@dataclass(frozen=True)
class Said(Permission):
    """What a customer said holds like a recorded hold, until somebody records one or it is over."""

    kind: str = "dispute"
    rank: ClassVar[Precedence] = Precedence.HOLD
    unit: ClassVar[Unit] = Unit.ACCOUNT

    @property
    def code(self) -> str:  # type: ignore[override]
        """SAID_ and the kind of hold."""
        return f"SAID_{self.kind.upper()}"

    @property
    def source(self) -> str:  # type: ignore[override]
        """Where the rule stands."""
        return HOLDS[self.kind][0]

    @property
    def reason(self) -> str:  # type: ignore[override]
        """Plain words."""
        return f"{HOLDS[self.kind][1]}, as the customer said"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse everything meanwhile."""
        if state.said is None:
            return np.ones((len(state.clock[rows]), 1), dtype=bool)
        return state.said[self.kind][rows, None]


@dataclass(frozen=True)
class PastDue(Permission):
    """Nothing before the local day after the due date, or so many days before it."""

    pre_due_days: int = 0
    unit: ClassVar[Unit] = Unit.ACCOUNT
    source: ClassVar[str] = "BGB § 286; house rule"

    @property
    def code(self) -> str:  # type: ignore[override]
        """PAST_DUE, or PRE_DUE where contact before the due date is allowed."""
        return "PRE_DUE" if self.pre_due_days else "PAST_DUE"

    @property
    def reason(self) -> str:  # type: ignore[override]
        """Plain words."""
        if self.pre_due_days:
            return (
                "no claim that may be asked for is past due, or due within "
                f"{self.pre_due_days} days"
            )
        return "no claim that may be asked for is past due"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse where no claim may be asked for."""
        soon = (self.pre_due_days > 0) & (state.due_in[rows] <= self.pre_due_days)
        return ~(state.past_due[rows] | soon)[:, None]


@dataclass(frozen=True)
class Consent(Permission):
    """Consent by channel, from the accounts' column ``<channel>_ok``.

    False forbids. Not known (null) forbids on channels that intrude: calls and short messages;
    elsewhere it does not. A book without the column does not track consent for that channel.

    Parameters
    ----------
    channels : tuple of str
    strict : tuple of str
        Channels that need a known consent.
    """

    channels: tuple[str, ...] = ()
    strict: tuple[str, ...] = tuple(sorted(CALLS | PUSHES))
    code: ClassVar[str] = "CONSENT"
    unit: ClassVar[Unit] = Unit.CHANNEL
    source: ClassVar[str] = "GDPR Art. 6, 7; UWG § 7"
    reason: ClassVar[str] = "the channel is not permitted, or consent is not known"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse channels without consent."""
        strict = np.array([name in self.strict for name in self.channels], dtype=bool)
        consent = state.consent[rows]
        return (consent == 0) | ((consent < 0) & strict)


@dataclass(frozen=True)
class OptedOut(Permission):
    """An opt-out bans the channel of its contact; one without a contact bans all."""

    code: ClassVar[str] = "OPTED_OUT"
    unit: ClassVar[Unit] = Unit.CHANNEL
    source: ClassVar[str] = "GDPR Art. 7(3), 21; 12 CFR 1006.14(h)"
    reason: ClassVar[str] = "the customer has opted out of the channel"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse banned channels."""
        return state.opted_out[rows]


@dataclass(frozen=True)
class NoAddress(Permission):
    """The last message on the channel could not be delivered."""

    code: ClassVar[str] = "NO_ADDRESS"
    unit: ClassVar[Unit] = Unit.CHANNEL
    reason: ClassVar[str] = "the last message on the channel could not be delivered"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse channels whose last message bounced."""
        return state.bounced[rows]


@dataclass(frozen=True)
class FirstContactGentle(Permission):
    """The first contact since the oldest claim fell due takes the gentlest tone."""

    code: ClassVar[str] = "FIRST_CONTACT_GENTLE"
    rank: ClassVar[Precedence] = Precedence.CONTACT_POLICY
    unit: ClassVar[Unit] = Unit.TONE
    reason: ClassVar[str] = "the first contact about a case is gentle"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse all but the first tone."""
        firm = np.arange(layout.sizes[Unit.TONE]) > 0
        return state.first[rows, None] & firm


@dataclass(frozen=True)
class MaxToneStep(Permission):
    """How far the tone may rise from the last contact to the next."""

    step: int = 1
    code: ClassVar[str] = "MAX_TONE_STEP"
    rank: ClassVar[Precedence] = Precedence.CONTACT_POLICY
    unit: ClassVar[Unit] = Unit.TONE
    reason: ClassVar[str] = "the tone rises step by step"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse tones too far above the last one."""
        last = state.last_tone[rows, None]
        return (last >= 0) & (np.arange(layout.sizes[Unit.TONE]) > last + self.step)


@dataclass(frozen=True)
class ToneTable(Permission):
    """The firmest tone of a segment of accounts; of several that hold, the gentlest.

    Parameters
    ----------
    highest : tuple of int
        Rank of the firmest tone of each entry of the catalogue's ``[[house.tones]]``; of one that
        only shifts tones, the last.
    """

    highest: tuple[int, ...] = ()
    code: ClassVar[str] = "TONE_TABLE"
    rank: ClassVar[Precedence] = Precedence.CONTACT_POLICY
    unit: ClassVar[Unit] = Unit.TONE
    reason: ClassVar[str] = "the tone is too firm for accounts like this one"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse tones above the highest of the segments; all but the gentlest if not known."""
        tones = np.arange(layout.sizes[Unit.TONE])
        if state.segments is None:
            return np.repeat(tones[None] > 0, len(state.clock[rows]), axis=0)
        firm = tones > np.array(self.highest, dtype=np.int64)[:, None]  # (entries, T)
        return np.asarray((state.segments[rows][:, :, None] & firm).any(axis=1))


@dataclass(frozen=True)
class SlotPast(Permission):
    """A slot lies in the past, or its local time does not exist on the day the clocks change."""

    code: ClassVar[str] = "SLOT_PAST"
    unit: ClassVar[Unit] = Unit.SLOT
    source: ClassVar[str] = "arithmetic"
    reason: ClassVar[str] = "the slot is over, or its local time does not exist"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse slots that are not after the time of the decision."""
        gone = (state.send_at == NEVER) | (state.send_at <= state.as_of)
        return gone[state.clock[rows]]


@dataclass(frozen=True)
class ContactCap(Permission):
    """Contacts a customer within any 7 x 24 hours, over all accounts of the customer.

    Contacts that were chosen and are not sent yet count too.
    """

    cap: int = 2
    code: ClassVar[str] = "CONTACT_CAP"
    rank: ClassVar[Precedence] = Precedence.CONTACT_POLICY
    unit: ClassVar[Unit] = Unit.SLOT
    source: ClassVar[str] = "UWG § 4a; house rule"
    reason: ClassVar[str] = "the customer has had as many contacts as 7 days allow"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:  # noqa: ARG002
        """Refuse slots at which one more contact would break the cap."""
        send_at = state.send_at[state.clock[rows]]
        lows, highs = (ends[rows] for ends in state.blocked)
        refused = np.zeros(send_at.shape, dtype=bool)
        for j in range(lows.shape[1]):
            refused |= (send_at > lows[:, j, None]) & (send_at < highs[:, j, None])
        return refused


@dataclass(frozen=True)
class Hours(Permission):
    """Hours and weekdays of each channel, in the account's local time; the end is excluded."""

    channels: tuple[Channel, ...] = ()
    code: ClassVar[str] = "HOURS"
    unit: ClassVar[Unit] = Unit.CHANNEL_SLOT
    source: ClassVar[str] = "catalogue; 12 CFR 1006.6(b)(1)"
    reason: ClassVar[str] = "outside the hours or weekdays of the channel"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse channels at slots outside their hours."""
        outside = np.zeros((len(state.local_day), len(self.channels), len(layout.slots)), bool)
        for z, days in enumerate(state.local_day):
            for s, ((_, hour), day) in enumerate(zip(layout.slots, days, strict=True)):
                for c, channel in enumerate(self.channels):
                    h, w = channel.hours, channel.weekdays
                    outside[z, c, s] = (h is not None and not h[0] <= hour < h[1]) or (
                        w is not None and day.weekday() not in w
                    )
        return outside.reshape(len(outside), -1)[state.clock[rows]]


@dataclass(frozen=True)
class QuietHours(Permission):
    """German custom: calls Mon-Fri 8-20, Sat 9-16, none on Sundays and holidays; messages 8-21.

    The holidays are those of the customer's state (`region`: two letters, "DE-BY" or the German
    name); where it is not known a holiday of any state counts. No statute fixes these hours for
    reminders; ZPO § 758a(4) is the anchor.
    """

    channels: tuple[str, ...] = ()
    code: ClassVar[str] = "QUIET_HOURS"
    unit: ClassVar[Unit] = Unit.CHANNEL_SLOT
    source: ClassVar[str] = "house rule after ZPO § 758a(4)"
    reason: ClassVar[str] = "quiet hours, Sunday or holiday"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse calls and short messages in quiet hours."""
        quiet = np.zeros((len(state.local_day), len(self.channels), len(layout.slots)), bool)
        for z, days in enumerate(state.local_day):
            for s, ((_, hour), day) in enumerate(zip(layout.slots, days, strict=True)):
                land = state.land[z] if state.land else None
                free = day.weekday() == _SUNDAY or day in state_holidays(day.year, land)
                first, last = (9, 16) if day.weekday() == _SATURDAY else (8, 20)
                for c, name in enumerate(self.channels):
                    if name in CALLS:
                        quiet[z, c, s] = free or not first <= hour < last
                    elif name in PUSHES:
                        quiet[z, c, s] = not 8 <= hour < 21
        return quiet.reshape(len(quiet), -1)[state.clock[rows]]


@dataclass(frozen=True)
class Agency(Permission):
    """Agency and court need a claim past due and so many own contacts about it before."""

    min_contacts: int = 3
    code: ClassVar[str] = "MIN_OWN_CONTACTS"
    rank: ClassVar[Precedence] = Precedence.CONTACT_POLICY
    unit: ClassVar[Unit] = Unit.KIND
    reason: ClassVar[str] = "too few own contacts for an agency or a court"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse agency and court."""
        early = (state.own_contacts[rows] < self.min_contacts) | ~state.past_due[rows]
        return early[:, None] & _external(layout)


@dataclass(frozen=True)
class Approval(Permission):
    """Agency and court on a consumer are not decided by a machine alone.

    A person approves of one of them for one account, see :class:`collectopt.policy.Approval`; where
    nobody is known to have done so, the strict side is taken.
    """

    code: ClassVar[str] = "APPROVAL"
    unit: ClassVar[Unit] = Unit.KIND
    source: ClassVar[str] = "GDPR Art. 22; CJEU C-634/21"
    reason: ClassVar[str] = "agency and court need the approval of a person"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse agency and court on consumers where no person approved of it."""
        refused: Bools = state.consumer[rows, None] & _external(layout)
        return refused if state.approved is None else refused & ~state.approved[rows]


@dataclass(frozen=True)
class Distress(Permission):
    """Financial distress is met with help, never with pressure.

    Where distress is likely, or a fact (a hold `vulnerable` on a claim), contacts take the
    mildest tone and offer something where the catalogue has offers; agency and court are for a
    person to decide. Where it is unclear why the account is late, a firmer tone does not come
    first: nobody presses who may not be able to pay.

    The belief is the strict side of a fact that the ledger lacks, so it ranks as the fact does.

    Parameters
    ----------
    likely : float
        Probability of distress from which on the rule holds.
    unclear : float
        Doubt (0 to 1, entropy of the reasons) from which on it is unclear.
    """

    likely: float = 0.5
    unclear: float = 0.8
    code: ClassVar[str] = "DISTRESS"
    unit: ClassVar[Unit] = Unit.TREATMENT
    source: ClassVar[str] = "CONC 7.3.2G; Directive (EU) 2023/2225 Art. 35; house rule"
    reason: ClassVar[str] = "distress is likely, or may be: a gentle contact that offers help"

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse pressure, and contacts that offer nothing."""
        distressed = state.vulnerable[rows] | _at_least(state.distress, rows, self.likely)
        unclear = _at_least(state.doubt, rows, self.unclear) & (state.last_tone[rows] <= 0)
        pressing, bare = _treatments(layout)
        refused: Bools = distressed[:, None] & (pressing | bare)
        return refused | (unclear[:, None] & pressing)


def _at_least(belief: NDArray[np.float64] | None, rows: slice, bar: float) -> Bools:
    """Whether a belief is that strong; what is not known (None, nan) is not."""
    if belief is None:
        return np.zeros(1, dtype=bool)
    return np.asarray(belief[rows] >= bar)


def _treatments(layout: Layout) -> tuple[Bools, Bools]:
    """Treatments that press (a firmer tone, agency, court), and contacts that offer nothing."""
    offers, outside = layout.actions.offers or ("none",), _external(layout)
    tones = (layout.sizes[Unit.TREATMENT] - len(outside)) // len(offers)
    firm = np.repeat(np.arange(tones) > 0, len(offers))
    nothing = np.array([name == "none" for name in offers])
    bare = np.tile(nothing & (not nothing.all()), tones)
    return np.append(firm, outside), np.append(bare, outside & False)


def _external(layout: Layout) -> Bools:
    return np.isin(np.arange(layout.sizes[Unit.KIND]), (ActionKind.AGENCY, ActionKind.COURT))
