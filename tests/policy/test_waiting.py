"""To wait for a while: valued by hand, planned by the calendar, told in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from collectopt.exceptions import CatalogueError
from collectopt.messages import Language, in_words
from collectopt.objective import ContactCost, ExpectedRecovery
from collectopt.policy import NextBestAction
from collectopt.policy.artifact import load
from collectopt.policy.effects import Effects
from collectopt.policy.plan import month_on
from collectopt.policy.split import Split
from collectopt.policy.waiting import Ahead
from collectopt.schema import Catalogue, Forecast, Ledger, Snapshot
from collectopt.simulation import Book

AS_OF = datetime(2026, 3, 2, 6, tzinfo=UTC)
BASE = {
    "tones": {"order": ["friendly"]}, "slots": {"hours": [9]}, "cadence_days": 28,
    "horizon_days": 28, "timezone": "UTC", "discount_rate": 0.0, "house": {"doubt": 1.0},
    "waits": {"days": [28], "payday": False, "fade": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Known(Effects):
    """Every contact adds 10 points to the chance."""

    def factors(self, snapshot, actions, matrix=None):
        return (np.full((1, 1), 0.1), actions.is_contact[:, None].astype(float)), None


class Curve:
    """Chances to be paid by day, a step function by account: (day, chance)."""

    def __init__(self, steps):
        self.steps = steps

    def predict(self, snapshot, horizons, level):
        days = np.array([float(h.removesuffix("D")) for h in horizons])
        steps = [self.steps[name] for name in snapshot.rows["account_id"].to_pylist()]
        p = np.array([[chance * (day >= at) for day in days] for at, chance in steps])
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((len(p), 3), 9.0))


def book(amounts, paydays=None, holds=(), paid=()):
    due = AS_OF.date() - timedelta(days=10)
    invoices = [(f"I{a}", a, due, x) for a, x in amounts.items()]
    payments = list(paid)
    for a, day in (paydays or {}).items():
        for back in range(1, 7):
            on = month_on(AS_OF.date(), -back, day)
            invoices.append((f"I{a}{back}", a, on, 10.0))
            payments.append({"payment_id": f"P{a}{back}", "account_id": a, "amount": 10.0,
                             "paid_at": datetime(on.year, on.month, on.day, 12, tzinfo=UTC),
                             "invoice_id": f"I{a}{back}"})  # fmt: skip
    tables = {
        "accounts": [{"account_id": a, "customer_type": "consumer", "country": "DE",
                      "timezone": "UTC"} for a in amounts],
        "invoices": [{"invoice_id": i, "account_id": a, "issued_on": on - timedelta(days=14),
                      "due_on": on, "amount": x, "currency": "EUR"} for i, a, on, x in invoices],
        "payments": payments, "holds": list(holds),
    }  # fmt: skip
    return Ledger.from_frames(**{name: rows for name, rows in tables.items() if rows})


def policy_of(ledger, steps, cost=7.0, **change):
    channel = {"name": "letter", "cost": cost, **change.pop("channel", {})}
    catalogue = Catalogue.from_dict({**BASE, "channels": [channel], **change})
    objective = ExpectedRecovery() - ContactCost()
    policy = NextBestAction(catalogue, Curve(steps), objective=objective).fit(ledger, AS_OF)
    policy.effects_ = Known(None)
    policy._seal_models()
    return policy


def test_values_by_hand():
    """100 EUR, paid alone with chance 0.6 within 28 days, else never; +10 points by a letter.

    It brings 10 EUR and moves a quarter of the 40 % who would not pay. Day 28, unpaid: it brings
    10 x (1 / 0.4) = 25 EUR to 40 %. In all, at cost c, runs every 28 days as far as day 84:

    now:   (10 - c) + (7.5 - 0.3 c) + (5.625 - 0.225 c) + (4.21875 - 0.16875 c)
    later:            (10 - 0.4 c)  + (7.5 - 0.3 c)     + (5.625 - 0.225 c)
    so waiting gains 0.76875 c - 4.21875 as long as every letter is worth it.
    """
    ledger, steps = book({"A": 100.0}), {"A": (20, 0.6)}
    decisions = policy_of(ledger, steps, cost=7.0).decide(ledger, AS_OF)
    (row,), (wait,) = decisions.to_arrow().to_pylist(), decisions.waits.to_pylist()
    gain = 0.76875 * 7.0 - 4.21875
    assert row["channel"] == "none"
    assert wait["gain"] == pytest.approx(gain)
    assert wait["p_alone"] == pytest.approx(0.6)
    assert (wait["until"], wait["payday"]) == (date(2026, 3, 30), False)
    assert row["value"] == pytest.approx(3.0 + gain)
    assert sum(values[0].as_py() for values in decisions.terms.values()) == pytest.approx(
        3.0 + gain
    )
    (listed,) = decisions.candidates.to_pylist()
    assert [one["value"] for one in listed] == pytest.approx([3.0 + gain, 3.0])
    # below 4.21875 / 0.76875 = 5.49 EUR a letter is better sent now, to everybody
    decisions = policy_of(ledger, steps, cost=5.4).decide(ledger, AS_OF)
    assert decisions.counts() == {"letter": 1}
    assert decisions.waits.to_pylist() == [None]
    # money later is worth less: a year's rate of 100 % takes some 5 % of 28 days
    late = policy_of(ledger, steps, cost=5.6, discount_rate=1.0).decide(ledger, AS_OF)
    assert late.counts() == {"letter": 1}


def test_the_payday_is_that_of_the_payments_known_by_then():
    ledger = book({"A": 50.0, "B": 50.0, "C": 50.0}, {"A": 1, "B": 10})
    catalogue = Catalogue.from_dict(
        {**BASE, "channels": [{"name": "letter"}], "cadence_days": 7, "waits": {"grace_days": 2}}
    )
    steps = dict.fromkeys("ABC", (9, 0.5))
    ahead = Ahead.of(Snapshot(ledger, AS_OF), catalogue, Curve(steps))
    # A: paid on the 1st, the 3rd is tomorrow; B: 10th and 2 days; C has no payments
    assert ahead.days[:, 0].tolist() == [1, 10, 0]
    assert ahead.run[:, 0].tolist() == [7, 14, 0]
    assert ahead.payday.tolist() == [True]
    # what is paid later changes nothing
    later = [{"payment_id": f"X{k}", "account_id": "C", "amount": 1.0, "invoice_id": "IC",
              "paid_at": AS_OF + timedelta(days=31 * k)} for k in range(6)]  # fmt: skip
    more = book({"A": 50.0, "B": 50.0, "C": 50.0}, {"A": 1, "B": 10}, paid=later)
    again = Ahead.of(Snapshot(more, AS_OF), catalogue, Curve(steps))
    assert again.days.tolist() == ahead.days.tolist()


def test_the_decision_says_until_when_and_why_in_both_languages():
    ledger, steps = book({"A": 100.0}, {"A": 20}), {"A": (20, 0.6)}
    policy = policy_of(ledger, steps, waits={"grace_days": 2, "fade": 0.0})
    decisions = policy.decide(ledger, AS_OF)
    told = str(decisions.explain("A"))
    assert "A: wait until 2026-03-22" in told
    assert "We wait until 2026-03-22, after the usual day of payment" in told
    english, german = (in_words(decisions, "A", one, policy.catalogue) for one in Language)
    assert "until 2026-03-22, after the usual day of payment" in english
    assert "with a probability of 60.0%" in english
    assert "bis 22.03.2026, nach dem üblichen Zahltag" in german
    assert "mit einer Wahrscheinlichkeit von 60,0\u00a0%" in german
    assert "ein Brief, freundlich" in german
    assert len(english.splitlines()) == len(german.splitlines())


def test_what_is_scarce_goes_to_who_cannot_wait():
    ledger, steps = book({"A": 100.0, "B": 95.0}), {"A": (20, 0.6), "B": (20, 0.1)}
    one = {"channel": {"capacity": 1}}
    assert _letters(policy_of(ledger, steps, waits=None, **one), ledger) == ["A"]
    assert _letters(policy_of(ledger, steps, **one), ledger) == ["B"]


def _letters(policy, ledger):
    made = policy.decide(ledger, AS_OF).to_arrow().to_pylist()
    return [row["account_id"] for row in made if row["channel"] == "letter"]


def test_a_split_keeps_what_its_arms_wait_for():
    names = [f"A{k}" for k in range(8)]
    ledger, steps = book(dict.fromkeys(names, 100.0)), dict.fromkeys(names, (20, 0.6))
    champion = policy_of(ledger, steps)
    split = Split(champion, {"plain": (policy_of(ledger, steps, waits=None), 0.5)}, salt="may")
    decisions = split.decide(ledger, AS_OF)  # the arms are fitted
    made = decisions.to_arrow()["channel"].to_pylist()
    waits = decisions.waits.is_valid().to_pylist()
    assert 0 < sum(waits) < 8
    assert made == ["none" if wait else "letter" for wait in waits]


def test_what_becomes_known_decides_anew():
    ledger, steps = book({"A": 100.0}), {"A": (20, 0.6)}
    policy = policy_of(ledger, steps)
    assert policy.decide(ledger, AS_OF).waits.null_count == 0
    tomorrow = AS_OF + timedelta(days=1)
    assert policy.decide(ledger, tomorrow).waits.null_count == 0
    hold = {"account_id": "A", "kind": "dispute", "from_on": AS_OF.date(), "to_on": None}
    held = policy.decide(book({"A": 100.0}, holds=[hold]), tomorrow)
    assert held.waits.to_pylist() == [None]
    assert "HOLD_DISPUTE" in str(held.explain("A"))
    policy.payment_ = Curve({"A": (20, 0.2)})  # as after a reply that makes it less likely
    assert policy.decide(ledger, tomorrow).counts() == {"letter": 1}


def test_without_the_table_nothing_is_different(kit):
    frames = kit.frames(3)
    plain = frames.parsed()
    assert "waits" not in plain.to_dict()
    policy = NextBestAction(plain, payment=kit.Payment(), response=kit.Response(plain))
    decisions = policy.fit(frames.ledger(), frames.as_of).decide(frames.ledger(), frames.as_of)
    assert decisions.waits is None
    assert "Wait" not in decisions.terms


@pytest.mark.parametrize("seed", range(8))
def test_rules_and_limits_hold_in_random_books(kit, seed):
    extra = {"exploration": {"temperature": 1.0, "budget": 5.0}} if seed % 3 == 0 else {}
    frames = kit.frames(seed, waits={"days": [3, 7, 14], "fade": 0.0}, **extra)
    catalogue = frames.parsed()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(missing=2), response=kit.Response(catalogue, size=0.3)
    ).fit(frames.ledger(), frames.as_of)
    decisions = policy.decide(frames.ledger(), frames.as_of, rng=seed)
    kit.check(frames, decisions)
    assert decisions.to_arrow() == policy.decide(frames.ledger(seed), frames.as_of, seed).to_arrow()
    some = decisions.waits.is_valid().to_numpy(zero_copy_only=False)
    table = decisions.to_arrow().to_pandas()
    assert (table["channel"][some] == "none").all()
    assert (table["value"][some] > 0).all()


def test_learnt_models_wait_are_saved_and_look_at_nothing_later(tmp_path):
    past = Book("shop", accounts=120, seed=3, weeks=16)
    table = {"days": [7, 14], "fade": 0.05}
    catalogue = Catalogue.from_dict({**past.catalogue.to_dict(), "waits": table, "explore": 0.0})
    ledger = past.ledger()
    policy = NextBestAction(catalogue).fit(ledger, past.as_of)
    decisions = policy.decide(ledger, past.as_of)
    assert len(decisions.waits) == len(decisions)
    policy.save(tmp_path / "p")
    again = load(tmp_path / "p").decide(ledger, past.as_of)
    assert again.to_arrow() == decisions.to_arrow()
    assert again.waits == decisions.waits
    known = ledger.payments.filter(_before(ledger.payments["paid_at"], past.as_of))
    cut = replace(ledger, payments=known)
    assert policy.decide(cut, past.as_of).to_arrow() == decisions.to_arrow()


def _before(times, moment):
    return [time < moment for time in times.to_pylist()]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"days": [40]}, "waits.days.0: expected at most horizon_days, 28; found 40"),
        ({"payday": False}, "or payday = true; found neither"),
        ({"fade": 1.0}, "waits.fade"),
    ],
)
def test_a_wrong_table_is_told(table, message):
    with pytest.raises(CatalogueError, match=message):
        Catalogue.from_dict({**BASE, "channels": [{"name": "letter"}], "waits": table})
