"""Runs are added whole, never changed, and a change is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectopt import FixedLadder
from collectopt.exceptions import ArtifactError, InputError
from collectopt.policy.sealing import opened, sealed
from collectopt.policy.store import RecordStore
from collectopt.schema.fingerprints import FINGERPRINT


@pytest.fixture(scope="module")
def decisions(kit):
    frames = kit.frames(3)
    return FixedLadder(frames.parsed()).decide(frames.ledger(), frames.as_of, rng=1)


def test_records_come_back_as_they_were(tmp_path, decisions):
    store = RecordStore(tmp_path / "new")
    assert store.find("x") is None
    store.append(decisions, {"seed": 1, "as_of": "2026-01-01"})
    for row in decisions.table.to_pylist():
        found = store.find(row["decision_id"])
        assert found.pop("run") == {"seed": 1, "as_of": "2026-01-01"}
        assert found.pop("terms") == {}
        assert found.pop("candidates")[0]["action"]
        assert found.pop("inputs") is None
        assert repr(found) == repr(row)


def test_others_may_read_records_as_they_may_read_new_files(tmp_path, decisions):
    (tmp_path / "plain").write_text("")
    file = RecordStore(tmp_path / "records").append(decisions, {"seed": 7})
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_same_run_twice_is_one_file_and_another_note_another(tmp_path, decisions):
    store = RecordStore(tmp_path)
    first = store.append(decisions, {"seed": 1})
    written = first.stat()
    assert store.append(decisions, {"seed": 1}) == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == (written.st_mtime_ns, written.st_ino)
    assert store.append(decisions, {"seed": 2}) != first
    assert store.check() == 2 * len(decisions)


def before_of(file):
    """Name of the file that was the newest when this one was added."""
    before = json.loads(opened(file)[1])["before"]
    return before and before["file"]


_ADD = """
import sys, pyarrow.parquet as pq
from collectopt.policy import RecordStore
from collectopt.schema.decisions import Decisions
table = pq.read_table(sys.argv[2]).replace_schema_metadata(None)
RecordStore(sys.argv[1]).append(Decisions(table), {"seed": int(sys.argv[3])})
"""


def test_many_processes_at_once_lose_nothing(tmp_path, decisions):
    decisions.to_parquet(tmp_path / "run.parquet")
    seeds = [0, 1, 2, 2]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _ADD, tmp_path / "s", tmp_path / "run.parquet", str(seed)]
        )
        for seed in seeds
    ]
    assert [worker.wait() for worker in workers] == [0] * len(seeds)
    assert RecordStore(tmp_path / "s").check() == 3 * len(decisions)
    # whoever came first has nothing before it; more than one may, in the same moment
    assert None in [before_of(file) for file in (tmp_path / "s").iterdir()]


@pytest.mark.parametrize("breaks", ["write", "sync", "link"])
def test_what_breaks_leaves_no_trace(tmp_path, decisions, monkeypatch, breaks):
    store = RecordStore(tmp_path)
    kept = store.append(decisions, {"seed": 0})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        target, name = {
            "write": (pq.ParquetWriter, "write_table"),
            "sync": (os, "fsync"),
            "link": (os, "link"),
        }[breaks]
        patch.setattr(target, name, full)
        with pytest.raises(OSError, match="No space"):
            store.append(decisions, {"seed": 1})
    assert list(tmp_path.iterdir()) == [kept]
    # a process that was killed half-way leaves its part, which is not looked at
    (tmp_path / ".run-abc.part").write_bytes(b"half")
    assert store.check() == len(decisions)


def test_a_changed_file_is_refused(tmp_path, decisions):
    store = RecordStore(tmp_path)
    file = store.append(decisions, {"seed": 0})
    table = pq.read_table(file)
    place = table.column_names.index("cost")
    forged = table.set_column(place, "cost", pa.array([9.0] * len(table)))
    pq.write_table(forged, file)
    for look in (
        store.check,
        lambda: store.find("x"),
        lambda: store.append(decisions, {"seed": 0}),
    ):
        with pytest.raises(ArtifactError, match="changed"):
            look()
    pq.write_table(
        table.replace_schema_metadata({b"collectopt.run": b'{"run": {"seed": 9}}'}), file
    )
    with pytest.raises(ArtifactError, match="changed"):
        store.check()
    file.write_bytes(b"no parquet")
    with pytest.raises(ArtifactError, match="cannot be read"):
        store.check()


def test_a_note_that_is_no_json_is_refused(tmp_path, decisions):
    with pytest.raises(InputError, match="plain values"):
        RecordStore(tmp_path).append(decisions, {"as_of": object()})


def test_each_file_names_the_newest_before_it_and_a_missing_one_is_missed(tmp_path, decisions):
    store = RecordStore(tmp_path)
    files = [store.append(decisions, {"seed": seed}) for seed in range(4)]
    assert [before_of(file) for file in files] == [None, *(file.name for file in files[:3])]
    gone = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(ArtifactError, match=rf"{files[1].name} is missing: {files[2].name}"):
        store.check()
    assert store.find("x") is None  # what is there can be read
    files[1].write_bytes(gone)
    assert store.check() == 4 * len(decisions)
    # another file of the same name, sound in itself, is not the one that was there
    table, note = opened(files[1])
    files[1].write_bytes(sealed(table, json.dumps({**json.loads(note), "before": None})))
    with pytest.raises(ArtifactError, match="is not the file after which"):
        store.check()


def test_a_damaged_file_is_no_reason_to_lose_the_next_run(tmp_path, decisions):
    store = RecordStore(tmp_path)
    first = store.append(decisions, {"seed": 0})
    first.write_bytes(b"no parquet")
    kept = store.append(decisions, {"seed": 1})
    assert before_of(kept) == first.name
    with pytest.raises(ArtifactError, match="cannot be read"):
        store.check()


def test_a_file_by_another_name_is_refused(tmp_path, decisions):
    store = RecordStore(tmp_path)
    file = store.append(decisions, {"seed": 0})
    file.rename(tmp_path / f"run-{'0' * 32}.parquet")
    with pytest.raises(ArtifactError, match="its name is not"):
        store.check()


def test_inputs_are_kept_and_those_that_do_not_fit_are_refused(tmp_path, decisions):
    store, n = RecordStore(tmp_path), len(decisions)
    values = [dict.fromkeys(FINGERPRINT.names, bytes([i] * 16)) for i in range(n)]
    store.append(decisions, {}, inputs=pa.array(values, FINGERPRINT))
    found = store.find(decisions.table["decision_id"][3].as_py())
    assert set(found["inputs"].values()) == {"03" * 16}
    for wrong in (pa.array(values[1:], FINGERPRINT), pa.array(["x"] * n)):
        with pytest.raises(InputError, match="fingerprints, one a decision"):
            store.append(decisions, {}, inputs=wrong)


def test_a_place_with_something_else_is_refused_and_left_as_it_is(tmp_path, decisions):
    book, file = tmp_path / "book", tmp_path / "file"
    book.mkdir()
    (book / "accounts.parquet").write_text("x")
    file.write_text("x")
    for place, found in ((book, "accounts.parquet"), (file, "a file")):
        with pytest.raises(InputError, match=found):
            RecordStore(place)
    assert [p.name for p in book.iterdir()] == ["accounts.parquet"]
    # hidden files, what is left of a broken write, a note beside the runs
    store = tmp_path / "store"
    store.mkdir()
    (store / ".DS_Store").write_text("x")
    (store / ".run-1.part").write_text("x")
    RecordStore(store).append(decisions, {"seed": 1})
    (store / "README.txt").write_text("x")
    assert RecordStore(store).check() == len(decisions)
