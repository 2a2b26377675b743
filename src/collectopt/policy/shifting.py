"""The table of tones shifts what is chosen for a segment; see `SegmentTone.offset`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectopt.rules.state import State
from collectopt.schema.actions import ActionSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Why a change of tone or offer was not made.
NOT_ALLOWED = "the law, or what people forbid, does not allow it"
_HOUSE = "the rules do not allow it"


@dataclass(frozen=True, eq=False)
class Shifts:
    """By how many tones what is chosen for n accounts is shifted, and what it becomes.

    Accounts for which people decided something are left to their orders, which count the table in.

    Attributes
    ----------
    steps : int array (n,)
        Below 0 = milder; 0 = as chosen.
    siblings : int array (K, T)
        Each action in every tone; an action without a tone is its own sibling.
    actions : ActionSet
    """

    steps: Ints
    siblings: Ints
    actions: ActionSet

    @classmethod
    def of(cls, state: State, given: Bools, actions: ActionSet) -> Shifts | None:
        """Lay the table on the accounts not given an order (n,); None where it shifts none."""
        if state.tone_offset is None:
            return None
        steps = np.where(given, 0, state.tone_offset)
        return cls(steps, siblings(actions), actions) if steps.any() else None

    def given(self, rows: slice) -> Bools:
        """Accounts whose tone is shifted, whatever is chosen for them."""
        return self.steps[rows] != 0

    def targets(self, steps: Ints, allowed: Bools) -> Ints:
        """Give what each action would become, (b, K), where ``allowed`` (b, K) is permitted.

        A shift goes as far as it may, to the end of the order of tones at most.
        """
        tone, last = self.actions.tone.astype(np.int64), len(self.actions.tones) - 1
        found = np.tile(np.arange(len(tone)), (len(steps), 1))
        for step in np.unique(steps).tolist():
            mine = np.flatnonzero(steps == step)
            for d in range(1, min(abs(step), last) + 1):
                further = np.clip(tone + (d if step > 0 else -d), 0, last)
                aim = self.siblings[np.arange(len(tone)), further]
                found[mine] = np.where(allowed[mine][:, aim], aim, found[mine])
        return found

    def regroup(  # noqa: PLR0917 - plain arrays of one block
        self, rows: Ints, values: Floats, allowed: Bools, group: Ints, best: Floats, action: Ints
    ) -> tuple[Floats, Ints, Ints]:
        """Put each action of shifted accounts into the class of what it would become.

        So limits count what is sent, not what was chosen.

        Parameters
        ----------
        rows : int array (b,)
            Accounts.
        values : ndarray (b, K)
            -inf = not permitted.
        allowed : bool array (b, K)
        group : int array (K,)
            Class of each action.
        best : ndarray (b, G)
            Worth of the best of each class, as chosen.
        action : int array (b, G)

        Returns
        -------
        best, action, sent
            As before, by the class of what is sent; ``sent`` (b, G) is what the action becomes.
        """
        best, action, sent = best.copy(), action.copy(), action.copy()
        own = np.flatnonzero(self.steps[rows])
        to = self.targets(self.steps[rows[own]], allowed[own])
        of, place = group[to], np.arange(len(own))
        for g in range(best.shape[1]):
            part = np.where(of == g, values[own], -np.inf)
            at = part.argmax(axis=1)
            there = np.isfinite(part[place, at])
            best[own, g] = part[place, at]
            action[own, g] = np.where(there, at, action[own, g])
            sent[own, g] = np.where(there, to[place, at], action[own, g])
        return best, action, sent

    def said(self, chosen: Ints, sent: Ints) -> Mapping[int, tuple[str, ...]]:
        """Say, by row, what became of the action chosen (n,)."""
        rows = np.flatnonzero(self.given(slice(None)) & self.actions.is_contact[chosen])
        return {
            row: (told(int(self.steps[row]), int(chosen[row]), int(sent[row]), self.actions),)
            for row in rows.tolist()
        }

    def trace(self, row: int) -> list[str]:
        """Give the line of the record for an account; none where nothing is shifted."""
        return traced(int(self.steps[row]))


def told(steps: int, chosen: int, sent: int, actions: ActionSet) -> str:
    """Say what the table of tones made of the action chosen."""
    became = f"instead of {actions.names[chosen]}"
    if sent == chosen:
        end = len(actions.tones) - 1 if steps > 0 else 0
        became = "it is so already" if actions.tone[chosen] == end else _HOUSE
    return f"The table of tones shifts the tone by {steps:+d}: {became}."


def traced(steps: int) -> list[str]:
    """Give the line of the record for a shift by the table of tones."""
    return [f"TONE_OFFSET: the table of tones shifts the tone by {steps:+d}"] if steps else []


def siblings(actions: ActionSet) -> Ints:
    """Each action in every tone, (K, T).

    Examples
    --------
    >>> rows = [{"channel": None, "tone": None}, {"channel": "email", "tone": "friendly"},
    ...         {"channel": "email", "tone": "firm"}]
    >>> siblings(ActionSet.from_frame(rows)).tolist()
    [[0, 0], [1, 2], [1, 2]]
    """
    found = np.tile(np.arange(len(actions))[:, None], (1, max(len(actions.tones), 1)))
    for k in np.flatnonzero(actions.is_contact).tolist():
        action = actions[k]
        found[k] = [actions.index(replace(action, tone=tone)) for tone in actions.tones]
    return found
