"""What each account prefers: ranked channels, hours, weekdays, tones and payment methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.models.chances import Profile, Told
from collectopt.models.methods import payment_methods
from collectopt.models.priors import PRIOR_EFFECTS
from collectopt.models.reach import ReachModel
from collectopt.policy.effects import Effects
from collectopt.policy.engine import Bools, Floats, Ints
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue, Channel
from collectopt.schema.snapshot import Snapshot

_Z = 1.645  # 90 %
_CHANCE, _SHARE = "chance to pay", "share of the open amount"
REACHED, PAID_BY, UNKNOWN = "chance to be reached", "share of payments", "no effect known"
COLUMNS = ("account_id", "family", "level", "rank", "effect", "low", "high", "observations",
           "unit", "allowed", "note")  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, eq=False)
class _Family:
    """Levels of one family: (n, L) arrays, notes (L,)."""

    name: str
    levels: tuple[str, ...]
    effect: Floats
    low: Floats
    high: Floats
    observations: Ints
    allowed: Bools
    unit: str
    notes: tuple[str, ...]

    def frame(self, ids: npt.NDArray[np.object_]) -> pd.DataFrame:
        """One row an account and level, best first; what is not permitted comes last."""
        n, size = self.effect.shape
        worth = np.where(np.isnan(self.effect), -np.inf, self.effect)
        order = np.lexsort((-worth, ~self.allowed), axis=1)
        at = np.repeat(np.arange(n), size), order.ravel()
        level = order.ravel()
        return pd.DataFrame(
            {
                "account_id": np.repeat(ids, size),
                "family": self.name,
                "level": np.array(self.levels, dtype=object)[level],
                "rank": np.tile(np.arange(1, size + 1), n),
                "effect": self.effect[at],
                "low": self.low[at],
                "high": self.high[at],
                "observations": self.observations[at],
                "unit": self.unit,
                "allowed": self.allowed[at],
                "note": np.array(self.notes, dtype=object)[level],
            }
        )


def preferences(
    snapshot: Snapshot, catalogue: Catalogue, rules: Rules, effects: Effects
) -> pd.DataFrame:
    """Rank channels, hours, weekdays, tones and payment methods for every account.

    Parameters
    ----------
    snapshot : Snapshot
        One time for all rows; reach and payments are learnt from what its ledger knew before.
    catalogue : Catalogue
    rules : Rules
        Their refusals by channel and by tone make `allowed`. Whether the account may be contacted
        at all, and when, is another matter.
    effects : Effects
        Learnt or assumed.

    Returns
    -------
    DataFrame
        One row an account, family and level, by account and family, best first:

        - account_id, family ("channel", "hour", "weekday", "tone", "payment_method"), level
        - rank: 1 = best; what is not `allowed` stands last
        - effect, low, high: in `unit`, with an interval of 90 %; nan = nothing is known
        - observations: contacts, or payments, of this account at the level
        - unit, allowed, and a note on what the number cannot say

        `attrs["note"]` is that of the effects: empty where they are learnt.

    Notes
    -----
    Channel: the effect for the account, of the share of the open amount that comes in or of the
    chance to pay, times how much better than usual in that channel the account is reached. Where
    the log shows no effects: the chance to be reached, which for channels whose reactions are
    seldom seen is a lower bound, so that channels do not compare.
    Hour: likewise, with the account's own hours over those of the book; without learnt effects the
    chance to be reached. Weekday: the chance to be reached. Tone: the effect, alone. Payment
    method: the share of payments.
    Intervals take in the errors of mean effects and of reach, not that of what is individual in the
    effect. Contacts of the last week are not counted yet. An effect below zero is what it says: the
    contact is expected to do harm, the more the better it reaches.

    Raises
    ------
    InputError
        The rows have different times.
    """
    layout = Layout.of(catalogue.actions)
    state = State.of(snapshot, catalogue, layout)
    ids = snapshot.rows["account_id"].to_numpy(zero_copy_only=False)
    moment = snapshot.as_of.max() if len(snapshot) else np.datetime64(0, "us")
    reach = ReachModel().fit(snapshot.ledger, moment)
    asking = _Asking(snapshot, catalogue, state, layout, rules, reach, effects)
    frames = [family.frame(ids) for family in asking.families()]
    table = pd.concat(frames, ignore_index=True)
    table = table.sort_values("account_id", kind="stable", ignore_index=True)[list(COLUMNS)]
    table.attrs["note"] = effects.note
    return table


@dataclass(frozen=True, eq=False)
class _Asking:
    snapshot: Snapshot
    catalogue: Catalogue
    state: State
    layout: Layout
    rules: Rules
    reach: ReachModel
    effects: Effects

    @cached_property
    def permitted(self) -> Bools:
        """Channels that no rule refuses to the account, (n, C)."""
        return self._free(Unit.CHANNEL)

    @cached_property
    def hours(self) -> tuple[float, ...]:
        """Hours of the catalogue's slots."""
        return tuple(sorted(set(self.catalogue.slots.hours)))

    @cached_property
    def profile(self) -> Profile:
        """Reach of the accounts, averaged over their permitted channels by hour and weekday."""
        mine = [self._names.index(c) if c in self._names else -1 for c in self.reach.channels]
        open_ = np.append(self.permitted, np.zeros((len(self.permitted), 1), dtype=bool), axis=1)
        weight = open_[:, mine].astype(np.float64)
        return self.reach.profile(self.snapshot, np.array(self.hours), weight)

    def families(self) -> Iterator[_Family]:
        """Build the five families."""
        yield self._by_channel()
        yield self._by_hour()
        days = self._when(lambda channel: [_on(channel, day) for day in range(7)])
        yield _reached("weekday", WEEKDAYS, self.profile.weekday, days)
        yield self._by_tone()
        paid = payment_methods(self.snapshot)
        told = Told(paid.mean, paid.low, paid.high, paid.observations)
        yield _told("payment_method", paid.names, told, np.ones(told.mean.shape, bool), PAID_BY)

    def _by_channel(self) -> _Family:
        known = np.array([c in self.reach.channels for c in self._names])
        place = [self.reach.channels.index(c) for c in self._names if c in self.reach.channels]
        own = self.profile.channel
        below = self.reach.table()["lower_bound"].to_numpy()[place]
        counts = np.zeros(self.permitted.shape, dtype=np.int64)
        counts[:, known] = own.observations[:, place]
        mean, low, high = (_spread(v[:, place], known) for v in (own.mean, own.low, own.high))
        told = Told(mean, low, high, counts)
        notes = np.where(known, "", "the channel is not in the log").astype(object)
        notes[np.flatnonzero(known)[below]] = "of its reach a lower bound is known"
        levels = LevelEffects.of(self.effects, self.snapshot, self.actions, "channel", self._names)
        if levels.any:
            usual = told.mean.mean(axis=0) if len(told.mean) else np.ones(len(known))
            told = levels.times(told, np.where(usual > 0.0, usual, 1.0))
            notes = np.where(known, "", notes)
        unit = levels.unit if levels.any else REACHED
        return _told("channel", self._names, told, self.permitted, unit, notes=tuple(notes))

    def _by_hour(self) -> _Family:
        shown = tuple(_clock(h) for h in self.hours)
        free = self._when(lambda channel: [_at(channel, hour) for hour in self.hours])
        levels = LevelEffects.of(self.effects, self.snapshot, self.actions, "hour", self.hours)
        own = self.profile.hour
        if self.effects.model is None or not levels.any or not self.reach.channels:
            return _reached("hour", shown, own, free)
        # What the book's hours do is in the effects; what is the account's own comes on top.
        level = own.mean.mean(axis=1, keepdims=True)
        relative = Told(own.mean / level, own.low / level, own.high / level, own.observations)
        told = levels.times(relative, relative.mean.mean(axis=0))
        return _told("hour", shown, told, free, levels.unit)

    def _by_tone(self) -> _Family:
        names = self.catalogue.tone_names
        levels = LevelEffects.of(self.effects, self.snapshot, self.actions, "tone", names)
        seen = self.reach.tones(self.snapshot, names)
        learnt = self.effects.model is not None and levels.any
        flat = np.ones(seen.shape)
        told = levels.times(Told(flat, flat, flat, seen), np.ones(len(names)))
        if not learnt:
            none = np.full(seen.shape, np.nan)
            told = Told(none, none, none, seen)
        return _told("tone", names, told, self._free(Unit.TONE), levels.unit if learnt else UNKNOWN)

    @property
    def actions(self) -> ActionSet:
        """Actions of the catalogue."""
        return self.catalogue.actions

    @property
    def _names(self) -> tuple[str, ...]:
        return self.catalogue.channel_names

    def _free(self, unit: Unit) -> Bools:
        """Levels of a unit that no rule refuses, (n, L)."""
        free = np.ones((len(self.snapshot), self.layout.sizes[unit]), dtype=bool)
        for rule in self.rules.permissions:
            if rule.unit is unit:
                free &= ~rule.refuse(self.state, self.layout, slice(None))
        return free

    def _when(self, open_: Callable[[Channel], list[bool]]) -> Bools:
        """Moments at which some permitted channel is open, (n, L)."""
        table = np.array([open_(channel) for channel in self.catalogue.channels])
        return np.asarray((self.permitted[:, :, None] & table[None]).any(axis=1))


@dataclass(frozen=True, eq=False)
class LevelEffects:
    """What a contact changes for each account at each level of a family.

    Attributes
    ----------
    effect : (n, L) float64
        Of a contact with the level, all else as on average over the catalogue.
    stderr : (L,) float64
        Of the mean effect of the level; nan where the log did not try it.
    unit : str
    """

    effect: Floats
    stderr: Floats
    unit: str

    @classmethod
    def of(
        cls,
        effects: Effects,
        snapshot: Snapshot,
        actions: ActionSet,
        family: str,
        levels: Sequence[str] | Sequence[float],
    ) -> Self:
        """Read them off the factors of the effects."""
        first, second = effects.factors(snapshot, actions)
        if second is not None and not np.any(second[0]):  # the log shows none on what comes in
            second = None
        theta, phi = first if second is None else second
        hours = [float(level) for level in levels] if family == "hour" else None
        mean = _standardised(actions, phi, family, hours or range(len(levels)))
        effect = np.broadcast_to(theta @ mean.T, (len(snapshot), len(levels)))
        if effects.model is None:
            spread = {e.channel: (e.high - e.low) / 3.92 for e in PRIOR_EFFECTS}
            stderr = [spread.get(str(level), spread["*"]) for level in levels]
            return cls(effect, np.array(stderr), f"{_CHANCE}, assumed")
        unit = _CHANCE if second is None else _SHARE
        of = effects.model if second is None else effects.proceeds
        if not hasattr(of, "table"):
            return cls(effect, np.full(len(levels), np.nan), unit)
        table: pd.DataFrame = of.table(actions)
        mine = table[table["family"] == family].set_index("level")["stderr"]
        shown = [_clock(h) if isinstance(h, float) else h for h in levels]
        return cls(effect, mine.reindex(shown).to_numpy(np.float64), unit)

    @property
    def any(self) -> bool:
        """Whether the levels have effects at all."""
        return bool(np.any(np.abs(np.nan_to_num(self.effect)) > 0.0))

    def times(self, told: Told, usual: Floats) -> Told:
        """Multiply by how much better than usual the account is reached; errors of both count.

        Parameters
        ----------
        told : Told
            Levels without a log (nan) count as usual.
        usual : (L,) float64
        """
        ratio = np.where(np.isnan(told.mean), 1.0, told.mean / usual)
        error = np.nan_to_num((told.high - told.low) / (2.0 * _Z) / usual)
        effect = self.effect * ratio
        spread = _Z * np.sqrt((ratio * self.stderr) ** 2 + (self.effect * error) ** 2)
        return Told(effect, effect - spread, effect + spread, told.observations)


def _standardised(actions: ActionSet, phi: Floats, family: str, wanted: Sequence[float]) -> Floats:
    """Factors of the levels of a family, all else alike (L, p); nan = no action has the level.

    Means over actions would compare hours at which calls are permitted with others at which they
    are not; so phi is laid on a sum of levels of all families first, by least squares.

    Parameters
    ----------
    wanted : sequence of L floats
        Codes, or hours.
    """
    contact = actions.is_contact
    columns: list[Floats] = []
    own, known = slice(0), list[float]()
    for name in ("channel", "tone", "offer", "hour", "day"):
        levels, code = np.unique(getattr(actions, name)[contact], return_inverse=True)
        start = sum(x.shape[1] for x in columns)
        columns.append(np.eye(len(levels))[code.ravel()])
        if name == family:
            own, known = slice(start, start + len(levels)), levels.tolist()
    design = np.hstack(columns)
    coef = np.linalg.lstsq(design, phi[contact], rcond=None)[0]
    rows = np.full((len(wanted), phi.shape[1]), np.nan)
    for at, level in enumerate(wanted):
        if level in known:
            x = design.mean(axis=0)
            x[own] = np.eye(len(known))[known.index(level)]
            rows[at] = x @ coef
    return rows


def _told(
    name: str,
    levels: tuple[str, ...],
    told: Told,
    allowed: Bools,
    unit: str,
    *,
    notes: tuple[str, ...] = (),
) -> _Family:
    said = notes or ("",) * len(levels)
    return _Family(
        name, levels, told.mean, told.low, told.high, told.observations, allowed, unit, said
    )


def _reached(name: str, levels: tuple[str, ...], told: Told, allowed: Bools) -> _Family:
    return _told(name, levels, told, allowed, REACHED)


def _spread(values: npt.NDArray[Any], known: Bools) -> Floats:
    """Put columns where the known ones are, nan elsewhere."""
    result = np.full((len(values), len(known)), np.nan)
    result[:, known] = values
    return result


def _on(channel: Channel, day: int) -> bool:
    return channel.weekdays is None or day in channel.weekdays


def _at(channel: Channel, hour: float) -> bool:
    return channel.hours is None or channel.hours[0] <= hour < channel.hours[1]


def _clock(hour: float) -> str:
    minutes = round(hour * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
