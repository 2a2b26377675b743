"""The catalogue: what may be done, what it costs and which limits hold. Read from TOML."""

from __future__ import annotations

import itertools
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collectopt.exceptions import CatalogueError, Fault
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.stages import Stage, check_order
from collectopt.schema.tables import CURRENCIES
from collectopt.schema.times import is_timezone

Euro = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hour = Annotated[float, Field(ge=0, le=24)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$")]
_SPECIAL = {kind.channel for kind in ActionKind if kind is not ActionKind.CONTACT}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Channel(_Model):
    """A way to reach a customer.

    Attributes
    ----------
    name : str
        Consent stands in the accounts' column ``<name>_ok``.
    cost : float
        EUR a contact.
    minutes : float
        Staff minutes a contact.
    hours : tuple of two floats or None
        Earliest and latest local hour of the account; None = any.
    weekdays : tuple of int or None
        Local weekdays, Monday = 0; None = any.
    capacity : int or None
        Contacts a run; None = no limit.
    """

    name: Name
    cost: Euro = 0.0
    minutes: Annotated[float, Field(ge=0)] = 0.0
    hours: tuple[Hour, Hour] | None = None
    weekdays: tuple[Annotated[int, Field(ge=0, le=6)], ...] | None = None
    capacity: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in _SPECIAL:
            raise ValueError(f"{self.name!r} is no channel to be declared: it always exists")
        if self.hours is not None and self.hours[0] >= self.hours[1]:
            raise ValueError("hours must rise, such as [8, 21]")
        return self


class Tones(_Model):
    """Tones from mild to firm."""

    order: Annotated[tuple[Name, ...], Field(min_length=1)] = ("friendly", "neutral", "firm")


class Offers(_Model):
    """What may be offered; "none" always is."""

    names: Annotated[tuple[Name, ...], Field(min_length=1)] = ("none",)


class Slots(_Model):
    """Local hours at which contacts may start."""

    hours: Annotated[tuple[Annotated[float, Field(ge=0, lt=24)], ...], Field(min_length=1)] = (
        8.0,
        10.0,
        12.0,
        15.0,
        18.0,
    )


class Limits(_Model):
    """Limits of one run and of one customer; None = no limit.

    Attributes
    ----------
    budget : float or None
        EUR a run.
    minutes : float or None
        Staff minutes a run.
    contacts_per_7_days : int or None
        Contacts a customer within any 7 x 24 hours.
    pre_due_days : int
        Contact so many days before the due date at the earliest; 0 = only past due.
    """

    budget: Euro | None = None
    minutes: Annotated[float, Field(ge=0)] | None = None
    contacts_per_7_days: Annotated[int, Field(ge=0)] | None = None
    pre_due_days: Annotated[int, Field(ge=0)] = 0


class House(_Model):
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
    """

    first_contact_gentle: bool = True
    max_tone_step: Annotated[int, Field(ge=0)] | None = 1
    min_contacts_before_agency: Annotated[int, Field(ge=0)] = 3
    distress: Annotated[float, Field(gt=0, le=1)] = 0.5
    doubt: Annotated[float, Field(gt=0, le=1)] = 0.8


class PlanLimits(_Model):
    """What a plan of instalments may look like.

    Attributes
    ----------
    max_months : int
        The last instalment comes so many months after the agreement at the latest.
    min_instalment : float
        EUR an instalment, but for the last one.
    max_start_days : int
        The first instalment comes so many days after the agreement at the latest.
    grace_days : int
        An instalment may be so late before the plan counts as broken.
    interest : float
        A year, on what is open, asked beside the instalments; 0 = none is asked.
    max_share : float
        Instalments of a month, as a share of what the customer usually pays in a month. Assumed:
        current bills have to be paid beside the plan.
    """

    max_months: Annotated[int, Field(gt=0, le=120)] = 12
    min_instalment: Euro = 10.0
    max_start_days: Annotated[int, Field(gt=0, le=366)] = 30
    grace_days: Annotated[int, Field(ge=0, le=90)] = 7
    interest: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.5


class Value(_Model):
    """Prices of harm in EUR.

    Attributes
    ----------
    complaint_cost : float
        EUR a complaint.
    lifetime_value : float
        EUR a customer for whom the ledger has no lifetime_value.
    """

    complaint_cost: Euro = 12.0
    lifetime_value: Euro = 0.0


class External(_Model):
    """An agency or a court.

    Attributes
    ----------
    cost : float
        EUR a case, at once.
    fee : float
        Share of what is recovered.
    leave, complaint : float
        P(the customer leaves, complains) because of it. Assumed: no trial is known.
    notice_days : int
        Days between the last own contact and the hand-over: the time that the notice gives.
    """

    cost: Euro = 0.0
    fee: Annotated[float, Field(ge=0, le=1)] = 0.0
    leave: Annotated[float, Field(ge=0, le=1)] = 0.03
    complaint: Annotated[float, Field(ge=0, le=1)] = 0.02
    notice_days: Annotated[int, Field(ge=0, le=366)] = 14


class Stop(_Model):
    """Giving claims up that are worth less than they cost.

    Attributes
    ----------
    keep_cost : float
        EUR a month that an open account costs beside its contacts: books, statements, questions.
    """

    keep_cost: Euro = 0.0


class Stages(_Model):
    """The house's own way from a reminder to a court, and the tone that is a formal notice.

    Attributes
    ----------
    order : tuple of Stage
        Such as ["reminded", "warned", "agency", "court"]: each only after the one before. It may
        ask for more than the law, never for less.
    notice_tone : str or None
        From this tone on a contact counts as formal notice; None = the firmest.
    """

    order: tuple[Stage, ...] = ()
    notice_tone: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_order(self.order)
        return self


class Catalogue(_Model):
    """Channels, tones, offers, slots, limits, house rules and values.

    Examples
    --------
    >>> catalogue = Catalogue.from_dict(
    ...     {"channels": [{"name": "email", "cost": 0.05}], "cadence_days": 1,
    ...      "slots": {"hours": [9]}, "tones": {"order": ["friendly", "firm"]}}
    ... )
    >>> [str(a) for a in catalogue.actions]
    ['wait', 'email, friendly, 09:00 today', 'email, firm, 09:00 today', 'stop']
    """

    horizon_days: Annotated[int, Field(gt=0)] = 28
    cadence_days: Annotated[int, Field(gt=0)] = 7
    discount_rate: Annotated[float, Field(ge=0, lt=10)] = 0.08
    jurisdiction: str = "none"
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    timezone: str = "UTC"
    currency: str = "EUR"
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]
    tones: Tones = Tones()
    offers: Offers = Offers()
    slots: Slots = Slots()
    limits: Limits = Limits()
    house: House = House()
    plans: PlanLimits = PlanLimits()
    value: Value = Value()
    agency: External | None = None
    court: External | None = None
    stop: Stop | None = None
    stages: Stages | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, names in (
            ("channels", self.channel_names),
            ("tones", self.tone_names),
            ("offers", self.offers.names),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what}: {', '.join(twice)} more than once")
        self._check_stages()
        if self.currency not in CURRENCIES:
            raise ValueError(f"currency: {self.currency!r} is no ISO 4217 code")
        if not is_timezone(self.timezone):
            raise ValueError(f"timezone: {self.timezone!r} is no IANA time zone")
        return self

    def _check_stages(self) -> None:
        if self.stages is None:
            return
        tone = self.stages.notice_tone
        if tone is not None and tone not in self.tone_names:
            raise ValueError(f"stages.notice_tone: {tone!r} is none of {self.tone_names}")
        for stage, entry in ((Stage.AGENCY, self.agency), (Stage.COURT, self.court)):
            if stage in self.stages.order and entry is None:
                raise ValueError(
                    f"stages.order has {stage.value!r}, but there is no [{stage.value}]"
                )

    @classmethod
    def from_toml(cls, path: str | Path) -> Catalogue:
        """Read a catalogue.

        Parameters
        ----------
        path : str or Path
            A TOML file.

        Raises
        ------
        CatalogueError
            Lists every entry that is wrong.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CatalogueError([Fault(str(path), None, "a TOML file", "no such file")]) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
            raise CatalogueError([Fault(str(path), None, "valid TOML", str(error))]) from None
        return cls.from_dict(data, source=str(path))

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "catalogue") -> Catalogue:
        """Make a catalogue from the same keys as in TOML; errors as :meth:`from_toml`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise CatalogueError(_faults(error, source)) from None

    @classmethod
    def default(cls) -> Catalogue:
        """Give the catalogue that ships with the library."""
        return cls.from_toml(Path(__file__).with_name("default.toml"))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON; :meth:`from_dict` reads them back."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(channel.name for channel in self.channels)

    @property
    def tone_names(self) -> tuple[str, ...]:
        """Names of the tones, from mild to firm."""
        return self.tones.order

    @cached_property
    def actions(self) -> ActionSet:
        """All actions: to wait first, then contacts, then the special ones."""
        contacts = list(
            itertools.product(
                self.channels,
                self.tones.order,
                self.offers.names,
                range(self.cadence_days),
                self.slots.hours,
            )
        )
        contacts = [c for c in contacts if c[0].hours is None or _inside(c[4], c[0].hours)]
        special = [(ActionKind.AGENCY, self.agency), (ActionKind.COURT, self.court)]
        last = [(kind, entry.cost) for kind, entry in special if entry is not None]
        last.append((ActionKind.STOP, 0.0))
        n = len(last)
        blank: list[None] = [None] * n
        return ActionSet.build(
            kind=[ActionKind.WAIT, *[ActionKind.CONTACT] * len(contacts), *(k for k, _ in last)],
            channel=[None, *(c[0].name for c in contacts), *blank],
            tone=[None, *(c[1] for c in contacts), *blank],
            offer=[None, *(c[2] for c in contacts), *blank],
            day=[None, *(c[3] for c in contacts), *blank],
            hour=[None, *(c[4] for c in contacts), *blank],
            cost=[0.0, *(c[0].cost for c in contacts), *(cost for _, cost in last)],
            minutes=[0.0, *(c[0].minutes for c in contacts), *([0.0] * n)],
            names=(self.channel_names, self.tone_names, self.offers.names),
        )


def _inside(hour: float, hours: tuple[float, float]) -> bool:
    return hours[0] <= hour < hours[1]


def _faults(error: ValidationError, source: str) -> list[Fault]:
    faults = []
    for entry in error.errors(include_url=False):
        where = ".".join(str(part) for part in entry["loc"]) or None
        found = repr(entry["input"])
        message = entry["msg"].removeprefix("Value error, ")
        unknown = entry["type"] == "extra_forbidden"
        expected = "no such key" if unknown else message[0].lower() + message[1:]
        hint = "Check the spelling against the documented keys." if unknown else ""
        faults.append(Fault(source, where, expected, found[:80], hint=hint))
    return faults
