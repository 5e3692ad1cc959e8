"""One function per figure: what a pass returns in, a matplotlib figure out.

Every figure can be read without its caption. Its title says what is shown, the line below says of
which model, stream, site and how many samples, axes carry units, and colours stay apart for
colour-blind readers. Arrays are matched by the names of their dims and by their labels, never by
position. Nothing here touches pyplot or the caller's matplotlib settings.
"""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
