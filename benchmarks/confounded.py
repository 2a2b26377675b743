"""What a contact does when staff chose by what the log does not show: naive readings and others.

In the simulated book "confounded" contacts go to those whom the staff believe to be bad payers,
by a hunch that no column shows; the ledger has no propensities. Printed is the effect of the
average contact on the chance that everything past due is paid within 28 days, as read by

* the difference of contacted and not contacted decisions;
* a regression on the number of contacts of the last 30 days;
* an S-learner (LightGBM of features and "was contacted");
* ResponseModel with propensities unknown: it holds only if the features explain the choices;
* ResponseModel with the true propensities, which an engine that logs them would have.

Beside it the truth: both outcomes of every account that may be contacted at the end of the log, by
channel, in the mix of the log. Everything is simulated.

    python benchmarks/confounded.py [--accounts 6000] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np

import collectopt as co
from collectopt.models import ResponseModel
from collectopt.policy.panel import decision_panel
from collectopt.schema.times import to_instant


@dataclass(frozen=True)
class Reading:
    """An effect in points, with its standard error where there is one."""

    name: str
    points: float
    stderr: float = float("nan")


def readings(accounts: int, seed: int) -> list[Reading]:
    """Read the effect of a contact off one book in all ways; the truth comes last."""
    book = co.simulation.Book("confounded", accounts=accounts, seed=seed)
    log, names = logged(book)
    kept = log.observed
    X, y, who = log.X[kept], log.reward[kept], log.account[kept]
    action, chance = log.action[kept], log.propensity[kept]
    contact = (action > 0).astype(float)
    found = [
        Reading("difference of means", float(y[contact > 0].mean() - y[contact == 0].mean())),
        Reading("regression on contacts", slope(X[:, names.index("contacts_30")], y)),
        Reading("S-learner", s_learner(X, contact, y)),
    ]
    for name, propensity in (("unknown", None), ("true", chance)):
        model = ResponseModel(individual=False, folds=3).fit(
            X, y, action=action, actions=log.actions, propensity=propensity, account=who
        )
        effect, error = float(model.theta[0]), float(model.stderr[0])
        found.append(Reading(f"ResponseModel, propensities {name}", effect, error))
    return [*found, truth(book, log.actions, action)]


def logged(book: co.simulation.Book) -> tuple[co.DecisionLog, tuple[str, ...]]:
    """Decisions of the log with the propensities that the ledger does not have."""
    ledger = book.ledger()
    contacts = ledger.contacts.to_pandas()
    factors = book.truth.propensities.to_pandas().set_index("contact_id")
    contacts["propensity"] = contacts["contact_id"].map(factors.prod(axis=1))
    told = co.Ledger.from_frames(
        accounts=ledger.accounts,
        invoices=ledger.invoices,
        payments=ledger.payments,
        contacts=contacts,
        responses=ledger.responses,
        holds=ledger.holds,
        timezone=ledger.timezone,
    )
    cut = to_instant(book.as_of, book.catalogue.timezone)
    log, matrix, _ = decision_panel(told, cut, horizon="28D", catalogue=book.catalogue)
    return log, matrix.names


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Regress one column on another."""
    return float(np.polyfit(x, y, 1)[0])


def s_learner(X: np.ndarray, contact: np.ndarray, y: np.ndarray) -> float:
    """Mean of what a LightGBM predicts with a contact, less without."""
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1, "learning_rate": 0.08}
    model = lgb.train(settings, lgb.Dataset(np.column_stack([X, contact]), label=y), 100)
    with_it = model.predict(np.column_stack([X, np.ones(len(X))]), num_threads=1)
    without = model.predict(np.column_stack([X, np.zeros(len(X))]), num_threads=1)
    return float(np.mean(with_it - without))


def truth(book: co.simulation.Book, actions: co.ActionSet, action: np.ndarray) -> Reading:
    """True effect of a contact of each channel at the end of the log, in the mix of the log."""
    share = np.bincount(actions.channel[action[action > 0]], minlength=len(actions.channels))
    share = share / share.sum()
    effects = [book.effect(channel) for channel in actions.channels]
    points = np.array([effect.mean for effect in effects])
    errors = np.array([effect.stderr for effect in effects])
    return Reading("truth", float(share @ points), float(np.sqrt(share**2 @ errors**2)))


def main() -> None:
    """Print the readings."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--accounts", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| reading | effect, points | SE |")
    print("|---|---|---|")
    for each in readings(options.accounts, options.seed):
        error = "" if np.isnan(each.stderr) else f"{100 * each.stderr:.2f}"
        print(f"| {each.name} | {100 * each.points:+.2f} | {error} |")


if __name__ == "__main__":
    main()
