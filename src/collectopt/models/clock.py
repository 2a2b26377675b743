"""The clock and the week as coefficients: hours are alike to their neighbours, weekdays are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Knots of the clock, hours; what depends on the hour is a straight line between them.
KNOTS = np.array([7.0, 10.0, 13.0, 16.0, 19.0, 22.0])
_WIDTH = 3.0  # hours: how far the evidence of an hour speaks for its neighbours
#: Prior correlation of what holds at the knots.
CLOCK = np.exp(-0.5 * ((KNOTS[:, None] - KNOTS) / _WIDTH) ** 2) + 1e-3 * np.eye(len(KNOTS))
DAYS = 7


def hats(hour: Float) -> Float:
    """Weights of the knots of the clock at some hours, (n, knots); they add up to 1.

    Examples
    --------
    >>> hats(np.array([11.5])).tolist()
    [[0.0, 0.5, 0.5, 0.0, 0.0, 0.0]]
    """
    at = np.clip(np.asarray(hour, dtype=np.float64), KNOTS[0], KNOTS[-1])
    return np.maximum(1.0 - np.abs(at[:, None] - KNOTS) / (KNOTS[1] - KNOTS[0]), 0.0)


def weekdays(day: npt.NDArray[np.integer[Any]]) -> Float:
    """One column a weekday, (n, 7); 0 = Monday, later weeks begin again."""
    return np.eye(DAYS)[np.asarray(day, dtype=np.int64) % DAYS]
