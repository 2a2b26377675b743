"""A decision explained to the person it is about, or to whoever answers for it.

The explanation names what is suggested, what it changes and why it is worth it, what would have
been next, what was not allowed and why, and that a person can decide otherwise: the procedure and
principles actually applied, in an order that can be followed (Court of Justice of the European
Union, 27 February 2025, C-203/22).
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any

from collectopt.exceptions import InputError
from collectopt.rules.rules import Rules
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import Decisions

_DRAWN = "Drawn at random"


class Language(Enum):
    """Languages of explanations."""

    EN = "en"
    DE = "de"


def language_of(language: Language | str) -> Language:
    """Give the language of a name such as "de".

    Raises
    ------
    InputError
        One that is not known.
    """
    try:
        return Language(language)
    except ValueError:
        expected = f"one of {[each.value for each in Language]}"
        raise InputError.of(
            "messages", "language", expected=expected, found=repr(language)
        ) from None


def in_words(
    decisions: Decisions,
    account_id: str,
    language: Language = Language.EN,
    catalogue: Catalogue | None = None,
) -> str:
    """Explain a decision in whole sentences.

    Parameters
    ----------
    decisions : Decisions
    account_id : str
    language : Language
    catalogue : Catalogue, optional
        Names the currency and the rules in force; default: the library's.

    Returns
    -------
    str
        Sentences, one a line.

    Raises
    ------
    InputError
        No decision for this account.

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=100, seed=1, weeks=20)
    >>> decisions = co.FixedLadder(book.catalogue).decide(book.ledger(), book.as_of)
    >>> account = decisions.table["account_id"][0].as_py()
    >>> print(in_words(decisions, account).splitlines()[-1])
    This is a suggestion of a program. A person can look at it again and decide otherwise.
    """
    explanation = decisions.explain(account_id)
    place = decisions.table["account_id"].to_pylist().index(account_id)
    row = decisions.table.slice(place, 1).to_pylist()[0]
    catalogue = catalogue or Catalogue.default()
    language = language_of(language)
    words = _words()[language.value]
    number = _Numbers(language)
    until = None if decisions.waits is None else decisions.waits[place].as_py()
    lines = [words["who"].format(account=account_id, what=_what(row, words, until, number))]
    lines += _chances(row, words, number)
    lines += _waited(until, words, number)
    if any(reason.startswith(_DRAWN) for reason in explanation.reasons):
        lines.append(words["drawn"].format(propensity=number.percent(row["propensity"])))
    terms = [
        _term(name, euros, words, number)
        for name, euros in explanation.terms.items()
        if abs(euros) >= 0.005
    ]
    if terms and (row["channel"] != "none" or until):
        joined = _joined(terms, words["and"])
        value = number.money(row["value"])
        lines.append(words["worth"].format(value=value, currency=catalogue.currency, terms=joined))
    if explanation.runner_up is not None:
        lines.append(words["rival"].format(rival=_named(explanation.runner_up, words)))
    own = ("TONE_OFFSET: ", "OVERRIDE: ")  # what the house and people did, no refusal
    traces = [trace for trace in explanation.rule_trace if not trace.startswith(own)]
    refused = [_refusal(trace, words, catalogue) for trace in traces]
    if refused:
        lines.append(words["not_allowed"].format(rules="; ".join(refused)))
    if any(trace.startswith("OVERRIDE: ") for trace in explanation.rule_trace):
        lines.append(words["decided_by_people"])
    lines.append(words["person"])
    return "\n".join(lines)


class _Numbers:
    """Numbers as people write them in a language."""

    def __init__(self, language: Language) -> None:
        self.german = language is Language.DE

    def _local(self, text: str) -> str:
        return text.translate(str.maketrans(",.", ".,")) if self.german else text

    def money(self, amount: float) -> str:
        return self._local(f"{amount:+,.2f}").replace("-", "−")

    def day(self, day: date) -> str:
        return f"{day:%d.%m.%Y}" if self.german else day.isoformat()

    def percent(self, share: float) -> str:
        digits = 1 if share >= 0.001 else 3
        return self._local(f"{100 * share:.{digits}f}") + ("\u00a0%" if self.german else "%")


def _what(
    row: Mapping[str, Any],
    words: Mapping[str, Any],
    until: Mapping[str, Any] | None,
    number: _Numbers,
) -> str:
    if until:
        return str(words["wait_until"]).format(day=number.day(until["until"]))
    if row["channel"] == "none":
        return str(words["wait"])
    parts = [row["channel"], row["tone"]]
    if row["offer"] not in {None, "none"}:
        parts.append(f"offering {row['offer']}")
    return _named(", ".join(part for part in parts if part), words)


def _waited(
    until: Mapping[str, Any] | None, words: Mapping[str, Any], number: _Numbers
) -> list[str]:
    if not until:
        return []
    key = "wait_payday" if until["payday"] else "wait_days"
    facts = {"day": number.day(until["until"]), "p": number.percent(until["p_alone"])}
    return [words[key].format(**facts, then=_named(until["action"], words))]


def _chances(row: Mapping[str, Any], words: Mapping[str, Any], number: _Numbers) -> list[str]:
    p, p_wait = row["p_pay"], row["p_pay_if_wait"]
    if p is None or p_wait is None or math.isnan(p) or math.isnan(p_wait):
        return []
    key = "chance_wait" if row["channel"] == "none" else "chance"
    return [words[key].format(p=number.percent(p), p_wait=number.percent(p_wait))]


def _named(name: str, words: Mapping[str, Any]) -> str:
    """Translate an action's name part by part."""
    names = words["names"]

    def one(part: str) -> str:
        if part in names:
            return str(names[part])
        return " ".join(str(names.get(word, word)) for word in part.split(" "))

    return ", ".join(one(part) for part in name.split(", "))


def _term(name: str, euros: float, words: Mapping[str, Any], number: _Numbers) -> str:
    found = re.search(r"[A-Za-z_]\w*(?=\()", name)
    pattern = words["terms"].get(found.group() if found else name, f"{name} {{x}}")
    return str(pattern).format(x=number.money(euros))


def _joined(parts: list[str], last: str) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _refusal(trace: str, words: Mapping[str, Any], catalogue: Catalogue) -> str:
    """Say why, from "CODE: 12 refused"; a rule of one's own is told by its code."""
    code = trace.split(":", maxsplit=1)[0]
    if code in words["rules"]:
        return f"{words['rules'][code]} ({code})"
    known = {p.code: p.reason for p in Rules.from_catalogue(catalogue).permissions}
    return f"{known[code]} ({code})" if words is _words()["en"] and code in known else code


@cache
def _words() -> dict[str, Any]:
    text = resources.files("collectopt.messages").joinpath("words.toml").read_text("utf-8")
    return tomllib.loads(text)
