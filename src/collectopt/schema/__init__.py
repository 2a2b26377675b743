"""Tables, snapshots and results: every object that travels between the stages."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Ledger": ".ledger",
        "Timeline": ".timeline",
        "Snapshot": ".snapshot",
        "Catalogue": ".catalogue",
        "Channel": ".catalogue",
        "PlanLimits": ".catalogue",
        "Template": ".templates",
        "Nudge": ".templates",
        "Salutation": ".templates",
        "Action": ".actions",
        "ActionKind": ".actions",
        "ActionSet": ".actions",
        "Forecast": ".forecast",
        "Horizon": ".horizons",
        "Outlook": ".outlook",
        "DecisionLog": ".log",
        "Decisions": ".decisions",
        "Explanation": ".decisions",
    },
)
