"""collectopt: calibrated payment predictions and the next-best action for every account.

Everything is loaded on first use; ``import collectopt`` itself loads no heavy package.
"""

from collectopt._lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        # packages
        "exceptions": "collectopt.exceptions",
        "schema": "collectopt.schema",
        "features": "collectopt.features",
        "models": "collectopt.models",
        "objective": "collectopt.objective",
        "rules": "collectopt.rules",
        "policy": "collectopt.policy",
        "evaluation": "collectopt.evaluation",
        "simulation": "collectopt.simulation",
        "tracking": "collectopt.tracking",
        "integrations": "collectopt.integrations",
        "messages": "collectopt.messages",
        "testing": "collectopt.testing",
        # data
        "Ledger": "collectopt.schema.ledger",
        "Snapshot": "collectopt.schema.snapshot",
        "Catalogue": "collectopt.schema.catalogue",
        "Action": "collectopt.schema.actions",
        "ActionSet": "collectopt.schema.actions",
        "Forecast": "collectopt.schema.forecast",
        "Outlook": "collectopt.schema.outlook",
        "DecisionLog": "collectopt.schema.log",
        "Decisions": "collectopt.schema.decisions",
        # policies
        "NextBestAction": "collectopt.policy",
        "FixedLadder": "collectopt.policy",
        "BestConstant": "collectopt.policy",
        "MarginalValue": "collectopt.policy",
        "load": "collectopt.policy",
        "data_quality": "collectopt.policy",
        # objective
        "ExpectedRecovery": "collectopt.objective",
        "ContactCost": "collectopt.objective",
        "RelationshipCost": "collectopt.objective",
        "ComplaintRisk": "collectopt.objective",
        "CreditStanding": "collectopt.objective",
        "OptOutRisk": "collectopt.objective",
    },
)
