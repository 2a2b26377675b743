"""Nobody in hardship, in distress or in the hands of the law is experimented on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.policy import NextBestAction
from collectopt.policy.protected import protected
from collectopt.rules import Layout, Rules, State
from collectopt.rules.permissions import HOLDS
from collectopt.schema import Catalogue, Ledger, Snapshot

HARD = {"payment_plan", "insolvency", "vulnerable", "agency"}  # of the kinds that the books have


@dataclass
class Told:
    distress: np.ndarray
    doubt: np.ndarray


class Stub:
    """Every seventh account is in distress, for all that is known."""

    def predict(self, snapshot):
        number = np.array([int(name) for name in snapshot.rows["account_id"].to_pylist()])
        return Told(np.where(number % 7 == 0, 0.9, 0.1), np.full(len(number), 0.1))


def guarded(kit, frames):
    """Accounts that must not be drawn, from the plain lists."""
    plain = kit.Plain(frames)
    found = set()
    for a in plain.with_open_claim():
        own = plain.same_person(a)
        kinds = {k for b in own for k in plain.holds(b)}
        for claim in frames.tables["invoices"]:
            if claim["account_id"] in own:
                kinds |= HARD & set(plain.holds(claim["account_id"], claim["invoice_id"]))
        if kinds or any(int(b) % 7 == 0 for b in own if b in plain.with_open_claim()):
            found.add(a)
    return found


def decided(kit, frames, rng):
    catalogue = frames.parsed()
    rules = Rules.from_catalogue(catalogue)
    # somebody left out every rule that protects: the draw does not rely on them
    gone = {f"HOLD_{kind.upper()}" for kind in HOLDS} | {"DISTRESS"}
    policy = NextBestAction(
        catalogue,
        payment=kit.Payment(),
        response=kit.Response(catalogue, 0.1),
        rules=rules.without(gone),
    ).fit(frames.ledger(), frames.as_of)
    policy.delays_ = Stub()
    return policy.decide(frames.ledger(), frames.as_of, rng=rng).to_arrow().to_pylist()


TABLES = st.sampled_from([None, {"temperature": 1.0}, {"max_loss": 5.0, "budget": 50.0}])


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), table=TABLES)
def test_no_protected_customer_is_drawn(kit, seed, table):
    change = {} if table is None else {"exploration": table}
    frames = kit.frames(seed, explore=1.0, **change)
    safe = guarded(kit, frames)
    for row in decided(kit, frames, seed):
        if row["account_id"] in safe:
            assert row["propensity"] == 1
            assert not row["reasons"][0].startswith("Drawn at random")
        if row["channel"] in {"agency", "court", "stop"}:
            assert row["propensity"] == 1


def test_others_are_drawn_and_the_protected_would_be_contacted(kit):
    drawn = acted = 0
    for seed in range(4):
        frames = kit.frames(seed, explore=1.0)
        safe = guarded(kit, frames)
        for row in decided(kit, frames, seed):
            drawn += row["propensity"] < 1
            acted += row["account_id"] in safe and row["channel"] != "none"
    assert drawn > 10
    assert acted > 10, "else the test above would prove nothing"


def test_what_was_said_protects_as_a_hold_does():
    """A dispute on one account of a customer, told and not recorded yet: the other is not drawn."""
    as_of = "2026-02-05T06:00:00+00:00"
    catalogue = Catalogue.from_dict({"channels": [{"name": "email"}], "jurisdiction": "de"})
    names = ("said", "sibling", "other")
    tables = {
        "accounts": [{"account_id": a, "customer_type": "consumer", "country": "DE",
                      "customer_id": None if a == "other" else "C"} for a in names],
        "invoices": [{"invoice_id": a, "account_id": a, "issued_on": "2026-01-01",
                      "due_on": "2026-01-15", "amount": 50.0, "currency": "EUR"} for a in names],
    }  # fmt: skip
    said = [{"account_id": "said", "at": "2026-02-01T12:00:00+00:00", "kind": "disputed"}]
    held = [{"account_id": "said", "kind": "dispute", "from_on": "2026-02-01"}]
    for more in ({"responses": said}, {"holds": held}):
        snapshot = Snapshot(Ledger.from_frames(**tables, **more), as_of)
        state = State.of(snapshot, catalogue, Layout.of(catalogue.actions))
        found = dict(zip(snapshot.rows["account_id"].to_pylist(), protected(state, catalogue),
                         strict=True))  # fmt: skip
        assert found == {"said": True, "sibling": True, "other": False}
