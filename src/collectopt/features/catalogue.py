"""All features, and how they are shown."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from collectopt.features import (
    account,
    claims,
    contacts,
    holds,
    lateness,
    payments,
    rates,
    responses,
)
from collectopt.features.definition import Family, Feature

_MODULES = (claims, lateness, payments, contacts, responses, holds, account, rates)
_ORDER = {family: position for position, family in enumerate(Family)}
_WIDTH = 100

DEFINITIONS: tuple[Feature, ...] = tuple(
    sorted(
        (feature for module in _MODULES for feature in module.FEATURES),
        key=lambda feature: _ORDER[feature.family],
    )
)
"""Every declared feature, by family; ``<channel>`` stands for each channel of the book."""


@dataclass(frozen=True)
class FeatureTable:
    """A list of features that prints as a table, in a terminal and as HTML."""

    features: tuple[Feature, ...]

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __getitem__(self, name: str) -> Feature:
        return next(feature for feature in self.features if feature.name == name)

    def to_pandas(self) -> pd.DataFrame:
        """Give a frame with name, family, unit, meaning, sources and default."""
        return pd.DataFrame(
            {
                "name": [f.name for f in self.features],
                "family": [f.family.value for f in self.features],
                "unit": [f.unit.value for f in self.features],
                "meaning": [f.meaning for f in self.features],
                "sources": [", ".join(f.sources) for f in self.features],
                "default": [f.default for f in self.features],
            }
        )

    def __repr__(self) -> str:
        name = max((len(f.name) for f in self.features), default=4) + 2
        left = name + 10 + 9
        lines = [f"{'name':<{name}}{'unit':<10}{'default':>7}  meaning"]
        for family, members in groupby(self.features, key=lambda f: f.family):
            lines.append(f"-- {family.value} ".ljust(_WIDTH, "-"))
            for sources, equal in groupby(members, key=lambda f: f.sources):
                for f in equal:
                    text = textwrap.wrap(f.meaning, _WIDTH - left)
                    lines.append(f"{f.name:<{name}}{f.unit.value:<10}{f.default:>7g}  {text[0]}")
                    lines += [" " * left + more for more in text[1:]]
                lines += textwrap.wrap(
                    "from " + ", ".join(sources),
                    _WIDTH,
                    initial_indent=" " * left,
                    subsequent_indent=" " * (left + 5),
                )
        lines.append(f"{len(self.features)} features")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = ("name", "unit", "default", "meaning", "sources")
        head = "".join(f"<th style='text-align:left'>{cell}</th>" for cell in cells)
        body = []
        for family, members in groupby(self.features, key=lambda f: f.family):
            body.append(f"<tr><th colspan='5' style='text-align:left'>{family.value}</th></tr>")
            for f in members:
                row = (f.name, f.unit.value, f"{f.default:g}", f.meaning, ", ".join(f.sources))
                tds = "".join(
                    f"<td style='text-align:left'>{html.escape(text)}</td>" for text in row
                )
                body.append(f"<tr>{tds}</tr>")
        return (
            f"<table><caption>{len(self.features)} features</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        )


def describe() -> FeatureTable:
    """List all features with unit, value at a cold start, meaning and source columns.

    The caller's own columns (``Ledger.features``) come on top, as ``accounts.<column>`` and
    ``invoices.<column>`` (of the claim in question).

    Examples
    --------
    >>> print(describe()["late_mean"])
    late_mean [days]: Mean lateness of settled claims; negative = before the due date.
    """
    return FeatureTable(DEFINITIONS)
