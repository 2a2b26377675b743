"""The quality of data: what its gaps block of the catalogue, no more and no less."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from collectopt import data_quality
from collectopt.exceptions import InputError
from collectopt.policy import Help, NextBestAction
from collectopt.policy.quality import Gap
from collectopt.schema import Catalogue, Ledger, Snapshot

AS_OF = datetime(2026, 6, 3, 4, tzinfo=UTC)  # the day before Corpus Christi
TODAY = AS_OF.date()
SPEC = {
    "channels": [{"name": "email"}, {"name": "phone"}], "slots": {"hours": [9]}, "cadence_days": 2,
    "timezone": "Europe/Berlin", "tones": {"order": ["friendly"]},
}  # fmt: skip
SENT = AS_OF - timedelta(days=9)


def book(accounts, bounced=(), later=(), **tables):
    """Accounts past due; the e-mail to some came back."""
    plain = {"customer_type": "consumer", "country": "DE", "timezone": "Europe/Berlin",
             "email_ok": True, "phone_ok": True, "region": "BE"}  # fmt: skip
    rows = {
        "accounts": [{"account_id": a, **plain, **own} for a, own in accounts.items()],
        "invoices": [{"invoice_id": f"I{a}", "account_id": a, "amount": 50.0, "currency": "EUR",
                      "issued_on": TODAY - timedelta(days=40), "due_on": TODAY - timedelta(days=20)}
                     for a in accounts],
        "contacts": [{"contact_id": f"C{a}", "account_id": a, "sent_at": SENT, "channel": "email",
                      "tone": "friendly"} for a in accounts],
        "responses": [{"account_id": a, "at": SENT + timedelta(hours=1), "kind": "bounced",
                       "contact_id": f"C{a}"} for a in bounced] + list(later),
    }  # fmt: skip
    rows |= tables
    return Ledger.from_frames(**{name: given for name, given in rows.items() if given})


def found(ledger, catalogue=None, now=AS_OF, **change):
    catalogue = catalogue or Catalogue.from_dict({**SPEC, **change})
    return data_quality(Snapshot(ledger, now), catalogue)


ACCOUNTS = {
    "fine": {}, "lost": {}, "unasked": {"phone_ok": None}, "both": {"phone_ok": None},
    "refused": {"phone_ok": False}, "left": {},
}  # fmt: skip
OPT_OUT = {"account_id": "left", "at": SENT + timedelta(hours=2), "kind": "opted_out",
           "contact_id": "Cleft"}  # fmt: skip


def test_by_hand():
    """Half of the catalogue are e-mails, half are calls.

    Who refuses calls, or wants no e-mail that did not arrive anyway, leaves nothing to find out.
    """
    ledger = book(ACCOUNTS, bounced=("lost", "both", "left"), later=[OPT_OUT])
    quality = found(ledger)
    table = quality.to_pandas().set_index("account_id")
    assert table["score"].to_dict() == {
        "fine": 1.0, "lost": 0.5, "unasked": 0.5, "both": 0.0, "refused": 1.0, "left": 1.0,
    }  # fmt: skip
    assert table.loc["both", ["address", "consent", "place"]].tolist() == [0.5, 0.5, 0.0]
    named = table[["worst", "help"]].dropna()
    assert named["worst"].to_dict() == {
        "lost": Gap.ADDRESS, "both": Gap.ADDRESS, "unasked": Gap.CONSENT,
    }  # fmt: skip
    assert named["help"].to_dict() == {
        "lost": Help.UPDATE_CONTACT, "both": Help.UPDATE_CONTACT, "unasked": Help.REGISTER_PORTAL,
    }  # fmt: skip
    assert quality.summary() == {
        "accounts": 6, "score": pytest.approx(4 / 6), "gaps": {"address": 2, "consent": 2,
                                                               "place": 0},
    }  # fmt: skip
    assert "6 accounts, mean score 0.667" in quality._repr_html_()


def test_a_catalogue_without_calls_needs_to_know_nothing_of_them():
    quality = found(book(ACCOUNTS), channels=[{"name": "email"}])
    assert (quality.score == 1.0).all()


def test_a_state_matters_where_a_holiday_is_near():
    """Tomorrow's call is one of four contacts; in Bavaria it is the law that forbids it."""
    regions = {"unknown": {"region": None}, "bavaria": {"region": "BY"}, "berlin": {}}
    quality = found(book(regions), jurisdiction="de")
    table = quality.to_pandas().set_index("account_id")
    assert table["score"].to_dict() == {"unknown": 0.75, "bavaria": 1.0, "berlin": 1.0}
    assert table.loc["unknown", "worst"] is Gap.PLACE
    earlier = found(book(regions), jurisdiction="de", now=AS_OF - timedelta(days=2))
    assert (earlier.score == 1.0).all()


def test_a_time_zone_and_a_consent_matter_to_a_collector_abroad():
    known = {"timezone": "America/New_York", "country": "US"}
    people = {"known": known, "unknown": {**known, "timezone": None}}
    quality = found(book(people), jurisdiction="us_regf", timezone="America/New_York")
    table = quality.to_pandas().set_index("account_id")
    # 9 o'clock in New York is night in Los Angeles
    assert table["score"].to_dict() == {"known": 1.0, "unknown": 0.0}
    assert table.loc["unknown", "worst"] is Gap.PLACE
    silent = book({"a": known})
    frame = silent.accounts.to_pandas().drop(columns=["phone_ok"])
    bare = Ledger.from_frames(accounts=frame, invoices=silent.invoices.to_pandas())
    # a collector there needs to know, and the book keeps no such column
    assert found(bare, jurisdiction="us_regf").score.tolist() == [0.5]
    assert found(bare).score.tolist() == [1.0]


def test_what_confirms_is_told():
    told = [
        {"account_id": "fine", "at": SENT + timedelta(days=d), "kind": kind, "contact_id": "Cfine"}
        for d, kind in ((0.1, "delivered"), (2, "answered"), (5, "bounced"), (20, "answered"))
    ]
    table = found(book(ACCOUNTS, later=told)).to_pandas().set_index("account_id")
    assert table.loc["fine", "confirmed_on"] == pd.Timestamp((SENT + timedelta(days=2)).date())
    assert table["confirmed_on"].isna().sum() == 5


@pytest.mark.parametrize("seed", range(6))
def test_a_fact_more_never_lowers_a_score(kit, seed):
    """Whatever it says: a yes, a no, a state, a zone, a message that arrived, an opt-out."""
    frames = kit.frames(seed)
    catalogue = frames.parsed()
    before = data_quality(Snapshot(frames.ledger(), frames.as_of), catalogue)
    assert ((before.score >= 0) & (before.score <= 1)).all()
    assert (before.lost.max(axis=1) <= 1.0 - before.score + 1e-12).all()
    assert (1.0 - before.score <= before.lost.sum(axis=1) + 1e-12).all()
    rng = np.random.default_rng(seed)
    accounts = frames.tables["accounts"]
    hour_ago = frames.as_of - timedelta(hours=1)
    facts = []
    for row in accounts:
        for column in ("email_ok", "sms_ok", "phone_ok", "region"):
            if row[column] is None:
                value = "BY" if column == "region" else bool(rng.random() < 0.5)
                facts.append((row, column, value))
    for row, column, value in [facts[i] for i in rng.permutation(len(facts))[:3]]:
        row[column] = value
        after = data_quality(Snapshot(frames.ledger(), frames.as_of), catalogue)
        assert (after.score >= before.score).all()
        before = after
    sent = [c for c in frames.tables.get("contacts", ()) if c["sent_at"] < hour_ago]
    sent = [c for c in sent if c["channel"] != "none"]
    for kind in ("delivered", "opted_out"):
        contact = sent[rng.integers(len(sent))]
        told = {"account_id": contact["account_id"], "at": hour_ago, "kind": kind,
                "contact_id": contact["contact_id"], "due_on": None}  # fmt: skip
        frames.tables.setdefault("responses", []).append(told)
        after = data_quality(Snapshot(frames.ledger(), frames.as_of), catalogue)
        assert (after.score >= before.score).all()
        before = after


def test_the_future_changes_nothing():
    before = found(book(ACCOUNTS)).to_pandas()
    later = [
        {"account_id": a, "at": AS_OF + timedelta(days=1), "kind": kind, "contact_id": f"C{a}"}
        for a in ACCOUNTS
        for kind in ("bounced", "answered")
    ]
    later += [{**row, "at": AS_OF} for row in later]
    pd.testing.assert_frame_equal(found(book(ACCOUNTS, later=later)).to_pandas(), before)


def test_a_fact_is_worth_what_the_best_contact_gains(kit):
    """50 EUR open; of 0.4 x ... the stub's effects only the difference between contacts counts."""
    catalogue = Catalogue.from_dict({**SPEC, "house": {"doubt": 1.0, "distress": 1.0}})
    ledger = book({"lost": {"phone_ok": False}, "fine": {}}, bounced=("lost",))
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, size=0.05)
    ).fit(ledger, AS_OF)
    snapshot = Snapshot(ledger, AS_OF)
    quality = data_quality(snapshot, catalogue, policy=policy)
    worth = quality.to_pandas().set_index("account_id")["worth"]
    ids = snapshot.rows["account_id"].to_pylist()
    state, _ = policy._facts(snapshot)
    emails = np.flatnonzero(catalogue.actions.channel == 0)
    values = policy._own_case(snapshot, state)[0].euros(np.arange(2), emails)
    best = values[ids.index("lost")].max()
    assert best > 1.0
    assert worth["lost"] == pytest.approx(best), "no other channel is open, and to wait brings 0"
    assert worth["fine"] == 0.0
    helps = {
        price: data_quality(snapshot, catalogue, policy=policy, incentive=price).to_pandas()["help"]
        for price in (0.0, float(best) - 0.01, float(best))
    }
    assert [h.notna().sum() for h in helps.values()] == [1, 1, 0]


def test_what_is_not_given_right_is_refused(kit):
    ledger, catalogue = book(ACCOUNTS), Catalogue.from_dict(SPEC)
    with pytest.raises(InputError, match="incentive"):
        data_quality(Snapshot(ledger, AS_OF), catalogue, incentive=-1.0)
    other = NextBestAction(Catalogue.default())
    with pytest.raises(InputError, match="another catalogue"):
        data_quality(Snapshot(ledger, AS_OF), catalogue, policy=other)
    nobody = data_quality(Snapshot(ledger, date(2020, 1, 1)), catalogue)
    assert len(nobody) == len(nobody.to_pandas()) == 0
    assert "0 accounts" in repr(nobody)


def test_validate_tells_it(tmp_path, monkeypatch, capsys):
    import json

    from collectopt.jobs.cli import main

    ledger = book(ACCOUNTS, bounced=("lost",))
    (tmp_path / "book").mkdir()
    for name in ("accounts", "invoices", "contacts", "responses"):
        ledger.table(name).to_pandas().to_parquet(tmp_path / "book" / f"{name}.parquet")
    config = tmp_path / "c.toml"
    config.write_text(
        '[[channels]]\nname = "email"\n[[channels]]\nname = "phone"\n[slots]\nhours = [9]\n'
    )
    for more in (["--json"], []):
        words = ["collectopt", "validate", str(tmp_path / "book"), "--config", str(config), *more]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
        out = capsys.readouterr().out
        if more:
            assert json.loads(out)["data_quality"] == {
                "accounts": 6, "score": 0.75, "gaps": {"address": 1, "consent": 2, "place": 0},
            }  # fmt: skip
        else:
            assert "data quality: accounts 6, score 0.750, gaps address 1, consent 2" in out
