"""What a German court payment order costs, from a dated table of statutory fees."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import cache
from importlib.resources import files

from collectopt.exceptions import InputError

_BASE, _HALF, _POST, _MOST_POST = Decimal(500), Decimal("0.5"), Decimal("0.2"), Decimal(20)
Bands = tuple[tuple[Decimal, Decimal, Decimal], ...]


@dataclass(frozen=True)
class FeeTable:
    """Fees of one time: from `since` until before `until` (None = no end is known).

    Bands are (up to EUR, width, EUR a started width).
    """

    since: date
    until: date | None
    court_least: Decimal
    court_first: Decimal
    court_bands: Bands
    lawyer_first: Decimal
    lawyer_bands: Bands
    source: str
    verified: bool


@dataclass(frozen=True)
class CourtFees:
    """Costs of an application, EUR: those of the court, and of a lawyer (0 = none was taken)."""

    court: Decimal
    lawyer: Decimal

    @property
    def total(self) -> Decimal:
        """Both together."""
        return self.court + self.lawyer


@cache
def fee_tables() -> tuple[FeeTable, ...]:
    """Give the tables that the library knows, in order of time; see ``verified``."""
    path = files("collectopt.rules") / "packs" / "court_fees.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))

    def bands(rows: Sequence[Sequence[str]]) -> Bands:
        return tuple((Decimal(a), Decimal(b), Decimal(c)) for a, b, c in rows)

    return tuple(
        FeeTable(
            t["from"],
            t.get("to"),
            Decimal(t["court_least"]),
            Decimal(t["court_first"]),
            bands(t["court_bands"]),
            Decimal(t["lawyer_first"]),
            bands(t["lawyer_bands"]),
            data["source"],
            data["verified"],
        )
        for t in data["tables"]
    )


def court_order_fees(amount: Decimal, day: date, *, lawyer: bool = False) -> CourtFees:
    """Compute the fees of a payment order over an amount.

    Parameters
    ----------
    amount : Decimal
        EUR claimed, without interest and costs; above 500,000 it is charged as 500,000.
    day : date
        Day of the application.
    lawyer : bool
        Whether a lawyer applies.

    Raises
    ------
    InputError
        No amount, or no table for the day.

    References
    ----------
    GKG § 34 and KV 1100 (half a fee, with a minimum); RVG § 13, VV 3305 and 7002.

    Examples
    --------
    >>> fees = court_order_fees(Decimal(1500), date(2025, 9, 1), lawyer=True)
    >>> print(fees.court, fees.lawyer)
    41.00 154.50
    """
    if amount <= 0:
        raise InputError.of("court order", "amount", expected="more than 0", found=str(amount))
    table = next((t for t in reversed(fee_tables()) if t.since <= day), None)
    if table is None or (table.until is not None and day >= table.until):
        raise InputError.of(
            "court fees", None, expected=f"a table for {day}", found="none",
            hint="The library knows fees from 2021 on.",
        )  # fmt: skip
    full = _fee(amount, table.court_first, table.court_bands)
    court = max(full * _HALF, table.court_least).quantize(Decimal("0.01"))
    if not lawyer:
        return CourtFees(court, Decimal(0))
    fee = _fee(amount, table.lawyer_first, table.lawyer_bands)
    post = min(fee * _POST, _MOST_POST)
    return CourtFees(court, (fee + post).quantize(Decimal("0.01")))


def _fee(amount: Decimal, first: Decimal, bands: Bands) -> Decimal:
    fee, low = first, _BASE
    for high, width, step in bands:
        inside = min(amount, high) - low
        if inside <= 0:
            break
        fee += step * (inside / width).to_integral_value(ROUND_CEILING)
        low = high
    return fee
