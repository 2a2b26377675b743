"""Why accounts are late: the model's reasons against the types that the simulator knows.

For every industry and seed one book. Its accounts past due at the end of the log are asked about:

* ``AUC``: each reason against the rest; ``days``: the single rule "the longer past due, the more
  likely cannot", against P(cannot) of the model;
* ``log loss`` of the reasons: the model, which never saw a label; the shares of another book of
  that kind, which somebody would have had to label; a LightGBM of all features told the truth of
  that other book (the ceiling);
* ``ECE`` of P(distress), ten bins of equal width, and the share of accounts in distress.

Types stand for reasons: punctual and forgetful = forgot, slow = cash flow, distressed = cannot,
strategic = will not. Distress is the type distressed, or slow while money is short. Process errors
happen to every type, so none stands for them; what the model gives them counts against it.

``--routing`` plays the policy with and without the rule DISTRESS on common luck instead.

    python benchmarks/delays.py [--accounts 3000] [--seeds 3] [--first 200] [--routing] [--weeks 26]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import collectopt as co
from collectopt.features import compute
from collectopt.models import DelayModel, DelayReason
from collectopt.rules import Rules

INDUSTRIES = ("shop", "subscription", "utility", "b2b", "telco")
REASONS = tuple(DelayReason)
TYPES = {
    "punctual": DelayReason.FORGOT,
    "forgetful": DelayReason.FORGOT,
    "slow": DelayReason.CASH_FLOW,
    "distressed": DelayReason.CANNOT,
    "strategic": DelayReason.WILL_NOT,
    "disputing": DelayReason.DISPUTE,
    "unreachable": DelayReason.UNREACHABLE,
}
KNOWN = tuple(dict.fromkeys(TYPES.values()))
ROUTED = ("shop", "telco")
REPLICATES = 3
FIGURES = ("net_value", "collected", "cost", "contacts", "complaints", "harshness")
_FLOOR = 1e-4


@dataclass(frozen=True)
class Labelled:
    """Accounts past due of one book: features, true reason and distress."""

    snapshot: co.Snapshot
    features: pd.DataFrame
    reason: np.ndarray  # (n,) position in REASONS
    distress: np.ndarray  # (n,) bool


def labelled(book: co.simulation.Book) -> Labelled:
    """Take the accounts past due at the end of the log, with what the simulator knows of them."""
    snapshot = co.Snapshot(book.ledger(), book.as_of)
    claims = snapshot.claims
    late = claims["row"].to_numpy()[claims["past_due"].to_numpy(zero_copy_only=False)]
    snapshot = snapshot.take(np.unique(late))
    order = {name: i for i, name in enumerate(book.truth.account_id)}
    place = np.array([order[name] for name in snapshot.rows["account_id"].to_pylist()])
    reason = np.array([REASONS.index(TYPES[name]) for name in book.truth.type[place]])
    tight = book.truth.tight[place] & (reason == REASONS.index(DelayReason.CASH_FLOW))
    features = compute(snapshot).to_pandas().drop(columns=["month"])
    return Labelled(snapshot, features, reason, tight | (reason == cannot()))


def cannot() -> int:
    """Column of the reason "cannot"."""
    return REASONS.index(DelayReason.CANNOT)


@dataclass(frozen=True)
class Score:
    """How well one book's reasons were told."""

    n: int
    auc: dict[str, float]
    ceiling: dict[str, float]
    days: float
    model_loss: float
    base_loss: float
    ceiling_loss: float
    ece: float
    share: float
    believed: float


def score(kind: str, accounts: int, seed: int) -> Score:
    """Score the model on one book; another book of the kind teaches the ceiling."""
    book = co.simulation.Book(kind, accounts=accounts, seed=seed)
    here = labelled(book)
    there = labelled(co.simulation.Book(kind, accounts=accounts, seed=seed + 10_000))
    found = DelayModel().fit(book.ledger(), book.as_of).predict(here.snapshot)
    supervised = told(there, here)
    base = (np.bincount(there.reason, minlength=len(REASONS)) + 1.0)[None, :]
    base = np.repeat(base / base.sum(), len(here.reason), axis=0)
    return Score(
        n=len(here.reason),
        auc=aucs(found.posterior, here.reason),
        ceiling=aucs(supervised, here.reason),
        days=float(roc_auc_score(here.reason == cannot(), here.features["days_past_due"])),
        model_loss=log_loss(found.posterior, here.reason),
        base_loss=log_loss(base, here.reason),
        ceiling_loss=log_loss(supervised, here.reason),
        ece=calibration_error(found.distress, here.distress),
        share=float(here.distress.mean()),
        believed=float(found.distress.mean()),
    )


def told(there: Labelled, here: Labelled) -> np.ndarray:
    """Probabilities by a LightGBM that was told the reasons of another book."""
    columns = [
        name
        for name in there.features
        if name in here.features and there.features[name].dtype.kind == "f"
    ]
    settings = {
        "objective": "multiclass", "num_class": len(REASONS), "learning_rate": 0.05,
        "num_leaves": 8, "min_data_in_leaf": 15, "feature_fraction": 0.5, "verbosity": -1,
        "num_threads": 1, "seed": 0,
    }  # fmt: skip
    data = lgb.Dataset(there.features[columns], label=there.reason)
    model = lgb.train(settings, data, num_boost_round=80)
    return np.asarray(model.predict(here.features[columns], num_threads=1))


def aucs(p: np.ndarray, reason: np.ndarray) -> dict[str, float]:
    """AUC of each reason against the rest; nan where a book has none or nothing else."""
    found = {}
    for each in KNOWN:
        truth = reason == REASONS.index(each)
        mixed = 0 < truth.sum() < len(truth)
        found[each.value] = (
            float(roc_auc_score(truth, p[:, REASONS.index(each)])) if mixed else float("nan")
        )
    return found


def log_loss(p: np.ndarray, reason: np.ndarray) -> float:
    """Mean log loss, probabilities cut at 1e-4."""
    return float(-np.log(np.maximum(p[np.arange(len(reason)), reason], _FLOOR)).mean())


def calibration_error(p: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width."""
    which = np.clip((p * bins).astype(int), 0, bins - 1)
    gaps = [abs(p[which == b].sum() - y[which == b].sum()) for b in range(bins)]
    return float(np.sum(gaps) / len(p))


def print_scores(accounts: int, seeds: range) -> None:
    """Print the tables, means over seeds with standard errors of the mean."""
    scores = {kind: [score(kind, accounts, seed) for seed in seeds] for kind in INDUSTRIES}
    names = [reason.value for reason in KNOWN]
    print("AUC of each reason against the rest: model (ceiling)")
    print(f"| book | past due | {' | '.join(names)} | days, for cannot |")
    print("|---" * (len(names) + 3) + "|")
    for kind, found in scores.items():
        top = {name: np.mean([s.ceiling[name] for s in found]) for name in names}
        cells = [f"{mean([s.auc[name] for s in found])} ({top[name]:.2f})" for name in names]
        size = round(float(np.mean([s.n for s in found])))
        print(f"| {kind} | {size} | {' | '.join(cells)} | {mean([s.days for s in found])} |")
    print("\n| book | log loss | shares | ceiling | ECE of distress | in distress | believed |")
    print("|---|---|---|---|---|---|---|")
    for kind, found in scores.items():
        columns = ("model_loss", "base_loss", "ceiling_loss", "ece", "share", "believed")
        print(f"| {kind} | {' | '.join(mean([getattr(s, c) for s in found]) for c in columns)} |")


def mean(values: list[float]) -> str:
    """Mean and standard error."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"


def print_routing(accounts: int, seeds: range, weeks: int) -> None:
    """Print what the rule DISTRESS changes, paired by replicate, with and without its doubt."""
    for kind in ROUTED:
        for seed in seeds:
            book = co.simulation.Book(kind, accounts=accounts, seed=seed)
            rules = Rules.from_catalogue(book.catalogue).without(["DISTRESS"])
            sure = book.catalogue.house.model_copy(update={"doubt": 1.0})
            policies = {
                "without": co.NextBestAction(book.catalogue, rules=rules),
                "distress": co.NextBestAction(book.catalogue.model_copy(update={"house": sure})),
                "with": co.NextBestAction(book.catalogue),
            }
            ledger = book.ledger()
            fitted = {name: each.fit(ledger, book.as_of) for name, each in policies.items()}
            result = book.run(fitted, weeks=weeks, seeds=REPLICATES)
            base = result.table.set_index("policy").loc["without"]
            difference = result.difference("without")
            print(f"\n{kind}, seed {seed}; without the rule: net {base['net_value']:,.0f} EUR")
            shown = difference[difference["figure"].isin(FIGURES)]
            print(shown.to_string(index=False, float_format="{:,.3f}".format), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--accounts", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--routing", action="store_true")
    parser.add_argument("--weeks", type=int, default=26)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.routing:
        print_routing(options.accounts, seeds, options.weeks)
    else:
        print_scores(options.accounts, seeds)


if __name__ == "__main__":
    main()
