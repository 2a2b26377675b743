"""What the rules allow equals what a plain reader allows, for every action of every account."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from collectopt.rules import Layout, Rules, State
from collectopt.schema import ActionKind, Snapshot

MANY = int(os.environ.get("RULES_DECISIONS", "1000000"))
MEMO = (
    "check_customer",
    "contacts",
    "claims_to_ask_for",
    "same_person",
    "check_responses",
    "holds",
    "said",
)


def holds_true(check, *what):
    try:
        check(*what)
    except AssertionError:
        return False
    return True


def plain_reader(kit, frames):
    """A reader that remembers what it has read about an account."""
    book = kit.Plain(frames)
    for name in MEMO:
        setattr(book, name, cache(getattr(book, name)))
    return book


def contacts_allowed(book, a, actions, sends):
    """Which contacts a plain reader allows: bool by action; `sends` by (day, hour)."""
    allowed = np.zeros(len(actions), dtype=bool)
    if not holds_true(book.check_customer, a):
        return allowed
    tones = [holds_true(book.check_tone, a, tone) for tone in actions.tones]
    if not any(tones):
        return allowed
    mild = actions.tones[tones.index(True)]
    free = {}
    for slot, send in sends.items():
        if send is None or not holds_true(book.check_cap, [{"account_id": a, "send_at": send}]):
            continue
        for c, name in enumerate(actions.channels):
            row = {"account_id": a, "send_at": send, "channel": name, "tone": mild}
            free[c, slot] = holds_true(book.check_contact, row)
    for k in np.flatnonzero(actions.is_contact):
        slot = int(actions.day[k]), float(actions.hour[k])
        allowed[k] = tones[actions.tone[k]] and free.get((int(actions.channel[k]), slot), False)
    return allowed


def compare(kit, frames, without=()):
    """Compare one book; give how many actions were allowed and how many judged."""
    cat = frames.parsed()
    layout, actions = Layout.of(cat.actions), cat.actions
    snapshot = Snapshot(frames.ledger(), frames.as_of)
    state = State.of(snapshot, cat, layout)
    rules = Rules.from_catalogue(cat).without(["DISTRESS", *without])
    ours = rules.evaluate(state, layout, slice(0, len(state))).allowed
    book, epoch = plain_reader(kit, frames), datetime(1970, 1, 1, tzinfo=UTC)
    for i, a in enumerate(snapshot.rows["account_id"].to_pylist()):
        sends = {}
        for slot, micros in zip(layout.slots, state.send_at[state.clock[i]].tolist(), strict=True):
            exists = micros > 0
            sends[slot] = epoch + timedelta(microseconds=micros) if exists else None
        theirs = contacts_allowed(book, a, actions, sends)
        for k in np.flatnonzero(~actions.is_contact):
            name = actions.kind[k]
            external = {ActionKind.AGENCY: "agency", ActionKind.COURT: "court"}.get(name)
            row = {"account_id": a, "channel": external, "propensity": 1}
            theirs[k] = external is None or holds_true(book.check_external, row)
        odd = np.flatnonzero(ours[i] != theirs)
        assert not len(odd), (a, str(actions[odd[0]]), bool(ours[i, odd[0]]))
    return int(ours.sum()), ours.size


def run(kit, decisions):
    allowed = judged = seed = 0
    while allowed < decisions:
        more, of = compare(kit, kit.frames(seed, n=120, cadence_days=7))
        allowed, judged, seed = allowed + more, judged + of, seed + 1
    return f"{allowed:,} decisions of {judged:,} actions in {seed} books: no difference"


def test_rules_equal_a_plain_reading(kit):
    run(kit, 100_000)


@pytest.mark.slow
def test_rules_equal_a_plain_reading_many_times(kit):
    print(run(kit, MANY))


@pytest.mark.parametrize(
    "code",
    ["PAST_DUE", "OPTED_OUT", "CONSENT", "NO_ADDRESS", "SLOT_PAST", "HOURS", "CONTACT_CAP",
     "FIRST_CONTACT_GENTLE", "MAX_TONE_STEP", "HOLD_INSOLVENCY", "HOLD_DISPUTE",
     "SAID_DISPUTE", "SAID_PROMISE", "SAID_PAYMENT_PLAN"],
)  # fmt: skip
def test_the_reader_sees_a_missing_rule(kit, code):
    change = {"limits": {"contacts_per_7_days": 2, "pre_due_days": 0}}
    change["house"] = {
        "first_contact_gentle": True, "max_tone_step": 1, "min_contacts_before_agency": 2,
    }  # fmt: skip
    change |= {"jurisdiction": "de"} if code.startswith("SAID") else {}
    for seed in range(20):
        try:
            compare(kit, kit.frames(seed, cadence_days=3, **change), [code])
        except AssertionError:
            return
    pytest.fail(f"nothing happened without {code}")


@pytest.mark.parametrize(
    "code", ["MIN_OWN_CONTACTS", "APPROVAL", "STAGE_REMINDED", "STAGE_WARNED", "STAGE_NOTICE_TIME"]
)
def test_the_reader_sees_a_missing_step_before_an_agency(kit, code):
    change = {"agency": {}, "cadence_days": 1, "slots": {"hours": [9]}}
    change["jurisdiction"] = "de" if code == "APPROVAL" else "none"
    fewest = {"MIN_OWN_CONTACTS": 2, "STAGE_WARNED": 1}.get(code, 0)
    change["house"] = {
        "first_contact_gentle": True, "max_tone_step": 1, "min_contacts_before_agency": fewest,
    }  # fmt: skip
    # a claim without a contact has no day of a last notice either: both rules see it
    also = ["STAGE_NOTICE_TIME"] if code == "STAGE_REMINDED" else []
    for seed in range(40):
        try:
            compare(kit, kit.frames(seed, n=120, **change), [code, *also])
        except AssertionError:
            return
    pytest.fail(f"nothing happened without {code}")
