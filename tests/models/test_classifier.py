"""The plain classifier: scikit-learn's own checks, known truth, frames, files."""

import json

import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict
from sklearn.utils.estimator_checks import parametrize_with_checks

from collectopt.exceptions import ArtifactError, InputError
from collectopt.models import PaymentClassifier
from collectopt.models.additive import Additive


@parametrize_with_checks([PaymentClassifier()])
def test_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def expit(z):
    return 1.0 / (1.0 + np.exp(-z))


def log_loss(y, p):
    return -np.log(np.where(y, p, 1.0 - p)).mean()


def payers(rng, n):
    """Rows of a credit table and the true chance: a bend, a step, an interaction, noise columns."""
    status = rng.integers(-1, 4, n)
    limit = np.exp(rng.normal(10.0, 1.0, n))
    bill = limit * rng.beta(1.0, 2.0, n)
    noise = rng.normal(size=(n, 4))
    odds = -1.5 + np.maximum(status, 0) * 0.7 + 1.2 * (bill / limit > 0.5) - 0.3 * (limit > 4e4)
    X = np.column_stack([status, limit, bill, noise])
    return X, expit(odds + 0.8 * (status > 0) * (noise[:, 0] > 0))


def naive(X, y, Z):
    """LightGBM as it comes."""
    model = lgb.LGBMClassifier(n_jobs=1, verbosity=-1, random_state=0)
    return model.fit(pd.DataFrame(X), y).predict_proba(pd.DataFrame(Z))[:, 1]


@pytest.mark.parametrize("n", [400, 1200])
def test_is_nearer_to_the_true_chance_than_an_untuned_booster(n):
    rng = np.random.default_rng(n)
    X, p = payers(rng, n)
    Z, truth = payers(rng, 4000)
    y = rng.random(n) < p
    own = PaymentClassifier().fit(X, y).predict_proba(Z)[:, 1]
    # Expected log-loss above that of the truth: no luck of test labels in it.
    extra = [divergence(truth, q).mean() for q in (own, naive(X, y, Z), np.full(len(Z), y.mean()))]
    assert extra[0] < 0.8 * extra[1]
    assert extra[0] < 0.5 * extra[2]


def divergence(p, q):
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def test_chances_are_calibrated_where_those_of_an_untuned_booster_are_not():
    rng = np.random.default_rng(2)
    X, p = payers(rng, 1200)
    Z, truth = payers(rng, 8000)
    y = rng.random(len(p)) < p
    gaps = []
    for q in (PaymentClassifier().fit(X, y).predict_proba(Z)[:, 1], naive(X, y, Z)):
        bins = np.array_split(np.argsort(q), 10)
        gaps.append(np.mean([abs(truth[b].mean() - q[b].mean()) for b in bins]))
    # A tenth of the training rows tells the rate of a bin no better than this.
    noise = np.sqrt(truth.mean() * (1 - truth.mean()) / (len(p) / 10))
    assert gaps[0] < noise
    assert gaps[1] > noise


def test_noise_is_left_alone():
    rng = np.random.default_rng(3)
    X, Z = rng.normal(size=(300, 20)), rng.normal(size=(1000, 20))
    y = rng.random(300) < 0.3
    own = PaymentClassifier().fit(X, y).predict_proba(Z)[:, 1]
    truth = np.full(len(Z), 0.3)
    assert divergence(truth, own).mean() < 0.2 * divergence(truth, naive(X, y, Z)).mean()


def test_what_is_missing_tells_something():
    rng = np.random.default_rng(4)
    x = rng.normal(size=1200)
    gone = rng.random(1200) < 0.3
    y = rng.random(1200) < np.where(gone, 0.8, 0.2)
    X = np.where(gone, np.nan, x)[:, None]
    p = PaymentClassifier().fit(X, y).predict_proba([[np.nan], [0.0]])[:, 1]
    error = np.sqrt(0.8 * 0.2 / gone.sum())
    np.testing.assert_allclose(p, [0.8, 0.2], atol=4 * error)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 900
    table = pd.DataFrame(
        {
            "channel": rng.choice(["email", "letter", "phone"], n),
            "amount": rng.exponential(100.0, n),
            "branch": pd.Categorical(rng.integers(0, 5, n)),
            "first": rng.random(n) < 0.5,
        }
    )
    odds = np.where(table["channel"] == "phone", 1.5, -1.0) + 0.5 * table["first"]
    return table, np.where(rng.random(n) < expit(odds), "paid", "open")


@pytest.fixture(scope="module")
def model(frame):
    return PaymentClassifier().fit(*frame)


def test_columns_of_a_frame_are_found_by_name(frame, model):
    table, y = frame
    assert model.feature_names_in_.tolist() == list(table.columns)
    assert model.n_features_in_ == 4
    assert model.classes_.tolist() == ["open", "paid"]
    p = model.predict_proba(table)
    turned = table[["first", "amount", "branch", "channel"]].assign(more="x")
    np.testing.assert_array_equal(model.predict_proba(turned), p)
    polars = pl.DataFrame(turned.assign(branch=turned["branch"].astype(str)))
    np.testing.assert_array_equal(model.predict_proba(polars), p)
    by_position = PaymentClassifier(categorical=(0, 2)).fit(
        np.column_stack([table[c].astype("category").cat.codes for c in ("channel",)]
                        + [table["amount"], table["branch"].cat.codes, table["first"]]), y
    )  # fmt: skip
    assert by_position._codes == model._codes
    assert (model.predict(table) == np.where(p[:, 1] > 0.5, "paid", "open")).all()


def test_codes_of_categories_do_not_depend_on_the_rows_at_hand(frame, model):
    table, _ = frame
    phone = table[table["channel"] == "phone"].head(20)  # alone, "phone" would be code 0
    whole = model.predict_proba(table)[phone.index]
    np.testing.assert_array_equal(model.predict_proba(phone), whole)
    unseen = model.predict_proba(phone.assign(channel="fax"))
    missing = model.predict_proba(phone.assign(channel=pd.Series(dtype="str")))
    np.testing.assert_array_equal(unseen, missing)
    assert (unseen[:, 1] < whole[:, 1]).all()


def test_the_same_rows_and_seed_give_the_same_chances(frame, model):
    table, y = frame
    p = model.predict_proba(table)
    np.testing.assert_array_equal(PaymentClassifier().fit(table, y).predict_proba(table), p)
    assert (PaymentClassifier(seed=1).fit(table, y).predict_proba(table) != p).any()


def test_save_and_load_give_the_same_numbers(frame, model, tmp_path):
    table, y = frame
    model.save(tmp_path)
    again = PaymentClassifier.load(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".txt"}
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    assert again.predict(table).tolist() == model.predict(table).tolist()
    assert again.get_params() == model.get_params()
    X = table[["amount"]].to_numpy()
    plain = PaymentClassifier(seeds=1).fit(X, y == "paid")
    plain.save(tmp_path / "plain")
    loaded = PaymentClassifier.load(tmp_path / "plain")
    assert loaded.predict(X).dtype == np.bool_
    np.testing.assert_array_equal(loaded.predict_proba(X), plain.predict_proba(X))
    (tmp_path / "classifier.json").write_text(json.dumps({"settings": {}}))
    with pytest.raises(ArtifactError, match="PaymentClassifier"):
        PaymentClassifier.load(tmp_path)


def test_works_inside_cross_validation(frame):
    table, y = frame
    p = cross_val_predict(PaymentClassifier(seeds=1), table, y, cv=3, method="predict_proba")
    assert log_loss(y == "paid", p[:, 1]) < log_loss(y == "paid", (y == "paid").mean()) - 0.05


def test_the_additive_curve_finds_a_bend_that_a_line_misses():
    rng = np.random.default_rng(6)
    n = 20_000
    X = np.column_stack([rng.uniform(-2, 2, n), rng.integers(0, 3, n)])
    step = np.array([0.0, 1.0, -1.0])
    y = (rng.random(n) < expit(X[:, 0] ** 2 - 1.0 + step[X[:, 1].astype(int)])).astype(float)
    curve = Additive.fit(X, y, categorical=(1,), pieces=9, ridge=1.0)
    at = np.column_stack([np.repeat([-1.5, 0.0, 1.5], 3), np.tile([0, 1, 2], 3)])
    truth = at[:, 0] ** 2 - 1.0 + step[at[:, 1].astype(int)]
    np.testing.assert_allclose(curve.score(at), truth, atol=0.25)
    line = Additive.fit(X, y, categorical=(1,), pieces=2, ridge=1.0)
    assert np.abs(line.score(at) - truth).max() > 1.0
    again = Additive.from_json(json.loads(json.dumps(curve.to_json())))
    np.testing.assert_array_equal(again.score(at), curve.score(at))


def test_wrong_use_is_refused(frame, model, tmp_path):
    table, y = frame
    with pytest.raises(NotFittedError):
        PaymentClassifier().predict_proba(table)
    with pytest.raises(NotFittedError):
        PaymentClassifier().save(tmp_path)
    with pytest.raises(InputError, match="two classes"):
        PaymentClassifier().fit(table, np.ones(len(table)))
    with pytest.raises(InputError, match=r"X\.amount.*no such column"):
        model.predict_proba(table.drop(columns="amount"))
    with pytest.raises(InputError, match=r"X\.amount.*numbers, as in fit"):
        model.predict_proba(table.assign(amount="much"))
    with pytest.raises(InputError, match="names no category"):
        model.predict_proba(np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"X\.day.*Turn dates into days"):
        PaymentClassifier().fit(table.assign(day=pd.Timestamp("2026-01-01")), y)
    with pytest.raises(InputError, match=r"X\.colour"):
        PaymentClassifier(categorical=("colour",)).fit(table, y)
    with pytest.raises(InputError, match="Names need a frame"):
        PaymentClassifier(categorical=("amount",)).fit(np.zeros((4, 1)), [0, 1, 0, 1])
