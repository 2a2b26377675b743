"""Shrunken rates: how punctual account, customer, segment, creditor and book have been.

Each claim is judged once, at its maturity 30 days after the due date, by what was known then:
was it settled by the due date, was it settled by now. Claims settled by a credit note are not
judged; open ones count as "no", so slow payers are not lost. A rate at ``as_of`` counts only the
claims that matured before it.

Shrinkage is empirical Bayes along book -> creditor -> segment of the creditor (customer type,
country) -> other accounts of the customer -> account: rate = (yes + strength * rate above) /
(n + strength). The strength of the last two steps is (1 - rho) / rho, where rho, the correlation of
two claims of one account, is estimated by moments over all pairs of claims of one account that had
matured by then (with 100 pairs of rho = 0.2 added). Pairs are counted as running sums, so one pass
gives every as_of. Accounts without a creditor are those of one creditor.

The pair estimator of the intra-class correlation is the usual analysis-of-variance one for
binary data with pair weights (Ridout, Demetrio & Firth 1999, Biometrics 55, 137-148).
"""

from __future__ import annotations

from collectopt.features.definition import Facts, Family, Feature, Step, Unit
from collectopt.features.lateness import SETTLED

MATURITY_DAYS = 30
_DAY_US = 86_400_000_000
_GROUP_STRENGTH = 20.0
_PRIOR_PAIRS = 100.0
_PRIOR_RHO = 0.2

JUDGED = Step(
    "judged",
    f"""
    SELECT c.acc, c.inv, c.matured, a.seg, a.creditor, a.cust,
           CASE WHEN s.late <= 0 THEN 1 ELSE 0 END AS y0,
           CASE WHEN s.inv IS NOT NULL THEN 1 ELSE 0 END AS y1
    FROM (SELECT acc, inv, greatest(due_at + {MATURITY_DAYS * _DAY_US}, known) AS matured
          FROM claim) c
    JOIN account a ON a.acc = c.acc
    LEFT JOIN settled s ON s.inv = c.inv AND s.known < c.matured
                       AND (s.reopened IS NULL OR s.reopened >= c.matured)
    WHERE s.inv IS NULL OR s.cash
    """,
    needs=(SETTLED,),
)


def _running(name: str, key: str) -> Step:
    """Count the claims of each key, and those settled, up to each maturity."""
    return Step(
        name,
        f"""
        SELECT {key}, matured, sum(n) OVER w AS n, sum(y0) OVER w AS y0, sum(y1) OVER w AS y1
        FROM (SELECT {key}, matured, count(*) AS n, sum(y0) AS y0, sum(y1) AS y1
              FROM judged GROUP BY {key}, matured) j
        WINDOW w AS (PARTITION BY {key} ORDER BY matured)
        """,
        needs=(JUDGED,),
    )


BY_SEGMENT = _running("by_segment", "seg")
BY_CREDITOR = _running("by_creditor", "creditor")
# A claim that joins n earlier ones of its account, k of them "yes", adds 2n ordered pairs, 2ky
# pairs of two "yes", and k + yn to the sum of "yes" over pairs.
BY_BOOK = Step(
    "by_book",
    """
    SELECT matured, sum(n) OVER w AS n, sum(y0) OVER w AS y0, sum(y1) OVER w AS y1,
           sum(pairs) OVER w AS pairs, sum(both0) OVER w AS both0, sum(both1) OVER w AS both1,
           sum(one0) OVER w AS one0, sum(one1) OVER w AS one1
    FROM (SELECT matured, count(*) AS n, sum(y0) AS y0, sum(y1) AS y1,
                 sum(2 * m) AS pairs, sum(2 * k0 * y0) AS both0, sum(2 * k1 * y1) AS both1,
                 sum(k0 + y0 * m) AS one0, sum(k1 + y1 * m) AS one1
          FROM (SELECT matured, y0, y1, row_number() OVER v - 1 AS m,
                       sum(y0) OVER v - y0 AS k0, sum(y1) OVER v - y1 AS k1
                FROM judged
                WINDOW v AS (PARTITION BY acc ORDER BY matured, inv
                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) o
          GROUP BY matured) g
    WINDOW w AS (ORDER BY matured)
    """,
    needs=(JUDGED,),
)


def _book_rates() -> str:
    """Book rate and strength for each as_of that occurs."""
    columns = []
    for y in (0, 1):
        p = f"((one{y} + 1.0) / (pairs + 2.0))"
        spread = f"({p} * (1 - {p}))"
        moment = (
            f"(both{y} + {_PRIOR_PAIRS} * ({p} * {p} + {_PRIOR_RHO} * {spread}))"
            f" / (pairs + {_PRIOR_PAIRS})"
        )
        rho = f"least(greatest(({moment} - {p} * {p}) / {spread}, 0.02), 0.9)"
        columns.append(f"(y{y} + 1.0) / (n + 2.0) AS rate{y}, (1 - {rho}) / {rho} AS strength{y}")
    return f"""
    SELECT t, {", ".join(columns)}
    FROM (SELECT i.t, coalesce(b.n, 0) AS n, coalesce(b.y0, 0) AS y0, coalesce(b.y1, 0) AS y1,
                 coalesce(b.pairs, 0) AS pairs, coalesce(b.both0, 0) AS both0,
                 coalesce(b.both1, 0) AS both1, coalesce(b.one0, 0) AS one0,
                 coalesce(b.one1, 0) AS one1
          FROM (SELECT DISTINCT t FROM snap) i ASOF LEFT JOIN by_book b ON i.t > b.matured) x
    """


BOOK_RATES = Step("book_rates", _book_rates(), needs=(BY_BOOK,))


def _shrunken(name: str, key: str, counts: Step, above: Step, same: str) -> Step:
    """Shrink the rates of each key to those above, where `same` says which ones these are."""
    columns = ", ".join(
        f"(coalesce(g.y{y}, 0) + {_GROUP_STRENGTH} * b.rate{y})"
        f" / (coalesce(g.n, 0) + {_GROUP_STRENGTH}) AS rate{y}"
        for y in (0, 1)
    )
    return Step(
        name,
        f"""
        SELECT i.{key}, i.t, {columns}
        FROM (SELECT DISTINCT a.{key}, a.creditor AS above, r.t
              FROM snap r JOIN account a ON a.acc = r.acc) i
        ASOF LEFT JOIN {counts.name} g ON g.{key} = i.{key} AND i.t > g.matured
        JOIN {above.name} b ON b.t = i.t AND {same}
        """,
        needs=(counts, above),
    )


CREDITOR_RATES = _shrunken("creditor_rates", "creditor", BY_CREDITOR, BOOK_RATES, "TRUE")
SEGMENT_RATES = _shrunken(
    "segment_rates", "seg", BY_SEGMENT, CREDITOR_RATES, "b.creditor = i.above"
)
RATES = Facts(
    "rates",
    """
    SELECT r.rid, b.rate0 AS book0, b.strength0, b.strength1, c.rate0 AS creditor0,
           s.rate0 AS segment0, s.rate1 AS segment1,
           coalesce(k.n, 0) AS n, coalesce(k.y0, 0) AS y0, coalesce(k.y1, 0) AS y1,
           coalesce(k.other_n, 0) AS other_n, coalesce(k.other_y0, 0) AS other_y0,
           coalesce(k.other_y1, 0) AS other_y1
    FROM snap r
    JOIN account a ON a.acc = r.acc
    JOIN book_rates b ON b.t = r.t
    JOIN creditor_rates c ON c.creditor = a.creditor AND c.t = r.t
    JOIN segment_rates s ON s.seg = a.seg AND s.t = r.t
    LEFT JOIN (
        SELECT i.rid,
               count(*) FILTER (WHERE j.acc = i.acc) AS n,
               sum(j.y0) FILTER (WHERE j.acc = i.acc) AS y0,
               sum(j.y1) FILTER (WHERE j.acc = i.acc) AS y1,
               count(*) FILTER (WHERE j.acc <> i.acc) AS other_n,
               sum(j.y0) FILTER (WHERE j.acc <> i.acc) AS other_y0,
               sum(j.y1) FILTER (WHERE j.acc <> i.acc) AS other_y1
        FROM (SELECT r.rid, r.t, r.acc, a.cust FROM snap r JOIN account a ON a.acc = r.acc) i
        JOIN judged j ON j.cust = i.cust AND j.matured < i.t
        GROUP BY i.rid) k ON k.rid = r.rid
    """,
    needs=(JUDGED, BOOK_RATES, CREDITOR_RATES, SEGMENT_RATES),
    grouped=False,
)

_SOURCES = (
    "invoices.due_on",
    "invoices.amount",
    "payments.paid_at",
    "payments.amount",
    "accounts.customer_id",
    "accounts.creditor_id",
    "accounts.customer_type",
    "accounts.country",
)


def _rate(
    name: str, meaning: str, sql: str, *, default: float = 0.5, unit: Unit = Unit.SHARE
) -> Feature:
    return Feature(name, Family.RATES, unit, meaning, _SOURCES, RATES, sql, default)


def _customer(y: int) -> str:
    return f"((other_y{y} + strength{y} * segment{y}) / (other_n + strength{y}))"


def _account(y: int) -> str:
    return f"(y{y} + strength{y} * {_customer(y)}) / (n + strength{y})"


def _lift(rate: str, above: str) -> str:
    # Rounded: without a history it is 0, and not what rounding leaves of the rate above.
    return f"round({rate} - {above}, 9)"


_EVERYTHING = "(y0 + other_y0 + strength0 * segment0) / (n + other_n + strength0)"

FEATURES = (
    _rate("matured_n", "Claims whose due date is 30 days past.", "n", default=0.0, unit=Unit.COUNT),
    _rate(
        "on_time_rate",
        "Shrunken rate of claims settled by the due date: account, customer, segment, creditor, "
        "book.",
        _account(0),
    ),
    _rate(
        "paid_30_rate",
        "Shrunken rate of claims settled within 30 days after the due date.",
        _account(1),
    ),
    _rate(
        "on_time_lift",
        "on_time_rate less that of the segment: 0 without a history, whatever the times are like.",
        _lift(_account(0), "segment0"),
        default=0.0,
    ),
    _rate(
        "paid_30_lift",
        "paid_30_rate less that of the segment: 0 without a history.",
        _lift(_account(1), "segment1"),
        default=0.0,
    ),
    _rate(
        "customer_n",
        "Matured claims of all accounts of the same customer.",
        "n + other_n",
        default=0.0,
        unit=Unit.COUNT,
    ),
    _rate(
        "customer_late_rate",
        "Shrunken rate of claims not settled by the due date, all accounts of the same customer.",
        f"1 - {_EVERYTHING}",
    ),
    _rate(
        "customer_late_lift",
        "customer_late_rate less that of the segment: 0 without a history.",
        _lift("segment0", _EVERYTHING),
        default=0.0,
    ),
    _rate(
        "segment_on_time_rate",
        "Rate of claims settled by the due date in the creditor's segment (customer type, "
        "country), shrunken to the creditor.",
        "segment0",
    ),
    _rate(
        "creditor_on_time_lift",
        "Rate of claims settled by the due date of the creditor, shrunken to the book, less that "
        "of the book.",
        _lift("creditor0", "book0"),
        default=0.0,
    ),
    _rate("book_on_time_rate", "Rate of claims settled by the due date in the book.", "book0"),
)
