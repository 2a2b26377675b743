"""Every number of the books comes from the data file and names its source."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from typing import Any

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.simulation.kinds import KINDS, CustomerType, kind_of
from collectopt.simulation.parameters import FILE, Parameters


@pytest.fixture
def raw() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def _leaves(table: dict[str, Any], path: str) -> set[str]:
    """Paths of all numbers, found without the reader."""
    found = set()
    for name, entry in table.items():
        if isinstance(entry, dict) and "value" not in entry:
            found |= _leaves(entry, f"{path}.{name}")
        elif name not in {"source", "of"}:
            found.add(f"{path}.{name}")
    return found


def test_every_parameter_has_a_source(raw: dict[str, Any]) -> None:
    parameters = Parameters.packaged()
    wanted = set().union(*(_leaves(raw[t], t) for t in raw if t != "sources"))
    assert set(parameters.sources) == wanted
    assert len(wanted) > 100
    assert all(parameters.sources.values())
    cited = {key for keys in parameters.sources.values() for key in keys}
    assert cited == set(parameters.references)  # none is idle
    for key, citation in parameters.references.items():
        assert key == "assumed" or any(year in citation for year in ("(19", "(20")), key
    # What contacts do is read from studies; base rates are owned up to.
    assert parameters.sources["effects.strength"] != ("assumed",)
    assert parameters.sources["types.slow.late"] == ("assumed",)


def test_all_kinds_are_there_and_whole() -> None:
    assert set(Parameters.packaged().kinds()) == set(KINDS)
    for name in KINDS:
        kind = kind_of(name)
        assert kind.name == name
        assert len(kind.types) == len(CustomerType)
        assert np.isclose(sum(of.share for of in kind.types), 1.0), name
        with pytest.raises(dataclasses.FrozenInstanceError):
            kind.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw["types"]["slow"].pop("source"), ["types.slow.late", "source", "none"]),
        (lambda raw: raw["effects"].update(source="hearsay"), ["effects.fatigue", "hearsay"]),
        (lambda raw: raw["effects"].update(shouting=1.0), ["shop.effects.shouting", "unknown"]),
        (lambda raw: raw["types"]["slow"].pop("late"), ["shop.types.slow.late", "none"]),
        (lambda raw: raw["industries"]["shop"].update(colour=1.0), ["shop.colour", "unknown"]),
        (lambda raw: raw["industries"]["shop"].update(odd={}), ["shop.odd", "unknown"]),
        (lambda raw: raw["industries"]["shop"]["shares"].pop("slow"), ["shop.shares.slow"]),
        (lambda raw: raw["variants"]["placebo"].update(of="bank"), ["placebo.of", "bank"]),
        (lambda raw: raw.update(extra={}), ["extra", "unknown"]),
        (lambda raw: raw["effects"]["types"]["slow"].update(late=1.0), ["slow.late", "reaction"]),
    ],
)
def test_faults_are_refused_by_name(raw: dict[str, Any], change: Any, words: list[str]) -> None:
    broken = copy.deepcopy(raw)
    change(broken)
    with pytest.raises(InputError) as error:
        Parameters(broken)
    assert all(word in str(error.value) for word in words), str(error.value)
    Parameters(raw)


def test_all_faults_come_in_one_error(raw: dict[str, Any]) -> None:
    raw["types"]["slow"].pop("late")
    raw["effects"]["shouting"] = 1.0
    with pytest.raises(InputError) as error:
        Parameters(raw)
    assert {"late", "shouting"} <= {fault.column.rsplit(".")[-1] for fault in error.value.faults}
