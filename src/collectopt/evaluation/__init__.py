"""How good it is: scores, backtests through time, KPIs of the book, one report.

==============================  =================================================================
:mod:`~.metrics`                AUC, Brier, log-loss, calibration on plain arrays
:mod:`~.splits`                 cuts in time whose horizons are over
:mod:`~.backtest`               fit, predict, compare with what came, beside honest rivals
:mod:`~.kpis`                   recovery, DSO, CEI, cost to collect as of a time
:mod:`~.report`                 everything in one HTML file
==============================  =================================================================
"""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "metrics": ".metrics",
        "auc": ".metrics",
        "brier": ".metrics",
        "log_loss": ".metrics",
        "ece": ".metrics",
        "calibration_table": ".metrics",
        "interval_coverage": ".metrics",
    },
)
