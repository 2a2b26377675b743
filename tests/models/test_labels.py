"""Outcomes on books small enough to work out by hand."""

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.models.labels import (
    due_offsets,
    durations,
    landmarks,
    open_cents,
    shares,
    watched,
)
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

CUT = "2024-06-01"


def book(invoices, payments=(), timezone="UTC", accounts=("A",)):
    return Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": timezone}
            for a in accounts
        ],
        invoices=[
            {
                "invoice_id": i,
                "account_id": a,
                "issued_on": issued,
                "due_on": due,
                "amount": amount,
                "currency": "EUR",
                "kind": "credit_note" if amount < 0 else "invoice",
            }
            for i, a, issued, due, amount in invoices
        ],
        payments=[
            {
                "payment_id": f"P{k}",
                "account_id": a,
                "paid_at": at if "T" in at else f"{at}T12:00+00:00",
                "amount": amount,
                "invoice_id": invoice,
            }
            for k, (a, at, amount, invoice) in enumerate(payments)
        ]
        or None,
    )


def rows(ledger, *asked):
    return Snapshot.from_rows(
        ledger,
        [{"account_id": a, "as_of": f"{day}T00:00+00:00", "invoice_id": i} for a, day, i in asked],
    )


TWO = [
    ("I1", "A", "2024-01-01", "2024-01-15", 100.0),
    ("I2", "A", "2024-02-01", "2024-02-15", 50.0),
]


def outcome(snapshot, event, level, cut=CUT):
    found = durations(snapshot, event, level, cut)
    return [(float(d), bool(e)) for d, e in zip(found.days, found.event, strict=True)]


def test_full_is_the_last_part_and_any_the_next():
    ledger = book(TWO, [("A", "2024-01-20", 40.0, "I1"), ("A", "2024-02-10", 60.0, "I1")])
    asked = rows(ledger, ("A", "2024-01-10", "I1"), ("A", "2024-01-25", "I1"))
    assert outcome(asked, "full", "invoice") == [(31.5, True), (16.5, True)]
    assert outcome(asked, "any", "invoice") == [(10.5, True), (16.5, True)]
    np.testing.assert_allclose(
        shares(asked, "invoice", CUT, [5.0, 11.0, 60.0, 200.0]),
        [[0.0, 0.4, 1.0, np.nan], [0.0, 0.0, 1.0, np.nan]],
    )


def test_what_comes_at_or_after_the_cut_is_not_looked_at():
    ledger = book(TWO, [("A", "2024-01-20", 100.0, "I1")])
    asked = rows(ledger, ("A", "2024-01-10", "I1"))
    assert outcome(asked, "full", "invoice", "2024-01-18") == [(8.0, False)]
    at = "2024-01-20T12:00+00:00"
    assert outcome(asked, "full", "invoice", at) == [(10.5, False)]
    assert outcome(asked, "full", "invoice", "2024-01-20T12:01+00:00") == [(10.5, True)]
    assert watched(asked, "2024-01-18").tolist() == [8.0]
    assert np.isnan(shares(asked, "invoice", "2024-01-18", [9.0])).all()
    assert outcome(asked, "full", "invoice", "2024-01-05") == [(0.0, False)]


def test_an_account_waits_for_all_that_is_past_due_or_else_for_all_that_is_open():
    ledger = book(TWO, [("A", "2024-02-20", 100.0, "I1"), ("A", "2024-03-01", 50.0, "I2")])
    asked = rows(
        ledger,
        ("A", "2024-01-10", None),  # only I1 is there
        ("A", "2024-02-10", None),  # I1 past due, I2 not yet
        ("A", "2024-02-17", None),  # both past due
        ("A", "2024-02-25", None),  # only I2 is left
    )
    assert outcome(asked, "full", "account") == [
        (41.5, True),
        (10.5, True),
        (13.5, True),
        (5.5, True),
    ]
    assert outcome(asked, "any", "account") == [
        (41.5, True),
        (10.5, True),
        (3.5, True),
        (5.5, True),
    ]


def test_a_payment_at_the_very_moment_counts_as_to_come():
    ledger = book(TWO, [("A", "2024-01-20T00:00+00:00", 100.0, "I1")])
    asked = rows(ledger, ("A", "2024-01-20", "I1"), ("A", "2024-01-21", "I1"))
    assert outcome(asked, "full", "invoice") == [(0.0, True), (0.0, True)]
    assert outcome(asked, "any", "invoice")[0] == (0.0, True)
    assert outcome(asked, "any", "invoice")[1][1] is False


def test_a_returned_payment_reopens_the_claim():
    ledger = book(
        TWO[:1],
        [
            ("A", "2024-01-20", 100.0, "I1"),
            ("A", "2024-01-25", -100.0, "I1"),
            ("A", "2024-03-01", 100.0, "I1"),
        ],
    )
    asked = rows(ledger, ("A", "2024-01-10", "I1"), ("A", "2024-01-27", "I1"))
    assert outcome(asked, "full", "invoice") == [(10.5, True), (34.5, True)]
    assert outcome(asked, "any", "account") == [(10.5, True), (34.5, True)]
    np.testing.assert_allclose(shares(asked, "invoice", CUT, [11.0, 20.0])[0], [1.0, 0.0])


def test_a_credit_note_censors_unless_something_was_paid():
    credit = ("C1", "A", "2024-01-20", "2024-01-20", -100.0)
    ledger = book([TWO[0], credit])
    asked = rows(ledger, ("A", "2024-01-10", "I1"))
    ((days, event),) = outcome(asked, "full", "invoice")
    assert not event
    assert days == pytest.approx(11.0, abs=1e-6)  # known from the next midnight on
    assert outcome(asked, "any", "invoice")[0] == (143.0, False)
    partly = book(
        [TWO[0], ("C1", "A", "2024-01-20", "2024-01-20", -30.0)],
        [("A", "2024-01-25", 70.0, "I1")],
    )
    assert outcome(rows(partly, ("A", "2024-01-10", "I1")), "full", "invoice") == [(15.5, True)]


def test_never_paid_is_censored_and_other_accounts_do_not_matter():
    ledger = book(
        [*TWO[:1], ("J1", "B", "2024-01-01", "2024-01-15", 10.0)],
        [("B", "2024-01-20", 10.0, None)],
        accounts=("A", "B"),
    )
    asked = rows(ledger, ("B", "2024-01-02", None), ("A", "2024-01-02", None))
    assert outcome(asked, "any", "account") == [(18.5, True), (151.0, False)]
    assert outcome(asked, "full", "account") == [(18.5, True), (151.0, False)]


def test_days_are_those_of_the_local_clock():
    # Clocks went forward on 2024-03-31: thirty local days later is one hour less.
    ledger = book(
        [("I1", "A", "2024-03-15", "2024-04-10", 10.0)],
        [("A", "2024-04-13T22:00+00:00", 10.0, "I1")],
        timezone="Europe/Berlin",
    )
    asked = Snapshot.from_rows(
        ledger, [{"account_id": "A", "as_of": "2024-03-14T23:00+00:00", "invoice_id": "I1"}]
    )
    assert outcome(asked, "full", "invoice") == [(30.0, True)]
    assert due_offsets(asked).tolist() == [27.0]


def test_offset_is_that_of_the_claim_in_question():
    ledger = book(TWO, [("A", "2024-02-10", 100.0, "I1")])
    asked = rows(
        ledger,
        ("A", "2024-01-10", "I1"),
        ("A", "2024-02-05", None),  # I1 is due first
        ("A", "2024-02-05", "I2"),
        ("A", "2024-02-12", None),  # only I2 is open
    )
    assert due_offsets(asked).tolist() == [6.0, -20.0, 11.0, 4.0]
    none = rows(ledger, ("A", "2023-12-01", None))
    assert np.isnan(due_offsets(none)).all()
    assert outcome(none, "full", "account") == [(0.0, True)]


def test_level_invoice_needs_claims():
    ledger = book(TWO)
    with pytest.raises(InputError, match="to_invoice_level"):
        durations(rows(ledger, ("A", "2024-02-05", None)), "full", "invoice", CUT)


def many(n=40):
    ids = [f"A{k:02d}" for k in range(n)]
    invoices = [
        (f"{a}-{j}", a, f"2024-0{1 + j}-0{1 + k % 9}", f"2024-0{1 + j}-2{k % 9}", 10.0 + k)
        for k, a in enumerate(ids)
        for j in range(3)
    ]
    payments = [(a, f"2024-02-{1 + k % 28:02d}", 10.0 + k, None) for k, a in enumerate(ids[::2])]
    return book(invoices, payments, accounts=tuple(ids))


@pytest.mark.parametrize("level", ["account", "invoice"])
def test_landmarks_lie_before_the_cut_and_have_something_open(level):
    ledger = many()
    found = landmarks(ledger, "2024-03-10", level)
    assert (found.as_of < np.datetime64("2024-03-10")).all()
    open_rows = found.claims["row"].to_numpy()
    if level == "invoice":
        assert found.rows["invoice"].null_count == 0
        open_rows = open_rows[found.claims["subject"].to_numpy()]
    assert set(open_rows.tolist()) == set(range(len(found)))
    keys = list(
        zip(
            found.rows["account_id"].to_pylist(),
            found.as_of.tolist(),
            found.rows["invoice_id"].to_pylist(),
            strict=True,
        )
    )
    assert len(set(keys)) == len(keys)
    assert len(landmarks(ledger, "2024-01-01", level)) == 0


def test_landmarks_do_not_know_the_future():
    before = many()
    changed = book(
        [
            *[(f"A{k}-0", f"A{k:02d}", "2024-02-10", "2024-04-01", 9.0) for k in range(9)],
            *(
                (
                    i["invoice_id"],
                    i["account_id"],
                    str(i["issued_on"]),
                    str(i["due_on"]),
                    float(i["amount"]),
                )
                for i in before.invoices.to_pylist()
                if i["issued_on"].isoformat() < "2024-02-10"
            ),
        ],
        [
            (p["account_id"], p["paid_at"].isoformat(), float(p["amount"]), None)
            for p in before.payments.to_pylist()
            if p["paid_at"].isoformat() < "2024-02-10"
        ],
        accounts=tuple(before.account_ids.tolist()),
    )
    for level in ("account", "invoice"):
        one, two = (landmarks(b, "2024-02-10", level, limit=60) for b in (before, changed))
        names = ["account_id", "as_of", "invoice_id"]
        assert one.rows.select(names).equals(two.rows.select(names))
        for event in ("any", "full"):
            first, second = (durations(s, event, level, "2024-02-10") for s in (one, two))
            np.testing.assert_array_equal(first.days, second.days)
            np.testing.assert_array_equal(first.event, second.event)


def test_the_limit_is_kept_and_the_draw_is_seeded():
    ledger = many()
    few = [landmarks(ledger, CUT, "account", limit=50, seed=s) for s in (0, 0, 1)]
    assert len(few[0]) <= 50
    assert few[0].rows.equals(few[1].rows)
    assert not few[0].rows.equals(few[2].rows)


def test_claims_on_hold_are_not_waited_for():
    """A written-off claim that is never paid does not hide that the others were."""
    accounts = [{"account_id": "A", "customer_type": "consumer", "country": "DE"}]
    terms = {"account_id": "A", "due_on": "2026-01-10", "amount": 10, "currency": "EUR"}
    invoices = [
        {"invoice_id": i, "issued_on": "2026-01-02", **terms} for i in ("asked", "written off")
    ]
    ledger = Ledger.from_frames(
        accounts=accounts,
        invoices=invoices,
        payments=[
            {
                "payment_id": "P", "account_id": "A", "paid_at": "2026-01-25T12:00Z",
                "amount": 10, "invoice_id": "asked",
            }
        ],
        holds=[
            {
                "account_id": "A", "kind": "do_not_contact", "from_on": "2026-01-12",
                "invoice_id": "written off",
            }
        ],
    )  # fmt: skip
    rows = [{"account_id": "A", "as_of": day} for day in ("2026-01-12", "2026-01-20", "2026-01-30")]
    snapshot = Snapshot.from_rows(ledger, rows)
    found = durations(snapshot, "full", "account", "2026-03-01")
    # Before the hold both are waited for; then the one; then only the held one is left.
    assert found.event.tolist() == [False, True, False]
    assert found.days[1] == pytest.approx(5.5)
    assert open_cents(snapshot, "account").tolist() == [2000, 1000, 1000]
