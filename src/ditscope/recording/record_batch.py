"""One batch of a recording: what is generated and read, and what a manifest says that its numbers were made by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ditscope.cache.sample_ledger import TENSOR_DTYPES, Entry
from ditscope.cache.shards import SAFE
from ditscope.encoded_text import EncodedText
from ditscope.models.fingerprint import tensor_digest
from ditscope.models.live_state import live_digest
from ditscope.recording.destination import Destination
from ditscope.recording.recorded_visit import RecordedVisit
from ditscope.recording.transfer import to_host
from ditscope.tracing.batches import Batch
from ditscope.tracing.run import run_traced
from ditscope.tracing.unchanged import require_unchanged
from ditscope.tracing.written_call import tensors_in

if TYPE_CHECKING:
    from ditscope.models.dit import DiT

MOST_TENSOR_BYTES = 2**20
"""Bytes up to which a tensor of the call is kept whole, beside its digest."""


def configuration(dit: DiT, call: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a manifest says by which model and which call its numbers were made.

    Args:
        dit: the model.
        call: arguments of all samples, as written down.
        model: the model's state, as of :func:`ditscope.tracing.unchanged.model_state`.
    """
    return {
        "model": dit.name,
        "revision": dit.revision,
        "family": dit.family.name,
        "call": dict(call),
        **model,
    }


def small_tensors(value: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Digest -> values, of the tensors in arguments, at any depth, that a store keeps whole."""
    return {
        tensor_digest(tensor): to_host(tensor)
        for tensor in tensors_in(value)
        if tensor.nbytes <= MOST_TENSOR_BYTES and str(tensor.dtype).removeprefix("torch.") in TENSOR_DTYPES
    }


def record_batch(
    dit: DiT,
    writer: Destination,
    batch: Batch,
    positions: Sequence[int],
    model: Mapping[str, Any],
    like: Mapping[int, Entry] = MappingProxyType({}),
    image: int = 0,
) -> None:
    """Generate a batch, and record those of its samples that are not committed.

    Args:
        dit: the model.
        writer: where values go.
        batch: what is generated.
        positions: of its samples in the store.
        model: the model's state, which the run must leave as it is.
        like: position -> what the ledger said of a sample before, and must say again.
        image: whose tokens the image stream's are: 0 for the generated image, then the reference images.

    Raises:
        CacheError: a sample has other values than ``like`` says; neither it nor those behind it are committed.
    """
    visitor = RecordedVisit(dit, writer, positions, image)
    try:
        with dit.serving(visitor.reads_at()):
            outcome = run_traced(dit, batch.samples, visitor, keep_latents=True, **batch.call)
        visitor.finish()
    except (Exception, KeyboardInterrupt) as error:  # of the model, the pipeline, or what the user gave them
        if not getattr(error, "__notes__", None):
            error.add_note(f"while generating sample {', '.join(map(str, positions))}: {SAFE}")
        raise
    texts: dict[int, EncodedText | None] = {}
    for row, sample in enumerate(positions):
        if sample in writer.entries:
            continue
        latents, output = outcome.latents[row], visitor.outputs[row]
        writer.put_trajectory(sample, latents=latents, transformer_output=output)
        if outcome.images.size:
            writer.put_image(sample, outcome.images[row])
        text = outcome.texts[row]
        if text is not None:
            kept = writer.schema.branches if "text" in writer.schema.stream_names else ()
            text = replace(text, tokens={at: own for at, own in text.tokens.items() if at in kept})
        texts[sample] = text
    require_unchanged(dit, model)  # what was put is written meanwhile, and counts once it is committed
    writer.commit_together(texts, live=live_digest(model["live"]), batch=positions, like=like)
