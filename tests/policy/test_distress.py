"""Distress is met with help: whatever is drawn or wanted, nobody in distress is pressed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectopt as co
from collectopt.exceptions import CatalogueError, NotFittedError
from collectopt.models import DelayModel, DelayReason
from collectopt.policy import FixedLadder, NextBestAction
from collectopt.rules import Layout, Rules, State
from collectopt.schema import ActionKind, Catalogue

RUNS = settings(max_examples=15, deadline=None, derandomize=True)
TONES = ("friendly", "neutral", "firm")
LIKELY, CLEAR, UNCLEAR = range(3)


@dataclass
class Told:
    """What a model of delay reasons says, given: by account number."""

    account_id: tuple[str, ...]

    @property
    def belief(self):
        return np.array([int(name) % 3 for name in self.account_id])

    @property
    def distress(self):
        return np.where(self.belief == LIKELY, 0.6, 0.1)

    @property
    def doubt(self):
        return np.where(self.belief == UNCLEAR, 0.9, 0.3)


class Stub:
    def predict(self, snapshot):
        return Told(tuple(snapshot.rows["account_id"].to_pylist()))


def decided(kit, frames, rng, without=()):
    catalogue = frames.parsed()
    policy = NextBestAction(
        catalogue,
        payment=kit.Payment(),
        response=kit.Response(catalogue, 0.3),
        rules=Rules.from_catalogue(catalogue).without(without),
    ).fit(frames.ledger(), frames.as_of)
    policy.delays_ = Stub()
    return policy.decide(frames.ledger(), frames.as_of, rng=rng)


def check(frames, decisions):
    """Assert that nobody is pressed; gives the number of contacts with accounts in distress."""
    helps = len(frames.catalogue.get("offers", {}).get("names", ["none"])) > 1
    last = {}
    for c in sorted(frames.tables.get("contacts", []), key=lambda c: c["sent_at"]):
        if c["channel"] != "none" and (c["decided_at"] or c["sent_at"]) < frames.as_of:
            last[c["account_id"]] = TONES.index(c["tone"] or "friendly")
    seen = 0
    for row in decisions.to_arrow().to_pylist():
        belief = int(row["account_id"]) % 3
        pressed = row["channel"] in {"agency", "court"} or row["tone"] in TONES[1:]
        if belief == LIKELY:
            assert not pressed
            if row["tone"] is not None:
                seen += 1
                assert row["offer"] != "none" or not helps
                assert any("distress is likely (60%)" in said for said in row["reasons"])
            assert any(entry.startswith("DISTRESS: ") for entry in row["rule_trace"])
        if belief == UNCLEAR and last.get(row["account_id"], -1) <= 0:
            assert not pressed
        if belief == CLEAR:
            assert not any(entry.startswith("DISTRESS: ") for entry in row["rule_trace"]) or (
                vulnerable(frames, row["account_id"])
            )
    return seen


def vulnerable(frames, name):
    """Whether some account of the same customer has such a hold."""
    who = {a["account_id"]: a["customer_id"] or a["account_id"] for a in frames.tables["accounts"]}
    holds = frames.tables.get("holds", [])
    return any(h["kind"] == "vulnerable" and who[h["account_id"]] == who[name] for h in holds)


@RUNS
@given(seed=st.integers(0, 10**6), rng=st.integers(0, 5), explore=st.sampled_from([0.0, 0.3, 1.0]))
def test_nobody_in_distress_is_pressed(kit, seed, rng, explore):
    frames = kit.frames(seed, explore=explore)
    decisions = decided(kit, frames, rng)
    kit.check(frames, decisions)
    check(frames, decisions)


def test_the_rule_bites(kit):
    broken = seen = 0
    for seed in range(6):
        frames = kit.frames(
            seed, n=60, explore=1.0, offers={"names": ["none", "instalments"]}, agency={},
            house={"first_contact_gentle": False, "max_tone_step": 2,
                   "min_contacts_before_agency": 0},
        )  # fmt: skip
        seen += check(frames, decided(kit, frames, seed))
        try:
            check(frames, decided(kit, frames, seed, without=["DISTRESS"]))
        except AssertionError:
            broken += 1
    assert seen > 5
    assert broken == 6


# The rule itself ------------------------------------------------------------------------------

CATALOGUE = {
    "channels": [{"name": "email"}, {"name": "phone", "cost": 4}],
    "offers": {"names": ["none", "instalments", "deferral"]},
    "slots": {"hours": [9]}, "cadence_days": 1, "agency": {}, "court": {}, "timezone": "UTC",
    "house": {"first_contact_gentle": False, "max_tone_step": 2, "min_contacts_before_agency": 0},
}  # fmt: skip
AS_OF = "2026-02-05T06:00Z"
CLAIM = {
    "issued_on": "2026-01-02", "due_on": "2026-01-10", "amount": 100.0, "currency": "EUR",
}  # fmt: skip


def book(**tables):
    names = ("A", "B", "C", "D")
    person = {"customer_type": "business", "country": "DE"}
    return co.Ledger.from_frames(
        accounts=[{"account_id": name, **person, "phone_ok": True} for name in names],
        invoices=[
            {"invoice_id": f"{n}{j}", "account_id": n, **CLAIM} for n in names for j in (1, 2)
        ],
        **tables,
    )


def allowed(ledger, catalogue, distress=None, doubt=None):
    """Permitted actions (4, K) with beliefs, and the count that the rule refused."""
    from dataclasses import replace

    layout = Layout.of(catalogue.actions)
    state = State.of(co.Snapshot(ledger, AS_OF), catalogue, layout)
    if distress is not None:
        state = replace(state, distress=np.array(distress), doubt=np.array(doubt))
    rules = Rules.from_catalogue(catalogue)
    rules = rules.without([code for code in rules.codes if code.startswith("STAGE")])
    verdict = rules.evaluate(state, layout, slice(0, 4))
    return verdict.allowed, verdict.refused[:, rules.codes.index("DISTRESS")]


def test_what_is_refused_to_whom():
    catalogue = Catalogue.from_dict(CATALOGUE)
    a, nan = catalogue.actions, np.nan
    free, refused = allowed(book(), catalogue, [0.5, 0.49, nan, 0.0], [0.1, 0.1, nan, 0.8])
    external = np.isin(a.kind, (ActionKind.AGENCY, ActionKind.COURT))
    help_alone = ~a.is_contact & ~external | (a.is_contact & (a.tone == 0) & (a.offer > 0))
    assert free[0].tolist() == help_alone.tolist()
    assert free[1].all()
    assert free[2].all()
    assert free[3].tolist() == (~external & (a.tone <= 0)).tolist()
    # 2 channels x 3 tones x 3 offers, of which 2 x 1 x 2 stay; agency and court
    assert refused.tolist() == [18 - 4 + 2, 0, 0, 12 + 2]


def test_without_offers_a_gentle_contact_stays():
    catalogue = Catalogue.from_dict({**CATALOGUE, "offers": {"names": ["none"]}})
    free, _ = allowed(book(), catalogue, [1.0, 0, 0, 0], [0.0, 0, 0, 0])
    contact = catalogue.actions.is_contact
    assert (free[0] & contact).tolist() == (contact & (catalogue.actions.tone == 0)).tolist()


def test_doubt_forbids_the_first_firm_tone_and_no_later_one():
    contact = {"contact_id": "1", "account_id": "A", "sent_at": "2026-01-20T09:00Z",
               "channel": "email", "tone": "neutral"}  # fmt: skip
    catalogue = Catalogue.from_dict(CATALOGUE)
    free, _ = allowed(book(contacts=[contact]), catalogue, [0.1] * 4, [0.9] * 4)
    assert free[0].all()
    assert not free[1].all()


def test_facts_hold_for_every_policy():
    held = [{"account_id": "A", "kind": "vulnerable", "from_on": date(2026, 1, 20),
             "invoice_id": "A1"}]  # fmt: skip
    catalogue = Catalogue.from_dict(CATALOGUE)
    ledger = book(holds=held)
    free, refused = allowed(ledger, catalogue)
    assert refused[0] > 0
    assert refused[1:].tolist() == [0, 0, 0]
    assert not (free[0] & (catalogue.actions.tone > 0)).any()
    ladder = FixedLadder(catalogue, days=(1, 2, 3)).fit(ledger, AS_OF)
    for row in ladder.decide(ledger, AS_OF).to_arrow().to_pylist():
        assert row["account_id"] != "A" or row["tone"] in {None, "friendly"}


def test_thresholds_come_from_the_catalogue():
    house = {**CATALOGUE["house"], "distress": 0.9, "doubt": 0.95}
    catalogue = Catalogue.from_dict({**CATALOGUE, "house": house})
    free, _ = allowed(book(), catalogue, [0.8, 0.95, 0, 0], [0.9, 0.0, 0.0, 0.96])
    assert free.all(axis=1).tolist() == [True, False, True, False]
    for wrong in (0.0, 1.5):
        with pytest.raises(CatalogueError, match="distress"):
            Catalogue.from_dict({**CATALOGUE, "house": {"distress": wrong}})


# In the policy --------------------------------------------------------------------------------


def test_policy_says_why_accounts_are_late_and_keeps_it(tmp_path):
    kind = co.simulation.Book("shop", accounts=150, seed=3, weeks=30)
    ledger, snapshot = kind.ledger(), co.Snapshot(kind.ledger(), kind.as_of)
    fresh = NextBestAction(kind.catalogue)
    with pytest.raises(NotFittedError):
        fresh.delay_reasons(snapshot)
    policy = fresh.fit(ledger, kind.as_of)
    frame = policy.delay_reasons(snapshot)
    assert len(frame) == len(snapshot)
    assert {reason.value for reason in DelayReason} <= set(frame.columns)
    policy.save(tmp_path / "p")
    again = co.load(tmp_path / "p")
    assert again.version == policy.version
    assert again.delay_reasons(snapshot).equals(frame)
    before = policy.version
    policy.delays_ = DelayModel().fit(ledger, "2020-01-01")  # the tables as assumed
    policy._seal_models()
    assert policy.version != before
