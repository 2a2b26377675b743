"""How good it is: scores, backtests through time, KPIs of the book, one report.

====================  =======================================================================
:mod:`.metrics`       AUC, Brier, log-loss, calibration on plain arrays
:mod:`.splits`        cuts in time whose horizons are over
:mod:`.backtesting`   fit, predict, judge by what came, beside honest rivals
:mod:`.bootstrap`     intervals by account and by blocks of time
:mod:`.drift`         predicted against observed by quarter
:mod:`.cashflows`     cash by week against what came, beside the ageing table
:mod:`.survival`      Kaplan-Meier curves and censoring weights
:mod:`.formulas`      DSO, ADD, CEI on plain numbers
:mod:`.keyfigures`    KPIs of a book as of a time
:mod:`.arms`          champion against challengers, by customer
:mod:`.power`         what exploration shows, how soon and for how much
:mod:`.plots`         figures, returned and never shown
:mod:`.plots_payment` drift by quarter, curves of being unpaid
:mod:`.reporting`     everything in one HTML file
====================  =======================================================================
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
        "formulas": ".formulas",
        "Kpi": ".keyfigures",
        "Kpis": ".keyfigures",
        "kpis": ".keyfigures",
        "recovery_curve": ".keyfigures",
        "roll_rates": ".keyfigures",
        "Fold": ".splits",
        "RollingSplit": ".splits",
        "rolling_cuts": ".splits",
        "BacktestResult": ".result",
        "backtest": ".backtesting",
        "not_yet_due": "collectopt.models.prevention",
        "AgeingTable": ".cashflows",
        "CashFlowBacktest": ".cashflows",
        "backtest_cash_flow": ".cashflows",
        "exploration_design": ".power",
        "design_for": ".power",
        "Draw": ".power",
        "ExplorationDesign": ".power",
        "ArmComparison": ".arms",
        "compare_arms": ".arms",
        "difference": ".arms",
        "bootstrap": ".bootstrap",
        "drift_table": ".drift",
        "plots": ".plots",
        "plots_payment": ".plots_payment",
        "pareto": ".frontier",
        "Pareto": ".frontier",
        "report": ".reporting",
    },
)
