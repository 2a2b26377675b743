"""Plain policies that learn nothing: the floors that a policy has to beat."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from collectopt.exceptions import InputError
from collectopt.policy.base import Policy
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.policy.ladder import channels_by_cost, step_weights
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf

_HOUR = 10.0  # in the middle of the morning, where nothing else is known


class _Plain(Policy):
    """A policy without anything to learn: ready as soon as it is made."""

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn nothing; the policy needs no data."""
        del ledger, as_of
        return self

    def _content(self) -> dict[str, Any]:
        return {}

    def _seal_now(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._seal(Path(folder))


class NoContact(_Plain):
    """Wait for everybody: what customers pay of their own accord.

    Parameters
    ----------
    catalogue : Catalogue
    rules : Rules or None
        None takes those of the catalogue.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> NoContact(Catalogue.default())
    NoContact()
    """

    kind: ClassVar[str] = "no_contact"

    def __init__(self, catalogue: Catalogue, rules: Rules | None = None) -> None:
        super().__init__(catalogue, rules)
        self._seal_now()

    def __repr__(self) -> str:
        return "NoContact()"

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        del snapshot
        return _Fixed(np.full((len(state), 1), -np.inf), len(self.catalogue.actions)), {}


class Random(_Plain):
    """Draw actions without looking at the account, inside the rules and the limits.

    With probability `contact` an account draws one of the channels that are open to it or to wait,
    all alike, and then a permitted action of that channel, all alike; else it waits. The
    propensities are exact: a scarce channel is open to so many accounts only that no draw can
    break a limit, for which the share `contact` of each limit is set aside. Such a log is what a
    first experiment would leave.

    Parameters
    ----------
    catalogue : Catalogue
    contact : float
        Probability to draw, above 0 and up to 1.
    rules : Rules or None
        None takes those of the catalogue.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> Random(Catalogue.default(), contact=0.2)
    Random(contact=0.2)
    """

    kind: ClassVar[str] = "random"
    explores_evenly: ClassVar[bool] = True

    def __init__(
        self, catalogue: Catalogue, contact: float = 0.3, rules: Rules | None = None
    ) -> None:
        super().__init__(catalogue, rules)
        if not 0.0 < contact <= 1.0:
            raise InputError.of(
                "Random", "contact", expected="above 0 and up to 1", found=repr(contact)
            )
        self.contact = float(contact)
        self._seal_now()

    def __repr__(self) -> str:
        return f"Random(contact={self.contact})"

    @property
    def explore(self) -> float:
        """Probability to draw."""
        return self.contact

    def _content(self) -> dict[str, Any]:
        return {"contact": self.contact}

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        del snapshot
        return _Fixed(np.full((len(state), 1), -np.inf), len(self.catalogue.actions)), {}


class Everybody(_Plain):
    """Send the same message to everybody with something past due, again and again.

    Where the account may not be written to by the channel, the next channel by cost is taken;
    channels that take staff minutes only if there is no other. Where a limit binds, the larger
    debts go first.

    Parameters
    ----------
    catalogue : Catalogue
    channel : str or None
        None: the cheapest without staff minutes.
    tone : str or None
        None: the gentlest.
    offer : str
    every_days : int
        Fewest local days from one contact to the next.
    rules : Rules or None
        None takes those of the catalogue.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> Everybody(Catalogue.default())
    Everybody(channel='email', tone='friendly', offer='none', every_days=7)
    """

    kind: ClassVar[str] = "everybody"

    def __init__(
        self,
        catalogue: Catalogue,
        channel: str | None = None,
        tone: str | None = None,
        *,
        offer: str = "none",
        every_days: int = 7,
        rules: Rules | None = None,
    ) -> None:
        super().__init__(catalogue, rules)
        self.channel = channels_by_cost(catalogue)[0] if channel is None else channel
        self.tone = catalogue.tone_names[0] if tone is None else tone
        self.offer, self.every_days = offer, int(every_days)
        for what, value, names in (
            ("channel", self.channel, catalogue.channel_names),
            ("tone", self.tone, catalogue.tone_names),
            ("offer", self.offer, catalogue.offers.names),
        ):
            if value not in names:
                raise InputError.of(
                    "Everybody", what, expected="one of " + ", ".join(names), found=repr(value)
                )
        if self.every_days < 1:
            raise InputError.of(
                "Everybody", "every_days", expected="at least 1", found=repr(every_days)
            )
        self._seal_now()

    def __repr__(self) -> str:
        return (
            f"Everybody(channel={self.channel!r}, tone={self.tone!r}, offer={self.offer!r}, "
            f"every_days={self.every_days})"
        )

    def _content(self) -> dict[str, Any]:
        names = ("channel", "tone", "offer", "every_days")
        return {name: getattr(self, name) for name in names}

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        del snapshot
        actions = self.catalogue.actions
        weights = step_weights(actions, self.catalogue, self.channel, self.tone, self.offer)
        # of equal contacts the soonest one near ten o'clock; far less than a step of channel
        later = np.maximum(actions.day, 0) + np.abs(np.nan_to_num(actions.hour) - _HOUR) / 24.0
        due = state.days_since_contact >= self.every_days
        worth = np.where(due, 1.0 + state.open_amount, np.nan)[:, None]
        return _Fixed(worth, len(actions), weights * (1.0 - 1e-3 * later)), {}


class _Fixed(Case):
    """The same weight of each action for all, times a worth of the account; nan = it waits."""

    def __init__(self, worth: Floats, actions: int, weight: Floats | None = None) -> None:
        self.worth = worth
        self.weight = np.ones(actions) if weight is None else weight

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Worth of the account times the weight of the action."""
        worth = self.worth[rows]
        with np.errstate(invalid="ignore"):
            values = worth * self.weight[columns]
        return np.where(np.isnan(worth), -np.inf, values)

    def details(self, rows: slice, action: Ints) -> Details:
        """Say nothing: a plain policy knows no probabilities."""
        del rows
        unknown = np.full(len(action), np.nan)
        return Details(unknown, unknown, unknown, unknown)
