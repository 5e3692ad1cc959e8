"""Tiny pipelines, each built, opened and run once a session; tests of one pipeline run in one process."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import plain_hooks
import plain_modules
import pytest
import tiny
import torch
from diffusers import FluxImg2ImgPipeline, FluxKontextPipeline
from family_calls import PROMPTS, SEEDS, batch, call
from unsynced import no_sync as no_sync


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items) -> None:
    """In several processes, the tests of one pipeline come one after another: most run where it is open already."""
    if not hasattr(config, "workerinput"):
        return
    ours = [number for number, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    for number, item in zip(ours, sorted((items[number] for number in ours), key=_pipeline), strict=True):
        items[number] = item


def _pipeline(item) -> str:
    """The tiny pipeline that a test is parametrized by; "" if by none."""
    given = getattr(getattr(item, "callspec", None), "params", {}).values()
    values = [value for one in given for value in (one if isinstance(one, tuple) else (one,))]
    return next((value for value in values if isinstance(value, str) and value in tiny.TINY), "")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Name -> folder of the tiny pipeline."""
    return functools.cache(lambda name: tiny.save(name, tmp_path_factory.mktemp("tiny") / name))


@pytest.fixture(scope="session")
def opened(folder_of):
    """Name, dtype -> the tiny pipeline, opened."""
    import ditscope as ds

    return functools.cache(lambda name, dtype=torch.float32: ds.load(str(folder_of(name)), torch_dtype=dtype))


@pytest.fixture(scope="session")
def kontext_folder(folder_of, tmp_path_factory):
    """Folder of the tiny FLUX.1 pipeline as a Kontext one."""
    folder = tmp_path_factory.mktemp("tiny") / "kontext"
    FluxKontextPipeline.from_pipe(plain_hooks.opened(folder_of("flux"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def opened_kontext(kontext_folder):
    """dtype -> the tiny Kontext pipeline, opened."""
    import ditscope as ds

    return functools.cache(lambda dtype=torch.float32: ds.load(str(kontext_folder), torch_dtype=dtype))


@pytest.fixture(scope="session")
def kontext(opened_kontext):
    """The tiny Kontext pipeline in float32, opened."""
    return opened_kontext()


@pytest.fixture(scope="session")
def opened_image_to_image(folder_of, tmp_path_factory):
    """dtype -> the tiny FLUX.1 pipeline as an image-to-image one, opened."""
    import ditscope as ds

    folder = tmp_path_factory.mktemp("tiny") / "img2img"
    plain = plain_hooks.opened(folder_of("flux"))
    FluxImg2ImgPipeline.from_pipe(plain).save_pretrained(folder)
    return functools.cache(lambda dtype=torch.float32: ds.load(str(folder), torch_dtype=dtype))


@pytest.fixture(scope="session")
def image_to_image(opened_image_to_image):
    """The tiny FLUX.1 pipeline as an image-to-image one in float32, opened."""
    return opened_image_to_image()


@pytest.fixture(scope="session")
def plainly(folder_of):
    """Name, dtype, square -> what plain hooks see of the guided call of two prompts: at the blocks, inside them."""

    @functools.cache
    def run(name, dtype=torch.float32, square=False):
        pipeline = plain_hooks.opened(folder_of(name), dtype)
        with plain_modules.listening(pipeline, name) as inside:
            seen = plain_hooks.run(pipeline, name, batch(name), SEEDS * 2, **call(name, square))
        return seen, inside

    return run


@pytest.fixture(scope="session")
def read(opened):
    """Name, dtype, square -> what a trace reads of the same call, by (visit, block, site, stream)."""
    from ditscope.tracing.run import run_traced
    from ditscope.vocabulary import SITES, passing_order

    @functools.cache
    def run(name, dtype=torch.float32, square=False):
        dit, found = opened(name, dtype), {}

        def at_visit(visit) -> None:
            for block in dit.blocks:
                for site, stream in passing_order(SITES, ("image", "text")):
                    if stream in block.layout.streams(site):
                        found[visit.index, block.index, site, stream] = block.read(site, stream).clone()

        run_traced(dit, [(prompt, SEEDS[0]) for prompt in batch(name)], at_visit, **call(name, square))
        return found

    return run


@pytest.fixture
def require_resumable(tmp_path):
    """Require that a recording that is broken off in its second sample goes on to the store of a whole one."""
    import ditscope as ds

    def record(dit, name: str, **call):
        with ds.record(dit, tmp_path / name) as rec:
            return rec.generate(PROMPTS, SEEDS, **call)

    def require(dit, **call) -> None:
        whole, runs = record(dit, "whole.zarr", **call), []

        def second_fails(*_) -> None:
            runs.append(1)
            if len(runs) == 2:
                raise KeyboardInterrupt

        # Every sample is decoded once, after its last visit; a probe of two steps or more is not.
        decoding = dit.diffusers_pipeline.vae.decoder.register_forward_pre_hook(second_fails)
        try:
            with pytest.raises(KeyboardInterrupt):
                record(dit, "broken.zarr", **call)
            assert ds.open_cache(tmp_path / "broken.zarr").committed == (0,)
            resumed = record(dit, "broken.zarr", **call)
        finally:
            decoding.remove()
        assert len(runs) == 3
        both = [cache.hidden().values.astype(np.float32) for cache in (resumed, whole)]
        assert np.array_equal(*both)
        assert np.array_equal(resumed.images.values, whole.images.values)

    return require
