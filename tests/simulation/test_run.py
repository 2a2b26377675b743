from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from collectopt.exceptions import InputError
from collectopt.schema import Catalogue, Ledger
from collectopt.simulation import Book, world
from collectopt.simulation.plans import read_plan
from collectopt.simulation.run import Policy
from collectopt.simulation.state import State


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


def without_limits(book: Book) -> Catalogue:
    spec = book.catalogue.to_dict()
    spec["limits"].pop("budget")
    for channel in spec["channels"]:
        channel.pop("capacity", None)
    return Catalogue.from_dict(spec)


class Mail(Everybody):
    pass


class Silence(Everybody):
    pass


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=600, seed=2, weeks=30)


def test_policies_meet_the_same_world(book: Book) -> None:
    policies = [Silence("none"), Mail("letter"), Silence("none")]
    result = book.run(policies, weeks=6, catalogue=without_limits(book))
    assert result.policies == ("Silence", "Mail", "Silence 2")
    table = result.to_pandas().set_index("policy")
    assert table.iloc[0].equals(table.iloc[2])
    silent, mail = table.iloc[0], table.iloc[1]
    assert silent.cost == silent.contacts == silent.complaints == silent.harshness == 0
    assert mail.contacts > 50
    assert mail.cost == pytest.approx(1.2 * mail.contacts)
    assert mail.not_sent > 0  # most accounts have nothing past due, and are left alone
    assert mail.over_capacity == 0
    assert mail.recovered > silent.recovered
    assert mail.late_realisation > silent.late_realisation
    assert 0 < silent.recovered < 1
    harm = mail.churned_value + 12.0 * mail.complaints
    assert mail.net_value == pytest.approx(mail.discounted - mail.cost - harm)


def test_a_run_changes_neither_book_nor_ledger(book: Book) -> None:
    before = book.ledger().fingerprint
    book.run([Mail("email")], weeks=2, seeds=2)
    assert book.ledger().fingerprint == before
    assert Book("shop", accounts=600, seed=2, weeks=30).ledger().fingerprint == before


def test_silence_in_a_placebo_is_as_good_as_anything() -> None:
    book = Book("placebo", accounts=300, seed=2, weeks=20)
    free = without_limits(book)
    table = book.run([Silence("none"), Mail("letter")], weeks=6, catalogue=free).to_pandas()
    same = ["collected", "recovered", "complaints", "left", "dso", "churned_value", "discounted"]
    assert table[same].iloc[0].equals(table[same].iloc[1])
    assert table.net_value[0] - table.net_value[1] == pytest.approx(table.cost[1])
    assert table.cost[1] > 0


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


def test_replicates_share_the_past_and_differ_in_luck(book: Book) -> None:
    seen: list[Ledger] = []

    class Spy(Silence):
        def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Answer:
            seen.append(ledger)
            return super().decide(ledger, as_of, rng)

    single = book.run([Spy("none")], weeks=2).replicates()
    some = book.run([Spy("none")], weeks=2, seeds=3).replicates()
    assert some.collected[0] == single.collected[0]
    assert some.collected.nunique() == 3
    firsts, seconds = seen[2::2], seen[3::2]
    assert len({ledger.payments.num_rows for ledger in firsts}) == 1
    assert all(ledger.payments.equals(firsts[0].payments) for ledger in firsts)
    assert len({ledger.fingerprint for ledger in seconds}) == 3


def test_chance_is_the_same_for_all_policies_and_new_each_week(book: Book) -> None:
    drawn: dict[int, list[float]] = {0: [], 1: []}

    class Gambler(Silence):
        def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Answer:
            drawn[self.days].append(float(rng.random()))
            return super().decide(ledger, as_of, rng)

    book.run({"one": Gambler("none", 0), "two": Gambler("none", 1)}, weeks=3, seeds=2)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 6


def test_who_asks_for_the_truth_is_shown_it_before_each_decision(book: Book) -> None:
    calls: list[tuple[str, int]] = []

    class Seer(Silence):
        def watch(self, state: State) -> None:
            calls.append(("watch", state.day))

        def decide(self, ledger: Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Answer:
            calls.append(("decide", len(calls)))
            return super().decide(ledger, as_of, rng)

    book.run([Seer("none")], weeks=2)
    assert [what for what, _ in calls] == ["watch", "decide", "watch", "decide"]
    assert calls[2][1] - calls[0][1] == 7


def test_progress_is_told_week_by_week(book: Book) -> None:
    told: list[tuple[int, int, str]] = []
    policies = {"a": Silence("none"), "b": Silence("none")}
    book.run(policies, weeks=2, seeds=2, tick=lambda *now: told.append(now))
    assert [done for done, _, _ in told] == list(range(1, 9))
    assert {total for _, total, _ in told} == {8}
    assert [name for _, _, name in told] == ["a", "a", "b", "b"] * 2


@pytest.mark.parametrize(
    ("policies", "weeks", "seeds", "words"),
    [
        ([], 2, 1, "none"),
        ([object()], 2, 1, "decide"),
        ([Silence("none")], 0, 1, "from 1 to 520"),
        ([Silence("none")], 2.5, 1, "whole number"),
        ([Silence("none")], 2, 0, "from 1 to 10000"),
    ],
)
def test_bad_runs(book: Book, policies: list[Policy], weeks: int, seeds: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        book.run(policies, weeks=weeks, seeds=seeds)
