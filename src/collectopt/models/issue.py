"""Moments at which a claim is issued: which rows ask at one, and how their amounts rank.

Prices rise by steps: a fee that has cost 11 and now costs 13 is no larger claim than before, but a
tree that knows 11 and 17 only takes it for one. On its day of issue a claim is therefore told by
its rank among the latest claims of its kind, which does not move with the prices, instead of by
amounts of money.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.features.catalogue import DEFINITIONS
from collectopt.features.definition import Unit
from collectopt.features.words import RANKS
from collectopt.models.periods import blocks
from collectopt.schema.snapshot import Snapshot

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

#: Claims of the kind, known before, that a claim is ranked among: the most, and the fewest.
LATEST, LEAST = 200, 10
#: Features that the ranks stand for: money, and a ratio that moves with prices, too, where an
#: account has claims of several kinds.
MONEY = frozenset({f.name for f in DEFINITIONS if f.unit is Unit.MONEY} | {"claim_amount_ratio"})
_BLOCK = 20_000
_PLACES = 2  # decimals of a rank


def names_at_issue(rows: Snapshot) -> Bool:
    """Whether each row names a claim and asks on the local day of its issue, (n,)."""
    timeline = rows.ledger.timeline
    place = timeline.places(rows.rows["invoice"])
    issued = timeline.claims["issued_on"].cast(pa.int32()).to_numpy()
    found = np.flatnonzero(place >= 0)
    out = np.zeros(len(rows), dtype=np.bool_)
    day = rows.rows["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    out[found] = issued[place[found]] == day[found]
    return out


def ranks(rows: Snapshot, first: Bool) -> Float:
    """How the amount of a claim, and of all open ones, ranks among the latest of their kind.

    Parameters
    ----------
    rows : Snapshot
    first : (n,) bool
        Rows that are to be ranked, see :func:`names_at_issue`.

    Returns
    -------
    (n, 2) float64
        In the order of :data:`RANKS`, from 0 (smaller than all) to 1: rank of the claim that the
        row names, and mean rank of the open claims of its account. Each is ranked among at most
        :data:`LATEST` claims of its kind that were known when it was issued. nan in other rows,
        and where fewer than :data:`LEAST` were known.
    """
    out = np.full((len(rows), len(RANKS)), np.nan)
    if not first.any():
        return out
    row = rows.claims["row"].to_numpy().astype(np.int64)
    asked = np.flatnonzero(first[row])
    row, subject = row[asked], rows.claims["subject"].to_numpy()[asked]
    timeline = rows.ledger.timeline
    found = timeline.places(rows.claims["invoice"].take(pa.array(asked)))
    places, inverse = np.unique(found, return_inverse=True)
    rank = _ranked(timeline.claims, places)[inverse]
    known = ~np.isnan(rank)
    out[row[subject], 0] = rank[subject]
    count = np.bincount(row[known], minlength=len(rows))
    total = np.bincount(row[known], weights=rank[known], minlength=len(rows))
    seen = count > 0
    out[seen, 1] = np.round(total[seen] / count[seen], _PLACES)
    return out


def _ranked(claims: pa.Table, places: Int) -> Float:
    """Rank of some claims among those of their kind that were known when they were issued."""
    coded = claims["kind"].combine_chunks().dictionary_encode()
    kind = pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)
    known = claims["known_at"].cast(pa.int64()).to_numpy()
    issued = claims["issued_at"].cast(pa.int64()).to_numpy()
    cents = claims["cents"].to_numpy()
    order = np.lexsort((known, kind))
    sorted_kind, sorted_cents = kind[order], cents[order]
    times = np.unique(known)
    size = len(times) + 1
    key = sorted_kind * size + np.searchsorted(times, known[order])
    rank = np.full(len(places), np.nan)
    for part in blocks(len(places), _BLOCK):
        some = places[part]
        of_kind = kind[some]
        start = np.searchsorted(sorted_kind, of_kind)
        until = np.searchsorted(key, of_kind * size + np.searchsorted(times, issued[some]))
        back = until[:, None] - 1 - np.arange(LATEST)
        there = back >= start[:, None]
        others = sorted_cents[np.maximum(back, 0)]
        own = cents[some][:, None]
        below = (there & (others < own)).sum(axis=1) + 0.5 * (there & (others == own)).sum(axis=1)
        count = there.sum(axis=1)
        rank[part] = np.where(count >= LEAST, below / np.maximum(count, 1), np.nan)
    return np.round(rank, _PLACES)
