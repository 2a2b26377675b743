"""Whether a log without propensities leaves anything to compare: choices that x does not settle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from collectopt.models.contrasts import Mains

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

#: Chances of a contact between which rows are compared; Crump, Hotz, Imbens & Mitnik (2009),
#: Biometrika 96, take .1 to .9: contacts are rarer here.
LOWEST, HIGHEST = 0.02, 0.98
_SETTLED, _AUC = 0.7, 0.97  # share of rows outside, AUC: from there on choices follow from x
_OUTSIDE, _ESS, _BALANCE = 0.3, 0.2, 0.15  # beyond these the comparison is weak


class Verdict(Enum):
    """What a log without propensities is good for."""

    OVERLAP = "overlap"
    WEAK = "weak"
    DETERMINISTIC = "deterministic"


@dataclass(frozen=True)
class Overlap:
    """How far the log's choice to contact was open, given what is known.

    Attributes
    ----------
    rows : int
        Decisions, waits included.
    contacts : float
        Share of them that are contacts.
    channels : tuple of (str, float)
        Share of the decisions by channel.
    auc : float
        Of the estimated chance of a contact: .5 = x says nothing of the choice, 1 = it says all.
    outside : float
        Share of the rows whose chance of a contact is below .02 or above .98; left out of effects.
    ess : float
        Effective share of the other rows under weights 1 / P(what was done).
    balance : float
        Largest difference of a column's means between contacts and waits under these weights, in
        its standard deviations.
    unbalanced : str
        Name of that column.
    lag_days : float
        Mean time from the row's date to the decision to contact. What happens in between (a
        payment that makes the contact needless) makes waits look good.
    """

    rows: int
    contacts: float
    channels: tuple[tuple[str, float], ...]
    auc: float
    outside: float
    ess: float
    balance: float
    unbalanced: str
    lag_days: float = 0.0

    @classmethod
    def of(
        cls,
        X: Matrix,
        acted: Bool,
        chance: Float,
        *,
        channels: Sequence[tuple[str, float]] = (),
        names: Sequence[str] = (),
        lag_days: float = 0.0,
    ) -> Self:
        """Look at estimated chances of a contact.

        Parameters
        ----------
        X : (n, d) float32
        acted : (n,) bool
            Contacted.
        chance : (n,) float64
            P(contact | x), cross-fitted.
        channels, names, lag_days
            See the attributes; names of the columns of X.
        """
        kept = inside(chance)
        weight = 1.0 / np.where(acted, chance, 1.0 - chance)[kept]
        column, apart = _apart(X[kept], acted[kept], weight)
        known = list(names) or [f"column {j}" for j in range(X.shape[1])]
        return cls(
            rows=len(acted),
            contacts=float(acted.mean()) if len(acted) else 0.0,
            channels=tuple((str(name), float(share)) for name, share in channels),
            auc=_auc(acted, chance),
            outside=float(1.0 - kept.mean()) if len(kept) else 0.0,
            ess=_effective(weight[acted[kept]], weight[~acted[kept]]),
            balance=apart,
            unbalanced="" if column < 0 else known[column],
            lag_days=lag_days,
        )

    @property
    def verdict(self) -> Verdict:
        """What the log is good for."""
        if self.auc >= _AUC or self.outside >= _SETTLED or self.ess == 0.0:
            return Verdict.DETERMINISTIC
        weak = self.outside > _OUTSIDE or self.ess < _ESS or self.balance > _BALANCE
        return Verdict.WEAK if weak else Verdict.OVERLAP

    def to_pandas(self) -> pd.DataFrame:
        """Measures as a frame: measure, value."""
        rows = [
            ("decisions", self.rows),
            ("share of contacts", self.contacts),
            *((f"share of {name}", share) for name, share in self.channels),
            ("AUC of the chance of a contact", self.auc),
            ("share with a chance outside .02 to .98", self.outside),
            ("effective share under weights", self.ess),
            ("largest difference of a column, sd", self.balance),
            ("days to the decision", self.lag_days),
        ]
        return pd.DataFrame(rows, columns=["measure", "value"]).astype({"value": float})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, JSON's lists included."""
        channels = tuple((str(name), float(share)) for name, share in data["channels"])
        return cls(**{**data, "channels": channels})

    def __str__(self) -> str:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.channels)
        named = f" ({self.unbalanced})" if self.unbalanced else ""
        return (
            f"Overlap: {self.verdict.value}; {self.rows} decisions, {self.contacts:.1%} contacts"
            f"{f' ({shares})' if shares else ''}\n"
            f"  AUC {self.auc:.3f}; {self.outside:.1%} of the rows outside .02 to .98; effective "
            f"share {self.ess:.1%}; largest difference {self.balance:.2f} sd{named}; "
            f"{self.lag_days:.1f} days to the decision"
        )

    def _repr_html_(self) -> str:
        table = self.to_pandas().to_html(index=False, float_format="{:.4g}".format, border=0)
        return f"<p>Overlap: {self.verdict.value}</p>{table}"


def inside(chance: Float) -> Bool:
    """Rows whose chance of a contact leaves both open, (n,)."""
    return np.asarray((chance >= LOWEST) & (chance <= HIGHEST), dtype=np.bool_)


def _auc(acted: Bool, chance: Float) -> float:
    """Area under the ROC curve; nan where one kind is missing (Hanley & McNeil, 1982)."""
    ones = int(acted.sum())
    if ones in {0, len(acted)}:
        return float("nan")
    above = float(rankdata(chance)[acted].sum()) - ones * (ones + 1) / 2.0
    return above / (ones * (len(acted) - ones))


def _effective(*arms: Float) -> float:
    """Smaller of the arms' shares (sum w)^2 / (n sum w^2); 0 where one is empty."""
    if not all(len(w) for w in arms):
        return 0.0
    return min(float(w.sum() ** 2 / (w @ w) / len(w)) for w in arms)


def _apart(X: Matrix, acted: Bool, weight: Float) -> tuple[int, float]:
    """Column whose weighted means differ most between the arms, and by how many sd."""
    if not X.shape[1] or not acted.any() or acted.all():
        return -1, 0.0
    Z = Mains.learn(X).apply(X)[:, : X.shape[1]]
    sd = Z.std(axis=0)
    means = [np.average(Z[arm], axis=0, weights=weight[arm]) for arm in (acted, ~acted)]
    apart = np.abs(means[0] - means[1]) / np.where(sd > 0.0, sd, np.inf)
    return int(apart.argmax()), float(apart.max())
