"""Every feature against an independent computation in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collectopt.features import DEFINITIONS, compute
from collectopt.schema import Snapshot

from .books import random_book, random_rows, to_ledger
from .oracle import Oracle

BOOKS = [(seed, seed % 4 == 3) for seed in range(20)]


@pytest.mark.parametrize(("seed", "days_only"), BOOKS)
def test_every_feature_means_what_it_says(seed, days_only):
    book = random_book(seed, days_only=days_only)
    ledger = to_ledger(book)
    rows = random_rows(seed, book)
    snapshot = Snapshot.from_rows(ledger, rows)
    matrix = compute(snapshot)
    frame = matrix.to_pandas()
    oracle = Oracle(ledger)
    for i, row in enumerate(rows):
        expected = oracle.row(row["account_id"], row["as_of"], row["invoice_id"])
        for name in matrix.names:
            found = frame[name].iloc[i]
            assert agree(found, expected[name]), (
                f"row {i} {row}: {name} is {found}, expected {expected[name]}"
            )


def agree(found, expected):
    if expected is None or isinstance(expected, str):
        missing = not isinstance(found, str) and math.isnan(found)
        return missing if expected is None else found == expected
    expected = float(expected)
    return math.isclose(found, expected, rel_tol=2e-6, abs_tol=2e-5)


def test_the_oracle_covers_every_definition():
    book = random_book(0)
    oracle = Oracle(to_ledger(book))
    covered = set(oracle.row("A0", random_rows(0, book)[0]["as_of"], None))
    expanded = {
        feature.name.replace("<channel>", channel)
        for feature in DEFINITIONS
        for channel in ("email", "phone", "letter")
    }
    assert covered == expanded | {
        "accounts.size",
        "accounts.trade",
        "invoices.article",
        "invoices.weight",
    }


def test_random_books_exercise_every_feature():
    """An oracle proves nothing about a feature that never leaves its default."""
    moved = set()
    for seed, days_only in BOOKS[:8]:
        book = random_book(seed, days_only=days_only)
        matrix = compute(Snapshot.from_rows(to_ledger(book), random_rows(seed, book)))
        for name in matrix.names:
            column = matrix.column(name)
            seen = set(column[~np.isnan(column)].tolist())
            if len(seen) > 1:
                moved.add(name)
    assert not set(matrix.names) - moved
