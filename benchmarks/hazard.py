"""Speed and memory of HazardModel beside the person-period table that one would write by hand.

Run: OMP_NUM_THREADS=1 python benchmarks/hazard.py [--large]
Each line is a process of its own, one thread: seconds of CPU of the step, peak memory of the
process, and how many times more the peer takes. The peer lays every bin of every row in one pandas
table, fits LGBMClassifier on it with the same trees, and predicts bin by bin with predict_proba.
--large adds a fit of 1,000,000 rows; the peer's table is then only sized from its bins, not made.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import lightgbm as lgb
import numpy as np
import pandas as pd

from collectopt.models import HazardModel
from collectopt.models.cases import Cases
from collectopt.models.periods import Grid, default_due_edges, default_edges

FIT_ROWS, PREDICT_ROWS, LARGE_ROWS = 33_000, 100_000, 1_000_000
#: 18 bins.
EDGES = np.array([0, 1, 2, 3, 5, 7, 10, 14, 21, 28, 35, 45, 60, 75, 90, 120, 150, 180, 240.0])
HORIZONS = [30.0, 90.0, 180.0]
TREES = {"n_estimators": 150, "learning_rate": 0.06, "num_leaves": 15, "min_child_samples": 200}


def simulate(n: int, d: int, seed: int) -> dict[str, np.ndarray]:
    """One row a case: exponential days by two features, due dates around, random censoring."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, d), dtype=np.float32)
    for column in range(d):
        X[:, column] = rng.normal(size=n)
    X[:, -1] = rng.integers(0, 8, n)
    offset = rng.integers(-60, 45, n).astype(float)
    days = rng.exponential(60.0 * np.exp(0.6 * X[:, 0] - 0.4 * X[:, 1]))
    limit = rng.uniform(0.0, 700.0, n)
    start = np.datetime64("2024-01-01") + rng.integers(0, 700, n)
    return {
        "X": X,
        "duration": np.minimum(days, limit),
        "event": days < limit,
        "offset": offset,
        "start": start,
    }


def table_of(data: dict[str, np.ndarray], edges: np.ndarray) -> pd.DataFrame:
    """Every bin of every row, as one would write it in pandas."""
    cases = pd.DataFrame(data["X"]).add_prefix("x")
    for name in ("duration", "event", "offset", "start"):
        cases[name] = data[name]
    bins = pd.DataFrame({"lo": edges[:-1], "hi": edges[1:]})
    table = cases.merge(bins, how="cross")
    table = table[table["lo"] < table["duration"]]
    return with_clock(table)


def with_clock(table: pd.DataFrame) -> pd.DataFrame:
    day = table["start"] + pd.to_timedelta(table["lo"], unit="D")
    return table.assign(
        to_due=table["lo"] - table["offset"],
        weekday=day.dt.weekday,
        day=day.dt.day,
        month=day.dt.month,
    )


def inputs(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["duration", "event", "offset", "start", "hi"], errors="ignore")


def peer_fit(data: dict[str, np.ndarray], edges: np.ndarray) -> lgb.LGBMClassifier:
    table = table_of(data, edges)
    y = table["event"] & (table["duration"] < table["hi"])
    return lgb.LGBMClassifier(**TREES, n_jobs=1, verbosity=-1).fit(inputs(table), y)


def peer_predict(model: lgb.LGBMClassifier, data: dict[str, np.ndarray]) -> np.ndarray:
    frame = pd.DataFrame(data["X"]).add_prefix("x")
    frame["offset"], frame["start"] = data["offset"], data["start"]
    alive, out = np.ones(len(frame)), []
    for lo in EDGES[:-1]:
        asked = inputs(with_clock(frame.assign(lo=lo)))
        alive = alive * (1.0 - model.predict_proba(asked)[:, 1])
        out.append(1.0 - alive)
    return np.column_stack(out)


def our_fit(data: dict[str, np.ndarray], edges: np.ndarray | None) -> HazardModel:
    return HazardModel(edges, **TREES).fit(
        data["X"],
        data["duration"],
        data["event"],
        offset=data["offset"],
        start=data["start"],
        categorical=[data["X"].shape[1] - 1],
    )


def our_days_only(data: dict[str, np.ndarray]) -> HazardModel:
    """Without a due date there are 18 bins a row, as many as the peer has."""
    given = {name: data[name] for name in ("X", "duration", "event", "start")}
    return HazardModel(EDGES, **TREES).fit(**given, categorical=[data["X"].shape[1] - 1])


def run(case: str) -> dict[str, float]:
    """Do one case in this process."""
    if case.startswith("fit"):
        data = simulate(FIT_ROWS, 20, 0)
        step = peer_fit if case == "fit peer" else our_fit
        return timed(lambda: step(data, default_edges()))
    if case.startswith("predict"):
        train, new = simulate(5_000, 20, 0), simulate(PREDICT_ROWS, 20, 1)
        if case == "predict peer":
            model = peer_fit(train, EDGES)
            return timed(lambda: peer_predict(model, new))
        if case == "predict ours":
            ours = our_days_only(train)
            return timed(lambda: ours.predict_cumulative(new["X"], EDGES[1:], start=new["start"]))
        ours = our_fit(train, None)
        clock = {"offset": new["offset"], "start": new["start"]}
        return timed(lambda: ours.predict_cumulative(new["X"], HORIZONS, **clock))
    data = simulate(LARGE_ROWS, 30, 0)
    return timed(lambda: our_fit(data, None))


def timed(step) -> dict[str, float]:
    before = time.process_time()
    step()
    seconds = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0  # KiB on Linux
    return {"seconds": seconds, "mb": peak}


def apart(case: str) -> dict[str, float]:
    """Do one case in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--case", case], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def pair(title: str, ours: str, peer: str) -> None:
    a, b = apart(ours), apart(peer)
    print(f"{title}: {a['seconds']:.1f} s, {a['mb']:,.0f} MB", end="; ")
    print(f"peer {b['seconds']:.1f} s, {b['mb']:,.0f} MB", end="; ")
    print(f"peer / ours {b['seconds'] / a['seconds']:.1f} x time, {b['mb'] / a['mb']:.1f} x memory")


def peer_table_mb() -> float:
    """Size of the peer's table of the large case: its bins times its columns of 4 or 8 bytes."""
    data = simulate(LARGE_ROWS, 2, 0)
    cases = Cases(Grid(default_edges(), default_due_edges()), data["duration"], data["event"])
    bins = sum(len(part) for part in cases.bins())
    return bins * (30 * 4 + 10 * 8) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--case")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(run(given.case)))
        return
    pair(f"fit {FIT_ROWS:,} rows x 20", "fit ours", "fit peer")
    pair(f"predict {PREDICT_ROWS:,} rows x 18 bins", "predict ours", "predict peer")
    a = apart("predict due")
    print(f"predict {PREDICT_ROWS:,} rows, bins by due date, up to 180 days: {a['seconds']:.1f} s")
    if given.large:
        a = apart("large")
        print(f"fit {LARGE_ROWS:,} rows x 30: {a['seconds']:.1f} s, {a['mb']:,.0f} MB", end="; ")
        print(f"the peer's table alone: {peer_table_mb():,.0f} MB")


if __name__ == "__main__":
    main()
