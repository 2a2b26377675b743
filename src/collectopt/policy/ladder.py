"""The classic reminder ladder: steps at fixed days past due, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from collectopt.exceptions import InputError
from collectopt.policy.base import Policy
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf


class FixedLadder(Policy):
    """Send step 1 at ``days[0]`` days past due, step 2 at ``days[1]``, and so on.

    Each step takes the next tone (the last one stays) and the next channel by cost; channels that
    take staff minutes are left out unless there is no other. A step is sent once, the next only
    after it and no sooner than the days between them. Steps are counted since the oldest claim
    fell due: when another claim becomes the oldest, the ladder starts again for it and never
    skips a step. Where the step's channel or tone is not permitted, the nearest permitted gentler
    one is taken.

    Parameters
    ----------
    catalogue : Catalogue
    days : sequence of int
        Days past due of the steps, rising.
    rules : Rules or None
        None takes those of the catalogue.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> ladder = FixedLadder(Catalogue.default(), days=(3, 14, 28))
    >>> ladder
    FixedLadder(days=(3, 14, 28))
    >>> ladder.steps
    (('email', 'friendly'), ('sms', 'neutral'), ('letter', 'firm'))
    """

    kind: ClassVar[str] = "fixed_ladder"

    def __init__(
        self,
        catalogue: Catalogue,
        days: Sequence[int] = (3, 14, 28),
        rules: Rules | None = None,
    ) -> None:
        super().__init__(catalogue, rules)
        self.days = tuple(int(day) for day in days)
        if not self.days or self.days[0] < 1 or any(np.diff(self.days) <= 0):
            raise InputError.of(
                "FixedLadder",
                "days",
                expected="rising days past due from 1 on",
                found=repr(days),
                hint="For example days=(3, 14, 28).",
            )
        self._seal_now()

    def _seal_now(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._seal(Path(folder))

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Channel and tone of each step."""
        order, tones = channels_by_cost(self.catalogue), self.catalogue.tone_names
        return tuple(
            (order[min(j, len(order) - 1)], tones[min(j, len(tones) - 1)])
            for j in range(len(self.days))
        )

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn nothing; a ladder needs no data."""
        del ledger, as_of
        return self

    def __repr__(self) -> str:
        return f"FixedLadder(days={self.days})"

    def _content(self) -> dict[str, Any]:
        return {"days": list(self.days)}

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        del snapshot
        return _LadderCase(self, state), {}


class _LadderCase(Case):
    def __init__(self, ladder: FixedLadder, state: State) -> None:
        self.actions = ladder.catalogue.actions
        self.open_amount = state.open_amount
        days = np.array(ladder.days)
        gaps = np.diff(days, prepend=-1_000_000)
        step = np.minimum(state.own_contacts, len(days) - 1)
        due = (
            (state.own_contacts < len(days))
            & (state.days_past_due >= days[step])
            & (state.days_since_contact >= np.where(state.own_contacts > 0, gaps[step], -_FAR))
        )
        self.step = np.where(due, step, -1)
        self.days_past_due = state.days_past_due
        self.days = ladder.days
        fits = [step_weights(self.actions, ladder.catalogue, *s) for s in ladder.steps]
        self.fit = np.stack([*fits, np.full(len(self.actions), -np.inf)])

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Open amount, less where the action is not the step's own: the larger debts go first."""
        return (1.0 + self.open_amount[rows, None]) * self.fit[:, columns][self.step[rows]]

    def details(self, rows: slice, action: Ints) -> Details:
        """Name the step; a ladder knows no probabilities."""
        unknown = np.full(len(action), np.nan)
        notes = []
        for step, dpd, k in zip(self.step[rows], self.days_past_due[rows], action, strict=True):
            of = f"of {len(self.days)} of the ladder (day {self.days[step]})"
            notes.append(f"Step {step + 1} {of}: {dpd} days past due." if k and step >= 0 else "")
        return Details(unknown, unknown, unknown, unknown, {}, tuple(notes))


_FAR = 10**9


def channels_by_cost(catalogue: Catalogue) -> tuple[str, ...]:
    """Channels without staff minutes, the cheapest first; all where each takes minutes."""
    free = [c for c in catalogue.channels if c.minutes == 0] or list(catalogue.channels)
    return tuple(c.name for c in sorted(free, key=lambda c: c.cost))


def step_weights(
    actions: ActionSet, catalogue: Catalogue, channel: str, tone: str, offer: str = "none"
) -> Floats:
    """Weight of each action for a step: 1 for its own channel and tone, less for gentler ones."""
    order = [channel, *(c for c in channels_by_cost(catalogue) if c != channel)]
    rank = {actions.channels.index(name): r for r, name in enumerate(order)}
    top = actions.tones.index(tone)
    chosen = actions.offers.index(offer) if offer in actions.offers else 0
    weights = np.full(len(actions), -np.inf)
    for k in np.flatnonzero(actions.is_contact & (actions.offer == chosen)):
        if int(actions.channel[k]) in rank and actions.tone[k] <= top:
            gentler = int(top - actions.tone[k])
            weights[k] = 0.5**gentler * 0.9 ** rank[int(actions.channel[k])]
    return weights
