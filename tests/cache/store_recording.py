"""A small recording for the cache tests: a schema, values that follow from the sample, and filling in.

Run as a script it records like a process that is killed: see ``test_ledger``.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import ml_dtypes
import numpy as np

from ditscope.cache import (
    Address,
    BlockSpec,
    CacheWriter,
    Reading,
    SampleSpec,
    Schema,
    StepSpec,
    StoredSite,
    StreamSpec,
    TrajectorySpec,
    build_manifest,
)
from ditscope.vocabulary import site_spec

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "float16": np.dtype("f2"), "float32": np.dtype("f4")}
CONFIG = {"model": "tests/tiny", "weights_hash": "abc", "call": {"guidance_scale": 3.5}}
TEXT_TOKENS = 4


SAMPLES = (SampleSpec("a red circle", 0), SampleSpec("ein grünes Dreieck", 7))


def make_schema(sites=("block_output",), dtype="bfloat16", **changes):
    """A schema with every kind of array and awkward sizes; ``sites`` are names, of all streams and blocks."""
    streams = changes.pop("streams", (StreamSpec("image", 12, 3, 4), StreamSpec("text", 5)))
    blocks = changes.pop("blocks", tuple(BlockSpec(i, f"double.{i}", "double") for i in (0, 1, 4)))
    stored = [
        site
        if isinstance(site, StoredSite)
        else [
            StoredSite.of(stream.name, site, [block.index for block in blocks], dtype) for stream in streams
        ]
        for site in sites
    ]
    parts = dict(
        streams=streams,
        sites=tuple(one for site in stored for one in (site if isinstance(site, list) else [site])),
        blocks=blocks,
        steps=(StepSpec(1, 0.75, 750.0), StepSpec(3, 0.25, 250.0)),
        branches=("cond", "uncond"),
        channels=tuple(range(3, 73)),
        width=80,
        dtype=dtype,
        trajectory=TrajectorySpec(tuple(StepSpec(i, 1 - i / 4, 1000.0 - 250 * i) for i in range(4)), 12, 6),
        image_height=8,
        image_width=6,
    )
    return Schema(**parts | changes)


def make_manifest(schema, **config):
    return build_manifest(schema, {**CONFIG, **config}, {"device": "cpu"})


def addresses(schema, stream="image", site="block_output"):
    """Every address of a site, in execution order."""
    return [
        Address(stream, site, step.index, branch, block)
        for step in schema.steps
        for branch in schema.branches
        for block in schema.site(stream, site).blocks
    ]


def at(address):
    """An address as labels to select by."""
    return {"step": address.step, "branch": address.branch, "block": address.block}


def hidden_value(schema, sample, address):
    """The hidden state ``[token, channel]`` that the test recording has at an address, or modulation ``[channel]``."""
    spec = schema.stream(address.stream)
    tokens = spec.kept_tokens if spec.has_grid else TEXT_TOKENS
    key = repr((sample, address)).encode()
    values = np.random.default_rng(list(key)).normal(size=(tokens, len(schema.channels)))
    if site_spec(address.site).has_tokens:
        return values.astype(DTYPES[schema.dtype])
    return values[0].astype("f4")


def drawn_tokens(stream, sample):
    """The tokens that the test recording has drawn of a stream."""
    drawn = np.random.default_rng(sample).choice(stream.tokens, stream.random_tokens, replace=False)
    return np.sort(drawn).astype("i4")


def statistics_of(hidden):
    """Float32 ``[statistic, channel]`` in the order in which a store takes them."""
    values = hidden.astype(np.float64)
    finite = np.where(np.isfinite(values), values, np.nan)
    rows = [
        np.nanmean(finite, 0),
        np.nanmean(np.abs(finite), 0),
        np.nanstd(finite, 0),
        np.nanmax(np.abs(finite), 0),
        (~np.isfinite(values)).sum(0),
        np.full(values.shape[1], len(values)),
        (np.abs(hidden) == ml_dtypes.finfo(hidden.dtype).max).sum(0),
    ]
    return np.stack(rows).astype("f4")


def put(writer, sample, address, value):
    """Put a hidden state, with its statistics where the store keeps them."""
    with_tokens = site_spec(address.site).has_tokens
    statistics = statistics_of(value)[None] if with_tokens and writer.schema.stats else None
    hidden = value[None] if writer.schema.tensors or not with_tokens else None
    writer.put(Reading(address, [sample], hidden, statistics))


def fill(writer, sample, hidden=hidden_value):
    """Put everything of a sample."""
    schema = writer.schema
    rng = np.random.default_rng(sample)
    for stream in schema.streams:
        for branch in schema.branches if not stream.has_grid else ():
            writer.put_token_masks([sample], stream.name, branch, np.ones((1, TEXT_TOKENS), dtype=bool))
        if stream.random_tokens is not None and schema.tensors:
            writer.put_token_ids(sample, stream.name, drawn_tokens(stream, sample))
        for site in (site for site in schema.sites if site.stream == stream.name):
            for address in addresses(schema, stream.name, site.name):
                put(writer, sample, address, hidden(schema, sample, address))
    if schema.trajectory is not None:
        run = schema.trajectory
        latents = rng.normal(size=(len(run.steps) + 1, run.tokens, run.channels))
        outputs = rng.normal(size=(len(run.steps), len(schema.branches), run.tokens, run.channels))
        writer.put_trajectory(
            sample, latents=latents.astype("f4"), transformer_output=outputs.astype(DTYPES[schema.dtype])
        )
    if schema.image_height is not None:
        shape = (schema.image_height, schema.image_width, 3)
        writer.put_image(sample, rng.integers(0, 256, size=shape).astype("u1"))


def open_writer(path, schema=None, samples=SAMPLES, **writer_arguments):
    schema = schema or make_schema()
    return CacheWriter.create_or_resume(path, schema, make_manifest(schema), samples, **writer_arguments)


def record(path, schema=None, samples=None, specs=SAMPLES, text=None, **writer_arguments):
    """Record and commit samples, of those named, into a store; ``text`` is what is said of each text."""
    with open_writer(path, schema, specs, **writer_arguments) as writer:
        for sample in writer.positions if samples is None else samples:
            if sample not in writer.committed:
                fill(writer, sample)
                writer.commit(sample, text)
    return path


def bits(array):
    """The bit patterns of an array, so that NaNs compare."""
    array = np.asarray(array)
    return array.view(f"u{array.dtype.itemsize}")


def files_below(path):
    """Every file of a store, relative, with its bytes."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def edit_json(path, change):
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    store, moment = sys.argv[1:]
    full = make_schema()
    writer = open_writer(store, full)
    fill(writer, 0)
    writer.commit(0)
    if moment == "before commit":
        fill(writer, 1)
    elif moment == "half a sample":
        for address in addresses(full)[:5]:
            put(writer, 1, address, hidden_value(full, 1, address))
    elif moment == "before the ledger entry":
        fill(writer, 1)
        from ditscope.cache import files

        files.append = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        writer.commit(1)
    os.kill(os.getpid(), signal.SIGKILL)
