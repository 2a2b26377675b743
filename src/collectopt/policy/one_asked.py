"""What a single decision is asked with: rows by table, prices of what is scarce, who explores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from collectopt.exceptions import InputError
from collectopt.policy.engine import Floats
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.tables import TABLES

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction


def check_rows(rows: Any) -> None:
    """Refuse what is no account with its rows by table."""
    names = [table.name for table in TABLES]
    known = isinstance(rows, Mapping) and set(rows) <= set(names)
    if not known or not {"accounts", "invoices"} <= set(rows):
        raise InputError.of(
            "record",
            "rows",
            expected=f"rows by table: accounts and invoices, and of {names} what there is",
            found=str(list(rows)) if isinstance(rows, Mapping) else type(rows).__name__,
        )
    if not hasattr(rows["accounts"], "__len__") or isinstance(rows["accounts"], Mapping):
        return  # a frame of columns: the ledger tells what is wrong with it
    if len(rows["accounts"]) != 1:
        found = f"{len(rows['accounts'])} rows"
        raise InputError.of("record", "accounts", expected="one row", found=found)


def priced(names: tuple[str, ...], prices: Any) -> Floats:
    """Give EUR a unit of each limited resource, (R,); refuse what is no price."""
    if prices is not None and not isinstance(prices, Mapping):
        expected, found = "EUR a unit by name", type(prices).__name__
        raise InputError.of("prepare", "prices", expected=expected, found=found)
    given = dict(prices or {})
    wrong = [
        name
        for name, price in given.items()
        if name not in names or not isinstance(price, int | float) or not 0 <= price < math.inf
    ]
    if wrong:
        raise InputError.of(
            "prepare",
            "prices",
            expected=f"EUR a unit, at least 0, of what the catalogue limits: {list(names)}",
            found=", ".join(f"{name} = {given[name]}" for name in wrong),
            hint="Take those of the last run: decisions.prices.",
        )
    return np.array([float(given.get(name, 0.0)) for name in names])


def shared(policy: NextBestAction, share: Any) -> float:
    """Give the share of the accounts that explore; one account cannot keep to a run's budget."""
    how, hint = policy.catalogue.exploration, ""
    if how is not None:
        hint = 'Take that of the last run: policy.prepare(share=decisions.exploration["share"]).'
    if share is None:
        if how is not None and how.budget is not None and policy.explore > 0:
            expected = f"what keeps to the budget of {how.budget:g} EUR a run"
            raise InputError.of("prepare", "share", expected=expected, found="None", hint=hint)
        return policy.explore
    number = isinstance(share, int | float | np.number) and not isinstance(share, bool)
    if not number or not 0 <= share <= 1:
        raise InputError.of("prepare", "share", expected="0..1", found=repr(share), hint=hint)
    return float(share)


def unbounded(catalogue: Catalogue) -> Catalogue:
    """Leave the budget of exploration out: the share of accounts stands for it."""
    how = catalogue.exploration
    if how is None or how.budget is None:
        return catalogue
    free = how.model_copy(update={"budget": None})
    return catalogue.model_copy(update={"exploration": free})
