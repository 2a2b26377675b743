"""What each account seems to prefer: channels, hours, weekdays, tones, offers, payment methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import beta

from collectopt.exceptions import InputError
from collectopt.models.reach import ReachModel
from collectopt.policy.effects import Effects
from collectopt.policy.engine import Bools, Floats, Ints
from collectopt.rules.layout import Layout
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import INSTANT

_Z = 1.6448536269514722  # of 90 % intervals
_TIMED = ("hour", "weekday")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_METHODS = """
select account, method, count(*) as n from payments
where cents > 0 and method is not null and known_at < {cut} group by all
"""


def preferences(snapshot: Snapshot, catalogue: Catalogue, effects: Effects) -> pd.DataFrame:
    """Rank what could be done for each account; see `NextBestAction.preferences`."""
    times = np.unique(snapshot.as_of)
    if len(times) > 1:
        found = f"{len(times)} times"
        raise InputError.of("snapshot", "as_of", expected="one time for all rows", found=found)
    if not len(snapshot):
        return _finished([], snapshot)
    account = snapshot.rows["account"].to_numpy().astype(np.int64)
    # an array of the UTC time is no local date: hand over the moment as it is
    reach = ReachModel().fit(snapshot.ledger, _moment(times[0])).reach_
    state = State.of(snapshot, catalogue, Layout.of(catalogue.actions))
    told = None if reach is None else reach.by_level(account)
    parts = [
        *_of_contacts(snapshot, catalogue, effects, told, state),
        _methods(snapshot, account, times[0]),
    ]
    return _finished(parts, snapshot)


def _moment(at: np.datetime64) -> Any:
    return (
        pa.scalar(at.astype("datetime64[us]").item()).cast(pa.timestamp("us")).cast(INSTANT).as_py()
    )


def _of_contacts(
    snapshot: Snapshot,
    catalogue: Catalogue,
    effects: Effects,
    told: pd.DataFrame | None,
    state: State,
) -> list[pd.DataFrame]:
    """Effects of a contact by level, times what the account's own reactions say of the level."""
    n = len(snapshot)
    learnt = effects.by_level(snapshot, catalogue.actions)
    allowed = (state.consent != 0) & ~state.opted_out
    parts = []
    for family, level, effect, stderr in learnt:
        ratio, spread, count = _relative(told, family, level, n)
        middle = effect * ratio
        error = np.sqrt((stderr * ratio) ** 2 + (middle**2) * spread)
        free = np.ones(n, dtype=bool)
        if family == "channel":
            free = allowed[:, catalogue.channel_names.index(level)]
        parts.append(_rows(family, level, (middle, middle - _Z * error, middle + _Z * error), count,
                           unit=effects.unit, allowed=free, reach=ratio))  # fmt: skip
    average = next(((e, s) for f, _, e, s in learnt if f == "contact"), None)
    if told is not None and average is not None:
        for day, name in enumerate(_WEEKDAYS):
            ratio, spread, count = _relative(told, "weekday", str(day), n)
            middle = average[0] * ratio
            error = np.sqrt((average[1] * ratio) ** 2 + (middle**2) * spread)
            parts.append(_rows("weekday", name, (middle, middle - _Z * error, middle + _Z * error),
                               count, unit=effects.unit, reach=ratio))  # fmt: skip
    return [part for part in parts if part["family"].iloc[0] != "contact"]


def _relative(
    told: pd.DataFrame | None, family: str, level: str, n: int
) -> tuple[Floats, Floats, Ints]:
    """Tell how much better than usual accounts are reached, variance of the log, and a count."""
    if told is None:
        return np.ones(n), np.zeros(n), np.zeros(n, dtype=np.int64)
    key = str(int(level.split(":", maxsplit=1)[0])) if family == "hour" else level
    rows = told[(told["family"] == family) & (told["level"].astype(str) == key)]
    if len(rows) != n:
        return np.ones(n), np.zeros(n), np.zeros(n, dtype=np.int64)
    chance = rows["chance"].to_numpy(dtype=np.float64)
    usual = max(float(chance.mean()), 1e-9)
    high, low = (rows[name].to_numpy(dtype=np.float64) for name in ("high", "low"))
    spread = np.log(np.maximum(high, 1e-9) / np.maximum(low, 1e-9)) / (2.0 * _Z)
    count = np.round(rows["observations"].to_numpy(dtype=np.float64)).astype(np.int64)
    return chance / usual, spread**2, count


def _rows(
    family: str,
    level: str,
    numbers: tuple[Floats, Floats, Floats],
    observations: Ints,
    *,
    unit: str,
    allowed: Bools | None = None,
    reach: Floats | None = None,
) -> pd.DataFrame:
    effect, low, high = numbers
    return pd.DataFrame(
        {
            "row": np.arange(len(effect)),
            "family": family,
            "level": level,
            "effect": effect,
            "low": low,
            "high": high,
            "unit": unit,
            "observations": observations,
            "reach": np.ones(len(effect)) if reach is None else reach,
            "allowed": np.ones(len(effect), dtype=bool) if allowed is None else allowed,
        }
    )


def _methods(snapshot: Snapshot, account: Ints, at: np.datetime64) -> pd.DataFrame:
    """Shares of the account's payments by method, drawn to those of the book."""
    payments = snapshot.ledger.timeline.payments.select(["account", "method", "cents", "known_at"])
    cut = f"TIMESTAMPTZ '{at}+00'"
    table = query(_METHODS.format(cut=cut), {"payments": payments})
    names = sorted(pc.unique(table["method"]).to_pylist())
    if not names:
        return _rows("payment_method", "", (np.zeros(0),) * 3, np.zeros(0, np.int64), unit="")
    count = np.zeros((len(snapshot.ledger.accounts), len(names)))
    code = np.array([names.index(m) for m in table["method"].to_pylist()])
    count[table["account"].to_numpy(), code] = table["n"].to_numpy()
    book = (count.sum(axis=0) + 0.5) / (count.sum() + 0.5 * len(names))
    size = _alike(count)
    mine = count[account]
    a = mine + size * book
    b = mine.sum(axis=1, keepdims=True) + size - a
    mean = a / (a + b)
    low, high = np.minimum(beta.ppf(0.05, a, b), mean), np.maximum(beta.ppf(0.95, a, b), mean)
    return pd.concat(
        [
            _rows("payment_method", name, (mean[:, k], low[:, k], high[:, k]),
                  mine[:, k].astype(np.int64), unit="share of payments")
            for k, name in enumerate(names)
        ],
        ignore_index=True,
    )  # fmt: skip


def _alike(count: Floats) -> float:
    """Weight of the book's shares: how seldom two payments of an account are by one method."""
    n = count.sum(axis=1)
    many = n >= 2
    if many.sum() < 10:
        return 2.0
    pairs = float((n[many] * (n[many] - 1.0)).sum())
    same = float((count[many] * (count[many] - 1.0)).sum()) / pairs
    book = count.sum(axis=0) / count.sum()
    chance = float((book**2).sum())
    rho = float(np.clip((same - chance) / max(1.0 - chance, 1e-9), 0.01, 0.98))
    return (1.0 - rho) / rho


def _finished(parts: list[pd.DataFrame], snapshot: Snapshot) -> pd.DataFrame:
    columns = ["account_id", "family", "rank", "level", "effect", "low", "high", "unit",
               "observations", "allowed"]  # fmt: skip
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True)
    ids = snapshot.rows["account_id"].to_numpy(zero_copy_only=False)
    table["account_id"] = ids[table["row"].to_numpy()]
    # where effects are alike, who is reached decides
    order = {"row": True, "family": True, "allowed": False, "effect": False, "reach": False,
             "level": True}  # fmt: skip
    table = table.sort_values(list(order), ascending=list(order.values()), kind="stable")
    table["rank"] = table.groupby(["row", "family"], sort=False).cumcount() + 1
    return table[columns].reset_index(drop=True)
