"""What the kinds of books are made of: customer types, effects, billing.

Sizes follow randomised evidence, not hope; every number stands with its source in
``parameters.toml``. The shares of the types and the base rates of payment are assumptions.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache

from collectopt.exceptions import InputError

CHANNELS = ("email", "sms", "letter", "phone")
TONES = ("friendly", "neutral", "firm")
OFFERS = ("none", "instalments")
EMAIL, SMS, LETTER, PHONE = range(4)
KINDS = ("shop", "placebo")
ByChannel = tuple[float, float, float, float]
ByTone = tuple[float, float, float]


class CustomerType(enum.IntEnum):
    """Latent type of an account."""

    PUNCTUAL = 0
    FORGETFUL = 1
    SLOW = 2
    DISTRESSED = 3
    STRATEGIC = 4
    DISPUTING = 5
    UNREACHABLE = 6


@dataclass(frozen=True)
class TypeParameters:
    """How one type of customer pays and reacts.

    Attributes
    ----------
    share : float
        Share of the accounts.
    early, near, late : float
        Daily hazard of paying long before the due date, in the days around it, and after it.
    fade_days : float
        Days past due after which the late hazard has fallen to 1/e.
    forget : float
        Probability that an invoice is put aside and forgotten.
    tight : float
        Long-run share of weeks in which money is short.
    dispute : float
        Probability that an invoice is disputed.
    persuasion : float
        Added cumulative hazard of a contact that is read (see `Effects.strength`).
    tone : tuple of float
        Factor on persuasion by tone, friendly to firm.
    reach : float
        Factor on the probability of being reached.
    promise, keep : float
        Probability to promise when spoken to, and to keep the promise.
    plan : float
        Probability to accept instalments when the offer is read.
    score : float
        Mean of the credit score, 0 to 100.
    """

    share: float
    early: float
    near: float
    late: float
    fade_days: float
    forget: float
    tight: float
    dispute: float
    persuasion: float
    tone: ByTone
    reach: float
    promise: float
    keep: float
    plan: float
    score: float


@dataclass(frozen=True)
class Effects:
    """What contacts do; a placebo sets all of it to zero.

    Attributes
    ----------
    strength : tuple of float
        Factor on persuasion by channel, given that the person is reached.
    decay_days : float
        Mean life of the excitation after a contact.
    fatigue : float
        Persuasion is divided by 1 + fatigue x (reached contacts, fading over some weeks).
    promise, plan : float
        Factors on the probabilities to promise and to accept instalments.
    message_promise : float
        A message draws so many promises compared with a conversation.
    opt_out, complaint, leave : float
        Probability at each reached contact; tone and fatigue multiply the last two.
    harm_tone : tuple of float
        Factor on complaint and leave by tone.
    """

    strength: ByChannel
    decay_days: float
    fatigue: float
    promise: float
    plan: float
    message_promise: float
    opt_out: float
    complaint: float
    leave: float
    harm_tone: ByTone


@dataclass(frozen=True)
class Billing:
    """When invoices are written, and over how much.

    Attributes
    ----------
    invoices_a_week : float
        Mean rate of invoices; accounts differ by a gamma factor.
    amount : float
        Median amount of an invoice, EUR.
    """

    invoices_a_week: float
    amount: float


@dataclass(frozen=True)
class Kind:
    """A kind of book.

    Attributes
    ----------
    name : str
        Name to ask for.
    types : tuple of TypeParameters
        One for each `CustomerType`.
    effects : Effects
        What contacts do.
    billing : Billing
        When invoices are written, and over how much.
    reach : tuple of float
        Mean probability by channel that a contact reaches the person.
    business : float
        Share of business customers.
    attrition : float
        Probability a week that a customer leaves by himself.
    self_excitation : float
        Jump of the daily hazard of other overdue claims at a payment.
    write_off_days : int
        Claims so many days past due are written off at the next monthly run.
    block_days : int
        Customers with a claim so many days past due get no further invoice.
    """

    name: str
    types: tuple[TypeParameters, ...]
    effects: Effects
    billing: Billing
    reach: ByChannel
    business: float
    attrition: float
    self_excitation: float
    write_off_days: int
    block_days: int


@cache
def _all() -> dict[str, Kind]:
    from collectopt.simulation.parameters import Parameters

    return Parameters.packaged().kinds()


def kind_of(name: str) -> Kind:
    """Find a kind by name.

    Raises
    ------
    InputError
        No kind has that name; the error lists those that exist.
    """
    if name not in KINDS:
        raise InputError.of(
            "Book",
            "kind",
            expected="one of " + ", ".join(repr(known) for known in KINDS),
            found=repr(name),
        )
    return _all()[name]
