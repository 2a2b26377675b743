"""The policy counts the harm that it has learnt, and keeps it."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import NotFittedError
from collectopt.models.harm_log import MOST
from collectopt.policy import NextBestAction, load
from collectopt.policy.risks import Risks


@pytest.fixture(scope="module")
def fitted(kit):
    book = co.simulation.Book("shop", accounts=400, seed=100, weeks=30)
    response = kit.Response(book.catalogue)
    policy = NextBestAction(book.catalogue, payment=kit.Payment(), response=response)
    return policy.fit(book.ledger(), book.as_of), book


def with_harm(policy, harm):
    twin = copy.copy(policy)
    twin.harm_ = harm
    twin._seal_models()
    return twin


def test_risks_are_those_of_the_model(fitted):
    policy, _ = fitted
    actions = policy.catalogue.actions
    risks = Risks.of(policy.harm_, actions)
    recent, pick = np.array([0, 3, 40]), np.array([5, 0, 9])
    every = risks.rates(recent, slice(None), axis=0)
    expected = policy.harm_.complains(actions, np.minimum(recent, MOST))
    assert every["complaint"] == pytest.approx(expected)
    one = risks.rates(recent, pick, axis=1)
    for name, chance in one.items():
        assert chance[:, 0] == pytest.approx(every[name][np.arange(3), pick])


def test_a_policy_that_knows_of_losses_contacts_less(fitted):
    policy, book = fitted
    sent = []
    for factor in (0.0, 1.0, 300.0):
        leave = factor * np.array([0.0005, 0.001, 0.0015])
        harm = dataclasses.replace(policy.harm_, leave=leave, leave_stderr=np.zeros(3))
        decisions = with_harm(policy, harm).decide(book.ledger(), book.as_of)
        sent.append(int((decisions.to_pandas().channel != "none").sum()))
    assert sent[0] >= sent[1] > 2 * sent[2]


def test_what_is_learnt_enters_the_version_and_comes_back(fitted):
    policy, _ = fitted
    assert policy.version != with_harm(policy, None).version
    assert with_harm(policy, None).harm_table() is None
    table = policy.harm_table()
    assert set(table.event) == {"complaint", "opt-out", "leaves"}
    assert (table.low <= table.high).all()


def test_a_saved_policy_keeps_it(tmp_path):
    book = co.simulation.Book("shop", accounts=150, seed=100, weeks=30)
    policy = NextBestAction(book.catalogue).fit(book.ledger(), book.as_of)
    policy.save(tmp_path / "nba")
    again = load(tmp_path / "nba")
    assert again.version == policy.version
    assert again.harm_table().equals(policy.harm_table())
    decisions = (p.decide(book.ledger(), book.as_of).to_arrow() for p in (policy, again))
    assert next(decisions).equals(next(decisions))


def test_without_contacts_harm_is_assumed(kit):
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": "A", "customer_type": "consumer", "country": "DE"}],
        invoices=[
            {"invoice_id": "I", "account_id": "A", "issued_on": "2026-01-02",
             "due_on": "2026-01-16", "amount": 80.0, "currency": "EUR"}
        ],
    )  # fmt: skip
    catalogue = co.Catalogue.from_dict({"channels": [{"name": "email", "cost": 0.05}]})
    policy = NextBestAction(catalogue, payment=kit.Payment())
    with pytest.raises(NotFittedError):
        policy.harm_table()
    assert policy.fit(ledger, "2026-02-05").harm_ is None
    assert "harm" not in policy._content()
