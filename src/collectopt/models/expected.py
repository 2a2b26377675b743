"""How late a claim is expected: what it is like, and how late its account paid given that.

The mean of an account's past lateness mixes the account up with its claims: whoever was sent paper
so far looks later than it will be with e-mail. Here the lateness of a claim is the sum of what its
own columns say, of what its account adds, and of noise: a linear mixed model (Laird and Ware 1982,
*Random-Effects Models for Longitudinal Data*), whose variances are found by EM. What an account
adds is pulled to 0 by how little is known of it, and comes from what it settled before the moment
that is asked about. Where columns of the claims explain nothing there is nothing to mend, and no
model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import f as f_distribution

from collectopt.exceptions import InputError
from collectopt.features.lateness import settled_spells
from collectopt.models.periods import blocks
from collectopt.models.slopes import CODES, SEEN, Pieces
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Days from the due date between which lateness counts; beyond them it counts as if there.
EARLIEST, LATEST = -30.0, 60.0
#: Days for which a settled claim counts for its account.
MEMORY = 730
#: What columns of the claims must explain of the noise, and how surely each, or there is no model.
SHARE, LEVEL = 0.02, 0.01
_NEEDED, _MOST = 200, 100_000  # claims of accounts that have several; claims that a fit looks at
_RIDGE, _ROUNDS, _BLOCK = 1.0, 100, 20_000
_MILLI = 1000.0
AMOUNT, TERM = "log amount", "days to pay"  # no names of a column of the caller


@dataclass(frozen=True, eq=False)
class ExpectedLateness:
    """A mixed model of the days between the due date and the payment of a claim.

    Attributes
    ----------
    names : tuple of str
        Columns of the claims that tell how late they are.
    texts : mapping of str to tuple of str
        Texts behind the codes of each of them that holds texts.
    pieces : Pieces
        How the columns are cut.
    coef : (k,) float64
        Days that each piece adds.
    level : float
        Days of an average claim of an average account.
    noise, between : float
        Variance within and between accounts, days squared.
    """

    names: tuple[str, ...]
    texts: Mapping[str, tuple[str, ...]]
    pieces: Pieces
    coef: Float
    level: float
    noise: float
    between: float

    @classmethod
    def fit(cls, ledger: Ledger, cut: AsOf, *, years: float) -> Self | None:
        """Learn from the claims whose lateness was known at the cut.

        Parameters
        ----------
        ledger : Ledger
        cut : str, date, aware datetime
            Nothing known at or after it is looked at.
        years : float
            How far back the due dates reach.

        Returns
        -------
        ExpectedLateness or None
            None where accounts have too few claims, or no column (amount, days to pay, kind and
            the caller's) tells claims of the same account apart: each is tried alone.
        """
        known = _Lateness.known(ledger, cut, years)
        _, group, count = np.unique(known.account, return_inverse=True, return_counts=True)
        thin = -(-len(group) // _MOST) if len(group) else 1
        used = np.flatnonzero(group % thin == 0)  # whole accounts
        if (count[group[used]] > 1).sum() < _NEEDED:
            return None
        late, group = known.late[used], np.unique(group[used], return_inverse=True)[1]
        claims = ledger.timeline.claims.take(pa.array(known.claim[used]))
        plain, columns = Mixed.fit(np.zeros((len(late), 0)), late, group), _own(ledger)
        level = LEVEL / len(columns)
        names: list[str] = []
        texts: dict[str, tuple[str, ...]] = {}
        for name in columns:
            own = _texts(claims, name)
            X, codes = _columns(claims, [name], own)
            found = Mixed.fit(Pieces.choose(X, codes).of(X), late, group)
            if found.explains(plain, len(late) - group.max() - 1) < level:
                names, texts = [*names, name], texts | own
        if not names:
            return None
        X, codes = _columns(claims, names, texts)
        pieces = Pieces.choose(X, codes)
        found = Mixed.fit(pieces.of(X), late, group)
        if not 1.0 - found.noise / plain.noise >= SHARE:
            return None
        return cls(tuple(names), texts, pieces, found.coef, found.level, found.noise, found.between)

    def past(self, ledger: Ledger) -> Past:
        """Work out what each account of a ledger adds, at any time."""
        usual = self._usual(ledger)
        spells = settled_spells(ledger).filter(pc.field("cash"))
        place, claim = _places(ledger, spells["inv"])
        known = spells["known"].to_numpy()[place]
        gone = pc.fill_null(spells["reopened"], np.iinfo(np.int64).max).to_numpy()[place]
        account = spells["acc"].to_numpy().astype(np.int64)[place]
        own = np.clip(spells["late"].to_numpy()[place], EARLIEST, LATEST) - usual[claim]
        # whole numbers: a sum does not depend on what else is summed up
        milli = np.round(own * _MILLI).astype(np.int64)
        one = np.ones(len(milli), dtype=np.int64)
        time = np.r_[known, np.minimum(gone, known + MEMORY * DAY_US)]
        order = np.lexsort((time, np.r_[account, account]))
        total = np.zeros((len(time) + 1, 2), dtype=np.int64)
        added = np.stack([np.r_[one, -one], np.r_[milli, -milli]], axis=1)
        np.cumsum(added[order], axis=0, out=total[1:])
        times = np.unique(time)
        key = np.r_[account, account][order] * (len(times) + 1) + np.searchsorted(
            times, time[order]
        )
        return Past(usual, key, total, times, self.noise, self.between)

    def _usual(self, ledger: Ledger) -> Float:
        claims = ledger.timeline.claims
        out = np.empty(len(claims))
        for part in blocks(len(out), _BLOCK):
            some = claims.slice(part.start, part.stop - part.start)
            pieces = self.pieces.of(_columns(some, self.names, self.texts)[0])
            # row by row alike, whatever the number of rows is: a matrix product may not be
            out[part] = self.level + (pieces * self.coef).sum(axis=1)
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        own = {"pieces": self.pieces.to_json(), "coef": self.coef.tolist()}
        return {**vars(self), "names": list(self.names), "texts": dict(self.texts), **own}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        return cls(
            tuple(content["names"]),
            {name: tuple(texts) for name, texts in content["texts"].items()},
            Pieces.from_json(content["pieces"]),
            np.array(content["coef"], dtype=np.float64),
            *(float(content[name]) for name in ("level", "noise", "between")),
        )


@dataclass(frozen=True, eq=False)
class Past:
    """What the claims of a ledger say, and what its accounts have shown by any time.

    Attributes
    ----------
    usual : (c,) float64
        Days late by the columns of each claim of the timeline.
    key : (e,) int64
        Account and rank of the time of each change of the sums, rising.
    total : (e + 1, 2) int64
        Number of claims that count, and thousandths of days that they were later than usual.
    times : (t,) int64
        Times of the changes, microseconds since 1970.
    noise, between : float
        As in :class:`ExpectedLateness`.
    """

    usual: Float
    key: Int
    total: Int
    times: Int
    noise: float
    between: float

    def of(self, snapshot: Snapshot) -> Float:
        """Give the days late to expect of the claim that each row names, (n,); nan without one."""
        asked = snapshot.rows["as_of"].cast(pa.int64()).to_numpy()
        whose = snapshot.rows["account"].to_numpy().astype(np.int64) * (len(self.times) + 1)
        first = np.searchsorted(self.key, whose)
        until = np.searchsorted(self.key, whose + np.searchsorted(self.times, asked))
        count, milli = (self.total[until] - self.total[first]).T
        added = self.between * (milli / _MILLI) / (self.noise + self.between * count)
        place, claim = _places(snapshot.ledger, snapshot.rows["invoice"])
        out = np.full(len(snapshot), np.nan)
        out[place] = self.usual[claim] + added[place]
        return out


class Mixed(NamedTuple):
    """Slopes, level, and both variances of a linear mixed model with one level a group."""

    coef: Float
    level: float
    noise: float
    between: float

    @classmethod
    def fit(cls, Z: Float, y: Float, group: Int) -> Self:
        """Fit by EM, the slopes under a small ridge.

        Parameters
        ----------
        Z : (n, k) float64
            Standardised columns.
        y : (n,) float64
        group : (n,) int64
            0, 1, ..., none left out.
        """
        Z = np.column_stack([Z, np.ones(len(Z))])
        count = np.bincount(group).astype(np.float64)
        means = np.column_stack([np.bincount(group, z) / count for z in Z.T])
        middle = np.bincount(group, y) / count
        gram, right = Z.T @ Z, Z.T @ y
        ridge = np.diag([*np.full(Z.shape[1] - 1, _RIDGE), 0.0])
        noise = between = 0.5 * float(y.var()) + 1e-9
        for _ in range(_ROUNDS):
            kept = count * between / (noise + count * between)
            own = (count * kept)[:, None] * means
            b = np.linalg.solve(gram - own.T @ means + ridge, right - own.T @ middle)
            added, unsure = kept * (middle - means @ b), between * (1.0 - kept)
            last = noise + between, between
            noise = float(np.mean((y - Z @ b - added[group]) ** 2 + unsure[group])) + 1e-9
            between = float(np.mean(added**2 + unsure)) + 1e-9
            if abs(noise + between - last[0]) + abs(between - last[1]) < 1e-5 * last[0]:
                break
        return cls(b[:-1].astype(np.float64), float(b[-1]), noise, between)

    def explains(self, plain: Mixed, free: int) -> float:
        """Give the chance that columns of no meaning explain so much of the noise (F test).

        Parameters
        ----------
        plain : Mixed
            Fitted without columns.
        free : int
            Rows less groups.
        """
        share, rest = 1.0 - self.noise / plain.noise, free - len(self.coef)
        if rest < 1 or not share > 0.0:
            return 1.0
        ratio = share / len(self.coef) / ((1.0 - share) / rest)
        return float(f_distribution.sf(ratio, len(self.coef), rest))


class _Lateness(NamedTuple):
    """Claims that are so old that their lateness counts as known, paid by then or not."""

    claim: Int  # place in the timeline
    account: Int
    late: Float  # days, within EARLIEST and LATEST

    @classmethod
    def known(cls, ledger: Ledger, cut: AsOf, years: float) -> Self:
        moment = int(to_instant(cut, ledger.timezone).astype("datetime64[us]").astype(np.int64))
        claims = ledger.timeline.claims
        due = claims["due_at"].cast(pa.int64()).to_numpy()
        late = np.full(len(claims), LATEST)
        spells = settled_spells(ledger)
        back = pc.fill_null(spells["reopened"], np.iinfo(np.int64).max).to_numpy() < moment
        seen = (spells["known"].to_numpy() < moment) & ~back  # returned by then: not paid
        spells = spells.filter(pa.array(seen))
        place, claim = _places(ledger, spells["inv"])
        at = place[np.unique(claim, return_index=True)[1]]  # the first of each claim
        claim = np.unique(claim)
        late[claim] = np.clip(spells["late"].to_numpy()[at], EARLIEST, LATEST)
        credited = np.zeros(len(claims), dtype=np.bool_)
        credited[claim] = ~spells["cash"].to_numpy(zero_copy_only=False)[at]
        since = moment - years * 365.25 * DAY_US
        issued = claims["known_at"].cast(pa.int64()).to_numpy() < moment
        over = (due + (LATEST + 1.0) * DAY_US < moment) & (due >= since) & issued & ~credited
        account = claims["account"].to_numpy().astype(np.int64)
        used = np.flatnonzero(over)
        return cls(used, account[used], late[used])


def _places(ledger: Ledger, invoices: pa.ChunkedArray) -> tuple[Int, Int]:
    """Rows whose invoice is a claim of the timeline, and its place there."""
    found = ledger.timeline.places(invoices)
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]


def _own(ledger: Ledger) -> list[str]:
    """Columns that may tell claims apart: amount, days to pay, kind, and the caller's."""
    there = ledger.timeline.claims.column_names
    return [AMOUNT, TERM, "kind", *(name for name in ledger.features if name in there)]


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
