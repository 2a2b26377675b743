from __future__ import annotations

import numpy as np
import pandas as pd

from collectopt.simulation import Book, ladder
from collectopt.simulation.noise import Noise

NO_HOLIDAY = (False,) * 6 + (True,)


def _sight(size: int, days: int, *, recent: bool, tone: int, channels: list[bool]) -> ladder.Sight:
    return ladder.Sight(
        account=np.arange(size),
        overdue_days=np.full(size, days),
        recent=np.full(size, recent),
        last_tone=np.full(size, tone),
        channels=np.tile(channels, (size, 1)),
    )


def test_frequencies_equal_the_logged_propensities() -> None:
    size, slots = 60_000, ladder.slot_weights(NO_HOLIDAY)
    cells = [
        (3, False, -1, [True, True, True, True]),
        (20, True, 0, [True, False, True, True]),
        (40, False, 1, [False, True, True, False]),
        (200, True, 2, [False, False, True, False]),
    ]
    for week, (days, recent, tone, channels) in enumerate(cells):
        sight = _sight(size, days, recent=recent, tone=tone, channels=channels)
        plan = ladder.decide(sight, Noise(5), week, slots)
        frame = pd.DataFrame(
            {
                "channel": plan.channel, "tone": plan.tone, "offer": plan.offer, "day": plan.day,
                "hour": np.nan_to_num(plan.hour, nan=-1.0), "p": plan.propensity,
            }
        )  # fmt: skip
        seen = frame.groupby(["channel", "tone", "offer", "day", "hour"]).p.agg(["size", "first"])
        expected = seen["first"] * size
        z = (seen["size"] - expected) / np.sqrt(expected * (1 - seen["first"]))
        often = expected > 20
        assert (z[often].abs() < 4.5).all()
        assert abs(z[often].mean()) < 4 / np.sqrt(often.sum())
        waits = frame.channel == ladder.WAIT
        assert np.allclose(frame.p[waits], frame.p[waits].iloc[0])
        # All exact actions together with waiting have probability 1; rare ones are not all seen.
        assert 0.97 < seen["first"].sum() <= 1.0 + 1e-9
        permitted = {c for c, ok in enumerate(channels) if ok} | {ladder.WAIT}
        assert set(frame.channel) <= permitted
        assert frame.tone.max() <= tone + 1


def test_slots_keep_hours_days_and_holidays() -> None:
    weights = ladder.slot_weights((True, False, False, False, False, False, True))
    assert np.allclose(weights.sum(axis=(1, 2)), 1.0)
    assert weights[:, 0].sum() == 0
    assert weights[:, 6].sum() == 0
    for channel, (start, end) in enumerate(ladder.CHANNEL_HOURS):
        outside = (start > ladder.HOURS) | (end <= ladder.HOURS)
        assert weights[channel][:, outside].sum() == 0


def test_inverse_propensities_average_to_one(shop: Book) -> None:
    contacts = shop.ledger().contacts.to_pandas()
    factors = shop.truth.propensities.to_pandas()
    assert list(factors.contact_id) == list(contacts.contact_id)
    product = factors.drop(columns="contact_id").prod(axis=1)
    assert np.allclose(product, contacts.propensity)
    assert contacts.propensity.between(0, 1, inclusive="right").all()
    n = len(contacts)
    wait = (contacts.channel == "none").to_numpy()
    for taken in (wait, ~wait):
        weight = taken / factors.p_contact.to_numpy()
        deviation = weight - 1.0
        assert abs(deviation.mean()) < 4 * deviation.std() / np.sqrt(n)
        assert weight.sum() ** 2 / (weight**2).sum() > 0.1 * n
    # Given a contact, every exact action that was possible comes up as often as it says: the
    # inverse propensities of one channel add up to the number of its slots x tones x offers.
    letters = (contacts.channel == "letter").to_numpy()
    firsts = letters & (contacts.tone == "friendly").to_numpy()
    weight = firsts / factors[["p_contact", "p_channel", "p_tone"]].prod(axis=1).to_numpy()
    deviation = weight - 1.0  # a friendly letter is possible on every row
    assert abs(deviation.mean()) < 4 * deviation.std() / np.sqrt(n)


def test_the_log_stays_within_its_own_catalogue(shop: Book) -> None:
    contacts = shop.ledger().contacts.to_pandas()
    runs = contacts.groupby(["channel", "decided_at"]).size()
    for channel in shop.catalogue.channels:
        if channel.capacity is not None:
            assert runs.loc[channel.name].max() <= channel.capacity
    assert contacts.groupby("decided_at").cost.sum().max() <= shop.catalogue.limits.budget
    assert set(contacts.channel) == {"none", *shop.catalogue.channel_names}
