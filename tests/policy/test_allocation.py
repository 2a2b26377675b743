"""allocate against HiGHS, against brute force, and against its own certificate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from collectopt.exceptions import InputError
from collectopt.policy import allocate, allocation


def instance(seed, n=None, per_row=None, whole=None):
    """Random values, usage and limits; some choices forbidden, some limits 0 or none."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25)) if n is None else n
    K, R = int(rng.integers(1, 7)), int(rng.integers(0, 5))
    value = rng.normal(1.5, 3, (n, K))
    value[:, 1:][rng.random((n, K - 1)) < 0.2] = -np.inf
    per_row = rng.random() < 0.4 if per_row is None else per_row
    usage = rng.random((n, K, R) if per_row else (K, R)) * (rng.random(R) < 0.8)
    if whole or rng.random() < 0.3:
        usage = np.ceil(usage * 1.5)
    usage[..., 0, :] = 0
    limits = np.where(rng.random(R) < 0.1, rng.choice([0, np.inf]), rng.random(R) * n * 0.4)
    return value, usage, limits


def used(usage, choice):
    shape = (len(choice), *usage.shape[-2:])
    return np.broadcast_to(usage, shape)[np.arange(len(choice)), choice].sum(axis=0)


def exact(value, usage, limits):
    """Optimal value by mixed-integer programming (HiGHS)."""
    n, K = value.shape
    finite = np.isfinite(limits)
    flat = np.broadcast_to(usage, (n, K, len(limits))).reshape(n * K, -1).T[finite]
    rows = [LinearConstraint(np.kron(np.eye(n), np.ones(K)), 1, 1)]
    if finite.any():
        rows.append(LinearConstraint(flat, -np.inf, limits[finite]))
    allowed = np.isfinite(value)
    result = milp(
        -np.where(allowed, value, 0).ravel(),
        constraints=rows,
        integrality=np.ones(n * K),
        bounds=Bounds(0, allowed.ravel().astype(float)),
        options={"mip_rel_gap": 0.0},
    )
    return -result.fun


def check(value, usage, limits, allocation):
    """Feasible, and value and bound are what they say."""
    assert (used(usage, allocation.choice) <= limits * (1 + 1e-9) + 1e-9).all()
    picked = value[np.arange(len(value)), allocation.choice]
    assert np.isfinite(picked).all()
    assert allocation.value == pytest.approx(picked.sum())
    assert (allocation.prices >= 0).all()
    dual = allocation.prices @ np.where(allocation.prices > 0, limits, 0)
    assert allocation.bound >= allocation.value - 1e-9
    assert allocation.gap >= 0
    if allocation.bound:
        gap = (allocation.bound - allocation.value) / abs(allocation.bound)
        assert allocation.gap == pytest.approx(gap, abs=1e-12)
    return dual


def test_against_highs():
    losses = []
    for seed in range(120):
        value, usage, limits = instance(seed)
        allocation = allocate(value, usage, limits)
        check(value, usage, limits, allocation)
        best = exact(value, usage, limits)
        assert allocation.value <= best + 1e-6
        assert allocation.bound >= best - 1e-6
        losses.append((best - allocation.value) / max(abs(best), 1e-9))
    # tiny instances are the hard ones for rounding: exact nearly always, never far off
    assert np.mean(np.array(losses) < 1e-9) > 0.9
    assert np.mean(losses) < 0.005


def test_against_brute_force():
    for seed in range(20):
        value, usage, limits = instance(seed, n=4)
        allocation = allocate(value, usage, limits)
        worth = []
        for choice in itertools.product(range(value.shape[1]), repeat=4):
            pick = np.array(choice)
            if (used(usage, pick) <= limits + 1e-9).all():
                worth.append(value[np.arange(4), pick].sum())
        assert allocation.value <= max(worth) + 1e-9
        assert allocation.bound >= max(worth) - 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_feasible_and_certified_on_any_instance(seed):
    value, usage, limits = instance(seed, n=80)
    allocation = allocate(value, usage, limits)
    check(value, usage, limits, allocation)
    again = allocate(value.copy(), usage.copy(), limits.copy())
    assert (again.choice == allocation.choice).all()


@pytest.mark.parametrize("per_row", [False, True])
def test_larger_books_come_within_a_small_gap(per_row):
    rng = np.random.default_rng(1)
    n, K = 12_000, 6
    value = rng.exponential(5, (n, 1)) * rng.random((n, K))
    value[:, 0] = 0
    usage = np.zeros((K, 3))
    usage[1:, 0] = [0.05, 0.1, 1.2, 4.5, 4.5]
    usage[4, 1] = usage[5, 2] = 1
    if per_row:
        usage = usage * (1 + 0.1 * rng.random((n, 1, 1)))
    limits = np.array([n * 0.4, n * 0.02, n * 0.03])
    allocation = allocate(value, usage, limits)
    check(value, usage, limits, allocation)
    assert allocation.gap < 1e-4


def test_ties_do_not_break_the_limits():
    allocation = allocate(np.tile([0.0, 1.0], (500, 1)), [[0], [1.0]], [123])
    assert allocation.value == 123
    assert allocation.gap == pytest.approx(0, abs=1e-6)
    assert allocation.prices[0] == pytest.approx(1, abs=1e-4)


def test_sums_of_cents_fill_a_budget_exactly():
    allocation = allocate(np.tile([0.0, 1.0], (5, 1)), [[0], [0.1]], [0.3])
    assert (allocation.choice == 1).sum() == 3


def test_corner_cases():
    empty = allocate(np.zeros((0, 3)), np.zeros((3, 2)), [1, 1])
    assert (empty.value, empty.bound, empty.gap) == (0, 0, 0)
    free = allocate([[0, 1.0, -np.inf]], np.zeros((3, 0)), [])
    assert free.choice.tolist() == [1]
    nothing = allocate([[0, 9.0]], [[0], [1.0]], [0])
    assert (nothing.choice.tolist(), nothing.value) == ([0], 0)
    unlimited = allocate([[0, 9.0]], [[0], [1.0]], [np.inf])
    assert unlimited.choice.tolist() == [1]
    harmful = allocate([[0, -2.0]], [[0], [1.0]], [5])
    assert harmful.choice.tolist() == [0]
    single = allocate([[1.0], [2.0]], [[0.0]], [1])
    assert single.value == 3


@pytest.mark.parametrize(
    ("arguments", "column"),
    [
        (([0, 1.0], [[0], [1]], [1]), "value"),
        (([[0, np.nan]], [[0], [1]], [1]), "value"),
        (([[0, np.inf]], [[0], [1]], [1]), "value"),
        (([[-np.inf, 1]], [[0], [1]], [1]), "value"),
        (([[0, 1.0]], [[0], [-1]], [1]), "usage"),
        (([[0, 1.0]], [[1], [1]], [1]), "usage"),
        (([[0, 1.0]], [[0], [np.nan]], [1]), "usage"),
        (([[0, 1.0]], [[0], [1], [1]], [1]), "usage"),
        (([[0, 1.0]], [[0], [1]], [-1]), "limits"),
        (([[0, 1.0]], [[0], [1]], [np.nan]), "limits"),
    ],
)
def test_bad_input_is_named(arguments, column):
    with pytest.raises(InputError, match=rf"allocate\.{column}"):
        allocate(*arguments)


def many(n, K, seed, own=False):
    """Values of unequal accounts, five channels with limits, a budget."""
    rng = np.random.default_rng(seed)
    channel = np.arange(K) % 5
    value = np.exp(rng.normal(3, 1, (n, 1))) * rng.gamma(2.0, 0.02, (n, K))
    value[:, 0] = 0.0
    value[:, 1:][rng.random((n, K - 1)) < 0.1] = -np.inf
    usage = np.zeros((K, 6))
    usage[np.arange(K), channel] = 1.0
    usage[:, 5] = np.array([0.05, 0.1, 4.0, 0.9, 0.06])[channel]
    usage[0] = 0.0
    limits = np.array([np.inf, 0.2 * n, 0.01 * n, 0.1 * n, 0.3 * n, 0.2 * n])
    if own:  # minutes of a call differ by account
        usage = usage * np.where(np.arange(6) == 2, rng.gamma(4.0, 0.25, (n, 1, 1)), 1.0)
    return value, usage, limits


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("n", [10_000, 60_000])
def test_large_books_meet_their_bound(n, own):
    value, usage, limits = many(n, 20, 0, own)
    allocation = allocate(value, usage, limits)
    check(value, usage, limits, allocation)
    assert allocation.gap < (1e-4 if n == 10_000 else 1e-5)
    assert allocation.prices[2] > 0
    assert allocation.prices[0] == 0


def test_blocks_are_the_same_problem():
    value, usage, limits = many(50_000, 12, 1, own=True)
    passes = []

    def blocks():
        passes.append(1)
        for start in range(0, len(value), 7_000):
            yield value[start : start + 7_000], usage[start : start + 7_000]

    whole, parts = allocate(value, usage, limits), allocate(limits=limits, blocks=blocks)
    assert (whole.choice == parts.choice).all()
    assert parts.value == pytest.approx(whole.value)
    assert parts.bound == pytest.approx(whole.bound)
    assert len(passes) <= 9
    shared = many(50_000, 12, 1)[1]
    streamed = allocate(
        limits=limits,
        blocks=lambda: ((value[s : s + 9_000], shared) for s in range(0, len(value), 9_000)),
    )
    check(value, shared, limits, streamed)
    assert streamed.gap < 1e-5


def test_shared_usage_is_usage_of_each():
    value, usage, limits = many(3_000, 15, 2)
    shared = allocate(value, usage, limits)
    own = allocate(value, np.broadcast_to(usage, (3_000, *usage.shape)), limits)
    assert own.value == pytest.approx(shared.value, rel=1e-6)
    assert own.bound == pytest.approx(shared.bound, rel=1e-9)


def test_few_units_among_many_accounts():
    value, usage, limits = many(60_000, 10, 3)
    limits = np.where(np.isfinite(limits), 3.0, np.inf)
    allocation = allocate(value, usage, limits)
    check(value, usage, limits, allocation)
    # no more than the best of each limit could lack
    assert allocation.bound - allocation.value <= 5 * value.max(where=np.isfinite(value), initial=0)
    assert used(usage, allocation.choice)[5] > 2.9


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_order_of_rows_does_not_matter_for_worth(seed, own):
    value, usage, limits = many(400, 8, seed, own)
    turn = np.random.default_rng(seed).permutation(400)
    one = allocate(value, usage, limits)
    two = allocate(value[turn], usage[turn] if own else usage, limits)
    assert two.value == pytest.approx(one.value, rel=5e-3)
    assert two.bound == pytest.approx(one.bound, rel=1e-6)


def test_faults_in_a_later_block_are_named_with_their_rows():
    value, usage, limits = many(20_000, 5, 4)
    value[12_345, 2] = np.nan
    with pytest.raises(InputError, match="12345"):
        allocate(value, usage, limits)
    with pytest.raises(InputError, match="12345"):
        allocate(limits=limits, blocks=lambda: [(value[:9000], usage), (value[9000:], usage)])
    with pytest.raises(InputError, match="either value and usage, or blocks"):
        allocate(value, usage, limits, blocks=list)
    with pytest.raises(InputError, match="either value and usage, or blocks"):
        allocate(limits=limits)


def test_group_limits_and_units_kept_for_a_group():
    rng = np.random.default_rng(5)
    n, K = 40, 3
    group = np.arange(n) % 4 == 0
    value = rng.exponential(2.0, (n, K)) * np.where(group, 0.3, 1.0)[:, None]
    value[:, 0] = 0.0
    usage = np.zeros((n, K, 3))
    usage[:, 1, 0] = usage[:, 2, 0] = 1.0  # contacts
    usage[~group, 1:, 1] = 1.0  # contacts of all but the group: what is left is kept for it
    usage[group, 2, 2] = 1.0  # the second column in the group alone
    limits = np.array([12.0, 7.0, 1.0])
    free = allocate(value, usage[:, :, :1], limits[:1])
    assert (free.choice[group] > 0).sum() < 5  # without it the group gets less
    allocation = allocate(value, usage, limits)
    check(value, usage, limits, allocation)
    assert (allocation.choice[group] > 0).sum() >= 5
    assert (allocation.choice[group] == 2).sum() <= 1
    assert allocation.value == pytest.approx(exact(value, usage, limits), rel=1e-6)


@pytest.mark.parametrize("seed", [7, 11])
def test_prices_of_many_rows_settle_within_few_looks(seed):
    # budget and minutes are all but one resource: prices of a sample are far off along that line
    value, usage, limits = many(70_000, 20, seed, own=True)
    passes = []

    def blocks():
        passes.append(1)
        for start in range(0, len(value), 10_000):
            yield value[start : start + 10_000], usage[start : start + 10_000]

    allocation = allocate(limits=limits, blocks=blocks)
    check(value, usage, limits, allocation)
    assert allocation.gap < 1e-5
    assert len(passes) <= 7


@pytest.mark.parametrize("own", [False, True])
def test_many_rows_that_are_all_alike(own):
    """No row leads by less than the others: all are open at once."""
    n = 31_000
    usage = np.array([[0.0], [1.0]])
    usage = np.broadcast_to(usage, (n, 2, 1)) if own else usage
    found = allocate(np.tile([0.0, 5.0], (n, 1)), usage, [1000.0])
    assert found.choice.sum() == 1000
    assert found.value == 5000.0
    assert found.gap < 1e-9
    nothing = allocate(np.tile([0.0, 5.0], (n, 1)), usage, [0.5])
    assert (len(nothing.choice), nothing.choice.sum(), nothing.value) == (n, 0, 0.0)


def test_all_do_nothing_where_no_repair_is_found(monkeypatch):
    monkeypatch.setattr(allocation, "rounded", lambda book, *_, **__: np.ones(len(book.v), int))
    rng = np.random.default_rng(5)
    value = np.column_stack([np.full(31_000, 2.0), rng.gamma(1.0, 5.0, 31_000)])
    found = allocate(value, [[0.0], [1.0]], [1000.0])
    assert len(found.choice) == 31_000
    assert not found.choice.any()
    assert found.value == 62_000.0 < found.bound
