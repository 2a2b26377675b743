"""Parquet files that carry a hash of all their bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from collectopt.exceptions import ArtifactError

#: Where the note on a run stands in the metadata of its file, as in files of `collectopt decide`.
RUN = b"collectopt.run"
_SEAL = b"collectopt.seal"
_BLANK = b"0" * 64
# in the footer (Thrift): the key, two bytes of type and length, and the value
_PLACE = re.compile(re.escape(_SEAL) + rb"..([0-9a-f]{64})", re.DOTALL)


def sealed(table: pa.Table, note: str) -> bytes:
    """Give a parquet file with a note and a SHA-256 of its bytes, these 64 counted as zeros.

    Examples
    --------
    >>> import pyarrow as pa
    >>> data = sealed(pa.table({"x": [1]}), "a note")
    >>> data[:4], len(_seal(data))
    (b'PAR1', 64)
    """
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({RUN: note.encode()})
    with pq.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_SEAL.decode(): _BLANK.decode()})
    data = bytearray(sink.getvalue().to_pybytes())
    place = _place(data)
    data[place : place + len(_BLANK)] = _hash(data, place).encode()
    return bytes(data)


def opened(file: Path) -> tuple[pa.Table, str]:
    """Read a sealed file: its table and note. Nothing of it is parsed before the seal is tried.

    Raises
    ------
    ArtifactError
        It is none, or was changed.
    """
    try:
        data = file.read_bytes()
        seal = _seal(data)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read, or was changed: {error}") from error
    if seal != _hash(data, _place(data)):
        raise ArtifactError(f"{file} was changed after it was written.")
    table = pq.ParquetFile(pa.BufferReader(data)).read()
    return table.replace_schema_metadata(None), (table.schema.metadata or {})[RUN].decode()


def seal_of(file: Path) -> str | None:
    """Tell the seal that a file carries, right or wrong; None = it carries none."""
    try:
        return _seal(file.read_bytes())
    except (OSError, ValueError):
        return None


def _seal(data: bytes) -> str:
    place = _place(data)
    return data[place : place + len(_BLANK)].decode()


def _place(data: bytes | bytearray) -> int:
    """Find the seal: the last thing of its look."""
    found = [match.start(1) for match in _PLACE.finditer(data)]
    if not found:
        raise ValueError("it carries no seal")
    return found[-1]


def _hash(data: bytes | bytearray, place: int) -> str:
    view = memoryview(data)
    digest = hashlib.sha256(view[:place])
    digest.update(_BLANK)
    digest.update(view[place + len(_BLANK) :])
    return digest.hexdigest()
