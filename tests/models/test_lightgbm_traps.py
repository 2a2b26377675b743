"""What LightGBM does with frames, names, categories and inf today, and what HazardModel does.

Each test shows the plain way first. Where a newer LightGBM mends a trap, its half here fails.
"""

import subprocess
import sys

import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from collectopt.exceptions import InputError
from collectopt.models.hazard import HazardModel

N = 600
HORIZONS = [10.0, 40.0]
RNG = np.random.default_rng(0)
KIND = RNG.integers(0, 4, N)
X = np.column_stack([RNG.normal(size=N), RNG.normal(size=N), KIND])
MEAN = 30.0 * np.exp(0.8 * X[:, 0] - 0.3 * X[:, 1]) * np.where(KIND == 2, 3.0, 1.0)
DAYS, LIMIT = RNG.exponential(MEAN), RNG.exponential(60.0, N)
DURATION, EVENT = np.minimum(DAYS, LIMIT), DAYS < LIMIT
LATE = (DAYS > 30.0).astype(int)
FRAME = pd.DataFrame(X, columns=["a", "b", "kind"])
WORDS = np.array(["bus", "car", "tram", "van"])[KIND]


def plain():
    return lgb.LGBMClassifier(n_estimators=5, min_child_samples=10, verbosity=-1, n_jobs=1)


def ours(**settings):
    return HazardModel(n_estimators=10, min_child_samples=20, **settings)


def fitted(frame, **given):
    return ours().fit(frame, DURATION, EVENT, **given)


def predicted(model, frame):
    return model.predict_cumulative(frame, HORIZONS)


def takes_down(harmless, harmful):
    """Whether the second of two calls ends a process of its own, and the first does not."""
    program = f"""
import lightgbm as lgb, numpy as np, pyarrow as pa
y = np.arange(200) % 2
{harmless}
print("alive")
try:
    {harmful}
except Exception:
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True
    )
    assert "alive" in done.stdout, done.stderr
    return done.returncode != 0


@pytest.fixture(scope="module")
def coded():
    """Fitted on codes."""
    return fitted(FRAME, categorical=["kind"])


def test_text_columns_are_refused_by_the_plain_way_and_coded_by_ours(coded):
    frame = FRAME.assign(kind=WORDS)
    with pytest.raises(ValueError, match="int, float or bool"):
        plain().fit(frame, LATE)
    # The words sort as their codes do, so the same model comes out.
    model = fitted(frame)
    np.testing.assert_array_equal(predicted(model, frame), predicted(coded, FRAME))
    assert model.columns_.categories == {"kind": ("bus", "car", "tram", "van")}


def test_times_are_refused_by_both_but_ours_says_what_to_do():
    frame = FRAME.assign(when=pd.Timestamp("2024-01-01"))
    with pytest.raises(TypeError, match="DType"):
        plain().fit(frame, LATE)
    with pytest.raises(InputError, match=r"X\.when.*days since"):
        fitted(frame)
    with pytest.raises(InputError, match="datetime64"):
        fitted(frame[["when"]].to_numpy())


def test_nullable_integers_and_booleans_with_missing_values_work():
    whole = pd.array(np.round(X[:, 0] * 10).astype(int), dtype="Int64")
    yes = pd.array(X[:, 1] > 0.0, dtype="boolean")
    whole[::7], yes[::5] = pd.NA, pd.NA
    frame = pd.DataFrame({"whole": whole, "yes": yes})
    assert np.isfinite(plain().fit(frame, LATE).predict_proba(frame)).all()
    with pytest.raises(TypeError, match="NAType"):
        np.asarray(frame, dtype=np.float32)
    numbers = np.column_stack([np.round(X[:, 0] * 10), X[:, 1] > 0.0]).astype(float)
    numbers[::7, 0], numbers[::5, 1] = np.nan, np.nan
    np.testing.assert_array_equal(
        predicted(fitted(frame), frame), predicted(fitted(numbers), numbers)
    )


@pytest.mark.parametrize("cast", ["dictionary_encode()", "cast(pa.string())"])
def test_arrow_text_takes_the_process_down_in_the_plain_way_and_is_coded_by_ours(cast, coded):
    call = "lgb.LGBMClassifier(n_estimators=2).fit(pa.table({'a': y * 1.0, 'k': WHAT}), y)"
    text = f"pa.array(['x', 'y'] * 100).{cast}"
    assert takes_down(call.replace("WHAT", "y"), call.replace("WHAT", text))
    words = pa.array(WORDS.tolist())
    words = words.dictionary_encode() if cast.startswith("dict") else words
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "kind": words})
    np.testing.assert_array_equal(predicted(fitted(table), table), predicted(coded, FRAME))


def test_names_are_ignored_by_the_plain_way_and_followed_by_ours(coded):
    turned = FRAME[["b", "kind", "a"]]
    model = plain().fit(FRAME, LATE)
    gap = np.abs(model.predict_proba(turned) - model.predict_proba(FRAME))
    assert gap.max() > 0.1  # and not a word of warning
    with pytest.raises(lgb.basic.LightGBMError, match="Expected 'a'"):
        model.predict_proba(turned, validate_features=True)
    np.testing.assert_array_equal(predicted(coded, turned), predicted(coded, FRAME))


def test_codes_of_each_frame_differ_in_the_plain_way_and_are_kept_by_ours():
    words = FRAME.assign(kind=WORDS)
    asked = words[words["kind"] != "bus"]

    def codes(frame):
        return frame.assign(kind=frame["kind"].astype("category").cat.codes)

    model = plain().fit(codes(words), LATE, categorical_feature=["kind"])
    gap = model.predict_proba(codes(asked)) - model.predict_proba(codes(words).loc[asked.index])
    assert np.abs(gap).max() > 0.05
    model = fitted(words)
    shuffled = asked.assign(kind=pd.Categorical(asked["kind"], ["van", "new", "tram", "car"]))
    wanted = predicted(model, words)[asked.index]
    np.testing.assert_array_equal(predicted(model, asked), wanted)
    np.testing.assert_array_equal(predicted(model, shuffled), wanted)


def test_an_unseen_category_counts_as_missing():
    rows = np.array([[0.0, 0.0, 99.0], [0.0, 0.0, np.nan], [0.0, 0.0, -1.0], [0.0, 0.0, 2.0]])
    booster = lgb.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_per_group": 5},
        lgb.Dataset(X, label=LATE, categorical_feature=[2]),
        5,
    )
    p = booster.predict(rows)
    assert p[0] == p[1] == p[2] != p[3]
    model = fitted(FRAME.assign(kind=WORDS))
    frame = pd.DataFrame({"a": 0.0, "b": 0.0, "kind": ["boat", None, "tram"]})
    p = predicted(model, frame)
    np.testing.assert_array_equal(p[0], p[1])
    assert (p[0] != p[2]).all()
    nothing = frame.iloc[:2].assign(kind=None)
    np.testing.assert_array_equal(predicted(model, nothing), p[:2])


def test_numbers_where_fit_saw_text_are_refused(coded):
    model = fitted(FRAME.assign(kind=WORDS))
    with pytest.raises(InputError, match=r"X\.kind.*text, as in fit"):
        predicted(model, FRAME)
    with pytest.raises(InputError, match=r"X\.kind.*numbers"):
        predicted(coded, FRAME.assign(kind=WORDS))


def test_one_row_is_the_same_as_a_frame_and_as_an_array(coded):
    for i in (0, 17):
        frame, array = FRAME.iloc[[i]], X[[i]]
        np.testing.assert_array_equal(predicted(coded, frame), predicted(coded, array))
        np.testing.assert_array_equal(predicted(coded, array), predicted(coded, FRAME)[[i]])


def test_a_sign_on_a_category_takes_the_process_down_in_the_plain_way(coded):
    call = """lgb.train(
        {"objective": "binary", "monotone_constraints": [1], "verbosity": -1},
        lgb.Dataset(np.arange(200.0)[:, None] % 4, label=y, categorical_feature=WHICH),
        2,
    )"""
    assert takes_down(call.replace("WHICH", "[]"), call.replace("WHICH", "[0]"))
    signed = ours(monotone={"kind": 1}).fit(FRAME, DURATION, EVENT, categorical=["kind"])
    np.testing.assert_array_equal(predicted(signed, FRAME), predicted(coded, FRAME))


def test_contributions_sum_to_the_raw_score(coded):
    periods, data = coded.lay(FRAME.iloc[:5])
    booster = coded.members_[0].trees.booster
    told = booster.predict(data, pred_contrib=True)
    assert told.shape == (len(periods), len(coded.line_names_) + 1)
    np.testing.assert_allclose(told.sum(axis=1), booster.predict(data, raw_score=True), atol=1e-9)
    _, base, added = coded.contributions(FRAME.iloc[:5])
    table = coded.members_[0]._table(periods, None)
    np.testing.assert_allclose(told.sum(axis=1) + table, base + added.sum(axis=1), atol=1e-9)


def test_polars_frames_fit_in_both(coded):
    frame = pl.from_pandas(FRAME)
    np.testing.assert_array_equal(
        plain().fit(frame, LATE).predict_proba(frame), plain().fit(X, LATE).predict_proba(X)
    )
    model = fitted(frame, categorical=["kind"])
    np.testing.assert_array_equal(predicted(model, frame), predicted(coded, FRAME))
    for kind in (pl.String, pl.Categorical, pl.Enum(["van", "tram", "car", "bus"])):
        words = frame.with_columns(kind=pl.Series(WORDS).cast(kind))
        np.testing.assert_array_equal(predicted(fitted(words), words), predicted(coded, FRAME))


def test_inf_passes_the_plain_way_in_silence_and_is_refused_by_ours(coded):
    wrong = FRAME.copy()
    wrong.loc[[3, 8], "b"] = np.inf
    assert np.isfinite(plain().fit(wrong, LATE).predict_proba(wrong)).all()
    for given in (wrong, wrong.to_numpy()):
        with pytest.raises(InputError, match=r"found inf in 2 rows \(3, 8\)"):
            fitted(given, categorical=[2])
        with pytest.raises(InputError, match=r"found inf in 2 rows \(3, 8\)"):
            predicted(coded, given)


def test_two_fits_give_the_same_bytes(coded):
    assert lgb.LGBMClassifier().get_params()["n_jobs"] is None  # as many threads as there are cores
    text = fitted(FRAME, categorical=["kind"]).members_[0].trees.to_text()
    assert text == coded.members_[0].trees.to_text()
    assert "[num_threads: 1]" in text
    assert "[deterministic: 1]" in text
