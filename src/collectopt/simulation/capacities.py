"""What a run may spend: prices of the catalogue, and its limits kept by the world itself.

A policy may ignore a limit; the world does not. Contacts beyond a capacity, the minutes or the
budget of a run are not sent, first come by the order of the decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from collectopt.schema.catalogue import Catalogue
from collectopt.simulation.kinds import CHANNELS
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.population import BoolArray

AGENCY, COURT = len(CHANNELS), len(CHANNELS) + 1


@dataclass(frozen=True)
class Terms:
    """Prices and limits by channel code: the four channels, agency, court, and waiting last.

    Attributes
    ----------
    cost : (7,) float64
        EUR a contact; of an agency or a court, what a case costs at once.
    minutes : (7,) float64
        Staff minutes a contact.
    capacity : (7,) float64
        Contacts a run, infinite = no limit; 0 for a channel that the catalogue does not have.
    total_cost, total_minutes : float
        Budget (EUR) and staff minutes of a run, infinite = no limit.
    discount_rate : float
        A year.
    complaint_cost : float
        EUR a complaint.
    """

    cost: FloatArray
    minutes: FloatArray
    capacity: FloatArray
    total_cost: float
    total_minutes: float
    discount_rate: float
    complaint_cost: float

    @classmethod
    def of(cls, catalogue: Catalogue) -> Terms:
        """Read them from a catalogue.

        Examples
        --------
        >>> Terms.of(Catalogue.default()).capacity.shape
        (7,)
        """
        cost, minutes, capacity = np.zeros(7), np.zeros(7), np.zeros(7)
        capacity[-1] = np.inf
        for channel in catalogue.channels:
            if channel.name in CHANNELS:
                code = CHANNELS.index(channel.name)
                cost[code], minutes[code] = channel.cost, channel.minutes
                capacity[code] = np.inf if channel.capacity is None else channel.capacity
        for code, external in ((AGENCY, catalogue.agency), (COURT, catalogue.court)):
            if external is not None:
                cost[code], capacity[code] = external.cost, np.inf
        limits = catalogue.limits
        return cls(
            cost=cost,
            minutes=minutes,
            capacity=capacity,
            total_cost=np.inf if limits.budget is None else limits.budget,
            total_minutes=np.inf if limits.minutes is None else limits.minutes,
            discount_rate=catalogue.discount_rate,
            complaint_cost=catalogue.value.complaint_cost,
        )

    @property
    def prices(self) -> FloatArray:
        """EUR of a contact by channel, waiting last, shape (5,)."""
        return np.append(self.cost[: len(CHANNELS)], 0.0)


def enforce(plan: Plan, terms: Terms) -> tuple[Plan, int]:
    """Drop what exceeds the limits of a run.

    A decision that does not fit is dropped and nothing is logged for it; a later one that is
    cheap enough may still fit.

    Returns
    -------
    plan : Plan
        What is carried out.
    dropped : int
        Decisions beyond the limits.
    """
    code = np.where((plan.channel >= 0) & (plan.channel <= COURT), plan.channel, -1)
    fits = _places(code) < terms.capacity[code]
    _within(fits, terms.cost[code], terms.total_cost)
    _within(fits, terms.minutes[code], terms.total_minutes)
    if fits.all():
        return plan, 0
    kept = Plan(**{item.name: getattr(plan, item.name)[fits] for item in fields(Plan)})
    return kept, int((~fits).sum())


def _places(code: IntArray) -> IntArray:
    """Place of each decision among those of its channel, from 0 on."""
    places = np.zeros(len(code), dtype=np.int64)
    for one in np.unique(code):
        rows = np.flatnonzero(code == one)
        places[rows] = np.arange(len(rows))
    return places


def _within(fits: BoolArray, use: FloatArray, total: float) -> None:
    """Clear the flag of those that do not fit into what the ones before them left."""
    rows = np.flatnonzero(fits & (use > 0))
    slack = 1e-9 * max(total, 1.0) if np.isfinite(total) else 0.0
    if use[rows].sum() <= total + slack:
        return
    left = total + slack
    for row in rows:
        if use[row] <= left:
            left -= use[row]
        else:
            fits[row] = False
