"""The rules for one account: what was judged for the same facts before is not judged again.

Nothing here knows a rule's logic, only which facts its answer hangs on. It is asked once for each
combination of them; a rule that is not known here is asked every time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collectopt.policy.engine import Bools, Ints
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.permissions import (
    Agency,
    Approval,
    Consent,
    ContactCap,
    Distress,
    FirstContactGentle,
    Hold,
    Hours,
    MaxToneStep,
    NoAddress,
    OptedOut,
    PastDue,
    Permission,
    QuietHours,
    Said,
    SlotPast,
)
from collectopt.rules.rules import Rules
from collectopt.rules.state import State

_ROW = slice(0, 1)
_KEPT = 50_000  # combinations of facts


def _least(belief: Any, bar: float) -> bool:
    return belief is not None and bool(belief[0] >= bar)


#: What the answer of a rule hangs on, of a state of one account; for exactly these classes.
_FACTS: Mapping[type[Permission], Callable[[Any, State], Hashable]] = {
    Hold: lambda p, s: bool(s.holds[p.kind][0]),
    PastDue: lambda p, s: (bool(s.past_due[0]), min(int(s.due_in[0]), p.pre_due_days + 1)),
    Consent: lambda _, s: s.consent.tobytes(),
    OptedOut: lambda _, s: s.opted_out.tobytes(),
    NoAddress: lambda _, s: s.bounced.tobytes(),
    FirstContactGentle: lambda _, s: bool(s.first[0]),
    MaxToneStep: lambda _, s: int(s.last_tone[0]),
    Hours: lambda _, s: str(s.local_day[0][:1]),
    QuietHours: lambda _, s: (s.land, str(s.local_day[0][:1])),
    SlotPast: lambda _, s: (s.send_at > s.as_of).tobytes(),
    ContactCap: lambda _, s: (
        (s.send_at.tobytes(), *(ends.tobytes() for ends in s.blocked)) if s.blocked[0].size else ()
    ),
    Agency: lambda p, s: (bool(s.own_contacts[0] < p.min_contacts), bool(s.past_due[0])),
    Approval: lambda _, s: (
        bool(s.consumer[0]),
        None if s.approved is None else s.approved.tobytes(),
    ),
    Said: lambda p, s: s.said is None or bool(s.said[p.kind][0]),
    Distress: lambda p, s: (
        bool(s.vulnerable[0]) or _least(s.distress, p.likely),
        _least(s.doubt, p.unclear) and bool(s.last_tone[0] <= 0),
    ),
}


@dataclass(frozen=True, eq=False)
class Judged:
    """What one account may get.

    Attributes
    ----------
    allowed : (K,) bool
    refused : (1, rules) int64
        How many actions each rule refuses, whatever the others say.
    bound : bool
        Whether nothing at all may be done to the customer.
    counts : (1, C) int64
        Permitted actions by channel.
    code : bytes
        Of `refused`, to look words up.
    """

    allowed: Bools
    refused: Ints
    bound: bool
    counts: Ints
    code: bytes


class QuickRules:
    """Rules of a catalogue, for one account at a time.

    Parameters
    ----------
    rules : Rules
    layout : Layout
    """

    def __init__(self, rules: Rules, layout: Layout) -> None:
        self.layout = layout
        known = [type(p) in _FACTS for p in rules.permissions]
        self.steady = [(j, p) for j, p in enumerate(rules.permissions) if known[j]]
        self.live = [(j, p) for j, p in enumerate(rules.permissions) if not known[j]]
        self.rules = Rules(tuple(p for _, p in self.steady))
        self.places = np.array([j for j, _ in self.steady], dtype=np.int64)
        self.count = len(rules.permissions)
        self.counts = {unit: layout.counts(unit) for unit in Unit}
        self.free = {unit: np.ones(layout.sizes[unit] + 1, dtype=bool) for unit in Unit}
        actions = layout.actions
        mine = np.where(actions.is_contact, actions.channel, -1)
        self.channels = [np.flatnonzero(mine == c) for c in range(len(actions.channels))]
        self._kept: dict[str, Judged] = {}

    def key(self, state: State) -> str:
        """Gather the facts of a state of one account that the steady rules hang on."""
        return repr([_FACTS[type(p)](p, state) for _, p in self.steady])

    def judge(self, state: State, key: str) -> Judged:
        """Judge every action for one account; the same as :meth:`Rules.evaluate`.

        Parameters
        ----------
        state : State
            Of one account.
        key : str
            ``key(state)``; a record holds that of its own time.
        """
        steady = self._kept.get(key)
        if steady is None:
            steady = self._judged(state, key)
        if not self.live:
            return steady
        refused, bound, allowed = steady.refused.copy(), steady.bound, steady.allowed
        for j, permission in self.live:
            unit = permission.unit
            mask = permission.refuse(state, self.layout, _ROW)
            number = int((mask @ self.counts[unit])[0])
            if not number:
                continue
            refused[0, j] = number
            free = self.free[unit]  # its last entry is always free
            np.logical_not(mask[0], out=free[:-1])
            allowed = allowed & free[self.layout.index[unit]]
            bound = bound or (unit is Unit.ACCOUNT)
        return self._made(allowed, refused, bound=bound)

    def _judged(self, state: State, key: str) -> Judged:
        verdict = self.rules.evaluate(state, self.layout, _ROW)
        refused = np.zeros((1, self.count), dtype=np.int64)
        refused[:, self.places] = verdict.refused
        found = self._made(verdict.allowed[0], refused, bound=bool(verdict.bound[0]))
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[key] = found
        return found

    def _made(self, allowed: Bools, refused: Ints, *, bound: bool) -> Judged:
        counts = np.array([[np.count_nonzero(allowed[mine]) for mine in self.channels]])
        return Judged(allowed, refused, bound, counts, refused.tobytes())
