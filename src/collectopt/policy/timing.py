"""When the money comes: days that are asked about, and the mean of what is answered."""

from __future__ import annotations

import numpy as np

from collectopt.policy.engine import Floats


def marks(days: int) -> tuple[int, ...]:
    """Days at the quarters of a horizon, rising; the last one is the horizon."""
    return tuple(sorted({max(round(days * part), 1) for part in (0.25, 0.5, 0.75, 1.0)}))


def mean_days(p: Floats, days: int) -> Floats:
    """Expect so many days to the event, given that it comes within the horizon.

    Parameters
    ----------
    p : (n, h) float64
        P(event) before each of the :func:`marks`.
    days : int
        The horizon; half of it where the event does not come.

    Returns
    -------
    (n,) float64

    Examples
    --------
    >>> mean_days(np.array([[0.1, 0.1, 0.1, 0.2]]), 28).tolist()
    [14.0]
    """
    at = marks(days)
    mass = np.maximum(np.diff(p, axis=1, prepend=0.0), 0.0)
    middle = (np.array([0, *at[:-1]]) + np.array(at)) / 2.0
    total = mass.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(total > 0, mass @ middle / np.where(total > 0, total, 1.0), days / 2.0)
    return np.asarray(mean, dtype=np.float64)
