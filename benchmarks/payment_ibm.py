"""IBM's invoices in the payment benchmark: late or not, asked on the day of issue.

Learnt from what was known on 1 June 2013, asked about the invoices issued from that day on. "Late":
not paid by the end of the due day; "late over 10 d": nor in the ten days after it. To choose by,
there are earlier cuts, each asked about the invoices issued before the next one.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd

import collectopt as co
from collectopt.integrations import ibm_ar
from collectopt.integrations._source import locate, read_columns
from collectopt.models import PaymentModel, ShrunkenRate, labels
from collectopt.models.options import HazardOptions
from payment_lines import Line, Score, coverage, inside, judged, scores
from payment_rivals import HAS_CATBOOST, catboost

PART = "ibm"
OWN = "PaymentModel"
CUT = "2013-06-01"
#: Earlier cuts: what is chosen is chosen there.
DEVELOPMENT = ("2012-07-01", "2012-09-01", "2012-11-01", "2013-01-01", "2013-03-01")
WITHOUT = "without habits"
#: Horizon, log-loss at most, AUC at least.
ASKED = {"late": ("due+0D", 0.393, 0.878), "late over 10 d": ("due+10D", 0.205, 0.898)}
NO_FORECAST = {"target", "account", "y", "covered", "over"}
SEEDS = 5
STRENGTH = 5  # invoices that the base rate counts for in a customer's rate
COLUMNS = (
    "countryCode", "customerID", "invoiceNumber", "InvoiceDate", "DueDate", "InvoiceAmount",
    "SettledDate", "PaperlessBill", "DaysLate", "DaysToSettle",
)  # fmt: skip


def compare(cut: str = CUT) -> pd.DataFrame:
    """Forecasts of all as of a cut, one line an invoice and question."""
    data = _read()
    issued, settled, moment = data["InvoiceDate"], data["SettledDate"], pd.Timestamp(cut)
    later = [each for each in (*DEVELOPMENT, CUT) if each > cut]
    until = pd.Timestamp(later[0]) if later else pd.Timestamp.max
    test = ((issued >= moment) & (issued < until)).to_numpy()
    train = ((issued < moment) & (settled < moment)).to_numpy()
    history = _history(data)
    X = _features(data, history)
    mine = _library(data[test], cut)
    parts = []
    for name in ASKED:
        y = data[name].to_numpy()
        if not np.array_equal(mine[name]["y"], y[test]):
            raise RuntimeError(f"{name}: ledger and file disagree")
        base = float(y[train].mean())
        n = history["n"]
        rate = (history[name].fillna(base) * n + STRENGTH * base) / (n + STRENGTH)
        found = {
            "base rate": np.full(test.sum(), base),
            "naive customer rate": rate[test].to_numpy(),
            "LightGBM untuned": _untuned(X[train], y[train], X[test]),
        }
        if HAS_CATBOOST:
            found["CatBoost"] = catboost(X[train], y[train], X[test], SEEDS)
        account = data["customerID"][test].to_numpy()
        parts.append(pd.DataFrame({"target": name, "account": account, **found, **mine[name]}))
    return pd.concat(parts, ignore_index=True)


def judge(tables: list[pd.DataFrame]) -> tuple[list[Line], list[Score]]:
    """Bars and scores, over all cuts."""
    table = pd.concat(tables, ignore_index=True)
    lines, found = [], []
    for name, (_, log_loss, auc) in ASKED.items():
        rows = table[table["target"] == name]
        forecasts = {c: rows[c].to_numpy() for c in rows if c not in NO_FORECAST}
        y, account = rows["y"].to_numpy(), rows["account"].to_numpy()
        all_ = scores(PART, name, y, forecasts, account, OWN)
        found += all_
        rivals = [score for score in all_ if score.forecaster != WITHOUT]
        lines += judged(rivals, log_loss, auc, PART)
    once = table[table["target"] == next(iter(ASKED))]
    return [*lines, coverage(PART, "days to pay", once)], found


def _read() -> pd.DataFrame:
    data = read_columns(locate(None, folder=ibm_ar.FOLDER, file=ibm_ar.FILE), COLUMNS)
    data = data.sort_values(["InvoiceDate", "invoiceNumber"]).reset_index(drop=True)
    late = data["DaysLate"]
    return data.assign(
        **{"late": (late > 0).astype(int), "late over 10 d": (late > 10).astype(int)}
    )


def _library(data: pd.DataFrame, cut: str) -> dict[str, dict[str, np.ndarray]]:
    """PaymentModel and the shrunken rate, and the outcomes that the ledger tells."""
    ledger = ibm_ar.ledger()
    rows = pd.DataFrame(
        {
            "account_id": data["customerID"],
            "as_of": data["InvoiceDate"].dt.tz_localize(ledger.timezone),
            "invoice_id": data["invoiceNumber"].astype(str),
        }
    )
    snapshot = co.Snapshot.from_rows(ledger, rows)
    horizons = [horizon for horizon, _, _ in ASKED.values()]
    models = {
        "shrunken rate": ShrunkenRate(event="full"),
        WITHOUT: PaymentModel(
            event="full", levels=("invoice",), options=HazardOptions(habits=False)
        ),
        OWN: PaymentModel(event="full", levels=("invoice",)),
    }
    made = {
        name: model.fit(ledger, as_of=cut).predict(snapshot, horizons=horizons, level="invoice")
        for name, model in models.items()
    }
    end = str((data["SettledDate"].max() + pd.Timedelta(days=2)).date())
    came, watched = (
        labels.durations(snapshot, "full", "invoice", end),
        labels.watched(snapshot, end),
    )
    due = labels.due_offsets(snapshot)
    covered, over = inside(made[OWN], came, watched)
    found = {}
    for k, (name, horizon) in enumerate(zip(ASKED, horizons, strict=True)):
        last = due + int(horizon.removeprefix("due+").removesuffix("D"))
        y = (~(came.event & (came.days < last))).astype(int)
        late = {model: 1.0 - forecast.p_paid[:, k] for model, forecast in made.items()}
        found[name] = {"y": y, "covered": covered, "over": over} | late
    return found


# -- the rivals, as published for this protocol ------------------------------------------------


def _history(data: pd.DataFrame) -> pd.DataFrame:
    """What was known of each customer on the day of issue: settled invoices and open ones."""
    values = ["late", "DaysLate", "DaysToSettle", "late over 10 d"]
    issued, settled = data["InvoiceDate"].to_numpy(), data["SettledDate"].to_numpy()
    found = {"n": np.zeros(len(data)), "open": np.zeros(len(data))}
    found |= {name: np.full(len(data), np.nan) for v in values for name in (v, f"last {v}")}
    columns = {v: data[v].to_numpy() for v in values}
    for mine in data.groupby("customerID", sort=False).indices.values():
        for i in mine:
            before = settled[mine] < issued[i]
            known = mine[before]
            found["n"][i] = len(known)
            found["open"][i] = ((issued[mine] < issued[i]) & ~before).sum()
            if len(known):
                last = known[np.argmax(settled[known])]
                for v in values:
                    found[v][i] = columns[v][known].mean()
                    found[f"last {v}"][i] = columns[v][last]
    return pd.DataFrame(found)


def _features(data: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    # Columns and their order are those of the published numbers, the amount twice included: they
    # decide what is drawn for each tree.
    return history.assign(
        amount=data["InvoiceAmount"],
        country=data["countryCode"].astype("category"),
        paper=(data["PaperlessBill"] == "Paper").astype(int),
        weekday=data["InvoiceDate"].dt.day_of_week,
        month=data["InvoiceDate"].dt.month,
        due_weekday=data["DueDate"].dt.day_of_week,
        amount_again=data["InvoiceAmount"],
    )


def _untuned(X: pd.DataFrame, y: np.ndarray, Z: pd.DataFrame) -> np.ndarray:
    p = np.zeros(len(Z))
    for seed in range(SEEDS):
        model = lgb.LGBMClassifier(
            n_estimators=120, num_leaves=7, learning_rate=0.05, min_child_samples=20,
            subsample=0.8, subsample_freq=1, colsample_bytree=0.8, n_jobs=1, verbose=-1,
            random_state=seed,
        )  # fmt: skip
        p += model.fit(X, y).predict_proba(Z)[:, 1] / SEEDS
    return p
