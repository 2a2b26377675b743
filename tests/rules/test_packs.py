"""The packs are whole and true to the code: codes and tests that they name exist."""

from __future__ import annotations

import ast
from datetime import date
from pathlib import Path

import pytest

import collectopt as co
from collectopt.exceptions import InputError
from collectopt.rules import Rules, dates
from collectopt.rules.packs import PACKS, Status, document, laws, number, read_pack, table
from collectopt.schema import Catalogue

ROOT = Path(__file__).parents[2]
IDS = (
    [f"DE-{i:02d}" for i in range(1, 29)]
    + ["DE-11b"]
    + [f"US-{i:02d}" for i in range(1, 13)]
    + [f"UK-{i:02d}" for i in range(1, 8)]
)
LAWS = table().laws


def codes(jurisdiction):
    """Codes of all permissions that a catalogue may have there."""
    base = {
        "channels": [{"name": "phone"}], "jurisdiction": jurisdiction, "agency": {}, "court": {},
        "limits": {"contacts_per_7_days": 2},
    }  # fmt: skip
    return set(Rules.from_catalogue(Catalogue.from_dict(base)).codes)


def test_every_rule_is_there_once():
    assert sorted(law.id for law in LAWS) == sorted(IDS)
    assert len(IDS) == 48
    assert sum(table().counts().values()) == 48


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.id)
def test_codes_and_tests_exist(law):
    for code in law.code:
        if code.startswith("dates."):
            assert callable(getattr(dates, code.removeprefix("dates.")))
        else:
            assert code in codes(law.jurisdiction)
    if law.test:
        path, name = law.test.split("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_an_enforced_rule_is_enforced_by_a_permission():
    for law in LAWS:
        if law.status is Status.ENFORCED:
            assert set(law.code) <= codes(law.jurisdiction), law.id


def test_every_permission_of_a_pack_stands_in_its_table():
    for jurisdiction in ("de", "eu", "us_regf", "uk_conc"):
        named = {code for law in laws(jurisdiction) for code in law.code}
        # the United Kingdom has kept GDPR Art. 22, which stands in the pack of the Union
        there = {"APPROVAL"} if jurisdiction == "uk_conc" else set()
        assert codes(jurisdiction) - codes("none") - there <= named


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == document(), (
        "run: python -m collectopt.rules.packs > docs/rules.md"
    )
    assert "debt" + "or" not in document().lower()


def test_rules_by_jurisdiction_and_day():
    assert co.rules.laws("none") == ()
    assert {law.jurisdiction for law in laws("de")} == {"de", "eu"}
    assert {law.jurisdiction for law in laws("eu")} == {"eu"}
    assert set(PACKS) == {"none", "de", "eu", "us_regf", "uk_conc"}

    def ids(on):
        return {law.id for law in laws("de", on=on)}

    assert ids(date(2027, 12, 2)) - ids(date(2027, 12, 1)) == {"DE-26"}
    assert ids(date(2025, 6, 1)) - ids(date(2025, 5, 31)) == {"DE-10"}
    with pytest.raises(InputError, match="one of none, eu, de, us_regf, uk_conc"):
        laws("fr")


def test_numbers_come_from_the_pack():
    assert number("us_regf", "US-01", "calls") == 7
    assert number("uk_conc", "UK-06", "years") == 5


def test_a_table_for_people():
    text, page = table().to_markdown(), table()._repr_html_()
    assert text.count("\n") == page.count("<tr>") + 1 == 50
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines()}) == 1
    assert "&gt;" in page or "<script" not in page


GOOD = {
    "id": '"X-1"', "title": '"t"', "unit": '"claim"', "effect": '"hold"', "source": '"s"',
    "verified": "true", "status": '"enforced"', "code": '["PAST_DUE"]', "test": '"a::b"',
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": '"stop"'}, "'stop' is not a valid Effect"),
        ({"status": '"maybe"'}, "'maybe' is not a valid Status"),
        ({"colour": '"red"'}, "colour"),
        ({"code": "[]"}, "a code that enforces it"),
        ({"test": '""'}, "a test of its code"),
        ({"status": '"needs_fact"'}, "the fact it needs"),
        ({"status": '"outside"'}, "a note why"),
        ({"valid_from": "2026-01-01", "valid_to": "2026-01-01"}, "valid_from before valid_to"),
    ],
)
def test_a_pack_is_checked(change, message):
    def pack(*entries):
        rows = ["".join(f"{k} = {v}\n" for k, v in e.items()) for e in entries]
        return 'jurisdiction = "x"\n' + "".join("[[laws]]\n" + row for row in rows)

    assert read_pack(pack(GOOD))[0].holds_on(date(2026, 1, 1))
    with pytest.raises(InputError, match=message):
        read_pack(pack({**GOOD, **change}))
    with pytest.raises(InputError, match="each id once"):
        read_pack(pack(GOOD, GOOD))
    until = read_pack(pack({**GOOD, "valid_to": "2026-01-01"}))[0]
    assert until.holds_on(date(2025, 12, 31))
    assert not until.holds_on(date(2026, 1, 1))
