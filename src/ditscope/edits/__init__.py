"""Interventions on hidden states, with a scope, and the record of what they did."""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
