"""Over random decisions, orders and faults: nothing is lost, and no change goes unseen."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectopt.exceptions import ArtifactError
from collectopt.policy.store import RecordStore
from collectopt.schema.decisions import CANDIDATES, SCHEMA, Decisions
from collectopt.schema.fingerprints import FINGERPRINT

TEXT = st.text(max_size=8)
RUNS = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def made(draw, name="d"):
    """Random decisions with all that may stand beside them, nulls and odd numbers included."""
    n = draw(st.integers(0, 4))
    number = st.one_of(st.none(), st.floats())
    by_type = {
        pa.string(): st.one_of(st.none(), TEXT),
        pa.float64(): number,
        SCHEMA.field("send_at").type: st.one_of(st.none(), st.integers(0, 2**50)),
        SCHEMA.field("reasons").type: st.lists(TEXT, max_size=2),
    }
    columns = {}
    for field in SCHEMA:
        values = draw(st.lists(by_type[field.type], min_size=n, max_size=n))
        if field.name == "decision_id":
            values = [f"{name}-{i}" for i in range(n)]
        columns[field.name] = pa.array(values, field.type)
    terms = {
        t: pa.array(draw(st.lists(st.floats(), min_size=n, max_size=n)), pa.float64())
        for t in draw(st.sets(st.sampled_from(["a", "b"])))
    }
    also = [[{"action": draw(TEXT), "value": draw(number)}] for _ in range(n)]
    candidates = pa.array(also, CANDIDATES) if draw(st.booleans()) else None
    inputs = [dict.fromkeys(FINGERPRINT.names, draw(st.binary(min_size=16, max_size=16)))] * n
    decisions = Decisions(pa.table(columns, schema=SCHEMA), terms, candidates=candidates)
    return decisions, pa.array(inputs, FINGERPRINT) if draw(st.booleans()) else None


def same(record, decisions, inputs, i):
    """Assert that a record is row i of what was decided."""
    record = dict(record)
    terms, also, known = (record.pop(name) for name in ("terms", "candidates", "inputs"))
    record.pop("run")
    assert repr(record) == repr(decisions.table.slice(i, 1).to_pylist()[0])
    assert repr(sorted(terms.items())) == repr(
        sorted((name, values[i].as_py()) for name, values in decisions.terms.items())
    )
    assert repr(also) == repr(decisions.candidates and decisions.candidates[i].as_py())
    expected = inputs and {name: v.hex() for name, v in inputs[i].as_py().items()}
    assert known == expected


@RUNS
@given(data=st.data())
def test_whatever_is_added_in_whatever_order_comes_back(data):
    runs = [data.draw(made(name=f"r{r}")) for r in range(3)]
    order = data.draw(st.lists(st.integers(0, 2), max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(folder)
        names = {r: store.append(runs[r][0], {"r": r}, inputs=runs[r][1]) for r in order}
        assert sorted(Path(folder).iterdir()) == sorted(set(names.values()))
        assert len(set(names.values())) == len(set(order))
        assert store.check() == sum(len(runs[r][0]) for r in set(order))
        for r in set(order):
            for i in range(len(runs[r][0])):
                found = store.find(f"r{r}-{i}")
                assert found["run"] == {"r": r}
                same(found, *runs[r], i)


@pytest.fixture(scope="module")
def some():
    columns = {field.name: pa.array([None] * 3, field.type) for field in SCHEMA}
    columns["decision_id"] = pa.array(["x", "y", "z"])
    return Decisions(pa.table(columns, schema=SCHEMA))


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path, some):
    store = RecordStore(tmp_path)
    store.append(some, {"seed": 0})
    file = store.append(some, {"seed": 1})
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in range(0, len(whole), 3):
        bit = 1 << int(rng.integers(8))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(ArtifactError, match="changed"):
            store._read(file)
    for other in (b"", whole[:-1], whole[1:], whole + b"x", b"x" + whole, whole * 2):
        file.write_bytes(other)
        with pytest.raises(ArtifactError, match="changed"):
            store.check()
    file.write_bytes(whole)
    assert store.check() == 6


@pytest.mark.parametrize("breaks", ["fsync", "link"])
@pytest.mark.parametrize("how", [OSError, KeyboardInterrupt, SystemExit])
def test_a_run_that_breaks_before_it_is_linked_can_be_added_again(
    tmp_path, some, monkeypatch, breaks, how
):
    store = RecordStore(tmp_path)
    store.append(some, {"seed": 0})

    def stop(*args, **kwargs):
        raise how

    with monkeypatch.context() as patch:
        patch.setattr(os, breaks, stop)
        patch.setattr(Path, "unlink", lambda *a, **k: None)  # killed: nobody tidies up
        with pytest.raises(how):
            store.append(some, {"seed": 1})
    assert len(list(tmp_path.glob(".run-*.part"))) == 1
    assert store.check() == 3
    store.append(some, {"seed": 1})
    assert store.check() == 6
