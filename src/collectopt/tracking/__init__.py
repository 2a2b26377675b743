"""Experiments and models in MLflow: one function to log a training, one to load a policy.

Needs ``pip install 'collectopt[mlflow]'``. Nothing is patched, no autologging is switched on and
MLflow's own settings stay as they are: every call talks to the store that it names.
"""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "TrackedRun": ".mlflow_store",
        "log_training": ".mlflow_store",
        "load": ".mlflow_store",
        "promote": ".mlflow_store",
    },
)
