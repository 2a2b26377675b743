"""Honest rivals: shrunken past rates of the same customer, and the base rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.optimize import minimize

from collectopt.exceptions import NotFittedError
from collectopt.models.boosting import expit, logit
from collectopt.models.labels import (
    Durations,
    Event,
    Level,
    ages,
    due_offsets,
    durations,
    landmarks,
    open_cents,
    watched,
)
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, AsOf

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_QUANTILES = (0.1, 0.5, 0.9)
_GRID = (1, 3, 7, 14, 30, 60, 90, 180, 365, 730)
# Rows of one stage are compared with one another; days past due at which a stage begins.
_LATE = np.array([0.0, 30.0, 120.0])
_N_STAGES = 16
_STRENGTH = 50.0
_SLACK = 5.0


@dataclass(frozen=True, eq=False)
class _Rows:
    """Who, at which stage, when (microseconds), and how far from the due date."""

    customer: Int
    segment: Int
    stage: Int
    at: Int
    offset: Float

    def take(self, keep: npt.NDArray[np.bool_]) -> _Rows:
        return _Rows(
            self.customer[keep],
            self.segment[keep],
            self.stage[keep],
            self.at[keep],
            self.offset[keep],
        )


@dataclass(frozen=True, eq=False)
class _History:
    """Training rows of a level and what came of them."""

    rows: _Rows
    outcome: Durations
    watched: Float  # days from as_of to the cut


class ShrunkenRate:
    """Empirical-Bayes rate of the same customer, shrunk to the segment and to the book.

    For each horizon: among earlier moments at the same stage (claim new or not, before due, up to
    30, up to 120 or more days late, another one past due or not) whose horizon had passed, how
    often did the event come in time? The rate of the
    customer (``customer_id``, else the account) is shrunk to that of its segment (customer type,
    country), and this to the book. A logistic curve with two parameters a stage, fitted on the
    training moments, turns the rate into the forecast.

    Parameters
    ----------
    event : {"full", "any"}
    years, max_rows, seed
        As in :class:`~collectopt.models.payment.PaymentModel`.

    Notes
    -----
    The strength of a customer's prior is estimated from the training rows by the method of
    moments for beta-binomial counts. This is the rival to print beside every claim of a model.
    """

    _pooled = False

    def __init__(
        self, event: str = "full", *, years: float = 4.0, max_rows: int = 500_000, seed: int = 0
    ) -> None:
        self.event = Event(event)
        self.years = years
        self.max_rows = max_rows
        self.seed = seed
        self._ledger: Ledger | None = None
        self._as_of: AsOf = ""
        self._histories: dict[Level, _History] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(event={self.event.value!r}, years={self.years})"

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Remember the ledger and the cut; rates are counted when a level is first asked for."""
        self._ledger, self._as_of = ledger, as_of
        self._histories = {}
        return self

    def predict(
        self,
        snapshot: Snapshot,
        *,
        horizons: Sequence[str] = ("30D", "90D"),
        level: str = "account",
    ) -> Forecast:
        """Forecast; same arguments and result as ``PaymentModel.predict``."""
        kind = Level(level)
        if kind is Level.INVOICE and snapshot.rows["invoice"].null_count:
            snapshot = snapshot.to_invoice_level()
        history = self._history(kind)
        rows = _describe(snapshot)
        wanted = [Horizon.parse(text) for text in horizons]
        p = np.column_stack([self._rate(history, rows, h) for h in wanted])
        grid = [self._rate(history, rows, Horizon(days)) for days in _GRID]
        curve = np.maximum.accumulate(np.column_stack(grid), axis=1)
        return Forecast(
            rows=snapshot.rows.select(["account_id", "as_of", "invoice_id"]),
            horizons=tuple(str(h) for h in wanted),
            p_paid=p,
            share=p.copy(),
            days=_quantiles(curve),
            quantiles=_QUANTILES,
            open_amount=open_cents(snapshot, kind) / 100.0,
            p_never=1.0 - curve[:, -1],
        )

    def _history(self, level: Level) -> _History:
        if self._ledger is None:
            raise NotFittedError.of(self, "predict")
        if level not in self._histories:
            rows = landmarks(
                self._ledger,
                self._as_of,
                level,
                years=self.years,
                limit=self.max_rows,
                seed=self.seed,
            )
            self._histories[level] = _History(
                _describe(rows),
                durations(rows, self.event, level, self._as_of),
                watched(rows, self._as_of),
            )
        return self._histories[level]

    def _rate(self, history: _History, rows: _Rows, horizon: Horizon) -> Float:
        """P(event within the horizon) of each row."""
        past = history.rows
        reach = (
            past.offset + horizon.days if horizon.from_due else np.full(len(past.at), horizon.days)
        )
        known = (reach > 0.0) & (history.watched >= reach)
        past, reach = past.take(known), reach[known]
        y = (history.outcome.event[known] & (history.outcome.days[known] < reach)).astype(
            np.float64
        )
        if not len(y):
            return np.zeros(len(rows.at))
        table = _Counts(past, y, past.at + (reach * DAY_US).astype(np.int64))
        if self._pooled:
            p = table.rate(rows, pooled=True)
        else:
            z, p = (logit(table.rate(told, pooled=False)) for told in (past, rows))
            for stage in np.unique(rows.stage):
                own, asked = past.stage == stage, rows.stage == stage
                a, b = _two_parameters(z[own], y[own])
                p[asked] = expit(a + b * p[asked])
        ahead = rows.offset + horizon.days if horizon.from_due else np.full(len(p), horizon.days)
        return np.where(ahead > 0.0, p, 0.0)


class BaseRate(ShrunkenRate):
    """Rate of the whole book at the same stage: the forecast that knows nothing of the row.

    Parameters
    ----------
    event, years, max_rows, seed
        As in :class:`ShrunkenRate`.
    """

    _pooled = True


class _Counts:
    """Counts of known outcomes before any time, by customer, segment and book, at each stage."""

    def __init__(self, past: _Rows, y: Float, told: Int) -> None:
        self.overall = float((y.sum() + 0.5) / (len(y) + 1.0))
        self._of = {
            "book": _Running(past.stage, told, y),
            "segment": _Running(past.segment * _N_STAGES + past.stage, told, y),
            "customer": _Running(past.customer * _N_STAGES + past.stage, told, y),
        }
        self._strength = _strength(past.customer * _N_STAGES + past.stage, y)

    def rate(self, rows: _Rows, *, pooled: bool) -> Float:
        """Shrunken rate of each row, from outcomes known before its time."""
        n, k = self._of["book"].before(rows.stage, rows.at)
        rate = (k + _STRENGTH * self.overall) / (n + _STRENGTH)
        if pooled:
            return rate
        n, k = self._of["segment"].before(rows.segment * _N_STAGES + rows.stage, rows.at)
        rate = (k + _STRENGTH * rate) / (n + _STRENGTH)
        n, k = self._of["customer"].before(rows.customer * _N_STAGES + rows.stage, rows.at)
        return np.asarray((k + self._strength * rate) / (n + self._strength), dtype=np.float64)


class _Running:
    """How many outcomes of a key were known before a time, and how many were "yes"."""

    def __init__(self, key: Int, told: Int, y: Float) -> None:
        self._keys, code = np.unique(key, return_inverse=True)
        order = np.lexsort((told, code))
        self._code, self._told = code[order], told[order]
        self._yes = np.r_[0.0, np.cumsum(y[order])]
        self._first = np.searchsorted(self._code, np.arange(len(self._keys)))
        # One sorted list of (key, time): times are ranks, so that both fit one integer.
        self._times = np.unique(told)
        rank = np.searchsorted(self._times, self._told, side="right")
        self._listed = self._code * (len(self._times) + 1) + rank

    def before(self, key: Int, at: Int) -> tuple[Float, Float]:
        """Count outcomes of each key that were known before ``at``."""
        place = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        known = self._keys[place] == key
        rank = np.searchsorted(self._times, at)
        end = np.searchsorted(self._listed, place * (len(self._times) + 1) + rank, side="right")
        start = self._first[place]
        end = np.where(known, np.maximum(end, start), start)
        return (end - start).astype(np.float64), self._yes[end] - self._yes[start]


def _strength(key: Int, y: Float) -> float:
    """Pseudo-count of the prior of one customer: beta-binomial by moments."""
    _, code = np.unique(key, return_inverse=True)
    n = np.bincount(code).astype(np.float64)
    k = np.bincount(code, y)
    many = n >= 2
    if many.sum() < 10:
        return _STRENGTH
    pairs = (n[many] * (n[many] - 1.0)).sum()
    both = (k[many] * (k[many] - 1.0)).sum() / pairs
    p = (k[many] * (n[many] - 1.0)).sum() / pairs
    spread = p * (1.0 - p)
    rho = (both - p * p) / spread if spread > 0.0 else 0.0
    rho = min(max(rho, 0.01), 0.9)
    return (1.0 - rho) / rho


def _two_parameters(z: Float, y: Float) -> tuple[float, float]:
    """Intercept and slope of a logistic curve on ``z``; a weak prior holds them at 0 and 1."""

    def loss(theta: Float) -> tuple[float, Float]:
        s = theta[0] + theta[1] * z
        slack = theta - np.array([0.0, 1.0])
        value = float(np.logaddexp(0.0, s).sum() - (y * s).sum() + _SLACK * (slack @ slack))
        residual = expit(s) - y
        return value, np.array([residual.sum(), (residual * z).sum()]) + 2.0 * _SLACK * slack

    found = minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def _describe(rows: Snapshot) -> _Rows:
    accounts = rows.ledger.accounts
    place = rows.rows["account"].combine_chunks()
    customer = pc.coalesce(accounts["customer_id"], accounts["account_id"])
    segment = pc.binary_join_element_wise(accounts["customer_type"], accounts["country"], "|")
    offset = due_offsets(rows)
    return _Rows(
        _codes(customer, place),
        _codes(segment, place),
        _stages(rows, offset),
        rows.as_of.astype("datetime64[us]").astype(np.int64),
        offset,
    )


def _stages(rows: Snapshot, offset: Float) -> Int:
    """How late the claim in question is, whether it is new, whether another one is past due."""
    late = np.where(np.isnan(offset), -1.0, -offset)
    stage = np.searchsorted(_LATE, late, side="right")
    new = np.nan_to_num(ages(rows), nan=1.0) < 1.0
    claims = rows.claims
    past = claims["past_due"].to_numpy()
    number = np.bincount(claims["row"].to_numpy(), past, len(rows))
    other = number > (late >= 0.0)
    return np.asarray(stage + 4 * new + 8 * other, dtype=np.int64)


def _codes(column: pa.ChunkedArray, place: pa.Array) -> Int:
    codes = column.combine_chunks().dictionary_encode().indices.take(place)
    return pc.cast(codes, pa.int64()).to_numpy(zero_copy_only=False)


def _quantiles(p: Float) -> Float:
    """Days by which each chance is reached, from chances on the grid; inf where it never is."""
    edge = np.r_[0.0, _GRID]
    curve = np.column_stack([np.zeros(len(p)), p])
    out = np.full((len(p), len(_QUANTILES)), np.inf)
    for k, target in enumerate(_QUANTILES):
        rows = np.flatnonzero(curve[:, -1] >= target)
        at = np.maximum((curve[rows] >= target).argmax(axis=1), 1)
        below, above = curve[rows, at - 1], curve[rows, at]
        part = (target - below) / np.maximum(above - below, 1e-12)
        out[rows, k] = edge[at - 1] + part * (edge[at] - edge[at - 1])
    return out
