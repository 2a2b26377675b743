"""Templates: read with the catalogue, checked against it, and plain in their words."""

from __future__ import annotations

import pytest

from collectopt.exceptions import CatalogueError
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.templates import ATTRIBUTES, Nudge, Salutation, Template, attributes
from collectopt.schema.wording import lint

BASE = {
    "channels": [{"name": "email"}, {"name": "letter"}],
    "offers": {"names": ["none", "instalments"]},
}
GOOD = {
    "name": "mild",
    "channel": "email",
    "tone": "friendly",
    "payment_link": True,
    "contact_option": True,
}
TEXT = "{salutation} Open: {total} {currency}. {payment_link} {contact}"


def read(*templates, **more):
    return Catalogue.from_dict({**BASE, **more, "templates": list(templates)})


def test_they_load_and_travel():
    catalogue = read({**GOOD, "nudge": "loss", "salutation": "informal", "text": TEXT})
    template = catalogue.templates[0]
    assert template.nudge is Nudge.LOSS
    assert template.salutation is Salutation.INFORMAL
    assert Catalogue.from_dict(catalogue.to_dict()) == catalogue


def test_without_templates_the_catalogue_says_what_it_said():
    plain = Catalogue.from_dict(BASE)
    assert "templates" not in plain.to_dict()
    assert "digital_needs_links" not in plain.to_dict()["house"]
    free = read(house={"digital_needs_links": False})
    assert Catalogue.from_dict(free.to_dict()) == free
    assert [str(a) for a in read(GOOD).actions] == [str(a) for a in plain.actions]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channel": "emial"}, ["templates.0.channel", "Did you mean 'email'?"]),
        ({"tone": "frendly"}, ["templates.0.tone", "'friendly'"]),
        ({"offer": "instalment"}, ["templates.0.offer", "'instalments'"]),
        ({"nudge": "los"}, ["templates.0.nudge", "'loss'?"]),
        ({"nudge": "simpl"}, ["'simplification'?"]),
        ({"language": "english"}, ["templates.0.language", "two letters", "'en'"]),
        ({"payment_link": False}, ["templates.0.payment_link", "every digital message", "[house]"]),
        ({"contact_option": False}, ["templates.0.contact_option"]),
        ({"text": "{salutation} {payment_link}"}, ["templates.0.text", "{contact}"]),
        ({"text": TEXT + "{totl}"}, ["templates.0.text", "{totl}", "'total'?"]),
        ({"text": TEXT + "{total:>9}"}, ["templates.0.text", "{total} alone"]),
        ({"text": TEXT + "{account.__class__}"}, ["templates.0.text", "one of the placeholders"]),
        ({"text": TEXT + "{"}, ["templates.0.text", "twice"]),
        ({"text": TEXT + "Shame on you."}, ["'shame'", "it shames"]),
        ({"subject": "Letzte Warnung"}, ["templates.0.subject", "'letzte warnung'", "threatens"]),
        ({"text": "letter.txt"}, ["templates.0.text", "from_toml alone"]),
    ],
)
def test_faults_name_the_key_and_how_to_mend_it(change, words):
    with pytest.raises(CatalogueError) as error:
        read({**GOOD, **change})
    for word in words:
        assert word in str(error.value)


def test_a_name_stands_once():
    with pytest.raises(CatalogueError, match=r"templates.1.name: .* 'mild' a second time"):
        read(GOOD, GOOD)


@pytest.mark.parametrize("channel", ["email", "sms", "whatsapp", "my_own_app"])
def test_every_digital_template_has_link_and_contact(channel):
    more = {"channels": [{"name": channel}]}
    for key in ("payment_link", "contact_option"):
        with pytest.raises(CatalogueError, match=key):
            read({**GOOD, "channel": channel, key: False}, **more)
        free = {**more, "house": {"digital_needs_links": False}}
        assert read({**GOOD, "channel": channel, key: False}, **free).templates
    assert read({**GOOD, "channel": channel}, **more).templates


def test_a_letter_needs_no_link():
    bare = {"name": "paper", "channel": "letter", "tone": "neutral"}
    assert read(bare).templates[0].payment_link is False


def test_texts_of_files(tmp_path):
    file = tmp_path / "collections.toml"
    body = "".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
        for key, value in GOOD.items()
    )
    file.write_text(f"[[channels]]\nname = 'email'\n[[templates]]\n{body}text = 'mild.txt'\n")
    with pytest.raises(CatalogueError, match=r"templates.0.text: expected a file"):
        Catalogue.from_toml(file)
    (tmp_path / "mild.txt").write_text(TEXT, encoding="utf-8")
    catalogue = Catalogue.from_toml(file)
    assert catalogue.templates[0].text == TEXT
    assert Catalogue.from_dict(catalogue.to_dict()) == catalogue


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Sehr geehrter Schuldner", "schuldner"),
        ("Dear d" + "ebtor", "d" + "ebtor"),
        ("Sie sind säumig.", "säumig"),
        ("Wir informieren Ihren Arbeitgeber", "ihren arbeitgeber"),
        ("We will call the police", "police"),
        ("Sonst droht Ihnen Gefängnis", "gefängnis"),
        ("Wir melden dies der SCHUFA.", "schufa"),
        ("We go to court.", "court"),
        ("Buy now with 10 % off", "buy now"),
        ("Mit Gutschein", "gutschein"),
    ],
)
def test_what_may_not_be_said(text, word):
    assert word in [finding.word for finding in lint(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Der Betrag betrug 20 EUR und ist seit dem 3. Mai offen.",
        "Sie können der Forderung widersprechen; sonst beantragen wir einen Mahnbescheid.",
        "Please use our new bank details.",
        "Wir möchten, dass Sie nicht mehr zahlen müssen als nötig.",
        "Without a reply we may apply to a court; you can contest the claim there.",
    ],
)
def test_what_may_be_said(text):
    assert list(lint(text)) == []


def test_attributes_are_numbers():
    plain = Template(name="a", channel="letter", tone="firm")
    rich = Template(**{**GOOD, "name": "b", "nudge": "plan", "invite_dialogue": True})
    numbers = attributes([plain, rich])
    assert numbers.shape == (2, len(ATTRIBUTES))
    assert numbers[0].sum() == 0
    assert {n for n, on in zip(ATTRIBUTES, numbers[1], strict=True) if on} == {
        "nudge: plan",
        "payment link",
        "contact option",
        "invites to talk",
    }
