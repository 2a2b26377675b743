"""Straight lines of our models for one row: the numbers of `QuickPayment.straight` and the like.

For one row it is calls that cost, so whatever does not depend on the row is laid out once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from collectopt.models.contrasts import _CLIP, Mains
from collectopt.models.one_row import QuickEffects, QuickPayment
from collectopt.models.slopes import STAGES, Slopes
from collectopt.models.tilt import Tilt

Float = npt.NDArray[np.float64]
Row = npt.NDArray[np.float32]


class PaymentLines:
    """Lines of a payment model.

    Parameters
    ----------
    payment : QuickPayment
    """

    def __init__(self, payment: QuickPayment) -> None:
        self.members = [None if m.slopes is None else _Pieces(m.slopes) for m in payment.members]

    def of(self, x: Row) -> Float:
        """Log odds that lines add at each stage, (members, stages); x is (d,) float32."""
        found = np.zeros((len(self.members), len(STAGES) + 2))
        for row, pieces in zip(found, self.members, strict=True):
            if pieces is not None:
                row[:] = pieces.odds(x)
        return found


class _Pieces:
    def __init__(self, slopes: Slopes) -> None:
        self.slopes, pieces = slopes, slopes.pieces
        self.step, self.gone = (
            np.flatnonzero(test(pieces.code)) for test in (np.isfinite, np.isinf)
        )
        self.code, self.of_step = pieces.code[self.step], pieces.column[self.step]

    def odds(self, x: Row) -> Float:
        slopes, pieces = self.slopes, self.slopes.pieces
        known = x.astype(np.float64)
        value = known[pieces.column]
        missing = np.isnan(value)
        if missing.any():
            np.copyto(value, pieces.usual, where=missing)
        np.maximum(value, pieces.low, out=value)
        np.minimum(value, pieces.high, out=value)
        value[self.step] = known[self.of_step] == self.code
        value[self.gone] = missing[self.gone]
        value -= pieces.mean
        value /= pieces.scale
        return np.asarray((slopes.coef * value).sum(axis=1) + slopes.level)


class EffectLines:
    """Lines of a model of effects.

    Parameters
    ----------
    effects : QuickEffects
    """

    def __init__(self, effects: QuickEffects) -> None:
        self.fixed, level = effects.fixed, effects.level
        tilt = effects.model._tilt  # noqa: SLF001 - the same model, laid out again
        if not self.fixed:
            self.columns, self.beta = _Columns(level.mains), level.beta
            self.tilt = None if tilt is None else _Tilted(tilt)

    def of(self, x: Row) -> tuple[float, float]:
        """Give the level, and the effect of a contact; x is (d,) float32."""
        if self.fixed:
            return 0.0, 0.0
        z = self.columns.of(x)
        beta = self.beta
        own = float((z @ beta[:-1] + beta[-1])[0, 0])
        return own, 0.0 if self.tilt is None else self.tilt.of(z)


class _Columns:
    """Row of `Mains.apply`, (1, d + g)."""

    def __init__(self, mains: Mains) -> None:
        self.mains, self.logs = mains, np.flatnonzero(mains.logs)
        self.width = len(mains.mean)

    def of(self, x: Row) -> Float:
        mains, width = self.mains, self.width
        row = np.empty((1, width + len(mains.gaps)))
        z = row[0, :width]
        z[:] = x
        if len(self.logs):
            z[self.logs] = np.log1p(np.maximum(z[self.logs], 0.0))
        row[0, width:] = np.isnan(x[mains.gaps])
        z -= mains.mean
        z /= mains.scale
        np.maximum(z, -_CLIP, out=z)
        np.minimum(z, _CLIP, out=z)
        missing = np.isnan(z)
        if missing.any():
            z[missing] = 0.0
        return row


class _Tilted:
    """`Tilt` of one row."""

    def __init__(self, tilt: Tilt) -> None:
        self.tilt, self.plain = tilt, len(tilt.mains.mean) + len(tilt.mains.gaps)
        self.coef = tilt.coef[: self.plain]
        at = np.flatnonzero(tilt.coef[self.plain :])
        self.product = tilt.coef[self.plain + at]
        self.left, self.right = np.ascontiguousarray(tilt.mains.pairs[at].T)
        self.terms = np.empty(1 + len(at))
        self.centre = float(tilt.centre @ tilt.coef)

    def of(self, z: Float) -> float:
        row, terms = z[0], self.terms
        terms[0] = (z @ self.coef)[0]
        np.multiply(self.product * row[self.left], row[self.right], out=terms[1:])
        total = np.add.accumulate(terms)[-1].item()  # one after the other, as for many rows
        lines: float = total - self.centre
        tilt = self.tilt
        if tilt.trees is None:
            return lines
        return float((1.0 - tilt.share) * lines + (tilt.share * tilt.trees(z))[0])
