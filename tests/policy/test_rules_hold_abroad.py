"""Decisions of the policy under the packs of the United States and the United Kingdom."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.policy import NextBestAction
from collectopt.rules import Rules


def decide(kit, frames, seed, without=()):
    catalogue = frames.parsed()
    rules = Rules.from_catalogue(catalogue).without(without)
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.3), rules=rules
    )
    policy.fit(frames.ledger(), frames.as_of)
    return policy.decide(frames.ledger(), frames.as_of, rng=seed)


def book(kit, seed, jurisdiction):
    """A random book with more calls, conversations and disputes."""
    change = {"jurisdiction": jurisdiction, "explore": 1.0, "limits": {"pre_due_days": 0}}
    frames = kit.frames(seed, **change)
    extra = {"contacts": [], "responses": []}
    for i, account in enumerate(frames.tables["accounts"]):
        a = account["account_id"]
        kind = {1: "disputed", 2: "answered", 4: "answered", 5: "answered"}.get(i % 6)
        hours = [20 * j + 5 for j in range(7 if i % 3 == 0 else 0)]
        for j, back in enumerate([24 * (i % 9) + 1] if kind else hours):
            at = frames.as_of - timedelta(hours=back)
            extra["contacts"].append(
                {"contact_id": f"{a}x{j}", "account_id": a, "sent_at": at, "decided_at": None,
                 "channel": "phone", "tone": "friendly"}
            )  # fmt: skip
        if kind:
            at = frames.as_of - timedelta(days=i % 9, hours=1)
            row = {"account_id": a, "at": at, "kind": kind, "contact_id": f"{a}x0"}
            extra["responses"].append(row)
    for name, rows in extra.items():
        frames.tables[name] = frames.tables.get(name, []) + rows
    return frames, extra


def check_abroad(frames, extra, decisions):
    """Assert what the two packs add, in plain Python; give the number of contacts."""
    us = frames.catalogue["jurisdiction"] == "us_regf"
    account = {a["account_id"]: a for a in frames.tables["accounts"]}
    disputed = {r["account_id"] for r in extra["responses"] if r["kind"] == "disputed"}
    sent = 0
    for row in decisions.to_arrow().to_pylist():
        if row["channel"] in {"none", "stop"}:
            continue
        a = row["account_id"]
        zone = ZoneInfo(account[a]["timezone"])
        assert a not in disputed
        if row["channel"] in {"agency", "court"}:
            assert us or account[a]["customer_type"] == "business"
            continue
        sent += 1
        local = row["send_at"].astimezone(zone)
        call, text = row["channel"] == "phone", row["channel"] == "sms"
        if us:
            assert 8 <= local.hour < 21
            assert not (call or text) or account[a][f"{row['channel']}_ok"] is True
        elif call or text:
            assert 8 <= local.hour < 20
            assert not (call and local.weekday() == 6)
        if us and call:
            days = [
                c["sent_at"].astimezone(zone).date()
                for c in frames.tables["contacts"]
                if c["account_id"] == a
                and c["channel"] == "phone"
                and (c["decided_at"] or c["sent_at"]) < frames.as_of
            ]
            for back in range(7):
                start = local.date() - timedelta(days=back)
                known = sum(0 <= (d - start).days < 7 for d in days)
                assert known + 1 <= 7, "more than seven calls"
            for r in extra["responses"]:
                if r["account_id"] == a:
                    assert (local.date() - r["at"].astimezone(zone).date()).days >= 7
    return sent


@pytest.mark.parametrize("jurisdiction", ["us_regf", "uk_conc"])
def test_decisions_abroad_break_no_rule(kit, jurisdiction):
    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 10**6))
    def run(seed):
        frames, extra = book(kit, seed, jurisdiction)
        check_abroad(frames, extra, decide(kit, frames, seed))

    run()


BITES = [
    ("us_regf", "CALL_FREQUENCY"), ("us_regf", "CALL_AFTER_CONVERSATION"), ("us_regf", "DISPUTED"),
    ("us_regf", "CONSUMER_HOURS"), ("us_regf", "EXPRESS_CONSENT"), ("uk_conc", "DISPUTED"),
    ("uk_conc", "REASONABLE_HOURS"),
]  # fmt: skip


@pytest.mark.parametrize(("jurisdiction", "code"), BITES)
def test_the_checker_sees_when_a_rule_is_missing(kit, jurisdiction, code):
    out = [code, "CONSENT"] if code == "EXPRESS_CONSENT" else [code]
    for seed in range(40):
        frames, extra = book(kit, seed, jurisdiction)
        try:
            check_abroad(frames, extra, decide(kit, frames, seed, out))
        except AssertionError:
            return
    pytest.fail(f"nothing happened without {code}")


def test_there_are_contacts_to_check(kit):
    sent = 0
    for seed in range(4):
        for jurisdiction in ("us_regf", "uk_conc"):
            frames, extra = book(kit, seed, jurisdiction)
            decisions = decide(kit, frames, seed)
            kit.check(frames, decisions)
            sent += check_abroad(frames, extra, decisions)
    assert sent > 20
