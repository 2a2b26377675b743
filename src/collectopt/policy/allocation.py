"""Joint choice under shared limits: a multiple-choice knapsack by Lagrangian prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collectopt.exceptions import InputError

Floats = NDArray[np.float64]
_TOLERANCE = 1e-9  # of a limit: sums of 0.05 EUR are not exact in binary


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

    choice: NDArray[np.int64]
    prices: Floats
    value: float
    bound: float
    gap: float


def allocate(value: ArrayLike, usage: ArrayLike, limits: ArrayLike) -> Allocation:
    """Choose one column a row so that the sum of values is large and no limit is exceeded.

    The prices minimise the Lagrangian dual D(l) = l . limits + sum_i max_k (v_ik - l . u_ik), by
    Newton steps on its softmax smoothing with falling temperature. Every l >= 0 gives an upper
    bound, so the gap is a certificate and not an estimate. The choice at these prices is repaired
    (cheapest loss a unit first) and what is left of the limits is filled. The same input gives
    the same choice.

    Parameters
    ----------
    value : array_like (n, K)
        EUR of each choice; -inf = not allowed. Column 0 is to do nothing: finite everywhere.
    usage : array_like (K, R) or (n, K, R)
        Units of each resource that a choice takes, >= 0; column 0 takes none.
    limits : array_like (R,)
        Units there are, >= 0; inf = no limit.

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
    v, u, room = _check(value, usage, limits)
    if len(v) == 0:
        return Allocation(np.zeros(0, np.int64), np.zeros(len(room)), 0.0, 0.0, 0.0)
    # a resource of which there is nothing forbids; one without limit does not count
    none, live = room == 0, np.isfinite(room) & (room > 0)
    if none.any():
        v = np.where((u[..., none] > 0).any(axis=-1), -np.inf, v)
    book = _Book(v, u[..., live] / room[live])
    best = book.solve()
    prices = np.zeros(len(room))
    prices[live] = best.prices / room[live]
    total = float(v[np.arange(len(v)), best.choice].sum())
    bound = max(best.bound, total)
    gap = (bound - total) / abs(bound) if bound > total else 0.0
    return Allocation(best.choice, prices, total, bound, gap)


def _check(value: ArrayLike, usage: ArrayLike, limits: ArrayLike) -> tuple[Floats, Floats, Floats]:
    v = np.asarray(value, dtype=np.float64)
    u = np.asarray(usage, dtype=np.float64)
    room = np.atleast_1d(np.asarray(limits, dtype=np.float64))
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
    faults = [
        ("value", np.isnan(v) | (v == np.inf), "numbers, or -inf where not allowed"),
        ("value", ~np.isfinite(v[:, 0]), "a finite value of column 0, which does nothing"),
        ("usage", ~(np.isfinite(u) & (u >= 0)), "finite units >= 0"),
        ("usage", u[..., 0, :] != 0, "no usage in column 0, which does nothing"),
        ("limits", ~(room >= 0), "units >= 0, inf = no limit"),
    ]
    for column, wrong, expected in faults:
        if wrong.any():
            rows = np.unique(np.nonzero(wrong)[0])
            raise InputError.of(
                "allocate",
                column,
                expected=expected,
                found="something else",
                rows=[int(r) for r in rows],
            )
    return v, u, room


@dataclass(frozen=True)
class _Dual:
    prices: Floats
    bound: float
    choice: NDArray[np.int64]


class _Book:
    """Values and usage in shares of the limits; ``room`` is what these rows may take of them.

    Each row stands for ``weight`` rows.
    """

    def __init__(
        self, value: Floats, usage: Floats, room: Floats | None = None, weight: float = 1.0
    ) -> None:
        self.v, self.u, self.weight = value, usage, weight
        self.room = np.ones(usage.shape[-1]) if room is None else room
        self.rows = np.arange(len(value))
        self.shared = usage.ndim == 2
        finite = value[np.isfinite(value)]
        self.scale = float(np.ptp(finite)) if finite.size else 0.0
        self.scale = self.scale or 1.0

    def solve(self) -> _Dual:
        """Prices of the smallest bound and the best choice found on the way."""
        prices = np.zeros(self.u.shape[-1])
        choice = self.reduced(prices).argmax(axis=1)
        if not self.over(self.used(choice)).any():  # nothing is scarce
            return _Dual(prices, self.bound(prices), choice)
        tried = self.descend(prices)
        bounds = np.array([self.bound(p) for p in tried])
        best = int(bounds.argmin())
        # the choice is repaired from the last few prices; the most valuable one is kept
        choices = [self.round(tried[i]) for i in np.argsort(bounds, kind="stable")[:3]]
        worth = [self.worth(c) for c in choices]
        return _Dual(tried[best], float(bounds[best]), choices[int(np.argmax(worth))])

    # The dual ------------------------------------------------------------------------------

    def reduced(self, prices: Floats) -> Floats:
        """Values after paying for what is used, (n, K)."""
        return self.v - self.u @ prices

    def bound(self, prices: Floats) -> float:
        return float(prices @ self.room + self.reduced(prices).max(axis=1).sum())

    def used(self, choice: NDArray[np.int64]) -> Floats:
        if self.shared:
            return np.bincount(choice, minlength=len(self.u)) @ self.u
        return self.u[self.rows, choice].sum(axis=0)

    def worth(self, choice: NDArray[np.int64]) -> float:
        return float(self.v[self.rows, choice].sum())

    @staticmethod
    def over(used: Floats) -> NDArray[np.bool_]:
        return used > 1.0 + _TOLERANCE

    def part(self, rows: Any, room: Floats, weight: float = 1.0) -> _Book:
        return _Book(self.v[rows], self.u if self.shared else self.u[rows], room, weight)

    def descend(self, prices: Floats) -> list[Floats]:
        """Minimise the smoothed dual at falling temperatures; the prices after each of them."""
        stride = max(len(self.v) // 4096, 1)  # every so-many-th row will do for the first steps
        weight = len(self.v) / len(self.rows[::stride])
        sample = self.part(slice(None, None, stride), self.room, weight)
        tried = [prices]
        for step, temperature in enumerate(self.scale * 0.25 ** np.arange(1, 14)):
            book = sample if step < 4 else self.contested(prices, temperature)
            for _ in range(25):
                before, prices = prices, book.newton(prices, temperature)
                if np.abs(prices - before).max() <= 0.01 * temperature:
                    break
            tried.append(prices)
        return tried

    def contested(self, prices: Floats, temperature: float) -> _Book:
        """Keep rows whose choice is open near these prices; the others have taken their share."""
        if len(self.v) <= 8192 or self.v.shape[1] == 1:
            return self
        reduced = self.reduced(prices)
        second, top = np.partition(reduced, -2, axis=1)[:, -2:].T
        rows = top - second < 50.0 * temperature
        sure = reduced.argmax(axis=1)[~rows]
        taken = self.take(np.flatnonzero(~rows), sure).sum(axis=0)
        return self.part(rows, self.room - taken)

    def newton(self, prices: Floats, temperature: float) -> Floats:
        """One projected Newton step with backtracking."""
        height, slope, bend = self.smooth(prices, temperature)
        free = (prices > 0) | (slope < 0)
        if not free.any():
            return prices
        bend = bend[np.ix_(free, free)]
        bend[np.diag_indices_from(bend)] += 1e-9 + 1e-6 * np.trace(bend) / len(bend)
        move = np.zeros_like(prices)
        move[free] = -np.linalg.solve(bend, slope[free])
        longest = np.abs(move).max()
        move *= min(1.0, self.scale * self.weight * len(self.v) / longest) if longest else 1.0
        for halving in range(30):
            step = np.maximum(prices + move * 0.5**halving, 0.0)
            if self.height(step, temperature) <= height + 1e-4 * float(slope @ (step - prices)):
                return step
        return prices

    def height(self, prices: Floats, temperature: float) -> float:
        z = self.reduced(prices) / temperature
        top = z.max(axis=1)
        total = (top + np.log(np.exp(z - top[:, None]).sum(axis=1))).sum()
        return float(prices @ self.room + self.weight * temperature * total)

    def smooth(self, prices: Floats, temperature: float) -> tuple[float, Floats, Floats]:
        """Smoothed dual: height, gradient (R,) and Hessian (R, R)."""
        z = self.reduced(prices) / temperature
        top = z.max(axis=1)
        z = np.exp(z - top[:, None])
        total = z.sum(axis=1)
        z /= total[:, None]
        height = prices @ self.room + self.weight * temperature * (top + np.log(total)).sum()
        if self.shared:
            mean = z @ self.u
            square = (self.u * z.sum(axis=0)[:, None]).T @ self.u
        else:
            mean = np.einsum("nk,nkr->nr", z, self.u)
            square = np.einsum("nk,nkr,nks->rs", z, self.u, self.u)
        bend = self.weight / temperature * (square - mean.T @ mean)
        return float(height), self.room - self.weight * mean.sum(axis=0), bend

    # The choice ----------------------------------------------------------------------------

    def round(self, prices: Floats) -> NDArray[np.int64]:
        """Choose at these prices, give back what is too much, fill what is left."""
        reduced = self.reduced(prices)
        choice = reduced.argmax(axis=1)
        self.give_back(choice, reduced)
        self.fill(choice, reduced)
        return self.exchange(choice, reduced) if len(choice) <= 64 else choice

    def exchange(self, choice: NDArray[np.int64], reduced: Floats) -> NDArray[np.int64]:
        """Few rows, where rounding costs most: change one row, refill, keep what is better."""
        others = [
            (i, k) for i in range(len(choice)) for k in np.flatnonzero(np.isfinite(self.v[i]))
        ]
        best, worth = choice, self.worth(choice)
        for row, column in others:
            trial = best.copy()
            trial[row] = column
            self.give_back(trial, reduced, keep=row)
            if not self.over(self.used(trial)).any():
                self.fill(trial, reduced)
                if self.worth(trial) > worth + 1e-9 * self.scale:
                    best, worth = trial, self.worth(trial)
        return best

    def take(self, rows: Any, columns: Any) -> Floats:
        return self.u[columns] if self.shared else self.u[rows, columns]

    def give_back(self, choice: NDArray[np.int64], reduced: Floats, keep: int = -1) -> None:
        """Repair: the moves that lose least a unit first, until no limit is exceeded.

        A row to ``keep`` stays; then the repair may fail.
        """
        left = 1.0 - self.used(choice)
        only_zero = False
        while (left < -_TOLERANCE).any():
            short = left < -_TOLERANCE
            uses = (self.take(self.rows, choice)[:, short] > 0).any(axis=1)
            rows = np.flatnonzero(uses & (self.rows != keep))
            now = self.take(rows, choice[rows])
            freed = now[:, None, :] - (self.u if self.shared else self.u[rows])
            relief = freed[..., short].sum(axis=-1)
            useful = (freed[..., short] >= 0).all(axis=-1) & (relief > 0)
            useful[:, 1:] &= not only_zero
            loss = reduced[rows, choice[rows]][:, None] - reduced[rows]
            ratio = np.where(useful, loss / np.where(useful, relief, 1.0), np.inf)
            target = ratio.argmin(axis=1)
            order = np.argsort(ratio[np.arange(len(rows)), target], kind="stable")
            moved = False
            for i in order:
                change = freed[i, target[i]]
                helps = (change[left < -_TOLERANCE] > 0).any()
                if helps and ((left + change >= -_TOLERANCE) | (change >= 0)).all():
                    choice[rows[i]] = target[i]
                    left = left + change
                    moved = True
                if not (left < -_TOLERANCE).any():
                    break
            if only_zero and not moved:
                return
            only_zero = not moved

    def fill(self, choice: NDArray[np.int64], reduced: Floats) -> None:
        """Take what still fits and is worth more, nearest to the prices first."""
        left = 1.0 - self.used(choice)
        for _ in range(50):
            gain = self.v - self.v[self.rows, choice][:, None]
            rows, columns = np.nonzero(gain > 1e-12 * self.scale)
            extra = self.take(rows, columns) - self.take(rows, choice[rows])
            fits = (extra <= left + _TOLERANCE).all(axis=1)
            if not fits.any():
                return
            rows, columns, extra = rows[fits], columns[fits], extra[fits]
            merit = reduced[rows, columns] - reduced[rows, choice[rows]]
            done = set()
            for i in np.lexsort((rows, -gain[rows, columns], -merit)):
                if rows[i] not in done and (extra[i] <= left + _TOLERANCE).all():
                    choice[rows[i]] = columns[i]
                    left = left - extra[i]
                    done.add(rows[i])
