"""Reach and the funnel against known truth, hand-made counts and what is not known yet."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from collectopt.exceptions import NotFittedError
from collectopt.models.funnel import FunnelModel
from collectopt.models.multiples import Multiple
from collectopt.models.reach import ReachModel
from collectopt.schema import Ledger
from collectopt.simulation import Book

START = datetime(2026, 1, 5, tzinfo=UTC)
CHANNELS = ("email", "phone")


def ledger(contacts, responses=None, payments=None, n=None):
    ids = sorted({c["account_id"] for c in contacts} | ({f"{i:04d}" for i in range(n or 0)}))
    return Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "consumer", "country": "DE", "timezone": "UTC"}
            for a in ids
        ],
        invoices=[
            {"invoice_id": f"I{a}", "account_id": a, "issued_on": "2025-12-01",
             "due_on": "2025-12-15", "amount": 500.0, "currency": "EUR"}
            for a in ids
        ],
        contacts=contacts,
        responses=responses or None,
        payments=payments or None,
    )  # fmt: skip


def world(rng, n=400, each=16, spread=1.0):
    """Accounts differ in how they answer by telephone, and in the hour; e-mail by programs."""
    taste = rng.gamma(1.0 / spread**2, spread**2, n) if spread else np.ones(n)
    evening = rng.random(n) < 0.5
    program = rng.random(n) < 0.2
    contacts, responses, truth = [], [], []
    for i in range(n):
        for k in range(each):
            channel = CHANNELS[int(rng.random() < 0.5)]
            hour = int(rng.choice([9, 18]))
            at = START + timedelta(days=7 * k + int(rng.integers(5)), hours=hour)
            good = 1.6 if (hour == 18) == evening[i] else 0.4
            p = min(0.25 * taste[i] * good, 0.95)
            c = {"contact_id": f"{i}-{k}", "account_id": f"{i:04d}", "sent_at": at,
                 "channel": channel, "tone": "friendly"}  # fmt: skip
            contacts.append(c)
            truth.append(p)
            said = "answered" if channel == "phone" else "opened"
            if rng.random() < (1.0 if said == "opened" and program[i] else p):
                responses.append({"account_id": c["account_id"], "at": at + timedelta(hours=1),
                                  "kind": said, "contact_id": c["contact_id"]})  # fmt: skip
    return contacts, responses, taste, evening, program


@pytest.fixture(scope="module")
def known():
    contacts, responses, taste, evening, program = world(np.random.default_rng(0))
    book = ledger(contacts, responses)
    return ReachModel().fit(book, "2027-01-01").reach_, taste, evening, program


def test_accounts_that_answer_more_are_told_from_luck(known):
    reach, taste, _, _ = known
    n = len(taste)
    every = np.arange(n)
    phone = np.full(n, reach.channels.index("phone"))
    found = sum(reach.chance(every, phone, np.full(n, h), np.full(n, 2)) for h in (9, 18)) / 2
    truth = np.minimum(0.25 * taste, 0.95)
    assert np.corrcoef(found, truth)[0, 1] > 0.75
    raw = (reach.by_channel.seen + 0.0).reshape(n, -1)[:, phone[0]]
    raw = raw / np.maximum(reach.contacts[:, phone[0]], 1.0)
    ours, naive = ((x - truth) ** 2 for x in (found, raw))
    assert ours.mean() < 0.75 * naive.mean()
    mean = np.full(n, reach.base[phone[0]])
    assert ours.mean() < 0.75 * ((mean - truth) ** 2).mean()


def test_the_hour_that_suits_is_found(known):
    reach, _, evening, _ = known
    table = reach.by_level(np.arange(len(evening)))
    hours = table[table.family == "hour"].pivot_table(index="row", columns="level", values="chance",
                                                      aggfunc="first")  # fmt: skip
    found = hours[18].to_numpy(dtype=float) > hours[9].to_numpy(dtype=float)
    assert (found == evening).mean() > 0.8
    near = table[(table.family == "hour") & (table.level == 18)].observations
    far = table[(table.family == "hour") & (table.level == 3)].observations
    assert near.mean() > 5 > far.max()


def test_programs_that_open_everything_are_not_readers(known):
    reach, taste, _, program = known
    email = reach.channels.index("email")
    seen = reach.by_channel.seen.reshape(len(taste), -1)[:, email]
    share = seen / np.maximum(reach.contacts[:, email], 1.0)
    assert share[program].mean() < 0.5
    assert reach.base[email] == pytest.approx(0.24, abs=0.06)
    assert reach.base[reach.channels.index("phone")] == pytest.approx(0.24, abs=0.03)


def test_intervals_cover_and_widen_without_evidence():
    inside, widths = [], []
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        n = 500
        taste = rng.gamma(4.0, 0.25, n)
        contacts, responses = [], []
        for i in range(n):
            for k in range(int(rng.integers(1, 30))):
                at = START + timedelta(days=3 * k, hours=10)
                contact = {"contact_id": f"{i}-{k}", "account_id": f"{i:04d}", "sent_at": at,
                           "channel": "phone"}  # fmt: skip
                contacts.append(contact)
                if rng.random() < 0.2 * taste[i]:
                    responses.append({"account_id": contact["account_id"], "at": at,
                                      "kind": "answered", "contact_id": f"{i}-{k}"})  # fmt: skip
        reach = ReachModel().fit(ledger(contacts, responses), "2027-01-01").reach_
        table = reach.by_level(np.arange(n))
        rows = table[table.family == "channel"]
        truth = 0.2 * taste
        inside.append(((rows.low <= truth) & (truth <= rows.high)).mean())
        many = rows.observations > 15
        widths.append((np.log(rows.high / rows.low)[many].mean(),
                       np.log(rows.high / rows.low)[~many].mean()))  # fmt: skip
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)
    assert all(narrow < wide for narrow, wide in widths)


def test_weight_of_the_prior_is_that_of_the_groups():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(3000), 12)
    p = np.full(len(group), 0.1)
    for spread, weight in ((0.0, 30.0), (0.5, 4.0), (1.0, 1.0)):
        size = np.ones(3000) if not spread else rng.gamma(1 / spread**2, spread**2, 3000)
        y = (rng.random(len(group)) < np.minimum(0.1 * size[group], 1.0)).astype(float)
        found = Multiple.of(group, 3000, y, p)
        if spread:
            assert found.weight == pytest.approx(weight, rel=0.4)
        else:
            assert found.weight > weight


def test_only_what_was_known_counts():
    contacts, responses, *_ = world(np.random.default_rng(2), n=60, each=8)
    cut = START + timedelta(days=30)
    early = ledger([c for c in contacts if c["sent_at"] < cut],
                   [r for r in responses if r["at"] < cut])  # fmt: skip
    one = ReachModel().fit(ledger(contacts, responses, n=60), cut).reach_
    two = ReachModel().fit(early, cut).reach_
    for name in ("base", "hour", "weekday", "contacts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.account.seen, two.account.seen)
    # contacts of the last days are not counted as missed
    assert one.contacts.sum() == sum(c["sent_at"] <= cut - timedelta(days=3) for c in contacts)


def test_small_books_fall_back():
    with pytest.raises(NotFittedError):
        _ = ReachModel().reach_
    with pytest.raises(NotFittedError):
        _ = FunnelModel().funnel_
    lonely = ledger([{"contact_id": "1", "account_id": "A", "sent_at": START, "channel": "letter"}])
    assert ReachModel().fit(lonely, START).reach_ is None
    reach = ReachModel().fit(lonely, "2027-01-01").reach_
    assert reach.channels == ("letter",)
    assert 0 < reach.base[0] < 0.6
    funnel = FunnelModel().fit(lonely, "2027-01-01").funnel_
    assert 0 < funnel.promise.chance(np.array([0]), "letter")[0] < 1


def promise(a, day, amount=None, due=None):
    at = START + timedelta(days=day)
    return {"account_id": a, "at": at, "kind": "promised", "contact_id": f"c{a}", "amount": amount,
            "due_on": due}  # fmt: skip


def test_promises_kept_by_hand():
    ids = [f"{i:04d}" for i in range(6)]
    contacts = [{"contact_id": f"c{a}", "account_id": a, "sent_at": START, "channel": "phone",
                 "tone": "friendly"} for a in ids]  # fmt: skip
    due = date(2026, 1, 20)
    responses = [promise(a, 1, 100.0, due) for a in ids[:4]] + [promise(ids[4], 1)]
    responses += [promise(ids[5], 1, 50.0, date(2026, 3, 1))]  # still to come
    payments = [
        ("0000", 5, 100.0),  # kept
        ("0001", 5, 60.0), ("0001", 8, 40.0),  # kept in two parts
        ("0002", 5, 99.0),  # too little
        ("0003", 20, 100.0),  # too late
        ("0004", 10, 1.0),  # no amount named: any payment by day 14
    ]  # fmt: skip
    money = [{"payment_id": f"p{k}", "account_id": a, "paid_at": START + timedelta(days=d),
              "amount": x} for k, (a, d, x) in enumerate(payments)]  # fmt: skip
    book = ledger(contacts, responses, money)
    kept = FunnelModel().fit(book, "2026-02-10").funnel_.kept
    assert kept.account.seen.tolist() == [1, 1, 0, 0, 1, 0]
    assert kept.rows.sum() == 3 * 5  # the pending one is left out
    table = FunnelModel().fit(book, "2026-02-10").funnel_.table()
    assert set(table["head"]) == {"promise", "kept"}
    assert (table.low <= table.chance).all()
    assert (table.chance <= table.high).all()


def test_heads_find_what_promises_follow_from():
    rng = np.random.default_rng(3)
    contacts, responses = [], []
    for k in range(3000):
        channel, tone = ("email", "phone")[k % 2], ("friendly", "firm")[k // 2 % 2]
        a, at = f"{k % 500:04d}", START + timedelta(days=k // 500)
        contacts.append({"contact_id": f"c{k}", "account_id": a, "sent_at": at,
                         "channel": channel, "tone": tone})  # fmt: skip
        responses.append({"account_id": a, "at": at, "kind": "answered", "contact_id": f"c{k}"})
        p = 0.2 * (1.5 if channel == "phone" else 0.5) * (1.4 if tone == "friendly" else 0.6)
        if rng.random() < p:
            responses.append({**promise(a, 0), "at": at, "contact_id": f"c{k}"})
    head = FunnelModel().fit(ledger(contacts, responses), "2027-01-01").funnel_.promise
    every = np.arange(500)
    for channel, c in (("phone", 1.5), ("email", 0.5)):
        for tone, t in (("friendly", 1.4), ("firm", 0.6)):
            found = head.chance(every, channel, tone).mean()
            truth = 0.2 * c * t
            assert found == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / 750))


def test_on_simulated_books_later_contacts_are_foretold_no_worse_than_by_the_channel():
    book = Book("telco", accounts=2500, seed=7)
    whole = book.ledger()
    cut = book.as_of - timedelta(days=70)
    early = ReachModel().fit(whole, cut).reach_
    later = ReachModel().fit(whole, book.as_of).reach_
    new = later.contacts - early.contacts
    phone = early.channels.index("phone")
    seen = (later.by_channel.seen - early.by_channel.seen).reshape(len(new), -1)[:, phone]
    rows = np.flatnonzero(new[:, phone] > 0)
    table = early.by_level(rows)
    p = table[(table.family == "channel") & (table.level == "phone")].chance.to_numpy()
    n, k = new[rows, phone], seen[rows]

    def loss(chance):
        chance = np.clip(chance, 1e-3, 1 - 1e-3)
        return float(-(k * np.log(chance) + (n - k) * np.log(1 - chance)).sum() / n.sum())

    raw = early.by_channel.seen.reshape(len(new), -1)[rows, phone] / np.maximum(
        early.contacts[rows, phone], 1
    )
    assert len(rows) > 100
    assert loss(p) < loss(raw) - 0.1
    assert loss(p) < loss(np.full(len(rows), early.base[phone])) + 0.01
