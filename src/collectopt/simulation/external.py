"""Parameters of what is done outside the house: a collection agency, a court payment order."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from collectopt.simulation.noise import IntArray

# Half a court fee by claim: valid from, the least, that of a claim up to 500 EUR, and then bands
# (up to EUR, width of a step, EUR a step of the full fee). GKG section 34 and KV no. 1100;
# since 1 June 2025 as amended by the KostBRAeG 2025.
_Bands = tuple[tuple[float, float, float], ...]
COURT_FEES: tuple[tuple[dt.date, float, float, _Bands], ...] = (
    (
        dt.date(2021, 1, 1),
        36.0,
        38.0,
        ((2e3, 500, 20), (1e4, 1000, 21), (2.5e4, 3000, 29), (5e4, 5000, 38), (2e5, 15000, 132)),
    ),
    (
        dt.date(2025, 6, 1),
        38.0,
        40.0,
        ((2e3, 500, 21), (1e4, 1e3, 22.5), (2.5e4, 3e3, 30.5), (5e4, 5e3, 40.5), (2e5, 1.5e4, 140)),
    ),
)


def court_fee(cents: IntArray, date: dt.date) -> IntArray:
    """Fee of the court for a payment order: half a fee, in cents.

    Claims above 200,000 EUR are charged as if they were of that size.

    Parameters
    ----------
    cents : (m,) int64
        Amounts claimed.
    date : datetime.date
        Day of the application; before 2021 the table of 2021 is taken.

    Returns
    -------
    (m,) int64

    Notes
    -----
    German court costs act (GKG), section 34 and no. 1100 of its schedule.

    Examples
    --------
    >>> court_fee(np.array([7_000, 150_000, 1_000_000]), dt.date(2025, 9, 1)).tolist()
    [3800, 4100, 14150]
    """
    table = COURT_FEES[0]
    for later in COURT_FEES:
        table = later if later[0] <= date else table
    _, least, base, bands = table
    euros, low = cents / 100.0, 500.0
    full = np.full(len(cents), base)
    for high, width, step in bands:
        full += step * np.ceil(np.clip(euros - low, 0.0, high - low) / width)
        low = high
    half: IntArray = np.rint(100.0 * np.maximum(full / 2.0, least)).astype(np.int64)
    return half


@dataclass(frozen=True)
class Agency:
    """A collection agency that works claims in its own rhythm for a share of what comes in.

    Attributes
    ----------
    fee : float
        Share of all money that comes in for a claim while the agency has it, from its first
        letter on.
    cost : float
        EUR of handing a case over, at once.
    letters, calls : tuple of int
        Days after the hand-over on which a letter is read and a call is made.
    strength : tuple of float
        Factor on persuasion of a letter and of a call, in a firm tone; zero = no effect.
    tired : float
        Persuasion is divided by 1 + tired x (steps before).
    decay_days : float
        Mean life of what a step adds to the daily hazard.
    tight : float
        Factor while money is short.
    fade_days : float
        Days of age after which a claim reacts by 1/e.
    traced : float
        Probability that the agency finds a person whose address is wrong.
    recall_days : int
        Days after which what is unpaid comes back and is written off.
    leave, complaint : float
        Probability at the first letter that a customer leaves, and that one complains.
    """

    fee: float
    cost: float
    letters: tuple[int, ...]
    calls: tuple[int, ...]
    strength: tuple[float, float]
    tired: float
    decay_days: float
    tight: float
    fade_days: float
    traced: float
    recall_days: int
    leave: float
    complaint: float


@dataclass(frozen=True)
class Court:
    """A court payment order in Germany, from the application to the bailiff (ZPO 688 ff.).

    Attributes
    ----------
    cost : float
        EUR of process at once, beside the fee of the court.
    bailiff_cost : float
        EUR when a title is enforced.
    repaid : float
        Probability that a customer who pays everything pays the costs too.
    service_days : tuple of int
        Earliest and latest day of service after the application.
    served, found : float
        Probability of service where the address is right, and where it is wrong.
    objection_days : int
        Days after service in which the customer may object.
    objects : tuple of float
        Probability to object, by `CustomerType`.
    title_days : int
        Days from the end of the objection period to the service of the enforcement order.
    bailiff_days : int
        Days from there to the visit of the bailiff.
    strength : tuple of float
        Factor on persuasion, in a firm tone, of the service and of the title; zero = no effect.
    decay_days, tight : float
        As for the agency.
    instalments : tuple of float
        Probability, by `CustomerType`, to agree on instalments with the bailiff.
    rest_days : int
        Days after which the file is put to rest and the claim is written off; `lost_days` where
        the order could not be served or was objected to.
    leave, complaint : float
        Probability at service that a customer leaves, and that one complains.
    """

    cost: float
    bailiff_cost: float
    repaid: float
    service_days: tuple[int, int]
    served: float
    found: float
    objection_days: int
    objects: tuple[float, ...]
    title_days: int
    bailiff_days: int
    strength: tuple[float, float]
    decay_days: float
    tight: float
    instalments: tuple[float, ...]
    rest_days: int
    lost_days: int
    leave: float
    complaint: float
