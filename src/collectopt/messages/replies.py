"""What a customer writes back, read by phrases that anybody can look up; when in doubt, nobody.

A reader of phrases finds what is plain, not what is meant. So it is built to fail to the gentle
side: distress, a dispute and the wish to be left alone go before all else that a reply says, what
stands beside a "not" or an "if" is unsure, and two readings that do not fit each other are none.
What it gives is a suggestion for the ledger, with the phrase that led to it; what it does not read
is for a person.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from collectopt.exceptions import InputError
from collectopt.messages.letters import Language, language_of
from collectopt.messages.said import amount_said, day_said
from collectopt.schema.times import AsOf, to_instant

_GAP = r"(?: (?:(?:\d+,\d+|[\w'./€£$-]+) ){0,6}?)"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_COMMA, _JOINT = re.compile(r",(?!\d)"), re.compile(r",(?!\d)|\b(?:und|aber|and|but)\b")
_END = re.compile(r"(?<!\d)[.;:]+(?=\s|$)|[!?]+|\n+")
_QUOTED = re.compile(
    r"^\s*(>.*|-{2,}\s*(original|urspr|forwarded|weitergeleitet).*|(von|from|gesendet|sent):.*"
    r"|(am|on)\b.{0,80}\b(schrieb|wrote)\b.*:)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_SLIPS = re.compile(r"\b(?:nich|net|ned|(?:ca|do|wo|did|does|is|was|have|has|had|could|would)nt)\b")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "’": "'", "`": "'"})


class ReplyKind(StrEnum):
    """What a reply says."""

    HARDSHIP = "hardship"  # cannot pay now, or asks for time or instalments
    DISPUTE = "dispute"
    STOP = "stop"  # wants no more messages
    WRONG_PERSON = "wrong_person"
    COMPLAINT = "complaint"
    PAID = "paid"  # says that it is paid already
    CALL_BACK = "call_back"
    PROMISE = "promise"
    UNKNOWN = "unknown"  # for a person to read


@dataclass(frozen=True)
class Reading:
    """What a reply says, as far as its phrases tell.

    Attributes
    ----------
    kind : ReplyKind
    phrases : tuple of str
        What led to it, as matched: small letters, umlauts written out.
    why : str
        In words, also why nothing was read.
    due_on : date or None
        Day of a promise.
    amount : Decimal or None
        Of a promise.
    hold : str or None
        Kind of hold that a person may want to set; nothing sets it.
    means : tuple of str
        Channels that the wish for no more messages names; none = all are meant.
    """

    kind: ReplyKind
    phrases: tuple[str, ...] = ()
    why: str = ""
    due_on: date | None = None
    amount: Decimal | None = None
    hold: str | None = None
    means: tuple[str, ...] = ()

    def row(
        self,
        account_id: str,
        at: AsOf,
        contact_id: str | None = None,
        channel: str | None = None,
    ) -> dict[str, Any]:
        """Give a row for the ledger's table of responses.

        Kinds for which that table has no word of its own become "answered". An opt-out bans the
        channel of its contact; one that speaks of another channel is given without the contact,
        and bans all: the strict side, until a person has read it.

        Parameters
        ----------
        account_id : str
        at : str, date or aware datetime
            When the reply came in; a date or a time without a zone counts as UTC.
        contact_id : str or None
            The message that it answers.
        channel : str or None
            The channel of that message.
        """
        response = "answered"
        if self.kind is not ReplyKind.UNKNOWN:
            response = str(_book()["kinds"][self.kind.value]["response"])
        if self.kind is ReplyKind.STOP and set(self.means) - {channel}:
            contact_id = None
        return {
            "account_id": account_id,
            "at": to_instant(at, "UTC").astype(datetime).replace(tzinfo=UTC),
            "kind": response,
            "contact_id": contact_id,
            "amount": self.amount,
            "due_on": self.due_on,
        }


def read_reply(text: str, language: Language, on: date | None = None) -> Reading:
    """Read what a customer writes back.

    Parameters
    ----------
    text : str
        The reply; quoted lines of earlier messages are left out.
    language : Language
        Of the reply. What needs care is looked for in every language.
    on : date or None
        Local day of the reply; without it a promise has no day.

    Returns
    -------
    Reading

    Raises
    ------
    InputError
        It is no text, a language that is not known, or no day.

    Notes
    -----
    The phrases stand in ``messages/replies.toml``, with the day on which they were written.

    Examples
    --------
    >>> said = read_reply("Sorry, I'll pay 50 EUR on Friday.", Language.EN, date(2026, 6, 3))
    >>> said.kind.value, str(said.due_on), str(said.amount)
    ('promise', '2026-06-05', '50.00')
    >>> read_reply("Ich zahle am Freitag, mehr kann ich nicht zahlen.", Language.DE).kind.value
    'hardship'
    >>> read_reply("I won't dispute that.", Language.EN).why
    "unsure: dispute ('dispute')"
    """
    if not isinstance(text, str):
        raise InputError.of("read_reply", "text", expected="a text", found=type(text).__name__)
    language = language_of(language)
    if isinstance(on, datetime) or not isinstance(on, date | None):
        found_on = type(on).__name__
        raise InputError.of("read_reply", "on", expected="a date (a local day)", found=found_on)
    plain = _plain(_QUOTED.sub("", text))
    sentences = list(_sentences(plain))
    found = [hit for words in _words(language) for s in sentences for hit in _hits(s, words)]
    own = _words(language)[0]
    more = own.contrasts.search(plain) is not None
    other = more or (any(h.kind.plain for h in found) and not own.understood(plain))
    found = [h.unsure() if (h.kind.firm and more) or (h.kind.plain and other) else h for h in found]
    return _decided(found, language, on)


@dataclass(frozen=True)
class _Kind:
    name: ReplyKind
    careful: bool = False
    plain: bool = False
    firm: bool = False
    sure: bool = False
    hold: str | None = None


@dataclass(frozen=True)
class _Hit:
    """A phrase found; not sure: negated, conditional, or otherwise doubtful."""

    kind: _Kind
    phrase: str
    sentence: str
    sure: bool

    def unsure(self) -> _Hit:
        return replace(self, sure=False)


@dataclass(frozen=True)
class _Words:
    """The patterns of one language; `rules`: kind, pattern, whether it counts whatever is said."""

    rules: tuple[tuple[_Kind, re.Pattern[str], bool], ...]
    unless: Mapping[ReplyKind, re.Pattern[str]]
    negators: re.Pattern[str]
    denials: re.Pattern[str]
    conditions: re.Pattern[str]
    hedges: re.Pattern[str]
    contrasts: re.Pattern[str]
    titles: re.Pattern[str]
    small: frozenset[str]

    def understood(self, text: str) -> bool:
        """Whether a reply has no word that might say something else."""
        bare = re.sub(r"\b\d\S*", " ", self.titles.sub(" ", text))
        words = _WORD.findall(bare)
        return all(word in self.small for word in words)


def _decided(found: list[_Hit], language: Language, on: date | None) -> Reading:
    """Take the one kind that goes before the others; UNKNOWN where there is none, or several."""
    careful = [hit for hit in found if hit.kind.careful]
    rivals = careful or found
    sure = [hit for hit in rivals if hit.sure]
    kinds = {hit.kind.name for hit in sure}
    if len(kinds) == 1:
        kind, phrases = sure[0].kind, tuple(dict.fromkeys(hit.phrase for hit in sure))
        said = " ".join(dict.fromkeys(hit.sentence for hit in sure))
        due = amount = None
        if kind.name is ReplyKind.PROMISE:
            due = None if on is None else day_said(said, language, on)
            amount = amount_said(said)
        means = _means(said) if kind.name is ReplyKind.STOP else ()
        why = f"{kind.name.value}: " + ", ".join(map(repr, phrases))
        return Reading(kind.name, phrases, why, due, amount, kind.hold, means)
    named = ", ".join(dict.fromkeys(f"{h.kind.name.value} ({h.phrase!r})" for h in sure or rivals))
    why = f"conflict: {named}" if kinds else f"unsure: {named}" if rivals else "no phrase known"
    return Reading(ReplyKind.UNKNOWN, tuple(h.phrase for h in rivals), why)


def _means(text: str) -> tuple[str, ...]:
    """Channels that a sentence names, in any language."""
    tables = [_book()[language.value]["means"] for language in Language]
    named = [name for table in tables for name in table if _whole(table[name]).search(text)]
    return tuple(dict.fromkeys(named))


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pattern})\b")


def _hits(sentence: tuple[str, bool], words: _Words) -> Iterator[_Hit]:
    """Find the phrases of a sentence, each with whether it may be relied on."""
    text, asked = sentence
    denied = words.denials.search(text) is not None
    hedged = words.hedges.search(text) is not None
    for kind, pattern, always in words.rules:
        unless = words.unless.get(kind.name)
        for match in pattern.finditer(text):
            part = _part(text, match, _JOINT if kind.careful else _COMMA)
            doubts = (
                denied,
                words.conditions.match(part) is not None,
                not always and words.negators.search(part) is not None,
                unless is not None and unless.search(text) is not None,
                kind.firm and asked,
                kind.sure and hedged,
            )
            yield _Hit(kind, match.group().strip(" ,"), text, not any(doubts))


def _part(text: str, match: re.Match[str], border: re.Pattern[str]) -> str:
    """Give what stands between the borders around a match."""
    ends = [m.end() for m in border.finditer(text) if m.end() <= match.start() + 1]
    starts = [m.start() for m in border.finditer(text) if m.start() >= match.end() - 1]
    return text[max(ends, default=0) : min(starts, default=len(text))].strip()


def _sentences(text: str) -> Iterator[tuple[str, bool]]:
    """Part a text into sentences, each with whether it is a question."""
    start = 0
    for end in _END.finditer(text):
        sentence = text[start : end.start()].strip()
        if sentence:
            yield sentence, "?" in end.group()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip(), False


def _plain(text: str) -> str:
    """Small letters, umlauts written out, one blank between words, lines kept."""
    text = unicodedata.normalize("NFKC", text).lower().translate(_UMLAUTS)
    text = _SLIPS.sub(lambda m: _slip(m.group()), text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _slip(word: str) -> str:
    """Mend what is often written without its mark, or its last letter."""
    return "nicht" if word in {"nich", "net", "ned"} else f"{word[:-2]}n't"


@cache
def _book() -> dict[str, Any]:
    text = resources.files("collectopt.messages").joinpath("replies.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def _words(language: Language) -> tuple[_Words, ...]:
    """Patterns of a language, and the careful ones of the others."""
    return tuple(_read(each, own=each is language) for each in (language, *_others(language)))


def _others(language: Language) -> list[Language]:
    return [each for each in Language if each is not language]


def _read(language: Language, *, own: bool) -> _Words:
    table = _book()[language.value]
    rules: list[tuple[_Kind, re.Pattern[str], bool]] = []
    unless = {}
    for name, options in _book()["kinds"].items():
        marks = {key: value for key, value in options.items() if key != "response"}
        kind, entry = _Kind(ReplyKind(name), **marks), table[name]
        if not own and not kind.careful:
            continue
        for key in ("says", "always"):
            rules += [(kind, _compiled(text), key == "always") for text in entry.get(key, ())]
        if "unless" in entry:
            unless[kind.name] = _compiled("|".join(entry["unless"]))
    negators, denials, conditions, hedges, contrasts, titles = (
        _compiled(table[name])
        for name in ("negators", "denials", "conditions", "hedges", "contrasts", "titles")
    )
    small = frozenset(table["small"].split())
    return _Words(
        tuple(rules), unless, negators, denials, conditions, hedges, contrasts, titles, small
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    """Make a pattern that begins with a word; its umlauts are written out as in the text."""
    written = pattern.translate(_UMLAUTS).replace("~", _GAP)
    return re.compile(rf"(?<![\w'])(?:{written})")
