"""Harshness as a limited resource: levels of tone a run, shared among all accounts."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.exceptions import CatalogueError
from collectopt.policy.next_best import NextBestAction
from collectopt.schema.catalogue import Catalogue


class Firm:
    """Every step of tone adds 2 points, so that the firmest is wanted everywhere."""

    def __init__(self, catalogue):
        self.catalogue = catalogue

    def effect_factors(self, X):
        del X
        a = self.catalogue.actions
        return np.ones((1, 1)), np.where(a.is_contact, 0.05 + 0.02 * a.tone, 0.0)[:, None]


BOOK = {
    "explore": 0.0,
    "jurisdiction": "none",
    "house": {"first_contact_gentle": False, "max_tone_step": 9, "doubt": 1.0},
    "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.2}],
}


def decided(kit, harshness, explore=0.0):
    limits = {} if harshness is None else {"harshness": harshness}
    frames = kit.frames(3, n=50, **{**BOOK, "explore": explore, "limits": limits})
    catalogue = Catalogue.from_dict(frames.catalogue)
    ledger = frames.ledger()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=Firm(catalogue))
    decisions = policy.fit(ledger, frames.as_of).decide(ledger, frames.as_of, rng=1)
    tones = {name: level for level, name in enumerate(catalogue.tones.order)}
    table = decisions.to_pandas()
    return decisions, table, sum(tones[tone] for tone in table.tone.dropna()), catalogue


def test_a_limit_is_kept_and_has_a_price(kit):
    free, table, most, _ = decided(kit, None)
    assert most > 5
    assert "harshness" not in free.prices
    limited, other, level, _ = decided(kit, 5)
    assert level == 5  # scarce, so all of it is used
    assert limited.prices["harshness"] > 0
    # milder, not fewer: the mildest tone takes nothing
    assert (other.channel != "none").sum() == (table.channel != "none").sum()
    assert decided(kit, 0)[2] == 0


def test_no_limit_and_a_wide_one_change_nothing(kit):
    _, free, most, catalogue = decided(kit, None)
    assert "harshness" not in catalogue.to_dict()["limits"]
    assert Catalogue.from_dict(catalogue.to_dict()) == catalogue
    wide = decided(kit, float(most) + 1)[1]
    what = ["account_id", "channel", "tone", "offer"]
    assert wide[what].equals(free[what])


@pytest.mark.parametrize("explore", [0.3, 1.0])
def test_exploration_keeps_to_it(kit, explore):
    assert decided(kit, 4, explore)[2] <= 4


def test_it_is_not_negative(kit):
    with pytest.raises(CatalogueError, match="harshness"):
        decided(kit, -1)
