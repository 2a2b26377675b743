"""Tables of scores from judged predictions: one row a prediction whose horizon is over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from collectopt.evaluation import metrics

ALL = "all"
_SCORES = (metrics.auc, metrics.brier, metrics.log_loss, metrics.ece)


def score_table(rows: pd.DataFrame, forecasters: Sequence[str]) -> pd.DataFrame:
    """Score every forecaster by horizon, per cut and over all cuts.

    Parameters
    ----------
    rows : DataFrame
        Columns cut (datetime64), horizon, paid (bool), weight and one column of probabilities a
        forecaster.
    forecasters : sequence of str

    Returns
    -------
    DataFrame
        Columns horizon, cut (text; "all" = pooled), forecaster, n, paid (observed rate),
        predicted (mean), auc, brier, log_loss, ece.
    """
    records = []
    for horizon, part in rows.groupby("horizon", sort=False):
        labelled = [(ALL, part)]
        labelled += [(f"{cut:%Y-%m-%d}", group) for cut, group in part.groupby("cut", sort=True)]
        for cut, group in labelled:
            y, w = _floats(group, "paid"), _floats(group, "weight")
            for name in forecasters:
                p = _floats(group, name)
                level = (float(np.average(y, weights=w)), float(np.average(p, weights=w)))
                scores = [score(y, p, weight=w) for score in _SCORES]
                records.append((horizon, cut, name, len(y), *level, *scores))
    names = ["horizon", "cut", "forecaster", "n", "paid", "predicted"]
    return pd.DataFrame(records, columns=[*names, "auc", "brier", "log_loss", "ece"])


def gain_table(
    rows: pd.DataFrame, model: str, rivals: Sequence[str], *, z: float = 1.96
) -> pd.DataFrame:
    """Log-loss that the model saves against each rival, with an interval.

    Predictions of one account depend on one another, so the variance is that of the sums by
    account (Liang and Zeger 1986).

    Parameters
    ----------
    rows : DataFrame
        As in :func:`score_table`, with account_id.
    model : str
    rivals : sequence of str
    z : float
        Half width of the interval in standard errors.

    Returns
    -------
    DataFrame
        Columns horizon, rival, gain (nats, > 0: the model is better), lower, upper.
    """
    records = []
    for horizon, part in rows.groupby("horizon", sort=False):
        y, w = _floats(part, "paid"), _floats(part, "weight")
        code = pd.factorize(part["account_id"])[0]
        own = metrics.log_losses(y, _floats(part, model))
        for rival in rivals:
            saved = metrics.log_losses(y, _floats(part, rival)) - own
            mean, error = clustered_mean(saved, code, w)
            records.append((horizon, rival, mean, mean - z * error, mean + z * error))
    return pd.DataFrame(records, columns=["horizon", "rival", "gain", "lower", "upper"])


def clustered_mean(
    values: metrics.Floats, cluster: np.ndarray, weight: metrics.Floats
) -> tuple[float, float]:
    """Compute a weighted mean and its error where rows of one cluster depend on one another.

    Parameters
    ----------
    values, weight : float64 array, shape (n,)
    cluster : int array, shape (n,)

    Returns
    -------
    mean, stderr : float
        The error is infinite for a single cluster.

    Examples
    --------
    >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]), np.ones(4))
    (2.0, 1.0)
    """
    total = weight.sum()
    if not total > 0:
        return float("nan"), float("nan")
    mean = float((weight * values).sum() / total)
    sums = np.bincount(cluster, weights=weight * (values - mean))
    groups = int((np.bincount(cluster) > 0).sum())
    if groups < 2:
        return mean, float("inf")
    return mean, float(np.sqrt((sums**2).sum() * groups / (groups - 1)) / total)


def reliability_table(
    rows: pd.DataFrame, forecasters: Sequence[str], *, bins: int = 10
) -> pd.DataFrame:
    """Calibration tables of every forecaster by horizon, all cuts together.

    Returns
    -------
    DataFrame
        Columns horizon, forecaster and those of
        :func:`~collectopt.evaluation.calibration_table`.
    """
    tables = []
    for horizon, part in rows.groupby("horizon", sort=False):
        y, w = _floats(part, "paid"), _floats(part, "weight")
        for name in forecasters:
            table = metrics.calibration_table(y, _floats(part, name), weight=w, bins=bins)
            table.insert(0, "forecaster", name)
            table.insert(0, "horizon", horizon)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def amount_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare the expected with the settled share of the open amount.

    Parameters
    ----------
    rows : DataFrame
        Columns horizon, weight, open, share, share_expected; rows without a share do not count.

    Returns
    -------
    DataFrame
        Columns horizon, n, open (sum of amounts), settled and expected (shares of that sum),
        mae (mean absolute error of a row's share) and mae_mean (that of the mean share).
    """
    records = []
    for horizon, part in rows.groupby("horizon", sort=False):
        known = part[part["share"].notna() & part["share_expected"].notna() & (part["open"] > 0)]
        if not len(known):
            continue
        w, amount = _floats(known, "weight"), _floats(known, "open")
        seen, said = _floats(known, "share"), _floats(known, "share_expected")
        money = w * amount
        mean = np.average(seen, weights=w)
        sums = (np.average(seen, weights=money), np.average(said, weights=money))
        errors = (np.average(abs(seen - said), weights=w), np.average(abs(seen - mean), weights=w))
        records.append((horizon, len(known), float(amount.sum()), *sums, *errors))
    names = ["horizon", "n", "open", "settled", "expected", "mae", "mae_mean"]
    return pd.DataFrame(records, columns=names)


def _floats(frame: pd.DataFrame, name: str) -> metrics.Floats:
    return np.asarray(frame[name].to_numpy(dtype=np.float64))
