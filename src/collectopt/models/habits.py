"""How late each account usually pays, and how often something holds a claim up.

Most claims of an account come in when its claims usually do. Some are held up, by a question, a
missing order number, a dispute that nobody wrote down, and come in days later; a few are stuck. A
mean of past lateness mixes that up: an account that pays on the dot but has every fourth claim held
up looks like one that is always a little late. Here the lateness of a claim is a mixture of the
three, whose centre and whose chance of a hold-up belong to the account (a finite mixture with
random effects; McLachlan and Peel 2000, *Finite Mixture Models*). Nobody needs to have recorded
which claim was held up: the days tell.

The parameters have the largest likelihood of all claims known at the cut, the open ones censored,
with the effects of the accounts summed out on a grid; its gradient is the posterior mean of that of
the complete data (Louis 1982, *Finding the observed information matrix*). What an account is like
follows by Bayes, see :mod:`collectopt.models.account_habits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_ndtr

from collectopt.models.boosting import expit

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Days past due between which lateness counts; later is "not paid by then".
EARLIEST, LATEST = -90.0, 365.0
_POINTS, _MOST_POINTS, _CHANCES = 41, 161, 7  # of the grid: centres, chances of a hold-up
_REACH, _REACH_CHANCES = 3.2, 2.5  # standard deviations
_STEP = 1 / 3  # of the noise: the widest step between two centres, where points suffice
_ROUNDS, _FIRST_ROUNDS = 150, 15
_TINY = 1e-280  # likelihood of what cannot be


class Parameters(NamedTuple):
    """Parameters of the mixture.

    Attributes
    ----------
    level, between, noise : float
        Days past due of an average claim of an average account, and standard deviations between
        accounts and within one.
    delay, held_noise : float
        Days that a hold-up adds, and the standard deviation of held-up claims within an account.
    odds, odds_between : float
        Log odds of a hold-up, and their standard deviation between accounts.
    stuck, stuck_days : float
        Log odds that a claim is stuck, and the mean days past due of those that are.
    slopes, odds_slopes : (k,) float64
        What the columns of a claim add to its centre and to the log odds of a hold-up.
    """

    level: float
    between: float
    noise: float
    delay: float
    held_noise: float
    odds: float
    odds_between: float
    stuck: float
    stuck_days: float
    slopes: Float
    odds_slopes: Float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        slopes = {name: getattr(self, name).tolist() for name in ("slopes", "odds_slopes")}
        return {**self._asdict(), **slopes}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave."""
        slopes = {n: np.array(content[n], dtype=np.float64) for n in ("slopes", "odds_slopes")}
        return cls(**{**content, **slopes})

    def claims(self, Z: Float, effects: Effects) -> tuple[Float, Float]:
        """Give centres (n, a) and chances of a hold-up (n, u) of claims on the grid."""
        # Row by row alike, whatever the number of rows is: a matrix product may not be.
        centre = self.level + (Z * self.slopes).sum(axis=1)
        odds = self.odds + (Z * self.odds_slopes).sum(axis=1)
        return (
            centre[:, None] + self.between * effects.a,
            expit(odds[:, None] + self.odds_between * effects.u),
        )


_SINGLE = Parameters._fields[:-2]
#: Within these the search stays. Claims are paid on whole days: half a day of noise is the least.
_BOUNDS = {
    "level": (EARLIEST, LATEST),
    "between": (0.05, LATEST),
    "noise": (0.5, LATEST),
    "delay": (0.05, LATEST),
    "held_noise": (0.5, LATEST),
    "odds": (-8.0, 8.0),
    "odds_between": (0.05, 8.0),
    "stuck": (-12.0, 4.0),
    "stuck_days": (1.0, 3650.0),
}
#: Parameters that are above 0: searched as logarithms.
_POSITIVE = frozenset(name for name, (low, _) in _BOUNDS.items() if low > 0.0)
#: Weak priors, normal: mean and standard deviation, of logarithms where the parameter is positive.
_PRIOR = {"odds": (-2.0, 1.5), "stuck": (-4.0, 1.5), "stuck_days": (np.log(90.0), 1.0)}
#: Half normal prior of the spread of hold-ups between accounts; normal ones of the slopes.
_SPREAD, _STEEP, _STEEP_ODDS = 1.5, 10.0, 1.0


class Claims(NamedTuple):
    """Claims that are learnt from.

    Attributes
    ----------
    Z : (n, k) float64
        Standardised columns.
    late : (n,) float64
        Days past due on which each was paid, or until which it was seen open.
    paid : (n,) bool
    group : (n,) int64
        Account: 0, 1, ..., rising, none left out.
    """

    Z: Float
    late: Float
    paid: Bool
    group: Int


class Effects(NamedTuple):
    """Points of the two effects of an account, in standard deviations, and their log masses."""

    a: Float
    u: Float
    mass: Float  # (a, u)

    @classmethod
    def lay(cls, points: int = _POINTS) -> Self:
        """Lay the points out."""
        a = np.linspace(-_REACH, _REACH, points)
        u = np.linspace(-_REACH_CHANCES, _REACH_CHANCES, _CHANCES)
        mass = -0.5 * (a[:, None] ** 2 + u**2)
        return cls(a, u, mass - np.logaddexp.reduce(mass, axis=None))

    @classmethod
    def fine(cls, p: Parameters) -> Self:
        """Lay the points so densely that accounts with little noise are told apart."""
        points = int(2.0 * _REACH * p.between / (_STEP * p.noise)) + 1
        return cls.lay(int(np.clip(points, _POINTS, _MOST_POINTS)))


def estimate(claims: Claims) -> Parameters:
    """Find the parameters with the largest penalised likelihood."""
    effects = Effects.lay()
    # A group of accounts that always pay very late may pass for stuck claims, or for what it is.
    found = min(
        (_search(start, claims, effects, _FIRST_ROUNDS) for start in _starts(claims)),
        key=lambda p: _loss(p, claims, effects)[0],
    )
    found = _search(found, claims, effects, _ROUNDS)
    while len(Effects.fine(found).a) > len(effects.a):
        effects = Effects.fine(found)
        found = _search(found, claims, effects, _ROUNDS)
    return found


def _search(start: Parameters, claims: Claims, effects: Effects, rounds: int) -> Parameters:
    bounds = [np.log(_BOUNDS[n]) if n in _POSITIVE else _BOUNDS[n] for n in _SINGLE]
    bounds += [(-np.inf, np.inf)] * (2 * claims.Z.shape[1])
    best = minimize(
        lambda flat: _loss(_unpack(flat), claims, effects),
        _pack(start),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": rounds},
    )
    return _unpack(np.asarray(best.x, dtype=np.float64))


def _starts(claims: Claims) -> list[Parameters]:
    """Accounts differ as claims do, or as their own medians do."""
    late, group = claims.late[claims.paid], claims.group[claims.paid]
    low, middle, high = (float(q) for q in np.quantile(late, [0.25, 0.5, 0.75]))
    wide, none = max(high - low, 1.0), np.zeros(claims.Z.shape[1])
    cuts = np.flatnonzero(np.diff(group)) + 1
    medians = [np.median(own) for own in np.split(late, cuts)]
    return [
        Parameters(
            level=middle,
            between=between,
            noise=0.5 * wide,
            delay=wide,
            held_noise=0.7 * wide,
            odds=-1.5,
            odds_between=1.0,
            stuck=-4.0,
            stuck_days=90.0,
            slopes=none,
            odds_slopes=none,
        )
        for between in (0.7 * wide, max(float(np.std(medians)), 1.0))
    ]


def _pack(p: Parameters) -> Float:
    single = [np.log(getattr(p, n)) if n in _POSITIVE else getattr(p, n) for n in _SINGLE]
    return np.concatenate([single, p.slopes, p.odds_slopes])


def _unpack(flat: Float) -> Parameters:
    values = dict(zip(_SINGLE, flat, strict=False))
    single = {n: float(np.exp(v) if n in _POSITIVE else v) for n, v in values.items()}
    slopes, odds_slopes = np.split(flat[len(_SINGLE) :], 2)
    return Parameters(**single, slopes=slopes, odds_slopes=odds_slopes)


class Likelihoods(NamedTuple):
    """Likelihoods of n claims by what an account is like."""

    usual: Float  # (n, a): if nothing holds them up
    held: Float  # (n, a)
    chance: Float  # (n, u): of a hold-up, if not stuck
    stuck: Float  # (n,)
    share: float  # of stuck claims
    whole: Float  # (n, a, u)


def _scores(late: Float, centre: Float, noise: float) -> Float:
    return np.asarray((late[:, None] - centre) / noise)


def _log_normal(z: Float, paid: Bool, noise: float) -> Float:
    """Log density of a day where paid, log chance of a later one where not."""
    out = np.empty(z.shape)
    out[paid] = -0.5 * z[paid] ** 2 - np.log(noise * np.sqrt(2.0 * np.pi))
    out[~paid] = log_ndtr(-z[~paid])
    return out


def _log_stuck(late: Float, paid: Bool, days: float) -> Float:
    over = np.maximum(late, 0.0)
    return np.where(paid, np.where(late < 0.0, -np.inf, -over / days - np.log(days)), -over / days)


def likelihoods(p: Parameters, claims: Claims, effects: Effects) -> Likelihoods:
    """Work out the likelihoods of claims for all points of the grid."""
    centre, chance = p.claims(claims.Z, effects)
    usual, held = (
        np.exp(_log_normal(_scores(claims.late, c, noise), claims.paid, noise))
        for c, noise in ((centre, p.noise), (centre + p.delay, p.held_noise))
    )
    stuck = np.exp(_log_stuck(claims.late, claims.paid, p.stuck_days))
    share = float(expit(np.array(p.stuck)))
    mixed = usual[:, :, None] * (1.0 - chance)[:, None] + held[:, :, None] * chance[:, None]
    whole = (1.0 - share) * mixed + share * stuck[:, None, None] + _TINY
    return Likelihoods(usual, held, chance, stuck, share, whole)


class Weights(NamedTuple):
    """How likely each claim is of each kind and point of the grid, once all are seen."""

    usual: Float  # (n, a)
    held: Float  # (n, a)
    stuck: Float  # (n,)
    by_odds: Float  # (n, u): slopes by the log odds of a hold-up


def _weigh(found: Likelihoods, group: Int, effects: Effects) -> tuple[float, Weights]:
    """Log likelihood of the accounts' claims, and what each claim is held to be."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    total = effects.mass + np.add.reduceat(np.log(found.whole), first, axis=0)
    peak = total.max(axis=(1, 2), keepdims=True)
    mass = np.exp(total - peak)
    sums = mass.sum(axis=(1, 2), keepdims=True)
    per, kept, chance = (mass / sums)[group] / found.whole, 1.0 - found.share, found.chance
    odd = np.einsum("nau,na->nu", per, found.held - found.usual)
    return float((peak + np.log(sums)).sum()), Weights(
        usual=kept * found.usual * np.einsum("nau,nu->na", per, 1.0 - chance),
        held=kept * found.held * np.einsum("nau,nu->na", per, chance),
        stuck=found.share * found.stuck * per.sum(axis=(1, 2)),
        by_odds=kept * chance * (1.0 - chance) * odd,
    )


def _loss(p: Parameters, claims: Claims, effects: Effects) -> tuple[float, Float]:
    """Penalised negative log likelihood, and its slopes by :func:`_pack`'s numbers."""
    found = likelihoods(p, claims, effects)
    likelihood, w = _weigh(found, claims.group, effects)
    centre, _ = p.claims(claims.Z, effects)
    by_usual, usual_wide = _steep(claims, centre, p.noise, found.usual)
    by_held, held_wide = _steep(claims, centre + p.delay, p.held_noise, found.held)
    by_centre = w.usual * by_usual + w.held * by_held
    waits = np.maximum(claims.late, 0.0) / p.stuck_days
    slopes = {
        "level": by_centre.sum(),
        "between": (by_centre * effects.a).sum() * p.between,
        "noise": (w.usual * usual_wide).sum(),
        "delay": (w.held * by_held).sum() * p.delay,
        "held_noise": (w.held * held_wide).sum(),
        "odds": w.by_odds.sum(),
        "odds_between": (w.by_odds * effects.u).sum() * p.odds_between,
        "stuck": (w.stuck - found.share).sum(),
        "stuck_days": (w.stuck * (waits - claims.paid)).sum(),
    }
    rising = [slopes[name] for name in _SINGLE]
    rising += [*(claims.Z.T @ by_centre.sum(axis=1)), *(claims.Z.T @ w.by_odds.sum(axis=1))]
    penalty, pull = _penalty(p)
    return penalty - likelihood, pull - np.array(rising)


def _steep(claims: Claims, centre: Float, noise: float, value: Float) -> tuple[Float, Float]:
    """Slopes of a log likelihood by the centre, and by the log of the noise."""
    z, paid = _scores(claims.late, centre, noise), claims.paid[:, None]
    rate = np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) / np.maximum(value, _TINY)
    return np.where(paid, z, rate) / noise, np.where(paid, z**2 - 1.0, rate * z)


def _penalty(p: Parameters) -> tuple[float, Float]:
    flat, k = _pack(p), len(p.slopes)
    single = np.array([_PRIOR.get(name, (0.0, np.inf)) for name in _SINGLE])
    mean = np.r_[single[:, 0], np.zeros(2 * k)]
    wide = np.r_[single[:, 1], np.full(k, _STEEP), np.full(k, _STEEP_ODDS)]
    off, spread = (flat - mean) / wide, p.odds_between / _SPREAD
    pull = off / wide
    pull[_SINGLE.index("odds_between")] += spread**2
    return 0.5 * (float(off @ off) + spread**2), pull
