"""Past offers and plans of a ledger: months kept, months in which one broke, all known by a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query
from collectopt.schema.times import local_time

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MONTH = 30.4375  # days
_DECIDE = 14  # days in which an offer would have been accepted
_USUAL = 6.0  # instalments of a plan of which none was paid, in a book that shows no others
_LATE = 0.15  # months: plans of 30 days run ahead of the calendar

# A hold and a response of about the same day are one plan. Its claims are those of the hold, or all
# that were known; money is counted from the day of the agreement on.
_PLANS = """
with known as (
    select account, from_on as day, invoice from holds
    where kind = 'payment_plan' and known_at < {cut}
    union all
    select account, local_day, null from responses
    where kind = 'plan_accepted' and known_at < {cut}
), apart as (
    select *, coalesce(day - lag(day) over (partition by account order by day) > 3, true) as fresh
    from known
), numbered as (
    select *, sum(fresh::int) over (partition by account order by day
                                    range unbounded preceding) as number from apart
), plans as (
    select account, number, min(day) as day, count(invoice) as named from numbered group by all
), claimed as (
    select p.account, p.number, p.day, c.invoice, c.cents
    from plans p join claims c on c.account = p.account
         and (p.named > 0 and c.invoice in (select m.invoice from numbered m
              where m.account = p.account and m.number = p.number)
              or p.named = 0 and c.issued_on <= p.day)
    where c.known_at < {cut}
), moved as (
    select c.account, c.number, s.local_day, sum(s.cents) as cents, min(c.day) as day
    from claimed c join settlements s on s.invoice = c.invoice
    where s.known_at < {cut} group by all
), money as (
    select account, number, sum(cents) filter (local_day < day) as before,
           sum(cents) filter (local_day >= day) as paid,
           arg_min(cents, local_day) filter (local_day >= day and cents > 0) as first_paid,
           max(local_day) filter (local_day >= day and cents > 0) as last_paid
    from moved group by all
), owed as (select account, number, sum(cents) as cents from claimed group by all)
select p.account, p.day,
       coalesce((select min(r.due_on) from responses r where r.account = p.account
          and r.kind = 'plan_accepted' and r.known_at < {cut} and r.due_on >= p.day
          and abs(r.local_day - p.day) <= 3), p.day + 14) as start,
       (select min(r.local_day) from responses r where r.account = p.account
          and r.kind = 'plan_broken' and r.known_at < {cut} and r.local_day >= p.day) as broken,
       lead(p.day) over (partition by p.account order by p.day) as next,
       o.cents - coalesce(m.before, 0) as total, coalesce(m.paid, 0) as paid,
       m.first_paid, m.last_paid
from plans p join owed o using (account, number) left join money m using (account, number)
where o.cents > coalesce(m.before, 0)
order by p.account, p.day
"""
_OFFERS = """
select c.account, coalesce(bool_or(r.kind = 'plan_accepted'), false)::double as accepted
from contacts c left join responses r
     on r.contact_id = c.contact_id and r.known_at < {cut}
where c.sent_at + interval {days} day <= {cut} and c.known_at < {cut}
  and list_contains({offers}, c.offer)
group by c.account, c.contact_id order by c.account, c.contact_id
"""


@dataclass(frozen=True, eq=False)
class Trials:
    """Months of plans, one row each.

    Attributes
    ----------
    account : (m,) int64
        Place in the ledger's accounts.
    event : (m,) float64
        1 where the plan broke in that month.
    load : (m,) float64
        EUR a month that the plan asks for.
    first : (m,) bool
        First month of its plan.
    """

    account: Int
    event: Float
    load: Float
    first: Bool


def trials(ledger: Ledger, cut: np.datetime64, grace_days: int) -> Trials:
    """Read the months of all plans known before ``cut``, UTC.

    A plan is over when it is paid, when a response says that it broke, when two instalments are
    missing, or when another plan takes its place; one that still runs is censored. Instalments are
    taken as monthly and as large as the first one that was paid.
    """
    timeline = ledger.timeline
    table = query(
        _PLANS.format(cut=_literal(cut)),
        {
            "holds": timeline.holds.select(["account", "invoice", "kind", "known_at", "from_on"]),
            "responses": timeline.responses.select(
                ["account", "kind", "known_at", "local_day", "due_on"]
            ),
            "claims": timeline.claims.select(
                ["account", "invoice", "cents", "issued_on", "known_at"]
            ),
            "settlements": _local(ledger),
        },
    )
    rows = table.to_pandas(date_as_object=False)
    start = _days(rows["start"])
    until = np.fmin(float(cut.astype("datetime64[D]").astype(np.int64)), _days(rows["next"]))
    total, paid = (rows[name].to_numpy(dtype=np.float64) for name in ("total", "paid"))
    first = rows["first_paid"].to_numpy(dtype=np.float64)
    shown = np.isfinite(first)
    number = np.maximum(np.round(total / np.where(shown, first, total)), 1.0)
    usual = float(np.median(number[shown])) if shown.any() else _USUAL
    number = np.where(shown, number, usual)
    broken, settled = _days(rows["broken"]), paid >= total
    broken = np.where((broken <= until) & ~(settled & (_days(rows["last_paid"]) <= broken)),
                      broken, np.nan)  # fmt: skip
    months, event = _months(start, until, broken, grace_days)
    at_end = np.maximum(np.round((_days(rows["last_paid"]) - start) / MONTH) + 1.0, 1.0)
    months = np.where(settled & ~event, np.fmin(at_end, np.maximum(number, 1.0)), months)
    had = np.floor(paid / np.where(shown, first, np.inf) + 0.01)
    silent = ~event & ~settled & (months - had >= 2.0)
    months = np.where(silent, had + 1.0, np.where(event, months, np.minimum(months, number)))
    event |= silent
    length = np.maximum(months, 0.0).astype(np.int64)
    plan = np.repeat(np.arange(len(rows)), length)
    place = np.arange(len(plan)) - np.repeat(np.cumsum(length) - length, length)
    return Trials(
        account=rows["account"].to_numpy(dtype=np.int64)[plan],
        event=(event[plan] & (place == length[plan] - 1)).astype(np.float64),
        load=(total / number / 100.0)[plan],
        first=place == 0,
    )


def _months(start: Float, until: Float, broken: Float, grace_days: int) -> tuple[Float, Bool]:
    """Months that were asked for, and whether the plan broke in the last of them."""
    event = np.isfinite(broken)
    at_break = np.maximum(np.floor((broken - start) / MONTH + _LATE), 0.0) + 1.0
    over = np.maximum(np.floor((until - grace_days - 1.0 - start) / MONTH + 1e-9) + 1.0, 0.0)
    return np.where(event, at_break, over), event


def offers(ledger: Ledger, cut: np.datetime64, names: tuple[str, ...]) -> tuple[Int, Float]:
    """Accounts of the contacts that offered a plan, and whether it was accepted, (m,) each."""
    timeline = ledger.timeline
    table = query(
        _OFFERS.format(cut=_literal(cut), days=_DECIDE, offers=list(names) or ["none at all"]),
        {
            "contacts": timeline.contacts.select(
                ["contact_id", "account", "offer", "sent_at", "known_at"]
            ),
            "responses": timeline.responses.select(["contact_id", "kind", "known_at"]),
        },
    )
    return table["account"].to_numpy().astype(np.int64), table["accepted"].to_numpy()


def payments(ledger: Ledger, cut: np.datetime64) -> pd.DataFrame:
    """Payments known before ``cut``: account, day (local), cents (below 0: returned)."""
    table = query(
        f"select account, local_day as day, cents from payments where known_at < {_literal(cut)} "
        "order by all",
        {
            "payments": ledger.timeline.payments.select(
                ["account", "local_day", "cents", "known_at"]
            )
        },
    )
    frame: pd.DataFrame = table.to_pandas(date_as_object=False)
    return frame


def _local(ledger: Ledger) -> pa.Table:
    """Settlements with the day they were known, in the time of the account."""
    table = ledger.timeline.settlements
    zones = ledger.zones.take(table["account"].combine_chunks())
    day = pc.floor_temporal(local_time(table["known_at"].combine_chunks(), zones), unit="day")
    kept = table.select(["invoice", "cents", "known_at"])
    return kept.append_column("local_day", pc.cast(day, pa.date32()))


def _literal(cut: np.datetime64) -> str:
    return f"TIMESTAMPTZ '{cut.astype('datetime64[us]')}+00'"


def _days(column: pd.Series) -> Float:
    """Days since 1970; nan where there is none."""
    values = column.to_numpy(dtype="datetime64[D]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
