"""The next-best action: calibrated probabilities, effects, an objective and joint choice."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.features import FeatureMatrix, compute_each
from collectopt.models.harm import Harm
from collectopt.models.overlap import Overlap
from collectopt.objective import Objective, default_objective, from_dict
from collectopt.policy import reasons
from collectopt.policy.base import Policy
from collectopt.policy.effects import Effects, learn
from collectopt.policy.engine import Bools, Case, Floats
from collectopt.policy.guard import GUARD, bar, judge, segments
from collectopt.policy.handover import (
    HandoverCase,
    Outside,
    Pricing,
    Worths,
    table,
    ways_of,
    worths,
)
from collectopt.policy.helping import recommend
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.overrides import Overrides
from collectopt.policy.plan import Plan
from collectopt.policy.plans import Assessment, evaluate_for
from collectopt.policy.playing import lifetime_value, scene
from collectopt.policy.preferences import preferences
from collectopt.policy.risks import learn_harm
from collectopt.policy.timing import marks, mean_days
from collectopt.policy.valued import LadderCase, ValuedCase
from collectopt.policy.waiting import WaitingCase
from collectopt.rules.layout import Layout
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.forecast import Forecast
from collectopt.schema.ledger import Ledger
from collectopt.schema.outlook import Outlook
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    from collectopt.policy.one import OneDecision
    from collectopt.policy.one_choice import OneChoice
    from collectopt.policy.one_record import AccountRecord

#: On simulated books the log loss of later weeks is the same as with one and half a million.
_HASTE, _PERIODS, _ROWS = 1.7, 250_000, 100_000


@runtime_checkable
class Payment(Protocol):
    """What a payment model must do; `fit(ledger, as_of=...)` is called where it exists."""

    def predict(self, snapshot: Snapshot, horizons: tuple[str, ...], level: str) -> Forecast:
        """Forecast each row of the snapshot."""


class NextBestAction(Policy):
    """Choose what is worth most in EUR, within the rules, for all accounts together.

    For each account: p_wait = P(everything past due is paid within the horizon), from the payment
    model; p of an action = p_wait + its effect, cut to [0, 1], from the response model; what the
    action brings in the end, as a share of the open amount, from a second one; value by the
    objective; rules; one choice an account under the shared limits; exploration inside what
    is permitted with exact propensities. Without a log of contacts with propensities these are
    estimated (``overlap_``); where the effects then do not hold they are assumed, and every
    decision says so. Complaints, opt-outs and customers lost by a contact are learnt from the log,
    shrunk to what is assumed without one. With a table ``[waits]`` in the catalogue, to wait until
    a day is a candidate, too: see :mod:`collectopt.policy.waiting`.

    Parameters
    ----------
    catalogue : Catalogue
    payment : Payment or None
        None takes ``PaymentModel(event="full")``, fitted in half of the time: with fewer trees
        on fewer periods. One with a method ``fit`` is fitted.
    response : object or None
        A model of effects on the chance to pay; None takes ``ResponseModel(room=True)``. Beside a
        `ResponseModel` another one with the same options learns what actions bring in the end.
    objective : Objective or None
        None takes ``ExpectedRecovery() - ContactCost() - RelationshipCost() - ComplaintRisk()``,
        and deducts ``CreditStanding()`` where the catalogue has a ``credit_standing_cost``.
    rules : Rules or None
        None takes those of the catalogue.
    guard : float
        Standard errors by which individual effects have to beat the best of the ladder, effects
        alike for everybody and doing nothing, segment by segment; with 2 most fall back.
    """

    kind: ClassVar[str] = "next_best_action"

    def __init__(
        self,
        catalogue: Catalogue,
        payment: Any = None,
        response: Any = None,
        objective: Objective | None = None,
        rules: Rules | None = None,
        *,
        guard: float = GUARD,
    ) -> None:
        super().__init__(catalogue, rules)
        self.guard = bar(guard)
        if payment is not None and not isinstance(payment, Payment):
            raise InputError.of(
                "NextBestAction",
                "payment",
                expected="a payment model with predict(snapshot, horizons, level)",
                found=type(payment).__name__,
            )
        self.payment = payment
        self.response = response
        priced = bool(catalogue.value.credit_standing_cost)
        self.objective = _checked(default_objective(priced) if objective is None else objective)
        self.payment_: Any = None
        self.effects_: Effects | None = None
        self.harm_: Harm | None = None
        self.delays_: Any = None
        self.outside_: Outside | None = None
        self._one: OneDecision | None = None

    def __repr__(self) -> str:
        return f"NextBestAction(objective={self.objective!r})"

    @property
    def explore(self) -> float:
        """Probability to explore, from the catalogue."""
        return self.catalogue.explore

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from everything known before ``as_of``.

        Raises
        ------
        InputError
        """
        moment = to_instant(as_of, self.catalogue.timezone)
        payment = self.payment
        if payment is None:
            from collectopt.models import PaymentModel
            from collectopt.models.options import HazardOptions

            options = HazardOptions(
                haste=_HASTE, max_periods=_PERIODS, half_life_days=None, at_issue=False
            )
            payment = PaymentModel(levels=("account",), max_rows=_ROWS, options=options)
        if hasattr(payment, "fit"):
            payment = payment.fit(ledger, as_of=moment) or payment
        self.payment_ = payment
        self.harm_ = learn_harm(ledger, moment, self.catalogue)
        self.delays_ = reasons.fitted(ledger, moment)  # the guard plays by the rule DISTRESS, too
        effects, evidence = learn(self.response, ledger, moment, self.catalogue)
        if evidence is not None:
            verdict = judge(
                evidence.held_out, evidence.snapshot, partial(scene, self, evidence), self.guard
            )
            effects = replace(effects, verdict=verdict)
        self.effects_ = effects
        self.outside_ = Outside.learn(ledger, moment, self.catalogue, payment)
        self._seal_models()
        return self

    def with_objective(self, objective: Objective) -> Self:
        """Give a fitted policy with the same models that aims at something else.

        Parameters
        ----------
        objective : Objective
            Such as ``ExpectedRecovery() - 3 * ContactCost()``.

        Raises
        ------
        NotFittedError, InputError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "with_objective")
        twin = copy.copy(self)
        twin.objective = _checked(objective)
        twin._seal_models()  # noqa: SLF001 - its own twin
        return twin

    def effects_table(self) -> pd.DataFrame | None:
        """Tell what a contact changes by channel, tone, offer and hour, with intervals.

        Returns
        -------
        DataFrame or None
            family, level, effect, stderr, low, high (95 %), decisions. None: effects are assumed.

        Raises
        ------
        NotFittedError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "effects_table")
        return self.effects_.table(self.catalogue.actions)

    def harm_table(self) -> pd.DataFrame | None:
        """Tell the chances of complaints, opt-outs and customers lost by channel and tone.

        Returns
        -------
        DataFrame or None
            As `Harm.table`. None: they are assumed.

        Raises
        ------
        NotFittedError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "harm_table")
        return None if self.harm_ is None else self.harm_.table()

    def preferences(self, snapshot: Snapshot) -> pd.DataFrame:
        """Rank channels, hours, weekdays, tones and payment methods for every account.

        Parameters
        ----------
        snapshot : Snapshot
            One time for all rows; reach and payments are learnt from what its ledger knew before.

        Returns
        -------
        DataFrame
            account_id, family, level, rank, effect, low, high (90 %), observations, unit, allowed,
            note: see :func:`collectopt.policy.preferences.preferences`.

        Raises
        ------
        NotFittedError, InputError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "preferences")
        return preferences(snapshot, self.catalogue, self.rules, self.effects_)

    def delay_reasons(self, snapshot: Snapshot) -> pd.DataFrame:
        """Say why accounts are late, and how likely it is distress.

        Parameters
        ----------
        snapshot : Snapshot
            n rows, whatever their time.

        Returns
        -------
        DataFrame
            n rows: account_id, the probability of each reason, most_likely, distress, and evidence
            (what moved it, in words).

        Raises
        ------
        NotFittedError
        """
        if self.delays_ is None:
            raise NotFittedError.of(self, "delay_reasons")
        return reasons.table(self.delays_, snapshot)

    def evaluate_plan(self, snapshot: Snapshot, account_id: str, proposal: Plan) -> Assessment:
        """Accept a customer's proposal, make another one, or have a human being decide.

        Parameters
        ----------
        snapshot : Snapshot
            With one row of the account. Means and habits are learnt from its ledger at its time.
        account_id : str
        proposal : Plan

        Returns
        -------
        Assessment
            See :func:`~collectopt.policy.evaluate_plan`. Without a plan, what is open is paid with
            the chance of the payment model, within 180 days.

        Raises
        ------
        NotFittedError, InputError
        """
        if self.payment_ is None:
            raise NotFittedError.of(self, "evaluate_plan")
        return evaluate_for(snapshot, account_id, proposal, self.catalogue, self.payment_)

    def prepare(
        self, prices: Mapping[str, float] | None = None, share: float | None = None
    ) -> OneDecision:
        """Lay the policy out for one account at a time; see :class:`OneDecision`.

        Parameters
        ----------
        prices : mapping of str to float, optional
            EUR a unit of what is scarce, such as ``decisions.prices`` of the last run.
        share : float, optional
            Share of the accounts that explore, such as ``decisions.exploration["share"]``.

        Raises
        ------
        NotFittedError, InputError
        """
        from collectopt.policy.one import OneDecision

        return OneDecision(self, prices, share)

    def decide_one(
        self,
        record: AccountRecord,
        now: AsOf | None = None,
        rng: int | np.random.Generator = 0,
        *,
        overrides: Overrides | None = None,
    ) -> OneChoice:
        """Decide for one account at once; the first call lays the policy out.

        Parameters and errors as in :meth:`OneDecision.decide`.
        """
        if self._one is None or self._one.policy is not self or self._one.version != self.version:
            self._one = self.prepare()
        return self._one.decide(record, now, rng, overrides=overrides)

    def _aware(self, snapshot: Snapshot, state: State) -> State:
        return reasons.aware(self.delays_, snapshot, state)

    def guard_table(self) -> pd.DataFrame | None:
        """Tell what is acted on in each segment, and why.

        Returns
        -------
        DataFrame or None
            segment; kept (nothing, the ladder, effects alike for everybody, individual effects);
            decisions of the log behind it; slopes of the outcome on effects alike for everybody and
            on what individual ones add, with their standard deviations (1 = as foretold); worth of
            each in EUR a decision against nothing; gain of individual effects over the best of the
            others with its standard error. None: there was nothing to judge.

        Raises
        ------
        NotFittedError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "guard_table")
        verdict = self.effects_.verdict
        return None if verdict is None else verdict.to_pandas()

    def helps(self, snapshot: Snapshot) -> pd.DataFrame:
        """Name the accounts for which advice, a new address, a portal or a day to wait for is best.

        Parameters
        ----------
        snapshot : Snapshot
            n rows of one time.

        Returns
        -------
        DataFrame
            account_id, help, until, worth, why: see :func:`collectopt.policy.helping.recommend`.

        Raises
        ------
        NotFittedError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "helps")
        state, _ = self._facts(snapshot)
        return recommend(snapshot, state, self.catalogue, self._own_case(snapshot, state)[0])

    def outside_table(self, snapshot: Snapshot) -> pd.DataFrame:
        """Value agency, court and giving up for every account, whatever is decided.

        Parameters
        ----------
        snapshot : Snapshot
            n rows of one time.

        Returns
        -------
        DataFrame
            One row an account and way of the catalogue: account_id, action, value (EUR against
            going on and deciding best later), low, high (80 %), cost (EUR at once), sure (low is
            above 0), permitted, going_on with its interval (EUR, no way out ever taken), best_on
            (day on which a way out is best taken; NaT = never). No rows where the catalogue has
            neither [agency] nor [court] nor [stop].

        Raises
        ------
        NotFittedError
        """
        if self.effects_ is None:
            raise NotFittedError.of(self, "outside_table")
        if self.outside_ is None:
            return pd.DataFrame(columns=["account_id", "action", "value", "low", "high"])
        state, layout = self._facts(snapshot)
        found = worths(self.outside_, snapshot, self._pricing(snapshot, state), self.payment_)
        kinds = self.catalogue.actions.kind
        columns = np.array([int(np.flatnonzero(kinds == k)[0]) for k in ways_of(self.catalogue)])
        verdict = self.rules.evaluate(state, layout, slice(0, len(state)))
        return table(snapshot, found, verdict.permitted(columns=columns))

    def _facts(self, snapshot: Snapshot) -> tuple[State, Layout]:
        layout = Layout.of(self.catalogue.actions)
        return self._aware(snapshot, State.of(snapshot, self.catalogue, layout)), layout

    @property
    def overlap_(self) -> Overlap | None:
        """How open the log's choices were; None where propensities were known, or few rows."""
        return None if self.effects_ is None else self.effects_.overlap

    def _seal_models(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._write_models(Path(folder))
            self._seal(Path(folder))

    @property
    def _effects(self) -> Effects:
        if self.effects_ is None:
            raise NotFittedError.of(self, "decide")
        return self.effects_

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        case, why = self._own_case(snapshot, state)
        found, whole = self._worths(snapshot, state), case
        if found is not None:
            whole = HandoverCase(case, found, self._pricing(snapshot, state))
        if self.catalogue.waits is not None:
            whole = WaitingCase.around(whole, case, snapshot, self.payment_)
        return whole, why

    def _pricing(self, snapshot: Snapshot, state: State) -> Pricing:
        return Pricing(state, self.objective, self.catalogue, lifetime_value(snapshot))

    def _worths(self, snapshot: Snapshot, state: State) -> Worths | None:
        """Value an agency, a court and to stop; None: the catalogue has none of them."""
        if self.outside_ is None:
            return None
        return worths(self.outside_, snapshot, self._pricing(snapshot, state), self.payment_)

    def _own_case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        outlook = self._outlook(snapshot, state)
        missing = ~(np.isfinite(outlook.p_wait) & np.isfinite(outlook.theta).all(axis=1))
        if outlook.proceeds is not None:
            missing |= ~np.isfinite(outlook.proceeds[0]).all(axis=1)
        why = {"the models give no probability for it": missing} if missing.any() else {}
        case = ValuedCase(
            outlook, state, self.objective, self.catalogue, self._effects.note, harm=self.harm_
        )
        verdict = self._effects.verdict
        if verdict is None:
            return case, why
        ladder, _ = verdict.of(segments(snapshot))
        if not ladder.any():
            return case, why
        rungs = FixedLadder(self.catalogue, rules=self.rules)._case(snapshot, state)[0]  # noqa: SLF001
        return LadderCase(case, rungs, ladder), why

    def _outlook(self, snapshot: Snapshot, state: State) -> Outlook:
        actions, days = self.catalogue.actions, self.catalogue.horizon_days
        of_payment, of_effects = self._matrices(snapshot)
        p_wait, mean_days = _payments(self.payment_, snapshot, days, of_payment)
        (theta, phi), proceeds = self._effects.factors(snapshot, actions, of_effects)
        return Outlook(
            snapshot=snapshot,
            actions=actions,
            p_wait=p_wait,
            open_amount=state.open_amount,
            theta=theta,
            phi=phi,
            days=mean_days,
            horizon_days=days,
            lifetime_value=lifetime_value(snapshot),
            proceeds=proceeds,
        )

    def _matrices(self, snapshot: Snapshot) -> tuple[FeatureMatrix | None, FeatureMatrix | None]:
        """Features for the payment model and for the effects, computed together where both ask."""
        from collectopt.models import PaymentModel

        if not isinstance(self.payment_, PaymentModel) or not len(snapshot):
            return None, None
        wanted = [self.payment_.inputs("account")]
        if self._effects.names is None:
            return compute_each(snapshot, wanted)[0], None
        both = compute_each(snapshot, [*wanted, (self._effects.names, self._effects.categories)])
        return both[0], both[1]

    def _content(self) -> dict[str, Any]:
        return {
            "objective": self.objective.to_dict(),
            "payment": type(self.payment_).__name__,
            "effects": self._effects.to_dict(),
            **({} if self.harm_ is None else {"harm": self.harm_.to_dict()}),
            **({} if self.outside_ is None else {"outside": self.outside_.to_dict()}),
        }

    @property
    def _models(self) -> dict[str, Any]:
        models = {
            "payment": self.payment_,
            "response": self._effects.model,
            "proceeds": self._effects.proceeds,
            "delays": self.delays_,
        }
        return {name: model for name, model in models.items() if model is not None}

    def kinds(self) -> dict[str, str]:
        """Name the kind of each fitted model."""
        return {name: type(model).__name__ for name, model in self._models.items()}

    def _write_models(self, folder: Path) -> None:
        """Write what can be written; other models enter the version by their repr."""
        for name, model in self._models.items():
            if hasattr(model, "save"):
                model.save(folder / name)
            else:
                (folder / name).write_text(repr(type(model)), encoding="utf-8")

    def _save_models(self, folder: Path) -> None:
        from_dict(self.objective.to_dict())  # says what is wrong with own terms
        for name, model in self._models.items():
            if not hasattr(model, "save"):
                raise ArtifactError(
                    f"the {name} model {type(model).__name__} has no method save(folder), so the "
                    "policy cannot be saved."
                )
        self._write_models(folder)


def _checked(objective: Objective) -> Objective:
    if not isinstance(objective, Objective):
        raise InputError.of(
            "NextBestAction",
            "objective",
            expected="a sum of terms such as ExpectedRecovery() - ContactCost()",
            found=type(objective).__name__,
        )
    objective.check()
    return objective


def _payments(
    payment: Any, snapshot: Snapshot, days: int, matrix: FeatureMatrix | None
) -> tuple[Floats, Floats]:
    """P(all past due paid within the horizon) and the expected days to it, given that it is."""
    if len(snapshot) == 0:
        return np.zeros(0), np.zeros(0)
    horizons = tuple(f"{mark}D" for mark in marks(days))
    if matrix is None:
        forecast = payment.predict(snapshot, horizons=horizons, level="account")
    else:
        forecast = payment.predict(
            snapshot, horizons=horizons, level="account", quantiles=(), matrix=matrix
        )
    p = np.asarray(forecast.p_paid, dtype=np.float64)
    return p[:, -1].copy(), mean_days(p, days)
