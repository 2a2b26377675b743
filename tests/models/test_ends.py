"""Competing ends: incidence against known truth, against Aalen-Johansen and the naive way."""

from __future__ import annotations

import json

import numpy as np
import pytest

import collectopt as co
from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models import EndsModel
from collectopt.models.competing import NEEDED
from collectopt.models.ends import ENDS, End, EndsForecast, behind, first_ends, incidence
from collectopt.models.hazard import Curve, HazardModel
from collectopt.models.labels import landmarks
from collectopt.models.options import HazardOptions

CUT = "2024-01-01"
AT = np.array([5.0, 20.0, 45.0, 90.0, 120.0])


# -- plain arrays ------------------------------------------------------------------------------


def draw(rng, rates, n, censoring=80.0):
    """Competing exponential times, one column an end: the first one is seen, unless censored."""
    days = rng.exponential(1.0 / rates, (n, rates.shape[-1]))
    limit = rng.exponential(censoring, n)
    first = days.min(axis=1)
    end = np.where(first < limit, days.argmin(axis=1), -1)
    return np.minimum(first, limit), end


def truth(rates, at):
    """Cumulative incidence of competing exponential times, (h, k)."""
    return rates / rates.sum() * -np.expm1(-rates.sum() * at)[:, None]


def fitted(X, duration, end, k, rounds=60):
    model = [HazardModel(n_estimators=rounds, num_leaves=7) for _ in range(k)]
    return [m.fit(X, duration, end == i) for i, m in enumerate(model)]


def aalen_johansen(duration, end, k, at):
    """Textbook estimator, one jump at a time."""
    order = np.argsort(duration)
    duration, end = duration[order], end[order]
    alive, out = 1.0, np.zeros((len(at), k))
    for i, (t, cause) in enumerate(zip(duration, end, strict=True)):
        if cause >= 0:
            jump = alive / (len(duration) - i)
            out[at > t, cause] += jump
            alive -= jump
    return out


@pytest.fixture(scope="module")
def competing():
    rng = np.random.default_rng(0)
    rates = np.array([1 / 60, 1 / 90, 1 / 400])
    duration, end = draw(rng, rates, 12_000)
    models = fitted(np.zeros((12_000, 1)), duration, end, 3)
    curves = [m.predict_curve(np.zeros((1, 1))) for m in models]
    return rates, duration, end, curves


def test_incidence_is_the_truth_and_one_minus_survival_of_a_single_end_is_too_high(competing):
    rates, duration, _, curves = competing
    p = incidence(curves, AT[None, :])[0]
    wanted = truth(rates, AT)
    # The rows still watched just before the last day carry the estimate.
    left = np.array([(duration >= t).sum() for t in AT])[:, None]
    se = np.sqrt(wanted * (1.0 - wanted) / np.maximum(left, 1))
    np.testing.assert_array_less(np.abs(p - wanted), 4.0 * se + 0.004)
    naive = np.stack([curve.before(AT)[0] for curve in curves], axis=1)
    assert (naive[2:] > wanted[2:] + 4.0 * se[2:] + 0.004)[:, :2].all()
    assert naive[-1].sum() > 1.2  # these "chances" of exclusive ends are more than certain
    assert p[-1].sum() < 1.0


def test_agrees_with_aalen_johansen_without_features(competing):
    _, duration, end, curves = competing
    p = incidence(curves, AT[None, :])[0]
    np.testing.assert_allclose(p, aalen_johansen(duration, end, 3, AT), atol=0.01)


def test_features_move_the_ends_apart():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, 10_000)
    rates = np.where(x[:, None] == 1, [1 / 30, 1 / 300], [1 / 120, 1 / 60])
    duration, end = draw(rng, rates, len(x))
    models = fitted(x[:, None], duration, end, 2)
    curves = [m.predict_curve([[0.0], [1.0]]) for m in models]
    p = incidence(curves, np.broadcast_to(AT, (2, len(AT))))
    for row, own in enumerate(([1 / 120, 1 / 60], [1 / 30, 1 / 300])):
        np.testing.assert_allclose(p[row], truth(np.array(own), AT), atol=0.03)


def test_incidence_adds_up_never_falls_and_knows_its_bins():
    rng = np.random.default_rng(2)
    edge = np.cumsum(np.column_stack([np.zeros(50), rng.random((50, 6)) + 0.1]), axis=1)
    edge[:, -1] = edge[:, -2]  # the last edge is repeated, as in shorter rows
    total = np.cumsum(np.column_stack([np.zeros(50), rng.random((50, 6))]), axis=1)
    total[:, -1] = total[:, -2]
    curves = [Curve(edge, total * share) for share in (0.5, 0.3, 0.2)]
    days = np.broadcast_to(np.linspace(-1.0, 8.0, 40), (50, 40))
    p = incidence(curves, days)
    assert (np.diff(p, axis=1) >= -1e-15).all()
    assert (p[:, days[0] <= 0.0] == 0.0).all()
    np.testing.assert_allclose(p.sum(axis=2), Curve(edge, total).before(days), atol=1e-12)
    # Where one end has the same share of the hazard everywhere it has that share of all.
    np.testing.assert_allclose(p[:, :, 1], 0.3 * p.sum(axis=2), atol=1e-12)
    risk = np.array([[True, True, False]] * 50)
    without = incidence(curves, days, risk)
    assert (without[:, :, 2] == 0.0).all()
    alone = incidence(curves[:2], days)
    np.testing.assert_allclose(without[:, :, :2], alone, atol=1e-15)


# -- what came first ---------------------------------------------------------------------------


def small(holds=(), payments=(), notes=()):
    accounts = [{"account_id": a, "customer_type": "consumer", "country": "DE"} for a in "AB"]
    terms = {"currency": "EUR", "issued_on": "2023-03-01", "due_on": "2023-03-15"}
    invoices = [
        {"invoice_id": "A1", "account_id": "A", "amount": 50.0, **terms},
        {"invoice_id": "A2", "account_id": "A", "amount": 70.0, **terms},
        {"invoice_id": "B1", "account_id": "B", "amount": 30.0, **terms},
        *notes,
    ]
    return co.Ledger.from_frames(
        accounts=accounts, invoices=invoices, payments=payments or None, holds=holds or None
    )


def pay(key, day, amount, invoice):
    return {"payment_id": key, "account_id": invoice[0], "paid_at": f"{day}T10:00:00+00:00",
            "amount": amount, "invoice_id": invoice}  # fmt: skip


def look(ledger, invoice, level="invoice", as_of="2023-04-01", cut=CUT):
    row = {"account_id": invoice[0], "as_of": as_of}
    if level == "invoice":
        row["invoice_id"] = invoice
    found = first_ends(co.Snapshot.from_rows(ledger, [row]), level, cut)
    end = None if found.end[0] < 0 else ENDS[found.end[0]]
    return end, float(found.days[0])


PLAN = {"account_id": "A", "kind": "payment_plan", "from_on": "2023-04-10"}
COURT = {"account_id": "A", "kind": "court", "from_on": "2023-05-01", "invoice_id": "A1"}


def test_the_first_end_wins():
    paid = [pay("1", "2023-04-09", 50.0, "A1")]
    # A hold is known when its day is over: 10 April ends 10 days after 1 April.
    ledger = small([PLAN, COURT], paid)
    assert look(ledger, "A1") == (End.PAID, pytest.approx(8.0 + 10 / 24))
    assert look(ledger, "A2") == (End.PLAN, pytest.approx(10.0))
    assert look(small([COURT]), "A1") == (End.COURT, pytest.approx(31.0))
    assert look(small([COURT]), "A2") == (None, pytest.approx(275.0))  # a hold on another claim
    # The account waits for both claims; the hold on one of them counts while that one is open.
    assert look(small([COURT]), "A2", "account") == (End.COURT, pytest.approx(31.0))
    assert look(ledger, "A1", "account") == (End.PLAN, pytest.approx(10.0))
    assert look(small([COURT], paid), "A1", "account") == (None, pytest.approx(275.0))


@pytest.mark.parametrize(
    ("kind", "end"),
    [("dispute", End.DISPUTE), ("agency", End.AGENCY), ("insolvency", End.INSOLVENCY),
     ("deceased", End.INSOLVENCY), ("promise", None), ("vulnerable", None)],
)  # fmt: skip
def test_kinds_of_holds(kind, end):
    found, days = look(small([{**PLAN, "kind": kind}]), "A1")
    assert (found, days) == (end, pytest.approx(275.0 if end is None else 10.0))


def test_a_credit_note_withdraws():
    note = {"invoice_id": "N", "account_id": "B", "amount": -30.0, "currency": "EUR",
            "issued_on": "2023-04-20", "due_on": "2023-04-20", "kind": "credit_note"}  # fmt: skip
    assert look(small(notes=[note]), "B1") == (End.WITHDRAWN, pytest.approx(20.0))


def test_an_end_that_stands_is_behind_the_row():
    again = {**PLAN, "from_on": "2023-06-01"}
    ledger = small([PLAN, again, COURT])
    late = co.Snapshot.from_rows(
        ledger, [{"account_id": "A", "as_of": d} for d in ("2023-04-11", "2023-04-10")]
    )
    assert behind(late)[:, ENDS.index(End.PLAN)].tolist() == [True, False]
    assert look(ledger, "A2", as_of="2023-04-11")[0] is None  # not the second plan
    assert look(ledger, "A1", as_of="2023-04-11") == (End.COURT, pytest.approx(21.0))
    assert look(ledger, "A1", as_of="2023-04-10") == (End.PLAN, pytest.approx(1.0))


def test_what_is_known_at_the_cut_or_later_is_not_looked_at():
    ledger = small([PLAN])
    last = "2023-04-10T23:59:59.999999+00:00"  # when the plan's first day is over
    assert look(ledger, "A1", cut=last) == (None, pytest.approx(10.0))
    assert look(ledger, "A1", cut="2023-04-11") == (End.PLAN, pytest.approx(10.0))


# -- a book ------------------------------------------------------------------------------------

RATES = {0: np.array([1 / 120, 1 / 100, 1 / 300]), 1: np.array([1 / 40, 1 / 600, 1 / 300])}


def make_book(seed=0, n=1600, *, until=None, rename=False):
    """One claim an account; its grade drives plan, dispute and payment, all without a memory."""
    rng = np.random.default_rng(seed)
    grade = rng.integers(0, 2, n)
    issued = np.datetime64("2022-01-10") + rng.integers(0, 710, n).astype("timedelta64[D]")
    hours = np.ceil(24.0 * rng.exponential(1.0 / np.stack([RATES[g] for g in grade])))
    at = (issued + np.timedelta64(1, "D")).astype("datetime64[h]")[:, None]
    at = at + hours.astype("timedelta64[h]")
    seen = np.ones(at.shape, bool) if until is None else at < np.datetime64(until)
    ids = [f"A{k:04d}" for k in range(n)]
    kinds = {1: "payment_plan", 2: "dispute"}
    return co.Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE", "grade": float(g)}
            for a, g in zip(ids, grade, strict=True)
        ],
        invoices=[
            {"invoice_id": a, "account_id": a, "issued_on": str(day), "due_on": str(day),
             "amount": 100.0, "currency": "EUR"}
            for a, day in zip(ids, issued, strict=True)
            if until is None or str(day) < until
        ],
        payments=[
            {"payment_id": ids[k], "account_id": ids[k], "paid_at": f"{at[k, 0]}:00:00+00:00",
             "amount": 100.0}
            for k in np.flatnonzero(seen[:, 0])
        ],
        holds=[
            {"account_id": ids[k], "from_on": str(at[k, j].astype("datetime64[D]")),
             "kind": ("court", "agency")[k % 2] if rename and k % 12 < 2 and j == 2 else kind}
            for j, kind in kinds.items()
            for k in np.flatnonzero(seen[:, j] & (at[:, j] < at[:, 0]))
        ],
        features=("grade",),
    )  # fmt: skip


QUICK = HazardOptions(rounds=60, rate=0.12, leaves=4, min_leaf=100, columns=0.8, ridge=1.0)


@pytest.fixture(scope="module")
def book():
    return make_book()


@pytest.fixture(scope="module")
def model(book):
    return EndsModel(level="invoice", max_rows=5000, options=QUICK).fit(book, as_of=CUT)


@pytest.fixture(scope="module")
def snapshot(book):
    return co.Snapshot(book, as_of=CUT)


@pytest.fixture(scope="module")
def others():
    """Make a book of the same kind with other claims."""
    return make_book(seed=1)


@pytest.mark.parametrize(
    ("grade", "behind_it"), [(0, None), (1, None), (0, End.PLAN)], ids=["slow", "quick", "plan"]
)
def test_a_book_with_plans_and_disputes_recovers_its_truth(model, others, grade, behind_it):
    """The rows are spread over all seasons: one month would test what chance has given it."""
    assert model.kinds == ENDS[:3] == (End.PAID, End.PLAN, End.DISPUTE)
    rows = landmarks(others, CUT, "invoice", limit=3000)
    account = rows.rows["account"].to_numpy()
    stands = np.array([end is behind_it for end in model.kinds])
    own = np.array(others.accounts["grade"].to_pylist())[account] == grade
    asked = own & (behind(rows)[:, :3] == stands).all(axis=1)
    claims = len(np.unique(account[asked]))
    assert claims > 90
    mean = model.predict(rows, horizons=("30D", "90D")).p[asked].mean(axis=0)
    wanted = truth(np.where(stands, 0.0, RATES[grade]), np.array([30.0, 90.0]))
    # Each claim of the learning rows tells about one outcome; so do those asked about.
    se = np.sqrt(wanted * (1.0 - wanted) / claims)
    np.testing.assert_array_less(np.abs(mean - wanted), 4.0 * se + 1e-12)


def test_an_account_with_one_claim_waits_for_that_claim(book, others):
    rows = landmarks(others, CUT, "invoice", limit=500)
    found = [
        EndsModel(level=level, max_rows=1000, options=QUICK)
        .fit(book, as_of=CUT)
        .predict(rows, level=level)
        for level in ("invoice", "account")
    ]
    np.testing.assert_array_equal(found[0].p, found[1].p)


def test_forecasts_add_up_and_never_fall(model, snapshot):
    names = ("due-30D", "1D", "30D", "due+900D", "1000D", "2000D")
    found = model.predict(snapshot, horizons=names)
    assert found.p.shape == (len(found), len(names), 3)
    np.testing.assert_allclose(found.p.sum(axis=2) + found.open, 1.0, atol=1e-15)
    assert (found.p >= 0.0).all()
    assert (found.open >= 0.0).all()
    assert (np.diff(found.p[:, [0, 1, 2, 4, 5]], axis=1) >= -1e-15).all()
    assert (found.p[:, 0] == 0.0).all()
    assert (found.p[:, 5] == found.p[:, 4]).mean() < 1.0  # the reach lies between the two


def test_an_end_behind_has_no_chance(model, snapshot):
    rows = snapshot.to_invoice_level()
    found = model.predict(rows, horizons="90D")
    for kind in (End.PLAN, End.DISPUTE):
        stands = behind(rows)[:, ENDS.index(kind)]
        assert stands.sum() > 20
        assert (found.of(kind)[stands] == 0.0).all()
        assert (found.of(kind)[~stands] > 0.0).all()


def test_a_settled_claim_is_paid(book, model):
    paid = book.payments.to_pylist()[0]["account_id"]
    done = co.Snapshot.from_rows(
        book, [{"account_id": paid, "invoice_id": paid, "as_of": "2029-01-01"}]
    )
    found = model.predict(done, horizons=("1D", "30D"))
    assert (found.of("paid") == 1.0).all()
    assert (found.open == 0.0).all()
    assert len(model.predict(done.take(np.arange(0)))) == 0


def test_rare_ends_are_pooled_and_named():
    other = make_book(n=700, rename=True)
    fitted = EndsModel(level="invoice", max_rows=800, options=QUICK).fit(other, as_of=CUT)
    assert set(fitted.pooled) == {End.COURT, End.AGENCY}
    assert fitted.kinds[-1] is End.OTHER
    assert all(fitted.events[end] < NEEDED for end in fitted.pooled)
    found = fitted.predict(co.Snapshot(other, as_of=CUT), horizons="90D")
    assert 0.0 < found.of("other").mean() < found.of("dispute").mean()
    assert not found.of("insolvency").any()
    rows = fitted._landmarks(other, CUT)
    first = first_ends(rows, "invoice", CUT)
    assert sum(fitted.events.values()) == (first.end >= 0).sum()


def test_the_rarer_an_end_the_smaller_its_trees():
    sizes = [EndsModel()._hazard(n, ()) for n in (30, 400, 1500, 5000)]
    assert [m.n_estimators for m in sizes] == sorted(m.n_estimators for m in sizes)
    assert [m.num_leaves for m in sizes] == [4, 4, 7, 31]
    assert sizes[0].n_estimators < sizes[-1].n_estimators


def test_what_happens_after_the_cut_changes_nothing(book):
    early = make_book(until=CUT)
    assert len(early.holds) < len(book.holds)
    found = []
    for ledger in (book, early):
        fitted = EndsModel(max_rows=800, options=QUICK).fit(ledger, as_of=CUT)
        rows = co.Snapshot(ledger, as_of=CUT)
        found.append(fitted.predict(rows, horizons=("30D", "365D")).p)
    np.testing.assert_array_equal(found[0], found[1])


def test_save_and_load_give_the_same_numbers(model, snapshot, tmp_path):
    model.save(tmp_path / "ends")
    again = EndsModel.load(tmp_path / "ends")
    one, two = (m.predict(snapshot, horizons=("30D", "due+30D")) for m in (model, again))
    np.testing.assert_array_equal(one.p, two.p)
    assert one.kinds == two.kinds
    assert repr(again) == repr(model)
    assert again.events == model.events
    assert again.pooled == model.pooled == ()
    assert {p.suffix for p in (tmp_path / "ends").rglob("*") if p.is_file()} == {".json"}
    (tmp_path / "ends" / "ends.json").write_text(json.dumps({"level": "invoice"}))
    with pytest.raises(ArtifactError, match="EndsModel"):
        EndsModel.load(tmp_path / "ends")


def test_the_forecast_shows_itself(model, snapshot):
    found = model.predict(snapshot, horizons=("30D",))
    frame = found.to_pandas()
    assert list(frame)[-4:] == ["p_paid_30D", "p_plan_30D", "p_dispute_30D", "open_30D"]
    np.testing.assert_array_equal(frame["p_plan_30D"], found.of(End.PLAN)[:, 0])
    assert "paid, plan, dispute" in repr(found)
    assert found._repr_html_().count("<tr") == 11
    assert isinstance(found, EndsForecast)


def test_wrong_use_is_refused(book, model, snapshot):
    with pytest.raises(NotFittedError):
        EndsModel().predict(snapshot)
    with pytest.raises(NotFittedError):
        EndsModel().save("nowhere")
    with pytest.raises(InputError, match=r"EndsModel\.level"):
        EndsModel(level="customer")
    with pytest.raises(InputError, match="level of the model"):
        model.predict(snapshot, level="account")
    with pytest.raises(InputError, match="30D"):
        model.predict(snapshot, horizons=("a month",))
    with pytest.raises(InputError, match=r"EndsForecast\.end"):
        model.predict(snapshot).of("lost")
    with pytest.raises(InputError, match="open before 2020-01-01"):
        EndsModel().fit(book, as_of="2020-01-01")
