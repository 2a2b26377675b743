"""Words for people: decisions explained in plain German and English."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"Language": ".letters", "in_words": ".letters"})
