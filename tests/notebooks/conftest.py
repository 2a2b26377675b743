"""Runs a notebook from top to bottom, on simulated data, without stray warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the notebook tools say on import is not ours to mend
    import jupytext
    import nbclient

FOLDER = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[[str, dict[str, str]], list[Any]]:
    """Execute a notebook with settings from the environment; give the outputs of its cells."""

    def execute(name: str, settings: dict[str, str]) -> list[Any]:
        monkeypatch.delenv("COLLECTOPT_DATA", raising=False)
        own = {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
        for key, value in (settings | own).items():
            monkeypatch.setenv(key, value)
        book = jupytext.read(FOLDER / name)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book.metadata["kernelspec"] = kernel
        client = nbclient.NotebookClient(
            book, timeout=300, kernel_name="python3", cwd=str(tmp_path)
        )
        client.execute()
        return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]

    return execute
