"""``repair``: damaged samples of a store are recorded anew, and proven to be what they were."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ditscope.cache.manifest import build_manifest
from ditscope.cache.preflight import MEMORY_BUDGET, check_memory, check_same
from ditscope.cache.reader import Cache
from ditscope.cache.sample_ledger import unknown_sample
from ditscope.cache.samples import SampleSpec
from ditscope.cache.store_opening import open_store
from ditscope.cache.verification import verify
from ditscope.cache.writer import CacheWriter
from ditscope.checks import several
from ditscope.errors import CacheError, InputError
from ditscope.models._internals.of_diffusers import compute_device
from ditscope.paths import local_path
from ditscope.recording.device_copies import most_copied_at_once
from ditscope.recording.record_batch import configuration, record_batch, small_tensors
from ditscope.recording.transfer import copy_values, from_host
from ditscope.tracing.batches import Batch
from ditscope.tracing.probe import probe
from ditscope.tracing.prompt_embeds import Prompt, PromptEmbeds
from ditscope.tracing.run import check_call
from ditscope.tracing.seeds import Seed, seeds_of, written_generators
from ditscope.tracing.unchanged import model_state
from ditscope.tracing.written_call import as_written, has_digest, written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


@dataclass(frozen=True)
class Repair:
    """What a repair did; made by :func:`repair`.

    Attributes:
        path: the store.
        repaired: positions of the samples that were damaged, and are as they were before.
        metadata: what was written anew of metadata, labels and ledger, by file.
        unproven: those of them that were lines of the ledger, which is written without them.
    """

    path: Path
    repaired: tuple[int, ...]
    metadata: tuple[str, ...]
    unproven: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all that was committed is as it was: not where a line of the ledger was damaged, whose sample cannot
        be proven, so that ``rec.generate`` has to record it.
        """
        return not self.unproven

    def __str__(self) -> str:
        if not (self.repaired or self.metadata):
            return f"{self.path}: nothing was damaged"
        samples = f"samples recorded anew, bit for bit as before: {len(self.repaired)}"
        lost = f"; ledger lines that could not be proven: {len(self.unproven)}" if self.unproven else ""
        return f"{self.path}: {samples}; metadata and ledger lines written anew: {len(self.metadata)}{lost}"


def repair(
    dit: DiT,
    path: str | os.PathLike[str],
    prompts: PromptEmbeds | Iterable[PromptEmbeds] = (),
    seeds: Seed | Iterable[Seed] = (),
    *,
    memory_budget: int = MEMORY_BUDGET,
    **call: Any,
) -> Repair:
    """Read a whole store; record damaged samples anew, and write damaged metadata and labels anew.

    A sample is generated with the call that the store has written down, together with the samples that it was
    generated with. It counts again only if every chunk has the checksum that the ledger had of it. A sample whose
    line in the ledger is damaged cannot be proven: the ledger is written without it, and ``rec.generate`` records it.

    Args:
        dit: the model that recorded the store, in the state that it was in.
        path: the store.
        prompts: the embeddings, of samples whose prompts are embeddings that the store does not have whole.
        seeds: the generators, in the states that they were passed in, of samples that have one.
        memory_budget: bytes that buffers on their way to disk may take, as of :func:`ditscope.record`.
        **call: arguments of the recording that the store has only digests of, such as large tensors, latents, images
            and callbacks, as they were passed.

    Raises:
        InputError: an argument that the pipeline or the recording does not have, or prompts that are texts.
        CacheError: there is no cache, another process records into it, an argument is missing, or a sample comes out
            otherwise than it was recorded; it is not committed any more then.
        ConfigMismatchError: the model, its state or its call are not those of the store; the message names the fields.
        UnsupportedError: as of ``rec.generate``.
        VisitError: as of ``rec.generate``.

    Examples:
        >>> ds.repair(dit, "shapes.zarr").repaired
        ()
    """
    embedded = several(prompts, PromptEmbeds)
    if odd := [prompt for prompt in embedded if not isinstance(prompt, PromptEmbeds)]:
        raise InputError(
            f"prompts of type {type(odd[0]).__name__}",
            "the PromptEmbeds of the recording",
            "Leave texts out: the store has them.",
        )
    check_call(dit, call)
    generators = [own for seed in several(seeds) for own in seeds_of(seed)]
    store = open_store(local_path(path))
    cache = Cache(store)
    written = _Written(dit, cache, embedded, generators, call)
    found = verify(cache)
    together: dict[tuple[int, ...], list[int]] = {}
    for sample in found.damaged_samples:
        together.setdefault(cache.ledger[sample].batch or (sample,), []).append(sample)
    # All that can be refused is refused before a sample is dropped.
    shared = written.shared(needed=bool(together))
    model = model_state(dit)
    manifest = build_manifest(store.schema, configuration(dit, written_call(shared), model))
    check_same(store.path, store.manifest, manifest)
    batches = {positions: written.batch(positions, shared) for positions in together}
    beside = most_copied_at_once(store.schema, dit.device)
    check_memory(store.schema, store.plans, max(map(len, together), default=0), memory_budget, beside)
    for batch in list(batches.values())[:1]:
        # Not the last one again: a tensor of one axis is written down like a list, and is none.
        probe(dit, batch.samples, **batch.call)
    prompts_used = [prompt for batch in batches.values() for prompt, _ in batch.samples]
    with CacheWriter.create_or_resume(
        store.path,
        store.schema,
        manifest,
        tensors=small_tensors([shared, prompts_used]),
        memory_budget=memory_budget,
        beside=beside,
        copy=copy_values,
    ) as writer:
        if cache.damaged_lines:
            writer.rewrite_ledger()
        for positions, batch in tqdm(batches.items(), desc="repair", unit="batch", disable=None):
            # Those of other batches stay for now, so that they are not recorded in this one.
            old = {sample: writer.drop(sample) for sample in together[positions]}
            record_batch(dit, writer, batch, positions, model, old)
    metadata = tuple(damage.file for damage in found.damaged if "sample" not in damage.labels)
    unproven = tuple(line.split(":")[0] for line in cache.damaged_lines)
    return Repair(store.path, found.damaged_samples, metadata, unproven)


class _Written:
    """The calls that a store has written down, with what the user passes in place of digests.

    Raises:
        InputError: something is passed that the store has no digest of.
    """

    def __init__(
        self,
        dit: DiT,
        cache: Cache,
        prompts: Sequence[PromptEmbeds],
        seeds: Sequence[int],
        call: Mapping[str, Any],
    ) -> None:
        self._pipeline, self._cache = dit.diffusers_pipeline, cache
        self._of_all: Mapping[str, Any] = cache.manifest["config"]["call"]
        self._passed = {name: value for name, value in call.items() if name in self._of_all}
        self._rows = {name: value for name, value in call.items() if name not in self._of_all}
        by_digest = {name for spec in cache.specs for name, own in spec.call.items() if has_digest(own)}
        if odd := [name for name in self._rows if name not in by_digest]:
            raise InputError(
                f"{', '.join(odd)}, which the store has in words of each sample, or was not passed",
                f"any of {', '.join(sorted({*self._of_all, *by_digest} - {'embeddings'}))}",
                "Leave it out.",
            )
        self._seeds = seeds
        self._prompts = [(prompt, written_embeddings([prompt])[prompt.label]) for prompt in prompts]
        self._digests = {name: _row_digests(rows) for name, rows in self._rows.items()}

    def shared(self, needed: bool) -> dict[str, Any]:
        """The arguments of all samples; with digests still, unless they are needed.

        Raises:
            CacheError: the store has only a digest of one, and it is not passed.
        """
        shared = {**self._whole(self._of_all), **self._passed}
        missing = [name for name, value in shared.items() if has_digest(value)]
        if missing and needed:
            raise CacheError(
                f"digests of {', '.join(missing)} in the store",
                "the arguments themselves",
                f"Pass {', '.join(f'{name}=' for name in missing)} as they were passed to the recording.",
            )
        return shared

    def batch(self, positions: Sequence[int], shared: Mapping[str, Any]) -> Batch:
        """The batch that samples were generated in.

        Raises:
            CacheError: something of one of them is not known, or is a digest and not passed.
        """
        samples: list[tuple[Prompt, int]] = []
        own: dict[str, list[Any]] = {}
        for position in positions:
            spec = self._spec(position)
            samples.append((self._prompt(spec, position), self._seed(spec, position)))
            for name, value in spec.call.items():
                if name not in ("embeddings", "generator"):
                    own.setdefault(name, []).append(self._argument(name, value, position))
        rows = {name: self._rows[name][own.pop(name)] for name in self._rows.keys() & own.keys()}
        return Batch(range(len(samples)), samples, {**shared, **own, **rows})

    def _spec(self, position: int) -> SampleSpec:
        specs = self._cache.specs
        if not 0 <= position < len(specs) or specs[position] == unknown_sample(position):
            raise CacheError(
                f"sample {position}, whose name in the ledger is damaged, in the batch of a damaged sample",
                "samples whose prompts and seeds are known",
                "Fetch the store again, or record into a new path.",
            )
        return specs[position]

    def _prompt(self, spec: SampleSpec, position: int) -> Prompt:
        digests = spec.call.get("embeddings")
        if digests is None:
            return spec.prompt
        for prompt, written in self._prompts:
            if prompt.label == spec.prompt and written == digests:
                return prompt
        kept = self._whole(digests)
        if has_digest(kept):
            raise _missing(
                f"the embeddings of {spec.prompt!r}",
                position,
                "prompts= with the PromptEmbeds that they were",
            )
        return PromptEmbeds(spec.prompt, **kept)

    def _seed(self, spec: SampleSpec, position: int) -> int:
        state = spec.call.get("generator")
        if state is None:
            return spec.seed
        for seed in self._seeds:
            if written_generators(self._pipeline, [seed]).get(str(spec.seed)) == state:
                return seed
        raise _missing(
            "the generator's state", position, "seeds= with the generator in the state that it was in"
        )

    def _argument(self, name: str, value: Any, position: int) -> Any:
        """An argument of one sample's own: as it is, or the number of its row in what is passed."""
        if not has_digest(value):
            return value
        if value not in self._digests.get(name, ()):
            raise _missing(name, position, f"{name}= as they were passed to the recording")
        return self._digests[name].index(value)

    def _whole(self, value: Any) -> Any:
        """A value as written down, with the tensors that the store has in place of their digests."""
        if isinstance(value, list):
            return [self._whole(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = self._cache.call_tensors.get(str(value.get("tensor")))
        if kept is None:
            return {name: self._whole(each) for name, each in value.items()}
        return from_host(kept).to(compute_device(self._pipeline))


def _row_digests(rows: Any) -> list[Any]:
    has_rows = isinstance(rows, torch.Tensor | np.ndarray) and rows.ndim
    return [as_written(rows[row : row + 1]) for row in range(len(rows))] if has_rows else []


def _missing(what: str, position: int, passed: str) -> CacheError:
    return CacheError(
        f"a digest of {what} of sample {position} in the store", f"{what} itself", f"Pass {passed}."
    )
