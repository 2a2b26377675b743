"""How far accounts differ in being reached: levels, hours and weekdays, by moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.clock import CLOCK, DAYS, KNOTS
from collectopt.models.credibility import Evidence, Moments, pairs

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_PARTS = 3  # level, hour, weekday
#: Variance of these, squared log odds, expected before a look at the log, give or take as much.
_EXPECTED = np.array([0.5, 0.3, 0.15]) ** 2
_HALF = 0.5  # expected share of an account's level that all channels have in common
_HELD = 4.0  # pseudo-information behind it


@dataclass(frozen=True, eq=False)
class Deviations:
    """Prior of an account's own log odds: a level by channel, hours and weekdays.

    Attributes
    ----------
    sizes : (C, 3) float64
        Standard deviation of levels, hours and weekdays by channel.
    common : float
        Share of the variance of levels that an account's channels have in common. Hours and
        weekdays are the person's, the same in all channels but for their size.
    """

    sizes: Float
    common: float

    @classmethod
    def estimate(
        cls,
        evidence: Evidence,
        *,
        channels: int,
        channel: Int,
        clock: Float,
        day: Float,
        contact: Int,
    ) -> Self:
        """Match products of residuals of the same account.

        Parameters
        ----------
        evidence : Evidence
            n observations.
        channels : int
            C.
        channel : (n,) int64
        clock, day : (n, knots), (n, 7) float64
        contact : (n,) int64
            Observations of the same contact make no pair.

        Notes
        -----
        By channel, products are regressed on what a pair has in common, no part below zero, each
        channel drawn to all of them together and these to what is expected. Then products across
        channels tell what channels have in common.
        """
        C = channels
        within = [Moments.zero(_PARTS) for _ in range(C)]
        for i, j, product, scale, weight in pairs(evidence):
            same = (channel[i] == channel[j]) & (contact[i] != contact[j])
            alike = np.stack([np.ones(len(i)), *_alike(clock, day, i, j)]) * scale
            for c in range(C):
                mine = same & (channel[i] == c)
                within[c] = within[c].plus(alike[:, mine], product[mine], weight[mine])
        together = Moments(
            sum((m.A for m in within), np.zeros((_PARTS, _PARTS))),
            sum((m.b for m in within), np.zeros(_PARTS)),
        ).solve(_EXPECTED)
        sizes = np.sqrt(np.array([m.solve(together) for m in within]).reshape(C, _PARTS))
        level, hour, week = sizes[channel].T
        shared = np.array([_HELD, _HALF * _HELD])
        for first, second, product, scale, weight in pairs(evidence):
            other = channel[first] != channel[second]
            i, j, s, w = first[other], second[other], scale[other], weight[other]
            by_hour, by_day = _alike(clock, day, i, j)
            rest = hour[i] * hour[j] * by_hour + week[i] * week[j] * by_day
            part = s * level[i] * level[j]
            shared += [(w * part**2).sum(), (w * part * (product[other] - s * rest)).sum()]
        return cls(sizes, float(np.clip(shared[1] / shared[0], 0.0, 1.0)))

    def features(self, channel: Int, clock: Float, day: Float) -> Float:
        """Tell what contacts feel of an account's deviations, (n, q); channel -1 feels nothing.

        Columns: the common level, one level a channel, the knots of the clock, the weekdays; each
        in units of its standard deviation.
        """
        C = len(self.sizes)
        level, hour, week = np.append(self.sizes, np.zeros((1, _PARTS)), axis=0)[channel].T
        own = np.zeros((len(channel), C + 1))
        own[np.arange(len(channel)), channel] = level * np.sqrt(1.0 - self.common)
        return np.column_stack(
            [level * np.sqrt(self.common), own[:, :C], hour[:, None] * clock, week[:, None] * day]
        )

    @property
    def prior(self) -> Float:
        """Covariance (q, q) of the deviations: hours go with their neighbours, all else alone."""
        C = len(self.sizes)
        result = np.eye(1 + C + len(KNOTS) + DAYS)
        clock = slice(1 + C, 1 + C + len(KNOTS))
        result[clock, clock] = CLOCK
        return result


def _alike(clock: Float, day: Float, i: Int, j: Int) -> tuple[Float, Float]:
    """How much two contacts have of the hour and of the weekday in common."""
    by_hour = np.einsum("nk,kl,nl->n", clock[i], CLOCK, clock[j])
    return by_hour, np.einsum("nk,nk->n", day[i], day[j])
