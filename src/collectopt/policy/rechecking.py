"""Judge decisions again just before they are carried out: much may have happened since."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.policy.engine import Bools, Ints
from collectopt.policy.orders import Orders, Standing, with_approvals
from collectopt.policy.overrides import Overrides
from collectopt.rules.layout import Layout
from collectopt.rules.precedence import Precedence
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind, ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import Decisions
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import INSTANT, local_time

if TYPE_CHECKING:
    import pandas as pd

_SENT = "SLOT_PAST"
_GONE = "NOTHING_OPEN"
_PEOPLE = "OVERRIDE"


@dataclass(frozen=True, eq=False)
class Recheck:
    """What may still be carried out.

    Attributes
    ----------
    decisions : Decisions
        Those that may: waits, and actions that every rule still permits.
    stopped : pyarrow.Table
        decision_id, account_id, channel, send_at, code and reason of the first rule that refuses.
    """

    decisions: Decisions
    stopped: pa.Table

    def to_pandas(self) -> pd.DataFrame:
        """Give what was stopped in pandas."""
        return self.stopped.to_pandas()

    def __repr__(self) -> str:
        codes = pc.value_counts(self.stopped["code"]).to_pylist()
        why = ", ".join(f"{entry['values']} {entry['counts']}" for entry in codes)
        return f"Recheck({len(self.decisions)} go on, {len(self.stopped)} stopped: {why or '-'})"

    def _repr_html_(self) -> str:
        table = self.to_pandas().head(20).to_html(index=False)
        return f"<p>{html.escape(repr(self))}</p>{table}"


@dataclass(frozen=True)
class Judge:
    """By what actions are judged.

    Attributes
    ----------
    catalogue : Catalogue
    rules : Rules
    aware : callable
        Adds to the facts what the policy believes.
    overrides : Overrides or None
        What people decided, as it stands now.
    """

    catalogue: Catalogue
    rules: Rules
    aware: Callable[[Snapshot, State], State]
    overrides: Overrides | None = None


def recheck(
    decisions: Decisions,
    ledger: Ledger,
    moment: np.datetime64,
    judge: Judge,
) -> Recheck:
    """Hold every action against the rules as of a moment (UTC); see `Policy.recheck`."""
    rules = judge.rules
    table = decisions.table
    acts = np.flatnonzero(pc.not_equal(table["channel"], "none").to_numpy())
    made = table.take(pa.array(acts))
    ledger = _without(ledger, made["decision_id"])
    why = np.full(len(made), "", dtype=object)
    words = {p.code: p.reason for p in rules.permissions}
    if len(made):
        why[:] = _refusals(made, ledger, moment, judge)
    stopped = why != ""
    kept = np.ones(len(table), dtype=bool)
    kept[acts[stopped]] = False
    words |= {_SENT: words.get(_SENT, "the time to send it is over")}
    words |= {_GONE: "nothing is open any more", _PEOPLE: "a person has decided otherwise"}
    left = made.filter(pa.array(stopped))
    codes = why[stopped].tolist()
    return Recheck(
        decisions.filter(kept),
        pa.table(
            {
                **{n: left[n] for n in ("decision_id", "account_id", "channel", "send_at")},
                "code": pa.array(codes, pa.string()),
                "reason": pa.array([words[code] for code in codes], pa.string()),
            }
        ),
    )


def _without(ledger: Ledger, ids: pa.ChunkedArray) -> Ledger:
    """Leave out the contacts that these very decisions announced."""
    own = pc.is_in(ledger.contacts["decision_id"], value_set=ids.combine_chunks())
    if not pc.any(own).as_py():
        return ledger
    return replace(ledger, contacts=ledger.contacts.filter(pc.invert(own)))


def _refusals(made: pa.Table, ledger: Ledger, now: np.datetime64, judge: Judge) -> list[str]:
    """Name the first rule that refuses each action; empty = none does."""
    catalogue, rules = judge.catalogue, judge.rules
    actions, layout = catalogue.actions, Layout.of(catalogue.actions)
    at = pa.array(np.full(len(made), now.astype("datetime64[us]").astype(np.int64)), pa.int64())
    rows = pa.table({"account_id": made["account_id"], "as_of": at.cast(INSTANT)})
    snapshot = Snapshot.from_rows(ledger, rows)
    state = judge.aware(snapshot, State.of(snapshot, catalogue, layout))
    state = with_approvals(state, judge.overrides, snapshot)
    action = _matched(made, snapshot, actions)
    orders = Orders.of(judge.overrides, snapshot, state, layout, rules=rules)
    people = Standing.of(orders, action, actions)
    sent = made["send_at"].to_numpy(zero_copy_only=False).astype("datetime64[us]")
    over = ~np.isnat(sent) & (sent <= now.astype("datetime64[us]"))
    code = np.where(over | (action < 0), _SENT, "").astype(object)
    every = slice(0, len(made))
    place = np.arange(len(made))
    for permission in rules.permissions:
        refuse = permission.refuse(state, layout, every)
        mask = np.concatenate([refuse, np.zeros((len(made), 1), dtype=bool)], axis=1)
        hit: Bools = mask[place, layout.index[permission.unit][np.maximum(action, 0)]]
        hit &= (action >= 0) & (code == "")
        if permission.rank > Precedence.OVERRIDE:
            hit &= ~people.excused(permission.unit)
        code[hit] = permission.code
    house = [p.code for p in rules.permissions if p.rank > Precedence.OVERRIDE]
    code[np.isin(code, ["", *house]) & people.against] = _PEOPLE
    code[(code == "") & ~_open(snapshot)] = _GONE
    return [str(c) for c in code]


def _open(snapshot: Snapshot) -> Bools:
    """Accounts with something still open."""
    found = np.zeros(len(snapshot), dtype=bool)
    found[snapshot.claims["row"].to_numpy()] = True
    return found


def _matched(made: pa.Table, snapshot: Snapshot, actions: ActionSet) -> Ints:
    """Find the catalogue's action as it stands now: days count from today; -1 = there is none."""
    zones = snapshot.ledger.zones.take(snapshot.rows["account"].combine_chunks())
    sent = made["send_at"].combine_chunks()
    wall = local_time(sent, zones)
    day = pc.cast(pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32()), pa.int32())
    today = snapshot.rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    offset = pc.fill_null(day, 0).to_numpy(zero_copy_only=False).astype(np.int64) - today
    minutes = pc.add(pc.multiply(pc.hour(wall), 60), pc.minute(wall))
    hour = pc.fill_null(pc.cast(minutes, pa.float64()), 0.0).to_numpy(zero_copy_only=False) / 60.0
    kinds = {kind.channel: kind for kind in ActionKind if kind is not ActionKind.CONTACT}
    found = np.full(len(made), -1, dtype=np.int64)
    columns = (made[name].to_pylist() for name in ("channel", "tone", "offer"))
    for i, (channel, tone, offer) in enumerate(zip(*columns, strict=True)):
        if channel in kinds:
            same = actions.kind == kinds[channel]
        else:
            same = (
                actions.is_contact
                & (actions.channel == _code(actions.channels, channel))
                & (actions.tone == _code(actions.tones, tone))
                & (actions.offer == _code(actions.offers, offer))
                & (actions.day == offset[i])
                & np.isclose(np.nan_to_num(actions.hour, nan=-1.0), hour[i], atol=1e-6)
            )
        at = np.flatnonzero(same)
        found[i] = at[0] if len(at) else -1
    return found


def _code(names: tuple[str, ...], name: str | None) -> int:
    return names.index(name) if name in names else -1
