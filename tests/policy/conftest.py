"""Small random books, stub models and a plain checker of decisions, shared by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest

from collectopt.schema import ActionKind, Catalogue, Forecast, Ledger

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "UTC")
HOLDS = ("dispute", "promise", "payment_plan", "insolvency", "vulnerable", "agency", "service")
SAID = (
    "disputed",
    "dispute_resolved",
    "promised",
    "promise_broken",
    "plan_accepted",
    "plan_broken",
)
REGIONS = ("", "BY", "Berlin", "DE-NW", "Nirgendwo")
PERSONAL = {"insolvency", "vulnerable", "deceased", "breathing_space", "do_not_contact"}


class StubPayment:
    """P grows with the horizon and differs by account; optionally nan for some."""

    def __init__(self, top=0.4, missing=0):
        self.top, self.missing = top, missing

    def predict(self, snapshot, horizons, level):
        assert level == "account"
        account = snapshot.rows["account"].to_numpy()
        top = self.top * (0.25 + 0.75 * ((account * 7919) % 13) / 12)
        p = top[:, None] * np.linspace(0.4, 1.0, len(horizons))
        p[account < self.missing] = np.nan
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((len(p), 3), 9.0))


class StubResponse:
    """Effect by channel, tone and hour, the same for all accounts but for a factor."""

    def __init__(self, catalogue, size=0.05):
        self.catalogue, self.size = catalogue, size

    def effect_factors(self, X):
        a = self.catalogue.actions
        phi = np.zeros((len(a), 3))
        phi[a.is_contact, 0] = 1
        phi[a.kind == ActionKind.AGENCY, 0] = 0.5
        phi[:, 1] = np.where(a.is_contact, a.channel, 0) / 3
        phi[:, 2] = np.where(a.is_contact, np.nan_to_num(a.hour) / 24 + a.tone, 0)
        return self.size * np.array([[1.0, 1.0, 0.2]]), phi


@dataclass
class Frames:
    """A book in plain lists, and the catalogue as a dict."""

    tables: dict
    catalogue: dict
    as_of: datetime

    def ledger(self, order=None):
        rng = np.random.default_rng(order)
        tables = {
            name: rows if order is None else [rows[i] for i in rng.permutation(len(rows))]
            for name, rows in self.tables.items()
        }
        return Ledger.from_frames(**tables)

    def parsed(self):
        return Catalogue.from_dict(self.catalogue)


def make_catalogue(rng, **change):
    channels = [
        {"name": "email", "cost": 0.05, "hours": [8, 21]},
        {"name": "sms", "cost": 0.1, "hours": [0, 24]},
        {"name": "letter", "cost": 1.2, "weekdays": [0, 1, 2, 3, 4]},
        {"name": "phone", "cost": 4.5, "minutes": 6, "hours": [9, 19.5]},
    ]
    for channel in channels:
        if rng.random() < 0.4:
            channel["capacity"] = int(rng.integers(0, 6))
    limits = {"pre_due_days": int(rng.choice([0, 0, 0, 3]))}
    if rng.random() < 0.5:
        limits["budget"] = round(float(rng.uniform(0, 12)), 2)
    if rng.random() < 0.3:
        limits["minutes"] = float(rng.integers(0, 20))
    if rng.random() < 0.8:
        limits["contacts_per_7_days"] = int(rng.choice([0, 1, 2, 3]))
    catalogue = {
        "channels": [channels[i] for i in sorted(rng.permutation(4)[: rng.integers(1, 5)])],
        "cadence_days": int(rng.choice([1, 3, 7])),
        "explore": float(rng.choice([0.0, 0.05, 0.3, 1.0])),
        "jurisdiction": str(rng.choice(["none", "de", "eu"])),
        "slots": {"hours": [2.5, 8, 12.25, 19.5, 23]},
        "limits": limits,
        "house": {
            "first_contact_gentle": bool(rng.random() < 0.7),
            "max_tone_step": int(rng.choice([0, 1, 2])),
            "min_contacts_before_agency": int(rng.choice([0, 2])),
        },
        "timezone": "Europe/Berlin",
    }
    if rng.random() < 0.5:
        catalogue["agency"] = {"cost": 0.0}
    if rng.random() < 0.3:
        catalogue["offers"] = {"names": ["none", "instalments"]}
    return {**catalogue, **change}


def make_frames(seed, n=36, **change):
    """A random book of n accounts; some share a customer, some days change the clock."""
    rng = np.random.default_rng(seed)
    days = [date(2026, 3, 27), date(2026, 10, 27), date(2026, 6, 3), date(2026, 12, 24)]
    day = days[rng.integers(len(days))]
    as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(
        hours=int(rng.integers(0, 24)), minutes=int(rng.integers(0, 60))
    )
    accounts, invoices, payments, contacts, responses, holds = [], [], [], [], [], []
    for i in range(n):
        a = f"{i:03d}"
        accounts.append(
            {
                "account_id": a,
                "customer_type": str(rng.choice(["consumer", "business"])),
                "country": "DE",
                "timezone": str(rng.choice(ZONES)),
                "customer_id": f"C{rng.integers(n)}" if rng.random() < 0.5 else None,
                "lifetime_value": float(rng.uniform(0, 500)) if rng.random() < 0.5 else None,
                **{
                    f"{c}_ok": [True, True, True, False, None][rng.integers(5)]
                    for c in ("email", "sms", "phone")
                },
            }
        )
        for j in range(rng.integers(0, 4)):
            issued = day - timedelta(days=int(rng.integers(0, 90)))
            amount = round(float(rng.uniform(5, 300)), 2)
            invoice = f"{a}-{j}"
            invoices.append(
                {
                    "invoice_id": invoice,
                    "account_id": a,
                    "issued_on": issued,
                    "due_on": issued + timedelta(days=int(rng.integers(0, 40))),
                    "amount": amount,
                    "currency": "EUR",
                }
            )
            if rng.random() < 0.4:
                paid = amount if rng.random() < 0.5 else round(amount / 2, 2)
                payments.append(
                    {
                        "payment_id": f"P{invoice}",
                        "account_id": a,
                        "paid_at": datetime(issued.year, issued.month, issued.day, 20, tzinfo=UTC)
                        + timedelta(days=float(rng.uniform(1, 60))),
                        "amount": paid,
                        "invoice_id": invoice,
                    }
                )
            if rng.random() < 0.15:
                holds.append(make_hold(rng, a, day, invoice))
        if rng.random() < 0.25:
            holds.append(make_hold(rng, a, day, None))
        for j in range(rng.integers(0, 4)):
            sent = as_of + timedelta(days=float(rng.uniform(-40, 1)))
            late = sent >= as_of
            contact = f"{a}c{j}"
            contacts.append(
                {
                    "contact_id": contact,
                    "account_id": a,
                    "sent_at": sent,
                    "decided_at": as_of - timedelta(hours=3) if late else None,
                    "channel": str(rng.choice(["email", "sms", "phone", "letter", "none"])),
                    "tone": None,
                }
            )
            if contacts[-1]["channel"] != "none":
                contacts[-1]["tone"] = [None, "friendly", "neutral", "firm"][rng.integers(4)]
                if rng.random() < 0.3 and not late:
                    kind = str(rng.choice(["bounced", "delivered", "opted_out", "opened"]))
                    at = sent + timedelta(hours=float(rng.uniform(0, 30)))
                    responses.append(
                        {"account_id": a, "at": at, "kind": kind, "contact_id": contact,
                         "due_on": None}
                    )  # fmt: skip
    if not invoices:
        return make_frames(seed + 10**6, n, **change)
    tables = {
        "accounts": accounts,
        "invoices": invoices,
        "payments": payments,
        "contacts": contacts,
        "responses": responses,
        "holds": holds,
    }
    catalogue = make_catalogue(rng, **change)
    regions = np.random.default_rng([seed, 2]).choice(REGIONS, len(accounts)).tolist()
    for account, region in zip(accounts, regions, strict=True):
        account["region"] = region or None
    if catalogue["jurisdiction"] == "de":
        responses += make_said(np.random.default_rng([seed, 1]), accounts, as_of)
    tables = {name: rows for name, rows in tables.items() if rows}
    return Frames(tables, catalogue, as_of)


def make_said(rng, accounts, as_of):
    """What some customers said of disputes, promises and plans, days or minutes ago."""
    rows = []
    for account in accounts:
        for _ in range(int(rng.choice([0, 0, 0, 1, 2]))):
            at = as_of - timedelta(days=float(rng.choice([0.01, 3, 12, 30]) * rng.random()))
            rows.append({
                "account_id": account["account_id"], "at": at, "kind": str(rng.choice(SAID)),
                "contact_id": None,
                "due_on": at.date() + timedelta(days=int(rng.integers(0, 9)))
                if rng.random() < 0.5 else None,
            })  # fmt: skip
    return rows


def make_hold(rng, account, day, invoice):
    start = day - timedelta(days=int(rng.integers(-2, 20)))
    end = start + timedelta(days=int(rng.integers(1, 30))) if rng.random() < 0.6 else None
    return {
        "account_id": account,
        "kind": str(rng.choice(HOLDS)),
        "from_on": start,
        "to_on": end,
        "invoice_id": invoice,
    }


# The checker: plain Python over the lists, written from the rules and not from the library -----


def check(frames, decisions):
    """Assert that decisions break no rule; see the single assertions."""
    book = _Plain(frames)
    rows = decisions.to_arrow().to_pylist()
    assert [r["account_id"] for r in rows] == book.with_open_claim()
    sent = []
    for row in rows:
        assert row["reasons"]
        assert all(row["reasons"])
        assert 0 < row["propensity"] <= 1
        if row["channel"] in {"none", "stop", "agency", "court"}:
            assert row["tone"] is None
            assert row["offer"] is None
            assert row["send_at"] is None
            assert row["cost"] == 0
        if row["channel"] in {"agency", "court"}:
            book.check_external(row)
        elif row["channel"] not in {"none", "stop"}:
            book.check_contact(row)
            sent.append(row)
    book.check_cap(sent)
    book.check_limits(sent)
    return len(sent)


class _Plain:
    def __init__(self, frames):
        self.catalogue, self.as_of = frames.catalogue, frames.as_of
        self.t = {
            name: frames.tables.get(name, [])
            for name in ("accounts", "invoices", "payments", "contacts", "responses", "holds")
        }
        self.account = {a["account_id"]: a for a in self.t["accounts"]}
        self.zone = {k: ZoneInfo(a["timezone"]) for k, a in self.account.items()}

    def person(self, a):
        return self.account[a]["customer_id"] or f"account {a}"

    def same_person(self, a):
        return [b for b in self.account if self.person(b) == self.person(a)]

    def today(self, a):
        return self.as_of.astimezone(self.zone[a]).date()

    def midnight(self, day, a):
        """First instant of a local day, in UTC."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone[a]).astimezone(UTC)

    def day_over(self, day, a):
        return self.midnight(day + timedelta(days=1), a) <= self.as_of

    def open_claims(self, a):
        found = []
        for i in self.t["invoices"]:
            if i["account_id"] == a and self.day_over(i["issued_on"], a):
                paid = sum(
                    round(100 * p["amount"])
                    for p in self.t["payments"]
                    if p["invoice_id"] == i["invoice_id"] and p["paid_at"] < self.as_of
                )
                if paid < round(100 * i["amount"]):
                    found.append(i)
        return found

    def with_open_claim(self):
        return [a for a in sorted(self.account) if self.open_claims(a)]

    def holds(self, a, invoice=None):
        return [
            h["kind"]
            for h in self.t["holds"]
            if h["account_id"] == a
            and h["invoice_id"] == invoice
            and self.day_over(h["from_on"], a)
            and (h["to_on"] is None or self.today(a) < h["to_on"])
            and not self.ended(h)
        ]

    def ended(self, hold):
        """Whether the customer said that it is over."""
        by = {
            "dispute": "dispute_resolved", "promise": "promise_broken",
            "payment_plan": "plan_broken",
        }  # fmt: skip
        a = hold["account_id"]
        return any(
            r["account_id"] == a
            and r["kind"] == by.get(hold["kind"])
            and self.midnight(hold["from_on"], a) <= r["at"] < self.as_of
            for r in self.t["responses"]
        )

    def claims_to_ask_for(self, a):
        ahead = self.catalogue["limits"]["pre_due_days"]
        free = [i for i in self.open_claims(a) if not self.holds(a, i["invoice_id"])]
        late = [i for i in free if self.today(a) > i["due_on"]]
        soon = [i for i in free if 0 <= (i["due_on"] - self.today(a)).days <= ahead]
        return late or (soon if ahead else [])

    def contacts(self, a):
        """Real contacts known at the time, in order of sending."""
        known = [
            c
            for c in self.t["contacts"]
            if c["account_id"] == a
            and c["channel"] != "none"
            and (c["decided_at"] or c["sent_at"]) < self.as_of
        ]
        return sorted(known, key=lambda c: c["sent_at"])

    def check_customer(self, a):
        assert self.claims_to_ask_for(a), "nothing that may be asked for"
        assert not self.holds(a), self.holds(a)
        if self.catalogue["jurisdiction"] == "de":
            assert not self.said(a), self.said(a)
        for b in self.same_person(a):
            assert not PERSONAL & set(self.holds(b)), "a hold on the person"

    def said(self, a):
        """What the customer said and nobody recorded."""
        found = []
        told = [r for r in self.t["responses"] if r["account_id"] == a and r["at"] < self.as_of]
        for hold, begins, ends in (
            ("dispute", "disputed", "dispute_resolved"),
            ("promise", "promised", "promise_broken"),
            ("payment_plan", "plan_accepted", "plan_broken"),
        ):
            mine = sorted((r for r in told if r["kind"] in {begins, ends}), key=lambda r: r["at"])
            if not mine or mine[-1]["kind"] == ends:
                continue
            last = mine[-1]
            day = last["at"].astimezone(self.zone[a]).date()
            recorded = [
                h
                for h in self.t["holds"]
                if h["account_id"] == a
                and h["kind"] == hold
                and self.day_over(h["from_on"], a)
                and h["from_on"] >= day - timedelta(days=1)
            ]
            good_until = last["due_on"] or day + timedelta(days=14)
            over = hold == "promise" and self.today(a) > good_until
            about = [i for i in self.open_claims(a) if i["issued_on"] <= day]
            if about and not recorded and not over:
                found.append(hold)
        return found

    def since_due(self, a):
        due = min(i["due_on"] for i in self.claims_to_ask_for(a))
        return [c for c in self.contacts(a) if c["sent_at"].astimezone(self.zone[a]).date() > due]

    def check_external(self, row):
        a = row["account_id"]
        self.check_customer(a)
        assert row["channel"] in self.catalogue
        assert self.claims_to_ask_for(a)[0]["due_on"] < self.today(a)
        since, last = self.since_due(a), self.contacts(a)
        assert len(since) >= max(self.catalogue["house"]["min_contacts_before_agency"], 1)
        days = (self.today(a) - last[-1]["sent_at"].astimezone(self.zone[a]).date()).days
        assert days >= self.catalogue[row["channel"]].get("notice_days", 14), "notice"
        if row["channel"] == "court" or self.account[a]["customer_type"] == "consumer":
            assert len(since) >= 2
            assert last[-1]["tone"] == "firm", "no formal notice"
        assert row["propensity"] == 1
        if self.catalogue["jurisdiction"] in {"de", "eu"}:
            assert self.account[a]["customer_type"] == "business"

    def check_contact(self, row):
        a, send = row["account_id"], row["send_at"]
        self.check_customer(a)
        name = row["channel"]
        channel = next(c for c in self.catalogue["channels"] if c["name"] == name)
        local = send.astimezone(self.zone[a])
        hour = local.hour + local.minute / 60
        assert send > self.as_of
        assert hour in self.catalogue["slots"]["hours"], "another hour than any slot"
        assert 0 <= (local.date() - self.today(a)).days < self.catalogue["cadence_days"]
        if "hours" in channel:
            assert channel["hours"][0] <= hour < channel["hours"][1]
        if "weekdays" in channel:
            assert local.weekday() in channel["weekdays"]
        if self.catalogue["jurisdiction"] == "de":
            if name == "phone":
                assert local.weekday() != 6
                assert (9 <= hour < 16) if local.weekday() == 5 else (8 <= hour < 20)
                assert local.date() not in self.holidays(a)
            if name == "sms":
                assert 8 <= hour < 21
        ok = self.account[a].get(f"{name}_ok", "no such column")
        assert ok is not False
        assert not (ok is None and name in {"phone", "sms"})
        self.check_responses(a, name)
        self.check_tone(a, row["tone"])

    def holidays(self, a):
        """Holidays of the customer's state; of every state where the book names none."""
        state = {"BY": "BY", "Berlin": "BE", "DE-NW": "NW"}.get(self.account[a]["region"])
        states = [state] if state else holidays.Germany.subdivisions
        days = {day for s in states for day in holidays.Germany(subdiv=s, years=(2026, 2027))}
        return days | ({date(2026, 8, 15)} if state != "BE" and state != "NW" else set())

    def check_responses(self, a, name):
        channel_of = {c["contact_id"]: c["channel"] for c in self.t["contacts"]}
        known = sorted(
            (r for r in self.t["responses"] if r["at"] < self.as_of), key=lambda r: r["at"]
        )
        for b in self.same_person(a):
            for r in known:
                if r["account_id"] == b and r["kind"] == "opted_out":
                    assert channel_of[r["contact_id"]] != name, "opted out"
        reach = [
            r["kind"]
            for r in known
            if r["account_id"] == a
            and channel_of.get(r["contact_id"]) == name
            and r["kind"] in {"bounced", "delivered", "opened"}
        ]
        assert not reach or reach[-1] != "bounced", "bad address"

    def check_tone(self, a, tone):
        order = ["friendly", "neutral", "firm"]
        house = self.catalogue["house"]
        if house["first_contact_gentle"] and not self.since_due(a):
            assert tone == "friendly"
        before = self.contacts(a)
        if before:
            last = order.index(before[-1]["tone"] or "friendly")
            assert order.index(tone) <= last + house["max_tone_step"]

    def check_cap(self, sent):
        cap = self.catalogue["limits"].get("contacts_per_7_days")
        if cap is None:
            return
        for person in {self.person(r["account_id"]) for r in sent}:
            mine = [r["send_at"] for r in sent if self.person(r["account_id"]) == person]
            old = [
                c["sent_at"]
                for a in self.account
                if self.person(a) == person
                for c in self.contacts(a)
            ]
            times = sorted(mine + old)
            for i, end in enumerate(times):
                window = [t for t in times[: i + 1] if end - t < timedelta(days=7)]
                if any(t in window for t in mine):
                    assert len(window) <= cap, "more contacts than 7 days allow"

    def check_limits(self, sent):
        limits = self.catalogue["limits"]
        assert sum(r["cost"] for r in sent) <= limits.get("budget", np.inf) + 1e-6
        minutes = {c["name"]: c.get("minutes", 0) for c in self.catalogue["channels"]}
        assert sum(minutes[r["channel"]] for r in sent) <= limits.get("minutes", np.inf)
        for channel in self.catalogue["channels"]:
            used = sum(r["channel"] == channel["name"] for r in sent)
            assert used <= channel.get("capacity", np.inf)


class Kit:
    """What the tests of this folder share."""

    Payment, Response, Frames = StubPayment, StubResponse, Frames
    frames = staticmethod(make_frames)
    check = staticmethod(check)
    Plain = _Plain


@pytest.fixture(scope="session")
def kit():
    return Kit
