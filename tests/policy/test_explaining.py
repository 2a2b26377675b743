"""Explanations in German and English: complete, with the decision's own numbers."""

import re

import pytest

import collectopt as co
from collectopt.exceptions import InputError
from collectopt.messages import Language, in_words
from collectopt.messages.letters import _words
from collectopt.policy import NextBestAction

CATALOGUE = co.Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}, {"name": "phone", "cost": 4.5}],
        "cadence_days": 1,
        "slots": {"hours": [9, 14]},
        "jurisdiction": "de",
        "timezone": "Europe/Berlin",
        "discount_rate": 0.0,
        "agency": {"cost": 0.0},
    }
)
AS_OF = "2026-02-05T06:00+01:00"


@pytest.fixture(scope="module")
def decisions(kit):
    amounts = {"A": 1000.0, "B": 90.0, "C": 0.4}
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE",
                   "timezone": "Europe/Berlin", "phone_ok": a == "A"} for a in amounts],
        invoices=[{"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02",
                   "due_on": "2026-01-16", "amount": x, "currency": "EUR"}
                  for a, x in amounts.items()],
        holds=[{"account_id": "B", "kind": "payment_plan", "from_on": "2026-01-20"}],
    )  # fmt: skip
    policy = NextBestAction(CATALOGUE, payment=kit.Payment(), response=kit.Response(CATALOGUE))
    return policy.fit(ledger, AS_OF).decide(ledger, AS_OF)


def test_the_numbers_are_those_of_the_decision(decisions):
    row = {r["account_id"]: r for r in decisions.to_arrow().to_pylist()}["A"]
    english = in_words(decisions, "A", Language.EN, CATALOGUE)
    assert f"{100 * row['p_pay']:.1f}%" in english
    assert f"{100 * row['p_pay_if_wait']:.1f}%" in english
    assert f"worth {row['value']:+,.2f} EUR" in english
    german = in_words(decisions, "A", Language.DE, CATALOGUE)
    assert f"{100 * row['p_pay']:.1f}".replace(".", ",") + "\u00a0%" in german
    assert f"{row['value']:+,.2f}".translate(str.maketrans(",.", ".,")) in german
    # both say the same: as many sentences, the same amounts
    assert len(english.splitlines()) == len(german.splitlines())
    assert len(re.findall(r"[+−]\d", english)) == len(re.findall(r"[+−]\d", german)) > 2


def test_waiting_says_why(decisions):
    english = in_words(decisions, "B", Language.EN, CATALOGUE)
    assert "to wait and to contact nobody" in english
    assert "a payment plan is in force (HOLD_PAYMENT_PLAN)" in english
    german = in_words(decisions, "B", Language.DE, CATALOGUE)
    assert "es läuft eine Ratenzahlung (HOLD_PAYMENT_PLAN)" in german
    for text in (english, german):
        assert "wert:" not in text
        assert "worth" not in text


def test_every_explanation_ends_with_a_person(decisions):
    for account in "ABC":
        assert "A person can look at it again" in in_words(decisions, account)
        assert "Ein Mensch kann" in in_words(decisions, account, Language.DE)
    with pytest.raises(InputError, match="account_id"):
        in_words(decisions, "Z")


def test_every_rule_of_the_library_has_german_words():
    for law in ("none", "eu", "de", "us_regf", "uk_conc"):
        full = {**CATALOGUE.to_dict(), "court": {"cost": 30.0}, "jurisdiction": law}
        codes = set(co.rules.Rules.from_catalogue(co.Catalogue.from_dict(full)).codes)
        assert codes <= set(_words()["de"]["rules"])
    assert set(_words()["en"]) == set(_words()["de"])
    assert set(_words()["en"]["terms"]) == set(_words()["de"]["terms"])


def test_no_forbidden_word():
    text = str(_words()).lower()
    for word in ("debtor", "schuldner", "defaulter", "säumig"):
        assert word not in text
