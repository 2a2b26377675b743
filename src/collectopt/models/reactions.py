"""What is seen of contacts: which ones drew a reaction, and how far that can be trusted.

A reaction by the customer shows that a contact reached its person. No reaction shows less: people
read mails whose images are never loaded, and a letter on the table says nothing. Programs open
mails that no one reads. Both errors are estimated from the reactions themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import betaln

from collectopt.exceptions import InputError
from collectopt.schema.ledger import Ledger
from collectopt.schema.sql import query
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Days within which a reaction counts; younger contacts are left out.
WINDOW = 7
#: Seen by machines that watch; said or done by the person.
NOTICED = ("opened", "clicked", "answered")
DONE = ("promised", "plan_accepted", "refused", "disputed", "complained", "opted_out",
        "visited_portal")  # fmt: skip
_SOON = 0.5  # hours: programs open what comes in at once
_OVERLAP = 20  # fewest reactions by deed from which the share of noticed ones is told
_AGREE = 4.0  # pseudo-count of how accounts differ in opening mails
_ROUNDS = 100
_TINY = 1e-3

_CONTACTS = f"""
with told as (
    select contact_id,
           bool_or(kind in {NOTICED}) as noticed,
           bool_or(kind = 'answered') as answered,
           bool_or(kind = 'opened') as opened,
           bool_or(kind in {DONE}) as done,
           bool_or(kind = 'promised') as promised,
           bool_or(kind = 'bounced') as bounced,
           min(known_at) filter (where kind = 'opened') as opened_at
    from (select r.contact_id, r.kind, r.known_at
          from responses r join contacts c using (contact_id)
          where r.known_at < $as_of and r.known_at < c.sent_at + interval {WINDOW} day)
    group by all
), costly as (select channel from contacts group by all having median(cost) > 0)
select c.account, c.contact_id, c.channel, c.tone, c.offer, c.local_hour as hour,
       c.local_weekday as weekday, epoch_us(c.sent_at) as sent_at,
       coalesce(t.noticed, false) as noticed, coalesce(t.answered, false) as answered,
       coalesce(t.done, false) as done, coalesce(t.bounced, false) as bounced,
       coalesce(t.opened, false) as opened, coalesce(t.promised, false) as promised,
       coalesce(t.opened_at < c.sent_at + interval '{int(60 * _SOON)} minute', false) as at_once
from contacts c left join told t using (contact_id)
where c.known_at < $as_of and c.sent_at < $as_of - interval {WINDOW} day
      and c.channel not in {NO_CONTACT}
      and not (coalesce(c.cost, 1) = 0 and c.channel in (select channel from costly))
order by c.account, c.sent_at, c.contact_id
"""


@dataclass(frozen=True, eq=False)
class Reactions:
    """Contacts that were sent, with what came of each within a week; sorted by account and time.

    Parameters
    ----------
    table : pyarrow.Table
        account (row number in the ledger), contact_id, channel, tone, offer, hour, weekday,
        sent_at (microseconds), noticed, answered, done, promised, bounced, opened, at_once.
    """

    table: pa.Table

    @classmethod
    def of(cls, ledger: Ledger, as_of: AsOf) -> Self:
        """Collect what is known before ``as_of``.

        Contacts younger than a week are left out: their reactions are still to come. So are
        decided contacts that were not sent (they cost nothing in a channel that has its price).

        Raises
        ------
        InputError
            ``as_of`` cannot be read.
        """
        moment = to_instant(as_of, ledger.timezone).astype("datetime64[us]")
        timeline = ledger.timeline
        sql = _CONTACTS.replace("$as_of", f"TIMESTAMPTZ '{moment}+00'")
        return cls(query(sql, {"contacts": timeline.contacts, "responses": timeline.responses}))

    def __len__(self) -> int:
        return len(self.table)

    def flag(self, name: str) -> Bool:
        """One of the columns of truth values."""
        return np.asarray(self.table[name].to_numpy(zero_copy_only=False), dtype=np.bool_)

    def ints(self, name: str) -> Int:
        """Give account, weekday or sent_at."""
        return self.table[name].to_numpy().astype(np.int64)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Channels that were used, in order of the alphabet."""
        return tuple(sorted(set(self.table["channel"].to_pylist())))

    @cached_property
    def channel(self) -> Int:
        """Code of each contact's channel."""
        return self.codes("channel", self.channels)

    def codes(self, name: str, known: tuple[str, ...]) -> Int:
        """Places of a column's texts among the known ones; -1 for others and null."""
        values = self.table[name].to_numpy(zero_copy_only=False).astype(object)
        place = {text: i for i, text in enumerate(known)}
        return np.array([place.get(text, -1) for text in values], dtype=np.int64)

    @cached_property
    def machine(self) -> Float:
        """Probability that opening says nothing, as a program opens everything at once, (n,).

        By account and channel: a mixture of people, who open a share of what they get that
        differs from one to the other, and of programs that open nearly all of it, nearly always
        within half an hour. Fitted by EM. Contacts of channels without opens get 0.
        """
        result = np.zeros(len(self))
        opened, at_once = self.flag("opened"), self.flag("at_once")
        arrived = ~self.flag("bounced")
        for code in np.unique(self.channel[opened]):
            mine = np.flatnonzero((self.channel == code) & arrived)
            _, who = np.unique(self.ints("account")[mine], return_inverse=True)
            n, k, fast = (_sums(who, flags[mine]) for flags in (arrived, opened, at_once))
            result[mine] = _programs(n, k, fast)[who]
        return result

    @cached_property
    def rows(self) -> Rows:
        """Contacts that arrived, those that a program may have opened split in two."""
        arrived = np.flatnonzero(~self.flag("bounced"))
        machine = self.machine[arrived]
        machine = np.where(machine < _TINY, 0.0, np.where(machine > 1.0 - _TINY, 1.0, machine))
        people, programs = np.flatnonzero(machine < 1.0), np.flatnonzero(machine > 0.0)
        place = np.concatenate([people, programs])
        of = arrived[place]
        blind = np.arange(len(place)) >= len(people)
        done, seen = self.flag("done"), self.flag("noticed") | self.flag("done")
        # A click on a link is a deed even where a program opens the mail.
        done = done | (self.flag("noticed") & ~self.flag("opened"))
        weight = np.where(blind, machine[place], 1.0 - machine[place])
        order = np.lexsort((blind, of))
        y = np.where(blind, done[of], seen[of]).astype(np.float64)
        return Rows(of[order], blind[order], y[order], weight[order])

    def detection(self) -> tuple[Float, Float, Bool]:
        """Estimate the share of reached contacts that is noticed, by channel.

        Of the contacts that led to a deed (a promise, a complaint), which show that they were
        reached, how many had been noticed? Capture and recapture after Lincoln and Petersen: the
        two kinds of signs are taken to be independent once the person is reached. An answered
        call is seen for sure. Programs are left out.

        Returns
        -------
        share, stderr : (C,) float64
            1 and 0 where there are too few deeds to tell: reach is then known from below only.
        known : (C,) bool
        """
        C = len(self.channels)
        share, stderr, known = np.ones(C), np.zeros(C), np.zeros(C, dtype=bool)
        noticed, done, answered = (self.flag(n) for n in ("noticed", "done", "answered"))
        people = 1.0 - self.machine
        for c in range(C):
            mine = self.channel == c
            n = people[mine & done].sum()
            both = people[mine & done & noticed].sum()
            if answered[mine].any():
                known[c] = True
            elif n >= _OVERLAP and both >= _OVERLAP / 2:
                share[c] = d = (both + 0.5) / (n + 1.0)
                stderr[c], known[c] = np.sqrt(d * (1.0 - d) / (n + 2.0)), True
        return share, stderr, known


@dataclass(frozen=True, eq=False)
class Rows:
    """Observations of contacts that arrived.

    Attributes
    ----------
    of : (m,) int64
        Row of the reactions' table.
    blind : (m,) bool
        Seen as if a program had opened it: only deeds count.
    y : (m,) float64
        1 = seen to be reached.
    weight : (m,) float64
        Probability of this reading.
    """

    of: Int
    blind: Bool
    y: Float
    weight: Float


def _sums(who: Int, flags: Bool) -> Float:
    return np.asarray(np.bincount(who, flags.astype(np.float64)), dtype=np.float64)


def _programs(n: Float, k: Float, fast: Float) -> Float:
    """Probability of each account that a program opens its mail: EM over two kinds."""
    share, mean, hasty = 0.2, 0.4, 0.2  # of programs; of people: opened, at once among them
    all_, at_once = 0.98, 0.95
    w = np.zeros(len(n))
    for _ in range(_ROUNDS):
        a, b = _AGREE * mean, _AGREE * (1.0 - mean)
        people = betaln(k + a, n - k + b) - betaln(a, b)
        people += fast * np.log(hasty) + (k - fast) * np.log1p(-hasty)
        programs = k * np.log(all_) + (n - k) * np.log1p(-all_)
        programs += fast * np.log(at_once) + (k - fast) * np.log1p(-at_once)
        odds = np.log(share) - np.log1p(-share) + programs - people
        w = 1.0 / (1.0 + np.exp(-np.clip(odds, -50.0, 50.0)))
        v = 1.0 - w
        share = float(np.clip(w.mean(), 1e-4, 0.9))
        mean = float(np.clip((v @ k + 0.5) / (v @ n + 1.0), 0.01, 0.95))
        hasty = float(np.clip((v @ fast + 0.5) / (v @ k + 1.0), 0.005, 0.9))
        all_ = float(np.clip((w @ k + 49.0) / (w @ n + 50.0), 0.95, 0.995))
        at_once = float(np.clip((w @ fast + 19.0) / (w @ k + 20.0), 0.8, 0.995))
    return w


def check_known(as_of: np.datetime64, asked: npt.NDArray[np.datetime64], what: str) -> None:
    """Refuse to tell the past from what came later.

    Raises
    ------
    InputError
    """
    early = np.flatnonzero(asked < as_of)
    if len(early):
        raise InputError.of(
            "snapshot",
            "as_of",
            expected=f"a time not before {as_of}, up to which the {what} has learnt",
            found=str(asked[early[0]]),
            rows=early.tolist(),
            hint="Fit one as of that time.",
        )
