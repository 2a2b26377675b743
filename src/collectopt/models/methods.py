"""How accounts pay: shares of payment methods, shrunken to those of the book."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.models.credibility import interval
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.tables import NO_CONTACT

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_WEAK, _STRONG = 0.01, 0.99  # bounds of how alike payments of one account are
_EXPECTED, _HELD = 0.5, 10.0  # likeness before a look, and the pairs that it is worth
# Several claims paid at once are one act.
_COUNTS = f"""
select r.row, p.method, count(distinct p.known_at) as n
from rows r join payments p on p.account = r.account and p.known_at < r.as_of
where p.cents > 0 and p.method is not null and p.method not in {NO_CONTACT}
group by all
"""


@dataclass(frozen=True, eq=False)
class Methods:
    """Shares of the methods by which n accounts pay.

    Attributes
    ----------
    names : tuple of str
        The M methods of the book, sorted.
    mean, low, high : (n, M) float64
        Posterior mean and bounds of 90 % of each share.
    observations : (n, M) int64
        Payments of the account by the method; several claims paid at once are one.
    strength : float
        Payments that the book's shares are worth.
    """

    names: tuple[str, ...]
    mean: Float
    low: Float
    high: Float
    observations: Int
    strength: float


def payment_methods(snapshot: Snapshot) -> Methods:
    """Tell how the accounts of a snapshot pay, from payments before their time.

    A Dirichlet-multinomial: the account's counts plus the book's shares times a strength, which
    follows from how often two payments of one account are made alike (by moments).

    Parameters
    ----------
    snapshot : Snapshot
        n rows.

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=300, seed=1)
    >>> payment_methods(co.Snapshot(book.ledger(), book.as_of)).names
    ('card', 'direct_debit', 'transfer', 'wallet')
    """
    everybody = _everybody(snapshot)
    found = query(_COUNTS, {"rows": everybody, "payments": snapshot.ledger.timeline.payments})
    names = tuple(sorted(set(found["method"].to_pylist())))
    place = pc.index_in(found["method"].combine_chunks(), value_set=pa.array(names, pa.string()))
    book = np.zeros((len(everybody), len(names)), dtype=np.int64)
    book[found["row"].to_numpy(), place.to_numpy(zero_copy_only=False)] = found["n"].to_numpy()
    # Accounts that are asked about stand first, the rest of the book after them.
    counts = book[: len(snapshot)]
    share = book.sum(axis=0) / max(book.sum(), 1)
    n = book.sum(axis=1)
    pairs = (n * (n - 1)).sum()
    alike = (book * (book - 1)).sum()
    chance = float((share**2).sum())
    likeness = (alike - chance * pairs) / (1.0 - chance) if chance < 1.0 else float(pairs)
    rho = (likeness + _EXPECTED * _HELD) / (pairs + _HELD)
    rho = float(np.clip(rho, _WEAK, _STRONG))
    strength = (1.0 - rho) / rho
    total = counts.sum(axis=1, keepdims=True) + strength
    mean = np.clip((counts + strength * share) / total, 1e-9, 1.0 - 1e-9)
    low, high = interval(mean, mean * (1.0 - mean) / (total + 1.0))
    # A share near 0 or 1 may lie outside of the middle of its skewed distribution.
    low, high = np.minimum(low, mean), np.maximum(high, mean)
    return Methods(names, mean, low, high, counts, strength)


def _everybody(snapshot: Snapshot) -> pa.Table:
    """Rows of the snapshot, then all other accounts as of the earliest of its times."""
    columns = ["row", "account", "as_of"]
    asked = snapshot.rows.select(columns)
    if not len(asked):
        return asked
    rest = np.setdiff1d(np.arange(snapshot.ledger.accounts.num_rows), asked["account"].to_numpy())
    first = pa.array(np.full(len(rest), snapshot.as_of.min())).cast(asked["as_of"].type)
    number = pa.array(len(asked) + np.arange(len(rest)), pa.int64())
    others = pa.table([number, pa.array(rest, pa.int32()), first], names=columns)
    return pa.concat_tables([asked, others])
