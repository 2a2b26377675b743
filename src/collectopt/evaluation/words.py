"""How numbers are written for people."""

from __future__ import annotations

import numpy as np


def money(amount: float, currency: str = "EUR") -> str:
    """Write an amount for people.

    Examples
    --------
    >>> money(1234567.0), money(12.5)
    ('1,234,567 EUR', '12.50 EUR')
    """
    return signed(amount, ",.0f" if abs(amount) >= 1000 else ",.2f", f" {currency}")


def percent(share: float, digits: int = 1) -> str:
    """Write a share in per cent, not to be broken; an en dash for NaN."""
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f}\u00a0%"


def signed(number: float, form: str, unit: str = "") -> str:
    """Write a number with a true minus sign; an en dash for NaN."""
    return "–" if np.isnan(number) else f"{number:{form}}{unit}".replace("-", "−")
