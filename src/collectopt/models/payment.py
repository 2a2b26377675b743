"""When will a claim, or an account, pay: one hazard for every horizon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.features.engine import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import EXPECTED
from collectopt.models.expected import ExpectedLateness, Past
from collectopt.models.hazard import MAX_PERIODS, HazardModel
from collectopt.models.inputs import LEFT_OUT, engine_names, inputs, learnable
from collectopt.models.labels import (
    Durations,
    Event,
    Level,
    due_offsets,
    landmarks,
    open_cents,
    outcomes,
    watched,
)
from collectopt.models.periods import blocks
from collectopt.models.sharing import SHARE_DAYS, Sharing
from collectopt.models.windows import END, KNOTS, Windows
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
E = TypeVar("E", bound=Enum)

QUANTILES = (0.1, 0.5, 0.9)
_BLOCK = 100_000
_ALL = 200.0  # years
#: Events from which on the data are large: more leaves, less restraint. Small data want straight
#: lines, many weak trees of few columns each, close to a mean over many models, and the windows,
#: which see part of the rows only, half as much.
LARGE = 5000
#: Features that say when, seen from the due date, the account usually pays.
USUAL = ("late_recent", "late_last", EXPECTED)


@dataclass(frozen=True)
class HazardOptions:
    """Hyper-parameters of the hazard inside a :class:`PaymentModel`.

    Attributes
    ----------
    rounds, leaves, min_leaf : int or None
        Trees, leaves of a tree, person-periods of a leaf; None = by the number of events.
    rate : float or None
        Learning rate; None = by the number of events.
    columns : float or None
        Share of the columns that a tree sees; None = by the number of events.
    ridge : float or None
        Pseudo-weight that pulls each leaf to 0; None = by the number of events.
    slopes : float or None
        Ridge penalty of the straight lines that the trees start from; None = lines on small data
        only.
    half_life_days : float or None, or several of them
        Age at which what was seen counts half; None = all counts alike. Several: the mean of as
        many hazards, what was always so beside what is so lately.
    monotone : mapping of str to int
        Sign by feature, where the field knows it.
    haste : float
        So many times fewer trees, each of which weighs so many times more.
    max_periods : int
        Most person-periods that a fit looks at.
    """

    rounds: int | None = None
    rate: float | None = None
    leaves: int | None = None
    min_leaf: int | None = None
    columns: float | None = None
    ridge: float | None = None
    slopes: float | None = None
    half_life_days: float | tuple[float | None, ...] | None = (None, 180.0)
    monotone: dict[str, int] = field(default_factory=dict)
    haste: float = 1.0
    max_periods: int = MAX_PERIODS

    def hazard(self, events: int, names: Sequence[str], seed: int) -> HazardModel:
        """Make the model for data with so many events."""
        large = events >= LARGE
        signs = {name: sign for name, sign in self.monotone.items() if name in names}
        return HazardModel(
            n_estimators=round((self.rounds or (150 if large else _few(events))) / self.haste),
            learning_rate=(self.rate or (0.06 if large else 0.015)) * self.haste,
            num_leaves=self.leaves or (31 if large else 7),
            min_child_samples=self.min_leaf or (200 if large else 50),
            colsample_bytree=self.columns or (0.8 if large else 0.2),
            reg_lambda=self.ridge or (1.0 if large else 50.0),
            slopes=self.slopes or (None if large else 1000.0),
            half_life_days=self.half_life_days,
            monotone=signs or None,
            usual=[name for name in USUAL if name in names] or None,
            max_periods=self.max_periods,
            seed=seed,
        )


def _read_options(content: dict[str, Any]) -> HazardOptions:
    lives = content["half_life_days"]
    return HazardOptions(
        **{**content, "half_life_days": tuple(lives) if isinstance(lives, list) else lives}
    )


def _few(events: int) -> int:
    """Trees for small data: in proportion to what there is to learn from."""
    return int(np.clip(events / 8, 60, 320))


@dataclass(frozen=True)
class _Head:
    """What was learnt at one level.

    Attributes
    ----------
    hazard : HazardModel
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
    windows: Windows
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    sharing: Sharing
    expected: ExpectedLateness | None

    def past(self, ledger: Ledger) -> Past | None:
        return None if self.expected is None else self.expected.past(ledger)


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
    windows: Windows
    expected: ExpectedLateness | None


@dataclass(frozen=True)
class _Asked:
    """What ``predict`` was asked for."""

    horizons: tuple[Horizon, ...]
    quantiles: tuple[float, ...]


class PaymentModel:
    """Chance of payment by any horizon, for claims and for accounts.

    Learns from moments before the cut (:func:`collectopt.models.labels.landmarks`): the features
    known then, and the days until the event, censored at the cut. Open items are never "not paid".

    Parameters
    ----------
    event : {"full", "any"}
        What is waited for. "full": the claim is settled (accounts: everything past due is, or
        everything open where nothing is past due). "any": the next payment.
    levels : sequence of {"account", "invoice"}
        Levels that ``predict`` will be asked for; each costs a fit.
    features : sequence of str, optional
        Features to learn from. Default: all but the rates of the whole book and its segments,
        which say what the calendar was rather than who pays; and, at level "invoice" where columns
        of the claims tell, "late_expected": see :mod:`collectopt.models.expected`.
    years : float
        How far back the learning reaches.
    max_rows : int
        Most moments to learn from at a level; above it they are drawn at random.
    options : HazardOptions, optional
        Hyper-parameters; the default suits most books.
    seed : int
        Seed of all draws. The same ledger, cut and seed give the same model.

    Examples
    --------
    >>> from collectopt.models import PaymentModel
    >>> PaymentModel(event="any", levels=("account",))
    PaymentModel(event='any', levels=('account',), years=4.0)
    """

    def __init__(
        self,
        event: str = "full",
        *,
        levels: Sequence[str] = ("account", "invoice"),
        features: Sequence[str] | None = None,
        years: float = 4.0,
        max_rows: int = 300_000,
        options: HazardOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.event = _enum(Event, event, "event")
        self.levels = tuple(_enum(Level, level, "levels") for level in levels)
        self.features = None if features is None else tuple(features)
        self.years = years
        self.max_rows = max_rows
        self.options = options or HazardOptions()
        self.seed = seed
        self._heads: dict[Level, _Head] = {}

    def __repr__(self) -> str:
        levels = tuple(level.value for level in self.levels)
        return f"PaymentModel(event={self.event.value!r}, levels={levels}, years={self.years})"

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from everything known before ``as_of``.

        Parameters
        ----------
        ledger : Ledger
        as_of : str, date, aware datetime
            The cut. Nothing known at or after it is looked at.

        Returns
        -------
        PaymentModel
            Itself.

        Raises
        ------
        InputError
            No claim was open at any time before the cut; an unknown feature.
        """
        self._heads = {
            level: self._head_of(self.training(ledger, as_of, level)) for level in self.levels
        }
        return self

    def learn(self, training: Mapping[Level, Training]) -> Self:
        """Fit what :meth:`training` prepared, so that many options share one preparation.

        Parameters
        ----------
        training : mapping of Level to Training
            One entry a level, prepared with the same event, seed and haste.
        """
        self._heads = {level: self._head_of(prepared) for level, prepared in training.items()}
        return self

    def training(self, ledger: Ledger, as_of: AsOf, level: Level) -> Training:
        """Gather the moments before a cut, their features, and what came of them by the cut.

        Parameters and errors as in :meth:`fit`, for one level.
        """
        for years in (self.years, _ALL):  # a book at rest is learnt from its older history
            rows = landmarks(ledger, as_of, level, years=years, limit=self.max_rows, seed=self.seed)
            if len(rows):
                break
        else:
            raise InputError.of(
                "invoices",
                None,
                expected=f"claims that were open before {as_of}",
                found="none",
                hint="Choose a later as_of, or check issued_on.",
            )
        outcome, share = outcomes(rows, self.event, level, as_of, SHARE_DAYS)
        matrix, expected = self._columns(rows, as_of, level, years)
        due = due_offsets(rows)
        day = _local_days(rows)
        events = _distinct(rows, day, outcome)
        windows = Windows.fit(
            matrix.values,
            due,
            outcome,
            watched=watched(rows, as_of),
            categorical=[matrix.names.index(name) for name in matrix.categories],
            seed=self.seed,
            trust=1.0 if events >= LARGE else 0.5,
            haste=self.options.haste,
        )
        return Training(matrix, outcome, events, share, due, day, windows, expected)

    def predict(
        self,
        snapshot: Snapshot,
        *,
        horizons: Sequence[str] = ("30D", "90D"),
        level: str = "account",
        quantiles: Sequence[float] = QUANTILES,
        matrix: FeatureMatrix | None = None,
    ) -> Forecast:
        """Forecast rows of any accounts at any times.

        Parameters
        ----------
        snapshot : Snapshot
            At level "invoice", rows that name no claim become one row for each open claim.
        horizons : sequence of str
            "30D": before as_of + 30 days. "due+30D": by the end of local day due_on + 30 of the
            row's claim (the one it names, else the open claim that is due first). A horizon
            before as_of gives 0, for a claim that is still open.
        level : {"account", "invoice"}
            What the row is about.
        quantiles : sequence of float
            Chances in (0, 1) whose days are wanted; none at all saves most of the time, and
            leaves ``p_never`` unknown.
        matrix : FeatureMatrix, optional
            The features of the rows, if they are known already: see :meth:`inputs`.

        Returns
        -------
        Forecast
            In the order of the rows. Where nothing is open any more, "full" has come (1) and
            "any" does not come (0).

        Raises
        ------
        InputError
            Unknown horizons, or a level that was not fitted.
        """
        wanted = [
            Horizon.parse(text) for text in ([horizons] if isinstance(horizons, str) else horizons)
        ]
        head = self._head(level)
        if _enum(Level, level, "level") is Level.INVOICE and snapshot.rows["invoice"].null_count:
            snapshot = snapshot.to_invoice_level()
        past = head.past(snapshot.ledger)
        n, asked = len(snapshot), _Asked(tuple(wanted), tuple(float(q) for q in quantiles))
        p, days = np.zeros((n, len(wanted))), np.full((n, len(asked.quantiles)), np.inf)
        share, never, amount = np.zeros((n, len(wanted))), np.zeros(n), np.zeros(n)
        for part in blocks(n, _BLOCK):
            whole = part == slice(0, n)
            piece = snapshot if whole else snapshot.take(np.arange(part.start, part.stop))
            given = None if matrix is None else matrix.take(part)
            values = inputs(piece, head.names, head.categories, past, given).values
            found = self._block(head, piece, values, asked, Level(level))
            p[part], days[part], share[part], never[part] = found
            amount[part] = open_cents(piece, level) / 100.0
        return Forecast(
            rows=snapshot.rows.select(["account_id", "as_of", "invoice_id"]),
            horizons=tuple(str(h) for h in wanted),
            p_paid=p,
            share=share,
            days=days,
            quantiles=asked.quantiles,
            open_amount=amount,
            p_never=never,
        )

    def inputs(self, level: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Features that ``predict`` needs at a level, and the codes of the categorical ones."""
        head = self._head(level)
        return engine_names(head.names), head.categories

    def save(self, directory: str | Path) -> None:
        """Write the model into a directory: JSON, which holds LightGBM's text of the trees."""
        if not self._heads:
            raise NotFittedError.of(self, "save")
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": 1,
            "event": self.event.value,
            "years": self.years,
            "max_rows": self.max_rows,
            "seed": self.seed,
            "features": self.features,
            "options": vars(self.options),
            "heads": {
                level.value: {
                    "windows": head.windows.to_json(),
                    "names": head.names,
                    "categories": head.categories,
                    "sharing": head.sharing.to_json(),
                    "expected": None if head.expected is None else head.expected.to_json(),
                }
                for level, head in self._heads.items()
            },
        }
        (path / "payment.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        for level, head in self._heads.items():
            head.hazard.save(path / level.value)

    @classmethod
    def load(cls, directory: str | Path) -> PaymentModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "payment.json").read_text(encoding="utf-8"))
            model = cls(
                content["event"],
                levels=tuple(content["heads"]),
                features=content["features"],
                years=content["years"],
                max_rows=content["max_rows"],
                options=_read_options(content["options"]),
                seed=content["seed"],
            )
            for name, head in content["heads"].items():
                categories = {k: tuple(v) for k, v in head["categories"].items()}
                hazard, expected = HazardModel.load(path / name), head.get("expected")
                model._heads[Level(name)] = _Head(
                    hazard,
                    Windows.from_json(head["windows"]),
                    tuple(head["names"]),
                    categories,
                    Sharing.from_json(head["sharing"]),
                    expected and ExpectedLateness.from_json(expected),
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable PaymentModel in {path}: {error}") from error
        return model

    # -- inside ------------------------------------------------------------------------------

    def _head(self, level: str) -> _Head:
        if not self._heads:
            raise NotFittedError.of(self, "predict")
        found = self._heads.get(_enum(Level, level, "level"))
        if found is None:
            raise InputError.of(
                "predict",
                "level",
                expected=f"one of the fitted levels {[key.value for key in self._heads]}",
                found=repr(level),
                hint=f"Make it with PaymentModel(levels=[..., {level!r}]).",
            )
        return found

    def _head_of(self, data: Training) -> _Head:
        matrix, outcome = data.matrix, data.outcome
        hazard = self.options.hazard(data.events, matrix.names, self.seed)
        hazard.fit(
            matrix.values,
            outcome.days,
            outcome.event,
            offset=data.due,
            start=data.start,
            names=matrix.names,
            categorical=list(matrix.categories),
        )
        sharing = Sharing.fit(
            matrix.values,
            data.due,
            outcome,
            data.share,
            categorical=[matrix.names.index(name) for name in matrix.categories],
            seed=self.seed,
        )
        categories = {name: tuple(values) for name, values in matrix.categories.items()}
        return _Head(hazard, data.windows, matrix.names, categories, sharing, data.expected)

    def _columns(
        self, rows: Snapshot, as_of: AsOf, level: Level, years: float
    ) -> tuple[FeatureMatrix, ExpectedLateness | None]:
        """Features to learn from, and what gives the last of them: it is about single claims."""
        wanted, expected = self.features, None
        matrix = learnable(
            compute(rows, None if wanted is None else engine_names(wanted)),
            LEFT_OUT if wanted is None else frozenset(),
        )
        if level is Level.INVOICE and (wanted is None or EXPECTED in wanted):
            expected = ExpectedLateness.fit(rows.ledger, as_of, years=years)
        if expected is None:
            if not matrix.names:
                raise InputError.of(
                    "PaymentModel",
                    "features",
                    expected=f"a feature of level {level.value!r} that is there",
                    found=str(list(wanted or ())),
                    hint="Name features of collectopt.features.describe() beside it.",
                )
            return matrix, None
        return matrix.with_column(EXPECTED, expected.past(rows.ledger).of(rows)), expected

    def _block(
        self, head: _Head, rows: Snapshot, X: Matrix, asked: _Asked, level: Level
    ) -> tuple[Float, Float, Float, Float]:
        """P(event), quantiles in days, expected share, P(never)."""
        due = due_offsets(rows)
        ahead = np.empty((len(rows), len(asked.horizons)))
        for k, horizon in enumerate(asked.horizons):
            ahead[:, k] = due + horizon.days if horizon.from_due else horizon.days
        ahead = np.where(np.isnan(ahead), 0.0, ahead)
        knots, reach = np.array([*KNOTS, END]), np.inf
        if not asked.quantiles:  # nothing beyond the last horizon is asked for
            reach = float(ahead.max(initial=0.0))
            knots = knots[: np.searchsorted(knots, reach) + 1]
            reach = max(reach, knots[-1])
        start = _local_days(rows)
        curve = head.hazard.predict_curve(X, offset=due, start=start, reach=reach)
        bend = head.windows.bend(X, due, curve.before(knots))
        p = bend.forward(curve.before(ahead), ahead)
        days = np.full((len(rows), len(asked.quantiles)), np.inf)
        never = np.full(len(rows), np.nan)
        if asked.quantiles:
            end = np.full((len(rows), 1), head.hazard.reach)
            never = 1.0 - bend.forward(curve.before(end), end)[:, 0]
            chances = np.stack([bend.backward(q) for q in asked.quantiles], axis=1)
            days = curve.quantiles(chances)
        share = head.sharing.expected(X, due, p, ahead)
        over = np.flatnonzero(~_is_open(rows, level))
        p[over] = 1.0 if self.event is Event.FULL else 0.0
        days[over] = 0.0 if self.event is Event.FULL else np.inf
        never[over] = 0.0 if self.event is Event.FULL else 1.0
        share[over] = p[over]
        return p, days, share, never


def _enum(kind: type[E], value: str | E, name: str, table: str = "PaymentModel") -> E:
    try:
        return kind(value)
    except ValueError:
        allowed = [member.value for member in kind]
        raise InputError.of(table, name, expected=f"one of {allowed}", found=repr(value)) from None


def _local_days(rows: Snapshot) -> npt.NDArray[np.datetime64]:
    return np.asarray(rows.rows["day"].to_numpy().astype("datetime64[D]"))


def _distinct(rows: Snapshot, day: npt.NDArray[np.datetime64], outcome: Durations) -> int:
    """Count the events by account and day."""
    came = outcome.event
    on = day.astype(np.int64)[came] + np.floor(outcome.days[came]).astype(np.int64)
    account = rows.rows["account"].to_numpy().astype(np.int64)[came]
    return len(np.unique(np.stack([account, on]), axis=1).T)


def _is_open(rows: Snapshot, level: Level) -> npt.NDArray[np.bool_]:
    """Whether there is anything left to wait for."""
    claims = rows.claims
    row = claims["row"].to_numpy()
    if level is Level.INVOICE:
        row = row[claims["subject"].to_numpy()]
    return np.isin(np.arange(len(rows)), row)
