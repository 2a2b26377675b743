"""The simulator lives through published randomised trials and finds what they found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collectopt.simulation import calibration_table
from collectopt.simulation.calibration_studies import published
from collectopt.simulation.calibration_trials import Contact, live, opening


def test_an_arm_is_a_fork_and_leaves_its_start_alone() -> None:
    setting = published().study("campbell").groups["all"]
    start = opening(setting, 500, seed=1)
    before = start.claims.open.copy()
    twice = [live(start, [Contact()], [20])[20].full for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    np.testing.assert_array_equal(start.claims.open, before)
    assert start.record.contacts == 0


def test_without_content_a_contact_moves_nobody() -> None:
    setting = replace(published().study("campbell").groups["all"], promise=0.0)
    start = opening(setting, 500, seed=1)
    empty, nothing = (
        live(start, contacts, [30])[30].full for contacts in ([Contact(content=0.0)], [])
    )
    np.testing.assert_array_equal(empty, nothing)


def test_the_table_fits_into_a_hundred_columns_and_a_notebook() -> None:
    result = calibration_table(["campbell", "dewies"], scale=0.05)
    assert max(map(len, str(result).splitlines())) <= 100
    assert "<table" in result._repr_html_()
    assert list(result.to_pandas().role) == [row.role for row in result.rows]
