"""Features in plain words: a sentence for a value, and the topic that a feature belongs to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from collectopt.features.catalogue import DEFINITIONS
from collectopt.features.definition import CHANNEL, NEVER, Feature, Unit

#: Name of the one entry that collects the clock of a forecast; its value is the local
#: days until the due date of the claim in question.
TIME = "time"
#: Column that a model of payments adds: the days late to expect of a claim.
EXPECTED = "late_expected"
#: Ranks of amounts among the latest claims of their kind, see :mod:`collectopt.models.issue`.
RANKS = ("claim_rank", "open_rank")
#: What a model of payments knows of an account's habits, see :mod:`collectopt.models.habits`.
HABITS = ("late_usual", "late_usual_sd", "held_up_chance", "late_held_up", "late_held_up_sd")
#: Columns that :func:`sentence` likes to know of a row, whatever the model looks at.
CONTEXT = ("settled_n", "matured_n", "contacts_n")


@dataclass(frozen=True)
class Phrase:
    """Sentences for the values of a feature, without their full stop.

    ``{d}`` days ("12 days"), ``{n}`` number, ``{m}`` money, ``{p}`` percentage, ``{q}``
    percentage points, all without a sign; ``{v}`` the value as it is.

    Attributes
    ----------
    usual : str
        Any value without a sentence of its own.
    zero : str
        Values that are shown as 0.
    negative : str
        Values below 0.
    never : str
        ``NEVER`` days.
    """

    usual: str
    zero: str = ""
    negative: str = ""
    never: str = ""


def _flag(yes: str, no: str) -> Phrase:
    return Phrase(yes, zero=no)


def _past(days: int) -> dict[str, Phrase]:
    span = f"in the last {days} days"
    return {
        f"payments_{days}": Phrase(f"Paid {{n}} {span}", zero=f"Paid nothing {span}"),
        f"paid_{days}": Phrase(
            f"Paid {{m}} {span}",
            zero=f"Paid nothing {span}",
            negative=f"More was returned than paid {span}",
        ),
    }


PHRASES: Mapping[str, Phrase] = {
    TIME: Phrase(
        "Falls due in {d}", zero="Is due today", negative="Has been past due for {d}"
    ),
    "open_amount": Phrase("Owes {m} in all", zero="Owes nothing"),
    "open_claims": Phrase("Has {n} open", zero="Has no open claim"),
    "past_due_amount": Phrase("Has {m} past due", zero="Has nothing past due"),
    "past_due_claims": Phrase("Has {n} past due", zero="Has no claim past due"),
    "days_past_due": Phrase("Oldest open claim is {d} past due", zero="Has nothing past due"),
    "oldest_age": Phrase(
        "Oldest open claim was issued {d} ago", zero="Oldest open claim was issued today"
    ),
    "days_to_next_due": Phrase(
        "Next claim falls due in {d}",
        zero="Next claim falls due today",
        never="No other claim is to fall due",
    ),
    "open_paid_share": Phrase(
        "Has paid {p} of its open claims", zero="Has paid nothing on its open claims"
    ),
    "claim_amount": Phrase("The claim is about {m}"),
    "claim_rank": Phrase(
        "The claim's amount ranks at {p} among the latest of its kind",
        zero="The claim is smaller than all the latest of its kind",
    ),
    "open_rank": Phrase(
        "Its open claims rank at {p} among the latest of their kinds, on average",
        zero="Its open claims are smaller than all the latest of their kinds",
    ),
    "claim_open_share": Phrase("{p} of the claim is still open"),
    "claim_dpd": Phrase(
        "The claim is {d} past due",
        zero="The claim is due today",
        negative="The claim falls due in {d}",
    ),
    "claim_age": Phrase("The claim was issued {d} ago", zero="The claim was issued today"),
    "claim_term": Phrase("The claim had {d} to pay", zero="The claim was due at once"),
    "claim_kind": Phrase("The claim is of kind {v}"),
    "claim_amount_ratio": Phrase("The claim is {n} times its usual amount"),
    "claims_n": Phrase("Had {n} so far"),
    "claims_365": Phrase("Had {n} in the last year", zero="Had no claim in the last year"),
    "billed_365": Phrase("Was billed {m} in the last year", zero="Was not billed in the last year"),
    "first_claim": _flag("This is its first claim", "It had claims before"),
    "settled_n": Phrase("Has settled {n} so far", zero="Has not settled any claim so far"),
    "no_settled": _flag("Has not settled any claim so far", "Has settled claims before"),
    "late_mean": Phrase(
        "Paid its earlier claims {d} late on average",
        zero="Paid its earlier claims on the due day on average",
        negative="Paid its earlier claims {d} early on average",
    ),
    "late_median": Phrase(
        "Usually pays {d} late",
        zero="Usually pays on the due day",
        negative="Usually pays {d} early",
    ),
    "late_sd": Phrase(
        "Its days of payment spread by {d}", zero="Always pays on about the same day"
    ),
    "late_max": Phrase(
        "Once paid {d} late",
        zero="Never paid later than the due day",
        negative="Always paid at least {d} early",
    ),
    "late_last": Phrase(
        "Paid its last claim {d} late",
        zero="Paid its last claim on the due day",
        negative="Paid its last claim {d} early",
    ),
    "late_share": Phrase("Paid {p} of its earlier claims late", zero="Never paid late"),
    "late_share_30": Phrase(
        "Paid {p} of its earlier claims more than 30 days late",
        zero="Never paid more than 30 days late",
    ),
    "late_recent": Phrase(
        "Lately paid {d} late", zero="Lately paid on the due day", negative="Lately paid {d} early"
    ),
    EXPECTED: Phrase(
        "Claims like this one are expected {d} late",
        zero="Claims like this one are expected on the due day",
        negative="Claims like this one are expected {d} early",
    ),
    "late_usual": Phrase(
        "When nothing holds them up, claims like this one come in {d} late",
        zero="When nothing holds them up, claims like this one come in on the due day",
        negative="When nothing holds them up, claims like this one come in {d} early",
    ),
    "held_up_chance": Phrase(
        "A hold-up of this claim has a chance of {p}, by how late earlier claims came"
    ),
    "late_trend": Phrase(
        "Pays {d} later than it used to",
        zero="Pays as late as it used to",
        negative="Pays {d} earlier than it used to",
    ),
    "late_mean_open": Phrase(
        "Earlier claims and those past due are {d} late on average",
        zero="Earlier claims and those past due are not late on average",
        negative="Earlier claims were paid {d} early on average",
    ),
    "part_share": Phrase("Pays in parts: {p} of its payments", zero="Does not pay in parts"),
    "payments_n": Phrase("Has paid {n} so far", zero="Has never paid so far"),
    "days_since_payment": Phrase(
        "Last paid {d} ago", zero="Paid today", never="Has never paid so far"
    ),
    **_past(30),
    **_past(90),
    **_past(365),
    "returned_n": Phrase("{n} came back", zero="No payment came back"),
    "contacts_n": Phrase("Was contacted {n} so far", zero="Was never contacted"),
    "contacts_7": Phrase("Was contacted {n} in the last 7 days", zero="No contact for 7 days"),
    "contacts_30": Phrase("Was contacted {n} in the last 30 days", zero="No contact for 30 days"),
    "contacts_90": Phrase("Was contacted {n} in the last 90 days", zero="No contact for 90 days"),
    "days_since_contact": Phrase(
        "Was last contacted {d} ago", zero="Was contacted today", never="Was never contacted"
    ),
    "contacts_since_payment": Phrase(
        "Was contacted {n} since its last payment", zero="No contact since its last payment"
    ),
    "last_channel": Phrase("Was last contacted by {v}"),
    "last_tone": Phrase("The last contact was {v}"),
    f"contacts_90_{CHANNEL}": Phrase(
        f"Was contacted {{n}} by {CHANNEL} in the last 90 days",
        zero=f"No contact by {CHANNEL} for 90 days",
    ),
    f"reached_{CHANNEL}": Phrase(f"Is reached by about {{p}} of contacts by {CHANNEL}"),
    "promises_n": Phrase("Made {n}", zero="Made no promise to pay"),
    "promises_kept": Phrase("Kept {n}", zero="Has not kept a promise so far"),
    "promises_broken": Phrase("Broke {n}", zero="Has not broken a promise"),
    "promises_pending": Phrase("Has promised to pay", zero="No promise is pending"),
    "breaches_n": Phrase("Broke {n} or plans", zero="Has not broken a promise or plan"),
    "disputes_n": Phrase("Raised {n}", zero="Never raised a dispute"),
    "complaints_n": Phrase("Made {n}", zero="Never complained"),
    "days_since_response": Phrase(
        "Last reacted {d} ago", zero="Reacted today", never="Has never reacted"
    ),
    "hold_dispute": _flag("A dispute stands", "No dispute stands"),
    "hold_promise": _flag("A promise to pay stands", "No promise to pay stands"),
    "hold_plan": _flag("A payment plan stands", "No payment plan stands"),
    "hold_agency": _flag("Is with an agency", "Is not with an agency"),
    "hold_court": _flag("Is in court", "Is not in court"),
    "hold_insolvent": _flag("Insolvency or death was recorded", "Insolvency was not recorded"),
    "hold_protected": _flag("Is under protection", "Is not under protection"),
    "hold_days": Phrase(
        "The newest hold began {d} ago", zero="A hold began today", never="No hold stands"
    ),
    "tenure": Phrase("Has been a customer for {d}", zero="Is a new customer"),
    "customer_type": Phrase("Is a {v}"),
    "country": Phrase("Lives or trades in {v}"),
    "credit_score": Phrase("Has a credit score of {n}"),
    "lifetime_value": Phrase("Has a lifetime value of {m}"),
    "on_time_excess": Phrase(
        "Pays on time more often than the whole book, by {q}",
        zero="Pays on time about as often as the whole book",
        negative="Pays on time less often than the whole book, by {q}",
    ),
    "on_time_lift": Phrase(
        "Pays on time more often than similar accounts, by {q}",
        zero="Pays on time about as often as similar accounts",
        negative="Pays on time less often than similar accounts, by {q}",
    ),
    "paid_10_excess": Phrase(
        "Pays within 10 days of the due date more often than the whole book, by {q}",
        zero="Pays within 10 days of the due date about as often as the whole book",
        negative="Pays within 10 days of the due date less often than the whole book, by {q}",
    ),
    "paid_10_lift": Phrase(
        "Pays within 10 days of the due date more often than similar accounts, by {q}",
        zero="Pays within 10 days of the due date about as often as similar accounts",
        negative="Pays within 10 days of the due date less often than similar accounts, by {q}",
    ),
    "paid_30_excess": Phrase(
        "Pays within 30 days of the due date more often than the whole book, by {q}",
        zero="Pays within 30 days of the due date about as often as the whole book",
        negative="Pays within 30 days of the due date less often than the whole book, by {q}",
    ),
    "paid_30_lift": Phrase(
        "Pays within 30 days of the due date more often than similar accounts, by {q}",
        zero="Pays within 30 days of the due date about as often as similar accounts",
        negative="Pays within 30 days of the due date less often than similar accounts, by {q}",
    ),
    "customer_late_lift": Phrase(
        "The customer's accounts are late more often than similar ones, by {q}",
        zero="The customer's accounts are late about as often as similar ones",
        negative="The customer's accounts are late less often than similar ones, by {q}",
    ),
    "payday_offset": Phrase(
        "Its usual day of payment was {d} ago",
        zero="It is its usual day of payment, or it has none",
        negative="Its usual day of payment comes in {d}",
    ),
}  # fmt: skip

#: What is counted, for ``{n}``; plain numbers have no entry.
_NOUNS = {
    "open_claims": "claim", "past_due_claims": "claim", "claims_n": "claim", "claims_365": "claim",
    "settled_n": "claim", "payments_n": "time", "payments_30": "time", "payments_90": "time",
    "payments_365": "time", "returned_n": "payment", "contacts_n": "time", "contacts_7": "time",
    "contacts_30": "time", "contacts_90": "time", "contacts_since_payment": "time",
    "promises_n": "promise", "promises_kept": "promise", "promises_broken": "promise",
    "breaches_n": "promise", "disputes_n": "dispute", "complaints_n": "complaint",
    f"contacts_90_{CHANNEL}": "time",
}  # fmt: skip

#: Features that say nearly the same stand for one topic; others are a topic of their own.
_TOPICS: Mapping[str, str] = {
    name: topic
    for topic, names in {
        "timing": "time claim_dpd days_past_due claim_age oldest_age days_to_next_due",
        "calendar": "day_of_month weekday month",
        "payday": "payday_offset payday_strength",
        "lateness": "late_mean late_median late_sd late_max late_last late_share late_share_30 "
        "late_recent late_expected late_usual late_usual_sd late_held_up late_held_up_sd "
        "late_mean_open on_time_rate on_time_lift on_time_excess "
        "paid_10_rate paid_10_lift paid_10_excess paid_30_rate paid_30_lift paid_30_excess",
        "hold-ups": "held_up_chance",
        "customer": "customer_n customer_late_rate customer_late_lift",
        "history": "settled_n no_settled matured_n payments_n claims_n claims_365 billed_365 "
        "first_claim tenure",
        "payments": "days_since_payment payments_30 paid_30 payments_90 paid_90 payments_365 "
        "paid_365",
        "parts": "part_share open_paid_share claim_open_share",
        "amount": "open_amount past_due_amount claim_amount claim_amount_ratio claim_rank "
        "open_rank",
        "open claims": "open_claims past_due_claims",
        "contacts": "contacts_n contacts_7 contacts_30 contacts_90 days_since_contact "
        "contacts_since_payment last_channel last_tone contacts_90_<channel>",
        "reach": "reached_<channel> opened_share clicked_share answered_share bounced_share "
        "days_since_response portal_90",
        "promises": "promises_n promises_kept promises_broken promises_pending breaches_n",
        "complaints": "disputes_n complaints_n opt_outs_n",
        "holds": "hold_days holds_n",
        "times": "segment_on_time_rate book_on_time_rate creditor_on_time_lift",
    }.items()
    for name in names.split()
}
_OF_MODELS = {
    **dict.fromkeys((TIME, EXPECTED, *HABITS), Unit.DAYS),
    **dict.fromkeys((*RANKS, "held_up_chance"), Unit.SHARE),
}
_NEEDS_SETTLED = frozenset(
    {
        "late_mean", "late_median", "late_sd", "late_max", "late_last", "late_share",
        "late_share_30", "late_recent", "late_trend",
    }
)  # fmt: skip
_NEEDS_MATURED = frozenset({"on_time_lift", "paid_10_lift", "paid_30_lift"})
_NEEDS_CONTACT = frozenset({"opened_share", "clicked_share", "answered_share", "bounced_share"})

_PLAIN = {f.name: f for f in DEFINITIONS}
_STEMS = {f.name.removesuffix(CHANNEL): f for f in DEFINITIONS if f.per_channel}


def topic(name: str) -> str:
    """Give the topic of a feature: near-duplicates share one.

    Examples
    --------
    >>> topic("late_mean"), topic("late_median"), topic("reached_sms"), topic("accounts.trade")
    ('lateness', 'lateness', 'reach', 'accounts.trade')
    """
    declared = _declared(name)
    stem = name if declared is None else declared.name
    return _TOPICS.get(stem, name)


def sentence(name: str, value: float | str, context: Mapping[str, float] | None = None) -> str:
    """Say what a feature's value means, without a full stop.

    Parameters
    ----------
    name : str
        A declared feature, a column of the caller ("accounts.trade"), or :data:`TIME`.
    value : float or str
        Its value; the text of a category; nan where unknown.
    context : mapping of str to float, optional
        :data:`CONTEXT` of the same row: tells a value from the default of a cold start.

    Examples
    --------
    >>> sentence("late_mean", 12.3)
    'Paid its earlier claims 12 days late on average'
    >>> sentence("late_mean", 0.0, {"settled_n": 0.0})
    'Has not settled any claim so far'
    >>> sentence("reached_sms", 0.25)
    'Is reached by about 25 % of contacts by sms'
    >>> sentence("accounts.trade", "bakery")
    'Trade of the account is bakery'
    """
    declared = _declared(name)
    if isinstance(value, float) and math.isnan(value):
        return "It has no open claim" if name == TIME else f"{_title(name, declared)} is not known"
    cold = _cold(name, context or {})
    if cold:
        return cold
    if name in {"weekday", "month", "day_of_month"} and isinstance(value, float):
        return _calendar(name, int(value))
    stem = name if declared is None else declared.name
    phrase = PHRASES.get(stem)
    channel = "" if declared is None else name.removeprefix(declared.name.removesuffix(CHANNEL))
    plain = Unit.NUMBER if declared is None else declared.unit
    unit = _OF_MODELS.get(name, plain)
    if phrase is None:
        shown = value if isinstance(value, str) else _show(value, unit)
        return f"{_title(name, declared)} is {shown}"
    return _fill(phrase, value, stem, unit).replace(CHANNEL, channel)


def _declared(name: str) -> Feature | None:
    if name in _PLAIN:
        return _PLAIN[name]
    return next((f for stem, f in _STEMS.items() if name.startswith(stem) and name != stem), None)


def _fill(phrase: Phrase, value: float | str, stem: str, unit: Unit) -> str:
    if isinstance(value, str):
        return phrase.usual.format(v=value)
    if phrase.never and value >= NEVER:
        return phrase.never
    if phrase.zero and _is_zero(value, unit):
        return phrase.zero
    size = abs(value)
    noun = _NOUNS.get(stem)
    count = f"{size:,.0f} {noun}{'' if round(size) == 1 else 's'}" if noun else f"{size:,.3g}"
    return (phrase.negative if phrase.negative and value < 0.0 else phrase.usual).format(
        d=_show(size, Unit.DAYS),
        m=_show(size, Unit.MONEY),
        n=count,
        p=f"{100.0 * size:.0f} %",
        q=f"{100.0 * size:.0f} points",
        v=f"{value:g}",
    )


def _is_zero(value: float, unit: Unit) -> bool:
    """Whether the value is shown as 0."""
    if unit is Unit.SHARE:
        return abs(value) < 0.005
    return abs(value) < (0.005 if unit is Unit.MONEY else 0.5)


def _show(value: float, unit: Unit) -> str:
    if unit is Unit.DAYS:
        if value >= NEVER:
            return "more than ten years, or never"
        return f"{value:,.0f} day{'' if round(abs(value)) == 1 else 's'}"
    if unit is Unit.MONEY:
        return f"{value:,.2f}"
    if unit is Unit.SHARE:
        return f"{100.0 * value:.0f} %"
    return f"{value:,.0f}" if unit is Unit.COUNT else f"{value:,.4g}"


def _cold(name: str, context: Mapping[str, float]) -> str:
    """Say that there is no history where a value is only the default of a cold start."""
    if name in _NEEDS_SETTLED and context.get("settled_n", 1.0) == 0.0:
        return "Has not settled any claim so far"
    if name in _NEEDS_MATURED and context.get("matured_n", 1.0) == 0.0:
        return "None of its claims is 30 days past its due date yet"
    if name in _NEEDS_CONTACT and context.get("contacts_n", 1.0) == 0.0:
        return "Was never contacted"
    return ""


def _calendar(name: str, value: int) -> str:
    if name == "weekday":
        return f"It is a {_DAYS[(value - 1) % 7]}"
    if name == "month":
        return f"It is {_MONTHS[(value - 1) % 12]}"
    return f"It is day {value} of the month"


# Not calendar.day_name, which follows the locale of the machine.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _title(name: str, declared: Feature | None) -> str:
    """Name what a feature is about; meanings without what comes after a semicolon or colon."""
    if declared is not None:
        meaning = declared.meaning.split(";")[0].split(":")[0].rstrip(".")
        stem = declared.name.removesuffix(CHANNEL)
        return meaning.replace(CHANNEL, name.removeprefix(stem))
    table, _, column = name.rpartition(".")
    text = column.replace("_", " ").strip() or name
    owner = {"accounts": " of the account", "invoices": " of the claim"}.get(table, "")
    return f"{text[:1].upper()}{text[1:]}{owner}"
