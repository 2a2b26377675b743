"""The hazard against known truth, Kaplan-Meier and the naive label."""

import numpy as np
import pytest

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.hazard import HazardModel

HORIZONS = np.array([3.0, 10.0, 30.0, 90.0, 180.0])


def watch(days, limit):
    return np.minimum(days, limit), days < limit


def kaplan_meier(duration, event, horizons):
    """P(event before each horizon), one step a distinct time."""
    order = np.argsort(duration)
    duration, event = duration[order], event[order]
    at_risk = len(duration) - np.arange(len(duration))
    survival = np.cumprod(1.0 - event / at_risk)
    place = np.searchsorted(duration, horizons, side="left")
    return 1.0 - np.concatenate([[1.0], survival])[place]


TRUTHS = {
    "exponential": (
        lambda rng, n: rng.exponential(40.0, n),
        lambda t: -np.expm1(-t / 40.0),
    ),
    "decreasing Weibull": (
        lambda rng, n: 60.0 * rng.weibull(0.6, n),
        lambda t: -np.expm1(-((t / 60.0) ** 0.6)),
    ),
    "increasing Weibull": (
        lambda rng, n: 80.0 * rng.weibull(1.8, n),
        lambda t: -np.expm1(-((t / 80.0) ** 1.8)),
    ),
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_recovers_the_curve_under_heavy_censoring_where_the_naive_label_fails(truth):
    draw, curve = TRUTHS[truth]
    rng = np.random.default_rng(1)
    n = 12_000
    days, limit = draw(rng, n), rng.exponential(60.0, n)
    duration, event = watch(days, limit)
    X = np.zeros((n, 1))
    model = HazardModel(n_estimators=100).fit(X, duration, event)
    p = model.predict_cumulative(X[:1], HORIZONS)[0]
    se = np.sqrt(curve(HORIZONS) * (1 - curve(HORIZONS)) / (n * np.exp(-HORIZONS / 60.0)))
    np.testing.assert_array_less(np.abs(p - curve(HORIZONS)), 4 * se + 0.004)
    np.testing.assert_allclose(p, kaplan_meier(duration, event, HORIZONS), atol=0.012)
    naive = np.array([np.mean(event & (duration < h)) for h in HORIZONS])
    assert np.abs(naive - curve(HORIZONS))[3:].min() > 0.2


def test_a_censored_time_inside_a_wide_bin_counts_with_the_days_watched():
    rng = np.random.default_rng(2)
    n = 20_000
    days, limit = rng.exponential(200.0, n), rng.uniform(0.0, 60.0, n)
    duration, event = watch(days, limit)
    model = HazardModel(edges=[0, 60, 120], n_estimators=30).fit(np.zeros((n, 1)), duration, event)
    p = model.predict_cumulative(np.zeros((1, 1)), [60.0])[0, 0]
    assert abs(p - -np.expm1(-60 / 200)) < 0.015
    assert event.mean() < 0.15  # "not yet = no"


def test_whole_days_with_a_high_hazard_on_one_day():
    rng = np.random.default_rng(3)
    n = 10_000
    hazard = np.full(60, 0.01)
    hazard[10] = 0.5
    chance = np.cumprod(1 - hazard)
    days = np.array([np.searchsorted(1 - chance, u, side="right") for u in rng.random(n)], float)
    limit = rng.integers(0, 60, n).astype(float)
    duration, event = watch(days, limit)
    due = np.full(n, 10.0)
    model = HazardModel(n_estimators=120).fit(np.zeros((n, 1)), duration, event, offset=due)
    p = model.predict_cumulative(np.zeros((1, 1)), [5.0, 10.0, 11.0, 30.0], offset=[10.0])[0]
    truth = 1 - chance[[4, 9, 10, 29]]
    np.testing.assert_allclose(p, truth, atol=0.02)


def test_follows_the_due_date_of_each_row():
    rng = np.random.default_rng(4)
    n = 8000
    due = rng.integers(5, 60, n).astype(float)
    early = rng.exponential(400.0, n)
    days = np.where(early < due, early, due + rng.exponential(5.0, n))
    duration, event = watch(days, rng.exponential(80.0, n))
    model = HazardModel(n_estimators=120).fit(np.zeros((n, 1)), duration, event, offset=due)
    at = np.array([10.0, 40.0])
    p = model.predict_cumulative(np.zeros((2, 1)), at[:, None] + [0.0, 7.0], offset=at)
    before = -np.expm1(-at / 400)
    after = 1 - (1 - before) * np.exp(-7 / 5)
    np.testing.assert_allclose(p, np.column_stack([before, after]), atol=0.035)


def test_covariates_separate_quick_and_slow_payers():
    rng = np.random.default_rng(5)
    n = 10_000
    x = rng.integers(0, 2, n)
    noise = rng.normal(size=n)
    days = rng.exponential(np.where(x == 1, 15.0, 90.0))
    duration, event = watch(days, rng.exponential(60.0, n))
    model = HazardModel(n_estimators=80).fit(
        np.column_stack([x, noise]), duration, event, categorical=["kind"], names=["kind", "noise"]
    )
    p = model.predict_cumulative([[0, 0.0], [1, 0.0]], [20.0, 60.0])
    truth = [[-np.expm1(-h / m) for h in (20, 60)] for m in (90, 15)]
    np.testing.assert_allclose(p, truth, atol=0.04)
    unseen = model.predict_cumulative([[7, 0.0], [np.nan, 0.0]], [20.0])
    assert unseen[0] == unseen[1]


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(6)
    n = 3000
    X = rng.normal(size=(n, 2))
    days = rng.exponential(30.0 * np.exp(0.5 * X[:, 0]))
    duration, event = watch(days, rng.exponential(60.0, n))
    due = rng.uniform(-30.0, 40.0, n)
    start = np.datetime64("2024-01-01") + rng.integers(0, 300, n)
    model = HazardModel(n_estimators=40, half_life_days=200.0, monotone={"a": -1})
    model.fit(X, duration, event, offset=due, start=start, names=["a", "b"])
    return model, X[:50], due[:50], start[:50]


def test_curves_are_monotone_bounded_and_agree_with_quantiles(fitted):
    model, X, due, start = fitted
    grid = np.linspace(-5.0, 1300.0, 400)
    p = model.predict_cumulative(X, grid, offset=due, start=start)
    assert (np.diff(p, axis=1) >= 0.0).all()
    assert (p[:, grid <= 0] == 0.0).all()
    assert ((p >= 0) & (p <= 1)).all()
    q = model.predict_quantiles(X, (0.1, 0.5, 0.9), offset=due, start=start)
    assert (np.diff(q, axis=1) > 0).all()
    there = np.isfinite(q)
    back = model.predict_cumulative(X, np.where(there, q, 0.0), offset=due, start=start)
    np.testing.assert_allclose(back[there], np.tile([0.1, 0.5, 0.9], (50, 1))[there], atol=1e-9)


def test_each_row_is_predicted_alone_and_again(fitted):
    model, X, due, start = fitted
    whole = model.predict_cumulative(X, HORIZONS, offset=due, start=start)
    for i in (0, 17, 49):
        one = slice(i, i + 1)
        alone = model.predict_cumulative(X[one], HORIZONS[::-1], offset=due[one], start=start[one])
        np.testing.assert_array_equal(alone[0, ::-1], whole[i])


def test_monotone_sign_holds(fitted):
    model, X, due, start = fitted
    up = X + np.array([[1.0, 0.0]])
    low = model.predict_cumulative(up, HORIZONS, offset=due, start=start)
    assert (low <= model.predict_cumulative(X, HORIZONS, offset=due, start=start) + 1e-12).all()


def test_save_and_load_give_the_same_numbers(fitted, tmp_path):
    model, X, due, start = fitted
    model.save(tmp_path / "hazard")
    again = HazardModel.load(tmp_path / "hazard")
    np.testing.assert_array_equal(
        again.predict_cumulative(X, HORIZONS, offset=due, start=start),
        model.predict_cumulative(X, HORIZONS, offset=due, start=start),
    )
    assert again.monotone == {"a": -1}
    file = tmp_path / "hazard" / "hazard.json"
    file.write_text(file.read_text().replace('"trees": "tree', '"trees": "shrub'))
    with pytest.raises(ArtifactError, match="LightGBM"):
        HazardModel.load(tmp_path / "hazard")
    with pytest.raises(ArtifactError, match="HazardModel"):
        HazardModel.load(tmp_path / "nowhere")


def test_half_life_follows_drift():
    rng = np.random.default_rng(8)
    n = 8000
    start = np.datetime64("2020-01-01") + rng.integers(0, 1000, n)
    mean = np.where(start < np.datetime64("2021-06-01"), 100.0, 20.0)
    duration, event = watch(rng.exponential(mean), 1000.0 - (start - start.min()).astype(float) + 1)
    X = np.zeros((n, 1))
    now = np.array(["2022-10-01"], dtype="datetime64[D]")
    p = [
        HazardModel(n_estimators=30, half_life_days=h)
        .fit(X, duration, event, start=start)
        .predict_cumulative(X[:1], [20.0], start=now)[0, 0]
        for h in (None, 90.0)
    ]
    truth = -np.expm1(-1)
    assert abs(p[1] - truth) < abs(p[0] - truth)
    assert abs(p[1] - truth) < 0.04


def test_no_event_at_all_and_all_events_at_once():
    X = np.zeros((300, 1))
    never = HazardModel(n_estimators=5).fit(X, np.full(300, 50.0), np.zeros(300, bool))
    assert never.predict_cumulative(X[:1], [50.0])[0, 0] < 0.02
    at_once = HazardModel(n_estimators=50).fit(X, np.zeros(300), np.ones(300, bool))
    assert at_once.predict_cumulative(X[:1], [1.0])[0, 0] > 0.9
    assert never.predict_cumulative(X[:0], [1.0, 2.0]).shape == (0, 2)
    assert np.isinf(never.predict_quantiles(X[:1], [0.9])).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"duration": [1.0, -1.0]}, "duration"),
        ({"duration": [1.0, np.nan]}, "duration"),
        ({"duration": [1.0]}, "duration"),
        ({"X": [["a"], ["b"]]}, "categories as codes"),
        ({"X": [1.0, 2.0]}, "shape"),
        ({"X": [[np.inf], [0.0]]}, "inf"),
        ({"X": np.zeros((0, 1)), "duration": [], "event": []}, "at least one row"),
        ({"names": ["a", "b"]}, "names"),
        ({"categorical": ["nope"]}, "nope"),
        ({"start": np.array(["NaT", "2024-01-01"], "datetime64[D]")}, "start"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"X": [[0.0], [1.0]], "duration": [1.0, 2.0], "event": [True, False], **change}
    with pytest.raises(InputError, match=words):
        HazardModel().fit(**given)


def test_wrong_use_is_refused(fitted):
    model, X, due, _ = fitted
    with pytest.raises(NotFittedError, match="fit"):
        HazardModel().predict_cumulative(X, HORIZONS)
    with pytest.raises(InputError, match="start"):
        model.predict_cumulative(X, HORIZONS, offset=due)
    with pytest.raises(InputError, match="columns"):
        model.predict_cumulative(X[:, :1], HORIZONS, offset=due)


def test_every_wrong_parameter_is_named_at_once():
    wrong = HazardModel(n_estimators=0, num_leaves=1.5, half_life_days=0, monotone={"a": 2})
    with pytest.raises(InputError) as caught:
        wrong.fit([[0.0]], [1.0], [True])
    found = [fault.column for fault in caught.value.faults]
    assert found == ["n_estimators", "num_leaves", "half_life_days", "monotone"]
    for edges in ([0.0], [1.0, 2.0], [0.0, 3.0, 2.0]):
        with pytest.raises(InputError, match="edges"):
            HazardModel(edges=edges).fit([[0.0]], [1.0], [True])
    with pytest.raises(InputError, match="watched for a time"):
        HazardModel().fit([[0.0]], [0.0], [False])
