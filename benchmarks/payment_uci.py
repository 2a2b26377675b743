"""UCI credit cards in the payment benchmark: the models and rows of ``uci.py``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectopt.integrations._source import locate, read_columns
from payment_lines import Line, Score, judged, scores
from uci import BAR, COLUMNS, FILE, FOLDER, LABEL, results

PART = "uci"
ROW = "late next month"
OWN = "PaymentClassifier"


def compare() -> pd.DataFrame:
    """Forecasts of all, one line a customer."""
    data = read_columns(locate(None, folder=FOLDER, file=FILE), ["ID", LABEL, *COLUMNS])
    found = list(results(data))
    return pd.DataFrame({"y": found[0].y, **{result.name: result.p for result in found}})


def judge(table: pd.DataFrame) -> tuple[list[Line], list[Score]]:
    """Bars and scores."""
    forecasts = {name: table[name].to_numpy() for name in table if name != "y"}
    found = scores(PART, ROW, table["y"].to_numpy(), forecasts, np.arange(len(table)), OWN)
    return judged(found, BAR["log-loss"], BAR["AUC"], PART), found
