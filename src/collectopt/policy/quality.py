"""How good the data on each account are: how much of the catalogue they leave open.

No weights are made up. A fact that is missing costs what the rules refuse for want of it: the
score of an account is the share of the catalogue's contacts that no gap in its data blocks. What
the customer does not want (an opt-out, a consent refused) and what the law forbids whatever is
known are no gaps. So the score says what better data could win, and hangs on the catalogue: where
nobody calls, nobody needs to know whether calls are welcome.

Facts that block nothing have no weight. Due dates and customer types are always there, as a ledger
without them is refused; payments without an invoice are allocated oldest first; an unknown
language falls back to the one of the house; an address that was never confirmed may be tried.
The day of the last confirmation is told beside the score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.policy.engine import Bools, Floats
from collectopt.policy.helping import Help
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.snapshot import Snapshot

if TYPE_CHECKING:
    from collectopt.policy.next_best import NextBestAction

_BLOCK = 4096
_NO_STATE = "--"  # a state with the holidays of the whole country alone
_KNOWN, _UNKNOWN, _NO_COLUMN = 1, -1, 2  # of `State.consent`
_ARRIVED = ("delivered", "opened", "clicked", "answered", "promised", "visited_portal")


class Gap(StrEnum):
    """What may be missing."""

    ADDRESS = "address"  # the last message on a channel came back
    CONSENT = "consent"  # whether a channel may be used
    PLACE = "place"  # time zone and state: whether it is night or a holiday there


_CODES = {
    Gap.ADDRESS: ("NO_ADDRESS",),
    Gap.CONSENT: ("CONSENT", "EXPRESS_CONSENT"),
    Gap.PLACE: ("QUIET_HOURS", "CONSUMER_HOURS", "REASONABLE_HOURS"),
}
_HELPS = {
    Gap.ADDRESS: Help.UPDATE_CONTACT,
    Gap.CONSENT: Help.REGISTER_PORTAL,
    Gap.PLACE: Help.UPDATE_CONTACT,
}


@dataclass(frozen=True, eq=False)
class DataQuality:
    """The quality of the data on n accounts.

    Attributes
    ----------
    account_ids : tuple of n str
    lost : (n, gaps) float64
        Share of the catalogue's contacts that each gap blocks, in the order of `Gap`; one that
        several block counts for each of them.
    score : (n,) float64
        Share of the catalogue's contacts, 0 to 1, that no gap blocks.
    worth : (n,) float64
        EUR that the best contact would gain if all gaps were closed; nan = not worked out.
    confirmed_on : (n,) datetime64[D]
        Local day on which the customer was last known to be reached; NaT = never.
    incentive : float
        EUR offered for a missing fact.
    """

    account_ids: tuple[str, ...]
    lost: Floats
    score: Floats
    worth: Floats
    confirmed_on: np.ndarray[Any, np.dtype[np.datetime64]]
    incentive: float = 0.0

    def __len__(self) -> int:
        return len(self.account_ids)

    def __repr__(self) -> str:
        return f"DataQuality({len(self)} accounts, mean score {self.summary()['score']:.3f})"

    def _repr_html_(self) -> str:
        worst = self.to_pandas().sort_values("score", kind="stable").head(10)
        return f"<p>{self!r}; the lowest:</p>{worst.to_html(index=False)}"

    def to_pandas(self) -> pd.DataFrame:
        """Give one row an account.

        Returns
        -------
        DataFrame
            account_id, score, worst (the gap that costs most; null = none), help (what closes it:
            :class:`Help`; null = nothing is to be won, or it is worth no more than the incentive),
            worth, confirmed_on, and the share that each gap blocks, by its name.
        """
        gaps = list(Gap)
        worst = [gaps[j] if self.lost[i, j] else None for i, j in enumerate(self.lost.argmax(1))]
        dear = ~(self.worth <= self.incentive)  # what is not known is not held against it
        helps = [
            _HELPS[gap] if gap and pays else None for gap, pays in zip(worst, dear, strict=True)
        ]
        return pd.DataFrame(
            {
                "account_id": list(self.account_ids),
                "score": self.score,
                "worst": pd.Series(worst, dtype=object),
                "help": pd.Series(helps, dtype=object),
                "worth": self.worth,
                "confirmed_on": self.confirmed_on.astype("datetime64[s]"),
                **{gap.value: self.lost[:, j] for j, gap in enumerate(gaps)},
            }
        )

    def summary(self) -> dict[str, Any]:
        """Give the mean score (nan without accounts), and how many accounts have each gap."""
        return {
            "accounts": len(self),
            "score": float(self.score.mean()) if len(self) else float("nan"),
            "gaps": {g.value: int((self.lost[:, j] > 0).sum()) for j, g in enumerate(Gap)},
        }


def data_quality(
    snapshot: Snapshot,
    catalogue: Catalogue,
    *,
    policy: NextBestAction | None = None,
    incentive: float = 0.0,
) -> DataQuality:
    """Score the data on each account, and say what to find out first.

    Parameters
    ----------
    snapshot : Snapshot
        n rows of one time; only what was known before it counts.
    catalogue : Catalogue
    policy : NextBestAction or None
        Fitted, with this catalogue: says what the missing facts are worth.
    incentive : float
        EUR offered to a customer for a missing fact; help is named only where, as far as `policy`
        knows, the fact is worth more.

    Returns
    -------
    DataQuality

    Raises
    ------
    InputError
        The rows have different times; an incentive below 0; the policy has another catalogue.
    NotFittedError

    Examples
    --------
    >>> from collectopt import Catalogue, Ledger, Snapshot
    >>> person = {"customer_type": "consumer", "country": "DE", "phone_ok": None}
    >>> claim = {"account_id": "a", "issued_on": "2026-01-01", "due_on": "2026-01-15"}
    >>> ledger = Ledger.from_frames(
    ...     accounts=[{"account_id": "a", **person}],
    ...     invoices=[{"invoice_id": "i", "amount": 10.0, "currency": "EUR", **claim}],
    ... )
    >>> catalogue = Catalogue.from_dict({"channels": [{"name": "email"}, {"name": "phone"}]})
    >>> found = data_quality(Snapshot(ledger, "2026-02-01"), catalogue)
    >>> print(found.to_pandas()[["account_id", "score", "worst", "help"]].to_string(index=False))
    account_id  score   worst            help
             a    0.5 consent register_portal
    """
    _check(snapshot, catalogue, policy, incentive)
    layout = Layout.of(catalogue.actions)
    rules = Rules.from_catalogue(catalogue) if policy is None else policy.rules
    state = State.of(snapshot, catalogue, layout)
    n = len(snapshot)
    lost, score = np.zeros((n, len(Gap))), np.ones(n)
    count = layout.counts(Unit.CHANNEL_SLOT)
    count = count / max(count.sum(), 1)
    mended = _mended(state)
    for rows in _blocks(n):
        blocked = _blocked(rules, layout, (state, mended), rows)
        lost[rows] = np.column_stack([mask @ count for mask in blocked.values()])
        score[rows] = 1.0 - np.any(list(blocked.values()), axis=0) @ count
    worth = np.full(n, np.nan)
    if policy is not None:
        worth = _worth(policy, snapshot, layout)
    ids = tuple(snapshot.rows["account_id"].to_pylist())
    return DataQuality(ids, lost, score, worth, _confirmed(snapshot), float(incentive))


def _check(snapshot: Any, catalogue: Any, policy: NextBestAction | None, incentive: float) -> None:
    wanted = (("snapshot", snapshot, Snapshot), ("catalogue", catalogue, Catalogue))
    for name, given, kind in wanted:
        if not isinstance(given, kind):
            found = type(given).__name__
            raise InputError.of("data_quality", name, expected=f"a {kind.__name__}", found=found)
    if not incentive >= 0 or not np.isfinite(incentive):
        raise InputError.of(
            "data_quality", "incentive", expected="EUR, at least 0", found=repr(incentive)
        )
    if policy is not None and policy.catalogue.to_dict() != catalogue.to_dict():
        raise InputError.of(
            "data_quality",
            "policy",
            expected="a policy with the catalogue given",
            found="one with another catalogue",
            hint="Give policy.catalogue.",
        )


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))


def _mended(state: State) -> State:
    """Give the same accounts with nothing missing, at its most favourable."""
    unknown = np.isin(state.consent, (_UNKNOWN, _NO_COLUMN))
    return replace(
        state,
        bounced=np.zeros_like(state.bounced),
        consent=np.where(unknown, _KNOWN, state.consent).astype(np.int8),
        zone_unknown=np.zeros(len(state), dtype=bool),
        land=tuple(land or _NO_STATE for land in state.land),
    )


def _blocked(
    rules: Rules, layout: Layout, states: tuple[State, State], rows: slice
) -> Mapping[Gap, Bools]:
    """Say which slots of which channels each gap blocks that would be free; (b, C * S)."""
    state, mended = states
    size = len(range(*rows.indices(len(state)))), layout.sizes[Unit.CHANNEL_SLOT]
    closed, before = np.zeros(size, dtype=bool), dict.fromkeys(Gap, np.zeros(size, dtype=bool))
    of_code = {code: gap for gap, codes in _CODES.items() for code in codes}
    for rule in rules.permissions:
        gap = of_code.get(rule.code)
        if gap is None and rule.code != "OPTED_OUT":
            continue
        closed = closed | _spread(rule.refuse(mended, layout, rows), rule.unit, layout)
        if gap is not None:
            refused = _spread(rule.refuse(state, layout, rows), rule.unit, layout)
            before[gap] = before[gap] | refused
    return {gap: mask & ~closed for gap, mask in before.items()}


def _spread(refused: Bools, unit: Unit, layout: Layout) -> Bools:
    """Lay a refusal out over all slots of all channels."""
    if unit is Unit.CHANNEL:
        return np.repeat(refused, layout.sizes[Unit.SLOT], axis=1)
    if unit is Unit.SLOT:
        return np.tile(refused, layout.sizes[Unit.CHANNEL])
    return refused


def _worth(policy: NextBestAction, snapshot: Snapshot, layout: Layout) -> Floats:
    """EUR between the best contact with nothing missing and the best of today, waiting included."""
    state, _ = policy._facts(snapshot)  # noqa: SLF001 - what a policy knows of its accounts
    case, _ = policy._own_case(snapshot, state)  # noqa: SLF001
    mended, contacts = _mended(state), np.flatnonzero(policy.catalogue.actions.is_contact)
    worth = np.zeros(len(snapshot))
    for rows in _blocks(len(snapshot)):
        values = case.euros(np.arange(rows.start, rows.stop), contacts)
        best = []
        for facts in (state, mended):
            free = policy.rules.evaluate(facts, layout, rows).permitted(columns=contacts)
            best.append(np.where(free, values, 0.0).max(axis=1, initial=0.0))
        worth[rows] = best[1] - best[0]
    return worth


def _confirmed(snapshot: Snapshot) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Last local day on which something shows that the customer was reached; (n,)."""
    days = np.full(len(snapshot.ledger.accounts), np.datetime64("NaT"), dtype="datetime64[D]")
    if not len(snapshot):
        return days[:0]
    told = snapshot.ledger.timeline.responses.select(["account", "kind", "known_at", "local_day"])
    cut = pa.scalar(snapshot.rows["as_of"][0].as_py(), told["known_at"].type)
    told = told.filter(
        pc.and_(pc.less(told["known_at"], cut), pc.is_in(told["kind"], pa.array(_ARRIVED)))
    )
    when = told["local_day"].to_numpy().astype("datetime64[D]")
    order = np.argsort(when, kind="stable")
    days[told["account"].to_numpy()[order]] = when[order]  # the last assignment stands
    return days[snapshot.rows["account"].to_numpy()]
