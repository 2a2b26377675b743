"""Assumed harm of one contact: the start of what is learnt, and all there is without a log.

No public trial gives these rates for reminders of overdue claims; they are assumptions on the
careful side. Their form: rate x (1 + tone rank) x (1 + FATIGUE x contacts of the last 28 days); the
tone counts for complaints and customers lost, not for opt-outs, which follow the number of
messages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]

#: Chance that one gentle contact to a rested customer draws a complaint.
COMPLAINT = 0.001
#: Likewise, that the customer bans the channel.
OPT_OUT = 0.002
#: Likewise, that the customer leaves because of it.
LEAVE = 0.0005
#: Growth of each with every contact of the last 28 days.
FATIGUE = 0.5


def firmer(tone: npt.ArrayLike) -> Float:
    """Give the factor of a tone by its rank, 0 = gentlest; no tone counts as the gentlest."""
    return 1.0 + np.maximum(np.asarray(tone, dtype=np.float64), 0.0)


def tiring(contacts: npt.ArrayLike, fatigue: float = FATIGUE) -> Float:
    """Give the factor of the contacts of the last 28 days."""
    return 1.0 + fatigue * np.asarray(contacts, dtype=np.float64)
