"""What libraries say that is not for who uses ditscope: progress bars in a log, notes on what they do without."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


def without_notes_on_torchvision() -> None:
    """Drop transformers' notes, at each start, that diffusers takes image processors which need no torchvision."""
    log = logging.getLogger("transformers.utils.import_utils")
    log.addFilter(
        lambda record: "requires torchvision (not installed); falling back" not in record.getMessage()
    )


@contextlib.contextmanager
def quiet_unless_terminal() -> Iterator[None]:
    """Progress bars of the libraries belong on a terminal; a log is spared them."""
    import diffusers
    import transformers

    loggers = [library.utils.logging for library in (diffusers, transformers)]
    shown = [logger.is_progress_bar_enabled() for logger in loggers]
    if not sys.stderr.isatty():
        for logger in loggers:
            logger.disable_progress_bar()
    try:
        yield
    finally:
        for logger, was_shown in zip(loggers, shown, strict=True):
            if was_shown:
                logger.enable_progress_bar()
