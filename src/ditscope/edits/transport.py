"""Transport: another run's values put into a run, in some channels and where a mask says."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Unpack

import xarray as xr

from ditscope import checks
from ditscope.cache.recorded import Recorded
from ditscope.channels.channel_set import ChannelSet
from ditscope.checks import Address
from ditscope.edits.edit import Where
from ditscope.edits.patch import Patch, source_of
from ditscope.edits.recorded_source import RecordedSource
from ditscope.errors import InputError
from ditscope.passes.mask_options import MaskOptions
from ditscope.passes.rank_channels import rank_channels
from ditscope.passes.spatial_masks import spatial_masks

__all__ = ["Transport", "transport"]

MASKS = ("target", "source", "union", "none")
_SIDES = ("source", "target")


class Transport(Patch):
    """A patch in the tokens of a mask.

    Attributes:
        mask: where its mask is from: ``target``, ``source``, ``union``, ``none`` or ``given``.
    """

    mask: str

    verb: ClassVar[str] = "transport"

    @property
    def words(self) -> str:
        """Such as ``transport 0.5 from source.zarr in the target's mask into``."""
        said = {
            "target": " in the target's mask",
            "source": " in the source's mask",
            "union": " in both masks",
        }
        said["given"] = " in a given mask"
        return super().words.removesuffix(" into") + said.get(self.mask, "") + " into"


def transport(
    source: Any,
    channels: Any,
    *,
    mask: Any = "target",
    target: Recorded | None = None,
    alpha: Any = 1.0,
    channels_from: str = "source",
    statistic: str = "mean_abs",
    mask_channels: Any = None,
    mask_block: Address | Sequence[Address] | None = -1,
    mask_step: int | Sequence[int] | None = -1,
    mask_branch: str = "cond",
    mask_options: MaskOptions = MaskOptions(),  # noqa: B008 (frozen)
    sample: Any = None,
    match: str = "step",
    interpolate: bool = False,
    part: str = "whole",
    **where: Unpack[Where],
) -> Transport:
    """Transport of massive activations (arXiv 2605.13974): ``h_target[n, c] <- h_source[n, c]`` for tokens n of a mask
    and channels c, at every block and step of a scope.

    The paper does not say (its body text was not at hand) where the mask and the channels are from, the blend, the
    blocks and steps, the seeds, the branch of guidance, and whether masks are made for each step. Each is a parameter;
    the defaults are ours.

    Args:
        source: a cache or a capture of the source's run; or :class:`~ditscope.edits.lock_step.LockStep`, with a mask
            that is not the source's, and channels that are named.
        channels: a ChannelSet or channel ids; or how many of the largest, in each block, by ``statistic``.
        mask: where the mask is from: ``target``, what the run shows without the edit; ``source``; ``union`` of both;
            ``none``, all tokens; or a mask itself, as of :class:`~ditscope.edits.scope.Scope`. Ours: the target's.
        target: a cache or a capture of the run's own samples without edits, by prompt and seed; for ``target``,
            ``union`` and ``channels_from="target"``.
        alpha: as of :func:`~ditscope.edits.patch.patch`. Ours: 1, the source's values.
        channels_from: whose largest channels are taken where ``channels`` is a number. Ours: the source's, over all
            that was recorded of it. A ChannelSet with a dim ``sample`` has a set for each sample.
        statistic: by which they are largest.
        mask_channels: the channels that masks are made of, where they are others than those transported, as in a
            control that transports random ones in the same mask.
        mask_block: the block whose mask is taken; several, or None for all, for masks of each block's own. Ours: one
            mask, of the last recorded block.
        mask_step: the step whose mask is taken; several, or None for all, for masks of each step's own. Ours: one
            mask, of the last recorded step.
        mask_branch: the branch whose hidden states make masks.
        mask_options: how masks are made of channels.
        sample: which source sample each takes, as of :func:`~ditscope.edits.patch.patch`: ``"seed"`` for shared
            seeds, an index or a list for others.
        match: as of :func:`~ditscope.edits.patch.patch`, as are ``interpolate`` and ``part``.
        interpolate: between the source's steps.
        part: ``whole``, ``constant`` (DC) or ``variation`` (AC) over the mask's tokens.
        **where: parts of the scope but tokens, and ``control``. Ours: all blocks for which there are channels, all
            steps and all branches.

    Raises:
        InputError: a mask or channels of a target that was not passed, or of a source in lock step; ``tokens`` beside a
            mask; masks of several draws; or as of :func:`~ditscope.edits.patch.patch`.

    Examples:
        >>> source = ds.capture(dit, "a large red circle at the left on a plain blue background", num_inference_steps=2)
        >>> target = ds.capture(dit, prompts[0], num_inference_steps=2)
        >>> move = ds.edits.transport(source, 12, target=target, sample="seed")
        >>> moved = ds.compare(dit, prompts[0], 0, move, ["psnr"], num_inference_steps=2)
    """
    chosen = source_of(source, sample=sample, match=match, interpolate=interpolate)
    sides = {"source": chosen.recorded if isinstance(chosen, RecordedSource) else None, "target": target}
    if where.get("tokens") is not None:
        raise InputError("tokens= in a transport", "mask=", "Pass them as mask=.")
    if checks.is_whole(channels):
        channels = _largest(_needed(sides, channels_from), channels, statistic, where)
    elif channels is not None and not isinstance(channels, ChannelSet):
        channels = ChannelSet.of(channels, stream=where.get("stream", "image"))
    _require_one_model(sides)
    word = mask if mask is None or isinstance(mask, str) else "given"
    if word == "given":
        where["tokens"] = mask
    elif checks.name_of("mask", mask, MASKS) != "none":
        masks, made_of = {}, channels if mask_channels is None else mask_channels
        for side in _SIDES if mask == "union" else (mask,):
            masks[side] = spatial_masks(
                _needed(sides, side),
                "all" if made_of is None else made_of,
                blocks=where.get("blocks") if mask_block is None else mask_block,
                steps=where.get("steps") if mask_step is None else mask_step,
                branch=mask_branch,
                site=where.get("site", "block_output"),
                options=mask_options,
            )["mask"]
            if "draw" in masks[side].dims:
                raise InputError(
                    f"masks of {masks[side].sizes['draw']} draws of channels",
                    "one mask",
                    "Pass mask_channels= without draws, such as the massive ones, or one draw.",
                )
        if "source" in masks:
            assert isinstance(chosen, RecordedSource)
            chosen = chosen if target is None else _by_label(chosen, target)
            masks["source"] = _for_the_run(masks["source"], chosen, target)
        where["tokens"] = _union(list(masks.values()))
    return Transport.of(channels, where, source=chosen, alpha=alpha, part=part, mask=word)


def _needed(sides: dict[str, Any], side: str) -> Recorded:
    recorded = sides[checks.name_of("channels_from", side, _SIDES)]
    if recorded is None:
        raise InputError(
            f"the {side}'s hidden states, which were not passed",
            "a cache or a capture of them",
            "Pass target=ds.capture(dit, prompts, seeds), of the run's own prompts and seeds without edits."
            if side == "target"
            else "Pass a cache or a capture as source.",
        )
    return recorded


def _require_one_model(sides: dict[str, Any]) -> None:
    source, target = (getattr(side, "config", {}).get("weights_fingerprint") for side in sides.values())
    if None not in (source, target) and source != target:
        raise InputError(
            f"a target of weights {str(target)[:12]} and a source of weights {str(source)[:12]}",
            "both of the model that runs",
            "Capture the target with this model, or pass masks of another as mask=.",
        )


def _largest(recorded: Recorded, k: int, statistic: str, where: Where) -> ChannelSet:
    place = {name: where[name] for name in ("stream", "site") if name in where}
    return rank_channels(recorded, statistic=statistic, **place).top(k)


def _by_label(source: RecordedSource, target: Recorded) -> RecordedSource:
    """The source with samples chosen by the target's prompts and seeds, as its masks are, whatever the run's order."""
    sample = source.sample
    if not isinstance(sample, xr.DataArray) or {"prompt", "seed"} & set(sample.coords):
        return source
    specs = [target.specs[each] for each in target.committed]
    if len(specs) != sample.size:
        raise InputError(
            f"{sample.size} source samples for a target of {len(specs)}",
            "one for each sample of the target",
            "Pass sample= in the target's order.",
        )
    named = {
        "prompt": ("sample", [spec.prompt for spec in specs]),
        "seed": ("sample", [spec.seed for spec in specs]),
    }
    return replace(source, sample=sample.assign_coords(named))


def _for_the_run(masks: xr.DataArray, source: RecordedSource, target: Recorded | None) -> xr.DataArray:
    """The source's masks by the run's samples: those of the target where it is known, else as ``sample=`` has them."""
    if target is not None:
        specs = [target.specs[sample] for sample in target.committed]
        run = [(spec.prompt, spec.seed) for spec in specs]
        taken = [source.own(pair, position) for position, pair in enumerate(run)]
        return masks.sel(sample=taken).assign_coords(
            prompt=("sample", [prompt for prompt, _ in run]), seed=("sample", [seed for _, seed in run])
        )
    if isinstance(source.sample, int) or masks.sizes["sample"] == 1:
        return masks.sel(sample=source.sample) if isinstance(source.sample, int) else masks.isel(sample=0)
    if source.sample is None:
        return masks
    if isinstance(source.sample, str):
        raise InputError("sample='seed' for the source's masks", "the run's samples", "Pass target= too.")
    own = masks.sel(sample=source.sample.values)
    named = {name: source.sample.coords[name] for name in ("prompt", "seed") if name in source.sample.coords}
    return own.drop_vars(["sample", "prompt", "seed"]).assign_coords(named)


def _union(masks: Sequence[xr.DataArray]) -> xr.DataArray:
    """Masks of one place each or of both, with the labels by which a scope takes them."""
    names = ("prompt", "seed", "step", "block", "y", "x")
    own = [
        xr.DataArray(
            each.values,
            dims=each.dims,
            coords={n: each.coords[n].variable for n in names if n in each.coords and each.coords[n].dims},
        )
        for each in masks
    ]
    try:
        aligned = xr.align(*own, join="exact")
    except ValueError as error:
        raise InputError(
            "masks of source and target at different places",
            "the same blocks, steps and size",
            "Record both alike, or name mask_block= and mask_step=.",
        ) from error
    return functools.reduce(operator.or_, aligned)
