"""The command line: what it prints, what it writes, how it ends."""

# ruff: noqa: E501
from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from collectopt.jobs.cli import main
from collectopt.policy import RecordStore
from collectopt.schema.decisions import SCHEMA
from collectopt.schema.ledger import Ledger
from collectopt.simulation import Book

BOOK = Book("shop", accounts=120, seed=3, weeks=40)
AS_OF = BOOK.as_of.isoformat()
CONFIG = """
explore = 0.05
timezone = "Europe/Berlin"
[[channels]]
name = "email"
cost = 0.05
[[channels]]
name = "sms"
cost = 0.09
[[channels]]
name = "letter"
cost = 1.2
[[channels]]
name = "phone"
cost = 4.5
capacity = 5
[tones]
order = ["friendly", "neutral", "firm"]
[offers]
names = ["none", "instalments"]
[slots]
hours = [10, 18]
"""


def run(monkeypatch, capsys, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["collectopt", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a book, a catalogue and a trained policy."""
    folder = tmp_path_factory.mktemp("cli")
    BOOK.ledger().to_parquet(folder / "book")
    (folder / "collections.toml").write_text(CONFIG)
    patch = pytest.MonkeyPatch()
    words = ["collectopt", "train", str(folder / "book"), "--config"]
    words += [str(folder / "collections.toml"), "--as-of", AS_OF, "--out", str(folder / "nba")]
    patch.setattr(sys, "argv", [*words, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    patch.undo()
    assert end.value.code == 0
    return folder


def test_help_and_version(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--help")
    assert code == 0
    for command in ("demo", "validate", "train", "decide", "replay", "evaluate", "simulate"):
        assert command in out
    code, out, _ = run(monkeypatch, capsys, "--version")
    assert (code, out.split()[0]) == (0, "collectopt")


def test_validate_a_sound_book(monkeypatch, capsys, place):
    code, out, _ = run(monkeypatch, capsys, "validate", place / "book", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["valid"]
    assert facts["rows"]["accounts"] == 120
    code, out, _ = run(monkeypatch, capsys, "validate", place / "book")
    assert (code, "The book is sound" in out) == (0, True)


def test_validate_tells_of_channels_without_consent(monkeypatch, capsys, place, tmp_path):
    words = ("validate", place / "book", "--config", place / "collections.toml", "--json")
    assert json.loads(run(monkeypatch, capsys, *words)[1])["remarks"] == []
    config = tmp_path / "more.toml"
    for law, said in (("none", "every account counts as permitted"), ("us_regf", "is refused")):
        more = CONFIG.replace('name = "sms"', 'name = "voice"')
        config.write_text(f'jurisdiction = "{law}"\n{more}')
        code, out, _ = run(monkeypatch, capsys, *words[:3], config, "--json")
        remark, left = json.loads(out)["remarks"]  # a letter needs no consent
        assert code == 0
        assert remark.startswith("accounts.voice_ok: expected consent to voice")
        assert left.startswith("accounts.sms_ok: ")
        assert said in remark
    assert "remark: accounts.voice_ok" in run(monkeypatch, capsys, *words[:3], config)[1]


def test_decide_tells_of_a_book_that_ended_long_ago(monkeypatch, capsys, place, tmp_path):
    words = ("decide", place / "book", "--model", place / "nba", "--out", tmp_path / "d.parquet")
    for days, told in ((30, False), (60, True)):
        as_of = (BOOK.as_of + timedelta(days=days)).isoformat()
        code, out, err = run(monkeypatch, capsys, *words, "--as-of", as_of, "--json")
        assert code == 0
        assert json.loads(out)["command"] == "decide"
        assert ("remark: the last row of the book is of" in err) == told
    assert err.count("remark") == 1


def test_records_go_to_no_folder_of_something_else(monkeypatch, capsys, place, tmp_path):
    out = tmp_path / "d.parquet"
    words = ("decide", place / "book", "--model", place / "nba", "--as-of", AS_OF, "--out", out)
    code, _, err = run(monkeypatch, capsys, *words, "--records", place / "book")
    assert (code, out.exists()) == (1, False)
    assert "a folder of records" in err


def test_validate_names_every_fault_and_writes_nothing(monkeypatch, capsys, place, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    ledger = Ledger.from_parquet(place / "book")
    for name in ("accounts", "invoices", "payments", "contacts", "responses", "holds"):
        frame = ledger.table(name).to_pandas()
        if name == "accounts":
            frame = frame.drop(columns="country")
        if name == "invoices":
            frame["currency"] = "XXL"
        if name == "contacts":
            frame.loc[0, "propensity"] = 3.0
            frame.loc[1, "channel"] = "pigeon"
        if name == "payments":
            frame["paid_at"] = frame["paid_at"].dt.tz_localize(None)
        frame.to_parquet(broken / f"{name}.parquet")
    before = sorted(p.name for p in broken.iterdir())
    code, out, err = run(monkeypatch, capsys, "validate", broken)
    assert (code, out) == (1, "")
    for part in (
        "accounts.country", "invoices.currency", "contacts.propensity", "contacts.channel",
        "payments.paid_at", "5 faults",
    ):  # fmt: skip
        assert part in err
    code, out, _ = run(monkeypatch, capsys, "validate", broken, "--json")
    assert code == 1
    assert len(json.loads(out)["faults"]) == 5
    assert sorted(p.name for p in broken.iterdir()) == before


def test_decide_is_repeatable_and_resumes(monkeypatch, capsys, place, tmp_path):
    out = tmp_path / "d.parquet"
    words = ["decide", place / "book", "--model", place / "nba", "--as-of", AS_OF, "--out", out]
    code, text, _ = run(monkeypatch, capsys, *words, "--json")
    facts = json.loads(text)
    table = pq.read_table(out)
    assert code == 0
    assert table.schema.remove_metadata() == SCHEMA
    assert facts["accounts"] == len(table)
    first = out.read_bytes()
    stamp = out.stat().st_mtime_ns
    code, text, _ = run(monkeypatch, capsys, *words, "--json", "--resume")
    assert (code, out.stat().st_mtime_ns) == (0, stamp)
    assert json.loads(text) == facts
    run(monkeypatch, capsys, *words, "--seed", 1, "--resume")
    assert out.read_bytes() != first
    run(monkeypatch, capsys, *words)
    assert out.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["d.parquet"]
    run(monkeypatch, capsys, *words, "--resume", "--records", tmp_path / "records")
    assert out.read_bytes() == first
    assert len(list((tmp_path / "records").glob("run-*.parquet"))) == 1


def test_a_run_that_fails_keeps_the_old_output(monkeypatch, capsys, place, tmp_path):
    out = tmp_path / "d.parquet"
    out.write_text("old")
    words = ["--as-of", "2026-01-01T08:00", "--out", out]
    code, _, err = run(
        monkeypatch, capsys, "decide", place / "book", "--model", place / "nba", *words
    )
    assert (code, out.read_text()) == (1, "old")
    assert "without an offset" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "BOOK", "--as-of", "soon", "--out", "OUT"], "an ISO 8601 date or time"),
        (["train", "BOOK", "--as-of", "1990-01-01", "--out", "OUT"], "claims that were open before"),
        (["train", "BOOK", "--as-of", AS_OF, "--out", "BOOK/accounts.parquet"], "accounts.parquet"),
        (["train", "nowhere", "--as-of", AS_OF, "--out", "OUT"], "no such folder"),
        (["train", "BOOK", "--as-of", AS_OF, "--out", "OUT", "--config", "no.toml"], "no such file"),
        (["decide", "BOOK", "--model", "BOOK", "--as-of", AS_OF, "--out", "OUT"], "no saved policy"),
        (["decide", "BOOK", "--model", "BOOK/..", "--as-of", AS_OF, "--out", "OUT"], "nba?"),
        (["decide", "BOOK", "--model", "BOOK", "--as-of", AS_OF, "--out", "OUT.csv"], "to_csv"),
        (["validate", "BOOK/accounts.parquet"], "a file: name its folder"),
        (["validate", "BOOK/.."], "expected accounts.parquet and invoices.parquet in this folder"),
        (["validate", "BOOK", "--config", "BOOK"], "the book is a folder"),
        (["simulate", "--kind", "moon"], "shop"),
        (["simulate", "--accounts", "9", "--policy", "BOOK"], "no saved policy"),
        (["simulate", "--accounts", "9", "--out", "BOOK"], "a file to write"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_message_and_code_1(
    monkeypatch, capsys, place, tmp_path, words, message
):
    paths = {"BOOK": place / "book", "OUT": tmp_path / "out"}
    words = [str(paths.get(w, w)).replace("BOOK", str(paths["BOOK"])) for w in words]
    code, out, err = run(monkeypatch, capsys, *words)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_accounts_that_fall_back_are_counted_with_code_3(monkeypatch, capsys):
    from collectopt.jobs import cli
    from collectopt.jobs.tasks import Summary

    monkeypatch.setattr(
        "collectopt.jobs.tasks.decide", lambda *_, **__: Summary({"command": "decide"}, {"why": 7})
    )
    words = ["decide", "b", "--model", "m", "--as-of", "2026-01-01", "--out", "o"]
    code, out, err = run(monkeypatch, capsys, *words, "--json")
    assert code == cli.FELL_BACK
    assert json.loads(out)["fallbacks"] == {"why": 7}
    assert "7 accounts wait: why" in err


def test_evaluate_writes_one_file(monkeypatch, capsys, place, tmp_path):
    out = tmp_path / "report.html"
    code, text, _ = run(
        monkeypatch, capsys, "evaluate", place / "book", "--model", place / "nba", "--out", out,
        "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["metrics"]["log_loss_28D"] > 0
    html = out.read_text()
    assert "data:image/png" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_training_can_be_tracked(monkeypatch, capsys, place, tmp_path):
    from collectopt import tracking

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("collectopt.jobs.tasks.try_backtest", lambda *_, **__: None)
    code, out, _ = run(
        monkeypatch, capsys, "train", place / "book", "--config", place / "collections.toml",
        "--as-of", AS_OF, "--out", tmp_path / "nba", "--track", uri, "--json",
    )  # fmt: skip
    assert code == 0
    facts = json.loads(out)
    policy = tracking.load(facts["model_uri"], uri=uri)
    assert policy.version == facts["policy_version"]


def test_simulate(monkeypatch, capsys, place):
    code, out, _ = run(
        monkeypatch, capsys, "simulate", "--accounts", 60, "--weeks", 2, "--policy", place / "nba",
        "--json",
    )  # fmt: skip
    assert code == 0
    facts = json.loads(out)
    assert [row["policy"] for row in facts["rows"]] == ["FixedLadder", "NextBestAction"]
    assert {row["policy"] for row in facts["differences"]} == {"NextBestAction"}


def test_simulate_prints_a_table_and_writes_a_report(monkeypatch, capsys, tmp_path):
    page = tmp_path / "run.html"
    code, out, _ = run(
        monkeypatch, capsys, "simulate", "--accounts", 40, "--weeks", 1, "--seeds", 2,
        "--out", page,
    )  # fmt: skip
    assert code == 0
    assert out.startswith("Simulated: 1 week, 40 accounts, kind 'shop', mean of 2 runs")
    assert max(map(len, out.splitlines())) <= 100
    assert "Simulated" in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def decided(place):
    patch = pytest.MonkeyPatch()
    out = place / "runs" / "monday.parquet"
    out.parent.mkdir()
    words = ["collectopt", "decide", str(place / "book"), "--model", str(place / "nba")]
    patch.setattr(
        sys, "argv", [*words, "--as-of", AS_OF, "--out", str(out), "--seed", "5", "--json"]
    )
    with pytest.raises(SystemExit):
        main()
    patch.undo()
    return out


def test_replay_gives_the_same_bytes_and_says_why(monkeypatch, capsys, place, decided):
    table = pq.read_table(decided)
    for row in table.to_pylist()[:2]:
        words = ("replay", row["decision_id"], "--book", place / "book", "--model", place / "nba")
        code, out, _ = run(monkeypatch, capsys, *words, "--decisions", decided.parent)
        assert (code, "The same, byte for byte." in out) == (0, True)
        assert row["account_id"] in out
        assert all(reason in out for reason in row["reasons"])
        code, out, _ = run(monkeypatch, capsys, *words, "--decisions", decided, "--json")
        facts = json.loads(out)
        assert (code, facts["same"], facts["book_is_same"], facts["seed"]) == (0, True, True, 5)


def test_a_run_is_added_to_the_records_and_replayed_from_them(
    monkeypatch, capsys, place, decided, tmp_path
):
    row = pq.read_table(decided).to_pylist()[0]
    folder = tmp_path / "records"
    words = ("decide", place / "book", "--model", place / "nba", "--as-of", AS_OF, "--seed", 5)
    for out in ("one.parquet", "two.parquet"):  # the same run twice is one record
        code, _, _ = run(monkeypatch, capsys, *words, "--out", tmp_path / out, "--records", folder)
        assert code == 0
        assert len(list(folder.iterdir())) == 1
    found = RecordStore(folder).find(row["decision_id"])
    assert found["terms"]
    assert found["candidates"]
    assert found["inputs"]["accounts"]
    assert found["run"]["models"]["payment"] == "PaymentModel"
    assert found["run"]["rules"]["jurisdiction"] == "none"
    assert RecordStore(folder).check() == len(pq.read_table(decided))
    words = ("replay", row["decision_id"], "--book", place / "book", "--model", place / "nba")
    code, out, _ = run(monkeypatch, capsys, *words, "--decisions", folder)
    assert (code, "The same, byte for byte." in out) == (0, True)
    [file] = folder.iterdir()
    kept = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(kept[:200] + bytes([kept[200] ^ 1]) + kept[201:])
    code, _, err = run(monkeypatch, capsys, *words, "--decisions", folder)
    assert (code, file.name in err) == (1, True)
    file.write_bytes(kept)
    pq.write_table(pq.read_table(file), file)
    code, _, err = run(monkeypatch, capsys, *words, "--decisions", folder)
    assert (code, "was changed" in err) == (1, True)
    file.write_bytes(kept + b"x")
    code, _, err = run(monkeypatch, capsys, *words, "--decisions", folder)
    assert (code, file.name in err) == (1, True)


def test_replay_with_a_book_that_grew_is_the_same_and_with_another_past_is_not(
    monkeypatch, capsys, place, decided, tmp_path
):
    words = ("decide", place / "book", "--model", place / "nba", "--as-of", AS_OF, "--seed", 5)
    records = ("--out", tmp_path / "again.parquet", "--records", tmp_path / "records")
    assert run(monkeypatch, capsys, *words, *records)[0] == 0
    ledger = Ledger.from_parquet(place / "book")
    tables = {
        name: ledger.table(name).to_pandas()
        for name in ("accounts", "invoices", "payments", "contacts", "responses", "holds")
    }
    row = pq.read_table(decided).to_pylist()[0]
    words = (
        "replay",
        row["decision_id"],
        "--decisions",
        tmp_path / "records",
        "--model",
        place / "nba",
    )
    for name, at in (
        ("later", BOOK.as_of + timedelta(days=2)),
        ("earlier", BOOK.as_of - timedelta(days=30)),
    ):
        more = {
            "payment_id": "new",
            "account_id": row["account_id"],
            "paid_at": at,
            "amount": 1.0,
            "invoice_id": None,
            "method": None,
        }
        changed = {
            **tables,
            "payments": pd.concat(
                [tables["payments"].astype({"amount": float}), pd.DataFrame([more])]
            ),
        }
        Ledger.from_frames(**changed).to_parquet(tmp_path / name)
        code, out, _ = run(monkeypatch, capsys, *words, "--book", tmp_path / name, "--json")
        facts = json.loads(out)
        assert not facts["book_is_same"]
        assert facts["inputs_changed"] == ([] if name == "later" else ["payments"])
        assert facts["versions_changed"] == []
        assert facts["same"] == (name == "later")
        assert code == (0 if name == "later" else 1)
        assert bool(facts["differences"]) == (name == "earlier")


def test_replay_names_what_is_missing(monkeypatch, capsys, place, decided, tmp_path):
    words = ("--decisions", decided.parent, "--book", place / "book", "--model", place / "nba")
    code, _, err = run(monkeypatch, capsys, "replay", "nobody", *words)
    assert (code, "in none of 1 file." in err) == (1, True)
    row = pq.read_table(decided).to_pylist()[0]
    code, _, err = run(monkeypatch, capsys, "replay", row["account_id"], *words)
    assert code == 1
    assert f"That is an account; a decision on it is {row['decision_id']!r}" in err
    code, _, err = run(
        monkeypatch, capsys, "replay", "x", "--decisions", tmp_path / "no", *words[2:]
    )
    assert (code, "nothing there" in err) == (1, True)
    row = pq.read_table(decided).to_pylist()[0]
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(decided).replace_schema_metadata(None), bare)
    code, _, err = run(
        monkeypatch, capsys, "replay", row["decision_id"], "--decisions", bare, *words[2:]
    )
    assert (code, "does not say what they were made of" in err) == (1, True)
