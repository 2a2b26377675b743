"""The classic figures of receivables management, on plain numbers.

Amounts in one currency, days as days; NaN where the denominator is not positive.
"""

from __future__ import annotations


def dso(receivables: float, sales: float, days: float) -> float:
    """Compute the days sales outstanding: receivables / credit sales x days.

    Parameters
    ----------
    receivables : float
        Open amount at the end of the period.
    sales : float
        Sales on credit in the period.
    days : float
        Length of the period in days.

    Examples
    --------
    >>> dso(300.0, 900.0, 90)
    30.0
    """
    return ratio(receivables, sales) * days


def best_possible_dso(current: float, sales: float, days: float) -> float:
    """Compute the DSO that is left if nothing were past due: current / credit sales x days.

    `current` is the part of the receivables that is not yet past due.

    Examples
    --------
    >>> best_possible_dso(200.0, 900.0, 90)
    20.0
    """
    return ratio(current, sales) * days


def add(receivables: float, current: float, sales: float, days: float) -> float:
    """Compute the average days delinquent: DSO - best-possible DSO.

    Examples
    --------
    >>> add(300.0, 200.0, 900.0, 90)
    10.0
    """
    return dso(receivables, sales, days) - best_possible_dso(current, sales, days)


def cei(beginning: float, sales: float, ending: float, ending_current: float) -> float:
    """Compute the collection effectiveness index, 1.0 = everything collectible was collected.

    (beginning + sales - ending) / (beginning + sales - ending current), where the receivables
    are in total at the beginning, in total at the end, and not yet past due at the end.

    Examples
    --------
    >>> round(cei(400_000, 1_200_000, 350_000, 280_000), 3)
    0.947
    """
    return ratio(beginning + sales - ending, beginning + sales - ending_current)


def ratio(part: float, whole: float) -> float:
    """Divide, or give NaN where the denominator is not positive.

    Roll rate, cost to collect and write-off share are such plain ratios.

    Examples
    --------
    >>> ratio(1.0, 4.0)
    0.25
    """
    return float(part / whole) if whole > 0 else float("nan")
