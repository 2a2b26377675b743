"""What the truth lets expect, against what happens to the same accounts on many lucks."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.simulation import world
from collectopt.simulation.foresight import WEEKS, Foresight
from collectopt.simulation.kinds import CHANNELS, LETTER
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import Noise
from collectopt.simulation.worth import Prices, Worth

LUCKS = 1
RATE = 0.08


@pytest.fixture(scope="module")
def seen(shop):
    """Accounts with little debt: a few large claims would drown every mean."""
    state = shop._end
    account = world.sight(state).account
    seen = Foresight(state, account)
    owed = np.bincount(seen.owner, weights=seen.euros, minlength=len(account))
    return Foresight(state, account[(owed > 0) & (owed < 250)])


@pytest.fixture(scope="module")
def worth(seen):
    """Worth of one contact and none after it."""
    return Worth(seen, Prices(np.zeros(4), 0.0, RATE))


def live(seen, luck, arm=None):
    """Let half a year pass on a luck; cents open by claim and week."""
    state = seen.state.fork()
    state.noise = Noise(luck)
    if arm is not None:
        ones = np.ones(len(seen.account), dtype=np.int64)
        channel, tone, offer = (ones * code for code in arm)
        plan = Plan(
            account=seen.account, channel=channel, tone=tone, offer=offer, day=0 * ones,
            hour=10.0 * ones, propensity=1.0 * ones, parts=np.ones((len(ones), 5)),
        )  # fmt: skip
        world.enter(state, plan, policy=0)
    opened = np.empty((len(seen.rows), WEEKS))
    for day in range(7 * WEEKS):
        if day:
            world.begin_day(state)
        world.end_day(state)
        opened[:, day // 7] = state.claims.open[seen.rows]
    return opened


def cash(seen, opened):
    """Discounted EUR by account."""
    start = seen.state.claims.open[seen.rows]
    paid = -np.diff(opened, axis=1, prepend=start[:, None]) / 100.0
    value = paid @ (1.0 + RATE) ** (-7.0 * np.arange(1, WEEKS + 1) / 365.0)
    return np.bincount(seen.owner, weights=value, minlength=len(seen.account))


@pytest.fixture(scope="module")
def untouched(seen):
    return [live(seen, 500 + luck) for luck in range(LUCKS)]


def test_claims_are_paid_as_their_hazards_say(seen, untouched):
    share = np.mean(untouched, axis=0) / 100.0 / seen.euros[:, None]
    for week in (0, 1, 3, 7, 25):
        error = share[:, week].std() / np.sqrt(len(share))
        assert seen.survival[:, week].mean() == pytest.approx(
            share[:, week].mean(), abs=3 * error + 0.02
        )
    assert np.corrcoef(seen.survival[:, 7], share[:, 7])[0, 1] > 0.35


@pytest.mark.parametrize(
    ("channel", "tone", "offer"), [("email", 0, 0), ("letter", 0, 0), ("phone", 1, 1)]
)
def test_a_contact_brings_what_was_foreseen(seen, worth, untouched, channel, tone, offer):
    c = CHANNELS.index(channel)
    may = seen.state.permitted[seen.account, c]
    weekday = seen.state.calendar.date(seen.state.day).weekday()
    assert weekday == 0
    day = 2 if c == LETTER else 0
    foreseen = worth.gains[:, c, tone, offer, day] * worth.reach(np.array([10.0]))[:, c, 0, 0]
    found = np.zeros(len(seen.account))
    for luck, opened in enumerate(untouched):
        with_contact = cash(seen, live(seen, 500 + luck, (c, tone, offer)))
        found += (with_contact - cash(seen, opened)) / LUCKS
    found, foreseen = found[may], foreseen[may]
    error = found.std() / np.sqrt(len(found))
    assert found.mean() > 1.5 * error, "the contact works at all"  # money is heavy-tailed
    assert foreseen.mean() == pytest.approx(found.mean(), abs=3 * error)
    # whom it was foreseen to move more, it moves more
    high = foreseen > np.median(foreseen)
    gap = found[high].mean() - found[~high].mean()
    assert gap > 0
    assert gap == pytest.approx(foreseen[high].mean() - foreseen[~high].mean(), abs=6 * error)
