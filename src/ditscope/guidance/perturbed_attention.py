"""Perturbed-attention guidance: away from what the model makes when image tokens attend to themselves alone."""

from __future__ import annotations

from typing import Unpack

from ditscope.edits.edit import Where
from ditscope.edits.identity_attention import identity_attention
from ditscope.guidance.from_edits import Guidance, from_edits

__all__ = ["perturbed_attention"]


def perturbed_attention(
    w: float, *, match_norm_of: Guidance | None = None, **where: Unpack[Where]
) -> Guidance:
    """Perturbed-attention guidance (Ahn et al., arXiv 2403.17377): D(c) + w (D(c) - D_i(c)).

    D_i is the same network with the self-attention map of image tokens an identity in some blocks; see
    :func:`ditscope.edits.identity_attention` for where text is attended to as well.

    Args:
        w: weight of the difference.
        match_norm_of: a guidance whose difference has the norm that this one's is scaled to.
        **where: the edit's scope, such as ``blocks="double.2"``, ``steps`` or ``sigmas``; as for
            :func:`ditscope.edits.zero`.

    Raises:
        InputError: ``w`` is no finite number, or an unknown or empty part of the scope.

    Examples:
        >>> perturbed = ds.guidance.perturbed_attention(2.0, blocks="double.2")
    """
    return from_edits(identity_attention(**where), w, match_norm_of=match_norm_of)
