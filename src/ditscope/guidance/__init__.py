"""Guidance by a degraded branch: the model is led away from what it makes when its hidden states are edited."""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
