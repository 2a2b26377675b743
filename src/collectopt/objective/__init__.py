"""Objective: terms in EUR that add up, scale and print.

Examples
--------
>>> import collectopt as co
>>> co.ExpectedRecovery() - co.ContactCost() - 2.0 * co.ComplaintRisk()
ExpectedRecovery() - ContactCost() - 2.0 * ComplaintRisk()
"""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Block": ".algebra",
        "Objective": ".algebra",
        "Term": ".algebra",
        "ExpectedRecovery": ".terms",
        "ContactCost": ".terms",
        "RelationshipCost": ".terms",
        "ComplaintRisk": ".terms",
        "OptOutRisk": ".terms",
        "CreditStanding": ".terms",
        "default_objective": ".terms",
        "from_dict": ".terms",
    },
)
