"""Cash that the open book brings in, week by week, with an interval.

Two things make a week differ from its expectation. Claims are few and of very different size:
that is drawn claim by claim. And weeks, months and whole quarters have moods that all claims share:
how large those are is learnt from what earlier forecasts missed beyond the chance of claims. What
they missed again and again at the same lead time is mended, if that has helped on later cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from scipy import stats

from collectopt._figure import MODEL, TRUTH, Plot, panels, title
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.openbook import OpenBook, cash_by_week
from collectopt.models.options import HazardOptions
from collectopt.models.payment import PaymentModel
from collectopt.models.recalibration import Payment, earlier_cuts
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]

_LEAST = 0.05
_WINS = 2


# -- the result --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class CashFlow:
    """Expected cash from the claims that were open as of a time.

    Attributes
    ----------
    as_of : numpy.datetime64
        UTC.
    table : pandas.DataFrame
        One row a week: week (1, 2, ...), from and to (local days, both included; a week begins at
        as_of's time of day), expected, lower, upper, cumulative_expected, cumulative_lower,
        cumulative_upper (amounts in `currency`).
    claims : pyarrow.Table
        account_id, invoice_id, open, expected (within all weeks) of each claim counted.
    open_total : float
        Open amount of those claims.
    on_hold : float
        Open amount of claims on hold: no cash is expected from them.
    currency : str
    level : float
        Nominal coverage of the intervals.
    """

    as_of: np.datetime64
    table: pd.DataFrame
    claims: pa.Table
    open_total: float
    on_hold: float
    currency: str
    level: float

    def _head(self) -> str:
        total, weeks = self.table["expected"].sum(), len(self.table)
        share = f" ({total / self.open_total:.0%})" if self.open_total else ""
        held = f", {self.on_hold:,.0f} more on hold" if self.on_hold else ""
        return (
            f"CashFlow as of {self.as_of.astype('M8[m]')} UTC: {total:,.0f}{share} of "
            f"{self.open_total:,.0f} {self.currency} open within {weeks} weeks{held}; "
            f"{self.level:.0%} intervals"
        )

    def __repr__(self) -> str:
        return f"{self._head()}\n{self.table.to_string(index=False, float_format='{:,.0f}'.format)}"

    def _repr_html_(self) -> str:
        table = self.table.to_html(index=False, float_format="{:,.0f}".format)
        return f"<p>{escape(self._head())}</p>{table}"

    def plot(self, came: npt.ArrayLike | None = None) -> Plot:
        """Draw weeks and running total with their bands.

        Parameters
        ----------
        came : array_like, shape (weeks,), optional
            Cash that came in each week; NaN where the week is not over.
        """
        figure, axes = panels(2, width=4.6, height=2.9)
        seen = None if came is None else np.asarray(came, dtype=np.float64)
        for ax, prefix, name in zip(
            axes, ("", "cumulative_"), ("each week", "running total"), strict=True
        ):
            running = seen if seen is None or not prefix else np.cumsum(seen)
            _band(ax, self.table, prefix, running, self.level)
            title(ax, name)
        axes[0].set_ylabel(self.currency)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8
        )
        return figure


def _band(ax: Axes, table: pd.DataFrame, prefix: str, seen: Float | None, level: float) -> None:
    x = table["week"].to_numpy()
    low, middle, high = (table[f"{prefix}{n}"] for n in ("lower", "expected", "upper"))
    ax.fill_between(
        x, low, high, color=MODEL, alpha=0.16, linewidth=0, label=f"{level:.0%} interval"
    )
    ax.plot(x, middle, color=MODEL, linewidth=1.8, label="expected")
    if seen is not None:
        ax.plot(x, seen, "o", color=TRUTH, markersize=4.5, label="came")
    top = max(float(high.max()), 0.0 if seen is None else float(np.nanmax(seen, initial=0.0)))
    ax.set_ylim(min(0.0, 0.0 if seen is None else float(np.nanmin(seen))), 1.08 * (top or 1.0))
    step = max(1, len(x) // 6)
    ax.set_xticks(x[::step], [f"{day:%d %b}" for day in table["from"]][::step])
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_xlabel("week from")


# -- forecasts ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Shocks:
    """How far weeks usually miss their expectation beyond the chance of single claims.

    Attributes
    ----------
    parts : (cuts, weeks) float64
        What each earlier cut missed, as log of a factor: a level for the cut, and the deviation
        of each week from it. Both are reduced by what the chance of claims explains.
    factors : (weeks,) float64
        What is to be multiplied to the expectation of each week: see :func:`lead_factors`.
    """

    parts: Float
    factors: Float

    @classmethod
    def learn(cls, expected: Float, seen: Float, noise: Float) -> Shocks:
        """Learn from earlier forecasts of whole quarters.

        Parameters
        ----------
        expected, seen : (cuts, weeks) float64
            Expected with the factors that will be used; those of the result are 1.
        noise : (cuts, weeks, weeks) float64
            Covariance of the weeks that the chance of single claims gives.
        """
        weeks = expected.shape[1]
        total, came = expected.sum(axis=1), seen.sum(axis=1)
        ratio = came / total
        level = np.log(np.maximum(ratio, _LEAST))
        chance = noise.sum(axis=(1, 2)) / total**2
        spread = max(float((level**2 - chance).mean()), 0.0)
        level *= np.sqrt(spread / np.maximum(spread + chance, 1e-300))

        # Deviation of each week from the level of its cut, and its variance by chance.
        share = expected / total[:, None]
        own = np.diagonal(noise, axis1=1, axis2=2)
        cross, whole = noise.sum(axis=2), noise.sum(axis=(1, 2))[:, None]
        chance = np.maximum(own - 2.0 * share * cross + share**2 * whole, 0.0)
        missed = seen - ratio[:, None] * expected
        weight = np.where(expected > 0.0, expected, np.inf)
        found = ((missed**2 - chance) / weight).sum() / expected.sum()
        # The total is given, which takes one of the weeks' degrees of freedom.
        spread = max(float(found) * weeks / max(weeks - 1, 1), 0.0)
        usual = np.sqrt(spread / np.maximum(spread + chance / weight**2, 1e-300))
        return cls(level[:, None] + missed / weight * usual, np.ones(weeks))

    def draw(self, draws: int, level: float, rng: np.random.Generator) -> Float:
        """Factors on the weeks, (draws, weeks), of mean 1.

        Whole cuts are mixed with normal multipliers, so weeks keep going together as they did
        (a multiplier bootstrap). Few cuts say little: the spread is widened by the ratio of the
        quantiles of Student's t, with as many degrees of freedom as cuts, and the normal law.
        """
        cuts = len(self.parts)
        tail = (1.0 + level) / 2.0
        wider = stats.t.ppf(tail, cuts) / stats.norm.ppf(tail)
        parts = wider * self.parts / np.sqrt(cuts)
        return np.asarray(
            np.exp(rng.normal(size=(draws, cuts)) @ parts - (parts**2).sum(axis=0) / 2.0)
        )


def lead_factors(expected: Float, seen: Float) -> Float:
    """Give what came over what was expected, by lead time, where earlier cuts agree on it.

    Each week's factor is held at 1 as far as the cuts differ among themselves (James and Stein's
    rule, by week). The factors are tried on every cut from the third on, learnt from the cuts
    before it. They are taken if the absolute error falls on at least two of these cuts, on most
    of them, and on the mean; otherwise all are 1.

    Parameters
    ----------
    expected, seen : (cuts, weeks) float64
        In order of time.

    Returns
    -------
    (weeks,) float64

    Examples
    --------
    >>> expected = np.full((6, 2), 100.0)
    >>> lead_factors(expected, np.tile([50.0, 100.0], (6, 1)))
    array([0.5, 1. ])
    >>> lead_factors(expected[:2], np.tile([50.0, 100.0], (2, 1)))  # nothing to try them on
    array([1., 1.])
    """
    gains = []
    for j in range(2, len(expected)):
        factors = _usual_ratio(expected[:j], seen[:j])
        before = np.abs(seen[j] - expected[j]).sum()
        gains.append((before - np.abs(seen[j] - factors * expected[j]).sum()) / expected[j].sum())
    wins = int((np.array(gains) > 0.0).sum())
    if wins >= _WINS and 2 * wins > len(gains) and np.mean(gains) > 0.0:
        return _usual_ratio(expected, seen)
    return np.ones(expected.shape[1])


def _usual_ratio(expected: Float, seen: Float) -> Float:
    """Ratio of sums by week, held at 1 as far as its error goes."""
    cuts = len(expected)
    total = np.maximum(expected.sum(axis=0), 1e-300)
    ratio = seen.sum(axis=0) / total
    error = ((seen - ratio * expected) ** 2).sum(axis=0) * cuts / (cuts - 1) / total**2
    away = ratio - 1.0
    kept = np.maximum(1.0 - error / np.maximum(away**2, 1e-300), 0.0)
    return np.maximum(1.0 + kept * away, _LEAST)


def cash_flow(
    payment: Payment,
    snapshot: Snapshot,
    *,
    weeks: int = 13,
    level: float = 0.8,
    draws: int = 2000,
    rng: int | np.random.Generator = 0,
    shocks: Shocks | None = None,
) -> CashFlow:
    """Forecast the cash of the open book by week from a fitted payment model.

    Parameters
    ----------
    payment : PaymentModel or like it
        Fitted at level "invoice".
    snapshot : Snapshot
        Accounts (all their open claims) or claims, all as of one time.
    weeks : int
    level : float
        Nominal coverage of the intervals, in (0, 1).
    draws : int
        Simulated futures behind the intervals.
    rng : int or numpy.random.Generator
    shocks : Shocks, optional
        Moods that all claims share, and factors by lead time. Without them the intervals hold
        the chance of single claims only and are too short for most books:
        :class:`CashFlowModel` learns them.

    Returns
    -------
    CashFlow

    Raises
    ------
    InputError
        Several times or currencies, a claim named twice, or no weeks.

    Notes
    -----
    A claim is drawn as paid in whole in one week, with the expected share of that week as its
    chance. Payments in parts vary less, so the interval errs on the wide side. A simulated total
    never exceeds what is open.
    """
    if weeks < 1 or not 0.0 < level < 1.0:
        raise InputError.of(
            "cash_flow",
            "weeks",
            expected="weeks >= 1 and level in (0, 1)",
            found=f"{weeks} and {level}",
        )
    generator = np.random.default_rng(rng)
    book = OpenBook.of(payment, snapshot, weeks)
    if shocks is not None:
        book = book.scaled(shocks.factors)
    drawn = book.simulate(draws, generator)
    if shocks is not None:
        drawn = drawn * shocks.draw(draws, level, generator)
    running = np.minimum(np.cumsum(drawn, axis=1), book.amount.sum())
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    expected = book.expected()
    low, high = np.quantile(drawn, tails, axis=0)
    below, above = np.quantile(running, tails, axis=0)
    first = book.day + 7 * np.arange(weeks)
    table = pd.DataFrame(
        {
            "week": np.arange(1, weeks + 1),
            "from": pd.to_datetime(first.astype("datetime64[s]")),
            "to": pd.to_datetime((first + 6).astype("datetime64[s]")),
            "expected": expected,
            "lower": low,
            "upper": high,
            "cumulative_expected": np.cumsum(expected),
            "cumulative_lower": below,
            "cumulative_upper": above,
        }
    )
    claims = book.rows.rows.select(["account_id", "invoice_id"])
    claims = claims.append_column("open", pa.array(book.amount))
    claims = claims.append_column("expected", pa.array(book.amount * book.chance.sum(axis=1)))
    total = float(book.amount.sum())
    return CashFlow(book.as_of, table, claims, total, book.on_hold, book.currency, level)


class CashFlowModel:
    """Cash flow of the open book whose intervals know how far earlier forecasts were off.

    ``fit`` fits the payment model at `as_of` and at earlier cuts, forecasts the book that was open
    then, and compares with what came: what is missed beyond the chance of single claims is the
    mood of the calendar. Nothing known at or after `as_of` is looked at.

    Parameters
    ----------
    maker : callable, optional
        Makes a new, unfitted payment model; default ``PaymentModel(levels=("invoice",))``.
    weeks : int
    cuts : int
        How many earlier cuts; each costs a fit. Those before the book began do not count.
    every : str
        Days between cuts. Below 7 x weeks they share weeks and count for less than they seem.
    level : float
        Nominal coverage of the intervals.
    draws : int
        As in :func:`cash_flow`.

    Attributes
    ----------
    payment : Payment
        The fitted payment model.
    shocks : Shocks
    past : pandas.DataFrame
        cut, week, expected (before the factors by lead time), seen: the earlier forecasts.

    Examples
    --------
    >>> CashFlowModel(weeks=4, every="28D")
    CashFlowModel(weeks=4, cuts=6, every='28D', level=0.8)
    """

    payment: Payment
    shocks: Shocks
    past: pd.DataFrame

    def __init__(
        self,
        maker: Callable[[], Payment] | None = None,
        *,
        weeks: int = 13,
        cuts: int = 6,
        every: str = "91D",
        level: float = 0.8,
        draws: int = 2000,
    ) -> None:
        self._maker = maker or _default
        self.weeks = weeks
        self.cuts = cuts
        self.every = every
        self.level = level
        self.draws = draws

    def __repr__(self) -> str:
        return (
            f"CashFlowModel(weeks={self.weeks}, cuts={self.cuts}, every={self.every!r}, "
            f"level={self.level})"
        )

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from everything known before `as_of`.

        Raises
        ------
        InputError
            Fewer than two earlier cuts with an open book.
        """
        moment = to_instant(as_of, ledger.timezone)
        payment = self._maker()
        payment.fit(ledger, moment)
        gap = 7 * self.weeks + 1  # a day of slack where clocks were changed
        cuts = earlier_cuts(moment, ledger.timezone, n=self.cuts, every=self.every, gap=gap)
        books, seen = [], []
        for cut in cuts:
            book = self._earlier(ledger, cut)
            if book is not None and book.expected().sum() > 0.0:
                books.append(book)
                seen.append(cash_by_week(book.rows, self.weeks, moment).sum(axis=0))
        if len(books) < 2:
            raise InputError.of(
                "invoices",
                "issued_on",
                expected=f"open claims at two or more of {[str(c.astype('M8[D]')) for c in cuts]}",
                found=f"at {len(books)}",
                hint="Use fewer weeks or a shorter `every`, or cash_flow(...) without shocks.",
            )
        self.payment = payment
        self.shocks = _learn(books, np.array(seen))
        self.past = pd.DataFrame(
            {
                "cut": np.repeat(np.array([book.as_of for book in books]), self.weeks),
                "week": np.tile(np.arange(1, self.weeks + 1), len(books)),
                "expected": np.concatenate([book.expected() for book in books]),
                "seen": np.concatenate(seen),
            }
        )
        return self

    def predict(self, snapshot: Snapshot, *, rng: int | np.random.Generator = 0) -> CashFlow:
        """Forecast; see :func:`cash_flow`."""
        if not hasattr(self, "payment"):
            raise NotFittedError.of(self, "predict")
        return cash_flow(
            self.payment,
            snapshot,
            weeks=self.weeks,
            level=self.level,
            draws=self.draws,
            rng=rng,
            shocks=self.shocks,
        )

    def _earlier(self, ledger: Ledger, cut: np.datetime64) -> OpenBook | None:
        """Forecast the book as of an earlier cut, or give None before it began."""
        snapshot = Snapshot(ledger, cut)
        if not len(snapshot):
            return None
        payment = self._maker()
        try:
            payment.fit(ledger, cut)
        except InputError:  # no claims to learn from yet; a wrong model fails at as_of too
            return None
        return OpenBook.of(payment, snapshot, self.weeks)


def _learn(books: list[OpenBook], seen: Float) -> Shocks:
    """Learn factors by lead time, then moods from what is still missed."""
    factors = lead_factors(np.array([book.expected() for book in books]), seen)
    mended = [book.scaled(factors) for book in books]
    expected = np.array([book.expected() for book in mended])
    noise = np.array([book.covariance() for book in mended])
    return replace(Shocks.learn(expected, seen, noise), factors=factors)


def _default() -> Payment:
    # An open book is never asked on a day of issue.
    return PaymentModel(levels=("invoice",), options=HazardOptions(at_issue=False))
