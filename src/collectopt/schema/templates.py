"""Templates of messages: what they fit, what they are like, and what they may not say."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectopt.exceptions import CatalogueError, Fault
from collectopt.schema.mistakes import did_you_mean, not_among, repeated
from collectopt.schema.wording import lint

if TYPE_CHECKING:
    from collectopt.schema.catalogue import Catalogue

Name = Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$")]
#: Channels that carry no link; every other one is digital.
BY_HAND = ("letter", "phone", "voice", "visit", "fax")
#: Filled when a message is composed, but for the last four: those are the sending system's, if the
#: caller gives nothing for them.
PLACEHOLDERS = (
    "salutation", "account", "claims", "principal", "fees", "interest", "total", "currency",
    "offer", "methods", "payment_link", "contact", "name", "creditor",
)  # fmt: skip


class Nudge(Enum):
    """What a text appeals to, beside saying what is open."""

    NONE = "none"
    SOCIAL_NORM = "social_norm"
    DEADLINE = "deadline"
    RECIPROCITY = "reciprocity"
    SIMPLIFICATION = "simplification"
    LOSS = "loss"
    PERSONAL = "personal"
    COMMITMENT = "commitment"
    PLAN = "plan"
    SCARCITY = "scarcity"


class Salutation(Enum):
    """How a text addresses the customer."""

    FORMAL = "formal"
    INFORMAL = "informal"


class Template(BaseModel):
    """A text to send, with its attributes; a new one is judged by those until it has a record.

    Attributes
    ----------
    name : str
        Written into the column "template" of contacts.
    channel : str
        One of the channels.
    tone : str
        One of the tones.
    offer : str or None
        One of the offers; None = fits any.
    language : str
        ISO 639 code of two letters.
    nudge : Nudge
        What it appeals to: "none", "social_norm", "deadline", "reciprocity", "simplification",
        "loss", "personal", "commitment", "plan", "scarcity".
    salutation : Salutation
        "formal" or "informal".
    payment_link : bool
        It holds a link at which to pay: {payment_link}.
    contact_option : bool
        It tells how to get in touch: {contact}.
    invite_dialogue : bool
        It invites to talk, such as about a plan.
    subject : str or None
        Of an e-mail or a letter.
    text : str or None
        The text itself, or a file of it (.txt, .md) beside the catalogue; None = your own system
        holds it. Placeholders: {salutation}, {account}, {claims}, {principal}, {fees}, {interest},
        {total}, {currency}, {offer}, {methods}, {payment_link}, {contact}, {name}, {creditor}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    channel: Name
    tone: Name
    offer: Name | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] = "en"
    nudge: Nudge = Nudge.NONE
    salutation: Salutation = Salutation.FORMAL
    payment_link: bool = False
    contact_option: bool = False
    invite_dialogue: bool = False
    subject: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = [*self._faults()]
        if faults:
            raise CatalogueError(faults)
        return self

    @property
    def digital(self) -> bool:
        """Whether its channel can carry a link."""
        return self.channel not in BY_HAND

    def _faults(self) -> Iterator[Fault]:
        if self.text is not None and _is_file(self.text):
            hint = "Files are read by Catalogue.from_toml alone, beside the catalogue's own file."
            yield Fault("catalogue", "text", "a text", repr(self.text), hint=hint)
            return
        used: set[str] = set()
        for key, text in (("subject", self.subject), ("text", self.text)):
            names, fault = _placeholders(key, text or "")
            used |= names
            if fault is not None:
                yield fault
            for found in lint(text or ""):
                expected = "plain and fair words"
                shown = f"{found.word!r}: {found.why}"
                yield Fault("catalogue", key, expected, shown, hint=found.hint)
        if self.text is None:
            return
        for key, name in (("payment_link", "payment_link"), ("contact_option", "contact")):
            told = getattr(self, key)
            if told != (name in used):
                expected = f"{{{name}}} in the text" if told else "true"
                found_ = "a text without it" if told else f"false, but the text holds {{{name}}}"
                yield Fault("catalogue", "text" if told else key, expected, found_)


def _placeholders(key: str, text: str) -> tuple[set[str], Fault | None]:
    """Read the names in braces; a fault where they are broken or unknown."""
    try:
        parts = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        hint = "Write a brace that is meant as such twice: {{ or }}."
        return set(), Fault("catalogue", key, "placeholders in braces", str(error), hint=hint)
    names = {str(name) for name, _, _ in parts}
    formatted = sorted(str(name) for name, spec, conversion in parts if spec or conversion)
    if formatted:
        expected = f"{{{formatted[0]}}} alone"
        return names, Fault("catalogue", key, expected, f"{{{formatted[0]}}} with a format")
    for name in sorted(names - set(PLACEHOLDERS)):
        expected = f"one of the placeholders {', '.join(PLACEHOLDERS)}"
        hint = did_you_mean(name, PLACEHOLDERS)
        return names, Fault("catalogue", key, expected, f"{{{name}}}", hint=hint)
    return names, None


def check_templates(catalogue: Catalogue) -> Iterator[Fault]:
    """Check the templates of a catalogue against all else in it.

    Each names a channel, a tone and an offer of the catalogue; each digital one has a payment link
    and a contact option, unless the house says otherwise.
    """
    yield from repeated("templates.{}.name", (t.name for t in catalogue.templates))
    known = {
        "channel": catalogue.channel_names,
        "tone": catalogue.tone_names,
        "offer": catalogue.offers.names,
    }
    for place, template in enumerate(catalogue.templates):
        for key, names in known.items():
            value = getattr(template, key)
            if value is not None and value not in names:
                yield not_among(f"templates.{place}.{key}", value, names)
        if not (template.digital and catalogue.house.digital_needs_links):
            continue
        for key in ("payment_link", "contact_option"):
            if not getattr(template, key):
                yield Fault(
                    "catalogue",
                    f"templates.{place}.{key}",
                    "true, as in every digital message",
                    f"false for {template.name!r} ({template.channel})",
                    hint="Add it, or set digital_needs_links = false in [house].",
                )


def read_texts(data: Mapping[str, Any], folder: Path, source: str = "catalogue") -> dict[str, Any]:
    """Put the content of files where templates name them.

    Parameters
    ----------
    data : mapping
        What a TOML holds.
    folder : Path
        Where the files lie.
    source : str
        Names the catalogue in errors.

    Raises
    ------
    CatalogueError
        A file cannot be read.
    """
    templates = data.get("templates")
    if not isinstance(templates, list):
        return dict(data)
    read, faults = [], []
    for place, entry in enumerate(templates):
        text = entry.get("text") if isinstance(entry, dict) else None
        if isinstance(text, str) and _is_file(text):
            try:
                entry = {**entry, "text": (folder / text).read_text(encoding="utf-8")}  # noqa: PLW2901
            except (OSError, UnicodeDecodeError) as error:
                column = f"templates.{place}.text"
                shown = f"{folder / text} ({getattr(error, 'strerror', None) or error})"
                hint = "Its place is told from the folder of the catalogue."
                faults.append(Fault(source, column, "a file of text in UTF-8", shown, hint=hint))
        read.append(entry)
    if faults:
        raise CatalogueError(faults)
    return {**data, "templates": read}


def _is_file(text: str) -> bool:
    return "\n" not in text and " " not in text and text.endswith((".txt", ".md"))


#: Attributes whose effects are learnt, each 0 or 1: nudges against none, and the rest.
ATTRIBUTES: tuple[str, ...] = (
    *(f"nudge: {nudge.value}" for nudge in Nudge if nudge is not Nudge.NONE),
    "informal salutation",
    "payment link",
    "contact option",
    "invites to talk",
)


def attributes(templates: Sequence[Template]) -> npt.NDArray[np.float64]:
    """Attributes of T templates as numbers, (T, A), columns as in :data:`ATTRIBUTES`.

    Examples
    --------
    >>> new = Template(name="a", channel="letter", tone="firm", nudge="loss", payment_link=True)
    >>> [name for name, on in zip(ATTRIBUTES, attributes([new])[0]) if on]
    ['nudge: loss', 'payment link']
    """
    rows = [
        [
            *(t.nudge is nudge for nudge in Nudge if nudge is not Nudge.NONE),
            t.salutation is Salutation.INFORMAL,
            t.payment_link,
            t.contact_option,
            t.invite_dialogue,
        ]
        for t in templates
    ]
    return np.array(rows, dtype=np.float64).reshape(len(templates), len(ATTRIBUTES))
