"""Make a decision again: the same book, policy, time and seed give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectopt.exceptions import ArtifactError, InputError
from collectopt.jobs.tasks import RUN, Progress, read_book
from collectopt.policy import load
from collectopt.policy.overrides import Overrides
from collectopt.policy.provenance import provenance
from collectopt.policy.sealing import opened, seal_of
from collectopt.schema.decisions import SCHEMA, Decisions, Explanation
from collectopt.schema.fingerprints import differing, fingerprints
from collectopt.schema.times import to_instant


@dataclass(frozen=True)
class Replay:
    """A decision made again.

    Attributes
    ----------
    decision_id : str
    file : Path
        Where it was found.
    run : dict
        What it was made of: fingerprint of the book, policy_version, as_of, seed, collectopt;
        overrides, the hash of what people decided, if anything; see `provenance`.
    same : bool
        Whether every column came out the same, byte for byte.
    differences : dict of str to (then, now)
        Columns that did not.
    book_is_same : bool
        Whether the book is the one of then; facts that came later do no harm.
    inputs : tuple of str or None
        Tables in which the account's own rows known then are others now; None: the file does not
        keep a hash of them.
    versions : tuple of str
        What else is another one than then: collectopt (the library), rules (the law as data).
    explanation : Explanation
        Of the decision as it came out now.
    """

    decision_id: str
    file: Path
    run: dict[str, Any]
    same: bool
    differences: dict[str, tuple[Any, Any]]
    book_is_same: bool
    inputs: tuple[str, ...] | None
    versions: tuple[str, ...]
    explanation: Explanation

    def changes(self) -> list[str]:
        """Say what is not as it was then, in sentences."""
        said = []
        if self.inputs:
            said.append(f"Known of the account then and changed since: {', '.join(self.inputs)}.")
        elif self.inputs is not None and not self.same:
            said.append("What was known of the account itself then is unchanged.")
        elif not self.book_is_same:
            said.append("The book has changed since; what was known then decides.")
        if self.versions:
            said.append(f"Another one than then: {', '.join(self.versions)}.")
        return said


def replay(
    decision_id: str, decisions: Path, book: Path, model: Path, *, progress: Progress
) -> Replay:
    """Find a decision and make it again.

    Parameters
    ----------
    decision_id : str
    decisions : Path
        A file that ``decide`` wrote, or a folder of such files, such as its records.
    book, model : Path
    progress : Progress

    Raises
    ------
    InputError
        The decision is in none of the files, or its file does not say what it was made of.
    ArtifactError
        The policy is not the one that decided.
    """
    with progress.step("looking for the decision"):
        found = _found(decision_id, decisions)
    run, then = found.run, found.table
    with progress.step("reading the policy"):
        policy = load(model)
    if policy.version != run["policy_version"]:
        raise ArtifactError(
            f"{model} is policy {policy.version}, but the decision was made by "
            f"{run['policy_version']}: name the folder of that policy."
        )
    with progress.step("reading the book"):
        ledger = read_book(book, policy.catalogue)
    account, moment = then["account_id"][0].as_py(), to_instant(run["as_of"])
    inputs = None
    if found.inputs is not None:
        inputs = differing(found.inputs, fingerprints(ledger, [account], moment)[0])
    with progress.step("deciding again"):
        made: Decisions = policy.decide(
            ledger, as_of=run["as_of"], rng=run["seed"], overrides=found.people
        )
    row = pc.index(made.table["decision_id"], decision_id).as_py()
    if row < 0:
        raise InputError.of(
            str(book),
            "account_id",
            expected=f"account {account} with an open claim as of {run['as_of']}",
            found="no decision for it",
            hint=f"What was known then was changed: {', '.join(inputs or ('the book',))}.",
        )
    now = made.table.slice(row, 1)
    different = {
        name: (then[name][0].as_py(), now[name][0].as_py())
        for name in SCHEMA.names
        if not _same(then[name], now[name])
    }
    anew = provenance(policy, ledger, moment, run["seed"])
    return Replay(
        decision_id,
        found.file,
        run,
        not different,
        different,
        anew["fingerprint"] == run["fingerprint"],
        inputs,
        tuple(n for n in ("collectopt", "rules") if n in run and run[n] != anew[n]),
        made.explain(account),
    )


def _same(then: pa.ChunkedArray, now: pa.ChunkedArray) -> bool:
    """Equal to the last bit, nan included."""
    # made anew: what lies in memory beneath a null is nobody's business
    one, two = (pa.table({"x": pa.array(c.to_pylist(), c.type)}) for c in (then, now))
    sinks = [pa.BufferOutputStream() for _ in range(2)]
    for sink, table in zip(sinks, (one, two), strict=True):
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return bool(sinks[0].getvalue().equals(sinks[1].getvalue()))


def _files(decisions: Path) -> Iterator[Path]:
    if decisions.is_dir():
        yield from sorted(decisions.rglob("*.parquet"))
    else:
        yield decisions


@dataclass(frozen=True)
class _Found:
    """A decision as it is kept: a table of one row, and what it was made of."""

    file: Path
    run: dict[str, Any]
    table: pa.Table
    people: Overrides | None
    inputs: pa.StructScalar | None


def _found(decision_id: str, decisions: Path) -> _Found:
    if not decisions.exists():
        raise InputError.of(
            str(decisions), None, expected="a file of decisions, or a folder", found="nothing there"
        )
    looked, same_account, broken = 0, None, []
    for file in _files(decisions):
        try:
            kept = pq.ParquetFile(file)
            if "decision_id" not in kept.schema_arrow.names:
                continue
            table = pq.read_table(file, filters=pc.equal(pc.field("decision_id"), decision_id))
            own = pq.read_table(file, filters=pc.equal(pc.field("account_id"), decision_id))
        except (pa.ArrowException, OSError):
            broken.append(file.name)
            continue
        looked += 1
        if not len(table):
            if len(own):
                same_account = own["decision_id"][0].as_py()
            continue
        if seal_of(file) is not None or (decisions.is_dir() and file.name.startswith("run-")):
            opened(file)  # a record that was changed is none
        note = json.loads((kept.schema_arrow.metadata or {}).get(RUN, b"{}"))
        if "run" not in note:
            raise InputError.of(
                str(file),
                None,
                expected="decisions written by `collectopt decide`",
                found="a file that does not say what they were made of",
            )
        people = Overrides.from_rows(note["overrides"]) if "overrides" in note else None
        known = table.replace_schema_metadata(None).select(SCHEMA.names).cast(SCHEMA)
        inputs = table["inputs"][0] if "inputs" in table.column_names else None
        kept_inputs = inputs if inputs is not None and inputs.is_valid else None
        return _Found(file, note["run"], known, people, kept_inputs)
    raise InputError.of(
        str(decisions),
        "decision_id",
        expected="a decision in these files",
        found=f"{decision_id!r} in none of {looked} {'file' if looked == 1 else 'files'}"
        + (f"; not to be read: {', '.join(broken)}" if broken else ""),
        hint="Name the file or the folder that `collectopt decide` wrote to."
        if same_account is None
        else f"That is an account; a decision on it is {same_account!r}.",
    )
