"""The first notebook runs from top to bottom and shows what its text promises."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the notebook tools say on import is not ours to mend
    import jupytext
    import nbclient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_first_look.py"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_runs_on_the_simulated_book(tmp_path, monkeypatch):
    monkeypatch.delenv("COLLECTOPT_DATA", raising=False)
    monkeypatch.setenv("FIRST_LOOK_ACCOUNTS", "200")
    monkeypatch.setenv("FIRST_LOOK_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = jupytext.read(NOTEBOOK)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.metadata["kernelspec"] = kernel
    client = nbclient.NotebookClient(book, timeout=300, kernel_name="python3", cwd=str(tmp_path))
    client.execute()
    outputs = [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]
    data = [out.get("data", {}) for out in outputs]
    assert sum("image/png" in one for one in data) == 2
    assert sum("text/html" in one for one in data) >= 5
    streams = [out for out in outputs if out.output_type == "stream"]
    assert [out.text for out in streams if out.name == "stderr"] == []
    text = "".join(out.text for out in streams)
    assert "features of" in text
    assert "policy" in text
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "How far the probabilities can be trusted" in page
    assert {path.name for path in tmp_path.iterdir()} == {"out", "ipython"}


def test_it_is_plain_python():
    """Reviewers read a script: no outputs, no magics, a title."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "# %% [markdown]\n# # " in text
    assert "\n%" not in text
    assert "\n!" not in text
    compile(text, str(NOTEBOOK), "exec")
    assert sys.version_info >= (3, 11)
