"""Which payment settled which claim, and when.

Money is applied in the order in which it became known, never looking ahead: to the claim it
names, the rest to the oldest due claim that is known by then; what is left waits as credit for
the next claim. A returned payment takes its settlements back, newest first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
#: Kinds of events, in the order in which they count within an instant.
CLAIM, CREDIT, PAYMENT = 0, 1, 2
NO_INVOICE = -1
#: One event of an account: known_at, kind, row, cents, invoice named or NO_INVOICE.
Event = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Settlements:
    """Parts of claims that were settled (cents > 0) or reopened (cents < 0).

    Attributes
    ----------
    account, invoice : int64 arrays, shape (s,)
        Row numbers of accounts and invoices.
    cents : int64 array, shape (s,)
    known_at : int64 array, shape (s,)
        UTC microseconds from which on the settlement is known.
    paid_at : int64 array, shape (s,)
        UTC microseconds of the money itself.
    cash : bool array, shape (s,)
        False where a credit note settled.
    """

    account: Ints
    invoice: Ints
    cents: Ints
    known_at: Ints
    paid_at: Ints
    cash: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Items:
    """Invoices (credit notes with cents < 0), sorted by nothing in particular; row = invoice."""

    account: Ints
    cents: Ints
    known_at: Ints
    due: Ints
    rank: Ints  # position among all invoices by (due_on, issued_on, invoice_id)


@dataclass(frozen=True)
class Money:
    """Payments (returned with cents < 0); `invoice` is NO_INVOICE where none is named."""

    account: Ints
    cents: Ints
    known_at: Ints
    invoice: Ints
    rank: Ints  # order among payments of one instant


def settle(items: Items, money: Money) -> Settlements:
    """Apply all money to all claims, account by account.

    Parameters
    ----------
    items : Items
    money : Money

    Returns
    -------
    Settlements
        Sorted by account, then by time.

    Examples
    --------
    >>> a = lambda *x: np.array(x, dtype=np.int64)
    >>> items = Items(a(0, 0), a(100, 50), a(0, 0), a(9, 5), a(1, 0))
    >>> money = Money(a(0), a(70), a(3), a(NO_INVOICE), a(0))
    >>> s = settle(items, money)
    >>> [(int(i), int(c)) for i, c in zip(s.invoice, s.cents)]  # oldest due first
    [(1, 50), (0, 20)]
    """
    simple = _simple_accounts(items, money)
    easy = _name_their_claim(items, money, simple)
    hard = _replayed(items, money, simple)
    parts = [np.concatenate([a, b]) for a, b in zip(easy, hard, strict=True)]
    order = np.lexsort((parts[3], parts[0]))  # stable: money keeps its order within an instant
    account, invoice, cents, known_at, paid_at, cash = (p[order] for p in parts)
    return Settlements(account, invoice, cents, known_at, paid_at, cash.astype(np.bool_))


def _simple_accounts(items: Items, money: Money) -> npt.NDArray[np.bool_]:
    """Accounts where each payment names its claim and none pays too much: nothing to allocate."""
    n = int(max(items.account.max(initial=-1), money.account.max(initial=-1))) + 1
    simple = np.ones(n, dtype=np.bool_)
    simple[items.account[items.cents < 0]] = False
    simple[money.account[(money.invoice == NO_INVOICE) | (money.cents < 0)]] = False
    named = money.invoice != NO_INVOICE
    paid = np.bincount(money.invoice[named], weights=money.cents[named], minlength=len(items.cents))
    simple[items.account[paid > items.cents]] = False
    return simple


def _name_their_claim(
    items: Items, money: Money, simple: npt.NDArray[np.bool_]
) -> tuple[Ints, ...]:
    take = simple[money.account] & (money.cents > 0) if len(money.account) else np.zeros(0, bool)
    invoice = money.invoice[take]
    known_at = np.maximum(money.known_at[take], items.known_at[invoice])
    cash = np.ones(len(invoice), dtype=np.int64)
    return (
        money.account[take],
        invoice,
        money.cents[take],
        known_at,
        money.known_at[take],
        cash,
    )


def _replayed(items: Items, money: Money, simple: npt.NDArray[np.bool_]) -> tuple[Ints, ...]:
    book = Replay(items.rank.tolist(), items.cents.tolist())
    for account, events in _events(items, money, simple):
        book.account(account, events)
    table = np.array(book.found, dtype=np.int64).reshape(-1, 6)
    return tuple(table[:, i] for i in range(6))


def _events(
    items: Items, money: Money, simple: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, list[Event]]]:
    """Events of each account in the order in which they became known."""
    own = ~simple[items.account] & (items.cents != 0)
    paid = ~simple[money.account] & (money.cents != 0)
    row = np.concatenate([np.flatnonzero(own), np.flatnonzero(paid)])
    account = np.concatenate([items.account[own], money.account[paid]])
    cents = np.concatenate([np.abs(items.cents[own]), money.cents[paid]])
    kind = np.concatenate(
        [np.where(items.cents[own] > 0, CLAIM, CREDIT), np.full(paid.sum(), PAYMENT)]
    )
    known_at = np.concatenate([items.known_at[own], money.known_at[paid]])
    rank = np.concatenate([items.rank[own], money.rank[paid]])
    named = np.concatenate([np.full(own.sum(), NO_INVOICE), money.invoice[paid]])
    order = np.lexsort((rank, kind, known_at, account))
    columns = [c[order].tolist() for c in (known_at, kind, row, cents, named)]
    account = account[order]
    starts = np.flatnonzero(np.diff(account, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(account)], strict=False):
        yield int(account[start]), list(zip(*(c[start:end] for c in columns), strict=True))


@dataclass
class _Account:
    """State of one account while its history is replayed."""

    waiting: list[tuple[int, int]] = field(
        default_factory=list
    )  # (rank, invoice), oldest due first
    opened: dict[int, int] = field(default_factory=dict)  # invoice -> open cents
    cash: dict[int, int] = field(default_factory=dict)  # invoice -> cents settled in cash
    history: list[list[int]] = field(default_factory=list)  # [invoice, cents] settled in cash
    pending: dict[int, list[list[int]]] = field(default_factory=dict)  # money for unknown claims
    credit: list[list[int]] = field(default_factory=list)  # [cents, paid_at, cash] not yet used
    debt: int = 0  # returned more than was ever seen
    returns: bool = True  # whether money is ever given back; else nobody asks what cash settled


class Replay:
    """Replays accounts one after the other.

    Parameters
    ----------
    rank : sequence of int
        Of each invoice, as in `Items`.
    cents : sequence of int
        Likewise.

    Attributes
    ----------
    found : list of (account, invoice, cents, known_at, paid_at, cash)
        Rows of `Settlements`, account by account, in the order of the events.
    """

    def __init__(self, rank: Sequence[int], cents: Sequence[int]) -> None:
        self.found: list[tuple[int, int, int, int, int, int]] = []
        self._rank, self._cents = rank, cents

    def account(self, account: int, events: Sequence[Event]) -> None:
        """Apply the events of one account, in the order in which they became known."""
        self._state = _Account(returns=any(event[3] < 0 for event in events))
        self._account = account
        for known_at, kind, row, cents, named in events:
            self._now = known_at
            if kind == CLAIM:
                self._arrive(row, cents)
            elif kind == CREDIT:
                self._receive(cents, known_at, cash=0)
            else:
                self._pay(cents, known_at, named)

    def _arrive(self, invoice: int, cents: int) -> None:
        state = self._state
        state.opened[invoice] = cents
        insort(state.waiting, (self._rank[invoice], invoice))
        for amount, paid_at in state.pending.pop(invoice, []):
            rest = self._settle(invoice, amount, paid_at, cash=1)
            if rest:
                state.credit.append([rest, paid_at, 1])
        self._use_credit()

    def _pay(self, cents: int, paid_at: int, named: int) -> None:
        state = self._state
        if cents < 0:
            self._give_back(-cents, named)
            return
        if named != NO_INVOICE and self._cents[named] > 0:
            if named not in state.opened:
                state.pending.setdefault(named, []).append([cents, paid_at])
                return
            cents = self._settle(named, cents, paid_at, cash=1)
            if not cents:
                return
        self._receive(cents, paid_at, cash=1)

    def _receive(self, cents: int, paid_at: int, *, cash: int) -> None:
        state = self._state
        covered = min(cents, state.debt)
        state.debt -= covered
        if cents > covered:
            state.credit.append([cents - covered, paid_at, cash])
            self._use_credit()

    def _use_credit(self) -> None:
        state = self._state
        while state.credit and state.waiting:
            amount, paid_at, cash = state.credit[0]
            rest = self._settle(state.waiting[0][1], amount, paid_at, cash=cash)
            if rest:
                state.credit[0][0] = rest
            else:
                state.credit.pop(0)

    def _settle(self, invoice: int, cents: int, paid_at: int, *, cash: int) -> int:
        """Settle what is open of a claim; return what is left of the money."""
        state = self._state
        part = min(cents, state.opened[invoice])
        if part:
            state.opened[invoice] -= part
            if cash and state.returns:
                state.cash[invoice] = state.cash.get(invoice, 0) + part
                state.history.append([invoice, part])
            if not state.opened[invoice]:
                state.waiting.remove((self._rank[invoice], invoice))
            self.found.append((self._account, invoice, part, self._now, paid_at, cash))
        return cents - part

    def _give_back(self, cents: int, named: int) -> None:
        state = self._state
        if named != NO_INVOICE:
            early = state.pending.get(named, [])
            while early and cents:
                cents -= self._shrink(early, -1, cents)
            part = min(cents, state.cash.get(named, 0))
            self._reopen(named, part)
            cents -= part
        while cents and any(entry[2] for entry in state.credit):
            last = max(i for i, entry in enumerate(state.credit) if entry[2])
            cents -= self._shrink(state.credit, last, cents)
        for invoice, settled in reversed(list(state.history)):
            part = min(cents, settled, state.cash.get(invoice, 0))
            self._reopen(invoice, part)
            cents -= part
        state.debt += cents
        self._use_credit()

    @staticmethod
    def _shrink(entries: list[list[int]], index: int, cents: int) -> int:
        part = min(cents, entries[index][0])
        entries[index][0] -= part
        if not entries[index][0]:
            entries.pop(index)
        return part

    def _reopen(self, invoice: int, cents: int) -> None:
        if not cents:
            return
        state = self._state
        if not state.opened[invoice]:
            insort(state.waiting, (self._rank[invoice], invoice))
        state.opened[invoice] += cents
        state.cash[invoice] -= cents
        self.found.append((self._account, invoice, -cents, self._now, self._now, 1))
        for entry in reversed(state.history):
            if entry[0] == invoice:
                taken = min(cents, entry[1])
                entry[1] -= taken
                cents -= taken
        state.history = [entry for entry in state.history if entry[1]]
