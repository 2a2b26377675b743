"""The claims that may bring cash, what each week may bring, and what came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.models.labels import Level
from collectopt.models.payment import PaymentModel
from collectopt.models.recalibration import Payment
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import DAY_US, INSTANT, AsOf, local_time, to_instant

Float = npt.NDArray[np.float64]

_SMALL = 0.05  # of the standard deviation of a week: claims below may be drawn together
_CELLS = 4_000_000
_CASH = """
select r.row, s.known_at, cast(sum(s.cents) as bigint) as cents
from rows r join settlements s on s.invoice = r.invoice
where s.cash and s.known_at >= r.as_of and s.known_at < {cut}
group by r.row, s.known_at order by r.row, s.known_at
"""


@dataclass(frozen=True, eq=False)
class OpenBook:
    """Claims that may bring cash, and when.

    Attributes
    ----------
    rows : Snapshot
        One row a claim; those on hold are left out.
    amount : (n,) float64
        What is open of each.
    chance : (n, weeks) float64
        Expected share of it that comes in each week.
    on_hold : float
        Open amount that was left out.
    currency : str
    as_of : numpy.datetime64
        UTC.
    day : numpy.datetime64
        Local day of as_of.
    """

    rows: Snapshot
    amount: Float
    chance: Float
    on_hold: float
    currency: str
    as_of: np.datetime64
    day: np.datetime64

    @classmethod
    def of(cls, payment: Payment, snapshot: Snapshot, weeks: int) -> OpenBook:
        """Ask a payment model about all claims that are open and not on hold."""
        rows, amount, on_hold = claims_at(snapshot)
        times = np.unique(snapshot.as_of)
        if len(times) != 1:
            raise InputError.of(
                "cash_flow", "as_of", expected="rows as of one time", found=f"{len(times)} times"
            )
        horizons = tuple(f"{7 * week}D" for week in range(1, weeks + 1))
        chance = np.zeros((len(rows), weeks))
        if len(rows):
            # Quantiles take most of the time and nobody looks at them here.
            more: dict[str, Any] = {"quantiles": ()} if isinstance(payment, PaymentModel) else {}
            found = payment.predict(rows, horizons=horizons, level=Level.INVOICE.value, **more)
            within = np.clip(np.maximum.accumulate(found.share, axis=1), 0.0, 1.0)
            chance = np.diff(within, axis=1, prepend=0.0)
        day = snapshot.rows["day"][0].as_py()
        return cls(
            rows, amount, chance, on_hold, _currency(snapshot), times[0], np.datetime64(day, "D")
        )

    def scaled(self, factors: Float) -> OpenBook:
        """Multiply the chances of each week, (weeks,); no claim is paid more than once."""
        chance = self.chance * factors
        total = chance.sum(axis=1, keepdims=True)
        return replace(self, chance=chance / np.maximum(total, 1.0))

    def expected(self) -> Float:
        """Give the expected cash of each week, (weeks,)."""
        return np.asarray(self.amount @ self.chance)

    def covariance(self) -> Float:
        """Covariance of the weeks by the chance of single claims, (weeks, weeks)."""
        return _covariance(self.amount, self.chance)

    def simulate(self, draws: int, rng: np.random.Generator) -> Float:
        """Draw cash by week, (draws, weeks), each claim on its own.

        Claims that are small beside the spread of every week are drawn together as a normal sum:
        no single one of them can be seen in it. Large ones are drawn one by one.
        """
        order = np.argsort(self.amount, kind="stable")
        amount, chance = self.amount[order], self.chance[order]
        each = amount[:, None] ** 2 * chance * (1.0 - chance)
        least = np.sqrt(np.cumsum(each, axis=0)).min(axis=1, initial=np.inf)
        small = np.flatnonzero(amount <= _SMALL * least)
        n = int(small[-1]) + 1 if len(small) else 0
        out = _draw_each(amount[n:], chance[n:], draws, rng)
        if n:
            mean, spread = amount[:n] @ chance[:n], _covariance(amount[:n], chance[:n])
            out += rng.multivariate_normal(mean, spread, size=draws, method="eigh")
        return np.maximum(out, 0.0)


def claims_at(snapshot: Snapshot) -> tuple[Snapshot, Float, float]:
    """Claims that may bring cash: their rows, what is open of each, and what is on hold.

    A hold on the claim or on its account counts, of any kind.
    """
    rows = snapshot.to_invoice_level()
    invoices = rows.rows["invoice"].to_numpy()
    if len(np.unique(invoices)) < len(invoices):
        raise InputError.of(
            "cash_flow", "invoice_id", expected="each claim once", found="some claims twice"
        )
    claims = rows.claims.filter(rows.claims["subject"])
    place, cents = claims["row"].to_numpy(), claims["open_cents"].to_numpy()
    whole = rows.holds.filter(pc.is_null(rows.holds["invoice"]))["row"].to_numpy()
    held = claims["held"].to_numpy(zero_copy_only=False) | np.isin(place, whole)
    return rows.take(place[~held]), cents[~held] / 100.0, float(cents[held].sum() / 100.0)


def cash_by_week(rows: Snapshot, weeks: int, until: AsOf) -> Float:
    """Cash that came for each claim, (n, weeks); NaN for weeks that were not over.

    Parameters
    ----------
    rows : Snapshot
        Each names its claim.
    weeks : int
        Weeks from as_of, on the account's local clock.
    until : str, date, aware datetime
        Nothing known at or after it is looked at.

    Returns
    -------
    (n, weeks) float64
        Payments; credit notes are none. Returned payments count below 0.
    """
    moment = to_instant(until, rows.ledger.timezone)
    literal = f"TIMESTAMPTZ '{moment}+00'"
    found = query(
        _CASH.format(cut=literal),
        {
            "rows": rows.rows.select(["row", "invoice", "as_of"]),
            "settlements": rows.ledger.timeline.settlements,
        },
    )
    place = found["row"].to_numpy()
    week = (_days(rows, place, found["known_at"].combine_chunks()) // 7.0).astype(np.int64)
    inside = week < weeks
    out = np.zeros((len(rows), weeks))
    np.add.at(out, (place[inside], week[inside]), found["cents"].to_numpy()[inside] / 100.0)
    every = np.arange(len(rows))
    closed = pa.array(np.full(len(rows), moment)).cast(INSTANT)
    over = _days(rows, every, closed)[:, None] >= 7.0 * np.arange(1, weeks + 1)
    return np.where(over, out, np.nan)


def _days(rows: Snapshot, place: npt.NDArray[np.int64], at: pa.Array) -> Float:
    """Days from as_of of the given rows to instants, on the account's local clock."""
    table = rows.rows.take(pa.array(place))
    zones = rows.ledger.zones.take(table["account"].combine_chunks())
    then, start = (
        pc.cast(local_time(times, zones), pa.int64()).to_numpy(zero_copy_only=False)
        for times in (at, table["as_of"].combine_chunks())
    )
    return np.asarray((then - start) / DAY_US, dtype=np.float64)


def _currency(snapshot: Snapshot) -> str:
    found = snapshot.ledger.invoices.filter(
        pc.is_in(
            snapshot.ledger.invoices["account_id"],
            value_set=snapshot.rows["account_id"].combine_chunks(),
        )
    )["currency"].unique()
    names = sorted(found.to_pylist())
    if len(names) != 1:
        raise InputError.of(
            "cash_flow",
            "currency",
            expected="accounts of one currency",
            found=", ".join(names) or "none",
            hint="Make one snapshot a currency: Snapshot.from_rows or Snapshot.take.",
        )
    return str(names[0])


def _covariance(amount: Float, chance: Float) -> Float:
    """Of sums where each claim is paid in one week at most."""
    money = amount[:, None] * chance
    return np.asarray(np.diag((amount[:, None] * money).sum(axis=0)) - money.T @ money)


def _draw_each(amount: Float, chance: Float, draws: int, rng: np.random.Generator) -> Float:
    within = np.cumsum(chance, axis=1)
    running = np.zeros((draws, chance.shape[1]))
    step = max(1, _CELLS // draws)
    for start in range(0, len(amount), step):
        part = slice(start, start + step)
        luck = rng.random((draws, len(amount[part])))
        for week in range(chance.shape[1]):
            running[:, week] += (luck < within[part, week]) @ amount[part]
    return np.diff(running, axis=1, prepend=0.0)
