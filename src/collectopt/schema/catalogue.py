"""The catalogue: what may be done, what it costs and which limits hold. Read from TOML."""

from __future__ import annotations

import itertools
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

from collectopt.exceptions import CatalogueError, Fault
from collectopt.schema import mistakes, shown
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.house import House, Name, Part, wrong
from collectopt.schema.mistakes import did_you_mean
from collectopt.schema.stages import Stage, check_order
from collectopt.schema.tables import CURRENCIES, JURISDICTIONS
from collectopt.schema.templates import Template, check_templates, read_texts
from collectopt.schema.times import is_timezone
from collectopt.schema.waits import Waits, check_waits

Euro = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hour = Annotated[float, Field(ge=0, le=24)]
_FIRMNESS = {  # of names that leave no doubt
    **dict.fromkeys(("friendly", "gentle", "soft", "warm", "polite", "cooperative"), 0),
    **dict.fromkeys(("neutral", "factual"), 1),
    **dict.fromkeys(("firm", "serious", "strict", "final"), 2),
}
_SPECIAL = {kind.channel for kind in ActionKind if kind is not ActionKind.CONTACT}


class Channel(Part):
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
            hint = "That action exists without a channel; see the tables [agency] and [court]."
            raise wrong("name", "the name of a channel", repr(self.name), hint)
        if self.hours is not None and self.hours[0] >= self.hours[1]:
            hint = "Contacts over midnight cannot be declared."
            raise wrong("hours", "hours that rise, such as [8, 21]", str([*self.hours]), hint)
        return self


class Tones(Part):
    """Tones from mild to firm.

    Attributes
    ----------
    order : tuple of str
        The mildest comes first: some rules ask for it.
    """

    order: Annotated[tuple[Name, ...], Field(min_length=1)] = ("friendly", "neutral", "firm")

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = [(name, _FIRMNESS[name]) for name in self.order if name in _FIRMNESS]
        for (first, level), (second, next_level) in itertools.pairwise(known):
            if level > next_level:
                found = f"{second!r} after {first!r}"
                hint = "Rules count on the mildest coming first."
                raise wrong("order", "tones from mild to firm", found, hint)
        return self


class Offers(Part):
    """What may be offered with a contact.

    Attributes
    ----------
    names : tuple of str
        "none" = no offer; keep it, or every contact makes an offer.
    """

    names: Annotated[tuple[Name, ...], Field(min_length=1)] = ("none",)


class Slots(Part):
    """When contacts may start.

    Attributes
    ----------
    hours : tuple of float
        Local hours of the account, 0 to 24; 19.5 = 19:30.
    """

    hours: Annotated[tuple[Annotated[float, Field(ge=0, lt=24)], ...], Field(min_length=1)] = (
        *(8.0, 10.0, 12.0, 15.0, 18.0),
    )


class Limits(Part):
    """Limits of one run and of one customer; None = no limit.

    Attributes
    ----------
    budget : float or None
        EUR a run.
    minutes : float or None
        Staff minutes a run.
    harshness : float or None
        Levels of tone a run, summed over contacts: the mildest tone takes 0, the next 1, and so on.
        Agency and court have no tone and take none. What people change counts as changed, and
        comes first.
    contacts_per_7_days : int or None
        Contacts a customer within any 7 x 24 hours.
    pre_due_days : int
        Contact so many days before the due date at the earliest; 0 = only past due.
    """

    budget: Euro | None = None
    minutes: Annotated[float, Field(ge=0)] | None = None
    harshness: Annotated[float, Field(ge=0)] | None = None
    contacts_per_7_days: Annotated[int, Field(ge=0)] | None = None
    pre_due_days: Annotated[int, Field(ge=0)] = 0


class PlanLimits(Part):
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


class Exploring(Part):
    """How accounts explore, beside the share `explore` of them that does at most.

    Attributes
    ----------
    budget : float or None
        EUR a run that exploring may be expected to cost against not exploring, by what the policy
        believes; the share of accounts is lowered until it does. None = no limit.
    max_loss : float or None
        EUR: actions worth so much less than the best of the account are never drawn. None = all
        permitted ones are.
    temperature : float or None
        EUR: actions are drawn in proportion to exp(value / temperature). None: whatever they are
        worth, channels by what they tell for the money.
    floor : float or None
        With a temperature: share of the draws that are made whatever the actions are worth, so
        that each keeps a chance. None = 0.1.
    """

    budget: Euro | None = None
    max_loss: Euro | None = None
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    floor: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.floor is not None and self.temperature is None:
            hint = "The floor says nothing without it."
            raise wrong("temperature", "this key beside floor, as 1.0", "nothing", hint)
        return self


class Value(Part):
    """Prices of harm in EUR.

    Attributes
    ----------
    complaint_cost : float
        EUR a complaint.
    lifetime_value : float
        EUR a customer for whom the ledger has no lifetime_value.
    credit_standing_cost : float or None
        EUR of harm to a consumer that an agency or a court order does; None = not priced.
    """

    complaint_cost: Euro = 12.0
    lifetime_value: Euro = 0.0
    credit_standing_cost: Euro | None = None


class External(Part):
    """An agency or a court.

    Attributes
    ----------
    cost : float
        EUR a case, at once.
    fee : float
        Share of what is recovered.
    leave : float
        P(the customer leaves because of it). Assumed: no trial is known.
    complaint : float
        P(the customer complains about it). Assumed.
    notice_days : int
        Days between the last own contact and the hand-over: the time that the notice gives.
    """

    cost: Euro = 0.0
    fee: Annotated[float, Field(ge=0, le=1)] = 0.0
    leave: Annotated[float, Field(ge=0, le=1)] = 0.03
    complaint: Annotated[float, Field(ge=0, le=1)] = 0.02
    notice_days: Annotated[int, Field(ge=0, le=366)] = 14


class Stop(Part):
    """Giving claims up that are worth less than they cost.

    Attributes
    ----------
    keep_cost : float
        EUR a month that an open account costs beside its contacts: books, statements, questions.
    """

    keep_cost: Euro = 0.0


class Stages(Part):
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
        try:
            check_order(self.order)
        except ValueError as error:
            found = ", ".join(repr(stage.value) for stage in self.order)
            expected = "stages in an order that skips no step"
            raise wrong("order", expected, found, f"{error}.") from None
        return self


class Catalogue(Part):
    """Channels, tones, offers, slots, limits, house rules and values.

    Attributes
    ----------
    horizon_days : int
        Outcomes are counted so many days from a decision on; at least cadence_days.
    cadence_days : int
        Days from one run of decisions to the next; a contact is planned on one of them.
    discount_rate : float
        Time value of money, a year, as a share: 0.08 = 8 %.
    jurisdiction : str
        Law that is obeyed: "de", "eu", "us_regf", "uk_conc"; "none" = house rules alone.
    explore : float
        Share of accounts, 0 to 1, that get a random permitted action, so that effects are learnt.
    timezone : str
        IANA name: midnight of bare dates, and accounts without one of their own.
    currency : str
        ISO 4217 code of all costs and values, and of the book.
    channels : tuple of Channel
    tones : Tones
    offers : Offers
    slots : Slots
    limits : Limits
    house : House
    plans : PlanLimits
    value : Value
    waits : Waits or None
        To wait for a while is a candidate only with this table.
    agency : External or None
        Hand-over to an agency is an action only with this table.
    court : External or None
        A court order is an action only with this table.
    templates : tuple of Template
        Those that fit an action compete by what they are found to change.

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
    discount_rate: Annotated[float, Field(ge=0, le=1)] = 0.08
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
    exploration: Exploring | None = None
    waits: Waits | None = None
    agency: External | None = None
    court: External | None = None
    stop: Stop | None = None
    stages: Stages | None = None
    templates: tuple[Template, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = [
            *mistakes.repeated("channels.{}.name", self.channel_names),
            *mistakes.repeated("tones.order.{}", self.tone_names),
            *mistakes.repeated("offers.names.{}", self.offers.names),
            *mistakes.never_open([c.hours for c in self.channels], self.slots.hours),
            *self._wrong_stages(),
        ]
        if self.currency not in CURRENCIES:
            hint = did_you_mean(self.currency, CURRENCIES)
            faults += wrong("currency", "an ISO 4217 code", repr(self.currency), hint).faults
        if not is_timezone(self.timezone):
            hint = mistakes.zone_hint(self.timezone)
            faults += wrong("timezone", "an IANA time zone", repr(self.timezone), hint).faults
        if self.jurisdiction not in JURISDICTIONS:
            known, hint = ", ".join(JURISDICTIONS), did_you_mean(self.jurisdiction, JURISDICTIONS)
            hint = hint or 'Take "none" for house rules only; policies take rules=... of your own.'
            expected = f"one of {known}"
            faults += wrong("jurisdiction", expected, repr(self.jurisdiction), hint).faults
        if self.cadence_days > self.horizon_days:
            hint = "What a contact brings would be counted no more before it goes out."
            expected = f"at most horizon_days, {self.horizon_days}"
            faults += wrong("cadence_days", expected, str(self.cadence_days), hint).faults
        if self.exploration is not None and "explore" not in self.model_fields_set:
            expected = "this key beside [exploration]: the largest share of accounts, as 0.05"
            faults += wrong("explore", expected, "nothing", "").faults
        for j, entry in enumerate(self.house.tones or ()):
            if entry.highest is not None and entry.highest not in self.tone_names:
                key = f"house.tones.{j}.highest"
                faults.append(mistakes.not_among(key, entry.highest, self.tone_names))
        faults += [*check_templates(self), *check_waits(self)]
        if faults:
            raise CatalogueError(faults)
        return self

    def _wrong_stages(self) -> list[Fault]:
        if self.stages is None:
            return []
        tone, names = self.stages.notice_tone, self.tone_names
        faults: list[Fault] = []
        if tone is not None and tone not in names:
            faults.append(mistakes.not_among("stages.notice_tone", tone, names))
        for stage, entry in ((Stage.AGENCY, self.agency), (Stage.COURT, self.court)):
            if stage in self.stages.order and entry is None:
                found = f"{stage.value!r}, but no [{stage.value}]"
                hint = "Add that table, or take the stage out of the order."
                faults += wrong("stages.order", "stages that exist", found, hint).faults
        return faults

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
        text = mistakes.read_text(Path(path))
        return cls.from_text(text, source=str(path), folder=Path(path).parent)

    @classmethod
    def from_text(
        cls, text: str, source: str = "catalogue", folder: Path | None = None
    ) -> Catalogue:
        """Read TOML; errors as :meth:`from_toml`, with the lines at fault.

        Parameters
        ----------
        text : str
        source : str
            Names it in errors.
        folder : Path or None
            Where texts of templates lie that are files of their own.
        """
        try:
            data = tomllib.loads(text)
            return cls.model_validate(data if folder is None else read_texts(data, folder, source))
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError([mistakes.syntax(error, source, text)]) from None
        except ValidationError as error:
            raise CatalogueError(mistakes.faults(error, cls, source, text)) from None

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "catalogue") -> Catalogue:
        """Make a catalogue from the same keys as in TOML; errors as :meth:`from_toml`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise CatalogueError(mistakes.faults(error, cls, source)) from None

    @classmethod
    def default(cls) -> Catalogue:
        """Give the catalogue that ships with the library."""
        return cls.from_toml(Path(__file__).with_name("default.toml"))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON; :meth:`from_dict` reads them back."""
        data = self.model_dump(mode="json", exclude_none=True)
        # Said only where it is set: a catalogue without templates keeps the version it had.
        if not self.templates:
            del data["templates"]
        if self.house.digital_needs_links:
            del data["house"]["digital_needs_links"]
        # The one key whose None is not what stands there if nothing is said.
        data["house"]["max_tone_step"] = self.house.max_tone_step
        return data

    def __repr__(self) -> str:
        return shown.line(self)

    def __str__(self) -> str:
        return shown.text(self)

    def _repr_html_(self) -> str:
        return shown.table(self)

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
        contacts = [c for c in contacts if c[0].hours is None or mistakes.inside(c[4], c[0].hours)]
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
