"""A simulated book: accounts with known truth, and the log that a randomised ladder leaves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collectopt.exceptions import InputError
from collectopt.schema import Catalogue, Ledger
from collectopt.simulation import export, history, ladder, world
from collectopt.simulation.calendar import Calendar
from collectopt.simulation.capacities import Terms
from collectopt.simulation.feed import Feed
from collectopt.simulation.kinds import CHANNELS, OFFERS, TONES, CustomerType, kind_of
from collectopt.simulation.noise import FloatArray, IntArray, Noise
from collectopt.simulation.population import METHODS, Population, draw_population
from collectopt.simulation.result import Result
from collectopt.simulation.run import Entry, Policy, Tick, check_length, compare, named, play
from collectopt.simulation.state import State
from collectopt.simulation.trial import Arm, Effect, trial
from collectopt.simulation.whatif import vary

LADDER = "ladder"
POLICIES = (LADDER, "policy")


@dataclass(frozen=True)
class Truth:
    """What no ledger shows; arrays over the n accounts in the order of `account_id`.

    Attributes
    ----------
    account_id : (n,) str
    type : (n,) str
        Latent type: punctual, forgetful, slow, distressed, strategic, disputing, unreachable.
    reach : (n, 4) float64
        Probability by channel (email, sms, letter, phone) that a contact at the preferred hour
        reaches the person.
    preferred_hour : (n,) float64
        Local hour at which the person is reached best.
    preferred_weekday : (n,) int64
        Day of the week on which the person is reached best, 0 = Monday.
    persuasion : (n, 4, 3) float64
        Cumulative hazard of paying what is past due that a contact adds, by channel and tone,
        once it reaches a person who is not tired of contacts; 0.09 = about 9 points of those who
        would not have paid. It wears off over some weeks. `wording` is in it.
    wording : (4, 3) float64
        Hidden quality of each wording by channel and tone, a factor on what the contact brings;
        mean 1 over the tones of a channel, drawn from the seed.
    tight : (n,) bool
        Whether money is short at the end of the log.
    left_on : (n,) datetime64[D]
        Day on which the customer gave notice, NaT = still a customer. Under a contract, invoices
        go on until its end.
    shifts_on : (k,) datetime64[D]
        Days on which the world changes ("drift"), those after the end of the log too.
    propensities : pyarrow.Table
        contact_id and the true factors of the propensity: p_contact (or of waiting),
        p_channel, p_tone, p_offer, p_slot (day and hour). Those of a confounded log stand here
        alone: its ledger has none.
    cancelled : (m,) str
        Ids of contacts that were decided but not sent, as nothing was past due any more.
    """

    account_id: npt.NDArray[np.str_]
    type: npt.NDArray[np.str_]
    reach: FloatArray
    preferred_hour: FloatArray
    preferred_weekday: IntArray
    persuasion: FloatArray
    wording: FloatArray
    tight: npt.NDArray[np.bool_]
    left_on: npt.NDArray[np.datetime64]
    shifts_on: npt.NDArray[np.datetime64]
    propensities: pa.Table
    cancelled: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Book:
    """A simulated book of receivables.

    Every Monday at six a randomised ladder decides for each account that may be contacted; its
    choices, waits included, are logged with exact propensities; where nothing could be chosen
    (nothing past due, a hold, no permitted channel) nothing is logged. The same seed gives the same
    bytes, a longer book begins with the shorter one, and account i is the same in books of any
    size.

    A decision that was overtaken by a payment (nothing past due when the contact was to go out)
    stays in the log with its propensity, or else effects read off the log would be biased; it is
    not sent, costs 0 and draws no response. Old claims are written off (in a shop after 180 days
    past due): a hold ``do_not_contact`` on the claim.

    Parameters
    ----------
    kind : str
        An industry: "shop" (mail order), "subscription" (small monthly amounts), "utility"
        (monthly advances, a settlement a year), "b2b" (businesses, long terms, large amounts),
        "telco" (contracts with a minimum term). Or a shop with a trait: "placebo" (no contact
        has any effect, good or bad), "confounded" (the people who made the log knew more than
        it shows; it has no propensities), "drift" (the world changes), "subtle" (effects at the
        lower end of the evidence).
    accounts : int
        Number of accounts, 1 to 999,999.
    seed : int
        Seed of the world.
    weeks : int
        Length of the log, 1 to 520.

    Raises
    ------
    InputError
        The kind does not exist, or a number is out of range.

    Examples
    --------
    >>> book = Book("shop", accounts=50, seed=1, weeks=8)
    >>> book.as_of.isoformat()
    '2025-10-27T05:00:00+00:00'
    >>> book.ledger().accounts.num_rows
    50
    """

    kind: str = "shop"
    accounts: int = 10_000
    seed: int = 0
    weeks: int = 60

    def __post_init__(self) -> None:
        kind_of(self.kind)
        for name, low, high in (("accounts", 1, 999_999), ("seed", 0, 2**63), ("weeks", 1, 520)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or not low <= value <= high:
                raise InputError.of(
                    "Book", name, expected=f"a whole number from {low} to {high}", found=repr(value)
                )

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue under which the log was made."""
        return Catalogue.from_dict(ladder.catalogue_spec(kind_of(self.kind), self.accounts))

    @cached_property
    def _costs(self) -> FloatArray:
        spec: Any = ladder.catalogue_spec(kind_of(self.kind), self.accounts)
        return np.array([channel["cost"] for channel in spec["channels"]] + [0.0])

    @cached_property
    def _people(self) -> Population:
        return draw_population(kind_of(self.kind), self.accounts, Noise(self.seed))

    @cached_property
    def _end(self) -> State:
        """The world at the end of the log; fork it, never change it."""
        state = State(kind_of(self.kind), self._people, Noise(self.seed), Calendar())
        world.begin_day(state)
        for _ in range(self.weeks):
            holidays = tuple(state.calendar.is_holiday(state.day + d) for d in range(7))
            slots = ladder.slot_weights(holidays, state.kind)
            week = state.day // 7
            plan = ladder.decide(world.sight(state), state.noise, week, slots)
            play(state, plan, policy=0)
        return state

    @cached_property
    def as_of(self) -> dt.datetime:
        """End of the log, the moment of the next decision (UTC)."""
        return export.as_of(self._end)

    @cached_property
    def _tables(self) -> dict[str, pa.Table]:
        return export.tables(self._end, self._costs, (LADDER,))

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger.from_frames(**self._tables, timezone=self._end.calendar.timezone)

    def ledger(self) -> Ledger:
        """Give all that the creditor knows at `as_of`."""
        return self._ledger

    @cached_property
    def truth(self) -> Truth:
        """What the creditor does not know."""
        people, state = self._people, self._end
        effects, drift = state.kind.effects, state.kind.drift
        strength = np.array(effects.strength)[:, None] * effects.scale * state.wording
        weeks = np.array([] if drift is None else drift.weeks, dtype=np.int64)
        left = state.calendar.dates(state.left)
        left[state.left > state.day] = np.datetime64("NaT")
        names = np.array([of.name.lower() for of in CustomerType])
        return Truth(
            account_id=export.account_ids(len(people)),
            type=names[people.type],
            reach=people.reach * ~people.bad_address,
            preferred_hour=people.hour,
            preferred_weekday=people.weekday,
            persuasion=people.persuasion[:, None, None] * strength * people.tone[:, None, :],
            wording=state.wording,
            tight=state.tight,
            left_on=left,
            shifts_on=state.calendar.dates(7 * weeks),
            propensities=export.propensities(state),
            cancelled=export.cancelled(state),
        )

    @property
    def _told(self) -> dict[str, pa.Table]:
        fees, milestones = export.fees(self._end), export.milestones(self._end)
        return {**self._tables, "fees": fees, "milestones": milestones}

    def timeline(self, account_id: str) -> str:
        """Write the history of an account as text.

        Raises
        ------
        InputError
            No account has that id.
        """
        ids = export.account_ids(self.accounts)
        place = int(np.searchsorted(ids, account_id))
        if place >= self.accounts or ids[place] != account_id:
            raise InputError.of(
                "accounts",
                "account_id",
                expected=f"an id from {ids[0]} to {ids[-1]}",
                found=repr(account_id),
            )
        people = self._people
        title = (
            f"{account_id}: {self.truth.type[place]} "
            f"{'business' if people.business[place] else 'consumer'}, pays by "
            f"{METHODS[people.method[place]]}, "
            f"customer since {self._end.calendar.date(int(people.since[place]))}"
        )
        return history.timeline(self._told, account_id, self._end.calendar.timezone, title)

    def effect(
        self,
        channel: str,
        tone: str = "friendly",
        offer: str = "none",
        *,
        day: int = 0,
        hour: float = 10.0,
        days: int = 28,
    ) -> Effect:
        """Measure what one contact at `as_of` changes, with both outcomes of every account.

        Every account that may be contacted by the channel lives twice, with the contact and
        without it, on the same luck; nobody gets another contact. The outcome is that everything
        past due at `as_of` is settled within some days.

        Parameters
        ----------
        channel, tone, offer : str
            The contact.
        day : int
            Day offset of the contact, 0 to 6.
        hour : float
            Its local hour, from 7 to 20.
        days : int
            Length of the trial.

        Raises
        ------
        InputError
            A name is unknown or a number out of range.
        """
        codes = []
        for what, value, names in (
            ("channel", channel, CHANNELS),
            ("tone", tone, TONES),
            ("offer", offer, OFFERS),
        ):
            if value not in names:
                raise InputError.of(
                    "effect", what, expected="one of " + ", ".join(names), found=repr(value)
                )
            codes.append(names.index(value))
        for what, number, low, high in (
            ("day", day, 0, 6),
            ("hour", hour, 7, 20),
            ("days", days, 1, 3650),
        ):
            if not low <= number <= high:
                raise InputError.of(
                    "effect", what, expected=f"from {low} to {high}", found=repr(number)
                )
        return trial(self._end, Arm(codes[0], codes[1], codes[2], day, hour), days)

    def run(
        self,
        policies: Mapping[str, Policy] | Sequence[Policy],
        weeks: int = 26,
        seeds: int = 1,
        *,
        catalogue: Catalogue | None = None,
        tick: Tick | None = None,
    ) -> Result:
        """Let policies decide in this world after the end of the log, each in a copy of it.

        In every replicate all policies share their luck, so differences between them come from
        what they do. The first replicate lives on with the book's own luck, the others with other
        luck from the end of the log on. A contact that is not permitted or has been overtaken when
        it is to go out is not sent; what exceeds the capacities or the budget of a weekly run is
        dropped, first come by the order of the decisions.

        Parameters
        ----------
        policies : mapping of str to policy, or sequence of policies
            Objects with ``decide(ledger, as_of, rng)``; in a sequence they are named by their
            type. They decide in every replicate, so they must not remember what they saw before.
            One with a method ``watch(state)`` is shown the truth before each decision.
        weeks : int
            Number of weekly decisions, 1 to 520.
        seeds : int
            Number of replicates, 1 to 10,000.
        catalogue : Catalogue or None
            Prices and limits of the run; None = those of the book.
        tick : callable or None
            Called as ``tick(weeks done, weeks in all, policy)``; None = a bar on a terminal.

        Returns
        -------
        Result

        Raises
        ------
        InputError
            A number is out of range, there is no policy, or a decision cannot be carried out.

        Examples
        --------
        >>> from collectopt.policy import FixedLadder
        >>> book = Book("shop", accounts=50, seed=1, weeks=8)
        >>> result = book.run([FixedLadder(book.catalogue)], weeks=2)
        >>> result.policies
        ('FixedLadder',)
        """
        check_length(weeks, seeds)
        terms = Terms.of(self.catalogue if catalogue is None else catalogue)
        entries = {name: Entry(policy, terms) for name, policy in named(policies).items()}
        outcomes = compare(self._end, entries, weeks, seeds, self._feed, tick=tick)
        return Result(self.kind, self.accounts, weeks, outcomes)

    def what_if(
        self,
        policy_of: Callable[[Catalogue], Policy],
        scenarios: Mapping[str, Catalogue | Mapping[str, object]],
        weeks: int = 26,
        seeds: int = 1,
        *,
        base: Catalogue | None = None,
        tick: Tick | None = None,
    ) -> Result:
        """Change the catalogue and see what it brings, on common random numbers.

        Parameters
        ----------
        policy_of : callable
            Makes the policy for a catalogue, such as ``FixedLadder``.
        scenarios : mapping of str to Catalogue or mapping
            Name -> a catalogue, or the entries of the base that change, by dotted keys:
            ``{"limits.budget": 500, "channels.phone.capacity": 20, "house.max_tone_step": 0}``;
            None removes an entry. The world keeps the limits and prices of the scenario.
        weeks, seeds : int
            As in `run`.
        base : Catalogue or None
            What is changed; None = the catalogue of the book. It runs too, as "base".
        tick : callable or None
            As in `run`.

        Returns
        -------
        Result
            One row a scenario; ``result.plot_frontier()`` draws cost against recovery.

        Raises
        ------
        InputError
            A key does not exist, a number is out of range, or a decision cannot be carried out.

        Examples
        --------
        >>> from collectopt.policy import FixedLadder
        >>> book = Book("shop", accounts=50, seed=1, weeks=8)
        >>> result = book.what_if(FixedLadder, {"no letters": {"channels.letter": None}}, weeks=2)
        >>> result.policies
        ('base', 'no letters')
        """
        check_length(weeks, seeds)
        plain = self.catalogue if base is None else base
        catalogues = vary(plain, scenarios)
        policies = named({name: policy_of(of) for name, of in catalogues.items()})
        entries = {name: Entry(policies[name], Terms.of(of)) for name, of in catalogues.items()}
        outcomes = compare(self._end, entries, weeks, seeds, self._feed, tick=tick)
        return Result(self.kind, self.accounts, weeks, outcomes)

    @cached_property
    def _feed(self) -> Feed:
        return Feed(self._costs, POLICIES)

    def _see(self, state: State) -> Ledger:
        tables = export.tables(state, self._costs, POLICIES)
        return Ledger.from_frames(**tables, timezone=state.calendar.timezone)
