"""A plan of instalments: dates and amounts that add up to the cent, and the limits it must hold."""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import Fault, InputError
from collectopt.schema.catalogue import PlanLimits

Floats = npt.NDArray[np.float64]
Money = Decimal | int | str | float

_CENT = Decimal("0.01")
_WINDOW = 28  # days: a monthly instalment once, one of 14 days twice, in any month of the year
_MOST = 1_200  # instalments


@dataclass(frozen=True)
class Rhythm:
    """How far instalments lie apart: so many days, or monthly on a day.

    Attributes
    ----------
    days : int or None
        Days between instalments.
    day_of_month : int or None
        Monthly on this day; in shorter months on the last one.

    Raises
    ------
    InputError
        Not exactly one of both is given, or it is out of range.

    Examples
    --------
    >>> [str(day) for day in Rhythm(day_of_month=31).dates(date(2027, 12, 31), 3)]
    ['2027-12-31', '2028-01-31', '2028-02-29']
    """

    days: int | None = None
    day_of_month: int | None = None

    def __post_init__(self) -> None:
        if (self.days is None) == (self.day_of_month is None):
            raise InputError.of(
                "Rhythm", None, expected="either days or day_of_month", found=repr(self)
            )
        if self.days is not None and self.days < 1:
            raise InputError.of("Rhythm", "days", expected="1 or more", found=repr(self.days))
        if self.day_of_month is not None and not 1 <= self.day_of_month <= 31:
            raise InputError.of(
                "Rhythm", "day_of_month", expected="1 to 31", found=repr(self.day_of_month)
            )

    def dates(self, start: date, number: int) -> tuple[date, ...]:
        """Give the dates of so many instalments; the first is ``start`` in any case."""
        if self.days is not None:
            return tuple(start + timedelta(days=self.days * k) for k in range(number))
        assert self.day_of_month is not None
        return (start, *(month_on(start, k, self.day_of_month) for k in range(1, number)))

    def __str__(self) -> str:
        return f"every {self.days} days" if self.days else f"monthly on day {self.day_of_month}"


@dataclass(frozen=True)
class Plan:
    """Instalments that add up to an amount.

    Attributes
    ----------
    amount : Decimal
        EUR, exact to the cent.
    instalments : tuple of (date, Decimal)
        Ascending dates, amounts above 0 that add up to ``amount``.
    rhythm : Rhythm or None
        None: the dates follow none that is known.

    Raises
    ------
    InputError
        Lists what is wrong.

    Examples
    --------
    >>> print(Plan.of("100.00", 3, date(2027, 1, 31), Rhythm(day_of_month=31)))
    3 instalments, monthly on day 31: 33.34 EUR on 2027-01-31, then 2 x 33.33 until 2027-03-31
    """

    amount: Decimal
    instalments: tuple[tuple[date, Decimal], ...]
    rhythm: Rhythm | None = None

    def __post_init__(self) -> None:
        faults = [*self._faults()]
        if faults:
            raise InputError(faults)

    def _faults(self) -> Iterable[Fault]:
        rows = self.instalments
        if not rows or len(rows) > _MOST:
            yield Fault("Plan", "instalments", f"1 to {_MOST} instalments", str(len(rows)))
            return
        days = [day for day, _ in rows]
        if any(type(d) is not date for d in days):
            yield Fault("Plan", "instalments", "dates without a time", repr(days[0]))
            return
        late = next((k for k in range(1, len(days)) if days[k] <= days[k - 1]), None)
        if late is not None:
            yield Fault("Plan", "instalments", "ascending dates", str(days[late]), (late,), 1)
        wrong = [k for k, (_, euro) in enumerate(rows) if not _is_money(euro)]
        if wrong or not _is_money(self.amount):
            found = repr(rows[wrong[0]][1] if wrong else self.amount)
            yield Fault(
                "Plan", "instalments", "amounts above 0 in whole cents, as Decimal", found,
                tuple(wrong[:5]), len(wrong), "Plan.of and Plan.proposed take plain numbers.",
            )  # fmt: skip
        elif sum((euro for _, euro in rows), Decimal(0)) != self.amount:
            total = sum(euro for _, euro in rows)
            yield Fault("Plan", "instalments", f"a sum of {self.amount} EUR", f"{total} EUR")
        if self.rhythm is not None and late is None:
            meant = self.rhythm.dates(days[0], len(days))
            if tuple(days) != meant:
                k = next(k for k, day in enumerate(days) if day != meant[k])
                yield Fault("Plan", "rhythm", f"{self.rhythm}: {meant[k]}", str(days[k]), (k,), 1)

    @classmethod
    def of(cls, amount: Money, number: int, start: date, rhythm: Rhythm) -> Self:
        """Divide an amount into equal instalments; odd cents go to the first ones.

        Raises
        ------
        InputError
            The amount is not exact to the cent, or there are fewer cents than instalments.
        """
        total = money(amount)
        cents = int(total * 100)
        if not 1 <= number <= min(cents, _MOST):
            raise InputError.of(
                "Plan", "number", expected=f"1 to {min(cents, _MOST)} instalments",
                found=repr(number),
            )  # fmt: skip
        least, odd = divmod(cents, number)
        euros = [(Decimal(least + (k < odd)) / 100).quantize(_CENT) for k in range(number)]
        return cls(total, tuple(zip(rhythm.dates(start, number), euros, strict=True)), rhythm)

    @classmethod
    def proposed(cls, instalments: Iterable[tuple[date, Money]]) -> Self:
        """Take a customer's own dates and amounts as they are; errors as for a plan."""
        rows = tuple((day, money(euro)) for day, euro in instalments)
        return cls(sum((euro for _, euro in rows), Decimal("0.00")), rows)

    def __len__(self) -> int:
        return len(self.instalments)

    @property
    def start(self) -> date:
        """Date of the first instalment."""
        return self.instalments[0][0]

    @property
    def end(self) -> date:
        """Date of the last instalment."""
        return self.instalments[-1][0]

    @property
    def euros(self) -> Floats:
        """Amounts, (k,)."""
        return np.array([float(euro) for _, euro in self.instalments])

    def days(self, day: date) -> Floats:
        """Days from ``day`` to the instalments, (k,)."""
        return np.array([(d - day).days for d, _ in self.instalments], dtype=np.float64)

    def load(self, day: date) -> float:
        """EUR of the heaviest month: what falls within any 28 days from ``day`` on."""
        at, euros = self.days(day), self.euros
        total = np.r_[0.0, np.cumsum(euros)]
        return float(np.max(total[np.searchsorted(at, at + _WINDOW)] - total[: len(at)]))

    def hold(self, account_id: str, day: date, grace_days: int) -> dict[str, Any]:
        """Give the row of the ledger's holds that stops dunning while the plan is in force.

        Parameters
        ----------
        account_id : str
        day : date
            Of the agreement; the hold is known from the next local day on.
        grace_days : int
            Days after the last instalment in which it may still come.
        """
        free = self.end + timedelta(days=grace_days + 1)
        return {"account_id": account_id, "kind": "payment_plan", "from_on": day, "to_on": free,
                "invoice_id": None}  # fmt: skip

    def __str__(self) -> str:
        first, last = self.instalments[0][1], self.instalments[-1][1]
        if len(self) == 1:
            return f"1 payment: {first} EUR on {self.start}"
        how = "" if self.rhythm is None else f", {self.rhythm}"
        rest = [euro for _, euro in self.instalments[1:]]
        each = f"{len(rest)} x {last}" if len(set(rest)) == 1 else f"{len(rest)} more"
        head = f"{len(self)} instalments{how}: {first} EUR on {self.start}"
        return f"{head}, then {each} until {self.end}"


def broken_limits(plan: Plan, day: date, limits: PlanLimits) -> tuple[str, ...]:
    """Say in words which limits of the creditor a plan agreed on ``day`` does not hold."""
    found = []
    if plan.start <= day:
        found.append(f"the first instalment is due on {plan.start}, not after {day}")
    if (plan.start - day).days > limits.max_start_days:
        found.append(f"it starts later than {limits.max_start_days} days from now")
    if plan.end > month_on(day, limits.max_months, day.day):
        found.append(f"it takes longer than {limits.max_months} months")
    small = min((euro for _, euro in plan.instalments[:-1]), default=None)
    if small is not None and small < Decimal(str(limits.min_instalment)):
        found.append(f"instalments of {small} EUR are below {limits.min_instalment:.2f} EUR")
    return tuple(found)


def month_on(start: date, months: int, day: int) -> date:
    """Give the day of the month so many months later, or the last one of a shorter month."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(day, calendar.monthrange(year, month + 1)[1]))


def money(value: Money) -> Decimal:
    """Read EUR that are exact to the cent and above 0.

    Raises
    ------
    InputError
    """
    try:
        given = Decimal(str(value))
        exact = given.quantize(_CENT)
    except InvalidOperation:
        given, exact = Decimal(0), Decimal(0)
    if exact != given or exact <= 0:
        raise InputError.of(
            "Plan", "amount", expected="EUR above 0, exact to the cent", found=repr(value)
        )
    return exact


def _is_money(value: object) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and value > 0 and value % _CENT == 0
