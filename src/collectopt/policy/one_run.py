"""An account on which people or a table of tones have a word, or that is explored by value.

It is decided by the engine of runs, so that there is one reading of orders and one exact draw.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from collectopt.policy.one_choice import UNKNOWN, OneChoice
from collectopt.policy.orders import Orders, approving
from collectopt.policy.overrides import Overrides
from collectopt.policy.record import decide
from collectopt.rules.state import State
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    from collectopt.policy.one import OneDecision
    from collectopt.policy.one_record import AccountRecord

_DAY_0 = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class _Alone:
    """What a run asks of its snapshot: the name of the only account."""

    rows: Mapping[str, pa.Array]


def run_of_one(
    one: OneDecision,
    record: AccountRecord,
    state: State,
    overrides: Overrides | None,
    *,
    seed: int,
) -> OneChoice:
    """Decide for one account as a run does.

    Raises
    ------
    InputError
        Overrides that the catalogue does not know.
    """
    policy, orders = one.policy, Orders()
    if overrides:
        overrides.check(policy.catalogue)
        day = _DAY_0 + dt.timedelta(days=record.day)
        held = overrides.at(record.account_id, day)
        approved = overrides.approved(record.account_id, day)
        state = approving(state, {0: approved} if approved else {})
        orders = Orders.laid(
            {0: held} if held else {},
            {0: approved} if approved else {},
            overrides.digest,
            state,
            one.layout,
            rules=policy.rules,
        )
    case, known = one.case(record, state)
    unsure = not known and not orders.forced(1)[0]  # a person needs no forecast
    setting = replace(
        one.setting,
        snapshot=cast(Snapshot, _Alone({"account_id": pa.array([record.account_id])})),
        state=state,
        seed=seed,
        undecidable={UNKNOWN: np.array([True])} if unsure else {},
        orders=orders,
        prices=one.price if one.priced else None,
    )
    made = decide(setting, case)
    [row] = made.table.to_pylist()
    terms = {name: float(euros[0].as_py()) for name, euros in made.terms.items()}
    return OneChoice(**{name: _plain(value) for name, value in row.items()}, terms=terms)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
