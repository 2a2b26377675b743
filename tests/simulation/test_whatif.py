from __future__ import annotations

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.policy import FixedLadder
from collectopt.schema import Catalogue
from collectopt.simulation import Book, Result
from collectopt.simulation.plots import ACTIONS
from collectopt.simulation.whatif import vary

from .test_run import Mail


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=300, seed=6, weeks=24)


@pytest.fixture(scope="module")
def result(book: Book) -> Result:
    scenarios = {
        "tight budget": {"limits.budget": 0.5},
        "no letters": {"channels.letter": None},
        "dear e-mail": {"channels.email.cost": 2.0, "limits.budget": None},
        "always friendly": {"tones.order": ["friendly"]},
    }
    return book.what_if(FixedLadder, scenarios, weeks=2)


def test_the_world_keeps_the_limits_and_prices_of_the_scenario(result: Result) -> None:
    table = result.table.set_index("policy")
    assert list(table.index) == ["base", *list(result.policies)[1:]]
    letters = {
        name: some[0].actions[:, ACTIONS.index("letter")] for name, some in result.outcomes.items()
    }
    assert letters["base"].max() > 1
    assert letters["no letters"].sum() == 0
    assert 0 < table.cost["tight budget"] <= 2 * 0.5 + 1e-9
    assert table.contacts["tight budget"] < table.contacts["base"]
    assert table.cost["dear e-mail"] > table.cost["base"]
    assert table.harshness["always friendly"] < table.harshness["base"]
    assert table.over_capacity.max() == 0  # the ladder keeps the limits by itself


def test_a_policy_that_ignores_the_limits_meets_them(book: Book) -> None:
    scenarios = {"few": {"channels.email.capacity": 7}, "poor": {"limits.budget": 0.2}}
    result = book.what_if(lambda _: Mail("email"), scenarios, weeks=2)
    table = result.table.set_index("policy")
    for name, allowed in (("few", 7), ("poor", 4)):
        assert table.contacts[name] + table.not_sent[name] == 2 * allowed
        assert table.over_capacity[name] == 2 * (300 - allowed)


def test_the_frontier_is_drawn(result: Result) -> None:
    (ax,) = result.plot_frontier().axes
    texts = [text.get_text() for text in ax.texts]
    assert any(text.startswith("no letters") for text in texts)
    assert len(texts) == 5
    assert "EUR" in ax.get_xlabel()
    (line,) = ax.get_lines()
    assert np.all(np.diff(line.get_ydata()) >= 0)


@pytest.mark.parametrize(
    ("scenarios", "words"),
    [
        ({"base": {}}, "other than 'base'"),
        ({"a": {"channels.fax.cost": 1}}, "email, sms, letter, phone"),
        ({"a": {"channels.fax": None}}, "no such entry"),
        ({"a": {"limits.bugdet": 1}}, "Did you mean 'budget'"),
        ({"a": {"nowhere.at.all": 1}}, "dotted key"),
        ({"a": {"limits.budget": -1}}, "scenario 'a'"),
    ],
)
def test_bad_scenarios(book: Book, scenarios: dict[str, dict[str, object]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        vary(book.catalogue, scenarios)


def test_tables_that_the_base_leaves_out_can_be_set() -> None:
    base = Catalogue.from_dict({"channels": [{"name": "email"}]})
    varied = vary(base, {"gentle": {"house.max_tone_step": 0}, "own": base})
    assert varied["gentle"].house.max_tone_step == 0
    assert varied["own"] is base
