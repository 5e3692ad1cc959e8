"""Which tokens of the image have their hidden states kept: chosen ones, or some drawn at random for each sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ditscope import checks
from ditscope.errors import InputError


@dataclass(frozen=True)
class TokenChoice:
    """A choice of image tokens.

    Attributes:
        ids: token ids, in increasing order.
        shape: (height, width) of the mask that they come from, in tokens; None for ids.
        drawn: how many are drawn at random for each sample instead.
    """

    ids: tuple[int, ...] | None = None
    shape: tuple[int, int] | None = None
    drawn: int | None = None

    def fields(self, grid: tuple[int, int]) -> dict[str, Any]:
        """What a store's schema says of it.

        Args:
            grid: (height, width) of the image stream in tokens.

        Raises:
            InputError: a mask of another grid, or tokens that the image does not have.
        """
        if self.shape is not None and self.shape != grid:
            raise InputError(
                f"a mask of {self.shape} tokens", f"one of {grid}", "Draw it on the latent grid."
            )
        n_tokens = grid[0] * grid[1]
        most = self.drawn if self.ids is None else self.ids[-1] + 1
        if most is not None and most > n_tokens:
            raise InputError(
                f"token {most - 1}", f"0 to {n_tokens - 1} of a {grid} grid", "Choose fewer tokens."
            )
        return {"token_ids": self.ids, "random_tokens": self.drawn}


def token_choice(tokens: Any, streams: Sequence[str]) -> TokenChoice:
    """A choice from what a user passes.

    Args:
        tokens: a number, of tokens that are drawn for each sample; a bool mask ``[y, x]`` on the latent grid; or
            token ids.
        streams: what is recorded; the choice is of the image's tokens.

    Raises:
        InputError: it is none of these, or empty, or the image is not recorded.
    """
    if "image" not in streams:
        raise InputError(
            f"tokens= with streams {', '.join(streams)}", "the image stream", "Leave tokens= out."
        )
    if isinstance(tokens, int | np.integer) and not isinstance(tokens, bool):
        return TokenChoice(drawn=checks.whole_number("tokens", int(tokens)))
    array = np.asarray(tokens)
    if array.dtype == bool and array.ndim == 2:
        ids, shape = np.flatnonzero(array), array.shape
    else:
        ids, shape = np.array(sorted(set(checks.whole_numbers("tokens", tokens)))), None
    if not len(ids) or ids[0] < 0:
        raise InputError(f"tokens {tokens!r}", "at least one token, counted from 0", "Choose some.")
    return TokenChoice(tuple(map(int, ids)), shape)


def drawn_tokens(n_tokens: int, count: int, seed: int, sample: str) -> np.ndarray[Any, Any]:
    """The tokens of a sample: int32 ``[count]`` in increasing order, without repetition, uniformly drawn.

    Args:
        n_tokens: to draw from.
        count: how many.
        seed: of all draws of a recording.
        sample: what the sample is known by; equal in every recording of it.
    """
    own = np.frombuffer(hashlib.sha256(sample.encode("utf-8", "surrogatepass")).digest(), "<u4")
    drawn = np.random.default_rng([seed, *own.tolist()]).choice(n_tokens, count, replace=False)
    return np.sort(drawn).astype(np.int32)
