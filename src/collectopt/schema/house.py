"""House rules of a catalogue, and what all its tables have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from collectopt.exceptions import CatalogueError, Fault
from collectopt.schema import mistakes

Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$")]


def wrong(key: str, expected: str, found: str, hint: str) -> CatalogueError:
    """Say what is wrong with a key."""
    return CatalogueError([Fault("catalogue", key, expected, found, hint=hint)])


class Part(BaseModel):
    """A table of the catalogue: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true where a number belongs: it would count as 1."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and mistakes.is_number(kind):
            raise wrong("", "a number", str(value).lower(), "")
        return value


class SegmentTone(Part):
    """The firmest tone for accounts of a segment, or a shift; what is not given holds for all.

    Attributes
    ----------
    highest : str or None
        A tone of the order: the firmest; None = no bound.
    offset : int or None
        By how many tones what is chosen is shifted, below 0 = milder; None = not at all. Offsets of
        several entries that hold add up, and to those of people (TONE_OFFSET). The shift ends at
        either end of the order, and where law or house rules do not allow the next tone. Nothing is
        left to chance in the segment, and learning leaves its decisions out of effects, as where
        people decide.
    customer_type : str or None
        "consumer" or "business".
    min_days_past_due, max_days_past_due : int or None
        Days since the oldest claim was due, both ends included.
    column, value : str or None
        A column of accounts and what stands in it. An account with null there counts as one that
        has the value, but for an offset above 0: the gentler side.

    Examples
    --------
    >>> SegmentTone(highest="neutral", customer_type="consumer", max_days_past_due=14).highest
    'neutral'
    """

    highest: Name | None = None
    offset: int | None = None
    customer_type: Literal["consumer", "business"] | None = None
    min_days_past_due: int | None = None
    max_days_past_due: int | None = None
    column: str | None = None
    value: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.column is None) != (self.value is None):
            given = f"{'column' if self.value is None else 'value'} alone"
            raise wrong("column", "both column and value, or neither", given, "")
        if self.highest is None and self.offset is None:
            hint = 'Such as highest = "neutral", or offset = -1: one tone milder.'
            raise wrong("highest", "highest, offset or both", "neither", hint)
        if self.offset == 0:
            hint = "Below 0 = milder, above 0 = firmer. Take the line away to shift nothing."
            raise wrong("offset", "a whole number other than 0", "0", hint)
        low, high = self.min_days_past_due, self.max_days_past_due
        if low is not None and high is not None and low > high:
            expected = f"at most max_days_past_due, {high}"
            raise wrong("min_days_past_due", expected, str(low), "")
        return self


class House(Part):
    """House rules; not law.

    Attributes
    ----------
    first_contact_gentle : bool
        The first contact about a case uses the mildest tone.
    max_tone_step : int or None
        How far the tone may rise from one contact to the next.
    min_contacts_before_agency : int
        Own contacts before an agency or a court.
    distress : float
        From this probability of financial distress on only help is offered: the mildest tone, an
        offer where there is one, no agency, no court. A policy that does not estimate it goes by
        facts (a hold `vulnerable`).
    doubt : float
        While it is so unclear (0 = sure, 1 = no idea) why an account is late, no firmer tone than
        the mildest comes first.
    reminders_per_customer : int or None
        Accounts of one customer that may be contacted in one run, whoever the creditors are; the
        most valuable go first. None = as many as contacts_per_7_days leaves.
    tones : tuple of SegmentTone or None
        The firmest tone (highest) by segment, or by how many tones what is chosen is shifted
        (offset = -1: one milder): customer_type, min_days_past_due, max_days_past_due, a column
        of accounts with a value. What is not given holds for all.
    digital_needs_links : bool
        Every template of a digital channel has a payment link and a contact option.
    """

    first_contact_gentle: bool = True
    max_tone_step: Annotated[int, Field(ge=0)] | None = 1
    min_contacts_before_agency: Annotated[int, Field(ge=0)] = 3
    distress: Annotated[float, Field(gt=0, le=1)] = 0.5
    doubt: Annotated[float, Field(gt=0, le=1)] = 0.8
    reminders_per_customer: Annotated[int, Field(gt=0)] | None = None
    tones: tuple[SegmentTone, ...] | None = None
    digital_needs_links: bool = True
