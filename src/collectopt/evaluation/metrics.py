"""Scores of a predicted probability against what came.

All functions take plain arrays: ``y`` (n,) of 0/1 or bool, ``p`` (n,) in [0, 1] and an optional
``weight`` (n,) >= 0, for example inverse-probability-of-censoring weights. NaN is refused: an
outcome that is not known yet has to be left out or weighted by the caller, never filled with 0.
No rows give NaN; a single class gives NaN for :func:`auc` and a number everywhere else.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectopt.exceptions import Fault, InputError

Floats = NDArray[np.float64]

#: Probabilities are moved this far away from 0 and 1 before a logarithm is taken.
CLIP = 1e-12


def auc(y: ArrayLike, p: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve: P(p of a payer > p of a non-payer) + half the ties.

    Parameters
    ----------
    y, p : array_like, shape (n,)
        Outcome 0/1 and predicted probability (any monotone score will do).
    weight : array_like, shape (n,), optional
        Weight of each row, 1 by default.

    Returns
    -------
    float
        In [0, 1]; NaN if only one class has weight.

    Raises
    ------
    InputError
        NaN, an outcome that is not 0/1, a negative weight, or unequal lengths.

    References
    ----------
    Hanley and McNeil (1982), The meaning and use of the area under a ROC curve, Radiology 143.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    y_, p_, w = _checked(y, p, weight, probability=False)
    positive, negative = _by_value(p_, w * y_, w * (1 - y_))
    total = positive.sum() * negative.sum()
    if not total > 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / total)


def roc_curve(
    y: ArrayLike, p: ArrayLike, *, weight: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Points of the ROC curve, from (0, 0) to (1, 1), one a distinct value of ``p``.

    Returns
    -------
    false_positive_rate, true_positive_rate : ndarray, shape (points,)
        Both NaN where a class is missing.
    """
    y_, p_, w = _checked(y, p, weight, probability=False)
    positive, negative = _by_value(p_, w * y_, w * (1 - y_))
    hits = np.concatenate([[0.0], np.cumsum(positive[::-1])])
    alarms = np.concatenate([[0.0], np.cumsum(negative[::-1])])
    with np.errstate(invalid="ignore"):
        return alarms / alarms[-1], hits / hits[-1]


def brier(y: ArrayLike, p: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean squared error of the probability (Brier 1950), lower is better.

    Examples
    --------
    >>> brier([0, 1], [0.25, 0.75])
    0.0625
    """
    y_, p_, w = _checked(y, p, weight)
    return _mean((p_ - y_) ** 2, w)


def log_loss(y: ArrayLike, p: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Mean of -log(probability given to what came), in nats, lower is better.

    Probabilities are clipped to [1e-12, 1 - 1e-12], so one certain and wrong prediction costs
    27.6 nats and not infinity.

    Examples
    --------
    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    y_, p_, w = _checked(y, p, weight)
    return _mean(log_losses(y_, p_), w)


def log_losses(y: Floats, p: Floats) -> Floats:
    """Give the log-loss of every row; arrays as in :func:`log_loss`, not checked."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-(y * np.log(clipped) + (1 - y) * np.log1p(-clipped)))


def calibration_table(
    y: ArrayLike,
    p: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Mean prediction against observed rate, in bins of equal count.

    Rows with the same prediction always share a bin, so a constant prediction gives one bin.

    Parameters
    ----------
    y, p, weight
        As in :func:`auc`.
    bins : int
        Most bins to make.
    level : float
        Level of the Wilson intervals of the observed rate. With weights the effective number of
        rows, ``sum(w)**2 / sum(w**2)``, stands in for the count.

    Returns
    -------
    DataFrame
        One row a bin, in order of p: ``n`` rows, ``weight`` in total, ``low`` and ``high`` the
        range of p, ``predicted`` mean p, ``observed`` mean y, ``lower`` and ``upper`` bounds.

    Examples
    --------
    >>> calibration_table([0, 1, 1, 1], [0.2, 0.2, 0.8, 0.8], bins=2)[["predicted", "observed"]]
       predicted  observed
    0        0.2       0.5
    1        0.8       1.0
    """
    y_, p_, w = _checked(y, p, weight)
    if bins < 1:
        raise InputError.of("calibration_table", "bins", expected="at least 1", found=str(bins))
    label = _equal_count(p_, w, bins)
    names = ["n", "weight", "low", "high", "predicted", "observed", "lower", "upper"]
    rows = []
    for k in range(int(label.max()) + 1 if len(label) else 0):
        inside = (label == k) & (w > 0)
        if not inside.any():
            continue
        yk, pk, wk = y_[inside], p_[inside], w[inside]
        rate = _mean(yk, wk)
        lower, upper = wilson(rate, wk.sum() ** 2 / (wk**2).sum(), level=level)
        predicted = min(max(_mean(pk, wk), pk.min()), pk.max())  # a mean stays inside, to the bit
        row = (int(inside.sum()), wk.sum(), pk.min(), pk.max(), predicted, rate, lower, upper)
        rows.append(row)
    return pd.DataFrame(rows, columns=names).astype({"n": "int64"} | dict.fromkeys(names[1:], "f8"))


def ece(y: ArrayLike, p: ArrayLike, *, weight: ArrayLike | None = None, bins: int = 10) -> float:
    """Compute the expected calibration error: mean |predicted - observed| over equal-count bins.

    Even a perfect model shows about ``sqrt(2 p (1 - p) bins / (pi n))`` by chance.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities, AAAI.

    Examples
    --------
    >>> round(ece([0, 1, 1, 1], [0.2, 0.2, 0.8, 0.8], bins=2), 3)
    0.25
    """
    table = calibration_table(y, p, weight=weight, bins=bins)
    gap = (table["predicted"] - table["observed"]).abs().to_numpy()
    return _mean(gap, table["weight"].to_numpy())


def wilson(rate: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a rate seen on ``n`` rows (Wilson 1927), inside [0, 1].

    Examples
    --------
    >>> tuple(round(x, 3) for x in wilson(0.0, 10))
    (0.0, 0.278)
    """
    if not 0 < level < 1:
        raise InputError.of("wilson", "level", expected="between 0 and 1", found=str(level))
    if not n > 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)))
    return max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half))


def interval_coverage(
    duration: ArrayLike,
    event: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    weight: ArrayLike | None = None,
) -> float:
    """Share of times to payment that fall inside their predicted interval.

    An open claim that was watched for ``duration`` days settles the question only if the interval
    ended before; which rows settle it must not depend on the outcome. So the rows that count are
    those whose interval ends inside their follow-up: ``upper <= follow-up``, where the follow-up
    of a row without an event is its duration. For rows with an event give the follow-up through
    ``weight``: 0 where the interval reaches beyond it.

    Parameters
    ----------
    duration : array_like, shape (n,)
        Days to the event, or days watched without one.
    event : array_like of bool, shape (n,)
        Whether the event came.
    lower, upper : array_like, shape (n,)
        Bounds in days, both inclusive; ``inf`` = beyond reach.
    weight : array_like, shape (n,), optional
        Weight of each row, 1 by default.

    Returns
    -------
    float
        NaN if no row counts.

    Raises
    ------
    InputError
        A row without an event has an interval that ends after it was last seen, with weight > 0.

    Examples
    --------
    >>> interval_coverage([5, 40, 60], [True, True, False], [1, 10, 2], [9, 30, 50])
    0.3333333333333333
    """
    days = np.asarray(duration, dtype=np.float64)
    came = np.asarray(event, dtype=bool)
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    w = np.ones_like(days) if weight is None else np.asarray(weight, dtype=np.float64)
    unclear = np.flatnonzero((w > 0) & ~came & (high > days))
    if len(unclear):
        raise InputError.of(
            "interval_coverage",
            "upper",
            expected="an interval that ends while the row is still watched",
            found=f"{high[unclear[0]]:g} days after {days[unclear[0]]:g} days of watching",
            rows=unclear.tolist(),
            hint="Give such rows weight 0: their outcome is not over yet.",
        )
    return _mean((came & (low <= days) & (days <= high)).astype(np.float64), w)


def _checked(
    y: ArrayLike, p: ArrayLike, weight: ArrayLike | None, *, probability: bool = True
) -> tuple[Floats, Floats, Floats]:
    """Bring the three arrays to float64 or raise one error with everything that is wrong."""
    y_, p_ = (np.asarray(values, dtype=np.float64).ravel() for values in (y, p))
    w = np.ones(len(y_)) if weight is None else np.asarray(weight, dtype=np.float64).ravel()
    if not len(y_) == len(p_) == len(w):
        found = f"{len(y_)}, {len(p_)} and {len(w)}"
        raise InputError.of("metrics", None, expected="y, p, weight of equal length", found=found)
    faults = []
    in_range = (p_ >= 0) & (p_ <= 1) if probability else ~np.isnan(p_)
    checks = (
        ("y", y_, (y_ == 0) | (y_ == 1), "0 or 1", "Leave out rows whose outcome is not over."),
        ("p", p_, in_range, "a probability in [0, 1]" if probability else "a number", ""),
        ("weight", w, (w >= 0) & np.isfinite(w), "a finite weight >= 0", ""),
    )
    for name, values, good, expected, hint in checks:
        bad = np.flatnonzero(~good)
        if len(bad):
            rows = tuple(int(i) for i in bad[:5])
            found = f"{values[bad[0]]:g}"
            faults.append(Fault("metrics", name, expected, found, rows, len(bad), hint))
    if faults:
        raise InputError(faults)
    return y_, p_, w


def _mean(values: Floats, weight: Floats) -> float:
    total = weight.sum()
    return float((values * weight).sum() / total) if total > 0 else float("nan")


def _by_value(p: Floats, *columns: Floats) -> tuple[Floats, ...]:
    """Sum the columns over rows with equal ``p``, in increasing order of ``p``."""
    values, code = np.unique(p, return_inverse=True)
    sums = (np.bincount(code, weights=column, minlength=len(values)) for column in columns)
    return tuple(np.asarray(column, dtype=np.float64) for column in sums)


def _equal_count(p: Floats, weight: Floats, bins: int) -> NDArray[np.int64]:
    """Bin of each row by the middle of its weighted rank; equal ``p`` share a bin."""
    if not weight.sum() > 0:
        return np.zeros(len(p), dtype=np.int64)
    _, code = np.unique(p, return_inverse=True)
    mass = np.bincount(code, weights=weight)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.minimum((middle * bins).astype(np.int64), bins - 1)[code]
