"""Factors of an action: contact at all, then channel, tone, offer and slot as deviations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.models.priors import USUAL_SHARE, prior_effects, prior_spread
from collectopt.schema.actions import NO_CODE, ActionKind, ActionSet

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_SPECIAL = (ActionKind.AGENCY, ActionKind.COURT, ActionKind.STOP)
#: Centre and width of the basis in the hour of the day.
_NOON, _SPAN = 13.0, 5.0


@dataclass(frozen=True, eq=False)
class Factors:
    """Columns phi of K actions; the row of waiting is all zeros.

    The first column says "a contact", in the strength that published trials let expect of its
    channel (:mod:`collectopt.models.priors`), 1 on average over the contacts of the log. The others
    are centred over these, so that the effect of the first is that of the average contact and
    theirs are deviations from what is expected.

    A level that the log never tried (a new channel, tone or offer) has a column of its own with no
    rows: its effect is what is expected of it, of which :func:`unseen_variance` says how wrong it
    may be. Actions carry no template: a new text starts as its channel, tone and offer do.

    Attributes
    ----------
    names : tuple of str, length p
        Such as "contact", "channel:phone", "tone:firm", "hour".
    family : tuple of str, length p
        "contact", "agency", "channel", "tone", "offer", "hour", "day": shrunk together.
    phi : (K, p) float64
    count : (p,) int64
        Logged rows with the factor (slots: logged contacts).
    """

    names: tuple[str, ...]
    family: tuple[str, ...]
    phi: Float
    count: Int

    @classmethod
    def of(cls, actions: ActionSet, action: Int) -> Factors:
        """Make the factors that a log can tell apart.

        Parameters
        ----------
        actions : ActionSet
        action : (n,) int64
            What was done.
        """
        tally = np.bincount(action, minlength=len(actions)).astype(np.float64)
        contact = actions.is_contact
        columns: list[tuple[str, str, Float, float]] = []
        if tally[contact].sum():
            strength = prior_effects(actions)
            strength = strength / np.average(strength[contact], weights=tally[contact])
            columns.append(("contact", "contact", strength, tally[contact].sum()))
        for kind in _SPECIAL:
            is_kind = actions.kind == kind
            if tally[is_kind].sum():
                name = kind.name.lower()
                columns.append((name, name, is_kind.astype(np.float64), tally[is_kind].sum()))
        for family, codes, names in (
            ("channel", actions.channel, actions.channels),
            ("tone", actions.tone, actions.tones),
            ("offer", actions.offer, actions.offers),
        ):
            columns += _levels(family, codes, names, contact, tally)
        columns += _slots(actions, contact, tally)
        return cls(
            tuple(c[0] for c in columns),
            tuple(c[1] for c in columns),
            np.column_stack([c[2] for c in columns]) if columns else np.zeros((len(actions), 0)),
            np.array([c[3] for c in columns], dtype=np.int64),
        )


_Column = tuple[str, str, Float, float]


def _levels(
    family: str,
    codes: npt.NDArray[Any],
    names: tuple[str, ...],
    contact: npt.NDArray[np.bool_],
    tally: Float,
) -> list[_Column]:
    """One column a level: centred if the log tried it beside others, plain if it did not."""
    mine = [contact & (codes == i) for i in range(len(names))]
    tried = [i for i, rows in enumerate(mine) if tally[rows].sum() > 0]
    if not tried:
        return []
    old = contact & np.isin(codes, [*tried, NO_CODE])
    return [
        (
            f"{family}:{names[i]}",
            family,
            _centred(rows.astype(np.float64), old, tally)
            if i in tried
            else rows.astype(np.float64),
            tally[rows].sum(),
        )
        for i, rows in enumerate(mine)
        if (i in tried and len(tried) > 1) or (i not in tried and rows.any())
    ]


def _slots(actions: ActionSet, contact: npt.NDArray[np.bool_], tally: Float) -> list[_Column]:
    columns: list[_Column] = []
    timed = contact & ~np.isnan(actions.hour)
    z = np.where(timed, (np.nan_to_num(actions.hour) - _NOON) / _SPAN, 0.0)
    day = np.maximum(actions.day, 0).astype(np.float64)
    for name, family, values in (
        ("hour", "hour", z),
        ("hour^2", "hour", z * z),
        ("day", "day", day / max(float(day.max(initial=0.0)), 1.0)),
    ):
        seen = values[contact & (tally > 0)]
        if len(seen) and seen.max() > seen.min():
            column = _centred(values, contact, tally)
            columns.append((name, family, column, tally[contact].sum()))
    return columns


def _centred(values: Float, contact: npt.NDArray[np.bool_], tally: Float) -> Float:
    mean = np.average(values[contact], weights=tally[contact])
    return np.where(contact, values - mean, 0.0)


def unseen_variance(factors: Factors, actions: ActionSet, theta: Float, covariance: Float) -> Float:
    """Least posterior variance of the factors that the log never tried, (p,); 0 for the others.

    A new channel brings what published trials let expect of it, relative to the contacts of the
    log, give or take the range that they support; a new tone or offer what the others do, give or
    take its family's usual share of the effect of a contact.

    Parameters
    ----------
    factors : Factors
    actions : ActionSet
        Those that the factors were made of.
    theta, covariance : (p,), (p, p) float64
        Posterior of the factors' effects.
    """
    least = np.zeros(len(theta))
    if "contact" not in factors.family:
        return least
    first = factors.family.index("contact")
    size = float(np.hypot(theta[first], np.sqrt(max(float(covariance[first, first]), 0.0))))
    spread = prior_spread(actions)
    for j in np.flatnonzero(factors.count == 0):
        family = factors.family[j]
        share = USUAL_SHARE.get(family, 0.0)
        if family == "channel":
            some = int(np.flatnonzero(factors.phi[:, j])[0])
            share = float(factors.phi[some, first] * spread[some])
        least[j] = (share * size) ** 2
    return least


def reference(actions: ActionSet, action: Int) -> Float:
    """Frequency of each action in the log, smoothed by its factors, (K,).

    The share of contacts, of channels among them, and of tone, offer, hour and day within the
    channel are multiplied. Exact actions are too many to be counted one by one; for stabilised
    weights any distribution close to the log's does.
    """
    tally = np.bincount(action, minlength=len(actions)).astype(np.float64)
    share = np.zeros(len(actions))
    for kind in np.unique(actions.kind):
        same = actions.kind == kind
        share[same] = tally[same].sum() / max(tally.sum(), 1.0)
        if kind != ActionKind.CONTACT:
            share[same] /= same.sum()
            continue
        share[same] *= _within(np.zeros(len(actions), dtype=np.int64), actions.channel, same, tally)
        for codes in (actions.tone, actions.offer, np.nan_to_num(actions.hour), actions.day):
            share[same] *= _within(actions.channel, codes, same, tally)
        # A factor may not be free given the others (no hour for letters): share what is left.
        cells = np.unique(
            np.column_stack(
                [
                    actions.channel[same],
                    actions.tone[same],
                    actions.offer[same],
                    np.nan_to_num(actions.hour[same]),
                    actions.day[same],
                ]
            ),
            axis=0,
            return_inverse=True,
        )[1].ravel()
        share[same] /= np.bincount(cells)[cells]
    return share


def _within(
    group: npt.NDArray[Any], codes: npt.NDArray[Any], same: npt.NDArray[np.bool_], tally: Float
) -> Float:
    """Share of each action's level among the logged rows of its group."""
    _, level = np.unique(np.column_stack([group[same], codes[same]]), axis=0, return_inverse=True)
    _, whole = np.unique(group[same], return_inverse=True)
    level, whole = level.ravel(), whole.ravel()
    count = np.bincount(level, tally[same])[level]
    total = np.bincount(whole, tally[same])[whole]
    return np.asarray(count / np.maximum(total, 1.0), dtype=np.float64)
