"""What valued waits earn in a small world made by hand, of which all chances are known.

Most customers pay alone on the payday after the start, the others never do. A letter costs money
and goodwill, and moves one of the others with a chance that wears off as the claim ages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np
import pytest

from collectopt.objective import ContactCost, ExpectedRecovery, RelationshipCost
from collectopt.policy import NextBestAction
from collectopt.policy.effects import Effects
from collectopt.policy.plan import month_on
from collectopt.schema import Catalogue, Forecast, Ledger

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
CATALOGUE = {
    "channels": [{"name": "letter", "cost": 1.2}], "tones": {"order": ["friendly"]},
    "slots": {"hours": [9]}, "cadence_days": 7, "horizon_days": 28, "timezone": "UTC",
    "house": {"doubt": 1.0},
}  # fmt: skip
GOODWILL = {"leave": 0.01, "fatigue": 0.0, "unknown_value": 100.0}  # 1 EUR a letter
WAITS = {"days": [7, 14, 21], "grace_days": 1}
WEEKS, RATE, LANDS = 8, 0.08, 2  # runs; discount a year; days from a letter to its payment
OBJECTIVE = ExpectedRecovery() - ContactCost() - RelationshipCost(**GOODWILL)


@dataclass
class World:
    """n accounts with drawn paydays and amounts; all else is counted as expected.

    An account stays in the book, with the chance that nothing has been paid.

    good: share that pays alone; persuades: chance of a letter at the start with one of the others;
    keeps: what is left of that chance a week later; hazard: a week, in place of paydays.
    """

    seed: int
    n: int = 60
    good: float = 0.7
    persuades: float = 0.35
    keeps: float = 0.95
    hazard: float | None = None

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.ids = [f"A{i:03d}" for i in range(self.n)]
        self.dom = rng.integers(1, 29, self.n)
        self.amount = np.round(rng.uniform(40.0, 90.0, self.n), 2)
        first = [_first(START.date(), int(day)) - START.date() for day in self.dom]
        self.payday = np.array([days.days + 0.25 for days in first])  # days from the start
        self.begin()

    def begin(self):
        self.letters, self.net, self.stuck = [], np.zeros(self.n), np.full(self.n, 1.0 - self.good)

    # what the policy is told: chances, not lives

    def will_pay(self, week):
        """P(good and unpaid by now)."""
        if self.hazard:
            return np.full(self.n, self.good * (1.0 - self.hazard) ** week)
        return self.good * (self.payday > 7 * week)

    def chance_good(self, rows, week):
        """P(pays alone | unpaid by now, after so many letters)."""
        return (self.will_pay(week) / (self.will_pay(week) + self.stuck))[rows]

    def effect(self, rows, week):
        return (1.0 - self.chance_good(rows, week)) * self.persuades * self.keeps**week

    def curve(self, rows, week, days):
        by = 7 * week + np.asarray(days, dtype=float)[None, :]
        if self.hazard:
            comes = 1.0 - (1.0 - self.hazard) ** (np.asarray(days, dtype=float) / 7.0)[None, :]
        else:
            comes = (self.payday[rows][:, None] < by).astype(float)
        return self.chance_good(rows, week)[:, None] * comes

    # what happens

    def ledger(self):
        invoices, payments = [], []
        for i, name in enumerate(self.ids):
            for back in range(1, 7):
                on = month_on(START.date(), -back, int(self.dom[i]))
                invoices.append((f"{name}-{back}", name, on - timedelta(days=14), on, 20.0))
                payments.append((f"P{name}-{back}", name, _noon(on), 20.0, f"{name}-{back}"))
            due = START.date() - timedelta(days=5)
            invoices.append((f"{name}-0", name, due - timedelta(days=14), due, self.amount[i]))
        names = ("invoice_id", "account_id", "issued_on", "due_on", "amount")
        paid = ("payment_id", "account_id", "paid_at", "amount", "invoice_id")
        person = {"customer_type": "consumer", "country": "DE", "timezone": "UTC"}
        contacts = [
            {"contact_id": f"C{i}-{w}", "account_id": self.ids[i], "channel": "letter",
             "tone": "friendly", "sent_at": START + timedelta(weeks=w, hours=3)}
            for i, w in self.letters
        ]  # fmt: skip
        tables = {
            "accounts": [{"account_id": name, **person} for name in self.ids],
            "invoices": [{**dict(zip(names, r, strict=True)), "currency": "EUR"} for r in invoices],
            "payments": [dict(zip(paid, row, strict=True)) for row in payments],
            **({"contacts": contacts} if contacts else {}),
        }
        return Ledger.from_frames(**tables)

    def act(self, decisions, week):
        for row in decisions.to_arrow().to_pylist():
            if row["channel"] != "letter":
                continue
            i = self.ids.index(row["account_id"])
            self.letters.append((i, week))
            sent = (row["send_at"] - START).total_seconds() / 86400
            cost = 1.2 + GOODWILL["leave"] * GOODWILL["unknown_value"]
            self.net[i] -= (self.will_pay(week)[i] + self.stuck[i]) * cost * _worth(sent)
            moved = self.stuck[i] * self.persuades * self.keeps**week
            self.net[i] += moved * self.amount[i] * _worth(sent + LANDS)
            self.stuck[i] -= moved

    def play(self, policy):
        """EUR by account beside what comes alone, letters and decisions of every run."""
        self.begin()
        runs = []
        for week in range(WEEKS):
            now = START + timedelta(weeks=week)
            runs.append(policy.decide(self.ledger(), now))
            self.act(runs[-1], week)
        return self.net.copy(), len(self.letters), runs


def _worth(days):
    return (1.0 + RATE) ** (-days / 365)


def _first(today: date, day: int) -> date:
    return next(on for k in (0, 1) if (on := month_on(today, k, day)) > today)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC)


def _week(snapshot):
    return int((snapshot.as_of.max() - np.datetime64(START.replace(tzinfo=None))).astype(int)) // (
        7 * 86400 * 10**6
    )


class Curve:
    """The world's own chances to be paid without a letter."""

    def __init__(self, world):
        self.world = world

    def predict(self, snapshot, horizons, level):
        days = [float(h.removesuffix("D")) for h in horizons]
        account = snapshot.rows["account"].to_numpy()
        p = self.world.curve(account, _week(snapshot), days)
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((len(p), 3), 9.0))


@dataclass(frozen=True)
class Known(Effects):
    """The world's own effects."""

    world: World | None = None

    def factors(self, snapshot, actions, matrix=None):
        theta = self.world.effect(snapshot.rows["account"].to_numpy(), _week(snapshot))
        return (theta[:, None], actions.is_contact[:, None].astype(float)), None


def policy_of(world, waits=None, **more):
    tables = {**CATALOGUE, **more, **({} if waits is None else {"waits": {**WAITS, **waits}})}
    world.begin()
    ledger = world.ledger()
    policy = NextBestAction(Catalogue.from_dict(tables), Curve(world), objective=OBJECTIVE)
    policy.fit(ledger, START)
    policy.effects_ = Known(None, world=world)
    policy._seal_models()
    return policy


def compare(world, *tables):
    """Mean difference that each table makes with its standard error, EUR an account, and runs."""
    without, letters, _ = world.play(policy_of(world))
    for waits in tables:
        net, fewer, runs = world.play(policy_of(world, waits))
        gain = net - without
        yield gain.mean(), gain.std(ddof=1) / np.sqrt(world.n), fewer - letters, runs


def waits_of(runs):
    return sum(len(run.waits) - run.waits.null_count for run in runs)


def test_waiting_for_the_payday_earns_more_than_the_same_policy_without():
    ((gain, stderr, letters, runs),) = compare(World(seed=7), {})
    assert gain > 2 * stderr
    assert gain > 0.3  # EUR an account
    assert letters < 0
    assert waits_of(runs) > 10


@pytest.mark.parametrize("fade", [0.05, 0.2])  # as in the world, and more than that
def test_plans_are_kept_from_run_to_run_though_nothing_is_remembered(fade):
    world = World(seed=10)
    _, _, runs = world.play(policy_of(world, {"fade": fade}))
    same, sooner = 0, 0
    for week, (run, following) in enumerate(pairwise(runs), 1):
        today = (START + timedelta(weeks=week)).date()
        for plan, then in zip(run.waits.to_pylist(), following.waits.to_pylist(), strict=True):
            if plan is None or plan["until"] <= today:
                continue
            assert then is None or then["until"] <= plan["until"]
            same += then is not None and then["until"] == plan["until"]
            sooner += then is None or then["until"] < plan["until"]
    assert same > 10
    assert sooner <= (0 if fade == 0.05 else same // 4)


def test_where_persuasion_wears_off_fast_nobody_waits_at_a_loss_but_who_only_looks_at_paydays():
    known, naive = compare(World(seed=8, keeps=0.4), {"fade": 0.6}, {"fade": 0.0})
    assert known[0] >= -known[1]
    assert naive[0] < -2 * naive[1]


def test_without_paydays_nobody_waits():
    ((gain, _, letters, runs),) = compare(World(seed=9, hazard=0.15), {})
    assert (gain, letters, waits_of(runs)) == (0.0, 0, 0)
