"""Policies: which action for which account, under shared limits, with exact propensities."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Allocation": ".allocation",
        "allocate": ".allocation",
        "Policy": ".base",
        "FixedLadder": ".ladder",
        "BestConstant": ".constant",
        "MarginalValue": ".marginal",
        "NoContact": ".plain",
        "Random": ".plain",
        "Everybody": ".plain",
        "NextBestAction": ".next_best",
        "AccountRecord": ".one_record",
        "OneChoice": ".one",
        "OneDecision": ".one",
        "PolicyLearner": ".learner",
        "Plan": ".plan",
        "Rhythm": ".plan",
        "PlanModel": "collectopt.models.plan_keeping",
        "PlanCase": ".plans",
        "PlanTerms": ".plans",
        "Verdict": ".plans",
        "best_plan": ".plans",
        "evaluate_plan": ".plans",
        "RecordStore": ".store",
        "load": ".artifact",
        "decision_log": ".panel",
        "decision_outcomes": ".outcomes",
    },
)
