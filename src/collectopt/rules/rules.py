"""All rules of a catalogue together: what is allowed, and which rule refused how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import CatalogueError, InputError
from collectopt.rules.facts import SAID
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.packs import number
from collectopt.rules.permissions import (
    HOLDS,
    Agency,
    Approval,
    Consent,
    ContactCap,
    Distress,
    FirstContactGentle,
    Hold,
    Hours,
    MaxToneStep,
    NoAddress,
    OptedOut,
    PastDue,
    Permission,
    QuietHours,
    Said,
    SlotPast,
    ToneTable,
)
from collectopt.rules.precedence import Precedence
from collectopt.rules.stages import stage_steps
from collectopt.rules.state import State
from collectopt.rules.us_uk import (
    CallAfterConversation,
    CallFrequency,
    ConsumerHours,
    CourtTimeBarred,
    Disputed,
    ExpressConsent,
    ReasonableHours,
    TimeBarred,
)
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.mistakes import did_you_mean
from collectopt.schema.tables import JURISDICTIONS

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What b accounts may get, kept by the factors that the rules speak about.

    Attributes
    ----------
    layout : Layout
    masks : mapping of Unit to bool array (b, columns of the unit + 1)
        What is free; the last column is always.
    refused : int array (b, number of rules)
        How many actions each rule refuses, whatever the others say.
    """

    layout: Layout
    masks: Mapping[Unit, NDArray[np.bool_]]
    refused: NDArray[np.int64]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Permitted actions, (b, K). Waiting and stopping always are."""
        return self.permitted()

    @property
    def bound(self) -> NDArray[np.bool_]:
        """Accounts to which nothing may be done, (b,): they wait, or one stops."""
        free = self.masks.get(Unit.ACCOUNT)
        return np.zeros(len(self.refused), dtype=bool) if free is None else ~free[:, 0]

    def permitted(
        self, rows: slice | NDArray[np.int64] = _ALL, columns: slice | NDArray[np.int64] = _ALL
    ) -> NDArray[np.bool_]:
        """Permitted actions of some accounts of the block, for some of the actions."""
        free = {unit: mask[rows] for unit, mask in self.masks.items()}
        sizes, index = self.layout.sizes, self.layout.index
        n = len(self.refused[rows])
        # every slot of every channel first: three masks, looked up once
        channels, slots = sizes[Unit.CHANNEL], sizes[Unit.SLOT]
        both = np.ones((n, channels, slots), dtype=bool)
        for unit, shape in (
            (Unit.CHANNEL, (n, channels, 1)),
            (Unit.SLOT, (n, 1, slots)),
            (Unit.CHANNEL_SLOT, (n, channels, slots)),
        ):
            if unit in free:
                both &= free.pop(unit)[:, :-1].reshape(shape)
        always = np.ones((n, 1), dtype=bool)
        free[Unit.CHANNEL_SLOT] = np.concatenate(
            [both.reshape(n, channels * slots), always], axis=1
        )
        allowed = np.ones((n, len(index[Unit.ACCOUNT][columns])), dtype=bool)
        for unit, mask in free.items():
            if not mask.all():
                allowed &= mask[:, index[unit][columns]]
        return allowed

    def allowed_to(self, row: int) -> NDArray[np.bool_]:
        """Permitted actions of one account of the block, (K,)."""
        parts = [free[row, self.layout.index[unit]] for unit, free in self.masks.items()]
        return np.all([np.ones(len(self.layout.actions), dtype=bool), *parts], axis=0)


@dataclass(frozen=True)
class Rules:
    """Permissions in order of precedence.

    Parameters
    ----------
    permissions : tuple of Permission
        Each code once.

    Examples
    --------
    >>> from collectopt.rules import Hold, PastDue, Rules
    >>> Rules((Hold("dispute"), PastDue())).codes
    ('HOLD_DISPUTE', 'PAST_DUE')
    """

    permissions: tuple[Permission, ...]

    def __post_init__(self) -> None:
        twice = sorted({c for c in self.codes if self.codes.count(c) > 1})
        if twice:
            raise InputError.of(
                "rules", "permissions", expected="each code once", found=", ".join(twice)
            )

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Codes in order of precedence."""
        return tuple(p.code for p in self.permissions)

    @cached_property
    def lawful(self) -> Rules:
        """The rules that stand above what a person may decide."""
        return Rules(tuple(p for p in self.permissions if p.rank < Precedence.OVERRIDE))

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue) -> Rules:
        """Take the rules that every deployment needs, and those of the jurisdiction.

        ``jurisdiction``: "none" (house rules only), "eu" (approval of agency and court on
        consumers), "de" (that, quiet hours, and what customers said of disputes, promises and
        plans), "us_regf" (calls, hours, consent, disputes of Regulation F), "uk_conc" (reasonable
        hours, disputes, old claims, approval).

        Raises
        ------
        CatalogueError
            No rules exist for the jurisdiction.
        """
        if catalogue.jurisdiction not in JURISDICTIONS:
            raise CatalogueError.of(
                "catalogue",
                "jurisdiction",
                expected=f"one of {', '.join(JURISDICTIONS)}",
                found=repr(catalogue.jurisdiction),
                hint=did_you_mean(catalogue.jurisdiction, JURISDICTIONS)
                or 'Take "none" for house rules only, or give NextBestAction rules=... .',
            )
        house, cap = catalogue.house, catalogue.limits.contacts_per_7_days
        names = catalogue.channel_names
        rules: list[Permission] = [Hold(kind) for kind in HOLDS]
        if catalogue.jurisdiction == "de":
            rules += [Said(kind) for kind in SAID]
        rules += [PastDue(catalogue.limits.pre_due_days), OptedOut(), Consent(names), NoAddress()]
        rules += [SlotPast(), Hours(catalogue.channels)]
        if catalogue.jurisdiction == "de":
            rules.append(QuietHours(names))
        rules += _abroad(catalogue.jurisdiction, names)
        if cap is not None:
            rules.append(ContactCap(cap))
        if house.first_contact_gentle:
            rules.append(FirstContactGentle())
        if house.max_tone_step is not None:
            rules.append(MaxToneStep(house.max_tone_step))
        if house.tones is not None:
            tones = catalogue.tone_names
            ranks = tuple(tones.index(entry.highest or tones[-1]) for entry in house.tones)
            rules.append(ToneTable(ranks))
        rules.append(Distress(house.distress, house.doubt))
        if catalogue.agency is not None or catalogue.court is not None:
            rules.append(Agency(house.min_contacts_before_agency))
            rules += stage_steps(catalogue)
            if catalogue.jurisdiction in {"de", "eu", "uk_conc"}:
                rules.append(Approval())
        return cls(tuple(rules))

    def without(self, codes: Iterable[str]) -> Rules:
        """Leave out rules by code; the caller answers for it."""
        out = set(codes)
        unknown = sorted(out - set(self.codes))
        if unknown:
            raise InputError.of(
                "rules", "codes", expected=f"codes of {self.codes}", found=", ".join(unknown)
            )
        return Rules(tuple(p for p in self.permissions if p.code not in out))

    def evaluate(self, state: State, layout: Layout, rows: slice) -> Verdict:
        """Judge every action for a block of accounts."""
        b = len(range(*rows.indices(len(state))))
        refused = np.zeros((b, len(self.permissions)), dtype=np.int64)
        masks: dict[Unit, NDArray[np.bool_]] = {}
        for j, permission in enumerate(self.permissions):
            unit = permission.unit
            mask = permission.refuse(state, layout, rows)
            refused[:, j] = mask @ layout.counts(unit)
            masks[unit] = masks[unit] | mask if unit in masks else mask
        always = np.ones((b, 1), dtype=bool)
        free = {unit: np.concatenate([~mask, always], axis=1) for unit, mask in masks.items()}
        return Verdict(layout, free, refused)


def _abroad(jurisdiction: str, channels: tuple[str, ...]) -> list[Permission]:
    """Permissions of the United States and the United Kingdom, with the numbers of the packs."""

    def of(law: str, name: str) -> int:
        return int(number(jurisdiction, law, name))

    if jurisdiction == "us_regf":
        return [
            Disputed(),
            ExpressConsent(channels),
            ConsumerHours(of("US-02", "first_hour"), of("US-02", "last_hour")),
            CallFrequency(channels, of("US-01", "calls"), of("US-01", "days")),
            CallAfterConversation(channels, of("US-01", "days")),
            CourtTimeBarred(of("US-07", "years")),
        ]
    if jurisdiction == "uk_conc":
        hours = of("UK-04", "first_hour"), of("UK-04", "last_hour")
        return [Disputed(), TimeBarred(of("UK-06", "years")), ReasonableHours(channels, *hours)]
    return []
