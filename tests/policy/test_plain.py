"""Plain policies: nobody, anybody, everybody; inside the rules, with exact propensities."""

from __future__ import annotations

import numpy as np
import pytest

from collectopt import load
from collectopt.exceptions import InputError
from collectopt.policy import Everybody, NoContact, Random
from collectopt.schema import Catalogue
from collectopt.simulation import Book


@pytest.fixture(scope="module")
def book():
    return Book("shop", accounts=600, seed=4, weeks=16)


def frame(policy, book, rng=0):
    return policy.decide(book.ledger(), book.as_of, rng).to_pandas()


@pytest.mark.parametrize("seed", range(12))
def test_plain_policies_break_no_rule(kit, seed):
    frames = kit.frames(seed)
    catalogue = frames.parsed()
    for policy in (NoContact(catalogue), Random(catalogue, 0.8), Everybody(catalogue)):
        kit.check(frames, policy.decide(frames.ledger(), frames.as_of, seed))


def test_nobody_is_contacted(book):
    decisions = frame(NoContact(book.catalogue), book)
    assert len(decisions) > 50
    assert set(decisions["channel"]) == {"none"}
    assert (decisions["propensity"] == 1.0).all()


def test_random_contacts_come_as_often_as_their_propensities_say(book):
    policy = Random(book.catalogue, contact=0.6)
    runs = [frame(policy, book, rng) for rng in range(12)]
    eligible = np.mean([run["propensity"] < 1.0 for run in runs], axis=0) == 1.0
    assert eligible.sum() > 30
    # P(wait) of an account is the propensity of the runs in which it waits
    waits = np.array([run["channel"] == "none" for run in runs])[:, eligible]
    p = np.array([run["propensity"] for run in runs])[:, eligible]
    some = waits.any(axis=0)
    p_wait = np.where(waits, p, 0.0).max(axis=0)[some]
    assert p_wait.min() > 0.4
    spread = np.sqrt((p_wait * (1.0 - p_wait) / len(runs)).sum())
    # an account enters if it waited at least once: take that chance into account
    seen = 1.0 - (1.0 - p_wait) ** len(runs)
    excess = waits.mean(axis=0)[some].sum() - (p_wait / seen).sum()
    assert abs(excess) < 3.0 * spread


def test_random_spreads_over_channels_and_hours(book):
    runs = [frame(Random(book.catalogue, contact=1.0), book, rng) for rng in range(3)]
    sent = [run[run["channel"] != "none"] for run in runs]
    for run in sent:
        used = run["channel"].value_counts()
        for channel in book.catalogue.channels:
            assert used.get(channel.name, 0) <= (channel.capacity or len(run))
        assert {"email", "sms", "letter"} <= set(used.index)
        assert run["send_at"].nunique() > 10


def test_everybody_is_written_to_by_the_cheapest_permitted_channel(book):
    decisions = frame(Everybody(book.catalogue), book).set_index("account_id")
    sent = decisions[decisions["channel"] != "none"]
    assert set(sent["tone"]) == {"friendly"}
    assert set(sent["offer"]) == {"none"}
    accounts = book.ledger().accounts.to_pandas().set_index("account_id").loc[sent.index]
    state = book._end
    out = state.opted_out[[int(a[1:]) for a in sent.index]]
    bounced = sent["channel"].ne("email") & accounts["email_ok"] & ~out[:, 0]
    assert bounced.mean() < 0.15, "who has consented to email gets email, unless it bounced"
    assert {"email", "sms"} <= set(sent["channel"])
    assert accounts.loc[sent["channel"] == "sms", "sms_ok"].all()


def test_everybody_waits_a_week_from_one_message_to_the_next(book):
    ledger, as_of = book.ledger(), book.as_of
    contacts = ledger.contacts.to_pandas()
    contacts = contacts[contacts["channel"] != "none"]
    last = contacts.groupby("account_id")["sent_at"].max()
    sent = frame(Everybody(book.catalogue), book)
    sent = sent[sent["channel"] != "none"]["account_id"]
    days = (last.reindex(sent).dt.tz_convert("Europe/Berlin").dt.normalize()).dropna()
    today = np.datetime64(as_of.date(), "D")
    gaps = today - days.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    assert len(sent) > 40
    assert gaps.astype(int).min() >= 7
    often = Everybody(book.catalogue, every_days=1)
    assert (frame(often, book)["channel"] != "none").sum() > len(sent)


@pytest.mark.parametrize(
    "make", [NoContact, lambda c: Random(c, 0.4), lambda c: Everybody(c, "sms", every_days=14)]
)
def test_a_plain_policy_is_saved_and_read_back(tmp_path, make):
    policy = make(Catalogue.default())
    policy.save(tmp_path / "policy")
    again = load(tmp_path / "policy")
    assert repr(again) == repr(policy)
    assert again.version == policy.version


@pytest.mark.parametrize(
    "make",
    [
        lambda c: Random(c, 0.0),
        lambda c: Everybody(c, channel="pigeon"),
        lambda c: Everybody(c, tone="rude"),
        lambda c: Everybody(c, offer="gold"),
        lambda c: Everybody(c, every_days=0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(InputError):
        make(Catalogue.default())
