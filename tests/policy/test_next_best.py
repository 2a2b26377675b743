"""NextBestAction: parts, values, explanations, saving and loading."""

from __future__ import annotations

import json

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.policy import BestConstant, FixedLadder, NextBestAction, load
from collectopt.rules import Layout, State

AS_OF = "2026-02-05T06:00+01:00"
CATALOGUE = co.Catalogue.from_dict(
    {
        "channels": [
            {"name": "email", "cost": 0.05},
            {"name": "phone", "cost": 4.5, "capacity": 1},
        ],
        "cadence_days": 1,
        "slots": {"hours": [9, 14]},
        "timezone": "Europe/Berlin",
        "discount_rate": 0.0,
    }
)


@pytest.fixture(scope="module")
def ledger():
    amounts = {"A": 100.0, "B": 400.0, "C": 90.0, "D": 0.5}
    return co.Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE",
             "timezone": "Europe/Berlin", "phone_ok": True}
            for a in amounts
        ],
        invoices=[
            {"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02",
             "due_on": "2026-01-16", "amount": amount, "currency": "EUR"}
            for a, amount in amounts.items()
        ],
        holds=[{"account_id": "C", "kind": "payment_plan", "from_on": "2026-01-20"}],
    )  # fmt: skip


class Response:
    """E-mail adds 2 points, phone 6."""

    def effect_factors(self, X):
        del X
        a = CATALOGUE.actions
        points = np.where(a.is_contact, np.where(a.channel == 1, 0.06, 0.02), 0.0)
        return np.ones((1, 1)), points[:, None]


def make(kit, objective=None, catalogue=CATALOGUE):
    return NextBestAction(
        catalogue, payment=kit.Payment(), response=Response(), objective=objective
    )


def test_values_by_hand(kit, ledger):
    objective = co.ExpectedRecovery() - co.ContactCost()
    decisions = make(kit, objective).fit(ledger, AS_OF).decide(ledger, AS_OF)
    rows = {r["account_id"]: r for r in decisions.to_arrow().to_pylist()}
    # one call: B 0.06 * 400 - 4.5 = 19.5 against 7.95 by e-mail; A 1.5 against 1.95
    assert {a: r["channel"] for a, r in rows.items()} == {
        "A": "email", "B": "phone", "C": "none", "D": "none",
    }  # fmt: skip
    assert rows["B"]["value"] == pytest.approx(19.5)
    assert rows["A"]["value"] == pytest.approx(1.95)
    assert rows["A"]["uplift"] == pytest.approx(0.02)
    assert rows["A"]["p_pay"] == pytest.approx(rows["A"]["p_pay_if_wait"] + 0.02)
    assert rows["B"]["expected_recovery"] == pytest.approx(400 * rows["B"]["p_pay"])
    assert rows["B"]["runner_up"] == "email, friendly, 09:00 today"
    assert rows["D"]["value"] == 0
    assert rows["B"]["tone"] == "friendly"
    assert rows["B"]["send_at"].isoformat() == "2026-02-05T08:00:00+00:00"
    assert decisions.terms["-ContactCost()"].to_pylist() == [-0.05, -4.5, 0.0, 0.0]


def test_explanations_are_plain_words(kit, ledger):
    decisions = make(kit).fit(ledger, AS_OF).decide(ledger, AS_OF)
    plan = str(decisions.explain("C"))
    assert "No contact: a payment plan is in force (HOLD_PAYMENT_PLAN)." in plan
    assert f"HOLD_PAYMENT_PLAN: {len(CATALOGUE.actions) - 2} refused" in plan
    small = str(decisions.explain("D"))
    assert "Waiting is best: the next best, email, friendly, 09:00 today" in small
    call = str(decisions.explain("B"))
    assert "400.00 EUR are open" in call
    assert "runner-up: email, friendly, 09:00 today" in call
    assert "FIRST_CONTACT_GENTLE: 8 refused" in call
    with pytest.raises(InputError, match="Accounts without an open claim"):
        decisions.explain("nobody")


def test_scarce_calls_have_a_price(kit, ledger):
    cheap = co.Catalogue.from_dict(
        {**CATALOGUE.to_dict(), "channels": [{"name": "phone", "cost": 0.1, "capacity": 1}]}
    )

    class Calls:
        def effect_factors(self, X):
            del X
            return np.ones((1, 1)), np.where(cheap.actions.is_contact, 0.06, 0.0)[:, None]

    policy = NextBestAction(cheap, payment=kit.Payment(), response=Calls()).fit(ledger, AS_OF)
    decisions = policy.decide(ledger, AS_OF)
    assert decisions.prices["phone"] > 5
    assert "scarce and worth more elsewhere" in str(decisions.explain("A"))


def test_bare_dates_are_midnights_of_the_catalogue(kit, ledger):
    policy = make(kit).fit(ledger, "2026-02-05")
    midnight = policy.decide(ledger, "2026-02-05").to_arrow()
    assert midnight.equals(policy.decide(ledger, "2026-02-05T00:00+01:00").to_arrow())


def test_nothing_open_gives_an_empty_table(kit, ledger):
    decisions = make(kit).fit(ledger, AS_OF).decide(ledger, "2026-01-01")
    assert len(decisions) == 0
    assert decisions.to_pandas().columns[0] == "account_id"


def test_an_integer_and_a_generator_seed(kit, ledger):
    policy = make(kit).fit(ledger, AS_OF)
    one, two = (policy.decide(ledger, AS_OF, rng=np.random.default_rng(5)) for _ in range(2))
    assert one.to_arrow().equals(two.to_arrow())
    with pytest.raises(InputError, match="an int or a numpy Generator"):
        policy.decide(ledger, AS_OF, rng="5")


def test_parts_are_checked(kit):
    with pytest.raises(InputError, match="a Catalogue"):
        NextBestAction({"channels": []})
    with pytest.raises(InputError, match="predict"):
        NextBestAction(CATALOGUE, payment=object())
    with pytest.raises(InputError, match="a sum of terms"):
        NextBestAction(CATALOGUE, objective=lambda block: 0)
    with pytest.raises(InputError, match="negative weight"):
        make(kit, co.ExpectedRecovery() + co.ContactCost())
    with pytest.raises(NotFittedError, match="needs a fitted NextBestAction"):
        make(kit).decide(None, AS_OF)


def test_the_payment_model_is_fitted_where_it_can_be(kit, ledger):
    class Fits(kit.Payment):
        cut = None

        def fit(self, ledger, *, as_of):
            self.cut = as_of
            return self

    model = Fits()
    NextBestAction(CATALOGUE, payment=model, response=Response()).fit(ledger, "2026-02-05")
    assert str(model.cut) == "2026-02-04T23:00:00.000000"


def test_version_names_what_decides(kit, ledger):
    policy = make(kit).fit(ledger, AS_OF)
    assert policy.version == make(kit).fit(ledger, AS_OF).version
    other = make(kit, co.ExpectedRecovery() - 2 * co.ContactCost()).fit(ledger, AS_OF)
    assert other.version != policy.version
    row = policy.decide(ledger, AS_OF).to_arrow().to_pylist()[0]
    assert row["policy_version"] == policy.version
    ids = {
        policy.decide(ledger, AS_OF, rng=0).to_arrow()["decision_id"][0].as_py(),
        policy.decide(ledger, AS_OF, rng=1).to_arrow()["decision_id"][0].as_py(),
        other.decide(ledger, AS_OF, rng=0).to_arrow()["decision_id"][0].as_py(),
    }
    assert len(ids) == 3


# Saving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_policy", [lambda: FixedLadder(CATALOGUE, days=(2, 9)), lambda: BestConstant(CATALOGUE)]
)
def test_baselines_come_back_the_same(tmp_path, ledger, make_policy):
    policy = make_policy().fit(ledger, AS_OF)
    policy.save(tmp_path / "p")
    again = load(tmp_path / "p")
    assert type(again) is type(policy)
    assert again.version == policy.version
    assert again.decide(ledger, AS_OF).to_arrow().equals(policy.decide(ledger, AS_OF).to_arrow())


@pytest.fixture(scope="module")
def fitted():
    """A policy with the real models on a small simulated book."""
    book = co.simulation.Book("shop", accounts=150, seed=3, weeks=30)
    payment = co.models.PaymentModel(event="full")
    ledger = book.ledger()
    objective = co.ExpectedRecovery() - 1.5 * co.ContactCost() - co.ComplaintRisk(cost=5.0)
    policy = NextBestAction(book.catalogue, payment=payment, objective=objective)
    return policy.fit(ledger, book.as_of), ledger, book


def test_real_models_decide_and_come_back_the_same(tmp_path, fitted):
    policy, ledger, book = fitted
    before = policy.decide(ledger, book.as_of, rng=3)
    policy.save(tmp_path / "nba")
    again = co.load(tmp_path / "nba")
    assert again.version == policy.version
    assert again.objective == policy.objective
    after = again.decide(ledger, book.as_of, rng=3)
    assert after.to_arrow().equals(before.to_arrow())
    assert {file.suffix for file in (tmp_path / "nba").rglob("*") if file.is_file()} <= {
        ".json", ".txt", ".npz",
    }  # fmt: skip
    p = before.to_arrow()["p_pay"].to_numpy()
    assert ((p >= 0) & (p <= 1)).all()


def test_a_changed_artifact_is_refused(tmp_path, ledger):
    FixedLadder(CATALOGUE).save(tmp_path / "p")
    file = tmp_path / "p" / "policy.json"
    head = json.loads(file.read_text())
    for change, why in (
        ({"content": {"days": [1, 2]}}, "was changed after it was saved"),
        ({"format": 99}, "has format 99"),
        ({"kind": "magic"}, "unknown kind of policy 'magic'"),
        ({"rules": ["NOPE"]}, "NOPE"),
        ({"catalogue": {}}, "cannot be read"),
        ({"content": {}}, "cannot be read"),
    ):
        file.write_text(json.dumps({**head, **change}))
        with pytest.raises(ArtifactError, match=why):
            load(tmp_path / "p")
    file.write_text("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load(tmp_path / "p")
    with pytest.raises(ArtifactError, match=r"is no saved policy: .* Is it .*p\?"):
        load(tmp_path)


def test_what_cannot_be_saved_says_so_and_leaves_nothing(tmp_path, kit, ledger):
    policy = make(kit)
    with pytest.raises(NotFittedError):
        policy.save(tmp_path / "p")
    with pytest.raises(ArtifactError, match="Payment has no method save"):
        policy.fit(ledger, AS_OF).save(tmp_path / "p")
    assert not list(tmp_path.iterdir())


def test_own_rules_come_back_or_are_refused(tmp_path):
    rules = co.rules.Rules.from_catalogue(CATALOGUE)
    fewer = FixedLadder(CATALOGUE, rules=rules.without(["FIRST_CONTACT_GENTLE"]))
    fewer.save(tmp_path / "fewer")
    assert load(tmp_path / "fewer").rules == fewer.rules
    own = co.rules.Rules((co.rules.Hold("dispute"), co.rules.MaxToneStep(0)))
    with pytest.raises(ArtifactError, match="own rules"):
        FixedLadder(CATALOGUE, rules=own).save(tmp_path / "own")


def test_another_objective_on_the_same_models(kit, ledger):
    policy = make(kit, co.ExpectedRecovery() - co.ContactCost()).fit(ledger, AS_OF)
    dear = policy.with_objective(co.ExpectedRecovery() - 4.0 * co.ContactCost())
    assert dear.payment_ is policy.payment_
    assert dear.version != policy.version
    # four times dearer: B 24 - 18 = 6 by phone against 8 - .2 by e-mail
    channels = {p: p.decide(ledger, AS_OF).to_pandas().set_index("account_id").channel["B"]
                for p in (policy, dear)}  # fmt: skip
    assert channels == {policy: "phone", dear: "email"}
    with pytest.raises(NotFittedError):
        make(kit).with_objective(policy.objective)
    with pytest.raises(InputError, match="ExpectedRecovery"):
        policy.with_objective("money")


def test_the_wrong_kind_of_input_is_named(kit, ledger):
    policy = make(kit).fit(ledger, AS_OF)
    with pytest.raises(InputError, match="expected a Ledger; found str"):
        policy.decide(AS_OF, ledger)
    with pytest.raises(InputError, match=r"expected a Snapshot; found Ledger.* Snapshot\(ledger"):
        State.of(ledger, CATALOGUE, Layout.of(CATALOGUE.actions))
    with pytest.raises(InputError, match="Identifiers are text"):
        policy.decide(ledger, AS_OF).explain(7)
