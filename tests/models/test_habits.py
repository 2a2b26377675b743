"""Habits of accounts: known truth, plain loops and integrals, the trial, and the future."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from dataclasses import replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from collectopt.features import compute
from collectopt.features.lateness import settled_spells
from collectopt.features.words import HABITS
from collectopt.models import PaymentModel, account_habits, habits, reasons
from collectopt.models import payment as payment_model
from collectopt.models.account_habits import HabitHazard, Habits
from collectopt.models.boosting import expit
from collectopt.models.habits import Claims, Effects, Parameters, estimate
from collectopt.models.hazard import HazardModel
from collectopt.models.labels import Durations, Level, due_offsets
from collectopt.models.options import HazardOptions
from collectopt.models.past_claims import MEMORY
from collectopt.models.payment import _local_days
from collectopt.models.periods import Grid
from collectopt.schema.snapshot import Snapshot
from collectopt.simulation import Book

from .late_books import DAY, asked, bill, ledger_of, payment, people, with_notes, with_returns

START = dt.date(2021, 10, 1)
CUT = "2023-10-01"
ACCOUNTS, CLAIMS = 60, 24
TRUTH = Parameters(
    level=-4.0, between=6.0, noise=4.0, delay=15.0, held_noise=6.0, odds=-1.5, odds_between=1.2,
    stuck=-4.0, stuck_days=80.0, slopes=np.array([-3.0]), odds_slopes=np.array([0.5]),
)  # fmt: skip
QUICK = HazardOptions(rounds=60, rate=0.05)
EFFECTS = Effects.lay()


class Drawn(NamedTuple):
    """Claims drawn from the truth: account, piece, days past due, centre, chance of a hold-up."""

    group: np.ndarray
    z: np.ndarray
    late: np.ndarray
    centre: np.ndarray
    chance: np.ndarray

    def still_open(self, days):
        """The true chance that each claim is open so many days past due."""
        days = days + 0.5
        own = norm.sf(days, self.centre, TRUTH.noise)
        held = norm.sf(days, self.centre + TRUTH.delay, TRUTH.held_noise)
        share = expit(np.array(TRUTH.stuck))
        stuck = np.exp(-max(days, 0.0) / TRUTH.stuck_days)
        return (1.0 - share) * ((1.0 - self.chance) * own + self.chance * held) + share * stuck


def drawn(rng, n, claims):
    group = np.repeat(np.arange(n), claims)
    z = np.where(rng.random(len(group)) < rng.random(n)[group], 1.0, -1.0)
    centre = TRUTH.level + TRUTH.between * rng.normal(size=n)[group] + TRUTH.slopes[0] * z
    odds = TRUTH.odds + TRUTH.odds_between * rng.normal(size=n)[group] + TRUTH.odds_slopes[0] * z
    held = rng.random(len(group)) < expit(odds)
    late = centre + np.where(held, TRUTH.delay, 0.0)
    late += rng.normal(size=len(group)) * np.where(held, TRUTH.held_noise, TRUTH.noise)
    stuck = rng.random(len(group)) < expit(np.array(TRUTH.stuck))
    late = np.where(stuck, rng.exponential(TRUTH.stuck_days, len(group)), late)
    return Drawn(group, z, np.round(late), centre, expit(odds))


def make_book(seed, *, n=ACCOUNTS, claims=CLAIMS, days=None, zone="Europe/Berlin"):
    """Tables of a book whose claims come in by the truth, or after ``days`` of them."""
    rng = np.random.default_rng(seed)
    true = drawn(rng, n, claims)
    invoices, payments = [], []
    for i, a in enumerate(true.group.tolist()):
        k = i % claims
        key = f"A{a:03d}-{k:02d}"
        issued = START + dt.timedelta(days=int(36 * k + rng.integers(0, 30)))
        due = issued + 40 * DAY
        wait = true.late[i] if days is None else days(rng, a)
        paid = due + dt.timedelta(days=int(np.clip(wait, -38, 300)))
        amount = float(rng.integers(20, 500))
        invoices.append(bill(key, issued, due, amount, float(true.z[i])))
        payments.append(payment(key, paid, amount, zone))
    return people(n), invoices, payments


@pytest.fixture(scope="module")
def tables():
    return make_book(1)


@pytest.fixture(scope="module")
def ledger(tables):
    return ledger_of(*tables)


@pytest.fixture(scope="module")
def fitted(ledger):
    return Habits.fit(ledger, CUT, years=4.0)


@pytest.fixture(scope="module")
def models(ledger):
    """With habits and without."""
    return [
        PaymentModel(
            levels=("invoice",), options=HazardOptions(rounds=60, rate=0.05, habits=wish)
        ).fit(ledger, as_of=CUT)
        for wish in (True, False)
    ]


# -- the mixture ---------------------------------------------------------------------------------


def some_claims(seed=0, n=30):
    rng = np.random.default_rng(seed)
    group = np.sort(np.unique(rng.integers(0, 6, n), return_inverse=True)[1])
    late, paid = rng.normal(0.0, 12.0, n).round(), rng.random(n) < 0.7
    return Claims(rng.normal(size=(n, 2)), late, paid, group)


def other_parameters(seed):
    rng = np.random.default_rng(seed)
    flat = habits._pack(habits._starts(some_claims())[0])
    return habits._unpack(flat + 0.3 * rng.normal(size=len(flat)))


def log_likelihood_of_an_account(p, claims):
    """Each claim by the definition; both effects summed out on a fine grid."""
    a = u = np.linspace(-6.0, 6.0, 801)
    density = np.outer(norm.pdf(a), norm.pdf(u))
    for z, late, paid in zip(claims.Z, claims.late, claims.paid, strict=True):
        density *= chance_of(p, z, late, paid, a, u)
    return np.log(np.trapezoid(np.trapezoid(density, u, axis=1), a))


def test_the_likelihood_is_the_integral_over_both_effects():
    claims = some_claims(n=4)
    one = claims._replace(group=np.zeros(4, dtype=np.int64))
    p = other_parameters(3)
    found = habits._penalty(p)[0] - habits._loss(p, one, EFFECTS)[0]
    # seven points of a hold-up's chance, and masses that end at 2.5 and 3.2 standard deviations
    assert found == pytest.approx(log_likelihood_of_an_account(p, one), abs=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slopes_are_those_of_finite_differences(seed):
    claims, p = some_claims(seed), other_parameters(seed)
    flat = habits._pack(p)
    by_steps = approx_fprime(
        flat, lambda x: habits._loss(habits._unpack(x), claims, EFFECTS)[0], 1e-6
    )
    np.testing.assert_allclose(habits._loss(p, claims, EFFECTS)[1], by_steps, rtol=1e-3, atol=1e-3)


def test_the_truth_is_found():
    """Estimates of a dozen books lie around the truth as their own spread says."""
    rng = np.random.default_rng(5)
    names = ["level", "between", "noise", "delay", "held_noise", "odds"]
    found = []
    for _ in range(12):
        group, z, late, *_ = drawn(rng, 50, 16)
        over = rng.random(len(late)) < 0.1  # open still: seen up to a while before they come
        seen = np.where(over, late - rng.integers(1, 20, len(late)), late)
        p = estimate(Claims(z[:, None], seen, ~over, group))
        found.append([*(getattr(p, name) for name in names), p.slopes[0], p.odds_slopes[0]])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    truth = np.array(
        [*(getattr(TRUTH, name) for name in names), TRUTH.slopes[0], TRUTH.odds_slopes[0]]
    )
    # Likelihood takes 1 part of 50 from a variance between accounts, 1 of 100 from its root; the
    # priors pull by less than the error.
    truth[1] *= 0.99
    assert (np.abs(mean - truth) < 3.5 * error).all(), (mean, truth, error)
    assert (error < [0.6, 0.4, 0.15, 0.8, 0.5, 0.2, 0.2, 0.2]).all()


def test_payments_on_the_very_day_do_not_break_the_search():
    """All on one day: a spread of nothing would be infinitely likely."""
    group = np.repeat(np.arange(20), 20)
    claims = Claims(np.zeros((400, 0)), np.zeros(400), np.ones(400, dtype=bool), group)
    assert estimate(claims).noise >= 0.5


def test_accounts_with_little_noise_are_told_apart():
    """More than two standard deviations lie between two of the points that do for others."""
    rng = np.random.default_rng(4)
    own, group = rng.normal(0.0, 15.0, 30), np.repeat(np.arange(30), 12)
    claims = Claims(
        np.zeros((360, 0)),
        (own[group] + rng.normal(0.0, 1.0, 360)).round(),
        np.ones(360, dtype=bool),
        group,
    )
    p = estimate(claims)

    def centres(effects):
        log = np.log(habits.likelihoods(p, claims, effects).whole)
        mass = effects.mass + np.add.reduceat(log, np.arange(0, 360, 12), axis=0)
        mass = np.exp(mass - mass.max(axis=(1, 2), keepdims=True)).sum(axis=2)
        return (mass * (p.level + p.between * effects.a)).sum(axis=1) / mass.sum(axis=1)

    exact = centres(Effects.lay(1001))
    fine, coarse = (np.abs(centres(e) - exact).max() for e in (Effects.fine(p), EFFECTS))
    assert fine < 0.2  # days
    assert coarse > 0.5
    # nearly all that accounts differ by is seen
    assert np.corrcoef(exact, own)[0, 1] > 0.999


def test_a_few_accounts_that_always_pay_very_late_are_no_stuck_claims():
    rng = np.random.default_rng(0)
    own = np.r_[rng.normal(0.0, 3.0, 76), np.full(4, 60.0)]
    group = np.repeat(np.arange(80), 10)
    late = (own[group] + rng.normal(0.0, 4.0, 800)).round()
    found = estimate(Claims(np.zeros((800, 0)), late, np.ones(800, dtype=bool), group))
    assert found.between > 8.0
    assert expit(np.array(found.stuck)) < 0.01


# -- what accounts have shown ----------------------------------------------------------------------


def test_habits_are_those_of_a_plain_loop():
    """Returned payments, credit notes, claims that are too old, and open ones; at any hour, and at
    the very time of a payment, which is not known then."""
    accounts, invoices, payments = make_book(5, n=16, claims=34)
    rng = np.random.default_rng(0)
    payments = with_returns(payments, rng)
    ledger = ledger_of(accounts, with_notes(invoices, rng), payments)
    fitted = Habits.fit(ledger, "2024-10-01", years=4.0)
    rows = []
    for i in invoices[::6]:
        day, hour = i["issued_on"] + int(rng.integers(60)) * DAY, rng.integers(24)
        names = {key: i[key] for key in ("account_id", "invoice_id")}
        rows.append({**names, "as_of": f"{day}T{hour:02d}:30:00Z"})
    ties = [
        {"account_id": i["account_id"], "invoice_id": i["invoice_id"], "as_of": p["paid_at"]}
        for i in invoices[::9]
        for p in payments
        if p["account_id"] == i["account_id"] and p["invoice_id"] != i["invoice_id"]
        and 0 < (dt.date.fromisoformat(p["paid_at"][:10]) - i["issued_on"]).days < 20
    ]  # fmt: skip
    snapshot = Snapshot.from_rows(ledger, rows + ties)
    found = fitted.past(ledger).of(snapshot)
    p, claims = fitted.parameters, ledger.timeline.claims
    Z = dict(zip(claims["invoice_id"].to_pylist(), fitted.columns.of(claims), strict=True))
    name = dict(zip(claims["invoice"].to_pylist(), claims["invoice_id"].to_pylist(), strict=True))
    spells = [s for s in settled_spells(ledger).to_pylist() if s["cash"]]
    seen = snapshot.claims.to_pylist()
    forgotten = others = tied = 0
    for k, row in enumerate(snapshot.rows.to_pylist()):
        t = int(row["as_of"].timestamp() * 1e6)
        mass = np.exp(EFFECTS.mass)
        for s in (s for s in spells if s["acc"] == row["account"]):
            tied += s["known"] == t
            if s["known"] < t and (s["reopened"] is None or s["reopened"] >= t):
                if s["known"] + MEMORY * 86_400_000_000 < t:
                    forgotten += 1
                else:
                    mass *= chance_of(p, Z[name[s["inv"]]], s["late"], True)
                    mass /= mass.sum()
        for c in seen:
            if c["row"] == k and not c["subject"]:
                others += 1
                mass *= chance_of(p, Z[c["invoice_id"]], c["dpd"] - 0.5, False)
                mass /= mass.sum()
        np.testing.assert_allclose(found[k], summed_up(p, Z[row["invoice_id"]], mass), atol=2e-4)
    assert min(forgotten, others) > 20
    assert tied > 5


def chance_of(p, z, late, paid, a=EFFECTS.a, u=EFFECTS.u):
    """Likelihood of one claim at each point of the effects."""
    centre = p.level + z @ p.slopes + p.between * a
    q = expit(p.odds + z @ p.odds_slopes + p.odds_between * u)
    own, held = (
        norm.pdf(late, c, s) if paid else norm.sf(late, c, s)
        for c, s in ((centre, p.noise), (centre + p.delay, p.held_noise))
    )
    stuck = np.exp(-max(late, 0.0) / p.stuck_days)
    stuck = (stuck / p.stuck_days if late >= 0.0 else 0.0) if paid else stuck
    share = expit(np.array(p.stuck))
    return (1.0 - share) * (np.outer(own, 1.0 - q) + np.outer(held, q)) + share * stuck


def summed_up(p, z, mass):
    centre = p.level + z @ p.slopes + p.between * EFFECTS.a
    q = expit(p.odds + z @ p.odds_slopes + p.odds_between * EFFECTS.u)
    out = []
    for share in ((mass * (1.0 - q)).sum(axis=1), (mass * q).sum(axis=1)):
        mean = np.average(centre, weights=share)
        out += [mean, np.sqrt(np.average((centre - mean) ** 2, weights=share))]
    usual, usual_sd, held, held_sd = out
    return [usual, usual_sd, (mass * q).sum() / mass.sum(), held + p.delay, held_sd]


def test_claims_are_known_as_far_as_seen():
    """Paid, open, not due yet, credited, returned, paid late beyond all, issued later, too old."""
    day = dt.date.fromisoformat
    told = {  # issued, due, paid
        "A-paid": ("2024-01-01", "2024-02-01", "2024-02-04"),
        "A-open": ("2024-02-01", "2024-02-20", "2024-03-20"),
        "A-young": ("2024-02-20", "2024-08-01", "2024-07-30"),
        "A-credited": ("2024-01-01", "2024-02-01", None),
        "A-returned": ("2024-01-01", "2024-02-01", "2024-02-02"),
        "A-beyond": ("2022-01-01", "2022-02-01", "2023-06-01"),
        "A-later": ("2024-03-05", "2024-04-01", "2024-04-01"),
        "A-old": ("2019-01-01", "2019-02-01", "2019-02-01"),
    }
    invoices = [bill(k, day(a), day(b), 10.0, 1.0) for k, (a, b, _) in told.items()]
    payments = [payment(k, day(c), 10.0) for k, (*_, c) in told.items() if c]
    back = {**payment("A-returned", day("2024-02-20"), -10.0), "payment_id": "back"}
    note = {**invoices[3], "invoice_id": "A-note", "kind": "credit_note", "amount": -10.0}
    ledger = ledger_of(
        [{"account_id": "A", "customer_type": "business", "country": "DE"}],
        [{**i, "kind": "invoice"} for i in invoices] + [note],
        [*payments, back],
    )
    found = account_habits._Known.at(ledger, "2024-03-01", 4.0)
    names = ledger.timeline.claims["invoice_id"].to_pylist()
    known = dict(
        zip([names[k] for k in found.claim], zip(found.late, found.paid, strict=True), strict=True)
    )
    # seen open through 29 February: nine days past due
    assert known == {
        "A-paid": (3.0, True), "A-open": (9.5, False), "A-young": (-153.5, False),
        "A-returned": (28.5, False), "A-beyond": (365.0, False),
    }  # fmt: skip


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_days_are_those_of_the_clock_on_the_wall(ledger, fitted, zone):
    there = ledger_of(*make_book(1, zone=zone), timezone=zone)
    assert str(Habits.fit(there, CUT, years=4.0).to_json()) == str(fitted.to_json())
    for wait in (0, 45):
        mine, other = (fitted.past(book).of(asked(book, CUT, wait)) for book in (ledger, there))
        np.testing.assert_array_equal(mine, other)


def test_what_comes_later_changes_nothing(tables):
    accounts, invoices, payments = tables
    before = [i for i in invoices if i["issued_on"].isoformat() < CUT]
    names = {i["invoice_id"] for i in before}
    cut = dt.datetime.fromisoformat(CUT + "T00:00:00+02:00")
    paid = [p for p in payments if dt.datetime.fromisoformat(p["paid_at"]) < cut]
    other = [{**i, "amount": 7.0} for i in invoices if i["invoice_id"] not in names]
    books = [
        ledger_of(*tables), ledger_of(accounts, before + other, paid),
        ledger_of(accounts, before, paid),
    ]  # fmt: skip
    rows = asked(books[2], "2023-05").rows.select(["account_id", "as_of", "invoice_id"])
    fits = [Habits.fit(ledger, CUT, years=4.0) for ledger in books]
    told = [
        fit.past(ledger).of(Snapshot.from_rows(ledger, rows.to_pylist()))
        for fit, ledger in zip(fits, books, strict=True)
    ]
    proofs = [
        PaymentModel(levels=("invoice",), options=QUICK).training(ledger, CUT, Level.INVOICE).habits
        for ledger in books
    ]
    for fit, value, proof in zip(fits, told, proofs, strict=True):
        assert str(fit.to_json()) == str(fits[2].to_json())  # nan, too
        assert str(proof.to_json()) == str(fits[2].to_json())
        np.testing.assert_array_equal(value, told[2])


def test_rows_are_worked_out_alone_and_in_their_order(tables, ledger, fitted, monkeypatch):
    """Nor does it matter which other accounts there are, or how the work is cut."""
    snapshot = asked(ledger, CUT, wait=9)
    whole = fitted.past(ledger).of(snapshot)
    assert not np.isnan(whole).any()
    order = np.random.default_rng(0).permutation(len(snapshot))[:50]
    few = ledger_of(*([row for row in rows if row["account_id"] < "A020"] for rows in tables))
    mine = np.array(snapshot.rows["account_id"].to_pylist()) < "A020"
    for block in (10_000, 40):
        monkeypatch.setattr(account_habits, "_BLOCK", block)
        past = fitted.past(ledger)
        np.testing.assert_array_equal(past.of(snapshot), whole)
        np.testing.assert_array_equal(past.of(snapshot.take(order)), whole[order])
        np.testing.assert_array_equal(fitted.past(few).of(asked(few, CUT, wait=9)), whole[mine])
    nameless = Snapshot.from_rows(ledger, [{"account_id": "A001", "as_of": CUT}])
    assert np.isnan(fitted.past(ledger).of(nameless)).all()


def test_claims_of_one_day_do_not_know_each_other_yet(tables, fitted):
    accounts, invoices, payments = tables
    last = [i for i in invoices if i["invoice_id"].endswith("23")]
    twins = [
        {**i, "invoice_id": i["invoice_id"] + "B", "due_on": i["due_on"] - 30 * DAY} for i in last
    ]
    ledger = ledger_of(accounts, invoices + twins, payments)
    snapshot = asked(ledger, str(min(i["issued_on"] for i in last)))
    past = fitted.past(ledger)
    together = past.of(snapshot)
    alone = np.vstack([past.of(snapshot.take(np.array([k]))) for k in range(len(snapshot))])
    np.testing.assert_array_equal(together, alone)
    later = asked(ledger, str(min(i["issued_on"] for i in last)), wait=35)
    bare = asked(ledger_of(*tables), str(min(i["issued_on"] for i in last)), wait=35)
    seen, other = past.of(later), fitted.past(bare.ledger).of(bare)
    named = later.rows["invoice_id"].to_pylist()
    mine = [named.index(key) for key in bare.rows["invoice_id"].to_pylist()]
    both = [named[k] + "B" in named for k in mine]
    assert (seen[mine][both, 0] != other[both, 0]).all()


# -- the hazard of habits --------------------------------------------------------------------------


def test_bins_add_up_to_the_chances_of_the_mixture(ledger, fitted, models):
    """Day by day, given that nothing came until now."""
    grid = models[0]._head("invoice").hazard.grid_
    snapshot = asked(ledger, CUT, wait=25).take(np.arange(40))
    H, due = fitted.past(ledger).of(snapshot), due_offsets(snapshot)
    periods = grid.lay(np.full(40, 60.0), due)
    hazard = expit(HabitHazard(fitted.parameters, grid).odds(H, periods, offset=due, start=None)[0])
    p = fitted.parameters
    share = expit(np.array(p.stuck))
    checked = 0
    for i in range(40):
        mine = periods.row == i
        left = np.cumprod(1.0 - hazard[mine])
        usual, usual_sd, chance, late, late_sd = H[i]

        def still(t, due=due[i], H=(usual, usual_sd, chance, late, late_sd)):
            days = t - due + 0.5
            own = norm.sf(days, H[0], np.hypot(p.noise, H[1]))
            held = norm.sf(days, H[3], np.hypot(p.held_noise, H[4]))
            mixed = (1.0 - H[2]) * own + H[2] * held
            return (1.0 - share) * mixed + share * np.exp(-max(days, 0.0) / p.stuck_days)

        for t, value in zip(periods.hi[mine], left, strict=True):
            if (hazard[mine] < 0.999).all():  # bins that are surer than that are held back
                assert value == pytest.approx(still(t) / still(0.0), abs=2e-3)
                checked += 1
    assert checked > 300


def test_claims_very_long_past_due_are_stuck_not_lost():
    """Where no centre reaches, the rate is that of stuck claims, however far out."""
    grid = Grid(np.r_[0.0, np.arange(1.0, 40.0)], np.zeros(0))
    p = TRUTH._replace(stuck_days=20.0)
    late = np.array([200.0, 800.0, 1500.0])
    periods = grid.lay(np.full(3, 30.0), -late)
    H = np.tile([5.0, 2.0, 0.3, 20.0, 3.0], (3, 1))
    odds = HabitHazard(p, grid).odds(H, periods, offset=-late, start=None)[0]
    np.testing.assert_allclose(expit(odds), -np.expm1(-1.0 / 20.0), rtol=1e-6)


def test_columns_add_what_they_change_in_both_orders(ledger, fitted, models):
    snapshot = asked(ledger, CUT).take(np.arange(20))
    grid, due = models[0]._head("invoice").hazard.grid_, due_offsets(snapshot)
    H = fitted.past(ledger).of(snapshot).astype(np.float32)
    habit = HabitHazard(fitted.parameters, grid)
    periods, base, added = habit.contributions(H, offset=due, start=None, reach=50.0)

    def odds(centre, chance):
        own = np.tile(habit._average, (20, 1))
        if centre:
            own[:, [0, 1, 3, 4]] = H[:, [0, 1, 3, 4]]
        if chance:
            own[:, 2] = H[:, 2]
        return habit.odds(own, periods, offset=due, start=None)[0]

    alone, last = odds(True, False) - odds(False, False), odds(True, True) - odds(False, True)
    np.testing.assert_allclose(base, odds(False, False))
    np.testing.assert_allclose(added[:, 0], (alone + last) / 2.0, atol=1e-12)
    np.testing.assert_allclose(base + added.sum(axis=1), odds(True, True), atol=1e-9)
    assert (added[:, [1, 3, 4]] == 0.0).all()


def excess(snapshot, p, days):
    """What forecasts of "open still" lose against the truth, expected log-loss by account."""
    named = snapshot.rows["invoice_id"].to_pylist()
    place = [int(key[1:4]) * CLAIMS + int(key[5:]) for key in named]
    true = drawn(np.random.default_rng(1), ACCOUNTS, CLAIMS).still_open(days)[place]
    loss = -true * np.log(p / true) - (1.0 - true) * np.log((1.0 - p) / (1.0 - true))
    return np.bincount(snapshot.rows["account"].to_numpy(), loss)


def beats(mine, other):
    """Whether the sum over accounts is smaller by more than two standard errors."""
    gain = other - mine
    return gain.sum() > 2.0 * np.sqrt(((gain - gain.mean()) ** 2).sum())


def test_forecasts_by_habits_are_near_the_truth(ledger, fitted, models):
    """Nearer than the account's own rate; a mixture that knows accounts apart, but no hold-ups of
    their own, or one centre for all, is further off."""
    snapshot = asked(ledger, CUT)
    due, start = due_offsets(snapshot), _local_days(snapshot)
    grid = models[0]._head("invoice").hazard.grid_
    periods = grid.lay(np.full(len(due), 120.0), due)
    p = fitted.parameters
    alike = p._replace(odds_between=0.05), p._replace(between=0.05)
    for days in (0.0, 10.0):
        before = periods.hi <= (due + days)[periods.row] + 1e-9
        lost = []
        for wish in (p, *alike):
            H = Habits(fitted.columns, wish).past(ledger).of(snapshot)
            odds = HabitHazard(wish, grid).odds(H, periods, offset=due, start=start)[0]
            logs = np.log1p(-expit(odds[before]))
            open_ = np.exp(np.bincount(periods.row[before], logs, minlength=len(due)))
            lost.append(excess(snapshot, np.clip(open_, 1e-4, 1.0 - 1e-4), days))
        naive = excess(snapshot, naive_rate(ledger, snapshot, days), days)
        assert all(beats(lost[0], other) for other in (*lost[1:], naive))


def naive_rate(ledger, snapshot, days):
    """The account's share of late claims, shrunk by five claims of the mean."""
    paid = {r["invoice_id"]: r["paid_at"] for r in ledger.payments.to_pylist()}
    bills = ledger.invoices.to_pylist()
    late = {
        i["invoice_id"]: (paid[i["invoice_id"]].date() - i["due_on"]).days > days for i in bills
    }
    cut = dt.datetime.fromisoformat(CUT + "T00:00:00+02:00")
    known = [i for i in bills if paid[i["invoice_id"]] < cut]
    base = np.mean([late[i["invoice_id"]] for i in known])
    out = []
    for row in snapshot.rows.to_pylist():
        own = [
            late[i["invoice_id"]] for i in known
            if i["account_id"] == row["account_id"] and paid[i["invoice_id"]] < row["as_of"]
        ]  # fmt: skip
        out.append((sum(own) + 5.0 * base) / (len(own) + 5.0))
    return np.array(out)


# -- inside a payment model ------------------------------------------------------------------------


def test_claims_are_forecast_better_with_habits(ledger, models):
    """Where accounts have habits, and claims are held up."""
    snapshot = asked(ledger, CUT)
    assert models[0]._head("invoice").habits is not None
    assert models[1]._head("invoice").habits is None
    horizons = {"due+0D": 0.0, "due+10D": 10.0}
    lost = []
    for model in models:
        p = model.predict(snapshot, horizons=list(horizons), level="invoice", quantiles=()).p_paid
        lost.append([excess(snapshot, 1.0 - p[:, k], d) for k, d in enumerate(horizons.values())])
    for with_, without in zip(*lost, strict=True):
        assert beats(with_, without)


def on_the_day(rng, account):
    """Direct debit: on the due day, and now and then weeks later."""
    return 0 if rng.random() < 0.85 else 7 * int(rng.integers(1, 6))


@pytest.mark.parametrize(
    ("tables_", "changed"),
    [
        (lambda: make_book(2, days=on_the_day), {}),
        (lambda: make_book(2, n=8), {}),
        (lambda: make_book(1), {"event": "any"}),
        (lambda: make_book(1), {"features": ["late_mean", "claim_amount", "late_last"]}),
        (lambda: make_book(1), {"options": HazardOptions(rounds=60, rate=0.05, habits=False)}),
    ],
    ids=["direct debit", "few claims", "any payment", "chosen features", "switched off"],
)
def test_habits_stay_out(tables_, changed):
    model = PaymentModel(**{"levels": ("invoice",), "options": QUICK} | changed)
    ledger = ledger_of(*tables_())
    assert model.fit(ledger, as_of=CUT)._head("invoice").habits is None
    found = model.predict(asked(ledger, CUT).take(np.arange(5)), level="invoice")
    assert ((found.p_paid >= 0.0) & (found.p_paid <= 1.0)).all()


def test_habits_that_are_learnt_may_mislead():
    """It takes the trial to keep them out of a book on direct debit."""
    ledger = ledger_of(*make_book(2, days=on_the_day))
    assert Habits.fit(ledger, CUT, years=4.0) is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shop", "subscription", "utility", "b2b", "telco"])
def test_simulated_books_do_without(kind):
    """There many pay by direct debit, on a payday or after a reminder: habits would do harm."""
    for seed in (10, 11):
        book = Book(kind, accounts=150, seed=seed)
        cut = book.as_of - dt.timedelta(weeks=26)
        model = PaymentModel(levels=("invoice",), options=QUICK)
        assert model.training(book.ledger(), cut, Level.INVOICE).habits is None


def test_large_data_do_without(ledger, monkeypatch):
    monkeypatch.setattr(payment_model, "LARGE", 500)
    model = PaymentModel(levels=("invoice",), options=QUICK)
    assert model.training(ledger, CUT, Level.INVOICE).habits is None


def test_who_learns_may_leave_them_out(ledger):
    prepared = PaymentModel(levels=("invoice",), options=QUICK).training(ledger, CUT, Level.INVOICE)
    assert prepared.habits is not None
    off = PaymentModel(levels=("invoice",), options=replace(QUICK, habits=False))
    assert off.learn({Level.INVOICE: prepared})._head("invoice").habits is None


def test_the_trial_looks_at_nothing_beyond_its_moment(ledger, monkeypatch):
    """Both sides learn from what was known three quarters of the way."""
    cuts, ends = [], []
    fit_habits, fit_hazard = Habits.fit.__func__, HazardModel.fit

    def habits_(cls, book, cut, *, years):
        cuts.append(cut)
        return fit_habits(cls, book, cut, years=years)

    def hazard_(self, X, days, event, **more):
        ends.append((more["start"] + np.ceil(days).astype("timedelta64[D]")).max())
        return fit_hazard(self, X, days, event, **more)

    monkeypatch.setattr(Habits, "fit", classmethod(habits_))
    monkeypatch.setattr(HazardModel, "fit", hazard_)
    PaymentModel(levels=("invoice",), options=QUICK).training(ledger, CUT, Level.INVOICE)
    moment, last = cuts
    assert last == CUT
    assert moment.isoformat() < CUT
    assert ends == [np.datetime64(moment.astimezone(ZoneInfo("Europe/Berlin")).date())]


def test_accounts_are_forecast_as_before(ledger):
    model = PaymentModel(levels=("account",), options=QUICK)
    assert model.training(ledger, CUT, Level.ACCOUNT).habits is None


def test_horizons_and_intervals_stay_in_order(ledger, models):
    snapshot = asked(ledger, CUT, wait=30)
    horizons = [f"{d}D" for d in (5, 10, 20, 30, 60, 90, 180, 365)]
    found = models[0].predict(snapshot, horizons=horizons, level="invoice")
    assert (np.diff(found.p_paid, axis=1) >= 0.0).all()
    assert (found.days[:, 0] <= found.days[:, 1]).all()
    assert (found.days[:, 1] <= found.days[:, 2]).all()


def test_reasons_add_up_and_name_them(ledger, models):
    snapshot = asked(ledger, CUT).take(np.arange(60))
    found = reasons(models[0], snapshot, "due+0D", level="invoice", top=30)
    assert found.names[-6:-1] == HABITS
    p = models[0].predict(snapshot, horizons=("due+0D",), level="invoice").p_paid[:, 0]
    np.testing.assert_allclose(expit(found.base + found.values.sum(axis=1)), p, atol=1e-9)
    place = [found.names.index(name) for name in HABITS]
    moved = (found.values[:, place] != 0.0).all(axis=0)
    assert moved[[0, 2]].all()
    said = found.to_pandas()
    texts = said.loc[said["feature"].isin(HABITS), "text"]
    assert texts.str.contains("holds them up|held up|hold-up").all()
    assert set(said.loc[said["feature"].isin(HABITS), "topic"]) <= {"lateness", "hold-ups"}
    assert (said["feature"] == "held_up_chance").any()


def test_it_is_kept_in_the_folder(ledger, models, tmp_path):
    snapshot = asked(ledger, CUT, wait=3)
    models[0].save(tmp_path)
    again = PaymentModel.load(tmp_path)
    wanted, got = (m.predict(snapshot, level="invoice") for m in (models[0], again))
    np.testing.assert_array_equal(got.p_paid, wanted.p_paid)
    np.testing.assert_array_equal(got.days, wanted.days)
    # a folder of before knows nothing of habits
    content = json.loads((tmp_path / "payment.json").read_text())
    del content["heads"]["invoice"]["habits"], content["options"]["habits"]
    (tmp_path / "payment.json").write_text(json.dumps(content))
    assert PaymentModel.load(tmp_path)._head("invoice").habits is None


def test_the_likelihood_of_a_curve_is_a_distribution(ledger, models):
    """Over all bins, and what lies beyond, the chances are 1; what was open is what is left."""
    snapshot = asked(ledger, CUT).take(np.arange(30))
    head = models[1]._head("invoice")
    names, categories = models[1].inputs("invoice")
    X = np.asarray(compute(snapshot, names, categories).values)
    due, start = due_offsets(snapshot), _local_days(snapshot)
    if head.expected is not None:
        X = np.column_stack([X, head.expected.past(ledger).of(snapshot)]).astype(np.float32)
    curve = head.hazard.predict_curve(X, offset=due, start=start)
    yes, no = np.ones(30, dtype=bool), np.zeros(30, dtype=bool)
    total = np.zeros(30)
    for i in range(30):
        edges = np.unique(curve.edge[i])
        for low, high in itertools.pairwise(edges):
            seen = Durations(np.full(30, 0.5 * (low + high)), yes)
            total[i] += np.exp(curve.log_likelihood(seen)[i])
    last = Durations(curve.edge.max(axis=1), no)
    np.testing.assert_allclose(total + np.exp(curve.log_likelihood(last)), 1.0, atol=1e-6)
    half = curve.log_likelihood(Durations(np.full(30, 20.0), no))
    np.testing.assert_allclose(np.exp(half), 1.0 - curve.before(np.array([20.0]))[:, 0], atol=1e-12)
