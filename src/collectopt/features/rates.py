"""Shrunken rates: how punctual account, customer, segment, creditor and book have been.

Each claim is judged at its due date and 10 and 30 days after it, by what was known then: was it
settled? Claims settled by a credit note are not judged; open ones count as "no", so slow payers are
not lost. A rate at ``as_of`` counts only the claims that were judged before it.

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

#: Days after the due date at which a claim is judged.
LIMITS = (0, 10, 30)
_DAY_US = 86_400_000_000
_GROUP_STRENGTH = 20.0
_PRIOR_PAIRS = 100.0
_PRIOR_RHO = 0.2

JUDGED = Step(
    "judged",
    f"""
    SELECT c.acc, c.inv, c.k, c.matured, a.seg, a.creditor, a.cust,
           CASE WHEN s.late <= c.k THEN 1 ELSE 0 END AS y
    FROM (SELECT acc, inv, k, greatest(due_at + k * {_DAY_US}, known) AS matured
          FROM claim, (SELECT unnest({list(LIMITS)}) AS k) l) c
    JOIN account a ON a.acc = c.acc
    LEFT JOIN settled s ON s.inv = c.inv AND s.known < c.matured
                       AND (s.reopened IS NULL OR s.reopened >= c.matured)
    WHERE s.inv IS NULL OR s.cash
    """,
    needs=(SETTLED,),
)


def _running(name: str, key: str) -> Step:
    """Count the claims of each key, and those settled, up to each verdict."""
    return Step(
        name,
        f"""
        SELECT {key}, k, matured, sum(n) OVER w AS n, sum(y) OVER w AS y
        FROM (SELECT {key}, k, matured, count(*) AS n, sum(y) AS y
              FROM judged GROUP BY {key}, k, matured) j
        WINDOW w AS (PARTITION BY {key}, k ORDER BY matured)
        """,
        needs=(JUDGED,),
    )


BY_SEGMENT = _running("by_segment", "seg")
BY_CREDITOR = _running("by_creditor", "creditor")
# A claim that joins n earlier ones of its account, m of them "yes", adds 2n ordered pairs, 2my
# pairs of two "yes", and m + yn to the sum of "yes" over pairs.
BY_BOOK = Step(
    "by_book",
    """
    SELECT k, matured, sum(n) OVER w AS n, sum(y) OVER w AS y, sum(pairs) OVER w AS pairs,
           sum(joint) OVER w AS joint, sum(one) OVER w AS one
    FROM (SELECT k, matured, count(*) AS n, sum(y) AS y, sum(2 * m) AS pairs,
                 sum(2 * yes * y) AS joint, sum(yes + y * m) AS one
          FROM (SELECT k, matured, y, row_number() OVER v - 1 AS m, sum(y) OVER v - y AS yes
                FROM judged
                WINDOW v AS (PARTITION BY acc, k ORDER BY matured, inv
                             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) o
          GROUP BY k, matured) g
    WINDOW w AS (PARTITION BY k ORDER BY matured)
    """,
    needs=(JUDGED,),
)


def _book_rates() -> str:
    """Book rate and strength for each as_of that occurs."""
    p = "((one + 1.0) / (pairs + 2.0))"
    spread = f"({p} * (1 - {p}))"
    moment = (
        f"(joint + {_PRIOR_PAIRS} * ({p} * {p} + {_PRIOR_RHO} * {spread}))"
        f" / (pairs + {_PRIOR_PAIRS})"
    )
    rho = f"least(greatest(({moment} - {p} * {p}) / {spread}, 0.02), 0.9)"
    counts = ", ".join(f"coalesce(b.{c}, 0) AS {c}" for c in ("n", "y", "pairs", "joint", "one"))
    return f"""
    SELECT t, k, (y + 1.0) / (n + 2.0) AS rate, (1 - {rho}) / {rho} AS strength
    FROM (SELECT i.t, i.k, {counts}
          FROM (SELECT DISTINCT t, k FROM snap, (SELECT unnest({list(LIMITS)}) AS k) l) i
          ASOF LEFT JOIN by_book b ON b.k = i.k AND i.t > b.matured) x
    """


BOOK_RATES = Step("book_rates", _book_rates(), needs=(BY_BOOK,))


def _shrunken(name: str, key: str, counts: Step, above: Step, same: str) -> Step:
    """Shrink the rates of each key to those above, where `same` says which ones these are."""
    return Step(
        name,
        f"""
        SELECT i.{key}, i.t, i.k,
               (coalesce(g.y, 0) + {_GROUP_STRENGTH} * b.rate)
               / (coalesce(g.n, 0) + {_GROUP_STRENGTH}) AS rate
        FROM (SELECT DISTINCT a.{key}, a.creditor AS above, r.t, l.k
              FROM snap r JOIN account a ON a.acc = r.acc,
                   (SELECT unnest({list(LIMITS)}) AS k) l) i
        ASOF LEFT JOIN {counts.name} g ON g.{key} = i.{key} AND g.k = i.k AND i.t > g.matured
        JOIN {above.name} b ON b.t = i.t AND b.k = i.k AND {same}
        """,
        needs=(counts, above),
    )


CREDITOR_RATES = _shrunken("creditor_rates", "creditor", BY_CREDITOR, BOOK_RATES, "TRUE")
SEGMENT_RATES = _shrunken(
    "segment_rates", "seg", BY_SEGMENT, CREDITOR_RATES, "b.creditor = i.above"
)


def _each(column: str, by: str = "max") -> str:
    """Side by side for each limit: a column of lines that have one for each."""
    name = column.rsplit(".", maxsplit=1)[-1]
    return ", ".join(f"{by}({column}) FILTER (WHERE k = {k}) AS {name}{k}" for k in LIMITS)


RATES = Facts(
    "rates",
    f"""
    SELECT r.rid, b.* EXCLUDE (t), c.* EXCLUDE (creditor, t), s.* EXCLUDE (seg, t),
           {
        ", ".join(
            f"coalesce(o.{c}{k}, 0) AS {c}{k}"
            for c in ("n", "y", "other_n", "other_y")
            for k in LIMITS
        )
    }
    FROM snap r
    JOIN account a ON a.acc = r.acc
    JOIN (SELECT t, {_each("rate")}, {_each("strength")} FROM book_rates GROUP BY t) b ON b.t = r.t
    JOIN (SELECT creditor, t, {_each("creditor_rate")}
          FROM (SELECT creditor, t, k, rate AS creditor_rate FROM creditor_rates) x
          GROUP BY creditor, t) c ON c.creditor = a.creditor AND c.t = r.t
    JOIN (SELECT seg, t, {_each("segment")}
          FROM (SELECT seg, t, k, rate AS segment FROM segment_rates) x
          GROUP BY seg, t) s ON s.seg = a.seg AND s.t = r.t
    LEFT JOIN (
        SELECT rid, {_each("n", "sum")}, {_each("y", "sum")},
               {_each("other_n", "sum")}, {_each("other_y", "sum")}
        FROM (SELECT i.rid, j.k,
                     count(*) FILTER (WHERE j.acc = i.acc) AS n,
                     coalesce(sum(j.y) FILTER (WHERE j.acc = i.acc), 0) AS y,
                     count(*) FILTER (WHERE j.acc <> i.acc) AS other_n,
                     coalesce(sum(j.y) FILTER (WHERE j.acc <> i.acc), 0) AS other_y
              FROM (SELECT r.rid, r.t, r.acc, a.cust
                    FROM snap r JOIN account a ON a.acc = r.acc) i
              JOIN judged j ON j.cust = i.cust AND j.matured < i.t
              GROUP BY i.rid, j.k) g
        GROUP BY rid) o ON o.rid = r.rid
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


def _customer(k: int) -> str:
    return f"((other_y{k} + strength{k} * segment{k}) / (other_n{k} + strength{k}))"


def _account(k: int) -> str:
    return f"(y{k} + strength{k} * {_customer(k)}) / (n{k} + strength{k})"


def _lift(rate: str, above: str, digits: int = 9) -> str:
    # Rounded: without a history it is 0, and not what rounding leaves of the rate above.
    return f"round({rate} - {above}, {digits})"


# Against the book whole points: where there is but one group, what shrinkage leaves between it and
# the book moves from day to day, and trees would read the date from it.
_POINTS = 2


def _own(k: int) -> tuple[Feature, ...]:
    """Rate of the account at one limit, and how far it lies from its segment and from the book."""
    name, when = ("on_time", "by") if k == 0 else (f"paid_{k}", f"within {k} days after")
    return (
        _rate(
            f"{name}_rate",
            f"Shrunken rate of claims settled {when} the due date: account, customer, segment, "
            "creditor, book.",
            _account(k),
        ),
        _rate(
            f"{name}_lift",
            f"{name}_rate less that of the segment: 0 without a history, whatever the times are "
            "like.",
            _lift(_account(k), f"segment{k}"),
            default=0.0,
        ),
        _rate(
            f"{name}_excess",
            f"{name}_rate less that of the book: without a history what segment and creditor tell.",
            _lift(_account(k), f"rate{k}", _POINTS),
            default=0.0,
        ),
    )


_EVERYTHING = "(y0 + other_y0 + strength0 * segment0) / (n0 + other_n0 + strength0)"

FEATURES = (
    _rate(
        "matured_n", "Claims whose due date is 30 days past.", "n30", default=0.0, unit=Unit.COUNT
    ),
    *(feature for k in LIMITS for feature in _own(k)),
    _rate(
        "customer_n",
        "Claims of all accounts of the same customer whose due date is 30 days past.",
        "n30 + other_n30",
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
        _lift("creditor_rate0", "rate0", _POINTS),
        default=0.0,
    ),
    _rate("book_on_time_rate", "Rate of claims settled by the due date in the book.", "rate0"),
)
