"""Bins of one row in compiled code: the numbers of the grid, its calendar and its life tables."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectopt.models import tracks
from collectopt.models.boosting import TreeOptions, Trees, logit
from collectopt.models.forests import MOST_BINS, Axis, laid_out
from collectopt.models.periods import _STAGES as LIFE_STAGES
from collectopt.models.periods import STAGES as LIFE_STAGE_COUNT
from collectopt.models.periods import Clock, Grid, LifeTable, default_due_edges, default_edges
from collectopt.models.slopes import STAGES, _stage

GRID = Grid(default_edges(), default_due_edges())
CLOCK = Clock(offset=True, start=True)
ASKED = np.array([30.0, 90.0, 180.0, 1.0, 7.5, 20.0, 182.0])
WEIGHT, OLDEST = (0.5, 0.5, 0.3), (-40.0, -100.0, 2.0)
RNG = np.random.default_rng(5)
TABLES = [
    LifeTable(GRID.edges, RNG.uniform(0.0, 0.3, (len(GRID.edges) - 1, LIFE_STAGE_COUNT)))
    for _ in range(2)
]
NONE = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def forests():
    """Trees on two columns of a row and the seven of a bin."""
    X = RNG.normal(size=(2000, 9)).astype(np.float32)
    X[:, 2:] *= 10.0
    y = (X.sum(axis=1) > 0).astype(float)
    return laid_out([Trees.fit(X, y, options=TreeOptions(rounds=5)).booster.dump_model()])


def axis_of(forests, reach=365.0):
    inner = GRID.edges[1:-1]
    return Axis(
        edges=GRID.edges, due_edges=GRID.due_edges,
        middle_edges=np.array([-np.inf, *((inner[:-1] + inner[1:]) / 2.0), np.inf]),
        reach=reach, rates=np.array([table.rates for table in TABLES]),
        life_stages=LIFE_STAGES, line_stages=STAGES, asked=ASKED,
        weight=np.array(WEIGHT), oldest=np.array(OLDEST),
        clocked=np.flatnonzero(forests.node["column"] >= 2), width=2, columns=len(CLOCK.names),
        usual=NONE, piece=NONE, middle=np.zeros(1), start=np.zeros(3), shut=NONE,
    )  # fmt: skip


days = st.dates(dt.date(1999, 1, 1), dt.date(2101, 1, 1)).map(
    lambda d: (d - dt.date(1970, 1, 1)).days
)
dues = st.one_of(
    st.just(np.nan),
    st.integers(-1200, 1200).map(float),
    st.integers(-40_000, 40_000).map(lambda minutes: minutes / 1440.0),
    st.floats(-1200.0, 1200.0),
)


@given(due=dues, day=days, reach=st.sampled_from([1.0, 30.0, 182.0, 365.0, 1095.0]))
@example(due=0.0, day=11_016, reach=365.0)  # 29 February 2000
@example(due=5e-10, day=47_541, reach=365.0)  # 2 March 2100, no leap year
@example(due=8.0, day=0, reach=365.0)  # an edge from the due date beside one from the start
@settings(max_examples=300, deadline=None)
def test_bins_are_those_of_the_grid(forests, due, day, reach):
    offset, start = np.array([due]), np.array([day]).astype("datetime64[D]")
    periods = GRID.lay(np.array([reach]), offset)
    found = tracks.track_of(axis_of(forests, reach), due, day)
    assert 0 < len(found.due) == len(periods) <= MOST_BINS
    np.testing.assert_array_equal(found.clock, periods.features(offset, start))
    np.testing.assert_array_equal(found.due, (periods.lo - due).astype(np.float32))
    np.testing.assert_array_equal(found.stage, _stage(periods, offset))
    wide = periods.hi - periods.lo
    odds = [logit(table.chance(periods, wide, offset)) for table in TABLES]
    np.testing.assert_allclose(found.base, odds, rtol=1e-12, atol=1e-12)


@given(due=dues, day=days)
@settings(max_examples=100, deadline=None)
def test_days_asked_about_lie_where_the_grid_has_them(forests, due, day):
    found = tracks.track_of(axis_of(forests), due, day)
    lo, hi = tracks.bins(axis_of(forests), due)
    for q, asked in enumerate(ASKED):
        k = found.at[q]
        assert lo[k] <= asked <= hi[k]
        assert lo[k] + found.share[q] * (hi[k] - lo[k]) == pytest.approx(asked, abs=2e-9)


def test_windows_count_up_to_the_oldest_that_they_have_seen(forests):
    for due, known in ((0.0, (0.5, 0.5, 0.0)), (-50.0, (0.0, 0.5, 0.0)), (np.nan, (0.5, 0.5, 0.3))):
        assert tuple(tracks.track_of(axis_of(forests), due, 0).weight) == known


def test_uncompiled_it_is_the_same(forests):
    axis = axis_of(forests)
    for due in (3.3, -12.0, np.nan):
        edges = tracks.edges_of.py_func(axis, due)
        np.testing.assert_array_equal(edges, tracks.edges_of(axis, due))
        for own, known in zip(tracks.bins.py_func(axis, due), tracks.bins(axis, due), strict=True):
            np.testing.assert_array_equal(own, known)
        own, known = (of(axis, due, 19_700) for of in (tracks.track_of.py_func, tracks.track_of))
        for name in ("clock", "due", "stage", "at", "share", "weight"):
            np.testing.assert_array_equal(getattr(own, name), getattr(known, name))
        np.testing.assert_allclose(own.base, known.base, rtol=1e-14)
    for day in range(-1000, 40_000, 997):
        told = dt.date(1970, 1, 1) + dt.timedelta(days=day)
        assert tracks.day_and_month.py_func(day) == (told.day, told.month)
        assert tracks.business_days.py_func(day + 7) - tracks.business_days.py_func(day) == 5
        out = np.zeros((2, len(CLOCK.names)))
        for of, row in zip((tracks.describe.py_func, tracks.describe), out, strict=True):
            of(row, 2.0, 9.0, 4.5, day)
        np.testing.assert_array_equal(*out)
