"""The demo goes the whole way."""

from __future__ import annotations

import json
import sys

import pytest

import collectopt as co
from collectopt.jobs.cli import main


def test_the_demo_leaves_a_book_a_policy_decisions_and_a_report(tmp_path, monkeypatch, capsys):
    words = ["collectopt", "demo", "--out", str(tmp_path / "demo"), "--accounts", "80", "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    facts = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == [
        "book", "decisions.parquet", "policy", "report.html",
    ]  # fmt: skip
    ledger = co.Ledger.from_parquet(tmp_path / "demo" / "book")
    policy = co.load(tmp_path / "demo" / "policy")
    again = policy.decide(ledger, as_of=facts["as_of"], rng=0)
    assert again.counts() == facts["decisions"]
