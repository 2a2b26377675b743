"""What is chosen for one account, and why, in the words of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from collectopt.policy import sentences
from collectopt.policy.one_case import Detail
from collectopt.policy.sentences import Refusal
from collectopt.schema.catalogue import Catalogue

UNKNOWN = "the models give no probability for it"


@dataclass(frozen=True)
class OneChoice:
    """What to do with one account; the fields are the columns of `Decisions`."""

    account_id: str
    channel: str
    tone: str | None
    offer: str | None
    send_at: datetime | None
    propensity: float
    p_pay: float
    p_pay_if_wait: float
    expected_recovery: float
    uplift: float
    cost: float
    value: float
    runner_up: str | None
    reasons: tuple[str, ...]
    rule_trace: tuple[str, ...]
    policy_version: str
    decision_id: str
    terms: Mapping[str, float]

    def _repr_html_(self) -> str:
        from html import escape

        return "".join(f"<p>{escape(reason)}</p>" for reason in (self.channel, *self.reasons))


class Picked(NamedTuple):
    """Numbers of the actions in play, and how the one taken came about.

    Attributes
    ----------
    known : bool
        Whether the models say anything of the account.
    greedy : int
        Chosen without exploration.
    rival : int
        Next best, -1 = none; worth ``rival_value`` EUR.
    reachable : bool
        Whether the rules leave any contact.
    """

    known: bool
    taken: int
    greedy: int
    rival: int
    rival_value: float
    explores: bool
    propensity: float
    reachable: bool


def why(
    catalogue: Catalogue, picked: Picked, refusal: Refusal, detail: Detail, amount: float
) -> list[str]:
    """Say why, as the table of a run does."""
    if not picked.known:
        return [sentences.undecided(UNKNOWN)]
    names, taken, said = catalogue.actions.names, picked.taken, []
    if picked.explores:
        other = None if taken == picked.greedy else names[picked.greedy]
        said.append(sentences.drawn(picked.propensity, other))
    elif taken == 0:
        said += [_why_wait(catalogue, picked, refusal), *refusal.on_hold]
    if detail.note and picked.reachable:
        said.append(detail.note)
    if taken:
        chances = detail.p_pay, detail.p_wait
        cost = float(catalogue.actions.cost[taken])
        said += sentences.gains(catalogue, chances, amount, detail.value, cost)
    return said or [sentences.chosen(names[taken])]


def _why_wait(catalogue: Catalogue, picked: Picked, refusal: Refusal) -> str:
    if refusal.alone:
        return refusal.alone
    if not picked.reachable:
        return sentences.refused_together(refusal.counts)
    if picked.rival < 0:
        return sentences.WANTS_NOTHING
    name = catalogue.actions.names[picked.rival]
    return sentences.waits(name, picked.rival_value, catalogue)
