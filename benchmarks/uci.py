"""Late next month, yes or no: the plain classifier beside honest rivals.

UCI "default of credit card clients" (30,000 customers, Taiwan 2005, DOI 10.24432/C55S3H). No dates,
so the split is by number: rows with ID % 10 in {7, 8, 9} are the test. Settings of
PaymentClassifier were chosen by cross-validation inside the other rows.

The bar: log-loss <= .4262 and AUC >= .783. Exit code 1 below it.

    COLLECTOPT_DATA=data python benchmarks/uci.py
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import collectopt as co
from collectopt.evaluation import metrics
from collectopt.integrations._source import locate, read_columns
from collectopt.models import PaymentClassifier

FOLDER, FILE = "uci_taiwan", "UCI_Credit_Card.parquet"
LABEL = "default.payment.next.month"
MONTHS = range(1, 7)
COLUMNS = (
    "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE",
    "PAY_0", *(f"PAY_{m}" for m in range(2, 7)),
    *(f"BILL_AMT{m}" for m in MONTHS), *(f"PAY_AMT{m}" for m in MONTHS),
)  # fmt: skip
TEST_DIGITS = (7, 8, 9)
BAR = {"log-loss": 0.4262, "AUC": 0.783}
DRAWS = 2000
#: Fits on rows and labels, gives chances of other rows.
Rival = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]


def main() -> int:
    """Fit all on the same rows, print the table; 0 = the bar is reached."""
    console = Console()
    try:
        data = read_columns(locate(None, folder=FOLDER, file=FILE), ["ID", LABEL, *COLUMNS])
    except co.exceptions.InputError as error:
        console.print(str(error), style="red")
        return 1
    with console.status("fitting all"):
        found = list(results(data))
    show(found, console)
    own = found[-1]
    passed = own.log_loss <= BAR["log-loss"] and own.auc >= BAR["AUC"]
    verdict = "[green]pass[/]" if passed else "[red]FAIL[/]"
    console.print(
        f"{verdict} log-loss {own.log_loss:.4f} <= {BAR['log-loss']}, "
        f"AUC {own.auc:.4f} >= {BAR['AUC']}"
    )
    return 0 if passed else 1


def results(data: pd.DataFrame) -> Iterator[Result]:
    """Forecasts of all models for the test rows, PaymentClassifier last."""
    test = data["ID"].mod(10).isin(TEST_DIGITS).to_numpy()
    X, y = data[list(COLUMNS)], data[LABEL].to_numpy().astype(np.float64)
    for name, rival in rivals().items():
        began = time.process_time()
        p = rival(X[~test], y[~test], X[test])
        yield Result(name, y[test], p, time.process_time() - began)


# -- rivals ------------------------------------------------------------------------------------


def rivals() -> dict[str, Rival]:
    """All that are compared, PaymentClassifier last."""
    found: dict[str, Rival] = {
        "base rate": lambda _X, y, Z: np.full(len(Z), y.mean()),
        "PAY_0 table": cells,
        "logistic regression": logistic,
        "LightGBM untuned": untuned,
    }
    if importlib.util.find_spec("catboost") is not None:
        found["CatBoost defaults"] = catboost
    return found | {"PaymentClassifier": classifier}


def cells(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame, strength: float = 10.0) -> np.ndarray:
    """Rate by last status, shrunk to the base rate."""
    seen = pd.DataFrame({"cell": X["PAY_0"].to_numpy(), "y": y}).groupby("cell")["y"]
    rate = (seen.sum() + strength * y.mean()) / (seen.count() + strength)
    return Z["PAY_0"].map(rate).fillna(y.mean()).to_numpy()


def logistic(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame) -> np.ndarray:
    """All columns, standardised."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(X, y).predict_proba(Z)[:, 1]


def untuned(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame) -> np.ndarray:
    """LightGBM, 150 rounds, rate .03, 15 leaves, mean of three seeds."""
    p = np.zeros(len(Z))
    for seed in range(3):
        model = lgb.LGBMClassifier(
            n_estimators=150, learning_rate=0.03, num_leaves=15, min_child_samples=50,
            colsample_bytree=0.8, subsample=0.8, subsample_freq=1, random_state=seed, n_jobs=1,
            verbosity=-1,
        )  # fmt: skip
        p += model.fit(X, y).predict_proba(Z)[:, 1] / 3
    return p


def catboost(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame) -> np.ndarray:
    """CatBoost as it comes, one thread."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        verbose=False, thread_count=1, random_seed=0, allow_writing_files=False
    )
    return model.fit(X, y).predict_proba(Z)[:, 1]


def classifier(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame) -> np.ndarray:
    """The library's, as it comes."""
    return PaymentClassifier().fit(X, y).predict_proba(Z)[:, 1]


# -- the table ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Forecasts of one rival, and the seconds of one thread that they took."""

    name: str
    y: np.ndarray
    p: np.ndarray
    seconds: float

    @property
    def losses(self) -> np.ndarray:
        """Log-loss of each row."""
        return metrics.log_losses(self.y, self.p)

    @property
    def log_loss(self) -> float:
        """Mean log-loss."""
        return float(self.losses.mean())

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return metrics.auc(self.y, self.p)


def interval(saved: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over customers."""
    means = [saved[rng.integers(0, len(saved), len(saved))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def show(results: list[Result], console: Console) -> None:
    """Print all scores, and what each loses against the classifier."""
    own, rng = results[-1], np.random.default_rng(0)
    title = f"UCI credit cards: late next month, {len(own.y):,} test rows, {own.y.mean():.3f} late"
    table = Table(title=title, pad_edge=False)
    table.add_column("model")
    names = ("AUC", "Brier", "log-loss", "ECE", "lost against the classifier", "95 %", "seconds")
    for name in names:
        table.add_column(name, justify="right")
    for r in results:
        scores = (r.auc, metrics.brier(r.y, r.p), r.log_loss, metrics.ece(r.y, r.p))
        lost = r.losses - own.losses
        gap = ("", "")
        if r is not own:
            low, high = interval(lost, rng)
            gap = (f"{lost.mean():+.4f}", f"[{low:+.4f}, {high:+.4f}]")
        cells_ = [f"{score:.4f}".removeprefix("0") for score in scores]
        table.add_row(r.name, *cells_, *gap, f"{r.seconds:.1f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
