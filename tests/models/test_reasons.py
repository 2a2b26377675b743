"""Reasons: exact shares of the forecast's log odds, and words that a clerk understands."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import InputError, NotFittedError
from collectopt.features import compute
from collectopt.features.catalogue import DEFINITIONS
from collectopt.features.words import (
    _TOPICS,
    EXPECTED,
    HABITS,
    PHRASES,
    RANKS,
    TIME,
    sentence,
    topic,
)
from collectopt.models import Reasons, reasons
from collectopt.models.attribution import Blend, attribute
from collectopt.models.boosting import TreeOptions, Trees, logit
from collectopt.models.labels import due_offsets
from collectopt.models.options import HazardOptions
from collectopt.models.payment import PaymentModel, _local_days

CUT = "2024-01-01"
QUICK = HazardOptions(rounds=60, rate=0.12, columns=0.8, ridge=1.0)
HORIZONS = ("7D", "90D", "200D", "500D", "due+10D")


def make_book(seed=0, n=1500, later=()):
    """One claim an account; its grade alone decides how fast it is paid."""
    rng = np.random.default_rng(seed)
    grade = rng.integers(0, 2, n)
    start = np.datetime64("2022-03-01")
    issued = start + rng.integers(0, 660, n).astype("timedelta64[D]")
    amount = rng.integers(20, 300, n)
    wait = rng.exponential(np.where(grade == 1, 20.0, 200.0))
    paid = issued + (24.0 * (1.0 + wait)).astype("timedelta64[h]")
    accounts = [
        {"account_id": f"A{k:04d}", "customer_type": ("consumer", "business")[k % 2],
         "country": "DE", "grade": float(grade[k]), "trade": ("bakery", "garage")[k % 3 == 0]}
        for k in range(n)
    ]  # fmt: skip
    invoices = [
        {"invoice_id": f"I{k:04d}", "account_id": f"A{k:04d}", "issued_on": str(issued[k]),
         "due_on": str(issued[k] + 14), "amount": float(amount[k]), "currency": "EUR"}
        for k in range(n)
    ]  # fmt: skip
    payments = [
        {"payment_id": f"P{k:04d}", "account_id": f"A{k:04d}", "paid_at": f"{paid[k]}:00+00:00",
         "amount": float(amount[k]), "invoice_id": f"I{k:04d}"}
        for k in range(n)
    ]  # fmt: skip
    return co.Ledger.from_frames(
        accounts=accounts,
        invoices=invoices,
        payments=[*payments, *later],
        features=("grade", "trade"),
    )


@pytest.fixture(scope="module")
def ledger():
    return make_book()


@pytest.fixture(scope="module")
def model(ledger):
    return PaymentModel(event="full", max_rows=4000, options=QUICK).fit(ledger, as_of=CUT)


@pytest.fixture(scope="module")
def snapshot(ledger):
    return co.Snapshot(ledger, as_of=CUT)


@pytest.fixture(scope="module")
def parts(model, snapshot):
    """Make shares by hand, with what the integral left over."""
    head = model._head("account")
    X = compute(snapshot, head.names, head.categories).values

    def make(days):
        p = model.predict(snapshot, horizons=(f"{days}D",), quantiles=()).p_paid[:, 0]
        return attribute(
            head.hazard,
            head.windows,
            X,
            due=due_offsets(snapshot),
            start=_local_days(snapshot),
            ahead=np.full(len(snapshot), float(days)),
            chance=p,
        )

    return make


@pytest.mark.parametrize(
    ("level", "horizon"), [*(("account", h) for h in HORIZONS), ("invoice", "30D")]
)
def test_base_and_contributions_are_the_log_odds_of_the_forecast(model, snapshot, level, horizon):
    found = reasons(model, snapshot, horizon, level)
    p = model.predict(snapshot, horizons=(horizon,), level=level).p_paid[:, 0]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), logit(p), atol=1e-9)
    np.testing.assert_allclose(found.chance, p, atol=1e-11)
    start = 1.0 / (1.0 + np.exp(-found.base))
    np.testing.assert_allclose(found.points.sum(axis=1), 100.0 * (p - start), atol=1e-6)


def test_the_windows_take_part_in_what_is_tested(model):
    """Else the tests would see the hazard alone."""
    assert [trees is not None for trees in model._head("account").windows.trees] == [True] * 3


@pytest.mark.parametrize("days", [30, 90, 150, 500])
def test_the_integral_explains_the_way_where_the_slopes_at_its_end_do_not(parts, model, days):
    found = parts(days)
    way = np.abs(found.added).sum(axis=1)
    # Where the curve has kinks (between knots, running maximum) a little is left to share out.
    assert np.abs(found.rest).mean() < (1e-9 if days <= 90 else 0.02) * way.mean()
    assert np.abs(found.rest).max() < (1e-9 if days <= 90 else 0.15) * way.max()


def test_slopes_at_the_end_would_not_add_up(model, snapshot):
    head = model._head("account")
    X = compute(snapshot, head.names, head.categories).values
    due, start = due_offsets(snapshot), _local_days(snapshot)
    ahead = np.full(len(X), 30.0)
    periods, base, added = head.hazard.contributions(X, offset=due, start=start, reach=ahead)
    blend = Blend.of(periods, ahead, head.windows, due, 1)
    trees = head.windows.trees[0].contributions(np.column_stack([X, due.astype(np.float32)]))
    mean, bins = head.windows.base[0] + trees[:, -1:], blend.dense(periods, base)
    moved, window = blend.dense(periods, added.sum(axis=1)), trees[:, :-1].sum(axis=1)
    first = blend.slopes(bins, mean)[0]
    p, to_bins, to_windows = blend.slopes(bins + moved, mean + window[:, None])
    np.testing.assert_allclose(p, model.predict(snapshot, horizons="30D").p_paid[:, 0], rtol=1e-9)
    naive = ((to_bins * moved).sum(axis=1) + to_windows[:, 0] * window) / (p * (1.0 - p))
    gap = np.abs(logit(p) - logit(first) - naive)
    assert gap.mean() > 0.02  # the integral leaves less than 1e-9, see above


def test_slopes_are_the_derivatives_of_the_blend():
    rng = np.random.default_rng(0)
    n, b, m = 40, 9, 4
    share = np.sort(rng.random((n, 1 + m, b)), axis=1)
    piece = rng.integers(0, m + 1, n)
    # The horizon lies between the two knots of its piece.
    low = np.where(piece > 0, piece, 1)[:, None]
    share[:, 0] = np.take_along_axis(share, low[:, :, None], axis=1)[:, 0]
    last = np.minimum(piece + 1, m)[:, None]
    share[:, 0] = (share[:, 0] + np.take_along_axis(share, last[:, :, None], axis=1)[:, 0]) / 2.0
    weight = np.tile([0.5, 0.0, 1.0 / 3.0, 0.0], (n, 1))
    weight[0] = 0.0  # older than what the windows know
    blend = Blend(np.ones((n, b), bool), share, piece, weight)
    bins, windows = rng.normal(-1.5, 1.0, (n, b)), rng.normal(0.5, 1.0, (n, m))
    _, to_bins, to_windows = blend.slopes(bins, windows)
    step = 1e-6
    for values, slopes in ((bins, to_bins), (windows, to_windows)):
        for j in range(values.shape[1]):
            kept = values[:, j].copy()
            values[:, j] = kept + step
            more = blend.slopes(bins, windows)[0]
            values[:, j] = kept - step
            less = blend.slopes(bins, windows)[0]
            values[:, j] = kept
            np.testing.assert_allclose(slopes[:, j], (more - less) / (2.0 * step), atol=1e-7)
    assert (np.abs(to_windows[:, 0]) > 1e-6).any()


def shapley(booster, x):
    """Exact Shapley values by all subsets; unknown columns follow both branches by their rows."""
    dumped = [t["tree_structure"] for t in booster.dump_model()["tree_info"]]
    d = len(x)

    def count(node):
        return node.get("internal_count", node.get("leaf_count"))

    def expected(node, known):
        if "leaf_value" in node:
            return node["leaf_value"]
        left, right = node["left_child"], node["right_child"]
        j = node["split_feature"]
        if j in known:
            return expected(left if x[j] <= node["threshold"] else right, known)
        parts = [count(child) * expected(child, known) for child in (left, right)]
        return sum(parts) / (count(left) + count(right))

    def value(known):
        return sum(expected(tree, known) for tree in dumped)

    out = np.zeros(d + 1)
    out[d] = value(())
    for j in range(d):
        others = [i for i in range(d) if i != j]
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            for known in itertools.combinations(others, size):
                out[j] += weight * (value((*known, j)) - value(known))
    return out


def test_contributions_of_trees_are_shapley_values():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 3)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2] + rng.normal(size=600) > 0).astype(float)
    trees = Trees.fit(X, y, options=TreeOptions(rounds=8, leaves=7, min_leaf=20, columns=1.0))
    found = trees.contributions(X[:5])
    np.testing.assert_allclose(found, [shapley(trees.booster, x) for x in X[:5]], atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), trees.score(X[:5]), atol=1e-9)


def test_the_only_feature_that_drives_payment_ranks_first_with_the_right_sign(model, snapshot):
    found = reasons(model, snapshot, "30D", top=2)
    j = found.names.index("accounts.grade")
    good = found.data[:, j] == 1.0
    assert 10 < good.sum() < len(good) - 10
    assert (found.values[good, j] > 0.0).all()
    assert (found.values[~good, j] < 0.0).all()
    first = found.to_pandas().query("rank == 1")
    assert (first["code"] == "ACCOUNTS.GRADE").mean() > 0.9
    rows = first[first["code"] == "ACCOUNTS.GRADE"]
    assert (rows["direction"].eq("raises") == good[rows["row"]]).all()


def test_a_strong_reason_agrees_with_what_if(model, snapshot):
    """With the other grade the forecast moves against the reason."""
    found = reasons(model, snapshot, "60D")
    names, categories = model.inputs("account")
    matrix = compute(snapshot, names, categories)
    j = names.index("accounts.grade")
    other = np.array(matrix.values)
    other[:, j] = 1.0 - other[:, j]
    changed = type(matrix)(other, matrix.names, matrix.categories)
    p = model.predict(snapshot, horizons="60D", quantiles=(), matrix=changed).p_paid[:, 0]
    np.testing.assert_array_equal(np.sign(found.chance - p), np.sign(found.values[:, j]))


def test_nothing_to_wait_for_gives_no_reasons(ledger, model):
    paid = ledger.payments.to_pylist()[0]
    row = {"account_id": paid["account_id"], "invoice_id": paid["invoice_id"]}
    done = co.Snapshot.from_rows(ledger, [row | {"as_of": "2030-01-01"}])
    found = reasons(model, done, "30D", "invoice")
    assert not found.values.any()
    assert found.chance[0] == pytest.approx(1.0)
    assert len(found.to_pandas()) == 0
    assert "nothing to wait for" in found.explain(paid["account_id"])
    issued = ledger.invoices.to_pylist()[0]["issued_on"]
    late = co.Snapshot.from_rows(ledger, [row | {"as_of": str(issued)}])
    found = reasons(model, late, "due-30D", "invoice")
    assert due_offsets(late)[0] == 15.0  # the horizon lies before as_of
    assert not found.values.any()
    assert found.chance[0] < 1e-9
    empty = reasons(model, done.take(np.arange(0)), "30D", "invoice")
    assert len(empty) == len(empty.to_arrow()) == 0


def test_the_future_changes_no_reason(ledger, model, snapshot):
    later = [
        {"payment_id": f"Q{k}", "account_id": f"A{k:04d}", "paid_at": "2024-01-01T00:00:00+00:00",
         "amount": 5.0}
        for k in range(1000)
    ]  # fmt: skip
    other = co.Snapshot(make_book(later=later), as_of=CUT)
    one, two = (reasons(model, rows, "90D") for rows in (snapshot, other))
    np.testing.assert_array_equal(one.values, two.values)
    assert one.to_arrow().equals(two.to_arrow())


def test_the_value_of_time_is_the_days_until_the_due_date(model, ledger):
    claim = ledger.invoices.to_pylist()[0]
    day = np.datetime64(claim["due_on"])
    times = [f"{day + k}T{hour}:00+00:00" for k in (-3, 0, 2) for hour in ("00:00", "13:30")]
    key = {"account_id": claim["account_id"], "invoice_id": claim["invoice_id"]}
    rows = co.Snapshot.from_rows(ledger, [key | {"as_of": at} for at in times])
    found = reasons(model, rows, "30D", "invoice")
    assert found.data[:, -1].tolist() == [3.0, 3.0, 0.0, 0.0, -2.0, -2.0]
    said = [sentence(TIME, float(value)) for value in found.data[::2, -1]]
    assert said == ["Falls due in 3 days", "Is due today", "Has been past due for 2 days"]


def test_rows_are_explained_alone_and_in_their_order(model, snapshot):
    whole = reasons(model, snapshot, "30D")
    back = reasons(model, snapshot.take(np.arange(len(snapshot))[::-1]), "30D")
    np.testing.assert_allclose(back.values[::-1], whole.values, atol=1e-12)


def test_topics_add_their_features_and_rank_by_size(model, snapshot):
    found = reasons(model, snapshot, "30D", top=50)
    frame = found.to_pandas()
    total = frame.groupby("row")["log_odds"].sum()
    np.testing.assert_allclose(total, found.values.sum(axis=1), atol=1e-9)
    one = frame[frame["row"] == 0]
    assert one["log_odds"].abs().is_monotonic_decreasing
    assert not one["topic"].duplicated().any()
    for line in one.to_dict("records"):
        own = [j for j, name in enumerate(found.names) if topic(name) == line["topic"]]
        assert line["log_odds"] == pytest.approx(found.values[0, own].sum())
        lead = found.values[0, found.names.index(line["feature"])]
        assert np.sign(lead) == np.sign(line["log_odds"]) == np.sign(line["points"])


def test_texts_say_value_direction_and_points(model, snapshot):
    found = reasons(model, snapshot, "30D")
    line = found.to_pandas().query("feature == 'accounts.grade'").iloc[0]
    size, verb = round(abs(line["points"])), "raises" if line["points"] > 0.0 else "lowers"
    start = f"Grade of the account is {line['value']:g}: {verb} the chance by"
    assert line["text"].startswith(start)
    assert f"by {size} point" in line["text"] or size == 0
    account = found.rows["account_id"][0].as_py()
    text = found.explain(account)
    assert text.splitlines()[0].startswith(f"{account}: chance of payment within 30D ")
    assert text.count("\n  - ") == 3
    assert repr(found) == f"Reasons({len(snapshot)} rows, horizon='30D', top=3)"
    assert found._repr_html_().count("<tr") == 11
    assert isinstance(found, Reasons)


@pytest.mark.parametrize(
    ("name", "value", "context", "words"),
    [
        ("late_mean", -3.0, {"settled_n": 2.0}, "Paid its earlier claims 3 days early on average"),
        ("late_mean", 0.2, {"settled_n": 2.0}, "Paid its earlier claims on the due day on average"),
        ("late_share", 0.0, {"settled_n": 0.0}, "Has not settled any claim so far"),
        ("late_share", 0.5, {}, "Paid 50 % of its earlier claims late"),
        ("on_time_lift", -0.2, {"matured_n": 4.0},
         "Pays on time less often than similar accounts, by 20 points"),
        ("on_time_lift", 0.0, {"matured_n": 0.0},
         "None of its claims is 30 days past its due date yet"),
        ("days_since_payment", 3650.0, {}, "Has never paid so far"),
        ("days_since_payment", 1.0, {}, "Last paid 1 day ago"),
        ("open_claims", 1.0, {}, "Has 1 claim open"),
        ("contacts_90_email", 2.0, {}, "Was contacted 2 times by email in the last 90 days"),
        ("open_amount", 1234.5, {}, "Owes 1,234.50 in all"),
        ("hold_plan", 1.0, {}, "A payment plan stands"),
        ("hold_plan", 0.0, {}, "No payment plan stands"),
        ("weekday", 7.0, {}, "It is a Sunday"),
        ("month", 12.0, {}, "It is December"),
        ("last_channel", "sms", {}, "Was last contacted by sms"),
        ("last_channel", math.nan, {}, "Channel of the last contact is not known"),
        ("credit_score", math.nan, {}, "Credit score as given is not known"),
        ("holds_n", 2.0, {}, "Holds ever recorded for the account, over or not is 2"),
        ("accounts.pay_class", 3.0, {}, "Pay class of the account is 3"),
        ("time", 12.0, {}, "Falls due in 12 days"),
        ("time", -1.0, {}, "Has been past due for 1 day"),
    ],
)  # fmt: skip
def test_words(name, value, context, words):
    assert sentence(name, value, context) == words


def test_every_feature_has_words_and_every_phrase_a_feature():
    for feature in DEFINITIONS:
        values = ["text"] if feature.codes else [-40.0, 0.0, 1.0, 7.25, 3650.0]
        for value in [*values, feature.default]:
            said = sentence(feature.name.replace("<channel>", "sms"), value)
            assert re.fullmatch(r"[A-Z0-9][^{}<>]*[^.{}<>]", said), said
    declared = {f.name for f in DEFINITIONS} | {TIME, EXPECTED, *RANKS, *HABITS}
    assert set(PHRASES) <= declared
    assert set(_TOPICS) <= declared


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of shap's own import
def test_for_shap(model, snapshot):
    import shap

    found = reasons(model, snapshot, "30D")
    made = found.to_shap()
    assert isinstance(made, shap.Explanation)
    assert made.feature_names[-1] == TIME
    np.testing.assert_array_equal(made.values, found.values)
    whole = made.base_values + made.values.sum(axis=1)
    np.testing.assert_allclose(whole, logit(found.chance), atol=1e-9)
    assert made.display_data[0, found.names.index("accounts.trade")] in {"bakery", "garage"}


def test_wrong_use_is_refused(ledger, model, snapshot):
    with pytest.raises(NotFittedError):
        reasons(PaymentModel(), snapshot)
    with pytest.raises(InputError, match="level"):
        reasons(model, snapshot, level="customer")
    with pytest.raises(InputError, match="30D"):
        reasons(model, snapshot, "a month")
    with pytest.raises(InputError, match="at least 1"):
        reasons(model, snapshot, top=0)
    with pytest.raises(InputError, match="nobody"):
        reasons(model, snapshot).explain("nobody")
