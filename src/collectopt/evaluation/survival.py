"""Weights for outcomes that broke off."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collectopt.models.survival import kaplan_meier

Floats = NDArray[np.float64]


def broken_off(days: ArrayLike, event: ArrayLike, known: ArrayLike) -> NDArray[np.bool_]:
    """Tell rows that were censored before their follow-up ended, such as withdrawn claims.

    Parameters
    ----------
    days, event
        As in :func:`~collectopt.models.survival.kaplan_meier`.
    known : array_like, shape (n,)
        Days from each row's time to the end of the data.
    """
    second = 1 / 86_400
    return ~np.asarray(event, dtype=bool) & (np.asarray(days) < np.asarray(known) - second)


def censoring_weights(
    days: ArrayLike, event: ArrayLike, known: ArrayLike, target: ArrayLike
) -> Floats:
    """Weigh outcomes by a target day so that rows that broke off are stood for by the others.

    A row that broke off before its target gets 0; a row that paid by then 1 / G(its day), one
    that did not 1 / G(target), with G the Kaplan-Meier curve of breaking off, so that events come
    before break-offs at ties. Without break-offs all weights are 1.

    Parameters
    ----------
    days, event, known
        As in :func:`broken_off`.
    target : array_like, shape (n,)
        Days to the horizon; must not lie beyond `known`.

    Returns
    -------
    float64 array, shape (n,)

    References
    ----------
    Graf, Schmoor, Sauerbrei and Schumacher (1999), Assessment and comparison of prognostic
    classification schemes for survival data, Statistics in Medicine 18.
    """
    t, came = np.asarray(days, dtype=np.float64), np.asarray(event, dtype=bool)
    horizon = np.asarray(target, dtype=np.float64)
    broke = broken_off(t, came, known)
    if not broke.any():
        return np.ones_like(t)
    staying = kaplan_meier(np.where(broke, np.nextafter(t, np.inf), t), broke)
    paid = came & (t < horizon)
    weight = 1 / np.maximum(np.where(paid, staying.before(t), staying.before(horizon)), 0.05)
    return np.where(broke & (t < horizon), 0.0, weight)
