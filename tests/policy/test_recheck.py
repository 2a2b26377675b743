"""Rules once more before sending: nothing changes by itself, and what happened since counts."""

from datetime import timedelta

import pytest

import collectopt as co
from collectopt.policy import FixedLadder

CATALOGUE = co.Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
        "cadence_days": 3,
        "slots": {"hours": [9, 14]},
        "timezone": "Europe/Berlin",
        "limits": {"contacts_per_7_days": 1},
    }
)
AS_OF = "2026-02-05T06:00+01:00"
IDS = ("A", "B", "C", "D")


def tables(**more):
    return {
        "accounts": [{"account_id": a, "customer_type": "consumer", "country": "DE",
                      "timezone": "Europe/Berlin", "email_ok": True} for a in IDS],
        "invoices": [{"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02",
                      "due_on": "2026-01-30", "amount": 50.0, "currency": "EUR"} for a in IDS],
        **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def decided():
    policy = FixedLadder(CATALOGUE)
    return policy, policy.decide(co.Ledger.from_frames(**tables()), AS_OF)


def test_nothing_is_stopped_by_itself(decided):
    policy, decisions = decided
    assert decisions.counts() == {"email": 4}
    found = policy.recheck(decisions, co.Ledger.from_frames(**tables()), AS_OF)
    assert len(found.stopped) == 0
    assert found.decisions.to_arrow().equals(decisions.to_arrow())
    assert "4 go on, 0 stopped" in repr(found)


def test_what_happened_since_stops_what_it_forbids(decided):
    policy, decisions = decided
    first = decisions.to_arrow()["send_at"][0].as_py()
    now = first - timedelta(minutes=30)
    earlier = now - timedelta(minutes=60)
    ledger = co.Ledger.from_frames(**tables(
        payments=[{"payment_id": "1", "account_id": "A", "paid_at": earlier, "amount": 50.0}],
        responses=[{"account_id": "B", "at": earlier, "kind": "opted_out"}],
        holds=[{"account_id": "C", "kind": "dispute", "from_on": "2026-02-04"}],
    ))  # fmt: skip
    found = policy.recheck(decisions, ledger, now)
    codes = dict(zip(found.stopped["account_id"].to_pylist(), found.stopped["code"].to_pylist(),
                     strict=True))  # fmt: skip
    assert codes == {"A": "PAST_DUE", "B": "OPTED_OUT", "C": "HOLD_DISPUTE"}
    assert found.decisions.to_arrow()["account_id"].to_pylist() == ["D"]
    assert all(found.to_pandas().reason)
    # what comes to be known later does not count yet
    assert len(policy.recheck(decisions, ledger, earlier - timedelta(hours=12)).stopped) == 0


def test_what_is_late_or_was_sent_otherwise_is_stopped(decided):
    policy, decisions = decided
    first = decisions.to_arrow()["send_at"][0].as_py()
    late = policy.recheck(decisions, co.Ledger.from_frames(**tables()), first)
    assert set(late.stopped["code"].to_pylist()) == {"SLOT_PAST"}
    other = [{"contact_id": "x", "account_id": "A", "channel": "letter", "tone": "friendly",
              "sent_at": first - timedelta(hours=2)}]  # fmt: skip
    again = policy.recheck(decisions, co.Ledger.from_frames(**tables(contacts=other)),
                           first - timedelta(minutes=10))  # fmt: skip
    assert again.stopped["code"].to_pylist() == ["CONTACT_CAP"]


def test_announced_contacts_do_not_count_against_themselves(decided):
    policy, decisions = decided
    rows = decisions.to_arrow().to_pylist()
    announced = [
        {"contact_id": f"c{r['account_id']}", "account_id": r["account_id"],
         "channel": r["channel"], "tone": r["tone"], "sent_at": r["send_at"],
         "decided_at": AS_OF, "decision_id": r["decision_id"]}
        for r in rows
    ]  # fmt: skip
    now = rows[0]["send_at"] - timedelta(minutes=10)
    ledger = co.Ledger.from_frames(**tables(contacts=announced))
    assert len(policy.recheck(decisions, ledger, now).stopped) == 0
    nameless = [{**c, "decision_id": None} for c in announced]
    ledger = co.Ledger.from_frames(**tables(contacts=nameless))
    assert set(policy.recheck(decisions, ledger, now).stopped["code"].to_pylist()) == {
        "CONTACT_CAP"
    }


@pytest.mark.parametrize("seed", range(12))
def test_on_random_books_the_moment_of_the_decision_stops_nothing(kit, seed):
    frames = kit.frames(seed)
    catalogue, ledger = frames.parsed(), frames.ledger()
    policy = FixedLadder(catalogue)
    decisions = policy.decide(ledger, frames.as_of)
    found = policy.recheck(decisions, ledger, frames.as_of)
    assert found.stopped["code"].to_pylist() == []
    assert len(found.decisions) == len(decisions)


def test_waits_and_empty_books_go_through(decided):
    policy, _ = decided
    ledger = co.Ledger.from_frames(**tables())
    none = policy.decide(ledger, "2026-01-10")
    assert len(policy.recheck(none, ledger, "2026-01-11").stopped) == 0
