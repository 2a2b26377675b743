"""Time to an event as a discrete-time hazard: one boosted model for every horizon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from collectopt.exceptions import ArtifactError, Fault, InputError
from collectopt.models.boosting import TreeOptions, UnfittedError, check_vector, expit
from collectopt.models.cases import Cases
from collectopt.models.columns import Columns
from collectopt.models.curve import Curve
from collectopt.models.members import Member, Recipe, lines
from collectopt.models.periods import (
    Clock,
    Grid,
    Periods,
    blocks,
    default_due_edges,
    default_edges,
)

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Days = npt.NDArray[np.datetime64]

#: Person-periods that one fit looks at; above it, bins are sampled (weighted).
MAX_PERIODS = 500_000
_BLOCK = 8192


class HazardModel(BaseEstimator):
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
    colsample_bytree : float
        Share of the columns that a tree sees.
    reg_lambda : float
        Ridge penalty that pulls each leaf to 0.
    half_life_days : float or None, or several of them
        With ``start``, a bin that lies this many days before the newest one counts half; None: all
        count alike. Several: as many models, averaged in log odds, so that what was always so
        stands beside what is so lately.
    monotone : mapping of str to int, optional
        Sign (+1, -1) by column name: the hazard rises (falls) with the column.
    slopes : float, optional
        Ridge penalty of straight lines that the trees start from, one a column and stage: they
        help where events are few. Default: no lines. Columns with a sign get none.
    usual : sequence of str, optional
        Columns that hold days after the due date at which the event usually comes for the row.
        With ``offset`` each bin then knows how far it lies from there.
    max_periods : int
        About how many person-periods a fit looks at; half as many take half the time.
    seed : int
        Seed of column sampling and of the sampling of bins in large data.

    Attributes
    ----------
    n_features_in_ : int
        Columns of ``X``.
    feature_names_in_ : (d,) object
        Their names; only if ``X`` was a frame or ``names`` were given.
    columns_ : Columns
        The same, with the codes of text columns.
    line_names_ : tuple of str
        Names of the columns of a person-period: those of ``X``, then those of the bin.
    grid_ : Grid
    members_ : tuple of Member
        One for each half-life; their log odds are averaged.

    Notes
    -----
    Beyond the last bin nothing is known: ``predict_cumulative`` stays flat there.
    A fit goes through the rows block by block, so that its memory does not grow with the number of
    person-periods. Above ``max_periods`` of them bins are drawn and weighted by one over their
    rate: those without an event by what they tell, those with one all alike, and only if they are
    more than half of ``max_periods``.
    It follows scikit-learn's conventions (``clone``, ``get_params``, ``check_is_fitted``), but
    ``fit`` takes durations and events instead of ``y``.

    References
    ----------
    Pesaran & Timmermann (2007), Selection of estimation window in the presence of breaks. Journal
    of Econometrics 137 (why both memories are kept).
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
        colsample_bytree: float = 0.8,
        reg_lambda: float = 1.0,
        half_life_days: float | Sequence[float | None] | None = None,
        slopes: float | None = None,
        monotone: dict[str, int] | None = None,
        usual: Sequence[str] | None = None,
        max_periods: int = MAX_PERIODS,
        seed: int = 0,
    ) -> None:
        self.edges = edges
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.half_life_days = half_life_days
        self.slopes = slopes
        self.monotone = monotone
        self.usual = usual
        self.max_periods = max_periods
        self.seed = seed

    @property
    def reach(self) -> float:
        """Days after which nothing is known."""
        self._check_fitted("reach")
        return self.grid_.reach

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
        X : (n, d) array or frame
            Numbers; nan is missing; categorical columns hold codes. Frames (pandas, polars, Arrow)
            are read by column name; their text columns are categorical.
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
            Names of the columns of an array, for ``monotone`` and ``categorical``.

        Returns
        -------
        HazardModel
            Itself.

        Raises
        ------
        InputError
            Wrong parameters or shapes, negative or missing durations, names that do not exist.
        """
        grid = self._check_parameters()
        columns, matrix = Columns.learn(X, names)
        n = len(matrix)
        if n == 0:
            raise InputError.of("X", None, expected="at least one row", found="none")
        days = check_vector(duration, n, "duration", low=0.0)
        if np.isinf(days).any():
            raise InputError.of("duration", None, expected="finite days", found="inf")
        happened = check_vector(event, n, "event", low=0.0) > 0.0
        rows = None if weight is None else check_vector(weight, n, "weight", low=0.0)
        due, first = _check_clock(n, offset, start)
        clock = Clock(due is not None, first is not None, tuple(self.usual or ()))
        recipe = Recipe(
            limit=self.max_periods,
            seed=self.seed,
            options=self._options,
            ridge=self.slopes,
            categorical=sorted(
                {*columns.places([*categorical, *columns.categories], "categorical")}
            ),
            signs=self._signs(columns, clock),
            usual=columns.places(list(self.usual or ()), "usual"),
        )
        members = []
        for k, half_life in enumerate(self._half_lives()):
            cases = Cases(grid, days, happened, rows, due, first, half_life)
            member = Member.fit(matrix, cases, replace(recipe, seed=self.seed + k))
            if member is None:
                raise InputError.of(
                    "X", None, expected="at least one row that was watched for a time", found="none"
                )
            members.append(member)
        self._set(columns, clock, grid, members)
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
        X : (n, d) array or frame
            Columns as in ``fit``: of a frame by name, of an array by place.
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
            curve = self._curve(matrix[part], _cut(due, part), _cut(first, part), upto)
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
            parts.append(self._curve(matrix[part], _cut(due, part), _cut(first, part), upto))
        return Curve.join(parts)

    def odds(
        self,
        X: npt.ArrayLike,
        periods: Periods,
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
    ) -> list[Float]:
        """Log odds of bins that were laid already, (m,) by member.

        Parameters
        ----------
        X, offset, start
            As in ``predict_cumulative``; all at once.
        periods : Periods
            m bins of those rows, from a grid like ``grid_``.
        """
        matrix, due, first = self._check_predict("odds", X, offset, start)
        return self._odds(matrix, periods, due, first)

    def lay(
        self,
        X: npt.ArrayLike,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
        upto: npt.ArrayLike = np.inf,
    ) -> tuple[Periods, Matrix]:
        """Lay the person-periods that the trees see, to explain or to change them.

        Parameters
        ----------
        X, offset, start
            As in ``predict_cumulative``; all at once, so hand over a block of rows.
        upto : float or (n,) float
            Days; bins that start later are left out.

        Returns
        -------
        Periods
            m bins, sorted by row and time.
        (m, d + k) float32
            Their columns, named by ``line_names_``.
        """
        matrix, due, first = self._check_predict("lay", X, offset, start)
        last = np.broadcast_to(np.asarray(upto, dtype=np.float64), (len(matrix),))
        periods = self.grid_.lay(last, due)
        return periods, lines(matrix, periods, periods.features(due, first, self._usual(matrix)))

    def contributions(
        self,
        X: npt.ArrayLike,
        *,
        offset: npt.ArrayLike | None = None,
        start: Days | None = None,
        reach: npt.ArrayLike = np.inf,
    ) -> tuple[Periods, Float, Float]:
        """Give what each column adds to the log odds of each bin: its line, and its tree SHAP.

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
            Log odds without any column: life table, level of the lines and mean of the trees.
        added : (m, d + c) float64
            By column of X, then by the c columns of the clock; base + sum = log odds of the bin.
        """
        matrix, due, first = self._check_predict("contributions", X, offset, start)
        last = np.broadcast_to(np.asarray(reach, dtype=np.float64), (len(matrix),))
        periods = self.grid_.lay(last, due)
        clock = periods.features(due, first, self._usual(matrix))
        parts = [member.terms(matrix, periods, clock, due) for member in self.members_]
        base, added = (sum(values) / len(parts) for values in zip(*parts, strict=True))
        return periods, base, added

    def save(self, directory: str | Path) -> None:
        """Write ``hazard.json`` into a directory, the trees in it as LightGBM's text."""
        self._check_fitted("save")
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": 3,
            "parameters": self.get_params(deep=False),
            "columns": asdict(self.columns_),
            "clock": asdict(self.clock_),
            "edges": self.grid_.edges,
            "members": [member.to_json() for member in self.members_],
        }
        text = json.dumps(content, indent=1, default=_plain)
        (path / "hazard.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "hazard.json").read_text(encoding="utf-8"))
            model = cls(**content["parameters"])
            columns = Columns(
                tuple(content["columns"]["names"]),
                content["columns"]["named"],
                {name: tuple(v) for name, v in content["columns"]["categories"].items()},
            )
            told = content["clock"]
            clock = Clock(told["offset"], told["start"], tuple(told["usual"]))
            grid = Grid(np.array(content["edges"], dtype=np.float64), default_due_edges())
            model._set(columns, clock, grid, [Member.from_json(m) for m in content["members"]])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable HazardModel in {path}: {error}") from error
        return model

    # -- inside ------------------------------------------------------------------------------

    def _set(self, columns: Columns, clock: Clock, grid: Grid, members: Sequence[Member]) -> None:
        """Take over what was learnt; nothing of an earlier fit stays."""
        self.columns_, self.clock_, self.grid_ = columns, clock, grid
        self.members_ = tuple(members)
        self.line_names_ = (*columns.names, *clock.names)
        self.n_features_in_ = len(columns.names)
        if columns.named:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _check_fitted(self, method: str) -> None:
        if not hasattr(self, "members_"):
            raise UnfittedError.of(self, method)

    def _check_parameters(self) -> Grid:
        """Check what ``__init__`` took as it came; list every fault."""
        faults = [
            Fault("HazardModel", name, f"a whole number from {low} up", repr(getattr(self, name)))
            for name, low in _LEAST.items()
            if not _is_number(getattr(self, name), whole=True) or getattr(self, name) < low
        ]
        for name in _POSITIVE:
            value = getattr(self, name)
            if not (_is_number(value) and value > 0) and not (name == "slopes" and value is None):
                faults.append(Fault("HazardModel", name, "a positive number", repr(value)))
        lives = self._half_lives()
        if not lives or not all(h is None or (_is_number(h) and h > 0) for h in lives):
            told = repr(self.half_life_days)
            faults.append(Fault("HazardModel", "half_life_days", "positive days, or None", told))
        for name, sign in (self.monotone or {}).items():
            if sign not in {-1, 0, 1}:
                faults.append(Fault("HazardModel", "monotone", "-1, 0 or 1", f"{name}: {sign!r}"))
        given = default_edges() if self.edges is None else self.edges
        edges = np.asarray(given, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or edges[0] != 0.0 or not (np.diff(edges) > 0).all():
            found = str(edges.tolist())
            faults.append(Fault("HazardModel", "edges", "increasing days that start at 0", found))
        if faults:
            raise InputError(faults)
        return Grid(edges, default_due_edges())

    def _half_lives(self) -> tuple[float | None, ...]:
        given: Any = self.half_life_days
        single = given is None or isinstance(given, str) or np.ndim(given) == 0
        return (given,) if single else tuple(given)

    def _signs(self, columns: Columns, clock: Clock) -> list[int] | None:
        """Monotone sign of each column of a line."""
        signs = dict(self.monotone or {})
        columns.places(list(signs), "monotone")
        full = [signs.get(name, 0) for name in columns.names] + [0] * len(clock.names)
        return full if signs else None

    def _options(self, events: int) -> TreeOptions:
        return TreeOptions(
            rounds=self.n_estimators,
            rate=self.learning_rate,
            # Many leaves on few events would chase noise.
            leaves=self.num_leaves if events >= 2000 else min(self.num_leaves, 7),
            min_leaf=self.min_child_samples,
            columns=self.colsample_bytree,
            ridge=self.reg_lambda,
            seed=self.seed,
        )

    def _check_predict(
        self, method: str, X: npt.ArrayLike, offset: npt.ArrayLike | None, start: Days | None
    ) -> tuple[Matrix, Float | None, Days | None]:
        self._check_fitted(method)
        matrix = self.columns_.read(X)
        due, first = _check_clock(len(matrix), offset, start)
        clock = Clock(due is not None, first is not None, self.clock_.usual)
        if clock != self.clock_:
            raise InputError.of(
                "HazardModel",
                None,
                expected=f"offset and start as in fit ({self.clock_})",
                found=str(clock),
            )
        return matrix, due, first

    def _usual(self, matrix: Matrix) -> Matrix | None:
        """Columns that hold the usual days, (n, k)."""
        places = self.columns_.places(list(self.clock_.usual), "usual")
        return matrix[:, places] if places else None

    def _curve(self, matrix: Matrix, due: Float | None, first: Days | None, upto: Float) -> Curve:
        periods = self.grid_.lay(upto, due)
        odds = self._odds(matrix, periods, due, first)
        return Curve.build(periods, expit(np.mean(odds, axis=0)), len(matrix))

    def _odds(
        self, matrix: Matrix, periods: Periods, due: Float | None, first: Days | None
    ) -> list[Float]:
        """Log odds of each bin, by member."""
        clock = periods.features(due, first, self._usual(matrix))
        return [member.odds(matrix, periods, clock, due) for member in self.members_]


_POSITIVE = ("learning_rate", "colsample_bytree", "reg_lambda", "slopes")
#: Least values of the parameters that count something.
_LEAST = {"n_estimators": 1, "num_leaves": 2, "min_child_samples": 1, "max_periods": 2}


def _check_clock(
    n: int, offset: npt.ArrayLike | None, start: Days | None
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


def _is_number(value: object, *, whole: bool = False) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | np.integer if whole else int | float | np.number)


def _plain(value: Any) -> Any:
    """Turn NumPy's arrays and numbers to plain ones."""
    return value.tolist()


def _cut(values: npt.NDArray[Any] | None, part: slice) -> npt.NDArray[Any] | None:
    return None if values is None else values[part]
