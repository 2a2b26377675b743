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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import f as f_distribution

from collectopt.models.past_claims import (
    ClaimColumns,
    Paid,
    RunningSums,
    Settled,
    own_columns,
    places,
)
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Days from the due date between which lateness counts; beyond them it counts as if there.
EARLIEST, LATEST = -30.0, 60.0
#: What columns of the claims must explain of the noise, and how surely each, or there is no model.
SHARE, LEVEL = 0.02, 0.01
#: Claims that a fit looks at, at most.
MOST = 100_000
_NEEDED = 200  # claims of accounts that have several
_RIDGE, _ROUNDS = 1.0, 100
_MILLI = 1000.0


@dataclass(frozen=True, eq=False)
class ExpectedLateness:
    """A mixed model of the days between the due date and the payment of a claim.

    Attributes
    ----------
    columns : ClaimColumns
        Columns of the claims that tell how late they are.
    coef : (k,) float64
        Days that each of their pieces adds.
    level : float
        Days of an average claim of an average account.
    noise, between : float
        Variance within and between accounts, days squared.
    """

    columns: ClaimColumns
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
        used = whole_accounts(known.account, MOST)
        late, group = known.late[used], np.unique(known.account[used], return_inverse=True)[1]
        if not several(group, _NEEDED):
            return None
        claims = ledger.timeline.claims.take(pa.array(known.claim[used]))
        names = telling(claims, own_columns(ledger), late, group)
        if not names:
            return None
        columns = ClaimColumns.choose(claims, names)
        plain = Mixed.fit(np.zeros((len(late), 0)), late, group)
        found = Mixed.fit(columns.of(claims), late, group)
        if not 1.0 - found.noise / plain.noise >= SHARE:
            return None
        return cls(columns, found.coef, found.level, found.noise, found.between)

    def past(self, ledger: Ledger) -> Past:
        """Work out what each account of a ledger adds, at any time."""
        # row by row alike, whatever the number of rows is: a matrix product may not be
        usual = self.level + (self.columns.of(ledger.timeline.claims) * self.coef).sum(axis=1)
        paid = Paid.of(ledger)
        own = np.clip(paid.late, EARLIEST, LATEST) - usual[paid.claim]
        milli = np.round(own * _MILLI).astype(np.int64)
        sums = RunningSums.build(paid, np.stack([np.ones_like(milli), milli], axis=1))
        return Past(usual, sums, self.noise, self.between)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        single = {name: getattr(self, name) for name in ("level", "noise", "between")}
        return {**self.columns.to_json(), "coef": self.coef.tolist(), **single}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        return cls(
            ClaimColumns.from_json(content),
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
    sums : RunningSums
        Of accounts: number of claims that count, and thousandths of days that they were later
        than usual.
    noise, between : float
        As in :class:`ExpectedLateness`.
    """

    usual: Float
    sums: RunningSums
    noise: float
    between: float

    def of(self, snapshot: Snapshot) -> Float:
        """Give the days late to expect of the claim that each row names, (n,); nan without one."""
        count, milli = self.sums.before(
            snapshot.rows["account"].to_numpy().astype(np.int64),
            snapshot.rows["as_of"].cast(pa.int64()).to_numpy(),
        ).T
        added = self.between * (milli / _MILLI) / (self.noise + self.between * count)
        place, claim = places(snapshot.ledger, snapshot.rows["invoice"])
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


def several(group: Int, needed: int) -> bool:
    """Whether so many claims belong to groups that have several."""
    return bool((np.bincount(group)[group] > 1).sum() >= needed)


def whole_accounts(account: Int, most: int) -> Int:
    """Places of the claims of every k-th account, so that they are about ``most`` or fewer."""
    group = np.unique(account, return_inverse=True)[1]
    thin = -(-len(group) // most) if len(group) else 1
    return np.flatnonzero(group % thin == 0)


def telling(claims: pa.Table, names: list[str], late: Float, group: Int) -> list[str]:
    """Columns that tell how late claims of the same account are: each is tried alone.

    Parameters
    ----------
    claims : pyarrow.Table
        n claims of a timeline.
    names : list of str
        Columns to try.
    late : (n,) float64
        Days after the due date.
    group : (n,) int64
        Account: 0, 1, ..., none left out.
    """
    plain, free = Mixed.fit(np.zeros((len(late), 0)), late, group), len(late) - group.max() - 1
    found = []
    for name in names:
        Z = ClaimColumns.choose(claims, [name]).of(claims)
        if Mixed.fit(Z, late, group).explains(plain, free) < LEVEL / len(names):
            found.append(name)
    return found


class _Lateness(NamedTuple):
    """Claims that are so old that their lateness counts as known, paid by then or not."""

    claim: Int  # place in the timeline
    account: Int
    late: Float  # days, within EARLIEST and LATEST

    @classmethod
    def known(cls, ledger: Ledger, cut: AsOf, years: float) -> Self:
        moment = int(to_instant(cut, ledger.timezone).astype("datetime64[us]").astype(np.int64))
        claims, stood = ledger.timeline.claims, Settled.at(ledger, moment)
        due = claims["due_at"].cast(pa.int64()).to_numpy()
        late = np.clip(np.where(np.isnan(stood.late), LATEST, stood.late), EARLIEST, LATEST)
        since = moment - years * 365.25 * DAY_US
        over = (due + (LATEST + 1.0) * DAY_US < moment) & (due >= since)
        used = np.flatnonzero(over & stood.issued & ~stood.credited)
        account = claims["account"].to_numpy().astype(np.int64)
        return cls(used, account[used], late[used])
