"""To wait for a while, valued beside the actions: now, or later to those who have not paid by then.

"Wait n days, then take the best action" is a plan of one action, as every action is a plan of one
action now; nothing further counts in either. By day n the customer has paid alone with probability
q, and the action's cost and harm are saved. Else he pays alone within the horizon from then on with
p' = (p(H + n) - q) / (1 - q), and the action changes that in proportion to the room 1 - p' left to
it, less what fades with every week. So

    V(wait n) = (1 - q) d(n) max_a V_n(a),
    recovery of V_n(a) = recovery of V(a) x f(n) (1 - p') / (1 - p(H)).

An action that costs c and brings R is better taken later only where what is saved,
c (1 - (1 - q) d), is more than what is lost, R (1 - d f (1 - p(H + n)) / (1 - p(H))). Whoever pays
alone between H and H + n counts as lost to the later action; that errs on the side of acting now.

Nothing has to be remembered between runs. Up to a factor 1 / P(unpaid by now) and to f, "act on day
s" is worth the same J(s) on whatever day one looks at it. So who waits for a day, and learns
nothing new, waits for the same day a week later; as f starts anew he may act sooner, never later
(Strotz, 1955, Review of Economic Studies 23, on plans that are kept).
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
from collectopt.objective import Block
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

_YEAR, _WEEK = 365.0, 7.0
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
    alone : ndarray (n, J)
        P(everything past due is paid by that run without a contact); nan = not known.
    later : ndarray (n, J)
        P(it is paid within the horizon from that run on, if it was not paid before).
    payday : bool array (J,)
        Whether it is the usual day of payment, with days of grace.
    """

    days: Ints
    run: Ints
    alone: Floats
    later: Floats
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
        run = -(-days // pace) * pace
        ends = np.unique(np.append(run[run > 0], run[run > 0] + horizon)).tolist()
        alone, later = np.full(run.shape, np.nan), np.full(run.shape, np.nan)
        if n and ends:
            p = _curve(payment, snapshot, ends)
            at, beyond = (
                np.searchsorted(ends, x).clip(max=len(ends) - 1) for x in (run, run + horizon)
            )
            row = np.arange(n)[:, None]
            alone = np.where(run > 0, np.minimum(p[row, at], _SURE), np.nan)
            later = (np.maximum(p[row, beyond], alone) - alone) / (1.0 - alone)
        payday = np.zeros(days.shape[1], dtype=bool)
        payday[0] = how.payday
        return cls(days, run, alone, later, payday)


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
    """The best wait of n accounts, where it is worth more than any action now.

    Attributes
    ----------
    net : ndarray (n,)
        EUR relative to waiting, the prices of scarce resources deducted; 0 = no wait is better.
    euros : ndarray (n,)
        The same before prices.
    now : ndarray (n,)
        Likewise `net` of the best action now.
    column, action : int array (n,)
        Of `Ahead`; of the actions: what is best then.
    """

    net: Floats
    euros: Floats
    now: Floats
    column: Ints
    action: Ints

    @classmethod
    def none(cls, n: int) -> Best:
        """Nobody waits for a day."""
        (net, euros, now), (column, action) = np.zeros((3, n)), np.zeros((2, n), dtype=np.int64)
        return cls(net, euros, now, column, action)


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
        """Keep the best wait of some accounts, where it beats their best action now."""
        contact = np.flatnonzero(self.own.outlook.actions.is_contact)
        values = np.where(allowed, self.case.values(rows) - paid, -np.inf)
        now = values[:, 1:].max(axis=1, initial=0.0)
        block, allowed = self.own.block(rows, contact), allowed[:, contact]
        i, best = np.arange(len(rows)), self.best
        best.now[rows], best.net[rows] = now, now
        for j in range(self.ahead.days.shape[1]):
            kept = self.kept(rows, j)
            euros = self.own.objective.values(self.then(block, rows, j))
            net = np.where(allowed, euros - paid[contact], -np.inf)
            pick = net.argmax(axis=1) if net.shape[1] else np.zeros(len(rows), dtype=np.int64)
            top = kept * net[i, pick]
            better = np.flatnonzero(top > best.net[rows])
            here = rows[better]
            best.net[here], best.euros[here] = top[better], (kept * euros[i, pick])[better]
            best.column[here], best.action[here] = j, contact[pick[better]]
        best.net[rows[best.net[rows] <= now]] = 0.0
        best.euros[rows[best.net[rows] == 0.0]] = 0.0

    def kept(self, rows: Ints, column: int | Ints) -> Floats:
        """P(not paid alone by then) x discount, (b,); nan where there is no such day."""
        run, rate = self.ahead.run[rows, column], self.own.catalogue.discount_rate
        kept = (1.0 - self.ahead.alone[rows, column]) * (1.0 + rate) ** (-run / _YEAR)
        return np.asarray(kept, dtype=np.float64)

    def then(self, block: Block, rows: Ints, column: int | Ints) -> Block:
        """See the actions of a block as they will be by then, if nothing was paid."""
        how = self.own.catalogue.waits
        assert how is not None
        later = self.ahead.later[rows, column][:, None]
        left = 1.0 - block.p_wait
        room = np.where(left > 0.0, (1.0 - later) / np.where(left > 0.0, left, 1.0), 0.0)
        # those who pay alone by then are no gain of an action now: the others are all of it at most
        room = np.minimum(room, 1.0 / (1.0 - self.ahead.alone[rows, column][:, None]))
        share = room * (1.0 - how.fade) ** (self.ahead.run[rows, column][:, None] / _WEEK)
        p = np.clip(later + share * (block.p - block.p_wait), 0.0, 1.0)
        brought = None if block.brought is None else share * block.brought
        return replace(block, p=p, p_wait=later, brought=brought)

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
        if not len(mine):
            return inner
        here = mine + rows.start
        column, then = self.best.column[here], self.best.action[here]
        block = self.then(self.own.taken(here, then), here, column)
        parts, kept = self.own.objective.breakdown(block), self.kept(here, column)
        terms = {name: values.copy() for name, values in inner.terms.items()}
        for name, values in parts.items():
            terms[name][mine] = kept * values[:, 0]
        value, waits = inner.value.copy(), [""] * len(action)
        value[mine] = self.best.euros[here]
        for j, i in zip(mine.tolist(), here.tolist(), strict=True):
            waits[j] = self._why(i)
        return replace(inner, value=value, terms=terms, waits=tuple(waits))

    def until(self, row: int) -> date:
        """Local day on which the account is to be decided again."""
        today = self.own.outlook.snapshot.rows["day"][row].as_py()
        found: date = today + timedelta(days=int(self.ahead.days[row, self.best.column[row]]))
        return found

    def _why(self, row: int) -> str:
        best, ahead, money = self.best, self.ahead, self.own.catalogue.currency
        column = best.column[row]
        after = ", after the usual day of payment" if ahead.payday[column] else ""
        named = _named(self.own.outlook.actions, int(best.action[row]))
        return (
            f"We wait until {self.until(row)}{after}, because the customer pays alone by then with "
            f"probability {ahead.alone[row, column]:.1%}, and {named} to who has not paid is worth "
            f"more then than any action now: {best.net[row]:,.2f} against {best.now[row]:,.2f} "
            f"{money}."
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
            "p_alone": float(case.ahead.alone[i, column]),
            "action": _named(case.own.outlook.actions, int(case.best.action[i])),
        }
    return pa.array(rows, WAITS)
