"""Base rates of the industries, held to what is usual there.

The ranges are assumptions in the sense of ``parameters.toml``: no public ledger gives them. They
are what a collections manager of the industry would call a normal year.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from collectopt.simulation import Book
from collectopt.simulation.calendar import Calendar

INDUSTRIES = ("shop", "subscription", "utility", "b2b", "telco")
BERLIN = "Europe/Berlin"


@dataclass(frozen=True)
class Usual:
    """Share of claims paid by so many days after the due date, and never; by count."""

    on_time: tuple[float, float]
    by_30: tuple[float, float]
    by_60: tuple[float, float]
    by_90: tuple[float, float]
    never: tuple[float, float]
    leave_a_year: tuple[float, float]
    overdue: tuple[float, float]  # accounts with something past due at any one time


USUAL = {
    "shop": Usual(
        (0.62, 0.75), (0.86, 0.93), (0.91, 0.96), (0.93, 0.98), (0.01, 0.045), (0.08, 0.16),
        (0.07, 0.18),
    ),
    "subscription": Usual(
        (0.75, 0.88), (0.90, 0.96), (0.93, 0.98), (0.94, 0.985), (0.01, 0.045), (0.15, 0.32),
        (0.04, 0.13),
    ),
    "utility": Usual(
        (0.76, 0.88), (0.88, 0.95), (0.92, 0.975), (0.94, 0.985), (0.005, 0.03), (0.04, 0.10),
        (0.07, 0.18),
    ),
    "b2b": Usual(
        (0.35, 0.55), (0.80, 0.90), (0.91, 0.96), (0.94, 0.98), (0.005, 0.03), (0.03, 0.08),
        (0.20, 0.40),
    ),
    "telco": Usual(
        (0.65, 0.80), (0.83, 0.92), (0.90, 0.95), (0.92, 0.97), (0.01, 0.05), (0.10, 0.25),
        (0.10, 0.22),
    ),
}  # fmt: skip


@cache
def _book(kind: str) -> Book:
    return Book(kind, accounts=800, seed=17)


@pytest.fixture(scope="module", params=INDUSTRIES)
def book(request: pytest.FixtureRequest) -> Book:
    return _book(request.param)


@dataclass(frozen=True)
class Claims:
    """Claims of a book: day of settlement after the due date (inf = open), age, cents open."""

    account: npt.NDArray[np.int64]
    late: npt.NDArray[np.float64]
    age: npt.NDArray[np.int64]
    frame: pd.DataFrame


@cache
def _claims(kind: str) -> Claims:
    book = _book(kind)
    timeline = book.ledger().timeline
    claims = timeline.claims.to_pandas()
    parts = timeline.settlements.to_pandas().groupby("invoice")
    paid = parts.cents.sum().reindex(claims.invoice).fillna(0).to_numpy()
    last = pd.Series(parts.known_at.max().reindex(claims.invoice).array).dt.tz_convert(BERLIN)
    due = pd.to_datetime(claims.due_on).dt.tz_localize(BERLIN)
    late = (last.dt.normalize() - due + pd.Timedelta(hours=12)).dt.days
    claims["open"] = claims.cents - paid
    late = late.where(claims.open == 0, np.inf).to_numpy(dtype=float)
    age = (pd.Timestamp(book.as_of) - due).dt.days.to_numpy()
    return Claims(claims.account.to_numpy(), late, age, claims)


@pytest.fixture(scope="module")
def claims(book: Book) -> Claims:
    return _claims(book.kind)


def _share(hit: npt.NDArray[np.bool_], account: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Give a mean and its standard error, clustered by account."""
    total = np.bincount(account, weights=hit - hit.mean())
    return float(hit.mean()), float(np.sqrt((total**2).sum()) / len(hit))


def test_customers_pay_as_is_usual_in_the_industry(book: Book, claims: Claims) -> None:
    usual, ripe = USUAL[book.kind], claims.age > 120
    ranges = {0: usual.on_time, 30: usual.by_30, 60: usual.by_60, 90: usual.by_90}
    for days, (low, high) in ranges.items():
        share, stderr = _share(claims.late[ripe] <= days, claims.account[ripe])
        assert stderr < 0.025
        assert low - 2 * stderr < share < high + 2 * stderr, (days, share)
    old = claims.age > 280
    share, stderr = _share(np.isinf(claims.late[old]), claims.account[old])
    assert usual.never[0] - 2 * stderr < share < usual.never[1] + 2 * stderr
    state = book._end
    low, high = usual.overdue
    assert low < state.flag(state.overdue_claims()).mean() < high


def test_some_leave_but_not_at_once(book: Book) -> None:
    state, weeks = book._end, book.weeks
    low, high = USUAL[book.kind].leave_a_year
    a_year = 1.0 - (state.left > state.day).mean() ** (52.0 / weeks)
    stderr = 0.5 / np.sqrt(book.accounts)
    assert low - 2 * stderr < a_year < high + 2 * stderr
    # Those who stay differ from those who leave: the rate is not the same for all.
    rate = state.people.attrition
    assert rate.std() > 0.6 * rate.mean()
    assert rate[state.left <= state.day].mean() > 1.2 * rate.mean()
    # Invoices end with the customer, under a contract at its end; nobody is billed afterwards.
    claims = state.claims
    rows = np.arange(claims.size)
    assert (claims.issued[rows] < state.ends[claims.account[rows]] + 7).all()
    if state.kind.tie.contract_days:
        assert (state.ends > state.left)[state.left <= state.day].mean() > 0.3


def test_balances_and_the_ledger_agree_to_the_cent(book: Book, claims: Claims) -> None:
    state, ledger = book._end, book.ledger()
    issued = state.claims.issued[: state.claims.size] < state.day
    assert claims.frame.open.sum() == state.claims.open[: state.claims.size][issued].sum()
    settled = ledger.timeline.settlements.to_pandas()
    assert settled[settled.cash].cents.sum() == ledger.timeline.payments.to_pandas().cents.sum()
    invoices = ledger.invoices.to_pandas()
    notes = -100 * invoices.amount[invoices.kind == "credit_note"].sum()
    assert settled[~settled.cash].cents.sum() + state.credit.sum() == int(notes)
    assert (state.credit.sum() > 0) == (book.kind == "utility")
    assert invoices.invoice_id.is_unique
    assert not ledger.remarks


def test_the_log_keeps_the_capacities_of_its_catalogue(book: Book) -> None:
    contacts = book.ledger().contacts.to_pandas()
    runs = contacts.groupby(["channel", "decided_at"]).size()
    limited = [c for c in book.catalogue.channels if c.capacity is not None]
    assert {c.name for c in limited} == {"letter", "phone"}
    for channel in limited:
        assert runs.loc[channel.name].max() <= channel.capacity
        assert runs.loc[channel.name].max() > 0.1 * channel.capacity  # and they are not idle
    limit = book.catalogue.limits.budget
    assert limit is not None
    assert 0.1 * limit < contacts.groupby("decided_at").cost.sum().max() <= limit


def test_what_marks_the_industry() -> None:
    books = {name: _book(name) for name in INDUSTRIES}
    frames = {name: _claims(name).frame for name in INDUSTRIES}
    euros = {name: frame.cents / 100 for name, frame in frames.items()}
    # Small and fixed, or large and heavy-tailed.
    assert euros["subscription"].median() < 30 < euros["shop"].median()
    assert euros["b2b"].median() > 500
    assert euros["b2b"].mean() > 1.8 * euros["b2b"].median()
    assert euros["b2b"].max() > 30 * euros["b2b"].median()
    prices = frames["subscription"].groupby("account").cents
    assert (prices.min() == prices.max()).all()
    # Monthly bills fall on one day of the month, whatever the weekday.
    for name in ("subscription", "telco", "utility"):
        issued = pd.to_datetime(frames[name].issued_on)
        days = issued.dt.day.groupby(frames[name].account)
        assert (days.min() == days.max()).all()
        assert set(issued.dt.day_of_week) == set(range(7))
        gaps = issued.groupby(frames[name].account).diff().dropna().dt.days
        assert gaps.mode()[0] in {30, 31}
    # A settlement a year: an invoice unlike the advances, or a credit note.
    utility = books["utility"].ledger().invoices.to_pandas()
    notes = utility[utility.kind == "credit_note"].groupby("account_id").size()
    usual = frames["utility"].groupby("account").cents.transform("median")
    unlike = (frames["utility"].cents != usual).groupby(frames["utility"].account).sum()
    yearly = notes.sum() + unlike.sum()
    assert 0.8 < yearly / len(books["utility"].truth.account_id) / (60 / 52) < 1.1
    payments = books["utility"].ledger().payments.to_pandas()
    assert (payments.method == "direct_debit").mean() > 0.6
    # Businesses pay on one weekday, thirty to sixty days after the invoice.
    firms = books["b2b"].ledger().payments.to_pandas()
    runs = firms[(firms.method == "transfer") & (firms.amount > 0)]
    weekday = runs.paid_at.dt.tz_convert(BERLIN).dt.day_of_week
    own = weekday.groupby(runs.account_id).agg(lambda days: days.mode()[0])
    assert (weekday == own[runs.account_id].to_numpy()).mean() > 0.9
    term = pd.to_datetime(frames["b2b"].due_on) - pd.to_datetime(frames["b2b"].issued_on)
    assert set(term.dt.days) == {30, 45, 60}
    # Contracts bind, customers call in, telephones are answered by the young.
    telco = books["telco"]
    assert "service" in set(telco.ledger().holds["kind"].to_pylist())
    assert telco.truth.reach[:, 1].mean() > books["utility"].truth.reach[:, 1].mean() + 0.1
    assert books["b2b"].ledger().accounts["customer_type"].unique().to_pylist() == ["business"]


def test_offices_are_reached_at_work() -> None:
    calendar = Calendar()
    book = _book("b2b")
    contacts = book.ledger().timeline.contacts.to_pandas()
    sent = contacts[contacts.channel != "none"]
    assert sent.local_hour.max() < 17
    assert sent.local_weekday.max() <= 4
    responses = book.ledger().responses.to_pandas()
    human = responses[responses.kind.isin(["clicked", "promised", "disputed", "answered"])]
    at = human["at"].dt.tz_convert(BERLIN)
    assert len(at) > 50
    assert at.dt.hour.between(7, 18).all()
    business = {day: calendar.is_business_day(calendar.number(day)) for day in set(at.dt.date)}
    assert all(business.values())
    assert not any(
        channel.weekdays and 5 in channel.weekdays for channel in book.catalogue.channels
    )
