"""What people decided on the command line: taken, kept with the decisions, played again."""

import json
import sys
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import collectopt as co
from collectopt.jobs.cli import main
from collectopt.jobs.tasks import RUN, read_overrides
from collectopt.policy import FixedLadder
from collectopt.simulation import Book

BOOK = Book("shop", accounts=60, seed=3, weeks=30)
AS_OF = BOOK.as_of.isoformat()
TODAY = BOOK.as_of.date()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overrides")
    BOOK.ledger().to_parquet(folder / "book")
    FixedLadder(BOOK.catalogue).fit(BOOK.ledger(), BOOK.as_of).save(folder / "ladder")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    def go(*words):
        monkeypatch.setattr(sys, "argv", ["collectopt", *map(str, words), "--json"])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return go


def rows():
    decisions = FixedLadder(BOOK.catalogue).fit(BOOK.ledger(), BOOK.as_of)
    ids = decisions.decide(BOOK.ledger(), BOOK.as_of).to_arrow()["account_id"].to_pylist()
    signed = {"reason": "looked, and saw", "owner": "j.doe", "from_on": TODAY,
              "until": TODAY + timedelta(days=7)}  # fmt: skip
    tone = BOOK.catalogue.tone_names[-1]
    return [
        *({"account_id": a, "kind": "force", "tone": tone, **signed} for a in ids[:8]),
        {"account_id": ids[8], "kind": "forbid", **signed},
        {"account_id": ids[9], "kind": "tone_offset", "steps": 1, **signed},
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_decide_with_overrides_is_replayed_byte_for_byte(run, place, tmp_path, kind):
    file, out = tmp_path / f"people.{kind}", tmp_path / "decisions.parquet"
    if kind == "csv":
        pd.DataFrame(rows()).astype({"steps": "Int64"}).to_csv(file, index=False)
    else:
        pq.write_table(co.policy.Overrides.from_rows(rows()).to_frame(), file)
    words = ["decide", place / "book", "--model", place / "ladder", "--as-of", AS_OF]
    words += ["--out", out, "--overrides", file]
    code, text, err = run(*words)
    assert code in {0, 3}, err
    digest = co.policy.Overrides.from_rows(rows()).digest
    assert json.loads(text)["overrides"] == digest
    table = pq.read_table(out)
    people = [r for r in table.to_pylist() if r["policy_version"].startswith("override:")]
    assert len(people) == 10
    assert sum(r["tone"] == BOOK.catalogue.tone_names[-1] for r in people) > 0
    other = next(r for r in table.to_pylist() if not r["policy_version"].startswith("override:"))
    file.unlink()  # the decisions hold all that is needed
    for row in (people[0], people[8], people[9], other):
        code, text, err = run("replay", row["decision_id"], "--decisions", out, "--book",
                              place / "book", "--model", place / "ladder")  # fmt: skip
        assert (code, json.loads(text)["differences"]) == (0, {}), err


def test_resume_asks_for_the_same_overrides(run, place, tmp_path):
    one, two, out = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "decisions.parquet"
    pd.DataFrame(rows()).astype({"steps": "Int64"}).to_csv(one, index=False)
    pd.DataFrame(rows()[:3]).to_csv(two, index=False)
    words = ["decide", place / "book", "--model", place / "ladder", "--as-of", AS_OF]
    words += ["--out", out, "--resume"]
    notes = []
    for more in ([], ["--overrides", one], ["--overrides", two]):
        run(*words, *more)
        notes.append(json.loads(pq.read_schema(out).metadata[RUN]))
    assert "overrides" not in notes[0]["run"]
    assert "overrides" not in notes[0]
    assert len({n["run"].get("overrides") for n in notes}) == 3
    written = out.stat().st_mtime_ns
    run(*words, "--overrides", two)
    assert out.stat().st_mtime_ns == written


def test_a_bad_file_is_refused_and_nothing_is_written(run, place, tmp_path):
    out = tmp_path / "decisions.parquet"
    words = ["decide", place / "book", "--model", place / "ladder", "--as-of", AS_OF, "--out", out]
    bad = tmp_path / "bad.csv"
    pd.DataFrame([{**rows()[0], "until": None}, {**rows()[1], "kind": "push"}]).to_csv(
        bad, index=False
    )
    code, _, err = run(*words, "--overrides", bad)
    assert code == 1
    assert "2 faults" in err
    noise = tmp_path / "noise.parquet"
    noise.write_bytes(b"nothing of the kind")
    code, _, err = run(*words, "--overrides", noise)
    assert (code, "a CSV or parquet file of overrides" in err) == (1, True)
    code, _, err = run(*words, "--overrides", tmp_path / "none.csv")
    assert (code, "No such file" in err) == (1, True)
    assert not out.exists()


def test_dates_and_times_of_frames_are_days():
    table = pa.table({"from_on": [BOOK.as_of], "until": [date(2099, 1, 1)]})
    for name, value in {"account_id": "A", "kind": "forbid", "reason": "x", "owner": "y"}.items():
        table = table.append_column(name, [[value]])
    assert co.policy.Overrides.from_frame(table).overrides[0].from_on == TODAY


def test_a_csv_from_a_spreadsheet_is_read(tmp_path):
    file = tmp_path / "people.CSV"
    pd.DataFrame(rows()[:3]).to_csv(file, index=False, encoding="utf-8-sig")
    assert len(read_overrides(file)) == 3


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "account_id;kind;reason\nA1;force;x\n", "Part the columns by commas, not by ';'"),
        ("a.csv", "", "found an empty file"),
        ("a.csv", "account,kind\nA1,force\n", "a first line with account_id, kind and more of"),
        ("a.csv", "account_id,kind,ower\nA1,force,x\n", "found ower .* Did you mean 'owner'?"),
        ("a.xlsx", "PK", "named .csv or .parquet; found a file named a.xlsx. A spreadsheet is"),
        ("a.parquet", "PK", "a CSV or parquet file of overrides"),
    ],
)
def test_a_file_of_overrides_that_cannot_be_read_says_how_to_save_it(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(co.exceptions.InputError, match=told):
        read_overrides(tmp_path / name)
