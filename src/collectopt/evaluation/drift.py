"""Predicted against observed by calendar quarter: where the predictions have drifted off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from collectopt.evaluation.bootstrap import calendar_blocks
from collectopt.exceptions import InputError

Float = npt.NDArray[np.float64]

_MEDIAN = float(stats.chi2.ppf(0.5, 1))


def drift_table(
    as_of: npt.ArrayLike,
    horizon: npt.ArrayLike,
    paid: npt.ArrayLike,
    predicted: npt.ArrayLike,
    account: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare predicted with observed shares of payers by horizon and quarter of `as_of`.

    A calibrated forecast differs from what came for two reasons: rows are few, and rows of one
    account go together; and a quarter has a season or a mood that all its rows share. The
    interval covers both: the error of the mean by account, and the usual difference between a
    quarter and its prediction, learnt from the other quarters. Drift is what exceeds them.

    Parameters
    ----------
    as_of : array_like of datetime64, shape (n,)
        Time of each prediction; UTC, or local if the quarters are to be local.
    horizon : array_like of str, shape (n,)
    paid : array_like of bool, shape (n,)
        What came; only predictions whose horizon is over.
    predicted : array_like, shape (n,)
        Probabilities.
    account : array_like, shape (n,)
    weight : array_like, shape (n,), optional
        As in a backtest's rows.
    level : float
        Chance that the interval of a calibrated forecast holds what came.

    Returns
    -------
    DataFrame
        One row a horizon and quarter: horizon, quarter ("2026Q1"), n, accounts, predicted,
        observed (weighted means), error (standard error by account), shock (standard deviation of
        the usual shared difference), lower and upper (bounds of what a calibrated forecast would
        see), flag (observed lies outside).

    Raises
    ------
    InputError
        Columns of different length, or probabilities outside [0, 1].

    Notes
    -----
    The shared difference is taken from the median of the other quarters' squared differences, so
    one or two drifting quarters do not hide one another. With fewer than four other quarters it
    is taken as 0: then a flag may also mean a season.
    """
    columns = {
        "as_of": np.asarray(as_of).astype("datetime64[us]"),
        "horizon": np.asarray(horizon),
        "paid": np.asarray(paid, dtype=np.float64),
        "predicted": np.asarray(predicted, dtype=np.float64),
        "account": np.asarray(account),
    }
    columns["weight"] = np.ones(len(columns["paid"])) if weight is None else np.asarray(weight)
    rows = _checked(columns)
    tables = [
        _by_quarter(part, str(name), level) for name, part in rows.groupby("horizon", sort=False)
    ]
    return pd.concat(tables, ignore_index=True) if tables else _by_quarter(rows, "", level)


def _checked(columns: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
    p = columns["predicted"]
    for name, values in columns.items():
        if values.shape != p.shape or p.ndim != 1:
            raise InputError.of(
                "drift", name, expected=f"shape {p.shape}", found=f"shape {values.shape}"
            )
    bad = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))
    if len(bad):
        raise InputError.of(
            "drift",
            "predicted",
            expected="probabilities",
            found=str(p[bad[0]]),
            rows=bad.tolist(),
        )
    rows = pd.DataFrame(dict(columns))
    return rows[rows["weight"] > 0.0]


def _by_quarter(rows: pd.DataFrame, horizon: str, level: float) -> pd.DataFrame:
    """Rows of one horizon, quarter by quarter."""
    code = calendar_blocks(rows["as_of"].to_numpy())
    records = [_quarter(rows[code == quarter], int(quarter)) for quarter in np.unique(code)]
    names = ["quarter", "n", "accounts", "predicted", "observed", "error"]
    table = pd.DataFrame(records, columns=names)
    table.insert(0, "horizon", horizon)
    predicted, observed, error = (
        table[name].to_numpy(np.float64) for name in ("predicted", "observed", "error")
    )
    shock = _shocks(observed - predicted, error)
    degrees = np.where(shock > 0.0, len(table) - 1.0, table["accounts"].to_numpy() - 1.0)
    reach = stats.t.ppf((1.0 + level) / 2.0, np.maximum(degrees, 1.0)) * np.hypot(error, shock)
    table["shock"] = shock
    table["lower"] = np.maximum(predicted - reach, 0.0)
    table["upper"] = np.minimum(predicted + reach, 1.0)
    table["flag"] = (observed < table["lower"]) | (observed > table["upper"])
    return table


def _quarter(rows: pd.DataFrame, quarter: int) -> tuple[str, int, int, float, float, float]:
    y, p, w = (rows[name].to_numpy(np.float64) for name in ("paid", "predicted", "weight"))
    code = pd.factorize(rows["account"])[0]
    mass = w.sum()
    sums = np.bincount(code, w * (y - p))
    by_account = np.sqrt((sums**2).sum()) / mass
    # What chance alone gives keeps the error off 0 where all rows had the same outcome.
    by_chance = np.sqrt((w**2 * p * (1.0 - p)).sum()) / mass
    name = f"{1970 + quarter // 4}Q{quarter % 4 + 1}"
    level = float((w * p).sum() / mass), float((w * y).sum() / mass)
    return name, len(rows), len(sums), *level, float(max(by_account, by_chance))


def _shocks(difference: Float, error: Float) -> Float:
    """Give the usual difference that rows of a quarter share, each from the other quarters."""
    n = len(difference)
    out = np.zeros(n)
    if n < 5:
        return out
    for k in range(n):
        other = np.arange(n) != k
        seen = np.median(difference[other] ** 2) / _MEDIAN
        out[k] = np.sqrt(max(seen - np.median(error[other] ** 2), 0.0))
    return out
