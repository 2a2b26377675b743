"""The upper mark: a policy that sees the truth, and chooses within the same rules and limits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from collectopt.exceptions import InputError, NotFittedError
from collectopt.policy.base import Policy
from collectopt.policy.engine import ALL, Bools, Case, Details, Rows
from collectopt.rules.rules import Rules
from collectopt.rules.state import State as Facts
from collectopt.schema import ActionSet, Catalogue, Ledger, Snapshot
from collectopt.schema.times import AsOf
from collectopt.simulation.export import account_ids
from collectopt.simulation.foresight import READ_DAYS, Foresight
from collectopt.simulation.kinds import CHANNELS, LETTER, OFFERS, TONES
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.state import State
from collectopt.simulation.worth import Prices, Worth

_POST = np.array([2, 2, 2, 4, 4, 4, 3])  # days a letter takes, by weekday of sending


class Informed(Policy):
    """Choose with the truth before the eyes: the upper mark of a simulated book.

    It knows who everybody is: reach by channel and hour, what a contact changes by channel and
    tone, fatigue, who is short of money today, who would promise, keep, accept instalments, leave
    or complain, and the true hazards of every claim. It does not know the luck to come. From these
    it computes what each action is worth in EUR (see `collectopt.simulation.worth`), and the
    choice under rules, capacities and budget is made as for every other policy.

    It is myopic and no proven optimum: it counts neither what a contact tires for later ones nor
    what later ones would bring anyway, and leaves out claims that are not yet due.

    Parameters
    ----------
    catalogue : Catalogue
    rules : Rules or None
        None takes those of the catalogue.

    Examples
    --------
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=200, seed=1, weeks=12)
    >>> result = book.run([Informed(book.catalogue)], weeks=2)
    """

    kind: ClassVar[str] = "informed"

    def __init__(self, catalogue: Catalogue, rules: Rules | None = None) -> None:
        super().__init__(catalogue, rules)
        actions = catalogue.actions
        for what, names, known in (
            ("channel", actions.channels, CHANNELS),
            ("tone", actions.tones, TONES),
            ("offer", actions.offers, OFFERS),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError.of(
                    "Informed", what, expected="one of " + ", ".join(known), found=repr(unknown[0])
                )
        self._world: State | None = None
        with tempfile.TemporaryDirectory() as folder:
            self._seal(Path(folder))

    def __repr__(self) -> str:
        return "Informed()"

    def watch(self, state: State) -> None:
        """Look at the true state of the world; to be called before each decision."""
        self._world = state

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn nothing: what could be learnt is known."""
        del ledger, as_of
        return self

    def _content(self) -> dict[str, Any]:
        return {}

    def _case(self, snapshot: Snapshot, state: Facts) -> tuple[Case, Mapping[str, Bools]]:
        if self._world is None:
            raise NotFittedError(
                "Informed has not seen the world: call watch(state) before decide, as Book.run does"
            )
        return _InformedCase(self._world, snapshot, state, self.catalogue), {}


class _InformedCase(Case):
    """True worth of the actions for the accounts with something past due."""

    def __init__(
        self, world: State, snapshot: Snapshot, facts: Facts, catalogue: Catalogue
    ) -> None:
        self.actions: ActionSet = catalogue.actions
        self.facts = facts
        ids = snapshot.rows["account_id"].to_numpy(zero_copy_only=False).astype(np.str_)
        account = np.searchsorted(account_ids(len(world.people)), ids)
        self.late = np.flatnonzero(facts.past_due)
        cost = np.zeros(len(CHANNELS))
        for channel in catalogue.channels:
            cost[CHANNELS.index(channel.name)] = channel.cost
        prices = Prices(cost, catalogue.value.complaint_cost, catalogue.discount_rate)
        self.worth = Worth(Foresight(world, account[self.late]), prices)
        self.weekday = world.calendar.date(world.day).weekday()

    @cached_property
    def codes(self) -> tuple[IntArray, IntArray, IntArray]:
        """Channel, tone and offer of each contact in the codes of the world."""
        a, contact = self.actions, self.actions.is_contact
        pairs = ((a.channels, a.channel, CHANNELS), (a.tones, a.tone, TONES),
                 (a.offers, a.offer, OFFERS))  # fmt: skip
        found = [np.array([known.index(name) for name in names])[code[contact]]
                 for names, code, known in pairs]  # fmt: skip
        return found[0], found[1], found[2]

    @cached_property
    def table(self) -> FloatArray:
        """Worth of each action to the accounts with something past due, (late, K)."""
        a, contact = self.actions, self.actions.is_contact
        channel, tone, offer = self.codes
        hours, hour = np.unique(a.hour[contact], return_inverse=True)
        day = a.day[contact].astype(np.int64)
        post = np.where(channel == LETTER, _POST[(self.weekday + day) % 7], 0)
        read = np.minimum(day + post, READ_DAYS - 1)
        gains = self.worth.gains[:, channel, tone, offer, read] - self.worth.harms[:, tone, read]
        reach = self.worth.reach(hours, int(day.max(initial=0)) + 1)
        gains *= reach[:, channel, hour.reshape(-1), day]
        gains -= self.worth.open_now[:, day] * a.cost[contact]
        table = np.full((len(self.late), len(a)), -np.inf)
        table[:, contact] = gains
        table[:, 0] = 0.0
        return table

    def values(self, rows: Rows, columns: Rows = ALL) -> FloatArray:
        """Worth of actions in EUR; nothing is wanted where nothing is past due."""
        place = np.full(len(self.facts), -1)
        place[self.late] = np.arange(len(self.late))
        here = place[rows]
        mine = np.flatnonzero(here >= 0)
        table = self.table[:, columns]
        values = np.full((len(here), table.shape[1]), -np.inf)
        values[mine] = table[here[mine]]
        return values

    def details(self, rows: slice, action: IntArray) -> Details:
        """Report the worth; probabilities are not computed."""
        unknown = np.full(len(action), np.nan)
        values = self.values(rows)[np.arange(len(action)), action]
        return Details(unknown, unknown, unknown, np.where(action > 0, values, 0.0))
