"""Foreground masks from what image and text tokens put out of attention: after ConceptAttention (arXiv 2502.04320).

ConceptAttention adds tokens of concepts that attend to the image and change nothing, and compares their outputs of
attention with the image tokens'. Here the prompt's own words are the concepts, so that the masks follow from a
recording, and outputs are taken after attention's last projection. It takes blocks in which both streams go through
one attention and come out of it apart: the double blocks of FLUX.1, FLUX.2 and Chroma, and the blocks of Qwen-Image,
SD3, CogView4, AuraFlow and Lumina2. In SANA and PixArt-Sigma the text is read by cross-attention: there is no text
stream, and what is attended to is at no site.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr
from scipy.special import softmax

from ditscope import checks
from ditscope.checks import Address
from ditscope.errors import CacheError, InputError
from ditscope.passes.source import CacheLike, hidden_states
from ditscope.passes.tensors import chosen_places, each_tensor, with_places
from ditscope.vocabulary import STREAMS

__all__ = ["concept_masks"]

SITE = "attn_output"
THRESHOLDS = ("mean", "half")


def concept_masks(
    source: CacheLike,
    concepts: xr.DataArray,
    *,
    blocks: Address | Iterable[Address] | None = None,
    steps: int | Iterable[int] | None = -1,
    branch: str = "cond",
    threshold: str = "mean",
    average: bool = True,
) -> xr.Dataset:
    """Masks of where an image token's output of attention is most like the foreground's words'.

    Args:
        source: a cache of ``attn_output`` of both streams.
        concepts: text tokens of each concept, bool ``[concept, sample, token]``, the foreground first; samples are
            found by their labels where they have them. :func:`ditscope.shapes.caption_tokens` gives those of its
            captions.
        blocks: blocks by index, name or kind; None for all that have the site.
        steps: scheduler steps, -1 for the last recorded; None for all.
        branch: ``cond`` or ``uncond``.
        threshold: a token is foreground where the heat is above its mean over the image's tokens (``mean``), or above
            ``half``.
        average: average the heat over blocks and steps first, as ConceptAttention does.

    Returns:
        ``heat``, the foreground's share of the softmax over concepts of the dot products of a token's output with the
        mean over the concept's tokens, and ``mask``, bool, ``[(block, step,) sample, y, x]``.

    Raises:
        InputError: a recording without the site in both streams, concepts that do not fit or have no token in a sample,
            values that are not finite, or an unknown block, step, branch or threshold.

    Examples:
        >>> kept = {"streams": ["image", "text"], "sites": ["attn_output"], "blocks": "double"}
        >>> seen = ds.capture(dit, prompts[:2], **kept, num_inference_steps=2)
        >>> words = ds.shapes.caption_tokens(prompts[:2], seen.hidden("text", "attn_output").sizes["token"])
        >>> ds.passes.concept_masks(seen, words)["mask"].dims
        ('sample', 'y', 'x')
    """
    checks.name_of("threshold", threshold, THRESHOLDS)
    image, text = (chosen_places(_apart(source, stream), blocks, steps, branch) for stream in STREAMS)
    marked = _marked(concepts, text)
    words = {
        tensor.at: np.stack([tensor.values[own].mean(0, dtype=np.float64) for own in marked[:, tensor.at[0]]])
        for tensor in each_tensor(text, "words")
    }
    y, x = (image[name].values.astype(int) for name in ("y", "x"))
    heat = np.zeros(
        (image.sizes["block"], image.sizes["step"], image.sizes["sample"], y.max() + 1, x.max() + 1)
    )
    for tensor in each_tensor(image, "concepts"):
        sample, step, _, block = tensor.at
        likeness = tensor.values.astype(np.float64) @ words[tensor.at].T
        if not np.isfinite(likeness).all():
            raise InputError(
                f"NaN or infinity in block {image['block'].values[block]}",
                "finite values",
                "Leave that block out.",
            )
        heat[block, step, sample, y, x] = softmax(likeness, axis=1)[:, 0]
    dims = ("block", "step", "sample", "y", "x")
    coords = {name: c for name, c in image.coords.items() if c.dims and set(c.dims) <= set(dims[:3])}
    found = xr.DataArray(
        heat, dims=dims, coords=coords | {"y": range(heat.shape[3]), "x": range(heat.shape[4])}
    )
    found = found.mean(("block", "step")) if average else found
    least = found.mean(("y", "x")) if threshold == "mean" else 0.5
    return xr.Dataset(
        {"mask": found > least, "heat": found}, attrs={"site": SITE, "branch": branch, "threshold": threshold}
    )


def _apart(source: CacheLike, stream: str) -> xr.DataArray:
    """Outputs of attention of a stream, all tokens at their positions."""
    try:
        found = hidden_states(source, stream, SITE)
    except (CacheError, KeyError) as error:
        raise InputError(
            f"a recording without {SITE} of the {stream} stream",
            f"{SITE} of both streams, which blocks with one attention over both have",
            f'Record with streams=["image", "text"], sites=["{SITE}"]. Families that read the text by cross-attention '
            "have no text stream: no mask can be made of their words.",
        ) from error
    return with_places(found.drop_vars("token_mask", errors="ignore"))


def _marked(concepts: xr.DataArray, text: xr.DataArray) -> np.ndarray:
    """Which text tokens are each concept's, bool ``[concept, sample, token]``, for the samples that there are."""
    if set(concepts.dims) != {"concept", "sample", "token"} or concepts.dtype != bool:
        raise InputError(
            f"concepts {concepts.dtype} with dims {', '.join(map(str, concepts.dims))}",
            "bool [concept, sample, token]",
            "Mark the tokens of each word.",
        )
    concepts = concepts.transpose("concept", "sample", "token")
    if "sample" in concepts.coords and text["sample"].isin(concepts["sample"]).all():
        concepts = concepts.sel(sample=text["sample"].values)
    marked = concepts.values
    fits = marked.shape[1] == text.sizes["sample"] and len(marked) > 1
    beyond = marked[:, :, text.sizes["token"] :].any()
    marked = marked[:, :, : text.sizes["token"]]
    if not fits or beyond or not marked.any(2).all():
        raise InputError(
            f"{concepts.sizes['concept']} concepts of {concepts.sizes['sample']} samples, some without a token or "
            f"beyond the {text.sizes['token']} recorded",
            f"two or more, each with a token in each of {text.sizes['sample']} samples",
            "Mark tokens of every concept in every prompt.",
        )
    return np.pad(marked, ((0, 0), (0, 0), (0, text.sizes["token"] - marked.shape[2])))
