"""``record``: a context in which a model's runs are written into a cache.

The run decides what is true: the schema is filled from a probe of the very call, and every hidden
state is written at the visit in which it was read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tqdm.auto import tqdm

from ditscope import checks
from ditscope.cache.forecast import Forecast, forecast
from ditscope.cache.manifest import build_manifest
from ditscope.cache.preflight import MEMORY_BUDGET, fitting_shard_bytes
from ditscope.cache.reader import Cache
from ditscope.cache.schema import Schema
from ditscope.cache.store_opening import open_store
from ditscope.cache.verification import require_whole
from ditscope.cache.writer import CacheWriter
from ditscope.checks import Address
from ditscope.errors import CacheError, InputError, not_copied
from ditscope.paths import local_path
from ditscope.recording.device_copies import most_copied_at_once
from ditscope.recording.plan import Plan, plan_of, text_varies
from ditscope.recording.record_batch import configuration, record_batch, small_tensors
from ditscope.recording.selection import Selection
from ditscope.recording.transfer import copy_values
from ditscope.tracing.prompt_embeds import Prompt
from ditscope.tracing.run import warn_of_truncated
from ditscope.tracing.seeds import Seed
from ditscope.tracing.written_call import written_call

if TYPE_CHECKING:
    from ditscope.models.dit import DiT


Prompts = Prompt | Sequence[Prompt]


def record(
    dit: DiT,
    path: str | os.PathLike[str],
    *,
    streams: Iterable[str] = ("image",),
    sites: Iterable[str] = ("block_output",),
    blocks: Address | Iterable[Address] | None = None,
    steps: Iterable[int] | None = None,
    branches: Iterable[str] | None = None,
    channels: Iterable[int] | None = None,
    tensors: bool = True,
    stats: bool = True,
    tokens: int | Iterable[int] | Any = None,
    token_seed: int = 0,
    text_tokens: int | None = None,
    batch_size: int = 1,
    compression: str | None = None,
    shard_bytes: int | None = None,
    memory_budget: int = MEMORY_BUDGET,
    check_committed: bool = True,
) -> Recording:
    """Open a recording, to be used as a context manager.

    Args:
        dit: the model.
        path: the store: absent, an empty folder, or a cache of the same configuration to be resumed.
        streams: ``image``, ``text`` or both.
        sites: ``block_input``, ``attn_output``, ``mlp_output``, ``block_output``, and modulation (``attn_shift``,
            ``attn_scale``, ``attn_gate``, ``mlp_shift``, ``mlp_scale``, ``mlp_gate``); those that the blocks have.
        blocks: indices, negative ones counting from the last, names (``single.5``) or kinds (``single``) of
            blocks; all by default, where each site and stream is kept of the blocks that have it.
        steps: step indices, negative ones counting from the last; all by default.
        branches: ``cond``, ``uncond``; all that the call visits by default.
        channels: channel ids; all by default.
        tensors: keep hidden states ``[sample, step, branch, block, token, channel]`` in the model's dtype.
        stats: keep statistics over tokens ``[sample, step, branch, block, channel]`` in float32. Modulation has
            no tokens: its values ``[sample, step, branch, block, channel]`` are kept in float32 in any case.
        tokens: of the image, which have their hidden states kept: a number, of tokens that are drawn at random for
            each sample; a bool mask ``[y, x]`` on the latent grid; or token ids. All by default. Statistics are over
            all tokens in any case.
        token_seed: of the random draws of tokens.
        text_tokens: length of the text stream in the store, where it varies with the prompt; by default that of the
            first call's longest prompt. Longer prompts are refused then.
        batch_size: images generated together; kept in the manifest, since numbers depend on it in the
            last bits.
        compression: None, or ``zstd``.
        shard_bytes: byte target of a file of hidden states; by default 64 MiB, or less: a quarter of a sample's, so
            that they are written while the model runs, and where so many are open at once that they do not fit into
            512 MiB.
        memory_budget: bytes that buffers on their way to disk may take, those for copies from a GPU among them. Where
            there is no room for pinned ones, the model waits for each copy.
        check_committed: whether samples that are asked for again are read, and compared with their checksums,
            before they are skipped.

    Raises:
        InputError: something that the model does not have, or that makes no recording.
        UnsupportedError: a site or stream that a selected block lacks.
        CacheError: the path exists and is not a cache.

    Examples:
        >>> with ds.record(dit, "small.zarr", blocks="single", steps=[0, -1], tensors=False) as rec:
        ...     small = rec.generate(prompts[0], seeds=range(2), num_inference_steps=4)
        >>> small.complete
        True
    """
    selection = Selection.of(
        dit,
        streams=streams,
        sites=sites,
        blocks=blocks,
        steps=steps,
        branches=branches,
        channels=channels,
        tokens=tokens,
    )
    if not (tensors or stats):
        raise InputError("tensors=False and stats=False", "at least one", "Keep one of them.")
    checks.whole_number("batch_size", batch_size)
    for name, value in (
        ("memory_budget", memory_budget),
        ("shard_bytes", shard_bytes),
        ("text_tokens", text_tokens),
    ):
        if value is not None:
            checks.whole_number(name, value, most=2**40)
    target = local_path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        open_store(target)
    kept = {
        "tensors": tensors,
        "stats": stats,
        "token_seed": checks.whole_number("token_seed", token_seed, 0, 2**63 - 1),
        "batch_size": batch_size,
        "compression": compression,
    }
    settings = _Settings(kept, shard_bytes, text_tokens, memory_budget, check_committed)
    return Recording(dit, target, selection, settings)


@dataclass(frozen=True)
class _Settings:
    """What a recording is told beside its selection; ``kept`` are fields of the schema as they are."""

    kept: Mapping[str, Any]
    shard_bytes: int | None
    text_tokens: int | None
    memory_budget: int
    check_committed: bool


class Recording:
    """An open recording; see :func:`record`.

    Attributes:
        spent: seconds that went to each stage, summed over threads and the GPU's streams, in all calls of
            :meth:`generate`.
    """

    def __init__(self, dit: DiT, path: Path, selection: Selection, settings: _Settings) -> None:
        self._dit, self._path, self._selection, self._settings = dit, path, selection, settings
        self._open = False
        self.spent: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._open = False

    def __repr__(self) -> str:
        chosen, kept = self._selection, self._settings.kept
        what = [
            word for word, is_kept in (("tensors", kept["tensors"]), ("statistics", kept["stats"])) if is_kept
        ]
        state = "open" if self._open else "closed"
        return (
            f"<Recording of {self._dit.name!r} into {self._path}, {state}: {' and '.join(what)} of "
            f"{', '.join(chosen.streams)} at {', '.join(chosen.sites)} in "
            f"{len(set().union(*chosen.places.values()))} blocks>"
        )

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise not_copied(
            "an open recording", "Pass its path; the cache that generate returns can be pickled."
        )

    def forecast(self, prompts: Prompts, seeds: Seed | Sequence[Seed] = 0, **call: Any) -> Forecast:
        """Bytes, files and time of what is left of a recording, from a probe of the call. Nothing is written.

        Args:
            prompts: one or more prompts, as of :meth:`generate`.
            seeds: one or more seeds or generators; every prompt is run with every one.
            **call: pipeline arguments, as of :meth:`generate`.

        Raises:
            InputError: an empty prompt, or an argument that the pipeline does not have.
            UnsupportedError: as of :meth:`generate`.
            VisitError: as of :meth:`generate`.

        Examples:
            >>> with ds.record(dit, "later.zarr") as rec:
            ...     forecast = rec.forecast(prompts, seeds=range(4), num_inference_steps=20)
            >>> forecast.samples
            16
        """
        plan = self._plan(prompts, seeds, call)
        done = self._committed()
        left = [at for at, spec in enumerate(plan.specs({})) if spec.identity not in done]
        batches = sum(not set(left).isdisjoint(batch.positions) for batch in plan.batches)
        seconds = plan.probed.seconds_per_visit * len(plan.probed.schedule) * batches
        foreseen = forecast(self._schema(plan), len(left))
        return replace(foreseen, seconds=seconds, committed=len(plan.samples) - len(left))

    def _committed(self) -> set[str]:
        """Identities of the samples that the store has, if there is one."""
        if not (self._path.is_dir() and any(self._path.iterdir())):
            return set()
        ledger = open_store(self._path).ledger()
        return {ledger.samples[position].identity for position in ledger.entries}

    def generate(
        self,
        prompts: Prompts,
        seeds: Seed | Sequence[Seed] = 0,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
        **call: Any,
    ) -> Cache:
        """Generate every prompt with every seed, and record. The store gains those samples that it does not have.

        Args:
            prompts: one or more texts, or one or more ``ds.PromptEmbeds``, by whose labels samples are called.
            seeds: one or more seeds. Samples are prompts x seeds, prompt-major. A ``torch.Generator`` stands for its
                initial seed, and makes the noise of the state that it is in, without being drawn from; the store
                keeps the digest of a state that is not that of its seed, which is another sample than the seed's.
            columns: what is to be kept beside the samples, such as a category: name -> a JSON value for each prompt
                or for each sample. It is in ``cache.samples``.
            **call: pipeline arguments, the same for all samples. Texts such as ``negative_prompt`` may be lists, and
                tensors such as ``latents`` have rows, one for each prompt or for each sample. The store keeps texts
                and numbers, digests of tensors and images, name and digest of a callback, and tensors of up to 1 MiB
                whole (``cache.call_tensors``; latents are in the trajectory). A callback may change latents and
                embeddings, but neither batch nor guidance. ``output_type="latent"`` keeps no images.
                ``prompt``, ``generator``, ``seed``, ``num_images_per_prompt`` and ``return_dict`` are ditscope's.

        Returns:
            The cache, opened.

        Raises:
            InputError: an empty prompt, an unknown argument, step or branch, a tensor whose rows fit neither prompts
                nor samples; before anything is written.
            ConfigMismatchError: the store there is of another configuration, or the model was changed since the
                recording began; the message names the fields.
            CacheError: the recording is not open, or the disk is too small for the forecast.
            UnsupportedError: the pipeline is in a state that breaks the mapping from visits to steps, such as step
                caching or replaced blocks.
            VisitError: the run makes other visits than its family describes, or is interrupted by a callback.

        Warns:
            UserWarning: prompts were cut in every text encoder.

        Examples:
            >>> with ds.record(dit, "shapes.zarr", batch_size=4) as rec:  # goes on with the store, where there is one
            ...     cache = rec.generate(prompts, num_inference_steps=6)
        """
        if not self._open:
            raise CacheError(
                "a recording that is not open",
                "use inside its with block",
                "Write `with ds.record(...) as rec:`.",
            )
        plan = self._plan(prompts, seeds, call)
        specs = plan.specs(columns or {})
        schema = self._schema(plan)
        config = configuration(self._dit, written_call(plan.shared), plan.model)
        manifest = build_manifest(schema, config, {"device": str(self._dit.device)})
        with CacheWriter.create_or_resume(
            self._path,
            schema,
            manifest,
            specs,
            # Latents of each sample's own are in its trajectory.
            small_tensors([plan.shared, plan.prompts]),
            memory_budget=self._settings.memory_budget,
            beside=most_copied_at_once(schema, self._dit.device),
            copy=copy_values,
        ) as writer:
            if self._settings.check_committed:
                done = [writer.entries[at] for at in writer.positions if at in writer.entries]
                require_whole(writer.store, done)
            progress = tqdm(total=len(specs), desc="record", unit="image", disable=None)
            progress.update(sum(position in writer.entries for position in writer.positions))
            for batch in plan.batches:
                positions = [writer.positions[sample] for sample in batch.positions]
                missing = [position for position in positions if position not in writer.entries]
                if missing:
                    record_batch(self._dit, writer, batch, positions, plan.model)
                    progress.update(len(missing))
            progress.close()
            for stage, seconds in writer.spent.items():
                self.spent[stage] = self.spent.get(stage, 0.0) + seconds
            asked = [writer.entries[position] for position in writer.positions]
        warn_of_truncated(entry.spec.prompt for entry in asked if entry.text and entry.text.truncated)
        return Cache(writer.store)

    def _plan(self, prompts: Any, seeds: Any, call: dict[str, Any]) -> Plan:
        plan = plan_of(self._dit, self._selection, prompts, seeds, call, self._settings.kept["batch_size"])
        if text_varies(self._dit, self._selection):
            tokens = {**plan.probed.tokens, "text": self._text_tokens(plan.probed.tokens["text"])}
            return replace(plan, probed=replace(plan.probed, tokens=tokens))
        if self._settings.text_tokens is not None:
            raise InputError(
                f"text_tokens={self._settings.text_tokens} for a text stream that is not recorded, or of one length",
                "a recorded text stream whose length varies with the prompt",
                "Leave text_tokens= out.",
            )
        return plan

    def _text_tokens(self, longest: int) -> int:
        """Length of the store's text stream: that of the store there is, of the setting, or of the longest prompt.

        Raises:
            InputError: the longest prompt does not fit.
        """
        room = self._settings.text_tokens or longest
        if self._path.is_dir() and any(self._path.iterdir()):
            recorded = open_store(self._path).schema
            if "text" in recorded.stream_names:
                room = recorded.stream("text").tokens
        if longest > room or room != (self._settings.text_tokens or room):
            raise InputError(
                f"a prompt of {longest} text tokens, and text_tokens={self._settings.text_tokens}",
                f"at most {room}, the length of the store's text stream",
                "Record it into another store, or the first prompts with text_tokens= set for the longest.",
            )
        return room

    def _schema(self, plan: Plan) -> Schema:
        schema = plan.schema(self._dit, **self._settings.kept)
        beside = most_copied_at_once(schema, self._dit.device)
        return replace(schema, shard_bytes=self._settings.shard_bytes or fitting_shard_bytes(schema, beside))
