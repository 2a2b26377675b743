"""What people decide for single accounts: force, forbid, amend, shift the tone, approve.

Where it stands among rules, limits and the optimiser says :class:`collectopt.rules.Precedence`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.exceptions import Fault, InputError
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.frames import to_arrow
from collectopt.schema.mistakes import did_you_mean
from collectopt.schema.tables import OVERRIDE

Bools = NDArray[np.bool_]
_PASSIVE = (ActionKind.WAIT, ActionKind.STOP)
_EXTERNAL = (ActionKind.AGENCY, ActionKind.COURT)
_APPROVE = "approve"


class OverrideKind(Enum):
    """What a person does to the decision on an account."""

    FORCE = "force"  # one of the actions concerned is taken, if law, stop and hold allow one
    FORBID = "forbid"  # none of the actions concerned is taken
    AMEND = "amend"  # if one of them is chosen, its tone or offer is changed
    TONE_OFFSET = "tone_offset"  # if one of them is chosen, its tone is shifted


@dataclass(frozen=True)
class Override:
    """What one person decided for one account, for a while.

    The actions concerned are those that agree with `action`, `channel`, `tone` and `offer`; what
    is None agrees with all. Waiting is concerned only where `action` says so.

    Attributes
    ----------
    account_id : str
    kind : OverrideKind
    reason, owner : str
        Why, and who answers for it.
    from_on, until : date
        First day, and first free day, both local to the account.
    action : ActionKind or None
    channel, tone, offer : str or None
        Names in the catalogue.
    new_tone, new_offer : str or None
        What AMEND puts in the place of tone and offer.
    steps : int or None
        By how many tones TONE_OFFSET shifts, below 0 = milder; it ends at either end of the order
        of tones, and where the law does not allow the next one.

    Raises
    ------
    InputError
        Lists every fault.

    Examples
    --------
    >>> day, free = dt.date(2026, 11, 2), dt.date(2026, 11, 9)
    >>> print(Override("A1", OverrideKind.FORCE, "asked for a call", "j.doe", day, free,
    ...                channel="phone"))
    force phone by j.doe until 2026-11-09, because asked for a call
    """

    account_id: str
    kind: OverrideKind
    reason: str
    owner: str
    from_on: dt.date
    until: dt.date
    action: ActionKind | None = None
    channel: str | None = None
    tone: str | None = None
    offer: str | None = None
    new_tone: str | None = None
    new_offer: str | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        faults = [*_signed(self, "override"), *self._faults()]
        if faults:
            raise InputError(faults)

    def __str__(self) -> str:
        if self.kind is OverrideKind.AMEND:
            to = ", ".join(v for v in (self.new_tone, self.new_offer) if v)
            what = f"amend {self.words} to {to}"
        elif self.kind is OverrideKind.TONE_OFFSET:
            what = f"shift the tone of {self.words} by {self.steps:+d}"
        else:
            what = f"{self.kind.value} {self.words}"
        return f"{what} by {self.owner} until {self.until}, because {self.reason}"

    @property
    def words(self) -> str:
        """What it concerns, in words."""
        parts = [self.channel, self.tone, f"offering {self.offer}" if self.offer else None]
        found = [part for part in parts if part is not None]
        if self.action is not None and self.action is not ActionKind.CONTACT:
            return self.action.name.lower()
        return ", ".join(found) or ("any contact" if self.scope else "anything")

    @property
    def scope(self) -> dict[str, Any]:
        """What an action must agree with to be concerned; changed tones count as such."""
        names = {"channel": self.channel, "tone": self.tone, "offer": self.offer}
        given: dict[str, Any] = {k: v for k, v in names.items() if v is not None}
        contact = given or self.kind in {OverrideKind.AMEND, OverrideKind.TONE_OFFSET}
        action = ActionKind.CONTACT if contact else self.action
        return given if action is None else {"action": action, **given}

    def concerns(self, actions: ActionSet) -> Bools:
        """Which actions it concerns; shape (K,)."""
        scope = self.scope
        kind = scope.get("action")
        found = actions.kind != ActionKind.WAIT if kind is None else actions.kind == kind
        for name, order in (
            ("channel", actions.channels),
            ("tone", actions.tones),
            ("offer", actions.offers),
        ):
            if name in scope:
                code = order.index(scope[name]) if scope[name] in order else len(order)
                found = found & (getattr(actions, name) == code)
        return np.asarray(found, dtype=np.bool_)

    def _faults(self) -> Iterator[Fault]:
        kind: Any = self.kind
        named = [self.channel, self.tone, self.offer]
        if not isinstance(kind, OverrideKind):
            expected = f"one of {', '.join(k.value for k in OverrideKind)}, {_APPROVE}"
            yield Fault("overrides", "kind", expected, repr(kind))
            return
        special = self.action not in {None, ActionKind.CONTACT}
        if special and any(v is not None for v in named):
            expected = "no channel, tone or offer beside an action that is no contact"
            yield Fault("overrides", "action", expected, self.action.name.lower())  # type: ignore[union-attr]
        if kind is OverrideKind.FORCE and not self.scope:
            expected = "what to force: an action, a channel, a tone or an offer"
            yield Fault("overrides", "action", expected, "nothing")
        if kind is OverrideKind.FORBID and self.action is ActionKind.WAIT:
            hint = "Force what is to be done instead."
            expected = "not to wait: waiting is always possible"
            yield Fault("overrides", "action", expected, "wait", hint=hint)
        if kind in {OverrideKind.AMEND, OverrideKind.TONE_OFFSET} and special:
            yield Fault("overrides", "action", "a contact", self.action.name.lower())  # type: ignore[union-attr]
        changed = self.new_tone is not None or self.new_offer is not None
        if changed != (kind is OverrideKind.AMEND):
            expected = "a tone or an offer where, and only where, the kind is amend"
            yield Fault("overrides", "new_tone, new_offer", expected, f"{kind.value}")
        whole = isinstance(self.steps, int) and self.steps != 0
        if whole != (kind is OverrideKind.TONE_OFFSET) or (self.steps is not None and not whole):
            expected = "a whole number, not 0, where, and only where, the kind is tone_offset"
            yield Fault("overrides", "steps", expected, f"{kind.value}, {self.steps!r}")


@dataclass(frozen=True)
class Approval:
    """A person approves of handing one account to an agency or to the court.

    It lifts the rule APPROVAL (:class:`collectopt.rules.Approval`) for exactly this action of this
    account, and no other rule; whether the action is taken, the policy decides.

    Attributes
    ----------
    account_id : str
    action : ActionKind
        AGENCY or COURT.
    reason, owner : str
        Why, and who approves.
    from_on, until : date
        First day, and first free day, both local to the account.

    Examples
    --------
    >>> day, free = dt.date(2026, 11, 2), dt.date(2026, 12, 1)
    >>> print(Approval("A1", ActionKind.COURT, "looked through the file", "j.doe", day, free))
    approve court by j.doe until 2026-12-01, because looked through the file
    """

    account_id: str
    action: ActionKind
    reason: str
    owner: str
    from_on: dt.date
    until: dt.date

    def __post_init__(self) -> None:
        faults = list(_signed(self, "approval"))
        if self.action not in _EXTERNAL:
            faults.append(Fault("overrides", "action", "agency or court", str(self.action)))
        if faults:
            raise InputError(faults)

    def __str__(self) -> str:
        what = self.action.name.lower()
        return f"approve {what} by {self.owner} until {self.until}, because {self.reason}"


def _signed(record: Override | Approval, what: str) -> Iterator[Fault]:
    """Faults in who, why and when."""
    for name in ("account_id", "reason", "owner"):
        value = getattr(record, name)
        if not isinstance(value, str) or not value.strip():
            yield Fault("overrides", name, f"a text: every {what} has one", repr(value))
    days = {name: getattr(record, name) for name in ("from_on", "until")}
    for name, day in days.items():
        if not isinstance(day, dt.date) or isinstance(day, dt.datetime):
            hint = "Nothing that people decide holds for ever." if name == "until" else ""
            yield Fault("overrides", name, "a date such as 2026-11-30", repr(day), hint=hint)
            return
    if days["from_on"] >= days["until"]:
        found = f"{days['from_on']} to {days['until']}"
        yield Fault("overrides", "until", "a day after from_on, the first free one", found)


#: What may stand in a row of overrides.
COLUMNS = (
    *("account_id", "kind", "action", "channel", "tone", "offer", "new_tone", "new_offer"),
    *("steps", "reason", "owner", "from_on", "until"),
)
_TYPES = {"steps": pa.int64(), "from_on": pa.date32(), "until": pa.date32()}


@dataclass(frozen=True)
class Overrides:
    """All that people decided, checked: no two that hold at once contradict each other.

    Parameters
    ----------
    overrides : tuple of Override
    approvals : tuple of Approval

    Raises
    ------
    InputError
        Lists every contradiction.

    Examples
    --------
    >>> given = Overrides.from_rows([
    ...     {"account_id": "A1", "kind": "forbid", "channel": "phone", "reason": "on night shifts",
    ...      "owner": "j.doe", "from_on": "2026-11-02", "until": "2026-12-01"}])
    >>> len(given), [str(o) for o in given.at("A1", dt.date(2026, 12, 1))]
    (1, [])
    """

    overrides: tuple[Override, ...] = ()
    approvals: tuple[Approval, ...] = field(default=())

    def __post_init__(self) -> None:
        faults = []
        for account, own in self._by_account.items():
            for one, two in combinations(own, 2):
                why = contradiction(one, two)
                if why and max(one.from_on, two.from_on) < min(one.until, two.until):
                    found = f"account {account}: {one}; {two}"
                    hint = "End one of them, or take it back."
                    faults.append(Fault("overrides", None, why, found, hint=hint))
        if faults:
            raise InputError(faults)

    def __len__(self) -> int:
        return len(self.overrides) + len(self.approvals)

    @property
    def _all(self) -> tuple[Override | Approval, ...]:
        return (*self.overrides, *self.approvals)

    @cached_property
    def _by_account(self) -> dict[str, list[Override]]:
        found: dict[str, list[Override]] = defaultdict(list)
        for override in self.overrides:
            found[override.account_id].append(override)
        # in whatever order they were given, the record of a decision is the same
        return {account: sorted(own, key=str) for account, own in found.items()}

    @cached_property
    def _approved(self) -> dict[str, list[Approval]]:
        found: dict[str, list[Approval]] = defaultdict(list)
        for approval in self.approvals:
            found[approval.account_id].append(approval)
        return {account: sorted(own, key=str) for account, own in found.items()}

    @cached_property
    def accounts(self) -> frozenset[str]:
        """Accounts for which anything was decided."""
        return frozenset(self._by_account) | frozenset(self._approved)

    @property
    def digest(self) -> str:
        """Hash of all that is in it, in any order."""
        rows = sorted(json.dumps(row, sort_keys=True) for row in self.to_rows())
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def at(self, account_id: str, day: dt.date) -> tuple[Override, ...]:
        """Find what holds for an account on a local day of it."""
        own = self._by_account.get(account_id, [])
        return tuple(o for o in own if o.from_on <= day < o.until)

    def approved(self, account_id: str, day: dt.date) -> tuple[Approval, ...]:
        """Find what is approved of for an account on a local day of it."""
        own = self._approved.get(account_id, [])
        return tuple(a for a in own if a.from_on <= day < a.until)

    def check(self, catalogue: Catalogue) -> None:
        """Refuse what the catalogue does not know.

        Raises
        ------
        InputError
            Lists every name at fault.
        """
        tones, offers, kinds = catalogue.tone_names, catalogue.offers.names, catalogue.actions.kind
        known = {"channel": catalogue.channel_names, "tone": tones, "new_tone": tones}
        known |= {"offer": offers, "new_offer": offers}
        faults = []
        for i, o in enumerate(self._all):
            for name, names in known.items():
                value = getattr(o, name, None)
                if value is not None and value not in names:
                    expected = f"one of {', '.join(names)}"
                    faults.append(Fault("overrides", name, expected, repr(value), (i,), 1))
            if o.action is not None and o.action not in kinds:
                found = o.action.name.lower()
                faults.append(Fault("overrides", "action", "one of the catalogue", found, (i,), 1))
        if faults:
            raise InputError(faults)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Overrides:
        """Read overrides and approvals, one a row, with the names of the fields as keys.

        Parameters
        ----------
        rows : sequence of mappings
            ``kind`` is force, forbid, amend, tone_offset or approve; ``action`` wait, contact,
            agency, court or stop. Days may be text such as 2026-11-30.

        Raises
        ------
        InputError
            Lists every fault of every row.
        """
        faults: list[Fault] = []
        made: list[Override | Approval] = []
        for i, row in enumerate(rows):
            try:
                made.append(_read(row))
            except InputError as error:
                faults += [replace(fault, rows=(i,), count=1) for fault in error.faults]
        if faults:
            raise InputError(_once(faults))
        return cls(
            tuple(record for record in made if isinstance(record, Override)),
            tuple(record for record in made if isinstance(record, Approval)),
        )

    @classmethod
    def from_frame(cls, frame: Any) -> Overrides:
        """Read any frame with the columns of :meth:`to_frame`; errors as :meth:`from_rows`."""
        return cls.from_rows(to_arrow(frame, "overrides").to_pylist())

    def to_rows(self) -> list[dict[str, Any]]:
        """Give plain values, days as text, nothing for None; :meth:`from_rows` reads them back."""
        rows = []
        for record in self._all:
            row: dict[str, Any] = {f.name: getattr(record, f.name) for f in fields(record)}
            row.setdefault("kind", _APPROVE)
            plain = {k: _plain(v) for k, v in row.items() if v is not None}
            rows.append({name: plain[name] for name in COLUMNS if name in plain})
        return rows

    def to_frame(self) -> pa.Table:
        """Give one row an override or approval."""
        rows = [
            {k: dt.date.fromisoformat(v) if k in {"from_on", "until"} else v for k, v in r.items()}
            for r in self.to_rows()
        ]
        schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
        return pa.Table.from_pylist(rows, schema=schema)


def _once(faults: Sequence[Fault]) -> list[Fault]:
    """Say the same of several rows once."""
    rows: dict[Fault, list[int]] = {}
    for fault in faults:
        rows.setdefault(replace(fault, rows=(), count=0), []).extend(fault.rows)
    return [replace(f, rows=tuple(at[:5]), count=len(at)) for f, at in rows.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, ActionKind):
        return value.name.lower()
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, dt.date) else value


def _read(row: Mapping[str, Any]) -> Override | Approval:
    """Make a record of one row of plain values."""
    given = {str(k): v for k, v in row.items() if v is not None and v == v and v != ""}  # noqa: PLR0124
    unknown = sorted(set(given) - set(COLUMNS))
    if unknown:
        expected = f"columns {', '.join(COLUMNS)}"
        hint = did_you_mean(unknown[0], COLUMNS)
        raise InputError.of(
            "overrides", None, expected=expected, found=", ".join(unknown), hint=hint
        )
    values: dict[str, Any] = {**dict.fromkeys(COLUMNS[:1] + COLUMNS[9:]), **given}
    values["account_id"] = given.get("account_id") and str(given["account_id"])
    for name in ("from_on", "until"):
        values[name] = _day(values[name])
    kinds = {kind.name.lower(): kind for kind in ActionKind}
    if "action" in given:
        values["action"] = kinds.get(str(_plain(given["action"])))
        if values["action"] is None:
            expected = f"one of {', '.join(kinds)}"
            raise InputError.of(
                "overrides", "action", expected=expected, found=repr(given["action"])
            )
    if "steps" in given:
        values["steps"] = _whole(given["steps"])
    kind = _plain(values.pop("kind", None))
    if kind == _APPROVE:
        more = sorted(set(values) - {f.name for f in fields(Approval)})
        if more:
            expected = "nothing beside the action that is approved of"
            raise InputError.of("overrides", more[0], expected=expected, found=str(given[more[0]]))
        return Approval(**{"action": None, **values})
    known = {k.value: k for k in OverrideKind}
    return Override(kind=known.get(str(kind), kind), **values)


def _whole(value: Any) -> Any:
    """Turn text and floats into whole numbers; what is none stays as it is."""
    try:
        return int(value) if float(value).is_integer() else value
    except ValueError:
        return value


def _day(value: Any) -> Any:
    """Turn text and times into days; what is no day stays as it is, for the check to refuse."""
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value[:10])
        except ValueError:
            return value
    return value


def contradiction(one: Override, two: Override) -> str:
    """Say why two overrides of one account cannot both be done; empty where they can."""
    return next((why for so, why in _contradictions(one, two) if so), "")


def _contradictions(one: Override, two: Override) -> Iterator[tuple[bool, str]]:
    kinds = {one.kind: one, two.kind: two}
    force, forbid = kinds.get(OverrideKind.FORCE), kinds.get(OverrideKind.FORBID)
    amend, shift = kinds.get(OverrideKind.AMEND), kinds.get(OverrideKind.TONE_OFFSET)
    meet = _meet(one.scope, two.scope)
    if one.kind is two.kind:
        pairs = ((one.new_tone, two.new_tone), (one.new_offer, two.new_offer))
        other = any(a and b and a != b for a, b in pairs)
        yield force is not None and not meet, "not two actions forced at once"
        yield amend is not None and meet and other, "one change of the same tone or offer"
        yield shift is not None and meet, "one shift of the same tone"
    if force and forbid:
        yield _covers(forbid.scope, force.scope), "not the same action forced and forbidden"
    if amend and shift:
        yield bool(amend.new_tone) and meet, "a tone changed or shifted, not both"
    if force and amend:
        yield meet and _undoes(force, amend), "a forced action left as it is"
    if force and shift:
        yield force.tone is not None and meet, "a forced tone left as it is"
    if forbid and amend:
        changed = {**amend.scope, **_changed(amend)}
        yield _covers(forbid.scope, changed), "not a change into what is forbidden"


def _changed(amend: Override) -> dict[str, Any]:
    new = {"tone": amend.new_tone, "offer": amend.new_offer}
    return {name: value for name, value in new.items() if value is not None}


def _undoes(force: Override, amend: Override) -> bool:
    return any(force.scope.get(k, v) != v for k, v in _changed(amend).items())


def _meet(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether an action may agree with both."""
    return all(two.get(k, v) == v for k, v in one.items())


def _covers(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether all that agrees with ``narrow`` agrees with ``wide``."""
    if not wide and narrow.get("action") is ActionKind.WAIT:
        return False
    return all(narrow.get(k) == v for k, v in wide.items())


def marked(version: str) -> str:
    """Mark the version of a policy where people decided too; learning leaves such rows out."""
    return f"{OVERRIDE}:{version}"


def known_accounts(overrides: Overrides, ids: Iterable[str]) -> None:
    """Refuse overrides of accounts that the book does not have.

    Raises
    ------
    InputError
    """
    strange = sorted(overrides.accounts - set(ids))
    if strange:
        raise InputError.of(
            "overrides",
            "account_id",
            expected="accounts of the book",
            found=", ".join(strange[:5]),
            hint="A misspelt account would go unnoticed.",
        )
