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
import pyarrow.parquet as pq

from collectopt.exceptions import ArtifactError, InputError
from collectopt.policy.overrides import Overrides
from collectopt.schema.atomic import open_up
from collectopt.schema.decisions import Decisions

#: Where the note on a run stands in the metadata of its file, as in files of `collectopt decide`.
RUN = b"collectopt.run"
_TERMS = pa.map_(pa.string(), pa.float64())


class RecordStore:
    """A folder of runs, each a parquet file that is never written again.

    A file appears whole or not at all, whatever breaks while it is written, and two runs at once do
    not touch each other. Its name ends with a hash of all that is in it: the same run added twice
    is one file, and a file that was changed afterwards is refused. A file that was taken away is
    not missed: keep the list of names elsewhere where that matters.

    Parameters
    ----------
    folder : str or Path
        Made with the first run.

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

    def __repr__(self) -> str:
        return f"RecordStore({str(self.folder)!r})"

    def append(
        self, decisions: Decisions, run: Mapping[str, Any], overrides: Overrides | None = None
    ) -> Path:
        """Add a run; the same run again changes nothing.

        Parameters
        ----------
        decisions : Decisions
        run : mapping
            What they were made of, ready for JSON: as_of, seed, fingerprint of the book and so on.
        overrides : Overrides or None
            What people decided for the run.

        Returns
        -------
        Path
            The file of the run.

        Raises
        ------
        InputError
            ``run`` cannot be written as JSON.
        ArtifactError
            The run is there, but its file was changed.
        """
        table = _with_terms(decisions)
        try:
            people = {} if overrides is None else {"overrides": overrides.to_rows()}
            note = json.dumps({"run": dict(run), **people}, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError.of(
                "RecordStore", "run", expected="plain values for JSON", found=str(error)
            ) from None
        final = self.folder / f"run-{_digest(table, note)}.parquet"
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".run-", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            pq.write_table(table.replace_schema_metadata({RUN: note.encode()}), part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            open_up(part)
            with contextlib.suppress(FileExistsError):
                os.link(part, final)  # never replaces anything, unlike a rename
        finally:
            part.unlink(missing_ok=True)
        self._read(final)
        return final

    def find(self, decision_id: str) -> dict[str, Any] | None:
        """Give the record of a decision with the note on its run; None = there is none.

        Raises
        ------
        ArtifactError
            A file was changed after it was written.
        """
        for file in self._files():
            table, run = self._read(file)
            place = table["decision_id"].index(decision_id).as_py()
            if place >= 0:
                record: dict[str, Any] = table.slice(place, 1).to_pylist()[0]
                return record | {"terms": dict(record["terms"]), "run": run}
        return None

    def check(self) -> int:
        """Read every file and count the decisions in them.

        Raises
        ------
        ArtifactError
            A file was changed after it was written.
        """
        return sum(len(self._read(file)[0]) for file in self._files())

    def _files(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("run-*.parquet"))

    def _read(self, file: Path) -> tuple[pa.Table, dict[str, Any]]:
        try:
            table = pq.ParquetFile(file, memory_map=False).read()
            note = (table.schema.metadata or {})[RUN].decode()
            digest = _digest(table.replace_schema_metadata(None), note)
        except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{file} cannot be read: {error}") from error
        if file.name != f"run-{digest}.parquet":
            raise ArtifactError(f"{file} was changed after it was written: it holds {digest} now.")
        return table, json.loads(note)["run"]


def _with_terms(decisions: Decisions) -> pa.Table:
    """Put the terms of the values beside the decisions, as a last column."""
    names, n = list(decisions.terms), len(decisions)
    columns = [decisions.terms[name].to_pylist() for name in names]
    rows = zip(*columns, strict=True) if names else ((),) * n
    terms = [list(zip(names, row, strict=True)) for row in rows]
    return decisions.table.append_column("terms", pa.array(terms, _TERMS)).combine_chunks()


def _digest(table: pa.Table, note: str) -> str:
    """Hash rows by their values, not by how a file lays them out."""
    digest = hashlib.sha256(note.encode())
    for column in table.column_names:
        digest.update(column.encode() + b"\0")
        digest.update(repr(table[column].to_pylist()).encode())
    return digest.hexdigest()[:32]
