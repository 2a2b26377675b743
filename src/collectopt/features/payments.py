"""Payments: when and how much, returned ones, and the day of the month on which money comes."""

from __future__ import annotations

from collectopt.features.definition import NEVER, Facts, Family, Feature, Unit

# `sine` and `cosine` of the day of the month are whole billionths: sums do not depend on order.
PAYMENTS = Facts(
    "payments",
    """
    SELECT r.rid, r.dom, p.cents, r.d - p.d AS ago, p.sine, p.cosine
    FROM snap r
    JOIN payment p ON p.acc = r.acc AND p.known < r.t
    """,
)

_IN = "FILTER (WHERE cents > 0)"
_SINE, _COSINE = f"sum(sine) {_IN}", f"sum(cosine) {_IN}"
_LENGTH = f"sqrt(pow({_SINE}, 2) + pow({_COSINE}, 2)) / nullif(count(*) {_IN}, 0) / 1e9"
# Rounded, so that exactly half a month away is always -15.5 and not a matter of the last bit.
_USUAL = f"round(atan2({_SINE}, {_COSINE}) / (2 * pi()) * 31, 6) + 1"


def _payment(
    name: str,
    unit: Unit,
    meaning: str,
    sql: str,
    *,
    default: float = 0.0,
    column: str = "paid_at",
) -> Feature:
    sources = tuple(dict.fromkeys(("payments.paid_at", f"payments.{column}")))
    return Feature(name, Family.PAYMENTS, unit, meaning, sources, PAYMENTS, sql, default)


def _window(days: int) -> tuple[Feature, Feature]:
    return (
        _payment(
            f"payments_{days}",
            Unit.COUNT,
            f"Payments in the last {days} days.",
            f"count(*) FILTER (WHERE cents > 0 AND ago <= {days})",
        ),
        _payment(
            f"paid_{days}",
            Unit.MONEY,
            f"Amount paid in the last {days} days, less what was returned.",
            f"sum(cents) FILTER (WHERE ago <= {days}) / 100.0",
            column="amount",
        ),
    )


FEATURES = (
    _payment("payments_n", Unit.COUNT, "Payments so far.", f"count(*) {_IN}"),
    _payment(
        "days_since_payment",
        Unit.DAYS,
        "Days since the last payment; 3650 = never.",
        f"least(min(ago) {_IN}, {NEVER})",
        default=NEVER,
    ),
    *_window(30),
    *_window(90),
    *_window(365),
    _payment(
        "returned_n",
        Unit.COUNT,
        "Payments that were returned so far.",
        "count(*) FILTER (WHERE cents < 0)",
        column="amount",
    ),
    Feature(
        "payday_offset",
        Family.CALENDAR,
        Unit.DAYS,
        "Day of the month less the account's usual day of payment (mean direction around a month "
        "of 31 days), from -15.5 (exactly opposite) to below 15.5; 0 if it has none.",
        ("payments.paid_at",),
        PAYMENTS,
        f"CASE WHEN {_LENGTH} > 1e-6 THEN (any_value(dom) - ({_USUAL}) + 77.5) % 31 - 15.5 END",
    ),
    Feature(
        "payday_strength",
        Family.CALENDAR,
        Unit.SHARE,
        "How much the payments keep to one day of the month: 0 = anywhere, 1 = always the same.",
        ("payments.paid_at",),
        PAYMENTS,
        _LENGTH,
    ),
)
