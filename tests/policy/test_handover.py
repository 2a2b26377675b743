"""Agency, court and stop as candidates: neutral without their tables, taken only where sure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.models.external import Followed, Lift, Place
from collectopt.models.external_log import _spent, look_back
from collectopt.objective import default_objective
from collectopt.policy import (
    FixedLadder,
    NextBestAction,
    Override,
    OverrideKind,
    Overrides,
    load,
)
from collectopt.policy.handover import HandoverCase, Outside, Pricing, quantile, worths
from collectopt.policy.valued import LadderCase
from collectopt.rules import Layout, State
from collectopt.schema import ActionKind, Catalogue, Forecast, Ledger, Snapshot

AS_OF = datetime(2026, 2, 5, 6, tzinfo=UTC)
BASE = {
    "channels": [{"name": "email", "cost": 0.05}], "slots": {"hours": [9]}, "cadence_days": 1,
    "timezone": "UTC", "discount_rate": 0.0,
    "house": {"min_contacts_before_agency": 1, "doubt": 1.0},
}  # fmt: skip
WAYS = {"agency": {"fee": 0.25, "cost": 2.0, "notice_days": 7}, "stop": {"keep_cost": 1.0}}


@dataclass
class Curve:
    """Claims are paid with a rate a day by account."""

    rates: dict

    def predict(self, snapshot, horizons, level):
        ids = snapshot.rows["account_id"].to_pylist()
        days = np.array([float(h.removesuffix("D")) for h in horizons])
        p = 1.0 - np.exp(-np.array([self.rates[a] for a in ids])[:, None] * days)
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((len(p), 3), 9.0))


def book(amounts, late=100, contacts=True, holds=(), responses=()):
    due = AS_OF.date() - timedelta(days=late)
    tables = {
        "accounts": [{"account_id": a, "customer_type": "business", "country": "DE",
                      "timezone": "UTC", "lifetime_value": 0.0} for a in amounts],
        "invoices": [{"invoice_id": f"I{a}", "account_id": a, "amount": x, "due_on": due,
                      "issued_on": due - timedelta(days=14), "currency": "EUR"}
                     for a, x in amounts.items()],
        "holds": list(holds), "responses": list(responses),
    }  # fmt: skip
    if contacts:
        tables["contacts"] = [
            {"contact_id": f"C{a}", "account_id": a, "sent_at": AS_OF - timedelta(days=20),
             "channel": "email", "tone": "friendly", "cost": 0.05} for a in amounts
        ]  # fmt: skip
    return Ledger.from_frames(**{name: rows for name, rows in tables.items() if rows})


def lift_of(factor, cases=400):
    """What a large log of hand-overs would have shown."""
    rng = np.random.default_rng(0)
    age, amount = rng.choice([20, 60, 120, 300], cases), rng.choice([20.0, 100.0, 900.0], cases)
    expected = np.full(cases, 0.2)
    paid = rng.poisson(factor * expected).astype(float)
    return Lift.of(Followed(paid, expected, age, amount, expected), None)


def policy_of(kit, catalogue, ledger, rates, factor=None):
    policy = NextBestAction(
        catalogue, payment=Curve(rates), response=kit.Response(catalogue, size=0.0)
    ).fit(ledger, AS_OF)
    if factor is not None:
        lift = lift_of(factor)
        policy.outside_ = Outside(dict.fromkeys(Place, lift), 0.0)
    return policy


RATES = {"good": 0.05, "poor": 0.0008, "tiny": 0.0008}
AMOUNTS = {"good": 300.0, "poor": 300.0, "tiny": 1.0}


def chosen(decisions):
    table = decisions.to_arrow()
    return dict(zip(table["account_id"].to_pylist(), table["channel"].to_pylist(), strict=True))


def test_each_goes_where_it_is_worth_most(kit):
    catalogue, ledger = Catalogue.from_dict({**BASE, **WAYS}), book(AMOUNTS)
    policy = policy_of(kit, catalogue, ledger, RATES, factor=3.0)
    decisions = policy.decide(ledger, AS_OF)
    assert chosen(decisions) == {"good": "none", "poor": "agency", "tiny": "stop"}
    said = {a: str(decisions.explain(a)) for a in AMOUNTS}
    assert "better now than later" in said["poor"]
    assert "no later step is worth more than it costs" in said["tiny"]
    for row in decisions.to_arrow().to_pylist():
        terms = decisions.explain(row["account_id"]).terms
        assert sum(terms.values()) == pytest.approx(row["value"])
    table = policy.outside_table(Snapshot(ledger, AS_OF)).set_index(["account_id", "action"])
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert table.loc[("poor", "agency"), "best_on"] == np.datetime64(AS_OF.date())
    assert table.loc[("good", "stop"), "value"] < -200
    row = {r["account_id"]: r for r in decisions.to_arrow().to_pylist()}["poor"]
    assert row["value"] == pytest.approx(table.loc[("poor", "agency"), "value"])


def test_without_evidence_nobody_is_handed_over(kit):
    catalogue, ledger = Catalogue.from_dict({**BASE, "agency": WAYS["agency"]}), book(AMOUNTS)
    policy = policy_of(kit, catalogue, ledger, RATES)
    assert set(chosen(policy.decide(ledger, AS_OF)).values()) == {"none"}
    table = policy.outside_table(Snapshot(ledger, AS_OF))
    assert not table["sure"].any()


def test_harm_to_the_relation_keeps_a_claim_in_the_house(kit):
    catalogue, ledger = Catalogue.from_dict({**BASE, **WAYS}), book(AMOUNTS)
    dear = {**BASE, **WAYS, "value": {"complaint_cost": 20_000.0}}
    assert (
        "agency"
        in chosen(policy_of(kit, catalogue, ledger, RATES, 3.0).decide(ledger, AS_OF)).values()
    )
    costly = policy_of(kit, Catalogue.from_dict(dear), ledger, RATES, 3.0)
    assert "agency" not in chosen(costly.decide(ledger, AS_OF)).values()


def test_a_hold_or_a_missing_step_refuses_it(kit):
    catalogue = Catalogue.from_dict({**BASE, **WAYS})
    plan = [{"account_id": a, "kind": "payment_plan", "from_on": AS_OF.date()} for a in AMOUNTS]
    plan = [{**row, "from_on": AS_OF.date() - timedelta(days=9)} for row in plan]
    for ledger in (book(AMOUNTS, holds=plan), book(AMOUNTS, contacts=False)):
        found = chosen(policy_of(kit, catalogue, ledger, RATES, 3.0).decide(ledger, AS_OF))
        assert "agency" not in found.values()
    assert found["tiny"] == "stop", "to stop needs no step"


def test_what_a_customer_said_keeps_the_claim_as_a_hold_does(kit):
    catalogue = Catalogue.from_dict({**BASE, **WAYS, "jurisdiction": "de"})
    said = [{"account_id": "tiny", "at": AS_OF - timedelta(days=9), "kind": "plan_accepted",
             "contact_id": None}]  # fmt: skip
    for responses, channel in (([], "stop"), (said, "none")):
        ledger = book(AMOUNTS, responses=responses)
        policy = policy_of(kit, catalogue, ledger, RATES, 3.0)
        assert chosen(policy.decide(ledger, AS_OF))["tiny"] == channel


def test_a_person_may_stop_what_no_model_knows_of(kit):
    catalogue, ledger = Catalogue.from_dict({**BASE, **WAYS}), book(AMOUNTS)
    policy = policy_of(kit, catalogue, ledger, {**RATES, "good": np.nan}, factor=3.0)
    today = AS_OF.date()
    until = today + timedelta(days=1)
    stop = Override("good", OverrideKind.FORCE, "asked", "me", today, until, action=ActionKind.STOP)
    decisions = policy.decide(ledger, AS_OF, overrides=Overrides((stop,)))
    row = {r["account_id"]: r for r in decisions.to_arrow().to_pylist()}["good"]
    assert row["channel"] == "stop"
    assert row["p_pay"] is None or np.isnan(row["p_pay"])
    assert not any("nan" in reason for reason in row["reasons"])


def test_exploration_counts_euros_where_the_ladder_is_kept(kit):
    catalogue, ledger = Catalogue.from_dict({**BASE, **WAYS}), book(AMOUNTS)
    policy = policy_of(kit, catalogue, ledger, RATES, factor=3.0)
    snapshot = Snapshot(ledger, AS_OF)
    state = State.of(snapshot, catalogue, Layout.of(catalogue.actions))
    own = policy._own_case(snapshot, state)[0]
    rungs = FixedLadder(catalogue)._case(snapshot, state)[0]
    ladder = LadderCase(own, rungs, np.ones(len(state), dtype=bool))
    found, pricing = policy._worths(snapshot, state), policy._pricing(snapshot, state)
    plain, kept = (HandoverCase(case, found, pricing) for case in (own, ladder))
    every = slice(0, len(state))
    assert not np.array_equal(kept.values(every), plain.values(every))
    np.testing.assert_array_equal(kept.euros(every), plain.values(every))
    # what a step is worth hangs on its own account alone
    contact = np.flatnonzero(catalogue.actions.is_contact)
    each = [ladder.values(slice(i, i + 1), contact)[0] for i in range(len(state))]
    assert np.isfinite(each).any(axis=1).all()
    np.testing.assert_array_equal(ladder.values(every, contact), each)
    assert max(each[0]) > max(each[2]) > 0, "the larger debt goes first"


def test_books_without_the_tables_see_nothing_of_it(kit):
    frames = kit.frames(4)
    spec = {k: v for k, v in frames.catalogue.items() if k != "agency"}
    catalogue, ledger = Catalogue.from_dict(spec), frames.ledger()
    assert not {"stop", "stages", "agency", "court"} & set(catalogue.to_dict())
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue)).fit(
        ledger, frames.as_of
    )
    assert policy.outside_ is None
    assert "outside" not in policy._content()
    assert not [code for code in policy.rules.codes if code.startswith("STAGE")]
    assert not len(policy.outside_table(Snapshot(ledger, frames.as_of)))
    # the inner case decides alone, byte for byte
    decisions = policy.decide(ledger, frames.as_of, rng=1)
    policy._case = policy._own_case
    assert policy.decide(ledger, frames.as_of, rng=1).table.equals(decisions.table)


def test_a_policy_with_ways_out_is_saved_and_read(tmp_path):
    ledger, _ = log_of(3, n=80)
    catalogue = Catalogue.from_dict({**BASE, **WAYS})
    policy = NextBestAction(catalogue).fit(ledger, AS_OF)
    assert policy.outside_.lifts[Place.AGENCY].cases > 10
    policy.save(tmp_path / "policy")
    read = load(tmp_path / "policy")
    assert read.version == policy.version
    assert read.decide(ledger, AS_OF).table.equals(policy.decide(ledger, AS_OF).table)


def test_what_was_learnt_survives_saving():
    lift = lift_of(2.0)
    outside = Outside({Place.AGENCY: lift, Place.COURT: lift}, 0.01)
    assert Outside.from_dict(outside.to_dict()).to_dict() == outside.to_dict()


def test_court_costs_fees_and_claims_interest(kit):
    spec = {**BASE, "court": {"cost": 5.0}, "jurisdiction": "de"}
    catalogue, ledger = Catalogue.from_dict(spec), book({"a": 1000.0}, late=100)
    layout = Layout.of(catalogue.actions)
    snapshot = Snapshot(ledger, AS_OF)
    state = State.of(snapshot, catalogue, layout)
    pricing = Pricing(state, default_objective(), catalogue, np.zeros(1))
    outside = Outside({place: lift_of(3.0) for place in Place}, 0.0)
    found = worths(outside, snapshot, pricing, Curve({"a": 0.001}))
    assert found.cost[0, 0] == 5.0 + 38.0, "two steps of 500 EUR: half of 61 is below the least"
    assert found.kinds == (ActionKind.COURT,)
    # no base rate is known from 2026 on: nothing is extrapolated
    assert found.interest[0] == 0.0


# A log of hand-overs, and a naive rule ---------------------------------------------------------


def lives(seed, n, rule, factor, fee):
    """Money of n accounts over two years, a hand-made world: payers of all kinds, weekly.

    `rule(age, rate)` says from which week on each is handed over; the world knows the rates.
    """
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 0.02, n)
    luck = rng.random((104, n))
    amount, cash, open_ = np.full(n, 100.0), np.zeros(n), np.ones(n, bool)
    away = np.zeros(n, bool)
    for week in range(104):
        away |= open_ & rule(week, rate)
        hazard = 1 - np.exp(-7 * rate * np.where(away, factor, 1.0) * np.exp(-week / 60))
        paid = open_ & (luck[week] < hazard)
        cash += np.where(paid, amount * np.where(away, 1 - fee, 1.0), 0.0)
        open_ &= ~paid
    return cash.sum() / n


def test_the_stop_problem_earns_more_than_never_and_than_the_raw_success_rate():
    """Naive: everybody at once, as an agency is paid more often than we are afterwards."""
    from collectopt.policy.stopping import NEVER, Way, solve

    factor, fee, n = 2.5, 0.3, 300

    def plan(rate):
        weeks = np.arange(104)
        hazard = 1 - np.exp(-7 * rate[:, None] * np.exp(-weeks / 60))
        way = Way(np.full((n, 1), factor), 1 - fee, np.zeros(n), np.full(n, NEVER), np.ones(n))
        none = np.zeros((n, 104), int)
        return solve(hazard, np.full(104, 7.0), none, [way], rate=0.0, drain=np.zeros(n)).step

    gains = []
    for seed in range(30):
        steps = plan(np.random.default_rng(seed).gamma(0.5, 0.02, n))
        ours = lives(seed, n, lambda week, _, s=steps: s <= week, factor, fee)
        never = lives(seed, n, lambda *_: np.zeros(n, bool), factor, fee)
        naive = lives(seed, n, lambda *_: np.ones(n, bool), factor, fee)
        gains.append((ours - never, ours - naive))
    mean, stderr = np.mean(gains, axis=0), np.std(gains, axis=0, ddof=1) / np.sqrt(30)
    assert (mean > 3 * stderr).all(), (mean, stderr)


def log_of(seed, n=400, factor=2.5):
    """A ledger in which hopeless claims were handed over after sixty days."""
    rng = np.random.default_rng(seed)
    rate = {f"{i:04d}": float(r) for i, r in enumerate(rng.gamma(1.0, 0.006, n))}
    start = AS_OF - timedelta(days=300)
    accounts, invoices, payments, holds = [], [], [], []
    for a, r in rate.items():
        due = (start + timedelta(days=int(rng.integers(0, 120)))).date()
        gone = rng.random() < np.exp(-r / 0.004)
        wait = rng.exponential(1 / r)
        if gone and wait > 60:
            wait = 60 + (wait - 60) / factor
            holds.append({"account_id": a, "kind": "agency", "invoice_id": f"I{a}",
                          "from_on": due + timedelta(days=60)})  # fmt: skip
        accounts.append({"account_id": a, "customer_type": "business", "country": "DE",
                         "timezone": "UTC"})  # fmt: skip
        invoices.append({"invoice_id": f"I{a}", "account_id": a, "issued_on": due, "due_on": due,
                         "amount": 100.0, "currency": "EUR"})  # fmt: skip
        if wait < 900:
            at = datetime(due.year, due.month, due.day, 12, tzinfo=UTC) + timedelta(days=wait)
            payments.append({"payment_id": f"P{a}", "account_id": a, "paid_at": at,
                             "amount": 100.0, "invoice_id": f"I{a}"})  # fmt: skip
    ledger = Ledger.from_frames(
        accounts=accounts, invoices=invoices, payments=payments, holds=holds
    )
    return ledger, rate


@pytest.fixture(scope="module")
def pasts():
    found = []
    for seed in range(4):
        ledger, rate = log_of(seed)
        found.append(look_back(ledger, np.datetime64(AS_OF.replace(tzinfo=None)), Curve(rate)))
    return found


def test_the_log_shows_the_factor_although_the_hopeless_were_handed_over(pasts):
    raw_gone = np.mean([p.gone[Place.AGENCY].paid.mean() for p in pasts])
    gone = [p.gone[Place.AGENCY] for p in pasts]
    assert sum(len(g) for g in gone) > 100
    ratio = sum(g.paid.sum() for g in gone) / sum(g.expected.sum() for g in gone)
    stderr = ratio / np.sqrt(sum(g.paid.sum() for g in gone))
    assert abs(ratio - 2.5) < 3 * stderr
    stayed = [p.stayed for p in pasts]
    level = sum(s.paid.sum() for s in stayed) / sum(s.expected.sum() for s in stayed)
    assert abs(level - 1.0) < 0.12
    assert raw_gone < 0.75
    lift = Lift.of(gone[0], stayed[0])
    assert lift.cases == len(gone[0])
    assert lift.factor.quantile(0.1).max() > 1.0


def test_only_what_was_known_before_the_cut_is_looked_at():
    ledger, rate = log_of(7, n=80)
    cut = np.datetime64(AS_OF.replace(tzinfo=None)) - np.timedelta64(100, "D")
    tables = {
        name: getattr(ledger, name).to_pandas()
        for name in ("accounts", "invoices", "payments", "holds")
    }
    early = np.datetime64(cut, "us")
    payments, holds = tables["payments"], tables["holds"]
    naive = payments["paid_at"].dt.tz_convert("UTC").dt.tz_localize(None)
    tables["payments"] = payments[naive < early]
    tables["holds"] = holds[holds["from_on"].astype("datetime64[us]") < early]
    before, after = (look_back(x, cut, Curve(rate)) for x in (ledger, Ledger.from_frames(**tables)))
    for one, two in (
        (before.stayed, after.stayed), (before.gone[Place.AGENCY], after.gone[Place.AGENCY])
    ):  # fmt: skip
        assert np.array_equal(one.paid, two.paid)
        assert np.allclose(one.expected, two.expected)


def test_costs_of_contacts_are_counted_in_books_of_any_size():
    """Account times microseconds does not fit into 64 bits from 5,153 accounts on."""
    names = [f"{i:05d}" for i in range(6000)]
    due = AS_OF.date() - timedelta(days=100)
    ledger = Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "business", "country": "DE",
                   "timezone": "UTC"} for a in names],
        invoices=[{"invoice_id": "I", "account_id": names[-1], "issued_on": due, "due_on": due,
                   "amount": 100.0, "currency": "EUR"}],
        contacts=[{"contact_id": f"{a}{days}", "account_id": a, "channel": "email", "cost": cost,
                   "tone": "friendly", "sent_at": AS_OF - timedelta(days=days)}
                  for days, cost in ((60, 8.0), (20, 1.0), (5, 2.0)) for a in names[::1999]
                  + names[-1:]],
    )  # fmt: skip
    cut = np.datetime64(AS_OF.replace(tzinfo=None))
    rows = Snapshot(ledger, cut - np.timedelta64(28, "D"))
    assert _spent(ledger, rows, np.full(len(rows), 28.0), cut) == pytest.approx(3.0 / 28)
    assert _spent(ledger, rows, np.full(len(rows), 14.0), cut) == pytest.approx(1.0 / 14)


def test_what_is_impossible_stays_so_in_every_quantile():
    gain = np.array([[-np.inf, 1.0], [-np.inf, 2.0], [-np.inf, 4.0]])  # (points, accounts)
    assert quantile(gain, 0.5).tolist() == [-np.inf, 2.0]
    assert quantile(gain, 0.1)[1] == pytest.approx(np.quantile(gain[:, 1], 0.1))
