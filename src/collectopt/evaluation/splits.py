"""Cuts in time for honest tests: learn before the cut, predict after it, judge when it is over."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf, to_instant


@dataclass(frozen=True)
class Fold:
    """One cut and the times after it for which predictions are made.

    Attributes
    ----------
    cut : numpy.datetime64
        UTC; models learn from what was known before.
    dates : tuple of numpy.datetime64
        Times of prediction, the cut itself first.
    """

    cut: np.datetime64
    dates: tuple[np.datetime64, ...]


@dataclass(frozen=True)
class RollingSplit:
    """Folds in order of time and the moment up to which outcomes are known.

    Attributes
    ----------
    folds : tuple of Fold
        Cuts strictly increasing; no date reaches the next cut.
    end : numpy.datetime64
        UTC; outcomes known before it are counted, later ones are unknown.

    Raises
    ------
    InputError
        No folds, or dates out of order.
    """

    folds: tuple[Fold, ...]
    end: np.datetime64

    def __post_init__(self) -> None:
        times = [time for fold in self.folds for time in (fold.cut, *fold.dates[1:])]
        starts = all(fold.dates and fold.dates[0] >= fold.cut for fold in self.folds)
        if not times or not starts or times != sorted(set(times)) or times[-1] >= self.end:
            raise InputError.of(
                "RollingSplit",
                "folds",
                expected="cuts and dates that increase and lie before the end",
                found=f"{[str(time) for time in times[:6]]}, end {self.end}",
            )

    @classmethod
    def from_cuts(cls, cuts: list[AsOf], *, end: AsOf, timezone: str = "UTC") -> RollingSplit:
        """Make a split that predicts once a cut, at the cut."""
        instants = [to_instant(cut, timezone) for cut in cuts]
        folds = tuple(Fold(cut, (cut,)) for cut in instants)
        return cls(folds, to_instant(end, timezone))

    @property
    def cuts(self) -> tuple[np.datetime64, ...]:
        """The cuts alone."""
        return tuple(fold.cut for fold in self.folds)


def rolling_cuts(
    ledger: Ledger,
    *,
    n: int = 3,
    every: str = "90D",
    horizon: str = "90D",
    dates: int = 3,
    end: AsOf | None = None,
) -> RollingSplit:
    """Place cuts so that every horizon is over when the ledger ends.

    Parameters
    ----------
    ledger : Ledger
    n : int
        Number of cuts.
    every : str
        Distance between cuts, for example "90D".
    horizon : str
        Longest horizon to be judged.
    dates : int
        Times of prediction a cut, spread evenly over `every`.
    end : str, date or aware datetime, optional
        When the ledger was closed; by default just after the last fact in it. Give it if the book
        was quiet before it was drawn.

    Returns
    -------
    RollingSplit
        Cuts at midnight UTC of whole days.

    Raises
    ------
    InputError
        The ledger is too short: fewer than `every` days of claims lie before the first cut.
    """
    step, reach = _days(every, "every"), _days(horizon, "horizon")
    if n < 1 or dates < 1:
        raise InputError.of("rolling_cuts", "n", expected="n and dates >= 1", found=f"{n}, {dates}")
    closed = last_fact(ledger) if end is None else to_instant(end, ledger.timezone)
    offsets = [int(step * i / dates) for i in range(dates)]
    day = np.timedelta64(1, "D")
    newest = (closed - (reach + offsets[-1]) * day).astype("datetime64[D]")
    cuts = [newest - step * i * day for i in reversed(range(n))]
    oldest = ledger.timeline.claims["known_at"].cast(pa.int64())
    first = np.datetime64(pc.min(oldest).as_py() or 0, "us")
    if len(oldest) == 0 or cuts[0] - step * day < first:
        needed = n * step + reach + offsets[-1]
        raise InputError.of(
            "ledger",
            None,
            expected=f"at least {needed} days of history for {n} cuts",
            found=f"claims from {first.astype('M8[D]')} to {closed.astype('M8[D]')}",
            hint="Ask for fewer cuts, a shorter distance or a shorter horizon.",
        )
    micro = "datetime64[us]"
    folds = tuple(
        Fold(cut.astype(micro), tuple((cut + offset * day).astype(micro) for offset in offsets))
        for cut in cuts
    )
    return RollingSplit(folds, closed)


def last_fact(ledger: Ledger) -> np.datetime64:
    """Find the moment just after the last fact in a ledger.

    Due dates and ends of holds do not count: they are announced beforehand.
    """
    timeline = ledger.timeline
    tables = (timeline.claims, timeline.payments, timeline.contacts, timeline.responses)
    latest = [pc.max(table["known_at"].cast(pa.int64())).as_py() for table in tables]
    known = [value for value in latest if value is not None]
    if not known:
        raise InputError.of("ledger", None, expected="at least one fact", found="none")
    return np.datetime64(max(known) + 1, "us")


def _days(text: str, name: str) -> int:
    found = re.fullmatch(r"(\d+)D", text)
    if found is None or int(found[1]) < 1:
        raise InputError.of(
            "rolling_cuts", name, expected='whole days such as "90D"', found=repr(text)
        )
    return int(found[1])
