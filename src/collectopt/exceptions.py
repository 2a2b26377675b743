"""One tree of errors. Each says what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CollectoptError(Exception):
    """Root of all errors that this library raises on purpose."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes
    ----------
    table : str
        Table or file at fault.
    column : str or None
        Column or key at fault, None where the table as a whole is.
    expected : str
        What was expected.
    found : str
        What stands there instead; an example.
    rows : tuple of int
        Numbers (from 0) of the first rows at fault, at most five.
    count : int
        How many rows are at fault.
    hint : str
        How to mend it.
    """

    table: str
    column: str | None
    expected: str
    found: str
    rows: tuple[int, ...] = ()
    count: int = 0
    hint: str = ""

    def __str__(self) -> str:
        where = self.table if self.column is None else f"{self.table}.{self.column}"
        text = f"{where}: expected {self.expected}; found {self.found}"
        if self.rows:
            shown = ", ".join(map(str, self.rows))
            more = ", ..." if self.count > len(self.rows) else ""
            noun = "row" if self.count == 1 else "rows"
            text += f" in {self.count} {noun} ({shown}{more})"
        return f"{text}. {self.hint}" if self.hint else f"{text}."


class InputError(CollectoptError, ValueError):
    """The caller's input is wrong. Lists every fault that was found; nothing was done.

    Examples
    --------
    >>> fault = Fault("payments", "amount", "an amount", "null", rows=(3,), count=1)
    >>> print(InputError([fault]))
    1 fault in the input; nothing was done:
      1. payments.amount: expected an amount; found null in 1 row (3).
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        lines = [f"{len(self.faults)} {noun} in the input; nothing was done:"]
        lines += [f"  {i}. {fault}" for i, fault in enumerate(self.faults, 1)]
        super().__init__("\n".join(lines))

    @classmethod
    def of(
        cls,
        table: str,
        column: str | None,
        *,
        expected: str,
        found: str,
        rows: Sequence[int] = (),
        hint: str = "",
    ) -> InputError:
        """Make the error of a single fault."""
        first = tuple(int(row) for row in rows[:5])
        return cls([Fault(table, column, expected, found, first, len(rows), hint)])


class CatalogueError(InputError):
    """The catalogue of actions, limits and values is wrong."""


class NotFittedError(CollectoptError, AttributeError):
    """A method was called that needs ``fit`` first."""

    @classmethod
    def of(cls, thing: object, method: str) -> NotFittedError:
        """Name the object and the method that came too early."""
        name = type(thing).__name__
        return cls(f"{name}.{method} needs a fitted {name}. Call {name}.fit(...) first.")


class ArtifactError(CollectoptError):
    """A saved model or policy cannot be read."""


class MissingExtraError(CollectoptError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, module: str, extra: str) -> MissingExtraError:
        """Name the package and the extra that brings it."""
        return cls(
            f"this needs the optional package {module!r}. "
            f"Install it with: pip install 'collectopt[{extra}]'"
        )
