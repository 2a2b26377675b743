"""To wait for a while, valued beside the actions: now, or later to those who have not paid by then.

By day n the customer has paid alone with probability q, and the action's cost and harm are saved.
Else he pays alone within the horizon from then on with p' = (p(H + n) - q) / (1 - q), and the
action changes that in proportion to the room 1 - p' left to it, less what fades with every week:

    given unpaid by n, an action that brings R at cost C now brings R f(n) (1 - p') / (1 - p(H)).

An action now does not rule the same out later, so a wait is not compared with one action but with
what the policy does today: act in every run in which it is worth it, until the money is there or
nothing is. To begin so now, or on day n, are played against each other in expectation over the
same runs (a rollout: Bertsekas & Castanon, 1999, Journal of Heuristics 5). Each action moves a
share of those who would not pay alone, so that the next finds fewer of them. A wait pays where an
action moves many, who would be moved later just as well, and most of the others would not have
needed it. Where effects are small or fade fast it does not, however likely the payment is.

Nothing has to be remembered between runs: the question is asked anew in each, and has the same
answer as long as nothing new is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.models.plan_keeping import usual_paydays
from collectopt.policy.engine import (
    ALL,
    Bools,
    Case,
    Details,
    Floats,
    Ints,
    Rows,
    Setting,
    choose,
)
from collectopt.policy.plan import month_on
from collectopt.policy.valued import LadderCase, ValuedCase
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import WAITS
from collectopt.schema.snapshot import Snapshot

TERM = "Wait"
_YEAR, _WEEK = 365.0, 7.0
_FAR, _SPACE = 84, 7  # days: how far is looked ahead, and how far apart actions are then
_LEAST = 0.01  # EUR that a wait must bring more
_SURE = 1.0 - 1e-9  # nothing is left to an action beyond that


@dataclass(frozen=True, eq=False)
class Ahead:
    """Days that n accounts may wait for, J each.

    Attributes
    ----------
    days : int array (n, J)
        From the local day on; 0 = there is none.
    run : int array (n, J)
        Days until the first run on or after that day.
    ends : int array (E,)
        Days of the curve, rising from 0.
    curve : ndarray (n, E)
        P(everything past due is paid before that day without a contact); nan = not known.
    payday : bool array (J,)
        Whether it is the usual day of payment, with days of grace.
    """

    days: Ints
    run: Ints
    ends: Ints
    curve: Floats
    payday: Bools

    @classmethod
    def of(cls, snapshot: Snapshot, catalogue: Catalogue, payment: Any) -> Ahead:
        """Find the days of a snapshot that has one time for all rows.

        Parameters
        ----------
        snapshot : Snapshot
            n rows. Only what its ledger knew before their time is used.
        catalogue : Catalogue
            With a table [waits].
        payment : object
            Fitted, with ``predict(snapshot, horizons, level)``.
        """
        how, horizon = catalogue.waits, catalogue.horizon_days
        assert how is not None
        n, pace = len(snapshot), catalogue.cadence_days
        columns = [np.full(n, days, dtype=np.int64) for days in how.days]
        if how.payday:
            usual = _until_payday(snapshot, how.grace_days)
            columns.insert(0, np.where(usual <= horizon, usual, 0))
        days = np.stack(columns, axis=1)
        payday = np.zeros(days.shape[1], dtype=bool)
        payday[0] = how.payday
        runs = np.arange(0, max(_FAR, horizon) + pace, pace)
        ends = np.union1d(runs, runs + horizon)
        curve = np.zeros((n, len(ends)))
        if n:
            curve[:, 1:] = np.minimum(_curve(payment, snapshot, ends[1:].tolist()), _SURE)
        return cls(days, -(-days // pace) * pace, ends, curve, payday)

    def alone(self, rows: Ints, day: Ints) -> Floats:
        """P(paid before a day (b,) of the curve without a contact), (b,)."""
        found: Floats = self.curve[rows, np.searchsorted(self.ends, day)]
        return found


def _curve(payment: Any, snapshot: Snapshot, ends: Sequence[int]) -> Floats:
    from collectopt.models import PaymentModel

    horizons = tuple(f"{end}D" for end in ends)
    more: dict[str, Any] = {"quantiles": ()} if isinstance(payment, PaymentModel) else {}
    forecast = payment.predict(snapshot, horizons=horizons, level="account", **more)
    return np.maximum.accumulate(np.asarray(forecast.p_paid, dtype=np.float64), axis=1)


def _until_payday(snapshot: Snapshot, grace: int) -> Ints:
    """Days until the usual day of payment and its days of grace are over; 0 = it has none."""
    found = np.zeros(len(snapshot), dtype=np.int64)
    if not len(snapshot):
        return found
    usual = usual_paydays(snapshot.ledger, snapshot.as_of.max())[
        snapshot.rows["account"].to_numpy()
    ]
    today = snapshot.rows["day"].to_numpy().astype("datetime64[D]")
    some = np.flatnonzero(np.isfinite(usual))
    pairs = np.column_stack([today[some].astype(np.int64), usual[some].astype(np.int64)])
    kinds, place = np.unique(pairs, axis=0, return_inverse=True)
    ahead = [
        _next(date(1970, 1, 1) + timedelta(days=now), day, grace) for now, day in kinds.tolist()
    ]
    found[some] = np.array(ahead, dtype=np.int64)[place.reshape(-1)]
    return found


def _next(today: date, day: int, grace: int) -> int:
    """Days until a day of the month and its days of grace are over.

    Examples
    --------
    >>> [_next(day, 30, 2) for day in (date(2026, 4, 20), date(2026, 5, 1), date(2026, 5, 2))]
    [12, 1, 30]
    """
    ends = (month_on(today, months, day) + timedelta(days=grace) for months in (-1, 0, 1, 2))
    return next((end - today).days for end in ends if end > today)


@dataclass(frozen=True, eq=False)
class Best:
    """The best wait of n accounts, where it is worth more than to act now.

    Attributes
    ----------
    net : ndarray (n,)
        EUR on the scale of actions, prices of scarce resources deducted: what the best action now
        is worth, and what waiting brings more; 0 = no wait is better.
    euros : ndarray (n,)
        The same before prices.
    gain : ndarray (n,)
        EUR that waiting brings more.
    column, now, then : int array (n,)
        Of `Ahead`; of the actions: what is best now, and in the run that is waited for.
    """

    net: Floats
    euros: Floats
    gain: Floats
    column: Ints
    now: Ints
    then: Ints

    @classmethod
    def none(cls, n: int) -> Best:
        """Nobody waits for a day."""
        net, euros, gain = np.zeros((3, n))
        column, now, then = np.zeros((3, n), dtype=np.int64)
        return cls(net, euros, gain, column, now, then)


@dataclass(frozen=True, eq=False)
class Play:
    """What b accounts bring that are acted on in every run in which it is worth it.

    Attributes
    ----------
    rows : int array (b,)
    brings, costs : ndarray (b, K)
        EUR of each action if it is taken now; costs with harm and prices; brings = -inf where it is
        not permitted.
    moves : ndarray (b, K)
        Share of those who would not pay alone that the action moves, 0 to 1.
    ahead : Ahead
    catalogue : Catalogue
    """

    rows: Ints
    brings: Floats
    costs: Floats
    moves: Floats
    ahead: Ahead
    catalogue: Catalogue

    def begin(self, first: Ints) -> tuple[Floats, Ints]:
        """Expect EUR from a first run (b,) on, nothing being done before; and its best action."""
        catalogue, i = self.catalogue, np.arange(len(self.rows))
        how, horizon, pace = catalogue.waits, catalogue.horizon_days, catalogue.cadence_days
        assert how is not None
        step = -(-_SPACE // pace) * pace
        left = 1.0 - self.ahead.alone(self.rows, np.full(len(i), horizon))
        total, unmoved, chosen = np.zeros(len(i)), np.ones(len(i)), np.zeros(len(i), dtype=np.int64)
        for k in range(_FAR // step + 1):
            run = np.minimum(first + k * step, self.ahead.ends[-1] - horizon)
            unpaid = 1.0 - self.ahead.alone(self.rows, run)
            never = 1.0 - self.ahead.alone(self.rows, run + horizon)
            fade = (1.0 - how.fade) ** (run / _WEEK)
            share = fade * never / (unpaid * left)  # of what it brings now, given that it is unpaid
            net = share[:, None] * self.brings - self.costs
            pick = net.argmax(axis=1)
            chosen = pick if k == 0 else chosen
            worth = unmoved * unpaid * share * self.brings[i, pick]
            worth = worth - self.costs[i, pick] * (unpaid - never * (1.0 - unmoved))
            worth = worth * (1.0 + catalogue.discount_rate) ** (-run / _YEAR)
            acts = (first + k * step <= _FAR) & (worth > 0.0)
            total += np.where(acts, worth, 0.0)
            unmoved = unmoved * (1.0 - np.where(acts, fade * self.moves[i, pick], 0.0))
        return total, chosen


class WaitingCase(Case):
    """A case in which who waits for a day gives an action up only for what is worth more.

    In the joint choice to wait is worth 0. So the worth of the best wait of an account is taken
    off each of its actions: what is scarce goes to whoever loses most by waiting.
    """

    def __init__(self, case: Case, own: ValuedCase, ahead: Ahead, open_: Bools) -> None:
        self.case, self.own, self.ahead, self.open = case, own, ahead, open_
        self.best = Best.none(len(open_))

    @classmethod
    def around(cls, case: Case, own: Case, snapshot: Snapshot, payment: Any) -> Case:
        """Let the accounts of a case wait, but for those that are left to the ladder.

        Parameters
        ----------
        case : Case
            What is to be decided by.
        own : ValuedCase or LadderCase
            Values its contacts.
        """
        valued, ladder = (own.case, own.ladder) if isinstance(own, LadderCase) else (own, None)
        assert isinstance(valued, ValuedCase)
        open_ = np.ones(len(snapshot), dtype=bool) if ladder is None else ~ladder
        return cls(case, valued, Ahead.of(snapshot, valued.catalogue, payment), open_)

    def valued(self, setting: Setting) -> WaitingCase:
        """Value the waits by the rules and at the prices of a run without them."""
        twin = WaitingCase(self.case, self.own, self.ahead, self.open)
        names, usage, _ = setting.resources
        price = np.zeros(len(names))
        if names:
            found = choose(replace(setting, epsilon=0.0), self.case).prices
            price = np.array([found.get(name, 0.0) for name in names])
        paid, n = usage @ price, len(self.open)
        free = self.open & ~setting.orders.given(ALL, n)  # people are obeyed now
        free &= ~np.any([np.zeros(n, dtype=bool), *setting.undecidable.values()], axis=0)
        free &= (self.ahead.days > 0).any(axis=1)
        for rows in setting.blocks():
            verdict = setting.rules.evaluate(setting.state, setting.layout, rows)
            mine = np.flatnonzero(free[rows] & ~verdict.bound)
            if len(mine):
                twin._improve(mine + rows.start, verdict.permitted(mine), paid)
        return twin

    def _improve(self, rows: Ints, allowed: Bools, paid: Floats) -> None:
        """Keep the best wait of some accounts, where it beats to act now."""
        i, best = np.arange(len(rows)), self.best
        values = np.where(allowed, self.case.values(rows) - paid, -np.inf)
        values[:, 0] = 0.0
        now = values.argmax(axis=1)
        contact = np.flatnonzero(self.own.outlook.actions.is_contact)
        some = np.flatnonzero(np.isin(now, contact))  # the others wait, or go another way
        rows, now, net = rows[some], now[some], values[i, now][some]
        play = self._play(rows, allowed[some][:, contact], contact, paid[contact])
        at_once, _ = play.begin(np.zeros(len(rows), dtype=np.int64))
        for j in range(self.ahead.days.shape[1]):
            later, then = play.begin(self.ahead.run[rows, j])
            gain = np.where(self.ahead.days[rows, j] > 0, later - at_once, 0.0)
            better = np.flatnonzero(gain > np.maximum(best.gain[rows], _LEAST))
            here = rows[better]
            best.gain[here], best.net[here] = gain[better], (net + gain)[better]
            best.euros[here] = best.net[here] + paid[now[better]]
            best.column[here] = j
            best.now[here], best.then[here] = now[better], contact[then[better]]

    def _play(self, rows: Ints, allowed: Bools, contact: Ints, paid: Floats) -> Play:
        """Split the worth of contacts into what they bring and what they cost in any case."""
        block, objective = self.own.block(rows, contact), self.own.objective
        none = None if block.brought is None else np.zeros_like(block.brought)
        p_wait = np.broadcast_to(block.p_wait, block.p.shape)
        costs = -objective.values(replace(block, p=p_wait, brought=none))
        brings = objective.values(block) + costs
        moved = block.p - block.p_wait if block.brought is None else block.brought
        moves = np.clip(moved / np.maximum(1.0 - block.p_wait, 1.0 - _SURE), 0.0, 1.0)
        brings = np.where(allowed, brings, -np.inf)
        return Play(rows, brings, costs + paid, moves, self.ahead, self.own.catalogue)

    @property
    def waits(self) -> Bools:
        """Accounts with a day that is worth waiting for, (n,)."""
        return self.best.net > 0.0

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Worth of every action relative to the best wait of the account."""
        return self.case.values(rows, columns) - self.best.net[rows][:, None]

    def euros(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action relative to the best wait of the account."""
        return self.case.euros(rows, columns) - self.best.net[rows][:, None]

    def told(self, rows: slice, best: Floats, action: Ints) -> Floats:
        """EUR of some actions an account relative to waiting for no day; (b, G)."""
        plain = self.case.told(rows, best + self.best.net[rows][:, None], action)
        waits = (action == 0) & self.waits[rows][:, None]
        return np.where(waits, self.best.euros[rows][:, None], plain)

    def details(self, rows: slice, action: Ints) -> Details:
        """As the inner case; who waits for a day, with what the plan is worth, and why."""
        inner = self.case.details(rows, action)
        mine = np.flatnonzero((action == 0) & self.waits[rows])
        here = mine + rows.start
        value, euros, waits = inner.value.copy(), np.zeros(len(action)), [""] * len(action)
        value[mine] = euros[mine] = self.best.euros[here]
        for j, i in zip(mine.tolist(), here.tolist(), strict=True):
            waits[j] = self._why(i)
        return replace(inner, value=value, terms={**inner.terms, TERM: euros}, waits=tuple(waits))

    def until(self, row: int) -> date:
        """Local day on which the account is to be decided again."""
        today = self.own.outlook.snapshot.rows["day"][row].as_py()
        found: date = today + timedelta(days=int(self.ahead.days[row, self.best.column[row]]))
        return found

    def alone(self, row: int) -> float:
        """P(paid without a contact before the run that is waited for)."""
        run = self.ahead.run[row, self.best.column[row]]
        return float(self.ahead.alone(np.array([row]), np.array([run]))[0])

    def _why(self, row: int) -> str:
        best, actions, money = self.best, self.own.outlook.actions, self.own.catalogue.currency
        after = ", after the usual day of payment" if self.ahead.payday[best.column[row]] else ""
        named = _named(actions, int(best.now[row]))
        worth = best.euros[row] - best.gain[row]
        return (
            f"We wait until {self.until(row)}{after}, because the customer pays alone by then with "
            f"probability {self.alone(row):.1%}. {named} now would be worth {worth:,.2f} {money}; "
            f"to begin only then, with who has not paid, brings {best.gain[row]:,.2f} {money} more."
        )


def _named(actions: ActionSet, action: int) -> str:
    """Channel and tone of a contact, whatever its slot."""
    return f"{actions.channels[actions.channel[action]]}, {actions.tones[actions.tone[action]]}"


def ready(setting: Setting, case: Case) -> Case:
    """Value the waits of a case that has any, as soon as rules and limits are known."""
    return case.valued(setting) if isinstance(case, WaitingCase) else case


def written(case: Case, table: pa.Table) -> pa.Array | None:
    """Write down who waits for which day.

    Parameters
    ----------
    case : Case
    table : pyarrow.Table
        Decisions, a row an account.

    Returns
    -------
    pyarrow.Array of `WAITS` or None
        Null where an account does not wait for a day. None: the case has no waits.
    """
    if not isinstance(case, WaitingCase):
        return None
    waits = case.waits & pc.equal(table["channel"], "none").to_numpy()
    rows: list[dict[str, Any] | None] = [None] * len(waits)
    for i in np.flatnonzero(waits).tolist():
        column = case.best.column[i]
        rows[i] = {
            "until": case.until(i),
            "payday": bool(case.ahead.payday[column]),
            "p_alone": case.alone(i),
            "action": _named(case.own.outlook.actions, int(case.best.then[i])),
            "gain": float(case.best.gain[i]),
        }
    return pa.array(rows, WAITS)
