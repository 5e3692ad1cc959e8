"""What an image says about an edit: image and text-image metrics, one file each, and the ones registered by others."""

from ditscope._discovery import public_names

globals().update(_names := public_names(__name__))
__all__ = sorted(_names)
