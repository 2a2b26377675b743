"""When will a claim, or an account, pay: one hazard for every horizon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.features.engine import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import EXPECTED
from collectopt.models.expected import ExpectedLateness
from collectopt.models.habit_trial import proven
from collectopt.models.heads import Head, Past, Training, apart
from collectopt.models.inputs import LEFT_OUT, engine_names, inputs, learnable
from collectopt.models.issue import names_at_issue, ranks
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
from collectopt.models.options import LARGE, HazardOptions
from collectopt.models.periods import blocks
from collectopt.models.sharing import SHARE_DAYS
from collectopt.models.windows import END, KNOTS, Windows
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]
E = TypeVar("E", bound=Enum)

QUANTILES = (0.1, 0.5, 0.9)
_BLOCK = 100_000
_ALL = 200.0  # years


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
        of the claims tell, "late_expected": see :mod:`collectopt.models.expected`; and, for rows
        at issue of large data, "claim_rank" and "open_rank": see :mod:`collectopt.models.issue`;
        and, for claims of small data, habits of accounts: see :mod:`collectopt.models.habits`.
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
        self._heads: dict[Level, Head] = {}

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
        return self.learn({level: self.training(ledger, as_of, level) for level in self.levels})

    def learn(self, training: Mapping[Level, Training]) -> Self:
        """Fit what :meth:`training` prepared, so that many options share one preparation.

        Parameters
        ----------
        training : mapping of Level to Training
            One entry a level, prepared with the same event, seed, haste, at_issue and habits.
        """
        self._heads = {
            level: Head.fit(prepared, self.options, self.seed)
            for level, prepared in training.items()
        }
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
        came, at_issue = _events(rows, day, outcome), names_at_issue(rows)
        events = len(np.unique(came[outcome.event]))
        events_at_issue = len(np.unique(came[outcome.event & at_issue]))
        ranked = self.features is None and apart(self.options, events_at_issue)
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
        habits = None
        small = self.features is None and self.event is Event.FULL and events < LARGE
        if self.options.habits and level is Level.INVOICE and small:
            habits = proven(
                rows,
                matrix,
                outcome,
                due=due,
                start=day,
                came=came,
                cut=as_of,
                years=years,
                options=self.options,
                seed=self.seed,
            )
        return Training(
            matrix=matrix,
            ranks=ranks(rows, at_issue) if ranked else None,
            outcome=outcome,
            events=events,
            share=share,
            due=due,
            start=day,
            at_issue=at_issue,
            events_at_issue=events_at_issue,
            windows=windows,
            expected=expected,
            habits=habits,
        )

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
            values = inputs(piece, head.names, head.categories, past.lateness, given).values
            found = self._block(head, piece, values, past, asked=asked, level=Level(level))
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
                level.value: head.save(path, level.value) for level, head in self._heads.items()
            },
        }
        (path / "payment.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

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
                options=HazardOptions.from_json(content["options"]),
                seed=content["seed"],
            )
            for name, head in content["heads"].items():
                model._heads[Level(name)] = Head.load(path, name, head)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable PaymentModel in {path}: {error}") from error
        return model

    # -- inside ------------------------------------------------------------------------------

    def _head(self, level: str) -> Head:
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
        self, head: Head, rows: Snapshot, X: Matrix, past: Past, *, asked: _Asked, level: Level
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
        curve = head.curve(rows, X, past, due=due, start=_local_days(rows), reach=reach)
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


def _events(rows: Snapshot, day: npt.NDArray[np.datetime64], outcome: Durations) -> Int:
    """Give a number of account and day to each row, (n,): rows that wait for one event share it."""
    on = day.astype(np.int64) + np.floor(outcome.days).astype(np.int64)
    account = rows.rows["account"].to_numpy().astype(np.int64)
    return np.asarray((account << 32) + on)


def _is_open(rows: Snapshot, level: Level) -> npt.NDArray[np.bool_]:
    """Whether there is anything left to wait for."""
    claims = rows.claims
    row = claims["row"].to_numpy()
    if level is Level.INVOICE:
        row = row[claims["subject"].to_numpy()]
    return np.isin(np.arange(len(rows)), row)
