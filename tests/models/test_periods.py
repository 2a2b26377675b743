import numpy as np
import pytest

from collectopt.models.periods import Grid, Periods, blocks, default_due_edges, default_edges

GRID = Grid(default_edges(), default_due_edges())


def test_bins_cover_the_time_watched_without_gap_or_overlap():
    rng = np.random.default_rng(0)
    upto = rng.uniform(0.0, 1200.0, 200)
    offset = rng.uniform(-100.0, 200.0, 200)
    offset[:20] = np.nan
    periods = GRID.lay(upto, offset)
    for row in range(200):
        lo, hi = periods.lo[periods.row == row], periods.hi[periods.row == row]
        assert lo[0] == 0.0
        assert (lo[1:] == hi[:-1]).all()
        assert (hi > lo).all()
        assert hi[-1] >= min(upto[row], GRID.reach)
        assert lo[-1] < upto[row]


def test_bins_are_one_day_around_the_due_date():
    periods = GRID.lay(np.array([200.0]), np.array([40.25]))
    near = (periods.lo >= 39.0) & (periods.hi <= 45.5)
    np.testing.assert_allclose((periods.hi - periods.lo)[near], 1.0)
    assert 40.25 in periods.lo


def test_without_due_date_only_the_edges_from_the_start_are_used():
    assert (
        GRID.lay(np.array([5000.0]), np.array([np.nan])).hi.tolist() == default_edges()[1:].tolist()
    )
    assert GRID.lay(np.array([5000.0])).hi.tolist() == default_edges()[1:].tolist()


def test_a_row_watched_for_no_time_has_no_bin():
    assert len(GRID.lay(np.array([0.0, 0.0]))) == 0


def test_calendar_of_bins():
    # 2024-03-01 was a Friday.
    periods = Periods(
        row=np.array([0, 0, 0, 0]), lo=np.array([0.0, 1.0, 2.0, 9.0]), hi=np.array([1.0, 2, 9, 39])
    )
    start = np.array(["2024-03-01"], dtype="datetime64[D]")
    table = periods.features(np.array([3.0]), start)
    np.testing.assert_allclose(table[:, 0], [0, 1, 2, 9])
    np.testing.assert_allclose(table[:, 1], [-3, -2, -1, 6])
    np.testing.assert_allclose(table[:, 2], [1.0, 0.0, 5 / 7, 21 / 30], rtol=1e-6)
    np.testing.assert_allclose(table[:, 3], [4, 5, np.nan, np.nan])
    np.testing.assert_allclose(table[:, 4], [1, 2, 6, np.nan])
    np.testing.assert_allclose(table[:, 5], [3, 3, 3, 3])


@pytest.mark.parametrize("length", [1, 6, 30, 365])
def test_business_days_agree_with_numpy(length):
    start = np.arange("2023-12-20", "2024-01-10", dtype="datetime64[D]")
    n = len(start)
    periods = Periods(np.arange(n), np.zeros(n), np.full(n, float(length)))
    share = periods.features(None, start)[:, 1]
    np.testing.assert_allclose(share, np.busday_count(start, start + length) / length, rtol=1e-6)


def test_blocks():
    assert [(b.start, b.stop) for b in blocks(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert list(blocks(0, 2)) == []
