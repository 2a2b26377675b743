"""What contacts change: learnt from a log with propensities, or else assumed and said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectopt.features import FeatureMatrix, compute
from collectopt.policy.engine import Floats
from collectopt.policy.panel import decision_panel
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot

ASSUMED = "The effect of the contact is assumed, not learnt"
_ROWS, _SIDE = 200, 30  # fewest rows of a log, and of waits and contacts in it, to learn from


@dataclass(frozen=True)
class Effects:
    """Effects of actions on the probability to pay.

    Attributes
    ----------
    model : object or None
        Fitted, with ``effect_factors(X) -> (theta, phi)``; None = assumed effects.
    names : tuple of str or None
        Features of the model.
    categories : mapping of str to tuple of str
        Their categories.
    note : str
        What to know about the effects, printed among the reasons; empty where they are learnt.
    rows : int
        Logged decisions that the model was fitted on.
    """

    model: Any
    names: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    rows: int = 0

    def factors(
        self, snapshot: Snapshot, actions: ActionSet, matrix: FeatureMatrix | None = None
    ) -> tuple[Floats, Floats]:
        """Effects as theta (n, p) or (1, p) and phi (K, p); their product is the change.

        Parameters
        ----------
        snapshot : Snapshot
        actions : ActionSet
        matrix : FeatureMatrix, optional
            `names` with `categories` of the snapshot, if they are known already.
        """
        if self.model is None:
            from collectopt.models.response import prior_effects

            effects = np.asarray(prior_effects(actions), dtype=np.float64)
            return np.ones((1, 1)), effects[:, None]
        X = np.zeros((len(snapshot), 0), dtype=np.float32)
        if self.names is not None:
            if matrix is None:
                matrix = compute(snapshot, self.names, self.categories)
            X = matrix.values
        theta, phi = self.model.effect_factors(X)
        return np.atleast_2d(np.asarray(theta, np.float64)), np.asarray(phi, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """All but the model, ready for JSON."""
        return {
            "model": None if self.model is None else type(self.model).__name__,
            "names": None if self.names is None else list(self.names),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "note": self.note,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], model: Any) -> Effects:
        """Read what `to_dict` wrote."""
        return cls(
            model=model,
            names=None if data["names"] is None else tuple(data["names"]),
            categories={name: tuple(values) for name, values in data["categories"].items()},
            note=data["note"],
            rows=data["rows"],
        )


def learn(response: Any, ledger: Ledger, as_of: np.datetime64, catalogue: Catalogue) -> Effects:
    """Fit a model of effects on the book's log, or fall back to assumed effects.

    Parameters
    ----------
    response : object or None
        With ``fit`` (as `ResponseModel`) it is fitted; without it is taken as it is.
    """
    if response is not None and not hasattr(response, "fit"):
        return Effects(response)
    log, matrix, _ = decision_panel(
        ledger, as_of, horizon=f"{catalogue.horizon_days}D", catalogue=catalogue
    )
    why = _unusable(log)
    if why:
        return Effects(None, note=f"{ASSUMED}: {why}.")
    if response is None:
        from collectopt.models import ResponseModel

        response = ResponseModel()
    kept = log.observed & (log.propensity < 1.0)  # what was certain teaches nothing of effects
    model = response.fit(
        log.X[kept],
        log.reward[kept],
        action=log.action[kept],
        actions=log.actions,
        propensity=log.propensity[kept],
        account=log.account[kept],
    )
    model = model or response
    gate = getattr(model, "gate", None)
    note = ""
    if gate is not None and not gate.open:
        note = f"The book's log shows no effect of contacts (z = {gate.z:.1f}), so none is counted."
    names, categories = matrix.names, dict(matrix.categories)
    return Effects(model, names, categories, note, int(kept.sum()))


def _unusable(log: DecisionLog) -> str:
    """Say why a log teaches nothing about effects; empty where it does."""
    open_choice = log.observed & (log.propensity < 1.0)
    contact = log.actions.is_contact[log.action]
    if not log.observed.any():
        return "the book has no contacts with propensities whose horizon is over"
    if not open_choice.any():
        return "every logged contact was certain, so nothing can be compared"
    if log.observed.sum() < _ROWS:
        return f"only {int(log.observed.sum())} logged decisions can be used"
    few = min(int((open_choice & contact).sum()), int((open_choice & ~contact).sum()))
    if few < _SIDE:
        return f"only {few} logged decisions to contact, or to wait, were left to chance"
    return ""
