"""Rows, labels and rivals of the road traffic fines, straight from the log.

Nothing of collectopt is used here, so that a mistake of the library cannot hide in its own
yardstick. Yearly walk-forward: each test year is judged by what was learnt from the four years
before whose outcome was known on 1 January.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

Float = npt.NDArray[np.float64]

YEARS = (2009, 2010, 2011)
DEVELOPMENT = (2005, 2006, 2007, 2008)  # where designs are chosen
TIMEZONE = "Europe/Rome"
SHRINKAGE = 50  # rows that the base rate counts for in a naive cell


@dataclass(frozen=True)
class Target:
    """One line of the table: at which event, any payment within how many days."""

    name: str
    at: str  # "creation", "letter" or "penalty"
    days: int


TARGETS = (
    Target("creation, 30 d", "creation", 30),
    Target("creation, 90 d", "creation", 90),
    Target("creation, 365 d", "creation", 365),
    Target("penalty, 30 d", "penalty", 30),
    Target("penalty, 180 d", "penalty", 180),
    Target("penalty, 365 d", "penalty", 365),
)
#: What the payment benchmark asks on top.
MORE_TARGETS = (
    Target("letter, 180 d", "letter", 180),
    Target("letter, 365 d", "letter", 365),
    Target("penalty, 90 d", "penalty", 90),
)


@dataclass(frozen=True)
class Rows:
    """Rows of one event.

    Attributes
    ----------
    case : (n,) case ids
    day : (n,) local days
    wait : (n,) days until the first payment on or after the day; nan = none in the log
    X : (n, d) what an untuned model may see
    cell : (n,) naive cell
    """

    case: npt.NDArray[np.object_]
    day: pd.Series
    wait: Float
    X: pd.DataFrame
    cell: npt.NDArray[np.object_]

    def label(self, days: int) -> npt.NDArray[np.int64]:
        """Whether a payment came within so many days; 0 = on the very day."""
        return (self.wait <= days).astype(np.int64)  # nan compares false

    def year(self, year: int, days: int, end: pd.Timestamp) -> npt.NDArray[np.bool_]:
        """Test rows of a year whose label is complete in the log."""
        last = min(pd.Timestamp(year + 1, 1, 1), end - pd.Timedelta(days=days - 1))
        return ((self.day >= pd.Timestamp(year, 1, 1)) & (self.day < last)).to_numpy()

    def before(self, year: int, days: int) -> npt.NDArray[np.bool_]:
        """Rows of the four years before whose label was known on 1 January."""
        cut = pd.Timestamp(year, 1, 1)
        known = self.day + pd.Timedelta(days=days) < cut
        return (known & (self.day >= cut - pd.Timedelta(days=days + 4 * 365))).to_numpy()


@dataclass(frozen=True)
class Log:
    """The rows at creation, at the letter and at the penalty, and the last day of the log."""

    creation: Rows
    letter: Rows
    penalty: Rows
    end: pd.Timestamp

    def rows(self, target: Target) -> Rows:
        """The rows that a target speaks about."""
        return {"creation": self.creation, "letter": self.letter, "penalty": self.penalty}[
            target.at
        ]


def read(events: Path) -> Log:
    """Read the log; fines and penalties of zero are left out: there is nothing to pay."""
    e = pd.read_parquet(events)
    e["day"] = e["time:timestamp"].dt.tz_convert(TIMEZONE).dt.normalize().dt.tz_localize(None)
    kind = e["concept:name"]

    def first(name: str, column: str) -> pd.Series:
        return e[kind == name].drop_duplicates("case").set_index("case")[column]

    create = e[kind == "Create Fine"].set_index("case")
    c = pd.DataFrame(
        {
            "day": create["day"],
            "amount": create["amount"],
            "article": create["article"].astype(str),
            "vehicle": create["vehicleClass"].astype(str),
            "points": create["points"],
            "officer": create["org:resource"].astype(str),
        }
    )
    c["sent"] = first("Send Fine", "day")
    c["expense"] = first("Send Fine", "expense")
    c["notified"] = first("Insert Fine Notification", "day")
    c["how"] = first("Insert Fine Notification", "notificationType")
    c["penalised"] = first("Add penalty", "day")
    c["total"] = first("Add penalty", "amount")
    appeals = ["Insert Date Appeal to Prefecture", "Appeal to Judge"]
    c["appeal"] = e[kind.isin(appeals)].groupby("case")["day"].min()
    paid = e[(kind == "Payment") & (e["paymentAmount"] > 0)]
    paid = paid[["case", "day", "paymentAmount"]]
    c = c[c["amount"] > 0]
    return Log(_creation(c, paid), _letter(c, paid), _penalty(c, paid), e["day"].max())


def _creation(c: pd.DataFrame, paid: pd.DataFrame) -> Rows:
    c = c.sort_values("day", kind="stable")
    return Rows(
        case=c.index.to_numpy(dtype=object),
        day=c["day"].reset_index(drop=True),
        wait=_wait(c, paid, "day"),
        X=_common(c, "day").reset_index(drop=True),
        cell=(c["article"] + c["vehicle"]).to_numpy(dtype=object),
    )


def _letter(c: pd.DataFrame, paid: pd.DataFrame) -> Rows:
    """Letters of cases without a payment on an earlier day."""
    first = paid.groupby("case")["day"].min().reindex(c.index)
    c = c[c["sent"].notna() & ~(first < c["sent"])].sort_values("sent", kind="stable")
    X = _common(c, "sent").assign(lag=(c["sent"] - c["day"]).dt.days, expense=c["expense"])
    return Rows(
        case=c.index.to_numpy(dtype=object),
        day=c["sent"].reset_index(drop=True),
        wait=_wait(c, paid, "sent"),
        X=X.reset_index(drop=True),
        cell=(c["article"] + c["vehicle"]).to_numpy(dtype=object),
    )


def _penalty(c: pd.DataFrame, paid: pd.DataFrame) -> Rows:
    c = c[c["penalised"].notna()].sort_values("penalised", kind="stable")
    since = paid.join(c["penalised"], on="case", how="inner")
    before = since[since["day"] < since["penalised"]].groupby("case")["paymentAmount"].sum()
    part = before.reindex(c.index).fillna(0.0)
    X = _common(c, "penalised").assign(
        lag=(c["sent"] - c["day"]).dt.days,
        expense=c["expense"],
        how=c["how"].astype(str).astype("category"),
        delivery=(c["notified"] - c["sent"]).dt.days,
        total=c["total"],
        part=part,
        part_share=part / (c["amount"] + c["expense"].fillna(0.0)),
        appeal=(c["appeal"] < c["penalised"]).astype(int),
    )
    return Rows(
        case=c.index.to_numpy(dtype=object),
        day=c["penalised"].reset_index(drop=True),
        wait=_wait(c, paid, "penalised"),
        X=X.reset_index(drop=True),
        cell=((part > 0).astype(str) + c["article"]).to_numpy(dtype=object),
    )


def _wait(c: pd.DataFrame, paid: pd.DataFrame, since: str) -> Float:
    joined = paid.join(c[since].rename("since"), on="case", how="inner")
    first = joined[joined["day"] >= joined["since"]].groupby("case")["day"].min()
    return (first.reindex(c.index) - c[since]).dt.days.to_numpy(dtype=np.float64)


def _common(c: pd.DataFrame, at: str) -> pd.DataFrame:
    X = pd.DataFrame(
        {
            "amount": c["amount"],
            "points": c["points"],
            "month": c[at].dt.month,
            "weekday": c[at].dt.day_of_week,
            "day": c[at].dt.day,
            "created_month": c["day"].dt.month,
            "created_weekday": c["day"].dt.day_of_week,
        }
    )
    for name in ("article", "vehicle", "officer"):
        counts = c[name].map(c[name].value_counts())
        X[name] = c[name].where(counts >= 100, "other").astype("category")
    return X


@dataclass(frozen=True)
class Rivals:
    """Predictions of the rivals for the pooled test rows of a target.

    Attributes
    ----------
    index : (n,) rows of the target's :class:`Rows`
    y : (n,) labels
    base, naive, untuned : (n,) probabilities
    """

    index: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    base: Float
    naive: Float
    untuned: Float


def rivals(log: Log, target: Target, years: Sequence[int] = YEARS) -> Rivals:
    """Base rate, naive cell rate and untuned LightGBM, one walk through the years."""
    rows = log.rows(target)
    y = rows.label(target.days)
    parts = []
    for year in years:
        train, test = rows.before(year, target.days), rows.year(year, target.days, log.end)
        base = float(y[train].mean())
        table = pd.DataFrame({"cell": rows.cell[train], "y": y[train]}).groupby("cell")["y"]
        rate = (table.sum() + SHRINKAGE * base) / (table.count() + SHRINKAGE)
        naive = pd.Series(rows.cell[test]).map(rate).fillna(base).to_numpy()
        model = lgb.LGBMClassifier(
            n_estimators=150,
            num_leaves=15,
            learning_rate=0.05,
            min_child_samples=40,
            subsample=0.8,
            subsample_freq=1,
            colsample_bytree=0.8,
            n_jobs=1,
            verbose=-1,
            random_state=0,
        ).fit(rows.X[train], y[train])
        untuned = model.predict_proba(rows.X[test])[:, 1]
        index = np.flatnonzero(test)
        parts.append((index, y[test], np.full(len(index), base), naive, untuned))
    return Rivals(*map(np.concatenate, zip(*parts, strict=True)))
