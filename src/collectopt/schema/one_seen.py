"""What is known of one account at one time: the timeline and the snapshot in plain integers.

The rules are those of :mod:`collectopt.schema.timeline` and :mod:`collectopt.schema.snapshot`;
money is applied by the same replay. A fact counts if and only if it was known strictly before
``as_of``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from collectopt.schema.one_rows import NOTHING, Account, Claim, Contact, Hold, Payment, Response
from collectopt.schema.settle import CLAIM, CREDIT, NO_INVOICE, PAYMENT, Event, Replay
from collectopt.schema.tables import NO_CONTACT

_NOT_SENT = frozenset(NO_CONTACT)
#: The response that ends a hold of a kind.
ENDS = {"payment_plan": "plan_broken", "promise": "promise_broken", "dispute": "dispute_resolved"}


class Open(NamedTuple):
    """A claim of which something is open."""

    claim: Claim
    cents: int
    dpd: int
    past_due: bool
    held: bool  # a hold on this claim


class Standing(NamedTuple):
    """A hold, and how it stands."""

    hold: Hold
    ended: bool  # by a response
    active: bool  # by its dates and responses


class Spell(NamedTuple):
    """From `known` until `reopened` (None: still) nothing of a claim was open."""

    known: int
    due: int
    number: int
    late: int
    day: int
    cash: bool
    reopened: int | None


class Balance(NamedTuple):
    """What became of one claim so far."""

    claim: Claim
    left: int
    spells: list[Spell]
    parts: list[bool]  # of each moment with a payment on it: whether it left a part open


@dataclass(frozen=True)
class Seen:
    """One account as of one time.

    Attributes
    ----------
    account : Account
        Also holds what was not known yet.
    as_of, day : int
        Microseconds UTC, and the local day.
    balances : list of Balance
        Of every known claim, by number.
    open : list of Open
        By due date, date of issue and invoice_id.
    credits : int
        Credit notes issued before this day.
    payments : list of Payment
    sent : list of (place, Contact)
        Real contacts that went out, by time and id, with their place in the account's contacts.
    decided : list of Contact
        Real contacts that are known, also those still to be sent; likewise.
    responses : list of Response
    holds : list of Standing
        Every known one.
    reactions : mapping of int to set of str
        Kinds of responses to each contact, by its place; only where there are any.
    """

    account: Account
    as_of: int
    day: int
    balances: list[Balance]
    open: list[Open]
    credits: int
    payments: list[Payment]
    sent: list[tuple[int, Contact]]
    decided: list[Contact]
    responses: list[Response]
    holds: list[Standing]
    reactions: Mapping[int, set[str]]

    @classmethod
    def of(cls, account: Account, as_of: int) -> Seen:
        """Look at an account as of a time.

        Raises
        ------
        UnusualError
            A day out of reach of its clock.
        """
        day = account.clock.day(as_of)
        known = [claim for claim in account.claims if claim.known < as_of]
        claims = [claim for claim in known if claim.cents > 0]
        payments = [payment for payment in account.payments if payment.known < as_of]
        responses = [response for response in account.responses if response.known < as_of]
        holds = _standing(account.holds, responses, as_of)
        balances = _balances(account, claims, known, payments)
        held = {h.hold.invoice for h in holds if h.active and h.hold.invoice != NOTHING}
        real = [
            (place, contact)
            for place, contact in enumerate(account.contacts)
            if contact.channel not in _NOT_SENT
        ]
        return cls(
            account=account,
            as_of=as_of,
            day=day,
            balances=balances,
            open=sorted(
                (
                    Open(c, b.left, day - c.due, c.due_at <= as_of, c.number in held)
                    for b in balances
                    if b.left > 0
                    for c in (b.claim,)
                ),
                key=_rank,
            ),
            credits=sum(c.cents < 0 and c.issued < day for c in account.claims),
            payments=payments,
            sent=[pair for pair in real if pair[1].sent < as_of],
            decided=[contact for _, contact in real if contact.known < as_of],
            responses=responses,
            holds=holds,
            reactions=_reactions(responses),
        )


def _rank(each: Open) -> int:
    return each.claim.rank


def _standing(holds: list[Hold], responses: list[Response], as_of: int) -> list[Standing]:
    found = []
    for hold in holds:
        if hold.known < as_of:
            end = ENDS.get(hold.kind)
            ended = end is not None and any(
                r.kind == end and r.known >= hold.begin for r in responses
            )
            over = hold.end is not None and hold.end <= as_of
            found.append(Standing(hold, ended, not (ended or over)))
    return found


def _reactions(responses: list[Response]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for response in responses:
        if response.contact != NOTHING:
            found.setdefault(response.contact, set()).add(response.kind)
    return found


Move = tuple[int, int, bool]  # known, cents, cash


def _balances(
    account: Account, claims: list[Claim], known: list[Claim], payments: list[Payment]
) -> list[Balance]:
    moves = _moves(account, claims, known, payments)
    day = account.clock.day
    found = []
    for claim in claims:
        spells: list[Spell] = []
        parts: list[bool] = []
        left, since = claim.cents, None
        for moment, cents, cash in moves.get(claim.number, ()):
            left -= cents
            if cash:
                parts.append(left > 0)
            if left <= 0 and since is None:
                since = (moment, cash)
            elif left > 0 and since is not None:
                spells.append(_spell(claim, since, day(since[0]), moment))
                since = None
        if since is not None:
            spells.append(_spell(claim, since, day(since[0]), None))
        found.append(Balance(claim, left, spells, parts))
    return found


def _spell(claim: Claim, since: tuple[int, bool], day: int, until: int | None) -> Spell:
    moment, cash = since
    return Spell(moment, claim.due, claim.number, day - claim.due, day, cash, until)


def _moves(
    account: Account, claims: list[Claim], known: list[Claim], payments: list[Payment]
) -> dict[int, list[Move]]:
    """Gather what was settled of each claim and when, in time; what falls on one moment together.

    Cash says whether a payment settled something there.
    """
    simple = _simple(claims, known, payments)
    found = _replayed(account, known, payments) if simple is None else simple
    moves: dict[int, list[Move]] = {}
    for number, cents, moment, cash in found:
        paid = cash and cents > 0
        own = moves.setdefault(number, [])
        if own and own[-1][0] == moment:
            own[-1] = (moment, own[-1][1] + cents, own[-1][2] or paid)
        else:
            own.append((moment, cents, paid))
    return moves


def _simple(
    claims: list[Claim], known: list[Claim], payments: list[Payment]
) -> list[tuple[int, int, int, bool]] | None:
    """Settle accounts where each payment names its claim and none pays too much; None: another."""
    if len(claims) != len(known):  # credit notes, or invoices of 0
        return None
    left = {claim.number: claim.cents for claim in claims}
    begin = {claim.number: claim.known for claim in claims}
    found = []
    for payment in payments:
        number, cents = payment.invoice, payment.cents
        if number not in left or cents < 0:  # of no claim, or of one that is not known yet
            return None
        left[number] -= cents
        if left[number] < 0:
            return None
        if cents:
            found.append((number, cents, max(payment.known, begin[number]), True))
    return found


def _replayed(
    account: Account, known: list[Claim], payments: list[Payment]
) -> list[tuple[int, int, int, bool]]:
    every = account.claims
    events: list[tuple[int, int, int | str, Event]] = [
        (c.known, kind, c.rank, (c.known, kind, c.number, abs(c.cents), NO_INVOICE))
        for c in known
        if c.cents
        for kind in (CLAIM if c.cents > 0 else CREDIT,)
    ]
    events += [
        (p.known, PAYMENT, p.payment_id, (p.known, PAYMENT, place, p.cents, p.invoice))
        for place, p in enumerate(payments)
        if p.cents
    ]
    replay = Replay([c.rank for c in every], [c.cents for c in every])
    replay.account(0, [event for *_, event in sorted(events)])
    return [(number, cents, at, bool(cash)) for _, number, cents, at, _, cash in replay.found]
