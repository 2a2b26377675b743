"""The confounded book: naive readings fail, true propensities mend them."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_naive_readings_of_a_confounded_log_have_the_wrong_sign(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    found = {each.name: each for each in import_module("confounded").readings(6000, seed=1)}
    truth = found["truth"]
    assert truth.points > 3 * truth.stderr
    for naive in ("difference of means", "regression on contacts", "S-learner"):
        assert found[naive].points < 0.0
    blind = found["ResponseModel, propensities unknown"]
    assert blind.points < truth.points - 3 * truth.stderr  # what missing propensities cost
    rebuilt = found["ResponseModel, no propensities, no waits"]
    assert rebuilt.points < truth.points - 3 * truth.stderr  # estimating them does not mend it
    known = found["ResponseModel, propensities true"]
    # The truth is that of one moment, the reading that of a year: alike, not the same.
    assert abs(known.points - truth.points) < 3 * (known.stderr + truth.stderr)
    assert known.points > 2 * known.stderr
