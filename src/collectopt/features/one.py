"""Features of one account in plain Python: the numbers of the engine, at once.

The definitions are those of the modules beside this one, which hold them as SQL; here they are
written for speed, and tests hold the two equal. What compares an account with the whole book sees a
book of this account alone. Only what is asked for is worked out, a family of features at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.features.catalogue import DEFINITIONS
from collectopt.features.definition import CHANNEL, NEVER
from collectopt.features.one_rates import rates, rounded
from collectopt.features.responses import ACTIVE, PROMISE_DAYS
from collectopt.schema.clock import UnusualError
from collectopt.schema.one_rows import NOTHING
from collectopt.schema.one_seen import Open, Seen

Values = dict[str, Any]
Row = npt.NDArray[np.float32]

_NAN = math.nan
_ACTIVE, _REACHED = frozenset(ACTIVE), frozenset({"opened", "clicked", "answered"})
_SHARES, _NONE = ("opened", "clicked", "answered", "bounced"), frozenset[str]()
_BROKEN = frozenset({"promise_broken", "plan_broken"})
_MONEY = frozenset({"dispute", "promise", "payment_plan", "agency", "court"})
_GROUPS: Mapping[str, frozenset[str]] = {
    "hold_dispute": frozenset({"dispute"}),
    "hold_promise": frozenset({"promise"}),
    "hold_plan": frozenset({"payment_plan"}),
    "hold_agency": frozenset({"agency"}),
    "hold_court": frozenset({"court"}),
    "hold_insolvent": frozenset({"insolvency", "deceased"}),
    "hold_protected": frozenset({"breathing_space", "vulnerable", "service", "do_not_contact"}),
}
_ANGLES = [2 * math.pi / 31 * day for day in range(31)]
_SINES = [round(math.sin(angle) * 1e9) for angle in _ANGLES]
_COSINES = [round(math.cos(angle) * 1e9) for angle in _ANGLES]


class OneFeatures:
    """Features of one account after another, for several matrices.

    Parameters
    ----------
    wanted : sequence of (names, categories)
        For each matrix, as in :func:`~collectopt.features.compute`.

    Raises
    ------
    UnusualError
        A name is not known here (a column of the caller), or a category has no codes.
    """

    def __init__(self, wanted: Sequence[tuple[Sequence[str], Mapping[str, Sequence[str]]]]) -> None:
        families: dict[Callable[[Seen, frozenset[str]], Values], None] = {}
        channels: set[str] = set()
        self._names: list[tuple[str, ...]] = []
        self._codes: list[list[tuple[int, str, dict[str | None, float]]]] = []
        for names, categories in wanted:
            coded = []
            for place, name in enumerate(names):
                facts, channel, category = _defined(name)
                families[_FAMILIES[facts]] = None
                if channel is not None:
                    channels.add(channel)
                if category:
                    if name not in categories:
                        raise UnusualError(name)
                    codes: dict[str | None, float] = {
                        text: float(code) for code, text in enumerate(categories[name])
                    }
                    coded.append((place, name, codes))
            self._names.append(tuple(names))
            self._codes.append(coded)
        self._families, self._channels = tuple(families), frozenset(channels)

    def values(self, seen: Seen) -> Values:
        """Work out all that is asked for: by name, categories as texts (None: none)."""
        found: Values = {}
        for family in self._families:
            found.update(family(seen, self._channels))
        return found

    def row(self, values: Values, which: int = 0) -> Row:
        """Lay one matrix out, (d,) float32.

        Parameters
        ----------
        values : dict
            From :meth:`values`.
        which : int
            Number of the matrix.
        """
        names, coded = self._names[which], self._codes[which]
        numbers = list(map(values.__getitem__, names))
        for place, name, codes in coded:
            numbers[place] = codes.get(values[name], _NAN)
        return np.array(numbers, dtype=np.float32)


def _defined(name: str) -> tuple[str, str | None, bool]:
    """Facts that a feature is made of, its channel, and whether it is a category."""
    for feature in DEFINITIONS:
        stem = feature.name.removesuffix(CHANNEL)
        if feature.name == name:
            return feature.facts.name, None, feature.codes is not None
        if feature.per_channel and name.startswith(stem) and name != stem:
            plain = any(other.name == name for other in DEFINITIONS)
            if not plain:
                return feature.facts.name, name.removeprefix(stem), False
    raise UnusualError(name)


def subject(seen: Seen) -> Open | None:
    """Claim in question: of the open ones that are due first the first by its number."""
    return min(seen.open, key=lambda o: (o.claim.due, o.claim.number), default=None)


def _open(seen: Seen, _: frozenset[str]) -> Values:
    left = total = late_left = late = 0
    ahead, oldest, most = NEVER, -math.inf, 0
    for claim, cents, dpd, past_due, _held in seen.open:
        left += cents
        total += claim.cents
        most = max(most, dpd)
        oldest = max(oldest, dpd + claim.due - claim.issued)
        if past_due:
            late_left += cents
            late += 1
        else:
            ahead = min(ahead, -dpd)
    count = len(seen.open)
    return {
        "open_amount": left / 100.0,
        "open_claims": count,
        "past_due_amount": late_left / 100.0,
        "past_due_claims": late,
        "days_past_due": most,
        "oldest_age": oldest if count else 0.0,
        "days_to_next_due": ahead,
        "open_paid_share": 1.0 - left / total if count else 0.0,
    }


def _claim(seen: Seen, _: frozenset[str]) -> Values:
    own = subject(seen)
    if own is None:
        zero = ("claim_amount", "claim_open_share", "claim_dpd", "claim_age", "claim_term")
        return {**dict.fromkeys(zero, 0.0), "claim_kind": None}
    claim = own.claim
    return {
        "claim_amount": claim.cents / 100.0,
        "claim_open_share": own.cents / claim.cents,
        "claim_dpd": own.dpd,
        "claim_age": seen.day - claim.issued,
        "claim_term": claim.due - claim.issued,
        "claim_kind": claim.kind,
    }


def _billed(seen: Seen, _: frozenset[str]) -> Values:
    own = subject(seen)
    year = [b.claim.cents for b in seen.balances if seen.day - b.claim.issued <= 365]
    count = len(seen.balances)
    ratio = 1.0
    if own is not None and count > 1:
        others = sum(b.claim.cents for b in seen.balances) - own.claim.cents
        ratio = min(own.claim.cents / (others / (count - 1)), 100.0)
    return {
        "claim_amount_ratio": ratio,
        "claims_n": count,
        "claims_365": len(year),
        "billed_365": sum(year) / 100.0,
        "first_claim": 1.0 if count <= 1 else 0.0,
    }


def _lateness(seen: Seen, _: frozenset[str]) -> Values:
    settled = sorted(
        spell for b in seen.balances for spell in b.spells if spell.cash and spell.reopened is None
    )  # by time, due date and number of the claim
    late = [spell.late for spell in settled]
    still = [each.dpd for each in seen.open if each.past_due]
    n, total = len(late), sum(late)
    together = (total + sum(still)) / (n + len(still)) if n or still else 0.0
    if not n:
        return _NO_LATENESS | {"late_mean_open": together}
    weights = [round(1e9 * 0.5 ** ((seen.day - spell.day) / 180.0)) for spell in settled]
    weight, mean = sum(weights), total / n
    recent = mean_ = 0.0
    if weight:
        recent = sum(w * x for w, x in zip(weights, late, strict=True)) / weight
        mean_ = recent - mean
    ordered, half = sorted(late), (n - 1) // 2
    low = ordered[half]
    spread = n * sum(x * x for x in late) - total * total
    return {
        "settled_n": n,
        "no_settled": 0.0,
        "late_mean": mean,
        "late_median": low if n % 2 else low + (ordered[half + 1] - low) * 0.5,
        "late_sd": math.sqrt(spread / (n * (n - 1))) if n > 1 else 0.0,
        "late_max": ordered[-1],
        "late_last": late[-1],
        "late_share": sum(x > 0 for x in late) / n,
        "late_share_30": sum(x > 30 for x in late) / n,
        "late_recent": recent,
        "late_trend": mean_,
        "late_mean_open": together,
    }


_NO_LATENESS: Values = {
    "settled_n": 0.0, "no_settled": 1.0, "late_mean": 0.0, "late_median": 0.0, "late_sd": 0.0,
    "late_max": 0.0, "late_last": 0.0, "late_share": 0.0, "late_share_30": 0.0,
    "late_recent": 0.0, "late_trend": 0.0,
}  # fmt: skip


def _parts(seen: Seen, _: frozenset[str]) -> Values:
    parts = [part for b in seen.balances for part in b.parts]
    return {"part_share": sum(parts) / len(parts) if parts else 0.0}


def _payments(seen: Seen, _: frozenset[str]) -> Values:
    count, paid, n = [0, 0, 0], [0, 0, 0], 0
    returned, sine, cosine, last = 0, 0, 0, NEVER
    for _known, _id, cents, _invoice, day in seen.payments:
        ago = seen.day - day
        place = 0 if ago <= 30 else 1 if ago <= 90 else 2 if ago <= 365 else 3
        if place < 3:
            paid[place] += cents
        if cents > 0:
            n += 1
            last = min(last, ago)
            if place < 3:
                count[place] += 1
            at = _day_of_month(day) - 1
            sine += _SINES[at]
            cosine += _COSINES[at]
        elif cents < 0:
            returned += 1
    strength, offset = 0.0, 0.0
    if n:
        strength = math.sqrt(float(sine) ** 2 + float(cosine) ** 2) / n / 1e9
    if strength > 1e-6:
        usual = rounded(math.atan2(sine, cosine) / (2 * math.pi) * 31, 6) + 1
        offset = math.fmod(_day_of_month(seen.day) - usual + 77.5, 31) - 15.5
    return {
        "payments_n": n,
        "days_since_payment": last,
        "payments_30": count[0],
        "payments_90": count[0] + count[1],
        "payments_365": sum(count),
        "paid_30": paid[0] / 100.0,
        "paid_90": (paid[0] + paid[1]) / 100.0,
        "paid_365": sum(paid) / 100.0,
        "returned_n": returned,
        "payday_offset": offset,
        "payday_strength": strength,
    }


def _day_of_month(day: int) -> int:
    return _date(day)[2]


def _date(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month of days since 1970 (Hinnant's algorithm for dates)."""
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    in_month = of_year - (153 * month + 2) // 5 + 1
    calendar = month + 3 if month < 10 else month - 9
    return year + era * 400 + (calendar <= 2), calendar, in_month


def _contacts(seen: Seen, channels: frozenset[str]) -> Values:
    paid = max((p.known for p in seen.payments if p.cents > 0), default=None)
    n, ago = len(seen.sent), [seen.day - contact.day for _, contact in seen.sent]
    newest = seen.sent[-1][1] if n else None
    found: Values = {
        "contacts_n": n,
        "contacts_7": sum(days <= 7 for days in ago),
        "contacts_30": sum(days <= 30 for days in ago),
        "contacts_90": sum(days <= 90 for days in ago),
        "days_since_contact": min([NEVER, *ago]),
        "contacts_since_payment": sum(paid is None or c.sent > paid for _, c in seen.sent),
        "last_channel": None if newest is None else newest.channel,
        "last_tone": None if newest is None else newest.tone,
    }
    hits = dict.fromkeys(_SHARES, 0)
    by: dict[str, list[int]] = {channel: [0, 0, 0] for channel in channels}  # all, 90 days, reached
    for (place, contact), days in zip(seen.sent, ago, strict=True):
        kinds = seen.reactions.get(place, _NONE)
        for kind in kinds:
            if kind in hits:
                hits[kind] += 1
        own = by.get(contact.channel)
        if own is not None:
            own[0] += 1
            own[1] += days <= 90
            own[2] += not _REACHED.isdisjoint(kinds)
    for kind, count in hits.items():
        found[f"{kind}_share"] = count / n if n else 0.0
    for channel, (every, recent, reached) in by.items():
        found[f"contacts_90_{channel}"] = recent
        found[f"reached_{channel}"] = (reached + 1) / (every + 2.0)
    return found


def _responses(seen: Seen, _: frozenset[str]) -> Values:
    breaches = disputes = complaints = opt_outs = portal = 0
    last = NEVER
    for _known, kind, day, *_rest in seen.responses:
        ago = seen.day - day
        if kind in _ACTIVE:
            last = min(last, ago)
            if kind == "disputed":
                disputes += 1
            elif kind == "complained":
                complaints += 1
            elif kind == "opted_out":
                opt_outs += 1
            elif kind == "visited_portal":
                portal += ago <= 90
        elif kind in _BROKEN:
            breaches += 1
    return {
        "breaches_n": breaches,
        "disputes_n": disputes,
        "complaints_n": complaints,
        "opt_outs_n": opt_outs,
        "portal_90": portal,
        "days_since_response": last,
    }


def _promised(seen: Seen, _: frozenset[str]) -> Values:
    n = kept = broken = pending = 0
    for promise in seen.responses:
        if promise.kind == "promised":
            n += 1
            due = promise.day + PROMISE_DAYS if promise.due is None else promise.due
            goal = max(1 if promise.cents is None else promise.cents, 1)
            if _kept(seen, promise.known, due, goal):
                kept += 1
            elif due >= seen.day:
                pending += 1
            else:
                broken += 1
    return {
        "promises_n": n,
        "promises_kept": kept,
        "promises_broken": broken,
        "promises_pending": pending,
    }


def _kept(seen: Seen, since: int, due: int, goal: int) -> bool:
    """Whether payments from a time to the end of a day ever reached a sum."""
    money = [p for p in seen.payments if p.known >= since and p.day <= due]
    total = 0
    for place, payment in enumerate(money):
        total += payment.cents
        together = place + 1 < len(money) and money[place + 1].known == payment.known
        if total >= goal and not together:
            return True
    return False


def _holds(seen: Seen, _: frozenset[str]) -> Values:
    still = {each.claim.number for each in seen.open}
    first = min((each.claim.issued for each in seen.open), default=None)
    kinds, newest = set(), NEVER
    for hold, ended, _active in seen.holds:
        if ended:
            continue
        if hold.kind in _MONEY:
            if hold.invoice == NOTHING:
                stands = first is not None and first <= hold.day
            else:
                stands = hold.invoice in still
            if not stands:
                continue
        kinds.add(hold.kind)
        newest = min(newest, seen.day - hold.day)
    found: Values = {name: float(not kinds.isdisjoint(group)) for name, group in _GROUPS.items()}
    return found | {"hold_days": newest, "holds_n": len(seen.holds)}


def _account(seen: Seen, _: frozenset[str]) -> Values:
    account = seen.account
    starts = [b.claim.issued for b in seen.balances]
    if account.since is not None and account.since <= seen.day:
        starts.append(account.since)
    return {
        "tenure": seen.day - min(starts) if starts else 0.0,
        "customer_type": account.customer_type,
        "country": account.country,
        "credit_score": _NAN if account.score is None else account.score,
        "lifetime_value": _NAN if account.worth is None else account.worth,
    }


def _calendar(seen: Seen, _: frozenset[str]) -> Values:
    _year, month, day = _date(seen.day)
    return {"day_of_month": day, "weekday": (seen.day + 3) % 7 + 1, "month": month}


_FAMILIES: Mapping[str, Callable[[Seen, frozenset[str]], Values]] = {
    "open": _open,
    "claim": _claim,
    "billed": _billed,
    "lateness": _lateness,
    "parts": _parts,
    "payments": _payments,
    "contacts": _contacts,
    "responses": _responses,
    "promised": _promised,
    "holds": _holds,
    "account": _account,
    "calendar": _calendar,
    "rates": rates,
}
