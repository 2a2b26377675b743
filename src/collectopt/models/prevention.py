"""Claims that will be paid late, told before they are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.features.engine import compute
from collectopt.models.labels import Event, Level
from collectopt.models.payment import PaymentModel
from collectopt.models.recalibration import Payment
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# Claims that a payment settled by the end of the due day, and when. What was reopened later
# counts as well: by the due date nobody knew.
_PUNCTUAL = """
with moves as (
    select invoice, known_at, sum(cents) as cents, bool_or(cash and cents > 0) as cash
    from settlements group by all
), running as (
    select invoice, known_at, sum(cents) over w as cents, bool_or(cash) over w as cash
    from moves window w as (partition by invoice order by known_at)
)
select epoch_us(c.due_at) as due, epoch_us(min(r.known_at)) as settled
from claims c join running r on r.invoice = c.invoice
where r.cents >= c.cents and r.cash and r.known_at < c.due_at
group by c.invoice, c.due_at
"""


def late_risk(
    model: Payment, snapshot: Snapshot, *, days_late: Sequence[int] = (0, 30)
) -> LateRisk:
    """Say for every open claim that is not due yet how likely it will be paid late.

    The chances are those of the payment model ("due+0D" and so on, level "invoice"); nothing is
    fitted here.

    Parameters
    ----------
    model : PaymentModel or Recalibrated
        Fitted at level "invoice" with event "full".
    snapshot : Snapshot
        Rows that name no claim become one row for each open claim. Claims that are past due,
        settled or on hold (a hold on the claim or on its account, of any kind) are left out.
    days_late : sequence of int
        Days after the due date, rising; the first is 0.

    Returns
    -------
    LateRisk
        In the order of the snapshot's rows, within a row by due date; :meth:`LateRisk.top` sorts
        by the amount expected late.

    Raises
    ------
    InputError
        A model of another event or level; other days than the above.

    Notes
    -----
    What may be done with the list: a friendly reminder, another due date, a direct debit, a call
    of the account manager. A claim that is not due is owed by nobody in default: no dunning, no
    fee, no agency. Policies weigh a contact only where the catalogue says
    ``limits.pre_due_days > 0`` and the claim is due within so many days (rule PRE_DUE); the list
    looks at no such limit, and at no consent. It says who is likely to pay late, not whom a
    contact would help: that is what a response model and a policy are for.
    """
    if Event(model.event) is not Event.FULL:
        raise InputError.of(
            "late_risk", "model", expected='a model with event "full"', found=repr(model)
        )
    days = _checked(days_late)
    rows = snapshot.to_invoice_level()
    rows = rows.take(np.flatnonzero(not_yet_due(rows) & ~_on_hold(rows)))
    more: dict[str, Any] = {"quantiles": ()} if isinstance(model, PaymentModel) else {}
    horizons = [f"due+{day}D" for day in days]
    forecast = model.predict(rows, horizons=horizons, level=Level.INVOICE.value, **more)
    claims = rows.claims.filter(rows.claims["subject"])  # one a row, in order
    amount = claims["open_cents"].to_numpy() / 100.0
    usual = 1.0 - compute(rows, ["on_time_rate"]).column("on_time_rate").astype(np.float64)
    place = rows.rows["invoice"].combine_chunks()
    return LateRisk(
        rows=rows.rows.select(["account_id", "invoice_id", "as_of"]),
        due_on=claims["due_on"].to_numpy().astype("datetime64[D]"),
        days_to_due=-claims["dpd"].to_numpy().astype(np.int64),
        open_amount=amount,
        currency=snapshot.ledger.invoices["currency"].combine_chunks().take(place),
        days_late=days,
        p_late=1.0 - forecast.p_paid,
        expected_late=amount * (1.0 - forecast.share[:, 0]),
        usual=usual,
        usual_open=_still_open(rows, usual),
    )


def not_yet_due(snapshot: Snapshot) -> Bool:
    """Rows whose claim is open and not past due, (n,); fits ``backtest(..., only=not_yet_due)``.

    A row that names no claim counts if its account has open claims and none is past due. Holds
    are not looked at: how long they lasted may have been written down later.

    Examples
    --------
    >>> from collectopt.schema import Ledger, Snapshot
    >>> ledger = Ledger.from_frames(
    ...     accounts=[{"account_id": "A", "customer_type": "consumer", "country": "DE"}],
    ...     invoices=[
    ...         {"invoice_id": due, "account_id": "A", "issued_on": "2026-01-02", "due_on": due,
    ...          "amount": 9, "currency": "EUR"}
    ...         for due in ("2026-01-16", "2026-02-02")
    ...     ],
    ... )
    >>> not_yet_due(Snapshot(ledger, "2026-01-20").to_invoice_level())
    array([False,  True])
    """
    claims = snapshot.claims
    row = claims["row"].to_numpy()
    named = snapshot.rows["invoice"].is_valid().to_numpy()
    own = _bools(claims["subject"]) | ~named[row]
    past = _bools(claims["past_due"])
    found, late = (np.zeros(len(snapshot), dtype=np.bool_) for _ in range(2))
    found[row[own]] = True
    late[row[own & past]] = True
    return found & ~late


@dataclass(frozen=True, eq=False, repr=False)
class LateRisk:
    """Open claims that are not due yet, and how likely they will be paid late; n rows.

    Attributes
    ----------
    rows : pyarrow.Table
        account_id, invoice_id, as_of (UTC).
    due_on : (n,) datetime64[D]
    days_to_due : (n,) int64
        Local days from as_of to the due date; 0 on the due day.
    open_amount : (n,) float64
        In `currency`.
    currency : pyarrow.Array of string
        Of each claim.
    days_late : tuple of int
        k days after the due date; the first is 0.
    p_late : (n, k) float64
        P(not paid in full by the end of so many days after the due date).
    expected_late : (n,) float64
        Amount expected to be open at the end of the due day, in `currency`.
    usual : (n,) float64
        Shrunken rate of claims of this account not settled by the due date, as known at as_of.
    usual_open : (n,) float64
        That rate among claims that are still open so long before the due date. Who pays early
        has paid by then, so it rises towards the due date; how early punctual payers pay is
        counted over the whole book. Compare `p_late` with this one.
    """

    rows: pa.Table
    due_on: npt.NDArray[np.datetime64]
    days_to_due: Int
    open_amount: Float
    currency: pa.Array
    days_late: tuple[int, ...]
    p_late: Float
    expected_late: Float
    usual: Float
    usual_open: Float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def excess(self) -> Float:
        """By how much the claim is more likely late than usual for the account, (n,)."""
        return np.asarray(self.p_late[:, 0] - self.usual_open, dtype=np.float64)

    def top(self, n: int | None = None, *, share: float | None = None) -> LateRisk:
        """Keep the claims with the largest amounts expected late, largest first.

        Parameters
        ----------
        n : int, optional
            So many claims at most.
        share : float, optional
            In (0, 1]: the fewest claims that hold this share of all that is expected late.

        Raises
        ------
        InputError
            Both or neither given, out of range, or claims of several currencies.
        """
        if (n is None) == (share is None):
            raise _wrong("top", "n or share", str((n, share)))
        if n is not None and n < 0:
            raise _wrong("n", "at least 0", str(n))
        if share is not None and not 0.0 < share <= 1.0:
            raise _wrong("share", "in (0, 1]", str(share))
        if len(pc.unique(self.currency)) > 1:
            raise InputError.of(
                "LateRisk",
                "currency",
                expected="one currency: amounts of several do not compare",
                found=", ".join(sorted(pc.unique(self.currency).to_pylist())),
                hint="Ask for the accounts of one currency.",
            )
        order = np.argsort(-self.expected_late, kind="stable")
        if share is not None:
            sums = np.cumsum(self.expected_late[order])
            whole = sums[-1] if len(sums) else 0.0
            # A hair less, so that rounding adds no claim.
            n = int(np.searchsorted(sums, share * whole * (1.0 - 1e-12))) + 1
        return self._take(order[:n])

    def _take(self, index: Int) -> LateRisk:
        place = pa.array(index)
        return LateRisk(
            rows=self.rows.take(place),
            due_on=self.due_on[index],
            days_to_due=self.days_to_due[index],
            open_amount=self.open_amount[index],
            currency=self.currency.take(place),
            days_late=self.days_late,
            p_late=self.p_late[index],
            expected_late=self.expected_late[index],
            usual=self.usual[index],
            usual_open=self.usual_open[index],
        )

    def to_arrow(self) -> pa.Table:
        """One row a claim: ids, as_of, the attributes, p_late, p_late_30 and so on, and excess."""
        columns = {
            "due_on": self.due_on,
            "days_to_due": self.days_to_due,
            "open_amount": self.open_amount,
            "currency": self.currency,
        }
        for k, day in enumerate(self.days_late):
            columns["p_late" if day == 0 else f"p_late_{day}"] = self.p_late[:, k]
        columns["expected_late"] = self.expected_late
        columns |= {"usual": self.usual, "usual_open": self.usual_open, "excess": self.excess}
        table = self.rows
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values))
        return table

    def to_pandas(self) -> pd.DataFrame:
        """As :meth:`to_arrow`, in pandas."""
        return self.to_arrow().to_pandas()

    def __repr__(self) -> str:
        codes = np.asarray(self.currency.to_pylist(), dtype=np.str_)
        parts = [
            f"{self.expected_late[own].sum():,.2f} of {self.open_amount[own].sum():,.2f} {code}"
            for code in np.unique(codes)
            for own in [codes == code]
        ]
        text = f"LateRisk({len(self)} claims not due yet"
        if parts:
            late = self.p_late[:, 0].sum()
            text += f": {late:,.1f} expected late, {' and '.join(parts)} in amount"
        return f"{text})"

    def _repr_html_(self) -> str:
        first = self._take(np.arange(min(len(self), 10)))
        head = first.to_pandas().to_html(index=False, float_format="{:,.3f}".format)
        return f"<p>{escape(repr(self))}</p>{head}"


def _wrong(name: str, expected: str, found: str) -> InputError:
    return InputError.of("LateRisk.top", name, expected=expected, found=found)


def _checked(days_late: Sequence[int]) -> tuple[int, ...]:
    days = tuple(int(day) for day in days_late)
    if not days or days[0] != 0 or any(a >= b for a, b in pairwise(days)):
        raise InputError.of(
            "late_risk", "days_late", expected="0 and then rising days", found=str(tuple(days_late))
        )
    return days


def _on_hold(rows: Snapshot) -> Bool:
    """Rows whose claim or account is on hold, (n,)."""
    held = np.zeros(len(rows), dtype=np.bool_)
    claims = rows.claims
    held[claims["row"].to_numpy()[_bools(claims["held"]) & _bools(claims["subject"])]] = True
    whole = pc.is_null(rows.holds["invoice"])
    held[rows.holds.filter(whole)["row"].to_numpy()] = True
    return held


def _still_open(rows: Snapshot, usual: Float) -> Float:
    """Late rates among claims that are still open so long before the due date, by Bayes' rule.

    P(late | open) = late / (late + (1 - late) * share of punctual claims that are open then). The
    share is counted over the claims that were due before the row's time; a claim that is not
    settled yet keeps small books off the edge.
    """
    timeline = rows.ledger.timeline
    tables = {"claims": timeline.claims, "settlements": timeline.settlements}
    found = query(_PUNCTUAL, tables)
    due, settled = found["due"].to_numpy(), found["settled"].to_numpy()
    lead = due - settled
    at = rows.as_of.astype("datetime64[us]").astype(np.int64)
    claims = rows.claims.filter(rows.claims["subject"])
    place = pc.index_in(claims["invoice"], value_set=timeline.claims["invoice"].combine_chunks())
    due_at = pc.cast(timeline.claims["due_at"].take(place), pa.int64()).to_numpy()
    share = np.ones(len(rows))
    for time in np.unique(at):
        own = at == time
        known = np.sort(lead[due <= time])
        open_then = np.searchsorted(known, due_at[own] - time, side="right")
        share[own] = (open_then + 1.0) / (len(known) + 1.0)
    return np.asarray(usual / (usual + (1.0 - usual) * share), dtype=np.float64)


def _bools(column: pa.ChunkedArray) -> Bool:
    return np.asarray(column.to_numpy(), dtype=np.bool_)
