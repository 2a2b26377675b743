"""Speed and memory of a simulated run beside two natural ways to write it; one thread.

Run: OMP_NUM_THREADS=1 python benchmarks/simulation.py --accounts 100000 --weeks 26

The policy does nothing but read all six tables of the ledger each week. Peers:

- the same world, but the ledger is made anew from all rows each week and checked
  (`Ledger.from_frames`), on a tenth of the accounts, times ten;
- plain Python objects and a loop over accounts and claims each day, with keyed luck as in ours, on
  500 accounts, scaled. It does a small part of the work: issuing, hazards by age, weekday and
  liquidity, excitation by a reminder, leaving; no reach, harm, disputes, plans, promises, direct
  debits, partial payments, agency or court, no ledger and no meter.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import time
from dataclasses import dataclass, field

import pyarrow as pa

from collectopt.schema import Ledger
from collectopt.simulation import Book, export
from collectopt.simulation.book import POLICIES
from collectopt.simulation.capacities import Terms
from collectopt.simulation.run import simulate

TABLES = ("accounts", "invoices", "payments", "contacts", "responses", "holds")
NOBODY = pa.table(
    {
        "account_id": pa.array([], pa.string()),
        "channel": pa.array([], pa.string()),
        "tone": pa.array([], pa.string()),
        "offer": pa.array([], pa.string()),
        "send_at": pa.array([], pa.timestamp("us", "UTC")),
        "propensity": pa.array([], pa.float64()),
    }
)


class Reader:
    """Looks at every table and does nothing."""

    def __init__(self, *, looks: bool = True) -> None:
        self.looks, self.rows = looks, 0

    def decide(self, ledger: Ledger, as_of: object, rng: object) -> Reader:
        del as_of, rng
        if self.looks:
            self.rows = sum(ledger.table(name).num_rows for name in TABLES)
        return self

    def to_arrow(self) -> pa.Table:
        return NOBODY


def ours(book: Book, weeks: int, *, looks: bool) -> tuple[float, int]:
    policy = Reader(looks=looks)
    start = time.process_time()
    book.run([policy], weeks=weeks)
    return time.process_time() - start, policy.rows


def checked_each_week(book: Book, weeks: int) -> float:
    terms = Terms.of(book.catalogue)

    def see(state):
        tables = export.tables(state, terms.prices, POLICIES)
        return Ledger.from_frames(**tables, timezone=state.calendar.timezone)

    start = time.process_time()
    simulate(book._end, Reader(), weeks, see, terms)  # noqa: SLF001 - as the facade does
    return time.process_time() - start


@dataclass
class Claim:
    due: int
    cents: int
    open: int


@dataclass
class Account:
    rate: float
    pace: float
    tight: bool = False
    excitation: float = 0.0
    claims: list[Claim] = field(default_factory=list)


MASK = (1 << 64) - 1


def mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def uniform(purpose: int, unit: int, day: int) -> float:
    """Give a number that belongs to a unit and a day, so that policies share their luck."""
    return ((mix(mix(unit * 0x9E3779B97F4A7C15 + purpose) + day) >> 11) + 0.5) * 2.0**-53


def plain_python(accounts: int, weeks: int) -> float:
    rng = random.Random(0)
    people = [
        Account(rng.gammavariate(2, 0.085), rng.lognormvariate(0, 0.3)) for _ in range(accounts)
    ]
    paid: list[tuple[int, int, int]] = []
    start = 0.0
    # The past fills the book before the clock runs, as in ours.
    for day in range(-7 * 26, 7 * weeks):
        if day == 0:
            start = time.process_time()
        booking = (1.9, 1.35, 1.25, 1.2, 1.3, 0.0, 0.0)[day % 7]
        for number, person in enumerate(people):
            if day % 7 == 0:
                person.tight = uniform(1, number, day) < (0.92 if person.tight else 0.02)
                if uniform(2, number, day) < person.rate:
                    cents = int(7200 * rng.lognormvariate(0, 0.9))
                    person.claims.append(Claim(day + 14, cents, cents))
                late = any(claim.due < day for claim in person.claims)
                if late and uniform(3, number, day) < 0.4 and uniform(4, number, day) < 0.5:
                    person.excitation += 0.03
                if uniform(5, number, day) < 0.0025:
                    person.rate = 0.0
            person.excitation *= math.exp(-1 / 9)
            for place, claim in enumerate(person.claims):
                past = day - claim.due
                hazard = 0.04 if past < -4 else 0.3 if past <= 1 else 0.1 * math.exp(-past / 40)
                hazard *= person.pace * (0.35 if person.tight else 1.0)
                hazard = (hazard + person.excitation * (past >= 1)) * booking
                if uniform(6 + place, number, day) < 1.0 - math.exp(-hazard):
                    paid.append((number, day, claim.open))
                    claim.open = 0
            person.claims = [claim for claim in person.claims if claim.open]
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--log-weeks", type=int, default=60, help="weeks of the log before the run")
    parser.add_argument("--kind", default="shop")
    options = parser.parse_args()
    n, weeks = options.accounts, options.weeks
    print(f"{n:,} accounts, {weeks} weeks after a log of {options.log_weeks}, {options.kind}")
    begin = time.process_time()
    book = Book(options.kind, accounts=n, seed=0, weeks=options.log_weeks)
    book.as_of  # noqa: B018 - lives the log
    print(f"{'living the log':<52}{time.process_time() - begin:>9.1f} CPU s")
    unread, _ = ours(book, weeks, looks=False)
    print(f"{'run, ledger not read':<52}{unread:>9.1f} CPU s")
    read, rows = ours(book, weeks, looks=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    words = f"run, all tables read each week ({rows / 1e6:.1f} m rows)"
    print(f"{words:<52}{read:>9.1f} CPU s, peak {peak:.1f} GB")
    small = Book(options.kind, accounts=max(n // 10, 1), seed=0, weeks=options.log_weeks)
    slow = 10 * checked_each_week(small, weeks)
    print(f"{'peer: ledger made and checked anew, 1/10 x 10':<52}{slow:>9.1f} CPU s")
    loop = plain_python(500, weeks) * n / 500
    print(f"{'peer: plain Python loop, 500 accounts scaled':<52}{loop:>9.1f} CPU s")


if __name__ == "__main__":
    main()
