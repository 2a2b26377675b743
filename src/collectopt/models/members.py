"""One member of a hazard: a life table, lines on top of it, and trees on top of those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import TreeOptions, Trees, logit
from collectopt.models.cases import Cases, sample
from collectopt.models.periods import LifeTable, Periods
from collectopt.models.slopes import Slopes

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """How the members of a hazard are fitted.

    Attributes
    ----------
    limit, seed : int
        Person-periods to look at, and the seed of their draw.
    options : callable
        Options of the trees by the number of events.
    ridge : float or None
        Penalty of the lines; None = no lines.
    categorical : sequence of int
        Columns that hold codes.
    signs : sequence of int or None
        Monotone sign of each column of a line.
    usual : sequence of int
        Columns that hold usual days.
    """

    limit: int
    seed: int
    options: Callable[[int], TreeOptions]
    ridge: float | None
    categorical: Sequence[int]
    signs: Sequence[int] | None
    usual: Sequence[int]


@dataclass(frozen=True, eq=False)
class Member:
    """What gives the log odds of a bin: the sum of three parts.

    Attributes
    ----------
    table : LifeTable
        By age and stage.
    slopes : Slopes or None
        Straight lines by column.
    trees : Trees
    """

    table: LifeTable
    slopes: Slopes | None
    trees: Trees

    @classmethod
    def fit(cls, X: Matrix, cases: Cases, recipe: Recipe) -> Self | None:
        """Learn from the watched bins; None where there are none."""
        drawn = sample(cases, limit=recipe.limit, seed=recipe.seed)
        bins, due = drawn.bins, cases.offset
        if not len(bins):
            return None
        odds = logit(drawn.table.chance(bins.periods, bins.watched, due))
        slopes = None
        if recipe.ridge is not None:
            slopes = Slopes.fit(
                X,
                bins,
                odds,
                due,
                ridge=recipe.ridge,
                categorical=recipe.categorical,
                # A line knows no sign.
                without=[k for k, sign in enumerate(recipe.signs or ()) if sign],
            )
            odds = odds + slopes.score(X, bins.periods, due)
        clock = bins.periods.features(
            due, cases.start, X[:, recipe.usual] if recipe.usual else None
        )
        trees = Trees.fit(
            lines(X, bins.periods, clock),
            bins.hit.astype(np.float64),
            options=recipe.options(drawn.events),
            base=odds,
            weight=bins.mass,
            categorical=recipe.categorical,
            monotone=recipe.signs,
        )
        return cls(drawn.table, slopes, trees)

    def odds(self, X: Matrix, periods: Periods, clock: Matrix, offset: Float | None) -> Float:
        """Log odds of each whole bin, (m,).

        Parameters
        ----------
        X : (n, d) float32
            Columns of the rows.
        periods : Periods
            m bins, sorted by row.
        clock : (m, c) float32
            Columns of the bins.
        offset : (n,) float64, optional
            Days until the due date has passed.
        """
        odds = self._table(periods, offset)
        if self.slopes is not None:
            odds += self.slopes.score(X, periods, offset)
        return odds + self.trees.score_lines(X, clock, periods.row)

    def terms(
        self, X: Matrix, periods: Periods, clock: Matrix, offset: Float | None
    ) -> tuple[Float, Float]:
        """Give :meth:`odds` in parts: without any column (m,), and of each column (m, d + c)."""
        found = self.trees.contributions(lines(X, periods, clock))
        base, added = self._table(periods, offset) + found[:, -1], found[:, :-1]
        if self.slopes is not None:
            level, straight = self.slopes.terms(X, periods, offset)
            base += level
            added[:, : X.shape[1]] += straight
        return base, added

    def _table(self, periods: Periods, offset: Float | None) -> Float:
        return logit(self.table.chance(periods, periods.hi - periods.lo, offset))

    def to_json(self) -> dict[str, Any]:
        """Plain values; trees as LightGBM's text."""
        return {
            "edges": self.table.edges.tolist(),
            "rates": self.table.rates.tolist(),
            "slopes": None if self.slopes is None else self.slopes.to_json(),
            "trees": self.trees.to_text(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        edges, rates = (np.array(content[k], dtype=np.float64) for k in ("edges", "rates"))
        slopes = None if content["slopes"] is None else Slopes.from_json(content["slopes"])
        return cls(LifeTable(edges, rates), slopes, Trees.from_text(content["trees"]))


def lines(X: Matrix, periods: Periods, clock: Matrix) -> Matrix:
    """Columns of each person-period: those of its row, then those of the bin."""
    data = np.empty((len(periods), X.shape[1] + clock.shape[1]), dtype=np.float32)
    data[:, : X.shape[1]] = X[periods.row]
    data[:, X.shape[1] :] = clock
    return data
