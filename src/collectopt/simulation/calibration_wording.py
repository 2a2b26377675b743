"""What wording is worth in the simulator: the same reminder in other words, world by world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collectopt.simulation.calibration_trials import Contact, Setting, live, opening
from collectopt.simulation.noise import FloatArray


def wording_effects(
    setting: Setting, channel: int, *, worlds: int, accounts: int, seed: int, days: int = 30
) -> FloatArray:
    """Effect of each tone in some worlds, points of the share that paid everything.

    Each world draws the hidden quality of its wordings anew, as books do.

    Parameters
    ----------
    setting : Setting
        Who gets the reminder.
    channel : int
        Code of the channel.
    worlds, accounts : int
        Number of worlds, and of accounts in each.
    seed : int
        Seed of the first world.
    days : int
        Horizon.

    Returns
    -------
    (worlds, 3) float64
        Effect of the friendly, the neutral and the firm wording.
    """
    setting = replace(setting, wordings=True)
    effects = np.empty((worlds, 3))
    for world in range(worlds):
        start = opening(setting, accounts, seed + world)
        without = live(start, (), (days,))[days].full
        for tone in range(3):
            paid = live(start, (Contact(channel=channel, tone=tone),), (days,))[days].full
            effects[world, tone] = 100.0 * (paid - without).mean()
    return effects
