"""The stages of a claim and the steps between them that the law allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """How far a claim has come."""

    OPEN = "open"
    REMINDED = "reminded"  # a contact after the due date: default begins (Verzug)
    WARNED = "warned"  # a formal notice: pay by a date, or it goes out of the house
    AGENCY = "agency"
    COURT = "court"  # a court payment order was applied for
    ENFORCEMENT = "enforcement"  # a title is enforced
    STOPPED = "stopped"
    PAID = "paid"


@dataclass(frozen=True)
class Step:
    """What has to lie behind a stage.

    Attributes
    ----------
    after : tuple of Stage
        One of these must have been passed.
    why : str
        Plain words.
    source : str
    """

    after: tuple[Stage, ...]
    why: str
    source: str


#: What the law asks for before each stage. To stop and to be paid is possible from every stage.
STEPS: Mapping[Stage, Step] = {
    Stage.REMINDED: Step((Stage.OPEN,), "a claim is past due first", "BGB § 286(1)"),
    Stage.WARNED: Step((Stage.REMINDED,), "a reminder comes before a formal notice", "house rule"),
    Stage.AGENCY: Step(
        (Stage.REMINDED, Stage.WARNED),
        "default (Verzug) begins with a reminder; only then are the costs of an agency due",
        "BGB § 286(1); RDG § 13a",
    ),
    Stage.COURT: Step(
        (Stage.WARNED, Stage.AGENCY),
        "a formal notice comes before a court order, or the costs are one's own",
        "BGB § 286; ZPO § 93",
    ),
    Stage.ENFORCEMENT: Step(
        (Stage.COURT,), "a title comes before its enforcement", "ZPO §§ 699, 750"
    ),
}
_ENDS = (Stage.STOPPED, Stage.PAID)


def check_order(order: Sequence[Stage]) -> None:
    """Refuse an order of stages that skips a step.

    Raises
    ------
    ValueError
        A stage comes twice, or without what has to lie behind it.

    Examples
    --------
    >>> check_order([Stage.REMINDED, Stage.WARNED, Stage.COURT])
    >>> check_order([Stage.REMINDED, Stage.COURT])
    Traceback (most recent call last):
        ...
    ValueError: 'court' skips a step: a formal notice comes before a court order, or the costs \
are one's own (BGB § 286; ZPO § 93); put 'warned' or 'agency' before it
    """
    passed = [Stage.OPEN]
    for stage in order:
        if stage in passed:
            raise ValueError(f"{stage.value!r} comes twice, or is where every claim begins")
        if passed[-1] in _ENDS:
            raise ValueError(f"nothing comes after {passed[-1].value!r}")
        step = STEPS.get(stage)
        if step is not None and not set(step.after) & set(passed):
            names = " or ".join(repr(s.value) for s in step.after)
            raise ValueError(
                f"{stage.value!r} skips a step: {step.why} ({step.source}); put {names} before it"
            )
        passed.append(stage)
