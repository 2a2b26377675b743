"""What contacts change: learnt from a log with propensities, or else assumed and said so."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectopt.features import FeatureMatrix, compute
from collectopt.models.heldout import HeldOut
from collectopt.models.overlap import Overlap
from collectopt.models.sensitivity import Sensitivity
from collectopt.policy.engine import Bools, Floats, Ints
from collectopt.policy.guard import Verdict, segments
from collectopt.policy.historic import historic_panel
from collectopt.policy.panel import decision_panel
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    from collectopt.models import ResponseModel

ASSUMED = "The effect of the contact is assumed, not learnt"
Matrix = NDArray[np.float32]
_ROWS, _SIDE = 200, 30  # fewest rows of a log, and of waits and contacts in it, to learn from
_FOLDS = 3


@dataclass(frozen=True)
class Effects:
    """Effects of actions on the probability to pay, and on what comes in.

    Attributes
    ----------
    model : object or None
        Of the probability that everything past due is paid within the horizon; fitted, with
        ``effect_factors(X) -> (theta, phi)``; None = assumed effects.
    names : tuple of str or None
        Features of the model.
    categories : mapping of str to tuple of str
        Their categories.
    note : str
        What to know about the effects, printed among the reasons; empty where they are learnt.
    rows : int
        Logged decisions that the model was fitted on.
    proceeds : object or None
        Likewise, of the share of what was past due that comes in, discounted.
    verdict : Verdict or None
        Which effects are acted on, by segment; None: all of them.
    overlap : Overlap or None
        How open the log's choices were, where propensities had to be estimated.
    sensitivity : Sensitivity or None
        What a hidden reason to contact could have done to the effect then.
    """

    model: Any
    names: tuple[str, ...] | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    rows: int = 0
    proceeds: Any = None
    verdict: Verdict | None = None
    overlap: Overlap | None = None
    sensitivity: Sensitivity | None = None

    def factors(
        self, snapshot: Snapshot, actions: ActionSet, matrix: FeatureMatrix | None = None
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats] | None]:
        """Effects as theta (n, p) or (1, p) and phi (K, p); their product is the change.

        First those on the probability, then those on the proceeds, if there is a model of them.

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
            return (np.ones((1, 1)), effects[:, None]), None
        X = np.zeros((len(snapshot), 0), dtype=np.float32)
        if self.names is not None:
            if matrix is None:
                matrix = compute(snapshot, self.names, self.categories)
            X = matrix.values  # noqa: PD011 - not of pandas
        segment = None if self.verdict is None else segments(snapshot)
        second = None if self.proceeds is None else self._factors(self.proceeds, X, segment)
        return self._factors(self.model, X, segment), second

    def _factors(self, model: Any, X: Matrix, segment: Ints | None) -> tuple[Floats, Floats]:
        theta, phi = model.effect_factors(X)
        theta, phi = np.atleast_2d(np.asarray(theta, np.float64)), np.asarray(phi, np.float64)
        if self.verdict is None or segment is None:
            return theta, phi
        share = self.verdict.of(segment)[1]
        return share[:, :1] * model.theta + share[:, 1:] * (theta - model.theta), phi

    def table(self, actions: ActionSet) -> pd.DataFrame | None:
        """Tell what a contact changes by channel, tone, offer and hour; None = nothing learnt.

        Effects on the share of the open amount that comes in; without a model of that, on the
        probability that everything past due is paid within the horizon. ``attrs["of"]`` says which.
        """
        model = self.model if self.proceeds is None else self.proceeds
        if not hasattr(model, "table"):
            return None
        table: pd.DataFrame = model.table(actions)
        table.attrs["of"] = (
            "chance that everything past due is paid" if self.proceeds is None else "open amount"
        )
        return table

    def to_dict(self) -> dict[str, Any]:
        """All but the model, ready for JSON."""
        return {
            "model": None if self.model is None else type(self.model).__name__,
            "names": None if self.names is None else list(self.names),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "note": self.note,
            "rows": self.rows,
            "proceeds": None if self.proceeds is None else type(self.proceeds).__name__,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "overlap": None if self.overlap is None else self.overlap.to_dict(),
            "sensitivity": None if self.sensitivity is None else self.sensitivity.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], model: Any, proceeds: Any = None) -> Effects:
        """Read what `to_dict` wrote."""
        overlap, bounds = data.get("overlap"), data.get("sensitivity")
        return cls(
            model=model,
            names=None if data["names"] is None else tuple(data["names"]),
            categories={name: tuple(values) for name, values in data["categories"].items()},
            note=data["note"],
            rows=data["rows"],
            proceeds=proceeds,
            verdict=None if data["verdict"] is None else Verdict.from_dict(data["verdict"]),
            overlap=None if overlap is None else Overlap.from_dict(overlap),
            sensitivity=None if bounds is None else Sensitivity.from_dict(bounds),
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What learnt effects are to be judged by: n logged decisions.

    Attributes
    ----------
    held_out : HeldOut
        Effects of each, learnt from other accounts.
    snapshot : Snapshot
        Their rows.
    p_wait : (n,) float64
        P(everything past due is paid within the horizon) without a contact.
    phi : (K, p) float64
        Factors of the actions.
    of_proceeds : bool
        Whether the effects are those on the proceeds.
    """

    held_out: HeldOut
    snapshot: Snapshot
    p_wait: Floats
    phi: Floats
    of_proceeds: bool


def learn(
    response: Any, ledger: Ledger, as_of: np.datetime64, catalogue: Catalogue
) -> tuple[Effects, Evidence | None]:
    """Fit models of effects on the book's log, or fall back to assumed effects.

    A log without propensities counts only if its choices were open given what was known, and if a
    hidden reason as strong as the strongest known one could not undo the effect of a contact.

    Parameters
    ----------
    response : object or None
        A model of the probability. With ``fit`` it is fitted; without it is taken as it is. None:
        ``ResponseModel(room=True)``. Beside a `ResponseModel` goes another one of its kind, of the
        proceeds.
    """
    if response is not None and not hasattr(response, "fit"):
        return Effects(response), None
    log, matrix, snapshot = decision_panel(
        ledger, as_of, horizon=f"{catalogue.horizon_days}D", catalogue=catalogue
    )
    why = _unusable(log, log.observed)
    past = historic_panel(ledger, as_of, catalogue) if why else None
    overlap, bounds, estimated = None, None, ""
    if past is not None:
        log, matrix, snapshot = past.log, past.matrix, past.snapshot
        overlap, bounds = past.overlap, past.sensitivity()
        because = past.unusable(bounds) or _unusable(log, log.observed)
        why = f"{why}; {because}" if because else ""
        estimated = past.note(bounds) if bounds is not None else ""
    if why:
        assumed = f"{ASSUMED}: {why}."
        return Effects(None, note=assumed, overlap=overlap, sensitivity=bounds), None
    from collectopt.models import ResponseModel

    second, evidence = None, None
    response = ResponseModel(room=True, folds=_FOLDS) if response is None else response
    if isinstance(response, ResponseModel):
        from collectopt.models.proceeds import proceeds

        came = proceeds(snapshot, matrix.values, as_of, yearly_rate=catalogue.discount_rate)
        if not _unusable(log, came.known):
            second = _fitted(response, log, came.share, came.known.astype(np.float64))
    model = _fitted(response, log, log.reward, log.weight)
    if isinstance(model, ResponseModel):
        rows = np.flatnonzero(log.propensity < 1.0)
        evidence = _evidence(model, second, log.X[rows], snapshot.take(rows))
    found = Effects(
        model,
        matrix.names,
        dict(matrix.categories),
        " ".join(filter(None, (estimated, _note(model, second)))),
        int(((log.weight > 0) & (log.propensity < 1.0)).sum()),
        second,
        overlap=overlap,
        sensitivity=bounds,
    )
    return found, evidence


def _evidence(
    model: ResponseModel, second: ResponseModel | None, X: Matrix, snapshot: Snapshot
) -> Evidence | None:
    """Take what the models kept to be judged by, so that they do not carry it on."""
    judged = model if second is None else second
    held_out = judged.held_out
    model.held_out = judged.held_out = None
    if held_out is None or judged.factors is None:
        return None
    phi, of_proceeds = judged.factors.phi, second is not None
    return Evidence(held_out, snapshot, model.predict_wait(X), phi, of_proceeds)


def _note(model: Any, proceeds: Any) -> str:
    """Say which effects are not counted, as the log does not show them."""
    shut = [
        (what, gate.z)
        for what, of in (("the chance to pay", model), ("what comes in", proceeds))
        if (gate := getattr(of, "gate", None)) is not None and not gate.open
    ]
    if not shut:
        return ""
    of = " and ".join(f"{what} (z = {z:.1f})" for what, z in shut)
    return f"The book's log shows no effect of contacts on {of}, so none is counted there."


def _fitted(model: Any, log: DecisionLog, outcome: Floats, weight: Floats) -> Any:
    """Fit a copy on what was left to chance: what was certain teaches nothing of effects.

    A `ResponseModel` sees rows without a known outcome, too: how they were chosen is known.
    """
    from collectopt.models import ResponseModel

    model, rows, more = copy(model), np.flatnonzero(log.propensity < 1.0), {}
    if isinstance(model, ResponseModel):
        more = {"weight": weight[rows], "hold_out": True}
    else:
        rows = rows[weight[rows] > 0]
    found = model.fit(
        log.X[rows],
        np.where(weight > 0, outcome, 0.0)[rows],
        action=log.action[rows],
        actions=log.actions,
        propensity=log.propensity[rows],
        account=log.account[rows],
        **more,
    )
    return found or model


def _unusable(log: DecisionLog, known: Bools) -> str:
    """Say why a log teaches nothing about effects; empty where it does."""
    open_choice = known & (log.propensity < 1.0)
    contact = log.actions.is_contact[log.action]
    if not known.any():
        return "the book has no contacts with propensities whose horizon is over"
    if not open_choice.any():
        return (
            "every logged contact was certain, so nothing can be compared; explore, see "
            "collectopt.evaluation.exploration_design"
        )
    if known.sum() < _ROWS:
        return f"only {int(known.sum())} logged decisions can be used"
    few = min(int((open_choice & contact).sum()), int((open_choice & ~contact).sum()))
    if few < _SIDE:
        return f"only {few} logged decisions to contact, or to wait, were left to chance"
    return ""
