"""The embedded world: captioned scenes with known masks, and the pipeline trained on them."""

import lazy_loader

# Scenes and captions need no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
