"""What a collections expert would look at first."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

from collectopt.simulation import Book
from collectopt.simulation.calendar import Calendar

BERLIN = "Europe/Berlin"
# Open cents of claims past due and not held, at a moment of each contact.
OWED = """
with owed as (
    select x.row, x.t, c.invoice, c.cents from x join claims c
        on c.account = x.account and c.due_at <= x.t
    anti join holds h on h.invoice = c.invoice and h.known_at < x.t
        and x.t < least(h.to_at, h.ended_at, timestamptz '2100-01-01')
    anti join (select * from holds where invoice is null) g
        on g.account = x.account and g.known_at < x.t
        and x.t < least(g.to_at, g.ended_at, timestamptz '2100-01-01')
)
select o.row, sum(o.rest) as rest from (
    select w.row, w.invoice, w.cents - coalesce(sum(s.cents), 0) as rest
    from owed w left join settlements s on s.invoice = w.invoice and s.known_at < w.t
    group by w.row, w.invoice, w.cents
) o group by o.row order by o.row
"""


def _owed(book: Book, contacts: pd.DataFrame, column: str) -> np.ndarray:
    timeline = book.ledger().timeline
    x = pd.DataFrame(
        {"row": range(len(contacts)), "account": contacts.account, "t": contacts[column]}
    )
    con = duckdb.connect(config={"threads": 1})
    con.register("x", x)
    for name in ("claims", "holds", "settlements"):
        con.register(name, getattr(timeline, name))
    found = con.execute(OWED).fetchdf().set_index("row").rest
    return found.reindex(range(len(contacts))).fillna(0).to_numpy()


@pytest.fixture(scope="module")
def contacts(shop: Book) -> pd.DataFrame:
    return shop.ledger().timeline.contacts.to_pandas()


@pytest.fixture(scope="module")
def sent(contacts: pd.DataFrame, shop: Book) -> pd.DataFrame:
    out = contacts[(contacts.channel != "none") & ~contacts.contact_id.isin(shop.truth.cancelled)]
    return out.reset_index(drop=True)


@pytest.fixture(scope="module")
def claims(shop: Book) -> pd.DataFrame:
    """Claims with type of the customer, cents open at the end, day of full settlement."""
    timeline = shop.ledger().timeline
    claims = timeline.claims.to_pandas()
    parts = timeline.settlements.to_pandas().groupby("invoice")
    paid = parts.cents.sum().reindex(claims.invoice).fillna(0).to_numpy()
    last = parts.known_at.max().reindex(claims.invoice).array
    claims["open"] = claims.cents - paid
    due = pd.to_datetime(claims.due_on).dt.tz_localize(BERLIN)
    late = pd.Series(last, index=claims.index).dt.tz_convert(BERLIN).dt.normalize() - due
    claims["late"] = (late + pd.Timedelta(hours=12)).dt.days.where(claims.open == 0, np.inf)
    claims["age"] = (pd.Timestamp(shop.as_of) - due).dt.days
    claims["type"] = shop.truth.type[claims.account]
    return claims


def test_every_decision_has_something_to_remind_of(shop: Book, contacts: pd.DataFrame) -> None:
    assert (_owed(shop, contacts, "decided_at") > 0).all()


def test_nothing_is_sent_after_the_cure_or_against_a_hold(shop: Book, sent: pd.DataFrame) -> None:
    assert (_owed(shop, sent, "sent_at") > 0).all()


def test_what_is_not_sent_costs_nothing_and_draws_no_response(shop: Book) -> None:
    ledger, dropped = shop.ledger(), shop.truth.cancelled
    contacts = ledger.contacts.to_pandas().set_index("contact_id")
    assert 0 < len(dropped) < 0.08 * (contacts.channel != "none").sum()
    assert (contacts.cost[dropped] == 0).all()
    assert (contacts.cost.drop(dropped)[contacts.channel != "none"] > 0).all()
    assert not ledger.responses.to_pandas().contact_id.isin(dropped).any()


def test_contacts_keep_consent_opt_outs_and_house_rules(shop: Book, sent: pd.DataFrame) -> None:
    ledger = shop.ledger()
    accounts = ledger.accounts.to_pandas()
    outs = ledger.timeline.responses.to_pandas()
    outs = outs[outs.kind == "opted_out"].groupby(["account", "channel"]).known_at.min()
    assert len(outs) > 5
    for channel, rows in sent.groupby("channel"):
        assert accounts[f"{channel}_ok"].to_numpy()[rows.account].all()
    banned = sent.set_index(["account", "channel"]).sent_at
    both = banned.to_frame("sent").join(outs.rename("out"), how="inner")
    assert (both.sent <= both.out).all()
    order = sent.sort_values(["account", "sent_at"])
    tone = order.tone.map({"friendly": 0, "neutral": 1, "firm": 2})
    first = order.account != order.account.shift()
    assert (tone[first] == 0).all()
    assert (tone.diff()[~first] <= 1).all()
    third = order.groupby("account").sent_at.diff(2)
    assert (third.dropna() > pd.Timedelta(days=7)).all()  # two contacts within 7 days at most
    assert (sent.sent_at > sent.decided_at).all()


def test_hours_weekends_and_holidays(shop: Book, sent: pd.DataFrame) -> None:
    calendar = Calendar()
    for channel in shop.catalogue.channels:
        mine = sent[sent.channel == channel.name]
        assert channel.hours is not None
        assert channel.weekdays is not None
        assert mine.local_hour.between(channel.hours[0], channel.hours[1], inclusive="left").all()
        assert mine.local_weekday.isin(channel.weekdays).all()
        days = mine.local_day.unique()
        assert not any(calendar.is_holiday(calendar.number(day)) for day in days)
    assert set(sent.local_hour) <= set(shop.catalogue.slots.hours)
    local = shop.ledger().responses.to_pandas()["at"].dt.tz_convert(BERLIN)
    assert local.dt.hour.min() >= 5
    payments = shop.ledger().payments.to_pandas()
    payments["at"] = payments.paid_at.dt.tz_convert(BERLIN)
    booked = payments[payments.method == "transfer"]["at"]
    business = {day: calendar.is_business_day(calendar.number(day)) for day in set(booked.dt.date)}
    assert all(business.values())
    wallet = payments[payments.method == "wallet"]["at"]
    weekend = wallet.dt.day_of_week.isin([5, 6]).mean()
    assert 0.2 < weekend < 0.35


def test_money_follows_its_invoice_and_balances_never_break(
    shop: Book, claims: pd.DataFrame
) -> None:
    ledger = shop.ledger()
    payments = ledger.payments.to_pandas().merge(
        ledger.invoices.to_pandas(), on="invoice_id", suffixes=("", "_of")
    )
    day = payments.paid_at.dt.tz_convert(BERLIN).dt.date
    assert (day > payments.issued_on).all()
    assert (claims.open >= 0).all()
    # All cash and every credit note found a claim: the book has no stray money.
    settled = ledger.timeline.settlements.to_pandas()
    cash = ledger.timeline.payments.to_pandas().cents.sum()
    assert settled[settled.cash].cents.sum() == cash
    credit = -ledger.invoices.to_pandas().query("kind == 'credit_note'").amount.sum()
    assert settled[~settled.cash].cents.sum() == int(credit * 100)
    returned = ledger.payments.to_pandas().amount < 0
    assert 0.001 < returned.mean() < 0.02
    unnamed = ledger.payments.to_pandas().invoice_id.isna().mean()
    assert 0.05 < unnamed < 0.2


def test_responses_follow_their_contacts(shop: Book, sent: pd.DataFrame) -> None:
    responses = shop.ledger().timeline.responses.to_pandas()
    caused = responses[responses.contact_id.notna()].merge(
        sent[["contact_id", "account", "sent_at", "local_day"]],
        on="contact_id",
        how="left",
        suffixes=("", "_of"),
    )
    assert (caused.known_at > caused.sent_at).all()
    assert (caused.account == caused.account_of).all()
    delay = caused.known_at - caused.sent_at
    assert delay[caused.kind != "promise_broken"].max() < pd.Timedelta(days=14)
    by_kind = responses.groupby("kind").channel.unique().map(set)
    assert by_kind["opened"] == {"email"}
    assert by_kind["answered"] == {"phone"}
    assert by_kind["delivered"] == {"email", "sms"}
    assert "letter" in by_kind["bounced"]
    assert "letter" not in by_kind["opted_out"]


def test_an_open_is_no_reading(shop: Book, sent: pd.DataFrame) -> None:
    responses = shop.ledger().responses.to_pandas()
    opened = responses[responses.kind == "opened"].merge(sent, on="contact_id")
    soon = (opened["at"] - opened.sent_at) < pd.Timedelta(minutes=35)
    assert 0.3 < soon.mean() < 0.8  # machines
    mails = sent[sent.channel == "email"]
    clicked = responses[responses.kind == "clicked"].contact_id
    assert mails.contact_id.isin(clicked).mean() < 0.12
    bounced = responses[responses.kind == "bounced"].contact_id
    delivered = responses[responses.kind == "delivered"].contact_id
    assert set(mails.contact_id) <= set(bounced) | set(delivered)
    assert not set(bounced) & set(delivered)


def test_holds_disputes_and_plans(shop: Book) -> None:
    ledger = shop.ledger()
    holds, responses = ledger.holds.to_pandas(), ledger.responses.to_pandas()
    counts = holds.kind.value_counts()
    wanted = {"dispute", "promise", "payment_plan", "insolvency", "do_not_contact"}
    assert set(counts.index) == wanted
    disputes = holds[holds.kind == "dispute"]
    assert disputes.invoice_id.is_unique  # no dispute is raised twice
    assert disputes.to_on.isna().all()
    resolved = (responses.kind == "dispute_resolved").sum()
    assert 0.8 * len(disputes) < resolved <= len(disputes)
    assert holds[holds.kind == "payment_plan"].invoice_id.notna().all()
    kinds = responses.kind.value_counts()
    assert 0.1 < kinds["plan_broken"] / kinds["plan_accepted"] < 0.6
    assert 0.1 < kinds["promise_broken"] / kinds["promised"] < 0.6
    amounts = responses[responses.kind == "promised"]
    assert amounts.amount.notna().all()
    assert amounts.due_on.notna().all()


def test_old_debt_is_seldom_paid_and_finally_written_off(shop: Book, claims: pd.DataFrame) -> None:
    old = claims[claims.age > 230]
    assert 0.93 < (old.late <= 90).mean() < 0.98
    assert ((old.late > 120) & np.isfinite(old.late)).mean() < 0.02
    holds = shop.ledger().timeline.holds.to_pandas()
    bound = holds.invoice[holds.kind.isin(["do_not_contact", "dispute", "payment_plan"])]
    left = old[(old.open > 0) & ~old.invoice.isin(bound)]
    insolvent = holds.account[holds.kind == "insolvency"]
    assert left[~left.account.isin(insolvent)].empty
    written_off = holds[holds.kind == "do_not_contact"]
    share = claims.set_index("invoice").open[written_off.invoice].sum() / claims.cents.sum()
    assert 0.005 < share < 0.05


def test_types_pay_as_they_should(claims: pd.DataFrame) -> None:
    ripe = claims[claims.age > 90]
    on_time = ripe.groupby("type").late.apply(lambda days: (days <= 0).mean())
    quarter = ripe.groupby("type").late.apply(lambda days: (days <= 90).mean())
    assert on_time["punctual"] > 0.8
    assert 0.5 < on_time["forgetful"] < on_time["punctual"]
    assert on_time[["slow", "distressed", "strategic"]].max() < 0.45
    assert quarter["punctual"] > 0.99
    assert quarter["slow"] > 0.85
    assert quarter[["distressed", "unreachable", "strategic"]].max() < 0.9
    assert quarter.idxmin() == "distressed"


def test_amounts_have_a_heavy_tail(claims: pd.DataFrame) -> None:
    euros = claims.cents / 100
    assert 50 < euros.median() < 120
    assert euros.mean() > 1.4 * euros.median()
    assert euros.quantile(0.999) > 15 * euros.median()
    assert euros.min() >= 5


def test_customers_differ_in_pace_and_some_leave(shop: Book) -> None:
    ledger = shop.ledger()
    invoices = ledger.invoices.to_pandas().query("kind == 'invoice'")
    count = invoices.groupby("account_id").size()
    assert count.quantile(0.9) > 3 * count.quantile(0.25)
    gone = ~np.isnat(shop.truth.left_on)
    assert 0.08 < gone.mean() < 0.25
    last = pd.to_datetime(invoices.issued_on).groupby(invoices.account_id).max()
    last = last.reindex(shop.truth.account_id).to_numpy()[gone]
    known = ~np.isnat(last)
    left = shop.truth.left_on[gone][known]
    # A week's invoices are fixed on its Monday.
    assert (last[known] <= left + np.timedelta64(6, "D")).all()
