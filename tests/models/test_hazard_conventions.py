"""HazardModel as an estimator: scikit-learn's own checks, and ours where those need a ``y``."""

import copy
import inspect
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.exceptions
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.hazard import HazardModel

HORIZONS = [5.0, 30.0, 90.0]
NAMES = ["speed", "size", "noise"]

#: Checks of scikit-learn that never call ``fit``.
WITHOUT_FIT = [
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_mixin_order",
]
#: Checks that call ``fit(X, y)`` and ``predict(X)``: an adapter gives them.
WITH_FIT = [
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_readonly_memmap_input",
    "check_requires_y_none",
    "check_supervised_y_no_nan",
]


class Adapted(HazardModel):
    """Takes durations as ``y``; every third row is censored."""

    def fit(self, X, y):
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        days = 10.0 * np.abs(np.asarray(y, dtype=float).ravel())
        return super().fit(X, days, np.arange(len(days)) % 3 != 0)

    def predict(self, X):
        return self.predict_cumulative(X, [10.0])[:, 0]


@pytest.mark.parametrize("check", WITHOUT_FIT)
def test_scikit_learns_checks_without_fit(check):
    getattr(estimator_checks, check)("HazardModel", HazardModel())


@pytest.mark.parametrize("check", WITH_FIT)
def test_scikit_learns_checks_with_fit(check):
    getattr(estimator_checks, check)("Adapted", Adapted(n_estimators=3, min_child_samples=2))


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    days = rng.exponential(30.0 * np.exp(-0.7 * X[:, 0]))
    limit = rng.exponential(60.0, n)
    return X, np.minimum(days, limit), days < limit


def small(**settings):
    return HazardModel(n_estimators=8, min_child_samples=20, **settings)


@pytest.fixture(scope="module")
def frame():
    return pd.DataFrame(rows()[0], columns=NAMES)


@pytest.fixture(scope="module")
def fitted(frame):
    _, days, event = rows()
    return small().fit(frame, days, event)


def test_init_stores_what_it_gets():
    edges, signs = np.array([0.0, 7.0]), {"speed": 1}
    model = HazardModel(edges, monotone=signs)
    assert model.edges is edges
    assert model.monotone is signs
    named = set(inspect.signature(HazardModel).parameters)
    assert set(vars(model)) == named == set(model.get_params())
    assert repr(HazardModel(n_estimators=7)) == "HazardModel(n_estimators=7)"


def test_before_fit_both_libraries_say_so(frame):
    model = HazardModel()
    calls = [
        lambda: model.predict_cumulative(frame, HORIZONS),
        lambda: model.predict_quantiles(frame),
        lambda: model.predict_curve(frame),
        lambda: model.lay(frame),
        lambda: model.save("nowhere"),
    ]
    for call in calls:
        with pytest.raises(NotFittedError, match="needs a fitted"):
            call()
        with pytest.raises(sklearn.exceptions.NotFittedError):
            call()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(model)
    assert not hasattr(model, "reach")


def test_fit_sets_what_scikit_learn_looks_for(fitted):
    check_is_fitted(fitted)
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.feature_names_in_.dtype == object
    assert fitted.line_names_ == (*NAMES, "bin_age")


def test_a_refit_starts_from_scratch(frame):
    _, days, event = rows()
    other, other_days, other_event = rows(400, seed=1)
    model = small().fit(frame, days, event)
    again = model.fit(other[:, :2], other_days, other_event)
    assert again is model
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    fresh = small().fit(other[:, :2], other_days, other_event)
    assert model.members_[0].trees.to_text() == fresh.members_[0].trees.to_text()
    assert set(vars(model)) == set(vars(fresh))


def test_a_fit_that_fails_leaves_the_model_as_it_was(frame):
    _, days, event = rows()
    model = small().fit(frame, days, event)
    before = model.predict_cumulative(frame, HORIZONS)
    with pytest.raises(InputError):
        model.fit(frame[["size"]], -days, event)
    np.testing.assert_array_equal(model.predict_cumulative(frame, HORIZONS), before)


def test_fit_changes_nothing_of_what_it_gets():
    X, days, event = rows()
    start = np.datetime64("2024-01-01") + np.arange(len(X)) % 50
    given = {"weight": np.ones(len(X)), "offset": np.zeros(len(X)), "start": start}
    edges, signs, coded = [0.0, 10.0, 60.0], {"speed": 1}, ["noise"]
    inputs = [X, days, event, given, edges, signs, coded]
    kept = copy.deepcopy(inputs)
    model = small(edges=edges, monotone=signs, half_life_days=30.0)
    model.fit(X, days, event, **given, categorical=coded, names=NAMES)
    for now, before in zip(inputs[:3], kept[:3], strict=True):
        np.testing.assert_array_equal(now, before)
    for name, before in kept[3].items():
        np.testing.assert_array_equal(given[name], before)
    assert inputs[4:] == kept[4:]
    assert model.get_params()["edges"] is edges


def test_clones_and_copies_give_the_same_predictions(frame, fitted):
    _, days, event = rows()
    wanted = fitted.predict_cumulative(frame, HORIZONS)
    fresh = clone(fitted)
    assert not hasattr(fresh, "members_")
    for model in (
        fresh.fit(frame, days, event),
        HazardModel().set_params(**fitted.get_params()).fit(frame, days, event),
        pickle.loads(pickle.dumps(fitted)),
    ):
        np.testing.assert_array_equal(model.predict_cumulative(frame, HORIZONS), wanted)


KINDS = {
    "reordered": lambda f: f[NAMES[::-1]],
    "with more columns": lambda f: f.assign(other="text")[["other", *NAMES[::-1]]],
    "float64": lambda f: f.astype(float),
    "polars": lambda f: pl.from_pandas(f[NAMES[::-1]]),
    "polars, lazy": lambda f: pl.from_pandas(f).lazy(),
    "Arrow": lambda f: pa.Table.from_pandas(f[NAMES[::-1]]),
    "mapping": lambda f: {name: f[name].to_numpy() for name in NAMES[::-1]},
    "nullable": lambda f: f.astype("Float32"),
    "float32 array": lambda f: f.to_numpy(),
    "float64 array": lambda f: f.to_numpy().astype(float),
    "Fortran order": lambda f: np.asfortranarray(f.to_numpy()),
    "every other row": lambda f: np.repeat(f.to_numpy(), 2, axis=0)[::2],
    "lists": lambda f: f.to_numpy().tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_frame_or_array_gives_the_same_answer(frame, fitted, kind):
    given = KINDS[kind](frame)
    p = fitted.predict_cumulative(given, HORIZONS)
    np.testing.assert_array_equal(p, fitted.predict_cumulative(frame, HORIZONS))


@pytest.mark.parametrize("kind", ["polars", "Arrow", "float64 array", "lists", "nullable"])
def test_any_frame_or_array_gives_the_same_fit(frame, fitted, kind):
    _, days, event = rows()
    given = KINDS[kind](frame)
    model = small().fit(given, days.tolist(), event.tolist())
    again = model.predict_cumulative(frame if kind in {"polars", "Arrow"} else given, HORIZONS)
    if kind in {"polars", "Arrow"}:  # fitted on the reversed columns
        assert model.feature_names_in_.tolist() == NAMES[::-1]
        expected = small().fit(frame[NAMES[::-1]], days, event)
        np.testing.assert_array_equal(again, expected.predict_cumulative(frame, HORIZONS))
    else:
        np.testing.assert_array_equal(again, fitted.predict_cumulative(frame, HORIZONS))


def test_names_given_with_an_array_count_for_frames_too(frame, fitted):
    X, days, event = rows()
    model = small().fit(X, days, event, names=NAMES)
    assert model.feature_names_in_.tolist() == NAMES
    np.testing.assert_array_equal(
        model.predict_cumulative(frame[NAMES[::-1]], HORIZONS),
        fitted.predict_cumulative(frame, HORIZONS),
    )


def test_every_missing_column_is_named(frame, fitted):
    with pytest.raises(InputError) as caught:
        fitted.predict_cumulative(frame[["size"]], HORIZONS)
    assert [fault.column for fault in caught.value.faults] == ["speed", "noise"]
    with pytest.raises(InputError, match="3 columns"):
        fitted.predict_cumulative(frame.to_numpy()[:, :2], HORIZONS)


def test_wrong_columns_are_all_listed():
    with pytest.raises(InputError) as caught:
        small().fit(
            pd.DataFrame(
                {
                    "when": pd.to_datetime(["2024-01-01"] * 2),
                    "fine": [1.0, 2.0],
                    "huge": [1e300, -np.inf],
                }
            ),
            [1.0, 2.0],
            [True, True],
        )
    assert [f.column for f in caught.value.faults] == ["when", "huge"]
    assert "days since" in caught.value.faults[0].hint
    with pytest.raises(InputError, match="more than once"):
        small().fit(pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), [1.0], [True])
    with pytest.raises(InputError, match="names"):
        small().fit(pd.DataFrame([[1.0]], columns=["a"]), [1.0], [True], names=["b"])
    with pytest.raises(InputError, match="monotone"):
        small(monotone={"b": 1}).fit(pd.DataFrame([[1.0]], columns=["a"]), [1.0], [True])
    with pytest.raises(InputError, match="unknown"):
        small().fit([[1.0]], [1.0], [True], categorical=[3])


def test_one_row_and_any_subset_give_the_same_numbers(frame, fitted):
    whole = fitted.predict_cumulative(frame, HORIZONS)
    for part in ([0], [599], [5, 3, 4], list(range(0, 600, 7))):
        alone = fitted.predict_cumulative(frame.iloc[part], HORIZONS)
        np.testing.assert_array_equal(alone, whole[part])


@pytest.mark.parametrize("slopes", [None, 30.0])
def test_contributions_are_those_of_the_curve(slopes):
    X, days, event = rows()
    due, start = np.linspace(-20.0, 40.0, 600), np.full(600, np.datetime64("2024-03-01"))
    model = small(slopes=slopes).fit(X, days, event, offset=due, start=start, names=NAMES)
    part = slice(10, 20)
    periods, data = model.lay(X[part], due[part], start[part], upto=60.0)
    assert data.shape[1] == len(model.line_names_)
    np.testing.assert_array_equal(data[:, :3], X[part][periods.row])
    _, base, added = model.contributions(X[part], offset=due[part], start=start[part], reach=60.0)
    odds = base + added.sum(axis=1)
    (member,) = model.members_
    parts = [member._table(periods, due[part]), member.trees.score(data)]
    if slopes:
        parts.append(member.slopes.score(X[part], periods, due[part]))
    np.testing.assert_allclose(sum(parts), odds, atol=1e-9)
    # P(event before 30 days), by hand from the bins up to then.
    alive = np.ones(10)
    whole = periods.hi <= 30.0
    np.multiply.at(alive, periods.row[whole], 1.0 / (1.0 + np.exp(odds[whole])))
    crossing = ~whole & (periods.lo < 30.0)
    share = (30.0 - periods.lo[crossing]) / (periods.hi - periods.lo)[crossing]
    np.multiply.at(alive, periods.row[crossing], (1.0 + np.exp(odds[crossing])) ** -share)
    p = model.predict_cumulative(X[part], [30.0], offset=due[part], start=start[part])
    np.testing.assert_allclose(p[:, 0], 1.0 - alive, atol=1e-12)


def test_saved_models_keep_names_codes_and_parameters(tmp_path):
    X, days, event = rows()
    frame = pd.DataFrame(X, columns=NAMES).assign(kind=np.where(X[:, 0] > 0, "new", "old"))
    model = small(edges=np.array([0.0, 10.0, 90.0]), monotone={"size": np.int64(1)})
    model.fit(frame, days, event).save(tmp_path)
    again = HazardModel.load(tmp_path)
    shown = frame[["kind", *NAMES[::-1]]]
    np.testing.assert_array_equal(
        again.predict_cumulative(shown, HORIZONS), model.predict_cumulative(frame, HORIZONS)
    )
    assert again.feature_names_in_.tolist() == [*NAMES, "kind"]
    assert again.columns_ == model.columns_
    assert again.columns_.categories == {"kind": ("new", "old")}
    assert again.get_params() | {"edges": None} == model.get_params() | {"edges": None}
    assert list(again.edges) == [0.0, 10.0, 90.0]
    refit = again.fit(frame, days, event)
    assert refit.members_[0].trees.to_text() == model.members_[0].trees.to_text()


def test_infinite_durations_are_refused():
    with pytest.raises(InputError, match="finite days"):
        small().fit([[0.0], [1.0]], [1.0, np.inf], [True, False])
