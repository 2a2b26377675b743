"""The table of tones shifts what is chosen for a segment: how far, what counts, what is kept."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import CatalogueError, InputError
from collectopt.policy import Everybody, NextBestAction, Overrides, Random, decision_log
from collectopt.policy.shifting import Shifts, siblings
from collectopt.schema import ActionKind

BASE = {
    "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
    "cadence_days": 2,
    "slots": {"hours": [9, 14]},
    "tones": {"order": ["friendly", "neutral", "firm"]},
    "offers": {"names": ["none", "instalments"]},
    "timezone": "Europe/Berlin",
}
FREE = {"first_contact_gentle": False, "max_tone_step": None, "doubt": 1.0}
AS_OF = "2026-02-05T06:00+01:00"
CONSUMERS = {"customer_type": "consumer"}


def catalogue(*tones, house=FREE, **more):
    return co.Catalogue.from_dict({**BASE, **more, "house": {**house, "tones": tones or None}})


def book(**more):
    """A and C consumers, B and D firms; of the product of C nothing is known."""
    products = {"A": "card", "B": "loan", "C": None, "D": "card"}
    accounts = [
        {"account_id": a, "customer_type": "consumer" if a in "AC" else "business", "product": p,
         "country": "DE", "timezone": "Europe/Berlin", "email_ok": True}
        for a, p in products.items()
    ]  # fmt: skip
    invoices = [
        {"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02", "due_on": "2026-01-30",
         "amount": 50.0, "currency": "EUR"}
        for a in products
    ]  # fmt: skip
    return {"accounts": accounts, "invoices": invoices, **more}


def row(account="A", kind="tone_offset", **more):
    signed = {"reason": "asked for it", "owner": "j.doe", "from_on": "2026-02-01",
              "until": "2026-03-01"}  # fmt: skip
    return {"account_id": account, "kind": kind, **signed, **more}


def decide(cat, *rows, tone="neutral", tables=None):
    ledger = co.Ledger.from_frames(**(tables or book()), features=["product"])
    policy = Everybody(cat, "email", tone)
    return policy.decide(ledger, AS_OF, overrides=Overrides.from_rows(rows)).to_arrow().to_pylist()


def tones(*args, **more):
    return " ".join(r["tone"][:2] for r in decide(*args, **more))


# How far ----------------------------------------------------------------------------------------


def test_offsets_by_hand():
    assert tones(catalogue()) == "ne ne ne ne"
    assert tones(catalogue({"offset": -1, **CONSUMERS})) == "fr ne fr ne"
    assert tones(catalogue({"offset": 1, **CONSUMERS})) == "fi ne fi ne"
    # to the ends of the order
    assert tones(catalogue({"offset": -9}), tone="firm") == "fr fr fr fr"
    # entries that hold add up
    both = catalogue({"offset": -2}, {"offset": 1, "customer_type": "business"})
    assert tones(both, tone="firm") == "fr ne fr ne"
    late = {"offset": -1, "min_days_past_due": 7}
    assert tones(catalogue(late)) == "ne ne ne ne"  # six days late


def test_what_is_not_known_counts_to_the_gentler_side():
    loans = {"column": "product", "value": "loan"}
    assert tones(catalogue({"offset": -1, **loans})) == "ne fr fr ne"
    assert tones(catalogue({"offset": 1, **loans})) == "ne fi ne ne"
    with pytest.raises(InputError, match="colour"):
        tones(catalogue({"offset": 1, "column": "colour", "value": "red"}))


def test_the_highest_tone_and_the_other_rules_of_the_house_bound_it():
    assert tones(catalogue({"offset": 2, "highest": "neutral"}), tone="friendly") == "ne ne ne ne"
    apart = {"offset": 2}, {"highest": "neutral", **CONSUMERS}
    assert tones(catalogue(*apart), tone="friendly") == "ne fi ne fi"
    # the first contact stays gentle
    assert tones(catalogue({"offset": 2}, house={"doubt": 1.0}), tone="friendly") == "fr fr fr fr"


def test_the_law_bounds_it():
    held = {"account_id": "A", "kind": "vulnerable", "from_on": "2026-02-01", "invoice_id": "I2"}
    tables = book(holds=[held])
    tables["invoices"].append({**tables["invoices"][0], "invoice_id": "I2"})
    ledger = co.Ledger.from_frames(**tables)
    policy = Everybody(catalogue({"offset": 2}), "email", "friendly", offer="instalments")
    found = policy.decide(ledger, AS_OF).to_arrow().to_pylist()
    assert [r["tone"] for r in found] == ["friendly", "firm", "firm", "firm"]
    assert "do not allow it" in found[0]["reasons"][0]


def test_what_an_action_becomes():
    actions = catalogue().actions
    own = siblings(actions)
    for k in range(len(actions)):
        a, b = actions[k], actions[int(own[k, 2])]
        same = (a.channel, a.offer, a.hour, a.day) == (b.channel, b.offer, b.hour, b.day)
        assert same
        assert b.tone == ("firm" if a.kind is ActionKind.CONTACT else None)
    shifts = Shifts(np.array([2, 2]), own, actions)
    allowed = np.ones((2, len(actions)), dtype=bool)
    allowed[1] = actions.tone < 2
    to = shifts.targets(shifts.steps, allowed)
    assert (actions.tone[to[0]][actions.is_contact] == 2).all()
    bound = np.where(actions.tone == 2, 2, np.where(actions.is_contact, 1, -1))
    assert (actions.tone[to[1]] == bound).all()


# With what people decide ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "rows", "expected"),
    [
        ({"offset": -1}, [row(steps=2)], "fi"),  # 1 - 1 + 2
        ({"offset": -1}, [row(steps=1)], "ne"),
        ({"offset": 1}, [row(steps=-2)], "fr"),
        # a person sets the highest tone aside with own steps, the table never
        ({"offset": 1, "highest": "neutral"}, [row(steps=1)], "fi"),
        ({"offset": 2, "highest": "neutral"}, [row(steps=-1)], "ne"),
        # a tone that a person sets stays as it is
        ({"offset": -1}, [row(kind="amend", new_tone="firm")], "fi"),
        ({"offset": -1}, [row(kind="force", channel="email", tone="firm")], "fi"),
        ({"offset": -1}, [row(kind="force", channel="letter")], "fr"),
        ({"offset": -1}, [row(kind="amend", new_offer="instalments")], "fr"),
        ({"offset": -1}, [row(kind="forbid", channel="letter")], "fr"),
        ({"offset": -1}, [row(kind="forbid", tone="friendly")], "ne"),
        # what does not concern the action chosen changes nothing
        ({"offset": -1}, [row(steps=1, channel="letter")], "fr"),
    ],
)
def test_it_adds_up_with_orders(entry, rows, expected):
    found = decide(catalogue(entry), *rows)
    assert found[0]["tone"][:2] == expected
    assert any(line.startswith("TONE_OFFSET: ") for line in found[0]["rule_trace"])
    assert [r["tone"] for r in found[1:]] == [r["tone"] for r in decide(catalogue(entry))[1:]]


def test_what_both_made_of_it_is_said():
    found = decide(catalogue({"offset": -1}), row(steps=2))[0]
    assert "(the table of tones adds -1): instead of email, neutral" in found["reasons"][0]


# What is kept -----------------------------------------------------------------------------------


def test_the_record_tells_it():
    plain, found = decide(catalogue()), decide(catalogue({"offset": 1, **CONSUMERS}))
    assert found[0]["rule_trace"] == [
        *plain[0]["rule_trace"], "TONE_OFFSET: the table of tones shifts the tone by +1",
    ]  # fmt: skip
    said = found[0]["reasons"][0]
    assert said.startswith("The table of tones shifts the tone by +1: instead of email, neutral")
    assert found[0]["policy_version"] == f"override:{found[1]['policy_version']}"
    assert found[1]["rule_trace"] == plain[1]["rule_trace"]
    assert found[1]["reasons"] == plain[1]["reasons"]
    assert "so already" in decide(catalogue({"offset": 1}), tone="firm")[0]["reasons"][0]


def test_a_table_without_offsets_is_as_before():
    entry = {"highest": "neutral", "customer_type": "consumer"}
    assert catalogue(entry).to_dict()["house"]["tones"] == [entry]
    only = catalogue({"offset": 1})
    assert co.Catalogue.from_dict(only.to_dict()) == only
    assert not any(
        "TONE_OFFSET" in line for r in decide(catalogue(entry)) for line in r["rule_trace"]
    )


def test_wrong_entries_are_refused():
    wrong = [({}, "highest, offset or both"), ({"offset": 0}, "other than 0"),
             ({"offset": 0.5}, "whole number"), ({"offset": True}, "number")]  # fmt: skip
    for entry, what in wrong:
        with pytest.raises(CatalogueError, match=what):
            catalogue(entry)


# Limits, rules, chance --------------------------------------------------------------------------


def harshness(decisions):
    order = {"friendly": 0, "neutral": 1, "firm": 2}
    return sum(order[t] for t in decisions.table["tone"].to_pylist() if t)


@pytest.mark.parametrize("seed", range(6))
def test_limits_and_rules_hold_for_what_is_sent(kit, seed):
    rng = np.random.default_rng(900 + seed)
    entries = [{"offset": int(rng.choice([-2, -1, 1, 2])), **CONSUMERS},
               {"offset": int(rng.choice([-1, 1])), "max_days_past_due": 30},
               {"highest": "neutral", "customer_type": "business"}]  # fmt: skip
    house = {"first_contact_gentle": bool(seed % 2), "min_contacts_before_agency": 0,
             "max_tone_step": 1 + seed % 2, "tones": entries}  # fmt: skip
    frames = kit.frames(700 + seed, n=50, house=house, tones=BASE["tones"])
    frames.catalogue["limits"]["harshness"] = 5
    cat, ledger = frames.parsed(), frames.ledger()
    policy = NextBestAction(cat, payment=kit.Payment(), response=kit.Response(cat, 0.2))
    policy.fit(ledger, frames.as_of)
    decisions = policy.decide(ledger, frames.as_of, rng=seed)
    kit.check(frames, decisions)
    assert harshness(decisions) <= 5
    firms = {a["account_id"] for a in frames.tables["accounts"] if a["customer_type"] != "consumer"}
    for r in decisions.to_arrow().to_pylist():
        assert r["account_id"] not in firms or r["tone"] != "firm"
        assert r["propensity"] == 1 or not r["policy_version"].startswith("override")
    assert policy.recheck(decisions, ledger, frames.as_of).stopped.to_pylist() == []


def test_scarce_harshness_is_counted_as_sent():
    # all want "friendly", which takes nothing; firmer by two steps, each takes 2 of 5
    cat = catalogue({"offset": 2}, limits={"harshness": 5})
    found = decide(cat, tone="friendly")
    assert [r["tone"] for r in found].count("firm") == 2
    assert [r["channel"] for r in found].count("none") == 2


def test_nothing_is_left_to_chance_in_the_segment():
    ledger = co.Ledger.from_frames(**book())
    policy, seen = Random(catalogue({"offset": -1, **CONSUMERS}), contact=1.0), []
    for rng in range(6):
        found = policy.decide(ledger, AS_OF, rng=rng).to_arrow().to_pylist()
        assert [found[i]["propensity"] for i in (0, 2)] == [1, 1]
        seen += [found[i]["propensity"] for i in (1, 3)]
    assert max(seen) < 1


# Learning ---------------------------------------------------------------------------------------


def test_learning_leaves_the_segment_out():
    n = 30
    tables = {
        "accounts": [{"account_id": f"{i:02d}", "country": "DE", "timezone": "UTC",
                      "customer_type": "consumer" if i < 9 else "business"} for i in range(n)],
        "invoices": [{"invoice_id": f"{i:02d}", "account_id": f"{i:02d}", "amount": 50.0,
                      "issued_on": date(2026, 1, 1), "due_on": date(2026, 1, 20),
                      "currency": "EUR"} for i in range(n)],
    }  # fmt: skip
    decided = datetime(2026, 2, 2, 6, tzinfo=UTC)
    cat = catalogue({"offset": 1, **CONSUMERS}, timezone="UTC")
    found = Random(cat, contact=0.9).decide(co.Ledger.from_frames(**tables), decided, rng=1)
    contacts = [
        {"contact_id": r["decision_id"], "account_id": r["account_id"], "decided_at": decided,
         "sent_at": r["send_at"] or decided, "channel": r["channel"], "tone": r["tone"],
         "offer": r["offer"], "propensity": r["propensity"], "policy": r["policy_version"]}
        for r in found.to_arrow().to_pylist()
    ]  # fmt: skip
    ledger = co.Ledger.from_frames(**tables, contacts=contacts)
    log = decision_log(ledger, "2026-04-01", catalogue=cat)
    assert len(log) == n - 9
    assert min(ledger.accounts["account_id"].to_pylist()[i] for i in log.account) == "09"
