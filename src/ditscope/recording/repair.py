"""``repair``: damaged samples of a store are recorded anew, and proven to be what they were."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ditscope.cache.manifest import build_manifest
from ditscope.cache.reader import Cache
from ditscope.cache.sample_ledger import Entry
from ditscope.cache.store_opening import open_store
from ditscope.cache.verification import verify
from ditscope.cache.writer import CacheWriter
from ditscope.errors import CacheError
from ditscope.paths import local_path
from ditscope.recording.record import configuration, record_batch
from ditscope.recording.transfer import copy_values, from_host
from ditscope.tracing.batches import Batch
from ditscope.tracing.prompt_embeds import PromptEmbeds
from ditscope.tracing.unchanged import model_state
from ditscope.tracing.written_call import written_call, written_embeddings

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


@dataclass(frozen=True)
class Repair:
    """What a repair did; made by :func:`repair`.

    Attributes:
        path: the store.
        repaired: positions of the samples that were damaged, and are as they were before.
        metadata: what was written anew of metadata, labels and ledger, by file.
    """

    path: Path
    repaired: tuple[int, ...]
    metadata: tuple[str, ...]

    def __str__(self) -> str:
        if not (self.repaired or self.metadata):
            return f"{self.path}: nothing was damaged"
        samples = f"{len(self.repaired)} samples recorded anew, bit for bit as before"
        return f"{self.path}: {samples}; {len(self.metadata)} files of metadata written anew"


def repair(
    dit: DiT, path: str | os.PathLike[str], prompts: Iterable[PromptEmbeds] = (), **call: Any
) -> Repair:
    """Read a whole store; record damaged samples anew, and write damaged metadata and ledger lines anew.

    A sample is generated with the call that the store has written down, together with the samples that it was
    generated with. It counts again only if every chunk has the checksum that the ledger had of it.

    Args:
        dit: the model that recorded the store, in the state that it was in.
        path: the store.
        prompts: the embeddings, of samples whose prompts are embeddings that the store does not have whole.
        **call: arguments of the recording that the store has only digests of, such as large tensors, images and
            callbacks.

    Raises:
        CacheError: there is no cache, another process records into it, an argument is missing, or a sample comes out
            otherwise than it was recorded; it is not committed any more then.
        ConfigMismatchError: the model, its state or its call are not those of the store; the message names the fields.
    """
    store = open_store(local_path(path))
    cache = Cache(store)
    found = verify(cache)
    model = model_state(dit)
    shared, own = _arguments(cache, found.damaged_samples, call)
    manifest = build_manifest(store.schema, configuration(dit, written_call(shared), model))
    metadata = tuple(damage.file for damage in found.damaged if "sample" not in damage.labels)
    with CacheWriter.create_or_resume(store.path, store.schema, manifest, copy=copy_values) as writer:
        if cache.damaged_lines:
            writer.rewrite_ledger()
        old: dict[int, Entry] = {sample: writer.drop(sample) for sample in found.damaged_samples}
        embeds = {prompt.label: prompt for prompt in prompts}
        for sample in tqdm(found.damaged_samples, desc="repair", unit="image", disable=None):
            if sample not in writer.entries:
                positions = old[sample].batch or (sample,)
                batch = _batch(cache, positions, shared, own, embeds)
                record_batch(dit, writer, batch, positions, model, old)
    return Repair(store.path, found.damaged_samples, metadata)


def _arguments(
    cache: Cache, samples: Iterable[int], call: Mapping[str, Any]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The arguments of all samples, and those of each, with what the user passes in place of digests.

    Raises:
        CacheError: the store has only a digest of one, and it is not passed.
    """
    shared = {**_whole(cache, cache.manifest["config"]["call"]), **call}
    own = {name: value for name, value in call.items() if name not in cache.manifest["config"]["call"]}
    missing = [name for name, value in shared.items() if _is_digest(value)]
    if missing and any(True for _ in samples):
        raise CacheError(
            f"digests of {', '.join(missing)} in the store",
            "the arguments themselves",
            f"Pass {', '.join(f'{name}=' for name in missing)} as they were passed to the recording.",
        )
    return {name: value for name, value in shared.items() if name not in own}, own


def _batch(
    cache: Cache,
    positions: Iterable[int],
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    embeds: Mapping[str, PromptEmbeds],
) -> Batch:
    """The batch that samples were generated in."""
    samples: list[Any] = []
    arguments: dict[str, Any] = dict(shared)
    for position in positions:
        spec = cache.specs[position]
        digests = spec.call.get("embeddings")
        prompt: Any = spec.prompt
        if digests is not None:
            kept = _whole(cache, digests)
            prompt = embeds.get(spec.prompt)
            if prompt is None and not any(map(_is_digest, kept.values())):
                prompt = PromptEmbeds(spec.prompt, **kept)
            if prompt is None or written_embeddings([prompt]).get(spec.prompt) != digests:
                raise CacheError(
                    f"no embeddings {spec.prompt!r} of the store's digests",
                    "those of the recording",
                    "Pass prompts= with the PromptEmbeds that were recorded.",
                )
        if "generator" in spec.call:
            raise CacheError(
                f"a digest of the generator of sample {position} in the store",
                "a seed",
                f"Record sample {position} anew with rec.generate and its generator.",
            )
        samples.append((prompt, spec.seed))
        for name, value in spec.call.items():
            if name == "embeddings":
                continue
            given = own.get(name, value)
            if _is_digest(given):
                raise CacheError(
                    f"a digest of {name} of sample {position} in the store",
                    "the argument itself",
                    f"Record sample {position} anew with rec.generate and its {name}.",
                )
            arguments.setdefault(name, []).append(given)
    return Batch(range(len(samples)), samples, arguments)


def _whole(cache: Cache, value: Any) -> Any:
    """A value as written down, with the tensors that the store has in place of their digests."""
    if isinstance(value, dict):
        kept = cache.call_tensors.get(str(value.get("tensor")))
        return {n: _whole(cache, v) for n, v in value.items()} if kept is None else from_host(kept)
    return [_whole(cache, each) for each in value] if isinstance(value, list) else value


def _is_digest(value: Any) -> bool:
    return isinstance(value, dict) and bool({"tensor", "image", "callback"} & set(value))
