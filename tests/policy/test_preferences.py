"""Preferences: ranked by what was learnt of effects and reach, within consent, at its time."""

import numpy as np
import pandas as pd
import pytest

import collectopt as co
from collectopt.exceptions import InputError, NotFittedError
from collectopt.policy import NextBestAction
from collectopt.schema import Snapshot


@pytest.fixture(scope="module")
def told(kit):
    book = co.simulation.Book("utility", accounts=900, seed=3)
    ledger = book.ledger()
    policy = NextBestAction(book.catalogue, payment=kit.Payment()).fit(ledger, book.as_of)
    snapshot = Snapshot(ledger, book.as_of)
    return policy, book, snapshot, policy.preferences(snapshot)


def test_every_account_gets_each_family_ranked(told):
    _, book, snapshot, table = told
    assert set(table.family) >= {"channel", "weekday", "payment_method"}
    assert table.account_id.nunique() == len(snapshot)
    sizes = table.groupby(["family", "account_id"]).size()
    assert (sizes["channel"] == len(book.catalogue.channel_names)).all()
    assert (sizes["weekday"] == 7).all()
    for _, part in table.groupby(["account_id", "family"]):
        assert part["rank"].tolist() == list(range(1, len(part) + 1))
        for _, same in part.groupby("allowed"):
            assert (np.diff(same.effect) <= 1e-12).all()
        assert (np.diff(part.allowed.astype(int)) <= 0).all()
    assert (table.low <= table.effect + 1e-12).all()
    assert (table.effect <= table.high + 1e-12).all()
    assert (table.observations >= 0).all()


def test_consent_and_own_contacts_are_told(told):
    _, book, snapshot, table = told
    accounts = snapshot.ledger.accounts.to_pandas().set_index("account_id")
    sms = table[(table.family == "channel") & (table.level == "sms")].set_index("account_id")
    given = accounts.loc[sms.index, "sms_ok"]
    assert not sms.allowed[given == False].any()  # noqa: E712 - null is not False
    assert sms.allowed[given == True].mean() > 0.9  # noqa: E712 - some have banned it since
    contacts = snapshot.ledger.contacts.to_pandas()
    old = contacts[contacts.sent_at <= book.as_of - pd.Timedelta(days=3)]
    count = old[old.channel == "sms"].groupby("account_id").size().reindex(sms.index).fillna(0)
    assert (count == sms.observations).all()


def test_payment_methods_are_those_of_the_accounts_payments(told):
    _, book, snapshot, table = told
    rows = table[table.family == "payment_method"]
    shares = rows.groupby("account_id").effect.sum()
    np.testing.assert_allclose(shares, 1.0)
    payments = snapshot.ledger.payments.to_pandas()
    paid = payments[(payments.amount > 0) & (payments.paid_at < book.as_of)]
    often = paid.groupby("account_id").method.agg(["size", lambda m: m.value_counts().idxmax()])
    many = often[often["size"] >= 8]
    best = rows[rows["rank"] == 1].set_index("account_id").level.reindex(many.index).dropna()
    assert (best == many.loc[best.index].iloc[:, 1]).mean() > 0.97


def test_later_facts_change_nothing(told):
    policy, book, snapshot, table = told
    early = book.as_of - pd.Timedelta(days=60)
    one = policy.preferences(Snapshot(snapshot.ledger, early))
    t = {name: getattr(snapshot.ledger, name).to_pandas() for name in
         ("accounts", "invoices", "payments", "contacts", "responses", "holds")}  # fmt: skip
    t["payments"] = t["payments"][t["payments"].paid_at < early]
    t["contacts"] = t["contacts"][t["contacts"].sent_at < early]
    t["responses"] = t["responses"][t["responses"]["at"] < early]
    two = policy.preferences(Snapshot(co.Ledger.from_frames(**t), early))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) != len(table) or not one.equals(table)


def test_without_contacts_or_learning_the_assumed_effects_rank(kit):
    catalogue = co.Catalogue.default()
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": "A", "customer_type": "consumer", "country": "DE",
                   "email_ok": True, "sms_ok": False}],
        invoices=[{"invoice_id": "I", "account_id": "A", "issued_on": "2026-01-02",
                   "due_on": "2026-01-16", "amount": 50.0, "currency": "EUR"}],
    )  # fmt: skip
    policy = NextBestAction(catalogue, payment=kit.Payment())
    with pytest.raises(NotFittedError):
        policy.preferences(Snapshot(ledger, "2026-02-01"))
    policy.fit(ledger, "2026-02-01")
    table = policy.preferences(Snapshot(ledger, "2026-02-01"))
    assert set(table.family) == {"channel"}
    assert not table.set_index("level").allowed["sms"]
    assert (table.observations == 0).all()
    later = Snapshot.from_rows(ledger, [{"account_id": "A", "as_of": "2026-02-01"},
                                        {"account_id": "A", "as_of": "2026-02-02"}])  # fmt: skip
    with pytest.raises(InputError, match="one time for all rows"):
        policy.preferences(later)
    assert len(policy.preferences(Snapshot(ledger, "2025-01-01"))) == 0
