"""From the person reached to a promise, and from the promise to the money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import NotFittedError
from collectopt.features.responses import PROMISE_DAYS
from collectopt.models.chances import Chances
from collectopt.models.credibility import Evidence, Moments, interval, pairs, posterior
from collectopt.models.logodds import Basis, LogOdds
from collectopt.models.reactions import Reactions, check_known
from collectopt.models.segments import Segments, numbers
from collectopt.schema.actions import ActionSet
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import INSTANT, AsOf, local_time, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_EXPECTED = np.array([0.25])  # variance of accounts in log odds, before a look at the log
_PROMISES = f"""
with made as (
    select row_number() over (order by r.account, r.known_at, r.due_on, r.cents) as id,
           r.account, r.known_at, r.channel, r.tone,
           coalesce(r.due_on, r.local_day + {PROMISE_DAYS}) as due,
           greatest(coalesce(r.cents, 1), 1) as goal
    from responses r where r.kind = 'promised' and r.known_at < $as_of
), paid as (
    select m.id, m.goal, sum(p.cents) over (partition by m.id order by p.known_at) as total
    from made m join payments p on p.account = m.account
         and p.known_at >= m.known_at and p.local_day <= m.due and p.known_at < $as_of
)
select m.account, m.channel, m.tone, m.id in (select id from paid where total >= goal) as kept
from made m join zones z on z.account = m.account
where m.due < z.today order by m.account, m.known_at, m.id
"""


def settled_promises(ledger: Ledger, as_of: AsOf) -> pa.Table:
    """Give promises whose day is over, and whether they were kept.

    Kept: payments from the promise to the end of its day (14 days later where it names none)
    reach the promised amount, or any amount where none was named. A promise whose day is still
    to come is left out even if the money is there: those who pay late are not seen yet.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Only what was known before it counts.

    Returns
    -------
    pyarrow.Table
        account (row number), channel and tone of the contact behind it (null: none), kept.
    """
    moment = to_instant(as_of, ledger.timezone).astype("datetime64[us]")
    n = ledger.accounts.num_rows
    now = pa.array(np.full(n, moment)).cast(INSTANT)
    today = pc.cast(pc.floor_temporal(local_time(now, ledger.zones), unit="day"), pa.date32())
    zones = pa.table({"account": pa.array(np.arange(n), pa.int32()), "today": today})
    timeline = ledger.timeline
    tables = {"responses": timeline.responses, "payments": timeline.payments, "zones": zones}
    return query(_PROMISES.replace("$as_of", f"TIMESTAMPTZ '{moment}+00'"), tables)


@dataclass(frozen=True, eq=False)
class Head:
    """One step of the funnel: by channel, tone, offer and segment, then by account.

    Attributes
    ----------
    levels : tuple of tuple of str
        Known channels, tones, offers and segments.
    odds : LogOdds
    evidence : Evidence
    size : float
        Standard deviation of accounts, log odds.
    codes : (n, 4) int64
        Levels of each observation; -1 = none.
    yes : (n,) float64
    """

    levels: tuple[tuple[str, ...], ...]
    odds: LogOdds
    evidence: Evidence
    size: float
    codes: Int
    yes: Float

    @classmethod
    def fit(
        cls,
        levels: tuple[tuple[str, ...], ...],
        account: Int,
        codes: Int,
        yes: Float,
        weight: Float,
    ) -> Self:
        """Learn from observations sorted by account."""
        bases = tuple(Basis.open(len(known)) for known in levels)
        odds = LogOdds.fit(weight * yes, weight, codes, bases)
        p = odds.rate(codes)
        evidence = Evidence(account, yes - p, p * (1.0 - p), weight)
        moments = Moments.zero(1)
        for _, _, product, scale, both in pairs(evidence):
            moments = moments.plus(scale[None, :], product, both)
        size = float(np.sqrt(moments.solve(_EXPECTED)[0]))
        return cls(levels, odds, evidence, size, codes, yes)

    def deviation(self, account: Int) -> tuple[Float, Float]:
        """Posterior mean and variance of accounts, log odds, (n,) each."""
        one = np.full((len(self.yes), 1), self.size)
        mean, variance = np.zeros(len(account)), np.ones(len(account))
        for here, z, Z in posterior(self.evidence, one, np.eye(1), account):
            mean[here], variance[here] = z[:, 0], Z[:, 0, 0]
        return self.size * mean, self.size**2 * variance

    def chances(self, account: Int, segment: Int, actions: ActionSet) -> Chances:
        """Chance of accounts under actions; 0 for what is no contact."""
        told = (
            (actions.channels, actions.channel),
            (actions.tones, actions.tone),
            (actions.offers, actions.offer),
        )
        parts = [
            _recode(names, known)[code]
            for (names, code), known in zip(told, self.levels[:3], strict=True)
        ]
        groups, group = np.unique(segment, return_inverse=True)
        usual = np.stack(
            [
                self.odds.rate(np.column_stack([*parts, np.full(len(actions), g)]))
                for g in groups
            ]
        ) if len(groups) else np.zeros((0, len(actions)))  # fmt: skip
        return Chances(
            group=group.ravel(),
            usual=usual,
            slope=usual * (1.0 - usual),
            deviation=self.deviation(account)[0][:, None],
            phi=np.ones((len(actions), 1)),
            scale=actions.is_contact.astype(np.float64),
            arrives=np.ones((len(account), 1)),
            channel=np.zeros(len(actions), dtype=np.int64),
        )

    def table(self, name: str) -> pd.DataFrame:
        """Rates by channel and by tone, all else as usual: 90 % intervals and counts."""
        rows = []
        design = self.odds.design(self.codes)
        average = np.average(design, axis=0, weights=self.evidence.weight) if len(design) else None
        start = 1
        for f, family in enumerate(("channel", "tone", "offer")):
            width = len(self.levels[f])
            for code, level in enumerate(self.levels[f]):
                mine = self.codes[:, f] == code
                if average is None or not mine.any():
                    continue
                x = average.copy()
                x[start : start + width] = np.eye(width)[code]
                p, error = self.odds.told(x[None, :])
                low, high = interval(p, (p * (1.0 - p)) ** 2 * error)
                count = int(mine.sum())
                rows.append(
                    (name, family, level, float(p[0]), float(low[0]), float(high[0]), count)
                )
            start += width
        columns = ["head", "family", "level", "rate", "low", "high", "observations"]
        return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True, eq=False)
class Funnel:
    """Chances of n accounts under K actions.

    Attributes
    ----------
    promise : Chances
        Of a promise within a week, given that the contact reached its person; in channels in which
        reach is not seen (`FunnelModel.unseen`), given that the contact arrived.
    kept : Chances
        That the promise is kept in full by its day.
    """

    promise: Chances
    kept: Chances


class FunnelModel:
    """Promises given reach, and promises kept: shrunken rates, account to segment to channel.

    Attributes
    ----------
    unseen : tuple of str
        Channels whose reach is not seen: their promises are told given arrival.
    promise, kept : Head

    Notes
    -----
    Who is reached without being noticed is not among the rows. Rows that were noticed alone count
    one over the share that is noticed, those with a deed count once: this makes rows stand for all
    who were reached. Mails that a program may have opened count with the probability that it was
    a person.

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=300, seed=1)
    >>> model = FunnelModel().fit(book.ledger(), book.as_of)
    >>> sorted(model.table()["head"].unique())
    ['kept', 'promise']
    """

    def __init__(self) -> None:
        self.unseen: tuple[str, ...] = ()
        self.promise: Head | None = None
        self.kept: Head | None = None

    def __repr__(self) -> str:
        return f"FunnelModel(unseen={self.unseen})"

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from contacts, reactions and payments known before ``as_of``.

        Raises
        ------
        InputError
            ``as_of`` cannot be read.
        """
        self._as_of = to_instant(as_of, ledger.timezone)
        self._segments = Segments.of(ledger)
        self._segment = self._segments.codes(ledger)[:, 0]
        log = Reactions.of(ledger, as_of)
        share, _, known = log.detection()
        self.unseen = tuple(n for n, seen in zip(log.channels, known, strict=True) if not seen)
        rows = log.rows
        channel = log.channel[rows.of]
        kept = (rows.y > 0.0) | ~known[channel]
        of, weight = rows.of[kept], rows.weight[kept]
        alone = known[log.channel[of]] & ~log.flag("done")[of]
        weight = np.where(alone, weight / share[log.channel[of]], weight)
        account = log.ints("account")[of]
        self.promise = self._head(
            log.table.take(pa.array(of)), account, log.flag("promised")[of], weight
        )
        made = settled_promises(ledger, as_of)
        yes = made["kept"].to_numpy(zero_copy_only=False)
        whose = made["account"].to_numpy().astype(np.int64)
        offer = pa.nulls(len(made), pa.string())
        self.kept = self._head(made.append_column("offer", offer), whose, yes, np.ones(len(made)))
        return self

    def predict(self, snapshot: Snapshot, actions: ActionSet) -> Funnel:
        """Chances of a promise and of its being kept.

        Parameters
        ----------
        snapshot : Snapshot
            n rows, none before the time of the fit.
        actions : ActionSet

        Raises
        ------
        InputError
        """
        promise, kept = self._heads("predict")
        check_known(self._as_of, snapshot.as_of, "funnel model")
        account, segments = self._segments.find(snapshot)
        segment = segments[:, 0]
        return Funnel(
            promise.chances(account, segment, actions), kept.chances(account, segment, actions)
        )

    def table(self) -> pd.DataFrame:
        """Tell the rates of both heads by channel, tone and offer.

        Returns
        -------
        DataFrame
            head ("promise", "kept"), family, level, rate, low, high (90 %), observations.
        """
        promise, kept = self._heads("table")
        return pd.concat([promise.table("promise"), kept.table("kept")], ignore_index=True)

    def _heads(self, method: str) -> tuple[Head, Head]:
        if self.promise is None or self.kept is None:
            raise NotFittedError.of(self, method)
        return self.promise, self.kept

    def _head(self, table: pa.Table, account: Int, yes: Bool, weight: Float) -> Head:
        texts = [table[n].to_pylist() for n in ("channel", "tone", "offer")]
        known = [tuple(sorted({t for t in column if t is not None})) for column in texts]
        codes = [numbers(column, names) for column, names in zip(texts, known, strict=True)]
        codes.append(self._segment[account])
        levels = (*known, self._segments.segments)
        return Head.fit(levels, account, np.column_stack(codes), yes.astype(np.float64), weight)


def _recode(names: Sequence[str], known: tuple[str, ...]) -> Int:
    """Codes among the known levels, and -1 for the code -1."""
    return np.append(numbers(names, known), -1)
