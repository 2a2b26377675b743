"""What the truth lets expect: how claims will be paid, and what contacts add to that.

Expectations are products of daily survival along the world's own hazards, `paying.intensity` and
`paying.responsive`, on days ahead. Money that is short today is so tomorrow with the world's own
persistence. Two things are approximated: the hazards of tight and of easy weeks are mixed, not
their survivals, and the claims of one account are paid jointly in the mean.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collectopt.simulation import paying
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.population import CARD, WALLET
from collectopt.simulation.state import State

WEEKS = 26
READ_DAYS = 12  # days ahead on which a contact of this week may be read
_DAILY, _STEP = 63, 5  # days ahead seen one by one, then in steps
_RELAX = 0.12  # weekly rate at which liquidity forgets its state
_JOINT = (0.6, 0.15)  # chance that another claim is paid along, by tightness
_LEFT_OPEN = 0.55  # of a claim that is paid in part


@dataclass(frozen=True)
class Grid:
    """Days ahead at which hazards are looked at.

    Attributes
    ----------
    ahead, width : (T,) int64
        Days ahead, and how many days each stands for.
    week_end : (WEEKS,) int64
        Position of the last day of each week ahead.
    """

    ahead: IntArray
    width: IntArray
    week_end: IntArray

    @classmethod
    def make(cls) -> Grid:
        """Every day for nine weeks, then every fifth, which meets all weekdays in turn."""
        far = np.arange(_DAILY + _STEP // 2, 7 * WEEKS, _STEP)
        ahead = np.concatenate([np.arange(_DAILY), far])
        width = np.concatenate([np.ones(_DAILY), np.full(len(far), _STEP)]).astype(np.int64)
        ends = np.cumsum(width)
        return cls(ahead, width, np.searchsorted(ends, 7 * np.arange(1, WEEKS + 1) - 1e-9))


GRID = Grid.make()


@dataclass(frozen=True)
class Foresight:
    """The claims past due of some accounts, as the truth expects them to go on.

    Attributes
    ----------
    state : State
        The world at a decision; read, never changed.
    account : (n,) int64
        Accounts.
    """

    state: State
    account: IntArray

    @cached_property
    def _all_rows(self) -> IntArray:
        """Open claims of the accounts that may be paid: first those past due, then the others."""
        state, claims = self.state, self.state.claims
        rows = claims.active
        owner = claims.account[rows]
        waits = paying.collected(state, owner) & ~claims.debit_tried[rows]
        mine = np.isin(owner, self.account) & ~waits & (claims.open[rows] > 0)
        rows = rows[mine & ~claims.held(rows)]
        return rows[np.argsort(claims.due[rows] >= state.day, kind="stable")]

    @cached_property
    def rows(self) -> IntArray:
        """Claims of the accounts that a contact may move: past due, not held, (J,)."""
        return self._all_rows[self.state.claims.due[self._all_rows] < self.state.day]

    @cached_property
    def _all_owners(self) -> IntArray:
        place = np.full(len(self.state.people), -1, dtype=np.int64)
        place[self.account] = np.arange(len(self.account))
        result: IntArray = place[self.state.claims.account[self._all_rows]]
        return result

    @property
    def owner(self) -> IntArray:
        """Position among the accounts of each claim's owner, (J,)."""
        return self._all_owners[: len(self.rows)]

    @cached_property
    def euros(self) -> FloatArray:
        """Open amount of each claim, (J,)."""
        result: FloatArray = self.state.claims.open[self.rows] / 100.0
        return result

    @cached_property
    def tight(self) -> FloatArray:
        """Probability that money is short, by open claim and day of the grid."""
        state, account = self.state, self.state.claims.account[self._all_rows]
        share = np.array([of.tight for of in state.kind.types])[state.people.type[account]]
        if state.kind.drift is not None:
            share = np.minimum(share * state.kind.drift.tight**state.shifts, 0.9)
        weeks = (state.day % 7 + GRID.ahead) // 7
        memory = (1.0 - _RELAX) ** weeks
        start = state.tight[account].astype(np.float64)
        return share[:, None] + (start - share)[:, None] * memory

    @cached_property
    def hazards(self) -> tuple[FloatArray, FloatArray]:
        """Daily money hazard without further contacts, and the factor on excitation, (J, T)."""
        state, rows = self.state, self._all_rows
        own, lift = np.empty((2, len(rows), len(GRID.ahead)))
        keep = np.exp(-1.0 / state.kind.effects.decay_days)
        past = state.excitation[state.claims.account[rows]]
        view = copy.copy(state)
        unit, none = np.ones(len(state.people)), np.zeros(len(state.people))
        both = (np.zeros(len(state.people), bool), np.ones(len(state.people), bool))
        for t, ahead in enumerate(GRID.ahead.tolist()):
            view.day = state.day + ahead
            mixed = np.zeros((2, len(rows)))
            for tight, weight in zip(both, (1.0 - self.tight[:, t], self.tight[:, t]), strict=True):
                view.tight = tight
                view.excitation = none
                base = paying.intensity(view, rows)
                view.excitation = unit
                mixed += weight * np.stack([base, paying.intensity(view, rows) - base])
            lift[:, t] = mixed[1]
            own[:, t] = mixed[0] + keep**ahead * past * mixed[1]
        method = state.people.method[state.claims.account[rows]]
        own[:, 0] *= np.isin(method, [WALLET, CARD])  # the bank's bookings of today are known
        return self._joint(own), self._joint(lift)

    def _joint(self, hazard: FloatArray) -> FloatArray:
        """Let claims past due be paid along with others; payments in part leave a rest, (J, T)."""
        total = np.zeros((len(self.account), hazard.shape[1]))
        np.add.at(total, self._all_owners, hazard)
        late, tight = hazard[: len(self.rows)], self.tight[: len(self.rows)]
        joint = _JOINT[0] + (_JOINT[1] - _JOINT[0]) * tight
        easy, short = self.state.kind.payment.partial
        part = easy + (short - easy) * tight
        return (late + joint * (total[self.owner] - late)) * (1.0 - _LEFT_OPEN * part)

    @cached_property
    def survival(self) -> FloatArray:
        """Share of each claim open at the end of each week without further contacts, (J, WEEKS)."""
        total = np.cumsum(self.hazards[0] * GRID.width, axis=1)
        result: FloatArray = np.exp(-total[:, GRID.week_end])
        return result

    def open_by_day(self) -> FloatArray:
        """Share of each claim open at the start of each of the next days, (J, READ_DAYS)."""
        total = np.cumsum(self.hazards[0][:, : READ_DAYS - 1], axis=1)
        return np.exp(-np.concatenate([np.zeros((len(self.rows), 1)), total], axis=1))

    def lift(self, *, link: bool) -> FloatArray:
        """Share of a contact's mass that has acted by the end of each week, by day of reading.

        Parameters
        ----------
        link : bool
            Messages that can be paid from at once act on the day they are read.

        Returns
        -------
        (J, READ_DAYS, WEEKS)
        """
        keep = np.exp(-1.0 / self.state.kind.effects.decay_days)
        after = GRID.ahead - np.arange(READ_DAYS)[:, None]  # (READ_DAYS, T)
        first = 0.4 if link else 0.0  # the day of reading is nearly over
        power = np.maximum(after - (0 if link else 1), 0)
        path = np.where(after > 0, keep**power, np.where(after == 0, first, 0.0))
        path = path * (1.0 - keep) * GRID.width
        total = np.cumsum(self.hazards[1][:, None, :] * path, axis=2)
        result: FloatArray = total[:, :, GRID.week_end]
        return result
