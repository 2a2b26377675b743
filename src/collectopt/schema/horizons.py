"""Horizons of a forecast: so many days from as_of, or from the due date."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collectopt.exceptions import InputError

_PATTERN = re.compile(r"^(due(?P<sign>[+-]))?(?P<days>\d+)D$")


@dataclass(frozen=True)
class Horizon:
    """A moment up to which an event is counted.

    Attributes
    ----------
    days : int
        Days after as_of, or local days after the due date (negative: before it).
    from_due : bool
        Counted from the due date: up to the end of local day ``due_on + days``.

    Examples
    --------
    >>> Horizon.parse("30D")
    Horizon(days=30, from_due=False)
    >>> str(Horizon.parse("due+0D"))
    'due+0D'
    """

    days: int
    from_due: bool = False

    @classmethod
    def parse(cls, text: str | Horizon) -> Horizon:
        """Read "30D", "due+30D" or "due-3D".

        Raises
        ------
        InputError
            Anything else.
        """
        if isinstance(text, Horizon):
            return text
        found = _PATTERN.match(str(text))
        if found is None:
            raise InputError.of(
                "horizons",
                None,
                expected='"30D" (days from as_of) or "due+30D" (days from the due date)',
                found=repr(text),
            )
        days = int(found["days"])
        return cls(-days if found["sign"] == "-" else days, found["sign"] is not None)

    def __str__(self) -> str:
        return f"due{self.days:+d}D" if self.from_due else f"{self.days}D"
