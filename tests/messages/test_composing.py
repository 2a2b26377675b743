"""Messages: right to the cent, without what is on hold, each with a way to pay and to talk."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

import collectopt as co
from collectopt.exceptions import InputError
from collectopt.messages import compose, starter_templates
from collectopt.messages.filling import Breakdown, Claim, Letter, fill
from collectopt.models.templates import TemplateEffects
from collectopt.rules.layout import Layout
from collectopt.rules.state import State
from collectopt.schema.decisions import SCHEMA, Decisions
from collectopt.schema.templates import ATTRIBUTES, PLACEHOLDERS, Template
from collectopt.schema.wording import lint

TODAY = date(2026, 3, 2)
AS_OF = "2026-03-02T06:00Z"
CATALOGUE = co.Catalogue.default()
CHANNELS = ("email", "sms", "letter", "phone")


def decided(accounts, *, channel=None, tone="friendly", offer="none"):
    """A decision to contact for every account, channels in turn."""
    n = len(accounts)
    columns = {
        "account_id": list(accounts),
        "channel": [channel or CHANNELS[k % 4] for k in range(n)],
        "tone": [tone] * n,
        "offer": [offer] * n,
        "decision_id": [f"d-{a}" for a in accounts],
    }
    arrays = [pa.array(columns.get(f.name, [None] * n), f.type) for f in SCHEMA]
    return Decisions(pa.table(arrays, schema=SCHEMA))


def random_book(seed, n=80):
    """Claims with fees, interest, part payments and holds, and what is open by plain counting."""
    rng = np.random.default_rng(seed)
    invoices, payments, holds, due = [], [], [], {}
    for a in range(n):
        account = f"A{a:03d}"
        for k in range(int(rng.integers(1, 6))):
            name, cents = f"I{a:03d}-{k}", int(rng.integers(1, 100_000))
            late = int(rng.integers(-20, 90))
            kind = rng.choice(["invoice", "fee", "interest", None], p=[0.5, 0.2, 0.1, 0.2])
            on = TODAY - timedelta(days=late)
            invoices.append(
                {
                    "invoice_id": name,
                    "account_id": account,
                    "currency": "EUR",
                    "issued_on": on - timedelta(days=40),
                    "due_on": on,
                    "kind": kind,
                    "amount": Decimal(cents).scaleb(-2),
                }
            )
            paid = int(rng.integers(0, cents)) if rng.random() < 0.3 else 0
            paid = cents if rng.random() < 0.1 else paid
            if paid:
                payments.append(
                    {
                        "payment_id": f"P{name}",
                        "account_id": account,
                        "paid_at": f"{TODAY - timedelta(days=1)}T08:00Z",
                        "invoice_id": name,
                        "amount": Decimal(paid).scaleb(-2),
                        "method": rng.choice(["card", "transfer"]),
                    }
                )
            held = rng.random() < 0.2
            if held:
                holds.append(
                    {
                        "account_id": account,
                        "kind": "dispute",
                        "invoice_id": name,
                        "from_on": TODAY - timedelta(days=3),
                    }
                )
            if late > 0 and not held and cents > paid:
                due.setdefault(account, {})[name] = (cents - paid, kind or "invoice")
    accounts = [
        {
            "account_id": f"A{a:03d}",
            "customer_type": "consumer",
            "country": "DE",
            "language": ["de", "en", None, "fr"][a % 4],
        }
        for a in range(n)
    ]
    ledger = co.Ledger.from_frames(
        accounts=accounts, invoices=invoices, payments=payments, holds=holds, timezone="UTC"
    )
    return ledger, due  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_sums_are_what_is_open_to_the_cent_and_held_claims_are_left_out(seed):
    ledger, due = random_book(seed)
    accounts = ledger.accounts["account_id"].to_pylist()
    messages = compose(decided(accounts), ledger, CATALOGUE, as_of=AS_OF)
    rows = {row["account_id"]: row for row in messages.to_arrow().to_pylist()}
    assert set(rows) == set(due)
    for account, claims in due.items():
        row = rows[account]
        assert {c["invoice_id"]: int(c["open"] * 100) for c in row["claims"]} == {
            name: cents for name, (cents, _) in claims.items()
        }
        assert row["total"] == Decimal(sum(cents for cents, _ in claims.values())).scaleb(-2)
        assert row["total"] == sum(c["open"] for c in row["claims"])
        assert row["total"] == row["principal"] + row["fees"] + row["interest"]
        for kind, column in (("fee", "fees"), ("interest", "interest")):
            part = sum(cents for cents, what in claims.values() if what == kind)
            assert row[column] == Decimal(part).scaleb(-2)
    # and it is what the rules count as the amount to recover
    snapshot = co.Snapshot(ledger, AS_OF)
    state = State.of(snapshot, CATALOGUE, Layout.of(CATALOGUE.actions))
    counted = dict(zip(snapshot.rows["account_id"].to_pylist(), state.open_amount, strict=True))
    for account, row in rows.items():
        assert float(row["total"]) == pytest.approx(counted[account], abs=1e-6)


@pytest.fixture(scope="module")
def book():
    return random_book(7)


def test_every_digital_message_has_a_link_and_a_contact(book):
    ledger, due = book
    for tone in CATALOGUE.tone_names:
        messages = compose(
            decided(sorted(due), tone=tone), ledger, CATALOGUE, as_of=AS_OF,
            payment_link="https://pay.example/{account_id}/{decision_id}",
            contact="help@example.org", creditor="Example Ltd",
        )  # fmt: skip
        for row in messages.to_arrow().to_pylist():
            assert row["template"].startswith(f"{row['channel']}_{tone}")
            if row["channel"] == "phone":
                assert row["payment_link"] is None
                continue
            link = f"https://pay.example/{row['account_id']}/d-{row['account_id']}"
            assert row["payment_link"] == link
            assert link in row["text"]
            assert row["contact"] == "help@example.org"
            assert "help@example.org" in row["text"]
            assert "Example Ltd" in row["text"]
            assert "{" not in row["text"]
    # also where no template fits
    bare = compose(
        decided(sorted(due), channel="email", tone="other"), ledger, CATALOGUE, as_of=AS_OF
    )
    assert set(bare.to_arrow()["payment_link"].to_pylist()) == {"{payment_link}"}
    assert bare.to_arrow()["template"].null_count == len(bare) == len(due)


def test_texts_tell_the_total_in_the_language_of_the_customer(book):
    ledger, due = book
    messages = compose(decided(sorted(due)), ledger, CATALOGUE, as_of=AS_OF, language="de")
    spoken = dict(
        zip(*(ledger.accounts[c].to_pylist() for c in ("account_id", "language")), strict=True)
    )
    for row in messages.to_arrow().to_pylist():
        assert row["language"] == ("en" if spoken[row["account_id"]] == "en" else "de")
        amount = f"{row['total']:,.2f}"
        if row["language"] == "de":
            amount = amount.translate(str.maketrans(",.", ".,"))
        assert f"{amount} EUR" in row["text"]
        if row["channel"] != "sms":
            assert all(claim["invoice_id"] in row["text"] for claim in row["claims"])
        assert list(lint(row["text"])) == []


def test_the_draw_is_the_same_again_and_its_chance_is_told(book):
    ledger, due = book
    decisions = decided(sorted(due), channel="email")
    one = compose(decisions, ledger, CATALOGUE, as_of=AS_OF)
    two = compose(decisions, ledger, CATALOGUE, as_of=AS_OF)
    assert one.to_arrow().equals(two.to_arrow())
    table = one.to_pandas()
    assert set(table["template_propensity"]) == {0.5}
    assert table["template"].nunique() == 4  # two of each language
    sure = TemplateEffects.prior()
    sure.theta[ATTRIBUTES.index("invites to talk")] = 0.1
    table = compose(decisions, ledger, CATALOGUE, as_of=AS_OF, effects=sure).to_pandas()
    liked = table["template"].str.contains("dialogue")
    assert liked.mean() > 0.85
    assert (table.loc[liked, "template_propensity"] > 0.9).all()
    assert (table.loc[~liked, "template_propensity"] < 0.1).all()


def test_nothing_from_later_counts(book):
    ledger, due = book
    tables = {name: ledger.table(name) for name in ("accounts", "invoices", "holds", "contacts")}
    later = [
        {"payment_id": f"L{a}", "account_id": a, "paid_at": AS_OF, "amount": Decimal("1.00"),
         "method": "cash"}
        for a in sorted(due)
    ]  # fmt: skip
    payments = pa.concat_tables(
        [ledger.payments, co.Ledger.from_frames(**tables, payments=later, timezone="UTC").payments]
    )
    changed = co.Ledger.from_frames(**tables, payments=payments, timezone="UTC")
    decisions = decided(sorted(due))
    before = compose(decisions, ledger, CATALOGUE, as_of=AS_OF).to_arrow()
    after = compose(decisions, changed, CATALOGUE, as_of=AS_OF).to_arrow()
    assert before.equals(after)
    assert not any("cash" in ways for ways in after["methods"].to_pylist())


def test_waits_and_hand_overs_are_no_messages(book):
    ledger, due = book
    for channel in ("none", "agency", "court", "stop"):
        nothing = compose(decided(sorted(due), channel=channel), ledger, CATALOGUE, as_of=AS_OF)
        assert len(nothing) == 0
    assert "0 contacts" in repr(nothing)


def test_accounts_of_another_book_are_refused(book):
    with pytest.raises(InputError, match="accounts of this ledger"):
        compose(decided(["X"]), book[0], CATALOGUE, as_of=AS_OF)


def test_methods_come_by_preference():
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE"} for a in "AB"],
        invoices=[
            {"invoice_id": f"I{a}{k}", "account_id": a, "issued_on": "2026-01-01",
             "due_on": f"2026-02-{k + 1:02d}", "amount": 10, "currency": "EUR"}
            for a in "AB" for k in range(9)
        ],
        payments=[
            {"payment_id": f"P{a}{k}", "account_id": a, "paid_at": f"2026-02-{k + 1:02d}T08:00Z",
             "amount": 10, "method": "card" if a == "A" else "transfer"}
            for a in "AB" for k in range(8)
        ],
    )  # fmt: skip
    messages = compose(decided("AB", channel="email"), ledger, CATALOGUE, as_of=AS_OF)
    assert messages.to_arrow()["methods"].to_pylist() == [
        ["card", "transfer"],
        ["transfer", "card"],
    ]
    assert "card and bank transfer" in messages.to_arrow()["text"][0].as_py()


def test_own_templates_and_texts_of_one_s_own_system(book):
    ledger, due = book
    own = {"name": "mine", "channel": "email", "tone": "friendly", "language": "fr",
           "payment_link": True, "contact_option": True}  # fmt: skip
    base = {"channels": [{"name": "email"}], "timezone": "UTC"}
    catalogue = co.Catalogue.from_dict({**base, "templates": [own]})
    decisions = decided(sorted(due), channel="email")
    table = compose(decisions, ledger, catalogue, as_of=AS_OF).to_pandas()
    assert set(table["template"]) == {"mine"}
    assert table["text"].isna().all()
    spoken = {**own, "text": "{salutation} {payment_link} {contact}"}
    french = co.Catalogue.from_dict({**base, "templates": [spoken]})
    with pytest.raises(InputError, match=r"words for \{salutation\}: en, de"):
        compose(decisions, ledger, french, as_of=AS_OF)
    plain = {**own, "text": "Bonjour, payez {payment_link} ou parlez {contact}."}
    plain = co.Catalogue.from_dict({**base, "templates": [plain]})
    texts = set(compose(decisions, ledger, plain, as_of=AS_OF).to_pandas()["text"])
    assert texts == {"Bonjour, payez {payment_link} ou parlez {contact}."}


def test_starters_cover_the_default_and_keep_the_house_rules():
    templates = starter_templates()
    assert {(t.channel, t.tone, t.language) for t in templates} == {
        (channel, tone, language)
        for channel in CATALOGUE.channel_names
        for tone in CATALOGUE.tone_names
        for language in ("en", "de")
    }
    given = [t.model_dump(mode="json", exclude_none=True) for t in templates]
    catalogue = co.Catalogue.from_dict({**CATALOGUE.to_dict(), "templates": given})
    assert catalogue.templates == templates


def test_every_starter_that_is_written_says_who_writes():
    written = [t for t in starter_templates() if t.channel != "phone"]
    assert written
    assert all("{creditor}" in t.text for t in written)


@pytest.mark.parametrize("template", starter_templates(), ids=lambda t: t.name)
@pytest.mark.parametrize("offer", ["none", "instalments", "my_own"])
def test_starters_fill_without_a_gap(template, offer):
    claims = (
        Claim("I1", "invoice", TODAY, TODAY, Decimal("1200.50"), Decimal("1200.50")),
        Claim("I2", "fee", TODAY, TODAY, Decimal("5.00"), Decimal("2.50")),
    )
    letter = Letter("{total}", Breakdown(claims, "EUR"), offer, (), "LINK", "CONTACT", "US")
    subject, text = fill(template, letter)
    assert "\n\n\n" not in text
    assert "  " not in text
    assert text == text.strip()
    assert "CONTACT" in text
    total = "1.203,00" if template.language == "de" else "1,203.00"
    assert f"{total} EUR" in text
    assert "{total}" in text + (subject or "")  # what is filled in is not read again
    assert not any(f"{{{name}}}" in text for name in PLACEHOLDERS if name != "total")
    told = {"none": False, "instalments": True, "my_own": True}[offer]
    spoken = ("instalments", "Raten", "my own")
    assert any(word in text for word in spoken) is told


def test_a_template_of_the_house_is_a_template():
    assert Template.model_validate(starter_templates()[0].model_dump()) == starter_templates()[0]
