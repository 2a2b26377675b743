"""What people decide: read and refused as a whole, heard in its place, kept in the record."""

from datetime import date

import pytest

import collectopt as co
from collectopt.exceptions import CatalogueError, InputError
from collectopt.policy import Everybody, FixedLadder, Override, OverrideKind, Overrides, Random
from collectopt.rules import Layout, Precedence, Rules, State
from collectopt.schema import Snapshot

BASE = {
    "channels": [
        {"name": "email", "cost": 0.05},
        {"name": "letter", "cost": 1.0},
        {"name": "phone", "cost": 4.0, "hours": [9, 18], "capacity": 1},
    ],
    "cadence_days": 3,
    "slots": {"hours": [9, 14]},
    "tones": {"order": ["friendly", "neutral", "firm"]},
    "offers": {"names": ["none", "instalments"]},
    "timezone": "Europe/Berlin",
    "jurisdiction": "de",
    "limits": {"contacts_per_7_days": 2},
    "agency": {"cost": 0.0, "fee": 0.2},
    "court": {"cost": 30.0},
    "house": {"min_contacts_before_agency": 0, "doubt": 1.0},
}
AS_OF = "2026-02-05T06:00+01:00"  # a Thursday
DAY, FREE = "2026-02-01", "2026-03-01"
IDS = ("A", "B", "C", "D")


def tables(accounts=None, **more):
    person = {"customer_type": "consumer", "country": "DE", "timezone": "Europe/Berlin",
              "email_ok": True, "phone_ok": True}  # fmt: skip
    own = accounts or {a: {} for a in IDS}
    return {
        "accounts": [{"account_id": a, **person, **extra} for a, extra in own.items()],
        "invoices": [{"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02",
                      "due_on": "2026-01-30", "amount": 50.0, "currency": "EUR"} for a in own],
        **more,
    }  # fmt: skip


def warned():
    """As `tables`, with a reminder and a formal notice whose time is over."""
    book = tables()
    early = {"issued_on": "2025-11-02", "due_on": "2025-11-30"}
    sent = (("2026-01-05T09:00:00+01:00", "friendly"), ("2026-01-15T09:00:00+01:00", "firm"))
    book["invoices"] = [{**invoice, **early} for invoice in book["invoices"]]
    book["contacts"] = [
        {
            "contact_id": f"{a}{tone}",
            "account_id": a,
            "sent_at": at,
            "channel": "email",
            "tone": tone,
        }
        for a in IDS
        for at, tone in sent
    ]
    return book


def row(account="A", kind="force", **more):
    signed = {"reason": "asked for it", "owner": "j.doe", "from_on": DAY, "until": FREE}
    return {"account_id": account, "kind": kind, **signed, **more}


def catalogue(**house):
    return co.Catalogue.from_dict({**BASE, "house": {**BASE["house"], **house}})


def decide(*rows, policy=Everybody, cat=None, book=None, now=AS_OF, rng=0):
    policy = policy(cat or catalogue())
    ledger = co.Ledger.from_frames(**(book or tables()))
    found = policy.decide(ledger, now, rng=rng, overrides=Overrides.from_rows(rows))
    return {r["account_id"]: r for r in found.to_arrow().to_pylist()}


# Reading and refusing ---------------------------------------------------------------------------


def test_all_faults_are_listed_at_once():
    rows = [
        row(until=None, channel="phone"),
        row(kind="push", channel="phone"),
        row(until="2026-01-01", owner=" ", channel="phone"),
        row(kind="amend", channel="email"),
        row(kind="tone_offset", steps=1.5),
        row(kind="forbid", action="wait"),
        row(action="agency", channel="phone"),
        row(),
        row(kind="approve", action="stop"),
        row(kind="approve", action="court", channel="phone"),
        row(action="dance"),
        row(colour="red"),
        row(kind="force", channel="phone", steps=1),
    ]
    with pytest.raises(InputError) as error:
        Overrides.from_rows(rows)
    at = {fault.rows[0] for fault in error.value.faults}
    assert at == set(range(len(rows)))
    assert len(error.value.faults) == len(rows) + 1  # the third has two
    assert "Nothing that people decide holds for ever" in str(error.value)


@pytest.mark.parametrize(
    ("one", "two", "why"),
    [
        ({"channel": "phone"}, {"channel": "email"}, "two actions forced"),
        ({"action": "stop"}, {"tone": "firm"}, "two actions forced"),
        ({"channel": "phone", "tone": "firm"}, {"kind": "forbid", "channel": "phone"},
         "forced and forbidden"),
        ({"channel": "phone"}, {"kind": "forbid"}, "forced and forbidden"),
        ({"kind": "amend", "new_tone": "firm"}, {"kind": "amend", "new_tone": "neutral"},
         "one change"),
        ({"kind": "tone_offset", "steps": 1}, {"kind": "tone_offset", "steps": 1}, "one shift"),
        ({"kind": "amend", "new_tone": "firm"}, {"kind": "tone_offset", "steps": 1}, "not both"),
        ({"tone": "firm"}, {"kind": "tone_offset", "steps": -1}, "left as it is"),
        ({"offer": "none"}, {"kind": "amend", "new_offer": "instalments"}, "left as it is"),
        ({"kind": "forbid", "tone": "firm"}, {"kind": "amend", "new_tone": "firm"}, "forbidden"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(one, two, why):
    for pair in ([one, two], [two, one]):
        with pytest.raises(InputError, match=why):
            Overrides.from_rows([row(**{"kind": "force", **o}) for o in pair])
    apart = [row(**{"kind": "force", **one, "until": "2026-02-03"}),
             row(**{"kind": "force", **two, "from_on": "2026-02-03"})]  # fmt: skip
    assert len(Overrides.from_rows(apart)) == 2
    other = [row(**{"kind": "force", **one}), row("B", **{"kind": "force", **two})]
    assert len(Overrides.from_rows(other)) == 2


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"channel": "phone"}, {"tone": "firm"}),
        ({"channel": "phone"}, {"kind": "forbid", "channel": "phone", "tone": "firm"}),
        ({"action": "wait"}, {"kind": "forbid"}),
        ({"channel": "phone"}, {"kind": "amend", "channel": "email", "new_tone": "firm"}),
        ({"kind": "amend", "new_offer": "none"}, {"kind": "tone_offset", "steps": 1}),
    ],
)
def test_what_can_be_done_together_is_taken(one, two):
    assert len(Overrides.from_rows([row(**{"kind": "force", **o}) for o in (one, two)])) == 2


def test_round_trips_and_days():
    given = Overrides.from_rows([
        row(channel="phone", tone="neutral"), row("B", "amend", new_offer="instalments"),
        row("C", "tone_offset", steps=-1), row("D", "approve", action="court"),
    ])  # fmt: skip
    frame = given.to_frame()
    for again in (
        Overrides.from_frame(frame),
        Overrides.from_frame(frame.to_pandas()),
        Overrides.from_rows(given.to_rows()),
    ):
        assert again == given
        assert again.digest == given.digest
    days = [date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 28), date(2026, 3, 1)]
    assert [len(given.at("A", d)) for d in days] == [0, 1, 1, 0]
    plain = Override("A", OverrideKind.FORCE, "asked for it", "j.doe", date(2026, 2, 1),
                     date(2026, 3, 1), channel="phone", tone="neutral")  # fmt: skip
    assert given.overrides[0] == plain


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (row(channel="fax"), "fax"),
        (row(kind="amend", new_tone="rude"), "rude"),
        (row("Z", channel="phone"), "accounts of the book"),
    ],
)
def test_names_that_nobody_knows_are_refused(given, what):
    with pytest.raises(InputError, match=what):
        decide(given)
    with pytest.raises(InputError, match="Overrides or None"):
        FixedLadder(catalogue()).decide(co.Ledger.from_frames(**tables()), AS_OF, overrides=[given])


# Precedence -------------------------------------------------------------------------------------


def test_every_rule_has_its_rank():
    house = {"tones": [{"highest": "firm"}]}
    ranks = {p.code: p.rank for p in Rules.from_catalogue(catalogue(**house)).permissions}
    of_house = {"CONTACT_CAP", "FIRST_CONTACT_GENTLE", "MAX_TONE_STEP", "MIN_OWN_CONTACTS",
                "TONE_TABLE"}  # fmt: skip
    assert {c for c, r in ranks.items() if r is Precedence.CONTACT_POLICY} == of_house
    stops = {"HOLD_INSOLVENCY", "HOLD_DECEASED", "HOLD_BREATHING_SPACE", "HOLD_DO_NOT_CONTACT"}
    assert {c for c, r in ranks.items() if r is Precedence.STOP} == stops
    assert {r for c, r in ranks.items() if c.startswith("HOLD") and c not in stops} == {
        Precedence.HOLD
    }
    assert ranks["CONSENT"] is ranks["APPROVAL"] is ranks["DISTRESS"] is Precedence.LAW
    assert list(Precedence) == sorted(Precedence)
    assert [p.name for p in Precedence] == [
        "STOP", "HOLD", "LAW", "OVERRIDE", "CONTACT_POLICY", "CAPACITY", "OPTIMISER", "EXPLORATION",
    ]  # fmt: skip


def test_a_forced_action_goes_by_contact_policy():
    assert decide()["A"]["tone"] == "friendly"  # the first contact is gentle
    cat = co.Catalogue.from_dict({**BASE, "limits": {"contacts_per_7_days": 0}})
    assert {r["channel"] for r in decide(cat=cat).values()} == {"none"}
    found = decide(row(channel="phone", tone="firm", offer="none"), cat=cat)
    assert [found["A"][n] for n in ("channel", "tone", "offer")] == ["phone", "firm", "none"]
    assert found["A"]["propensity"] == 1
    assert found["A"]["policy_version"] == f"override:{found['B']['policy_version']}"
    said = "force phone, firm, offering none by j.doe until 2026-03-01, because asked for it"
    assert f"OVERRIDE: {said}" in found["A"]["rule_trace"]
    assert f"F{said[1:]}." in found["A"]["reasons"]
    assert {found[a]["channel"] for a in "BCD"} == {"none"}


@pytest.mark.parametrize("kind", ["dispute", "insolvency", "vulnerable", "do_not_contact"])
def test_stop_and_hold_go_before_people(kind):
    held = tables(holds=[{"account_id": "A", "kind": kind, "from_on": "2026-02-01"}])
    found = decide(row(channel="phone"), row("B", action="stop"), book=held)
    assert found["A"]["channel"] == "none"
    assert any(f"stopped by HOLD_{kind.upper()}" in line for line in found["A"]["rule_trace"])
    assert f"but stopped by HOLD_{kind.upper()}" in found["A"]["reasons"][0]
    assert found["B"]["channel"] == "stop"


def test_the_law_goes_before_people():
    book = tables({"A": {"email_ok": False}, "B": {}})
    found = decide(row(channel="email"), book=book)
    assert found["A"]["channel"] != "email"
    assert "CONSENT" in found["A"]["reasons"][0]


def test_forced_actions_take_what_is_scarce_first():
    # the ladder of debts would call the largest
    book = tables()
    book["invoices"][3]["amount"] = 5_000.0
    call = lambda cat: Everybody(cat, "phone")  # noqa: E731
    assert [r["channel"] for r in decide(policy=call, book=book).values()].count("phone") == 1
    assert decide(policy=call, book=book)["D"]["channel"] == "phone"
    found = decide(row(channel="phone"), policy=call, book=book)
    assert {a for a, r in found.items() if r["channel"] == "phone"} == {"A"}
    # what people force is done even above the limit; then nobody else gets any
    found = decide(row(channel="phone"), row("B", channel="phone"), policy=call, book=book)
    assert {a for a, r in found.items() if r["channel"] == "phone"} == {"A", "B"}
    beyond = "It is done beyond the limits, which had no room left."
    assert [beyond in found[a]["reasons"] for a in "AB"] == [False, True]


def test_forbid_amend_and_shift():
    found = decide(
        row("A", "forbid", channel="email"),
        row("B", "amend", new_tone="neutral", new_offer="instalments"),
        row("C", "tone_offset", steps=5),
        row("D", "tone_offset", steps=-1),
    )
    assert found["A"]["channel"] != "email"
    assert [found["B"][n] for n in ("channel", "tone", "offer")] == [
        "email", "neutral", "instalments",
    ]  # fmt: skip
    assert "instead of email, friendly" in found["B"]["reasons"][0]
    assert found["C"]["tone"] == "firm"
    assert found["D"]["tone"] == "friendly"
    assert "so already" in found["D"]["reasons"][0]


def test_a_shift_ends_where_the_law_does():
    # distress allows nothing but the mildest tone and an offer
    held = {"account_id": "A", "kind": "vulnerable", "from_on": "2026-02-01", "invoice_id": "I2"}
    book = tables(holds=[held])
    book["invoices"].append({**book["invoices"][0], "invoice_id": "I2"})
    offer = lambda cat: Everybody(cat, offer="instalments")  # noqa: E731
    found = decide(row("A", "tone_offset", steps=2), policy=offer, book=book)["A"]
    assert [found["channel"], found["tone"]] == ["email", "friendly"]
    assert "does not allow it" in found["reasons"][0]


def test_nothing_is_left_to_chance_where_people_spoke():
    drawn = lambda cat: Random(cat, contact=1.0)  # noqa: E731
    for rng in range(6):
        found = decide(row("A", "forbid", channel="phone"), policy=drawn, rng=rng)
        assert found["A"]["propensity"] == 1
        assert found["A"]["channel"] == "none"
        assert any(r["propensity"] < 1 for a, r in found.items() if a != "A")


def test_a_new_decision_has_a_new_id():
    one, two = decide(), decide(row(channel="phone"))
    assert not {r["decision_id"] for r in one.values()} & {r["decision_id"] for r in two.values()}
    over = decide(row(channel="phone", until="2026-02-05"))  # the first free day
    assert over == one


# Approvals ---------------------------------------------------------------------------------------


def test_an_approval_unlocks_exactly_its_action():
    forced = [row(a, action=what) for a, what in zip("ABCD", ["court", "court", "agency", "court"],
                                                     strict=True)]  # fmt: skip
    approved = [
        row("A", "approve", action="court"),
        row("B", "approve", action="agency"),
        row("C", "approve", action="agency"),
        row("D", "approve", action="court", until="2026-02-05"),
    ]
    alone = decide(*forced, book=warned())
    assert not {"agency", "court"} & {r["channel"] for r in alone.values()}
    assert "APPROVAL" in alone["A"]["reasons"][0]
    found = decide(*forced, *approved, book=warned())
    assert [found[a]["channel"] in {"agency", "court"} for a in "ABCD"] == [
        True,
        False,
        True,
        False,
    ]
    line = "OVERRIDE: approve court by j.doe until 2026-03-01, because asked for it"
    assert line in found["A"]["rule_trace"]
    # without a force it only opens the door
    open_door = decide(*approved, book=warned())["A"]
    assert open_door["channel"] == "email"
    assert open_door["policy_version"] == decide()["A"]["policy_version"]


def test_an_approval_lifts_no_stage():
    rows = [row(action="court"), row(kind="approve", action="court")]
    found = decide(*rows)["A"]
    assert found["channel"] not in {"agency", "court"}
    assert "STAGE_REMINDED" in found["reasons"][0]


def test_an_approval_lifts_no_other_rule():
    held = tables(holds=[{"account_id": "A", "kind": "dispute", "from_on": "2026-02-01"}])
    rows = [row(action="court"), row(kind="approve", action="court")]
    assert decide(*rows, book=held)["A"]["channel"] == "none"


def test_an_approval_taken_back_stops_what_is_not_sent_yet():
    ledger, policy = co.Ledger.from_frames(**warned()), Everybody(catalogue())
    force, yes = row(action="court"), row(kind="approve", action="court")
    decisions = policy.decide(ledger, AS_OF, overrides=Overrides.from_rows([force, yes]))
    stopped = [
        policy.recheck(decisions, ledger, AS_OF, overrides=Overrides.from_rows(given)).stopped
        for given in ([force, yes], [yes], [force])
    ]
    assert [table["code"].to_pylist() for table in stopped] == [[], [], ["APPROVAL"]]


# Before sending ----------------------------------------------------------------------------------


def test_what_people_decided_since_counts_before_sending():
    cat = co.Catalogue.from_dict({**BASE, "limits": {"contacts_per_7_days": 0}})
    policy, ledger = Everybody(cat), co.Ledger.from_frames(**tables())
    forced = Overrides.from_rows([row(a, channel="email", tone="firm") for a in "AB"])
    decisions = policy.decide(ledger, AS_OF, overrides=forced)
    codes = lambda over: dict(zip(*(  # noqa: E731
        policy.recheck(decisions, ledger, AS_OF, overrides=over).stopped[n].to_pylist()
        for n in ("account_id", "code")), strict=True))  # fmt: skip
    assert codes(forced) == {}
    assert codes(None) == {"A": "CONTACT_CAP", "B": "CONTACT_CAP"}  # taken back
    since = Overrides.from_rows([row("A", "forbid", channel="email"), row("B", channel="letter")])
    assert codes(since) == {"A": "OVERRIDE", "B": "OVERRIDE"}
    # what the law stops now does not stop another action in its place
    late = Overrides.from_rows([row("A", action="court"), row("B", channel="email", tone="firm")])
    assert codes(late) == {"A": "CONTACT_CAP"}


# Tones by segment, one reminder a customer, claims on hold ---------------------------------------


def test_the_table_of_tones_by_segment():
    firm = lambda cat: Everybody(cat, "email", "firm")  # noqa: E731
    book = tables({"A": {}, "B": {"customer_type": "business"}, "C": {"product": "loan"},
                   "D": {"product": None}})  # fmt: skip
    free = {"first_contact_gentle": False, "max_tone_step": None}

    def tones(*entries, **more):
        policy = firm(catalogue(**free, tones=entries or None))
        ledger = co.Ledger.from_frames(**book, features=["product"])
        over = Overrides.from_rows([row("A", tone="firm")]) if more else None
        found = policy.decide(ledger, AS_OF, overrides=over).to_arrow()
        return "".join(t[:2] for t in found["tone"].to_pylist())

    book["accounts"][0]["product"] = book["accounts"][1]["product"] = "card"
    assert tones() == "fi" * 4
    consumers = {"highest": "neutral", "customer_type": "consumer"}
    assert tones(consumers) == "nefinene"
    assert tones({"highest": "friendly", "column": "product", "value": "loan"}) == "fififrfr"
    assert tones({**consumers, "min_days_past_due": 7}) == "fifififi"
    assert tones({**consumers, "max_days_past_due": 7}) == "nefinene"
    assert tones(consumers, {"highest": "friendly"}) == "frfrfrfr"
    assert tones(consumers, forced=True) == "fifinene"  # a person may set it aside
    with pytest.raises(InputError, match="colour"):
        tones({"highest": "friendly", "column": "colour", "value": "red"})
    with pytest.raises(CatalogueError, match="rude"):
        catalogue(tones=[{"highest": "rude"}])


def test_one_reminder_a_customer_across_accounts_and_creditors():
    book = tables({"A": {"customer_id": "C1", "creditor_id": "K1"},
                   "B": {"customer_id": "C1", "creditor_id": "K2"},
                   "C": {"customer_id": "C1", "creditor_id": "K2"},
                   "D": {"customer_id": "C2", "creditor_id": "K1"}})  # fmt: skip
    for i, amount in enumerate((40.0, 90.0, 60.0, 10.0)):
        book["invoices"][i]["amount"] = amount

    def reminded(*rows, **house):
        found = decide(*rows, cat=catalogue(**house), book=book)
        return {a for a, r in found.items() if r["channel"] != "none"}, found

    assert reminded()[0] == {"B", "C", "D"}  # two in 7 days, whoever the creditor is
    one, found = reminded(reminders_per_customer=1)
    assert one == {"B", "D"}
    assert "another account of the same customer goes first" in found["A"]["reasons"][0]
    # what a person forces goes first, and what is forced never yields
    assert reminded(row(channel="letter"), reminders_per_customer=1)[0] == {"A", "D"}
    both = [row(a, channel="letter") for a in "AC"]
    assert reminded(*both, reminders_per_customer=1)[0] == {"A", "C", "D"}


def test_a_claim_on_hold_is_left_out_of_an_account_that_is_decided():
    book = tables(holds=[{"account_id": "A", "kind": "dispute", "from_on": "2026-02-01",
                          "invoice_id": "I2"}])  # fmt: skip
    book["invoices"].append({**book["invoices"][0], "invoice_id": "I2", "amount": 500.0})
    ledger, cat = co.Ledger.from_frames(**book), catalogue()
    found = decide(row(channel="letter"), book=book)["A"]
    assert found["channel"] == "letter"
    state = State.of(Snapshot(ledger, AS_OF), cat, Layout.of(cat.actions))
    assert state.open_amount[0] == 50.0
    # the last free claim on hold: nothing may be asked for, not even by force
    book["holds"].append({**book["holds"][0], "invoice_id": "IA"})
    found = decide(row(channel="letter"), book=book)["A"]
    assert found["channel"] == "none"
    assert "PAST_DUE" in found["reasons"][0]


def test_a_misspelt_column_is_told_once():
    rows = [{"account_id": f"A{k}", "knd": "force"} for k in range(7)]
    with pytest.raises(InputError, match="knd in 7 rows") as caught:
        Overrides.from_rows(rows)
    assert len(caught.value.faults) == 1
