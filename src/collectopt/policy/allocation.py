"""Joint choice under shared limits: a multiple-choice knapsack by Lagrangian prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collectopt.exceptions import InputError
from collectopt.policy.lagrange import Book
from collectopt.policy.ranked import Own, Part, Shared, narrowed
from collectopt.policy.rounding import rounded, solve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Blocks = Callable[[], Iterable[tuple[ArrayLike, ArrayLike]]]

_SMALL = 30_000  # rows that are solved as a whole
_SAMPLE = 6_000
_OPEN, _SHARE = 20_000, 20  # rows to be left open; of very many one in so many
_ROWS = 8192  # rows of a block of arrays
_CELLS = 130_000  # numbers of a block's usage that are worked on at once: they fit into the cache
_ROUNDS = 12
_HOT = 4.0  # leads of open rows at which prices are sought anew, times ten
_CLOSE, _CLOSER = 2e-6, 2e-7  # gap that is small enough, and where a look costs little


@dataclass(frozen=True)
class Allocation:
    """One choice a row, within every limit, and the proof of how good it is.

    Attributes
    ----------
    choice : ndarray (n,) of int64
        Chosen column.
    prices : ndarray (R,)
        What one more unit of a resource would be worth, EUR; 0 where it is not scarce.
    value : float
        Sum of the chosen values, EUR.
    bound : float
        No choice within the limits is worth more.
    gap : float
        (bound - value) / abs(bound), 0 where they meet.
    """

    choice: Ints
    prices: Floats
    value: float
    bound: float
    gap: float


def allocate(
    value: ArrayLike | None = None,
    usage: ArrayLike | None = None,
    limits: ArrayLike = (),
    *,
    blocks: Blocks | None = None,
) -> Allocation:
    """Choose one column a row so that the sum of values is large and no limit is exceeded.

    The prices minimise the Lagrangian dual D(l) = l . limits + sum_i max_k (v_ik - l . u_ik), by
    Newton steps on its softmax smoothing with falling temperature: on a sample of many rows, whose
    slope is put right by that of all rows, then on those whose choice is open near these prices,
    beside the sample, which speaks for the others. Every l >= 0 gives an upper bound, so the gap
    is a certificate and not an estimate. The choice at these prices is repaired (cheapest loss a
    unit first) and what is left of the limits is filled. Columns with the same usage count as the
    best of them. The same input gives the same choice.

    Parameters
    ----------
    value : array_like (n, K)
        EUR of each choice; -inf = not allowed. Column 0 is to do nothing: finite everywhere.
    usage : array_like (K, R) or (n, K, R)
        Units of each resource that a choice takes, >= 0; column 0 takes none.
    limits : array_like (R,)
        Units there are, >= 0; inf = no limit.
    blocks : callable, optional
        Instead of value and usage: gives the blocks of rows, (value, usage) each, as often as it is
        called, some four to eight times. Accounts x actions need not stand in memory then.

    Returns
    -------
    Allocation

    Raises
    ------
    InputError
        Shapes do not fit, a value is nan or +inf, usage or limits are negative or nan.

    Notes
    -----
    Usage of its own (n, K, R) lets a resource count for a group alone: 0 for all other rows. To do
    nothing always keeps to the limits, so "at least" is said the other way round: units are kept
    for a group by a limit on what the rest may take. The group need not use them where it is worth
    nothing; what must happen in any case is chosen before, and its units are taken off the limits.

    References
    ----------
    Sinha and Zoltners (1979), The multiple-choice knapsack problem, Operations Research 27(3).

    Examples
    --------
    Two calls at most, three accounts; the price of a call is what the third would have brought.

    >>> allocation = allocate([[0, 5.0], [0, 3.0], [0, 1.0]], usage=[[0.0], [1.0]], limits=[2.0])
    >>> allocation.choice.tolist(), allocation.value
    ([1, 1, 0], 8.0)

    At least one of the two calls is kept for the second group, the last account: the first group
    takes one at most.

    >>> usage = np.zeros((3, 2, 2))
    >>> usage[:, 1, 0] = 1.0  # calls
    >>> usage[:2, 1, 1] = 1.0  # calls of the first group
    >>> allocate([[0, 5.0], [0, 3.0], [0, 1.0]], usage, limits=[2.0, 1.0]).choice.tolist()
    [1, 0, 1]
    """
    room = np.atleast_1d(np.asarray(limits, dtype=np.float64))
    if not (room >= 0).all():
        raise _wrong("limits", "units >= 0, inf = no limit", np.flatnonzero(~(room >= 0)))
    if (blocks is None) == (value is None or usage is None):
        expected, found = "either value and usage, or blocks", "both" if blocks else "neither"
        raise InputError.of("allocate", "value", expected=expected, found=found)
    if blocks is not None:
        parts: _Parts = partial(_streamed, blocks, room)
    else:
        assert value is not None
        assert usage is not None
        parts = _cut(value, usage, room)
    live, prices = _live(room), np.zeros(len(room))
    cheap = usage is not None and np.ndim(usage) == 2
    best = _solve(parts, int(live.sum()), _CLOSER if cheap else _CLOSE)
    prices[live] = best.prices / room[live]
    bound = max(best.bound, best.value)
    gap = (bound - best.value) / abs(bound) if bound > best.value else 0.0
    return Allocation(best.choice, prices, best.value, bound, gap)


# -- rows ----------------------------------------------------------------------------------------


#: Makes the parts for one pass; they are checked if it is told to.
_Parts = Callable[[bool], Iterable[Part]]


def _streamed(blocks: Blocks, room: Floats, check: bool) -> Iterator[Part]:
    """Read blocks anew."""
    start = 0
    for value, usage in blocks():
        v, u = np.asarray(value), np.asarray(usage)
        size = len(v) if u.ndim != 3 else max(_CELLS // max(u[:1].size, 1), 1)
        if check:
            _check_shapes(v, u, room)
        for begin in range(0, len(v), max(size, 1)):
            here = slice(begin, begin + size)
            part = _part(v[here], u[here] if u.ndim == 3 else u, room, start if check else None)
            start += len(part)
            yield part


def _cut(value: ArrayLike, usage: ArrayLike, room: Floats) -> _Parts:
    """Cut arrays into blocks; with shared usage the best of each class alone is kept."""
    v, u = np.asarray(value), np.asarray(usage)
    _check_shapes(v, u, room)
    starts = range(0, max(len(v), 1), _ROWS)

    def blocks() -> Iterator[tuple[ArrayLike, ArrayLike]]:
        for start in starts:
            here = slice(start, start + _ROWS)
            yield v[here], u if u.ndim == 2 else u[here]

    if u.ndim == 3:
        return partial(_streamed, blocks, room)
    kept = [_part(v[s : s + _ROWS], u, room, s) for s in starts]
    return lambda check: kept  # noqa: ARG005 - they are checked


def _part(v: NDArray[Any], u: NDArray[Any], room: Floats, start: int | None) -> Part:
    """Make a block of rows; checked where it is told which row is the first."""
    if start is not None:
        _check(v, u, start)
    # a resource of which there is nothing forbids; one without limit does not count
    none, live = room == 0, _live(room)
    if none.any():
        v = np.where((u[..., none] > 0).any(axis=-1), -np.inf, v)
    if u.ndim == 2:
        return Shared.of(v, u[:, live] / room[live])
    own = u if live.all() else u[..., live]
    return Own(np.asarray(v, dtype=np.float64), own, room[live])


def _live(room: Floats) -> NDArray[np.bool_]:
    return np.isfinite(room) & (room > 0)


def _check_shapes(v: NDArray[Any], u: NDArray[Any], room: Floats) -> None:
    if v.ndim != 2 or v.shape[1] == 0:
        raise InputError.of("allocate", "value", expected="shape (n, K)", found=str(v.shape))
    wanted = (v.shape[1], len(room))
    if u.shape not in (wanted, (len(v), *wanted)):
        raise InputError.of(
            "allocate",
            "usage",
            expected=f"shape {wanted} or {(len(v), *wanted)}",
            found=str(u.shape),
            hint="One row a choice, one column a limit.",
        )


def _check(v: NDArray[Any], u: NDArray[Any], start: int) -> None:
    """Refuse a block; rows are counted from ``start`` on."""
    if not len(v):
        return
    # one look each where all is well: nan fails every comparison
    usable = bool(v.max() < np.inf) and bool(np.isfinite(v[:, 0]).all())
    usable &= u.size == 0 or bool(u.min() >= 0 and u.max() < np.inf and not u[..., 0, :].any())
    if usable:
        return
    first = start if u.ndim == 3 else 0
    for column, wrong, expected, begin in (
        ("value", np.isnan(v) | (v == np.inf), "numbers, or -inf where not allowed", start),
        ("value", ~np.isfinite(v[:, :1]), "a finite value of column 0, which does nothing", start),
        ("usage", ~(np.isfinite(u) & (u >= 0)), "finite units >= 0", first),
        ("usage", u[..., 0, :] != 0, "no usage in column 0, which does nothing", first),
    ):
        if wrong.any():
            raise _wrong(column, expected, begin + np.unique(np.nonzero(wrong)[0]))


def _wrong(column: str, expected: str, rows: Ints) -> InputError:
    found = "something else"
    return InputError.of("allocate", column, expected=expected, found=found, rows=rows.tolist())


# -- prices --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows in memory, with the place of each in the whole and the caller's columns."""

    place: Ints
    v: Floats
    u: Floats
    column: Ints | None

    def thinned(self, step: int) -> _Rows:
        """Keep every so-many-th row."""
        u = self.u if self.u.ndim == 2 else self.u[::step]
        column = None if self.column is None else self.column[::step]
        return _Rows(self.place[::step], self.v[::step], u, column)

    def columns(self, choice: Ints) -> Ints:
        """Give the caller's columns."""
        return choice if self.column is None else self.column[np.arange(len(choice)), choice]

    def book(self, room: Floats | None = None, weight: float = 1.0) -> Book:
        """Rows as a problem of their own."""
        return Book(self.v, self.u, room, weight)

    def beside(self, room: Floats, sample: _Rows, weight: float, prices: Floats) -> Book:
        """Rows as a problem of their own, and a sample of all rows that speaks for the others.

        The sample takes at these prices what the others do: its luck is taken out.
        """
        others = np.flatnonzero(~np.isin(sample.place, self.place))
        v, u = sample.v[others], sample.u
        if u.ndim == 3:
            v, u, _ = narrowed(v, u[others], prices)
        book = Book(v, u, weight=weight)
        room = room + book.used(book.rank(prices).first)
        weights = np.repeat([1.0, weight], [len(self.v), len(v)])
        u = self.u if u.ndim == 2 else np.concatenate([self.u, u])
        return Book(np.concatenate([self.v, v]), u, room, weights)


@dataclass(frozen=True, eq=False)
class _Pass:
    """All n rows at one set of prices.

    Attributes
    ----------
    bound : float
        The dual there.
    choice : (n,) int64
        Caller's columns.
    used, worth : (R,) float64, float
        Of all rows but the open ones.
    open : _Rows or None
        Rows whose lead is below a threshold.
    """

    bound: float
    choice: Ints
    used: Floats
    worth: float
    open: _Rows | None


def _look(parts: Iterable[Part], prices: Floats, below: float) -> _Pass:
    """Go through all rows; those that lead by less are open."""
    bound, worth, start = float(prices.sum()), 0.0, 0
    used, choice, taken = np.zeros(len(prices)), [np.zeros(0, np.int64)], []
    for part in parts:
        found = part.rank(prices)
        picked = found.lead < below
        sure, some = np.flatnonzero(~picked), np.flatnonzero(picked)
        bound += float(found.top.sum())
        used += part.used(found.first, sure)
        worth += part.worth(found.first, sure)
        choice.append(part.column(found.first, np.arange(len(part))))
        if len(some):
            taken.append(_Rows(start + some, *part.take(some, prices)))
        start += len(part)
    return _Pass(bound, np.concatenate(choice), used, worth, _together(taken) if taken else None)


def _sampled(parts: Iterable[Part]) -> tuple[_Pass, _Rows | None, int]:
    """Go through all rows without prices, and keep every so-many-th; all of them if they are few.

    How many there are need not be known: where there are too many, every other one is let go.
    """
    bound, start, step = 0.0, 0, 1
    used, choice, taken = None, [np.zeros(0, np.int64)], []
    for part in parts:
        every = np.arange(len(part))
        found = part.rank(np.zeros(part.resources))
        bound += float(found.top.sum())
        used = part.used(found.first, every) + (0.0 if used is None else used)
        choice.append(part.column(found.first, every))
        some = every[-start % step :: step]
        if len(some):
            taken.append(_Rows(start + some, *part.take(some, None)))
        start += len(part)
        while -(-start // step) > _SMALL:
            step *= 2
            taken = [_together(taken).thinned(2)]
    total = np.zeros(0) if used is None else used
    whole = _Pass(bound, np.concatenate(choice), total, bound, None)
    return whole, _together(taken) if taken else None, step


def _together(tables: list[_Rows]) -> _Rows:
    shared, named = tables[0].u.ndim == 2, tables[0].column is not None
    return _Rows(
        np.concatenate([t.place for t in tables]),
        np.concatenate([t.v for t in tables]),
        tables[0].u if shared else np.concatenate([t.u for t in tables]),
        np.concatenate([t.column for t in tables if t.column is not None]) if named else None,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """The best so far."""

    bound: float
    prices: Floats
    value: float
    choice: Ints


def _solve(parts: _Parts, limits: int, close: float) -> _Found:
    """Prices from a sample, then from the rows whose choice they leave open."""
    free = np.zeros(limits)
    whole, sample, step = _sampled(parts(True))
    if sample is None or not Book.over(whole.used).any():  # nothing is scarce
        return _Found(whole.bound, free, whole.worth, whole.choice)
    if step == 1:
        book = sample.book()
        best = solve(book)
        chosen = sample.columns(best.choice)
        return _Found(best.bound, best.prices, book.worth(best.choice), chosen)
    sample = sample.thinned(max(len(sample.place) // _SAMPLE, 1))
    return _refine(parts, sample, len(whole.choice), close)


def _foretold(parts: _Parts, sample: _Rows, weight: float) -> tuple[Floats, Floats]:
    """Prices that a sample of the rows asks for, and the leads of its choice, in order."""
    book = sample.book(weight=weight)
    prices = book.descend(np.zeros(book.u.shape[-1]))[-1]
    # these are off by the sample's luck: its slope there is known now, and so taken out
    found = book.rank(prices)
    luck = book.used(found.first) - _look(parts(False), prices, -np.inf).used
    prices = sample.book(1.0 + luck, weight).descend(prices, float(np.median(found.lead)))[-1]
    return prices, np.sort(book.rank(prices).lead)


def _refine(parts: _Parts, sample: _Rows, n: int, close: float) -> _Found:
    """Solve the open rows at better and better prices, and repair the choice."""
    weight = n / len(sample.place)
    prices, lead = _foretold(parts, sample, weight)
    wanted = int(len(lead) * max(_OPEN / n, 1.0 / _SHARE))
    below = float(lead[min(wanted, len(lead) - 1)])
    found: _Found | None = None
    for turn in range(_ROUNDS):
        seen = _look(parts(False), prices, below)
        if found is not None and seen.bound > found.bound * (1 + 1e-12):
            prices = 0.5 * (prices + found.prices)  # too far
            continue
        stuck = found is not None and found.bound - seen.bound < 1e-8 * abs(seen.bound)
        known = (np.nan, np.zeros(0, np.int64)) if found is None else (found.value, found.choice)
        found = _Found(seen.bound, prices, *known)
        if seen.open is None:  # all rows lead by the same, or by nothing
            if not Book.over(seen.used).any() and not seen.worth <= found.value:
                found = _Found(found.bound, prices, seen.worth, seen.choice)
            below = max(10.0 * below, 1e-9 * abs(seen.bound) / n)
            continue
        left = 1.0 - seen.used
        if (left < 0).any():  # the others alone take too much
            below *= 2.0
        else:
            book = seen.open.book(left)
            choice = rounded(book, prices, thorough=stuck or turn + 1 == _ROUNDS)
            value = seen.worth + book.worth(choice)
            if not Book.over(seen.used + book.used(choice)).any() and not value <= found.value:
                every = seen.choice.copy()
                every[seen.open.place] = seen.open.columns(choice)
                found = _Found(found.bound, found.prices, value, every)
            if stuck or found.bound - found.value <= close * abs(found.bound):
                break
        book = seen.open.beside(left, sample, weight, prices)
        tried = book.descend(prices, _HOT * below)
        prices = tried[int(np.argmin([book.bound(p) for p in tried]))]
    assert found is not None
    return found if len(found.choice) == n else _idle(parts, found)


def _idle(parts: _Parts, found: _Found) -> _Found:
    """Let all rows do nothing, which is within all limits, where no other choice was found."""
    worth, choice = 0.0, []
    for part in parts(False):
        rows = np.arange(len(part))
        worth += part.worth(np.zeros_like(rows), rows)
        choice.append(part.column(np.zeros_like(rows), rows))
    return _Found(found.bound, found.prices, worth, np.concatenate(choice))
