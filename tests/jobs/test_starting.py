"""The command `collectopt init`: what it writes, and when it refuses."""

from __future__ import annotations

import json
import sys

import pytest

from collectopt.jobs.cli import main
from collectopt.messages import starter_templates
from collectopt.schema.catalogue import Catalogue


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def one(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["collectopt", *words])
        try:
            main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return one


def test_it_writes_the_default(run, tmp_path):
    code, out, _ = run("init")
    assert code == 0
    assert "collections.toml" in out
    assert Catalogue.from_toml(tmp_path / "collections.toml") == Catalogue.default()
    assert [f.name for f in tmp_path.iterdir()] == ["collections.toml"]


def test_it_does_not_overwrite(run, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("mine")
    code, _, err = run("init", "mine.toml")
    assert code == 1
    assert "--force" in err
    assert file.read_text() == "mine"
    assert run("init", "mine.toml", "--force")[0] == 0
    assert Catalogue.from_toml(file) == Catalogue.default()
    (tmp_path / "folder").mkdir()
    assert run("init", "folder", "--force")[0] == 1


def test_a_jurisdiction_that_does_not_exist(run, tmp_path):
    code, _, err = run("init", "--jurisdiction", "uk_con")
    assert code == 1
    assert "Did you mean 'uk_conc'?" in err
    assert not list(tmp_path.iterdir())
    code, out, _ = run("init", "--jurisdiction", "de", "--json")
    assert code == 0
    assert json.loads(out)["jurisdiction"] == "de"
    assert Catalogue.from_toml(tmp_path / "collections.toml").jurisdiction == "de"


def test_an_unknown_jurisdiction_in_a_file_is_told_before_anything_runs(run, tmp_path):
    run("init")
    file = tmp_path / "collections.toml"
    file.write_text(file.read_text().replace('jurisdiction = "none"', 'jurisdiction = "DE"'))
    code, _, err = run("validate", "no_book", "--config", str(file))
    assert code == 1
    assert "Did you mean 'de'?" in err


def test_it_writes_templates_to_start_from(run, tmp_path):
    code, out, _ = run("init", "--templates", "de,en", "--json")
    assert code == 0
    catalogue = Catalogue.from_toml(tmp_path / "collections.toml")
    assert catalogue.templates == starter_templates()
    assert json.loads(out)["templates"] == len(starter_templates())
    code, _, err = run("init", "other.toml", "--templates", "fr")
    assert code == 1
    assert "some of de, en" in err
