"""What is no fault of a book, but worth a word."""

from collectopt.jobs.checking import consents
from collectopt.schema import Catalogue, Ledger

CATALOGUE = Catalogue.from_dict({"channels": [{"name": "email"}, {"name": "letter"}]})


def remarks(**consent):
    person = {"account_id": "a", "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
    claim = {"invoice_id": "i", "account_id": "a", "issued_on": "2026-01-01",
             "due_on": "2026-01-15", "amount": 10.0, "currency": "EUR"}  # fmt: skip
    ledger = Ledger.from_frames(accounts=[person | consent], invoices=[claim])
    return [(fault.column, fault.hint) for fault in consents(ledger, CATALOGUE)]


def test_a_misspelt_consent_is_told_with_the_channel_meant():
    [(column, hint)] = remarks(leter_ok=False)
    assert column == "leter_ok"
    assert "letter_ok" in hint
    assert remarks(letter_ok=False) == []
    assert [column for column, _ in remarks(carrier_pigeon_ok=True)] == ["carrier_pigeon_ok"]
