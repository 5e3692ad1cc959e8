"""Attribution patching: the effect of editing each channel of each block, to first order, and the same measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from ditscope import checks
from ditscope.channels.channel_set import ChannelSet
from ditscope.edits.applying import EditedVisit
from ditscope.edits.context import EditContext
from ditscope.edits.edit import Edit
from ditscope.errors import InputError, UnsupportedError
from ditscope.models.repeated_forward import RepeatedForward, require_differentiable, require_repeatable
from ditscope.tracing.batches import batches_of
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.run import LATENT, check_call, run_traced
from ditscope.tracing.seeds import Seed
from ditscope.vocabulary import SITES

if TYPE_CHECKING:
    from ditscope.models.dit import DiT
    from ditscope.models.visits import Visit
    from ditscope.tracing.batches import Batch
    from ditscope.tracing.probe import Probe

Metric = Callable[[torch.Tensor, torch.Tensor, "Visit"], torch.Tensor]
"""``(output, latents, visit)`` -> a number for each row. Output and latents of the transformer, of one branch, are
``[row, token, latent channel]``; the next latents of an Euler step of a flow are ``latents + (sigma - visit.sigma) *
output`` with the next step's ``sigma``."""


def attribution(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed],
    metric: Metric,
    edit: Edit,
    *,
    by_token: bool = False,
    batch_size: int = 1,
    **call: Any,
) -> xr.Dataset:
    """What an edit of each channel of each block would do to a metric of the transformer's output, to first order.

    With h the hidden state and h' what the edit makes of it, the effect of one channel of one block is the sum over
    tokens of the gradient times (h' - h): the derivative of the metric on the way from h to h', at h. One forward and
    one backward pass for each step give it for all of them (Nanda 2023, "Attribution patching"). How well that
    predicts what the edit does is not known beforehand: measure it by :func:`patch_effect` on some channels.

    The run itself is the unedited one; its hidden states are those at which the gradients are taken.

    Args:
        dit: the model.
        prompts: one or several.
        seeds: one or several.
        metric: of the output of one branch, differentiable; see :data:`Metric`.
        edit: of any kind, with one draw; the blocks, steps, branches, stream, site, tokens and channels are those of
            its scope. Of channels=None, every channel.
        by_token: keep tokens apart.
        batch_size: images generated together.
        **call: further arguments of the pipeline.

    Returns:
        Dataset of ``effect`` float32 ``[sample, step, branch, block, channel]``, with ``token`` before ``channel`` if
        asked: NaN at places that are not in the edit's scope, 0 where a sample's own mask or channels, or padding,
        leave one out; and ``value``, the metric ``[sample, step, branch]``.

    Raises:
        InputError: an edit that does not fit the model or the call, or a metric that gives something else than a
            differentiable number for each row.
        EditError: the edit can never fire.
        UnsupportedError: weights that are quantized, offloaded or cast by layers, or torch's inference mode: there
            are no gradients there; or tokens of a text that is of another length in each branch.

    Examples:
        >>> def brightness(output, latents, visit):
        ...     return (latents - visit.sigma * output).mean(dim=(1, 2))  # of the image that a flow is heading for
        >>> edit = ds.edits.zero(None, steps=[0])
        >>> ds.attribution(dit, prompts[0], 0, brightness, edit, num_inference_steps=2)["effect"].dims
        ('sample', 'step', 'branch', 'block', 'channel')
    """
    require_differentiable(dit)
    if by_token and edit.scope.stream == "text" and dit.family.text_length_varies:
        raise UnsupportedError(
            f"by_token for the text of {dit.family.name}, of another length in each prompt and branch",
            "a stream of one length",
            "Leave by_token out.",
        )

    def at_visit(visit: Visit, kept: _Kept) -> None:
        along = _Along(dit, [edit], kept.steps, **kept.batch, by_token=by_token)

        def differentiate(outputs: list[torch.Tensor]) -> torch.Tensor:
            total = torch.stack([value.sum() for value in kept.values(visit, outputs[1]).values()]).sum()
            if not total.requires_grad:
                raise InputError(
                    "a metric without a gradient", "a function of the output", "Stay within torch."
                )
            # What the output does not depend on, as text behind the last block that reads it, has no effect.
            found = torch.autograd.grad(total, list(along.shares.values()), materialize_grads=True)
            for (branch, block), gradient in zip(along.shares, found, strict=True):
                kept.put(visit, branch, block, *along.places[branch, block], gradient)
            return outputs[0]

        repeated = RepeatedForward(dit, [edit.first_changed(dit.blocks)], graph=True)
        with repeated.combined(differentiate), repeated.forward(0):
            along(visit)

    return _run(dit, prompts, seeds, metric, edit, None, by_token, batch_size, call, at_visit)


def patch_effect(
    dit: DiT,
    prompts: Prompt | Sequence[Prompt],
    seeds: Seed | Sequence[Seed],
    metric: Metric,
    edit: Edit,
    channels: Sequence[int],
    *,
    batch_size: int = 1,
    **call: Any,
) -> xr.Dataset:
    """What an edit of one channel of one block does to a metric of the transformer's output, measured one by one.

    What :func:`attribution` says to first order: each channel of each block is edited in a forward of its own, from
    that block on, in the same visit of the unedited run.

    Args:
        dit: the model.
        prompts: one or several.
        seeds: one or several.
        metric: of the output of one branch; see :data:`Metric`.
        edit: of any kind; as for :func:`attribution`, but for its channels.
        channels: in place of the edit's own, one at a time.
        batch_size: images generated together.
        **call: further arguments of the pipeline.

    Returns:
        As :func:`attribution`, with these channels.

    Raises:
        InputError: an edit that does not fit the model or the call, or that acts on all channels but its own; or a
            metric that gives something else than a number for each row.
        EditError: the edit can never fire.
        UnsupportedError: group offload.

    Examples:
        >>> def brightness(output, latents, visit):
        ...     return (latents - visit.sigma * output).mean(dim=(1, 2))
        >>> edit = ds.edits.zero(None, blocks="single.5", steps=[0])
        >>> measured = ds.patch_effect(dit, prompts[0], 0, brightness, edit, [3, 77], num_inference_steps=2)
        >>> measured["effect"].sizes["channel"]
        2
    """
    require_repeatable(dit)
    ids = checks.whole_numbers("channels", channels)
    if edit.spares_channels:
        raise InputError(
            f"the edit '{edit.label}', which acts on all channels but its own",
            "an edit of the channels that it names",
            "Use another kind.",
        )
    alone = [
        (
            block,
            channel,
            replace(edit, channels=ChannelSet.of([channel], stream=edit.scope.stream), scope=scope),
        )
        for block in edit.chosen(dit.blocks)
        for scope in [replace(edit.scope, blocks=(block.index,))]
        for channel in ids
    ]

    def at_visit(visit: Visit, kept: _Kept) -> None:
        firsts = [one.first_changed(dit.blocks) for _, _, one in alone]

        def compare(outputs: list[torch.Tensor]) -> torch.Tensor:
            before = kept.values(visit, outputs[0])
            for (block, channel, _), output in zip(alone, outputs[1:], strict=True):
                for branch, after in kept.measured(visit, output).items():
                    change = (after - before[branch]).reshape(-1, 1, 1)
                    kept.put(visit, branch, block.index, None, [channel], change)
            return outputs[0]

        repeated = RepeatedForward(dit, firsts)
        with repeated.combined(compare):
            for number, (_, _, one) in enumerate(alone):
                visitor = EditedVisit(dit, [one], kept.steps, **kept.batch)
                with repeated.forward(number):
                    visitor(visit)

    return _run(dit, prompts, seeds, metric, edit, ids, False, batch_size, call, at_visit)


class _Along(EditedVisit):
    """The way from old values to an edit's new ones, at its beginning: old values, with a derivative along the way.

    Attributes:
        shares: zeros ``[row, token or 1, channel]`` by (branch, block): how far along the way.
        places: tokens, None for all at once, and channels of each.
    """

    def __init__(self, *args: Any, by_token: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._by_token = by_token
        self.shares: dict[tuple[str, int], torch.Tensor] = {}
        self.places: dict[tuple[str, int], tuple[Any, Any]] = {}

    def new_values(self, edit: Edit, context: EditContext) -> torch.Tensor:
        """The old values."""
        with torch.no_grad():
            way = super().new_values(edit, context) - context.old
        rows, tokens, channels = way.shape
        share = way.new_zeros(rows, tokens if self._by_token else 1, channels, requires_grad=True)
        at = context.branch, context.block.index
        self.shares[at] = share
        self.places[at] = (context.tokens.tolist() if self._by_token else None, context.channels.tolist())
        return context.old + share * way


class _Kept:
    """Where the effects of one batch are kept, by the labels of the result.

    Attributes:
        steps: that the run makes.
        batch: ``positions`` of its samples among all, and the ``samples``.
    """

    def __init__(
        self, dit: DiT, result: xr.Dataset, metric: Metric, edit: Edit, steps: Sequence[int], batch: Batch
    ) -> None:
        self._dit, self._result, self._metric, self._edit = dit, result, metric, edit
        self.steps = steps
        self.batch: dict[str, Any] = {"positions": batch.positions, "samples": batch.samples}

    def measured(self, visit: Visit, output: torch.Tensor) -> dict[str, torch.Tensor]:
        """The metric by branch, ``[row]``."""
        inputs, found = self._dit.run_state.inputs, {}
        for branch in self._edit.scope.branches_at(visit, self.steps):
            own, latents = (
                visit.rows(tensor, branch).float() for tensor in (inputs.as_tokens(output), inputs.latents)
            )
            value = self._metric(own, latents, visit)
            if not isinstance(value, torch.Tensor) or value.shape != (len(own),):
                raise InputError(
                    f"{type(value).__name__} {tuple(getattr(value, 'shape', ()))} from the metric",
                    f"a tensor of one number for each row, here ({len(own)},)",
                    "Reduce tokens and channels, as output.square().mean(dim=(1, 2)).",
                )
            found[branch] = value
        return found

    def values(self, visit: Visit, output: torch.Tensor) -> dict[str, torch.Tensor]:
        """The metric by branch of the unedited output, which is kept as well."""
        found = self.measured(visit, output)
        for branch, value in found.items():
            at = {"step": visit.step, "branch": branch}
            self._put(self._result["value"], at, value.detach())
        return found

    def put(
        self, visit: Visit, branch: str, block: int, tokens: Any, channels: Any, effect: torch.Tensor
    ) -> None:
        """Keep effects ``[row, token, channel]``."""
        at = {"step": visit.step, "branch": branch, "block": block, "channel": channels}
        if tokens is None:
            effect = effect[:, 0]
        else:
            at["token"] = tokens
        self._put(self._result["effect"], at, effect)

    def _put(self, array: xr.DataArray, at: dict[str, Any], values: torch.Tensor) -> None:
        array.loc[{"sample": list(self.batch["positions"]), **at}] = values.float().cpu().numpy()


def _run(
    dit: DiT,
    prompts: Any,
    seeds: Any,
    metric: Metric,
    edit: Edit,
    channels: Sequence[int] | None,
    by_token: bool,
    batch_size: int,
    call: Mapping[str, Any],
    at_visit: Callable[[Visit, _Kept], None],
) -> xr.Dataset:
    """Make the unedited run, with something done at the visits in which the edit acts."""
    checks.whole_number("draws of the edit", edit.draws, most=1)
    check_call(dit, dict(call))
    batches = batches_of(prompts, seeds, batch_size, {"output_type": LATENT, **call})
    looked = probe(dit, batches[0].samples, **batches[0].call)
    steps = looked.schedule.steps
    samples = [sample for batch in batches for sample in batch.samples]
    EditedVisit(dit, [edit], steps).check(looked, [batch.samples for batch in batches])
    edit.first_changed(dit.blocks)  # refuses what has no meaning in a visit alone
    n_tokens = looked.tokens[edit.scope.stream] if SITES[edit.scope.site].has_tokens else 1
    result = _empty(dit, samples, edit, looked, channels)
    if by_token:
        result["effect"] = result["effect"].expand_dims(token=range(n_tokens), axis=-2).copy()
    for batch in batches:
        kept = _Kept(dit, result, metric, edit, steps, batch)

        def visited(visit: Visit, kept: _Kept = kept) -> None:
            if edit.scope.branches_at(visit, steps):
                at_visit(visit, kept)

        run_traced(dit, batch.samples, visited, **batch.call)
    return result


def _empty(
    dit: DiT, samples: Sequence[tuple[Prompt, int]], edit: Edit, looked: Probe, channels: Sequence[int] | None
) -> xr.Dataset:
    """The result before any of it is known."""
    schedule, scope = looked.schedule, edit.scope
    levels = dict(zip(schedule.steps, schedule.sigmas, strict=True))
    steps = [step for step, sigma in levels.items() if scope.has_step(step, sigma, schedule.steps)]
    blocks = edit.chosen(dit.blocks)
    coords = {
        "sample": range(len(samples)),
        "step": steps,
        "branch": [branch for branch in schedule.branches if branch in (scope.branches or schedule.branches)],
        "block": [block.index for block in blocks],
        "channel": list(range(dit.width) if channels is None else channels),
        "prompt": ("sample", [str(prompt) for prompt, _ in samples]),
        "seed": ("sample", [int(seed) for _, seed in samples]),
        "sigma": ("step", [levels[step] for step in steps]),
        "block_name": ("block", [block.name for block in blocks]),
    }
    dims = ("sample", "step", "branch", "block", "channel")
    shape = [len(coords[dim]) for dim in dims]
    empty = {
        "effect": (dims, np.full(shape, np.nan, np.float32)),
        "value": (dims[:3], np.full(shape[:3], np.nan, np.float32)),
    }
    about = {"model": dit.name, "edit": edit.label, "stream": scope.stream, "site": scope.site}
    return xr.Dataset(empty, coords=coords, attrs=about)
