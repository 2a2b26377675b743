"""Score every action for every account: factors beside one prediction an account and action.

A model of effects is fitted on a simulated trial; then the best of about 1,000 factored actions is
found for 100,000 accounts with 40 features, block after block. Beside it, for 60 actions: the
natural way, a LightGBM that sees features and action, asked for each pair. One thread.

The bars: at most 3 s and 500 MB for the whole process; at least 50 times faster than the
natural way. Exit code 1 below.

    python benchmarks/scoring.py [--accounts 100000]
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np

import collectopt as co

CHANNELS, TONES = ("email", "sms", "letter", "phone"), ("friendly", "neutral", "firm")
SECONDS, MEGABYTES, TIMES = 3.0, 500.0, 50.0
LEARN, FEATURES, FEW = 20_000, 40, 60


def catalogue() -> co.ActionSet:
    """1,008 contacts (4 channels x 3 tones x 2 offers x 6 hours x 7 days), and to wait."""
    contacts = [
        {"channel": c, "tone": t, "offer": o, "hour": h, "day": d}
        for c in CHANNELS
        for t in TONES
        for o in ("none", "instalments")
        for h in (8.0, 10.0, 12.0, 15.0, 18.0, 19.5)
        for d in range(7)
    ]
    return co.ActionSet.from_frame([{"channel": "none"}, *contacts])


def trial(actions: co.ActionSet, rng: np.random.Generator):
    """Log with known propensities, and effects that depend on the first column."""
    X = rng.normal(size=(LEARN, FEATURES)).astype(np.float32)
    action = np.where(rng.random(LEARN) < 0.5, 0, rng.integers(1, len(actions), LEARN))
    p = np.where(action == 0, 0.5, 0.5 / (len(actions) - 1))
    effect = (action > 0) * (0.1 + 0.05 * X[:, 0])
    y = (rng.random(LEARN) < np.clip(0.4 + 0.1 * X[:, 1] + effect, 0, 1)).astype(float)
    return X, y, action, p


def megabytes() -> float:
    """Most memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def own(model: co.models.ResponseModel, X: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Best action of each account for 100 EUR open."""
    best = np.empty(len(X), dtype=np.int64)
    for rows, effects in model.effect_blocks(X):
        value = np.multiply(effects, 100.0, out=effects)
        best[rows] = np.subtract(value, cost, out=value).argmax(axis=1)
    return best


def natural(X: np.ndarray, y: np.ndarray, action: np.ndarray, asked: np.ndarray) -> float:
    """Seconds of one prediction an account and action, for few actions."""
    rows = np.column_stack([X, action % FEW])
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 31}
    model = lgb.train(settings, lgb.Dataset(rows, label=y), num_boost_round=100)
    began = time.perf_counter()
    best, value = np.zeros(len(asked)), np.full(len(asked), -np.inf)
    pairs = np.column_stack([asked, np.zeros(len(asked))])
    for k in range(FEW):
        pairs[:, -1] = k
        p = model.predict(pairs, num_threads=1)
        best, value = np.where(p > value, k, best), np.maximum(p, value)
    return time.perf_counter() - began


def people(accounts: int) -> np.ndarray:
    """Features of the accounts that are asked about."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(accounts, FEATURES)).astype(np.float32)


def scored(folder: str, accounts: int) -> tuple[float, float, float]:
    """Seconds for all actions, most megabytes of the process, seconds for few; in a new process."""
    model, actions, asked = co.models.ResponseModel.load(folder), catalogue(), people(accounts)
    cost = np.array([0.0, *np.repeat([0.05, 0.09, 1.2, 4.5], (len(actions) - 1) // 4)])
    own(model, asked[:1000], cost)
    began = time.perf_counter()
    own(model, asked, cost)
    seconds, peak = time.perf_counter() - began, megabytes()
    assert model.factors is not None
    model.factors = dataclasses.replace(model.factors, phi=model.factors.phi[:FEW])
    began = time.perf_counter()
    own(model, asked, cost[:FEW])
    return seconds, peak, time.perf_counter() - began


def main() -> None:
    """Print both; exit with 1 below the bars."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    options = parser.parse_args()
    actions = catalogue()
    X, y, action, p = trial(actions, np.random.default_rng(0))
    model = co.models.ResponseModel(room=True)
    model.fit(X, y, action=action, actions=actions, propensity=p)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, context) as pool:
        model.save(folder)
        seconds, peak, sixty = pool.submit(scored, folder, options.accounts).result()
    rival = natural(X, y, action, people(options.accounts))
    times = rival / sixty
    head = f"| {options.accounts:,} |"
    print("| accounts | actions | way | s | MB, whole process |")
    print("|---|---|---|---|---|")
    print(f"{head} {len(actions):,} | factors | {seconds:.2f} | {peak:.0f} |")
    print(f"{head} {FEW} | factors | {sixty:.2f} | |")
    print(f"{head} {FEW} | LightGBM, each pair | {rival:.1f} | |")
    print(f"ratio for {FEW} actions: {times:.0f}")
    held = seconds <= SECONDS and peak <= MEGABYTES and times >= TIMES
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
