"""Shrunken rates of one account in a book of its own; see :mod:`collectopt.features.rates`."""

from __future__ import annotations

import math
from typing import Any

from collectopt.features.rates import (
    _DAY_US,
    _GROUP_STRENGTH,
    _POINTS,
    _PRIOR_PAIRS,
    _PRIOR_RHO,
    LIMITS,
)
from collectopt.schema.one_seen import Seen

Values = dict[str, Any]
_CREDITED = None  # a claim that a credit note settled says nothing


def rates(seen: Seen, _: frozenset[str]) -> Values:
    """Work out all features of rates; creditor, segment and customer are this account alone."""
    found: Values = {}
    for k in LIMITS:
        n, yes, book, strength = _history(seen, k)
        creditor = (yes + _GROUP_STRENGTH * book) / (n + _GROUP_STRENGTH)
        segment = (yes + _GROUP_STRENGTH * creditor) / (n + _GROUP_STRENGTH)
        customer = (0 + strength * segment) / (0 + strength)
        own = (yes + strength * customer) / (n + strength)
        name = f"paid_{k}" if k else "on_time"
        found[f"{name}_rate"] = own
        found[f"{name}_lift"] = rounded(own - segment, 9)
        found[f"{name}_excess"] = rounded(own - book, _POINTS)
        if k == 0:
            every = (yes + 0 + strength * segment) / (n + 0 + strength)
            found["customer_late_rate"] = 1 - every
            found["customer_late_lift"] = rounded(segment - every, 9)
            found["segment_on_time_rate"] = segment
            found["creditor_on_time_lift"] = rounded(creditor - book, _POINTS)
            found["book_on_time_rate"] = book
        if k == LIMITS[-1]:
            found["matured_n"] = found["customer_n"] = n
    return found


def rounded(x: float, digits: int) -> float:
    """Round half away from zero, as the engine does.

    Examples
    --------
    >>> rounded(-0.125, 2), rounded(0.124, 2)
    (-0.13, 0.12)
    """
    scale = 10.0**digits
    scaled = abs(x * scale)
    whole = math.floor(scaled)
    return math.copysign((whole + (scaled - whole >= 0.5)) / scale, x)


def _history(seen: Seen, k: int) -> tuple[int, int, float, float]:
    """Claims judged, those settled, rate of the book and strength of the shrinkage."""
    later, as_of, judged = k * _DAY_US, seen.as_of, []
    for (
        number,
        _rank,
        _issued,
        _due,
        _cents,
        _kind,
        begin,
        due_at,
    ), _left, spells, _ in seen.balances:
        matured = max(due_at + later, begin)
        if matured < as_of:
            y: int | None = 0
            for known, _, _, late, _, cash, reopened in spells:
                if known < matured and (reopened is None or reopened >= matured):
                    y = _CREDITED if not cash else late <= k
            if y is not _CREDITED:
                judged.append((matured, number, y))
    judged.sort()
    n = yes = pairs = joint = one = 0
    for *_, y in judged:
        pairs += 2 * n
        joint += 2 * yes * y
        one += yes + y * n
        n += 1
        yes += y
    p = (one + 1.0) / (pairs + 2.0)
    spread = p * (1 - p)
    moment = (joint + _PRIOR_PAIRS * (p * p + _PRIOR_RHO * spread)) / (pairs + _PRIOR_PAIRS)
    rho = min(max((moment - p * p) / spread, 0.02), 0.9)
    return n, yes, (yes + 1.0) / (n + 2.0), (1 - rho) / rho
