"""What one account looks like at one time, ready to be decided about without any table."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from collectopt.exceptions import InputError
from collectopt.models.labels import due_offsets
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.policy.base import check_currency
from collectopt.policy.engine import Floats
from collectopt.policy.guard import segments
from collectopt.policy.handover import Worths
from collectopt.policy.one_rules import QuickRules
from collectopt.policy.protected import protected
from collectopt.rules.layout import Layout
from collectopt.rules.state import MONTH_US, State, sent_times
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    from collectopt.models.one_row import Row
    from collectopt.policy.next_best import NextBestAction


@dataclass(frozen=True, eq=False)
class AccountRecord:
    """One account at one time: facts for the rules, columns for the models.

    It holds until the local day ends or something new is known of the account.

    Attributes
    ----------
    account_id : str
    version : str
        Of the policy that it is for.
    as_of : int
        Microseconds since 1970, UTC: when it was known.
    until : int
        Likewise: the end of the account's local day.
    state : State
        Facts for the rules, of this account alone.
    key : str
        Those facts that steady rules hang on.
    sent : (m,) int64
        When contacts of the same customer went, or go, out; microseconds UTC.
    day : int
        Local day, days since 1970.
    due : float
        Days until the due date of the claim that is due first has passed.
    segment : int
        Segment of the guard.
    lifetime_value : float
        EUR; nan = unknown.
    protected : bool
        Whether nothing is tried out on the customer.
    outside : Worths or None
        What an agency, a court or to stop is worth, where the catalogue has them.
    payment : (d,) float32 or None
        Columns of the payment model.
    effects : (e,) float32 or None
        Columns of the effects.
    stages : (members, s) float64 or None
        What the straight lines of the payment model make of its columns.
    lines : tuple of (level, tilt)
        What those of the models of effects make of theirs: on the probability, on the proceeds.
    chances : (p_wait, days) or None
        Of a payment model that is not ours, which cannot be asked for one row.
    factors : (theta, phi), and those of the proceeds or None; or None
        Likewise, of effects that are not ours.
    """

    account_id: str
    version: str
    as_of: int
    until: int
    state: State
    key: str
    sent: np.ndarray[Any, np.dtype[np.int64]]
    day: int
    due: float
    segment: int
    lifetime_value: float
    protected: bool
    outside: Worths | None
    payment: Row | None
    effects: Row | None
    stages: Floats | None
    lines: tuple[tuple[float, float], ...]
    chances: tuple[float, float] | None
    factors: tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None] | None

    def __repr__(self) -> str:
        moment = np.datetime64(self.as_of, "us").item()
        return f"AccountRecord({self.account_id!r} as of {moment:%Y-%m-%d %H:%M} UTC)"

    def at(self, now: int) -> State:
        """Give the facts at a later minute of the same day.

        Raises
        ------
        InputError
            The record is of another day, or of the future.
        """
        if now == self.as_of:
            return self.state
        if not self.as_of <= now < self.until:
            raise InputError.of(
                "decide_one",
                "now",
                expected=f"a time from that of the record until its local day ends ({self!r})",
                found=f"{np.datetime64(now, 'us')} UTC",
                hint="Make a new record: fast.records(ledger, now).",
            )
        recent = np.array([(self.sent > now - MONTH_US).sum()])
        return replace(self.state, as_of=now, recent=recent)


def records(
    policy: NextBestAction,
    rules: QuickRules,
    quick: QuickPayment | None,
    ledger: Ledger,
    as_of: AsOf,
) -> dict[str, AccountRecord]:
    """Prepare every account with an open claim, all at once; by account_id."""
    check_currency(ledger, policy.catalogue)
    snapshot = Snapshot(ledger, to_instant(as_of, policy.catalogue.timezone))
    if not len(snapshot):
        return {}
    state = policy._aware(  # noqa: SLF001 - a part of the policy
        snapshot, State.of(snapshot, policy.catalogue, Layout.of(policy.catalogue.actions))
    )
    columns = _columns(policy, quick, snapshot, state)
    account = snapshot.rows["account"].to_numpy()
    days = snapshot.rows["day"].to_numpy().astype("datetime64[D]")
    zones = ledger.zones.take(snapshot.rows["account"].combine_chunks()).to_pylist()
    due, segment = due_offsets(snapshot).tolist(), segments(snapshot).tolist()
    sent = sent_times(snapshot, policy.catalogue, account)
    worth = ledger.accounts["lifetime_value"].take(snapshot.rows["account"])
    lifetime = worth.to_numpy(zero_copy_only=False).astype(np.float64).tolist()
    kept, ways = protected(state, policy.catalogue), policy._worths(snapshot, state)  # noqa: SLF001
    ends: dict[tuple[str, Any], int] = {}
    found = {}
    for i, name in enumerate(snapshot.rows["account_id"].to_pylist()):
        own, day = _row(state, i), days[i].item()
        if (zones[i], day) not in ends:
            ends[zones[i], day] = _midnight(day, zones[i])
        found[name] = AccountRecord(
            account_id=name,
            version=policy.version,
            as_of=state.as_of,
            until=ends[zones[i], day],
            state=own,
            key=rules.key(own),
            sent=sent[i],
            day=int(days[i].astype(np.int64)),
            due=due[i],
            segment=segment[i],
            lifetime_value=lifetime[i],
            protected=bool(kept[i]),
            outside=None if ways is None else ways.of(i),
            **columns(i),
        )
    return found


def _columns(
    policy: NextBestAction, quick: QuickPayment | None, snapshot: Snapshot, state: State
) -> Any:
    """Columns of the models by row; what other people's models say, where they are not ours."""
    from collectopt.models import ResponseModel

    outlook, payment, effects = None, None, None
    lines: list[list[tuple[float, float]]] = []
    models = [policy._effects.model, policy._effects.proceeds]  # noqa: SLF001
    ours = all(m is None or isinstance(m, ResponseModel) for m in models)
    stages: Floats | list[None] = [None] * len(snapshot)
    if quick is not None:
        of_payment, of_effects = policy._matrices(snapshot)  # noqa: SLF001
        assert of_payment is not None
        payment = of_payment.values
        stages = quick.straight(payment)
        if of_effects is not None:
            effects = of_effects.values
    if quick is None or not ours:
        outlook = policy._outlook(snapshot, state)  # noqa: SLF001
    elif effects is None and models[0] is not None:
        effects = np.zeros((len(snapshot), 0), dtype=np.float32)
    if ours and effects is not None:
        lines = [QuickEffects(m).straight(effects) for m in models if m is not None]

    def of(i: int) -> dict[str, Any]:
        own = slice(i, i + 1)
        chances, factors = None, None
        if outlook is not None:
            chances = (float(outlook.p_wait[i]), float(outlook.days[i]))
            factors = (
                (_of(outlook.theta, own), outlook.phi),
                (
                    None
                    if outlook.proceeds is None
                    else (_of(outlook.proceeds[0], own), outlook.proceeds[1])
                ),
            )
        return {
            "payment": None if payment is None else np.ascontiguousarray(payment[i]),
            "effects": None if effects is None else np.ascontiguousarray(effects[i]),
            "stages": stages[i],
            "lines": tuple(each[i] for each in lines),
            "chances": chances,
            "factors": factors,
        }

    return of


def _of(theta: Floats, own: slice) -> Floats:
    return theta if len(theta) == 1 else theta[own].copy()


def _row(state: State, i: int) -> State:
    """Take the facts of one account out of those of many."""
    clock = int(state.clock[i])
    special: dict[str, Any] = {
        "as_of": state.as_of,
        "clock": np.zeros(1, dtype=np.int64),
        "send_at": state.send_at[clock : clock + 1],
        "local_day": state.local_day[clock : clock + 1],
        "land": state.land[clock : clock + 1],
        "holds": {kind: mask[i : i + 1].copy() for kind, mask in state.holds.items()},
        "said": state.said and {kind: mask[i : i + 1].copy() for kind, mask in state.said.items()},
    }
    low, high = (ends[i : i + 1] for ends in state.blocked)
    own = low[0] < high[0]  # the others fill up
    special["blocked"] = low[:, own], high[:, own]
    for each in fields(State):
        value = getattr(state, each.name)
        if each.name not in special:
            special[each.name] = None if value is None else value[i : i + 1].copy()
    return State(**special)


def _midnight(day: Any, zone: str) -> int:
    """First microsecond, UTC, of the local day after this one."""
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
    return round(end.timestamp()) * 1_000_000
