"""Decision records that are only ever added to: one file a run, named by what is in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from collectopt.exceptions import ArtifactError, InputError
from collectopt.policy import sealing
from collectopt.policy.overrides import Overrides
from collectopt.schema.atomic import open_up
from collectopt.schema.decisions import CANDIDATES, Decisions
from collectopt.schema.fingerprints import FINGERPRINT

_TERMS = pa.map_(pa.string(), pa.float64())


class RecordStore:
    """A folder of runs, each a parquet file that is never written again.

    A file appears whole or not at all, whatever breaks while it is written, and two runs at once do
    not touch each other. Its name is a hash of what was decided and of what: the same run added
    twice is one file. It carries a hash of all its bytes, so a file that was changed afterwards is
    refused, and name and hash of the newest file there was, so that one that was taken away is
    missed. Of the newest files themselves nobody tells: keep their names elsewhere where that
    matters.

    Parameters
    ----------
    folder : str or Path
        Made with the first run.

    Raises
    ------
    InputError
        It is a file, or a folder with something else in it and no run.

    Examples
    --------
    >>> import collectopt as co, tempfile
    >>> book = co.simulation.Book("shop", accounts=40, seed=1, weeks=8)
    >>> decisions = co.FixedLadder(book.catalogue).decide(book.ledger(), book.as_of, rng=7)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = RecordStore(folder)
    ...     file = store.append(decisions, {"as_of": str(book.as_of), "seed": 7})
    ...     found = store.find(decisions.table["decision_id"][0].as_py())
    >>> found["run"]["seed"], found["account_id"] == decisions.table["account_id"][0].as_py()
    (7, True)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._check_place()

    def __repr__(self) -> str:
        return f"RecordStore({str(self.folder)!r})"

    def append(
        self,
        decisions: Decisions,
        run: Mapping[str, Any],
        overrides: Overrides | None = None,
        inputs: pa.StructArray | None = None,
    ) -> Path:
        """Add a run; the same run again changes nothing.

        Parameters
        ----------
        decisions : Decisions
            n of them.
        run : mapping
            What they were made of, ready for JSON: see `provenance`.
        overrides : Overrides or None
            What people decided for the run.
        inputs : pyarrow.StructArray or None, (n,)
            What was known of each account, as `fingerprints` gives it; None: not kept.

        Returns
        -------
        Path
            The file of the run.

        Raises
        ------
        InputError
            ``run`` cannot be written as JSON, or ``inputs`` do not fit.
        ArtifactError
            The run is there, but its file was changed.
        """
        table = _whole(decisions, inputs)
        people = {} if overrides is None else {"overrides": overrides.to_rows()}
        note = {"run": dict(run), **people}
        try:
            text = json.dumps(note, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError.of(
                "RecordStore", "run", expected="plain values for JSON", found=str(error)
            ) from None
        content = _digest(table, text)
        final = self.folder / f"run-{content}.parquet"
        if not final.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            chained = {**note, "content": content, "before": self._newest()}
            self._put(sealing.sealed(table, json.dumps(chained, sort_keys=True)), final)
        self._read(final)
        return final

    def find(self, decision_id: str) -> dict[str, Any] | None:
        """Give the record of a decision with the note on its run; None = there is none.

        Returns
        -------
        dict or None
            The columns of `Decisions`; terms (EUR by term), candidates and inputs (hash by table)
            where they were kept; run.

        Raises
        ------
        ArtifactError
            A file was changed after it was written.
        """
        for file in self._files():
            table, note = self._read(file)
            place = table["decision_id"].index(decision_id).as_py()
            if place >= 0:
                record: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
                known = record["inputs"] and {
                    name: None if value is None else value.hex()
                    for name, value in record["inputs"].items()
                }
                terms = dict(record["terms"])
                return record | {"terms": terms, "inputs": known, "run": note["run"]}
        return None

    def check(self) -> int:
        """Read every file and count the decisions in them.

        Raises
        ------
        ArtifactError
            A file was changed after it was written, or one that another names is missing.
        """
        count, wrong = 0, []
        for file in self._files():
            table, note = self._read(file)
            count += len(table)
            before = note["before"]
            if before is None:
                continue
            other = self.folder / before["file"]
            if not other.exists():
                wrong.append(f"{before['file']} is missing: {file.name} was added after it")
            elif before["seal"] != sealing.seal_of(other):
                wrong.append(f"{before['file']} is not the file after which {file.name} was added")
        if wrong:
            raise ArtifactError(f"{self.folder}: {'; '.join(wrong)}.")
        return count

    def _check_place(self) -> None:
        """Refuse a place that holds something else; hidden files do not count."""
        found = ""
        if self.folder.is_dir():
            others = [p.name for p in self.folder.iterdir() if not p.name.startswith(".")]
            if others and next(self._files(), None) is None:
                found = f"a folder with {', '.join(sorted(others)[:3])}"
        elif self.folder.exists():
            found = "a file"
        if found:
            raise InputError.of(
                str(self.folder),
                None,
                expected="a folder of records (run-....parquet), an empty or a new one",
                found=found,
                hint="Records stay for ever: give them a folder of their own.",
            )

    def _files(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("run-*.parquet"))

    def _newest(self) -> dict[str, str | None] | None:
        """Name and seal of the file that was added last; None = there is none."""
        file = max(self._files(), key=lambda f: (f.stat().st_mtime_ns, f.name), default=None)
        # what is wrong with that file is no reason to lose a new run
        return None if file is None else {"file": file.name, "seal": sealing.seal_of(file)}

    def _put(self, data: bytes, final: Path) -> None:
        """Let a file appear whole, or not at all."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".run-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as part:
                part.write(data)
                part.flush()
                os.fsync(part.fileno())
            open_up(Path(name))
            with contextlib.suppress(FileExistsError):
                os.link(name, final)  # never replaces anything, unlike a rename
        finally:
            Path(name).unlink(missing_ok=True)

    def _read(self, file: Path) -> tuple[pa.Table, dict[str, Any]]:
        table, text = sealing.opened(file)
        note: dict[str, Any] = json.loads(text)
        if file.name != f"run-{note['content']}.parquet":
            raise ArtifactError(f"{file} was changed: its name is not that of what it holds.")
        return table, note


def _whole(decisions: Decisions, inputs: pa.StructArray | None) -> pa.Table:
    """Put what stands beside the decisions into last columns."""
    n = len(decisions)
    if inputs is not None and (inputs.type != FINGERPRINT or len(inputs) != n):
        raise InputError.of(
            "RecordStore",
            "inputs",
            expected=f"{n} fingerprints, one a decision",
            found=f"{len(inputs)} of {inputs.type}",
            hint='fingerprints(ledger, decisions.table["account_id"], as_of) gives them.',
        )
    names = list(decisions.terms)
    columns = [decisions.terms[name].to_pylist() for name in names]
    rows = zip(*columns, strict=True) if names else ((),) * n
    terms = [list(zip(names, row, strict=True)) for row in rows]
    also = decisions.candidates
    more = {
        "terms": pa.array(terms, _TERMS),
        "candidates": pa.nulls(n, CANDIDATES) if also is None else also,
        "inputs": pa.nulls(n, FINGERPRINT) if inputs is None else inputs,
    }
    table = decisions.table
    for name, column in more.items():
        table = table.append_column(name, column)
    return table.combine_chunks()


def _digest(table: pa.Table, note: str) -> str:
    """Hash rows by their values, not by how a file lays them out."""
    digest = hashlib.sha256(note.encode())
    for column in table.column_names:
        digest.update(column.encode() + b"\0")
        digest.update(repr(table[column].to_pylist()).encode())
    return digest.hexdigest()[:32]
