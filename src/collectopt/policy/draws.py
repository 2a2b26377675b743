"""Random draws that depend on the account, the time and the seed, and on nothing else."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import InputError


def seed_of(rng: int | np.random.Generator) -> int:
    """Turn what the caller gives for ``rng`` into a seed.

    Raises
    ------
    InputError
        Neither an integer nor a Generator.
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise InputError.of(
            "decide", "rng", expected="an int or a numpy Generator", found=type(rng).__name__
        )
    return int(rng)


def uniforms(
    account_ids: NDArray[np.object_], as_of: int, seed: int, streams: int = 4
) -> NDArray[np.float64]:
    """Independent uniform numbers in [0, 1) by a stable hash; shape (n, streams).

    The same account, time and seed give the same numbers in any order and any company.

    Examples
    --------
    >>> import numpy as np
    >>> a = uniforms(np.array(["A", "B"], object), 0, 1)
    >>> b = uniforms(np.array(["B", "A"], object), 0, 1)
    >>> bool((a == b[::-1]).all())
    True
    """
    prefix = f"{seed}|{as_of}|".encode()
    data = b"".join(
        hashlib.blake2b(prefix + str(a).encode(), digest_size=8 * streams).digest()
        for a in account_ids
    )
    bits = np.frombuffer(data, dtype="<u8").reshape(len(account_ids), streams)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform_row(account_id: str, as_of: int, seed: int) -> tuple[float, float, float, float]:
    """Give :func:`uniforms` of one account.

    Examples
    --------
    >>> import numpy as np
    >>> uniform_row("A", 0, 1) == tuple(uniforms(np.array(["A"], object), 0, 1)[0])
    True
    """
    text = f"{seed}|{as_of}|{account_id}".encode()
    a, b, c, d = struct.unpack("<4Q", hashlib.blake2b(text, digest_size=32).digest())
    unit = 2.0**-53
    return (a >> 11) * unit, (b >> 11) * unit, (c >> 11) * unit, (d >> 11) * unit


def decision_ids(account_ids: Iterable[str], as_of: int, seed: int, version: str) -> list[str]:
    """Name each decision by what it depends on."""
    prefix = f"{version}|{seed}|{as_of}|".encode()
    return [
        hashlib.blake2b(prefix + str(a).encode(), digest_size=12).hexdigest() for a in account_ids
    ]
