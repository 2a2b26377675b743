"""The catalogue to start from is whole and true, and mistakes in it are told so that they mend."""

from __future__ import annotations

import re

import pytest

from collectopt.exceptions import CatalogueError
from collectopt.messages.filling import starter_templates
from collectopt.schema import mistakes
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.starter import EXAMPLES, meanings, starter

TEXT = starter()


def places():
    """All (model, key, table) that a catalogue may hold."""
    for name in Catalogue.model_fields:
        inner = mistakes.model_at(Catalogue, (name,))
        if inner is None:
            yield Catalogue, name, ""
        else:
            yield from ((inner, key, name) for key in inner.model_fields)


@pytest.mark.parametrize(
    ("model", "key", "table"), [pytest.param(*p, id=".".join(p[:0:-1])) for p in places()]
)
def test_every_key_is_explained(model, key, table):
    meaning = meanings(model).get(key, "")
    assert len(meaning) > 5, f"{model.__name__}.{key} needs a line under Attributes"
    part = TEXT if not table else re.split(rf"^#?\[+{table}\]+$", TEXT, flags=re.MULTILINE)[1]
    above, found, *_ = re.split(rf"^(#?{key}) = ", part, flags=re.MULTILINE)
    assert found.strip("#") == key
    comment = " ".join(line[2:] for line in above.splitlines() if line.startswith("# "))
    assert meaning in comment


def test_it_is_the_default():
    assert Catalogue.from_text(TEXT) == Catalogue.default()


def test_what_it_says_of_missing_lines_is_so():
    """A line that is left out leaves what the comment above it states."""
    flat = TEXT.replace("\n# ", " ")
    least = Catalogue.from_dict({"channels": [{"name": "email"}]})
    for key in ("cadence_days", "explore"):
        assert f"Without this line: {getattr(least, key)}.\n{key} = " in flat
    for key in ("min_contacts_before_agency", "distress"):
        assert f"Without this line: {getattr(least.house, key)}.\n{key} = " in flat


def test_lines_break_where_they_read_well():
    for text in (TEXT, starter("de", starter_templates())):
        comments = [line for line in text.splitlines() if line.startswith("# ")]
        assert max(map(len, comments)) <= 96
        for line in comments:
            assert len(line.split()) > 2 or line.endswith((".", "?")), line
            assert not line.startswith("# ="), line
            assert line.count("Without this line: ") == line.count("Without"), line
            assert "None" not in line
            assert ". not set" not in line
            assert "`" not in line


def test_all_that_is_not_set_can_be_set_by_uncommenting():
    whole = re.sub(r"^#(?=\S)", "", TEXT, flags=re.MULTILINE)
    catalogue = Catalogue.from_text(whole)
    assert catalogue.agency is not None
    assert catalogue.court is not None
    assert catalogue.limits.budget == EXAMPLES["limits.budget"]
    assert catalogue.channels[0].capacity == EXAMPLES["channels.capacity"]


@pytest.mark.parametrize("law", ["de", "eu", "us_regf", "uk_conc"])
def test_a_jurisdiction_brings_its_zone_and_currency(law):
    catalogue = Catalogue.from_text(starter(law))
    assert catalogue.jurisdiction == law
    homes = {"us_regf": "USD", "uk_conc": "GBP"}
    assert catalogue.currency == homes.get(law, "EUR")


PHONE = "hours = [8.0, 20.0]"
MISTAKES = {  # what is written in place of what -> what the message must hold
    "misspelt": ("complaint_cost =", "complain_cost =",
                 "value.complain_cost", "Did you mean 'complaint_cost'?"),
    "misspelt_in_a_list": ('name = "sms"', 'name = "sms"\ncapcity = 4',
                           "channels.1.capcity", "'capacity'?"),
    "misspelt_table": ("[limits]", "[limitz]", "Did you mean 'limits'?"),
    "text_for_number": ("cost = 1.2", 'cost = "1,20"', "channels.2.cost", "a number", "'1,20'",
                        "without quotes"),
    "clock": (PHONE, 'hours = ["8:00", "19:30"]', "channels.3.hours.1", "19.5 is 19:30"),
    "tones_fall": ('order = ["friendly", "neutral"', 'order = ["neutral", "friendly"',
                   "tones.order", "mild to firm", "'friendly' after 'neutral'"),
    "hours_fall": (PHONE, "hours = [20, 8]", "channels.3.hours", "rise", "[20.0, 8.0]"),
    "one_hour": (PHONE, "hours = 8", "channels.3.hours", "a list in brackets"),
    "three_hours": (PHONE, "hours = [8, 12, 20]", "channels.3.hours", "at most 2"),
    "twice": ('name = "sms"', 'name = "email"', "channels.1.name", "'email' a second time"),
    "no_name": ('name = "sms"\n', "", "channels.1.name", "Needed there: name"),
    "capitals": ('"sms"', '"SMS Text"', "channels.1.name", "'sms_text'"),
    "special": ('"sms"', '"court"', "channels.1.name", "[court]"),
    "percent": ("discount_rate = 0.08", "discount_rate = 8",
                "discount_rate", "8 % is written as 0.08"),
    "negative": ("cost = 1.2", "cost = -1", "channels.2.cost", "equal to 0", "-1"),
    "half_a_day": ("horizon_days = 28", "horizon_days = 28.5", "horizon_days", "whole number"),
    "zone": ("Europe/Berlin", "Europe/Berln", "timezone", "Did you mean 'Europe/Berlin'?"),
    "currency": ('\ncurrency = "EUR"', '\ncurrency = "EURO"', "currency", "'EUR'?"),
    "in_the_wrong_table": ("complaint_cost =", "budget = 3\ncomplaint_cost =",
                           "value.budget", "belongs to the table [limits]"),
    "below_a_table": ("complaint_cost =", "explore = 0.1\ncomplaint_cost =",
                      "belongs to the top of the file"),
    "number_for_table": ("horizon_days = 28", "horizon_days = 28\nplans = 3", "keep one"),
}  # fmt: skip
SYNTAX = {
    "unquoted": ('name = "sms"', "name = sms", "quotes"),
    "decimal_comma": ("cost = 1.2", "cost = 1,2", "point"),
    "percent_sign": ("explore = 0.05", "explore = 5 %", "share of one"),
    "yes": ("first_contact_gentle = true", "first_contact_gentle = yes", "true and false"),
    "capital_true": ("first_contact_gentle = true", "first_contact_gentle = True", "true and"),
    "open_table": ("[limits]", "[limits", "brackets"),
    "open_list": (PHONE, "hours = [8.0, 20.0", "[8, 21]"),
    "colon": ("cost = 1.2", "cost: 1.2", "equals sign"),
    "table_twice": ("[value]", "[limits]", "keep one"),
    "key_twice": ("cost = 1.2", "cost = 1.2\ncost = 1.3", "keep one"),
}  # fmt: skip


UNPLACED = {  # told at another line, or at none
    "no_name", "below_a_table", "number_for_table", "table_twice", "special", "misspelt_table",
}  # fmt: skip


@pytest.mark.parametrize("case", [*MISTAKES, *SYNTAX])
def test_a_mistake_is_told_so_that_it_mends(case, tmp_path):
    old, new, *words = {**MISTAKES, **SYNTAX}[case]
    assert old in TEXT
    file = tmp_path / "collections.toml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CatalogueError) as error:
        Catalogue.from_toml(file)
    told = str(error.value)
    pairs = zip(TEXT.splitlines(), file.read_text(encoding="utf-8").splitlines(), strict=False)
    changed = next(number for number, (a, b) in enumerate(pairs, 1) if a != b)
    if case not in UNPLACED:
        assert any(f"line {number}" in told for number in (changed, changed + 1))
    for word in ("collections.toml", *words):
        assert word in told
    if case in SYNTAX:
        assert "valid TOML" in told


def test_without_channels():
    none = re.sub(r"\[\[channels\]\].*?\n# Tones", "# Tones", TEXT, flags=re.DOTALL)
    with pytest.raises(CatalogueError, match=r"at least one table \[\[channels\]\]"):
        Catalogue.from_text(none)
    with pytest.raises(CatalogueError, match=r"two pairs of brackets: \[\[channels\]\]"):
        Catalogue.from_text("[channels]\nname = 'email'\n")
    with pytest.raises(CatalogueError, match=r"at least one table \[\[channels\]\]"):
        Catalogue.from_text("channels = []")


def test_no_file_names_the_command(tmp_path):
    with pytest.raises(CatalogueError, match="collectopt init"):
        Catalogue.from_toml(tmp_path / "no.toml")


def test_no_mistake_says_more_than_a_line_or_two():
    for old, new, *_ in MISTAKES.values():
        with pytest.raises(CatalogueError) as error:
            Catalogue.from_text(TEXT.replace(old, new, 1))
        assert all(len(str(fault)) < 400 for fault in error.value.faults)
