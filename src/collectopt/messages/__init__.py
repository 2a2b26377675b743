"""Words for people: messages, decisions explained, and replies read, in German and English."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Language": ".letters",
        "in_words": ".letters",
        "Messages": ".composing",
        "compose": ".composing",
        "starter_templates": ".filling",
        "ReplyKind": ".replies",
        "Reading": ".replies",
        "read_reply": ".replies",
        "lint": "collectopt.schema.wording",
    },
)
