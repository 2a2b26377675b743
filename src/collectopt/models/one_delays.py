"""Why one account is late: the numbers of :meth:`DelayModel.predict`, but for the last bits."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np

from collectopt.models import evidence
from collectopt.models.delays import (
    DISTRESS_HOLDS,
    REASONS,
    DelayModel,
    DelayReason,
    _data,
)
from collectopt.schema.one_rows import NOTHING
from collectopt.schema.one_seen import Seen

Counts = dict[str, list[float]]

_NOTICED = frozenset(evidence._NOTICED)  # noqa: SLF001 - the same items, counted again
_SCORE = "score"  # it lies in no fifth of a book of one account
_LATE = (0, 10, 30)
_MONTH_US = 30 * 86_400_000_000
_DISTRESS = frozenset(DISTRESS_HOLDS)


class QuickDelays:
    """A model of delay reasons laid out for one account at a time.

    Parameters
    ----------
    model : DelayModel
        Fitted.

    Attributes
    ----------
    names : tuple of str
        Features that it asks for.
    """

    names = evidence._FEATURES  # noqa: SLF001

    def __init__(self, model: DelayModel) -> None:
        classes = model.classes_
        assert classes is not None
        self.alike = {name: classes.alike[name] for name in classes.tables if name != _SCORE}
        tables = [np.log(classes.tables[name]).T for name in self.alike]
        self.table = classes.power * np.concatenate(tables)
        self.prior = np.log(classes.shares).tolist()
        self.part = float(_data()["distress"]["cash_flow"])
        self.cannot = REASONS.index(DelayReason.CANNOT)
        self.cash_flow = REASONS.index(DelayReason.CASH_FLOW)

    def of(self, seen: Seen, values: Mapping[str, Any]) -> tuple[float, float]:
        """Distress and doubt of an account.

        Parameters
        ----------
        seen : Seen
        values : mapping of str to float
            Its features, `names` among them.
        """
        counts, told = _counts(seen, values), []
        for name, alike in self.alike.items():
            own = counts[name]
            weight = 1.0 + max(sum(own) - 1.0, 0.0) * alike
            told += own if weight == 1.0 else [count / weight for count in own]
        joint: list[float] = (np.array(told) @ self.table).tolist()
        prior = self.prior[seen.account.customer_type == "business"]
        joint = [a + b for a, b in zip(joint, prior, strict=True)]
        top = max(joint)
        parts = [math.exp(each - top) for each in joint]
        whole = sum(parts)
        posterior = [part / whole for part in parts]
        distress = posterior[self.cannot] + self.part * posterior[self.cash_flow]
        if any(each.active and each.hold.kind in _DISTRESS for each in seen.holds):
            distress = 1.0
        entropy = -sum(p * math.log(max(p, 1e-300)) for p in posterior)
        return distress, entropy / math.log(len(posterior))


def _counts(seen: Seen, values: Mapping[str, Any]) -> Counts:
    """Outcomes of each item, as :func:`~collectopt.models.evidence.collect` counts them."""
    paid, claims = float(values["payments_n"]), float(values["claims_n"])
    part = float(np.float32(values["part_share"])) * paid
    returned, late = float(values["returned_n"]), values["days_past_due"]
    disputed = max(float(values["disputes_n"]), values["hold_dispute"])
    contacts, noticed, silent, back, plans, refusals = _contacts(seen)
    positive = [payment for payment in seen.payments if payment.cents > 0]
    unnamed = sum(payment.invoice == NOTHING for payment in positive)
    age = [0.0] * (len(evidence.AGES) + 1)
    if late > 0:
        age[bisect_left(evidence.AGES, late)] = 1.0
    return {
        "history": _history(seen),
        "age": age,
        "parts": _both(paid, part),
        "returned": _both(paid, returned),
        "promises": [float(values["promises_kept"]), float(values["promises_broken"])],
        "plans": _both(contacts, plans),
        "reactions": [noticed, silent, back],
        "disputes": _both(claims, disputed),
        "refusals": _both(contacts, refusals),
        "unnamed": _both(float(len(positive)), float(unnamed)),
        "corrections": _both(claims, float(seen.credits)),
    }


def _both(every: float, some: float) -> list[float]:
    return [max(every - some, 0.0), max(some, 0.0)]


def _history(seen: Seen) -> list[float]:
    """Claims due 30 days ago or longer by when all of it was settled for the first time."""
    counts = [0.0] * (len(_LATE) + 1)
    for balance in seen.balances:
        due_at = balance.claim.due_at
        if due_at + _MONTH_US < seen.as_of:
            if not balance.spells:
                counts[-1] += 1.0
            elif balance.spells[0].cash:
                late = (balance.spells[0].known - due_at) / 86_400e6
                counts[bisect_left(_LATE, late)] += 1.0
    return counts


def _contacts(seen: Seen) -> tuple[float, float, float, float, float, float]:
    """Contacts; those noticed, met with silence, sent back; with a plan, with a refusal."""
    every, kinds = seen.account.contacts, seen.reactions
    telling = {every[place].channel for place, own in kinds.items() if not _NOTICED.isdisjoint(own)}
    noticed = silent = back = plans = refusals = 0
    for place, contact in seen.sent:
        own = kinds.get(place)
        if own is None:
            silent += contact.channel in telling
            continue
        if not own.isdisjoint(_NOTICED):
            noticed += 1
        elif "bounced" in own:
            back += 1
        else:
            silent += contact.channel in telling
        plans += "plan_accepted" in own
        refusals += "refused" in own
    counts = (len(seen.sent), noticed, silent, back, plans, refusals)
    return tuple(map(float, counts))  # type: ignore[return-value]
