"""How much the log's choices may have known beyond x before an effect could be nothing.

Where propensities are estimated, the effect of a contact holds only if x has all that the choice
looked at. The marginal sensitivity model lets it be otherwise: for somebody with the outcomes
(Y1, Y0) the odds of a contact may be up to Lambda times higher or lower than for all others of the
same x. Lambda = 1 says that nothing was hidden; 2, that a hunch doubled the odds or halved them.
For each Lambda the effects that the data cannot rule out are an interval.

For outcomes of 0 and 1 the sharp bounds are simple. Let mu = P(Y = 1 | x, contacted). Among those
who were not contacted P(Y1 = 1 | x) is at most ``min(Lambda mu, 1 - (1 - mu) / Lambda)`` and at
least ``max(mu / Lambda, 1 - Lambda (1 - mu))``; likewise the other way round. For other outcomes
from 0 to 1 the same bounds hold but are wider than they need be.

References
----------
Tan (2006), A distributional approach for causal inference using propensity scores. JASA 101.
Zhao, Small & Bhattacharya (2019), Sensitivity analysis for inverse probability weighting estimators
via the percentile bootstrap. JRSS B 81.
Dorn & Guo (2023), Sharp sensitivity analysis for inverse propensity weighting via quantile
balancing. JASA 118.
Dorn, Guo & Kallus (2021), Doubly-valid/doubly-sharp sensitivity analysis for causal inference with
unmeasured confounding. arXiv 2112.11449 (closed form for outcomes of 0 and 1).
Hsu & Small (2013), Calibrating sensitivity analyses to observed covariates. Biometrics 69.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.exceptions import InputError
from collectopt.models.boosting import check_matrix, check_vector
from collectopt.models.contrasts import Mains, folds
from collectopt.models.level import Level
from collectopt.models.propensity import contact_chance, strongest

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

GRID = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)
_WIDTH = 1.96
_FURTHEST = 100.0  # Lambda
_LEAST = 0.01  # chances are kept this far from 0 and 1
_FOLDS = 3


@dataclass(frozen=True)
class Sensitivity:
    """Bounds on the mean effect of a contact by Lambda.

    Attributes
    ----------
    lambdas : tuple of float, length g
    low, high : tuple of float, length g
        Bounds of the effect, in the unit of the outcome.
    low_stderr, high_stderr : tuple of float, length g
        Their standard errors, clustered by account.
    breakdown : float
        Lambda from which on the 95 % interval of the bounds includes zero; 1 = it always does,
        100 = further than was looked.
    benchmark : float
        Lambda of a hidden column as strong as the strongest that is known: without it, and those
        that say nearly the same, the odds of a contact would move by no more than that in 19 of
        20 rows.
    strongest : str
        Name of that column.
    rows, accounts : int
    """

    lambdas: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    low_stderr: tuple[float, ...]
    high_stderr: tuple[float, ...]
    breakdown: float
    benchmark: float
    strongest: str
    rows: int
    accounts: int

    @property
    def holds(self) -> bool:
        """Whether a hidden column as strong as the strongest known could not undo the effect."""
        return self.breakdown > max(self.benchmark, 1.0)

    def to_pandas(self) -> pd.DataFrame:
        """One row a Lambda: lambda, low, high, low_95, high_95 (bounds with their error)."""
        low, high = np.array(self.low), np.array(self.high)
        return pd.DataFrame(
            {
                "lambda": self.lambdas,
                "low": low,
                "high": high,
                "low_95": low - _WIDTH * np.array(self.low_stderr),
                "high_95": high + _WIDTH * np.array(self.high_stderr),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, JSON's lists included."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**plain)

    def __str__(self) -> str:
        lines = [f"Effect of a contact, {self.rows} decisions of {self.accounts} accounts"]
        for row in self.to_pandas().itertuples(index=False):
            lines.append(
                "  Lambda {:<5g} {:+.4f} to {:+.4f}  (95 %: {:+.4f} to {:+.4f})".format(*row)
            )
        named = f" ({self.strongest})" if self.strongest else ""
        lines.append(
            f"zero is within the interval from Lambda {self.breakdown:.2f} on; the strongest column"
            f"{named} is worth {self.benchmark:.2f}"
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        table = self.to_pandas().to_html(index=False, float_format="{:.4f}".format, border=0)
        return f"{table}<p>{str(self).splitlines()[-1]}</p>"


def sensitivity(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    contacted: npt.ArrayLike,
    *,
    chance: npt.ArrayLike | None = None,
    account: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    lambdas: Sequence[float] = GRID,
    seed: int = 0,
) -> Sensitivity:
    """Bound the mean effect of a contact where choices may have known more than x.

    Parameters
    ----------
    X : (n, d) array
        What was known at the decision; nan is missing.
    y : (n,) float
        Outcomes from 0 to 1.
    contacted : (n,) bool
    chance : (n,) float, optional
        P(contact | x), in (0, 1). None: estimated, cross-fitted by account.
    account : (n,) int, optional
        Default: all different.
    names : sequence of str, length d
        Of the columns, for the benchmark.
    lambdas : sequence of float
        At least 1 each.
    seed : int
        Seed of the folds.

    Returns
    -------
    Sensitivity

    Raises
    ------
    InputError
        Outcomes outside 0 to 1, chances outside (0, 1), a Lambda below 1, one kind of row alone.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> contacted = rng.random(3000) < 0.5
    >>> y = rng.random(3000) < 0.3 + 0.2 * contacted
    >>> found = sensitivity(np.zeros((3000, 0)), y, contacted)
    >>> abs(found.low[0] - 0.2) < 0.05, 1.5 < found.breakdown < 3.0
    (True, True)
    """
    matrix = check_matrix(X)
    n = len(matrix)
    outcome = check_vector(y, n, "y", low=0.0)
    acted = check_vector(contacted, n, "contacted", low=0.0) > 0.0
    who = np.arange(n) if account is None else np.asarray(account)
    _check(outcome, acted, who, lambdas)
    _, cluster = np.unique(who, return_inverse=True)
    fold = folds(cluster, _FOLDS, seed)
    mains = Mains.learn(matrix)
    if chance is None:
        known = contact_chance(matrix, acted, fold, mains)
    else:
        known = check_vector(chance, n, "chance", low=0.0)
        if ((known <= 0.0) | (known >= 1.0)).any():
            rows = np.flatnonzero((known <= 0.0) | (known >= 1.0)).tolist()
            found = str(known[rows[0]])
            raise InputError.of("chance", None, expected="in (0, 1)", found=found, rows=rows)
    case = _Case(
        outcome,
        acted,
        np.clip(known, _LEAST, 1.0 - _LEAST),
        *_means(matrix, outcome, acted, fold, mains),
        cluster,
    )
    bounds = np.array([case.bounds(float(each)) for each in lambdas])
    column, factor = strongest(matrix, acted, mains)
    name = "" if column < 0 else (names[column] if len(names) else f"column {column}")
    low, high, low_error, high_error = (tuple(part.tolist()) for part in bounds.T)
    return Sensitivity(
        tuple(float(each) for each in lambdas),
        low,
        high,
        low_error,
        high_error,
        case.breakdown(),
        factor,
        name,
        n,
        int(cluster.max()) + 1,
    )


@dataclass(frozen=True, eq=False)
class _Case:
    y: Float
    acted: Bool
    chance: Float
    with_it: Float  # P(Y = 1 | x, contacted)
    without: Float
    cluster: Int

    def bounds(self, size: float) -> tuple[float, float, float, float]:
        """Lower and upper bound of the mean effect at one Lambda, then their errors."""
        odds = self.chance / (1.0 - self.chance)
        t = self.acted.astype(np.float64)
        low = self._arm(t, self.with_it, 1.0 / odds, size, up=False)
        low -= self._arm(1.0 - t, self.without, odds, size, up=True)
        high = self._arm(t, self.with_it, 1.0 / odds, size, up=True)
        high -= self._arm(1.0 - t, self.without, odds, size, up=False)
        return float(low.mean()), float(high.mean()), self._error(low), self._error(high)

    def _arm(self, mine: Float, mu: Float, ratio: Float, size: float, *, up: bool) -> Float:
        """Influence of each row on the bound of the mean outcome if all had this arm.

        Seen where the arm was played; elsewhere the bound, debiased by weighted residuals: the
        bound is piecewise linear in mu, concave upwards, convex downwards, so a wrong mu makes it
        wider, never too narrow, as long as the chances are right.
        """
        if up:
            steep = mu * (1.0 + size) < 1.0
            bound = np.where(steep, size * mu, 1.0 - (1.0 - mu) / size)
        else:
            steep = mu * (1.0 + size) > size
            bound = np.where(steep, 1.0 - size * (1.0 - mu), mu / size)
        slope = np.where(steep, size, 1.0 / size)
        found = mine * self.y + (1.0 - mine) * bound + mine * ratio * slope * (self.y - mu)
        return np.asarray(found, dtype=np.float64)

    def _error(self, influence: Float) -> float:
        total = np.bincount(self.cluster, influence - influence.mean())
        return float(np.sqrt((total**2).sum())) / len(influence)

    def breakdown(self) -> float:
        """Lambda from which on the 95 % interval includes zero, by bisection."""
        low, high, _, _ = self.bounds(1.0)
        sign = 1.0 if low + high > 0.0 else -1.0

        def clear(size: float) -> bool:
            low, high, low_error, high_error = self.bounds(size)
            edge = low - _WIDTH * low_error if sign > 0.0 else -high - _WIDTH * high_error
            return edge > 0.0

        inside, outside = 1.0, _FURTHEST
        if not clear(inside):
            return inside
        if clear(outside):
            return outside
        while outside / inside > 1.002:
            middle = float(np.sqrt(inside * outside))
            inside, outside = (middle, outside) if clear(middle) else (inside, middle)
        return inside


def _means(X: Matrix, y: Float, acted: Bool, fold: Int, mains: Mains) -> tuple[Float, Float]:
    """Mean outcome of each row if contacted and if not, from rows of other folds."""
    found = np.empty((2, len(y)))
    for k in np.unique(fold):
        out = fold == k
        for place, arm in enumerate((acted, ~acted)):
            into = arm & (fold != k)
            if into.any():
                found[place, out] = Level.fit(X[into], y[into, None], mains).predict(X[out])[:, 0]
            else:
                found[place, out] = y[arm].mean()
    return np.clip(found[0], 0.0, 1.0), np.clip(found[1], 0.0, 1.0)


def _check(y: Float, acted: Bool, who: npt.NDArray[Any], lambdas: Sequence[float]) -> None:
    if (y > 1.0).any():
        rows = np.flatnonzero(y > 1.0).tolist()
        raise InputError.of("y", None, expected="from 0 to 1", found=str(y[rows[0]]), rows=rows)
    if who.shape != y.shape:
        raise InputError.of("account", None, expected=f"{y.shape}", found=f"{who.shape}")
    if not acted.any() or acted.all():
        found = "contacts alone" if len(acted) and acted.all() else "no contacts"
        expected = "rows with a contact and rows without"
        raise InputError.of("contacted", None, expected=expected, found=found)
    if not len(lambdas) or min(lambdas) < 1.0:
        expected = "numbers of at least 1"
        raise InputError.of("lambdas", None, expected=expected, found=str(tuple(lambdas)))
