"""Rolling cuts: learn before a cut, forecast the moments after it, judge when they are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import InputError
from collectopt.features.engine import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.models.heads import Training
from collectopt.models.inputs import engine_names
from collectopt.models.labels import Event, Level, due_offsets, landmarks, outcomes, watched
from collectopt.models.payment import PaymentModel
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]

_Z = 1.959963984540054  # 95 %


@dataclass(frozen=True)
class Search:
    """What was asked for, checked."""

    horizons: tuple[Horizon, ...]
    trials: int
    n_cuts: int
    every: int  # days

    @classmethod
    def of(cls, horizons: Sequence[str], *, trials: int, cuts: int, every: str) -> Search:
        """Check what the caller asked for."""
        texts = [horizons] if isinstance(horizons, str) else horizons
        wanted = tuple(Horizon.parse(text) for text in texts)
        step = Horizon.parse(every)
        for name, good, expected, found in (
            ("horizons", bool(wanted), "at least one horizon", "none"),
            ("trials", trials >= 1, "at least 1", str(trials)),
            ("cuts", cuts >= 1, "at least 1", str(cuts)),
            ("every", step.days > 0 and not step.from_due, 'days, such as "90D"', repr(every)),
        ):
            if not good:
                raise InputError.of("tune", name, expected=expected, found=found)
        return cls(wanted, trials, cuts, step.days)

    def cuts(self, ledger: Ledger, as_of: AsOf) -> list[tuple[np.datetime64, np.datetime64]]:
        """Cuts, newest first, each with the moment up to which its outcomes are known.

        The first one judges. All that the others see lies before it: the choice is one that could
        have been made then.
        """
        end = to_instant(as_of, ledger.timezone)
        step = np.timedelta64(self.every, "D")
        wait = np.timedelta64(max(0, *(h.days for h in self.horizons)), "D")
        newest = end - wait - step
        first = newest - wait - step
        return [(newest, end), *((first - k * step, newest) for k in range(self.n_cuts))]


@dataclass(frozen=True, eq=False)
class Fold:
    """A cut, with everything about it that no option changes: made once, used by every trial.

    Attributes
    ----------
    level : Level
    horizons : tuple of str, length h
    training : Training
    rows : Snapshot
        The n moments after the cut.
    matrix : FeatureMatrix
    account : (n,) int64
    paid : (n, h) bool
        Whether the event came in time.
    weight : (n, h) float64
        0 where that is not known; else such that every horizon has the same weight, in all 1.
    """

    level: Level
    horizons: tuple[str, ...]
    training: Training
    rows: Snapshot
    matrix: FeatureMatrix
    account: npt.NDArray[np.int64]
    paid: npt.NDArray[np.bool_]
    weight: Float

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        base: PaymentModel,
        search: Search,
        cut: np.datetime64,
        end: np.datetime64,
    ) -> Fold:
        """Prepare a cut; outcomes are known up to ``end``."""
        level = base.levels[0]
        try:
            training = base.training(ledger, cut, level)
            rows = _moments(ledger, base, cut, search.every)
        except InputError as error:
            raise _too_short(cut, f"{error.faults[0].found}, {error.faults[0].expected}") from error
        paid, known = _labels(rows, base.event, level, search.horizons, end)
        count = known.sum(axis=0)
        if not count.any():
            raise _too_short(cut, "no moments after it whose horizon is over")
        weight = known / np.maximum(count, 1) / (count > 0).sum()
        return cls(
            level=level,
            horizons=tuple(str(h) for h in search.horizons),
            training=training,
            rows=rows,
            matrix=compute(rows, engine_names(training.matrix.names), training.matrix.categories),
            account=rows.rows["account"].to_numpy().astype(np.int64),
            paid=paid,
            weight=weight,
        )

    @property
    def events(self) -> int:
        """Events that the training rows hold."""
        return self.training.events

    def content(self) -> tuple[npt.NDArray[Any], ...]:
        """Arrays that tell this fold from that of another ledger."""
        return self.matrix.values, self.training.outcome.days, self.paid

    def losses(self, model: PaymentModel) -> Float:
        """Fit at the cut and give the log-loss of every forecast, (n, h)."""
        model.learn({self.level: self.training})
        forecast = model.predict(
            self.rows,
            horizons=self.horizons,
            level=self.level.value,
            quantiles=(),
            matrix=self.matrix,
        )
        p = np.clip(forecast.p_paid, 1e-12, 1.0 - 1e-12)
        return np.asarray(-np.log(np.where(self.paid, p, 1.0 - p)), dtype=np.float64)

    def score(self, model: PaymentModel) -> float:
        """Mean log-loss over the horizons."""
        return float((self.weight * self.losses(model)).sum())

    def gain(self, model: PaymentModel, rival: PaymentModel) -> tuple[float, float, float]:
        """Log-loss that a model saves against a rival, with its 95 % interval."""
        saved = self.losses(rival) - self.losses(model)
        return clustered_interval(saved, self.weight, self.account)


def clustered_interval(
    values: Float, weight: Float, cluster: npt.NDArray[np.int64]
) -> tuple[float, float, float]:
    """Mean of several columns and its 95 % interval, where rows of a cluster hang together.

    Parameters
    ----------
    values, weight : (n, h) float64
        Columns may have weights that add up to different totals; all in all they add up to 1.
    cluster : (n,) int64

    Returns
    -------
    mean, lower, upper : float
        The interval is infinite with fewer than two clusters.

    Examples
    --------
    >>> values = np.array([[1.0], [1.0], [3.0], [3.0]])
    >>> mean, lower, upper = clustered_interval(
    ...     values, np.full((4, 1), 0.25), np.array([7, 7, 9, 9])
    ... )
    >>> mean, round((upper - lower) / 2 / 1.96, 2)
    (2.0, 1.0)
    """
    total = weight.sum(axis=0)
    mean = (weight * values).sum(axis=0) / np.where(total > 0, total, 1.0)
    # Each column is a ratio of sums: a cluster moves it by what its rows differ from its mean.
    _, code = np.unique(cluster[(weight > 0).any(axis=1)], return_inverse=True)
    moved = (weight * (values - mean)).sum(axis=1)[(weight > 0).any(axis=1)]
    sums = np.bincount(code, weights=moved)
    middle = float((total * mean).sum())
    if len(sums) < 2:
        return middle, -np.inf, np.inf
    half = _Z * float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)))
    return middle, middle - half, middle + half


def _moments(ledger: Ledger, base: PaymentModel, cut: np.datetime64, days: int) -> Snapshot:
    """Take the moments that a later fit would learn from, from the cut to so many days later."""
    end = cut + np.timedelta64(days, "D")
    rows = landmarks(
        ledger, end, base.levels[0], years=(days + 1) / 365.25, limit=base.max_rows, seed=base.seed
    )
    at = rows.rows["as_of"].to_numpy().astype("datetime64[us]")
    return rows.take(np.flatnonzero(at >= cut))


def _labels(
    rows: Snapshot, event: Event, level: Level, horizons: Sequence[Horizon], end: np.datetime64
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Whether the event came within each horizon, and whether that is known, both (n, h)."""
    outcome, _ = outcomes(rows, event, level, end)
    due, seen = due_offsets(rows), watched(rows, end)
    paid = np.zeros((len(rows), len(horizons)), dtype=np.bool_)
    known = np.zeros_like(paid)
    for k, horizon in enumerate(horizons):
        ahead = due + horizon.days if horizon.from_due else np.full(len(rows), float(horizon.days))
        paid[:, k] = outcome.event & (outcome.days < ahead)
        # Only time decides which rows count, except for those that a credit note closed.
        known[:, k] = (ahead > 0) & (seen >= ahead) & (outcome.event | (outcome.days >= ahead))
    return paid, known


def _too_short(cut: np.datetime64, found: str) -> InputError:
    return InputError.of(
        "tune",
        "cuts",
        expected=f"history before and after the cut {str(cut)[:10]}",
        found=found,
        hint="Ask for fewer cuts, a shorter `every` or shorter horizons.",
    )
