"""Rates of rare events by channel, tone and fatigue, shrunk to what was assumed.

Three contacts by phone without a complaint do not mean that calls draw none. The log of the rate is
normal around the assumed one: a level, one deviation a channel and one a tone, and a power of the
fatigue. Posterior mode by Newton's method with the normal approximation around it; the mean of a
rate is then that of a lognormal. (Gelman et al., Bayesian Data Analysis, 3rd ed., sections 4.1 and
16.4: hierarchical Poisson regression.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.models.harm_prior import tiring

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Prior standard deviations of the log rate: one book against the next, a channel or a tone against
#: the others, the power of fatigue. The level is within a factor of 2.7 of the assumed in two cases
#: of three.
LEVEL, FACTOR, POWER = 1.0, 0.7, 0.5
_STEPS, _CLOSE, _LIMIT = 100, 1e-9, 30.0


@dataclass(frozen=True)
class Shape:
    """How many channels and tones there are, and which factors count beside the level."""

    channels: int
    tones: int

    @property
    def size(self) -> int:
        """Number of coefficients: level, channels, tones, power of fatigue."""
        return 2 + self.channels + self.tones

    @property
    def variance(self) -> Float:
        """Prior variances, (size,)."""
        sds = [LEVEL, *[FACTOR] * (self.channels + self.tones), POWER]
        return np.square(np.array(sds))

    def design(self, channel: Int, tone: Int, contacts: Float) -> Float:
        """Rows of factors, (m, size); code -1 = a name that was never seen."""
        X = np.zeros((len(channel), self.size))
        X[:, 0] = 1.0
        rows = np.arange(len(channel))
        for code, start in ((channel, 1), (tone, 1 + self.channels)):
            known = code >= 0
            X[rows[known], start + code[known]] = 1.0
        X[:, -1] = np.log(tiring(contacts))
        return X


@dataclass(frozen=True, eq=False)
class RareRate:
    """Posterior of the rates of one rare event.

    Attributes
    ----------
    shape : Shape
    mean : (p,) float64
        Coefficients of the log of rate / assumed rate: level, channels, tones, power of fatigue.
    covariance : (p, p) float64

    Examples
    --------
    Three contacts, no complaint: the rate stays near the assumed one.

    >>> code, one = np.zeros(1, dtype=np.int64), np.ones(1)
    >>> rate = RareRate.fit(
    ...     Shape(1, 1), code, code, 0 * one, contacts=3 * one, events=0 * one, assumed=0.001 * one
    ... )
    >>> float(rate.rate(code, code, 0 * one, 0.001 * one)[0].round(4))
    0.001
    """

    shape: Shape
    mean: Float
    covariance: Float

    @classmethod
    def fit(
        cls,
        shape: Shape,
        channel: Int,
        tone: Int,
        recent: Float,
        *,
        contacts: Float,
        events: Float,
        assumed: Float,
    ) -> RareRate:
        """Learn from cells of contacts.

        Parameters
        ----------
        shape : Shape
        channel, tone : (m,) int64
            Codes, -1 = other.
        recent : (m,) float64
            Contacts of the 28 days before.
        contacts, events : (m,) float64
            Contacts in the cell, and those that drew the event.
        assumed : (m,) float64
            Rate assumed for the cell.
        """
        X = shape.design(channel, tone, recent)
        variance = shape.variance
        exposure = contacts * assumed * np.exp(-0.5 * np.square(X) @ variance)
        precision = np.diag(1.0 / variance)

        def loss(beta: Float) -> float:
            eta = X @ beta
            return float(
                exposure @ np.exp(np.minimum(eta, _LIMIT))
                - events @ eta
                + 0.5 * beta @ precision @ beta
            )

        beta = np.zeros(shape.size)
        for _ in range(_STEPS):
            expected = exposure * np.exp(np.minimum(X @ beta, _LIMIT))
            gradient = X.T @ (events - expected) - precision @ beta
            curvature = (X * expected[:, None]).T @ X + precision
            step, here = np.linalg.solve(curvature, gradient), loss(beta)
            while loss(beta + step) > here + _CLOSE and np.abs(step).max() > _CLOSE:
                step = step / 2.0
            beta = beta + step
            if np.abs(step).max() <= _CLOSE:
                break
        expected = exposure * np.exp(X @ beta)
        covariance = np.linalg.inv((X * expected[:, None]).T @ X + precision)
        return cls(shape, beta, np.asarray(covariance, dtype=np.float64))

    def log_rate(
        self, channel: Int, tone: Int, recent: Float, assumed: Float
    ) -> tuple[Float, Float]:
        """Mean and standard deviation of the log of rates, (m,) each.

        The prior mean of a rate, not of its log, is the assumed one.
        """
        X = self.shape.design(channel, tone, recent)
        centre = np.log(assumed) - 0.5 * np.square(X) @ self.shape.variance
        spread = np.sqrt(np.einsum("ij,jk,ik->i", X, self.covariance, X))
        return centre + X @ self.mean, spread

    def rate(self, channel: Int, tone: Int, recent: Float, assumed: Float) -> Float:
        """Posterior mean of rates, (m,)."""
        mean, spread = self.log_rate(channel, tone, recent, assumed)
        return np.minimum(np.exp(mean + 0.5 * np.square(spread)), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "channels": self.shape.channels,
            "tones": self.shape.tones,
            "mean": self.mean.tolist(),
            "covariance": self.covariance.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RareRate:
        """Read what `to_dict` wrote."""
        return cls(
            Shape(data["channels"], data["tones"]),
            np.array(data["mean"]),
            np.array(data["covariance"]),
        )
