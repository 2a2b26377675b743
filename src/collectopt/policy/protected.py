"""Who is never experimented on, whatever the rules permit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue


def protected(state: State, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Find customers on whom nothing is tried out.

    Those with any hold on the account, or with what was said and counts as one; with a hold on one
    claim that tells of hardship or of legal steps (a payment plan, insolvency, death, a breathing
    space, `vulnerable`, an agency, a court); and those in distress by what the policy believes,
    from `house.distress` on. All accounts of
    such a customer are protected. This holds beside the rules: where a rule is left out or changed,
    the policy may act on these customers, but it does not draw.

    Parameters
    ----------
    state : State
        Of n accounts.
    catalogue : Catalogue

    Returns
    -------
    bool array (n,)
    """
    mask = state.vulnerable.copy()
    for held in (*state.holds.values(), *(state.said or {}).values()):
        mask |= held
    if state.hardship is not None:
        mask |= state.hardship
    if state.distress is not None:
        mask |= state.distress >= catalogue.house.distress  # nan: not known
    return np.isin(state.person, state.person[mask])
