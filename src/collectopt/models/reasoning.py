"""Why a payment forecast is what it is: contributions of the features, and reasons in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt._lazy import extra
from collectopt.exceptions import InputError
from collectopt.features.engine import compute
from collectopt.features.words import CONTEXT, TIME, sentence, topic
from collectopt.models.attribution import attribute
from collectopt.models.boosting import expit
from collectopt.models.inputs import engine_names, inputs
from collectopt.models.labels import Level, due_offsets
from collectopt.models.payment import PaymentModel, _is_open, _local_days
from collectopt.models.periods import blocks
from collectopt.schema.horizons import Horizon
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]

_BLOCK = 512
_COLUMNS = pa.schema(
    [
        ("row", pa.int64()),
        ("rank", pa.int64()),
        ("code", pa.string()),
        ("topic", pa.string()),
        ("feature", pa.string()),
        ("value", pa.float64()),
        ("direction", pa.string()),
        ("log_odds", pa.float64()),
        ("points", pa.float64()),
        ("text", pa.string()),
    ]
)


def reasons(
    model: PaymentModel,
    snapshot: Snapshot,
    horizon: str = "30D",
    level: str = "account",
    *,
    top: int = 3,
) -> Reasons:
    """Say which features raise or lower the chance of payment by the horizon.

    Reasons say what the forecast rests on, not what would change it: that somebody who was
    contacted often is expected to pay late does not mean that contacts make payment late.

    Parameters
    ----------
    model : PaymentModel
        Fitted at the level.
    snapshot : Snapshot
        The rows; at level "invoice", rows that name no claim become one row for each open claim.
        The cost grows with the rows and with the bins up to the horizon.
    horizon : str
        As in ``PaymentModel.predict``.
    level : {"account", "invoice"}
        What the row is about.
    top : int
        Most reasons of a row.

    Returns
    -------
    Reasons
        In the order of the rows. Where nothing is open any more, or the horizon lies before
        as_of, there is nothing to explain: no reasons.

    Raises
    ------
    NotFittedError
        The model is not fitted.
    InputError
        A horizon that cannot be read, a level that was not fitted, ``top`` below 1.
    """
    head = model._head(level)  # noqa: SLF001 - the parts of the forecast
    wanted = Horizon.parse(horizon)
    if top < 1:
        raise InputError.of("reasons", "top", expected="at least 1", found=str(top))
    kind = Level(level)
    if kind is Level.INVOICE and snapshot.rows["invoice"].null_count:
        snapshot = snapshot.to_invoice_level()
    more = tuple(name for name in CONTEXT if name not in head.names)
    matrix = compute(snapshot, (*engine_names(head.names), *more), head.categories)
    chance = model.predict(
        snapshot, horizons=(str(wanted),), level=level, quantiles=(), matrix=matrix
    ).p_paid[:, 0]
    past = head.past(snapshot.ledger)
    used = inputs(snapshot, head.names, head.categories, past.lateness, matrix)
    due = due_offsets(snapshot)
    X = np.asarray(used.values)
    ahead = due + wanted.days if wanted.from_due else np.full(len(snapshot), float(wanted.days))
    asked = np.flatnonzero(_is_open(snapshot, kind) & (ahead > 0.0))
    added = np.zeros((len(snapshot), len(head.columns) + 1))
    full = np.full((len(snapshot), len(head.columns)), np.nan, dtype=np.float32)
    base = np.where(chance > 0.5, 1.0, -1.0) * _SURE
    day = _local_days(snapshot)
    for hazard, own, columns in head.groups(snapshot, X, past):
        full[own, : columns.shape[1]] = columns
        mine = np.flatnonzero(np.isin(own, asked))
        for part in blocks(len(mine), _BLOCK):
            rows = own[mine[part]]
            found = attribute(
                hazard,
                head.windows,
                columns[mine[part]],
                seen=len(head.names),
                due=due[rows],
                start=day[rows],
                ahead=ahead[rows],
                chance=chance[rows],
            )
            base[rows], added[rows, -1] = found.base, found.added[:, -1]
            added[rows, : columns.shape[1]] = found.added[:, :-1]
    return Reasons(
        rows=snapshot.rows.select(["account_id", "as_of", "invoice_id"]),
        horizon=str(wanted),
        names=(*head.columns, TIME),
        values=added,
        base=base,
        data=np.column_stack([full, -np.floor(1.0 - due)]).astype(np.float32),
        categories=used.categories,
        context={name: matrix.column(name) for name in CONTEXT},
        top=top,
    )


#: Log odds of what is certain, as the boosting module keeps them finite.
_SURE = float(np.log(1e12))


@dataclass(frozen=True, eq=False)
class Reasons:
    """Contributions of d features to the forecasts of n rows, and reasons in words.

    Features of one topic, such as the mean and the median lateness, make one reason: their
    contributions are added (they may cancel each other), and the member that moves most in the
    direction of the sum lends its words.

    Attributes
    ----------
    rows : pyarrow.Table
        account_id, as_of (UTC), invoice_id (null at account level); n rows.
    horizon : str
    names : tuple of str
        Features, and last :data:`~collectopt.features.words.TIME`: age, days to the due date
        and calendar of the days until the horizon.
    values : (n, d) float64
        What each adds to the log odds of the chance.
    base : (n,) float64
        Log odds of the reference, before any feature has spoken: base + sum = those of the
        forecast.
    data : (n, d) float32
        Values of the features; categories as codes; of TIME the local days
        until the due date.
    categories : mapping of str to tuple of str
        Texts behind the codes.
    context : mapping of str to (n,) float32
        What the words need to know besides.
    top : int
        Most reasons of a row.
    """

    rows: pa.Table
    horizon: str
    names: tuple[str, ...]
    values: Float
    base: Float
    data: npt.NDArray[np.float32]
    categories: Mapping[str, tuple[str, ...]]
    context: Mapping[str, npt.NDArray[np.float32]]
    top: int = 3

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def chance(self) -> Float:
        """The forecasts, (n,)."""
        return expit(self.base + self.values.sum(axis=1))

    @property
    def points(self) -> Float:
        """Contributions in percentage points of the chance, (n, d).

        Each has the share of the way from the reference to the forecast that it has in log odds,
        so that points add up to that way. Large ones that cancel each other may exceed 100.
        """
        return 100.0 * self.values * _secant(self.base, self.base + self.values.sum(axis=1))

    @cached_property
    def _table(self) -> pa.Table:
        topics = [topic(name) for name in self.names]
        listed = list(dict.fromkeys(topics))
        member = np.array([listed.index(t) for t in topics])
        whole = np.zeros((len(self), len(listed)))
        for j, place in enumerate(member):
            whole[:, place] += self.values[:, j]
        order = np.argsort(-np.abs(whole), axis=1, kind="stable")[:, : self.top]
        scale = _secant(self.base, self.base + self.values.sum(axis=1))[:, 0] * 100.0
        found = []
        for i in range(len(self)):
            for rank, g in enumerate(order[i], 1):
                if whole[i, g] == 0.0:
                    break
                own = np.flatnonzero(member == g)
                lead = int(own[np.argmax(self.values[i, own] * np.sign(whole[i, g]))])
                reason = {"row": i, "rank": rank, "topic": listed[g], "log_odds": whole[i, g]}
                found.append(reason | self._words(i, lead, whole[i, g] * scale[i]))
        return pa.Table.from_pylist(found, schema=_COLUMNS)

    def _words(self, row: int, lead: int, points: float) -> dict[str, Any]:
        name, value = self.names[lead], float(self.data[row, lead])
        known = {key: float(column[row]) for key, column in self.context.items()}
        return {
            "code": name.upper(),
            "feature": name,
            "value": value,
            "direction": "raises" if points > 0.0 else "lowers",
            "points": points,
            "text": f"{sentence(name, self._shown(name, value), known)}: {_effect(points)}.",
        }

    def _shown(self, name: str, value: float) -> float | str:
        texts = self.categories.get(name)
        return value if texts is None or np.isnan(value) else texts[int(value)]

    def to_arrow(self) -> pa.Table:
        """One row a reason: row, account_id, as_of, invoice_id, then what it says.

        The other columns: rank (1 = strongest), code (the feature in capitals), topic, feature,
        value (a code for categories), direction, log_odds and points of the whole topic, text.
        """
        table = self._table
        place = table["row"].combine_chunks()
        for i, name in enumerate(self.rows.column_names, 1):
            table = table.add_column(i, name, self.rows[name].combine_chunks().take(place))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """As :meth:`to_arrow`, in pandas."""
        return self.to_arrow().to_pandas()

    def explain(self, account_id: str) -> str:
        """Say in plain words why the forecasts of an account are what they are.

        Raises
        ------
        InputError
            The account has no row.
        """
        mine = np.flatnonzero(pc.equal(self.rows["account_id"], account_id).to_numpy())
        if not len(mine):
            raise InputError.of(
                "reasons", "account_id", expected="an account of the rows", found=repr(account_id)
            )
        texts, row = self._table["text"].to_pylist(), self._table["row"].to_numpy()
        lines = []
        for i in mine:
            claim = self.rows["invoice_id"][int(i)].as_py()
            title = account_id if claim is None else f"{account_id}, claim {claim}"
            own = np.flatnonzero(row == i)
            line = f"{title}: chance of payment within {self.horizon} {_percent(self.chance[i])}"
            lines.append(f"{line} (reference {_percent(expit(self.base)[i])})")
            lines += [f"  - {texts[k]}" for k in own] or ["  - There is nothing to wait for."]
        return "\n".join(lines)

    def to_shap(self) -> Any:
        """Give a ``shap.Explanation`` in log odds, for shap's plots.

        Raises
        ------
        MissingExtraError
            shap is not installed: ``pip install 'collectopt[explain]'``.
        """
        shap = extra("shap", extra="explain")
        shown = self.data.astype(object)
        for name, texts in self.categories.items():
            j = self.names.index(name)
            codes = self.data[:, j]
            shown[:, j] = ["nan" if np.isnan(code) else texts[int(code)] for code in codes]
        return shap.Explanation(
            values=self.values,
            base_values=self.base,
            data=self.data.astype(np.float64),
            display_data=shown if self.categories else None,
            feature_names=list(self.names),
        )

    def __repr__(self) -> str:
        return f"Reasons({len(self)} rows, horizon={self.horizon!r}, top={self.top})"

    def _repr_html_(self) -> str:
        shown = self.to_arrow().slice(0, 10).select(["account_id", "rank", "points", "text"])
        head = shown.to_pandas().to_html(index=False, float_format="%+.1f")
        return f"<p>Reasons for {len(self):,} rows, horizon {self.horizon}</p>{head}"


def _secant(start: Float, end: Float) -> Float:
    """Mean slope of the chance between two log odds, (n, 1)."""
    way = end - start
    middle = expit((start + end) / 2.0)
    flat = np.abs(way) < 1e-6
    slope = (expit(end) - expit(start)) / np.where(flat, 1.0, way)
    return np.where(flat, middle * (1.0 - middle), slope)[:, None]


def _percent(chance: float) -> str:
    return f"{100.0 * chance:.{0 if 0.01 <= chance <= 0.99 else 1}f} %"


def _effect(points: float) -> str:
    verb = "raises" if points > 0.0 else "lowers"
    size = round(abs(points))
    if size == 0:
        return f"{verb} the chance by less than 1 point"
    return f"{verb} the chance by {size} point{'' if size == 1 else 's'}"
