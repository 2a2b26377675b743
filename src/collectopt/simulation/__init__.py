"""Simulated books with known truth."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Book": ".book",
        "Calibration": ".calibration",
        "calibration_table": ".calibration",
        "Truth": ".book",
        "Effect": ".trial",
        "Informed": ".informed",
        "Result": ".result",
        "CustomerType": ".kinds",
        "ExactWorld": ".exact",
        "CollectionsEnv": ".environment",
    },
)
