"""Cuts lie in order, and what they ask for is over when the ledger ends."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt.evaluation import RollingSplit, rolling_cuts
from collectopt.evaluation.splits import last_fact
from collectopt.exceptions import InputError

DAY = np.timedelta64(1, "D")


def test_last_fact_is_just_after_the_last_payment(tiny):
    assert last_fact(tiny) == np.datetime64("2026-04-02T12:00:00.000001")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("dates", [1, 2, 4])
def test_every_horizon_is_over(tiny, n, dates):
    split = rolling_cuts(tiny, n=n, every="20D", horizon="30D", dates=dates)
    assert len(split.cuts) == n
    assert (np.diff(split.cuts) == 20 * DAY).all()
    for fold, following in zip(split.folds, [*split.cuts[1:], split.end], strict=True):
        assert fold.dates[0] == fold.cut
        assert len(fold.dates) == dates
        assert fold.dates[-1] < following
        assert all(date + 30 * DAY <= split.end for date in fold.dates)
    newest = split.folds[-1].dates[-1]
    assert newest + 31 * DAY > split.end  # nothing is wasted


def test_end_can_be_given(tiny):
    split = rolling_cuts(tiny, n=1, every="10D", horizon="10D", dates=1, end="2026-05-01")
    assert split.cuts == (np.datetime64("2026-04-21"),)


def test_too_short_a_ledger_is_refused(tiny):
    with pytest.raises(InputError, match="at least 310 days of history for 2 cuts"):
        rolling_cuts(tiny, n=2, every="90D", horizon="70D")
    for wrong in ({"every": "3 months"}, {"horizon": "0D"}, {"n": 0}, {"dates": 0}):
        with pytest.raises(InputError, match="rolling_cuts"):
            rolling_cuts(tiny, **wrong)


def test_explicit_cuts():
    split = RollingSplit.from_cuts(["2026-01-01", "2026-02-01"], end="2026-05-01")
    assert split.cuts == (np.datetime64("2026-01-01"), np.datetime64("2026-02-01"))
    for cuts in ([], ["2026-02-01", "2026-01-01"], ["2026-01-01", "2026-01-01"], ["2026-05-01"]):
        with pytest.raises(InputError, match="increase"):
            RollingSplit.from_cuts(cuts, end="2026-05-01")
