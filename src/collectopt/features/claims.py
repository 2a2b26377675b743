"""Claims: what is open now, the claim in question, and what was billed before.

The claim in question is the one that the row names; for rows of accounts it is the open claim
that is due first (of equal ones the first invoice_id).
"""

from __future__ import annotations

from collectopt.features.definition import NEVER, Facts, Family, Feature, Step, Unit

# Due day and invoice packed into one integer: the smallest one is unique, so there are no ties.
SUBJECT = Step(
    "subject",
    """
    SELECT r.rid, coalesce(max(r.named),
           min(CAST(o.due AS BIGINT) * 2147483648 + o.inv) & 2147483647) AS inv
    FROM (SELECT rid, CASE WHEN inv >= 0 THEN CAST(inv AS BIGINT) END AS named FROM snap) r
    LEFT JOIN open_claim o ON o.rid = r.rid
    GROUP BY r.rid
    """,
)
OPEN = Facts(
    "open",
    """
    SELECT rid, cents, open_cents, dpd, past_due, age FROM open_claim
    """,
)
CLAIM = Facts(
    "claim",
    """
    SELECT r.rid, c.cents, c.kind, r.d - c.due AS dpd, r.d - c.issued AS age,
           c.due - c.issued AS term, coalesce(o.open_cents, 0) AS open_cents
    FROM snap r
    JOIN subject s ON s.rid = r.rid
    JOIN claim c ON c.inv = s.inv
    LEFT JOIN open_claim o ON o.rid = r.rid AND o.inv = s.inv
    """,
    needs=(SUBJECT,),
    grouped=False,
)
BILLED = Facts(
    "billed",
    """
    SELECT r.rid, c.cents, r.d - c.issued AS ago, c.inv = s.inv AS in_question
    FROM snap r
    JOIN subject s ON s.rid = r.rid
    JOIN claim c ON c.acc = r.acc AND (c.known < r.t OR c.inv = r.inv)
    """,
    needs=(SUBJECT,),
)

_BALANCE = ("invoices.amount", "payments.amount")


def _open(
    name: str,
    unit: Unit,
    meaning: str,
    sql: str,
    sources: tuple[str, ...] = _BALANCE,
    *,
    default: float = 0.0,
) -> Feature:
    return Feature(name, Family.CLAIMS, unit, meaning, sources, OPEN, sql, default)


def _claim(
    name: str, unit: Unit, meaning: str, sql: str, sources: tuple[str, ...], *, default: float = 0.0
) -> Feature:
    return Feature(name, Family.CLAIMS, unit, meaning, sources, CLAIM, sql, default)


def _billed(
    name: str, unit: Unit, meaning: str, sql: str, sources: tuple[str, ...], *, default: float = 0.0
) -> Feature:
    return Feature(name, Family.CLAIMS, unit, meaning, sources, BILLED, sql, default)


FEATURES = (
    _open("open_amount", Unit.MONEY, "Open amount of all claims.", "sum(open_cents) / 100.0"),
    _open("open_claims", Unit.COUNT, "Claims that are not fully paid.", "count(*)"),
    _open(
        "past_due_amount",
        Unit.MONEY,
        "Open amount of claims past their due date.",
        "sum(open_cents) FILTER (WHERE past_due) / 100.0",
        (*_BALANCE, "invoices.due_on"),
    ),
    _open(
        "past_due_claims",
        Unit.COUNT,
        "Claims past due and not fully paid.",
        "count(*) FILTER (WHERE past_due)",
        (*_BALANCE, "invoices.due_on"),
    ),
    _open(
        "days_past_due",
        Unit.DAYS,
        "Days past due of the open claim due first; 0 if nothing is past due.",
        "greatest(max(dpd), 0)",
        ("invoices.due_on",),
    ),
    _open(
        "oldest_age",
        Unit.DAYS,
        "Days since the oldest open claim was issued.",
        "max(age)",
        ("invoices.issued_on",),
    ),
    _open(
        "days_to_next_due",
        Unit.DAYS,
        "Days until the next open claim falls due; 0 = due today, 3650 = none.",
        f"least(min(-dpd) FILTER (WHERE NOT past_due), {NEVER})",
        ("invoices.due_on",),
        default=NEVER,
    ),
    _open(
        "open_paid_share",
        Unit.SHARE,
        "Part of the open claims that is already paid.",
        "1.0 - sum(open_cents) / sum(cents)",
    ),
    _claim(
        "claim_amount",
        Unit.MONEY,
        "Amount of the claim in question.",
        "cents / 100.0",
        ("invoices.amount",),
    ),
    _claim(
        "claim_open_share",
        Unit.SHARE,
        "Part of the claim in question that is still open.",
        "open_cents / cents",
        _BALANCE,
    ),
    _claim(
        "claim_dpd",
        Unit.DAYS,
        "Days past due of the claim in question; negative before the due date.",
        "dpd",
        ("invoices.due_on",),
    ),
    _claim(
        "claim_age",
        Unit.DAYS,
        "Days since the claim in question was issued.",
        "age",
        ("invoices.issued_on",),
    ),
    _claim(
        "claim_term",
        Unit.DAYS,
        "Days between issue and due date of the claim in question.",
        "term",
        ("invoices.issued_on", "invoices.due_on"),
    ),
    Feature(
        "claim_kind",
        Family.CLAIMS,
        Unit.CATEGORY,
        "Kind of the claim in question.",
        ("invoices.kind",),
        CLAIM,
        "kind",
        float("nan"),
        codes="invoices.kind",
    ),
    _billed(
        "claim_amount_ratio",
        Unit.RATIO,
        "Amount of the claim in question over the mean of the account's other claims, at most "
        "100; 1 without others.",
        "CASE WHEN count(*) FILTER (WHERE in_question) > 0"
        " AND count(*) FILTER (WHERE NOT in_question) > 0"
        " THEN least(max(cents) FILTER (WHERE in_question)"
        " / avg(cents) FILTER (WHERE NOT in_question), 100) END",
        ("invoices.amount",),
        default=1.0,
    ),
    _billed(
        "claims_n",
        Unit.COUNT,
        "Claims ever issued to the account.",
        "count(*)",
        ("invoices.issued_on",),
    ),
    _billed(
        "claims_365",
        Unit.COUNT,
        "Claims issued in the last 365 days.",
        "count(*) FILTER (WHERE ago <= 365)",
        ("invoices.issued_on",),
    ),
    _billed(
        "billed_365",
        Unit.MONEY,
        "Amount billed in the last 365 days.",
        "sum(cents) FILTER (WHERE ago <= 365) / 100.0",
        ("invoices.issued_on", "invoices.amount"),
    ),
    _billed(
        "first_claim",
        Unit.FLAG,
        "1 if the account never had another claim.",
        "CASE WHEN count(*) <= 1 THEN 1 ELSE 0 END",
        ("invoices.issued_on",),
        default=1.0,
    ),
)
