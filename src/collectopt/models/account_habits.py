"""What accounts have shown of their habits by any time, and how late a claim will be by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import log_expit, log_ndtr

from collectopt.features.words import HABITS
from collectopt.models.columns import Columns
from collectopt.models.expected import several, telling, whole_accounts
from collectopt.models.habits import (
    EARLIEST,
    LATEST,
    Claims,
    Effects,
    Parameters,
    estimate,
    likelihoods,
)
from collectopt.models.past_claims import (
    ClaimColumns,
    Paid,
    RunningSums,
    Settled,
    own_columns,
    places,
)
from collectopt.models.periods import Grid, Periods, blocks
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import DAY_US, AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]
Days = npt.NDArray[np.datetime64]

_NEEDED, _MOST = 300, 10_000  # settled claims of accounts that have several; claims of a fit
_BLOCK = 10_000  # claims and rows that are worked out at once
_MICRO = 1e6
_TINY = 1e-280
_MOST_LOG = 50.0
_SURE = 9.0  # log odds of a bin beyond which no habit is trusted
_HALF = 0.5  # days: who pays on a day pays by its middle, on the scale of the mixture


@dataclass(frozen=True, eq=False)
class Habits:
    """How accounts pay, learnt from a ledger.

    Attributes
    ----------
    columns : ClaimColumns
        Columns that tell claims of the same account apart; perhaps none.
    parameters : Parameters
    """

    columns: ClaimColumns
    parameters: Parameters

    @classmethod
    def fit(cls, ledger: Ledger, cut: AsOf, *, years: float) -> Self | None:
        """Learn from the claims known at a cut; None where accounts settled too few.

        Parameters
        ----------
        ledger : Ledger
        cut : str, date, aware datetime
            Nothing known at or after it is looked at.
        years : float
            How far back the due dates reach.
        """
        known = _Known.at(ledger, cut, years)
        used = whole_accounts(known.account, _MOST)
        used = used[np.argsort(known.account[used], kind="stable")]
        group = np.unique(known.account[used], return_inverse=True)[1]
        paid, late = known.paid[used], known.late[used]
        _, settled = np.unique(group[paid], return_inverse=True)
        if not several(settled, _NEEDED):
            return None
        claims = ledger.timeline.claims.take(pa.array(known.claim[used]))
        over = claims.filter(pa.array(paid))
        names = telling(over, own_columns(ledger), late[paid], settled)
        columns = ClaimColumns.choose(claims, names)
        return cls(columns, estimate(Claims(columns.of(claims), late, paid, group)))

    def past(self, ledger: Ledger) -> Shown:
        """Look up what the accounts of a ledger have shown, at any time."""
        paid = Paid.of(ledger)
        order = np.lexsort((paid.known, paid.account))
        return Shown(
            self.parameters,
            Effects.fine(self.parameters),
            self.columns.of(ledger.timeline.claims),
            paid.take(order),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"columns": self.columns.to_json(), "parameters": self.parameters.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        columns = ClaimColumns.from_json(content["columns"])
        return cls(columns, Parameters.from_json(content["parameters"]))


@dataclass(frozen=True, eq=False)
class Shown:
    """What accounts have shown of their habits.

    Attributes
    ----------
    parameters : Parameters
    effects : Effects
    Z : (c, k) float64
        Pieces of the claims of the timeline.
    paid : Paid
        By account.
    """

    parameters: Parameters
    effects: Effects
    Z: Float
    paid: Paid

    def of(self, rows: Snapshot) -> Float:
        """Work out the habits that bear on the claim that each row names.

        An account is judged by the claims that it settled before the row's time, and by the other
        ones that it has open then.

        Parameters
        ----------
        rows : Snapshot

        Returns
        -------
        (n, 5) float64
            In the order of :data:`~collectopt.features.words.HABITS`: mean and standard deviation
            of the account's centre for such a claim, if nothing holds it up, days past due; the
            chance that something does; both for a claim that is held up. nan without a claim.
        """
        out = np.full((len(rows), len(HABITS)), np.nan)
        place, claim = places(rows.ledger, rows.rows["invoice"])
        account = rows.rows["account"].to_numpy().astype(np.int64)
        asked = rows.rows["as_of"].cast(pa.int64()).to_numpy()
        still = _Open.of(rows)
        for some in self._parts(account[place], account[still.first]):
            own = place[some]
            micro = self._settled(account[own], asked[own]) + self._open(still.among(own))
            mass = self.effects.mass + micro / _MICRO
            out[own] = _expected(self.parameters, self.effects, mass, self.Z[claim[some]])
        return out

    def _parts(self, account: Int, still: Int) -> Iterator[Int]:
        """Cut rows so that few claims are at work at once: whole accounts, in rising order.

        Parameters
        ----------
        account : (n,) int64
            Of each row.
        still : (m,) int64
            Account of each claim that is open still.
        """
        accounts, inverse, work = np.unique(account, return_inverse=True, return_counts=True)
        for claims in (self.paid.account, np.sort(still)):
            work += np.searchsorted(claims, accounts, "right") - np.searchsorted(claims, accounts)
        part = (np.cumsum(work) - work) // _BLOCK
        for each in np.unique(part):
            yield np.flatnonzero(part[inverse] == each)

    def _settled(self, account: Int, asked: Int) -> Int:
        """Log likelihood of what accounts settled before the times asked for, (n, a, u)."""
        paid = self.paid.take(np.flatnonzero(np.isin(self.paid.account, account)))
        late = np.clip(paid.late, EARLIEST, LATEST)
        log = self._micro(paid.claim, late, late < LATEST)
        return RunningSums.build(paid, log).before(account, asked)

    def _open(self, still: _Open) -> Int:
        """Log likelihood of the other claims that are open still, (n, a, u)."""
        shape = self.effects.mass.shape
        total = np.zeros((int(still.of_row.max(initial=-1)) + 1, *shape), dtype=np.int64)
        own = np.zeros((len(still.of_row), *shape), dtype=np.int64)
        for part in blocks(len(still.claim), _BLOCK):
            late = still.late[part]
            log = self._micro(still.claim[part], late, np.zeros(len(late), dtype=np.bool_))
            np.add.at(total, still.moment[part], log)
            mine = np.flatnonzero((still.own >= part.start) & (still.own < part.stop))
            own[mine] = log[still.own[mine] - part.start]
        return total[still.of_row] - own

    def _micro(self, claim: Int, late: Float, paid: Bool) -> Int:
        """Log likelihood of claims in millionths, whole numbers: sums have no order."""
        claims = Claims(self.Z[claim], late, paid, np.arange(len(claim)))
        log = np.log(likelihoods(self.parameters, claims, self.effects).whole)
        return np.round(log * _MICRO).astype(np.int64)


class _Open(NamedTuple):
    """Claims that were open at the moments of some rows, each once an account and time.

    Attributes
    ----------
    moment : (m,) int64
        Number of the account and time; rising.
    claim : (m,) int64
        Place in the timeline.
    late : (m,) float64
        Days past due until which the claim was seen open.
    first : (m,) int64
        A row that asks then.
    of_row : (n,) int64
        Moment of each row.
    own : (n,) int64
        Place of the claim that the row names among the m; -1 where it is not there.
    """

    moment: Int
    claim: Int
    late: Float
    first: Int
    of_row: Int
    own: Int

    @classmethod
    def of(cls, rows: Snapshot) -> Self:
        """Look them up; a claim counts only where it was known before."""
        when = np.stack([rows.rows[c].cast(pa.int64()).to_numpy() for c in ("account", "as_of")])
        of_row = np.unique(when, axis=1, return_inverse=True)[1].reshape(-1)
        claims, size = rows.claims, len(rows.ledger.timeline.claims)
        row = claims["row"].to_numpy().astype(np.int64)
        _, claim = places(rows.ledger, claims["invoice"])
        known = rows.ledger.timeline.claims["known_at"].cast(pa.int64()).to_numpy()
        seen = np.flatnonzero(known[claim] < when[1][row])
        key, at = np.unique(of_row[row[seen]] * size + claim[seen], return_index=True)
        late = claims["dpd"].to_numpy()[seen[at]] - 1.0 + _HALF
        named = rows.ledger.timeline.places(rows.rows["invoice"])
        wanted = of_row * size + named
        own = np.searchsorted(key, wanted)
        there = (named >= 0) & (np.append(key, -1)[own] == wanted)
        return cls(
            *np.divmod(key, size),
            np.minimum(late, LATEST),
            row[seen[at]],
            of_row,
            np.where(there, own, -1),
        )

    def among(self, rows: Int) -> _Open:
        """Keep what bears on some rows, and number it anew."""
        moments, of_row = np.unique(self.of_row[rows], return_inverse=True)
        kept = np.isin(self.moment, moments)
        return _Open(
            np.searchsorted(moments, self.moment[kept]),
            self.claim[kept],
            self.late[kept],
            self.first[kept],
            of_row,
            np.append(np.cumsum(kept) - 1, -1)[self.own[rows]],  # -1 stays -1
        )


def _expected(p: Parameters, effects: Effects, mass: Float, Z: Float) -> Float:
    """Sum up what accounts are like, (n, a, u) log masses, for claims with some pieces."""
    centre, chance = p.claims(Z, effects)
    weight = np.exp(mass - mass.max(axis=(1, 2), keepdims=True))
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    moments, held = [], np.einsum("nau,nu->na", weight, chance)
    for mine in (np.einsum("nau,nu->na", weight, 1.0 - chance), held):
        share = (mine + _TINY) / (mine + _TINY).sum(axis=1, keepdims=True)
        mean = (share * centre).sum(axis=1)
        wide = np.sqrt((share * (centre - mean[:, None]) ** 2).sum(axis=1))
        moments.append((mean, wide))
    (usual, usual_sd), (late, late_sd) = moments
    return np.column_stack([usual, usual_sd, held.sum(axis=1), late + p.delay, late_sd])


class HabitHazard:
    """The hazard of claims by the habits of their accounts, asked as a hazard model is.

    Parameters
    ----------
    parameters : Parameters
    grid : Grid
        Lays the bins.
    """

    columns_ = Columns(HABITS, named=True)

    def __init__(self, parameters: Parameters, grid: Grid) -> None:
        self.grid_ = grid
        self._parameters = parameters
        # What an average claim of an account that nothing is known of would be like.
        blank, effects = np.zeros((1, len(parameters.slopes))), Effects.fine(parameters)
        self._average = _expected(parameters, effects, effects.mass[None], blank)[0]

    def odds(
        self,
        X: Matrix | Float,
        periods: Periods,
        *,
        offset: Float,
        start: Days,  # noqa: ARG002 - habits know no calendar
    ) -> list[Float]:
        """Log odds of payment in each bin, (m,), if it did not come before; one member.

        Parameters
        ----------
        X : (n, 5) float
            What :meth:`Shown.of` gives.
        periods : Periods
            m bins.
        offset : (n,) float64
            Days until the due date has passed.
        start : (n,) datetime64[D]
            Not looked at.
        """
        return [self._odds(X, periods, offset)]

    def contributions(
        self,
        X: Matrix,
        *,
        offset: Float,
        start: Days,  # noqa: ARG002 - habits know no calendar
        reach: npt.ArrayLike = np.inf,
    ) -> tuple[Periods, Float, Float]:
        """Bins, log odds of an average claim (m,), and what each column adds (m, 5).

        All that is about the centre counts for the first column. What the centre and the chance of
        a hold-up add is the mean over both orders (Shapley).
        """
        periods = self.grid_.lay(np.broadcast_to(np.asarray(reach, np.float64), len(X)), offset)
        own, average = X.astype(np.float64), np.tile(self._average, (len(X), 1))
        at = HABITS.index("held_up_chance")
        centre, chance = own.copy(), average.copy()
        centre[:, at], chance[:, at] = average[:, at], own[:, at]
        none, c, h, both = (
            self._odds(each, periods, offset) for each in (average, centre, chance, own)
        )
        added = np.zeros((len(periods), len(HABITS)))
        added[:, 0] = 0.5 * ((c - none) + (both - h))
        added[:, at] = 0.5 * ((h - none) + (both - c))
        return periods, none, added

    def _odds(self, X: Matrix | Float, periods: Periods, offset: Float) -> Float:
        H = X[periods.row].astype(np.float64)
        late = np.stack([periods.lo, periods.hi]) - offset[periods.row] + _HALF
        before, after = (self._log_open(H, days) for days in late)
        with np.errstate(divide="ignore"):
            odds = np.log(np.expm1(np.clip(before - after, 0.0, _MOST_LOG)))
        return np.clip(odds, -_SURE, _SURE)

    def _log_open(self, H: Float, late: Float) -> Float:
        """Log chance that a claim is open still so many days past due; far out, too."""
        p = self._parameters
        usual, usual_sd, chance, held, held_sd = H.T
        with np.errstate(divide="ignore"):
            own = np.log1p(-chance) + log_ndtr((usual - late) / np.hypot(p.noise, usual_sd))
            up = np.log(chance) + log_ndtr((held - late) / np.hypot(p.held_noise, held_sd))
        stuck = log_expit(p.stuck) - np.maximum(late, 0.0) / p.stuck_days
        return np.logaddexp(log_expit(-p.stuck) + np.logaddexp(own, up), stuck)


class _Known(NamedTuple):
    """Claims known at a cut: paid so many days past due, or open so long."""

    claim: Int  # place in the timeline
    account: Int
    late: Float
    paid: Bool

    @classmethod
    def at(cls, ledger: Ledger, cut: AsOf, years: float) -> Self:
        moment = int(to_instant(cut, ledger.timezone).astype("datetime64[us]").astype(np.int64))
        claims, stood = ledger.timeline.claims, Settled.at(ledger, moment)
        due = claims["due_at"].cast(pa.int64()).to_numpy()
        since = moment - years * 365.25 * DAY_US
        used = np.flatnonzero(stood.issued & (due >= since) & ~stood.credited)
        # whole days, as for claims open at a row's time; two hours make up for changed clocks
        waits = np.floor((moment - due[used]) / DAY_US + 1.0 / 12.0) + _HALF
        paid = stood.late[used] < LATEST
        late = np.where(paid, np.maximum(stood.late[used], EARLIEST), np.minimum(waits, LATEST))
        return cls(used, claims["account"].to_numpy().astype(np.int64)[used], late, paid)
