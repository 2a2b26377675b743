"""Rules: what may be done to whom and when, each with a code, a source and plain words.

Examples
--------
>>> from collectopt import Catalogue
>>> from collectopt.rules import Rules
>>> rules = Rules.from_catalogue(Catalogue.default())
>>> rules.codes[:3]
('HOLD_INSOLVENCY', 'HOLD_DECEASED', 'HOLD_BREATHING_SPACE')
"""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Agency": ".permissions",
        "Approval": ".permissions",
        "Consent": ".permissions",
        "ContactCap": ".permissions",
        "Distress": ".permissions",
        "FirstContactGentle": ".permissions",
        "Hold": ".permissions",
        "Hours": ".permissions",
        "MaxToneStep": ".permissions",
        "NoAddress": ".permissions",
        "OptedOut": ".permissions",
        "PastDue": ".permissions",
        "Permission": ".permissions",
        "QuietHours": ".permissions",
        "SlotPast": ".permissions",
        "ToneTable": ".permissions",
        "Precedence": ".precedence",
        "Unit": ".permissions",
        "CallAfterConversation": ".us_uk",
        "CallFrequency": ".us_uk",
        "ConsumerHours": ".us_uk",
        "CourtTimeBarred": ".us_uk",
        "Disputed": ".us_uk",
        "ExpressConsent": ".us_uk",
        "ReasonableHours": ".us_uk",
        "TimeBarred": ".us_uk",
        "dates": ".dates",
        "Law": ".packs",
        "LawTable": ".packs",
        "laws": ".packs",
        "table": ".packs",
        "Need": ".stages",
        "Stage": "collectopt.schema.stages",
        "StageStep": ".stages",
        "Rules": ".rules",
        "Verdict": ".rules",
        "Layout": ".layout",
        "State": ".state",
    },
)
