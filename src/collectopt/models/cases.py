"""Cases become person-periods block by block; what is too many is drawn, weighted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.periods import Grid, LifeCounts, LifeTable, Periods, blocks

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]

#: Rows that are laid at once: some 50 bins each, a few MB an array.
BLOCK = 16_384
#: Added to the chance of a bin, as a share of the mean chance: no bin is worth nothing.
_FLOOR = 0.2
#: Chances are counted on a logarithmic scale from 2^-40 up; a step is about 1 %.
_OCTAVES, _STEPS = 40, 64


@dataclass(frozen=True, eq=False)
class Bins:
    """Watched bins, one line a bin.

    Attributes
    ----------
    periods : Periods
        m bins.
    hit : (m,) bool
        Whether the event came in the bin.
    watched : (m,) float64
        Days of the bin that were seen.
    mass : (m,) float64
        Weight.
    """

    periods: Periods
    hit: Bool
    watched: Float
    mass: Float

    def __len__(self) -> int:
        return len(self.hit)

    def take(self, keep: Bool) -> Bins:
        """Keep some of the bins."""
        periods = self.periods.take(keep)
        return Bins(periods, self.hit[keep], self.watched[keep], self.mass[keep])

    @classmethod
    def join(cls, parts: Sequence[Bins]) -> Self:
        """Put several one below the other."""
        periods = Periods(
            *(
                np.concatenate([getattr(p.periods, name) for p in parts])
                for name in ("row", "lo", "hi")
            )
        )
        rest = (
            np.concatenate([getattr(p, name) for p in parts]) for name in ("hit", "watched", "mass")
        )
        return cls(periods, *rest)


@dataclass(frozen=True, eq=False)
class Cases:
    """Rows that were watched, and the grid along which their time is cut.

    Attributes
    ----------
    grid : Grid
    days : (n,) float64
        Days until the event, or until the row was last seen.
    happened : (n,) bool
        Whether the event came at ``days``.
    weight : (n,) float64 or None
    offset : (n,) float64 or None
        Days until the due date has passed; nan without one.
    start : (n,) datetime64[D] or None
        Local day of the row's start.
    half_life : float or None
        With ``start``: days after which a bin counts half.
    """

    grid: Grid
    days: Float
    happened: Bool
    weight: Float | None = None
    offset: Float | None = None
    start: Days | None = None
    half_life: float | None = None

    def bins(self, size: int = BLOCK) -> Iterator[Bins]:
        """Lay the watched bins of ``size`` rows at a time, in the order of the rows."""
        newest = self._newest(size)
        for part in blocks(len(self.days), size):
            periods = self._lay(part)
            at = self.days[periods.row]
            hit = self.happened[periods.row] & (at >= periods.lo) & (at < periods.hi)
            # A row that is censored in a bin was watched up to that moment only.
            seen = np.where(hit, periods.hi, np.minimum(at, periods.hi)) - periods.lo
            yield Bins(periods, hit, seen, self._mass(periods, newest))

    def _lay(self, part: slice) -> Periods:
        days = self.days[part]
        # An event belongs to the bin that contains it, so that bin is laid too.
        last = np.where(self.happened[part], np.nextafter(days, np.inf), days)
        periods = self.grid.lay(last, None if self.offset is None else self.offset[part])
        return Periods(periods.row + part.start, periods.lo, periods.hi)

    def _mass(self, periods: Periods, newest: float) -> Float:
        mass = np.ones(len(periods)) if self.weight is None else self.weight[periods.row].copy()
        if self.half_life is not None and self.start is not None:
            when = self.start.astype(np.int64)[periods.row] + periods.lo
            mass *= 0.5 ** ((newest - when) / self.half_life)
        return mass

    def _newest(self, size: int) -> float:
        """Find the day on which the newest bin starts; one more pass, only where time decays."""
        newest = -np.inf
        if self.half_life is not None and self.start is not None:
            first = self.start.astype(np.int64)
            for part in blocks(len(self.days), size):
                periods = self._lay(part)
                newest = max(newest, float((first[periods.row] + periods.lo).max(initial=-np.inf)))
        return newest


@dataclass(frozen=True)
class Rates:
    """Chance with which a bin is kept.

    Of the bins without an event those are kept that tell most: how much one tells is its chance
    of an event, here that of the life table (local case-control sampling with a pilot).

    Attributes
    ----------
    hit : float
        Rate of the bins with an event.
    scale, floor : float
        Rate of the others: ``scale * (chance + floor)``, at most 1.
    """

    hit: float = 1.0
    scale: float = np.inf
    floor: float = 0.0

    @classmethod
    def plan(cls, blocks_: Iterator[Bins], table: LifeTable, cases: Cases, limit: int) -> Rates:
        """Find the rates that keep about ``limit`` bins, from one pass over all of them.

        Bins with an event are all kept up to half of the limit, or more where the others leave
        room.
        """
        size = _OCTAVES * _STEPS + 1
        count, total = np.zeros(size), np.zeros(size)
        bins, hits, chances = 0, 0, 0.0
        for part in blocks_:
            chance = table.chance(part.periods, part.watched, cases.offset)
            other = chance[~part.hit]
            with np.errstate(divide="ignore"):
                place = np.clip((np.log2(other) + _OCTAVES) * _STEPS, 0, size - 1).astype(np.int64)
            np.add.at(count, place, 1.0)
            np.add.at(total, place, other)
            bins, hits = bins + len(part), hits + int(part.hit.sum())
            chances = _running_sum(chances, chance)
        kept = min(hits, max(limit // 2, limit - (bins - hits)))
        floor = _FLOOR * chances / bins
        worth = np.where(count > 0, total / np.maximum(count, 1.0), 0.0) + floor
        return cls(kept / max(hits, 1), _scale(worth, count, limit - kept), floor)

    def of(self, hit: Bool, chance: Float) -> Float:
        """Rate of each bin, (m,)."""
        return np.where(hit, self.hit, np.minimum(self.scale * (chance + self.floor), 1.0))


@dataclass(frozen=True, eq=False)
class Sample:
    """What a fit looks at.

    Attributes
    ----------
    bins : Bins
        Those that were kept; their weights make up for the others.
    table : LifeTable
        Counted on all bins.
    events : int
        Bins with an event, kept or not.
    """

    bins: Bins
    table: LifeTable
    events: int


def sample(cases: Cases, *, limit: int, seed: int, size: int = BLOCK) -> Sample:
    """Count the life table on all bins and keep about ``limit`` of them.

    Parameters
    ----------
    cases : Cases
    limit : int
        Bins to keep; where there are no more, all are kept as they are.
    seed : int
        Seed of the draw.
    size : int
        Rows that are laid at once. The result does not depend on it.
    """
    counts = LifeCounts.empty(cases.grid.edges)
    bins, events = 0, 0
    for part in cases.bins(size):
        counts.add(part.periods, part.hit, part.watched, part.mass, cases.offset)
        bins, events = bins + len(part), events + int(part.hit.sum())
    table = counts.table()
    rates = Rates()
    if bins > limit:
        rates = Rates.plan(cases.bins(size), table, cases, limit)
    rng = np.random.default_rng(seed)
    kept = [_draw(part, rates, table, cases.offset, rng) for part in cases.bins(size)]
    return Sample(Bins.join(kept), table, events)


def _draw(
    part: Bins, rates: Rates, table: LifeTable, offset: Float | None, rng: np.random.Generator
) -> Bins:
    rate = rates.of(part.hit, table.chance(part.periods, part.watched, offset))
    keep = rng.random(len(part)) < rate
    return replace(part.take(keep), mass=part.mass[keep] / rate[keep])


def _running_sum(start: float, values: Float) -> float:
    """Add one value after the other, so that the sum does not depend on the blocks."""
    total = np.array([start])
    np.add.at(total, np.zeros(len(values), dtype=np.int64), values)
    return float(total[0])


def _scale(worth: Float, count: Float, total: float) -> float:
    """Find c with sum(count * min(c * worth, 1)) = total; inf where there are no more."""
    if count.sum() <= total:
        return np.inf
    scale = total / (count * worth).sum()
    for _ in range(20):
        full = scale * worth >= 1.0
        rest = max(float((count * worth)[~full].sum()), 1e-300)
        scale = max((total - float(count[full].sum())) / rest, scale)
    return float(scale)
