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
# # From the first payment to the forecast
#
# One book from its raw history to dated, calibrated cash: what a claim's life looks like, what the
# model learns from it, how far its chances can be trusted, why it says what it says, and what will
# come in over the next weeks. With the road traffic fines in `COLLECTOPT_DATA` this is a real book
# of eleven years (cite M. de Leoni and F. Mannhardt, 4TU.ResearchData,
# doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5); otherwise a simulated shop, and then every
# number is simulated.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import collectopt as co
from collectopt.evaluation import backtest, plots_payment, rolling_cuts, survival

ACCOUNTS = int(os.environ.get("PAYMENTS_ACCOUNTS", "3000"))
REAL = (Path(os.environ.get("COLLECTOPT_DATA", "nowhere")) / "road_traffic_fines").is_dir()

if REAL:
    from collectopt.integrations import fines

    ledger, as_of, event, step = fines.ledger(), "2011-01-01", "any", "365D"
    horizons = ("30D", "90D", "180D")
else:
    book = co.simulation.Book("shop", accounts=ACCOUNTS, weeks=80)
    ledger, as_of, event, step = book.ledger(), str(book.as_of.date()), "full", "91D"
    horizons = ("30D", "60D", "90D")
print("real: road traffic fines" if REAL else "SIMULATED shop")
ledger

# %% [markdown]
# ## 1. One account, from the first claim to the last payment

# %%
paid = ledger.payments.to_pandas()
customer = paid.groupby("account_id").size().sort_values(ascending=False).index[5]
rows = [("invoices", "issued_on"), ("contacts", "sent_at"), ("payments", "paid_at")]
story = []
for name, when in rows:
    table = ledger.table(name).to_pandas()
    table = table[table["account_id"] == customer]
    if name == "contacts":
        table = table[table["channel"] != "none"]
    said = table["channel"] if name == "contacts" else table["amount"].map("{:,.2f}".format)
    dates = pd.to_datetime(table[when], utc=True)
    story += [(date, name[:-1], one) for date, one in zip(dates, said, strict=True)]
pd.DataFrame(sorted(story), columns=["when", "what", "how much, or how"]).head(12)

# %% [markdown]
# ## 2. How a book pays: the share of claims paid by their age
#
# Open claims are censored, never "not paid": each point counts the claims watched for so long.

# %%
sample = co.models.labels.landmarks(ledger, as_of, "invoice", limit=20_000)
outcome = co.models.labels.durations(sample, "any", "invoice", as_of)
new = np.flatnonzero(co.models.labels.ages(sample) < 1.0)
curve = survival.kaplan_meier(outcome.days[new], outcome.event[new])
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.step(curve.times, 1 - curve.surviving, where="post")
ax.set(xlim=(0, 200), ylim=(0, 1), xlabel="days since issue", ylabel="first payment has come")
ax.set_title("How a claim is paid over its first 200 days")
plt.show()

# %% [markdown]
# ## 3. The model, tested through time
#
# Fitted at past cuts, asked about the time after them, judged by what came, beside the shrunken
# rate of the same customer and the base rate.

# %%
split = rolling_cuts(ledger, n=2, every=step, horizon=horizons[-1], dates=4, end=as_of)
result = backtest(
    lambda: co.models.PaymentModel(event=event, levels=("account",), max_rows=60_000),
    ledger,
    split,
    horizons=horizons,
)
result

# %%
result.gains

# %%
result.plot_reliability()

# %% [markdown]
# Calibration is a matter of level, too. Predicted against observed by quarter; the band is where a
# calibrated forecast would see the quarter, given that customers and quarters hang together.

# %%
result.drift[["horizon", "quarter", "n", "predicted", "observed", "flag"]]

# %%
result.plot_drift()

# %% [markdown]
# ## 4. Today's open claims
#
# One model answers every horizon; the chance never falls with time. Ten customers, from the least
# to the most likely to pay within 90 days:

# %%
model = co.models.PaymentModel(event=event, levels=("account", "invoice"), max_rows=60_000)
model = model.fit(ledger, as_of=as_of)
snapshot = co.Snapshot(ledger, as_of=as_of)
soon = model.predict(snapshot, horizons=("90D",), quantiles=()).p_paid[:, 0]
wanted = np.linspace(soon.min(), soon.max(), 10)
some = snapshot.take(np.unique([np.abs(soon - chance).argmin() for chance in wanted]))
grid = tuple(f"{d}D" for d in (1, 3, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365))
plots_payment.survival(model.predict(some, horizons=grid))

# %%
model.predict(some, horizons=("30D", "90D"))

# %% [markdown]
# ## 5. Why
#
# Reason codes come from the trees themselves, summed over the days up to the horizon; together they
# add up to the forecast. They are associations, not effects of doing something.

# %%
few = snapshot.take(np.unique(np.linspace(0, len(snapshot) - 1, 400).astype(int)))
why = co.models.reasons(model, few, "30D")
print(why.explain(few.rows["account_id"][7].as_py()))

# %%
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on a missing progress bar
    import shap

shap.plots.beeswarm(why.to_shap(), max_display=12, show=False)
plt.gcf().set_size_inches(8, 5)
plt.show()

# %%
shap.plots.waterfall(why.to_shap()[7], max_display=10, show=False)
plt.gcf().set_size_inches(8, 4.5)
plt.show()

# %% [markdown]
# ## 6. Before the due date
#
# The same model, asked about claims that are not due yet: who will probably be late?

# %%
late_model = model
if event != "full":
    late_model = co.models.PaymentModel(levels=("invoice",), max_rows=60_000).fit(ledger, as_of)
late = co.models.late_risk(late_model, snapshot)
late.top(10)

# %% [markdown]
# ## 7. Cash by week
#
# The open book, claim by claim, with a band that honours chance and the shocks of the calendar.

# %%
flows = co.models.CashFlowModel(
    lambda: co.models.PaymentModel(event=event, levels=("invoice",), max_rows=30_000),
    weeks=13,
    cuts=4,
    every="91D",
).fit(ledger, as_of)
flow = flows.predict(snapshot, rng=0)
flow.plot()

# %%
flow
