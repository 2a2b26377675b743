"""What a model of payments learns from: features of the engine, and the lateness to expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from collectopt.features.engine import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.features.words import EXPECTED
from collectopt.models.expected import Past
from collectopt.schema.snapshot import Snapshot

#: Features that follow the times of the whole book: for an account without a history they say when
#: it was, not who pays. What an account adds to them is in the lifts.
LEFT_OUT = frozenset(
    {
        "book_on_time_rate",
        "segment_on_time_rate",
        "on_time_rate",
        "paid_10_rate",
        "paid_30_rate",
        "customer_late_rate",
    }
)


def learnable(matrix: FeatureMatrix, left_out: frozenset[str] = LEFT_OUT) -> FeatureMatrix:
    """Leave out the columns that are constant here, and those of ``left_out``."""
    kept = []
    for i, name in enumerate(matrix.names):
        column = matrix.values[:, i]
        known = column[~np.isnan(column)]
        varies = len(known) and (known.min() < known.max() or len(known) < len(column))
        if varies and name not in left_out:
            kept.append(name)
    return matrix.select(kept or matrix.names[:1])


def engine_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the features that the engine knows."""
    return tuple(name for name in names if name != EXPECTED)


def inputs(
    snapshot: Snapshot,
    names: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    past: Past | None,
    known: FeatureMatrix | None = None,
) -> FeatureMatrix:
    """Gather the features of a snapshot.

    Parameters
    ----------
    snapshot : Snapshot
    names : sequence of str
        Features of the engine, and :data:`EXPECTED` if ``past`` is given.
    categories : mapping of str to sequence of str
        Codes of the categorical ones.
    past : Past, optional
        What gives the lateness to expect.
    known : FeatureMatrix, optional
        Those of the engine, if they are known already.
    """
    own = engine_names(names)
    matrix = compute(snapshot, own, categories) if known is None else known.select(own)
    if past is None:
        return matrix
    return matrix.with_column(EXPECTED, past.of(snapshot)).select(names)
