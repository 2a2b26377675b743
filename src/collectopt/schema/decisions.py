"""Decisions: one row per account with an open claim, each with its reasons."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectopt.exceptions import InputError
from collectopt.schema.atomic import atomic_file
from collectopt.schema.frames import like
from collectopt.schema.times import INSTANT

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    [
        ("account_id", pa.string()),
        ("channel", pa.string()),
        ("tone", pa.string()),
        ("offer", pa.string()),
        ("send_at", INSTANT),
        ("propensity", pa.float64()),
        ("p_pay", pa.float64()),
        ("p_pay_if_wait", pa.float64()),
        ("expected_recovery", pa.float64()),
        ("uplift", pa.float64()),
        ("cost", pa.float64()),
        ("value", pa.float64()),
        ("runner_up", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("rule_trace", pa.list_(pa.string())),
        ("policy_version", pa.string()),
        ("decision_id", pa.string()),
    ]
)


#: Actions of an account with EUR relative to waiting, null = not known.
CANDIDATES = pa.list_(pa.struct([("action", pa.string()), ("value", pa.float64())]))

#: For whom it is best to wait for a day: that day, whether it comes after the usual day of payment,
#: P(paid alone before the first run from then on), what is best then, and EUR more than acting now.
WAITS = pa.struct(
    [
        ("until", pa.date32()),
        ("payday", pa.bool_()),
        ("p_alone", pa.float64()),
        ("action", pa.string()),
        ("gain", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Explanation:
    """Why an account got its decision, in words.

    Attributes
    ----------
    account_id : str
    decision : str
        What is to be done.
    reasons : tuple of str
    terms : mapping of str to float
        EUR by term of the objective, relative to waiting.
    runner_up : str or None
        The second-best permitted action.
    rule_trace : tuple of str
        Which rules refused how many actions.
    candidates : tuple of (str, float or None)
        What else was possible, the most valuable first, with EUR relative to waiting; None = the
        policy does not know its worth.
    """

    account_id: str
    decision: str
    reasons: tuple[str, ...]
    terms: Mapping[str, float]
    runner_up: str | None
    rule_trace: tuple[str, ...]
    candidates: tuple[tuple[str, float | None], ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.account_id}: {self.decision}"]
        lines += [f"  - {reason}" for reason in self.reasons]
        lines += [f"  {name:<20} {value:+10.2f} EUR" for name, value in self.terms.items()]
        if self.runner_up is not None:
            lines.append(f"  runner-up: {self.runner_up}")
        if self.candidates:
            worth = ("" if v is None else f" ({v:+,.2f} EUR)" for _, v in self.candidates)
            named = (f"{n}{v}" for (n, _), v in zip(self.candidates, worth, strict=True))
            lines.append(f"  also possible: {', '.join(named)}")
        lines += [f"  rule {trace}" for trace in self.rule_trace]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@dataclass(frozen=True, eq=False)
class Decisions:
    """What to do with each account that has an open claim.

    Attributes
    ----------
    table : pyarrow.Table
        One row an account, sorted by account_id: account_id, channel ("none": wait), tone, offer,
        send_at (UTC), propensity (of exactly this action), p_pay, p_pay_if_wait (everything past
        due is paid within the horizon), expected_recovery (EUR), uplift (p_pay - p_pay_if_wait),
        cost (EUR), value (EUR, relative to waiting), runner_up, reasons, rule_trace,
        policy_version, decision_id.
    terms : mapping of str to pyarrow.Array
        EUR by term of the objective for the chosen action, one value a row.
    fallbacks : mapping of str to int
        Accounts that could not be decided and wait instead: reason -> how many.
    prices : mapping of str to float
        Shadow price of each scarce resource, EUR a unit.
    exploration : mapping of str to float
        Where the catalogue has a table `[exploration]`: `share` that explores, and EUR that it is
        expected to cost: `draws`, `set_aside` (units kept for the draws), `loss` (both).
    candidates : pyarrow.Array or None
        Of each row the action taken, then the best permitted one of each class of equal channel
        and usage, the most valuable first, five in all: a list of `action` and `value` (EUR
        relative to waiting, before prices; null = the policy does not know it). None: not kept.
    waits : pyarrow.Array or None
        Of each row the day that is waited for and why: until, payday, p_alone, action, gain; null
        where there is none. None: the catalogue has no table `[waits]`.
    """

    table: pa.Table
    terms: Mapping[str, pa.Array] = field(default_factory=dict)
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, float] = field(default_factory=dict)
    exploration: Mapping[str, float] = field(default_factory=dict)
    candidates: pa.Array | None = None
    waits: pa.Array | None = None

    def __post_init__(self) -> None:
        if self.table.schema != SCHEMA:
            raise InputError.of(
                "decisions", None, expected=str(SCHEMA.names), found=str(self.table.schema)
            )

    def __len__(self) -> int:
        return len(self.table)

    def to_arrow(self) -> pa.Table:
        """Give the table."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """Give the table in pandas."""
        return self.table.to_pandas()

    def like(self, frame: Any) -> Any:
        """Give the table in the kind of frame that `frame` is (pandas, polars, DuckDB, dicts)."""
        return like(self.table, frame)

    def to_parquet(self, path: str | Path) -> None:
        """Write the table; the file appears whole or not at all."""
        with atomic_file(Path(path)) as part:
            pq.write_table(self.table, part)

    def filter(self, mask: Any) -> Decisions:
        """Keep the rows where ``mask`` (bool, (n,)) holds, with all that stands beside them."""
        kept = pa.array(mask, pa.bool_())
        return replace(
            self,
            table=self.table.filter(kept),
            terms={name: values.filter(kept) for name, values in self.terms.items()},
            candidates=None if self.candidates is None else self.candidates.filter(kept),
            waits=None if self.waits is None else self.waits.filter(kept),
        )

    def explain(self, account_id: str) -> Explanation:
        """Say why an account got its decision.

        Raises
        ------
        InputError
            No decision for this account.
        """
        ids = self.table["account_id"]
        given: Any = account_id
        is_text = isinstance(given, str)
        row = pc.index(ids, given).as_py() if is_text else -1
        if row < 0:
            raise InputError.of(
                "decisions",
                "account_id",
                expected="an account with a decision",
                found=repr(account_id),
                hint="Accounts without an open claim get none."
                if is_text
                else "Identifiers are text: '007', not 7.",
            )
        entry: dict[str, Any] = self.table.slice(row, 1).to_pylist()[0]
        parts = [entry[name] for name in ("channel", "tone") if entry[name] is not None]
        if entry["offer"] not in {None, "none"}:
            parts.append(f"offering {entry['offer']}")
        what = "wait" if entry["channel"] == "none" else ", ".join(parts)
        if self.waits is not None and self.waits[row].is_valid:
            what += f" until {self.waits[row]['until']}"
        if entry["send_at"] is not None:
            what += f" at {entry['send_at']:%Y-%m-%d %H:%M} UTC"
        return Explanation(
            account_id,
            what,
            tuple(entry["reasons"] or ()),
            {name: values[row].as_py() for name, values in self.terms.items()},
            entry["runner_up"],
            tuple(entry["rule_trace"] or ()),
            self._others(row),
        )

    def _others(self, row: int) -> tuple[tuple[str, float | None], ...]:
        if self.candidates is None:
            return ()
        return tuple((one["action"], one["value"]) for one in self.candidates[row].as_py()[1:])

    def counts(self) -> dict[str, int]:
        """How many accounts get each channel, the most frequent first."""
        found = pc.value_counts(self.table["channel"]).to_pylist()
        pairs = {entry["values"]: entry["counts"] for entry in found}
        return dict(sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0])))

    def __repr__(self) -> str:
        mix = ", ".join(f"{name} {count}" for name, count in self.counts().items())
        return f"Decisions({len(self)} accounts: {mix})"

    def _repr_html_(self) -> str:
        shown = self.table.slice(0, 10).to_pandas()
        shown = shown.drop(columns=["rule_trace", "policy_version", "decision_id"])
        shown["reasons"] = ["; ".join(reasons) for reasons in shown["reasons"]]
        body = shown.to_html(index=False, float_format="%.3f")
        return f"<p>{html.escape(repr(self))}</p>{body}"
