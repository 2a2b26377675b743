"""Arms of a split: who belongs to which, and what of the limits each may use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.exceptions import InputError
from collectopt.policy.base import Policy
from collectopt.schema.ledger import Ledger

CHAMPION = "champion"
SPLIT = "split"
_SAME = ("channels", "cadence_days", "jurisdiction", "timezone", "currency")
# Where a challenger's share begins on the unit interval and which way it grows, by its position.
_PLACES = ((0.0, 1), (1.0, -1), (0.5, 1), (0.5, -1), (0.25, 1), (0.25, -1), (0.75, 1), (0.75, -1))


@dataclass(frozen=True, eq=False)
class Arm:
    """One policy of a split.

    Attributes
    ----------
    name : str
    policy : Policy
    share : float
        Of the customers.
    low, high : float
        Customers whose hash lies in [low, high); of the champion all that are left.
    """

    name: str
    policy: Policy
    share: float
    low: float
    high: float


def arms_of_shares(
    champion: Policy, challengers: Mapping[str, tuple[Policy, float]]
) -> tuple[Arm, ...]:
    """Give every challenger its place; the champion comes first.

    Raises
    ------
    InputError
        What is wrong with a policy, a name or a share.
    """
    _check_policy(CHAMPION, champion)
    if not 1 <= len(challengers) <= len(_PLACES):
        raise _wrong(
            "challengers",
            f"1 to {len(_PLACES)} of them: name -> (policy, share)",
            str(len(challengers)),
        )
    arms = []
    for (name, entry), (start, way) in zip(challengers.items(), _PLACES, strict=False):
        policy, share = _checked(name, entry, champion)
        low, high = sorted((start, start + way * share))
        arms.append(Arm(name, policy, share, low, high))
    _check_places(arms)
    left = 1.0 - sum(arm.share for arm in arms)
    return (Arm(CHAMPION, champion, max(left, 0.0), 0.0, 1.0), *arms)


def customers(ledger: Ledger, account_ids: Sequence[str]) -> list[str]:
    """Name the customer of each account, prefixed so that an account never passes for one.

    Raises
    ------
    InputError
        An account is not in the ledger.
    """
    accounts = ledger.accounts
    rows = pc.index_in(pa.array(account_ids, pa.string()), value_set=accounts["account_id"])
    if rows.null_count:
        found = account_ids[int(np.flatnonzero(rows.is_null().to_numpy(zero_copy_only=False))[0])]
        raise InputError.of(
            "accounts", "account_id", expected="accounts of the ledger", found=repr(found)
        )
    known = accounts["customer_id"].take(rows).to_pylist()
    return [
        f"account:{account}" if customer is None else f"customer:{customer}"
        for account, customer in zip(account_ids, known, strict=True)
    ]


def places(keys: Sequence[str], salt: str) -> NDArray[np.float64]:
    """Put each key somewhere in [0, 1), by a hash of salt and key alone."""
    prefix = f"{len(salt)}|{salt}|".encode()
    data = b"".join(hashlib.blake2b(prefix + k.encode(), digest_size=8).digest() for k in keys)
    bits = np.frombuffer(data, dtype="<u8")
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def parts_of(whole: int, shares: NDArray[np.float64]) -> list[int]:
    """Split whole units by largest remainder; the first arm wins ties.

    Examples
    --------
    >>> parts_of(7, np.array([0.65, 0.25, 0.1]))
    [4, 2, 1]
    """
    exact = whole * shares
    parts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - parts), kind="stable")
    parts[order[: max(whole - int(parts.sum()), 0)]] += 1
    return [int(part) for part in parts]


def _wrong(where: str, expected: str, found: str, hint: str = "") -> InputError:
    return InputError.of("Split", where, expected=expected, found=found, hint=hint)


def _check_policy(name: str, policy: Any) -> None:
    if not isinstance(policy, Policy) or policy.kind == SPLIT:
        raise _wrong(name, "a policy that is no split", type(policy).__name__)


def _checked(name: Any, entry: Any, champion: Policy) -> tuple[Policy, float]:
    if not isinstance(name, str) or not name or name == CHAMPION:
        raise _wrong("challengers", f"names other than {CHAMPION!r}", repr(name))
    if not isinstance(entry, tuple) or len(entry) != 2:
        raise _wrong(name, "(policy, share)", repr(entry)[:60])
    policy, share = entry
    _check_policy(name, policy)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise _wrong(name, "a share from 0 to 1", repr(share))
    for field in _SAME:
        if getattr(policy.catalogue, field) != getattr(champion.catalogue, field):
            raise _wrong(
                name,
                f"the {field} of the champion's catalogue",
                "others",
                "Arms share channels, limits and law; house rules and values may differ.",
            )
    return policy, float(share)


def _check_places(arms: Sequence[Arm]) -> None:
    inside = sorted((arm.low, arm.high, arm.name) for arm in arms if arm.share > 0)
    hint = (
        "So that a challenger that grows takes from the champion alone, each has a fixed place: "
        "take smaller shares."
    )
    for (_, high, one), (low, _, other) in pairwise(inside):
        if low < high - 1e-12:
            expected = (
                "shares that leave each other room: two challengers up to 1 together; of more, "
                "neighbours up to half of the customers together"
            )
            raise _wrong("challengers", expected, f"{one} and {other} overlap", hint)
    for low, high, name in inside:
        if low < -1e-12 or high > 1 + 1e-12:
            raise _wrong("challengers", "shares inside their places", f"{name} is too large", hint)
