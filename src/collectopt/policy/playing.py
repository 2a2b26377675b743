"""Moments of the log, played again for the guard by each of what it chooses between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collectopt.policy.effects import Evidence
from collectopt.policy.engine import Floats, Ints, Setting, choose
from collectopt.policy.guard import Kept, Scene, segments
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.valued import ValuedCase
from collectopt.schema.outlook import Outlook
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction


def scene(policy: NextBestAction, evidence: Evidence, rows: Ints, share: Floats) -> Scene:
    """Play one moment of the log with effects of each account learnt from others.

    Parameters
    ----------
    policy : NextBestAction
    evidence : Evidence
    rows : (m,) int64
        Decisions of the moment.
    share : (m, 2) float64
        How much of effects alike for everybody, and of individual ones, counts.
    """
    catalogue, held_out, phi = policy.catalogue, evidence.held_out, evidence.phi
    snapshot = evidence.snapshot.take(rows)
    state, layout = policy._facts(snapshot)  # noqa: SLF001 - a part of the policy
    setting = Setting(snapshot, catalogue, policy.rules, layout, state, 0.0, 0, "")
    nothing = np.zeros((1, phi.shape[1]))
    days = np.full(len(rows), catalogue.horizon_days / 2.0)

    def case(theta: Floats) -> ValuedCase:
        outlook = Outlook(
            snapshot=snapshot,
            actions=catalogue.actions,
            p_wait=evidence.p_wait[rows],
            open_amount=state.open_amount,
            theta=nothing if evidence.of_proceeds else theta,
            phi=phi,
            days=days,
            horizon_days=catalogue.horizon_days,
            lifetime_value=lifetime_value(snapshot),
            proceeds=(theta, phi) if evidence.of_proceeds else None,
        )
        return ValuedCase(outlook, state, policy.objective, catalogue, "", harm=policy.harm_)

    alike, individual = held_out.alike[rows], held_out.individual[rows]
    cases = [case(theta) for theta in (nothing, alike, individual)]

    def worth(action: Ints) -> Floats:
        every = slice(0, len(action))
        values = [policy.objective.values(one.taken(every, action))[:, 0] for one in cases]
        return np.column_stack([values[0], *np.diff(values, axis=0)])

    some, more = share[:, :1] * alike, share[:, 1:] * (individual - alike)
    ladder = FixedLadder(catalogue, rules=policy.rules)._case(snapshot, state)[0]  # noqa: SLF001
    rivals = {Kept.ALIKE: case(some), Kept.INDIVIDUAL: case(some + more), Kept.LADDER: ladder}
    played = {kept: choose(setting, rival).greedy for kept, rival in rivals.items()}
    return Scene(segments(snapshot), played, worth)


def lifetime_value(snapshot: Snapshot) -> Floats:
    """EUR, (n,); nan where it is not known."""
    worth = snapshot.ledger.accounts["lifetime_value"].take(snapshot.rows["account"])
    return worth.to_numpy(zero_copy_only=False).astype(np.float64)
