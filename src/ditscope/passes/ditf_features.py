"""Features as DiTF makes them (Gan et al., arXiv 2505.18584): modulated, with massive channels discarded."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.errors import InputError
from ditscope.passes.registers import membership
from ditscope.passes.source import CacheLike, array_blocks, hidden_states

__all__ = ["ditf_features"]

WHEN = ("before", "after")


def ditf_features(
    source: CacheLike,
    *,
    block: Address,
    step: int = -1,
    branch: str = "cond",
    modulated: bool = True,
    discard: ChannelSet | None = None,
    when: str = "before",
    eps: float = 1e-6,
    stream: str = "image",
) -> xr.DataArray:
    """A block's input, normalised and modulated by the block's own shift and scale, without massive channels; lazily.

    ``(1 + attn_scale) * LayerNorm(block_input) + attn_shift``: what the block's attention is passed. The paper's
    code zeroes the channels before the normalisation, so that its mean and deviation change too; the paper is
    read as zeroing them afterwards. Both are here.

    Args:
        source: a cache or a capture of all channels with ``block_input`` and, unless ``modulated`` is False,
            ``attn_shift`` and ``attn_scale``.
        block: one block, by index or name.
        step: index into the scheduler's timesteps; negative ones count from the last recorded.
        branch: ``cond`` or ``uncond``.
        modulated: False takes the block's input as it is.
        discard: channels to set to 0; None for none.
        when: they are set to 0 ``before`` the normalisation or ``after`` the modulation.
        eps: of the normalisation, which is LayerNorm without weights, as FLUX's, SD3's and SANA's are. Lumina2's is
            another one, and it has no shift, so that its features are refused.
        stream: ``image`` or ``text``.

    Returns:
        ``[sample, token, channel]`` in float64. To average over noise draws, take ``.mean("sample")`` of an image's.

    Raises:
        InputError: a site that was not recorded, more blocks than one, or another argument that cannot be used.

    Examples:
        >>> sites = ["block_input", "attn_shift", "attn_scale"]
        >>> seen = ds.capture(dit, prompts[0], sites=sites, blocks="double.2", num_inference_steps=2)
        >>> ds.passes.ditf_features(seen, block="double.2").dims
        ('sample', 'token', 'channel')
    """
    checks.name_of("when", when, WHEN)
    hidden = hidden_states(source, stream, "block_input")
    states = _at(hidden, block, step, branch).transpose("sample", "token", "channel").astype(np.float64)
    member = None if discard is None else membership(discard, states)
    if member is not None and (when == "before" or not modulated):
        states = states.where(~member, 0.0)
    if modulated:
        shift, scale = (
            _at(source.hidden(stream, f"attn_{name}"), block, step, branch)
            .astype(np.float64)
            .reset_coords(drop=True)
            for name in ("shift", "scale")
        )
        centred = states - states.mean("channel")
        normed = centred / np.sqrt((centred**2).mean("channel") + eps)
        states = (1 + scale) * normed + shift
        if member is not None and when == "after":
            states = states.where(~member, 0.0)
    made = {"modulated": int(modulated), "discarded": discard.label if discard else "nothing", "when": when}
    return states.transpose("sample", "token", "channel").assign_attrs(hidden.attrs | made).rename("features")


def _at(array: xr.DataArray, block: Address, step: int, branch: str) -> xr.DataArray:
    """One block, step and branch, with the dim ``block`` gone and its label kept."""
    found = checks.find_blocks(array_blocks(array), block)
    if len(found) != 1:
        raise InputError(
            f"{block!r}, which stands for {len(found)} blocks", "one block", "Name it by index or name."
        )
    (at,) = checks.find_steps(array["step"].values.tolist(), [step])
    checks.name_of("branch", branch, array["branch"].values.tolist())
    return array.sel(block=found[0].index, step=at, branch=branch)
