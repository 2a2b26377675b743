"""Write a joint choice down: the table of decisions with reasons and rule trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collectopt.policy import sentences
from collectopt.policy.draws import decision_ids
from collectopt.policy.engine import Case, Details, Outcome, Setting, choose
from collectopt.policy.orders import UNWANTED
from collectopt.policy.overrides import marked
from collectopt.policy.possible import possible
from collectopt.policy.sentences import Refusal, refusals
from collectopt.policy.waiting import ready, written
from collectopt.rules.layout import Unit
from collectopt.rules.state import NEVER
from collectopt.schema.actions import ActionKind
from collectopt.schema.decisions import CANDIDATES, SCHEMA, Decisions
from collectopt.schema.times import INSTANT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def decide(setting: Setting, case: Case) -> Decisions:
    """Choose for all accounts together and write down what and why."""
    case = ready(setting, case)
    outcome = choose(setting, case)
    writer = _Writer(setting, outcome)
    blocks = [writer.block(case, rows) for rows in setting.blocks()]
    table = pa.Table.from_batches(
        [pa.record_batch(columns, schema=SCHEMA) for columns, _, _ in blocks], schema=SCHEMA
    ).combine_chunks()
    labels = [terms for _, terms, _ in blocks]
    return Decisions(
        table=table,
        terms={
            name: pa.array(np.concatenate([terms[name] for terms in labels]))
            for name in (labels[0] if labels else ())
        },
        fallbacks={why: int(mask.sum()) for why, mask in setting.undecidable.items() if mask.any()},
        prices=dict(outcome.prices),
        exploration={} if outcome.spent is None else outcome.spent.to_dict(),
        candidates=pa.concat_arrays([pa.array([], CANDIDATES), *(also for _, _, also in blocks)]),
        waits=written(case, table),
    )


@dataclass(frozen=True)
class _Row:
    """What was done with one account of a block, and what is known of the block."""

    taken: int
    propensity: float
    refusal: Refusal
    details: Details


def _named(names: Sequence[str], codes: NDArray[np.signedinteger[Any]]) -> pa.Array:
    """Names by code; below 0 = null."""
    return pa.array(names, pa.string()).take(pa.array(codes, pa.int64(), mask=codes < 0))


@dataclass(frozen=True)
class _Writer:
    setting: Setting
    outcome: Outcome

    @cached_property
    def contact(self) -> NDArray[np.bool_]:
        return self.setting.actions.is_contact

    @cached_property
    def channel(self) -> Ints:
        """Channel of each action, -1 = none."""
        return np.where(self.contact, self.setting.actions.channel, -1).astype(np.int64)

    @cached_property
    def reachable(self) -> NDArray[np.bool_]:
        """Accounts that the rules allow to contact."""
        wanted = self.outcome.wanted
        return wanted.counts.any(axis=1) | (wanted.yields > 0)

    @cached_property
    def forced(self) -> NDArray[np.bool_]:
        """Accounts whose action a person forces."""
        return self.setting.orders.forced(len(self.setting.state))

    @cached_property
    def names(self) -> pa.Array:
        """Actions in words."""
        return pa.array(self.setting.actions.names, pa.string())

    def _possible(self, case: Case, rows: slice, taken: Ints, value: Floats) -> pa.Array:
        """List what the accounts of a block could get."""
        best, action = self.outcome.wanted.best[rows], self.outcome.wanted.action[rows]
        euros = np.where(best > UNWANTED, case.told(rows, best, action), np.nan)
        return possible(self.names, best, euros, action, taken, value)

    def block(
        self, case: Case, rows: slice
    ) -> tuple[dict[str, pa.Array], Mapping[str, Floats], pa.Array]:
        """Columns of the table for a block of accounts, terms of their values, candidates."""
        setting, outcome, actions = self.setting, self.outcome, self.setting.actions
        verdict = setting.rules.evaluate(setting.state, setting.layout, rows)
        drawn = outcome.exploration.draw(rows, verdict.allowed_to, self.channel, outcome.u[rows])
        greedy = outcome.greedy[rows]
        taken = np.where(drawn >= 0, drawn, greedy)
        propensity = outcome.exploration.propensity(rows, taken, self.channel[taken], greedy)
        details = case.details(rows, taken)
        rival = np.where(taken == greedy, outcome.rival[rows], greedy)
        ids = setting.snapshot.rows["account_id"].to_numpy(zero_copy_only=False)[rows]
        known = np.isfinite(details.value)
        refused = refusals(setting.rules, actions, verdict.refused)
        numbers = {
            "propensity": propensity,
            "p_pay": details.p_pay,
            "p_pay_if_wait": details.p_wait,
            "expected_recovery": details.recovery,
            "uplift": details.p_pay - details.p_wait,
            "cost": actions.cost[taken],
            "value": np.where(known, details.value, np.nan),
        }
        columns = {
            "account_id": pa.array(ids, pa.string()),
            **self._factors(rows, taken),
            **{name: pa.array(v, pa.float64(), from_pandas=True) for name, v in numbers.items()},
            "runner_up": _named(actions.names, rival),
            "reasons": pa.array(
                [
                    self._reasons(
                        rows.start + j, j, _Row(taken[j], propensity[j], refusal, details)
                    )
                    for j, refusal in enumerate(refused)
                ],
                pa.list_(pa.string()),
            ),
            "rule_trace": pa.array(
                [self._trace(rows.start + j, refusal) for j, refusal in enumerate(refused)],
                pa.list_(pa.string()),
            ),
            "policy_version": _named(
                [setting.version, marked(setting.version)],
                setting.by_hand(rows).astype(np.int64),
            ),
            "decision_id": pa.array(
                decision_ids(
                    ids,
                    setting.state.as_of,
                    setting.seed,
                    setting.orders.named(setting.version),
                ),
                pa.string(),
            ),
        }
        return columns, details.terms, self._possible(case, rows, taken, details.value)

    def _factors(self, rows: slice, taken: Ints) -> dict[str, pa.Array]:
        """Channel, tone, offer and time of the actions taken."""
        actions, state, layout = self.setting.actions, self.setting.state, self.setting.layout
        contact, own = self.contact[taken], len(actions.channels)
        others = ["" if kind is ActionKind.CONTACT else kind.channel for kind in ActionKind]
        code = np.where(contact, actions.channel[taken], own + actions.kind[taken])
        sent = np.zeros(len(taken), dtype=np.int64)
        slot = layout.index[Unit.SLOT][taken[contact]]
        sent[contact] = state.send_at[state.clock[rows][contact], slot]
        assert NEVER not in sent, "a slot that does not exist was chosen"
        return {
            "channel": _named([*actions.channels, *others], code),
            "tone": _named(actions.tones, actions.tone[taken]),
            "offer": _named(actions.offers, actions.offer[taken]),
            "send_at": pa.array(sent, pa.int64(), mask=~contact).cast(INSTANT),
        }

    def _trace(self, row: int, refusal: Refusal) -> list[str]:
        """Say which rules refused how many actions, in order of precedence."""
        withheld, people = int(self.outcome.wanted.yields[row]), self.setting.orders.trace(row)
        if self.setting.shifts is not None:
            people += self.setting.shifts.trace(row)
        if withheld:
            more = {"CONTACT_CAP": refusal.counts.get("CONTACT_CAP", 0) + withheld}
            refusal = replace(refusal, counts={**refusal.counts, **more})
        return [*refusal.told(self.setting.state, row).trace, *people]

    def _reasons(self, row: int, j: int, known: _Row) -> list[str]:
        """Say why, in plain words; never empty."""
        taken, details = known.taken, known.details
        outcome, actions = self.outcome, self.setting.actions
        said = [why for why, mask in self.setting.undecidable.items() if mask[row]]
        if said:
            return [sentences.undecided(why) for why in said]
        said = self.setting.orders.reasons(row, outcome.amended)
        if outcome.exploration.explores[row]:
            greedy = outcome.greedy[row]
            other = None if taken == greedy else actions.names[greedy]
            said.append(sentences.drawn(float(known.propensity), other))
        elif taken == 0 and not self.forced[row]:
            said.append((details.waits and details.waits[j]) or self._why_wait(row, known.refusal))
            said += known.refusal.told(self.setting.state, row).on_hold
        if details.notes and details.notes[j] and self.reachable[row]:
            said.append(details.notes[j])
        if taken:
            said += sentences.gains(
                self.setting.catalogue,
                (float(details.p_pay[j]), float(details.p_wait[j])),
                float(self.setting.state.open_amount[row]),
                float(details.value[j]),
                float(actions.cost[taken]),
            )
        return said or [sentences.chosen(actions.names[taken])]

    def _why_wait(self, row: int, refusal: Refusal) -> str:
        if refusal.alone:
            return refusal.alone
        outcome, actions = self.outcome, self.setting.actions
        if not self.reachable[row]:
            orders = self.setting.orders.by_row
            return sentences.refused_together(
                [*refusal.counts, *(["OVERRIDE"] if row in orders else [])]
            )
        if outcome.wanted.yields[row]:
            return sentences.WAITS_FOR_ANOTHER
        best, value = int(outcome.rival[row]), float(outcome.rival_value[row])
        if best < 0:
            return sentences.WANTS_NOTHING
        return sentences.waits(actions.names[best], value, self.setting.catalogue)
