from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from collectopt.exceptions import InputError
from collectopt.schema import Ledger
from collectopt.simulation import Book, world
from collectopt.simulation.plans import read_plan


@dataclass(frozen=True)
class Answer:
    table: pa.Table

    def to_arrow(self) -> pa.Table:
        return self.table


@dataclass(frozen=True)
class Everybody:
    """Writes to every account, or to nobody."""

    channel: str
    days: int = 0

    def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Answer:
        n = len(ledger.accounts)
        contact = self.channel != "none"
        at = as_of + dt.timedelta(days=self.days, hours=4)
        return Answer(
            pa.table(
                {
                    "account_id": ledger.accounts["account_id"],
                    "channel": [self.channel] * n,
                    "tone": pa.array(["friendly" if contact else None] * n, pa.string()),
                    "offer": pa.array(["none" if contact else None] * n, pa.string()),
                    "send_at": pa.array([at if contact else None] * n, pa.timestamp("us", "UTC")),
                    "propensity": np.ones(n),
                }
            )
        )


class Mail(Everybody):
    pass


class Silence(Everybody):
    pass


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=600, seed=2, weeks=30)


def test_policies_meet_the_same_world(book: Book) -> None:
    result = book.run([Silence("none"), Mail("letter"), Silence("none")], weeks=6)
    table = result.to_pandas().set_index("policy")
    pd.testing.assert_series_equal(table.iloc[0], table.iloc[2])
    silent, mail = table.iloc[0], table.iloc[1]
    assert silent.cost == silent.contacts == silent.complaints == 0
    assert mail.contacts > 50
    assert mail.cost == pytest.approx(1.2 * mail.contacts)
    assert mail.not_sent > 0  # most accounts have nothing past due, and are left alone
    assert mail.recovered > silent.recovered
    assert 0 < silent.recovered < 1
    assert mail.net == pytest.approx(mail.collected - mail.cost)
    assert "Mail" in str(result)
    assert "<table" in result._repr_html_()


def test_a_run_changes_neither_book_nor_ledger(book: Book) -> None:
    before = book.ledger().fingerprint
    book.run([Mail("email")], weeks=2)
    assert book.ledger().fingerprint == before
    assert Book("shop", accounts=600, seed=2, weeks=30).ledger().fingerprint == before


def test_silence_in_a_placebo_is_as_good_as_anything() -> None:
    book = Book("placebo", accounts=300, seed=2, weeks=20)
    table = book.run([Silence("none"), Mail("letter")], weeks=6).to_pandas()
    same = ["collected", "recovered", "complaints", "left"]
    assert table[same].iloc[0].equals(table[same].iloc[1])
    assert table.net[0] > table.net[1]


def test_a_policy_sees_what_the_book_shows_and_no_more(book: Book) -> None:
    seen: list[tuple[Ledger, dt.datetime]] = []

    class Spy(Silence):
        def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Answer:
            seen.append((ledger, as_of))
            return super().decide(ledger, as_of, rng)

    book.run([Spy("none")], weeks=2)
    (first, start), (second, later) = seen
    assert start == book.as_of
    assert later - start == dt.timedelta(days=7)
    assert first.payments.equals(book.ledger().payments)
    assert pc.max(second.payments["paid_at"]).as_py() < later
    assert len(second.contacts) == len(first.contacts) + 600


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("account_id", "B1", "600 ids"),
        ("channel", "fax", "email"),
        ("tone", "angry", "friendly"),
        ("offer", "discount", "instalments"),
        ("send_at", None, "null"),
        ("send_at", dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "7 days"),
    ],
)
def test_bad_decisions(book: Book, column: str, value: object, words: str) -> None:
    rng = np.random.default_rng(0)
    table = Everybody("email").decide(book.ledger(), book.as_of, rng).to_arrow()
    values = [value, *table[column].to_pylist()[1:]]
    place = table.column_names.index(column)
    table = table.set_column(place, column, pa.array(values, table[column].type))
    with pytest.raises(InputError, match=words):
        read_plan(book._end, table)


def test_deciding_twice_for_an_account(book: Book) -> None:
    rng = np.random.default_rng(0)
    table = Everybody("email").decide(book.ledger(), book.as_of, rng).to_arrow()
    with pytest.raises(InputError, match="each account once"):
        read_plan(book._end, pa.concat_tables([table, table]))


def test_a_fork_lives_its_own_life(book: Book) -> None:
    one, other = book._end.fork(), book._end.fork()
    for _ in range(10):
        world.end_day(one)
        world.begin_day(one)
    assert other.day == book._end.day
    assert other.claims.open[: other.claims.size].sum() == pytest.approx(
        book._end.claims.open[: other.claims.size].sum()
    )
    for _ in range(10):
        world.end_day(other)
        world.begin_day(other)
    assert np.array_equal(one.claims.open[: one.claims.size], other.claims.open[: one.claims.size])
