"""Hyper-parameters of the hazard inside a payment model, by the number of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from collectopt.features.words import EXPECTED
from collectopt.models.hazard import MAX_PERIODS, HazardModel

#: Events from which on the data are large: more leaves, less restraint. Small data want straight
#: lines, many weak trees of few columns each, close to a mean over many models, and the windows,
#: which see part of the rows only, half as much.
LARGE = 5000
#: Features that say when, seen from the due date, the account usually pays.
USUAL = ("late_recent", "late_last", EXPECTED)


@dataclass(frozen=True)
class HazardOptions:
    """Hyper-parameters of the hazard inside a :class:`PaymentModel`.

    Attributes
    ----------
    rounds, leaves, min_leaf : int or None
        Trees, leaves of a tree, person-periods of a leaf; None = by the number of events.
    rate : float or None
        Learning rate; None = by the number of events.
    columns : float or None
        Share of the columns that a tree sees; None = by the number of events.
    ridge : float or None
        Pseudo-weight that pulls each leaf to 0; None = by the number of events.
    slopes : float or None
        Ridge penalty of the straight lines that the trees start from; None = lines on small data
        only.
    half_life_days : float or None, or several of them
        Age at which what was seen counts half; None = all counts alike. Several: the mean of as
        many hazards, what was always so beside what is so lately.
    monotone : mapping of str to int
        Sign by feature, where the field knows it.
    haste : float
        So many times fewer trees, each of which weighs so many times more.
    max_periods : int
        Most person-periods that a fit looks at.
    at_issue : bool
        Whether, on large data, rows that name a claim on its day of issue are also forecast by
        hazards learnt from such rows alone: see :mod:`collectopt.models.heads`. There it nearly
        doubles the time of a fit; it changes no other row. The other options hold for both kinds
        of hazards, signs of money for the general ones only. For :class:`PaymentModel` alone.
    habits : bool
        Whether, on small data, claims are also forecast by how late their accounts usually pay and
        how often claims of theirs are held up, if that has helped before: see
        :mod:`collectopt.models.habits`. Only for "full" at level "invoice", and where the caller
        chose no features. A fit takes half as long again, and twice as long where habits help.
        For :class:`PaymentModel` alone.
    """

    rounds: int | None = None
    rate: float | None = None
    leaves: int | None = None
    min_leaf: int | None = None
    columns: float | None = None
    ridge: float | None = None
    slopes: float | None = None
    half_life_days: float | tuple[float | None, ...] | None = (None, 180.0)
    monotone: dict[str, int] = field(default_factory=dict)
    haste: float = 1.0
    max_periods: int = MAX_PERIODS
    at_issue: bool = True
    habits: bool = True

    def hazard(self, events: int, names: Sequence[str], seed: int) -> HazardModel:
        """Make the model for data with so many events."""
        large = events >= LARGE
        signs = {name: sign for name, sign in self.monotone.items() if name in names}
        return HazardModel(
            n_estimators=round((self.rounds or (150 if large else _few(events))) / self.haste),
            learning_rate=(self.rate or (0.06 if large else 0.015)) * self.haste,
            num_leaves=self.leaves or (31 if large else 7),
            min_child_samples=self.min_leaf or (200 if large else 50),
            colsample_bytree=self.columns or (0.8 if large else 0.2),
            reg_lambda=self.ridge or (1.0 if large else 50.0),
            slopes=self.slopes or (None if large else 1000.0),
            half_life_days=self.half_life_days,
            monotone=signs or None,
            usual=[name for name in USUAL if name in names] or None,
            max_periods=self.max_periods,
            seed=seed,
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what ``vars`` gave and JSON kept."""
        lives = content["half_life_days"]
        return cls(
            **{**content, "half_life_days": tuple(lives) if isinstance(lives, list) else lives}
        )


def _few(events: int) -> int:
    """Trees for small data: in proportion to what there is to learn from."""
    return int(np.clip(events / 8, 60, 320))
