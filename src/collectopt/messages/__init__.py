"""Words for people: messages to customers, and decisions explained, in German and English."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Language": ".letters",
        "in_words": ".letters",
        "Messages": ".composing",
        "compose": ".composing",
        "starter_templates": ".filling",
        "lint": "collectopt.schema.wording",
    },
)
