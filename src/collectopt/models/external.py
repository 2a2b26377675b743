"""What an agency or a court changes: how much faster claims are paid there than in one's own hands.

Claims are handed over because they are old, large and hopeless, so the share that is paid at an
agency says nothing about the agency. Here each case handed over is compared with what the payment
model foretold for it on the day before: its expected cumulative hazard over the days that it was
watched. The same is done for accounts of the same age and chance that stayed in the house, which
were followed until they were paid or handed over themselves; so what the payment model gets wrong
for old claims cancels out. The ratio of both is the factor on the hazard of payment:

    factor of a cell = (paid + prior) / (calibrated expectation + prior),  Gamma distributed.

Cells are age x amount; each is shrunk to all cases, and these to 1: an agency that nobody has tried
does no better than oneself. That is assumed; no study known to us compares claims at random. Where
whoever handed over knew more than the ledger shows, the factor still carries it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AGES = (30, 90, 180)  # days past due where cells end
AMOUNTS = (50.0, 250.0)  # EUR where cells end
_PRIOR = 3.0  # expected payments that the assumption "no better than oneself" weighs; assumed
_CELL = 4.0  # those that all cases weigh against a cell's own; assumed
_OWN = 20.0  # those that the payment model's own level weighs; assumed


class Place(Enum):
    """Where a claim may be taken."""

    AGENCY = "agency"
    COURT = "court"


@dataclass(frozen=True, eq=False)
class Followed:
    """Cases and what became of them while they were watched.

    Attributes
    ----------
    paid : (n,) float64
        1 where everything that was past due has been paid, else 0.
    expected : (n,) float64
        Cumulative hazard of payment that was foretold for these days. Where accounts come more
        than once, `paid` and `expected` are divided by the mean number of rows an account.
    age : (n,) int64
        Days past due at the start.
    amount : (n,) float64
        EUR open at the start.
    chance : (n,) float64
        Foretold chance of payment in the first weeks.
    """

    paid: Floats
    expected: Floats
    age: Ints
    amount: Floats
    chance: Floats

    def __len__(self) -> int:
        return len(self.paid)


@dataclass(frozen=True, eq=False)
class Gammas:
    """Factors on a hazard: one Gamma distribution a cell.

    Attributes
    ----------
    shape, rate : (C,) float64
    """

    shape: Floats
    rate: Floats

    @property
    def mean(self) -> Floats:
        """Means, (C,)."""
        return self.shape / self.rate

    def quantile(self, q: float) -> Floats:
        """Quantile of each cell, (C,)."""
        return np.asarray(gammaincinv(self.shape, q) / self.rate, dtype=np.float64)

    def nodes(self, count: int) -> Floats:
        """Points of equal probability, rising; (count, C)."""
        return np.stack([self.quantile((j + 0.5) / count) for j in range(count)])


def _shrunk(paid: Floats, expected: Floats, to: tuple[float, float], own: float) -> Gammas:
    """All cells to a first guess (mean, weight), then each to all with the weight ``own``."""
    mean, weight = to
    total = (mean * weight + paid.sum()) / (weight + expected.sum())
    # what all cases leave open is open in every cell too
    own = min(own, weight + float(expected.sum()))
    return Gammas(total * own + paid, own + expected)


@dataclass(frozen=True, eq=False)
class Lift:
    """What agency or court do to the hazard of payment.

    Attributes
    ----------
    factor : Gammas
        By age x amount (amount-minor), 12 cells.
    own : Gammas
        Calibration of the payment model on accounts that stayed, by age x chance, 8 cells.
    cut : float
        Foretold chance between low and high.
    cases, stayed : int
        Accounts handed over, and accounts that stayed, behind it.

    Examples
    --------
    >>> nobody = Lift.of(None, None)
    >>> nobody.cases, nobody.factor.mean.round(2).tolist()[:2]
    (0, [1.0, 1.0])
    """

    factor: Gammas
    own: Gammas
    cut: float
    cases: int
    stayed: int

    @classmethod
    def of(cls, gone: Followed | None, stayed: Followed | None) -> Self:
        """Learn from cases handed over and from accounts that stayed; None = there are none."""
        cut = float(np.median(gone.chance)) if gone is not None and len(gone) else 0.0
        cells, bands = (len(AGES) + 1) * (len(AMOUNTS) + 1), 2 * (len(AGES) + 1)
        paid, expected = _sums(stayed, bands, None if stayed is None else _band(stayed, cut))
        own = _shrunk(paid, expected, (1.0, _OWN), _OWN)
        if gone is None or not len(gone):
            zero = np.zeros(cells)
            return cls(_shrunk(zero, zero, (1.0, _PRIOR), _CELL), own, cut, 0, _count(stayed))
        level = own.mean[_band(gone, cut)]
        paid, _ = _sums(gone, cells, cell(gone.age, gone.amount))
        leveled = replace(gone, expected=gone.expected * level)
        _, expected = _sums(leveled, cells, cell(gone.age, gone.amount))
        factor = _shrunk(paid, expected, (1.0, _PRIOR), _CELL)
        return cls(factor, own, cut, len(gone), _count(stayed))

    def band(self, age: Ints, chance: Floats) -> Ints:
        """Cell of `own` of n accounts."""
        return 2 * np.searchsorted(AGES, age, side="left") + (chance > self.cut)

    def to_pandas(self) -> pd.DataFrame:
        """One row a cell: age, amount, factor, low, high (80 %)."""
        import pandas as pd

        ages = [f"up to {a}" for a in AGES] + [f"over {AGES[-1]}"]
        amounts = [f"up to {a:g}" for a in AMOUNTS] + [f"over {AMOUNTS[-1]:g}"]
        return pd.DataFrame(
            {
                "days_past_due": np.repeat(ages, len(amounts)),
                "amount": np.tile(amounts, len(ages)),
                "factor": self.factor.mean,
                "low": self.factor.quantile(0.1),
                "high": self.factor.quantile(0.9),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain data, ready for JSON."""
        return {
            "factor": [self.factor.shape.tolist(), self.factor.rate.tolist()],
            "own": [self.own.shape.tolist(), self.own.rate.tolist()],
            "cut": self.cut,
            "cases": self.cases,
            "stayed": self.stayed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        factor, own = (
            Gammas(*(np.array(part, dtype=np.float64) for part in data[name]))
            for name in ("factor", "own")
        )
        return cls(factor, own, data["cut"], data["cases"], data["stayed"])


def cell(age: Ints, amount: Floats) -> Ints:
    """Cell of `Lift.factor` of n accounts, by days past due and EUR open."""
    place = np.searchsorted(AGES, age, side="left") * (len(AMOUNTS) + 1)
    return np.asarray(place + np.searchsorted(AMOUNTS, amount, side="left"), dtype=np.int64)


def _band(rows: Followed, cut: float) -> Ints:
    return 2 * np.searchsorted(AGES, rows.age, side="left") + (rows.chance > cut)


def _sums(rows: Followed | None, cells: int, place: Ints | None) -> tuple[Floats, Floats]:
    if rows is None or place is None or not len(rows):
        return np.zeros(cells), np.zeros(cells)
    paid, expected = np.zeros(cells), np.zeros(cells)
    np.add.at(paid, place, rows.paid)
    np.add.at(expected, place, rows.expected)
    return paid, expected


def _count(rows: Followed | None) -> int:
    return 0 if rows is None else len(rows)
