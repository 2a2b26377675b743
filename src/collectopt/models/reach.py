"""Who is reached: right-party contact by channel, hour, weekday and account."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.exceptions import NotFittedError
from collectopt.models.boosting import expit
from collectopt.models.chances import TOP, Chances, Profile, Told
from collectopt.models.clock import CLOCK, DAYS, KNOTS, hats, weekdays
from collectopt.models.credibility import Evidence, bounded, interval, posterior
from collectopt.models.deviations import Deviations
from collectopt.models.logodds import Basis, LogOdds
from collectopt.models.reactions import Reactions, check_known
from collectopt.models.segments import Segments
from collectopt.schema.actions import ActionSet
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_THURSDAY = 3  # 1970-01-01


class ReachModel:
    """Chance that a contact reaches its person: channel, then segment, then account.

    A contact has reached its person where a reaction within a week shows it: opened, clicked,
    answered, or a deed such as a promise or a complaint (:mod:`collectopt.models.reactions`).

    For each channel a logistic regression with shrunken profiles of hour, weekday, segment
    (customer type and country) and region gives the usual chance. Deviations of the single account
    (its level, in part common to all channels; its hours, neighbours alike; its weekdays) come from
    its own contacts by linear credibility (:mod:`collectopt.models.credibility`), as large as the
    products of residuals of the same account show deviations to be. An account without contacts has
    the chance of its segment, with a wider interval.

    Errors of observation: accounts whose mails a program opens are found by a mixture, and only
    deeds count for them. Mails that are read unseen are made up for by the share of deeds that
    followed an opened mail. A channel with too few deeds to tell, such as letters, keeps the rate
    at which reactions are seen: a lower bound of reach (`table` says which), good for comparing
    hours and accounts, not channels.

    The log tells of those who were contacted. Accounts that never had to be may be easier to reach
    than their segment.

    Attributes
    ----------
    channels : tuple of str
        Channels of the log.
    deviations : Deviations
        How far accounts differ, in log odds.

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=300, seed=1)
    >>> model = ReachModel().fit(book.ledger(), book.as_of)
    >>> reach = model.predict(co.Snapshot(book.ledger(), book.as_of), book.catalogue.actions)
    >>> reach.block(slice(0, 2)).shape == (2, len(book.catalogue.actions))
    True
    """

    def __init__(self) -> None:
        self.channels: tuple[str, ...] = ()
        self.deviations = Deviations(np.zeros((0, 3)), 0.0)
        self._as_of: np.datetime64 | None = None

    def __repr__(self) -> str:
        return f"ReachModel(channels={self.channels})"

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from contacts and reactions known before ``as_of``.

        Raises
        ------
        InputError
            ``as_of`` cannot be read.
        """
        self._as_of = to_instant(as_of, ledger.timezone)
        self._log = log = Reactions.of(ledger, as_of)
        self._segments = Segments.of(ledger)
        self.channels = log.channels
        self._hour = log.table["hour"].to_numpy()
        of, blind = log.rows.of, log.rows.blind
        halves = np.clip(np.floor(2.0 * self._hour), 0, 47).astype(np.int64)
        segments = self._segments.codes(ledger)[log.ints("account")]
        codes = np.column_stack([halves, log.ints("weekday"), segments])[of]
        self._odds: list[LogOdds] = []
        p = np.zeros(len(of))
        for c in range(len(self.channels)):
            for program in (False, True):
                mine = (log.channel[of] == c) & (blind == program)
                if not program or mine.any():
                    w = log.rows.weight[mine]
                    odds = LogOdds.fit(w * log.rows.y[mine], w, codes[mine], self._bases)
                    p[mine] = odds.rate(codes[mine])
                    self._odds += [] if program else [odds]
        account = log.ints("account")[of]
        self._evidence = Evidence(account, log.rows.y - p, p * (1.0 - p), log.rows.weight)
        clock, day = hats(self._hour[of]), weekdays(log.ints("weekday")[of])
        channel = log.channel[of]
        self.deviations = Deviations.estimate(
            self._evidence,
            channels=len(self.channels),
            channel=channel,
            clock=clock,
            day=day,
            contact=of,
        )
        self._features = self.deviations.features(channel, clock, day)
        share, self._share_error, self._known = log.detection()
        self._scale = self._scales(share)
        self._arrival()
        return self

    def predict(self, snapshot: Snapshot, actions: ActionSet) -> Chances:
        """Chance that actions reach the accounts of a snapshot.

        Parameters
        ----------
        snapshot : Snapshot
            n rows, none before the time of the fit.
        actions : ActionSet
            K actions; those without an hour are taken at the usual hours of their channel.

        Raises
        ------
        InputError
        """
        (account, segments), n_channels = self._asked(snapshot), len(self.channels)
        places = [self._place(name) for name in (*actions.channels, "")]
        used = np.where(actions.is_contact, np.array(places)[actions.channel], -1)
        timed, dated = ~np.isnan(actions.hour), actions.day >= 0
        clock = np.append(self._usual[0], np.zeros((1, len(KNOTS))), axis=0)[used]
        clock[timed] = hats(actions.hour[timed])
        days = snapshot.rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
        today = (days + _THURSDAY) % DAYS
        kind = np.column_stack([segments, today])
        groups, group = np.unique(kind, axis=0, return_inverse=True)
        usual = np.zeros((len(groups), len(actions)))
        for g, (segment, region, weekday) in enumerate(groups):
            day = np.append(self._usual[1], np.zeros((1, DAYS)), axis=0)[used]
            day[dated] = weekdays(weekday + actions.day[dated])
            for c in range(n_channels):
                mine = used == c
                design = self._design(clock[mine], day[mine], segment, region)
                usual[g, mine] = expit(design @ self._odds[c].coef)
        ahead = np.full((len(actions), DAYS), 1.0 / DAYS)
        ahead[dated] = weekdays(actions.day[dated])
        phi = self.deviations.features(used, clock, ahead)
        mean = np.zeros((len(account), phi.shape[1]))
        for here, z, _ in self._posterior(account):
            mean[here] = z
        # The weekdays of an account from its own today on, as actions count days.
        turned = (today[:, None] + np.arange(DAYS)) % DAYS
        mean[:, -DAYS:] = np.take_along_axis(mean[:, -DAYS:], turned, axis=1)
        return Chances(
            group=group.ravel(),
            usual=usual,
            slope=usual * (1.0 - usual),
            deviation=mean,
            phi=phi,
            scale=np.append(self._scale, 0.0)[used],
            arrives=np.column_stack([self._arrives(account), np.ones(len(account))]),
            channel=used,
        )

    def profile(self, snapshot: Snapshot, hours: Float, weight: Float | None = None) -> Profile:
        """Chance to be reached by channel, hour and weekday, with intervals.

        Parameters
        ----------
        snapshot : Snapshot
            n rows, none before the time of the fit.
        hours : (S,) float64
            Local hours to tell, such as the slots of the catalogue.
        weight : (n, C) float64, optional
            Weight of the channels of this model in the averages by hour and weekday; default: how
            often the log used them. 0 for channels that are not permitted; where none is left, all
            count.

        Raises
        ------
        InputError
        """
        account, segments = self._asked(snapshot)
        hours = np.asarray(hours, dtype=np.float64)
        n, n_channels = len(account), len(self.channels)
        share = np.bincount(self._log.channel, minlength=n_channels) / max(len(self._log), 1)
        weight = np.zeros((n, n_channels)) if weight is None else weight * share
        total = weight.sum(axis=1, keepdims=True)
        weight = np.where(total > 0.0, weight / np.where(total > 0.0, total, 1.0), share)
        cells = self._cells(hours)
        groups, group = np.unique(segments, axis=0, return_inverse=True)
        usual, error, f = self._levels(groups, cells)
        # How much each level (M) takes from each channel: its own one, or the average.
        levels = n_channels + len(hours) + DAYS
        own = np.zeros((levels, n_channels))
        own[:n_channels] = np.eye(n_channels)
        mean, low, high = (np.zeros((n, levels)) for _ in range(3))
        for here, z, Z in self._posterior(account):
            at = group.ravel()[here]
            part = np.where(
                (own.sum(axis=1) > 0.0)[None, :, None], own[None], weight[here][:, None, :]
            )
            part = part * (self._scale * self._arrives(account[here]))[:, None, :]
            p = usual[at]
            v = p * (1.0 - p)
            shift = np.einsum("mcq,bq->bmc", f, z)
            mean[here] = np.clip((part * bounded(p, v * shift)).sum(axis=2), 1e-6, TOP)
            g = np.einsum("bmc,mcq->bmq", part * v, f)
            left = ((g @ Z) * g).sum(axis=2)
            left += ((part * v) ** 2 * error[at]).sum(axis=2)
            between = ((g @ self.deviations.prior) * g).sum(axis=2)
            variance = _at_mean(mean[here], (part * p).sum(axis=2), between, left)
            doubt = (part * p * self._doubt).sum(axis=2)
            low[here], high[here] = interval(mean[here], variance + doubt**2)
        counts = self._counts(account, hours)
        cut = np.cumsum([0, n_channels, len(hours), DAYS])
        told = [
            Told(mean[:, a:b], low[:, a:b], high[:, a:b], counts[:, a:b])
            for a, b in pairwise(cut.tolist())
        ]
        return Profile(*told)

    def tones(self, snapshot: Snapshot, names: tuple[str, ...]) -> Int:
        """Count the contacts of each account of a snapshot by tone, (n, T)."""
        account, _ = self._asked(snapshot)
        at = np.zeros((len(self._segments.ids) + 1, len(names) + 1), dtype=np.int64)
        np.add.at(at, (self._log.ints("account"), self._log.codes("tone", names)), 1)
        return at[account, : len(names)]

    def table(self) -> pd.DataFrame:
        """Tell what the log says of each channel.

        Returns
        -------
        DataFrame
            channel, contacts, seen (share of arrived contacts with a reaction, programs left out),
            noticed (share of reached contacts that is noticed), noticed_stderr, reached, and
            lower_bound: whether reach is known from below only.
        """
        self._fitted("table")
        log = self._log
        rows, C = log.rows, len(self.channels)
        people = np.where(rows.blind, 0.0, rows.weight)
        of = log.channel[rows.of]
        seen = np.bincount(of, people * rows.y, C) / np.maximum(np.bincount(of, people, C), 1e-9)
        return pd.DataFrame(
            {
                "channel": self.channels,
                "contacts": np.bincount(log.channel, minlength=C),
                "seen": seen,
                "noticed": log.detection()[0],
                "noticed_stderr": self._doubt * log.detection()[0],
                "reached": seen * self._scale,
                "lower_bound": ~self._known,
            }
        )

    def _fitted(self, method: str) -> np.datetime64:
        if self._as_of is None:
            raise NotFittedError.of(self, method)
        return self._as_of

    def _asked(self, snapshot: Snapshot) -> tuple[Int, Int]:
        """Numbers of the accounts in the ledger of the fit (n,), segments and regions (n, 2)."""
        check_known(self._fitted("predict"), snapshot.as_of, "reach model")
        return self._segments.find(snapshot)

    def _place(self, channel: str) -> int:
        return self.channels.index(channel) if channel in self.channels else -1

    # --- learning ------------------------------------------------------------------------------

    @property
    def _bases(self) -> tuple[Basis, ...]:
        halves = hats(np.arange(48) / 2.0 + 0.25)
        known = self._segments
        levels = (len(known.segments), len(known.regions))
        return Basis(halves, CLOCK), Basis.of_levels(DAYS), *(Basis.open(n) for n in levels)

    def _posterior(self, account: Int) -> Iterator[tuple[slice, Float, Float]]:
        return posterior(self._evidence, self._features, self.deviations.prior, account)

    def _scales(self, share: Float) -> Float:
        """From what is seen to what is reached, by channel."""
        log, C = self._log, len(self.channels)
        people = np.where(log.rows.blind, 0.0, log.rows.weight)
        of = log.channel[log.rows.of]
        noticed = np.bincount(of, people * log.flag("noticed")[log.rows.of], C)
        seen = np.bincount(of, people * log.rows.y, C)
        known = self._known & (noticed > 0.0)
        scale = np.where(known, noticed / share / np.maximum(seen, 1e-9), 1.0)
        self._doubt = np.where(known, self._share_error / share, 0.0)
        arrived = np.bincount(of, people, C)
        most = TOP * arrived / np.maximum(seen, 1e-9)
        return np.clip(scale, 1.0, np.maximum(most, 1.0))

    def _arrival(self) -> None:
        """How often messages arrive after one that did, and after one that came back."""
        log, C = self._log, len(self.channels)
        account, bounced = log.ints("account"), log.flag("bounced")
        order = np.lexsort((log.ints("sent_at"), log.channel, account))
        a, c, b = account[order], log.channel[order], bounced[order]
        again = np.r_[False, (a[1:] == a[:-1]) & (c[1:] == c[:-1])][: len(a)]
        back = again & np.r_[False, b[:-1]][: len(a)]
        rates = []
        for rows, yes, of in ((~back, 9.5, 10.0), (back, 0.5, 10.0)):
            n = np.bincount(c[rows], minlength=C)
            rates.append((np.bincount(c[rows & ~b], minlength=C) + yes) / (n + of))
        self._good, self._bad = rates
        last = np.r_[~again[1:], np.ones(min(len(a), 1), dtype=bool)] & b
        self._returned = (a[last], c[last])

    def _arrives(self, account: Int) -> Float:
        """Chance that a message arrives, (n, C)."""
        back = np.zeros((len(self._segments.ids) + 1, len(self.channels)), dtype=bool)
        back[self._returned] = True  # the last row stays free: for accounts that are not there
        return np.where(back[account], self._bad, self._good)

    # --- telling -------------------------------------------------------------------------------

    @property
    def _usual(self) -> tuple[Float, Float]:
        """Mean position on the clock (C, knots) and mean weekday (C, 7) of each channel."""
        log, C = self._log, len(self.channels)
        clock, day = hats(self._hour), weekdays(log.ints("weekday"))
        parts = []
        for values in (clock, day):
            total = np.zeros((C, values.shape[1]))
            np.add.at(total, log.channel, values)
            parts.append(total / np.maximum(total.sum(axis=1, keepdims=True), 1.0))
        return parts[0], parts[1]

    def _design(self, clock: Float, day: Float, segment: int, region: int) -> Float:
        n, ones = len(clock), np.ones
        bases = self._bases
        fixed = [bases[2].columns[[segment]], bases[3].columns[[region]]]
        return np.column_stack([ones(n), clock, day, *(np.repeat(x, n, axis=0) for x in fixed)])

    def _cells(self, hours: Float) -> list[tuple[Float, Float]]:
        """Clock and weekday of each level of the profile, by channel: (C, ...) each."""
        clock, day = self._usual
        C = len(self.channels)
        cells = [(clock, day)] * C
        cells += [(np.repeat(hats(np.array([h])), C, axis=0), day) for h in hours]
        return cells + [(clock, np.tile(np.eye(DAYS)[w], (C, 1))) for w in range(DAYS)]

    def _levels(self, groups: Int, cells: list[tuple[Float, Float]]) -> tuple[Float, Float, Float]:
        """Usual chance and its variance in log odds (G, M, C), and what is felt (M, C, q)."""
        C = len(self.channels)
        usual = np.zeros((len(groups), len(cells), C))
        error = np.zeros_like(usual)
        f = np.stack([self.deviations.features(np.arange(C), clock, day) for clock, day in cells])
        for c in range(C):
            clock, day = (np.stack([cell[part][c] for cell in cells]) for part in (0, 1))
            for g, (segment, region) in enumerate(groups):
                design = self._design(clock, day, int(segment), int(region))
                usual[g, :, c], error[g, :, c] = self._odds[c].told(design)
        return usual, error, f

    def _counts(self, account: Int, hours: Float) -> Int:
        """Contacts of each account by channel, nearest hour and weekday."""
        log, C = self._log, len(self.channels)
        at = np.zeros((len(self._segments.ids) + 1, C + len(hours) + DAYS), dtype=np.int64)
        who = log.ints("account")
        np.add.at(at, (who, log.channel), 1)
        if len(hours):
            nearest = np.abs(self._hour[:, None] - hours).argmin(axis=1)
            np.add.at(at, (who, C + nearest), 1)
        np.add.at(at, (who, C + len(hours) + log.ints("weekday")), 1)
        return at[account]


def _at_mean(mean: Float, usual: Float, between: Float, left: Float) -> Float:
    """Variance of a chance, given what is left on average over accounts, at its own mean."""
    count = (usual * (1.0 - usual) - between) / np.maximum(left, 1e-12)
    return np.asarray(mean * (1.0 - mean) / (np.maximum(count, 0.5) + 1.0), dtype=np.float64)
