"""What every feature means, in plain Python, one row at a time.

Written from the meanings in ``features.describe()``, not from the SQL. Which payment settled
which claim is the ledger's business (tested there): settlements are taken from its timeline,
everything else from the six tables.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from collectopt.schema import Ledger

from .books import ONE_US, local_day, midnight, zone

NEVER = 3650
Row = dict[str, Any]


@dataclass
class State:
    """A claim as of a time."""

    open_cents: int
    settled_at: datetime | None  # None while something is open
    cash: bool


class Oracle:
    """Computes the features of one row at a time from the ledger's rows."""

    def __init__(self, ledger: Ledger) -> None:
        self.accounts = {row["account_id"]: row for row in ledger.accounts.to_pylist()}
        self.invoices = {row["invoice_id"]: row for row in ledger.invoices.to_pylist()}
        self.of_account: dict[str, dict[str, list[Row]]] = {}
        for table in ("invoices", "payments", "contacts", "responses", "holds"):
            grouped: dict[str, list[Row]] = defaultdict(list)
            for row in ledger.table(table).to_pylist():
                grouped[row["account_id"]].append(row)
            self.of_account[table] = grouped
        names = ledger.invoices["invoice_id"].to_pylist()
        self.settlements: dict[str, list[Row]] = defaultdict(list)
        for row in ledger.timeline.settlements.to_pylist():
            self.settlements[names[row["invoice"]]].append(row)

    def zone(self, account: str) -> ZoneInfo:
        return zone(self.accounts[account])

    # -- claims ----------------------------------------------------------------------------

    def claims(self, account: str) -> list[Row]:
        return [row for row in self.of_account["invoices"][account] if row["amount"] > 0]

    def known(self, claim: Row, as_of: datetime) -> bool:
        where = self.zone(claim["account_id"])
        return midnight(claim["issued_on"] + timedelta(days=1), where) <= as_of

    def past_due(self, claim: Row, as_of: datetime) -> bool:
        where = self.zone(claim["account_id"])
        return as_of >= midnight(claim["due_on"] + timedelta(days=1), where)

    def state(self, claim: Row, as_of: datetime) -> State:
        """Replay the settlements known before `as_of`, those of one instant together."""
        left = int(claim["amount"] * 100)
        settled_at, cash = None, False
        steps = [s for s in self.settlements[claim["invoice_id"]] if s["known_at"] < as_of]
        for moment in sorted({s["known_at"] for s in steps}):
            now = [s for s in steps if s["known_at"] == moment]
            before = left
            left -= sum(s["cents"] for s in now)
            if left == 0 and before > 0:
                settled_at = moment
                cash = any(s["cash"] and s["cents"] > 0 for s in now)
            elif left > 0:
                settled_at = None
        return State(left, settled_at, cash)

    def lateness(self, claim: Row, settled_at: datetime) -> int:
        return (local_day(settled_at, self.zone(claim["account_id"])) - claim["due_on"]).days

    # -- all features ----------------------------------------------------------------------

    def row(self, account: str, as_of: datetime, invoice: str | None) -> dict[str, Any]:
        day = local_day(as_of, self.zone(account))
        claims = [
            claim
            for claim in self.claims(account)
            if self.known(claim, as_of) or claim["invoice_id"] == invoice
        ]
        states = {claim["invoice_id"]: self.state(claim, as_of) for claim in claims}
        open_ = [claim for claim in claims if states[claim["invoice_id"]].open_cents > 0]
        subject = None
        if invoice is not None:
            subject = self.invoices[invoice]
        elif open_:
            subject = min(open_, key=lambda c: (c["due_on"], c["invoice_id"]))
        case = Case(self, account, as_of, day, invoice, subject, claims, open_, states)
        parts = (
            case.open_claims, case.claim, case.billed, case.lateness, case.parts, case.payments,
            case.contacts, case.responses, case.promises, case.holds, case.account_, case.calendar,
            case.rates, case.own,
        )  # fmt: skip
        return {name: value for part in parts for name, value in part().items()}

    # -- rates -----------------------------------------------------------------------------

    @cached_property
    def verdicts(self) -> dict[int, list[tuple[str, datetime, int]]]:
        """Account, time, settled by then: of each claim so many days after its due date."""
        found: dict[int, list[tuple[str, datetime, int]]] = {0: [], 10: [], 30: []}
        for account in self.accounts:
            where = self.zone(account)
            for claim in self.claims(account):
                end = midnight(claim["due_on"] + timedelta(days=1), where)
                issued = midnight(claim["issued_on"] + timedelta(days=1), where) - ONE_US
                for days, verdicts in found.items():
                    matured = max(end + timedelta(days=days), issued)
                    state = self.state(claim, matured)
                    if state.settled_at is None:
                        verdicts.append((account, matured, 0))
                    elif state.cash:
                        in_time = self.lateness(claim, state.settled_at) <= days
                        verdicts.append((account, matured, int(in_time)))
        return found

    def rates(self, account: str, as_of: datetime) -> dict[str, float]:
        segment = self._segment(account)
        creditor = self.accounts[account]["creditor_id"]
        customer = self._customer(account)
        yes = lambda rows: sum(v[2] for v in rows)  # noqa: E731
        result: dict[str, float] = {}
        for days, name in ((0, "on_time"), (10, "paid_10"), (30, "paid_30")):
            judged = [v for v in self.verdicts[days] if v[1] < as_of]
            own = [v for v in judged if v[0] == account]
            others = [v for v in judged if v[0] != account and self._customer(v[0]) == customer]
            same = [v for v in judged if self.accounts[v[0]]["creditor_id"] == creditor]
            peers = [v for v in judged if self._segment(v[0]) == segment]
            book = (yes(judged) + 1) / (len(judged) + 2)
            all_ = (yes(same) + 20 * book) / (len(same) + 20)
            peer = (yes(peers) + 20 * all_) / (len(peers) + 20)
            strength = self._strength([(v[0], v[2]) for v in judged])
            other = (yes(others) + strength * peer) / (len(others) + strength)
            result[f"{name}_rate"] = (yes(own) + strength * other) / (len(own) + strength)
            result[f"{name}_lift"] = result[f"{name}_rate"] - peer
            result[f"{name}_excess"] = round(result[f"{name}_rate"] - book, 2)
            if name == "on_time":
                result["segment_on_time_rate"] = peer
                result["book_on_time_rate"] = book
                result["creditor_on_time_lift"] = round(all_ - book, 2)
                everything = own + others
                rate = (yes(everything) + strength * peer) / (len(everything) + strength)
                result["customer_late_rate"] = 1 - rate
                result["customer_late_lift"] = peer - rate
            if name == "paid_30":
                result["matured_n"] = len(own)
                result["customer_n"] = len(own) + len(others)
        return result

    def _segment(self, account: str) -> tuple[str, ...]:
        row = self.accounts[account]
        return row["creditor_id"], row["customer_type"], row["country"]

    def _customer(self, account: str) -> tuple[str, str]:
        customer = self.accounts[account]["customer_id"]
        return ("account", account) if customer is None else ("customer", customer)

    @staticmethod
    def _strength(judged: list[tuple[str, int]]) -> float:
        """(1 - rho) / rho from all ordered pairs of two claims of one account."""
        pairs = both = one = 0
        for i, (account, y) in enumerate(judged):
            for j, (other, z) in enumerate(judged):
                if i != j and account == other:
                    pairs += 1
                    both += y * z
                    one += y
        p = (one + 1) / (pairs + 2)
        moment = (both + 100 * (p * p + 0.2 * p * (1 - p))) / (pairs + 100)
        rho = min(max((moment - p * p) / (p * (1 - p)), 0.02), 0.9)
        return (1 - rho) / rho


@dataclass
class Case:
    """One row: an account, a time and perhaps a claim."""

    oracle: Oracle
    account: str
    as_of: datetime
    day: date
    named: str | None
    subject: Row | None
    claims: list[Row]
    open_: list[Row]
    states: dict[str, State]

    def table(self, name: str) -> list[Row]:
        return self.oracle.of_account[name][self.account]

    def ago(self, moment: datetime) -> int:
        return (self.day - local_day(moment, self.oracle.zone(self.account))).days

    def open_cents(self, claim: Row) -> int:
        return self.states[claim["invoice_id"]].open_cents

    def open_claims(self) -> dict[str, float]:
        late = [c for c in self.open_ if self.oracle.past_due(c, self.as_of)]
        ahead = [c for c in self.open_ if not self.oracle.past_due(c, self.as_of)]
        total = sum(int(c["amount"] * 100) for c in self.open_)
        left = sum(self.open_cents(c) for c in self.open_)
        return {
            "open_amount": left / 100,
            "open_claims": len(self.open_),
            "past_due_amount": sum(self.open_cents(c) for c in late) / 100,
            "past_due_claims": len(late),
            "days_past_due": max([(self.day - c["due_on"]).days for c in late], default=0),
            "oldest_age": max([(self.day - c["issued_on"]).days for c in self.open_], default=0),
            "days_to_next_due": min([(c["due_on"] - self.day).days for c in ahead], default=NEVER),
            "open_paid_share": (total - left) / total if total else 0,
        }

    def claim(self) -> dict[str, Any]:
        claim = self.subject
        if claim is None:
            zero = ("claim_amount", "claim_open_share", "claim_dpd", "claim_age", "claim_term")
            return dict.fromkeys(zero, 0) | {"claim_kind": None}
        return {
            "claim_amount": float(claim["amount"]),
            "claim_open_share": self.open_cents(claim) / int(claim["amount"] * 100),
            "claim_dpd": (self.day - claim["due_on"]).days,
            "claim_age": (self.day - claim["issued_on"]).days,
            "claim_term": (claim["due_on"] - claim["issued_on"]).days,
            "claim_kind": claim["kind"] or "invoice",
        }

    def billed(self) -> dict[str, float]:
        year = [c for c in self.claims if (self.day - c["issued_on"]).days <= 365]
        ratio = 1.0
        if self.subject is not None:
            others = [
                c["amount"] for c in self.claims if c["invoice_id"] != self.subject["invoice_id"]
            ]
            if others:
                ratio = min(float(self.subject["amount"] / statistics.mean(others)), 100)
        return {
            "claim_amount_ratio": ratio,
            "claims_n": len(self.claims),
            "claims_365": len(year),
            "billed_365": float(sum(c["amount"] for c in year)),
            "first_claim": int(len(self.claims) <= 1),
        }

    def lateness(self) -> dict[str, float]:
        settled = []  # (settled at, due on, invoice, days late)
        for claim in self.claims:
            state = self.states[claim["invoice_id"]]
            if state.settled_at is not None and state.cash:
                late = self.oracle.lateness(claim, state.settled_at)
                settled.append((state.settled_at, claim["due_on"], claim["invoice_id"], late))
        settled.sort()
        late = [entry[3] for entry in settled]
        still = [
            (self.day - c["due_on"]).days for c in self.open_ if self.oracle.past_due(c, self.as_of)
        ]
        weights = [0.5 ** (self.ago(entry[0]) / 180) for entry in settled]
        mean = statistics.fmean(late) if late else 0
        recent = (
            sum(w * x for w, x in zip(weights, late, strict=True)) / sum(weights) if late else 0
        )
        return {
            "settled_n": len(late),
            "no_settled": int(not late),
            "late_mean": mean,
            "late_median": statistics.median(late) if late else 0,
            "late_sd": statistics.stdev(late) if len(late) > 1 else 0,
            "late_max": max(late, default=0),
            "late_last": late[-1] if late else 0,
            "late_share": statistics.fmean(x > 0 for x in late) if late else 0,
            "late_share_30": statistics.fmean(x > 30 for x in late) if late else 0,
            "late_recent": recent,
            "late_trend": recent - mean,
            "late_mean_open": statistics.fmean(late + still) if late or still else 0,
        }

    def parts(self) -> dict[str, float]:
        left_open = []
        for claim in self.claims_ever():
            steps = [
                s
                for s in self.oracle.settlements[claim["invoice_id"]]
                if s["known_at"] < self.as_of
            ]
            for moment in {s["known_at"] for s in steps}:
                if any(s["cash"] and s["cents"] > 0 for s in steps if s["known_at"] == moment):
                    so_far = sum(s["cents"] for s in steps if s["known_at"] <= moment)
                    left_open.append(so_far < claim["amount"] * 100)
        return {"part_share": statistics.fmean(left_open) if left_open else 0}

    def claims_ever(self) -> list[Row]:
        return self.oracle.claims(self.account)

    def paid(self) -> list[Row]:
        return [p for p in self.table("payments") if p["paid_at"] < self.as_of]

    def payments(self) -> dict[str, float]:
        known = self.paid()
        cash = [p for p in known if p["amount"] > 0]
        found: dict[str, float] = {
            "payments_n": len(cash),
            "days_since_payment": min([self.ago(p["paid_at"]) for p in cash], default=NEVER),
            "returned_n": len(known) - len(cash),
        }
        for days in (30, 90, 365):
            found[f"payments_{days}"] = sum(self.ago(p["paid_at"]) <= days for p in cash)
            window = [p["amount"] for p in known if self.ago(p["paid_at"]) <= days]
            found[f"paid_{days}"] = float(sum(window))
        where = self.oracle.zone(self.account)
        angles = [2 * math.pi * (local_day(p["paid_at"], where).day - 1) / 31 for p in cash]
        x, y = sum(map(math.cos, angles)), sum(map(math.sin, angles))
        strength = math.hypot(x, y) / len(cash) if cash else 0
        offset = 0.0
        if strength > 1e-6:
            usual = 1 + round(math.atan2(y, x) / (2 * math.pi) * 31, 6)
            turns = [self.day.day - usual + turn for turn in (-62, -31, 0, 31, 62)]
            offset = next(turn for turn in turns if -15.5 <= turn < 15.5)
        return found | {"payday_offset": offset, "payday_strength": strength}

    def contacts(self) -> dict[str, Any]:
        sent = [
            c
            for c in self.table("contacts")
            if c["sent_at"] < self.as_of and c["channel"] != "none"
        ]
        sent.sort(key=lambda c: (c["sent_at"], c["contact_id"]))
        paid = max((p["paid_at"] for p in self.paid() if p["amount"] > 0), default=None)
        reacted: dict[str, set[str]] = defaultdict(set)
        for response in self.table("responses"):
            if response["at"] < self.as_of and response["contact_id"] is not None:
                reacted[response["contact_id"]].add(response["kind"])
        found: dict[str, Any] = {
            "contacts_n": len(sent),
            "days_since_contact": min([self.ago(c["sent_at"]) for c in sent], default=NEVER),
            "contacts_since_payment": sum(paid is None or c["sent_at"] > paid for c in sent),
            "last_channel": sent[-1]["channel"] if sent else None,
            "last_tone": sent[-1]["tone"] if sent else None,
        }
        for days in (7, 30, 90):
            found[f"contacts_{days}"] = sum(self.ago(c["sent_at"]) <= days for c in sent)
        for kind in ("opened", "clicked", "answered", "bounced"):
            hits = [kind in reacted[c["contact_id"]] for c in sent]
            found[f"{kind}_share"] = statistics.fmean(hits) if hits else 0
        for channel in ("email", "phone", "letter"):
            own = [c for c in sent if c["channel"] == channel]
            hits = [reacted[c["contact_id"]] & {"opened", "clicked", "answered"} for c in own]
            found[f"contacts_90_{channel}"] = sum(self.ago(c["sent_at"]) <= 90 for c in own)
            found[f"reached_{channel}"] = (sum(map(bool, hits)) + 1) / (len(own) + 2)
        return found

    def responses(self) -> dict[str, float]:
        known = [r for r in self.table("responses") if r["at"] < self.as_of]

        def count(*kinds: str, within: int = 10**6) -> int:
            return sum(r["kind"] in kinds and self.ago(r["at"]) <= within for r in known)

        passive = {"delivered", "bounced", "plan_broken", "promise_broken", "dispute_resolved"}
        active = [self.ago(r["at"]) for r in known if r["kind"] not in passive]
        return {
            "breaches_n": count("promise_broken", "plan_broken"),
            "disputes_n": count("disputed"),
            "complaints_n": count("complained"),
            "opt_outs_n": count("opted_out"),
            "portal_90": count("visited_portal", within=90),
            "days_since_response": min(active, default=NEVER),
        }

    def promises(self) -> dict[str, float]:
        where = self.oracle.zone(self.account)
        kept = broken = pending = 0
        made = [
            r for r in self.table("responses") if r["kind"] == "promised" and r["at"] < self.as_of
        ]
        for promise in made:
            due = promise["due_on"] or local_day(promise["at"], where) + timedelta(days=14)
            goal = promise["amount"] or 0
            total, good = 0, False
            moments = sorted({p["paid_at"] for p in self.paid() if p["paid_at"] >= promise["at"]})
            for moment in moments:
                if local_day(moment, where) > due:
                    break
                total += sum(p["amount"] for p in self.paid() if p["paid_at"] == moment)
                good = good or (total > 0 and total >= goal)
            kept += good
            broken += not good and self.day > due
            pending += not good and self.day <= due
        return {
            "promises_n": len(made),
            "promises_kept": kept,
            "promises_broken": broken,
            "promises_pending": pending,
        }

    def holds(self) -> dict[str, float]:
        where = self.oracle.zone(self.account)
        ends = {
            "payment_plan": "plan_broken",
            "promise": "promise_broken",
            "dispute": "dispute_resolved",
        }
        known = [
            h
            for h in self.table("holds")
            if midnight(h["from_on"] + timedelta(days=1), where) <= self.as_of
        ]
        stands = []
        for hold in known:
            ended = any(
                r["kind"] == ends.get(hold["kind"])
                and midnight(hold["from_on"], where) <= r["at"] < self.as_of
                for r in self.table("responses")
            )
            elsewhere = self.named is not None and hold["invoice_id"] not in {None, self.named}
            money = {"dispute", "promise", "payment_plan", "agency", "court"}
            over = False
            if hold["kind"] in money and hold["invoice_id"] is not None:
                over = hold["invoice_id"] not in {c["invoice_id"] for c in self.open_}
            elif hold["kind"] in money:
                over = all(c["issued_on"] > hold["from_on"] for c in self.open_)
            if not (ended or elsewhere or over):
                stands.append(hold)
        kinds = {h["kind"] for h in stands}
        groups = {
            "dispute": {"dispute"},
            "promise": {"promise"},
            "plan": {"payment_plan"},
            "agency": {"agency"},
            "court": {"court"},
            "insolvent": {"insolvency", "deceased"},
            "protected": {"breathing_space", "vulnerable", "service", "do_not_contact"},
        }
        found: dict[str, float] = {f"hold_{k}": int(bool(v & kinds)) for k, v in groups.items()}
        found["hold_days"] = min([(self.day - h["from_on"]).days for h in stands], default=NEVER)
        found["holds_n"] = len(known)
        return found

    def account_(self) -> dict[str, Any]:
        row = self.oracle.accounts[self.account]
        starts = [c["issued_on"] for c in self.claims]
        if row["customer_since"] is not None and row["customer_since"] <= self.day:
            starts.append(row["customer_since"])
        return {
            "tenure": (self.day - min(starts)).days if starts else 0,
            "customer_type": row["customer_type"],
            "country": row["country"],
            "credit_score": row["credit_score"],
            "lifetime_value": row["lifetime_value"],
        }

    def calendar(self) -> dict[str, float]:
        return {
            "day_of_month": self.day.day,
            "weekday": self.day.isoweekday(),
            "month": self.day.month,
        }

    def rates(self) -> dict[str, float]:
        return self.oracle.rates(self.account, self.as_of)

    def own(self) -> dict[str, Any]:
        row = self.oracle.accounts[self.account]
        claim = self.subject or {"article": None, "weight": None}
        return {
            "accounts.size": row["size"],
            "accounts.trade": row["trade"],
            "invoices.article": claim["article"],
            "invoices.weight": claim["weight"],
        }
