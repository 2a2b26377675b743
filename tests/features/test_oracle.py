"""Every feature against an independent computation in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collectopt.features import DEFINITIONS, compute
from collectopt.schema import Snapshot

from .books import edge_rows, random_book, random_rows, to_ledger
from .oracle import Oracle

EDGES = [(50, False), (51, False), (52, True), (53, False)]
BOOKS = [(seed, seed % 4 == 3) for seed in range(14)]


@pytest.mark.parametrize(("seed", "days_only"), BOOKS)
def test_every_feature_means_what_it_says(seed, days_only):
    book = random_book(seed, days_only=days_only)
    check(book, random_rows(seed, book))


@pytest.mark.parametrize(("seed", "days_only"), EDGES)
def test_every_feature_at_the_very_instant_of_every_fact(seed, days_only):
    """At its known_at a fact is not yet used; one microsecond later it is."""
    book = random_book(seed, days_only=days_only, accounts=8)
    check(book, edge_rows(book))


def check(book, rows):
    ledger = to_ledger(book)
    snapshot = Snapshot.from_rows(ledger, rows)
    matrix = compute(snapshot)
    frame = matrix.to_pandas()
    columns = {name: frame[name].tolist() for name in matrix.names}
    oracle = Oracle(ledger)
    for i, row in enumerate(rows):
        expected = oracle.row(row["account_id"], row["as_of"], row["invoice_id"])
        for name in matrix.names:
            found = columns[name][i]
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
    seen: dict[str, set[float]] = {}
    for seed, days_only in EDGES:
        book = random_book(seed, days_only=days_only, accounts=8)
        matrix = compute(Snapshot.from_rows(to_ledger(book), edge_rows(book)))
        for name in matrix.names:
            column = matrix.column(name)
            seen.setdefault(name, set()).update(column[~np.isnan(column)].tolist())
    assert not [name for name, values in seen.items() if len(values) < 2]
