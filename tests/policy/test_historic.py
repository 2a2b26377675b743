"""Logs without propensities: decisions rebuilt, the future unseen, effects only if they hold."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from scipy.special import expit

from collectopt.models.overlap import Verdict
from collectopt.policy import NextBestAction
from collectopt.policy.effects import ASSUMED, Effects, learn
from collectopt.policy.historic import historic_panel, historic_rows
from collectopt.policy.panel import decision_panel, outcomes
from collectopt.schema import Catalogue, Ledger
from collectopt.schema.times import to_instant
from collectopt.simulation import Book

CATALOGUE = Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
        "cadence_days": 7,
        "slots": {"hours": [9, 14]},
        "tones": {"order": ["friendly", "firm"]},
        "timezone": "UTC",
    }
)
MONDAY = datetime(2026, 2, 2, 6, tzinfo=UTC)
WEEK = timedelta(days=7)
CUT = np.datetime64("2026-06-01", "us")


def invoice(a, due=date(2026, 1, 20), amount=100.0):
    return {
        "invoice_id": f"I{a}", "account_id": a, "issued_on": date(2026, 1, 2), "due_on": due,
        "amount": amount, "currency": "EUR",
    }  # fmt: skip


def payment(a, at, amount=100.0):
    return {
        "payment_id": f"P{a}", "account_id": a, "paid_at": at, "amount": amount,
        "invoice_id": f"I{a}",
    }  # fmt: skip


def contact(a, at, channel="letter", **more):
    return {
        "contact_id": f"c{a}{at:%m%d%H}", "account_id": a, "sent_at": at + timedelta(hours=3),
        "decided_at": at, "channel": channel, "tone": "friendly", **more,
    }  # fmt: skip


def book(invoices, contacts, payments):
    ids = sorted({i["account_id"] for i in invoices})
    accounts = [
        {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
        for a in ids
    ]
    return Ledger.from_frames(
        accounts=accounts, invoices=invoices, contacts=contacts, payments=payments or None
    )


def test_who_was_past_due_and_not_contacted_waited():
    hour = timedelta(hours=1)
    invoices = [invoice(a) for a in "ABCE"] + [invoice("D", due=date(2026, 2, 10))]
    contacts = [
        contact("A", MONDAY),
        contact("A", MONDAY + timedelta(days=2), "email"),  # the step's second: not a decision
        contact("A", MONDAY + 2 * WEEK + hour, tone="firm"),  # the run was an hour late
        contact("E", MONDAY + WEEK, "visit"),  # not in the catalogue
    ]
    payments = [
        payment("B", MONDAY + WEEK + 3 * hour),
        payment("C", MONDAY + 2 * WEEK + hour / 2),  # before the late run: no contact was needed
    ]
    ledger = book(invoices, contacts, payments)
    rows, action, lag = historic_rows(ledger, CUT, CATALOGUE)
    log, _, snapshot = outcomes(ledger, CUT, CATALOGUE, rows, action)
    names = snapshot.rows["account_id"].to_pylist()
    step = (log.as_of - np.datetime64("2026-02-02T06", "us")) / np.timedelta64(7, "D")
    found = {
        (a, int(s)): str(CATALOGUE.actions[k])
        for a, s, k in zip(names, step, log.action, strict=True)
    }
    assert found == {
        ("A", 0): "letter, friendly, 09:00 today",
        ("A", 1): "wait",
        ("A", 2): "letter, firm, 09:00 today",  # sent at ten: the nearest slot
        ("B", 0): "wait",
        ("B", 1): "wait",
        ("C", 0): "wait",
        ("C", 1): "wait",
        ("D", 2): "wait",  # not past due before
        ("E", 0): "wait",
        ("E", 2): "wait",
    }
    assert lag == 0
    assert log.reward[[n == "B" for n in names]].tolist() == [1, 1]


@pytest.fixture(scope="module")
def shop():
    return Book("shop", accounts=1500, seed=21)


def stripped(ledger, until=None, waits=False):
    """Leave out propensities, and waits, and from a time on everything that comes then."""
    contacts = ledger.contacts.to_pandas().assign(propensity=np.nan)
    payments, responses = ledger.payments.to_pandas(), ledger.responses.to_pandas()
    if not waits:
        contacts = contacts[contacts["channel"] != "none"]
    if until is not None:
        contacts = contacts[contacts["decided_at"].dt.tz_localize(None) < until]
        payments = payments[payments["paid_at"].dt.tz_localize(None) < until]
        responses = responses[responses["at"].dt.tz_localize(None) < until]
        responses = responses[
            responses["contact_id"].isna() | responses["contact_id"].isin(contacts["contact_id"])
        ]
    return Ledger.from_frames(
        accounts=ledger.accounts, invoices=ledger.invoices, payments=payments, contacts=contacts,
        responses=responses, holds=ledger.holds, timezone=ledger.timezone,
    )  # fmt: skip


def test_the_decisions_of_a_book_are_found_again_without_its_waits(shop):
    cut = to_instant(shop.as_of, shop.catalogue.timezone)
    logged, _, _ = decision_panel(shop.ledger(), cut, catalogue=shop.catalogue)
    told = stripped(shop.ledger())
    rebuilt, _, _ = outcomes(
        told, cut, shop.catalogue, *historic_rows(told, cut, shop.catalogue)[:2]
    )

    def keyed(log):
        return {
            (a, t): (k, y)
            for a, t, k, y in zip(log.account, log.as_of, log.action, log.reward, strict=True)
        }

    was, found = keyed(logged), keyed(rebuilt)
    assert len(was) > 10_000
    assert {key: found.get(key) for key in was} == was
    # What the log did not decide about (holds, no consent) counts as waits too.
    assert {found[key][0] for key in set(found) - set(was)} == {0}
    # A log that records its waits is taken at its word.
    waits = stripped(shop.ledger(), waits=True)
    same, _, _ = outcomes(
        waits, cut, shop.catalogue, *historic_rows(waits, cut, shop.catalogue)[:2]
    )
    assert keyed(same) == was


def test_nothing_from_the_future_enters(shop):
    cut = to_instant("2026-05-20T11:00+00:00", shop.catalogue.timezone)
    whole, until = stripped(shop.ledger()), stripped(shop.ledger(), until=cut)
    rows = [historic_rows(ledger, cut, shop.catalogue) for ledger in (whole, until)]
    assert rows[0][0].equals(rows[1][0])
    assert (rows[0][1] == rows[1][1]).all()
    assert pc.max(rows[0][0]["as_of"]).as_py().replace(tzinfo=None) < cut.item() - WEEK / 2
    one, other = (historic_panel(ledger, cut, shop.catalogue) for ledger in (whole, until))
    np.testing.assert_array_equal(one.log.X, other.log.X)
    np.testing.assert_array_equal(one.log.propensity, other.log.propensity)
    np.testing.assert_array_equal(one.log.reward, other.log.reward)
    assert one.overlap == other.overlap
    assert one.sensitivity() == other.sensitivity()


# Effects ------------------------------------------------------------------------------------------


def trial(effect, choose, n=800, seed=0):
    """Letters by `choose(amount, rng)`, without propensities or waits; P(paid) = .3 + effect."""
    rng = np.random.default_rng(seed)
    amount = np.round(rng.uniform(20, 200, n), 2)
    letter = choose(amount, rng)
    paid = rng.random(n) < 0.3 + effect * letter
    ids = [f"{i:04d}" for i in range(n)]
    at = [MONDAY + timedelta(days=float(d)) for d in rng.uniform(4, 25, n)]
    return book(
        [invoice(a, amount=m) for a, m in zip(ids, amount.tolist(), strict=True)],
        [contact(a, MONDAY) for a, sent in zip(ids, letter, strict=True) if sent],
        [payment(a, t, m) for a, t, m, hit in zip(ids, at, amount, paid, strict=True) if hit],
    )


def by_coin(amount, rng):
    return rng.random(len(amount)) < 0.5


def by_amount(amount, rng):
    return rng.random(len(amount)) < expit((amount - 110) / 20)


def by_rule(amount, rng):
    return amount > 110


def test_a_large_effect_is_learnt_and_its_condition_said(kit):
    policy = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(trial(0.4, by_coin), CUT)
    effects = policy.effects_
    assert effects.model.effects[CATALOGUE.actions.channel == 1] == pytest.approx(0.4, abs=0.12)
    assert effects.note.startswith("Propensities were estimated, on 800 decisions.")
    assert f"{effects.sensitivity.breakdown:.2f} times or more" in effects.note
    assert policy.overlap_.verdict is Verdict.OVERLAP
    assert dict(policy.overlap_.channels)["letter"] == pytest.approx(0.5, abs=0.06)
    data = json.loads(json.dumps(effects.to_dict()))
    again = Effects.from_dict(data, effects.model, effects.proceeds)
    assert again == effects


def test_an_effect_that_a_hidden_reason_could_make_is_not_counted():
    """Amounts drive the choice: a hidden column as strong would explain the whole effect."""
    effects, _ = learn(None, trial(0.15, by_amount, n=2500), CUT, CATALOGUE)
    assert effects.model is None
    assert effects.note.startswith(ASSUMED)
    assert "a hidden reason to contact" in effects.note
    assert 1 < effects.sensitivity.breakdown < effects.sensitivity.benchmark


def test_a_log_by_rule_teaches_nothing_whatever_it_shows(kit):
    policy = NextBestAction(CATALOGUE, payment=kit.Payment())
    policy.fit(trial(0.4, by_rule), CUT)
    assert policy.overlap_.verdict is Verdict.DETERMINISTIC
    assert policy.effects_.model is None
    assert "exploration_design" in policy.effects_.note
    assert policy.effects_.note.startswith(ASSUMED)


def test_of_a_mixed_log_what_has_propensities_is_enough():
    """Half of the letters were drawn by a coin that is known, the rest by amount."""
    ledger = trial(0.4, by_coin)
    contacts = ledger.contacts.to_pandas()
    sent = set(contacts["account_id"])
    waits = [
        contact(a, MONDAY, "none", propensity=0.5) | {"tone": None}
        for a in ledger.account_ids[:400]
        if a not in sent
    ]
    known = contacts["account_id"] < "0400"
    table = pd.concat(
        [contacts.assign(propensity=np.where(known, 0.5, np.nan)), pd.DataFrame(waits)]
    )
    mixed = Ledger.from_frames(
        accounts=ledger.accounts, invoices=ledger.invoices, payments=ledger.payments,
        contacts=table,
    )  # fmt: skip
    effects, _ = learn(None, mixed, CUT, CATALOGUE)
    assert effects.model is not None
    assert effects.rows == 400
    assert effects.overlap is None


def test_known_propensities_are_used_as_they_are():
    ledger = trial(0.4, by_coin)
    contacts = ledger.contacts.to_pandas().assign(propensity=1.0)
    ledger = Ledger.from_frames(
        accounts=ledger.accounts, invoices=ledger.invoices, payments=ledger.payments,
        contacts=contacts,
    )  # fmt: skip
    assert historic_panel(ledger, CUT, CATALOGUE) is None
    effects, _ = learn(None, ledger, CUT, CATALOGUE)
    assert "every logged contact was certain" in effects.note
    assert effects.overlap is None
