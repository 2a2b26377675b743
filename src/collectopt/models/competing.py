"""The model of competing ends: one hazard for each end that the book knows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.features.engine import compute
from collectopt.models.ends import ENDS, End, EndsForecast, behind, first_ends, incidence
from collectopt.models.hazard import HazardModel
from collectopt.models.inputs import LEFT_OUT, learnable
from collectopt.models.labels import Level, due_offsets, landmarks
from collectopt.models.options import HazardOptions
from collectopt.models.payment import _ALL, _enum, _is_open, _local_days
from collectopt.models.periods import blocks
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

Float = npt.NDArray[np.float64]

#: Events that an end needs for a hazard of its own; rarer ends share :attr:`End.OTHER`.
NEEDED = 30
_BLOCK = 10_000
# Offices end claims in batches. Features that tell the date, or by a rate of the book that moves
# from day to day give it away, would learn the few days on which that happened.
_DATES = frozenset(
    {
        "day_of_month", "weekday", "month", "payday_offset", "payday_strength", "matured_n",
        "on_time_lift", "paid_10_lift", "paid_30_lift", "creditor_on_time_lift", "customer_n",
        "on_time_excess", "paid_10_excess", "paid_30_excess",
        "customer_late_lift",
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What was learnt: one hazard an end, on the same features and bins."""

    hazards: dict[End, HazardModel]
    names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    events: dict[End, int]


class EndsModel:
    """Which end comes first: payment, plan, dispute, agency, court, insolvency, credit note.

    One cause-specific :class:`~collectopt.models.hazard.HazardModel` for each end with at least
    :data:`NEEDED` events in the learning rows, all on the same bins; rarer ends are pooled into
    ``End.OTHER`` (see :attr:`pooled`), with fewer and smaller trees the rarer they are. Only
    payment looks at the calendar. When an office will hand over its next batch is not foreseen:
    the chance is that of a usual year, not of the coming one.

    Rows on which an end stands already (a plan in force, an account with the agency) have it
    behind them: its chance is 0 there, the other ends go on.

    Parameters
    ----------
    level : {"account", "invoice"}
        What a row is about.
    years, max_rows, features, seed
        As in :class:`~collectopt.models.payment.PaymentModel`.
    options : HazardOptions, optional
        Hyper-parameters of all hazards. Default: by the number of events.

    Examples
    --------
    >>> EndsModel(level="invoice")
    EndsModel(level='invoice', years=4.0)
    """

    def __init__(
        self,
        *,
        level: str = "account",
        features: Sequence[str] | None = None,
        years: float = 4.0,
        max_rows: int = 100_000,
        options: HazardOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.level = _enum(Level, level, "level", "EndsModel")
        self.features = None if features is None else tuple(features)
        self.years = years
        self.max_rows = max_rows
        self.options = options
        self.seed = seed
        self._fitted: _Fitted | None = None

    def __repr__(self) -> str:
        return f"EndsModel(level={self.level.value!r}, years={self.years})"

    @property
    def kinds(self) -> tuple[End, ...]:
        """Ends with a hazard of their own, after ``fit``."""
        return tuple(self._known("kinds").hazards)

    @property
    def pooled(self) -> tuple[End, ...]:
        """Ends that came too rarely and stand behind ``End.OTHER``, after ``fit``."""
        fitted = self._known("pooled")
        return tuple(end for end in fitted.events if end not in fitted.hazards)

    @property
    def events(self) -> dict[End, int]:
        """Learning rows in which each end came first, after ``fit``."""
        return dict(self._known("events").events)

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from everything known before ``as_of``.

        Parameters
        ----------
        ledger : Ledger
        as_of : str, date, aware datetime
            The cut. Nothing known at or after it is looked at.

        Raises
        ------
        InputError
            No claim was open at any time before the cut; an unknown feature.
        """
        rows = self._landmarks(ledger, as_of)
        first, gone = first_ends(rows, self.level, as_of), behind(rows)
        matrix = learnable(
            compute(rows, self.features), LEFT_OUT if self.features is None else frozenset()
        )
        count = np.bincount(first.end[first.end >= 0], minlength=len(ENDS))
        events = {end: int(count[i]) for i, end in enumerate(ENDS) if count[i]}
        rare = {e for e, n in events.items() if n < NEEDED and e is not End.PAID}
        other = ENDS.index(End.OTHER)
        place = np.array([other if e in rare else i for i, e in enumerate(ENDS)] + [-1])
        end = place[first.end]
        kinds = {End.PAID, *events} - rare | ({End.OTHER} if rare else set())
        hazards = {}
        for i, kind in enumerate(ENDS):
            if kind in kinds:
                risk = ~gone[:, i]
                hit = end[risk] == i
                used = matrix.select(_columns(kind, matrix.names))
                hazards[kind] = self._hazard(int(hit.sum()), used.names).fit(
                    used.values[risk],
                    first.days[risk],
                    hit,
                    offset=due_offsets(rows)[risk],
                    start=_local_days(rows)[risk] if kind is End.PAID else None,
                    names=used.names,
                    categorical=list(used.categories),
                )
        categories = {name: tuple(values) for name, values in matrix.categories.items()}
        self._fitted = _Fitted(hazards, matrix.names, categories, events)
        return self

    def predict(
        self,
        snapshot: Snapshot,
        *,
        horizons: Sequence[str] = ("30D", "90D"),
        level: str | None = None,
    ) -> EndsForecast:
        """Forecast which end comes first.

        Parameters
        ----------
        snapshot : Snapshot
            At level "invoice", rows that name no claim become one row for each open claim.
        horizons : sequence of str
            As in ``PaymentModel.predict``.
        level : {"account", "invoice"}, optional
            That of the model; another one is refused.

        Returns
        -------
        EndsForecast
            In the order of the rows. Where nothing is open any more, PAID has come (1).

        Raises
        ------
        InputError
            Unknown horizons, or another level.
        """
        fitted = self._known("predict")
        if level is not None and _enum(Level, level, "level", "EndsModel") is not self.level:
            raise InputError.of(
                "predict",
                "level",
                expected=f"the level of the model, {self.level.value!r}",
                found=repr(level),
                hint=f"Make another one with EndsModel(level={level!r}).",
            )
        texts = [horizons] if isinstance(horizons, str) else horizons
        wanted = tuple(Horizon.parse(text) for text in texts)
        if self.level is Level.INVOICE and snapshot.rows["invoice"].null_count:
            snapshot = snapshot.to_invoice_level()
        kinds, n = tuple(fitted.hazards), len(snapshot)
        p = np.zeros((n, len(wanted), len(kinds)))
        for part in blocks(n, _BLOCK):
            p[part] = self._block(snapshot.take(np.arange(part.start, part.stop)), wanted)
        return EndsForecast(
            rows=snapshot.rows.select(["account_id", "as_of", "invoice_id"]),
            horizons=tuple(str(h) for h in wanted),
            kinds=kinds,
            p=p,
            open=np.maximum(1.0 - p.sum(axis=2), 0.0),
        )

    def save(self, directory: str | Path) -> None:
        """Write the model into a directory: JSON, and LightGBM's text for each end."""
        fitted = self._known("save")
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": 1,
            "level": self.level.value,
            "features": self.features,
            "years": self.years,
            "max_rows": self.max_rows,
            "seed": self.seed,
            "options": None if self.options is None else vars(self.options),
            "kinds": [kind.value for kind in fitted.hazards],
            "names": fitted.names,
            "categories": fitted.categories,
            "events": {end.value: n for end, n in fitted.events.items()},
        }
        (path / "ends.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        for kind, hazard in fitted.hazards.items():
            hazard.save(path / kind.value)

    @classmethod
    def load(cls, directory: str | Path) -> EndsModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "ends.json").read_text(encoding="utf-8"))
            options = content["options"]
            model = cls(
                level=content["level"],
                features=content["features"],
                years=content["years"],
                max_rows=content["max_rows"],
                options=None if options is None else HazardOptions.from_json(options),
                seed=content["seed"],
            )
            model._fitted = _Fitted(
                {End(kind): HazardModel.load(path / kind) for kind in content["kinds"]},
                tuple(content["names"]),
                {name: tuple(values) for name, values in content["categories"].items()},
                {End(end): int(n) for end, n in content["events"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable EndsModel in {path}: {error}") from error
        return model

    # -- inside ------------------------------------------------------------------------------

    def _known(self, method: str) -> _Fitted:
        if self._fitted is None:
            raise NotFittedError.of(self, method)
        return self._fitted

    def _landmarks(self, ledger: Ledger, as_of: AsOf) -> Snapshot:
        for years in (self.years, _ALL):  # a book at rest is learnt from its older history
            rows = landmarks(
                ledger, as_of, self.level, years=years, limit=self.max_rows, seed=self.seed
            )
            if len(rows):
                return rows
        raise InputError.of(
            "invoices",
            None,
            expected=f"claims that were open before {as_of}",
            found="none",
            hint="Choose a later as_of, or check issued_on.",
        )

    def _hazard(self, events: int, names: Sequence[str]) -> HazardModel:
        """Make the model for so many events: the rarer an end, the less its trees may say."""
        options = self.options
        if options is None and events < 2000:
            rounds, leaves = max(events * 150 // 2000, 5), 4 if events < 500 else 7
            options = HazardOptions(rounds=rounds, rate=0.06, leaves=leaves, columns=0.8, ridge=1.0)
        return (options or HazardOptions()).hazard(events, names, self.seed)

    def _block(self, rows: Snapshot, horizons: Sequence[Horizon]) -> Float:
        fitted = self._known("predict")
        matrix = compute(rows, fitted.names, fitted.categories)
        due, start = due_offsets(rows), _local_days(rows)
        ahead = np.column_stack(
            [due + h.days if h.from_due else np.full(len(rows), float(h.days)) for h in horizons]
        )
        ahead = np.where(np.isnan(ahead), 0.0, ahead)
        reach = float(ahead.max(initial=1.0))
        kinds = tuple(fitted.hazards)
        curves = [
            fitted.hazards[kind].predict_curve(
                matrix.select(_columns(kind, matrix.names)).values,
                offset=due,
                start=start if kind is End.PAID else None,
                reach=reach,
            )
            for kind in kinds
        ]
        risk = ~behind(rows)[:, [ENDS.index(kind) for kind in kinds]]
        p = incidence(curves, ahead, risk)
        over = ~_is_open(rows, self.level)
        p[over] = np.array([kind is End.PAID for kind in kinds], dtype=np.float64)
        return p


def _columns(kind: End, names: Sequence[str]) -> tuple[str, ...]:
    """Give the features of an end's hazard."""
    kept = tuple(name for name in names if kind is End.PAID or name not in _DATES)
    return kept or tuple(names)
