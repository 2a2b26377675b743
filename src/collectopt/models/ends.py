"""What ends the waiting for a claim, payment or not: competing hazards and their incidence.

A claim that goes to an agency is not paid to us first, and one that is paid never goes there. The
chance that an end comes *first* (cumulative incidence) needs the hazards of all ends: one minus
the survival curve of a single end would overstate it, as it takes the others away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collectopt.features.engine import compute
from collectopt.models.curve import Curve
from collectopt.models.labels import Event, Level, _days, _run, durations, watched
from collectopt.models.payment import _enum
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]


class End(Enum):
    """What ends the waiting; of two at the same instant the one that stands first here."""

    PAID = "paid"  # settled, with a payment since as_of
    PLAN = "plan"  # a payment plan begins
    DISPUTE = "dispute"
    AGENCY = "agency"  # handed over
    COURT = "court"
    INSOLVENCY = "insolvency"  # or death
    WITHDRAWN = "withdrawn"  # settled by a credit note, without a payment since as_of
    OTHER = "other"  # any of those that are too rare in the book for a hazard of their own


#: All ends, in the order of the columns of :func:`behind`.
ENDS = tuple(End)
_OF_HOLD = {
    "payment_plan": End.PLAN,
    "dispute": End.DISPUTE,
    "agency": End.AGENCY,
    "court": End.COURT,
    "insolvency": End.INSOLVENCY,
    "deceased": End.INSOLVENCY,
}
_STANDS = {
    End.PLAN: "hold_plan",
    End.DISPUTE: "hold_dispute",
    End.AGENCY: "hold_agency",
    End.COURT: "hold_court",
    End.INSOLVENCY: "hold_insolvent",
}
_BEGINNINGS = f"""
with target as ({{target}})
select r.row, h.kind, min(h.known_at) as known_at
from rows r join holds h on h.account = r.account
     left join target t on t.row = r.row and t.invoice = h.invoice
where h.known_at >= r.as_of and h.known_at < {{cut}} and h.kind in {tuple(_OF_HOLD)}
  and (h.invoice is null or t.open_cents > coalesce(
       (select sum(s.cents) from settlements s where s.invoice = h.invoice
        and s.known_at >= r.as_of and s.known_at < h.known_at), 0))
group by r.row, h.kind order by r.row, h.kind
"""


@dataclass(frozen=True, eq=False)
class FirstEnds:
    """Which end came first for n rows, and when.

    Attributes
    ----------
    days : (n,) float64
        Days from as_of to the first end, or to the cut.
    end : (n,) int64
        Position in :class:`End`; -1 where the row is censored at the cut.
    """

    days: Float
    end: Int


def first_ends(snapshot: Snapshot, level: Level | str, cut: AsOf) -> FirstEnds:
    """Look up what ended the waiting first, from what was known before the cut.

    A hold counts from the instant at which it is known, if it is about the whole account or about
    a claim that the row waits for (see :func:`collectopt.models.labels.durations`) and that is
    still open then. An end that stands already as of the row (:func:`behind`) is behind it and
    cannot come again.

    Parameters
    ----------
    snapshot : Snapshot
        The rows; at level "invoice" each names its claim.
    level : Level or str
        "invoice" or "account".
    cut : str, date, aware datetime
        Rows of the ledger known at or after it are not looked at.
    """
    level = Level(level)
    outcome, seen = durations(snapshot, Event.FULL, level, cut), watched(snapshot, cut)
    days = np.full((len(snapshot), len(ENDS)), np.inf)
    days[outcome.event, ENDS.index(End.PAID)] = outcome.days[outcome.event]
    closed = ~outcome.event & (outcome.days < seen)
    days[closed, ENDS.index(End.WITHDRAWN)] = outcome.days[closed]
    moment = to_instant(cut, snapshot.ledger.timezone)
    begun = _run(snapshot, _BEGINNINGS, level, moment, ("holds", "settlements"))
    row = begun["row"].to_numpy()
    after = np.maximum(_days(snapshot, row, begun["known_at"]), 0.0)
    place = [ENDS.index(_OF_HOLD[kind]) for kind in begun["kind"].to_pylist()]
    np.minimum.at(days, (row, np.array(place, dtype=np.int64)), after)
    days[behind(snapshot)] = np.inf
    end, first = days.argmin(axis=1), days.min(axis=1, initial=np.inf)
    happened = np.isfinite(first)
    return FirstEnds(np.where(happened, first, seen), np.where(happened, end, -1))


def behind(snapshot: Snapshot) -> Bool:
    """Say which ends stand already as of each row, (n, ends): those of the features hold_*."""
    out = np.zeros((len(snapshot), len(ENDS)), dtype=np.bool_)
    matrix = compute(snapshot, tuple(_STANDS.values()))
    out[:, [ENDS.index(end) for end in _STANDS]] = np.greater(matrix.values, 0.5)
    return out


def incidence(curves: Sequence[Curve], days: Float, at_risk: Bool | None = None) -> Float:
    """Chance that each end comes first and before the given days.

    Inside a bin all hazards are constant, so each end has its share of the bin's total hazard.

    Parameters
    ----------
    curves : sequence of Curve
        One an end, cause-specific (the other ends censor), all with the same edges.
    days : (n, h) float64
    at_risk : (n, k) bool, optional
        False where an end is behind the row.

    Returns
    -------
    (n, h, k) float64
        Never falls with the days; the sum over the ends is the chance that any has come.

    Examples
    --------
    >>> edge = np.array([[0.0, 10.0]])
    >>> curves = [Curve(edge, edge * rate) for rate in (0.02, 0.06)]
    >>> incidence(curves, np.array([[10.0]])).round(4)  # 1/4 and 3/4 of 1 - exp(-0.8)
    array([[[0.1377, 0.413 ]]])
    """
    edge = curves[0].edge
    step = np.diff(np.stack([curve.total for curve in curves], axis=2), axis=1)
    if at_risk is not None:
        step = np.where(at_risk[:, None, :], step, 0.0)
    whole = step.sum(axis=2)
    part = step / np.where(whole > 0.0, whole, 1.0)[:, :, None]
    before = np.exp(-np.cumsum(whole, axis=1) + whole)
    come = np.cumsum((before * -np.expm1(-whole))[:, :, None] * part, axis=1)
    come = np.concatenate([np.zeros((len(edge), 1, len(curves))), come], axis=1)
    out = np.empty((*days.shape, len(curves)))
    row = np.arange(len(edge))
    for j in range(days.shape[1]):
        day = days[:, j]
        at = np.clip((edge[:, 1:-1] <= day[:, None]).sum(axis=1), 0, edge.shape[1] - 2)
        lo, hi = edge[row, at], edge[row, at + 1]
        share = np.clip((day - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0, 1.0)
        inside = before[row, at] * -np.expm1(-share * whole[row, at])
        out[:, j] = come[row, at] + inside[:, None] * part[row, at]
    return out


@dataclass(frozen=True, eq=False)
class EndsForecast:
    """Which end comes first, for n rows in the order of the snapshot.

    Attributes
    ----------
    rows : pyarrow.Table
        account_id, as_of (UTC), invoice_id (null at account level); n rows.
    horizons : tuple of str
        h horizons, as in :class:`~collectopt.schema.forecast.Forecast`.
    kinds : tuple of End
        k ends.
    p : (n, h, k) float64
        P(this end comes first, and within the horizon).
    open : (n, h) float64
        P(none has come within the horizon); with the sum of `p` it makes 1.
    """

    rows: pa.Table
    horizons: tuple[str, ...]
    kinds: tuple[End, ...]
    p: Float
    open: Float

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, end: End | str) -> Float:
        """Chances of one end, (n, h); 0 for an end that the book never had.

        Raises
        ------
        InputError
            Not the name of an end.
        """
        wanted = _enum(End, end, "end", "EndsForecast")
        if wanted not in self.kinds:
            return np.zeros(self.open.shape)
        return self.p[:, :, self.kinds.index(wanted)]

    def to_arrow(self) -> pa.Table:
        """One row each: ids, p_<end>_<horizon> for each end, open_<horizon>."""
        table = self.rows
        for j, horizon in enumerate(self.horizons):
            for k, kind in enumerate(self.kinds):
                name = f"p_{kind.value}_{horizon}"
                table = table.append_column(name, pa.array(self.p[:, j, k]))
            table = table.append_column(f"open_{horizon}", pa.array(self.open[:, j]))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """As :meth:`to_arrow`, in pandas."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        kinds = ", ".join(kind.value for kind in self.kinds)
        return f"EndsForecast({len(self)} rows, horizons={self.horizons}, ends: {kinds})"

    def _repr_html_(self) -> str:
        head = self.to_arrow().slice(0, 10).to_pandas().to_html(index=False, float_format="%.3f")
        return f"<p>Ends of {len(self):,} rows</p>{head}"
