"""What a payment model learns at one level, and how the parts make a forecast.

On the day a claim is issued it is asked for the first time whether it will be paid. Such days are
few among all the moments that a hazard learns from, and what tells then is not what tells later:
new prices and new kinds of claim come in there, and all lie at the same distance from the due
date. So on large data rows that name a claim on its day of issue have hazards of their own, too,
and are forecast by the mean of both in log odds; there ranks stand for amounts of money, see
:mod:`collectopt.models.issue`. On small data claims may be forecast by the mean with what the
habits of their accounts say, see :mod:`collectopt.models.habits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import HABITS, RANKS
from collectopt.models.account_habits import HabitHazard, Habits, Shown
from collectopt.models.curve import Curve
from collectopt.models.expected import ExpectedLateness
from collectopt.models.expected import Past as Lateness
from collectopt.models.hazard import HazardModel
from collectopt.models.issue import MONEY, names_at_issue, ranks
from collectopt.models.joined import Joined
from collectopt.models.labels import Durations
from collectopt.models.options import LARGE, HazardOptions
from collectopt.models.sharing import Sharing
from collectopt.models.windows import Windows
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]
Days = npt.NDArray[np.datetime64]
_AT_ISSUE = "at_issue"


@dataclass(frozen=True, eq=False)
class Training:
    """What one level learns from: all that no option but haste, at_issue and habits changes.

    Attributes
    ----------
    matrix : FeatureMatrix
        (n, d), one row a moment before the cut.
    ranks : (n, 2) float64 or None
        Ranks of amounts at issue; None where the caller chose the features, or they are not
        needed.
    outcome : Durations
        Days to the event, censored at the cut.
    events : int
        Different events among them: several moments may wait for the same one.
    share : (n, 4) float64
        Share settled within 30, 90, 180 and 365 days; nan where not over.
    due : (n,) float64
        Days until the due date; nan without one.
    start : (n,) datetime64[D]
        Local day of each row.
    at_issue : (n,) bool
        Whether the row names a claim on its day of issue.
    events_at_issue : int
        Different events that such rows wait for.
    windows : Windows
    expected : ExpectedLateness or None
        What gave the last column of the matrix.
    habits : Habits or None
        Of accounts, if they have helped before; tried with the options of who gathered this.
    """

    matrix: FeatureMatrix
    ranks: Float | None
    outcome: Durations
    events: int
    share: Float
    due: Float
    start: npt.NDArray[np.datetime64]
    at_issue: Bool
    events_at_issue: int
    windows: Windows
    expected: ExpectedLateness | None
    habits: Habits | None


class Past(NamedTuple):
    """What the accounts of a ledger have shown so far, where a head needs it."""

    lateness: Lateness | None
    habits: Shown | None


@dataclass(frozen=True)
class Head:
    """What was learnt at one level.

    Attributes
    ----------
    hazard : HazardModel
        Learnt from all rows, on `names`.
    at_issue : HazardModel or None
        Learnt from rows that name a claim on its day of issue, on columns of its own (a part of
        :attr:`columns`); None where those are few.
    windows : Windows
        Averaged with the hazard up to half a year.
    names : tuple of str
        Features, in the order of the columns of `hazard`, and of what :meth:`groups` is given.
    categories : mapping of str to tuple of str
        Codes of the categorical ones.
    sharing : Sharing
        How much of the open amount comes in.
    expected : ExpectedLateness or None
        What gives the lateness to expect, where it is one of the features.
    habits : Habits or None
        Of accounts; claims are forecast by the mean with what these say.
    """

    hazard: HazardModel
    at_issue: HazardModel | None
    windows: Windows
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    sharing: Sharing
    expected: ExpectedLateness | None
    habits: Habits | None

    @classmethod
    def fit(cls, data: Training, options: HazardOptions, seed: int) -> Self:
        """Learn from what was gathered."""
        matrix, first = data.matrix, np.flatnonzero(data.at_issue)
        own = None
        if apart(options, data.events_at_issue):
            columns = matrix.take(first)
            if data.ranks is not None:
                columns = columns.select([name for name in matrix.names if name not in MONEY])
                for name, rank in zip(RANKS, data.ranks[first].T, strict=True):
                    columns = columns.with_column(name, rank)
            own = _hazard(
                columns, data, first, options=options, events=data.events_at_issue, seed=seed
            )
        every = np.arange(len(matrix))
        sharing = Sharing.fit(
            matrix.values,
            data.due,
            data.outcome,
            data.share,
            categorical=[matrix.names.index(name) for name in matrix.categories],
            seed=seed,
        )
        return cls(
            _hazard(matrix, data, every, options=options, events=data.events, seed=seed),
            own,
            data.windows,
            matrix.names,
            {name: tuple(values) for name, values in matrix.categories.items()},
            sharing,
            data.expected,
            data.habits if options.habits else None,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that any hazard looks at: the features, then ranks or habits where needed."""
        if self.habits is not None:
            return (*self.names, *HABITS)
        ranked = self.at_issue is not None and RANKS[0] in self.at_issue.columns_.names
        return (*self.names, *RANKS) if ranked else self.names

    def past(self, ledger: Ledger) -> Past:
        """Look up what accounts have shown so far."""
        return Past(
            None if self.expected is None else self.expected.past(ledger),
            None if self.habits is None else self.habits.past(ledger),
        )

    def groups(
        self, rows: Snapshot, X: Matrix, past: Past
    ) -> Iterator[tuple[HazardModel | Joined, Int, Matrix]]:
        """Give hazards, the rows that each answers for (the first: perhaps none), their columns.

        Parameters
        ----------
        rows : Snapshot
        X : (n, d) float32
            Their features.
        past : Past
            Of their ledger.
        """
        second, joint, more = self._second(rows, past)
        rest = np.flatnonzero(~joint)
        yield self.hazard, rest, X[rest] if len(rest) < len(X) else X
        if second is not None and joint.any():
            own = np.flatnonzero(joint)
            full = np.column_stack([X[own], more[own].astype(np.float32)])
            yield Joined(self.hazard, second, self.columns), own, full

    def _second(
        self, rows: Snapshot, past: Past
    ) -> tuple[HazardModel | HabitHazard | None, Bool, Float]:
        """Give the second hazard, rows that it has a say in (n,), and its own columns (n, k)."""
        if self.at_issue is not None:
            first = names_at_issue(rows)
            ranked = len(self.columns) > len(self.names)
            return self.at_issue, first, ranks(rows, first) if ranked else np.empty((len(rows), 0))
        if past.habits is not None:
            shown = past.habits.of(rows)
            return (
                HabitHazard(past.habits.parameters, self.hazard.grid_),
                ~np.isnan(shown[:, 0]),
                shown,
            )
        return None, np.zeros(len(rows), dtype=np.bool_), np.empty((len(rows), 0))

    def curve(
        self, rows: Snapshot, X: Matrix, past: Past, *, due: Float, start: Days, reach: float
    ) -> Curve:
        """Give the curves of rows as the hazards see them, see :meth:`HazardModel.predict_curve`.

        Parameters
        ----------
        rows : Snapshot
        X : (n, d) float32
            Their features.
        past : Past
            Of their ledger.
        due : (n,) float64
            Days until the due date; nan without one.
        start : (n,) datetime64[D]
            Local day of each row.
        reach : float
            Days up to which they are needed.
        """
        groups = list(self.groups(rows, X, past))
        curves = [
            hazard.predict_curve(own, offset=due[some], start=start[some], reach=reach)
            for hazard, some, own in groups
        ]
        if len(groups) == 1:
            return curves[0]
        places = np.concatenate([some for _, some, _ in groups])
        return Curve.join(curves).take(np.argsort(places))

    def save(self, directory: Path, level: str) -> dict[str, Any]:
        """Write the hazards into folders of a directory; plain values of the rest."""
        self.hazard.save(directory / level)
        if self.at_issue is not None:
            self.at_issue.save(directory / f"{level}-{_AT_ISSUE}")
        return {
            "windows": self.windows.to_json(),
            "names": self.names,
            "categories": self.categories,
            "sharing": self.sharing.to_json(),
            "expected": None if self.expected is None else self.expected.to_json(),
            "habits": None if self.habits is None else self.habits.to_json(),
            _AT_ISSUE: self.at_issue is not None,
        }

    @classmethod
    def load(cls, directory: Path, level: str, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`save` wrote and gave."""
        expected, habits = content.get("expected"), content.get("habits")
        own = content.get(_AT_ISSUE)
        return cls(
            HazardModel.load(directory / level),
            HazardModel.load(directory / f"{level}-{_AT_ISSUE}") if own else None,
            Windows.from_json(content["windows"]),
            tuple(content["names"]),
            {name: tuple(values) for name, values in content["categories"].items()},
            Sharing.from_json(content["sharing"]),
            expected and ExpectedLateness.from_json(expected),
            habits and Habits.from_json(habits),
        )


def apart(options: HazardOptions, events: int) -> bool:
    """Whether rows at issue, which wait for so many events, have hazards of their own."""
    return options.at_issue and events >= LARGE


def _hazard(
    columns: FeatureMatrix,
    data: Training,
    rows: Int,
    *,
    options: HazardOptions,
    events: int,
    seed: int,
) -> HazardModel:
    """Fit a hazard on the columns of some rows."""
    return options.hazard(events, columns.names, seed).fit(
        columns.values,
        data.outcome.days[rows],
        data.outcome.event[rows],
        offset=data.due[rows],
        start=data.start[rows],
        names=columns.names,
        categorical=list(columns.categories),
    )
