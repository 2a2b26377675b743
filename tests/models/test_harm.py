"""The harm of contacts as a ledger tells it."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest

import collectopt as co
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.harm import Harm, HarmModel
from collectopt.models.harm_log import MOST, read_contacts, read_weeks
from collectopt.models.harm_prior import COMPLAINT, FATIGUE, LEAVE, OPT_OUT, firmer, tiring
from collectopt.schema import ActionSet

TONES = ("friendly", "neutral", "firm")
ACTIONS = ActionSet.from_frame(
    [
        {"channel": "none"},
        {"channel": "email", "tone": "friendly"},
        {"channel": "email", "tone": "neutral"},
        {"channel": "email", "tone": "firm"},
        {"channel": "visit", "tone": "firm"},
        {"channel": "agency"},
    ]
)
START = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
AS_OF = dt.datetime(2026, 6, 1, 6, tzinfo=dt.UTC)


def moment(as_of):
    return np.datetime64(as_of.astimezone(dt.UTC).replace(tzinfo=None), "us")


def make_ledger(contacts, responses=()):
    """Contacts (account, day, channel, tone); responses (contact or None, days after, kind)."""
    names = sorted({row[0] for row in contacts} | {"A"})
    rows = [
        {"contact_id": f"C{i}", "account_id": a, "sent_at": START + dt.timedelta(days=day),
         "channel": channel, "tone": tone}
        for i, (a, day, channel, tone) in enumerate(contacts)
    ]  # fmt: skip
    said = []
    for contact, after, kind in responses:
        account, day = contacts[contact or 0][:2]
        said.append(
            {
                "account_id": account,
                "kind": kind,
                "contact_id": None if contact is None else f"C{contact}",
                "at": START + dt.timedelta(days=day + after, hours=1),
            }
        )
    invoice = {"issued_on": dt.date(2025, 12, 1), "due_on": dt.date(2025, 12, 15), "amount": 50.0}
    return co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE"} for a in names],
        invoices=[
            {"invoice_id": f"I{a}", "account_id": a, "currency": "EUR", **invoice} for a in names
        ],
        contacts=rows,
        responses=said or None,
    )


def test_contacts_are_counted_with_what_they_drew():
    ledger = make_ledger(
        [
            ("A", 0, "email", "friendly"),
            ("A", 7, "email", "firm"),
            ("A", 28, "sms", "firm"),  # the first one lies 28 days back: no longer recent
            ("B", 8, "none", None),
            ("B", 8, "letter", None),
        ],
        [
            (0, 2, "complained"),
            (0, 3, "complained"),
            (1, 2, "opted_out"),
            (2, 29, "complained"),  # too late to be its doing
            (None, 9, "complained"),
        ],
    )
    seen = read_contacts(ledger, moment(AS_OF), TONES)
    assert seen.channels == ("email", "letter", "sms")
    assert [seen.channels[c] for c in seen.channel] == ["email", "email", "sms", "letter"]
    assert seen.tone.tolist() == [0, 2, 2, -1]
    assert seen.recent.tolist() == [0, 1, 1, 0]
    assert seen.complained.tolist() == [True, False, False, False]
    assert seen.opted_out.tolist() == [False, True, False, False]


def test_young_contacts_are_not_counted_yet():
    contacts = [("A", day, "email", "firm") for day in (0, 60, 118, 119, 140)]
    harm = HarmModel().fit(make_ledger(contacts), AS_OF).harm_
    assert harm.contacts == 3  # as_of is day 146.9; four weeks before it is day 118.9
    early = HarmModel().fit(make_ledger(contacts), START + dt.timedelta(days=20))
    assert early.harm_ is None


def test_rates_by_tone_come_back_and_few_contacts_stay_near_the_assumed():
    """Thousands of e-mails at known rates; three visits without a complaint."""
    rng = np.random.default_rng(3)
    truth = np.array([0.0008, 0.004, 0.015])
    n = 9_000
    tone = rng.integers(0, 3, n)
    contacts = [(f"B{i:05d}", 0, "email", TONES[t]) for i, t in enumerate(tone)]
    angry = np.flatnonzero(rng.random(n) < truth[tone])
    contacts += [(f"V{i}", 0, "visit", "firm") for i in range(3)]
    ledger = make_ledger(contacts, [(int(i), 1, "complained") for i in angry])
    harm = HarmModel().fit(ledger, AS_OF).harm_
    table = harm.table().query("event == 'complaint' and channel == 'email'").set_index("tone")
    for name, true in zip(TONES, truth, strict=True):
        middle = np.log(table.low[name] * table.high[name]) / 2
        sd = np.log(table.high[name] / table.low[name]) / (2 * 1.645)
        assert np.log(true) == pytest.approx(middle, abs=3 * sd)
    assert table.rate["firm"] == pytest.approx(0.015, rel=0.25)
    chance = harm.complains(ACTIONS, [0, 0, 2])
    assert chance.shape == (3, len(ACTIONS))
    assert (chance[:, [0, 5]] == 0).all()
    assert chance[0, 3] == pytest.approx(table.rate["firm"])
    # Raw, three visits say 0; what is known of firm contacts stands, with less certainty.
    visit = harm.table().query("event == 'complaint' and channel == 'visit'").iloc[0]
    assert 0.3 < chance[0, 4] / chance[0, 3] < 2
    assert visit.high / visit.low > table.high["firm"] / table.low["firm"]


def test_little_data_leaves_everything_as_assumed():
    harm = HarmModel().fit(make_ledger([("A", 0, "email", "friendly")]), AS_OF).harm_
    n = np.array([0, 2])
    tone = np.array([0, 1, 2])
    complaint = COMPLAINT * firmer(tone) * tiring(n)[:, None]
    assert harm.complains(ACTIONS, n)[:, 1:4] == pytest.approx(complaint, rel=0.02)
    opt_out = np.repeat(OPT_OUT * tiring(n)[:, None], 3, axis=1)
    assert harm.opts_out(ACTIONS, n)[:, 1:4] == pytest.approx(opt_out, rel=0.02)
    leave = LEAVE * firmer(tone) * (1 + FATIGUE * n[:, None])
    assert harm.leaves(ACTIONS, n)[:, 1:4] == pytest.approx(leave, rel=0.02)
    assert harm.leaves(ACTIONS, [99]) == pytest.approx(harm.leaves(ACTIONS, [MOST]))


@pytest.fixture(scope="module")
def book():
    return co.simulation.Book("subscription", accounts=1500, seed=100, weeks=50)


@pytest.fixture(scope="module")
def harm(book):
    return HarmModel().fit(book.ledger(), book.as_of).harm_


def test_a_simulated_book_gives_rates_near_its_truth(book, harm):
    """One contact in two reaches its person; intervals hold the complaints per contact sent."""
    from collectopt.simulation.kinds import kind_of

    kind = kind_of("subscription")
    table = harm.table()
    email = table.query("event == 'complaint' and channel == 'email'").set_index("tone")
    for tone, factor in zip(TONES, kind.effects.harm_tone, strict=True):
        truth = 1.5 * kind.reach[0] * kind.effects.complaint * factor  # 1.5: some are tired
        assert email.low[tone] < truth < email.high[tone]
    gone = int((book._end.ends <= book._end.day).sum())
    assert harm.leavers == pytest.approx(gone, rel=0.3)
    lost = table.query("event == 'leaves'")
    assert (lost.low < lost.rate).all()
    assert lost.rate.to_numpy() == pytest.approx(lost.assumed.to_numpy(), rel=0.5)  # not told


def test_nothing_later_is_read(book):
    """Cut at a time, the whole book and one without its later rows teach the same."""
    cut = book.as_of - dt.timedelta(weeks=10)
    ledger = book.ledger()
    tables = {}
    when = {"payments": "paid_at", "responses": "at"}
    for name in ("accounts", "invoices", "payments", "contacts", "responses", "holds"):
        frame = ledger.table(name).to_pandas()
        if name in when:
            frame = frame[frame[when[name]] < pd.Timestamp(cut)]
        elif name == "contacts":
            frame = frame[frame.decided_at.fillna(frame.sent_at) < pd.Timestamp(cut)]
        elif name in {"invoices", "holds"}:
            day = frame.issued_on if name == "invoices" else frame.from_on
            frame = frame[pd.to_datetime(day) < pd.Timestamp(cut).tz_localize(None).normalize()]
        tables[name] = frame.dropna(axis=1, how="all")
    past = co.Ledger.from_frames(**tables, timezone=ledger.timezone)
    one, two = (HarmModel().fit(book, cut).harm_.to_dict() for book in (ledger, past))
    assert one == two


def test_half_learnt_chances_to_leave_are_not_used(harm):
    """Noise around the assumed chance is no knowledge; a chance with a small error is."""
    assert not harm.told.any()
    assumed = LEAVE * firmer([0, 1, 2])
    assert harm.leaves(ACTIONS, [0])[0, 1:4] == pytest.approx(assumed)
    sure = dataclasses.replace(harm, leave=np.array([-1e-3, 0.0, 0.01]), leave_stderr=assumed / 9)
    assert harm.table().used[lambda used: ~used].count() == 3
    assert sure.leaves(ACTIONS, [0])[0, 1:4] == pytest.approx(sure.leave)
    assert sure.table().used.all()
    far = dataclasses.replace(harm, leave=np.array([0.0005, 0.001, 0.006]))  # far beyond noise
    assert far.told.tolist() == [False, False, True]


def test_it_comes_back_from_json(book, harm):
    twin = Harm.from_dict(harm.to_dict())
    actions = book.catalogue.actions
    for name in ("complains", "opts_out", "leaves"):
        assert (getattr(twin, name)(actions, [0, 1]) == getattr(harm, name)(actions, [0, 1])).all()
    assert twin.table().equals(harm.table())


def test_weeks_hold_invoices_lateness_and_contacts(book):
    seen = read_contacts(book.ledger(), moment(book.as_of), TONES)
    weeks = read_weeks(book.ledger(), moment(book.as_of), seen, 3)
    bills = book.ledger().timeline.claims
    assert weeks.invoices.sum() == len(bills)
    assert weeks.contacts.sum() == pytest.approx(tiring(seen.recent).sum())
    # Contacts go to accounts past due in a week with a logged decision, and only there.
    sent = weeks.contacts.sum(axis=2) > 0
    assert (weeks.state[sent] > 0).all()
    assert weeks.decided[sent].all()
    assert not weeks.decided.all()


def test_bad_input_is_refused():
    for tones in ((), "firm", ("a", "a")):
        with pytest.raises(InputError, match="tones"):
            HarmModel(tones)
    with pytest.raises(NotFittedError):
        _ = HarmModel().harm_
