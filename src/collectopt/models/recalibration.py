"""Recalibration by horizon, taken only where it has already helped on later cuts.

The level of payments moves from half year to half year, so what was learnt on the newest outcomes
often makes the next forecast worse. Here the correction has to earn its place: what was learnt
by one cut is tried on a later one, and only a horizon that gains there is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from collectopt.exceptions import InputError, NotFittedError
from collectopt.features.matrix import FeatureMatrix
from collectopt.models.boosting import expit, logit
from collectopt.models.labels import Event, Level, due_offsets, durations, watched
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_SLACK = 5.0
_CLIP = 1e-6
_WINS = 2
_BEYOND = 2.0


class Payment(Protocol):
    """What can be wrapped: PaymentModel, or anything with its methods."""

    event: Any

    def fit(self, ledger: Ledger, as_of: AsOf) -> Any:
        """Learn from what was known before `as_of`; gives itself."""
        ...

    def predict(self, snapshot: Snapshot, *, horizons: Sequence[str], level: str) -> Forecast:
        """Give probabilities in the order of the snapshot."""
        ...


@dataclass(frozen=True)
class Shift:
    """A correction of log odds: ``intercept + slope * log odds``.

    Examples
    --------
    >>> Shift(0.0, 1.0).apply(np.array([0.0, 0.25, 1.0]))
    array([0.  , 0.25, 1.  ])
    """

    intercept: float
    slope: float

    def apply(self, p: Float) -> Float:
        """Correct chances, any shape; what is certain stays so."""
        inside = (p > 0.0) & (p < 1.0)
        return np.where(inside, expit(self.intercept + self.slope * logit(p)), p)

    @classmethod
    def learn(cls, p: Float, y: Bool) -> Shift:
        """Fit to outcomes; a weak prior holds the two numbers at 0 and 1.

        Parameters
        ----------
        p : (n,) float64
            Chances inside (0, 1).
        y : (n,) bool
            What came.
        """
        z, hit = logit(p), y.astype(np.float64)

        def loss(theta: Float) -> tuple[float, Float]:
            s = theta[0] + theta[1] * z
            slack = theta - np.array([0.0, 1.0])
            value = float(np.logaddexp(0.0, s).sum() - (hit * s).sum() + _SLACK * (slack @ slack))
            residual = expit(s) - hit
            slope = np.array([residual.sum(), (residual * z).sum()]) + 2.0 * _SLACK * slack
            return value, slope

        # The slope stays positive, so that the order of the rows does not turn round.
        bounds = [(None, None), (0.05, None)]
        found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(float(found.x[0]), float(found.x[1]))


@dataclass(frozen=True, eq=False)
class _Seen:
    """Forecasts of one cut and horizon whose outcome is known by now.

    Attributes
    ----------
    p : (n,) float64
    y : (n,) bool
    account : (n,) int64
        Rows of one account go together.
    known : (n, cuts + 1) bool
        Whether the horizon was over at each of the cuts, and as of now.
    """

    p: Float
    y: Bool
    account: npt.NDArray[np.int64]
    known: Bool

    def take(self, rows: Bool) -> _Seen:
        return _Seen(self.p[rows], self.y[rows], self.account[rows], self.known[rows])


@dataclass(frozen=True)
class _Trial:
    """One correction, learnt by a cut and tried there."""

    cut: np.datetime64
    learnt: int
    n: int
    shift: Shift
    before: float
    after: float
    error: float  # standard error of before - after, by account


class Recalibrated:
    """A payment model whose chances are corrected where that has proved its worth.

    ``fit`` also fits the model at earlier cuts and looks at what came of the rows that were open
    then. For each horizon a correction of two parameters is learnt at each cut from the earlier
    ones, from outcomes that were known by that cut, and tried on the rows of the cut itself. It
    is taken if it lowers the log-loss beyond chance (two standard errors, rows of an account
    taken together) on at least two cuts, and on the mean of all tried cuts; otherwise the
    forecast of the model stays as it is. What is taken is learnt again from all cuts.

    Parameters
    ----------
    maker : callable
        Makes a new, unfitted payment model.
    cuts : int
        How many earlier cuts; each costs a fit. Fewer than three whose outcomes are known never
        change anything.
    every : str
        Days between the cuts. A shock that spans several cuts passes for a lasting error, so they
        are as far apart as moods of a book usually last: half a year. A horizon longer than
        `every` is learnt from a cut further back and needs more cuts: about
        1 + 2 x horizon / every.
    horizons : sequence of str
        What may be corrected. Other horizons stay as they are, up to the repair below.
    levels : sequence of {"account", "invoice"}, optional
        Default: those of the model.

    Notes
    -----
    After a correction, chances are raised where an earlier horizon of the same row lies higher,
    so they never fall in time. Expected shares follow the chances. The quantiles of `days` stay
    those of the model. There is no ``save``: keep the ledger and fit again.

    Examples
    --------
    >>> from collectopt.models import PaymentModel
    >>> Recalibrated(lambda: PaymentModel(event="full"), horizons=("30D", "90D"))
    Recalibrated(PaymentModel, cuts=3, every='182D', horizons=('30D', '90D'))
    """

    def __init__(
        self,
        maker: Callable[[], Payment],
        *,
        cuts: int = 3,
        every: str = "182D",
        horizons: Sequence[str] = ("30D", "90D"),
        levels: Sequence[str] | None = None,
    ) -> None:
        self._maker = maker
        self._inner = maker()
        self.event = Event(self._inner.event)
        self.cuts = cuts
        self.every = every
        self.horizons = tuple(str(Horizon.parse(horizon)) for horizon in horizons)
        own = getattr(self._inner, "levels", tuple(Level))
        self.levels = tuple(Level(level) for level in (own if levels is None else levels))
        self._taken: dict[tuple[Level, str], Shift] = {}
        self._decisions: pd.DataFrame | None = None

    def __repr__(self) -> str:
        name = type(self._inner).__name__
        return (
            f"Recalibrated({name}, cuts={self.cuts}, every={self.every!r}, "
            f"horizons={self.horizons})"
        )

    @property
    def decisions(self) -> pd.DataFrame:
        """What was tried and what was taken.

        One row a level, horizon and tried cut: level, horizon, cut (where it was tried), learnt
        (rows it was learnt from), n (rows it was tried on), intercept, slope, before and after
        (log-loss there), error (standard error of their difference), taken, reason. A horizon
        without a trial has one row without figures.
        """
        if self._decisions is None:
            raise NotFittedError.of(self, "decisions")
        return self._decisions

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Fit the model, and learn the corrections, from what was known before `as_of`.

        Parameters
        ----------
        ledger : Ledger
        as_of : str, date, aware datetime

        Raises
        ------
        InputError
            As the model's own ``fit``.
        """
        import pandas as pd

        moment = to_instant(as_of, ledger.timezone)
        self._inner = self._maker()
        self._inner.fit(ledger, moment)
        cuts = earlier_cuts(moment, ledger.timezone, n=self.cuts, every=self.every)
        seen = self._look_back(ledger, cuts, moment)
        self._taken, records = {}, []
        for level in self.levels:
            for horizon in self.horizons:
                parts = seen[level, horizon]
                trials = [t for j in range(1, len(cuts)) if (t := _try(parts, cuts, j))]
                taken, reason = _judge(trials)
                if taken:
                    self._taken[level, horizon] = _learn(list(parts.values()))
                records += _records(level, horizon, trials, taken=taken, reason=reason)
        self._decisions = pd.DataFrame(records, columns=list(_COLUMNS))
        return self

    def predict(
        self,
        snapshot: Snapshot,
        *,
        horizons: Sequence[str] = ("30D", "90D"),
        level: str = "account",
        quantiles: Sequence[float] | None = None,
        matrix: FeatureMatrix | None = None,
    ) -> Forecast:
        """Forecast; same arguments and result as ``PaymentModel.predict``."""
        if self._decisions is None:
            raise NotFittedError.of(self, "predict")
        if isinstance(horizons, str):
            horizons = (horizons,)
        if Level(level) is Level.INVOICE and snapshot.rows["invoice"].null_count:
            snapshot = snapshot.to_invoice_level()
        given: dict[str, Any] = {"quantiles": quantiles, "matrix": matrix}
        more = {name: value for name, value in given.items() if value is not None}
        raw = self._inner.predict(snapshot, horizons=horizons, level=level, **more)
        shifts = [self._taken.get((Level(level), name)) for name in raw.horizons]
        if not any(shifts):
            return raw
        p = raw.p_paid.copy()
        for k, shift in enumerate(shifts):
            if shift is not None:
                p[:, k] = shift.apply(p[:, k])
        order = np.argsort(_ahead(snapshot, raw.horizons), axis=1, kind="stable")
        p = _never_falling(p, order)
        share = _never_falling(_shares(raw, p, self.event), order)
        return Forecast(raw.rows, raw.horizons, p, share, raw.days.copy(), raw.quantiles)

    def inputs(self, level: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Features that ``predict`` needs at a level: see ``PaymentModel.inputs``."""
        found: tuple[tuple[str, ...], dict[str, tuple[str, ...]]]
        found = self._inner.inputs(level)  # type: ignore[attr-defined]
        return found

    def _look_back(
        self, ledger: Ledger, cuts: list[np.datetime64], moment: np.datetime64
    ) -> dict[tuple[Level, str], dict[int, _Seen]]:
        """Give what was forecast at earlier cuts and came: by level and horizon, then by cut."""
        out: dict[tuple[Level, str], dict[int, _Seen]]
        out = {(level, name): {} for level in self.levels for name in self.horizons}
        for i, cut in enumerate(cuts):
            model = self._maker()
            try:
                model.fit(ledger, cut)
            except InputError:  # the book was not yet there; a wrong model fails at as_of too
                continue
            for level in self.levels:
                rows = Snapshot(ledger, cut)
                rows = rows.to_invoice_level() if level is Level.INVOICE else rows
                if not len(rows):
                    continue
                forecast = model.predict(rows, horizons=self.horizons, level=level.value)
                found = durations(rows, self.event, level, moment)
                over = np.column_stack([watched(rows, one) for one in [*cuts, moment]])
                ahead = _ahead(rows, self.horizons)
                account = rows.rows["account"].to_numpy().astype(np.int64)
                for k, name in enumerate(self.horizons):
                    known = over >= ahead[:, [k]]
                    p, reach = forecast.p_paid[:, k], ahead[:, k]
                    # Only time decides which rows count, except for what a credit note closed.
                    kept = known[:, -1] & (reach > 0.0) & (p > 0.0) & (p < 1.0)
                    kept &= found.event | (found.days >= reach)
                    if kept.any():
                        y = (found.event & (found.days < reach))[kept]
                        out[level, name][i] = _Seen(p[kept], y, account[kept], known[kept])
        return out


_COLUMNS = (
    "level", "horizon", "cut", "learnt", "n", "intercept", "slope", "before", "after", "error",
    "taken", "reason",
)  # fmt: skip


def earlier_cuts(
    as_of: np.datetime64, timezone: str, *, n: int, every: str, gap: int = 0
) -> list[np.datetime64]:
    """Cuts before a time at the same local time of day, oldest first.

    Parameters
    ----------
    as_of : numpy.datetime64
        UTC.
    timezone : str
    n : int
    every : str
        Whole days between cuts, such as "90D".
    gap : int
        Days from the newest cut to `as_of`; 0 means `every`.

    Examples
    --------
    >>> moment = np.datetime64("2026-04-30", "us")
    >>> [str(cut) for cut in earlier_cuts(moment, "UTC", n=2, every="30D")]
    ['2026-03-01T00:00:00.000000', '2026-03-31T00:00:00.000000']
    """
    step = Horizon.parse(every)
    if n < 1 or step.from_due or step.days < 1:
        raise InputError.of(
            "cuts", "every", expected='n >= 1 and whole days such as "90D"', found=f"{n}, {every}"
        )
    zone, utc = ZoneInfo(timezone), ZoneInfo("UTC")
    wall = as_of.astype("datetime64[us]").item().replace(tzinfo=utc).astimezone(zone)
    cuts = []
    for k in reversed(range(n)):
        # Local arithmetic: so many days lie between the cuts even if the clocks were changed.
        local = wall.replace(tzinfo=None) - timedelta(days=(gap or step.days) + k * step.days)
        back = local.replace(tzinfo=zone).astimezone(utc).replace(tzinfo=None)
        cuts.append(np.datetime64(back, "us"))
    return cuts


def _try(parts: dict[int, _Seen], cuts: list[np.datetime64], j: int) -> _Trial | None:
    """Learn from the outcomes known by cut j, and look at the rows of cut j."""
    if j not in parts:
        return None
    told = [seen.take(seen.known[:, j]) for i, seen in parts.items() if i < j]
    learnt = sum(len(one.y) for one in told)
    if not learnt:
        return None
    shift, tried = _learn(told), parts[j]
    before, after = _losses(tried.y, tried.p), _losses(tried.y, shift.apply(tried.p))
    error = _error(before - after, tried.account)
    return _Trial(
        cuts[j], learnt, len(tried.y), shift, float(before.mean()), float(after.mean()), error
    )


def _learn(told: list[_Seen]) -> Shift:
    return Shift.learn(np.concatenate([o.p for o in told]), np.concatenate([o.y for o in told]))


def _judge(trials: list[_Trial]) -> tuple[bool, str]:
    """Say whether to take a correction, and why."""
    if len(trials) < _WINS:
        return False, f"tried on {len(trials)} cuts, {_WINS} are needed"
    gains = np.array([trial.before - trial.after for trial in trials])
    beyond = _BEYOND * np.array([trial.error for trial in trials])
    wins = int((gains > beyond).sum())
    found = (
        f"better beyond chance on {wins} of {len(trials)} cuts, "
        f"{gains.mean():+.4f} nats on the mean"
    )
    return wins >= _WINS and bool(gains.mean() > 0.0), found


def _records(
    level: Level, horizon: str, trials: list[_Trial], *, taken: bool, reason: str
) -> list[tuple[Any, ...]]:
    nan = float("nan")
    if not trials:
        none = (np.datetime64("NaT", "us"), 0, 0, nan, nan, nan, nan, nan)
        return [(level.value, horizon, *none, taken, reason)]
    return [
        (
            level.value,
            horizon,
            trial.cut,
            trial.learnt,
            trial.n,
            trial.shift.intercept,
            trial.shift.slope,
            trial.before,
            trial.after,
            trial.error,
            taken,
            reason,
        )
        for trial in trials
    ]


def _losses(y: Bool, p: Float) -> Float:
    clipped = np.clip(p, _CLIP, 1.0 - _CLIP)
    return -np.where(y, np.log(clipped), np.log1p(-clipped))


def _error(values: Float, account: npt.NDArray[np.int64]) -> float:
    """Compute the error of a mean where rows of one account depend on one another."""
    sums = np.bincount(account, values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def _ahead(rows: Snapshot, horizons: Sequence[str]) -> Float:
    """Days from as_of to each horizon, (n, h); 0 for a due date that is not known."""
    due = due_offsets(rows)
    out = np.empty((len(rows), len(horizons)))
    for k, horizon in enumerate(map(Horizon.parse, horizons)):
        out[:, k] = due + horizon.days if horizon.from_due else horizon.days
    return np.where(np.isnan(out), 0.0, out)


def _never_falling(p: Float, order: npt.NDArray[np.intp]) -> Float:
    """Raise what lies below an earlier horizon of the same row."""
    out = np.empty_like(p)
    sorted_ = np.take_along_axis(p, order, axis=1)
    np.put_along_axis(out, order, np.maximum.accumulate(sorted_, axis=1), axis=1)
    return out


def _shares(raw: Forecast, p: Float, event: Event) -> Float:
    """Move the expected shares with the chances.

    Full payment leaves open what the others owe, so what is open shrinks with their chance. With
    "any" it is the payers that bring the share, so it grows with theirs.
    """
    if event is Event.ANY:
        ratio = np.divide(p, raw.p_paid, out=np.ones_like(p), where=raw.p_paid > 0.0)
        return np.clip(raw.share * ratio, 0.0, 1.0)
    rest = 1.0 - raw.p_paid
    ratio = np.divide(1.0 - p, rest, out=np.ones_like(p), where=rest > 0.0)
    return np.clip(1.0 - (1.0 - raw.share) * ratio, 0.0, 1.0)
