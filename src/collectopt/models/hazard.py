"""Time to an event as a discrete-time hazard: one boosted model for every horizon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.boosting import (
    TreeOptions,
    Trees,
    check_matrix,
    check_vector,
    expit,
    logit,
)
from collectopt.models.periods import (
    CALENDAR,
    CLOCK,
    Grid,
    LifeTable,
    Periods,
    blocks,
    default_due_edges,
    default_edges,
)

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Days = npt.NDArray[np.datetime64]

#: Person-periods that one fit looks at; above it, bins without an event are sampled (weighted).
MAX_PERIODS = 500_000
_BLOCK = 4096


@dataclass(frozen=True)
class _Clock:
    """What the bins know about time besides their age."""

    offset: bool
    start: bool

    @property
    def names(self) -> tuple[str, ...]:
        due = CLOCK if self.offset else CLOCK[:1]
        return (*due, *CALENDAR) if self.start else due


class HazardModel:
    """Discrete-time hazard, fitted by LightGBM on person-periods.

    Time from a start (the day on which one asks) to an event is cut into bins: daily at first,
    then weekly, monthly, quarterly; with ``offset`` also daily around the due date. Each row
    gives one line for every bin in which it was watched, and a binary LightGBM learns the chance
    that the event falls into the bin. A row that is censored inside a bin counts with the days
    that it was watched: the trees add to the log odds of ``1 - exp(-rate * days watched)``. So
    open items say "not before", never "no".

    Parameters
    ----------
    edges : sequence of float, optional
        Bin edges in days, increasing, the first one 0; the last one is the reach of the model.
        Default: daily to quarterly up to three years.
    n_estimators, num_leaves, min_child_samples : int
        Trees, leaves of a tree, person-periods of a leaf.
    learning_rate : float
        Shrinkage of each tree.
    half_life_days : float, optional
        With ``start``, a bin that lies this many days before the newest one counts half.
    monotone : mapping of str to int, optional
        Sign (+1, -1) by column name: the hazard rises (falls) with the column.
    max_periods : int
        Most person-periods that a fit looks at; half as many take half the time.
    seed : int
        Seed of column sampling and of the sampling of bins in large data.

    Notes
    -----
    Beyond the last bin nothing is known: ``predict_cumulative`` stays flat there.
    In fits of more than ``max_periods`` person-periods, bins without an event are sampled by what
    they tell and weighted by one over their rate; bins with an event are all kept.

    References
    ----------
    Fithian & Hastie (2014), Local case-control sampling. Annals of Statistics 42.
    Singer & Willett (1993), It's about time: discrete-time survival analysis. J. Educ. Stat. 18.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days = rng.exponential(20.0, 4000)
    >>> watched = rng.uniform(0.0, 60.0, 4000)
    >>> model = HazardModel(n_estimators=20)
    >>> model = model.fit(np.zeros((4000, 1)), np.minimum(days, watched), days < watched)
    >>> p = model.predict_cumulative(np.zeros((1, 1)), [10.0, 30.0])
    >>> bool(np.abs(p - [[0.393, 0.777]]).max() < 0.03)
    True
    """

    def __init__(
        self,
        edges: Sequence[float] | Float | None = None,
        *,
        n_estimators: int = 150,
        learning_rate: float = 0.06,
        num_leaves: int = 15,
        min_child_samples: int = 200,
        half_life_days: float | None = None,
        monotone: dict[str, int] | None = None,
        max_periods: int = MAX_PERIODS,
        seed: int = 0,
    ) -> None:
        self.edges = None if edges is None else tuple(float(e) for e in edges)
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.half_life_days = half_life_days
        self.monotone = monotone
        self.max_periods = max_periods
        self.seed = seed
        self._trees: Trees | None = None
        self._clock = _Clock(offset=False, start=False)
        self._table: LifeTable | None = None
        self._names: tuple[str, ...] = ()
        self._grid = self._lay_grid()

    def _lay_grid(self) -> Grid:
        edges = default_edges() if self.edges is None else np.asarray(self.edges, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or edges[0] != 0.0 or not (np.diff(edges) > 0).all():
            raise InputError.of(
                "HazardModel",
                "edges",
                expected="increasing days that start at 0",
                found=str(edges.tolist()),
            )
        return Grid(edges, default_due_edges())

    @property
    def reach(self) -> float:
        """Days after which nothing is known."""
        return self._grid.reach

    def fit(
        self,
        X: npt.ArrayLike,
        duration: npt.ArrayLike,
        event: npt.ArrayLike,
        *,
        weight: npt.ArrayLike | None = None,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
        categorical: Sequence[int | str] = (),
        names: Sequence[str] | None = None,
    ) -> Self:
        """Learn from rows that were watched for ``duration`` days.

        Parameters
        ----------
        X : (n, d) array
            Numbers; nan is missing; categorical columns hold codes.
        duration : (n,) float
            Days until the event, or until the row was last seen without it.
        event : (n,) bool
            True where the event came at ``duration``, False where the row is censored there.
        weight : (n,) float, optional
            Weight of each row.
        offset : (n,) float, optional
            Days from the row's start until its due date has passed; nan where it has none.
        start : (n,) datetime64[D], optional
            Local day of the row's start; adds weekday, day, month and the share of business days.
        categorical : sequence of int or str
            Columns (numbers or names) that hold codes of categories.
        names : sequence of str, optional
            Names of the columns, for ``monotone``, ``categorical`` and saving.

        Returns
        -------
        HazardModel
            Itself.

        Raises
        ------
        InputError
            Wrong shapes, negative or missing durations, names that do not exist.
        """
        matrix = check_matrix(X)
        n, width = matrix.shape
        days = check_vector(duration, n, "duration", low=0.0)
        happened = check_vector(event, n, "event", low=0.0) > 0.0
        rows = None if weight is None else check_vector(weight, n, "weight", low=0.0)
        due, first = self._check_clock(n, offset, start)
        if n == 0:
            raise InputError.of("X", None, expected="at least one row", found="none")
        self._names = tuple(names) if names is not None else tuple(f"x{i}" for i in range(width))
        self._clock = _Clock(offset=due is not None, start=first is not None)
        codes, signs = self._columns(width, categorical)

        periods, hit, watched = self._expand(days, happened, due)
        mass = self._weights(periods, rows, first)
        self._table = LifeTable.fit(
            self._grid.edges, periods, hit=hit, watched=watched, weight=mass, offset=due
        )
        keep, mass = self._thin(hit, self._table.chance(periods, watched, due), mass)
        periods, hit, watched = periods.take(keep), hit[keep], watched[keep]
        data = np.empty((len(periods), width + len(self._clock.names)), dtype=np.float32)
        data[:, :width] = matrix[periods.row]
        data[:, width:] = periods.features(due, first)
        self._trees = Trees.fit(
            data,
            hit.astype(np.float64),
            options=self._options(float(hit.sum())),
            base=logit(self._table.chance(periods, watched, due)),
            weight=mass,
            categorical=codes,
            monotone=signs,
        )
        return self

    def predict_cumulative(
        self,
        X: npt.ArrayLike,
        horizons: Sequence[float] | Float,
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
    ) -> Float:
        """Chance that the event comes before each horizon.

        Parameters
        ----------
        X : (n, d) array
            Columns as in ``fit``.
        horizons : (h,) or (n, h) float
            Days from the start; at or below 0 the answer is 0, beyond :attr:`reach` it is flat.
        offset, start
            As in ``fit``, needed if they were given there.

        Returns
        -------
        (n, h) float64
            In [0, 1], non-decreasing in the horizon.
        """
        matrix, due, first = self._check_predict("predict_cumulative", X, offset, start)
        wanted = np.asarray(horizons, dtype=np.float64)
        wanted = np.broadcast_to(wanted, (len(matrix), wanted.shape[-1]))
        out = np.zeros(wanted.shape)
        for part in blocks(len(matrix), _BLOCK):
            upto = wanted[part].max(axis=1, initial=0.0)
            curve = self._curve(matrix[part], upto, _cut(due, part), _cut(first, part))
            out[part] = curve.before(wanted[part])
        return out

    def predict_quantiles(
        self,
        X: npt.ArrayLike,
        quantiles: Sequence[float] | Float = (0.1, 0.5, 0.9),
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
    ) -> Float:
        """Days by which the event has come with the given chance; inf beyond the reach.

        Parameters
        ----------
        X, offset, start
            As in ``predict_cumulative``.
        quantiles : (q,) or (n, q) float
            Chances in (0, 1).

        Returns
        -------
        (n, q) float64
            Days from the start.
        """
        chances = np.asarray(quantiles, dtype=np.float64)
        return self.predict_curve(X, offset=offset, start=start).quantiles(chances)

    def predict_curve(
        self,
        X: npt.ArrayLike,
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
        reach: float = np.inf,
    ) -> Curve:
        """Whole curves, for many questions about the same rows.

        Parameters
        ----------
        X, offset, start
            As in ``predict_cumulative``.
        reach : float
            Days up to which the curves are needed; they are flat soon after.

        Returns
        -------
        Curve
        """
        matrix, due, first = self._check_predict("predict_curve", X, offset, start)
        parts = []
        for part in blocks(len(matrix), _BLOCK):
            upto = np.full(part.stop - part.start, reach)
            parts.append(self._curve(matrix[part], upto, _cut(due, part), _cut(first, part)))
        return Curve.join(parts)

    def contributions(
        self,
        X: npt.ArrayLike,
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
        reach: npt.ArrayLike = np.inf,
    ) -> tuple[Periods, Float, Float]:
        """Give what each column adds to the log odds of each bin (tree SHAP, by LightGBM).

        Parameters
        ----------
        X, offset, start
            As in ``predict_cumulative``.
        reach : float or (n,) float
            Days up to which the bins are needed.

        Returns
        -------
        periods : Periods
            The m bins of all rows.
        base : (m,) float64
            Log odds without any column: life table and mean of the trees.
        added : (m, d + c) float64
            By column of X, then by the c columns of the clock; base + sum = log odds of the bin.
        """
        matrix, due, first = self._check_predict("contributions", X, offset, start)
        upto = np.broadcast_to(np.asarray(reach, dtype=np.float64), (len(matrix),))
        periods, odds, data = self._bins(matrix, upto, due, first)
        assert self._trees is not None
        found = self._trees.contributions(data)
        return periods, odds + found[:, -1], found[:, :-1]

    def save(self, directory: str | Path) -> None:
        """Write ``hazard.txt`` (LightGBM's text) and ``hazard.json`` into a directory."""
        if self._trees is None or self._table is None:
            raise NotFittedError.of(self, "save")
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        settings = {name: getattr(self, name) for name in _SETTINGS}
        state = {
            "names": self._names,
            "clock": asdict(self._clock),
            "rates": self._table.rates.tolist(),
        }
        text = json.dumps({"format": 1, "settings": settings, "state": state}, indent=1)
        (path / "hazard.txt").write_text(self._trees.to_text(), encoding="utf-8")
        (path / "hazard.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> HazardModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "hazard.json").read_text(encoding="utf-8"))
            text = (path / "hazard.txt").read_text(encoding="utf-8")
            model = cls(**content["settings"])
            state = content["state"]
            model._names = tuple(state["names"])
            model._clock = _Clock(**state["clock"])
            model._table = LifeTable(model._grid.edges, np.array(state["rates"], dtype=np.float64))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable HazardModel in {path}: {error}") from error
        model._trees = Trees.from_text(text)
        return model

    # -- inside ------------------------------------------------------------------------------

    def _check_clock(
        self, n: int, offset: npt.ArrayLike | None, start: Days | None
    ) -> tuple[Float | None, Days | None]:
        due = None if offset is None else check_vector(offset, n, "offset", nan=True)
        if start is None:
            return due, None
        first = np.asarray(start).astype("datetime64[D]")
        if first.shape != (n,) or np.isnat(first).any():
            raise InputError.of(
                "start", None, expected=f"({n},) days, none missing", found=str(first[:3])
            )
        return due, first

    def _columns(
        self, width: int, categorical: Sequence[int | str]
    ) -> tuple[list[int], list[int] | None]:
        place = {name: i for i, name in enumerate(self._names)}
        signs = dict(self.monotone or {})
        wanted = [c for c in categorical if isinstance(c, str)]
        unknown = [c for c in [*wanted, *signs] if c not in place]
        if len(self._names) != width or unknown:
            raise InputError.of(
                "names",
                None,
                expected=f"{width} names, among them every categorical and monotone column",
                found=f"{len(self._names)} names, unknown {unknown}",
            )
        codes = [place[c] if isinstance(c, str) else int(c) for c in categorical]
        full = [signs.get(name, 0) for name in (*self._names, *self._clock.names)]
        return codes, full if signs else None

    def _expand(
        self, days: Float, happened: npt.NDArray[np.bool_], due: Float | None
    ) -> tuple[Periods, npt.NDArray[np.bool_], Float]:
        """Lay the bins that were watched: which hold the event, how many days were seen.

        An event at ``duration`` belongs to the bin that contains it; a row censored there was
        watched up to ``duration`` only.
        """
        last = np.where(happened, np.nextafter(days, np.inf), days)
        periods = self._grid.lay(last, due)
        at = days[periods.row]
        hit = happened[periods.row] & (at >= periods.lo) & (at < periods.hi)
        seen = np.where(hit, periods.hi, np.minimum(at, periods.hi)) - periods.lo
        return periods, hit, seen

    def _weights(self, periods: Periods, rows: Float | None, first: Days | None) -> Float:
        mass = np.ones(len(periods)) if rows is None else rows[periods.row].copy()
        if self.half_life_days is not None and first is not None and len(periods):
            when = first.astype(np.int64)[periods.row] + periods.lo
            mass *= 0.5 ** ((when.max() - when) / self.half_life_days)
        return mass

    def _thin(
        self, hit: npt.NDArray[np.bool_], chance: Float, mass: Float
    ) -> tuple[npt.NDArray[np.bool_], Float]:
        """Keep all bins with an event; of the others those that tell most, weighted.

        How much a bin without an event tells is its chance of one, here that of the life table
        (local case-control sampling with a pilot).
        """
        spare = max(self.max_periods - int(hit.sum()), self.max_periods // 4)
        if len(hit) - int(hit.sum()) <= spare:
            return np.ones(len(hit), dtype=np.bool_), mass
        worth = np.where(hit, 0.0, chance + 0.2 * chance.mean())
        rate = np.minimum(_scale(worth, spare) * worth, 1.0)
        keep = hit | (np.random.default_rng(self.seed).random(len(hit)) < rate)
        return keep, np.where(hit, mass, mass / np.maximum(rate, 1e-12))[keep]

    def _options(self, events: float) -> TreeOptions:
        # Leaves of little data would chase noise: a leaf holds at least 1/50 of the events' bins.
        return TreeOptions(
            rounds=self.n_estimators,
            rate=self.learning_rate,
            leaves=self.num_leaves if events >= 2000 else min(self.num_leaves, 7),
            min_leaf=self.min_child_samples,
            seed=self.seed,
        )

    def _check_predict(
        self, method: str, X: npt.ArrayLike, offset: npt.ArrayLike | None, start: Days | None
    ) -> tuple[npt.NDArray[np.float32], Float | None, Days | None]:
        if self._trees is None:
            raise NotFittedError.of(self, method)
        matrix = check_matrix(X, len(self._names))
        due, first = self._check_clock(len(matrix), offset, start)
        if _Clock(due is not None, first is not None) != self._clock:
            raise InputError.of(
                "HazardModel",
                None,
                expected=f"offset and start as in fit ({self._clock})",
                found=str(_Clock(due is not None, first is not None)),
            )
        return matrix, due, first

    def _curve(
        self,
        matrix: npt.NDArray[np.float32],
        upto: Float,
        due: Float | None,
        first: Days | None,
    ) -> Curve:
        assert self._trees is not None
        periods, odds, data = self._bins(matrix, upto, due, first)
        return Curve.build(periods, expit(odds + self._trees.score(data)), len(matrix))

    def _bins(
        self, matrix: Matrix, upto: Float, due: Float | None, first: Days | None
    ) -> tuple[Periods, Float, Matrix]:
        """Lay the bins: their log odds by the life table, and the columns that the trees see."""
        assert self._table is not None
        periods = self._grid.lay(upto, due)
        width = matrix.shape[1]
        data = np.empty((len(periods), width + len(self._clock.names)), dtype=np.float32)
        data[:, :width] = matrix[periods.row]
        data[:, width:] = periods.features(due, first)
        return periods, logit(self._table.chance(periods, periods.hi - periods.lo, due)), data


def _cut(values: npt.NDArray[Any] | None, part: slice) -> npt.NDArray[Any] | None:
    return None if values is None else values[part]


@dataclass(frozen=True)
class Curve:
    """When the event comes, for n rows: the cumulative hazard at each row's own edges.

    Attributes
    ----------
    edge : (n, k) float64
        Days; edge[:, 0] = 0; the last one is repeated.
    total : (n, k) float64
        Cumulative hazard -log P(no event before the edge).
    """

    edge: Float
    total: Float

    @classmethod
    def build(cls, periods: Periods, hazard: Float, n: int) -> Curve:
        """Make the curves of n rows from P(event in a bin | none before), (m,)."""
        count = np.bincount(periods.row, minlength=n)
        size = int(count.max(initial=0)) + 1
        edge, step = np.zeros((n, size)), np.zeros((n, size))
        place = np.arange(len(periods)) - np.repeat(np.cumsum(count) - count, count) + 1
        edge[periods.row, place] = periods.hi
        step[periods.row, place] = -np.log1p(-np.minimum(hazard, 1.0 - 1e-12))
        return cls(np.maximum.accumulate(edge, axis=1), np.cumsum(step, axis=1))

    @classmethod
    def join(cls, parts: Sequence[Curve]) -> Curve:
        """Put the rows of several curves one below the other."""
        if not parts:
            return cls(np.zeros((0, 2)), np.zeros((0, 2)))
        size = max(part.edge.shape[1] for part in parts)
        pads = [((0, 0), (0, size - part.edge.shape[1])) for part in parts]
        edge = [np.pad(c.edge, pad, "edge") for c, pad in zip(parts, pads, strict=True)]
        total = [np.pad(c.total, pad, "edge") for c, pad in zip(parts, pads, strict=True)]
        return cls(np.concatenate(edge), np.concatenate(total))

    def before(self, days: Float) -> Float:
        """P(event before ``days``, (h,) or (n, h)), (n, h); inside a bin the hazard is constant."""
        days = np.broadcast_to(days, (len(self.edge), days.shape[-1]))
        out = np.empty(days.shape)
        for k in range(days.shape[1]):
            out[:, k] = -np.expm1(-self._at(days[:, k]))
        return out

    def _at(self, day: Float) -> Float:
        row = np.arange(len(day))
        bin_ = np.clip((self.edge[:, 1:-1] <= day[:, None]).sum(axis=1), 0, self.edge.shape[1] - 2)
        lo, hi = self.edge[row, bin_], self.edge[row, bin_ + 1]
        below, above = self.total[row, bin_], self.total[row, bin_ + 1]
        share = np.clip((day - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0, 1.0)
        return np.asarray(below + share * (above - below), dtype=np.float64)

    def quantiles(self, chances: Float) -> Float:
        """First day by which each of ``chances``, (q,) or (n, q), is reached; inf where never."""
        chances = np.broadcast_to(chances, (len(self.edge), chances.shape[-1]))
        out = np.full(chances.shape, np.inf)
        for k, target in enumerate(-np.log1p(-np.minimum(chances.T, 1.0 - 1e-12))):
            reached = self.total >= target[:, None]
            rows = np.nonzero(reached.any(axis=1))[0]
            at = np.maximum(reached[rows].argmax(axis=1), 1)
            below, above = self.total[rows, at - 1], self.total[rows, at]
            lo, hi = self.edge[rows, at - 1], self.edge[rows, at]
            share = np.clip((target[rows] - below) / np.maximum(above - below, 1e-300), 0.0, 1.0)
            out[rows, k] = lo + share * (hi - lo)
        return out


def _scale(worth: Float, total: int) -> float:
    """Find c with sum(min(c * worth, 1)) = total."""
    scale = total / worth.sum()
    for _ in range(20):
        full = scale * worth >= 1.0
        scale = max((total - int(full.sum())) / max(worth[~full].sum(), 1e-300), scale)
    return float(scale)


_SETTINGS = (
    "edges",
    "n_estimators",
    "learning_rate",
    "num_leaves",
    "min_child_samples",
    "half_life_days",
    "monotone",
    "max_periods",
    "seed",
)
