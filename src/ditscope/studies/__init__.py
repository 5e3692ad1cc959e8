"""Whole studies: a claim, its settings, how it is measured, and a report drawn from the saved result alone.

A study is found by being there: a module of this package that lists it in ``__all__``, or an entry point of the
group ``ditscope.studies``.
"""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
