"""The stage machine: no sequence of permitted actions skips a step, no catalogue asks for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.exceptions import CatalogueError, InputError
from collectopt.rules import Layout, Rules, Stage, State
from collectopt.rules.fees import court_order_fees, fee_tables
from collectopt.rules.stages import days_left, stages_of
from collectopt.schema import ActionKind, Catalogue, Ledger, Snapshot

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
BASE = {
    "channels": [{"name": "email"}], "slots": {"hours": [9]}, "cadence_days": 7, "timezone": "UTC",
    "agency": {"notice_days": 10}, "court": {"notice_days": 14},
    "house": {"first_contact_gentle": False, "max_tone_step": 2, "min_contacts_before_agency": 0,
              "doubt": 1.0},
}  # fmt: skip


def catalogue(**change):
    return Catalogue.from_dict({**BASE, **change})


class Life:
    """One account that lives from week to week with whatever is permitted."""

    def __init__(self, cat, consumer, due, seed):
        self.cat, self.layout = cat, Layout.of(cat.actions)
        self.rules, self.rng = Rules.from_catalogue(cat), np.random.default_rng(seed)
        kind = "consumer" if consumer else "business"
        self.tables = {
            "accounts": [{"account_id": "A", "customer_type": kind, "country": "DE",
                          "timezone": "UTC", "email_ok": True}],
            "invoices": [{"invoice_id": "I", "account_id": "A", "issued_on": date(2025, 12, 1),
                          "due_on": due, "amount": 100.0, "currency": "EUR"}],
            "contacts": [], "holds": [], "responses": [],
        }  # fmt: skip
        self.done = []  # (day, what, tone), in order

    def state(self, now):
        tables = {name: rows for name, rows in self.tables.items() if rows}
        snapshot = Snapshot(Ledger.from_frames(**tables), now)
        return State.of(snapshot, self.cat, self.layout)

    def step(self, now):
        """Take a permitted action, rather an agency or a court than a contact."""
        allowed = self.rules.evaluate(self.state(now), self.layout, slice(0, 1)).allowed[0]
        kinds = self.cat.actions.kind
        outside = np.flatnonzero(allowed & np.isin(kinds, (ActionKind.AGENCY, ActionKind.COURT)))
        pick = outside if len(outside) else np.flatnonzero(allowed & (kinds <= 1))
        action = self.cat.actions[int(self.rng.choice(pick))]
        today = now.date()
        if action.kind is ActionKind.CONTACT:
            at = datetime(today.year, today.month, today.day, 9, tzinfo=UTC)
            at += timedelta(days=action.day)
            number = f"C{len(self.tables['contacts'])}"
            row = {"contact_id": number, "account_id": "A", "sent_at": at, "channel": "email",
                   "decided_at": now, "tone": action.tone}  # fmt: skip
            self.tables["contacts"].append(row)
            self.done.append((at.date(), "contact", action.tone))
            if self.rng.random() < 0.15:
                kind = str(self.rng.choice(["disputed", "dispute_resolved"]))
                after = at + timedelta(hours=1)
                reply = {"account_id": "A", "at": after, "kind": kind, "contact_id": number}
                self.tables["responses"].append(reply)
                self.done.append((after.date(), kind, None))
        elif action.kind is not ActionKind.WAIT:
            hold = {"account_id": "A", "kind": action.kind.channel, "from_on": today,
                    "to_on": today + timedelta(days=20)}  # fmt: skip
            self.tables["holds"].append(hold)
            self.done.append((today, action.kind.channel, None))


def check(done, *, consumer, due, notice="firm", order=()):
    """Read the law from the list of what was done, in plain Python."""
    tones = ["friendly", "neutral", "firm"]
    for k, (day, what, _) in enumerate(done):
        if what not in {"agency", "court"}:
            continue
        before = [entry for entry in done[:k] if entry[0] > due]
        contacts = [entry for entry in before if entry[1] == "contact"]
        assert day > due
        assert contacts, "no default"
        if consumer or what == "court":
            assert len(contacts) > 1
            assert tones.index(contacts[-1][2]) >= tones.index(notice), "no formal notice"
        assert (day - contacts[-1][0]).days >= BASE[what]["notice_days"]
        disputes = [e[1] for e in done[:k] if e[1].startswith("disput")]
        assert not disputes or disputes[-1] == "dispute_resolved"
        if order and what == "court" and "agency" in order:
            assert "agency" in [e[1] for e in done[:k]]


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    consumer=st.booleans(),
    order=st.sampled_from([(), ("reminded", "warned", "agency", "court"), ("warned", "court")]),
    due=st.integers(-60, 20),
)
def test_no_sequence_of_permitted_actions_skips_a_step(seed, consumer, order, due):
    if order and order[0] == "warned":
        order = ("reminded", *order)
    due = START.date() + timedelta(days=due)
    cat = catalogue(**({"stages": {"order": order}} if order else {}))
    life = Life(cat, consumer, max(due, date(2025, 12, 1)), seed)
    for week in range(12):
        life.step(START + timedelta(weeks=week))
    check(life.done, consumer=consumer, due=max(due, date(2025, 12, 1)), order=order)


def test_agency_and_court_are_reached_at_all():
    reached = set()
    for seed in range(12):
        life = Life(catalogue(), seed % 2 == 0, date(2025, 12, 1), seed)
        for week in range(16):
            life.step(START + timedelta(weeks=week))
        reached |= {what for _, what, _ in life.done}
        if {"agency", "court"} <= reached:
            break
    assert {"agency", "court"} <= reached


def test_stages_are_read_from_what_was_done():
    life = Life(catalogue(), True, date(2025, 12, 15), 0)
    assert stages_of(life.state(START), 2) == [Stage.OPEN]
    for j, (tone, stage) in enumerate([("firm", Stage.REMINDED), ("firm", Stage.WARNED)]):
        at = START + timedelta(days=j)
        row = {"contact_id": f"C{j}", "account_id": "A", "sent_at": at, "channel": "email"}
        life.tables["contacts"].append({**row, "tone": tone})
        assert stages_of(life.state(START + timedelta(days=j + 1)), 2) == [stage]
    life.tables["holds"] = [{"account_id": "A", "kind": "agency", "from_on": date(2026, 1, 7)}]
    assert stages_of(life.state(START + timedelta(days=9)), 2) == [Stage.AGENCY]


def test_a_claim_that_is_time_barred_goes_to_no_court():
    life = Life(catalogue(), False, date(2025, 12, 15), 0)
    for j, tone in enumerate(["neutral", "firm"]):
        at = datetime(2028, 6, 1 + j, 9, tzinfo=UTC)
        row = {"contact_id": f"C{j}", "account_id": "A", "sent_at": at, "channel": "email"}
        life.tables["contacts"].append({**row, "tone": tone})
    codes = {}
    for now in (datetime(2028, 12, 30, 6, tzinfo=UTC), datetime(2029, 1, 2, 6, tzinfo=UTC)):
        state = life.state(now)
        verdict = life.rules.evaluate(state, life.layout, slice(0, 1))
        codes[now.year] = verdict.allowed[0, life.cat.actions.kind == ActionKind.COURT].all()
        left = (date(2028, 12, 31) - now.date()).days
        assert days_left(state).tolist() == [left]
    assert codes == {2028: True, 2029: False}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (["agency"], "default .Verzug. begins with a reminder"),
        (["reminded", "court"], "a formal notice comes before a court order"),
        (["warned", "agency"], "a reminder comes before a formal notice"),
        (["reminded", "warned", "enforcement"], "a title comes before its enforcement"),
        (["reminded", "reminded"], "twice"),
        (["reminded", "stopped", "agency"], "nothing comes after"),
    ],
)
def test_an_order_that_skips_a_step_is_refused(order, says):
    with pytest.raises(CatalogueError, match=says):
        catalogue(stages={"order": order})


def test_an_order_needs_what_it_names():
    with pytest.raises(CatalogueError, match=r"but no \[court\]"):
        catalogue(stages={"order": ["reminded", "warned", "court"]}, court=None)
    with pytest.raises(CatalogueError, match="notice_tone"):
        catalogue(stages={"notice_tone": "angry"})
    codes = Rules.from_catalogue(catalogue(agency=None, court=None)).codes
    assert not [code for code in codes if code.startswith("STAGE")]


def test_fees_by_hand():
    """Court: 0.5 fee; lawyer: 1.0 fee + 20 % (at most 20 EUR)."""

    def fees(amount, day):
        found = court_order_fees(Decimal(amount), day, lawyer=True)
        return str(found.court), str(found.lawyer)

    old, new = date(2025, 5, 31), date(2025, 6, 1)
    assert fees("70", old) == ("36.00", "58.80"), "minimum; 49 + 9.80"
    assert fees("70", new) == ("38.00", "61.80"), "minimum; 51.50 + 10.30"
    # 38 + 3 x 20 + 21 = 119; 49 + 3 x 39 + 56 = 222
    assert fees("2000.01", old) == ("59.50", "242.00")
    # 40 + 3 x 21 + 8 x 22.50 + 30.50 = 313.50; 51.50 + 3 x 41.50 + 8 x 59.50 + 55 = 707
    assert fees("10500", new) == ("156.75", "727.00")
    assert fees("600000", new) == fees("500000", new)
    assert not any(table.verified for table in fee_tables())
    with pytest.raises(InputError, match="a table for 2020-12-31"):
        court_order_fees(Decimal(1), date(2020, 12, 31))
    with pytest.raises(InputError, match="more than 0"):
        court_order_fees(Decimal(0), new)
