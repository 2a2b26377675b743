"""Checks for own models, to be called from own tests."""

from collectopt._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"check_response_model": ".response"})
