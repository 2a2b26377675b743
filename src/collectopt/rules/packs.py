"""The law as dated data: every rule with its source, and how far the code keeps it.

The packs are TOML files, one a jurisdiction; the logic stands in the permissions and in
:mod:`collectopt.rules.dates`. ``python -m collectopt.rules.packs`` prints the table of all rules.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from collectopt.exceptions import Fault, InputError

PACKS: Mapping[str, tuple[str, ...]] = {  # jurisdiction -> files that hold there
    "none": (),
    "eu": ("eu",),
    "de": ("de", "eu"),
    "us_regf": ("us_regf",),
    "uk_conc": ("uk_conc",),
}


class Effect(StrEnum):
    """What a rule does."""

    FORBID = "forbid"
    REQUIRE = "require"  # a notice or attribute must be there
    CAP = "cap"  # a rolling count
    HOLD = "hold"  # pause until
    DEADLINE = "deadline"  # a clock on the value
    PRICE = "price"  # a cost or fee


class Party(StrEnum):
    """Whom a rule binds."""

    ANY = "any"
    THIRD = "third_party"  # who collects the claims of others


class Status(StrEnum):
    """How far the code keeps a rule."""

    ENFORCED = "enforced"
    NEEDS_FACT = "needs_fact"  # some of it hangs on a fact that the ledger lacks
    OUTSIDE = "outside"  # no action of the library touches it


@dataclass(frozen=True)
class Law:
    """One rule of a pack.

    Attributes
    ----------
    id, title, jurisdiction, unit : str
        `unit` in plain words: channel, account, person, claim.
    effect : Effect
    source : str
    verified : bool
        Whether the text, or an account of it, was read; False = from memory.
    status : Status
    party : Party
    valid_from, valid_to : date or None
        First day it holds, first day it no longer does; None = no such day is known.
    numbers : mapping of str to float
        Numbers of the rule, which the code takes from here.
    code : tuple of str
        Codes of the permissions that keep it, and functions, such as ``dates.interest``.
    fact, strict : str
        The fact that the ledger lacks; which strict side is taken, or that none is.
    note : str
    test : str
        ``path::name`` of the test that proves it; empty where no code keeps the rule.
    """

    id: str
    title: str
    jurisdiction: str
    unit: str
    effect: Effect
    source: str
    verified: bool
    status: Status
    party: Party = Party.ANY
    valid_from: date | None = None
    valid_to: date | None = None
    numbers: Mapping[str, float] | None = None
    code: tuple[str, ...] = ()
    fact: str = ""
    strict: str = ""
    note: str = ""
    test: str = ""

    def holds_on(self, day: date) -> bool:
        """Say whether the rule holds on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day < self.valid_to
        )


@dataclass(frozen=True)
class LawTable:
    """Rules with their status, for people.

    Examples
    --------
    >>> table().counts()["enforced"] >= 5
    True
    """

    laws: tuple[Law, ...]

    def __len__(self) -> int:
        return len(self.laws)

    def counts(self) -> dict[str, int]:
        """How many rules have each status."""
        return {status.value: sum(w.status is status for w in self.laws) for status in Status}

    def to_markdown(self) -> str:
        """Give a table in Markdown."""
        head, *rows = self._cells()
        lines = [head, ["---"] * len(head), *rows]
        return "".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
        )

    def _repr_html_(self) -> str:
        head, *rows = self._cells()
        top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self) -> list[list[str]]:
        head = ["Id", "Rule", "Unit", "Effect", "Holds", "Source", "Status", "By", "Test"]
        return [head, *(_row(law) for law in self.laws)]


def laws(jurisdiction: str, on: date | None = None) -> tuple[Law, ...]:
    """Give the rules of a jurisdiction.

    Parameters
    ----------
    jurisdiction : str
        As in the catalogue: "none", "eu", "de" (with those of the Union), "us_regf", "uk_conc".
    on : date or None
        Only rules that hold on this day; None = all.

    Raises
    ------
    InputError
        There is no such jurisdiction.

    Examples
    --------
    >>> from datetime import date
    >>> "DE-21" in [law.id for law in laws("de", on=date(2026, 11, 19))]
    False
    >>> "DE-21" in [law.id for law in laws("de", on=date(2026, 11, 20))]
    True
    """
    if jurisdiction not in PACKS:
        raise InputError.of(
            "laws",
            "jurisdiction",
            expected=f"one of {', '.join(PACKS)}",
            found=repr(jurisdiction),
        )
    found = [law for name in PACKS[jurisdiction] for law in _pack(name)]
    return tuple(law for law in found if on is None or law.holds_on(on))


def table() -> LawTable:
    """Give all rules of all packs."""
    return LawTable((*laws("de"), *laws("us_regf"), *laws("uk_conc")))


def digest(jurisdiction: str) -> str:
    """Hash the data of all rules of a jurisdiction, whatever their files look like otherwise.

    Examples
    --------
    >>> digest("de") == digest("de") != digest("eu")
    True
    """
    plain = [{**asdict(law), "numbers": dict(law.numbers or {})} for law in laws(jurisdiction)]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def number(jurisdiction: str, law: str, name: str) -> float:
    """Give a number of a rule.

    Examples
    --------
    >>> number("us_regf", "US-01", "calls")
    7
    """
    numbers = next(w.numbers for w in laws(jurisdiction) if w.id == law)
    return (numbers or {})[name]


@cache
def _pack(name: str) -> tuple[Law, ...]:
    text = (files("collectopt.rules") / "packs" / f"{name}.toml").read_text(encoding="utf-8")
    return read_pack(text, f"{name}.toml")


def read_pack(text: str, source: str = "pack") -> tuple[Law, ...]:
    """Read and check a pack.

    Parameters
    ----------
    text : str
        TOML: ``jurisdiction`` and a list ``laws`` with the keys of :class:`Law`.
    source : str
        Name of the file, for errors.

    Raises
    ------
    InputError
        Lists every rule that is wrong.
    """
    data = tomllib.loads(text)
    found: list[Law] = []
    faults: list[Fault] = []
    for entry in data["laws"]:
        where = str(entry.get("id", "a rule without id"))
        try:
            law = _law(entry, data["jurisdiction"])
        except (TypeError, ValueError) as error:
            faults.append(Fault(source, where, "the keys of Law with valid values", str(error)))
            continue
        faults += [Fault(source, where, *wrong) for wrong in _wrong(law)]
        if any(other.id == law.id for other in found):
            faults.append(Fault(source, where, "each id once", "it twice"))
        found.append(law)
    if faults:
        raise InputError(faults)
    return tuple(found)


def _law(entry: Mapping[str, Any], jurisdiction: str) -> Law:
    more = {
        "effect": Effect(entry.get("effect", "")),
        "status": Status(entry.get("status", "")),
        "party": Party(entry.get("party", "any")),
        "code": tuple(entry.get("code", ())),
    }
    return Law(**{**entry, **more, "jurisdiction": jurisdiction})


def _wrong(law: Law) -> list[tuple[str, str]]:
    """List what does not fit together in a rule: expected, found."""
    wrong = []
    if law.status is Status.ENFORCED and not law.code:
        wrong.append(("a code that enforces it", "none"))
    if law.code and not law.test:
        wrong.append(("a test of its code", "none"))
    if law.status is Status.NEEDS_FACT and not (law.fact and law.strict):
        wrong.append(("the fact it needs and the strict side", f"{law.fact!r}, {law.strict!r}"))
    if law.status is Status.OUTSIDE and not law.note:
        wrong.append(("a note why it is outside", "none"))
    if law.valid_from and law.valid_to and law.valid_from >= law.valid_to:
        wrong.append(("valid_from before valid_to", f"{law.valid_from}, {law.valid_to}"))
    return wrong


def _row(law: Law) -> list[str]:
    span = [f"from {law.valid_from}"] if law.valid_from else []
    span += [f"until {law.valid_to}"] if law.valid_to else []
    said = {
        Status.ENFORCED: "enforced",
        Status.NEEDS_FACT: f"needs a fact: {law.fact}. Strict side: {law.strict}",
        Status.OUTSIDE: "outside",
    }[law.status]
    unread = "" if law.verified else " (not verified)"
    third = "; third parties only" if law.party is Party.THIRD else ""
    return [
        law.id,
        law.title,
        law.unit,
        f"{law.effect.value}{third}",
        ", ".join(span),
        law.source + unread,
        f"{said}; {law.note}" if law.note else said,
        ", ".join(f"`{code}`" for code in law.code),
        f"`{law.test.rpartition('/')[2]}`" if law.test else "",
    ]


def document() -> str:
    """Give the page of all rules, in Markdown."""
    counts = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in table().counts().items())
    return (
        "# Rules of law and how far the code keeps them\n\n"
        "Made by `python -m collectopt.rules.packs > docs/rules.md`; change the packs, not this "
        "page. Not legal advice. *Enforced*: no decision breaks it, by the facts that its "
        "note names. *Needs a fact*: some of it "
        "hangs on a fact that the ledger does not hold; the column says which strict side is "
        "taken, or that none is. *Outside*: no action of the library touches it. *Not verified*: "
        "written from memory, to be checked before anybody relies on it. Statutes of Germany as of "
        f"March 2022 where no later day is named.\n\n{len(table())} rules: {counts}.\n\n"
        + table().to_markdown()
    )


if __name__ == "__main__":
    sys.stdout.write(document())
