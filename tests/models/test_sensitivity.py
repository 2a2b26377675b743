"""Bounds under hidden reasons against known truth, and whether a log leaves anything to compare."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit, logit

from collectopt.exceptions import InputError
from collectopt.models.contrasts import Mains, folds
from collectopt.models.overlap import Overlap, Verdict
from collectopt.models.propensity import Logistic, action_chance, contact_chance, strongest
from collectopt.models.sensitivity import Sensitivity, sensitivity
from collectopt.schema.actions import ActionSet

LIFT = 0.25  # P(a contact makes one pay who would not)


def hidden(seed, size, n=4000):
    """A log in which staff knew who would pay anyway, and contacted those less.

    Given x the odds of a contact of each are within `size` times those of all, and for one kind
    just that. The true mean effect is LIFT x P(would not pay).
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p, e = expit(-0.3 + 0.8 * x), expit(-0.2 + 0.5 * x)
    pays = rng.random(n) < p
    low = expit(logit(e) - np.log(size))  # chance of those who pay anyway
    rest = (e - p * low) / (1 - p)
    ok = rest <= expit(logit(e) + np.log(size))
    high = np.where(ok, rest, expit(logit(e) + np.log(size)))
    low = np.where(ok, low, (e - (1 - p) * high) / p)
    contacted = rng.random(n) < np.where(pays, low, high)
    y = pays | (contacted & (rng.random(n) < LIFT))
    z = np.polynomial.hermite_e.hermegauss(40)
    truth = LIFT * (z[1] * (1 - expit(-0.3 + 0.8 * z[0]))).sum() / z[1].sum()
    return x[:, None], y.astype(float), contacted, truth


def test_the_truth_lies_within_the_bounds_of_its_lambda_and_the_plain_estimate_misses_it():
    missed, inside, narrow = 0, 0, 0
    for seed in range(20):
        X, y, contacted, truth = hidden(seed, size=2.0)
        found = sensitivity(X, y, contacted, lambdas=(1.0, 1.3, 2.0)).to_pandas()
        covered = (found["low_95"] <= truth) & (truth <= found["high_95"])
        missed += not covered[0]
        narrow += not covered[1]
        inside += covered[2]
    assert missed == 20  # what ignores the hidden reason is always wrong
    assert narrow >= 15  # too small a Lambda is not enough
    assert inside == 20


def test_the_bounds_are_the_sharpest():
    """Without x the worst a hidden reason of a size can do is a linear programme."""
    e, mu1, mu0, size = 0.3, 0.6, 0.35, 1.7

    def worst(mu, sign):
        ratio = [(1 / size, size)] * 2
        found = linprog([sign * mu, 0.0], A_eq=[[mu, 1 - mu]], b_eq=[1.0], bounds=ratio)
        return sign * found.fun

    high = e * mu1 + (1 - e) * worst(mu1, -1) - (1 - e) * mu0 - e * worst(mu0, 1)
    low = e * mu1 + (1 - e) * worst(mu1, 1) - (1 - e) * mu0 - e * worst(mu0, -1)
    rng = np.random.default_rng(3)
    contacted = rng.random(40_000) < e
    y = rng.random(40_000) < np.where(contacted, mu1, mu0)
    found = sensitivity(np.zeros((40_000, 0)), y, contacted, lambdas=(size,))
    assert found.low[0] == pytest.approx(low, abs=3 * found.low_stderr[0])
    assert found.high[0] == pytest.approx(high, abs=3 * found.high_stderr[0])


def test_without_hidden_reasons_the_interval_covers_and_accounts_count_once():
    """Rows of an account are alike: errors that take them as independent are too small."""
    hits, plain = 0, 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        account = np.repeat(np.arange(300), 10)
        own_x = rng.normal(size=300)
        x = own_x[account]
        pays = 0.4 * (rng.random(300) < expit(own_x / 2))[account]
        contacted = (rng.random(300) < expit(0.5 * own_x))[account]  # all ten of an account
        y = (rng.random(3000) < pays + 0.3 * contacted).astype(float)
        for own, who in ((True, account), (False, None)):
            found = sensitivity(x[:, None], y, contacted, account=who, lambdas=(1.0,)).to_pandas()
            covered = found["low_95"][0] <= 0.3 <= found["high_95"][0]
            hits += own and covered
            plain += (not own) and covered
    assert hits >= 20  # 23 expected
    assert plain < hits


def test_the_breakdown_is_where_the_interval_reaches_zero():
    X, y, contacted, _ = hidden(1, size=1.0)
    found = sensitivity(X, y, contacted)
    again = sensitivity(X, y, contacted, lambdas=(found.breakdown, 1.01 * found.breakdown))
    table = again.to_pandas()
    assert 1.2 < found.breakdown < 5
    assert table["low_95"][0] >= 0 > table["low_95"][1]
    flipped = sensitivity(X, 1 - y, contacted)
    assert flipped.breakdown == pytest.approx(found.breakdown, rel=0.01)
    idle = (np.random.default_rng(0).random(len(y)) < 0.4).astype(float)
    none = sensitivity(X, idle, contacted)
    assert none.breakdown == 1.0
    assert not none.holds


def test_the_benchmark_names_the_column_that_moves_choices_most():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3))
    contacted = rng.random(20_000) < expit(0.2 * X[:, 0] + 0.8 * X[:, 1])
    column, size = strongest(X, contacted, Mains.learn(X.astype(np.float32)))
    # 19 of 20 normal numbers are within 1.96: the odds move by exp(.8 x 1.96) at most, or a bit
    # less, as without the column the others' coefficients shrink.
    assert column == 1
    assert size == pytest.approx(np.exp(0.8 * 1.96), rel=0.1)


def test_columns_that_say_the_same_do_not_hide_each_other():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    X = np.column_stack([rng.normal(size=5000), x, 2 * x, -x, x])
    contacted = rng.random(5000) < expit(0.8 * x)
    column, size = strongest(X, contacted, Mains.learn(X.astype(np.float32)))
    assert column > 0
    assert size == pytest.approx(np.exp(0.8 * 1.96), rel=0.15)


def test_a_dropped_column_is_as_if_it_had_not_been_there():
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(20_000, 3))
    Z[:, 2] += 0.5 * Z[:, 0]
    y = (rng.random(20_000) < expit(0.3 * Z[:, 0] - 0.3 * Z[:, 1])).astype(float)
    dropped = Logistic.fit(Z, y).without(np.array([0]))
    direct = Logistic.fit(Z[:, 1:], y)
    assert dropped[0] == 0
    assert dropped[1:] == pytest.approx(direct.beta, abs=0.02)


def test_results_go_through_json_and_print():
    X, y, contacted, _ = hidden(0, size=1.0, n=1000)
    found = sensitivity(X, y, contacted, names=("balance",))
    assert Sensitivity.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert "balance" in str(found)
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"y": np.full(50, 2.0)}, "from 0 to 1"),
        ({"contacted": np.ones(50)}, "contacts alone"),
        ({"lambdas": (0.5,)}, "at least 1"),
        ({"chance": np.ones(50)}, r"in \(0, 1\)"),
        ({"account": np.ones(3)}, r"\(50,\)"),
    ],
)
def test_wrong_input_is_refused(change, text):
    given = {"y": np.zeros(50), "contacted": np.arange(50) % 2} | change
    with pytest.raises(InputError, match=text):
        sensitivity(np.zeros((50, 1)), given.pop("y"), given.pop("contacted"), **given)


# Chances and overlap -----------------------------------------------------------------------------

ACTIONS = ActionSet.from_frame(
    [{"channel": "none"}]
    + [
        {"channel": c, "tone": t, "hour": h, "day": 0}
        for c in ("email", "phone")
        for t in ("friendly", "firm")
        for h in (9.0, 14.0)
    ]
)


def log(seed=0, n=12_000):
    """Contacts by x, channels by another x, tones by chance .7, hours by .25."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    contact, phone = expit(-0.5 + X[:, 0]), expit(-1 + X[:, 1])
    acted, call = rng.random(n) < contact, rng.random(n) < phone
    firm, late = rng.random(n) < 0.3, rng.random(n) < 0.25
    action = np.where(acted, 1 + 4 * call + 2 * firm + late, 0)
    truth = contact * np.where(call, phone, 1 - phone)
    truth = truth * np.where(firm, 0.3, 0.7) * np.where(late, 0.25, 0.75)
    return X, action, np.where(acted, truth, 1 - contact), contact


def test_estimated_propensities_are_near_the_true_ones():
    X, action, truth, contact = log()
    fold, mains = folds(np.arange(len(X)), 3, 0), Mains.learn(X)
    found = contact_chance(X, action > 0, fold, mains)
    assert np.abs(logit(found) - logit(contact)).mean() < 0.15
    chance = action_chance(X, action, ACTIONS, fold, mains, found)
    assert np.abs(np.log(chance / truth)).mean() < 0.15
    # As weights they make contacts like everybody: a plain mean of x among contacts does not.
    acted = action > 0
    assert abs(np.average(X[acted, 0], weights=1 / found[acted]) - X[:, 0].mean()) < 0.05
    assert X[acted, 0].mean() > 0.3


def test_verdicts():
    X, action, _, contact = log()
    acted = action > 0
    open_log = Overlap.of(X, acted, contact, channels=[("email", 0.2)], names=("a", "b", "c"))
    assert open_log.verdict is Verdict.OVERLAP
    assert open_log.balance < 0.1
    rule = X[:, 0] > 0.3
    fold = folds(np.arange(len(X)), 3, 0)
    settled = Overlap.of(X, rule, contact_chance(X, rule, fold, Mains.learn(X)))
    assert settled.auc > 0.99
    assert settled.verdict is Verdict.DETERMINISTIC
    steep = expit(4 * X[:, 0])
    partly = np.random.default_rng(1).random(len(X)) < steep
    weak = Overlap.of(X, partly, steep)
    assert weak.verdict is Verdict.WEAK
    assert Overlap.from_dict(json.loads(json.dumps(open_log.to_dict()))) == open_log
    assert "overlap" in str(open_log)
    assert "<table" in open_log._repr_html_()


def test_auc_and_effective_share_by_hand():
    found = Overlap.of(
        np.zeros((4, 0), np.float32), np.array([0, 0, 1, 1]) > 0, np.array([0.1, 0.4, 0.4, 0.8])
    )
    assert found.auc == 0.875
    w = 1 / np.array([0.4, 0.8])
    assert found.ess == pytest.approx(w.sum() ** 2 / (w**2).sum() / 2)
