"""What can go wrong, as types a caller can catch. Every error says found, expected, remedy, and keeps the parts."""

from __future__ import annotations

from collections.abc import Iterable


class DitscopeError(Exception):
    """Base of every error that ditscope raises on purpose.

    Attributes:
        found: what was found.
        expected: what was expected.
        remedy: what to do about it.
    """

    def __init__(self, found: object, expected: object, remedy: str) -> None:
        # As text, so that an error can be pickled and copied whatever was found.
        self.found, self.expected, self.remedy = str(found), str(expected), remedy
        super().__init__(self.found, self.expected, remedy)

    def __str__(self) -> str:
        return f"found {self.found}; expected {self.expected}. {self.remedy}"


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


def not_copied(what: str, remedy: str) -> UnsupportedError:
    """The error for what is pickled or copied and can be neither."""
    return UnsupportedError(f"{what}, to be pickled or copied", "something that is data alone", remedy)


def unknown_name(what: str, found: object, known: Iterable[object]) -> InputError:
    """The error for a name that is not among the known ones."""
    return InputError(f"{what} {found!r}", f"one of {', '.join(map(repr, known))}", f"Pass a known {what}.")


def no_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module does not have, among those it has."""
    return AttributeError(f"{module} has no attribute {name!r}; it has {', '.join(known)}")
