"""The mean of outcomes given x: half ridge regression, half boosted trees; cross-fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.models.boosting import TreeOptions, Trees
from collectopt.models.contrasts import Mains

Float = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

_TREES_FROM, _LARGE = 1000, 30_000  # rows
_SMALL_TREES = TreeOptions(rounds=60, rate=0.05, leaves=7, min_leaf=200)
_LARGE_TREES = TreeOptions(rounds=100, rate=0.07, leaves=15, min_leaf=100)


@dataclass(frozen=True, eq=False)
class Level:
    """Mean of t targets given x.

    Attributes
    ----------
    mains : Mains
        How columns enter the ridge.
    beta : (d + 1, t) float64
        Coefficients, the constant last.
    start : float
    trees : Trees or None
        Boosted mean of the only target, from ``start`` on; averaged with the ridge.
    """

    mains: Mains
    beta: Float
    start: float
    trees: Trees | None

    @classmethod
    def fit(
        cls,
        X: Matrix,
        targets: Float,
        mains: Mains,
        weight: Float | None = None,
        *,
        trees: bool = True,
    ) -> Self:
        """Regress targets (n, t) on X (n, d); trees only where there is one target."""
        w = np.ones(len(X)) if weight is None else weight
        Z = _with_ones(mains.apply(X))
        penalty = np.full(Z.shape[1], 5.0 + 0.5 * X.shape[1])
        penalty[-1] = 0.0
        gram = Z.T @ (w[:, None] * Z) + np.diag(penalty) + 1e-9 * np.eye(Z.shape[1])
        beta = np.linalg.solve(gram, Z.T @ (w[:, None] * targets))
        start = float(np.average(targets[:, 0], weights=w))
        booster = None
        if trees and targets.shape[1] == 1 and len(X) >= _TREES_FROM and X.shape[1]:
            booster = Trees.fit(
                X,
                targets[:, 0],
                options=_LARGE_TREES if len(X) >= _LARGE else _SMALL_TREES,
                objective="regression",
                base=np.full(len(X), start),
                weight=weight,
            )
        return cls(mains, np.asarray(beta, dtype=np.float64), start, booster)

    @property
    def width(self) -> int:
        """Columns of X."""
        return len(self.mains.mean)

    def predict(self, X: Matrix, Z: Float | None = None) -> Float:
        """Mean of the targets, (n, t); ``Z`` is ``mains.apply(X)`` where it is known."""
        known = self.mains.apply(X) if Z is None else Z
        linear = np.asarray(known @ self.beta[:-1] + self.beta[-1], dtype=np.float64)
        if self.trees is None:
            return linear
        return 0.5 * linear + 0.5 * (self.start + self.trees.score(X))[:, None]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything but the trees, to be saved."""
        found = {"beta": self.beta, "start": np.array(self.start)}
        return found | {f"mains_{name}": values for name, values in self.mains.arrays().items()}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], trees: Trees | None) -> Self:
        """Read what :meth:`arrays` gave."""
        head = "mains_"
        parts = {k.removeprefix(head): v for k, v in arrays.items() if k.startswith(head)}
        return cls(Mains(**parts), arrays["beta"], float(arrays["start"]), trees)


def _with_ones(Z: Float) -> Float:
    return np.column_stack([Z, np.ones(len(Z))])
