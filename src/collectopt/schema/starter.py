"""The catalogue to start from: every table and key with its meaning, written from the models."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from collectopt.schema import mistakes
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.templates import Template

#: What to write where nothing is set, so that a key only has to be uncommented.
EXAMPLES: dict[str, Any] = {
    "channels.hours": [8, 21],
    "channels.weekdays": [0, 1, 2, 3, 4],
    "channels.capacity": 240,
    "limits.budget": 5000.0,
    "limits.minutes": 2400.0,
    "limits.harshness": 500.0,
    "value.credit_standing_cost": 200.0,
    "exploration.budget": 20.0,
    "exploration.max_loss": 2.0,
    "exploration.temperature": 1.0,
    "exploration.floor": 0.1,
    "waits.days": [3, 7, 14],
    "house.reminders_per_customer": 1,
    "house.tones": [{"highest": "neutral", "customer_type": "consumer"}],
    "stages.order": ["reminded", "warned"],
    "stages.notice_tone": "firm",
    "templates.name": "email_friendly",
    "templates.channel": "email",
    "templates.tone": "friendly",
    "templates.offer": "none",
    "templates.payment_link": True,
    "templates.contact_option": True,
    "templates.subject": "Your account {account}",
    "templates.text": "{salutation} Open: {total} {currency}. Pay: {payment_link} Talk: {contact}",
}
_HOME = {  # of a jurisdiction: time zone and currency
    "us_regf": ("America/New_York", "USD"),
    "uk_conc": ("Europe/London", "GBP"),
}
_HEAD = """\
Catalogue of collectopt: what may be done, what it costs, which limits hold.
Lines with "# " explain. What stands behind a "#" without a blank is not set:
take the "#" away to set it.
Check the file after a change: collectopt validate BOOK --config FILE"""
_WIDTH = 96
_JOINED = "\u00a0"  # a blank at which no line ends


def starter(jurisdiction: str = "none", templates: Sequence[Template] = ()) -> str:
    """Write a complete catalogue with comments.

    Parameters
    ----------
    jurisdiction : str
        Sets the key of that name; the time zone and the currency follow.
    templates : sequence of Template
        Texts to start from.

    Returns
    -------
    str
        TOML. With "none" it loads to ``Catalogue.default()``.

    Examples
    --------
    >>> Catalogue.from_text(starter()) == Catalogue.default()
    True
    >>> Catalogue.from_text(starter("uk_conc")).currency
    'GBP'
    """
    catalogue = Catalogue.default()
    zone, currency = _HOME.get(jurisdiction, (catalogue.timezone, catalogue.currency))
    set_ = {"jurisdiction": jurisdiction, "timezone": zone, "currency": currency}
    catalogue = catalogue.model_copy(update={**set_, "templates": tuple(templates)})
    lines = [_comment(_HEAD), ""]
    tables = [name for name in Catalogue.model_fields if mistakes.model_at(Catalogue, (name,))]
    for name in Catalogue.model_fields:
        if name not in tables:
            lines += _entry(Catalogue, name, getattr(catalogue, name), name)
    for name in tables:
        lines += _table(name, getattr(catalogue, name))
    return "\n".join(lines) + "\n"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Read what each field means from the docstring of its model.

    Examples
    --------
    >>> from collectopt.schema.catalogue import Value
    >>> meanings(Value)["complaint_cost"]
    'EUR a complaint.'
    """
    text = textwrap.dedent("    " + (model.__doc__ or ""))
    found = re.search(r"Attributes\n-+\n(.*?)(\n\n|\Z)", text, re.DOTALL)
    parts = re.split(r"^(\w+) : .*$", found[1], flags=re.MULTILINE)[1:] if found else []
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {name: _plain(" ".join(meaning.split())) for name, meaning in pairs}


def _plain(text: str) -> str:
    """Say it without the words and marks of Python."""
    text = re.sub(r"(^|\. )None(:| =) ", r"\1Not set\2 ", text)
    text = re.sub(r"\bNone(:| =) ", r"not set\1 ", text)
    return re.sub(r"`+([^`]+)`+", r'"\1"', text)


def _table(name: str, value: Any) -> list[str]:
    model = mistakes.model_at(Catalogue, (name,))
    assert model is not None
    title = _plain((model.__doc__ or name).split("\n", maxsplit=1)[0])
    title = " ".join(filter(None, (title, meanings(Catalogue).get(name, ""))))
    head = f"[[{name}]]" if mistakes.is_list(Catalogue, name) else f"[{name}]"
    lines = ["", _comment(title)]
    if value is None or value == ():
        lines.append(f"#{head}")
        for key in model.model_fields:
            lines += _entry(model, key, None, f"{name}.{key}")
        return lines
    if not isinstance(value, tuple):
        lines.append(head)
        for key in model.model_fields:
            lines += _entry(model, key, getattr(value, key), f"{name}.{key}")
        return lines
    lines.append(head)
    for key in model.model_fields:
        lines += _entry(model, key, getattr(value[0], key), f"{name}.{key}")
    for more in value[1:]:
        lines += ["", head, *_keys(more)]
    return lines


def _keys(value: BaseModel) -> Iterator[str]:
    """Write the keys of a further table of many, as far as they say something."""
    for key in type(value).model_fields:
        entry, default = getattr(value, key), type(value).model_fields[key].default
        if entry != default:
            yield f"{key} = {toml(entry)}"


def _entry(model: type[BaseModel], key: str, value: Any, path: str) -> list[str]:
    field = model.model_fields[key]
    meaning = meanings(model).get(key, "")
    lines = [_comment(" ".join(filter(None, (meaning, _default(field)))))]
    if value is None:
        example = EXAMPLES.get(path, field.default)
        return [*lines, f"#{key} = {toml(example)}"]
    return [*lines, f"{key} = {toml(value)}"]


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "Needed."
    if field.default is None:
        return ""
    return _whole(f"Without this line: {toml(field.default)}.")


def toml(value: Any) -> str:
    """Write a plain value as TOML.

    Examples
    --------
    >>> toml((8.0, 19.5)), toml("a"), toml(True)
    ('[8.0, 19.5]', '"a"', 'true')
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str) and "\n" in value:
        escaped = value.replace("\\", "\\\\").replace('"""', '\\"""')
        return f'"""\n{escaped}"""'
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _whole(text: str) -> str:
    """Keep words together on a line."""
    return text.replace(" ", _JOINED)


def _comment(text: str) -> str:
    # "x = 1" and what stands without a line are not broken up
    parts = [re.sub(r"(\S+) = (\S+)", rf"\1{_JOINED}={_JOINED}\2", p) for p in text.splitlines()]
    wrap = textwrap.TextWrapper(_WIDTH - 2, break_on_hyphens=False, break_long_words=False)
    lines = [line for part in parts for line in wrap.wrap(part)]
    return "\n".join(f"# {line}".replace(_JOINED, " ") for line in lines)
