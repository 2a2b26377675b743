"""The account itself and the calendar."""

from __future__ import annotations

from collectopt.features.definition import Facts, Family, Feature, Unit

ACCOUNT = Facts(
    "account",
    """
    SELECT r.rid, r.d, r.dom, r.weekday, r.month, a.customer_type, a.country,
           a.credit_score, a.lifetime_value,
           CASE WHEN a.since <= r.d THEN a.since END AS since, b.first_issued
    FROM snap r
    JOIN account a ON a.acc = r.acc
    LEFT JOIN (SELECT r.rid, min(c.issued) AS first_issued
               FROM snap r
               JOIN claim c ON c.acc = r.acc AND (c.known < r.t OR c.inv = r.inv)
               GROUP BY r.rid) b ON b.rid = r.rid
    """,
    grouped=False,
)
CALENDAR = Facts("calendar", "SELECT rid, dom, weekday, month FROM snap", grouped=False)

_NAN = float("nan")


def _category(name: str, meaning: str) -> Feature:
    column = f"accounts.{name}"
    return Feature(
        name, Family.ACCOUNT, Unit.CATEGORY, meaning, (column,), ACCOUNT, name, _NAN, codes=column
    )


def _number(name: str, unit: Unit, meaning: str) -> Feature:
    return Feature(name, Family.ACCOUNT, unit, meaning, (f"accounts.{name}",), ACCOUNT, name, _NAN)


def _calendar(name: str, column: str, meaning: str) -> Feature:
    return Feature(
        name, Family.CALENDAR, Unit.NUMBER, meaning, ("accounts.timezone",), CALENDAR, column
    )


FEATURES = (
    Feature(
        "tenure",
        Family.ACCOUNT,
        Unit.DAYS,
        "Days since customer_since or the first claim, whichever was earlier.",
        ("accounts.customer_since", "invoices.issued_on"),
        ACCOUNT,
        "d - least(since, first_issued)",
    ),
    _category("customer_type", "Consumer or business."),
    _category("country", "Country of the account."),
    _number("credit_score", Unit.NUMBER, "Credit score as given; nan where unknown."),
    _number("lifetime_value", Unit.MONEY, "Lifetime value as given; nan where unknown."),
    _calendar("day_of_month", "dom", "Local day of the month of as_of, 1 to 31."),
    _calendar("weekday", "weekday", "Local weekday of as_of, Monday = 1 to Sunday = 7."),
    _calendar("month", "month", "Local month of as_of, 1 to 12."),
)
