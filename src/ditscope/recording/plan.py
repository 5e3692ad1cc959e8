"""What a call will generate, worked out before it is run: its samples in batches, and what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ditscope.cache.samples import SampleSpec
from ditscope.cache.schema import Schema
from ditscope.checks import several
from ditscope.errors import InputError
from ditscope.recording.selection import Selection
from ditscope.tracing.batches import Batch, batches_of, own_arguments
from ditscope.tracing.probe import Probe, longest_text, probe_once
from ditscope.tracing.prompt_embeds import Prompt, prompts_of
from ditscope.tracing.run import LATENT, check_call
from ditscope.tracing.samples import filled_call
from ditscope.tracing.seeds import written_generators
from ditscope.tracing.unchanged import model_state
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


@dataclass(frozen=True)
class Plan:
    """What is generated, in batches, and all that is known of it beforehand.

    Attributes:
        selection: what is kept.
        batches: samples with their arguments.
        shared: arguments of all samples.
        own: arguments of each sample, as written down; with digests of its embeddings, and of its generator's state
            where that is not the seed's.
        probed: the call's probe; its text is as long as that of the longest prompt.
        model: the model's state.
    """

    selection: Selection
    batches: list[Batch]
    shared: dict[str, Any]
    own: list[dict[str, Any]]
    probed: Probe
    model: dict[str, Any]

    @property
    def samples(self) -> list[tuple[Prompt, int]]:
        """(prompt, seed) of every sample."""
        return [sample for batch in self.batches for sample in batch.samples]

    @property
    def prompts(self) -> list[Prompt]:
        """Every prompt once."""
        return list(dict.fromkeys(prompt for prompt, _ in self.samples))

    def schema(self, dit: DiT, **kept: Any) -> Schema:
        """The schema of what is kept.

        Args:
            dit: the model.
            **kept: further fields of the schema.

        Raises:
            InputError: a step or branch that the call does not visit.
        """
        probed = self.probed
        return self.selection.schema(
            dit,
            probed.schedule,
            tokens=probed.tokens,
            grid=probed.grid,
            latent_channels=probed.latent_channels,
            image_size=None if probed.call.get("output_type") == LATENT else probed.image_size,
            dtype=str(probed.dtype).removeprefix("torch."),
            **kept,
        )

    def specs(self, columns: Mapping[str, Sequence[Any]]) -> list[SampleSpec]:
        """What is known of every sample.

        Raises:
            InputError: a column has a value neither for each prompt nor for each sample, or a name of ditscope's.
        """
        samples, n_prompts = self.samples, len(self.prompts)
        for name, values in columns.items():
            if name in ("prompt", "seed", "done", "live", "call"):
                raise InputError(f"a column {name!r}", "a name that ditscope does not use", "Rename it.")
            if isinstance(values, str) or len(values) not in (n_prompts, len(samples)):
                raise InputError(
                    f"column {name!r} with {len(values)} values for {len(samples)} samples",
                    f"one for each of {n_prompts} prompts or for each sample",
                    "Pass as many.",
                )
        return [
            SampleSpec(
                str(prompt),
                int(seed),
                self.own[at],
                {name: values[at * len(values) // len(samples)] for name, values in columns.items()},
            )
            for at, (prompt, seed) in enumerate(samples)
        ]


def text_varies(dit: DiT, selection: Selection) -> bool:
    """Whether text is kept whose length depends on the prompt."""
    return dit.family.text_length_varies and "text" in selection.streams


def plan_of(
    dit: DiT, selection: Selection, prompts: Any, seeds: Any, call: dict[str, Any], batch_size: int
) -> Plan:
    """The plan of a call, from a probe of it.

    Args:
        dit: the model.
        selection: what is to be kept.
        prompts: one or several, texts or embeddings.
        seeds: one or several, or generators.
        call: pipeline arguments.
        batch_size: images generated together.

    Raises:
        InputError: as of :meth:`ditscope.recording.record.Recording.generate`.
        UnsupportedError: as of :meth:`ditscope.recording.record.Recording.generate`.
        VisitError: as of :meth:`ditscope.recording.record.Recording.generate`.
    """
    texts = prompts_of(prompts)
    check_call(dit, call)
    model = model_state(dit)
    batches = batches_of(texts, seeds, batch_size, call)
    samples = [each for batch in batches for each in batch.samples]
    shared, own = own_arguments(filled_call(dit, texts[0], call), len(texts), len(samples))
    kept = "text" in selection.streams
    probed = probe_once(dit, batches[0].samples, model["live"], text_is_kept=kept, **batches[0].call)
    if text_varies(dit, selection):
        negative = several(call.get("negative_prompt") or ())
        longest = max(probed.tokens["text"], longest_text(dit, [*texts, *negative], call))
        probed = replace(probed, tokens={**probed.tokens, "text": longest})
    embeddings = written_embeddings(texts)
    states = written_generators(dit.diffusers_pipeline, seeds)
    for one, (prompt, seed) in zip(own, samples, strict=True):
        one.update(written_call(one))
        if (digests := embeddings.get(str(prompt))) is not None:
            one["embeddings"] = digests
        if (state := states.get(str(int(seed)))) is not None:
            one["generator"] = state
    return Plan(selection, batches, shared, own, probed, model)
