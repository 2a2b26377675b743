"""How actions split into the factors that rules speak about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from collectopt.schema.actions import ActionKind, ActionSet


class Unit(Enum):
    """The factor that a rule speaks about; a refusal covers every action with that factor."""

    ACCOUNT = "account"  # all that is done to the customer: contacts, agency, court
    CHANNEL = "channel"
    TONE = "tone"
    SLOT = "slot"  # local day and hour
    CHANNEL_SLOT = "channel and slot"
    KIND = "kind of action"
    TREATMENT = "tone and offer, or kind of action"


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each of K actions stands in the columns of each unit.

    Attributes
    ----------
    actions : ActionSet
    slots : tuple of (int, float)
        Day offset and local hour of each of S slots.
    index : mapping of Unit to int array, shape (K,)
        Column of the unit; the number of columns where the unit does not concern the action.
    sizes : mapping of Unit to int
        Columns of the unit: 1, C, T, S, C * S (channel-major), kinds, T * O (tone-major) + kinds.
    """

    actions: ActionSet
    slots: tuple[tuple[int, float], ...]
    index: Mapping[Unit, NDArray[np.int64]]
    sizes: Mapping[Unit, int]

    @classmethod
    def of(cls, actions: ActionSet) -> Layout:
        """Split a set of actions."""
        contact = actions.is_contact
        pairs = list(zip(actions.day.tolist(), actions.hour.tolist(), strict=True))
        slots = tuple(sorted({pairs[k] for k in np.flatnonzero(contact)}))
        number = {slot: s for s, slot in enumerate(slots)}
        slot = np.array([number.get(pair, -1) if c else -1 for pair, c in zip(pairs, contact)])  # noqa: B905
        channel = np.where(contact, actions.channel, -1).astype(np.int64)
        passive = np.isin(actions.kind, (ActionKind.WAIT, ActionKind.STOP))
        offers = max(len(actions.offers), 1)
        treats = max(len(actions.tones), 1) * offers
        treatment = np.maximum(actions.tone, 0) * offers + np.maximum(actions.offer, 0)
        codes = {
            Unit.ACCOUNT: (np.where(passive, -1, 0), 1),
            Unit.CHANNEL: (channel, len(actions.channels)),
            Unit.TONE: (np.where(contact, actions.tone, -1), len(actions.tones)),
            Unit.SLOT: (slot, len(slots)),
            Unit.CHANNEL_SLOT: (
                np.where(contact, channel * len(slots) + slot, -1),
                len(actions.channels) * len(slots),
            ),
            Unit.TREATMENT: (
                np.where(contact, treatment, treats + actions.kind),
                treats + len(ActionKind),
            ),
            Unit.KIND: (actions.kind.astype(np.int64), len(ActionKind)),
        }
        return cls(
            actions=actions,
            slots=slots,
            index={u: np.where(c < 0, size, c).astype(np.int64) for u, (c, size) in codes.items()},
            sizes={u: size for u, (_, size) in codes.items()},
        )

    def counts(self, unit: Unit) -> NDArray[np.int64]:
        """Actions in each column of a unit."""
        return np.bincount(self.index[unit], minlength=self.sizes[unit] + 1)[:-1]
