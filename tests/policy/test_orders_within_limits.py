"""Changes of tone by people count against the limits: first served, the others get what is left."""

import collectopt as co
from collectopt.policy import Everybody, Overrides

BASE = {
    "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
    "cadence_days": 2,
    "slots": {"hours": [9, 14]},
    "tones": {"order": ["friendly", "neutral", "firm"]},
    "timezone": "Europe/Berlin",
    "house": {"first_contact_gentle": False, "max_tone_step": None, "doubt": 1.0},
}
AS_OF = "2026-02-05T06:00+01:00"
IDS = "ABCDEF"
BEYOND = "It is done beyond the limits, which had no room left."


def row(account, kind="amend", **more):
    signed = {"reason": "asked for it", "owner": "j.doe", "from_on": "2026-02-01",
              "until": "2026-03-01"}  # fmt: skip
    return {"account_id": account, "kind": kind, **signed, **more}


def decide(limit, *rows, tone="neutral"):
    """Debts rise from A to F, so F goes first where a limit binds."""
    limits = {} if limit is None else {"limits": {"harshness": limit}}
    catalogue = co.Catalogue.from_dict({**BASE, **limits})
    accounts = [
        {"account_id": a, "customer_type": "consumer", "country": "DE", "email_ok": True}
        for a in IDS
    ]
    invoices = [
        {"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02", "due_on": "2026-01-20",
         "amount": 50.0 + 10 * i, "currency": "EUR"}
        for i, a in enumerate(IDS)
    ]  # fmt: skip
    ledger = co.Ledger.from_frames(accounts=accounts, invoices=invoices)
    found = Everybody(catalogue, "email", tone).decide(
        ledger, AS_OF, overrides=Overrides.from_rows(rows)
    )
    return {r["account_id"]: r for r in found.to_arrow().to_pylist()}


def sent(found):
    return "".join((found[a]["tone"] or "-")[:2].ljust(2, "-") + " " for a in IDS).strip()


def test_a_change_takes_its_part_first():
    assert sent(decide(4)) == "fr fr ne ne ne ne"
    # F would take 1 and takes 2: one other gets less
    assert sent(decide(4, row("F", new_tone="firm"))) == "fr fr fr ne ne fi"
    assert sent(decide(4, row("F", "tone_offset", steps=1))) == "fr fr fr ne ne fi"
    # and one more gets what a change leaves over
    assert sent(decide(4, row("F", new_tone="friendly"))) == "fr ne ne ne ne fr"
    # without a limit, and where no change matters, all is as it was
    assert sent(decide(None, row("F", new_tone="firm"))) == "ne ne ne ne ne fi"
    plain, same = decide(4), decide(4, row("F", new_tone="neutral"))
    assert sent(plain) == sent(same)


def test_orders_stand_even_where_they_alone_are_too_much():
    rows = [row(a, new_tone="firm") for a in "EF"]
    found = decide(3, *rows)
    assert sent(found) == "fr fr fr fr fi fi"
    assert [BEYOND in found[a]["reasons"] for a in IDS] == [False] * 4 + [True, False]
    assert not any(BEYOND in r["reasons"] for r in decide(4, *rows).values())
    assert sent(decide(5, *rows)) == "fr fr fr ne fi fi"


def test_what_is_forced_takes_what_still_fits():
    # A is forced to get an email of any tone; what C becomes leaves room for a neutral one
    rows = [row("A", "force", channel="email"), row("F", new_tone="firm")]
    found = decide(3, *rows, tone="neutral")
    assert sent(found) == "ne fr fr fr fr fi"
    assert not any(BEYOND in r["reasons"] for r in found.values())


def test_a_forced_action_whose_tone_is_changed_counts_as_changed():
    rows = [row("A", "force", channel="email"), row("A", "tone_offset", steps=1)]
    assert sent(decide(4, *rows)) == "fi fr fr fr ne ne"
