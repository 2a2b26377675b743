"""Reach: whether a contact finds the right person, by channel, hour, weekday and account.

A contact has reached someone if something was done because of it: read, clicked, answered,
promised, refused, disputed. That it was delivered says nothing. Chances are products of factors:
the channel's own, the segment's, the hour's and the weekday's, and of the account in all channels,
in this one, near this hour, on this weekday; each is shrunk to 1 as far as accounts are alike.

Some e-mail is opened by programs, whoever it is for. An account whose every e-mail is opened is
taken for one of these by the chance that a person would do that; its openings then count little.
What a customer reads without leaving a trace is not seen: the chances are those of a visible
reaction, for letters far below that of being read. They are to be compared within a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import betaln
from scipy.stats import norm

from collectopt.exceptions import NotFittedError
from collectopt.models.multiples import Multiple
from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: What a customer does only if a contact reached them; to open a message may be a program's doing.
REACHED = ("clicked", "answered", "promised", "plan_accepted", "refused", "disputed", "complained",
           "opted_out", "visited_portal")  # fmt: skip
_DAYS = 3  # after which a reaction would have been seen
_WIDTH = 1.0  # hours: contacts so near count as at the same time
_ALWAYS = 0.99  # chance that a program opens a message
_HOURS, _WEEKDAYS = 24, 7
_CONTACTS = """
select c.contact_id, c.account, c.channel, c.local_hour as hour, c.local_weekday as weekday,
       coalesce(bool_or(list_contains({reached}, r.kind)), false) as sure,
       coalesce(bool_or(r.kind = 'opened'), false) as opened
from contacts c left join responses r
     on r.contact_id = c.contact_id and r.known_at < {cut}
where c.sent_at + interval {days} day <= {cut} and c.known_at < {cut}
  and not list_contains({others}, c.channel)
group by all
order by c.account, c.contact_id
"""


@dataclass(frozen=True, eq=False)
class Reach:
    """Chances of a visible reaction, and the contacts behind them.

    Attributes
    ----------
    channels : tuple of str
    base : (C,) float64
        Of a contact by the channel, at its usual times.
    hour, weekday : (C, 24), (C, 7) float64
        Factors of the channel's profile.
    account, by_channel, by_hour, by_weekday : Multiple
        Of n accounts; n x C, n x 24 and n x 7 groups, row by row.
    segment : (n, C) float64
        Factors of the account's segment.
    contacts, at_hour, on_weekday : (n, C), (n, 24), (n, 7) float64
        Contacts behind them; at an hour also those near it, by their nearness.
    """

    channels: tuple[str, ...]
    base: Float
    hour: Float
    weekday: Float
    account: Multiple
    by_channel: Multiple
    by_hour: Multiple
    by_weekday: Multiple
    segment: Float
    contacts: Float
    at_hour: Float
    on_weekday: Float

    def chance(self, account: Int, channel: Int, hour: Int, weekday: Int) -> Float:
        """Chance that contacts reach someone, (m,); all arguments (m,), hours from 0 to 23."""
        p = self.base[channel] * self.segment[account, channel]
        p = p * self.hour[channel, hour] * self.weekday[channel, weekday]
        for place, multiple in (
            (account, self.account),
            (account * len(self.channels) + channel, self.by_channel),
            (account * _HOURS + hour, self.by_hour),
            (account * _WEEKDAYS + weekday, self.by_weekday),
        ):
            p = p * multiple.factor[place]
        return np.clip(p, 0.0, 0.99)

    def by_level(self, account: Int, level: float = 0.9) -> pd.DataFrame:
        """Chances of some accounts by channel, hour and weekday.

        Parameters
        ----------
        account : (m,) int64
            Places of the accounts in the ledger.
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame
            row (place in ``account``), family (channel, hour, weekday), level, chance (by hour and
            weekday: relative to the account's mean), low, high, observations.
        """
        C, z = len(self.channels), float(norm.ppf(0.5 + level / 2.0))
        own = self.account.factor[account][:, None]
        noise = self.account.variance[account][:, None]
        grid = (account[:, None] * C + np.arange(C)).ravel()
        reach = self.base * self.segment[account] * own
        parts = [
            (
                "channel",
                np.array(self.channels, dtype=object),
                reach * self.by_channel.factor[grid].reshape(-1, C),
                noise + self.by_channel.variance[grid].reshape(-1, C),
                self.contacts[account],
            )
        ]
        share = self.contacts.sum(axis=0) / max(self.contacts.sum(), 1.0)
        for name, profile, multiple, count, size in (
            ("hour", share @ self.hour, self.by_hour, self.at_hour, _HOURS),
            ("weekday", share @ self.weekday, self.by_weekday, self.on_weekday, _WEEKDAYS),
        ):
            place = (account[:, None] * size + np.arange(size)).ravel()
            ratio = profile * multiple.factor[place].reshape(-1, size)
            variance = multiple.variance[place].reshape(-1, size)
            parts.append((name, np.arange(size), ratio, variance, count[account]))
        frames = []
        for name, levels, mean, variance, count in parts:
            wide = np.exp(z * np.sqrt(variance))
            top = 1.0 if name == "channel" else np.inf
            frames.append(
                pd.DataFrame(
                    {
                        "row": np.repeat(np.arange(len(account)), len(levels)),
                        "family": name,
                        "level": np.tile(levels, len(account)).astype(object),
                        "chance": np.minimum(mean, top).ravel(),
                        "low": np.minimum(mean / wide, top).ravel(),
                        "high": np.minimum(mean * wide, top).ravel(),
                        "observations": count.ravel(),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)


class ReachModel:
    """Learn from a ledger's contacts and responses who is reached how and when.

    Attributes
    ----------
    reach_ : Reach or None
        None: no contact is old enough.

    Examples
    --------
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=200, seed=1, weeks=30)
    >>> reach = ReachModel().fit(book.ledger(), book.as_of).reach_
    >>> reach.chance(*[np.array([0])] * 2, np.array([18]), np.array([2])).shape
    (1,)
    """

    def __init__(self) -> None:
        self._fitted = False
        self._reach: Reach | None = None

    @property
    def reach_(self) -> Reach | None:
        """What was learnt.

        Raises
        ------
        NotFittedError
        """
        if not self._fitted:
            raise NotFittedError.of(self, "reach_")
        return self._reach

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``; reactions may take three days."""
        cut = to_instant(as_of, ledger.timezone)
        self._fitted, self._reach = True, None
        rows = _Contacts.read(ledger, cut)
        if len(rows.account):
            self._reach = _learn(rows, ledger)
        return self


@dataclass(frozen=True, eq=False)
class _Contacts:
    """Contacts whose reaction would have been seen, with the chance that they reached someone."""

    account: Int
    channel: Int
    hour: Float
    weekday: Int
    reached: Float
    channels: tuple[str, ...]

    @classmethod
    def read(cls, ledger: Ledger, cut: np.datetime64) -> _Contacts:
        words = {
            "cut": f"TIMESTAMPTZ '{cut}+00'",
            "days": _DAYS,
            "reached": list(REACHED),
            "others": list(NO_CONTACT),
        }
        timeline = ledger.timeline
        wanted = ["contact_id", "account", "channel", "local_hour", "local_weekday", "sent_at"]
        table = query(
            _CONTACTS.format(**words),
            {
                "contacts": timeline.contacts.select([*wanted, "known_at"]),
                "responses": timeline.responses.select(["contact_id", "kind", "known_at"]),
            },
        )
        channels, channel = np.unique(
            table["channel"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True
        )
        account = table["account"].to_numpy().astype(np.int64)
        sure, opened = (table[name].to_numpy(zero_copy_only=False) for name in ("sure", "opened"))
        reached = np.where(sure, 1.0, opened * (1.0 - _by_program(account, channel, opened)))
        hour = table["hour"].to_numpy().astype(np.float64)
        weekday = table["weekday"].to_numpy().astype(np.int64)
        return cls(account, channel.reshape(-1), hour, weekday, reached, tuple(channels))


def _by_program(account: Int, channel: Int, opened: npt.NDArray[np.bool_]) -> Float:
    """Chance that a program opens what the account gets by the channel, for each contact.

    Two kinds of accounts, told apart by how many of their messages are opened: of a program all
    but 1 %; of a person a share that differs between persons (beta). By EM.
    """
    out = np.zeros(len(account))
    for c in np.unique(channel[opened]):
        mine = channel == c
        who, place = np.unique(account[mine], return_inverse=True)
        n = np.bincount(place).astype(np.float64)
        k = np.bincount(place, opened[mine]).astype(np.float64)
        share, a, b = 0.1, 1.0, 1.0
        chance = np.zeros(len(who))
        for _ in range(50):
            person = betaln(a + k, b + n - k) - betaln(a, b)
            program = k * np.log(_ALWAYS) + (n - k) * np.log(1.0 - _ALWAYS)
            chance = 1.0 / (
                1.0 + np.exp(np.clip(person - program, -500, 500)) * (1 - share) / share
            )
            share = float(np.clip(chance.mean(), 1e-4, 0.9))
            a, b = _beta(k, n, 1.0 - chance, a, b)
        out[mine] = chance[place]
    return out


def _beta(k: Float, n: Float, weight: Float, a: float, b: float) -> tuple[float, float]:
    """Beta of persons' shares, by moments of those with two messages or more."""
    many = n >= 2
    w = weight * many
    total = float((w * n).sum())
    if total <= 0.0:
        return a, b
    mean = float(np.clip((w * k).sum() / total, 0.01, 0.99))
    pairs = float((w * n * (n - 1.0)).sum())
    both = float((w * k * (k - 1.0)).sum()) / max(pairs, 1e-12)
    spread = mean * (1.0 - mean)
    alike = float(np.clip((both - mean * mean) / spread, 0.02, 0.6))
    size = (1.0 - alike) / alike
    return mean * size, (1.0 - mean) * size


def _learn(rows: _Contacts, ledger: Ledger) -> Reach:
    C, n = len(rows.channels), len(ledger.accounts)
    account, channel, y = rows.account, rows.channel, rows.reached
    hour = np.clip(np.floor(rows.hour), 0, _HOURS - 1).astype(np.int64)
    count = np.bincount(channel, minlength=C).astype(np.float64)
    base = (np.bincount(channel, y, minlength=C) + 0.5) / (count + 1.0)
    p = base[channel]
    profile = []
    for slot, size in ((hour, _HOURS), (rows.weekday, _WEEKDAYS)):
        found = Multiple.of(channel * size + slot, C * size, y, p).factor.reshape(C, size)
        profile.append(found)
        p = p * found[channel, slot]
    kind = _segments(ledger)
    by_segment = Multiple.of(kind[account] * C + channel, (kind.max() + 1) * C, y, p)
    segment = by_segment.factor.reshape(-1, C)[kind]
    p = np.clip(p * segment[account, channel], 0.0, 0.99)
    of_account = Multiple.of(account, n, y, p)
    p = np.clip(p * of_account.factor[account], 0.0, 0.99)
    by_channel = Multiple.of(account * C + channel, n * C, y, p)
    p = np.clip(p * by_channel.factor[account * C + channel], 0.0, 0.99)
    near = _nearness(rows.hour)
    by_hour = _kernel(account, near, n, y, p)
    p = np.clip(p * by_hour.factor[account * _HOURS + hour], 0.0, 0.99)
    by_weekday = Multiple.of(account * _WEEKDAYS + rows.weekday, n * _WEEKDAYS, y, p)
    at_hour = np.zeros((n, _HOURS))
    np.add.at(at_hour, account, near)
    return Reach(
        channels=rows.channels,
        base=base,
        hour=profile[0],
        weekday=profile[1],
        account=of_account,
        by_channel=by_channel,
        by_hour=by_hour,
        by_weekday=by_weekday,
        segment=segment,
        contacts=_count(account, channel, n, C),
        at_hour=at_hour,
        on_weekday=_count(account, rows.weekday, n, _WEEKDAYS),
    )


def _count(account: Int, level: Int, n: int, size: int) -> Float:
    return np.bincount(account * size + level, minlength=n * size).reshape(n, size).astype(float)


def _nearness(hour: Float) -> Float:
    """How far each contact tells of each full hour and the minutes after it, (m, 24)."""
    middle = np.arange(_HOURS) + 0.5
    away = np.maximum(np.abs(hour[:, None] - middle) - 0.5, 0.0)
    near = np.exp(-0.5 * (away / _WIDTH) ** 2)
    return np.where(near < 0.05, 0.0, near)


def _kernel(account: Int, near: Float, n: int, y: Float, p: Float) -> Multiple:
    """Factors by hour that share what was seen near by."""
    seen, expected = np.zeros((n, _HOURS)), np.zeros((n, _HOURS))
    np.add.at(seen, account, near * y[:, None])
    np.add.at(expected, account, near * p[:, None])
    hour = near.argmax(axis=1)
    # how much hours differ is told by contacts of the hour alone
    weight = Multiple.of(account * _HOURS + hour, n * _HOURS, y, p).weight
    return Multiple(seen.ravel(), expected.ravel(), weight)


def _segments(ledger: Ledger) -> Int:
    """Give accounts of one customer type and country the same number."""
    accounts = ledger.accounts
    text: pa.Array = pc.binary_join_element_wise(
        accounts["customer_type"], accounts["country"], "|"
    ).combine_chunks()
    return pc.cast(text.dictionary_encode().indices, pa.int64()).to_numpy(zero_copy_only=False)
