"""Past lateness: days between the due date and the day on which a claim was settled.

A claim is settled when nothing of it is open any more; a returned payment reopens it. Claims
that a credit note settled say nothing about paying and are left out.
"""

from __future__ import annotations

import pyarrow as pa

from collectopt.features.definition import Facts, Family, Feature, Step, Unit
from collectopt.features.inputs import settlement_table
from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query

# Balance of a claim after each instant at which something of it was settled or reopened.
BALANCES = Step(
    "balances",
    """
    SELECT s.acc, s.inv, s.known, s.d, s.cash, c.due,
           c.cents - sum(s.cents) OVER (PARTITION BY s.inv ORDER BY s.known) AS left_cents
    FROM (SELECT acc, inv, known, max(d) AS d, sum(cents) AS cents,
                 bool_or(cash AND cents > 0) AS cash
          FROM settlement GROUP BY acc, inv, known) s
    JOIN claim c ON c.inv = s.inv
    """,
)
# Spells during which a claim was settled: known <= time < reopened. `seq` orders the spells of
# an account (settled last; of equal ones due last; then the larger invoice_id): no ties.
SETTLED = Step(
    "settled",
    """
    SELECT acc, inv, known, reopened, cash, d, d - due AS late,
           row_number() OVER (PARTITION BY acc ORDER BY known, due, inv) AS seq
    FROM (SELECT *, lag(left_cents) OVER (PARTITION BY inv ORDER BY known) AS before,
                 min(CASE WHEN left_cents > 0 THEN known END) OVER (
                     PARTITION BY inv ORDER BY known
                     ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS reopened
          FROM balances) b
    WHERE left_cents <= 0 AND coalesce(before, 1) > 0
    """,
    needs=(BALANCES,),
)
# Weights of recent lateness are whole numbers, so that sums do not depend on the order of rows.
LATENESS = Facts(
    "lateness",
    """
    SELECT r.rid, CAST(s.late AS BIGINT) AS late, s.seq, FALSE AS is_open,
           CAST(1e9 * pow(0.5, (r.d - s.d) / 180.0) AS BIGINT) AS weight
    FROM snap r
    JOIN settled s ON s.acc = r.acc AND s.known < r.t
    WHERE s.cash AND (s.reopened IS NULL OR s.reopened >= r.t)
    UNION ALL
    SELECT rid, dpd, 0, TRUE, 0 FROM open_claim WHERE past_due
    """,
    needs=(SETTLED,),
)
PARTS = Facts(
    "parts",
    """
    SELECT r.rid, b.left_cents > 0 AS part
    FROM snap r
    JOIN balances b ON b.acc = r.acc AND b.known < r.t
    WHERE b.cash
    """,
    needs=(BALANCES,),
)


def settled_spells(ledger: Ledger) -> pa.Table:
    """Look up when each claim was settled: known <= time < reopened (null: still).

    Returns
    -------
    pyarrow.Table
        acc and inv (numbers of the account and the invoice), known and reopened (microseconds
        since 1970), cash (false: settled by a credit note), late (days after the due date);
        by claim and time.
    """
    claims = ledger.timeline.claims
    due = claims["due_on"].cast(pa.int32())
    claim = pa.table({"inv": claims["invoice"], "due": due, "cents": claims["cents"]})
    return query(
        f"WITH {BALANCES.name} AS ({BALANCES.sql})"
        f" SELECT acc, inv, known, reopened, cash, CAST(late AS DOUBLE) AS late"
        f" FROM ({SETTLED.sql}) AS s ORDER BY inv, known",
        {"settlement": settlement_table(ledger), "claim": claim},
    )


_SOURCES = ("invoices.due_on", "invoices.amount", "payments.paid_at", "payments.amount")
_PAID = "FILTER (WHERE NOT is_open)"
_RECENT = f"sum(weight * late) {_PAID} / nullif(sum(weight) {_PAID}, 0)"


def _lateness(name: str, unit: Unit, meaning: str, sql: str, *, default: float = 0.0) -> Feature:
    return Feature(name, Family.LATENESS, unit, meaning, _SOURCES, LATENESS, sql, default)


FEATURES = (
    _lateness("settled_n", Unit.COUNT, "Claims settled by payments so far.", f"count(*) {_PAID}"),
    _lateness(
        "no_settled",
        Unit.FLAG,
        "1 if no claim was settled by payments yet: the lateness features are at their defaults.",
        f"CASE WHEN count(*) {_PAID} = 0 THEN 1 ELSE 0 END",
        default=1.0,
    ),
    _lateness(
        "late_mean",
        Unit.DAYS,
        "Mean lateness of settled claims; negative = before the due date.",
        f"avg(late) {_PAID}",
    ),
    _lateness(
        "late_median", Unit.DAYS, "Median lateness of settled claims.", f"median(late) {_PAID}"
    ),
    _lateness(
        "late_sd",
        Unit.DAYS,
        "Standard deviation of the lateness of settled claims; 0 with fewer than two.",
        f"sqrt(CAST(count(*) {_PAID} * sum(late * late) {_PAID}"
        f" - sum(late) {_PAID} * sum(late) {_PAID} AS DOUBLE)"
        f" / nullif(count(*) {_PAID} * (count(*) {_PAID} - 1), 0))",
    ),
    _lateness("late_max", Unit.DAYS, "Largest lateness of settled claims.", f"max(late) {_PAID}"),
    _lateness(
        "late_last",
        Unit.DAYS,
        "Lateness of the claim settled last.",
        f"arg_max(late, seq) {_PAID}",
    ),
    _lateness(
        "late_share",
        Unit.SHARE,
        "Share of settled claims that were settled after the due date.",
        f"avg(CASE WHEN late > 0 THEN 1.0 ELSE 0.0 END) {_PAID}",
    ),
    _lateness(
        "late_share_30",
        Unit.SHARE,
        "Share of settled claims that were settled more than 30 days after the due date.",
        f"avg(CASE WHEN late > 30 THEN 1.0 ELSE 0.0 END) {_PAID}",
    ),
    _lateness(
        "late_recent",
        Unit.DAYS,
        "Mean lateness of settled claims, weights halving every 180 days.",
        _RECENT,
    ),
    _lateness(
        "late_trend",
        Unit.DAYS,
        "late_recent - late_mean: positive = getting slower.",
        f"{_RECENT} - avg(late) {_PAID}",
    ),
    _lateness(
        "late_mean_open",
        Unit.DAYS,
        "Mean lateness of settled claims and of those past due and open, at their age so far.",
        "avg(late)",
    ),
    Feature(
        "part_share",
        Family.LATENESS,
        Unit.SHARE,
        "Share of payments on a claim that left a part of it open.",
        ("payments.amount", "invoices.amount"),
        PARTS,
        "avg(CASE WHEN part THEN 1.0 ELSE 0.0 END)",
    ),
)
