"""A thin LightGBM: arrays in by named column, one thread, deterministic, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.models.masks import MaskedTrees

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Rows from which on masks are quicker than LightGBM's own way.
_MANY_ROWS = 500


class UnfittedError(NotFittedError, SklearnNotFittedError):
    """Ours, and scikit-learn's for the tools that wait for it."""


@dataclass(frozen=True)
class TreeOptions:
    """Hyper-parameters of one booster.

    Attributes
    ----------
    rounds, leaves, min_leaf : int
        Trees, leaves of a tree, rows of a leaf.
    rate : float
        Learning rate.
    columns : float
        Share of the columns that a tree sees.
    ridge : float
        Pseudo-weight that pulls each leaf to 0.
    seed : int
        Seed of the column sampling.
    """

    rounds: int = 150
    rate: float = 0.06
    leaves: int = 15
    min_leaf: int = 100
    columns: float = 0.8
    ridge: float = 1.0
    seed: int = 0

    def params(self, objective: str, monotone: Sequence[int] | None) -> dict[str, object]:
        """Give LightGBM's own names."""
        params: dict[str, object] = {
            "objective": objective,
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": self.columns,
            "lambda_l2": self.ridge,
            "max_cat_threshold": 16,
            "cat_smooth": 50.0,
            "boost_from_average": False,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "verbosity": -1,
        }
        if monotone is not None and any(monotone):
            params["monotone_constraints"] = list(monotone)
        return params


class Trees:
    """A fitted booster that returns the raw score."""

    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster

    @classmethod
    def fit(
        cls,
        X: npt.NDArray[np.float32],
        y: npt.NDArray[np.float64],
        *,
        options: TreeOptions,
        objective: str = "binary",
        base: Float | None = None,
        weight: Float | None = None,
        categorical: Sequence[int] = (),
        monotone: Sequence[int] | None = None,
    ) -> Trees:
        """Fit on plain arrays; ``base`` is the score that the trees add to."""
        data = lgb.Dataset(
            X,
            label=y,
            weight=weight,
            init_score=base,
            feature_name=[f"x{i}" for i in range(X.shape[1])],
            categorical_feature=[int(c) for c in categorical],
            free_raw_data=True,
            params={"verbosity": -1, "num_threads": 1, "feature_pre_filter": False},
        )
        if monotone is not None:  # LightGBM refuses a sign on a categorical column
            monotone = [0 if i in set(categorical) else s for i, s in enumerate(monotone)]
        booster = lgb.train(
            options.params(objective, monotone), data, num_boost_round=options.rounds
        )
        return cls(booster)

    def score(self, X: npt.NDArray[np.float32]) -> Float:
        """Sum of the trees, without ``base``, (n,)."""
        if not len(X):
            return np.zeros(0)
        return np.asarray(self.booster.predict(X, raw_score=True, num_threads=1), dtype=np.float64)

    def score_lines(
        self, rows: npt.NDArray[np.float32], lines: npt.NDArray[np.float32], row: Int
    ) -> Float:
        """Sum of the trees for lines that share the columns of their row, (m,).

        Parameters
        ----------
        rows : (n, d) float32
            Columns of the rows.
        lines : (m, k) float32
            Further columns, those of the lines.
        row : (m,) int64
            Row of each line, in increasing order.

        Notes
        -----
        The same numbers as :meth:`score` of ``[rows[row], lines]``, to the last bit, many times
        faster where there are many rows.
        """
        if len(rows) >= _MANY_ROWS and self._masks is not None:
            return self._masks.score(rows, lines, np.bincount(row, minlength=len(rows)))
        data = np.empty((len(lines), rows.shape[1] + lines.shape[1]), dtype=np.float32)
        data[:, : rows.shape[1]] = rows[row]
        data[:, rows.shape[1] :] = lines
        return self.score(data)

    @cached_property
    def _masks(self) -> MaskedTrees | None:
        return MaskedTrees.of(self.booster.dump_model())

    def contributions(self, X: npt.NDArray[np.float32]) -> Float:
        """Give what each column adds to the score, last the mean score, (n, d + 1): tree SHAP."""
        if not len(X):
            return np.zeros((0, X.shape[1] + 1))
        found = self.booster.predict(X, pred_contrib=True, num_threads=1)
        return np.asarray(found, dtype=np.float64)

    def gains(self) -> Float:
        """Total gain of each column, (d,)."""
        return np.asarray(self.booster.feature_importance("gain"), dtype=np.float64)

    def to_text(self) -> str:
        """LightGBM's text format."""
        return str(self.booster.model_to_string())

    @classmethod
    def from_text(cls, text: str) -> Trees:
        """Read what :meth:`to_text` wrote."""
        if not text.startswith("tree"):
            raise ArtifactError("this is no LightGBM text model: it does not start with 'tree'")
        try:
            return cls(lgb.Booster(model_str=text))
        except lgb.basic.LightGBMError as error:
            raise ArtifactError(f"LightGBM cannot read the text model: {error}") from error


_ENCODE = "Encode text columns as integer codes; nan means missing."


def check_matrix(X: Any, width: int | None = None, name: str = "X") -> npt.NDArray[np.float32]:
    """Turn ``X`` into a float32 matrix, or say what is wrong with it."""
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    if hasattr(X, "toarray") or kind in "cmM":
        raise InputError.of(
            name,
            None,
            expected="a dense matrix of real numbers, categories as codes",
            found="sparse data" if hasattr(X, "toarray") else f"dtype {X.dtype}",
            hint="Complex data not supported." if kind == "c" else "Turn it into numbers first.",
        )
    try:
        with np.errstate(over="ignore"):  # too large for float32: refused as inf below
            matrix = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError.of(
            name,
            None,
            expected="a matrix of numbers, categories as codes",
            found=str(error),
            hint=_ENCODE,
        ) from error
    if matrix.ndim != 2:
        raise InputError.of(name, None, expected="(n, d)", found=f"shape {matrix.shape}")
    if width is not None and matrix.shape[1] != width:
        raise InputError.of(
            name, None, expected=f"{width} columns, as in fit", found=f"{matrix.shape[1]}"
        )
    if np.isinf(matrix).any():
        rows = np.nonzero(np.isinf(matrix).any(axis=1))[0]
        raise InputError.of(
            name, None, expected="finite numbers or nan", found="inf", rows=rows.tolist()
        )
    return matrix


def check_vector(v: Any, n: int, name: str, *, low: float = -np.inf, nan: bool = False) -> Float:
    """Turn ``v`` into a float64 vector of ``n`` values, each at least ``low``."""
    try:
        vector = np.asarray(v, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError.of(name, None, expected="numbers", found=str(error)) from error
    if vector.shape != (n,):
        raise InputError.of(name, None, expected=f"shape ({n},)", found=f"{vector.shape}")
    wrong = vector < low
    if not nan:
        wrong |= np.isnan(vector)
    if wrong.any():
        rows = np.nonzero(wrong)[0]
        expected = "numbers" if low == -np.inf else f"numbers of at least {low:g}"
        raise InputError.of(
            name, None, expected=expected, found=str(vector[rows[0]]), rows=rows.tolist()
        )
    return vector


def logit(p: Float) -> Float:
    """Log odds, kept finite."""
    p = np.clip(p, 1e-12, 1.0 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)


def expit(z: Float) -> Float:
    """Inverse of :func:`logit`."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), dtype=np.float64)
