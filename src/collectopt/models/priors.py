"""Assumed effects of a contact, from published randomised trials: priors, not estimates.

For books whose log has no usable propensities. Each number is a cautious reading of its source:
the change of P(paid within about a month) by one contact against none, for gentle reminders of
overdue claims. What wording adds is taken as zero: trials of wording found none or a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.schema.actions import ActionSet


@dataclass(frozen=True)
class PriorEffect:
    """An assumed effect of one channel.

    Attributes
    ----------
    channel : str
        Name of the channel; "*" for any other.
    points : float
        Change of P(paid within about a month), 0.02 = two points.
    low, high : float
        Range that the trials support.
    source : str
        Where the number comes from.
    """

    channel: str
    points: float
    low: float
    high: float
    source: str


PRIOR_EFFECTS: tuple[PriorEffect, ...] = (
    PriorEffect(
        "letter",
        0.020,
        0.010,
        0.037,
        "Chirico et al. 2019, National Tax Journal: reminder letter, +3.7 points (SE 1.4) ever "
        "paid after 1 month, +1.3 after 6 months; Antinyan & Asatryan 2025, Economic Journal: "
        "reminder against nothing, +2.7 points over 45 trials",
    ),
    PriorEffect(
        "email",
        0.010,
        0.004,
        0.024,
        "Kuan et al. 2025, PNAS 122(4): reminders after a missed payment, 0.57 points (13 million "
        "e-mails); Campbell, Grant & Thorp 2022, J. Banking & Finance 142: in-app reminder, "
        "+2.4 points (1.7 to 3.1) at 30 days overdue",
    ),
    PriorEffect(
        "sms",
        0.015,
        0.000,
        0.040,
        "Cadena & Schoar 2011, NBER 17020: +7 to 9 % paid on time; Bursztyn et al. 2019, J. "
        "Political Economy: simple reminder 0 points, moral one 4.4; Barboni et al.: -4 % late",
    ),
    PriorEffect(
        "app",
        0.015,
        0.005,
        0.031,
        "Campbell, Grant & Thorp 2022, J. Banking & Finance 142: neutral reminder in the app, "
        "+2.4 points (1.7 to 3.1), none for low scores",
    ),
    PriorEffect(
        "phone",
        0.025,
        0.005,
        0.100,
        "Mazar, Mochon & Ariely 2018: automated call, +2.3 to 2.5 points; Laudenbach, Pirschel & "
        "Siegel: +34 points among those who spoke to an agent, a small part of those called",
    ),
    PriorEffect(
        "*",
        0.010,
        0.000,
        0.027,
        "Antinyan & Asatryan 2025, Economic Journal: reminder against nothing, +2.7 points over "
        "45 trials, most of them letters",
    ),
)


#: How far factors usually differ from the average contact, as a share of its effect. In the trials
#: above channels differ most; wordings of letters hardly did.
USUAL_SHARE = {"channel": 0.4, "tone": 0.3, "offer": 0.3, "hour": 0.1, "day": 0.1}


def prior_effects(actions: ActionSet) -> npt.NDArray[np.float64]:
    """Give assumed effects of actions on P(paid within about a month).

    Parameters
    ----------
    actions : ActionSet
        K actions.

    Returns
    -------
    (K,) float64
        Points against waiting, from :data:`PRIOR_EFFECTS` by channel. Tone, offer and slot change
        nothing; waiting and the special actions have no effect.

    Examples
    --------
    >>> actions = ActionSet.from_frame([{"channel": "none"}, {"channel": "letter"}])
    >>> prior_effects(actions).tolist()
    [0.0, 0.02]
    """
    table = {effect.channel: effect.points for effect in PRIOR_EFFECTS}
    by_code = np.array([table.get(name, table["*"]) for name in actions.channels] + [table["*"]])
    points = by_code[actions.channel]  # -1, no channel named, takes the last one
    return np.where(actions.is_contact, points, 0.0)


def prior_spread(actions: ActionSet) -> npt.NDArray[np.float64]:
    """Give standard deviations of assumed effects, as a share of them.

    Parameters
    ----------
    actions : ActionSet
        K actions.

    Returns
    -------
    (K,) float64
        The range of :data:`PRIOR_EFFECTS` read as a 95 % interval; 0 for what is no contact.

    Examples
    --------
    >>> actions = ActionSet.from_frame([{"channel": "none"}, {"channel": "letter"}])
    >>> prior_spread(actions).round(2).tolist()
    [0.0, 0.34]
    """
    table = {e.channel: (e.high - e.low) / 3.92 / e.points for e in PRIOR_EFFECTS}
    by_code = np.array([table.get(name, table["*"]) for name in actions.channels] + [table["*"]])
    return np.where(actions.is_contact, by_code[actions.channel], 0.0)
