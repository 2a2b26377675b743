"""Power of an exploration: the formula against the same design played many times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from collectopt.evaluation import Draw, design_for, exploration_design
from collectopt.exceptions import InputError
from collectopt.policy.exploration import plan
from collectopt.schema import Catalogue, Ledger
from collectopt.simulation import Book

CHANNELS = [
    {"name": "email", "cost": 0.05},
    {"name": "letter", "cost": 1.0},
    {"name": "phone", "cost": 4.5},
]
CATALOGUE = Catalogue.from_dict({"channels": CHANNELS, "cadence_days": 7})
ACCOUNTS, WEEKS, BASE, EXPLORE, TIMES = 500, 12, 0.4, 0.5, 400
SPREAD = 2.0  # of the accounts' chances: Beta(base, 1 - base) x SPREAD
ALIKE = 1.0 / (1.0 + SPREAD)  # correlation of the outcomes of an account


def drawn(design, rng, by_account):
    """Arm of each account and week: 0 = waits to compare, 1.. = channels, -1 = does not explore."""
    chance = np.r_[design.wait, design.share]
    size = (ACCOUNTS, 1 if by_account else WEEKS)
    u = rng.random(size)
    arm = np.searchsorted(np.cumsum(chance), u)
    arm[u >= chance.sum()] = -1
    return np.broadcast_to(arm, (ACCOUNTS, WEEKS))


def detected(design, rng, by_account, channel=0):
    """Play once with an effect of the detectable size; test it with errors by account."""
    arm = drawn(design, rng, by_account)
    here, effect = arm == channel + 1, design.detectable[channel]
    u = rng.random((ACCOUNTS, 1))  # how good a payer, contacted or not
    chance = [beta(m * SPREAD, (1 - m) * SPREAD).ppf(u) for m in (BASE, BASE + effect)]
    pays = rng.random((ACCOUNTS, WEEKS)) < np.where(here, chance[1], chance[0])
    score, means = np.zeros(ACCOUNTS), []
    for rows, sign in ((here, 1), (arm == 0, -1)):
        mean = pays[rows].mean()
        means.append(mean)
        score += sign * np.where(rows, pays - mean, 0.0).sum(axis=1) / rows.sum()
    return abs(means[0] - means[1]) > 1.96 * np.sqrt((score**2).sum())


@pytest.mark.parametrize("draw", list(Draw))
def test_power_is_that_of_the_same_design_played(draw):
    by_account = draw is Draw.ACCOUNT
    more = {"repeats": float(WEEKS), "alike": ALIKE} if by_account else {}
    design = exploration_design(
        CATALOGUE, ACCOUNTS, BASE, explore=EXPLORE, weeks=WEEKS, draw=draw, **more
    )
    rng = np.random.default_rng(5)
    hits = np.mean([detected(design, rng, by_account) for _ in range(TIMES)])
    assert hits == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / TIMES) + 0.01)


def test_rows_of_accounts_that_are_drawn_once_are_not_independent():
    """Who takes them for independent promises effects that are then seldom found."""
    naive = exploration_design(CATALOGUE, ACCOUNTS, BASE, explore=EXPLORE, weeks=WEEKS)
    rng = np.random.default_rng(6)
    assert np.mean([detected(naive, rng, by_account=True) for _ in range(TIMES)]) < 0.5


@pytest.mark.parametrize("capacity", [None, 40])
def test_shares_are_those_that_the_policy_explores_with(capacity):
    channels = [dict(channel) for channel in CHANNELS]
    if capacity is not None:
        channels[2]["capacity"] = capacity
    catalogue = Catalogue.from_dict({"channels": channels})
    n, epsilon, rng = 600, 0.1, np.random.default_rng(0)
    design = exploration_design(catalogue, n, BASE, explore=epsilon)
    limits = np.array([np.inf if capacity is None else capacity])
    usage = np.array([[0.0], [0.0], [1.0]])
    cost = np.array([c["cost"] for c in CHANNELS])
    total, runs = np.zeros(4), 300
    everything = np.ones(12, dtype=bool)
    channel = np.repeat([0, 1, 2], 4)
    for _ in range(runs):
        found = plan(
            np.full((n, 3), 4), np.ones(n, bool), rng.random((n, 2)), epsilon, usage=usage,
            limits=limits, cost=cost,
        )  # fmt: skip
        action = found.draw(
            slice(0, n), lambda _: np.r_[False, everything], np.r_[-1, channel], rng.random((n, 2))
        )
        arms = np.where(action > 0, np.r_[0, channel + 1][np.maximum(action, 0)], action)
        total += [(arms == k).sum() for k in range(4)]
    expected = n * runs * np.r_[design.wait, design.share]
    error = np.sqrt(expected)
    assert (np.abs(total - expected) < 4 * error).all()


def test_needed_weeks_find_the_published_effect():
    design = exploration_design(CATALOGUE, 3000, BASE, explore=0.1)
    for k, weeks in enumerate(design.needed):
        again = exploration_design(CATALOGUE, 3000, BASE, explore=0.1, weeks=weeks)
        assert again.detectable[k] == pytest.approx(design.expected[k], rel=1e-6)
    assert design.expected.tolist() == [0.010, 0.020, 0.025]


def test_by_hand():
    """One channel: it and waiting are drawn alike; 2 x 2,600 draws a week for one week."""
    one = Catalogue.from_dict({"channels": CHANNELS[1:2]})
    design = exploration_design(one, 5200, 0.5, explore=1.0, weeks=1)
    z = 1.959964 + 0.841621
    d = design.detectable[0]
    assert design.share[0] == design.wait == 0.5
    assert d == pytest.approx(z * np.sqrt((0.25 + (0.5 + d) * (0.5 - d)) / 2600), rel=1e-5)
    assert design.total_cost == 2600
    assert "2600.0 a week" in str(design)
    assert "<table" in design._repr_html_()
    tiny = exploration_design(one, 5, 0.9, explore=0.1, weeks=1)
    assert np.isnan(tiny.detectable[0])


def test_a_design_for_a_book_counts_what_is_past_due_and_reads_no_future():
    book = Book("shop", accounts=1500, seed=3)
    design = design_for(book.ledger(), book.as_of, book.catalogue, explore=0.1)
    assert 50 < design.decisions < 1500
    assert 0.1 < design.base_rate < 0.9
    assert set(design.to_pandas()["channel"]) == set(book.catalogue.channel_names)
    whole, cut = book.ledger(), np.datetime64("2026-06-01", "us")
    paid = whole.payments.to_pandas()
    until = Ledger.from_frames(
        accounts=whole.accounts, invoices=whole.invoices, timezone=whole.timezone,
        payments=paid[paid["paid_at"].dt.tz_localize(None) < cut],
    )  # fmt: skip
    early, same = (design_for(ledger, cut, book.catalogue) for ledger in (whole, until))
    assert early.decisions == same.decisions != design.decisions
    assert early.base_rate == same.base_rate


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"decisions": 0}, "decisions"),
        ({"base_rate": 1.0}, "base_rate"),
        ({"explore": 0.0}, "explore"),
        ({"power": 0.01}, "power"),
        ({"alike": 2.0}, "alike"),
        ({"repeats": 0.0}, "repeats"),
        ({"weeks": 0.0}, "weeks"),
        ({"alpha": 0.0}, "alpha"),
    ],
)
def test_wrong_input_is_refused(change, name):
    given = {"decisions": 100, "base_rate": 0.5} | change
    with pytest.raises(InputError, match=name):
        exploration_design(CATALOGUE, given.pop("decisions"), given.pop("base_rate"), **given)
