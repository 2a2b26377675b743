"""What a payment model learns at one level, and how the parts make a forecast.

On the day a claim is issued it is asked for the first time whether it will be paid. Such days are
few among all the moments that a hazard learns from, and what tells then is not what tells later:
new prices and new kinds of claim come in there, and all lie at the same distance from the due
date. So on large data rows that name a claim on its day of issue have hazards of their own, too,
and are forecast by the mean of both in log odds. A mean loses little where one of them is as good
(Bates and Granger 1969, *The combination of forecasts*).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.features.matrix import FeatureMatrix
from collectopt.models.curve import Curve
from collectopt.models.expected import ExpectedLateness, Past
from collectopt.models.hazard import HazardModel
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
    """What one level learns from: everything that no option of the hazard changes.

    Attributes
    ----------
    matrix : FeatureMatrix
        (n, d), one row a moment before the cut.
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
    outcome: Durations
    events: int
    share: Float
    due: Float
    start: npt.NDArray[np.datetime64]
    at_issue: Bool
    events_at_issue: int
    windows: Windows
    expected: ExpectedLateness | None


@dataclass(frozen=True)
class Head:
    """What was learnt at one level.

    Attributes
    ----------
    hazard : HazardModel
        Learnt from all rows.
    at_issue : HazardModel or None
        Learnt from rows that name a claim on its day of issue; None where those are few.
    windows : Windows
        Averaged with the hazard up to half a year.
    names : tuple of str
        Features, in the order of the hazard's columns.
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
        matrix = data.matrix

        def hazard(rows: slice | Int, events: int) -> HazardModel:
            return options.hazard(events, matrix.names, seed).fit(
                matrix.values[rows],
                data.outcome.days[rows],
                data.outcome.event[rows],
                offset=data.due[rows],
                start=data.start[rows],
                names=matrix.names,
                categorical=list(matrix.categories),
            )

        first = np.flatnonzero(data.at_issue)
        enough = options.at_issue and data.events_at_issue >= LARGE and len(first) < len(matrix)
        sharing = Sharing.fit(
            matrix.values,
            data.due,
            data.outcome,
            data.share,
            categorical=[matrix.names.index(name) for name in matrix.categories],
            seed=seed,
        )
        return cls(
            hazard(slice(None), data.events),
            hazard(first, data.events_at_issue) if enough else None,
            data.windows,
            matrix.names,
            {name: tuple(values) for name, values in matrix.categories.items()},
            sharing,
            data.expected,
        )

    def past(self, ledger: Ledger) -> Past | None:
        """Look up what accounts have shown so far, where the features need it."""
        return None if self.expected is None else self.expected.past(ledger)

    def groups(self, rows: Snapshot) -> Iterator[tuple[HazardModel, Int]]:
        """Give the hazard of each row: hazards, and the rows that each answers for."""
        if self.at_issue is None:
            yield self.hazard, np.arange(len(rows))
            return
        first = names_at_issue(rows)
        yield self.hazard, np.flatnonzero(~first)
        yield self.hazard.beside(self.at_issue), np.flatnonzero(first)

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
        parts, places = [], []
        for hazard, some in self.groups(rows):
            if len(some):
                parts.append(
                    hazard.predict_curve(X[some], offset=due[some], start=start[some], reach=reach)
                )
                places.append(some)
        if len(parts) < 2:
            return Curve.join(parts)
        return Curve.join(parts).take(np.argsort(np.concatenate(places)))

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


def names_at_issue(rows: Snapshot) -> Bool:
    """Whether each row names a claim and asks on the local day of its issue, (n,)."""
    claims = rows.ledger.timeline.claims
    known = claims["invoice"].combine_chunks()
    asked = rows.rows["invoice"].cast(known.type)
    place = pc.fill_null(pc.index_in(asked, value_set=known), -1).to_numpy()
    issued = claims["issued_on"].cast(pa.int32()).to_numpy()
    found = np.flatnonzero(place >= 0)
    out = np.zeros(len(rows), dtype=np.bool_)
    day = rows.rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    out[found] = issued[place[found]] == day[found]
    return out
