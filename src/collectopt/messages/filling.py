"""Texts filled in: what is open, how to pay, how to get in touch."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from collectopt.exceptions import InputError
from collectopt.schema.templates import Template

#: Placeholders that need words in the language of the text.
_SPOKEN = ("salutation", "claims", "principal", "fees", "interest", "total", "offer", "methods")


@dataclass(frozen=True)
class Claim:
    """One claim as a message tells it; amounts in the book's currency."""

    invoice_id: str
    kind: str
    issued_on: date
    due_on: date
    amount: Decimal
    open: Decimal


@dataclass(frozen=True)
class Breakdown:
    """What is asked for, to the cent: total = principal + fees + interest."""

    claims: tuple[Claim, ...]
    currency: str

    def of(self, *kinds: str) -> Decimal:
        """Sum up the claims of some kinds."""
        return sum((claim.open for claim in self.claims if claim.kind in kinds), Decimal("0.00"))

    @property
    def principal(self) -> Decimal:
        """Everything that is neither a fee nor interest."""
        return self.total - self.of("fee", "interest")

    @property
    def total(self) -> Decimal:
        """Sum of everything that is asked for."""
        return sum((claim.open for claim in self.claims), Decimal("0.00"))


@dataclass(frozen=True)
class Letter:
    """What goes into a text, beside its own words."""

    account: str
    breakdown: Breakdown
    offer: str | None
    methods: tuple[str, ...]
    payment_link: str
    contact: str
    creditor: str


@cache
def starter_templates() -> tuple[Template, ...]:
    """Give the templates that ship with the library: default channels and tones, en and de.

    Examples
    --------
    >>> sorted({(t.channel, t.language) for t in starter_templates()})[:2]
    [('email', 'de'), ('email', 'en')]
    """
    return tuple(Template.model_validate(entry) for entry in _read("templates.toml")["templates"])


def fill(template: Template, letter: Letter) -> tuple[str | None, str | None]:
    """Fill in subject and text, checked by :func:`check_language`; None: the template has none."""
    if template.text is None and template.subject is None:
        return None, None
    values = _values(template, letter)
    subject, text = template.subject, template.text
    return (
        None if subject is None else _filled(subject, values),
        None if text is None else _filled(text, values),
    )


def check_language(templates: Iterable[Template]) -> None:
    """Refuse texts whose placeholders need words in a language without any.

    Raises
    ------
    InputError
    """
    spoken = ", ".join(_read("phrases.toml"))
    for template in templates:
        text = f"{template.subject or ''}{template.text or ''}"
        needed = [name for name in _SPOKEN if f"{{{name}}}" in text]
        if needed and template.language not in _read("phrases.toml"):
            raise InputError.of(
                "templates",
                template.name,
                expected=f"a language with words for {{{needed[0]}}}: {spoken}",
                found=repr(template.language),
                hint="Leave the text to your own system, which fills in the columns.",
            )


def _values(template: Template, letter: Letter) -> Mapping[str, str]:
    words: Mapping[str, Any] = _read("phrases.toml").get(template.language, {})
    plain = {
        "account": letter.account,
        "currency": letter.breakdown.currency,
        "payment_link": letter.payment_link,
        "contact": letter.contact,
        "creditor": letter.creditor,
        "name": "{name}",
    }
    if not words:
        return plain
    breakdown, german = letter.breakdown, template.language == "de"
    lines = [_line(claim, breakdown.currency, words, german) for claim in breakdown.claims]
    return plain | {
        "salutation": words["salutation"][template.salutation.value],
        "claims": "\n".join(lines),
        "principal": money(breakdown.principal, german=german),
        "fees": money(breakdown.of("fee"), german=german),
        "interest": money(breakdown.of("interest"), german=german),
        "total": money(breakdown.total, german=german),
        "offer": _offer(letter.offer or "none", words),
        "methods": _methods(letter.methods, words),
    }


def _line(claim: Claim, currency: str, words: Mapping[str, Any], german: bool) -> str:
    pattern = words["claim"] if claim.open == claim.amount else words["part"]
    return str(pattern).format(
        what=words["kinds"].get(claim.kind, claim.kind),
        invoice=claim.invoice_id,
        due=claim.due_on.strftime(words["date"]),
        open=money(claim.open, german=german),
        amount=money(claim.amount, german=german),
        currency=currency,
    )


def money(amount: Decimal, *, german: bool = False) -> str:
    """Write an amount.

    Examples
    --------
    >>> money(Decimal("1234.50")), money(Decimal("1234.50"), german=True)
    ('1,234.50', '1.234,50')
    """
    text = f"{amount:,.2f}"
    return text.translate(str.maketrans(",.", ".,")) if german else text


def _offer(offer: str, words: Mapping[str, Any]) -> str:
    known = words["offers"]
    if offer in known:
        return str(known[offer])
    return str(words["other_offer"]).format(offer=offer.replace("_", " "))


def _methods(methods: Sequence[str], words: Mapping[str, Any]) -> str:
    named = [str(words["methods"].get(name, name.replace("_", " "))) for name in methods[:3]]
    if not named:
        return str(words["any_method"])
    if len(named) == 1:
        return named[0]
    return f"{', '.join(named[:-1])} {words['and']} {named[-1]}"


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Fill in once; a line that was a placeholder alone goes with an empty value."""
    lines = [
        line
        for line in text.strip("\n").split("\n")
        if not (match := re.fullmatch(r"\{(\w+)\}", line.strip())) or values[match[1]]
    ]
    filled = "\n".join(lines).format_map(values)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in filled.split("\n")))


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("collectopt.messages").joinpath(name).read_text("utf-8"))
