"""Rates as products of shrunken factors: how much more often than expected, group by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_LEAST, _MOST = 0.5, 500.0  # events that a prior counts for


@dataclass(frozen=True, eq=False)
class Multiple:
    """Factors on an expected rate in G groups, each shrunk to 1.

    With so many events ``seen`` where ``expected`` were, the factor is (seen + k) / (expected + k);
    k is the weight of the prior, from how much more than chance the groups differ (moments).

    Attributes
    ----------
    seen, expected : (G,) float64
    weight : float
    """

    seen: Float
    expected: Float
    weight: float

    @classmethod
    def of(cls, group: Int, groups: int, event: Float, expected: Float) -> Self:
        """Count events and expectations by group.

        Parameters
        ----------
        group : (n,) int64
            0 to G - 1.
        groups : int
            G.
        event : (n,) float64
            0, 1 or how likely it is that it happened.
        expected : (n,) float64
            Chance of it.
        """
        seen = np.bincount(group, event, minlength=groups).astype(np.float64)
        wanted = np.bincount(group, expected, minlength=groups).astype(np.float64)
        # pairs of events of one group tell how much groups differ; a single one does not
        excess = float(((seen - wanted) ** 2).sum() - ((event - expected) ** 2).sum())
        size = float((wanted**2).sum() - (expected**2).sum())
        return cls(seen, wanted, _weight(excess, size))

    @property
    def factor(self) -> Float:
        """Posterior means, (G,)."""
        return (self.seen + self.weight) / (self.expected + self.weight)

    @property
    def variance(self) -> Float:
        """Posterior variances of the logarithm, about, (G,)."""
        return 1.0 / (self.seen + self.weight)


def _weight(excess: float, size: float) -> float:
    """Weight of a prior around 1 whose variance the groups show."""
    if size <= 0.0 or excess <= 0.0:
        return _MOST
    return float(np.clip(size / excess, _LEAST, _MOST))
