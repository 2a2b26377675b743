"""Policies at work in the same world, week by week, on common random numbers."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from collectopt.exceptions import InputError
from collectopt.schema import Ledger
from collectopt.simulation import world
from collectopt.simulation.capacities import Terms, enforce
from collectopt.simulation.feed import Feed
from collectopt.simulation.ladder import Plan
from collectopt.simulation.meter import RUN_OFF, Meter, Outcome
from collectopt.simulation.noise import Noise
from collectopt.simulation.plans import read_plan
from collectopt.simulation.state import State
from collectopt.simulation.world import DECISION_HOUR

Tick = Callable[[int, int, str], None]


class Policy(Protocol):
    """Anything that decides from a ledger; the result offers ``to_arrow()``."""

    def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Any:
        """Decide for the accounts of a ledger."""


@runtime_checkable
class Watcher(Protocol):
    """A policy that wants to see the truth before it decides; for marks, not for use."""

    def watch(self, state: State) -> None:
        """Look at the world; it must not be changed."""


def play(
    state: State, plan: Plan, policy: int, observe: Callable[[State], None] | None = None
) -> None:
    """Live one week from one decision to the next; `observe` is called as each day has ended."""
    world.enter(state, plan, policy)
    live(state, observe)


def live(state: State, observe: Callable[[State], None] | None = None) -> None:
    """Live one week without a decision."""
    for offset in range(7):
        if offset:
            world.begin_day(state)
        world.end_day(state)
        if observe is not None:
            observe(state)
    world.begin_day(state)


def live_on(state: State, weeks: int) -> Iterator[State]:
    """Live some weeks without a decision, and look at the world after each."""
    for _ in range(weeks):
        live(state)
        yield state


def simulate(
    start: State,
    policy: Policy,
    weeks: int,
    ledger_of: Callable[[State], Ledger],
    terms: Terms,
    *,
    tick: Callable[[], None] | None = None,
) -> Outcome:
    """Let one policy decide for some weeks and measure what it brings.

    Parameters
    ----------
    start : State
        World at a decision; it is forked.
    policy : Policy
    weeks : int
    ledger_of : callable
        What the creditor knows in a state.
    terms : Terms
        Prices, and the limits that the world keeps.
    tick : callable, optional
        Called after every week.
    """
    state = start.fork()
    meter = Meter(state, terms, weeks)
    for _ in range(weeks):
        ledger = ledger_of(state)
        as_of = state.calendar.instant(state.day, DECISION_HOUR)
        rng = np.random.default_rng([state.noise.seed, state.day])
        if isinstance(policy, Watcher):
            policy.watch(state)
        decisions = policy.decide(ledger, as_of, rng)
        plan, dropped = enforce(read_plan(state, decisions.to_arrow()), terms)
        meter.turn_away(dropped)
        play(state, plan, 1, meter.observe)
        if tick is not None:
            tick()
    return meter.read(state, live_on(state, RUN_OFF))


@dataclass(frozen=True)
class Entry:
    """A policy, and the prices and limits under which it lives."""

    policy: Policy
    terms: Terms


def compare(
    end: State,
    entries: Mapping[str, Entry],
    weeks: int,
    seeds: int,
    feed: Feed,
    *,
    tick: Tick | None = None,
) -> dict[str, tuple[Outcome, ...]]:
    """Let every entry live in every replicate of the same world.

    Parameters
    ----------
    end : State
        The world at the end of the log; it is not changed.
    entries : mapping of str to Entry
    weeks, seeds : int
    feed : Feed
        What is known at the end of the log; all runs build upon it.
    tick : callable, optional
        Called as ``tick(weeks done, weeks in all, name)``.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in entries}
    total, done = weeks * seeds * len(entries), 0
    with ticking(total, tick) as show:
        for number in range(seeds):
            start = replicate(end, number)
            for name, entry in entries.items():

                def week(name: str = name) -> None:
                    nonlocal done
                    done += 1
                    show(done, total, name)

                own = feed.later(end, entry.terms.prices)
                outcome = simulate(start, entry.policy, weeks, own.ledger, entry.terms, tick=week)
                outcomes[name].append(outcome)
    return {name: tuple(some) for name, some in outcomes.items()}


def replicate(start: State, number: int) -> State:
    """Give the world other luck from now on; number 0 keeps its own. The past stays."""
    state = start.fork()
    if number:
        seed = np.random.SeedSequence([start.noise.seed, number]).generate_state(1, np.uint64)[0]
        state.noise = Noise(int(seed >> np.uint64(1)))
    return state


def named(policies: Mapping[str, Policy] | Sequence[Policy]) -> dict[str, Policy]:
    """Name policies by their type; of equal names the later ones get a number.

    Raises
    ------
    InputError
        There is no policy, or an object that cannot decide.
    """
    if isinstance(policies, Mapping):
        result = {str(name): policy for name, policy in policies.items()}
    else:
        result = {}
        seen: Counter[str] = Counter()
        for policy in policies:
            name = type(policy).__name__
            seen[name] += 1
            result[name if seen[name] == 1 else f"{name} {seen[name]}"] = policy
    expected = "objects with decide(ledger, as_of, rng)"
    if not result:
        raise InputError.of("run", "policies", expected=expected, found="none")
    for name, policy in result.items():
        if not callable(getattr(policy, "decide", None)):
            raise InputError.of("run", "policies", expected=expected, found=f"{name}: {policy!r}")
    return result


def check_length(weeks: int, seeds: int) -> None:
    """Refuse a run without weeks or replicates.

    Raises
    ------
    InputError
    """
    for what, value, high in (("weeks", weeks, 520), ("seeds", seeds, 10_000)):
        whole = isinstance(value, int | np.integer)
        if not whole or not 1 <= value <= high:
            raise InputError.of(
                "run", what, expected=f"a whole number from 1 to {high}", found=repr(value)
            )


@contextmanager
def ticking(total: int, tick: Tick | None) -> Iterator[Tick]:
    """Show progress: by the caller's own function, else by a bar on a terminal, else not."""
    if tick is not None:
        yield tick
        return
    if not sys.stderr.isatty():
        yield lambda _done, _total, _text: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, _total, text: bar.update(task, completed=done, description=text)
