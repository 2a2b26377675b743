"""What a run was made of says every version, and changes with each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from collectopt.policy import FixedLadder, NoContact, Split
from collectopt.policy.provenance import provenance
from collectopt.rules import packs

AT = np.datetime64("2026-06-10")


@pytest.fixture
def policy(kit):
    return FixedLadder(kit.frames(3, jurisdiction="de").parsed())


def test_every_version_is_told_ready_for_json(kit, policy):
    frames = kit.frames(3)
    made = provenance(policy, frames.ledger(), AT, 7)
    assert json.loads(json.dumps(made)) == made
    assert (made["as_of"], made["seed"], made["models"]) == ("2026-06-10Z", 7, {})
    assert made["rules"]["pack"] == packs.digest("de")
    assert made["rules"]["codes"] == list(policy.rules.codes)
    split = Split(policy, {"silence": (NoContact(policy.catalogue), 0.5)}, salt="s")
    assert provenance(split, frames.ledger(), AT, 7)["policy"] == "split"
    other = policy.catalogue.model_copy(update={"cadence_days": 2})
    assert provenance(FixedLadder(other), frames.ledger(), AT, 7)["catalogue"] != made["catalogue"]


def test_a_number_of_the_law_changes_the_hash_of_its_pack_and_no_other(monkeypatch):
    before = {name: packs.digest(name) for name in packs.PACKS}
    assert len(set(before.values())) == len(before)
    whole = packs._pack

    def raised(name):
        first, *rest = whole(name)
        return (replace(first, numbers={"x": 1.0}), *rest) if name == "eu" else whole(name)

    monkeypatch.setattr(packs, "_pack", raised)
    changed = {name for name in packs.PACKS if packs.digest(name) != before[name]}
    assert changed == {"de", "eu"}
