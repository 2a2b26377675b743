"""What a feature is: a name, a meaning, a unit and one SQL expression over facts.

Features are computed in three layers, all of them data:

* a :class:`Step` derives a table once for the whole book (for example: when was each claim
  settled, and until when did that last). It may look at all rows, but each line that it makes
  carries the instant from which on it is true.
* :class:`Facts` join the rows of a snapshot to what was known strictly before their ``as_of``.
  This is the only place where the point-in-time rule ``known < t`` is applied.
* a :class:`Feature` is one expression over the facts of a row.

Names in the SQL: ``rid`` row, ``acc`` account, ``inv`` invoice, ``t`` as_of and ``known``
known_at (UTC microseconds), ``d`` local day (days since 1970-01-01), ``ago`` whole local days
from the fact to as_of. Instants and days are integers: no time zone is left to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

NEVER = 3650.0
"""Days that stand for "never so far" (or "none in sight"); longer spans are cut to it."""

CHANNEL = "<channel>"


class Family(Enum):
    """What a feature is about."""

    CLAIMS = "claims"
    LATENESS = "lateness"
    PAYMENTS = "payments"
    CONTACTS = "contacts"
    RESPONSES = "responses"
    HOLDS = "holds"
    ACCOUNT = "account"
    CALENDAR = "calendar"
    RATES = "rates"
    CALLER = "caller"


class Unit(Enum):
    """Unit of a feature."""

    DAYS = "days"
    MONEY = "money"  # in the currency of the account
    COUNT = "count"
    SHARE = "share"  # 0..1
    RATIO = "ratio"
    FLAG = "flag"  # 0 or 1
    CATEGORY = "category"
    NUMBER = "number"


@dataclass(frozen=True)
class Step:
    """A table derived once a run, before any as_of is looked at.

    Attributes
    ----------
    name : str
        Table name in the SQL.
    sql : str
        SELECT that makes it.
    needs : tuple of Step
        Steps that it reads.
    """

    name: str
    sql: str
    needs: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What was known of a row: zero or more lines for each ``rid``.

    Attributes
    ----------
    name : str
    sql : str
        SELECT with a column ``rid``; holds the rule ``known < t``.
    needs : tuple of Step
        Steps that it reads.
    grouped : bool
        True: features aggregate over the lines of a row. False: one line a row.
    """

    name: str
    sql: str
    needs: tuple[Step, ...] = ()
    grouped: bool = True


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes
    ----------
    name : str
        Unique; ``<channel>`` stands for each channel that occurs in the book.
    family : Family
    unit : Unit
    meaning : str
        One sentence for people.
    sources : tuple of str
        ``table.column`` of the ledger that it is made of.
    facts : Facts
        Lines that `sql` aggregates.
    sql : str
        Expression over `facts`. Null means: nothing known, take `default`.
    default : float
        Value at a cold start. NaN only where the caller left an attribute unknown.
    codes : str or None
        For categories: the coded ``table.column`` whose values the expression yields.
    """

    name: str
    family: Family
    unit: Unit
    meaning: str
    sources: tuple[str, ...]
    facts: Facts
    sql: str
    default: float = 0.0
    codes: str | None = None

    @property
    def per_channel(self) -> bool:
        """Whether there is one such feature for each channel."""
        return CHANNEL in self.name

    def of_channel(self, channel: str, code: int) -> Feature:
        """Make the feature of one channel.

        Parameters
        ----------
        channel : str
        code : int
            Code of the channel in the coded contacts; -1 if no contact used it.
        """
        return replace(
            self,
            name=self.name.replace(CHANNEL, channel),
            meaning=self.meaning.replace(CHANNEL, channel),
            sql=self.sql.replace(CHANNEL, str(code)),
        )

    def __str__(self) -> str:
        return f"{self.name} [{self.unit.value}]: {self.meaning}"
