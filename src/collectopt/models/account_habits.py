"""What accounts have shown of their habits by any time, and how late a claim will be by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr

from collectopt.features.words import HABITS
from collectopt.models.boosting import expit
from collectopt.models.columns import Columns
from collectopt.models.expected import several, telling, whole_accounts
from collectopt.models.habits import (
    EARLIEST,
    EFFECTS,
    LATEST,
    Claims,
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
from collectopt.models.periods import Grid, Periods
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
_LEFT = 1e-12  # of what is over for sure
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
        return Shown(self.parameters, self.columns.of(ledger.timeline.claims), paid.take(order))

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
    Z : (c, k) float64
        Pieces of the claims of the timeline.
    paid : Paid
        By account.
    """

    parameters: Parameters
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
        row = rows.claims["row"].to_numpy().astype(np.int64)
        others = np.flatnonzero(~rows.claims["subject"].to_numpy(zero_copy_only=False))
        others = others[np.isin(row[others], place)]
        row, still = row[others], rows.claims.take(pa.array(others))
        for some in self._parts(account[place], np.bincount(row, minlength=len(rows))[place]):
            own = place[some]
            mass = EFFECTS.mass + self._settled(account[own], asked[own])
            mine = np.isin(row, own)
            np.add.at(
                mass,
                np.searchsorted(own, row[mine]),
                self._open(rows.ledger, still.filter(pa.array(mine))),
            )
            out[own] = _expected(self.parameters, mass, self.Z[claim[some]])
        return out

    def _parts(self, account: Int, open_: Int) -> Iterator[Int]:
        """Cut rows so that few claims are at work at once: whole accounts, in rising order."""
        accounts, inverse, count = np.unique(account, return_inverse=True, return_counts=True)
        ends = [np.searchsorted(self.paid.account, accounts, side=s) for s in ("left", "right")]
        work = np.bincount(inverse, open_, minlength=len(accounts)) + count + ends[1] - ends[0]
        part = ((np.cumsum(work) - work) // _BLOCK).astype(np.int64)
        for each in np.unique(part):
            yield np.flatnonzero(part[inverse] == each)

    def _settled(self, account: Int, asked: Int) -> Float:
        """Log likelihood of what accounts settled before the times asked for, (n, a, u)."""
        paid = self.paid.take(np.flatnonzero(np.isin(self.paid.account, account)))
        late = np.clip(paid.late, EARLIEST, LATEST)
        log = self._log(paid.claim, late, late < LATEST)
        sums = RunningSums.build(paid, np.round(log * _MICRO).astype(np.int64))
        return sums.before(account, asked) / _MICRO

    def _open(self, ledger: Ledger, claims: pa.Table) -> Float:
        """Log likelihood of claims that are open still, (m, a, u)."""
        _, place = places(ledger, claims["invoice"])
        late = np.minimum(claims["dpd"].to_numpy().astype(np.float64) - 1.0, LATEST) + _HALF
        return self._log(place, late, np.zeros(len(late), dtype=np.bool_))

    def _log(self, claim: Int, late: Float, paid: Bool) -> Float:
        alone = np.arange(len(claim))
        return np.log(likelihoods(self.parameters, Claims(self.Z[claim], late, paid, alone)).whole)


def _expected(p: Parameters, mass: Float, Z: Float) -> Float:
    """Sum up what accounts are like, (n, a, u) log masses, for claims with some pieces."""
    centre, chance = p.claims(Z)
    weight = np.exp(mass - mass.max(axis=(1, 2), keepdims=True))
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    held = np.einsum("nau,nu->na", weight, chance)
    moments = []
    for mine in (weight.sum(axis=2) - held, held):
        share = mine / mine.sum(axis=1, keepdims=True)
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
        blank = np.zeros((1, len(parameters.slopes)))
        self._average = _expected(parameters, EFFECTS.mass[None], blank)[0]

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
        before, after = (self._open(H, days) for days in late)
        with np.errstate(divide="ignore"):
            odds = np.log(np.maximum(before - after, 0.0)) - np.log(after)
        return np.clip(odds, -_SURE, _SURE)

    def _open(self, H: Float, late: Float) -> Float:
        """Chance that a claim is open still so many days past due."""
        p = self._parameters
        usual, usual_sd, chance, held, held_sd = H.T
        own = ndtr((usual - late) / np.hypot(p.noise, usual_sd))
        up = ndtr((held - late) / np.hypot(p.held_noise, held_sd))
        share = expit(np.array(p.stuck))
        stuck = np.exp(-np.maximum(late, 0.0) / p.stuck_days)
        return np.asarray(
            (1.0 - share) * ((1.0 - chance) * own + chance * up) + share * stuck + _LEFT
        )


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
        waits = (moment - due[used]) / DAY_US + _HALF
        paid = stood.late[used] < LATEST
        late = np.clip(np.where(paid, stood.late[used], waits), EARLIEST, LATEST)
        return cls(used, claims["account"].to_numpy().astype(np.int64)[used], late, paid)
