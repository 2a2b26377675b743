"""Jobs over whole books: the command line and the tasks behind it."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "train": "collectopt.jobs.tasks",
        "decide": "collectopt.jobs.tasks",
        "evaluate": "collectopt.jobs.tasks",
        "app": "collectopt.jobs.cli",
    },
)
