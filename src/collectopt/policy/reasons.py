"""Why accounts are late, for policies: what the rule DISTRESS goes by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from collectopt.rules.state import State
from collectopt.schema.house import House
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

    from collectopt.models.delays import DelayModel

_LIKELY = "Financial distress is likely ({:.0%})."
_UNCLEAR = "It is unclear why the account is late."


def fitted(ledger: Ledger, as_of: np.datetime64) -> DelayModel:
    """Fit the model of delay reasons to what was known before ``as_of``."""
    from collectopt.models.delays import DelayModel

    return DelayModel().fit(ledger, as_of)


def aware(model: DelayModel | None, snapshot: Snapshot, state: State) -> State:
    """Tell the rules how likely distress is, and how unclear the reason; no model, no belief."""
    if model is None or not len(snapshot):
        return state
    found = model.predict(snapshot)
    return replace(state, distress=found.distress, doubt=found.doubt)


def notes(note: str, state: State, house: House, rows: slice) -> tuple[str, ...]:
    """Put what the policy believes of each account beside what it says of all of them."""
    if state.distress is None or state.doubt is None:
        return (note,) * len(range(*rows.indices(len(state))))
    beliefs = zip(state.distress[rows].tolist(), state.doubt[rows].tolist(), strict=True)
    return tuple(noted(note, house, p, doubt) for p, doubt in beliefs)


def noted(note: str, house: House, distress: float, doubt: float) -> str:
    """Put what the policy believes of one account beside what it says of all of them."""
    if distress >= house.distress:
        return f"{note} {_LIKELY.format(distress)}".strip()
    return f"{note} {_UNCLEAR}".strip() if doubt >= house.doubt else note


def table(model: DelayModel, snapshot: Snapshot) -> pd.DataFrame:
    """Reasons with their evidence in words, one row a row of the snapshot."""
    return model.predict(snapshot).to_pandas()
