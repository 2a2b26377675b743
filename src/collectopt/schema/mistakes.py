"""Mistakes in a catalogue, told so that a newcomer can mend them with nothing else at hand."""

from __future__ import annotations

import difflib
import pathlib
import re
import tomllib
import types
import typing
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from collectopt.exceptions import CatalogueError, Fault, InputError

Path = tuple[str | int, ...]


def did_you_mean(found: object, known: Iterable[str]) -> str:
    """Name the nearest of the known names, as a hint; empty where none is near.

    Examples
    --------
    >>> did_you_mean("emial", ["email", "sms"])
    "Did you mean 'email'?"
    """
    lower, word = {name.lower(): name for name in known}, str(found).lower()
    near = difflib.get_close_matches(word, lower, n=1, cutoff=0.6)
    near += [name for name in lower if len(word) > 2 and name.startswith(word)]
    return f"Did you mean {lower[near[0]]!r}?" if near else ""


def zone_hint(found: str) -> str:
    """Name the time zone that is meant; where none is near, say what zones are called.

    Examples
    --------
    >>> zone_hint("europe/berln"), zone_hint("Berlin")
    ("Did you mean 'Europe/Berlin'?", "Did you mean 'Europe/Berlin'?")
    >>> zone_hint("UTC+1")
    "Zones are called by a large city, such as 'Europe/Berlin'."
    """
    zones = {name.lower(): name for name in sorted(zoneinfo.available_timezones())}
    word = found.lower().replace(" ", "_")
    # a city that merely sounds alike (Munich, Zurich) is not meant
    near = difflib.get_close_matches(word, zones, n=1, cutoff=0.88)
    near += [name for name in zones if name.endswith(f"/{word}")]
    return (
        f"Did you mean {zones[near[0]]!r}?"
        if near
        else "Zones are called by a large city, such as 'Europe/Berlin'."
    )


def faults(
    error: ValidationError, model: type[BaseModel], source: str, text: str | None = None
) -> list[Fault]:
    """Turn what pydantic found into faults.

    Parameters
    ----------
    error : ValidationError
    model : type
        What was read.
    source : str
        Names the input, such as its file.
    text : str or None
        The TOML, to tell lines.
    """
    found: list[Fault] = []
    entries = error.errors(include_url=False)
    for entry in entries:
        below = (e["loc"] for e in entries if len(e["loc"]) > len(entry["loc"]))
        if entry["type"] == "too_short" and any(
            b[: len(entry["loc"])] == entry["loc"] for b in below
        ):
            continue  # the list is short of the entries that are told one by one
        inner = entry.get("ctx", {}).get("error")
        if isinstance(inner, InputError):
            found += [_placed(fault, entry["loc"], source, text) for fault in inner.faults]
        else:
            found.append(_fault(entry, model, source, text))
    return found


def read_text(path: pathlib.Path) -> str:
    """Read the file of a catalogue.

    Raises
    ------
    CatalogueError
        It is not there, is a folder, or is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        expected, found, hint = "a TOML file", "no such file", "Make one with: collectopt init"
    except IsADirectoryError:
        hint = "The catalogue is one file, such as collections.toml; the book is a folder."
        expected, found = "a TOML file", "a folder"
    except UnicodeDecodeError as error:
        expected, found, hint = "text in UTF-8", str(error), "Save the file as UTF-8."
    raise CatalogueError([Fault(str(path), None, expected, found, hint=hint)])


def syntax(error: tomllib.TOMLDecodeError, source: str, text: str) -> Fault:
    """Tell in which line a text is no TOML, and what is often meant there."""
    at = re.search(r"line (\d+)", str(error))
    lines = text.splitlines()
    number = int(at.group(1)) if at else len(lines)
    line = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    problem = str(error).split(" (at ", maxsplit=1)[0]
    problem = problem[:1].lower() + problem[1:]
    where = f"line {number}" if at else "the end of the file"
    shown = f"{problem} in {where}" + (f": {line}" if line else "")
    return Fault(source, None, "valid TOML", shown, hint=_syntax_hint(line, problem))


# What is often meant, by what stands in "problem | line": the first that fits.
_SYNTAX = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (
            r"overwrite|declare .* twice",
            "A key or a table stands there twice: keep one. Only tables in [[two pairs]] repeat.",
        ),
        (r"=\s*\d+,\d", "Decimals take a point: 0.05."),
        (r"=\s*\d+(\.\d+)?\s*%", "A percentage is a share of one: 8 % is written as 0.08."),
        (r"=\s*(True|False|[Yy]es|[Nn]o)\b", "Yes and no are written as true and false."),
        (
            r"unclosed array",
            "A list before that line has no closing bracket, or a comma is missing: [8, 21].",
        ),
        (
            r"(?i)=\s*(none|null|nil|nan)\b",
            "What is not set has no line: take the key away, or put a # before it.",
        ),
        (r"=\s*[A-Za-z]", 'Text stands in quotes: name = "email".'),
        (
            r"\| \[",
            "The name of a table stands in brackets: [limits], or [[channels]] for one of many.",
        ),
        (r"array|=\s*\[", "A list stands in brackets, parted by commas: [8, 21]."),
        (r"\| [^=]*:[^=]*$", "A key and its value are parted by an equals sign: cost = 0.05."),
        (
            r"",
            "A line is a comment (# ...), a table ([limits]) or a key (cost = 0.05).",
        ),
    )
)


def _syntax_hint(line: str, problem: str) -> str:
    return next(hint for pattern, hint in _SYNTAX if pattern.search(f"{problem} | {line}"))


def _fault(entry: ErrorDetails, model: type[BaseModel], source: str, text: str | None) -> Fault:
    loc, kind, value = tuple(entry["loc"]), entry["type"], entry["input"]
    where = ".".join(map(str, loc)) or None
    found = "nothing" if kind == "missing" else _shown(value)
    expected, hint = _told(entry), _hint(entry)
    if kind == "extra_forbidden":
        owner = model_at(model, loc[:-1])
        known = list(owner.model_fields) if owner else []
        expected = f"one of the keys {', '.join(known)}"
        found = f"the unknown key {str(loc[-1])!r}"
        hint = did_you_mean(loc[-1], known) or _elsewhere(str(loc[-1]), model)
    elif kind == "missing" or (kind == "too_short" and loc == ("channels",)):
        expected, hint = _missing(loc, model)
    line = None if kind == "missing" else line_of(text, loc)
    return Fault(source, where, expected, found + (f" in line {line}" if line else ""), hint=hint)


def _placed(fault: Fault, above: Path, source: str, text: str | None) -> Fault:
    """Name the source and the whole path of a fault that a check of the library found."""
    parts = [*map(str, above), *(fault.column or "").split(".")]
    loc = tuple(int(p) if p.isdigit() else p for p in parts if p)
    line = line_of(text, loc)
    found = fault.found + (f" in line {line}" if line else "")
    return Fault(source, ".".join(map(str, loc)), fault.expected, found, hint=fault.hint)


def not_among(column: str, found: str, names: Iterable[str]) -> Fault:
    """Make the fault of a name that the catalogue does not have.

    Examples
    --------
    >>> str(not_among("stages.notice_tone", "frim", ("friendly", "firm")))
    "catalogue.stages.notice_tone: expected one of friendly, firm; found 'frim'. Did you mean \
'firm'?"
    """
    expected = f"one of {', '.join(names)}"
    return Fault("catalogue", column, expected, repr(found), hint=did_you_mean(found, names))


def repeated(where: str, names: Iterable[str]) -> Iterator[Fault]:
    """Find names that stand twice; ``where`` has a gap for the place, such as "channels.{}.name".

    Examples
    --------
    >>> [str(fault) for fault in repeated("channels.{}.name", ["a", "b", "a"])]
    ["catalogue.channels.2.name: expected a name of its own; found 'a' a second time."]
    """
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name in seen:
            column = where.format(place)
            yield Fault("catalogue", column, "a name of its own", f"{name!r} a second time")
        seen.add(name)


def inside(slot: float, hours: tuple[float, float]) -> bool:
    """Whether a contact may start at a slot: the last hour is not one of them."""
    return hours[0] <= slot < hours[1]


def never_open(
    hours: Iterable[tuple[float, float] | None], slots: Sequence[float]
) -> Iterator[Fault]:
    """Find channels that no slot falls into: they would never be used, without a word.

    Examples
    --------
    >>> [fault.column for fault in never_open([None, (8, 20), (9, 12)], [8, 20])]
    ['channels.2.hours']
    """
    for place, own in enumerate(hours):
        if own is not None and not any(inside(slot, own) for slot in slots):
            expected = f"hours with one of the [slots] {[*slots]} in them"
            hint = "A contact starts at a slot, before the last hour: add a slot, or widen these."
            yield Fault("catalogue", f"channels.{place}.hours", expected, str([*own]), hint=hint)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _told(entry: ErrorDetails) -> str:
    """Say what was expected, from pydantic's message or the library's own."""
    kind = entry["type"]
    plain = {
        "tuple_type": "a list in brackets, such as [8, 21]",
        "string_pattern_mismatch": "lower-case letters, digits and _, such as 'email'",
        "model_type": "a table",
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "int_parsing": "a whole number",
        "too_short": "at least one entry",
    }
    if kind == "string_pattern_mismatch" and "{2}" in entry["ctx"]["pattern"]:
        return "a code of two letters, such as 'en'"
    if kind in plain:
        return plain[kind]
    if kind == "too_long":
        return f"at most {entry['ctx']['max_length']} entries"
    message = entry["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = re.sub(r"^(greater|less) than", r"a number \1 than", message)
    return message[0].lower() + message[1:]


def _hint(entry: ErrorDetails) -> str:
    kind, value, ctx = entry["type"], entry["input"], entry.get("ctx", {})
    key = str(entry["loc"][-1]) if entry["loc"] else ""
    hint = ""
    if isinstance(value, int | float) and 1 in {ctx.get("le"), ctx.get("lt")} and value <= 100:
        hint = f"It is a share of one: {value:g} % is written as {value / 100:g}."
    elif kind in {"enum", "literal_error"}:
        hint = did_you_mean(value, re.findall(r"'([^']*)'", str(ctx.get("expected", ""))))
    elif kind == "tuple_type" and isinstance(value, Mapping):
        table = ".".join(part for part in entry["loc"] if isinstance(part, str))
        hint = f"One of many stands in two pairs of brackets: [[{table}]]."
    elif kind in {"model_type", "dict_type"}:
        hint = f"Write [{key}] in a line of its own, and its keys below."
    elif isinstance(value, str) and "weekdays" in entry["loc"]:
        hint = "Weekdays are numbers: Monday = 0, Sunday = 6."
    elif isinstance(value, str) and "{2}" not in str(ctx.get("pattern")):
        hint = _text_hint(kind, value)
    return hint


def _text_hint(kind: str, value: str) -> str:
    if kind == "string_pattern_mismatch":
        return f"Such as {re.sub(r'[^a-z0-9_]+', '_', value.lower()).strip('_') or 'email'!r}."
    if kind in {"float_parsing", "int_parsing"}:
        clock = re.fullmatch(r"(\d{1,2})[:.](\d\d)", value)
        if value.lower() in {"", "none", "null", "no", "unlimited"}:
            return "What is not set has no line: take the key away, or put a # before it."
        if clock:
            return f"Hours are numbers: {int(clock[1]) + int(clock[2]) / 60:g} is {clock[0]}."
        return "Numbers stand without quotes, with a point for decimals."
    return ""


def _missing(loc: Path, model: type[BaseModel]) -> tuple[str, str]:
    if loc == ("channels",):
        hint = 'Write [[channels]] in a line of its own, and below it name = "email".'
        return "at least one table [[channels]]", hint
    owner = model_at(model, loc[:-1])
    keys = [] if owner is None else [n for n, f in owner.model_fields.items() if f.is_required()]
    return "this key", f"Needed there: {', '.join(keys)}." if keys else ""


def _elsewhere(key: str, model: type[BaseModel]) -> str:
    """Say where a key belongs that stands in the wrong table."""
    if model_at(model, (key,)) is not None:
        head = f"[[{key}]]" if is_list(model, key) else f"[{key}]"
        return f"It is a table of its own: write {head} in a line of its own, its keys below."
    for name in model.model_fields:
        inner = model_at(model, (name,))
        if inner is not None and key in inner.model_fields:
            table = f"[[{name}]]" if is_list(model, name) else f"[{name}]"
            return f"It belongs to the table {table}, below that line."
    if key in model.model_fields:
        return "It belongs to the top of the file, before the first table in brackets."
    return "Check the spelling against the documented keys: collectopt init writes all of them."


def model_at(model: type[BaseModel], loc: Path) -> type[BaseModel] | None:
    """Find the model of a place in the data; None where it is no table."""
    current: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = None if field is None else next(_models(field.annotation), None)
    return current


def is_list(model: type[BaseModel], name: str) -> bool:
    """Whether a table may stand there many times, as [[name]]."""
    return typing.get_origin(model.model_fields[name].annotation) is tuple


def is_number(annotation: Any) -> bool:
    """Whether a field takes a number, and no true or false.

    Examples
    --------
    >>> is_number(float | None), is_number(bool), is_number(tuple[float, ...])
    (True, False, False)
    """
    if annotation in {int, float}:
        return True
    optional = typing.get_origin(annotation) in {types.UnionType, typing.Union, Annotated}
    return optional and any(is_number(part) for part in typing.get_args(annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def line_of(text: str | None, loc: Path) -> int | None:
    r"""Find the line, from 1, in which a key or its table stands in a TOML; None: not found.

    Examples
    --------
    >>> line_of('x = 1\n[[channels]]\nname = "a"', ("channels", 0, "name"))
    3
    """
    names = [part for part in loc if isinstance(part, str)]
    if text is None or not names:
        return None
    listed = len(loc) > 1 and isinstance(loc[1], int)
    place = loc[1] if listed else 0
    table, seen, header = "", -1, None
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[{1,2}\s*([\w.]+)\s*\]", line)
        key = re.match(r"\s*[\"']?(\w+)[\"']?\s*=", line)
        if head:
            table = head[1]
            seen += table == names[0]
            if table == names[0] and seen in {0, place}:
                header = number
        elif key and (table, key[1], seen) in {("", names[0], -1), (*names[:2], place)}:
            return number
    return header
