"""Bootstrap intervals against known truth, beside the naive ones that must fail."""

import numpy as np
import pytest
from scipy import stats

from collectopt.evaluation import metrics
from collectopt.evaluation.bootstrap import (
    calendar_blocks,
    difference_interval,
    mean_interval,
    metric_difference,
    total_interval,
)
from collectopt.exceptions import InputError

LEVEL = 0.9


def clustered(rng, groups=30, rows=8):
    """Rows of mean 1 that share half of their variance within a cluster of uneven size."""
    size = rng.integers(rows // 2, 2 * rows, size=groups)
    code = np.repeat(np.arange(groups), size)
    return 1.0 + rng.normal(size=groups)[code] + rng.normal(size=len(code)), code


def covers(found, truth):
    return np.array([one.lower <= truth <= one.upper for one in found]).mean()


def test_clusters_cover_where_rows_do_not():
    rng, times = np.random.default_rng(1), 400
    whole, naive = [], []
    for _ in range(times):
        x, code = clustered(rng)
        whole.append(mean_interval(x, code, rng=rng, level=LEVEL, draws=600))
        naive.append(mean_interval(x, np.arange(len(x)), rng=rng, level=LEVEL, draws=200))
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(covers(whole, 1.0) - LEVEL) < 3.0 * error
    assert covers(naive, 1.0) < LEVEL - 10.0 * error


def test_few_clusters_still_cover_where_the_plain_percentiles_do_not():
    rng, times, groups = np.random.default_rng(2), 600, 8
    ours, plain = [], []
    for _ in range(times):
        x = rng.normal(size=groups)
        ours.append(mean_interval(x, np.arange(groups), rng=rng, level=LEVEL, draws=800))
        means = x[rng.integers(0, groups, size=(800, groups))].mean(axis=1)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        plain.append(low <= 0.0 <= high)
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(covers(ours, 0.0) - LEVEL) < 3.0 * error
    assert np.mean(plain) < LEVEL - 4.0 * error


def test_interval_is_that_of_the_central_limit():
    rng = np.random.default_rng(3)
    x = rng.exponential(size=20_000)
    found = mean_interval(x, np.arange(len(x)), rng=rng, draws=800)
    half = stats.norm.ppf(0.975) * x.std() / np.sqrt(len(x))
    assert found.value == pytest.approx(x.mean())
    # A quantile of 800 draws is off by about 4.5 % of its distance.
    assert (found.upper - found.lower) / 2 == pytest.approx(half, rel=0.12)


def test_weights_are_repetitions():
    x, code, w = np.array([1.0, 2.0, 5.0]), np.array([0, 1, 1]), np.array([2.0, 1.0, 3.0])
    weighted = mean_interval(x, code, rng=np.random.default_rng(0), weight=w)
    again = np.repeat(x, [2, 1, 3]), np.repeat(code, [2, 1, 3])
    assert weighted == mean_interval(*again, rng=np.random.default_rng(0))
    assert weighted.value == pytest.approx(19.0 / 6.0)


def test_paired_differences_are_sharper_than_two_intervals():
    rng = np.random.default_rng(4)
    hard, code = clustered(rng, groups=60)
    rival = hard + 0.1 + 0.05 * rng.normal(size=len(hard))
    found = difference_interval(hard, rival, code, rng=rng)
    own, other = (mean_interval(v, code, rng=rng) for v in (hard, rival))
    assert 0.0 < found.lower < 0.1 < found.upper < 0.2
    assert own.upper > other.lower


def test_difference_of_a_metric_covers_and_a_row_wise_one_does_not():
    """AUC of two scores with the same error: the truth is 0, shocks are shared by a cluster."""
    rng, times, groups, rows = np.random.default_rng(5), 80, 24, 8
    code = np.repeat(np.arange(groups), rows)
    whole, naive = [], []
    for _ in range(times):
        y = (rng.random(groups) < 0.5)[code].astype(float)
        own, rival = (y + 2.0 * rng.normal(size=groups)[code] for _ in range(2))
        for found, cluster in ((whole, code), (naive, np.arange(len(y)))):
            one = metric_difference(
                lambda y, p, w: metrics.auc(y, p, weight=w),
                y, own, rival, cluster, rng=rng, level=LEVEL, draws=50,
            )  # fmt: skip
            found.append(one)
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(covers(whole, 0.0) - LEVEL) < 3.0 * error
    assert covers(naive, 0.0) < LEVEL - 6.0 * error


def test_blocks_of_time_cover_where_single_weeks_do_not():
    """26 quarters of 13 weeks; each quarter has a shock of its own."""
    rng, times, quarters = np.random.default_rng(6), 300, 26
    blocks, whole, naive = [], [], []
    quarter = np.repeat(np.arange(quarters), 13)
    for _ in range(times):
        weeks = 10.0 + rng.normal(size=quarters)[quarter] + 0.5 * rng.normal(size=len(quarter))
        blocks.append(total_interval(weeks, rng=rng, length=26, level=LEVEL, draws=400))
        whole.append(mean_interval(weeks, quarter, rng=rng, level=LEVEL, draws=400))
        naive.append(total_interval(weeks, rng=rng, level=LEVEL, draws=400))
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(covers(whole, 10.0) - LEVEL) < 3.0 * error
    # Moving blocks cut a shock in two now and then: a little short of the nominal level.
    assert covers(blocks, 10.0 * len(quarter)) > LEVEL - 0.05 - 3.0 * error
    assert covers(naive, 10.0 * len(quarter)) < LEVEL - 15.0 * error


def test_a_block_of_two_by_hand():
    """Three periods, blocks of 2 and a rest of 1 are not allowed; four periods are."""
    with pytest.raises(InputError, match="1 to 1 periods"):
        total_interval([1.0, 2.0, 3.0], rng=np.random.default_rng(0), length=2)
    found = total_interval([0.0, 0.0, 1.0, 1.0], rng=np.random.default_rng(0), length=2, level=0.5)
    assert found.value == 2.0
    assert 0.0 <= found.lower < 2.0 < found.upper <= 4.0


def test_calendar_blocks_follow_the_calendar():
    days = np.arange("2025-12-20", "2026-07-10", dtype="M8[D]")
    weeks, quarters = calendar_blocks(days, "week"), calendar_blocks(days)
    starts = days[1:][np.diff(weeks) == 1]
    assert all(day.item().weekday() == 0 for day in starts)
    assert days[1:][np.diff(quarters) == 1].astype(str).tolist() == [
        "2026-01-01", "2026-04-01", "2026-07-01",
    ]  # fmt: skip
    with pytest.raises(InputError, match="week, month or quarter"):
        calendar_blocks(days, "year")


@pytest.mark.parametrize(
    ("values", "cluster", "message"),
    [
        ([1.0, 2.0], [0, 0], "at least two clusters"),
        ([1.0, np.nan], [0, 1], "1 not finite"),
        ([1.0, 2.0], [0, 1, 2], "shape"),
    ],
)
def test_bad_input_is_named(values, cluster, message):
    with pytest.raises(InputError, match=message):
        mean_interval(values, cluster, rng=np.random.default_rng(0))


def test_many_clusters_come_in_parts_and_a_seed_gives_the_same():
    x = np.arange(3000.0)
    first, second = (
        mean_interval(x, np.arange(3000), rng=np.random.default_rng(7), draws=1500)
        for _ in range(2)
    )
    assert first == second
