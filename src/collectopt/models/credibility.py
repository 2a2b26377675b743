"""What a single account adds to the rates of its group: linear credibility with shared evidence.

An observation y of an account (0 or 1) with usual chance p has mean p + v f.z, v = p (1 - p): z are
the account's own deviations, f says which of them this observation feels. The best linear forecast
of z given the account's observations is the credibility formula of Buehlmann and Straub (1970); for
alike observations it is the mean of the beta-binomial. The size of the deviations is estimated by
moments of products of residuals of one account, which need no distribution and, unlike penalised
likelihoods, are not biased where an account has a handful of binary rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.special import betaincinv

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_BLOCK = 4096
_LAGS = 60  # pairs of an account that are further apart in the list add little
_MOST = 0.8  # of the variance of an observation may be that between accounts
_EDGE = 0.02  # forecasts stay that share of p or 1 - p away from 0 and 1
COVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class Evidence:
    """Observations, sorted by account.

    Attributes
    ----------
    account : (n,) int64
        Sorted.
    residual : (n,) float64
        y - p.
    variance : (n,) float64
        v = p (1 - p).
    weight : (n,) float64
    """

    account: Int
    residual: Float
    variance: Float
    weight: Float


def pairs(evidence: Evidence) -> Iterator[tuple[Int, Int, Float, Float, Float]]:
    """Go through pairs of observations of one account.

    Yields
    ------
    first, second : (k,) int64
        Rows.
    product, scale, weight : (k,) float64
        With E(product) = scale * cov(f.z, f'.z) and, without deviations, a variance of 1.
    """
    e = evidence
    root = np.sqrt(e.variance)
    unit = e.residual / root
    for lag in range(1, min(_LAGS, len(e.account))):
        first = np.flatnonzero(e.account[lag:] == e.account[:-lag])
        if not len(first):
            return
        second = first + lag
        scale = root[first] * root[second]
        yield first, second, unit[first] * unit[second], scale, e.weight[first] * e.weight[second]


@dataclass(frozen=True, eq=False)
class Moments:
    """Normal equations of products of residuals on parts of a covariance.

    Attributes
    ----------
    A : (k, k) float64
    b : (k,) float64
    """

    A: Float
    b: Float

    @classmethod
    def zero(cls, k: int) -> Moments:
        """Start with nothing."""
        return cls(np.zeros((k, k)), np.zeros(k))

    def plus(self, parts: Float, product: Float, weight: Float) -> Moments:
        """Add pairs; parts (k, m) are those of the covariance times the scale of each pair."""
        return Moments(self.A + (parts * weight) @ parts.T, self.b + parts @ (weight * product))

    def solve(self, prior: Float | None = None) -> Float:
        """Least squares with no part below zero, (k,).

        Parameters
        ----------
        prior : (k,) float64, optional
            Mean, and at the same time sd, of what is expected; parts with 0 stay 0.
        """
        A, b = self.A, self.b
        free = np.ones(len(b), dtype=bool) if prior is None else prior > 0.0
        if prior is not None and free.any():
            A = A + np.diag(np.where(free, 1.0 / np.where(free, prior, 1.0) ** 2, 0.0))
            b = b + np.where(free, 1.0 / np.where(free, prior, 1.0), 0.0)
        free &= np.diag(A) > 0.0
        result = np.zeros(len(b))
        if free.any():
            some = A[np.ix_(free, free)]
            L = np.linalg.cholesky(some + 1e-9 * np.trace(some) / len(some) * np.eye(len(some)))
            result[free] = nnls(L.T, np.linalg.solve(L, b[free]))[0]
        return result


def posterior(
    evidence: Evidence, features: Float, prior: Float, asked: Int
) -> Iterator[tuple[slice, Float, Float]]:
    """Forecast the deviations of some accounts, block after block.

    Parameters
    ----------
    evidence : Evidence
        n observations.
    features : (n, q) float64
        f of each observation.
    prior : (q, q) float64
        Covariance of z.
    asked : (a,) int64
        Accounts, any order; those without observations get the prior.

    Yields
    ------
    slice
        Of the accounts asked for.
    mean : (b, q) float64
    covariance : (b, q, q) float64
    """
    own = np.einsum("nq,qr,nr->n", features, prior, features)
    own = np.minimum(own, _MOST / evidence.variance)
    # What is left of p (1 - p) once the account is known, over v^2.
    precision = evidence.weight / (1.0 / evidence.variance - own)
    gain = precision * evidence.residual / evidence.variance
    inverse = np.linalg.inv(prior)
    first = np.searchsorted(evidence.account, asked)
    count = np.searchsorted(evidence.account, asked, side="right") - first
    for start in range(0, len(asked), _BLOCK):
        here = slice(start, min(start + _BLOCK, len(asked)))
        n = count[here]
        who = np.repeat(np.arange(len(n)), n)
        rows = np.repeat(first[here] - (np.cumsum(n) - n), n) + np.arange(n.sum())
        F = features[rows]
        P = np.broadcast_to(inverse, (len(n), *inverse.shape)).copy()
        right = np.zeros((len(n), F.shape[1]))
        np.add.at(right, who, gain[rows, None] * F)
        np.add.at(P, who, (precision[rows, None] * F)[:, :, None] * F[:, None, :])
        covariance = np.linalg.inv(P)
        yield here, np.einsum("bqr,br->bq", covariance, right), covariance


def bounded(usual: Float, shift: Float) -> Float:
    """Usual chance plus the account's deviation, kept inside (0, 1)."""
    low = _EDGE * usual
    return np.clip(usual + shift, low, 1.0 - _EDGE * (1.0 - usual))


def interval(mean: Float, variance: Float) -> tuple[Float, Float]:
    """Bounds of 90 % of a beta distribution with this mean and variance.

    Parameters
    ----------
    mean, variance : arrays of one shape
        0 < mean < 1.

    Examples
    --------
    >>> low, high = interval(np.array([0.5]), np.array([1 / 12]))  # uniform
    >>> np.round(low, 2), np.round(high, 2)
    (array([0.05]), array([0.95]))
    """
    count = np.clip(mean * (1.0 - mean) / np.maximum(variance, 1e-12) - 1.0, 0.5, 1e9)
    a, b = mean * count, (1.0 - mean) * count
    tail = (1.0 - COVERAGE) / 2.0
    return betaincinv(a, b, tail), betaincinv(a, b, 1.0 - tail)
