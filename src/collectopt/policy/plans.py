"""Plans of instalments: the best one for an account, and the answer to a customer's proposal.

A plan in force is worth its instalments, discounted and as likely as it is still kept; where it
breaks, what is left brings what it would bring without a plan. It is worth offering where that is
more than no plan brings. The search is exhaustive over number, rhythm and start, within the
creditor's limits and within what the account can afford. Nobody is refused by this module: it
answers, and a refusal of a consumer waits for a human being (Art. 22 GDPR; C-634/21).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.models.plan_keeping import Payer, PlanModel
from collectopt.policy.plan import Plan, Rhythm, broken_limits, money, month_on
from collectopt.schema.catalogue import Catalogue, PlanLimits
from collectopt.schema.snapshot import Snapshot

_LEAD = 3  # days that a customer needs at least to arrange the first payment
_STARTS = (7, 14, 21, 28)  # days from now, for accounts without a usual day
_OFTEN = 14  # days: the rhythm beside the monthly one
_WINDOW, _MONTH, _YEAR = 28, 30.4375, 365.0  # days
_HORIZON = 180  # days in which a claim is paid without a plan, or hardly at all
_FAR = 3  # so many times beyond what is possible: no counter-proposal meets it
_ROUNDING = 1e-9
_HUMAN = {"insolvency", "deceased", "breathing_space", "agency", "court"}  # holds


class Verdict(Enum):
    """The answer to a proposal."""

    ACCEPT = "accept"
    COUNTER = "counter"
    REFUSE = "refuse"


@dataclass(frozen=True)
class PlanCase:
    """What is to be paid and by whom.

    Attributes
    ----------
    account_id : str
    amount : Decimal
        EUR that the plan is about.
    day : date
        Of the agreement, local.
    payer : Payer
    consumer : bool
    otherwise : float
        Share of the amount, discounted, that comes without a plan; also of what is left when a
        plan breaks.
    holds : tuple of str
        Holds on the account that leave a plan to a human being, such as an insolvency.
    """

    account_id: str
    amount: Decimal
    day: date
    payer: Payer = field(default_factory=Payer)
    consumer: bool = True
    otherwise: float = 0.5
    holds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", money(self.amount))
        if not 0.0 <= self.otherwise <= 1.0:
            raise InputError.of(
                "PlanCase", "otherwise", expected="a share, 0 to 1", found=repr(self.otherwise)
            )

    @classmethod
    def of(
        cls, snapshot: Snapshot, account_id: str, model: PlanModel, otherwise: float = 0.5
    ) -> PlanCase:
        """Take an account of a snapshot: what is past due and not on hold, else all that is open.

        Raises
        ------
        InputError
            The account is not in the snapshot once, or nothing of it may be asked for.
        """
        rows = np.flatnonzero(pc.equal(snapshot.rows["account_id"], account_id).to_numpy())
        if len(rows) != 1:
            raise InputError.of(
                "snapshot", "account_id", expected=f"one row of account {account_id!r}",
                found=f"{len(rows)} rows", hint="Accounts without an open claim have none.",
            )  # fmt: skip
        one = snapshot.take(rows)
        claims = one.claims.to_pandas()
        free = claims[~claims["held"].astype(bool)]
        late = free[free["past_due"].astype(bool)]
        cents = int((late if len(late) else free)["open_cents"].sum())
        if cents == 0:
            raise InputError.of(
                "snapshot", "account_id", expected="an account with a claim that is not on hold",
                found=repr(account_id),
            )  # fmt: skip
        place = one.rows["account"][0].as_py()
        return cls(
            account_id=account_id,
            amount=Decimal(cents) / 100,
            day=one.rows["day"][0].as_py(),
            payer=model.payer(account_id),
            consumer=snapshot.ledger.accounts["customer_type"][place].as_py() == "consumer",
            otherwise=otherwise,
            holds=_holds(one),
        )

    @property
    def no_plan(self) -> float:
        """EUR that come without a plan."""
        return float(self.amount) * self.otherwise


@dataclass(frozen=True)
class PlanTerms:
    """The rules of the creditor by which plans are valued.

    Attributes
    ----------
    limits : PlanLimits
    discount_rate : float
        A year.
    margin : float
        EUR that a proposal has to bring more than no plan.
    """

    limits: PlanLimits = field(default_factory=PlanLimits)
    discount_rate: float = 0.08
    margin: float = 0.0

    def worth(self, days: float | np.ndarray) -> np.ndarray:
        """Give what a EUR in so many days is worth today."""
        return np.asarray((1.0 + self.discount_rate) ** (-np.asarray(days, dtype=float) / _YEAR))

    def affordable(self, payer: Payer) -> float:
        """EUR a month that instalments may ask for at most."""
        return self.limits.max_share * payer.means

    def costs(self) -> str:
        """Say what the customer must be told in text before the agreement (§ 13a (3) RDG)."""
        if self.limits.interest == 0.0:
            return "The plan costs nothing: no interest, no fee."
        return f"Interest of {self.limits.interest:.2%} a year on what is open is asked beside it."


@dataclass(frozen=True)
class PlanOption:
    """A plan with what it is worth.

    Attributes
    ----------
    plan : Plan
    p_accept : float
        Chance that it is accepted when offered.
    p_keep : float
        Chance that all instalments are kept.
    in_force : float
        EUR once it is accepted.
    value : float
        EUR when it is offered: accepted and in force, or no plan.
    gain : float
        EUR more than without the offer.
    load : float
        EUR of its heaviest month.
    reasons : tuple of str
    """

    plan: Plan
    p_accept: float
    p_keep: float
    in_force: float
    value: float
    gain: float
    load: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Plans:
    """Plans that could be offered, the best first.

    Attributes
    ----------
    case : PlanCase
    options : tuple of PlanOption
        By falling value; empty where no plan is affordable within the limits.
    searched : int
        Plans of the grid.
    reason : str
    """

    case: PlanCase
    options: tuple[PlanOption, ...]
    searched: int
    reason: str

    @property
    def best(self) -> PlanOption | None:
        """The best plan that is worth offering; None: there is none."""
        worth = self.options and self.options[0].gain > 0.0
        return self.options[0] if worth else None

    def to_pandas(self) -> pd.DataFrame:
        """One row a plan: rank, number, start, end, rhythm, instalment and the values."""
        names = ("p_accept", "p_keep", "in_force", "value", "gain", "load", "reasons")
        rows = [
            {
                "account_id": self.case.account_id,
                "rank": rank,
                "number": len(option.plan),
                "start": option.plan.start,
                "end": option.plan.end,
                "rhythm": str(option.plan.rhythm),
                "instalment": float(option.plan.instalments[0][1]),
                **{name: getattr(option, name) for name in names},
            }
            for rank, option in enumerate(self.options, 1)
        ]
        columns = ("account_id", "rank", "number", "start", "end", "rhythm", "instalment", *names)
        return pd.DataFrame(rows, columns=list(columns))


@dataclass(frozen=True)
class Assessment:
    """The answer to a customer's proposal.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        In words that can be told to the customer.
    needs_approval : bool
        A human being must decide first: a consumer would be refused, or a hold stands.
    value, no_plan : float
        EUR of the proposal in force, and without any plan.
    counter : PlanOption or None
        The plan to propose instead, with p_accept = chance that the customer agrees to it.
    difference : float
        EUR that the proposal brings more than the counter-proposal; than no plan without one.
    costs : str
        To be told in text before the agreement.
    """

    verdict: Verdict
    reason: str
    needs_approval: bool
    value: float
    no_plan: float
    counter: PlanOption | None
    difference: float
    costs: str


def value_in_force(
    plan: Plan, case: PlanCase, model: PlanModel, terms: PlanTerms
) -> tuple[float, float]:
    """EUR of a plan once it is accepted, and the chance that all of it is kept.

    With c_k due in t_k days, S_k = chance that instalments 1 to k are kept and L_k = what is left
    before k, it is the sum of S_k c_k d(t_k) + (S_{k-1} - S_k) otherwise L_k d(t_k + grace), d =
    discounting; interest that is asked comes with the instalments.
    """
    days, euros = plan.days(case.day), plan.euros
    gaps = np.diff(days)
    gaps = np.r_[min(gaps[0], _WINDOW) if len(gaps) else _WINDOW, gaps]
    # a month is one test of the plan, however long the month is
    tests = np.where(gaps <= 31, np.minimum(gaps / _WINDOW, 1.0), gaps / _MONTH)
    broken = float(model.p_break(case.payer, plan.load(case.day) / case.payer.means))
    kept = np.cumprod((1.0 - broken) ** tests)
    before = np.r_[1.0, kept[:-1]]
    left = euros.sum() - np.r_[0.0, np.cumsum(euros)[:-1]]
    interest = (1.0 + terms.limits.interest) ** (days / _YEAR)
    cash = kept * euros * interest * terms.worth(days)
    rest = (before - kept) * case.otherwise * left * terms.worth(days + terms.limits.grace_days)
    return float((cash + rest).sum()), float(kept[-1])


def best_plan(case: PlanCase, model: PlanModel, terms: PlanTerms | None = None) -> Plans:
    """Search all plans of a grid: number x rhythm x start.

    Accounts with a usual day of payment pay monthly on it. Others may start in 1, 2, 3 or 4 weeks,
    and pay monthly or every 14 days.

    Parameters
    ----------
    case : PlanCase
    model : PlanModel
    terms : PlanTerms or None
        None takes the default ones.

    Returns
    -------
    Plans

    Examples
    --------
    >>> payer = Payer(means=120.0, known=True, payday=15)
    >>> case = PlanCase("A1", Decimal("240.00"), date(2027, 1, 4), payer)
    >>> print(best_plan(case, PlanModel()).best.plan)
    5 instalments, monthly on day 15: 48.00 EUR on 2027-01-15, then 4 x 48.00 until 2027-05-15
    """
    terms = PlanTerms() if terms is None else terms
    bound = terms.affordable(case.payer)
    plans = list(_grid(case, terms.limits))
    fitting = [plan for plan in plans if plan.load(case.day) <= bound + _ROUNDING]
    options = []
    for plan in fitting:
        burden, months = _weight(plan, case)
        options.append(
            _option(plan, case, model, terms, model.p_accept(case.payer, burden, months))
        )
    # equal values: the lighter one
    options.sort(key=lambda option: (-option.value, option.load, option.plan.start))
    return Plans(case, tuple(options), len(plans), _found(options, plans, bound))


def evaluate_plan(
    proposal: Plan, case: PlanCase, model: PlanModel, terms: PlanTerms | None = None
) -> Assessment:
    """Answer a customer's proposal: accept it, make another one, or have a human being decide.

    It is accepted where it holds the limits and brings more than no plan, or as much as the best
    counter-proposal. What the account can afford binds only where its payments show it: customers
    know their means better than a guess.

    Parameters
    ----------
    proposal : Plan
    case : PlanCase
    model : PlanModel
    terms : PlanTerms or None
        None takes the default ones.

    Returns
    -------
    Assessment
    """
    terms = PlanTerms() if terms is None else terms
    value, _ = value_in_force(proposal, case, model, terms)
    value *= min(1.0, float(case.amount / proposal.amount))  # more than is owed cannot be kept
    against = _against(proposal, case, terms)
    counter = _counter(proposal, case, model, terms)
    enough = case.no_plan + terms.margin
    if counter is not None:
        enough = min(enough, counter.value)

    def answer(verdict: Verdict, reason: str) -> Assessment:
        shown = counter if verdict is Verdict.COUNTER else None
        than = case.no_plan if counter is None else counter.in_force
        human = verdict is Verdict.REFUSE and (case.consumer or bool(case.holds))
        return Assessment(
            verdict, reason, human, value, case.no_plan, shown, value - than, terms.costs()
        )

    if case.holds:
        return answer(Verdict.REFUSE, f"{_ASK} On hold: {', '.join(case.holds)}.")
    if not against and value >= enough - _ROUNDING:
        return answer(Verdict.ACCEPT, _welcome(proposal, case, terms))
    if _hopeless(proposal, case, terms.limits):
        why = "; ".join(against)
        return answer(Verdict.REFUSE, f"{_ASK} The proposal is far from what is possible: {why}.")
    if counter is None:
        why = "; ".join(against) or "it is expected to bring less than no plan"
        return answer(Verdict.REFUSE, f"{_ASK} No other plan can be proposed, and {why}.")
    why = "; ".join(against) or "it is easier to keep or pays off sooner"
    return answer(
        Verdict.COUNTER, f"Thank you for the proposal. We suggest {counter.plan}, because {why}."
    )


_ASK = "A person should look at this together with the customer."


def _holds(one: Snapshot) -> tuple[str, ...]:
    rows = one.holds.filter(pc.is_null(one.holds["invoice"]))
    return tuple(sorted(set(rows["kind"].to_pylist()) & _HUMAN))


def _grid(case: PlanCase, limits: PlanLimits) -> Iterator[Plan]:
    """All plans within the creditor's limits."""
    last = month_on(case.day, limits.max_months, case.day.day)
    least = max(round(limits.min_instalment * 100), 1)
    most = max(int(case.amount * 100) // least, 1)
    for start in _starts(case, limits):
        payday = case.payer.payday
        rhythms = [Rhythm(day_of_month=start.day), Rhythm(days=_OFTEN)]
        if payday is not None and _is_payday(start, payday):
            rhythms = [Rhythm(day_of_month=payday)]
        for rhythm in rhythms:
            for number in range(1, most + 1):
                if number == 1 and rhythm.days is not None:
                    continue  # the same single payment
                if rhythm.dates(start, number)[-1] > last:
                    break
                plan = Plan.of(case.amount, number, start, rhythm)
                if not broken_limits(plan, case.day, limits):
                    yield plan


def _starts(case: PlanCase, limits: PlanLimits) -> list[date]:
    ahead = range(min(_LEAD, limits.max_start_days), limits.max_start_days + 1)
    days = [case.day + timedelta(days=d) for d in ahead]
    payday = case.payer.payday
    found = [] if payday is None else [day for day in days if _is_payday(day, payday)]
    weekly = [case.day + timedelta(days=d) for d in _STARTS if d <= limits.max_start_days]
    return found or weekly or days[-1:]


def _is_payday(day: date, payday: int) -> bool:
    return day == month_on(day, 0, payday)


def _weight(plan: Plan, case: PlanCase) -> tuple[float, float]:
    """Burden of a plan, and its length in months."""
    return plan.load(case.day) / case.payer.means, (plan.end - case.day).days / _MONTH


def _option(
    plan: Plan, case: PlanCase, model: PlanModel, terms: PlanTerms, accept: float | np.ndarray
) -> PlanOption:
    p, load = float(accept), plan.load(case.day)
    in_force, keep = value_in_force(plan, case, model, terms)
    gain = p * (in_force - case.no_plan)
    known = "usually pays" if case.payer.known else "is assumed to pay"
    reasons = [
        f"asks for {load:.2f} EUR a month of {case.payer.means:.2f} EUR that the account {known}",
        f"is accepted with {p:.0%} and kept to the end with {keep:.0%}",
        f"brings {in_force:.2f} EUR in force, {case.no_plan:.2f} EUR come without a plan",
    ]
    if case.payer.payday is not None and _is_payday(plan.start, case.payer.payday):
        reasons.append(f"starts on the account's usual day of payment ({case.payer.payday}.)")
    return PlanOption(plan, p, keep, in_force, case.no_plan + gain, gain, load, tuple(reasons))


def _found(options: list[PlanOption], plans: list[Plan], bound: float) -> str:
    if not plans:
        return "No plan holds the creditor's limits."
    if not options:
        return f"No plan within the limits asks for {bound:.2f} EUR a month or less."
    if options[0].gain <= 0.0:
        return "No plan brings more than would come without one."
    return f"Best of {len(options)} affordable plans: {options[0].plan}."


def _against(proposal: Plan, case: PlanCase, terms: PlanTerms) -> list[str]:
    """Say what speaks against a proposal, whatever it is worth."""
    found = list(broken_limits(proposal, case.day, terms.limits))
    if proposal.amount != case.amount:
        found.insert(0, f"it adds up to {proposal.amount} EUR, and {case.amount} EUR are open")
    bound = terms.affordable(case.payer)
    if case.payer.known and proposal.load(case.day) > bound + _ROUNDING:
        found.append(f"more than {bound:.2f} EUR a month may become too much beside current bills")
    return found


def _counter(
    proposal: Plan, case: PlanCase, model: PlanModel, terms: PlanTerms
) -> PlanOption | None:
    """Find the plan of most value to propose to who asked for this one."""
    asked = _weight(proposal, case)
    options = [
        _option(o.plan, case, model, terms, model.p_agree(*_weight(o.plan, case), asked))
        for o in best_plan(case, model, terms).options
        if o.in_force >= case.no_plan
    ]
    return max(options, key=lambda option: (option.value, -option.load), default=None)


def _hopeless(proposal: Plan, case: PlanCase, limits: PlanLimits) -> bool:
    late = proposal.end > month_on(case.day, _FAR * limits.max_months, case.day.day)
    return late or proposal.amount * _FAR < case.amount


def _welcome(proposal: Plan, case: PlanCase, terms: PlanTerms) -> str:
    text = f"Accepted: {proposal}."
    if proposal.load(case.day) <= terms.affordable(case.payer) / 2.0:
        text += " Small steps are welcome; more can be paid at any time."
    return text


def evaluate_for(
    snapshot: Snapshot, account_id: str, proposal: Plan, catalogue: Catalogue, payment: Any
) -> Assessment:
    """Answer for an account of a snapshot; see `NextBestAction.evaluate_plan`."""
    terms = PlanTerms(catalogue.plans, catalogue.discount_rate)
    rows = np.flatnonzero(pc.equal(snapshot.rows["account_id"], account_id).to_numpy())
    model = PlanModel(grace_days=catalogue.plans.grace_days)
    if len(rows) == 1:  # PlanCase says what is wrong with other numbers
        model.fit(snapshot.ledger, snapshot.as_of[rows[0]])
    case = PlanCase.of(snapshot, account_id, model)
    forecast = payment.predict(snapshot.take(rows), horizons=(f"{_HORIZON}D",), level="account")
    chance = forecast.p_paid[0, 0]
    share = float(np.clip(chance, 0.0, 1.0) * terms.worth(_HORIZON / 2.0))
    return evaluate_plan(proposal, replace(case, otherwise=share), model, terms)
