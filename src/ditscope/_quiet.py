"""Progress bars of the libraries: shown on a terminal, spared to a log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import diffusers
import transformers


@contextlib.contextmanager
def quiet_unless_terminal() -> Iterator[None]:
    """Progress bars of the libraries belong on a terminal; a log is spared them."""
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
