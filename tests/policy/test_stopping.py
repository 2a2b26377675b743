"""The stop problem against every plan there is, one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.policy.stopping import NEVER, Way, solve


def worth_of(plan, hazard, days, ages, ways, rate, drain):
    """Worth of one fixed plan (step and way, or never), summed over all ends, in plain Python."""
    step, which = plan
    total = 0.0
    unpaid = at = 1.0  # chance to be still unpaid, discount
    for t, h in enumerate(hazard):
        if t == step:
            if which == len(ways):
                return total
            way, alone = ways[which], 1.0
            if t >= way.last[0]:
                return -np.inf
            total -= unpaid * at * way.burden[0]
            gain, inner = 0.0, at
            for s in range(t, len(hazard)):
                p = 1.0 - (1.0 - hazard[s]) ** way.factor[0, ages[t]]
                gain += alone * p * inner * (1 + rate) ** (-days[s] / 2 / 365)
                alone *= 1.0 - p
                inner *= (1 + rate) ** (-days[s] / 365)
            return total + unpaid * gain * way.kept * way.scale[0]
        total += unpaid * at * (h * (1 + rate) ** (-days[t] / 2 / 365) - drain * days[t])
        unpaid *= 1.0 - h
        at *= (1 + rate) ** (-days[t] / 365)
    return total


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_backward_induction_finds_the_best_of_all_plans(seed):
    rng = np.random.default_rng(seed)
    steps, rate = 6, float(rng.uniform(0, 0.5))
    hazard, days = rng.uniform(0, 0.5, steps), rng.uniform(5, 60, steps)
    ages = np.sort(rng.integers(0, 3, steps))
    drain = float(rng.choice([0.0, 0.001, 0.01]))
    stop = bool(rng.random() < 0.5)
    ways = [
        Way(
            rng.uniform(0.2, 5.0, (1, 3)),
            float(rng.uniform(0.5, 1)),
            rng.uniform(0, 0.1, 1),
            rng.integers(0, 9, 1),
            rng.uniform(1, 1.1, 1),
        )
        for _ in range(2)
    ]
    best = solve(
        hazard[None], days, ages[None], ways, rate=rate, drain=np.array([drain]), stop=stop
    )
    plans = list(itertools.product(range(steps), range(2 + stop)))
    worth = {p: worth_of(p, hazard, days, ages, ways, rate, drain) for p in [*plans, (NEVER, 0)]}
    later = max(v for (step, _), v in worth.items() if step > 0)
    assert best.wait[0] == pytest.approx(later)
    assert best.alone[0] == pytest.approx(worth[NEVER, 0])
    assert best.now[0] == pytest.approx([worth[0, 0], worth[0, 1]])
    top = max(worth.values())
    step = min((s for (s, _), v in worth.items() if v > top - 1e-12), default=NEVER)
    assert best.step[0] == step


def one(factor, fee, hazard, burden=0.0, drain=0.0, last=NEVER, stop=False):
    n = len(hazard)
    way = Way(np.full((n, 1), factor), 1 - fee, np.full(n, burden), np.full(n, last), np.ones(n))
    days, ages = np.full(hazard.shape[1], 7.0), np.zeros(hazard.shape, int)
    return solve(hazard, days, ages, [way], rate=0.05, drain=np.full(n, drain), stop=stop)


def test_good_payers_stay_until_their_chance_has_gone():
    hazard = np.array([[0.5, 0.4, 0.3, *[0.01] * 40], [0.01] * 43])
    best = one(4.0, 0.3, hazard)
    assert best.step.tolist() == [3, 0], "first what comes anyway, then the agency"
    raw = best.now[:, 0]
    assert raw[0] > 0.6, "the raw success of an agency is best with those who need none"
    assert best.now[0, 0] < best.wait[0]
    assert best.now[1, 0] > best.wait[1]


def test_an_agency_that_adds_nothing_is_never_taken():
    hazard = np.random.default_rng(1).uniform(0.001, 0.5, (50, 30))
    assert (one(1.0, 0.25, hazard).step == NEVER).all()


def test_a_clock_makes_it_urgent():
    hazard = np.array([[0.5, 0.4, 0.3, *[0.01] * 40]])
    assert one(4.0, 0.3, hazard).step[0] == 3
    assert one(4.0, 0.3, hazard, last=3).step[0] == 2, "the last step before it is closed"


def test_a_claim_below_its_cost_is_given_up_and_only_that():
    hazard = np.full((2, 30), 0.01)
    hazard[1] = 0.2
    best = one(1.0, 0.3, hazard, burden=1.0, drain=0.002, stop=True)
    assert best.alone[0] < 0 < best.alone[1]
    assert best.wait[0] < 0, "nothing later is worth more than it costs"
    assert best.step.tolist() == [0, NEVER]
