"""What attention and the MLP, and the gates on them, add to each channel of the residual stream, block by block."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope.errors import InputError
from ditscope.passes.source import CacheLike, hidden_states
from ditscope.passes.token_statistics import chunked
from ditscope.vocabulary import BLOCK_ENDS, SITES

__all__ = ["residual_growth"]

PARTS = ("attn", "mlp", "other", "whole")
"""What a block adds; ``other`` is what attention and MLP leave over, ``whole`` all of a block that is not split."""


_INSIDE = ("attn_output", "mlp_output", "mlp_gate")
_MEASURES = ("energy_added", "mean_added", "gate_excess", "output_excess")
_UNADDED = 0.05  # of the remainder with attention, what is left without it where it is not added


def residual_growth(source: CacheLike, *, stream: str = "image") -> xr.Dataset:
    """How much each part of a block adds to each channel, and whether by its gate or by its output, lazily.

    A block's output is its input plus its parts, and so ``output ** 2 - input ** 2`` is the sum over parts of
    ``part * (input + output)``: a channel's energy grows by what each part adds, exactly. A gate has one value for all
    tokens, so that a part's size, the root of its mean square, is the gate's times the ungated output's; in
    doublings over the geometric mean of all channels the two add up to the part's own excess.

    Parts are ``attn`` and ``mlp``, gated; ``other``, what these leave over, such as cross-attention or rounding; and
    ``whole``, at blocks without these sites: FLUX.1's single-stream blocks add attention and MLP as one tensor, under
    ``attn_gate``. Attention that reaches the output by way of the MLP alone (AuraFlow) adds 0: it counts so where
    the remainder is far smaller without it.

    Args:
        source: a cache or a capture of all channels with the sites ``block_input``, ``block_output`` and ``attn_gate``,
            and ``attn_output``, ``mlp_output`` and ``mlp_gate`` where the blocks have them.
        stream: ``image`` or ``text``.

    Returns:
        ``[sample, step, branch, block, part, channel]``: ``energy_added`` and ``mean_added``, means over tokens of
        what the part adds to x squared and to x; ``gate_excess`` and ``output_excess``, doublings over the geometric
        mean of channels. NaN where a block has not the part, or not that gate; where no block has attention's output
        the recording does not say what ``attn_gate`` gates. ``[sample, step, branch, block, channel]``: ``energy``
        of the output, and ``energy_growth``, which the parts add up to. Nothing is read until it is computed, chunk
        by chunk.

    Raises:
        InputError: sites that were not recorded, by name; or a stream with padding.

    Examples:
        >>> sites = ["block_input", "attn_gate", "attn_output", "mlp_gate", "mlp_output", "block_output"]
        >>> seen = ds.capture(dit, prompts[0], sites=sites, blocks="double", num_inference_steps=2)
        >>> ds.passes.residual_growth(seen)["part"].values.tolist()
        ['attn', 'mlp', 'other', 'whole']
    """
    hidden = _sites(source, stream)
    ends = [chunked(hidden[name]).chunk({"channel": -1}) for name in BLOCK_ENDS]
    chunks = ends[0].variable.chunksizes
    blocks = ends[0]["block"].values
    given = [ends[0]]
    for name in [BLOCK_ENDS[1], "attn_gate", *(name for name in _INSIDE if name in hidden)]:
        # Blocks that have not the site get NaN, which says so.
        each = hidden[name].astype(np.result_type(hidden[name].dtype, np.float32)).reindex(block=blocks)
        given.append(each.chunk({dim: chunks[dim] for dim in each.dims}))
    numbers, moments = xr.apply_ufunc(
        _growth,
        *(each.reset_coords(drop=True) for each in given),
        input_core_dims=[["token", "channel"] if "token" in each.dims else ["channel"] for each in given],
        output_core_dims=[["measure", "part", "channel"], ["moment", "channel"]],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
        dask_gufunc_kwargs={"output_sizes": {"measure": len(_MEASURES), "part": len(PARTS), "moment": 2}},
    )
    found = {name: numbers.isel(measure=at) for at, name in enumerate(_MEASURES)}
    found |= {name: moments.isel(moment=at) for at, name in enumerate(("energy", "energy_growth"))}
    coords = {name: c for name, c in ends[0].coords.items() if "token" not in c.dims}
    return xr.Dataset(found, attrs={"stream": stream}).assign_coords({"part": list(PARTS), **coords})


def _sites(source: CacheLike, stream: str) -> dict[str, xr.DataArray]:
    """Every site that is there; all that must be and are not are named together."""
    found: dict[str, xr.DataArray] = {}
    for name in (*BLOCK_ENDS, "attn_gate", *_INSIDE):
        try:
            own = source.hidden(stream, name)
        except (InputError, KeyError):
            continue
        found[name] = hidden_states(own, stream, name) if SITES[name].has_tokens else own
    needed = [*BLOCK_ENDS, "attn_gate", *(_INSIDE if any(name in found for name in _INSIDE) else ())]
    missing = [name for name in needed if name not in found]
    if missing:
        raise InputError(
            f"a recording without {', '.join(missing)} of the {stream} stream",
            f"the sites {', '.join(needed)}",
            "Record with these in sites=.",
        )
    if "token_mask" in found["block_input"].coords and not bool(found["block_input"]["token_mask"].all()):
        raise InputError(
            f"padding in the {stream} stream", "a stream without padding", "Pass the image stream."
        )
    return found


def _growth(
    before: np.ndarray, after: np.ndarray, attn_gate: np.ndarray, *inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States ``[..., token, channel]``, gates ``[..., channel]`` -> ``[..., measure, part, channel]``, moments."""
    lead, width = before.shape[:-2], before.shape[-1]
    numbers = np.full((*lead, len(_MEASURES), len(PARTS), width), np.nan)
    moments = np.full((*lead, 2, width), np.nan)
    for at in np.ndindex(lead):
        first, last, gate, *parts = (
            each[at].astype(np.float64) for each in (before, after, attn_gate, *inside)
        )
        numbers[at], moments[at] = _one(first, last, gate, parts)
    return numbers, moments


def _one(
    before: np.ndarray, after: np.ndarray, attn_gate: np.ndarray, inside: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Of one state ``[token, channel]``."""
    numbers = np.full((len(_MEASURES), len(PARTS), before.shape[1]), np.nan)
    added, both = after - before, before + after

    def put(part: str, value: np.ndarray, gate: np.ndarray | None) -> None:
        at = PARTS.index(part)
        numbers[:2, at] = (value * both).mean(0), value.mean(0)
        if gate is not None:
            sizes = abs(gate), np.sqrt((value**2).mean(0))
            with np.errstate(divide="ignore", invalid="ignore"):
                doublings = [np.log2(sizes[0]), np.log2(sizes[1]) - np.log2(sizes[0])]
            for row, each in zip((2, 3), doublings, strict=True):
                each = np.where(np.isfinite(each), each, np.nan)  # of a gate or an output of 0
                numbers[row, at] = each - np.nanmean(each) if np.isfinite(each).any() else np.nan

    if inside and np.isfinite(inside[0]).any():
        attn_output, mlp_output, mlp_gate = inside
        attn, mlp = attn_gate * attn_output, mlp_gate * mlp_output
        left = added - mlp
        if (left**2).mean() < _UNADDED * ((left - attn) ** 2).mean():
            put("attn", np.zeros_like(attn), None)
        else:
            left = left - attn
            put("attn", attn, attn_gate)
        put("mlp", mlp, mlp_gate)
        put("other", left, None)
    else:
        put("whole", added, attn_gate if inside else None)
    return numbers, np.stack([(after**2).mean(0), (after**2 - before**2).mean(0)])
