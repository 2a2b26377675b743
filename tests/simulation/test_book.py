from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from collectopt.exceptions import InputError
from collectopt.schema import Ledger
from collectopt.simulation import Book

KNOWN = {
    "payments": "paid_at",
    "contacts": "decided_at",
    "responses": "at",
    "invoices": "issued_on",
    "holds": "from_on",
}


def test_the_ledger_is_valid_and_full(small: Book) -> None:
    ledger = small.ledger()
    assert isinstance(ledger, Ledger)
    assert ledger.remarks == ()
    assert len(ledger.accounts) == 400
    assert min(ledger.table(name).num_rows for name in KNOWN) > 20
    assert ledger.timezone == "Europe/Berlin"
    assert small.as_of.isoformat() == "2026-06-08T04:00:00+00:00"


def test_same_seed_same_bytes_other_seed_other_book(small: Book) -> None:
    again = dataclasses.replace(small)
    assert again is not small
    assert again.ledger().fingerprint == small.ledger().fingerprint
    other = dataclasses.replace(small, seed=small.seed + 1)
    assert other.ledger().fingerprint != small.ledger().fingerprint


def test_a_longer_book_begins_with_the_shorter_one(small: Book) -> None:
    shorter = dataclasses.replace(small, weeks=29)
    local = pd.Timestamp(shorter.as_of).tz_convert("Europe/Berlin").date()
    for name, column in KNOWN.items():
        long = small.ledger().table(name).to_pandas()
        short = shorter.ledger().table(name).to_pandas()
        end = local if column.endswith("_on") else pd.Timestamp(shorter.as_of)
        known = long[long[column] < end].reset_index(drop=True)
        assert (short[column] < end).all(), name
        pd.testing.assert_frame_equal(known, short.reset_index(drop=True), check_dtype=False)


def test_an_account_is_the_same_in_a_larger_book(small: Book) -> None:
    larger = dataclasses.replace(small, accounts=500)
    for name in ("invoices", "holds"):
        mine = small.ledger().table(name).to_pandas()
        theirs = larger.ledger().table(name).to_pandas()
        theirs = theirs[theirs.account_id <= "A000399"].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, theirs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "bank"}, ["'shop'", "'placebo'", "'bank'"]),
        ({"accounts": 0}, ["accounts", "1 to"]),
        ({"accounts": 10.5}, ["accounts", "10.5"]),
        ({"weeks": 0}, ["weeks"]),
        ({"seed": -1}, ["seed"]),
    ],
)
def test_bad_arguments(arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Book(**arguments)  # type: ignore[arg-type]
    assert all(word in str(error.value) for word in words)


def test_truth_is_aligned_with_the_ledger(small: Book) -> None:
    truth = small.truth
    assert list(truth.account_id) == list(small.ledger().account_ids)
    assert truth.persuasion.shape == (400, 4, 3)
    assert truth.reach.shape == (400, 4)
    assert ((truth.reach >= 0) & (truth.reach <= 1)).all()
    assert set(truth.cancelled) <= set(small.ledger().contacts["contact_id"].to_pylist())
    with pytest.raises(dataclasses.FrozenInstanceError):
        truth.type = np.array([])  # type: ignore[misc]


def test_the_catalogue_belongs_to_the_log(small: Book) -> None:
    assert small.catalogue.horizon_days == 28
    assert small.catalogue.cadence_days == 7
    columns = small.ledger().accounts.column_names
    assert {f"{name}_ok" for name in small.catalogue.channel_names} <= set(columns)


def test_a_timeline_can_be_read(small: Book) -> None:
    responses = small.ledger().responses.to_pandas()
    account = responses.account_id[responses.kind == "promised"].iloc[0]
    text = small.timeline(account)
    assert account in text.splitlines()[0]
    assert "invoice" in text
    assert "promised" in text
    with pytest.raises(InputError, match="A000399"):
        small.timeline("B1")
