"""Preferences of accounts: what the table holds, and what it is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models import ReachModel
from collectopt.policy import NextBestAction
from collectopt.policy.effects import ASSUMED, Effects
from collectopt.policy.preferences import COLUMNS, WEEKDAYS, preferences
from collectopt.schema import Catalogue, Ledger, Snapshot
from collectopt.simulation import Book

START = datetime(2026, 1, 5, tzinfo=UTC)
AT = datetime(2026, 12, 1, tzinfo=UTC)
CATALOGUE = Catalogue.from_dict(
    {
        "channels": [
            {"name": "email", "cost": 0.05},
            {"name": "phone", "cost": 4.5, "hours": [8, 18], "weekdays": [0, 1, 2, 3, 4]},
            {"name": "letter", "cost": 1.2},
        ],
        "tones": {"order": ["friendly", "firm"]},
        "cadence_days": 7,
        "slots": {"hours": [9, 19]},
        "timezone": "UTC",
    }
)


def hand_made(n=40, calls=12):
    """Even accounts answer at nine, odd ones at five in the afternoon; two forbid the phone."""
    contacts, responses, payments = [], [], []
    for a in range(n):
        for k in range(calls):
            hour = 9 if k % 2 == 0 else 17
            made = {
                "contact_id": f"A{a:02d}-{k}", "account_id": f"A{a:02d}", "channel": "phone",
                "tone": "friendly", "sent_at": START + timedelta(days=7 * k + a % 5, hours=hour),
            }  # fmt: skip
            contacts.append(made)
            if (hour == 9) == (a % 2 == 0):
                responses.append(
                    {"account_id": made["account_id"], "at": made["sent_at"], "kind": "answered",
                     "contact_id": made["contact_id"]}
                )  # fmt: skip
        payments.append(
            {"payment_id": f"P{a}", "account_id": f"A{a:02d}", "amount": 1.0,
             "paid_at": START, "method": "card" if a % 4 else "transfer"}
        )  # fmt: skip
    return Ledger.from_frames(
        accounts=[
            {"account_id": f"A{a:02d}", "customer_type": "consumer", "country": "DE",
             "phone_ok": a > 1}
            for a in range(n)
        ],
        invoices=[
            {"invoice_id": f"I{a}", "account_id": f"A{a:02d}", "issued_on": "2025-12-01",
             "due_on": "2025-12-15", "amount": 100.0, "currency": "EUR"}
            for a in range(n)
        ],
        contacts=contacts,
        responses=responses,
        payments=payments,
    )  # fmt: skip


class Response:
    """E-mail brings 2 points, phone 6, letter 1; firm 1 less than friendly; late 1 more."""

    def effect_factors(self, X):
        del X
        a = CATALOGUE.actions
        points = np.array([0.02, 0.06, 0.01])[a.channel] - np.where(a.tone == 1, 0.01, 0.0)
        points = points + np.where(a.hour > 12, 0.01, 0.0)
        return np.ones((1, 1)), np.where(a.is_contact, points, 0.0)[:, None]


@pytest.fixture(scope="module")
def ledger():
    return hand_made()


def ask(ledger, effects, at=AT):
    return preferences(Snapshot(ledger, at), CATALOGUE, _rules(), effects)


def _rules():
    from collectopt.rules.rules import Rules

    return Rules.from_catalogue(CATALOGUE)


def family(table, account, name):
    mine = table[(table.account_id == account) & (table.family == name)]
    return mine.set_index("level")


def test_every_account_has_every_level_ranked_within_its_family(ledger):
    table = ask(ledger, Effects(Response()))
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 40 * (3 + 2 + 7 + 2 + 2)
    for _, group in table.groupby(["account_id", "family"]):
        assert group["rank"].tolist() == list(range(1, len(group) + 1))
        assert group["allowed"].is_monotonic_decreasing  # what is not permitted comes last
        for _, part in group.groupby("allowed"):
            assert (np.diff(part["effect"].dropna()) <= 0).all()
    told = table.dropna(subset=["low"])
    assert (told["low"] <= told["effect"] + 1e-9).all()
    assert (told["effect"] <= told["high"] + 1e-9).all()


def test_effects_are_scaled_by_how_the_account_is_reached(ledger):
    table = ask(ledger, Effects(Response()))
    phone = family(table, "A10", "channel").loc["phone"]
    assert phone["unit"] == "chance to pay"
    # all else as usual: half of the contacts are firm, less than a half is late
    usual = -0.005 + 0.01 * np.mean(CATALOGUE.actions.hour[CATALOGUE.actions.is_contact] > 12)
    assert phone["effect"] == pytest.approx(0.06 + usual, abs=0.005)  # all are reached alike
    assert phone["observations"] == 12
    unknown = family(table, "A10", "channel").loc["email"]
    assert unknown["effect"] == pytest.approx(0.02 + usual)  # not in the log: as effects say
    assert unknown["observations"] == 0
    tone = family(table, "A10", "tone")
    assert tone.loc["friendly", "rank"] == 1
    assert tone.effect["friendly"] - tone.effect["firm"] == pytest.approx(0.01)
    assert tone["observations"].tolist() == [12, 0]


def test_hours_are_those_at_which_the_account_answers(ledger):
    assumed = ask(ledger, Effects(None, note=f"{ASSUMED}: no log."))
    assert assumed.attrs["note"].startswith(ASSUMED)
    early, late = (family(assumed, a, "hour") for a in ("A10", "A11"))
    assert early["unit"].tolist() == ["chance to be reached"] * 2
    assert early.loc["09:00", "effect"] > early.loc["19:00", "effect"] + 0.2
    # in the evening the phone is closed, and it alone is in the log: the letter and mail are open
    assert late.loc["19:00", "effect"] > late.loc["09:00", "effect"] + 0.2
    assert late["allowed"].all()
    assert early["observations"].tolist() == [6, 6]
    days = family(assumed, "A10", "weekday")
    assert sorted(days.index) == sorted(WEEKDAYS)
    assert days.loc["Monday", "observations"] == 12
    assert set(family(assumed, "A10", "tone")["unit"]) == {"no effect known"}
    channels = family(assumed, "A10", "channel")
    assert channels["unit"].tolist() == ["chance to pay, assumed"] * 3
    learnt = ask(ledger, Effects(Response()))
    assert family(learnt, "A11", "hour").loc["19:00", "rank"] == 1
    # though no calls are made in the evening, it is 1 point better, all else alike
    both = learnt[learnt.family == "hour"].groupby("level")["effect"].mean()
    assert both["19:00"] - both["09:00"] == pytest.approx(0.01, abs=0.004)


def test_what_consent_forbids_is_flagged_and_last(ledger):
    table = ask(ledger, Effects(Response()))
    phone = family(table, "A01", "channel").loc["phone"]
    assert not phone["allowed"]
    assert phone["rank"] == 3
    assert family(table, "A02", "channel").loc["phone", "rank"] == 1
    # no permitted channel is in the log: its hours are those of the calls before
    hours = family(ask(ledger, Effects(None)), "A01", "hour")["effect"]
    assert hours["19:00"] > hours["09:00"] + 0.2


def test_payment_methods_lean_to_what_the_account_used(ledger):
    table = ask(ledger, Effects(Response()))
    assert family(table, "A08", "payment_method").index[0] == "transfer"
    assert family(table, "A09", "payment_method").index[0] == "card"
    assert family(table, "A08", "payment_method")["observations"].tolist() == [1, 0]


def test_later_rows_change_nothing(ledger):
    early = START + timedelta(days=40)
    whole = ask(ledger, Effects(Response()), early)
    kept = {
        "contacts": [c for c in ledger.contacts.to_pylist() if c["sent_at"] < early],
        "responses": [r for r in ledger.responses.to_pylist() if r["at"] < early],
    }
    shorter = Ledger.from_frames(
        accounts=ledger.accounts, invoices=ledger.invoices, payments=ledger.payments, **kept
    )
    told = ask(shorter, Effects(Response()), early)
    assert whole.equals(told)


def test_a_fitted_policy_tells_preferences():
    book = Book("b2b", accounts=800, seed=707)
    policy = NextBestAction(book.catalogue)
    snapshot = Snapshot(book.ledger(), book.as_of)
    with pytest.raises(NotFittedError):
        policy.preferences(snapshot)
    policy.payment_ = object()
    policy.effects_ = Effects(None, note=ASSUMED)
    table = policy.preferences(snapshot)
    assert table.account_id.nunique() == len(snapshot)
    assert table[table.family == "hour"].effect.between(0, 1).all()
    # hours that the firms prefer rank first more often than by chance
    hour = table[(table.family == "hour") & table.allowed & (table["rank"] == 1)]
    place = {a: i for i, a in enumerate(book.truth.account_id)}
    best = book.truth.preferred_hour[[place[a] for a in hour.account_id]]
    chosen = hour.level.str[:2].astype(float) + hour.level.str[3:].astype(float) / 60
    assert np.abs(chosen.to_numpy() - best).mean() < 0.7 * np.abs(9.0 - best).mean()
    rows = [{"account_id": "A000001", "as_of": t} for t in (book.as_of, book.as_of - timedelta(1))]
    with pytest.raises(InputError, match="one time for all rows"):
        policy.preferences(Snapshot.from_rows(book.ledger(), rows))


def test_reach_is_learnt_from_the_snapshot_alone(ledger):
    told = ask(ledger, Effects(None))
    model = ReachModel().fit(ledger, AT)
    snapshot = Snapshot(ledger, AT)
    hour = model.profile(snapshot, np.array([9.0, 19.0])).hour
    mine = family(told, "A20", "hour").loc[["09:00", "19:00"], "effect"]
    row = snapshot.rows["account_id"].to_pylist().index("A20")
    np.testing.assert_allclose(mine, hour.mean[row])


def test_a_snapshot_without_accounts_gives_an_empty_table(ledger):
    table = ask(ledger, Effects(None), START - timedelta(days=365))
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 0
