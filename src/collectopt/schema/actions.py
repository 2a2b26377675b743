"""Actions: points of channel x tone x offer x slot, and the few special ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import InputError
from collectopt.schema.frames import to_arrow

NO_CODE = -1


class ActionKind(IntEnum):
    """What an action is; contacts have factors, the others stand alone."""

    WAIT = 0
    CONTACT = 1
    AGENCY = 2
    COURT = 3
    STOP = 4

    @property
    def channel(self) -> str:
        """What stands in the column ``channel`` of decisions for an action without a channel."""
        return {0: "none", 2: "agency", 3: "court", 4: "stop"}[int(self)]


@dataclass(frozen=True)
class Action:
    """One action.

    Attributes
    ----------
    kind : ActionKind
    channel, tone, offer : str or None
        Names in the catalogue; None for actions that are no contact.
    hour : float or None
        Local hour of the account, 19.5 = half past seven in the evening.
    day : int or None
        Local days after the day of the decision.

    Examples
    --------
    >>> print(Action(ActionKind.CONTACT, "email", "friendly", "none", 8.0, 2))
    email, friendly, 08:00 in 2 days
    """

    kind: ActionKind = ActionKind.WAIT
    channel: str | None = None
    tone: str | None = None
    offer: str | None = None
    hour: float | None = None
    day: int | None = None

    def __str__(self) -> str:
        if self.kind is not ActionKind.CONTACT:
            return {0: "wait", 2: "hand over to agency", 3: "court order", 4: "stop"}[self.kind]
        parts = [str(self.channel)]
        if self.tone is not None:
            parts.append(self.tone)
        if self.offer not in {None, "none"}:
            parts.append(f"offering {self.offer}")
        if self.hour is not None:
            when = f"{int(self.hour):02d}:{round(self.hour % 1 * 60):02d}"
            days = {None: "", 0: " today", 1: " tomorrow"}.get(self.day, f" in {self.day} days")
            parts.append(when + days)
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class ActionSet:
    """K actions as columns of factors; action 0 is to wait. Never crossed with accounts.

    Attributes
    ----------
    kind : int8 array, shape (K,)
        Values of :class:`ActionKind`.
    channel, tone, offer : int16 arrays, shape (K,)
        Codes into `channels`, `tones`, `offers`; -1 where the action has none.
    hour : float64 array, shape (K,)
        Local hour; NaN where none.
    day : int16 array, shape (K,)
        Local days after the day of the decision; -1 where none.
    cost : float64 array, shape (K,)
        EUR a contact.
    minutes : float64 array, shape (K,)
        Staff minutes a contact.
    channels, tones, offers : tuple of str
        Names; tones from mild to firm.

    Examples
    --------
    >>> actions = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])
    >>> len(actions), str(actions[1])
    (2, 'email')
    """

    kind: npt.NDArray[np.int8]
    channel: npt.NDArray[np.int16]
    tone: npt.NDArray[np.int16]
    offer: npt.NDArray[np.int16]
    hour: npt.NDArray[np.float64]
    day: npt.NDArray[np.int16]
    cost: npt.NDArray[np.float64]
    minutes: npt.NDArray[np.float64]
    channels: tuple[str, ...]
    tones: tuple[str, ...]
    offers: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in _COLUMNS:
            getattr(self, name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, k: int) -> Action:
        def name(names: tuple[str, ...], code: int) -> str | None:
            return None if code == NO_CODE else names[code]

        return Action(
            ActionKind(int(self.kind[k])),
            name(self.channels, int(self.channel[k])),
            name(self.tones, int(self.tone[k])),
            name(self.offers, int(self.offer[k])),
            None if np.isnan(self.hour[k]) else float(self.hour[k]),
            None if self.day[k] == NO_CODE else int(self.day[k]),
        )

    def __iter__(self) -> Iterator[Action]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return (
            f"ActionSet({len(self)} actions: channels={self.channels}, tones={self.tones}, "
            f"offers={self.offers})"
        )

    @property
    def is_contact(self) -> npt.NDArray[np.bool_]:
        """Which actions are contacts; shape (K,)."""
        return self.kind == ActionKind.CONTACT

    @property
    def harshness(self) -> npt.NDArray[np.float64]:
        """How far the tone of each contact is above the mildest; shape (K,).

        0 = the mildest, 1 the next; 0 for what has no tone.

        Examples
        --------
        >>> rows = [{"channel": "none"}, *({"channel": "sms", "tone": t} for t in ("mild", "firm"))]
        >>> ActionSet.from_frame(rows).harshness.tolist()
        [0.0, 0.0, 1.0]
        """
        return np.where(self.is_contact, np.maximum(self.tone, 0), 0).astype(np.float64)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Actions in words; shape (K,)."""
        return tuple(str(action) for action in self)

    @cached_property
    def _index(self) -> dict[Action, int]:
        return {action: k for k, action in reversed(list(enumerate(self)))}

    def index(self, action: Action) -> int:
        """Give the number of an action.

        Raises
        ------
        InputError
            There is no such action in this set.
        """
        if action not in self._index:
            raise InputError.of(
                "actions", None, expected="an action of this set", found=repr(action)
            )
        return self._index[action]

    @classmethod
    def from_frame(cls, factors: Any) -> ActionSet:
        """Make a set from plain factors, one row an action, row 0 = do nothing.

        Parameters
        ----------
        factors : frame
            Any of the columns channel, tone, offer, hour, day, cost, minutes. Names are coded in
            order of first appearance; channels "none", "agency", "court" and "stop" are special.

        Raises
        ------
        InputError
            Row 0 is not "do nothing", or there is no row.
        """
        table = to_arrow(factors, "factors")
        rows: list[dict[str, Any]] = table.to_pylist()
        special = {kind.channel: kind for kind in ActionKind if kind is not ActionKind.CONTACT}
        kinds = [
            special.get(row.get("channel") or "none", ActionKind.CONTACT)
            if "channel" in table.column_names
            else (ActionKind.CONTACT if i else ActionKind.WAIT)
            for i, row in enumerate(rows)
        ]
        if not rows or kinds[0] is not ActionKind.WAIT:
            raise InputError.of(
                "factors",
                "channel",
                expected='row 0 = do nothing (channel "none")',
                found="no rows" if not rows else repr(rows[0].get("channel")),
                hint="Put the action of doing nothing first.",
            )
        contact = [kind is ActionKind.CONTACT for kind in kinds]
        return cls.build(
            kind=kinds,
            **{  # type: ignore[arg-type]
                name: [row.get(name) if c else None for row, c in zip(rows, contact, strict=True)]
                for name in ("channel", "tone", "offer", "hour", "day")
            },
            cost=[row.get("cost") or 0.0 for row in rows],
            minutes=[row.get("minutes") or 0.0 for row in rows],
        )

    @classmethod
    def build(
        cls,
        *,
        kind: Sequence[ActionKind],
        channel: Sequence[str | None],
        tone: Sequence[str | None],
        offer: Sequence[str | None],
        hour: Sequence[float | None],
        day: Sequence[int | None],
        cost: Sequence[float],
        minutes: Sequence[float],
        names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None = None,
    ) -> ActionSet:
        """Code names; `names` gives the order of channels, tones and offers."""
        given = (channel, tone, offer)
        known = names or tuple(
            tuple(dict.fromkeys(v for v in values if v is not None)) for values in given
        )
        codes = [
            np.array([NO_CODE if v is None else order.index(v) for v in values], dtype=np.int16)
            for values, order in zip(given, known, strict=True)
        ]
        return cls(
            kind=np.array(kind, dtype=np.int8),
            channel=codes[0],
            tone=codes[1],
            offer=codes[2],
            hour=np.array([np.nan if h is None else h for h in hour], dtype=np.float64),
            day=np.array([NO_CODE if d is None else d for d in day], dtype=np.int16),
            cost=np.array(cost, dtype=np.float64),
            minutes=np.array(minutes, dtype=np.float64),
            channels=known[0],
            tones=known[1],
            offers=known[2],
        )


_COLUMNS = tuple(f.name for f in fields(ActionSet) if f.name not in {"channels", "tones", "offers"})
