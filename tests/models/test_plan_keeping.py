"""Plans kept and accepted: simulated truth, small books by hand, and nothing of the future."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from scipy.special import expit, logit

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import Payer, PlanModel
from collectopt.models.plan_history import MONTH, trials
from collectopt.schema import Ledger
from collectopt.schema.times import to_instant

CUT = "2027-06-01"


def noon(day):
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


class Maker:
    """Write a ledger row by row."""

    def __init__(self):
        self.accounts, self.invoices, self.payments = [], [], []
        self.contacts, self.responses, self.holds = [], [], []

    def account(self, a, customer_type="consumer"):
        self.accounts.append({"account_id": a, "customer_type": customer_type, "country": "DE"})

    def invoice(self, a, issued, amount):
        number = f"I{len(self.invoices):06d}"
        self.invoices.append(
            {"invoice_id": number, "account_id": a, "issued_on": issued,
             "due_on": issued + timedelta(days=14), "amount": amount, "currency": "EUR"}
        )  # fmt: skip
        return number

    def pay(self, a, day, amount, invoice=None):
        number = f"P{len(self.payments):06d}"
        self.payments.append({"payment_id": number, "account_id": a, "paid_at": noon(day),
                              "amount": amount, "invoice_id": invoice})  # fmt: skip

    def bills(self, a, until, amount, months=6, day=5):
        """Monthly bills paid at once, on one day of the month."""
        for k in range(1, months + 1):
            month = until.year * 12 + until.month - 1 - k
            on = date(month // 12, month % 12 + 1, day)
            self.pay(a, on, amount, self.invoice(a, on - timedelta(days=3), amount))

    def plan(self, a, day, amount, number, broken_in=None):
        """A plan that breaks in one of its months (0, 1, ...), or is kept."""
        invoice = self.invoice(a, day - timedelta(days=40), amount)
        start = day + timedelta(days=10)
        self.holds.append({"account_id": a, "kind": "payment_plan", "from_on": day,
                           "to_on": None, "invoice_id": invoice})  # fmt: skip
        self.responses.append({"account_id": a, "at": noon(day), "kind": "plan_accepted",
                               "amount": amount, "due_on": start})  # fmt: skip
        for k in range(number):
            due = start + timedelta(days=round(k * MONTH))
            if broken_in == k:
                late = due + timedelta(days=8)
                self.responses.append({"account_id": a, "at": noon(late), "kind": "plan_broken"})
                return
            self.pay(a, due, round(amount / number, 2), invoice)

    def ledger(self):
        return Ledger.from_frames(
            accounts=self.accounts, invoices=self.invoices, payments=self.payments,
            contacts=self.contacts or None, responses=self.responses or None,
            holds=self.holds or None,
        )  # fmt: skip


LEVEL, SLOPE = float(logit(0.12)), 0.8  # far from what is assumed


def simulate(seed, accounts=260, plans=3, spread=0.0):
    """Accounts with up to three plans, each of five months, at burdens from .2 to 2."""
    rng, book, truth = np.random.default_rng(seed), Maker(), []
    for i in range(accounts):
        a = f"A{i:04d}"
        book.account(a)
        book.bills(a, date(2027, 6, 1), 100.0)
        own = np.exp(spread * rng.standard_normal() - spread**2 / 2)
        truth.append(own)
        for k in range(plans):
            burden = float(np.exp(rng.uniform(np.log(0.2), np.log(2.0))))
            p = min(float(expit(LEVEL + SLOPE * np.log(burden / 0.5))) * own, 0.9)
            broken = next((m for m in range(5) if rng.random() < p), None)
            amount = round(100 * burden) * 5.0
            book.plan(a, date(2024, 1 + i % 12, 3) + timedelta(days=270 * k), amount, 5, broken)
    return book.ledger(), np.array(truth)


@pytest.fixture(scope="module")
def alike():
    ledger, _ = simulate(11)
    return ledger, PlanModel().fit(ledger, CUT)


def test_true_chances_to_keep_are_recovered_and_the_raw_share_of_plans_is_not(alike):
    ledger, model = alike
    assert abs(model.level - LEVEL) < 3.0 * model.stderr[0]
    assert abs(model.slope - SLOPE) < 3.0 * model.stderr[1]
    assert (model.stderr < 0.15).all()
    account = Payer(means=100.0, known=True)
    for burden in (0.25, 0.5, 1.5):
        true = float((1.0 - expit(LEVEL + SLOPE * np.log(burden / 0.5))) ** 5)
        found = float((1.0 - model.p_break(account, burden)) ** 5)
        x = np.array([1.0, np.log(burden / 0.5)])
        error = 5 * found * float(model.p_break(account, burden)) * np.hypot(*(x * model.stderr))
        assert abs(found - true) < 3.0 * error
        kinds = ledger.responses.to_pandas().kind.value_counts()
        naive = 1.0 - kinds["plan_broken"] / kinds["plan_accepted"]  # whatever the burden
        if burden != 0.5:
            assert abs(naive - true) > 3.0 * error


def test_accounts_differ_as_far_as_they_do_and_raw_shares_are_worse():
    ledger, truth = simulate(12, spread=0.7)
    model = PlanModel().fit(ledger, CUT)
    found = np.array([model.payer(a).breaks for a in ledger.account_ids])
    events = trials(ledger, to_instant(CUT), 7)
    seen = np.bincount(events.account, events.event, minlength=len(truth))
    months = np.bincount(events.account, minlength=len(truth))
    raw = (seen / months) / (seen.sum() / months.sum())
    assert np.mean((found - truth) ** 2) < 0.5 * np.mean((raw - truth) ** 2)
    assert np.mean((found - truth) ** 2) < 0.95 * np.mean((1.0 - truth) ** 2)
    alone, _ = simulate(13)
    model = PlanModel().fit(alone, CUT)
    spread = np.std([model.payer(a).breaks for a in alone.account_ids])
    assert spread < 0.2, "accounts that are alike"


def months_of(fill, cut=CUT):
    book = Maker()
    book.account("A")
    book.invoice("A", date(2026, 1, 20), 60.0)
    fill(book)
    found = trials(book.ledger(), to_instant(cut), 7)
    return found.event.tolist(), found.load[:1].tolist()


def test_months_by_hand():
    day = date(2026, 1, 5)  # the first instalment is due on 15 January
    assert months_of(lambda b: b.plan("A", day, 300.0, 3)) == ([0, 0, 0], [100.0])
    assert months_of(lambda b: b.plan("A", day, 300.0, 3, 2)) == ([0, 0, 1], [100.0])
    # broken at once: as many instalments as are usual without others
    assert months_of(lambda b: b.plan("A", day, 300.0, 3, 0)) == ([1], [50.0])
    # still running: due on 15 January and 14 February, and 7 days of grace are over
    assert months_of(lambda b: b.plan("A", day, 300.0, 3), "2026-02-24")[0] == [0, 0]
    assert months_of(lambda b: b.plan("A", day, 300.0, 3), "2026-02-20")[0] == [0]
    assert months_of(lambda b: b.plan("A", day, 300.0, 3), "2026-01-10")[0] == []
    assert months_of(lambda b: b.plan("A", day, 300.0, 3), "2026-01-02")[0] == []
    assert months_of(lambda b: None) == ([], [])


def test_a_plan_that_nobody_calls_broken_is_broken_when_two_instalments_are_missing():
    def silent(book):
        book.plan("A", date(2026, 1, 5), 300.0, 6, 2)
        book.responses = [r for r in book.responses if r["kind"] != "plan_broken"]

    assert months_of(silent)[0] == [0, 0, 1]
    assert months_of(silent, "2026-03-20")[0] == [0, 0], "the third is still within its grace"


def test_a_response_without_a_hold_and_a_hold_on_the_account_are_plans():
    def response(book):
        book.plan("A", date(2026, 1, 5), 300.0, 3, 1)
        book.holds = []

    def hold(book):
        response(book)
        book.holds = [{"account_id": "A", "kind": "payment_plan", "from_on": date(2026, 1, 6)}]

    assert months_of(response) == months_of(hold) == ([0, 1], [100.0])


def test_offers_are_counted_once_they_could_have_been_accepted():
    book = Maker()
    for i in range(60):
        a = f"A{i:02d}"
        book.account(a)
        sent = datetime(2027, 5, 25 if i < 10 else 1, 9, tzinfo=UTC)
        offer = "none" if 10 <= i < 20 else "instalments"
        book.contacts.append({"contact_id": f"C{a}", "account_id": a, "sent_at": sent,
                              "channel": "email", "tone": "friendly", "offer": offer})  # fmt: skip
        if i % 2:
            book.responses.append({"account_id": a, "at": sent + timedelta(hours=3),
                                   "kind": "plan_accepted", "contact_id": f"C{a}"})  # fmt: skip
    book.invoice("A00", date(2027, 1, 1), 50.0)
    model = PlanModel().fit(book.ledger(), CUT)
    assert model.offered == 40
    assert model.accept == pytest.approx((20 + 0.1 * 20) / 60)
    easy, hard = model.p_accept(Payer(), np.array([0.2, 2.0]), 6.0)
    assert easy > hard
    assert model.p_accept(Payer(), 0.5, 3.0) > model.p_accept(Payer(), 0.5, 12.0)
    assert float(model.p_agree(0.5, 6.0, (0.5, 6.0))) == pytest.approx(0.7)


def test_means_and_paydays_by_hand():
    book = Maker()
    for a in "ABCD":
        book.account(a)
    day = date(2027, 6, 1)
    book.bills("A", day, 80.0, day=31 - 3)
    for k, amount in enumerate((20.0, 90.0, 40.0)):
        book.pay("B", date(2027, 5 - k, 20 - 8 * k), amount)
    book.pay("C", date(2027, 5, 10), 500.0)  # one month says too little
    book.bills("D", date(2024, 6, 1), 80.0)  # too long ago to tell the means, not the day
    model = PlanModel().fit(book.ledger(), CUT)
    a, b, c, d = (model.payer(name) for name in "ABCD")
    assert (a.means, a.known) == (80.0, True)
    assert a.payday in {28, 29}
    assert a.strength > 0.95
    assert (b.means, b.known, b.payday) == (40.0, True, None)
    assert (c.means, c.known) == (pytest.approx(50.0), False), "the lower quartile of 40 and 80"
    assert not d.known
    assert d.payday == 5
    assert model.payer("new") == Payer(means=50.0)


def test_the_turn_of_the_month_is_one_time_of_the_month():
    book = Maker()
    book.account("A")
    for day in (date(2027, 1, 31), date(2027, 3, 1), date(2027, 3, 31), date(2027, 5, 1)):
        book.pay("A", day, 30.0)
    payer = PlanModel().fit(_with_claim(book), CUT)
    assert payer.payer("A").payday in {1, 31}


def _with_claim(book):
    book.invoice("A", date(2027, 1, 2), 400.0)
    return book.ledger()


def test_an_empty_history_gives_what_is_assumed():
    book = Maker()
    book.account("A")
    model = PlanModel().fit(_with_claim(book), CUT)
    assert model.payer("A") == Payer()
    assert (model.months, model.broken, model.offered) == (0, 0, 0)
    assert float(model.p_break(Payer(), 0.5)) == pytest.approx(0.05)
    assert float(model.p_accept(Payer(), 0.5, 6.0)) == pytest.approx(0.10)
    with pytest.raises(NotFittedError, match="payer"):
        PlanModel().payer("A")
    with pytest.raises(InputError, match="above 0"):
        Payer(means=0.0)
    with pytest.raises(InputError, match="day of the month"):
        Payer(payday=32)


def test_the_future_changes_nothing(alike):
    ledger, _ = alike
    early = "2025-02-10T08:00Z"
    moment = np.datetime64("2025-02-10T08:00", "us")
    t = {n: getattr(ledger, n).to_pandas() for n in ("accounts", "invoices", "payments",
                                                     "responses", "holds")}  # fmt: skip
    past = {"payments": "paid_at", "responses": "at"}
    for name, column in past.items():
        late = t[name][column] >= np.datetime64(moment).astype(datetime).replace(tzinfo=UTC)
        assert late.any()
        t[name] = t[name][~late]
    known = date(2025, 2, 10)
    t["holds"] = t["holds"][t["holds"].from_on < known].assign(to_on=date(2026, 1, 1))
    t["invoices"] = t["invoices"].assign(
        amount=lambda f: f.amount.where(f.issued_on < known, f.amount * 3)
    )
    one, two = (PlanModel().fit(book, early) for book in (ledger, Ledger.from_frames(**t)))
    assert one.months > 200
    assert (one.level, one.slope, one.months, one.broken) == (
        two.level, two.slope, two.months, two.broken
    )  # fmt: skip
    assert [one.payer(a) for a in ledger.account_ids] == [two.payer(a) for a in ledger.account_ids]
