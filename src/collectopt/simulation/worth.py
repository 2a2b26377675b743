"""What each contact is worth in EUR to one who knows the truth.

A contact of this week is worth the discounted cash that its account then pays more within half a
year, what is still open then being lost; no later contact is counted in. That reckoning is myopic.
To count in the messages that may follow, and how a contact tires for them, was tried: the forecasts
were as true, contacts were put off, and runs of half a year brought less in the three shops tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collectopt.simulation import reacting
from collectopt.simulation.claims import NEVER
from collectopt.simulation.foresight import GRID, READ_DAYS, WEEKS, Foresight
from collectopt.simulation.kinds import CHANNELS, EMAIL, PHONE, SMS, TONES
from collectopt.simulation.noise import FloatArray, IntArray

_C, _T = len(CHANNELS), len(TONES)
_TIRING = 0.5  # of harm by fatigue
_PROMISE_DAYS = 6  # from a promise to the money
_PLAN_STEP, _PLAN_START = 30, 13
_EASY, _TIGHT, _AGAIN = 0.95, 0.72, 0.6  # chances to pay an instalment


@dataclass(frozen=True)
class Prices:
    """What counts beside the cash.

    Attributes
    ----------
    cost : (4,) float64
        EUR of a contact by channel.
    complaint : float
        EUR of a complaint.
    discount : float
        Rate a year.
    """

    cost: FloatArray
    complaint: float
    discount: float


@dataclass(frozen=True)
class Worth:
    """Worth of contacts for the n accounts of a foresight.

    Attributes
    ----------
    foresight : Foresight
    prices : Prices
    """

    foresight: Foresight
    prices: Prices

    # What is known of the accounts ----------------------------------------------------------

    @property
    def account(self) -> IntArray:
        """Accounts, (n,)."""
        return self.foresight.account

    @cached_property
    def fatigue(self) -> FloatArray:
        """Contacts that still tire, (n,)."""
        result: FloatArray = self.foresight.state.fatigue[self.account]
        return result

    @cached_property
    def mass(self) -> FloatArray:
        """Mass of a contact that reaches its person today, (n, 4, 3)."""
        c, t = np.meshgrid(np.arange(_C), np.arange(_T), indexing="ij")
        n = len(self.account)
        found = reacting.mass(
            self.foresight.state,
            np.repeat(self.account, _C * _T),
            np.tile(c.reshape(-1), n),
            np.tile(t.reshape(-1), n),
        )
        return found.reshape(n, _C, _T)

    def reach(self, hours: FloatArray, days: int = 1) -> FloatArray:
        """Probability to be reached by channel, hour and day from today on, (n, 4, hours, days)."""
        state, shape = self.foresight.state, (len(self.account), _C, len(hours), days)
        who, channel, hour, ahead = np.indices(shape).reshape(4, -1)
        found = reacting.reach(state, self.account[who], channel, hours[hour], ahead)
        right = ~state.people.bad_address[self.account]
        return found.reshape(shape) * right[:, :, None, None]

    @cached_property
    def harm(self) -> FloatArray:
        """EUR of harm that a contact does to one who is not tired, by tone, (n, 3)."""
        state, effects = self.foresight.state, self.foresight.state.kind.effects
        stays = state.left[self.account] >= NEVER
        value = state.people.lifetime_value[self.account] * stays
        leave = effects.leave * state.kind.tie.leave
        loss = effects.complaint * self.prices.complaint + leave * value
        return loss[:, None] * np.array(effects.harm_tone)

    # What open money costs ------------------------------------------------------------------

    @cached_property
    def discount(self) -> FloatArray:
        """Value of a EUR at the end of each week, (WEEKS,)."""
        years = 7.0 * np.arange(1, WEEKS + 1) / 365.0
        return np.asarray((1.0 + self.prices.discount) ** -years, dtype=np.float64)

    @cached_property
    def drop(self) -> FloatArray:
        """What a EUR open at the end of each week costs; all of it after the last, (WEEKS,)."""
        return -np.diff(self.discount, append=0.0)

    # Contacts of this week -----------------------------------------------------------------

    @cached_property
    def open_now(self) -> FloatArray:
        """Probability that something is still past due on the next days, (n, READ_DAYS)."""
        result = np.zeros((len(self.account), READ_DAYS))
        np.maximum.at(result, self.foresight.owner, self.foresight.open_by_day())
        return result

    @cached_property
    def _promise(self) -> FloatArray:
        """Probability of a promise, by channel, (n, 4)."""
        kind, of = self.foresight.state.kind, self.foresight.state.people.type[self.account]
        willing = np.array([t.promise for t in kind.types])[of] * kind.effects.promise
        by_channel = np.full(_C, kind.effects.message_promise)
        by_channel[PHONE] = 1.0
        return willing[:, None] * by_channel

    @cached_property
    def _keep(self) -> FloatArray:
        """Probability that a promise is kept, (n,)."""
        kind, of = self.foresight.state.kind, self.foresight.state.people.type[self.account]
        return np.array([t.keep for t in kind.types])[of]

    @cached_property
    def _total(self) -> FloatArray:
        """EUR past due, (n,)."""
        seen = self.foresight
        total: FloatArray = np.bincount(
            seen.owner, weights=seen.euros, minlength=len(self.account)
        ).astype(np.float64)
        return total

    @cached_property
    def _plan(self) -> FloatArray:
        """Probability to accept instalments, once reached by each channel, (n, 4)."""
        state, account = self.foresight.state, self.account
        kind, claims = state.kind, state.claims
        chance = np.array([t.plan for t in kind.types])[state.people.type[account]]
        chance = chance * kind.effects.plan * np.where(state.tight[account], 1.3, 1.0)
        busy = state.flag(claims.active[claims.plan_left[claims.active] > 0])[account]
        may = (self._total >= 40.0) & ~busy & (state.no_plan_until[account] < state.day)
        by_channel = np.ones(_C)
        by_channel[PHONE] = 1.6
        return np.minimum((chance * may)[:, None] * by_channel, 1.0) * (1.0 - self._promise)

    def _plan_loss(self) -> FloatArray:
        """Loss on a claim of 1 EUR that goes into instalments now, (J,).

        A plan that breaks falls back to the claim's own hazards.
        """
        seen = self.foresight
        count = np.clip(np.ceil(self._total / 40.0), 2, 6)[seen.owner]
        middle = int(np.searchsorted(GRID.ahead, _PLAN_STEP))
        once = _EASY + (_TIGHT - _EASY) * seen.tight[: len(seen.rows), middle]
        pays = once + (1.0 - once) * once * _AGAIN
        open_share = seen.survival
        later = np.cumsum((open_share * self.drop)[:, ::-1], axis=1)[:, ::-1]
        kept = np.zeros(len(count))
        alive = np.ones(len(count))
        for k in range(6):
            week = min((_PLAN_START + _PLAN_STEP * k) // 7, WEEKS - 1)
            runs, rest = k < count, np.maximum(count - k, 0.0) / count
            now = self.discount[week]
            back = np.maximum(now - later[:, week] / np.maximum(open_share[:, week], 1e-9), 0.0)
            kept += np.where(runs, alive * (pays * now / count + (1.0 - pays) * rest * back), 0.0)
            alive = alive * pays
        return 1.0 - kept

    @cached_property
    def harms(self) -> FloatArray:
        """EUR of harm by a reached contact, by tone and day of reading, (n, 3, READ_DAYS)."""
        tired = 1.0 + _TIRING * self.fatigue
        return self.harm[:, :, None] * (tired[:, None] * self.open_now)[:, None, :]

    @cached_property
    def gains(self) -> FloatArray:
        """EUR of cash that a reached contact brings, by channel, tone, offer and day of reading.

        Shape (n, 4, 3, 2, READ_DAYS).
        """
        seen, n = self.foresight, len(self.account)
        waiting = np.bincount(
            seen.owner, weights=seen.euros * (seen.survival @ self.drop), minlength=n
        )
        links = {EMAIL, SMS} if seen.state.kind.payment.links else set()
        by_link = {link: seen.lift(link=link) for link in (True, False)}
        broken = self._plan_loss()
        mass = self.mass[seen.owner]
        kept = (self._promise * self._keep[:, None])[seen.owner]
        plan, open_by_day = self._plan[seen.owner], seen.open_by_day()
        result = np.empty((n, _C, _T, 2, READ_DAYS))
        for c in range(_C):
            lift = by_link[c in links]
            for day in range(READ_DAYS):
                rest = np.exp(-mass[:, c, :, None] * lift[:, day][:, None, :])
                rest *= (seen.survival * self.drop)[:, None, :]
                paid = (day + _PROMISE_DAYS) // 7
                loss = rest.sum(axis=2) - kept[:, [c]] * rest[:, :, paid:].sum(axis=2)
                other = (open_by_day[:, day] * broken)[:, None]
                offered = loss + plan[:, [c]] * (other - loss)
                for o, each in enumerate((loss, offered)):
                    total = np.zeros((n, _T))
                    np.add.at(total, seen.owner, seen.euros[:, None] * each)
                    result[:, c, :, o, day] = waiting[:, None] - total
        return result
