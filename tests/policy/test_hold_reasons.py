"""Holds with a reason: told in the record; a book without the column is as it was, to the byte."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

import collectopt as co
from collectopt.exceptions import InputError
from collectopt.messages.letters import in_words
from collectopt.policy import Everybody, NextBestAction
from collectopt.policy.sentences import Refusal
from collectopt.schema.fingerprints import fingerprints

CATALOGUE = co.Catalogue.from_dict({
    "channels": [{"name": "email", "cost": 0.05}], "cadence_days": 1, "slots": {"hours": [9]},
    "tones": {"order": ["friendly", "firm"]},
})  # fmt: skip
AS_OF = "2026-02-05T06:00Z"
FROM = date(2026, 2, 1)


def hold(account="A", kind="dispute", reason="goods came back damaged", **more):
    return {"account_id": account, "kind": kind, "from_on": FROM, "reason": reason, **more}


def ledger(*holds, **more):
    accounts = [{"account_id": a, "customer_type": "consumer", "country": "DE", "email_ok": True,
                 "customer_id": c} for a, c in (("A", "C1"), ("B", "C1"), ("C", None))]  # fmt: skip
    invoices = [{"invoice_id": a, "account_id": a, "issued_on": date(2026, 1, 2), "currency": "EUR",
                 "due_on": date(2026, 1, 20), "amount": 50.0} for a in "ABC"]  # fmt: skip
    return co.Ledger.from_frames(accounts=accounts, invoices=invoices, holds=list(holds), **more)


def decide(*holds, as_of=AS_OF):
    found = Everybody(CATALOGUE).decide(ledger(*holds), as_of)
    return found, {r["account_id"]: r for r in found.to_arrow().to_pylist()}


def test_why_since_when_and_until_when_is_told():
    found, rows = decide(hold(to_on=date(2026, 3, 1)))
    words = "n hold since 2026-02-01 until 2026-03-01, because goods came back damaged"
    assert [f"HOLD_DISPUTE: 2 refused; o{words}"] == [
        line for line in rows["A"]["rule_trace"] if line.startswith("HOLD")
    ]
    assert f"O{words} (HOLD_DISPUTE)." in rows["A"]["reasons"]
    assert f"o{words}" in str(found.explain("A"))
    assert not any("because" in line for a in "BC" for line in rows[a]["rule_trace"])
    letter = in_words(found, "A", catalogue=CATALOGUE)
    assert "damaged" not in letter  # what staff wrote down is not for the customer
    assert letter.count("HOLD_DISPUTE") == 1
    assert "until further notice" in " ".join(decide(hold())[1]["A"]["reasons"])


def test_a_hold_of_the_person_is_told_of_all_its_accounts():
    _, rows = decide(hold(kind="insolvency", reason="  file 12\n IN 3/26 "))
    for a in "AB":
        assert any("because file 12 IN 3/26 (HOLD_INSOLVENCY)" in w for w in rows[a]["reasons"])
    assert not any("file" in w for w in rows["C"]["reasons"])


@pytest.mark.parametrize(
    "other",
    [hold(to_on=date(2026, 2, 5)), hold(reason=None), hold(reason=" "), hold(invoice_id="A"),
     {**hold(), "from_on": date(2026, 2, 5)}],
)  # fmt: skip
def test_what_does_not_bind_or_says_nothing_is_not_told(other):
    row = decide(other)[1]["A"]
    assert not any("because" in line for line in (*row["rule_trace"], *row["reasons"]))


def test_several_reasons_are_told_in_order():
    two = [hold(reason="second", from_on=date(2026, 2, 2)), hold(reason="first")]
    for holds in (two, two[::-1]):
        row = decide(*holds)[1]["A"]
        (line,) = [line for line in row["rule_trace"] if "because" in line]
        first, second = line.split("; ")[1:]
        assert first == "on hold since 2026-02-01 until further notice, because first"
        assert second == "on hold since 2026-02-02 until further notice, because second"


def test_a_book_without_reasons_is_as_before(tmp_path):
    bare = {k: v for k, v in hold().items() if k != "reason"}
    plain, empty, full = ledger(bare), ledger(hold(reason=None)), ledger(hold())
    assert plain.holds.column_names == ["account_id", "kind", "from_on", "to_on", "invoice_id"]
    assert empty.holds.equals(plain.holds)
    assert empty.fingerprint == plain.fingerprint != full.fingerprint
    assert ledger().holds.column_names == plain.holds.column_names
    now = np.datetime64("2026-02-05T06:00", "us")
    prints = [fingerprints(one, ["A", "C"], now).field("holds") for one in (plain, empty, full)]
    assert prints[0].equals(prints[1])
    assert prints[0][0] != prints[2][0]
    assert prints[0][1] == prints[2][1]  # C has no hold
    assert decide(bare)[1] == decide(hold(reason=None))[1]
    full.to_parquet(tmp_path / "book")
    again = co.Ledger.from_parquet(tmp_path / "book")
    assert again.fingerprint == full.fingerprint
    assert again.remarks == full.remarks


def test_only_words_change():
    with_reason, without = decide(hold())[1], decide(hold(reason=None))[1]
    names = ["channel", "tone", "send_at", "propensity", "value", "policy_version", "decision_id"]
    assert [[r[n] for n in names] for r in with_reason.values()] == [
        [r[n] for n in names] for r in without.values()
    ]


def test_a_reason_is_a_text():
    book, listed = ledger(), {"account_id": ["A"], "kind": ["dispute"], "from_on": [FROM]}
    wrong = pa.table({**listed, "reason": [[1]]})
    with pytest.raises(InputError, match=r"holds.reason"):
        co.Ledger.from_frames(accounts=book.accounts, invoices=book.invoices, holds=wrong)


def test_the_facts_of_one_account_hold_it_too(kit):
    frames = kit.frames(5, explore=0.0, limits={"pre_due_days": 0})
    for each in frames.tables["holds"]:
        each["reason"] = "asked for time"
    catalogue, book = frames.parsed(), frames.ledger()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue))
    policy.fit(book, frames.as_of)
    records, told = policy.prepare().records(book, frames.as_of), 0
    for row in policy.decide(book, frames.as_of).to_arrow().to_pylist():
        state = records[row["account_id"]].state
        counts = dict(line.split(": ", 1) for line in row["rule_trace"])
        refusal = Refusal({c: int(s.split()[0]) for c, s in counts.items()}, "").told(state)
        assert refusal.trace == row["rule_trace"]
        assert set(refusal.on_hold) <= set(row["reasons"]) or row["channel"] != "none"
        told += bool(refusal.on_hold)
    assert told > 2
