"""Kaplan-Meier curves: how long rows last, whatever else ends their watching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StepCurve:
    """A survival curve: ``surviving[i]`` from ``times[i]`` on, 1 before the first.

    Attributes
    ----------
    times : float64 array, shape (k,)
        Increasing, in days.
    surviving : float64 array, shape (k,)
    """

    times: Floats
    surviving: Floats

    def before(self, t: ArrayLike) -> Floats:
        """P(T >= t): what happens at t itself does not count yet."""
        return self._at(np.searchsorted(self.times, np.asarray(t, dtype=np.float64), side="left"))

    def after(self, t: ArrayLike) -> Floats:
        """P(T > t)."""
        return self._at(np.searchsorted(self.times, np.asarray(t, dtype=np.float64), side="right"))

    def _at(self, position: NDArray[np.int64]) -> Floats:
        return np.concatenate([[1.0], self.surviving])[position]


def kaplan_meier(days: ArrayLike, event: ArrayLike) -> StepCurve:
    """Estimate the survival curve; at ties events come before censorings.

    Parameters
    ----------
    days : array_like, shape (n,)
        Time to the event, or to the end of what is known.
    event : array_like of bool, shape (n,)

    References
    ----------
    Kaplan and Meier (1958), Nonparametric estimation from incomplete observations, JASA 53.

    Examples
    --------
    >>> curve = kaplan_meier([1, 2, 2, 3], [True, True, False, True])
    >>> curve.times, curve.surviving
    (array([1., 2., 3.]), array([0.75, 0.5 , 0.  ]))
    """
    t, came = np.asarray(days, dtype=np.float64), np.asarray(event, dtype=bool)
    times, count = np.unique(t[came], return_counts=True)
    at_risk = len(t) - np.searchsorted(np.sort(t), times, side="left")
    return StepCurve(times, np.asarray(np.cumprod(1 - count / at_risk), dtype=np.float64))
