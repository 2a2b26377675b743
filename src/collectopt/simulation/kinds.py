"""What the kinds of books are made of: customer types, effects, billing.

Sizes follow randomised evidence, not hope; every number stands with its source in
``parameters.toml``. The shares of the types and the base rates of payment are assumptions.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cache

from collectopt.exceptions import InputError
from collectopt.simulation.external import Agency, Court

CHANNELS = ("email", "sms", "letter", "phone")
TONES = ("friendly", "neutral", "firm")
OFFERS = ("none", "instalments")
EMAIL, SMS, LETTER, PHONE = range(4)
KINDS = (
    "shop", "subscription", "utility", "b2b", "telco",
    "placebo", "confounded", "drift", "subtle",
)  # fmt: skip
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
    best_day : float
        How much likelier a person is reached on the preferred day of the week, as a share.
    wording : float
        Standard deviation of the logarithm of the hidden quality of a wording (channel x tone).
    scale : float
        Factor on all persuasion.
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
    best_day: float
    wording: float
    scale: float


@dataclass(frozen=True)
class Billing:
    """When invoices are written, and over how much.

    Attributes
    ----------
    cycle : str
        "orders" (by chance), "monthly" (a fixed day of the month) or "advance" (the same, and
        once a year a settlement instead: an invoice or a credit note).
    invoices_a_week : float
        Mean rate of orders; accounts differ by a gamma factor.
    rate_shape, most_a_week : float
        Shape of that gamma distribution, and its cap.
    amount : float
        Median amount of an invoice, EUR.
    between, within : float
        Standard deviation of the logarithm of the amount between accounts and between the
        invoices of one; 0 = always the same price.
    tail_share, tail_exponent : float
        Share of invoices with a Pareto factor on the amount, and its exponent.
    business_factor : float
        Businesses buy for so many times more.
    terms, business_terms : tuple of int
        Days from issue to due, each as likely as the next.
    season : tuple of float
        Factor on the rate of orders by month.
    settlement : float
        Standard deviation of the yearly settlement, in years of advance payments.
    credit : float
        Share of invoices that are corrected by a credit note.
    """

    cycle: str
    invoices_a_week: float
    rate_shape: float
    most_a_week: float
    amount: float
    between: float
    within: float
    tail_share: float
    tail_exponent: float
    business_factor: float
    terms: tuple[int, ...]
    business_terms: tuple[int, ...]
    season: tuple[float, ...]
    settlement: float
    credit: float


@dataclass(frozen=True)
class Payment:
    """How customers pay.

    Attributes
    ----------
    methods : tuple of float
        Shares of transfer, wallet, card, direct debit.
    card_on_file : bool
        Whether cards are charged at the due date.
    fails : tuple of float
        Probability that a direct debit comes back or a card is declined, with money and without.
    partial : tuple of float
        Probability that a payment is in part, with money and without.
    links : bool
        Whether people pay at once through the link of a message.
    runs : bool
        Whether customers pay on one weekday only.
    """

    methods: tuple[float, float, float, float]
    card_on_file: bool
    fails: tuple[float, float]
    partial: tuple[float, float]
    links: bool
    runs: bool


@dataclass(frozen=True)
class Tie:
    """What binds customers.

    Attributes
    ----------
    attrition : float
        Mean probability a week that a customer leaves by himself.
    attrition_shape : float
        Shape of its gamma distribution over accounts; lower = more unequal.
    leave : float
        Factor on the customers that contacts drive away.
    contract_days, notice_days : int
        Invoices go on to the end of the first contract, and for the days of notice.
    margin, years : float
        Lifetime value = margin x yearly invoices x years.
    service : float
        Probability a week of a service case, during which nobody reminds.
    insolvency : float
        Probability a week that a late customer in distress, money short, files for it.
    """

    attrition: float
    attrition_shape: float
    leave: float
    contract_days: int
    notice_days: int
    margin: float
    years: float
    service: float
    insolvency: float


@dataclass(frozen=True)
class Drift:
    """A world that changes; each change multiplies.

    Attributes
    ----------
    weeks : tuple of int
        Weeks of the world in which it changes.
    hazard : float
        Factor on the base hazards of paying.
    reach : tuple of float
        Factor on the reach by channel.
    tight : float
        Factor on the share of weeks in which money is short.
    """

    weeks: tuple[int, ...]
    hazard: float
    reach: ByChannel
    tight: float


@dataclass(frozen=True)
class Hunch:
    """What the people who make the log know and the ledger does not show.

    Attributes
    ----------
    types : tuple of float
        Hunch by customer type: above 0, the customer looks bad.
    tight : float
        Added when money is short.
    contact, firm : float
        Added log-odds of a contact, and of each step of tone, for a hunch of 1.
    """

    types: tuple[float, ...]
    tight: float
    contact: float
    firm: float


@dataclass(frozen=True)
class Courtesy:
    """What a reminder before the due date does.

    Attributes
    ----------
    days : int
        Days before the due date from which on it may be sent; 0 = not at all.
    recall : float
        A forgotten invoice is remembered with probability 1 - exp(-recall x mass), with the mass
        that the same contact has for a claim past due (`reacting.mass`).
    nudge : float
        Share of that mass that is added to the hazard of the claim.
    """

    days: int
    recall: float
    nudge: float


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
    payment : Payment
        How customers pay.
    tie : Tie
        What binds customers.
    reach, consent : tuple of float
        Mean probability by channel that a contact reaches the person; share who permit it.
    business : float
        Share of business customers.
    self_excitation : float
        Jump of the daily hazard of other overdue claims at a payment.
    office : bool
        Whether customers are reached at work: weekdays in the daytime alone.
    write_off_days : int
        Claims so many days past due are written off at the next monthly run.
    block_days : int
        Customers with a claim so many days past due get no further invoice.
    room : tuple of float
        Capacity of phone and of letters, and EUR of budget, for each account and run.
    drift : Drift, optional
    hunch : Hunch, optional
    agency, court : Agency, Court
        What is done outside the house.
    courtesy : Courtesy
        What a reminder before the due date does.
    """

    name: str
    types: tuple[TypeParameters, ...]
    effects: Effects
    billing: Billing
    payment: Payment
    tie: Tie
    reach: ByChannel
    consent: ByChannel
    business: float
    self_excitation: float
    office: bool
    write_off_days: int
    block_days: int
    room: tuple[float, float, float]
    agency: Agency
    court: Court
    courtesy: Courtesy
    drift: Drift | None = None
    hunch: Hunch | None = None


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
