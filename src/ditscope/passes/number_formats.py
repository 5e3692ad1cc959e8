"""Low-precision number formats, emulated: integers with a scale, and blocks of channels with a shared exponent.

The same code rounds numpy arrays (passes) and torch tensors (edits): pass the library as ``xp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError

__all__ = ["SCHEMES", "Scheme"]

PER = ("tensor", "channel", "token", "block")


@dataclass(frozen=True)
class Scheme:
    """A way to round hidden states.

    Per ``tensor`` (one image at one block), ``channel`` or ``token`` values are whole multiples of a step, which is
    the largest magnitude there over ``2**bits - 1``: symmetric integers of ``bits`` and a sign. Per ``block`` of
    ``width`` neighbouring channels of a token they are multiples of a power of two: the block's largest magnitude has
    ``bits`` bits before and after the point, as in microscaling (MX). With ``pair`` above 1, each so many neighbours
    whose exponent is smaller than the block's have one bit more (the shared microexponent of MX9, MX6 and MX4).

    Attributes:
        bits: of the magnitude, without the sign: 7 for int8.
        per: what shares a scale.
        width: channels in a block; for ``per="block"``.
        pair: channels that share a microexponent; 1 for none.

    Raises:
        InputError: no such scheme.

    Examples:
        >>> int4 = ds.passes.Scheme(bits=3, per="token")
        >>> error = ds.passes.quantization_error(cache.hidden().isel(step=[-1]), {"massive": massive}, [int4, "mx6"])
    """

    bits: int
    per: str = "tensor"
    width: int = 32
    pair: int = 1

    def __post_init__(self) -> None:
        checks.whole_number("bits", self.bits, 1, 16)
        checks.name_of("per", self.per, PER)
        checks.whole_number("width", self.width)
        checks.whole_number("pair", self.pair)
        if self.width % self.pair:
            raise InputError(
                f"blocks of {self.width} in parts of {self.pair}",
                "parts that fill a block",
                "Pass pair=2, say.",
            )

    @property
    def label(self) -> str:
        """Its name in :data:`SCHEMES`, or its numbers."""
        named = (name for name, scheme in SCHEMES.items() if scheme == self)
        size = f"{self.width} channels, {self.pair} a part" if self.per == "block" else self.per
        return next(named, f"{self.bits + 1} bits per {size}")


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        **{
            f"int{bits} per {per}": Scheme(bits - 1, per)
            for bits in (8, 4)
            for per in ("tensor", "channel", "token")
        },
        "mxint8": Scheme(7, "block"),
        "mx9": Scheme(7, "block", 16, 2),
        "mx6": Scheme(4, "block", 16, 2),
        "mx4": Scheme(2, "block", 16, 2),
    }
)
"""Schemes by name: integers, OCP's MXINT8 (blocks of 32), and the shared microexponents of MX9, MX6 and MX4."""


def scheme_of(scheme: Scheme | str) -> Scheme:
    """A scheme by its name, or as it is.

    Raises:
        InputError: an unknown name, listing the known.
    """
    return scheme if isinstance(scheme, Scheme) else SCHEMES[checks.name_of("scheme", scheme, SCHEMES)]


def rounded(values: Any, scheme: Scheme, xp: Any = np) -> Any:
    """Values as a scheme keeps them.

    Args:
        values: finite, float32 or float64 ``[..., token, channel]``, all that shares scales.
        scheme: how.
        xp: ``numpy`` or ``torch``, whose array it is.

    Returns:
        The same shape and dtype.
    """
    if scheme.per == "block":
        return _in_blocks(values, scheme, xp)
    axes = {"tensor": (-2, -1), "channel": (-2,), "token": (-1,)}[scheme.per]
    return _multiples(
        values, xp.amax(abs(values), axis=axes, keepdims=True) / (2**scheme.bits - 1), scheme, xp
    )


def _in_blocks(values: Any, scheme: Scheme, xp: Any) -> Any:
    *lead, channels = values.shape
    if missing := -channels % scheme.width:
        nothing = xp.zeros_like(values[..., :1])
        values = xp.concatenate([values, *[nothing] * missing], axis=-1)
    parts = values.reshape(*lead, -1, scheme.width // scheme.pair, scheme.pair)
    own = _exponent(xp.amax(abs(parts), axis=-1, keepdims=True), xp)
    shared = xp.amax(own, axis=-2, keepdims=True)
    exponent = shared - xp.where(own < shared, int(scheme.pair > 1), 0)
    step = xp.ldexp(xp.ones_like(parts[..., :1]), exponent - (scheme.bits - 1))
    return _multiples(parts, step, scheme, xp).reshape(*lead, -1)[..., :channels]


def _exponent(magnitude: Any, xp: Any) -> Any:
    """The whole number below log2; that of the smallest normal float32 where there is nothing."""
    return xp.where(magnitude > 0, xp.frexp(magnitude)[1] - 1, -126)


def _multiples(values: Any, step: Any, scheme: Scheme, xp: Any) -> Any:
    most = 2**scheme.bits - 1
    whole = xp.clip(xp.round(values / xp.where(step > 0, step, xp.ones_like(step))), -most, most)
    return whole * step
