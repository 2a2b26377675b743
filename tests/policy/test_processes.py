"""What one process saves, another one reads: nothing depends on the order of a set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import collectopt as co
from collectopt.exceptions import InputError

CODE = """
import sys, collectopt as co
catalogue = co.Catalogue.default()
if sys.argv[1] == "save":
    book = co.simulation.Book("shop", accounts=20, seed=1, weeks=12)
    ladder = co.FixedLadder(catalogue).fit(book.ledger(), as_of=book.as_of)
    ladder.save(sys.argv[2])
print(co.load(sys.argv[2]).version)
"""


def test_versions_are_the_same_in_every_process(tmp_path):
    seen = set()
    for seed, task in (("1", "save"), ("2", "load"), ("3", "load")):
        done = subprocess.run(
            [sys.executable, "-c", CODE, task, str(tmp_path / "ladder")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        seen.add(done.stdout.strip())
    assert len(seen) == 1


def test_a_book_in_another_currency_is_refused():
    accounts = [{"account_id": "A", "customer_type": "consumer", "country": "JP"}]
    invoices = [
        {
            "invoice_id": "I", "account_id": "A", "issued_on": "2026-01-05",
            "due_on": "2026-01-19", "amount": 300, "currency": "JPY",
        }
    ]  # fmt: skip
    ledger = co.Ledger.from_frames(accounts=accounts, invoices=invoices)
    ladder = co.FixedLadder(co.Catalogue.default()).fit(ledger, as_of="2026-02-01")
    with pytest.raises(InputError, match="expected EUR, the currency of the catalogue; found JPY"):
        ladder.decide(ledger, as_of="2026-02-01")
    yen = co.Catalogue.from_dict({**co.Catalogue.default().to_dict(), "currency": "JPY"})
    ladder = co.FixedLadder(yen).fit(ledger, as_of="2026-02-01")
    assert len(ladder.decide(ledger, as_of="2026-02-01")) == 1
