"""The explorer: recordings and comparisons to look at, in a browser, in a notebook, and as a page by itself.

A view (:mod:`ditscope.explorer.views`) answers what one panel asks: small arrays at one address. One front end, plain
JavaScript, asks it by three doors: the local server (``ditscope view PATH``), the widget (``cache.view()``,
:func:`view`), and the page by itself (``ditscope view PATH --export page.html``), in which the answers are inside.
"""

import lazy_loader

# A widget needs anywidget; looking at a store by the server does not.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
