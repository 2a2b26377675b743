"""Whether a log shows effects at all, and whether they go with what is left to gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.models.residuals import Residuals
from collectopt.models.tilt import shared

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: z that the evidence for effects must reach, the better of two looks; below it all are zero.
NEEDED_Z = 2.25


@dataclass(frozen=True)
class Gate:
    """Whether the log shows any effect at all.

    Attributes
    ----------
    z : float
        The larger of two statistics, errors clustered by account: the effect of the average
        contact over its error, and the slope of the outcome on effects learnt from other accounts.
    open : bool
        Whether z reaches 2.25; else all effects are zero.
    """

    z: float
    open: bool


def room_share(rest: Residuals, cluster: Int) -> float:
    """Average over shares by how much better the outcome is explained with them.

    That is the gain in R-loss of the effect of the average contact. Its z would mislead: where
    there is more room there is more noise too, and z prefers what is precise to what is true.
    """
    shares = np.linspace(0.0, 1.0, 5)
    own = rest.factors[:, 0] * rest.outcome * rest.weight
    noise = float(np.average(rest.outcome**2, weights=rest.weight)) * shared(own, cluster)
    gain = []
    for part in map(rest.tied, shares.tolist()):
        s = part.factors[:, 0]
        score, size = (s * part.weight) @ rest.outcome, (s * part.weight) @ s
        gain.append(0.5 * score**2 / max(float(size), 1e-300) / max(noise, 1e-300))
    weight = np.exp(np.array(gain) - max(gain))
    return float(weight @ shares / weight.sum())


def clustered_z(score: Float, cluster: Int) -> float:
    """Sum of scores over its standard error, rows of one cluster taken together."""
    total = np.bincount(cluster, score)
    spread = float(np.sqrt((total**2).sum()))
    return float(total.sum() / spread) if spread > 0.0 else 0.0
