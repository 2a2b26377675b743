"""The harm of a contact: complaints, opt-outs and customers lost, by action and fatigue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.dropout import DropOut, fit_drop_out
from collectopt.models.harm_log import MOST, count_cells, read_contacts, read_weeks
from collectopt.models.harm_prior import COMPLAINT, LEAVE, OPT_OUT, firmer, tiring
from collectopt.models.rare import RareRate, Shape
from collectopt.schema.actions import ActionSet
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Prior standard deviations of the chance to leave, in assumed chances: of all tones together, and
#: of each. A contact costs up to twice the assumed in most books, and one that keeps customers is
#: not ruled out.
COMMON, OWN = 0.9, 0.5
#: The learnt chance to leave is used once its standard error is below TOLD of the prior's, or it
#: lies CLEAR standard deviations of such shifts away from the assumed one. Before that it is mostly
#: noise, and what hides leaving (a minimum term, a notice) pulls it down: in two simulated books of
#: 3,000 and 4,000 accounts the policy earned less with it than with the assumed chance.
TOLD, CLEAR = 0.5, 2.0
_TONES = ("friendly", "neutral", "firm")
_QUANTILE = 1.6448536269514722  # of 90 % intervals


@dataclass(frozen=True, eq=False)
class Harm:
    """What one contact is expected to do to the relation.

    Attributes
    ----------
    channels, tones : tuple of str
        Names that were learnt about; tones from mild to firm.
    complaint, opt_out : RareRate
        Posterior of the rates, by channel, tone and recent contacts.
    leave, leave_stderr : (tones,) float64
        Chance that a contact to a rested customer makes them leave; below 0 where it keeps them.
    leavers : float
        Expected number of accounts that ended, with or without a contact.
    cells : (m, 6) int64
        Logged contacts whose reaction is over: channel, tone, recent contacts (codes, -1 = other),
        contacts, complaints, opt-outs.
    """

    channels: tuple[str, ...]
    tones: tuple[str, ...]
    complaint: RareRate
    opt_out: RareRate
    leave: Float
    leave_stderr: Float
    leavers: float
    cells: Int

    @property
    def contacts(self) -> int:
        """Contacts learnt from."""
        return int(self.cells[:, 3].sum())

    @property
    def told(self) -> npt.NDArray[np.bool_]:
        """Whether the log says more of leaving than was assumed, by tone; (tones,)."""
        prior = LEAVE * firmer(np.arange(len(self.tones)))
        spread = np.hypot(COMMON, OWN) * prior
        shift = np.sqrt(np.maximum(spread**2 - self.leave_stderr**2, 1e-6 * spread**2))
        clear = np.abs(self.leave - prior) > CLEAR * shift
        return (self.leave_stderr < TOLD * spread) | clear

    def complains(self, actions: ActionSet, contacts: npt.ArrayLike) -> Float:
        """Chance that each action draws a complaint.

        Parameters
        ----------
        actions : ActionSet
            K actions.
        contacts : array-like (n,)
            Contacts of the last 28 days; beyond 12 they count as 12.

        Returns
        -------
        (n, K) float64
            0 for what is no contact.
        """
        assumed = COMPLAINT * firmer(actions.tone)
        return self._rare(self.complaint, assumed, actions, contacts)

    def opts_out(self, actions: ActionSet, contacts: npt.ArrayLike) -> Float:
        """Chance that each action makes the customer ban its channel, as `complains`."""
        return self._rare(self.opt_out, np.full(len(actions), OPT_OUT), actions, contacts)

    def leaves(self, actions: ActionSet, contacts: npt.ArrayLike) -> Float:
        """Chance that each action makes the customer leave, below 0 where it keeps one.

        As `complains`; by tone alone. A tone that was not learnt about, or of which the log tells
        too little (see `told`), has the assumed chance.
        """
        rank = actions.tone
        code = _match(rank, actions.tones, self.tones)
        code = np.where(rank < 0, 0, code)
        one = np.where((code >= 0) & self.told[code], self.leave[code], LEAVE * firmer(rank))
        return _by_fatigue(lambda n: np.minimum(one * tiring(n), 1.0), actions.is_contact, contacts)

    def table(self) -> pd.DataFrame:
        """Tell the rates of a contact by channel and tone, as such contacts were sent so far.

        Returns
        -------
        DataFrame
            event (complaint, opt-out, leaves), channel (None: all), tone, contacts, events (nan:
            hidden), rate, low, high (90 %), assumed, used (false: the assumed rate is). Customers
            lost: of a rested customer.
        """
        rows = [
            *self._told("complaint", self.complaint, 4),
            *self._told("opt-out", self.opt_out, 5),
        ]
        for tone, name in enumerate(self.tones):
            middle, error = float(self.leave[tone]), float(self.leave_stderr[tone])
            rows.append(
                {
                    "event": "leaves",
                    "channel": None,
                    "tone": name,
                    "contacts": int(self.cells[self.cells[:, 1] == tone, 3].sum()),
                    "events": np.nan,
                    "rate": middle,
                    "low": middle - _QUANTILE * error,
                    "high": middle + _QUANTILE * error,
                    "assumed": float(LEAVE * firmer(tone)),
                    "used": bool(self.told[tone]),
                }
            )
        return pd.DataFrame(rows)

    def _told(self, event: str, rate: RareRate, column: int) -> Iterator[dict[str, Any]]:
        base, by_tone = (COMPLAINT, True) if event == "complaint" else (OPT_OUT, False)
        for channel, tone in np.unique(self.cells[:, :2], axis=0).tolist():
            cells = self.cells[(self.cells[:, :2] == (channel, tone)).all(axis=1)]
            codes, recent = cells[:, :2].T, cells[:, 2].astype(np.float64)
            assumed = base * (firmer(tone) if by_tone else 1.0) * tiring(recent)
            share = cells[:, 3] / cells[:, 3].sum()
            mean, spread = rate.log_rate(codes[0], codes[1], recent, assumed)
            log, sd = float(share @ mean), float(share @ spread)
            yield {
                "event": event,
                "channel": self.channels[channel],
                "tone": self.tones[tone] if tone >= 0 else None,
                "contacts": int(cells[:, 3].sum()),
                "events": float(cells[:, column].sum()),
                "rate": float(share @ np.exp(mean + np.square(spread) / 2.0)),
                "low": float(np.exp(log - _QUANTILE * sd)),
                "high": float(np.exp(log + _QUANTILE * sd)),
                "assumed": float(share @ assumed),
                "used": True,
            }

    def _rare(
        self, rate: RareRate, assumed: Float, actions: ActionSet, contacts: npt.ArrayLike
    ) -> Float:
        tone = _match(actions.tone, actions.tones, self.tones)
        channel = _match(actions.channel, actions.channels, self.channels)

        def at(n: int) -> Float:
            recent = np.full(len(actions), float(n))
            return rate.rate(channel, tone, recent, assumed * tiring(n))

        return _by_fatigue(at, actions.is_contact, contacts)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "channels": list(self.channels),
            "tones": list(self.tones),
            "complaint": self.complaint.to_dict(),
            "opt_out": self.opt_out.to_dict(),
            "leave": self.leave.tolist(),
            "leave_stderr": self.leave_stderr.tolist(),
            "leavers": self.leavers,
            "cells": self.cells.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Harm:
        """Read what `to_dict` wrote."""
        return cls(
            channels=tuple(data["channels"]),
            tones=tuple(data["tones"]),
            complaint=RareRate.from_dict(data["complaint"]),
            opt_out=RareRate.from_dict(data["opt_out"]),
            leave=np.array(data["leave"]),
            leave_stderr=np.array(data["leave_stderr"]),
            leavers=data["leavers"],
            cells=np.array(data["cells"], dtype=np.int64).reshape(-1, 6),
        )


class HarmModel:
    """Learn the harm of contacts from a ledger, shrunk to what was assumed.

    Complaints and opt-outs by the contact that they name, within four weeks of it; contacts younger
    than that are not counted yet. Customers lost by their invoices that end
    (:mod:`collectopt.models.dropout`); unless the log tells clearly of that, the assumed
    chance stands. A minimum term hides whoever leaves within it.

    Parameters
    ----------
    tones : sequence of str
        Names from mild to firm.

    Attributes
    ----------
    harm_ : Harm or None
        None: no contact whose reaction is over.

    Examples
    --------
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=300, seed=1, weeks=30)
    >>> harm = HarmModel().fit(book.ledger(), book.as_of).harm_
    >>> harm.complains(book.catalogue.actions, [0, 3]).shape
    (2, 842)
    """

    def __init__(self, tones: Sequence[str] = _TONES) -> None:
        if isinstance(tones, str) or not tones or len(set(tones)) != len(tones):
            raise InputError.of(
                "HarmModel",
                "tones",
                expected="different names, from mild to firm",
                found=repr(tones),
            )
        self.tones = tuple(tones)
        self._fitted = False
        self._harm: Harm | None = None

    @property
    def harm_(self) -> Harm | None:
        """What was learnt.

        Raises
        ------
        NotFittedError
        """
        if not self._fitted:
            raise NotFittedError.of(self, "harm_")
        return self._harm

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``.

        Raises
        ------
        InputError
        """
        moment = to_instant(as_of, ledger.timezone)
        seen = read_contacts(ledger, moment, self.tones)
        cells = count_cells(seen, moment)
        self._fitted, self._harm = True, None
        if not len(cells):
            return self
        shape = Shape(len(seen.channels), len(self.tones))
        channel, tone = cells[:, 0], cells[:, 1]
        recent, contacts, complaints, opt_outs = cells[:, 2:].T.astype(np.float64)

        def rate(events: Float, assumed: Float) -> RareRate:
            return RareRate.fit(
                shape, channel, tone, recent, contacts=contacts, events=events, assumed=assumed
            )

        prior = LEAVE * firmer(np.arange(len(self.tones)))
        spread = COMMON**2 * np.outer(prior, prior) + OWN**2 * np.diag(np.square(prior))
        weeks = read_weeks(ledger, moment, seen, len(self.tones))
        if weeks is None:
            lost = DropOut(np.zeros(0), prior, spread, 0.0, 0)
        else:
            lost = fit_drop_out(weeks, prior, spread)
        self._harm = Harm(
            channels=seen.channels,
            tones=self.tones,
            complaint=rate(complaints, COMPLAINT * firmer(tone) * tiring(recent)),
            opt_out=rate(opt_outs, OPT_OUT * tiring(recent)),
            leave=lost.effect,
            leave_stderr=np.sqrt(np.diag(lost.covariance)),
            leavers=lost.leavers,
            cells=cells,
        )
        return self


def _match(
    code: npt.NDArray[np.integer[Any]], names: tuple[str, ...], known: tuple[str, ...]
) -> Int:
    """Translate codes of some names into codes of others; -1 = not there."""
    table = np.array([known.index(n) if n in known else -1 for n in names] + [-1], dtype=np.int64)
    return np.where(code >= 0, table[code], -1)


def _by_fatigue(
    at: Callable[[int], Float], contact: npt.NDArray[np.bool_], contacts: npt.ArrayLike
) -> Float:
    """Evaluate once for each number of recent contacts, not for each account."""
    numbers, which = np.unique(
        np.minimum(np.asarray(contacts, dtype=np.int64), MOST), return_inverse=True
    )
    by_number = np.array([np.where(contact, at(int(n)), 0.0) for n in numbers])
    return by_number.reshape(len(numbers), len(contact))[which.reshape(-1)]
