"""The weekly view of the creditor: what is new is converted, what was seen before is kept.

A table is brought up to date only when somebody asks for it, so a policy that does not look at the
ledger does not pay for it. The result equals the ledger made from all rows at once and checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema.lazy import LazyLedger, canonical
from collectopt.schema.ledger import Ledger, sort_rows
from collectopt.schema.tables import TABLES
from collectopt.simulation import export
from collectopt.simulation.noise import FloatArray, IntArray
from collectopt.simulation.record import Record
from collectopt.simulation.state import State

_SPECS = {spec.name: spec for spec in TABLES}
_NO_KEYS: IntArray = np.zeros(0, dtype=np.int64)
Mark = dict[str, int]


@dataclass(frozen=True)
class _Piece:
    """A canonical table up to a mark of the record; `keys` places new rows, one a row."""

    mark: Mark
    table: pa.Table | None = None
    keys: IntArray = field(default_factory=_NO_KEYS.copy)


class Feed:
    """What the creditor knows in one world, week after week.

    Parameters
    ----------
    costs : (5,) float64
        EUR of a contact by channel; the last is that of waiting.
    policies : tuple of str
        Names of the policies by code.
    parent : Feed or None
        Feed of the same world at an earlier time, whose tables are built upon; its prices stay.
    mark : dict or None
        How far the parent is to be read.
    """

    def __init__(
        self,
        costs: FloatArray,
        policies: tuple[str, ...],
        parent: Feed | None = None,
        mark: Mark | None = None,
    ) -> None:
        self._costs, self._policies = costs, policies
        self._parent, self._mark = parent, mark
        self._pieces: dict[str, _Piece] = {}

    def later(self, state: State, costs: FloatArray) -> Feed:
        """Give a feed of its own for a world that lives on from here, at other prices."""
        return Feed(costs, self._policies, self, state.record.mark())

    def ledger(self, state: State) -> Ledger:
        """Give the ledger as of now; its tables are made when first looked at."""
        view = copy.copy(state)  # the record only grows; people, kind and calendar stay
        mark = state.record.mark()
        makers: dict[str, Callable[[], pa.Table]] = {
            name: partial(self._table, name, view, mark) for name in _SPECS
        }
        return LazyLedger(makers, state.calendar.timezone)

    def _table(self, name: str, state: State, mark: Mark) -> pa.Table:
        return self._piece(name, state, mark).table

    def _piece(self, name: str, state: State, mark: Mark) -> _Piece:
        found = self._pieces.get(name)
        if found is None or not _reaches(found.mark, mark):  # nothing yet, or an older ledger
            found = self._begin(name, state)
        if found.table is None or found.mark != mark:
            found = self._grown(name, found, state, mark)
            self._pieces[name] = found
        return found

    def _begin(self, name: str, state: State) -> _Piece:
        if self._parent is None or self._mark is None:
            return _Piece({})
        return self._parent._piece(name, state, self._mark)  # noqa: SLF001 - of the same class

    def _grown(self, name: str, old: _Piece, state: State, mark: Mark) -> _Piece:
        if name == "accounts" and old.table is not None:
            return _Piece(mark, old.table)
        view = copy.copy(state)
        view.record = state.record.since(old.mark, mark)
        fresh = export.table(name, view, self._costs, self._policies)
        # Rows are taken so that even the bytes under nulls are those of a checked ledger.
        fresh = canonical(name, fresh).take(pa.array(np.arange(len(fresh))))
        table, keys = _merge(name, old, fresh, view.record)
        return _Piece(mark, table, keys)


def _reaches(earlier: Mark, later: Mark) -> bool:
    return all(later.get(table, 0) >= count for table, count in earlier.items())


def _merge(name: str, old: _Piece, fresh: pa.Table, rows: Record) -> tuple[pa.Table, IntArray]:
    """Put new rows in their places among the old ones."""
    spec = _SPECS[name]
    if name == "invoices":
        keys = rows.ints("invoices", "account") * 1000 + rows.ints("invoices", "number")
        order = np.argsort(keys)
        return _insert(old, fresh.take(pa.array(order)), keys[order])
    if name == "responses" and _follows(old.table, fresh):
        fresh = sort_rows(spec, fresh)
        accounts = np.sort(rows.ints("responses", "account"))
        return _insert(old, fresh, accounts)
    table = fresh if old.table is None else pa.concat_tables([old.table, fresh])
    if name in {"payments", "contacts"} and _numbered(table[spec.order[0]]):
        return table.combine_chunks(), _NO_KEYS
    return sort_rows(spec, table), _sorted_accounts(name, old, rows)


def _sorted_accounts(name: str, old: _Piece, rows: Record) -> IntArray:
    if name != "responses":
        return _NO_KEYS
    return np.sort(np.concatenate([old.keys, rows.ints("responses", "account")]))


def _insert(old: _Piece, fresh: pa.Table, keys: IntArray) -> tuple[pa.Table, IntArray]:
    """Insert sorted rows behind the old rows with the same or a smaller key."""
    if old.table is None or len(old.table) == 0:
        return fresh.combine_chunks(), keys
    if len(fresh) == 0:
        return old.table, old.keys
    places = np.searchsorted(old.keys, keys, side="right")
    start = len(old.table)
    order = np.insert(np.arange(start), places, np.arange(start, start + len(fresh)))
    both = pa.concat_tables([old.table, fresh]).combine_chunks()
    return both.take(pa.array(order)).combine_chunks(), np.insert(old.keys, places, keys)


def _follows(table: pa.Table | None, fresh: pa.Table) -> bool:
    """Whether everything new is later than everything old."""
    if table is None or len(table) == 0 or len(fresh) == 0:
        return True
    return bool(pc.min(fresh["at"]).as_py() > pc.max(table["at"]).as_py())


def _numbered(ids: pa.ChunkedArray) -> bool:
    """Whether running numbers have not outgrown their width, so that text sorts like numbers."""
    return len(ids) == 0 or len(ids[0].as_py()) == len(ids[-1].as_py())
