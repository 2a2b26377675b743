"""Chances of many accounts under many actions, kept as factors that multiply on demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.models.credibility import bounded

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

TOP = 0.99  # nothing is certain


@dataclass(frozen=True, eq=False)
class Chances:
    """Chance of something, for n accounts and K actions, kept as factors.

    ``arrives * scale * (usual + slope * deviation @ phi.T)``, each part small; `block` multiplies.

    Attributes
    ----------
    group : (n,) int64
        Row of `usual` and `slope`: a segment, and for reach its region and the weekday.
    usual, slope : (G, K) float64
        Chance in the group, and how strongly it feels deviations of an account.
    deviation : (n, q) float64
    phi : (K, q) float64
    scale : (K,) float64
        From seen to meant; 0 for actions that are no contact or in a channel without a log.
    arrives : (n, C + 1) float64
        Chance that a message arrives, by channel; the last column is 1.
    channel : (K,) int64
        Column of `arrives`.
    """

    group: Int
    usual: Float
    slope: Float
    deviation: Float
    phi: Float
    scale: Float
    arrives: Float
    channel: Int

    def block(self, rows: slice | Int = slice(None), columns: slice | Int = slice(None)) -> Float:
        """Chance of some accounts under some actions, (b, k)."""
        at = self.group[rows]
        usual, slope = self.usual[:, columns][at], self.slope[:, columns][at]
        shift = slope * (self.deviation[rows] @ self.phi[columns].T)
        seen = bounded(usual, shift) * self.scale[columns]
        arrives = self.arrives[rows][:, self.channel[columns]]
        return np.asarray(arrives * np.minimum(seen, TOP), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Told:
    """Chance to be reached at the levels of a factor, (n, L) each.

    Attributes
    ----------
    mean, low, high : (n, L) float64
        Posterior mean and bounds of 90 %.
    observations : (n, L) int64
        Contacts of this account at the level.
    """

    mean: Float
    low: Float
    high: Float
    observations: Int


@dataclass(frozen=True, eq=False)
class Profile:
    """Chance of n accounts to be reached by channel, by hour and by weekday.

    Attributes
    ----------
    channel : Told
        (n, C), at the hours and on the weekdays usual in the channel.
    hour : Told
        (n, S), averaged over the channels.
    weekday : Told
        (n, 7), Monday first, averaged over the channels.
    """

    channel: Told
    hour: Told
    weekday: Told
