"""The command `collectopt messages`: from a file of decisions to a file of messages."""

from __future__ import annotations

import json
import sys

import pyarrow.parquet as pq
import pytest

import collectopt as co
from collectopt.jobs.cli import main
from collectopt.messages.composing import SCHEMA


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a book, a policy and a catalogue."""
    folder = tmp_path_factory.mktemp("messages")
    book = co.simulation.Book("shop", accounts=120, seed=3, weeks=40)
    book.ledger().to_parquet(folder / "book")
    co.FixedLadder(book.catalogue).save(folder / "ladder")
    return folder, book


@pytest.fixture
def run(monkeypatch, capsys):
    def one(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["collectopt", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return end.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return one


def test_from_decisions_to_messages(run, place):
    folder, book = place
    decided, out = folder / "decisions.parquet", folder / "messages.parquet"
    as_of = book.as_of.isoformat()
    decide = ["decide", folder / "book", "--model", folder / "ladder", "--as-of", as_of]
    assert run(*decide, "--out", decided)[0] == 0
    words = ["messages", decided, "--book", folder / "book", "--out", out]
    code, text, _ = run(*words, "--payment-link", "https://pay.example/{decision_id}", "--json")
    assert code == 0
    facts = json.loads(text)
    table = pq.read_table(out)
    assert table.schema.equals(SCHEMA)
    made = pq.read_table(decided)
    contacts = {
        row["decision_id"]: row for row in made.to_pylist()
        if row["channel"] in {"email", "sms", "letter", "phone"}
    }  # fmt: skip
    rows = table.to_pylist()
    assert facts["messages"] == len(rows) == len(contacts) > 0
    assert facts["without_template"] == 0
    assert all(contacts[r["decision_id"]]["account_id"] == r["account_id"] for r in rows)
    links = {r["decision_id"]: r["payment_link"] for r in rows if r["channel"] != "phone"}
    assert all(link == f"https://pay.example/{name}" for name, link in links.items())
    first = out.read_bytes()
    assert run(*words, "--payment-link", "https://pay.example/{decision_id}")[0] == 0
    assert out.read_bytes() == first
    assert run(*words, "--model", folder / "ladder")[0] == 0
    code, _, err = run(*words, "--language", "german")
    assert code == 1
    assert "two letters" in err


def test_other_files_are_refused_and_nothing_is_written(run, place):
    folder, _ = place
    out = folder / "nothing.parquet"
    for name in ("book/accounts.parquet", "no.parquet"):
        code, _, err = run("messages", folder / name, "--book", folder / "book", "--out", out)
        assert code == 1
        assert "a file of decisions" in err
        assert not out.exists()
