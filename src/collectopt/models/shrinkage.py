"""Empirical Bayes for a handful of effects, with errors clustered by account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from collectopt.models.priors import USUAL_SHARE

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Prior standard deviations to choose from, in standard deviations of the outcome.
_GRID = np.r_[0.0, 0.002 * 2.0 ** np.arange(0, 9, 0.5)]
_COMMON = 0.03 * 2.0 ** np.arange(0, 5, 0.5)  # of the effect of the average contact: never 0
_SWEEPS = 4
_TRUST = 10.0  # factors' worth of evidence that this counts for


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Posterior of effects: mean ``theta`` (p,) and ``covariance`` (p, p)."""

    theta: Float
    covariance: Float

    @property
    def stderr(self) -> Float:
        """Standard errors, (p,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


def shrink(r: Float, s: Float, weight: Float, cluster: Int, family: Sequence[str]) -> Shrunk:
    """Regress ``r`` on ``s`` with a normal prior whose width is learnt for each family.

    The score ``b = s' W r`` is normal around ``G theta``, G = s' W s, with the covariance V of the
    scores summed by cluster. With ``theta ~ N(0, D)`` its marginal is N(0, V + G D G); the widths
    in D maximise it, 0 being among the choices, one family after the other. Where there is a factor
    "contact", the width of each of the other families is drawn to the usual share of its effect, by
    a scaled inverse chi-squared prior; few factors say little of their own width.

    Parameters
    ----------
    r : (n,) float64
        Residual outcome.
    s : (n, p) float64
        Residual factors.
    weight : (n,) float64
    cluster : (n,) int64
        Rows of one cluster are not independent.
    family : sequence of str, length p
        Factors that share a width.

    Returns
    -------
    Shrunk
    """
    p = s.shape[1]
    if p == 0:
        return Shrunk(np.zeros(0), np.zeros((0, 0)))
    G = s.T @ (weight[:, None] * s)
    b = s.T @ (weight * r)
    first = np.linalg.lstsq(G + 1e-9 * np.trace(G) / p * np.eye(p), b, rcond=None)[0]
    V = _score_covariance(r - s @ first, s, weight, cluster)
    sd = float(np.sqrt(np.average(r**2, weights=weight)))
    names = list(dict.fromkeys(family))
    member = np.array([[f == name for f in family] for name in names])
    width = np.full(len(names), _GRID[9] * sd)
    common = names.index("contact") if "contact" in names else None
    for _ in range(_SWEEPS):
        usual = 0.0
        if common is not None:
            theta = _posterior(b, G, V, width @ member).theta
            usual = abs(float(theta[family.index("contact")]))
        for k, name in enumerate(names):
            tries = []
            for tau in (_COMMON if k == common else _GRID) * sd:
                width[k] = tau
                prior = _log_prior(tau, USUAL_SHARE.get(name, 0.0) * usual)
                tries.append(_evidence(b, G, V, width @ member) + prior)
            width[k] = (_COMMON if k == common else _GRID)[int(np.argmax(tries))] * sd
    return _posterior(b, G, V, width @ member)


def _log_prior(tau: float, usual: float) -> float:
    """Log density of the logarithm of a width of which ``usual`` is expected; 0 = nothing is."""
    if usual <= 0.0:
        return 0.0
    if tau <= 0.0:
        return -np.inf
    return -_TRUST * (np.log(tau) + 0.5 * (usual / tau) ** 2)


def _score_covariance(residual: Float, s: Float, weight: Float, cluster: Int) -> Float:
    order = np.argsort(cluster, kind="stable")
    score = (weight * residual)[order, None] * s[order]
    starts = np.flatnonzero(np.r_[True, np.diff(cluster[order]) != 0])
    total = np.add.reduceat(score, starts, axis=0)
    V = total.T @ total
    size = max(float(np.trace(V)) / len(V), 1e-300)
    return np.asarray(V + 1e-9 * size * np.eye(len(V)), dtype=np.float64)


def _evidence(b: Float, G: Float, V: Float, tau: Float) -> float:
    M = V + G @ (tau[:, None] ** 2 * G)
    _, logdet = np.linalg.slogdet(M)
    return float(-0.5 * (logdet + b @ np.linalg.solve(M, b)))


def _posterior(b: Float, G: Float, V: Float, tau: Float) -> Shrunk:
    D = np.diag(tau**2)
    gain = np.linalg.solve(V + G @ D @ G, G @ D).T
    covariance = D - gain @ G @ D
    return Shrunk(gain @ b, covariance)


def shrink_to(  # noqa: PLR0917
    r: Float, s: Float, weight: Float, cluster: Int, tau: Float, scales: Sequence[float]
) -> tuple[Shrunk, float]:
    """Regress as :func:`shrink` does, with prior widths that are known up to one factor.

    The factor is averaged over by its evidence, all being as likely before.

    Parameters
    ----------
    r, s, weight, cluster
        As there.
    tau : (p,) float64
        Prior standard deviations.
    scales : sequence of float
        Factors to average over.

    Returns
    -------
    Shrunk, float
        The posterior, and the factor (root of the mean square).
    """
    G = s.T @ (weight[:, None] * s)
    b = s.T @ (weight * r)
    if not np.trace(G) > 0.0:
        return Shrunk(np.zeros(len(b)), np.diag(tau**2)), 1.0
    first = np.linalg.lstsq(G + 1e-9 * np.trace(G) / len(b) * np.eye(len(b)), b, rcond=None)[0]
    V = _score_covariance(r - s @ first, s, weight, cluster)
    worth = np.array([_evidence(b, G, V, k * tau) for k in scales])
    share = np.exp(worth - worth.max())
    share /= share.sum()
    parts = [_posterior(b, G, V, k * tau) for k in scales]
    theta = np.asarray(share @ np.array([part.theta for part in parts]), dtype=np.float64)
    covariance = np.zeros_like(G)
    for weight_, part in zip(share, parts, strict=True):
        off = part.theta - theta
        covariance += weight_ * (part.covariance + np.outer(off, off))
    return Shrunk(theta, covariance), float(np.sqrt(share @ np.square(scales)))
