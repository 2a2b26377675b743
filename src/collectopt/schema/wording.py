"""What messages may not say: shaming, threats, advertising, hidden rights. In German and English.

A list of words finds what is plain, not what is meant: a person should read every new text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Finding:
    """One thing that a text says and should not.

    Attributes
    ----------
    word : str
        As it stands in the text.
    why : str
    hint : str
        What to write instead.
    """

    word: str
    why: str
    hint: str


@dataclass(frozen=True)
class _Ban:
    why: str
    hint: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None


def lint(text: str) -> Iterator[Finding]:
    """Find what a message may not say.

    Parameters
    ----------
    text : str
        Of any language; the words of all are looked for.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [f.word for f in lint("Dear defaulter, pay or we call the police.")]
    ['defaulter', 'police']
    >>> [f.why for f in lint("Otherwise we apply for a court order.")]
    ['it names a court, enforcement or a credit bureau and hides that the claim can be contested']
    >>> list(lint("Otherwise we apply for a court order; you can contest the claim."))
    []
    """
    for ban in _bans():
        if ban.unless is not None and ban.unless.search(text):
            continue
        for found in ban.pattern.finditer(text):
            yield Finding(found.group().lower(), ban.why, ban.hint)


@cache
def _bans() -> tuple[_Ban, ...]:
    source = resources.files("collectopt.schema").joinpath("wording.toml")
    tables = tomllib.loads(source.read_text(encoding="utf-8"))
    return tuple(
        _Ban(
            table["why"],
            table["hint"],
            _any(table["patterns"]),
            _any(table["unless"]) if "unless" in table else None,
        )
        for table in tables.values()
    )


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
