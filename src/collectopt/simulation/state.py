"""State of a simulated world: what is, not what is seen."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from collectopt.simulation.calendar import Calendar
from collectopt.simulation.claims import NEVER, Claims
from collectopt.simulation.kinds import Kind
from collectopt.simulation.noise import FloatArray, IntArray, Noise, Purpose
from collectopt.simulation.population import BoolArray, Population
from collectopt.simulation.record import Record


@dataclass(frozen=True)
class Contacts:
    """Some contacts under way; all arrays have one row a contact.

    Attributes
    ----------
    number : (m,) int64
        Position in the record.
    account, channel, tone, offer : (m,) int64
    hour : (m,) float64
        Local hour at which it is sent or read.
    """

    number: IntArray
    account: IntArray
    channel: IntArray
    tone: IntArray
    offer: IntArray
    hour: FloatArray

    def take(self, rows: IntArray | BoolArray) -> Contacts:
        """Select rows."""
        return Contacts(
            self.number[rows],
            self.account[rows],
            self.channel[rows],
            self.tone[rows],
            self.offer[rows],
            self.hour[rows],
        )

    def at(self, hour: FloatArray) -> Contacts:
        """Give the same contacts at other hours."""
        return Contacts(self.number, self.account, self.channel, self.tone, self.offer, hour)


@dataclass
class Agenda:
    """What will happen on later days unless the end of the log comes first."""

    sends: dict[int, list[Contacts]] = field(default_factory=lambda: defaultdict(list))
    reads: dict[int, list[Contacts]] = field(default_factory=lambda: defaultdict(list))
    bounces: dict[int, list[Contacts]] = field(default_factory=lambda: defaultdict(list))
    returns: dict[int, list[tuple[IntArray, IntArray]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    kept_promises: dict[int, list[tuple[IntArray, IntArray]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    credits: dict[int, list[tuple[IntArray, FloatArray]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    refunds: dict[int, list[tuple[IntArray, IntArray]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    promise_ends: dict[int, list[tuple[IntArray, IntArray, IntArray]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def copy(self) -> Agenda:
        """Copy the lists; what they hold is never changed."""
        twin = Agenda()
        for name in vars(self):
            for day, items in getattr(self, name).items():
                getattr(twin, name)[day] = list(items)
        return twin


class State:
    """Mutable state over n accounts.

    Attributes
    ----------
    day : int
        The day that is being lived.
    excitation : (n,) float64
        Daily hazard that past contacts and payments add to claims past due.
    fresh, fresh_hour : (n,) float64
        Jump of today's messages with a payment link, and the hour from which on it acts.
    sent_hour : (n,) float64
        Hour of a contact sent today, 0 = none.
    fatigue : (n,) float64
        Reached contacts, fading.
    tight : (n,) bool
        Whether money is short this week.
    opted_out : (n, 4) bool
    overdue : (n,) bool
        Whether a claim that no hold binds was past due this morning.
    left, ends : (n,) int64
        Day on which the customer gave notice, and from which on no invoice is written.
    credit : (n,) int64
        Cents of credit notes that wait for the next claim.
    wording : (4, 3) float64
        Hidden quality of each wording by channel and tone; mean 1 over the tones of a channel.
    expected_loss : float
        Lifetime value that contacts, agency and court were expected to drive away so far: at each
        of them the chance to leave times the value of the customer, EUR.
    driven : (n,) bool
        Whether a contact made the customer leave, who had not left by himself before.
    pre_due_days : int
        Days before the due date from which on contacts are permitted; 0 = only past due.
    court_costs : (n,) int64
        Cents spent on court and bailiff that the customer owes.
    """

    def __init__(self, kind: Kind, people: Population, noise: Noise, calendar: Calendar) -> None:
        n = len(people)
        self.kind, self.people, self.noise, self.calendar = kind, people, noise, calendar
        self.day = 0
        self.claims = Claims()
        self.record = Record()
        self.agenda = Agenda()
        self.excitation = np.zeros(n)
        self.fresh = np.zeros(n)
        self.fresh_hour = np.zeros(n)
        self.sent_hour = np.zeros(n)
        self.fatigue = np.zeros(n)
        self.tight = np.zeros(n, dtype=np.bool_)
        self.opted_out = np.zeros((n, 4), dtype=np.bool_)
        self.overdue = np.zeros(n, dtype=np.bool_)
        self.insolvent = np.zeros(n, dtype=np.bool_)
        self.disputing = np.zeros(n, dtype=np.bool_)
        self.left = np.full(n, NEVER)
        self.ends = np.full(n, NEVER)
        self.credit = np.zeros(n, dtype=np.int64)
        self.service_until = np.full(n, -NEVER)
        self.wording = draw_wording(kind, noise)
        self.driven = np.zeros(n, dtype=np.bool_)
        self.expected_loss = 0.0
        self.issued = np.zeros(n, dtype=np.int64)
        self.promised_until = np.full(n, -NEVER)
        self.no_plan_until = np.full(n, -NEVER)
        self.no_dispute_until = np.full(n, -NEVER)
        self.last_contact = np.full(n, -NEVER)
        self.last_tone = np.full(n, -1)
        self.pre_due_days = kind.courtesy.days
        self.court_costs = np.zeros(n, dtype=np.int64)

    def fork(self) -> State:
        """Return an independent world in the same state, with the same luck ahead."""
        twin = State.__new__(State)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) or name in {"claims", "record", "agenda"}:
                value = value.copy()  # noqa: PLW2901 - the copy belongs to the twin
            setattr(twin, name, value)
        return twin

    @property
    def permitted(self) -> BoolArray:
        """Channels by account that consent and opt-outs leave, (n, 4)."""
        result: BoolArray = self.people.consent & ~self.opted_out
        return result

    @property
    def bound(self) -> BoolArray:
        """Accounts that a hold of the whole account binds today, (n,)."""
        result: BoolArray = self.insolvent | (self.promised_until > self.day)
        return result | (self.service_until > self.day)

    @property
    def shifts(self) -> int:
        """How often the world has changed so far."""
        drift = self.kind.drift
        return 0 if drift is None else sum(self.day >= 7 * week for week in drift.weeks)

    def leave(self, account: IntArray) -> None:
        """Let customers give notice; contracts run out first."""
        tie = self.kind.tie
        end = np.maximum(self.people.since[account] + tie.contract_days, self.day + tie.notice_days)
        self.left[account] = np.minimum(self.left[account], self.day)
        self.ends[account] = np.minimum(self.ends[account], end)

    def drive_away(self, account: IntArray, chance: FloatArray, luck: FloatArray) -> None:
        """Let customers leave because of what was done to them, and note what that may cost."""
        stays = self.left[account] > self.day
        worth = self.people.lifetime_value[account] * stays
        self.expected_loss += float((np.minimum(chance, 1.0) * worth).sum())
        gone = account[luck < chance]
        self.driven[gone] |= self.left[gone] > self.day
        self.leave(gone)

    def overdue_claims(self) -> IntArray:
        """Rows of the claims past due today that no hold of their own binds."""
        claims = self.claims
        rows = claims.active
        rows = rows[(claims.due[rows] < self.day) & (claims.open[rows] > 0)]
        return rows[~claims.held(rows)]

    def flag(self, rows: IntArray) -> BoolArray:
        """Accounts that own one of the claims, (n,)."""
        result = np.zeros(len(self.people), dtype=np.bool_)
        result[self.claims.account[rows]] = True
        return result


def draw_wording(kind: Kind, noise: Noise) -> FloatArray:
    """Draw how good each wording is; nobody knows it in advance."""
    luck = noise.normal(Purpose.WORDING, np.arange(12)).reshape(4, 3)
    quality = np.exp(kind.effects.wording * luck)
    result: FloatArray = quality / quality.mean(axis=1, keepdims=True)
    return result
