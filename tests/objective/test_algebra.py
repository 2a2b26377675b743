"""The algebra of terms, by hand-sized examples and identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectopt.exceptions import ArtifactError, InputError
from collectopt.objective import (
    Block,
    ComplaintRisk,
    ContactCost,
    CreditStanding,
    ExpectedRecovery,
    Objective,
    OptOutRisk,
    RelationshipCost,
    Term,
    default_objective,
    from_dict,
)


def make_block(**change):
    fields = {
        "p": np.array([[0.3, 0.4, 0.5], [0.1, 0.1, 0.0]]),
        "p_wait": np.array([[0.3], [0.1]]),
        "open_amount": np.array([[100.0], [50.0]]),
        "days": np.array([[14.0], [7.0]]),
        "lifetime_value": np.array([[1000.0], [np.nan]]),
        "contacts": np.array([[0.0], [2.0]]),
        "cost": np.array([[0.0, 0.05, 4.5]]),
        "tone": np.array([[-1, 0, 2]]),
        "contact": np.array([[False, True, True]]),
        "discount_rate": 0.0,
        "complaint_cost": 12.0,
    }
    return Block(**{**fields, **change})


def test_expected_recovery_by_hand():
    block = make_block()
    assert ExpectedRecovery().values(block) == pytest.approx(np.array([[0, 10, 20], [0, 0, -5.0]]))
    later = make_block(discount_rate=0.08)
    assert ExpectedRecovery().values(later)[0, 2] == pytest.approx(20 * 1.08 ** (-14 / 365))
    assert ExpectedRecovery(discounted=False).values(later)[0, 2] == pytest.approx(20)


def test_what_is_brought_in_the_end_counts_where_it_is_known():
    brought = np.array([[0.0, 0.01, 0.03], [0.0, 0.0, -0.02]])
    block = make_block(brought=brought, discount_rate=0.08)  # discounted already
    assert ExpectedRecovery().values(block) == pytest.approx(brought * [[100.0], [50.0]])


def test_costs_by_hand():
    block = make_block()
    assert ContactCost().values(block) == pytest.approx(np.tile([0, 0.05, 4.5], (2, 1)))
    leave = RelationshipCost(leave=0.001, fatigue=0.5, unknown_value=100.0).values(block)
    assert leave == pytest.approx(np.array([[0, 1.0, 3.0], [0, 0.2, 0.6]]))
    complain = ComplaintRisk(rate=0.01, fatigue=1.0).values(block)
    assert complain == pytest.approx(np.array([[0, 0.12, 0.36], [0, 0.36, 1.08]]))
    assert ComplaintRisk(rate=0.01, fatigue=0.0, cost=1.0).values(block)[1, 1] == pytest.approx(
        0.01
    )
    assert ComplaintRisk(rate=1.0, fatigue=9.0).values(block).max() == 12.0


def test_learnt_chances_count_unless_the_caller_gives_his_own():
    learnt = np.array([[0.0, 0.001, 0.02], [0.0, -0.001, 0.03]])
    block = make_block(complaint=learnt, opt_out=learnt / 2, leave=learnt, unknown_value=50.0)
    assert ComplaintRisk().values(block) == pytest.approx(12.0 * learnt)
    assert ComplaintRisk(cost=2.0).values(block) == pytest.approx(2.0 * learnt)
    assert OptOutRisk(cost=3.0).values(block) == pytest.approx(1.5 * learnt)
    # A contact that keeps a customer is a gain.
    assert RelationshipCost().values(block) == pytest.approx(learnt * [[1000.0], [50.0]])
    plain = make_block(unknown_value=50.0)
    for own in (ComplaintRisk(rate=0.001), ComplaintRisk(fatigue=0.5)):
        assert own.values(block) == pytest.approx(ComplaintRisk().values(plain))
    for own in (RelationshipCost(leave=0.0005), RelationshipCost(fatigue=0.5)):
        assert own.values(block) == pytest.approx(RelationshipCost().values(plain))


def test_opt_outs_by_hand():
    risk = OptOutRisk(cost=4.0, rate=0.01, fatigue=1.0).values(make_block())
    assert risk == pytest.approx(np.array([[0, 0.04, 0.04], [0, 0.12, 0.12]]))
    assert OptOutRisk(cost=1.0).values(make_block())[0, 1] == pytest.approx(0.002)
    objective = ExpectedRecovery() - OptOutRisk(cost=4.0)
    assert from_dict(objective.to_dict()) == objective
    assert eval(repr(objective)) == objective
    for wrong in (None, -1.0):
        with pytest.raises(InputError, match="cost"):
            OptOutRisk(cost=wrong)


def test_credit_standing_by_hand():
    marked = {
        "p": np.array([[0.0], [0.0], [0.0]]), "cost": np.zeros((3, 1)),
        "marks": np.array([[1.0], [1.0], [0.0]]), "consumer": np.array([[True], [False], [True]]),
        "doubt": np.array([[0.25], [np.nan], [1.0]]), "credit_standing_cost": 200.0,
    }  # fmt: skip
    block = make_block(**marked)
    # a consumer, quite clear; a firm of which nothing is known; a message
    assert CreditStanding().values(block)[:, 0] == pytest.approx([250.0, 200.0, 0.0])
    own = CreditStanding(cost=100.0, business=0.0, doubt=0.0)
    assert own.values(block)[:, 0] == pytest.approx([100.0, 0.0, 0.0])
    unknown = make_block(**{**marked, "doubt": None, "consumer": None})
    assert CreditStanding().values(unknown)[:, 0] == pytest.approx([400.0, 400.0, 0.0])
    assert (CreditStanding(cost=9.0).values(make_block()) == 0).all(), "no message leaves a mark"
    objective = default_objective(credit_standing=True)
    assert from_dict(objective.to_dict()) == objective
    assert eval(repr(objective)) == objective
    with pytest.raises(InputError, match="business"):
        CreditStanding(business=1.5)


def test_waiting_is_worth_nothing_under_the_default():
    assert (default_objective().values(make_block())[:, 0] == 0).all()


def test_breakdown_adds_up_and_is_labelled():
    objective = ExpectedRecovery() - ContactCost() - 2.0 * ComplaintRisk()
    parts = objective.breakdown(make_block())
    assert list(parts) == ["ExpectedRecovery()", "-ContactCost()", "-2.0 * ComplaintRisk()"]
    assert sum(parts.values()) == pytest.approx(objective.values(make_block()))


def test_one_action_a_row_gives_the_same_euros():
    block = make_block()
    action = np.array([2, 1])
    one = make_block(
        p=block.p[[0, 1], action][:, None],
        cost=block.cost[0, action][:, None],
        tone=block.tone[0, action][:, None],
        contact=block.contact[0, action][:, None],
    )
    objective = default_objective()
    assert objective.values(one)[:, 0] == pytest.approx(objective.values(block)[[0, 1], action])


def test_repr_can_be_pasted():
    for objective in (
        default_objective(),
        -ContactCost(),
        ExpectedRecovery(discounted=False) / 2 - 0.1 * RelationshipCost(leave=0.002),
        ComplaintRisk(cost=3.0) * 2 - ContactCost(),
        Objective(),
    ):
        assert eval(repr(objective)) == objective
    assert repr(default_objective()) == (
        "ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()"
    )


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_scaling_and_adding_are_linear(a, b):
    block = make_block()
    mixed = a * ExpectedRecovery() + b * ContactCost()
    expected = a * ExpectedRecovery().values(block) + b * ContactCost().values(block)
    assert mixed.values(block) == pytest.approx(expected)
    assert from_dict(mixed.to_dict()) == mixed


def test_equal_terms_merge_and_sum_works():
    assert ContactCost() + ContactCost() == 2.0 * ContactCost()
    assert ComplaintRisk(cost=1.0) != ComplaintRisk(cost=2.0)
    assert sum([ExpectedRecovery(), -ContactCost()]) == ExpectedRecovery() - ContactCost()
    assert len({ContactCost(), ContactCost(), ExpectedRecovery()}) == 2


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda t: t * t, "EUR times EUR"),
        (lambda t: t + 3, "changes no decision"),
        (lambda t: 3 + t, "changes no decision"),
        (lambda t: t - 1.5, "changes no decision"),
        (lambda t: t <= 5, "budgets, capacities and caps belong to the catalogue"),
        (lambda t: t < 5, "catalogue"),
        (lambda t: t >= 5, "catalogue"),
        (lambda t: t > 5, "catalogue"),
        (lambda t: t / 0, "other than 0"),
        (lambda t: 1 / t, "divided by a term"),
        (lambda t: t**2, "add up and scale"),
        (lambda t: t and t, "to combine terms"),
        (lambda t: t * "2", "unsupported|can't multiply"),
        (lambda t: t + "2", "unsupported"),
        (lambda t: t * True, "unsupported"),
    ],
)
def test_forbidden_operators_say_why(act, why):
    with pytest.raises(TypeError, match=why):
        act(ExpectedRecovery())


def test_weights_are_finite():
    with pytest.raises(ValueError, match="finite"):
        float("nan") * ContactCost()


def test_wrong_signs_are_refused():
    default_objective().check()
    with pytest.raises(InputError, match=r"ContactCost.*negative weight.*\+ ContactCost\(\)"):
        (ExpectedRecovery() + ContactCost()).check()
    with pytest.raises(InputError, match="ExpectedRecovery"):
        (-ExpectedRecovery()).check()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RelationshipCost(leave=1.5),
        lambda: RelationshipCost(fatigue=-1),
        lambda: ComplaintRisk(rate=float("nan")),
        lambda: ComplaintRisk(cost=-2.0),
        lambda: ComplaintRisk(rate="high"),
    ],
)
def test_parameters_are_checked(make):
    with pytest.raises(InputError, match="expected a number from 0"):
        make()


def test_own_terms_join_the_algebra():
    @dataclass(frozen=True, eq=False, repr=False)
    class Flat(Term):
        euro: float = 1.0

        def euros(self, block):
            return np.where(block.contact, self.euro, 0.0)

    objective = ExpectedRecovery() - 3 * Flat(2.0)
    assert objective.values(make_block())[0] == pytest.approx([0, 4, 14])
    assert repr(objective) == "ExpectedRecovery() - 3.0 * Flat(euro=2.0)"
    with pytest.raises(ArtifactError, match="'Flat'"):
        from_dict(objective.to_dict())


def test_a_term_without_euros_says_so():
    @dataclass(frozen=True, eq=False, repr=False)
    class Empty(Term):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define euros"):
        Empty().values(make_block())
