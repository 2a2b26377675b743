"""Tables of scores: grouping, pairing, clustering."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectopt.evaluation import metrics
from collectopt.evaluation.scoring import clustered_mean, gain_table, score_table

from .made import made_result


def test_pooled_and_by_cut(result):
    table = result.scores
    assert len(table) == 3 * 4 * 3  # horizons x (all + 3 cuts) x forecasters
    frame = result.rows.to_pandas()
    one = frame[(frame["horizon"] == "60D") & (frame["cut"].dt.strftime("%m") == "02")]
    row = table[
        (table["horizon"] == "60D")
        & (table["cut"] == "2026-02-01")
        & (table["forecaster"] == "PaymentModel")
    ].iloc[0]
    assert row["n"] == len(one)
    assert row["auc"] == pytest.approx(metrics.auc(one["paid"], one["PaymentModel"]))
    assert row["log_loss"] == pytest.approx(metrics.log_loss(one["paid"], one["PaymentModel"]))
    assert row["paid"] == pytest.approx(one["paid"].mean())
    pooled = result.to_pandas()
    assert pooled["n"].tolist() == [4000] * 9
    assert result.metrics()["log_loss_30D"] == pooled["log_loss"][0]
    assert "BaseRate_auc_30D" in result.metrics()


def test_gain_is_the_difference_of_log_losses(result):
    scores = result.to_pandas().set_index(["horizon", "forecaster"])["log_loss"]
    for row in result.gains.itertuples():
        difference = scores[row.horizon, row.rival] - scores[row.horizon, "PaymentModel"]
        assert row.gain == pytest.approx(difference)
        assert row.lower < row.gain < row.upper


def test_clustering_widens_intervals_of_repeated_rows():
    rng = np.random.default_rng(3)
    values = rng.normal(size=500)
    alone = clustered_mean(values, np.arange(500), np.ones(500))
    assert alone[1] == pytest.approx(values.std(ddof=1) / np.sqrt(500), rel=1e-9)
    repeated = clustered_mean(np.repeat(values, 4), np.repeat(np.arange(500), 4), np.ones(2000))
    assert repeated == pytest.approx(alone)
    weighted = clustered_mean(values, np.arange(500), np.full(500, 2.5))
    assert weighted == pytest.approx(alone)
    assert clustered_mean(values, np.zeros(500, dtype=int), np.ones(500))[1] == np.inf
    assert np.isnan(clustered_mean(values[:0], np.arange(0), np.ones(0))[0])


def test_interval_of_the_gain_covers():
    """No difference in truth: the interval holds zero in about 95 % of samples."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        n = 400
        frame = pd.DataFrame(
            {
                "horizon": "30D",
                "account_id": rng.integers(0, 150, n),
                "paid": rng.random(n) < 0.5,
                "weight": 1.0,
                "a": 0.5 + 0.1 * rng.choice([-1, 1], n),
            }
        )
        frame["b"] = 1 - frame["a"]
        gain = gain_table(frame, "a", ["b"]).iloc[0]
        hits += gain["lower"] <= 0 <= gain["upper"]
    assert 0.90 <= hits / 200 <= 0.985


def test_weights_count(result):
    frame = result.rows.to_pandas().iloc[:500].copy()
    frame["weight"] = 0.0 + (np.arange(500) % 2)
    doubled = score_table(frame, ["PaymentModel"])
    kept = score_table(frame[frame["weight"] > 0], ["PaymentModel"])
    pd.testing.assert_frame_equal(
        doubled.drop(columns="n").iloc[:1], kept.drop(columns="n").iloc[:1]
    )


def test_calibrated_and_not():
    result = made_result(n=20_000, seed=5)
    reliability = result.reliability
    mine = reliability[reliability["forecaster"] == "PaymentModel"]
    inside = (mine["lower"] <= mine["predicted"]) & (mine["predicted"] <= mine["upper"])
    assert inside.mean() > 0.85
    constant = reliability[reliability["forecaster"] == "BaseRate"]
    assert len(constant) == 3  # one bin a horizon


def test_it_prints(result):
    text = str(result)
    assert text.startswith("Backtest of PaymentModel (paid in full, account level): 3 cuts")
    assert "ShrunkenRate" in text
    assert "<table" in result._repr_html_()
