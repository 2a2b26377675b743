"""New customers: what their creditor and segment say, then more and more their own claims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from collectopt.features import compute
from collectopt.models import PaymentModel
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

CUT = np.datetime64("2024-01-01")
TERMS = 14
OLD, NEW, CLAIMS = 1600, 3000, 6
SPREAD = 1.2  # of accounts of one group, in log odds
DAY = np.timedelta64(1, "D")


@dataclass
class Market:
    """Old and new customers of two creditors, two types and two countries.

    `accounts` has group, mean (log odds of its group), p (P(a claim is paid by the due date)) and
    new; `claims` has the number of a claim of its account (0 = first), issued, days (from the
    midnight of issue to the payment) and late.
    """

    ledger: Ledger
    accounts: pd.DataFrame
    claims: pd.DataFrame

    def rows(self, claims):
        """Ask about claims on the midnight of their issue."""
        names = {"account_id": claims["account_id"], "invoice_id": claims["invoice_id"]}
        return Snapshot.from_rows(
            self.ledger, pd.DataFrame({**names, "as_of": claims["issued"].astype(str)})
        )


def make_market(seed=5):
    """Old customers have up to two years of claims; new ones have their first after the cut."""
    rng = np.random.default_rng(seed)
    n = OLD + NEW
    creditor, kind, country = (rng.random(n) < share for share in (0.5, 0.4, 0.5))
    centre = 0.2 + 1.0 * creditor + 0.8 * kind - 0.7 * country
    accounts = pd.DataFrame(
        {
            "account_id": [f"A{k:05d}" for k in range(n)],
            "customer_type": np.where(kind, "business", "consumer"),
            "country": np.where(country, "AT", "DE"),
            "creditor_id": np.where(creditor, "X", "Y"),
        }
    )
    truth = accounts.assign(
        group=4 * creditor + 2 * kind + country,
        mean=centre,
        p=expit(centre + SPREAD * rng.standard_normal(n)),
        new=np.arange(n) >= OLD,
    )
    claims = pd.concat([_old(rng), _new(rng)], ignore_index=True)
    m = len(claims)
    claims["late"] = rng.random(m) >= truth["p"].to_numpy()[claims["account"]]
    punctual = TERMS + 1.0 - 10.0 * rng.random(m) ** 2
    claims["days"] = np.where(claims["late"], TERMS + 1.0 + rng.exponential(25.0, m), punctual)
    claims["account_id"] = truth["account_id"].to_numpy()[claims["account"]]
    claims["invoice_id"] = [f"I{k:06d}" for k in range(m)]
    invoices = claims[["invoice_id", "account_id"]].assign(
        issued_on=claims["issued"].astype(str),
        due_on=(claims["issued"] + pd.Timedelta(days=TERMS)).astype(str),
        amount=np.round(rng.uniform(20, 200, m), 2),
        currency="EUR",
    )
    at = claims["issued"] + pd.to_timedelta(np.floor(claims["days"] * 86_400) - 1, unit="s")
    payments = invoices[["invoice_id", "account_id", "amount"]].assign(
        payment_id=claims["invoice_id"], paid_at=at.dt.tz_localize("UTC")
    )
    ledger = Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)
    return Market(ledger, truth, claims)


def _old(rng):
    count = rng.integers(2, 14, OLD)
    account = np.repeat(np.arange(OLD), count)
    issued = CUT - rng.integers(1, 730, len(account)) * DAY
    # And one claim after the cut.
    issued = np.r_[issued, CUT + rng.integers(0, 60, OLD) * DAY]
    return _numbered(np.r_[account, np.arange(OLD)], issued)


def _new(rng):
    account = np.repeat(np.arange(OLD, OLD + NEW), CLAIMS)
    first = np.repeat(rng.integers(0, 60, NEW), CLAIMS)
    # Sixty days apart: each has matured when the next one comes.
    later = np.tile(60 * np.arange(CLAIMS), NEW)
    return _numbered(account, CUT + (first + later) * DAY)


def _numbered(account, issued):
    claims = pd.DataFrame({"account": account, "issued": pd.to_datetime(issued)})
    claims = claims.sort_values(["account", "issued"], kind="stable", ignore_index=True)
    return claims.assign(number=claims.groupby("account").cumcount())


@pytest.fixture(scope="module")
def market():
    return make_market()


@pytest.fixture(scope="module")
def model(market):
    made = PaymentModel(event="full", levels=("invoice",), max_rows=30_000)
    return made.fit(market.ledger, as_of=str(CUT))


@pytest.fixture(scope="module")
def asked(market, model):
    """Forecasts on the day of issue: all claims after the cut, with the truth beside them."""
    claims = market.claims[market.claims["issued"] >= CUT].reset_index(drop=True)
    forecast = model.predict(market.rows(claims), horizons=("due+0D",), level="invoice")
    low, _, high = forecast.days.T
    truth = market.accounts.set_index("account_id").loc[claims["account_id"]]
    columns = {name: truth[name].to_numpy() for name in ("group", "mean", "p", "new")}
    return claims.assign(**columns, forecast=forecast.p_paid[:, 0], low=low, high=high)


@pytest.fixture(scope="module")
def first(asked):
    return asked[asked["new"] & (asked["number"] == 0)]


def spread_of(mean):
    """Mean and variance of the chances of accounts of one group (Gauss-Hermite)."""
    z, w = np.polynomial.hermite_e.hermegauss(40)
    p = expit(mean + SPREAD * z)
    centre = (w * p).sum() / w.sum()
    return centre, (w * p * p).sum() / w.sum() - centre**2


@pytest.fixture(scope="module")
def groups(market, first):
    """By group: mean forecast of new customers, the truth, and how well the past tells it."""
    old = market.claims[market.claims["issued"] < CUT].merge(
        market.accounts[["account_id", "group"]], on="account_id"
    )
    found = []
    for group, rows in first.groupby("group"):
        centre, variance = spread_of(rows["mean"].iloc[0])
        mine = old[old["group"] == group]
        size = mine.groupby("account_id").size().to_numpy()
        n = size.sum()
        # Accounts of a group differ, and so do the claims of an account.
        squared = variance * (size**2).sum() / n**2 + (centre * (1.0 - centre) - variance) / n
        past = 1.0 - mine["late"].mean()
        found.append((rows["forecast"].mean(), centre, np.sqrt(squared), past))
    return pd.DataFrame(found, columns=["forecast", "truth", "error", "past"])


def test_forecasts_of_new_customers_are_near_those_of_their_group(groups):
    """At least half way from the mean of the book to the truth, on the whole (root mean square).

    Not all groups are within three standard errors: the most unusual ones stay some points (up to
    seven here) too near to the book.
    """
    off = groups["forecast"] - groups["truth"]
    spread = groups["truth"] - groups["truth"].mean()
    assert np.sqrt((off**2).mean()) < 0.5 * np.sqrt((spread**2).mean())
    assert (abs(off) < 3.0 * groups["error"]).mean() > 0.5
    assert abs(off).max() < 0.1


def test_new_customers_follow_creditor_and_segment(groups):
    assert len(groups) == 8
    assert groups.corr(method="spearman").loc["forecast", "truth"] > 0.9
    slope = np.polyfit(groups["truth"], groups["forecast"], 1)[0]
    assert 0.5 < slope < 1.1


def test_the_past_of_the_groups_tells_their_truth(groups):
    """A plain rate of the group is within three standard errors, so the truth can be learnt."""
    assert (abs(groups["past"] - groups["truth"]) < 3.0 * groups["error"]).all()


def slope_of(y, p):
    """Intercept and slope of a logistic regression of outcomes on log odds, and their errors."""
    X = np.column_stack([np.ones(len(p)), logit(p)])
    b = np.array([0.0, 1.0])
    for _ in range(20):
        fit = expit(X @ b)
        information = (X * (fit * (1.0 - fit))[:, None]).T @ X
        b = b + np.linalg.solve(information, X.T @ (y - fit))
    return b, np.sqrt(np.diag(np.linalg.inv(information)))


def test_forecasts_of_new_customers_are_calibrated(first):
    b, error = slope_of(~first["late"].to_numpy(), first["forecast"].to_numpy())
    assert abs(b[1] - 1.0) < 3.0 * error[1]


def test_new_customers_are_told_apart_but_less_than_old_ones(asked, first):
    old = asked.loc[~asked["new"], "forecast"]
    known = first["mean"].map(lambda mean: spread_of(mean)[0]).var()
    assert 0.25 * known < first["forecast"].var() < 1.25 * known
    assert first["forecast"].var() < 0.7 * old.var()


def test_intervals_of_days_cover(asked, first):
    for rows in (first, asked[~asked["new"]]):
        inside = (rows["days"] >= rows["low"]) & (rows["days"] <= rows["high"])
        # Claims of an account are alike: the error is that of the sums by account.
        by_account = (inside - inside.mean()).groupby(rows["account_id"]).sum()
        error = np.sqrt((by_account**2).sum()) / len(rows)
        assert error < 0.015
        assert 0.77 - 2.0 * error < inside.mean() < 0.85 + 2.0 * error


@pytest.mark.parametrize(("low", "high", "sign"), [(0.85, 1.0, 1.0), (0.0, 0.3, -1.0)])
def test_each_claim_moves_the_forecast_to_the_own_truth(asked, low, high, sign):
    """Good customers rise and bad ones fall, claim by claim, and none beyond the truth."""
    mine = asked[asked["new"] & asked["p"].between(low, high)]
    table = mine.pivot_table(index="account_id", columns="number", values="forecast").to_numpy()
    assert table.shape[0] > 150
    steps = sign * np.diff(table, axis=1)
    error = steps.std(axis=0) / np.sqrt(len(table))
    assert (steps.mean(axis=0) > -2.0 * error).all()
    whole = steps.sum(axis=1)
    assert whole.mean() > 5.0 * whole.std() / np.sqrt(len(whole))
    assert (sign * (table.mean(axis=0) - mine["p"].mean()) < 0.0).all()


def test_a_rate_without_shrinkage_is_clearly_worse(asked):
    """After one claim it says 0 or 1."""
    new = asked[asked["new"]].sort_values(["account_id", "number"])
    before = (~new["late"]).groupby(new["account_id"]).cumsum() - ~new["late"]
    for number in (1, 2, 3):
        at = new["number"] == number
        naive = np.clip((before[at] / number).to_numpy(float), 0.01, 0.99)
        paid = ~new.loc[at, "late"].to_numpy()
        saved = loss(paid, naive) - loss(paid, new.loc[at, "forecast"].to_numpy())
        assert saved.mean() > 5.0 * saved.std() / np.sqrt(len(saved))
        assert saved.mean() > 0.2


def loss(y, p):
    return -np.where(y, np.log(p), np.log1p(-p))


def test_rates_of_new_customers_say_nothing_of_their_own(market, first):
    rows = market.rows(first)
    names = ["on_time_lift", "paid_30_lift", "creditor_on_time_lift", "on_time_rate", "matured_n"]
    own, later, creditor, rate, count = (compute(rows, names).column(name) for name in names)
    assert (own == 0.0).all()
    assert (later == 0.0).all()
    assert (count == 0.0).all()
    assert len(np.unique(creditor > 0.0)) == 2, "two creditors that differ"
    assert np.abs(creditor).min() > 0.05
    assert rate.std() > 0.05


@pytest.mark.parametrize("creditor", ["X", None])
def test_with_one_creditor_it_has_no_lift(creditor):
    terms = {"amount": 10.0, "currency": "EUR"}
    accounts = [
        {"account_id": a, "customer_type": kind, "country": "DE", "creditor_id": creditor}
        for a, kind in (("A", "consumer"), ("B", "business"))
    ]
    invoices = [
        {"invoice_id": f"{a}{m}", "account_id": a, "issued_on": f"2023-0{m}-01",
         "due_on": f"2023-0{m}-15", **terms}
        for a in "AB" for m in range(1, 7)
    ]  # fmt: skip
    payments = [
        {"payment_id": i["invoice_id"], "account_id": "A", "invoice_id": i["invoice_id"],
         "paid_at": f"{i['issued_on']}T10:00Z", "amount": 10.0}
        for i in invoices if i["account_id"] == "A"
    ]  # fmt: skip
    if creditor is None:
        accounts = [{k: v for k, v in a.items() if k != "creditor_id"} for a in accounts]
    ledger = Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)
    rows = Snapshot.from_rows(ledger, [{"account_id": a, "as_of": "2023-12-01"} for a in "AB"])
    found = compute(rows, ["creditor_on_time_lift", "on_time_lift"])
    assert (found.column("creditor_on_time_lift") == 0.0).all()
    assert found.column("on_time_lift")[0] > 0.0 > found.column("on_time_lift")[1]
