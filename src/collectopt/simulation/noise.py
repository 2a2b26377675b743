"""Noise that belongs to a unit and a moment, not to a place in a stream.

A draw is a hash of (seed, purpose, unit, time). Whatever a policy does, the same claim meets the
same luck on the same day, so two policies are compared on common random numbers, a longer book
begins with the shorter one, and any subset of units can be drawn on its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


class Purpose(enum.IntEnum):
    """What a draw is for; two purposes never share luck."""

    TYPE = enum.auto()
    TRAIT = enum.auto()
    INVOICE = enum.auto()
    AMOUNT = enum.auto()
    TAIL = enum.auto()
    FORGET = enum.auto()
    DISPUTE = enum.auto()
    RESOLVE = enum.auto()
    LIQUIDITY = enum.auto()
    LEAVE = enum.auto()
    INSOLVENCY = enum.auto()
    PAY_MORNING = enum.auto()
    PAY_DAY = enum.auto()
    PAY_CAUSE = enum.auto()
    PAY_HOUR = enum.auto()
    PAY_JOINT = enum.auto()
    PARTIAL = enum.auto()
    RETURN = enum.auto()
    INSTALMENT = enum.auto()
    LADDER = enum.auto()
    READ = enum.auto()
    READ_DELAY = enum.auto()
    TRACK = enum.auto()
    REPLY = enum.auto()
    HARM = enum.auto()
    WORDING = enum.auto()
    CREDIT = enum.auto()
    SERVICE = enum.auto()
    SETTLEMENT = enum.auto()
    AGENCY = enum.auto()
    COURT = enum.auto()
    COURTESY = enum.auto()


def _mix(value: int) -> int:
    """Mix one number by the finalizer of splitmix64 (Steele, Lea and Flood, 2014)."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _mix_array(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True)
class Noise:
    """Stateless random numbers keyed by purpose, unit and time.

    Parameters
    ----------
    seed : int
        Seed of the world.

    Examples
    --------
    >>> import numpy as np
    >>> noise = Noise(0)
    >>> both = noise.uniform(Purpose.READ, np.array([3, 8]), 5)
    >>> bool(both[1] == noise.uniform(Purpose.READ, np.array([8]), 5)[0])
    True
    """

    seed: int

    def uniform(
        self, purpose: Purpose, unit: npt.NDArray[np.integer], time: int = 0, draw: int = 0
    ) -> FloatArray:
        """Uniform numbers in (0, 1), one a unit."""
        key = _mix(self.seed * _GOLDEN + 1)
        for part in (int(purpose), draw, time):
            key = _mix(key + (part + 1) * _GOLDEN)
        units = unit.astype(np.uint64)
        mixed = _mix_array(units * np.uint64(_GOLDEN) + np.uint64(key))
        mixed = _mix_array(mixed ^ np.uint64(_mix(key + _FIRST)))
        return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(
        self, purpose: Purpose, unit: npt.NDArray[np.integer], time: int = 0, draw: int = 0
    ) -> FloatArray:
        """Draw standard normal numbers, one a unit."""
        result: FloatArray = ndtri(self.uniform(purpose, unit, time, draw))
        return result
