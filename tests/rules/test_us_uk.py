"""Rules of the United States and the United Kingdom: each bites, and equals a plain reading."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from collectopt.rules import (
    CallAfterConversation,
    CallFrequency,
    ConsumerHours,
    Layout,
    Rules,
    State,
)
from collectopt.schema import Catalogue, Ledger, Snapshot

MANY = int(os.environ.get("RULES_DECISIONS", "1000000"))
AS_OF = "2026-02-05T06:00-05:00"  # a Thursday in New York
NEW_YORK = {"country": "US", "timezone": "America/New_York"}
LONDON = {"country": "GB", "timezone": "Europe/London"}
KNOWN = {"sms_ok": True, "phone_ok": True, "voice_ok": True}


def catalogue(jurisdiction, **change):
    names = ("email", "sms", "letter", "phone", "voice")
    return Catalogue.from_dict(
        {
            "channels": [{"name": name} for name in names],
            "jurisdiction": jurisdiction,
            "slots": {"hours": [6, 8, 12, 17.5, 20, 21]},
            "cadence_days": 7,
            "house": {"min_contacts_before_agency": 0},
            "agency": {},
            "court": {},
            **change,
        }
    )


class Case:
    """One account A, 20 days past due, and what it may get."""

    def __init__(self, place, as_of=AS_OF, due="2026-01-16", cat=None, invoices=(), **tables):
        self.cat = cat or catalogue("us_regf" if place["country"] == "US" else "uk_conc")
        account = {"account_id": "A", "customer_type": "business", **KNOWN, **place}
        first = {"invoice_id": "I", "account_id": "A", "issued_on": due, "due_on": due}
        ledger = Ledger.from_frames(
            accounts=[account, {**account, "account_id": "B"}],
            invoices=[{**i, "amount": 80.0, "currency": "EUR"} for i in (first, *invoices)],
            **tables,
        )
        layout = Layout.of(self.cat.actions)
        self.state = State.of(Snapshot(ledger, as_of), self.cat, layout)
        rules = Rules.from_catalogue(self.cat)  # the stages have tests of their own
        rules = rules.without([code for code in rules.codes if code.startswith("STAGE")])
        verdict = rules.evaluate(self.state, layout, slice(0, 1))
        self.actions, self.allowed = self.cat.actions, verdict.allowed[0]
        self.refused = dict(zip(rules.codes, verdict.refused[0].tolist(), strict=True))

    def channels(self):
        mine = self.allowed & self.actions.is_contact
        return {self.actions.channels[c] for c in self.actions.channel[mine]}

    def slots(self, channel):
        mine = self.allowed & self.actions.is_contact
        mine &= self.actions.channel == self.actions.channels.index(channel)
        pairs = zip(self.actions.day[mine].tolist(), self.actions.hour[mine].tolist(), strict=True)
        return sorted(set(pairs))

    def days(self, channel):
        return sorted({day for day, _ in self.slots(channel)})

    def kinds(self):
        return set(self.actions.kind[self.allowed].tolist())


def call(number, at, channel="phone"):
    return {
        "contact_id": f"c{number}", "account_id": "A", "sent_at": at, "decided_at": None,
        "channel": channel, "tone": "friendly",
    }  # fmt: skip


def response(kind, at, contact=None, account="A"):
    return {"account_id": account, "at": at, "kind": kind, "contact_id": contact}


def hold(kind, account="A", end=None):
    return {"account_id": account, "kind": kind, "from_on": "2026-01-20", "to_on": end}


YOUNG = {
    "invoice_id": "J", "account_id": "A", "issued_on": "2026-01-01", "due_on": "2026-01-16",
}  # fmt: skip

# Seven calls from Friday 30 January to Wednesday 4 February: the window opens on the 6th.
SEVEN = [
    call(j, f"2026-{day}T15:{j:02d}Z")
    for j, day in enumerate(("01-30", "01-30", "02-01", "02-01", "02-02", "02-03", "02-04"))
]


def test_the_eighth_call_waits():
    assert Case(NEW_YORK).days("phone") == [0, 1, 2, 3, 4, 5, 6]
    assert Case(NEW_YORK, contacts=SEVEN[1:]).days("phone") == [0, 1, 2, 3, 4, 5, 6]
    case = Case(NEW_YORK, contacts=SEVEN)
    assert case.days("phone") == case.days("voice") == [1, 2, 3, 4, 5, 6], "from 6 February on"
    assert case.days("email")[0] == 0, "calls only"
    assert case.refused["CALL_FREQUENCY"] > 0
    eight = Case(NEW_YORK, contacts=[*SEVEN, call(7, "2026-02-05T10:59Z")])
    assert eight.days("phone") == [1, 2, 3, 4, 5, 6], "30 January leaves with two calls"
    letters = Case(NEW_YORK, contacts=[{**c, "channel": "letter"} for c in SEVEN])
    assert letters.days("phone")[0] == 0
    other = Case(NEW_YORK, contacts=[{**c, "account_id": "B"} for c in SEVEN])
    assert other.days("phone")[0] == 0, "another debt"


def test_calls_to_come_count_and_calls_not_known_do_not():
    planned = [{**call(7, "2026-02-07T15:00Z"), "decided_at": "2026-02-05T09:00Z"}]
    six = [*SEVEN[2:], call(8, "2026-02-04T16:00Z")]  # from the 1st on
    assert Case(NEW_YORK, contacts=[*six, *planned]).days("phone") == [3, 4, 5, 6]
    later = [{**planned[0], "decided_at": "2026-02-05T11:00Z"}]
    assert Case(NEW_YORK, contacts=[*six, *later]).days("phone")[0] == 0


def test_a_conversation_is_followed_by_quiet():
    calls = [call(0, "2026-02-03T15:00Z"), call(1, "2026-02-03T15:00Z", "email")]

    def days(*responses):
        return Case(NEW_YORK, contacts=calls, responses=list(responses)).days("phone")

    # 3 February is day 1, 9 February day 7; today is the 5th
    assert days(response("answered", "2026-02-03T15:00Z", "c0")) == [5, 6]
    assert days(response("promised", "2026-02-03T15:00Z", "c0")) == [5, 6]
    assert days(response("answered", "2026-02-03T15:00Z")) == [5, 6], "not known of what: a call"
    assert days(response("answered", "2026-02-03T15:00Z", "c1"))[0] == 0, "an e-mail"
    assert days(response("delivered", "2026-02-03T15:00Z", "c0"))[0] == 0, "nobody spoke"
    assert days(response("answered", "2026-02-05T11:00Z", "c0"))[0] == 0, "not known before"
    # at 3:00 UTC it is still the day before in New York
    assert days(response("answered", "2026-02-03T03:00Z", "c0")) == [4, 5, 6]


def test_consumer_hours():
    case = Case(NEW_YORK)
    for channel in ("email", "sms", "letter", "phone"):
        assert {hour for _, hour in case.slots(channel)} == {8.0, 12.0, 17.5, 20.0}
    assert case.refused["CONSUMER_HOURS"] > 0
    # no time zone: New York's clock by default; 12:00 there is 7:00 in Honolulu
    nowhere = {**NEW_YORK, "timezone": None}
    ledger_zone = Case(nowhere, as_of="2026-02-05T06:00+00:00")
    local = {hour for _, hour in ledger_zone.slots("email")}
    assert local == {20.0}, "in UTC: 15:00 in New York, 10:00 in Honolulu"


def test_calls_and_texts_need_known_consent():
    for value in (None, False):
        case = Case({**NEW_YORK, "phone_ok": value, "sms_ok": value, "voice_ok": value})
        assert case.channels() == {"email", "letter"}
        assert case.refused["EXPRESS_CONSENT"] > 0
    account = {"account_id": "A", "customer_type": "business", **NEW_YORK}
    claim = {
        "invoice_id": "I", "account_id": "A", "issued_on": "2026-01-16", "due_on": "2026-01-16",
        "amount": 80.0, "currency": "EUR",
    }  # fmt: skip
    cat = catalogue("us_regf")
    layout = Layout.of(cat.actions)
    snapshot = Snapshot(Ledger.from_frames(accounts=[account], invoices=[claim]), AS_OF)
    rules, state = Rules.from_catalogue(cat), State.of(snapshot, cat, layout)
    allowed = rules.evaluate(state, layout, slice(0, 1)).allowed[0]
    assert not allowed[np.isin(cat.actions.channel, (1, 3, 4))].any(), "a book without consent"
    assert allowed[cat.actions.channel == 0].any()


@pytest.mark.parametrize("place", [NEW_YORK, LONDON])
def test_opt_outs_bind_in_both(place):
    calls = [call(0, "2026-01-20T15:00Z", "sms")]
    out = response("opted_out", "2026-01-21T10:00Z", "c0")
    case = Case(place, contacts=calls, responses=[out])
    assert case.channels() == {"email", "letter", "phone", "voice"}
    assert Case(place, responses=[{**out, "contact_id": None}]).channels() == set()
    assert Case(place, holds=[hold("do_not_contact")]).kinds() <= {0, 4, 3}


@pytest.mark.parametrize("place", [NEW_YORK, LONDON])
def test_a_dispute_stops_until_it_is_resolved(place):
    disputed = response("disputed", "2026-01-20T10:00Z", "c0")
    case = Case(place, contacts=[call(0, "2026-01-20T09:00Z", "email")], responses=[disputed])
    assert np.flatnonzero(case.allowed).tolist() == [0, len(case.actions) - 1], "wait and stop"
    assert case.refused["DISPUTED"] == len(case.actions) - 2
    resolved = response("dispute_resolved", "2026-01-28T10:00Z")
    assert Case(place, responses=[{**disputed, "contact_id": None}, resolved]).channels()
    again = response("disputed", "2026-01-29T10:00Z")
    assert not Case(place, responses=[disputed | {"contact_id": None}, resolved, again]).channels()
    future = response("disputed", "2026-02-05T11:00Z")
    assert Case(place, responses=[future]).channels(), "not known before"


def test_old_claims_go_to_no_court():
    def court(due, **change):
        case = Case(NEW_YORK, due=due, cat=catalogue("us_regf", **change))
        return bool(case.allowed[case.actions.kind == 3].any()), case

    assert court("2023-02-07")[0], "1094 days"
    barred, case = court("2023-02-06")
    assert not barred, "3 x 365 days"
    assert case.refused["COURT_TIME_BARRED"] == 1
    assert case.channels(), "asking is not suing"
    assert case.allowed[case.actions.kind == 2].any()


def test_statute_barred_accounts_are_left_alone():
    assert Case(LONDON, due="2021-02-07").channels()
    old = Case(LONDON, due="2021-02-06")
    assert not old.channels()
    assert old.refused["TIME_BARRED"] > 0
    assert not Case(LONDON, due="2021-02-06", invoices=[YOUNG]).channels()
    held = {**hold("dispute"), "invoice_id": "I"}
    assert Case(LONDON, due="2021-02-06", invoices=[YOUNG], holds=[held]).channels()


def test_reasonable_hours():
    case = Case(LONDON, as_of="2026-04-30T05:00+01:00")  # Thursday; Monday 4 May is a bank holiday
    assert {hour for _, hour in case.slots("phone")} == {8.0, 12.0, 17.5}
    assert case.days("phone") == case.days("voice") == [0, 1, 2, 5, 6]
    assert {hour for _, hour in case.slots("sms")} == {8.0, 12.0, 17.5}
    assert case.days("sms") == [0, 1, 2, 3, 4, 5, 6]
    assert {hour for _, hour in case.slots("letter")} == {6.0, 8.0, 12.0, 17.5, 20.0, 21.0}
    assert case.refused["REASONABLE_HOURS"] > 0
    # no time zone: UTC by default, and London an hour ahead in summer; 17:30 and 8:00 still do
    nowhere = Case({**LONDON, "timezone": None}, as_of="2026-07-01T05:00+01:00",
                   cat=catalogue("uk_conc", slots={"hours": [7, 8, 19, 19.5]}))  # fmt: skip
    assert {hour for _, hour in nowhere.slots("sms")} == {8.0}


@pytest.mark.parametrize("kind", ["breathing_space", "vulnerable"])
def test_holds_of_the_person_bind_in_the_united_kingdom(kind):
    same = {**LONDON, "customer_id": "C"}
    assert not Case(same, holds=[hold(kind, account="B")]).channels()
    assert not Case(same, holds=[hold(kind)]).kinds() & {1, 2}
    assert Case(same, holds=[hold(kind, end="2026-02-05")]).channels()
    assert not Case(same, holds=[hold(kind, end="2026-02-06")]).channels()


def test_distress_binds_in_the_united_kingdom():
    held = {**hold("vulnerable"), "invoice_id": "J"}
    cat = catalogue("uk_conc", house={"first_contact_gentle": False, "max_tone_step": None})
    case = Case(LONDON, cat=cat, invoices=[YOUNG], holds=[held])
    mine = case.allowed & case.actions.is_contact
    assert set(case.actions.tone[mine].tolist()) == {0}
    assert case.refused["DISTRESS"] > 0
    assert not case.kinds() & {2, 3}


def test_approval_is_a_rule_of_europe_and_the_united_kingdom():
    consumer = {"customer_type": "consumer"}
    assert Case({**NEW_YORK, **consumer}).kinds() >= {2, 3}
    assert not Case({**LONDON, **consumer}).kinds() & {2, 3}


def test_facts_that_nobody_asked_for_are_taken_strictly():
    for jurisdiction, codes in (
        (
            "us_regf",
            {
                "CALL_FREQUENCY",
                "CALL_AFTER_CONVERSATION",
                "CONSUMER_HOURS",
                "DISPUTED",
                "STAGE_UNDISPUTED",
            },
        ),
        ("uk_conc", {"DISPUTED", "STAGE_UNDISPUTED"}),
    ):
        place = NEW_YORK if jurisdiction == "us_regf" else LONDON
        case, cat = Case(place), catalogue(jurisdiction)
        blind = replace(
            case.state, call_days=None, conversation_day=None, disputed=None, zone_unknown=None
        )
        layout, rules = Layout.of(cat.actions), Rules.from_catalogue(cat)
        before = rules.evaluate(case.state, layout, slice(0, 1)).refused[0]
        after = rules.evaluate(blind, layout, slice(0, 1)).refused[0]
        assert codes == {c for c, a, b in zip(rules.codes, before, after, strict=True) if b > a}


# Random books against a plain reading ---------------------------------------------------------

ZONES = ("America/New_York", "America/Los_Angeles", "Pacific/Honolulu", "Europe/London", None)
DAYS = (date(2026, 3, 7), date(2026, 10, 31), date(2026, 6, 10), date(2026, 12, 23))


class Book:
    """Random accounts in plain lists, with many calls and reactions."""

    def __init__(self, seed, n=40):
        rng = np.random.default_rng(seed)
        day = DAYS[seed % len(DAYS)]
        self.as_of = datetime(day.year, day.month, day.day, int(rng.integers(24)), tzinfo=UTC)
        self.accounts, self.invoices, self.contacts, self.responses = [], [], [], []
        for i in range(n):
            a = f"{i:03d}"
            oks = {f"{c}_ok": [True, True, False, None][rng.integers(4)] for c in ("sms", "phone")}
            zone = ZONES[rng.integers(len(ZONES))]
            self.accounts.append({"account_id": a, "customer_type": "business", "country": "US",
                                  "timezone": zone, **oks})  # fmt: skip
            due = day - timedelta(days=int(rng.choice([5, 40, 1094, 1095, 1824, 1825, 1826])))
            self.invoices.append({"invoice_id": a, "account_id": a, "issued_on": due,
                                  "due_on": due, "amount": 50.0, "currency": "USD"})  # fmt: skip
            for j in range(rng.integers(0, 14)):
                sent = self.as_of + timedelta(hours=float(rng.uniform(-200, 60)))
                decided = min(self.as_of + timedelta(hours=float(rng.choice([-4, 4]))), sent)
                self.contacts.append(
                    {"contact_id": f"{a}c{j}", "account_id": a, "sent_at": sent,
                     "decided_at": decided if sent >= self.as_of else None,
                     "channel": str(rng.choice(["phone", "phone", "voice", "email"])),
                     "tone": "friendly"}
                )  # fmt: skip
                if rng.random() < 0.12:
                    kind = str(rng.choice(["answered", "promised", "delivered", "disputed",
                                           "dispute_resolved", "clicked"]))  # fmt: skip
                    source = f"{a}c{j}" if rng.random() < 0.8 and sent < self.as_of else None
                    at = max(sent, self.as_of - timedelta(hours=200))
                    self.responses.append(response(kind, at, source, a))

    def zone(self, a):
        return ZoneInfo(a["timezone"] or "UTC")

    def ledger(self):
        tables = {"contacts": self.contacts, "responses": self.responses}
        return Ledger.from_frames(accounts=self.accounts, invoices=self.invoices,
                                  **{k: v for k, v in tables.items() if v})  # fmt: skip

    def calls(self, a):
        """Local days of the calls known."""
        return [
            c["sent_at"].astimezone(self.zone(a)).date()
            for c in self.contacts
            if c["account_id"] == a["account_id"]
            and c["channel"] in {"phone", "voice"}
            and (c["decided_at"] or c["sent_at"]) < self.as_of
        ]

    def reactions(self, a):
        mine = [r for r in self.responses if r["account_id"] == a["account_id"]]
        return sorted((r for r in mine if r["at"] < self.as_of), key=lambda r: r["at"])

    def breaks(self, a, channel, send):
        """Codes of the rules that a contact breaks, from the text of the rules."""
        local = send.astimezone(self.zone(a))
        hour = local.hour + local.minute / 60
        broken = set()
        if channel in {"phone", "voice"}:
            days = [*self.calls(a), local.date()]
            for start in {local.date() - timedelta(days=d) for d in range(7)}:
                if sum(0 <= (d - start).days < 7 for d in days) > 7:
                    broken.add("CALL_FREQUENCY")
            channel_of = {c["contact_id"]: c["channel"] for c in self.contacts}
            for r in self.reactions(a):
                spoke = r["kind"] in {"answered", "promised", "disputed"}
                talked = channel_of.get(r["contact_id"], "phone") in {"phone", "voice"}
                day_1 = r["at"].astimezone(self.zone(a)).date()
                if spoke and talked and (local.date() - day_1).days + 1 <= 7:
                    broken.add("CALL_AFTER_CONVERSATION")
        zones = [a["timezone"]] if a["timezone"] else ["America/New_York", "America/Denver",
                                                       "Pacific/Honolulu"]  # fmt: skip
        there = [local, *(send.astimezone(ZoneInfo(z)) for z in zones)]
        if any(not 8 <= t.hour < 21 for t in there):
            broken.add("CONSUMER_HOURS")
        if channel in {"phone", "voice", "sms"} and a.get(f"{channel}_ok") is not True:
            broken.add("EXPRESS_CONSENT")
        broken |= self.in_both(a)
        london = send.astimezone(ZoneInfo("Europe/London"))
        hours = [hour] if a["timezone"] else [hour, london.hour + london.minute / 60]
        odd = any(not 8 <= h < 20 for h in hours)
        shut = local.weekday() == 6 or (local.month, local.day) in {(12, 25), (12, 26), (12, 28)}
        if (channel in {"phone", "voice"} and (odd or shut)) or (channel == "sms" and odd):
            broken.add("REASONABLE_HOURS")
        return broken

    def in_both(self, a):
        kinds = [r["kind"] for r in self.reactions(a) if "disput" in r["kind"]]
        broken = {"DISPUTED"} if kinds and kinds[-1] == "disputed" else set()
        due = next(i["due_on"] for i in self.invoices if i["account_id"] == a["account_id"])
        if (self.as_of.astimezone(self.zone(a)).date() - due).days >= 5 * 365:
            broken.add("TIME_BARRED")
        return broken


def judge(rules, book, jurisdiction):
    """Say for every account, contact and rule whether it is refused; and as a plain reader says."""
    cat = catalogue(jurisdiction, slots={"hours": [6, 8, 13, 18, 20.5, 21]}, cadence_days=4)
    layout = Layout.of(cat.actions)
    state = State.of(Snapshot(book.ledger(), book.as_of), cat, layout)
    ours = {p.code: p.refuse(state, layout, slice(0, 40)) for p in rules(cat)}
    units = {p.code: p.unit for p in rules(cat)}
    seen = set()
    for k in np.flatnonzero(cat.actions.is_contact & (cat.actions.tone == 0)):
        column = {code: layout.index[unit][k] for code, unit in units.items()}
        slot = layout.slots.index((int(cat.actions.day[k]), float(cat.actions.hour[k])))
        for i, account in enumerate(book.accounts):
            micros = int(state.send_at[state.clock[i], slot])
            send = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
            broken = book.breaks(account, cat.actions.channels[cat.actions.channel[k]], send)
            for code in units:
                assert ours[code][i, column[code]] == (code in broken), (code, account, send)
                seen.add((code, code in broken))
    return seen


NEW = ("CALL_FREQUENCY", "CALL_AFTER_CONVERSATION", "CONSUMER_HOURS", "EXPRESS_CONSENT",
       "DISPUTED", "REASONABLE_HOURS", "TIME_BARRED")  # fmt: skip


def new_rules(cat):
    return [p for p in Rules.from_catalogue(cat).permissions if p.code in NEW]


def test_random_books_are_judged_as_a_plain_reader_does():
    seen = set()
    for seed in range(6):
        for jurisdiction in ("us_regf", "uk_conc"):
            seen |= judge(new_rules, Book(seed), jurisdiction)
    assert seen == {(code, broken) for code in NEW for broken in (True, False)}, "all bite"


@pytest.mark.slow
def test_random_books_are_judged_as_a_plain_reader_does_many_times():
    each, seed = 40 * 5 * 24, 0  # accounts, channels, slots
    while 2 * each * seed < MANY:
        for jurisdiction in ("us_regf", "uk_conc"):
            judge(new_rules, Book(seed), jurisdiction)
        seed += 1
    print(f"{2 * each * seed:,} contacts judged in {seed} books: no difference")


WRONG = (CallFrequency(("phone",), 8, 7), CallFrequency(("phone",), 7, 6),
         CallAfterConversation(("phone",), 6), ConsumerHours(8, 20))  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_the_plain_reader_sees_a_wrong_number(wrong):
    def rules(cat):
        named = not isinstance(wrong, ConsumerHours)
        return [replace(wrong, channels=cat.channel_names) if named else wrong]

    def all_books():
        for seed in range(6):
            judge(rules, Book(seed), "us_regf")

    with pytest.raises(AssertionError):
        all_books()
