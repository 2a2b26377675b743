"""The decisions that a book's contacts record, with what was known and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.features import FeatureMatrix, compute
from collectopt.models.censoring import seen_weights
from collectopt.models.labels import durations
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.tables import NO_CONTACT, OVERRIDE
from collectopt.schema.times import INSTANT, AsOf, local_time, to_instant

Ints = NDArray[np.int64]
LIMIT = 200_000


def decision_log(
    ledger: Ledger,
    as_of: AsOf,
    *,
    horizon: str = "28D",
    catalogue: Catalogue | None = None,
    names: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> DecisionLog:
    """Make a log of decisions: one row per account and time of decision, waits included.

    Time zero is ``decided_at`` (else ``sent_at``). The reward is 1 if everything that was past due
    then was paid within the horizon. Rows without a propensity, with nothing past due, with a
    channel that the catalogue does not have, or that a person decided (`policy` begins with
    "override") are left out. A row whose horizon was not over at
    ``as_of``, or that a credit note closed, is not observed; it is never counted as not paid. What
    is known of it, a payment, counts by ``weight`` like that of others of which as much is known.

    An account has many rows, and contacts of one may still work in the next. A row asks what the
    decision of its own time changes, given all that was done before, which its features tell, and
    whatever the log went on to do: the effect of this decision, not of a course of them.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Nothing from then on is read.
    horizon : str
        Such as "28D".
    catalogue : Catalogue or None
        Names the actions; None: the library's default.
    names, categories
        Features, as in :func:`collectopt.features.compute`.
    """
    return decision_panel(
        ledger, as_of, horizon=horizon, catalogue=catalogue, names=names, categories=categories
    )[0]


def decision_panel(
    ledger: Ledger,
    as_of: AsOf,
    *,
    horizon: str = "28D",
    catalogue: Catalogue | None = None,
    names: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> tuple[DecisionLog, FeatureMatrix, Snapshot]:
    """Make the log, with the matrix it holds and the snapshot of its rows."""
    catalogue = catalogue or Catalogue.default()
    cut = to_instant(as_of, catalogue.timezone)
    rows, action = logged_rows(ledger, cut, catalogue.actions)
    return outcomes(
        ledger, cut, catalogue, rows, action, horizon=horizon, names=names, categories=categories
    )


def outcomes(
    ledger: Ledger,
    cut: np.datetime64,
    catalogue: Catalogue,
    rows: pa.Table,
    action: Ints,
    *,
    horizon: str = "28D",
    names: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
) -> tuple[DecisionLog, FeatureMatrix, Snapshot]:
    """Find what was known at decisions and what came of them.

    Parameters
    ----------
    rows : pyarrow.Table
        account_id, as_of, propensity of each decision.
    action : (n,) int64
        What was decided. The others as in :func:`decision_panel`.
    """
    days = Horizon.parse(horizon).days
    snapshot = Snapshot.from_rows(ledger, rows.select(["account_id", "as_of"]))
    late = np.zeros(len(snapshot), dtype=bool)
    claims = snapshot.claims
    late[claims["row"].to_numpy()[claims["past_due"].to_numpy(zero_copy_only=False)]] = True
    kept = np.flatnonzero(late)
    if len(kept) > LIMIT:  # the newest; whole moments, so that no outcome decides
        newest = np.sort(snapshot.as_of[kept])[-LIMIT]
        kept = kept[snapshot.as_of[kept] >= newest]
    snapshot = snapshot.take(kept)
    matrix = compute(snapshot, names, categories)
    outcome = durations(snapshot, "full", "account", cut)
    over = snapshot.as_of + np.timedelta64(round(days * 86_400e6), "us") <= cut
    log = DecisionLog.from_arrays(
        matrix.values,
        action[kept],
        (outcome.event & (outcome.days <= days)).astype(np.float64),
        rows["propensity"].to_numpy()[kept],
        catalogue.actions,
        account=snapshot.rows["account"].to_numpy().astype(np.int64),
        as_of=snapshot.as_of,
        observed=over & (outcome.event | (outcome.days >= days)),
        weight=seen_weights(outcome.days, outcome.event, days, action[kept] > 0),
        names=matrix.names,
    )
    return log, matrix, snapshot


def logged_rows(ledger: Ledger, cut: np.datetime64, actions: ActionSet) -> tuple[pa.Table, Ints]:
    """Take logged decisions with a propensity, one an account and moment, and their actions."""
    contacts = ledger.timeline.contacts
    known = pc.less(
        contacts["known_at"], pa.scalar(cut.item()).cast(pa.timestamp("us")).cast(INSTANT)
    )
    usable = pc.and_(known, pc.fill_null(pc.greater(contacts["propensity"], 0.0), False))
    keys = [("account", "ascending"), ("known_at", "ascending"), ("contact_id", "ascending")]
    contacts = contacts.filter(usable).sort_by(keys)
    account = contacts["account"].to_numpy()
    moment = pc.cast(contacts["known_at"], pa.int64()).to_numpy()
    action = encode(contacts, ledger, actions)
    first = np.r_[True, (account[1:] != account[:-1]) | (moment[1:] != moment[:-1])]
    keep = np.flatnonzero(first[: len(account)] & (action >= 0))
    contacts = contacts.take(pa.array(keep))
    ids = ledger.accounts["account_id"].combine_chunks().take(contacts["account"].combine_chunks())
    return (
        pa.table(
            {"account_id": ids, "as_of": contacts["known_at"], "propensity": contacts["propensity"]}
        ),
        action[keep],
    )


def encode(contacts: pa.Table, ledger: Ledger, actions: ActionSet) -> Ints:
    """Find the action of each contact of a timeline; -1 where the catalogue has none.

    Channel, tone and offer must be the same (no tone: the gentlest; no offer: "none"); of the
    slots the nearest is taken. Where a person decided (`policy` begins with "override"), it is -1
    too: the choice was certain, so nothing shows what another would have brought, and people pick
    accounts by what no feature tells. Such contacts count as history all the same.
    """
    zones = ledger.zones.take(contacts["account"].combine_chunks())
    wall = local_time(contacts["known_at"].combine_chunks(), zones)
    decided = pc.cast(pc.floor_temporal(wall, unit="day"), pa.date32())
    day = pc.cast(contacts["local_day"], pa.int32()).to_numpy() - pc.cast(
        decided, pa.int32()
    ).to_numpy(zero_copy_only=False)
    hours = day * 24.0 + contacts["local_hour"].to_numpy()
    gentle = actions.tones[0] if actions.tones else None
    triples = list(
        zip(
            contacts["channel"].to_pylist(),
            pc.fill_null(contacts["tone"], gentle).to_pylist(),
            pc.fill_null(contacts["offer"], "none").to_pylist(),
            strict=True,
        )
    )
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, a in enumerate(actions):
        groups.setdefault((a.channel or a.kind.channel, a.tone, a.offer or "none"), []).append(k)
    found = np.full(len(contacts), -1, dtype=np.int64)
    rows: dict[tuple[Any, ...], list[int]] = {}
    for i, triple in enumerate(triples):
        rows.setdefault(triple, []).append(i)
    for (channel, tone, offer), at in rows.items():
        special = channel in NO_CONTACT
        members = groups.get((channel, None, "none") if special else (channel, tone, offer))
        if members is not None:
            slots = actions.day[members] * 24.0 + actions.hour[members]
            distance = np.abs(np.nan_to_num(slots)[None, :] - hours[at][:, None])
            found[at] = np.array(members)[distance.argmin(axis=1)]
    by_hand = pc.fill_null(pc.starts_with(contacts["policy"], OVERRIDE), False)
    return np.where(by_hand.to_numpy(), -1, found)
