"""Whether learnt effects are acted on: judged by segment on accounts they were not learnt from.

Four things could be done: nothing, the ladder, what effects alike for everybody advise, and what
individual effects advise. Each is played on moments of the log, within rules and limits, with
effects of every account that were learnt from others; its worth in EUR follows from how the
outcome rises with these effects (:class:`~collectopt.models.heldout.HeldOut`). The best of the
first three by expected worth is the rival; individual effects are acted on where they beat it by
half a standard error. Effects count as far as they proved true there, so that little is lost where
that is wrong; to ask for two standard errors would leave most segments of a usual book to effects
alike for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

import numpy as np
import pandas as pd

from collectopt.exceptions import InputError
from collectopt.models.heldout import HeldOut, Slopes
from collectopt.policy.engine import Bools, Floats, Ints
from collectopt.schema.snapshot import Snapshot

#: Standard errors by which individual effects have to beat the best of the other three.
GUARD = 0.5
_MOMENTS = 12  # moments of the log that are played
_CROWD = 20  # decisions of a moment from which on it is played
_DAYS = (30, 90)  # past due: where segments end
_AGES = ("up to 30 days past due", "31 to 90 days past due", "over 90 days past due")
SEGMENTS = tuple(f"{who}, {age}" for who in ("consumers", "firms") for age in _AGES)


class Kept(Enum):
    """What is acted on in a segment."""

    NOTHING = "nothing"
    LADDER = "the ladder"
    ALIKE = "effects alike for everybody"
    INDIVIDUAL = "individual effects"


@dataclass(frozen=True)
class Judged:
    """What was found in one segment.

    Attributes
    ----------
    segment : str
    kept : Kept
    decisions : int
        Logged decisions behind the slopes.
    slope, slope_sd : (float, float)
        How the outcome rises with effects alike for everybody, and with what individual ones add;
        1 = as foretold. Effects count by it, at most in full.
    worth : mapping of Kept to float
        EUR a decision against doing nothing.
    gain, stderr : float
        Worth of individual effects less that of the best of the others, EUR a decision.
    """

    segment: str
    kept: Kept
    decisions: int
    slope: tuple[float, float]
    slope_sd: tuple[float, float]
    worth: Mapping[Kept, float]
    gain: float
    stderr: float


@dataclass(frozen=True)
class Verdict:
    """What is acted on, segment by segment."""

    judged: tuple[Judged, ...]

    def of(self, segment: Ints) -> tuple[Bools, Floats]:
        """Tell which rows leave it to the ladder, and how much of individual effects counts.

        Parameters
        ----------
        segment : (n,) int64
            From :func:`segments`.

        Returns
        -------
        (n,) bool
        (n, 2) float64
            Factors on effects alike for everybody, and on what individual ones add.
        """
        ladder = np.array([j.kept is Kept.LADDER for j in self.judged])
        some = np.array([j.kept is not Kept.NOTHING for j in self.judged])
        more = np.array([j.kept in {Kept.INDIVIDUAL, Kept.LADDER} for j in self.judged])
        share = shares(np.array([j.slope for j in self.judged])) * np.column_stack([some, more])
        return ladder[segment], share[segment]

    def to_pandas(self) -> pd.DataFrame:
        """One row a segment."""
        rows = [
            {
                "segment": j.segment,
                "kept": j.kept.value,
                "decisions": j.decisions,
                "slope": j.slope[0],
                "slope_sd": j.slope_sd[0],
                "slope_individual": j.slope[1],
                "slope_individual_sd": j.slope_sd[1],
                **{f"worth of {kept.value}": j.worth[kept] for kept in Kept},
                "gain": j.gain,
                "stderr": j.stderr,
            }
            for j in self.judged
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """Give plain data, ready for JSON."""
        return [
            {
                "segment": j.segment,
                "kept": j.kept.name,
                "decisions": j.decisions,
                "slope": list(j.slope),
                "slope_sd": list(j.slope_sd),
                "worth": {kept.name: worth for kept, worth in j.worth.items()},
                "gain": j.gain,
                "stderr": j.stderr,
            }
            for j in self.judged
        ]

    @classmethod
    def from_dict(cls, rows: list[dict[str, Any]]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(
            tuple(
                Judged(
                    **{
                        **row,
                        "kept": Kept[row["kept"]],
                        "slope": tuple(row["slope"]),
                        "slope_sd": tuple(row["slope_sd"]),
                        "worth": {Kept[name]: worth for name, worth in row["worth"].items()},
                    }
                )
                for row in rows
            )
        )


def segments(snapshot: Snapshot) -> Ints:
    """Segment of each row, a position in :data:`SEGMENTS`: consumer or firm, and how late."""
    claims = snapshot.claims
    late = claims["past_due"].to_numpy() & ~claims["held"].to_numpy()
    days = np.zeros(len(snapshot), dtype=np.int64)
    dpd = claims["dpd"].to_numpy().astype(np.int64)
    np.maximum.at(days, claims["row"].to_numpy()[late], dpd[late])
    kind = snapshot.ledger.accounts["customer_type"].take(snapshot.rows["account"])
    firm = kind.to_numpy(zero_copy_only=False) != "consumer"
    return np.searchsorted(_DAYS, days, side="left") + len(_AGES) * firm


@dataclass(frozen=True, eq=False)
class Scene:
    """One moment of the log as the four see it.

    Attributes
    ----------
    segment : (n,) int64
    played : mapping of Kept to (n,) int64
        Action of each account; nothing is left out.
    worth : callable
        Action of each account -> EUR against waiting (n, 3): without any effect, what effects
        alike for everybody add to that, and what individual ones add again.
    """

    segment: Ints
    played: Mapping[Kept, Ints]
    worth: Callable[[Ints], Floats]


def moments(as_of: Any, most: int = _MOMENTS) -> Iterator[Ints]:
    """Rows of some moments of the log, evenly spread over those with enough decisions."""
    _, place, count = np.unique(as_of, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero(count >= _CROWD)
    if len(crowded):
        picked = np.unique(np.linspace(0, len(crowded) - 1, min(most, len(crowded))).astype(int))
        for k in crowded[picked]:
            yield np.flatnonzero(place.reshape(-1) == k)


def shares(slope: Floats) -> Floats:
    """How much of an effect counts, from its slope: at most all of it, at least nothing."""
    return np.clip(slope, 0.0, 1.0)


def bar(guard: Any) -> float:
    """Check a number of standard errors.

    Raises
    ------
    InputError
        Not a finite number of at least 0.
    """
    if isinstance(guard, bool) or not isinstance(guard, int | float) or not 0.0 <= guard < np.inf:
        expected = "standard errors, a number of at least 0"
        raise InputError.of("NextBestAction", "guard", expected=expected, found=repr(guard))
    return float(guard)


def judge(
    held_out: HeldOut,
    snapshot: Snapshot,
    play: Callable[[Ints, Floats], Scene],
    guard: float = GUARD,
) -> Verdict | None:
    """Weigh the four against each other in every segment.

    Parameters
    ----------
    held_out : HeldOut
        Of n logged decisions.
    snapshot : Snapshot
        Their rows.
    play : callable
        Rows of one moment and their :func:`shares` (m, 2) -> Scene.
    guard : float
        Standard errors by which individual effects have to be better.

    Returns
    -------
    Verdict or None
        None: no moment has enough decisions to be played.
    """
    segment = segments(snapshot)
    slopes = held_out.slopes(segment, len(SEGMENTS))
    share = shares(slopes.mean)
    scenes = (play(rows, share[segment[rows]]) for rows in moments(snapshot.as_of))
    total = {kept: np.zeros((len(SEGMENTS), 3)) for kept in Kept}
    count = np.zeros(len(SEGMENTS))
    for scene in scenes:
        count += np.bincount(scene.segment, minlength=len(SEGMENTS))
        for kept, action in scene.played.items():
            np.add.at(total[kept], scene.segment, scene.worth(action))
    if not count.any():
        return None
    every = {kept: sums.sum(axis=0) / count.sum() for kept, sums in total.items()}
    judged = []
    for g, name in enumerate(SEGMENTS):
        mine = {
            kept: sums[g] / count[g] if count[g] else every[kept] for kept, sums in total.items()
        }
        judged.append(_judged(name, mine, slopes, g, guard))
    return Verdict(tuple(judged))


def _judged(
    name: str, parts: Mapping[Kept, Floats], slopes: Slopes, g: int, guard: float
) -> Judged:
    """Decide on one segment; ``parts`` are EUR a decision: costs, alike, individual."""
    slope, covariance = slopes.mean[g], slopes.covariance[g]
    worth = {kept: float(part[0] + slope @ part[1:]) for kept, part in parts.items()}
    rival = max((Kept.NOTHING, Kept.ALIKE, Kept.LADDER), key=lambda kept: worth[kept])
    change = parts[Kept.INDIVIDUAL][1:] - parts[rival][1:]
    gain = worth[Kept.INDIVIDUAL] - worth[rival]
    stderr = float(np.sqrt(max(change @ covariance @ change, 0.0)))
    sure = gain > 0.0 and gain > guard * stderr
    sd = np.sqrt(np.diag(covariance))
    return Judged(
        name,
        Kept.INDIVIDUAL if sure else rival,
        int(slopes.rows[g]),
        (float(slope[0]), float(slope[1])),
        (float(sd[0]), float(sd[1])),
        worth,
        gain,
        stderr,
    )
