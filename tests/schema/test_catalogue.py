"""The catalogue and its actions."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from collectopt.exceptions import CatalogueError, InputError
from collectopt.schema.actions import Action, ActionKind, ActionSet
from collectopt.schema.catalogue import Catalogue

DESIGN = """
horizon_days = 28
cadence_days = 7
discount_rate = 0.08
jurisdiction = "de"
explore = 0.05
[[channels]]
name = "email"
cost = 0.05
hours = [8, 21]
[[channels]]
name = "phone"
cost = 4.5
minutes = 6
capacity = 240
[tones]
order = ["friendly", "neutral", "firm"]
[offers]
names = ["none", "instalments"]
[slots]
hours = [8, 10, 12, 15, 18, 19.5]
[limits]
budget = 5000.0
contacts_per_7_days = 2
pre_due_days = 0
[house]
first_contact_gentle = true
max_tone_step = 1
[value]
complaint_cost = 12.0
"""


def test_toml_reads(tmp_path):
    file = tmp_path / "collections.toml"
    file.write_text(DESIGN)
    catalogue = Catalogue.from_toml(file)
    assert catalogue.channels[1].capacity == 240
    # wait + 2 channels x 3 tones x 2 offers x 7 days x 6 hours + stop
    assert len(catalogue.actions) == 1 + 2 * 3 * 2 * 7 * 6 + 1
    assert Catalogue.from_dict(catalogue.to_dict()) == catalogue


def test_no_limit_to_steps_of_the_tone_is_kept():
    free = Catalogue.from_dict({"channels": [{"name": "email"}], "house": {"max_tone_step": None}})
    read = Catalogue.from_dict(json.loads(json.dumps(free.to_dict())))
    assert read == free
    assert read.house.max_tone_step is None


def test_only_channels_tones_and_slots_are_needed():
    least = {
        "channels": [{"name": "email"}],
        "tones": {"order": ["friendly"]},
        "slots": {"hours": [9]},
    }
    catalogue = Catalogue.from_dict(least)
    assert catalogue.limits.budget is None
    assert len(catalogue.actions) == 1 + 7 + 1


def test_all_faults_are_named_with_their_key():
    wrong = {
        "channels": [{"name": "email", "cost": -1}, {"name": "none"}, {"name": "email"}],
        "limits": {"budgt": 3},
        "slots": {"hours": [25]},
        "horizon_days": 0,
    }
    with pytest.raises(CatalogueError) as error:
        Catalogue.from_dict(wrong)
    text = str(error.value)
    for part in ("channels.0.cost", "channels.1", "limits.budgt", "slots.hours.0", "horizon_days"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": [{"name": "a"}, {"name": "a"}]}, r"channels.1.name: .* 'a' a second time"),
        ({"timezone": "Mars"}, "an IANA time zone"),
        ({"channels": [{"name": "a", "hours": [9, 8]}]}, "hours that rise"),
        ({"explore": 1.5}, "explore"),
        ({"jurisdiction": "DE"}, r"jurisdiction: expected one of none, de, .*mean 'de'"),
        ({"jurisdiction": "mars"}, 'Take "none" for house rules only'),
        ({"horizon_days": 7, "cadence_days": 14}, "cadence_days: expected at most horizon_days, 7"),
    ],
)
def test_faults_of_the_whole(change, message):
    with pytest.raises(CatalogueError, match=message):
        Catalogue.from_dict({"channels": [{"name": "email"}], **change})


def test_files_that_are_no_catalogue(tmp_path):
    with pytest.raises(CatalogueError, match="no such file"):
        Catalogue.from_toml(tmp_path / "no.toml")
    with pytest.raises(CatalogueError, match="a TOML file; found a folder"):
        Catalogue.from_toml(tmp_path)
    (tmp_path / "bad.toml").write_bytes("[[channels]]\nname = 'é'".encode("latin-1"))
    with pytest.raises(CatalogueError, match="Save the file as UTF-8"):
        Catalogue.from_toml(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("channels = [")
    with pytest.raises(CatalogueError, match="valid TOML"):
        Catalogue.from_toml(tmp_path / "bad.toml")


_EMAIL = '[[channels]]\nname = "email"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("explore = true\n" + _EMAIL, "explore: expected a number; found true in line 1"),
        (_EMAIL + "cost = true", "channels.0.cost: expected a number; found true in line 3"),
        (_EMAIL + 'weekdays = ["mon"]', "Monday = 0"),
        (_EMAIL + "[offers]\nnames = []", "names: expected at least one entry; found []"),
        (_EMAIL + "[offers]\nnames = ['none'\n[limits]", "no closing bracket"),
        (_EMAIL + "capacity = none", "take the key away"),
        (_EMAIL + 'capacity = "none"', "take the key away"),
        (_EMAIL + 'tones = ["a"]', "write [tones] in a line of its own"),
        (_EMAIL + '[house]\ntones = {highest = "firm"}', "[[house.tones]]"),
        (_EMAIL + "[exploration]\nfloor = 0.1", "temperature: expected this key beside floor"),
        (
            _EMAIL + '[stages]\norder = ["warned"]',
            "found 'warned' in line 4. 'warned' skips a step",
        ),
        (
            _EMAIL + "hours = [8, 20]\n[slots]\nhours = [6, 20]",
            "one of the [slots] [6.0, 20.0] in them; found [8.0, 20.0] in line 3",
        ),
        (
            _EMAIL + '[house]\ntones = [{highest = "firm", column = "a"}]',
            "expected both column and value, or neither; found column alone",
        ),
    ],
)
def test_a_mistake_is_told_with_what_mends_it(text, told):
    with pytest.raises(CatalogueError) as error:
        Catalogue.from_text(text)
    assert told in str(error.value)


def test_a_fault_in_a_list_is_told_once_and_no_far_city_is_proposed():
    with pytest.raises(CatalogueError) as error:
        Catalogue.from_text(_EMAIL + '[slots]\nhours = ["9:30"]')
    assert len(error.value.faults) == 1
    with pytest.raises(CatalogueError, match="called by a large city, such as 'Europe/Berlin'"):
        Catalogue.from_text('timezone = "Europe/Munich"\n' + _EMAIL)


def test_agency_and_court_exist_only_if_the_catalogue_has_them():
    base = {"channels": [{"name": "email"}]}
    assert ActionKind.AGENCY not in Catalogue.from_dict(base).actions.kind
    both = Catalogue.from_dict({**base, "agency": {"fee": 0.25}, "court": {"cost": 38}}).actions
    assert [a.kind for a in both][-3:] == [ActionKind.AGENCY, ActionKind.COURT, ActionKind.STOP]
    assert both.cost[-2] == 38


def test_slots_outside_the_hours_of_a_channel_are_no_actions():
    catalogue = Catalogue.from_dict(
        {"channels": [{"name": "phone", "hours": [9, 18]}], "slots": {"hours": [8, 9, 18]}}
    )
    assert set(catalogue.actions.hour[catalogue.actions.is_contact]) == {9.0}


def test_the_first_action_is_to_wait_and_all_are_distinct():
    actions = Catalogue.default().actions
    assert actions[0] == Action()
    assert len(set(actions)) == len(actions)
    assert [actions.index(a) for a in (actions[0], actions[7], actions[500])] == [0, 7, 500]
    with pytest.raises(InputError, match="an action of this set"):
        actions.index(Action(ActionKind.CONTACT, "pigeon"))


def test_arrays_are_read_only():
    actions = Catalogue.default().actions
    with pytest.raises(ValueError, match="read-only"):
        actions.cost[0] = 1.0


def test_plain_factors_make_a_set():
    frame = pl.DataFrame(
        {"channel": ["none", "email", "letter"], "cost": [0.0, 0.1, 1.0], "tone": [None, "a", "b"]}
    )
    actions = ActionSet.from_frame(frame)
    assert actions.channels == ("email", "letter")
    assert actions.tone.tolist() == [-1, 0, 1]
    assert np.array_equal(actions.cost, [0.0, 0.1, 1.0])
    only_tones = ActionSet.from_frame([{"tone": None}, {"tone": "x"}])
    assert only_tones.is_contact.tolist() == [False, True]
    with pytest.raises(InputError, match="row 0 = do nothing"):
        ActionSet.from_frame([{"channel": "email"}])
    with pytest.raises(InputError, match="no rows"):
        ActionSet.from_frame([])


def test_it_shows_itself_in_few_words():
    catalogue = Catalogue.default()
    assert repr(catalogue) == ("Catalogue(4 channels, 3 tones, 2 offers: 1,010 actions; law: none)")
    lines = str(catalogue).splitlines()
    assert lines[0] == repr(catalogue)
    assert max(map(len, lines)) <= 100
    assert any("phone 4.50 EUR (6 min, 240 a run, 8 to 20 h, Mon" in line for line in lines)
    assert "friendly &lt; neutral &lt; firm" in catalogue._repr_html_()
    small = Catalogue.from_dict({"channels": [{"name": "email"}], "agency": {}, "house": {
        "tones": [{"highest": "firm"}]}})  # fmt: skip
    assert repr(small).startswith("Catalogue(1 channel, 3 tones, 1 offer: ")
    assert "[agency]" in str(small)
