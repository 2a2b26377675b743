"""What the account did and said: promises and whether they were kept, complaints, visits.

A promise is kept as soon as the payments from the promise to the end of its due day reach the
promised amount (any payment where no amount was named). It is broken when that day is over and
it was not kept, whatever the log says. Without a day it is due 14 days later.
"""

from __future__ import annotations

from collectopt.features.definition import NEVER, Facts, Family, Feature, Step, Unit

PROMISE_DAYS = 14
ACTIVE = ("opened", "clicked", "answered", "promised", "plan_accepted", "refused", "disputed",
          "complained", "opted_out", "visited_portal")  # fmt: skip

PROMISES = Step(
    "promises",
    f"""
    WITH made AS (
        SELECT row_number() OVER (ORDER BY acc, known, due_on, cents) AS pid, acc, known,
               coalesce(due_on, d + {PROMISE_DAYS}) AS due, greatest(coalesce(cents, 1), 1) AS goal
        FROM response WHERE kind = 'promised'),
    paid AS (
        SELECT m.pid, m.goal, p.known,
               sum(p.cents) OVER (PARTITION BY m.pid ORDER BY p.known) AS total
        FROM made m
        JOIN (SELECT acc, known, max(d) AS d, sum(cents) AS cents
              FROM payment GROUP BY acc, known) p
            ON p.acc = m.acc AND p.known >= m.known AND p.d <= m.due)
    SELECT m.acc, m.known, m.due, k.kept
    FROM made m
    LEFT JOIN (SELECT pid, min(known) AS kept FROM paid WHERE total >= goal GROUP BY pid) k
        ON k.pid = m.pid
    """,
)
RESPONSES = Facts(
    "responses",
    """
    SELECT r.rid, r.d - a.d AS ago, a.kind
    FROM snap r
    JOIN response a ON a.acc = r.acc AND a.known < r.t
    """,
)
PROMISED = Facts(
    "promised",
    """
    SELECT r.rid, coalesce(p.kept < r.t, FALSE) AS kept, p.due >= r.d AS pending
    FROM snap r
    JOIN promises p ON p.acc = r.acc AND p.known < r.t
    """,
    needs=(PROMISES,),
)

_AT = ("responses.at", "responses.kind")
_PROMISE = (*_AT, "responses.amount", "responses.due_on", "payments.paid_at", "payments.amount")


def _count(name: str, meaning: str, where: str) -> Feature:
    sql = f"count(*) FILTER (WHERE {where})"
    return Feature(name, Family.RESPONSES, Unit.COUNT, meaning, _AT, RESPONSES, sql)


def _promise(name: str, meaning: str, sql: str) -> Feature:
    return Feature(name, Family.RESPONSES, Unit.COUNT, meaning, _PROMISE, PROMISED, sql)


FEATURES = (
    _promise("promises_n", "Promises to pay made so far.", "count(*)"),
    _promise(
        "promises_kept", "Promises kept: paid in full by their day.", "count(*) FILTER (WHERE kept)"
    ),
    _promise(
        "promises_broken",
        "Promises whose day is over without the money.",
        "count(*) FILTER (WHERE NOT kept AND NOT pending)",
    ),
    _promise(
        "promises_pending",
        "Promises not yet kept whose day is still to come.",
        "count(*) FILTER (WHERE NOT kept AND pending)",
    ),
    _count(
        "breaches_n",
        "Promises and plans that the log calls broken.",
        "kind IN ('promise_broken', 'plan_broken')",
    ),
    _count("disputes_n", "Disputes raised so far.", "kind = 'disputed'"),
    _count("complaints_n", "Complaints so far.", "kind = 'complained'"),
    _count("opt_outs_n", "Times that the account opted out of a channel.", "kind = 'opted_out'"),
    _count(
        "portal_90",
        "Visits to the portal in the last 90 days.",
        "kind = 'visited_portal' AND ago <= 90",
    ),
    Feature(
        "days_since_response",
        Family.RESPONSES,
        Unit.DAYS,
        "Days since the account last reacted (anything but delivered, bounced and what "
        "the creditor records); 3650 = never.",
        _AT,
        RESPONSES,
        f"least(min(ago) FILTER (WHERE kind IN {ACTIVE}), {NEVER})",
        NEVER,
    ),
)
