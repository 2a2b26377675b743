"""A Gymnasium environment: one account a case, one decision a week, inside the simulated world."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from collectopt._lazy import extra
from collectopt.exceptions import InputError, MissingExtraError
from collectopt.schema import Catalogue
from collectopt.simulation import export, history, ladder, observing, world
from collectopt.simulation.cases import Starts
from collectopt.simulation.kinds import OFFERS, TONES, kind_of
from collectopt.simulation.noise import IntArray
from collectopt.simulation.population import CARD, DIRECT_DEBIT
from collectopt.simulation.record import RESPONSES
from collectopt.simulation.state import State

ENVIRONMENT = "collectopt/Collections-v0"
_COMPLAINED = RESPONSES.index("complained")
_PATIENCE = 3  # decisions for which a settled case stays open where a debit may come back
Mask = tuple[npt.NDArray[np.int8], ...]
Observation = npt.NDArray[np.float32]


def _base() -> Any:
    """Find the class to derive from; without it, making an environment says what to install."""
    try:
        return extra("gymnasium", extra="gym").Env
    except MissingExtraError:
        return object


_starts = lru_cache(maxsize=4)(Starts)


class CollectionsEnv(_base()):  # type: ignore[misc]
    """Collect one case: one account, one decision every Monday at six.

    A case opens when an account of a book that nobody has contacted falls past due; it is made of
    all claims that are open then. It ends (terminated) once they are settled or written off, or
    the customer is insolvent; where a direct debit may still come back, two weeks later. It is cut
    off (truncated) after `weeks` decisions. Life goes on beside it: new claims arrive, fall due and
    are paid, but they belong to later cases and their money to other episodes.

    Action: channel (0 = wait, then e-mail, SMS, letter, phone), tone, offer, slot (hour). It goes
    out on the first day of the week on which the channel works, at the hour of its own nearest to
    that of the slot. ``info["action_mask"]`` says what is allowed, as ``action_space.sample``
    takes it: nothing past due, a hold or a missing consent leave only waiting; the tone rises by
    one step at most. A forbidden action is a wait and ``info["refused"]`` is true. A contact that a
    payment overtakes is not sent and costs nothing.

    Observation: what the creditor knows, in the order of ``observation_names``; no latent trait.

    Reward: EUR of the week = money on the claims of the case (returned debits are negative, credit
    notes no money) - cost of contacts sent - complaints x their cost - lifetime value if a contact
    drove the customer away, discounted to the opening of the case at the rate of the catalogue: an
    agent's own discount factor may be 1. The parts stand in `info`, and all of it is simulated.

    Parameters
    ----------
    kind : str
        Kind of book, see `Book`.
    weeks : int
        Decisions after which a case is cut off, 1 to 104.
    book_seed, book_accounts : int
        Seed and size of the book whose accounts are played; it is lived through once, at the first
        case. ``reset(seed=...)`` draws the account and everything that will happen to it.
    render_mode : "ansi" or None
        "ansi": `render` writes the history of the account, in text.

    Raises
    ------
    MissingExtraError
        gymnasium is not installed.
    InputError
        The kind does not exist, a number is out of range, or the book is too small to have a case
        (at the first `reset`).

    Examples
    --------
    >>> env = CollectionsEnv("shop", weeks=4)
    >>> observation, info = env.reset(seed=1)
    >>> action = env.action_space.sample(mask=info["action_mask"])
    >>> observation, reward, terminated, truncated, info = env.step(action)
    >>> len(observation) == len(env.observation_names)
    True

    By name: ``gymnasium.make("collectopt.simulation.environment:collectopt/Collections-v0")``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}
    observation_names: ClassVar[tuple[str, ...]] = observing.NAMES

    def __init__(
        self,
        kind: str = "shop",
        weeks: int = 26,
        *,
        book_seed: int = 0,
        book_accounts: int = 1024,
        render_mode: str | None = None,
    ) -> None:
        spaces = extra("gymnasium", extra="gym").spaces
        of = kind_of(kind)
        for what, number, most in (("weeks", weeks, 104), ("book_accounts", book_accounts, 10**6)):
            if not 1 <= number <= most:
                raise InputError.of(
                    "CollectionsEnv", what, expected=f"from 1 to {most}", found=repr(number)
                )
        if render_mode not in {None, "ansi"}:
            raise InputError.of(
                "CollectionsEnv", "render_mode", expected="'ansi' or None", found=repr(render_mode)
            )
        self.kind, self.weeks = kind, int(weeks)
        self._book = (kind, int(book_accounts), int(book_seed))
        self.render_mode = render_mode
        self.catalogue = Catalogue.from_dict(ladder.catalogue_spec(of, 1))
        self._costs = np.array([*(channel.cost for channel in self.catalogue.channels), 0.0])
        low, high = observing.bounds()
        self.observation_space = spaces.Box(
            low.astype(np.float32), high.astype(np.float32), dtype=np.float32
        )
        self._sizes = (len(self._costs), len(TONES), len(OFFERS), len(ladder.HOURS))
        self.action_space = spaces.MultiDiscrete(self._sizes)
        self._state: State | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Open a new case.

        Parameters
        ----------
        seed : int or None
            Seed of this case and of those after it; the same seed gives the same.
        options : dict or None
            Not used.
        """
        super().reset(seed=seed)
        del options
        starts = _starts(*self._book).all
        start = starts[int(self.np_random.integers(len(starts)))]
        state = start.open_case(int(self.np_random.integers(2**62)))
        claims = state.claims
        self._case = claims.active[~claims.written_off[claims.active]]
        self._state, self._opened, self._week, self._settled = state, state.day, 0, 0
        return self._observe(), self._info(refused=False)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Decide, and live until the next decision.

        Parameters
        ----------
        action : (4,) array of int
            Channel, tone, offer, slot.

        Raises
        ------
        InputError
            The action lies outside the action space, or no case is open.
        """
        state = self._alive()
        chosen = np.asarray(action, dtype=np.int64)
        if chosen.shape != (4,) or not ((chosen >= 0) & (chosen < self._sizes)).all():
            raise InputError.of(
                "step", "action", expected=f"four numbers below {self._sizes}", found=repr(action)
            )
        allowed = all(part[value] for part, value in zip(self._mask(), chosen, strict=True))
        refused = bool(chosen[0]) and not allowed
        parts = self._live(state, np.zeros(4, dtype=np.int64) if refused else chosen)
        self._week += 1
        terminated = self._closed(state)
        truncated = not terminated and self._week >= self.weeks
        info = self._info(refused=refused) | parts
        return self._observe(), sum(parts.values()), terminated, truncated, info

    def render(self) -> str | None:
        """Write the history of the account, or nothing without a render mode."""
        if self.render_mode is None:
            return None
        state = self._alive()
        tables = export.tables(state, self._costs, ("agent",))
        title = f"{self.kind}, case opened {state.calendar.date(self._opened)}, week {self._week}"
        account = str(export.account_ids(1)[0])
        return history.timeline(tables, account, state.calendar.timezone, title)

    def _alive(self) -> State:
        if self._state is None:
            raise InputError.of("step", None, expected="an open case", found="none; call reset")
        return self._state

    def _decide(self, state: State, chosen: IntArray) -> None:
        """Enter the decision where there is one to take."""
        if not len(world.sight(state).account):
            return
        channel, tone, offer, slot = chosen.tolist()
        contact = channel > 0
        day, hour = _moment(state, channel - 1, slot) if contact else (0, np.nan)
        plan = ladder.Plan(
            account=np.array([0]),
            channel=np.array([channel - 1 if contact else ladder.WAIT]),
            tone=np.array([tone if contact else ladder.WAIT]),
            offer=np.array([offer if contact else ladder.WAIT]),
            day=np.array([day]),
            hour=np.array([hour]),
            propensity=np.ones(1),
            parts=np.ones((1, 5)),
        )
        world.enter(state, plan, policy=0)

    def _live(self, state: State, chosen: IntArray) -> dict[str, float]:
        """Decide, live one week and give the parts of its reward."""
        first, rate = state.day, 1.0 + self.catalogue.discount_rate
        before, had_left = self._harm(state), bool(state.driven[0])
        cash, paid = 0.0, self._paid(state)
        self._decide(state, chosen)
        for _ in range(7):
            world.end_day(state)
            world.begin_day(state)
            now = self._paid(state)
            cash += (now - paid) * float(rate ** ((self._opened - state.day) / 365.0))
            paid = now
        cost, complaints = (new - old for new, old in zip(self._harm(state), before, strict=True))
        lost = float(state.people.lifetime_value[0]) * (bool(state.driven[0]) and not had_left)
        factor = float(rate ** ((self._opened - first) / 365.0))
        return {
            "cash": cash,
            "contact_cost": -factor * cost,
            "complaint_cost": -factor * complaints * self.catalogue.value.complaint_cost,
            "lifetime_value": -factor * lost,
        }

    def _paid(self, state: State) -> float:
        """EUR paid so far on the claims of the case."""
        claims, rows = state.claims, self._case
        return float((claims.cents[rows] - claims.credited[rows] - claims.open[rows]).sum()) / 100.0

    def _harm(self, state: State) -> tuple[float, float]:
        """EUR of contacts sent and number of complaints so far."""
        channel = state.record.ints("contacts", "channel")
        channel[state.record.ints("cancelled", "contact")] = ladder.WAIT
        complaints = (state.record.ints("responses", "kind") == _COMPLAINED).sum()
        return float(self._costs[channel].sum()), float(complaints)

    def _closed(self, state: State) -> bool:
        claims, rows = state.claims, self._case
        workable = (claims.open[rows] > 0) & ~claims.written_off[rows]
        self._settled = 0 if workable.any() else self._settled + 1
        drawn = [DIRECT_DEBIT, CARD] if state.kind.payment.card_on_file else [DIRECT_DEBIT]
        patience = _PATIENCE if state.people.method[0] in drawn else 1
        return bool(state.insolvent[0]) or self._settled >= patience

    def _mask(self) -> Mask:
        """Say which values of each part of the action are allowed."""
        sight = world.sight(self._alive())
        channel, tone, offer, slot = (np.ones(size, dtype=np.int8) for size in self._sizes)
        channel[1:] = 0
        if len(sight.account):
            channel[1:] = sight.channels[0]
            tone[int(sight.last_tone[0]) + 2 :] = 0
        return channel, tone, offer, slot

    def _observe(self) -> Observation:
        may = bool(self._mask()[0][1:].any())
        return observing.Sighting(self._alive(), may, self._week / self.weeks).observation()

    def _info(self, *, refused: bool) -> dict[str, Any]:
        date = self._alive().calendar.date(self._alive().day).isoformat()
        return {"action_mask": self._mask(), "refused": refused, "date": date}


def _moment(state: State, channel: int, slot: int) -> tuple[int, float]:
    """First day of the week on which a channel works, and its hour nearest to the slot's."""
    start, end = ladder.CHANNEL_HOURS[channel]
    hours = ladder.HOURS[(start <= ladder.HOURS) & (end > ladder.HOURS)]
    hour = hours[np.argmin(np.abs(hours - ladder.HOURS[slot]))]
    days = ladder.CHANNEL_DAYS[channel]
    return next(day for day in days if not state.calendar.is_holiday(state.day + day)), float(hour)


def register() -> None:
    """Make the environment known to gymnasium by name, once."""
    envs = extra("gymnasium.envs.registration", extra="gym")
    if ENVIRONMENT not in envs.registry:
        envs.register(ENVIRONMENT, entry_point=f"{__name__}:CollectionsEnv")


if _base() is not object:
    register()
