"""The table of capabilities: complete, and nothing in it that does not exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().strip("`") for cell in line.split("|")[1:-1]]
    for line in TABLE.splitlines()
    if re.match(r"\| C\d\d ", line)
]


def test_each_of_the_forty_is_there_once():
    assert [row[0] for row in ROWS] == [f"C{k:02d}" for k in range(1, 41)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_objects_and_tests_exist(row):
    _, _, state, thing, test = row
    if state == "not yet":
        assert not thing
        assert not test
        return
    assert re.split("[:;,]", state)[0] in {"whole", "part"}
    module, name = thing.rsplit(".", maxsplit=1)
    assert hasattr(importlib.import_module(module), name)
    file, _, function = test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not function or re.search(rf"^def {function}\(", text, re.MULTILINE)
