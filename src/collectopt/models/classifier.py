"""A plain classifier for payment tables: calibrated chances without tuning.

A mean in log odds of unlike members: leaf-wise trees that see few columns at a time, trees with
random thresholds, small trees, and an additive logistic curve. Each is kept small by the amount of
data; what they err on differs, so their mean errs less than each of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from collectopt.exceptions import ArtifactError, InputError
from collectopt.models.additive import Additive
from collectopt.models.boosting import TreeOptions, Trees, expit
from collectopt.models.encoding import Encoding, is_frame

Float = npt.NDArray[np.float64]

_PIECES = 8
_RIDGE = 100.0
_CURVE = 1 / 9  # weight of the additive curve in the mean
_MANY = 20  # values of a column that may be part of a ratio
_PLAIN = (str, int, float, bool)


@dataclass(frozen=True)
class MemberOptions(TreeOptions):
    """Hyper-parameters of one kind of boosters in the mean.

    Attributes
    ----------
    ridge : float
        L2 of the leaves.
    extra : bool
        One random threshold a column instead of the best one.
    pairs : int
        Most pairs of columns whose ratio the booster sees, drawn at random.
    """

    ridge: float = 10.0
    extra: bool = False
    pairs: int = 0

    def params(self, objective: str, monotone: Sequence[int] | None) -> dict[str, object]:
        """Give LightGBM's own names."""
        return super().params(objective, monotone) | {
            "lambda_l2": self.ridge,
            "extra_trees": self.extra,
            "extra_seed": self.seed,
        }


def _kinds(n: int, rare: float) -> tuple[MemberOptions, ...]:
    """Kinds of boosters, for n rows of which so many are of the rarer class."""
    leaf = int(np.clip(n / 8, 3, 50))
    full = float(np.clip(rare / 800.0, 0.5, 1.0))
    kinds = (
        MemberOptions(rounds=150, rate=0.03, leaves=15, columns=0.8),
        MemberOptions(rounds=400, rate=0.02, leaves=15, columns=0.3, pairs=30),
        MemberOptions(rounds=700, rate=0.02, leaves=8, columns=0.15, pairs=100),
        MemberOptions(rounds=500, rate=0.03, leaves=31, columns=0.4, pairs=40, extra=True),
    )
    return tuple(replace(k, min_leaf=leaf, rounds=round(full * k.rounds)) for k in kinds)


@dataclass(frozen=True, eq=False)
class _Booster:
    """Trees on the columns and on ratios of some pairs of them.

    Attributes
    ----------
    trees : Trees
    pairs : (m, 2) int64
        Columns of each pair.
    """

    trees: Trees
    pairs: npt.NDArray[np.int64]

    @classmethod
    def fit(
        cls, X: Float, y: Float, base: float, options: MemberOptions, codes: Sequence[int]
    ) -> Self:
        """Learn; the trees add to the log odds ``base``."""
        pairs = _draw_pairs(X, options, codes)
        start = np.full(len(y), base)
        trees = Trees.fit(_widen(X, pairs), y, options=options, base=start, categorical=codes)
        return cls(trees, pairs)

    def score(self, X: Float) -> Float:
        """Sum of the trees, (n,)."""
        return self.trees.score(_widen(X, self.pairs))


def _draw_pairs(X: Float, options: MemberOptions, codes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Draw pairs of columns with many values; counts and codes have no ratio worth a look."""
    wide = [
        k for k in range(X.shape[1])
        if options.pairs and k not in codes and len(np.unique(X[:, k])) > _MANY
    ]  # fmt: skip
    every = np.array(list(combinations(wide, 2)), dtype=np.int64).reshape(-1, 2)
    if len(every) <= options.pairs:
        return every
    rng = np.random.default_rng(options.seed)
    return every[np.sort(rng.choice(len(every), options.pairs, replace=False))]


def _widen(X: Float, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Append the log ratio of each pair, in half the precision: trees look at the order only."""
    size = np.sign(X) * np.log1p(np.abs(X))  # keeps signs and zeros
    whole = np.concatenate([X, size[:, pairs[:, 0]] - size[:, pairs[:, 1]]], axis=1)
    largest = float(np.finfo(np.float32).max)
    return np.clip(whole, -largest, largest).astype(np.float32)


class PaymentClassifier(ClassifierMixin, BaseEstimator):
    """Chance of a yes or no about a row, from a table of any columns. Needs no tuning.

    A scikit-learn estimator for two classes. Numbers may be missing; frames (pandas, polars,
    pyarrow) are read by column name, their text and categories as categories.

    Parameters
    ----------
    categorical : sequence of int or str
        Columns that hold codes of categories: positions in an array, names in a frame. Text and
        pandas categories are found without.
    seeds : int
        Boosters of each kind in the mean; twice as many take twice the time.
    seed : int
        Seed of all draws. The same rows and seed give the same chances, on one thread.

    Attributes
    ----------
    classes_ : (2,) array
        Labels, sorted; ``predict_proba`` has a column for each.
    n_features_in_ : int
    feature_names_in_ : (d,) array of str
        Only after a fit on a frame.

    Notes
    -----
    For single rows without a time. Where payments take time and some are not over yet, ask
    :class:`~collectopt.models.payment.PaymentModel`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> late = rng.poisson(1.0, 2000)
    >>> paid = rng.random(2000) < 1.0 / (1.0 + late)
    >>> model = PaymentClassifier(seeds=1).fit(late[:, None], paid)
    >>> bool(np.abs(model.predict_proba([[0], [3]])[:, 1] - [1.0, 0.25]).max() < 0.1)
    True
    """

    def __init__(
        self, *, categorical: Sequence[int | str] = (), seeds: int = 2, seed: int = 0
    ) -> None:
        self.categorical = categorical
        self.seeds = seeds
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from rows whose outcome is known.

        Parameters
        ----------
        X : (n, d) array or frame
        y : (n,) array
            Two different labels of any kind.

        Returns
        -------
        PaymentClassifier
            Itself.

        Raises
        ------
        InputError
            Only one label; columns that are neither numbers nor text; names that do not exist.
        ValueError
            As usual in scikit-learn: wrong shapes, infinite numbers, missing labels.
        """
        matrix, y = self._learn_columns(X, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self._check_labels(y)
        hit = codes.astype(np.float64)
        self._base = float(np.log(hit.mean()) - np.log1p(-hit.mean()))
        self._curve = Additive.fit(
            matrix, hit, categorical=self._codes, pieces=_PIECES, ridge=_RIDGE
        )
        self._boosters = [
            _Booster.fit(matrix, hit, self._base, options, self._codes)
            for options in self._members(hit)
        ]
        return self

    def predict_proba(self, X: Any) -> Float:
        """Chance of each class.

        Parameters
        ----------
        X : (n, d) array or frame
            Columns as in ``fit``; a frame's are found by name.

        Returns
        -------
        (n, 2) float64
            In the order of ``classes_``; rows add up to 1.
        """
        check_is_fitted(self)
        p = expit(self._score(self._read(X)))
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Likelier class of each row, (n,)."""
        likelier = self.predict_proba(X)[:, 1] > 0.5
        return np.asarray(self.classes_[likelier.astype(np.intp)])

    def save(self, directory: str | Path) -> None:
        """Write the model into a directory: JSON, and LightGBM's text for each booster.

        Raises
        ------
        InputError
            Labels that JSON cannot hold.
        """
        check_is_fitted(self)
        kind = self.classes_.dtype.kind
        if kind not in "biufUO" or not all(isinstance(c, _PLAIN) for c in self.classes_.tolist()):
            raise InputError.of(
                "y", None, expected="labels of numbers or text", found=str(self.classes_.dtype)
            )
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": 1,
            "settings": {
                "categorical": list(self.categorical), "seeds": self.seeds, "seed": self.seed
            },
            "classes": self.classes_.tolist(),
            "dtype": "object" if kind == "O" else self.classes_.dtype.str,
            "width": self.n_features_in_,
            "encoding": None if self._encoding is None else asdict(self._encoding),
            "codes": list(self._codes),
            "base": self._base,
            "curve": self._curve.to_json(),
            "pairs": [booster.pairs.tolist() for booster in self._boosters],
        }  # fmt: skip
        (path / "classifier.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        for k, booster in enumerate(self._boosters):
            (path / f"trees_{k}.txt").write_text(booster.trees.to_text(), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> PaymentClassifier:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            A file is missing or not readable.
        """
        path = Path(directory)
        try:
            content = json.loads((path / "classifier.json").read_text(encoding="utf-8"))
            settings = content["settings"]
            model = cls(**settings | {"categorical": tuple(settings["categorical"])})
            model.classes_ = np.array(content["classes"], dtype=content["dtype"])
            model.n_features_in_ = content["width"]
            model._encoding = None
            if content["encoding"] is not None:
                names, groups = content["encoding"]["names"], content["encoding"]["categories"]
                model._encoding = Encoding(tuple(names), {k: tuple(v) for k, v in groups.items()})
                model.feature_names_in_ = np.array(names, dtype=object)
            model._codes = tuple(content["codes"])
            model._base = content["base"]
            model._curve = Additive.from_json(content["curve"])
            model._boosters = [
                _Booster(
                    Trees.from_text((path / f"trees_{k}.txt").read_text(encoding="utf-8")),
                    np.array(pairs, dtype=np.int64).reshape(-1, 2),
                )
                for k, pairs in enumerate(content["pairs"])
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"no readable PaymentClassifier in {path}: {error}") from error
        return model

    # -- inside ------------------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags

    def _learn_columns(self, X: Any, y: Any) -> tuple[Float, npt.NDArray[Any]]:
        """Read ``X`` as numbers, check ``y``, and remember which columns there are."""
        self._encoding = None
        if is_frame(X):
            self._encoding = Encoding.learn(X, [str(name) for name in self.categorical])
            X = self._encoding.apply(X)
        matrix, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        if self._encoding is not None:
            self.feature_names_in_ = np.array(self._encoding.names, dtype=object)
            self._codes = self._encoding.codes
        else:
            self._codes = _positions(self.categorical, matrix.shape[1])
        return matrix, y

    def _check_labels(self, y: npt.NDArray[Any]) -> None:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}."
            )
        if len(self.classes_) < 2:
            raise InputError.of(
                "y", None, expected="two classes", found=f"one class, {self.classes_.tolist()}"
            )

    def _read(self, X: Any) -> Float:
        """Read ``X`` as in ``fit``."""
        if self._encoding is not None and is_frame(X):
            X = self._encoding.apply(X)
            return check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
        if self._encoding is not None and self._encoding.categories:
            raise InputError.of(
                "X", None, expected="a frame, as in fit", found="an array, which names no category"
            )
        return validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)

    def _members(self, hit: Float) -> list[MemberOptions]:
        """Choose the boosters for so many rows of each class."""
        rare = float(min(hit.sum(), len(hit) - hit.sum()))
        return [
            replace(kind, seed=self.seed + 1000 * k + s)
            for k, kind in enumerate(_kinds(len(hit), rare))
            for s in range(self.seeds)
        ]

    def _score(self, matrix: Float) -> Float:
        """Log odds: the mean of the members."""
        trees = np.zeros(len(matrix))
        for booster in self._boosters:
            trees += booster.score(matrix)
        odds = self._base + trees / len(self._boosters)
        return (1.0 - _CURVE) * odds + _CURVE * self._curve.score(matrix)


def _positions(categorical: Sequence[int | str], width: int) -> tuple[int, ...]:
    wrong = [c for c in categorical if not isinstance(c, int) or not 0 <= c < width]
    if wrong:
        raise InputError.of(
            "PaymentClassifier",
            "categorical",
            expected=f"positions from 0 to {width - 1} of an array's columns",
            found=str(wrong),
            hint="Names need a frame.",
        )
    return tuple(int(c) for c in categorical)
