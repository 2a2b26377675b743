"""Cases become person-periods in blocks: nothing changes, and what is drawn is unbiased."""

import numpy as np
import pytest

from collectopt.models import members
from collectopt.models.boosting import TreeOptions, Trees, logit
from collectopt.models.cases import Bins, Cases, Rates, sample
from collectopt.models.hazard import HazardModel
from collectopt.models.periods import (
    STAGES,
    Grid,
    LifeCounts,
    LifeTable,
    default_due_edges,
    default_edges,
)

GRID = Grid(default_edges(), default_due_edges())


def book(n, seed, *, due=True):
    """Exponential days, two rates by x, random censoring, half of the due dates ahead."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, n)
    days = rng.exponential(np.where(x == 1, 20.0, 80.0))
    limit = rng.exponential(90.0, n)
    offset = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(-40.0, 40.0, n)) if due else None
    start = np.datetime64("2024-01-01") + rng.integers(0, 400, n)
    weight = rng.uniform(0.2, 2.0, n)
    return x[:, None].astype(float), np.minimum(days, limit), days < limit, weight, offset, start


def at_once(days, happened, weight, offset, start, half_life):
    """Lay all bins of all rows at once: the plain way, too large for a big book."""
    periods = GRID.lay(np.where(happened, np.nextafter(days, np.inf), days), offset)
    at = days[periods.row]
    hit = happened[periods.row] & (at >= periods.lo) & (at < periods.hi)
    watched = np.where(hit, periods.hi, np.minimum(at, periods.hi)) - periods.lo
    when = start.astype(np.int64)[periods.row] + periods.lo
    mass = weight[periods.row] * 0.5 ** ((when.max() - when) / half_life)
    return Bins(periods, hit, watched, mass)


def everything(bins):
    return [bins.periods.row, bins.periods.lo, bins.periods.hi, bins.hit, bins.watched, bins.mass]


@pytest.fixture(scope="module")
def small():
    x, days, happened, weight, offset, start = book(2000, 1)
    cases = Cases(GRID, days, happened, weight, offset, start, 150.0)
    return cases, x, at_once(days, happened, weight, offset, start, 150.0)


def test_below_the_limit_the_bins_are_those_laid_at_once(small):
    cases, _, plain = small
    drawn = sample(cases, limit=len(plain), seed=0, size=300)
    for ours, theirs in zip(everything(drawn.bins), everything(plain), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert drawn.events == int(plain.hit.sum())


def test_below_the_limit_the_model_is_the_one_fitted_at_once(small):
    cases, x, plain = small
    model = HazardModel(n_estimators=10, half_life_days=150.0).fit(
        x,
        cases.days,
        cases.happened,
        weight=cases.weight,
        offset=cases.offset,
        start=cases.start,
    )
    periods = plain.periods
    counts = LifeCounts.empty(GRID.edges)
    counts.add(periods, plain.hit, plain.watched, plain.mass, cases.offset)
    data = np.column_stack([x[periods.row], periods.features(cases.offset, cases.start)])
    trees = Trees.fit(
        data.astype(np.float32),
        plain.hit.astype(float),
        options=TreeOptions(rounds=10, leaves=7, min_leaf=200),
        base=logit(counts.table().chance(periods, plain.watched, cases.offset)),
        weight=plain.mass,
    )
    assert model.members_[0].trees.to_text() == trees.to_text()


def test_no_bin_looks_past_the_moment_when_its_row_was_last_seen(small):
    cases, _, plain = small
    drawn = sample(cases, limit=len(plain), seed=0).bins
    row = drawn.periods.row
    open_ = ~cases.happened[row]
    seen = drawn.periods.lo + drawn.watched
    assert (seen[open_] <= np.nextafter(cases.days[row][open_], np.inf)).all()
    assert not drawn.hit[open_].any()
    assert (drawn.periods.lo <= cases.days[row]).all()
    whole = cases.grid.lay(np.full(len(cases.days), 2000.0), cases.offset)
    assert len(whole) > 1.5 * len(plain)  # what a table of all bins would add is the future


def test_counts_in_blocks_are_those_of_one_count_to_the_last_bit(small):
    cases, _, plain = small
    counts = LifeCounts.empty(GRID.edges)
    for part in cases.bins(77):
        counts.add(part.periods, part.hit, part.watched, part.mass, cases.offset)
    age = np.searchsorted(GRID.edges[1:-1], plain.periods.lo, side="right")
    due = plain.periods.lo - cases.offset[plain.periods.row]
    begins = [-30, -14, *range(-7, -6), *range(-5, 6), 7, 10, 14, 21, 30, 60, 120]
    stage = np.searchsorted(begins, due + 1e-9, side="right")
    cell = age * STAGES + np.where(np.isnan(due), STAGES - 1, stage)
    size = len(counts.days)
    np.testing.assert_array_equal(counts.days, np.bincount(cell, plain.mass * plain.watched, size))
    np.testing.assert_array_equal(counts.events, np.bincount(cell, plain.mass * plain.hit, size))


@pytest.mark.parametrize("limit", [3000, 1_000_000])
@pytest.mark.parametrize("size", [1, 7, 5000])
def test_the_size_of_the_blocks_does_not_matter(small, limit, size):
    cases = small[0]
    part = Cases(
        GRID,
        cases.days[:700],
        cases.happened[:700],
        cases.weight[:700],
        cases.offset[:700],
        cases.start[:700],
        150.0,
    )
    one, other = (sample(part, limit=limit, seed=3, size=s) for s in (64, size))
    np.testing.assert_array_equal(one.table.rates, other.table.rates)
    for ours, theirs in zip(everything(one.bins), everything(other.bins), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_life_table_is_events_over_days_watched():
    rng = np.random.default_rng(2)
    n = 40_000
    days, limit = rng.exponential(40.0, n), rng.exponential(15.0, n)
    happened = days < limit
    counts = LifeCounts.empty(np.array([0.0, 10.0, 20.0]))
    grid = Grid(counts.edges, default_due_edges())
    for part in Cases(grid, np.minimum(days, limit), happened).bins(999):
        counts.add(part.periods, part.hit, part.watched, part.mass, None)
    truth = -np.expm1(-10.0 / 40.0)
    chance = -np.expm1(-10.0 * counts.table().rates[0, -1])  # without a due date: the last stage
    se = np.sqrt(truth * (1 - truth) / (n * np.exp(-10.0 / 15.0)))
    assert abs(chance - truth) < 4 * se + 0.004  # an event counts to the end of its bin
    naive = (happened & (days < 10.0)).mean()  # "not yet = no"
    assert abs(naive - truth) > 15 * se


@pytest.fixture(scope="module")
def heavy():
    """Twenty times more bins than the limit, and more events than the limit."""
    x, days, happened, _, offset, start = book(60_000, 4)
    cases = Cases(GRID, days, happened, None, offset, start)
    return cases, x, sample(cases, limit=20_000, seed=0)


def test_a_heavy_draw_keeps_the_limit(heavy):
    cases, _, drawn = heavy
    assert drawn.events > 20_000
    assert sum(len(part) for part in cases.bins()) > 20 * 20_000
    # About 20,000 independent draws: their number varies by less than the root of it.
    assert abs(len(drawn.bins) - 20_000) < 5 * np.sqrt(20_000)
    assert abs(drawn.bins.hit.sum() - 10_000) < 5 * np.sqrt(10_000)


def totals(cases, drawn, pick):
    """What the draw says a group weighs, its standard error, and what it weighs."""
    true = sum(float(pick(part).sum()) for part in cases.bins())
    chosen = pick(drawn.bins)
    mass = drawn.bins.mass[chosen]
    return mass.sum(), np.sqrt((mass * (mass - 1.0)).sum()), true, chosen.sum()


GROUPS = {
    "events": lambda b: b.hit,
    "no event": lambda b: ~b.hit,
    "young": lambda b: ~b.hit & (b.periods.lo < 10.0),
    "old": lambda b: ~b.hit & (b.periods.lo >= 90.0),
    "old events": lambda b: b.hit & (b.periods.lo >= 90.0),
}


@pytest.mark.parametrize("group", GROUPS)
def test_weights_make_up_for_what_was_not_drawn(heavy, group):
    cases, _, drawn = heavy
    mass, se, true, _ = totals(cases, drawn, GROUPS[group])
    assert abs(mass - true) < 4 * se
    assert se < 0.08 * true


def test_without_the_weights_the_level_would_be_wrong(heavy):
    cases, _, drawn = heavy
    _, _, events, drawn_events = totals(cases, drawn, GROUPS["events"])
    _, _, others, drawn_others = totals(cases, drawn, GROUPS["no event"])
    assert drawn_events / drawn_others > 5 * events / others


def test_a_heavy_draw_predicts_the_truth_and_the_unweighted_one_does_not(heavy, monkeypatch):
    cases, x, _ = heavy

    def fitted():
        model = HazardModel(n_estimators=60, max_periods=20_000)
        model.fit(x, cases.days, cases.happened, offset=cases.offset)
        return model.predict_cumulative([[0.0], [1.0]], [10.0, 30.0], offset=[np.nan, np.nan])

    truth = np.array([[-np.expm1(-h / m) for h in (10.0, 30.0)] for m in (80.0, 20.0)])
    # Half of the 10,000 events kept, and half of the other bins, belong to each kind. So the log of
    # a cumulative hazard H is known to sqrt(2 / 5000) or worse, and P moves by (1 - P) H times it;
    # a quarter of the events fall before each horizon. 0.01 is left for what trees shrink.
    log_se = np.sqrt(2.0 / (5000 * 0.25))
    se = (1.0 - truth) * -np.log1p(-truth) * log_se
    assert (np.abs(fitted() - truth) < 3 * se + 0.01).all()

    def unweighted(cases, **given):
        kept = sample(cases, **given)
        flat = Bins(kept.bins.periods, kept.bins.hit, kept.bins.watched, np.ones(len(kept.bins)))
        return type(kept)(flat, kept.table, kept.events)

    monkeypatch.setattr(members, "sample", unweighted)
    assert (np.abs(fitted() - truth) > 6 * se + 0.02).all()


def test_time_decay_holds_in_a_heavy_draw():
    rng = np.random.default_rng(8)
    n = 20_000
    start = np.datetime64("2020-01-01") + rng.integers(0, 1000, n)
    mean = np.where(start < np.datetime64("2021-06-01"), 100.0, 20.0)
    days, limit = rng.exponential(mean), 1001.0 - (start - start.min()).astype(float)
    X, now = np.zeros((n, 1)), np.array(["2022-10-01"], dtype="datetime64[D]")
    p = [
        HazardModel(n_estimators=30, half_life_days=half_life, max_periods=15_000)
        .fit(X, np.minimum(days, limit), days < limit, start=start)
        .predict_cumulative(X[:1], [20.0], start=now)[0, 0]
        for half_life in (None, 90.0)
    ]
    truth = -np.expm1(-1)
    assert abs(p[1] - truth) < 0.05
    assert abs(p[1] - truth) < abs(p[0] - truth)


def test_few_events_are_all_kept():
    rng = np.random.default_rng(9)
    n = 3000
    days = rng.exponential(3000.0, n)
    cases = Cases(GRID, np.minimum(days, 365.0), days < 365.0)
    drawn = sample(cases, limit=5000, seed=0)
    assert drawn.events == int(cases.happened.sum()) < 2500
    assert drawn.bins.hit.sum() == drawn.events
    assert (drawn.bins.mass[drawn.bins.hit] == 1.0).all()


def test_where_events_are_many_and_the_rest_is_few_the_rest_is_all_kept():
    cases = Cases(GRID, np.full(1000, 0.5), np.arange(1000) >= 100)
    drawn = sample(cases, limit=400, seed=0)
    assert (~drawn.bins.hit).sum() == 100
    assert (drawn.bins.mass[~drawn.bins.hit] == 1.0).all()
    assert abs(drawn.bins.hit.sum() - 300) < 5 * np.sqrt(300 * (2 / 3))


def test_rates_are_higher_where_a_bin_tells_more():
    table = LifeTable(np.array([0.0, 1.0, 2.0]), np.tile([[0.5], [0.01]], (1, STAGES)))
    cases = Cases(Grid(table.edges, default_due_edges()), np.full(1000, 2.0), np.zeros(1000, bool))
    rates = Rates.plan(cases.bins(), table, cases, 500)
    rate = rates.of(np.zeros(2, bool), -np.expm1(-np.array([0.5, 0.01])))
    assert rate[0] > 5 * rate[1] > 0.0
    assert rate.mean() * 2000 == pytest.approx(500, rel=0.01)
