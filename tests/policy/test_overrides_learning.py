"""Learning leaves out what people decided: they call the worst, and know more than the features."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

import collectopt as co
from collectopt.features import compute
from collectopt.policy import BestConstant, Overrides, Random, decision_log
from collectopt.policy.historic import historic_rows

CATALOGUE = co.Catalogue.from_dict({
    "channels": [{"name": "phone"}], "tones": {"order": ["neutral"]}, "cadence_days": 1,
    "slots": {"hours": [12]},
})  # fmt: skip
DECIDED = datetime(2026, 2, 2, 6, tzinfo=UTC)
CUT = "2026-04-01"
LIFT = 0.2  # of a call on the chance to pay, for everybody


def book(n=1_200, seed=5, mark="override:abc", chance=True):
    """A log in which people call half of the worst accounts; the others are drawn by a coin.

    The worst pay with probability 0.05, the others with 0.55; nothing in the book tells them apart.
    """
    rng = np.random.default_rng(seed)
    worst = rng.random(n) < 0.4
    by_hand = worst & (rng.random(n) < 0.5)
    called = by_hand | (rng.random(n) < 0.5)
    pays = rng.random(n) < np.where(worst, 0.05, 0.55) + LIFT * called
    ids = [f"{i:04d}" for i in range(n)]
    accounts = [{"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
                for a in ids]  # fmt: skip
    invoices = [{"invoice_id": a, "account_id": a, "issued_on": date(2026, 1, 1),
                 "due_on": date(2026, 1, 20), "amount": 50.0, "currency": "EUR"}
                for a in ids]  # fmt: skip
    payments = [{"payment_id": a, "account_id": a, "paid_at": DECIDED + timedelta(days=7),
                 "amount": 50.0, "invoice_id": a}
                for a, p in zip(ids, pays, strict=True) if p]  # fmt: skip
    contacts = [
        {"contact_id": a, "account_id": a, "decided_at": DECIDED,
         "sent_at": DECIDED + timedelta(hours=6) if c else DECIDED,
         "channel": "phone" if c else "none", "tone": "neutral" if c else None,
         "propensity": (1.0 if h else 0.5) if chance else None,
         "policy": mark if h else "abc"}
        for a, c, h in zip(ids, called, by_hand, strict=True)
    ]  # fmt: skip
    ledger = co.Ledger.from_frames(
        accounts=accounts, invoices=invoices, payments=payments, contacts=contacts
    )
    return ledger, by_hand


def difference(log):
    """Weighted difference of the share that paid, and its standard error."""
    called = log.action > 0
    weight = 1.0 / log.propensity
    parts = []
    for arm in (called, ~called):
        w, y = weight[arm], log.reward[arm]
        mean = np.average(y, weights=w)
        parts.append((mean, ((w * (y - mean)) ** 2).sum() / w.sum() ** 2))
    (one, var_one), (two, var_two) = parts
    return one - two, np.sqrt(var_one + var_two)


def test_effects_are_right_where_people_call_the_worst():
    ledger, by_hand = book()
    log = decision_log(ledger, CUT, catalogue=CATALOGUE)
    assert len(log) == (~by_hand).sum()
    effect, error = difference(log)
    assert abs(effect - LIFT) < 3 * error
    # the same book, had nobody marked what people decided
    blind = decision_log(book(mark="abc")[0], CUT, catalogue=CATALOGUE)
    assert len(blind) == len(by_hand)
    naive, error = difference(blind)
    assert naive < LIFT - 3 * error


def test_logs_without_chances_leave_out_people_too():
    ledger, by_hand = book(n=300, chance=False)
    cut = np.datetime64(CUT, "us")
    rows, action, _ = historic_rows(ledger, cut, CATALOGUE)
    assert len(rows) == len(action) == (~by_hand).sum()
    assert len(historic_rows(book(300, mark="x", chance=False)[0], cut, CATALOGUE)[1]) == 300
    # on a rhythm without logged waits, a step in which people called is no wait either
    calls = ledger.contacts.filter(np.asarray(ledger.contacts["channel"]) == "phone")
    names = ("accounts", "invoices", "payments")
    bare = co.Ledger.from_frames(**{n: ledger.table(n) for n in names}, contacts=calls)
    rows, action, _ = historic_rows(bare, cut, CATALOGUE)
    hand = {f"{i:04d}" for i in np.flatnonzero(by_hand)}
    moments = zip(rows["account_id"].to_pylist(), rows["as_of"].to_pylist(), strict=True)
    assert not [a for a, at in moments if a in hand and at.date() == DECIDED.date()]


def test_what_people_decided_still_counts_as_history():
    ledger, by_hand = book(n=60)
    later = co.Snapshot(ledger, "2026-02-20")
    matrix = compute(later)
    contacts = next(i for i, n in enumerate(matrix.names) if n.startswith("contact"))
    ids = later.rows["account_id"].to_pylist()
    hand = np.array([by_hand[int(a)] for a in ids])
    assert np.isfinite(matrix.values[hand, contacts]).all()


def test_the_record_marks_itself_on_its_way_back():
    """Decisions, kept as contacts with their version as `policy`, come back without people's."""
    n = 40
    ids = [f"{i:02d}" for i in range(n)]
    tables = {
        "accounts": [{"account_id": a, "customer_type": "business", "country": "DE",
                      "timezone": "UTC", "phone_ok": True} for a in ids],
        "invoices": [{"invoice_id": a, "account_id": a, "issued_on": date(2026, 1, 1),
                      "due_on": date(2026, 1, 20), "amount": 50.0, "currency": "EUR"} for a in ids],
    }  # fmt: skip
    over = Overrides.from_rows([
        {"account_id": a, "kind": "force", "channel": "phone", "reason": "worst", "owner": "j.doe",
         "from_on": "2026-02-01", "until": "2026-03-01"} for a in ids[:9]
    ])  # fmt: skip
    policy = Random(CATALOGUE, contact=0.9)
    decisions = policy.decide(co.Ledger.from_frames(**tables), DECIDED, rng=1, overrides=over)
    contacts = [
        {"contact_id": r["decision_id"], "account_id": r["account_id"], "decided_at": DECIDED,
         "sent_at": r["send_at"] or DECIDED, "channel": r["channel"], "tone": r["tone"],
         "offer": r["offer"], "propensity": r["propensity"], "policy": r["policy_version"],
         "decision_id": r["decision_id"]}
        for r in decisions.to_arrow().to_pylist()
    ]  # fmt: skip
    assert [c["channel"] for c in contacts[:9]] == ["phone"] * 9
    ledger = co.Ledger.from_frames(**tables, contacts=contacts)
    log = decision_log(ledger, CUT, catalogue=CATALOGUE)
    assert len(log) == n - 9
    assert (log.propensity < 1).all()
    assert BestConstant(CATALOGUE).fit(ledger, CUT) is not None


@pytest.mark.parametrize("mark", ["override", "override:v1", "override by the call centre"])
def test_any_mark_that_begins_so_counts(mark):
    ledger, by_hand = book(n=60, mark=mark)
    assert len(decision_log(ledger, CUT, catalogue=CATALOGUE)) == (~by_hand).sum()
