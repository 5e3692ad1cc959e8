"""The golden stores of format version 1: how they were made, and what is in them.

``python tests/data/golden/make.py`` makes them anew. That is right only while a format is not released yet: later code
must open, verify and go on with the very files that lie here. They are small and synthetic, and are none of a model's:
every value follows from its address by SHAKE-256, so that no library's random numbers take part.
"""

import hashlib
import json
import math
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

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
    open_cache,
)
from ditscope.cache.store_opening import open_store
from ditscope.encoded_text import EncodedText

FOLDER = Path(__file__).parent
CONFIG = {"model": "golden", "call": {"guidance_scale": 3.5}, "live": {"versions": {"torch": "2.13.0"}}}
TENSOR = np.arange(6, dtype=np.float32).reshape(2, 3)
DIGEST = hashlib.sha256(TENSOR.tobytes()).hexdigest()[:32]
RUN = tuple(StepSpec(index, 1 - index / 2, 1000.0 - 500 * index) for index in range(2))
DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
LARGEST = {"float32": 0x7F7FFFFF, "bfloat16": 0x7F7F}


@dataclass(frozen=True)
class Golden:
    """A store of two samples: the second is begun, and not committed."""

    schema: Schema
    samples: tuple[SampleSpec, ...]
    recorded_twice: bool = False


BFLOAT16 = Schema(
    streams=(StreamSpec("image", 12, 3, 4, random_tokens=5),),
    sites=(StoredSite.of("image", "block_output", (0, 1, 4), "bfloat16"),),
    blocks=(
        BlockSpec(0, "double.0", "double"),
        BlockSpec(1, "double.1", "double"),
        BlockSpec(4, "single.1", "single"),
    ),
    steps=RUN,
    branches=("cond",),
    channels=tuple(range(2, 37)),  # in chunks of 18: one channel of padding
    width=40,
    dtype="bfloat16",
    trajectory=TrajectorySpec(RUN, 12, 2),
    image_height=4,
    image_width=6,
    token_seed=3,
    shard_bytes=800,  # files of two blocks, and of one
)
FLOAT32 = replace(
    BFLOAT16,
    streams=(StreamSpec("image", 12, 3, 4, token_ids=(0, 5, 6, 11)), StreamSpec("text", 5)),
    sites=(
        StoredSite.of("image", "block_output", (0, 1, 4), "float32"),
        StoredSite.of("text", "block_output", (0,), "float32"),  # the last block has no text
        StoredSite.of("image", "attn_gate", (0, 4), "float32"),
        # Of which no release knows: a site with an axis of its own.
        StoredSite(
            "image",
            "clip_output",
            (4,),
            ("sample", "step", "branch", "block", "frame", "token", "channel"),
            "float32",
            {"frame": 2},
        ),
    ),
    branches=("cond", "uncond"),
    dtype="float32",
    trajectory=None,
    image_height=None,
    image_width=None,
    token_seed=0,
    batch_size=2,
    compression="zstd",
    shard_bytes=1500,
)
PROMPTS = ("a red circle", "ein grünes Dreieck")
STORES = {
    "bfloat16": Golden(
        BFLOAT16,
        (
            SampleSpec(PROMPTS[0], 0, {"negative_prompt": "blurry"}, {"category": "circle"}),
            SampleSpec(PROMPTS[1], 7),
        ),
    ),
    "float32": Golden(FLOAT32, tuple(SampleSpec(prompt, 0) for prompt in PROMPTS), recorded_twice=True),
}


def numbers(shape, *key):
    """Float32 numbers between -8 and 8, in steps of 1/4096, that follow from a key."""
    content = hashlib.shake_256(json.dumps(key).encode()).digest(2 * math.prod(shape))
    return (np.frombuffer(content, "<i2") / np.float32(4096)).reshape(shape)


def hidden_at(writer, sample, address):
    """What a site has at an address: one NaN, and one value at the dtype's limit, among them."""
    site, stream = writer.schema.site(address.stream, address.site), writer.schema.stream(address.stream)
    lengths = {"token": stream.kept_tokens if stream.has_grid else 4, "channel": len(writer.schema.channels)}
    shape = [(lengths | site.lengths)[dim] for dim in site.dims[4:]]
    key = [address.stream, address.site, address.step, address.branch, address.block]
    hidden = numbers(shape, sample, *key).astype(DTYPES[site.dtype])
    if site.has_tokens and address.block == 4:
        hidden.view(f"u{hidden.itemsize}").reshape(-1)[3] = LARGEST[site.dtype]
        hidden[..., -1] = np.nan
    return hidden


def fill(writer, sample, *, whole=True):
    """Put all of a sample, or the hidden states and statistics of the first branch alone."""
    schema = writer.schema
    for site in schema.sites:
        for step in schema.steps:
            for branch in schema.branches if whole else schema.branches[:1]:
                for block in site.blocks:
                    address = Address(site.stream, site.name, step.index, branch, block)
                    statistics = numbers(
                        (7, len(schema.channels)), sample, "statistics", *vars(address).values()
                    )
                    statistics = np.abs(statistics)
                    statistics[4:] = np.array([[0.0], [12.0], [0.0]])
                    statistics[4, -1], statistics[6, 3] = 12 * (block == 4), block == 4
                    reading = Reading(
                        address,
                        [sample],
                        hidden_at(writer, sample, address)[None],
                        statistics[None] if site.has_tokens else None,
                    )
                    writer.put(reading)
    if not whole:
        return
    for stream in schema.streams:
        if stream.random_tokens is not None:
            writer.put_token_ids(sample, stream.name, np.array([0, 2, 3, 7, 11], np.int32))
        for number, branch in enumerate(() if stream.has_grid else schema.branches):
            writer.put_token_masks([sample], stream.name, branch, np.arange(4)[None] < 4 - number)
    if schema.trajectory is not None:
        latents, outputs = (numbers((n, 12, 2), sample, "trajectory", n) for n in (3, 2))
        writer.put_trajectory(
            sample, latents=latents, transformer_output=outputs[:, None].astype(DTYPES[schema.dtype])
        )
        pixels = numbers((4, 6, 3), sample, "image")
        writer.put_image(sample, pixels.view(np.uint32).astype(np.uint8))


def commit(writer, sample):
    """Fill a sample and commit it."""
    fill(writer, sample)
    text = EncodedText({"text_encoder": sample}, "0123456789abcdef")
    writer.commit(sample, text, live="fedcba9876543210", batch=writer.positions)


def resumed(path):
    """A writer that goes on with a store, as its own manifest says."""
    store = open_store(path)
    manifest = build_manifest(store.schema, store.manifest["config"])
    return CacheWriter.create_or_resume(path, store.schema, manifest, store.ledger().samples)


def make(name, path):
    """Record a golden store."""
    golden = STORES[name]
    manifest = build_manifest(golden.schema, CONFIG, {"device": "cpu"})
    with CacheWriter.create_or_resume(
        path, golden.schema, manifest, golden.samples, {DIGEST: TENSOR}
    ) as writer:
        commit(writer, 0)
        if golden.recorded_twice:
            writer.drop(0)
            commit(writer, 0)
        fill(writer, 1, whole=False)  # whose files stay behind


def digests(path):
    """Array -> dtype, shape and SHA-256 of the bits of its committed samples."""
    cache = open_cache(path)
    found = {}
    for array in cache.plans:
        values = np.ascontiguousarray(cache._stored(array, cache.committed)[:])
        found[array] = [str(values.dtype), list(values.shape), hashlib.sha256(values.tobytes()).hexdigest()]
    return found


def plain(member):
    """A file or folder of an archive, without its owner and its time."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    expected = {}
    for name in STORES:
        with TemporaryDirectory() as folder:
            store = Path(folder, f"{name}.zarr")
            make(name, store)
            with tarfile.open(FOLDER / f"{name}.tar.xz", "w:xz", preset=9) as file:
                file.add(store, store.name, filter=plain)
            begun = digests(store)
            with resumed(store) as writer:
                commit(writer, 1)
            expected[name] = {"begun": begun, "complete": digests(store)}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
