"""Harm to a customer's credit standing: priced, told, and never there unless a price is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.evaluation import pareto
from collectopt.messages import Language, in_words
from collectopt.models.external import Followed, Lift, Place
from collectopt.objective import ContactCost, CreditStanding, ExpectedRecovery, default_objective
from collectopt.policy import NextBestAction, load
from collectopt.policy.handover import Outside, Pricing
from collectopt.rules import Layout, State
from collectopt.schema import ActionKind, Catalogue, Forecast, Ledger, Snapshot

AS_OF = datetime(2026, 2, 5, 6, tzinfo=UTC)
BASE = {
    "channels": [{"name": "email", "cost": 0.05}], "slots": {"hours": [9]}, "cadence_days": 1,
    "timezone": "UTC", "discount_rate": 0.0,
    "house": {"min_contacts_before_agency": 1, "doubt": 1.0, "distress": 1.0},
    "agency": {"fee": 0.25, "cost": 2.0, "notice_days": 7},
    "tones": {"order": ["friendly", "firm"]},
}  # fmt: skip
PEOPLE = {"firm": "business", "person": "consumer"}


class Slow:
    """Every claim is paid with the same low rate a day."""

    def predict(self, snapshot, horizons, level):
        days = np.array([float(h.removesuffix("D")) for h in horizons])
        p = np.tile(1.0 - np.exp(-0.0008 * days), (len(snapshot), 1))
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((len(p), 3), 9.0))


@pytest.fixture(scope="module")
def ledger():
    due = AS_OF.date() - timedelta(days=100)
    return Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": kind, "country": "DE", "timezone": "UTC",
                   "lifetime_value": 0.0} for a, kind in PEOPLE.items()],
        invoices=[{"invoice_id": f"I{a}", "account_id": a, "amount": 300.0, "due_on": due,
                   "issued_on": due - timedelta(days=14), "currency": "EUR"} for a in PEOPLE],
        contacts=[{"contact_id": f"{tone}{a}", "account_id": a, "channel": "email", "tone": tone,
                   "sent_at": AS_OF - timedelta(days=days), "cost": 0.05}
                  for a in PEOPLE for tone, days in (("friendly", 60), ("firm", 20))],
    )  # fmt: skip


def policy_of(kit, ledger, price=None, objective=None, doubt=0.5, keep=3.0):
    """An agency triples the rate of payment, as a large log shows; all is half clear."""
    value = {} if price is None else {"value": {"credit_standing_cost": price}}
    catalogue = Catalogue.from_dict({**BASE, **value, "stop": {"keep_cost": keep}})
    response = kit.Response(catalogue, size=0.0)
    policy = NextBestAction(catalogue, payment=Slow(), response=response, objective=objective)
    policy.fit(ledger, AS_OF)
    rng = np.random.default_rng(0)
    age, amount = rng.choice([20, 60, 120, 300], 400), rng.choice([20.0, 100.0, 900.0], 400)
    expected = np.full(400, 0.2)
    paid = rng.poisson(3.0 * expected).astype(float)
    lift = Lift.of(Followed(paid, expected, age, amount, expected), None)
    policy.outside_ = Outside(dict.fromkeys(Place, lift), 0.0)
    policy.delays_ = Clear(doubt)
    return policy


class Clear:
    """Says of all accounts that there is no distress, and how unclear it is why they are late."""

    def __init__(self, doubt):
        self.doubt = doubt

    def predict(self, snapshot):
        found = Clear(np.full(len(snapshot), self.doubt))
        found.distress = np.zeros(len(snapshot))
        return found


def chosen(decisions):
    table = decisions.to_arrow()
    return dict(zip(table["account_id"].to_pylist(), table["channel"].to_pylist(), strict=True))


def worth(policy, ledger):
    table = policy.outside_table(Snapshot(ledger, AS_OF))
    return table[table["action"] == "agency"].set_index("account_id")["value"].to_dict()


def test_without_a_price_nothing_is_there(kit, ledger):
    plain, free = policy_of(kit, ledger), policy_of(kit, ledger, price=0.0)
    assert plain.objective == free.objective == default_objective()
    assert "credit_standing_cost" not in str(plain.catalogue.to_dict())
    assert "CreditStanding" not in str(plain.decide(ledger, AS_OF).explain("person"))
    assert chosen(plain.decide(ledger, AS_OF)) == {"firm": "agency", "person": "agency"}


def test_a_price_is_deducted_from_what_a_step_is_worth_now(kit, ledger):
    """By hand: 12 EUR x (1 + 0.5) for the person, half of it for the firm.

    Going on includes to hand over later, at the same price; what a step loses by its price is
    therefore between nothing and all of it.
    """
    before = worth(policy_of(kit, ledger), ledger)
    priced = policy_of(kit, ledger, price=12.0)
    after = worth(priced, ledger)
    for account, price in (("person", 18.0), ("firm", 9.0)):
        assert before[account] - price - 1e-9 <= after[account] < before[account]
        decisions = priced.decide(ledger, AS_OF)
        row = {r["account_id"]: r for r in decisions.to_arrow().to_pylist()}[account]
        terms = decisions.explain(account).terms
        assert row["channel"] == "agency"
        assert terms["-CreditStanding()"] == pytest.approx(-price)
        assert sum(terms.values()) == pytest.approx(row["value"]) == pytest.approx(after[account])


def test_agency_and_court_leave_a_mark_and_to_stop_does_not(ledger):
    spec = {**BASE, "court": {}, "stop": {}, "value": {"credit_standing_cost": 10.0}}
    catalogue = Catalogue.from_dict(spec)
    state = State.of(Snapshot(ledger, AS_OF), catalogue, Layout.of(catalogue.actions))
    pricing = Pricing(state, CreditStanding() * -1.0, catalogue, np.zeros(2))
    none = np.zeros(2)
    # nothing is known of why they are late: twice the price, half of it for the firm
    for kind, euros in (("AGENCY", [-10, -20]), ("COURT", [-10, -20]), ("STOP", [0, 0])):
        assert pricing.euros(ActionKind[kind], none, none).tolist() == euros


def test_the_less_is_clear_the_dearer_it_is(kit, ledger):
    clear, unclear = (worth(policy_of(kit, ledger, 12.0, doubt=d), ledger) for d in (0.0, 1.0))
    assert all(unclear[a] < clear[a] for a in PEOPLE)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (12.0, {"firm": "agency", "person": "agency"}),
        (250.0, {"firm": "none", "person": "none"}),
    ],
)
def test_a_high_price_keeps_the_claim_in_the_house(kit, ledger, price, expected):
    assert chosen(policy_of(kit, ledger, price).decide(ledger, AS_OF)) == expected


def test_a_price_between_keeps_the_person_alone(kit, ledger):
    own = ExpectedRecovery() - ContactCost() - CreditStanding(cost=120.0, business=0.0)
    policy = policy_of(kit, ledger, objective=own)
    assert chosen(policy.decide(ledger, AS_OF)) == {"firm": "agency", "person": "none"}


def test_to_stop_wins_where_a_step_would_harm_more_than_it_brings(kit, ledger):
    for price, channel in ((None, "agency"), (250.0, "stop")):
        decisions = policy_of(kit, ledger, price, keep=20.0).decide(ledger, AS_OF)
        assert chosen(decisions)["person"] == channel


def test_it_is_told_in_both_languages(kit, ledger):
    decisions = policy_of(kit, ledger, price=12.0).decide(ledger, AS_OF)
    assert "harm to the customer's credit standing −18.00" in in_words(decisions, "person")
    german = in_words(decisions, "firm", Language.DE)
    assert "der Schaden für die Kreditwürdigkeit der Person −9,00" in german


def test_it_has_its_frontier(kit, ledger):
    policy = policy_of(kit, ledger, price=12.0)
    found = pareto(policy, ledger, AS_OF, term=CreditStanding(), weights=(0.0, 1.0, 30.0)).table
    assert found["CreditStanding"].tolist() == pytest.approx([27.0, 27.0, 0.0])
    assert found["contacts"].tolist() == [2, 2, 0]


def test_one_account_at_a_time_it_is_priced_alike(kit, ledger):
    policy = policy_of(kit, ledger, price=12.0)
    fast, decisions = policy.prepare(), policy.decide(ledger, AS_OF)
    for name, record in fast.records(ledger, AS_OF).items():
        one = fast.decide(record, rng=0)
        assert one.channel == "agency"
        assert dict(one.terms) == pytest.approx(dict(decisions.explain(name).terms))
        assert one.terms["-CreditStanding()"] < 0


def test_one_account_at_a_time_and_after_saving_it_is_the_same(tmp_path, ledger):
    catalogue = Catalogue.from_dict({**BASE, "value": {"credit_standing_cost": 12.0}})
    policy = NextBestAction(catalogue).fit(ledger, AS_OF)
    policy.save(tmp_path / "policy")
    read = load(tmp_path / "policy")
    assert read.objective == policy.objective == default_objective(credit_standing=True)
    assert read.version == policy.version
    fast = policy.prepare()
    for name, record in fast.records(ledger, AS_OF).items():
        one = fast.decide(record, rng=0)
        assert set(one.terms) == set(policy.decide(ledger, AS_OF).explain(name).terms)
