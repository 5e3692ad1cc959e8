"""What breaks the mapping of visits is refused by name, before a run."""

from __future__ import annotations

import functools
import threading
import types

import accelerate
import numpy as np
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline, FirstBlockCacheConfig, LayerSkipConfig
from diffusers.hooks import apply_first_block_cache, apply_layer_skip
from diffusers.hooks.layerwise_casting import apply_layerwise_casting_hook

import ditscope as ds
from ditscope.errors import UnsupportedError
from ditscope.tracing.run import run_traced

SAMPLE = [(tiny.PROMPTS[0], 0)]
CALL = {"num_inference_steps": 2, "height": 16, "width": 24}


@pytest.fixture
def fresh(folder_of):
    """Name -> a pipeline that a test may spoil."""
    return lambda name: ds.load(str(folder_of(name)))


def first_block_cache(transformer) -> None:
    apply_first_block_cache(transformer, FirstBlockCacheConfig(threshold=0.2))


def layer_skip(transformer) -> None:
    apply_layer_skip(transformer, LayerSkipConfig(indices=[1], fqn="transformer_blocks"))


def teacache(transformer) -> None:
    transformer.enable_teacache = True


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (first_block_cache, r"step caching .*\(fbc_leader_block_hook\)"),
        (layer_skip, r"\(layer_skip_hook\)"),
        (teacache, r"\(enable_teacache\)"),
        (
            lambda transformer: transformer.transformer_blocks[1].compile(),
            r"double\.1 compiled with torch.compile",
        ),
        (lambda transformer: transformer.compile(), "transformer compiled"),
    ],
)
def test_a_spoilt_transformer_is_refused_by_name(fresh, spoil, message) -> None:
    dit = fresh("flux")
    spoil(dit.diffusers_pipeline.transformer)
    for action in (lambda: run_traced(dit, SAMPLE, **CALL), lambda: dit.check(**CALL)):
        with pytest.raises(UnsupportedError, match=message):
            action()


def remembering(module: torch.nn.Module) -> None:
    """A step cache as TeaCache sets it: a forward on the module, under the name of the one it replaces."""
    original, kept = module.forward, []

    @functools.wraps(original)
    def forward(self, *args, **kwargs):
        if not kept:
            kept.append(original(*args, **kwargs))
        return kept[0]

    module.forward = types.MethodType(forward, module)


class Wrapper(torch.nn.Module):
    """Around a block, as some extensions replace it."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args, **kwargs):
        return self.block(*args, **kwargs)


class FluxTransformerBlock(Wrapper):
    """Of the name of diffusers' own."""


def put_in_place(wrap):
    """A change that replaces a block in its list."""

    def change(transformer) -> None:
        transformer.transformer_blocks[1] = wrap(transformer.transformer_blocks[1])

    return change


def remember_offloaded(transformer) -> None:
    remembering(transformer)
    accelerate.cpu_offload(transformer, torch.device("cpu"))


def remember_cast(transformer) -> None:
    remembering(transformer.transformer_blocks[1])
    apply_casting(transformer.transformer_blocks[1])


def apply_casting(block) -> None:
    apply_layerwise_casting_hook(block, torch.float32, torch.float32, non_blocking=False)


REPLACED = {
    "forward of the transformer": (remembering, "transformer with a forward from .*test_refusals"),
    "forward of a block": (
        lambda transformer: remembering(transformer.transformer_blocks[1]),
        r"double\.1 with a forward from .*test_refusals",
    ),
    "a forward under accelerate's hook": (
        remember_offloaded,
        "transformer with a forward from .*test_refusals",
    ),
    "a forward under diffusers' hook": (remember_cast, r"double\.1 with a forward from .*test_refusals"),
    "a wrapped block": (put_in_place(Wrapper), r"block double\.1 replaced by a Wrapper"),
    "a block of the same name": (
        put_in_place(FluxTransformerBlock),
        r"double\.1 with a forward from .*test_refusals",
    ),
}


@pytest.mark.parametrize(("change", "message"), REPLACED.values(), ids=REPLACED)
def test_what_is_replaced_is_refused_when_a_model_is_opened(folder_of, change, message) -> None:
    transformer = DiffusionPipeline.from_pretrained(folder_of("flux")).transformer
    change(transformer)
    with pytest.raises(UnsupportedError, match=message):
        ds.load(str(folder_of("flux")), transformer=transformer)


REPLACED_SINCE = {
    **{
        what: (lambda pipeline, change=change: change(pipeline.transformer), message)
        for what, (change, message) in REPLACED.items()
    },
    "a transformer of another class": (
        lambda pipeline: setattr(pipeline, "transformer", pipeline.vae),
        "a AutoencoderKL without transformer_blocks as transformer",
    ),
    "a block of another class, one more": (
        lambda pipeline: pipeline.transformer.transformer_blocks.append(Wrapper(torch.nn.Identity())),
        r"block double\.2 replaced by a Wrapper",
    ),
    "a module without the one that is read": (
        lambda pipeline: setattr(
            pipeline.transformer.transformer_blocks[1], "norm1", Wrapper(torch.nn.Identity())
        ),
        r"double\.1\.norm1\.linear missing in a Wrapper",
    ),
    "a forward of a module that is read": (
        lambda pipeline: remembering(pipeline.transformer.transformer_blocks[1].ff),
        r"double\.1\.ff with a forward put back since",
    ),
    "a compiled module that is read": (
        lambda pipeline: pipeline.transformer.transformer_blocks[1].attn.compile(),
        r"double\.1\.attn compiled with torch.compile",
    ),
    "the plain forward": (
        lambda pipeline: pipeline.transformer.transformer_blocks[1].__dict__.pop("forward"),
        r"double\.1 with a forward put back since",
    ),
}


@pytest.mark.parametrize(("change", "message"), REPLACED_SINCE.values(), ids=REPLACED_SINCE)
def test_what_is_replaced_since_is_refused_before_a_run(fresh, change, message) -> None:
    dit = fresh("flux")
    change(dit.diffusers_pipeline)
    for action in (lambda: run_traced(dit, SAMPLE, **CALL), lambda: dit.check(**CALL)):
        with pytest.raises(UnsupportedError, match=message):
            action()


def test_the_hooks_of_the_libraries_are_no_replacement(folder_of) -> None:
    """On every block: diffusers' hook, accelerate's around it; before a model is opened, and after."""

    def hook(transformer) -> None:
        for block in transformer.transformer_blocks:
            apply_casting(block)
        accelerate.cpu_offload(transformer, torch.device("cpu"))

    transformer = DiffusionPipeline.from_pretrained(folder_of("flux")).transformer
    hook(transformer)
    dit = ds.load(str(folder_of("flux")), transformer=transformer)
    run_traced(dit, SAMPLE, **CALL)
    dit = ds.load(str(folder_of("flux")))
    hook(dit.diffusers_pipeline.transformer)
    run_traced(dit, SAMPLE, **CALL)


def test_a_forward_from_elsewhere_is_refused(fresh, monkeypatch) -> None:
    dit = fresh("flux")

    def forward(self, *args, **kwargs):
        raise AssertionError("never run")

    monkeypatch.setattr(type(dit.diffusers_pipeline.transformer), "forward", forward)
    with pytest.raises(UnsupportedError, match="a forward from .*test_refusals"):
        run_traced(dit, SAMPLE, **CALL)


def test_skip_layer_guidance_is_refused_by_name(opened) -> None:
    dit = opened("sd3")
    with pytest.raises(UnsupportedError, match="skip-layer guidance"):
        run_traced(dit, SAMPLE, skip_guidance_layers=[1], **CALL)

    def in_a_trace() -> None:
        with dit.generate(SAMPLE[0][0], skip_guidance_layers=[1], **CALL) as tracer:
            for _ in dit.visits(tracer):
                dit.blocks[0].image[:] = 0

    with pytest.raises(UnsupportedError, match="skip-layer guidance"):
        in_a_trace()
    run_traced(dit, SAMPLE, **CALL)


def test_a_second_run_while_one_is_going_on_is_refused_and_leaves_it_whole(opened) -> None:
    dit = opened("flux")
    expected = run_traced(dit, SAMPLE, **CALL).images
    errors: list[BaseException] = []

    def intrude() -> None:
        try:
            run_traced(dit, SAMPLE, **CALL)
        except BaseException as error:
            errors.append(error)

    def at_visit(visit) -> None:
        if visit.index == 0:
            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join()

    images = run_traced(dit, SAMPLE, at_visit, **CALL).images
    assert [type(error) for error in errors] == [UnsupportedError]
    assert np.array_equal(images, expected)
