"""What an agency changes, learnt from hand-overs of claims that were hopeless anyway."""

import numpy as np

from collectopt.models.external import Followed, Lift, cell


def world(seed, n=4000, factor=1.0, bias=1.0):
    """Claims with a hazard; the worse, the likelier at the agency. `bias`: of what is foretold."""
    rng = np.random.default_rng(seed)
    age = rng.choice([15, 60, 120, 250], n)
    amount = rng.choice([30.0, 100.0, 900.0], n)
    rate = rng.gamma(2.0, 0.002, n) * np.exp(-age / 120.0)
    gone = rng.random(n) < 1.0 / (1.0 + np.exp(-(age - 120) / 40.0))
    true = rate * np.where(gone, factor, 1.0)
    time = rng.exponential(1.0 / true)
    paid, seen = time < 182, np.minimum(time, 182.0)
    foretold = rate * bias
    parts = []
    for mask in (gone, ~gone):
        m = np.flatnonzero(mask)
        parts.append(
            Followed(
                paid[m].astype(float), (foretold * seen)[m], age[m], amount[m],
                1 - np.exp(-28 * foretold[m]),
            )
        )  # fmt: skip
    return parts


def overall(lift):
    return float(lift.factor.shape.sum() / lift.factor.rate.sum())


def test_the_factor_is_found_where_the_raw_shares_say_the_opposite():
    found = []
    for seed in range(20):
        gone, stayed = world(seed, factor=1.8)
        assert gone.paid.mean() < stayed.paid.mean(), "raw: the agency looks worse"
        found.append(overall(Lift.of(gone, stayed)))
    stderr = np.std(found, ddof=1) / np.sqrt(len(found))
    # shrunk to 1 by three payments of some 150
    assert abs(np.mean(found) - 1.8) < 3 * stderr + 0.03


def test_an_agency_without_effect_has_none():
    found = [overall(Lift.of(*world(seed))) for seed in range(20)]
    assert abs(np.mean(found) - 1.0) < 3 * np.std(found, ddof=1) / np.sqrt(20) + 0.02


def test_a_payment_model_that_is_wrong_is_set_right_by_those_who_stayed():
    alone, both = [], []
    for seed in range(20):
        gone, stayed = world(seed, factor=1.8, bias=2.0)
        alone.append(overall(Lift.of(gone, None)))
        both.append(overall(Lift.of(gone, stayed)))
    assert np.mean(alone) < 1.1, "without them the effect is lost in the bias"
    assert abs(np.mean(both) - 1.8) < 0.15


def test_intervals_cover_and_cells_shrink():
    hits, total = 0, 0
    for seed in range(40):
        lift = Lift.of(*world(seed, n=1500, factor=1.5))
        low, high = lift.factor.quantile(0.1), lift.factor.quantile(0.9)
        hits, total = hits + int(((low < 1.5) & (high > 1.5)).sum()), total + len(low)
    assert hits / total > 0.78
    few = Lift.of(*world(1, n=60, factor=4.0))
    many = Lift.of(*world(1, n=20_000, factor=4.0))
    assert overall(few) < overall(many)
    assert np.ptp(np.log(many.factor.mean)) < 0.7


def test_without_a_log_it_is_assumed_to_do_no_better():
    lift = Lift.of(None, None)
    assert np.allclose(lift.factor.mean, 1.0)
    assert (lift.factor.quantile(0.1) < 0.5).all()
    assert (lift.factor.nodes(5)[2] > 0.8).all()
    assert Lift.from_dict(lift.to_dict()).to_pandas().equals(lift.to_pandas())
    assert cell(np.array([30, 31, 400]), np.array([50.0, 51.0, 251.0])).tolist() == [0, 4, 11]
