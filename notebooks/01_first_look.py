# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first look: who pays when, and what to do about it
#
# The whole way once: a payment history goes in, tested probabilities and explained decisions come
# out. With the road traffic fines in `COLLECTOPT_DATA` this runs on a real dunning process,
# otherwise on a simulated shop whose log was drawn at random with known probabilities.

# %%
import os
from pathlib import Path

import numpy as np

import collectopt as co
from collectopt.evaluation import backtest, kpis, report, rolling_cuts
from collectopt.models import labels

ACCOUNTS = int(os.environ.get("FIRST_LOOK_ACCOUNTS", "2000"))
REAL = (Path(os.environ.get("COLLECTOPT_DATA", "nowhere")) / "road_traffic_fines").is_dir()

# %% [markdown]
# ## 1. The ledger
#
# Six tables: accounts, invoices, payments, contacts, responses, holds. Everything is checked when
# it is loaded; every fact carries the moment from which it was known, and nothing that is learnt
# or decided for a moment sees anything later.


# %%
def some_accounts(ledger, n):
    """Keep a random sample of the accounts, to be quick."""
    ids = np.random.default_rng(0).permutation(ledger.account_ids)[:n].tolist()
    names = ("accounts", "invoices", "payments", "contacts", "responses", "holds")
    tables = {name: ledger.table(name).to_pandas() for name in names}
    kept = {name: table[table["account_id"].isin(ids)] for name, table in tables.items()}
    return co.Ledger.from_frames(**kept, features=ledger.features, timezone=ledger.timezone)


if REAL:
    from collectopt.integrations import fines

    ledger, as_of = some_accounts(fines.ledger(), 10 * ACCOUNTS), "2011-01-01"
    split = rolling_cuts(ledger, n=2, every="365D", horizon="180D", dates=6, end=as_of)
    horizons = ("30D", "90D", "180D")
    catalogue = co.Catalogue.from_dict(
        {
            "channels": [{"name": "letter", "cost": 1.2, "hours": [8, 18]}],
            "tones": {"order": ["neutral", "firm"]},
            "slots": {"hours": [9]},
        }
    )
else:
    book = co.simulation.Book("shop", accounts=ACCOUNTS, seed=0)
    ledger, as_of, catalogue = book.ledger(), book.as_of, book.catalogue
    split = rolling_cuts(ledger, n=1, every="60D", horizon="56D", dates=2, end=as_of)
    horizons = ("14D", "28D", "56D")
ledger

# %% [markdown]
# How does the book stand? Recovery rates count only claims that have had the whole time, so a
# young book does not look worse than it is.

# %%
figures = kpis(ledger, as_of)
figures

# %% [markdown]
# ## 2. What is known about an account
#
# Each feature is declared once, with its unit and the columns it is made from, and computed for
# many accounts at many moments at once.

# %%
snapshot = co.Snapshot(ledger, as_of=as_of)
matrix = co.features.compute(snapshot)
print(f"{len(matrix.names)} features of {len(snapshot):,} accounts with open claims, such as")
print(str(co.features.describe())[:1400])

# %% [markdown]
# ## 3. Can the probabilities be trusted?
#
# Before anything is decided: fit on the past of a cut, predict after it, compare with what came.
# Claims that are still open when the data end are censored, never counted as unpaid. The two
# rivals cost nothing: the past rate of the same customer, shrunk to its segment, and the rate of
# the whole book. A model that does not beat them has learnt nothing worth having.
#
# Claims from long ago hardly ever move. Whoever keeps them in gets a splendid AUC for nothing, so
# only accounts whose oldest claim is at most half a year late are judged.


# %%
def payment_model():
    return co.models.PaymentModel(levels=("account",))


def young(snapshot):
    return -labels.due_offsets(snapshot) <= 180


result = backtest(payment_model, ledger, split, horizons, only=young)
result

# %% [markdown]
# Log-loss saved against the rivals, with intervals that allow for several predictions of one
# account. Bars that cross zero may be chance.

# %%
result.plot_gains()

# %% [markdown]
# Calibration: of those who get 30 %, do 30 % pay? Points on the dashed line say yes. This is what
# money is multiplied with later, so it matters more than the ranking.

# %%
result.plot_reliability()

# %% [markdown]
# ## 4. Decide
#
# The policy asks two questions of each account: how likely is it to pay if left alone, and how
# much does a contact change that? The second is learnt from logged contacts with known
# propensities only, for contacts go to those who pay worst, and a plain regression would conclude
# that reminders keep people from paying. If the log does not prove an effect the policy does not
# assume one: then it waits, but for the few accounts it draws to learn from.

# %%
payment = payment_model()
policy = co.NextBestAction(catalogue, payment=payment).fit(ledger, as_of=as_of)
decisions = policy.decide(ledger, as_of=as_of, rng=0)
decisions.counts()

# %%
table = decisions.to_pandas()
columns = ["account_id", "channel", "tone", "p_pay_if_wait", "uplift", "cost", "value"]
table.sort_values("value", ascending=False)[columns].head(8).round(3)

# %% [markdown]
# ## 5. Ask why
#
# Each decision says what it was worth, what came second, and which rules refused what.

# %%
first = table.sort_values(["value", "p_pay_if_wait"], ascending=[False, True])["account_id"].iloc[0]
print(decisions.explain(first))

# %% [markdown]
# The same account, seen by the payment model alone: how soon does the money come without us?

# %%
forecast = payment.predict(snapshot, horizons=horizons, level="account").to_pandas()
forecast[forecast["account_id"] == first].drop(columns=["invoice_id", "as_of"]).round(3)

# %% [markdown]
# ## 6. Take it with you
#
# One HTML file for those who were not here, and the fitted policy without pickle.

# %%
out = Path(os.environ.get("FIRST_LOOK_OUT", "demo/first_look"))
page = report(
    out / "report.html",
    title="A first look",
    backtest=result,
    kpis=figures,
    decisions=decisions,
    ledger=ledger,
)
policy.save(out / "policy")
again = co.load(out / "policy")
print(page.name, f"{page.stat().st_size / 1024:.0f} kB;", "policy", again.version)
