"""Agency, court and giving up, valued over a long horizon and chosen only where that is sure.

A way out is worth what it brings against going on and deciding best later, which includes to take
it later: the stop problem of :mod:`collectopt.policy.stopping` on the payment model's curve. How
much faster claims are paid there is learnt from past hand-overs, corrected for which claims were
handed over (:class:`~collectopt.models.external.Lift`). The prices are those of the objective. All
is worked out at several points of what is not known, the level of the curve and the factor of the
way; an action is a candidate only where the lower end of its 80 % interval is above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Self

import numpy as np
import pandas as pd

from collectopt.exceptions import InputError
from collectopt.models.external import AGES, AMOUNTS, Lift, Place
from collectopt.models.external_log import MARKS, curve, look_back, past_due
from collectopt.objective import Block, Objective
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.policy.stopping import NEVER, Best, Way, solve
from collectopt.rules.dates import interest
from collectopt.rules.fees import court_order_fees
from collectopt.rules.stages import days_left
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

_TAIL = (91.0, 91.0, 91.0, 91.0)  # days beyond the curve, at the pace of its last step
_STEPS = np.diff([0.0, *map(float, MARKS), *(364.0 + np.cumsum(_TAIL))])
_STARTS = np.concatenate([[0.0], np.cumsum(_STEPS)[:-1]])
_LEVELS, _FACTORS = 3, 5  # points of equal probability
_LOW, _HIGH = 0.1, 0.9
_MONTH = 30.4
_OF = {ActionKind.AGENCY: Place.AGENCY, ActionKind.COURT: Place.COURT}


@dataclass(frozen=True, eq=False)
class Outside:
    """What was learnt about the ways out.

    Attributes
    ----------
    lifts : mapping of Place to Lift
    cost_a_day : float
        EUR that contacts with an account past due cost a day.
    """

    lifts: Mapping[Place, Lift]
    cost_a_day: float

    @classmethod
    def learn(
        cls, ledger: Ledger, cut: np.datetime64, catalogue: Catalogue, payment: Any
    ) -> Self | None:
        """Learn from the log; None: the catalogue has neither agency nor court nor stop."""
        if not ways_of(catalogue):
            return None
        past = look_back(ledger, cut, payment)
        lifts = {place: Lift.of(gone, past.stayed) for place, gone in past.gone.items()}
        return cls(lifts, past.cost_a_day)

    def to_dict(self) -> dict[str, Any]:
        """Give plain data, ready for JSON."""
        lifts = {place.value: lift.to_dict() for place, lift in self.lifts.items()}
        return {"lifts": lifts, "cost_a_day": self.cost_a_day}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        lifts = {Place(name): Lift.from_dict(lift) for name, lift in data["lifts"].items()}
        return cls(lifts, data["cost_a_day"])


def ways_of(catalogue: Catalogue) -> tuple[ActionKind, ...]:
    """Ways out that a catalogue has."""
    pairs = (
        (ActionKind.AGENCY, catalogue.agency),
        (ActionKind.COURT, catalogue.court),
        (ActionKind.STOP, catalogue.stop),
    )
    return tuple(kind for kind, entry in pairs if entry is not None)


@dataclass(frozen=True, eq=False)
class Worths:
    """What the ways out of n accounts are worth, EUR; nan where nothing is past due.

    Attributes
    ----------
    kinds : tuple of W ActionKind
    value, low, high : (n, W) float64
        Against going on and deciding best later; mean and 80 % interval.
    going_on : (3, n) float64
        Worth of going on for good, no way out taken: mean, low, high.
    brought : (n, W) float64
        Money against going on, as a share of the open amount, before the price of the way.
    factor : (n, W) float64
        On the hazard of payment; 0 where one stops.
    cost : (n, W) float64
        EUR at once.
    days : (n,) int64
        Days until a way out is best taken; a large number = never.
    interest : (n,) float64
        EUR of default interest that a court order may claim.
    """

    kinds: tuple[ActionKind, ...]
    value: Floats
    low: Floats
    high: Floats
    going_on: Floats
    brought: Floats
    factor: Floats
    cost: Floats
    days: Ints
    interest: Floats

    def of(self, i: int) -> Worths:
        """Take one account."""
        parts = {
            each.name: getattr(self, each.name)[..., i : i + 1]
            if each.name == "going_on"
            else getattr(self, each.name)[i : i + 1]
            for each in fields(self)
            if each.name != "kinds"
        }
        return Worths(kinds=self.kinds, **parts)

    @property
    def sure(self) -> Bools:
        """Whether the lower end is above 0; (n, W)."""
        return np.asarray(self.low > 0.0)


@dataclass(frozen=True, eq=False)
class Pricing:
    """Builds the blocks that the objective prices for one way out."""

    state: State
    objective: Objective
    catalogue: Catalogue
    lifetime_value: Floats

    def block(
        self, kind: ActionKind, rows: Rows, brought: Floats, cost: Floats, p: tuple[Floats, Floats]
    ) -> Block:
        """Give what the terms see; `p` with the way and without; arrays (b,)."""
        state, catalogue = self.state, self.catalogue
        entry = {ActionKind.AGENCY: catalogue.agency, ActionKind.COURT: catalogue.court}.get(kind)
        shape = (len(brought), 1)
        doubt = None if state.doubt is None else state.doubt[rows, None]
        return Block(
            p=p[0][:, None],
            p_wait=p[1][:, None],
            open_amount=state.open_amount[rows, None],
            days=np.zeros(shape),
            lifetime_value=self.lifetime_value[rows, None],
            contacts=state.recent[rows, None].astype(np.float64),
            cost=cost[:, None],
            tone=np.full(shape, len(catalogue.tone_names) - 1.0),
            contact=np.full(shape, entry is not None),
            discount_rate=catalogue.discount_rate,
            complaint_cost=catalogue.value.complaint_cost,
            unknown_value=catalogue.value.lifetime_value,
            brought=brought[:, None],
            complaint=np.full(shape, 0.0 if entry is None else entry.complaint),
            opt_out=np.zeros(shape),
            leave=np.full(shape, 0.0 if entry is None else entry.leave),
            marks=np.full(shape, float(entry is not None)),
            consumer=state.consumer[rows, None],
            doubt=doubt,
            credit_standing_cost=catalogue.value.credit_standing_cost or 0.0,
        )

    def euros(self, kind: ActionKind, brought: Floats, cost: Floats) -> Floats:
        """EUR of a way out that brings so much; (n,)."""
        none = np.zeros(len(brought))
        block = self.block(kind, ALL, brought, cost, (none, none))
        return np.asarray(self.objective.values(block)[:, 0], dtype=np.float64)


def worths(outside: Outside, snapshot: Snapshot, pricing: Pricing, payment: Any) -> Worths:
    """Value the ways out of every account."""
    state, catalogue, n = pricing.state, pricing.catalogue, len(snapshot)
    kinds = ways_of(catalogue)
    amount = np.where(state.past_due, state.open_amount, 0.0)
    owing = amount > 0.0
    share = np.where(owing, amount, 1.0)
    p = curve(payment, snapshot) if n else np.zeros((0, len(MARKS)))
    late = past_due(snapshot)[0]
    hazard = _hazards(p)
    more = _interest(state, amount) if ActionKind.COURT in kinds else np.zeros(n)
    cost = np.column_stack([_cost(kind, catalogue, state, amount) for kind in kinds])
    burden, unit = np.zeros((n, len(kinds))), np.ones(n)
    for w, kind in enumerate(kinds):
        nothing = pricing.euros(kind, np.zeros(n), cost[:, w])
        unit = np.maximum(pricing.euros(kind, 1.0 / share, cost[:, w]) - nothing, 1e-9)
        burden[:, w] = -nothing / (unit * share)
    keep = 0.0 if catalogue.stop is None else catalogue.stop.keep_cost / _MONTH
    # most accounts of most books owe nothing that is past due: they are left out
    some = np.flatnonzero(owing & np.isfinite(hazard).all(axis=1))
    drain, claimed = (outside.cost_a_day + keep) / share, 1.0 + more / share
    left = days_left(state)
    plays = _Plays(outside, catalogue, kinds, burden[some], drain[some], left[some], claimed[some])
    points = plays.run(hazard[some], late[some], amount[some], p[some, 3])
    gain = np.stack([_against(best, kinds) for best in points])  # (points, of some, W)
    alone = np.stack([best.alone for best in points])
    euros = unit * share

    def full(part: Floats, scale: Floats) -> Floats:
        """EUR of all accounts from shares of some."""
        whole = np.full((n, *part.shape[1:]), np.nan)
        whole[some] = (part.T * scale[some]).T
        return whole

    low, high = (full(quantile(gain, q), euros) for q in (_LOW, _HIGH))
    going_on = [alone.mean(axis=0), *(np.quantile(alone, q, axis=0) for q in (_LOW, _HIGH))]
    days = np.full(n, NEVER)
    step = points[len(points) // 2].step
    starts = np.append(_STARTS.astype(np.int64), NEVER)
    days[some] = starts[np.minimum(step, len(_STARTS))]
    return Worths(
        kinds,
        full(gain.mean(axis=0), euros),
        low,
        high,
        np.stack([full(part, share) for part in going_on]),
        full(gain.mean(axis=0), np.ones(n)) + burden,
        np.column_stack([plays.factor(kind, late, amount) for kind in kinds]),
        cost,
        days,
        more,
    )


def _hazards(p: Floats) -> Floats:
    """Chance to be paid in each step, if unpaid before; the tail at the pace of the last step."""
    unpaid = 1.0 - np.column_stack([np.zeros(len(p)), p])
    inside = 1.0 - unpaid[:, 1:] / unpaid[:, :-1]
    last = MARKS[-1] - MARKS[-2]
    tail = [1.0 - (1.0 - inside[:, -1]) ** (days / last) for days in _TAIL]
    return np.column_stack([inside, *tail])


def quantile(gain: Floats, q: float) -> Floats:
    """Quantile over the first axis; what is impossible at a point (-inf) stays impossible.

    Between two infinities numpy finds nan, and warns.

    Examples
    --------
    >>> quantile(np.array([[-np.inf, 1.0], [-np.inf, 2.0], [-np.inf, 4.0]]), 0.5).tolist()
    [-inf, 2.0]
    """
    found: Floats = gain.min(axis=0)
    finite = np.isfinite(gain).all(axis=0)
    found[finite] = np.quantile(gain[:, finite], q, axis=0)
    return found


def _against(best: Best, kinds: Sequence[ActionKind]) -> Floats:
    """Worth of each way now against going on; (n, W)."""
    gain, w = np.empty((len(best.wait), len(kinds))), 0
    for j, kind in enumerate(kinds):
        if kind is ActionKind.STOP:
            gain[:, j] = -best.wait
        else:
            gain[:, j] = best.now[:, w] - best.wait
            w += 1
    return gain


def _cost(kind: ActionKind, catalogue: Catalogue, state: State, amount: Floats) -> Floats:
    """EUR at once: the catalogue's, and in Germany the fees of the court."""
    entry = {ActionKind.AGENCY: catalogue.agency, ActionKind.COURT: catalogue.court}.get(kind)
    cost = np.full(len(amount), 0.0 if entry is None else entry.cost)
    if kind is ActionKind.COURT and catalogue.jurisdiction == "de":
        day = _today(state)
        sizes, place = np.unique(np.maximum(np.round(amount, 2), 0.01), return_inverse=True)
        fees = [float(court_order_fees(Decimal(str(x)), day).court) for x in sizes.tolist()]
        cost = cost + np.array(fees)[place.reshape(-1)]
    return cost


def _today(state: State) -> date:
    return np.datetime64(state.as_of, "us").astype("datetime64[D]").item()


def _interest(state: State, amount: Floats) -> Floats:
    """Default interest since the day after the oldest due date, EUR; 0 where no rate is known."""
    today, much = _today(state), Decimal(10**6)
    late = np.where((amount > 0) & (state.own_contacts > 0), state.days_past_due - 1, 0)
    pairs = np.column_stack([np.maximum(late, 0), state.consumer])
    kinds, place = np.unique(pairs, axis=0, return_inverse=True)
    found = np.zeros(len(kinds))
    for j, (days, consumer) in enumerate(kinds.tolist()):
        since = today - timedelta(days=days)
        # beyond the known base rates nothing is extrapolated
        with suppress(InputError):
            found[j] = float(interest(much, since, today, consumer=bool(consumer)).amount / much)
    return np.asarray(amount * found[place.reshape(-1)])


@dataclass(frozen=True, eq=False)
class _Plays:
    """Solves the stop problem at every point of what is not known."""

    outside: Outside
    catalogue: Catalogue
    kinds: tuple[ActionKind, ...]
    burden: Floats
    drain: Floats
    left: Ints  # days until the claim is time-barred
    claimed: Floats  # what a court order may ask for, as a multiple of the open amount

    def factor(self, kind: ActionKind, late: Ints, amount: Floats) -> Floats:
        """Mean factor on the hazard if the way is taken now, (n,)."""
        if kind not in _OF:
            return np.zeros(len(late))
        ages = np.searchsorted(AGES, late, side="left")
        table = self.outside.lifts[_OF[kind]].factor.mean
        return np.asarray(_by_age(table, amount)[np.arange(len(late)), ages], dtype=np.float64)

    def run(self, hazard: Floats, late: Ints, amount: Floats, chance: Floats) -> list[Best]:
        """Solve at all points, in order of the factor and then of the level."""
        lift = next(iter(self.outside.lifts.values()))
        level = lift.own.nodes(_LEVELS)[:, lift.band(late, chance)]
        ages = np.searchsorted(AGES, late[:, None] + _STARTS[None, :], side="left")
        hazard = np.nan_to_num(hazard)
        factors = {
            kind: self.outside.lifts[_OF[kind]].factor.nodes(_FACTORS)
            for kind in self.kinds
            if kind in _OF
        }
        points = []
        for j in range(_FACTORS):
            ways = [self._way(kind, _by_age(nodes[j], amount)) for kind, nodes in factors.items()]
            for own in level:
                scaled = 1.0 - (1.0 - np.minimum(hazard, 1.0 - 1e-12)) ** own[:, None]
                points.append(
                    solve(
                        scaled,
                        _STEPS,
                        ages,
                        ways,
                        rate=self.catalogue.discount_rate,
                        drain=self.drain,
                        stop=ActionKind.STOP in self.kinds,
                    )
                )
        return points

    def _way(self, kind: ActionKind, factor: Floats) -> Way:
        entry = self.catalogue.agency if kind is ActionKind.AGENCY else self.catalogue.court
        assert entry is not None
        court = kind is ActionKind.COURT
        # a court is open to claims that are not time-barred
        last = np.full(len(factor), NEVER)
        if court:
            last = np.searchsorted(_STARTS, self.left, side="right")
        return Way(
            factor,
            1.0 - entry.fee,
            self.burden[:, self.kinds.index(kind)],
            last.astype(np.int64),
            self.claimed if court else np.ones(len(factor)),
        )


def _by_age(table: Floats, amount: Floats) -> Floats:
    """Factors of each account by age class, (n, A), from those of all cells (C,)."""
    by_cell = table.reshape(len(AGES) + 1, len(AMOUNTS) + 1)
    return np.asarray(by_cell[:, np.searchsorted(AMOUNTS, amount, side="left")].T)


class HandoverCase(Case):
    """A case in which agency, court and stop are worth what the stop problem says."""

    def __init__(self, case: Case, found: Worths, pricing: Pricing) -> None:
        self.case, self.found, self.pricing = case, found, pricing
        state = pricing.state
        holds = (*state.holds.values(), *(state.said or {}).values())
        held = np.any([np.zeros(len(state), dtype=bool), *holds], axis=0)
        self.open = found.sure & (~held & ~state.vulnerable)[:, None]
        self.kind_of = pricing.catalogue.actions.kind

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action; a way out only where it is sure to be worth it."""
        return self._with_ways(self.case.values(rows, columns), rows, columns)

    def euros(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """EUR of every action: also where a case aims at something else, as of the ladder."""
        return self._with_ways(self.case.euros(rows, columns), rows, columns)

    def _with_ways(self, values: Floats, rows: Rows, columns: Rows) -> Floats:
        kinds = self.kind_of[columns]
        for w, kind in enumerate(self.found.kinds):
            worth = np.where(self.open[rows, w], self.found.value[rows, w], -np.inf)
            values[:, kinds == kind] = worth[:, None]
        return values

    def told(self, rows: slice, best: Floats, action: Ints) -> Floats:
        """As the inner case; ways out are in EUR; (b, G)."""
        ways = np.isin(self.kind_of[action], self.found.kinds)
        return np.where(ways, best, self.case.told(rows, best, action))

    def details(self, rows: slice, action: Ints) -> Details:
        """As the inner case; ways out with their own money, chances and reasons."""
        inner = self.case.details(rows, action)
        p, recovery, value = inner.p_pay.copy(), inner.recovery.copy(), inner.value.copy()
        terms = {name: v.copy() for name, v in inner.terms.items()}
        notes = list(inner.notes) or [""] * len(action)
        kinds = self.kind_of[action]
        for w, kind in enumerate(self.found.kinds):
            mine = np.flatnonzero(kinds == kind)
            if not len(mine):
                continue
            here = mine + rows.start
            lasting = (1.0 - inner.p_wait[mine]) ** self.found.factor[here, w]
            # what is not known stays so: nan to the power of 0 is 1
            p[mine] = np.where(np.isfinite(inner.p_wait[mine]), 1.0 - lasting, np.nan)
            recovery[mine] = p[mine] * self.pricing.state.open_amount[here]
            brought, cost = self.found.brought[here, w], self.found.cost[here, w]
            chances = p[mine], inner.p_wait[mine]
            block = self.pricing.block(kind, here, brought, cost, chances)
            parts = self.pricing.objective.breakdown(block)
            for name, v in parts.items():
                terms[name][mine] = v[:, 0]
            value[mine] = np.sum([v[:, 0] for v in parts.values()], axis=0)
            for j, i in zip(mine.tolist(), here.tolist(), strict=True):
                notes[j] = " ".join(part for part in (notes[j], self._why(i, w)) if part)
        return replace(
            inner, p_pay=p, recovery=recovery, value=value, terms=terms, notes=tuple(notes)
        )

    def _why(self, i: int, w: int) -> str:
        found, money = self.found, self.pricing.catalogue.currency
        mean, low, high = (f"{v:,.2f}" for v in found.going_on[:, i])
        on = f"Going on would be worth {mean} {money} (80 %: {low} to {high}), its costs deducted"
        if found.kinds[w] is ActionKind.STOP:
            return f"{on}: less than nothing, and no later step is worth more than it costs."
        low, high = f"{found.low[i, w]:,.2f}", f"{found.high[i, w]:,.2f}"
        court = found.kinds[w] is ActionKind.COURT
        more = f" It costs {found.cost[i, w]:,.2f} {money} at once."
        if court and found.interest[i]:
            more += f" Interest of {found.interest[i]:,.2f} {money} may be claimed too."
        return f"{on}; better now than later, by {low} to {high} {money} (80 %).{more}"


def table(snapshot: Snapshot, found: Worths, permitted: Bools) -> pd.DataFrame:
    """Lay the worths out: one row an account and way, with going on and the best day.

    Parameters
    ----------
    snapshot : Snapshot
        n rows of one time.
    found : Worths
    permitted : (n, W) bool
        What the rules allow.
    """
    n, ways = len(snapshot), len(found.kinds)
    ids = snapshot.rows["account_id"].to_numpy(zero_copy_only=False)
    days = snapshot.rows["day"].to_numpy().astype("datetime64[D]")
    never = found.days == NEVER
    best = days + np.where(never, 0, found.days).astype("timedelta64[D]")
    best[never] = np.datetime64("NaT")
    on = {name: np.repeat(found.going_on[j], ways) for j, name in enumerate(_ON)}
    return pd.DataFrame(
        {
            "account_id": np.repeat(ids, ways),
            "action": np.tile([kind.channel for kind in found.kinds], n),
            "value": found.value.ravel(),
            "low": found.low.ravel(),
            "high": found.high.ravel(),
            "cost": found.cost.ravel(),
            "sure": found.sure.ravel(),
            "permitted": permitted.ravel(),
            **on,
            "best_on": np.repeat(best, ways),
        }
    )


_ON = ("going_on", "going_on_low", "going_on_high")
