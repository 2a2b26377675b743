"""Outputs that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collectopt.exceptions import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write to a temporary neighbour, then rename.

    Parameters
    ----------
    path : Path
        The file to (re)place; its folder is made.

    Yields
    ------
    Path
        Where to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        _sync(part)
        open_up(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, marker: str) -> Iterator[Path]:
    """Fill a temporary neighbour, then rename.

    Parameters
    ----------
    path : Path
        The folder to (re)place. An existing one is replaced only if it holds `marker`.
    marker : str
        Name of a file that every folder of this kind holds.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        `path` exists and is something else.
    """
    check_folder(path, marker=marker)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield part
        for file in part.rglob("*"):
            if file.is_file():
                _sync(file)
        part.chmod(0o777 & ~_umask())
        _swap(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_folder(path: Path, *, marker: str) -> None:
    """Say at once whether :func:`atomic_folder` will be able to write.

    Raises
    ------
    InputError
        `path` exists and is neither empty nor a folder with `marker`.
    """
    if path.exists() and not (path / marker).is_file() and not _is_empty(path):
        raise InputError.of(
            str(path),
            None,
            expected=f"a new folder, or one with {marker}",
            found="other content" if path.is_dir() else "a file",
            hint="Choose another place, or remove it yourself.",
        )


def _swap(part: Path, path: Path) -> None:
    if not path.exists():
        part.rename(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
    path.rename(old / path.name)
    try:
        part.rename(path)
    except OSError:
        (old / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def open_up(file: Path) -> None:
    """Let those read a temporary file who may read new files; it is made for its owner alone."""
    file.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
