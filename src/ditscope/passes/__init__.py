"""Analysis passes: pure functions from labelled arrays to labelled arrays.

A pass takes a cache, a hidden-state array or a statistics dataset, and never opens a model.
"""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
