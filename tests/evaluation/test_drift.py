"""The drift report: fires on drift, and at about the nominal rate where there is none."""

import numpy as np
import pandas as pd
import pytest

from collectopt.evaluation.drift import drift_table
from collectopt.evaluation.plots import Plot
from collectopt.exceptions import InputError

START = np.datetime64("2022-01-15")
LEVEL = 0.9


def outcomes(rng, *, quarters=12, accounts=60, rows=5, shock=0.0, shift=0.0, mood=1.0):
    """Predictions that are right up to shared moods: of an account, and of a quarter.

    The mood of an account makes its rows pay together; p is what holds over all moods.
    """
    size = quarters * accounts * rows
    quarter = np.repeat(np.arange(quarters), accounts * rows)
    account = np.repeat(np.arange(quarters * accounts), rows)
    p = np.repeat(rng.uniform(0.2, 0.8, size=quarters * accounts), rows)
    # One uniform number an account: with `mood` 1 its rows all pay or none does.
    shared = np.repeat(rng.random(quarters * accounts), rows)
    u = np.where(rng.random(size) < mood, shared, rng.random(size))
    level = p + shock * rng.normal(size=quarters)[quarter] + shift * (quarter == quarters - 1)
    as_of = START + 91 * quarter
    return as_of, np.full(size, "30D"), u < level, p, account


def rate(rng, times, **how):
    """Share of quarters that are flagged, and its error from run to run."""
    found = [drift_table(*outcomes(rng, **how), level=LEVEL)["flag"].mean() for _ in range(times)]
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(times)


def row_wise(rng, times, **how):
    """The same for intervals that take every row for independent."""
    found = []
    for _ in range(times):
        as_of, horizon, paid, p, _ = outcomes(rng, **how)
        alone = drift_table(as_of, horizon, paid, p, np.arange(len(p)), level=LEVEL)
        reach = 1.645 * alone["error"]
        found.append(((alone["observed"] - alone["predicted"]).abs() > reach).mean())
    return np.mean(found)


def test_calibrated_predictions_are_flagged_at_the_nominal_rate():
    rng = np.random.default_rng(0)
    share, error = rate(rng, 40)
    # Shocks that are only seen by chance make the interval a little wider, never shorter.
    assert share < 1 - LEVEL + 3.0 * error
    assert share > (1 - LEVEL) / 3
    assert row_wise(np.random.default_rng(0), 20) > 1 - LEVEL + 10.0 * error


def test_without_other_quarters_the_rate_is_exact():
    rng = np.random.default_rng(1)
    share, _ = rate(rng, 150, quarters=4)
    assert abs(share - (1 - LEVEL)) < 3.0 * np.sqrt(LEVEL * (1 - LEVEL) / 600)


def test_moods_of_a_quarter_are_no_drift():
    rng = np.random.default_rng(2)
    share, error = rate(rng, 40, accounts=400, rows=1, shock=0.06)
    assert abs(share - (1 - LEVEL)) < 3.0 * error + 0.05
    naive = row_wise(np.random.default_rng(2), 20, accounts=400, rows=1, shock=0.06)
    assert naive > 3 * (1 - LEVEL)


def test_drift_is_flagged_where_it_is():
    rng = np.random.default_rng(3)
    table = drift_table(*outcomes(rng, accounts=150, shock=0.02, shift=0.2))
    last = table.iloc[-1]
    assert last["flag"]
    assert last["observed"] > last["upper"]
    assert table["flag"].iloc[:-1].sum() <= 2


def test_figures_by_hand():
    table = drift_table(
        np.array(["2026-03-31", "2026-01-01", "2026-04-01"], dtype="M8[D]"),
        ["30D"] * 3,
        [True, False, True],
        [0.5, 0.25, 0.9],
        ["A", "A", "B"],
        weight=[1.0, 3.0, 1.0],
    )
    first = table.iloc[0]
    assert table["quarter"].tolist() == ["2026Q1", "2026Q2"]
    assert (first["n"], first["accounts"]) == (2, 1)
    assert first["predicted"] == pytest.approx((0.5 + 3 * 0.25) / 4)
    assert first["observed"] == pytest.approx(0.25)
    by_account = abs(0.5 - 3 * 0.25) / 4
    by_chance = np.sqrt(0.25 + 9 * 0.25 * 0.75) / 4
    assert first["error"] == pytest.approx(max(by_account, by_chance))


def test_all_alike_is_not_certain():
    """Twenty of twenty paid at 90 %: that happens in one of eight quarters."""
    n = 20
    table = drift_table([START] * n, ["30D"] * n, [True] * n, [0.9] * n, np.arange(n))
    assert not table["flag"].any()


def test_bad_columns_are_named():
    with pytest.raises(InputError, match=r"drift\.predicted.*1\.5 in 1 row"):
        drift_table([START], ["30D"], [True], [1.5], ["A"])
    with pytest.raises(InputError, match=r"drift\.account"):
        drift_table([START], ["30D"], [True], [0.5], ["A", "B"])


def test_a_backtest_reports_its_drift(result):
    drift = result.drift
    assert drift["horizon"].unique().tolist() == list(result.horizons)
    assert drift["n"].sum() == len(result.rows)
    frame = result.rows.to_pandas()
    part = frame[frame["horizon"] == "30D"]
    quarter = pd.DatetimeIndex(part["as_of"]).tz_localize(None).to_period("Q").astype(str)
    mine = drift[(drift["horizon"] == "30D") & (drift["quarter"] == "2026Q1")].iloc[0]
    assert mine["observed"] == pytest.approx(part["paid"][quarter == "2026Q1"].mean())
    picture = result.plot_drift()
    assert isinstance(picture, Plot)
    assert len(picture.axes) == len(result.horizons)
