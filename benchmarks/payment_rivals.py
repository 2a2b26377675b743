"""Rivals of the payment benchmark: CatBoost, a logistic hazard, survival models of scikit-survival.

CatBoost answers one horizon and sees what untuned LightGBM sees. The others learn from the same
moments and features as PaymentModel and answer all horizons. Packages that are not installed are
left out.
"""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import collectopt as co
from collectopt.features.engine import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.models import PaymentModel, labels

#: Days at which a bin of the logistic hazard ends: whole days H count, so a horizon ends at H + 1.
EDGES = np.array([0, 1, 3, 7, 14, 31, 46, 61, 91, 136, 181, 271, 366], dtype=np.float64)
#: Moments that each learns from; the survival models take time that grows faster than the rows.
LOGISTIC_ROWS, COX_ROWS, BOOSTED_ROWS = 40_000, 10_000, 3_000
_BLOCK = 4_000
_PROBE_ROWS = 20_000
HAS_CATBOOST = importlib.util.find_spec("catboost") is not None
HAS_SKSURV = importlib.util.find_spec("sksurv") is not None


def catboost(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame, seeds: int = 1) -> np.ndarray:
    """CatBoost, 300 rounds, rate .05, else as it comes; (m,) chances of the rows of Z."""
    from catboost import CatBoostClassifier

    codes = [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]
    X, Z = (part.astype(dict.fromkeys(codes, str)) for part in (X, Z))
    p = np.zeros(len(Z))
    for seed in range(seeds):
        model = CatBoostClassifier(
            iterations=300, learning_rate=0.05, verbose=False, thread_count=1, random_seed=seed,
            allow_writing_files=False, cat_features=codes,
        )  # fmt: skip
        p += model.fit(X, y).predict_proba(Z)[:, 1] / seeds
    return p


# -- models of the time ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Design:
    """Turns features to standardised columns, missing ones to the mean and a flag, codes to 0/1.

    Attributes
    ----------
    names : features
    codes : values of each categorical one
    mean, scale : (d,) of the numeric ones, nan left out
    holes : (d,) whether a flag says that the number is missing
    """

    names: tuple[str, ...]
    codes: dict[str, tuple[str, ...]]
    mean: np.ndarray
    scale: np.ndarray
    holes: np.ndarray

    @classmethod
    def learn(
        cls, rows: co.Snapshot, names: tuple[str, ...], codes: dict[str, tuple[str, ...]]
    ) -> Design:
        """Take means and scales from the training rows."""
        matrix = compute(rows, names, codes)
        numbers = _numbers(rows, matrix)
        mean = np.nan_to_num(np.nanmean(numbers, axis=0))
        scale = np.nanstd(numbers, axis=0)
        holes = np.isnan(numbers).mean(axis=0) > 0.01
        return cls(names, codes, mean, np.where(scale > 0.0, scale, 1.0), holes)

    def apply(self, rows: co.Snapshot) -> np.ndarray:
        """(n, k) float64 columns of any rows."""
        matrix = compute(rows, self.names, self.codes)
        numbers = _numbers(rows, matrix)
        missing = np.isnan(numbers)[:, self.holes].astype(np.float64)
        scaled = np.clip(np.nan_to_num((numbers - self.mean) / self.scale), -5.0, 5.0)
        dummies = [
            matrix.column(name)[:, None] == np.arange(1, len(known))
            for name, known in self.codes.items()
        ]
        return np.hstack([scaled, missing, *dummies]).astype(np.float64)


def _numbers(rows: co.Snapshot, matrix: FeatureMatrix) -> np.ndarray:
    """Numeric features and the days until the due date."""
    kept = [matrix.column(name) for name in matrix.names if name not in matrix.categories]
    return np.column_stack([*kept, labels.due_offsets(rows)]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments before a cut, described, and what came of them by the cut.

    Attributes
    ----------
    design : Design
    X : (n, k)
    days, event : (n,) as in labels.durations
    watched : (n,) days until the cut
    """

    design: Design
    X: np.ndarray
    days: np.ndarray
    event: np.ndarray
    watched: np.ndarray

    @classmethod
    def gather(cls, ledger: co.Ledger, cut: str) -> Moments:
        """Take the moments and features of a PaymentModel of the next payment of accounts."""
        probe = PaymentModel(event="any", levels=("account",), max_rows=_PROBE_ROWS)
        names, codes = probe.fit(ledger, as_of=cut).inputs("account")
        rows = labels.landmarks(ledger, cut, "account", limit=LOGISTIC_ROWS)
        design = Design.learn(rows, names, codes)
        found = labels.durations(rows, "any", "account", cut)
        return cls(design, design.apply(rows), found.days, found.event, labels.watched(rows, cut))

    def some(self, n: int) -> np.ndarray:
        """Draw n of them."""
        return np.random.default_rng(0).permutation(len(self.X))[:n]


def logistic_hazard(moments: Moments, Z: np.ndarray, ends: list[float]) -> np.ndarray:
    """Logistic regression over person-periods, one level a bin; (m, h) chances before the ends.

    A bin counts if it was over by the cut, whatever happened in it: else late bins would be full
    of events.
    """
    parts = []
    for j, (lo, hi) in enumerate(itertools.pairwise(EDGES)):
        known = (moments.watched >= hi) & (moments.event | (moments.days >= hi))
        rows = np.flatnonzero(known & (moments.days >= lo))
        hit = moments.event[rows] & (moments.days[rows] < hi)
        parts.append((rows, np.full(len(rows), j), hit))
    row, period, hit = map(np.concatenate, zip(*parts, strict=True))
    level = np.eye(len(EDGES) - 1, dtype=np.float32)
    lines = np.hstack([moments.X.astype(np.float32)[row], level[period]])
    model = LogisticRegression(max_iter=300, fit_intercept=False).fit(lines, hit)
    weight = model.coef_[0]
    odds = (Z @ weight[: Z.shape[1]])[:, None] + weight[Z.shape[1] :]
    before = 1.0 - np.cumprod(1.0 / (1.0 + np.exp(odds)), axis=1)
    return before[:, np.searchsorted(EDGES[1:], ends)]


def cox(moments: Moments, Z: np.ndarray, ends: list[float]) -> np.ndarray:
    """Cox regression of scikit-survival with a small ridge; (m, h) chances before the ends."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return _survival(CoxPHSurvivalAnalysis(alpha=1.0), moments, COX_ROWS, Z, ends)


def boosted(moments: Moments, Z: np.ndarray, ends: list[float]) -> np.ndarray:
    """Boosted survival trees of scikit-survival; (m, h) chances before the ends."""
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    model = GradientBoostingSurvivalAnalysis(subsample=0.5, max_features="sqrt", random_state=0)
    return _survival(model, moments, BOOSTED_ROWS, Z, ends)


def _survival(model, moments: Moments, rows: int, Z: np.ndarray, ends: list[float]) -> np.ndarray:
    from sksurv.util import Surv

    taken = moments.some(rows)
    outcome = Surv.from_arrays(moments.event[taken], np.maximum(moments.days[taken], 1e-6))
    model.fit(moments.X[taken], outcome)
    last = np.searchsorted(model.unique_times_, ends, side="left") - 1
    parts = []
    for start in range(0, len(Z), _BLOCK):
        alive = model.predict_survival_function(Z[start : start + _BLOCK], return_array=True)
        parts.append(np.where(last >= 0, 1.0 - alive[:, np.maximum(last, 0)], 0.0))
    return np.concatenate(parts)


def of_time(moments: Moments, Z: np.ndarray, ends: list[float]) -> dict[str, np.ndarray]:
    """Give the forecasts of all models of the time, (m, h) by name."""
    found = {"logistic hazard": logistic_hazard(moments, Z, ends)}
    if HAS_SKSURV:
        found["Cox"] = cox(moments, Z, ends)
        found["boosted survival"] = boosted(moments, Z, ends)
    return found
