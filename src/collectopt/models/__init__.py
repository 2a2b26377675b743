"""Time and chance of payment, and what a contact changes."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "HazardModel": "collectopt.models.hazard",
        "PaymentModel": "collectopt.models.payment",
        "ShrunkenRate": "collectopt.models.rates",
        "BaseRate": "collectopt.models.rates",
        "Recalibrated": "collectopt.models.recalibration",
        "CashFlow": "collectopt.models.cashflow",
        "CashFlowModel": "collectopt.models.cashflow",
        "cash_flow": "collectopt.models.cashflow",
        "ResponseModel": "collectopt.models.response",
        "seen_weights": "collectopt.models.censoring",
        "ReachModel": "collectopt.models.reach",
        "FunnelModel": "collectopt.models.funnel",
        "HarmModel": "collectopt.models.harm",
        "Harm": "collectopt.models.harm",
        "EndsModel": "collectopt.models.competing",
        "EndsForecast": "collectopt.models.ends",
        "End": "collectopt.models.ends",
        "reasons": "collectopt.models.reasoning",
        "Reasons": "collectopt.models.reasoning",
        "labels": "collectopt.models.labels",
        "late_risk": "collectopt.models.prevention",
        "LateRisk": "collectopt.models.prevention",
        "PaymentClassifier": "collectopt.models.classifier",
        "DelayModel": "collectopt.models.delays",
        "DelayReason": "collectopt.models.delays",
        "DelayReasons": "collectopt.models.delays",
        "PlanModel": "collectopt.models.plan_keeping",
        "Payer": "collectopt.models.plan_keeping",
        "tune": "collectopt.models.tuning",
        "Tuning": "collectopt.models.tuning",
    },
)
