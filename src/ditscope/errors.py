"""What can go wrong, as types a caller can catch. Every message says found, expected, remedy."""

from __future__ import annotations

from collections.abc import Iterable


class DitscopeError(Exception):
    """Base of every error that ditscope raises on purpose."""


class InputError(DitscopeError, ValueError):
    """An argument that cannot be used: refused before any work starts."""


class UnsupportedError(DitscopeError, ValueError):
    """A pipeline, option or site that ditscope does not support, refused by name."""


class CacheError(DitscopeError, ValueError):
    """A store that is not a cache, or is damaged."""


class ConfigMismatchError(CacheError):
    """A cache that was recorded with another configuration."""


class CheckError(DitscopeError, RuntimeError):
    """A checkpoint on which a claim of the check does not hold."""


class VisitError(DitscopeError, RuntimeError):
    """The transformer's visits do not match the scheduler's step clock."""


class EditError(DitscopeError, RuntimeError):
    """An edit that did not do what it says, such as one that never fired."""


def found_expected(found: object, expected: object, remedy: str) -> str:
    """The one form of a message: what was found, what was expected, what to do."""
    return f"found {found}; expected {expected}. {remedy}"


def one_of(what: str, found: object, known: Iterable[object]) -> str:
    """The message for a name that is not among the known ones."""
    listed = ", ".join(repr(name) for name in known)
    return found_expected(f"{what} {found!r}", f"one of {listed}", f"Pass a known {what}.")
