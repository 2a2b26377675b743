"""The upper mark: it sees the truth, keeps the limits and is worth more than plain policies."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from collectopt import FixedLadder
from collectopt.exceptions import InputError, NotFittedError
from collectopt.policy import Everybody
from collectopt.schema import Catalogue
from collectopt.simulation import Book, Informed


@pytest.fixture(scope="module")
def book():
    return Book("shop", accounts=1000, seed=5, weeks=30)


def decide(book, change=None):
    spec = book.catalogue.to_dict()
    if change is not None:
        change(spec)
    policy = Informed(Catalogue.from_dict(spec))
    policy.watch(book._end)
    return policy.decide(book.ledger(), book.as_of, 0).to_pandas().set_index("account_id")


def capacity(spec, channel, units):
    for entry in spec["channels"]:
        if entry["name"] == channel:
            entry["capacity"] = units


def test_it_is_worth_more_than_what_knows_nothing():
    book = Book("shop", accounts=700, seed=5, weeks=26)
    makers = (FixedLadder, Everybody, Informed)
    table = book.run([make(book.catalogue) for make in makers], weeks=8).table
    net = table.set_index("policy")["net_value"]
    assert (net["Informed"] > net.drop("Informed")).all()


def test_in_a_placebo_it_sends_nothing():
    book = Book("placebo", accounts=400, seed=2, weeks=20)
    assert set(decide(book)["channel"]) == {"none"}


def test_it_keeps_the_limits_and_takes_the_second_best_channel(book):
    free = decide(book, lambda spec: capacity(spec, "phone", 10_000))
    called = free.index[free["channel"] == "phone"]
    assert len(called) > 3
    tight = decide(book, lambda spec: capacity(spec, "phone", 1))
    assert (tight["channel"] == "phone").sum() == 1
    assert (tight.loc[called, "channel"] != "none").mean() > 0.8
    sent = tight[tight["channel"] != "none"]
    assert sent["cost"].sum() <= book.catalogue.limits.budget
    assert (sent["value"] > 0).all()
    assert (tight["propensity"] == 1.0).all()


def test_it_weighs_harm(book):
    plain = decide(book)
    dear = copy.copy(book._end)
    dear.people = copy.copy(dear.people)
    object.__setattr__(dear.people, "lifetime_value", 1e6 * np.ones(len(dear.people)))
    policy = Informed(book.catalogue)
    policy.watch(dear)
    careful = policy.decide(book.ledger(), book.as_of, 0).to_pandas()
    assert (plain["channel"] != "none").sum() > 20
    gone = book.truth.left_on
    stays = np.isnat(gone[[int(a[1:]) for a in careful["account_id"]]])
    assert set(careful["channel"][stays]) == {"none"}


def test_it_changes_nothing_in_the_world(book):
    before = book._end.fork()
    one, two = decide(book), decide(book)
    assert one.drop(columns="decision_id").equals(two.drop(columns="decision_id"))
    for name, value in vars(before).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(book._end, name), err_msg=name)
    assert book._end.day == before.day


def test_it_must_have_seen_the_world(book):
    with pytest.raises(NotFittedError, match="watch"):
        Informed(book.catalogue).decide(book.ledger(), book.as_of)


def test_it_knows_only_the_channels_of_the_world(book):
    spec = book.catalogue.to_dict()
    spec["channels"].append({"name": "pigeon", "cost": 1.0})
    with pytest.raises(InputError, match="pigeon"):
        Informed(Catalogue.from_dict(spec))
