"""What exploration shows, how soon and for how much: for logs that teach nothing of effects.

A share of the decisions is drawn, as :mod:`collectopt.policy.exploration` does it: waiting or one
of the channels, each by its weight. Counted are those draws alone, each channel against waiting;
what the policy decides otherwise adds something, so the design is on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq

from collectopt.exceptions import InputError
from collectopt.models.labels import durations
from collectopt.models.priors import prior_effects
from collectopt.policy.exploration import plan
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
_USUAL = 0.05  # share to explore where the catalogue has none


class Draw(Enum):
    """What is drawn at random."""

    DECISION = "decision"
    ACCOUNT = "account"


@dataclass(frozen=True, eq=False)
class ExplorationDesign:
    """Power of an exploration, by channel.

    Attributes
    ----------
    channels : tuple of str, length C
    share : (C,) float64
        Share of all decisions that explore into the channel.
    wait : float
        Share of all decisions that explore by waiting.
    decisions : float
        Decisions a run.
    runs : float
        Runs a week.
    base_rate : float
        P(everything past due is paid within the horizon) of those who wait.
    weeks : float
        Time that ``detectable`` is for.
    detectable : (C,) float64
        Least effect on that probability that is found with the power asked for; nan where the
        weeks are too few for any.
    expected : (C,) float64
        What published trials let expect (:mod:`collectopt.models.priors`).
    needed : (C,) float64
        Weeks until an effect of that size is found with this power; inf = never.
    cost : (C,) float64
        EUR a week for the contacts of the exploration.
    explore, power, alpha : float
        Share that explores; chance to find an effect; chance to find one that is not there.
    inflation : float
        Variance over that of independent rows.
    """

    channels: tuple[str, ...]
    share: Float
    wait: float
    decisions: float
    runs: float
    base_rate: float
    weeks: float
    detectable: Float
    expected: Float
    needed: Float
    cost: Float
    explore: float
    power: float
    alpha: float
    inflation: float

    @property
    def total_cost(self) -> float:
        """EUR for the contacts of all channels over the weeks."""
        return float(self.cost.sum() * self.weeks)

    def to_pandas(self) -> pd.DataFrame:
        """One row a channel: draws a week, detectable and expected effect, weeks needed, EUR."""
        return pd.DataFrame(
            {
                "channel": self.channels,
                "share": self.share,
                "draws_a_week": self.share * self.decisions * self.runs,
                "detectable": self.detectable,
                "expected": self.expected,
                "weeks_needed": self.needed,
                "eur_a_week": self.cost,
            }
        )

    def __str__(self) -> str:
        lines = [
            f"Exploring {self.explore:.0%} of {self.decisions:.0f} decisions a run,",
            f"{self.base_rate:.0%} pay without a contact, {self.wait:.2%} wait to compare:",
            f"after {self.weeks:g} weeks, power {self.power:.0%}, EUR {self.total_cost:.0f}:",
        ]
        draws = self.share * self.decisions * self.runs
        for k, name in enumerate(self.channels):
            weeks = self.needed[k]
            when = f"take {weeks:.0f} weeks" if np.isfinite(weeks) else "are never found"
            lines.append(
                f"  {name:<10} {draws[k]:7.1f} a week; finds {100 * self.detectable[k]:.2f} points;"
                f" {100 * self.expected[k]:.1f} points, as published, {when}; "
                f"EUR {self.cost[k]:.2f} a week"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self.to_pandas().to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"<p>{' '.join(str(self).splitlines()[:3])}</p>{table}"


def exploration_design(
    catalogue: Catalogue,
    decisions: float,
    base_rate: float,
    *,
    explore: float | None = None,
    weeks: float = 26.0,
    power: float = 0.8,
    alpha: float = 0.05,
    draw: Draw = Draw.DECISION,
    repeats: float = 1.0,
    alike: float = 0.0,
) -> ExplorationDesign:
    """Tell which effects an exploration finds, how soon and for how much.

    Parameters
    ----------
    catalogue : Catalogue
        Channels with costs and capacities, and the rhythm of the runs.
    decisions : float
        Accounts a run that may be contacted.
    base_rate : float
        P(everything past due is paid within the horizon) without a contact, in (0, 1).
    explore : float, optional
        Share of the decisions that explore, in (0, 1]. Default: the catalogue's, .05 if that is 0.
    weeks : float
        Time after which the least detectable effect is told.
    power, alpha : float
        Chance to find an effect, and to find one that is not there (two-sided).
    draw : Draw
        DECISION, as the library explores: every run draws anew. Accounts that come again are then
        no loss, as each is compared with itself as often as with others. ACCOUNT: who is drawn
        stays so; rows of an account then count less.
    repeats : float
        Explored decisions an account over the weeks, on average; for ACCOUNT.
    alike : float
        Correlation of the outcomes of an account, 0..1; for ACCOUNT.

    Returns
    -------
    ExplorationDesign

    Raises
    ------
    InputError

    Notes
    -----
    Two-sided test of two shares, each channel for itself, with their own variances, times the
    design effect 1 + (repeats - 1) alike where accounts are drawn (Kish, 1965, Survey Sampling).
    Between channels and waiting, both drawn anew each time, the shared part of an account's
    outcomes cancels on average, so the effect is 1; effects that differ much between accounts make
    it a little more. Budget, minutes and capacities leave a channel open to so many accounts only
    as the reserve of the exploration has units for.

    Examples
    --------
    >>> catalogue = Catalogue.from_dict(
    ...     {"channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}]}
    ... )
    >>> design = exploration_design(catalogue, 2000, 0.4, explore=0.1)
    >>> bool(design.detectable[0] < design.detectable[1])
    True
    """
    epsilon = (catalogue.explore or _USUAL) if explore is None else explore
    _check(decisions, base_rate, epsilon, weeks, power, alpha, repeats, alike)
    cost = np.array([channel.cost for channel in catalogue.channels])
    share, wait = _shares(catalogue, decisions, epsilon, cost)
    runs = 7.0 / catalogue.cadence_days
    inflation = 1.0 + (repeats - 1.0) * alike if draw is Draw.ACCOUNT else 1.0
    expected = _expected(catalogue)
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0) + NormalDist().inv_cdf(power)
    rows = decisions * runs * weeks / inflation
    found = [_detectable(base_rate, z, rows * each, rows * wait) for each in share]
    unit = [
        _variance(base_rate, effect, each, wait)
        for effect, each in zip(expected, share, strict=True)
    ]
    with np.errstate(divide="ignore"):
        needed = z**2 * np.array(unit) * inflation / (decisions * runs) / expected**2
    return ExplorationDesign(
        catalogue.channel_names,
        share,
        wait,
        float(decisions),
        runs,
        base_rate,
        weeks,
        np.array(found),
        expected,
        needed,
        share * decisions * runs * cost,
        epsilon,
        power,
        alpha,
        inflation,
    )


def design_for(
    ledger: Ledger,
    as_of: AsOf,
    catalogue: Catalogue,
    *,
    explore: float | None = None,
    weeks: float = 26.0,
    power: float = 0.8,
    alpha: float = 0.05,
) -> ExplorationDesign:
    """Plan the exploration of a book: its accounts past due, and how many of them usually pay.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Nothing from then on is read. Accounts with something past due then are the decisions of a
        run; who paid all of it within the horizon, of those past due a day more than that before,
        is the base rate (under whatever was done then).
    catalogue, explore, weeks, power, alpha
        As in :func:`exploration_design`.

    Raises
    ------
    InputError
        Nothing was past due, or all or none of it was paid.
    """
    cut = to_instant(as_of, catalogue.timezone)
    days = catalogue.horizon_days
    then = _past_due(Snapshot(ledger, cut - np.timedelta64(days + 1, "D")))
    paid = durations(then, "full", "account", cut)
    known = paid.event | (paid.days >= days)
    rate = float((paid.event & (paid.days <= days))[known].mean()) if known.any() else 0.0
    return exploration_design(
        catalogue,
        len(_past_due(Snapshot(ledger, cut))),
        rate,
        explore=explore,
        weeks=weeks,
        power=power,
        alpha=alpha,
    )


def _past_due(snapshot: Snapshot) -> Snapshot:
    late = snapshot.claims["past_due"].to_numpy(zero_copy_only=False)
    return snapshot.take(np.unique(snapshot.claims["row"].to_numpy()[late]))


def _shares(
    catalogue: Catalogue, decisions: float, epsilon: float, cost: Float
) -> tuple[Float, float]:
    """Shares of all decisions that are drawn into each channel, and into waiting.

    All accounts may have all channels; budget, minutes and capacities open them to some only, as
    the library's own plan for one run says.
    """
    n, C, limits = max(round(decisions), 1), len(cost), catalogue.limits
    columns = [(cost, limits.budget), (_minutes(catalogue), limits.minutes)]
    columns += [(np.eye(C)[c], channel.capacity) for c, channel in enumerate(catalogue.channels)]
    finite = [(units, float(limit)) for units, limit in columns if limit is not None]
    one = plan(
        np.ones((n, C), dtype=np.int64),
        np.ones(n, dtype=bool),
        np.column_stack([np.arange(n) / n, np.zeros(n)]),
        epsilon,
        usage=np.array([units for units, _ in finite]).reshape(-1, C).T,
        limits=np.array([limit for _, limit in finite]),
        cost=cost,
    )
    stay = one.wait[one.open.sum(axis=1)]
    total = stay + one.open @ one.weight
    share = (one.open * one.weight / total[:, None]).mean(axis=0)
    return epsilon * share, epsilon * float((stay / total).mean())


def _minutes(catalogue: Catalogue) -> Float:
    return np.array([channel.minutes for channel in catalogue.channels], dtype=np.float64)


def _expected(catalogue: Catalogue) -> Float:
    actions = catalogue.actions
    effects = prior_effects(actions)
    by_channel = [
        effects[actions.channel == code].max(initial=0.0) for code in range(len(catalogue.channels))
    ]
    return np.array(by_channel, dtype=np.float64)


def _variance(base: float, effect: float, contacts: float, waits: float) -> float:
    """Variance of the difference of two shares for so many rows of each."""
    other = float(np.clip(base + effect, 0.0, 1.0))
    if contacts <= 0.0 or waits <= 0.0:
        return float("inf")
    return base * (1.0 - base) / waits + other * (1.0 - other) / contacts


def _detectable(base: float, z: float, contacts: float, waits: float) -> float:
    """Least effect whose z reaches what the test and the power ask for."""
    if contacts <= 0.0 or waits <= 0.0:
        return float("nan")

    def short(effect: float) -> float:
        return float(effect - z * np.sqrt(_variance(base, effect, contacts, waits)))

    top = 1.0 - base
    return float(brentq(short, 0.0, top)) if short(top) > 0.0 else float("nan")


def _check(  # noqa: PLR0917
    decisions: float,
    base_rate: float,
    epsilon: float,
    weeks: float,
    power: float,
    alpha: float,
    repeats: float,
    alike: float,
) -> None:
    for name, value, good, expected in (
        ("decisions", decisions, decisions > 0, "more than 0"),
        ("base_rate", base_rate, 0 < base_rate < 1, "between 0 and 1"),
        ("explore", epsilon, 0 < epsilon <= 1, "in (0, 1]"),
        ("weeks", weeks, weeks > 0, "more than 0"),
        ("power", power, alpha < power < 1, "between alpha and 1"),
        ("alpha", alpha, 0 < alpha < 1, "between 0 and 1"),
        ("repeats", repeats, repeats >= 1, "at least 1"),
        ("alike", alike, 0 <= alike <= 1, "from 0 to 1"),
    ):
        if not good:
            raise InputError.of("exploration_design", name, expected=expected, found=str(value))
