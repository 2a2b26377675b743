from __future__ import annotations

import numpy as np
from scipy import stats

from collectopt.simulation.noise import Noise, Purpose


def test_uniform_numbers_are_uniform_and_independent() -> None:
    noise, unit = Noise(1), np.arange(40_000)
    first = noise.uniform(Purpose.READ, unit, 3)
    others = (
        noise.uniform(Purpose.READ, unit, 4),
        noise.uniform(Purpose.READ, unit, 3, 1),
        noise.uniform(Purpose.HARM, unit, 3),
        Noise(2).uniform(Purpose.READ, unit, 3),
        noise.uniform(Purpose.READ, unit + 1, 3),
    )
    assert stats.kstest(first, "uniform").pvalue > 1e-3
    for other in others:
        assert abs(np.corrcoef(first, other)[0, 1]) < 4 / np.sqrt(len(unit))
    assert first.min() > 0.0
    assert first.max() < 1.0


def test_draws_over_time_are_independent() -> None:
    unit = np.array([17])
    path = np.array([Noise(0).uniform(Purpose.PAY_DAY, unit, day)[0] for day in range(4_000)])
    assert stats.kstest(path, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(path[1:], path[:-1])[0, 1]) < 4 / np.sqrt(len(path))


def test_no_unit_has_the_same_luck_in_every_world() -> None:
    units, worlds = np.arange(60), 400
    draws = np.array([Noise(seed).uniform(Purpose.READ, units, 2) for seed in range(worlds)])
    stderr = np.sqrt(1 / 12 / worlds)
    assert (np.abs(draws.mean(axis=0) - 0.5) < 4.5 * stderr).all()
    assert (draws.std(axis=0) > 0.25).all()


def test_a_draw_belongs_to_its_unit() -> None:
    noise = Noise(9)
    some = noise.normal(Purpose.AMOUNT, np.array([5, 70_000]), 2)
    assert some[1] == noise.normal(Purpose.AMOUNT, np.array([70_000]), 2)[0]
