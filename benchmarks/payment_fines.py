"""Fines of the payment benchmark: nine questions at creation, letter and penalty, 2009 to 2011."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

import collectopt as co
from collectopt.integrations import fines
from collectopt.integrations._source import locate
from collectopt.models import PaymentModel, labels
from fines_rows import MORE_TARGETS, TARGETS, TIMEZONE, Log, Target, read, rivals
from payment_lines import Bar, Line, Score, coverage, judged, pooled, scores, short
from payment_rivals import HAS_CATBOOST, Moments, catboost, of_time
from real import ask, contenders, named

PART = "fines"
OWN = "PaymentModel"
#: By day and event; "penalty, 90 d" stands between its neighbours.
WHEN = ("creation", "letter", "penalty")
ASKED = tuple(sorted((*TARGETS, *MORE_TARGETS), key=lambda t: (WHEN.index(t.at), t.days)))
#: Log-loss at most, AUC at least.
BARS = {
    "creation, 30 d": (0.582, 0.605),
    "creation, 90 d": (0.605, 0.604),
    "creation, 365 d": (0.650, 0.594),
    "letter, 180 d": (0.266, 0.535),
    "letter, 365 d": (0.360, 0.540),
    "penalty, 30 d": (0.2195, 0.665),
    "penalty, 90 d": (0.280, 0.648),
    "penalty, 180 d": (0.3235, 0.628),
    "penalty, 365 d": (0.433, 0.590),
}
#: Days within which a payment counts for the intervals.
YEAR = 365
COVERAGE = Bar(0.77, 0.85)
#: Mean absolute error of the share recovered, and bias of the EUR in absolute value, at most.
SHARES = {"penalty, 180 d": (0.137, 0.10), "penalty, 365 d": (0.222, 0.15)}


def _calibrated(days: int) -> Bar:
    return Bar(high=0.04 if days >= 365 else 0.03)


def _log() -> Log:
    return read(locate(None, folder=fines.FOLDER, file=fines.FILE))


def _at(when: str) -> list[Target]:
    return [target for target in ASKED if target.at == when]


# -- jobs --------------------------------------------------------------------------------------


def own(year: int) -> pd.DataFrame:
    """Forecast one year by the library, fitted as of its 1 January: see ``real.ask``."""
    ledger, log = fines.ledger(), _log()
    models = [model.fit(ledger, as_of=f"{year}-01-01") for model in contenders()]
    parts = []
    for when in WHEN:
        tables = ask(models, ledger, log, year, _at(when))
        held = _held(models[0], ledger, tables[-1])
        for target, table in zip(_at(when), tables, strict=True):
            y = log.rows(target).label(target.days)[table["index"]]
            more: dict[str, np.ndarray] = {}
            if target.name in SHARES:
                more = _recovered(models[0], ledger, log, table, target, year)
            parts.append(table.assign(target=target.name, y=y, **more))
        parts[-1] = parts[-1].assign(covered=held)
    named_ = {"model": OWN, "rate": "shrunken rate"}
    return pooled(parts).drop(columns=["as_of", "invoice_id"]).rename(columns=named_)


def _held(model: PaymentModel, ledger: co.Ledger, rows: pd.DataFrame) -> np.ndarray:
    """Coverage of the 80 % interval of the day, by row; nan without a payment within the year.

    Most fines are never paid, so the plain interval has no end that one could wait for. This one
    is that of the day given that the payment comes within a year, asked of those where it did.
    Many pay on the very first day, so that a bound falls inside a day: the part of the day's chance
    that lies between the bounds is counted (Czado, Gneiting and Held 2009), 80 % if all is right.
    """
    snapshot = co.Snapshot.from_rows(ledger, rows[["account_id", "as_of", "invoice_id"]])
    asked = tuple(f"{day}D" for day in range(1, YEAR + 2))  # day d ends d days after the midnight
    p = model.predict(snapshot, horizons=asked, level="account", quantiles=()).p_paid
    paid = np.flatnonzero(rows["event"] & (rows["days"] < YEAR + 1.0) & (p[:, -1] > 0.0))
    share = np.column_stack([np.zeros(len(paid)), p[paid] / p[paid, -1:]])
    day = np.maximum(np.ceil(rows["days"].to_numpy()[paid]).astype(int), 1)
    low, high = share[np.arange(len(paid)), day - 1], share[np.arange(len(paid)), day]
    between = np.clip(high, 0.1, 0.9) - np.clip(low, 0.1, 0.9)
    held = np.full(len(rows), np.nan)
    held[paid] = between / np.maximum(high - low, 1e-12)
    return held


def others(year: int) -> pd.DataFrame:
    """Forecast the same rows by the rivals, which learn what was known on the same day."""
    ledger, log, cut = fines.ledger(), _log(), f"{year}-01-01"
    moments = Moments.gather(ledger, cut)
    parts = []
    for when in WHEN:
        rows = log.rows(_at(when)[0])
        index = np.flatnonzero(rows.year(year, 0, log.end))
        snapshot = co.Snapshot.from_rows(ledger, named(rows, index, when))
        ends = [target.days + 1.0 for target in _at(when)]
        curves = of_time(moments, moments.design.apply(snapshot), ends)
        for i, target in enumerate(_at(when)):
            single = _single(log, target, year)
            kept = np.searchsorted(index, single["index"])
            found = {name: p[kept, i] for name, p in curves.items()}
            parts.append(single.assign(**found))
    return pooled(parts)


def _single(log: Log, target: Target, year: int) -> pd.DataFrame:
    """Rivals that answer one horizon each."""
    found = rivals(log, target, [year])
    table = pd.DataFrame(
        {
            "target": target.name,
            "index": found.index,
            "base rate": found.base,
            "naive cell": found.naive,
            "LightGBM untuned": found.untuned,
        }
    )
    if HAS_CATBOOST:
        rows = log.rows(target)
        train = rows.before(year, target.days)
        y = rows.label(target.days)[train]
        table["CatBoost"] = catboost(rows.X[train], y, rows.X.iloc[found.index])
    return table


def _recovered(
    model: PaymentModel,
    ledger: co.Ledger,
    log: Log,
    table: pd.DataFrame,
    target: Target,
    year: int,
) -> dict[str, np.ndarray]:
    """Share of everything open, the penalty included, that is recovered: expected, and seen.

    Asked at the midnight after the day of the penalty: the penalty is due on its own day, so that
    then all of the case is past due. Beside it the mean share of the training rows.
    """
    days = [float(target.days)]
    after = co.Snapshot.from_rows(ledger, _next_day(table[["account_id", "as_of"]]))
    end = str((log.end + pd.Timedelta(days=1)).date())
    rows = log.rows(target)
    past = named(rows, np.flatnonzero(rows.before(year, target.days + 1)), target.at)
    told = co.Snapshot.from_rows(ledger, _next_day(past[["account_id", "as_of"]]))
    mean = np.nanmean(labels.shares(told, "account", f"{year}-01-01", days))
    asked = model.predict(after, horizons=(f"{target.days}D",), level="account", quantiles=())
    return {
        "open": asked.open_amount,
        "share": labels.shares(after, "account", end, days)[:, 0],
        "share_expected": asked.share[:, 0],
        "mean share": np.full(len(table), mean),
    }


def _next_day(rows: pd.DataFrame) -> pd.DataFrame:
    """Ask a local day later, clock changes and all."""
    local = rows["as_of"].dt.tz_convert(TIMEZONE) + pd.DateOffset(days=1)
    return rows.assign(as_of=local.dt.tz_convert("UTC"))


# -- lines -------------------------------------------------------------------------------------


def judge(mine: list[pd.DataFrame], theirs: list[pd.DataFrame]) -> tuple[list[Line], list[Score]]:
    """Pool the years; every bar of the fines, and the scores of all forecasters."""
    a, b = pooled(mine), pooled(theirs)
    keys = ["target", "index"]
    table = a.merge(b, on=keys, validate="one_to_one")
    if not len(table) == len(a) == len(b):
        raise RuntimeError("the library and its rivals were asked about different rows")
    names = [name for name in b if name not in keys]
    lines, found = [], []
    for target in ASKED:
        rows = table[table["target"] == target.name]
        forecasts = {name: rows[name].to_numpy() for name in (*names, "shrunken rate", OWN)}
        y, account = rows["y"].to_numpy(), rows["account_id"].to_numpy()
        all_ = scores(PART, target.name, y, forecasts, account, OWN)
        found += all_
        lines += judged(all_, *BARS[target.name], PART)
        lines.append(Line(PART, target.name, "ECE", all_[-1].ece, _calibrated(target.days)))
    lines += _coverages(table)
    for name in SHARES:
        lines += _shares(table[table["target"] == name], name)
    return lines, found


def _coverages(table: pd.DataFrame) -> list[Line]:
    """Coverage by the event that is asked at, and of all together: those who paid in a year."""
    rows = table[table["covered"].notna()].assign(over=True)
    by = [(at, rows[rows["target"].str.startswith(at)], None) for at in WHEN]
    figure = "coverage of 80 %, paid in a year"
    return [
        replace(coverage(PART, name, some, bar), figure=figure, beside=f"{len(some):,} payers")
        for name, some, bar in (*by, ("all", rows, COVERAGE))
    ]


def _shares(rows: pd.DataFrame, name: str) -> list[Line]:
    """Error of the share recovered, and bias of the EUR of all years."""
    rows = rows[rows["share"].notna()]
    share, amount = rows["share"], rows["open"]
    error, bias = SHARES[name]

    def missed(p: pd.Series) -> float:
        return float((p - share).abs().mean())

    def biased(p: pd.Series) -> float:
        return float((p * amount).sum() / (share * amount).sum() - 1.0)

    ours, mean = rows["share_expected"], rows["mean share"]
    return [
        Line(PART, name, "share recovered, MAE", missed(ours), Bar(high=error),
             f"mean share {short(missed(mean))}"),
        Line(PART, name, "share recovered, EUR bias", biased(ours), Bar(-bias, bias),
             f"mean share {short(biased(mean))}"),
    ]  # fmt: skip
