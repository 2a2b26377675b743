"""What a payment model learns at one level, and how the parts make a forecast.

On the day a claim is issued it is asked for the first time whether it will be paid. Such days are
few among all the moments that a hazard learns from, and what tells then is not what tells later:
new prices and new kinds of claim come in there, and all lie at the same distance from the due
date. So on large data rows that name a claim on its day of issue have hazards of their own, too,
and are forecast by the mean of both in log odds; there ranks stand for amounts of money, see
:mod:`collectopt.models.issue`. A mean loses little where one of them is as good
(Bates and Granger 1969, *The combination of forecasts*).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import RANKS
from collectopt.models.boosting import expit
from collectopt.models.curve import Curve
from collectopt.models.expected import ExpectedLateness, Past
from collectopt.models.hazard import HazardModel
from collectopt.models.issue import MONEY, names_at_issue, ranks
from collectopt.models.labels import Durations
from collectopt.models.options import LARGE, HazardOptions
from collectopt.models.periods import Periods, blocks
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
_BLOCK = 50_000


@dataclass(frozen=True, eq=False)
class Training:
    """What one level learns from: everything that no option but haste and at_issue changes.

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


class Joined:
    """The mean of two hazards in log odds, over all their members.

    Parameters
    ----------
    first, second : HazardModel
        On bins of the same kind.
    columns : sequence of str, length d
        Names of the columns that are handed over: those of both, in any order.
    """

    def __init__(self, first: HazardModel, second: HazardModel, columns: Sequence[str]) -> None:
        self._parts = [
            (hazard, np.array([columns.index(name) for name in hazard.columns_.names]))
            for hazard in (first, second)
        ]

    def predict_curve(self, X: Matrix, *, offset: Float, start: Days, reach: float) -> Curve:
        """Give the curves of n rows, as :meth:`HazardModel.predict_curve` does."""
        curves = []
        for part in blocks(len(X), _BLOCK):
            due, day = offset[part], start[part]
            upto = np.full(len(due), reach)
            periods = self._parts[0][0].grid_.lay(upto, due)
            odds = [
                each
                for hazard, places in self._parts
                for each in hazard.odds(X[part][:, places], periods, offset=due, start=day)
            ]
            curves.append(Curve.build(periods, expit(np.mean(odds, axis=0)), len(due)))
        return Curve.join(curves)

    def contributions(
        self, X: Matrix, *, offset: Float, start: Days, reach: npt.ArrayLike
    ) -> tuple[Periods, Float, Float]:
        """Give what each column adds, as :meth:`HazardModel.contributions` does."""
        bases, wholes, members = [], [], []
        for hazard, places in self._parts:
            periods, base, added = hazard.contributions(
                X[:, places], offset=offset, start=start, reach=reach
            )
            clock = added.shape[1] - len(places)
            whole = np.zeros((len(added), X.shape[1] + clock))
            whole[:, np.r_[places, X.shape[1] + np.arange(clock)]] = added
            bases.append(base)
            wholes.append(whole)
            members.append(len(hazard.members_))
        return (
            periods,
            np.average(bases, axis=0, weights=members),
            np.average(wholes, axis=0, weights=members),
        )


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
    """

    hazard: HazardModel
    at_issue: HazardModel | None
    windows: Windows
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    sharing: Sharing
    expected: ExpectedLateness | None

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
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that any hazard looks at: the features, and ranks if rows at issue have them."""
        ranked = self.at_issue is not None and RANKS[0] in self.at_issue.columns_.names
        return (*self.names, *RANKS) if ranked else self.names

    def past(self, ledger: Ledger) -> Past | None:
        """Look up what accounts have shown so far, where the features need it."""
        return None if self.expected is None else self.expected.past(ledger)

    def groups(
        self, rows: Snapshot, X: Matrix
    ) -> Iterator[tuple[HazardModel | Joined, Int, Matrix]]:
        """Give hazards, the rows that each answers for (the first: perhaps none), their columns.

        Parameters
        ----------
        rows : Snapshot
        X : (n, d) float32
            Their features.
        """
        first = np.zeros(len(rows), dtype=np.bool_)
        if self.at_issue is not None:
            first = names_at_issue(rows)
        rest = np.flatnonzero(~first)
        yield self.hazard, rest, X[rest] if len(rest) < len(X) else X
        if self.at_issue is not None and first.any():
            own = np.flatnonzero(first)
            full = X[own]
            if len(self.columns) > len(self.names):
                full = np.column_stack([full, ranks(rows, first)[own].astype(np.float32)])
            yield Joined(self.hazard, self.at_issue, self.columns), own, full

    def curve(self, rows: Snapshot, X: Matrix, due: Float, start: Days, reach: float) -> Curve:
        """Give the curves of rows as the hazards see them, see :meth:`HazardModel.predict_curve`.

        Parameters
        ----------
        rows : Snapshot
        X : (n, d) float32
            Their features.
        due : (n,) float64
            Days until the due date; nan without one.
        start : (n,) datetime64[D]
            Local day of each row.
        reach : float
            Days up to which they are needed.
        """
        groups = list(self.groups(rows, X))
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
            _AT_ISSUE: self.at_issue is not None,
        }

    @classmethod
    def load(cls, directory: Path, level: str, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`save` wrote and gave."""
        expected = content.get("expected")
        own = content.get(_AT_ISSUE)
        return cls(
            HazardModel.load(directory / level),
            HazardModel.load(directory / f"{level}-{_AT_ISSUE}") if own else None,
            Windows.from_json(content["windows"]),
            tuple(content["names"]),
            {name: tuple(values) for name, values in content["categories"].items()},
            Sharing.from_json(content["sharing"]),
            expected and ExpectedLateness.from_json(expected),
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
