"""What people decided, laid on the accounts and actions of one run; see `policy.overrides`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import InputError
from collectopt.policy.overrides import (
    Approval,
    Override,
    OverrideKind,
    Overrides,
    known_accounts,
)
from collectopt.policy.shifting import NOT_ALLOWED, told, traced
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
UNWANTED = -1e9  # EUR: what a policy does not want, but a person does
_PASSIVE = (ActionKind.WAIT, ActionKind.STOP)
_CELLS = 2_000_000  # of accounts x actions judged at once


@dataclass(frozen=True, eq=False)
class Order:
    """What people decided for one account.

    Attributes
    ----------
    overrides : tuple of Override
        What holds on the day.
    left : bool array (K,)
        Actions among which the policy may choose.
    lawful : bool array (K,)
        Actions into which a choice may be changed: not forbidden by law nor by people.
    forced : bool
        Whether `left` is what people force.
    kind : ActionKind
        Of what is forced; WAIT where nothing is.
    stopped_by : str
        What stands against all that was to be forced; empty = nothing.
    house : bool array (K,)
        Actions that the house's own rules leave, too: as far as its table of tones may shift.
    steps : int
        By how many tones that table shifts what is chosen.
    """

    overrides: tuple[Override, ...]
    left: Bools
    lawful: Bools
    forced: bool
    kind: ActionKind
    stopped_by: str
    house: Bools
    steps: int = 0

    @property
    def trace(self) -> list[str]:
        """One line an override, for the record."""
        lines = []
        for o in self.overrides:
            stopped = o.kind is OverrideKind.FORCE and self.stopped_by
            lines.append(f"OVERRIDE: {o}" + (f"; stopped by {self.stopped_by}" if stopped else ""))
        return [*lines, *traced(self.steps)]

    def shift(self, chosen: int, actions: ActionSet) -> int:
        """Give the steps of the table of tones for an action; 0 where a person sets its tone."""
        if not actions.is_contact[chosen]:
            return 0
        mine = [o for o in self.overrides if o.concerns(actions)[chosen]]
        forced = self.forced and any(o.kind is OverrideKind.FORCE and o.tone for o in mine)
        return 0 if forced or any(o.new_tone for o in mine) else self.steps


@dataclass(frozen=True, eq=False)
class Orders:
    """What people decided for the n accounts of a run; empty = nothing.

    Attributes
    ----------
    by_row : mapping of int to Order
    approvals : mapping of int to tuple of Approval
    digest : str
        Hash of the overrides; empty where none holds.
    """

    by_row: Mapping[int, Order] = field(default_factory=dict)
    approvals: Mapping[int, tuple[Approval, ...]] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(
        cls,
        overrides: Overrides | None,
        snapshot: Snapshot,
        state: State,
        layout: Layout,
        *,
        rules: Rules,
    ) -> Orders:
        """Find what holds on the local day of each account, and what the law leaves of it."""
        if not overrides:
            return cls()
        held, approved = standing(overrides, snapshot)
        return cls.laid(held, approved, overrides.digest, state, layout, rules=rules)

    @classmethod
    def laid(
        cls,
        held: Mapping[int, tuple[Override, ...]],
        approved: Mapping[int, tuple[Approval, ...]],
        digest: str,
        state: State,
        layout: Layout,
        *,
        rules: Rules,
    ) -> Orders:
        """Lay what people decided, by row of a state, on what the law leaves of it."""
        by_row: dict[int, Order] = {}
        all_rows, size = (
            np.array(sorted(held), dtype=np.int64),
            max(_CELLS // len(layout.actions), 1),
        )
        for start in np.unique(all_rows // size) * size:
            block = slice(int(start), min(int(start) + size, len(state)))
            rows = all_rows[(all_rows >= block.start) & (all_rows < block.stop)]
            lawful = rules.lawful.evaluate(state, layout, block).permitted(rows - block.start)
            usual = rules.evaluate(state, layout, block).permitted(rows - block.start)
            for row, law, free in zip(rows.tolist(), lawful, usual, strict=True):
                order = _order(held[row], law, free, layout.actions)
                steps = 0 if state.tone_offset is None else int(state.tone_offset[row])
                by_row[row] = replace(order, steps=steps)
                if by_row[row].stopped_by == _RULES:
                    why = _stopping(held[row], state, layout, rules, row)
                    by_row[row] = replace(by_row[row], stopped_by=why)
        return cls(by_row, approved, digest if by_row or approved else "")

    def _rows(self, n: int, wanted: list[int]) -> Bools:
        mask = np.zeros(n, dtype=bool)
        mask[wanted] = True
        return mask

    def given(self, rows: slice, n: int) -> Bools:
        """Accounts of a block of n for which people decided something."""
        return self._rows(n, list(self.by_row))[rows]

    def forced(self, n: int) -> Bools:
        """Accounts of n whose action is forced."""
        return self._rows(n, [row for row, order in self.by_row.items() if order.forced])

    def reminding(self, n: int) -> Bools:
        """Accounts of n for which something is forced that reaches the customer."""
        active = [r for r, o in self.by_row.items() if o.forced and o.kind not in _PASSIVE]
        return self._rows(n, active)

    def narrow(self, allowed: Bools, rows: Ints, among: Ints) -> Bools:
        """Put what people leave (b, k) in the place of what rules permit."""
        for j, row in self._here(rows):
            allowed[j] = self.by_row[row].left[among]
        return allowed

    def oblige(self, values: Floats, allowed: Bools, rows: Ints) -> None:
        """Let nothing but what is forced be worth anything, in place; else waiting stays at 0."""
        for j, row in self._here(rows):
            if self.by_row[row].forced:
                own = np.where(np.isfinite(values[j]), values[j], UNWANTED)
                values[j] = np.where(allowed[j], own, -np.inf)

    def _here(self, rows: Ints) -> Iterator[tuple[int, int]]:
        if self.by_row:
            yield from ((j, r) for j, r in enumerate(rows.tolist()) if r in self.by_row)

    def changing(self, choice: Ints, used: Floats, usage: Floats) -> dict[int, tuple[int, Floats]]:
        """Find the choices that people may change, where a change takes other units of a limit.

        Parameters
        ----------
        choice : int array (n,)
            Class chosen.
        used : ndarray (n, R)
            Units that what was made of it takes.
        usage : ndarray (G, R)
            Units that each class takes.

        Returns
        -------
        dict of int to tuple
            By row: the class and the units; empty where no change matters to the limits.
        """
        rows = [r for r, o in self.by_row.items() if any(c.kind in _CHANGES for c in o.overrides)]
        if not (used[rows] != usage[choice[rows]]).any():
            return {}
        return {row: (int(choice[row]), used[row]) for row in rows}

    def serve_first(
        self,
        best: Floats,
        usage: Floats,
        limits: Floats,
        kept: Mapping[int, tuple[int, Floats]],
    ) -> tuple[Ints, Floats, Floats, list[int]]:
        """Choose for the accounts whose action is forced, before anybody else takes of the limits.

        The most valuable first, each the best class that still fits, or else its best: what a
        person forces is done, whatever is left. So is what people change, see `changing`.

        Returns
        -------
        choice : int array (n,)
            Class; -1 = neither forced nor kept.
        best : ndarray (n, G)
            For the others; who is served waits there.
        limits : ndarray (R,)
            What is left of them.
        above : list of int
            Accounts served beyond the limits.
        """
        choice = np.full(len(best), -1, dtype=np.int64)
        changed = self._rows(len(best), list(kept))
        rows = np.flatnonzero(self.forced(len(best)) | changed)
        if not len(rows):
            return choice, best, limits, []
        best, left, above = best.copy(), limits.copy(), []
        # what is kept first: what is forced may leave a choice that still fits
        for row in rows[np.lexsort((rows, -best[rows].max(axis=1), ~changed[rows]))]:
            if row in kept:
                choice[row], used = kept[row]
                fitting = bool((used <= np.maximum(left, 0.0) + 1e-9).all())
            else:
                fits = (usage <= left + 1e-9).all(axis=1) & np.isfinite(best[row])
                chosen = np.where(fits, best[row], -np.inf) if fits.any() else best[row]
                choice[row], fitting = chosen.argmax(), bool(fits.any())
                used = usage[choice[row]]
            if not fitting:
                above.append(int(row))
            left = left - used
        best[rows] = -np.inf
        best[rows, 0] = 0.0
        return choice, best, np.maximum(left, 0.0), above

    def amend(
        self, greedy: Ints, actions: ActionSet, above: list[int]
    ) -> tuple[Ints, dict[int, tuple[str, ...]]]:
        """Change tone and offer of what was chosen; say, by row, what became of it."""
        said: dict[int, tuple[str, ...]] = dict.fromkeys(above, (_ABOVE,))
        if not self.by_row:
            return greedy, said
        greedy = greedy.copy()
        for row, order in self.by_row.items():
            chosen, notes = int(greedy[row]), []
            steps = order.shift(chosen, actions)
            for o in order.overrides:
                if o.kind in _CHANGES and o.concerns(actions)[chosen]:
                    before, more = int(greedy[row]), ""
                    if o.kind is OverrideKind.TONE_OFFSET:
                        greedy[row], aim = _shifted(order, before, o.steps or 0, steps, actions)
                        more = f" (the table of tones adds {steps:+d})" if steps else ""
                        steps = 0
                    else:
                        greedy[row], aim = _amended(o, before, order.lawful, actions)
                    became = f"instead of {actions.names[before]}"
                    if greedy[row] == before:
                        became = "it is so already" if aim == before else NOT_ALLOWED
                        became = f"the catalogue {_NO_SUCH}" if aim < 0 else became
                    notes.append(f"{_capital(o)}{more}: {became}.")
            if steps:
                before = int(greedy[row])
                greedy[row], _ = _shifted(order, before, 0, steps, actions)
                notes.append(told(steps, before, int(greedy[row]), actions))
            said[row] = (*said.get(row, ()), *notes)
        return greedy, said

    def reasons(self, row: int, amended: Mapping[int, tuple[str, ...]]) -> list[str]:
        """Say what people decided for an account, and what became of it."""
        order = self.by_row.get(row)
        if order is None:
            return list(amended.get(row, ()))
        said = []
        for o in order.overrides:
            if o.kind is OverrideKind.FORCE:
                why = f", but stopped by {order.stopped_by}" if order.stopped_by else ""
                said.append(f"{_capital(o)}{why}.")
            elif o.kind is OverrideKind.FORBID:
                said.append(f"{_capital(o)}.")
        return [*said, *amended.get(row, ())]

    def trace(self, row: int) -> list[str]:
        """One line an override or approval."""
        order = self.by_row.get(row)
        approved = [f"OVERRIDE: {a}" for a in self.approvals.get(row, ())]
        return [*(order.trace if order else []), *approved]

    def named(self, version: str) -> str:
        """Version from which ids are made: the same decision has the same id, no other has."""
        return f"{version}|{self.digest}" if self.digest else version


def standing(
    overrides: Overrides, snapshot: Snapshot
) -> tuple[dict[int, tuple[Override, ...]], dict[int, tuple[Approval, ...]]]:
    """Find, by row of a snapshot, the overrides and approvals that hold on its local day."""
    ids = snapshot.rows["account_id"].to_pylist()
    days = snapshot.rows["day"].to_numpy().astype("datetime64[D]").tolist()
    held: dict[int, tuple[Override, ...]] = {}
    approved: dict[int, tuple[Approval, ...]] = {}
    for row, (account, day) in enumerate(zip(ids, days, strict=True)):
        if account not in overrides.accounts:
            continue
        assert isinstance(day, dt.date)
        if now := overrides.at(account, day):
            held[row] = now
        if yes := overrides.approved(account, day):
            approved[row] = yes
    return held, approved


def check(overrides: Overrides | None, ledger: Ledger, catalogue: Catalogue) -> None:
    """Refuse overrides that the catalogue or the book does not know.

    Raises
    ------
    InputError
    """
    if overrides is None:
        return
    if not isinstance(overrides, Overrides):
        raise InputError.of(
            "decide", "overrides", expected="Overrides or None", found=type(overrides).__name__
        )
    overrides.check(catalogue)
    known_accounts(overrides, ledger.accounts["account_id"].to_pylist())


def with_approvals(state: State, overrides: Overrides | None, snapshot: Snapshot) -> State:
    """Add to the facts what people approved of."""
    return approving(state, standing(overrides, snapshot)[1] if overrides else {})


def approving(state: State, found: Mapping[int, tuple[Approval, ...]]) -> State:
    """Add to the facts what people approved of, by row."""
    if not found:
        return state
    approved = np.zeros((len(state), len(ActionKind)), dtype=bool)
    for row, approvals in found.items():
        approved[row, [int(a.action) for a in approvals]] = True
    return replace(state, approved=approved)


_RULES = "the rules"
_ABOVE = "It is done beyond the limits, which had no room left."
_NO_SUCH = "has no such action"
_CHANGES = (OverrideKind.AMEND, OverrideKind.TONE_OFFSET)


def _capital(override: Override) -> str:
    text = str(override)
    return text[0].upper() + text[1:]


def _order(held: tuple[Override, ...], law: Bools, usual: Bools, actions: ActionSet) -> Order:
    forbidden = np.zeros(len(actions), dtype=bool)
    demanded, forcing = np.ones(len(actions), dtype=bool), False
    for o in held:
        if o.kind is OverrideKind.FORBID:
            forbidden |= o.concerns(actions)
        elif o.kind is OverrideKind.FORCE:
            demanded &= o.concerns(actions)
            forcing = True
    lawful = law & ~forbidden
    forced = forcing and bool((demanded & lawful).any())
    if forced:
        left = demanded & lawful
        kind = ActionKind(int(actions.kind[left.argmax()]))
        return Order(held, left, lawful, forced, kind, "", usual & ~forbidden)
    why = ""
    if forcing:
        why = f"the catalogue, which {_NO_SUCH}"
        if demanded.any():
            why = _RULES if not (demanded & law).any() else "what people forbid"
    house = usual & ~forbidden
    return Order(held, house, lawful, forced, ActionKind.WAIT, why, house)


def _stopping(
    held: tuple[Override, ...], state: State, layout: Layout, rules: Rules, row: int
) -> str:
    """Name the first rule that refuses all that was to be forced, or those that do so together."""
    demanded = np.ones(len(layout.actions), dtype=bool)
    for o in held:
        if o.kind is OverrideKind.FORCE:
            demanded &= o.concerns(layout.actions)
    part = []
    for p in sorted(rules.lawful.permissions, key=lambda p: p.rank):
        mask = np.append(p.refuse(state, layout, slice(row, row + 1))[0], False)
        refused = mask[layout.index[p.unit]][demanded]
        if refused.all():
            return f"{p.code} ({p.reason})"
        if refused.any():
            part.append(p.code)
    return " and ".join(part)


def _amended(override: Override, chosen: int, lawful: Bools, actions: ActionSet) -> tuple[int, int]:
    """Give what a change makes of the chosen action, and what it aims at.

    An action into which the law does not let it be changed stays. The aim is -1 where the
    catalogue, which may be that of a challenger, does not have it.
    """
    action = actions[chosen]
    new = override.new_tone or action.tone, override.new_offer or action.offer
    if new[0] not in actions.tones or new[1] not in actions.offers:
        return chosen, -1
    aim = actions.index(replace(action, tone=new[0], offer=new[1]))
    return (aim if lawful[aim] else chosen), aim


def _shifted(
    order: Order, chosen: int, steps: int, table: int, actions: ActionSet
) -> tuple[int, int]:
    """Give what a person's steps and those of the table make of an action, and what they aim at.

    They add up, and go as far as they may: the table only as far as the house's own rules do, the
    person as far as the law does.
    """
    action, rank = actions[chosen], int(actions.tone[chosen])
    end = min(max(rank + steps + table, 0), len(actions.tones) - 1)
    back = range(end, rank, 1 if end < rank else -1)
    shifted = [actions.index(replace(action, tone=actions.tones[r])) for r in back]
    may = order.lawful & (order.house | (actions.tone <= rank + max(steps, 0)))
    return next((k for k in shifted if may[k]), chosen), (shifted or [chosen])[0]


_TONES = (Unit.TONE, Unit.TREATMENT)


@dataclass(frozen=True, eq=False)
class Standing:
    """Overrides held against m decided actions, for the check before they are carried out.

    Attributes
    ----------
    against : bool array (m,)
        A person has decided otherwise since.
    forced : bool array (m,)
        A person forces the action: contact policy does not count.
    toned : bool array (m,)
        A person chose its tone or offer: what contact policy says of tones does not count.
    """

    against: Bools
    forced: Bools
    toned: Bools

    @classmethod
    def of(cls, orders: Orders, action: Ints, actions: ActionSet) -> Standing:
        """Hold the orders of each row against its action; below 0 = unknown."""
        masks = np.zeros((3, len(action)), dtype=bool)
        for row, order in orders.by_row.items():
            k = int(action[row])
            if k < 0:
                continue
            for o in order.overrides:
                masks[0, row] |= o.kind is OverrideKind.FORBID and bool(o.concerns(actions)[k])
                as_ordered = o.kind is OverrideKind.TONE_OFFSET or _as_amended(o, k, actions)
                masks[2, row] |= o.kind in _CHANGES and as_ordered and bool(actions.is_contact[k])
            masks[0, row] |= order.forced and not order.left[k]
            masks[1, row] = order.forced and order.left[k]
        return cls(*masks)

    def excused(self, unit: Unit) -> Bools:
        """Actions for which a rule of contact policy on this factor does not count."""
        return self.forced | self.toned if unit in _TONES else self.forced


def _as_amended(override: Override, k: int, actions: ActionSet) -> bool:
    action = actions[k]
    return (override.new_tone in {None, action.tone}) and (
        override.new_offer in {None, action.offer}
    )
