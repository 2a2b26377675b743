"""Cold start, order of rows, names, categories and how things print."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.features import DEFINITIONS, FeatureMatrix, compute, compute_each, describe
from collectopt.features.definition import CHANNEL
from collectopt.schema import Ledger, Snapshot

from .books import random_book, random_rows, to_ledger

MAY_BE_NAN = {"last_channel", "last_tone", "credit_score", "lifetime_value"}
ACCOUNT = {"account_id": "A", "customer_type": "consumer", "country": "DE"}
CLAIM = {
    "invoice_id": "I",
    "account_id": "A",
    "issued_on": date(2025, 3, 3),
    "due_on": date(2025, 3, 17),
    "amount": 50.0,
    "currency": "EUR",
}


def same(left: FeatureMatrix, right: FeatureMatrix) -> bool:
    return (
        left.names == right.names
        and dict(left.categories) == dict(right.categories)
        and np.array_equal(left.values, right.values, equal_nan=True)
    )


def test_cold_start_gives_the_defaults():
    ledger = Ledger.from_frames(accounts=[ACCOUNT], invoices=[CLAIM])
    row = {"account_id": "A", "as_of": datetime(2025, 3, 3, 9, tzinfo=UTC), "invoice_id": "I"}
    matrix = compute(Snapshot.from_rows(ledger, [row]))
    told = {
        "open_amount": 50, "open_claims": 1, "days_to_next_due": 14, "claim_amount": 50,
        "claim_open_share": 1, "claim_dpd": -14, "claim_term": 14, "claim_kind": 0,
        "claims_n": 1, "claims_365": 1, "billed_365": 50, "customer_type": 0, "country": 0,
        "day_of_month": 3, "weekday": 1, "month": 3,
    }  # fmt: skip
    expected = {f.name: f.default for f in DEFINITIONS if not f.per_channel} | told
    assert set(matrix.names) == set(expected)
    for name in matrix.names:
        value = float(matrix.column(name)[0])
        assert value == expected[name] or (np.isnan(value) and name in MAY_BE_NAN), name


def test_an_account_without_claims_has_values_too():
    accounts = [ACCOUNT, {**ACCOUNT, "account_id": "B"}]
    ledger = Ledger.from_frames(accounts=accounts, invoices=[CLAIM])
    rows = [{"account_id": "B", "as_of": "2025-04-01T00:00+00:00"}]
    matrix = compute(Snapshot.from_rows(ledger, rows))
    allowed = MAY_BE_NAN | {"claim_kind"}
    finite = np.isfinite(matrix.values[0])
    assert {n for n, ok in zip(matrix.names, finite, strict=True) if not ok} <= allowed
    assert matrix.column("first_claim")[0] == 1
    assert matrix.column("claim_amount_ratio")[0] == 1


def test_half_a_month_from_payday_is_a_defined_tie():
    """Paid on the 1st and the 2nd: usual day 1.5, so the 17th is exactly opposite."""
    paid = [
        {"payment_id": f"P{i}", "account_id": "A", "paid_at": day, "amount": 5.0}
        for i, day in enumerate((date(2025, 4, 1), date(2025, 5, 2)))
    ]
    ledger = Ledger.from_frames(accounts=[ACCOUNT], invoices=[CLAIM], payments=paid)
    days = ("2025-05-16", "2025-05-17", "2025-05-18")
    rows = [{"account_id": "A", "as_of": f"{day}T00:00+00:00"} for day in days]
    matrix = compute(Snapshot.from_rows(ledger, rows), ["payday_offset"])
    assert matrix.column("payday_offset").tolist() == [14.5, -15.5, -14.5]


def test_only_categories_and_unknown_attributes_are_nan():
    for seed in range(4):
        book = random_book(seed)
        matrix = compute(Snapshot.from_rows(to_ledger(book, own=()), random_rows(seed, book)))
        nan = np.isnan(matrix.values).any(axis=0)
        found = {name for name, is_nan in zip(matrix.names, nan, strict=True) if is_nan}
        assert found <= MAY_BE_NAN | {"claim_kind"}


def test_many_times_at_once_equal_one_at_a_time():
    book = random_book(5)
    snapshot = Snapshot.from_rows(to_ledger(book), random_rows(5, book, 9))
    together = compute(snapshot)
    for i in range(len(snapshot)):
        alone = compute(snapshot.take(np.array([i])), together.names, together.categories)
        assert np.array_equal(alone.values[0], together.values[i], equal_nan=True)


def test_order_of_rows_and_tables_does_not_matter():
    book = random_book(6)
    snapshot = Snapshot.from_rows(to_ledger(book), random_rows(6, book))
    matrix = compute(snapshot)
    turned = {name: rows[::-1] for name, rows in book.items()}
    assert same(compute(Snapshot.from_rows(to_ledger(turned), random_rows(6, book))), matrix)
    order = np.random.default_rng(0).permutation(len(snapshot))
    mixed = compute(snapshot.take(order))
    assert np.array_equal(mixed.values, matrix.values[order], equal_nan=True)


def test_threads_do_not_matter():
    book = random_book(7)
    snapshot = Snapshot.from_rows(to_ledger(book), random_rows(7, book))
    assert same(compute(snapshot, threads=2), compute(snapshot))


def test_optional_tables_may_be_missing():
    book = random_book(8)
    full = to_ledger(book)
    bare = Ledger.from_frames(accounts=full.accounts, invoices=full.invoices)
    empty = to_ledger(
        {n: rows if n in {"accounts", "invoices"} else [] for n, rows in book.items()}, own=()
    )
    rows = random_rows(8, book)
    left, right = (compute(Snapshot.from_rows(ledger, rows)) for ledger in (bare, empty))
    assert same(left, right)
    assert left.column("contacts_n").sum() == 0


def test_no_rows():
    ledger = Ledger.from_frames(accounts=[ACCOUNT], invoices=[CLAIM])
    matrix = compute(Snapshot(ledger, as_of="2020-01-01"))
    assert matrix.values.shape == (0, len(matrix.names))


def test_names_choose_columns_in_order():
    book = random_book(9)
    snapshot = Snapshot.from_rows(to_ledger(book), random_rows(9, book))
    names = ["late_mean", "accounts.trade", "reached_email", "invoices.weight", "open_amount"]
    part = compute(snapshot, names)
    assert part.names == tuple(names)
    assert same(part, compute(snapshot).select(names))
    assert part.values.flags.c_contiguous
    assert part.values.dtype == np.float32
    assert part.categorical == (1,)


def test_matrices_of_one_snapshot_may_be_computed_together():
    book = random_book(9)
    snapshot = Snapshot.from_rows(to_ledger(book), random_rows(9, book))
    codes = {"last_channel": ("phone", "email"), "claim_kind": ("fee",)}
    wanted = [
        (("late_mean", "last_channel", "accounts.trade"), None),
        (("open_amount", "claim_kind", "last_channel", "late_mean"), codes),
        (None, None),
    ]
    together = compute_each(snapshot, wanted)
    for (names, categories), matrix in zip(wanted, together, strict=True):
        assert same(matrix, compute(snapshot, names, categories))
    assert together[1].categories == {"claim_kind": ("fee",), "last_channel": ("phone", "email")}


def test_names_carry_channels_from_training_to_prediction():
    book = random_book(10)
    ledger = to_ledger(book)
    train = compute(Snapshot.from_rows(ledger, random_rows(10, book)))
    quiet = to_ledger({**book, "contacts": [], "responses": []})
    rows = random_rows(11, book)
    matrix = compute(Snapshot.from_rows(quiet, rows), train.names, train.categories)
    assert matrix.names == train.names
    assert matrix.categories == train.categories
    assert set(matrix.column("reached_phone").tolist()) == {0.5}
    again = compute(Snapshot.from_rows(quiet, rows), None, train.categories)
    assert again.names == train.names


def test_unseen_categories_become_nan():
    accounts = [ACCOUNT, {**ACCOUNT, "account_id": "B", "country": "AT"}]
    claims = [CLAIM, {**CLAIM, "account_id": "B", "invoice_id": "J"}]
    ledger = Ledger.from_frames(accounts=accounts, invoices=claims)
    snapshot = Snapshot(ledger, as_of="2025-03-10")
    learned = compute(snapshot, ["country"])
    assert learned.categories == {"country": ("AT", "DE")}
    assert learned.column("country").tolist() == [1.0, 0.0]
    given = compute(snapshot, ["country"], {"country": ("CH", "DE")})
    assert given.column("country")[0] == 1
    assert np.isnan(given.column("country")[1])
    assert given.to_pandas()["country"].tolist()[0] == "DE"


def test_unknown_names_are_refused_with_a_hint():
    ledger = Ledger.from_frames(accounts=[ACCOUNT], invoices=[CLAIM])
    snapshot = Snapshot(ledger, as_of="2025-03-10")
    with pytest.raises(InputError, match=r"late_meen.*\n.*nope") as caught:
        compute(snapshot, ["late_meen", "nope"])
    assert "late_mean" in caught.value.faults[0].hint
    with pytest.raises(InputError, match="a name twice"):
        compute(snapshot, ["late_mean", "late_mean"])
    with pytest.raises(InputError, match="no such column"):
        compute(snapshot, ["late_mean"]).column("late_max")


def test_own_columns_must_be_numbers_or_texts():
    row = {**ACCOUNT, "customer_since": date(2020, 1, 1), "region": "west"}
    good = Ledger.from_frames(accounts=[row], invoices=[CLAIM], features=["region"])
    matrix = compute(Snapshot(good, as_of="2025-03-10"))
    assert matrix.categories["accounts.region"] == ("west",)
    bad = Ledger.from_frames(accounts=[row], invoices=[CLAIM], features=["customer_since"])
    with pytest.raises(InputError, match="customer_since"):
        compute(Snapshot(bad, as_of="2025-03-10"))


def test_the_matrix_cannot_be_changed():
    ledger = Ledger.from_frames(accounts=[ACCOUNT], invoices=[CLAIM])
    matrix = compute(Snapshot(ledger, as_of="2025-03-10"))
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0, 0] = 1


def test_definitions_are_complete_and_unique():
    names = [feature.name for feature in DEFINITIONS]
    assert len(set(names)) == len(names)
    for feature in DEFINITIONS:
        assert feature.meaning.endswith(".")
        assert feature.sources
        assert CHANNEL in feature.sql or not feature.per_channel
        assert (feature.codes is not None) == (feature.unit.value == "category")


def test_describe_prints_every_feature():
    table = describe()
    text, page = repr(table), table._repr_html_()
    assert max(map(len, text.splitlines())) <= 100
    for feature in DEFINITIONS:
        assert feature.name in text
        assert feature.name.replace("<", "&lt;").replace(">", "&gt;") in page
    assert list(table.to_pandas()) == ["name", "family", "unit", "meaning", "sources", "default"]
    assert len(table) == len(list(table)) == len(DEFINITIONS)


def test_a_matrix_shows_itself():
    book = random_book(3)
    matrix = compute(Snapshot.from_rows(to_ledger(book), random_rows(3, book)))
    assert repr(matrix) == f"FeatureMatrix({len(matrix)} rows x {len(matrix.names)} features)"
    assert "late_mean" in matrix._repr_html_()
