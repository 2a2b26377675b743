"""Plans of instalments: exact to the cent, within every limit, valued by hand, answered kindly."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectopt as co
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import Payer
from collectopt.policy import (
    FixedLadder,
    NextBestAction,
    Plan,
    PlanCase,
    PlanModel,
    PlanTerms,
    Rhythm,
    Verdict,
    best_plan,
    evaluate_plan,
)
from collectopt.policy.plan import broken_limits, month_on
from collectopt.policy.plans import value_in_force
from collectopt.schema import PlanLimits, Snapshot

DAY = date(2027, 1, 4)
MONTHLY = Rhythm(day_of_month=15)
DAYS = st.dates(date(2020, 1, 1), date(2060, 12, 31))
CENTS = st.integers(1, 10**8)
RHYTHMS = st.one_of(
    st.builds(Rhythm, days=st.integers(1, 100)),
    st.builds(Rhythm, day_of_month=st.integers(1, 31)),
)


def case(amount="240.00", *, payer=None, **more):
    payer = payer or Payer(means=120.0, known=True)
    return PlanCase("A", Decimal(amount), DAY, payer, **more)


class Fixed(PlanModel):
    """A model with one chance to break a month and one to accept."""

    def __init__(self, broken=0.1, accept=0.5):
        super().__init__()
        self.fixed = broken, accept

    def p_break(self, payer, burden):
        return np.full(np.shape(burden), self.fixed[0])

    def p_accept(self, payer, burden, months):
        return np.full(np.shape(burden), self.fixed[1])

    def p_agree(self, burden, months, asked):
        return np.full(np.shape(burden), self.fixed[1])


# The plan itself -----------------------------------------------------------------------------


@given(CENTS, st.integers(1, 200), DAYS, RHYTHMS)
@settings(max_examples=300, deadline=None)
def test_instalments_add_up_to_the_cent_and_dates_rise(cents, number, start, rhythm):
    amount = Decimal(cents) / 100
    if number > cents:
        with pytest.raises(InputError, match="instalments"):
            Plan.of(amount, number, start, rhythm)
        return
    if rhythm.day_of_month is not None:
        start = month_on(start, 0, rhythm.day_of_month)
    plan = Plan.of(amount, number, start, rhythm)
    euros = [euro for _, euro in plan.instalments]
    days = [day for day, _ in plan.instalments]
    assert sum(euros) == amount == plan.amount
    assert max(euros) - min(euros) <= Decimal("0.01")
    assert days[0] == start
    assert all(a < b for a, b in itertools.pairwise(days))
    if rhythm.days:
        assert all((b - a).days == rhythm.days for a, b in itertools.pairwise(days))
    else:
        for k, day in enumerate(days):
            assert (day.year - start.year) * 12 + day.month - start.month == k
            last = (day + timedelta(days=1)).day == 1
            assert day.day == rhythm.day_of_month or (last and day.day < rhythm.day_of_month)
    assert plan.load(start) <= float(amount) + 1e-6
    assert Plan.proposed(plan.instalments).instalments == plan.instalments


def test_month_ends_and_leap_years():
    dates = Rhythm(day_of_month=31).dates(date(2027, 10, 31), 6)
    assert [str(d) for d in dates] == [
        "2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31",
    ]  # fmt: skip
    assert month_on(date(2028, 2, 29), 12, 29) == date(2029, 2, 28)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Plan.of("10.001", 2, DAY, MONTHLY), "exact to the cent"),
        (lambda: Plan.of("-5", 2, DAY, MONTHLY), "above 0"),
        (lambda: Plan.of("nan", 2, DAY, MONTHLY), "above 0"),
        (lambda: Plan.of("lots", 2, DAY, MONTHLY), "above 0"),
        (lambda: Plan.of("10", 0, DAY, MONTHLY), "1 to 1000 instalments"),
        (lambda: Plan.proposed([]), "1 to 1200 instalments"),
        (lambda: Plan.proposed([(DAY, 5), (DAY, 5)]), "ascending dates"),
        (lambda: Plan.proposed([(DAY, 5), (DAY, -5)]), "above 0"),
        (lambda: Plan.proposed([("2027-01-04", 5)]), "dates without a time"),
        (lambda: Plan(Decimal(10), ((DAY, 10.0),)), "Plan.of and Plan.proposed"),
        (lambda: Plan(Decimal(10), ((DAY, Decimal(9)),)), "a sum of 10 EUR; found 9 EUR"),
        (lambda: Plan(Decimal(10), ((DAY, Decimal("0.005")),)), "whole cents"),
        (
            lambda: Plan(Decimal(2), ((DAY, Decimal(1)), (date(2027, 2, 1), Decimal(1))), MONTHLY),
            "monthly on day 15: 2027-02-15; found 2027-02-01",
        ),
        (Rhythm, "either days or day_of_month"),
        (lambda: Rhythm(days=0), "1 or more"),
        (lambda: Rhythm(day_of_month=32), "1 to 31"),
        (lambda: case(otherwise=1.1), "a share, 0 to 1"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_clear_error(make, match):
    with pytest.raises(InputError, match=match):
        make()


def test_the_catalogue_has_limits_and_defaults():
    base = {"channels": [{"name": "email"}]}
    assert co.Catalogue.from_dict(base).plans == PlanLimits()
    limits = {"max_months": 6, "min_instalment": 20.0, "max_start_days": 14, "grace_days": 5,
              "interest": 0.05, "max_share": 0.4}  # fmt: skip
    catalogue = co.Catalogue.from_dict({**base, "plans": limits})
    assert catalogue.plans.max_months == 6
    assert co.Catalogue.from_dict(catalogue.to_dict()) == catalogue
    with pytest.raises(InputError, match=r"plans\.max_months"):
        co.Catalogue.from_dict({**base, "plans": {"max_months": 0}})


# Its value -----------------------------------------------------------------------------------


def test_the_value_of_two_instalments_by_hand():
    plan = Plan.proposed([(date(2027, 1, 14), 60), (date(2027, 2, 14), 40)])
    terms = PlanTerms(PlanLimits(grace_days=7), discount_rate=0.08)
    value, keep = value_in_force(plan, case("100.00", otherwise=0.3), Fixed(0.1), terms)
    d = lambda days: 1.08 ** (-days / 365)  # noqa: E731
    cash = 0.9 * 60 * d(10) + 0.81 * 40 * d(41)
    rest = 0.1 * 0.3 * 100 * d(17) + 0.09 * 0.3 * 40 * d(48)
    assert value == pytest.approx(cash + rest, rel=1e-12)
    assert keep == pytest.approx(0.81)
    asked = PlanTerms(PlanLimits(grace_days=7, interest=0.08), discount_rate=0.08)
    more, _ = value_in_force(plan, case("100.00", otherwise=0.3), Fixed(0.1), asked)
    assert more == pytest.approx(0.9 * 60 + 0.81 * 40 + rest), "interest undoes the discount"
    assert "8.00%" in asked.costs()
    assert "costs nothing" in terms.costs()


def test_half_the_rhythm_is_half_a_test():
    plan = Plan.of("100", 4, date(2027, 1, 14), Rhythm(days=14))
    _, keep = value_in_force(plan, case("100.00"), Fixed(0.1), PlanTerms())
    assert keep == pytest.approx(0.9**2)
    assert plan.load(DAY) == pytest.approx(50.0)


def brute_force(one, model, terms):
    """All plans by plain loops, best first."""
    limits, found = terms.limits, {}
    starts = [DAY + timedelta(days=d) for d in (7, 14, 21, 28)]
    rhythms = [None, 14]
    if one.payer.payday:
        rhythms = [None]
        near = [DAY + timedelta(days=d) for d in range(3, limits.max_start_days + 1)]
        starts = [d for d in near if d.day == one.payer.payday] or starts
    for start in starts:
        if (start - DAY).days > limits.max_start_days:
            continue
        for rhythm in [Rhythm(days=14) if r else Rhythm(day_of_month=start.day) for r in rhythms]:
            for number in range(1, 200):
                plan = Plan.of(one.amount, number, start, rhythm)
                months = (plan.end.year - DAY.year) * 12 + plan.end.month - DAY.month
                months += plan.end.day > DAY.day
                small = min(e for _, e in plan.instalments[:-1]) if number > 1 else Decimal(10**9)
                if months > limits.max_months or small < Decimal(str(limits.min_instalment)):
                    continue
                if plan.load(DAY) > limits.max_share * one.payer.means + 1e-9:
                    continue
                force, _ = value_in_force(plan, one, model, terms)
                length = (plan.end - DAY).days / 30.4375
                p = float(model.p_accept(one.payer, plan.load(DAY) / one.payer.means, length))
                found[plan.instalments] = one.no_plan + p * (force - one.no_plan)
    return found


@pytest.mark.parametrize("payday", [None, 7, 23])
@pytest.mark.parametrize("amount", ["37.31", "240.00", "610.05"])
def test_the_best_plan_is_that_of_brute_force(amount, payday):
    payer = Payer(means=130.0, known=True, payday=payday, strength=0.9)
    one = case(amount, payer=payer, otherwise=0.4)
    for terms in (PlanTerms(), PlanTerms(PlanLimits(max_months=6, min_instalment=25.0))):
        found, truth = best_plan(one, PlanModel(), terms), brute_force(one, PlanModel(), terms)
        assert {o.plan.instalments for o in found.options} == set(truth)
        if truth:
            assert found.options[0].value == pytest.approx(max(truth.values()), rel=1e-12)
            values = [o.value for o in found.options]
            assert values == sorted(values, reverse=True)
            assert len(found.to_pandas()) == len(truth)
        else:
            assert found.best is None


@given(
    cents=st.integers(1, 300_000), means=st.floats(1.0, 2000.0), payday=st.integers(0, 31),
    months=st.integers(1, 24), least=st.integers(0, 10_000), start=st.integers(1, 60),
    day=DAYS, share=st.floats(0.05, 1.0),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_no_limit_is_ever_broken(cents, means, payday, months, least, start, day, share):
    limits = PlanLimits(
        max_months=months, min_instalment=least / 100, max_start_days=start, max_share=share
    )
    payer = Payer(means=means, known=True, payday=payday or None)
    one = PlanCase("A", Decimal(cents) / 100, day, payer)
    found = best_plan(one, PlanModel(), PlanTerms(limits))
    assert found.reason
    for option in found.options:
        plan = option.plan
        assert broken_limits(plan, day, limits) == ()
        assert sum(euro for _, euro in plan.instalments) == one.amount
        assert day < plan.start <= day + timedelta(days=start)
        assert plan.end <= month_on(day, months, day.day)
        assert plan.load(day) <= share * means + 1e-9
        assert all(euro * 100 >= least for _, euro in plan.instalments[:-1])
        assert 0.0 <= option.p_keep <= 1.0
        assert option.value <= float(one.amount)


def test_plans_start_and_stay_on_the_payday():
    payer = Payer(means=120.0, known=True, payday=31, strength=0.9)
    found = best_plan(case(payer=payer), PlanModel())
    assert {o.plan.start for o in found.options} == {date(2027, 1, 31)}
    assert {o.plan.rhythm for o in found.options} == {Rhythm(day_of_month=31)}
    dates = [day for option in found.options for day, _ in option.plan.instalments]
    assert all(day == month_on(day, 0, 31) for day in dates)
    assert any("usual day of payment" in reason for reason in found.options[0].reasons)
    soon = PlanTerms(PlanLimits(max_start_days=10))
    assert best_plan(case(payer=payer), PlanModel(), soon).options, "no payday within ten days"


def test_who_can_afford_less_is_asked_for_less():
    rich, poor = (
        best_plan(case(payer=Payer(means=m, known=True)), PlanModel()) for m in (400.0, 60.0)
    )
    assert max(o.load for o in poor.options) <= 30.0
    assert max(o.load for o in rich.options) > 100.0
    none = best_plan(case("5000.00", payer=Payer(means=60.0, known=True)), PlanModel())
    assert none.options == ()
    assert none.best is None
    assert "30.00 EUR a month or less" in none.reason
    assert list(none.to_pandas().columns) == list(rich.to_pandas().columns)


def test_no_plan_is_offered_where_money_comes_anyway():
    found = best_plan(case(otherwise=0.99), PlanModel())
    assert found.best is None
    assert "would come without" in found.reason


# Proposals -----------------------------------------------------------------------------------


def test_a_fair_proposal_is_accepted_with_kind_words():
    small = Plan.of("240.00", 10, date(2027, 1, 15), MONTHLY)
    answer = evaluate_plan(small, case(), PlanModel())
    assert answer.verdict is Verdict.ACCEPT
    assert not answer.needs_approval
    assert answer.counter is None
    assert answer.value > answer.no_plan
    assert "Small steps are welcome" in answer.reason
    assert "costs nothing" in answer.costs


def test_a_proposal_better_than_the_counter_is_accepted_though_its_margin_is_small():
    best = best_plan(case(), Fixed()).options[0].plan
    terms = PlanTerms(margin=10_000.0)
    answer = evaluate_plan(best, case(), Fixed(), terms)
    assert answer.verdict is Verdict.ACCEPT
    assert answer.difference >= 0.0


def test_a_proposal_too_long_is_met_with_another_one():
    long = Plan.of("240.00", 18, date(2027, 1, 15), MONTHLY)
    answer = evaluate_plan(long, case(), PlanModel())
    assert answer.verdict is Verdict.COUNTER
    assert "longer than 12 months" in answer.reason
    assert not answer.needs_approval
    assert answer.counter.plan.end <= date(2028, 1, 4)
    assert answer.difference == pytest.approx(answer.value - answer.counter.in_force)
    assert str(answer.counter.plan) in answer.reason


def test_too_heavy_too_late_too_little_and_too_much_are_met_with_another_plan():
    for proposal, word in (
        (Plan.of("240.00", 2, date(2027, 1, 15), MONTHLY), "60.00 EUR a month"),
        (Plan.of("240.00", 6, date(2027, 3, 15), MONTHLY), "30 days from now"),
        (Plan.of("200.00", 6, date(2027, 1, 15), MONTHLY), "240.00 EUR are open"),
        (Plan.of("300.00", 6, date(2027, 1, 15), MONTHLY), "240.00 EUR are open"),
        (Plan.proposed([(date(2027, 1, 15), 5), (date(2027, 2, 15), 235)]), "below 10.00 EUR"),
    ):
        answer = evaluate_plan(proposal, case(), PlanModel())
        assert answer.verdict is Verdict.COUNTER
        assert word in answer.reason
        assert broken_limits(answer.counter.plan, DAY, PlanLimits()) == ()
        assert answer.counter.load <= 60.0


def test_who_knows_better_than_a_guess_may_pay_more():
    heavy = Plan.of("240.00", 2, date(2027, 1, 15), MONTHLY)
    unknown = case(payer=Payer(means=120.0, known=False))
    assert evaluate_plan(heavy, unknown, PlanModel()).verdict is Verdict.ACCEPT


def test_an_absurd_proposal_waits_for_a_human_being():
    absurd = Plan.of("240.00", 240, date(2027, 1, 15), MONTHLY)
    answer = evaluate_plan(absurd, case(), PlanModel())
    assert answer.verdict is Verdict.REFUSE
    assert answer.needs_approval
    assert answer.counter is None
    assert "person" in answer.reason
    business = evaluate_plan(absurd, case(consumer=False), PlanModel())
    assert business.verdict is Verdict.REFUSE
    assert not business.needs_approval
    hopeless = case("5000.00", payer=Payer(means=60.0, known=True))
    nothing = Plan.of("5000.00", 20, date(2027, 1, 15), MONTHLY)
    assert evaluate_plan(nothing, hopeless, PlanModel()).needs_approval, "no plan is affordable"


@given(
    number=st.integers(1, 60), start=st.integers(-5, 90), cents=st.integers(100, 60_000),
    consumer=st.booleans(), otherwise=st.floats(0.0, 1.0), known=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_every_answer_has_a_reason_and_no_consumer_is_refused_alone(
    number, start, cents, consumer, otherwise, known
):
    payer = Payer(means=120.0, known=known)
    one = case(payer=payer, consumer=consumer, otherwise=otherwise)
    first = DAY + timedelta(days=start)
    proposal = Plan.of(Decimal(cents) / 100, number, first, Rhythm(day_of_month=first.day))
    answer = evaluate_plan(proposal, one, PlanModel())
    assert answer.reason
    assert answer.needs_approval == (consumer and answer.verdict is Verdict.REFUSE)
    assert (answer.counter is not None) == (answer.verdict is Verdict.COUNTER)
    if answer.verdict is Verdict.ACCEPT:
        assert broken_limits(proposal, DAY, PlanLimits()) == ()
        assert proposal.amount == one.amount


# In the book ---------------------------------------------------------------------------------

AS_OF = "2027-01-04T06:00Z"


def book(holds=(), responses=()):
    return co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE"} for a in "AB"],
        invoices=[
            {"invoice_id": number, "account_id": number[0], "issued_on": "2026-11-01",
             "due_on": due, "amount": amount, "currency": "EUR"}
            for number, due, amount in (("A1", "2026-11-15", 80.0), ("A2", "2026-12-01", 40.5),
                                        ("A3", "2027-02-01", 33.0), ("B1", "2026-11-15", 50.0))
        ],
        holds=list(holds) or None,
        responses=list(responses) or None,
    )  # fmt: skip


def test_a_plan_in_force_suspends_dunning_until_it_ends_or_breaks():
    policy = FixedLadder(co.Catalogue.default())

    def contacted(ledger, at=AS_OF):
        rows = policy.decide(ledger, at, rng=0).to_pandas()
        rows = rows[~rows.channel.isin(["none", "stop"])]
        return set(rows.account_id)

    plan = Plan.of("120.50", 3, date(2027, 1, 15), MONTHLY)
    hold = plan.hold("A", date(2027, 1, 2), grace_days=7)
    assert hold["to_on"] == date(2027, 3, 23)
    assert contacted(book()) == {"A", "B"}
    assert contacted(book([hold])) == {"B"}
    assert contacted(book([hold]), "2027-03-22T06:00Z") == {"B"}
    assert "A" in contacted(book([hold]), "2027-03-24T06:00Z"), "over, and still open"
    broken = {"account_id": "A", "at": "2027-01-03T10:00Z", "kind": "plan_broken"}
    assert contacted(book([hold], [broken])) == {"A", "B"}
    late = {**broken, "at": "2027-01-05T10:00Z"}
    assert contacted(book([hold], [late])) == {"B"}, "not known yet"


def test_a_case_is_what_is_past_due_and_not_on_hold():
    model = PlanModel().fit(book(), AS_OF)
    one = PlanCase.of(Snapshot(book(), AS_OF), "A", model)
    assert (one.amount, one.day, one.consumer) == (Decimal("120.50"), DAY, True)
    held = {"account_id": "A", "kind": "dispute", "from_on": "2026-12-20", "invoice_id": "A1"}
    two = PlanCase.of(Snapshot(book([held]), AS_OF), "A", model)
    assert two.amount == Decimal("40.50")
    early = PlanCase.of(Snapshot(book(), "2026-11-10"), "A", model)
    assert early.amount == Decimal("153.50"), "nothing is past due: all that is open"
    with pytest.raises(InputError, match="one row of account 'C'"):
        PlanCase.of(Snapshot(book(), AS_OF), "C", model)
    away = Snapshot(book([{**held, "account_id": "B", "invoice_id": "B1"}]), AS_OF)
    with pytest.raises(InputError, match="not on hold"):
        PlanCase.of(away, "B", model)


def test_a_policy_answers_for_an_account():
    made = co.simulation.Book("utility", accounts=120, seed=5, weeks=20)
    ledger, snapshot = made.ledger(), Snapshot(made.ledger(), made.as_of)
    policy, model = NextBestAction(made.catalogue), PlanModel().fit(made.ledger(), made.as_of)
    free = pd.DataFrame(snapshot.claims.to_pandas()).query("past_due and not held")
    name = snapshot.rows["account_id"][int(free.row.iloc[0])].as_py()
    one = PlanCase.of(snapshot, name, model)
    proposal = Plan.of(one.amount, 3, one.day + timedelta(days=10), Rhythm(days=28))
    with pytest.raises(NotFittedError):
        policy.evaluate_plan(snapshot, name, proposal)
    policy.fit(ledger, made.as_of)
    answer = policy.evaluate_plan(snapshot, name, proposal)
    assert answer.verdict in Verdict
    chance = policy.payment_.predict(snapshot, horizons=("180D",), level="account").to_pandas()
    p = chance.iloc[int(free.row.iloc[0])].filter(like="180").iloc[0]
    assert answer.no_plan == pytest.approx(float(one.amount) * p * 1.08 ** (-90 / 365))
    terms = PlanTerms(made.catalogue.plans, made.catalogue.discount_rate)
    share = answer.no_plan / float(one.amount)
    assert answer == evaluate_plan(proposal, replace(one, otherwise=share), model, terms)
    with pytest.raises(InputError, match="one row of account"):
        policy.evaluate_plan(snapshot, "C", proposal)


def test_a_hold_leaves_the_proposal_to_a_human_being():
    hold = {"account_id": "A", "kind": "insolvency", "from_on": "2026-12-20"}
    one = PlanCase.of(Snapshot(book([hold]), AS_OF), "A", PlanModel().fit(book(), AS_OF))
    assert one.holds == ("insolvency",)
    answer = evaluate_plan(Plan.of("120.50", 3, date(2027, 1, 15), MONTHLY), one, PlanModel())
    assert answer.verdict is Verdict.REFUSE
    assert answer.needs_approval
    assert "insolvency" in answer.reason
