"""Key figures of a book as of a time, from what was known then.

Amounts are in the currency of the book. Everything invoiced counts as sales, fees and interest
included, less credit notes; so whatever leaves the receivables without a credit note is cash.
The ledger has no table of write-offs: book them as credit notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.evaluation import formulas
from collectopt.evaluation.claimbook import BUCKETS, Book, ints, micros, strings
from collectopt.exceptions import InputError
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.times import DAY_US, AsOf, to_instant

Ints = NDArray[np.int64]
NAN = float("nan")


@dataclass(frozen=True)
class Kpi:
    """One figure.

    Attributes
    ----------
    name : str
        Short key, for example "dso".
    value : float
        NaN where it is not defined (nothing sold, nothing matured, no cost known).
    unit : str
        "money", "days", "share" or "count".
    label : str
        Name for people.
    meaning : str
        How it was computed.
    """

    name: str
    value: float
    unit: str
    label: str
    meaning: str

    @property
    def text(self) -> str:
        """The value with its unit, for people; an en dash where it is not defined."""
        if np.isnan(self.value):
            return "–"
        if self.unit == "share":
            return f"{100 * self.value:.1f} %"
        if self.unit == "days":
            return f"{self.value:.1f} days"
        return f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:,.2f}"


@dataclass(frozen=True, repr=False)
class Kpis:
    """The figures of one book as of one time; looks like a table, indexes like a mapping.

    Attributes
    ----------
    as_of : numpy.datetime64
        UTC instant; only rows known before it were read.
    days : int
        Length of the window that ends there.
    currency : str
        Currency of the amounts.
    rows : tuple of Kpi
        The figures in reading order.
    """

    as_of: np.datetime64
    days: int
    currency: str
    rows: tuple[Kpi, ...]

    @property
    def moment(self) -> str:
        """`as_of` to the minute, for people."""
        return str(self.as_of.astype("M8[m]")).replace("T", " ")

    def __getitem__(self, name: str) -> float:
        for row in self.rows:
            if row.name == name:
                return row.value
        raise KeyError(name)

    def to_pandas(self) -> pd.DataFrame:
        """Give the same as :meth:`to_arrow`, in pandas."""
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> pa.Table:
        """Give the columns name, value, unit, label, meaning; one row a figure."""
        names = ("name", "value", "unit", "label", "meaning")
        return pa.table({name: [getattr(row, name) for row in self.rows] for name in names})

    def __str__(self) -> str:
        width = max(len(row.label) for row in self.rows)
        lines = [f"KPIs as of {self.moment} UTC, last {self.days} days, {self.currency}"]
        lines += [f"  {row.label:<{width}}  {row.text:>14}" for row in self.rows]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{escape(r.label)}</td><td style='text-align:right'>{r.text}</td>"
            f"<td>{escape(r.meaning)}</td></tr>"
            for r in self.rows
        )
        head = f"KPIs as of {self.moment} UTC, last {self.days} days, amounts in {self.currency}"
        return f"<table><caption>{escape(head)}</caption>{cells}</table>"


def kpis(
    ledger: Ledger,
    as_of: AsOf,
    *,
    days: int = 90,
    horizons: Sequence[int | str] = (30, 60, 90),
    currency: str | None = None,
) -> Kpis:
    """Compute the key figures of a book over the ``days`` before ``as_of``.

    Parameters
    ----------
    ledger : Ledger
        Rows known at or after `as_of` are not read.
    as_of : str, date or aware datetime
        End of the window.
    days : int
        Length of the window.
    horizons : sequence of int or str
        Days after the due date for the recovery rates. A rate counts the claims whose horizon
        ended inside the window, so none is judged before its time.
    currency : str, optional
        Needed if the book has several.

    Returns
    -------
    Kpis

    Raises
    ------
    InputError
        The window is empty, or the book has several currencies and none was named.
    """
    if days < 1:
        raise InputError.of("kpis", "days", expected="at least 1", found=str(days))
    currency = _currency(ledger, currency)
    end = int(to_instant(as_of, ledger.timezone).astype(np.int64))
    book = Book(ledger, currency, end)
    start = end - days * DAY_US
    ahead = [Horizon.parse(f"{h}D" if isinstance(h, int) else h).days for h in horizons]
    rows = [*_receivables(book, start, end, days), *_recovery(book, start, days, ahead)]
    rows += _effort(book, start, end)
    return Kpis(np.datetime64(end, "us"), days, currency, tuple(rows))


def roll_rates(
    ledger: Ledger, as_of: AsOf, *, days: int = 30, currency: str | None = None
) -> pd.DataFrame:
    """Share of each ageing bucket's balance that was one bucket later ``days`` on.

    The buckets are current, 1-30, 31-60, 61-90 and over 90 days past due as of ``days`` before
    `as_of`; the last one has no next bucket and shows what stayed open.

    Returns
    -------
    DataFrame
        Columns bucket, balance (then), rolled (still open and later now), rate.
    """
    currency = _currency(ledger, currency)
    end = int(to_instant(as_of, ledger.timezone).astype(np.int64))
    start = end - days * DAY_US
    book = Book(ledger, currency, end)
    before, after = book.open_at(start), book.open_at(end)
    then, now = book.bucket_at(start), book.bucket_at(end)
    rows = []
    for k, name in enumerate(BUCKETS):
        inside = (then == k) & (before > 0)
        moved = inside & ((now > k) | (k == len(BUCKETS) - 1))
        balance = float(before[inside].sum()) / 100
        rolled = float(np.minimum(after, before)[moved].sum()) / 100
        rows.append((name, balance, rolled, formulas.ratio(rolled, balance)))
    return pd.DataFrame(rows, columns=["bucket", "balance", "rolled", "rate"])


def recovery_curve(
    ledger: Ledger,
    as_of: AsOf,
    *,
    days: Sequence[int] = tuple(range(0, 121, 5)),
    window: int = 365,
    currency: str | None = None,
) -> pd.DataFrame:
    """Share of the overdue amount that had come in by each number of days after the due date.

    All points use the same claims: those whose longest horizon ended in the `window` days before
    `as_of`. If there are none, the curve is cut to the longest horizon that has some.

    Returns
    -------
    DataFrame
        Columns days, share, claims, amount.
    """
    currency = _currency(ledger, currency)
    end = int(to_instant(as_of, ledger.timezone).astype(np.int64))
    book = Book(ledger, currency, end)
    longest = max((h for h in days if book.matured(h, window).any()), default=min(days))
    days = [h for h in days if h <= longest]
    cohort = book.matured(longest, window)
    points = [book.recovered(h, cohort) for h in days]
    rows = [(h, share, n, base) for h, (share, _, n, base) in zip(days, points, strict=True)]
    return pd.DataFrame(rows, columns=["days", "share", "claims", "amount"])


def _receivables(book: Book, start: int, end: int, days: int) -> list[Kpi]:
    ending = book.open_at(end)
    past_due = book.due <= end
    total, current = ending.sum() / 100, ending[~past_due].sum() / 100
    begin = book.open_at(start).sum() / 100
    window = book.move_known >= start
    credited = book.move_cents[window & ~book.move_cash].sum() / 100
    sales = book.cents[book.known >= start].sum() / 100 - credited
    late = np.unique(book.account[past_due & (ending > 0)])
    return [
        Kpi("receivables", total, "money", "Receivables", "open amount of all known claims"),
        Kpi("past_due", total - current, "money", "Past due", "open amount past its due date"),
        Kpi(
            "past_due_share",
            formulas.ratio(total - current, total),
            "share",
            "Share past due",
            "past due / receivables",
        ),
        Kpi(
            "accounts_past_due",
            float(len(late)),
            "count",
            "Accounts past due",
            "accounts with at least one open claim past its due date",
        ),
        Kpi(
            "sales",
            sales,
            "money",
            "Credit sales",
            f"invoiced in the last {days} days, less credit notes",
        ),
        Kpi("dso", formulas.dso(total, sales, days), "days", "DSO", "receivables / sales × days"),
        Kpi(
            "best_possible_dso",
            formulas.best_possible_dso(current, sales, days),
            "days",
            "Best-possible DSO",
            "not yet past due / sales × days",
        ),
        Kpi(
            "add",
            formulas.add(total, current, sales, days),
            "days",
            "Average days delinquent",
            "DSO − best-possible DSO: the part that collecting can change",
        ),
        Kpi(
            "cei",
            formulas.cei(begin, sales, total, current),
            "share",
            "Collection effectiveness",
            "collected / collectible in the window (CEI)",
        ),
    ]


def _recovery(book: Book, start: int, days: int, horizons: Sequence[int]) -> list[Kpi]:
    fell_due = (book.due > start) & (book.due <= book.end)
    invoiced = book.cents[fell_due].sum()
    early = invoiced - book.at_due[fell_due].sum()
    rows = [
        Kpi(
            "paid_on_time",
            formulas.ratio(early, invoiced),
            "share",
            "Paid by the due date",
            "of the amount that fell due in the window",
        )
    ]
    for h in horizons:
        share, full, n, _ = book.recovered(h, book.matured(h, days))
        meaning = f"cash within {h} days of the due date / amount overdue; {n:,} matured claims"
        rows.append(Kpi(f"recovery_{h}", share, "share", f"Recovered within {h} days", meaning))
        meaning = f"overdue claims settled in full within {h} days; {n:,} matured claims"
        rows.append(Kpi(f"cured_{h}", full, "share", f"Settled in full within {h} days", meaning))
    return rows


def _effort(book: Book, start: int, end: int) -> list[Kpi]:
    timeline = book.ledger.timeline
    mine = np.isin(ints(timeline.contacts["account"]), book.account)
    at = micros(timeline.contacts["known_at"])
    channel = strings(timeline.contacts["channel"])
    done = mine & (at >= start) & (at < end) & (channel != "none")
    sent = done & ~np.isin(channel, NO_CONTACT)
    costs = timeline.contacts["cost"].to_numpy().astype(np.float64)[done]
    cost = float(np.nansum(costs)) if np.isfinite(costs).any() else (NAN if done.any() else 0.0)
    moves = (book.move_known >= start) & (book.move_known >= book.due[book.move_claim])
    cash = book.move_cents[moves & book.move_cash].sum() / 100
    credited = book.move_cents[moves & ~book.move_cash].sum() / 100
    late_at_start = (book.due < end) & (book.at_due > 0)
    still_open = (book.open_at(start) > 0) | (book.due >= start)
    accounts = np.unique(book.account[late_at_start & still_open])
    said = timeline.responses
    when = micros(said["known_at"])
    mine = np.isin(ints(said["account"]), book.account) & (when >= start) & (when < end)
    complaints = float((mine & (strings(said["kind"]) == "complained")).sum())
    n = float(sent.sum())
    return [
        Kpi("collected", cash, "money", "Collected past due", "cash on claims past their due date"),
        Kpi("contacts", n, "count", "Contacts", "sent in the window, waits not counted"),
        Kpi(
            "contacts_per_account",
            n / len(accounts) if len(accounts) else NAN,
            "count",
            "Contacts per account",
            f"contacts / {len(accounts):,} accounts past due at some time in the window",
        ),
        Kpi("contact_cost", cost, "money", "Contact cost", "of the contacts, where it is known"),
        Kpi(
            "cost_to_collect",
            formulas.ratio(cost, cash),
            "share",
            "Cost to collect",
            "contact cost / collected past due",
        ),
        Kpi(
            "complaints_per_1000",
            1000 * complaints / n if n else NAN,
            "count",
            "Complaints per 1,000 contacts",
            "complaints in the window / contacts",
        ),
        Kpi(
            "write_off_share",
            formulas.ratio(credited, cash + credited),
            "share",
            "Written off or credited",
            "credit notes on claims past due / all that left the overdue receivables",
        ),
    ]


def _currency(ledger: Ledger, currency: str | None) -> str:
    known = sorted(set(ledger.invoices["currency"].to_pylist()))
    if currency is None and len(known) == 1:
        return str(known[0])
    if currency in known:
        return str(currency)
    raise InputError.of(
        "kpis",
        "currency",
        expected=f"one of {', '.join(map(str, known))}",
        found="none" if currency is None else repr(currency),
        hint="Amounts of several currencies do not add up: compute one currency at a time.",
    )
