"""What a ledger tells of its claims: columns that tell them apart, and how late each came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.features.lateness import settled_spells
from collectopt.models.periods import blocks
from collectopt.models.slopes import CODES, SEEN, Pieces
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import DAY_US

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Days for which a settled claim counts for its account.
MEMORY = 730
AMOUNT, TERM = "log amount", "days to pay"  # no names of a column of the caller
_BLOCK = 20_000
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class ClaimColumns:
    """Some columns of claims, cut into standardised pieces.

    Attributes
    ----------
    names : tuple of str
    texts : mapping of str to tuple of str
        Texts behind the codes of each column that holds texts.
    pieces : Pieces
        How the columns are cut.
    """

    names: tuple[str, ...]
    texts: Mapping[str, tuple[str, ...]]
    pieces: Pieces

    @classmethod
    def choose(cls, claims: pa.Table, names: Sequence[str]) -> Self:
        """Choose the pieces of some claims of a timeline."""
        texts = {key: found for name in names for key, found in _texts(claims, name).items()}
        X, codes = _columns(claims, names, texts)
        return cls(tuple(names), texts, Pieces.choose(X, codes))

    def of(self, claims: pa.Table) -> Float:
        """Cut claims into pieces, (c, k)."""
        out = np.empty((len(claims), len(self.pieces.column)))
        for part in blocks(len(out), _BLOCK):
            some = claims.slice(part.start, part.stop - part.start)
            out[part] = self.pieces.of(_columns(some, self.names, self.texts)[0])
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "names": list(self.names),
            "texts": dict(self.texts),
            "pieces": self.pieces.to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        texts = {name: tuple(found) for name, found in content["texts"].items()}
        return cls(tuple(content["names"]), texts, Pieces.from_json(content["pieces"]))


def own_columns(ledger: Ledger) -> list[str]:
    """Columns that may tell claims apart: amount, days to pay, kind, and the caller's."""
    there = ledger.timeline.claims.column_names
    return [AMOUNT, TERM, "kind", *(name for name in ledger.features if name in there)]


def places(ledger: Ledger, invoices: pa.ChunkedArray) -> tuple[Int, Int]:
    """Rows whose invoice is a claim of the timeline, and its place there."""
    found = ledger.timeline.places(invoices)
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]


class Settled(NamedTuple):
    """How the c claims of a timeline stood at a moment.

    Attributes
    ----------
    late : (c,) float64
        Days from the due date to the settlement; nan where a claim was not settled.
    credited : (c,) bool
        Whether a credit note, not a payment, settled it.
    issued : (c,) bool
        Whether it was known.
    """

    late: Float
    credited: Bool
    issued: Bool

    @classmethod
    def at(cls, ledger: Ledger, moment: int) -> Self:
        """Look it up; the moment in microseconds since 1970.

        A claim whose payment was returned by then counts as not settled.
        """
        claims = ledger.timeline.claims
        spells = settled_spells(ledger)
        back = pc.fill_null(spells["reopened"], _NEVER).to_numpy() < moment
        spells = spells.filter(pa.array((spells["known"].to_numpy() < moment) & ~back))
        place, claim = places(ledger, spells["inv"])
        at = place[np.unique(claim, return_index=True)[1]]  # the first of each claim
        claim = np.unique(claim)
        late, credited = np.full(len(claims), np.nan), np.zeros(len(claims), dtype=np.bool_)
        late[claim] = spells["late"].to_numpy()[at]
        credited[claim] = ~spells["cash"].to_numpy(zero_copy_only=False)[at]
        return cls(late, credited, claims["known_at"].cast(pa.int64()).to_numpy() < moment)


class Paid(NamedTuple):
    """Spells during which a claim was settled by a payment, e of them.

    Attributes
    ----------
    claim : (e,) int64
        Place of the claim in the timeline.
    account : (e,) int64
    known, gone : (e,) int64
        Microseconds since 1970 between which the spell counts for the account.
    late : (e,) float64
        Days from the due date to the settlement.
    """

    claim: Int
    account: Int
    known: Int
    gone: Int
    late: Float

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """Look them up; each counts until it was reopened, and :data:`MEMORY` days at most."""
        spells = settled_spells(ledger).filter(pc.field("cash"))
        place, claim = places(ledger, spells["inv"])
        known = spells["known"].to_numpy()[place]
        reopened = pc.fill_null(spells["reopened"], _NEVER).to_numpy()[place]
        gone = np.minimum(reopened, known + MEMORY * DAY_US)
        account = spells["acc"].to_numpy().astype(np.int64)[place]
        return cls(claim, account, known, gone, spells["late"].to_numpy()[place])

    def take(self, some: Int) -> Paid:
        """Keep some of them."""
        return Paid(
            self.claim[some],
            self.account[some],
            self.known[some],
            self.gone[some],
            self.late[some],
        )


class RunningSums(NamedTuple):
    """Sums over the spells that count for an account, at any time.

    Whole numbers: a sum does not depend on what else is summed up.

    Attributes
    ----------
    key : (2 e,) int64
        Account and rank of the time of each change, rising.
    total : (2 e + 1, ...) int64
        Sums over all changes so far.
    times : (t,) int64
        Times of the changes, rising.
    """

    key: Int
    total: Int
    times: Int

    @classmethod
    def build(cls, paid: Paid, values: Int) -> Self:
        """Sum up a value, (e, ...), of each spell."""
        time, account = np.r_[paid.known, paid.gone], np.r_[paid.account, paid.account]
        order = np.lexsort((time, account))
        total = np.zeros((len(time) + 1, *values.shape[1:]), dtype=np.int64)
        np.cumsum(np.concatenate([values, -values])[order], axis=0, out=total[1:])
        times = np.unique(time)
        key = account[order] * (len(times) + 1) + np.searchsorted(times, time[order])
        return cls(key, total, times)

    def before(self, account: Int, asked: Int) -> Int:
        """Give the sums of accounts over what was known before the times asked for, (n, ...)."""
        whose = account * (len(self.times) + 1)
        first = np.searchsorted(self.key, whose)
        until = np.searchsorted(self.key, whose + np.searchsorted(self.times, asked))
        return np.asarray(self.total[until] - self.total[first])


def _texts(claims: pa.Table, name: str) -> dict[str, tuple[str, ...]]:
    """Find the frequent texts of a column; nothing where it holds no texts."""
    if name in {AMOUNT, TERM} or not pa.types.is_string(claims[name].type):
        return {}
    counts = Counter(claims[name].drop_null().to_pylist())
    often = sorted(counts, key=lambda text: (-counts[text], text))[:CODES]
    return {name: tuple(sorted(text for text in often if counts[text] >= SEEN))}


def _columns(
    claims: pa.Table, names: Sequence[str], texts: Mapping[str, tuple[str, ...]]
) -> tuple[npt.NDArray[np.float32], set[int]]:
    """Columns of claims, (c, d), and which of them are codes; a text not known is nan."""
    data = np.empty((len(claims), len(names)), dtype=np.float32)
    for k, name in enumerate(names):
        with np.errstate(over="ignore"):
            data[:, k] = _numbers(claims, name, texts.get(name))
    data[~np.isfinite(data)] = np.nan
    return data, {k for k, name in enumerate(names) if name in texts}


def _numbers(claims: pa.Table, name: str, texts: tuple[str, ...] | None) -> Float:
    if name == AMOUNT:
        return np.log1p(claims["cents"].to_numpy() / 100.0)
    if name == TERM:
        issued, due = (claims[c].cast(pa.int32()).to_numpy() for c in ("issued_on", "due_on"))
        return np.asarray(due - issued, dtype=np.float64)
    if name not in claims.column_names:
        return np.full(len(claims), np.nan)
    column = claims[name]
    if texts is not None:
        column = pc.index_in(pc.cast(column, pa.string()), value_set=pa.array(texts, pa.string()))
    elif pa.types.is_string(column.type):
        raise InputError.of(
            "invoices",
            name,
            expected="numbers, as in the ledger that was learnt from",
            found="texts",
            hint="Turn the column into numbers, or fit again.",
        )
    numbers = pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan)
    return np.asarray(numbers.to_numpy(), dtype=np.float64)
