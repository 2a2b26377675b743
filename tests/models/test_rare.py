"""Rates of rare events against known truth."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.models.harm_prior import COMPLAINT, firmer, tiring
from collectopt.models.rare import RareRate, Shape

SHAPE = Shape(channels=3, tones=3)
CHANNEL, TONE, RECENT = (a.ravel() for a in np.indices((3, 3, 4)))
RECENT = RECENT.astype(float)
ASSUMED = COMPLAINT * firmer(TONE) * tiring(RECENT)


def fit(contacts, events, assumed=ASSUMED):
    return RareRate.fit(
        SHAPE, CHANNEL, TONE, RECENT, contacts=contacts, events=events, assumed=assumed
    )


def test_without_contacts_the_assumed_rate_stands():
    none = np.zeros(len(CHANNEL))
    assert fit(none, none).rate(CHANNEL, TONE, RECENT, ASSUMED) == pytest.approx(ASSUMED)


@pytest.mark.parametrize("complaints", [0, 1])
def test_three_contacts_are_no_evidence(complaints):
    """The raw rate is 0 or 33 %."""
    contacts = np.zeros(len(CHANNEL))
    contacts[0] = 3.0
    rate = fit(contacts, contacts * complaints / 3).rate(CHANNEL, TONE, RECENT, ASSUMED)
    assert 0.95 < rate[0] / ASSUMED[0] < 8.0  # 0.8 %


def test_many_contacts_overrule_what_was_assumed():
    """Rates by tone quite unlike the assumed ones come back, within errors."""
    rng = np.random.default_rng(1)
    truth = np.array([0.0002, 0.006, 0.004])[TONE] * tiring(RECENT) ** 0.3
    contacts = rng.integers(2_000, 20_000, len(CHANNEL)).astype(float)
    rate = fit(contacts, rng.poisson(contacts * truth).astype(float))
    mean, sd = rate.log_rate(CHANNEL, TONE, RECENT, ASSUMED)
    assert (np.abs(mean - np.log(truth)) < 3.5 * sd).all()
    assert sd.max() < 0.4
    assert rate.mean[-1] == pytest.approx(0.3 - 1.0, abs=3 * rate.covariance[-1, -1] ** 0.5)


@pytest.mark.parametrize("largest", [30, 300, 3000])
def test_intervals_cover_what_they_say(largest):
    """Truths drawn from the prior lie in 90 % intervals in 90 % of draws."""
    rng = np.random.default_rng(largest)
    X, variance = SHAPE.design(CHANNEL, TONE, RECENT), SHAPE.variance
    inside, error, naive = [], [], []
    for _ in range(300):
        beta = rng.normal(size=SHAPE.size) * np.sqrt(variance)
        truth = ASSUMED * np.exp(X @ beta - 0.5 * np.square(X) @ variance)
        contacts = rng.integers(1, largest, len(X)).astype(float)
        events = rng.poisson(contacts * truth).astype(float)
        rate = fit(contacts, events)
        mean, sd = rate.log_rate(CHANNEL, TONE, RECENT, ASSUMED)
        inside.append((np.abs(np.log(truth) - mean) < 1.645 * sd).mean())
        error.append(np.square(rate.rate(CHANNEL, TONE, RECENT, ASSUMED) - truth).mean())
        naive.append(np.square(events / contacts - truth).mean())
    # Cells of a draw go together, so the error is that of the draws' own spread.
    assert np.mean(inside) == pytest.approx(0.9, abs=3 * np.std(inside) / len(inside) ** 0.5)
    assert np.mean(error) < 0.5 * np.mean(naive)


def test_it_comes_back_from_json():
    contacts = np.full(len(CHANNEL), 500.0)
    rate = fit(contacts, np.ones(len(CHANNEL)))
    twin = RareRate.from_dict(rate.to_dict())
    args = (CHANNEL, TONE, RECENT, ASSUMED)
    assert (twin.rate(*args) == rate.rate(*args)).all()
