"""Cases to be played one at a time: worlds of a single account at the moment it falls past due.

A book lives on without any contact; every four weeks the accounts whose oldest claim has just
fallen past due are starts. A case is one of them, cut out of the book as a world of its own that
goes on with other luck, so that the same start never ends the same way twice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from collectopt.exceptions import InputError
from collectopt.simulation import world
from collectopt.simulation.calendar import Calendar
from collectopt.simulation.claims import Claims
from collectopt.simulation.kinds import kind_of
from collectopt.simulation.noise import IntArray, Noise
from collectopt.simulation.population import Population, draw_population
from collectopt.simulation.record import Record
from collectopt.simulation.state import Agenda, State

WEEKS = range(12, 61, 4)  # weeks of the book at which cases start: a year's seasons
_NEW_DAYS = 7
_CLAIM_PLANS = ("returns", "credits")


@dataclass(frozen=True)
class Start:
    """Where a case may start.

    Attributes
    ----------
    book : State
        The book at that moment; read, not changed.
    account : int
        Position in the book.
    """

    book: State
    account: int

    def open_case(self, luck: int) -> State:
        """Cut the account out of the book as a world of its own.

        Parameters
        ----------
        luck : int
            Seed of everything that happens from now on.
        """
        state = single(self.book, self.account)
        state.noise = Noise(luck)
        return state


@dataclass(frozen=True)
class Starts:
    """The starts that a book without contacts offers.

    Parameters
    ----------
    kind : str
    accounts : int
        Size of the book.
    seed : int
    """

    kind: str
    accounts: int = 1024
    seed: int = 0

    @cached_property
    def all(self) -> tuple[Start, ...]:
        """All starts, in the order of time.

        Raises
        ------
        InputError
            The book is too small to have any.
        """
        noise = Noise(self.seed)
        of = kind_of(self.kind)
        state = State(of, draw_population(of, self.accounts, noise), noise, Calendar())
        world.begin_day(state)
        found: list[Start] = []
        for week in range(1, WEEKS[-1] + 1):
            for _ in range(7):
                world.end_day(state)
                world.begin_day(state)
            if week in WEEKS:
                found += _starts(state)
        if not found:
            raise InputError.of(
                "Starts", "accounts", expected="more accounts", found=repr(self.accounts)
            )
        return tuple(found)


def _starts(state: State) -> list[Start]:
    book = state.fork()
    book.record = _gather(book.record)
    sight = world.sight(book)
    new = sight.account[sight.overdue_days <= _NEW_DAYS]
    return [Start(book, account) for account in new.tolist()]


def _gather(record: Record) -> Record:
    """Join the parts of each table, so that an account is found in one look."""
    whole = Record(contacts=record.contacts)
    for table, parts in record.parts.items():
        if parts:
            whole.parts[table] = [{name: record.column(table, name) for name in parts[0]}]
    return whole


def single(state: State, account: int) -> State:
    """Cut one account, to which no contact is under way, out of a world.

    What it owns keeps its keys of luck; the account itself becomes number 0.
    """
    n = len(state.people)
    twin = state.fork()
    for name, value in vars(state).items():
        if isinstance(value, np.ndarray) and value.shape[:1] == (n,) and name != "wording":
            setattr(twin, name, value[[account]])
    columns = {of.name: getattr(state.people, of.name)[[account]] for of in fields(Population)}
    twin.people = Population(**columns)
    rows = np.flatnonzero(state.claims.account[: state.claims.size] == account)
    twin.claims = _claims(state.claims, rows)
    twin.record = _record(state.record, account)
    twin.agenda = _agenda(state.agenda, account, rows)
    return twin


def _agenda(agenda: Agenda, account: int, rows: IntArray) -> Agenda:
    """Keep what is planned for the account or its claims without any contact."""
    twin = Agenda()
    for name in _CLAIM_PLANS:
        for day, items in getattr(agenda, name).items():
            for claims, value in items:
                mine = np.isin(claims, rows)
                place = np.searchsorted(rows, claims[mine])
                getattr(twin, name)[day].append((place, value[mine]))
    for day, items in agenda.refunds.items():
        for owner, cents in items:
            mine = owner == account
            twin.refunds[day].append((np.zeros(int(mine.sum()), dtype=np.int64), cents[mine]))
    return twin


def _claims(claims: Claims, rows: IntArray) -> Claims:
    twin = Claims()
    for name, value in vars(claims).items():
        if isinstance(value, np.ndarray) and name != "active":
            setattr(twin, name, value[rows])
    twin.account = np.zeros(len(rows), dtype=np.int64)
    twin.size = len(rows)
    twin.active = np.flatnonzero(np.isin(rows, claims.active)).astype(np.int64)
    return twin


def _record(record: Record, account: int) -> Record:
    twin = Record()
    for table, parts in record.parts.items():
        for part in parts:
            if "account" in part and (mine := part["account"] == account).any():
                kept = {name: column[mine] for name, column in part.items()}
                twin.parts[table].append(kept | {"account": np.zeros_like(kept["account"])})
    return twin
