"""Latent classes from counts of outcomes, kept close to given tables.

A mixture of products of multinomials (Lazarsfeld & Henry 1968, Latent Structure Analysis; fitted
by expectation and maximisation, Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1-38).
Outcomes of one account resemble each other beyond its class: n of them count as
n / (1 + (n - 1) * alike), the design effect of clusters (Kish 1965, Survey Sampling). Items are
not quite independent given the class either, so the evidence enters to a power of at most 1.

A book without labels moves the shares of the classes and how frequent each outcome is in all of
them together; the odds ratios between classes stay as given (raking, Deming & Stephan 1940, Ann.
Math. Stat. 11, 427-444). Were all cells free, the likelihood would take the classes for whatever
splits the book best, such as young and old accounts, and names would no longer fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Counts = Mapping[str, Float]

_STEPS = 200
_CLOSE = 1e-5  # change of a share at which the steps end


@dataclass(frozen=True, eq=False)
class LatentClasses:
    """Shares of R classes by group, and what outcomes each class has.

    Attributes
    ----------
    shares : (G, R) float64
        Prior share of each class in each of G groups; rows add up to 1.
    tables : mapping of str to (R, J) float64
        For each item the probability of its J outcomes by class; rows add up to 1.
    alike : mapping of str to float
        Correlation of two outcomes of one account beyond its class, 0 to 1.
    power : float
        Weight of the evidence against the prior share, above 0, at most 1.

    Examples
    --------
    >>> classes = LatentClasses(
    ...     np.array([[0.5, 0.5]]), {"coin": np.array([[0.9, 0.1], [0.5, 0.5]])}, {"coin": 0.0}
    ... )
    >>> classes.posterior({"coin": np.array([[2.0, 0.0]])}, np.array([0])).round(3).tolist()
    [[0.764, 0.236]]
    """

    shares: Float
    tables: Mapping[str, Float]
    alike: Mapping[str, float]
    power: float = 1.0

    def evidence(self, counts: Counts) -> dict[str, Float]:
        """Log-likelihood of each item by class, (n, R), to the power of the model."""
        return {
            name: self.power * (_effective(counts[name], self.alike[name]) @ np.log(table).T)
            for name, table in self.tables.items()
        }

    def posterior(self, counts: Counts, group: Int) -> Float:
        """Probability of each class, (n, R).

        Parameters
        ----------
        counts : mapping of str to (n, J) array
            Outcomes of each item; all 0 = nothing known.
        group : (n,) int array
            Row of `shares`.
        """
        return _normal(np.log(self.shares)[group] + _sum(self.evidence(counts)))

    def refine(
        self,
        counts: Counts,
        group: Int,
        weight: Float,
        *,
        share_strength: float,
        table_strength: float,
    ) -> LatentClasses:
        """Adapt the shares, and the frequency of each outcome over all classes, to a book.

        Parameters
        ----------
        counts, group
            As in :meth:`posterior`.
        weight : (n,) array
            Weight of each row, in accounts.
        share_strength, table_strength : float
            Accounts that the given shares of a group, and the given tables, weigh as much as.
        """
        told = {name: _effective(counts[name], self.alike[name]) for name in self.tables}
        size = {
            name: min(float(np.average(each.sum(axis=1), weights=weight)), 1.0)
            for name, each in told.items()
        }
        known = [name for name in self.tables if size[name] > 0]
        level = {name: np.zeros(self.tables[name].shape[1]) for name in known}
        now = self
        for _ in range(_STEPS):
            mass = now.posterior(counts, group) * weight[:, None]
            by_group = [mass[group == g].sum(axis=0) for g in range(len(self.shares))]
            shares = _rows(np.stack(by_group) + share_strength * self.shares)
            mean = (now.shares[group] * weight[:, None]).sum(axis=0) / weight.sum()
            tables = dict(now.tables)
            for name in known:
                given = table_strength * size[name] * mean[:, None] * self.tables[name]
                seen = mass.T @ told[name] + given
                expected = seen.sum(axis=1) @ now.tables[name]
                level[name] = level[name] + np.log(seen.sum(axis=0) / expected)
                tables[name] = _rows(self.tables[name] * np.exp(level[name]))
            moved = float(np.abs(shares - now.shares).max())
            now = replace(now, shares=shares, tables=tables)
            if moved < _CLOSE:
                break
        return now


def _effective(counts: Float, alike: float) -> Float:
    n = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / (1.0 + np.maximum(n - 1.0, 0.0) * alike), dtype=np.float64)


def _sum(items: Mapping[str, Float]) -> Float:
    return np.asarray(np.sum(list(items.values()), axis=0), dtype=np.float64)


def _normal(joint: Float) -> Float:
    part = np.exp(joint - joint.max(axis=1, keepdims=True))
    return np.asarray(part / part.sum(axis=1, keepdims=True), dtype=np.float64)


def _rows(table: Float) -> Float:
    return np.asarray(table / table.sum(axis=1, keepdims=True), dtype=np.float64)
