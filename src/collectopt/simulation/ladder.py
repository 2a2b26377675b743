"""The policy of the log: a dunning ladder with chance at every step and exact propensities.

It sees only what the ledger shows at the decision (stage, last contact, last tone, permitted
channels), keeps the house rules of the catalogue and draws channel, tone, offer and slot
independently. Its rates are so low that capacities bind with negligible probability; draws of
different accounts therefore do not depend on one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.simulation.kinds import LETTER, PHONE, Kind, kind_of
from collectopt.simulation.noise import FloatArray, IntArray, Noise, Purpose
from collectopt.simulation.population import BoolArray

HOURS = np.array([8.0, 10.0, 12.0, 15.0, 18.0, 19.5])
CHANNEL_HOURS = ((8.0, 21.0), (9.0, 20.0), (8.0, 18.0), (9.0, 20.0))
CHANNEL_DAYS = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (0, 1, 2, 3, 4))
_OFFICE = ((0, 1, 2, 3, 4), (8.0, 17.0))
WAIT = -1
AGENCY, COURT, STOP = 4, 5, 6  # in place of a channel
SPECIAL = ("agency", "court", "stop")
STAGES = (14, 28, 56, 120)  # days past due at which the next stage begins
_CONTACT = np.array([0.42, 0.50, 0.50, 0.40, 0.15])
_AGAIN = 0.55
_CHANNEL = np.array(
    [
        [0.62, 0.25, 0.08, 0.05],
        [0.48, 0.24, 0.18, 0.10],
        [0.36, 0.20, 0.30, 0.14],
        [0.34, 0.16, 0.36, 0.14],
        [0.36, 0.12, 0.42, 0.10],
    ]
)
_TONE = np.array(
    [
        [0.70, 0.25, 0.05],
        [0.40, 0.45, 0.15],
        [0.25, 0.45, 0.30],
        [0.20, 0.40, 0.40],
        [0.20, 0.40, 0.40],
    ]
)
_INSTALMENTS = np.array([0.15, 0.25, 0.35, 0.40, 0.40])
_DAY = np.array([0.28, 0.20, 0.16, 0.14, 0.12, 0.10, 0.0])


@dataclass(frozen=True)
class Sight:
    """What the ladder sees of the accounts it decides for; all arrays have m rows.

    Attributes
    ----------
    account : (m,) int64
        Accounts with something past due that may be contacted.
    overdue_days : (m,) int64
        Age of the oldest claim past due that no hold binds.
    recent : (m,) bool
        Whether a contact went out in the last seven days.
    last_tone : (m,) int64
        Tone of the last contact since something became past due, -1 = none.
    channels : (m, 4) bool
        Permitted channels; at least one a row.
    hunch : (m, 2) float64, optional
        What the staff add, knowing more than the ledger shows, to the log-odds of a contact and
        of each step of tone.
    """

    account: IntArray
    overdue_days: IntArray
    recent: BoolArray
    last_tone: IntArray
    channels: BoolArray
    hunch: FloatArray | None = None


@dataclass(frozen=True)
class Plan:
    """One decision an account; channel -1 = wait, 4 = agency, 5 = court, 6 = stop.

    Tone, offer and hour mean nothing for these.

    `parts` holds the factors of the propensity: contact at all, channel, tone, offer, slot.
    """

    account: IntArray
    channel: IntArray
    tone: IntArray
    offer: IntArray
    day: IntArray
    hour: FloatArray
    propensity: FloatArray
    parts: FloatArray


def opening(kind: Kind) -> tuple[tuple[tuple[int, ...], tuple[float, float]], ...]:
    """Weekdays and hours (from, until) of each channel."""
    return (_OFFICE,) * 4 if kind.office else tuple(zip(CHANNEL_DAYS, CHANNEL_HOURS, strict=True))


def slot_weights(holidays: tuple[bool, ...], kind: Kind | None = None) -> FloatArray:
    """Probability of day offset and hour by channel, shape (4, 7, 6); no holiday, no night."""
    weights = np.zeros((4, 7, len(HOURS)))
    for channel, (days, (start, end)) in enumerate(opening(kind or kind_of("shop"))):
        open_days = [day for day in days if not holidays[day]]
        open_hours = (start <= HOURS) & (end > HOURS)
        weights[channel, open_days] = _DAY[open_days, None] * open_hours
        weights[channel] /= weights[channel].sum()
    return weights


@dataclass(frozen=True)
class Probabilities:
    """Distribution of the decision, factor by factor; (m, ...) arrays."""

    contact: FloatArray
    channel: FloatArray
    tone: FloatArray
    instalments: FloatArray


def probabilities(sight: Sight) -> Probabilities:
    """Give the exact distribution from which `decide` draws."""
    stage = np.searchsorted(np.array(STAGES), sight.overdue_days, side="right")
    contact = _CONTACT[stage] * np.where(sight.recent, _AGAIN, 1.0)
    channel = _CHANNEL[stage] * sight.channels
    tone = _TONE[stage] * (np.arange(3) <= sight.last_tone[:, None] + 1)
    if sight.hunch is not None:
        odds = contact / (1.0 - contact) * np.exp(sight.hunch[:, 0])
        contact = odds / (1.0 + odds)
        tone = tone * np.exp(sight.hunch[:, 1:] * np.arange(3))
    return Probabilities(
        contact=contact,
        channel=channel / channel.sum(axis=1, keepdims=True),
        tone=tone / tone.sum(axis=1, keepdims=True),
        instalments=_INSTALMENTS[stage],
    )


def decide(sight: Sight, noise: Noise, week: int, slots: FloatArray) -> Plan:
    """Draw one decision an account.

    Parameters
    ----------
    sight : Sight
        What is known of m accounts.
    noise : Noise
        Luck of the world.
    week : int
        Week number, the time of the draw.
    slots : (4, 7, 6) float64
        From `slot_weights`.
    """
    p = probabilities(sight)

    def uniform(draw: int) -> FloatArray:
        return noise.uniform(Purpose.LADDER, sight.account, week, draw)

    m = len(sight.account)
    contacted = uniform(0) < p.contact
    channel = _draw(uniform(1), p.channel)
    tone = _draw(uniform(2), p.tone)
    offer = (uniform(3) < p.instalments).astype(np.int64)
    flat = slots.reshape(4, -1)
    slot = _draw(uniform(4), flat[channel])
    rows = np.arange(m)
    parts = np.column_stack(
        [
            np.where(contacted, p.contact, 1.0 - p.contact),
            p.channel[rows, channel],
            p.tone[rows, tone],
            np.where(offer == 1, p.instalments, 1.0 - p.instalments),
            flat[channel, slot],
        ]
    )
    parts[~contacted, 1:] = 1.0
    return Plan(
        account=sight.account,
        channel=np.where(contacted, channel, WAIT),
        tone=np.where(contacted, tone, WAIT),
        offer=np.where(contacted, offer, WAIT),
        day=np.where(contacted, slot // len(HOURS), 0),
        hour=np.where(contacted, HOURS[slot % len(HOURS)], np.nan),
        propensity=parts.prod(axis=1),
        parts=parts,
    )


def _draw(uniform: FloatArray, probability: FloatArray) -> IntArray:
    """Draw a column a row; columns of probability 0 are never drawn."""
    edges = np.cumsum(probability, axis=1)
    index = (uniform[:, None] >= edges).sum(axis=1)
    last = probability.shape[1] - 1 - np.argmax(probability[:, ::-1] > 0, axis=1)
    result: IntArray = np.minimum(index, last).astype(np.int64)
    return result


def catalogue_spec(kind: Kind, accounts: int) -> dict[str, npt.ArrayLike | object]:
    """Plain data of the catalogue under which the log was made; capacities grow with the book."""
    phone, letter, budget = kind.room
    channels: list[dict[str, object]] = []
    costs = (("email", 0.05), ("sms", 0.09), ("letter", 1.2), ("phone", 4.5))
    for code, (name, cost) in enumerate(costs):
        days, hours = opening(kind)[code]
        channel: dict[str, object] = {
            "name": name,
            "cost": cost,
            "hours": list(hours),
            "weekdays": list(days),
        }
        if code == PHONE:
            channel |= {"minutes": 6, "capacity": int(np.ceil(phone * accounts)) + 8}
        if code == LETTER:
            channel |= {"capacity": int(np.ceil(letter * accounts)) + 12}
        channels.append(channel)
    return {
        "horizon_days": 28,
        "cadence_days": 7,
        "discount_rate": 0.08,
        "jurisdiction": "none",
        "explore": 0.05,
        "timezone": "Europe/Berlin",
        "channels": channels,
        "tones": {"order": ["friendly", "neutral", "firm"]},
        "offers": {"names": ["none", "instalments"]},
        "slots": {"hours": HOURS.tolist()},
        "limits": {
            "budget": round(budget * accounts + 60.0, 2),
            "contacts_per_7_days": 2,
            "pre_due_days": 0,
        },
        "house": {"first_contact_gentle": True, "max_tone_step": 1},
        "value": {"complaint_cost": 12.0},
    }
