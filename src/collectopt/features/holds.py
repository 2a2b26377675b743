"""Holds that stand, from their begin and from events alone.

The written end of a hold may have been changed after the fact, so it is never read. A hold
stands from the day after ``from_on`` until a response ends it (plan broken, dispute resolved);
holds that are about money (dispute, promise, plan, agency, court) also end when the claim, or
everything that was issued by the day on which the hold began, is paid. ``hold_days`` tells
a fresh hold from one that is probably over. A hold on another claim than the one that the row
names does not count.
"""

from __future__ import annotations

from collectopt.features.definition import NEVER, Facts, Family, Feature, Unit

_MONEY = "('dispute', 'promise', 'payment_plan', 'agency', 'court')"
HOLDS = Facts(
    "holds",
    f"""
    SELECT r.rid, h.kind, r.d - h.d AS ago,
           (h.ended IS NULL OR h.ended >= r.t)
           AND (h.inv IS NULL OR r.inv < 0 OR h.inv = r.inv)
           AND (h.kind NOT IN {_MONEY}
                OR CASE WHEN h.inv IS NULL THEN coalesce(o.first_issued <= h.d, FALSE)
                        ELSE c.inv IS NOT NULL END) AS stands
    FROM snap r
    JOIN hold h ON h.acc = r.acc AND h.known < r.t
    LEFT JOIN (SELECT rid, min(issued) AS first_issued FROM open_claim GROUP BY rid) o
        ON o.rid = r.rid
    LEFT JOIN open_claim c ON c.rid = r.rid AND c.inv = h.inv
    """,
)

_SOURCES = ("holds.kind", "holds.from_on", "holds.invoice_id", "responses.kind", "payments.amount")


def _flag(name: str, meaning: str, *kinds: str) -> Feature:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    sql = f"CASE WHEN bool_or(stands AND kind IN ({listed})) THEN 1 ELSE 0 END"
    return Feature(name, Family.HOLDS, Unit.FLAG, meaning, _SOURCES, HOLDS, sql)


FEATURES = (
    _flag("hold_dispute", "A dispute stands.", "dispute"),
    _flag("hold_promise", "A promise to pay stands.", "promise"),
    _flag("hold_plan", "A payment plan stands.", "payment_plan"),
    _flag("hold_agency", "The account or the claim is with an agency.", "agency"),
    _flag("hold_court", "The account or the claim is in court.", "court"),
    _flag("hold_insolvent", "Insolvency or death was recorded.", "insolvency", "deceased"),
    _flag(
        "hold_protected",
        "Breathing space, vulnerability, service issue or do-not-contact was recorded.",
        "breathing_space",
        "vulnerable",
        "service",
        "do_not_contact",
    ),
    Feature(
        "hold_days",
        Family.HOLDS,
        Unit.DAYS,
        "Days since the newest hold that stands began; 3650 = none.",
        _SOURCES,
        HOLDS,
        f"least(min(ago) FILTER (WHERE stands), {NEVER})",
        NEVER,
    ),
    Feature(
        "holds_n",
        Family.HOLDS,
        Unit.COUNT,
        "Holds ever recorded for the account, over or not.",
        ("holds.from_on",),
        HOLDS,
        "count(*)",
    ),
)
