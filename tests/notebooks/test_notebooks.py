"""The notebooks run from top to bottom and show what their text promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def shown(outputs) -> tuple[int, int, str]:
    """Pictures, tables and text; nothing may go to stderr."""
    data = [out.get("data", {}) for out in outputs]
    streams = [out for out in outputs if out.output_type == "stream"]
    assert [out.text for out in streams if out.name == "stderr"] == []
    pictures = sum("image/png" in one for one in data)
    tables = sum("text/html" in one for one in data)
    return pictures, tables, "".join(out.text for out in streams)


@QUIET
def test_first_look_on_the_simulated_book(run, tmp_path):
    settings = {"FIRST_LOOK_ACCOUNTS": "200", "FIRST_LOOK_OUT": str(tmp_path / "out")}
    pictures, tables, text = shown(run("01_first_look.py", settings))
    assert pictures == 2
    assert tables >= 5
    assert "features of" in text
    assert "policy" in text
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How far the probabilities can be trusted" in page
    assert {path.name for path in tmp_path.iterdir()} == {"out", "ipython"}


@QUIET
def test_payments_on_the_simulated_book(run):
    pictures, tables, text = shown(run("02_payments.py", {"PAYMENTS_ACCOUNTS": "150"}))
    assert pictures == 7  # curve, reliability, drift, ten customers, two of SHAP, cash
    assert tables >= 7
    assert "SIMULATED" in text
    assert "the chance" in text


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_it_is_plain_python(name):
    """Reviewers read a script: no outputs, no magics, a title."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "# %% [markdown]\n# # " in text
    assert "\n%" not in text
    assert "\n!" not in text
    compile(text, name, "exec")
    assert sys.version_info >= (3, 11)
