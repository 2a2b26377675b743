"""Who is reached: sampled worlds, simulated books, the past alone, and books that say little."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import spearmanr

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import ReachModel
from collectopt.models.reactions import Reactions
from collectopt.schema import ActionSet, Snapshot
from collectopt.simulation import Book

from .reach_books import AS_OF, START, calls, contact, ledger, response

HOURS = np.array([9.0, 18.0])
CUT = timedelta(weeks=16)


def rows(book, as_of=AS_OF, accounts=None):
    ids = book.accounts["account_id"].to_pylist() if accounts is None else accounts
    at = [{"account_id": a, "as_of": as_of} for a in ids]
    return Snapshot.from_rows(book, _stamped(at))


def _stamped(at):
    import datetime as dt

    return [
        {**r, "as_of": dt.datetime.fromisoformat(r["as_of"]).replace(tzinfo=dt.UTC)}
        if isinstance(r["as_of"], str)
        else r
        for r in at
    ]


@pytest.fixture(scope="module")
def world():
    """Accounts differ by a beta; one half is reached better in the evening, the other at nine."""
    rng = np.random.default_rng(17)
    rate = rng.beta(4.0, 6.0, 500)
    evening = np.arange(500) % 2 == 0
    factor = np.where(evening[:, None], [0.6, 1.4], [1.4, 0.6])
    truth = np.clip(rate[:, None] * factor, 0.01, 0.97)
    book = calls(truth, 12, seed=18)
    return truth, book, ReachModel().fit(book, AS_OF)


def test_intervals_of_accounts_cover_the_truth(world):
    truth, book, model = world
    told = model.profile(rows(book), HOURS)
    for part, of in ((told.channel, truth.mean(axis=1, keepdims=True)), (told.hour, truth)):
        covered = ((part.low <= of) & (of <= part.high)).mean()
        # errors of hours of one account go together: the accounts count
        assert covered == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / len(truth)) + 0.01)
    assert (told.channel.observations == 12).all()
    assert (told.hour.observations.sum(axis=1) == 12).all()


def test_hours_that_an_account_prefers_are_found(world):
    truth, book, model = world
    hour = model.profile(rows(book), HOURS).hour
    right = (hour.mean.argmax(axis=1) == truth.argmax(axis=1)).mean()
    raw = np.zeros((len(truth), 2, 2))
    log = Reactions.of(book, AS_OF)
    late = (log.table["hour"].to_numpy() > 12).astype(int)
    np.add.at(raw, (log.ints("account"), late, log.flag("answered").astype(int)), 1)
    share = raw[:, :, 1] / np.maximum(raw.sum(axis=2), 1)
    assert right > 0.7
    assert ((hour.mean - truth) ** 2).mean() < 0.7 * ((share - truth) ** 2).mean()
    level = truth.mean()
    assert ((hour.mean - truth) ** 2).mean() < 0.75 * ((level - truth) ** 2).mean()


def test_an_account_without_contacts_is_taken_for_its_segment(world):
    truth, book, model = world
    later = calls(np.vstack([truth, [[0.5, 0.5]]]), 0, seed=1)  # one account more
    told = model.profile(rows(later), HOURS)
    assert told.channel.observations[-1].tolist() == [0]
    assert told.channel.mean[-1, 0] == pytest.approx(truth.mean(), abs=0.04)
    width = told.channel.high - told.channel.low
    assert width[-1] > 1.3 * width[:-1].mean()
    stranger = told.channel.low[-1, 0] <= truth.mean(axis=1)
    stranger &= truth.mean(axis=1) <= told.channel.high[-1, 0]
    assert stranger.mean() == pytest.approx(0.9, abs=0.06)
    assert len(book.accounts) < len(later.accounts)


def test_factors_multiply_to_what_the_profile_says(world):
    _, book, model = world
    snapshot = rows(book).take(np.arange(5))
    table = [{"channel": "none"}] + [{"channel": "phone", "hour": h} for h in HOURS]
    reach = model.predict(snapshot, ActionSet.from_frame([*table, {"channel": "fax", "hour": 9.0}]))
    block = reach.block()
    assert block[:, [0, 3]].max() == 0.0  # no contact; a channel that was never used
    np.testing.assert_allclose(block[:, 1:3], model.profile(snapshot, HOURS).hour.mean, atol=0.01)
    np.testing.assert_array_equal(reach.block(slice(1, 3), np.array([2])), block[1:3, 2:3])


def test_days_ahead_are_weekdays_of_the_account():
    contacts = [contact(f"A{a:03d}", k, 7 * k + a % 7) for a in range(140) for k in range(10)]
    answered = [c for c in contacts if c["sent_at"].weekday() == 3]
    book = ledger(contacts, [response(c) for c in answered])
    model = ReachModel().fit(book, AS_OF)
    actions = ActionSet.from_frame(
        [{"channel": "none"}] + [{"channel": "phone", "hour": 10.0, "day": d} for d in range(7)]
    )
    for date, thursday in (("2026-12-01", 2), ("2026-12-05", 5)):  # a Tuesday and a Saturday
        block = model.predict(rows(book, date, ["A004"]), actions).block()
        assert block[0, 1:].argmax() == thursday


@pytest.fixture(scope="module", params=["b2b", "shop"])
def simulated(request):
    book = Book(request.param, accounts=2500, seed=404)
    cut = book.as_of - CUT
    return book, cut, ReachModel().fit(book.ledger(), cut)


def _future(book, cut):
    log = Reactions.of(book.ledger(), book.as_of)
    since = np.datetime64(cut.replace(tzinfo=None), "us").astype(np.int64)
    return log, np.flatnonzero(log.ints("sent_at") >= since)


def test_future_contacts_are_foretold_better_than_by_channel_or_raw_rate(simulated):
    """Rank correlation and log loss with the true chance of persons to be reached by e-mail."""
    book, cut, model = simulated
    ledger_, truth = book.ledger(), book.truth
    log, later = _future(book, cut)
    code = log.channels.index("email")
    later = later[log.channel[later] == code]
    account = log.ints("account")[later]
    snapshot = rows(ledger_, cut, ledger_.accounts["account_id"].take(account).to_pylist())
    own = model.profile(snapshot, HOURS).channel.mean[:, model.channels.index("email")]
    real = truth.reach[account, 0]
    past = Reactions.of(ledger_, cut)
    mine = past.channel == code
    seen = past.flag("noticed") | past.flag("done")
    n = np.bincount(past.ints("account")[mine], minlength=len(truth.reach))
    k = np.bincount(past.ints("account")[mine], seen[mine], minlength=len(truth.reach))
    mean = k.sum() / n.sum()
    raw = np.where(n > 0, k / np.maximum(n, 1), mean)[account]

    def loss(p):  # the level apart, which the naive rates do not even try to get right
        p = np.clip(p * real.mean() / p.mean(), 0.01, 0.97)
        return -(real * np.log(p) + (1 - real) * np.log(1 - p))

    assert spearmanr(own, real)[0] > spearmanr(raw, real)[0] + 0.05
    gain = loss(np.full(len(real), mean)) - loss(own)
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(np.unique(account)))
    assert loss(own).mean() < loss(raw).mean() - 0.1


def test_programs_that_open_mails_are_told_from_people(simulated):
    book, cut, _ = simulated
    log = Reactions.of(book.ledger(), cut)
    mails = log.channel == log.channels.index("email")
    account = log.ints("account")[mails]
    # A program opens everything; what is opened late was opened by a person.
    truth = book._people.machine_opens[account]
    machine = log.machine[mails]
    assert machine[truth & ~log.flag("bounced")[mails]].mean() > 0.9
    assert machine[~truth].mean() < 0.05
    assert (log.machine[~mails] == 0.0).all()


def test_mails_read_unseen_are_made_up_for(simulated):
    """Six of ten mails that are read load their images; seen rates are that far too low."""
    book, _, _ = simulated
    log = Reactions.of(book.ledger(), book.as_of)
    share, error, known = log.detection()
    email, letter, phone = (log.channels.index(c) for c in ("email", "letter", "phone"))
    assert known[[email, phone]].all()
    assert not known[letter]
    assert abs(share[email] - 0.6) < 3 * error[email]
    assert share[phone] == 1.0
    table = ReachModel().fit(book.ledger(), book.as_of).table().set_index("channel")
    mean = book.truth.reach[:, 0].mean()
    assert abs(table.reached["email"] / mean - 1) < 3 * table.noticed_stderr["email"] + 0.1
    assert abs(table.seen["email"] / mean - 1) > 0.25
    assert table.lower_bound.to_dict()["letter"]


def test_nothing_after_the_time_counts(simulated):
    book, cut, model = simulated
    whole = book.ledger()
    when = pa.scalar(cut)
    kept = {
        name: getattr(whole, name).filter(pc.less(getattr(whole, name)[column], when))
        for name, column in (("contacts", "decided_at"), ("responses", "at"))
    }
    kept["responses"] = kept["responses"].filter(
        pc.or_kleene(
            pc.is_null(kept["responses"]["contact_id"]),
            pc.is_in(
                kept["responses"]["contact_id"], kept["contacts"]["contact_id"].combine_chunks()
            ),
        )
    )
    early = type(whole).from_frames(
        accounts=whole.accounts, invoices=whole.invoices, timezone=whole.timezone, **kept
    )
    again = ReachModel().fit(early, cut)
    told, same = (m.profile(rows(whole, cut), HOURS) for m in (model, again))
    for part in ("channel", "hour", "weekday"):
        np.testing.assert_array_equal(getattr(told, part).mean, getattr(same, part).mean)
        np.testing.assert_array_equal(getattr(told, part).low, getattr(same, part).low)


def test_contacts_of_the_last_week_are_not_unreached():
    old = [contact(f"A{a}", 0, 0) for a in range(10)]
    new = [contact(f"A{a}", 1, 8) for a in range(10)]
    book = ledger([*old, *new], [response(c) for c in old])
    at = START + timedelta(days=12)
    assert len(Reactions.of(book, at)) == 10
    table = ReachModel().fit(book, at).table()
    assert table.seen.tolist() == [1.0]
    # ... nor do reactions count that came later than a week
    late = ledger(old, [response(c, hours=24 * 7.5) for c in old])
    assert ReachModel().fit(late, AS_OF).table().seen.tolist() == [0.0]


def test_what_was_decided_but_not_sent_is_no_contact():
    contacts = [contact(f"A{a}", 0, 0, cost=0.0 if a < 3 else 4.5) for a in range(10)]
    assert len(Reactions.of(ledger(contacts), AS_OF)) == 7
    free = [contact(f"A{a}", 0, 0, cost=0.0) for a in range(10)]
    assert len(Reactions.of(ledger(free), AS_OF)) == 10


def test_bounced_messages_speak_of_the_address_not_of_the_person():
    contacts = [contact(f"A{a:03d}", k, 7 * k, channel="sms") for a in range(60) for k in range(6)]
    dead = {f"A{a:03d}" for a in range(6)}
    told = [
        response(c, "bounced" if c["account_id"] in dead else "clicked")
        for c in contacts
        if c["account_id"] in dead or c["contact_id"].endswith(("0", "2", "4"))
    ]
    book = ledger(contacts, told)
    mean = ReachModel().fit(book, AS_OF).profile(rows(book), HOURS).channel.mean[:, 0]
    assert mean[:6].max() < 0.1
    assert mean[6:].min() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("channel", ["letter", "email"])
def test_books_without_a_reaction_have_low_rates_and_wide_doubts(channel):
    contacts = [contact(f"A{a}", k, 7 * k, channel=channel) for a in range(20) for k in range(3)]
    book = ledger(contacts)
    model = ReachModel().fit(book, AS_OF)
    told = model.profile(rows(book), HOURS)
    assert (told.channel.mean < 0.1).all()
    assert (told.channel.low <= told.channel.mean).all()
    assert (told.channel.mean <= told.channel.high).all()
    assert model.table().lower_bound.tolist() == [True]


def test_a_book_without_contacts_says_nothing():
    book = ledger([], accounts=["A1", "A2"])
    model = ReachModel().fit(book, AS_OF)
    told = model.profile(rows(book), HOURS)
    assert told.channel.mean.shape == (2, 0)
    assert told.hour.observations.sum() == 0
    actions = ActionSet.from_frame([{"channel": "none"}, {"channel": "email", "hour": 9.0}])
    assert model.predict(rows(book), actions).block().tolist() == [[0.0, 0.0]] * 2


def test_the_past_of_the_model_is_not_foretold(world):
    _, book, model = world
    with pytest.raises(InputError, match="a time not before"):
        model.profile(rows(book, "2026-06-01"), HOURS)
    with pytest.raises(NotFittedError):
        ReachModel().table()
