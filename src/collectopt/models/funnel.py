"""What follows once someone is reached: a promise, and whether it is kept.

A promise is kept if the payments from it to the end of its day reach what was promised (any payment
where no amount was named); without a day it is due 14 days later. One that is not due yet is left
out: it is neither kept nor broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from collectopt.exceptions import NotFittedError
from collectopt.models.multiples import Multiple
from collectopt.models.reach import REACHED
from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_DAYS = 3  # after which a promise because of a contact would have been made
_DUE = 14
_MADE = ("promised", "plan_accepted")
_TALKS = """
select c.contact_id, c.account, c.channel, coalesce(c.tone, '') as tone,
       coalesce(c.offer, 'none') as offer, bool_or(list_contains({made}, r.kind)) as event
from contacts c join responses r on r.contact_id = c.contact_id and r.known_at < {cut}
where c.sent_at + interval {days} day <= {cut} and not list_contains({others}, c.channel)
  and list_contains({reached}, r.kind)
group by all
order by c.contact_id
"""
_PROMISES = """
with made as (
    select row_number() over () as id, account, coalesce(channel, '') as channel,
           coalesce(tone, '') as tone, known_at,
           coalesce(due_on, local_day + {due}) as due, greatest(coalesce(cents, 1), 1) as goal
    from responses where kind = 'promised' and known_at < {cut}
)
select m.id, m.account, m.channel, m.tone, 'none' as offer,
       coalesce(sum(p.cents), 0) >= any_value(m.goal) as event
from made m left join payments p
     on p.account = m.account and p.known_at >= m.known_at and p.local_day <= m.due
        and p.known_at < {cut}
where m.due + interval 2 day < {cut}
group by all
order by m.id
"""


@dataclass(frozen=True, eq=False)
class Head:
    """A chance by channel, tone, offer and account: a base and factors on it, each shrunk to 1.

    Attributes
    ----------
    base : float
    levels : mapping of (family, level) to (place)
        Of the factors "channel", "tone", "offer".
    factor : Multiple
        Of these levels.
    account : Multiple
        Of the accounts.
    rows : (L,) float64
        Observations of each level.
    """

    base: float
    levels: dict[tuple[str, str], int]
    factor: Multiple
    account: Multiple
    rows: Float

    @classmethod
    def fit(cls, table: pa.Table, accounts: int) -> Self:
        """Learn from rows with account, channel, tone, offer and whether it happened."""
        y = table["event"].to_numpy(zero_copy_only=False).astype(np.float64)
        account = table["account"].to_numpy().astype(np.int64)
        base = float((y.sum() + 1.0) / (len(y) + 4.0))
        levels: dict[tuple[str, str], int] = {}
        places = []
        for family in ("channel", "tone", "offer"):
            values = table[family].to_numpy(zero_copy_only=False).astype(str)
            for value in np.unique(values):
                levels[family, str(value)] = len(levels)
            places.append(np.array([levels[family, value] for value in values.tolist()], np.int64))
        p, found = np.full(len(y), base), []
        for place in places:
            found.append(Multiple.of(place, len(levels), y, p))
            p = np.clip(p * found[-1].factor[place], 0.0, 0.99)
        # each level belongs to one family, so that the counts do not overlap
        factor = Multiple(
            np.asarray(sum(f.seen for f in found)),
            np.asarray(sum(f.expected for f in found)),
            float(np.median([f.weight for f in found])) if found else 1.0,
        )
        rows = np.bincount(np.concatenate(places), minlength=len(levels)).astype(np.float64)
        return cls(base, levels, factor, Multiple.of(account, accounts, y, p), rows)

    def chance(self, account: Int, channel: str, tone: str = "", offer: str = "none") -> Float:
        """Chance for accounts by their places in the ledger, (m,); unknown levels count as 1."""
        p = self.base * self.account.factor[account]
        for key in (("channel", channel), ("tone", tone), ("offer", offer)):
            if key in self.levels:
                p = p * self.factor.factor[self.levels[key]]
        return np.clip(p, 0.0, 0.99)


@dataclass(frozen=True, eq=False)
class Funnel:
    """Chances of a promise once someone is reached, and that it is kept.

    Attributes
    ----------
    promise, kept : Head
    """

    promise: Head
    kept: Head

    def table(self) -> pd.DataFrame:
        """Tell both chances by channel, tone and offer for the average account.

        Returns
        -------
        DataFrame
            head (promise, kept), family, level, chance, low, high (90 %), observations.
        """
        rows = []
        for name, head in (("promise", self.promise), ("kept", self.kept)):
            for (family, level), place in head.levels.items():
                middle = head.base * float(head.factor.factor[place])
                wide = float(np.exp(1.645 * np.sqrt(head.factor.variance[place])))
                rows.append(
                    {
                        "head": name,
                        "family": family,
                        "level": level,
                        "chance": min(middle, 0.99),
                        "low": min(middle / wide, 0.99),
                        "high": min(middle * wide, 1.0),
                        "observations": int(head.rows[place]),
                    }
                )
        return pd.DataFrame(rows)


class FunnelModel:
    """Learn from responses what follows once someone is reached.

    Attributes
    ----------
    funnel_ : Funnel

    Examples
    --------
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=200, seed=1, weeks=30)
    >>> funnel = FunnelModel().fit(book.ledger(), book.as_of).funnel_
    >>> funnel.promise.chance(np.array([0, 1]), "phone").shape
    (2,)
    """

    def __init__(self) -> None:
        self._funnel: Funnel | None = None

    @property
    def funnel_(self) -> Funnel:
        """What was learnt.

        Raises
        ------
        NotFittedError
        """
        if self._funnel is None:
            raise NotFittedError.of(self, "funnel_")
        return self._funnel

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``."""
        cut = f"TIMESTAMPTZ '{to_instant(as_of, ledger.timezone)}+00'"
        timeline, n = ledger.timeline, len(ledger.accounts)
        contacts = timeline.contacts.select(
            ["contact_id", "account", "channel", "tone", "offer", "sent_at"]
        )
        tables = {
            "contacts": contacts,
            "responses": timeline.responses,
            "payments": timeline.payments.select(["account", "cents", "known_at", "local_day"]),
        }
        words = {
            "cut": cut,
            "days": _DAYS,
            "due": _DUE,
            "made": list(_MADE),
            "others": list(NO_CONTACT),
            "reached": list(REACHED),
        }
        self._funnel = Funnel(
            promise=Head.fit(query(_TALKS.format(**words), tables), n),
            kept=Head.fit(query(_PROMISES.format(**words), tables), n),
        )
        return self
