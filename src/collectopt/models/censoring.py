"""Outcomes that are not over yet: what is known counts for what is not.

"Not paid yet" is not "not paid", and to leave out what is not over favours those that paid early.
A row whose outcome is known by the horizon counts 1 / P(it would be known by then), from the times
at which rows of its group ceased to be watched.

References
----------
Robins & Rotnitzky (1992), Recovery of information and adjustment for dependent censoring.
Kaplan & Meier (1958), JASA 53.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import InputError
from collectopt.models.survival import kaplan_meier

Float = npt.NDArray[np.float64]

_LEAST = 0.05  # chance to be known below which weights stay where they are


def seen_weights(
    days: npt.ArrayLike,
    event: npt.ArrayLike,
    horizon: float,
    group: npt.ArrayLike | None = None,
) -> Float:
    """Weights by which known outcomes stand for all of them.

    Parameters
    ----------
    days : (n,) float
        Days to the event, or for which the row was watched without one.
    event : (n,) bool
    horizon : float
        Days within which the event counts.
    group : (n,), optional
        Rows of a group cease to be watched alike, whatever their outcome: such as the action taken
        and what else the watching depends on. Default: all rows.

    Returns
    -------
    (n,) float64
        0 where it is not known whether the event comes within the horizon.

    Raises
    ------
    InputError
        Shapes differ, days are negative or not finite, the horizon is not above 0.

    Examples
    --------
    Two of four were watched for 5 days of 10; one of the two others paid on day 8.

    >>> seen_weights([5, 5, 8, 10], [False, False, True, False], 10).tolist()
    [0.0, 0.0, 2.0, 2.0]
    """
    t, came = np.asarray(days, dtype=np.float64), np.asarray(event, dtype=bool)
    _check(t, came, horizon)
    code = np.zeros(len(t), dtype=np.int64)
    if group is not None:
        given = np.asarray(group)
        if given.shape != t.shape:
            raise InputError.of("group", None, expected=f"({len(t)},)", found=str(given.shape))
        code = np.unique(given, return_inverse=True)[1].reshape(-1)
    lost = ~came & (t < horizon)
    weight = np.zeros(len(t))
    for g in range(int(code.max(initial=-1)) + 1):
        mine = code == g
        # of equal times events come first
        until = np.where(lost[mine], np.nextafter(t[mine], np.inf), t[mine])
        chance = kaplan_meier(until, lost[mine]).before(np.minimum(t[mine], horizon))
        weight[mine] = 1.0 / np.maximum(chance, _LEAST)
    return np.where(lost, 0.0, weight)


def _check(t: Float, came: npt.NDArray[np.bool_], horizon: float) -> None:
    if t.ndim != 1 or came.shape != t.shape:
        raise InputError.of("event", None, expected=f"shape {t.shape}", found=str(came.shape))
    wrong = np.flatnonzero(~(np.isfinite(t) & (t >= 0.0)))
    if len(wrong):
        expected, found = "finite days from 0 up", str(t[wrong[0]])
        raise InputError.of("days", None, expected=expected, found=found, rows=wrong.tolist())
    if not 0.0 < horizon < np.inf:
        raise InputError.of("horizon", None, expected="days above 0", found=repr(horizon))
