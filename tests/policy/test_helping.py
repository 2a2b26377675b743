"""Help beside the messages: each account gets the mildest that fits, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from collectopt.policy.engine import Case
from collectopt.policy.helping import Help, recommend
from collectopt.rules import Layout, State
from collectopt.schema import Catalogue, Ledger, Snapshot

AS_OF = datetime(2026, 2, 5, 6, tzinfo=UTC)
TODAY = AS_OF.date()
CATALOGUE = Catalogue.from_dict(
    {"channels": [{"name": "email"}, {"name": "phone"}], "slots": {"hours": [9]},
     "cadence_days": 1, "timezone": "UTC"}
)  # fmt: skip
NAMES = ("bounced", "banned", "broke", "fine", "plan", "one_left")


class Worth(Case):
    """An e-mail is worth 3 EUR, a call 5."""

    def values(self, rows, columns=slice(None)):
        channel = CATALOGUE.actions.channel[columns]
        return np.tile(np.where(channel == 0, 3.0, 5.0), (len(rows), 1))

    def details(self, rows, action):
        raise NotImplementedError


class Ladder(Worth):
    """As where the guard keeps the ladder: choices are ordered, not valued."""

    def values(self, rows, columns=slice(None)):
        return np.full((len(rows), len(CATALOGUE.actions.kind[columns])), 0.01)

    def euros(self, rows, columns=slice(None)):
        return super().values(rows, columns)


def snapshot_at(now):
    def account(name):
        person = {"account_id": name, "customer_type": "consumer", "country": "DE"}
        consent = {"email_ok": name != "banned", "phone_ok": name not in {"bounced", "banned"}}
        return {**person, "timezone": "UTC", **consent}

    back = ("bounced", "one_left")
    sent = AS_OF - timedelta(days=9)
    ledger = Ledger.from_frames(
        accounts=[account(name) for name in NAMES],
        invoices=[{"invoice_id": f"I{n}", "account_id": n, "issued_on": TODAY - timedelta(days=40),
                   "due_on": TODAY - timedelta(days=20), "amount": 50.0, "currency": "EUR"}
                  for n in NAMES],
        contacts=[{"contact_id": f"C{n}", "account_id": n, "sent_at": sent, "channel": "email",
                   "tone": "friendly"} for n in back],
        responses=[{"account_id": n, "at": sent + timedelta(hours=1), "kind": "bounced",
                    "contact_id": f"C{n}"} for n in back],
        holds=[{"account_id": "plan", "kind": "payment_plan", "from_on": TODAY - timedelta(days=5),
                "to_on": TODAY + timedelta(days=30)}],
    )  # fmt: skip
    return Snapshot(ledger, now)


def helps(now=AS_OF, case=Worth):
    snapshot = snapshot_at(now)
    state = State.of(snapshot, CATALOGUE, Layout.of(CATALOGUE.actions))
    ids = snapshot.rows["account_id"].to_pylist()
    state = replace(state, distress=np.array([0.9 if a == "broke" else 0.1 for a in ids]))
    return recommend(snapshot, state, CATALOGUE, case()).set_index("account_id")


def test_the_mildest_that_fits():
    table = helps()
    assert table["help"].to_dict() == {
        "bounced": Help.UPDATE_CONTACT, "banned": Help.REGISTER_PORTAL, "broke": Help.ADVICE,
        "plan": Help.WAIT_UNTIL,
    }  # fmt: skip
    assert table.loc["plan", "until"] == pd.Timestamp(TODAY + timedelta(days=30))
    assert table.loc["bounced", "worth"] == 3.0, "of the channel that lacks its address alone"
    assert table.drop("bounced")["worth"].isna().all()
    assert "email" in table.loc["bounced", "why"]


def test_the_worth_of_an_address_is_in_euros_where_the_ladder_is_kept():
    assert helps(case=Ladder).loc["bounced", "worth"] == 3.0


def test_only_what_is_known_counts():
    table = helps(AS_OF - timedelta(days=12))
    assert "bounced" not in table.index
    assert "plan" not in table.index
