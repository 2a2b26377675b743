"""Contacts that were sent, and whether they were opened, clicked or answered.

A decision to wait (channel ``none``) is no contact; a contact counts from ``sent_at`` on. Equal
times are ordered by contact_id.
"""

from __future__ import annotations

from collectopt.features.definition import CHANNEL, NEVER, Facts, Family, Feature, Step, Unit

# First reaction of each kind to each contact.
SENT = Step(
    "sent",
    """
    SELECT c.acc, c.known, c.d, c.channel, c.tone, c.seq,
           e.opened, e.clicked, e.answered, e.bounced
    FROM contact c
    LEFT JOIN (SELECT contact,
                      min(known) FILTER (WHERE kind = 'opened') AS opened,
                      min(known) FILTER (WHERE kind = 'clicked') AS clicked,
                      min(known) FILTER (WHERE kind = 'answered') AS answered,
                      min(known) FILTER (WHERE kind = 'bounced') AS bounced
               FROM response WHERE contact IS NOT NULL GROUP BY contact) e
        ON e.contact = c.contact
    """,
)
CONTACTS = Facts(
    "contacts",
    """
    SELECT r.rid, r.d - s.d AS ago, s.channel, s.tone, s.seq,
           l.paid IS NULL OR s.known > l.paid AS unpaid_since,
           coalesce(s.opened < r.t, FALSE) AS opened,
           coalesce(s.clicked < r.t, FALSE) AS clicked,
           coalesce(s.answered < r.t, FALSE) AS answered,
           coalesce(s.bounced < r.t, FALSE) AS bounced
    FROM snap r
    JOIN sent s ON s.acc = r.acc AND s.known < r.t
    LEFT JOIN (SELECT r.rid, max(p.known) AS paid
               FROM snap r JOIN payment p ON p.acc = r.acc AND p.known < r.t
               WHERE p.cents > 0 GROUP BY r.rid) l ON l.rid = r.rid
    """,
    needs=(SENT,),
)

_REACTIONS = ("contacts.sent_at", "responses.at", "responses.kind", "responses.contact_id")


def _contact(
    name: str,
    unit: Unit,
    meaning: str,
    sql: str,
    *,
    sources: tuple[str, ...] = ("contacts.sent_at",),
    default: float = 0.0,
) -> Feature:
    return Feature(name, Family.CONTACTS, unit, meaning, sources, CONTACTS, sql, default)


def _window(days: int) -> Feature:
    return _contact(
        f"contacts_{days}",
        Unit.COUNT,
        f"Contacts in the last {days} days.",
        f"count(*) FILTER (WHERE ago <= {days})",
    )


def _reaction(kind: str) -> Feature:
    return Feature(
        f"{kind}_share",
        Family.RESPONSES,
        Unit.SHARE,
        f"Share of contacts that were {kind}.",
        _REACTIONS,
        CONTACTS,
        f"avg(CASE WHEN {kind} THEN 1.0 ELSE 0.0 END)",
    )


def _last(name: str, column: str) -> Feature:
    return Feature(
        name,
        Family.CONTACTS,
        Unit.CATEGORY,
        f"{column.capitalize()} of the last contact.",
        ("contacts.sent_at", f"contacts.{column}"),
        CONTACTS,
        f"arg_max(coalesce({column}, -1), seq)",
        float("nan"),
        codes=f"contacts.{column}",
    )


_ON = f"FILTER (WHERE channel = {CHANNEL})"
FEATURES = (
    _contact("contacts_n", Unit.COUNT, "Contacts so far.", "count(*)"),
    _window(7),
    _window(30),
    _window(90),
    _contact(
        "days_since_contact",
        Unit.DAYS,
        "Days since the last contact; 3650 = never.",
        f"least(min(ago), {NEVER})",
        default=NEVER,
    ),
    _contact(
        "contacts_since_payment",
        Unit.COUNT,
        "Contacts after the last payment; all of them if nothing was paid yet.",
        "count(*) FILTER (WHERE unpaid_since)",
        sources=("contacts.sent_at", "payments.paid_at"),
    ),
    _last("last_channel", "channel"),
    _last("last_tone", "tone"),
    _contact(
        f"contacts_90_{CHANNEL}",
        Unit.COUNT,
        f"Contacts by {CHANNEL} in the last 90 days.",
        f"count(*) FILTER (WHERE channel = {CHANNEL} AND ago <= 90)",
        sources=("contacts.sent_at", "contacts.channel"),
    ),
    _contact(
        f"reached_{CHANNEL}",
        Unit.SHARE,
        f"Share of contacts by {CHANNEL} that were opened, clicked or answered, with one "
        "success and one failure added.",
        f"((count(*) FILTER (WHERE channel = {CHANNEL} AND (opened OR clicked OR answered))) + 1)"
        f" / ((count(*) {_ON}) + 2.0)",
        sources=(*_REACTIONS, "contacts.channel"),
        default=0.5,
    ),
    _reaction("opened"),
    _reaction("clicked"),
    _reaction("answered"),
    _reaction("bounced"),
)
