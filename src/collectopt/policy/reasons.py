"""Why accounts are late, for policies: what the rule DISTRESS goes by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from collectopt.rules.state import State
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

    from collectopt.models.delays import DelayModel


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


def table(model: DelayModel, snapshot: Snapshot) -> pd.DataFrame:
    """Reasons with their evidence in words, one row a row of the snapshot."""
    return model.predict(snapshot).to_pandas()
