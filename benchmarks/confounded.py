"""What a contact does when staff chose by what the log does not show: naive readings and others.

In the simulated book "confounded" contacts go to those whom the staff believe to be bad payers,
by a hunch that no column shows; the ledger has no propensities. Printed is the effect of the
average contact on the chance that everything past due is paid within 28 days, as read by

* the difference of contacted and not contacted decisions;
* a regression on the number of contacts of the last 30 days;
* an S-learner (LightGBM of features and "was contacted");
* ResponseModel with propensities unknown: it holds only if the features explain the choices;
* ResponseModel with the true propensities, which an engine that logs them would have;
* ResponseModel on decisions rebuilt from a ledger that has neither propensities nor waits.

Beside it the truth: both outcomes of every account that may be contacted at the end of the log, by
channel, in the mix of the log. Below stands what is known of the rebuilt log: overlap, and bounds
of the effect if a hidden reason moved the odds of a contact up to Lambda times. The same follows
for the book "shop", where nothing is hidden, as the loss that missing propensities alone cause.
Everything is simulated.

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
from collectopt.policy.historic import Historic, historic_panel
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
    past = historic_panel(bare(book.ledger()), book.as_of, book.catalogue)
    found.append(rebuilt(past))
    return [*found, truth(book, log.actions, action)]


def rebuilt(past: Historic) -> Reading:
    """Read the effect off decisions that were rebuilt, with estimated propensities."""
    log, kept = past.log, past.log.observed
    model = ResponseModel(individual=False, folds=3).fit(
        log.X[kept],
        log.reward[kept],
        action=log.action[kept],
        actions=log.actions,
        propensity=log.propensity[kept],
        account=log.account[kept],
    )
    name = "ResponseModel, no propensities, no waits"
    return Reading(name, float(model.theta[0]), float(model.stderr[0]))


def bare(ledger: co.Ledger) -> co.Ledger:
    """Leave out propensities and waits, as most historic logs do."""
    contacts = ledger.contacts.to_pandas()
    contacts = contacts[contacts["channel"] != "none"].assign(propensity=np.nan)
    return co.Ledger.from_frames(
        accounts=ledger.accounts,
        invoices=ledger.invoices,
        payments=ledger.payments,
        contacts=contacts,
        responses=ledger.responses,
        holds=ledger.holds,
        timezone=ledger.timezone,
    )


def open_book(accounts: int, seed: int) -> list[Reading]:
    """Read the effect off a book that hides nothing, with propensities and without."""
    book = co.simulation.Book("shop", accounts=accounts, seed=seed)
    cut = to_instant(book.as_of, book.catalogue.timezone)
    log, _, _ = decision_panel(book.ledger(), cut, horizon="28D", catalogue=book.catalogue)
    kept = log.observed & (log.propensity < 1.0)
    model = ResponseModel(individual=False, folds=3).fit(
        log.X[kept],
        log.reward[kept],
        action=log.action[kept],
        actions=log.actions,
        propensity=log.propensity[kept],
        account=log.account[kept],
    )
    known = Reading(
        "ResponseModel, propensities true", float(model.theta[0]), float(model.stderr[0])
    )
    past = historic_panel(bare(book.ledger()), cut, book.catalogue)
    return [known, rebuilt(past), truth(book, log.actions, log.action[kept])]


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
    for kind, read in (("confounded", readings), ("shop", open_book)):
        print(f"\n| {kind}: reading | effect, points | SE |")
        print("|---|---|---|")
        for each in read(options.accounts, options.seed):
            error = "" if np.isnan(each.stderr) else f"{100 * each.stderr:.2f}"
            print(f"| {each.name} | {100 * each.points:+.2f} | {error} |")
        book = co.simulation.Book(kind, accounts=options.accounts, seed=options.seed)
        past = historic_panel(bare(book.ledger()), book.as_of, book.catalogue)
        bounds = past.sensitivity()
        print(f"\n{past.overlap}\n{bounds}\ncounted: {past.unusable(bounds) or 'yes'}")


if __name__ == "__main__":
    main()
