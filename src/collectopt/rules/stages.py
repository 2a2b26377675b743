"""The stage machine as permissions: agency and court only after every step that comes before.

The stage of an account is read from what was done since its oldest claim fell due: a contact makes
it reminded, a later one in the tone of a formal notice makes it warned. What cannot be seen in the
ledger counts as not done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from collectopt.rules.dates import limitation
from collectopt.rules.layout import Layout, Unit
from collectopt.rules.permissions import Bools, Permission
from collectopt.rules.state import State
from collectopt.schema.actions import ActionKind
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.stages import Stage

_DAY_US = 86_400_000_000


class Need(StrEnum):
    """What has to lie behind an agency or a court."""

    REMINDED = "reminded"
    WARNED = "warned"
    NOTICE_TIME = "notice_time"
    UNDISPUTED = "undisputed"
    IN_TIME = "in_time"
    ORDER = "order"


_WORDS = {
    Need.REMINDED: (
        "BGB § 286(1)",
        "no reminder since the due date: default has not begun",
    ),
    Need.WARNED: (
        "BGB § 286; ZPO § 93; GDPR Art. 13; house rule",
        "no formal notice has announced it",
    ),
    Need.NOTICE_TIME: ("house rule", "the time that the last notice gave is not over"),
    Need.UNDISPUTED: ("RVG VV 2300; BDSG § 31(2) no. 4 d", "the claim is disputed"),
    Need.IN_TIME: ("BGB §§ 195, 199, 214", "the limitation period is over"),
    Need.ORDER: ("catalogue", "the house's own order of stages puts another step before it"),
}


@dataclass(frozen=True)
class StageStep(Permission):
    """One step of the stage machine.

    Parameters
    ----------
    need : Need
    notice : int
        Rank of the tone from which on a contact is a formal notice.
    agency_days, court_days : int
        Days between the last contact and the hand-over.
    order : tuple of Stage
        The house's own order.
    """

    need: Need = Need.REMINDED
    notice: int = 0
    agency_days: int = 14
    court_days: int = 14
    order: tuple[Stage, ...] = ()
    unit: ClassVar[Unit] = Unit.KIND

    @property
    def code(self) -> str:  # type: ignore[override]
        """STAGE_ and the need."""
        return f"STAGE_{self.need.upper()}"

    @property
    def source(self) -> str:  # type: ignore[override]
        """Where the rule stands."""
        return _WORDS[self.need][0]

    @property
    def reason(self) -> str:  # type: ignore[override]
        """Plain words."""
        return _WORDS[self.need][1]

    def refuse(self, state: State, layout: Layout, rows: slice) -> Bools:
        """Refuse agency and court where the step is missing."""
        agency, court = self._missing(state, rows)
        refused = np.zeros((len(agency), layout.sizes[Unit.KIND]), dtype=bool)
        refused[:, ActionKind.AGENCY], refused[:, ActionKind.COURT] = agency, court
        return refused

    def _missing(self, state: State, rows: slice) -> tuple[Bools, Bools]:
        own = state.own_contacts[rows]
        warned = is_warned(state, self.notice)[rows]
        if self.need is Need.REMINDED:
            return own < 1, own < 1
        if self.need is Need.WARNED:
            # a firm is told by the reminder; a person by a notice that says what comes next
            return ~warned & state.consumer[rows], ~warned
        if self.need is Need.NOTICE_TIME:
            since = state.days_since_contact[rows]
            return since < self.agency_days, since < self.court_days
        if self.need is Need.UNDISPUTED:
            disputed = np.ones(len(own), bool) if state.disputed is None else state.disputed[rows]
            return disputed, disputed
        if self.need is Need.IN_TIME:
            return np.zeros(len(own), dtype=bool), days_left(state)[rows] < 0
        agency = state.was_at_agency
        passed = {
            Stage.WARNED: warned,
            Stage.AGENCY: np.zeros(len(own), bool) if agency is None else agency[rows],
        }
        return self._out_of_order(Stage.AGENCY, passed), self._out_of_order(Stage.COURT, passed)

    def _out_of_order(self, stage: Stage, passed: Mapping[Stage, Bools]) -> Bools:
        """Where the house puts a step before that was not taken; a way that it leaves out."""
        never = np.zeros(len(passed[Stage.WARNED]), dtype=bool)
        if stage not in self.order:
            return ~never
        before = self.order[: self.order.index(stage)]
        missing = [~passed.get(step, never) for step in before if step is not Stage.REMINDED]
        return np.any([never, *missing], axis=0)


def is_warned(state: State, notice: int) -> Bools:
    """Whether the last contact was a formal notice about what is past due, after a reminder; (n,).

    With a single tone the second contact is the notice.
    """
    return np.asarray((state.own_contacts >= 2) & (state.last_tone >= notice))


def days_left(state: State) -> NDArray[np.int64]:
    """Days until the oldest claim is time-barred, (n,); below 0 where it is.

    From its due date on. Restarts and suspensions are left out, which ends the period too early
    rather than too late.
    """
    today = state.as_of // _DAY_US
    due, place = np.unique(today - state.days_past_due, return_inverse=True)
    days = due.astype("datetime64[D]").tolist()
    ends = np.array([limitation(day) for day in days], dtype="datetime64[D]").astype(np.int64)
    return np.asarray(ends[place.reshape(-1)] - today, dtype=np.int64)


def stage_steps(catalogue: Catalogue) -> list[Permission]:
    """Give the steps of a catalogue that has an agency or a court; none for others."""
    if catalogue.agency is None and catalogue.court is None:
        return []
    stages = catalogue.stages
    tones = catalogue.tone_names
    tone = None if stages is None else stages.notice_tone
    given = (
        len(tones) - 1 if tone is None else tones.index(tone),
        14 if catalogue.agency is None else catalogue.agency.notice_days,
        14 if catalogue.court is None else catalogue.court.notice_days,
    )
    needs = [need for need in Need if need is not Need.ORDER]
    steps: list[Permission] = [StageStep(need, *given) for need in needs]
    if stages is not None and stages.order:
        steps.append(StageStep(Need.ORDER, *given, order=stages.order))
    return steps


def stages_of(state: State, notice: int) -> list[Stage]:
    """Stage of every account.

    Parameters
    ----------
    state : State
    notice : int
        Rank of the tone from which on a contact is a formal notice.
    """
    warned, found = is_warned(state, notice), []
    for i in range(len(state)):
        if state.holds["court"][i]:
            found.append(Stage.COURT)
        elif state.holds["agency"][i]:
            found.append(Stage.AGENCY)
        elif state.holds["do_not_contact"][i]:
            found.append(Stage.STOPPED)
        elif not state.past_due[i] or not state.own_contacts[i]:
            found.append(Stage.OPEN)
        else:
            found.append(Stage.WARNED if warned[i] else Stage.REMINDED)
    return found
