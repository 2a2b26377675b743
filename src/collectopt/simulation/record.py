"""What the creditor's systems write down: append-only columns, day by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from collectopt.simulation.noise import FloatArray, IntArray

RESPONSES = (
    "delivered", "bounced", "opened", "clicked", "answered", "promised", "plan_accepted",
    "plan_broken", "promise_broken", "refused", "disputed", "dispute_resolved", "complained",
    "opted_out",
)  # fmt: skip
HOLDS = (
    "dispute", "promise", "payment_plan", "insolvency", "do_not_contact", "service", "agency",
    "court",
)  # fmt: skip
FEES = ("agency_fee", "court_fee", "process")
MILESTONES = (
    "recalled", "served", "not_served", "objected", "title", "bailiff", "at_rest",
)  # fmt: skip
NOTHING = -1
UNTIL_FURTHER_NOTICE = -(10**6)

_FIELDS = {
    "invoices": ("account", "number", "day", "due", "cents", "credit"),
    "payments": ("account", "day", "hour", "cents", "invoice", "method"),
    "contacts": ("account", "day", "send_day", "hour", "channel", "tone", "offer", "propensity",
                 "policy", "p_contact", "p_channel", "p_tone", "p_offer", "p_slot"),
    "cancelled": ("contact",),
    "responses": ("account", "day", "hour", "kind", "contact", "cents", "due"),
    "holds": ("account", "kind", "day", "to", "invoice"),
    "fees": ("account", "day", "cents", "kind", "contact"),
    "milestones": ("account", "day", "kind", "invoice"),
}  # fmt: skip
Column = npt.ArrayLike


@dataclass
class Record:
    """Rows of the ledger as columns of numbers; days and hours are local.

    Two tables are no part of the ledger: `fees`, what agency, court and bailiff take (below 0:
    paid back by the customer), and `milestones`, how far a claim that was handed over has come.

    `number` of an invoice counts within its account; `invoice` elsewhere is that number, and
    `NOTHING` stands for null. `contact` is the position of the contact in its table. `first` is the
    number of rows by table that came before those here, `rows` the number of those added here.
    """

    parts: dict[str, list[dict[str, npt.NDArray[np.generic]]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    contacts: int = 0
    first: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, table: str, account: IntArray, **columns: Column) -> None:
        """Append rows; scalars are repeated, what is left out is null."""
        if len(account) == 0:
            return
        row: dict[str, npt.NDArray[np.generic]] = {}
        for name in _FIELDS[table]:
            value = account if name == _FIELDS[table][0] else columns.get(name, NOTHING)
            row[name] = np.broadcast_to(np.asarray(value), account.shape)
        self.parts[table].append(row)
        self.rows[table] += len(account)
        if table == "contacts":
            self.contacts += len(account)

    def respond(
        self,
        kind: str,
        account: IntArray,
        day: int,
        hour: Column,
        contact: Column = NOTHING,
        *,
        cents: Column = NOTHING,
        due: Column = UNTIL_FURTHER_NOTICE,
    ) -> None:
        """Append responses of one kind."""
        code = RESPONSES.index(kind)
        self.add(
            "responses", account, day=day, hour=hour, kind=code, contact=contact, cents=cents,
            due=due,
        )  # fmt: skip

    def hold(
        self,
        kind: str,
        account: IntArray,
        day: int,
        to: Column = UNTIL_FURTHER_NOTICE,
        invoice: Column = NOTHING,
    ) -> None:
        """Append holds of one kind; they are never touched again."""
        self.add("holds", account, kind=HOLDS.index(kind), day=day, to=to, invoice=invoice)

    def fee(
        self, kind: str, account: IntArray, day: int, cents: IntArray, contact: Column = NOTHING
    ) -> None:
        """Append fees of one kind; `contact` is the decision that caused them at once."""
        some = cents != 0
        self.add(
            "fees", account[some], day=day, cents=cents[some], kind=FEES.index(kind),
            contact=np.broadcast_to(np.asarray(contact), account.shape)[some],
        )  # fmt: skip

    def milestone(self, kind: str, account: IntArray, day: int, invoice: IntArray) -> None:
        """Append a milestone of claims that were handed over."""
        self.add("milestones", account, day=day, kind=MILESTONES.index(kind), invoice=invoice)

    def column(self, table: str, name: str) -> npt.NDArray[np.generic]:
        """One column of all rows so far."""
        parts = [part[name] for part in self.parts[table]]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def ints(self, table: str, name: str) -> IntArray:
        """One column as whole numbers."""
        return self.column(table, name).astype(np.int64)

    def floats(self, table: str, name: str) -> FloatArray:
        """One column as floating-point numbers."""
        return self.column(table, name).astype(np.float64)

    def mark(self) -> dict[str, int]:
        """Where every table ends now, for `since`."""
        return {table: len(parts) for table, parts in self.parts.items()}

    def since(self, mark: Mapping[str, int], until: Mapping[str, int] | None = None) -> Record:
        """Give the rows between two marks; `first` says how many came before them."""
        later = Record(contacts=self.contacts)
        for table, parts in self.parts.items():
            place = mark.get(table, 0)
            end = len(parts) if until is None else until.get(table, 0)
            later.parts[table] = parts[place:end]
            column = _FIELDS[table][0]
            after = sum(len(part[column]) for part in parts[place:])
            later.first[table] = self.rows[table] - after
        return later

    def copy(self) -> Record:
        """Copy the lists; the rows themselves are never changed, so they are shared."""
        twin = Record(contacts=self.contacts)
        for table, parts in self.parts.items():
            twin.parts[table] = list(parts)
            twin.rows[table] = self.rows[table]
        return twin
