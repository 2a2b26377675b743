"""What comes in: by hand, against the whole truth, and blind to what comes after the cut."""

import numpy as np
import pytest

from collectopt.models.proceeds import proceeds
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

CUT = np.datetime64("2024-12-01T00:00:00", "us")


def ledger(invoices, payments, holds=()):
    accounts = sorted({account for _, account, *_ in invoices})
    return Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
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
                "paid_at": f"{day}T12:00+00:00",
                "amount": amount,
                "invoice_id": invoice,
            }
            for k, (a, day, amount, invoice) in enumerate(payments)
        ],
        holds=list(holds) or None,
    )


def asked(book, *accounts, day="2024-03-01"):
    rows = [{"account_id": a, "as_of": f"{day}T00:00+00:00"} for a in accounts]
    return Snapshot.from_rows(book, rows)


def test_share_by_hand_in_a_log_too_short_to_learn_from():
    book = ledger(
        [
            ("A1", "A", "2024-01-01", "2024-01-15", 100.0),
            ("A2", "A", "2024-02-20", "2024-03-20", 900.0),  # not yet due: not asked for
            ("B1", "B", "2024-01-01", "2024-01-15", 80.0),
            ("B2", "B", "2024-03-10", "2024-03-10", -80.0),  # withdrawn in between
            ("C1", "C", "2024-10-01", "2024-10-15", 50.0),
            ("D1", "D", "2024-01-01", "2024-01-15", 200.0),
        ],
        [
            ("A", "2024-03-11", 30.0, "A1"),
            ("A", "2024-03-12", 900.0, "A2"),
            ("A", "2024-06-01", 70.0, "A1"),  # later than is observed
            ("D", "2024-03-10", 200.0, "D1"),
            ("D", "2024-03-12", -200.0, "D1"),  # comes back
        ],
    )
    found = proceeds(asked(book, "A", "B", "D"), np.zeros((3, 1), np.float32), CUT)
    assert found.seen == found.until == 28.0
    assert found.known.tolist() == [True, False, True]
    assert found.share[[0, 2]] == pytest.approx([0.3, 0.0])
    assert np.isnan(found.share[1])
    late = asked(book, "C", day="2024-11-20")  # 11 days to the cut
    assert not proceeds(late, np.zeros((1, 1), np.float32), CUT).known[0]
    dear = proceeds(asked(book, "A"), np.zeros((1, 1), np.float32), CUT, yearly_rate=0.08)
    assert dear.share[0] == pytest.approx(0.3 * 1.08 ** (-10.5 / 365))


def test_what_a_hold_binds_is_not_asked_for():
    hold = {"account_id": "A", "kind": "dispute", "from_on": "2024-02-20", "invoice_id": "A1"}
    claims = [
        ("A1", "A", "2024-01-01", "2024-01-15", 100.0),
        ("A2", "A", "2024-02-20", "2024-03-20", 50.0),  # free, but not past due
        ("B1", "B", "2024-01-01", "2024-01-15", 80.0),
    ]
    book = ledger(claims, [("A", "2024-03-05", 50.0, "A2")], [hold])
    found = proceeds(asked(book, "A", "B"), np.zeros((2, 1), np.float32), CUT)
    assert found.known.tolist() == [False, True]


def simulated(seed, n=3000, days=420, plans=False):
    """One claim an account; x tells the daily hazard, three of ten never pay by themselves."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2023-10-01")
    due = start + rng.integers(0, days - 30, n).astype("timedelta64[D]")
    x = rng.normal(size=n)
    wait = rng.exponential(40.0 * np.exp(-0.5 * x))
    wait[rng.random(n) < 0.3] = np.inf
    agreed = plans & (rng.random(n) < 0.3)
    invoices, payments, holds = [], [], []
    for i in range(n):
        name = f"A{i:05d}"
        invoices.append((f"I{i}", name, str(due[i] - 10), str(due[i] - 1), 100.0))
        if agreed[i]:
            hold = {"account_id": name, "kind": "payment_plan", "from_on": str(due[i] + 5)}
            holds.append({**hold, "to_on": str(due[i] + 170), "invoice_id": f"I{i}"})
            pays = [(70.0 + 20 * k, 20.0) for k in range(5)]
        else:
            pays = [(wait[i], 100.0)]
        for after, amount in pays:
            if np.isfinite(after):
                payments.append((name, str(due[i] + int(after)), amount, f"I{i}"))
    return x, due, agreed, invoices, payments, holds


def read(invoices, payments, holds, x, due):
    book = ledger(invoices, payments, holds)
    times = [f"{day}T00:00+00:00" for day in due]
    names = [f"A{i:05d}" for i in range(len(due))]
    rows = [{"account_id": a, "as_of": t} for a, t in zip(names, times, strict=True)]
    return Snapshot.from_rows(book, rows), x[:, None].astype(np.float32)


def test_surrogate_tells_what_half_a_year_brings_where_some_weeks_do_not():
    x, due, agreed, invoices, payments, holds = simulated(0, plans=True)
    cut = np.datetime64("2024-11-24T00:00:00", "us")
    snapshot, X = read(invoices, payments, holds, x, due)
    found = proceeds(snapshot, X, cut)
    assert (found.seen, found.until) == (56.0, 182.0)
    # The truth of those whose half a year is not over at the cut, from the whole history.
    whole = proceeds(snapshot, X, np.datetime64("2030-01-01", "us"))
    truth = np.zeros(len(x))
    owner = {f"I{i}": i for i in range(len(x))}
    for _, day, amount, invoice in payments:
        i = owner[invoice]
        truth[i] += amount / 100.0 * ((np.datetime64(day) - due[i]).astype(int) < 182)
    newest = found.known & (due + np.timedelta64(182, "D") > cut.astype("datetime64[D]"))
    for group in (agreed, ~agreed):
        mine = newest & group
        error = np.sqrt(((found.share - truth)[mine] ** 2).mean() / mine.sum())
        assert mine.sum() > 60
        # Trees of a learning rate stop a little short of a group that always pays.
        assert abs((found.share - truth)[mine].mean()) < 3 * error + 0.03
    # What is seen alone misses what instalments bring.
    early = agreed & newest
    assert found.share[early].mean() > 0.85
    assert whole.known.all()


def test_what_comes_after_the_cut_changes_nothing():
    x, due, _, invoices, payments, holds = simulated(1, n=2400, plans=True)
    cut = np.datetime64("2024-10-01T00:00:00", "us")
    whole = proceeds(*read(invoices, payments, holds, x, due), cut)
    day = cut.astype("datetime64[D]")
    known = [p for p in payments if np.datetime64(p[1]) < day]
    held = [h for h in holds if np.datetime64(h["from_on"]) < day]
    cropped = proceeds(*read(invoices, known, held, x, due), cut)
    np.testing.assert_array_equal(whole.known, cropped.known)
    np.testing.assert_allclose(whole.share, cropped.share, equal_nan=True)
