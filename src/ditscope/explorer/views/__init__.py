"""Views of the explorer, one file each, with its panel in the JavaScript file of the same name."""

from collections.abc import Mapping

from ditscope._discovery import public_names
from ditscope.explorer.view import View

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)

VIEWS: Mapping[str, View] = _names
"""Every view by name."""
