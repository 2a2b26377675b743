"""What x alone does not explain: outcomes and factors of actions less their cross-fitted means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from collectopt.models.contrasts import Mains
from collectopt.models.level import Level

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float32]

_CLIP = 10.0
_WAITS = 500  # rows of waiting from which on their propensities are worth a regression
_DISAGREE = 4.0  # standard errors


@dataclass(frozen=True, eq=False)
class Residuals:
    """Of n rows, each by models of other accounts.

    Attributes
    ----------
    outcome : (n,) float64
        Outcome less its mean given x.
    factors : (n, p) float64
        Factors of the action less their mean given x.
    room : (n,) float64
        m (1 - m) of the mean outcome m given x.
    weight : (n,) float64
        Mean 1.
    """

    outcome: Float
    factors: Float
    room: Float
    weight: Float

    @classmethod
    def of(
        cls,
        X: Matrix,
        y: Float,
        phi: Float,
        fold: Int,
        mains: Mains,
        *,
        chance: Float | None = None,
        weight: Float | None = None,
        seen: Float | None = None,
    ) -> Self:
        """Fit the means fold by fold.

        Parameters
        ----------
        X, y, phi : (n, d), (n,), (n, p) arrays
            Features, outcome, factors of the action taken; all zero = waited.
        fold : (n,) int64
        mains : Mains
            Of X.
        chance : (n,) float64, optional
            Propensity of the action taken. The chance of any action is 1 less that of waiting,
            which rows that waited show without noise.
        weight : (n,) float64, optional
            Of the choices.
        seen : (n,) float64, optional
            Of the outcomes; 0 = not known.
        """
        level, mean = np.empty(len(y)), np.empty(phi.shape)
        for k in np.unique(fold):
            into, out = fold != k, fold == k
            w = None if weight is None else weight[into]
            told = into if seen is None else into & (seen > 0.0)
            own = product(*(None if part is None else part[told] for part in (weight, seen)))
            level[out] = Level.fit(X[told], y[told, None], mains, own).predict(X[out])[:, 0]
            known = None if chance is None or weight is not None else chance[into]
            mean[out] = _mean_factors(X[into], phi[into], mains, known, w, X[out])
        both = product(weight, seen)
        own = np.ones(len(y)) if both is None else both / both.mean()
        known = own > 0.0
        return cls(np.where(known, y - level, 0.0), phi - mean, room_of(level), own)

    def tied(self, share: float) -> Self:
        """Factors times 1 - share + share x room / mean room: what effects are regressed on."""
        base = tied(self.room, share, self.mean_room)
        return replace(self, factors=self.factors * base[:, None])

    def take(self, rows: Int) -> Residuals:
        """Keep some rows."""
        return Residuals(self.outcome[rows], self.factors[rows], self.room[rows], self.weight[rows])

    @property
    def mean_room(self) -> float:
        """Weighted mean of the room."""
        return float(np.average(self.room, weights=self.weight))

    def disagrees(self, weight: Float, cluster: Int) -> bool:
        """Whether the effect of the first factor is another one under weights, beyond noise."""
        if not self.factors.shape[1]:
            return False
        s, r = self.factors[:, 0], self.outcome
        own, weight = self.weight, self.weight * weight
        plain = float((own * s) @ r / max(float((own * s) @ s), 1e-300))
        mean = float(weight @ s)  # under weights the factor is centred by its overall mean
        t = s - mean / weight.sum()
        other = float((weight * t) @ r / max(float((weight * t) @ t), 1e-300))
        one = own * s * (r - plain * s) / max(float((own * s) @ s), 1e-300)
        two = weight * t * (r - other * t) / max(float((weight * t) @ t), 1e-300)
        spread = float(np.sqrt((np.bincount(cluster, two - one) ** 2).sum()))
        return spread > 0.0 and abs(other - plain) > _DISAGREE * spread


def _mean_factors(  # noqa: PLR0917
    X: Matrix,
    phi: Float,
    mains: Mains,
    chance: Float | None,
    weight: Float | None,
    asked: Matrix,
) -> Float:
    """Mean factors given x for other rows: chance of any action x mean factors given one."""
    acted = np.asarray(phi.any(axis=1), dtype=np.bool_)
    if not acted.any():
        return np.zeros((len(asked), phi.shape[1]))
    if chance is not None and (~acted).sum() >= _WAITS:
        rest = chance[~acted]
        model = Level.fit(X[~acted], 1.0 - rest[:, None], mains, stabilised(1.0 / rest))
    else:
        model = Level.fit(X, acted[:, None].astype(np.float64), mains, weight)
    given = Level.fit(
        X[acted], phi[acted], mains, None if weight is None else weight[acted], trees=False
    )
    return np.asarray(np.clip(model.predict(asked), 0.0, 1.0) * given.predict(asked), np.float64)


def room_of(level: Float) -> Float:
    """Give what is left to gain or to lose: m (1 - m), as on the scale of log odds."""
    m = np.clip(level, 0.0, 1.0)
    return m * (1.0 - m)


def tied(room: Float, share: float, mean: float) -> Float:
    """How far effects reach beyond their mean: with a share of them in proportion to the room."""
    return 1.0 + share * (room / max(mean, 1e-12) - 1.0)


def product(weight: Float | None, seen: Float | None) -> Float | None:
    """Multiply weights; None stands for ones."""
    if weight is None or seen is None:
        return seen if weight is None else weight
    return weight * seen


def stabilised(ratio: Float) -> Float:
    """Weights of mean 1 from ratios, clipped at ten times their mean."""
    weight = np.minimum(ratio / ratio.mean(), _CLIP)
    return np.asarray(weight / weight.mean(), dtype=np.float64)
