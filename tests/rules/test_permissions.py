"""Each rule by a book of one or two accounts: it bites where it must, and only there."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest

from collectopt.exceptions import CatalogueError, InputError
from collectopt.rules import Hold, Layout, PastDue, Rules, State
from collectopt.rules.calendar import easter, german_holidays, state_holidays
from collectopt.rules.dates import Land
from collectopt.rules.permissions import HOLDS
from collectopt.rules.state import slot_instant
from collectopt.schema import Catalogue, Ledger, Snapshot
from collectopt.schema.tables import HOLD_KINDS

AS_OF = "2026-02-05T06:00+01:00"  # a Thursday


def catalogue(**change):
    base = {
        "channels": [
            {"name": "email"},
            {"name": "sms"},
            {"name": "letter", "weekdays": [0, 1, 2, 3, 4]},
            {"name": "phone", "minutes": 6, "hours": [9, 20]},
        ],
        "cadence_days": 7,
        "slots": {"hours": [4, 8, 12]},
        "limits": {"contacts_per_7_days": 1},
        "house": {"min_contacts_before_agency": 1},
        "agency": {},
        "timezone": "Europe/Berlin",
    }
    return Catalogue.from_dict({**base, **change})


def test_parts_of_a_verdict():
    cat = catalogue()
    person = {"customer_type": "business", "country": "DE", "timezone": "Europe/Berlin"}
    accounts = [{"account_id": a, **person, "email_ok": a != "A"} for a in "ABC"]
    claims = [{**invoice("I", "2026-01-16"), "invoice_id": f"I{a}", "account_id": a} for a in "ABC"]
    held = [{"account_id": "B", "kind": "dispute", "from_on": date(2026, 1, 20)}]
    layout = Layout.of(cat.actions)
    snapshot = Snapshot(Ledger.from_frames(accounts=accounts, invoices=claims, holds=held), AS_OF)
    rules = Rules.from_catalogue(cat)
    verdict = rules.evaluate(State.of(snapshot, cat, layout), layout, slice(0, 3))
    rows, columns = np.array([2, 0]), np.arange(0, len(cat.actions), 3)
    assert (verdict.permitted(rows, columns) == verdict.allowed[np.ix_(rows, columns)]).all()
    one_by_one = np.array([verdict.allowed_to(i) for i in range(3)])
    assert (verdict.allowed == one_by_one).all()
    assert verdict.bound.tolist() == [False, True, False]
    assert len(np.unique(one_by_one, axis=0)) == 3


class Case:
    """One account A, 20 days past due; more by keyword."""

    def __init__(self, rules=None, cat=None, as_of=AS_OF, account=None, invoices=(), **tables):
        cat = cat or catalogue()
        person = {"customer_type": "business", "country": "DE", "timezone": "Europe/Berlin"}
        self.ledger = Ledger.from_frames(
            accounts=[
                {"account_id": "A", **person, **(account or {})},
                {"account_id": "B", **person, **(account or {})},
            ],
            invoices=[invoice("I1", "2026-01-16"), *invoices],
            **tables,
        )
        layout = Layout.of(cat.actions)
        self.state = State.of(Snapshot(self.ledger, as_of), cat, layout)
        self.rules = rules or Rules.from_catalogue(cat)
        verdict = self.rules.evaluate(self.state, layout, slice(0, 1))
        self.actions, self.allowed = cat.actions, verdict.allowed[0]
        self.refused = dict(zip(self.rules.codes, verdict.refused[0].tolist(), strict=True))

    def channels(self):
        mine = self.allowed & self.actions.is_contact
        return {self.actions.channels[c] for c in self.actions.channel[mine]}

    def tones(self):
        mine = self.allowed & self.actions.is_contact
        return {self.actions.tones[t] for t in self.actions.tone[mine]}

    def slots(self, channel):
        mine = self.allowed & self.actions.is_contact
        mine &= self.actions.channel == self.actions.channels.index(channel)
        pairs = zip(self.actions.day[mine].tolist(), self.actions.hour[mine].tolist(), strict=True)
        return sorted(set(pairs))


def invoice(number, due, account="A", issued="2026-01-02"):
    return {
        "invoice_id": number,
        "account_id": account,
        "issued_on": issued,
        "due_on": due,
        "amount": 80.0,
        "currency": "EUR",
    }


def contact(number, at, channel="email", tone="friendly", **more):
    row = {"contact_id": number, "account_id": "A", "sent_at": at, "channel": channel, "tone": tone}
    return {"decided_at": None, **row, **more}


def hold(kind, start="2026-01-20", end=None, invoice_id=None, account="A"):
    return {
        "account_id": account, "kind": kind, "from_on": start, "to_on": end,
        "invoice_id": invoice_id,
    }  # fmt: skip


def test_a_plain_account_may_be_contacted():
    case = Case()
    assert case.channels() == {"email", "sms", "letter", "phone"}
    assert case.allowed[0]
    assert case.state.open_amount.tolist() == [80.0]
    assert case.state.days_past_due.tolist() == [20]


@pytest.mark.parametrize("kind", HOLD_KINDS)
def test_a_hold_on_the_account_stops_everything(kind):
    case = Case(holds=[hold(kind)])
    assert not case.allowed[case.actions.is_contact].any()
    assert np.flatnonzero(case.allowed).tolist() == [0, len(case.actions) - 1], "wait and stop"
    assert case.refused[f"HOLD_{kind.upper()}"] == len(case.actions) - 2


def test_every_kind_of_hold_has_its_words():
    assert set(HOLDS) == set(HOLD_KINDS)
    assert all(Hold(kind).source and Hold(kind).reason for kind in HOLDS)


@pytest.mark.parametrize(
    ("kind", "response"),
    [("payment_plan", "plan_broken"), ("dispute", "dispute_resolved")],
)
def test_holds_end_by_date_or_response(kind, response):
    assert Case(holds=[hold(kind, end="2026-02-05")]).channels(), "the day is the first free one"
    assert not Case(holds=[hold(kind, end="2026-02-06")]).channels()
    ended = {"account_id": "A", "at": "2026-02-01T10:00Z", "kind": response}
    assert Case(holds=[hold(kind)], responses=[ended]).channels()


def test_a_hold_on_a_claim_takes_the_claim_away():
    more = [invoice("I2", "2026-01-30")]
    case = Case(holds=[hold("dispute", invoice_id="I1")], invoices=more)
    assert case.channels()
    assert case.state.open_amount.tolist() == [80.0]
    assert case.state.days_past_due.tolist() == [6]
    alone = Case(holds=[hold("dispute", invoice_id="I1")])
    assert not alone.channels()
    assert alone.refused["PAST_DUE"] > 0
    assert alone.refused["HOLD_DISPUTE"] == 0


DISPUTED = {"account_id": "A", "at": "2026-02-02T10:00Z", "kind": "disputed"}


@pytest.mark.parametrize(
    ("kind", "ends"),
    [("disputed", "dispute_resolved"), ("promised", "promise_broken"),
     ("plan_accepted", "plan_broken")],
)  # fmt: skip
def test_what_a_customer_said_holds_until_it_is_over(kind, ends):
    here, said = catalogue(jurisdiction="de"), {**DISPUTED, "kind": kind}
    stopped = Case(cat=here, responses=[said])
    assert not stopped.channels()
    assert sum(stopped.refused[code] > 0 for code in stopped.refused if "SAID" in code) == 1
    over = {**said, "at": "2026-02-03T10:00Z", "kind": ends}
    assert Case(cat=here, responses=[said, over]).channels()
    later = {**said, "at": "2026-02-05T05:00Z"}
    assert Case(cat=here, responses=[later]).channels(), "not known before it is said"
    assert Case(responses=[said]).channels(), "house rules go by holds"
    paid = {"payment_id": "P", "account_id": "A", "paid_at": "2026-02-03T10:00Z", "amount": 80.0,
            "invoice_id": "I1"}  # fmt: skip
    newer = invoice("I2", "2026-02-04", issued="2026-02-03")
    assert Case(cat=here, responses=[said], payments=[paid], invoices=[newer]).channels()


def test_a_recorded_hold_takes_the_place_of_what_was_said():
    here, more = catalogue(jurisdiction="de"), [invoice("I2", "2026-01-30")]
    held = hold("dispute", start="2026-02-02", invoice_id="I1")
    case = Case(cat=here, responses=[DISPUTED], holds=[held], invoices=more)
    assert case.channels(), "the dispute is about one of the claims"
    older = hold("dispute", start="2026-01-31", invoice_id="I1")
    assert not Case(cat=here, responses=[DISPUTED], holds=[older], invoices=more).channels()


def test_a_promise_holds_until_its_day_is_over():
    here = catalogue(jurisdiction="de")
    promise = {**DISPUTED, "kind": "promised", "at": "2026-01-20T10:00Z"}
    assert Case(cat=here, responses=[promise]).channels(), "14 days are over"
    for day, stands in (("2026-02-05", True), ("2026-02-04", False)):
        case = Case(cat=here, responses=[{**promise, "due_on": day}])
        assert bool(case.channels()) != stands


def test_of_two_promises_at_once_the_later_day_holds():
    promise = {**DISPUTED, "kind": "promised", "at": "2026-01-20T10:00Z"}
    both = [{**promise, "due_on": day} for day in ("2026-02-01", "2026-02-20")]
    for said in (both, both[::-1]):
        assert not Case(cat=catalogue(jurisdiction="de"), responses=said).channels()


def test_holds_on_the_person_bind_all_accounts_of_the_customer():
    same = {"customer_id": "C"}
    assert not Case(account=same, holds=[hold("insolvency", account="B")]).channels()
    assert Case(account=same, holds=[hold("dispute", account="B")]).channels()
    assert Case(holds=[hold("insolvency", account="B")]).channels()


@pytest.mark.parametrize(
    ("as_of", "allowed"),
    [("2026-01-16T23:59+01:00", False), ("2026-01-17T00:00+01:00", True)],
)
def test_past_due_from_the_next_local_day_on(as_of, allowed):
    assert bool(Case(as_of=as_of).channels()) == allowed


def test_before_the_due_date_only_where_the_catalogue_says_so():
    early = catalogue(limits={"pre_due_days": 3})
    assert Case(cat=early, as_of="2026-01-13T06:00+01:00").channels()
    case = Case(cat=early, as_of="2026-01-12T06:00+01:00")
    assert not case.channels()
    assert case.refused["PRE_DUE"] > 0
    assert "within 3 days" in PastDue(3).reason
    soon = Case(cat=early, as_of="2026-01-13T06:00+01:00")
    assert not soon.allowed[soon.actions.kind == 2].any(), "no agency before the due date"


@pytest.mark.parametrize(("given", "channels"), [(True, True), (False, False)])
def test_consent(given, channels):
    case = Case(account={"email_ok": given})
    assert ("email" in case.channels()) == channels
    assert "letter" in case.channels()


def test_unknown_consent_is_strict_for_calls_and_short_messages():
    case = Case(account={"email_ok": None, "sms_ok": None, "phone_ok": None})
    assert case.channels() == {"email", "letter"}
    assert case.refused["CONSENT"] == 7 * 3 * 3 + 7 * 1 * 3, "phone has one slot a day"


def test_an_opt_out_bans_the_channel_for_the_customer():
    contacts = [contact("c1", "2026-01-20T10:00Z")]
    out = {"account_id": "A", "at": "2026-01-21T10:00Z", "kind": "opted_out", "contact_id": "c1"}
    assert Case(contacts=contacts, responses=[out]).channels() == {"sms", "letter", "phone"}
    nameless = {**out, "contact_id": None}
    assert not Case(contacts=contacts, responses=[nameless]).channels()
    late = {**out, "at": "2026-02-05T05:00:00Z"}
    assert "email" in Case(contacts=contacts, responses=[late]).channels(), "not known before"


def test_a_bounce_bans_the_channel_until_something_arrives():
    contacts = [contact("c1", "2026-01-20T10:00Z"), contact("c2", "2026-01-28T10:00Z")]
    bounce = {"account_id": "A", "at": "2026-01-20T11:00Z", "kind": "bounced", "contact_id": "c1"}
    assert "email" not in Case(contacts=contacts, responses=[bounce]).channels()
    arrived = {**bounce, "at": "2026-01-28T11:00Z", "kind": "delivered", "contact_id": "c2"}
    assert "email" in Case(contacts=contacts, responses=[bounce, arrived]).channels()


def test_hours_weekdays_and_the_past():
    case = Case(as_of="2026-02-05T08:00+01:00")
    assert case.slots("email")[0] == (0, 12.0), "8:00 is not after 8:00"
    assert {day for day, _ in case.slots("letter")} == {0, 1, 4, 5, 6}, "no weekend"
    assert {hour for _, hour in case.slots("phone")} == {12.0}
    assert case.refused["SLOT_PAST"] == 2 * 3 * 3
    assert case.refused["HOURS"] > 0


def test_local_time_of_the_account():
    case = Case(account={"timezone": "America/New_York"}, as_of="2026-02-05T15:00+00:00")
    assert case.slots("email")[0] == (0, 12.0), "it is ten there"


def test_the_night_the_clock_changes():
    berlin = ZoneInfo("Europe/Berlin")
    assert slot_instant(date(2026, 3, 29), 2.0, berlin) is None
    assert slot_instant(date(2026, 3, 29), 3.0, berlin).hour == 1
    first = slot_instant(date(2026, 10, 25), 2.0, berlin)
    assert (first.hour, first.minute) == (0, 0)
    cat = catalogue(slots={"hours": [2.5, 12]}, cadence_days=2)
    case = Case(cat=cat, as_of="2026-03-28T06:00+01:00")
    assert case.slots("email") == [(0, 12.0), (1, 12.0)]
    noon = [case.state.send_at[0, s] for s in (1, 3)]
    assert noon[1] - noon[0] == 23 * 3_600_000_000
    autumn = Case(cat=cat, as_of="2026-10-24T06:00+02:00")
    assert autumn.slots("email") == [(0, 12.0), (1, 2.5), (1, 12.0)]


def test_contact_cap_counts_seven_times_24_hours():
    contacts = [contact("c1", "2026-01-30T11:00Z", channel="letter")]
    case = Case(contacts=contacts)  # slots: Thu 5 Feb and on; the letter went Fri 30 Jan 12:00
    assert case.slots("email")[0] == (1, 12.0), "exactly 168 hours later is free"
    assert Case(contacts=[contact("c1", "2026-01-29T02:59Z")]).slots("email")[0] == (0, 8.0)


def test_contact_cap_counts_what_is_chosen_and_not_yet_sent():
    planned = contact("c1", "2026-02-07T11:00Z", decided_at="2026-02-04T10:00Z")
    assert Case(contacts=[planned]).channels() == set(), "every slot is within 7 days of it"
    unknown = contact("c1", "2026-02-07T11:00Z", decided_at="2026-02-05T10:00Z")
    assert Case(contacts=[unknown]).channels(), "decided later: not known"


def test_contact_cap_counts_over_the_accounts_of_a_customer():
    other = {**contact("c1", "2026-02-04T11:00Z"), "account_id": "B"}
    assert Case(contacts=[other]).slots("email")[0][0] == 0
    shared = Case(account={"customer_id": "C"}, contacts=[other])
    assert shared.slots("email") == [(6, 12.0)], "168 hours after the contact of the other account"


@pytest.mark.parametrize("cap", [0, 2])
def test_contact_cap_of_none_and_two(cap):
    cat = catalogue(limits={"contacts_per_7_days": cap})
    contacts = [contact("c1", "2026-02-03T11:00Z"), contact("c2", "2026-02-04T11:00Z")]
    case = Case(cat=cat, contacts=contacts)
    assert bool(case.channels()) == (cap == 2)
    if cap == 2:
        assert case.slots("email")[0] == (5, 12.0), "168 hours after the first of the two"


def test_waits_are_no_contacts():
    waited = contact("c1", "2026-02-04T11:00Z", channel="none", tone=None)
    case = Case(contacts=[waited])
    assert case.slots("email")[0] == (0, 8.0)
    assert case.tones() == {"friendly"}


def test_the_first_contact_is_gentle_and_the_tone_rises_by_steps():
    assert Case().tones() == {"friendly"}
    one = [contact("c1", "2026-01-20T10:00Z")]
    assert Case(contacts=one).tones() == {"friendly", "neutral"}
    two = [*one, contact("c2", "2026-01-27T10:00Z", tone="neutral")]
    assert Case(contacts=two).tones() == {"friendly", "neutral", "firm"}
    toneless = [*two, contact("c3", "2026-01-28T10:00Z", tone=None)]
    assert Case(contacts=toneless).tones() == {"friendly", "neutral"}
    loose = catalogue(house={"first_contact_gentle": False, "max_tone_step": 2})
    assert Case(cat=loose).tones() == {"friendly", "neutral", "firm"}


def test_a_new_oldest_claim_starts_gently_again():
    before_due = [contact("c1", "2026-01-10T10:00Z", tone="firm")]
    case = Case(contacts=before_due)
    assert case.tones() == {"friendly"}
    assert case.state.own_contacts.tolist() == [0]


def test_agency_needs_own_contacts_and_approval_for_consumers():
    def agency(case):
        return bool(case.allowed[case.actions.kind == 2].all())

    contacts = [contact("c1", "2026-01-20T10:00Z")]
    assert not agency(Case())
    assert Case().refused["MIN_OWN_CONTACTS"] == 1
    assert agency(Case(contacts=contacts))
    consumer = {"customer_type": "consumer"}
    told = [
        contact("c1", "2026-01-18T10:00Z", tone="neutral"),
        contact("c2", "2026-01-20T10:00Z", tone="firm"),
    ]
    assert agency(Case(account=consumer, contacts=told))
    strict = catalogue(jurisdiction="eu")
    assert agency(Case(cat=strict, contacts=contacts))
    assert not agency(Case(cat=strict, account=consumer, contacts=told))
    assert "MIN_OWN_CONTACTS" not in Rules.from_catalogue(Catalogue.default()).codes


def test_quiet_hours_in_germany():
    cat = catalogue(jurisdiction="de", slots={"hours": [4, 8, 12, 17]})
    case = Case(cat=cat)
    calls = case.slots("phone")
    assert (2, 12.0) in calls, "Saturday noon"
    assert (2, 17.0) not in calls, "Saturday evening"
    assert not [slot for slot in calls if slot[0] == 3], "Sunday"
    assert not [slot for slot in case.slots("sms") if slot[1] == 4.0]
    assert [slot for slot in case.slots("email") if slot[1] == 4.0]
    holiday = Case(cat=cat, as_of="2026-04-02T06:00+02:00")
    assert not [slot for slot in holiday.slots("phone") if slot[0] in {1, 3, 4}], "Easter"


def test_holidays_are_those_of_the_state():
    cat = catalogue(jurisdiction="de", slots={"hours": [12]})

    def corpus_christi(region):
        case = Case(cat=cat, as_of="2026-06-03T06:00+02:00", account={"region": region})
        return (1, 12.0) not in case.slots("phone")

    assert [corpus_christi(r) for r in ("NW", "DE-NW", "Nordrhein-Westfalen")] == [True] * 3
    assert [corpus_christi(r) for r in ("BE", "Berlin", "de-be")] == [False] * 3
    assert [corpus_christi(r) for r in (None, "Mitte")] == [True] * 2, "the strict side"


@pytest.mark.parametrize("state", [land.value for land in Land])
def test_holidays_of_states_equal_those_of_the_package(state):
    for year in range(2023, 2036):
        theirs = set(holidays.Germany(subdiv=state, years=year))
        municipal = {date(year, 8, 15)} if state == "BY" else set()
        assert state_holidays(year, state) == theirs | municipal
    assert all(state_holidays(2026, state) <= state_holidays(2026, None) for state in Land)


def test_easter_and_holidays():
    known = {2000: (4, 23), 2019: (4, 21), 2024: (3, 31), 2025: (4, 20), 2038: (4, 25)}
    assert {y: (easter(y).month, easter(y).day) for y in known} == known
    assert len(german_holidays(2026)) == 9
    assert date(2026, 5, 14) in german_holidays(2026)


def test_unknown_jurisdiction_is_refused():
    with pytest.raises(CatalogueError, match="one of none, de, eu"):
        Rules.from_catalogue(catalogue(jurisdiction="xx"))


def test_rules_are_unique_printable_and_can_be_left_out():
    with pytest.raises(InputError, match="PAST_DUE"):
        Rules((PastDue(), PastDue()))
    rules = Rules.from_catalogue(catalogue())
    assert "HOURS" not in rules.without(["HOURS"]).codes
    with pytest.raises(InputError, match="NOPE"):
        rules.without(["NOPE"])
    assert repr(Rules((Hold("court"), PastDue(2)))) == (
        "Rules(permissions=(Hold(kind='court'), PastDue(pre_due_days=2)))"
    )
    for permission in rules.permissions:
        assert permission.code
        assert permission.source
        assert permission.reason


def test_one_time_for_all_rows():
    case = Case()
    rows = [{"account_id": "A", "as_of": f"2026-02-0{d}T05:00Z"} for d in (3, 4)]
    with pytest.raises(InputError, match="one time for all rows"):
        State.of(Snapshot.from_rows(case.ledger, rows), catalogue(), Layout.of(case.actions))
