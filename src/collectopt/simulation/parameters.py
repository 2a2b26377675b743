"""The parameters of the books: a data file in which every number names its source."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from collectopt.exceptions import Fault, InputError
from collectopt.simulation.external import Agency, Court
from collectopt.simulation.kinds import (
    Billing,
    Courtesy,
    CustomerType,
    Drift,
    Effects,
    Hunch,
    Kind,
    Payment,
    Tie,
    TypeParameters,
)

FILE = Path(__file__).with_name("parameters.toml")
T = TypeVar("T")
Raw = dict[str, Any]
_REACTIONS = ("persuasion", "tone", "promise", "keep", "plan")
_TYPES = tuple(of.name.lower() for of in CustomerType)
_PARTS: dict[str, type[Any]] = {
    "billing": Billing,
    "payment": Payment,
    "tie": Tie,
    "drift": Drift,
    "hunch": Hunch,
    "agency": Agency,
    "court": Court,
    "courtesy": Courtesy,
}
_INDUSTRY = {"shares", "types", "effects", *_PARTS}


@dataclass(frozen=True)
class Parameters:
    """Numbers with their sources, as read from TOML.

    Parameters
    ----------
    raw : dict
        Tables ``sources``, ``effects``, ``types``, ``industries``, ``variants``. A table's
        ``source`` holds for its plain values; ``{value = ..., source = ...}`` says otherwise.
        A source is a key of ``sources`` or a list of them.

    Raises
    ------
    InputError
        A source is missing or not listed, a key is unknown or missing; all faults at once.

    Examples
    --------
    >>> parameters = Parameters.packaged()
    >>> parameters.sources["effects.decay_days"]
    ('chirico_2019', 'chehrazi_2015')
    >>> parameters.kinds()["placebo"].effects.strength
    (0.0, 0.0, 0.0, 0.0)
    """

    raw: Raw

    def __post_init__(self) -> None:
        reader = _Reader(self.raw)
        reader.kinds()
        if reader.faults:
            raise InputError(reader.faults)

    @classmethod
    def packaged(cls) -> Parameters:
        """Read the file that comes with the library."""
        return cls(tomllib.loads(FILE.read_text(encoding="utf-8")))

    @property
    def references(self) -> dict[str, str]:
        """Full citations by key."""
        return dict(self.raw["sources"])

    @cached_property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """Keys of the sources of every parameter, by its dotted path in the file."""
        found: dict[str, tuple[str, ...]] = {}
        for name in ("effects", "types", "industries", "variants"):
            _walk(self.raw.get(name, {}), name, found)
        return found

    def kinds(self) -> dict[str, Kind]:
        """Build the kinds: the industries, then their variants."""
        return _Reader(self.raw).kinds()


def _is_value(entry: object) -> bool:
    return not isinstance(entry, dict) or "value" in entry


def _keys(source: str | list[str] | None) -> tuple[str, ...]:
    if source is None:
        return ()
    return (source,) if isinstance(source, str) else tuple(source)


def _walk(table: Raw, path: str, found: dict[str, tuple[str, ...]]) -> None:
    own = table.get("source")
    for name, entry in table.items():
        where = f"{path}.{name}"
        if name in {"source", "of"}:
            continue
        if not _is_value(entry):
            _walk(entry, where, found)
        elif isinstance(entry, dict):
            found[where] = _keys(entry.get("source", own))
        else:
            found[where] = _keys(own)


def _plain(table: Raw) -> Raw:
    """Values without their sources; lists become tuples."""
    values: Raw = {}
    for name, entry in table.items():
        if name != "source" and _is_value(entry):
            value = entry["value"] if isinstance(entry, dict) else entry
            values[name] = tuple(value) if isinstance(value, list) else value
    return values


class _Reader:
    """Builds the kinds and collects what is wrong on the way."""

    def __init__(self, raw: Raw) -> None:
        self.raw, self.faults = raw, list[Fault]()
        found: dict[str, tuple[str, ...]] = {}
        for name, table in raw.items():
            if name != "sources":
                _walk(table, name, found)
        known = raw.get("sources", {})
        for where, keys in found.items():
            if not keys or not set(keys) <= set(known):
                shown = ", ".join(repr(key) for key in keys) or "none"
                self._fault(where, "a source that [sources] lists", shown)

    def _fault(self, where: str, expected: str, found: str) -> None:
        self.faults.append(Fault("parameters.toml", where, expected, found))

    def kinds(self) -> dict[str, Kind]:
        extra = set(self.raw) - {"sources", "effects", "types", "industries", "variants"}
        for name in sorted(extra):
            self._fault(name, "a known table", "an unknown one")
        industries = self.raw.get("industries", {})
        base = industries.get("shop", {})
        kinds: dict[str, Kind] = {}
        layers: dict[str, list[Raw]] = {}
        for name, table in industries.items():
            layers[name] = [base] if table is base else [base, table]
        for name, table in self.raw.get("variants", {}).items():
            if table.get("of") not in industries:
                self._fault(f"variants.{name}.of", "an industry", repr(table.get("of")))
                continue
            layers[name] = [*layers[table["of"]], {k: v for k, v in table.items() if k != "of"}]
        for name, stack in layers.items():
            kind = self._kind(name, stack)
            if kind is not None:
                kinds[name] = kind
        return kinds

    def _kind(self, name: str, layers: list[Raw]) -> Kind | None:
        values: Raw = {"name": name}
        for layer in layers:
            values |= _plain(layer)
            for part in set(layer) - set(_plain(layer)) - _INDUSTRY - {"source"}:
                self._fault(f"{name}.{part}", "a known table", "an unknown one")
        for part, of in _PARTS.items():
            stack = [layer.get(part, {}) for layer in layers]
            if any(stack):
                values[part] = self._build(of, f"{name}.{part}", stack)
        effects = [self.raw.get("effects", {}), *(layer.get("effects", {}) for layer in layers)]
        values["effects"] = self._build(Effects, f"{name}.effects", effects)
        values["types"] = tuple(self._type(name, of, layers) for of in _TYPES)
        return self._build(Kind, name, [values])

    def _type(self, kind: str, name: str, layers: list[Raw]) -> TypeParameters | None:
        where = f"{kind}.types.{name}"
        reactions = self.raw.get("effects", {}).get("types", {}).get(name, {})
        for key in set(_plain(reactions)) - set(_REACTIONS):
            self._fault(f"effects.types.{name}.{key}", "a reaction to contacts", "an unknown key")
        stack = [self.raw.get("types", {}).get(name, {}), reactions]
        stack += [layer.get("types", {}).get(name, {}) for layer in layers]
        shares = [layer["shares"] for layer in layers if "shares" in layer]
        share = _plain(shares[-1]).get(name) if shares else None
        if share is None:
            self._fault(f"{kind}.shares.{name}", "the share of the type", "none")
        return self._build(TypeParameters, where, [*stack, {"share": share}])

    def _build(self, of: type[T], where: str, stack: list[Raw]) -> T | None:
        """Make a dataclass of the values of some tables, later ones first."""
        values: Raw = {}
        for table in stack:
            values |= _plain(table)
        wanted = {field.name: field for field in fields(of)}  # type: ignore[arg-type]
        for key in set(values) - set(wanted):
            self._fault(f"{where}.{key}", "one of " + ", ".join(wanted), "an unknown key")
        needed = {name for name, field in wanted.items() if field.default is MISSING}
        for key in sorted(needed - set(values)):
            self._fault(f"{where}.{key}", "a value", "none")
        if set(values) - set(wanted) or needed - set(values):
            return None
        return of(**values)
