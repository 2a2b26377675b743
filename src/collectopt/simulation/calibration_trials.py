"""Published trials lived through in the simulator: one claim an account, every arm on one luck.

A trial takes a population of the simulator, gives everybody one claim that is some days past due,
sends the contacts of an arm and looks again at each horizon. Arms are forks of one world, so the
same account meets the same luck in all of them and differences are sharp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collectopt.simulation import world
from collectopt.simulation.calendar import Calendar
from collectopt.simulation.kinds import LETTER, Kind, kind_of
from collectopt.simulation.ladder import Plan
from collectopt.simulation.noise import FloatArray, IntArray, Noise, Purpose
from collectopt.simulation.population import (
    DIRECT_DEBIT,
    TRANSFER,
    BoolArray,
    Population,
    draw_population,
)
from collectopt.simulation.record import RESPONSES
from collectopt.simulation.state import State

TERM = 14
_WARM_UP = 30  # days before the first claim could be due, so that no day is negative
_BASE = 0.04  # daily hazard around which `spread` stretches the differences between types


@dataclass(frozen=True)
class Contact:
    """One contact that all accounts of an arm get.

    Attributes
    ----------
    day : int
        Days after the start of the trial.
    channel, tone, offer : int
        Codes of the simulator.
    content : float
        What its content does, as a factor on the effect of a plain reminder.
    hour : float
        Local hour.
    """

    day: int = 0
    channel: int = LETTER
    tone: int = 1
    offer: int = 0
    content: float = 1.0
    hour: float = 10.0


@dataclass(frozen=True)
class Setting:
    """Who is in a trial and how they pay without it; the effects are those of every book.

    Attributes
    ----------
    age : int
        Days past due at the start; negative = not due yet.
    mix : tuple of float
        Shares of the customer types.
    pace : float
        Factor on the hazard of paying late.
    spread : float
        Power that stretches (above 1) or evens out (below 1) what types differ in.
    fade_days : float
        Days past due after which the late hazard has fallen to 1/e.
    tight : float
        Share of those whose money is short.
    forget : float
        Share of the claims that were put aside and forgotten.
    usual : tuple of Contact
        Contacts that everybody gets, the control group too.
    promise : float
        Factor on promises to pay; 0 where nobody can be spoken to.
    near : float
        Factor on the hazard of paying before and around the due date.
    pre_due : int
        Days before the due date from which on contacts may go out.
    wordings : bool
        Whether each wording has the hidden quality that it has in books; without it, content
        alone counts.

    Nothing is written off, and nobody fails or has a case with the service, during a trial.
    """

    age: int
    mix: tuple[float, ...]
    pace: float = 1.0
    spread: float = 1.0
    fade_days: float = 2000.0
    tight: float | None = None
    forget: float | None = None
    usual: tuple[Contact, ...] = ()
    promise: float = 1.0
    near: float = 1.0
    pre_due: int = 0
    wordings: bool = False

    def kind(self) -> Kind:
        """Make the kind of book of this setting."""
        shop = kind_of("shop")
        types = tuple(
            replace(
                of,
                share=share,
                late=self.pace * _BASE * (of.late / _BASE) ** self.spread,
                early=of.early * self.near,
                near=of.near * self.near,
                fade_days=self.fade_days,
                tight=of.tight if self.tight is None else self.tight,
                forget=of.forget if self.forget is None else self.forget,
                dispute=0.0,
            )
            for of, share in zip(shop.types, self.mix, strict=True)
        )
        effects = replace(
            shop.effects,
            promise=shop.effects.promise * self.promise,
            wording=shop.effects.wording if self.wordings else 0.0,
        )
        tie = replace(shop.tie, service=0.0, insolvency=0.0)
        return replace(shop, types=types, effects=effects, tie=tie, write_off_days=10**5)


@dataclass(frozen=True)
class Outcomes:
    """What has become of n accounts by one horizon of one arm.

    Attributes
    ----------
    any, full : (n,) float64
        Whether something, everything was paid.
    reached : (n,) float64
        Whether a conversation took place.
    plan : (n,) float64
        Whether instalments were agreed.
    score : (n,) float64
        Credit score, NaN = unknown.
    """

    any: FloatArray
    full: FloatArray
    reached: FloatArray
    plan: FloatArray
    score: FloatArray


def opening(setting: Setting, accounts: int, seed: int) -> State:
    """Open a world on the morning of the trial: one claim an account, all contactable."""
    kind, noise = setting.kind(), Noise(seed)
    people = _plain(draw_population(kind, accounts, noise))
    state = State(kind, people, noise, Calendar())
    state.day = 7 * (-(-(max(setting.age, 0) + TERM + _WARM_UP) // 7))
    who = np.arange(accounts)
    claims = state.claims
    rows = claims.append(accounts)
    claims.account[rows], claims.uid[rows], claims.number[rows] = who, who * 4096, 0
    claims.due[rows] = state.day - setting.age
    claims.issued[rows] = np.minimum(state.day - setting.age - TERM, state.day - 1)
    cents = np.maximum(np.rint(people.amount * 100.0), 500).astype(np.int64)
    claims.cents[rows] = claims.open[rows] = cents
    claims.dispute_day[rows] = 10**6
    forget = np.array([of.forget for of in kind.types])[people.type]
    claims.forgotten[rows] = noise.uniform(Purpose.FORGET, who * 4096) < forget
    tight = np.array([of.tight for of in kind.types])[people.type]
    state.tight = noise.uniform(Purpose.LIQUIDITY, who) < tight
    state.issued[:] = 1
    state.pre_due_days = setting.pre_due
    world.begin_day(state)
    return state


def _plain(people: Population) -> Population:
    """Private customers who can be contacted by every channel and get no further invoice."""
    n = len(people)
    return replace(
        people,
        rate=np.zeros(n),
        attrition=np.zeros(n),
        method=np.where(people.method == DIRECT_DEBIT, TRANSFER, people.method),
        consent=np.ones((n, 4), dtype=np.bool_),
    )


def live(
    start: State, contacts: Sequence[Contact], horizons: Sequence[int]
) -> Mapping[int, Outcomes]:
    """Live one arm and look at each horizon (days after the start)."""
    state = start.fork()
    base = start.kind
    result: dict[int, Outcomes] = {}
    for day in range(max(horizons)):
        if day:
            world.begin_day(state)
        for contact in contacts:
            if contact.day == day:
                _send(state, base, contact)
        world.end_day(state)
        if day + 1 in horizons:
            result[day + 1] = _look(state)
    return result


def _send(state: State, base: Kind, contact: Contact) -> None:
    """Plan one contact for everybody; from now on its content counts."""
    email, sms, letter, phone = (value * contact.content for value in base.effects.strength)
    effects = replace(base.effects, strength=(email, sms, letter, phone))
    state.kind = replace(base, effects=effects)
    n = len(state.people)

    def all_of(value: int) -> IntArray:
        return np.full(n, value)

    plan = Plan(
        account=np.arange(n),
        channel=all_of(contact.channel),
        tone=all_of(contact.tone),
        offer=all_of(contact.offer),
        day=all_of(0),
        hour=np.full(n, contact.hour),
        propensity=np.ones(n),
        parts=np.ones((n, 5)),
    )
    world.enter(state, plan, policy=0)


def _look(state: State) -> Outcomes:
    n = len(state.people)
    cents, rest = state.claims.cents[:n], state.claims.open[:n]
    kinds, owner = state.record.ints("responses", "kind"), state.record.ints("responses", "account")

    def flag(kind: str) -> FloatArray:
        found: BoolArray = np.zeros(n, dtype=np.bool_)
        found[owner[kinds == RESPONSES.index(kind)]] = True
        return found.astype(np.float64)

    return Outcomes(
        any=(rest < cents).astype(np.float64),
        full=(rest == 0).astype(np.float64),
        reached=flag("answered"),
        plan=flag("plan_accepted"),
        score=state.people.score,
    )
