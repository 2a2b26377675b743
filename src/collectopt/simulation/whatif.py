"""Scenario analysis: catalogues that differ in a budget, a capacity, a price or a tone rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectopt.exceptions import InputError
from collectopt.schema.catalogue import Catalogue

BASE = "base"


def vary(
    base: Catalogue, scenarios: Mapping[str, Catalogue | Mapping[str, object]]
) -> dict[str, Catalogue]:
    """Give the base and its variations by name.

    Parameters
    ----------
    base : Catalogue
    scenarios : mapping of str to Catalogue or mapping
        A catalogue, or dotted keys -> new values; a channel is named (``channels.phone.cost``),
        and None removes an entry.

    Raises
    ------
    InputError
        A name is taken, or a key or a value does not fit a catalogue.

    Examples
    --------
    >>> both = vary(Catalogue.default(), {"poor": {"limits.budget": 10}})
    >>> {name: catalogue.limits.budget for name, catalogue in both.items()}
    {'base': None, 'poor': 10.0}
    """
    if BASE in scenarios:
        raise InputError.of(
            "what_if", "scenarios", expected="names other than 'base'", found="'base'",
            hint="Pass the catalogue that all scenarios change as base=...",
        )  # fmt: skip
    result = {BASE: base}
    for name, change in scenarios.items():
        result[str(name)] = (
            change if isinstance(change, Catalogue) else _changed(base, name, change)
        )
    return result


def _changed(base: Catalogue, name: str, change: Mapping[str, object]) -> Catalogue:
    spec = base.to_dict()
    spec["channels"] = {channel["name"]: channel for channel in spec["channels"]}
    for key, value in change.items():
        *path, last = key.split(".")
        node: Any = spec
        for part in path:
            if node is spec and part in Catalogue.model_fields:
                node.setdefault(part, {})
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or (node is spec["channels"] and last not in node):
            known = ", ".join(spec["channels"])
            raise InputError.of(
                f"scenario {name!r}", key, expected="a dotted key of the catalogue",
                found="no such entry", hint=f"Channels are named: {known}.",
            )  # fmt: skip
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    spec["channels"] = list(spec["channels"].values())
    return Catalogue.from_dict(spec, source=f"scenario {name!r}")
