"""Ledgers made bit by bit against ledgers made at once and checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from collectopt.schema import Ledger
from collectopt.schema.tables import TABLES
from collectopt.simulation import Book, export, world
from collectopt.simulation import feed as feeding
from collectopt.simulation.book import POLICIES
from collectopt.simulation.feed import Feed
from collectopt.simulation.ladder import decide, slot_weights
from collectopt.simulation.run import play
from collectopt.simulation.state import State

COSTS = np.array([0.05, 0.09, 1.2, 4.5, 0.0])
NAMES = [spec.name for spec in TABLES]


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=300, seed=8, weeks=24)


def live(state: State) -> None:
    holidays = tuple(state.calendar.is_holiday(state.day + d) for d in range(7))
    plan = decide(world.sight(state), state.noise, state.day // 7, slot_weights(holidays))
    play(state, plan, policy=1)


def checked(state: State) -> Ledger:
    tables = export.tables(state, COSTS, POLICIES)
    return Ledger.from_frames(**tables, timezone=state.calendar.timezone)


def assert_same(fast: Ledger, slow: Ledger) -> None:
    for name in NAMES:
        assert fast.table(name).schema == slow.table(name).schema, name
        assert fast.table(name).equals(slow.table(name)), name
    assert fast.fingerprint == slow.fingerprint
    assert fast.remarks == slow.remarks
    assert fast.features == slow.features
    assert fast.timezone == slow.timezone
    assert repr(fast) == repr(slow)


def test_every_week_equals_the_checked_ledger(book: Book) -> None:
    state = book._end.fork()
    mark = state.record.mark()
    feed = Feed(COSTS, POLICIES, Feed(COSTS, POLICIES), mark)
    for _ in range(4):
        assert_same(feed.ledger(state), checked(state))
        live(state)
    assert_same(feed.ledger(state), checked(state))


def test_tables_may_be_looked_at_late_in_any_order_or_never(book: Book) -> None:
    state = book._end.fork()
    feed = Feed(COSTS, POLICIES)
    ledgers, expected = [], []
    for week in range(4):
        ledger = feed.ledger(state)
        if week == 1:
            assert len(ledger.payments) > 0
        ledgers.append(ledger)
        expected.append(checked(state))
        live(state)
    for place in (2, 0, 3, 1):
        assert_same(ledgers[place], expected[place])


def test_nothing_is_converted_before_it_is_asked_for(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    plain = export.table

    def spy(name: str, *rest: object) -> pa.Table:
        made.append(name)
        return plain(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(feeding.export, "table", spy)
    state = book._end.fork()
    parent = Feed(COSTS, POLICIES)
    mark = state.record.mark()
    one, other = (Feed(COSTS, POLICIES, parent, mark) for _ in range(2))
    ledger = one.ledger(state)
    assert isinstance(ledger, Ledger)
    assert made == []
    assert ledger.holds is ledger.table("holds")
    assert made == ["holds"]
    assert other.ledger(state).holds is ledger.holds  # of the parent, made once for both
    assert made == ["holds"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = ledger.nothing  # type: ignore[attr-defined]


def test_rows_out_of_time_are_sorted_in(book: Book) -> None:
    state = book._end.fork()
    feed = Feed(COSTS, POLICIES)
    assert len(feed.ledger(state).responses) > 0
    account = np.array([5, 2, 2])
    state.record.respond("answered", account, 10, 9.0, np.array([1, 0, 0]))
    table = feed.ledger(state).responses
    spec = next(spec for spec in TABLES if spec.name == "responses")
    keys = [(name, "ascending") for name in spec.order]
    assert table.equals(table.sort_by(keys))
    live(state)
    again = feed.ledger(state).responses
    assert again.equals(again.sort_by(keys))
    assert len(again) > len(table)


def test_numbers_wider_than_their_ids() -> None:
    assert feeding._numbered(pa.chunked_array([["P8", "P9"]]))
    assert not feeding._numbered(pa.chunked_array([["P8", "P9", "P10"]]))
    assert feeding._numbered(pa.chunked_array([], pa.string()))
