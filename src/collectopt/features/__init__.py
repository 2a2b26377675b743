"""Point-in-time features: declared once each, computed for many accounts and many times."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "compute": ".engine",
        "compute_each": ".engine",
        "describe": ".catalogue",
        "DEFINITIONS": ".catalogue",
        "FeatureTable": ".catalogue",
        "FeatureMatrix": ".matrix",
        "Feature": ".definition",
        "Family": ".definition",
        "Unit": ".definition",
        "NEVER": ".definition",
    },
)
