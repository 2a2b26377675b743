"""Plans of instalments: whether they are accepted, whether they are kept, what is affordable.

A plan in force is asked for once a month; each time it is kept or broken. The chance to break is
logistic in the logarithm of the burden: what the plan asks for in a month, against what the account
usually pays in a month. Few books have many plans, so everything is shrunk in steps: the book to
assumed values (normal priors), the account to the book (as far as accounts are alike). Burden and
length of offers that were not accepted stand in no ledger: how acceptance depends on them is
assumed, only its level is learnt.

What an account pays its creditor is all that is known of its means, and a lower bound of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.plan_history import MONTH, Trials, offers, payments, trials
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# Assumed throughout; no source gives them for claims of this kind.
_BURDEN, _MONTHS = 0.5, 6.0  # the plan that the levels below speak of
_BREAK, _BREAK_SLOPE = 0.05, 0.5  # a month; of its log odds in the log of the burden
_BREAK_SD = np.array([0.8, 0.4])  # how far books may be from that
_ACCEPT, _ACCEPT_OFFERS = 0.10, 20.0  # of an offer in a contact, read or not; counts for so many
_ACCEPT_SLOPE = (-0.5, -0.06)  # of its log odds in the log of the burden, and a month of length
_LIGHT = 0.1  # added to burdens: who is asked for next to nothing does not care how little
_TALK = 0.7  # a customer who asked for a plan accepts another one that is as heavy and long
_PRIOR_EVENTS = (0.5, 500.0)  # least and most events that a prior around 1 counts for
_MEANS = 100.0  # EUR a month, where no account of the book shows what it pays
_LEAST_MONTHS, _LEAST_DAYS, _CLEAR = 3, 4, 0.5  # months and days of payment to go by; strength


@dataclass(frozen=True)
class Payer:
    """What is known of an account's means and habits.

    Attributes
    ----------
    means : float
        EUR that it usually pays in a month: the median of the months of the last year in which it
        paid; the lower quartile of the book where ``known`` is False.
    known : bool
        There were at least 3 such months.
    payday : int or None
        Usual day of the month of its payments; None = no clear one.
    strength : float
        Mean resultant length of these days, 0 (any day) to 1 (always the same).
    accepts, breaks : float
        How much more often than the book it accepts offers and breaks plans.
    plans : int
        Its own plans behind ``breaks``.
    """

    means: float = _MEANS
    known: bool = False
    payday: int | None = None
    strength: float = 0.0
    accepts: float = 1.0
    breaks: float = 1.0
    plans: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.means < np.inf:
            raise InputError.of(
                "Payer", "means", expected="EUR a month above 0", found=repr(self.means)
            )
        if self.payday is not None and not 1 <= self.payday <= 31:
            raise InputError.of(
                "Payer", "payday", expected="a day of the month", found=repr(self.payday)
            )


class PlanModel:
    """Chances that plans are accepted and kept, and what accounts can afford.

    Parameters
    ----------
    offers : tuple of str
        Offers of contacts that are plans.
    grace_days : int
        An instalment may be so late before it counts as missed.

    Attributes
    ----------
    level, slope : float
        Log odds to break in a month at a burden of 0.5, and their slope in the log of the burden.
    stderr : (2,) float64
        Of both.
    accept : float
        Chance that an offer in a contact is accepted at a burden of 0.5 and 6 months.
    months, broken, offered : int
        Months of plans, plans broken and offers that this was learnt from.

    Examples
    --------
    >>> from collectopt.simulation import Book
    >>> book = Book("utility", accounts=200, seed=1, weeks=30)
    >>> model = PlanModel().fit(book.ledger(), book.as_of)
    >>> float(model.p_break(Payer(means=80.0), 0.5)) < float(model.p_break(Payer(means=80.0), 2.0))
    True
    """

    def __init__(self, offers: tuple[str, ...] = ("instalments",), grace_days: int = 7) -> None:
        self.offers = offers
        self.grace_days = grace_days
        self.level, self.slope = float(logit(_BREAK)), _BREAK_SLOPE
        self.stderr = _BREAK_SD.copy()
        self.accept = _ACCEPT
        self.months = self.broken = self.offered = 0
        self._payers: dict[str, Payer] | None = None
        self._usual = _MEANS

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``.

        The end of a hold is not read: it may have been written when the plan was over.

        Raises
        ------
        InputError
        """
        cut = to_instant(as_of, ledger.timezone)
        n = len(ledger.accounts)
        paid = payments(ledger, cut)
        means = _means(paid, n, cut)
        known = np.isfinite(means)
        self._usual = float(np.quantile(means[known], 0.25)) if known.any() else _MEANS
        means = np.where(known, means, self._usual)
        payday, strength = _paydays(paid, n)
        found = trials(ledger, cut, self.grace_days)
        breaks = self._learn_breaks(found, means, n)
        accepts = self._learn_accepts(*offers(ledger, cut, self.offers), n)
        plans = np.bincount(found.account[found.first], minlength=n)
        self._payers = {
            str(name): Payer(
                means=float(means[i]),
                known=bool(known[i]),
                payday=None if np.isnan(payday[i]) else int(payday[i]),
                strength=float(strength[i]),
                accepts=float(accepts[i]),
                breaks=float(breaks[i]),
                plans=int(plans[i]),
            )
            for i, name in enumerate(ledger.account_ids)
        }
        return self

    def payer(self, account_id: str) -> Payer:
        """Give what is known of an account; of a new one, what is usual in the book.

        Raises
        ------
        NotFittedError
        """
        if self._payers is None:
            raise NotFittedError.of(self, "payer")
        return self._payers.get(account_id, Payer(means=self._usual))

    def p_break(self, payer: Payer, burden: npt.ArrayLike) -> Float:
        """Chance to break a plan in a month; burdens above 0 of any shape."""
        p = expit(self.level + self.slope * np.log(np.asarray(burden, dtype=float) / _BURDEN))
        return np.asarray(np.clip(p * payer.breaks, 1e-4, 0.95))

    def p_accept(self, payer: Payer, burden: npt.ArrayLike, months: npt.ArrayLike) -> Float:
        """Chance that an offer in a contact is accepted; arguments broadcast."""
        p = expit(logit(self.accept) + _ease(burden, months) - _ease(_BURDEN, _MONTHS))
        return np.asarray(np.clip(p * payer.accepts, 1e-4, 0.95))

    def p_agree(
        self, burden: npt.ArrayLike, months: npt.ArrayLike, asked: tuple[float, float]
    ) -> Float:
        """Chance that who asked for a plan agrees to another; ``asked`` = its burden and months."""
        return np.asarray(expit(logit(_TALK) + _ease(burden, months) - _ease(*asked)))

    def _learn_breaks(self, found: Trials, means: Float, n: int) -> Float:
        """Fit level and slope; give the factor of each account, (n,)."""
        x = np.log(np.maximum(found.load / means[found.account], 1e-3) / _BURDEN)
        theta, covariance = _map(x, found.event)
        self.level, self.slope = (float(value) for value in theta)
        self.stderr = np.sqrt(np.diag(covariance))
        self.months, self.broken = len(x), int(found.event.sum())
        expected = expit(self.level + self.slope * x)
        return _factors(found.account, n, found.event, expected)

    def _learn_accepts(self, account: Int, accepted: Float, n: int) -> Float:
        self.offered = len(account)
        self.accept = float(
            (accepted.sum() + _ACCEPT * _ACCEPT_OFFERS) / (len(account) + _ACCEPT_OFFERS)
        )
        return _factors(account, n, accepted, np.full(len(account), self.accept))


def _factors(group: Int, groups: int, event: Float, expected: Float) -> Float:
    """Factor on an expected rate in each group, shrunk to 1 as far as groups are alike, (G,)."""
    seen = np.bincount(group, event, minlength=groups)
    wanted = np.bincount(group, expected, minlength=groups)
    # pairs of events of one group tell how much groups differ; a single one does not
    excess = float(((seen - wanted) ** 2).sum() - ((event - expected) ** 2).sum())
    size = float((wanted**2).sum() - (expected**2).sum())
    least, most = _PRIOR_EVENTS
    weight = np.clip(size / excess, least, most) if size > 0.0 and excess > 0.0 else most
    return np.asarray((seen + weight) / (wanted + weight), dtype=np.float64)


def _ease(burden: npt.ArrayLike, months: npt.ArrayLike) -> Float:
    slope, length = _ACCEPT_SLOPE
    value = slope * np.log(_LIGHT + np.asarray(burden, dtype=float))
    value = value + length * np.asarray(months, dtype=float)
    return np.asarray(value)


def _map(x: Float, y: Float) -> tuple[Float, Float]:
    """Logistic regression with normal priors, by Newton; mode and covariance of level and slope."""
    X = np.column_stack([np.ones(len(x)), x])
    middle = np.array([logit(_BREAK), _BREAK_SLOPE])
    precision = np.diag(_BREAK_SD**-2)
    theta = middle.copy()
    for _ in range(50):
        p = expit(X @ theta)
        H = X.T @ ((p * (1.0 - p))[:, None] * X) + precision
        step = np.linalg.solve(H, X.T @ (y - p) - precision @ (theta - middle))
        # far from the mode the curvature says little: no leaps
        theta = theta + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-10:
            break
    p = expit(X @ theta)
    H = X.T @ ((p * (1.0 - p))[:, None] * X) + precision
    return theta, np.linalg.inv(H)


def _means(paid: pd.DataFrame, n: int, cut: np.datetime64) -> Float:
    """Median of the months of the last year with payments, EUR (n,); nan where too few."""
    age = ((cut.astype("datetime64[D]") - paid["day"].to_numpy()) // np.timedelta64(1, "D")) / MONTH
    recent = paid.assign(month=np.floor(age).astype(np.int64))[age < 12.0]
    monthly = recent.groupby(["account", "month"])["cents"].sum()
    monthly = monthly[monthly > 0].groupby("account").agg(["median", "size"])
    enough = monthly[monthly["size"] >= _LEAST_MONTHS]
    means = np.full(n, np.nan)
    means[enough.index.to_numpy(dtype=np.int64)] = enough["median"].to_numpy() / 100.0
    return means


def usual_paydays(ledger: Ledger, as_of: np.datetime64) -> Float:
    """Usual day of the month of each account's payments known before ``as_of`` (UTC).

    Returns
    -------
    (accounts,) float64
        In the order of ``ledger.accounts``; nan = no clear one.
    """
    return _paydays(payments(ledger, as_of), len(ledger.accounts))[0]


def _paydays(paid: pd.DataFrame, n: int) -> tuple[Float, Float]:
    """Circular mean of the days of the month and its strength, (n,) each; nan where unclear.

    Clear is a strength of a half that days spread evenly would show in less than 5 % of accounts
    (Rayleigh: exp(-n R^2)). Mardia & Jupp (2000), Directional Statistics.
    """
    days = paid.loc[paid["cents"] > 0, ["account", "day"]].drop_duplicates()
    calendar = days["day"].dt
    angle = 2.0j * np.pi * (calendar.day - 1) / calendar.days_in_month
    account = days["account"].to_numpy(dtype=np.int64)
    turn = np.exp(angle.to_numpy())
    count = np.bincount(account, minlength=n).astype(np.float64)
    total = np.bincount(account, turn.real, n) + 1.0j * np.bincount(account, turn.imag, n)
    strength = np.abs(total) / np.maximum(count, 1.0)
    clear = (count >= _LEAST_DAYS) & (strength >= _CLEAR) & (count * strength**2 >= 3.0)
    day = np.round((np.angle(total) % (2.0 * np.pi)) / (2.0 * np.pi) * MONTH) % 31 + 1.0
    return np.where(clear, day, np.nan), strength
