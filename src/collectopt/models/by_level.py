"""Effects told level by level: each channel, tone, offer and hour, all else as usual in the log."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.models.factors import Factors
from collectopt.schema.actions import ActionSet

Float = npt.NDArray[np.float64]
_WIDTH = 1.96


def by_level(factors: Factors, actions: ActionSet, theta: Float, covariance: Float) -> pd.DataFrame:
    """Effect of a contact at each level of its factors.

    Parameters
    ----------
    factors : Factors
    actions : ActionSet
        Those that the factors were made of.
    theta, covariance : (p,), (p, p) float64
        Effects of the factors.

    Returns
    -------
    DataFrame
        family, level, effect, stderr, low, high (95 %), decisions (logged ones; for hours all
        contacts). First the average contact.
    """
    rows = []
    for name, level, phi, count in _levels(factors, actions):
        effect = float(phi @ theta)
        error = float(np.sqrt(max(float(phi @ covariance @ phi), 0.0)))
        low, high = effect - _WIDTH * error, effect + _WIDTH * error
        rows.append((name, level, effect, error, low, high, count))
    columns = ["family", "level", "effect", "stderr", "low", "high", "decisions"]
    return pd.DataFrame(rows, columns=columns)


def _levels(factors: Factors, actions: ActionSet) -> Iterator[tuple[str, str, Float, int]]:
    """Name each level with its factors (p,) and logged decisions, all else as usual in the log."""
    family = np.array(factors.family)
    if "contact" not in factors.family:
        return
    common = factors.family.index("contact")
    average = np.zeros(len(family))
    average[common] = 1.0
    yield "contact", "average", average, int(factors.count[common])
    for name, codes, names in (
        ("channel", actions.channel, actions.channels),
        ("tone", actions.tone, actions.tones),
        ("offer", actions.offer, actions.offers),
    ):
        for code, level in enumerate(names):
            if f"{name}:{level}" not in factors.names:
                continue
            some = int(np.flatnonzero(actions.is_contact & (codes == code))[0])
            mine = family == name
            phi = np.where(mine, factors.phi[some], average)
            if name == "channel":  # its expected strength is its own
                phi[common] = factors.phi[some, common]
            yield name, level, phi, int(factors.count[factors.names.index(f"{name}:{level}")])
    if "hour" in factors.family:
        count = int(factors.count[factors.family.index("hour")])
        hours = actions.hour[actions.is_contact]
        for hour in np.unique(hours[~np.isnan(hours)]).tolist():
            some = int(np.flatnonzero(actions.is_contact & (actions.hour == hour))[0])
            phi = np.where(family == "hour", factors.phi[some], average)
            minutes = round(hour * 60)
            yield "hour", f"{minutes // 60:02d}:{minutes % 60:02d}", phi, count
