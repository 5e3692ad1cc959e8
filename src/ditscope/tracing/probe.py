"""A look at a call before it is run: its schedule and the shapes of its hidden states.

The probe starts the very call that is going to be recorded and stops it in the first step, so that
a wrong argument fails before anything is written, and no shape is guessed.
"""

from __future__ import annotations

import inspect
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ditscope.models.pipeline_call import step_callback
from ditscope.models.refusals import refuse_unmapped
from ditscope.models.sizes import is_binned
from ditscope.models.visits import Schedule
from ditscope.tracing.prompt_embeds import Prompt, PromptEmbeds, refuse_unfit
from ditscope.tracing.run import check_call
from ditscope.tracing.samples import call_of, filled_call
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

_TEXT_ARGUMENTS = ("max_sequence_length", "system_prompt")
"""Call arguments on which the length of a prompt's embedding depends."""


@dataclass(frozen=True)
class Probe:
    """What a call will visit and how large it is.

    Attributes:
        schedule: steps and branches of the call.
        tokens: stream -> number of tokens, the longest over branches.
        width: number of channels.
        dtype: type of the hidden states.
        latent_tokens: tokens of the transformer's input and output.
        latent_channels: channels of the transformer's input and output.
        grid: (height, width) of the image stream in tokens.
        image_size: (height, width) of the image in pixels.
        seconds_per_visit: time of the first visit.
        call: the call's arguments with defaults filled in.
    """

    schedule: Schedule
    tokens: dict[str, int]
    width: int
    dtype: torch.dtype
    latent_tokens: int
    latent_channels: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    seconds_per_visit: float
    call: dict[str, Any]


def probe(dit: DiT, samples: Sequence[tuple[Prompt, int]], **call: Any) -> Probe:
    """Run a call up to the first block of its second visit.

    Args:
        dit: the model.
        samples: (prompt, seed) of one batch.
        **call: further arguments of the pipeline.

    Raises:
        InputError: an argument that the pipeline does not have, or that ditscope sets itself; embeddings that it
            does not take, or beside what they stand for.
        UnsupportedError: step caching, or a scheduler of higher order, is in use.

    Examples:
        >>> probed = ds.tracing.probe(dit, [(prompts[0], 0)], num_inference_steps=4)
        >>> probed.grid, len(probed.schedule.steps)
        ((16, 16), 4)
    """
    check_call(dit, call)
    refuse_unfit(dit, samples[0][0], call)
    block, run = dit.blocks[0], dit.run_state
    streams = block.layout.streams("block_output")
    hidden: dict[str, list[torch.Tensor]] = {stream: [] for stream in streams}
    times: list[float] = []
    # A callback may count its calls; it is to be called by the run alone.
    arguments = {**call_of(dit, samples, call), step_callback(dit.diffusers_pipeline): None}
    with dit.serving([dit.transformer, block]), dit.generate(**arguments) as tracer:
        for visit in dit.visits(tracer):
            times.append(time.perf_counter())
            if visit.index < run.schedule.visits_per_step:  # of every branch of a step
                for stream in streams:
                    hidden[stream].append(block.read("block_output", stream))
            if visit.index == 1:
                tracer.stop()
    times.append(time.perf_counter())  # of a call with a single visit, when it is over

    _, latent_tokens, latent_channels = run.inputs.latents.shape
    return Probe(
        schedule=run.schedule,
        tokens={stream: max(tensor.shape[1] for tensor in hidden[stream]) for stream in streams},
        width=hidden["image"][0].shape[2],
        dtype=hidden["image"][0].dtype,
        latent_tokens=latent_tokens,
        latent_channels=latent_channels,
        grid=run.inputs.grid,
        image_size=_image_size(dit, run.inputs.grid),
        seconds_per_visit=times[1] - times[0],
        call=filled_call(dit, samples[0][0], call),
    )


def probe_once(
    dit: DiT,
    samples: Sequence[tuple[Prompt, int]],
    live: Mapping[str, Any],
    *,
    text_is_kept: bool = True,
    **call: Any,
) -> Probe:
    """A probe, or the last one of the model if it was of the same call and live state, and of prompts as long.

    What is refused before a run is refused either way.

    Args:
        dit: the model.
        samples: (prompt, seed) of one batch; a seed changes no shape, and neither does a text but in a family whose
            text is as long as its prompt.
        live: of :func:`ditscope.models.live_state.live_state`, as it is now.
        text_is_kept: whether the length of the text is asked for; if not, ``tokens["text"]`` may be another prompt's.
        **call: further arguments of the pipeline.
    """
    prompts = [prompt for prompt, _ in samples]
    texts = [*map(str, prompts)] if text_is_kept and dit.family.text_length_varies else len(prompts)
    facts = (texts, written_embeddings(prompts), written_call(call), live)
    known = _LAST.get(dit)
    if known is None or known[0] != facts:
        _LAST[dit] = known = (facts, probe(dit, samples, **call))
    else:
        dit.before_run()
        refuse_unmapped(dit.run_state, call_of(dit, samples, call))
    return known[1]


_LAST: weakref.WeakKeyDictionary[DiT, tuple[Any, Probe]] = weakref.WeakKeyDictionary()
"""Of each model, the facts of the last probe, and what it found."""


def _image_size(dit: DiT, grid: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the image in pixels: the tokens' own, unless it is resized to what was asked."""
    if is_binned(dit.run_state.full_call()):
        return dit.image_size(dit.run_state.call)
    return grid[0] * dit.token_pixels, grid[1] * dit.token_pixels


def longest_text(dit: DiT, prompts: Iterable[Prompt], call: Mapping[str, Any]) -> int:
    """Text tokens of the longest of some prompts, for a family whose text is as long as its prompt."""
    encode, full_call = dit.diffusers_pipeline.encode_prompt, dit.full_call(call)
    taken = inspect.signature(encode).parameters
    if call.get("image") is not None and "image" in taken:  # as the pipeline makes it ready for its encoder
        alone = {name: value for name, value in call.items() if not name.startswith("negative_prompt")}
        return max(probe(dit, [(prompt, 0)], **alone).tokens["text"] for prompt in dict.fromkeys(prompts))
    given = {name: full_call[name] for name in _TEXT_ARGUMENTS if name in taken}

    def tokens(prompt: Prompt) -> int:
        if isinstance(prompt, PromptEmbeds):
            return prompt.text_tokens(dit.family.text_padding_kept)
        encoded = encode(prompt=[prompt], **given)  # the embedding, and its mask where padding is taken out
        return int(encoded[0].shape[1] if dit.family.text_padding_kept else encoded[1].sum())

    with torch.no_grad():
        return max(map(tokens, dict.fromkeys(prompts)))
