"""Published trials as data: who, what was sent, what was found."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from collectopt.simulation.calibration_trials import Contact, Setting

Role = Literal["level", "fitted", "predicted", "direction"]


@dataclass(frozen=True)
class Figure:
    """One published figure; all in points or per cent.

    Attributes
    ----------
    arm : str
        The arm it is about.
    day : int
        Days after the start of the trial.
    value : float
        What was found.
    role : str
        level, fitted, predicted or direction.
    base : str
        The arm it is compared with, "" = a level.
    group : str
        Those it is about, "" = all.
    measure : str
        any, full, late (not all paid), plan.
    unit : str
        points or relative.
    among : str
        "" = all; an arm = those with whom that arm had a conversation.
    se : float or None
        Published standard error.
    n : int or None
        Accounts an arm, to derive the standard error.
    level : float or None
        Per cent, to derive the standard error.
    low, high : float or None
        Range of a direction.
    hidden : bool
        The size was not published.
    """

    arm: str
    day: int
    value: float
    role: Role
    base: str = ""
    group: str = ""
    measure: str = "any"
    unit: str = "points"
    among: str = ""
    se: float | None = None
    n: int | None = None
    level: float | None = None
    low: float | None = None
    high: float | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Study:
    """One published trial.

    Attributes
    ----------
    key, name, citation : str
    fitted : str
        What was fitted to its figures.
    fitted_values : int
        How many values that is.
    fit : tuple of str
        Arms whose content was fitted.
    accounts : int
        Simulated accounts a group.
    groups : mapping of str to Setting
        Equal in size.
    arms : mapping of str to tuple of Contact
    figures : tuple of Figure
    """

    key: str
    name: str
    citation: str
    fitted: str
    fitted_values: int
    fit: tuple[str, ...]
    accounts: int
    groups: Mapping[str, Setting]
    arms: Mapping[str, tuple[Contact, ...]]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Published:
    """All studies, and those that have no counterpart in the simulator.

    Attributes
    ----------
    studies : tuple of Study
    not_simulated : mapping of str to str
        Study and finding, and why the simulator has nothing like it.
    """

    studies: tuple[Study, ...]
    not_simulated: Mapping[str, str]

    def study(self, key: str) -> Study:
        """Find a study by its key."""
        return next(study for study in self.studies if study.key == key)


@cache
def published() -> Published:
    """Read the published trials that come with the library."""
    text = files("collectopt.simulation").joinpath("published.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    studies = tuple(_study(item) for item in data["study"])
    return Published(studies, data.get("not_simulated", {}))


def _study(item: Mapping[str, Any]) -> Study:
    return Study(
        key=item["key"],
        name=item["name"],
        citation=item["citation"],
        fitted=item["fitted"],
        fitted_values=item["values"],
        fit=tuple(item.get("fit", ())),
        accounts=item["accounts"],
        groups={group["name"]: _setting({**item["common"], **group}) for group in item["groups"]},
        arms={name: _contacts(contacts) for name, contacts in item["arms"].items()},
        figures=tuple(Figure(**figure) for figure in item["figures"]),
    )


def _setting(fields: Mapping[str, Any]) -> Setting:
    rest = {name: value for name, value in fields.items() if name not in {"name", "usual", "mix"}}
    usual = _contacts(fields.get("usual", []))
    return Setting(mix=tuple(fields["mix"]), usual=usual, **rest)


def _contacts(items: list[Mapping[str, Any]]) -> tuple[Contact, ...]:
    return tuple(Contact(**item) for item in items)
