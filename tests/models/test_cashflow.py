"""Cash flow of the open book against known chances, beside intervals that must fail."""

from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import CashFlowModel, PaymentModel, cash_flow
from collectopt.models.cashflow import Shocks, lead_factors
from collectopt.models.openbook import OpenBook, cash_by_week, claims_at
from collectopt.models.options import HazardOptions
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

START = np.datetime64("2022-01-01")
LEVEL = 0.8
MEAN_DAYS = 40.0


def person(name, **more):
    return {"account_id": name, "customer_type": "consumer", "country": "DE", **more}


def invoice(name, account, issued, amount, currency="EUR", **more):
    dates = {"issued_on": issued, "due_on": str(np.datetime64(issued) + 14)}
    row = {"invoice_id": name, "account_id": account, "amount": amount, "currency": currency}
    return {**row, **dates, **more}


def payment(name, account, at, amount, claim):
    row = {"payment_id": name, "account_id": account, "amount": amount, "invoice_id": claim}
    return {**row, "paid_at": f"{at}+00:00"}


@cache
def memoryless(seed=0, claims=3000, days=1100):
    """Claims of very different size, each paid after an exponential time."""
    rng = np.random.default_rng(seed)
    amount = np.round(50.0 * (1.0 + rng.pareto(1.6, size=claims)), 2)
    invoices, payments = [], []
    for k in range(claims):
        day = START + int(rng.integers(0, days))
        name, account = f"I{k:05d}", f"A{k % 700:04d}"
        wait = 1.0 + rng.exponential(MEAN_DAYS)
        at = day.astype("datetime64[m]") + np.timedelta64(int(1440 * wait), "m")
        invoices.append(invoice(name, account, str(day), float(amount[k])))
        payments.append(payment(name, account, at, float(amount[k]), name))
    accounts = [person(f"A{k:04d}") for k in range(700)]
    return Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments)


class Known:
    """Says the true chances of the memoryless book."""

    event = "full"

    def fit(self, ledger, as_of):
        return self

    def predict(self, snapshot, *, horizons, level):
        rows = snapshot.to_invoice_level()
        days = np.array([Horizon.parse(h).days for h in horizons], dtype=float)
        p = np.tile(1.0 - np.exp(-days / MEAN_DAYS), (len(rows), 1))
        ids = rows.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(ids, tuple(horizons), p, p.copy(), np.zeros((len(p), 3)))


def inside(flow, seen, prefix=""):
    low, high = flow.table[f"{prefix}lower"], flow.table[f"{prefix}upper"]
    return ((low <= seen) & (seen <= high)).to_numpy()


def came(ledger, flow, cut, weeks):
    """Cash by week in plain numpy."""
    ids = ledger.payments["invoice_id"].to_numpy()
    days = (ledger.payments["paid_at"].to_numpy() - cut) / np.timedelta64(1, "D")
    amount = ledger.payments["amount"].cast(pa.float64()).to_numpy()
    counted = np.isin(ids, flow.claims["invoice_id"].to_numpy()) & (days < 7 * weeks)
    assert (days[counted] >= 0.0).all()
    return np.bincount((days[counted] // 7).astype(int), amount[counted], minlength=weeks)


def test_intervals_cover_on_many_cuts():
    ledger, weeks = memoryless(), 4
    single, running, ratio = [], [], []
    for k in range(24):
        cut = START + 90 + 40 * k
        flow = cash_flow(Known(), Snapshot(ledger, cut), weeks=weeks, level=LEVEL, rng=k, draws=800)
        seen = came(ledger, flow, cut, weeks)
        single.append(inside(flow, seen))
        running.append(inside(flow, np.cumsum(seen), "cumulative_")[-1])
        ratio.append(seen.sum() / flow.table["expected"].sum())
    # A claim is in one week only, so weeks and cuts are almost independent.
    for found in (np.concatenate(single), np.array(running)):
        assert abs(found.mean() - LEVEL) < 3.0 * np.sqrt(LEVEL * (1 - LEVEL) / len(found))
    assert abs(np.mean(ratio) - 1.0) < 3.0 * np.std(ratio) / np.sqrt(len(ratio))


def made_book(rng, n=400, weeks=6, tail=1.3, rate=0.05):
    """A book whose largest claims decide; the snapshot is not looked at by the simulation."""
    amount = 20.0 * (1.0 + rng.pareto(tail, size=n))
    chance = np.tile(rng.uniform(0.5, 1.5, size=(n, 1)) * rate, (1, weeks))
    now = np.datetime64("2026-01-01", "us")
    return OpenBook(None, amount, chance, 0.0, "EUR", now, now.astype("M8[D]"))


def paid(book, rng, haste=1.0):
    """One future by plain multinomial draws, week chances raised by `haste`."""
    within = np.cumsum(book.chance * haste, axis=1)
    luck = rng.random(len(book.amount))
    week = (luck[:, None] >= within).sum(axis=1)
    return np.bincount(week, book.amount, minlength=book.chance.shape[1] + 1)[:-1]


def test_heavy_tails_are_drawn_claim_by_claim_where_the_normal_law_fails():
    rng, times = np.random.default_rng(1), 400
    drawn, normal = [], []
    for _ in range(times):
        book = made_book(rng, n=150)
        seen = paid(book, rng)[0]
        low, high = np.quantile(book.simulate(300, rng)[:, 0], [0.1, 0.9])
        drawn.append(low <= seen <= high)
        middle, half = book.expected()[0], 1.2816 * np.sqrt(book.covariance()[0, 0])
        normal.append(middle - half <= seen <= middle + half)
    error = np.sqrt(LEVEL * (1 - LEVEL) / times)
    assert abs(np.mean(drawn) - LEVEL) < 3.0 * error
    assert np.mean(normal) > LEVEL + 3.0 * error


def test_large_books_are_drawn_together_and_agree_with_single_draws():
    rng = np.random.default_rng(2)
    book = made_book(rng, n=12_000, weeks=3, tail=2.5)
    draws = 3000
    quick = book.simulate(draws, rng)
    plain = np.array([paid(book, rng) for _ in range(250)])
    for week in range(3):
        spread = np.sqrt(book.covariance()[week, week])
        assert abs(quick[:, week].mean() - book.expected()[week]) < 4 * spread / np.sqrt(draws)
        assert quick[:, week].std() == pytest.approx(spread, rel=4 / np.sqrt(2 * draws))
        assert plain[:, week].std() == pytest.approx(spread, rel=4 / np.sqrt(2 * 250))
    found = np.corrcoef(quick.T)[0, 1]
    cov = book.covariance()
    truth = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    assert abs(found - truth) < 4 / np.sqrt(draws)


def shocked(rng, cuts, level, shape):
    """Books of earlier cuts and of today with moods: what was expected, what came."""
    books = [made_book(rng, n=600, tail=3.0) for _ in range(cuts + 1)]
    mood = level * rng.normal(size=(cuts + 1, 1)) + shape * rng.normal(size=(cuts + 1, 6))
    seen = [paid(book, rng, np.exp(m)) for book, m in zip(books, mood, strict=True)]
    past = books[:-1]
    shocks = Shocks.learn(
        np.array([b.expected() for b in past]),
        np.array(seen[:-1]),
        np.array([b.covariance() for b in past]),
    )
    return books[-1], shocks, seen[-1]


@pytest.mark.parametrize(("level", "shape"), [(0.25, 0.0), (0.0, 0.3), (0.2, 0.2)])
def test_moods_are_covered_and_the_chance_of_claims_alone_is_not(level, shape):
    rng, times = np.random.default_rng(3), 150
    ours, naive = np.zeros((2, 2, times))
    for k in range(times):
        book, shocks, seen = shocked(rng, 8, level, shape)
        drawn = book.simulate(400, rng)
        moved = drawn * shocks.draw(400, LEVEL, rng)
        for found, paths in ((ours, moved), (naive, drawn)):
            low, high = np.quantile(paths, [0.1, 0.9], axis=0)
            found[0, k] = ((low <= seen) & (seen <= high)).mean()
            low, high = np.quantile(paths.sum(axis=1), [0.1, 0.9])
            found[1, k] = low <= seen.sum() <= high
    for kind in range(2):  # single weeks, the total
        error = ours[kind].std(ddof=1) / np.sqrt(times)
        assert abs(ours[kind].mean() - LEVEL) < 3.0 * error + 0.03
    worst = 1 if level else 0
    error = naive[worst].std(ddof=1) / np.sqrt(times)
    assert naive[worst].mean() < LEVEL - 5.0 * error


def test_where_only_claims_are_left_to_chance_no_mood_is_found():
    rng = np.random.default_rng(4)
    sizes = []
    for _ in range(60):
        _, shocks, _ = shocked(rng, 8, 0.0, 0.0)
        sizes.append(np.sqrt((shocks.parts**2).mean()))
    book = made_book(rng, n=600, tail=3.0)
    alone = np.sqrt(np.diag(book.covariance())) / book.expected()
    assert np.median(sizes) < 0.5 * alone.mean()
    factor = shocks.draw(4000, LEVEL, rng)
    assert abs(factor.mean() - 1.0) < 4.0 * factor.std() / np.sqrt(factor.size) + 1e-9


def test_factors_have_mean_one():
    rng = np.random.default_rng(5)
    shocks = Shocks(rng.normal(0.2, 0.1, size=(5, 4)), np.ones(4))
    factor = shocks.draw(40_000, LEVEL, rng)
    error = factor.std(axis=0) / np.sqrt(len(factor))
    assert (np.abs(factor.mean(axis=0) - 1.0) < 4.0 * error).all()


def test_what_is_missed_again_and_again_is_mended():
    rng = np.random.default_rng(6)
    truth = np.array([0.6, 1.4, 1.0])
    expected = rng.uniform(800, 1200, size=(6, 3))
    seen = expected * truth * rng.normal(1.0, 0.05, size=(6, 3))
    found = lead_factors(expected, seen)
    assert np.abs(found - truth).max() < 4 * 0.05 * 1.4 / np.sqrt(6)


def test_what_is_missed_now_and_then_is_not():
    """A level that comes and goes: the plain ratio of the past makes the next cut worse."""
    rng, times = np.random.default_rng(7), 2000
    ours, naive, raw = [], [], []
    for _ in range(times):
        expected = np.full((7, 3), 1000.0)
        mood = np.exp(rng.normal(-0.045, 0.3, size=(7, 1)))  # mean 1
        seen = expected * mood * rng.normal(1.0, 0.05, size=(7, 3))
        past, last = slice(0, 6), 6
        for found, factors in (
            (ours, lead_factors(expected[past], seen[past])),
            (naive, seen[past].sum(axis=0) / expected[past].sum(axis=0)),
            (raw, np.ones(3)),
        ):
            found.append(((seen[last] - factors * expected[last]) ** 2).sum() / 1e6)
    worse = np.array(naive) - np.array(raw)
    assert worse.mean() > 3.0 * worse.std() / np.sqrt(times)
    # Ours pays at most a third of that for being able to learn.
    assert np.mean(ours) - np.mean(raw) < worse.mean() / 3


class Late(Known):
    """Says that more comes in the first week than does, and less in the later ones."""

    def predict(self, snapshot, *, horizons, level):
        right = super().predict(snapshot, horizons=horizons, level=level)
        wrong = right.share**0.6
        return Forecast(right.rows, right.horizons, wrong, wrong.copy(), right.days.copy())


def test_a_lasting_bias_by_lead_time_is_mended_in_the_flow():
    ledger, cut = memoryless(), "2024-01-01"
    model = CashFlowModel(Late, weeks=4, cuts=8, every="35D").fit(ledger, cut)
    truth, raw = (
        cash_flow(one(), Snapshot(ledger, cut), weeks=4).table["expected"] for one in (Known, Late)
    )
    mended = model.predict(Snapshot(ledger, cut)).table["expected"]
    assert model.shocks.factors[0] < 1.0
    assert (mended - truth).abs().sum() < 0.6 * (raw - truth).abs().sum()


# -- the books ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """Four claims as of 2026-03-01: one paid in parts, one credited, one on hold, one settled."""
    accounts = [person("A"), person("B", timezone="Europe/Berlin"), person("C")]
    invoices = [
        invoice("I1", "A", "2026-01-10", 100.0),
        invoice("I2", "A", "2026-02-10", 60.0),
        invoice("I3", "B", "2026-02-01", 200.0),
        invoice("I4", "C", "2026-01-05", 80.0),
        invoice("I5", "C", "2026-02-05", 500.0),
        invoice("I6", "A", "2026-03-05", 999.0),
        invoice("N1", "A", "2026-03-20", -60.0, kind="credit_note"),
    ]
    payments = [
        payment("P0", "A", "2026-02-20T12:00", 30.0, "I1"),
        payment("P1", "A", "2026-03-07T23:59", 20.0, "I1"),
        payment("P2", "A", "2026-03-08T00:00", 50.0, "I1"),
        payment("P3", "B", "2026-04-11T23:30", 200.0, "I3"),  # 01:30 on 12 April in Berlin
        payment("P4", "C", "2026-02-25T12:00", 80.0, "I4"),
        payment("P5", "C", "2026-03-10T12:00", 500.0, "I5"),
    ]
    holds = [{"account_id": "C", "kind": "dispute", "from_on": "2026-02-20", "invoice_id": "I5"}]
    return Ledger.from_frames(accounts=accounts, invoices=invoices, payments=payments, holds=holds)


def test_cash_by_hand(small):
    rows, amount, on_hold = claims_at(Snapshot(small, "2026-03-01"))
    assert dict(zip(rows.rows["invoice_id"].to_pylist(), amount, strict=True)) == {
        "I1": 70.0, "I2": 60.0, "I3": 200.0,
    }  # fmt: skip
    assert on_hold == 500.0
    came = cash_by_week(rows, 6, "2026-12-01")
    # The credit note of 60 and the claim on hold bring none. as_of is 01:00 in Berlin, and the
    # clock went forward: six weeks end at 01:00 there, 23:00 UTC.
    assert came.tolist() == [[20.0, 50.0, 0, 0, 0, 0], [0.0] * 6, [0.0] * 6]
    assert cash_by_week(rows, 7, "2026-12-01")[2].tolist() == [0.0] * 6 + [200.0]
    early = cash_by_week(rows, 3, "2026-03-15")
    assert early[0].tolist()[:2] == [20.0, 50.0]
    assert np.isnan(early[:, 2]).all()


def test_a_returned_payment_counts_below_zero(small):
    payments = [
        {**row, "paid_at": row["paid_at"].isoformat(), "amount": float(row["amount"])}
        for row in small.payments.to_pylist()
    ]
    payments.append(payment("P9", "A", "2026-03-16T12:00", -50.0, "I1"))
    given = {n: getattr(small, n) for n in ("accounts", "invoices", "holds")}
    rows, _, _ = claims_at(Snapshot(Ledger.from_frames(**given, payments=payments), "2026-03-01"))
    assert cash_by_week(rows, 3, "2026-12-01")[0].tolist() == [20.0, 50.0, -50.0]


def test_holds_on_an_account_count(small):
    given = {n: getattr(small, n) for n in ("accounts", "invoices", "payments")}
    holds = [{"account_id": "B", "kind": "insolvency", "from_on": "2026-02-20"}]
    ledger = Ledger.from_frames(**given, holds=holds)
    rows, _, on_hold = claims_at(Snapshot(ledger, "2026-03-01"))
    assert rows.rows["invoice_id"].to_pylist() == ["I1", "I2", "I5"]
    assert on_hold == 200.0


def test_everything_adds_up(small):
    flow = cash_flow(Known(), Snapshot(small, "2026-03-01"), weeks=5, rng=1)
    table = flow.table
    assert flow.currency == "EUR"
    assert (flow.open_total, flow.on_hold) == (330.0, 500.0)
    assert sum(flow.claims["open"].to_pylist()) == pytest.approx(flow.open_total)
    assert sum(flow.claims["expected"].to_pylist()) == pytest.approx(table["expected"].sum())
    assert table["cumulative_expected"].tolist() == pytest.approx(table["expected"].cumsum())
    assert table["expected"].sum() == pytest.approx(330.0 * (1 - np.exp(-35 / MEAN_DAYS)))
    assert table["from"].astype(str).tolist()[:2] == ["2026-03-01", "2026-03-08"]
    assert table["to"].astype(str).tolist()[0] == "2026-03-07"
    assert (table["cumulative_upper"] <= flow.open_total).all()
    for low, high in (("lower", "upper"), ("cumulative_lower", "cumulative_upper")):
        assert (table[low] <= table[high]).all()
    text = repr(flow)
    assert "330 EUR open within 5 weeks, 500 more on hold" in text
    assert "<table" in flow._repr_html_()
    one = cash_flow(Known(), Snapshot(small, "2026-03-01"), weeks=5, rng=1).table
    assert one.equals(table)


def test_a_picture_shows_what_came(small):
    flow = cash_flow(Known(), Snapshot(small, "2026-03-01"), weeks=4)
    figure = flow.plot(came=[20.0, 50.0, np.nan, np.nan])
    came = [
        line.get_ydata() for ax in figure.axes for line in ax.get_lines()
        if line.get_label() == "came"
    ]  # fmt: skip
    assert came[0][:2].tolist() == [20.0, 50.0]
    assert came[1][:2].tolist() == [20.0, 70.0]
    assert np.isnan(came[1][2:]).all()
    assert flow.plot().png().startswith(b"\x89PNG")


def test_bad_questions_are_refused(small):
    twice = pa.table({"account_id": ["A", "A"], "as_of": ["2026-03-01T00:00+00:00"] * 2, "invoice_id": ["I1", "I1"]})  # fmt: skip # noqa: E501
    times = pa.table({"account_id": ["A", "B"], "as_of": ["2026-03-01T00:00+00:00", "2026-03-02T00:00+00:00"]})  # fmt: skip # noqa: E501
    for frame, message in ((twice, "claims twice"), (times, "2 times")):
        with pytest.raises(InputError, match=message):
            cash_flow(Known(), Snapshot.from_rows(small, frame))
    with pytest.raises(InputError, match="weeks >= 1"):
        cash_flow(Known(), Snapshot(small, "2026-03-01"), weeks=0)
    mixed = Ledger.from_frames(
        accounts=[person("A"), person("B")],
        invoices=[
            invoice("I1", "A", "2026-01-10", 10.0), invoice("I2", "B", "2026-01-10", 10.0, "CHF"),
        ],
    )  # fmt: skip
    with pytest.raises(InputError, match="CHF, EUR"):
        cash_flow(Known(), Snapshot(mixed, "2026-03-01"))
    own = Snapshot(mixed, "2026-03-01").take(np.array([1]))
    assert cash_flow(Known(), own).currency == "CHF"


# -- the fitted class --------------------------------------------------------------------------


def fitted(ledger, cut, **how):
    return CashFlowModel(Known, weeks=4, every="28D", **how).fit(ledger, cut)


def test_learns_what_came_at_earlier_cuts():
    model = fitted(memoryless(), "2024-01-01", cuts=5)
    assert len(model.past) == 5 * 4
    assert (model.past["cut"] < np.datetime64("2023-12-04")).all()
    assert model.shocks.parts.shape == (5, 4)
    flow = model.predict(Snapshot(memoryless(), "2024-01-01"), rng=3)
    alone = cash_flow(Known(), Snapshot(memoryless(), "2024-01-01"), weeks=4, rng=3)
    expected = alone.table["expected"].to_numpy() * model.shocks.factors
    assert flow.table["expected"].to_numpy() == pytest.approx(expected)


def test_the_future_changes_nothing():
    ledger, cut = memoryless(), "2024-01-01"
    limit = np.datetime64(cut)
    invoices = [i for i in ledger.invoices.to_pylist() if np.datetime64(i["issued_on"]) < limit]
    names = {i["invoice_id"] for i in invoices}
    payments = [
        p for p in ledger.payments.to_pylist()
        if p["invoice_id"] in names and np.datetime64(p["paid_at"].replace(tzinfo=None)) < limit
    ]  # fmt: skip
    other = Ledger.from_frames(accounts=ledger.accounts, invoices=invoices, payments=payments)
    first, second = (fitted(one, cut).predict(Snapshot(one, cut)).table for one in (ledger, other))
    assert first.equals(second)


def test_too_short_a_book_is_refused(small):
    with pytest.raises(InputError, match="two or more"):
        CashFlowModel(Known, weeks=4).fit(small, "2026-03-01")
    with pytest.raises(NotFittedError):
        CashFlowModel(Known).predict(Snapshot(small, "2026-03-01"))


def test_works_with_the_payment_model():
    def maker():
        quick = HazardOptions(rounds=15, rate=0.2)
        return PaymentModel(levels=("invoice",), max_rows=1200, options=quick)

    ledger, cut = memoryless(), "2024-01-01"
    model = CashFlowModel(maker, weeks=4, cuts=2, every="91D").fit(ledger, cut)
    flow = model.predict(Snapshot(ledger, cut))
    truth = cash_flow(Known(), Snapshot(ledger, cut), weeks=4).table["expected"].sum()
    assert flow.table["expected"].sum() == pytest.approx(truth, rel=0.25)
