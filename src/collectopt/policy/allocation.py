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
from collectopt.policy.ranked import Own, Part, Shared

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Blocks = Callable[[], Iterable[tuple[ArrayLike, ArrayLike]]]

_SMALL = 30_000  # rows that are solved as a whole
_SAMPLE = 6_000
_OPEN = 20_000  # rows to be left open
_ROWS = 8192  # rows of a block of arrays
_ROUNDS = 12
_CLOSE = 5e-6  # gap that is small enough


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
    Newton steps on its softmax smoothing with falling temperature: on a sample of many rows, then
    on those whose choice is open near these prices. Every l >= 0 gives an upper bound, so the gap
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
        called, some five times. Accounts x actions need not stand in memory then.

    Returns
    -------
    Allocation

    Raises
    ------
    InputError
        Shapes do not fit, a value is nan or +inf, usage or limits are negative or nan.

    References
    ----------
    Sinha and Zoltners (1979), The multiple-choice knapsack problem, Operations Research 27(3).

    Examples
    --------
    Two calls at most, three accounts; the price of a call is what the third would have brought.

    >>> allocation = allocate([[0, 5.0], [0, 3.0], [0, 1.0]], usage=[[0.0], [1.0]], limits=[2.0])
    >>> allocation.choice.tolist(), allocation.value
    ([1, 1, 0], 8.0)
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
    best = _solve(parts, int(live.sum()))
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
        part = _part(np.asarray(value), np.asarray(usage), room, start if check else None)
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
        _check_shapes(v, u, room)
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

    @classmethod
    def gather(cls, parts: Iterable[tuple[Part, Ints, int]]) -> _Rows:
        """Put rows of several parts together."""
        tables = [(start + rows, *part.take(rows)) for part, rows, start in parts]
        place, v, u, column = zip(*tables, strict=True)
        shared = u[0].ndim == 2
        return cls(
            np.concatenate(place),
            np.concatenate(v),
            u[0] if shared else np.concatenate(u),
            None if column[0] is None else np.concatenate([c for c in column if c is not None]),
        )

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


def _look(
    parts: Iterable[Part], prices: Floats, near: Callable[[int, Floats], NDArray[np.bool_]]
) -> _Pass:
    """Go through all rows; ``near`` picks the open ones by the place of the first and the leads."""
    bound, worth, start = float(prices.sum()), 0.0, 0
    used, choice, taken = np.zeros(len(prices)), [np.zeros(0, np.int64)], []
    for part in parts:
        found = part.rank(prices)
        picked = near(start, found.lead)
        sure, some = np.flatnonzero(~picked), np.flatnonzero(picked)
        bound += float(found.top.sum())
        used += part.used(found.first, sure)
        worth += part.worth(found.first, sure)
        choice.append(part.column(found.first, np.arange(len(part))))
        if len(some):
            taken.append(_Rows(start + some, *part.take(some)))
        start += len(part)
    return _Pass(bound, np.concatenate(choice), used, worth, _together(taken))


def _together(tables: list[_Rows]) -> _Rows | None:
    if not tables:
        return None
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


def _solve(parts: _Parts, limits: int) -> _Found:
    """Prices from a sample, then from the rows whose choice they leave open."""
    free = np.zeros(limits)
    whole = _look(parts(True), free, partial(_closer, -np.inf))
    n = len(whole.choice)
    if not Book.over(whole.used).any():  # nothing is scarce
        return _Found(whole.bound, free, whole.worth, whole.choice)
    if n <= _SMALL:
        every = _look(parts(False), free, lambda _, lead: np.ones(len(lead), dtype=bool)).open
        assert every is not None
        book = every.book()
        best = book.solve()
        chosen = every.columns(best.choice)
        return _Found(best.bound, best.prices, book.worth(best.choice), chosen)
    return _refine(parts, *_sampled(parts, free, n))


def _sampled(parts: _Parts, free: Floats, n: int) -> tuple[Floats, float]:
    """Prices that a sample of rows asks for, and the lead below which a choice is open."""
    step = n // _SAMPLE

    def every(start: int, lead: Floats) -> NDArray[np.bool_]:
        return (np.arange(start, start + len(lead)) % step) == 0

    sample = _look(parts(False), free, every).open
    assert sample is not None
    book = sample.book(weight=n / len(sample.place))
    prices = book.descend(free)[-1]
    # one step on the slope of all rows, as the sample's prices are off by its luck
    exact = _look(parts(False), prices, partial(_closer, -np.inf))
    prices = book.stepped(prices, 1.0 - exact.used)
    lead = np.sort(book.lead(prices))
    return prices, float(lead[min(int(len(lead) * _OPEN / n), len(lead) - 1)])


def _closer(below: float, start: int, lead: Floats) -> NDArray[np.bool_]:
    del start
    return lead < below


def _refine(parts: _Parts, prices: Floats, below: float) -> _Found:
    """Solve the open rows at better and better prices, and repair the choice."""
    found: _Found | None = None
    for _ in range(_ROUNDS):
        seen = _look(parts(False), prices, partial(_closer, below))
        left = 1.0 - seen.used
        stuck = found is not None and found.bound - seen.bound < 1e-8 * abs(seen.bound)
        if found is None or seen.bound < found.bound:
            known = (
                (np.nan, np.zeros(0, np.int64)) if found is None else (found.value, found.choice)
            )
            found = _Found(seen.bound, prices, *known)
        if seen.open is None:
            break
        book = seen.open.book(left)
        if (left < 0).any():  # the others alone take too much
            prices = book.stepped(prices, left - book.used(book.reduced(prices).argmax(axis=1)))
            continue
        choice = book.round(prices)
        value = seen.worth + book.worth(choice)
        if not Book.over(seen.used + book.used(choice)).any() and not value <= found.value:
            every = seen.choice.copy()
            every[seen.open.place] = seen.open.columns(choice)
            found = _Found(found.bound, found.prices, value, every)
        if stuck or found.bound - found.value <= _CLOSE * abs(found.bound):
            break
        tried = book.descend(prices, below)
        move = tried[int(np.argmin([book.bound(p) for p in tried]))] - prices
        # so far that the others keep their choice
        change = 2.0 * float(np.abs(book.u @ move).max())
        prices = prices + move * min(1.0, below / max(change, 1e-300))
        below *= 1.0 if change <= below or len(seen.open.place) > 3 * _OPEN else 2.0
    assert found is not None
    return found
